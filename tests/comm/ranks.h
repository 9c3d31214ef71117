/* Ranks of a test: threads over `local`, processes over `tcp` with and without shared memory. What
 * they find wrong lies in shared memory, so that a test says it whichever they are. */
#ifndef DLC_TESTS_COMM_RANKS_H
#define DLC_TESTS_COMM_RANKS_H

#include "runtime/comm/comm.h"
#include <stdatomic.h>

enum { MOST_RANKS = 8, PROBLEM_BYTES = 1600 };

typedef struct Rank Rank;
struct Rank {
    Comm *comm;
    Rank *all;
    int32_t rank, n;
    uint64_t seed;        /* the same on all */
    int number;           /* what the test wants to tell them */
    bool dies, stops;     /* of processes: set before the body kills or stops itself */
    _Atomic(double) when; /* what the test wants to tell the others */
    char problem[PROBLEM_BYTES];
};

typedef void (*RankBody)(Rank *rank);

typedef struct Transport {
    const char *name;
    double timeout; /* of the communicators made; 0: none */
    double silence; /* tcp: seconds */
    bool six;       /* tcp: IPv6 */
    bool only_sockets;
    size_t file_limit; /* tcp: bytes that a file may have (RLIMIT_FSIZE); 0: any */
    /* Runs body on n ranks, each closing its end; ranks[n] with `problem` filled. */
    void (*run)(const struct Transport *transport, Rank *ranks, int32_t n, RankBody body);
} Transport;

extern const Transport transport_local, transport_tcp, transport_sockets;

/* Runs them and fails the (cmocka) test with the first problem. */
void ranks_run(const Transport *transport, int32_t n, uint64_t seed, int number, RankBody body);

/* malloc and free, with `held` the number of what is held: an int of the caller's. */
dlc_allocator rank_allocator(int *held);

/* Notes the rank's first problem; false if there is one now. */
bool rank_expect(Rank *rank, bool holds, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline uint64_t random_next(uint64_t *state) {
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline int64_t random_below(uint64_t *state, int64_t n) {
    return (int64_t)(random_next(state) % (uint64_t)n);
}

#endif
