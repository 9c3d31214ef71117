/* Constants: constant, literal, size, iota. */
#include "ir/ops/rule.h"

#include "ir/base/number.h"

#include <math.h>

bool shape_constant(Context *context, Op *op, OpProblem *problem) {
    Sizes shape = constant_shape(op);
    DType dtype = constant_dtype(op);
    double value = constant_value(op);
    if (!dtype_is_float(dtype) && (value != trunc(value) || fabs(value) > 9007199254740992.0)) {
        return op_problem(context, problem, "constant: %s is not exact in %s",
                          number_text(value, 17).text, dtype_name(dtype));
    }
    return rule_result(context, op, 0, dtype, shape.count, shape.at, problem);
}

dlc_status eval_constant(Interp *interp, const Op *op) {
    EvalTensor *out = interp_result(interp, op, 0);
    double value = constant_value(op);
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
    Sizes shape = literal_shape(op);
    int64_t count = 1;
    for (int32_t i = 0; i < shape.count; i++) {
        int64_t n = 0;
        if (!size_is_const(shape.at[i], &n) || n < 0) {
            return op_problem(context, problem,
                              "literal: axis %d has size %s but must be a constant of 0 or more",
                              (int)i, size_text(context, shape.at[i]));
        }
        if (!checked_mul(count, n, &count)) {
            return op_problem(context, problem, "literal: the number of elements overflows");
        }
    }
    AttrList data = literal_data(op);
    if (data.count != count) {
        return op_problem(context, problem,
                          "literal: the shape holds %lld elements but data has %d",
                          (long long)count, (int)data.count);
    }
    return rule_result(context, op, 0, literal_dtype(op), shape.count, shape.at, problem);
}

dlc_status eval_literal(Interp *interp, const Op *op) {
    EvalTensor *out = interp_result(interp, op, 0);
    AttrList data = literal_data(op);
    for (int64_t i = 0; i < out->n; i++) {
        if (out->f) {
            out->f[i] = data.floats[i];
        } else {
            int64_t value = data.ints[i];
            out->i[i] = out->dtype == DT_BOOL ? value != 0 : value;
        }
    }
    return DLC_OK;
}

bool shape_size(Context *context, Op *op, OpProblem *problem) {
    DType dtype = size_dtype(op);
    const Size *value = size_extent(op);
    if (size_is_error(value)) {
        return op_problem(context, problem, "size: the value does not fit 64-bit integers");
    }
    if (dtype == DT_BOOL) {
        return op_problem(context, problem, "size: the element type must be a number");
    }
    return rule_result(context, op, 0, dtype, 0, NULL, problem);
}

dlc_status eval_size(Interp *interp, const Op *op) {
    EvalTensor *out = interp_result(interp, op, 0);
    int64_t value = 0;
    dlc_status status = interp_size(interp, size_extent(op), &value);
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
    Sizes shape = iota_shape(op);
    DType dtype = iota_dtype(op);
    if (dtype == DT_BOOL) {
        return op_problem(context, problem, "iota: the element type must be a number");
    }
    return rule_axis(context, op, iota_axis(op), shape.count, problem) &&
           rule_counts(context, op, dtype, shape.at[iota_axis(op)], problem) &&
           rule_result(context, op, 0, dtype, shape.count, shape.at, problem);
}

dlc_status eval_iota(Interp *interp, const Op *op) {
    EvalTensor *out = interp_result(interp, op, 0);
    AxisView view = axis_view(out, iota_axis(op));
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
