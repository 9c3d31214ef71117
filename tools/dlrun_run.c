/* dlrun eval, infer and bench. */
#include "tools/dlrun.h"
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* The weights where they are given, then the counters. */
static dlc_status weights_take(const Opened *opened, const char *weights,
                               const CounterOptions *counters) {
    dlc_status status = weights ? dlc_weights_load(opened->session, weights, NULL) : DLC_OK;
    if (status == DLC_OK && counters->step >= 0) {
        status = dlc_set_counter(opened->session, "step", counters->step);
    }
    if (status == DLC_OK && counters->steps >= 0) {
        status = dlc_set_counter(opened->session, "steps", counters->steps);
    }
    return status;
}

/* -- eval -- */

typedef struct EvalOptions {
    RunOptions run;
    CounterOptions counters;
    dlc_dataset_options reading;
    const char *weights, *data;
    int64_t batch;
    bool json;
} EvalOptions;

static const CliOption eval_table[] = {
    {"--weights", NULL, CLI_TEXT, offsetof(EvalOptions, weights), 0, "W", WEIGHTS_HELP},
    {"--data", NULL, CLI_TEXT, offsetof(EvalOptions, data), 0, "F",
     "NPZ, NPY, CSV, IDX, safetensors, text or tokens"},
    {"--batch", NULL, CLI_INT, offsetof(EvalOptions, batch), 1, "N", "rows of a step"},
    {"--json", NULL, CLI_FLAG, offsetof(EvalOptions, json), 0, NULL, "one JSON object"},
};

static int eval_opened(const CliCommand *command, Opened *opened, const EvalOptions *options) {
    dlc_dataset *data = NULL;
    dlc_status status = dlc_dataset_open(opened->context, options->data, &options->reading, &data);
    if (status == DLC_OK) {
        status = dlc_session_bind_data(opened->session, "eval", data);
    }
    if (status == DLC_OK) {
        status = weights_take(opened, options->weights, &options->counters);
    }
    dlc_metric metrics[64];
    size_t count = 0;
    if (status == DLC_OK) {
        status = dlc_evaluate(opened->session, data, options->batch, metrics, 64, &count);
    }
    int code = status == DLC_OK ? 0 : cli_failed(command, opened->context, status);
    for (size_t i = 0; code == 0 && i < count && i < 64; i++) {
        if (options->json) {
            fputs(i ? ", " : "{", stdout);
            cli_json_text(metrics[i].name, stdout);
            fputs(": ", stdout);
            cli_json_number(metrics[i].value, stdout);
        } else {
            printf("%s %.6g\n", metrics[i].name, cli_unsigned_nan(metrics[i].value));
        }
    }
    if (code == 0 && options->json) {
        fputs(count ? ", \"device\": " : "{\"device\": ", stdout);
        cli_json_text(dlc_session_describe(opened->session), stdout);
        puts("}");
    }
    dlc_dataset_destroy(data);
    return code;
}

/* Whether the plan has anything that a weights file holds. */
static bool has_weights(const dlc_plan *plan) {
    for (size_t i = 0; i < dlc_plan_variable_count(plan); i++) {
        dlc_tensor_info info = {.struct_size = sizeof(info)};
        if (dlc_plan_variable(plan, i, &info) == DLC_OK &&
            (info.role == DLC_ROLE_PARAM || info.role == DLC_ROLE_STATE)) {
            return true;
        }
    }
    return false;
}

int dlrun_eval(int argc, char **argv) {
    EvalOptions options = {.run = RUN_OPTIONS_UNSET,
                           .counters = {-1, -1},
                           .reading = {.struct_size = sizeof options.reading}};
    const char *plan = NULL;
    const CliCommand command = {
        .program = "dlrun eval",
        .usage = "dlrun eval PLAN --weights W --data F [options]",
        .about = "Prints the loss and each metric as `name value`, one a line.",
        .groups = {{eval_table, sizeof eval_table / sizeof eval_table[0], &options},
                   data_options(&options.reading),
                   counter_options(&options.counters),
                   run_options(&options.run),
                   job_options(&options.run.job)},
    };
    int code = plan_parse(&command, argc, argv, &plan);
    if (code >= 0) {
        return code;
    }
    if (!options.data) {
        return cli_wrong(&command, "--data F is needed");
    }
    options.run.quiet = options.json;
    code = run_begin(&command, &options.run);
    if (code >= 0) {
        return code;
    }
    Opened opened;
    code = opened_open(&opened, &command, plan, &options.run, NULL);
    if (code == 0 && !options.weights && has_weights(opened.plan)) {
        opened_close(&opened);
        return cli_wrong(&command, "--weights W is needed");
    }
    if (code == 0) {
        if (!options.json) {
            device_note(&opened, &options.run);
        }
        code = opened_end(&opened, &command, eval_opened(&command, &opened, &options));
    }
    return code;
}

/* -- infer -- */

static void print_tensor(const char *name, const DLTensor *tensor) {
    enum { SHOWN = 16 };
    int64_t n = 1;
    printf("%s [", name);
    for (int32_t i = 0; i < tensor->ndim; i++) {
        n *= tensor->shape[i];
        printf("%s%lld", i ? ", " : "", (long long)tensor->shape[i]);
    }
    printf("]:");
    const char *data = (const char *)tensor->data + tensor->byte_offset;
    int bits = tensor->dtype.bits;
    for (int64_t i = 0; i < n && i < SHOWN; i++) {
        if (tensor->dtype.code == kDLFloat && bits == 32) {
            printf(" %.6g", cli_unsigned_nan((double)((const float *)(const void *)data)[i]));
        } else if (tensor->dtype.code == kDLFloat && bits == 64) {
            printf(" %.9g", cli_unsigned_nan(((const double *)(const void *)data)[i]));
        } else if (tensor->dtype.code == kDLInt && bits == 32) {
            printf(" %d", ((const int32_t *)(const void *)data)[i]);
        } else if (tensor->dtype.code == kDLInt && bits == 64) {
            printf(" %lld", (long long)((const int64_t *)(const void *)data)[i]);
        } else if (bits == 8) {
            printf(" %d", ((const uint8_t *)(const void *)data)[i]);
        } else {
            printf(" (%d-bit values: write them with --output)", bits);
            break;
        }
    }
    puts(n > SHOWN ? " …" : "");
}

/* Whether every item is name=FILE; else says so and returns 2. `writes`: where they can be written,
 * before anything runs. */
static int names_given(const CliCommand *command, const char *option, const CliList *list,
                       bool writes) {
    int code = 0;
    for (size_t i = 0; i < list->count && code == 0; i++) {
        char name[128];
        const char *path = NULL;
        if (!cli_split(list->items[i], name, sizeof name, &path)) {
            code = cli_wrong(command, "%s takes name=FILE, not '%s'", option, list->items[i]);
        } else if (writes) {
            code = cli_writable(command, path);
        }
    }
    return code;
}

static dlc_status set_inputs(Opened *opened, const char *entry, const CliList *inputs) {
    dlc_status status = DLC_OK;
    for (size_t i = 0; i < inputs->count && status == DLC_OK; i++) {
        char name[128];
        const char *path = NULL;
        if (!cli_split(inputs->items[i], name, sizeof name, &path)) {
            return DLC_ERROR_INVALID_ARGUMENT; /* names_given has said so */
        }
        DLManagedTensorVersioned *tensor = NULL;
        status = dlc_tensor_read(opened->context, path, &tensor);
        if (status == DLC_OK) {
            status = dlc_set_input(opened->session, entry, name, &tensor->dl_tensor);
            tensor->deleter(tensor);
        }
    }
    return status;
}

/* All ranks put an output together; rank 0 writes it. */
static dlc_status write_outputs(Opened *opened, const char *entry, const CliList *outputs,
                                bool writes) {
    dlc_status status = DLC_OK;
    for (size_t i = 0; i < outputs->count && status == DLC_OK; i++) {
        char name[128];
        const char *path = NULL;
        if (!cli_split(outputs->items[i], name, sizeof name, &path)) {
            return DLC_ERROR_INVALID_ARGUMENT;
        }
        const DLTensor *tensor = NULL;
        status = dlc_view_output(opened->session, entry, name, &tensor);
        if (status == DLC_OK && writes) {
            status = dlc_tensor_write(opened->context, path, tensor);
        }
    }
    return status;
}

static void print_outputs(Opened *opened, const char *entry) {
    int at = plan_entry_index(opened->plan, entry);
    dlc_entry_info info = {.struct_size = sizeof(info)};
    if (at < 0 || dlc_plan_entry(opened->plan, (size_t)at, &info) != DLC_OK) {
        return;
    }
    for (size_t i = 0; i < info.n_tensors; i++) {
        dlc_tensor_info tensor = {.struct_size = sizeof(tensor)};
        const DLTensor *value = NULL;
        if (dlc_plan_entry_tensor(opened->plan, (size_t)at, i, &tensor) == DLC_OK &&
            tensor.role == DLC_ROLE_OUTPUT &&
            dlc_view_output(opened->session, entry, tensor.name, &value) == DLC_OK) {
            print_tensor(tensor.name, value);
        }
    }
}

typedef struct InferOptions {
    RunOptions run;
    CounterOptions counters;
    const char *weights, *entry;
    CliList inputs, outputs;
} InferOptions;

static const CliOption infer_table[] = {
    {"--weights", NULL, CLI_TEXT, offsetof(InferOptions, weights), 0, "W", WEIGHTS_HELP},
    {"--input", NULL, CLI_LIST, offsetof(InferOptions, inputs), 0, "NAME=F",
     "F.npy, F.npz:field or F.safetensors:name"},
    {"--output", NULL, CLI_LIST, offsetof(InferOptions, outputs), 0, "NAME=F.npy",
     "where an output goes (default: printed)"},
    {"--entry", NULL, CLI_TEXT, offsetof(InferOptions, entry), 0, "NAME",
     "another entry than infer"},
};

static int infer_opened(const CliCommand *command, Opened *opened, const InferOptions *options) {
    const char *entry = options->entry;
    dlc_status status = set_inputs(opened, entry, &options->inputs);
    if (status == DLC_OK && !options->weights && dlc_plan_variable_count(opened->plan) > 0) {
        fprintf(stderr, "note: no --weights: the model has its initial ones\n");
        status = dlc_init_weights(opened->session);
    }
    if (status == DLC_OK) {
        status = weights_take(opened, options->weights, &options->counters);
    }
    if (status == DLC_OK) {
        status = dlc_run(opened->session, entry);
    }
    if (status == DLC_OK) {
        status = write_outputs(opened, entry, &options->outputs, options->run.job.launch.rank == 0);
    }
    if (status != DLC_OK) {
        return cli_failed(command, opened->context, status);
    }
    if (options->outputs.count == 0) {
        print_outputs(opened, entry);
    }
    return 0;
}

int dlrun_infer(int argc, char **argv) {
    InferOptions options = {.run = RUN_OPTIONS_UNSET, .counters = {-1, -1}, .entry = "infer"};
    const char *plan = NULL;
    const CliCommand command = {
        .program = "dlrun infer",
        .usage = "dlrun infer PLAN --weights W --input NAME=F.npy … [--output NAME=F.npy …]",
        .about = "Runs a plan's entry once.",
        .groups = {{infer_table, sizeof infer_table / sizeof infer_table[0], &options},
                   counter_options(&options.counters),
                   run_options(&options.run),
                   job_options(&options.run.job)},
    };
    int code = plan_parse(&command, argc, argv, &plan);
    if (code >= 0) {
        return code;
    }
    code = names_given(&command, "--input", &options.inputs, false);
    code = code ? code
                : names_given(&command, "--output", &options.outputs,
                              job_seems_alone(&options.run.job));
    code = code ? code : run_begin(&command, &options.run);
    if (code >= 0) {
        return code;
    }
    Opened opened;
    code = opened_open(&opened, &command, plan, &options.run, NULL);
    if (code == 0) {
        device_note(&opened, &options.run);
        code = opened_end(&opened, &command, infer_opened(&command, &opened, &options));
    }
    return code;
}

/* -- bench -- */

static void print_rate(const char *what, double rate, double peak, const char *unit) {
    char a[32], b[32];
    printf("  %s %s", what, cli_amount(rate, unit, a));
    if (peak > 0) {
        printf(", %.1f %% of this machine's %s", 100 * rate / peak, cli_amount(peak, unit, b));
    }
    putchar('\n');
}

int64_t dim_size(const dlc_dim_info *dim, const CliBindings *bindings) {
    for (size_t i = 0; i < bindings->count; i++) {
        if (strcmp(bindings->items[i].name, dim->name) == 0) {
            return bindings->items[i].value;
        }
    }
    return dim->usual;
}

static void print_sizes(const CliCommand *command, const dlc_plan *plan, const RunOptions *run) {
    CliBindings bindings;
    if (dlc_plan_dim_count(plan) == 0 || !cli_bindings(command, &run->bindings, &bindings)) {
        return;
    }
    for (size_t i = 0; i < dlc_plan_dim_count(plan); i++) {
        dlc_dim_info dim = {.struct_size = sizeof(dim)};
        if (dlc_plan_dim(plan, i, &dim) == DLC_OK) {
            printf("%s%s = %lld", i == 0 ? "  sizes      " : ", ", dim.name,
                   (long long)dim_size(&dim, &bindings));
        }
    }
    putchar('\n');
}

static void print_bench(const char *entry, const dlc_bench_result *r, const char *device,
                        bool json) {
    double flops = r->flops / r->median, bytes = r->bytes / r->median;
    double items = (double)r->rows / r->median;
    if (json) {
        const struct {
            const char *name;
            double value;
        } numbers[] = {{"repeats", (double)r->repeats},
                       {"median_s", r->median},
                       {"p10_s", r->p10},
                       {"p90_s", r->p90},
                       {"rows", (double)r->rows},
                       {"rows_per_s", items},
                       {"flops_per_s", flops},
                       {"bytes_per_s", bytes},
                       {"peak_flops_per_s", r->peak_flops},
                       {"peak_bytes_per_s", r->peak_bytes}};
        fputs("{\"entry\": ", stdout);
        cli_json_text(entry, stdout);
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
            printf(", \"%s\": ", numbers[i].name);
            cli_json_number(numbers[i].value, stdout);
        }
        fputs(", \"device\": ", stdout);
        cli_json_text(device, stdout);
        puts("}");
        return;
    }
    char a[32], b[32], c[32];
    printf("%s: median %s, p10 %s, p90 %s over %lld runs\n", entry, cli_duration(r->median, a),
           cli_duration(r->p10, b), cli_duration(r->p90, c), (long long)r->repeats);
    printf("  device     %s\n", device);
    if (r->rows > 0) {
        printf("  %s of batch %lld\n", cli_amount(items, "items/s", a), (long long)r->rows);
    }
    print_rate("arithmetic", flops, r->peak_flops, "FLOP/s");
    print_rate("memory    ", bytes, r->peak_bytes, "B/s");
}

typedef struct BenchOptions {
    RunOptions run;
    dlc_dataset_options reading;
    dlc_bench_options bench;
    const char *entry, *data;
    bool json;
} BenchOptions;

static const CliOption bench_table[] = {
    {"--entry", NULL, CLI_TEXT, offsetof(BenchOptions, entry), 0, "NAME",
     "which entry (default: train, else infer)"},
    {"--data", NULL, CLI_TEXT, offsetof(BenchOptions, data), 0, "F",
     "take the first batch of a file (default: random)"},
    {"--warmup", NULL, CLI_INT, offsetof(BenchOptions, bench.warmup), 1, "N",
     "runs before measuring"},
    {"--repeats", NULL, CLI_INT, offsetof(BenchOptions, bench.repeats), 1, "N", "runs measured"},
    {"--seconds", NULL, CLI_NUMBER, offsetof(BenchOptions, bench.seconds), 0, "S",
     "how long to measure"},
    {"--json", NULL, CLI_FLAG, offsetof(BenchOptions, json), 0, NULL, "one JSON object"},
};

static int bench_opened(const CliCommand *command, Opened *opened, BenchOptions *options) {
    dlc_bench_result result = {.struct_size = sizeof result};
    dlc_dataset *dataset = NULL;
    dlc_status status = DLC_OK;
    const char *entry = options->entry                                 ? options->entry
                        : plan_entry_index(opened->plan, "train") >= 0 ? "train"
                                                                       : "infer";
    if (options->data) {
        status = dlc_dataset_open(opened->context, options->data, &options->reading, &dataset);
        options->bench.data = dataset;
    }
    if (status == DLC_OK) {
        status = dlc_bench(opened->session, entry, &options->bench, &result);
    }
    dlc_dataset_destroy(dataset);
    if (status != DLC_OK) {
        return cli_failed(command, opened->context, status);
    }
    print_bench(entry, &result, dlc_session_describe(opened->session), options->json);
    if (!options->json && !options->data) { /* else the data say some of them */
        print_sizes(command, opened->plan, &options->run);
    }
    return 0;
}

int dlrun_bench(int argc, char **argv) {
    BenchOptions options = {.run = RUN_OPTIONS_UNSET,
                            .reading = {.struct_size = sizeof options.reading},
                            .bench = {.struct_size = sizeof options.bench}};
    const char *plan = NULL;
    const CliCommand command = {
        .program = "dlrun bench",
        .usage = "dlrun bench PLAN [-D B=64] [options]",
        .about =
            "Times an entry on random inputs, or on a file's, and compares with this machine's "
            "measured peak.",
        .groups = {{bench_table, sizeof bench_table / sizeof bench_table[0], &options},
                   data_options(&options.reading),
                   run_options(&options.run),
                   job_options(&options.run.job)},
    };
    int code = plan_parse(&command, argc, argv, &plan);
    if (code >= 0) {
        return code;
    }
    options.run.quiet = options.json;
    code = run_begin(&command, &options.run);
    if (code >= 0) {
        return code;
    }
    Opened opened;
    code = opened_open(&opened, &command, plan, &options.run, NULL);
    return code == 0 ? opened_end(&opened, &command, bench_opened(&command, &opened, &options))
                     : code;
}
