/* Builder functions for movement and window ops: every result element is one operand element, a pad
 * value, or (fold) a sum of operand elements. */
#include "ir/build_internal.h"

#include <string.h>

Value *b_broadcast(Builder *b, Value *x, int32_t rank, const Size *const *shape,
                   const int64_t *axes) {
    Op *op = build_op(b, OP_broadcast, &x, 1, 1);
    if (op != NULL) {
        op_set_shape(op, sizes_copy(b->func, shape, rank));
        op_set_axes(op, ints_copy(b->func, axes, x->type.rank));
    }
    return b_op(b, op);
}

Value *b_splat(Builder *b, Value *x, int32_t rank, const Size *const *shape) {
    if (rank == 0) {
        return x;
    }
    return b_broadcast(b, x, rank, shape, NULL);
}

Value *b_expand_axes(Builder *b, Value *x, Type like, const int64_t *axes, int32_t n_axes) {
    if (x == NULL || n_axes == 0) {
        return x;
    }
    int64_t kept[TYPE_MAX_RANK];
    int32_t n_kept = 0;
    for (int32_t axis = 0; axis < like.rank; axis++) {
        bool repeated = false;
        for (int32_t i = 0; i < n_axes; i++) {
            repeated = repeated || axes[i] == axis;
        }
        if (!repeated) {
            kept[n_kept++] = axis;
        }
    }
    if (n_kept != x->type.rank) {
        build_fail(b, "broadcast", "the axes to expand do not fit the operand's rank");
        return NULL;
    }
    return b_broadcast(b, x, like.rank, like.dims, kept);
}

Value *b_reshape(Builder *b, Value *x, int32_t rank, const Size *const *shape) {
    Op *op = build_op(b, OP_reshape, &x, 1, 1);
    if (op != NULL) {
        op_set_shape(op, sizes_copy(b->func, shape, rank));
    }
    return b_op(b, op);
}

Value *b_transpose(Builder *b, Value *x, const int64_t *permutation) {
    Op *op = build_op(b, OP_transpose, &x, 1, 1);
    if (op != NULL) {
        op_set_permutation(op, ints_copy(b->func, permutation, x->type.rank));
    }
    return b_op(b, op);
}

Value *b_slice(Builder *b, Value *x, const Size *const *start, const Size *const *limit,
               const int64_t *step) {
    Op *op = build_op(b, OP_slice, &x, 1, 1);
    if (op != NULL) {
        int64_t ones[TYPE_MAX_RANK];
        for (int i = 0; i < TYPE_MAX_RANK; i++) {
            ones[i] = 1;
        }
        op_set_starts(op, sizes_copy(b->func, start, x->type.rank));
        op_set_limits(op, sizes_copy(b->func, limit, x->type.rank));
        op_set_steps(op, ints_copy(b->func, step != NULL ? step : ones, x->type.rank));
    }
    return b_op(b, op);
}

Value *b_slice_axis(Builder *b, Value *x, int64_t axis, const Size *start, const Size *limit) {
    if (x == NULL) {
        return NULL;
    }
    if (axis < 0 || axis >= x->type.rank) {
        build_fail(b, "slice", "the axis is outside the operand's rank");
        return NULL;
    }
    const Size *starts[TYPE_MAX_RANK];
    const Size *limits[TYPE_MAX_RANK];
    for (int32_t i = 0; i < x->type.rank; i++) {
        starts[i] = i == axis ? start : size_const(b->context, 0);
        limits[i] = i == axis ? limit : x->type.dims[i];
    }
    return b_slice(b, x, starts, limits, NULL);
}

Value *b_pad(Builder *b, Value *x, Value *value, const Size *const *low, const Size *const *high,
             const int64_t *interior) {
    Value *operands[] = {x, value};
    Op *op = build_op(b, OP_pad, operands, 2, 1);
    if (op != NULL) {
        int64_t zeros[TYPE_MAX_RANK] = {0};
        op_set_lows(op, sizes_copy(b->func, low, x->type.rank));
        op_set_highs(op, sizes_copy(b->func, high, x->type.rank));
        op_set_interior(op, ints_copy(b->func, interior != NULL ? interior : zeros, x->type.rank));
    }
    return b_op(b, op);
}

Value *b_concat(Builder *b, Value *const *xs, int32_t count, int64_t axis) {
    Op *op = build_op(b, OP_concat, xs, count, 1);
    if (op != NULL) {
        op_set_axis(op, axis);
    }
    return b_op(b, op);
}

Value *b_reverse(Builder *b, Value *x, const int64_t *axes, int32_t n_axes) {
    Op *op = build_op(b, OP_reverse, &x, 1, 1);
    if (op != NULL) {
        op_set_axes(op, ints_copy(b->func, axes, n_axes));
    }
    return b_op(b, op);
}

/* Operands `head`, then one start for each of `rank` axes. */
static Op *op_with_starts(Builder *b, OpCode code, Value *const *head, int32_t n_head,
                          Value *const *starts) {
    Value *operands[TYPE_MAX_RANK + 2];
    int32_t rank = head[0] != NULL ? head[0]->type.rank : 0;
    memcpy(operands, head, (size_t)n_head * sizeof(operands[0]));
    if (rank > 0) {
        memcpy(operands + n_head, starts, (size_t)rank * sizeof(operands[0]));
    }
    return build_op(b, code, operands, n_head + rank, 1);
}

Value *b_dynamic_slice(Builder *b, Value *x, Value *const *starts, const Size *const *shape) {
    Op *op = op_with_starts(b, OP_dynamic_slice, &x, 1, starts);
    if (op != NULL) {
        op_set_shape(op, sizes_copy(b->func, shape, x->type.rank));
    }
    return b_op(b, op);
}

Value *b_dynamic_update(Builder *b, Value *x, Value *v, Value *const *starts) {
    Value *head[] = {x, v};
    return b_op(b, op_with_starts(b, OP_dynamic_update, head, 2, starts));
}

Value *b_unfold(Builder *b, Value *x, Value *value, int64_t axis, const Size *window,
                int64_t stride, int64_t dilation, const Size *low, const Size *high) {
    Value *operands[] = {x, value};
    Op *op = build_op(b, OP_unfold, operands, 2, 1);
    if (op != NULL) {
        op_set_axis(op, axis);
        op_set_window(op, window);
        op_set_stride(op, stride);
        op_set_dilation(op, dilation);
        op_set_low(op, low);
        op_set_high(op, high);
    }
    return b_op(b, op);
}

Value *b_fold(Builder *b, Value *x, int64_t axis, const Size *size, int64_t stride,
              int64_t dilation, const Size *low) {
    Op *op = build_op(b, OP_fold, &x, 1, 1);
    if (op != NULL) {
        op_set_axis(op, axis);
        op_set_size(op, size);
        op_set_stride(op, stride);
        op_set_dilation(op, dilation);
        op_set_low(op, low);
    }
    return b_op(b, op);
}
