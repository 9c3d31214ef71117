/* Points in the stream whose times are wanted, for traces. The first of a run is waited for, so
 * that the device's clock can be put on the host's. */
#include "runtime/cuda/internal.h"

static dlc_status marks_grow(CudaQueue *queue, int32_t n) {
    CudaDevice *device = cuda_device_of(queue);
    const dlc_allocator *allocator = &device->base.allocator;
    if (n > queue->marks_capacity) {
        int32_t more = 2 * n + 62;
        CudaEvent *grown = memory_new(allocator, (size_t)more, sizeof(*grown));
        if (!grown) {
            return cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
        }
        for (int32_t i = 0; i < queue->n_marks; i++) {
            grown[i] = queue->marks[i];
        }
        memory_free(allocator, queue->marks);
        queue->marks = grown;
        queue->marks_capacity = more;
    }
    while (queue->n_marks < n) {
        dlc_status status = cuda_check(
            device, device->driver.event_create(&queue->marks[queue->n_marks], 0), "cuEventCreate");
        if (status != DLC_OK) {
            return status;
        }
        queue->n_marks++;
    }
    return DLC_OK;
}

static dlc_status mark(CudaQueue *queue, int32_t number) {
    CudaDevice *device = cuda_device_of(queue);
    const CudaDriver *driver = &device->driver;
    dlc_status status = marks_grow(queue, number + 1);
    if (status == DLC_OK && number == 0) {
        status = cuda_check(device, driver->stream_wait(queue->stream), "cuStreamSynchronize");
    }
    if (status == DLC_OK) {
        status = cuda_check(device, driver->event_record(queue->marks[number], queue->stream),
                            "cuEventRecord");
    }
    if (status == DLC_OK && number == 0) {
        status = cuda_check(device, driver->event_wait(queue->marks[0]), "cuEventSynchronize");
        queue->marked_at = clock_seconds();
    }
    return status;
}

dlc_status cuda_mark(DeviceQueue *base, int32_t number) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status = cuda_enter(device);
    return status == DLC_OK ? cuda_leave(device, mark(queue, number)) : status;
}

dlc_status cuda_mark_seconds(DeviceQueue *base, int32_t number, double *out) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    const CudaDriver *driver = &device->driver;
    float milliseconds = 0;
    dlc_status status = cuda_enter(device);
    if (status != DLC_OK) {
        return status;
    }
    status = cuda_check(device, driver->event_wait(queue->marks[number]), "cuEventSynchronize");
    if (status == DLC_OK) {
        status = cuda_check(
            device, driver->event_elapsed(&milliseconds, queue->marks[0], queue->marks[number]),
            "cuEventElapsedTime");
    }
    *out = queue->marked_at + 1e-3 * (double)milliseconds;
    return cuda_leave(device, status);
}

void cuda_marks_close(CudaQueue *queue) {
    const CudaDevice *device = cuda_device_of(queue);
    for (int32_t i = 0; i < queue->n_marks; i++) {
        device->driver.event_destroy(queue->marks[i]);
    }
    memory_free(&device->base.allocator, queue->marks);
    queue->marks = NULL;
    queue->n_marks = queue->marks_capacity = 0;
}
