/* Where the elements of a view lie. For every row of ops.def whose column `fusion` says VIEW, the
 * rule view_<name> says which element of operand 0 is the result's at a position, and where it is
 * operand 1's instead. It is written once, in the arithmetic of whoever reads it: lowering makes
 * expressions of a kernel of it, fusion follows axes. The interpreter reads none of it: it judges.
 */
#ifndef DLC_IR_VIEW_H
#define DLC_IR_VIEW_H

#include "ir/ir.h"

/* Along one axis: what a position is, is the reader's. */
typedef const void *Position;

typedef struct ViewReader ViewReader;
struct ViewReader {
    Position (*number)(ViewReader *r, int64_t number);
    Position (*size)(ViewReader *r, const Size *size);
    Position (*add)(ViewReader *r, Position a, Position b);
    Position (*sub)(ViewReader *r, Position a, Position b);
    Position (*scale)(ViewReader *r, Position a, int64_t factor);
    void (*divide)(ViewReader *r, Position a, int64_t divisor, Position *out, Position *out_rest);
    /* out: where the element of `from` at `at` lies in `to`, both in row-major order */
    void (*reshape)(ViewReader *r, Type from, const Position *at, Type to, Position *out);
    /* Of views with two operands: the element is operand 0's where all that is asked for holds. */
    void (*need_natural)(ViewReader *r, Position a); /* 0 <= a */
    void (*need_zero)(ViewReader *r, Position a);    /* of what is not negative */
    void (*need_below)(ViewReader *r, Position a, const Size *limit);
};

/* out: of operand 0's rank. `op` is a view. */
static inline void view_read(ViewReader *r, const Op *op, const Position *at, Position *out) {
    op_info(op->code)->view(r, op, at, out);
}

#endif
