/* Windows along one axis: unfold takes them, fold adds them back. Each is the other's transpose.
 * Window offsets may be negative paddings: the element read is o*stride + k*dilation - low. */
#include "ir/ops/rule.h"

static bool check_window(Context *context, Op *op, OpProblem *problem) {
    if (op_stride(op) < 1 || op_dilation(op) < 1) {
        return op_problem(context, problem, "%s: stride %lld and dilation %lld must be 1 or more",
                          op_name(op), (long long)op_stride(op), (long long)op_dilation(op));
    }
    if (op_stride(op) > INT32_MAX || op_dilation(op) > INT32_MAX) {
        return op_problem(context, problem, "%s: stride and dilation must fit 32 bits",
                          op_name(op));
    }
    return true;
}

/* dilation * (window - 1) + 1: what one window covers. */
static const Size *window_span(Context *context, const Size *window, int64_t dilation) {
    const Size *one = size_const(context, 1);
    const Size *gaps =
        size_mul(context, size_const(context, dilation), size_sub(context, window, one));
    return size_add(context, gaps, one);
}

bool shape_unfold(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0);
    int64_t axis = unfold_axis(op);
    const Size *dims[TYPE_MAX_RANK + 1];
    if (!rule_axis(context, op, axis, x.rank, problem) || !check_window(context, op, problem) ||
        !rule_scalar_operand(context, op, 1, x.dtype, problem)) {
        return false;
    }
    if (x.rank + 1 > TYPE_MAX_RANK) {
        return op_problem(context, problem, "unfold: the result has rank %d but the limit is %d",
                          (int)x.rank + 1, (int)TYPE_MAX_RANK);
    }
    const Size *window = unfold_window(op);
    if (!rule_may_be_le(context, op, size_const(context, 1), window, "the window is empty",
                        problem)) {
        return op_problem(context, problem, "unfold: the window is %s, below 1",
                          size_text(context, window));
    }
    const Size *padded = size_add(context, x.dims[axis], unfold_low(op));
    padded = size_add(context, padded, unfold_high(op));
    const Size *room = size_sub(context, padded, window_span(context, window, unfold_dilation(op)));
    const Size *last = size_floordiv(context, room, size_const(context, unfold_stride(op)));
    for (int32_t i = 0; i < x.rank; i++) {
        dims[i < axis ? i : i + 1] = x.dims[i];
    }
    dims[axis] = size_add(context, last, size_const(context, 1));
    dims[axis + 1] = window;
    return rule_result(context, op, 0, x.dtype, x.rank + 1, dims, problem);
}

/* The position in the long axis that window element (o, k) stands for; -1 outside. */
static int64_t window_source(int64_t o, int64_t k, int64_t stride, int64_t dilation, int64_t low,
                             int64_t n) {
    int64_t at = o * stride + k * dilation - low;
    return at >= 0 && at < n ? at : -1;
}

/* The flat element behind element i of the windowed form (windowed[0] windows of windowed[1]
 * places), or -1 outside. */
static int64_t window_element(const Op *op, const AxisView *view, const int64_t *windowed,
                              int64_t low, int64_t i) {
    int64_t inner = i % view->inner, k = i / view->inner % windowed[1];
    int64_t o = i / view->inner / windowed[1] % windowed[0];
    int64_t outer = i / view->inner / windowed[1] / windowed[0];
    int64_t at = window_source(o, k, op_stride(op), op_dilation(op), low, view->n);
    return at < 0 ? -1 : (outer * view->n + at) * view->inner + inner;
}

dlc_status eval_unfold(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0), *value = interp_operand(interp, op, 1);
    EvalTensor *out = interp_result(interp, op, 0);
    int64_t axis = unfold_axis(op), low = 0;
    dlc_status status = interp_size(interp, unfold_low(op), &low);
    if (status) {
        return status;
    }
    AxisView view = axis_view(x, axis);
    const int64_t *windowed = out->dims + axis;
    for (int64_t i = 0; i < out->n; i++) {
        int64_t at = window_element(op, &view, windowed, low, i);
        if (at < 0) {
            tensor_copy_element(out, i, value, 0);
        } else {
            tensor_copy_element(out, i, x, at);
        }
    }
    return DLC_OK;
}

void view_unfold(ViewReader *r, const Op *op, const Position *at, Position *out) {
    Type x = operand_type(op, 0);
    int64_t axis = unfold_axis(op);
    for (int32_t i = 0; i < x.rank; i++) {
        out[i] = at[i <= axis ? i : i + 1];
    }
    Position begin = r->scale(r, at[axis], unfold_stride(op));
    Position place = r->add(r, begin, r->scale(r, at[axis + 1], unfold_dilation(op)));
    out[axis] = r->sub(r, place, r->size(r, unfold_low(op)));
    r->need_natural(r, out[axis]);
    r->need_below(r, out[axis], x.dims[axis]);
}

void grad_unfold(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (!cotangents[0]) {
        return;
    }
    Type x = operand_type(op, 0);
    int64_t axis = unfold_axis(op), axes[TYPE_MAX_RANK];
    Value *inside = b_fold(b, cotangents[0], axis, x.dims[axis], unfold_stride(op),
                           unfold_dilation(op), unfold_low(op));
    if (wanted[0]) {
        out[0] = inside;
    }
    if (wanted[1]) {
        for (int32_t i = 0; i < TYPE_MAX_RANK; i++) {
            axes[i] = i;
        }
        Value *all = b_reduce(b, OP_reduce_sum, cotangents[0], axes, x.rank + 1);
        Value *used = b_reduce(b, OP_reduce_sum, inside, axes, x.rank);
        out[1] = b_sub(b, all, used);
    }
}

bool shape_fold(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0);
    int64_t axis = fold_axis(op);
    const Size *dims[TYPE_MAX_RANK];
    if (!rule_axis(context, op, axis, x.rank, problem) ||
        !rule_axis(context, op, axis + 1, x.rank, problem) || !check_window(context, op, problem) ||
        !rule_number_operand(context, op, 0, problem)) {
        return false;
    }
    if (size_is_error(fold_low(op))) {
        return op_problem(context, problem, "fold: low does not fit 64-bit integers");
    }
    for (int32_t i = 0; i < x.rank - 1; i++) {
        dims[i] = i < axis ? x.dims[i] : i == axis ? fold_size(op) : x.dims[i + 1];
    }
    return rule_result(context, op, 0, x.dtype, x.rank - 1, dims, problem);
}

dlc_status eval_fold(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    EvalTensor *out = interp_result(interp, op, 0);
    int64_t axis = fold_axis(op), low = 0;
    dlc_status status = interp_size(interp, fold_low(op), &low);
    if (status) {
        return status;
    }
    AxisView view = axis_view(out, axis);
    const int64_t *windowed = x->dims + axis;
    for (int64_t i = 0; i < x->n; i++) {
        int64_t at = window_element(op, &view, windowed, low, i);
        if (at < 0) {
            continue;
        }
        if (out->f) {
            out->f[at] += x->f[i];
        } else {
            out->i[at] = (int64_t)((uint64_t)out->i[at] + (uint64_t)x->i[i]);
        }
    }
    return DLC_OK;
}

/* The high padding is chosen so that unfold gives exactly fold's number of windows. */
void grad_fold(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (!wanted[0] || !cotangents[0]) {
        return;
    }
    Context *context = b->context;
    Type x = operand_type(op, 0);
    int64_t axis = fold_axis(op), stride = fold_stride(op);
    int64_t dilation = fold_dilation(op);
    const Size *low = fold_low(op), *window = x.dims[axis + 1];
    const Size *steps = size_sub(context, x.dims[axis], size_const(context, 1));
    const Size *span = window_span(context, window, dilation);
    const Size *covered =
        size_add(context, size_mul(context, steps, size_const(context, stride)), span);
    const Size *high = size_sub(context, size_sub(context, covered, fold_size(op)), low);
    Value *zero = b_constant(b, 0.0, type_scalar(x.dtype));
    out[0] = b_unfold(b, cotangents[0], zero, axis, window, stride, dilation, low, high);
}
