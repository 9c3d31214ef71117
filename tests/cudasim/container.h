/* What the simulated NVRTC makes and the simulated driver loads in place of a cubin: a header, the
 * kernels' table, the text, and a shared object for this host. In place of PTX there is the text
 * itself behind a line of comment, which the driver compiles. */
#ifndef DLC_TESTS_CUDASIM_CONTAINER_H
#define DLC_TESTS_CUDASIM_CONTAINER_H

#include <stdint.h>

#define CUDASIM_CUBIN_MAGIC "DLCSIMC1"
#define CUDASIM_PTX_MAGIC   "//DLCSIM" /* then architecture and version */

enum { CUDASIM_NAME_BYTES = 96 };

typedef struct CudasimContainer {
    char magic[8];
    uint32_t arch;    /* 90 */
    uint32_t version; /* of the compiler, 13000 */
    uint32_t n_kernels, reserved;
    uint64_t total, kernels, source, source_bytes, library, library_bytes;
} CudasimContainer;

typedef struct CudasimKernel {
    char name[CUDASIM_NAME_BYTES];
    int32_t registers, stack_bytes, shared_bytes, max_threads; /* -1: unknown */
} CudasimKernel;

/* dlcsim_call_NAME in the shared object: calls NAME with the values that `arguments` point to. */
typedef void CudasimCall(void *const *arguments);
/* dlcsim_sizes_NAME: bytes of each parameter, ended by 0. */

#endif
