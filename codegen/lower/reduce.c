/* Form "reduce": reductions over one space with maps before and after. Three shapes of kernel: row
 * by row when rows are many or short; in chunks with a second kernel over the partial results when
 * they are few and long; by columns when the last axis is kept, a tile of columns accumulating in a
 * local array. Chunks are constants of the plan, so the order of summation never depends on
 * threads. */
#include "codegen/lower/reduce.h"
#include "codegen/lower/build/build_impl.h"

static int64_t column_tile(KBuild *k, const Size *columns) {
    int64_t n, tile = kb_machine(k)->column_tile;
    return size_is_const(columns, &n) && n <= 2 * tile ? (n < 1 ? 1 : n) : tile;
}

typedef struct Columns {
    const Reduce *r;
    LoopPiece pieces[MAX_PIECES]; /* of the columns; the last one is tiled */
    int32_t n_pieces;
    const KExpr *begin, *end;
    bool is_join; /* of partial results */
    const KLocal *locals[MAX_ROOTS];
    const KLocal *totals[MAX_ROOTS]; /* of blocks of rows, in f64; NULL: the local is the whole */
} Columns;

static DType column_dtype(const Columns *c, int32_t i) {
    const Op *root = c->r->roots[i];
    return c->is_join ? reduce_join_dtype(root) : reduce_root_dtype(root);
}

/* Opens the loop over the tile's columns and returns the place in the local arrays. */
static const KExpr *open_columns(KBuild *k, Columns *c) {
    LoopPiece *last = &c->pieces[c->n_pieces - 1];
    kb_piece_loop(k, KL_VECTOR, last, c->begin, c->end);
    return k_sub(k, last->var, c->begin);
}

static void tile_columns(KBuild *k, Columns *c, int32_t *n_open) {
    LoopPiece *last = &c->pieces[c->n_pieces - 1];
    for (int32_t i = 0; i + 1 < c->n_pieces; i++) {
        kb_piece_loop(k, KL_GRID, &c->pieces[i], k_int(k, 0), k_size(k, c->pieces[i].extent));
        (*n_open)++;
    }
    int64_t width = column_tile(k, last->extent);
    const Size *tiles = size_cdiv(k->context, last->extent, size_const(k->context, width));
    const KExpr *tile = kb_grid(k, tiles, "columns");
    (*n_open)++;
    c->begin = k_scale_int(k, tile, width);
    c->end = k_min(k, k_add(k, c->begin, k_int(k, width)), k_size(k, last->extent));
    for (int32_t i = 0; i < c->r->n_roots; i++) {
        c->locals[i] = kb_local(k, column_dtype(c, i), width, "sums");
    }
}

static void clear_columns(KBuild *k, Columns *c) {
    const KExpr *place = open_columns(k, c);
    for (int32_t i = 0; i < c->r->n_roots; i++) {
        const Op *root = c->r->roots[i];
        kb_local_store(k, c->locals[i], place,
                       reduction_identity(k, root->code, column_dtype(c, i)));
        if (c->totals[i]) {
            kb_local_store(k, c->totals[i], place, k_constant(k, DT_F64, 0));
        }
    }
    kb_loop_end(k);
}

static void add_column(KBuild *k, Columns *c, int32_t i, const KExpr *place, const KExpr *value) {
    const KExpr *sum = k_local(k, c->locals[i], place);
    sum = reduction_combine(k, c->r->roots[i]->code, sum, k_cast(k, value, sum->dtype));
    kb_local_store(k, c->locals[i], place, sum);
}

static const KExpr *column_value(KBuild *k, const Columns *c, int32_t i, const KExpr *place) {
    const KExpr *value = k_local(k, c->totals[i] ? c->totals[i] : c->locals[i], place);
    return k_cast(k, value, reduce_root_dtype(c->r->roots[i]));
}

/* Rows of the first reduced piece that make about `elements` with the inner pieces. */
static int64_t rows_of(const SpacePieces *reduced, double elements) {
    for (int32_t i = 1; i < reduced->n_pieces; i++) {
        double extent = (double)size_nominal(reduced->pieces[i].extent, UNSET_SIZE);
        elements /= extent > 1 ? extent : 1;
    }
    return elements < 1 ? 1 : (int64_t)elements;
}

/* Columns that may be long are summed in blocks of rows, as elemental_reduce does with rows: opens
 * the loop over them and says what one is to do. */
static void open_column_blocks(KBuild *k, Columns *c, const SpacePieces *reduced,
                               const KExpr **begin, const KExpr **end) {
    const Size *count = size_const(k->context, 1);
    bool any = false;
    int64_t width = column_tile(k, c->pieces[c->n_pieces - 1].extent);
    for (int32_t i = 0; i < reduced->n_pieces; i++) {
        count = size_mul(k->context, count, reduced->pieces[i].extent);
    }
    for (int32_t i = 0; i < c->r->n_roots && !c->r->staged; i++) {
        if (sum_may_be_long(c->r->roots[i], count)) {
            c->totals[i] = kb_local(k, DT_F64, width, "totals");
            any = true;
        }
    }
    clear_columns(k, c);
    const Size *extent = reduced->pieces[0].extent;
    int64_t rows = rows_of(reduced, SUM_BLOCK / 8); /* one chain of additions a column */
    const Size *blocks = size_cdiv(k->context, extent, size_const(k->context, rows));
    if (any) {
        const KExpr *block = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, blocks), blocks, "block");
        *begin = k_scale_int(k, block, rows);
        *end = k_min(k, k_add(k, *begin, k_int(k, rows)), *end);
    }
}

/* Adds the block's sums to the totals and closes the loop over blocks, if there is one. */
static void close_column_blocks(KBuild *k, Columns *c) {
    bool any = false;
    for (int32_t i = 0; i < c->r->n_roots; i++) {
        any = any || c->totals[i];
    }
    if (!any) {
        return;
    }
    const KExpr *place = open_columns(k, c);
    for (int32_t i = 0; i < c->r->n_roots; i++) {
        if (c->totals[i]) {
            const KExpr *sum = k_cast(k, k_local(k, c->locals[i], place), DT_F64);
            sum = k_binary(k, OP_add, k_local(k, c->totals[i], place), sum);
            kb_local_store(k, c->totals[i], place, sum);
            kb_local_store(k, c->locals[i], place, k_constant(k, c->locals[i]->dtype, 0));
        }
    }
    kb_loop_end(k);
    kb_loop_end(k);
}

/* Rows of a partial result by columns. */
static int64_t column_chunk(KBuild *k, const Columns *c, const SpacePieces *reduced) {
    double inner = (double)column_tile(k, c->pieces[c->n_pieces - 1].extent) / 2;
    int64_t rows = rows_of(reduced, kb_machine(k)->worker.sum_chunk / (inner < 1 ? 1 : inner));
    return rows < 8 ? 8 : rows;
}

/* What the columns came to: partial result `part`, or the results themselves. `full` has the index
 * in the axes before `from`, and gets that in the columns. */
static void store_columns(KBuild *k, Columns *c, Type columns, const KExpr **full, int32_t from,
                          const KExpr *part) {
    const Reduce *r = c->r;
    const KExpr *place = open_columns(k, c);
    k_unflat(k, columns, kb_pieces_flat(k, c->pieces, c->n_pieces), full + from);
    const KExpr *flat = reduce_kept_flat(k, r, full), *values[MAX_ROOTS];
    for (int32_t i = 0; i < r->n_roots; i++) {
        values[i] = column_value(k, c, i, place);
        if (r->staged) {
            const Size *n_kept = type_elements(k->context, r->space.kept);
            const KExpr *at = k_add(k, k_scale(k, part, n_kept), flat);
            kb_store(k, kb_temp_buffer(k, r->temps[i], true), at, values[i]);
        }
    }
    if (!r->staged) {
        reduce_finish_element(k, r, flat, values);
    }
    kb_loop_end(k);
}

static void build_columns(KBuild *k, void *user) {
    Reduce *r = user;
    const ReduceSpace *space = &r->space;
    int32_t from = reduce_column_axes(space), n_open = 0;
    ReduceSpace outer = *space; /* without the columns */
    outer.full.rank = from;
    SpacePieces kept, reduced;
    Columns c = {.r = r};
    const KExpr *full[TYPE_MAX_RANK];
    Type columns = {space->full.dtype, space->full.rank - from, space->full.dims + from};
    const Size *n_columns = type_elements(k->context, columns);
    space_pieces(k, &outer, false, KEPT_KEY, &kept);
    space_pieces(k, &outer, true, REDUCED_KEY, &reduced);
    c.n_pieces = kb_pieces(k, KEPT_KEY + 999, n_columns, c.pieces);
    Nest rows = nest_open(k, kept.pieces, kept.n_pieces, KL_GRID);
    space_index(k, &outer, &kept, full);
    tile_columns(k, &c, &n_open);

    LoopPiece *first = &reduced.pieces[0];
    const KExpr *begin = k_int(k, 0), *end = k_size(k, first->extent), *part = NULL;
    if (r->staged) {
        int64_t chunk = column_chunk(k, &c, &reduced);
        const Size *parts = size_cdiv(k->context, first->extent, size_const(k->context, chunk));
        part = kb_grid(k, parts, "chunk");
        n_open++;
        begin = k_scale_int(k, part, chunk);
        end = k_min(k, k_add(k, begin, k_int(k, chunk)), end);
        reduce_set_parts(k, r, parts);
    }
    open_column_blocks(k, &c, &reduced, &begin, &end);
    kb_piece_loop(k, KL_SERIAL, first, begin, end);
    Nest inner = nest_open(k, first + 1, reduced.n_pieces - 1, KL_SERIAL);
    space_index(k, &outer, &reduced, full);
    const KExpr *place = open_columns(k, &c);
    k_unflat(k, columns, kb_pieces_flat(k, c.pieces, c.n_pieces), full + from);
    for (int32_t i = 0; i < r->n_roots; i++) {
        add_column(k, &c, i, place, elemental_value(k, r->roots[i]->operands[0], full));
    }
    kb_loop_end(k);
    nest_close(k, &inner);
    kb_loop_end(k);
    close_column_blocks(k, &c);

    store_columns(k, &c, columns, full, from, part);
    for (; n_open > 0; n_open--) {
        kb_loop_end(k);
    }
    nest_close(k, &rows);
}

/* Partial results [part, kept] to results: again by columns. */
static void build_columns_join(KBuild *k, void *user) {
    Reduce *r = user;
    int32_t n_open = 0;
    Columns c = {.r = r, .is_join = true};
    const Size *n_kept = type_elements(k->context, r->space.kept);
    c.n_pieces = kb_pieces(k, KEPT_KEY, n_kept, c.pieces);
    tile_columns(k, &c, &n_open);
    clear_columns(k, &c);
    const KExpr *part = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, r->parts), r->parts, "part");
    const KExpr *place = open_columns(k, &c);
    const KExpr *flat = kb_pieces_flat(k, c.pieces, c.n_pieces);
    const KExpr *at = k_add(k, k_scale(k, part, n_kept), flat);
    for (int32_t i = 0; i < r->n_roots; i++) {
        const KExpr *value = k_load(k, kb_temp_buffer(k, r->temps[i], false), at);
        add_column(k, &c, i, place, value);
    }
    kb_loop_end(k);
    kb_loop_end(k);
    place = open_columns(k, &c);
    const KExpr *values[MAX_ROOTS];
    for (int32_t i = 0; i < r->n_roots; i++) {
        values[i] = column_value(k, &c, i, place);
    }
    reduce_finish_element(k, r, kb_pieces_flat(k, c.pieces, c.n_pieces), values);
    kb_loop_end(k);
    for (; n_open > 0; n_open--) {
        kb_loop_end(k);
    }
}

/* Reductions that others wait for, or of other spaces, stay inner loops: then rows are the only
 * way. */
static bool collect_roots(KBuild *k, Reduce *r) {
    BLOCK_EACH_OP (kb_fusion(k)->blocks[0], op) {
        if (reduce_same_space(k, &r->space, op) && r->n_roots < MAX_ROOTS) {
            r->roots[r->n_roots++] = op;
        }
    }
    for (int32_t i = 0; i < kb_fusion(k)->n_results; i++) {
        if (reduce_result_is_full(k, &r->space, i)) {
            return false;
        }
    }
    return r->n_roots > 0;
}

/* For a block of threads: results a thread each where there is little to sum, else by columns, or
 * few rows in as many chunks as keep the machine busy. */
static void lower_reduce_block(KBuild *k, Reduce *r, double columns) {
    const ReduceSpace *space = &r->space;
    const Machine *machine = kb_machine(k);
    if (columns > 1 && space->n_reduced > machine->lanes) {
        reduce_columns_block(k, r);
        return;
    }
    if (columns > 1 || !tiles_are_few(k, space->n_kept) ||
        space->n_reduced < 4 * machine->block.least_sum_chunk) {
        lower_row(k);
        return;
    }
    r->chunk = reduce_block_chunk(k, space);
    reduce_make_temps(k, r);
    kb_kernel(k, "chunks", reduce_build_chunks, r);
    kb_kernel(k, "chunks_join", reduce_build_join, r);
}

void lower_reduce(KBuild *k) {
    const Op *anchor = reduce_anchor(k);
    if (!anchor) {
        lower_loop(k);
        return;
    }
    const WorkerShapes *shapes = &kb_machine(k)->worker;
    Reduce r = {.space = reduce_space(k, anchor), .chunk = shapes->sum_chunk};
    if (!collect_roots(k, &r)) {
        lower_row(k);
        return;
    }
    const ReduceSpace *space = &r.space;
    int32_t from = reduce_column_axes(space);
    double columns = 1;
    for (int32_t i = from; i < space->full.rank; i++) {
        columns *= (double)size_nominal(space->full.dims[i], UNSET_SIZE);
    }
    if (kb_is_block(k)) {
        lower_reduce_block(k, &r, columns);
    } else if (columns > 1) {
        double tile = kb_machine(k)->column_tile;
        double tiles = space->n_kept / columns * ((columns + tile - 1) / tile);
        r.staged = tiles < shapes->few_tiles && columns * space->n_reduced >= shapes->column_work;
        if (r.staged) {
            reduce_make_temps(k, &r);
        }
        kb_kernel(k, "columns", build_columns, &r);
        if (r.staged) {
            kb_kernel(k, "columns_join", build_columns_join, &r);
        }
    } else if (space->n_kept < shapes->few_rows && space->n_reduced > shapes->long_row) {
        reduce_make_temps(k, &r);
        kb_kernel(k, "chunks", reduce_build_chunks, &r);
        kb_kernel(k, "chunks_join", reduce_build_join, &r);
    } else {
        lower_row(k);
    }
}
