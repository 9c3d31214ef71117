/* What all threads of a rank look at: the first failure, and what the rank is at. */
#include "runtime/comm/control/internal.h"

#include <stdarg.h>
#include <stdio.h>

void control_fail(Control *control, dlc_status status, const char *format, ...) {
    pthread_mutex_lock(&control->mutex);
    if (control->failure == DLC_OK) {
        va_list args;
        va_start(args, format);
        vsnprintf(control->failure_text, sizeof(control->failure_text), format, args);
        va_end(args);
        control->failure = status;
        control->on_failure(control->user, status, control->failure_text);
    }
    pthread_mutex_unlock(&control->mutex);
    event_wake(control->wake);
}

void control_beat(Control *control, const ControlBeat *beat) {
    pthread_mutex_lock(&control->mutex);
    control->beat = *beat;
    pthread_mutex_unlock(&control->mutex);
}
