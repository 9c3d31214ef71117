/* A call of a vendor's library found in the IR. */
#ifndef DLC_PASSES_LIBRARY_MATCH_H
#define DLC_PASSES_LIBRARY_MATCH_H

#include "ir/ops/library_call.h"

enum { LIBRARY_MOST_OPS = 64 };

typedef struct LibraryMatch {
    LibraryKind kind;
    LibraryCompute compute;
    LibraryEpilogue epilogue;
    /* What lies in memory, views and widening casts seen through; NULL: absent. */
    const Value *operand[LIBRARY_N_OPERANDS];
    const Size *sizes[LIBRARY_MOST_SIZES];
    int32_t n_sizes;
    /* The product and all that computes between it and the result; free ops too. */
    const Op *ops[LIBRARY_MOST_OPS];
    int32_t n_ops;
} LibraryMatch;

/* False: it would be too many. */
static inline bool match_keep_op(LibraryMatch *match, const Op *op) {
    for (int32_t i = 0; i < match->n_ops; i++) {
        if (match->ops[i] == op) {
            return true;
        }
    }
    if (match->n_ops == LIBRARY_MOST_OPS) {
        return false;
    }
    match->ops[match->n_ops++] = op;
    return true;
}

static inline void match_add_size(LibraryMatch *match, const Size *size) {
    match->sizes[match->n_sizes++] = size;
}

/* What products of such a product are summed in. */
static inline LibraryCompute match_compute(const Op *product) {
    DType type = product->operands[0]->type.dtype;
    bool tf32 = type == DT_F32 && strcmp(op_precision(product), "tf32") == 0;
    return type == DT_F64 ? LIBRARY_F64 : tf32 ? LIBRARY_TF32 : LIBRARY_F32;
}

static inline bool match_is_float_cast(const Op *op) {
    return op->code == OP_cast && dtype_is_float(op->results[0]->type.dtype) &&
           dtype_is_float(op->operands[0]->type.dtype);
}

#endif
