/* Builder functions for reductions, prefix, sort, contraction, convolution, indexing and random
 * ops. */
#include "ir/build_internal.h"

#include <string.h>

Value *b_reduce(Builder *b, OpCode code, Value *x, const int64_t *axes, int32_t n_axes) {
    Op *op = build_op(b, code, &x, 1, 1);
    if (op != NULL) {
        op_set_axes(op, ints_copy(b->func, axes, n_axes));
    }
    return b_op(b, op);
}

/* Ops whose only attribute is `axis`. */
static Value *axis_op(Builder *b, OpCode code, Value *const *operands, int32_t n_operands,
                      int64_t axis) {
    Op *op = build_op(b, code, operands, n_operands, 1);
    if (op != NULL) {
        op_set_axis(op, axis);
    }
    return b_op(b, op);
}

Value *b_argmax(Builder *b, Value *x, int64_t axis) {
    return axis_op(b, OP_argmax, &x, 1, axis);
}

Value *b_argmin(Builder *b, Value *x, int64_t axis) {
    return axis_op(b, OP_argmin, &x, 1, axis);
}

Value *b_cumsum(Builder *b, Value *x, int64_t axis, bool reverse, bool exclusive) {
    Op *op = build_op(b, OP_cumsum, &x, 1, 1);
    if (op != NULL) {
        op_set_axis(op, axis);
        op_set_reverse(op, reverse);
        op_set_exclusive(op, exclusive);
    }
    return b_op(b, op);
}

Value *b_sort(Builder *b, Value *x, int64_t axis, bool descending, Value **out_indices) {
    Op *op = build_op(b, OP_sort, &x, 1, 2);
    if (op != NULL) {
        op_set_axis(op, axis);
        op_set_descending(op, descending);
    }
    Value *values = b_op(b, op);
    if (out_indices != NULL) {
        *out_indices = values != NULL ? op->results[1] : NULL;
    }
    return values;
}

/* The builder's precision, where the operands are such as it speaks of. */
static void set_precision(Builder *b, Op *op) {
    DType dtype = op->operands[0]->type.dtype;
    bool is_short = dtype == DT_F16 || dtype == DT_BF16;
    if (b->precision && (strcmp(b->precision, "f32") == 0 ? is_short : dtype == DT_F32)) {
        op_set_precision(op, context_intern(b->context, b->precision));
    }
}

Value *b_contract(Builder *b, Value *x, Value *y, const ContractAxes *axes) {
    Value *operands[] = {x, y};
    Op *op = build_op(b, OP_contract, operands, 2, 1);
    if (op != NULL) {
        op_set_batch_a(op, ints_copy(b->func, axes->batch_a, axes->n_batch));
        op_set_batch_b(op, ints_copy(b->func, axes->batch_b, axes->n_batch));
        op_set_contract_a(op, ints_copy(b->func, axes->contract_a, axes->n_contract));
        op_set_contract_b(op, ints_copy(b->func, axes->contract_b, axes->n_contract));
        set_precision(b, op);
    }
    return b_op(b, op);
}

/* -- convolutions */

static void set_conv_attrs(Builder *b, Op *op, const ConvAttrs *attrs) {
    op_set_strides(op, ints_copy(b->func, attrs->stride, attrs->n_spatial));
    op_set_dilations(op, ints_copy(b->func, attrs->dilation, attrs->n_spatial));
    op_set_padding_low(op, ints_copy(b->func, attrs->low, attrs->n_spatial));
    op_set_padding_high(op, ints_copy(b->func, attrs->high, attrs->n_spatial));
    op_set_groups(op, attrs->groups);
    set_precision(b, op);
}

Value *b_conv(Builder *b, Value *x, Value *w, const ConvAttrs *attrs) {
    Value *operands[] = {x, w};
    Op *op = build_op(b, OP_conv, operands, 2, 1);
    if (op != NULL) {
        set_conv_attrs(b, op, attrs);
    }
    return b_op(b, op);
}

Value *b_conv_input_grad(Builder *b, Value *dy, Value *w, const Size *const *spatial,
                         const ConvAttrs *attrs) {
    Value *operands[] = {dy, w};
    Op *op = build_op(b, OP_conv_input_grad, operands, 2, 1);
    if (op != NULL) {
        op_set_spatial(op, sizes_copy(b->func, spatial, attrs->n_spatial));
        set_conv_attrs(b, op, attrs);
    }
    return b_op(b, op);
}

Value *b_conv_weight_grad(Builder *b, Value *x, Value *dy, const Size *const *kernel,
                          const ConvAttrs *attrs) {
    Value *operands[] = {x, dy};
    Op *op = build_op(b, OP_conv_weight_grad, operands, 2, 1);
    if (op != NULL) {
        op_set_kernel(op, sizes_copy(b->func, kernel, attrs->n_spatial));
        set_conv_attrs(b, op, attrs);
    }
    return b_op(b, op);
}

static void read_spatial(Ints ints, int64_t out[3]) {
    for (int32_t i = 0; i < ints.count && i < 3; i++) {
        out[i] = ints.at[i];
    }
}

ConvAttrs conv_attrs_of(const Op *op) {
    ConvAttrs attrs = {.n_spatial = op_strides(op).count, .groups = op_groups(op)};
    read_spatial(op_strides(op), attrs.stride);
    read_spatial(op_dilations(op), attrs.dilation);
    read_spatial(op_padding_low(op), attrs.low);
    read_spatial(op_padding_high(op), attrs.high);
    return attrs;
}

/* -- indexing and random */

Value *b_take(Builder *b, Value *x, Value *ids, int64_t axis) {
    Value *operands[] = {x, ids};
    return axis_op(b, OP_take, operands, 2, axis);
}

Value *b_take_add(Builder *b, Value *x, Value *ids, Value *u, int64_t axis) {
    Value *operands[] = {x, ids, u};
    return axis_op(b, OP_take_add, operands, 3, axis);
}

Value *b_gather(Builder *b, Value *x, Value *ids, int64_t axis) {
    Value *operands[] = {x, ids};
    return axis_op(b, OP_gather, operands, 2, axis);
}

Value *b_scatter_add(Builder *b, Value *x, Value *ids, Value *u, int64_t axis) {
    Value *operands[] = {x, ids, u};
    return axis_op(b, OP_scatter_add, operands, 3, axis);
}

Value *b_random_uniform(Builder *b, Value *seed, Value *step, Value *iteration, int64_t site,
                        Type type) {
    return b_random_piece(b, seed, step, iteration, site, type, (Piece){.start = NULL});
}

Value *b_random_piece(Builder *b, Value *seed, Value *step, Value *iteration, int64_t site,
                      Type type, Piece piece) {
    Value *operands[] = {seed, step, iteration, piece.start};
    Op *op = build_op(b, OP_random_uniform, operands, piece.start ? 4 : 3, 1);
    if (op != NULL) {
        op_set_site(op, site);
        op_set_dtype(op, type.dtype);
        op_set_shape(op, sizes_copy(b->func, type.dims, type.rank));
        op_set_piece_strides(op, sizes_copy(b->func, piece.stride, piece.n_strides));
    }
    return b_op(b, op);
}

Piece b_piece(Builder *b, Type whole, Type part, const Size *parts, Value *turn) {
    Context *context = b->context;
    const Size *wide = size_const(context, 1), *narrow = wide, *first = size_const(context, 0);
    Piece piece = {.n_strides = part.rank};
    bool fits = whole.rank == part.rank, dense = true, is_cut = false;
    for (int32_t a = part.rank - 1; fits && a >= 0; a--) {
        bool same = size_equal(context, whole.dims[a], part.dims[a]) == TRUTH_YES;
        const Size *all = size_mul(context, parts, part.dims[a]);
        fits = same || size_equal(context, whole.dims[a], all) == TRUTH_YES;
        if (!same) {
            first = size_add(context, first, size_mul(context, part.dims[a], wide));
            is_cut = true;
        }
        dense = dense && size_equal(context, wide, narrow) == TRUTH_YES;
        piece.stride[a] = wide;
        wide = size_mul(context, wide, whole.dims[a]);
        narrow = size_mul(context, narrow, part.dims[a]);
    }
    if (!fits) {
        first = type_elements(context, part);
    }
    if (!fits || dense) {
        piece.n_strides = 0;
    }
    if (is_cut || !fits) {
        Value *which = b_cast(b, turn, DT_I64), *length = b_size(b, first, DT_I64);
        piece.start = which && length ? b_mul(b, which, length) : NULL;
    }
    return piece;
}
