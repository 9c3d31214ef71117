/* Finds and opens the vendor's shared libraries at run time, so that one binary serves machines
 * with and without GPUs. */
#ifndef DLC_RUNTIME_CUDA_LIBRARY_H
#define DLC_RUNTIME_CUDA_LIBRARY_H

#include "runtime/context.h"

/* Where a symbol of a library goes: a member of a struct of function pointers. */
typedef struct CudaSymbol {
    const char *name;
    size_t offset;
} CudaSymbol;

/* Opens `name` ("libcuda.so.1"): in the folders of DLC_CUDA_PATH first (an entry "-" ends the
 * search there), then where the system looks, then in the usual places and the folders of NVIDIA's
 * Python wheels. NULL: message says where was looked, or why the file that was found does not open.
 * `keep`: stays mapped when closed (a driver has threads of its own). */
void *cuda_library_open(const char *name, bool keep, char *message, size_t n_message);
/* Fills the function pointers of `table`; false: message names library and symbol. */
bool cuda_library_symbols(void *library, const char *name, const CudaSymbol *symbols,
                          size_t n_symbols, void *table, char *message, size_t n_message);
void cuda_library_close(void *library); /* accepts NULL */

#endif
