/* Attention out of its parts: contract, scale, masks, softmax, contract becomes one op whose kernel
 * never holds the scores. Stands before differentiate, so that the gradient is one op as well. What
 * does not fit (dropout between softmax and values, scores that somebody else reads, short rows)
 * stays as it is. */
#include "ir/ops/attention.h"
#include "passes/rewrite.h"
#include <math.h>

enum { AFFINE_STEPS = 200 };

typedef struct Match {
    PassContext *pass;
    const int32_t *uses; /* by value id */
    int32_t n_uses;
    Op *scores, *mix; /* the contractions */
    Value *masks[ATTENTION_MASKS];
    int32_t n_masks;
    AttentionAttrs attrs;
    bool values_first; /* mix is contract(v, p) */
} Match;

static int32_t uses_of(const Match *m, const Value *v) {
    return v->id < m->n_uses ? m->uses[v->id] : 2;
}

/* -- causal masks: comparisons of sums of iotas */
typedef struct Affine {
    bool known;
    int64_t factor[TYPE_MAX_RANK]; /* of the index along each axis of the value */
    const Size *constant;
} Affine;

static Affine affine_of(Context *context, const Value *v, int32_t *steps);

/* Through a reshape that only adds or drops axes of one. */
static Affine affine_reshape(Context *context, const Op *op, int32_t *steps) {
    Type x = op->operands[0]->type, y = op->results[0]->type;
    Affine inner = affine_of(context, op->operands[0], steps), out = {.constant = inner.constant};
    int32_t i = 0;
    for (int32_t j = 0; inner.known && j <= y.rank; j++) {
        if (j < y.rank && size_is_one(y.dims[j])) {
            continue;
        }
        while (i < x.rank && size_is_one(x.dims[i])) {
            i++;
        }
        if (j == y.rank) {
            out.known = i == x.rank;
        } else if (i == x.rank || x.dims[i] != y.dims[j]) {
            return out;
        } else {
            out.factor[j] = inner.factor[i++];
        }
    }
    return out;
}

static Affine affine_binary(Context *context, const Op *op, int32_t *steps) {
    Affine x = affine_of(context, op->operands[0], steps);
    Affine y = affine_of(context, op->operands[1], steps);
    int64_t sign = op->code == OP_add ? 1 : -1;
    Affine out = {.known = x.known && y.known};
    for (int32_t i = 0; out.known && i < op->results[0]->type.rank; i++) {
        out.factor[i] = x.factor[i] + sign * y.factor[i];
    }
    if (out.known) {
        out.constant = op->code == OP_add ? size_add(context, x.constant, y.constant)
                                          : size_sub(context, x.constant, y.constant);
    }
    return out;
}

static Affine affine_of(Context *context, const Value *v, int32_t *steps) {
    Affine out = {.constant = size_const(context, 0)};
    const Op *op = v->op;
    if (!op || --*steps < 0 || !dtype_is_integer(v->type.dtype)) {
        return out;
    }
    switch (op->code) {
    case OP_constant: {
        double value = constant_value(op);
        out.known = value == floor(value) && fabs(value) < 1e9;
        out.constant = out.known ? size_const(context, (int64_t)value) : out.constant;
        return out;
    }
    case OP_size:
        out.known = true;
        out.constant = size_extent(op);
        return out;
    case OP_iota:
        out.known = true;
        out.factor[op_axis(op)] = 1;
        return out;
    case OP_cast:
        return affine_of(context, op->operands[0], steps);
    case OP_broadcast: {
        Affine inner = affine_of(context, op->operands[0], steps);
        const int64_t *axes = op_axes(op).at;
        for (int32_t i = 0; inner.known && i < op->operands[0]->type.rank; i++) {
            out.factor[axes[i]] = inner.factor[i];
        }
        out.known = inner.known;
        out.constant = inner.constant;
        return out;
    }
    case OP_reshape:
        return affine_reshape(context, op, steps);
    case OP_add:
    case OP_sub:
        return affine_binary(context, op, steps);
    default:
        return out;
    }
}

/* Walks to the comparison behind broadcasts; the axes of `v` that its axes are. */
static const Op *comparison_of(const Value *v, int32_t *axes) {
    for (int32_t i = 0; i < v->type.rank; i++) {
        axes[i] = i;
    }
    while (v->op && v->op->code == OP_broadcast) {
        const int64_t *map = op_axes(v->op).at;
        v = v->op->operands[0];
        for (int32_t i = 0; i < v->type.rank; i++) {
            axes[i] = axes[map[i]];
        }
    }
    const Op *op = v->op;
    bool compares =
        op && (op->code == OP_le || op->code == OP_lt || op->code == OP_ge || op->code == OP_gt);
    return compares ? op : NULL;
}

/* Whether the mask [batch…, T, S] says s <= t + offset. */
static bool is_causal(Context *context, const Value *mask, const Size **out_offset) {
    int32_t axes[TYPE_MAX_RANK], rank = mask->type.rank;
    const Op *op = comparison_of(mask, axes);
    if (!op) {
        return false;
    }
    bool flipped = op->code == OP_ge || op->code == OP_gt;
    int32_t steps = AFFINE_STEPS; /* what is shared is walked again */
    Affine low = affine_of(context, op->operands[flipped ? 1 : 0], &steps);
    Affine high = affine_of(context, op->operands[flipped ? 0 : 1], &steps);
    if (!low.known || !high.known) {
        return false;
    }
    int64_t row = 0, column = 0;
    for (int32_t i = 0; i < op->operands[0]->type.rank; i++) {
        int64_t factor = high.factor[i] - low.factor[i];
        if (axes[i] == rank - 2) {
            row = factor;
        } else if (axes[i] == rank - 1) {
            column = factor;
        } else if (factor != 0) {
            return false;
        }
    }
    const Size *offset = size_sub(context, high.constant, low.constant);
    if (op->code == OP_lt || op->code == OP_gt) {
        offset = size_sub(context, offset, size_const(context, 1));
    }
    *out_offset = offset;
    return row == 1 && column == -1 && !size_is_error(offset);
}

/* -- softmax */
/* The op behind stop_gradient, and behind reshapes that end where they began. */
static const Op *behind_views(const Value *v) {
    Type type = v->type;
    const Value *at = v;
    while (at->op && (at->op->code == OP_reshape || at->op->code == OP_stop_gradient)) {
        at = at->op->operands[0];
    }
    return type_equal(at->type, type) ? at->op : NULL;
}

/* The value behind stop_gradient and reshapes. */
static const Value *plain(const Value *v) {
    while (v->op && (v->op->code == OP_reshape || v->op->code == OP_stop_gradient)) {
        v = v->op->operands[0];
    }
    return v;
}

/* r where v is `r == from ? to : r`: how a row without a finite score is kept from nan; else NULL.
 */
static Value *guarded(const Match *m, const Value *v, double from, double to) {
    const Op *select = plain(v)->op;
    if (!select || select->code != OP_select || uses_of(m, select->results[0]) != 1) {
        return NULL;
    }
    const Op *test = select->operands[0]->op;
    double constant;
    bool fits = test && test->code == OP_eq && uses_of(m, test->results[0]) == 1 &&
                test->operands[0] == select->operands[2] &&
                value_is_constant(test->operands[1], &constant) && constant == from &&
                value_is_constant(select->operands[1], &constant) && constant == to;
    return fits ? select->operands[2] : NULL;
}

/* Whether v repeats the reduction of x over its last axis along that axis; *out_safe: with `to` in
 * place of `from`. */
static bool repeats_reduction(const Match *m, const Value *v, OpCode code, const Value *x,
                              double from, double to, bool *out_safe) {
    const Op *repeat = v->op;
    int32_t rank = x->type.rank;
    if (!repeat || repeat->code != OP_broadcast || !type_equal(v->type, x->type) ||
        repeat->operands[0]->type.rank != rank - 1) {
        return false;
    }
    const int64_t *axes = op_axes(repeat).at;
    for (int32_t i = 0; i < rank - 1; i++) {
        if (axes[i] != i) {
            return false;
        }
    }
    const Value *inner = guarded(m, repeat->operands[0], from, to);
    *out_safe = inner != NULL;
    const Op *reduce = inner ? plain(inner)->op : behind_views(repeat->operands[0]);
    if (!reduce || reduce->code != code || reduce->operands[0] != x ||
        !type_equal(reduce->results[0]->type, repeat->operands[0]->type)) {
        return false;
    }
    Ints reduced = op_axes(reduce);
    return reduced.count == 1 && reduced.at[0] == rank - 1;
}

/* Scores that go into a softmax over the last axis; NULL: p is no such softmax, or its parts are
 * read by others. *out_safe: a row of -inf alone gives 0. */
static Value *softmax_of(const Match *m, const Value *p, bool *out_safe) {
    bool top_safe = false, sum_safe = false;
    const Op *quotient = p->op;
    if (!quotient || quotient->code != OP_div || uses_of(m, p) != 1) {
        return NULL;
    }
    const Value *e = quotient->operands[0];
    if (!e->op || e->op->code != OP_exp || uses_of(m, e) != 2 ||
        !repeats_reduction(m, quotient->operands[1], OP_reduce_sum, e, 0, 1, &sum_safe)) {
        return NULL;
    }
    const Value *shifted = e->op->operands[0];
    if (!shifted->op || shifted->op->code != OP_sub || uses_of(m, shifted) != 1) {
        return NULL;
    }
    Value *s = shifted->op->operands[0];
    bool fits =
        uses_of(m, s) == 2 &&
        repeats_reduction(m, shifted->op->operands[1], OP_reduce_max, s, -INFINITY, 0, &top_safe) &&
        top_safe == sum_safe;
    *out_safe = top_safe;
    return fits ? s : NULL;
}

/* -- scores */
static bool add_mask(Match *m, Value *mask) {
    const Size *offset;
    if (!m->attrs.causal && is_causal(m->pass->context, mask, &offset)) {
        m->attrs.causal = true;
        m->attrs.offset = offset;
        return true;
    }
    if (m->n_masks == ATTENTION_MASKS) {
        return false;
    }
    m->masks[m->n_masks++] = mask;
    return true;
}

/* From the softmax's operand back to the contraction, by scales and masks. */
static bool match_scores(Match *m, Value *s) {
    m->attrs = (AttentionAttrs){.scale = 1, .offset = size_const(m->pass->context, 0)};
    for (Value *at = s;; s = at) {
        Op *op = at->op;
        if (!op || (at != s && uses_of(m, at) != 1)) {
            return false;
        }
        double constant;
        if (op->code == OP_contract) {
            m->scores = op;
            return m->attrs.scale > 0 && isfinite(m->attrs.scale);
        }
        if (op->code == OP_select && value_is_constant(op->operands[2], &constant) &&
            isinf(constant) && constant < 0) {
            at = op->operands[1];
            if (!add_mask(m, op->operands[0])) {
                return false;
            }
        } else if ((op->code == OP_mul || op->code == OP_div) &&
                   value_is_constant(op->operands[1], &constant) && constant > 0) {
            m->attrs.scale =
                op->code == OP_mul ? m->attrs.scale * constant : m->attrs.scale / constant;
            at = op->operands[0];
        } else if (op->code == OP_mul && value_is_constant(op->operands[0], &constant) &&
                   constant > 0) {
            m->attrs.scale *= constant;
            at = op->operands[1];
        } else {
            return false;
        }
        if (uses_of(m, at) != 1) {
            return false;
        }
    }
}

/* -- operands */
typedef struct Sides {
    Ints batch[2], sum[2];
    int32_t n_free[2];
    int64_t free_axis[2]; /* the first */
} Sides;

static Sides sides_of(const Op *op) {
    Sides s = {.batch = {contract_batch_a(op), contract_batch_b(op)},
               .sum = {contract_contract_a(op), contract_contract_b(op)}};
    for (int side = 0; side < 2; side++) {
        for (int64_t axis = op->operands[side]->type.rank - 1; axis >= 0; axis--) {
            bool used = false;
            for (int32_t i = 0; i < s.batch[side].count; i++) {
                used = used || s.batch[side].at[i] == axis;
            }
            for (int32_t i = 0; i < s.sum[side].count; i++) {
                used = used || s.sum[side].at[i] == axis;
            }
            if (!used) {
                s.n_free[side]++;
                s.free_axis[side] = axis;
            }
        }
    }
    return s;
}

/* A width of q, k or v whose rows stay in a kernel's tile. */
static bool is_short(const Match *m, const Size *size) {
    int64_t value;
    return size_is_const(size, &value) && value >= 1 &&
           value <= m->pass->machine->fusion.attention_width;
}

static double length_of(const Size *size) {
    return (double)size_nominal(size, UNSET_LENGTH);
}

/* Whether a block of threads has room for the smallest tiles of these widths (the backward kernels:
 * two tiles of scores, up to four of sums, panels). */
static bool machine_fits(const Machine *machine, const Size *width, const Size *values,
                         DType dtype) {
    if (machine->threads <= 1) {
        return true;
    }
    const int64_t least = 32;
    int64_t tile = machine->tile_rows_f32 < machine->tile_columns_f32 ? machine->tile_rows_f32
                                                                      : machine->tile_columns_f32;
    int64_t x = size_nominal(width, UNSET_SIZE), y = size_nominal(values, UNSET_SIZE);
    int64_t widest = x > y ? x : y, wide = least;
    while (wide < widest) {
        wide *= 2;
    }
    int64_t bytes = 4 * (2 * least * least + (x == y ? 3 : 4) * wide * least + 4 * least) +
                    128 * (least + wide);
    bool has_room = machine->shared_bytes <= 0 || bytes + 1024 <= machine->shared_bytes;
    return dtype != DT_F64 && tile >= least && wide <= tile && has_room;
}

/* Whether the two contractions have the axes of attention. The sum over no keys is 0, which a row
 * without a key is where it is safe only. */
static bool axes_fit(const Match *m, bool safe) {
    Sides s = sides_of(m->scores), o = sides_of(m->mix);
    int p = m->values_first ? 1 : 0, v = 1 - p;
    int32_t n_batch = s.batch[0].count, rank = n_batch + 2;
    if (s.sum[0].count != 1 || s.n_free[0] != 1 || s.n_free[1] != 1 || o.sum[0].count != 1 ||
        o.batch[0].count != n_batch || o.n_free[0] != 1 || o.n_free[1] != 1 ||
        o.sum[p].at[0] != rank - 1 || o.free_axis[p] != rank - 2) {
        return false;
    }
    Type q = m->scores->operands[0]->type, values = m->mix->operands[v]->type;
    const Value *scores = m->scores->results[0];
    double elements =
        length_of(scores->type.dims[rank - 2]) * length_of(scores->type.dims[rank - 1]);
    int64_t keys = 0, most;
    size_range(values.dims[o.sum[v].at[0]], &keys, &most);
    return (safe || keys > 0) && dtype_is_float(q.dtype) && is_short(m, q.dims[s.sum[0].at[0]]) &&
           is_short(m, values.dims[o.free_axis[v]]) &&
           elements >= m->pass->machine->fusion.attention_scores &&
           machine_fits(m->pass->machine, q.dims[s.sum[0].at[0]], values.dims[o.free_axis[v]],
                        q.dtype);
}

/* The operands with the scores' batch axes first, then rows, then the width. */
static Value *laid_out(Builder *b, Value *x, const int64_t *batch, int32_t n_batch, int64_t row,
                       int64_t width) {
    int64_t permutation[TYPE_MAX_RANK];
    bool same = true;
    for (int32_t i = 0; i < n_batch; i++) {
        permutation[i] = batch[i];
    }
    permutation[n_batch] = row;
    permutation[n_batch + 1] = width;
    for (int32_t i = 0; i < n_batch + 2; i++) {
        same = same && permutation[i] == i;
    }
    return same ? x : b_transpose(b, x, permutation);
}

static Value *build(Match *m, Builder *b) {
    Sides s = sides_of(m->scores), o = sides_of(m->mix);
    int p = m->values_first ? 1 : 0, v = 1 - p;
    int32_t n = s.batch[0].count;
    int64_t batch[TYPE_MAX_RANK], back[TYPE_MAX_RANK];
    for (int32_t i = 0; i < n; i++) {
        batch[o.batch[p].at[i]] = o.batch[v].at[i];
        back[i] = o.batch[p].at[i];
    }
    back[n] = m->values_first ? n + 1 : n;
    back[n + 1] = m->values_first ? n : n + 1;
    Value *qkv[3];
    for (int side = 0; side < 2; side++) {
        qkv[side] = laid_out(b, m->scores->operands[side], s.batch[side].at, n, s.free_axis[side],
                             s.sum[side].at[0]);
    }
    qkv[2] = laid_out(b, m->mix->operands[v], batch, n, o.sum[v].at[0], o.free_axis[v]);
    Value *y = b_attention(b, qkv, m->masks, m->n_masks, &m->attrs, NULL);
    return laid_out(b, y, back, n, back[n], back[n + 1]);
}

typedef struct Counts {
    PassContext *pass;
    int32_t *uses;
    int32_t n_uses;
} Counts;

static void replace_in(const Counts *counts, Block *block, Value **map, bool *changed) {
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_blocks; i++) {
            replace_in(counts, op->blocks[i], map, changed);
        }
        if (op->code != OP_contract || op->results[0]->id >= counts->n_uses) {
            continue;
        }
        for (int side = 0; side < 2; side++) {
            Match m = {.pass = counts->pass, .uses = counts->uses, .n_uses = counts->n_uses};
            m.mix = op;
            m.values_first = side == 1;
            bool safe = false;
            Value *s = softmax_of(&m, op->operands[side], &safe);
            if (s && match_scores(&m, s) && axes_fit(&m, safe)) {
                m.attrs.safe = safe;
                Builder b = builder_before(op);
                b.place = op->place;
                b.label = op->label;
                map[op->results[0]->id] = build(&m, &b);
                *changed = true;
                break;
            }
        }
    }
}

bool pass_attention(PassContext *pass, Func *func) {
    func_renumber(func);
    Counts counts = {.pass = pass, .n_uses = func->n_values};
    counts.uses = func_use_counts(func, pass->scratch);
    Value **map = ARENA_ARRAY(pass->scratch, Value *, func->n_values + 1);
    bool changed = false;
    replace_in(&counts, func->body, map, &changed);
    if (changed) {
        func_replace_values(func, map);
        pass_dce(pass, func);
    }
    return changed;
}
