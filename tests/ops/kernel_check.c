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

static bool read_var(const KExpr *expr, void *user) {
    if (expr->kind == KE_VAR) {
        touch(user, expr->as.var);
    }
    return false;
}

static bool number(const KStmt *stmt, void *user) {
    Check *c = user;
    c->position++;
    kernel_walk_operands(stmt, read_var, c);
    const KVar *var = kernel_stmt_var(stmt);
    if (var) {
        touch(c, var);
    }
    return false;
}

static bool is_reduction(const KAssign *set) {
    const KExpr *e = set->value;
    if (e->kind != KE_SCALAR) {
        return false;
    }
    OpCode op = e->as.scalar.op;
    bool known =
        op == OP_add || op == OP_mul || op == OP_max || op == OP_min || op == OP_and || op == OP_or;
    const KExpr *const *a = e->as.scalar.a;
    return known && a[0]->kind == KE_VAR && a[0]->as.var == set->var &&
           !kernel_expr_reads(a[1], set->var);
}

typedef struct Body {
    Check *check;
    int32_t from, to;
    bool reductions; /* are allowed */
} Body;

/* Every set inside [from, to] of a variable that lives outside is a reduction, where allowed. */
static bool check_set(const KStmt *stmt, void *user) {
    const Body *body = user;
    Check *c = body->check;
    const KVar *var = kernel_stmt_var(stmt);
    if (stmt->kind == KS_SET && (c->first[var->id] < body->from || c->last[var->id] > body->to) &&
        !(body->reductions && is_reduction(&stmt->as.set))) {
        fail(c, "variable %d outlives an iteration that sets it", (int)var->id);
    }
    return false;
}

static bool power(int64_t value) {
    return value > 0 && (value & (value - 1)) == 0;
}

static bool is_zero(const KExpr *e) {
    return e->kind == KE_INT && e->as.integer == 0;
}

static void check_contract(Check *c, const KContract *tile) {
    bool wide = tile->c_local->dtype == DT_F64;
    const Machine *machine = c->machine;
    if (tile->c_stride->kind != KE_INT || tile->depth->kind != KE_INT || !is_zero(tile->a_offset) ||
        !is_zero(tile->b_offset) || !is_zero(tile->c_offset)) {
        fail(c, "a contraction tile that is not constant");
        return;
    }
    int64_t columns = tile->c_stride->as.integer, rows = tile->c_local->count / columns;
    int64_t depth = tile->depth->as.integer;
    bool is_half = tile->a_local->dtype == DT_BF16 || tile->a_local->dtype == DT_F16;
    if (!power(rows) || !power(columns) || rows < 32 || columns < 32 ||
        rows > (wide ? machine->tile_rows_f64 : machine->tile_rows_f32) ||
        columns > (wide ? machine->tile_columns_f64 : machine->tile_columns_f32) ||
        rows * columns != tile->c_local->count) {
        fail(c, "a contraction tile of %lld by %lld", (long long)rows, (long long)columns);
    }
    if (depth % (is_half ? 16 : 8) || tile->a_local->count != depth * rows ||
        tile->b_local->count != depth * columns) {
        fail(c, "panels that do not fit a contraction of depth %lld", (long long)depth);
    }
}

/* A walk in the order of `number`. */
static void check_stmts(Check *c, const KStmt *stmt, bool in_threads) {
    for (; stmt && !c->failed; stmt = stmt->next) {
        int32_t at = ++c->position;
        bool is_vector = kernel_is_loop(stmt, KL_VECTOR);
        bool shared = is_vector || kernel_is_loop(stmt, KL_INDEPENDENT);
        if (shared) {
            const KStmt *inside = stmt->as.loop.body;
            Body body = {c, at, at + kernel_count_stmts(inside), is_vector};
            kernel_walk(inside, check_set, &body);
            if (is_vector && kernel_holds_loop(inside)) {
                fail(c, "a vector loop holds a loop");
            }
        } else if (stmt->kind == KS_CONTRACT) {
            check_contract(c, &stmt->as.contract);
            if (in_threads) {
                fail(c, "a contraction in a shared loop");
            }
        }
        const KStmt *lists[2];
        int32_t n = kernel_stmt_lists(stmt, lists);
        for (int32_t i = 0; i < n; i++) {
            check_stmts(c, lists[i], in_threads || shared);
        }
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
    kernel_walk(kernel->body, number, &c);
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
