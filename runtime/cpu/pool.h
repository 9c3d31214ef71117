/* The threads that run a launch's tiles. The calling thread is worker 0 and begins at once; the
 * others take chunks of tiles as they wake. So a worker that the system has put to sleep delays
 * nobody: it takes no chunk. Which worker does a chunk does not matter to the result
 * (runtime/kernel_abi.h). */
#ifndef DLC_RUNTIME_CPU_POOL_H
#define DLC_RUNTIME_CPU_POOL_H

#include "runtime/device.h"

typedef struct CpuPool CpuPool;

/* What each of `threads` workers has of its own. */
typedef struct CpuWorkers {
    int threads;
    uint8_t **scratch;   /* [threads], 64-byte aligned, large enough for every kernel of the plan */
    KernelFault *faults; /* [threads], zero before a launch */
    CpuPool *pool;       /* NULL for one thread */
} CpuWorkers;

/* `*threads` workers in all, all but the caller new. Where the system gives fewer, *threads is how
 * many there are; with the caller alone *out stays NULL. */
dlc_status cpu_pool_create(const dlc_allocator *allocator, int *threads, CpuPool **out);
void cpu_pool_destroy(CpuPool *pool); /* accepts NULL */
int64_t cpu_pool_bytes(const CpuPool *pool);

/* Does tiles [0, tiles) and waits. Worker w uses scratch[w]; afterwards faults[0] is that of the
 * lowest faulting chunk, the others are zero. One call at a time. */
void cpu_pool_run(CpuPool *pool, KernelFunction function, const DeviceLaunch *launch,
                  const CpuWorkers *workers);

#endif
