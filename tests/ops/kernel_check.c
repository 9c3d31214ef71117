/* What the machine demands of kernels for blocks of threads, beside kernel_verify: contraction
 * tiles and room for locals. */
#include "tests/ops/kernel_check.h"
#include <stdarg.h>
#include <stdio.h>

typedef struct Check {
    const Machine *machine;
    char *message;
    size_t n_message;
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

static void check_stmts(Check *c, const KStmt *stmt, bool in_threads) {
    for (; stmt && !c->failed; stmt = stmt->next) {
        bool shared = kernel_is_loop(stmt, KL_VECTOR) || kernel_is_loop(stmt, KL_INDEPENDENT);
        if (stmt->kind == KS_CONTRACT) {
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
    Check c = {.machine = machine, .message = message, .n_message = n_message};
    check_stmts(&c, kernel->body, false);
    int64_t bytes = 0;
    for (int32_t i = 0; i < kernel->n_locals; i++) {
        bytes += kernel->locals[i]->count * dtype_bytes(kernel->locals[i]->dtype);
    }
    if (bytes > machine->shared_bytes) {
        fail(&c, "locals of %lld bytes", (long long)bytes);
    }
    return !c.failed;
}
