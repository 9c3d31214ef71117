/* What the stages of the driver share: leaving, telling progress, handing text to the caller. */
#include "driver/driver.h"
#include <stdio.h>
#include <string.h>

_Noreturn void driver_leave(Driver *d, dlc_status status, const char *message) {
    snprintf(d->call->message, COMPILE_MESSAGE_BYTES, "%s", message);
    boundary_leave(&d->boundary, status);
}

void driver_stage(Driver *d, const char *what, double share) {
    boundary_check_time(&d->boundary);
    if (d->call->progress) {
        d->call->progress(d->call->user, what, share);
    }
    if (d->call->cancelled && d->call->cancelled(d->call->user)) {
        driver_leave(d, DLC_ERROR_CANCELLED, "cancelled");
    }
}

bool driver_emits(const Driver *d, const char *name) {
    return d->options->emit && strcmp(d->options->emit, name) == 0;
}

void driver_give_text(Driver *d, const char *name) {
    if (d->text.failed) {
        driver_leave(d, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    }
    if (d->options->on_text) {
        d->options->on_text(d->options->user, name, str_text(&d->text));
    }
    str_clear(&d->text);
}

void driver_check(Driver *d) {
    if (d->context.diags.n_errors > 0) {
        driver_leave(d, DLC_ERROR_COMPILE, "the program has errors");
    }
}
