/* Reductions by columns for machines whose tiles are run by a block of threads: neighbouring
 * threads take neighbouring columns, several threads a column where there are many rows; their sums
 * meet in a local array, in a fixed order. Where tiles are few, rows are cut into parts whose
 * results a second kernel combines. */
#include "codegen/lower/build/build_impl.h"
#include "codegen/lower/reduce.h"

static void set_identity(KBuild *k, const Reduce *r, const KVar **accs) {
    for (int32_t i = 0; i < r->n_roots; i++) {
        DType dtype = reduce_root_dtype(r->roots[i]);
        accs[i] = kb_var(k, dtype, "acc");
        kb_set(k, accs[i], reduction_identity(k, r->roots[i]->code, dtype));
    }
}

static void combine(KBuild *k, const Reduce *r, int32_t i, const KVar *acc, const KExpr *value) {
    kb_set(k, acc, reduction_combine(k, r->roots[i]->code, k_get(k, acc), value));
}

typedef struct Tile {
    Type columns; /* their axes */
    int32_t from; /* the first of them */
    const Size *n_columns;
    const KExpr *first, *begin, *end; /* first column; rows of the first reduced piece */
    const KExpr *part;                /* NULL: not staged */
} Tile;

static void store_column(KBuild *k, const Reduce *r, const Tile *tile, const KExpr *column,
                         const KExpr **full, const KVar *const *accs) {
    const KExpr *values[MAX_ROOTS];
    k_unflat(k, tile->columns, column, full + tile->from);
    const KExpr *flat = reduce_kept_flat(k, r, full);
    for (int32_t i = 0; i < r->n_roots; i++) {
        values[i] = kb_let(k, k_get(k, accs[i]), "sum");
        if (tile->part) {
            const Size *n_kept = type_elements(k->context, r->space.kept);
            const KExpr *at = k_add(k, k_scale(k, tile->part, n_kept), flat);
            kb_store(k, kb_temp_buffer(k, r->temps[i], true), at, values[i]);
        }
    }
    if (!tile->part) {
        reduce_finish_element(k, r, flat, values);
    }
}

/* Sums over rows [begin, end) of one column. */
static void sum_rows(KBuild *k, const Reduce *r, const Tile *tile, SpacePieces *reduced,
                     const ReduceSpace *outer, const KExpr **full, const KVar *const *accs,
                     const KExpr *begin, const KExpr *end) {
    kb_piece_loop(k, KL_SERIAL, &reduced->pieces[0], begin, end);
    Nest inner = nest_open(k, reduced->pieces + 1, reduced->n_pieces - 1, KL_SERIAL);
    space_index(k, outer, reduced, full);
    for (int32_t i = 0; i < r->n_roots; i++) {
        combine(k, r, i, accs[i], elemental_value(k, r->roots[i]->operands[0], full));
    }
    nest_close(k, &inner);
    kb_loop_end(k);
    (void)tile;
}

/* A thread for each column of the tile, as far as there are any. */
static const KExpr *open_tile_columns(KBuild *k, const Reduce *r, const Tile *tile) {
    const Size *width = size_const(k->context, r->width);
    const KExpr *columns = k_sub(k, k_size(k, tile->n_columns), tile->first);
    columns = kb_let(k, k_min(k, k_int(k, r->width), columns), "columns");
    return kb_loop(k, KL_INDEPENDENT, k_int(k, 0), columns, width, "j");
}

/* Every thread a part of a column, then a thread for each column. */
static void sum_groups(KBuild *k, const Reduce *r, const Tile *tile, SpacePieces *reduced,
                       const ReduceSpace *outer, const KExpr **full) {
    const KLocal *locals[MAX_ROOTS];
    const KVar *accs[MAX_ROOTS];
    for (int32_t i = 0; i < r->n_roots; i++) {
        locals[i] = kb_local(k, reduce_root_dtype(r->roots[i]), r->width * r->groups, "sums");
    }
    const Size *count = size_const(k->context, r->width * r->groups);
    const KExpr *q = kb_loop(k, KL_INDEPENDENT, k_int(k, 0), k_size(k, count), count, "q");
    const KExpr *group, *column, *last = k_sub(k, k_size(k, tile->n_columns), k_int(k, 1));
    k_divmod(k, q, size_const(k->context, r->width), &group, &column);
    column = kb_let(k, k_min(k, k_add(k, tile->first, column), last), "column");
    k_unflat(k, tile->columns, column, full + tile->from);
    /* Each group of threads a run of rows. */
    const KExpr *rows = k_sub(k, tile->end, tile->begin), *each, *unused;
    k_divmod(k, k_add(k, rows, k_int(k, r->groups - 1)), size_const(k->context, r->groups), &each,
             &unused);
    each = kb_let(k, each, "each");
    const KExpr *begin = k_add(k, tile->begin, k_binary(k, OP_mul, group, each));
    begin = kb_let(k, k_min(k, begin, tile->end), "begin");
    const KExpr *end = kb_let(k, k_min(k, k_add(k, begin, each), tile->end), "end");
    set_identity(k, r, accs);
    sum_rows(k, r, tile, reduced, outer, full, accs, begin, end);
    for (int32_t i = 0; i < r->n_roots; i++) {
        kb_local_store(k, locals[i], q, k_get(k, accs[i]));
    }
    kb_loop_end(k);

    const KExpr *j = open_tile_columns(k, r, tile);
    set_identity(k, r, accs);
    const Size *groups = size_const(k->context, r->groups);
    const KExpr *g = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, groups), groups, "g");
    for (int32_t i = 0; i < r->n_roots; i++) {
        const KExpr *at = k_add(k, k_scale_int(k, g, r->width), j);
        combine(k, r, i, accs[i], k_local(k, locals[i], at));
    }
    kb_loop_end(k);
    store_column(k, r, tile, k_add(k, tile->first, j), full, accs);
    kb_loop_end(k);
}

static void sum_columns(KBuild *k, const Reduce *r, const Tile *tile, SpacePieces *reduced,
                        const ReduceSpace *outer, const KExpr **full) {
    const KVar *accs[MAX_ROOTS];
    const KExpr *j = open_tile_columns(k, r, tile);
    const KExpr *column = k_add(k, tile->first, j);
    k_unflat(k, tile->columns, column, full + tile->from);
    set_identity(k, r, accs);
    sum_rows(k, r, tile, reduced, outer, full, accs, tile->begin, tile->end);
    store_column(k, r, tile, column, full, accs);
    kb_loop_end(k);
}

static void build_columns(KBuild *k, void *user) {
    Reduce *r = user;
    const ReduceSpace *space = &r->space;
    int32_t from = reduce_column_axes(space), n_open = 1;
    ReduceSpace outer = *space; /* without the columns */
    outer.full.rank = from;
    SpacePieces kept, reduced;
    const KExpr *full[TYPE_MAX_RANK];
    Tile tile = {.from = from};
    tile.columns = (Type){space->full.dtype, space->full.rank - from, space->full.dims + from};
    tile.n_columns = type_elements(k->context, tile.columns);
    space_pieces(k, &outer, false, KEPT_KEY, &kept);
    space_pieces(k, &outer, true, REDUCED_KEY, &reduced);
    Nest rows = nest_open(k, kept.pieces, kept.n_pieces, KL_GRID);
    space_index(k, &outer, &kept, full);
    const Size *width = size_const(k->context, r->width);
    const KExpr *number = kb_grid(k, size_cdiv(k->context, tile.n_columns, width), "columns");
    tile.first = k_scale_int(k, number, r->width);
    const Size *extent = reduced.pieces[0].extent;
    double inner = 1; /* rows for each place of the first piece */
    for (int32_t i = 1; i < reduced.n_pieces; i++) {
        inner *= (double)size_nominal(reduced.pieces[i].extent, UNSET_SIZE);
    }
    int64_t chunk = (int64_t)((double)r->rows / (inner > 1 ? inner : 1));
    chunk = chunk > 1 ? chunk : 1;
    tile.begin = k_int(k, 0);
    tile.end = k_size(k, extent);
    if (r->staged) {
        const Size *parts = size_cdiv(k->context, extent, size_const(k->context, chunk));
        tile.part = kb_grid(k, parts, "part");
        n_open++;
        tile.begin = k_scale_int(k, tile.part, chunk);
        tile.end = k_min(k, k_add(k, tile.begin, k_int(k, chunk)), tile.end);
        tile.end = kb_let(k, tile.end, "end");
        reduce_set_parts(k, r, parts);
    }
    if (r->groups > 1) {
        sum_groups(k, r, &tile, &reduced, &outer, full);
    } else {
        sum_columns(k, r, &tile, &reduced, &outer, full);
    }
    for (; n_open > 0; n_open--) {
        kb_loop_end(k);
    }
    nest_close(k, &rows);
}

/* Partial results [part, kept] to results, a thread each. */
static void build_join(KBuild *k, void *user) {
    Reduce *r = user;
    LoopPiece pieces[MAX_PIECES];
    const KVar *accs[MAX_ROOTS];
    const KExpr *values[MAX_ROOTS];
    const Size *n_kept = type_elements(k->context, r->space.kept);
    int32_t count = kb_pieces(k, KEPT_KEY, n_kept, pieces);
    Nest nest = nest_open_tiled(k, pieces, count, kb_machine(k)->lanes * 2);
    const KExpr *flat = kb_pieces_flat(k, pieces, count);
    set_identity(k, r, accs);
    const KExpr *part = kb_loop(k, KL_SERIAL, k_int(k, 0), k_size(k, r->parts), r->parts, "part");
    for (int32_t i = 0; i < r->n_roots; i++) {
        const KExpr *at = k_add(k, k_scale(k, part, n_kept), flat);
        combine(k, r, i, accs[i], k_load(k, kb_temp_buffer(k, r->temps[i], false), at));
    }
    kb_loop_end(k);
    for (int32_t i = 0; i < r->n_roots; i++) {
        values[i] = kb_let(k, k_get(k, accs[i]), "sum");
    }
    reduce_finish_element(k, r, flat, values);
    nest_close(k, &nest);
}

void reduce_columns_block(KBuild *k, Reduce *r) {
    const ReduceSpace *space = &r->space;
    const Machine *machine = kb_machine(k);
    double columns = 1, first = 0;
    for (int32_t i = 0; i < space->full.rank; i++) {
        double n = (double)size_nominal(space->full.dims[i], UNSET_SIZE);
        columns *= i >= reduce_column_axes(space) ? n : 1;
        if (space->is_reduced[i] && first == 0) {
            first = n;
            for (int32_t j = i + 1; j < space->full.rank && space->is_reduced[j]; j++) {
                first *= (double)size_nominal(space->full.dims[j], UNSET_SIZE);
            }
        }
    }
    r->width = 1;
    while (r->width < machine->block.column_width && (double)r->width < columns) {
        r->width *= 2;
    }
    r->groups = machine->threads / r->width;
    while (r->groups > 1 && (double)r->groups * machine->block.column_rows > first) {
        r->groups /= 2;
    }
    while (r->width * r->groups < machine->threads && (double)r->width < columns) {
        r->width *= 2;
    }
    double tiles = space->n_kept / columns * ((columns + (double)r->width - 1) / (double)r->width);
    double rows = first * tiles / (2.0 * machine->processors);
    double least = (double)(r->groups * machine->block.column_rows);
    r->rows = (int64_t)(rows > least ? rows : least);
    r->staged = tiles_are_few(k, tiles) &&
                columns * space->n_reduced >= machine->block.column_work &&
                first >= 2 * (double)r->rows;
    if (r->staged) {
        reduce_make_temps(k, r);
    }
    kb_kernel(k, "columns", build_columns, r);
    if (r->staged) {
        kb_kernel(k, "columns_join", build_join, r);
    }
}
