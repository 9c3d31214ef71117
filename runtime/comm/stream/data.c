/* Doing calls: started ones, one by one in their order, each with all peers at once. As every two
 * ranks make the calls that both are in in one order, what comes on a stream is always for the
 * next call that both are in; what is early stays in it. Whoever waits for a call does it, so that
 * no thread need be woken; calls that nobody waits for yet the data thread does. */
#include "runtime/comm/stream/internal.h"

#include "ir/base/number.h"
#include <stdio.h>
#include <string.h>

enum { RUNS = 32 };

static StreamPeer *peer_of(Stream *stream, const StreamOp *op, int32_t number) {
    return &stream->peers[comm_group_rank(&op->call->group, number)];
}

static const char *host_of(Stream *stream, const StreamOp *op, int32_t number) {
    return control_host(stream->control, comm_group_rank(&op->call->group, number));
}

static int32_t rank_of(const StreamOp *op, int32_t number) {
    return comm_group_rank(&op->call->group, number);
}

static void op_begin(Stream *stream, StreamOp *op) {
    memset(&stream->header, 0, sizeof(stream->header));
    stream->header.magic = STREAM_MAGIC;
    stream->header.call = stream_call_hash(&stream->comm, op->call);
    stream->header.n_calls = stream->n_calls++;
    comm_describe(&stream->comm, op->call, stream->header.text, sizeof(stream->header.text));
    stream->is_combined = false;
    for (int32_t i = 0; i < op->n; i++) {
        StreamPeer *peer = peer_of(stream, op, i);
        peer->sent = peer->received = i == op->number ? STAGE_DONE : STAGE_HEADER;
        peer->send_walk = peer->receive_walk = (StreamWalk){0, 0};
        peer->header_sent = peer->header_received = 0;
    }
    stream_copy_own(op);
}

static StreamStage stage_after(const StreamOp *op, StreamStage stage) {
    bool second = stage == STAGE_FIRST && op->call->kind == COMM_ALL_REDUCE;
    return stage == STAGE_HEADER ? STAGE_FIRST : second ? STAGE_SECOND : STAGE_DONE;
}

/* -- A peer's stream that is broken. What it had sent before is read first: it may have said
 * that it ends. Otherwise who died is better known by the control thread. */

static void peer_closed(StreamPeer *peer) {
    if (peer->closed_at == 0) {
        peer->closed_at = clock_seconds();
    }
}

static void check_closed(Stream *stream, const StreamOp *op) {
    for (int32_t i = 0; i < op->n; i++) {
        StreamPeer *peer = peer_of(stream, op, i);
        bool needed = peer->sent != STAGE_DONE || peer->received != STAGE_DONE;
        if (needed && peer->closed_at != 0 && clock_seconds() > peer->closed_at + stream->silence) {
            const char *why = stream->ops->why(stream->carrier);
            control_fail(stream->control, DLC_ERROR_IO,
                         "rank %d (host %s) has closed its connection to rank %d%s%s",
                         rank_of(op, i), host_of(stream, op, i), stream->comm.rank,
                         why[0] ? ": " : "", why);
        }
    }
}

/* -- Sending. */

/* False: not now, or nothing more to send. */
static bool send_some(Stream *stream, const StreamOp *op, int32_t other, StreamPeer *peer) {
    if (peer->sent == STAGE_DONE || (peer->sent == STAGE_SECOND && !stream->is_combined) ||
        peer->closed_at != 0) {
        return false;
    }
    struct iovec runs[RUNS + 1];
    int n = 0;
    size_t head = peer->sent == STAGE_HEADER ? sizeof(stream->header) - peer->header_sent : 0;
    if (head > 0) {
        runs[n++] = (struct iovec){(char *)&stream->header + peer->header_sent, head};
    }
    StreamStage stage = peer->sent == STAGE_SECOND ? STAGE_SECOND : STAGE_FIRST;
    n += stream_walk_fill(op, other, stage, true, &peer->send_walk, runs + n, RUNS);
    if (n == 0) {
        peer->sent = stage_after(op, stage);
        peer->send_walk = (StreamWalk){0, 0};
        return true;
    }
    int64_t bytes = stream->ops->send(stream->carrier, rank_of(op, other), runs, n);
    if (bytes <= 0) {
        if (bytes < 0) {
            peer_closed(peer);
        }
        return false;
    }
    size_t of_head = (size_t)bytes < head ? (size_t)bytes : head;
    peer->header_sent += of_head;
    if (peer->sent == STAGE_HEADER && of_head == head) {
        peer->sent = STAGE_FIRST;
    }
    stream_walk_advance(op, other, stage, true, &peer->send_walk, (size_t)bytes - of_head);
    return true;
}

/* -- Receiving. */

static void header_check(Stream *stream, const StreamOp *op, int32_t other, StreamPeer *peer) {
    StreamHeader *header = &peer->header;
    int32_t rank = rank_of(op, other);
    const char *host = host_of(stream, op, other);
    header->text[sizeof(header->text) - 1] = 0;
    if (header->magic != STREAM_MAGIC) {
        control_fail(stream->control, DLC_ERROR_IO,
                     "rank %d (host %s) sent what is no call to rank %d", rank, host,
                     stream->comm.rank);
    } else if (header->call == 0) {
        control_fail(
            stream->control, DLC_ERROR_INTERNAL,
            "rank %d has ended after %lld collectives (host %s), and rank %d waits for it in "
            "%s",
            rank, (long long)header->n_calls, host, stream->comm.rank, stream->header.text);
    } else if (header->call != stream->header.call) {
        control_fail(stream->control, DLC_ERROR_MISMATCH,
                     "ranks disagree on a collective: rank %d calls %s; rank %d, %s",
                     stream->comm.rank, stream->header.text, rank, header->text);
    }
}

static int64_t receive_runs(Stream *stream, const StreamOp *op, int32_t other, StreamPeer *peer,
                            const struct iovec *runs, int n) {
    int64_t bytes = stream->ops->receive(stream->carrier, rank_of(op, other), runs, n);
    if (bytes < 0) {
        peer_closed(peer);
        peer->data_ended = true;
        return 0;
    }
    return bytes;
}

/* False: nothing has come, or nothing more is wanted. */
static bool receive_some(Stream *stream, const StreamOp *op, int32_t other, StreamPeer *peer) {
    if (peer->received == STAGE_DONE || peer->data_ended) {
        return false;
    }
    struct iovec runs[RUNS];
    if (peer->received == STAGE_HEADER) {
        runs[0] = (struct iovec){(char *)&peer->header + peer->header_received,
                                 sizeof(peer->header) - peer->header_received};
        int64_t bytes = receive_runs(stream, op, other, peer, runs, 1);
        peer->header_received += (size_t)bytes;
        if (peer->header_received == sizeof(peer->header)) {
            header_check(stream, op, other, peer);
            peer->received = STAGE_FIRST;
            return !stream_has_failed(stream);
        }
        return bytes > 0;
    }
    int n = stream_walk_fill(op, other, peer->received, false, &peer->receive_walk, runs, RUNS);
    if (n == 0) {
        peer->received = stage_after(op, peer->received);
        peer->receive_walk = (StreamWalk){0, 0};
        return true;
    }
    int64_t bytes = receive_runs(stream, op, other, peer, runs, n);
    stream_walk_advance(op, other, peer->received, false, &peer->receive_walk, (size_t)bytes);
    return bytes > 0;
}

/* -- The call under way. */

/* A little of each peer and turn, so that all get theirs. False: done. */
static bool op_step(Stream *stream, StreamOp *op) {
    bool first_done = true, all_done = true;
    for (int32_t i = 0; i < op->n && !stream_has_failed(stream); i++) {
        StreamPeer *peer = peer_of(stream, op, i);
        for (int turn = 0; turn < 4 && i != op->number; turn++) {
            bool sent = send_some(stream, op, i, peer);
            if (!receive_some(stream, op, i, peer) && !sent) {
                break;
            }
        }
        first_done = first_done && peer->received > STAGE_FIRST;
        all_done = all_done && peer->sent == STAGE_DONE && peer->received == STAGE_DONE;
    }
    if (stream_has_failed(stream)) {
        return true;
    }
    if (first_done && !stream->is_combined) {
        stream_combine_own(op, stream->operands);
        stream->is_combined = true;
    }
    check_closed(stream, op);
    return !(all_done && stream->is_combined);
}

/* What it waits for; how many. */
static int32_t op_wants(Stream *stream, const StreamOp *op, StreamWant *wants) {
    int32_t n = 0;
    for (int32_t i = 0; i < op->n; i++) {
        const StreamPeer *peer = peer_of(stream, op, i);
        bool sends = peer->sent != STAGE_DONE && peer->closed_at == 0 &&
                     (peer->sent != STAGE_SECOND || stream->is_combined);
        bool receives = peer->received != STAGE_DONE && !peer->data_ended;
        if (i != op->number && (sends || receives)) {
            wants[n++] = (StreamWant){.rank = rank_of(op, i), .sends = sends, .receives = receives};
        }
    }
    return n;
}

static void op_finish(Stream *stream, StreamOp *op) {
    pthread_mutex_lock(&stream->mutex);
    stream->current = NULL;
    stream->first = op->next;
    op->is_done = true;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->mutex);
}

static void check_timeout(Stream *stream, const StreamOp *op, double waited_since) {
    double patience = stream->comm.patience;
    char own[COMM_AT_BYTES], at[COMM_AT_BYTES + 24] = "";
    if (patience <= 0 || waited_since == 0 || clock_seconds() < waited_since + patience) {
        return;
    }
    comm_at(&stream->comm, own, sizeof(own));
    if (own[0]) {
        snprintf(at, sizeof(at), "; rank %d is at %s", stream->comm.rank, own);
    }
    for (int32_t i = 0; i < op->n; i++) {
        const StreamPeer *peer = peer_of(stream, op, i);
        if (peer->received == STAGE_HEADER) {
            control_fail_of(
                stream->control, rank_of(op, i), DLC_ERROR_LIMIT,
                "rank %d does not come (host %s): it has not started %s, in which rank %d has "
                "waited %s s%s",
                rank_of(op, i), host_of(stream, op, i), stream->header.text, stream->comm.rank,
                number_text(patience, 3).text, at);
        }
    }
    control_fail(stream->control, DLC_ERROR_LIMIT, "rank %d has waited %s s for the bytes of %s%s",
                 stream->comm.rank, number_text(patience, 3).text, stream->header.text, at);
}

/* -- Driving. */

/* Under the mutex: what was to be seen will be. */
static void woken(Stream *stream) {
    if (stream->is_woken) {
        stream->is_woken = false;
        event_clear(stream->wake);
    }
}

/* Takes the next call, if there is one. False: there is nothing more to do. */
static bool data_next(Stream *stream, const StreamOp *until, double *waited_since) {
    pthread_mutex_lock(&stream->mutex);
    bool stays = until ? !until->is_done : stream->ops->has_thread && !stream->closes;
    bool goes_on = stream->failure == DLC_OK && (stays || (!until && stream->first));
    bool begins = goes_on && !stream->current && stream->first;
    if (begins) {
        stream->current = stream->first;
    }
    *waited_since = 0;
    for (StreamOp *op = stream->first; op && *waited_since == 0; op = op->next) {
        *waited_since = op->waited_since; /* a later call waits for this one */
    }
    stream->data_works = goes_on && stream->current;
    woken(stream);
    pthread_mutex_unlock(&stream->mutex);
    if (begins) {
        op_begin(stream, stream->current);
    }
    return goes_on;
}

/* For the control thread to tell; `op` NULL: nothing is under way. */
static void beat_set(Stream *stream, const StreamOp *op) {
    ControlBeat *beat = &stream->beat;
    beat->waits_for = -1;
    beat->call = op ? stream->header.call : 0;
    for (int32_t i = 0; op && i < op->n && beat->waits_for < 0; i++) {
        const StreamPeer *peer = peer_of(stream, op, i);
        bool waits = peer->received == STAGE_HEADER && peer->sent != STAGE_HEADER;
        beat->waits_for = waits ? rank_of(op, i) : -1;
    }
    if (beat->n_calls != stream->n_calls) {
        beat->n_calls = stream->n_calls;
        memcpy(beat->text, stream->header.text, sizeof(beat->text));
    }
}

/* `op`: what is not done; NULL: nothing. */
static void data_rest(Stream *stream, const StreamOp *op) {
    beat_set(stream, op);
    control_beat(stream->control, &stream->beat);
    pthread_mutex_lock(&stream->mutex);
    stream->data_works = false;
    if (stream->failure != DLC_OK) {
        pthread_cond_broadcast(&stream->changed);
    }
    pthread_mutex_unlock(&stream->mutex);
}

/* Says to all peers that nothing more comes; to those that take it soon. */
static void say_ended(Stream *stream) {
    enum { PATIENCE = 20 };
    StreamHeader header;
    memset(&header, 0, sizeof(header));
    header.magic = STREAM_MAGIC;
    header.n_calls = stream->n_calls;
    double deadline = clock_seconds() + 1;
    for (int32_t i = 0; i < stream->comm.n_ranks; i++) {
        StreamWant want = {.rank = i, .sends = true};
        for (size_t at = 0; i != stream->comm.rank && at < sizeof(header);) {
            struct iovec rest = {(char *)&header + at, sizeof(header) - at};
            int64_t bytes = stream->ops->send(stream->carrier, i, &rest, 1);
            if (bytes < 0 || clock_seconds() > deadline || stream_has_failed(stream)) {
                break;
            }
            at += (size_t)bytes;
            if (bytes == 0) {
                stream->ops->rest(stream->carrier, &want, 1, stream->wake, PATIENCE, false);
            }
        }
    }
}

/* Tells stream_close so; false: the thread is not needed any more. */
static bool calls_ended(Stream *stream) {
    pthread_mutex_lock(&stream->mutex);
    stream->calls_ended = true;
    pthread_cond_broadcast(&stream->changed);
    bool goes_on = !stream->is_over && stream->failure == DLC_OK;
    woken(stream);
    pthread_mutex_unlock(&stream->mutex);
    return goes_on;
}

void stream_drive(Stream *stream, const StreamOp *until) {
    double waited_since;
    while (data_next(stream, until, &waited_since)) {
        StreamOp *op = stream->current;
        bool is_done = op && !op_step(stream, op);
        if (op && !is_done) {
            check_timeout(stream, op, waited_since);
        }
        int32_t n = op && !is_done ? op_wants(stream, op, stream->wants) : 0;
        data_rest(stream, is_done ? NULL : op); /* from here the call may be gone */
        if (is_done) {
            op_finish(stream, op);
            continue;
        }
        int patience = op ? 20 : -1; /* milliseconds: times are looked at */
        stream->ops->rest(stream->carrier, stream->wants, n, stream->wake, patience,
                          waited_since > 0);
    }
    data_rest(stream, NULL);
}

/* -- The thread. */

/* Sleeps until there is a call that nobody does; it is then the one who does. False: none comes any
 * more. */
static bool work_wait(Stream *stream) {
    pthread_mutex_lock(&stream->mutex);
    while (stream->is_driven || !(stream->first || stream->closes || stream->failure != DLC_OK ||
                                  stream->ops->has_thread)) {
        pthread_cond_wait(&stream->work, &stream->mutex);
    }
    bool goes_on = stream->failure == DLC_OK && (stream->first || !stream->closes);
    stream->is_driven = true; /* at the end too, for good */
    woken(stream);
    pthread_mutex_unlock(&stream->mutex);
    return goes_on;
}

static void work_leave(Stream *stream) {
    pthread_mutex_lock(&stream->mutex);
    stream->is_driven = false;
    pthread_cond_broadcast(&stream->changed); /* who waits for a call may do it */
    pthread_mutex_unlock(&stream->mutex);
}

void *stream_main(void *argument) {
    Stream *stream = argument;
    while (work_wait(stream)) {
        stream_drive(stream, NULL);
        work_leave(stream);
    }
    if (!stream_has_failed(stream)) {
        say_ended(stream);
    }
    /* What others have not taken yet may need the carrier until they end too. */
    while (calls_ended(stream)) {
        stream->ops->rest(stream->carrier, NULL, 0, stream->wake, -1, false);
    }
    return NULL;
}
