/* From the builder's pool to a finished Kernel: dead lets and empty loops dropped, sizes, variables
 * and locals numbered in order of appearance, vector loops that hold loops made serial,
 * independent ones that hold none made vector loops. */
#include "codegen/lower/build/build_impl.h"
#include <string.h>

typedef struct Finish {
    KBuild *k;
    Kernel *kernel;
    VEC(const Size *) sizes;
    VEC(KLocal *) locals;
} Finish;

/* -- what is used */
static void mark(KBuild *k, const KExpr *expr) {
    Node *node = (Node *)expr;
    if (node->is_marked) {
        return;
    }
    node->is_marked = true;
    if (expr->kind == KE_VAR) {
        ((PoolVar *)expr->as.var)->is_live = true;
    }
    const Node *inner = node->inner;
    if (inner && inner->has_piece && !k->is_last_attempt) {
        plan_request(k, inner->piece_key, size_mul(k->context, inner->piece_stride, node->divisor));
    }
    const KExpr *operands[KERNEL_EXPR_OPERANDS];
    int32_t n = kernel_expr_operands(expr, operands);
    for (int32_t i = 0; i < n; i++) {
        mark(k, operands[i]);
    }
}

static KStmt *prune(KBuild *k, KStmt *first);

static bool keep(KBuild *k, KStmt *stmt) {
    switch (stmt->kind) {
    case KS_LET:
        if (!((const PoolVar *)stmt->as.let.var)->is_live) {
            return false;
        }
        break;
    case KS_FOR:
        stmt->as.loop.body = prune(k, stmt->as.loop.body);
        if (!stmt->as.loop.body && stmt->as.loop.kind != KL_GRID) {
            return false;
        }
        break;
    case KS_IF:
        stmt->as.branch.otherwise = prune(k, stmt->as.branch.otherwise);
        stmt->as.branch.then = prune(k, stmt->as.branch.then);
        if (!stmt->as.branch.then && !stmt->as.branch.otherwise) {
            return false;
        }
        break;
    default:
        break;
    }
    const KExpr *operands[KERNEL_STMT_OPERANDS];
    int32_t n = kernel_stmt_operands(stmt, operands);
    for (int32_t i = 0; i < n; i++) {
        mark(k, operands[i]);
    }
    return true;
}

/* Backwards, so that a let is looked at after everything that could read it. */
static KStmt *prune(KBuild *k, KStmt *first) {
    size_t count = 0;
    for (KStmt *stmt = first; stmt; stmt = stmt->next) {
        count++;
    }
    KStmt **all = POOL_ARRAY(k, KStmt *, count);
    count = 0;
    for (KStmt *stmt = first; stmt; stmt = stmt->next) {
        all[count++] = stmt;
    }
    KStmt *kept = NULL;
    while (count > 0) {
        KStmt *stmt = all[--count];
        if (keep(k, stmt)) {
            stmt->next = kept;
            kept = stmt;
        }
    }
    return kept;
}

/* -- copying out */
static const KVar *copy_var(Finish *f, const KVar *var) {
    PoolVar *pool = (PoolVar *)var;
    if (!pool->copy) {
        pool->copy = ARENA_NEW(f->k->lower->bodies, KVar);
        *pool->copy = pool->var;
        pool->copy->id = f->kernel->n_vars++;
    }
    return pool->copy;
}

static const KLocal *copy_local(Finish *f, const KLocal *local) {
    PoolLocal *pool = (PoolLocal *)local;
    if (!pool->copy) {
        pool->copy = ARENA_NEW(f->k->lower->bodies, KLocal);
        *pool->copy = pool->local;
        pool->copy->id = (int32_t)f->locals.count;
        VEC_PUSH(f->k->arena, &f->locals, pool->copy);
    }
    return pool->copy;
}

static int32_t size_number(Finish *f, const Size *size) {
    for (size_t i = 0; i < f->sizes.count; i++) {
        if (f->sizes.items[i] == size) {
            return (int32_t)i;
        }
    }
    VEC_PUSH(f->k->arena, &f->sizes, size);
    return (int32_t)f->sizes.count - 1;
}

static const KExpr *copy_expr(Finish *f, const KExpr *expr) {
    Node *node = (Node *)expr;
    if (node->copy) {
        return node->copy;
    }
    KExpr *copy = ARENA_NEW(f->k->lower->bodies, KExpr);
    *copy = *expr;
    const KExpr **slots[KERNEL_EXPR_OPERANDS];
    int32_t n = kernel_expr_slots(copy, slots);
    for (int32_t i = 0; i < n; i++) {
        *slots[i] = copy_expr(f, *slots[i]);
    }
    if (expr->kind == KE_VAR) {
        copy->as.var = copy_var(f, expr->as.var);
    } else if (expr->kind == KE_LOCAL) {
        copy->as.local.array = copy_local(f, expr->as.local.array);
    } else if (expr->kind == KE_SIZE) {
        bool is_parameter = node->n_terms > 0; /* k_parameter */
        copy->as.size = size_number(f, is_parameter ? size_const(f->k->context, node->parameter)
                                                    : node->constant);
    } else if (expr->kind == KE_UNIFORM) {
        copy->as.uniform.site = size_number(f, size_const(f->k->context, node->parameter));
    }
    node->copy = copy;
    return copy;
}

/* What a statement names beside its expressions. */
static void copy_names(Finish *f, KStmt *copy) {
    switch (copy->kind) {
    case KS_LET:
        copy->as.let.var = copy_var(f, copy->as.let.var);
        break;
    case KS_SET:
        copy->as.set.var = copy_var(f, copy->as.set.var);
        break;
    case KS_FOR:
        copy->as.loop.var = copy_var(f, copy->as.loop.var);
        break;
    case KS_LOCAL_STORE:
        copy->as.local_store.array = copy_local(f, copy->as.local_store.array);
        break;
    case KS_CONTRACT:
        copy->as.contract.c_local = copy_local(f, copy->as.contract.c_local);
        copy->as.contract.a_local = copy_local(f, copy->as.contract.a_local);
        copy->as.contract.b_local = copy_local(f, copy->as.contract.b_local);
        break;
    case KS_IF:
    case KS_STORE:
    case KS_FAULT:
        break;
    }
}

static KLoopKind finished_loop(const KStmt *stmt) {
    bool holds = kernel_holds_loop(stmt->as.loop.body);
    return kernel_is_loop(stmt, KL_VECTOR) && holds         ? KL_SERIAL
           : kernel_is_loop(stmt, KL_INDEPENDENT) && !holds ? KL_VECTOR
                                                            : stmt->as.loop.kind;
}

static KStmt *copy_stmts(Finish *f, const KStmt *stmt) {
    KStmt *first = NULL, **tail = &first;
    for (; stmt; stmt = stmt->next) {
        KStmt *copy = ARENA_NEW(f->k->lower->bodies, KStmt);
        *copy = *stmt;
        copy->next = NULL;
        const KExpr **slots[KERNEL_STMT_OPERANDS];
        int32_t n = kernel_stmt_slots(copy, slots);
        for (int32_t i = 0; i < n; i++) {
            *slots[i] = copy_expr(f, *slots[i]);
        }
        copy_names(f, copy);
        if (stmt->kind == KS_FOR) {
            copy->as.loop.kind = finished_loop(stmt);
        }
        KStmt **lists[2];
        n = kernel_stmt_list_slots(copy, lists);
        for (int32_t i = 0; i < n; i++) {
            *lists[i] = copy_stmts(f, *lists[i]);
        }
        *tail = copy;
        tail = &copy->next;
    }
    return first;
}

/* The op of a fusion that gave it its place: the last one there. */
static const char *named_op(const Op *fusion) {
    Place of = fusion->place;
    const char *name = fusion_form(fusion);
    BLOCK_EACH_OP (fusion->blocks[0], op) {
        Place at = op->place;
        bool same = at.source == of.source && at.line == of.line && at.column == of.column &&
                    at.end_line == of.end_line && at.end_column == of.end_column;
        name = same && op->code != OP_yield ? op_info(op->code)->name : name;
    }
    return name;
}

bool kernel_finish(KBuild *k, const char *name) {
    k->first = prune(k, k->first);
    if (k->replan) {
        return false;
    }
    Finish f = {.k = k, .kernel = ARENA_NEW(k->arena, Kernel)};
    Kernel *kernel = f.kernel;
    kernel->name = arena_strdup(k->arena, name);
    kernel->place = k->fusion->place;
    kernel->op = named_op(k->fusion);
    kernel->arena = k->arena;
    kernel->body = copy_stmts(&f, k->first);
    kernel->n_buffers = (int32_t)k->buffers.count;
    kernel->buffers = ARENA_ARRAY(k->arena, KBuffer, k->buffers.count + 1);
    Bind *binds = ARENA_ARRAY(k->arena, Bind, k->buffers.count + 1);
    for (size_t i = 0; i < k->buffers.count; i++) {
        kernel->buffers[i] = k->buffers.items[i];
        binds[i] = k->binds.items[i];
    }
    kernel->n_grid = (int32_t)k->grid.count;
    kernel->grid = ARENA_ARRAY(k->arena, const Size *, k->grid.count + 1);
    for (size_t i = 0; i < k->grid.count; i++) {
        kernel->grid[i] = k->grid.items[i];
    }
    kernel->sizes = f.sizes.items;
    kernel->n_sizes = (int32_t)f.sizes.count;
    kernel->locals = f.locals.items;
    kernel->n_locals = (int32_t)f.locals.count;
    LoweredKernel lowered = {kernel, binds, -1, -1};
    VEC_PUSH(k->arena, &k->kernels, lowered);
    return true;
}
