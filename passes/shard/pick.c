/* Tables that lie in parts along the axis that is picked from, as an embedding's vocabulary: a rank
 * takes what it has and zero for the rest, and the sum over ranks is what was asked for; where rows
 * are added to such a table, each rank adds those that it has. An index that no rank has stays one
 * that no rank has, and is the fault that it was. */
#include "passes/shard/shard.h"

static bool picks(const Op *op) {
    return op->code == OP_take || op->code == OP_gather;
}

static bool adds(const Op *op) {
    return op->code == OP_take_add || op->code == OP_scatter_add;
}

/* Whether each rank has rows, in one piece: then there is a row to take where none is asked for. */
static bool has_rows(const Shard *s, const AxisCut *cut) {
    int64_t rows, ranks = module_group_ranks(s->module, cut->group);
    return size_is_one(cut->outer) && size_is_one(cut->inner) && size_is_const(cut->rows, &rows) &&
           ranks > 0 && rows >= ranks;
}

/* The cut of the table that the op may pick by; NULL: there is none. */
static const AxisCut *picking_cut(const Shard *s, const Op *op) {
    if (!picks(op) && !adds(op)) {
        return NULL;
    }
    const Value *table = picks(op) ? op->operands[0] : op->results[0];
    const AxisCut *cut = cuts_of_axis(&spread_of(s, table)->cuts, op_axis(op));
    bool fits = cut && !spread_is_kept(spread_of(s, table), cut) && has_rows(s, cut) &&
                table->type.dtype != DT_BOOL;
    return fits ? cut : NULL;
}

MeshGroup picking_ranks(const Shard *s, const Op *op) {
    const AxisCut *cut = picking_cut(s, op);
    return cut ? cut->group : 0;
}

void cuts_by_picking(const Shard *s, const Op *op, OpCuts *out) {
    const AxisCut *cut = picking_cut(s, op);
    MeshGroup used = out->combined;
    for (int32_t i = 0; i < op->n_operands; i++) {
        used |= cuts_groups(&out->operands[i]);
    }
    if (!cut || (used & cut->group) != 0 ||
        !cuts_add(&out->operands[0], cut, cut->axis, CUT_CHOSEN)) {
        return;
    }
    out->picked = cut;
    if (picks(op)) {
        out->combined |= cut->group;
        out->combine = OP_add;
    } else {
        cuts_add(&out->results[0], cut, cut->axis, CUT_CHOSEN);
    }
}

void pass_by_picking(Shard *s, const Op *op) {
    if (!adds(op)) {
        return;
    }
    int32_t axis = (int32_t)op_axis(op);
    const AxisCut *before = cuts_of_axis(&spread_of(s, op->operands[0])->cuts, axis);
    const AxisCut *after = cuts_of_axis(&spread_of(s, op->results[0])->cuts, axis);
    if (before) {
        cut_offer(s, op->results[0], before, axis);
    } else if (after) {
        cut_offer(s, op->operands[0], after, axis);
    }
}

static Value *number(Builder *b, const Size *size, const Value *like) {
    Value *scalar = b_size(b, size, like->type.dtype);
    return b_splat(b, scalar, like->type.rank, like->type.dims);
}

static Value *between(Builder *b, Value *x, Value *low, Value *high) {
    Value *above = b_binary(b, OP_ge, x, low);
    Value *below = b_binary(b, OP_lt, x, high);
    return b_binary(b, OP_and, above, below);
}

Value *picks_of_rank(Shard *s, Builder *b, Value *ids, const AxisCut *cut, Value **out_has) {
    const Size *first = module_rank_size(s->module, DIM_FIRST, cut->group, cut->rows);
    const Size *count = module_rank_size(s->module, DIM_PIECE, cut->group, cut->rows);
    Value *zero = b_constant_like(b, 0, ids), *none = b_constant_like(b, -1, ids);
    Value *low = number(b, first, ids), *n = number(b, count, ids);
    Value *rows = number(b, cut->rows, ids);
    Value *local = b_sub(b, ids, low);
    *out_has = between(b, local, zero, n);
    Value *exists = between(b, ids, zero, rows);
    Value *elsewhere = b_select(b, exists, zero, none);
    return b_select(b, *out_has, local, elsewhere);
}

Value *where_picked(Builder *b, const Op *op, Value *has, Value *x) {
    int64_t axes[TYPE_MAX_RANK];
    bool by_table = op->code == OP_take || op->code == OP_take_add;
    for (int32_t i = 0; i < has->type.rank; i++) {
        axes[i] = by_table ? op_axis(op) + i : i;
    }
    Value *wide = b_broadcast(b, has, x->type.rank, x->type.dims, axes);
    Value *zero = b_constant_like(b, 0, x);
    return b_select(b, wide, x, zero);
}
