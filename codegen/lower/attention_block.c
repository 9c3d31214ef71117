/* Attention for machines whose tiles are run by a block of threads: products as contraction tiles
 * whose panels the block packs together, and the forward kernel with tiles query-major, a group of
 * threads to a query. */
#include "codegen/lower/attention.h"
#include <math.h>

static DType panel_dtype(KBuild *k, const Attention *at) {
    DType dtype = at->op->operands[0]->type.dtype;
    const Machine *machine = kb_machine(k);
    bool native = (dtype == DT_BF16 && machine->has_bf16) || (dtype == DT_F16 && machine->has_f16);
    return native ? dtype : at->dtype;
}

/* How deep a panel is, of products that are `most` deep at most. */
static int64_t deep_of(KBuild *k, const Attention *at, int64_t most) {
    const BlockShapes *shapes = &kb_machine(k)->block;
    int64_t bytes = dtype_bytes(panel_dtype(k, at)), all = attention_power(most);
    int64_t deep = (bytes < 4 ? shapes->half_step_bytes : shapes->step_bytes) / bytes;
    return all < deep ? all : deep;
}

/* Elements of panels of one side: those of equal size are one. */
static int64_t panel_elements(const int64_t *counts, int32_t n) {
    int64_t sum = 0;
    for (int32_t i = 0; i < n; i++) {
        bool known = false;
        for (int32_t j = 0; j < i; j++) {
            known = known || counts[j] == counts[i];
        }
        sum += known ? 0 : counts[i];
    }
    return sum;
}

/* Of a kernel's locals. The backward ones hold two tiles of scores and those of sums. */
static int64_t bytes_of(KBuild *k, const Attention *at, int64_t block) {
    int64_t width = attention_power(at->width), values = attention_power(at->values);
    bool forward = at->op->code == OP_attention;
    int64_t deep_q = deep_of(k, at, at->width), deep_v = deep_of(k, at, at->values);
    int64_t deep = deep_of(k, at, block);
    int64_t a[4] = {block * deep_q, block * deep, width * deep, values * deep};
    int64_t b[3] = {block * deep_q, values * deep, block * deep};
    if (!forward) {
        a[1] = b[1] = block * deep_v;
    }
    int64_t panels = panel_elements(a, forward ? 2 : 4) + panel_elements(b, forward ? 2 : 3);
    int64_t parts = width == values ? width : width + values;
    int64_t sums = forward ? 2 * values : width + values + parts;
    int64_t tiles = (forward ? 1 : 2) * block * block + sums * block + 4 * block;
    return tiles * dtype_bytes(at->dtype) + panels * dtype_bytes(panel_dtype(k, at)) + 1024;
}

void attention_choose_block(KBuild *k, Attention *at) {
    const Machine *machine = kb_machine(k);
    int64_t rows = machine_tile_rows(machine, at->dtype);
    int64_t columns = machine_tile_columns(machine, at->dtype);
    int64_t tile = rows < columns ? rows : columns;
    at->block_q = tile < machine->block.attention_rows ? tile : machine->block.attention_rows;
    while (at->block_q > LEAST_TILE && machine->shared_bytes > 0 &&
           bytes_of(k, at, at->block_q) > machine->shared_bytes) {
        at->block_q /= 2;
    }
    at->block_k = at->block_q;
}

static const KLocal *panel_of(KBuild *k, const Pair *pair, bool is_a, int64_t count) {
    PanelSet *set = pair->panels;
    for (int32_t i = 0; i < set->count; i++) {
        if (set->is_a[i] == is_a && set->locals[i]->count == count) {
            return set->locals[i];
        }
    }
    const KLocal *local = kb_local(k, panel_dtype(k, pair->at), count, is_a ? "a" : "b");
    if (set->count < MOST_PANELS) {
        set->is_a[set->count] = is_a;
        set->locals[set->count++] = local;
    }
    return local;
}

/* One panel, `deep` of the depth from `done` on. */
typedef struct Panel {
    const KLocal *local;
    int64_t width, deep;
    bool is_a, row_inner; /* neighbours in memory run along the rows */
    bool by_depth;        /* so do the panel's along the depth: KContract.a_deep */
    int64_t group;        /* neighbours that are moved at once; 1: none are known */
} Panel;

static Panel panel_for(KBuild *k, const Product *p, bool is_a) {
    const Attention *at = p->pair->at;
    const Factor *factor = is_a ? &p->a : &p->b;
    bool local = factor->operand < 0;
    DType dtype = panel_dtype(k, at);
    int64_t unit = kb_machine(k)->block.move_bytes / dtype_bytes(dtype);
    Panel panel = {.is_a = is_a,
                   .width = is_a ? p->most_m : p->most_n,
                   .deep = deep_of(k, at, p->most_depth),
                   .row_inner = local ? factor->inner_is_row : factor->width_is_row};
    panel.local = panel_of(k, p->pair, is_a, panel.width * panel.deep);
    panel.by_depth = !panel.row_inner && (dtype == DT_F16 || dtype == DT_BF16);
    int64_t run = 0;
    const KExpr *side = panel.row_inner ? (is_a ? p->rows : p->columns) : p->length;
    bool whole = local || (k_is_int(side, &run) && run % unit == 0);
    panel.group = whole && (panel.row_inner || panel.by_depth) ? unit : 1;
    return panel;
}

/* Neighbouring threads take neighbours in memory, a group each; rows past the end repeat others,
 * what lies past the depth is zero. All of a local was written, so that it needs no bounds. */
static void pack_panel(KBuild *k, const Product *p, const Panel *panel, const KExpr *done) {
    const Attention *at = p->pair->at;
    Context *context = kb_context(k);
    const Factor *factor = panel->is_a ? &p->a : &p->b;
    bool local = factor->operand < 0, row_inner = panel->row_inner;
    int64_t group = panel->group, width = panel->width, deep = panel->deep;
    const KExpr *first = panel->is_a ? p->m0 : p->n0, *rows = panel->is_a ? p->rows : p->columns;
    const Size *count = size_const(context, width * deep / group);
    const KExpr *q = kb_loop(k, KL_INDEPENDENT, k_int(k, 0), k_size(k, count), count, "q");
    const KExpr *outer, *inner;
    k_divmod(k, q, size_const(context, (row_inner ? width : deep) / group), &outer, &inner);
    inner = k_scale_int(k, inner, group);
    const KExpr *row = row_inner ? inner : outer, *step = row_inner ? outer : inner;
    const KExpr *place = panel->by_depth ? k_add(k, k_scale_int(k, row, deep), step)
                                         : k_add(k, k_scale_int(k, step, width), row);
    const KExpr *depth = k_add(k, done, step), *inside = k_lt(k, depth, p->length);
    row = k_add(k, first, row);
    depth = k_add(k, p->depth0, depth);
    if (!local) {
        /* Against the operand's own length, so that indices are known to lie in it. */
        Type type = at->op->operands[factor->operand]->type;
        const Size *past = size_const(context, 1), *length = type.dims[type.rank - 2];
        const KExpr *last = k_size(k, size_sub(context, length, past));
        const KExpr *end = k_add(k, row_inner ? first : p->depth0, row_inner ? rows : p->length);
        const KExpr *wide = k_sub(k, end, k_int(k, group));
        row = kb_let(k, k_min(k, row, row_inner ? wide : last), "row");
        depth = kb_let(k, k_min(k, depth, row_inner ? last : wide), "depth");
    }
    if (group > 1) {
        const Size *each = size_const(context, group);
        const KExpr *e = kb_loop(k, KL_UNROLL, k_int(k, 0), k_int(k, group), each, "e");
        row = row_inner ? k_add(k, row, e) : row;
        depth = row_inner ? depth : k_add(k, depth, e);
        place = k_add(k, place, e);
        inside = local && !row_inner ? k_lt(k, k_sub(k, depth, p->depth0), p->length) : inside;
    }
    const KExpr *value = attention_element(k, p, factor, p->pair->batch, row, depth);
    value = k_cast(k, value, at->dtype);
    value = k_select(k, inside, value, k_constant(k, at->dtype, 0));
    kb_local_store(k, panel->local, place, value);
    for (int loop = group > 1 ? 2 : 1; loop > 0; loop--) {
        kb_loop_end(k);
    }
}

void attention_product_block(KBuild *k, const Product *p) {
    Context *context = kb_context(k);
    Panel a = panel_for(k, p, true), b = panel_for(k, p, false);
    int64_t deep = a.deep;
    bool once = p->most_depth <= deep;
    const KExpr *done = k_int(k, 0);
    if (!once) {
        attention_fill(k, p->c, p->most_m * p->most_n, 0);
        const KExpr *steps, *unused;
        const Size *unit = size_const(context, deep);
        k_divmod(k, k_add(k, p->length, k_int(k, deep - 1)), unit, &steps, &unused);
        const Size *most = size_cdiv(context, size_const(context, p->most_depth), unit);
        const KExpr *step = kb_loop(k, KL_SERIAL, k_int(k, 0), steps, most, "step");
        done = k_scale_int(k, step, deep);
    }
    pack_panel(k, p, &a, done);
    pack_panel(k, p, &b, done);
    KContract contract = {.a_local = a.local,
                          .b_local = b.local,
                          .c_local = p->c,
                          .a_offset = k_int(k, 0),
                          .b_offset = k_int(k, 0),
                          .c_offset = k_int(k, 0),
                          .depth = k_int(k, deep),
                          .c_stride = k_int(k, p->most_n),
                          .accumulate = !once,
                          .a_deep = a.by_depth,
                          .b_deep = b.by_depth};
    kb_contract(k, &contract);
    if (!once) {
        kb_loop_end(k);
    }
}

/* -- forward */
typedef struct Forward {
    Pair pair;
    const KLocal *p, *part, *y;       /* [query][key], [query][value] twice */
    const KLocal *top, *sum, *factor; /* [query] */
    int64_t columns;                  /* of part and y */
} Forward;

static void make_scores(KBuild *k, const Forward *f) {
    const Attention *at = f->pair.at;
    Product product = {.pair = &f->pair,
                       .a = {.operand = 0},
                       .b = {.operand = 1},
                       .m0 = f->pair.q0,
                       .rows = f->pair.rows,
                       .n0 = f->pair.k0,
                       .columns = f->pair.count,
                       .depth0 = k_int(k, 0),
                       .length = k_int(k, at->width),
                       .most_m = at->block_q,
                       .most_n = at->block_k,
                       .most_depth = at->width,
                       .c = f->p};
    attention_product_block(k, &product);
}

static void mix_values(KBuild *k, const Forward *f) {
    const Attention *at = f->pair.at;
    Product product = {.pair = &f->pair,
                       .a = {.operand = -1,
                             .local = f->p,
                             .stride = at->block_k,
                             .first_row = k_int(k, 0),
                             .first_depth = f->pair.k0},
                       .b = {.operand = 2, .width_is_row = true},
                       .m0 = k_int(k, 0),
                       .rows = f->pair.rows,
                       .n0 = k_int(k, 0),
                       .columns = k_int(k, at->values),
                       .depth0 = f->pair.k0,
                       .length = f->pair.count,
                       .most_m = at->block_q,
                       .most_n = f->columns,
                       .most_depth = at->block_k,
                       .c = f->part};
    attention_product_block(k, &product);
}

/* Scales and masks the query's scores; their maximum with the one before. */
static const KExpr *find_top(KBuild *k, const Forward *f, const KExpr *i, const KExpr *end) {
    const Attention *at = f->pair.at;
    const KVar *top = kb_var(k, at->dtype, "top");
    kb_set(k, top, k_local(k, f->top, i));
    const KExpr *j = attention_loop(k, KL_VECTOR, k_int(k, 0), end, at->block_k, "j");
    const KExpr *x = k_local(k, f->p, attention_at(k, at->block_k, i, j));
    x = attention_score(k, &f->pair, x, i, j);
    kb_local_store(k, f->p, attention_at(k, at->block_k, i, j), x);
    kb_set(k, top, k_binary(k, OP_max, k_get(k, top), x));
    kb_loop_end(k);
    return kb_let(k, k_get(k, top), "top");
}

/* p = exp(score - shift), 0 past the end; their sum. */
static const KExpr *exponentiate(KBuild *k, const Forward *f, const KExpr *i, const KExpr *end,
                                 const KExpr *shift) {
    const Attention *at = f->pair.at;
    const KVar *sum = kb_var(k, at->dtype, "sum");
    kb_set(k, sum, k_constant(k, at->dtype, 0));
    const KExpr *j = attention_loop(k, KL_VECTOR, k_int(k, 0), end, at->block_k, "j");
    const KExpr *x = k_local(k, f->p, attention_at(k, at->block_k, i, j));
    x = k_binary(k, OP_sub, x, shift);
    x = kb_let(k, k_scalar(k, OP_exp, &x, 1), "p");
    kb_local_store(k, f->p, attention_at(k, at->block_k, i, j), x);
    kb_set(k, sum, k_binary(k, OP_add, k_get(k, sum), x));
    kb_loop_end(k);
    if (at->attrs.causal) {
        j = attention_loop(k, KL_VECTOR, end, f->pair.count, at->block_k, "j");
        kb_local_store(k, f->p, attention_at(k, at->block_k, i, j), k_constant(k, at->dtype, 0));
        kb_loop_end(k);
    }
    return kb_let(k, k_get(k, sum), "sum");
}

static const KExpr *each_query(KBuild *k, const Forward *f) {
    return attention_loop(k, KL_INDEPENDENT, k_int(k, 0), f->pair.rows, f->pair.at->block_q, "i");
}

static void soften(KBuild *k, const Forward *f) {
    DType dtype = f->pair.at->dtype;
    const KExpr *i = each_query(k, f), *end = attention_key_end(k, &f->pair, i);
    const KExpr *old = kb_let(k, k_local(k, f->top, i), "old");
    const KExpr *top = find_top(k, f, i, end);
    const KExpr *shift = attention_shift(k, dtype, top);
    const KExpr *moved = k_binary(k, OP_sub, old, shift);
    const KExpr *factor = kb_let(k, k_scalar(k, OP_exp, &moved, 1), "factor");
    const KExpr *before = kb_let(k, k_local(k, f->sum, i), "before");
    const KExpr *sum = exponentiate(k, f, i, end, shift);
    kb_local_store(k, f->top, i, top);
    kb_local_store(k, f->factor, i, factor);
    kb_local_store(k, f->sum, i, k_binary(k, OP_add, k_binary(k, OP_mul, before, factor), sum));
    kb_loop_end(k);
}

static void add_part(KBuild *k, const Forward *f) {
    int64_t values = f->pair.at->values;
    const KExpr *i = each_query(k, f);
    const KExpr *factor = kb_let(k, k_local(k, f->factor, i), "factor");
    const KExpr *e = attention_loop(k, KL_VECTOR, k_int(k, 0), k_int(k, values), values, "e");
    const KExpr *at = attention_at(k, f->columns, i, e);
    const KExpr *old = k_binary(k, OP_mul, k_local(k, f->y, at), factor);
    kb_local_store(k, f->y, at, k_binary(k, OP_add, old, k_local(k, f->part, at)));
    kb_loop_end(k);
    kb_loop_end(k);
}

static void store_forward(KBuild *k, const Forward *f) {
    const Attention *at = f->pair.at;
    const KExpr *index[TYPE_MAX_RANK];
    if (at->results[1] >= 0) {
        const KExpr *i = attention_loop(k, KL_VECTOR, k_int(k, 0), f->pair.rows, at->block_q, "i");
        const KExpr *sum = kb_let(k, k_local(k, f->sum, i), "sum");
        const KExpr *lse = attention_logarithm(k, at, sum, k_local(k, f->top, i));
        attention_index(k, at, f->pair.batch, k_add(k, f->pair.q0, i), NULL, index);
        attention_store(k, at, 1, index, lse);
        kb_loop_end(k);
    }
    if (at->results[0] >= 0) {
        const KExpr *i = each_query(k, f), *sum = kb_let(k, k_local(k, f->sum, i), "sum");
        const KExpr *e =
            attention_loop(k, KL_VECTOR, k_int(k, 0), k_int(k, at->values), at->values, "e");
        const KExpr *y = k_local(k, f->y, attention_at(k, f->columns, i, e));
        attention_index(k, at, f->pair.batch, k_add(k, f->pair.q0, i), e, index);
        attention_store(k, at, 0, index, attention_mixed(k, at, y, sum));
        kb_loop_end(k);
        kb_loop_end(k);
    }
}

void attention_build_block(KBuild *k, void *user) {
    const Attention *at = user;
    PanelSet panels = {0};
    Forward f = {.pair = {.at = at, .panels = &panels}, .columns = attention_power(at->values)};
    int32_t depth = 0;
    attention_open_queries(k, &f.pair, &depth);
    f.p = kb_local(k, at->dtype, at->block_q * at->block_k, "p");
    f.part = kb_local(k, at->dtype, at->block_q * f.columns, "part");
    f.y = kb_local(k, at->dtype, at->block_q * f.columns, "y");
    f.top = kb_local(k, at->dtype, at->block_q, "top");
    f.sum = kb_local(k, at->dtype, at->block_q, "sum");
    f.factor = kb_local(k, at->dtype, at->block_q, "factor");
    attention_fill(k, f.top, at->block_q, -INFINITY);
    attention_fill(k, f.sum, at->block_q, 0);
    attention_fill(k, f.y, at->block_q * f.columns, 0);
    attention_open_keys(k, &f.pair);
    make_scores(k, &f);
    soften(k, &f);
    mix_values(k, &f);
    add_part(k, &f);
    kb_loop_end(k);
    store_forward(k, &f);
    for (int32_t i = 0; i < depth; i++) {
        kb_loop_end(k);
    }
}
