/* Inside lower/: one function per form of fusion, and the loop nests they share. */
#ifndef DLC_CODEGEN_LOWER_LOWER_H
#define DLC_CODEGEN_LOWER_LOWER_H

#include "codegen/lower/elemental.h"

/* Each appends the fusion's kernels. */
void lower_loop(KBuild *k);
void lower_reduce(KBuild *k); /* also argreduce */
void lower_row(KBuild *k);
void lower_contract(KBuild *k); /* contract.c */
void lower_conv(KBuild *k);     /* conv.c */
void lower_scatter(KBuild *k);
void lower_sort(KBuild *k);
void lower_prefix(KBuild *k);
void lower_update(KBuild *k);
void lower_attention(KBuild *k);

/* base.c: the kernel that makes `result` start as `x`: a copy, skipped when they share a buffer, or
 * a fill. */
void lower_base(KBuild *k, const Value *x, int32_t result);
int32_t lower_root_result(KBuild *k, const Value *v); /* which result `v` is; -1: none */

/* -- space.c: loop nests over pieces */

typedef struct Nest {
    int32_t n_open;
} Nest;

/* Opens loops over all pieces, outermost first: leading ones as grid, one cut into chunks so that a
 * tile has about `target` elements, the rest serial, the last a vector loop. A result below one
 * target is a single chunk. The first `n_open` scopes are closed by nest_close. */
Nest nest_open_tiled(KBuild *k, LoopPiece *pieces, int32_t count, int64_t target);
/* Whole pieces: serial loops, the last one of kind `last`; all of them of that kind if it is
 * KL_INDEPENDENT or KL_GRID. */
Nest nest_open(KBuild *k, LoopPiece *pieces, int32_t count, KLoopKind last);
/* Loops of a reduction over [begin, end) of the first piece and all of the others, the last one a
 * vector loop. For a block of threads they are one loop where the others' extents are constant, so
 * that its threads combine their sums once. */
Nest nest_open_reducing(KBuild *k, LoopPiece *pieces, int32_t count, const KExpr *begin,
                        const KExpr *end);
void nest_close(KBuild *k, Nest *nest);
/* Elements of a tile for `bytes` of traffic per element: a power of two, at least 64. Of a block: a
 * few for each thread, fewer where `total` elements would not give every processor its tiles. */
int64_t tile_elements(KBuild *k, const Size *total, double bytes);
/* Whether `tiles` tiles leave processors of the machine idle. */
bool tiles_are_few(KBuild *k, double tiles);
/* Bytes of all operands and results. */
double fusion_bytes(KBuild *k, int64_t unset);
/* Bytes read and written per element of the largest result, roughly. */
double fusion_traffic(KBuild *k);

/* -- The space of a reduction: the operand's axes as kept and reduced runs. */
typedef struct ReduceSpace {
    Type full; /* the operand's type */
    Type kept; /* without the reduced axes */
    bool is_reduced[TYPE_MAX_RANK];
    double n_kept, n_reduced; /* nominal */
    double n_long;            /* n_reduced with UNSET_LONG */
} ReduceSpace;
/* The space of the op (a reduction, argmax or argmin). */
ReduceSpace reduce_space(KBuild *k, const Op *op);
/* First reduction in the body that needs no other one; NULL: none. */
const Op *reduce_anchor(KBuild *k);
/* Whether result r ranges over the full space (else over the kept one). */
bool reduce_result_is_full(KBuild *k, const ReduceSpace *space, int32_t result);

/* Pieces over all runs of kept (reduced = false) or reduced axes. `runs` remembers how to get
 * indices. */
typedef struct SpacePieces {
    LoopPiece pieces[MAX_PIECES];
    int32_t n_pieces;
    int32_t n_runs;
    struct {
        int32_t from, to;     /* axes of the full type */
        int32_t first, count; /* pieces */
    } runs[TYPE_MAX_RANK];
} SpacePieces;
void space_pieces(KBuild *k, const ReduceSpace *space, bool reduced, int64_t key, SpacePieces *out);
/* Sets the entries of out_full that belong to these runs, from the pieces' variables. */
void space_index(KBuild *k, const ReduceSpace *space, const SpacePieces *pieces,
                 const KExpr **out_full);
/* The kept entries of a full index. */
void space_kept_index(const ReduceSpace *space, const KExpr *const *full, const KExpr **out);
/* Stores the results of one sort (full or kept) at the given index of that space: all values first.
 */
void space_store(KBuild *k, const ReduceSpace *space, bool full, const KExpr *const *index);

#endif
