/* For tests: a machine whose tiles a block of threads runs, and whose code the CPU runs in order.
 */
#ifndef DLC_TESTS_UNIT_BLOCK_MACHINE_H
#define DLC_TESTS_UNIT_BLOCK_MACHINE_H

#include "codegen/target.h"

/* This host, with the shapes of a GPU's kernels; threads, lanes and tiles are the caller's to set.
 * False: there is no such target. */
static inline bool block_machine_shapes(Arena *arena, Machine *out) {
    char message[512];
    Machine gpu;
    if (target_find("cpu")->describe(NULL, arena, out, message) != DLC_OK ||
        target_find("cuda")->describe("sm_80", arena, &gpu, message) != DLC_OK) {
        return false;
    }
    out->block = gpu.block;
    return true;
}

#endif
