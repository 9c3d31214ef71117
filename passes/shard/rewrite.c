/* Makes the new ops: the old one on a rank's parts of its operands, its sizes those of the parts,
 * and behind it the exchange that its result needs. */
#include "passes/shard/shard.h"

#include <string.h>

/* -- Attributes that are sizes of what is cut */

/* Starts and limits of a slice, lows and highs of a pad: along an axis of equal parts, those of a
 * rank's parts; where a slice takes all, the end of the rank's. */
static void cut_slice(Shard *s, const Op *old, Op *op, const EqualParts *parts, const Size *part) {
    const Size *starts[TYPE_MAX_RANK], *limits[TYPE_MAX_RANK];
    for (int32_t axis = 0; axis < slice_limits(old).count; axis++) {
        bool all = slice_limits(old).at[axis] == old->operands[0]->type.dims[axis];
        starts[axis] = slice_starts(old).at[axis];
        limits[axis] = all ? op->operands[0]->type.dims[axis] : slice_limits(old).at[axis];
        if (part && axis == parts->axis) {
            starts[axis] = size_mul(s->context, part, size_const(s->context, parts->k));
            limits[axis] = size_add(s->context, starts[axis], part);
        }
    }
    op_set_starts(op, sizes_copy(s->func, starts, slice_starts(old).count));
    op_set_limits(op, sizes_copy(s->func, limits, slice_limits(old).count));
}

static void cut_pad(Shard *s, const Op *old, Op *op, const EqualParts *parts, const Size *part) {
    const Size *lows[TYPE_MAX_RANK], *highs[TYPE_MAX_RANK];
    for (int32_t axis = 0; axis < pad_lows(old).count; axis++) {
        lows[axis] = pad_lows(old).at[axis];
        highs[axis] = pad_highs(old).at[axis];
    }
    const Size *behind = size_const(s->context, parts->n - parts->k - 1);
    lows[parts->axis] = size_mul(s->context, part, size_const(s->context, parts->k));
    highs[parts->axis] = size_mul(s->context, part, behind);
    op_set_lows(op, sizes_copy(s->func, lows, pad_lows(old).count));
    op_set_highs(op, sizes_copy(s->func, highs, pad_highs(old).count));
}

static void cut_attributes(Shard *s, const Op *old, Op *op, const OpCuts *cuts) {
    if (op_has_shape(old)) {
        Type type = cuts_type(s, old->results[0]->type, &cuts->results[0]);
        op_set_shape(op, sizes_copy(s->func, type.dims, type.rank));
    }
    EqualParts parts;
    bool is_part = old->code != OP_concat && equal_parts(s->context, old, &parts) &&
                   cuts_of_axis(&cuts->results[0], parts.axis);
    if (old->code == OP_slice) {
        const Type type = cuts_type(s, old->results[0]->type, &cuts->results[0]);
        cut_slice(s, old, op, &parts, is_part ? type.dims[parts.axis] : NULL);
    } else if (old->code == OP_pad && is_part) {
        cut_pad(s, old, op, &parts, op->operands[0]->type.dims[parts.axis]);
    }
}

/* -- Random numbers count in the whole tensor */

/* The elements that one step along each axis of the whole is. */
static void whole_strides(Shard *s, const Op *op, const Size **out) {
    Type type = op->results[0]->type;
    Sizes given = random_uniform_piece_strides(op);
    const Size *stride = size_const(s->context, 1);
    for (int32_t axis = type.rank - 1; axis >= 0; axis--) {
        out[axis] = given.count > 0 ? given.at[axis] : stride;
        stride = size_mul(s->context, stride, type.dims[axis]);
    }
}

/* A tensor with a cut axis in three: outer, a rank's rows with what is in them, so that each axis
 * has one stride. */
static Value *random_part(Shard *s, const Op *op, const Cuts *cuts, Block *to) {
    Builder b = shard_builder(s, op, to);
    Type whole = op->results[0]->type, part = cuts_type(s, whole, cuts);
    const Size *by[TYPE_MAX_RANK], *first = size_const(s->context, 0);
    const Size *dims[2 * TYPE_MAX_RANK], *strides[2 * TYPE_MAX_RANK];
    int32_t rank = 0;
    whole_strides(s, op, by);
    for (int32_t axis = 0; axis < whole.rank; axis++) {
        const AxisCut *cut = cuts_of_axis(cuts, axis);
        const Size *step = by[axis];
        dims[rank] = part.dims[axis];
        if (cut) {
            const Size *rows = module_rank_size(s->module, DIM_PIECE, cut->group, cut->rows);
            const Size *at = module_rank_size(s->module, DIM_FIRST, cut->group, cut->rows);
            at = size_mul(s->context, size_mul(s->context, at, cut->inner), step);
            first = size_add(s->context, first, at);
            if (!size_is_one(cut->outer)) {
                dims[rank] = cut->outer;
                const Size *all = size_mul(s->context, cut->rows, cut->inner);
                strides[rank++] = size_mul(s->context, all, step);
                dims[rank] = size_mul(s->context, rows, cut->inner);
            }
        }
        strides[rank++] = step;
    }
    if (rank > TYPE_MAX_RANK) {
        return NULL;
    }
    Piece piece = {.start = b_size(&b, first, DT_I64), .n_strides = rank};
    memcpy(piece.stride, strides, (size_t)rank * sizeof strides[0]);
    Cuts none = {0};
    Value *operands[4];
    for (int32_t i = 0; i < op->n_operands; i++) {
        operands[i] = version_of(s, op->operands[i], &none);
    }
    if (op->n_operands > 3) {
        piece.start = b_add(&b, piece.start, operands[3]);
    }
    Type type = type_make(s->context, whole.dtype, rank, dims);
    Value *made = b_random_piece(&b, operands[0], operands[1], operands[2], random_uniform_site(op),
                                 type, piece);
    return rank == whole.rank ? made : b_reshape(&b, made, part.rank, part.dims);
}

static bool rewrite_random(Shard *s, const Op *op, const OpCuts *cuts, Block *to) {
    Value *part = cuts->results[0].n > 0 ? random_part(s, op, &cuts->results[0], to) : NULL;
    if (part) {
        version_add(s, op->results[0], &cuts->results[0], part);
    }
    return part != NULL;
}

/* -- Any op */

/* The ranks that the op's results are sums over. */
static MeshGroup sums_of(const Shard *s, const Op *op, const OpCuts *cuts) {
    MeshGroup sums = cuts->combined;
    for (int32_t i = 0; i < op->n_operands; i++) {
        sums |= spread_of(s, op->operands[i])->partial;
    }
    return sums;
}

/* What is added to sums, and is none itself, counts on one rank only. */
static Value *counted_once(Shard *s, const Op *op, int32_t i, const OpCuts *cuts, Value *value,
                           Block *to) {
    const Spread *spread = spread_of(s, op->operands[i]);
    MeshGroup sums = sums_of(s, op, cuts);
    if (!op_is_joint(op, i) || sums == 0 || spread->is_zero || spread->partial == sums ||
        (cuts_groups(&cuts->operands[i]) & sums) != 0) {
        return value;
    }
    Builder b = shard_builder(s, op, to);
    return on_first_rank(&b, value, sums);
}

/* Takes the sum over the group, of what stands for an old value: where that is to be cut among
 * ranks of it, each gets its part alone. */
static Value *take_sum(Shard *s, const Value *old, Value *value, OpCode combine, MeshGroup group,
                       Cuts *cuts, Block *to) {
    Builder b = shard_builder(s, old->op, to);
    const Spread *wanted = spread_of(s, old);
    for (int32_t i = 0; i < wanted->cuts.n && combine == OP_add; i++) {
        const AxisCut *cut = &wanted->cuts.at[i];
        if ((cut->group & ~group) == 0 && cuts_add(cuts, cut, cut->axis, CUT_KEPT)) {
            value = scatter_ranks(s, &b, old, value, cut);
            group &= ~cut->group;
        }
    }
    if (group == 0) {
        return value;
    }
    return combine == OP_add ? sum_ranks(s, &b, old, value, group)
                             : combine_ranks(&b, value, combine, group);
}

/* `has`: where the rank has what was picked; NULL: everywhere. */
static void finish_results(Shard *s, const Op *old, Op *op, const OpCuts *cuts, Value *has,
                           Block *to) {
    MeshGroup sums = sums_of(s, old, cuts);
    OpCode combine = cuts->combine == OP_NONE ? OP_add : cuts->combine;
    for (int32_t r = 0; r < old->n_results; r++) {
        Value *value = op->results[r];
        value->name = old->results[r]->name;
        if (has && old->n_operands == 2) {
            Builder b = shard_builder(s, old, to);
            value = where_picked(&b, old, has, value);
        }
        const Spread *spread = spread_of(s, old->results[r]);
        Cuts made = cuts->results[r];
        MeshGroup due = sums & ~spread->partial;
        if (due != 0) {
            value = take_sum(s, old->results[r], value, combine, due, &made, to);
        }
        version_add(s, old->results[r], &made, value);
    }
}

static void rewrite_op(Shard *s, const Op *old, Block *to) {
    OpCuts cuts = op_cuts(s, old);
    if (old->code == OP_random_uniform && rewrite_random(s, old, &cuts, to)) {
        return;
    }
    if (old->code == OP_random_uniform) {
        cuts.results[0].n = 0;
    }
    Value **operands = ARENA_ARRAY(s->arena, Value *, (size_t)old->n_operands + 1);
    for (int32_t i = 0; i < old->n_operands; i++) {
        Value *value = version_of(s, old->operands[i], &cuts.operands[i]);
        operands[i] = counted_once(s, old, i, &cuts, value, to);
    }
    Value *has = NULL;
    if (cuts.picked) {
        Builder b = shard_builder(s, old, to);
        operands[1] = picks_of_rank(s, &b, operands[1], cuts.picked, &has);
        if (old->n_operands > 2) {
            operands[2] = where_picked(&b, old, has, operands[2]);
        }
    }
    Op *op = op_create(s->func, old->code, operands, old->n_operands, old->n_results, 0);
    memcpy(op->attrs, old->attrs, sizeof op->attrs);
    cut_attributes(s, old, op, &cuts);
    Builder b = shard_builder(s, old, to);
    b_op(&b, op);
    finish_results(s, old, op, &cuts, has, to);
}

void rewrite_block(Shard *s, const Block *from, Block *to) {
    BLOCK_EACH_OP (from, op) {
        if (op->code == OP_yield) {
            continue;
        }
        s->at = to == s->func_body ? op : s->at;
        if (op->n_blocks > 0) {
            rewrite_region(s, op, to);
        } else {
            rewrite_op(s, op, to);
        }
    }
}
