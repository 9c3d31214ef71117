/* sort: stable, along one axis; nan counts as greatest, as in argmax. */
#include "ir/ops/rule.h"
#include <math.h>

bool shape_sort(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0);
    return rule_axis(context, op, sort_axis(op), x.rank, problem) &&
           rule_counts(context, op, DT_I32, x.dims[sort_axis(op)], problem) &&
           rule_result(context, op, 0, x.dtype, x.rank, x.dims, problem) &&
           rule_result(context, op, 1, DT_I32, x.rank, x.dims, problem);
}

/* Whether element a must stand before element b, which comes earlier in the operand. */
static bool goes_before(const EvalTensor *x, int64_t a, int64_t b, bool descending) {
    if (x->f) {
        if (isnan(x->f[a]) || isnan(x->f[b])) {
            int64_t greater = descending ? a : b, less = descending ? b : a;
            return isnan(x->f[greater]) && !isnan(x->f[less]);
        }
        return descending ? x->f[a] > x->f[b] : x->f[a] < x->f[b];
    }
    return descending ? x->i[a] > x->i[b] : x->i[a] < x->i[b];
}

/* Insertion sort of one line's source indices: stable and obvious. */
static void sort_line(const EvalTensor *x, int64_t base, AxisView view, bool descending,
                      int64_t *indices) {
    for (int64_t k = 0; k < view.n; k++) {
        int64_t at = k;
        while (at > 0 &&
               goes_before(x, base + k * view.inner,
                           base + indices[(at - 1) * view.inner] * view.inner, descending)) {
            indices[at * view.inner] = indices[(at - 1) * view.inner];
            at--;
        }
        indices[at * view.inner] = k;
    }
}

dlc_status eval_sort(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0);
    EvalTensor *values = interp_result(interp, op, 0), *indices = interp_result(interp, op, 1);
    AxisView view = axis_view(x, sort_axis(op));
    for (int64_t line = 0; line < view.outer * view.inner; line++) {
        int64_t base = line / view.inner * view.n * view.inner + line % view.inner;
        if (view.n == 0) {
            break;
        }
        sort_line(x, base, view, sort_descending(op), indices->i + base);
        for (int64_t k = 0; k < view.n; k++) {
            int64_t at = base + k * view.inner;
            tensor_copy_element(values, at, x, base + indices->i[at] * view.inner);
        }
    }
    return DLC_OK;
}

/* values = gather(x, indices), whose transpose is scatter_add. */
void grad_sort(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (wanted[0] && cotangents[0]) {
        Value *zero = zeros_like(b, op->operands[0]);
        out[0] = b_scatter_add(b, zero, op->results[1], cotangents[0], sort_axis(op));
    }
}
