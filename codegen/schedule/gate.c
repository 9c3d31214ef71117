/* Stores in place where the program has no OK value that the kernel would look at: the kernels look
 * at the gate themselves, so that the host need not look for faults before them. Such a kernel is
 * the lowered one with one buffer more, the gate, and all that a tile does under the condition that
 * it is set. */
#include "codegen/schedule/state.h"

#include <string.h>

static KStmt *stmt_new(Schedule *s, KStmtKind kind) {
    KStmt *stmt = ARENA_NEW(s->pool->bodies, KStmt);
    stmt->kind = kind;
    return stmt;
}

static const KExpr *gate_load(Schedule *s, int32_t buffer) {
    KExpr *at = ARENA_NEW(s->pool->bodies, KExpr);
    KExpr *load = ARENA_NEW(s->pool->bodies, KExpr);
    *at = (KExpr){.kind = KE_INT, .dtype = DT_I64};
    *load = (KExpr){.kind = KE_LOAD, .dtype = DT_BOOL, .as.load = {buffer, at}};
    return load;
}

/* The loops of the grid again, and in the innermost what is there under the condition. */
static KStmt *body_gated(Schedule *s, KStmt *body, const KExpr *condition) {
    if (body && kernel_is_loop(body, KL_GRID)) {
        KStmt *loop = stmt_new(s, KS_FOR);
        loop->as.loop = body->as.loop;
        loop->as.loop.body = body_gated(s, body->as.loop.body, condition);
        return loop;
    }
    KStmt *branch = stmt_new(s, KS_IF);
    branch->as.branch.condition = condition;
    branch->as.branch.then = body;
    return branch;
}

static LoweredKernel kernel_gated(Schedule *s, const LoweredKernel *plain) {
    Kernel *kernel = ARENA_NEW(s->arena, Kernel);
    *kernel = *plain->kernel;
    int32_t gate = kernel->n_buffers++;
    kernel->buffers = ARENA_ARRAY(s->arena, KBuffer, kernel->n_buffers);
    Bind *binds = ARENA_ARRAY(s->arena, Bind, kernel->n_buffers);
    memcpy(kernel->buffers, plain->kernel->buffers, (size_t)gate * sizeof(*kernel->buffers));
    memcpy(binds, plain->binds, (size_t)gate * sizeof(*binds));
    kernel->buffers[gate] = (KBuffer){.dtype = DT_BOOL};
    binds[gate] = (Bind){.kind = BIND_GATE};
    kernel->body = body_gated(s, kernel->body, gate_load(s, gate));
    kernel_meet(s, kernel);
    LoweredKernel gated = *plain;
    gated.kernel = kernel;
    gated.binds = binds;
    return gated;
}

const LoweredOp *gate_kernels(Schedule *s, const LoweredOp *lowered) {
    LoweredOp *gated = ARENA_NEW(s->arena, LoweredOp);
    *gated = *lowered;
    gated->kernels = ARENA_ARRAY(s->arena, LoweredKernel, lowered->n_kernels);
    for (int32_t k = 0; k < lowered->n_kernels; k++) {
        gated->kernels[k] = kernel_gated(s, &lowered->kernels[k]);
    }
    return gated;
}
