/* Convolutions as a vendor's library knows them: one of the three products of conv, its operands
 * dense in memory; after a forward one y + bias, or relu of that. */
#ifndef DLC_PASSES_LIBRARY_CONVOLUTION_H
#define DLC_PASSES_LIBRARY_CONVOLUTION_H

#include "passes/library/match.h"
#include "passes/machine.h"

bool convolution_is(const Op *op); /* conv or one of its gradients */
bool convolution_is_large(const Op *conv, const ConvolutionWorth *worth);
/* Whether `result` is made of the op `conv` in such a way. False: *why (static text) says what
 * stands against it. */
bool convolution_match(Context *context, const Value *result, const Op *conv, LibraryMatch *out,
                       const char **why);
/* The rank-1 value in memory that `v` broadcasts over channels, seen through casts; NULL. */
const Value *convolution_bias(const Value *v);

#endif
