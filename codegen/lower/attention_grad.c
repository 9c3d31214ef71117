/* Form "attention", the backward op: the scores of a block of queries and keys are computed again,
 * turned to softmax with the saved logarithms, and used for all derivatives. Tiles lie query-major.
 * Where heads are many, a tile is one head and adds up the derivative by q in its result; else one
 * kernel goes by blocks of keys and one by blocks of queries. */
#include "codegen/lower/attention.h"

typedef struct Backward {
    Pair pair;
    const KLocal *p, *ds;        /* [query][key] */
    const KLocal *lse, *delta;   /* [query] */
    const KLocal *dk, *dv, *dq;  /* [width][key], [value][key], [width][query] */
    const KLocal *part, *part_v; /* what is added to them; of dv */
    bool by_key, by_query;       /* what this kernel sums up */
} Backward;

/* c = x(queries) y(keys)ᵀ over their last axis. */
static void pair_product(KBuild *k, const Backward *w, int32_t x, int32_t y, int64_t width,
                         const KLocal *c) {
    const Attention *at = w->pair.at;
    Product product = {.pair = &w->pair,
                       .a = {.operand = x},
                       .b = {.operand = y},
                       .m = at->queries,
                       .n = at->keys,
                       .depth = size_const(kb_context(k), width),
                       .m0 = w->pair.q0,
                       .rows = w->pair.rows,
                       .n0 = w->pair.k0,
                       .columns = w->pair.count,
                       .depth0 = k_int(k, 0),
                       .length = k_int(k, width),
                       .most_m = at->block_q,
                       .most_n = at->block_k,
                       .most_depth = width,
                       .c = c};
    attention_product(k, &product);
}

/* part = x(queries)ᵀ tile, [width of x][key]. */
static void sum_over_queries(KBuild *k, const Backward *w, int32_t x, int64_t width,
                             const KLocal *tile, const KLocal *part) {
    const Attention *at = w->pair.at;
    Product product = {.pair = &w->pair,
                       .a = {.operand = x, .width_is_row = true},
                       .b = {.operand = -1,
                             .local = tile,
                             .stride = at->block_k,
                             .inner_is_row = true,
                             .first_row = k_int(k, 0),
                             .first_depth = w->pair.q0},
                       .m = size_const(kb_context(k), width),
                       .n = at->keys,
                       .depth = at->queries,
                       .m0 = k_int(k, 0),
                       .rows = k_int(k, width),
                       .n0 = k_int(k, 0),
                       .columns = w->pair.count,
                       .depth0 = w->pair.q0,
                       .length = w->pair.rows,
                       .most_m = attention_rows(k, at, width),
                       .most_n = at->block_k,
                       .most_depth = at->block_q,
                       .c = part};
    attention_product(k, &product);
}

/* part = k(keys)ᵀ dsᵀ, [width][query]. */
static void sum_over_keys(KBuild *k, const Backward *w) {
    const Attention *at = w->pair.at;
    Product product = {.pair = &w->pair,
                       .a = {.operand = 1, .width_is_row = true},
                       .b = {.operand = -1,
                             .local = w->ds,
                             .stride = at->block_k,
                             .first_row = k_int(k, 0),
                             .first_depth = w->pair.k0},
                       .m = size_const(kb_context(k), at->width),
                       .n = at->queries,
                       .depth = at->keys,
                       .m0 = k_int(k, 0),
                       .rows = k_int(k, at->width),
                       .n0 = k_int(k, 0),
                       .columns = w->pair.rows,
                       .depth0 = w->pair.k0,
                       .length = w->pair.count,
                       .most_m = attention_rows(k, at, at->width),
                       .most_n = attention_columns(k, at, at->block_q),
                       .most_depth = at->block_k,
                       .c = w->part};
    attention_product(k, &product);
}

/* lse and delta of the block's queries. */
static void load_rows(KBuild *k, const Backward *w) {
    const Attention *at = w->pair.at;
    const KExpr *index[TYPE_MAX_RANK];
    const KExpr *i = attention_loop(k, KL_VECTOR, k_int(k, 0), w->pair.rows, at->block_q, "i");
    attention_index(k, at, w->pair.batch, k_add(k, w->pair.q0, i), NULL, index);
    const KExpr *lse = elemental_value(k, at->op->operands[3], index);
    const KExpr *delta = elemental_value(k, at->op->operands[5], index);
    kb_local_store(k, w->lse, i, k_cast(k, lse, at->dtype));
    kb_local_store(k, w->delta, i, k_cast(k, delta, at->dtype));
    kb_loop_end(k);
}

/* p = softmax, ds = derivative by the scores before their scale; both 0 where a key does not count.
 */
static void make_tiles(KBuild *k, const Backward *w) {
    const Attention *at = w->pair.at;
    DType dtype = at->dtype;
    pair_product(k, w, 0, 1, at->width, w->p);
    pair_product(k, w, 4, 2, at->values, w->ds);
    const KExpr *i =
        attention_loop(k, kb_each(k, KL_SERIAL), k_int(k, 0), w->pair.rows, at->block_q, "i");
    const KExpr *end = attention_key_end(k, &w->pair, i);
    const KExpr *lse = kb_let(k, k_local(k, w->lse, i), "lse");
    const KExpr *delta = kb_let(k, k_local(k, w->delta, i), "delta");
    const KExpr *j = attention_loop(k, KL_VECTOR, k_int(k, 0), end, at->block_k, "j");
    const KExpr *here = attention_at(k, at->block_k, i, j);
    const KExpr *scale = k_constant(k, dtype, at->attrs.scale);
    const KExpr *x = k_binary(k, OP_mul, k_local(k, w->p, here), scale);
    x = k_binary(k, OP_sub, x, lse);
    x = k_scalar(k, OP_exp, &x, 1);
    const KExpr *query = k_add(k, w->pair.q0, i), *key = k_add(k, w->pair.k0, j);
    const KExpr *mask = attention_mask(k, &w->pair, query, key);
    x = mask ? k_select(k, mask, x, k_constant(k, dtype, 0)) : x;
    x = kb_let(k, x, "p");
    const KExpr *ds = k_binary(k, OP_sub, k_local(k, w->ds, here), delta);
    ds = k_binary(k, OP_mul, k_binary(k, OP_mul, ds, x), scale);
    ds = kb_let(k, ds, "ds");
    kb_local_store(k, w->p, here, x);
    kb_local_store(k, w->ds, here, ds);
    kb_loop_end(k);
    if (at->attrs.causal) {
        j = attention_loop(k, KL_VECTOR, end, w->pair.count, at->block_k, "j");
        kb_local_store(k, w->p, attention_at(k, at->block_k, i, j), k_constant(k, dtype, 0));
        kb_local_store(k, w->ds, attention_at(k, at->block_k, i, j), k_constant(k, dtype, 0));
        kb_loop_end(k);
    }
    kb_loop_end(k);
}

/* sum += part over [width][count]. */
static void add_part(KBuild *k, const Backward *w, const KLocal *sum, const KLocal *part,
                     int64_t width, bool by_key) {
    const Attention *at = w->pair.at;
    int64_t stride = by_key ? at->block_k : attention_columns(k, at, at->block_q);
    const KExpr *d =
        attention_loop(k, kb_each(k, KL_SERIAL), k_int(k, 0), k_int(k, width), width, "d");
    const KExpr *i = attention_loop(k, KL_VECTOR, k_int(k, 0),
                                    by_key ? w->pair.count : w->pair.rows, stride, "i");
    const KExpr *here = attention_at(k, stride, d, i);
    const KExpr *more = k_local(k, part, here);
    const KExpr *total = k_binary(k, OP_add, k_local(k, sum, here), more);
    kb_local_store(k, sum, here, total);
    kb_loop_end(k);
    kb_loop_end(k);
}

/* Stores a [width][row] tile to rows of result `result`; `adds`: to what stands there. */
static void store_rows(KBuild *k, const Backward *w, int32_t result, const KLocal *tile,
                       int64_t width, bool adds) {
    const Attention *at = w->pair.at;
    bool by_key = result != 0;
    if (at->results[result] < 0) {
        return;
    }
    int64_t stride = by_key ? at->block_k : attention_columns(k, at, at->block_q);
    const KExpr *index[TYPE_MAX_RANK];
    const KExpr *i = attention_loop(k, kb_each(k, KL_SERIAL), k_int(k, 0),
                                    by_key ? w->pair.count : w->pair.rows, stride, "i");
    const KExpr *d = attention_loop(k, KL_VECTOR, k_int(k, 0), k_int(k, width), width, "d");
    const KExpr *row = k_add(k, by_key ? w->pair.k0 : w->pair.q0, i);
    attention_index(k, at, w->pair.batch, row, d, index);
    const KExpr *value = k_local(k, tile, attention_at(k, stride, d, i));
    if (adds) {
        const KExpr *flat = k_flat(k, at->op->results[result]->type, index);
        const KExpr *old = k_load_here(k, kb_result_buffer(k, at->results[result]), flat);
        value = k_binary(k, OP_add, old, value);
    }
    attention_store(k, at, result, index, value);
    kb_loop_end(k);
    kb_loop_end(k);
}

static void make_locals(KBuild *k, Backward *w) {
    const Attention *at = w->pair.at;
    int64_t queries = attention_columns(k, at, at->block_q);
    int64_t tall_k = attention_rows(k, at, at->width), tall_v = attention_rows(k, at, at->values);
    int64_t wide = queries > at->block_k ? queries : at->block_k;
    w->p = kb_local(k, at->dtype, at->block_q * at->block_k, "p");
    w->ds = kb_local(k, at->dtype, at->block_q * at->block_k, "ds");
    w->lse = kb_local(k, at->dtype, at->block_q, "lse");
    w->delta = kb_local(k, at->dtype, at->block_q, "delta");
    w->part = kb_local(k, at->dtype, tall_k * wide, "part");
    w->part_v = tall_v == tall_k ? w->part : kb_local(k, at->dtype, tall_v * wide, "part_v");
    if (w->by_key) {
        w->dk = kb_local(k, at->dtype, tall_k * at->block_k, "dk");
        w->dv = kb_local(k, at->dtype, tall_v * at->block_k, "dv");
    } else {
        w->dq = kb_local(k, at->dtype, tall_k * queries, "dq");
    }
}

/* The first block of queries for which a key of the block at k0 counts. */
static const KExpr *first_block(KBuild *k, const Backward *w, const Size *blocks) {
    const Attention *at = w->pair.at;
    if (!at->attrs.causal) {
        return k_int(k, 0);
    }
    const KExpr *query = k_sub(k, w->pair.k0, k_size(k, at->attrs.offset)), *first, *unused;
    query = kb_let(k, k_max(k, query, k_int(k, 0)), "query");
    k_divmod(k, query, size_const(kb_context(k), at->block_q), &first, &unused);
    return kb_let(k, k_min(k, first, k_size(k, blocks)), "first");
}

static void key_block(KBuild *k, Backward *w, const KExpr *block) {
    const Attention *at = w->pair.at;
    Context *context = kb_context(k);
    w->pair.k0 = k_scale_int(k, block, at->block_k);
    w->pair.count = attention_rest(k, at->keys, w->pair.k0, at->block_k);
    attention_fill(k, w->dk, attention_rows(k, at, at->width) * at->block_k, 0);
    attention_fill(k, w->dv, attention_rows(k, at, at->values) * at->block_k, 0);
    const Size *blocks = size_cdiv(context, at->queries, size_const(context, at->block_q));
    const KExpr *first = first_block(k, w, blocks);
    const KExpr *step = kb_loop(k, KL_SERIAL, first, k_size(k, blocks), blocks, "step");
    w->pair.q0 = k_scale_int(k, step, at->block_q);
    w->pair.rows = attention_rest(k, at->queries, w->pair.q0, at->block_q);
    load_rows(k, w);
    make_tiles(k, w);
    sum_over_queries(k, w, 4, at->values, w->p, w->part_v);
    add_part(k, w, w->dv, w->part_v, at->values, true);
    sum_over_queries(k, w, 0, at->width, w->ds, w->part);
    add_part(k, w, w->dk, w->part, at->width, true);
    if (w->by_query) {
        sum_over_keys(k, w);
        store_rows(k, w, 0, w->part, at->width, true);
    }
    kb_loop_end(k);
    store_rows(k, w, 1, w->dk, at->width, false);
    store_rows(k, w, 2, w->dv, at->values, false);
}

static void clear_queries(KBuild *k, const Backward *w) {
    const Attention *at = w->pair.at;
    const KExpr *index[TYPE_MAX_RANK];
    const KExpr *i = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, at->queries), at->queries, "i");
    const KExpr *d = attention_loop(k, KL_VECTOR, k_int(k, 0), k_int(k, at->width), at->width, "d");
    attention_index(k, at, w->pair.batch, i, d, index);
    attention_store(k, at, 0, index, k_constant(k, at->dtype, 0));
    kb_loop_end(k);
    kb_loop_end(k);
}

/* One head a tile. */
static void build_head(KBuild *k, void *user) {
    const Attention *at = user;
    Context *context = kb_context(k);
    Backward w = {.pair = {.at = at}, .by_key = true, .by_query = at->results[0] >= 0};
    int32_t depth = 0;
    w.pair.batch = attention_grid(k, at->n_batch, "batch", &depth);
    make_locals(k, &w);
    if (w.by_query) {
        clear_queries(k, &w);
    }
    const Size *blocks = size_cdiv(context, at->keys, size_const(context, at->block_k));
    const KExpr *block = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, blocks), blocks, "block");
    key_block(k, &w, block);
    kb_loop_end(k);
    for (int32_t i = 0; i < depth; i++) {
        kb_loop_end(k);
    }
}

static void build_keys(KBuild *k, void *user) {
    const Attention *at = user;
    Context *context = kb_context(k);
    PanelSet panels = {0};
    Backward w = {.pair = {.at = at, .panels = &panels}, .by_key = true};
    int32_t depth = 0;
    w.pair.batch = attention_grid(k, at->n_batch, "batch", &depth);
    const Size *blocks = size_cdiv(context, at->keys, size_const(context, at->block_k));
    const KExpr *block = attention_grid(k, blocks, "block", &depth);
    make_locals(k, &w);
    key_block(k, &w, block);
    for (int32_t i = 0; i < depth; i++) {
        kb_loop_end(k);
    }
}

static void build_queries(KBuild *k, void *user) {
    const Attention *at = user;
    Context *context = kb_context(k);
    PanelSet panels = {0};
    Backward w = {.pair = {.at = at, .panels = &panels}, .by_query = true};
    int32_t depth = 0;
    w.pair.batch = attention_grid(k, at->n_batch, "batch", &depth);
    const Size *blocks = size_cdiv(context, at->queries, size_const(context, at->block_q));
    const KExpr *block = attention_grid(k, blocks, "block", &depth);
    make_locals(k, &w);
    w.pair.q0 = k_scale_int(k, block, at->block_q);
    w.pair.rows = attention_rest(k, at->queries, w.pair.q0, at->block_q);
    load_rows(k, &w);
    int64_t queries = attention_columns(k, at, at->block_q);
    attention_fill(k, w.dq, attention_rows(k, at, at->width) * queries, 0);
    attention_open_keys(k, &w.pair);
    make_tiles(k, &w);
    sum_over_keys(k, &w);
    add_part(k, &w, w.dq, w.part, at->width, false);
    kb_loop_end(k);
    store_rows(k, &w, 0, w.dq, at->width, false);
    for (int32_t i = 0; i < depth; i++) {
        kb_loop_end(k);
    }
}

void attention_backward(KBuild *k, Attention *at) {
    const WorkerShapes *shapes = &kb_machine(k)->worker;
    if (!kb_is_block(k)) {
        int64_t most = shapes->attention_rows;
        at->block_q = attention_rows(k, at, attention_cut(at->queries, most));
        at->block_k = attention_columns(k, at, attention_cut(at->keys, most));
    }
    DType dtype = at->op->results[0]->type.dtype;
    bool whole_heads = !kb_is_block(k) && dtype == at->dtype &&
                       size_nominal(at->n_batch, UNSET_BATCH) >= shapes->attention_heads;
    if (whole_heads) {
        kb_kernel(k, "attention_grad", build_head, at);
        return;
    }
    if (at->results[1] >= 0 || at->results[2] >= 0) {
        kb_kernel(k, "attention_grad_keys", build_keys, at);
    }
    if (at->results[0] >= 0) {
        kb_kernel(k, "attention_grad_queries", build_queries, at);
    }
}
