/* Queues of the CUDA device: streams with what their work has of its own, events, waiting, copies
 * from one GPU to another. */
#include "runtime/cuda/internal.h"

typedef struct CudaDeviceEvent {
    DeviceEvent base;
    CudaEvent event;
    bool is_recorded;
    int64_t recording; /* within which, by number; 0: outside */
} CudaDeviceEvent;

/* -- Queues -- */

/* Frees what it has; the device does not list it, or no more. */
static void queue_free(CudaQueue *queue) {
    CudaDevice *device = cuda_device_of(queue);
    const CudaDriver *driver = &device->driver;
    const CudaAddress memory[] = {queue->scratch, queue->workspace, queue->fault};
    cuda_marks_close(queue);
    for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++) {
        if (memory[i]) {
            driver->memory_free(memory[i]);
        }
    }
    cuda_staging_close(queue);
    if (queue->handed) {
        driver->event_destroy(queue->handed);
    }
    if (queue->stream) {
        driver->stream_destroy(queue->stream);
    }
    memory_free(&device->base.allocator, queue);
}

dlc_status cuda_queue_open(CudaDevice *device, CudaQueue **out) {
    const CudaDriver *driver = &device->driver;
    CudaQueue *queue = memory_new(&device->base.allocator, 1, sizeof(*queue));
    if (!queue) {
        return cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    }
    queue->base.device = &device->base;
    dlc_status status = cuda_check(
        device, driver->stream_create(&queue->stream, CUDA_STREAM_NON_BLOCKING), "cuStreamCreate");
    if (status == DLC_OK) {
        status = cuda_staging_open(queue);
    }
    if (status == DLC_OK) {
        status = cuda_check(device, driver->event_create(&queue->handed, CUDA_EVENT_NO_TIMING),
                            "cuEventCreate");
    }
    if (status == DLC_OK) {
        status = cuda_memory_take(device, "the fault word", sizeof(KernelFault), &queue->fault);
    }
    if (status == DLC_OK) {
        status = cuda_check(device,
                            driver->set_bytes(queue->fault, 0, sizeof(KernelFault), queue->stream),
                            "cuMemsetD8Async");
    }
    if (status != DLC_OK) {
        if (queue->stream) {
            driver->stream_wait(queue->stream);
        }
        queue_free(queue);
        return status;
    }
    queue->next = device->queues;
    device->queues = queue;
    *out = queue;
    return DLC_OK;
}

void cuda_queues_close(CudaDevice *device) {
    while (device->queues) {
        CudaQueue *queue = device->queues;
        device->queues = queue->next;
        queue_free(queue);
    }
}

dlc_status cuda_queue_create(Device *base, bool background, DeviceQueue **out) {
    CudaDevice *device = (CudaDevice *)base;
    CudaQueue *queue = NULL;
    (void)background; /* a stream needs no thread */
    if (device->recording) {
        return cuda_fail(device, DLC_ERROR_INTERNAL, "making a queue cannot be recorded");
    }
    dlc_status status = cuda_enter(device);
    if (status != DLC_OK) {
        return status;
    }
    status = cuda_leave(device, cuda_queue_open(device, &queue));
    if (status != DLC_OK && queue) { /* it could not leave */
        cuda_queue_destroy(&queue->base);
        return status;
    }
    if (status == DLC_OK) {
        *out = &queue->base;
    }
    return status;
}

void cuda_queue_destroy(DeviceQueue *base) {
    CudaQueue *queue = (CudaQueue *)base;
    if (!queue) {
        return;
    }
    CudaDevice *device = cuda_device_of(queue);
    bool entered = cuda_enter_to_free(device);
    if (!entered && !device->lost) {
        return; /* kept in the list: closing frees it */
    }
    CudaQueue **at = &device->queues;
    while (*at != queue) {
        at = &(*at)->next;
    }
    *at = queue->next;
    if (device->cudnn_queue == queue) {
        device->cudnn_queue = NULL;
    }
    device->driver.stream_wait(queue->stream);
    queue_free(queue);
    if (entered) {
        cuda_leave_freed(device);
    }
}

static dlc_status finish(CudaQueue *queue, KernelFault *fault) {
    CudaDevice *device = cuda_device_of(queue);
    const CudaDriver *driver = &device->driver;
    KernelFault *copy = cuda_fault_copy(queue);
    dlc_status status =
        cuda_check(device, driver->copy_to_host(copy, queue->fault, sizeof(*copy), queue->stream),
                   "cuMemcpyDtoHAsync");
    if (status == DLC_OK) {
        status = cuda_check(device, driver->stream_wait(queue->stream), "cuStreamSynchronize");
    }
    if (status != DLC_OK) {
        return status;
    }
    *fault = *copy;
    if (fault->site != 0) {
        status =
            cuda_check(device, driver->set_bytes(queue->fault, 0, sizeof(*copy), queue->stream),
                       "cuMemsetD8Async");
    }
    return status;
}

dlc_status cuda_finish(DeviceQueue *base, KernelFault *fault) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    *fault = (KernelFault){0};
    if (device->recording) {
        return cuda_fail(device, DLC_ERROR_INTERNAL, "waiting cannot be recorded");
    }
    dlc_status status = cuda_enter(device);
    return status == DLC_OK ? cuda_leave(device, finish(queue, fault)) : status;
}

/* -- Events -- */

dlc_status cuda_event_create(Device *base, DeviceEvent **out) {
    CudaDevice *device = (CudaDevice *)base;
    CudaDeviceEvent *event = memory_new(&base->allocator, 1, sizeof(*event));
    if (!event) {
        return cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    }
    event->base.device = base;
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        status =
            cuda_check(device, device->driver.event_create(&event->event, CUDA_EVENT_NO_TIMING),
                       "cuEventCreate");
        if (status != DLC_OK) {
            event->event = NULL;
        }
        status = cuda_leave(device, status);
    }
    if (status != DLC_OK) {
        cuda_event_destroy(&event->base);
        return status;
    }
    *out = &event->base;
    return DLC_OK;
}

dlc_status cuda_event_record(DeviceEvent *base, DeviceQueue *queue_base) {
    CudaDeviceEvent *event = (CudaDeviceEvent *)base;
    CudaQueue *queue = (CudaQueue *)queue_base;
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        status = cuda_check(device, device->driver.event_record(event->event, queue->stream),
                            "cuEventRecord");
        if (status == DLC_OK) {
            event->is_recorded = true;
            event->recording = cuda_is_recorded(queue) ? queue->recording : 0;
        }
        status = cuda_leave(device, status);
    }
    return status;
}

/* Where a recording begins and ends, no event leads across. */
static dlc_status crossing_check(const CudaDeviceEvent *event, const CudaQueue *queue) {
    CudaDevice *device = cuda_device_of(queue);
    const CudaDevice *other = (const CudaDevice *)event->base.device;
    if (event->recording == 0) {
        return !cuda_is_recorded(queue)
                   ? DLC_OK
                   : cuda_fail(device, DLC_ERROR_INTERNAL,
                               "a queue that is being recorded cannot wait for an event from "
                               "before the recording: wait for it before recording begins");
    }
    if (!other->recording || event->recording != other->n_recordings) {
        return cuda_fail(device, DLC_ERROR_INTERNAL,
                         "an event stands for a point within a recording that has ended, and "
                         "cannot be waited for: record it again");
    }
    return other == device ? DLC_OK
                           : cuda_fail(device, DLC_ERROR_INTERNAL,
                                       "only queues of %s can join what it records", other->name);
}

dlc_status cuda_event_wait(DeviceEvent *base, DeviceQueue *queue_base) {
    const CudaDeviceEvent *event = (CudaDeviceEvent *)base;
    CudaQueue *queue = (CudaQueue *)queue_base;
    CudaDevice *device = cuda_device_of(queue);
    if (!event->is_recorded) {
        return DLC_OK;
    }
    dlc_status status = crossing_check(event, queue);
    if (status == DLC_OK) {
        status = cuda_enter(device);
    }
    if (status != DLC_OK) {
        return status;
    }
    status = cuda_check(device, device->driver.stream_wait_event(queue->stream, event->event, 0),
                        "cuStreamWaitEvent");
    if (status == DLC_OK && event->recording != 0) {
        queue->recording = event->recording;
    }
    return cuda_leave(device, status);
}

dlc_status cuda_event_finish(DeviceEvent *base) {
    const CudaDeviceEvent *event = (CudaDeviceEvent *)base;
    CudaDevice *device = (CudaDevice *)base->device;
    if (!event->is_recorded) {
        return DLC_OK;
    }
    if (device->recording || event->recording != 0) {
        return cuda_fail(device, DLC_ERROR_INTERNAL,
                         device->recording ? "waiting cannot be recorded"
                                           : "an event that was recorded within a recording "
                                             "cannot be waited for: record it again");
    }
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        status = cuda_check(device, device->driver.event_wait(event->event), "cuEventSynchronize");
        status = cuda_leave(device, status);
    }
    return status;
}

void cuda_event_destroy(DeviceEvent *base) {
    CudaDeviceEvent *event = (CudaDeviceEvent *)base;
    if (!event) {
        return;
    }
    CudaDevice *device = (CudaDevice *)base->device;
    if (event->event && cuda_enter_to_free(device)) {
        device->driver.event_destroy(event->event);
        cuda_leave_freed(device);
    }
    memory_free(&base->device->allocator, event);
}

/* -- Across devices -- */

/* The queue's `handed` stands for what it was given so far. */
static dlc_status hand_over(CudaQueue *queue) {
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status = cuda_enter(device);
    if (status != DLC_OK) {
        return status;
    }
    status = cuda_check(device, device->driver.event_record(queue->handed, queue->stream),
                        "cuEventRecord");
    return cuda_leave(device, status);
}

static dlc_status take_over(CudaQueue *queue, const CudaQueue *other) {
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status = cuda_enter(device);
    if (status != DLC_OK) {
        return status;
    }
    status = cuda_check(device, device->driver.stream_wait_event(queue->stream, other->handed, 0),
                        "cuStreamWaitEvent");
    return cuda_leave(device, status);
}

static dlc_status peer_copy(CudaQueue *queue, CudaAddress to, CudaDevice *other, CudaAddress from,
                            size_t bytes) {
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status = cuda_enter(device);
    if (status != DLC_OK) {
        return status;
    }
    status = cuda_check(
        device,
        device->driver.copy_peer(to, device->context, from, other->context, bytes, queue->stream),
        "cuMemcpyPeerAsync");
    return cuda_leave(device, status);
}

dlc_status cuda_copy_across(DeviceQueue *to_base, void *to, DeviceQueue *from_base,
                            const void *from, size_t bytes) {
    CudaQueue *to_queue = (CudaQueue *)to_base, *from_queue = (CudaQueue *)from_base;
    CudaDevice *device = cuda_device_of(to_queue), *other = cuda_device_of(from_queue);
    if (bytes == 0) {
        return DLC_OK;
    }
    if (device->recording || other->recording) {
        return cuda_fail(device, DLC_ERROR_INTERNAL, "copies across devices cannot be recorded");
    }
    dlc_status status = hand_over(from_queue);
    bool theirs = status != DLC_OK;
    if (status == DLC_OK) {
        status = take_over(to_queue, from_queue);
    }
    if (status == DLC_OK) {
        status = peer_copy(to_queue, (CudaAddress)(uintptr_t)to, other,
                           (CudaAddress)(uintptr_t)from, bytes);
    }
    if (status == DLC_OK) {
        status = hand_over(to_queue);
    }
    if (status == DLC_OK) {
        status = take_over(from_queue, to_queue);
        theirs = status != DLC_OK;
    }
    if (theirs && other != device) {
        memcpy(device->base.error, other->base.error, sizeof(device->base.error));
    }
    return status;
}
