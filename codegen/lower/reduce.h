/* Inside the lowering of reductions: what its kernels share. */
#ifndef DLC_CODEGEN_LOWER_REDUCE_H
#define DLC_CODEGEN_LOWER_REDUCE_H

#include "codegen/lower/lower.h"

enum { MAX_ROOTS = 16, KEPT_KEY = 1 << 20, REDUCED_KEY = 1 << 21 };

typedef struct Reduce {
    ReduceSpace space;
    const Op *roots[MAX_ROOTS];
    int32_t n_roots;
    int32_t temps[MAX_ROOTS]; /* partial results: [part, kept] or [kept, part] */
    const Size *parts;        /* partial results per kept element, set by the first stage */
    bool staged;
    double chunk; /* elements of one partial result */
    /* Reductions that are finished: values of the kept elements, in temps. `values_only`: so are
     * these roots' values to be kept, instead of stored results. */
    const Op *done[MAX_ROOTS];
    int32_t done_temps[MAX_ROOTS];
    int32_t n_done;
    bool values_only;
    /* Blocks of threads by columns: a tile has `width` columns and `groups` threads each, over
     * about `rows` rows. */
    int64_t width, groups, rows;
} Reduce;

DType reduce_root_dtype(const Op *root);
/* In which partial results are combined: f64 for sums of f32. */
DType reduce_join_dtype(const Op *root);
/* Flat index of the kept entries of a full one. */
const KExpr *reduce_kept_flat(KBuild *k, const Reduce *r, const KExpr *const *full);
void reduce_set_parts(KBuild *k, Reduce *r, const Size *parts);
/* Binds the roots at the kept element `flat` and stores every result there. */
void reduce_finish_element(KBuild *k, const Reduce *r, const KExpr *flat,
                           const KExpr *const *values);
void reduce_make_temps(KBuild *k, Reduce *r);
/* The kept axes behind the last reduced one begin here. */
int32_t reduce_column_axes(const ReduceSpace *space);

/* Kernels over the roots: chunks of the rows, then their partial results. */
void reduce_build_chunks(KBuild *k, void *user);
void reduce_build_join(KBuild *k, void *user);
bool reduce_same_space(KBuild *k, const ReduceSpace *space, const Op *op);
double reduce_block_chunk(KBuild *k, const ReduceSpace *space); /* elements of a partial result */
/* Binds what is done at the kept entries of a full index. */
void reduce_bind_done(KBuild *k, const Reduce *r, const KExpr *const *full);

/* reduce_block.c: by columns, for blocks of threads. */
void reduce_columns_block(KBuild *k, Reduce *r);
/* row_block.c: few long rows in stages, for blocks of threads; false: not a case for that. */
bool lower_row_block(KBuild *k, const ReduceSpace *space);

#endif
