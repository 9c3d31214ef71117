/* Which elementwise loops and groups move sixteen bytes at a time (text/wide.c writes them). */
#include "codegen/cuda/team/team.h"

enum { MOST_REGISTERS = 64 };

/* 1: grows by one with every iteration; 0: the same in all; -1: anything else. */
int team_slope(const Text *t, const KExpr *expr, const KStmt *loop) {
    if (expr->kind == KE_VAR) {
        int32_t number = team_number(t, loop), defined = t->let_stmt[expr->var->id];
        bool inside = defined > number && defined < t->stmts[number].end;
        return expr->var == loop->var ? 1 : inside || expr->var->is_mutable ? -1 : 0;
    }
    int sum = expr->kind == KE_LOAD || expr->kind == KE_LOCAL ? -1 : 0;
    for (int32_t i = 0; i < expr->n && sum >= 0; i++) {
        int own = team_slope(t, expr->a[i], loop);
        bool adds = expr->kind == KE_SCALAR && expr->op == OP_add;
        sum = own < 0 || (own > 0 && (!adds || sum > 0)) ? -1 : sum + own;
    }
    return sum;
}

static bool same_expr(const KExpr *a, const KExpr *b) {
    bool same = a == b || (a->kind == b->kind && a->dtype == b->dtype && a->op == b->op &&
                           a->n == b->n && a->integer == b->integer && a->real == b->real &&
                           a->index == b->index && a->var == b->var && a->local == b->local);
    for (int32_t i = 0; a != b && same && i < a->n; i++) {
        same = same_expr(a->a[i], b->a[i]);
    }
    return same;
}

int32_t team_wide_part(const Text *t, bool is_store, int32_t buffer, const KLocal *local,
                       const KExpr *index) {
    for (int32_t i = 0; t->wide && i < t->wide->n; i++) {
        const WidePart *part = &t->wide->parts[i];
        if (part->is_store == is_store && part->buffer == buffer && part->local == local &&
            same_expr(part->index, index)) {
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

static bool add_loads(Text *t, Wide *wide, const KStmt *loop, const KExpr *expr) {
    bool fits = expr->kind != KE_LOCAL;
    for (int32_t i = 0; i < expr->n && fits; i++) {
        fits = add_loads(t, wide, loop, expr->a[i]);
    }
    if (fits && expr->kind == KE_LOAD) {
        fits = !t->kernel->buffers[expr->index].is_written;
        if (fits && team_slope(t, expr->a[0], loop) == 1) {
            fits = add_part(t, wide, false, expr->index, expr->a[0]);
        }
    }
    return fits;
}

bool team_wide(Text *t, const KStmt *loop, Wide *out) {
    *out = (Wide){.n = 0};
    for (const KStmt *stmt = loop->body; stmt; stmt = stmt->next) {
        bool fits = stmt->kind == KS_LET || stmt->kind == KS_STORE;
        fits = fits && add_loads(t, out, loop, stmt->value);
        if (fits && stmt->kind == KS_STORE) {
            fits = team_slope(t, stmt->begin, loop) == 1 &&
                   add_part(t, out, true, stmt->index, stmt->begin);
        }
        if (!fits) {
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
