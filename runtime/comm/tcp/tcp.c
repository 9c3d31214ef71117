/* A socket between every two ranks: how they are connected, and as a carrier of streams. */
#include "runtime/comm/tcp/tcp.h"
#include "runtime/comm/stream/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert((int)TCP_MAX_RANKS == (int)CONTROL_MAX_RANKS, "one limit");

#define TCP_MAGIC UINT64_C(0x617461642d636c64)

/* Who connects has so long to say who it is. */
static const double hello_seconds = 5;
/* How often who waits looks whether others are still there. */
static const double look_seconds = 0.1;

/* First on every connection, from who made it. */
typedef struct TcpHello {
    uint64_t magic;
    uint64_t key; /* hash of the job's */
    int32_t rank, reserved;
} TcpHello;

typedef struct Tcp {
    const dlc_allocator *allocator;
    int *sockets; /* [n_ranks]; -1: none */
    struct pollfd *polls;
    int32_t rank, n_ranks;
} Tcp;

/* -- The carrier. */

static int64_t tcp_send(void *carrier, int32_t rank, const struct iovec *runs, int n) {
    Tcp *tcp = carrier;
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)runs, .msg_iovlen = (size_t)n};
    ssize_t bytes = sendmsg(tcp->sockets[rank], &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return bytes >= 0 ? bytes : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static int64_t tcp_receive(void *carrier, int32_t rank, const struct iovec *runs, int n) {
    Tcp *tcp = carrier;
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)runs, .msg_iovlen = (size_t)n};
    ssize_t bytes = recvmsg(tcp->sockets[rank], &message, MSG_DONTWAIT);
    return bytes > 0 ? bytes : bytes < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static void tcp_rest(void *carrier, const StreamWant *wants, int32_t n, int event, int patience) {
    Tcp *tcp = carrier;
    tcp->polls[0] = (struct pollfd){.fd = event, .events = POLLIN};
    for (int32_t i = 0; i < n; i++) {
        int events = (wants[i].sends ? POLLOUT : 0) | (wants[i].receives ? POLLIN : 0);
        tcp->polls[1 + i] =
            (struct pollfd){.fd = tcp->sockets[wants[i].rank], .events = (short)events};
    }
    poll(tcp->polls, (nfds_t)(1 + n), patience);
}

/* The control channel knows better. */
static const char *tcp_why(void *carrier) {
    (void)carrier;
    return "";
}

static void tcp_free(void *carrier, bool has_failed) {
    Tcp *tcp = carrier;
    (void)has_failed;
    for (int32_t i = 0; i < tcp->n_ranks && tcp->sockets; i++) {
        if (tcp->sockets[i] >= 0) {
            close(tcp->sockets[i]);
        }
    }
    memory_free(tcp->allocator, tcp->polls);
    memory_free(tcp->allocator, tcp->sockets);
    memory_free(tcp->allocator, tcp);
}

static const StreamOps tcp_ops = {
    .send = tcp_send, .receive = tcp_receive, .rest = tcp_rest, .why = tcp_why, .free = tcp_free};

/* -- Connecting: each rank to those of lower number. */

typedef struct Connecting {
    Tcp *tcp;
    Control *control;
    int listener;
    TcpHello hello;
    double deadline;
    char *message;
} Connecting;

static dlc_status connect_failed(Connecting *c, int32_t rank) {
    char text[128];
    snprintf(c->message, COMM_MESSAGE_BYTES,
             "rank %d (%s) and rank %d (%s) cannot be connected: %s", c->tcp->rank,
             control_host(c->control, c->tcp->rank), rank, control_host(c->control, rank),
             strerror_r(errno, text, sizeof(text)));
    return DLC_ERROR_IO;
}

static dlc_status lower_connect(Connecting *c) {
    Tcp *tcp = c->tcp;
    for (int32_t i = 0; i < tcp->rank; i++) {
        tcp->sockets[i] = socket_connect_place(control_place(c->control, i), c->deadline);
        if (tcp->sockets[i] < 0 ||
            !socket_write(tcp->sockets[i], &c->hello, sizeof(c->hello), c->deadline)) {
            return connect_failed(c, i);
        }
    }
    return DLC_OK;
}

/* Whether the one who has connected is a higher rank of this job, and new. */
static bool hello_take(Connecting *c, int made) {
    Tcp *tcp = c->tcp;
    TcpHello hello;
    double soon = clock_seconds() + hello_seconds;
    if (!socket_read(made, &hello, sizeof(hello), soon < c->deadline ? soon : c->deadline) ||
        hello.magic != TCP_MAGIC || hello.key != c->hello.key || hello.rank <= tcp->rank ||
        hello.rank >= tcp->n_ranks || tcp->sockets[hello.rank] >= 0) {
        return false;
    }
    tcp->sockets[hello.rank] = made;
    return true;
}

static dlc_status higher_accept(Connecting *c) {
    Tcp *tcp = c->tcp;
    for (int32_t n = tcp->rank + 1; n < tcp->n_ranks;) {
        double slice = clock_seconds() + look_seconds;
        int made = socket_accept(c->listener, slice < c->deadline ? slice : c->deadline);
        int reason = errno;
        if (control_look(c->control, c->message)) {
            if (made >= 0) {
                close(made);
            }
            return DLC_ERROR_IO;
        }
        if (made < 0 && reason == ETIMEDOUT && clock_seconds() < c->deadline) {
            continue;
        }
        errno = reason;
        if (made < 0) {
            int32_t first = tcp->rank + 1;
            while (tcp->sockets[first] >= 0) {
                first++;
            }
            return connect_failed(c, first);
        }
        if (hello_take(c, made)) {
            n++;
        } else {
            close(made);
        }
    }
    return DLC_OK;
}

static dlc_status tcp_connect(Connecting *c) {
    Tcp *tcp = c->tcp;
    dlc_status status = lower_connect(c);
    status = status == DLC_OK ? higher_accept(c) : status;
    if (status != DLC_OK) {
        control_tell(c->control, status, c->message); /* others wait for this one's connections */
        return status;
    }
    for (int32_t i = 0; i < tcp->n_ranks; i++) {
        if (tcp->sockets[i] >= 0) {
            socket_unblock(tcp->sockets[i]);
        }
    }
    return DLC_OK;
}

/* -- Beginning. */

static Tcp *tcp_new(const dlc_allocator *allocator, int32_t rank, int32_t n_ranks) {
    Tcp *tcp = memory_new(allocator, 1, sizeof(*tcp));
    if (!tcp) {
        return NULL;
    }
    *tcp = (Tcp){.allocator = allocator, .rank = rank, .n_ranks = n_ranks};
    tcp->sockets = memory_new(allocator, (size_t)n_ranks, sizeof(int));
    tcp->polls = memory_new(allocator, (size_t)n_ranks + 1, sizeof(struct pollfd));
    for (int32_t i = 0; i < n_ranks && tcp->sockets; i++) {
        tcp->sockets[i] = -1;
    }
    if (!tcp->sockets || !tcp->polls) {
        tcp_free(tcp, false);
        return NULL;
    }
    return tcp;
}

static dlc_status all_connect(const dlc_allocator *allocator, const CommTcpOptions *options,
                              Control *control, int listener, double deadline, Comm **out,
                              char *message) {
    Tcp *tcp = tcp_new(allocator, options->rank, options->n_ranks);
    Connecting connecting = {
        .tcp = tcp,
        .control = control,
        .listener = listener,
        .hello = {.magic = TCP_MAGIC,
                  .key = hash_bytes(options->job_key, strlen(options->job_key), 1),
                  .rank = options->rank},
        .deadline = deadline,
        .message = message};
    snprintf(message, COMM_MESSAGE_BYTES, "rank %d: no memory or no files", options->rank);
    dlc_status status = tcp ? tcp_connect(&connecting) : DLC_ERROR_OUT_OF_MEMORY;
    if (status != DLC_OK) {
        if (tcp) {
            tcp_free(tcp, true);
        }
        control_end(control);
        return status;
    }
    StreamOptions stream = {.comm = &comm_tcp,
                            .ops = &tcp_ops,
                            .carrier = tcp,
                            .control = control,
                            .rank = options->rank,
                            .n_ranks = options->n_ranks,
                            .silence_seconds = options->silence_seconds,
                            .timeout_seconds = options->timeout_seconds};
    return stream_create(allocator, &stream, out, message);
}

dlc_status comm_tcp_create(const dlc_allocator *allocator, const CommTcpOptions *given, Comm **out,
                           char *message) {
    CommTcpOptions options = *given;
    options.meet_seconds = options.meet_seconds > 0 ? options.meet_seconds : COMM_MEET_SECONDS;
    options.silence_seconds =
        options.silence_seconds > 0 ? options.silence_seconds : COMM_SILENCE_SECONDS;
    double deadline = clock_seconds() + options.meet_seconds;
    ControlOptions meeting = {.rank = options.rank,
                              .n_ranks = options.n_ranks,
                              .addresses = options.addresses,
                              .listener = options.listener,
                              .job_key = options.job_key,
                              .meet_seconds = options.meet_seconds,
                              .silence_seconds = options.silence_seconds};
    int listener = socket_listen(&meeting.port);
    if (listener < 0) {
        char text[128];
        snprintf(message, COMM_MESSAGE_BYTES, "rank %d cannot listen: %s", options.rank,
                 strerror_r(errno, text, sizeof(text)));
        if (options.listener >= 0) {
            close(options.listener);
        }
        return DLC_ERROR_IO;
    }
    Control *control;
    dlc_status status = control_meet(allocator, &meeting, &control, message);
    if (status == DLC_OK) {
        status = all_connect(allocator, &options, control, listener, deadline, out, message);
    }
    close(listener);
    return status;
}

int comm_tcp_listen(char *out_addresses, size_t n_addresses) {
    return socket_publish(out_addresses, n_addresses);
}

const CommOps comm_tcp = {.name = "tcp",
                          .doc = "processes, by sockets",
                          .start = stream_start,
                          .wait = stream_wait,
                          .abort = stream_abort,
                          .close = stream_close};
