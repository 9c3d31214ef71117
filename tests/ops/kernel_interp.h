/* Runs loop IR directly, statement by statement, checking the bounds of every access and that
 * nothing is read before it is set: catches wrong index arithmetic without a backend. */
#ifndef DLC_TESTS_OPS_KERNEL_INTERP_H
#define DLC_TESTS_OPS_KERNEL_INTERP_H

#include "codegen/kernel.h"
#include "runtime/kernel_abi.h"

typedef struct KernelRun {
    const Kernel *kernel;
    const Machine *machine;
    void *const *buffers;
    const int64_t *elements; /* of each buffer */
    const int64_t *sizes;
    bool backwards; /* tiles in reverse order: they are independent; so are iterations that a
                       block's threads share */
    KernelFault fault;
    char message[256]; /* why it stopped */
} KernelRun;

/* All `tiles` tiles. False: see message. */
bool kernel_interp(KernelRun *run, const int64_t *grid);

/* Element i of a raw buffer, as a number. */
double raw_get(DType dtype, const void *data, int64_t i);
int64_t raw_get_int(DType dtype, const void *data, int64_t i);
void raw_set(DType dtype, void *data, int64_t i, double f, int64_t n);

#endif
