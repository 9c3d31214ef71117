/* Changes modules as an attacker would: still well formed in every type, wrong in sizes, axes,
 * bounds and operands. */
#ifndef DLC_TESTS_FUZZ_MUTATE_H
#define DLC_TESTS_FUZZ_MUTATE_H

#include "ir/ir.h"

typedef struct Mutator {
    uint64_t state;
    Module *module;
} Mutator;

/* A number below n. */
int64_t mutate_pick(Mutator *m, int64_t n);
/* Tries one change of the Func; false: no rule allowed it, and nothing changed. Types follow. */
bool mutate_func(Mutator *m, Func *func);
/* Changes a few characters of the text, which need not parse afterwards. */
void mutate_text(Mutator *m, char *text, size_t length);

#endif
