/* random_uniform: a pure function of seed, step, iteration, site and flat index. The numbers are
 * defined in ir/interp.h. */
#include "ir/ops/rule.h"

bool shape_random_uniform(Context *context, Op *op, OpProblem *problem) {
    int32_t rank = 0;
    const Size *const *shape = op_sizes(op, "shape", &rank);
    DType dtype = (DType)op_int(op, "dtype");
    if (!dtype_is_float(dtype)) {
        return op_problem(context, problem, "random_uniform: %s is not a float type",
                          dtype_name(dtype));
    }
    return rule_scalar_operand(context, op, 0, DT_I64, problem) &&
           rule_scalar_operand(context, op, 1, DT_I64, problem) &&
           rule_scalar_operand(context, op, 2, DT_I32, problem) &&
           rule_result(context, op, 0, dtype, rank, shape, problem);
}

OpCost cost_random_uniform(const Op *op) {
    return cost_per_result(op, 30);
}

dlc_status eval_random_uniform(Interp *interp, const Op *op) {
    EvalTensor *out = interp_result(interp, op, 0);
    int64_t seed = interp_operand(interp, op, 0)->i[0];
    int64_t step = interp_operand(interp, op, 1)->i[0];
    int64_t iteration = interp_operand(interp, op, 2)->i[0];
    int64_t site = op_int(op, "site");
    for (int64_t i = 0; i < out->n; i++) {
        out->f[i] = random_uniform_at(seed, step, site, iteration, i, out->dtype);
    }
    return DLC_OK;
}
