/* Builder functions for reductions, prefix, sort, contraction, convolution, indexing and random
 * ops. */
#include "ir/build_internal.h"

#include <string.h>

Value *b_reduce(Builder *b, OpCode code, Value *x, const int64_t *axes, int32_t n_axes) {
    Op *op = build_op(b, code, &x, 1, 1);
    if (op != NULL) {
        op_set_ints(b->func, op, "axes", axes, n_axes);
    }
    return b_op(b, op);
}

/* Ops whose only attribute is `axis`. */
static Value *axis_op(Builder *b, OpCode code, Value *const *operands, int32_t n_operands,
                      int64_t axis) {
    Op *op = build_op(b, code, operands, n_operands, 1);
    if (op != NULL) {
        op_set_int(op, "axis", axis);
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
        op_set_int(op, "axis", axis);
        op_set_int(op, "reverse", reverse);
        op_set_int(op, "exclusive", exclusive);
    }
    return b_op(b, op);
}

Value *b_sort(Builder *b, Value *x, int64_t axis, bool descending, Value **out_indices) {
    Op *op = build_op(b, OP_sort, &x, 1, 2);
    if (op != NULL) {
        op_set_int(op, "axis", axis);
        op_set_int(op, "descending", descending);
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
        op_set_text(op, "precision", context_intern(b->context, b->precision));
    }
}

Value *b_contract(Builder *b, Value *x, Value *y, const ContractAxes *axes) {
    Value *operands[] = {x, y};
    Op *op = build_op(b, OP_contract, operands, 2, 1);
    if (op != NULL) {
        op_set_ints(b->func, op, "batch_a", axes->batch_a, axes->n_batch);
        op_set_ints(b->func, op, "batch_b", axes->batch_b, axes->n_batch);
        op_set_ints(b->func, op, "contract_a", axes->contract_a, axes->n_contract);
        op_set_ints(b->func, op, "contract_b", axes->contract_b, axes->n_contract);
        set_precision(b, op);
    }
    return b_op(b, op);
}

/* -- convolutions */

static void set_conv_attrs(Builder *b, Op *op, const ConvAttrs *attrs) {
    op_set_ints(b->func, op, "stride", attrs->stride, attrs->n_spatial);
    op_set_ints(b->func, op, "dilation", attrs->dilation, attrs->n_spatial);
    op_set_ints(b->func, op, "low", attrs->low, attrs->n_spatial);
    op_set_ints(b->func, op, "high", attrs->high, attrs->n_spatial);
    op_set_int(op, "groups", attrs->groups);
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
        op_set_sizes(b->func, op, "spatial", spatial, attrs->n_spatial);
        set_conv_attrs(b, op, attrs);
    }
    return b_op(b, op);
}

Value *b_conv_weight_grad(Builder *b, Value *x, Value *dy, const Size *const *kernel,
                          const ConvAttrs *attrs) {
    Value *operands[] = {x, dy};
    Op *op = build_op(b, OP_conv_weight_grad, operands, 2, 1);
    if (op != NULL) {
        op_set_sizes(b->func, op, "kernel", kernel, attrs->n_spatial);
        set_conv_attrs(b, op, attrs);
    }
    return b_op(b, op);
}

static void read_spatial(const Op *op, const char *name, int64_t out[3]) {
    int32_t count = 0;
    const int64_t *ints = op_ints(op, name, &count);
    for (int32_t i = 0; i < count && i < 3; i++) {
        out[i] = ints[i];
    }
}

ConvAttrs conv_attrs_of(const Op *op) {
    ConvAttrs attrs = {.groups = op_int(op, "groups")};
    op_ints(op, "stride", &attrs.n_spatial);
    read_spatial(op, "stride", attrs.stride);
    read_spatial(op, "dilation", attrs.dilation);
    read_spatial(op, "low", attrs.low);
    read_spatial(op, "high", attrs.high);
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
        op_set_int(op, "site", site);
        op_set_int(op, "dtype", type.dtype);
        op_set_sizes(b->func, op, "shape", type.dims, type.rank);
        op_set_sizes(b->func, op, "stride", piece.stride, piece.n_strides);
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
