/* The calls of a rank's thread: they hand over to the data thread and sleep; and how an end begins
 * and ends. */
#include "runtime/comm/tcp/internal.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* For what a call returns, when nobody touches its buffers any more; gives the mutex back. */
static dlc_status failed(Tcp *tcp) {
    while (tcp->data_works) {
        pthread_cond_wait(&tcp->changed, &tcp->mutex);
    }
    dlc_status status = tcp->failure;
    memcpy(tcp->comm.error, tcp->failure_text, sizeof(tcp->comm.error));
    pthread_mutex_unlock(&tcp->mutex);
    return status;
}

/* A free one, with room for `bytes`, if there is one; NULL: no memory. */
static TcpOp *op_new(Tcp *tcp, size_t bytes) {
    TcpOp *best = NULL;
    for (int i = 0; i < COMM_MAX_STARTED; i++) {
        TcpOp *op = &tcp->ops[i];
        if (!op->is_used && (!best || best->staging_bytes < bytes)) {
            best = op;
        }
    }
    if (best->staging_bytes < bytes) {
        memory_free_aligned(tcp->allocator, best->staging);
        best->staging = memory_new_aligned(tcp->allocator, bytes);
        best->staging_bytes = best->staging ? bytes : 0;
        if (!best->staging) {
            return NULL;
        }
    }
    return best;
}

static dlc_status tcp_start(Comm *comm, const CommCall *call, CommRequest **out) {
    Tcp *tcp = (Tcp *)comm;
    int32_t n = comm_group_size(comm, &call->group);
    int32_t number = comm_group_number(&call->group, n, comm->rank);
    pthread_mutex_lock(&tcp->mutex);
    if (tcp->failure != DLC_OK) {
        return failed(tcp);
    }
    TcpOp *op = op_new(tcp, tcp_staging_bytes(call, n, number));
    if (!op) {
        pthread_mutex_unlock(&tcp->mutex);
        tcp_fail(tcp, DLC_ERROR_OUT_OF_MEMORY, "rank %d: out of memory for a collective (host %s)",
                 comm->rank, tcp->host);
        pthread_mutex_lock(&tcp->mutex);
        return failed(tcp);
    }
    op->next = NULL;
    op->call = call;
    op->n = n;
    op->number = number;
    op->is_used = true;
    op->is_done = false;
    op->waited_since = 0;
    if (tcp->first) {
        tcp->last->next = op;
    } else {
        tcp->first = op;
    }
    tcp->last = op;
    pthread_mutex_unlock(&tcp->mutex);
    tcp_wake(tcp->data_wake);
    *out = (CommRequest *)op;
    return DLC_OK;
}

static dlc_status tcp_wait(Comm *comm, CommRequest *request) {
    Tcp *tcp = (Tcp *)comm;
    TcpOp *op = (TcpOp *)request;
    pthread_mutex_lock(&tcp->mutex);
    op->waited_since = clock_seconds();
    while (!op->is_done && tcp->failure == DLC_OK) {
        pthread_cond_wait(&tcp->changed, &tcp->mutex);
    }
    if (!op->is_done) {
        return failed(tcp);
    }
    op->is_used = false;
    pthread_mutex_unlock(&tcp->mutex);
    return DLC_OK;
}

static void tcp_abort(Comm *comm, dlc_status status, const char *text) {
    Tcp *tcp = (Tcp *)comm;
    tcp_fail(tcp, status == DLC_OK ? DLC_ERROR_INTERNAL : status, "rank %d: %.900s (host %s)",
             comm->rank, text, tcp->host);
    pthread_mutex_lock(&tcp->mutex);
    (void)failed(tcp);
}

/* Accepts what is half made. */
static void tcp_free(Tcp *tcp) {
    for (int32_t i = 0; i < tcp->comm.n_ranks && tcp->peers; i++) {
        int both[2] = {tcp->peers[i].data, tcp->peers[i].control};
        for (int k = 0; k < 2; k++) {
            if (both[k] >= 0) {
                close(both[k]);
            }
        }
    }
    for (int k = 0; k < 2; k++) {
        int event = k == 0 ? tcp->data_wake : tcp->control_wake;
        if (event >= 0) {
            close(event);
        }
        memory_free(tcp->allocator, tcp->polls[k]);
    }
    for (int i = 0; i < COMM_MAX_STARTED; i++) {
        memory_free_aligned(tcp->allocator, tcp->ops[i].staging);
    }
    pthread_cond_destroy(&tcp->changed);
    pthread_mutex_destroy(&tcp->mutex);
    memory_free(tcp->allocator, tcp->operands);
    memory_free(tcp->allocator, tcp->peers);
    memory_free(tcp->allocator, tcp);
}

static void threads_end(Tcp *tcp) {
    pthread_mutex_lock(&tcp->mutex);
    tcp->closes = true;
    pthread_mutex_unlock(&tcp->mutex);
    tcp_wake(tcp->data_wake);
    if (tcp->n_threads > 0) {
        pthread_join(tcp->data_thread, NULL);
    }
    pthread_mutex_lock(&tcp->mutex);
    tcp->data_closed = true;
    pthread_mutex_unlock(&tcp->mutex);
    tcp_wake(tcp->control_wake);
    if (tcp->n_threads > 1) {
        pthread_join(tcp->control_thread, NULL);
    }
}

static void tcp_close(Comm *comm) {
    Tcp *tcp = (Tcp *)comm;
    if (comm->n_started > 0) {
        tcp_fail(tcp, DLC_ERROR_INTERNAL,
                 "rank %d has ended with %d collectives started and not waited for", comm->rank,
                 comm->n_started);
    }
    threads_end(tcp);
    tcp_free(tcp);
}

static dlc_status tcp_new(const dlc_allocator *allocator, const CommTcpOptions *options,
                          Tcp **out) {
    Tcp *tcp = memory_new(allocator, 1, sizeof(*tcp));
    if (!tcp) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    size_t n = (size_t)options->n_ranks;
    tcp->allocator = allocator;
    tcp->comm = (Comm){.ops = &comm_tcp, .rank = options->rank, .n_ranks = options->n_ranks};
    tcp->silence = options->silence_seconds;
    tcp->timeout = options->timeout_seconds;
    pthread_mutex_init(&tcp->mutex, NULL);
    pthread_cond_init(&tcp->changed, NULL);
    tcp->data_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    tcp->control_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    tcp->peers = memory_new(allocator, n, sizeof(TcpPeer));
    tcp->operands = memory_new(allocator, n, sizeof(void *));
    tcp->polls[0] = memory_new(allocator, n + 1, sizeof(struct pollfd));
    tcp->polls[1] = memory_new(allocator, n + 1, sizeof(struct pollfd));
    for (int32_t i = 0; i < options->n_ranks && tcp->peers; i++) {
        tcp->peers[i].data = tcp->peers[i].control = -1;
        memcpy(tcp->peers[i].host, "?", 2);
    }
    if (gethostname(tcp->host, sizeof(tcp->host)) != 0) {
        memcpy(tcp->host, "?", 2);
    }
    tcp->host[sizeof(tcp->host) - 1] = 0;
    *out = tcp;
    bool whole = tcp->peers && tcp->operands && tcp->polls[0] && tcp->polls[1];
    return !whole                                        ? DLC_ERROR_OUT_OF_MEMORY
           : tcp->data_wake < 0 || tcp->control_wake < 0 ? DLC_ERROR_IO
                                                         : DLC_OK;
}

/* Signals are for the program's own threads. */
static dlc_status threads_begin(Tcp *tcp, char *message) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&tcp->data_thread, NULL, tcp_data_main, tcp) == 0) {
        tcp->n_threads = 1;
        tcp->n_threads += pthread_create(&tcp->control_thread, NULL, tcp_control_main, tcp) == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (tcp->n_threads == 2) {
        return DLC_OK;
    }
    snprintf(message, COMM_MESSAGE_BYTES, "rank %d: the system gives no thread", tcp->comm.rank);
    threads_end(tcp);
    return DLC_ERROR_LIMIT;
}

dlc_status comm_tcp_create(const dlc_allocator *allocator, const CommTcpOptions *given, Comm **out,
                           char *message) {
    CommTcpOptions options = *given;
    options.meet_seconds = options.meet_seconds > 0 ? options.meet_seconds : 300;
    options.silence_seconds = options.silence_seconds > 0 ? options.silence_seconds : 20;
    dlc_status status = DLC_ERROR_INVALID_ARGUMENT;
    Tcp *tcp = NULL;
    if (options.n_ranks < 1 || options.n_ranks > TCP_MAX_RANKS || options.rank < 0 ||
        options.rank >= options.n_ranks) {
        snprintf(message, COMM_MESSAGE_BYTES, "there is no rank %d of %d", options.rank,
                 options.n_ranks);
    } else {
        snprintf(message, COMM_MESSAGE_BYTES, "rank %d: no memory or no files", options.rank);
        status = tcp_new(allocator, &options, &tcp);
    }
    if (status != DLC_OK && options.listener >= 0) {
        close(options.listener);
    }
    if (status == DLC_OK) {
        status = tcp_meet(tcp, &options, message);
    }
    if (status == DLC_OK) {
        status = threads_begin(tcp, message);
    }
    if (status != DLC_OK) {
        if (tcp) {
            tcp_free(tcp);
        }
        return status;
    }
    message[0] = 0;
    *out = &tcp->comm;
    return DLC_OK;
}

const CommOps comm_tcp = {.name = "tcp",
                          .doc = "processes, by sockets",
                          .start = tcp_start,
                          .wait = tcp_wait,
                          .abort = tcp_abort,
                          .close = tcp_close};
