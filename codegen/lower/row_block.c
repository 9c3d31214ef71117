/* Form "row" for machines whose tiles are run by a block of threads, where rows are so few and long
 * that a block a row would leave most of the machine idle (batch norm): the reductions in stages,
 * each as partial results of chunks and a kernel that combines them, those of one stage together;
 * then the results of a row each, and the results that range over all elements as one map. */
#include "codegen/lower/build/build_impl.h"
#include "codegen/lower/elemental_impl.h"
#include "codegen/lower/reduce.h"

enum { SEEN_LIMIT = 512 };
/* Below, stages cost more than they gain: elements of a row, bytes of all. */
typedef struct Seen {
    const Value *values[SEEN_LIMIT];
    int32_t count;
} Seen;

/* Whether v waits for a reduction that is not done; true, too, where that is too much to tell. */
static bool waits(const Reduce *r, Seen *seen, const Value *v) {
    for (int32_t i = 0; i < seen->count; i++) {
        if (seen->values[i] == v) {
            return false;
        }
    }
    if (!v->op) {
        return false;
    }
    if (seen->count == SEEN_LIMIT) {
        return true;
    }
    seen->values[seen->count++] = v;
    for (int32_t i = 0; i < r->n_done; i++) {
        if (r->done[i] == v->op) {
            return false;
        }
    }
    if (op_info(v->op->code)->kind == KIND_REDUCTION) {
        return true;
    }
    for (int32_t i = 0; i < v->op->n_operands; i++) {
        if (waits(r, seen, v->op->operands[i])) {
            return true;
        }
    }
    return false;
}

static bool is_done(const Reduce *r, const Op *op) {
    for (int32_t i = 0; i < r->n_done; i++) {
        if (r->done[i] == op) {
            return true;
        }
    }
    return false;
}

/* The reductions that may start now. */
static void next_stage(KBuild *k, Reduce *r) {
    r->n_roots = 0;
    BLOCK_EACH_OP (k->body, op) {
        Seen seen = {0};
        if (op_info(op->code)->kind == KIND_REDUCTION && !is_done(r, op) &&
            r->n_done + r->n_roots < MAX_ROOTS && !waits(r, &seen, op->operands[0])) {
            r->roots[r->n_roots++] = op;
        }
    }
}

static void build_kept(KBuild *k, void *user) {
    const Reduce *r = user;
    const ReduceSpace *space = &r->space;
    SpacePieces kept;
    const KExpr *full[TYPE_MAX_RANK], *index[TYPE_MAX_RANK];
    space_pieces(k, space, false, KEPT_KEY, &kept);
    Nest nest = nest_open_tiled(k, kept.pieces, kept.n_pieces, 1); /* rows are few */
    space_index(k, space, &kept, full);
    reduce_bind_done(k, r, full);
    space_kept_index(space, full, index);
    space_store(k, space, false, index);
    nest_close(k, &nest);
}

static void build_full(KBuild *k, void *user) {
    const Reduce *r = user;
    const ReduceSpace *space = &r->space;
    LoopPiece pieces[MAX_PIECES];
    const KExpr *full[TYPE_MAX_RANK];
    const Size *total = type_elements(k->context, space->full);
    int32_t count = kb_pieces(k, 1, total, pieces);
    int64_t target = tile_elements(k, total, fusion_traffic(k));
    Nest nest = nest_open_tiled(k, pieces, count, target);
    k_unflat(k, space->full, kb_pieces_flat(k, pieces, count), full);
    reduce_bind_done(k, r, full);
    space_store(k, space, true, full);
    nest_close(k, &nest);
}

/* Whether every reduction is of the one space, and nothing else holds a loop. */
static bool fits(KBuild *k, const ReduceSpace *space) {
    int32_t count = 0;
    BLOCK_EACH_OP (k->body, op) {
        OpKind kind = op_info(op->code)->kind;
        count += kind == KIND_REDUCTION;
        if ((kind == KIND_REDUCTION && !reduce_same_space(k, space, op)) ||
            kind == KIND_CONTRACTION || kind == KIND_CONVOLUTION || elemental_fold_loops(op)) {
            return false;
        }
    }
    return count <= MAX_ROOTS;
}

bool lower_row_block(KBuild *k, const ReduceSpace *space) {
    bool any[2] = {false, false};
    const BlockShapes *shapes = &kb_machine(k)->block;
    if (!tiles_are_few(k, space->n_kept) || space->n_long < shapes->staged_row ||
        fusion_bytes(k, UNSET_LONG) < shapes->staged_bytes || !fits(k, space)) {
        return false;
    }
    Reduce r = {.space = *space, .values_only = true, .chunk = reduce_block_chunk(k, space)};
    const Size *n_kept = type_elements(k->context, space->kept);
    for (next_stage(k, &r); r.n_roots > 0; next_stage(k, &r)) {
        reduce_make_temps(k, &r);
        for (int32_t i = 0; i < r.n_roots; i++) {
            r.done_temps[r.n_done + i] = kb_temp(k, reduce_root_dtype(r.roots[i]), n_kept);
        }
        kb_kernel(k, "row_chunks", reduce_build_chunks, &r);
        kb_kernel(k, "row_join", reduce_build_join, &r);
        for (int32_t i = 0; i < r.n_roots; i++) {
            r.done[r.n_done++] = r.roots[i];
        }
    }
    for (int32_t i = 0; i < kb_fusion(k)->n_results; i++) {
        any[reduce_result_is_full(k, space, i)] = true;
    }
    if (any[0]) {
        kb_kernel(k, "row_kept", build_kept, &r);
    }
    if (any[1]) {
        kb_kernel(k, "row_map", build_full, &r);
    }
    return true;
}
