/* Reductions: reduce_sum, reduce_prod, reduce_max, reduce_min, argmax, argmin: shapes and
 * evaluation. Their gradients are in reduction_grad.c. */
#include "ir/ops/rule.h"
#include <math.h>

static bool shape_reduce(Context *context, Op *op, bool number, OpProblem *problem) {
    Type x = operand_type(op, 0);
    int32_t rank = 0;
    Ints axes = op_axes(op);
    const Size *dims[TYPE_MAX_RANK];
    if (!rule_axes(context, op, "axes", axes, x.rank, problem) ||
        (number && !rule_number_operand(context, op, 0, problem))) {
        return false;
    }
    for (int32_t i = 0; i < x.rank; i++) {
        bool reduced = false;
        for (int32_t k = 0; k < axes.count; k++) {
            reduced = reduced || axes.at[k] == i;
        }
        if (!reduced) {
            dims[rank++] = x.dims[i];
        }
    }
    return rule_result(context, op, 0, x.dtype, rank, dims, problem);
}

bool shape_reduce_sum(Context *context, Op *op, OpProblem *problem) {
    return shape_reduce(context, op, true, problem);
}

bool shape_reduce_prod(Context *context, Op *op, OpProblem *problem) {
    return shape_reduce(context, op, true, problem);
}

bool shape_reduce_max(Context *context, Op *op, OpProblem *problem) {
    return shape_reduce(context, op, false, problem);
}

bool shape_reduce_min(Context *context, Op *op, OpProblem *problem) {
    return shape_reduce(context, op, false, problem);
}

static bool shape_arg(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0);
    int64_t axis = op_axis(op);
    const Size *dims[TYPE_MAX_RANK];
    if (!rule_axis(context, op, axis, x.rank, problem)) {
        return false;
    }
    if (!rule_counts(context, op, DT_I32, x.dims[axis], problem)) {
        return false;
    }
    int32_t rank = 0;
    for (int32_t i = 0; i < x.rank; i++) {
        if (i != axis) {
            dims[rank++] = x.dims[i];
        }
    }
    return rule_result(context, op, 0, DT_I32, rank, dims, problem);
}

bool shape_argmax(Context *context, Op *op, OpProblem *problem) {
    return shape_arg(context, op, problem);
}

bool shape_argmin(Context *context, Op *op, OpProblem *problem) {
    return shape_arg(context, op, problem);
}

static int64_t int_least(DType dtype) {
    switch (dtype) {
    case DT_I64:
        return INT64_MIN;
    case DT_I32:
        return INT32_MIN;
    case DT_I8:
        return INT8_MIN;
    default:
        return 0;
    }
}

static int64_t int_greatest(DType dtype) {
    switch (dtype) {
    case DT_I64:
        return INT64_MAX;
    case DT_I32:
        return INT32_MAX;
    case DT_I8:
        return INT8_MAX;
    case DT_U8:
        return UINT8_MAX;
    default:
        return 1;
    }
}

/* Folds every element of the operand into its result element with the scalar operation `code`. */
static dlc_status eval_reduce(Interp *interp, const Op *op, OpCode code, double start_float,
                              int64_t start_int) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    EvalTensor *out = interp_result(interp, op, 0);
    Ints axes = op_axes(op);
    int64_t strides[TYPE_MAX_RANK] = {0}, index[TYPE_MAX_RANK] = {0};
    int64_t stride = 1;
    for (int32_t i = x->rank - 1; i >= 0; i--) {
        bool reduced = false;
        for (int32_t k = 0; k < axes.count; k++) {
            reduced = reduced || axes.at[k] == i;
        }
        strides[i] = reduced ? 0 : stride;
        stride *= reduced ? 1 : x->dims[i];
    }
    for (int64_t i = 0; i < out->n; i++) {
        if (out->f) {
            out->f[i] = start_float;
        } else {
            out->i[i] = start_int;
        }
    }
    for (int64_t i = 0; i < x->n; i++) {
        int64_t to = nd_dot(index, strides, x->rank);
        if (out->f) {
            out->f[to] = scalar_eval_float(code, (double[]){out->f[to], x->f[i]});
        } else {
            out->i[to] = scalar_eval_int(code, x->dtype, (int64_t[]){out->i[to], x->i[i]});
        }
        nd_next(index, x->dims, x->rank);
    }
    return DLC_OK;
}

dlc_status eval_reduce_sum(Interp *interp, const Op *op) {
    return eval_reduce(interp, op, OP_add, 0.0, 0);
}

dlc_status eval_reduce_prod(Interp *interp, const Op *op) {
    return eval_reduce(interp, op, OP_mul, 1.0, 1);
}

dlc_status eval_reduce_max(Interp *interp, const Op *op) {
    return eval_reduce(interp, op, OP_max, -(double)INFINITY, int_least(operand_type(op, 0).dtype));
}

dlc_status eval_reduce_min(Interp *interp, const Op *op) {
    return eval_reduce(interp, op, OP_min, (double)INFINITY,
                       int_greatest(operand_type(op, 0).dtype));
}

/* Whether element i of x beats the best so far, j; a nan beats all but an earlier nan. */
static bool beats(const EvalTensor *x, int64_t i, int64_t j, bool greatest) {
    if (x->f) {
        if (isnan(x->f[j])) {
            return false;
        }
        return isnan(x->f[i]) || (greatest ? x->f[i] > x->f[j] : x->f[i] < x->f[j]);
    }
    return greatest ? x->i[i] > x->i[j] : x->i[i] < x->i[j];
}

static dlc_status eval_arg(Interp *interp, const Op *op, bool greatest) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    EvalTensor *out = interp_result(interp, op, 0);
    AxisView view = axis_view(x, op_axis(op));
    for (int64_t i = 0; i < out->n; i++) {
        int64_t base = i / view.inner * view.n * view.inner + i % view.inner;
        int64_t best = 0;
        for (int64_t k = 1; k < view.n; k++) {
            if (beats(x, base + k * view.inner, base + best * view.inner, greatest)) {
                best = k;
            }
        }
        out->i[i] = best;
    }
    return DLC_OK;
}

dlc_status eval_argmax(Interp *interp, const Op *op) {
    return eval_arg(interp, op, true);
}

dlc_status eval_argmin(Interp *interp, const Op *op) {
    return eval_arg(interp, op, false);
}
