/* The control thread: says that this rank lives, listens to whether others do, and carries failures
 * to all. Ranks talk to rank 0, which watches all and passes failures on. */
#include "runtime/comm/tcp/internal.h"

#include "ir/base/number.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

enum { BEATS_PER_SILENCE = 5 };

/* What the others are told; small, so that a socket takes it whole or is as good as lost. */
static void say(TcpPeer *peer, TcpMessageKind kind, dlc_status status, const void *rest,
                size_t length) {
    char bytes[sizeof(TcpMessage) + COMM_MESSAGE_BYTES];
    TcpMessage message = {
        .kind = (uint32_t)kind, .status = (int32_t)status, .length = (uint32_t)length};
    if (peer->control < 0 || peer->has_ended || peer->was_lost) {
        return;
    }
    memcpy(bytes, &message, sizeof(message));
    memcpy(bytes + sizeof(message), rest, length);
    ssize_t n = send(peer->control, bytes, sizeof(message) + length, MSG_DONTWAIT | MSG_NOSIGNAL);
    bool is_cut = n > 0 && n < (ssize_t)(sizeof(message) + length);
    peer->was_lost = is_cut; /* what is refused or lost altogether the silence will tell */
}

static void say_all(Tcp *tcp, TcpMessageKind kind, dlc_status status, const void *rest,
                    size_t length) {
    for (int32_t i = 0; i < tcp->comm.n_ranks; i++) {
        say(&tcp->peers[i], kind, status, rest, length);
    }
}

/* -- Listening. */

static void beat_note(TcpPeer *peer, const TcpBeat *beat) {
    const TcpBeat *old = &peer->beat;
    if (old->n_calls != beat->n_calls || old->call != beat->call ||
        old->waits_for != beat->waits_for) {
        peer->since = clock_seconds();
    }
    peer->beat = *beat;
}

static void message_done(Tcp *tcp, TcpPeer *peer, const TcpMessage *message) {
    char text[COMM_MESSAGE_BYTES];
    if (message->kind == TCP_BEAT && message->length == sizeof(TcpBeat)) {
        TcpBeat beat;
        memcpy(&beat, peer->message + sizeof(*message), sizeof(beat));
        beat.text[sizeof(beat.text) - 1] = 0;
        beat_note(peer, &beat);
    } else if (message->kind == TCP_BYE) {
        peer->has_ended = true;
    } else if (message->kind == TCP_FAIL) {
        memcpy(text, peer->message + sizeof(*message), message->length);
        text[message->length] = 0;
        tcp_fail(tcp, message->status == DLC_OK ? DLC_ERROR_INTERNAL : (dlc_status)message->status,
                 "%s", text);
    }
}

static void lost(Tcp *tcp, TcpPeer *peer) {
    if (!peer->has_ended) {
        tcp_fail(tcp, DLC_ERROR_IO, "rank %d (host %s) has died: its connection has closed",
                 (int32_t)(peer - tcp->peers), peer->host);
    }
    peer->was_lost = true;
}

/* All that has come. */
static void hear(Tcp *tcp, TcpPeer *peer, double now) {
    for (;;) {
        TcpMessage message;
        size_t wanted = sizeof(message);
        if (peer->n_message >= sizeof(message)) {
            memcpy(&message, peer->message, sizeof(message));
            if (message.length >= COMM_MESSAGE_BYTES) {
                lost(tcp, peer);
                return;
            }
            wanted += message.length;
            if (peer->n_message == wanted) {
                peer->n_message = 0;
                message_done(tcp, peer, &message);
                continue;
            }
        }
        ssize_t n = recv(peer->control, peer->message + peer->n_message, wanted - peer->n_message,
                         MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            lost(tcp, peer);
            return;
        }
        if (n < 0) {
            return;
        }
        peer->n_message += (size_t)n;
        peer->heard = now;
    }
}

static bool is_watched(const TcpPeer *peer) {
    return peer->control >= 0 && !peer->has_ended && !peer->was_lost;
}

static void check_silence(Tcp *tcp, double now) {
    for (int32_t i = 0; i < tcp->comm.n_ranks; i++) {
        TcpPeer *peer = &tcp->peers[i];
        if (is_watched(peer) && now > peer->heard + tcp->silence) {
            tcp_fail(tcp, DLC_ERROR_IO,
                     "rank %d (host %s) has not been heard from for %s s: it is stopped, stuck or "
                     "cut off",
                     i, peer->host, number_text(tcp->silence, 3).text);
        }
    }
}

static void hear_all(Tcp *tcp, struct pollfd *polls, int patience) {
    int n = 1;
    polls[0] = (struct pollfd){.fd = tcp->control_wake, .events = POLLIN};
    for (int32_t i = 0; i < tcp->comm.n_ranks; i++) {
        TcpPeer *peer = &tcp->peers[i];
        polls[n++] = (struct pollfd){.fd = is_watched(peer) ? peer->control : -1, .events = POLLIN};
    }
    if (poll(polls, (nfds_t)n, patience) <= 0) {
        return;
    }
    if ((polls[0].revents & POLLIN) != 0) {
        tcp_wake_clear(tcp->control_wake);
    }
    double now = clock_seconds();
    for (int32_t i = 0; i < tcp->comm.n_ranks; i++) {
        if (polls[i + 1].revents != 0) {
            hear(tcp, &tcp->peers[i], now);
        }
    }
}

/* -- Ranks that wait for each other. */

/* Whom the rank has waited for, for long, while that one is at another call; NULL: nobody. At the
 * same call nobody waits for good. */
static TcpPeer *waits_for(Tcp *tcp, const TcpPeer *peer, double now) {
    int32_t rank = peer->beat.waits_for;
    if (peer->beat.call == 0 || rank < 0 || rank >= tcp->comm.n_ranks ||
        now < peer->since + tcp->silence / 2) {
        return NULL;
    }
    TcpPeer *other = &tcp->peers[rank];
    return other->beat.call == peer->beat.call ? NULL : other;
}

/* Where all in a circle wait, following one of those whom each waits for finds it. */
static void check_circle(Tcp *tcp, double now) {
    for (int32_t i = 0; i < tcp->comm.n_ranks; i++) {
        for (int32_t k = 0; k < tcp->comm.n_ranks; k++) {
            tcp->peers[k].is_visited = false;
        }
        TcpPeer *first = &tcp->peers[i], *at = waits_for(tcp, first, now);
        while (at && at != first && !at->is_visited) {
            at->is_visited = true;
            at = waits_for(tcp, at, now);
        }
        if (at == first) {
            const TcpPeer *other = waits_for(tcp, first, now);
            tcp_fail(tcp, DLC_ERROR_MISMATCH,
                     "ranks wait for each other: rank %d waits for rank %d in %s; rank %d waits in "
                     "%s",
                     i, first->beat.waits_for, first->beat.text, first->beat.waits_for,
                     other->beat.text);
            return;
        }
    }
}

/* -- The thread. */

static void say_beat(Tcp *tcp, TcpBeat *beat) {
    pthread_mutex_lock(&tcp->mutex);
    *beat = tcp->beat;
    pthread_mutex_unlock(&tcp->mutex);
    say_all(tcp, TCP_BEAT, DLC_OK, beat, sizeof(*beat));
    beat_note(&tcp->peers[tcp->comm.rank], beat);
}

static bool anyone_is_watched(const Tcp *tcp) {
    bool any = false;
    for (int32_t i = 0; i < tcp->comm.n_ranks; i++) {
        any = any || is_watched(&tcp->peers[i]);
    }
    return any;
}

/* Whether the thread ends: there is a failure, which all are told; or this rank has ended, and of
 * rank 0 all others. */
static bool is_over(Tcp *tcp, double *leaves_at, double now) {
    pthread_mutex_lock(&tcp->mutex);
    dlc_status failure = tcp->failure;
    bool closed = tcp->data_closed;
    pthread_mutex_unlock(&tcp->mutex);
    if (failure != DLC_OK) {
        /* It does not change any more. */
        say_all(tcp, TCP_FAIL, failure, tcp->failure_text, strlen(tcp->failure_text));
        return true;
    }
    if (!closed) {
        return false;
    }
    *leaves_at = *leaves_at == 0 ? now + tcp->silence : *leaves_at;
    if (tcp->comm.rank == 0 && anyone_is_watched(tcp) && now < *leaves_at) {
        return false;
    }
    say_all(tcp, TCP_BYE, DLC_OK, "", 0);
    return true;
}

void *tcp_control_main(void *argument) {
    Tcp *tcp = argument;
    double period = tcp->silence / BEATS_PER_SILENCE, leaves_at = 0;
    double last = clock_seconds(), beaten = 0;
    TcpBeat beat;
    for (int32_t i = 0; i < tcp->comm.n_ranks; i++) {
        tcp->peers[i].heard = last;
    }
    for (;;) {
        double now = clock_seconds();
        /* Where this process was stopped itself, others' beats may still lie in the sockets. */
        for (int32_t i = 0; i < tcp->comm.n_ranks && now > last + 2 * period; i++) {
            tcp->peers[i].heard = now;
        }
        last = now;
        check_silence(tcp, now);
        if (is_over(tcp, &leaves_at, now)) {
            return NULL;
        }
        if (now >= beaten + period) {
            say_beat(tcp, &beat);
            if (tcp->comm.rank == 0) {
                check_circle(tcp, now);
            }
            beaten = now;
        }
        hear_all(tcp, tcp->polls[1], 1 + (int)((beaten + period - now) * 1e3));
    }
}
