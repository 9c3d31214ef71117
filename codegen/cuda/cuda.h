/* The CUDA backend on the compile side: kernels become CUDA C (text/text.h), the text becomes cubin and
 * PTX through NVRTC, and all of it an image of runtime/cuda_image.h. No GPU is needed. */
#ifndef DLC_CODEGEN_CUDA_CUDA_H
#define DLC_CODEGEN_CUDA_CUDA_H

#include "codegen/target.h"

extern const Target target_cuda;

#endif
