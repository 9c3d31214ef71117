/* The rules of calling the driver: every result checked, the context current only meanwhile, a
 * device that is lost left alone. See internal.h. */
#include "runtime/cuda/internal.h"

#include <stdarg.h>
#include <stdio.h>

dlc_status cuda_fail(CudaDevice *device, dlc_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(device->base.error, sizeof(device->base.error), format, args);
    va_end(args);
    return status;
}

/* Whether the context cannot be used any more after this error. */
static bool ends_context(CudaResult result) {
    switch (result) {
    case CUDA_DEINITIALIZED:
    case CUDA_ECC_UNCORRECTABLE:
    case CUDA_NVLINK_UNCORRECTABLE:
    case CUDA_CONTAINED:
    case CUDA_ILLEGAL_ADDRESS:
    case CUDA_LAUNCH_TIMEOUT:
    case CUDA_CONTEXT_IS_DESTROYED:
    case CUDA_ASSERT:
        return true;
    default:
        return result >= CUDA_HARDWARE_STACK_ERROR && result <= CUDA_LAUNCH_FAILED;
    }
}

dlc_status cuda_check(CudaDevice *device, CudaResult result, const char *call) {
    if (result == CUDA_SUCCESS) {
        return DLC_OK;
    }
    char text[256];
    cuda_error_text(&device->driver, result, text, sizeof(text));
    if (!ends_context(result)) {
        return cuda_fail(device, cuda_status(result), "%s on %s: %s", call, device->name, text);
    }
    if (!device->lost) {
        device->lost = true;
        snprintf(device->lost_text, sizeof(device->lost_text),
                 "%s on %s: %s; the work queued before this call failed, and the GPU can no longer "
                 "be used by this session",
                 call, device->name, text);
    }
    return cuda_fail(device, DLC_ERROR_INTERNAL, "%s", device->lost_text);
}

dlc_status cuda_enter(CudaDevice *device) {
    if (device->lost) {
        return cuda_fail(device, DLC_ERROR_INTERNAL, "%s", device->lost_text);
    }
    return cuda_check(device, device->driver.context_push(device->context), "cuCtxPushCurrent");
}

dlc_status cuda_leave(CudaDevice *device, dlc_status status) {
    CudaContext popped;
    CudaResult result = device->driver.context_pop(&popped);
    return status != DLC_OK ? status : cuda_check(device, result, "cuCtxPopCurrent");
}

bool cuda_enter_to_free(CudaDevice *device) {
    const CudaDriver *driver = &device->driver;
    return !device->lost && (driver->context_push(device->context) == CUDA_SUCCESS ||
                             driver->context_push(device->context) == CUDA_SUCCESS);
}

void cuda_leave_freed(CudaDevice *device) {
    CudaContext popped;
    if (device->driver.context_pop(&popped) != CUDA_SUCCESS) {
        device->driver.context_pop(&popped);
    }
}

void cuda_queues_wait(CudaDevice *device) {
    for (const CudaQueue *queue = device->queues; queue; queue = queue->next) {
        device->driver.stream_wait(queue->stream);
    }
}
