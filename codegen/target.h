/* The interface of a backend on the compile side. One constant Target per backend;
 * codegen/targets.c lists them. `emit` is pure: same kernels and machine, same bytes; no device
 * needed. */
#ifndef DLC_CODEGEN_TARGET_H
#define DLC_CODEGEN_TARGET_H

#include "codegen/kernel.h"

/* Code for a list of kernels: one image, position-independent, entry offsets by kernel. */
typedef struct TargetImage {
    uint8_t *bytes; /* from the context's allocator (malloc when it has none); freed by
                       target_image_finish */
    size_t n_bytes;
    int64_t *entries; /* offset of each kernel's function in the image */
    int32_t n_entries;
} TargetImage;
void target_image_finish(TargetImage *image, const dlc_allocator *allocator);

typedef struct Target {
    const char *name, *doc;
    /* Fills `out` from the option text after "name:" ("x86-64-v3"; NULL or "" is this host,
     * "native"). Unknown: DLC_ERROR_UNSUPPORTED, with the accepted names in message (512 bytes).
     * Strings live in arena. */
    dlc_status (*describe)(const char *option, Arena *arena, Machine *out, char *message);
    /* Kernels to an image. Threads: may use up to n_threads of its own during the call. */
    dlc_status (*emit)(const Machine *machine, Kernel *const *kernels, int32_t n_kernels,
                       int32_t n_threads, const dlc_allocator *allocator, TargetImage *out,
                       char *message);
    /* The backend's own text of one kernel (LLVM IR, CUDA C, assembly) for --emit=kernels;
     * optional. */
    dlc_status (*show)(const Machine *machine, const Kernel *kernel, Str *out);
} Target;

const Target *target_find(const char *name); /* NULL: unknown */
const Target *target_at(int index);          /* NULL past the end */

#endif
