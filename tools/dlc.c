/* dlc: compiles a .dl program to a plan, checks it, formats it, or prints any stage in between. A
 * thin program over the C API. */
#include "tools/cli.h"
#include "tools/ranks.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct Options {
    const char *output, *target, *emit, *print_after, *skip, *float_type;
    CliList defines, targets, folders;
    int64_t threads, memory_limit, compile_bytes, compile_seconds;
    bool no_libraries, time_passes, explain, quiet, json, verify_each, emulate_precision,
        accumulate, from_ir, write_in_place, check_format;
    const char *topic, *mesh, *schedule, *sequence, *exchange;
    int64_t zero, microbatches;
    bool show_ops, show_passes, show_version;
} Options;

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Where the compiler's texts go. */
typedef struct Texts {
    dlc_context *context;
    const char *emit, *output; /* the stage asked for and its file; NULL: none */
    FILE *to;                  /* of the others, and of a stage without a file */
    dlc_status status;         /* of writing the file */
} Texts;

static void print_text(void *user, const char *stage, const char *text) {
    Texts *texts = user;
    bool is_asked = texts->emit && strcmp(stage, texts->emit) == 0;
    size_t length = strlen(text);
    if (is_asked && texts->output) {
        texts->status = dlc_file_write(texts->context, texts->output, text, length);
        return;
    }
    if (texts->emit && !is_asked) {
        fprintf(texts->to, "# %s\n", stage);
    }
    fputs(text, texts->to);
    if (length == 0 || text[length - 1] != '\n') {
        putc('\n', texts->to);
    }
}

static void print_diagnostics(const dlc_context *context, bool json) {
    const char *text = json ? dlc_diagnostics_json(context)
                            : dlc_diagnostics_text(context, cli_colors(STDERR_FILENO));
    if (text && text[0]) {
        fputs(text, stderr);
    }
}

/* The stem of `path` with ".plan"; false if it does not fit. */
static bool default_output(const char *path, char *out, size_t capacity) {
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(path, '.');
    size_t length = dot && (!slash || dot > slash) ? (size_t)(dot - path) : strlen(path);
    int written = snprintf(out, capacity, "%.*s.plan", (int)length, path);
    return written > 0 && (size_t)written < capacity;
}

/* Sizes that a summary's figures are for. */
typedef struct Sizes {
    dlc_binding items[CLI_LIST_MAX];
    size_t count;
} Sizes;

static Sizes sizes_for_figures(const dlc_plan *plan) {
    Sizes sizes = {.count = 0};
    for (size_t i = 0; i < dlc_plan_dim_count(plan) && sizes.count < CLI_LIST_MAX; i++) {
        dlc_dim_info dim = {.struct_size = sizeof(dim)};
        if (dlc_plan_dim(plan, i, &dim) == DLC_OK) {
            sizes.items[sizes.count++] = (dlc_binding){dim.name, dim.usual};
        }
    }
    return sizes;
}

static void print_summary(dlc_plan *plan, const char *output, double seconds) {
    char a[32], b[32], c[32], d[32], e[32];
    Sizes sizes = sizes_for_figures(plan);
    printf("%s: %s parameters, %zu kernels, compiled in %s\n", output,
           dlc_plan_parameter_text(plan), dlc_plan_kernel_count(plan), cli_duration(seconds, a));
    for (size_t i = 0; i < dlc_plan_entry_count(plan); i++) {
        dlc_entry_info entry = {.struct_size = sizeof(entry)};
        dlc_entry_summary summary = {.struct_size = sizeof(summary)};
        if (dlc_plan_entry(plan, i, &entry) != DLC_OK || entry.purpose == DLC_PURPOSE_INIT ||
            dlc_plan_summarize(plan, entry.name, sizes.items, sizes.count, &summary) != DLC_OK) {
            continue;
        }
        printf("  %-24s %12s  peak memory %s (variables %s, inputs %s, arena %s), %lld launches\n",
               entry.name, cli_amount(summary.flops, "FLOP", a),
               cli_bytes((double)summary.peak_bytes, b),
               cli_bytes((double)summary.persistent_bytes, c),
               cli_bytes((double)summary.input_bytes, d), cli_bytes((double)summary.arena_bytes, e),
               (long long)summary.commands);
        if (entry.purpose == DLC_PURPOSE_TRAIN) {
            const ExchangeSizes exchanged = {sizes.items, sizes.count, 0};
            ranks_print(plan, entry.name, &exchanged);
        }
    }
    for (size_t i = 0; i < sizes.count; i++) {
        printf("%s%s", i == 0 ? "  free sizes: " : ", ", sizes.items[i].name);
    }
    for (size_t i = 0; i < sizes.count; i++) {
        printf("%s%s = %lld%s", i == 0 ? "; figures for " : ", ", sizes.items[i].name,
               (long long)sizes.items[i].value, i + 1 == sizes.count ? "\n" : "");
    }
    const char *mesh = dlc_plan_setting(plan, "mesh");
    const char *layout = dlc_plan_setting(plan, "layout");
    if (layout) {
        printf("%s", layout);
    } else if (mesh) {
        printf("  mesh %s: noted; this plan is for one device\n", mesh);
    }
    const char *remat = dlc_plan_setting(plan, "remat");
    if (remat) {
        printf("  remat: %s\n", remat);
    }
    const char *precision = dlc_plan_setting(plan, "precision");
    if (precision && strcmp(precision, "f32") != 0) {
        const char *plain = dlc_plan_setting(plan, "computed_in_f32");
        printf("  precision %s: %s%s\n", precision,
               plain ? "computed in f32 on "
               : strcmp(precision, "tf32") == 0
                   ? "products, where the device has it; all else in f32"
                   : "products and what is stored between them; sums "
                     "and updates in f32",
               plain ? plain : "");
    }
}

/* The "targets" member of the manifest: each target's kernels with what its compiler said of them.
 */
static void print_targets_json(const char *manifest) {
    const char *from = strstr(manifest, "\n  \"targets\": [");
    const char *to = from ? strstr(from, "],\n  \"entries\": [") : NULL;
    if (to) {
        printf(", %.*s]", (int)(to - from - 3), from + 3);
    }
}

static void print_summary_json(dlc_plan *plan, const char *output, double seconds) {
    fputs("{\"plan\": ", stdout);
    cli_json_text(output, stdout);
    printf(", \"parameters\": \"%s\", \"kernels\": %zu, \"seconds\": ",
           dlc_plan_parameter_text(plan), dlc_plan_kernel_count(plan));
    cli_json_number(seconds, stdout);
    Sizes sizes = sizes_for_figures(plan);
    fputs(", \"sizes\": {", stdout);
    for (size_t i = 0; i < sizes.count; i++) {
        printf("%s\"%s\": %lld", i == 0 ? "" : ", ", sizes.items[i].name,
               (long long)sizes.items[i].value);
    }
    fputs("}, \"entries\": [", stdout);
    bool first = true;
    for (size_t i = 0; i < dlc_plan_entry_count(plan); i++) {
        dlc_entry_info entry = {.struct_size = sizeof(entry)};
        dlc_entry_summary s = {.struct_size = sizeof(s)};
        if (dlc_plan_entry(plan, i, &entry) != DLC_OK ||
            dlc_plan_summarize(plan, entry.name, sizes.items, sizes.count, &s) != DLC_OK) {
            continue;
        }
        fputs(first ? "{\"name\": " : ", {\"name\": ", stdout);
        cli_json_text(entry.name, stdout);
        fputs(", \"flops\": ", stdout);
        cli_json_number(s.flops, stdout);
        fputs(", \"bytes\": ", stdout);
        cli_json_number(s.bytes, stdout);
        printf(", \"peak_bytes\": %lld, \"variable_bytes\": %lld, \"input_bytes\": %lld, "
               "\"arena_bytes\": %lld, \"commands\": %lld, \"kernels\": %lld, "
               "\"exchanges\": ",
               (long long)s.peak_bytes, (long long)s.persistent_bytes, (long long)s.input_bytes,
               (long long)s.arena_bytes, (long long)s.commands, (long long)s.kernels);
        const ExchangeSizes exchanged = {sizes.items, sizes.count, 0};
        exchanges_print_json(plan, entry.name, &exchanged);
        ranks_print_json(plan, entry.name, &exchanged);
        putchar('}');
        first = false;
    }
    printf("]");
    print_targets_json(dlc_plan_manifest(plan));
    puts("}");
}

/* "name=value" texts as defines; names live in `storage`. */
static bool split_defines(const CliCommand *command, const CliList *list, dlc_define *defines,
                          char (*storage)[128]) {
    for (size_t i = 0; i < list->count; i++) {
        const char *value = NULL;
        if (!cli_split(list->items[i], storage[i], 128, &value)) {
            cli_wrong(command, "-D takes name=value, not '%s'", list->items[i]);
            return false;
        }
        defines[i] = (dlc_define){.name = storage[i], .value = value};
    }
    return true;
}

static unsigned compile_flags(const Options *options, bool check_only) {
    const struct {
        bool is_set;
        unsigned flag;
    } flags[] = {{check_only, DLC_COMPILE_CHECK},
                 {options->from_ir, DLC_COMPILE_INPUT_IR},
                 {options->verify_each, DLC_COMPILE_VERIFY_EACH},
                 {options->time_passes, DLC_COMPILE_TIME_PASSES},
                 {options->explain, DLC_COMPILE_EXPLAIN},
                 {options->emulate_precision, DLC_COMPILE_EMULATE_PRECISION},
                 {options->accumulate, DLC_COMPILE_ACCUMULATE},
                 {options->no_libraries, DLC_COMPILE_NO_LIBRARIES}};
    unsigned set = 0;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        set |= flags[i].is_set ? flags[i].flag : 0;
    }
    return set;
}

/* Compiles the file and says what it is told to meanwhile. *out is NULL where only a stage is asked
 * for; seconds: of the compile call. */
static int compile_plan(const CliCommand *command, const Options *options, const char *path,
                        bool check_only, Texts *texts, dlc_plan **out, double *out_seconds) {
    dlc_define defines[CLI_LIST_MAX];
    char storage[CLI_LIST_MAX][128];
    if (!split_defines(command, &options->defines, defines, storage)) {
        return 2;
    }
    const dlc_compile_options compile = {
        .struct_size = sizeof compile,
        .defines = defines,
        .n_defines = options->defines.count,
        .targets = options->targets.items,
        .n_targets = options->targets.count,
        .float_type = options->float_type,
        .flags = compile_flags(options, check_only),
        .emit = options->emit,
        .print_after = options->print_after,
        .skip_passes = options->skip,
        .on_text = print_text,
        .user = texts,
        .threads = (int)options->threads,
        .memory_limit = options->memory_limit,
        .compile_seconds = (double)options->compile_seconds,
        .compile_bytes = options->compile_bytes,
        .import_folders = options->folders.items,
        .n_import_folders = options->folders.count,
        .mesh = options->mesh,
        .zero = options->zero == 0  ? DLC_ZERO_OFF
                : options->zero < 0 ? 0
                                    : (int)options->zero,
        .schedule = options->schedule,
        .sequence = options->sequence,
        .microbatches = options->microbatches,
        .exchange = options->exchange,
    };
    double start = seconds_now();
    dlc_status status = dlc_compile_file(texts->context, path, &compile, out);
    *out_seconds = seconds_now() - start;
    print_diagnostics(texts->context, options->json);
    if (status == DLC_OK) {
        return texts->status == DLC_OK ? 0 : cli_failed(command, texts->context, texts->status);
    }
    if (status != DLC_ERROR_COMPILE || dlc_error_count(texts->context) == 0) {
        cli_failed(command, texts->context, status);
    }
    return 1;
}

/* Writes the plan and its summary. */
static int save_plan(const CliCommand *command, const Options *options, dlc_context *context,
                     dlc_plan *plan, const char *output, double seconds) {
    dlc_status status = dlc_plan_save(plan, output);
    if (status != DLC_OK) {
        return cli_failed(command, context, status);
    }
    if (!options->emit && cli_is_stdout(output)) {
        return 0;
    }
    if (options->json) {
        print_summary_json(plan, output, seconds);
    } else if (!options->quiet) {
        print_summary(plan, output, seconds);
    }
    return 0;
}

static int compile_file(const CliCommand *command, const Options *options, const char *path,
                        bool check_only) {
    char default_path[4096];
    const char *output = options->output;
    if (!output) {
        if (!default_output(path, default_path, sizeof default_path)) {
            return cli_wrong(command, "the path '%s' is too long", path);
        }
        output = default_path;
    }
    if (!options->emit && !check_only && cli_writable(command, output) != 0) {
        return 1;
    }
    dlc_context_options context_options = {.struct_size = sizeof context_options,
                                           .log = options->quiet ? NULL : cli_log};
    dlc_context *context = NULL;
    dlc_status status = dlc_context_create(&context_options, &context);
    if (status != DLC_OK) {
        return cli_failed(command, NULL, status);
    }
    Texts texts = {.context = context,
                   .emit = options->emit,
                   .output = options->output,
                   .to = cli_is_stdout(output) ? stderr : stdout};
    dlc_plan *plan = NULL;
    double seconds = 0;
    int code = compile_plan(command, options, path, check_only, &texts, &plan, &seconds);
    if (code == 0 && plan) {
        code = save_plan(command, options, context, plan, output, seconds);
    }
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
    return code;
}

enum { MOST_TEXT = 16 << 20 }; /* what a program may have */

/* A whole file, or standard input for "-"; NULL after a message. The caller frees. */
static char *read_text(const CliCommand *command, const char *path, size_t *out_length) {
    FILE *file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    if (!file) {
        fprintf(stderr, "%s: cannot open '%s': %s\n", command->program, path, strerror(errno));
        return NULL;
    }
    char *text = NULL;
    size_t length = 0, capacity = 0, got;
    do {
        if (capacity - length < 65536) {
            capacity = capacity * 2 + 65536;
            char *grown = realloc(text, capacity);
            if (!grown) {
                free(text);
                text = NULL;
                fprintf(stderr, "%s: out of memory\n", command->program);
                break;
            }
            text = grown;
        }
        got = fread(text + length, 1, capacity - length, file);
        length += got;
        /* A longer one is refused for its length: it need not end, as /dev/zero does not. */
    } while (got > 0 && length <= MOST_TEXT);
    if (text && ferror(file)) {
        fprintf(stderr, "%s: cannot read '%s': %s\n", command->program, path, strerror(errno));
        free(text);
        text = NULL;
    }
    if (file != stdin) {
        fclose(file);
    }
    *out_length = length;
    return text;
}

static int format_file(const CliCommand *command, const Options *options, const char *path) {
    size_t length = 0;
    char *text = read_text(command, path, &length);
    if (!text) {
        return 1;
    }
    dlc_context *context = NULL;
    dlc_status status = dlc_context_create(NULL, &context);
    char *formatted = NULL;
    int exit_code = 0;
    if (status == DLC_OK) {
        status = dlc_format(context, text, length, path, &formatted);
    }
    if (status != DLC_OK) {
        if (context) {
            print_diagnostics(context, options->json);
        }
        exit_code = status == DLC_ERROR_COMPILE ? 1 : cli_failed(command, context, status);
    } else {
        bool same = strlen(formatted) == length && !memcmp(formatted, text, length);
        if (options->check_format) {
            if (!same) {
                printf("%s\n", path);
                exit_code = 1;
            }
        } else if (options->write_in_place && strcmp(path, "-") != 0) {
            status = same ? DLC_OK : dlc_file_write(context, path, formatted, strlen(formatted));
            exit_code = status == DLC_OK ? 0 : cli_failed(command, context, status);
        } else {
            fputs(formatted, stdout);
        }
    }
    if (context) {
        dlc_text_free(context, formatted);
    }
    dlc_context_destroy(context);
    free(text);
    return exit_code;
}

static int explain_topic(const CliCommand *command, const char *topic) {
    dlc_context *context = NULL;
    dlc_status status = dlc_context_create(NULL, &context);
    char *text = NULL;
    if (status == DLC_OK) {
        status = dlc_explain(context, topic, &text);
    }
    int exit_code = 0;
    if (status == DLC_OK) {
        fputs(text, stdout);
        dlc_text_free(context, text);
    } else {
        exit_code = cli_failed(command, context, status);
    }
    dlc_context_destroy(context);
    return exit_code;
}

/* A model; or `check` or `fmt` and its files. */
static int run_files(const CliCommand *command, const Options *options,
                     const char *const *positional, size_t count) {
    bool is_check = !strcmp(positional[0], "check");
    bool is_format = !strcmp(positional[0], "fmt");
    if (!is_check && !is_format) {
        return count == 1
                   ? compile_file(command, options, positional[0], false)
                   : cli_wrong(command, "one model at a time; '%s' is a second", positional[1]);
    }
    if (count == 1) {
        return cli_wrong(command, "%s needs a file", positional[0]);
    }
    int worst = 0;
    for (size_t i = 1; i < count; i++) {
        int one = is_check ? compile_file(command, options, positional[i], true)
                           : format_file(command, options, positional[i]);
        worst = one > worst ? one : worst;
    }
    return worst;
}

static const CliOption option_table[] = {
    {"--output", "-o", CLI_TEXT, offsetof(Options, output), 0, "FILE",
     "the plan to write (default: beside the model)"},
    {"--define", "-D", CLI_LIST, offsetof(Options, defines), 0, "NAME=VALUE",
     "set a const, or fix a dim"},
    {"--import-folder", "-I", CLI_LIST, offsetof(Options, folders), 0, "FOLDER",
     "files may be imported from here too, besides the program's folder"},
    {"--target", NULL, CLI_LIST, offsetof(Options, targets), 0, "TARGET",
     "cpu, cpu:x86-64-v3, cuda, cuda:sm_90, …; may be given again"},
    {"--mesh", NULL, CLI_TEXT, offsetof(Options, mesh), 0, "AXES",
     "for several devices: replica, data (dp), model (tensor, tp), pipe (pp); data=*,model=2"},
    {"--zero", NULL, CLI_INT, offsetof(Options, zero), 0, "N",
     "of a mesh: cut optimiser state (1), gradients (2), parameters (3) along data"},
    {"--sequence", NULL, CLI_TEXT, offsetof(Options, sequence), 0, "WHEN",
     "of a mesh's model: cut rows of norms and sums between products too: auto, on, off"},
    {"--schedule", NULL, CLI_TEXT, offsetof(Options, schedule), 0, "NAME", "of a mesh's pipe"},
    {"--microbatches", NULL, CLI_INT, offsetof(Options, microbatches), 1, "N",
     "of a mesh's pipe: parts of a batch"},
    {"--exchange", NULL, CLI_TEXT, offsetof(Options, exchange), 0, "TYPE",
     "of a mesh: send gradients as f32 or, half the bytes, as bf16"},
    {"--emit", NULL, CLI_TEXT, offsetof(Options, emit), 0, "STAGE",
     "print ast, ir, a pass, kernels, schedule, timeline (a drawing, SVG) or plan instead"},
    {"--print-after", NULL, CLI_TEXT, offsetof(Options, print_after), 0, "PASS",
     "print the IR after a pass, or after all"},
    {"--skip-passes", NULL, CLI_TEXT, offsetof(Options, skip), 0, "LIST", "passes not to run"},
    {"--float", NULL, CLI_TEXT, offsetof(Options, float_type), 0, "TYPE",
     "what [shape] alone means: f32 or f64"},
    {"--threads", NULL, CLI_INT, offsetof(Options, threads), 1, "N", "for code generation"},
    {"--memory-limit", NULL, CLI_INT, offsetof(Options, memory_limit), 1, "BYTES",
     "compute again what would need more memory"},
    {"--compile-seconds", NULL, CLI_INT, offsetof(Options, compile_seconds), 1, "N",
     "give up when compiling takes longer"},
    {"--compile-bytes", NULL, CLI_INT, offsetof(Options, compile_bytes), 1, "BYTES",
     "give up when the compiler's tables need more"},
    {"--time-passes", NULL, CLI_FLAG, offsetof(Options, time_passes), 0, NULL,
     "say how long each pass took"},
    {"--explain", NULL, CLI_FLAG, offsetof(Options, explain), 0, NULL,
     "say what was fused, and memory by buffer"},
    {"--verify-each", NULL, CLI_FLAG, offsetof(Options, verify_each), 0, NULL,
     "verify the IR after every pass"},
    {"--accumulate", NULL, CLI_FLAG, offsetof(Options, accumulate), 0, NULL,
     "training steps in parts: dlrun train --batch auto, or -D accumulate=4"},
    {"--emulate-precision", NULL, CLI_FLAG, offsetof(Options, emulate_precision), 0, NULL,
     "precision bf16 and f16 on any target, as a GPU has it"},
    {"--no-libraries", NULL, CLI_FLAG, offsetof(Options, no_libraries), 0, NULL,
     "GPUs: generated kernels alone, no cuBLASLt and cuDNN"},
    {"--from-ir", NULL, CLI_FLAG, offsetof(Options, from_ir), 0, NULL, "the input is IR text"},
    {"--quiet", NULL, CLI_FLAG, offsetof(Options, quiet), 0, NULL, "no summary"},
    {"--json", NULL, CLI_FLAG, offsetof(Options, json), 0, NULL, "diagnostics and summary as JSON"},
    {"--write", "-w", CLI_FLAG, offsetof(Options, write_in_place), 0, NULL,
     "fmt: write the file in place"},
    {"--check", NULL, CLI_FLAG, offsetof(Options, check_format), 0, NULL,
     "fmt: only name files that would change"},
    {"--what", NULL, CLI_TEXT, offsetof(Options, topic), 0, "CODE",
     "explain a diagnostic, such as E0301; or mesh: the axes of --mesh"},
    {"--ops", NULL, CLI_FLAG, offsetof(Options, show_ops), 0, NULL, "list the ops"},
    {"--passes", NULL, CLI_FLAG, offsetof(Options, show_passes), 0, NULL, "list the passes"},
    {"--version", NULL, CLI_FLAG, offsetof(Options, show_version), 0, NULL, "the version"},
};

static int run_command(int argc, char **argv) {
    Options options = {.zero = -1};
    const CliCommand command = {
        .program = "dlc",
        .usage =
            "dlc MODEL.dl [-o MODEL.plan] [options]  |  dlc check FILE…  |  dlc fmt [-w] FILE…",
        .about = "Compiles a model to a plan, which dlrun trains and runs.",
        .groups = {{option_table, sizeof option_table / sizeof option_table[0], &options}},
    };
    const char *positional[CLI_LIST_MAX];
    size_t count = 0;
    int status = cli_parse(&command, argc - 1, argv + 1, positional, CLI_LIST_MAX, &count);
    if (status >= 0) {
        return status;
    }
    if (options.show_version) {
        printf("dlc %s\n", dlc_version_text());
        return 0;
    }
    const char *topic = options.topic         ? options.topic
                        : options.show_ops    ? "ops"
                        : options.show_passes ? "passes"
                                              : NULL;
    if (topic) {
        return explain_topic(&command, topic);
    }
    if (count == 0) {
        return cli_wrong(&command, "no model given");
    }
    return run_files(&command, &options, positional, count);
}

int main(int argc, char **argv) {
    cli_begin();
    return cli_end("dlc", run_command(argc, argv));
}
