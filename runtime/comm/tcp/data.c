/* The data thread: does started calls one by one in their order, each with all peers at once. As
 * every two ranks make the calls that both are in in one order, what comes on a connection is
 * always for the next call that both are in; a peer that is ahead waits in its socket. */
#include "runtime/comm/tcp/internal.h"

#include "ir/base/number.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { RUNS = 32 };

static TcpPeer *peer_of(Tcp *tcp, const TcpOp *op, int32_t number) {
    return &tcp->peers[comm_group_rank(&op->call->group, number)];
}

static int32_t rank_of(const TcpOp *op, int32_t number) {
    return comm_group_rank(&op->call->group, number);
}

static void op_begin(Tcp *tcp, TcpOp *op) {
    memset(&tcp->header, 0, sizeof(tcp->header));
    tcp->header.magic = TCP_MAGIC;
    tcp->header.call = tcp_call_hash(&tcp->comm, op->call);
    tcp->header.n_calls = tcp->n_calls++;
    comm_describe(&tcp->comm, op->call, tcp->header.text, sizeof(tcp->header.text));
    tcp->is_combined = false;
    for (int32_t i = 0; i < op->n; i++) {
        TcpPeer *peer = peer_of(tcp, op, i);
        peer->sent = peer->received = i == op->number ? STAGE_DONE : STAGE_HEADER;
        peer->send_walk = peer->receive_walk = (TcpWalk){0, 0};
        peer->header_sent = peer->header_received = 0;
    }
    tcp_copy_own(op);
}

static TcpStage stage_after(const TcpOp *op, TcpStage stage) {
    bool second = stage == STAGE_FIRST && op->call->kind == COMM_ALL_REDUCE;
    return stage == STAGE_HEADER ? STAGE_FIRST : second ? STAGE_SECOND : STAGE_DONE;
}

/* -- A peer's connection that is broken. What it had sent before is read first: it may have said
 * that it ends. Otherwise who died is better known by the control thread. */

static void peer_closed(TcpPeer *peer) {
    if (peer->closed_at == 0) {
        peer->closed_at = clock_seconds();
    }
}

static void check_closed(Tcp *tcp, const TcpOp *op) {
    for (int32_t i = 0; i < op->n; i++) {
        TcpPeer *peer = peer_of(tcp, op, i);
        bool needed = peer->sent != STAGE_DONE || peer->received != STAGE_DONE;
        if (needed && peer->closed_at != 0 && clock_seconds() > peer->closed_at + tcp->silence) {
            tcp_fail(tcp, DLC_ERROR_IO, "rank %d (host %s) has closed its connection to rank %d",
                     rank_of(op, i), peer->host, tcp->comm.rank);
        }
    }
}

/* -- Sending. */

/* False: not now, or nothing more to send. */
static bool send_some(Tcp *tcp, const TcpOp *op, int32_t other, TcpPeer *peer) {
    if (peer->sent == STAGE_DONE || (peer->sent == STAGE_SECOND && !tcp->is_combined) ||
        peer->closed_at != 0) {
        return false;
    }
    struct iovec runs[RUNS + 1];
    int n = 0;
    size_t head = peer->sent == STAGE_HEADER ? sizeof(tcp->header) - peer->header_sent : 0;
    if (head > 0) {
        runs[n++] = (struct iovec){(char *)&tcp->header + peer->header_sent, head};
    }
    TcpStage stage = peer->sent == STAGE_SECOND ? STAGE_SECOND : STAGE_FIRST;
    n += tcp_walk_fill(op, other, stage, true, &peer->send_walk, runs + n, RUNS);
    if (n == 0) {
        peer->sent = stage_after(op, stage);
        peer->send_walk = (TcpWalk){0, 0};
        return true;
    }
    struct msghdr message = {.msg_iov = runs, .msg_iovlen = (size_t)n};
    ssize_t bytes = sendmsg(peer->data, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (bytes < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            peer_closed(peer);
        }
        return errno == EINTR;
    }
    size_t of_head = (size_t)bytes < head ? (size_t)bytes : head;
    peer->header_sent += of_head;
    if (peer->sent == STAGE_HEADER && of_head == head) {
        peer->sent = STAGE_FIRST;
    }
    tcp_walk_advance(op, other, stage, true, &peer->send_walk, (size_t)bytes - of_head);
    return true;
}

/* -- Receiving. */

static void header_check(Tcp *tcp, const TcpOp *op, int32_t other, TcpPeer *peer) {
    TcpHeader *header = &peer->header;
    int32_t rank = rank_of(op, other);
    header->text[sizeof(header->text) - 1] = 0;
    if (header->magic != TCP_MAGIC) {
        tcp_fail(tcp, DLC_ERROR_IO, "rank %d (host %s) sent what is no call to rank %d", rank,
                 peer->host, tcp->comm.rank);
    } else if (header->call == 0) {
        tcp_fail(tcp, DLC_ERROR_INTERNAL,
                 "rank %d has ended after %lld collectives (host %s), and rank %d waits for it in "
                 "%s",
                 rank, (long long)header->n_calls, peer->host, tcp->comm.rank, tcp->header.text);
    } else if (header->call != tcp->header.call) {
        tcp_fail(tcp, DLC_ERROR_MISMATCH,
                 "ranks disagree on a collective: rank %d calls %s; rank %d, %s", tcp->comm.rank,
                 tcp->header.text, rank, header->text);
    }
}

static ssize_t receive_runs(TcpPeer *peer, struct iovec *runs, int n) {
    struct msghdr message = {.msg_iov = runs, .msg_iovlen = (size_t)n};
    ssize_t bytes = recvmsg(peer->data, &message, MSG_DONTWAIT);
    if (bytes == 0 || (bytes < 0 && errno != EAGAIN && errno != EINTR)) {
        peer_closed(peer);
        peer->data_ended = true;
        return 0;
    }
    return bytes < 0 ? 0 : bytes;
}

/* False: nothing has come, or nothing more is wanted. */
static bool receive_some(Tcp *tcp, const TcpOp *op, int32_t other, TcpPeer *peer) {
    if (peer->received == STAGE_DONE || peer->data_ended) {
        return false;
    }
    struct iovec runs[RUNS];
    if (peer->received == STAGE_HEADER) {
        runs[0] = (struct iovec){(char *)&peer->header + peer->header_received,
                                 sizeof(peer->header) - peer->header_received};
        ssize_t bytes = receive_runs(peer, runs, 1);
        peer->header_received += (size_t)bytes;
        if (peer->header_received == sizeof(peer->header)) {
            header_check(tcp, op, other, peer);
            peer->received = STAGE_FIRST;
            return !tcp_has_failed(tcp);
        }
        return bytes > 0;
    }
    int n = tcp_walk_fill(op, other, peer->received, false, &peer->receive_walk, runs, RUNS);
    if (n == 0) {
        peer->received = stage_after(op, peer->received);
        peer->receive_walk = (TcpWalk){0, 0};
        return true;
    }
    ssize_t bytes = receive_runs(peer, runs, n);
    tcp_walk_advance(op, other, peer->received, false, &peer->receive_walk, (size_t)bytes);
    return bytes > 0;
}

/* -- The call under way. */

/* One buffer of the socket a peer and turn, so that all get theirs. False: done. */
static bool op_step(Tcp *tcp, TcpOp *op) {
    bool first_done = true, all_done = true;
    for (int32_t i = 0; i < op->n && !tcp_has_failed(tcp); i++) {
        TcpPeer *peer = peer_of(tcp, op, i);
        for (int turn = 0; turn < 4 && i != op->number; turn++) {
            bool sent = send_some(tcp, op, i, peer);
            if (!receive_some(tcp, op, i, peer) && !sent) {
                break;
            }
        }
        first_done = first_done && peer->received > STAGE_FIRST;
        all_done = all_done && peer->sent == STAGE_DONE && peer->received == STAGE_DONE;
    }
    if (tcp_has_failed(tcp)) {
        return true;
    }
    if (first_done && !tcp->is_combined) {
        tcp_combine_own(op, tcp->operands);
        tcp->is_combined = true;
    }
    check_closed(tcp, op);
    return !(all_done && tcp->is_combined);
}

/* What it waits for; how many. */
static int op_polls(Tcp *tcp, const TcpOp *op, struct pollfd *polls) {
    int n = 0;
    for (int32_t i = 0; i < op->n; i++) {
        const TcpPeer *peer = peer_of(tcp, op, i);
        bool sends = peer->sent != STAGE_DONE && peer->closed_at == 0 &&
                     (peer->sent != STAGE_SECOND || tcp->is_combined);
        bool receives = peer->received != STAGE_DONE && !peer->data_ended;
        if (i != op->number && (sends || receives)) {
            polls[n++] =
                (struct pollfd){.fd = peer->data,
                                .events = (short)((sends ? POLLOUT : 0) | (receives ? POLLIN : 0))};
        }
    }
    return n;
}

static void op_finish(Tcp *tcp, TcpOp *op) {
    pthread_mutex_lock(&tcp->mutex);
    tcp->current = NULL;
    tcp->first = op->next;
    op->is_done = true;
    pthread_cond_broadcast(&tcp->changed);
    pthread_mutex_unlock(&tcp->mutex);
}

static void check_timeout(Tcp *tcp, const TcpOp *op, double waited_since) {
    if (tcp->timeout <= 0 || waited_since == 0 || clock_seconds() < waited_since + tcp->timeout) {
        return;
    }
    for (int32_t i = 0; i < op->n; i++) {
        const TcpPeer *peer = peer_of(tcp, op, i);
        if (peer->received == STAGE_HEADER) {
            tcp_fail(tcp, DLC_ERROR_LIMIT,
                     "rank %d does not come (host %s): it has not started %s, in which rank %d has "
                     "waited %s s",
                     rank_of(op, i), peer->host, tcp->header.text, tcp->comm.rank,
                     number_text(tcp->timeout, 3).text);
        }
    }
    tcp_fail(tcp, DLC_ERROR_LIMIT, "rank %d has waited %s s for the bytes of %s", tcp->comm.rank,
             number_text(tcp->timeout, 3).text, tcp->header.text);
}

/* -- The thread. */

/* Takes the next call, if there is one. False: the thread ends. */
static bool data_next(Tcp *tcp, double *waited_since) {
    pthread_mutex_lock(&tcp->mutex);
    bool goes_on = tcp->failure == DLC_OK && (tcp->first || !tcp->closes);
    bool begins = goes_on && !tcp->current && tcp->first;
    if (begins) {
        tcp->current = tcp->first;
    }
    *waited_since = 0;
    for (TcpOp *op = tcp->first; op && *waited_since == 0; op = op->next) {
        *waited_since = op->waited_since; /* a later call waits for this one */
    }
    tcp->data_works = goes_on && tcp->current;
    pthread_mutex_unlock(&tcp->mutex);
    if (begins) {
        op_begin(tcp, tcp->current);
    }
    return goes_on;
}

/* For the control thread to tell; `op` NULL: nothing is under way. */
static void beat_set(Tcp *tcp, const TcpOp *op) {
    TcpBeat *beat = &tcp->beat;
    beat->waits_for = -1;
    beat->call = op ? tcp->header.call : 0;
    for (int32_t i = 0; op && i < op->n && beat->waits_for < 0; i++) {
        const TcpPeer *peer = peer_of(tcp, op, i);
        bool waits = peer->received == STAGE_HEADER && peer->sent != STAGE_HEADER;
        beat->waits_for = waits ? rank_of(op, i) : -1;
    }
    if (beat->n_calls != tcp->n_calls) {
        beat->n_calls = tcp->n_calls;
        memcpy(beat->text, tcp->header.text, sizeof(beat->text));
    }
}

/* `op`: what is not done; NULL: nothing. */
static void data_rest(Tcp *tcp, const TcpOp *op) {
    pthread_mutex_lock(&tcp->mutex);
    beat_set(tcp, op);
    tcp->data_works = false;
    if (tcp->failure != DLC_OK) {
        pthread_cond_broadcast(&tcp->changed);
    }
    pthread_mutex_unlock(&tcp->mutex);
}

/* Says to all peers that nothing more comes. */
static void say_ended(Tcp *tcp) {
    TcpHeader header;
    memset(&header, 0, sizeof(header));
    header.magic = TCP_MAGIC;
    header.n_calls = tcp->n_calls;
    for (int32_t i = 0; i < tcp->comm.n_ranks; i++) {
        if (tcp->peers[i].data >= 0) {
            tcp_write(tcp->peers[i].data, &header, sizeof(header), clock_seconds() + 1);
        }
    }
}

void *tcp_data_main(void *argument) {
    Tcp *tcp = argument;
    struct pollfd *polls = tcp->polls[0];
    double waited_since;
    while (data_next(tcp, &waited_since)) {
        TcpOp *op = tcp->current;
        bool is_done = op && !op_step(tcp, op);
        if (op && !is_done) {
            check_timeout(tcp, op, waited_since);
        }
        polls[0] = (struct pollfd){.fd = tcp->data_wake, .events = POLLIN};
        int n = 1 + (op && !is_done ? op_polls(tcp, op, polls + 1) : 0);
        data_rest(tcp, is_done ? NULL : op); /* from here the call may be gone */
        if (is_done) {
            op_finish(tcp, op);
            continue;
        }
        int patience = op ? 20 : -1; /* milliseconds: times are looked at */
        if (poll(polls, (nfds_t)n, patience) > 0 && (polls[0].revents & POLLIN) != 0) {
            tcp_wake_clear(tcp->data_wake);
        }
    }
    data_rest(tcp, NULL);
    if (!tcp_has_failed(tcp)) {
        say_ended(tcp);
    }
    return NULL;
}
