/* What `dlc --explain` says of fusion. */
#ifndef DLC_DRIVER_EXPLAIN_H
#define DLC_DRIVER_EXPLAIN_H

#include "ir/ir.h"

/* A line for each fusion of the module, and beneath it whether a library may do it, or why not. */
void explain_fusions(const Module *module, Str *out);

#endif
