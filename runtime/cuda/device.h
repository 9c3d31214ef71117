/* NVIDIA GPUs through the driver API, opened at run time. */
#ifndef DLC_RUNTIME_CUDA_DEVICE_H
#define DLC_RUNTIME_CUDA_DEVICE_H

#include "runtime/device.h"

extern const DeviceOps device_cuda;

#endif
