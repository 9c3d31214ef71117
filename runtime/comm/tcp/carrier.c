/* The pairs of ranks as a carrier of streams: bytes go through shared memory where a pair has it,
 * else through its socket. Who waits for memory looks for some microseconds and then sleeps; the
 * other rank then rings. */
#include "runtime/comm/tcp/internal.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAUSES = 8, TRY_EACH = 16 }; /* PAUSES: between two looks */
static const double spin_least = 1e-6;

static int64_t tcp_send(void *carrier, int32_t rank, const struct iovec *runs, int n) {
    Tcp *tcp = carrier;
    TcpPair *pair = &tcp->pairs[rank];
    if (pair->memory) {
        int64_t bytes = pair->is_closed ? -1 : ring_write(&pair->out, runs, n);
        if (bytes > 0 && ring_wakes_reader(&pair->out)) {
            event_wake(pair->bell);
        }
        return bytes;
    }
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)runs, .msg_iovlen = (size_t)n};
    ssize_t bytes = sendmsg(pair->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return bytes >= 0 ? bytes : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static int64_t tcp_receive(void *carrier, int32_t rank, const struct iovec *runs, int n) {
    Tcp *tcp = carrier;
    TcpPair *pair = &tcp->pairs[rank];
    if (pair->memory) {
        int64_t bytes = ring_read(&pair->in, runs, n);
        if (bytes > 0 && ring_wakes_writer(&pair->in)) {
            event_wake(pair->bell);
        }
        return bytes == 0 && pair->is_closed ? -1 : bytes;
    }
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)runs, .msg_iovlen = (size_t)n};
    ssize_t bytes = recvmsg(pair->socket, &message, MSG_DONTWAIT);
    return bytes > 0 ? bytes : bytes < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* -- Resting. */

/* Of what is wanted of pairs with memory something is possible. */
static bool any_ready(Tcp *tcp, const StreamWant *wants, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        TcpPair *pair = &tcp->pairs[wants[i].rank];
        if (pair->memory && ((wants[i].receives && ring_has_bytes(&pair->in)) ||
                             (wants[i].sends && ring_has_room(&pair->out)))) {
            return true;
        }
    }
    return false;
}

/* Looks for so long; true: something is possible. */
static bool look(Tcp *tcp, const StreamWant *wants, int32_t n, double seconds) {
    double until = clock_seconds() + seconds;
    while (clock_seconds() < until) {
        for (int i = 0; i < PAUSES; i++) {
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
        if (any_ready(tcp, wants, n)) {
            return true;
        }
    }
    return false;
}

/* For a while, which is shorter where looking was in vain, as when other programs have the cores,
 * and longer where it was not; now and then it is tried anew. */
static bool spin(Tcp *tcp, const StreamWant *wants, int32_t n) {
    if (any_ready(tcp, wants, n)) {
        return true;
    }
    bool tries = ++tcp->n_spins % TRY_EACH == 0;
    bool found = look(tcp, wants, n, tries ? tcp->spin_most : tcp->spin_now);
    double next = found ? tcp->spin_now * 4 : tcp->spin_now / 2;
    tcp->spin_now = next > tcp->spin_most ? tcp->spin_most : next < spin_least ? spin_least : next;
    return found;
}

static bool any_memory(const Tcp *tcp, const StreamWant *wants, int32_t n) {
    bool any = false;
    for (int32_t i = 0; i < n; i++) {
        any = any || tcp->pairs[wants[i].rank].memory;
    }
    return any;
}

/* Others are told whether this rank sleeps for them. */
static void sleep_tell(Tcp *tcp, const StreamWant *wants, int32_t n, bool sleeps) {
    for (int32_t i = 0; i < n; i++) {
        TcpPair *pair = &tcp->pairs[wants[i].rank];
        if (pair->memory && wants[i].receives) {
            ring_reader_sleeps(&pair->in, sleeps);
        }
        if (pair->memory && wants[i].sends) {
            ring_writer_sleeps(&pair->out, sleeps);
        }
    }
}

static void rest_poll(Tcp *tcp, const StreamWant *wants, int32_t n, int event, int patience) {
    enum { FIRST = 2 };
    struct pollfd *polls = tcp->polls;
    polls[0] = (struct pollfd){.fd = event, .events = POLLIN};
    polls[1] = (struct pollfd){.fd = tcp->bell, .events = POLLIN};
    for (int32_t i = 0; i < n; i++) {
        const TcpPair *pair = &tcp->pairs[wants[i].rank];
        int events = (wants[i].sends ? POLLOUT : 0) | (wants[i].receives ? POLLIN : 0);
        polls[FIRST + i] = (struct pollfd){.fd = pair->socket,
                                           .events = (short)(pair->memory ? POLLRDHUP : events)};
    }
    if (poll(polls, (nfds_t)(FIRST + n), patience) <= 0) {
        return;
    }
    if ((polls[1].revents & POLLIN) != 0) {
        event_clear(tcp->bell);
    }
    for (int32_t i = 0; i < n; i++) {
        TcpPair *pair = &tcp->pairs[wants[i].rank];
        pair->is_closed = pair->is_closed || (pair->memory && polls[FIRST + i].revents != 0);
    }
}

static void tcp_rest(void *carrier, const StreamWant *wants, int32_t n, int event, int patience,
                     bool is_awaited) {
    Tcp *tcp = carrier;
    bool has_memory = any_memory(tcp, wants, n);
    if (has_memory && is_awaited && tcp->spin_most > 0 && spin(tcp, wants, n)) {
        return;
    }
    sleep_tell(tcp, wants, n, true);
    if (!has_memory || !any_ready(tcp, wants, n)) {
        rest_poll(tcp, wants, n, event, patience);
    }
    sleep_tell(tcp, wants, n, false);
}

/* The control channel knows better. */
static const char *tcp_why(void *carrier) {
    (void)carrier;
    return "";
}

/* -- Beginning and end. */

static void pair_free(TcpPair *pair) {
    const int files[] = {pair->socket, pair->bell, pair->pass};
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        if (files[i] >= 0) {
            close(files[i]);
        }
    }
    if (pair->memory) {
        munmap(pair->memory, TCP_MEMORY_BYTES);
    }
}

/* Accepts what is half made. */
static void tcp_free(void *carrier, bool has_failed) {
    Tcp *tcp = carrier;
    (void)has_failed;
    for (int32_t i = 0; i < tcp->n_ranks && tcp->pairs; i++) {
        pair_free(&tcp->pairs[i]);
    }
    if (tcp->bell >= 0) {
        close(tcp->bell);
    }
    memory_free(tcp->allocator, tcp->polls);
    memory_free(tcp->allocator, tcp->pairs);
    memory_free(tcp->allocator, tcp);
}

Tcp *tcp_new(const dlc_allocator *allocator, int32_t rank, int32_t n_ranks) {
    Tcp *tcp = memory_new(allocator, 1, sizeof(*tcp));
    if (!tcp) {
        return NULL;
    }
    *tcp = (Tcp){.allocator = allocator, .rank = rank, .n_ranks = n_ranks};
    tcp->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    tcp->pairs = memory_new(allocator, (size_t)n_ranks, sizeof(TcpPair));
    tcp->polls = memory_new(allocator, (size_t)n_ranks + 2, sizeof(struct pollfd));
    for (int32_t i = 0; i < n_ranks && tcp->pairs; i++) {
        TcpPair *pair = &tcp->pairs[i];
        pair->socket = pair->bell = pair->pass = -1;
    }
    if (tcp->bell < 0 || !tcp->pairs || !tcp->polls) {
        tcp_free(tcp, false);
        return NULL;
    }
    return tcp;
}

const StreamOps tcp_ops = {
    .send = tcp_send, .receive = tcp_receive, .rest = tcp_rest, .why = tcp_why, .free = tcp_free};
