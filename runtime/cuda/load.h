/* Ways of bringing code to the device: cubins and PTX by the driver, text by NVRTC. All are called
 * inside cuda_enter and cuda_leave. */
#ifndef DLC_RUNTIME_CUDA_LOAD_H
#define DLC_RUNTIME_CUDA_LOAD_H

#include "runtime/cuda/internal.h"

enum { CUDA_REASON_BYTES = 256 };

/* Loads a cubin or PTX. *out stays NULL, with the reason, when the driver refuses. */
dlc_status cuda_code_load(CudaDevice *device, const void *code, bool is_ptx, CudaModule *out,
                          char *reason);
/* Whether there is an NVRTC, opened by the first call; else the reason. */
bool cuda_nvrtc_ready(CudaDevice *device, char *reason);
/* Compiles jobs by that NVRTC, with the options of the image for this device, and loads them to
 * *modules[i]. */
dlc_status cuda_text_load(CudaDevice *device, const char *prelude, const char *image_options,
                          NvrtcJob *jobs, CudaModule **modules, int n_jobs);

#endif
