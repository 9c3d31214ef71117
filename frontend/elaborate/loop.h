/* What the two kinds of loop share: carries that the user writes, and arguments of bodies. Private
 * to loop.c, scan.c and while.c. */
#ifndef DLC_FRONTEND_ELABORATE_LOOP_H
#define DLC_FRONTEND_ELABORATE_LOOP_H

#include "frontend/elaborate/elaborate.h"

typedef struct Carry {
    AstName name;
    Val init;
    Value *start; /* of the assumed type */
    DType dtype;
    bool weak;
    Value *next;
} Carry;

typedef enum CarryFit { CARRY_FITS, CARRY_RETRY, CARRY_BAD } CarryFit;

/* Whether one more loop may stand inside those around it; reports the limit where not. */
bool loop_may_nest(Elaborator *el, Place place);
/* Evaluates the initial values. */
bool carry_start(Elaborator *el, const AstNamedExprs *exprs, Carry *carries);
/* Initial values of the types assumed so far. */
bool carry_values(Elaborator *el, Carry *carries, int32_t count, Value **out);
/* Takes every carry's last binding as its next value; RETRY: a weak carry has another type. */
CarryFit carries_next(Elaborator *el, Carry *carries, int32_t count);
/* Keeps the hidden carries that were written; those only read become what they started as. */
void drop_unwritten(Loop *loop);
/* Sets a block's arguments anew, in this order. */
void set_args(Elaborator *el, Block *block, Value *const *args, int32_t count);

#endif
