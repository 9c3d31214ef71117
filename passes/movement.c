/* Structural rewrites: movements that move nothing, chains that are one movement, and reductions of
 * what was only just repeated. Each keeps every bit except reduce_of_broadcast (a product instead
 * of a sum). */
#include "passes/rewrite.h"

static Value *simplify_reshape(Builder *b, Op *op) {
    Value *x = op->operands[0];
    if (type_equal(x->type, op->results[0]->type)) {
        return x;
    }
    Op *inner = value_made_by(x, OP_reshape);
    Type type = op->results[0]->type;
    /* Between sizes that only a size_check makes equal, the two may contradict each other, and then
     * stand as they are: what checks them fails before they run. */
    if (inner && size_equal(b->context, type_elements(b->context, inner->operands[0]->type),
                            type_elements(b->context, type)) != TRUTH_NO) {
        return b_reshape(b, inner->operands[0], type.rank, type.dims);
    }
    return NULL;
}

static Value *simplify_transpose(Builder *b, Op *op) {
    Value *x = op->operands[0];
    int32_t rank = x->type.rank;
    const int64_t *permutation = transpose_permutation(op).at;
    bool identity = true;
    /* Axes of size 1 may go anywhere: if the others keep their order nothing moves in memory. */
    bool only_ones_move = true;
    int64_t last = -1;
    for (int32_t i = 0; i < rank; i++) {
        identity &= permutation[i] == i;
        if (!size_is_one(x->type.dims[permutation[i]])) {
            only_ones_move &= permutation[i] > last;
            last = permutation[i];
        }
    }
    if (identity) {
        return x;
    }
    if (only_ones_move) {
        return b_reshape(b, x, op->results[0]->type.rank, op->results[0]->type.dims);
    }
    Op *inner = value_made_by(x, OP_transpose);
    if (inner) {
        const int64_t *first = transpose_permutation(inner).at;
        int64_t composed[TYPE_MAX_RANK];
        for (int32_t i = 0; i < rank; i++) {
            composed[i] = first[permutation[i]];
        }
        return b_transpose(b, inner->operands[0], composed);
    }
    return NULL;
}

static Value *simplify_broadcast(Builder *b, Op *op) {
    Value *x = op->operands[0];
    Type type = op->results[0]->type;
    if (x->type.rank == type.rank) {
        return x; /* no new axis: increasing axes make it the identity */
    }
    Op *inner = value_made_by(x, OP_broadcast);
    if (inner) {
        Ints outer_axes = broadcast_axes(op), inner_axes = broadcast_axes(inner);
        int64_t composed[TYPE_MAX_RANK];
        for (int32_t i = 0; i < inner_axes.count; i++) {
            composed[i] = outer_axes.at[inner_axes.at[i]];
        }
        return b_broadcast(b, inner->operands[0], type.rank, type.dims, composed);
    }
    return NULL;
}

static bool sizes_are(Sizes sizes, int64_t value) {
    for (int32_t i = 0; i < sizes.count; i++) {
        int64_t constant;
        if (!size_is_const(sizes.at[i], &constant) || constant != value) {
            return false;
        }
    }
    return true;
}

static bool ints_are(Ints ints, int64_t value) {
    for (int32_t i = 0; i < ints.count; i++) {
        if (ints.at[i] != value) {
            return false;
        }
    }
    return true;
}

static Value *simplify_slice(Op *op) {
    Sizes limits = slice_limits(op);
    if (!sizes_are(slice_starts(op), 0) || !ints_are(slice_steps(op), 1)) {
        return NULL;
    }
    for (int32_t i = 0; i < limits.count; i++) {
        if (limits.at[i] != op->operands[0]->type.dims[i]) {
            return NULL;
        }
    }
    return op->operands[0];
}

static Value *simplify_pad(Op *op) {
    return sizes_are(pad_lows(op), 0) && sizes_are(pad_highs(op), 0) &&
                   ints_are(pad_interior(op), 0)
               ? op->operands[0]
               : NULL;
}

/* sum over axes that a broadcast made: times their size. */
static Value *reduce_of_broadcast(Builder *b, Op *op) {
    Op *broadcast = value_made_by(op->operands[0], OP_broadcast);
    if (!broadcast || op->code != OP_reduce_sum || !dtype_is_float(op->results[0]->type.dtype)) {
        return NULL;
    }
    Ints axes = reduce_sum_axes(op), kept = broadcast_axes(broadcast);
    Type wide = op->operands[0]->type;
    if (axes.count + kept.count != wide.rank) {
        return NULL;
    }
    const Size *count = size_const(b->context, 1);
    for (int32_t i = 0; i < axes.count; i++) {
        for (int32_t k = 0; k < kept.count; k++) {
            if (kept.at[k] == axes.at[i]) {
                return NULL;
            }
        }
        count = size_mul(b->context, count, wide.dims[axes.at[i]]);
    }
    Type type = op->results[0]->type;
    Value *factor = b_size(b, count, type.dtype);
    Value *splat = type.rank > 0 ? b_splat(b, factor, type.rank, type.dims) : factor;
    return b_mul(b, broadcast->operands[0], splat);
}

static Value *simplify_reduce(Builder *b, Op *op) {
    Value *x = op->operands[0];
    Ints axes = op_axes(op);
    bool all_ones = true;
    for (int32_t i = 0; i < axes.count; i++) {
        all_ones &= size_is_one(x->type.dims[axes.at[i]]);
    }
    if (all_ones) {
        Type type = op->results[0]->type;
        return axes.count == 0 ? x : b_reshape(b, x, type.rank, type.dims);
    }
    return reduce_of_broadcast(b, op);
}

/* To the type that it has, or had before it was widened from 16 bits. */
static Value *simplify_cast(const Op *op) {
    Value *x = op->operands[0];
    DType to = op->results[0]->type.dtype;
    if (x->type.dtype == to) {
        return x;
    }
    bool is_short = to == DT_BF16 || to == DT_F16;
    bool widens = is_short && x->op && x->op->code == OP_cast && dtype_is_float(x->type.dtype) &&
                  dtype_bytes(x->type.dtype) > 2;
    return widens && x->op->operands[0]->type.dtype == to ? x->op->operands[0] : NULL;
}

Value *simplify_movement(Rewriter *rewriter, Builder *b, Op *op) {
    switch (op->code) {
    case OP_reshape:
        return simplify_reshape(b, op);
    case OP_transpose:
        return simplify_transpose(b, op);
    case OP_broadcast:
        return simplify_broadcast(b, op);
    case OP_slice:
        return simplify_slice(op);
    case OP_pad:
        return simplify_pad(op);
    case OP_concat:
        return op->n_operands == 1 ? op->operands[0] : NULL;
    case OP_cast:
        return simplify_cast(op);
    case OP_reduce_sum:
    case OP_reduce_prod:
    case OP_reduce_max:
    case OP_reduce_min:
        return simplify_reduce(b, op);
    case OP_stop_gradient:
        /* Its only meaning is to differentiate, which is over. */
        return (rewriter->func->properties & PROP_NO_GRAD_OPS) ? op->operands[0] : NULL;
    default:
        return NULL;
    }
}
