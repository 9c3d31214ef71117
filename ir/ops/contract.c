/* contract: the sum of products over paired axes; every matrix product is one. */
#include "ir/ops/contract.h"
#include "ir/ops/rule.h"
#include <string.h>

/* How the axes of the two operands are used, worked out once for all rules. */
typedef struct ContractPlan {
    ContractAxes axes;
    int32_t n_free_a, n_free_b;
    int64_t free_a[TYPE_MAX_RANK], free_b[TYPE_MAX_RANK]; /* increasing */
} ContractPlan;

static int32_t list_free(int32_t rank, const int64_t *used_1, int32_t n_1, const int64_t *used_2,
                         int32_t n_2, int64_t *out) {
    int32_t count = 0;
    for (int32_t axis = 0; axis < rank; axis++) {
        bool used = false;
        for (int32_t i = 0; i < n_1; i++) {
            used = used || used_1[i] == axis;
        }
        for (int32_t i = 0; i < n_2; i++) {
            used = used || used_2[i] == axis;
        }
        if (!used) {
            out[count++] = axis;
        }
    }
    return count;
}

static int32_t copy_axes(int64_t *to, Ints from) {
    if (from.count > 0) {
        memcpy(to, from.at, (size_t)from.count * sizeof *to);
    }
    return from.count;
}

/* Valid after shape_contract accepted the op. */
static ContractPlan contract_plan(const Op *op) {
    ContractPlan plan = {0};
    ContractAxes *axes = &plan.axes;
    axes->n_batch = copy_axes(axes->batch_a, contract_batch_a(op));
    copy_axes(axes->batch_b, contract_batch_b(op));
    axes->n_contract = copy_axes(axes->contract_a, contract_contract_a(op));
    copy_axes(axes->contract_b, contract_contract_b(op));
    plan.n_free_a = list_free(operand_type(op, 0).rank, axes->batch_a, axes->n_batch,
                              axes->contract_a, axes->n_contract, plan.free_a);
    plan.n_free_b = list_free(operand_type(op, 1).rank, axes->batch_b, axes->n_batch,
                              axes->contract_b, axes->n_contract, plan.free_b);
    return plan;
}

/* A list of axes and its name in the text form, for messages. */
typedef struct NamedAxes {
    const char *name;
    Ints axes;
} NamedAxes;

/* The axes named for one operand are in range and distinct over both lists. */
static bool check_axes(Context *context, const Op *op, NamedAxes batch, NamedAxes contract,
                       int32_t rank, OpProblem *problem) {
    if (!rule_axes(context, op, batch.name, batch.axes, rank, problem) ||
        !rule_axes(context, op, contract.name, contract.axes, rank, problem)) {
        return false;
    }
    for (int32_t i = 0; i < batch.axes.count; i++) {
        for (int32_t k = 0; k < contract.axes.count; k++) {
            if (batch.axes.at[i] == contract.axes.at[k]) {
                return op_problem(context, problem, "contract: axis %lld stands in %s and in %s",
                                  (long long)batch.axes.at[i], batch.name, contract.name);
            }
        }
    }
    return true;
}

static bool check_pairs(Context *context, const Op *op, NamedAxes of_a, NamedAxes of_b,
                        OpProblem *problem) {
    Type a = operand_type(op, 0), b = operand_type(op, 1);
    if (of_a.axes.count != of_b.axes.count) {
        return op_problem(context, problem, "contract: %s has %d axes but %s has %d", of_a.name,
                          (int)of_a.axes.count, of_b.name, (int)of_b.axes.count);
    }
    for (int32_t i = 0; i < of_a.axes.count; i++) {
        int64_t axis_a = of_a.axes.at[i], axis_b = of_b.axes.at[i];
        if (size_equal(context, a.dims[axis_a], b.dims[axis_b]) != TRUTH_YES) {
            return op_problem(
                context, problem,
                "contract: operand 0 has type %s and operand 1 %s, so axis %lld of the "
                "first does not match axis %lld of the second",
                type_text(context, a), type_text(context, b), (long long)axis_a, (long long)axis_b);
        }
    }
    return true;
}

bool shape_contract(Context *context, Op *op, OpProblem *problem) {
    Type a = operand_type(op, 0), b = operand_type(op, 1);
    NamedAxes batch_a = {"batch_a", contract_batch_a(op)};
    NamedAxes batch_b = {"batch_b", contract_batch_b(op)};
    NamedAxes contract_a = {"contract_a", contract_contract_a(op)};
    NamedAxes contract_b = {"contract_b", contract_contract_b(op)};
    if (!rule_number_operand(context, op, 0, problem) ||
        !rule_same_dtype(context, op, 0, 1, problem) ||
        !check_axes(context, op, batch_a, contract_a, a.rank, problem) ||
        !check_axes(context, op, batch_b, contract_b, b.rank, problem) ||
        !check_pairs(context, op, batch_a, batch_b, problem) ||
        !check_pairs(context, op, contract_a, contract_b, problem)) {
        return false;
    }
    ContractPlan plan = contract_plan(op);
    const Size *dims[2 * TYPE_MAX_RANK];
    int32_t rank = 0;
    for (int32_t i = 0; i < plan.axes.n_batch; i++) {
        dims[rank++] = a.dims[plan.axes.batch_a[i]];
    }
    for (int32_t i = 0; i < plan.n_free_a; i++) {
        dims[rank++] = a.dims[plan.free_a[i]];
    }
    for (int32_t i = 0; i < plan.n_free_b; i++) {
        dims[rank++] = b.dims[plan.free_b[i]];
    }
    DType dtype = a.dtype;
    return rule_precision(context, op, a.dtype, &dtype, problem) &&
           rule_result(context, op, 0, dtype, rank, dims, problem);
}

/* A product and a sum for each element of the result and of what is summed over. */
const Size *flops_contract(Context *context, const Op *op) {
    Ints axes = contract_contract_a(op);
    const Size *work = type_elements(context, op->results[0]->type);
    for (int32_t i = 0; i < axes.count; i++) {
        work = size_mul(context, work, operand_type(op, 0).dims[axes.at[i]]);
    }
    return size_mul(context, size_const(context, 2), work);
}

dlc_status eval_contract(Interp *interp, const Op *op) {
    const EvalTensor *a = interp_operand(interp, op, 0), *b = interp_operand(interp, op, 1);
    EvalTensor *out = interp_result(interp, op, 0);
    ContractPlan plan = contract_plan(op);
    int64_t strides_a[TYPE_MAX_RANK] = {0}, strides_b[TYPE_MAX_RANK] = {0};
    /* Strides per result axis, then per contracted axis. */
    int64_t out_a[TYPE_MAX_RANK] = {0}, out_b[TYPE_MAX_RANK] = {0};
    int64_t deep_a[TYPE_MAX_RANK] = {0}, deep_b[TYPE_MAX_RANK] = {0},
            deep_dims[TYPE_MAX_RANK] = {0};
    nd_strides(a->dims, a->rank, strides_a);
    nd_strides(b->dims, b->rank, strides_b);
    int32_t rank = 0;
    for (int32_t i = 0; i < plan.axes.n_batch; i++, rank++) {
        out_a[rank] = strides_a[plan.axes.batch_a[i]];
        out_b[rank] = strides_b[plan.axes.batch_b[i]];
    }
    for (int32_t i = 0; i < plan.n_free_a; i++, rank++) {
        out_a[rank] = strides_a[plan.free_a[i]];
    }
    for (int32_t i = 0; i < plan.n_free_b; i++, rank++) {
        out_b[rank] = strides_b[plan.free_b[i]];
    }
    int64_t depth = 1;
    for (int32_t i = 0; i < plan.axes.n_contract; i++) {
        deep_a[i] = strides_a[plan.axes.contract_a[i]];
        deep_b[i] = strides_b[plan.axes.contract_b[i]];
        deep_dims[i] = a->dims[plan.axes.contract_a[i]];
        depth *= deep_dims[i];
    }
    int64_t index[TYPE_MAX_RANK] = {0};
    for (int64_t i = 0; i < out->n; i++) {
        int64_t base_a = nd_dot(index, out_a, rank), base_b = nd_dot(index, out_b, rank);
        int64_t deep[TYPE_MAX_RANK] = {0};
        double sum = 0;
        uint64_t int_sum = 0;
        for (int64_t k = 0; k < depth; k++) {
            int64_t at_a = base_a + nd_dot(deep, deep_a, plan.axes.n_contract);
            int64_t at_b = base_b + nd_dot(deep, deep_b, plan.axes.n_contract);
            if (out->f) {
                sum += a->f[at_a] * b->f[at_b];
            } else {
                int_sum += (uint64_t)a->i[at_a] * (uint64_t)b->i[at_b];
            }
            nd_next(deep, deep_dims, plan.axes.n_contract);
        }
        if (out->f) {
            out->f[i] = sum;
        } else {
            out->i[i] = (int64_t)int_sum;
        }
        nd_next(index, out->dims, rank);
    }
    return DLC_OK;
}

/* Position of `axis` in a list, or -1. */
static int32_t find_axis(const int64_t *axes, int32_t count, int64_t axis) {
    for (int32_t i = 0; i < count; i++) {
        if (axes[i] == axis) {
            return i;
        }
    }
    return -1;
}

/* How many of `axes` are below `axis`: its place among them in increasing order. */
static int32_t rank_of(const int64_t *axes, int32_t count, int64_t axis) {
    int32_t below = 0;
    for (int32_t i = 0; i < count; i++) {
        below += axes[i] < axis;
    }
    return below;
}

/* See contract.h. The product's axes come as batch, own free, contracted in the other's order, and
 * are put into the side's own order. */
Value *contract_operand_grad(Builder *b, const Op *op, int32_t side, Value *g, Value *other,
                             bool stacked) {
    ContractPlan plan = contract_plan(op);
    const ContractAxes *axes = &plan.axes;
    bool for_a = side == 0;
    int32_t shift = stacked ? 1 : 0;
    int32_t n_free = for_a ? plan.n_free_a : plan.n_free_b;
    int32_t n_other = for_a ? plan.n_free_b : plan.n_free_a;
    const int64_t *own_free = for_a ? plan.free_a : plan.free_b;
    const int64_t *other_free = for_a ? plan.free_b : plan.free_a;
    const int64_t *own_batch = for_a ? axes->batch_a : axes->batch_b;
    const int64_t *other_batch = for_a ? axes->batch_b : axes->batch_a;
    const int64_t *own_deep = for_a ? axes->contract_a : axes->contract_b;
    const int64_t *other_deep = for_a ? axes->contract_b : axes->contract_a;
    int32_t other_first = axes->n_batch + (for_a ? plan.n_free_a : 0);
    ContractAxes back = {.n_batch = axes->n_batch, .n_contract = n_other + shift};
    for (int32_t i = 0; i < axes->n_batch; i++) {
        back.batch_a[i] = i + shift;
        back.batch_b[i] = other_batch[i] + shift;
    }
    for (int32_t i = 0; i < n_other; i++) {
        back.contract_a[i + shift] = other_first + i + shift;
        back.contract_b[i + shift] = other_free[i] + shift;
    }
    const char *saved = precision_enter(b, op, &g);
    Value *product = b_contract(b, g, other, &back);
    product = precision_leave(b, op, side, product, saved);
    int64_t permutation[TYPE_MAX_RANK];
    for (int32_t axis = 0; axis < product->type.rank; axis++) {
        int32_t at = find_axis(own_batch, axes->n_batch, axis);
        if (at < 0) {
            at = find_axis(own_free, n_free, axis);
            at = at < 0 ? -1 : at + axes->n_batch;
        }
        if (at < 0) {
            int32_t pair = find_axis(own_deep, axes->n_contract, axis);
            at = axes->n_batch + n_free + rank_of(other_deep, axes->n_contract, other_deep[pair]);
        }
        permutation[axis] = at;
    }
    return transpose_by(b, product, permutation);
}

void grad_contract(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    for (int32_t side = 0; side < 2 && cotangents[0]; side++) {
        if (wanted[side]) {
            out[side] =
                contract_operand_grad(b, op, side, cotangents[0], op->operands[1 - side], false);
        }
    }
}
