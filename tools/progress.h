/* What is said of a training run while it runs: a line on the terminal, a log in JSON lines, the
 * points of the loss curve. */
#ifndef DLC_TOOLS_PROGRESS_H
#define DLC_TOOLS_PROGRESS_H

#include "tools/cli.h"
#include "tools/curve.h"
#include "tools/processes.h"

/* The log and the curve's memory are the caller's to close and free. */
typedef struct Progress {
    FILE *log;
    Shared *shared; /* with other processes that dlrun started; NULL: none */
    bool log_failed;
    Curve curve;
    bool terminal, quiet, line_open, evaluates;
    double smooth_loss, smooth_seconds, since_print;
    int64_t rows_done;
    double seconds_done;
    char eval_text[256], step_text[256];
} Progress;

/* The device, before the first step. */
void progress_device(Progress *progress, const char *device);
/* on_result and on_eval of dlc_train_options, whose user is a Progress. */
void progress_result(void *user, const dlc_step_info *info);
int progress_eval(void *user, const dlc_step_info *info, const dlc_metric *metrics, size_t count);

#endif
