/* Elementwise ops that stand beside scalar.def: cast, and the identities stop_gradient,
 * copy, opaque, shard_hint and exchange_hint. */
#include "ir/mesh_layout.h"
#include "ir/ops/rule.h"

bool shape_cast(Context *context, Op *op, OpProblem *problem) {
    Type type = operand_type(op, 0);
    return rule_result(context, op, 0, cast_dtype(op), type.rank, type.dims, problem);
}

dlc_status eval_cast(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    EvalTensor *out = interp_result(interp, op, 0);
    for (int64_t i = 0; i < out->n; i++) {
        if (out->f) {
            bool is_single = !x->f && out->dtype == DT_F32; /* rounded once, not by way of f64 */
            out->f[i] = is_single ? (double)(float)x->i[i] : tensor_number(x, i);
        } else if (out->dtype == DT_BOOL) {
            out->i[i] = x->f ? x->f[i] != 0 : x->i[i] != 0;
        } else if (x->f) {
            out->i[i] = float_to_int(x->f[i], out->dtype);
        } else {
            out->i[i] = wrap_int(x->i[i], out->dtype);
        }
    }
    return DLC_OK;
}

void grad_cast(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    DType from = operand_type(op, 0).dtype;
    if (wanted[0] && cotangents[0] && dtype_is_float(from)) {
        out[0] = b_cast(b, cotangents[0], from);
    }
}

bool shape_stop_gradient(Context *context, Op *op, OpProblem *problem) {
    (void)context;
    (void)problem;
    op->results[0]->type = operand_type(op, 0);
    return true;
}

dlc_status eval_stop_gradient(Interp *interp, const Op *op) {
    tensor_copy_all(interp_result(interp, op, 0), interp_operand(interp, op, 0));
    return DLC_OK;
}

bool shape_copy(Context *context, Op *op, OpProblem *problem) {
    return shape_stop_gradient(context, op, problem);
}

dlc_status eval_copy(Interp *interp, const Op *op) {
    return eval_stop_gradient(interp, op);
}

void grad_copy(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    (void)b;
    (void)op;
    out[0] = wanted[0] ? cotangents[0] : NULL;
}

bool shape_opaque(Context *context, Op *op, OpProblem *problem) {
    return shape_stop_gradient(context, op, problem);
}

dlc_status eval_opaque(Interp *interp, const Op *op) {
    return eval_stop_gradient(interp, op);
}

void grad_opaque(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    grad_copy(b, op, cotangents, wanted, out);
}

bool shape_shard_hint(Context *context, Op *op, OpProblem *problem) {
    Placed placed;
    const char *unread = NULL;
    const Type type = operand_type(op, 0);
    if (!placed_read(context, op_placed(op), &placed, &unread)) {
        return op_problem(context, problem, "axes \"%s\": %s", op_placed(op), unread);
    }
    if (placed.rank != type.rank) {
        return op_problem(context, problem,
                          "axes \"%s\" are of rank %d, but the operand has %d axes", op_placed(op),
                          (int)placed.rank, (int)type.rank);
    }
    return shape_stop_gradient(context, op, problem);
}

dlc_status eval_shard_hint(Interp *interp, const Op *op) {
    return eval_stop_gradient(interp, op);
}

/* A gradient lies as what it is the gradient of. */
void grad_shard_hint(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                     Value **out) {
    if (wanted[0] && cotangents[0]) {
        out[0] = b_shard_hint(b, cotangents[0], op_placed(op));
    }
}

bool shape_exchange_hint(Context *context, Op *op, OpProblem *problem) {
    DType sent = op_dtype(op);
    if (!dtype_is_float(operand_type(op, 0).dtype) || !dtype_is_float(sent)) {
        return op_problem(context, problem, "%s is sent as %s, but both must be of floats",
                          dtype_name(operand_type(op, 0).dtype), dtype_name(sent));
    }
    return shape_stop_gradient(context, op, problem);
}

dlc_status eval_exchange_hint(Interp *interp, const Op *op) {
    return eval_stop_gradient(interp, op);
}

void grad_exchange_hint(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                        Value **out) {
    grad_copy(b, op, cotangents, wanted, out);
}
