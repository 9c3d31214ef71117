/* Shape, flops and evaluation of every row of scalar.def. */
#include "ir/ops/rule.h"

bool scalar_takes(OpCode code, DType dtype) {
    switch (op_info(code)->scalar_class) {
    case CLASS_FLOAT:
        return dtype_is_float(dtype);
    case CLASS_NUMBER:
        return dtype != DT_BOOL;
    case CLASS_INTEGER:
        return dtype_is_integer(dtype);
    case CLASS_BOOL:
        return dtype == DT_BOOL;
    case CLASS_ANY:
        return true;
    }
    return false;
}

static const char *class_text(ScalarClass class_) {
    switch (class_) {
    case CLASS_FLOAT:
        return "a float type";
    case CLASS_NUMBER:
        return "a number";
    case CLASS_INTEGER:
        return "an integer type";
    case CLASS_BOOL:
        return "bool";
    case CLASS_ANY:
        break;
    }
    return "any type";
}

bool shape_scalar(Context *context, Op *op, OpProblem *problem) {
    const OpInfo *info = op_info(op->code);
    int32_t first = 0; /* the first operand that is not a condition */
    if (op->code == OP_select) {
        Type condition = operand_type(op, 0);
        if (condition.dtype != DT_BOOL) {
            return op_problem(context, problem,
                              "select: operand 0 has type %s but a condition is bool",
                              type_text(context, condition));
        }
        if (!type_equal(condition, type_with_dtype(operand_type(op, 1), DT_BOOL))) {
            return op_problem(
                context, problem, "select: operand 0 has type %s but operand 1 has type %s",
                type_text(context, condition), type_text(context, operand_type(op, 1)));
        }
        first = 1;
    }
    Type type = operand_type(op, first);
    if (!scalar_takes(op->code, type.dtype)) {
        return op_problem(context, problem, "%s: operand %d has type %s but must be %s", info->name,
                          (int)first, type_text(context, type), class_text(info->scalar_class));
    }
    for (int32_t i = first + 1; i < op->n_operands; i++) {
        if (!rule_same_type(context, op, first, i, problem)) {
            return false;
        }
    }
    op->results[0]->type =
        info->scalar_result == RESULT_BOOL ? type_with_dtype(type, DT_BOOL) : type;
    return true;
}

static int64_t eval_element_int(const Op *op, const EvalTensor *const *operands, int64_t at) {
    int64_t values[3] = {0};
    DType dtype = operands[op->n_operands - 1]->dtype;
    for (int32_t k = 0; k < op->n_operands; k++) {
        values[k] = operands[k]->i[at];
    }
    return scalar_eval_int(op->code, dtype, values);
}

static double eval_element_float(const Op *op, const EvalTensor *const *operands, int64_t at) {
    double values[3] = {0};
    for (int32_t k = 0; k < op->n_operands; k++) {
        values[k] = tensor_number(operands[k], at);
    }
    return scalar_eval_float(op->code, values);
}

const Size *flops_scalar(Context *context, const Op *op) {
    const Size *each = size_const(context, op_info(op->code)->work);
    return size_mul(context, each, type_elements(context, op->results[0]->type));
}

dlc_status eval_scalar(Interp *interp, const Op *op) {
    const EvalTensor *operands[3] = {0};
    for (int32_t k = 0; k < op->n_operands; k++) {
        operands[k] = interp_operand(interp, op, k);
    }
    bool floats = dtype_is_float(operands[op->n_operands - 1]->dtype);
    EvalTensor *out = interp_result(interp, op, 0);
    for (int64_t at = 0; at < out->n; at++) {
        if (!floats) {
            out->i[at] = eval_element_int(op, operands, at);
        } else if (out->f) {
            out->f[at] = eval_element_float(op, operands, at);
        } else {
            out->i[at] = eval_element_float(op, operands, at) != 0;
        }
    }
    return DLC_OK;
}
