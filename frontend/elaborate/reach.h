/* Which values a value is made of, for warnings about missing gradients. */
#ifndef DLC_FRONTEND_ELABORATE_REACH_H
#define DLC_FRONTEND_ELABORATE_REACH_H

#include "ir/ir.h"

/* Whether a derivative can flow from y back to x. */
bool value_reaches(Arena *arena, Value *y, const Value *x);

/* Whether y depends on what differs from part to part of a batch: inputs, state, random numbers. */
bool value_reads_data(Arena *arena, const Func *func, Value *y);

/* The same as value_reaches for many x: marks out[i] for xs[i]. */
void values_reached(Arena *arena, Value *y, Value *const *xs, int32_t count, bool *out);

#endif
