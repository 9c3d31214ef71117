/* Inside the precision pass: what is known of the values of a Func before anything is changed. */
#ifndef DLC_PASSES_PRECISION_PRECISION_H
#define DLC_PASSES_PRECISION_PRECISION_H

#include "passes/pass.h"

typedef struct PrecisionUse {
    Op *op;
    int32_t operand;
    int32_t next; /* of the same value; -1: the last */
} PrecisionUse;

enum ValueFact {
    FACT_ACTIVE = 1 << 0,    /* made of parameters or of products */
    FACT_REACHES = 1 << 1,   /* a product of low precision depends on it */
    FACT_PARAM = 1 << 2,     /* made elementwise of parameters alone */
    FACT_STATISTIC = 1 << 3, /* made elementwise of reductions (and parameters) alone */
    FACT_NARROW = 1 << 4     /* is to be stored in 16 bits */
};

typedef struct Precision {
    PassContext *pass;
    Func *func;
    DType low;        /* bf16 or f16 */
    int32_t n_values; /* of the Func before the pass: side arrays have this length */
    uint8_t *facts;   /* by value id */
    int32_t *uses;    /* by value id: index of the first use, or -1 */
    VEC(PrecisionUse) use_list;
    Value **lows; /* by value id: its form in 16 bits */
    bool grows;   /* a round of the analysis found something new */
} Precision;

/* A matrix product, convolution or attention that the settings want in low precision. */
bool precision_is_product(const Precision *p, const Op *op);
/* Whether operand i of such a product is one of the multiplied ones. */
bool precision_is_factor(const Op *op, int32_t operand);
bool precision_fact(const Precision *p, const Value *v, unsigned facts);
/* Fills facts and uses; facts.c. */
void precision_analyse(Precision *p);

#endif
