/* Elements of movement, window and index ops: the index is mapped back through the op. Reads that
 * may fall outside are guarded; run-time positions are checked and clamped. */
#include "codegen/lower/elemental_impl.h"

static const char INDEX_TEXT[] = "index out of range";
static const char START_TEXT[] = "slice start out of range";

static const KExpr *broadcast_value(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0];
    const KExpr *inner[TYPE_MAX_RANK];
    const int64_t *axes = op_axes(op).at;
    for (int32_t i = 0; i < x->type.rank; i++) {
        inner[i] = size_is_one(x->type.dims[i]) ? k_int(k, 0) : index[axes[i]];
    }
    return elemental_value(k, x, inner);
}

static const KExpr *reshape_value(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0];
    const KExpr *inner[TYPE_MAX_RANK];
    const KExpr *flat = k_flat(k, op->results[0]->type, index);
    k_unflat(k, x->type, flat, inner);
    return elemental_value(k, x, inner);
}

static const KExpr *transpose_value(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0];
    const KExpr *inner[TYPE_MAX_RANK];
    const int64_t *permutation = transpose_permutation(op).at;
    for (int32_t i = 0; i < x->type.rank; i++) {
        inner[permutation[i]] = index[i];
    }
    return elemental_value(k, x, inner);
}

static const KExpr *slice_value(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0];
    const KExpr *inner[TYPE_MAX_RANK];
    const Size *const *start = slice_starts(op).at;
    const int64_t *step = slice_steps(op).at;
    for (int32_t i = 0; i < x->type.rank; i++) {
        const KExpr *scaled = k_scale_int(k, index[i], step[i]);
        inner[i] = k_add(k, scaled, k_size(k, start[i]));
    }
    return elemental_value(k, x, inner);
}

static const KExpr *pad_value(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0];
    const KExpr *inner[TYPE_MAX_RANK];
    const Size *const *low = pad_lows(op).at;
    const int64_t *interior = pad_interior(op).at;
    const KExpr *condition = k_integer(k, DT_BOOL, 1);
    const KExpr *zero = k_int(k, 0);
    for (int32_t i = 0; i < x->type.rank; i++) {
        const KExpr *at = k_sub(k, index[i], k_size(k, low[i]));
        condition = k_and(k, condition, k_le(k, zero, at));
        if (interior[i] > 0) {
            const KExpr *rest;
            k_divmod(k, at, size_const(k->context, interior[i] + 1), &at, &rest);
            condition = k_and(k, condition, k_le(k, rest, zero));
        }
        condition = k_and(k, condition, k_lt(k, at, k_size(k, x->type.dims[i])));
        inner[i] = at;
    }
    const KExpr *outside = elemental_value(k, op->operands[1], NULL);
    return elemental_guarded(k, condition, x, inner, outside);
}

/* The element of operands [first, end): a few are asked one after another, many by halves, which
 * asks less, and nests less deeply than LLVM can bear. */
static void concat_among(KBuild *k, const Op *op, int32_t first, int32_t end, const KExpr **inner,
                         int64_t axis, const KVar *var) {
    enum { FEW = 8 };
    if (end - first == 1) {
        const KExpr *value = elemental_value(k, op->operands[first], inner);
        kb_set(k, var, value);
        return;
    }
    int32_t middle = end - first <= FEW ? first + 1 : first + (end - first) / 2;
    const Size *before = size_const(kb_context(k), 0);
    for (int32_t i = first; i < middle; i++) {
        before = size_add(kb_context(k), before, op->operands[i]->type.dims[axis]);
    }
    const KExpr *at = inner[axis], *extent = k_size(k, before), *inside = k_lt(k, at, extent);
    bool asked = !k_is_true(inside) && !k_is_false(inside);
    if (asked) {
        kb_if(k, inside);
    }
    if (!k_is_false(inside)) {
        concat_among(k, op, first, middle, inner, axis, var);
    }
    if (asked) {
        kb_else(k);
    }
    if (!k_is_true(inside)) {
        inner[axis] = k_sub(k, at, extent);
        concat_among(k, op, middle, end, inner, axis, var);
        inner[axis] = at;
    }
    if (asked) {
        kb_if_end(k);
    }
}

static const KExpr *concat_value(KBuild *k, const Op *op, Index index) {
    const KExpr *inner[TYPE_MAX_RANK];
    for (int32_t i = 0; i < op->results[0]->type.rank; i++) {
        inner[i] = index[i];
    }
    const KVar *var = kb_var(k, op->results[0]->type.dtype, "concat");
    concat_among(k, op, 0, op->n_operands, inner, op_axis(op), var);
    return kb_let(k, k_get(k, var), "concat");
}

static const KExpr *reverse_value(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0];
    const KExpr *inner[TYPE_MAX_RANK];
    for (int32_t i = 0; i < x->type.rank; i++) {
        inner[i] = index[i];
    }
    Ints axes = reverse_axes(op);
    for (int32_t i = 0; i < axes.count; i++) {
        int64_t axis = axes.at[i];
        const KExpr *last = k_sub(k, k_size(k, x->type.dims[axis]), k_int(k, 1));
        inner[axis] = k_sub(k, last, index[axis]);
    }
    return elemental_value(k, x, inner);
}

/* The read of x at a clamped position, but only where x has elements along the axis at all. */
static const KExpr *read_nonempty(KBuild *k, const Value *x, Index inner, const Size *extent) {
    const KExpr *any = k_lt(k, k_int(k, 0), k_size(k, extent));
    return elemental_guarded(k, any, x, inner, k_constant(k, x->type.dtype, 0));
}

static const KExpr *dynamic_slice_value(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0];
    const KExpr *inner[TYPE_MAX_RANK];
    const Size *const *shape = dynamic_slice_shape(op).at;
    for (int32_t i = 0; i < x->type.rank; i++) {
        const KExpr *start = elemental_value(k, op->operands[1 + i], NULL);
        start = kb_let(k, k_cast(k, start, DT_I64), "start");
        const Size *room = size_sub(k->context, x->type.dims[i], shape[i]);
        room = size_add(k->context, room, size_const(k->context, 1));
        start = elemental_clamped_id(k, op, start, room, START_TEXT);
        inner[i] = k_add(k, index[i], start);
    }
    return elemental_value(k, x, inner);
}

static const KExpr *unfold_value(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0];
    const KExpr *inner[TYPE_MAX_RANK];
    int64_t axis = op_axis(op);
    for (int32_t i = 0; i < x->type.rank; i++) {
        inner[i] = index[i <= axis ? i : i + 1];
    }
    const KExpr *at = k_scale_int(k, index[axis], op_stride(op));
    at = k_add(k, at, k_scale_int(k, index[axis + 1], op_dilation(op)));
    at = k_sub(k, at, k_size(k, op_low(op)));
    inner[axis] = at;
    const KExpr *above = k_le(k, k_int(k, 0), at);
    const KExpr *below = k_lt(k, at, k_size(k, x->type.dims[axis]));
    const KExpr *inside = k_and(k, above, below);
    const KExpr *outside = elemental_value(k, op->operands[1], NULL);
    return elemental_guarded(k, inside, x, inner, outside);
}

static const KExpr *id_value(KBuild *k, const Op *op, Index at, const Size *bound) {
    const KExpr *id = elemental_value(k, op->operands[1], at);
    id = kb_let(k, k_cast(k, id, DT_I64), "id");
    return elemental_clamped_id(k, op, id, bound, INDEX_TEXT);
}

static const KExpr *take_value(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0], *ids = op->operands[1];
    const KExpr *inner[TYPE_MAX_RANK];
    int64_t axis = op_axis(op);
    for (int32_t i = 0; i < x->type.rank; i++) {
        inner[i] = index[i <= axis ? i : i + ids->type.rank - 1];
    }
    const Size *bound = x->type.dims[axis];
    inner[axis] = id_value(k, op, index + axis, bound);
    return read_nonempty(k, x, inner, bound);
}

static const KExpr *gather_value(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0];
    const KExpr *inner[TYPE_MAX_RANK];
    int64_t axis = op_axis(op);
    for (int32_t i = 0; i < x->type.rank; i++) {
        inner[i] = index[i];
    }
    const Size *bound = x->type.dims[axis];
    inner[axis] = id_value(k, op, index, bound);
    return read_nonempty(k, x, inner, bound);
}

const KExpr *elemental_move(KBuild *k, const Op *op, Index index) {
    switch (op->code) {
    case OP_broadcast:
        return broadcast_value(k, op, index);
    case OP_reshape:
        return reshape_value(k, op, index);
    case OP_transpose:
        return transpose_value(k, op, index);
    case OP_slice:
        return slice_value(k, op, index);
    case OP_pad:
        return pad_value(k, op, index);
    case OP_concat:
        return concat_value(k, op, index);
    case OP_reverse:
        return reverse_value(k, op, index);
    case OP_dynamic_slice:
        return dynamic_slice_value(k, op, index);
    case OP_unfold:
        return unfold_value(k, op, index);
    case OP_take:
        return take_value(k, op, index);
    case OP_gather:
        return gather_value(k, op, index);
    default:
        /* Roots only: the lowerings of sort, prefix, scatter and update never ask for them. */
        INTERNAL_ERROR(k->context, op->place, op_info(op->code)->name,
                       "no element of it can be asked for");
    }
}
