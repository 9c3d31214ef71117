/* Inside the CUDA backend's compile side: machines, the vendor library that compiles, units of text
 * and the image they end up in. Nothing here keeps state between calls. */
#ifndef DLC_CODEGEN_CUDA_COMPILE_H
#define DLC_CODEGEN_CUDA_COMPILE_H

#include "codegen/target.h"
#include "runtime/cuda_image.h"

enum { CUDA_MESSAGE_BYTES = TARGET_MESSAGE_BYTES };
/* Words that a group's members and what they have in common take: arguments of a kernel are 4 KiB
 * at most, on any card. */
enum { CUDA_GROUP_WORDS = CUDA_GROUP_BYTES / 8 };

/* machine.c */
dlc_status cudac_describe(const char *option, Arena *arena, Machine *out, char *message);
/* "cuda" alone: one option a kind of GPU that is present, else the usual ones. Returns how many. */
int32_t cudac_expand(const char *option, const char **out, int32_t capacity);
int32_t cudac_registers(int32_t sm); /* of a multiprocessor */

/* library.c: opens a vendor library by soname: first in the folders of DLC_CUDA_PATH (separated by
 * colons; an entry "-" ends the search), then where the system looks, then in the toolkits' and the
 * Python wheels' usual places. NULL: not found anywhere. Never closed again. */
void *cudac_library(const char *const *sonames, int32_t n_sonames);
void *cudac_symbol(void *library, const char *name);

/* nvrtc.c */
typedef struct Nvrtc Nvrtc;
/* NULL: none found, and message says where to get it. Freed with free(). */
Nvrtc *cudac_open(char *message);
int32_t cudac_toolkit(const Nvrtc *nvrtc); /* 13000 for CUDA 13.0 */
bool cudac_knows(const Nvrtc *nvrtc, int32_t sm);

/* What a unit becomes; all from malloc. */
typedef struct CudaCode {
    char *cubin, *ptx, *log;
    size_t n_cubin, n_ptx;
} CudaCode;
void cudac_code_finish(CudaCode *code);
/* Compiles for sm with CUDA_OPTIONS. Not DLC_OK: code->log has what the compiler said. */
dlc_status cudac_compile(const Nvrtc *nvrtc, const char *source, const char *prelude, int32_t sm,
                         CudaCode *code);
/* How ptxas placed a kernel, out of the log of its unit. False: the log does not name it. */
bool cudac_figures(const char *log, const char *kernel, CudaKernel *out);

/* What every compile gets beside --gpu-architecture=sm_NN; the image keeps it for machines that
 * compile the text themselves. Plain multiplication and addition never fuse: same bits as the CPU.
 */
#define CUDA_OPTIONS "--std=c++17 --fmad=false -default-device"

/* cache.c: compiled units in the folder that the environment variable DLC_CUDA_CACHE names, by hash
 * of all that they depend on; without it nothing is kept. */
bool cudac_cache_find(const Nvrtc *nvrtc, const char *source, const char *prelude, int32_t sm,
                      CudaCode *code);
void cudac_cache_keep(const Nvrtc *nvrtc, const char *source, const char *prelude, int32_t sm,
                      const CudaCode *code);

/* image.c */
typedef struct CudaBuilt {
    char *source; /* from malloc */
    size_t n_source;
    int32_t first, count; /* kernels */
    CudaCode code;
} CudaBuilt;
dlc_status cudac_image(int32_t sm, int32_t toolkit, const char *prelude, const CudaBuilt *units,
                       int32_t n_units, const CudaKernel *kernels, int32_t n_kernels,
                       const dlc_allocator *allocator, TargetImage *out);

#endif
