/* Form "row": reductions that share their kept axes, each followed by maps. A tile does some rows,
 * one after the other: the reductions' loops (placed by elemental_value, scalars in registers),
 * then the loop that writes the results that range over the whole row. */
#include "codegen/lower/reduce.h"

typedef struct RowBuild {
    ReduceSpace space;
    int64_t rows; /* of a tile */
    bool any_full;
    bool in_threads; /* of a block: each thread its own rows */
} RowBuild;

static void build_row(KBuild *k, void *user) {
    RowBuild *build = user;
    const ReduceSpace *space = &build->space;
    SpacePieces kept, reduced;
    const KExpr *full[TYPE_MAX_RANK], *kept_index[TYPE_MAX_RANK];
    space_pieces(k, space, false, KEPT_KEY, &kept);
    Nest rows = nest_open_tiled(k, kept.pieces, kept.n_pieces, build->rows);
    space_index(k, space, &kept, full);
    space_kept_index(space, full, kept_index);
    space_store(k, space, false, kept_index);
    if (build->any_full) {
        space_pieces(k, space, true, REDUCED_KEY, &reduced);
        Nest row = nest_open(k, reduced.pieces, reduced.n_pieces,
                             build->in_threads ? KL_SERIAL : kb_each(k, KL_VECTOR));
        space_index(k, space, &reduced, full);
        space_store(k, space, true, full);
        nest_close(k, &row);
    }
    nest_close(k, &rows);
}

/* Rows of a block's tile. Short rows, and rows whose neighbours stand side by side in memory, are a
 * thread's each; others a group of lanes' each; few or long ones the whole block's. */
static int64_t block_rows(KBuild *k, RowBuild *build) {
    const Machine *machine = kb_machine(k);
    const ReduceSpace *space = &build->space;
    int32_t last = space->full.rank - 1;
    while (last > 0 && size_is_one(space->full.dims[last])) {
        last--;
    }
    bool strided = last >= 0 && !space->is_reduced[last];
    build->in_threads = strided || space->n_reduced <= machine->lanes;
    if (build->in_threads) {
        int64_t rows = machine->threads;
        while (rows > machine->lanes && tiles_are_few(k, space->n_kept / (double)rows)) {
            rows /= 2;
        }
        return rows;
    }
    int64_t groups = machine->threads / machine->lanes;
    bool wide = space->n_reduced >= machine->block.long_row ||
                (space->n_reduced >= machine->threads * 2.0 &&
                 tiles_are_few(k, space->n_kept / (double)groups));
    return wide ? 1 : groups;
}

void lower_row(KBuild *k) {
    const Op *anchor = reduce_anchor(k);
    if (!anchor) {
        lower_loop(k);
        return;
    }
    RowBuild build = {.space = reduce_space(k, anchor)};
    for (int32_t r = 0; r < kb_fusion(k)->n_results; r++) {
        build.any_full = build.any_full || reduce_result_is_full(k, &build.space, r);
    }
    double length = build.space.n_reduced > 1 ? build.space.n_reduced : 1;
    double rows = (double)kb_machine(k)->l1_bytes / (8 * length);
    build.rows = rows < 1 ? 1 : (int64_t)rows;
    if (kb_is_block(k)) {
        if (lower_row_block(k, &build.space)) {
            return;
        }
        build.rows = block_rows(k, &build);
        kb_reduce_serially(k, build.in_threads);
    }
    kb_kernel(k, "row", build_row, &build);
}
