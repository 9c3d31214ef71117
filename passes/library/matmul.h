/* Contractions as a vendor's library knows them: d = act(a b + c + bias), batched, every operand a
 * matrix in memory one of whose axes has no gaps. */
#ifndef DLC_PASSES_LIBRARY_MATMUL_H
#define DLC_PASSES_LIBRARY_MATMUL_H

#include "passes/library/match.h"
#include "passes/machine.h"

typedef struct Matmul {
    const Size *m, *n, *k, *batch;
    const Value *operand[2];   /* what lies in memory of a and b */
    const Size *strides[2][3]; /* of row, column, matrix, in elements; a is m x k, b is k x n */
} Matmul;

/* The contraction's own product. False: *why says what stands against it (static text); *culprit:
 * the operand that is not a matrix in memory, or -1. */
bool matmul_of(Context *context, const Op *contract, Matmul *out, int32_t *culprit,
               const char **why);
/* Whether `result` is one such product of the contraction, seen back to it. False: *why. */
bool matmul_match(Context *context, const Value *result, const Op *contract, LibraryMatch *out,
                  const char **why);
bool matmul_is_large(Context *context, const Op *contract, const MatmulWorth *worth);

#endif
