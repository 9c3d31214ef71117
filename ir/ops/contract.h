/* What differentiation needs of contract beyond its gradient rule. */
#ifndef DLC_IR_OPS_CONTRACT_H
#define DLC_IR_OPS_CONTRACT_H

#include "ir/build.h"

/* The cotangent of operand `side` (0 or 1) of a contract op, from its result's cotangent `g` and
 * the other operand. `stacked`: both have one more axis, the first, which is summed over as well:
 * the sum over all iterations of a loop at once. `op` gives axes and operand ranks only. */
Value *contract_operand_grad(Builder *b, const Op *op, int32_t side, Value *g, Value *other,
                             bool stacked);

#endif
