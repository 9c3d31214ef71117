/* Matrix products as tiles: what contractions and convolutions share. The two operands are anything
 * that can be evaluated element by element; they are packed into panels, multiplied by register
 * tiles, and each finished element is handed back once. Blocks depend on sizes only, so that
 * results do not depend on who runs which tile. */
#ifndef DLC_CODEGEN_LOWER_GEMM_H
#define DLC_CODEGEN_LOWER_GEMM_H

#include "codegen/lower/build/build.h"

enum { LEAST_TILE = 32 }; /* the least side of the tile of a block of threads */

typedef enum GemmOrder {
    GEMM_SCATTERED, /* neither of the below */
    GEMM_BY_ROW,    /* neighbours along the row (m or n) are neighbours in memory */
    GEMM_BY_DEPTH   /* neighbours along the depth are */
} GemmOrder;

typedef struct Gemm Gemm;

/* A run of elements of one side: `count` of them, from `start` along the side's order, at `fixed`
 * on the other coordinate, to `local` from `offset` on. */
typedef struct GemmLine {
    const KLocal *local;
    const KExpr *offset, *batch, *fixed, *start, *count;
    int64_t most; /* count is at most this */
} GemmLine;

/* One of the two: an element at a time, or lines, for operands whose index arithmetic is dear. */
typedef struct GemmSide {
    GemmOrder order;
    const Size
        *run; /* neighbours in memory along the order come in runs of so many; NULL: unknown */
    /* The element of batch, row (m of A, n of B) and depth, any dtype. */
    const KExpr *(*element)(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *row,
                            const KExpr *depth);
    void (*line)(KBuild *k, const Gemm *gemm, const GemmLine *line);
} GemmSide;

struct Gemm {
    const char *name;
    const Size *batch, *m, *n, *depth;
    DType dtype; /* of the sum */
    DType panel; /* what both operands are stored as: f16 or bf16 let a block multiply those */
    bool tf32;   /* f32 operands may be rounded to that where it is native */
    GemmSide a, b;
    const Size *run; /* of the result, along n */
    /* The finished element; called inside loops over all of them. */
    void (*finish)(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *m, const KExpr *n,
                   const KExpr *value);
    void *user;
};

/* Appends the kernels that compute the product. */
void gemm_lower(KBuild *k, const Gemm *gemm);
void gemm_lower_block(KBuild *k,
                      const Gemm *gemm); /* gemm_block.c; sides have elements, no lines */

/* A side for choices: its nominal value, from 1 to 2^20, so that three can be multiplied. */
static inline int64_t gemm_nominal(const Size *size) {
    const int64_t most = 1 << 20;
    int64_t value = size_nominal(size, UNSET_SIZE);
    return value > most ? most : value > 0 ? value : 1;
}

/* -- gemm_tile.c: the inside of one tile */
typedef enum GemmKind {
    GEMM_PACKED, /* panels and register tiles */
    GEMM_TINY,   /* a constant depth of a few: one expression an element */
    GEMM_ROWS,   /* few rows on one side: sums of scaled rows of the other */
    GEMM_DOTS    /* few rows on one side: dot products along the depth */
} GemmKind;

typedef struct GemmPlan {
    const Gemm *gemm;
    GemmKind kind;
    int32_t tile_m, tile_n; /* register tile */
    int64_t block_m, block_n, block_k;
    const Size *blocks_m, *blocks_n;
    int64_t chunk; /* depth of one partial sum; 0: not split */
    const Size *chunks;
    int32_t temp; /* of the partial sums: [chunk, batch, m, n] */
} GemmPlan;

typedef struct GemmTile {
    const KLocal *c;
    const KExpr *batch, *m0, *n0;
    const KExpr *rows, *columns; /* that exist in this tile */
    const KExpr *depth0, *depth; /* from where, how many */
    const Size *most;            /* depth is at most this */
} GemmTile;
/* Fills tile->c (row-major, block_n apart). */
void gemm_tile(KBuild *k, const GemmPlan *plan, const GemmTile *tile);

#endif
