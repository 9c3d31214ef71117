/* One tile of a matrix product: packing both operands into panels (rows fastest, so that the
 * register tile reads straight ahead) and multiplying, or the plain loops that beat packing when
 * one side has few rows. Rows past the end are read as the last one: what they give is never
 * stored. */
#include "codegen/lower/gemm.h"

static const Size *fixed(KBuild *k, int64_t value) {
    return size_const(kb_context(k), value);
}

static const KExpr *loop(KBuild *k, KLoopKind kind, const KExpr *end, int64_t extent,
                         const char *hint) {
    return kb_loop(k, kind, k_int(k, 0), end, fixed(k, extent), hint);
}

static const KExpr *side_value(KBuild *k, const Gemm *gemm, const GemmSide *side,
                               const KExpr *batch, const KExpr *row, const KExpr *depth) {
    const KExpr *value = side->element(k, gemm, batch, row, depth);
    return k_cast(k, value, gemm->dtype);
}

static void clear_tile(KBuild *k, const GemmPlan *plan, const GemmTile *tile) {
    int64_t count = plan->block_m * plan->block_n;
    const KExpr *i = loop(k, KL_VECTOR, k_int(k, count), count, "i");
    kb_local_store(k, tile->c, i, k_constant(k, plan->gemm->dtype, 0));
    kb_loop_end(k);
}

/* -- packing */
enum { INTERLEAVE = 8 };

/* Where a side is packed: panels of `width` rows, rows fastest, each panel width * block_k long. */
typedef struct Packing {
    const Gemm *gemm;
    const GemmSide *side;
    const KLocal *local;
    const KLocal *half;  /* by-depth: eights of rows before they stand side by side */
    const KLocal *lines; /* of sides that come in lines */
    int32_t width;
    int64_t block, block_k;
    const KExpr *batch, *start, *rows;
    const KExpr *depth, *length;
} Packing;

typedef struct Panel {
    const KExpr *offset, *row, *rows; /* in the local; first row; how many of the width exist */
} Panel;

static const KExpr *panel_row(KBuild *k, const Panel *panel, const KExpr *r) {
    const KExpr *last = k_sub(k, k_add(k, panel->row, panel->rows), k_int(k, 1));
    const KExpr *row = k_add(k, panel->row, r);
    return kb_let(k, k_min(k, row, last), "row");
}

/* Fills lines[r * block_k …] for the eight rows from `first` on. */
static void fetch_lines(KBuild *k, const Packing *pack, const Panel *panel, int32_t first,
                        int32_t count) {
    const KExpr *r = loop(k, KL_SERIAL, k_int(k, count), count, "r");
    GemmLine line = {.local = pack->lines, .batch = pack->batch, .start = pack->depth};
    line.offset = k_scale_int(k, r, pack->block_k);
    line.fixed = panel_row(k, panel, k_add(k, r, k_int(k, first)));
    line.count = pack->length;
    line.most = pack->block_k;
    pack->side->line(k, pack->gemm, &line);
    kb_loop_end(k);
}

/* Along the depth, up to eight rows unrolled: contiguous reads of each, and stores that interleave.
 */
static void pack_eight(KBuild *k, const Packing *pack, const Panel *panel, int32_t first,
                       int32_t count) {
    const KExpr *rows[INTERLEAVE];
    if (pack->side->line) {
        fetch_lines(k, pack, panel, first, count);
    }
    for (int32_t r = 0; r < count && !pack->side->line; r++) {
        rows[r] = panel_row(k, panel, k_int(k, first + r));
    }
    const KExpr *d = loop(k, KL_VECTOR, pack->length, pack->block_k, "d");
    const KExpr *depth = k_add(k, pack->depth, d);
    for (int32_t r = 0; r < count; r++) {
        const KExpr *value =
            pack->side->line ? k_local(k, pack->lines, k_add(k, k_int(k, r * pack->block_k), d))
                             : side_value(k, pack->gemm, pack->side, pack->batch, rows[r], depth);
        const KExpr *at = k_scale_int(k, d, pack->half ? INTERLEAVE : pack->width);
        int64_t base = pack->half ? first * pack->block_k + r : first + r;
        at = k_add(k, at, k_int(k, base));
        at = pack->half ? at : k_add(k, panel->offset, at);
        kb_local_store(k, pack->half ? pack->half : pack->local, at, value);
    }
    kb_loop_end(k);
}

/* The eights of `half` side by side; the last may be fewer, and nothing past the panel is touched.
 */
static void join_halves(KBuild *k, const Packing *pack, const Panel *panel) {
    const KExpr *d = loop(k, KL_SERIAL, pack->length, pack->block_k, "d");
    for (int32_t first = 0; first < pack->width; first += INTERLEAVE) {
        int32_t rest = pack->width - first, count = rest < INTERLEAVE ? rest : INTERLEAVE;
        const KExpr *r = loop(k, KL_VECTOR, k_int(k, count), count, "r");
        const KExpr *from = k_add(k, k_scale_int(k, d, INTERLEAVE), r);
        from = k_add(k, from, k_int(k, first * pack->block_k));
        const KExpr *at = k_add(k, k_scale_int(k, d, pack->width), k_int(k, first));
        at = k_add(k, k_add(k, panel->offset, at), r);
        kb_local_store(k, pack->local, at, k_local(k, pack->half, from));
        kb_loop_end(k);
    }
    kb_loop_end(k);
}

static void pack_by_depth(KBuild *k, const Packing *pack, const Panel *panel) {
    for (int32_t first = 0; first < pack->width; first += INTERLEAVE) {
        int32_t rest = pack->width - first;
        pack_eight(k, pack, panel, first, rest < INTERLEAVE ? rest : INTERLEAVE);
    }
    if (pack->half) {
        join_halves(k, pack, panel);
    }
}

/* Along the rows: one run of the panel's width per depth. `bounded`: some of the rows do not exist.
 */
static void pack_runs(KBuild *k, const Packing *pack, const Panel *panel, bool bounded) {
    const KExpr *d = loop(k, KL_SERIAL, pack->length, pack->block_k, "d");
    const KExpr *depth = k_add(k, pack->depth, d);
    KLoopKind kind = bounded || pack->side->order != GEMM_BY_ROW ? KL_SERIAL : KL_VECTOR;
    const KExpr *r = loop(k, kind, k_int(k, pack->width), pack->width, "r");
    const KExpr *row = bounded ? panel_row(k, panel, r) : k_add(k, panel->row, r);
    const KExpr *value = side_value(k, pack->gemm, pack->side, pack->batch, row, depth);
    const KExpr *at = k_add(k, k_scale_int(k, d, pack->width), r);
    kb_local_store(k, pack->local, k_add(k, panel->offset, at), value);
    kb_loop_end(k);
    kb_loop_end(k);
}

static void pack_by_row(KBuild *k, const Packing *pack, const Panel *panel) {
    const KExpr *full = k_le(k, k_int(k, pack->width), panel->rows);
    if (k_is_true(full)) {
        pack_runs(k, pack, panel, false);
        return;
    }
    kb_if(k, full);
    pack_runs(k, pack, panel, false);
    kb_else(k);
    pack_runs(k, pack, panel, true);
    kb_if_end(k);
}

/* One line over all rows of the tile for each depth, then cut into the panels. */
static void pack_lines_by_row(KBuild *k, const Packing *pack, const KExpr *panels) {
    const KExpr *d = loop(k, KL_SERIAL, pack->length, pack->block_k, "d");
    GemmLine line = {.local = pack->lines, .offset = k_int(k, 0), .batch = pack->batch};
    line.fixed = k_add(k, pack->depth, d);
    line.start = pack->start;
    line.count = pack->rows;
    line.most = pack->block;
    pack->side->line(k, pack->gemm, &line);
    const KExpr *p = loop(k, KL_SERIAL, panels, pack->block / pack->width, "p");
    const KExpr *r = loop(k, KL_VECTOR, k_int(k, pack->width), pack->width, "r");
    const KExpr *at = k_add(k, k_scale_int(k, d, pack->width), r);
    at = k_add(k, at, k_scale_int(k, p, pack->width * pack->block_k));
    const KExpr *from = k_add(k, k_scale_int(k, p, pack->width), r);
    kb_local_store(k, pack->local, at, k_local(k, pack->lines, from));
    kb_loop_end(k);
    kb_loop_end(k);
    kb_loop_end(k);
}

static void pack_panels(KBuild *k, const Packing *pack, const KExpr *panels) {
    const KExpr *p = loop(k, KL_SERIAL, panels, pack->block / pack->width, "p");
    const KExpr *first = k_scale_int(k, p, pack->width);
    Panel panel = {.offset = k_scale_int(k, p, pack->width * pack->block_k)};
    panel.row = k_add(k, pack->start, first);
    panel.rows = k_min(k, k_int(k, pack->width), k_sub(k, pack->rows, first));
    panel.rows = kb_let(k, panel.rows, "rows");
    if (pack->side->order == GEMM_BY_DEPTH) {
        pack_by_depth(k, pack, &panel);
    } else {
        pack_by_row(k, pack, &panel);
    }
    kb_loop_end(k);
}

/* All panels of one side of the tile. Returns how many there are. */
static const KExpr *pack_side(KBuild *k, const GemmPlan *plan, const GemmTile *tile, bool is_a,
                              const KLocal *local) {
    const Gemm *gemm = plan->gemm;
    Packing pack = {.gemm = gemm, .local = local, .block_k = plan->block_k, .batch = tile->batch};
    pack.side = is_a ? &gemm->a : &gemm->b;
    pack.width = is_a ? plan->tile_m : plan->tile_n;
    pack.block = is_a ? plan->block_m : plan->block_n;
    pack.start = is_a ? tile->m0 : tile->n0;
    pack.rows = is_a ? tile->rows : tile->columns;
    pack.depth = tile->depth0;
    pack.length = tile->depth;
    bool by_depth = pack.side->order == GEMM_BY_DEPTH;
    if (by_depth && pack.width > INTERLEAVE) {
        int64_t width = (pack.width + INTERLEAVE - 1) / INTERLEAVE * INTERLEAVE;
        pack.half = kb_local(k, gemm->dtype, width * plan->block_k, "half");
    }
    if (pack.side->line) {
        int64_t count = by_depth ? INTERLEAVE * plan->block_k : pack.block;
        pack.lines = kb_local(k, gemm->dtype, count, "lines");
    }
    const KExpr *panels, *unused;
    k_divmod(k, k_add(k, pack.rows, k_int(k, pack.width - 1)), fixed(k, pack.width), &panels,
             &unused);
    panels = kb_let(k, panels, "panels");
    if (pack.side->line && !by_depth) {
        pack_lines_by_row(k, &pack, panels);
    } else {
        pack_panels(k, &pack, panels);
    }
    return panels;
}

/* Opens the loop over steps of block_k along the depth; the tile of one step. */
static GemmTile open_depth(KBuild *k, const GemmPlan *plan, const GemmTile *whole) {
    GemmTile tile = *whole;
    const Size *most = fixed(k, plan->block_k);
    const KExpr *steps, *unused;
    k_divmod(k, k_add(k, whole->depth, k_int(k, plan->block_k - 1)), most, &steps, &unused);
    const Size *extent = size_cdiv(kb_context(k), whole->most, most);
    const KExpr *step = kb_loop(k, KL_SERIAL, k_int(k, 0), steps, extent, "step");
    const KExpr *done = k_scale_int(k, step, plan->block_k);
    tile.depth0 = k_add(k, whole->depth0, done);
    tile.depth = k_min(k, k_int(k, plan->block_k), k_sub(k, whole->depth, done));
    tile.depth = kb_let(k, tile.depth, "depth");
    return tile;
}

static void tile_packed(KBuild *k, const GemmPlan *plan, const GemmTile *whole) {
    const Gemm *gemm = plan->gemm;
    const KLocal *a = kb_local(k, gemm->dtype, plan->block_m * plan->block_k, "a");
    const KLocal *b = kb_local(k, gemm->dtype, plan->block_n * plan->block_k, "b");
    GemmTile tile = *whole;
    const Size *most = fixed(k, plan->block_k);
    bool once = size_less_equal(kb_context(k), whole->most, most) == TRUTH_YES;
    if (!once) {
        clear_tile(k, plan, whole);
        tile = open_depth(k, plan, whole);
    }
    const KExpr *panels_a = pack_side(k, plan, &tile, true, a);
    const KExpr *panels_b = pack_side(k, plan, &tile, false, b);
    const KExpr *q = loop(k, KL_SERIAL, panels_b, plan->block_n / plan->tile_n, "q");
    const KExpr *p = loop(k, KL_SERIAL, panels_a, plan->block_m / plan->tile_m, "p");
    KContract contract = {.a_local = a, .b_local = b, .c_local = whole->c, .accumulate = !once};
    contract.a_offset = k_scale_int(k, p, plan->tile_m * plan->block_k);
    contract.b_offset = k_scale_int(k, q, plan->tile_n * plan->block_k);
    const KExpr *columns = k_scale_int(k, q, plan->tile_n);
    contract.c_offset = k_add(k, k_scale_int(k, p, plan->tile_m * plan->block_n), columns);
    contract.c_stride = k_int(k, plan->block_n);
    contract.depth = tile.depth;
    kb_contract(k, &contract);
    kb_loop_end(k);
    kb_loop_end(k);
    if (!once) {
        kb_loop_end(k);
    }
}

/* -- plain loops */
static const KExpr *c_at(KBuild *k, const GemmPlan *plan, const KExpr *i, const KExpr *j) {
    return k_add(k, k_scale_int(k, i, plan->block_n), j);
}

static const KExpr *product(KBuild *k, const GemmPlan *plan, const GemmTile *tile, const KExpr *i,
                            const KExpr *j, const KExpr *d) {
    const Gemm *gemm = plan->gemm;
    const KExpr *m = k_add(k, tile->m0, i), *n = k_add(k, tile->n0, j);
    const KExpr *depth = k_add(k, tile->depth0, d);
    const KExpr *x = side_value(k, gemm, &gemm->a, tile->batch, m, depth);
    const KExpr *y = side_value(k, gemm, &gemm->b, tile->batch, n, depth);
    return k_binary(k, OP_mul, x, y);
}

static void tile_tiny(KBuild *k, const GemmPlan *plan, const GemmTile *tile) {
    int64_t depth = 0;
    size_is_const(plan->gemm->depth, &depth);
    const KExpr *i = loop(k, KL_SERIAL, tile->rows, plan->block_m, "i");
    const KExpr *j = loop(k, KL_VECTOR, tile->columns, plan->block_n, "j");
    const KExpr *sum = NULL;
    for (int64_t d = 0; d < depth; d++) {
        const KExpr *term = product(k, plan, tile, i, j, k_int(k, d));
        sum = sum ? k_binary(k, OP_add, sum, term) : term;
    }
    kb_local_store(k, tile->c, c_at(k, plan, i, j),
                   sum ? sum : k_constant(k, plan->gemm->dtype, 0));
    kb_loop_end(k);
    kb_loop_end(k);
}

/* C is a sum of rows of the long side, each scaled by one element of the short side. */
static void tile_rows(KBuild *k, const GemmPlan *plan, const GemmTile *tile) {
    const Gemm *gemm = plan->gemm;
    bool long_n = plan->block_n >= plan->block_m;
    const GemmSide *far = long_n ? &gemm->b : &gemm->a, *near = long_n ? &gemm->a : &gemm->b;
    int64_t length = long_n ? plan->block_n : plan->block_m;
    const KExpr *count = long_n ? tile->columns : tile->rows;
    const KLocal *lines = far->line ? kb_local(k, gemm->dtype, length, "line") : NULL;
    clear_tile(k, plan, tile);
    const KExpr *d = kb_loop(k, KL_SERIAL, k_int(k, 0), tile->depth, tile->most, "d");
    const KExpr *depth = k_add(k, tile->depth0, d);
    if (lines) {
        GemmLine line = {lines, k_int(k, 0), tile->batch, depth, long_n ? tile->n0 : tile->m0,
                         count, length};
        far->line(k, gemm, &line);
    }
    const KExpr *s = loop(k, KL_SERIAL, long_n ? tile->rows : tile->columns,
                          long_n ? plan->block_m : plan->block_n, "s");
    const KExpr *row = k_add(k, long_n ? tile->m0 : tile->n0, s);
    const KExpr *scale = side_value(k, gemm, near, tile->batch, row, depth);
    const KExpr *v = loop(k, KL_VECTOR, count, length, "v");
    const KExpr *other = k_add(k, long_n ? tile->n0 : tile->m0, v);
    const KExpr *value =
        lines ? k_local(k, lines, v) : side_value(k, gemm, far, tile->batch, other, depth);
    const KExpr *at = c_at(k, plan, long_n ? s : v, long_n ? v : s);
    const KExpr *term = k_binary(k, OP_mul, scale, value);
    kb_local_store(k, tile->c, at, k_binary(k, OP_add, k_local(k, tile->c, at), term));
    kb_loop_end(k);
    kb_loop_end(k);
    kb_loop_end(k);
}

/* A side's elements along the depth: its line if it comes in lines (fetched here), else none. */
static const KLocal *fetch_dot_line(KBuild *k, const GemmPlan *plan, const GemmTile *tile,
                                    const GemmSide *side, const KExpr *row) {
    if (!side->line) {
        return NULL;
    }
    const KLocal *local = kb_local(k, plan->gemm->dtype, plan->block_k, "line");
    GemmLine line = {local,        k_int(k, 0), tile->batch,  row,
                     tile->depth0, tile->depth, plan->block_k};
    side->line(k, plan->gemm, &line);
    return local;
}

static void tile_dots(KBuild *k, const GemmPlan *plan, const GemmTile *whole) {
    const Gemm *gemm = plan->gemm;
    clear_tile(k, plan, whole);
    GemmTile tile = open_depth(k, plan, whole);
    const KExpr *i = loop(k, KL_SERIAL, tile.rows, plan->block_m, "i");
    const KExpr *m = k_add(k, tile.m0, i);
    const KLocal *line_a = fetch_dot_line(k, plan, &tile, &gemm->a, m);
    const KExpr *j = loop(k, KL_SERIAL, tile.columns, plan->block_n, "j");
    const KExpr *n = k_add(k, tile.n0, j);
    const KLocal *line_b = fetch_dot_line(k, plan, &tile, &gemm->b, n);
    const KVar *sum = kb_var(k, gemm->dtype, "sum");
    kb_set(k, sum, k_constant(k, gemm->dtype, 0));
    const KExpr *d = loop(k, KL_VECTOR, tile.depth, plan->block_k, "d");
    const KExpr *depth = k_add(k, tile.depth0, d);
    const KExpr *x =
        line_a ? k_local(k, line_a, d) : side_value(k, gemm, &gemm->a, tile.batch, m, depth);
    const KExpr *y =
        line_b ? k_local(k, line_b, d) : side_value(k, gemm, &gemm->b, tile.batch, n, depth);
    const KExpr *term = k_binary(k, OP_mul, x, y);
    kb_set(k, sum, k_binary(k, OP_add, k_get(k, sum), term));
    kb_loop_end(k);
    const KExpr *at = c_at(k, plan, i, j);
    const KExpr *more = k_get(k, sum);
    const KExpr *total = k_binary(k, OP_add, k_local(k, whole->c, at), more);
    kb_local_store(k, whole->c, at, total);
    kb_loop_end(k);
    kb_loop_end(k);
    kb_loop_end(k);
}

void gemm_tile(KBuild *k, const GemmPlan *plan, const GemmTile *tile) {
    switch (plan->kind) {
    case GEMM_PACKED:
        tile_packed(k, plan, tile);
        break;
    case GEMM_TINY:
        tile_tiny(k, plan, tile);
        break;
    case GEMM_ROWS:
        tile_rows(k, plan, tile);
        break;
    case GEMM_DOTS:
        tile_dots(k, plan, tile);
        break;
    }
}
