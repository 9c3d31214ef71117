/* Attention as one op, for who builds it: passes/attention finds it in the IR, the gradient of the
 * forward op is the other one. */
#ifndef DLC_IR_OPS_ATTENTION_H
#define DLC_IR_OPS_ATTENTION_H

#include "ir/build.h"

typedef struct AttentionAttrs {
    double scale; /* of the scores */
    bool causal;  /* key s counts for query t when s <= t + offset */
    const Size *offset;
    bool safe; /* a row of scores of -inf alone gives 0, and the logarithm +inf; else nan */
} AttentionAttrs;

/* Operands in front of the masks; of attention_grad's, those that are no factors of products. */
enum {
    ATTENTION_OPERANDS = 3,
    ATTENTION_GRAD_OPERANDS = 6,
    ATTENTION_MASKS = 4,
    ATTENTION_GRAD_LSE = 3,
    ATTENTION_GRAD_DELTA = 5
};

AttentionAttrs attention_attrs(const Op *op);
/* The mixed values; out_lse (may be NULL): the logarithm of every softmax's sum. */
Value *b_attention(Builder *b, Value *const qkv[3], Value *const *masks, int32_t n_masks,
                   const AttentionAttrs *attrs, Value **out_lse);
/* operands: q, k, v, lse, dy, delta; out: the derivatives by q, k and v. */
void b_attention_grad(Builder *b, Value *const operands[6], Value *const *masks, int32_t n_masks,
                      const AttentionAttrs *attrs, Value *out[3]);

#endif
