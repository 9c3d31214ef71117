/* The calls of a rank's thread: who waits does what is started, or sleeps while the data thread
 * does; and how an end begins and ends. */
#include "runtime/comm/stream/internal.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* For what a call returns, when nobody touches its buffers any more; gives the mutex back. */
static dlc_status failed(Stream *stream) {
    while (stream->data_works) {
        pthread_cond_wait(&stream->changed, &stream->mutex);
    }
    dlc_status status = stream->failure;
    memcpy(stream->comm.error, stream->failure_text, sizeof(stream->comm.error));
    pthread_mutex_unlock(&stream->mutex);
    return status;
}

/* A free one, with room for `bytes`, if there is one; NULL: no memory. */
static StreamOp *op_new(Stream *stream, size_t bytes) {
    StreamOp *best = NULL;
    for (int i = 0; i < COMM_MAX_STARTED; i++) {
        StreamOp *op = &stream->ops_started[i];
        if (!op->is_used && (!best || best->staging_bytes < bytes)) {
            best = op;
        }
    }
    if (best->staging_bytes < bytes) {
        memory_free_aligned(stream->allocator, best->staging);
        best->staging = memory_new_aligned(stream->allocator, bytes);
        best->staging_bytes = best->staging ? bytes : 0;
        if (!best->staging) {
            return NULL;
        }
    }
    return best;
}

dlc_status stream_start(Comm *comm, const CommCall *call, CommRequest **out) {
    Stream *stream = (Stream *)comm;
    int32_t n = comm_group_size(comm, &call->group);
    int32_t number = comm_group_number(&call->group, n, comm->rank);
    pthread_mutex_lock(&stream->mutex);
    if (stream->failure != DLC_OK) {
        return failed(stream);
    }
    StreamOp *op = op_new(stream, stream_staging_bytes(call, n, number));
    if (!op) {
        pthread_mutex_unlock(&stream->mutex);
        control_fail(stream->control, DLC_ERROR_OUT_OF_MEMORY,
                     "rank %d: out of memory for a collective (host %s)", comm->rank,
                     control_host(stream->control, comm->rank));
        pthread_mutex_lock(&stream->mutex);
        return failed(stream);
    }
    op->next = NULL;
    op->call = call;
    op->n = n;
    op->number = number;
    op->is_used = true;
    op->is_done = false;
    op->waited_since = 0;
    if (stream->first) {
        stream->last->next = op;
    } else {
        stream->first = op;
    }
    stream->last = op;
    if (stream->is_driven) {
        stream_wake(stream);
    } else if (!comm->is_run) {
        pthread_cond_signal(&stream->work);
    }
    pthread_mutex_unlock(&stream->mutex);
    *out = (CommRequest *)op;
    return DLC_OK;
}

/* Under the mutex: does what is started, up to the call that is waited for. What is left then is
 * the data thread's. */
static void drive(Stream *stream, const StreamOp *op) {
    stream->is_driven = true;
    pthread_mutex_unlock(&stream->mutex);
    stream_drive(stream, op);
    pthread_mutex_lock(&stream->mutex);
    stream->is_driven = false;
    if (stream->first || stream->failure != DLC_OK) {
        pthread_cond_signal(&stream->work);
    }
}

dlc_status stream_wait(Comm *comm, CommRequest *request) {
    Stream *stream = (Stream *)comm;
    StreamOp *op = (StreamOp *)request;
    pthread_mutex_lock(&stream->mutex);
    op->waited_since = clock_seconds();
    while (!op->is_done && stream->failure == DLC_OK) {
        if (stream->is_driven) {
            pthread_cond_wait(&stream->changed, &stream->mutex);
        } else {
            drive(stream, op);
        }
    }
    if (!op->is_done) {
        return failed(stream);
    }
    op->is_used = false;
    pthread_mutex_unlock(&stream->mutex);
    return DLC_OK;
}

void stream_abort(Comm *comm, dlc_status status, const char *text) {
    Stream *stream = (Stream *)comm;
    control_fail(stream->control, status == DLC_OK ? DLC_ERROR_INTERNAL : status,
                 "rank %d: %.900s (host %s)", comm->rank, text,
                 control_host(stream->control, comm->rank));
    pthread_mutex_lock(&stream->mutex);
    (void)failed(stream);
}

/* ControlFailed. */
static void on_failure(void *user, dlc_status status, const char *text) {
    Stream *stream = user;
    pthread_mutex_lock(&stream->mutex);
    stream->failure = status;
    snprintf(stream->failure_text, sizeof(stream->failure_text), "%s", text);
    pthread_cond_broadcast(&stream->changed);
    pthread_cond_signal(&stream->work);
    stream_wake(stream);
    pthread_mutex_unlock(&stream->mutex);
}

/* -- Beginning and end. */

/* Streams are closed last: a broken one before the channel's end would look like a death. */
static void threads_end(Stream *stream) {
    if (stream->has_thread) {
        pthread_mutex_lock(&stream->mutex);
        stream->closes = true;
        pthread_cond_signal(&stream->work);
        stream_wake(stream);
        while (!stream->calls_ended) {
            pthread_cond_wait(&stream->changed, &stream->mutex);
        }
        pthread_mutex_unlock(&stream->mutex);
    }
    control_end(stream->control);
    if (stream->has_thread) {
        pthread_mutex_lock(&stream->mutex);
        stream->is_over = true;
        stream_wake(stream);
        pthread_mutex_unlock(&stream->mutex);
        pthread_join(stream->thread, NULL);
    }
}

/* Accepts what is half made. */
static void stream_free(Stream *stream) {
    threads_end(stream);
    stream->ops->free(stream->carrier, stream->failure != DLC_OK);
    if (stream->wake >= 0) {
        close(stream->wake);
    }
    for (int i = 0; i < COMM_MAX_STARTED; i++) {
        memory_free_aligned(stream->allocator, stream->ops_started[i].staging);
    }
    pthread_cond_destroy(&stream->work);
    pthread_cond_destroy(&stream->changed);
    pthread_mutex_destroy(&stream->mutex);
    memory_free(stream->allocator, stream->operands);
    memory_free(stream->allocator, stream->wants);
    memory_free(stream->allocator, stream->peers);
    memory_free(stream->allocator, stream);
}

void stream_close(Comm *comm) {
    Stream *stream = (Stream *)comm;
    if (comm->n_started > 0) {
        control_fail(stream->control, DLC_ERROR_INTERNAL,
                     "rank %d has ended with %d collectives started and not waited for", comm->rank,
                     comm->n_started);
    }
    stream_free(stream);
}

/* A CommAt for the control channel. */
static void stream_at(void *user, char *out, size_t n_out) {
    comm_at(&((Stream *)user)->comm, out, n_out);
}

/* Signals are for the program's own threads. */
static dlc_status threads_begin(Stream *stream, char *message) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    stream->has_thread = pthread_create(&stream->thread, NULL, stream_main, stream) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!stream->has_thread) {
        snprintf(message, COMM_MESSAGE_BYTES, "rank %d: the system gives no thread",
                 stream->comm.rank);
        return DLC_ERROR_LIMIT;
    }
    return control_begin(stream->control, on_failure, stream_at, stream, message);
}

dlc_status stream_create(const dlc_allocator *allocator, const StreamOptions *options, Comm **out,
                         char *message) {
    Stream *stream = memory_new(allocator, 1, sizeof(*stream));
    snprintf(message, COMM_MESSAGE_BYTES, "rank %d: no memory or no files", options->rank);
    if (!stream) {
        control_end(options->control);
        options->ops->free(options->carrier, false);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    size_t n = (size_t)options->n_ranks;
    stream->allocator = allocator;
    stream->comm = (Comm){.ops = options->comm,
                          .rank = options->rank,
                          .n_ranks = options->n_ranks,
                          .patience = options->timeout_seconds};
    stream->ops = options->ops;
    stream->carrier = options->carrier;
    stream->control = options->control;
    stream->silence = options->silence_seconds;
    pthread_mutex_init(&stream->mutex, NULL);
    pthread_cond_init(&stream->changed, NULL);
    pthread_cond_init(&stream->work, NULL);
    stream->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    stream->peers = memory_new(allocator, n, sizeof(StreamPeer));
    stream->wants = memory_new(allocator, n, sizeof(StreamWant));
    stream->operands = memory_new(allocator, n, sizeof(void *));
    dlc_status status = stream->wake < 0 ? DLC_ERROR_IO : DLC_OK;
    if (!stream->peers || !stream->wants || !stream->operands) {
        status = DLC_ERROR_OUT_OF_MEMORY;
    }
    status = status == DLC_OK ? threads_begin(stream, message) : status;
    if (status != DLC_OK) {
        stream_free(stream);
        return status;
    }
    message[0] = 0;
    *out = &stream->comm;
    return DLC_OK;
}
