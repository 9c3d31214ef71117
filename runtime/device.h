/* The interface of a device on the run side: memory, loading an image, queues of work, launching
 * its kernels, moving bytes. One constant DeviceOps a kind of device; device_find lists them. The
 * executor validates before it calls.
 *
 * Work is given to a queue, done in the order given, and may still be running when a call returns,
 * except for `read` and `finish`. Between queues there is no order but what events make. Kernels'
 * scratch, the libraries' workspace and the word for faults belong to a queue: two queues never
 * share any. A call that fails leaves its reason in Device.error. A device, with its queues and
 * events, is used by one thread at a time; devices of one kind may wait for each other's events. */
#ifndef DLC_RUNTIME_DEVICE_H
#define DLC_RUNTIME_DEVICE_H

#include "runtime/context.h"
#include "runtime/kernel_abi.h"

enum { DEVICE_MESSAGE_BYTES = 512 };

typedef struct DeviceOps DeviceOps;
typedef struct Device Device;
typedef struct DeviceModule DeviceModule;     /* a loaded image; the device's own */
typedef struct DeviceGraph DeviceGraph;       /* recorded work; the device's own */
typedef struct DeviceCallPlan DeviceCallPlan; /* a library's way to do a call; the device's own */

/* A queue of work, and a point in one. A backend's own structs begin with these. */
typedef struct DeviceQueue {
    Device *device;
} DeviceQueue;

typedef struct DeviceEvent {
    Device *device;
} DeviceEvent;

/* One opened device; a backend's own struct begins with this. */
struct Device {
    const DeviceOps *ops;
    dlc_allocator allocator;
    DeviceQueue *queue;               /* queue 0: always there */
    char error[DEVICE_MESSAGE_BYTES]; /* of the last call that failed */
    dlc_status alloc_status; /* why `alloc` gave NULL last; DLC_OK: there is no more memory */
};

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
    const char *target; /* to compile for it as it is ("cpu:native"); NULL: the name */
    /* The machines of its code are numbered by what they can do ("sm_90"): of those that it
     * supports the highest is best. False: a plan has them in the order wanted. */
    bool is_numbered;
    bool computes_nothing; /* so any code will do; nobody gets it who has not named it */
    /* Addresses are ordinary memory that host code may read and write whenever no work is queued
     * (on queue 0 work is then always done when a call returns). */
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
    /* Waits for all queues that may still use it. */
    void (*free)(Device *device, void *memory);
    dlc_status (*load)(Device *device, const uint8_t *image, size_t n_image, DeviceModule **out);
    void (*unload)(Device *device, DeviceModule *module);

    /* One more queue. `background`: where the host does the work, on a thread of its own, one
     * launch's tiles after the other; else when it is asked for. */
    dlc_status (*queue_create)(Device *device, bool background, DeviceQueue **out);
    /* Does what is queued, then frees it, once nothing that was recorded or prepared on it is left;
     * not for queue 0, which `close` ends. NULL will do. */
    void (*queue_destroy)(DeviceQueue *queue);
    dlc_status (*event_create)(Device *device, DeviceEvent **out);
    /* The event stands for what the queue has been given so far, and for nothing before. */
    dlc_status (*event_record)(DeviceEvent *event, DeviceQueue *queue);
    /* What the queue is given from now on begins after what the event stands for now: nothing, as
     * long as it was not recorded. The queue may be of another device of the kind. */
    dlc_status (*event_wait)(DeviceEvent *event, DeviceQueue *queue);
    /* The same for the host. */
    dlc_status (*event_finish)(DeviceEvent *event);
    /* Queues that wait for it still do. NULL will do. */
    void (*event_destroy)(DeviceEvent *event);

    /* From and to host memory, which may be reused when they return; `read` waits for the queue. */
    dlc_status (*write)(DeviceQueue *queue, void *to, const void *from, size_t bytes);
    dlc_status (*read)(DeviceQueue *queue, void *to, const void *from, size_t bytes);
    /* Host memory from which `send` reads and which `fetch` fills; NULL: none can be had. NULL
     * members: any memory will do. */
    void *(*host_alloc)(Device *device, size_t bytes);
    void (*host_free)(Device *device, void *memory);
    /* As write, but the memory stays as it is until the queue has come past. NULL: `write` is as
     * good. */
    dlc_status (*send)(DeviceQueue *queue, void *to, const void *from, size_t bytes);
    /* As read, but queued: the memory is filled when the queue has come past. `fault_fetch`: with
     * what `finish` would give, which stays. */
    dlc_status (*fetch)(DeviceQueue *queue, void *to, const void *from, size_t bytes);
    dlc_status (*fault_fetch)(DeviceQueue *queue, KernelFault *to);
    /* On the device; overlapping exactly or not at all. `if_set`: a bool in device memory, the copy
     * is skipped when it is 0; NULL: always. */
    dlc_status (*copy)(DeviceQueue *queue, void *to, const void *from, size_t bytes,
                       const uint8_t *if_set);
    dlc_status (*fill)(DeviceQueue *queue, void *to, int byte, size_t bytes);
    dlc_status (*set_i32)(DeviceQueue *queue, int32_t *to,
                          int32_t value); /* recordable, unlike write */
    /* Recordable. *word becomes 1 where *if_set is not 0 and the queue has met no fault since the
     * last finish; else 0, so that what is stored under it is not. Where *if_set alone stands
     * against it that is a fault of its own, KERNEL_SITE_STOPPED: later gates stay shut until the
     * host has seen it. Bools in device memory. */
    dlc_status (*gate)(DeviceQueue *queue, uint8_t *word, const uint8_t *if_set);
    /* From another device of the kind: after what both queues were given before, and before what
     * either is given later. NULL, or DLC_ERROR_UNSUPPORTED: device_copy_across goes by the host.
     */
    dlc_status (*copy_across)(DeviceQueue *to_queue, void *to, DeviceQueue *from_queue,
                              const void *from, size_t bytes);

    /* Makes room on the queue for kernels that need `bytes` of scratch
     * (PlanKernel.scratch_bytes). */
    dlc_status (*reserve)(DeviceQueue *queue, int64_t bytes);
    dlc_status (*launch)(DeviceQueue *queue, DeviceModule *module, const DeviceLaunch *launch);
    /* `n` launches of one kernel that depend on nothing of each other, in any order or at once.
     * NULL: launch them one by one. */
    dlc_status (*launch_group)(DeviceQueue *queue, DeviceModule *module,
                               const DeviceLaunch *launches, int32_t n);
    /* Asks the device's libraries for a way to do `call` on the queue (workspace and code included;
     * nothing is run). DLC_ERROR_UNSUPPORTED, reason in device_error: the kernel must do it. NULL:
     * there are no libraries. */
    dlc_status (*call_prepare)(DeviceQueue *queue, const DeviceCall *call, DeviceCallPlan **out);
    /* Queued like a launch, recordable, on the queue it was prepared for; buffers by
     * PlanLibraryOperand. */
    dlc_status (*call)(DeviceQueue *queue, DeviceCallPlan *plan, void *const *buffers);
    void (*call_free)(Device *device, DeviceCallPlan *plan);
    /* Which library does it, for people: "cuBLASLt 13.0, algorithm 21". */
    void (*call_describe)(Device *device, const DeviceCallPlan *plan, char *out, size_t n_out);
    /* Waits for all work of the queue; gives its first fault by order of launch and tile since the
     * last finish (site 0: none) and clears it. */
    dlc_status (*finish)(DeviceQueue *queue, KernelFault *fault);

    /* What the queue is given between record and record_end (launch, call, copy, fill, set_i32,
     * gate and events only) is not run but kept, to be run there by replay as often as wanted. One
     * recording of a device at a time. NULL members: the device cannot.
     *
     * Another queue of the device joins the recording when it waits for an event that was recorded
     * within; what it is given from then until record_end is kept too. Within, events order as they
     * do elsewhere, but none from before is waited for, and after record_end nothing waits for one
     * from within until it is recorded again. At the end the first queue must have waited for all
     * that the others were given. Calls that break these rules fail and leave the recording as it
     * was; record_end leaves none. A replay is work of the first queue alone: what the other queues
     * are given outside is ordered with it by events only, and must be where it uses their scratch,
     * workspace or word for faults, for the replay does. */
    dlc_status (*record)(DeviceQueue *queue);
    dlc_status (*record_end)(DeviceQueue *queue, DeviceGraph **out); /* NULL out: drop it */
    dlc_status (*replay)(DeviceQueue *queue, DeviceGraph *graph); /* the one it was recorded on */
    void (*graph_free)(Device *device, DeviceGraph *graph);

    /* For traces: notes when the queue comes to this point, as number 0, 1, … of a run; 0 waits for
     * all its work. After `finish`, when that was, on the clock of clock_seconds. NULL: work is
     * done when a call returns. */
    dlc_status (*mark)(DeviceQueue *queue, int32_t number);
    dlc_status (*mark_seconds)(DeviceQueue *queue, int32_t number, double *out);
    /* Bytes that could still be allocated; -1: unknown. NULL: unknown. */
    int64_t (*free_bytes)(Device *device);
    /* Device memory in use beside `alloc`s (context, code, workspaces), measured; -1: unknown. */
    int64_t (*overhead_bytes)(Device *device);
    /* What the device can do, for comparison: fused multiply-adds (two operations each) and bytes
     * read from memory, per second; 0: unknown. May take a second. NULL: both unknown. */
    void (*peak)(Device *device, double *out_flops, double *out_bytes);
};

#define DEVICE(name) extern const DeviceOps device_##name;
#include "runtime/devices.def"
#undef DEVICE
const DeviceOps *device_find(const char *name); /* NULL: unknown */
const DeviceOps *device_host(void);             /* the one that every machine has */
const DeviceOps *device_at(int index);          /* NULL past the end; the preferred first */

/* Between any two devices, in the order that DeviceOps.copy_across has; where the devices cannot by
 * themselves, in pieces through the host, which waits for both queues. Of a failure of either
 * device the reason is in the error of `to_queue`'s. */
dlc_status device_copy_across(DeviceQueue *to_queue, void *to, DeviceQueue *from_queue,
                              const void *from, size_t bytes);

#endif
