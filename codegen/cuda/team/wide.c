/* Which elementwise loops and groups move sixteen bytes at a time (text/wide.c writes them). */
#include "codegen/cuda/team/team.h"

enum { MOST_REGISTERS = 64 };

/* 1: grows by one with every iteration; 0: the same in all; -1: anything else. */
int team_slope(const Text *t, const KExpr *expr, const KStmt *loop) {
    if (expr->kind == KE_VAR) {
        int32_t number = team_number(t, loop), defined = t->let_stmt[expr->as.var->id];
        bool inside = defined > number && defined < t->stmts[number].end;
        return expr->as.var == loop->as.loop.var ? 1 : inside || expr->as.var->is_mutable ? -1 : 0;
    }
    int sum = expr->kind == KE_LOAD || expr->kind == KE_LOCAL ? -1 : 0;
    const KExpr *operands[KERNEL_EXPR_OPERANDS];
    int32_t n = kernel_expr_operands(expr, operands);
    bool adds = expr->kind == KE_SCALAR && expr->as.scalar.op == OP_add;
    for (int32_t i = 0; i < n && sum >= 0; i++) {
        int own = team_slope(t, operands[i], loop);
        sum = own < 0 || (own > 0 && (!adds || sum > 0)) ? -1 : sum + own;
    }
    return sum;
}

int32_t team_wide_part(const Text *t, bool is_store, int32_t buffer, const KLocal *local,
                       const KExpr *index) {
    for (int32_t i = 0; t->wide && i < t->wide->n; i++) {
        const WidePart *part = &t->wide->parts[i];
        if (part->is_store == is_store && part->buffer == buffer && part->local == local &&
            kernel_expr_equal(part->index, index)) {
            return i;
        }
    }
    return -1;
}

bool team_wide_add(Text *t, Wide *wide, const WidePart *part) {
    const Wide *before = t->wide;
    t->wide = wide;
    bool known = team_wide_part(t, part->is_store, part->buffer, part->local, part->index) >= 0;
    t->wide = before;
    if (known) {
        return !part->is_store;
    }
    if (wide->n == TEXT_MAX_WIDE) {
        return false;
    }
    wide->parts[wide->n++] = *part;
    return true;
}

static bool add_part(Text *t, Wide *wide, bool is_store, int32_t buffer, const KExpr *index) {
    WidePart part = {is_store, buffer, NULL, index};
    bool by_elements = team_memory_bytes(t->kernel->buffers[buffer].dtype) < 2;
    return by_elements || team_wide_add(t, wide, &part);
}

typedef struct Loads {
    Text *t;
    Wide *wide;
    const KStmt *loop;
} Loads;

/* Whether the load does not fit. */
static bool misfits(const KExpr *expr, void *user) {
    const Loads *loads = user;
    if (expr->kind != KE_LOAD) {
        return expr->kind == KE_LOCAL;
    }
    int32_t buffer = expr->as.load.buffer;
    const KExpr *at = expr->as.load.at;
    return loads->t->kernel->buffers[buffer].is_written ||
           (team_slope(loads->t, at, loads->loop) == 1 &&
            !add_part(loads->t, loads->wide, false, buffer, at));
}

bool team_wide(Text *t, const KStmt *loop, Wide *out) {
    *out = (Wide){.n = 0};
    for (const KStmt *stmt = loop->as.loop.body; stmt; stmt = stmt->next) {
        bool is_store = stmt->kind == KS_STORE;
        if (stmt->kind != KS_LET && !is_store) {
            return false;
        }
        const KExpr *value = is_store ? stmt->as.store.value : stmt->as.let.value;
        if (kernel_walk_expr(value, misfits, &(Loads){t, out, loop})) {
            return false;
        }
        if (is_store && (team_slope(t, stmt->as.store.at, loop) != 1 ||
                         !add_part(t, out, true, stmt->as.store.buffer, stmt->as.store.at))) {
            return false;
        }
    }
    int32_t least = 8, registers = 0;
    for (int32_t i = 0; i < out->n; i++) {
        int32_t bytes = team_memory_bytes(t->kernel->buffers[out->parts[i].buffer].dtype);
        least = bytes < least ? bytes : least;
    }
    out->lanes = 16 / least;
    for (int32_t i = 0; i < out->n; i++) {
        int32_t bytes = team_memory_bytes(t->kernel->buffers[out->parts[i].buffer].dtype);
        registers += out->lanes * bytes / 4;
    }
    bool known;
    return out->n > 0 && registers <= MOST_REGISTERS &&
           team_extent(t, loop, &known) >= (int64_t)out->lanes * t->threads;
}
