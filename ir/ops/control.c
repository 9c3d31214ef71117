/* Control: ops with blocks (scan, while, fusion), the end of a block, and the ops that only watch
 * (check, show, size_check). grad is expanded by passes/differentiate and has no meaning of its
 * own. */
#include "ir/ops/library_call.h"
#include "ir/ops/rule.h"
#include <inttypes.h>

static bool check_block(Context *context, const Op *op, int32_t index, int32_t n_args,
                        OpProblem *problem) {
    if (index >= op->n_blocks || !op->blocks[index]) {
        return op_problem(context, problem, "%s: block %d is missing", op_name(op), (int)index);
    }
    const Block *block = op->blocks[index];
    if (block->n_args != n_args) {
        return op_problem(context, problem, "%s: block %d has %d arguments but needs %d",
                          op_name(op), (int)index, (int)block->n_args, (int)n_args);
    }
    if (!block_yield(block)) {
        return op_problem(context, problem, "%s: block %d does not end in yield", op_name(op),
                          (int)index);
    }
    return true;
}

static bool check_type(Context *context, const Op *op, const char *what, int32_t index, Type have,
                       Type want, OpProblem *problem) {
    if (!type_equal(have, want)) {
        return op_problem(context, problem, "%s: %s %d has type %s but must be %s", op_name(op),
                          what, (int)index, type_text(context, have), type_text(context, want));
    }
    return true;
}

static bool check_scan_args(Context *context, const Op *op, int32_t n_carries, OpProblem *problem) {
    const Block *body = op->blocks[0];
    const Size *length = scan_length(op);
    if (!rule_counts(context, op, DT_I32, length, problem) ||
        !check_type(context, op, "block argument", 0, body->args[0]->type, type_scalar(DT_I32),
                    problem)) {
        return false;
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        Type type = operand_type(op, i);
        if (i >= n_carries) {
            if (type.rank < 1 || size_equal(context, type.dims[0], length) != TRUTH_YES) {
                return op_problem(context, problem,
                                  "scan: operand %d has type %s but its first axis must be the "
                                  "length, %s",
                                  (int)i, type_text(context, type), size_text(context, length));
            }
            type.rank--;
            type.dims++;
        }
        if (!check_type(context, op, "block argument", 1 + i, body->args[1 + i]->type, type,
                        problem)) {
            return false;
        }
    }
    return true;
}

bool shape_scan(Context *context, Op *op, OpProblem *problem) {
    int64_t carries = scan_carries(op);
    const Size *length = scan_length(op);
    if (carries < 0 || carries > op->n_operands || carries > op->n_results) {
        return op_problem(context, problem, "scan: %lld carries, but %d operands and %d results",
                          (long long)carries, (int)op->n_operands, (int)op->n_results);
    }
    if (!rule_shape(context, op, &length, 1, problem) ||
        !check_block(context, op, 0, 1 + op->n_operands, problem) ||
        !check_scan_args(context, op, (int32_t)carries, problem)) {
        return false;
    }
    const Op *yield = block_yield(op->blocks[0]);
    if (yield->n_operands != op->n_results) {
        return op_problem(context, problem,
                          "scan: the body yields %d values but there are %d results",
                          (int)yield->n_operands, (int)op->n_results);
    }
    for (int32_t i = 0; i < op->n_results; i++) {
        Type type = yield->operands[i]->type;
        if (i < carries) {
            if (!check_type(context, op, "the next value of carry", i, type, operand_type(op, i),
                            problem)) {
                return false;
            }
            op->results[i]->type = type;
            continue;
        }
        const Size *dims[TYPE_MAX_RANK + 1];
        dims[0] = length;
        for (int32_t k = 0; k < type.rank; k++) {
            dims[1 + k] = type.dims[k];
        }
        if (!rule_result(context, op, i, type.dtype, type.rank + 1, dims, problem)) {
            return false;
        }
    }
    return true;
}

bool shape_while(Context *context, Op *op, OpProblem *problem) {
    if (!check_block(context, op, 0, op->n_operands, problem) ||
        !check_block(context, op, 1, op->n_operands, problem)) {
        return false;
    }
    const Op *condition = block_yield(op->blocks[0]), *next = block_yield(op->blocks[1]);
    if (condition->n_operands != 1 || next->n_operands != op->n_operands ||
        op->n_results != op->n_operands) {
        return op_problem(context, problem,
                          "while: %d carries, but the condition yields %d values, the body %d, and "
                          "there are %d results",
                          (int)op->n_operands, (int)condition->n_operands, (int)next->n_operands,
                          (int)op->n_results);
    }
    if (while_limit(op) < 0) {
        return op_problem(context, problem, "while: the limit is negative");
    }
    if (!check_type(context, op, "condition", 0, condition->operands[0]->type, type_scalar(DT_BOOL),
                    problem)) {
        return false;
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        Type type = operand_type(op, i);
        if (!check_type(context, op, "block argument", i, op->blocks[0]->args[i]->type, type,
                        problem) ||
            !check_type(context, op, "block argument", i, op->blocks[1]->args[i]->type, type,
                        problem) ||
            !check_type(context, op, "the next value of carry", i, next->operands[i]->type, type,
                        problem)) {
            return false;
        }
        op->results[i]->type = type;
    }
    return true;
}

bool shape_fusion(Context *context, Op *op, OpProblem *problem) {
    if (!check_block(context, op, 0, op->n_operands, problem)) {
        return false;
    }
    const Block *body = op->blocks[0];
    const Op *yield = block_yield(body);
    if (yield->n_operands != op->n_results) {
        return op_problem(context, problem,
                          "fusion: the body yields %d values but there are %d results",
                          (int)yield->n_operands, (int)op->n_results);
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (!check_type(context, op, "block argument", i, body->args[i]->type, operand_type(op, i),
                        problem)) {
            return false;
        }
    }
    for (int32_t i = 0; i < op->n_results; i++) {
        op->results[i]->type = yield->operands[i]->type;
    }
    return library_call_check(context, op, problem);
}

bool shape_yield(Context *context, Op *op, OpProblem *problem) {
    (void)context;
    (void)op;
    (void)problem;
    return true;
}

bool shape_grad(Context *context, Op *op, OpProblem *problem) {
    if (!rule_min_operands(context, op, 1, problem)) {
        return false;
    }
    Type y = operand_type(op, 0);
    if (y.rank != 0 || !dtype_is_float(y.dtype)) {
        return op_problem(context, problem,
                          "grad: operand 0 has type %s but only a float of rank 0 has a gradient",
                          type_text(context, y));
    }
    if (op->n_results != op->n_operands - 1) {
        return op_problem(context, problem, "grad: %d values to derive by, but %d results",
                          (int)op->n_operands - 1, (int)op->n_results);
    }
    for (int32_t i = 0; i < op->n_results; i++) {
        Type x = operand_type(op, 1 + i);
        if (!dtype_is_float(x.dtype)) {
            return op_problem(context, problem,
                              "grad: operand %d has type %s but derivatives are by floats only",
                              (int)i + 1, type_text(context, x));
        }
        op->results[i]->type = x;
    }
    return true;
}

bool shape_check(Context *context, Op *op, OpProblem *problem) {
    return rule_scalar_operand(context, op, 0, DT_BOOL, problem);
}

bool shape_show(Context *context, Op *op, OpProblem *problem) {
    (void)context;
    (void)op;
    (void)problem;
    return true;
}

bool shape_size_check(Context *context, Op *op, OpProblem *problem) {
    const Size *left = size_check_left(op), *right = size_check_right(op);
    if (size_is_error(left) || size_is_error(right)) {
        return op_problem(context, problem, "size_check: a size does not fit 64-bit integers");
    }
    if (size_equal(context, left, right) == TRUTH_NO) {
        return op_problem(context, problem, "size_check: %s and %s are never equal",
                          size_text(context, left), size_text(context, right));
    }
    return true;
}
