/* Private to the differentiate pass: one run of reverse mode over a list of ops. A run knows which
 * values are active (depend on what is derived by), collects a cotangent for each, and builds at
 * its builder's place. Loops are runs inside runs. */
#ifndef DLC_PASSES_DIFFERENTIATE_DIFFERENTIATE_H
#define DLC_PASSES_DIFFERENTIATE_DIFFERENTIATE_H

#include "passes/pass.h"

typedef VEC(Op *) OpList;

/* Where a cotangent counts: where `condition` (bool, of its shape) holds, or does not, and `outer`
 * holds as well. NULL: everywhere. */
typedef struct Mask {
    const struct Mask *outer;
    Value *condition;
    bool negated;
    bool is_strict; /* a condition asks for nan: any slope may be one */
} Mask;

typedef struct Cotangent {
    Value *value; /* NULL: zero */
    const Mask *mask;
    /* The part of the mask, from outside, for which zeros are in; where the rest does not hold
     * anything may stand. */
    const Mask *settled;
} Cotangent;

/* Side tables by value id, which grow as values are made. */
typedef VEC(Cotangent) CotangentTable;
typedef VEC(bool) ValueFlags;

/* A use of a loop-invariant operand whose cotangent is worked out once, after the reverse loop,
 * from the stacked cotangent of the op's result: a contract's operand, or what a broadcast repeats.
 */
typedef struct DeferredUse {
    Op *op; /* in the reverse body */
    int32_t operand;
    Value *cotangent; /* of the op's result, per iteration */
} DeferredUse;

typedef VEC(DeferredUse) DeferredList;

typedef struct Gradient {
    PassContext *pass;
    Func *func;
    Builder b;
    Place asked;      /* of the grad op */
    int64_t most_ops; /* the Func may have so many */
    ValueFlags active;
    ValueFlags risky; /* see mask_mark_risky */
    CotangentTable cotangents;
    const Block *loop;      /* the reverse body being built, or NULL */
    DeferredList *deferred; /* set with loop */
} Gradient;

/* flags.c */
bool value_flag(const ValueFlags *flags, const Value *value);
void value_set_flag(Arena *arena, ValueFlags *flags, const Value *value);
/* The block in which a value is defined. */
const Block *value_home(const Value *value);
bool value_is_float(const Value *value);
/* Marks the results of ops that depend on active values; `ops` in program order. */
void gradient_mark_active(Arena *arena, ValueFlags *active, const OpList *ops);
/* The ops whose results the op could use, in program order: before it in its block, and before the
 * owners of the blocks around it. */
OpList gradient_visible_ops(Arena *arena, Op *op);

/* differentiate.c */
/* The cotangent with its zeros put in, at the builder's place; NULL: zero. */
Value *gradient_get(Gradient *gradient, const Value *value);
/* Adds to the cotangent of an active value; others are ignored. */
void gradient_add(Gradient *gradient, Value *value, Value *cotangent);
/* Visits the ops last to first. */
void gradient_run(Gradient *gradient, const OpList *ops);

/* sent.c */
/* Whether the grad op's results by parameters are to be sent in a type that the layout says. */
bool gradient_is_sent(PassContext *pass, const Func *func, const Op *grad, DType *out);
/* The derivative by x that was found, with a hint where it is so sent. */
Value *gradient_sent_as(Gradient *gradient, const Value *x, Value *found, DType sent);

/* mask.c */
const Mask *mask_inside(Arena *arena, const Mask *outer, Value *condition, bool negated);
void cotangent_settle(Builder *b, Cotangent *cotangent);
Cotangent cotangent_sum(Arena *arena, Builder *b, Cotangent x, Cotangent y);
/* Marks what elementwise ops and movements make of values at which, or before which, a slope may be
 * infinite or nan; `ops` in program order. */
void mask_mark_risky(Arena *arena, ValueFlags *risky, const OpList *ops);
/* Whether each element of its operands' cotangents is made of one element of its result's. */
bool mask_passes(const Op *op);
/* The mask of its operands' cotangents, as far as it is plain to see; NULL: everywhere. */
const Mask *mask_through(Arena *arena, Builder *b, Op *op, const Mask *mask);

/* scan.c: the reverse of a scan. Replaces `scan` by one that also stacks what the
 * reverse needs, builds the reversed scan at the builder's place, and adds the operands'
 * cotangents. */
void gradient_scan(Gradient *gradient, Op *scan);

/* hoist.c: moves what does not change from iteration to iteration in front of the loops of the
 * Func. */
void hoist_invariants(Block *block);

#endif
