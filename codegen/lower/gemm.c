/* Matrix products as kernels: which plan, which blocks, and the grid of tiles with its epilogue.
 * Few tiles over a long depth are cut along the depth into partial sums, added in order by a second
 * kernel. */
#include "codegen/lower/gemm.h"
#include "ir/base/checked.h"

enum {
    TINY_DEPTH = 8,
    TINY_TILE = 8192, /* elements of a tile with a tiny depth */
    FEW_ROWS = 3,
    PLAIN_BLOCK = 256,  /* long side of the plain loops' tiles */
    PLAIN_DEPTH = 1024, /* of one step of their dot products */
    CHUNK_DEPTH = 1024, /* a partial sum is at least this deep */
    SUM_BLOCK = 512     /* elements a tile of the adding kernel makes */
};
static const double WORTH_CUTTING = 1e7; /* flops of a tile: below this, cutting costs more */

static int64_t cut_evenly(int64_t total, int64_t most, int64_t unit) {
    int64_t parts = (total + most - 1) / most;
    return round_up((total + parts - 1) / (parts > 0 ? parts : 1), unit);
}

static void choose_packed(KBuild *k, GemmPlan *plan) {
    const Gemm *gemm = plan->gemm;
    const Machine *machine = kb_machine(k);
    bool wide = gemm->dtype == DT_F64;
    plan->kind = GEMM_PACKED;
    plan->tile_m = machine_tile_rows(machine, gemm->dtype);
    plan->tile_n = machine_tile_columns(machine, gemm->dtype);
    int64_t m = gemm_nominal(gemm->m), n = gemm_nominal(gemm->n);
    int64_t most_n = wide ? machine->block_columns / 2 : machine->block_columns;
    plan->block_m = cut_evenly(m, machine->block_rows, plan->tile_m);
    plan->block_n = cut_evenly(n, most_n, plan->tile_n);
    plan->block_k = cut_evenly(size_nominal(gemm->depth, UNSET_DEPTH), machine->block_depth, 8);
    plan->block_k = plan->block_k > 0 ? plan->block_k : 8;
}

static void choose_plain(GemmPlan *plan) {
    const Gemm *gemm = plan->gemm;
    int64_t m = gemm_nominal(gemm->m), n = gemm_nominal(gemm->n);
    const GemmSide *far = n >= m ? &gemm->b : &gemm->a;
    plan->kind = far->order == GEMM_BY_DEPTH ? GEMM_DOTS : GEMM_ROWS;
    int64_t near = n >= m ? m : n, length = n >= m ? n : m;
    near = near > FEW_ROWS ? FEW_ROWS : near;
    length = length > PLAIN_BLOCK ? PLAIN_BLOCK : length;
    if (plan->kind == GEMM_DOTS) {
        length = length > 64 ? 64 : length;
    }
    plan->block_k = PLAIN_DEPTH;
    plan->block_m = n >= m ? near : length;
    plan->block_n = n >= m ? length : near;
}

static void choose_tiny(GemmPlan *plan) {
    int64_t m = gemm_nominal(plan->gemm->m), n = gemm_nominal(plan->gemm->n);
    plan->kind = GEMM_TINY;
    plan->block_n = n < PLAIN_BLOCK ? n : PLAIN_BLOCK;
    int64_t rows = TINY_TILE / plan->block_n;
    plan->block_m = m < rows ? m : rows;
}

/* Whether the plain loops can have what they need of sides that come in lines. */
static bool plain_fits(const Gemm *gemm) {
    if (!gemm->a.line && !gemm->b.line) {
        return true;
    }
    bool long_n = gemm_nominal(gemm->n) >= gemm_nominal(gemm->m);
    const GemmSide *far = long_n ? &gemm->b : &gemm->a, *near = long_n ? &gemm->a : &gemm->b;
    if (far->order == GEMM_BY_DEPTH) {
        return !near->line || near->order == GEMM_BY_DEPTH;
    }
    return !near->line && far->order == GEMM_BY_ROW;
}

static int64_t count_tiles(const GemmPlan *plan) {
    int64_t m = gemm_nominal(plan->gemm->m), n = gemm_nominal(plan->gemm->n);
    return gemm_nominal(plan->gemm->batch) * ((m + plan->block_m - 1) / plan->block_m) *
           ((n + plan->block_n - 1) / plan->block_n);
}

/* A long depth and few tiles: partial sums over chunks of it. */
static void choose_split(KBuild *k, GemmPlan *plan) {
    const Gemm *gemm = plan->gemm;
    Context *context = kb_context(k);
    int64_t depth = gemm_nominal(gemm->depth), tiles = count_tiles(plan);
    int64_t reach = size_nominal(gemm->depth, UNSET_DEPTH), wanted = kb_machine(k)->wanted_tiles;
    if (plan->kind == GEMM_TINY || tiles >= wanted || reach < 2 * CHUNK_DEPTH) {
        return;
    }
    int64_t want = (wanted + tiles - 1) / tiles;
    int64_t unit = plan->kind == GEMM_PACKED ? plan->block_k : PLAIN_DEPTH;
    plan->chunk = (depth + want - 1) / want;
    plan->chunk = round_up(plan->chunk > CHUNK_DEPTH ? plan->chunk : CHUNK_DEPTH, unit);
    plan->chunks = size_cdiv(context, gemm->depth, size_const(context, plan->chunk));
    const Size *elements = size_mul(context, gemm->m, gemm->n);
    elements = size_mul(context, elements, size_mul(context, gemm->batch, plan->chunks));
    plan->temp = kb_temp(k, gemm->dtype, elements);
}

/* Still few tiles: smaller ones, as long as each is worth its packing. */
static void choose_finer(KBuild *k, GemmPlan *plan) {
    int64_t depth = plan->chunk > 0 ? plan->chunk : gemm_nominal(plan->gemm->depth);
    int64_t chunks = plan->chunk > 0 ? gemm_nominal(plan->chunks) : 1;
    while (plan->kind == GEMM_PACKED && count_tiles(plan) * chunks < kb_machine(k)->wanted_tiles &&
           2.0 * (double)plan->block_m * (double)plan->block_n * (double)depth > WORTH_CUTTING) {
        bool wide = plan->block_n >= plan->block_m && plan->block_n >= 4 * plan->tile_n;
        if (wide) {
            plan->block_n = round_up(plan->block_n / 2, plan->tile_n);
        } else if (plan->block_m >= 4 * plan->tile_m) {
            plan->block_m = round_up(plan->block_m / 2, plan->tile_m);
        } else {
            break;
        }
    }
}

static GemmPlan choose(KBuild *k, const Gemm *gemm) {
    GemmPlan plan = {.gemm = gemm};
    Context *context = kb_context(k);
    int64_t depth, m, n;
    bool tiny =
        size_is_const(gemm->depth, &depth) && depth <= TINY_DEPTH && !gemm->a.line && !gemm->b.line;
    bool few = (size_is_const(gemm->m, &m) && m <= FEW_ROWS) ||
               (size_is_const(gemm->n, &n) && n <= FEW_ROWS);
    if (tiny) {
        choose_tiny(&plan);
    } else if ((few && plain_fits(gemm)) || !dtype_is_float(gemm->dtype)) {
        choose_plain(&plan);
    } else {
        choose_packed(k, &plan);
    }
    choose_split(k, &plan);
    choose_finer(k, &plan);
    plan.blocks_m = size_cdiv(context, gemm->m, size_const(context, plan.block_m));
    plan.blocks_n = size_cdiv(context, gemm->n, size_const(context, plan.block_n));
    return plan;
}

static const KExpr *grid(KBuild *k, const Size *extent, const char *hint, int32_t *depth) {
    if (size_is_one(extent)) {
        return k_int(k, 0);
    }
    (*depth)++;
    return kb_grid(k, extent, hint);
}

static const KExpr *partial_at(KBuild *k, const Gemm *gemm, const KExpr *chunk, const KExpr *batch,
                               const KExpr *m, const KExpr *n) {
    const Size *const dims[4] = {gemm->depth, gemm->batch, gemm->m, gemm->n};
    const KExpr *index[4] = {chunk, batch, m, n};
    return k_flat(k, (Type){gemm->dtype, 4, dims}, index);
}

/* Hands every element of the tile on: to the epilogue, or to the partial sums. */
static void finish_tile(KBuild *k, const GemmPlan *plan, const GemmTile *tile, const KExpr *chunk) {
    const Gemm *gemm = plan->gemm;
    Context *context = kb_context(k);
    bool by_row = plan->block_n == 1;
    const KExpr *i = kb_loop(k, by_row ? KL_VECTOR : KL_SERIAL, k_int(k, 0), tile->rows,
                             size_const(context, plan->block_m), "i");
    const KExpr *j = k_int(k, 0);
    if (!by_row) {
        j = kb_loop(k, KL_VECTOR, k_int(k, 0), tile->columns, size_const(context, plan->block_n),
                    "j");
    }
    const KExpr *at = k_add(k, k_scale_int(k, i, plan->block_n), j);
    const KExpr *m = k_add(k, tile->m0, i), *n = k_add(k, tile->n0, j);
    const KExpr *value = kb_let(k, k_local(k, tile->c, at), "c");
    if (plan->chunk > 0) {
        const KExpr *part = partial_at(k, gemm, chunk, tile->batch, m, n);
        kb_store(k, kb_temp_buffer(k, plan->temp, true), part, value);
    } else {
        gemm->finish(k, gemm, tile->batch, m, n, value);
    }
    kb_loop_end(k);
    if (!by_row) {
        kb_loop_end(k);
    }
}

static void build_product(KBuild *k, void *user) {
    const GemmPlan *plan = user;
    const Gemm *gemm = plan->gemm;
    Context *context = kb_context(k);
    int32_t depth = 0;
    const KExpr *chunk = plan->chunk > 0 ? grid(k, plan->chunks, "chunk", &depth) : NULL;
    GemmTile tile = {.batch = grid(k, gemm->batch, "batch", &depth)};
    const KExpr *block_m = grid(k, plan->blocks_m, "bm", &depth);
    const KExpr *block_n = grid(k, plan->blocks_n, "bn", &depth);
    tile.m0 = k_scale_int(k, block_m, plan->block_m);
    tile.n0 = k_scale_int(k, block_n, plan->block_n);
    tile.rows = k_min(k, k_int(k, plan->block_m), k_sub(k, k_size(k, gemm->m), tile.m0));
    tile.rows = kb_let(k, tile.rows, "rows");
    tile.columns = k_min(k, k_int(k, plan->block_n), k_sub(k, k_size(k, gemm->n), tile.n0));
    tile.columns = kb_let(k, tile.columns, "columns");
    tile.depth0 = k_int(k, 0);
    tile.depth = k_size(k, gemm->depth);
    tile.most = gemm->depth;
    if (chunk) {
        tile.depth0 = k_scale_int(k, chunk, plan->chunk);
        tile.depth = k_min(k, k_int(k, plan->chunk), k_sub(k, tile.depth, tile.depth0));
        tile.depth = kb_let(k, tile.depth, "depth");
        tile.most = size_const(context, plan->chunk);
    }
    tile.c = kb_local(k, gemm->dtype, plan->block_m * plan->block_n, "c");
    gemm_tile(k, plan, &tile);
    finish_tile(k, plan, &tile, chunk);
    for (int32_t i = 0; i < depth; i++) {
        kb_loop_end(k);
    }
}

/* Adds the partial sums in order of their chunks, then the epilogue. */
static void build_sum(KBuild *k, void *user) {
    const GemmPlan *plan = user;
    const Gemm *gemm = plan->gemm;
    Context *context = kb_context(k);
    int64_t n_nominal = gemm_nominal(gemm->n);
    int64_t columns = n_nominal < SUM_BLOCK ? n_nominal : SUM_BLOCK;
    const Size *blocks = size_cdiv(context, gemm->n, size_const(context, columns));
    int32_t depth = 0;
    const KExpr *batch = grid(k, gemm->batch, "batch", &depth);
    const KExpr *m = grid(k, gemm->m, "m", &depth);
    const KExpr *block = grid(k, blocks, "block", &depth);
    const KExpr *n0 = k_scale_int(k, block, columns);
    const KExpr *count = k_min(k, k_int(k, columns), k_sub(k, k_size(k, gemm->n), n0));
    count = kb_let(k, count, "count");
    const KLocal *sum = kb_local(k, gemm->dtype, columns, "sum");
    const Size *extent = size_const(context, columns);
    const KExpr *j = kb_loop(k, KL_VECTOR, k_int(k, 0), count, extent, "j");
    kb_local_store(k, sum, j, k_constant(k, gemm->dtype, 0));
    kb_loop_end(k);
    const KExpr *chunk =
        kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, plan->chunks), plan->chunks, "chunk");
    j = kb_loop(k, KL_VECTOR, k_int(k, 0), count, extent, "j");
    const KExpr *part = partial_at(k, gemm, chunk, batch, m, k_add(k, n0, j));
    part = k_load(k, kb_temp_buffer(k, plan->temp, false), part);
    kb_local_store(k, sum, j, k_binary(k, OP_add, k_local(k, sum, j), part));
    kb_loop_end(k);
    kb_loop_end(k);
    j = kb_loop(k, KL_VECTOR, k_int(k, 0), count, extent, "j");
    const KExpr *value = kb_let(k, k_local(k, sum, j), "c");
    gemm->finish(k, gemm, batch, m, k_add(k, n0, j), value);
    kb_loop_end(k);
    for (int32_t i = 0; i < depth; i++) {
        kb_loop_end(k);
    }
}

void gemm_lower(KBuild *k, const Gemm *gemm) {
    if (kb_is_block(k)) {
        gemm_lower_block(k, gemm);
        return;
    }
    GemmPlan plan = choose(k, gemm);
    kb_kernel(k, gemm->name, build_product, &plan);
    if (plan.chunk > 0) {
        kb_kernel(k, gemm->name, build_sum, &plan);
    }
}
