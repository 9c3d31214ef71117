/* Matrix products for machines whose tiles are run by a block of threads: one contraction tile a
 * block. Along the depth, step by step, both operands are packed into panels that the block shares
 * (neighbouring threads read neighbours in memory) and multiplied; sums stay with the threads until
 * the epilogue. Rows past the end repeat the last one and are never stored; what lies past the
 * depth is zero on both sides. Few tiles over a long depth are cut along it into partial sums,
 * added in a fixed order by a second kernel. */
#include "codegen/lower/gemm.h"
#include "codegen/lower/lower.h"
#include "ir/base/checked.h"

enum {
    RESULT_GROUP = 8, /* elements of the result: of 16-bit ones as many bytes */
    GOOD_TILE = 64,   /* smaller ones only where cutting the depth does not make enough */
    TINY_DEPTH = 8,
    FEW_ROWS = 3,
    LEAST_STEP = 8,
    LEAST_CHUNK = 256, /* depth of a partial sum, half of it where tiles are still few */
    LONG_DOT = 4096
};

typedef struct BlockGemm {
    GemmPlan plan; /* block_m x block_n is the tile; its steps are block_k deep */
    DType panel;
    bool tf32;   /* the panels go through tf32 fragments */
    bool long_n; /* the plain kinds: n is the longer side */
    /* Panels, by side: rows of neighbours along the depth (KContract.a_deep), and elements that lie
     * side by side in memory whichever way the panel does (1: none), so that they are moved at
     * once. */
    bool deep[2];
    int64_t group[2];
} BlockGemm;

static int64_t power_at_least(int64_t value) {
    int64_t power = 1;
    while (power < value) {
        power *= 2;
    }
    return power;
}

static double count_tiles(const GemmPlan *plan) {
    const Gemm *gemm = plan->gemm;
    int64_t m = gemm_nominal(gemm->m), n = gemm_nominal(gemm->n);
    return (double)gemm_nominal(gemm->batch) * (double)((m + plan->block_m - 1) / plan->block_m) *
           (double)((n + plan->block_n - 1) / plan->block_n);
}

/* -- which plan */
/* Panels, two of each, make room for the sums when they are done. */
static int64_t tile_bytes(const BlockGemm *b) {
    const GemmPlan *plan = &b->plan;
    int64_t sums = plan->block_m * plan->block_n * dtype_bytes(plan->gemm->dtype);
    int64_t panels = 2 * (plan->block_m + plan->block_n) * plan->block_k * dtype_bytes(b->panel);
    return sums > panels ? sums : panels;
}

static bool tile_fits(KBuild *k, const BlockGemm *b) {
    const Machine *machine = kb_machine(k);
    int64_t bytes = tile_bytes(b);
    return bytes <= machine->shared_plain || 2 * bytes <= machine->shared_bytes;
}

static void halve_tile(GemmPlan *plan) {
    if (plan->block_m >= plan->block_n) {
        plan->block_m /= 2;
    } else {
        plan->block_n /= 2;
    }
}

static bool is_multiple(KBuild *k, const Size *size, int64_t unit) {
    return size && size_exact_div(kb_context(k), size, size_const(kb_context(k), unit)) != NULL;
}

static void choose_panels(KBuild *k, BlockGemm *b) {
    const Gemm *gemm = b->plan.gemm;
    bool half = b->panel == DT_BF16 || b->panel == DT_F16;
    int64_t unit = kb_machine(k)->block.move_bytes / dtype_bytes(b->panel);
    for (int i = 0; i < 2; i++) {
        const GemmSide *side = i == 0 ? &gemm->a : &gemm->b;
        bool by_depth = side->order == GEMM_BY_DEPTH;
        const Size *rows = i == 0 ? gemm->m : gemm->n;
        b->deep[i] = b->tf32 || (by_depth && half);
        bool groups =
            is_multiple(k, side->run, unit) &&
            (by_depth ? b->deep[i] && is_multiple(k, gemm->depth, unit)
                      : side->order == GEMM_BY_ROW && !b->deep[i] && is_multiple(k, rows, unit));
        b->group[i] = groups ? unit : 1;
    }
}

static bool is_larger(const GemmPlan *plan, int64_t tile) {
    return plan->block_m > tile || plan->block_n > tile;
}

/* Into how many partial sums a product may be cut: 1 where it is not worth a second kernel. */
static double most_chunks(int64_t depth) {
    return depth < 2 * LEAST_CHUNK ? 1 : (double)(depth / (LEAST_CHUNK / 2));
}

static void choose_packed(KBuild *k, BlockGemm *b) {
    const Machine *machine = kb_machine(k);
    GemmPlan *plan = &b->plan;
    const Gemm *gemm = plan->gemm;
    bool wide = gemm->dtype == DT_F64;
    plan->kind = GEMM_PACKED;
    plan->block_m = machine_tile_rows(machine, gemm->dtype);
    plan->block_n = machine_tile_columns(machine, gemm->dtype);
    b->panel = gemm->dtype;
    bool native = (gemm->panel == DT_BF16 && machine->has_bf16) ||
                  (gemm->panel == DT_F16 && machine->has_f16);
    if (native && !wide) {
        b->panel = gemm->panel;
    }
    int64_t m = gemm_nominal(gemm->m), n = gemm_nominal(gemm->n);
    int64_t depth = size_nominal(gemm->depth, UNSET_DEPTH);
    int64_t bytes = dtype_bytes(b->panel);
    b->tf32 = gemm->tf32 && gemm->dtype == DT_F32 && b->panel == DT_F32 && machine->has_tf32;
    plan->block_k =
        (bytes < 4 || b->tf32 ? machine->block.half_step_bytes : machine->block.step_bytes) / bytes;
    while (plan->block_k > 2 * LEAST_STEP && plan->block_k / 2 >= depth) {
        plan->block_k /= 2;
    }
    while (plan->block_m > LEAST_TILE && plan->block_m / 2 >= m) {
        plan->block_m /= 2;
    }
    while (plan->block_n > LEAST_TILE && plan->block_n / 2 >= n) {
        plan->block_n /= 2;
    }
    while (!tile_fits(k, b) && plan->block_m * plan->block_n > LEAST_TILE * LEAST_TILE) {
        halve_tile(plan);
    }
    while (count_tiles(plan) * most_chunks(depth) < machine->processors ||
           (count_tiles(plan) < machine->processors && is_larger(plan, GOOD_TILE))) {
        if (!is_larger(plan, LEAST_TILE)) {
            break;
        }
        halve_tile(plan);
    }
}

/* One element an iteration: for tiny depths, few rows, integers. */
static void choose_plain(KBuild *k, BlockGemm *b, bool tiny) {
    const Machine *machine = kb_machine(k);
    GemmPlan *plan = &b->plan;
    const Gemm *gemm = plan->gemm;
    int64_t m = gemm_nominal(gemm->m), n = gemm_nominal(gemm->n);
    int64_t depth = size_nominal(gemm->depth, UNSET_DEPTH);
    const GemmSide *far = b->long_n ? &gemm->b : &gemm->a;
    bool dots = !tiny && far->order == GEMM_BY_DEPTH && depth > machine->lanes;
    plan->kind = tiny ? GEMM_TINY : dots ? GEMM_DOTS : GEMM_ROWS;
    plan->block_k = machine->threads;
    int64_t elements = dots ? (depth >= LONG_DOT ? 1 : machine->threads / machine->lanes)
                            : tile_elements(k, size_const(kb_context(k), m * n), 4);
    while (!tiny && !dots && elements > machine->lanes &&
           tiles_are_few(k, (double)m * (double)n / (double)elements)) {
        elements /= 2;
    }
    int64_t near = power_at_least(b->long_n ? m : n), length = power_at_least(b->long_n ? n : m);
    int64_t most = dots ? 8 : machine->threads;
    length = length < most ? length : most;
    length = length < elements ? length : elements;
    near = near < elements / length ? near : elements / length;
    plan->block_m = b->long_n ? near : length;
    plan->block_n = b->long_n ? length : near;
}

/* A long depth and few tiles: partial sums over chunks of it. */
static void choose_split(KBuild *k, BlockGemm *b) {
    GemmPlan *plan = &b->plan;
    const Gemm *gemm = plan->gemm;
    Context *context = kb_context(k);
    double tiles = count_tiles(plan), processors = kb_machine(k)->processors;
    int64_t depth = size_nominal(gemm->depth, UNSET_DEPTH);
    if (plan->kind == GEMM_TINY || tiles >= processors || depth < 2 * LEAST_CHUNK) {
        return;
    }
    double want = 2 * processors / tiles;
    int64_t chunk = (int64_t)((double)gemm_nominal(gemm->depth) / want);
    int64_t least =
        tiles * (double)(depth / LEAST_CHUNK) < processors ? LEAST_CHUNK / 2 : LEAST_CHUNK;
    chunk = chunk > least ? chunk : least;
    plan->chunk = round_up(chunk, plan->block_k);
    plan->chunks = size_cdiv(context, gemm->depth, size_const(context, plan->chunk));
    const Size *elements = size_mul(context, gemm->m, gemm->n);
    elements = size_mul(context, elements, size_mul(context, gemm->batch, plan->chunks));
    plan->temp = kb_temp(k, gemm->dtype, elements);
}

static BlockGemm choose(KBuild *k, const Gemm *gemm) {
    BlockGemm b = {.plan = {.gemm = gemm}, .panel = gemm->dtype};
    Context *context = kb_context(k);
    const Machine *machine = kb_machine(k);
    int64_t depth, m, n;
    b.long_n = gemm_nominal(gemm->n) >= gemm_nominal(gemm->m);
    bool tiny = size_is_const(gemm->depth, &depth) && depth <= TINY_DEPTH;
    bool few = (size_is_const(gemm->m, &m) && m <= FEW_ROWS) ||
               (size_is_const(gemm->n, &n) && n <= FEW_ROWS);
    bool has_tile = machine_tile_rows(machine, gemm->dtype) >= LEAST_TILE;
    if (tiny || few || !has_tile || !dtype_is_float(gemm->dtype)) {
        choose_plain(k, &b, tiny);
    } else {
        choose_packed(k, &b);
        choose_panels(k, &b);
    }
    choose_split(k, &b);
    b.plan.blocks_m = size_cdiv(context, gemm->m, size_const(context, b.plan.block_m));
    b.plan.blocks_n = size_cdiv(context, gemm->n, size_const(context, b.plan.block_n));
    return b;
}

/* -- pieces of both kinds */
static const KExpr *grid(KBuild *k, const Size *extent, const char *hint, int32_t *depth) {
    if (size_is_one(extent)) {
        return k_int(k, 0);
    }
    (*depth)++;
    return kb_grid(k, extent, hint);
}

/* The tile of this block, and its part of the depth. */
static GemmTile open_tile(KBuild *k, const GemmPlan *plan, const KExpr **chunk, int32_t *depth) {
    const Gemm *gemm = plan->gemm;
    GemmTile tile = {.depth0 = k_int(k, 0), .depth = k_size(k, gemm->depth), .most = gemm->depth};
    *chunk = plan->chunk > 0 ? grid(k, plan->chunks, "chunk", depth) : NULL;
    tile.batch = grid(k, gemm->batch, "batch", depth);
    tile.m0 = k_scale_int(k, grid(k, plan->blocks_m, "bm", depth), plan->block_m);
    tile.n0 = k_scale_int(k, grid(k, plan->blocks_n, "bn", depth), plan->block_n);
    tile.rows = k_min(k, k_int(k, plan->block_m), k_sub(k, k_size(k, gemm->m), tile.m0));
    tile.rows = kb_let(k, tile.rows, "rows");
    tile.columns = k_min(k, k_int(k, plan->block_n), k_sub(k, k_size(k, gemm->n), tile.n0));
    tile.columns = kb_let(k, tile.columns, "columns");
    if (*chunk) {
        tile.depth0 = k_scale_int(k, *chunk, plan->chunk);
        tile.depth = k_min(k, k_int(k, plan->chunk), k_sub(k, tile.depth, tile.depth0));
        tile.depth = kb_let(k, tile.depth, "depth");
        tile.most = size_const(kb_context(k), plan->chunk);
    }
    return tile;
}

static void close_tile(KBuild *k, int32_t depth) {
    for (int32_t i = 0; i < depth; i++) {
        kb_loop_end(k);
    }
}

static const KExpr *partial_at(KBuild *k, const Gemm *gemm, const KExpr *chunk, const KExpr *batch,
                               const KExpr *m, const KExpr *n) {
    const Size *const dims[4] = {gemm->depth, gemm->batch, gemm->m, gemm->n};
    const KExpr *index[4] = {chunk, batch, m, n};
    return k_flat(k, (Type){gemm->dtype, 4, dims}, index);
}

/* Hands one element on: to the epilogue, or to the partial sums. */
static void finish_element(KBuild *k, const GemmPlan *plan, const GemmTile *tile,
                           const KExpr *chunk, const KExpr *m, const KExpr *n, const KExpr *value) {
    if (chunk) {
        const KExpr *part = partial_at(k, plan->gemm, chunk, tile->batch, m, n);
        kb_store(k, kb_temp_buffer(k, plan->temp, true), part, value);
    } else {
        plan->gemm->finish(k, plan->gemm, tile->batch, m, n, value);
    }
}

static const KExpr *side_value(KBuild *k, const Gemm *gemm, bool is_a, const KExpr *batch,
                               const KExpr *row, const KExpr *depth) {
    const GemmSide *side = is_a ? &gemm->a : &gemm->b;
    return k_cast(k, side->element(k, gemm, batch, row, depth), gemm->dtype);
}

/* -- panels and contraction tiles */
/* Consecutive threads take neighbours in memory, a group of them each. */
static void pack_panel(KBuild *k, const BlockGemm *b, const GemmTile *tile, bool is_a,
                       const KLocal *local, const KExpr *depth0) {
    const GemmPlan *plan = &b->plan;
    const Gemm *gemm = plan->gemm;
    Context *context = kb_context(k);
    int64_t width = is_a ? plan->block_m : plan->block_n, group = b->group[is_a ? 0 : 1];
    const Size *count = size_const(context, width * plan->block_k / group);
    bool by_depth = (is_a ? &gemm->a : &gemm->b)->order == GEMM_BY_DEPTH;
    bool deep = b->deep[is_a ? 0 : 1];
    const KExpr *q = kb_loop(k, KL_INDEPENDENT, k_int(k, 0), k_size(k, count), count, "q");
    const KExpr *outer, *inner;
    k_divmod(k, q, size_const(context, (by_depth ? plan->block_k : width) / group), &outer, &inner);
    inner = k_scale_int(k, inner, group);
    const KExpr *i = by_depth ? outer : inner, *step = by_depth ? inner : outer;
    const Size *past = size_const(context, by_depth ? 1 : group);
    const KExpr *last = k_size(k, size_sub(context, is_a ? gemm->m : gemm->n, past));
    const KExpr *row = kb_let(k, k_min(k, k_add(k, is_a ? tile->m0 : tile->n0, i), last), "row");
    const KExpr *depth = k_add(k, depth0, step), *limit = k_size(k, gemm->depth);
    const KExpr *inside = k_lt(k, depth, limit);
    if (!k_is_true(inside)) {
        past = size_const(context, by_depth ? group : 1);
        last = k_size(k, size_sub(context, gemm->depth, past));
        depth = kb_let(k, k_min(k, depth, last), "depth");
    }
    const KExpr *at = deep ? k_add(k, k_scale_int(k, i, plan->block_k), step)
                           : k_add(k, k_scale_int(k, step, width), i);
    if (group > 1) {
        const Size *each = size_const(context, group);
        const KExpr *e = kb_loop(k, KL_UNROLL, k_int(k, 0), k_int(k, group), each, "e");
        row = by_depth ? row : k_add(k, row, e);
        depth = by_depth ? k_add(k, depth, e) : depth;
        at = k_add(k, at, e);
    }
    const KExpr *value = side_value(k, gemm, is_a, tile->batch, row, depth);
    value = k_select(k, inside, value, k_constant(k, gemm->dtype, 0));
    kb_local_store(k, local, at, value);
    if (group > 1) {
        kb_loop_end(k);
    }
    kb_loop_end(k);
}

static void multiply(KBuild *k, const BlockGemm *b, const GemmTile *tile) {
    const GemmPlan *plan = &b->plan;
    const Gemm *gemm = plan->gemm;
    Context *context = kb_context(k);
    const KLocal *a_panel = kb_local(k, b->panel, plan->block_m * plan->block_k, "a");
    const KLocal *b_panel = kb_local(k, b->panel, plan->block_n * plan->block_k, "b");
    const Size *unit = size_const(context, plan->block_k);
    bool once = size_less_equal(context, tile->most, unit) == TRUTH_YES;
    const KExpr *depth0 = tile->depth0;
    if (!once) {
        int64_t count = plan->block_m * plan->block_n;
        const Size *elements = size_const(context, count);
        const KExpr *i = kb_loop(k, KL_INDEPENDENT, k_int(k, 0), k_int(k, count), elements, "i");
        kb_local_store(k, tile->c, i, k_constant(k, gemm->dtype, 0));
        kb_loop_end(k);
        const KExpr *steps, *unused;
        k_divmod(k, k_add(k, tile->depth, k_int(k, plan->block_k - 1)), unit, &steps, &unused);
        const Size *extent = size_cdiv(context, tile->most, unit);
        const KExpr *step = kb_loop(k, KL_SERIAL, k_int(k, 0), steps, extent, "step");
        depth0 = k_add(k, depth0, k_scale_int(k, step, plan->block_k));
    }
    pack_panel(k, b, tile, true, a_panel, depth0);
    pack_panel(k, b, tile, false, b_panel, depth0);
    KContract contract = {.a_local = a_panel,
                          .b_local = b_panel,
                          .c_local = tile->c,
                          .a_offset = k_int(k, 0),
                          .b_offset = k_int(k, 0),
                          .c_offset = k_int(k, 0),
                          .depth = k_int(k, plan->block_k),
                          .c_stride = k_int(k, plan->block_n),
                          .accumulate = !once,
                          .tf32 = b->tf32,
                          .a_deep = b->deep[0],
                          .b_deep = b->deep[1]};
    kb_contract(k, &contract);
    if (!once) {
        kb_loop_end(k);
    }
}

static void build_packed(KBuild *k, void *user) {
    const BlockGemm *b = user;
    const GemmPlan *plan = &b->plan;
    Context *context = kb_context(k);
    const KExpr *chunk;
    int32_t depth = 0;
    GemmTile tile = open_tile(k, plan, &chunk, &depth);
    tile.c = kb_local(k, plan->gemm->dtype, plan->block_m * plan->block_n, "c");
    multiply(k, b, &tile);
    const KExpr *i =
        kb_loop(k, KL_INDEPENDENT, k_int(k, 0), tile.rows, size_const(context, plan->block_m), "i");
    const Gemm *gemm = plan->gemm;
    bool groups = is_multiple(k, chunk ? gemm->n : gemm->run, RESULT_GROUP) &&
                  is_multiple(k, gemm->n, RESULT_GROUP);
    int64_t group = groups ? RESULT_GROUP : 1;
    const KExpr *count, *unused;
    k_divmod(k, tile.columns, size_const(context, group), &count, &unused);
    const KExpr *j = kb_loop(k, KL_INDEPENDENT, k_int(k, 0), count,
                             size_const(context, plan->block_n / group), "j");
    j = k_scale_int(k, j, group);
    if (groups) {
        const Size *each = size_const(context, group);
        j = k_add(k, j, kb_loop(k, KL_UNROLL, k_int(k, 0), k_int(k, group), each, "e"));
    }
    const KExpr *at = k_add(k, k_scale_int(k, i, plan->block_n), j);
    const KExpr *value = kb_let(k, k_local(k, tile.c, at), "c");
    const KExpr *n = k_add(k, tile.n0, j);
    finish_element(k, plan, &tile, chunk, k_add(k, tile.m0, i), n, value);
    for (int loop = groups ? 3 : 2; loop > 0; loop--) {
        kb_loop_end(k);
    }
    close_tile(k, depth);
}

/* -- an element at a time */
static const KExpr *product(KBuild *k, const Gemm *gemm, const GemmTile *tile, const KExpr *m,
                            const KExpr *n, const KExpr *depth) {
    const KExpr *x = side_value(k, gemm, true, tile->batch, m, depth);
    const KExpr *y = side_value(k, gemm, false, tile->batch, n, depth);
    return k_binary(k, OP_mul, x, y);
}

static const KExpr *plain_sum(KBuild *k, const GemmPlan *plan, const GemmTile *tile, const KExpr *m,
                              const KExpr *n) {
    const Gemm *gemm = plan->gemm;
    int64_t depth = 0;
    if (plan->kind == GEMM_TINY && size_is_const(gemm->depth, &depth)) {
        const KExpr *sum = NULL;
        for (int64_t d = 0; d < depth; d++) {
            const KExpr *term = product(k, gemm, tile, m, n, k_int(k, d));
            sum = sum ? k_binary(k, OP_add, sum, term) : term;
        }
        return sum ? sum : k_constant(k, gemm->dtype, 0);
    }
    const KVar *sum = kb_var(k, gemm->dtype, "sum");
    kb_set(k, sum, k_constant(k, gemm->dtype, 0));
    KLoopKind kind = plan->kind == GEMM_DOTS ? KL_VECTOR : KL_SERIAL;
    const KExpr *d = kb_loop(k, kind, k_int(k, 0), tile->depth, tile->most, "d");
    const KExpr *term = product(k, gemm, tile, m, n, k_add(k, tile->depth0, d));
    kb_set(k, sum, k_binary(k, OP_add, k_get(k, sum), term));
    kb_loop_end(k);
    return k_get(k, sum);
}

static void build_plain(KBuild *k, void *user) {
    const BlockGemm *b = user;
    const GemmPlan *plan = &b->plan;
    Context *context = kb_context(k);
    const KExpr *chunk;
    int32_t depth = 0;
    GemmTile tile = open_tile(k, plan, &chunk, &depth);
    const Size *rows = size_const(context, plan->block_m);
    const Size *columns = size_const(context, plan->block_n);
    const KExpr *outer =
        kb_loop(k, KL_INDEPENDENT, k_int(k, 0), b->long_n ? tile.rows : tile.columns,
                b->long_n ? rows : columns, "i");
    const KExpr *inner =
        kb_loop(k, KL_INDEPENDENT, k_int(k, 0), b->long_n ? tile.columns : tile.rows,
                b->long_n ? columns : rows, "j");
    const KExpr *m = k_add(k, tile.m0, b->long_n ? outer : inner);
    const KExpr *n = k_add(k, tile.n0, b->long_n ? inner : outer);
    const KExpr *sum = kb_let(k, plain_sum(k, plan, &tile, m, n), "sum");
    finish_element(k, plan, &tile, chunk, m, n, sum);
    kb_loop_end(k);
    kb_loop_end(k);
    close_tile(k, depth);
}

/* -- partial sums, in order of their chunks, then the epilogue */
static const KExpr *partial_sum(KBuild *k, const BlockGemm *b, const KExpr *begin, const KExpr *end,
                                const KExpr *const *at) {
    const GemmPlan *plan = &b->plan;
    const Gemm *gemm = plan->gemm;
    const KVar *sum = kb_var(k, gemm->dtype, "sum");
    kb_set(k, sum, k_constant(k, gemm->dtype, 0));
    const KExpr *chunk = kb_loop(k, KL_SERIAL, begin, end, plan->chunks, "chunk");
    const KExpr *part = partial_at(k, gemm, chunk, at[0], at[1], at[2]);
    part = k_load(k, kb_temp_buffer(k, plan->temp, false), part);
    kb_set(k, sum, k_binary(k, OP_add, k_get(k, sum), part));
    kb_loop_end(k);
    return k_get(k, sum);
}

/* Results of a tile where they are so few that one for each thread would leave most of the machine
 * idle; 0: they are enough. */
static int64_t shared_sum_width(KBuild *k, const Gemm *gemm) {
    double rows = (double)gemm_nominal(gemm->batch) * (double)gemm_nominal(gemm->m);
    int64_t n = gemm_nominal(gemm->n), width = kb_machine(k)->threads;
    if (!tiles_are_few(k, rows * (double)n / (kb_machine(k)->lanes * 2))) {
        return 0;
    }
    while (width > 1 &&
           (width / 2 >= n || tiles_are_few(k, rows * (double)((n + width - 1) / width)))) {
        width /= 2;
    }
    return width;
}

/* Several threads a result, each some of the chunks in order; then a thread a result adds up
 * theirs, in order. */
static void build_shared_sum(KBuild *k, void *user) {
    const BlockGemm *b = user;
    const Gemm *gemm = b->plan.gemm;
    Context *context = kb_context(k);
    int64_t width = shared_sum_width(k, gemm), groups = kb_machine(k)->threads / width;
    const Size *size = size_const(context, width), *all = size_const(context, width * groups);
    const KExpr *at[3];
    at[0] = kb_grid(k, gemm->batch, "batch");
    at[1] = kb_grid(k, gemm->m, "m");
    const KExpr *tile = kb_grid(k, size_cdiv(context, gemm->n, size), "columns");
    const KExpr *first = k_scale_int(k, tile, width), *n = k_size(k, gemm->n);
    const KExpr *chunks = k_size(k, b->plan.chunks), *group, *column, *each, *unused;
    const KLocal *sums = kb_local(k, gemm->dtype, width * groups, "sums");

    const KExpr *q = kb_loop(k, KL_INDEPENDENT, k_int(k, 0), k_size(k, all), all, "q");
    k_divmod(k, q, size, &group, &column);
    const KExpr *last = k_sub(k, n, k_int(k, 1));
    column = k_min(k, k_add(k, first, column), last);
    at[2] = kb_let(k, column, "column");
    k_divmod(k, k_add(k, chunks, k_int(k, groups - 1)), size_const(context, groups), &each,
             &unused);
    each = kb_let(k, each, "each");
    const KExpr *begin = kb_let(k, k_min(k, k_binary(k, OP_mul, group, each), chunks), "begin");
    const KExpr *end = kb_let(k, k_min(k, k_add(k, begin, each), chunks), "end");
    kb_local_store(k, sums, q, partial_sum(k, b, begin, end, at));
    kb_loop_end(k);

    const KExpr *columns = kb_let(k, k_min(k, k_int(k, width), k_sub(k, n, first)), "columns");
    const KExpr *j = kb_loop(k, KL_INDEPENDENT, k_int(k, 0), columns, size, "j");
    const KVar *sum = kb_var(k, gemm->dtype, "sum");
    kb_set(k, sum, k_constant(k, gemm->dtype, 0));
    const Size *count = size_const(context, groups);
    const KExpr *g = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, count), count, "g");
    const KExpr *part = k_local(k, sums, k_add(k, k_scale_int(k, g, width), j));
    kb_set(k, sum, k_binary(k, OP_add, k_get(k, sum), part));
    kb_loop_end(k);
    const KExpr *value = kb_let(k, k_get(k, sum), "c");
    gemm->finish(k, gemm, at[0], at[1], k_add(k, first, j), value);
    kb_loop_end(k);
    close_tile(k, 3);
}

static void build_sum(KBuild *k, void *user) {
    const BlockGemm *b = user;
    const GemmPlan *plan = &b->plan;
    const Gemm *gemm = plan->gemm;
    Context *context = kb_context(k);
    const Size *one = size_const(context, 1);
    LoopPiece pieces[3] = {{.extent = gemm->batch, .stride = one, .key = 1},
                           {.extent = gemm->m, .stride = one, .key = 2},
                           {.extent = gemm->n, .stride = one, .key = 3}};
    const Size *total = size_mul(context, gemm->batch, size_mul(context, gemm->m, gemm->n));
    Nest nest = nest_open_tiled(k, pieces, 3, tile_elements(k, total, 8) / 4);
    const KExpr *at[3] = {pieces[0].var, pieces[1].var, pieces[2].var};
    const KExpr *sum = partial_sum(k, b, k_int(k, 0), k_size(k, plan->chunks), at);
    gemm->finish(k, gemm, at[0], at[1], at[2], kb_let(k, sum, "c"));
    nest_close(k, &nest);
}

void gemm_lower_block(KBuild *k, const Gemm *gemm) {
    BlockGemm b = choose(k, gemm);
    kb_kernel(k, gemm->name, b.plan.kind == GEMM_PACKED ? build_packed : build_plain, &b);
    if (b.plan.chunk > 0) {
        bool shared = shared_sum_width(k, gemm) > 0;
        kb_kernel(k, gemm->name, shared ? build_shared_sum : build_sum, &b);
    }
}
