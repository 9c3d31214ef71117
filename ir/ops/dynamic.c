/* Movement at run-time positions: dynamic_slice and dynamic_update. A position out of range is a
 * fault. */
#include "ir/ops/rule.h"

static bool check_starts(Context *context, Op *op, int32_t first, int32_t rank,
                         OpProblem *problem) {
    if (op->n_operands != first + rank) {
        return op_problem(context, problem,
                          "%s: has %d starts but operand 0 has %d axes, each of which needs one",
                          op_name(op), (int)(op->n_operands - first), (int)rank);
    }
    for (int32_t i = 0; i < rank; i++) {
        if (!rule_scalar_operand(context, op, first + i, DT_I32, problem)) {
            return false;
        }
    }
    return true;
}

static bool check_fits(Context *context, Op *op, const Size *const *part, int32_t rank,
                       OpProblem *problem) {
    Type x = operand_type(op, 0);
    if (!rule_count(context, op, "shape", rank, x.rank, problem)) {
        return false;
    }
    for (int32_t i = 0; i < rank; i++) {
        if (!rule_may_be_le(context, op, part[i], x.dims[i], "the part is larger than the axis",
                            problem)) {
            return op_problem(context, problem,
                              "%s: the part has size %s along axis %d but operand 0 has type %s",
                              op_name(op), size_text(context, part[i]), (int)i,
                              type_text(context, x));
        }
    }
    return true;
}

/* Reads the starts; their offset in x, or a fault. */
static dlc_status eval_starts(Interp *interp, const Op *op, int32_t first, const EvalTensor *x,
                              const EvalTensor *part, int64_t *out_base) {
    int64_t strides[TYPE_MAX_RANK] = {0};
    nd_strides(x->dims, x->rank, strides);
    *out_base = 0;
    for (int32_t i = 0; i < x->rank; i++) {
        int64_t start = interp_operand(interp, op, first + i)->i[0];
        if (start < 0 || start > x->dims[i] - part->dims[i]) {
            return interp_fail(interp, op,
                               "%s: start %lld with size %lld is outside axis %d of size %lld",
                               op_name(op), (long long)start, (long long)part->dims[i], (int)i,
                               (long long)x->dims[i]);
        }
        *out_base += start * strides[i];
    }
    return DLC_OK;
}

bool shape_dynamic_slice(Context *context, Op *op, OpProblem *problem) {
    if (!rule_min_operands(context, op, 1, problem)) {
        return false;
    }
    Type x = operand_type(op, 0);
    Sizes shape = dynamic_slice_shape(op);
    return rule_shape(context, op, shape.at, shape.count, problem) &&
           check_fits(context, op, shape.at, shape.count, problem) &&
           check_starts(context, op, 1, x.rank, problem) &&
           rule_result(context, op, 0, x.dtype, shape.count, shape.at, problem);
}

dlc_status eval_dynamic_slice(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    EvalTensor *out = interp_result(interp, op, 0);
    int64_t base = 0, strides[TYPE_MAX_RANK] = {0}, index[TYPE_MAX_RANK] = {0};
    dlc_status status = eval_starts(interp, op, 1, x, out, &base);
    if (status) {
        return status;
    }
    nd_strides(x->dims, x->rank, strides);
    for (int64_t i = 0; i < out->n; i++) {
        tensor_copy_element(out, i, x, base + nd_dot(index, strides, x->rank));
        nd_next(index, out->dims, out->rank);
    }
    return DLC_OK;
}

void grad_dynamic_slice(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                        Value **out) {
    if (wanted[0] && cotangents[0]) {
        Value *zero = zeros_like(b, op->operands[0]);
        out[0] = b_dynamic_update(b, zero, cotangents[0], op->operands + 1);
    }
}

bool shape_dynamic_update(Context *context, Op *op, OpProblem *problem) {
    if (!rule_min_operands(context, op, 2, problem)) {
        return false;
    }
    Type x = operand_type(op, 0), v = operand_type(op, 1);
    return rule_same_dtype(context, op, 0, 1, problem) &&
           check_fits(context, op, v.dims, v.rank, problem) &&
           check_starts(context, op, 2, x.rank, problem) &&
           rule_result(context, op, 0, x.dtype, x.rank, x.dims, problem);
}

dlc_status eval_dynamic_update(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0), *v = interp_operand(interp, op, 1);
    EvalTensor *out = interp_result(interp, op, 0);
    int64_t base = 0, strides[TYPE_MAX_RANK] = {0}, index[TYPE_MAX_RANK] = {0};
    dlc_status status = eval_starts(interp, op, 2, x, v, &base);
    if (status) {
        return status;
    }
    tensor_copy_all(out, x);
    nd_strides(x->dims, x->rank, strides);
    for (int64_t i = 0; i < v->n; i++) {
        tensor_copy_element(out, base + nd_dot(index, strides, x->rank), v, i);
        nd_next(index, v->dims, v->rank);
    }
    return DLC_OK;
}

void grad_dynamic_update(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                         Value **out) {
    if (!cotangents[0]) {
        return;
    }
    Value *v = op->operands[1];
    if (wanted[0]) {
        Value *zero = zeros_like(b, v);
        out[0] = b_dynamic_update(b, cotangents[0], zero, op->operands + 2);
    }
    if (wanted[1]) {
        out[1] = b_dynamic_slice(b, cotangents[0], op->operands + 2, v->type.dims);
    }
}
