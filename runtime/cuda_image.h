/* The image of a cuda target, as bytes: stand-alone and versioned; written by codegen/cuda, read by
 * runtime/cuda. Little-endian. A header, then records and blobs at 8-byte multiples; every offset
 * is from the image's start. PlanKernel.entry of a kernel is the offset of its CudaKernel.
 *
 * A kernel is `extern "C" __global__ void NAME(long long tiles, T0 *b0, …, long long s0, …,
 * DlcFault *fault, unsigned char *scratch)`: tiles first, then its buffers, then its sizes, then
 * the fault word if has_faults, then global scratch if scratch_bytes is not 0 (blocks *
 * scratch_bytes). Blocks are one-dimensional, of `threads` threads; block x does tiles x, x +
 * gridDim.x, …, so any grid gives the same bits. Its shared memory is the one dynamic block of
 * `shared_bytes`.
 *
 * A kernel with a `group` does up to that many launches as one: `NAME(long long tiles, long long
 * members, DlcGroup group, T0 *b0, …, DlcFault *fault, unsigned char *scratch)`, of the buffers
 * only those that `common` names: they are the same for all members. `group` is passed by value:
 * `group` words, of which word m is the number of member m's first tile among all their tiles, then
 * for each member its other buffers and its sizes; CUDA_GROUP_BYTES at most, with the common ones.
 * Alone, a launch is a group of one. */
#ifndef DLC_RUNTIME_CUDA_IMAGE_H
#define DLC_RUNTIME_CUDA_IMAGE_H

#include <stdint.h>

#define CUDA_IMAGE_MAGIC "DLCCUDA\n"

enum { CUDA_IMAGE_VERSION = 2, CUDA_NAME_BYTES = 64, CUDA_GROUP_BYTES = 3840 };

typedef struct CudaBlob {
    uint64_t offset, size; /* size 0: absent; texts are followed by a NUL that size leaves out */
} CudaBlob;

typedef struct CudaImageHeader {
    char magic[8];
    uint32_t version, n_units, n_kernels;
    int32_t sm;              /* 90 for sm_90; the cubins' architecture */
    int32_t toolkit;         /* CUDA version that made cubins and PTX, 13000; 0: neither is there */
    int32_t options;         /* offset of the NUL-terminated compile options, space-separated */
    uint64_t units, kernels; /* offsets of CudaUnit[n_units], CudaKernel[n_kernels] */
    CudaBlob prelude;        /* text that units include as "dlc_prelude.cuh" */
} CudaImageHeader;

/* One text compiled at once: a few kernels. */
typedef struct CudaUnit {
    CudaBlob source, cubin, ptx;
} CudaUnit;

typedef struct CudaKernel {
    char name[CUDA_NAME_BYTES];
    uint32_t unit;
    int32_t threads; /* of a block */
    int32_t n_buffers, n_sizes;
    int32_t has_faults;
    int32_t shared_bytes;  /* dynamic */
    int64_t scratch_bytes; /* global, a block */
    /* What ptxas said, for reports and for checking launches; -1: not compiled. */
    int32_t registers, stack_bytes, spill_bytes;
    int32_t group;   /* most members; 0: launched alone */
    uint64_t common; /* bit b: buffer b */
} CudaKernel;

#endif
