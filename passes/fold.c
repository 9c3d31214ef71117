/* Constant folding: elementwise ops, casts and movements of splat constants become constants; a
 * size that is a number becomes one too. Only splats are folded: a plan does not grow by folding.
 */
#include "ir/interp.h"
#include "passes/rewrite.h"

static Value *fold_scalar(Builder *b, Op *op) {
    double values[3];
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (!value_is_constant(op->operands[i], &values[i])) {
            return NULL;
        }
    }
    /* The operation's own type is that of its last operand (select's first is its condition). */
    DType operand_dtype = op->operands[op->n_operands - 1]->type.dtype;
    DType dtype = op->results[0]->type.dtype;
    double result;
    if (dtype_is_float(operand_dtype)) {
        result = scalar_eval_float(op->code, values);
        if (dtype_is_float(dtype)) {
            result = round_to_dtype(result, dtype);
        }
    } else {
        int64_t integers[3];
        for (int32_t i = 0; i < op->n_operands; i++) {
            integers[i] = float_to_int(values[i], DT_I64);
        }
        int64_t integer = scalar_eval_int(op->code, operand_dtype, integers);
        if (integer > (INT64_C(1) << 53) || integer < -(INT64_C(1) << 53)) {
            return NULL; /* a constant's value is exact only up to 2^53 */
        }
        result = (double)integer;
    }
    return b_constant(b, result, op->results[0]->type);
}

static Value *fold_cast(Builder *b, Op *op, double value) {
    DType from = op->operands[0]->type.dtype;
    DType to = op->results[0]->type.dtype;
    double result = value;
    if (to == DT_BOOL) {
        result = value != 0;
    } else if (dtype_is_float(to)) {
        result = round_to_dtype(value, to);
    } else if (dtype_is_float(from)) {
        result = (double)float_to_int(value, to);
        if (result > 9007199254740992.0 || result < -9007199254740992.0) {
            return NULL;
        }
    } else {
        result = (double)wrap_int(float_to_int(value, DT_I64), to);
    }
    return b_constant(b, result, op->results[0]->type);
}

static Value *fold_op(Rewriter *rewriter, Builder *b, Op *op) {
    (void)rewriter;
    double value;
    int64_t size;
    if (op_is_scalar(op->code)) {
        return fold_scalar(b, op);
    }
    if (op->code == OP_size) {
        if (size_is_const(size_extent(op), &size) && size <= (INT64_C(1) << 53) &&
            size >= -(INT64_C(1) << 53)) {
            DType dtype = op->results[0]->type.dtype;
            double number = dtype_is_float(dtype) ? round_to_dtype((double)size, dtype)
                                                  : (double)wrap_int(size, dtype);
            return b_constant(b, number, op->results[0]->type);
        }
        return NULL;
    }
    if (!op_rearranges(op->code) || !value_is_constant(op->operands[0], &value)) {
        return NULL;
    }
    return op->code == OP_cast ? fold_cast(b, op, value)
                               : b_constant(b, value, op->results[0]->type);
}

bool pass_fold(PassContext *pass, Func *func) {
    return rewrite_each(pass, func, fold_op);
}
