/* dlrun inspect: what a plan, a file of weights or a checkpoint holds. */
#include "tools/dlrun.h"
#include "tools/ranks.h"
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

static const char *role_text(dlc_tensor_role role) {
    static const char *const names[] = {"input",  "param",  "state", "cache", "slot",
                                        "output", "metric", "loss",  "info"};
    return (size_t)role < sizeof names / sizeof names[0] ? names[role] : "?";
}

static void inspect_entry(const dlc_plan *plan, size_t index, const CliBindings *bindings,
                          int64_t ranks) {
    dlc_entry_info info = {.struct_size = sizeof(info)};
    dlc_entry_summary s = {.struct_size = sizeof(s)};
    char a[32], b[32];
    if (dlc_plan_entry(plan, index, &info) != DLC_OK) {
        return;
    }
    printf("entry %s\n", info.name);
    if (dlc_plan_summarize(plan, info.name, bindings->items, bindings->count, &s) == DLC_OK) {
        printf("  %s, peak memory %s, %lld launches of %lld kernels\n",
               cli_amount(s.flops, "FLOP", a), cli_bytes((double)s.peak_bytes, b),
               (long long)s.commands, (long long)s.kernels);
    }
    const ExchangeSizes exchanged = {bindings->items, bindings->count, ranks};
    if (info.purpose == DLC_PURPOSE_TRAIN) {
        ranks_print(plan, info.name, &exchanged);
    } else {
        exchanges_print(plan, info.name, &exchanged);
    }
    for (size_t i = 0; i < info.n_tensors; i++) {
        dlc_tensor_info tensor = {.struct_size = sizeof(tensor)};
        if (dlc_plan_entry_tensor(plan, index, i, &tensor) == DLC_OK &&
            tensor.role != DLC_ROLE_PARAM && tensor.role != DLC_ROLE_SLOT &&
            tensor.role != DLC_ROLE_STATE) {
            printf("  %-7s %-20s %s\n", role_text(tensor.role), tensor.name, tensor.type);
        }
    }
}

/* Each image, and whether this machine can run it. */
static void inspect_targets(const Opened *opened) {
    dlc_target_info info = {.struct_size = sizeof(info)};
    char size[32];
    for (size_t i = 0; i < dlc_plan_target_count(opened->plan); i++) {
        if (dlc_plan_target(opened->plan, i, &info) != DLC_OK) {
            continue;
        }
        bool runs = dlc_plan_target_check(opened->plan, i) == DLC_OK;
        printf("target %s:%s: %zu kernels, %s%s%s\n", info.device, info.machine, info.n_kernels,
               cli_bytes((double)info.image_bytes, size),
               runs ? "" : "; not here: ", runs ? "" : dlc_last_error(opened->context));
    }
}

static void inspect_plan(const Opened *opened, const CliBindings *bindings, int64_t ranks) {
    const dlc_plan *plan = opened->plan;
    static const char *const settings[] = {"batch",     "epochs",    "steps",      "seed",
                                           "optimizer", "precision", "accumulate", "mesh"};
    printf("model %s: %s parameters, %zu kernels\n", dlc_plan_model(plan),
           dlc_plan_parameter_text(plan), dlc_plan_kernel_count(plan));
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        const char *text = dlc_plan_setting(plan, settings[i]);
        if (text) {
            printf("  %-10s %s\n", settings[i], text);
        }
    }
    inspect_targets(opened);
    for (size_t i = 0; i < dlc_plan_dim_count(plan); i++) {
        dlc_dim_info dim = {.struct_size = sizeof(dim)};
        if (dlc_plan_dim(plan, i, &dim) == DLC_OK) {
            printf("dim %s: from %lld", dim.name, (long long)dim.low);
            if (dim.high != INT64_MAX) {
                printf(" to %lld", (long long)dim.high);
            }
            if (dim.divisor > 1) {
                printf(", a multiple of %lld", (long long)dim.divisor);
            }
            printf("; figures for %lld\n", (long long)dim_size(&dim, bindings));
        }
    }
    for (size_t i = 0; i < dlc_plan_variable_count(plan); i++) {
        dlc_tensor_info tensor = {.struct_size = sizeof(tensor)};
        if (dlc_plan_variable(plan, i, &tensor) == DLC_OK && tensor.role != DLC_ROLE_SLOT) {
            printf("%-7s %-32s %s\n", role_text(tensor.role), tensor.name, tensor.type);
        }
    }
    for (size_t i = 0; i < dlc_plan_entry_count(plan); i++) {
        inspect_entry(plan, i, bindings, ranks);
    }
}

/* A folder, a safetensors file (whose ninth byte opens a JSON object), or one of PyTorch's, of
 * which the library says what to do with it. Devices and pipes can be read once only: they are
 * plans. */
static bool holds_weights(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) {
        return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    }
    unsigned char start[9] = {0};
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(start, 1, sizeof start, file) : 0;
    if (file) {
        fclose(file);
    }
    return n == sizeof start &&
           (start[8] == '{' || memcmp(start, "PK\3\4", 4) == 0 || start[0] == 0x80);
}

static int inspect_weights(const CliCommand *command, const char *path, unsigned flags) {
    dlc_context_options options = {.struct_size = sizeof options, .log = cli_log};
    dlc_context *context = NULL;
    char *text = NULL;
    dlc_status status = dlc_context_create(&options, &context);
    if (status == DLC_OK) {
        status = dlc_weights_describe(context, path, flags, &text);
    }
    int code = status == DLC_OK ? 0 : cli_failed(command, context, status);
    fputs(text ? text : "", stdout);
    dlc_text_free(context, text);
    dlc_context_destroy(context);
    return code;
}

typedef struct InspectOptions {
    CliList bindings;
    int64_t ranks;
    bool json, commands, ir;
} InspectOptions;

static const CliOption inspect_table[] = {
    {"--define", "-D", CLI_LIST, offsetof(InspectOptions, bindings), 0, "DIM=N",
     "free sizes, for memory and arithmetic"},
    {"--ranks", NULL, CLI_INT, offsetof(InspectOptions, ranks), 1, "N",
     "of a mesh: how many ranks, for what they exchange"},
    {"--json", NULL, CLI_FLAG, offsetof(InspectOptions, json), 0, NULL,
     "the manifest; of weights, all of it"},
    {"--commands", NULL, CLI_FLAG, offsetof(InspectOptions, commands), 0, NULL,
     "the schedule: commands, buffers, kernels"},
    {"--ir", NULL, CLI_FLAG, offsetof(InspectOptions, ir), 0, NULL, "the portable IR"},
};

int dlrun_inspect(int argc, char **argv) {
    InspectOptions options = {.json = false};
    const char *path = NULL;
    const CliCommand command = {
        .program = "dlrun inspect",
        .usage = "dlrun inspect PLAN|WEIGHTS|CHECKPOINT [options]",
        .about = "Says what a plan, a safetensors file or a checkpoint's folder holds.",
        .groups = {{inspect_table, sizeof inspect_table / sizeof inspect_table[0], &options}},
    };
    int code = plan_parse(&command, argc, argv, &path);
    CliBindings bindings;
    if (code >= 0) {
        return code;
    }
    if (!cli_bindings(&command, &options.bindings, &bindings)) {
        return 2;
    }
    if (holds_weights(path)) {
        return options.commands || options.ir
                   ? cli_wrong(&command, "'%s' is no plan: no --commands, no --ir", path)
                   : inspect_weights(&command, path, options.json ? DLC_WEIGHTS_JSON : 0);
    }
    Opened opened;
    code = opened_plan(&opened, &command, path);
    if (code != 0) {
        return code;
    }
    char *text = NULL;
    if (options.json) {
        puts(dlc_plan_manifest(opened.plan));
    } else if (options.ir) {
        fputs(dlc_plan_ir(opened.plan), stdout);
    } else if (options.commands) {
        dlc_status status = dlc_plan_describe(opened.plan, &text);
        code = status == DLC_OK ? 0 : cli_failed(&command, opened.context, status);
        fputs(text ? text : "", stdout);
        dlc_text_free(opened.context, text);
    } else {
        inspect_plan(&opened, &bindings, options.ranks);
    }
    opened_close(&opened);
    return code;
}
