/* The interface of a backend on the compile side. One constant Target per backend;
 * codegen/targets.def lists them. `emit` is pure: same kernels and machine, same bytes; no device
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
    char note[512];       /* something the user should know of it; "": nothing */
    const Kernel *failed; /* of an emit that failed: over which kernel; NULL: over none alone */
} TargetImage;
void target_image_finish(TargetImage *image, const dlc_allocator *allocator);

enum { TARGET_MESSAGE_BYTES = 512 };
/* A mistake of ours in a backend: the text and our own file and line into `message`
 * (TARGET_MESSAGE_BYTES); what the kernel was made of is the caller's to add (TargetImage.failed).
 * Gives DLC_ERROR_INTERNAL. */
#define TARGET_INTERNAL(message, ...) target_internal((message), __FILE__, __LINE__, __VA_ARGS__)
dlc_status target_internal(char *message, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* What the target's compiler said of one kernel of an image; -1: unknown. */
typedef struct TargetFigures {
    const char *name; /* in the image */
    int32_t registers, shared_bytes, stack_bytes, spill_bytes, threads;
    int64_t scratch_bytes; /* of a worker's memory outside the processor; into PlanKernel */
} TargetFigures;

typedef struct Target {
    const char *name, *doc;
    /* What a user would write for the processor that compiles; NULL: it is none of this backend's.
     */
    const char *host;
    /* --emit=kernels prints `show` instead of the loop IR. */
    bool shows_text;
    /* Fills `out` from the option text after "name:" ("x86-64-v3"; NULL or "" is this host,
     * "native"). Unknown: DLC_ERROR_UNSUPPORTED, with the accepted names in message
     * (TARGET_MESSAGE_BYTES). Strings live in arena. */
    dlc_status (*describe)(const char *option, Arena *arena, Machine *out, char *message);
    /* The option texts that one target given by the user stands for ("" may mean several devices),
     * at most `capacity`; returns how many. NULL: itself. */
    int32_t (*expand)(const char *option, const char **out, int32_t capacity);
    /* Kernels to an image. Threads: may use up to n_threads of its own during the call. */
    dlc_status (*emit)(const Machine *machine, Kernel *const *kernels, int32_t n_kernels,
                       int32_t n_threads, const dlc_allocator *allocator, TargetImage *out,
                       char *message);
    /* What the kernels of an image are called there, as profilers show them, in their order and in
     * arena; NULL: Kernel.name. */
    const char **(*names)(Kernel *const *kernels, int32_t n_kernels, Arena *arena);
    /* What `show` takes for granted, once before all kernels; optional. */
    void (*show_head)(const Machine *machine, Str *out);
    /* The backend's own text of one kernel (LLVM IR, CUDA C, assembly) under a name of `names`, for
     * --emit=kernels; optional. */
    dlc_status (*show)(const Machine *machine, const Kernel *kernel, const char *name, Str *out);
    /* False: nothing is known. Optional. */
    bool (*figures)(const TargetImage *image, int32_t kernel, TargetFigures *out);
} Target;

#define TARGET(name) extern const Target target_##name;
#include "codegen/targets.def"
#undef TARGET
const Target *target_find(const char *name); /* NULL: unknown */
const Target *target_at(int index);          /* NULL past the end */
const char *target_host(void); /* with its option: what this machine runs without being asked */

#endif
