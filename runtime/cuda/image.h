/* Reads the image of a cuda target (runtime/cuda_image.h), checking every number once: afterwards
 * offsets, sizes and names are used as they are. */
#ifndef DLC_RUNTIME_CUDA_IMAGE_READ_H
#define DLC_RUNTIME_CUDA_IMAGE_READ_H

#include "runtime/context.h"
#include "runtime/cuda_image.h"

enum {
    CUDA_MAX_PARAMETERS = 500, /* 4 KiB of kernel parameters, less the fixed ones */
    CUDA_MAX_COMMON = 64       /* buffers of a kernel that has groups */
};

/* Words of a member of a group, beside its first tile. */
int32_t cuda_member_words(const CudaKernel *kernel);

typedef struct CudaImage {
    const uint8_t *bytes; /* the caller's */
    CudaImageHeader header;
    CudaUnit *units; /* own copies, so that the bytes need no alignment */
    CudaKernel *kernels;
    const char *options; /* "" if none */
    const char *prelude;
} CudaImage;

dlc_status cuda_image_read(CudaImage *image, const dlc_allocator *allocator, const uint8_t *bytes,
                           size_t n_bytes, char *message, size_t n_message);
void cuda_image_finish(CudaImage *image, const dlc_allocator *allocator);
/* The kernel whose record is at offset `entry`; -1: none. */
int32_t cuda_image_kernel(const CudaImageHeader *header, int64_t entry);

#endif
