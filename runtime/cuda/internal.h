/* What the files of the CUDA device share: the opened device with its queues, and the rules of
 * calling the driver.
 *
 * Every call into the driver happens between cuda_enter and cuda_leave, which make the device's
 * context current and give back what was current before, so that a host program's own use of CUDA
 * is not disturbed. Every result goes through cuda_check. After an error that ends the context
 * (an illegal address …) the device is lost: each later call fails with the same reason. */
#ifndef DLC_RUNTIME_CUDA_INTERNAL_H
#define DLC_RUNTIME_CUDA_INTERNAL_H

#include "runtime/cuda/driver.h"
#include "runtime/cuda/nvrtc.h"
#include "runtime/cuda_image.h"
#include "runtime/device.h"

enum {
    CUDA_SLOTS = 4,            /* of staging for writes */
    CUDA_HALVES = 2,           /* of staging for reads */
    CUDA_SLOT_BYTES = 1 << 20, /* one slot or half */
    CUDA_GPU_NAME_BYTES = 128,
    CUDA_NOTE_BYTES = 192,
    CUDA_WORKSPACE_BYTES = 32 << 20, /* what a library may always have */
    CUDA_DEFAULT_TOOLKIT = 13000,    /* what plans are made with unless they say otherwise */
};

typedef struct CudaAllocation {
    struct CudaAllocation *next;
    CudaAddress address;
    size_t bytes;
} CudaAllocation;

/* Pinned host memory through which a queue's bytes go to and from the device. */
typedef struct CudaStaging {
    uint8_t *memory; /* slots, halves, then the fault word's host copy */
    CudaEvent written[CUDA_SLOTS], read[CUDA_HALVES];
    bool pending[CUDA_SLOTS]; /* `written` was recorded since the slot was last free */
    int slot;
    size_t used; /* of the slot */
} CudaStaging;

/* A stream, and what its work has of its own. */
typedef struct CudaQueue {
    DeviceQueue base;
    struct CudaQueue *next; /* of the device's, queue 0 last */
    CudaStream stream;
    CudaStaging staging;
    CudaAddress fault; /* KernelFault on the device */
    CudaEvent handed;  /* for copies across */
    int64_t recording; /* the last one that it was part of, by number; 0: none */

    /* Global scratch of kernels. Graphs hold its address: while one lives, outgrown scratch is
     * kept. */
    CudaAddress scratch;
    int64_t scratch_bytes, scratch_unit; /* in all; the largest need of one block */
    /* Memory that calls of vendor libraries use in turn; outgrown like scratch. */
    CudaAddress workspace;
    int64_t workspace_bytes;

    CudaEvent
        *marks; /* of a trace, with times; the first lies at `marked_at` of the host's clock */
    int32_t n_marks, marks_capacity;
    double marked_at;
} CudaQueue;

typedef struct CudaCudnn CudaCudnn; /* cudnn_call.c */
typedef struct Cublaslt Cublaslt;   /* cublaslt.h */

typedef struct CudaDevice {
    Device base;
    CudaDriver driver;
    Nvrtc nvrtc; /* opened by the first image that needs it */
    CudaDeviceId id;
    CudaContext context; /* the primary one; NULL: not retained */
    CudaQueue *queues;
    int sm, processors, shared_limit;
    char name[CUDA_GPU_NAME_BYTES], note[CUDA_NOTE_BYTES];
    char lost_text[DEVICE_MESSAGE_BYTES];
    bool lost, guarded;
    CudaQueue *recording; /* the one that it was begun on; NULL: none */
    int64_t n_recordings; /* so far: the number of the last */

    CudaAllocation *allocations;
    int64_t allocated_bytes;
    CudaAllocation *outgrown; /* scratch and workspaces that graphs may still use */
    int n_graphs;
    int64_t module_scratch;       /* the largest need of a kernel that was loaded */
    CudaCudnn *cudnn;             /* NULL: not asked for yet */
    Cublaslt *cublaslt;           /* the same */
    const CudaQueue *cudnn_queue; /* whose stream cuDNN's handle has; NULL: none that lives */

    CudaModule builtins;
    CudaFunction copy_if, gate;
} CudaDevice;

static inline CudaDevice *cuda_device_of(const CudaQueue *queue) {
    return (CudaDevice *)queue->base.device;
}

/* context.c */
dlc_status cuda_fail(CudaDevice *device, dlc_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* DLC_OK, or the call's error as a status with device.error set. */
dlc_status cuda_check(CudaDevice *device, CudaResult result, const char *call);
dlc_status cuda_enter(CudaDevice *device);
/* For freeing: tries once more, since what is not freed now never is; keeps device.error. */
bool cuda_enter_to_free(CudaDevice *device);
void cuda_leave_freed(CudaDevice *device);
/* `status`, or the failure to leave. */
dlc_status cuda_leave(CudaDevice *device, dlc_status status);
/* Waits for the work of all queues, whatever comes of it; called inside enter and leave. */
void cuda_queues_wait(CudaDevice *device);

/* queue.c; the ones below are called inside enter and leave */
dlc_status cuda_queue_open(CudaDevice *device, CudaQueue **out);
void cuda_queues_close(CudaDevice *device);

dlc_status cuda_queue_create(Device *base, bool background, DeviceQueue **out);
void cuda_queue_destroy(DeviceQueue *base);
dlc_status cuda_event_create(Device *base, DeviceEvent **out);
dlc_status cuda_event_record(DeviceEvent *base, DeviceQueue *queue);
dlc_status cuda_event_wait(DeviceEvent *base, DeviceQueue *queue);
dlc_status cuda_event_finish(DeviceEvent *base);
void cuda_event_destroy(DeviceEvent *base);
dlc_status cuda_copy_across(DeviceQueue *to_base, void *to, DeviceQueue *from_base,
                            const void *from, size_t bytes);
dlc_status cuda_finish(DeviceQueue *base, KernelFault *fault);

/* staging.c; the first two are called inside enter and leave */
dlc_status cuda_staging_open(CudaQueue *queue);
void cuda_staging_close(CudaQueue *queue);
KernelFault *cuda_fault_copy(const CudaQueue *queue); /* pinned */
void *cuda_host_alloc(Device *base, size_t bytes);
void cuda_host_free(Device *base, void *memory);
dlc_status cuda_send(DeviceQueue *base, void *to, const void *from, size_t bytes);
dlc_status cuda_write(DeviceQueue *base, void *to, const void *from, size_t bytes);
dlc_status cuda_read(DeviceQueue *base, void *to, const void *from, size_t bytes);
dlc_status cuda_fetch(DeviceQueue *base, void *to, const void *from, size_t bytes);
dlc_status cuda_fault_fetch(DeviceQueue *base, KernelFault *to);

/* memory.c; the ones below are called inside enter and leave */
/* Device memory that the device frees itself; `what` for messages, "": the caller's. */
dlc_status cuda_memory_take(CudaDevice *device, const char *what, size_t bytes, CudaAddress *out);
void cuda_memory_close(CudaDevice *device);
/* Bytes of the GPU, other programs' included. */
dlc_status cuda_memory_info(CudaDevice *device, size_t *out_free, size_t *out_total);
dlc_status cuda_memory_reserve(CudaQueue *queue, int64_t bytes);
/* Makes the queue's workspace at least `bytes` large; not while recording. No memory for it is
 * DLC_ERROR_UNSUPPORTED: the generated kernels need none. */
dlc_status cuda_workspace_reserve(CudaQueue *queue, int64_t bytes);
void cuda_memory_trim(CudaDevice *device); /* frees what was outgrown if no graph lives */

void *cuda_alloc(Device *base, size_t bytes);
void cuda_free(Device *base, void *memory);
dlc_status cuda_copy(DeviceQueue *base, void *to, const void *from, size_t bytes,
                     const uint8_t *if_set);
dlc_status cuda_fill(DeviceQueue *base, void *to, int byte, size_t bytes);
dlc_status cuda_set_i32(DeviceQueue *base, int32_t *to, int32_t value);
dlc_status cuda_gate(DeviceQueue *base, uint8_t *word, const uint8_t *if_set);
dlc_status cuda_reserve(DeviceQueue *base, int64_t bytes);
int64_t cuda_free_bytes(Device *base);
int64_t cuda_overhead_bytes(Device *base);

/* module.c */
dlc_status cuda_load(Device *base, const uint8_t *image, size_t n_image, DeviceModule **out);
void cuda_unload(Device *base, DeviceModule *module);
dlc_status cuda_launch(DeviceQueue *base, DeviceModule *module, const DeviceLaunch *launch);
dlc_status cuda_launch_group(DeviceQueue *base, DeviceModule *module, const DeviceLaunch *launches,
                             int32_t n);
/* load.c; inside enter and leave: loads the run side's own kernels. */
dlc_status cuda_builtins_load(CudaDevice *device);

/* marks.c; the last one is called inside enter and leave */
dlc_status cuda_mark(DeviceQueue *base, int32_t number);
dlc_status cuda_mark_seconds(DeviceQueue *base, int32_t number, double *out);
void cuda_marks_close(CudaQueue *queue);

/* graph.c */
bool cuda_is_recorded(const CudaQueue *queue); /* what the queue is given now */
void cuda_record_drop(CudaQueue *queue);
dlc_status cuda_record(DeviceQueue *base);
dlc_status cuda_record_end(DeviceQueue *base, DeviceGraph **out);
dlc_status cuda_replay(DeviceQueue *base, DeviceGraph *graph);
void cuda_graph_free(Device *base, DeviceGraph *graph);

#endif
