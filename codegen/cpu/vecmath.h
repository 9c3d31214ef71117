/* Helpers of vecmath_f32.c and vecmath_f64.c. Those two files are never compiled into dlc: they are
 * the source of vecmath.ll (see vecmath.py), whose functions kernels inline. Rules for them: no
 * branches (only selects), no calls, no tables, no conversion whose result is undefined for some
 * input, so that the loop vectoriser can widen every function (but for f64's remainder). a * b + c
 * may or may not be fused: both must be accurate. */
#ifndef DLC_CODEGEN_CPU_VECMATH_H
#define DLC_CODEGEN_CPU_VECMATH_H

#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

typedef union Bits32 {
    float f;
    int32_t i;
    uint32_t u;
} Bits32;
typedef union Bits64 {
    double f;
    int64_t i;
    uint64_t u;
} Bits64;

INLINE int32_t bits32(float x) {
    return (Bits32){.f = x}.i;
}
INLINE float float_of(int32_t i) {
    return (Bits32){.i = i}.f;
}
INLINE int64_t bits64(double x) {
    return (Bits64){.f = x}.i;
}
INLINE double double_of(int64_t i) {
    return (Bits64){.i = i}.f;
}

/* Both arms are evaluated: a select, where `?:` of longer arms would become branches. */
INLINE float pick32(int condition, float yes, float no) {
    return condition ? yes : no;
}
INLINE double pick64(int condition, double yes, double no) {
    return condition ? yes : no;
}

#endif
