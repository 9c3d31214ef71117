/* Movement that takes parts or joins them: slice, pad, concat. Pad is the transpose of slice, and
 * slice of pad, so the two give each other's gradients. */
#include "ir/ops/rule.h"

bool shape_slice(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0);
    Sizes start = slice_starts(op);
    Sizes limit = slice_limits(op);
    Ints step = slice_steps(op);
    const Size *dims[TYPE_MAX_RANK];
    if (!rule_count(context, op, "start", start.count, x.rank, problem) ||
        !rule_count(context, op, "limit", limit.count, x.rank, problem) ||
        !rule_count(context, op, "step", step.count, x.rank, problem)) {
        return false;
    }
    const Size *zero = size_const(context, 0);
    for (int32_t i = 0; i < x.rank; i++) {
        if (step.at[i] < 1) {
            return op_problem(context, problem, "slice: the step of axis %d is %lld, below 1",
                              (int)i, (long long)step.at[i]);
        }
        if (size_is_error(start.at[i]) || size_is_error(limit.at[i])) {
            return op_problem(context, problem, "slice: a bound of axis %d does not fit 64 bits",
                              (int)i);
        }
        if (!rule_may_be_le(context, op, zero, start.at[i], "the start is below zero", problem) ||
            !rule_may_be_le(context, op, limit.at[i], x.dims[i], "the limit is behind the axis",
                            problem) ||
            !rule_may_be_le(context, op, start.at[i], limit.at[i], "the start is behind the limit",
                            problem)) {
            return op_problem(context, problem,
                              "slice: %s to %s is outside axis %d of operand 0, which has shape %s",
                              size_text(context, start.at[i]), size_text(context, limit.at[i]),
                              (int)i, type_text(context, x));
        }
        dims[i] = size_cdiv(context, size_sub(context, limit.at[i], start.at[i]),
                            size_const(context, step.at[i]));
    }
    return rule_result(context, op, 0, x.dtype, x.rank, dims, problem);
}

static dlc_status two_sizes(Interp *interp, const Size *a, const Size *b, int64_t *out_a,
                            int64_t *out_b) {
    dlc_status status = interp_size(interp, a, out_a);
    return status != DLC_OK ? status : interp_size(interp, b, out_b);
}

dlc_status eval_slice(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    EvalTensor *out = interp_result(interp, op, 0);
    int32_t count = slice_starts(op).count;
    const Size *const *start = slice_starts(op).at, *const *limit = slice_limits(op).at;
    const int64_t *step = slice_steps(op).at;
    int64_t strides[TYPE_MAX_RANK] = {0}, index[TYPE_MAX_RANK] = {0}, base = 0;
    nd_strides(x->dims, x->rank, strides);
    for (int32_t i = 0; i < count; i++) {
        int64_t from = 0, to = 0;
        dlc_status status = two_sizes(interp, start[i], limit[i], &from, &to);
        if (status) {
            return status;
        }
        if (from < 0 || to < from || to > x->dims[i]) {
            return interp_fail(interp, op, "slice: %lld to %lld is outside axis %d of size %lld",
                               (long long)from, (long long)to, (int)i, (long long)x->dims[i]);
        }
        base += from * strides[i];
        strides[i] *= step[i];
    }
    for (int64_t i = 0; i < out->n; i++) {
        tensor_copy_element(out, i, x, base + nd_dot(index, strides, out->rank));
        nd_next(index, out->dims, out->rank);
    }
    return DLC_OK;
}

/* n + max(n - 1, 0) * interior */
static const Size *dilated_size(Context *context, const Size *n, int64_t interior) {
    if (interior == 0) {
        return n;
    }
    const Size *gaps =
        size_max(context, size_sub(context, n, size_const(context, 1)), size_const(context, 0));
    return size_add(context, n, size_mul(context, gaps, size_const(context, interior)));
}

void view_slice(ViewReader *r, const Op *op, const Position *at, Position *out) {
    Sizes start = slice_starts(op);
    Ints step = slice_steps(op);
    for (int32_t i = 0; i < start.count; i++) {
        Position scaled = r->scale(r, at[i], step.at[i]);
        out[i] = r->add(r, scaled, r->size(r, start.at[i]));
    }
}

void grad_slice(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (!wanted[0] || !cotangents[0]) {
        return;
    }
    Context *context = b->context;
    Type x = operand_type(op, 0), y = op->results[0]->type;
    int32_t count = slice_starts(op).count;
    const Size *const *start = slice_starts(op).at;
    const int64_t *step = slice_steps(op).at;
    const Size *high[TYPE_MAX_RANK];
    int64_t interior[TYPE_MAX_RANK];
    for (int32_t i = 0; i < count; i++) {
        interior[i] = step[i] - 1;
        const Size *covered = dilated_size(context, y.dims[i], interior[i]);
        high[i] = size_sub(context, size_sub(context, x.dims[i], start[i]), covered);
    }
    Value *zero = b_constant(b, 0.0, type_scalar(x.dtype));
    out[0] = b_pad(b, cotangents[0], zero, start, high, interior);
}

bool shape_pad(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0);
    Sizes low = pad_lows(op);
    Sizes high = pad_highs(op);
    Ints interior = pad_interior(op);
    const Size *dims[TYPE_MAX_RANK];
    if (!rule_count(context, op, "low", low.count, x.rank, problem) ||
        !rule_count(context, op, "high", high.count, x.rank, problem) ||
        !rule_count(context, op, "interior", interior.count, x.rank, problem) ||
        !rule_scalar_operand(context, op, 1, x.dtype, problem)) {
        return false;
    }
    const Size *zero = size_const(context, 0);
    for (int32_t i = 0; i < x.rank; i++) {
        if (size_is_error(low.at[i]) || size_is_error(high.at[i])) {
            return op_problem(context, problem, "pad: the padding of axis %d does not fit 64 bits",
                              (int)i);
        }
        if (!rule_may_be_le(context, op, zero, low.at[i], "low is below zero", problem) ||
            !rule_may_be_le(context, op, zero, high.at[i], "high is below zero", problem) ||
            interior.at[i] < 0) {
            return op_problem(context, problem,
                              "pad: axis %d has low %s, high %s, interior %lld, but none may be "
                              "negative",
                              (int)i, size_text(context, low.at[i]), size_text(context, high.at[i]),
                              (long long)interior.at[i]);
        }
        const Size *middle = dilated_size(context, x.dims[i], interior.at[i]);
        dims[i] = size_add(context, size_add(context, low.at[i], middle), high.at[i]);
    }
    return rule_result(context, op, 0, x.dtype, x.rank, dims, problem);
}

dlc_status eval_pad(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    const EvalTensor *value = interp_operand(interp, op, 1);
    EvalTensor *out = interp_result(interp, op, 0);
    int32_t count = pad_lows(op).count;
    const Size *const *low = pad_lows(op).at, *const *high = pad_highs(op).at;
    const int64_t *interior = pad_interior(op).at;
    int64_t strides[TYPE_MAX_RANK] = {0}, index[TYPE_MAX_RANK] = {0}, base = 0;
    nd_strides(out->dims, out->rank, strides);
    for (int32_t i = 0; i < count; i++) {
        int64_t before = 0, after = 0;
        dlc_status status = two_sizes(interp, low[i], high[i], &before, &after);
        if (status) {
            return status;
        }
        if (before < 0 || after < 0) {
            return interp_fail(interp, op, "pad: axis %d has negative padding (%lld, %lld)", (int)i,
                               (long long)before, (long long)after);
        }
        base += before * strides[i];
        strides[i] *= interior[i] + 1;
    }
    for (int64_t i = 0; i < out->n; i++) {
        tensor_copy_element(out, i, value, 0);
    }
    for (int64_t i = 0; i < x->n; i++) {
        tensor_copy_element(out, base + nd_dot(index, strides, x->rank), x, i);
        nd_next(index, x->dims, x->rank);
    }
    return DLC_OK;
}

void view_pad(ViewReader *r, const Op *op, const Position *at, Position *out) {
    Sizes low = pad_lows(op);
    Ints interior = pad_interior(op);
    for (int32_t i = 0; i < low.count; i++) {
        out[i] = r->sub(r, at[i], r->size(r, low.at[i]));
        r->need_natural(r, out[i]);
        if (interior.at[i] > 0) {
            Position rest;
            r->divide(r, out[i], interior.at[i] + 1, &out[i], &rest);
            r->need_zero(r, rest);
        }
        r->need_below(r, out[i], operand_type(op, 0).dims[i]);
    }
}

void grad_pad(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (!cotangents[0]) {
        return;
    }
    Type x = operand_type(op, 0);
    int32_t count = pad_lows(op).count;
    const Size *const *low = pad_lows(op).at;
    const int64_t *interior = pad_interior(op).at;
    const Size *limit[TYPE_MAX_RANK];
    int64_t step[TYPE_MAX_RANK], axes[TYPE_MAX_RANK];
    for (int32_t i = 0; i < count; i++) {
        const Size *middle = dilated_size(b->context, x.dims[i], interior[i]);
        limit[i] = size_add(b->context, low[i], middle);
        step[i] = interior[i] + 1;
        axes[i] = i;
    }
    Value *inside = b_slice(b, cotangents[0], low, limit, step);
    if (wanted[0]) {
        out[0] = inside;
    }
    if (wanted[1]) {
        Value *all = count ? b_reduce(b, OP_reduce_sum, cotangents[0], axes, count) : cotangents[0];
        Value *used = count ? b_reduce(b, OP_reduce_sum, inside, axes, count) : inside;
        out[1] = b_sub(b, all, used);
    }
}

bool shape_concat(Context *context, Op *op, OpProblem *problem) {
    if (!rule_min_operands(context, op, 1, problem)) {
        return false;
    }
    Type first = operand_type(op, 0);
    int64_t axis = concat_axis(op);
    const Size *dims[TYPE_MAX_RANK];
    if (!rule_axis(context, op, axis, first.rank, problem)) {
        return false;
    }
    for (int32_t i = 0; i < first.rank; i++) {
        dims[i] = first.dims[i];
    }
    for (int32_t k = 1; k < op->n_operands; k++) {
        Type type = operand_type(op, k);
        if (!rule_same_dtype(context, op, 0, k, problem)) {
            return false;
        }
        bool fits = type.rank == first.rank;
        for (int32_t i = 0; fits && i < first.rank; i++) {
            fits = i == axis || size_equal(context, type.dims[i], first.dims[i]) == TRUTH_YES;
        }
        if (!fits) {
            return op_problem(context, problem,
                              "concat: operand %d has type %s, but operand 0 has type %s and all "
                              "axes but %lld must be equal",
                              (int)k, type_text(context, type), type_text(context, first),
                              (long long)axis);
        }
        dims[axis] = size_add(context, dims[axis], type.dims[axis]);
    }
    return rule_result(context, op, 0, first.dtype, first.rank, dims, problem);
}

dlc_status eval_concat(Interp *interp, const Op *op) {
    EvalTensor *out = interp_result(interp, op, 0);
    int64_t axis = concat_axis(op), offset = 0;
    AxisView whole = axis_view(out, axis);
    for (int32_t k = 0; k < op->n_operands; k++) {
        const EvalTensor *x = interp_operand(interp, op, k);
        AxisView part = axis_view(x, axis);
        int64_t run = part.n * part.inner;
        for (int64_t i = 0; i < x->n; i++) {
            int64_t to = i / run * whole.n * whole.inner + offset * whole.inner + i % run;
            tensor_copy_element(out, to, x, i);
        }
        offset += part.n;
    }
    return DLC_OK;
}

void grad_concat(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (!cotangents[0]) {
        return;
    }
    int64_t axis = concat_axis(op);
    const Size *offset = size_const(b->context, 0);
    for (int32_t k = 0; k < op->n_operands; k++) {
        const Size *next = size_add(b->context, offset, operand_type(op, k).dims[axis]);
        if (wanted[k]) {
            out[k] = b_slice_axis(b, cotangents[0], axis, offset, next);
        }
        offset = next;
    }
}
