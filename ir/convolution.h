/* Convolutions as a vendor's library knows them: one of the three products of conv, its operands
 * dense in memory; after a forward one y + bias, or relu of that. The one rule
 * of what can be said so; fusion asks it what to leave together, the schedule what to offer. */
#ifndef DLC_IR_CONVOLUTION_H
#define DLC_IR_CONVOLUTION_H

#include "ir/ir.h"

typedef enum ConvOperand {
    CONV_A, /* as the op's first operand: x, dy, x */
    CONV_B, /* its second: w, w, dy */
    CONV_BIAS,
    CONV_D,
    CONV_N_OPERANDS
} ConvOperand;

enum { CONV_MOST_OPS = 24 };

typedef struct Convolution {
    const Op *conv;
    const Value *operand[CONV_N_OPERANDS]; /* what lies in memory; NULL: absent */
    bool relu;
    /* The op and all that computes between it and the result; free ops too. */
    const Op *ops[CONV_MOST_OPS];
    int32_t n_ops;
} Convolution;

/* Whether `result` is made of the op `conv` in such a way. False: *why (static text) says what
 * stands against it. */
bool convolution_match(Context *context, const Value *result, const Op *conv, Convolution *out,
                       const char **why);
bool convolution_is(const Op *op); /* conv or one of its gradients */
/* From which sizes on a library is worth a call: products that a sum has, channels of a group's
 * result, multiply-adds. */
typedef struct ConvolutionWorth {
    double depth, channels, work;
} ConvolutionWorth;
bool convolution_is_large(const Op *conv, const ConvolutionWorth *worth);
/* The rank-1 value in memory that `v` broadcasts over channels, seen through casts; NULL. */
const Value *convolution_bias(const Value *v);

#endif
