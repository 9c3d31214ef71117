/* The interface of a device on the run side: loading an image, launching its kernels, moving bytes.
 * One constant DeviceOps a device; device_find lists them. The executor validates before it calls.
 */
#ifndef DLC_RUNTIME_DEVICE_H
#define DLC_RUNTIME_DEVICE_H

#include "runtime/context.h"
#include "runtime/kernel_abi.h"

enum { DEVICE_MESSAGE_BYTES = 256 };

typedef struct DeviceModule DeviceModule; /* a loaded image; the device's own */

struct CpuPool;

/* Workers: `threads` of them, each with scratch of its own. */
typedef struct DeviceWorkers {
    int threads;
    uint8_t **scratch;   /* [threads], 64-byte aligned, large enough for every kernel of the plan */
    KernelFault *faults; /* [threads] */
    struct CpuPool *pool; /* the CPU's threads; NULL for one thread and for other devices */
} DeviceWorkers;

typedef struct DeviceLaunch {
    int64_t entry; /* offset in the image */
    void *const *buffers;
    const int64_t *sizes;
    int64_t tiles;
    double work; /* rough operations and bytes, to decide whether threads are worth waking */
} DeviceLaunch;

typedef struct DeviceOps {
    const char *name, *doc;
    /* Whether this machine can run an image that needs `features`; if not, message says what is
     * missing. */
    bool (*supports)(const char *features, char *message);
    /* Makes and ends what `workers` needs beside its arrays; NULL: nothing. */
    dlc_status (*start)(const dlc_allocator *allocator, DeviceWorkers *workers);
    void (*stop)(DeviceWorkers *workers);
    dlc_status (*load)(const dlc_allocator *allocator, const uint8_t *image, size_t n_image,
                       DeviceModule **out, char *message);
    void (*unload)(const dlc_allocator *allocator, DeviceModule *module);
    /* Runs all tiles and waits. Faults are left in workers->faults, which the caller has zeroed;
     * the first by tile order is the first non-zero one. */
    void (*launch)(DeviceModule *module, const DeviceLaunch *launch, const DeviceWorkers *workers);
    void (*copy)(void *to, const void *from, size_t bytes); /* may overlap exactly or not at all */
    void (*fill)(void *to, int byte, size_t bytes);
} DeviceOps;

const DeviceOps *device_find(const char *name); /* NULL: unknown */

#endif
