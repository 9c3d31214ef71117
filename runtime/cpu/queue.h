/* Queues and events of the processor. A queue does what it is given when it is asked, as queue 0
 * does, or in the background: a thread of its own takes tasks out of a ring, in order. Events are
 * points that queues reach; threads that wait for one sleep. */
#ifndef DLC_RUNTIME_CPU_QUEUE_H
#define DLC_RUNTIME_CPU_QUEUE_H

#include "runtime/cpu/pool.h"

typedef struct CpuLane CpuLane; /* the ring and its thread */

typedef struct CpuQueue {
    DeviceQueue base;
    struct CpuQueue *next; /* of the device's, queue 0 last */
    CpuWorkers workers;
    int64_t scratch_bytes; /* of one worker */
    KernelFault fault;     /* the first since the last finish; the lane's while that is busy */
    CpuLane *lane;         /* NULL: work is done when it is asked for */
} CpuQueue;

typedef struct CpuDevice {
    Device base;
    CpuQueue *queues;
    int wanted; /* threads of queue 0; the system may give fewer */
    bool guarded;
} CpuDevice;

/* An image, executable. */
struct DeviceModule {
    uint8_t *code;
    size_t n_code;
};

/* With `threads` workers; fewer where the system gives no more. */
dlc_status cpu_queue_create(Device *device, int threads, bool background, CpuQueue **out);
void cpu_queue_destroy(CpuQueue *queue);
int64_t cpu_queue_bytes(const CpuQueue *queue);
/* Waits until the lane, if it has one, has done all. */
void cpu_queue_wait(const CpuQueue *queue);

void cpu_queues_wait(Device *device);

/* DeviceOps members. */
dlc_status cpu_queue_add(Device *device, bool background, DeviceQueue **out);
void cpu_queue_end(DeviceQueue *queue);
dlc_status cpu_reserve(DeviceQueue *queue, int64_t bytes);
dlc_status cpu_move(DeviceQueue *queue, void *to, const void *from, size_t bytes);
dlc_status cpu_copy(DeviceQueue *queue, void *to, const void *from, size_t bytes,
                    const uint8_t *if_set);
dlc_status cpu_fill(DeviceQueue *queue, void *to, int byte, size_t bytes);
dlc_status cpu_set_i32(DeviceQueue *queue, int32_t *to, int32_t value);
dlc_status cpu_gate(DeviceQueue *queue, uint8_t *word, const uint8_t *if_set);
dlc_status cpu_fetch(DeviceQueue *queue, void *to, const void *from, size_t bytes);
dlc_status cpu_fault_fetch(DeviceQueue *queue, KernelFault *to);
dlc_status cpu_copy_across(DeviceQueue *to_queue, void *to, DeviceQueue *from_queue,
                           const void *from, size_t bytes);
dlc_status cpu_launch(DeviceQueue *queue, DeviceModule *module, const DeviceLaunch *launch);
dlc_status cpu_finish(DeviceQueue *queue, KernelFault *fault);
dlc_status cpu_event_create(Device *device, DeviceEvent **out);
dlc_status cpu_event_record(DeviceEvent *event, DeviceQueue *queue);
dlc_status cpu_event_wait(DeviceEvent *event, DeviceQueue *queue);
dlc_status cpu_event_finish(DeviceEvent *event);
void cpu_event_destroy(DeviceEvent *event);

#endif
