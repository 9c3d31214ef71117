/* What the builder's files share. */
#ifndef DLC_IR_BUILD_INTERNAL_H
#define DLC_IR_BUILD_INTERNAL_H

#include "ir/build.h"

/* A complaint: kept in b->problem (soft), or a diagnostic and the way out through the boundary. */
void build_fail(Builder *b, const char *op_name, const char *text);
/* op_create with the table's number of blocks; NULL when an operand is NULL (soft: it failed
 * earlier). */
Op *build_op(Builder *b, OpCode code, Value *const *operands, int32_t n_operands,
             int32_t n_results);

#endif
