/* The commands of dlrun, and what they share. Each takes the arguments after its own name and
 * returns the process's exit status. */
#ifndef DLC_TOOLS_DLRUN_H
#define DLC_TOOLS_DLRUN_H

#include "tools/cli.h"

int dlrun_train(int argc, char **argv);
int dlrun_eval(int argc, char **argv);
int dlrun_infer(int argc, char **argv); /* also "dlrun PLAN" */
int dlrun_bench(int argc, char **argv);

/* Options that every command which opens a session has. */
typedef struct RunOptions {
    const char *device, *poison, *arena, *trace;
    CliList bindings;
    int64_t threads, seed;
    bool no_libraries, no_native, raw_weights,
        accumulate; /* accumulate: see dlc_session_options; no option of its own */
} RunOptions;

/* The rows of a command's option table for RunOptions; seed starts at -1, which stands for the
 * plan's own. */
#define RUN_OPTION_ROWS(run)                                                                       \
    {"--define", "-D", CLI_LIST, &(run).bindings, 0, "DIM=N", "bind a free size"},                 \
        {"--device",                                                                               \
         NULL,                                                                                     \
         CLI_TEXT,                                                                                 \
         &(run).device,                                                                            \
         0,                                                                                        \
         "DEVICE",                                                                                 \
         "cpu, cuda, cuda:0 (default: the fastest that the plan and this machine have)"},          \
        {"--threads",                                                                              \
         NULL,                                                                                     \
         CLI_INT,                                                                                  \
         &(run).threads,                                                                           \
         1,                                                                                        \
         "N",                                                                                      \
         "CPU threads (results do not depend on it)"},                                             \
        {"--seed",                                                                                 \
         NULL,                                                                                     \
         CLI_INT,                                                                                  \
         &(run).seed,                                                                              \
         0,                                                                                        \
         "N",                                                                                      \
         "seed of initial weights, order and dropout"},                                            \
        {"--poison",                                                                               \
         NULL,                                                                                     \
         CLI_TEXT,                                                                                 \
         &(run).poison,                                                                            \
         0,                                                                                        \
         "A|B",                                                                                    \
         "fill dead memory with a pattern (for tests)"},                                           \
        {"--arena",                                                                                \
         NULL,                                                                                     \
         CLI_TEXT,                                                                                 \
         &(run).arena,                                                                             \
         0,                                                                                        \
         "packed|guarded",                                                                         \
         "guarded: each value in memory of its own (for memory checkers)"},                        \
        {"--no-libraries",                                                                         \
         NULL,                                                                                     \
         CLI_FLAG,                                                                                 \
         &(run).no_libraries,                                                                      \
         0,                                                                                        \
         NULL,                                                                                     \
         "GPUs: generated kernels alone, no cuBLASLt and cuDNN"},                                  \
        {"--raw-weights",                                                                          \
         NULL,                                                                                     \
         CLI_FLAG,                                                                                 \
         &(run).raw_weights,                                                                       \
         0,                                                                                        \
         NULL,                                                                                     \
         "with ema: parameters themselves instead of their averages"},                             \
        {"--trace",                                                                                \
         NULL,                                                                                     \
         CLI_TEXT,                                                                                 \
         &(run).trace,                                                                             \
         0,                                                                                        \
         "TRACE.json",                                                                             \
         "write what host and device do when (for ui.perfetto.dev)"},                              \
    {                                                                                              \
        "--no-native", NULL, CLI_FLAG, &(run).no_native, 0, NULL,                                  \
            "compile anew from the plan's portable part"                                           \
    }

/* Counters that a program reads while it is not trained; -1: as they are. */
typedef struct CounterOptions {
    int64_t step, steps;
} CounterOptions;
#define COUNTER_OPTION_ROWS(counters)                                                              \
    {"--step",                                                                                     \
     NULL,                                                                                         \
     CLI_INT,                                                                                      \
     &(counters).step,                                                                             \
     0,                                                                                            \
     "N",                                                                                          \
     "what the program reads as `step` (default: the checkpoint's, else 0)"},                      \
    {                                                                                              \
        "--steps", NULL, CLI_INT, &(counters).steps, 1, "N",                                       \
            "what it reads as `steps`, the planned length (default: likewise, else the plan's)"    \
    }
/* How the files of a command's data are read; `data` has the members of dlc_dataset_options. */
#define DATA_OPTION_ROWS(data)                                                                     \
    {"--window",                                                                                   \
     NULL,                                                                                         \
     CLI_INT,                                                                                      \
     &(data).window,                                                                               \
     1,                                                                                            \
     "N",                                                                                          \
     "text: rows of N tokens; targets are the next ones"},                                         \
        {"--stride",                                                                               \
         NULL,                                                                                     \
         CLI_INT,                                                                                  \
         &(data).stride,                                                                           \
         1,                                                                                        \
         "N",                                                                                      \
         "text: distance between windows (default: the window)"},                                  \
    {                                                                                              \
        "--dtype", NULL, CLI_TEXT, &(data).dtype, 0, "TYPE",                                       \
            "raw token files: u8 (default), u16, u32, i32"                                         \
    }
#define WEIGHTS_HELP "the trained weights: a safetensors file, or a checkpoint's or a run's folder"

/* Context, plan and session, made and destroyed together. */
typedef struct Opened {
    dlc_context *context;
    dlc_plan *plan;
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

int dlrun_inspect(int argc, char **argv); /* dlrun_inspect.c */
/* The index of the plan's entry by name or purpose; -1: none. */
int plan_entry_index(const dlc_plan *plan, const char *name);

#endif
