/* A training step ends its model's part with the gradient of the loss by the parameters. A model
 * may derive by parameters itself, and several `minimize` lines take a gradient each. */
#ifndef DLC_PASSES_STEP_GRADIENT_H
#define DLC_PASSES_STEP_GRADIENT_H

#include "ir/ir.h"

/* The one gradient that updates are computed from; NULL, and why: there is none, or several. Values
 * are numbered. */
Op *step_gradient(Arena *arena, Func *func, const char **out_problem);

#endif
