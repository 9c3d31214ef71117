/* Inside elemental_value: one function per family of ops. Each returns the element of its op's
 * result at `index`; the scope of the index is already current. */
#ifndef DLC_CODEGEN_LOWER_ELEMENTAL_IMPL_H
#define DLC_CODEGEN_LOWER_ELEMENTAL_IMPL_H

#include "codegen/lower/build/build_impl.h"
#include "codegen/lower/elemental.h"

typedef const KExpr *const *Index;

/* The element of v at index if `condition` holds, else `otherwise`; reads v only then. */
const KExpr *elemental_guarded(KBuild *k, const KExpr *condition, const Value *v, Index index,
                               const KExpr *otherwise);
/* v at a run-time position: bad positions are a fault, and clamped. `id` is i64. */
const KExpr *elemental_clamped_id(KBuild *k, const Op *op, const KExpr *id, const Size *bound,
                                  const char *text);
/* elemental_<name>, of rows of ops.def that are loops or free: one that nobody wrote is a link
 * error; those of other forms share a function each, below. */
#define OP(name, ...) const KExpr *elemental_##name(KBuild *k, const Op *op, Index index);
#include "ir/ops.def"
#undef OP
/* elemental_view.c */
const KExpr *elemental_view(KBuild *k, const Op *op, Index index);
/* elemental_reduce.c */
const KExpr *elemental_reduce(KBuild *k, const Op *op, Index index);
const KExpr *elemental_argreduce(KBuild *k, const Op *op, Index index);
/* Whether the op is a fold whose elements need a loop: windows that are long, or of no constant
 * length. */
bool elemental_fold_loops(const Op *op);
/* elemental_product.c */

/* A sum over nested loops, for contractions and convolutions: open the loops, add, close. */
typedef struct SumLoop {
    const KVar *acc;
    int32_t depth;
    OpCode code;
} SumLoop;
SumLoop sum_loop_begin(KBuild *k, OpCode code, DType dtype);
const KExpr *sum_loop_axis(KBuild *k, SumLoop *loop, const Size *extent, bool is_innermost);
void sum_loop_add(KBuild *k, SumLoop *loop, const KExpr *value);
const KExpr *sum_loop_end(KBuild *k, SumLoop *loop);

/* Place of the op in the fusion's body, for loop keys. */
int64_t elemental_ordinal(KBuild *k, const Op *op);

#endif
