/* The shape of a contraction tile on one machine: FMA or matrix fragments, each thread's part, the
 * warps of a block. */
#include "codegen/cuda/team/team.h"
#include <stdlib.h>

enum { MOST_MICRO = 8 };

static int32_t group_of(int32_t n, DType dtype) {
    int32_t most = 16 / team_memory_bytes(dtype);
    most = most > 4 ? 4 : most;
    return n < most ? n : most;
}

Micro team_micro(const Text *t, const TileShape *shape) {
    Micro best = {.fits = false};
    for (int32_t rows = 1; rows <= MOST_MICRO; rows *= 2) {
        for (int32_t columns = 1; columns <= MOST_MICRO; columns *= 2) {
            if (shape->rows % rows != 0 || shape->columns % columns != 0) {
                continue;
            }
            int32_t count = shape->rows / rows * (shape->columns / columns);
            bool better =
                count > best.count ||
                (count == best.count && abs(rows - columns) < abs(best.rows - best.columns));
            if (count <= t->threads && better) {
                best = (Micro){.rows = rows, .columns = columns, .count = count, .fits = true};
            }
        }
    }
    best.across = best.fits ? shape->columns / best.columns : 1;
    best.row_group = group_of(best.rows, shape->operand);
    best.column_group = group_of(best.columns, shape->operand);
    return best;
}

Warps team_warps(const Text *t, const TileShape *shape) {
    Warps best = {.fits = false};
    int32_t high = shape->rows / FRAGMENT, wide = shape->columns / FRAGMENT;
    for (int32_t down = 1; down <= t->warps && down <= high; down++) {
        for (int32_t across = 1; down * across <= t->warps && across <= wide; across++) {
            if (high % down != 0 || wide % across != 0) {
                continue;
            }
            Warps now = {down, across, high / down, wide / across, true};
            int32_t used = down * across, most = best.down * best.across;
            if (used > most ||
                (used == most && abs(now.rows - now.columns) < abs(best.rows - best.columns))) {
                best = now;
            }
        }
    }
    best.fits = best.fits && best.rows * best.columns <= 8;
    return best;
}

TileShape team_tile_shape(const Text *t, const KStmt *stmt) {
    const KContract *contract = &stmt->as.contract;
    TileShape shape = {.operand = contract->a_local->dtype, .sum = contract->c_local->dtype};
    shape.rows = machine_tile_rows(t->machine, shape.sum);
    shape.columns = machine_tile_columns(t->machine, shape.sum);
    if (contract->depth->kind == KE_INT && contract->depth->as.integer > 0) {
        shape.depth = (int32_t)contract->depth->as.integer;
        bool whole = contract->a_offset->kind == KE_INT && contract->a_offset->as.integer == 0 &&
                     contract->b_offset->kind == KE_INT && contract->b_offset->as.integer == 0 &&
                     contract->a_local->count % shape.depth == 0 &&
                     contract->b_local->count % shape.depth == 0;
        if (whole) { /* the panels are the tile's alone and say how large it is */
            shape.rows = (int32_t)(contract->a_local->count / shape.depth);
            shape.columns = (int32_t)(contract->b_local->count / shape.depth);
        }
    }
    bool half = shape.operand == DT_F16 || shape.operand == DT_BF16;
    bool types = dtype_is_float(shape.sum) &&
                 (shape.operand == shape.sum || (half && shape.sum == DT_F32)) &&
                 contract->b_local->dtype == shape.operand;
    bool in_block = team_info(t, stmt)->team == TEAM_BLOCK;
    shape.is_block = types && in_block && team_micro(t, &shape).fits;
    const LocalInfo *a = &t->locals[contract->a_local->id], *b = &t->locals[contract->b_local->id];
    int32_t needed = shape.operand == DT_F16 ? 75 : 80;
    bool tf32 = contract->tf32 && shape.operand == DT_F32 && shape.sum == DT_F32 &&
                contract->a_deep && contract->b_deep;
    int32_t a_width = contract->a_deep ? shape.depth : shape.rows;
    int32_t b_width = contract->b_deep ? shape.depth : shape.columns;
    bool starts = contract->a_offset->kind == KE_INT && contract->a_offset->as.integer == 0 &&
                  contract->b_offset->kind == KE_INT && contract->b_offset->as.integer == 0;
    shape.by_mma = shape.is_block && starts && (half || tf32) && a->width == a_width &&
                   b->width == b_width && shape.rows % FRAGMENT == 0 &&
                   shape.columns % FRAGMENT == 0 && is_power_of_two(shape.depth) &&
                   shape.depth % FRAGMENT == 0 && t->machine->architecture >= needed &&
                   team_warps(t, &shape).fits;
    return shape;
}
