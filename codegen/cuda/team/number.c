/* Statements by number, and what is known of them: how long a loop is, how wide a type. Decided
 * from the loops' kinds and, where sizes are symbolic, from their nominal values; never from
 * anything that differs between runs. */
#include "codegen/cuda/team/team.h"
#include <stdlib.h>
#include <string.h>

uint32_t team_slot(const Text *t, const KStmt *stmt) {
    uint64_t hash = (uint64_t)(uintptr_t)stmt * 0x9E3779B97F4A7C15u;
    uint32_t slot = (uint32_t)(hash >> 32) & t->mask;
    while (t->by_stmt[slot] != 0 && t->stmts[t->by_stmt[slot] - 1].stmt != stmt) {
        slot = (slot + 1) & t->mask;
    }
    return slot;
}

int32_t team_number(const Text *t, const KStmt *stmt) {
    return t->by_stmt[team_slot(t, stmt)] - 1;
}

StmtInfo *team_info(const Text *t, const KStmt *stmt) {
    return &t->stmts[team_number(t, stmt)];
}

/* -- extents */
static int64_t nominal(const Text *t, const KExpr *expr, bool *known) {
    int64_t x, y;
    switch (expr->kind) {
    case KE_INT:
        return expr->as.integer;
    case KE_SIZE:
        *known = *known && size_is_const(t->kernel->sizes[expr->as.size], NULL);
        return size_nominal(t->kernel->sizes[expr->as.size], UNSET_SIZE);
    case KE_VAR:
        if (t->let_stmt[expr->as.var->id] >= 0) {
            const KStmt *stmt = t->stmts[t->let_stmt[expr->as.var->id]].stmt;
            if (stmt->kind == KS_LET) {
                return nominal(t, stmt->as.let.value, known);
            }
        }
        *known = false;
        return 0;
    case KE_SCALAR:
        if (expr->as.scalar.n != 2) {
            break;
        }
        x = nominal(t, expr->as.scalar.a[0], known);
        y = nominal(t, expr->as.scalar.a[1], known);
        switch (expr->as.scalar.op) {
        case OP_add:
            return (int64_t)((uint64_t)x + (uint64_t)y);
        case OP_sub:
            return (int64_t)((uint64_t)x - (uint64_t)y);
        case OP_mul:
            return (int64_t)((uint64_t)x * (uint64_t)y);
        case OP_min:
            return x < y ? x : y;
        case OP_max:
            return x > y ? x : y;
        case OP_floordiv:
            return y > 0 && x >= 0 ? x / y : x;
        default:
            break;
        }
        break;
    default:
        break;
    }
    *known = false;
    return UNSET_SIZE;
}

int64_t team_extent(const Text *t, const KStmt *loop, bool *known) {
    *known = true;
    return nominal(t, loop->as.loop.end, known) - nominal(t, loop->as.loop.begin, known);
}

int team_memory_bytes(DType dtype) {
    return dtype_bytes(dtype);
}
