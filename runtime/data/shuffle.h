/* The order of rows in an epoch: a function of seed and epoch alone, so that a resumed run, or a
 * run on another machine, sees the same rows. */
#ifndef DLC_RUNTIME_DATA_SHUFFLE_H
#define DLC_RUNTIME_DATA_SHUFFLE_H

#include <stdint.h>

/* A permutation of [0, count) into out: Fisher-Yates on splitmix64. Part of what makes runs
 * reproducible: never changes. */
void shuffle_permutation(uint64_t seed, uint64_t epoch, int64_t count, int64_t *out);

#endif
