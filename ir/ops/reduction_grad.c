/* Gradients of the reductions. Several axes are first collapsed into one, the last, so that each
 * rule deals with one axis only. */
#include "ir/ops/rule.h"

enum { PRODUCT_PAIRS_MAX = 256 };

void grad_reduce_sum(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                     Value **out) {
    if (wanted[0] && cotangents[0]) {
        Ints axes = reduce_sum_axes(op);
        out[0] = axes.count == 0
                     ? cotangents[0]
                     : b_expand_axes(b, cotangents[0], operand_type(op, 0), axes.at, axes.count);
    }
}

/* The operand with its reduced axes moved last and merged, and the way back. */
typedef struct Collapsed {
    Value *x;      /* [kept…, n] */
    int64_t axis;  /* of n */
    Type permuted; /* [kept…, reduced…] */
    int64_t inverse[TYPE_MAX_RANK];
} Collapsed;

static Collapsed collapse(Builder *b, Op *op) {
    Collapsed c = {.x = op->operands[0]};
    Type x = c.x->type;
    int32_t rank = 0;
    Ints axes = op_axes(op);
    bool reduced[TYPE_MAX_RANK] = {false};
    int64_t permutation[TYPE_MAX_RANK] = {0};
    for (int32_t k = 0; k < axes.count; k++) {
        reduced[axes.at[k]] = true;
    }
    for (int32_t pass = 0; pass < 2; pass++) {
        for (int32_t i = 0; i < x.rank; i++) {
            if (reduced[i] == (pass == 1)) {
                c.inverse[i] = rank;
                permutation[rank++] = i;
            }
        }
    }
    c.axis = x.rank - axes.count;
    c.x = transpose_by(b, c.x, permutation);
    c.permuted = c.x->type;
    if (axes.count != 1) {
        const Size *dims[TYPE_MAX_RANK + 1];
        const Size *n = size_const(b->context, 1);
        for (int32_t i = 0; i < x.rank; i++) {
            if (i < c.axis) {
                dims[i] = c.permuted.dims[i];
            } else {
                n = size_mul(b->context, n, c.permuted.dims[i]);
            }
        }
        dims[c.axis] = n;
        c.x = b_reshape(b, c.x, (int32_t)c.axis + 1, dims);
    }
    return c;
}

/* From [kept…, n] back to the operand's shape. */
static Value *expand_back(Builder *b, const Collapsed *c, Value *value) {
    Value *split = value->type.rank == c->permuted.rank && c->axis == c->permuted.rank - 1
                       ? value
                       : b_reshape(b, value, c->permuted.rank, c->permuted.dims);
    return transpose_by(b, split, c->inverse);
}

/* Whether there is anything to derive; a reduction over no axis passes its cotangent on. */
static bool reduces(const Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (!wanted[0] || !cotangents[0]) {
        return false;
    }
    out[0] = op_axes(op).count == 0 ? cotangents[0] : NULL;
    return !out[0];
}

/* The cotangent goes to the first element that attains the extreme. */
static void grad_reduce_extreme(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                                Value **out, bool greatest) {
    if (!reduces(op, cotangents, wanted, out)) {
        return;
    }
    Collapsed c = collapse(b, op);
    Type index_type = type_with_dtype(c.x->type, DT_I32);
    Value *first = greatest ? b_argmax(b, c.x, c.axis) : b_argmin(b, c.x, c.axis);
    Value *wide_first = b_expand_axes(b, first, index_type, &c.axis, 1);
    Value *index = b_iota(b, c.axis, index_type);
    Value *mask = b_binary(b, OP_eq, index, wide_first);
    Value *g = b_expand_axes(b, cotangents[0], c.x->type, &c.axis, 1);
    Value *zero = b_constant_like(b, 0.0, g);
    Value *chosen = b_select(b, mask, g, zero);
    out[0] = expand_back(b, &c, chosen);
}

void grad_reduce_max(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                     Value **out) {
    grad_reduce_extreme(b, op, cotangents, wanted, out, true);
}

void grad_reduce_min(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                     Value **out) {
    grad_reduce_extreme(b, op, cotangents, wanted, out, false);
}

/* Product of all others, by n products of n factors with the own one replaced by 1: exact at zeros,
 * to any order. */
static Value *others_by_pairs(Builder *b, const Collapsed *c) {
    Type x = c->x->type;
    int32_t rank = x.rank + 1;
    const Size *dims[TYPE_MAX_RANK];
    int64_t axes[TYPE_MAX_RANK];
    for (int32_t i = 0; i < x.rank; i++) {
        dims[i] = x.dims[i];
        axes[i] = i < c->axis ? i : i + 1;
    }
    int64_t factor_axis = c->axis + 1;
    dims[factor_axis] = x.dims[c->axis];
    Type index_type = type_make(b->context, DT_I32, rank, dims);
    Value *factors = b_broadcast(b, c->x, rank, dims, axes);
    Value *own = b_iota(b, c->axis, index_type);
    Value *factor = b_iota(b, factor_axis, index_type);
    Value *same = b_binary(b, OP_eq, own, factor);
    Value *one = b_constant_like(b, 1.0, factors);
    Value *others = b_select(b, same, one, factors);
    return b_reduce(b, OP_reduce_prod, others, &factor_axis, 1);
}

/* Product of all others, by division; with zeros: one gives it the product of the rest and all else
 * 0, several give 0 everywhere. */
static Value *others_by_division(Builder *b, const Collapsed *c) {
    Type x = c->x->type;
    Value *zero = b_constant_like(b, 0.0, c->x);
    Value *one = b_constant_like(b, 1.0, c->x);
    Value *is_zero = b_binary(b, OP_eq, c->x, zero);
    Value *safe = b_select(b, is_zero, one, c->x);
    Value *ones = b_select(b, is_zero, one, zero);
    Value *product = b_reduce(b, OP_reduce_prod, safe, &c->axis, 1);
    Value *zeros = b_reduce(b, OP_reduce_sum, ones, &c->axis, 1);
    Value *wide_product = b_expand_axes(b, product, x, &c->axis, 1);
    Value *wide_zeros = b_expand_axes(b, zeros, x, &c->axis, 1);
    Value *others_zero = b_sub(b, wide_zeros, ones);
    Value *none = b_binary(b, OP_eq, others_zero, zero);
    Value *quotient = b_div(b, wide_product, safe);
    return b_select(b, none, quotient, zero);
}

void grad_reduce_prod(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                      Value **out) {
    if (!reduces(op, cotangents, wanted, out)) {
        return;
    }
    Collapsed c = collapse(b, op);
    int64_t n = 0;
    bool pairs = size_is_const(c.x->type.dims[c.axis], &n) && n <= PRODUCT_PAIRS_MAX &&
                 c.x->type.rank < TYPE_MAX_RANK;
    Value *others = pairs ? others_by_pairs(b, &c) : others_by_division(b, &c);
    Value *g = b_expand_axes(b, cotangents[0], c.x->type, &c.axis, 1);
    Value *product = b_mul(b, g, others);
    out[0] = expand_back(b, &c, product);
}
