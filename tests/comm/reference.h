/* What a call must give, computed element by element from all ranks' operands, which any rank can
 * make: written apart from the code under test. */
#ifndef DLC_TESTS_COMM_REFERENCE_H
#define DLC_TESTS_COMM_REFERENCE_H

#include "runtime/comm/comm.h"

enum { MOST_BUFFERS = 4 };

/* A random call of group number `number` of n, its memory, and what must come. */
typedef struct Trial {
    CommCall call;
    CommBuffer buffers[MOST_BUFFERS];
    int32_t group[8];
    void *in[MOST_BUFFERS], *out[MOST_BUFFERS], *expected[MOST_BUFFERS];
    size_t out_bytes[MOST_BUFFERS];
    int64_t sent; /* bytes, counted one by one */
} Trial;

/* By the seed alone, the same on all of n_ranks ranks; `most`: elements along an axis. False: this
 * rank is not in the call's group (and nothing is made). */
bool trial_make(Trial *trial, int32_t n_ranks, int32_t rank, uint64_t seed, int64_t most);
/* Whether the results are the expected ones; else says which is not. */
bool trial_check(const Trial *trial, char *problem, size_t n_problem);
void trial_free(Trial *trial);

#endif
