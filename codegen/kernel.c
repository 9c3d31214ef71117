/* Identity and scratch layout of kernels. */
#include "codegen/kernel.h"
#include "ir/base/str.h"

enum { SCRATCH_ALIGN = 64 };

uint64_t kernel_hash(const Kernel *kernel) {
    Str text;
    str_init(&text, kernel->arena->allocator);
    kernel_print(kernel, &text);
    uint64_t hash = hash_bytes(str_text(&text), text.length, 0);
    bool failed = text.failed;
    str_finish(&text);
    if (failed) {
        boundary_leave(kernel->arena->boundary, DLC_ERROR_OUT_OF_MEMORY);
    }
    return hash;
}

static bool holds(const KStmt *list, bool (*is)(const KStmt *stmt)) {
    for (const KStmt *stmt = list; stmt; stmt = stmt->next) {
        if (is(stmt) || holds(stmt->body, is) || holds(stmt->otherwise, is)) {
            return true;
        }
    }
    return false;
}

static bool is_contract(const KStmt *stmt) {
    return stmt->kind == KS_CONTRACT;
}

static bool is_fault(const KStmt *stmt) {
    return stmt->kind == KS_FAULT;
}

static bool is_watch(const KStmt *stmt) {
    return stmt->kind == KS_STORE && stmt->watched;
}

bool kernel_holds_contract(const KStmt *list) {
    return holds(list, is_contract);
}

bool kernel_holds_fault(const KStmt *list) {
    return holds(list, is_fault);
}

bool kernel_holds_watch(const KStmt *list) {
    return holds(list, is_watch);
}

static int64_t local_bytes(const KLocal *local) {
    /* Registers' widths: f16 and bf16 exist only in buffers. */
    int64_t width =
        local->dtype == DT_F16 || local->dtype == DT_BF16 ? 4 : dtype_bytes(local->dtype);
    int64_t bytes = local->count * width;
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
