/* What intrinsics.py makes of intrinsics.txt and intrinsics.cu, for make_intrinsics. */
#ifndef DLC_TESTS_GPU_MAKE_INTRINSICS_H
#define DLC_TESTS_GPU_MAKE_INTRINSICS_H

#include "tests/gpu/intrinsics.h"

#include <stdbool.h>

extern const char intrinsics_include[];
extern const char intrinsics_own_75[], intrinsics_own_80[]; /* intrinsics.cu for sm_75, for later */
extern const char *const intrinsics_texts[];                /* generated kernels */
extern const int intrinsics_n_texts;
extern const IntrinsicCase intrinsics_cases[];
extern const int intrinsics_n_cases;

#endif
