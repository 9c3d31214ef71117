/* Training steps in parts: `dlc --accumulate`, and `dlrun train --batch auto` where a whole batch
 * does not fit. */
#ifndef DLC_PASSES_ACCUMULATE_H
#define DLC_PASSES_ACCUMULATE_H

#include "ir/ir.h"

/* The free dim that says in how many parts a step is computed; 1 unless bound. */
#define ACCUMULATE_DIM "accumulate"

/* Rewrites the module's train function so that it goes through the batch in ACCUMULATE_DIM equal
 * parts; setting "parts_dim" then names that dim. The same step as of the whole batch but for
 * rounding, where the loss is a mean over the rows; batch statistics are each part's own, and
 * states go through the parts in turn. NULL, or why the program cannot be cut (a part of a sentence
 * that begins with the program); the module is then to be thrown away. Works on IR that no pass has
 * touched. */
const char *accumulate_module(Context *context, Module *module);

#endif
