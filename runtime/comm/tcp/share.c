/* How pairs of ranks come to memory that they share. The lower rank makes it and passes it to where
 * the higher one said, when it connected, that it listens: by a socket that leads to processes of
 * the same host alone, whatever hosts are called. In three rounds, of which none waits for a later
 * one: lower ranks offer, higher ones take and answer, lower ones hear. */
#include "runtime/comm/memory/segment.h"
#include "runtime/comm/tcp/internal.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert((int)PASS_WHY_BYTES == (int)SEGMENT_WHY_BYTES, "one text");
_Static_assert(RING_WORDS_BYTES % RING_APART == 0 && RING_BYTES % RING_APART == 0, "aligned");

#define PASSED_MAGIC UINT64_C(0x7373617063646c63)
static const double PASSED_SECONDS = 5; /* from connecting to passing, on a machine under load */

/* With open files. */
typedef struct Passed {
    uint64_t magic, key;
    int32_t rank, reserved; /* who passes them */
} Passed;

/* By the pair's socket: an offer, and what became of it. */
typedef struct Answer {
    uint32_t is_shared;
    char why[PASS_WHY_BYTES];
} Answer;

/* Ranks that wait look for so long where all have a core; then, or else, they sleep. */
static const double spin_seconds = 50e-6;

static Passed passed_of(const Connecting *c) {
    return (Passed){.magic = PASSED_MAGIC, .key = c->key, .rank = c->tcp->rank};
}

dlc_status tcp_connect_failed(Connecting *c, int32_t rank) {
    char text[128];
    snprintf(c->message, COMM_MESSAGE_BYTES,
             "rank %d (%s) and rank %d (%s) cannot be connected: %s", c->tcp->rank,
             control_host(c->control, c->tcp->rank), rank, control_host(c->control, rank),
             strerror_r(errno, text, sizeof(text)));
    return DLC_ERROR_IO;
}

static dlc_status answer_write(Connecting *c, int32_t rank) {
    const TcpPair *pair = &c->tcp->pairs[rank];
    Answer answer;
    memset(&answer, 0, sizeof(answer));
    answer.is_shared = pair->memory != NULL;
    snprintf(answer.why, sizeof(answer.why), "%s", pair->why);
    return socket_write(pair->socket, &answer, sizeof(answer), c->deadline)
               ? DLC_OK
               : tcp_connect_failed(c, rank);
}

static dlc_status answer_read(Connecting *c, int32_t rank, Answer *out) {
    if (!socket_read(c->tcp->pairs[rank].socket, out, sizeof(*out), c->deadline)) {
        return control_look(c->control, c->message) ? DLC_ERROR_IO : tcp_connect_failed(c, rank);
    }
    out->why[sizeof(out->why) - 1] = 0;
    return DLC_OK;
}

/* The lower rank's bytes come first. */
static void memory_use(TcpPair *pair, void *memory, bool is_lower) {
    Ring first = ring_at(memory);
    Ring second = ring_at((uint8_t *)memory + TCP_MEMORY_BYTES / 2);
    pair->memory = memory;
    pair->out = is_lower ? first : second;
    pair->in = is_lower ? second : first;
}

static void memory_drop(TcpPair *pair) {
    if (pair->memory) {
        munmap(pair->memory, TCP_MEMORY_BYTES);
        pair->memory = NULL;
    }
}

/* -- The lower rank offers. */

static void offer_make(Connecting *c, TcpPair *pair) {
    pair->pass = pass_connect(&pair->name, pair->why);
    int segment = pair->pass >= 0 ? segment_make(TCP_MEMORY_BYTES, pair->why) : -1;
    void *memory = segment >= 0 ? segment_map(segment, TCP_MEMORY_BYTES, pair->why) : NULL;
    if (memory) {
        const Passed passed = passed_of(c);
        const int files[] = {segment, c->tcp->bell};
        memory_use(pair, memory, true);
        if (!pass_send(pair->pass, &passed, sizeof(passed), files, 2)) {
            char text[96];
            snprintf(pair->why, sizeof(pair->why), "open files cannot be passed: %s",
                     strerror_r(errno, text, sizeof(text)));
            memory_drop(pair);
        }
    }
    if (segment >= 0) {
        close(segment);
    }
}

static dlc_status offer(Connecting *c, int32_t rank) {
    TcpPair *pair = &c->tcp->pairs[rank];
    if (c->pass_listener >= 0 && pass_is_named(&pair->name)) {
        offer_make(c, pair);
    }
    return answer_write(c, rank);
}

/* -- The higher takes. */

/* What one of the lower ranks has passed, whichever it is. */
static void arrived(Connecting *c, int made) {
    Tcp *tcp = c->tcp;
    Passed passed;
    int files[2];
    /* Who has connected sends at once; from a stranger nothing may come. */
    double soon = clock_seconds() + PASSED_SECONDS;
    if (!pass_take(made, &passed, sizeof(passed), files, 2,
                   soon < c->deadline ? soon : c->deadline)) {
        close(made);
        return;
    }
    bool is_sound = passed.magic == PASSED_MAGIC && passed.key == c->key && passed.rank >= 0 &&
                    passed.rank < tcp->rank && tcp->pairs[passed.rank].pass < 0;
    if (is_sound) {
        TcpPair *pair = &tcp->pairs[passed.rank];
        void *memory = segment_map(files[0], TCP_MEMORY_BYTES, pair->why);
        if (memory) {
            memory_use(pair, memory, false);
        }
        pair->pass = made;
        pair->bell = files[1];
    } else {
        close(files[1]);
        close(made);
    }
    close(files[0]);
}

static dlc_status take(Connecting *c, int32_t rank) {
    TcpPair *pair = &c->tcp->pairs[rank];
    Answer answer;
    dlc_status status = answer_read(c, rank, &answer);
    if (status != DLC_OK || !answer.is_shared) {
        return status;
    }
    for (int made = 0; pair->pass < 0 && made >= 0;) {
        made = pass_accept(c->pass_listener);
        if (made >= 0) {
            arrived(c, made);
        }
    }
    const Passed passed = passed_of(c);
    if (pair->memory && !pass_send(pair->pass, &passed, sizeof(passed), &c->tcp->bell, 1)) {
        snprintf(pair->why, sizeof(pair->why), "open files cannot be passed back");
        memory_drop(pair);
    } else if (!pair->memory && !pair->why[0]) {
        snprintf(pair->why, sizeof(pair->why), "what rank %d passed has not come", rank);
    }
    return answer_write(c, rank);
}

/* -- The lower hears. */

static dlc_status hear(Connecting *c, int32_t rank) {
    TcpPair *pair = &c->tcp->pairs[rank];
    Answer answer;
    if (!pair->memory) {
        return DLC_OK;
    }
    dlc_status status = answer_read(c, rank, &answer);
    if (status == DLC_OK && answer.is_shared) {
        Passed passed;
        bool has = pass_take(pair->pass, &passed, sizeof(passed), &pair->bell, 1, c->deadline);
        errno = ECONNRESET;
        return has ? DLC_OK : tcp_connect_failed(c, rank);
    }
    if (status == DLC_OK) {
        memcpy(pair->why, answer.why, sizeof(pair->why));
        memory_drop(pair);
    }
    return status;
}

/* -- All. */

void tcp_share_begin(Connecting *c, bool only_sockets) {
    char why[PASS_WHY_BYTES] = "";
    c->pass_listener = only_sockets ? -1 : pass_listen(&c->name, why);
    for (int32_t i = 0; i < c->tcp->n_ranks; i++) {
        memcpy(c->tcp->pairs[i].why, why, sizeof(why));
    }
}

void tcp_share_end(Connecting *c) {
    Tcp *tcp = c->tcp;
    for (int32_t i = 0; i < tcp->n_ranks; i++) {
        if (tcp->pairs[i].pass >= 0) {
            close(tcp->pairs[i].pass);
            tcp->pairs[i].pass = -1;
        }
    }
    if (c->pass_listener >= 0) {
        close(c->pass_listener);
    }
}

/* Where some would have to wait for a core, nobody keeps one. */
static void spin_choose(Tcp *tcp) {
    cpu_set_t cores;
    int n_cores = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : 1;
    int32_t n_here = 1;
    for (int32_t i = 0; i < tcp->n_ranks; i++) {
        n_here += tcp->pairs[i].memory != NULL;
    }
    tcp->spin_most = n_here <= n_cores ? spin_seconds : 0;
    tcp->spin_now = tcp->spin_most;
}

dlc_status tcp_share(Connecting *c) {
    Tcp *tcp = c->tcp;
    dlc_status status = DLC_OK;
    for (int32_t i = tcp->rank + 1; i < tcp->n_ranks && status == DLC_OK; i++) {
        status = offer(c, i);
    }
    for (int32_t i = 0; i < tcp->rank && status == DLC_OK; i++) {
        status = take(c, i);
    }
    for (int32_t i = tcp->rank + 1; i < tcp->n_ranks && status == DLC_OK; i++) {
        status = hear(c, i);
    }
    spin_choose(tcp);
    return status;
}
