/* The commands of dlrun, and what they share. Each takes the arguments after its own name and
 * returns the process's exit status. */
#ifndef DLC_TOOLS_DLRUN_H
#define DLC_TOOLS_DLRUN_H

#include "tools/job.h"

int dlrun_train(int argc, char **argv);
int dlrun_eval(int argc, char **argv);
int dlrun_infer(int argc, char **argv); /* also "dlrun PLAN" */
int dlrun_bench(int argc, char **argv);

/* Options that every command which opens a session has. */
typedef struct RunOptions {
    const char *device, *poison, *arena, *trace, *journal, *mesh, *zero, *exchange, *sequence;
    CliList bindings;
    int64_t threads, seed;
    int64_t check_replicas; /* steps; 0: the usual */
    double stall;           /* seconds; 0: the usual */
    bool no_libraries, no_native, raw_weights,
        accumulate;   /* accumulate: see dlc_session_options; no option of its own */
    bool quiet;       /* no notes; the command's own option */
    int64_t restarts; /* of ranks that were started; dlrun train's */
    const char *restarts_from;
    JobOptions job;
} RunOptions;

/* What it begins with: the plan's own seed, no rank given. */
#define RUN_OPTIONS_UNSET                                                                          \
    {                                                                                              \
        .seed = -1, .job = {.flags = {-1, -1, NULL} }                                              \
    }

/* The options for RunOptions, which begins as RUN_OPTIONS_UNSET. */
CliGroup run_options(RunOptions *run);

/* Counters that a program reads while it is not trained; -1: as they are. */
typedef struct CounterOptions {
    int64_t step, steps;
} CounterOptions;
CliGroup counter_options(CounterOptions *counters);
/* How the files of a command's data are read. */
CliGroup data_options(dlc_dataset_options *data);
#define WEIGHTS_HELP "the trained weights: a safetensors file, or a checkpoint's or a run's folder"

/* Finds out which rank this process is (job.h); -1: go on as that rank, else the exit status. */
int run_begin(const CliCommand *command, RunOptions *run);

/* Context, plan and session, made and destroyed together. */
typedef struct Opened {
    dlc_context *context;
    dlc_plan *plan;
    dlc_communicator *communicator; /* NULL: one process */
    dlc_session *session;
} Opened;

/* 0, or the exit status after a message. `cancel` may be NULL. */
int opened_open(Opened *opened, const CliCommand *command, const char *plan_path,
                const RunOptions *run, int (*cancel)(void *user));
/* Ends the session if there is one and makes one by the options. */
int opened_session(Opened *opened, const CliCommand *command, const RunOptions *run);
/* Context and plan only. */
int opened_plan(Opened *opened, const CliCommand *command, const char *plan_path);
void opened_close(Opened *opened);
/* The same after a command's work: returns `code`, or 1 after a message where that is 0 and the
 * trace could not be written. */
int opened_end(Opened *opened, const CliCommand *command, int code);
/* Parses a command line of one plan; -1: go on, else the exit status. */
int plan_parse(const CliCommand *command, int argc, char **argv, const char **out_plan);
/* Says on standard error which device runs the plan, where that is not plainly the CPU. */
void device_note(const Opened *opened, const RunOptions *run);

/* The size that figures are for: as bound, else the usual one. */
int64_t dim_size(const dlc_dim_info *dim, const CliBindings *bindings);

int dlrun_inspect(int argc, char **argv);      /* dlrun_inspect.c */
int dlrun_explain_hang(int argc, char **argv); /* dlrun_explain.c */
/* The index of the plan's entry by name or purpose; -1: none. */
int plan_entry_index(const dlc_plan *plan, const char *name);

#endif
