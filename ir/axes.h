/* Which axes of an op's operands and results go together: what must be known to give each of
 * several ranks a part of the work. Axes of one factor have one size, and where each rank has a
 * part of a factor – the same part in all its axes – it computes, from its parts of the operands,
 * its parts of the results (a factor that is kept), or results that all ranks' must be combined to
 * get the op's (a combined one, which no result has). An axis without a factor must be whole.
 *
 * Every row of ops.def says in its column `axes` where this comes from; passes/shard reads it. */
#ifndef DLC_IR_AXES_H
#define DLC_IR_AXES_H

#include "ir/ir.h"

enum { AXES_MAX_FACTORS = 4 * TYPE_MAX_RANK };

typedef int8_t AxesRow[TYPE_MAX_RANK]; /* the factor of each axis; -1: none */

typedef struct OpAxes {
    int32_t n_factors;
    bool is_combined[AXES_MAX_FACTORS];
    OpCode combine; /* the scalar row that combines; OP_NONE: no factor is combined */
    AxesRow *operands, *results;
} OpAxes;

/* In `arena`. An op whose row says NONE or OWN has no factors. */
OpAxes op_factors(Arena *arena, const Op *op);

/* For the rules (axes_<name>): a new factor, kept or combined by `combine` (OP_NONE: kept). */
int8_t axes_factor(OpAxes *axes, OpCode combine);

#endif
