/* The commands of dlrun, and what they share. Each takes the arguments after its own name and
 * returns the process's exit status. */
#ifndef DLC_TOOLS_DLRUN_H
#define DLC_TOOLS_DLRUN_H

#include "tools/cli.h"

int dlrun_train(int argc, char **argv);
int dlrun_eval(int argc, char **argv);
int dlrun_infer(int argc, char **argv); /* also "dlrun PLAN" */
int dlrun_bench(int argc, char **argv);
int dlrun_inspect(int argc, char **argv);

/* Options that every command which opens a session has. */
typedef struct RunOptions {
    const char *device, *poison;
    CliList bindings;
    int64_t threads, seed;
    bool no_native;
} RunOptions;

/* The rows of a command's option table for RunOptions; seed starts at -1, which stands for the
 * plan's own. */
#define RUN_OPTION_ROWS(run)                                                                       \
    {"--define", "-D", CLI_LIST, &(run).bindings, 0, "DIM=N", "bind a free size"},                 \
        {"--device", NULL, CLI_TEXT, &(run).device, 0, "DEVICE", "cpu"},                           \
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
    {                                                                                              \
        "--no-native", NULL, CLI_FLAG, &(run).no_native, 0, NULL,                                  \
            "compile anew from the plan's portable part"                                           \
    }

/* Context, plan and session, made and destroyed together. */
typedef struct Opened {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
} Opened;

/* 0, or the exit status after a message. `cancel` may be NULL. */
int opened_open(Opened *opened, const CliCommand *command, const char *plan_path,
                const RunOptions *run, int (*cancel)(void *user));
void opened_close(Opened *opened);

#endif
