/* The thread: says that this rank lives, listens to whether others do, and carries failures to all.
 */
#include "runtime/comm/control/internal.h"

#include "ir/base/number.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { BEATS_PER_SILENCE = 5 };

/* What the others are told; small, so that a socket takes it whole or is as good as lost. */
static void say(ControlPeer *peer, ControlMessage message, const void *rest, size_t length) {
    char bytes[sizeof(ControlMessage) + COMM_MESSAGE_BYTES];
    message.length = (uint32_t)length;
    if (peer->socket < 0 || peer->has_ended || peer->was_lost) {
        return;
    }
    memcpy(bytes, &message, sizeof(message));
    memcpy(bytes + sizeof(message), rest, length);
    ssize_t n = send(peer->socket, bytes, sizeof(message) + length, MSG_DONTWAIT | MSG_NOSIGNAL);
    bool is_cut = n > 0 && n < (ssize_t)(sizeof(message) + length);
    peer->was_lost = is_cut; /* what is refused or lost altogether the silence will tell */
}

static void say_all(Control *control, ControlMessage message, const void *rest, size_t length) {
    for (int32_t i = 0; i < control->n_ranks; i++) {
        say(&control->peers[i], message, rest, length);
    }
}

/* -- Listening. */

static void beat_note(ControlPeer *peer, const ControlBeat *beat) {
    const ControlBeat *old = &peer->beat;
    if (old->n_calls != beat->n_calls || old->call != beat->call ||
        old->waits_for != beat->waits_for) {
        peer->since = clock_seconds();
    }
    peer->beat = *beat;
}

static void at_note(Control *control, ControlPeer *peer, const char *text) {
    pthread_mutex_lock(&control->mutex);
    snprintf(peer->at, sizeof(peer->at), "%.*s", COMM_AT_BYTES - 1, text);
    pthread_mutex_unlock(&control->mutex);
}

static void message_done(Control *control, ControlPeer *peer, const ControlMessage *message) {
    char text[COMM_MESSAGE_BYTES];
    if (message->kind == CONTROL_BEAT && message->length == sizeof(ControlBeat)) {
        ControlBeat beat;
        memcpy(&beat, peer->message + sizeof(*message), sizeof(beat));
        beat.text[sizeof(beat.text) - 1] = 0;
        beat_note(peer, &beat);
    } else if (message->kind == CONTROL_BYE) {
        peer->has_ended = true;
    } else if (message->kind == CONTROL_FAIL) {
        dlc_status status =
            message->status == DLC_OK ? DLC_ERROR_INTERNAL : (dlc_status)message->status;
        bool is_rank = message->of > 0 && message->of <= control->n_ranks;
        memcpy(text, peer->message + sizeof(*message), message->length);
        text[message->length] = 0;
        control_fail_of(control, is_rank ? message->of - 1 : -1, status, "%s", text);
    } else if (message->kind == CONTROL_AT && message->length < sizeof(peer->at)) {
        memcpy(text, peer->message + sizeof(*message), message->length);
        text[message->length] = 0;
        at_note(control, peer, text);
    }
}

static void lost(Control *control, ControlPeer *peer) {
    if (!peer->has_ended) {
        control_fail(control, DLC_ERROR_IO, "rank %d (host %s) has died: its connection has closed",
                     (int32_t)(peer - control->peers), peer->place.host);
    }
    peer->was_lost = true;
}

/* All that has come. */
static void hear(Control *control, ControlPeer *peer, double now) {
    for (;;) {
        ControlMessage message;
        size_t wanted = sizeof(message);
        if (peer->n_message >= sizeof(message)) {
            memcpy(&message, peer->message, sizeof(message));
            if (message.length >= COMM_MESSAGE_BYTES) {
                lost(control, peer);
                return;
            }
            wanted += message.length;
            if (peer->n_message == wanted) {
                peer->n_message = 0;
                message_done(control, peer, &message);
                continue;
            }
        }
        ssize_t n = recv(peer->socket, peer->message + peer->n_message, wanted - peer->n_message,
                         MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            lost(control, peer);
            return;
        }
        if (n < 0) {
            return;
        }
        peer->n_message += (size_t)n;
        peer->heard = now;
    }
}

static bool is_watched(const ControlPeer *peer) {
    return peer->socket >= 0 && !peer->has_ended && !peer->was_lost;
}

static void check_silence(Control *control, double now) {
    for (int32_t i = 0; i < control->n_ranks; i++) {
        ControlPeer *peer = &control->peers[i];
        if (is_watched(peer) && now > peer->heard + control->silence) {
            control_fail(
                control, DLC_ERROR_IO,
                "rank %d (host %s) has not been heard from for %s s: it is stopped, stuck or "
                "cut off",
                i, peer->place.host, number_text(control->silence, 3).text);
        }
    }
}

static void hear_all(Control *control, struct pollfd *polls, int patience) {
    int n = 1;
    polls[0] = (struct pollfd){.fd = control->wake, .events = POLLIN};
    for (int32_t i = 0; i < control->n_ranks; i++) {
        ControlPeer *peer = &control->peers[i];
        polls[n++] = (struct pollfd){.fd = is_watched(peer) ? peer->socket : -1, .events = POLLIN};
    }
    if (poll(polls, (nfds_t)n, patience) <= 0) {
        return;
    }
    if ((polls[0].revents & POLLIN) != 0) {
        event_clear(control->wake);
    }
    double now = clock_seconds();
    for (int32_t i = 0; i < control->n_ranks; i++) {
        if (polls[i + 1].revents != 0) {
            hear(control, &control->peers[i], now);
        }
    }
}

/* -- Ranks that wait for each other. */

/* What a rank is at that is not heard from any more is not known: it may be cut off. */
static bool is_current(const Control *control, const ControlPeer *peer, double now) {
    bool is_own = peer == &control->peers[control->rank];
    return is_own || now < peer->heard + 2 * control->silence / BEATS_PER_SILENCE;
}

/* Whom the rank has waited for, for long, while that one is at another call; NULL: nobody. At the
 * same call nobody waits for good. */
static ControlPeer *waits_for(Control *control, const ControlPeer *peer, double now) {
    int32_t rank = peer->beat.waits_for;
    if (peer->beat.call == 0 || rank < 0 || rank >= control->n_ranks ||
        now < peer->since + control->silence / 2 || !is_current(control, peer, now)) {
        return NULL;
    }
    ControlPeer *other = &control->peers[rank];
    return other->beat.call == peer->beat.call ? NULL : other;
}

/* Where all in a circle wait, following one of those whom each waits for finds it. */
static void check_circle(Control *control, double now) {
    for (int32_t i = 0; i < control->n_ranks; i++) {
        for (int32_t k = 0; k < control->n_ranks; k++) {
            control->peers[k].is_visited = false;
        }
        ControlPeer *first = &control->peers[i], *at = waits_for(control, first, now);
        while (at && at != first && !at->is_visited) {
            at->is_visited = true;
            at = waits_for(control, at, now);
        }
        if (at == first) {
            const ControlPeer *other = waits_for(control, first, now);
            control_fail(
                control, DLC_ERROR_MISMATCH,
                "ranks wait for each other: rank %d waits for rank %d in %s; rank %d waits in "
                "%s",
                i, first->beat.waits_for, first->beat.text, first->beat.waits_for,
                other->beat.text);
            return;
        }
    }
}

/* -- The thread. */

static void say_beat(Control *control, ControlBeat *beat) {
    pthread_mutex_lock(&control->mutex);
    *beat = control->beat;
    pthread_mutex_unlock(&control->mutex);
    say_all(control, (ControlMessage){.kind = CONTROL_BEAT}, beat, sizeof(*beat));
    beat_note(&control->peers[control->rank], beat);
    char at[COMM_AT_BYTES];
    control->at(control->user, at, sizeof(at));
    say_all(control, (ControlMessage){.kind = CONTROL_AT}, at, strlen(at));
    at_note(control, &control->peers[control->rank], at);
}

static bool anyone_is_watched(const Control *control) {
    bool any = false;
    for (int32_t i = 0; i < control->n_ranks; i++) {
        any = any || is_watched(&control->peers[i]);
    }
    return any;
}

/* Whether the thread ends: there is a failure, which all are told; or this rank has ended, and of
 * rank 0 all others. */
static bool is_over(Control *control, double *leaves_at, double now) {
    pthread_mutex_lock(&control->mutex);
    dlc_status failure = control->failure;
    bool ends = control->ends;
    pthread_mutex_unlock(&control->mutex);
    if (failure != DLC_OK) {
        /* It does not change any more. */
        const ControlMessage message = {
            .kind = CONTROL_FAIL, .status = (int32_t)failure, .of = control->failure_of + 1};
        say_all(control, message, control->failure_text, strlen(control->failure_text));
        return true;
    }
    if (!ends) {
        return false;
    }
    *leaves_at = *leaves_at == 0 ? now + control->silence : *leaves_at;
    if (control->rank == 0 && anyone_is_watched(control) && now < *leaves_at) {
        return false;
    }
    say_all(control, (ControlMessage){.kind = CONTROL_BYE}, "", 0);
    return true;
}

void *control_main(void *argument) {
    Control *control = argument;
    double period = control->silence / BEATS_PER_SILENCE, leaves_at = 0;
    double last = clock_seconds(), beaten = 0;
    ControlBeat beat;
    for (int32_t i = 0; i < control->n_ranks; i++) {
        control->peers[i].heard = last;
    }
    for (;;) {
        double now = clock_seconds();
        /* Where this process was stopped itself, others' beats may still lie in the sockets. */
        for (int32_t i = 0; i < control->n_ranks && now > last + 2 * period; i++) {
            control->peers[i].heard = now;
        }
        last = now;
        check_silence(control, now);
        if (is_over(control, &leaves_at, now)) {
            return NULL;
        }
        if (now >= beaten + period) {
            say_beat(control, &beat);
            if (control->rank == 0) {
                check_circle(control, now);
            }
            beaten = now;
        }
        hear_all(control, control->polls, 1 + (int)((beaten + period - now) * 1e3));
    }
}
