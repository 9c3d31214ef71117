/* Pieces that forward and backward attention share (attention.h): indices, masks, loops over
 * blocks, room for tiles. */
#include "codegen/lower/attention.h"
#include "ir/base/checked.h"
#include <math.h>

enum { MOST_LENGTH = 1 << 20 };

int64_t attention_rows(KBuild *k, const Attention *at, int64_t rows) {
    return kb_is_block(k) ? attention_power(rows)
                          : round_up(rows, machine_tile_rows(kb_machine(k), at->dtype));
}

int64_t attention_columns(KBuild *k, const Attention *at, int64_t columns) {
    return kb_is_block(k) ? attention_power(columns)
                          : round_up(columns, machine_tile_columns(kb_machine(k), at->dtype));
}

int64_t attention_cut(const Size *size, int64_t most) {
    int64_t n = size_nominal(size, UNSET_LENGTH);
    n = n < 1 ? 1 : n > MOST_LENGTH ? MOST_LENGTH : n;
    int64_t parts = (n + most - 1) / most;
    return (n + parts - 1) / parts;
}

/* -- products */
void attention_index(KBuild *k, const Attention *at, const KExpr *batch, const KExpr *row,
                     const KExpr *column, const KExpr **out) {
    k_unflat(k, at->batch, batch, out);
    int32_t next = at->batch.rank;
    if (row) {
        out[next++] = row;
    }
    if (column) {
        out[next++] = column;
    }
}

const KExpr *attention_element(KBuild *k, const Product *p, const Factor *f, const KExpr *batch,
                               const KExpr *row, const KExpr *depth) {
    const KExpr *index[TYPE_MAX_RANK];
    if (f->operand >= 0) {
        attention_index(k, p->pair->at, batch, f->width_is_row ? depth : row,
                        f->width_is_row ? row : depth, index);
        return elemental_value(k, p->pair->at->op->operands[f->operand], index);
    }
    const KExpr *i = k_sub(k, row, f->first_row), *d = k_sub(k, depth, f->first_depth);
    const KExpr *outer = f->inner_is_row ? d : i, *inner = f->inner_is_row ? i : d;
    return k_local(k, f->local, k_add(k, k_scale_int(k, outer, f->stride), inner));
}

/* -- small things */
const KExpr *attention_mask(KBuild *k, const Pair *pair, const KExpr *query, const KExpr *key) {
    const Attention *at = pair->at;
    const KExpr *all = NULL, *index[TYPE_MAX_RANK];
    attention_index(k, at, pair->batch, query, key, index);
    for (int32_t i = at->n_plain; i < at->op->n_operands; i++) {
        const KExpr *mask = elemental_value(k, at->op->operands[i], index);
        all = all ? k_binary(k, OP_and, all, mask) : mask;
    }
    return all;
}

void attention_store(KBuild *k, const Attention *at, int32_t result, const KExpr *const *index,
                     const KExpr *value) {
    const Value *v = at->op->results[result];
    const KExpr *flat = k_flat(k, v->type, index);
    int32_t buffer = kb_result_buffer(k, at->results[result]);
    kb_store(k, buffer, flat, k_cast(k, value, v->type.dtype));
}

const KExpr *attention_grid(KBuild *k, const Size *extent, const char *hint, int32_t *depth) {
    if (size_is_one(extent)) {
        return k_int(k, 0);
    }
    (*depth)++;
    return kb_grid(k, extent, hint);
}

const KExpr *attention_rest(KBuild *k, const Size *size, const KExpr *first, int64_t block) {
    const KExpr *rest = k_sub(k, k_size(k, size), first);
    return kb_let(k, k_min(k, k_int(k, block), rest), "rest");
}

const KExpr *attention_loop(KBuild *k, KLoopKind kind, const KExpr *begin, const KExpr *end,
                            int64_t extent, const char *hint) {
    return kb_loop(k, kind, begin, end, size_const(kb_context(k), extent), hint);
}

void attention_fill(KBuild *k, const KLocal *local, int64_t count, double value) {
    const KExpr *i = attention_loop(k, KL_VECTOR, k_int(k, 0), k_int(k, count), count, "i");
    kb_local_store(k, local, i, k_constant(k, local->dtype, value));
    kb_loop_end(k);
}

const KExpr *attention_mixed(KBuild *k, const Attention *at, const KExpr *value, const KExpr *sum) {
    if (at->attrs.safe) { /* the values of a query without keys are 0 */
        const KExpr *none = k_binary(k, OP_eq, sum, k_constant(k, at->dtype, 0));
        sum = kb_let(k, k_select(k, none, k_constant(k, at->dtype, 1), sum), "sum");
    }
    return k_binary(k, OP_div, value, sum);
}

const KExpr *attention_logarithm(KBuild *k, const Attention *at, const KExpr *sum,
                                 const KExpr *top) {
    const KExpr *lse = k_scalar(k, OP_log, &sum, 1);
    lse = k_binary(k, OP_add, lse, top);
    if (at->attrs.safe) { /* so that exp(score - lse) is 0 in the gradient */
        const KExpr *none = k_binary(k, OP_eq, sum, k_constant(k, at->dtype, 0));
        lse = k_select(k, none, k_constant(k, at->dtype, INFINITY), lse);
    }
    return lse;
}

/* Blocks of keys that count for any of the pair's queries. */
static const KExpr *key_steps(KBuild *k, const Pair *pair) {
    const Attention *at = pair->at;
    const KExpr *end = k_size(k, at->keys), *steps, *unused;
    if (at->attrs.causal) {
        const KExpr *last = k_add(k, pair->q0, pair->rows);
        last = k_add(k, last, k_size(k, at->attrs.offset));
        end = kb_let(k, k_max(k, k_min(k, end, last), k_int(k, 0)), "end");
    }
    const Size *block = size_const(kb_context(k), at->block_k);
    k_divmod(k, k_add(k, end, k_int(k, at->block_k - 1)), block, &steps, &unused);
    return kb_let(k, steps, "steps");
}

int64_t attention_power(int64_t value) {
    int64_t power = LEAST_TILE;
    while (power < value) {
        power *= 2;
    }
    return power;
}

/* -- tiles and scores */
const KExpr *attention_at(KBuild *k, int64_t stride, const KExpr *outer, const KExpr *inner) {
    return k_add(k, k_scale_int(k, outer, stride), inner);
}

const KExpr *attention_key_end(KBuild *k, const Pair *pair, const KExpr *i) {
    const Attention *at = pair->at;
    if (!at->attrs.causal) {
        return pair->count;
    }
    const KExpr *end = k_add(k, k_add(k, pair->q0, i), k_size(k, at->attrs.offset));
    end = k_sub(k, k_add(k, end, k_int(k, 1)), pair->k0);
    end = k_min(k, k_max(k, end, k_int(k, 0)), pair->count);
    return kb_let(k, end, "end");
}

const KExpr *attention_score(KBuild *k, const Pair *pair, const KExpr *x, const KExpr *i,
                             const KExpr *j) {
    const Attention *at = pair->at;
    x = k_binary(k, OP_mul, x, k_constant(k, at->dtype, at->attrs.scale));
    const KExpr *query = k_add(k, pair->q0, i), *key = k_add(k, pair->k0, j);
    const KExpr *mask = attention_mask(k, pair, query, key);
    x = mask ? k_select(k, mask, x, k_constant(k, at->dtype, -INFINITY)) : x;
    return kb_let(k, x, "score");
}

const KExpr *attention_shift(KBuild *k, DType dtype, const KExpr *top) {
    const KExpr *none = k_binary(k, OP_eq, top, k_constant(k, dtype, -INFINITY));
    return kb_let(k, k_select(k, none, k_constant(k, dtype, 0), top), "shift");
}

/* -- blocks */
void attention_open_queries(KBuild *k, Pair *pair, int32_t *depth) {
    const Attention *at = pair->at;
    Context *context = kb_context(k);
    pair->batch = attention_grid(k, at->n_batch, "batch", depth);
    const Size *blocks = size_cdiv(context, at->queries, size_const(context, at->block_q));
    const KExpr *block = attention_grid(k, blocks, "block", depth);
    pair->q0 = k_scale_int(k, block, at->block_q);
    pair->rows = attention_rest(k, at->queries, pair->q0, at->block_q);
}

void attention_open_keys(KBuild *k, Pair *pair) {
    const Attention *at = pair->at;
    Context *context = kb_context(k);
    const Size *most = size_cdiv(context, at->keys, size_const(context, at->block_k));
    const KExpr *steps = key_steps(k, pair);
    const KExpr *step = kb_loop(k, KL_SERIAL, k_int(k, 0), steps, most, "step");
    pair->k0 = k_scale_int(k, step, at->block_k);
    pair->count = attention_rest(k, at->keys, pair->k0, at->block_k);
}
