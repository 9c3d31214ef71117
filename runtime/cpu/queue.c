/* See queue.h: what queues are given, and events. */
#include "runtime/cpu/queue.h"

#include "runtime/cpu/lane.h"

#include <stdio.h>

typedef struct CpuEvent {
    DeviceEvent base;
    CpuPoint *point; /* NULL: nothing to wait for */
} CpuEvent;

/* -- Queues -- */

dlc_status cpu_queue_create(Device *device, int threads, bool background, CpuQueue **out) {
    const dlc_allocator *allocator = &device->allocator;
    CpuQueue *queue = memory_new(allocator, 1, sizeof(*queue));
    if (!queue) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    queue->base.device = device;
    CpuWorkers *workers = &queue->workers;
    workers->threads = threads;
    workers->scratch = memory_new(allocator, (size_t)threads, sizeof(uint8_t *));
    workers->faults = memory_new(allocator, (size_t)threads, sizeof(KernelFault));
    dlc_status status = workers->scratch && workers->faults ? DLC_OK : DLC_ERROR_OUT_OF_MEMORY;
    if (status == DLC_OK && threads > 1) {
        status = cpu_pool_create(allocator, &workers->threads, &workers->pool);
    }
    if (status == DLC_OK && background) {
        status = cpu_lane_create(queue, &queue->lane);
    }
    if (status != DLC_OK) {
        cpu_queue_destroy(queue);
        return status;
    }
    *out = queue;
    return DLC_OK;
}

void cpu_queue_destroy(CpuQueue *queue) {
    if (!queue) {
        return;
    }
    const dlc_allocator *allocator = &queue->base.device->allocator;
    cpu_lane_destroy(queue->lane);
    cpu_pool_destroy(queue->workers.pool);
    for (int t = 0; queue->workers.scratch && t < queue->workers.threads; t++) {
        memory_free_aligned(allocator, queue->workers.scratch[t]);
    }
    memory_free(allocator, queue->workers.scratch);
    memory_free(allocator, queue->workers.faults);
    memory_free(allocator, queue);
}

int64_t cpu_queue_bytes(const CpuQueue *queue) {
    int64_t each = (int64_t)(sizeof(uint8_t *) + sizeof(KernelFault)) + queue->scratch_bytes;
    return (int64_t)sizeof(*queue) + each * queue->workers.threads +
           (queue->workers.pool ? cpu_pool_bytes(queue->workers.pool) : 0);
}

void cpu_queue_wait(const CpuQueue *queue) {
    if (queue->lane) {
        cpu_lane_wait(queue->lane);
    }
}

dlc_status cpu_queue_add(Device *device, bool background, DeviceQueue **out) {
    CpuQueue *queue;
    dlc_status status = cpu_queue_create(device, 1, background, &queue);
    if (status != DLC_OK) {
        snprintf(device->error, sizeof(device->error), "cannot make a queue: %s",
                 dlc_status_text(status));
        return status;
    }
    CpuDevice *cpu = (CpuDevice *)device;
    queue->next = cpu->queues;
    cpu->queues = queue;
    *out = &queue->base;
    return DLC_OK;
}

void cpu_queue_end(DeviceQueue *queue) {
    if (!queue) {
        return;
    }
    CpuQueue **at = &((CpuDevice *)queue->device)->queues;
    while (*at != (CpuQueue *)queue) {
        at = &(*at)->next;
    }
    *at = (*at)->next;
    cpu_queue_destroy((CpuQueue *)queue);
}

void cpu_queues_wait(Device *device) {
    for (const CpuQueue *queue = ((CpuDevice *)device)->queues; queue; queue = queue->next) {
        cpu_queue_wait(queue);
    }
}

dlc_status cpu_reserve(DeviceQueue *base, int64_t bytes) {
    CpuQueue *queue = (CpuQueue *)base;
    CpuWorkers *workers = &queue->workers;
    const dlc_allocator *allocator = &base->device->allocator;
    if (bytes <= queue->scratch_bytes && workers->scratch[workers->threads - 1]) {
        return DLC_OK;
    }
    cpu_queue_wait(queue);
    for (int t = 0; t < workers->threads; t++) {
        void *scratch = memory_new_aligned(allocator, (size_t)bytes + 64);
        if (!scratch) {
            return DLC_ERROR_OUT_OF_MEMORY;
        }
        memory_free_aligned(allocator, workers->scratch[t]);
        workers->scratch[t] = scratch;
    }
    queue->scratch_bytes = bytes;
    return DLC_OK;
}

/* -- Work -- */

static dlc_status give(DeviceQueue *base, const CpuTask *task) {
    CpuQueue *queue = (CpuQueue *)base;
    if (!queue->lane) {
        cpu_task_run(queue, task);
        return DLC_OK;
    }
    return cpu_lane_give(queue->lane, task);
}

dlc_status cpu_move(DeviceQueue *base, void *to, const void *from, size_t bytes) {
    cpu_queue_wait((CpuQueue *)base);
    memmove(to, from, bytes);
    return DLC_OK;
}

dlc_status cpu_copy(DeviceQueue *queue, void *to, const void *from, size_t bytes,
                    const uint8_t *if_set) {
    CpuTask task = {
        .kind = CPU_TASK_COPY, .to = to, .from = from, .if_set = if_set, .bytes = bytes};
    return give(queue, &task);
}

dlc_status cpu_fill(DeviceQueue *queue, void *to, int byte, size_t bytes) {
    CpuTask task = {.kind = CPU_TASK_FILL, .to = to, .value = byte, .bytes = bytes};
    return give(queue, &task);
}

dlc_status cpu_set_i32(DeviceQueue *queue, int32_t *to, int32_t value) {
    CpuTask task = {.kind = CPU_TASK_SET, .to = to, .value = value};
    return give(queue, &task);
}

dlc_status cpu_gate(DeviceQueue *queue, uint8_t *word, const uint8_t *if_set) {
    CpuTask task = {.kind = CPU_TASK_GATE, .to = word, .if_set = if_set};
    return give(queue, &task);
}

dlc_status cpu_fetch(DeviceQueue *queue, void *to, const void *from, size_t bytes) {
    return cpu_copy(queue, to, from, bytes, NULL);
}

dlc_status cpu_fault_fetch(DeviceQueue *queue, KernelFault *to) {
    CpuTask task = {.kind = CPU_TASK_FAULT, .to = to};
    return give(queue, &task);
}

dlc_status cpu_copy_across(DeviceQueue *to_queue, void *to, DeviceQueue *from_queue,
                           const void *from, size_t bytes) {
    cpu_queue_wait((CpuQueue *)from_queue);
    return cpu_move(to_queue, to, from, bytes);
}

static KernelFunction kernel_function(const DeviceModule *module, int64_t entry) {
    KernelFunction function;
    void *address = module->code + entry;
    memcpy(&function, &address, sizeof(function));
    return function;
}

dlc_status cpu_launch(DeviceQueue *queue, DeviceModule *module, const DeviceLaunch *launch) {
    if (launch->tiles <= 0) {
        return DLC_OK;
    }
    CpuTask task = {.kind = CPU_TASK_LAUNCH,
                    .function = kernel_function(module, launch->entry),
                    .launch = *launch};
    return give(queue, &task);
}

dlc_status cpu_finish(DeviceQueue *base, KernelFault *fault) {
    CpuQueue *queue = (CpuQueue *)base;
    cpu_queue_wait(queue);
    *fault = queue->fault;
    queue->fault = (KernelFault){0};
    return DLC_OK;
}

/* -- Events -- */

dlc_status cpu_event_create(Device *device, DeviceEvent **out) {
    CpuEvent *event = memory_new(&device->allocator, 1, sizeof(*event));
    if (!event) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    event->base.device = device;
    *out = &event->base;
    return DLC_OK;
}

dlc_status cpu_event_record(DeviceEvent *base, DeviceQueue *queue) {
    CpuEvent *event = (CpuEvent *)base;
    if (!((CpuQueue *)queue)->lane) { /* all is done: there is nothing to wait for */
        cpu_point_release(event->point);
        event->point = NULL;
        return DLC_OK;
    }
    if (event->point && cpu_point_is_own(event->point)) {
        cpu_point_renew(event->point);
    } else { /* what was recorded before is still waited for */
        CpuPoint *point;
        dlc_status status = cpu_point_create(&base->device->allocator, &point);
        if (status != DLC_OK) {
            return status;
        }
        cpu_point_release(event->point);
        event->point = point;
    }
    CpuTask task = {.kind = CPU_TASK_REACH, .point = event->point};
    (void)cpu_point_hold(event->point);
    return give(queue, &task);
}

dlc_status cpu_event_wait(DeviceEvent *base, DeviceQueue *queue) {
    CpuEvent *event = (CpuEvent *)base;
    if (!event->point) {
        return DLC_OK;
    }
    CpuTask task = {.kind = CPU_TASK_WAIT, .point = event->point};
    if (((CpuQueue *)queue)->lane) {
        (void)cpu_point_hold(event->point);
    }
    return give(queue, &task);
}

dlc_status cpu_event_finish(DeviceEvent *base) {
    CpuEvent *event = (CpuEvent *)base;
    if (event->point) {
        cpu_point_wait(event->point);
    }
    return DLC_OK;
}

void cpu_event_destroy(DeviceEvent *base) {
    CpuEvent *event = (CpuEvent *)base;
    if (event) {
        cpu_point_release(event->point);
        memory_free(&base->device->allocator, event);
    }
}
