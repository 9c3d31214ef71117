/* Inputs that a fuzzer's target accepted. One that sees refusals only tests little beyond the first
 * check, and mutants of refused inputs are refused: so most mutants are made of accepted ones, by a
 * single change. How many were accepted is printed when the process ends; scripts/fuzz.sh looks at
 * it. Included by one file of a fuzzer. */
#ifndef DLC_TESTS_FUZZ_ACCEPTED_H
#define DLC_TESTS_FUZZ_ACCEPTED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

enum { FUZZ_KEPT = 32 };

static struct {
    uint64_t inputs, accepted;
    uint8_t *kept[FUZZ_KEPT]; /* the first ones and the latest */
    size_t sizes[FUZZ_KEPT];
} fuzz_accepted;

static void fuzz_accepted_end(void) {
    fprintf(stderr, "accepted: %llu of %llu\n", (unsigned long long)fuzz_accepted.accepted,
            (unsigned long long)fuzz_accepted.inputs);
    for (int i = 0; i < FUZZ_KEPT; i++) {
        free(fuzz_accepted.kept[i]);
    }
}

/* To be called once for every input. */
static inline void fuzz_note(const uint8_t *data, size_t size, bool accepted) {
    if (fuzz_accepted.inputs++ == 0) {
        atexit(fuzz_accepted_end);
    }
    if (!accepted) {
        return;
    }
    uint64_t n = fuzz_accepted.accepted++, half = FUZZ_KEPT / 2;
    size_t at = n < FUZZ_KEPT ? n : half + n % half; /* seeds come first, and stay */
    free(fuzz_accepted.kept[at]);
    fuzz_accepted.kept[at] = malloc(size + 1);
    fuzz_accepted.sizes[at] = fuzz_accepted.kept[at] ? size : 0;
    if (fuzz_accepted.kept[at] && size > 0) {
        memcpy(fuzz_accepted.kept[at], data, size);
    }
}

/* Three times of four replaces `data` by an input that was accepted; gives the size. */
static inline size_t fuzz_start(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    size_t n = fuzz_accepted.accepted < FUZZ_KEPT ? fuzz_accepted.accepted : FUZZ_KEPT;
    size_t at = n ? (seed >> 10) % n : 0;
    if (n == 0 || seed >> 2 & 1 & (seed >> 3) || !fuzz_accepted.kept[at] ||
        fuzz_accepted.sizes[at] > max_size) {
        return size;
    }
    memcpy(data, fuzz_accepted.kept[at], fuzz_accepted.sizes[at]);
    return fuzz_accepted.sizes[at];
}

#endif
