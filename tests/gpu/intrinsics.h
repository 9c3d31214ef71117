/* The part "intrinsics": kernels over the prelude of generated kernels (intrinsics.txt,
 * intrinsics.cu), their arguments and results. make_intrinsics writes them as one file:
 * IntrinsicsFile, the cases, then an image (runtime/cuda_image.h) an architecture, each behind an
 * IntrinsicsImage. Stand-alone. */
#ifndef DLC_TESTS_GPU_INTRINSICS_H
#define DLC_TESTS_GPU_INTRINSICS_H

#include <stdint.h>

#define INTRINSICS_MAGIC "DLCINTR1"

enum { INTRINSIC_NAME = 48, INTRINSIC_INPUTS = 6 };

typedef enum IntrinsicType {
    INTRINSIC_U8,
    INTRINSIC_BOOL,
    INTRINSIC_U16,
    INTRINSIC_I32,
    INTRINSIC_I64,
    INTRINSIC_F32,
    INTRINSIC_F64
} IntrinsicType;

/* How the values of an argument are made; all of them from a seed (kit_values.c). */
typedef enum IntrinsicValues {
    VALUES_ANY,    /* of every size, and the special ones */
    VALUES_HALVES, /* u16: all patterns; f32: all f16 and bf16, halfway points, neighbours */
    VALUES_INDEX,
    VALUES_DIVISOR,
    VALUES_SMALL,
    VALUES_FEW,
    VALUES_UNIT,  /* [-1, 1] */
    VALUES_WHOLE, /* -8 .. 8 */
    VALUES_F16_UNIT,
    VALUES_BF16_UNIT,
    VALUES_F16_WHOLE,
    VALUES_BF16_WHOLE,
    VALUES_MILD /* products of some hundred neither overflow nor vanish */
} IntrinsicValues;

typedef enum IntrinsicMode {
    COMPARE_SAME,  /* bits; any nan for a nan */
    COMPARE_EXACT, /* bits */
    COMPARE_NEAR,  /* at most `near` apart */
    COMPARE_NEVER  /* run by the part "ceilings" */
} IntrinsicMode;

typedef struct IntrinsicInput {
    int32_t type, values;
    int64_t count;
} IntrinsicInput;

typedef struct IntrinsicCase {
    char kernel[INTRINSIC_NAME];
    int32_t sm; /* lowest */
    int32_t threads, tiles, shared_bytes, has_faults, mode;
    int32_t n_inputs, out_type;
    int64_t out_count;
    double near;
    IntrinsicInput inputs[INTRINSIC_INPUTS];
} IntrinsicCase;

typedef struct IntrinsicsFile {
    char magic[8];
    int32_t n_cases, n_images;
} IntrinsicsFile;

typedef struct IntrinsicsImage {
    int32_t sm, reserved;
    int64_t bytes; /* of the image, a multiple of 8 */
} IntrinsicsImage;

#endif
