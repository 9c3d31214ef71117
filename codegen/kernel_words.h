/* Words of the kernels' text form that printer and parser share. */
#ifndef DLC_CODEGEN_KERNEL_WORDS_H
#define DLC_CODEGEN_KERNEL_WORDS_H

#include "codegen/kernel.h"

enum { KERNEL_N_LOOP_WORDS = KL_UNROLL + 1 };

static const char *const KERNEL_LOOP_WORDS[KERNEL_N_LOOP_WORDS] = {
    [KL_GRID] = "grid",     [KL_SERIAL] = "for",    [KL_INDEPENDENT] = "each",
    [KL_VECTOR] = "vector", [KL_UNROLL] = "unroll",
};

#endif
