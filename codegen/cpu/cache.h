/* Objects of kernels in the folder that the environment variable DLC_CPU_CACHE names. Nothing is
 * kept where it is unset, or where its folder cannot be read or written. */
#ifndef DLC_CODEGEN_CPU_CACHE_H
#define DLC_CODEGEN_CPU_CACHE_H

#include "codegen/cpu/emit.h"

typedef struct CpuCachePlace {
    char path[4096]; /* of the object's file; "": none */
} CpuCachePlace;

/* Where the object of a module, not yet optimised, is kept: by the hash of the module and of
 * everything else that LLVM is told. */
void cpu_cache_place(const CpuCompiler *compiler, LLVMModuleRef module, CpuCachePlace *out);
/* The object, to be disposed of by the caller; NULL: it is not there, or damaged. */
LLVMMemoryBufferRef cpu_cache_find(const CpuCachePlace *place);
/* `index` tells writers of one process apart. */
void cpu_cache_keep(const CpuCachePlace *place, int32_t index, LLVMMemoryBufferRef object);

#endif
