/* Single elements of contractions and convolutions by plain inner loops: correct for every shape,
 * used where such an op is not the root of its kernel. */
#include "codegen/lower/elemental_impl.h"

const KExpr *elemental_contract(KBuild *k, const Op *op, Index index) {
    const Value *a = op->operands[0], *b = op->operands[1];
    Ints batch_a = contract_batch_a(op), batch_b = contract_batch_b(op);
    Ints sum_a = contract_contract_a(op), sum_b = contract_contract_b(op);
    const KExpr *at_a[TYPE_MAX_RANK] = {NULL}, *at_b[TYPE_MAX_RANK] = {NULL};
    for (int32_t i = 0; i < batch_a.count; i++) {
        at_a[batch_a.at[i]] = at_b[batch_b.at[i]] = index[i];
    }
    SumLoop loop = sum_loop_begin(k, OP_reduce_sum, op->results[0]->type.dtype);
    for (int32_t i = 0; i < sum_a.count; i++) {
        bool last = i + 1 == sum_a.count;
        const KExpr *var = sum_loop_axis(k, &loop, a->type.dims[sum_a.at[i]], last);
        at_a[sum_a.at[i]] = at_b[sum_b.at[i]] = var;
    }
    int32_t next = batch_a.count;
    for (int32_t i = 0; i < a->type.rank; i++) {
        at_a[i] = at_a[i] ? at_a[i] : index[next++];
    }
    for (int32_t i = 0; i < b->type.rank; i++) {
        at_b[i] = at_b[i] ? at_b[i] : index[next++];
    }
    const KExpr *x = elemental_value(k, a, at_a);
    const KExpr *y = elemental_value(k, b, at_b);
    const KExpr *product = k_binary(k, OP_mul, x, y);
    sum_loop_add(k, &loop, product);
    return sum_loop_end(k, &loop);
}

typedef struct Spatial {
    int32_t n;
    const int64_t *stride, *dilation, *low;
    int64_t groups;
} Spatial;

static Spatial spatial_of(const Op *op) {
    Ints stride = op_strides(op);
    return (Spatial){.n = stride.count,
                     .stride = stride.at,
                     .dilation = op_dilations(op).at,
                     .low = op_padding_low(op).at,
                     .groups = op_groups(op)};
}

/* Place in x of output place p and kernel place j along spatial axis i. */
static const KExpr *input_place(KBuild *k, const Spatial *s, int32_t i, const KExpr *p,
                                const KExpr *j) {
    const KExpr *at = k_scale_int(k, p, s->stride[i]);
    at = k_add(k, at, k_scale_int(k, j, s->dilation[i]));
    return k_sub(k, at, k_int(k, s->low[i]));
}

static const KExpr *within(KBuild *k, const KExpr *condition, const KExpr *at, const Size *n) {
    condition = k_and(k, condition, k_le(k, k_int(k, 0), at));
    return k_and(k, condition, k_lt(k, at, k_size(k, n)));
}

/* Ends the loop over products of `padded`, which is 0 where the condition does not hold, and
 * `other`.
 */
static const KExpr *guarded_sum(KBuild *k, SumLoop *loop, const KExpr *condition,
                                const Value *padded, Index at_padded, const Value *other,
                                Index at_other) {
    const KExpr *zero = k_constant(k, padded->type.dtype, 0);
    const KExpr *value = elemental_guarded(k, condition, padded, at_padded, zero);
    const KExpr *factor = elemental_value(k, other, at_other);
    sum_loop_add(k, loop, k_binary(k, OP_mul, value, factor));
    return sum_loop_end(k, loop);
}

static const KExpr *conv_forward(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0], *w = op->operands[1];
    Spatial s = spatial_of(op);
    const KExpr *at_x[TYPE_MAX_RANK], *at_w[TYPE_MAX_RANK], *group, *unused;
    const Size *per_group =
        size_floordiv(k->context, w->type.dims[0], size_const(k->context, s.groups));
    k_divmod(k, index[1], per_group, &group, &unused);
    SumLoop loop = sum_loop_begin(k, OP_reduce_sum, op->results[0]->type.dtype);
    const KExpr *c = sum_loop_axis(k, &loop, w->type.dims[1], false);
    const KExpr *condition = k_integer(k, DT_BOOL, 1);
    at_x[0] = index[0];
    at_x[1] = k_add(k, k_scale(k, group, w->type.dims[1]), c);
    at_w[0] = index[1];
    at_w[1] = c;
    for (int32_t i = 0; i < s.n; i++) {
        at_w[2 + i] = sum_loop_axis(k, &loop, w->type.dims[2 + i], i + 1 == s.n);
        at_x[2 + i] = input_place(k, &s, i, index[2 + i], at_w[2 + i]);
        condition = within(k, condition, at_x[2 + i], x->type.dims[2 + i]);
    }
    return guarded_sum(k, &loop, condition, x, at_x, w, at_w);
}

static const KExpr *conv_input(KBuild *k, const Op *op, Index index) {
    const Value *dy = op->operands[0], *w = op->operands[1];
    Spatial s = spatial_of(op);
    const KExpr *at_y[TYPE_MAX_RANK], *at_w[TYPE_MAX_RANK], *group, *c;
    const Size *per_group =
        size_floordiv(k->context, w->type.dims[0], size_const(k->context, s.groups));
    k_divmod(k, index[1], w->type.dims[1], &group, &c);
    SumLoop loop = sum_loop_begin(k, OP_reduce_sum, op->results[0]->type.dtype);
    const KExpr *o = sum_loop_axis(k, &loop, per_group, false);
    at_w[0] = k_add(k, k_scale(k, group, per_group), o);
    at_w[1] = c;
    at_y[0] = index[0];
    at_y[1] = at_w[0];
    const KExpr *condition = k_integer(k, DT_BOOL, 1);
    for (int32_t i = 0; i < s.n; i++) {
        at_w[2 + i] = sum_loop_axis(k, &loop, w->type.dims[2 + i], i + 1 == s.n);
        const KExpr *at = k_add(k, index[2 + i], k_int(k, s.low[i])), *rest;
        at = k_sub(k, at, k_scale_int(k, at_w[2 + i], s.dilation[i]));
        k_divmod(k, at, size_const(k->context, s.stride[i]), &at, &rest);
        condition = k_and(k, condition, k_le(k, rest, k_int(k, 0)));
        condition = within(k, condition, at, dy->type.dims[2 + i]);
        at_y[2 + i] = at;
    }
    return guarded_sum(k, &loop, condition, dy, at_y, w, at_w);
}

static const KExpr *conv_weight(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0], *dy = op->operands[1];
    Type dw = op->results[0]->type;
    Spatial s = spatial_of(op);
    const KExpr *at_x[TYPE_MAX_RANK], *at_y[TYPE_MAX_RANK], *group, *unused;
    const Size *per_group = size_floordiv(k->context, dw.dims[0], size_const(k->context, s.groups));
    k_divmod(k, index[0], per_group, &group, &unused);
    SumLoop loop = sum_loop_begin(k, OP_reduce_sum, dw.dtype);
    at_x[0] = at_y[0] = sum_loop_axis(k, &loop, x->type.dims[0], s.n == 0);
    at_x[1] = k_add(k, k_scale(k, group, dw.dims[1]), index[1]);
    at_y[1] = index[0];
    const KExpr *condition = k_integer(k, DT_BOOL, 1);
    for (int32_t i = 0; i < s.n; i++) {
        at_y[2 + i] = sum_loop_axis(k, &loop, dy->type.dims[2 + i], i + 1 == s.n);
        at_x[2 + i] = input_place(k, &s, i, at_y[2 + i], index[2 + i]);
        condition = within(k, condition, at_x[2 + i], x->type.dims[2 + i]);
    }
    return guarded_sum(k, &loop, condition, x, at_x, dy, at_y);
}

const KExpr *elemental_conv(KBuild *k, const Op *op, Index index) {
    return op->code == OP_conv              ? conv_forward(k, op, index)
           : op->code == OP_conv_input_grad ? conv_input(k, op, index)
                                            : conv_weight(k, op, index);
}
