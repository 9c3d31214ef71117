/* One kernel of the loop IR as CUDA C text, and the prelude that the text includes. Pure: same
 * kernel and machine, same text. */
#ifndef DLC_CODEGEN_CUDA_TEXT_TEXT_H
#define DLC_CODEGEN_CUDA_TEXT_TEXT_H

#include "codegen/kernel.h"
#include "ir/base/str.h"

/* The text of "dlc_prelude.cuh", made by prelude.py; NUL-terminated. */
extern const char cuda_prelude_text[];
extern const size_t cuda_prelude_bytes;

typedef struct CudaTextInfo {
    int32_t threads;       /* of a block */
    int32_t shared_bytes;  /* dynamic shared memory */
    int64_t scratch_bytes; /* global scratch of one block; 0: the kernel has no such argument */
    bool has_faults;       /* the kernel has a fault argument */
} CudaTextInfo;

/* Appends one `extern "C" __global__` function called `name`, with the signature that
 * runtime/cuda_image.h states, to `out`. The caller writes `#include "dlc_prelude.cuh"` once before
 * all functions of a unit. */
void cuda_text_kernel(const Machine *machine, const Kernel *kernel, const char *name, Str *out,
                      CudaTextInfo *info);

#endif
