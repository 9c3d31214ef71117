/* dlrun: trains, evaluates, runs, times and inspects plans. This file chooses the command and opens
 * plans; the commands are in dlrun_train.c and dlrun_run.c. */
#include "tools/dlrun.h"
#include <string.h>

int opened_open(Opened *opened, const CliCommand *command, const char *plan_path,
                const RunOptions *run, int (*cancel)(void *user)) {
    *opened = (Opened){0};
    CliBindings bindings;
    if (!cli_bindings(command, &run->bindings, &bindings)) {
        return 2;
    }
    int poison = 0;
    if (run->poison) {
        if (strcmp(run->poison, "A") != 0 && strcmp(run->poison, "B") != 0) {
            return cli_wrong(command, "--poison takes A or B, not '%s'", run->poison);
        }
        poison = run->poison[0] == 'A' ? 1 : 2;
    }
    dlc_context_options context_options = {
        .struct_size = sizeof context_options, .log = cli_log, .cancel = cancel};
    dlc_status status = dlc_context_create(&context_options, &opened->context);
    if (status == DLC_OK) {
        status = dlc_plan_load(opened->context, plan_path,
                               run->no_native ? (unsigned)DLC_PLAN_NO_NATIVE : 0, &opened->plan);
    }
    if (status == DLC_OK) {
        dlc_session_options session_options = {
            .struct_size = sizeof session_options,
            .bindings = bindings.items,
            .n_bindings = bindings.count,
            .device = run->device,
            .threads = (int)run->threads,
            .has_seed = run->seed >= 0,
            .seed = run->seed,
            .poison = poison,
        };
        status = dlc_session_create(opened->plan, &session_options, &opened->session);
    }
    if (status != DLC_OK) {
        int code = cli_failed(command, opened->context, status);
        opened_close(opened);
        return code;
    }
    return 0;
}

void opened_close(Opened *opened) {
    dlc_session_destroy(opened->session);
    dlc_plan_destroy(opened->plan);
    dlc_context_destroy(opened->context);
    *opened = (Opened){0};
}

static const char help_text[] =
    "Usage: dlrun COMMAND PLAN [options]\n"
    "\n"
    "  dlrun train PLAN --data train=F[,eval=F]   train, and evaluate after every epoch\n"
    "  dlrun eval PLAN --weights W --data F       print each metric as `name value`\n"
    "  dlrun infer PLAN --weights W --input name=F.npy --output name=F.npy\n"
    "  dlrun bench PLAN                           time a step against this machine's peak\n"
    "  dlrun inspect PLAN                         what a plan holds\n"
    "  dlrun PLAN [options]                       as infer\n"
    "\n"
    "dlrun COMMAND --help lists a command's options.\n";

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"train", dlrun_train},
                    {"eval", dlrun_eval},
                    {"infer", dlrun_infer},
                    {"bench", dlrun_bench},
                    {"inspect", dlrun_inspect}};
    if (argc < 2) {
        fputs(help_text, stderr);
        return 2;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        fputs(help_text, stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("dlrun %s\n", dlc_version_text());
        return 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (!strcmp(argv[1], commands[i].name)) {
            return commands[i].run(argc - 2, argv + 2);
        }
    }
    const char *dot = strrchr(argv[1], '.');
    if (argv[1][0] != '-' && (!dot || strcmp(dot, ".plan") != 0)) {
        fprintf(stderr, "dlrun: unknown command '%s'; a plan's name ends in .plan\n\n%s", argv[1],
                help_text);
        return 2;
    }
    return dlrun_infer(argc - 1, argv + 1);
}
