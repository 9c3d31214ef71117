/* Form "row": reductions that share their kept axes, each followed by maps. A tile does some rows,
 * one after the other: the reductions' loops (placed by elemental_value, scalars in registers),
 * then the loop that writes the results that range over the whole row. */
#include "codegen/lower/lower.h"

typedef struct RowBuild {
    ReduceSpace space;
    int64_t rows; /* of a tile */
    bool any_full;
} RowBuild;

enum { KEPT_KEY = 1 << 20, REDUCED_KEY = 1 << 21 };

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
        Nest row = nest_open(k, reduced.pieces, reduced.n_pieces, KL_VECTOR);
        space_index(k, space, &reduced, full);
        space_store(k, space, true, full);
        nest_close(k, &row);
    }
    nest_close(k, &rows);
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
    double rows = TILE_BYTES / (8 * length);
    build.rows = rows < 1 ? 1 : (int64_t)rows;
    kb_kernel(k, "row", build_row, &build);
}
