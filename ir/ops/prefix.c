/* cumsum: the running sum along one axis. */
#include "ir/ops/rule.h"

bool shape_cumsum(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0);
    return rule_axis(context, op, cumsum_axis(op), x.rank, problem) &&
           rule_number_operand(context, op, 0, problem) &&
           rule_result(context, op, 0, x.dtype, x.rank, x.dims, problem);
}

dlc_status eval_cumsum(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    EvalTensor *out = interp_result(interp, op, 0);
    bool reverse = cumsum_reverse(op), exclusive = cumsum_exclusive(op);
    AxisView view = axis_view(x, cumsum_axis(op));
    for (int64_t line = 0; line < view.outer * view.inner; line++) {
        int64_t base = line / view.inner * view.n * view.inner + line % view.inner;
        double sum = 0;
        uint64_t int_sum = 0;
        for (int64_t k = 0; k < view.n; k++) {
            int64_t at = base + (reverse ? view.n - 1 - k : k) * view.inner;
            if (out->f) {
                out->f[at] = exclusive ? sum : sum + x->f[at];
                sum += x->f[at];
            } else {
                out->i[at] = (int64_t)(exclusive ? int_sum : int_sum + (uint64_t)x->i[at]);
                int_sum += (uint64_t)x->i[at];
            }
        }
    }
    return DLC_OK;
}

void grad_cumsum(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (wanted[0] && cotangents[0]) {
        out[0] =
            b_cumsum(b, cotangents[0], cumsum_axis(op), !cumsum_reverse(op), cumsum_exclusive(op));
    }
}
