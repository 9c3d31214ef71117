/* Calls of vendor libraries: which library serves which kind. See call.h. */
#include "runtime/cuda/call.h"

#include "runtime/plan.h"

#include <stdio.h>

static const CudaLibrary *const libraries[PLAN_N_LIBRARY_KINDS] = {
    [PLAN_LIBRARY_MATMUL] = &cuda_cublaslt,
    [PLAN_LIBRARY_CONV] = &cuda_cudnn,
    [PLAN_LIBRARY_CONV_INPUT_GRAD] = &cuda_cudnn,
    [PLAN_LIBRARY_CONV_FILTER_GRAD] = &cuda_cudnn,
};

dlc_status cuda_call_prepare(DeviceQueue *base, const DeviceCall *call, DeviceCallPlan **out) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    *out = NULL;
    if (call->kind < 0 || call->kind >= PLAN_N_LIBRARY_KINDS || !libraries[call->kind]) {
        return cuda_fail(device, DLC_ERROR_UNSUPPORTED, "no library is asked for this");
    }
    if (device->recording) {
        return cuda_fail(device, DLC_ERROR_INTERNAL, "asking a library cannot be recorded");
    }
    dlc_status status = cuda_enter(device);
    if (status != DLC_OK) {
        return status;
    }
    const CudaLibrary *library = libraries[call->kind];
    status = cuda_leave(device, library->prepare(queue, call, out));
    if (status != DLC_OK && *out) {
        cuda_call_free(&device->base, *out);
        *out = NULL;
    }
    return status;
}

dlc_status cuda_call(DeviceQueue *base, DeviceCallPlan *plan, void *const *buffers) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status = cuda_enter(device);
    if (status == DLC_OK) {
        status = cuda_leave(device, plan->library->run(queue, plan, buffers));
    }
    return status;
}

void cuda_call_free(Device *base, DeviceCallPlan *plan) {
    CudaDevice *device = (CudaDevice *)base;
    if (!plan) {
        return;
    }
    /* A lost context cannot be entered; what the plan holds on the host is freed all the same. */
    bool entered = cuda_enter_to_free(device);
    if (entered) {
        cuda_queues_wait(device);
    }
    plan->library->free(device, plan);
    if (entered) {
        cuda_leave_freed(device);
    }
}

void cuda_call_describe(Device *base, const DeviceCallPlan *plan, char *out, size_t n_out) {
    plan->library->describe((const CudaDevice *)base, plan, out, n_out);
}

void cuda_calls_close(CudaDevice *device) {
    const CudaLibrary *closed = NULL;
    for (int kind = 0; kind < PLAN_N_LIBRARY_KINDS; kind++) {
        if (libraries[kind] && libraries[kind] != closed) {
            libraries[kind]->close(device);
            closed = libraries[kind];
        }
    }
}
