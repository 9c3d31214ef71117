/* How ranks find each other: all come to rank 0, which tells everyone where everyone listens; then
 * each rank connects to those of lower number and is connected to by the others. */
#include "runtime/comm/tcp/internal.h"

#include "ir/base/number.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* Who connects has so long to say who it is. */
static const double hello_seconds = 5;
/* How often who waits looks whether others are still there. */
static const double look_seconds = 0.1;

typedef struct Meeting {
    Tcp *tcp;
    const CommTcpOptions *options;
    uint64_t key;
    int listener; /* for data; of rank 0 for control too */
    uint32_t port;
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

static TcpHello hello_make(const Meeting *m, bool is_data) {
    TcpHello hello;
    memset(&hello, 0, sizeof(hello));
    hello.magic = TCP_MAGIC;
    hello.version = TCP_VERSION;
    hello.is_data = is_data;
    hello.key = m->key;
    hello.rank = m->tcp->comm.rank;
    hello.n_ranks = m->tcp->comm.n_ranks;
    hello.port = m->port;
    memcpy(hello.host, m->tcp->host, sizeof(hello.host));
    return hello;
}

/* -- Rank 0. */

/* NULL: welcome. */
static const char *hello_problem(const Meeting *m, const TcpHello *hello, char *text, size_t n) {
    const Tcp *tcp = m->tcp;
    if (hello->version != TCP_VERSION) {
        snprintf(text, n, "rank %d (%.63s) has version %u of the protocol, rank 0 has %d",
                 hello->rank, hello->host, hello->version, TCP_VERSION);
    } else if (hello->n_ranks != tcp->comm.n_ranks) {
        snprintf(text, n, "rank %d (%.63s) was told of %d ranks, rank 0 of %d", hello->rank,
                 hello->host, hello->n_ranks, tcp->comm.n_ranks);
    } else if (hello->rank < 1 || hello->rank >= tcp->comm.n_ranks) {
        snprintf(text, n, "a process on %.63s is rank %d of %d", hello->host, hello->rank,
                 tcp->comm.n_ranks);
    } else if (tcp->peers[hello->rank].control >= 0) {
        snprintf(text, n, "two processes are rank %d: on %.63s and on %.63s", hello->rank,
                 tcp->peers[hello->rank].host, hello->host);
    } else {
        return NULL;
    }
    return text;
}

static bool welcome_send(int socket, dlc_status status, const char *text, double deadline) {
    TcpWelcome welcome;
    memset(&welcome, 0, sizeof(welcome));
    welcome.magic = TCP_MAGIC;
    welcome.status = (int32_t)status;
    snprintf(welcome.text, sizeof(welcome.text), "%s", text);
    return tcp_write(socket, &welcome, sizeof(welcome), deadline);
}

/* Everyone who has come is told too. */
static dlc_status refuse_all(Meeting *m, int socket, dlc_status status, const char *text) {
    snprintf(m->message, COMM_MESSAGE_BYTES, "%s", text);
    if (socket >= 0) {
        welcome_send(socket, status, text, soon(m));
        close(socket);
    }
    for (int32_t i = 1; i < m->tcp->comm.n_ranks; i++) {
        if (m->tcp->peers[i].control >= 0) {
            welcome_send(m->tcp->peers[i].control, status, text, soon(m));
        }
    }
    return status;
}

static dlc_status missing(Meeting *m) {
    char text[COMM_MESSAGE_BYTES];
    int length = snprintf(text, sizeof(text), "in %s s these ranks have not come:",
                          number_text(m->options->meet_seconds, 3).text);
    for (int32_t i = 1; i < m->tcp->comm.n_ranks && length < 200; i++) {
        if (m->tcp->peers[i].control < 0) {
            length += snprintf(text + length, sizeof(text) - (size_t)length, " %d", i);
        }
    }
    m->deadline = clock_seconds() + 1; /* for telling */
    return refuse_all(m, -1, DLC_ERROR_IO, text);
}

/* What is not of this job is sent away, and the meeting goes on. */
static dlc_status hub_gather(Meeting *m, TcpPlace *places) {
    Tcp *tcp = m->tcp;
    for (int32_t n_come = 1; n_come < tcp->comm.n_ranks;) {
        int made = tcp_accept(m->listener, m->deadline);
        TcpHello hello;
        if (made < 0) {
            return missing(m);
        }
        if (!tcp_read(made, &hello, sizeof(hello), soon(m)) || hello.magic != TCP_MAGIC ||
            hello.is_data != 0) {
            close(made);
            continue;
        }
        hello.host[TCP_HOST_BYTES - 1] = 0;
        if (hello.key != m->key) {
            welcome_send(made, DLC_ERROR_MISMATCH, "rank 0 belongs to another job", soon(m));
            close(made);
            continue;
        }
        char text[COMM_MESSAGE_BYTES];
        if (hello_problem(m, &hello, text, sizeof(text))) {
            return refuse_all(m, made, DLC_ERROR_MISMATCH, text);
        }
        TcpPeer *peer = &tcp->peers[hello.rank];
        TcpPlace *place = &places[hello.rank];
        peer->control = made;
        memcpy(peer->host, hello.host, sizeof(peer->host));
        memcpy(place->host, hello.host, sizeof(place->host));
        if (tcp_place_of_peer(made, place)) {
            place->port = hello.port;
            n_come++;
        }
    }
    return DLC_OK;
}

static dlc_status hub_meet(Meeting *m, TcpPlace *places) {
    Tcp *tcp = m->tcp;
    dlc_status status = hub_gather(m, places);
    if (status != DLC_OK) {
        return status;
    }
    memcpy(places[0].host, tcp->host, sizeof(places[0].host));
    size_t bytes = (size_t)tcp->comm.n_ranks * sizeof(TcpPlace);
    for (int32_t i = 1; i < tcp->comm.n_ranks; i++) {
        if (!welcome_send(tcp->peers[i].control, DLC_OK, "", m->deadline) ||
            !tcp_write(tcp->peers[i].control, places, bytes, m->deadline)) {
            char text[COMM_MESSAGE_BYTES];
            snprintf(text, sizeof(text), "rank %d (%s) went away while the ranks met", i,
                     tcp->peers[i].host);
            return refuse_all(m, -1, DLC_ERROR_IO, text);
        }
    }
    return DLC_OK;
}

/* -- The others. */

static dlc_status spoke_meet(Meeting *m, TcpPlace *places) {
    Tcp *tcp = m->tcp;
    char text[128], why[COMM_MESSAGE_BYTES] = "";
    int made = tcp_connect(m->options->addresses, m->deadline, why);
    if (made < 0) {
        snprintf(m->message, COMM_MESSAGE_BYTES, "rank %d cannot reach rank 0 in %s s: %.800s",
                 tcp->comm.rank, number_text(m->options->meet_seconds, 3).text, why);
        return DLC_ERROR_IO;
    }
    tcp->peers[0].control = made;
    TcpHello hello = hello_make(m, false);
    TcpWelcome welcome;
    size_t bytes = (size_t)tcp->comm.n_ranks * sizeof(TcpPlace);
    if (!tcp_write(made, &hello, sizeof(hello), m->deadline) ||
        !tcp_read(made, &welcome, sizeof(welcome), m->deadline) || welcome.magic != TCP_MAGIC) {
        snprintf(m->message, COMM_MESSAGE_BYTES,
                 "rank %d has reached %.200s, but there is no answer as from a rank 0: %s",
                 tcp->comm.rank, m->options->addresses, reason_text(text, sizeof(text)));
        return DLC_ERROR_IO;
    }
    welcome.text[sizeof(welcome.text) - 1] = 0;
    if (welcome.status != (int32_t)DLC_OK) {
        memcpy(m->message, welcome.text, COMM_MESSAGE_BYTES);
        return welcome.status == (int32_t)DLC_ERROR_MISMATCH ? DLC_ERROR_MISMATCH : DLC_ERROR_IO;
    }
    TcpPlace hub;
    if (!tcp_read(made, places, bytes, m->deadline) || !tcp_place_of_peer(made, &hub)) {
        snprintf(m->message, COMM_MESSAGE_BYTES, "rank 0 went away while the ranks met: %s",
                 reason_text(text, sizeof(text)));
        return DLC_ERROR_IO;
    }
    /* Rank 0 knows no address of its own that is good for all. */
    memcpy(hub.host, places[0].host, sizeof(hub.host));
    places[0] = hub;
    for (int32_t i = 0; i < tcp->comm.n_ranks; i++) {
        places[i].host[TCP_HOST_BYTES - 1] = 0;
        memcpy(tcp->peers[i].host, places[i].host, sizeof(places[i].host));
    }
    return DLC_OK;
}

/* -- Connections for data. */

static dlc_status data_failed(Meeting *m, int32_t rank) {
    char text[128];
    snprintf(m->message, COMM_MESSAGE_BYTES,
             "rank %d (%s) and rank %d (%s) cannot be connected: %s", m->tcp->comm.rank,
             m->tcp->host, rank, rank < 0 ? "?" : m->tcp->peers[rank].host,
             reason_text(text, sizeof(text)));
    return DLC_ERROR_IO;
}

static dlc_status data_connect(Meeting *m, const TcpPlace *places) {
    Tcp *tcp = m->tcp;
    for (int32_t i = 0; i < tcp->comm.rank; i++) {
        TcpHello hello = hello_make(m, true);
        tcp->peers[i].data = tcp_connect_place(&places[i], m->deadline);
        if (tcp->peers[i].data < 0 ||
            !tcp_write(tcp->peers[i].data, &hello, sizeof(hello), m->deadline)) {
            return data_failed(m, i);
        }
    }
    return DLC_OK;
}

/* Whether another rank has failed or gone since it came: then `message` says so. Beats of ranks
 * that have met everyone may be there already. */
static bool others_failed(Meeting *m) {
    for (int32_t i = 0; i < m->tcp->comm.n_ranks; i++) {
        TcpPeer *peer = &m->tcp->peers[i];
        TcpMessage message;
        if (peer->control < 0) {
            continue;
        }
        ssize_t n = recv(peer->control, &message, sizeof(message), MSG_PEEK | MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            snprintf(m->message, COMM_MESSAGE_BYTES,
                     "rank %d (host %s) went away while the ranks met", i, peer->host);
            return true;
        }
        if (n == (ssize_t)sizeof(message) && message.kind == TCP_FAIL &&
            message.length < COMM_MESSAGE_BYTES &&
            tcp_read(peer->control, &message, sizeof(message), soon(m)) &&
            tcp_read(peer->control, m->message, message.length, soon(m))) {
            m->message[message.length] = 0;
            return true;
        }
    }
    return false;
}

/* The others wait for this rank's connections, and need not any more. */
static void tell_failed(Meeting *m, dlc_status status) {
    size_t length = strlen(m->message);
    TcpMessage message = {.kind = TCP_FAIL, .status = (int32_t)status, .length = (uint32_t)length};
    for (int32_t i = 0; i < m->tcp->comm.n_ranks; i++) {
        int control = m->tcp->peers[i].control;
        double deadline = clock_seconds() + look_seconds;
        if (control >= 0 && tcp_write(control, &message, sizeof(message), deadline)) {
            tcp_write(control, m->message, length, deadline);
        }
    }
}

static dlc_status data_accept(Meeting *m) {
    Tcp *tcp = m->tcp;
    for (int32_t n = tcp->comm.rank + 1; n < tcp->comm.n_ranks;) {
        double slice = clock_seconds() + look_seconds;
        int made = tcp_accept(m->listener, slice < m->deadline ? slice : m->deadline);
        int reason = errno;
        if (others_failed(m)) {
            if (made >= 0) {
                close(made);
            }
            return DLC_ERROR_IO;
        }
        if (made < 0 && reason == ETIMEDOUT && clock_seconds() < m->deadline) {
            continue;
        }
        errno = reason;
        TcpHello hello;
        if (made < 0) {
            int32_t first = tcp->comm.rank + 1;
            while (tcp->peers[first].data >= 0) {
                first++;
            }
            return data_failed(m, first);
        }
        if (!tcp_read(made, &hello, sizeof(hello), soon(m)) || hello.magic != TCP_MAGIC ||
            hello.is_data != 1 || hello.key != m->key || hello.rank <= tcp->comm.rank ||
            hello.rank >= tcp->comm.n_ranks || tcp->peers[hello.rank].data >= 0) {
            close(made);
            continue;
        }
        tcp->peers[hello.rank].data = made;
        n++;
    }
    return DLC_OK;
}

static void sockets_unblock(Tcp *tcp) {
    for (int32_t i = 0; i < tcp->comm.n_ranks; i++) {
        int both[2] = {tcp->peers[i].data, tcp->peers[i].control};
        for (int k = 0; k < 2; k++) {
            if (both[k] >= 0) {
                fcntl(both[k], F_SETFL, fcntl(both[k], F_GETFL) | O_NONBLOCK);
            }
        }
    }
}

dlc_status tcp_meet(Tcp *tcp, const CommTcpOptions *options, char *message) {
    Meeting m = {.tcp = tcp,
                 .options = options,
                 .key = hash_bytes(options->job_key, strlen(options->job_key), 1),
                 .listener = options->listener,
                 .deadline = clock_seconds() + options->meet_seconds,
                 .message = message};
    bool is_hub = tcp->comm.rank == 0;
    char text[128];
    TcpPlace *places = memory_new(tcp->allocator, (size_t)tcp->comm.n_ranks, sizeof(TcpPlace));
    if (is_hub && m.listener < 0 && !tcp_port_of(options->addresses, &m.port)) {
        snprintf(message, COMM_MESSAGE_BYTES, "'%.200s' is no list of host:port",
                 options->addresses);
        memory_free(tcp->allocator, places);
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    m.listener = m.listener < 0 ? tcp_listen(&m.port) : m.listener;
    dlc_status status = DLC_OK;
    if (!places) {
        status = DLC_ERROR_OUT_OF_MEMORY;
    } else if (m.listener < 0) {
        snprintf(message, COMM_MESSAGE_BYTES, "rank %d cannot listen on port %u: %s",
                 tcp->comm.rank, m.port, reason_text(text, sizeof(text)));
        status = DLC_ERROR_IO;
    }
    if (status == DLC_OK) {
        status = is_hub ? hub_meet(&m, places) : spoke_meet(&m, places);
    }
    if (status == DLC_OK) {
        status = data_connect(&m, places);
        status = status == DLC_OK ? data_accept(&m) : status;
        if (status != DLC_OK) {
            tell_failed(&m, status);
        }
    }
    if (status == DLC_OK) {
        sockets_unblock(tcp);
    }
    if (m.listener >= 0) {
        close(m.listener);
    }
    memory_free(tcp->allocator, places);
    return status;
}
