/* What the forward and backward kernels of attention share: the op's sizes, its blocks, and
 * products of blocks of queries and keys. */
#ifndef DLC_CODEGEN_LOWER_ATTENTION_H
#define DLC_CODEGEN_LOWER_ATTENTION_H

#include "codegen/lower/gemm.h"
#include "codegen/lower/lower.h"
#include "ir/ops/attention.h"

typedef struct Attention {
    const Op *op;
    int32_t n_plain; /* operands in front of the masks */
    AttentionAttrs attrs;
    DType dtype; /* of all that is held in a tile */
    Type batch;  /* the batch axes */
    const Size *n_batch, *queries, *keys;
    int64_t width, values; /* of q and k; of v and y */
    int64_t block_q, block_k;
    int32_t results[3]; /* of the fusion; -1: not asked for */
} Attention;

/* The panels of a kernel so far: products of the same shape share theirs. */
enum { MOST_PANELS = 8 };
typedef struct PanelSet {
    int32_t count;
    const KLocal *locals[MOST_PANELS];
    bool is_a[MOST_PANELS];
} PanelSet;

/* One block of queries against one block of keys. */
typedef struct Pair {
    const Attention *at;
    const KExpr *batch;
    const KExpr *q0, *rows;  /* the first query, how many */
    const KExpr *k0, *count; /* the first key, how many */
    PanelSet *panels;        /* of a block of threads: what its products are packed into */
} Pair;

/* One side of a product: rows of an operand, or a local tile whose rows are `stride` apart. */
typedef struct Factor {
    int32_t operand;     /* -1: the local */
    bool width_is_row;   /* of an operand: its last axis runs along the product's rows or columns */
    const KLocal *local; /* element [outer][inner], inner neighbours */
    int64_t stride;
    bool inner_is_row;                    /* of a local: likewise its inner index */
    const KExpr *first_row, *first_depth; /* of the local: what its element 0 stands for */
} Factor;

typedef struct Product {
    const Pair *pair;
    Factor a, b;
    const Size *m, *n, *depth;
    const KExpr *m0, *rows, *n0, *columns, *depth0, *length;
    int64_t most_m, most_n, most_depth;
    const KLocal *c; /* [most_m][most_n] */
} Product;

/* c = the product of the blocks. */
void attention_product(KBuild *k, const Product *product);
const KExpr *attention_element(KBuild *k, const Product *p, const Factor *f, const KExpr *batch,
                               const KExpr *row, const KExpr *depth);
/* Room for `rows` of a product's tile, up to whole register tiles. */
int64_t attention_rows(KBuild *k, const Attention *at, int64_t rows);
int64_t attention_columns(KBuild *k, const Attention *at, int64_t columns);

/* Rows or keys of a block, at most `most`: those of `size`, for choices, in even parts. */
int64_t attention_cut(const Size *size, int64_t most);
int64_t attention_power(int64_t value); /* the tile side of a block that holds it */

/* Index of the batch, then row and column (each may be NULL). */
void attention_index(KBuild *k, const Attention *at, const KExpr *batch, const KExpr *row,
                     const KExpr *column, const KExpr **out);
/* All masks at query and key, or NULL when there is none. */
const KExpr *attention_mask(KBuild *k, const Pair *pair, const KExpr *query, const KExpr *key);
void attention_store(KBuild *k, const Attention *at, int32_t result, const KExpr *const *index,
                     const KExpr *value);
/* KL_GRID over the extent; the constant 0 without a loop when it is one. */
const KExpr *attention_grid(KBuild *k, const Size *extent, const char *hint, int32_t *depth);
/* min(block, size - first), as a variable. */
const KExpr *attention_rest(KBuild *k, const Size *size, const KExpr *first, int64_t block);
const KExpr *attention_loop(KBuild *k, KLoopKind kind, const KExpr *begin, const KExpr *end,
                            int64_t extent, const char *hint);
/* Sets the elements [0, count) of the local. */
void attention_fill(KBuild *k, const KLocal *local, int64_t count, double value);

/* What the forward kernels store of a query: its mixed value over the sum of its softmax; the sum's
 * logarithm. Of a query without any key as the op has it. */
const KExpr *attention_mixed(KBuild *k, const Attention *at, const KExpr *value, const KExpr *sum);
const KExpr *attention_logarithm(KBuild *k, const Attention *at, const KExpr *sum,
                                 const KExpr *top);

/* The element [outer][inner] of a tile whose rows are `stride` apart. */
const KExpr *attention_at(KBuild *k, int64_t stride, const KExpr *outer, const KExpr *inner);
/* How many keys of the block count for query q0 + i. */
const KExpr *attention_key_end(KBuild *k, const Pair *pair, const KExpr *i);
/* The product x of query q0 + i and key k0 + j, scaled and masked. */
const KExpr *attention_score(KBuild *k, const Pair *pair, const KExpr *x, const KExpr *i,
                             const KExpr *j);
/* What scores are less when they are exponentiated: the maximum, or 0 of a query without any key.
 */
const KExpr *attention_shift(KBuild *k, DType dtype, const KExpr *top);
/* Opens the grid of batches and blocks of queries (of `depth` loops); the loop over blocks of keys.
 */
void attention_open_queries(KBuild *k, Pair *pair, int32_t *depth);
void attention_open_keys(KBuild *k, Pair *pair);

/* -- attention_grad.c */
void attention_backward(KBuild *k, Attention *at);

/* -- attention_block.c: for blocks of threads */
void attention_choose_block(KBuild *k, Attention *at);
void attention_product_block(KBuild *k, const Product *product);
void attention_build_block(KBuild *k, void *user);

#endif
