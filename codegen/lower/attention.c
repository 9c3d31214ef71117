/* Form "attention": the forward op as one kernel that holds the scores of one block of queries and
 * keys at a time, with a running maximum and sum of every softmax (Dao, "FlashAttention-2", 2023).
 * Tiles lie key-major, so that the softmax of a block of queries runs along vectors. */
#include "codegen/lower/attention.h"
#include "ir/base/checked.h"
#include <math.h>

/* -- forward */
typedef struct Forward {
    Pair pair;
    const KLocal *p, *part, *y;   /* [key][query], [value][query] twice */
    const KLocal *top, *sum;      /* [query]: so far */
    const KLocal *shift, *factor; /* [query]: of this step */
    int64_t stride;               /* of the tiles: queries */
} Forward;

/* scores = k qᵀ, [key][query]. */
static void make_scores(KBuild *k, const Forward *f) {
    const Attention *at = f->pair.at;
    Product product = {.pair = &f->pair,
                       .a = {.operand = 1},
                       .b = {.operand = 0},
                       .m = at->keys,
                       .n = at->queries,
                       .depth = size_const(kb_context(k), at->width),
                       .m0 = f->pair.k0,
                       .rows = f->pair.count,
                       .n0 = f->pair.q0,
                       .columns = f->pair.rows,
                       .depth0 = k_int(k, 0),
                       .length = k_int(k, at->width),
                       .most_m = at->block_k,
                       .most_n = at->block_q,
                       .most_depth = at->width,
                       .c = f->p};
    attention_product(k, &product);
}

/* part = vᵀ p, [value][query]. */
static void mix_values(KBuild *k, const Forward *f) {
    const Attention *at = f->pair.at;
    Product product = {.pair = &f->pair,
                       .a = {.operand = 2, .width_is_row = true},
                       .b = {.operand = -1,
                             .local = f->p,
                             .stride = f->stride,
                             .inner_is_row = true,
                             .first_row = k_int(k, 0),
                             .first_depth = f->pair.k0},
                       .m = size_const(kb_context(k), at->values),
                       .n = at->queries,
                       .depth = at->keys,
                       .m0 = k_int(k, 0),
                       .rows = k_int(k, at->values),
                       .n0 = k_int(k, 0),
                       .columns = f->pair.rows,
                       .depth0 = f->pair.k0,
                       .length = f->pair.count,
                       .most_m = attention_rows(k, at, at->values),
                       .most_n = at->block_q,
                       .most_depth = at->block_k,
                       .c = f->part};
    attention_product(k, &product);
}

/* The queries of the block from which on key k0 + j counts. */
static const KExpr *first_query(KBuild *k, const Forward *f, const KExpr *j) {
    const Attention *at = f->pair.at;
    if (!at->attrs.causal) {
        return k_int(k, 0);
    }
    const KExpr *key = k_add(k, f->pair.k0, j);
    const KExpr *from = k_sub(k, key, k_add(k, f->pair.q0, k_size(k, at->attrs.offset)));
    from = k_min(k, k_max(k, from, k_int(k, 0)), f->pair.rows);
    return kb_let(k, from, "from");
}

static const KExpr *over_queries(KBuild *k, const Forward *f, const KExpr *begin) {
    return attention_loop(k, KL_VECTOR, begin, f->pair.rows, f->pair.at->block_q, "i");
}

/* Scales and masks the scores; shift becomes the maximum of them and of what came before. */
static void find_top(KBuild *k, const Forward *f) {
    const Attention *at = f->pair.at;
    const KExpr *i = over_queries(k, f, k_int(k, 0));
    kb_local_store(k, f->shift, i, k_local(k, f->top, i));
    kb_loop_end(k);
    const KExpr *j = attention_loop(k, KL_SERIAL, k_int(k, 0), f->pair.count, at->block_k, "j");
    const KExpr *from = first_query(k, f, j);
    i = over_queries(k, f, from);
    const KExpr *x = k_local(k, f->p, attention_at(k, f->stride, j, i));
    x = attention_score(k, &f->pair, x, i, j);
    kb_local_store(k, f->p, attention_at(k, f->stride, j, i), x);
    kb_local_store(k, f->shift, i, k_binary(k, OP_max, k_local(k, f->shift, i), x));
    kb_loop_end(k);
    kb_loop_end(k);
}

/* What the sums and values so far are worth under the new maximum. A query without any key yet
 * shifts by 0. */
static void move_top(KBuild *k, const Forward *f) {
    DType dtype = f->pair.at->dtype;
    const KExpr *i = over_queries(k, f, k_int(k, 0));
    const KExpr *top = kb_let(k, k_local(k, f->shift, i), "top");
    const KExpr *shift = attention_shift(k, dtype, top);
    const KExpr *moved = k_binary(k, OP_sub, k_local(k, f->top, i), shift);
    const KExpr *factor = kb_let(k, k_scalar(k, OP_exp, &moved, 1), "factor");
    const KExpr *sum = kb_let(k, k_binary(k, OP_mul, k_local(k, f->sum, i), factor), "sum");
    kb_local_store(k, f->factor, i, factor);
    kb_local_store(k, f->sum, i, sum);
    kb_local_store(k, f->shift, i, shift);
    kb_local_store(k, f->top, i, top);
    kb_loop_end(k);
}

/* p = exp(score - shift), 0 where the key does not count; adds to the sums. */
static void exponentiate(KBuild *k, const Forward *f) {
    const Attention *at = f->pair.at;
    const KExpr *j = attention_loop(k, KL_SERIAL, k_int(k, 0), f->pair.count, at->block_k, "j");
    const KExpr *from = first_query(k, f, j), *i;
    if (at->attrs.causal) {
        i = attention_loop(k, KL_VECTOR, k_int(k, 0), from, at->block_q, "i");
        kb_local_store(k, f->p, attention_at(k, f->stride, j, i), k_constant(k, at->dtype, 0));
        kb_loop_end(k);
    }
    i = over_queries(k, f, from);
    const KExpr *x = k_local(k, f->p, attention_at(k, f->stride, j, i));
    x = k_binary(k, OP_sub, x, k_local(k, f->shift, i));
    x = kb_let(k, k_scalar(k, OP_exp, &x, 1), "p");
    kb_local_store(k, f->p, attention_at(k, f->stride, j, i), x);
    kb_local_store(k, f->sum, i, k_binary(k, OP_add, k_local(k, f->sum, i), x));
    kb_loop_end(k);
    kb_loop_end(k);
}

static void add_part(KBuild *k, const Forward *f) {
    int64_t values = f->pair.at->values;
    const KExpr *e = attention_loop(k, KL_SERIAL, k_int(k, 0), k_int(k, values), values, "e");
    const KExpr *i = over_queries(k, f, k_int(k, 0)), *at = attention_at(k, f->stride, e, i);
    const KExpr *factor = k_local(k, f->factor, i);
    const KExpr *old = k_binary(k, OP_mul, k_local(k, f->y, at), factor);
    kb_local_store(k, f->y, at, k_binary(k, OP_add, old, k_local(k, f->part, at)));
    kb_loop_end(k);
    kb_loop_end(k);
}

static void store_forward(KBuild *k, const Forward *f) {
    const Attention *at = f->pair.at;
    const KExpr *index[TYPE_MAX_RANK];
    if (at->results[1] >= 0) {
        const KExpr *i = over_queries(k, f, k_int(k, 0));
        const KExpr *sum = kb_let(k, k_local(k, f->sum, i), "sum");
        const KExpr *lse = attention_logarithm(k, at, sum, k_local(k, f->top, i));
        attention_index(k, at, f->pair.batch, k_add(k, f->pair.q0, i), NULL, index);
        attention_store(k, at, 1, index, lse);
        kb_loop_end(k);
    }
    if (at->results[0] >= 0) {
        const KExpr *i = attention_loop(k, KL_SERIAL, k_int(k, 0), f->pair.rows, at->block_q, "i");
        const KExpr *sum = kb_let(k, k_local(k, f->sum, i), "sum");
        const KExpr *e =
            attention_loop(k, KL_VECTOR, k_int(k, 0), k_int(k, at->values), at->values, "e");
        const KExpr *y = k_local(k, f->y, attention_at(k, f->stride, e, i));
        attention_index(k, at, f->pair.batch, k_add(k, f->pair.q0, i), e, index);
        attention_store(k, at, 0, index, attention_mixed(k, at, y, sum));
        kb_loop_end(k);
        kb_loop_end(k);
    }
}

static void build_forward(KBuild *k, void *user) {
    const Attention *at = user;
    Forward f = {.pair = {.at = at}, .stride = at->block_q};
    int32_t depth = 0;
    attention_open_queries(k, &f.pair, &depth);
    int64_t tall = attention_rows(k, at, at->values) * at->block_q;
    f.p = kb_local(k, at->dtype, at->block_k * at->block_q, "p");
    f.part = kb_local(k, at->dtype, tall, "part");
    f.y = kb_local(k, at->dtype, tall, "y");
    f.top = kb_local(k, at->dtype, at->block_q, "top");
    f.sum = kb_local(k, at->dtype, at->block_q, "sum");
    f.shift = kb_local(k, at->dtype, at->block_q, "shift");
    f.factor = kb_local(k, at->dtype, at->block_q, "factor");
    attention_fill(k, f.top, at->block_q, -INFINITY);
    attention_fill(k, f.sum, at->block_q, 0);
    attention_fill(k, f.y, tall, 0);
    attention_open_keys(k, &f.pair);
    make_scores(k, &f);
    find_top(k, &f);
    move_top(k, &f);
    exponentiate(k, &f);
    mix_values(k, &f);
    add_part(k, &f);
    kb_loop_end(k);
    store_forward(k, &f);
    for (int32_t i = 0; i < depth; i++) {
        kb_loop_end(k);
    }
}

void lower_attention(KBuild *k) {
    Attention at = {0};
    BLOCK_EACH_OP (kb_fusion(k)->blocks[0], op) {
        at.op = op->code == OP_attention || op->code == OP_attention_grad ? op : at.op;
    }
    bool forward = at.op->code == OP_attention;
    Type q = at.op->operands[0]->type, v = at.op->operands[2]->type;
    at.n_plain = forward ? ATTENTION_OPERANDS : ATTENTION_GRAD_OPERANDS;
    at.attrs = attention_attrs(at.op);
    at.dtype = dtype_in_register(q.dtype);
    at.batch = (Type){q.dtype, q.rank - 2, q.dims};
    at.n_batch = type_elements(kb_context(k), at.batch);
    at.queries = q.dims[q.rank - 2];
    at.keys = v.dims[q.rank - 2];
    if (!size_is_const(q.dims[q.rank - 1], &at.width) ||
        !size_is_const(v.dims[q.rank - 1], &at.values)) {
        INTERNAL_ERROR(kb_context(k), at.op->place, "attention", "a width that is no constant");
    }
    for (int32_t i = 0; i < at.op->n_results; i++) {
        at.results[i] = lower_root_result(k, at.op->results[i]);
    }
    if (kb_is_block(k)) {
        attention_choose_block(k, &at);
    }
    if (forward && kb_is_block(k)) {
        kb_kernel(k, "attention", attention_build_block, &at);
    } else if (forward) {
        at.block_q = round_up(attention_cut(at.queries, kb_machine(k)->worker.attention_queries),
                              machine_tile_columns(kb_machine(k), at.dtype));
        at.block_k = round_up(attention_cut(at.keys, kb_machine(k)->worker.attention_keys),
                              machine_tile_rows(kb_machine(k), at.dtype));
        kb_kernel(k, "attention", build_forward, &at);
    } else {
        attention_backward(k, &at);
    }
}
