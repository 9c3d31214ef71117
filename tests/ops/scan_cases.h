/* Gradient cases with loops: builders for test_gradients.c. */
#ifndef DLC_TESTS_OPS_SCAN_CASES_H
#define DLC_TESTS_OPS_SCAN_CASES_H

#include "tests/ops/harness.h"

#define SCAN_CASES                                                                                 \
    SCAN_CASE(sum, "f64[T,2] f64[2]")                                                              \
    SCAN_CASE(product_reverse, "f64[T,2] f64[2]")                                                  \
    SCAN_CASE(stacked_only, "f64[T,2] f64[2]")                                                     \
    SCAN_CASE(rnn, "f64[T,B,2] f64[3,3] f64[3,2] f64[3] f64[B,3]")                                 \
    SCAN_CASE(lstm, "f64[T,2,8] f64[8,2]")                                                         \
    SCAN_CASE(captured, "f64[T,2] f64[2] f64[]")                                                   \
    SCAN_CASE(two_carries, "f64[] f64[]")                                                          \
    SCAN_CASE(counter, "f64[3] f64[3]")                                                            \
    SCAN_CASE(nested, "f64[T,3,2] f64[2,2]")                                                       \
    SCAN_CASE(empty, "f64[2]")                                                                     \
    SCAN_CASE(grad_inside, "f64[T,2] f64[2]")                                                      \
    SCAN_CASE(invariant, "f64[T,2] f64[2,2] f64[2,2]")                                             \
    SCAN_CASE(pass_through, "f64[T,2] f64[2] f64[2]")                                              \
    SCAN_CASE(conv_state, "f64[3,1,2,4] f64[2,2,3]")

#define SCAN_CASE(name, spec) Value *scan_##name(Harness *h, Builder *b, Value **x);
SCAN_CASES
#undef SCAN_CASE

#endif
