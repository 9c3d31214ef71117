/* Identity and scratch layout of kernels. */
#include "codegen/kernel.h"
#include "ir/base/str.h"

enum { SCRATCH_ALIGN = 64 };

DType dtype_in_register(DType dtype) {
    return dtype == DT_F16 || dtype == DT_BF16 ? DT_F32 : dtype;
}

uint64_t kernel_hash(const Kernel *kernel) {
    Str text;
    str_init(&text, kernel->arena->allocator);
    kernel_identity(kernel, &text);
    uint64_t hash = hash_bytes(str_text(&text), text.length, 0);
    bool failed = text.failed;
    str_finish(&text);
    if (failed) {
        boundary_leave(kernel->arena->boundary, DLC_ERROR_OUT_OF_MEMORY);
    }
    return hash;
}

static int64_t local_bytes(const KLocal *local) {
    int64_t bytes = local->count * dtype_bytes(dtype_in_register(local->dtype));
    return (bytes + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN;
}

int64_t kernel_local_offset(const Kernel *kernel, const KLocal *local) {
    int64_t offset = 0;
    for (int32_t i = 0; i < kernel->n_locals && kernel->locals[i] != local; i++) {
        offset += local_bytes(kernel->locals[i]);
    }
    return offset;
}

int64_t kernel_scratch_bytes(const Kernel *kernel) {
    return kernel_local_offset(kernel, NULL);
}
