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
    if (!expr || node->is_marked) {
        return;
    }
    node->is_marked = true;
    if (expr->kind == KE_VAR) {
        ((PoolVar *)expr->var)->is_live = true;
    }
    const Node *inner = node->inner;
    if (inner && inner->has_piece && !k->is_last_attempt) {
        plan_request(k, inner->piece_key, size_mul(k->context, inner->piece_stride, node->divisor));
    }
    for (int32_t i = 0; i < expr->n; i++) {
        mark(k, expr->a[i]);
    }
}

static KStmt *prune(KBuild *k, KStmt *first);

static bool keep(KBuild *k, KStmt *stmt) {
    switch (stmt->kind) {
    case KS_LET:
        if (!((const PoolVar *)stmt->var)->is_live) {
            return false;
        }
        break;
    case KS_FOR:
        stmt->body = prune(k, stmt->body);
        if (!stmt->body && stmt->loop != KL_GRID) {
            return false;
        }
        break;
    case KS_IF:
        stmt->otherwise = prune(k, stmt->otherwise);
        stmt->body = prune(k, stmt->body);
        if (!stmt->body && !stmt->otherwise) {
            return false;
        }
        break;
    default:
        break;
    }
    mark(k, stmt->begin);
    mark(k, stmt->end);
    mark(k, stmt->value);
    mark(k, stmt->depth);
    mark(k, stmt->c_stride);
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
    if (var && !pool->copy) {
        pool->copy = ARENA_NEW(f->k->lower->bodies, KVar);
        *pool->copy = pool->var;
        pool->copy->id = f->kernel->n_vars++;
    }
    return var ? pool->copy : NULL;
}

static const KLocal *copy_local(Finish *f, const KLocal *local) {
    PoolLocal *pool = (PoolLocal *)local;
    if (local && !pool->copy) {
        pool->copy = ARENA_NEW(f->k->lower->bodies, KLocal);
        *pool->copy = pool->local;
        pool->copy->id = (int32_t)f->locals.count;
        VEC_PUSH(f->k->arena, &f->locals, pool->copy);
    }
    return local ? pool->copy : NULL;
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
    if (!expr || node->copy) {
        return expr ? node->copy : NULL;
    }
    KExpr *copy = ARENA_NEW(f->k->lower->bodies, KExpr);
    *copy = *expr;
    for (int32_t i = 0; i < expr->n; i++) {
        copy->a[i] = copy_expr(f, expr->a[i]);
    }
    copy->var = copy_var(f, expr->var);
    copy->local = copy_local(f, expr->local);
    if (expr->kind == KE_SIZE) {
        bool is_parameter = node->n_terms > 0; /* k_parameter */
        copy->index = size_number(f, is_parameter ? size_const(f->k->context, expr->integer)
                                                  : node->constant);
        copy->integer = 0;
    }
    if (expr->kind == KE_UNIFORM) {
        copy->index = size_number(f, size_const(f->k->context, expr->integer));
        copy->integer = 0;
    }
    node->copy = copy;
    return copy;
}

static bool holds_loop(const KStmt *stmt) {
    for (; stmt; stmt = stmt->next) {
        if ((stmt->kind == KS_FOR && stmt->loop != KL_UNROLL) || stmt->kind == KS_CONTRACT ||
            holds_loop(stmt->body) || holds_loop(stmt->otherwise)) {
            return true;
        }
    }
    return false;
}

static KStmt *copy_stmts(Finish *f, const KStmt *stmt) {
    KStmt *first = NULL, **tail = &first;
    for (; stmt; stmt = stmt->next) {
        KStmt *copy = ARENA_NEW(f->k->lower->bodies, KStmt);
        *copy = *stmt;
        copy->next = NULL;
        copy->begin = copy_expr(f, stmt->begin);
        copy->end = copy_expr(f, stmt->end);
        copy->value = copy_expr(f, stmt->value);
        copy->depth = copy_expr(f, stmt->depth);
        copy->c_stride = copy_expr(f, stmt->c_stride);
        copy->var = copy_var(f, stmt->var);
        copy->local = copy_local(f, stmt->local);
        copy->a_local = copy_local(f, stmt->a_local);
        copy->b_local = copy_local(f, stmt->b_local);
        if (stmt->kind == KS_FOR && stmt->loop == KL_VECTOR && holds_loop(stmt->body)) {
            copy->loop = KL_SERIAL;
        } else if (stmt->kind == KS_FOR && stmt->loop == KL_INDEPENDENT &&
                   !holds_loop(stmt->body)) {
            copy->loop = KL_VECTOR;
        }
        copy->body = copy_stmts(f, stmt->body);
        copy->otherwise = copy_stmts(f, stmt->otherwise);
        *tail = copy;
        tail = &copy->next;
    }
    return first;
}

static double buffer_bytes(KBuild *k, Bind bind) {
    const Size *elements;
    DType dtype;
    if (bind.kind == BIND_TEMP) {
        elements = k->temps.items[bind.index].elements;
        dtype = k->temps.items[bind.index].dtype;
    } else {
        Type type = bind.kind == BIND_OPERAND ? k->body->args[bind.index]->type
                                              : kb_result_value(k, bind.index)->type;
        elements = type_elements(k->context, type);
        dtype = type.dtype;
    }
    return (double)size_nominal(elements, 32) * dtype_bytes(dtype);
}

bool kernel_finish(KBuild *k, const char *name) {
    k->first = prune(k, k->first);
    if (k->replan) {
        return false;
    }
    Finish f = {.k = k, .kernel = ARENA_NEW(k->arena, Kernel)};
    Kernel *kernel = f.kernel;
    kernel->name = arena_strdup(k->arena, name);
    kernel->arena = k->arena;
    kernel->body = copy_stmts(&f, k->first);
    kernel->n_buffers = (int32_t)k->buffers.count;
    kernel->buffers = ARENA_ARRAY(k->arena, KBuffer, k->buffers.count + 1);
    Bind *binds = ARENA_ARRAY(k->arena, Bind, k->buffers.count + 1);
    for (size_t i = 0; i < k->buffers.count; i++) {
        kernel->buffers[i] = k->buffers.items[i];
        binds[i] = k->binds.items[i];
        kernel->bytes += buffer_bytes(k, binds[i]);
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
