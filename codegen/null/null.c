/* A backend that compiles to nothing: each kernel's "code" is the length of its text. It shows what
 * a backend must provide and is what a new one is copied from; its plans can be inspected, not run.
 */
#include "codegen/target.h"
#include "ir/base/memory.h"
#include <stdio.h>
#include <string.h>

enum { NULL_MESSAGE_BYTES = 512 };

static dlc_status null_describe(const char *option, Arena *arena, Machine *out, char *message) {
    (void)arena;
    if (option && *option) {
        snprintf(message, NULL_MESSAGE_BYTES, "target null takes no option, not '%s'", option);
        return DLC_ERROR_UNSUPPORTED;
    }
    *out = (Machine){.target = "null",
                     .name = "null",
                     .features = "",
                     .vector_bytes = 16,
                     .threads = 1,
                     .lanes = 1,
                     .tile_rows_f32 = 4,
                     .tile_columns_f32 = 8,
                     .tile_rows_f64 = 4,
                     .tile_columns_f64 = 4,
                     .l1_bytes = 32 * 1024,
                     .column_tile = 256,
                     .worker = machine_usual_worker(),
                     .fusion = machine_usual_fusion(),
                     .block_rows = 144,
                     .block_columns = 384,
                     .block_depth = 256,
                     .wanted_tiles = 16,
                     .launch_seconds = 1e-7,
                     .flops_per_second = 1e10,
                     .bytes_per_second = 1e10};
    return DLC_OK;
}

static dlc_status null_emit(const Machine *machine, Kernel *const *kernels, int32_t n_kernels,
                            int32_t n_threads, const dlc_allocator *allocator, TargetImage *out,
                            char *message) {
    (void)machine;
    (void)n_threads;
    size_t n_bytes = sizeof(uint64_t) * (size_t)(n_kernels + 1);
    memset(out, 0, sizeof(*out));
    out->bytes = raw_alloc(allocator, n_bytes);
    out->entries = raw_alloc(allocator, sizeof(int64_t) * (size_t)(n_kernels + 1));
    if (!out->bytes || !out->entries) {
        target_image_finish(out, allocator);
        snprintf(message, NULL_MESSAGE_BYTES, "out of memory");
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    memset(out->bytes, 0, n_bytes);
    out->n_bytes = n_bytes;
    out->n_entries = n_kernels;
    for (int32_t i = 0; i < n_kernels; i++) {
        Str text;
        str_init(&text, allocator);
        kernel_identity(kernels[i], &text);
        uint64_t length = text.length;
        str_finish(&text);
        out->entries[i] = (int64_t)sizeof(uint64_t) * i;
        memcpy(out->bytes + out->entries[i], &length, sizeof(length));
    }
    return DLC_OK;
}

static dlc_status null_show(const Machine *machine, const Kernel *kernel, const char *name,
                            Str *out) {
    (void)machine;
    (void)name;
    kernel_print(kernel, out);
    return DLC_OK;
}

const Target target_null = {
    .name = "null",
    .doc = "no device: compiles, counts and packs, but cannot run",
    .describe = null_describe,
    .emit = null_emit,
    .show = null_show,
};
