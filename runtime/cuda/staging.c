/* Bytes between the host and the CUDA device, through pinned memory of the queue that moves them.
 */
#include "runtime/cuda/internal.h"

#define STAGING_BYTES ((size_t)(CUDA_SLOTS + CUDA_HALVES) * CUDA_SLOT_BYTES + 64)

static uint8_t *slot_memory(const CudaQueue *queue, int slot) {
    return queue->staging.memory + (size_t)slot * CUDA_SLOT_BYTES;
}

KernelFault *cuda_fault_copy(const CudaQueue *queue) {
    return (KernelFault *)(void *)slot_memory(queue, CUDA_SLOTS + CUDA_HALVES);
}

dlc_status cuda_staging_open(CudaQueue *queue) {
    CudaDevice *device = cuda_device_of(queue);
    const CudaDriver *driver = &device->driver;
    CudaStaging *staging = &queue->staging;
    void *memory = NULL;
    dlc_status status =
        cuda_check(device, driver->host_alloc(&memory, STAGING_BYTES, 0), "cuMemHostAlloc");
    if (status != DLC_OK) {
        return status;
    }
    staging->memory = memory;
    for (int i = 0; i < CUDA_SLOTS && status == DLC_OK; i++) {
        status =
            cuda_check(device, driver->event_create(&staging->written[i], CUDA_EVENT_NO_TIMING),
                       "cuEventCreate");
    }
    for (int i = 0; i < CUDA_HALVES && status == DLC_OK; i++) {
        status = cuda_check(device, driver->event_create(&staging->read[i], CUDA_EVENT_NO_TIMING),
                            "cuEventCreate");
    }
    return status;
}

void cuda_staging_close(CudaQueue *queue) {
    const CudaDriver *driver = &cuda_device_of(queue)->driver;
    CudaStaging *staging = &queue->staging;
    for (int i = 0; i < CUDA_SLOTS; i++) {
        if (staging->written[i]) {
            driver->event_destroy(staging->written[i]);
        }
    }
    for (int i = 0; i < CUDA_HALVES; i++) {
        if (staging->read[i]) {
            driver->event_destroy(staging->read[i]);
        }
    }
    if (staging->memory) {
        driver->host_free(staging->memory);
    }
    *staging = (CudaStaging){0};
}

/* Closes the slot in use and makes the next one free. */
static dlc_status slot_next(CudaQueue *queue) {
    CudaDevice *device = cuda_device_of(queue);
    CudaStaging *staging = &queue->staging;
    dlc_status status = cuda_check(
        device, device->driver.event_record(staging->written[staging->slot], queue->stream),
        "cuEventRecord");
    if (status != DLC_OK) {
        return status;
    }
    staging->pending[staging->slot] = true;
    staging->slot = (staging->slot + 1) % CUDA_SLOTS;
    staging->used = 0;
    if (staging->pending[staging->slot]) {
        status = cuda_check(device, device->driver.event_wait(staging->written[staging->slot]),
                            "cuEventSynchronize");
        if (status == DLC_OK) {
            staging->pending[staging->slot] = false;
        } else {
            staging->used = CUDA_SLOT_BYTES; /* not free: the next write tries again */
        }
    }
    return status;
}

static dlc_status write_bytes(CudaQueue *queue, CudaAddress to, const uint8_t *from, size_t bytes) {
    CudaDevice *device = cuda_device_of(queue);
    CudaStaging *staging = &queue->staging;
    while (bytes > 0) {
        size_t room = CUDA_SLOT_BYTES - staging->used;
        if (room == 0 || (bytes > room && bytes <= CUDA_SLOT_BYTES)) {
            dlc_status status = slot_next(queue);
            if (status != DLC_OK) {
                return status;
            }
            room = CUDA_SLOT_BYTES;
        }
        size_t n = bytes < room ? bytes : room;
        uint8_t *stage = slot_memory(queue, staging->slot) + staging->used;
        memcpy(stage, from, n);
        dlc_status status =
            cuda_check(device, device->driver.copy_to_device(to, stage, n, queue->stream),
                       "cuMemcpyHtoDAsync");
        if (status != DLC_OK) {
            return status;
        }
        staging->used += (n + 63) & ~(size_t)63;
        to += n;
        from += n;
        bytes -= n;
    }
    return DLC_OK;
}

static dlc_status not_recorded(CudaDevice *device, const char *what) {
    return cuda_fail(device, DLC_ERROR_INTERNAL, "%s cannot be recorded", what);
}

dlc_status cuda_write(DeviceQueue *base, void *to, const void *from, size_t bytes) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    if (device->recording) {
        return not_recorded(device, "a write from the host");
    }
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        status = cuda_leave(device, write_bytes(queue, (CudaAddress)(uintptr_t)to, from, bytes));
    }
    return status;
}

/* Queues the copy of one piece into a half of the staging. */
static dlc_status read_begin(CudaQueue *queue, int half, CudaAddress from, size_t bytes) {
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status =
        cuda_check(device,
                   device->driver.copy_to_host(slot_memory(queue, CUDA_SLOTS + half), from, bytes,
                                               queue->stream),
                   "cuMemcpyDtoHAsync");
    if (status == DLC_OK) {
        status = cuda_check(device,
                            device->driver.event_record(queue->staging.read[half], queue->stream),
                            "cuEventRecord");
    }
    return status;
}

static size_t piece_bytes(size_t at, size_t bytes) {
    return bytes - at < CUDA_SLOT_BYTES ? bytes - at : CUDA_SLOT_BYTES;
}

/* One piece is copied out while the next one is on its way. */
static dlc_status read_bytes(CudaQueue *queue, uint8_t *to, CudaAddress from, size_t bytes) {
    CudaDevice *device = cuda_device_of(queue);
    int half = 0;
    dlc_status status = DLC_OK;
    if (bytes > 0) {
        status = read_begin(queue, half, from, piece_bytes(0, bytes));
    }
    for (size_t at = 0; at < bytes && status == DLC_OK; half = !half) {
        size_t n = piece_bytes(at, bytes);
        if (at + n < bytes) {
            status = read_begin(queue, !half, from + at + n, piece_bytes(at + n, bytes));
        }
        if (status == DLC_OK) {
            status = cuda_check(device, device->driver.event_wait(queue->staging.read[half]),
                                "cuEventSynchronize");
        }
        if (status == DLC_OK) {
            memcpy(to + at, slot_memory(queue, CUDA_SLOTS + half), n);
        }
        at += n;
    }
    return status;
}

dlc_status cuda_read(DeviceQueue *base, void *to, const void *from, size_t bytes) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    if (device->recording) {
        return not_recorded(device, "a read by the host");
    }
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        status = cuda_leave(device, read_bytes(queue, to, (CudaAddress)(uintptr_t)from, bytes));
    }
    return status;
}

static dlc_status fetch(CudaQueue *queue, void *to, CudaAddress from, size_t bytes) {
    CudaDevice *device = cuda_device_of(queue);
    if (device->recording) {
        return not_recorded(device, "a read by the host");
    }
    dlc_status status = bytes > 0 ? cuda_enter(device) : DLC_OK;
    if (status != DLC_OK || bytes == 0) {
        return status;
    }
    status = cuda_check(device, device->driver.copy_to_host(to, from, bytes, queue->stream),
                        "cuMemcpyDtoHAsync");
    return cuda_leave(device, status);
}

dlc_status cuda_fetch(DeviceQueue *base, void *to, const void *from, size_t bytes) {
    return fetch((CudaQueue *)base, to, (CudaAddress)(uintptr_t)from, bytes);
}

dlc_status cuda_fault_fetch(DeviceQueue *base, KernelFault *to) {
    CudaQueue *queue = (CudaQueue *)base;
    return fetch(queue, to, queue->fault, sizeof(*to));
}

void *cuda_host_alloc(Device *base, size_t bytes) {
    CudaDevice *device = (CudaDevice *)base;
    void *memory = NULL;
    base->alloc_status = DLC_OK;
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        status = cuda_check(device, device->driver.host_alloc(&memory, bytes ? bytes : 1, 0),
                            "cuMemHostAlloc");
        status = cuda_leave(device, status);
    }
    base->alloc_status = status == DLC_ERROR_OUT_OF_MEMORY ? DLC_OK : status;
    if (status != DLC_OK && memory) { /* it could not leave */
        cuda_host_free(base, memory);
        memory = NULL;
    }
    return memory;
}

void cuda_host_free(Device *base, void *memory) {
    CudaDevice *device = (CudaDevice *)base;
    if (memory && cuda_enter_to_free(device)) {
        device->driver.host_free(memory);
        cuda_leave_freed(device);
    }
}

dlc_status cuda_send(DeviceQueue *base, void *to, const void *from, size_t bytes) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    if (device->recording) {
        return not_recorded(device, "a write from the host");
    }
    if (bytes == 0) {
        return DLC_OK;
    }
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        status = cuda_check(
            device,
            device->driver.copy_to_device((CudaAddress)(uintptr_t)to, from, bytes, queue->stream),
            "cuMemcpyHtoDAsync");
        status = cuda_leave(device, status);
    }
    return status;
}
