/* dlrun: trains, evaluates, runs, times and inspects plans. This file chooses the command and opens
 * plans; the commands are in dlrun_train.c, dlrun_run.c and dlrun_inspect.c. */
#include "tools/dlrun.h"
#include <stddef.h>
#include <string.h>

/* -- Options that commands share -- */

static const CliOption run_table[] = {
    {"--define", "-D", CLI_LIST, offsetof(RunOptions, bindings), 0, "DIM=N", "bind a free size"},
    {"--device", NULL, CLI_TEXT, offsetof(RunOptions, device), 0, "DEVICE",
     "cpu, cuda, cuda:0 (default: the fastest that the plan and this machine have); cpu*8: eight "
     "ranks share the batch, threads of one process; cuda:0-7: a process for each"},
    {"--mesh", NULL, CLI_TEXT, offsetof(RunOptions, mesh), 0, "AXES",
     "another mesh than the plan's, such as data=*,model=4: compiles it anew (dlc --what mesh)"},
    {"--zero", NULL, CLI_TEXT, offsetof(RunOptions, zero), 0, "N",
     "another ZeRO level than the plan's, 0 to 3: compiles it anew"},
    {"--exchange", NULL, CLI_TEXT, offsetof(RunOptions, exchange), 0, "TYPE",
     "send gradients as f32 or bf16, unlike the plan: compiles it anew"},
    {"--sequence", NULL, CLI_TEXT, offsetof(RunOptions, sequence), 0, "WHEN",
     "rows between products that model cuts: on, off, auto, unlike the plan: compiles it anew"},
    {"--threads", NULL, CLI_INT, offsetof(RunOptions, threads), 1, "N",
     "CPU threads (results do not depend on it)"},
    {"--seed", NULL, CLI_INT, offsetof(RunOptions, seed), 0, "N",
     "seed of initial weights, order and dropout"},
    {"--poison", NULL, CLI_TEXT, offsetof(RunOptions, poison), 0, "A|B",
     "fill dead memory with a pattern (for tests)"},
    {"--arena", NULL, CLI_TEXT, offsetof(RunOptions, arena), 0, "packed|guarded",
     "guarded: each value in memory of its own (for memory checkers)"},
    {"--no-libraries", NULL, CLI_FLAG, offsetof(RunOptions, no_libraries), 0, NULL,
     "GPUs: generated kernels alone, no cuBLASLt and cuDNN"},
    {"--raw-weights", NULL, CLI_FLAG, offsetof(RunOptions, raw_weights), 0, NULL,
     "with ema: parameters themselves instead of their averages"},
    {"--trace", NULL, CLI_TEXT, offsetof(RunOptions, trace), 0, "TRACE.json",
     "write what host and device do when (for ui.perfetto.dev)"},
    {"--journal", NULL, CLI_TEXT, offsetof(RunOptions, journal), 0, "DIR",
     "each rank keeps its last events there, for dlrun explain-hang; none: nowhere (default: train "
     "of several ranks beside its checkpoint or weights, until it has ended well)"},
    {"--stall", NULL, CLI_NUMBER, offsetof(RunOptions, stall), 0, "SECONDS",
     "a rank that others wait for so long, or ten steps, has failed (default: 30)"},
    {"--check-replicas", NULL, CLI_INT, offsetof(RunOptions, check_replicas), 1, "STEPS",
     "compare what ranks keep several times this often (default: 100)"},
    {"--no-native", NULL, CLI_FLAG, offsetof(RunOptions, no_native), 0, NULL,
     "compile anew from the plan's portable part"},
};

static const CliOption counter_table[] = {
    {"--step", NULL, CLI_INT, offsetof(CounterOptions, step), 0, "N",
     "what the program reads as `step` (default: the checkpoint's, else 0)"},
    {"--steps", NULL, CLI_INT, offsetof(CounterOptions, steps), 1, "N",
     "what it reads as `steps`, the planned length (default: likewise, else the plan's)"},
};

static const CliOption data_table[] = {
    {"--window", NULL, CLI_INT, offsetof(dlc_dataset_options, window), 1, "N",
     "text: rows of N tokens; targets are the next ones"},
    {"--stride", NULL, CLI_INT, offsetof(dlc_dataset_options, stride), 1, "N",
     "text: distance between windows (default: the window)"},
    {"--dtype", NULL, CLI_TEXT, offsetof(dlc_dataset_options, dtype), 0, "TYPE",
     "raw token files: u8 (default), u16, u32, i32"},
};

CliGroup run_options(RunOptions *run) {
    return (CliGroup){run_table, sizeof run_table / sizeof run_table[0], run};
}

CliGroup counter_options(CounterOptions *counters) {
    return (CliGroup){counter_table, sizeof counter_table / sizeof counter_table[0], counters};
}

CliGroup data_options(dlc_dataset_options *data) {
    return (CliGroup){data_table, sizeof data_table / sizeof data_table[0], data};
}

/* -- Plans and sessions -- */

int run_begin(const CliCommand *command, RunOptions *run) {
    const JobNeeds needs = {.device = &run->device,
                            .threads = &run->threads,
                            .restarts = run->restarts,
                            .checkpoint = run->restarts_from,
                            .quiet = run->quiet};
    return job_begin(command, &run->job, &needs);
}

int plan_parse(const CliCommand *command, int argc, char **argv, const char **out_plan) {
    size_t count = 0;
    int status = cli_parse(command, argc, argv, out_plan, 1, &count);
    return status < 0 && count == 0 ? cli_wrong(command, "no plan given") : status;
}

static int context_open(Opened *opened, const CliCommand *command, const char *plan_path,
                        unsigned flags, int (*cancel)(void *user)) {
    dlc_context_options options = {.struct_size = sizeof options, .log = cli_log, .cancel = cancel};
    *opened = (Opened){0};
    dlc_status status = dlc_context_create(&options, &opened->context);
    if (status == DLC_OK) {
        status = dlc_plan_load(opened->context, plan_path, flags, &opened->plan);
    }
    if (status != DLC_OK) {
        int code = cli_failed(command, opened->context, status);
        opened_close(opened);
        return code;
    }
    return 0;
}

int opened_plan(Opened *opened, const CliCommand *command, const char *plan_path) {
    return context_open(opened, command, plan_path, 0, NULL);
}

/* The device that is asked for. Of several ranks of a machine, where none is: a GPU each, if the
 * plan can run on one here. `text` has room for it. */
static const char *device_of(const Opened *opened, const RunOptions *run, char text[32]) {
    int64_t local = run->job.launch.local_rank;
    dlc_target_info info = {.struct_size = sizeof info};
    if (run->device || !opened->communicator || local < 0) {
        return run->device;
    }
    for (size_t i = 0; i < dlc_plan_target_count(opened->plan); i++) {
        if (dlc_plan_target(opened->plan, i, &info) == DLC_OK && strcmp(info.device, "cuda") == 0 &&
            dlc_plan_target_check(opened->plan, i) == DLC_OK) {
            snprintf(text, 32, "cuda:%lld", (long long)local);
            return text;
        }
    }
    return NULL;
}

int opened_session(Opened *opened, const CliCommand *command, const RunOptions *run) {
    char device[32];
    CliBindings bindings;
    if (!cli_bindings(command, &run->bindings, &bindings)) {
        return 2;
    }
    if (run->poison && strcmp(run->poison, "A") != 0 && strcmp(run->poison, "B") != 0) {
        return cli_wrong(command, "--poison takes A or B, not '%s'", run->poison);
    }
    if (run->zero && (run->zero[0] < '0' || run->zero[0] > '3' || run->zero[1])) {
        return cli_wrong(command, "--zero takes 0 to 3, not '%s'", run->zero);
    }
    bool guarded = run->arena && strcmp(run->arena, "guarded") == 0;
    if (run->arena && !guarded && strcmp(run->arena, "packed") != 0) {
        return cli_wrong(command, "--arena takes packed or guarded, not '%s'", run->arena);
    }
    dlc_status ended = opened->session ? dlc_session_end_trace(opened->session) : DLC_OK;
    dlc_session_destroy(opened->session);
    opened->session = NULL;
    if (ended != DLC_OK) {
        return cli_failed(command, opened->context, ended);
    }
    dlc_session_options options = {
        .struct_size = sizeof options,
        .bindings = bindings.items,
        .n_bindings = bindings.count,
        .device = device_of(opened, run, device),
        .threads = (int)run->threads,
        .has_seed = run->seed >= 0,
        .seed = run->seed,
        .poison = !run->poison            ? 0
                  : run->poison[0] == 'A' ? 1
                                          : 2,
        .guarded = guarded,
        .no_libraries = run->no_libraries,
        .accumulate = run->accumulate,
        .raw_weights = run->raw_weights,
        .trace = run->trace,
        .journal = run->journal && strcmp(run->journal, "none") != 0 ? run->journal : NULL,
        .stall_seconds = run->stall,
        .check_replicas = run->check_replicas,
        .communicator = opened->communicator,
        .rows = DLC_ROWS_WHOLE, /* every process opens the same files */
        .mesh = run->mesh,
        .zero = !run->zero           ? 0
                : run->zero[0] > '0' ? run->zero[0] - '0'
                                     : DLC_ZERO_OFF,
        .exchange = run->exchange,
        .sequence = run->sequence,
    };
    dlc_status status = dlc_session_create(opened->plan, &options, &opened->session);
    return status == DLC_OK ? 0 : cli_failed(command, opened->context, status);
}

int opened_open(Opened *opened, const CliCommand *command, const char *plan_path,
                const RunOptions *run, int (*cancel)(void *user)) {
    int code = context_open(opened, command, plan_path,
                            run->no_native ? (unsigned)DLC_PLAN_NO_NATIVE : 0, cancel);
    if (code != 0) {
        return code;
    }
    code = job_meet(command, opened->context, &run->job, &opened->communicator);
    code = code ? code : opened_session(opened, command, run);
    if (code != 0) {
        opened_close(opened);
    }
    return code;
}

int opened_end(Opened *opened, const CliCommand *command, int code) {
    dlc_status status = opened->session ? dlc_session_end_trace(opened->session) : DLC_OK;
    if (status != DLC_OK) {
        cli_failed(command, opened->context, status);
    }
    opened_close(opened);
    return status != DLC_OK && code == 0 ? 1 : code;
}

void opened_close(Opened *opened) {
    dlc_session_destroy(opened->session);
    dlc_communicator_destroy(opened->communicator);
    dlc_plan_destroy(opened->plan);
    dlc_context_destroy(opened->context);
    *opened = (Opened){0};
}

void device_note(const Opened *opened, const RunOptions *run) {
    const char *device = dlc_session_describe(opened->session);
    if (run->device || strncmp(device, "cpu ", 4) != 0 || strstr(device, "; not ")) {
        fprintf(stderr, "note: device %s\n", device);
    }
}

int plan_entry_index(const dlc_plan *plan, const char *name) {
    static const char *const purposes[] = {"infer", "eval", "train", "init"};
    for (size_t i = 0; i < dlc_plan_entry_count(plan); i++) {
        dlc_entry_info info = {.struct_size = sizeof(info)};
        if (dlc_plan_entry(plan, i, &info) != DLC_OK) {
            continue;
        }
        const char *dot = strrchr(info.name, '.');
        if (!strcmp(info.name, name) || (dot && !strcmp(dot + 1, name)) ||
            (info.purpose < 4 && !strcmp(purposes[info.purpose], name))) {
            return (int)i;
        }
    }
    return -1;
}

/* -- Commands -- */

static const char help_text[] =
    "Usage: dlrun COMMAND PLAN [options]\n"
    "\n"
    "  dlrun train PLAN --data train=F[,eval=F]   train, and evaluate after every epoch\n"
    "  dlrun eval PLAN --weights W --data F       print each metric as `name value`\n"
    "  dlrun infer PLAN --weights W --input name=F.npy --output name=F.npy\n"
    "  dlrun bench PLAN                           time a step against this machine's peak\n"
    "  dlrun inspect PLAN|WEIGHTS|CHECKPOINT      what one of these holds\n"
    "  dlrun explain-hang DIR                     what the journals of several ranks say\n"
    "  dlrun PLAN [options]                       as infer\n"
    "\n"
    "dlrun COMMAND --help lists a command's options.\n";

static int run_command(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"train", dlrun_train},     {"eval", dlrun_eval},
                    {"infer", dlrun_infer},     {"bench", dlrun_bench},
                    {"inspect", dlrun_inspect}, {"explain-hang", dlrun_explain_hang}};
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

int main(int argc, char **argv) {
    cli_begin();
    job_speak();
    return cli_end("dlrun", run_command(argc, argv));
}
