/* The call of a vendor's library that may stand for a fusion, as its attributes say it (`library`
 * and those behind it in ops.def; `no_library`: why there is none). passes/library/ writes it, the
 * schedule and dlc --explain read it, the op's shape rule checks it. */
#ifndef DLC_IR_OPS_LIBRARY_CALL_H
#define DLC_IR_OPS_LIBRARY_CALL_H

#include "ir/ir.h"

/* Numbered as runtime/plan.h numbers them. */
typedef enum LibraryKind {
    LIBRARY_MATMUL,           /* d = epilogue(a b + c + bias), batched */
    LIBRARY_CONV,             /* a: x, b: w */
    LIBRARY_CONV_INPUT_GRAD,  /* a: dy, b: w */
    LIBRARY_CONV_WEIGHT_GRAD, /* a: dy, b: x */
    LIBRARY_N_KINDS
} LibraryKind;

typedef enum LibraryCompute { /* what products are summed in */
                              LIBRARY_F32,
                              LIBRARY_TF32,
                              LIBRARY_F64,
                              LIBRARY_N_COMPUTES
} LibraryCompute;

typedef enum LibraryEpilogue {
    LIBRARY_PLAIN,
    LIBRARY_RELU,
    LIBRARY_GELU_TANH,
    LIBRARY_N_EPILOGUES
} LibraryEpilogue;

/* D is the fusion's only result. */
typedef enum LibraryOperand {
    LIBRARY_A,
    LIBRARY_B,
    LIBRARY_C,    /* added, of d's shape */
    LIBRARY_BIAS, /* added, one value a column or channel */
    LIBRARY_N_OPERANDS
} LibraryOperand;

/* Sizes, in elements. A matmul's: m, n, k, batch, then for a, b, c and d each the strides of row,
 * column and matrix (0 where an operand is absent). A convolution's: spatial rank, groups, then for
 * each spatial axis stride, dilation, low and high padding, then the dims of x, w and y, then their
 * strides. */
enum { LIBRARY_MATMUL_SIZES = 16, LIBRARY_MOST_SPATIAL = 3 };
#define LIBRARY_CONV_SIZES(spatial) (2 + 4 * (spatial) + 6 * (2 + (spatial)))
enum { LIBRARY_MOST_SIZES = LIBRARY_CONV_SIZES(LIBRARY_MOST_SPATIAL) };

typedef struct LibraryCall {
    LibraryKind kind;
    LibraryCompute compute;
    LibraryEpilogue epilogue;
    int64_t operands[LIBRARY_N_OPERANDS]; /* numbers of the fusion's; -1: absent */
    Sizes sizes;
} LibraryCall;

/* False: the fusion has none. */
bool library_call_of(const Op *fusion, LibraryCall *out);
/* Whatever the fusion said of libraries before is gone after each of these; `why` is interned. */
void library_call_set(Op *fusion, const LibraryCall *call);
void library_call_refuse(Op *fusion, const char *why);
void library_call_clear(Op *fusion);

/* Whether the attributes are a call of the fusion's operands and result; for its shape rule. */
bool library_call_check(Context *context, const Op *fusion, OpProblem *problem);

#endif
