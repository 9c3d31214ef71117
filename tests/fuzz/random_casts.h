/* Random Funcs of casts between all element types and of arithmetic that every way of running them
 * gives to the bit: whatever is fused, folded or stored, each cast rounds or wraps, and each value
 * of 16 bits is one. */
#ifndef DLC_TESTS_FUZZ_RANDOM_CASTS_H
#define DLC_TESTS_FUZZ_RANDOM_CASTS_H

#include "ir/build.h"
#include "ir/interp.h"

/* Adds to the module, which gets the dim B if it has none. */
Func *random_casts(Module *module, uint64_t seed);
/* Values over the whole range of each type, specials included. False: out of memory. */
bool random_casts_args(const Func *func, uint64_t seed, const int64_t *dim_values, int32_t n_dims,
                       EvalTensor *out);
/* Equal but for payloads of nan and signs of zero. Not: *out_index is the element. */
bool random_casts_equal(const EvalTensor *expected, const EvalTensor *got, int64_t *out_index);

#endif
