/* Movement without run-time positions, one operand: broadcast, reshape, transpose, reverse. */
#include "ir/ops/rule.h"

bool shape_broadcast(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0);
    Sizes shape = broadcast_shape(op);
    Ints axes = broadcast_axes(op);
    if (!rule_shape(context, op, shape.at, shape.count, problem) ||
        !rule_count(context, op, "axes", axes.count, x.rank, problem) ||
        !rule_axes(context, op, "axes", axes, shape.count, problem)) {
        return false;
    }
    for (int32_t i = 0; i < axes.count; i++) {
        if (i > 0 && axes.at[i] <= axes.at[i - 1]) {
            return op_problem(context, problem, "broadcast: axes must increase");
        }
        if (size_equal(context, x.dims[i], shape.at[axes.at[i]]) != TRUTH_YES) {
            return op_problem(
                context, problem,
                "broadcast: operand 0 has shape %s, but its axis %d becomes result axis "
                "%lld of size %s",
                type_text(context, x), (int)i, (long long)axes.at[i],
                size_text(context, shape.at[axes.at[i]]));
        }
    }
    return rule_result(context, op, 0, x.dtype, shape.count, shape.at, problem);
}

dlc_status eval_broadcast(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    EvalTensor *out = interp_result(interp, op, 0);
    Ints axes = broadcast_axes(op);
    int64_t x_strides[TYPE_MAX_RANK] = {0}, strides[TYPE_MAX_RANK] = {0};
    int64_t index[TYPE_MAX_RANK] = {0};
    nd_strides(x->dims, x->rank, x_strides);
    for (int32_t i = 0; i < axes.count; i++) {
        strides[axes.at[i]] = x_strides[i];
    }
    for (int64_t i = 0; i < out->n; i++) {
        tensor_copy_element(out, i, x, nd_dot(index, strides, out->rank));
        nd_next(index, out->dims, out->rank);
    }
    return DLC_OK;
}

void view_broadcast(ViewReader *r, const Op *op, const Position *at, Position *out) {
    Type x = operand_type(op, 0);
    const int64_t *axes = broadcast_axes(op).at;
    for (int32_t i = 0; i < x.rank; i++) {
        out[i] = size_is_one(x.dims[i]) ? r->number(r, 0) : at[axes[i]];
    }
}

void grad_broadcast(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (!wanted[0] || !cotangents[0]) {
        return;
    }
    Ints axes = broadcast_axes(op);
    int64_t reduced[TYPE_MAX_RANK];
    int32_t n_reduced = 0, next = 0;
    for (int32_t axis = 0; axis < op->results[0]->type.rank; axis++) {
        if (next < axes.count && axes.at[next] == axis) {
            next++;
        } else {
            reduced[n_reduced++] = axis;
        }
    }
    out[0] = n_reduced == 0 ? cotangents[0]
                            : b_reduce(b, OP_reduce_sum, cotangents[0], reduced, n_reduced);
}

/* Counts that are not proved equal are a premise: a reshape is also how a frontend gives a value
 * the sizes that a size_check beside it demands. */
bool shape_reshape(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0);
    Sizes shape = reshape_shape(op);
    if (!rule_result(context, op, 0, x.dtype, shape.count, shape.at, problem)) {
        return false;
    }
    const Size *have = type_elements(context, x);
    const Size *want = type_elements(context, op->results[0]->type);
    if (size_is_error(have) || size_is_error(want)) {
        return op_problem(context, problem, "reshape: the number of elements does not fit 64 bits");
    }
    if (!rule_may_be_equal(context, op, have, want, "the number of elements", problem)) {
        return op_problem(
            context, problem,
            "reshape: operand 0 has type %s with %s elements, but the shape wanted, %s, "
            "has %s",
            type_text(context, x), size_text(context, have),
            type_text(context, op->results[0]->type), size_text(context, want));
    }
    return true;
}

dlc_status eval_reshape(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    EvalTensor *out = interp_result(interp, op, 0);
    if (x->n != out->n) {
        return interp_fail(interp, op, "reshape: %lld elements cannot become %lld", (long long)x->n,
                           (long long)out->n);
    }
    tensor_copy_all(out, x);
    return DLC_OK;
}

void view_reshape(ViewReader *r, const Op *op, const Position *at, Position *out) {
    r->reshape(r, op->results[0]->type, at, operand_type(op, 0), out);
}

void grad_reshape(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (wanted[0] && cotangents[0]) {
        Type x = operand_type(op, 0);
        out[0] = b_reshape(b, cotangents[0], x.rank, x.dims);
    }
}

bool shape_transpose(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0);
    Ints permutation = transpose_permutation(op);
    const Size *dims[TYPE_MAX_RANK];
    if (!rule_count(context, op, "permutation", permutation.count, x.rank, problem) ||
        !rule_axes(context, op, "permutation", permutation, x.rank, problem)) {
        return false;
    }
    for (int32_t i = 0; i < permutation.count; i++) {
        dims[i] = x.dims[permutation.at[i]];
    }
    return rule_result(context, op, 0, x.dtype, x.rank, dims, problem);
}

dlc_status eval_transpose(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    EvalTensor *out = interp_result(interp, op, 0);
    const int64_t *permutation = transpose_permutation(op).at;
    int64_t x_strides[TYPE_MAX_RANK] = {0}, strides[TYPE_MAX_RANK] = {0};
    int64_t index[TYPE_MAX_RANK] = {0};
    nd_strides(x->dims, x->rank, x_strides);
    for (int32_t i = 0; i < out->rank; i++) {
        strides[i] = x_strides[permutation[i]];
    }
    for (int64_t i = 0; i < out->n; i++) {
        tensor_copy_element(out, i, x, nd_dot(index, strides, out->rank));
        nd_next(index, out->dims, out->rank);
    }
    return DLC_OK;
}

void view_transpose(ViewReader *r, const Op *op, const Position *at, Position *out) {
    (void)r;
    Ints permutation = transpose_permutation(op);
    for (int32_t i = 0; i < permutation.count; i++) {
        out[permutation.at[i]] = at[i];
    }
}

void grad_transpose(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (!wanted[0] || !cotangents[0]) {
        return;
    }
    Ints permutation = transpose_permutation(op);
    int64_t inverse[TYPE_MAX_RANK] = {0};
    for (int32_t i = 0; i < permutation.count; i++) {
        inverse[permutation.at[i]] = i;
    }
    out[0] = transpose_by(b, cotangents[0], inverse);
}

bool shape_reverse(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0);
    Ints axes = reverse_axes(op);
    return rule_axes(context, op, "axes", axes, x.rank, problem) &&
           rule_result(context, op, 0, x.dtype, x.rank, x.dims, problem);
}

dlc_status eval_reverse(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    EvalTensor *out = interp_result(interp, op, 0);
    Ints axes = reverse_axes(op);
    int64_t strides[TYPE_MAX_RANK] = {0}, index[TYPE_MAX_RANK] = {0};
    nd_strides(x->dims, x->rank, strides);
    int64_t base = 0;
    for (int32_t i = 0; i < axes.count; i++) {
        base += (x->dims[axes.at[i]] - 1) * strides[axes.at[i]];
        strides[axes.at[i]] = -strides[axes.at[i]];
    }
    for (int64_t i = 0; i < out->n; i++) {
        tensor_copy_element(out, i, x, base + nd_dot(index, strides, out->rank));
        nd_next(index, out->dims, out->rank);
    }
    return DLC_OK;
}

void view_reverse(ViewReader *r, const Op *op, const Position *at, Position *out) {
    Type x = operand_type(op, 0);
    Ints axes = reverse_axes(op);
    for (int32_t i = 0; i < x.rank; i++) {
        out[i] = at[i];
    }
    for (int32_t i = 0; i < axes.count; i++) {
        int64_t axis = axes.at[i];
        Position extent = r->size(r, x.dims[axis]), one = r->number(r, 1);
        out[axis] = r->sub(r, r->sub(r, extent, one), at[axis]);
    }
}

void grad_reverse(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (wanted[0] && cotangents[0]) {
        Ints axes = reverse_axes(op);
        out[0] = b_reverse(b, cotangents[0], axes.at, axes.count);
    }
}
