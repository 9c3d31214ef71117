/* The rules of kernel.h that hold on every machine: types of expressions and statements, numbers of
 * what they name, variables defined before their use and in reach, and what each kind of loop may
 * hold and set. */
#include "codegen/kernel.h"
#include "ir/base/vec.h"
#include "ir/interp.h"
#include <stdio.h>
#include <string.h>

typedef struct Verify {
    const Kernel *kernel;
    KernelProblem *problem;
    bool failed;
    int32_t at;            /* number of the statement */
    int32_t *first, *last; /* by variable: the statements that mention it first and last; -1 */
    const KVar **vars;     /* by number: the variable that has it */
    bool *in_reach;        /* by variable: defined here or in a list around */
    int32_t n_grid;
} Verify;

static bool fail(Verify *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(Verify *v, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (!v->failed) {
        vsnprintf(v->problem->text, sizeof(v->problem->text), format, args);
        v->problem->stmt = v->at;
    }
    va_end(args);
    v->failed = true;
    return false;
}

/* -- expressions */
static bool is_value_type(DType dtype) {
    return dtype == dtype_in_register(dtype);
}

static bool check_type(Verify *v, const KExpr *e, DType wanted, const char *what) {
    return e->dtype == wanted ||
           fail(v, "%s is %s, not %s", what, dtype_name(e->dtype), dtype_name(wanted));
}

static bool check_local(Verify *v, const KLocal *local) {
    const Kernel *kernel = v->kernel;
    bool known =
        local->id >= 0 && local->id < kernel->n_locals && kernel->locals[local->id] == local;
    return known || fail(v, "a local that the kernel has not");
}

static bool check_buffer(Verify *v, int32_t buffer) {
    return (buffer >= 0 && buffer < v->kernel->n_buffers) ||
           fail(v, "there is no buffer %d", (int)buffer);
}

static bool check_size(Verify *v, int32_t size) {
    return (size >= 0 && size < v->kernel->n_sizes) || fail(v, "there is no size %d", (int)size);
}

static bool check_scalar(Verify *v, const KExpr *e) {
    OpCode op = e->as.scalar.op;
    if (!op_is_scalar(op) || e->as.scalar.n != op_info(op)->n_operands) {
        return fail(v, "an operation of %d operands that there is not", (int)e->as.scalar.n);
    }
    const OpInfo *info = op_info(op);
    const KExpr *const *a = e->as.scalar.a;
    if (op == OP_select && !check_type(v, a[0], DT_BOOL, "what select asks")) {
        return false;
    }
    const KExpr *first = a[op == OP_select];
    for (int32_t i = op == OP_select; i < e->as.scalar.n; i++) {
        if (a[i]->dtype != first->dtype) {
            return fail(v, "%s of %s and %s", info->name, dtype_name(first->dtype),
                        dtype_name(a[i]->dtype));
        }
    }
    if (!scalar_takes(op, first->dtype)) {
        return fail(v, "%s of %s", info->name, dtype_name(first->dtype));
    }
    return check_type(v, e, info->scalar_result == RESULT_BOOL ? DT_BOOL : first->dtype,
                      "an operation's result");
}

static bool check_uniform(Verify *v, const KExpr *e) {
    return check_size(v, e->as.uniform.site) &&
           check_type(v, e->as.uniform.seed, DT_I64, "a seed") &&
           check_type(v, e->as.uniform.step, DT_I64, "a step") &&
           check_type(v, e->as.uniform.iteration, DT_I32, "an iteration") &&
           check_type(v, e->as.uniform.flat, DT_I64, "an index") &&
           ((dtype_is_float(e->dtype) && is_value_type(e->dtype)) ||
            fail(v, "random numbers of %s", dtype_name(e->dtype)));
}

static bool check_var(Verify *v, const KVar *var) {
    if (var->id < 0 || var->id >= v->kernel->n_vars || v->vars[var->id] != var) {
        return fail(v, "variable %%%d is defined nowhere", (int)var->id);
    }
    return v->in_reach[var->id] ||
           fail(v, "variable %%%d is not defined before its use", (int)var->id);
}

/* One expression, its operands apart. */
static bool check_node(Verify *v, const KExpr *e) {
    const Kernel *kernel = v->kernel;
    switch (e->kind) {
    case KE_INT:
        return ((dtype_is_integer(e->dtype) || e->dtype == DT_BOOL) &&
                wrap_int(e->as.integer, e->dtype) == e->as.integer) ||
               fail(v, "%lld of %s", (long long)e->as.integer, dtype_name(e->dtype));
    case KE_FLOAT:
        return (dtype_is_float(e->dtype) && is_value_type(e->dtype)) ||
               fail(v, "a constant of %s", dtype_name(e->dtype));
    case KE_VAR:
        return check_var(v, e->as.var) && check_type(v, e, e->as.var->dtype, "a variable");
    case KE_SIZE:
        return check_size(v, e->as.size) && check_type(v, e, DT_I64, "a size");
    case KE_LOAD:
        return check_buffer(v, e->as.load.buffer) &&
               check_type(v, e->as.load.at, DT_I64, "an index") &&
               check_type(v, e, dtype_in_register(kernel->buffers[e->as.load.buffer].dtype),
                          "a load");
    case KE_LOCAL:
        return check_local(v, e->as.local.array) &&
               check_type(v, e->as.local.at, DT_I64, "an index") &&
               check_type(v, e, dtype_in_register(e->as.local.array->dtype), "a load");
    case KE_SCALAR:
        return check_scalar(v, e);
    case KE_CAST:
        return true;
    case KE_UNIFORM:
        return check_uniform(v, e);
    }
    return fail(v, "an expression of no kind");
}

/* Halves exist as the operand of the cast that widens them, and nowhere else. */
static bool check_expr(Verify *v, const KExpr *e, bool is_widened) {
    const KExpr *operands[KERNEL_EXPR_OPERANDS];
    if (!is_value_type(e->dtype) && !(is_widened && e->kind == KE_CAST)) {
        return fail(v, "a value of %s outside memory", dtype_name(e->dtype));
    }
    if (e->kind == KE_SCALAR && (e->as.scalar.n < 0 || e->as.scalar.n > 3)) {
        return fail(v, "an operation of %d operands", (int)e->as.scalar.n);
    }
    int32_t n = kernel_expr_operands(e, operands);
    for (int32_t i = 0; i < n; i++) {
        if (!check_expr(v, operands[i], e->kind == KE_CAST && e->dtype == DT_F32)) {
            return false;
        }
    }
    return check_node(v, e);
}

/* -- statements */
static bool check_assign(Verify *v, const KAssign *assign, bool is_mutable) {
    const KVar *var = assign->var;
    return (var->is_mutable == is_mutable || fail(v,
                                                  is_mutable ? "variable %%%d is set and was a let"
                                                             : "variable %%%d is a let and is set",
                                                  (int)var->id)) &&
           check_type(v, assign->value, var->dtype, "a variable's value");
}

static bool check_store(Verify *v, const KStmt *stmt) {
    int32_t number = stmt->as.store.buffer;
    if (!check_buffer(v, number)) {
        return false;
    }
    const KBuffer *buffer = &v->kernel->buffers[number];
    return (buffer->is_written || fail(v, "buffer %d is only read", (int)number)) &&
           (!stmt->as.store.watched || dtype_is_float(buffer->dtype) ||
            fail(v, "a watched store of %s", dtype_name(buffer->dtype))) &&
           check_type(v, stmt->as.store.at, DT_I64, "an index") &&
           check_type(v, stmt->as.store.value, dtype_in_register(buffer->dtype), "a stored value");
}

static bool check_contract(Verify *v, const KContract *contract) {
    if (!check_local(v, contract->a_local) || !check_local(v, contract->b_local) ||
        !check_local(v, contract->c_local)) {
        return false;
    }
    DType a = contract->a_local->dtype, c = contract->c_local->dtype;
    if (contract->b_local->dtype != a || dtype_in_register(a) != c || c == DT_BOOL) {
        return fail(v, "a contraction of %s and %s to %s", dtype_name(a),
                    dtype_name(contract->b_local->dtype), dtype_name(c));
    }
    return check_type(v, contract->a_offset, DT_I64, "an offset") &&
           check_type(v, contract->b_offset, DT_I64, "an offset") &&
           check_type(v, contract->c_offset, DT_I64, "an offset") &&
           check_type(v, contract->c_stride, DT_I64, "a stride") &&
           check_type(v, contract->depth, DT_I64, "a depth");
}

static bool check_fault(Verify *v, const KStmt *stmt) {
    return check_type(v, stmt->as.fault.bad, DT_BOOL, "what a fault asks") &&
           (stmt->as.fault.site >= 0 || fail(v, "a site below 0")) &&
           (dtype_is_integer(stmt->as.fault.value->dtype) ||
            fail(v, "a fault's value of %s", dtype_name(stmt->as.fault.value->dtype))) &&
           (dtype_is_integer(stmt->as.fault.bound->dtype) ||
            fail(v, "a fault's bound of %s", dtype_name(stmt->as.fault.bound->dtype)));
}

static bool is_reduction(const KAssign *set) {
    const KExpr *e = set->value;
    if (e->kind != KE_SCALAR) {
        return false;
    }
    OpCode op = e->as.scalar.op;
    bool known = op_info(op)->scalar_identity != IDENTITY_NONE;
    const KExpr *const *a = e->as.scalar.a;
    return known && a[0]->kind == KE_VAR && a[0]->as.var == set->var &&
           !kernel_expr_reads(a[1], set->var);
}

typedef struct Body {
    Verify *verify;
    int32_t from, to; /* statements */
    bool reductions;  /* are allowed */
} Body;

/* A set, within [from, to], of a variable that lives outside is a reduction, where allowed. */
static bool is_bad_set(const KStmt *stmt, void *user) {
    const Body *body = user;
    Verify *v = body->verify;
    if (stmt->kind != KS_SET) {
        return false;
    }
    const KVar *var = stmt->as.set.var;
    bool outlives = v->first[var->id] < body->from || v->last[var->id] > body->to;
    if (!outlives || (body->reductions && is_reduction(&stmt->as.set))) {
        return false;
    }
    fail(v, "variable %%%d outlives an iteration that sets it", (int)var->id);
    return true;
}

static bool check_grid(Verify *v, const KStmt *stmt, bool is_outermost) {
    const KExpr *begin = stmt->as.loop.begin;
    v->n_grid++;
    return ((is_outermost && !stmt->next) || fail(v, "a grid loop that has company")) &&
           ((begin->kind == KE_INT && begin->as.integer == 0) ||
            fail(v, "a grid loop that does not begin at 0"));
}

static bool check_loop(Verify *v, const KStmt *stmt, bool is_outermost) {
    const KExpr *begin = stmt->as.loop.begin, *end = stmt->as.loop.end;
    const KStmt *inside = stmt->as.loop.body;
    KLoopKind kind = stmt->as.loop.kind;
    if (!check_type(v, begin, DT_I64, "a loop's begin") ||
        !check_type(v, end, DT_I64, "a loop's end")) {
        return false;
    }
    if (stmt->as.loop.var->dtype != DT_I64 || stmt->as.loop.var->is_mutable) {
        return fail(v, "a loop's variable is an i64 that is not set");
    }
    if (kind == KL_UNROLL && (begin->kind != KE_INT || end->kind != KE_INT)) {
        return fail(v, "an unrolled loop whose bounds are not constant");
    }
    if (kind == KL_GRID) {
        return check_grid(v, stmt, is_outermost);
    }
    if (kind == KL_VECTOR && kernel_holds_loop(inside)) {
        return fail(v, "a vector loop holds a loop");
    }
    if (kind == KL_VECTOR || kind == KL_INDEPENDENT) {
        Body body = {v, v->at, v->at + kernel_count_stmts(inside), kind == KL_VECTOR};
        return !kernel_walk(inside, is_bad_set, &body);
    }
    return true;
}

static bool check_stmt(Verify *v, const KStmt *stmt, bool is_outermost) {
    const KExpr *operands[KERNEL_STMT_OPERANDS];
    int32_t n = kernel_stmt_operands(stmt, operands);
    for (int32_t i = 0; i < n; i++) {
        if (!check_expr(v, operands[i], false)) {
            return false;
        }
    }
    switch (stmt->kind) {
    case KS_LET:
        return check_assign(v, &stmt->as.let, false);
    case KS_SET:
        return check_assign(v, &stmt->as.set, true);
    case KS_FOR:
        return check_loop(v, stmt, is_outermost);
    case KS_IF:
        return check_type(v, stmt->as.branch.condition, DT_BOOL, "a condition");
    case KS_STORE:
        return check_store(v, stmt);
    case KS_LOCAL_STORE:
        return check_local(v, stmt->as.local_store.array) &&
               check_type(v, stmt->as.local_store.at, DT_I64, "an index") &&
               check_type(v, stmt->as.local_store.value,
                          dtype_in_register(stmt->as.local_store.array->dtype), "a stored value");
    case KS_CONTRACT:
        return check_contract(v, &stmt->as.contract);
    case KS_FAULT:
        return check_fault(v, stmt);
    }
    return fail(v, "a statement of no kind");
}

/* `is_outermost`: only grid loops stand around, each alone. */
static void check_list(Verify *v, const KStmt *list, bool is_outermost) {
    for (const KStmt *stmt = list; stmt && !v->failed; stmt = stmt->next) {
        v->at++;
        if (!check_stmt(v, stmt, is_outermost && stmt == list)) {
            return;
        }
        const KVar *var = kernel_stmt_var(stmt);
        if (var) {
            v->in_reach[var->id] = true;
        }
        const KStmt *lists[2];
        int32_t n = kernel_stmt_lists(stmt, lists);
        for (int32_t i = 0; i < n; i++) {
            check_list(v, lists[i], is_outermost && stmt == list && kernel_is_loop(stmt, KL_GRID));
        }
        if (stmt->kind == KS_FOR) {
            v->in_reach[var->id] = false;
        }
    }
    for (const KStmt *stmt = list; stmt && !v->failed; stmt = stmt->next) {
        if (stmt->kind == KS_LET) {
            v->in_reach[stmt->as.let.var->id] = false;
        }
    }
}

/* -- who mentions which variable */
static void mention(Verify *v, const KVar *var) {
    if (var->id >= 0 && var->id < v->kernel->n_vars) {
        v->first[var->id] = v->first[var->id] < 0 ? v->at : v->first[var->id];
        v->last[var->id] = v->at;
    }
}

static bool mention_read(const KExpr *expr, void *user) {
    if (expr->kind == KE_VAR) {
        mention(user, expr->as.var);
    }
    return false;
}

/* Collects them; true: a number that is wrong or taken. */
static bool mention_stmt(const KStmt *stmt, void *user) {
    Verify *v = user;
    v->at++;
    kernel_walk_operands(stmt, mention_read, v);
    const KVar *var = kernel_stmt_var(stmt);
    if (!var) {
        return false;
    }
    if (var->id < 0 || var->id >= v->kernel->n_vars) {
        return !fail(v, "there is no variable %%%d", (int)var->id);
    }
    const KVar *known = v->vars[var->id];
    if (known && (known != var || stmt->kind != KS_SET)) {
        return !fail(v, "variable %%%d is defined twice", (int)var->id);
    }
    v->vars[var->id] = var;
    mention(v, var);
    return false;
}

bool kernel_verify(const Kernel *kernel, Arena *scratch, KernelProblem *problem) {
    ArenaMark mark = arena_mark(scratch);
    Verify v = {.kernel = kernel, .problem = problem, .at = -1};
    v.first = ARENA_ARRAY(scratch, int32_t, kernel->n_vars + 1);
    v.last = ARENA_ARRAY(scratch, int32_t, kernel->n_vars + 1);
    v.vars = ARENA_ARRAY(scratch, const KVar *, kernel->n_vars + 1);
    v.in_reach = ARENA_ARRAY(scratch, bool, kernel->n_vars + 1);
    for (int32_t i = 0; i < kernel->n_vars; i++) {
        v.first[i] = v.last[i] = -1;
    }
    kernel_walk(kernel->body, mention_stmt, &v);
    v.at = -1;
    if (!v.failed) {
        check_list(&v, kernel->body, true);
    }
    v.at = -1;
    if (!v.failed && (v.n_grid != kernel->n_grid || v.n_grid > TYPE_MAX_RANK)) {
        fail(&v, "%d grid loops, and sizes of %d", (int)v.n_grid, (int)kernel->n_grid);
    }
    arena_release(scratch, mark);
    return !v.failed;
}
