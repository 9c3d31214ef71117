/* What is said of a training run while it runs. */
#include "tools/progress.h"
#include <errno.h>
#include <string.h>

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

void progress_result(void *user, const dlc_step_info *info) {
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

int progress_eval(void *user, const dlc_step_info *info, const dlc_metric *metrics, size_t count) {
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

void progress_device(Progress *progress, const char *device) {
    if (!progress->quiet) {
        printf("device: %s\n", device);
    }
    if (progress->log) {
        fputs("{\"kind\": \"start\", \"device\": ", progress->log);
        cli_json_text(device, progress->log);
        fputs("}\n", progress->log);
    }
}
