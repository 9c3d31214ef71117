/* Local rewriting, shared by the canonical passes: visit ops in program order, offer each to a
 * callback that may build a replacement for its results before it, then replace all uses at once.
 */
#ifndef DLC_PASSES_REWRITE_H
#define DLC_PASSES_REWRITE_H

#include "passes/pass.h"

typedef struct Rewriter {
    PassContext *pass;
    Func *func;
    Value **map; /* replacement by value id; grown as values are made */
    int32_t capacity;
    bool changed;
} Rewriter;

/* The newest replacement of `value` (itself if none). Callbacks look through this, so that a chain
 * rewritten earlier in the same walk is seen in its new form. */
Value *rewriter_resolve(Rewriter *rewriter, Value *value);

/* Returns the value that replaces op->results[0], or NULL to leave the op. Only ops with one
 * result and no blocks are offered. New ops go through `b`, which inserts before the op. */
typedef Value *(*RewriteCallback)(Rewriter *rewriter, Builder *b, Op *op);

/* Walks every block once. True if anything was replaced. Dead ops are left to dce. */
bool rewrite_each(PassContext *pass, Func *func, RewriteCallback callback);

/* The splat value of a `constant` op; false if the value is anything else. */
bool value_is_constant(const Value *value, double *out);
/* The op that made the value if it has this code, else NULL. */
Op *value_made_by(const Value *value, OpCode code);

/* passes/movement.c: the structural rewrites (reshape of reshape, identity slices …), one function
 * for simplify. */
Value *simplify_movement(Rewriter *rewriter, Builder *b, Op *op);

#endif
