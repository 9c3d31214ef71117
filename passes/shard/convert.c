/* Versions of a value: as it was made, and as its readers need it. What is whole becomes a part by
 * a slice, which costs nothing; a part becomes whole by a gather. */
#include "passes/shard/shard.h"

Builder shard_builder(Shard *s, const Op *op, Block *to) {
    Builder b = builder_at_end(s->func, to);
    b.place = op->place;
    b.label = op->label;
    return b;
}

void version_add(Shard *s, const Value *old, const Cuts *cuts, Value *value) {
    Version *version = ARENA_NEW(s->arena, Version);
    *version = (Version){.cuts = *cuts, .value = value};
    Version **end = &spread_of(s, old)->versions;
    while (*end) {
        end = &(*end)->next;
    }
    *end = version;
}

static Builder behind(Shard *s, const Value *old, Value *value) {
    Block *block = value->op ? value->op->parent : value->block;
    Builder b = builder_at_end(s->func, block);
    b.before = value->op ? value->op->next : block->first;
    b.place = old->op ? old->op->place : (Place){0};
    b.label = old->op ? old->op->label : NULL;
    return b;
}

/* x with its axis `axis` as outer x middle, so that the cut one stands alone; x itself where outer
 * is 1. */
static Value *split_axis(Builder *b, Value *x, int32_t axis, const Size *outer,
                         const Size *middle) {
    if (size_is_one(outer)) {
        return x;
    }
    const Size *dims[TYPE_MAX_RANK + 1];
    for (int32_t i = 0; i < x->type.rank; i++) {
        dims[i < axis ? i : i + 1] = x->type.dims[i];
    }
    dims[axis] = outer;
    dims[axis + 1] = middle;
    return b_reshape(b, x, x->type.rank + 1, dims);
}

static Value *join_axes(Builder *b, Value *x, int32_t axis, const Size *outer) {
    if (size_is_one(outer)) {
        return x;
    }
    const Size *dims[TYPE_MAX_RANK];
    for (int32_t i = 0; i < x->type.rank; i++) {
        dims[i <= axis ? i : i - 1] = x->type.dims[i];
    }
    dims[axis] = size_mul(b->context, outer, x->type.dims[axis + 1]);
    return b_reshape(b, x, x->type.rank - 1, dims);
}

static const Size *middle_of(Shard *s, const AxisCut *cut, bool whole) {
    const Size *rows =
        whole ? cut->rows : module_rank_size(s->module, DIM_PIECE, cut->group, cut->rows);
    return size_mul(s->context, rows, cut->inner);
}

static Value *gather_ranks(Shard *s, Builder *b, Value *x, const AxisCut *cut) {
    int32_t axis = cut->axis + (size_is_one(cut->outer) ? 0 : 1);
    x = split_axis(b, x, cut->axis, cut->outer, middle_of(s, cut, false));
    x = b_all_gather(b, x, axis, middle_of(s, cut, true), cut->rows, cut->group);
    return join_axes(b, x, cut->axis, cut->outer);
}

/* The type in which a sum of what stands for the old value travels: a gradient's over the ranks
 * that have other rows may be another than its own. */
static DType sent_type(const Shard *s, const Value *old, const Value *x, MeshGroup group) {
    const Spread *spread = spread_of(s, old);
    return spread->is_sent && (group & s->data) != 0 ? spread->sent : x->type.dtype;
}

Value *scatter_ranks(Shard *s, Builder *b, const Value *old, Value *x, const AxisCut *cut) {
    int32_t axis = cut->axis + (size_is_one(cut->outer) ? 0 : 1);
    DType own = x->type.dtype;
    x = b_cast(b, x, sent_type(s, old, x, cut->group));
    x = split_axis(b, x, cut->axis, cut->outer, middle_of(s, cut, true));
    x = b_reduce_scatter(b, x, axis, middle_of(s, cut, false), cut->rows, cut->group);
    x = join_axes(b, x, cut->axis, cut->outer);
    return b_cast(b, x, own);
}

static Value *slice_ranks(Shard *s, Builder *b, Value *x, const AxisCut *cut) {
    int32_t axis = cut->axis + (size_is_one(cut->outer) ? 0 : 1);
    x = split_axis(b, x, cut->axis, cut->outer, middle_of(s, cut, true));
    const Size *first = module_rank_size(s->module, DIM_FIRST, cut->group, cut->rows);
    first = size_mul(s->context, first, cut->inner);
    const Size *end = size_add(s->context, first, middle_of(s, cut, false));
    x = b_slice_axis(b, x, axis, first, end);
    return join_axes(b, x, cut->axis, cut->outer);
}

bool is_free(const Op *op) {
    return op->code == OP_constant || (op->code == OP_broadcast && op->operands[0]->type.rank == 0);
}

static Value *make_free(Shard *s, const Value *old, const Version *made, const Cuts *cuts) {
    Builder b = behind(s, old, made->value);
    Type type = cuts_type(s, old->type, cuts);
    return old->op->code == OP_constant
               ? b_constant(&b, constant_value(old->op), type)
               : b_splat(&b, made->value->op->operands[0], type.rank, type.dims);
}

static bool has_cut(const Cuts *cuts, const AxisCut *cut) {
    const AxisCut *other = cuts_of_axis(cuts, cut->axis);
    return other && cut_equal(other, cut);
}

/* Where a value is made of another version of it, or, with a block, at the end of that. */
typedef struct Where {
    const Value *old;
    Block *end;
} Where;

static Builder builder_where(Shard *s, const Where *where, Value *x) {
    return where->end ? shard_builder(s, s->at, where->end) : behind(s, where->old, x);
}

/* Gathers what is cut otherwise than needed, then takes the parts that are. */
static Value *convert(Shard *s, const Version *made, const Cuts *cuts, const Where *where) {
    Value *x = made->value;
    for (int32_t i = made->cuts.n - 1; i >= 0; i--) {
        if (!has_cut(cuts, &made->cuts.at[i])) {
            Builder b = builder_where(s, where, x);
            x = gather_ranks(s, &b, x, &made->cuts.at[i]);
        }
    }
    for (int32_t i = 0; i < cuts->n; i++) {
        if (!has_cut(&made->cuts, &cuts->at[i])) {
            Builder b = builder_where(s, where, x);
            x = slice_ranks(s, &b, x, &cuts->at[i]);
        }
    }
    return x;
}

/* Whether the value is a parameter of which a step keeps a part, and that part is to be gathered.
 */
static bool is_kept_apart(const Shard *s, const Value *old, const Cuts *cuts) {
    const Spread *spread = spread_of(s, old);
    bool is_param =
        !old->op && old->block == s->func->body && s->func->args[old->index].role == ARG_PARAM;
    bool apart = false;
    for (int32_t i = 0; i < spread->cuts.n && is_param; i++) {
        const AxisCut *cut = &spread->cuts.at[i];
        apart = apart || (spread_is_kept(spread, cut) && !has_cut(cuts, cut));
    }
    return apart;
}

/* Parameters that lie in parts are whole only while something uses them: each op of the Func, or
 * loop, that does gathers them for itself, so that nothing keeps them from the forward to the
 * backward pass. */
static Value *gather_for_use(Shard *s, const Value *old, const Version *made, const Cuts *cuts) {
    Spread *spread = spread_of(s, old);
    if (spread->gathered_for != s->at || !cuts_equal(&spread->gathered_cuts, cuts)) {
        spread->gathered = convert(s, made, cuts, &(Where){old, s->func_body});
        spread->gathered_for = s->at;
        spread->gathered_cuts = *cuts;
    }
    return spread->gathered;
}

Value *version_of(Shard *s, Value *old, const Cuts *cuts) {
    const Version *made = spread_of(s, old)->versions;
    for (const Version *version = made; version; version = version->next) {
        if (cuts_equal(&version->cuts, cuts)) {
            return version->value;
        }
    }
    bool is_sum = made->value->op && !is_free(made->value->op); /* of ranks, taken behind it */
    if (old->op && is_free(old->op) && !is_sum) {
        Value *value = make_free(s, old, made, cuts);
        version_add(s, old, cuts, value);
        return value;
    }
    if (is_kept_apart(s, old, cuts)) {
        return gather_for_use(s, old, made, cuts);
    }
    Value *x = convert(s, made, cuts, &(Where){.old = old});
    version_add(s, old, cuts, x);
    return x;
}

Value *combine_ranks(Builder *b, Value *x, OpCode combine, MeshGroup group) {
    Value *out;
    b_all_reduce(b, &x, 1, combine, group, &out);
    return out;
}

Value *sum_ranks(const Shard *s, Builder *b, const Value *old, Value *x, MeshGroup group) {
    DType own = x->type.dtype;
    x = b_cast(b, x, sent_type(s, old, x, group));
    return b_cast(b, combine_ranks(b, x, OP_add, group), own);
}

Value *on_first_rank(Builder *b, Value *x, MeshGroup group) {
    const Size *rank = module_rank_size(b->func->module, DIM_COORDINATE, group, NULL);
    Value *number = b_size(b, rank, DT_I64);
    Value *zero = b_constant_like(b, 0, number);
    Value *is_first = b_binary(b, OP_eq, number, zero);
    Value *nothing = b_constant_like(b, 0, x);
    Value *wide = b_splat(b, is_first, x->type.rank, x->type.dims);
    return b_select(b, wide, x, nothing);
}
