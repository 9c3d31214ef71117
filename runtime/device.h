/* The interface of a device on the run side: memory, loading an image, launching its kernels,
 * moving bytes. One constant DeviceOps a kind of device; device_find lists them. The executor
 * validates before it calls. Work is queued in order and may still be running when a call returns,
 * except for `read` and `finish`; a call that fails leaves its reason in device_error. */
#ifndef DLC_RUNTIME_DEVICE_H
#define DLC_RUNTIME_DEVICE_H

#include "runtime/context.h"
#include "runtime/kernel_abi.h"

enum { DEVICE_MESSAGE_BYTES = 512 };

typedef struct DeviceOps DeviceOps;
typedef struct DeviceModule DeviceModule;     /* a loaded image; the device's own */
typedef struct DeviceGraph DeviceGraph;       /* recorded work; the device's own */
typedef struct DeviceCallPlan DeviceCallPlan; /* a library's way to do a call; the device's own */

/* One opened device; a backend's own struct begins with this. */
typedef struct Device {
    const DeviceOps *ops;
    dlc_allocator allocator;
    char error[DEVICE_MESSAGE_BYTES]; /* of the last call that failed */
    dlc_status alloc_status; /* why `alloc` gave NULL last; DLC_OK: there is no more memory */
} Device;

typedef struct DeviceOptions {
    const char *which; /* what follows "cuda:" in the device's name; "": the first */
    int threads;       /* for the CPU: workers */
    bool guarded;      /* every allocation and arena value apart, no recording: for checkers */
} DeviceOptions;

typedef struct DeviceLaunch {
    int64_t entry; /* offset in the image */
    void *const *buffers;
    const int64_t *sizes;
    int32_t n_buffers, n_sizes;
    int64_t tiles;
    double work; /* rough operations and bytes, to decide whether threads are worth waking */
} DeviceLaunch;

/* A PlanLibrary with its sizes bound. */
typedef struct DeviceCall {
    int32_t kind, compute, epilogue; /* runtime/plan.h */
    int32_t dtypes[5];               /* by PlanLibraryOperand */
    int32_t alignment[5];            /* of addresses, in bytes: a power of two up to 256 */
    bool present[5];
    const int64_t *sizes;
    int32_t n_sizes;
    bool reproducible; /* the same bits from run to run are wanted */
} DeviceCall;

struct DeviceOps {
    const char *name, *doc;
    /* Addresses are ordinary memory that host code may read and write whenever no work is queued
     * (queued work is then always done when a call returns). */
    bool is_host;
    /* Whether this machine can run code for `machine` ("sm_90") with `features`, on the device
     * `which`; if not, DLC_ERROR_UNSUPPORTED, and message (DEVICE_MESSAGE_BYTES) says what is
     * missing. Another status: an error while asking. Opens nothing for good. */
    dlc_status (*supports)(const char *machine, const char *features, const char *which,
                           char *message);
    dlc_status (*open)(const dlc_allocator *allocator, const DeviceOptions *options, Device **out,
                       char *message);
    void (*close)(Device *device);
    /* "NVIDIA H200, driver 580.65" */
    void (*describe)(Device *device, char *out, size_t n_out);

    /* At least 64-byte aligned, contents undefined; NULL: Device.alloc_status says why. */
    void *(*alloc)(Device *device, size_t bytes);
    void (*free)(Device *device, void *memory);
    /* From and to host memory, which may be reused when they return. */
    dlc_status (*write)(Device *device, void *to, const void *from, size_t bytes);
    dlc_status (*read)(Device *device, void *to, const void *from, size_t bytes);
    /* On the device; overlapping exactly or not at all. `if_set`: a bool in device memory, the copy
     * is skipped when it is 0; NULL: always. */
    dlc_status (*copy)(Device *device, void *to, const void *from, size_t bytes,
                       const uint8_t *if_set);
    dlc_status (*fill)(Device *device, void *to, int byte, size_t bytes);
    dlc_status (*set_i32)(Device *device, int32_t *to,
                          int32_t value); /* recordable, unlike write */

    dlc_status (*load)(Device *device, const uint8_t *image, size_t n_image, DeviceModule **out);
    void (*unload)(Device *device, DeviceModule *module);
    /* Makes room for kernels that need `bytes` of scratch (PlanKernel.scratch_bytes). */
    dlc_status (*reserve)(Device *device, int64_t bytes);
    dlc_status (*launch)(Device *device, DeviceModule *module, const DeviceLaunch *launch);
    /* Asks the device's libraries for a way to do `call` (workspace and code included; nothing is
     * run). DLC_ERROR_UNSUPPORTED, reason in device_error: the kernel must do it. NULL: there are
     * no libraries. */
    dlc_status (*call_prepare)(Device *device, const DeviceCall *call, DeviceCallPlan **out);
    /* Queued like a launch, recordable; buffers by PlanLibraryOperand. */
    dlc_status (*call)(Device *device, DeviceCallPlan *plan, void *const *buffers);
    void (*call_free)(Device *device, DeviceCallPlan *plan);
    /* Which library does it, for people: "cuBLASLt 13.0, algorithm 21". */
    void (*call_describe)(Device *device, const DeviceCallPlan *plan, char *out, size_t n_out);
    /* `n` launches of one kernel that depend on nothing of each other, in any order or at once.
     * NULL: launch them one by one. */
    dlc_status (*launch_group)(Device *device, DeviceModule *module, const DeviceLaunch *launches,
                               int32_t n);
    /* Waits for all work; gives the first fault by order of launch and tile since the last finish
     * (site 0: none) and clears it. */
    dlc_status (*finish)(Device *device, KernelFault *fault);

    /* What is queued between record and record_end (launch, copy, fill, set_i32 only) is not run
     * but kept, to be run by replay as often as wanted; NULL members: the device cannot. */
    dlc_status (*record)(Device *device);
    dlc_status (*record_end)(Device *device, DeviceGraph **out); /* NULL out: drop it */
    dlc_status (*replay)(Device *device, DeviceGraph *graph);
    void (*graph_free)(Device *device, DeviceGraph *graph);

    /* For traces: notes when the queue comes to this point, as number 0, 1, … of a run; 0 waits for
     * all work. After `finish`, when that was, on the clock of clock_seconds. NULL: work is done
     * when a call returns. */
    dlc_status (*mark)(Device *device, int32_t number);
    dlc_status (*mark_seconds)(Device *device, int32_t number, double *out);
    /* Bytes that could still be allocated; -1: unknown. NULL: unknown. */
    int64_t (*free_bytes)(Device *device);
    /* Device memory in use beside `alloc`s (context, code, workspaces), measured; -1: unknown. */
    int64_t (*overhead_bytes)(Device *device);
    /* What the device can do, for comparison: fused multiply-adds (two operations each) and bytes
     * read from memory, per second; 0: unknown. May take a second. NULL: both unknown. */
    void (*peak)(Device *device, double *out_flops, double *out_bytes);
};

const DeviceOps *device_find(const char *name); /* NULL: unknown */
const DeviceOps *device_at(int index);          /* NULL past the end; the preferred first */

#endif
