/* For tests: hand-built loop IR, compiled by the CPU target and called in this process. */
#ifndef DLC_TESTS_UNIT_KERNEL_RUN_H
#define DLC_TESTS_UNIT_KERNEL_RUN_H

#include "codegen/kernel.h"
#include "codegen/target.h"
#include "runtime/kernel_abi.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct RunCode {
    void *memory;
    size_t n_bytes;
    TargetImage image;
} RunCode;

/* The machine named by `option`; NULL is this host. False: the processor cannot run it. */
static inline bool run_machine(const char *option, Arena *arena, Machine *out) {
    char message[512] = "";
    Machine host;
    const Target *target = target_find("cpu");
    if (target->describe(NULL, arena, &host, message) != DLC_OK ||
        target->describe(option, arena, out, message) != DLC_OK) {
        fprintf(stderr, "%s\n", message);
        return false;
    }
    return out->vector_bytes <= host.vector_bytes;
}

static inline bool run_compile(const Machine *machine, Kernel *const *kernels, int32_t n_kernels,
                               int32_t n_threads, RunCode *out) {
    char message[512] = "";
    memset(out, 0, sizeof(*out));
    dlc_status status = target_find("cpu")->emit(machine, kernels, n_kernels, n_threads, NULL,
                                                 &out->image, message);
    if (status != DLC_OK) {
        fprintf(stderr, "emit: %s\n", message);
        return false;
    }
    out->n_bytes = out->image.n_bytes;
    out->memory =
        mmap(NULL, out->n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (out->memory == MAP_FAILED) {
        return false;
    }
    memcpy(out->memory, out->image.bytes, out->n_bytes);
    return mprotect(out->memory, out->n_bytes, PROT_READ | PROT_EXEC) == 0;
}

static inline KernelFunction run_function(const RunCode *code, int32_t index) {
    char *entry = (char *)code->memory + code->image.entries[index];
    KernelFunction function;
    memcpy(&function, &entry, sizeof(function));
    return function;
}

static inline void run_finish(RunCode *code) {
    munmap(code->memory, code->n_bytes);
    target_image_finish(&code->image, NULL);
}

/* -- nodes */
static inline KExpr *x_new(Arena *arena, KExprKind kind, DType dtype) {
    KExpr *expr = ARENA_NEW(arena, KExpr);
    expr->kind = kind;
    expr->dtype = dtype;
    return expr;
}
static inline const KExpr *x_int(Arena *arena, int64_t value) {
    KExpr *expr = x_new(arena, KE_INT, DT_I64);
    expr->as.integer = value;
    return expr;
}
static inline const KExpr *x_real(Arena *arena, DType dtype, double value) {
    KExpr *expr = x_new(arena, KE_FLOAT, dtype);
    expr->as.real = value;
    return expr;
}
static inline const KExpr *x_var(Arena *arena, const KVar *var) {
    KExpr *expr = x_new(arena, KE_VAR, var->dtype);
    expr->as.var = var;
    return expr;
}
static inline const KExpr *x_size(Arena *arena, int32_t index) {
    KExpr *expr = x_new(arena, KE_SIZE, DT_I64);
    expr->as.size = index;
    return expr;
}
static inline const KExpr *x_load(Arena *arena, int32_t buffer, DType dtype, const KExpr *at) {
    KExpr *expr = x_new(arena, KE_LOAD, dtype);
    expr->as.load.buffer = buffer;
    expr->as.load.at = at;
    return expr;
}
static inline const KExpr *x_local(Arena *arena, const KLocal *local, const KExpr *at) {
    KExpr *expr = x_new(arena, KE_LOCAL, local->dtype);
    expr->as.local.array = local;
    expr->as.local.at = at;
    return expr;
}
static inline const KExpr *x_op(Arena *arena, OpCode op, DType dtype, const KExpr *a,
                                const KExpr *b) {
    KExpr *expr = x_new(arena, KE_SCALAR, dtype);
    expr->as.scalar.op = op;
    expr->as.scalar.n = b ? 2 : 1;
    expr->as.scalar.a[0] = a;
    expr->as.scalar.a[1] = b;
    return expr;
}
static inline const KExpr *x_cast(Arena *arena, DType dtype, const KExpr *a) {
    KExpr *expr = x_new(arena, KE_CAST, dtype);
    expr->as.cast = a;
    return expr;
}
static inline KVar *x_make_var(Arena *arena, Kernel *kernel, DType dtype, bool is_mutable) {
    KVar *var = ARENA_NEW(arena, KVar);
    var->dtype = dtype;
    var->id = kernel->n_vars++;
    var->is_mutable = is_mutable;
    var->hint = "v";
    return var;
}
static inline KStmt *x_for(Arena *arena, KLoopKind loop, const KVar *var, const KExpr *end,
                           KStmt *body) {
    KStmt *stmt = ARENA_NEW(arena, KStmt);
    stmt->kind = KS_FOR;
    stmt->as.loop.kind = loop;
    stmt->as.loop.var = var;
    stmt->as.loop.begin = x_int(arena, 0);
    stmt->as.loop.end = end;
    stmt->as.loop.body = body;
    return stmt;
}
static inline KStmt *x_store(Arena *arena, int32_t buffer, const KExpr *at, const KExpr *value) {
    KStmt *stmt = ARENA_NEW(arena, KStmt);
    stmt->kind = KS_STORE;
    stmt->as.store.buffer = buffer;
    stmt->as.store.at = at;
    stmt->as.store.value = value;
    return stmt;
}
static inline KStmt *x_set(Arena *arena, const KVar *var, const KExpr *value) {
    KStmt *stmt = ARENA_NEW(arena, KStmt);
    stmt->kind = KS_SET;
    stmt->as.set.var = var;
    stmt->as.set.value = value;
    return stmt;
}
static inline Kernel *x_kernel(Arena *arena, const char *name, int32_t n_buffers) {
    Kernel *kernel = ARENA_NEW(arena, Kernel);
    kernel->name = name;
    kernel->arena = arena;
    kernel->n_buffers = n_buffers;
    kernel->buffers = ARENA_ARRAY(arena, KBuffer, n_buffers + 1);
    return kernel;
}

#endif
