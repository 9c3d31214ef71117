/* How ranks find each other: all come to rank 0, which tells everyone where everyone listens. */
#include "runtime/comm/control/internal.h"

#include "ir/base/number.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Who connects has so long to say who it is. */
static const double hello_seconds = 5;
/* What is told is small: who does not take it in this time has gone. */
static const double tell_seconds = 0.1;

typedef struct Meeting {
    Control *control;
    const ControlOptions *options;
    uint64_t key;
    int listener; /* of rank 0 */
    double deadline;
    char *message;
} Meeting;

static const char *reason_text(char *buffer, size_t n) {
    return strerror_r(errno, buffer, n);
}

static double soon(const Meeting *m) {
    double time = clock_seconds() + hello_seconds;
    return time < m->deadline ? time : m->deadline;
}

static ControlHello hello_make(const Meeting *m) {
    ControlHello hello;
    memset(&hello, 0, sizeof(hello));
    hello.magic = CONTROL_MAGIC;
    hello.version = CONTROL_VERSION;
    hello.key = m->key;
    hello.rank = m->control->rank;
    hello.n_ranks = m->control->n_ranks;
    hello.port = m->options->port;
    memcpy(hello.host, m->control->peers[m->control->rank].place.host, sizeof(hello.host));
    return hello;
}

/* -- Rank 0. */

/* NULL: welcome. */
static const char *hello_problem(const Meeting *m, const ControlHello *hello, char *text,
                                 size_t n) {
    const Control *control = m->control;
    if (hello->version != CONTROL_VERSION) {
        snprintf(text, n, "rank %d (%.63s) has version %u of the protocol, rank 0 has %d",
                 hello->rank, hello->host, hello->version, CONTROL_VERSION);
    } else if (hello->n_ranks != control->n_ranks) {
        snprintf(text, n, "rank %d (%.63s) was told of %d ranks, rank 0 of %d", hello->rank,
                 hello->host, hello->n_ranks, control->n_ranks);
    } else if (hello->rank < 1 || hello->rank >= control->n_ranks) {
        snprintf(text, n, "a process on %.63s is rank %d of %d", hello->host, hello->rank,
                 control->n_ranks);
    } else if (control->peers[hello->rank].socket >= 0) {
        snprintf(text, n, "two processes are rank %d: on %.63s and on %.63s", hello->rank,
                 control->peers[hello->rank].place.host, hello->host);
    } else {
        return NULL;
    }
    return text;
}

static bool welcome_send(int socket, dlc_status status, const char *text, double deadline) {
    ControlWelcome welcome;
    memset(&welcome, 0, sizeof(welcome));
    welcome.magic = CONTROL_MAGIC;
    welcome.status = (int32_t)status;
    snprintf(welcome.text, sizeof(welcome.text), "%s", text);
    return socket_write(socket, &welcome, sizeof(welcome), deadline);
}

/* Everyone who has come is told too. */
static dlc_status refuse_all(Meeting *m, int socket, dlc_status status, const char *text) {
    snprintf(m->message, COMM_MESSAGE_BYTES, "%s", text);
    if (socket >= 0) {
        welcome_send(socket, status, text, soon(m));
        close(socket);
    }
    for (int32_t i = 1; i < m->control->n_ranks; i++) {
        if (m->control->peers[i].socket >= 0) {
            welcome_send(m->control->peers[i].socket, status, text, soon(m));
        }
    }
    return status;
}

static dlc_status missing(Meeting *m) {
    char text[COMM_MESSAGE_BYTES];
    int length = snprintf(text, sizeof(text), "in %s s these ranks have not come:",
                          number_text(m->options->meet_seconds, 3).text);
    for (int32_t i = 1; i < m->control->n_ranks && length < 200; i++) {
        if (m->control->peers[i].socket < 0) {
            length += snprintf(text + length, sizeof(text) - (size_t)length, " %d", i);
        }
    }
    m->deadline = clock_seconds() + 1; /* for telling */
    return refuse_all(m, -1, DLC_ERROR_IO, text);
}

static dlc_status hub_listen(Meeting *m) {
    uint32_t port = 0;
    m->listener = m->options->listener;
    if (m->listener < 0 && !socket_port_of(m->options->addresses, &port)) {
        snprintf(m->message, COMM_MESSAGE_BYTES, "'%.200s' is no list of host:port",
                 m->options->addresses);
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    m->listener = m->listener < 0 ? socket_listen(&port) : m->listener;
    if (m->listener < 0) {
        char text[128];
        snprintf(m->message, COMM_MESSAGE_BYTES, "rank %d cannot listen on port %u: %s",
                 m->control->rank, port, reason_text(text, sizeof(text)));
        return DLC_ERROR_IO;
    }
    return DLC_OK;
}

/* What is not of this job is sent away, and the meeting goes on. */
static dlc_status hub_gather(Meeting *m, SocketPlace *places) {
    Control *control = m->control;
    for (int32_t n_come = 1; n_come < control->n_ranks;) {
        int made = socket_accept(m->listener, m->deadline);
        ControlHello hello;
        if (made < 0) {
            return missing(m);
        }
        if (!socket_read(made, &hello, sizeof(hello), soon(m)) || hello.magic != CONTROL_MAGIC) {
            close(made);
            continue;
        }
        hello.host[SOCKET_HOST_BYTES - 1] = 0;
        if (hello.key != m->key) {
            welcome_send(made, DLC_ERROR_MISMATCH, "rank 0 belongs to another job", soon(m));
            close(made);
            continue;
        }
        char text[COMM_MESSAGE_BYTES];
        if (hello_problem(m, &hello, text, sizeof(text))) {
            return refuse_all(m, made, DLC_ERROR_MISMATCH, text);
        }
        ControlPeer *peer = &control->peers[hello.rank];
        SocketPlace *place = &places[hello.rank];
        peer->socket = made;
        memcpy(peer->place.host, hello.host, sizeof(peer->place.host));
        memcpy(place->host, hello.host, sizeof(place->host));
        if (socket_place_of_peer(made, place)) {
            place->port = hello.port;
            peer->place = *place;
            n_come++;
        }
    }
    return DLC_OK;
}

static dlc_status hub_meet(Meeting *m, SocketPlace *places) {
    Control *control = m->control;
    dlc_status status = hub_gather(m, places);
    if (status != DLC_OK) {
        return status;
    }
    places[0] = control->peers[0].place;
    places[0].port = m->options->port;
    size_t bytes = (size_t)control->n_ranks * sizeof(SocketPlace);
    for (int32_t i = 1; i < control->n_ranks; i++) {
        if (!welcome_send(control->peers[i].socket, DLC_OK, "", m->deadline) ||
            !socket_write(control->peers[i].socket, places, bytes, m->deadline)) {
            char text[COMM_MESSAGE_BYTES];
            snprintf(text, sizeof(text), "rank %d (%s) went away while the ranks met", i,
                     control->peers[i].place.host);
            return refuse_all(m, -1, DLC_ERROR_IO, text);
        }
    }
    return DLC_OK;
}

/* -- The others. */

static dlc_status spoke_meet(Meeting *m, SocketPlace *places) {
    Control *control = m->control;
    char text[128], why[COMM_MESSAGE_BYTES] = "";
    int made = socket_connect(m->options->addresses, m->deadline, why);
    if (made < 0) {
        snprintf(m->message, COMM_MESSAGE_BYTES, "rank %d cannot reach rank 0 in %s s: %.800s",
                 control->rank, number_text(m->options->meet_seconds, 3).text, why);
        return DLC_ERROR_IO;
    }
    control->peers[0].socket = made;
    ControlHello hello = hello_make(m);
    ControlWelcome welcome;
    size_t bytes = (size_t)control->n_ranks * sizeof(SocketPlace);
    if (!socket_write(made, &hello, sizeof(hello), m->deadline) ||
        !socket_read(made, &welcome, sizeof(welcome), m->deadline) ||
        welcome.magic != CONTROL_MAGIC) {
        snprintf(m->message, COMM_MESSAGE_BYTES,
                 "rank %d has reached %.200s, but there is no answer as from a rank 0: %s",
                 control->rank, m->options->addresses, reason_text(text, sizeof(text)));
        return DLC_ERROR_IO;
    }
    welcome.text[sizeof(welcome.text) - 1] = 0;
    if (welcome.status != (int32_t)DLC_OK) {
        memcpy(m->message, welcome.text, COMM_MESSAGE_BYTES);
        return welcome.status == (int32_t)DLC_ERROR_MISMATCH ? DLC_ERROR_MISMATCH : DLC_ERROR_IO;
    }
    SocketPlace hub;
    if (!socket_read(made, places, bytes, m->deadline) || !socket_place_of_peer(made, &hub)) {
        snprintf(m->message, COMM_MESSAGE_BYTES, "rank 0 went away while the ranks met: %s",
                 reason_text(text, sizeof(text)));
        return DLC_ERROR_IO;
    }
    /* Rank 0 knows no address of its own that is good for all. */
    memcpy(hub.host, places[0].host, sizeof(hub.host));
    hub.port = places[0].port;
    places[0] = hub;
    for (int32_t i = 0; i < control->n_ranks; i++) {
        places[i].host[SOCKET_HOST_BYTES - 1] = 0;
        control->peers[i].place = places[i];
    }
    return DLC_OK;
}

dlc_status control_gather(Control *control, const ControlOptions *options, char *message) {
    Meeting m = {.control = control,
                 .options = options,
                 .key = hash_bytes(options->job_key, strlen(options->job_key), 1),
                 .listener = -1,
                 .deadline = clock_seconds() + options->meet_seconds,
                 .message = message};
    size_t n = (size_t)control->n_ranks;
    SocketPlace *places = memory_new(control->allocator, n, sizeof(SocketPlace));
    if (!places) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    dlc_status status = control->rank == 0 ? hub_listen(&m) : DLC_OK;
    if (status == DLC_OK) {
        status = control->rank == 0 ? hub_meet(&m, places) : spoke_meet(&m, places);
    }
    if (m.listener >= 0 && m.listener != options->listener) {
        close(m.listener);
    }
    memory_free(control->allocator, places);
    return status;
}

/* -- Until the thread begins. */

bool control_look(Control *control, char *out) {
    for (int32_t i = 0; i < control->n_ranks; i++) {
        const ControlPeer *peer = &control->peers[i];
        ControlMessage message;
        if (peer->socket < 0) {
            continue;
        }
        ssize_t n = recv(peer->socket, &message, sizeof(message), MSG_PEEK | MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            snprintf(out, COMM_MESSAGE_BYTES, "rank %d (host %s) went away while the ranks met", i,
                     peer->place.host);
            return true;
        }
        /* Beats of ranks that have met everyone may be there already. */
        double deadline = clock_seconds() + hello_seconds;
        if (n == (ssize_t)sizeof(message) && message.kind == CONTROL_FAIL &&
            message.length < COMM_MESSAGE_BYTES &&
            socket_read(peer->socket, &message, sizeof(message), deadline) &&
            socket_read(peer->socket, out, message.length, deadline)) {
            out[message.length] = 0;
            return true;
        }
    }
    return false;
}

void control_tell(Control *control, dlc_status status, const char *text) {
    size_t length = strlen(text);
    ControlMessage message = {
        .kind = CONTROL_FAIL, .status = (int32_t)status, .length = (uint32_t)length};
    for (int32_t i = 0; i < control->n_ranks; i++) {
        int socket = control->peers[i].socket;
        double deadline = clock_seconds() + tell_seconds;
        if (socket >= 0 && socket_write(socket, &message, sizeof(message), deadline)) {
            socket_write(socket, text, length, deadline);
        }
    }
}
