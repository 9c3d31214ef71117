/* What all threads of a rank look at: the first failure, and what the rank is at. */
#include "runtime/comm/control/internal.h"

#include <stdarg.h>
#include <stdio.h>

static void fail(Control *control, int32_t of, dlc_status status, const char *format,
                 va_list args) {
    pthread_mutex_lock(&control->mutex);
    if (control->failure == DLC_OK) {
        char *text = control->failure_text;
        size_t room = sizeof(control->failure_text);
        vsnprintf(text, room, format, args);
        if (of == control->rank && control->at) {
            control->at(control->user, control->peers[of].at, sizeof(control->peers[of].at));
        }
        if (of >= 0 && control->rank == 0 && control->peers[of].at[0]) {
            size_t length = strlen(text);
            snprintf(text + length, room - length, "; rank %d is at %s", (int)of,
                     control->peers[of].at);
        }
        control->failure = status;
        control->failure_of = of;
        control->on_failure(control->user, status, text);
    }
    pthread_mutex_unlock(&control->mutex);
    event_wake(control->wake);
}

void control_fail(Control *control, dlc_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail(control, -1, status, format, args);
    va_end(args);
}

void control_fail_of(Control *control, int32_t rank, dlc_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail(control, rank, status, format, args);
    va_end(args);
}

void control_beat(Control *control, const ControlBeat *beat) {
    pthread_mutex_lock(&control->mutex);
    control->beat = *beat;
    pthread_mutex_unlock(&control->mutex);
}
