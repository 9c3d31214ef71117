/* The value of any IR value inside a fusion body at one index, emitted into the kernel under
 * construction: the pull-through that every lowering shares. */
#ifndef DLC_CODEGEN_LOWER_ELEMENTAL_H
#define DLC_CODEGEN_LOWER_ELEMENTAL_H

#include "codegen/lower/build/build.h"

/* Element of `v` (a value of the fusion's body) at `index` (v's rank of them), in the register type
 * of its dtype: a variable or a constant. Emits what is needed, once per (value, index) in the open
 * scopes. Reductions and windows become inner loops, placed outside the loops that the index does
 * not depend on. Contractions and convolutions that were not bound are evaluated by inner loops
 * too. */
const KExpr *elemental_value(KBuild *k, const Value *v, const KExpr *const *index);

/* Declares that the element of `v` at `index` is `value`, in the current scope and those inside it:
 * how a lowering hands its root's result to the epilogue. `value` becomes a let. */
void elemental_bind(KBuild *k, const Value *v, const KExpr *const *index, const KExpr *value);
/* The bound or emitted element, or NULL. */
const KExpr *elemental_find(KBuild *k, const Value *v, const KExpr *const *index);

/* Emits result `result` of the fusion at `index` and stores it. */
void elemental_store_result(KBuild *k, int32_t result, const KExpr *const *index);

/* Start value, and combination, of an op that combines elements (a column of ops.def), in a
 * register type. */
const KExpr *reduction_identity(KBuild *k, OpCode code, DType dtype);
/* Elements of f32 that are summed in f32 at most, but for what a block of threads shares; their
 * sums are summed in f64. Whether a sum of `count` elements may have more. */
enum { SUM_BLOCK = 4096 };
bool sum_may_be_long(const Op *op, const Size *count);
const KExpr *reduction_combine(KBuild *k, OpCode code, const KExpr *a, const KExpr *b);

#endif
