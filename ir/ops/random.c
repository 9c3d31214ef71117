/* random_uniform: a pure function of seed, step, iteration, site and the flat index in the logical
 * tensor, of which the result may be a piece. The numbers are defined in ir/interp.h. */
#include "ir/ops/rule.h"

static bool check_strides(Context *context, const Op *op, int32_t rank, OpProblem *problem) {
    Sizes stride = random_uniform_piece_strides(op);
    if (stride.count > 0 && !rule_count(context, op, "stride", stride.count, rank, problem)) {
        return false;
    }
    for (int32_t i = 0; i < stride.count; i++) {
        if (!stride.at[i] || size_is_error(stride.at[i])) {
            return op_problem(context, problem,
                              "random_uniform: the stride of axis %d does not fit 64-bit integers",
                              (int)i);
        }
    }
    return true;
}

bool shape_random_uniform(Context *context, Op *op, OpProblem *problem) {
    Sizes shape = random_uniform_shape(op);
    DType dtype = random_uniform_dtype(op);
    if (!dtype_is_float(dtype)) {
        return op_problem(context, problem, "random_uniform: %s is not a float type",
                          dtype_name(dtype));
    }
    if (op->n_operands != 3 && op->n_operands != 4) {
        return op_problem(context, problem, "random_uniform: has %d operands, not 3 or 4",
                          (int)op->n_operands);
    }
    return rule_scalar_operand(context, op, 0, DT_I64, problem) &&
           rule_scalar_operand(context, op, 1, DT_I64, problem) &&
           rule_scalar_operand(context, op, 2, DT_I32, problem) &&
           (op->n_operands == 3 || rule_scalar_operand(context, op, 3, DT_I64, problem)) &&
           check_strides(context, op, shape.count, problem) &&
           rule_result(context, op, 0, dtype, shape.count, shape.at, problem);
}

dlc_status eval_random_uniform(Interp *interp, const Op *op) {
    EvalTensor *out = interp_result(interp, op, 0);
    int64_t seed = interp_operand(interp, op, 0)->i[0];
    int64_t step = interp_operand(interp, op, 1)->i[0];
    int64_t iteration = interp_operand(interp, op, 2)->i[0];
    int64_t start = op->n_operands > 3 ? interp_operand(interp, op, 3)->i[0] : 0;
    int64_t site = random_uniform_site(op);
    int64_t strides[TYPE_MAX_RANK] = {0}, index[TYPE_MAX_RANK] = {0};
    Sizes stride = random_uniform_piece_strides(op);
    nd_strides(out->dims, out->rank, strides);
    for (int32_t a = 0; a < stride.count; a++) {
        dlc_status status = interp_size(interp, stride.at[a], &strides[a]);
        if (status != DLC_OK) {
            return status;
        }
    }
    for (int64_t i = 0; i < out->n; i++) {
        int64_t flat = start + nd_dot(index, strides, out->rank);
        out->f[i] = random_uniform_at(seed, step, site, iteration, flat, out->dtype);
        nd_next(index, out->dims, out->rank);
    }
    return DLC_OK;
}
