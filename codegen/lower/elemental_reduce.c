/* Elements of reductions and folds: inner loops at the scope of the index, so that a reduction over
 * the last axes becomes one pass per row, outside the loop over the row's elements. Reductions of
 * one shape that are ready together share their loop. */
#include "codegen/lower/elemental_impl.h"
#include "codegen/lower/lower.h"
#include <math.h>

enum { UNROLL_LIMIT = 16, MAX_SHARED = 8, CONE_LIMIT = 256 };

const KExpr *reduction_identity(KBuild *k, OpCode code, DType dtype) {
    DType type = dtype_in_register(dtype);
    OpCode combines = op_info(code)->combines;
    return dtype_is_float(type) ? k_constant(k, type, scalar_identity(combines))
                                : k_integer(k, type, scalar_int_identity(combines, type));
}

const KExpr *reduction_combine(KBuild *k, OpCode code, const KExpr *a, const KExpr *b) {
    OpCode combines = op_info(code)->combines;
    if (a->dtype == DT_BOOL && (combines == OP_max || combines == OP_min)) {
        combines = combines == OP_max ? OP_or : OP_and;
    }
    return k_binary(k, combines, a, b);
}

SumLoop sum_loop_begin(KBuild *k, OpCode code, DType dtype) {
    SumLoop loop = {.acc = kb_var(k, dtype, "acc"), .code = code};
    kb_set(k, loop.acc, reduction_identity(k, code, dtype));
    return loop;
}

const KExpr *sum_loop_axis(KBuild *k, SumLoop *loop, const Size *extent, bool is_innermost) {
    loop->depth++;
    return kb_loop(k, is_innermost ? kb_reducing(k) : KL_SERIAL, k_int(k, 0), k_size(k, extent),
                   extent, "k");
}

void sum_loop_add(KBuild *k, SumLoop *loop, const KExpr *value) {
    kb_set(k, loop->acc, reduction_combine(k, loop->code, k_get(k, loop->acc), value));
}

const KExpr *sum_loop_end(KBuild *k, SumLoop *loop) {
    for (; loop->depth > 0; loop->depth--) {
        kb_loop_end(k);
    }
    return kb_let(k, k_get(k, loop->acc), "sum");
}

static bool is_reduction(const Op *op) {
    return op_info(op->code)->fusion == FUSION_REDUCE;
}

/* -- which reductions can share a loop */
static bool same_space(const Op *a, const Op *b) {
    Type x = a->operands[0]->type, y = b->operands[0]->type;
    Ints axes_a = op_axes(a), axes_b = op_axes(b);
    if (x.rank != y.rank || axes_a.count != axes_b.count) {
        return false;
    }
    for (int32_t i = 0; i < x.rank; i++) {
        if (x.dims[i] != y.dims[i]) {
            return false;
        }
    }
    for (int32_t i = 0; i < axes_a.count; i++) {
        if (axes_a.at[i] != axes_b.at[i]) {
            return false;
        }
    }
    return true;
}

typedef struct Cone {
    KBuild *k;
    Index index;
    int32_t rank; /* of the results */
    const Value *seen[CONE_LIMIT];
    int32_t n_seen;
} Cone;

/* Whether `v` can be computed elementwise from what is there already. */
static bool cone_ready(Cone *cone, const Value *v) {
    if (!v->op) {
        return true;
    }
    for (int32_t i = 0; i < cone->n_seen; i++) {
        if (cone->seen[i] == v) {
            return true;
        }
    }
    if (cone->n_seen == CONE_LIMIT) {
        return false;
    }
    cone->seen[cone->n_seen++] = v;
    if (v->type.rank == cone->rank && elemental_find(cone->k, v, cone->index)) {
        return true;
    }
    OpKind kind = op_info(v->op->code)->kind;
    if (kind == KIND_REDUCTION || kind == KIND_CONTRACTION || kind == KIND_CONVOLUTION ||
        v->op->code == OP_fold) {
        return false;
    }
    for (int32_t i = 0; i < v->op->n_operands; i++) {
        if (!cone_ready(cone, v->op->operands[i])) {
            return false;
        }
    }
    return true;
}

static int32_t shared_reductions(KBuild *k, const Op *op, Index index, const Op **out) {
    int32_t count = 1;
    out[0] = op;
    BLOCK_EACH_OP (k->body, other) {
        if (other == op || count == MAX_SHARED || !is_reduction(other) || !same_space(op, other) ||
            elemental_find(k, other->results[0], index)) {
            continue;
        }
        Cone cone = {.k = k, .index = index, .rank = other->results[0]->type.rank};
        if (cone_ready(&cone, other->operands[0])) {
            out[count++] = other;
        }
    }
    return count;
}

/* -- the loops */
/* Index of the operand: result axes in order around the reduced ones. */
static void merge_index(const Op *op, Type x, Index kept, Index reduced, const KExpr **out) {
    int32_t at = 0;
    Ints axes = op_axes(op);
    for (int32_t i = 0; i < x.rank; i++) {
        int32_t hit = -1;
        for (int32_t j = 0; j < axes.count; j++) {
            hit = axes.at[j] == i ? j : hit;
        }
        out[i] = hit >= 0 ? reduced[hit] : kept[at++];
    }
}

/* As a binary tree. */
static const KExpr *unrolled(KBuild *k, const Op *op, Index index, int64_t total) {
    Type x = op->operands[0]->type;
    Ints axes = op_axes(op);
    const KExpr *values[UNROLL_LIMIT];
    for (int64_t i = 0; i < total; i++) {
        const KExpr *reduced[TYPE_MAX_RANK], *inner[TYPE_MAX_RANK];
        int64_t rest = i;
        for (int32_t j = axes.count - 1; j >= 0; j--) {
            int64_t extent = 1;
            size_is_const(x.dims[axes.at[j]], &extent);
            reduced[j] = k_int(k, rest % extent);
            rest /= extent;
        }
        merge_index(op, x, index, reduced, inner);
        values[i] = elemental_value(k, op->operands[0], inner);
    }
    for (int64_t step = 1; step < total; step *= 2) {
        for (int64_t i = 0; i + step < total; i += 2 * step) {
            const KExpr *both = reduction_combine(k, op->code, values[i], values[i + step]);
            values[i] = kb_let(k, both, "acc");
        }
    }
    return total > 0 ? values[0] : reduction_identity(k, op->code, op->results[0]->type.dtype);
}

/* Loops over the reduced axes of an op, adjacent axes as one. */
typedef struct RowLoops {
    LoopPiece pieces[TYPE_MAX_RANK * MAX_PIECES];
    int32_t n_pieces, n_groups;
    int32_t ends[TYPE_MAX_RANK], counts[TYPE_MAX_RANK]; /* of groups of axes */
    Nest nest;
    const KExpr *reduced[TYPE_MAX_RANK];
} RowLoops;

static void row_pieces(KBuild *k, const Op *op, RowLoops *row) {
    Type x = op->operands[0]->type;
    Ints axes = op_axes(op);
    int64_t key = elemental_ordinal(k, op) * 32;
    for (int32_t i = 0; i < axes.count; i = row->ends[row->n_groups++]) {
        int32_t end = i + 1;
        while (end < axes.count && axes.at[end] == axes.at[end - 1] + 1) {
            end++;
        }
        const Size *extent =
            size_product(k->context, x.dims, (int32_t)axes.at[i], (int32_t)axes.at[i] + end - i);
        int32_t count = kb_pieces(k, key + i, extent, row->pieces + row->n_pieces);
        row->ends[row->n_groups] = end;
        row->counts[row->n_groups] = count;
        row->n_pieces += count;
    }
}

static void open_row(KBuild *k, RowLoops *row) {
    LoopPiece *pieces = row->pieces;
    KLoopKind kind = kb_reducing(k);
    if (kind == KL_VECTOR && row->n_pieces > 0) {
        const KExpr *end = k_size(k, pieces[0].extent);
        row->nest = nest_open_reducing(k, pieces, row->n_pieces, k_int(k, 0), end);
        return;
    }
    for (int32_t p = 0; p < row->n_pieces; p++) {
        kb_piece_loop(k, kind, &pieces[p], k_int(k, 0), k_size(k, pieces[p].extent));
        row->nest.n_open++;
    }
}

/* All loops but the innermost, which is cut into blocks: [*begin, *end) is what it is to do. */
static void open_row_blocks(KBuild *k, RowLoops *row, const KExpr **begin, const KExpr **end) {
    int32_t last = row->n_pieces - 1;
    row->nest = nest_open(k, row->pieces, last, KL_SERIAL);
    const Size *extent = row->pieces[last].extent;
    int64_t length;
    *begin = k_int(k, 0);
    *end = k_size(k, extent);
    if (!size_is_const(extent, &length) || length > SUM_BLOCK) {
        const Size *blocks = size_cdiv(k->context, extent, size_const(k->context, SUM_BLOCK));
        const KExpr *block = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, blocks), blocks, "block");
        row->nest.n_open++;
        *begin = k_scale_int(k, block, SUM_BLOCK);
        *end = k_min(k, k_add(k, *begin, k_int(k, SUM_BLOCK)), *end);
    }
}

static void row_index(KBuild *k, const Op *op, RowLoops *row) {
    Type x = op->operands[0]->type;
    Ints axes = op_axes(op);
    for (int32_t g = 0, i = 0, p = 0; g < row->n_groups; p += row->counts[g], i = row->ends[g++]) {
        Type group = {x.dtype, row->ends[g] - i, x.dims + axes.at[i]};
        k_unflat(k, group, kb_pieces_flat(k, row->pieces + p, row->counts[g]), &row->reduced[i]);
    }
}

bool sum_may_be_long(const Op *op, const Size *count) {
    int64_t low, high;
    size_range(count, &low, &high);
    return high > SUM_BLOCK && op->code == OP_reduce_sum &&
           dtype_in_register(op->results[0]->type.dtype) == DT_F32;
}

typedef struct Accumulators {
    const Op *ops[MAX_SHARED];
    int32_t count;
    const KVar *accs[MAX_SHARED];
    const KVar *totals[MAX_SHARED]; /* of blocks, in f64; NULL: acc is the whole */
    bool any_total;
} Accumulators;

static void set_identity(KBuild *k, const Accumulators *a, int32_t i) {
    DType dtype = a->ops[i]->results[0]->type.dtype;
    kb_set(k, a->accs[i], reduction_identity(k, a->ops[i]->code, dtype));
}

static void open_accumulators(KBuild *k, const Size *count, Accumulators *a) {
    bool blocks = !kb_is_block(k) && kb_reducing(k) == KL_VECTOR;
    for (int32_t i = 0; i < a->count; i++) {
        a->accs[i] = kb_var(k, a->ops[i]->results[0]->type.dtype, "acc");
        set_identity(k, a, i);
        if (blocks && sum_may_be_long(a->ops[i], count)) {
            a->totals[i] = kb_var(k, DT_F64, "total");
            kb_set(k, a->totals[i], k_constant(k, DT_F64, 0));
            a->any_total = true;
        }
    }
}

static void accumulate(KBuild *k, const Op *op, RowLoops *row, const Accumulators *a, Index index) {
    const KExpr *inner[TYPE_MAX_RANK];
    row_index(k, op, row);
    merge_index(op, op->operands[0]->type, index, row->reduced, inner);
    for (int32_t i = 0; i < a->count; i++) {
        const KExpr *value = elemental_value(k, a->ops[i]->operands[0], inner);
        const KExpr *acc = k_get(k, a->accs[i]);
        kb_set(k, a->accs[i], reduction_combine(k, a->ops[i]->code, acc, value));
    }
}

/* A sum in f32 that may be long is made of blocks, each summed in f32 and their sums in f64: so no
 * run of additions is long, and the innermost loop is what it would be. */
static void accumulate_blocks(KBuild *k, const Op *op, RowLoops *row, const Accumulators *a,
                              Index index) {
    const KExpr *begin, *end;
    open_row_blocks(k, row, &begin, &end);
    for (int32_t i = 0; i < a->count; i++) {
        if (a->totals[i]) {
            set_identity(k, a, i);
        }
    }
    kb_piece_loop(k, KL_VECTOR, &row->pieces[row->n_pieces - 1], begin, end);
    accumulate(k, op, row, a, index);
    kb_loop_end(k);
    for (int32_t i = 0; i < a->count; i++) {
        if (a->totals[i]) {
            const KExpr *acc = k_cast(k, k_get(k, a->accs[i]), DT_F64);
            kb_set(k, a->totals[i], k_binary(k, OP_add, k_get(k, a->totals[i]), acc));
        }
    }
}

const KExpr *elemental_reduce(KBuild *k, const Op *op, Index index) {
    Type x = op->operands[0]->type;
    Ints axes = op_axes(op);
    const Size *total = size_const(k->context, 1);
    for (int32_t i = 0; i < axes.count; i++) {
        total = size_mul(k->context, total, x.dims[axes.at[i]]);
    }
    int64_t constant;
    if (size_is_const(total, &constant) && constant <= UNROLL_LIMIT) {
        return unrolled(k, op, index, constant);
    }
    Accumulators a = {0};
    RowLoops row = {0};
    a.count = shared_reductions(k, op, index, a.ops);
    open_accumulators(k, total, &a);
    row_pieces(k, op, &row);
    if (a.any_total && row.n_pieces > 0) {
        accumulate_blocks(k, op, &row, &a, index);
    } else {
        open_row(k, &row);
        accumulate(k, op, &row, &a, index);
    }
    nest_close(k, &row.nest);
    const KExpr *result = NULL;
    for (int32_t i = 0; i < a.count; i++) {
        const KExpr *value = k_get(k, a.totals[i] ? a.totals[i] : a.accs[i]);
        value = kb_let(k, k_cast(k, value, a.accs[i]->dtype), "reduced");
        if (i == 0) {
            result = value;
        } else {
            elemental_bind(k, a.ops[i]->results[0], index, value);
        }
    }
    return result;
}

static const KExpr *unrolled_argreduce(KBuild *k, const Op *op, const KExpr **inner,
                                       int64_t extent) {
    const Value *x = op->operands[0];
    int64_t axis = op_axis(op);
    OpCode beats = op->code == OP_argmax ? OP_gt : OP_lt;
    DType place_type = op->results[0]->type.dtype;
    const KExpr *best = NULL, *place = NULL;
    for (int64_t i = 0; i < extent; i++) {
        inner[axis] = k_int(k, i);
        const KExpr *value = elemental_value(k, x, inner), *here = k_integer(k, place_type, i);
        if (!best) {
            best = value;
            place = here;
            continue;
        }
        const KExpr *wins = value->dtype == DT_BOOL ? NULL : k_binary(k, beats, value, best);
        if (value->dtype == DT_BOOL) {
            const KExpr *low = beats == OP_gt ? best : value, *high = beats == OP_gt ? value : best;
            wins = k_binary(k, OP_and, high, k_scalar(k, OP_not, &low, 1));
        } else if (dtype_is_float(value->dtype)) {
            const KExpr *nan = k_scalar(k, OP_isnan, &value, 1);
            const KExpr *had = k_scalar(k, OP_isnan, &best, 1);
            const KExpr *first = k_binary(k, OP_and, nan, k_scalar(k, OP_not, &had, 1));
            wins = k_binary(k, OP_or, wins, first);
        }
        wins = kb_let(k, wins, "wins");
        best = kb_let(k, k_select(k, wins, value, best), "best");
        place = kb_let(k, k_select(k, wins, here, place), "place");
    }
    return place;
}

/* Two passes: the extreme (a nan counts), then the first place that has it. */
const KExpr *elemental_argreduce(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0];
    int64_t axis = op_axis(op);
    const Size *extent = x->type.dims[axis];
    const KExpr *inner[TYPE_MAX_RANK];
    for (int32_t i = 0; i < x->type.rank; i++) {
        inner[i] = i < axis ? index[i] : i > axis ? index[i - 1] : NULL;
    }
    int64_t constant;
    if (size_is_const(extent, &constant) && constant >= 1 && constant <= UNROLL_LIMIT) {
        return unrolled_argreduce(k, op, inner, constant);
    }
    SumLoop extreme = sum_loop_begin(k, op->code, x->type.dtype);
    inner[axis] = sum_loop_axis(k, &extreme, extent, true);
    sum_loop_add(k, &extreme, elemental_value(k, x, inner));
    const KExpr *best = sum_loop_end(k, &extreme);

    const KVar *first = kb_var(k, DT_I64, "first");
    kb_set(k, first, k_size(k, extent));
    inner[axis] = kb_loop(k, kb_reducing(k), k_int(k, 0), k_size(k, extent), extent, "k");
    const KExpr *value = elemental_value(k, x, inner);
    const KExpr *here = k_binary(k, OP_eq, value, best);
    if (dtype_is_float(value->dtype)) {
        const KExpr *nan = k_scalar(k, OP_isnan, &value, 1);
        here = k_binary(k, OP_or, here, nan);
    }
    const KExpr *place = k_select(k, here, inner[axis], k_size(k, extent));
    kb_set(k, first, k_binary(k, OP_min, k_get(k, first), place));
    kb_loop_end(k);
    const KExpr *found = kb_let(k, k_get(k, first), "first");
    return k_cast(k, found, op->results[0]->type.dtype);
}

/* Contributions to place s: o * stride + j * dilation - low == s, over the window's j. */
static void fold_term(KBuild *k, const Op *op, Index index, const KExpr *j, const KVar *acc) {
    const Value *x = op->operands[0];
    int64_t axis = op_axis(op);
    int64_t stride = op_stride(op), dilation = op_dilation(op);
    const KExpr *inner[TYPE_MAX_RANK];
    for (int32_t i = 0; i < x->type.rank; i++) {
        inner[i] = i <= axis ? index[i] : index[i - 1];
    }
    const KExpr *at = k_add(k, index[axis], k_size(k, op_low(op)));
    at = k_sub(k, at, k_scale_int(k, j, dilation));
    const KExpr *condition = k_le(k, k_int(k, 0), at), *rest;
    k_divmod(k, at, size_const(k->context, stride), &at, &rest);
    condition = k_and(k, condition, k_le(k, rest, k_int(k, 0)));
    condition = k_and(k, condition, k_lt(k, at, k_size(k, x->type.dims[axis])));
    inner[axis] = at;
    inner[axis + 1] = j;
    const KExpr *zero = k_constant(k, x->type.dtype, 0);
    const KExpr *value = elemental_guarded(k, condition, x, inner, zero);
    kb_set(k, acc, k_binary(k, OP_add, k_get(k, acc), value));
}

/* A window of constant length that meets no other one: at most one element of it fits. */
static bool fold_is_single(const Op *op, int64_t *window) {
    const Size *extent = op->operands[0]->type.dims[op_axis(op) + 1];
    return size_is_const(extent, window) && *window <= op_stride(op) && op_dilation(op) == 1 &&
           *window > 0;
}

bool elemental_fold_loops(const Op *op) {
    int64_t window;
    return op->code == OP_fold && !fold_is_single(op, &window) &&
           !(size_is_const(op->operands[0]->type.dims[op_axis(op) + 1], &window) &&
             window <= UNROLL_LIMIT);
}

const KExpr *elemental_fold(KBuild *k, const Op *op, Index index) {
    const Value *x = op->operands[0];
    int64_t axis = op_axis(op), window;
    const Size *extent = x->type.dims[axis + 1];
    const KVar *acc = kb_var(k, x->type.dtype, "fold");
    kb_set(k, acc, k_constant(k, x->type.dtype, 0));
    int64_t stride = op_stride(op);
    bool is_const = size_is_const(extent, &window);
    if (fold_is_single(op, &window)) {
        const KExpr *at = k_add(k, index[axis], k_size(k, op_low(op))), *out, *j;
        k_divmod(k, at, size_const(k->context, stride), &out, &j);
        const KExpr *inner[TYPE_MAX_RANK];
        for (int32_t i = 0; i < x->type.rank; i++) {
            inner[i] = i <= axis ? index[i] : index[i - 1];
        }
        inner[axis] = out;
        inner[axis + 1] = j;
        const KExpr *inside = k_lt(k, j, k_int(k, window));
        inside = k_and(k, k_le(k, k_int(k, 0), at), inside);
        inside = k_and(k, inside, k_lt(k, out, k_size(k, x->type.dims[axis])));
        return elemental_guarded(k, inside, x, inner, k_constant(k, x->type.dtype, 0));
    }
    if (is_const && window <= UNROLL_LIMIT) {
        for (int64_t j = 0; j < window; j++) {
            fold_term(k, op, index, k_int(k, j), acc);
        }
    } else {
        const KExpr *j = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, extent), extent, "j");
        fold_term(k, op, index, j, acc);
        kb_loop_end(k);
    }
    return kb_let(k, k_get(k, acc), "fold");
}
