/* Contractions as a vendor's library knows them: d = act(a b + c + bias), batched, every operand a
 * matrix in memory one of whose axes has no gaps. The one rule of what can be said so; fusion asks
 * it what to leave together, the schedule what to offer. */
#ifndef DLC_IR_MATMUL_H
#define DLC_IR_MATMUL_H

#include "ir/ir.h"

typedef enum MatmulOperand {
    MATMUL_A,
    MATMUL_B,
    MATMUL_C,    /* added, of d's shape */
    MATMUL_BIAS, /* added, one value a column */
    MATMUL_D,
    MATMUL_N_OPERANDS
} MatmulOperand;

typedef enum MatmulAct { MATMUL_PLAIN, MATMUL_RELU, MATMUL_GELU_TANH } MatmulAct;

enum { MATMUL_MOST_OPS = 64 };

typedef struct Matmul {
    const Op *contract;
    const Size *m, *n, *k, *batch;
    /* What lies in memory, views and widening casts seen through; NULL: absent. D: the result. */
    const Value *operand[MATMUL_N_OPERANDS];
    const Size *strides[MATMUL_N_OPERANDS][3]; /* of row, column, matrix, in elements */
    MatmulAct act;
    /* The contraction and all that computes between it and the result; free ops too. */
    const Op *ops[MATMUL_MOST_OPS];
    int32_t n_ops;
} Matmul;

/* The contraction's own product: sizes, A, B, and D as the contraction's result. False: *why says
 * what stands against it (static text); *culprit: the operand that is not a matrix in memory, or
 * -1. */
bool matmul_of(Context *context, const Op *contract, Matmul *out, int32_t *culprit,
               const char **why);
/* Whether `result` is one such product of the contraction, seen back to it. False: *why. */
bool matmul_match(Context *context, const Value *result, const Op *contract, Matmul *out,
                  const char **why);

/* From which sizes on a library is worth a call: rows, columns and depth; multiply-adds. */
typedef struct MatmulWorth {
    int64_t side;
    double work;
} MatmulWorth;
bool matmul_is_large(Context *context, const Op *contract, const MatmulWorth *worth);

#endif
