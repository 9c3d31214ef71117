/* Taking out what a program says of how its values are cut among devices. */
#ifndef DLC_PASSES_HINT_H
#define DLC_PASSES_HINT_H

#include "ir/ir.h"

/* Takes every shard_hint and exchange_hint out of the Func, its operand in its place, and numbers
 * it anew; whether there was one. Uses the module's scratch. */
bool hints_drop(Func *func);

#endif
