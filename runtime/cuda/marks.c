/* Points in the stream whose times are wanted, for traces. The first of a run is waited for, so
 * that the device's clock can be put on the host's. */
#include "runtime/cuda/internal.h"

static dlc_status marks_grow(CudaDevice *device, int32_t n) {
    const dlc_allocator *allocator = &device->base.allocator;
    if (n > device->marks_capacity) {
        int32_t more = 2 * n + 62;
        CudaEvent *grown = memory_new(allocator, (size_t)more, sizeof(*grown));
        if (!grown) {
            return cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
        }
        for (int32_t i = 0; i < device->n_marks; i++) {
            grown[i] = device->marks[i];
        }
        memory_free(allocator, device->marks);
        device->marks = grown;
        device->marks_capacity = more;
    }
    while (device->n_marks < n) {
        dlc_status status =
            cuda_check(device, device->driver.event_create(&device->marks[device->n_marks], 0),
                       "cuEventCreate");
        if (status != DLC_OK) {
            return status;
        }
        device->n_marks++;
    }
    return DLC_OK;
}

static dlc_status mark(CudaDevice *device, int32_t number) {
    const CudaDriver *driver = &device->driver;
    dlc_status status = marks_grow(device, number + 1);
    if (status == DLC_OK && number == 0) {
        status = cuda_check(device, driver->stream_wait(device->stream), "cuStreamSynchronize");
    }
    if (status == DLC_OK) {
        status = cuda_check(device, driver->event_record(device->marks[number], device->stream),
                            "cuEventRecord");
    }
    if (status == DLC_OK && number == 0) {
        status = cuda_check(device, driver->event_wait(device->marks[0]), "cuEventSynchronize");
        device->marked_at = clock_seconds();
    }
    return status;
}

dlc_status cuda_mark(Device *base, int32_t number) {
    CudaDevice *device = (CudaDevice *)base;
    dlc_status status = cuda_enter(device);
    return status == DLC_OK ? cuda_leave(device, mark(device, number)) : status;
}

dlc_status cuda_mark_seconds(Device *base, int32_t number, double *out) {
    CudaDevice *device = (CudaDevice *)base;
    const CudaDriver *driver = &device->driver;
    float milliseconds = 0;
    dlc_status status = cuda_enter(device);
    if (status != DLC_OK) {
        return status;
    }
    status = cuda_check(device, driver->event_wait(device->marks[number]), "cuEventSynchronize");
    if (status == DLC_OK) {
        status = cuda_check(
            device, driver->event_elapsed(&milliseconds, device->marks[0], device->marks[number]),
            "cuEventElapsedTime");
    }
    *out = device->marked_at + 1e-3 * (double)milliseconds;
    return cuda_leave(device, status);
}

void cuda_marks_close(CudaDevice *device) {
    for (int32_t i = 0; i < device->n_marks; i++) {
        device->driver.event_destroy(device->marks[i]);
    }
    memory_free(&device->base.allocator, device->marks);
    device->marks = NULL;
    device->n_marks = device->marks_capacity = 0;
}
