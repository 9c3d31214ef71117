/* dlrun train: data, planned length and files from the command line, what it says from progress.c.
 * Ctrl-C finishes the step, saves, and says how to go on. */
#include "tools/dlrun.h"
#include "tools/journals.h"
#include "tools/progress.h"
#include "tools/ranks.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INTERRUPTED = 130 }; /* the exit status after Ctrl-C */

static volatile sig_atomic_t interrupted, typed;

/* A second Ctrl-C does not wait. Who is one of several processes hears of the first one twice, in
 * either order: from the terminal, and as SIGTERM from the one that started it. */
static void on_interrupt(int number) {
    if (typed && number == SIGINT) {
        _exit(INTERRUPTED);
    }
    typed = typed || number == SIGINT;
    interrupted = 1;
}

static int was_interrupted(void *user) {
    (void)user;
    return interrupted;
}

typedef struct TrainOptions {
    RunOptions run;
    dlc_dataset_options reading;
    CliList data, settings;
    const char *save, *checkpoint, *log, *plot, *weights, *plan, *batch_text, *memory_text;
    int64_t memory; /* bytes that a step may take; 0: what the device has */
    bool batch_auto;
    int64_t epochs, steps, batch, eval_batch, eval_every, checkpoint_every, stop_after;
    double lr; /* nan: the schedule */
    const char *resume_text;
    dlc_resume resume;
    bool overwrite, quiet;
    bool talks_aside; /* a file of the run is standard output: messages go to standard error */
} TrainOptions;

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

/* Of several ranks: what each of them takes. What is wrong with the data training finds again, on
 * all ranks at once. */
static void say_ranks(const TrainOptions *options, const Opened *opened, const dlc_dataset *data) {
    if (!options->quiet && dlc_session_rank_count(opened->session) > 1 &&
        dlc_session_bind_data(opened->session, "train", data) == DLC_OK) {
        ranks_print_session(opened->session, options->batch, options->checkpoint != NULL);
    }
}

/* A step is done: what is said of it, and that a restart is worth while. */
static void on_step(void *user, const dlc_step_info *info) {
    Progress *progress = user;
    if (progress->shared) {
        shared_stepped(progress->shared);
    }
    progress_result(progress, info);
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
        .on_result = on_step,
        .on_eval = progress_eval,
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
    return status == DLC_ERROR_CANCELLED ? INTERRUPTED : 0;
}

static int train_with_data(const CliCommand *command, const TrainOptions *options, Opened *opened,
                           Progress *progress) {
    enum { PATHS = 4096 };
    char train_path[PATHS] = "", eval_path[PATHS] = "";
    int code = split_data(command, &options->data, train_path, eval_path, PATHS);
    if (code != 0) {
        return code;
    }
    dlc_dataset *data = NULL, *eval_data = NULL;
    dlc_status status = dlc_dataset_open(opened->context, train_path, &options->reading, &data);
    if (status == DLC_OK && eval_path[0]) {
        status = dlc_dataset_open(opened->context, eval_path, &options->reading, &eval_data);
    }
    code = status == DLC_OK ? 0 : cli_failed(command, opened->context, status);
    TrainOptions chosen = *options;
    if (code == 0 && options->batch_auto) {
        code = fit_batch(command, &chosen, opened, data);
    }
    progress->evaluates = eval_data != NULL; /* which prints the last step's line */
    if (code == 0) {
        say_ranks(&chosen, opened, data);
        code = train_opened(command, &chosen, opened, data, eval_data, progress);
    }
    dlc_dataset_destroy(eval_data);
    dlc_dataset_destroy(data);
    return code;
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

static int check_writable(const CliCommand *command, const TrainOptions *options) {
    int code = options->save ? cli_writable(command, options->save) : 0;
    return code == 0 && options->plot ? cli_writable(command, options->plot) : code;
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
    return job_seems_alone(&options->run.job) ? check_writable(command, options) : 0;
}

/* The files that rank 0 writes. */
static int files_begin(const CliCommand *command, const TrainOptions *options, Progress *progress) {
    if (options->run.job.launch.rank != 0) {
        return 0;
    }
    int code = check_writable(command, options);
    if (code == 0 && options->log) {
        progress->log = cli_log_open(command, options->log, options->resume != DLC_RESUME_NO);
        code = progress->log ? 0 : 1;
    }
    return code;
}

static void interrupts_begin(void) {
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, &before);
    if (before.sa_handler == SIG_IGN) {
        sigaction(SIGHUP, &before, NULL); /* as nohup wants it */
    }
}

/* Ranks that are threads of this process. */
static bool runs_several(const RunOptions *run) {
    const char *star = run->device ? strrchr(run->device, '*') : NULL;
    return star && strtoll(star + 1, NULL, 10) > 1;
}

/* Alone, it finds out about its files before anything takes time; of many, when all have met, who
 * then hear of it. */
static int train_plan(const CliCommand *command, const TrainOptions *options) {
    Progress progress = {.terminal = cli_steers(STDOUT_FILENO),
                         .quiet = options->quiet,
                         .shared = options->run.job.process.shared};
    bool late = job_is_of_many(&options->run.job);
    const char *kept = options->checkpoint            ? options->checkpoint
                       : cli_is_stdout(options->save) ? NULL
                                                      : options->save;
    RunOptions run = options->run;
    Journals journals;
    Opened opened = {0};
    journals_choose(&journals, run.journal, kept, late || runs_several(&run));
    run.journal = journals.folder;
    int code = late ? 0 : files_begin(command, options, &progress);
    interrupts_begin();
    if (code == 0) {
        code = opened_open(&opened, command, options->plan, &run, was_interrupted);
    }
    if (code == 0 && late) {
        code = files_begin(command, options, &progress);
    }
    if (code == 0) {
        progress_device(&progress, dlc_session_describe(opened.session));
        code = train_with_data(command, options, &opened, &progress);
    }
    if (options->plot && progress.curve.count > 0) {
        int drawn = write_curve(command, opened.context, &progress.curve, options->plot);
        code = code ? code : drawn;
    }
    int64_t ranks = opened.session && !late ? dlc_session_rank_count(opened.session) : 1;
    code = opened_end(&opened, command, code);
    journals_end(&journals, code == 0 || code == INTERRUPTED, late ? run.job.launch.rank : 0,
                 ranks);
    curve_free(&progress.curve);
    return progress.log ? cli_log_close(command, progress.log, options->log, code) : code;
}

static const CliOption train_table[] = {
    {"--data", NULL, CLI_LIST, offsetof(TrainOptions, data), 0, "train=F[,eval=F]",
     "NPZ, NPY, CSV, IDX, safetensors, text or tokens"},
    {"--epochs", NULL, CLI_INT, offsetof(TrainOptions, epochs), 1, "N", "planned length in epochs"},
    {"--steps", NULL, CLI_INT, offsetof(TrainOptions, steps), 1, "N", "planned length in steps"},
    {"--batch", NULL, CLI_TEXT, offsetof(TrainOptions, batch_text), 0, "N|auto|auto:N",
     "rows of a step; auto: computed in parts where it does not fit"},
    {"--memory", NULL, CLI_TEXT, offsetof(TrainOptions, memory_text), 0, "BYTES",
     "with --batch auto: what a step may take, such as 2GiB (default: what is free)"},
    {"--eval-batch", NULL, CLI_INT, offsetof(TrainOptions, eval_batch), 1, "N",
     "rows of an evaluation step"},
    {"--eval-every", NULL, CLI_INT, offsetof(TrainOptions, eval_every), 1, "STEPS",
     "evaluate this often (default: every epoch)"},
    {"--lr", NULL, CLI_NUMBER, offsetof(TrainOptions, lr), 0, "X",
     "a constant rate instead of the schedule"},
    {"--set", NULL, CLI_LIST, offsetof(TrainOptions, settings), 0, "NAME=X",
     "a setting, such as optimizer.beta2=0.9"},
    {"--save", NULL, CLI_TEXT, offsetof(TrainOptions, save), 0, "W.safetensors",
     "write the weights at the end"},
    {"--weights", NULL, CLI_TEXT, offsetof(TrainOptions, weights), 0, "W",
     "start from these weights: a safetensors file, or a checkpoint's or a run's folder"},
    {"--checkpoint", NULL, CLI_TEXT, offsetof(TrainOptions, checkpoint), 0, "DIR",
     "write checkpoints there"},
    {"--checkpoint-every", NULL, CLI_INT, offsetof(TrainOptions, checkpoint_every), 1, "STEPS",
     "default: every epoch"},
    {"--resume", NULL, CLI_CHOICE, offsetof(TrainOptions, resume_text), 0, "force",
     "go on from the latest whole checkpoint; force: also of another run"},
    {"--overwrite", NULL, CLI_FLAG, offsetof(TrainOptions, overwrite), 0, NULL,
     "remove the checkpoints in DIR and start anew"},
    {"--restarts", NULL, CLI_INT, offsetof(TrainOptions, run.restarts), 1, "N",
     "with --processes and --checkpoint: go on from there, at most N times, when a rank fails"},
    {"--stop-after", NULL, CLI_INT, offsetof(TrainOptions, stop_after), 1, "N",
     "stop after N steps; the planned length stays"},
    {"--log", NULL, CLI_TEXT, offsetof(TrainOptions, log), 0, "RUN.jsonl",
     "one JSON object a step and an evaluation"},
    {"--plot", NULL, CLI_TEXT, offsetof(TrainOptions, plot), 0, "LOSS.svg", "draw the loss curve"},
    {"--quiet", NULL, CLI_FLAG, offsetof(TrainOptions, quiet), 0, NULL, "no progress"},
};

/* Options of which the table knows only that they are texts. */
static int parse_texts(const CliCommand *command, TrainOptions *options) {
    if (!parse_batch(options)) {
        return cli_wrong(command,
                         "--batch takes a whole number of at least 1, auto or auto:N, not '%s'",
                         options->batch_text);
    }
    if (!parse_memory(options)) {
        return cli_wrong(command,
                         "--memory takes a number of bytes such as 2000000 or 2GiB, with --batch "
                         "auto, not '%s'",
                         options->memory_text);
    }
    if (options->resume_text) {
        options->resume = options->resume_text[0] ? DLC_RESUME_FORCE : DLC_RESUME;
        if (options->resume == DLC_RESUME_FORCE && strcmp(options->resume_text, "force") != 0) {
            return cli_wrong(command, "--resume takes nothing or =force, not '%s'",
                             options->resume_text);
        }
    }
    options->talks_aside = cli_is_stdout(options->save) || cli_is_stdout(options->log) ||
                           cli_is_stdout(options->plot) || cli_is_stdout(options->run.trace);
    options->quiet = options->quiet || options->talks_aside;
    return 0;
}

/* What other ranks than 0 leave to it, and what those do that are started again. */
static void take_rank(TrainOptions *options) {
    if (options->run.job.launch.rank != 0) {
        options->plot = NULL;
    }
    if (options->run.job.process.start > 0 && !options->resume) {
        options->resume = DLC_RESUME;
        options->overwrite = false;
    }
}

int dlrun_train(int argc, char **argv) {
    TrainOptions options = {
        .run = RUN_OPTIONS_UNSET, .reading = {.struct_size = sizeof options.reading}, .lr = NAN};
    const CliCommand command = {
        .program = "dlrun train",
        .usage = "dlrun train PLAN --data train=F[,eval=F] [options]",
        .about = "Trains a plan. Ctrl-C finishes the step and saves.",
        .groups = {{train_table, sizeof train_table / sizeof train_table[0], &options},
                   data_options(&options.reading),
                   run_options(&options.run),
                   job_options(&options.run.job)},
    };
    int status = plan_parse(&command, argc, argv, &options.plan);
    if (status >= 0) {
        return status;
    }
    int wrong = parse_texts(&command, &options);
    wrong = wrong ? wrong : check_options(&command, &options);
    if (wrong != 0) {
        return wrong;
    }
    options.run.quiet = options.quiet;
    options.run.restarts_from = options.checkpoint;
    status = run_begin(&command, &options.run);
    if (status >= 0) {
        return status;
    }
    take_rank(&options);
    return train_plan(&command, &options);
}
