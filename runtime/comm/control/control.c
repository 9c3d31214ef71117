/* Beginning and end of the channel. */
#include "runtime/comm/control/internal.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

const SocketPlace *control_place(const Control *control, int32_t rank) {
    return &control->peers[rank].place;
}

const char *control_host(const Control *control, int32_t rank) {
    return control->peers[rank].place.host;
}

/* Accepts what is half made. */
static void control_free(Control *control) {
    for (int32_t i = 0; i < control->n_ranks && control->peers; i++) {
        if (control->peers[i].socket >= 0) {
            close(control->peers[i].socket);
        }
    }
    if (control->wake >= 0) {
        close(control->wake);
    }
    pthread_mutex_destroy(&control->mutex);
    memory_free(control->allocator, control->polls);
    memory_free(control->allocator, control->peers);
    memory_free(control->allocator, control);
}

static dlc_status control_new(const dlc_allocator *allocator, const ControlOptions *options,
                              Control **out) {
    Control *control = memory_new(allocator, 1, sizeof(*control));
    if (!control) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    size_t n = (size_t)options->n_ranks;
    control->allocator = allocator;
    control->rank = options->rank;
    control->n_ranks = options->n_ranks;
    control->silence = options->silence_seconds;
    pthread_mutex_init(&control->mutex, NULL);
    control->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    control->peers = memory_new(allocator, n, sizeof(ControlPeer));
    control->polls = memory_new(allocator, n + 1, sizeof(struct pollfd));
    *out = control;
    for (int32_t i = 0; i < options->n_ranks && control->peers; i++) {
        control->peers[i].socket = -1;
        control->peers[i].place.host[0] = '?';
    }
    if (!control->peers || !control->polls) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    char *host = control->peers[control->rank].place.host;
    if (gethostname(host, SOCKET_HOST_BYTES) != 0) {
        memcpy(host, "?", 2);
    }
    host[SOCKET_HOST_BYTES - 1] = 0;
    return control->wake < 0 ? DLC_ERROR_IO : DLC_OK;
}

dlc_status control_meet(const dlc_allocator *allocator, const ControlOptions *options,
                        Control **out, char *message) {
    dlc_status status = DLC_ERROR_INVALID_ARGUMENT;
    Control *control = NULL;
    if (options->n_ranks < 1 || options->n_ranks > CONTROL_MAX_RANKS || options->rank < 0 ||
        options->rank >= options->n_ranks) {
        snprintf(message, COMM_MESSAGE_BYTES, "there is no rank %d of %d", options->rank,
                 options->n_ranks);
    } else {
        snprintf(message, COMM_MESSAGE_BYTES, "rank %d: no memory or no files", options->rank);
        status = control_new(allocator, options, &control);
    }
    if (status == DLC_OK) {
        status = control_gather(control, options, message);
    }
    if (options->listener >= 0) {
        close(options->listener);
    }
    if (status != DLC_OK && control) {
        control_free(control);
    }
    *out = status == DLC_OK ? control : NULL;
    return status;
}

dlc_status control_begin(Control *control, ControlFailed *on_failure, CommAt *at, void *user,
                         char *message) {
    control->on_failure = on_failure;
    control->at = at;
    control->user = user;
    for (int32_t i = 0; i < control->n_ranks; i++) {
        if (control->peers[i].socket >= 0) {
            socket_unblock(control->peers[i].socket);
        }
    }
    /* Signals are for the program's own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    control->has_thread = pthread_create(&control->thread, NULL, control_main, control) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!control->has_thread) {
        snprintf(message, COMM_MESSAGE_BYTES, "rank %d: the system gives no thread", control->rank);
    }
    return control->has_thread ? DLC_OK : DLC_ERROR_LIMIT;
}

void control_end(Control *control) {
    if (!control) {
        return;
    }
    if (control->has_thread) {
        pthread_mutex_lock(&control->mutex);
        control->ends = true;
        pthread_mutex_unlock(&control->mutex);
        event_wake(control->wake);
        pthread_join(control->thread, NULL);
    }
    control_free(control);
}
