/* What `dlc --explain` says of fusion. */
#ifndef DLC_DRIVER_EXPLAIN_H
#define DLC_DRIVER_EXPLAIN_H

#include "ir/ir.h"
#include "passes/machine.h"

/* A line for each fusion of the module, and beneath it whether a library may do it, or why not. */
void explain_fusions(Context *context, Arena *arena, const Machine *machine, const Module *module,
                     Str *out);

#endif
