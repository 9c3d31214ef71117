/* Variables that a loop shared out over a team reduces: each thread's part, and the parts of all
 * combined within warps and, for a block, over its warps' slots in shared memory. */
#include "codegen/cuda/text/state.h"

/* Of bools: whether one true is enough, which is so where none of them give false. */
static bool combines_any(OpCode op) {
    return scalar_int_identity(op, DT_BOOL) == 0;
}

static const char *reduction_name(OpCode op, DType dtype) {
    return dtype != DT_BOOL ? op_info(op)->name : combines_any(op) ? "any" : "all";
}

static void add_identity(Text *t, OpCode op, DType dtype) {
    KExpr expr = {.kind = dtype_is_float(dtype) ? KE_FLOAT : KE_INT, .dtype = dtype};
    if (expr.kind == KE_FLOAT) {
        expr.as.real = scalar_identity(op);
    } else {
        expr.as.integer = scalar_int_identity(op, dtype);
    }
    text_expr(t, &expr);
}

/* VAR = op(VAR, total), where `total` was written to t->out by the caller between the two halves.
 */
static void combine_begin(Text *t, const KVar *var, OpCode op) {
    DType dtype = var->dtype;
    const char *name = reduction_name(op, dtype);
    text_begin(t);
    text_var(t, var);
    str_add(t->out, " = ");
    if (dtype_is_integer(dtype)) {
        str_addf(t->out, "(%s)dlc_%s_%s(", text_value_type(dtype), name, text_suffix(dtype));
    } else if (!dtype_is_float(dtype)) {
        text_var(t, var);
        str_add(t->out, combines_any(op) ? " || " : " && ");
        return;
    } else if (op == OP_max || op == OP_min) {
        str_addf(t->out, "dlc_%s_%s(", name, text_suffix(dtype));
    } else {
        text_var(t, var);
        str_add(t->out, op == OP_mul ? " * " : " + ");
        return;
    }
    text_var(t, var);
    str_add(t->out, ", ");
}

static void combine_end(Text *t, const KVar *var, OpCode op) {
    DType dtype = var->dtype;
    bool call =
        dtype_is_integer(dtype) || (dtype_is_float(dtype) && (op == OP_max || op == OP_min));
    str_add(t->out, call ? ");\n" : ";\n");
}

static void add_part(Text *t, const KVar *var) {
    text_var(t, var);
    str_add(t->out, "_part");
}

void text_parts_declare(Text *t, const KVar *const *vars, const OpCode *ops, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        text_begin(t);
        str_addf(t->out, "%s ", text_value_type(vars[i]->dtype));
        add_part(t, vars[i]);
        str_add(t->out, " = ");
        add_identity(t, ops[i], vars[i]->dtype);
        str_add(t->out, ";\n");
    }
}

void text_parts_combine(Text *t, const KStmt *loop, Team team, const KVar *const *vars,
                        const OpCode *ops, int32_t n) {
    const StmtInfo *info = team_info(t, loop);
    if (team == TEAM_BLOCK) {
        if (info->slots_barrier) {
            text_barrier(t, team);
        }
        for (int32_t i = 0; i < n; i++) {
            const char *name = reduction_name(ops[i], vars[i]->dtype);
            const char *suffix = text_suffix(vars[i]->dtype);
            text_begin(t);
            str_addf(t->out, "dlc_slot_put_%s(slots + %d, dlc_warp_%s_%s(", suffix,
                     (info->slots + i) * t->warps * SLOT_BYTES, name, suffix);
            add_part(t, vars[i]);
            str_add(t->out, "));\n");
        }
        text_barrier(t, team);
    }
    for (int32_t i = 0; i < n; i++) {
        const char *name = reduction_name(ops[i], vars[i]->dtype);
        const char *suffix = text_suffix(vars[i]->dtype);
        combine_begin(t, vars[i], ops[i]);
        if (team == TEAM_BLOCK) {
            str_addf(t->out, "dlc_slot_%s_%s(slots + %d, %d)", name, suffix,
                     (info->slots + i) * t->warps * SLOT_BYTES, t->warps);
        } else {
            str_addf(t->out, "dlc_warp_%s_%s(", name, suffix);
            add_part(t, vars[i]);
            str_add(t->out, ")");
        }
        combine_end(t, vars[i], ops[i]);
    }
}
