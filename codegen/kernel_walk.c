/* What expressions and statements are made of, and the walks over them: every reader of the loop IR
 * that wants all parts of a kernel takes them from here, so that a new kind is told to one file. */
#include "codegen/kernel.h"
#include <string.h>

int32_t kernel_expr_slots(KExpr *expr, const KExpr **out[KERNEL_EXPR_OPERANDS]) {
    switch (expr->kind) {
    case KE_INT:
    case KE_FLOAT:
    case KE_VAR:
    case KE_SIZE:
        return 0;
    case KE_LOAD:
        out[0] = &expr->as.load.at;
        return 1;
    case KE_LOCAL:
        out[0] = &expr->as.local.at;
        return 1;
    case KE_SCALAR:
        for (int32_t i = 0; i < expr->as.scalar.n; i++) {
            out[i] = &expr->as.scalar.a[i];
        }
        return expr->as.scalar.n;
    case KE_CAST:
        out[0] = &expr->as.cast;
        return 1;
    case KE_UNIFORM:
        out[0] = &expr->as.uniform.seed;
        out[1] = &expr->as.uniform.step;
        out[2] = &expr->as.uniform.iteration;
        out[3] = &expr->as.uniform.flat;
        return 4;
    }
    return 0;
}

/* The slots of what is not to be changed: read only. */
int32_t kernel_expr_operands(const KExpr *expr, const KExpr *out[KERNEL_EXPR_OPERANDS]) {
    const KExpr **slots[KERNEL_EXPR_OPERANDS];
    int32_t n = kernel_expr_slots((KExpr *)expr, slots);
    for (int32_t i = 0; i < n; i++) {
        out[i] = *slots[i];
    }
    return n;
}

void kernel_expr_key(const KExpr *expr, int64_t out[2]) {
    out[0] = out[1] = 0;
    switch (expr->kind) {
    case KE_INT:
        out[0] = expr->as.integer;
        break;
    case KE_FLOAT:
        memcpy(out, &expr->as.real, sizeof(double));
        break;
    case KE_VAR:
        out[0] = (int64_t)(intptr_t)expr->as.var;
        break;
    case KE_SIZE:
        out[0] = expr->as.size;
        break;
    case KE_LOAD:
        out[0] = expr->as.load.buffer;
        break;
    case KE_LOCAL:
        out[0] = (int64_t)(intptr_t)expr->as.local.array;
        break;
    case KE_SCALAR:
        out[0] = expr->as.scalar.op;
        out[1] = expr->as.scalar.n;
        break;
    case KE_CAST:
        break;
    case KE_UNIFORM:
        out[0] = expr->as.uniform.site;
        break;
    }
}

bool kernel_expr_equal(const KExpr *a, const KExpr *b) {
    if (a == b) {
        return true;
    }
    int64_t key_a[2], key_b[2];
    kernel_expr_key(a, key_a);
    kernel_expr_key(b, key_b);
    if (a->kind != b->kind || a->dtype != b->dtype || memcmp(key_a, key_b, sizeof(key_a)) != 0) {
        return false;
    }
    const KExpr *in_a[KERNEL_EXPR_OPERANDS], *in_b[KERNEL_EXPR_OPERANDS];
    int32_t n = kernel_expr_operands(a, in_a);
    kernel_expr_operands(b, in_b);
    for (int32_t i = 0; i < n; i++) {
        if (!kernel_expr_equal(in_a[i], in_b[i])) {
            return false;
        }
    }
    return true;
}

int32_t kernel_stmt_slots(KStmt *stmt, const KExpr **out[KERNEL_STMT_OPERANDS]) {
    switch (stmt->kind) {
    case KS_LET:
        out[0] = &stmt->as.let.value;
        return 1;
    case KS_SET:
        out[0] = &stmt->as.set.value;
        return 1;
    case KS_FOR:
        out[0] = &stmt->as.loop.begin;
        out[1] = &stmt->as.loop.end;
        return 2;
    case KS_IF:
        out[0] = &stmt->as.branch.condition;
        return 1;
    case KS_STORE:
        out[0] = &stmt->as.store.at;
        out[1] = &stmt->as.store.value;
        return 2;
    case KS_LOCAL_STORE:
        out[0] = &stmt->as.local_store.at;
        out[1] = &stmt->as.local_store.value;
        return 2;
    case KS_CONTRACT:
        out[0] = &stmt->as.contract.a_offset;
        out[1] = &stmt->as.contract.b_offset;
        out[2] = &stmt->as.contract.c_offset;
        out[3] = &stmt->as.contract.depth;
        out[4] = &stmt->as.contract.c_stride;
        return 5;
    case KS_FAULT:
        out[0] = &stmt->as.fault.value;
        out[1] = &stmt->as.fault.bound;
        out[2] = &stmt->as.fault.bad;
        return 3;
    }
    return 0;
}

int32_t kernel_stmt_operands(const KStmt *stmt, const KExpr *out[KERNEL_STMT_OPERANDS]) {
    const KExpr **slots[KERNEL_STMT_OPERANDS];
    int32_t n = kernel_stmt_slots((KStmt *)stmt, slots);
    for (int32_t i = 0; i < n; i++) {
        out[i] = *slots[i];
    }
    return n;
}

int32_t kernel_stmt_list_slots(KStmt *stmt, KStmt **out[2]) {
    if (stmt->kind == KS_FOR) {
        out[0] = &stmt->as.loop.body;
        return 1;
    }
    if (stmt->kind == KS_IF) {
        out[0] = &stmt->as.branch.then;
        out[1] = &stmt->as.branch.otherwise;
        return 2;
    }
    return 0;
}

int32_t kernel_stmt_lists(const KStmt *stmt, const KStmt *out[2]) {
    KStmt **slots[2];
    int32_t n = kernel_stmt_list_slots((KStmt *)stmt, slots);
    for (int32_t i = 0; i < n; i++) {
        out[i] = *slots[i];
    }
    return n;
}

const KVar *kernel_stmt_var(const KStmt *stmt) {
    return stmt->kind == KS_LET   ? stmt->as.let.var
           : stmt->kind == KS_SET ? stmt->as.set.var
           : stmt->kind == KS_FOR ? stmt->as.loop.var
                                  : NULL;
}

bool kernel_is_loop(const KStmt *stmt, KLoopKind kind) {
    return stmt->kind == KS_FOR && stmt->as.loop.kind == kind;
}

int32_t kernel_stmt_locals(const KStmt *stmt, KLocalUse out[4]) {
    int32_t n = 0;
    if (stmt->kind == KS_LOCAL_STORE) {
        out[n++] = (KLocalUse){stmt->as.local_store.array, stmt->as.local_store.at, true};
    } else if (stmt->kind == KS_CONTRACT) {
        const KContract *contract = &stmt->as.contract;
        out[n++] = (KLocalUse){contract->a_local, NULL, false};
        out[n++] = (KLocalUse){contract->b_local, NULL, false};
        if (contract->accumulate) {
            out[n++] = (KLocalUse){contract->c_local, NULL, false};
        }
        out[n++] = (KLocalUse){contract->c_local, NULL, true};
    }
    return n;
}

/* -- walks */
bool kernel_walk_expr(const KExpr *expr, KExprVisit visit, void *user) {
    if (visit(expr, user)) {
        return true;
    }
    const KExpr *operands[KERNEL_EXPR_OPERANDS];
    int32_t n = kernel_expr_operands(expr, operands);
    for (int32_t i = 0; i < n; i++) {
        if (kernel_walk_expr(operands[i], visit, user)) {
            return true;
        }
    }
    return false;
}

bool kernel_walk_operands(const KStmt *stmt, KExprVisit visit, void *user) {
    const KExpr *operands[KERNEL_STMT_OPERANDS];
    int32_t n = kernel_stmt_operands(stmt, operands);
    for (int32_t i = 0; i < n; i++) {
        if (kernel_walk_expr(operands[i], visit, user)) {
            return true;
        }
    }
    return false;
}

bool kernel_walk(const KStmt *list, KStmtVisit visit, void *user) {
    for (const KStmt *stmt = list; stmt; stmt = stmt->next) {
        const KStmt *lists[2];
        int32_t n = kernel_stmt_lists(stmt, lists);
        if (visit(stmt, user)) {
            return true;
        }
        for (int32_t i = 0; i < n; i++) {
            if (kernel_walk(lists[i], visit, user)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_read_of(const KExpr *expr, void *user) {
    return expr->kind == KE_VAR && expr->as.var == user;
}

bool kernel_expr_reads(const KExpr *expr, const KVar *var) {
    return kernel_walk_expr(expr, is_read_of, (void *)var);
}

static bool is_read_of_local(const KExpr *expr, void *user) {
    return expr->kind == KE_LOCAL && expr->as.local.array == user;
}

bool kernel_expr_reads_local(const KExpr *expr, const KLocal *local) {
    return kernel_walk_expr(expr, is_read_of_local, (void *)local);
}

bool kernel_stmt_reads_local(const KStmt *stmt, const KLocal *local) {
    return kernel_walk_operands(stmt, is_read_of_local, (void *)local);
}

static bool count_stmt(const KStmt *stmt, void *user) {
    (void)stmt;
    ++*(int32_t *)user;
    return false;
}

int32_t kernel_count_stmts(const KStmt *list) {
    int32_t count = 0;
    kernel_walk(list, count_stmt, &count);
    return count;
}

static bool is_contract(const KStmt *stmt, void *user) {
    (void)user;
    return stmt->kind == KS_CONTRACT;
}

static bool is_fault(const KStmt *stmt, void *user) {
    (void)user;
    return stmt->kind == KS_FAULT;
}

static bool is_watch(const KStmt *stmt, void *user) {
    (void)user;
    return stmt->kind == KS_STORE && stmt->as.store.watched;
}

static bool is_loop(const KStmt *stmt, void *user) {
    (void)user;
    return stmt->kind == KS_CONTRACT || (stmt->kind == KS_FOR && stmt->as.loop.kind != KL_UNROLL);
}

bool kernel_holds_contract(const KStmt *list) {
    return kernel_walk(list, is_contract, NULL);
}

bool kernel_holds_fault(const KStmt *list) {
    return kernel_walk(list, is_fault, NULL);
}

bool kernel_holds_watch(const KStmt *list) {
    return kernel_walk(list, is_watch, NULL);
}

bool kernel_holds_loop(const KStmt *list) {
    return kernel_walk(list, is_loop, NULL);
}

bool kernel_expr_is_natural(const Kernel *kernel, const bool *natural, const KExpr *expr) {
    const KExpr *const *a = expr->as.scalar.a;
    int64_t low, high;
    switch (expr->kind) {
    case KE_INT:
        return expr->as.integer >= 0;
    case KE_VAR:
        return natural[expr->as.var->id];
    case KE_SIZE:
        size_range(kernel->sizes[expr->as.size], &low, &high);
        return low >= 0;
    case KE_CAST:
        return expr->as.cast->dtype == DT_I32 &&
               kernel_expr_is_natural(kernel, natural, expr->as.cast);
    case KE_SCALAR:
        break;
    default:
        return false;
    }
    bool is[3] = {false, false, false};
    ScalarSign sign = op_info(expr->as.scalar.op)->scalar_sign;
    for (int32_t i = 0; i < expr->as.scalar.n && sign != SIGN_UNKNOWN; i++) {
        is[i] = kernel_expr_is_natural(kernel, natural, a[i]);
    }
    return (sign == SIGN_BOTH && is[0] && is[1]) || (sign == SIGN_EITHER && (is[0] || is[1])) ||
           (sign == SIGN_SECOND && is[1]) || (sign == SIGN_BRANCHES && is[1] && is[2]);
}

static bool mark_read(const KExpr *expr, void *user) {
    if (expr->kind == KE_LOAD) {
        ((bool *)user)[expr->as.load.buffer] = true;
    }
    return false;
}

static bool mark_reads(const KStmt *stmt, void *user) {
    return kernel_walk_operands(stmt, mark_read, user);
}

void kernel_mark_reads(const KStmt *list, bool *reads) {
    kernel_walk(list, mark_reads, reads);
}
