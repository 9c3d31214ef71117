/* How vendor libraries serve the device: each is a CudaLibrary, chosen by the kind of call. */
#ifndef DLC_RUNTIME_CUDA_CALL_H
#define DLC_RUNTIME_CUDA_CALL_H

#include "runtime/cuda/internal.h"

/* All but describe are called inside enter and leave; close also where the context is lost. */
typedef struct CudaLibrary {
    /* DLC_ERROR_UNSUPPORTED, reason in device.error: the kernel must do it. */
    dlc_status (*prepare)(CudaQueue *queue, const DeviceCall *call, DeviceCallPlan **out);
    /* On the queue that it was prepared for. */
    dlc_status (*run)(CudaQueue *queue, DeviceCallPlan *plan, void *const *buffers);
    void (*free)(CudaDevice *device, DeviceCallPlan *plan);
    void (*describe)(const CudaDevice *device, const DeviceCallPlan *plan, char *out, size_t n_out);
    /* Gives back what `prepare` opened; nothing was opened: does nothing. */
    void (*close)(CudaDevice *device);
} CudaLibrary;

/* Each library's own plan begins with this. */
struct DeviceCallPlan {
    const CudaLibrary *library;
};

extern const CudaLibrary cuda_cudnn;    /* cudnn_call.c */
extern const CudaLibrary cuda_cublaslt; /* cublaslt.c */

dlc_status cuda_call_prepare(DeviceQueue *base, const DeviceCall *call, DeviceCallPlan **out);
dlc_status cuda_call(DeviceQueue *base, DeviceCallPlan *plan, void *const *buffers);
void cuda_call_free(Device *base, DeviceCallPlan *plan);
void cuda_call_describe(Device *base, const DeviceCallPlan *plan, char *out, size_t n_out);
void cuda_calls_close(CudaDevice *device); /* all libraries; inside enter, or with none current */

#endif
