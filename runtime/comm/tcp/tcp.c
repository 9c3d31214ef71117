/* A socket between every two ranks, and memory where they can share it: how they are connected. */
#include "runtime/comm/tcp/internal.h"

#include <errno.h>
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
    PassName name; /* where open files can be passed to it */
} TcpHello;

/* -- Connecting: each rank to those of lower number. */

static dlc_status lower_connect(Connecting *c) {
    Tcp *tcp = c->tcp;
    const TcpHello hello = {.magic = TCP_MAGIC, .key = c->key, .rank = tcp->rank, .name = c->name};
    for (int32_t i = 0; i < tcp->rank; i++) {
        tcp->pairs[i].socket = socket_connect_place(control_place(c->control, i), c->deadline);
        if (tcp->pairs[i].socket < 0 ||
            !socket_write(tcp->pairs[i].socket, &hello, sizeof(hello), c->deadline)) {
            return tcp_connect_failed(c, i);
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
        hello.magic != TCP_MAGIC || hello.key != c->key || hello.rank <= tcp->rank ||
        hello.rank >= tcp->n_ranks || tcp->pairs[hello.rank].socket >= 0) {
        return false;
    }
    tcp->pairs[hello.rank].socket = made;
    tcp->pairs[hello.rank].name = hello.name;
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
            while (tcp->pairs[first].socket >= 0) {
                first++;
            }
            return tcp_connect_failed(c, first);
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
    status = status == DLC_OK ? tcp_share(c) : status;
    if (status != DLC_OK) {
        control_tell(c->control, status, c->message); /* others wait for this one's connections */
        return status;
    }
    for (int32_t i = 0; i < tcp->n_ranks; i++) {
        if (tcp->pairs[i].socket >= 0) {
            socket_unblock(tcp->pairs[i].socket);
        }
    }
    return DLC_OK;
}

/* -- Beginning. */

/* Of ranks whose hosts have one name, which should share memory: the first pair, of which this rank
 * is the lower, that does not, and why; for whoever reads the log. */
static void note_make(const Connecting *c, char *out, size_t n_out) {
    const Tcp *tcp = c->tcp;
    const char *host = control_host(c->control, tcp->rank);
    for (int32_t i = tcp->rank + 1; i < tcp->n_ranks; i++) {
        const TcpPair *pair = &tcp->pairs[i];
        if (!pair->memory && pair->why[0] && strcmp(control_host(c->control, i), host) == 0) {
            snprintf(out, n_out, "ranks %d and %d (host %s) exchange by sockets: %s", tcp->rank, i,
                     host, pair->why);
            return;
        }
    }
}

static dlc_status stream_begin(const dlc_allocator *allocator, const CommTcpOptions *options,
                               const Connecting *c, Comm **out) {
    char note[COMM_NOTE_BYTES] = "";
    note_make(c, note, sizeof(note));
    StreamOptions stream = {.comm = &comm_tcp,
                            .ops = &tcp_ops,
                            .carrier = c->tcp,
                            .control = c->control,
                            .rank = options->rank,
                            .n_ranks = options->n_ranks,
                            .silence_seconds = options->silence_seconds,
                            .timeout_seconds = options->timeout_seconds};
    dlc_status status = stream_create(allocator, &stream, out, c->message);
    if (status == DLC_OK) {
        memcpy((*out)->note, note, sizeof(note));
    }
    return status;
}

static dlc_status all_connect(const dlc_allocator *allocator, const CommTcpOptions *options,
                              Control *control, int listener, double deadline, Comm **out,
                              char *message) {
    Connecting connecting = {.tcp = tcp_new(allocator, options->rank, options->n_ranks),
                             .control = control,
                             .listener = listener,
                             .pass_listener = -1,
                             .key = hash_bytes(options->job_key, strlen(options->job_key), 1),
                             .deadline = deadline,
                             .message = message};
    snprintf(message, COMM_MESSAGE_BYTES, "rank %d: no memory or no files", options->rank);
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    if (connecting.tcp) {
        tcp_share_begin(&connecting, options->only_sockets);
        status = tcp_connect(&connecting);
        tcp_share_end(&connecting);
    }
    if (status != DLC_OK) {
        if (connecting.tcp) {
            tcp_ops.free(connecting.tcp, true);
        }
        control_end(control);
        return status;
    }
    return stream_begin(allocator, options, &connecting, out);
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
                          .doc = "processes, by sockets, and by shared memory on one host",
                          .start = stream_start,
                          .wait = stream_wait,
                          .abort = stream_abort,
                          .close = stream_close};
