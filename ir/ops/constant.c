/* Constants: constant, literal, size, iota. */
#include "ir/ops/rule.h"

#include "ir/base/number.h"

#include <math.h>

bool shape_constant(Context *context, Op *op, OpProblem *problem) {
    int32_t rank = 0;
    const Size *const *shape = op_sizes(op, "shape", &rank);
    DType dtype = (DType)op_int(op, "dtype");
    double value = op_float(op, "value");
    if (!dtype_is_float(dtype) && (value != trunc(value) || fabs(value) > 9007199254740992.0)) {
        return op_problem(context, problem, "constant: %s is not exact in %s",
                          number_text(value, 17).text, dtype_name(dtype));
    }
    return rule_result(context, op, 0, dtype, rank, shape, problem);
}

OpCost cost_constant(const Op *op) {
    return cost_per_result(op, 0);
}

dlc_status eval_constant(Interp *interp, const Op *op) {
    EvalTensor *out = interp_result(interp, op, 0);
    double value = op_float(op, "value");
    for (int64_t i = 0; i < out->n; i++) {
        if (out->f) {
            out->f[i] = value;
        } else {
            out->i[i] = out->dtype == DT_BOOL ? value != 0
                                              : wrap_int(float_to_int(value, DT_I64), out->dtype);
        }
    }
    return DLC_OK;
}

bool shape_literal(Context *context, Op *op, OpProblem *problem) {
    int32_t rank = 0;
    const Size *const *shape = op_sizes(op, "shape", &rank);
    int64_t count = 1;
    for (int32_t i = 0; i < rank; i++) {
        int64_t n = 0;
        if (!size_is_const(shape[i], &n) || n < 0) {
            return op_problem(context, problem,
                              "literal: axis %d has size %s but must be a constant of 0 or more",
                              (int)i, size_text(context, shape[i]));
        }
        if (!checked_mul(count, n, &count)) {
            return op_problem(context, problem, "literal: the number of elements overflows");
        }
    }
    const AttrValue *data = op_attr(op, "data");
    if (data->list.count != count) {
        return op_problem(context, problem,
                          "literal: the shape holds %lld elements but data has %d",
                          (long long)count, (int)data->list.count);
    }
    return rule_result(context, op, 0, (DType)op_int(op, "dtype"), rank, shape, problem);
}

OpCost cost_literal(const Op *op) {
    return cost_per_result(op, 0);
}

dlc_status eval_literal(Interp *interp, const Op *op) {
    EvalTensor *out = interp_result(interp, op, 0);
    const AttrValue *data = NULL;
    const OpInfo *info = op_info(op->code);
    for (int32_t i = 0; i < info->n_attrs; i++) {
        if (info->attrs[i].kind == ATTR_DATA) {
            data = &op->attrs[i];
        }
    }
    for (int64_t i = 0; i < out->n; i++) {
        if (out->f) {
            out->f[i] = data->list.floats[i];
        } else {
            int64_t value = data->list.ints[i];
            out->i[i] = out->dtype == DT_BOOL ? value != 0 : value;
        }
    }
    return DLC_OK;
}

bool shape_size(Context *context, Op *op, OpProblem *problem) {
    DType dtype = (DType)op_int(op, "dtype");
    const Size *value = op_size(op, "value");
    if (size_is_error(value)) {
        return op_problem(context, problem, "size: the value does not fit 64-bit integers");
    }
    if (dtype == DT_BOOL) {
        return op_problem(context, problem, "size: the element type must be a number");
    }
    return rule_result(context, op, 0, dtype, 0, NULL, problem);
}

OpCost cost_size(const Op *op) {
    return cost_per_result(op, 0);
}

dlc_status eval_size(Interp *interp, const Op *op) {
    EvalTensor *out = interp_result(interp, op, 0);
    int64_t value = 0;
    dlc_status status = interp_size(interp, op_size(op, "value"), &value);
    if (status) {
        return status;
    }
    if (out->f) {
        out->f[0] = (double)value;
    } else {
        out->i[0] = value;
    }
    return DLC_OK;
}

bool shape_iota(Context *context, Op *op, OpProblem *problem) {
    int32_t rank = 0;
    const Size *const *shape = op_sizes(op, "shape", &rank);
    DType dtype = (DType)op_int(op, "dtype");
    if (dtype == DT_BOOL) {
        return op_problem(context, problem, "iota: the element type must be a number");
    }
    return rule_axis(context, op, op_int(op, "axis"), rank, problem) &&
           rule_counts(context, op, dtype, shape[op_int(op, "axis")], problem) &&
           rule_result(context, op, 0, dtype, rank, shape, problem);
}

OpCost cost_iota(const Op *op) {
    return cost_per_result(op, 1);
}

dlc_status eval_iota(Interp *interp, const Op *op) {
    EvalTensor *out = interp_result(interp, op, 0);
    AxisView view = axis_view(out, op_int(op, "axis"));
    for (int64_t i = 0; i < out->n; i++) {
        int64_t value = i / view.inner % view.n;
        if (out->f) {
            out->f[i] = (double)value;
        } else {
            out->i[i] = value;
        }
    }
    return DLC_OK;
}
