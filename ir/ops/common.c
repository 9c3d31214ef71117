/* Helpers shared by the op rules: see rule.h. */
#include "ir/ops/rule.h"

#include <string.h>

bool rule_axis(Context *context, const Op *op, int64_t axis, int32_t rank, OpProblem *problem) {
    if (axis < 0 || axis >= rank) {
        return op_problem(context, problem, "%s: axis %lld is outside a value of rank %d",
                          op_name(op), (long long)axis, (int)rank);
    }
    return true;
}

bool rule_axes(Context *context, const Op *op, const char *attr, Ints axes, int32_t rank,
               OpProblem *problem) {
    bool seen[TYPE_MAX_RANK] = {false};
    for (int32_t i = 0; i < axes.count; i++) {
        int64_t axis = axes.at[i];
        if (!rule_axis(context, op, axis, rank, problem)) {
            return false;
        }
        if (seen[axis]) {
            return op_problem(context, problem, "%s: axis %lld stands twice in %s", op_name(op),
                              (long long)axis, attr);
        }
        seen[axis] = true;
    }
    return true;
}

bool rule_count(Context *context, const Op *op, const char *attr, int32_t count, int32_t wanted,
                OpProblem *problem) {
    if (count != wanted) {
        return op_problem(context, problem, "%s: %s has %d entries but %d are needed", op_name(op),
                          attr, (int)count, (int)wanted);
    }
    return true;
}

bool rule_may_be_le(Context *context, const Op *op, const Size *a, const Size *b, const char *what,
                    OpProblem *problem) {
    Truth truth = size_less_equal(context, a, b);
    if (truth == TRUTH_MAYBE && problem->premise) {
        problem->premise(problem->user, size_min(context, a, b), a,
                         arena_format(&context->arena, "%s: %s: %s is above %s", op_name(op), what,
                                      size_text(context, a), size_text(context, b)));
    }
    return truth != TRUTH_NO;
}

bool rule_may_be_equal(Context *context, const Op *op, const Size *a, const Size *b,
                       const char *what, OpProblem *problem) {
    Truth truth = size_equal(context, a, b);
    if (truth == TRUTH_MAYBE && problem->premise) {
        problem->premise(problem->user, a, b,
                         arena_format(&context->arena, "%s: %s: %s is not %s", op_name(op), what,
                                      size_text(context, a), size_text(context, b)));
    }
    return truth != TRUTH_NO;
}

bool rule_counts(Context *context, const Op *op, DType dtype, const Size *size,
                 OpProblem *problem) {
    if (!dtype_is_integer(dtype) || dtype == DT_I64) {
        return true;
    }
    int64_t most = dtype == DT_I32 ? INT32_MAX : dtype == DT_I8 ? INT8_MAX : UINT8_MAX;
    if (!rule_may_be_le(context, op, size, size_const(context, most + 1),
                        "an axis is longer than its indices count", problem)) {
        return op_problem(context, problem, "%s: indices of type %s do not count an axis of %s",
                          op_name(op), dtype_name(dtype), size_text(context, size));
    }
    return true;
}

bool rule_shape(Context *context, const Op *op, const Size *const *shape, int32_t rank,
                OpProblem *problem) {
    if (rank > TYPE_MAX_RANK) {
        return op_problem(context, problem, "%s: the result has rank %d but the limit is %d",
                          op_name(op), (int)rank, (int)TYPE_MAX_RANK);
    }
    for (int32_t i = 0; i < rank; i++) {
        int64_t low = 0, high = 0;
        if (!shape[i] || size_is_error(shape[i])) {
            return op_problem(context, problem,
                              "%s: the size of axis %d does not fit 64-bit integers", op_name(op),
                              (int)i);
        }
        size_range(shape[i], &low, &high);
        if (low < 0 && !rule_may_be_le(context, op, size_const(context, 0), shape[i],
                                       "a size is below zero", problem)) {
            return op_problem(context, problem, "%s: the size of axis %d would be %s, below zero",
                              op_name(op), (int)i, size_text(context, shape[i]));
        }
    }
    return true;
}

bool rule_same_size(Context *context, const Op *op, const Size *a, const char *what_a,
                    const Size *b, const char *what_b, OpProblem *problem) {
    if (size_is_error(a) || size_is_error(b)) {
        return op_problem(context, problem, "%s: a size does not fit 64-bit integers", op_name(op));
    }
    Truth truth = size_equal(context, a, b);
    if (truth != TRUTH_YES) {
        return op_problem(context, problem, "%s: %s is %s but %s is %s%s", op_name(op), what_a,
                          size_text(context, a), what_b, size_text(context, b),
                          truth == TRUTH_MAYBE ? ", which is not proved equal" : "");
    }
    return true;
}

static bool same_shape(Context *context, Type a, Type b) {
    if (a.rank != b.rank) {
        return false;
    }
    for (int32_t i = 0; i < a.rank; i++) {
        if (size_equal(context, a.dims[i], b.dims[i]) != TRUTH_YES) {
            return false;
        }
    }
    return true;
}

bool rule_same_type(Context *context, const Op *op, int32_t i, int32_t j, OpProblem *problem) {
    Type a = operand_type(op, i), b = operand_type(op, j);
    if (a.dtype != b.dtype || !same_shape(context, a, b)) {
        return op_problem(context, problem, "%s: operand %d has type %s but operand %d has type %s",
                          op_name(op), (int)j, type_text(context, b), (int)i,
                          type_text(context, a));
    }
    return true;
}

bool rule_same_dtype(Context *context, const Op *op, int32_t i, int32_t j, OpProblem *problem) {
    Type a = operand_type(op, i), b = operand_type(op, j);
    if (a.dtype != b.dtype) {
        return op_problem(context, problem,
                          "%s: operand %d has element type %s but operand %d has %s", op_name(op),
                          (int)j, dtype_name(b.dtype), (int)i, dtype_name(a.dtype));
    }
    return true;
}

bool rule_scalar_operand(Context *context, const Op *op, int32_t index, DType dtype,
                         OpProblem *problem) {
    Type type = operand_type(op, index);
    if (type.rank != 0 || type.dtype != dtype) {
        return op_problem(context, problem, "%s: operand %d has type %s but must be %s[]",
                          op_name(op), (int)index, type_text(context, type), dtype_name(dtype));
    }
    return true;
}

bool rule_index_operand(Context *context, const Op *op, int32_t index, OpProblem *problem) {
    Type type = operand_type(op, index);
    if (type.dtype != DT_I32 && type.dtype != DT_I64) {
        return op_problem(context, problem, "%s: operand %d has type %s but indices are i32 or i64",
                          op_name(op), (int)index, type_text(context, type));
    }
    return true;
}

bool rule_number_operand(Context *context, const Op *op, int32_t index, OpProblem *problem) {
    Type type = operand_type(op, index);
    if (type.dtype == DT_BOOL) {
        return op_problem(context, problem, "%s: operand %d has type %s but must be a number",
                          op_name(op), (int)index, type_text(context, type));
    }
    return true;
}

bool rule_min_operands(Context *context, const Op *op, int32_t count, OpProblem *problem) {
    if (op->n_operands < count) {
        return op_problem(context, problem, "%s: has %d operands but needs at least %d",
                          op_name(op), (int)op->n_operands, (int)count);
    }
    return true;
}

bool rule_result(Context *context, Op *op, int32_t index, DType dtype, int32_t rank,
                 const Size *const *dims, OpProblem *problem) {
    if (!rule_shape(context, op, dims, rank, problem)) {
        return false;
    }
    op->results[index]->type = type_make(context, dtype, rank, dims);
    return true;
}

AxisView axis_view(const EvalTensor *tensor, int64_t axis) {
    AxisView view = {1, tensor->dims[axis], 1};
    for (int32_t i = 0; i < tensor->rank; i++) {
        if (i < axis) {
            view.outer *= tensor->dims[i];
        } else if (i > axis) {
            view.inner *= tensor->dims[i];
        }
    }
    return view;
}

const Size *flops_per_operand(Context *context, const Op *op) {
    return type_elements(context, operand_type(op, 0));
}

Value *zeros_like(Builder *b, const Value *like) {
    return b_constant_like(b, 0.0, like);
}

Value *transpose_by(Builder *b, Value *x, const int64_t *permutation) {
    bool identity = true;
    for (int32_t i = 0; i < x->type.rank; i++) {
        identity = identity && permutation[i] == i;
    }
    return identity ? x : b_transpose(b, x, permutation);
}

/* -- the precision of contractions and convolutions */

bool rule_precision(Context *context, const Op *op, DType dtype, DType *out, OpProblem *problem) {
    static const char *const LOWER[] = {"tf32", "bf16", "f16"};
    const char *precision = op_precision(op);
    bool is_short = dtype == DT_F16 || dtype == DT_BF16;
    *out = dtype;
    if (precision[0] == '\0') {
        return true;
    }
    if (strcmp(precision, "f32") == 0) {
        *out = DT_F32;
        return is_short || op_problem(context, problem,
                                      "%s: precision \"f32\" is of f16 or bf16 operands, not %s",
                                      op_name(op), dtype_name(dtype));
    }
    for (int32_t i = 0; i < 3; i++) {
        if (strcmp(precision, LOWER[i]) == 0) {
            return dtype == DT_F32 ||
                   op_problem(context, problem, "%s: precision \"%s\" is of f32 operands, not %s",
                              op_name(op), precision, dtype_name(dtype));
        }
    }
    return op_problem(context, problem, "%s: there is no precision \"%s\"", op_name(op), precision);
}

const char *precision_enter(Builder *b, const Op *op, Value **cotangent) {
    const char *saved = b->precision, *precision = op_precision(op);
    b->precision = precision[0] ? precision : NULL;
    *cotangent = b_cast(b, *cotangent, operand_type(op, 0).dtype);
    return saved;
}

Value *precision_leave(Builder *b, const Op *op, int32_t side, Value *gradient, const char *saved) {
    b->precision = saved;
    return gradient ? b_cast(b, gradient, operand_type(op, side).dtype) : NULL;
}
