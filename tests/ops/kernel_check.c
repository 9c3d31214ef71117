/* The form of kernels for blocks of threads: what each kind of loop may hold and set, contraction
 * tiles, and room for locals. */
#include "tests/ops/kernel_check.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Check {
    const Kernel *kernel;
    const Machine *machine;
    char *message;
    size_t n_message;
    int32_t position;      /* statements in order of the text */
    int32_t *first, *last; /* by variable: where it is set or read first and last */
    bool failed;
} Check;

static void fail(Check *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (!c->failed) {
        vsnprintf(c->message, c->n_message, format, args);
    }
    va_end(args);
    c->failed = true;
}

static void touch(Check *c, const KVar *var) {
    if (c->first[var->id] < 0) {
        c->first[var->id] = c->position;
    }
    c->last[var->id] = c->position;
}

static void read_expr(Check *c, const KExpr *e) {
    if (!e) {
        return;
    }
    if (e->kind == KE_VAR) {
        touch(c, e->var);
    }
    for (int32_t i = 0; i < e->n; i++) {
        read_expr(c, e->a[i]);
    }
}

static void number(Check *c, const KStmt *stmt) {
    for (; stmt; stmt = stmt->next) {
        c->position++;
        read_expr(c, stmt->begin);
        read_expr(c, stmt->end);
        read_expr(c, stmt->value);
        read_expr(c, stmt->depth);
        read_expr(c, stmt->c_stride);
        if (stmt->var) {
            touch(c, stmt->var);
        }
        number(c, stmt->body);
        number(c, stmt->otherwise);
    }
}

static bool reads_var(const KExpr *e, const KVar *var) {
    if (!e) {
        return false;
    }
    if (e->kind == KE_VAR && e->var == var) {
        return true;
    }
    for (int32_t i = 0; i < e->n; i++) {
        if (reads_var(e->a[i], var)) {
            return true;
        }
    }
    return false;
}

static bool is_reduction(const KStmt *set) {
    const KExpr *e = set->value;
    bool known = e->kind == KE_SCALAR && (e->op == OP_add || e->op == OP_mul || e->op == OP_max ||
                                          e->op == OP_min || e->op == OP_and || e->op == OP_or);
    return known && e->a[0]->kind == KE_VAR && e->a[0]->var == set->var &&
           !reads_var(e->a[1], set->var);
}

/* Every set inside [from, to] of a variable that lives outside is a reduction, where allowed. */
static void check_sets(Check *c, const KStmt *stmt, int32_t from, int32_t to, bool reductions) {
    for (; stmt; stmt = stmt->next) {
        if (stmt->kind == KS_SET &&
            (c->first[stmt->var->id] < from || c->last[stmt->var->id] > to) &&
            !(reductions && is_reduction(stmt))) {
            fail(c, "variable %d outlives an iteration that sets it", (int)stmt->var->id);
        }
        check_sets(c, stmt->body, from, to, reductions);
        check_sets(c, stmt->otherwise, from, to, reductions);
    }
}

static int32_t count_stmts(const KStmt *stmt) {
    int32_t count = 0;
    for (; stmt; stmt = stmt->next) {
        count += 1 + count_stmts(stmt->body) + count_stmts(stmt->otherwise);
    }
    return count;
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

static bool power(int64_t value) {
    return value > 0 && (value & (value - 1)) == 0;
}

static bool is_zero(const KExpr *e) {
    return e->kind == KE_INT && e->integer == 0;
}

static void check_contract(Check *c, const KStmt *stmt) {
    bool wide = stmt->local->dtype == DT_F64;
    const Machine *machine = c->machine;
    if (stmt->c_stride->kind != KE_INT || stmt->depth->kind != KE_INT || !is_zero(stmt->begin) ||
        !is_zero(stmt->end) || !is_zero(stmt->value)) {
        fail(c, "a contraction tile that is not constant");
        return;
    }
    int64_t columns = stmt->c_stride->integer, rows = stmt->local->count / columns;
    int64_t depth = stmt->depth->integer;
    bool is_half = stmt->a_local->dtype == DT_BF16 || stmt->a_local->dtype == DT_F16;
    if (!power(rows) || !power(columns) || rows < 32 || columns < 32 ||
        rows > (wide ? machine->tile_rows_f64 : machine->tile_rows_f32) ||
        columns > (wide ? machine->tile_columns_f64 : machine->tile_columns_f32) ||
        rows * columns != stmt->local->count) {
        fail(c, "a contraction tile of %lld by %lld", (long long)rows, (long long)columns);
    }
    if (depth % (is_half ? 16 : 8) || stmt->a_local->count != depth * rows ||
        stmt->b_local->count != depth * columns) {
        fail(c, "panels that do not fit a contraction of depth %lld", (long long)depth);
    }
}

/* A walk in the order of `number`. */
static void check_stmts(Check *c, const KStmt *stmt, bool in_threads) {
    for (; stmt && !c->failed; stmt = stmt->next) {
        int32_t at = ++c->position;
        bool shared = false;
        if (stmt->kind == KS_FOR && (stmt->loop == KL_INDEPENDENT || stmt->loop == KL_VECTOR)) {
            shared = true;
            int32_t to = at + count_stmts(stmt->body);
            check_sets(c, stmt->body, at, to, stmt->loop == KL_VECTOR);
            if (stmt->loop == KL_VECTOR && holds_loop(stmt->body)) {
                fail(c, "a vector loop holds a loop");
            }
        } else if (stmt->kind == KS_CONTRACT) {
            check_contract(c, stmt);
            if (in_threads) {
                fail(c, "a contraction in a shared loop");
            }
        }
        check_stmts(c, stmt->body, in_threads || shared);
        check_stmts(c, stmt->otherwise, in_threads || shared);
    }
}

bool kernel_check(const Kernel *kernel, const Machine *machine, char *message, size_t n_message) {
    Check c = {.kernel = kernel, .machine = machine, .message = message, .n_message = n_message};
    size_t count = (size_t)kernel->n_vars + 1;
    c.first = malloc(count * sizeof(int32_t));
    c.last = malloc(count * sizeof(int32_t));
    for (size_t i = 0; i < count; i++) {
        c.first[i] = c.last[i] = -1;
    }
    number(&c, kernel->body);
    c.position = 0;
    check_stmts(&c, kernel->body, false);
    int64_t bytes = 0;
    for (int32_t i = 0; i < kernel->n_locals; i++) {
        bytes += kernel->locals[i]->count * dtype_bytes(kernel->locals[i]->dtype);
    }
    if (bytes > machine->shared_bytes) {
        fail(&c, "locals of %lld bytes", (long long)bytes);
    }
    free(c.first);
    free(c.last);
    return !c.failed;
}
