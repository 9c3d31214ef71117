/* Elements of movement and index ops that are no views: of one of several operands, or at run-time
 * positions, which are checked and clamped. */
#include "codegen/lower/elemental_impl.h"

static const char INDEX_TEXT[] = "index out of range";
static const char START_TEXT[] = "slice start out of range";

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

const KExpr *elemental_concat(KBuild *k, const Op *op, Index index) {
    const KExpr *inner[TYPE_MAX_RANK];
    for (int32_t i = 0; i < op->results[0]->type.rank; i++) {
        inner[i] = index[i];
    }
    const KVar *var = kb_var(k, op->results[0]->type.dtype, "concat");
    concat_among(k, op, 0, op->n_operands, inner, op_axis(op), var);
    return kb_let(k, k_get(k, var), "concat");
}

/* The read of x at a clamped position, but only where x has elements along the axis at all. */
static const KExpr *read_nonempty(KBuild *k, const Value *x, Index inner, const Size *extent) {
    const KExpr *any = k_lt(k, k_int(k, 0), k_size(k, extent));
    return elemental_guarded(k, any, x, inner, k_constant(k, x->type.dtype, 0));
}

const KExpr *elemental_dynamic_slice(KBuild *k, const Op *op, Index index) {
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

static const KExpr *id_value(KBuild *k, const Op *op, Index at, const Size *bound) {
    const KExpr *id = elemental_value(k, op->operands[1], at);
    id = kb_let(k, k_cast(k, id, DT_I64), "id");
    return elemental_clamped_id(k, op, id, bound, INDEX_TEXT);
}

const KExpr *elemental_take(KBuild *k, const Op *op, Index index) {
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

const KExpr *elemental_gather(KBuild *k, const Op *op, Index index) {
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
