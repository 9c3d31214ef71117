/* dlrun train: data, planned length and files from the command line; progress on the terminal, a
 * log in JSON lines, a loss curve as SVG. Ctrl-C finishes the step, saves, and says how to go on.
 */
#include "tools/curve.h"
#include "tools/dlrun.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number) {
    if (interrupted && number == SIGINT) {
        _exit(130); /* a second Ctrl-C does not wait */
    }
    interrupted = 1;
}

static int was_interrupted(void *user) {
    (void)user;
    return interrupted;
}

typedef struct TrainOptions {
    RunOptions run;
    CliList data, settings;
    const char *dtype, *save, *checkpoint, *log, *plot, *weights, *plan, *batch_text, *memory_text;
    int64_t memory; /* bytes that a step may take; 0: what the device has */
    bool batch_auto;
    int64_t epochs, steps, batch, eval_batch, eval_every, checkpoint_every, stop_after, window,
        stride;
    double lr; /* nan: the schedule */
    const char *resume_text;
    dlc_resume resume;
    bool overwrite, quiet;
    bool talks_aside; /* a file of the run is standard output: messages go to standard error */
} TrainOptions;

/* What the step and evaluation callbacks share. */
typedef struct Progress {
    FILE *log;
    bool log_failed;
    Curve curve;
    bool terminal, quiet, line_open, evaluates;
    double smooth_loss, smooth_seconds, since_print;
    int64_t rows_done;
    double seconds_done;
    char eval_text[256], step_text[256];
} Progress;

static size_t count_losses(const dlc_step_info *info) {
    size_t count = 0;
    for (size_t i = 0; i < info->n_metrics; i++) {
        count += info->metrics[i].role == DLC_ROLE_LOSS;
    }
    return count;
}

/* Losses, where there are several, metrics and rates, as far as there is room. */
static void name_step(Progress *progress, const dlc_step_info *info) {
    size_t used = 0, n_losses = count_losses(info);
    progress->step_text[0] = '\0';
    for (size_t i = 0; i < info->n_metrics && used < sizeof progress->step_text; i++) {
        const dlc_metric *metric = &info->metrics[i];
        bool is_rate = metric->role == DLC_ROLE_INFO && strncmp(metric->name, "lr", 2) == 0;
        if (!is_rate && metric->role != DLC_ROLE_METRIC &&
            !(metric->role == DLC_ROLE_LOSS && n_losses > 1)) {
            continue;
        }
        int written = snprintf(progress->step_text + used, sizeof progress->step_text - used,
                               is_rate ? "  %s %.3g" : "  %s %.4f", metric->name,
                               cli_unsigned_nan(metric->value));
        used += written > 0 ? (size_t)written : 0;
    }
}

static void print_step_line(Progress *progress, const dlc_step_info *info) {
    char rate[32], left[32];
    double rows_per_second =
        progress->smooth_seconds > 0 ? (double)info->rows / progress->smooth_seconds : 0;
    int width = snprintf(left, sizeof left, "%lld", (long long)info->steps);
    name_step(progress, info);
    printf("%sstep %*lld/%lld  loss %.4f%s  %s  %s left%s%s%s", progress->terminal ? "\r" : "",
           width, (long long)info->step, (long long)info->steps, progress->smooth_loss,
           progress->step_text, cli_amount(rows_per_second, "rows/s", rate),
           cli_duration((double)(info->steps - info->step) * progress->smooth_seconds, left),
           progress->eval_text[0] ? "  " : "", progress->eval_text,
           progress->terminal ? "\033[K" : "\n");
    fflush(stdout);
    progress->line_open = progress->terminal;
    progress->since_print = 0;
}

static void log_number(FILE *log, const char *name, double value) {
    fputs(", ", log);
    cli_json_text(name, log);
    fputs(": ", log);
    cli_json_number(value, log);
}

/* Ends a line, and says at once when the log cannot be written: the run is worth more than its log.
 */
static void log_line_end(Progress *progress) {
    fputs("}\n", progress->log);
    if (fflush(progress->log) != 0 && !progress->log_failed) {
        progress->log_failed = true;
        fprintf(stderr, "warning: the log cannot be written: %s; training goes on\n",
                strerror(errno));
    }
}

/* Every loss, metric and rate by its name. One that the line has for something else gets its kind
 * before it. */
static void log_named(FILE *log, const dlc_step_info *info) {
    static const char *const keys[] = {"kind", "step",      "epoch",  "loss",
                                       "lr",   "grad_norm", "seconds"};
    for (size_t i = 0; i < info->n_metrics; i++) {
        const dlc_metric *metric = &info->metrics[i];
        bool is_loss = metric->role == DLC_ROLE_LOSS, known = false;
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            known = known || strcmp(keys[k], metric->name) == 0;
        }
        bool logged =
            known && (metric->role == DLC_ROLE_INFO ||
                      (is_loss && count_losses(info) == 1 && strcmp(metric->name, "loss") == 0));
        if (!logged) {
            char name[256];
            snprintf(name, sizeof name, "%s%s",
                     !known    ? ""
                     : is_loss ? "loss."
                               : "metric.",
                     metric->name);
            log_number(log, name, metric->value);
        }
    }
}

static void on_result(void *user, const dlc_step_info *info) {
    Progress *progress = user;
    double keep = info->step <= 1 || progress->smooth_seconds == 0 ? 0 : 0.95;
    progress->smooth_loss = keep * progress->smooth_loss + (1 - keep) * info->loss;
    progress->smooth_seconds = keep * progress->smooth_seconds + (1 - keep) * info->seconds;
    progress->rows_done += info->rows;
    progress->seconds_done += info->seconds;
    progress->since_print += info->seconds;
    curve_add(&progress->curve, CURVE_TRAIN, (double)info->step, info->loss);
    if (progress->log) {
        fprintf(progress->log, "{\"kind\": \"step\", \"step\": %lld, \"epoch\": %lld",
                (long long)info->step, (long long)info->epoch);
        log_number(progress->log, "loss", info->loss);
        log_number(progress->log, "lr", info->lr);
        log_number(progress->log, "grad_norm", info->grad_norm);
        log_number(progress->log, "seconds", info->seconds);
        log_named(progress->log, info);
        log_line_end(progress);
    }
    double interval = progress->terminal ? 0.1 : 5;
    bool last = info->step == info->steps;
    if (!progress->quiet && (last ? !progress->evaluates : progress->since_print > interval)) {
        print_step_line(progress, info);
    }
}

static int on_eval(void *user, const dlc_step_info *info, const dlc_metric *metrics, size_t count) {
    Progress *progress = user;
    size_t used = 0;
    progress->eval_text[0] = '\0';
    for (size_t i = 0; i < count && used < sizeof progress->eval_text; i++) {
        int written = snprintf(progress->eval_text + used, sizeof progress->eval_text - used,
                               "%seval %s %.4f", i ? "  " : "", metrics[i].name,
                               cli_unsigned_nan(metrics[i].value));
        used += written > 0 ? (size_t)written : 0;
        if (metrics[i].role == DLC_ROLE_LOSS) {
            curve_add(&progress->curve, CURVE_EVAL, (double)info->step, metrics[i].value);
        }
    }
    if (progress->log) {
        fprintf(progress->log, "{\"kind\": \"eval\", \"step\": %lld, \"epoch\": %lld",
                (long long)info->step, (long long)info->epoch);
        for (size_t i = 0; i < count; i++) {
            log_number(progress->log, metrics[i].name, metrics[i].value);
        }
        log_line_end(progress);
    }
    if (!progress->quiet) {
        print_step_line(progress, info);
        if (progress->line_open) {
            putchar('\n');
            progress->line_open = false;
        }
    }
    progress->eval_text[0] = '\0';
    return 0;
}

/* "train=F,eval=G": a part without either word continues the files of the part before it. */
static int split_data(const CliCommand *command, const CliList *list, char *train, char *eval,
                      size_t capacity) {
    char *target = train;
    for (size_t i = 0; i < list->count; i++) {
        for (const char *part = list->items[i]; *part;) {
            size_t length = strcspn(part, ",");
            bool is_train = !strncmp(part, "train=", 6), is_eval = !strncmp(part, "eval=", 5);
            target = is_train ? train : is_eval ? eval : target;
            size_t skip = is_train ? 6 : is_eval ? 5 : 0;
            size_t used = strlen(target);
            if (used + length + 2 > capacity) {
                return cli_wrong(command, "--data is too long");
            }
            snprintf(target + used, capacity - used, "%s%.*s", used ? "," : "",
                     (int)(length - skip), part + skip);
            part += length + (part[length] == ',');
        }
    }
    return train[0] ? 0 : cli_wrong(command, "--data train=FILE[,eval=FILE] is needed");
}

/* --set optimizer.beta2=0.9 and the like go to the session's scalars. */
static int apply_settings(const CliCommand *command, Opened *opened, const CliList *settings) {
    for (size_t i = 0; i < settings->count; i++) {
        char name[64], full[80];
        const char *value = NULL;
        char *end = NULL;
        if (!cli_split(settings->items[i], name, sizeof name, &value)) {
            return cli_wrong(command, "--set takes name=number, not '%s'", settings->items[i]);
        }
        const char *own = strstr(" lr steps seed epochs batch ", name);
        if (own && own[-1] == ' ' && own[strlen(name)] == ' ') {
            return cli_wrong(command, "--set %s: the option --%s does that", name, name);
        }
        double number = strtod(value, &end);
        if (end == value || *end) {
            return cli_wrong(command, "--set %s takes a number, not '%s'", name, value);
        }
        snprintf(full, sizeof full, "set.%s", name);
        dlc_status status = dlc_set_scalar(opened->session, full, number);
        if (status != DLC_OK) {
            return cli_failed(command, opened->context, status);
        }
    }
    return 0;
}

static void say_end(const TrainOptions *options, const dlc_train_result *result, bool cancelled) {
    char time[32];
    if (!options->quiet) {
        printf("%s after %lld of %lld steps, loss %.4f, %s\n",
               result->finished ? "done"
               : cancelled      ? "interrupted"
                                : "stopped",
               (long long)result->steps_done, (long long)result->steps, result->last_loss,
               cli_duration(result->seconds, time));
    }
    if (options->save && !options->quiet) {
        printf("weights: %s\n", options->save);
    }
    FILE *to = options->talks_aside ? stderr : stdout;
    if (!result->finished && (!options->quiet || cancelled)) {
        if (options->checkpoint) {
            fprintf(to, "to go on: the same command with --resume%s%s\n",
                    options->overwrite ? " in place of --overwrite" : "",
                    options->stop_after ? " and without --stop-after" : "");
        } else {
            fputs("this run cannot be resumed: it had no --checkpoint DIR\n", to);
        }
    }
}

/* "64", "auto", "auto:64". */
static bool parse_batch(TrainOptions *options) {
    const char *text = options->batch_text;
    if (!text) {
        return true;
    }
    options->batch_auto = strncmp(text, "auto", 4) == 0 && (text[4] == '\0' || text[4] == ':');
    if (options->batch_auto && text[4] == '\0') {
        return true;
    }
    char *end = NULL;
    const char *digits = options->batch_auto ? text + 5 : text;
    errno = 0;
    options->batch = strtoll(digits, &end, 10);
    return !errno && end != digits && !*end && options->batch >= 1;
}

/* "2000000", "512MiB", "1.5G". */
static bool parse_memory(TrainOptions *options) {
    static const char units[] = "KMGT";
    const char *text = options->memory_text;
    if (!text) {
        return true;
    }
    char *end = NULL;
    double bytes = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    for (const char *u = units; unit && u <= unit; u++) {
        bytes *= 1024;
    }
    end += unit ? 1 : 0;
    end += unit && end[0] == 'i' ? 1 : 0;
    end += end[0] == 'B' ? 1 : 0;
    options->memory = bytes >= 1 && bytes < 1e18 ? (int64_t)bytes : 0;
    return options->batch_auto && end != text && !*end && options->memory > 0;
}

/* --batch auto: finds the parts of a step, in a plan that has them if need be. */
static int fit_batch(const CliCommand *command, TrainOptions *options, Opened *opened,
                     const dlc_dataset *data) {
    dlc_fit fit = {.struct_size = sizeof fit};
    dlc_status status = DLC_OK;
    for (int turn = 0; turn < 2; turn++) {
        status = dlc_session_bind_data(opened->session, "train", data);
        if (status == DLC_OK) {
            status = dlc_session_fit(opened->session, options->batch, options->memory, &fit);
        }
        if (status != DLC_ERROR_UNSUPPORTED || options->run.accumulate) {
            break;
        }
        options->run.accumulate = true;
        int code = opened_session(opened, command, &options->run);
        if (code != 0) {
            return code;
        }
    }
    if (status != DLC_OK) {
        return cli_failed(command, opened->context, status);
    }
    options->batch = fit.batch;
    if (!options->eval_batch) {
        options->eval_batch = fit.batch / fit.parts;
    }
    if (!options->quiet) {
        char needed[32], limit[32], parts[64] = "";
        if (fit.parts > 1) {
            snprintf(parts, sizeof parts, " = %lld x %lld", (long long)fit.parts,
                     (long long)(fit.batch / fit.parts));
        }
        printf("batch: %lld%s, %s of %s\n", (long long)fit.batch, parts,
               cli_bytes((double)fit.needed_bytes, needed),
               cli_bytes((double)fit.limit_bytes, limit));
    }
    return 0;
}

static int train_opened(const CliCommand *command, const TrainOptions *options, Opened *opened,
                        dlc_dataset *data, dlc_dataset *eval_data, Progress *progress) {
    int code = apply_settings(command, opened, &options->settings);
    if (code != 0) {
        return code;
    }
    if (options->weights) {
        dlc_status status = dlc_session_bind_data(opened->session, "train", data);
        if (status == DLC_OK) {
            status = dlc_init_weights(opened->session);
        }
        if (status == DLC_OK) {
            status = dlc_weights_load(opened->session, options->weights, NULL);
        }
        if (status != DLC_OK) {
            return cli_failed(command, opened->context, status);
        }
    }
    dlc_train_options train = {
        .struct_size = sizeof train,
        .data = data,
        .eval_data = eval_data,
        .epochs = options->epochs,
        .steps = options->steps,
        .batch = options->batch,
        .eval_batch = options->eval_batch,
        .eval_every = options->eval_every,
        .lr = isnan(options->lr) ? 0 : options->lr,
        .stop_after = options->stop_after,
        .checkpoint = options->checkpoint,
        .checkpoint_every = options->checkpoint_every,
        .resume = (int)options->resume,
        .overwrite = options->overwrite,
        .keep_weights = options->weights != NULL,
        .on_result = on_result,
        .on_eval = on_eval,
        .user = progress,
    };
    dlc_train_result result = {.struct_size = sizeof result};
    dlc_status status = dlc_train(opened->session, &train, &result);
    if (progress->line_open) {
        putchar('\n');
    }
    if (status != DLC_OK && status != DLC_ERROR_CANCELLED) {
        return cli_failed(command, opened->context, status);
    }
    if (options->save) {
        dlc_status saved = dlc_weights_save(opened->session, options->save);
        if (saved != DLC_OK) {
            return cli_failed(command, opened->context, saved);
        }
    }
    say_end(options, &result, status == DLC_ERROR_CANCELLED);
    return status == DLC_ERROR_CANCELLED ? 130 : 0;
}

static int train_with_data(const CliCommand *command, const TrainOptions *options, Opened *opened,
                           Progress *progress) {
    enum { PATHS = 4096 };
    char train_path[PATHS] = "", eval_path[PATHS] = "";
    int code = split_data(command, &options->data, train_path, eval_path, PATHS);
    if (code != 0) {
        return code;
    }
    dlc_dataset_options dataset_options = {.struct_size = sizeof dataset_options,
                                           .window = options->window,
                                           .stride = options->stride,
                                           .dtype = options->dtype};
    dlc_dataset *data = NULL, *eval_data = NULL;
    dlc_status status = dlc_dataset_open(opened->context, train_path, &dataset_options, &data);
    if (status == DLC_OK && eval_path[0]) {
        status = dlc_dataset_open(opened->context, eval_path, &dataset_options, &eval_data);
    }
    code = status == DLC_OK ? 0 : cli_failed(command, opened->context, status);
    TrainOptions chosen = *options;
    if (code == 0 && options->batch_auto) {
        code = fit_batch(command, &chosen, opened, data);
    }
    progress->evaluates = eval_data != NULL; /* which prints the last step's line */
    if (code == 0) {
        code = train_opened(command, &chosen, opened, data, eval_data, progress);
    }
    dlc_dataset_destroy(eval_data);
    dlc_dataset_destroy(data);
    return code;
}

static void say_device(const Opened *opened, const Progress *progress) {
    const char *device = dlc_session_describe(opened->session);
    if (!progress->quiet) {
        printf("device: %s\n", device);
    }
    if (progress->log) {
        fputs("{\"kind\": \"start\", \"device\": ", progress->log);
        cli_json_text(device, progress->log);
        fputs("}\n", progress->log);
    }
}

static int write_curve(const CliCommand *command, dlc_context *context, const Curve *curve,
                       const char *path) {
    size_t length = 0;
    char *text = curve_svg(curve, "loss", &length);
    dlc_status status =
        text ? dlc_file_write(context, path, text, length) : DLC_ERROR_OUT_OF_MEMORY;
    free(text);
    return status == DLC_OK ? 0 : cli_failed(command, text ? context : NULL, status);
}

/* What would be found wrong, or not to matter, only when the run is over. */
static int check_options(const CliCommand *command, const TrainOptions *options) {
    const char *needs = options->resume             ? "--resume"
                        : options->overwrite        ? "--overwrite"
                        : options->checkpoint_every ? "--checkpoint-every"
                                                    : NULL;
    if (needs && !options->checkpoint) {
        return cli_wrong(command, "%s needs --checkpoint DIR", needs);
    }
    if (options->resume && options->overwrite) {
        return cli_wrong(command,
                         "--resume goes on with a run, --overwrite removes it: one of them");
    }
    if (options->lr <= 0) {
        return cli_wrong(command, "--lr takes a number above 0");
    }
    bool evaluates = false;
    for (size_t i = 0; i < options->data.count; i++) {
        const char *eval = strstr(options->data.items[i], "eval=");
        evaluates = evaluates || (eval && (eval == options->data.items[i] || eval[-1] == ','));
    }
    if (!evaluates && (options->eval_every || options->eval_batch)) {
        return cli_wrong(command, "%s needs --data eval=F",
                         options->eval_every ? "--eval-every" : "--eval-batch");
    }
    const char *dot = options->plot ? strrchr(options->plot, '.') : NULL;
    if (dot && !strchr(dot, '/') && strcmp(dot, ".svg") != 0) {
        return cli_wrong(command, "--plot draws SVG: name a file that ends in .svg, not '%s'",
                         options->plot);
    }
    int code = options->save ? cli_writable(command, options->save) : 0;
    return code == 0 && options->plot ? cli_writable(command, options->plot) : code;
}

static int train_plan(const CliCommand *command, const TrainOptions *options) {
    Progress progress = {.terminal = cli_steers(STDOUT_FILENO), .quiet = options->quiet};
    int wrong = check_options(command, options);
    if (wrong != 0) {
        return wrong;
    }
    if (options->log) {
        progress.log = cli_log_open(command, options->log, options->resume != DLC_RESUME_NO);
        if (!progress.log) {
            return 1;
        }
    }
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, &before);
    if (before.sa_handler == SIG_IGN) {
        sigaction(SIGHUP, &before, NULL); /* as nohup wants it */
    }
    Opened opened;
    int code = opened_open(&opened, command, options->plan, &options->run, was_interrupted);
    if (code == 0) {
        say_device(&opened, &progress);
        code = train_with_data(command, options, &opened, &progress);
        if (options->plot && progress.curve.count > 0) {
            int drawn = write_curve(command, opened.context, &progress.curve, options->plot);
            code = code ? code : drawn;
        }
        code = opened_end(&opened, command, code);
    }
    curve_free(&progress.curve);
    return progress.log ? cli_log_close(command, progress.log, options->log, code) : code;
}

int dlrun_train(int argc, char **argv) {
    TrainOptions options = {.run = {.seed = -1}, .lr = NAN};
    const CliOption table[] = {
        {"--data", NULL, CLI_LIST, &options.data, 0, "train=F[,eval=F]",
         "NPZ, NPY, CSV, IDX, safetensors, text or tokens"},
        DATA_OPTION_ROWS(options),
        {"--epochs", NULL, CLI_INT, &options.epochs, 1, "N", "planned length in epochs"},
        {"--steps", NULL, CLI_INT, &options.steps, 1, "N", "planned length in steps"},
        {"--batch", NULL, CLI_TEXT, &options.batch_text, 0, "N|auto|auto:N",
         "rows of a step; auto: computed in parts where it does not fit"},
        {"--memory", NULL, CLI_TEXT, &options.memory_text, 0, "BYTES",
         "with --batch auto: what a step may take, such as 2GiB (default: what is free)"},
        {"--eval-batch", NULL, CLI_INT, &options.eval_batch, 1, "N", "rows of an evaluation step"},
        {"--eval-every", NULL, CLI_INT, &options.eval_every, 1, "STEPS",
         "evaluate this often (default: every epoch)"},
        {"--lr", NULL, CLI_NUMBER, &options.lr, 0, "X", "a constant rate instead of the schedule"},
        {"--set", NULL, CLI_LIST, &options.settings, 0, "NAME=X",
         "a setting, such as optimizer.beta2=0.9"},
        {"--save", NULL, CLI_TEXT, &options.save, 0, "W.safetensors",
         "write the weights at the end"},
        {"--weights", NULL, CLI_TEXT, &options.weights, 0, "W",
         "start from these weights: a safetensors file, or a checkpoint's or a run's folder"},
        {"--checkpoint", NULL, CLI_TEXT, &options.checkpoint, 0, "DIR", "write checkpoints there"},
        {"--checkpoint-every", NULL, CLI_INT, &options.checkpoint_every, 1, "STEPS",
         "default: every epoch"},
        {"--resume", NULL, CLI_CHOICE, &options.resume_text, 0, "force",
         "go on from the latest whole checkpoint; force: also of another run"},
        {"--overwrite", NULL, CLI_FLAG, &options.overwrite, 0, NULL,
         "remove the checkpoints in DIR and start anew"},
        {"--stop-after", NULL, CLI_INT, &options.stop_after, 1, "N",
         "stop after N steps; the planned length stays"},
        {"--log", NULL, CLI_TEXT, &options.log, 0, "RUN.jsonl",
         "one JSON object a step and an evaluation"},
        {"--plot", NULL, CLI_TEXT, &options.plot, 0, "LOSS.svg", "draw the loss curve"},
        {"--quiet", NULL, CLI_FLAG, &options.quiet, 0, NULL, "no progress"},
        RUN_OPTION_ROWS(options.run),
    };
    const CliCommand command = {
        .program = "dlrun train",
        .usage = "dlrun train PLAN --data train=F[,eval=F] [options]",
        .about = "Trains a plan. Ctrl-C finishes the step and saves.",
        .options = table,
        .n_options = sizeof table / sizeof table[0],
    };
    int status = plan_parse(&command, argc, argv, &options.plan);
    if (status < 0 && !parse_batch(&options)) {
        return cli_wrong(&command,
                         "--batch takes a whole number of at least 1, auto or auto:N, "
                         "not '%s'",
                         options.batch_text);
    }
    if (status < 0 && !parse_memory(&options)) {
        return cli_wrong(&command,
                         "--memory takes a number of bytes such as 2000000 or 2GiB, "
                         "with --batch auto, not '%s'",
                         options.memory_text);
    }
    if (status < 0 && options.resume_text) {
        options.resume = options.resume_text[0] ? DLC_RESUME_FORCE : DLC_RESUME;
        if (options.resume == DLC_RESUME_FORCE && strcmp(options.resume_text, "force") != 0) {
            return cli_wrong(&command, "--resume takes nothing or =force, not '%s'",
                             options.resume_text);
        }
    }
    options.talks_aside = cli_is_stdout(options.save) || cli_is_stdout(options.log) ||
                          cli_is_stdout(options.plot) || cli_is_stdout(options.run.trace);
    options.quiet = options.quiet || options.talks_aside;
    return status >= 0 ? status : train_plan(&command, &options);
}
