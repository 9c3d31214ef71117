/* The contract between compiled kernels and whoever launches them. Stand-alone and versioned;
 * included by codegen (which emits to it) and by the run time (which calls it). */
#ifndef DLC_RUNTIME_KERNEL_ABI_H
#define DLC_RUNTIME_KERNEL_ABI_H

#include <stdint.h>

enum { KERNEL_ABI_VERSION = 1 };

/* The site of a stored parameter or optimiser state that is not finite: no number of the plan's
 * table, the same in all plans, and with value and bound 0. The step that finds it has stored. */
#define KERNEL_SITE_NOT_FINITE INT64_MAX

/* No kernel's: a gate stayed shut (DeviceOps.gate) because what it was asked about was 0. */
#define KERNEL_SITE_STOPPED (INT64_MAX - 1)

/* Set once by the first failed check of a step (bad index, division of sizes …). */
typedef struct KernelFault {
    int64_t site;  /* number of the fault site in the plan's table, plus 1; 0: no fault */
    int64_t value; /* the offending index */
    int64_t bound; /* what it must be below */
} KernelFault;

typedef struct KernelArgs {
    void *const *buffers; /* addresses, in the kernel's own order; 64-byte aligned bases, plus
                             element offsets */
    const int64_t *sizes; /* the kernel's size parameters, in its own order */
    uint8_t *scratch;   /* this worker's scratch, 64-byte aligned, of the kernel's scratch_bytes */
    KernelFault *fault; /* this worker's own; the executor keeps the first by tile order */
} KernelArgs;

/* Does tiles [first, last) of the kernel's flat grid. Never starts threads, never allocates.
 * Splitting the grid differently gives the same bits. */
typedef void (*KernelFunction)(const KernelArgs *args, int64_t first, int64_t last);

#endif
