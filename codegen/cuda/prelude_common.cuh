/* The part of the prelude that is plain C++ over the primitives of prelude.cuh: conversions, integer
 * arithmetic with scalar.def's conventions, and scalar operations that are no single C operator. Shared,
 * as text, by the device and by the simulated device; vecmath's functions follow it. */

/* ---- half-precision formats */

DLC_INLINE float dlc_bf16_to_f32(unsigned short h) {
    return dlc_f32_of_bits((int)((unsigned)h << 16));
}
/* Nearest, ties to even; a nan stays a quiet nan of the same sign. */
DLC_INLINE unsigned short dlc_f32_to_bf16(float f) {
    unsigned bits = (unsigned)dlc_bits_f32(f), high = bits >> 16;
    unsigned rounded = (bits + 0x7fffu + (high & 1u)) >> 16;
    return (unsigned short)(f != f ? (high | 0x40u) : rounded);
}

/* ---- integers: sums and products wrap; division rounds down, by 0 gives 0 */

DLC_INLINE int dlc_add_i32(int x, int y) {
    return (int)((unsigned)x + (unsigned)y);
}
DLC_INLINE int dlc_sub_i32(int x, int y) {
    return (int)((unsigned)x - (unsigned)y);
}
DLC_INLINE int dlc_mul_i32(int x, int y) {
    return (int)((unsigned)x * (unsigned)y);
}
DLC_INLINE long long dlc_add_i64(long long x, long long y) {
    return (long long)((unsigned long long)x + (unsigned long long)y);
}
DLC_INLINE long long dlc_sub_i64(long long x, long long y) {
    return (long long)((unsigned long long)x - (unsigned long long)y);
}
DLC_INLINE long long dlc_mul_i64(long long x, long long y) {
    return (long long)((unsigned long long)x * (unsigned long long)y);
}
DLC_INLINE long long dlc_floordiv_i64(long long x, long long y) {
    if (y == 0 || y == -1) {
        return y == 0 ? 0 : (long long)(0ull - (unsigned long long)x);
    }
    long long q = x / y, r = x % y;
    return r != 0 && (r < 0) != (y < 0) ? q - 1 : q;
}
DLC_INLINE long long dlc_mod_i64(long long x, long long y) {
    if (y == 0 || y == -1) {
        return 0;
    }
    long long r = x % y;
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}
DLC_INLINE int dlc_floordiv_i32(int x, int y) {
    if (y == 0 || y == -1) {
        return y == 0 ? 0 : (int)(0u - (unsigned)x);
    }
    int q = x / y, r = x % y;
    return r != 0 && (r < 0) != (y < 0) ? q - 1 : q;
}
DLC_INLINE int dlc_mod_i32(int x, int y) {
    if (y == 0 || y == -1) {
        return 0;
    }
    int r = x % y;
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}
/* Of values that are not negative and positive divisors: indices. */
DLC_INLINE long long dlc_index_div(long long x, long long y) {
    return (long long)((unsigned long long)x / (unsigned long long)y);
}
DLC_INLINE long long dlc_index_mod(long long x, long long y) {
    return (long long)((unsigned long long)x % (unsigned long long)y);
}

/* ---- scalar operations */

/* By type: float, double, int and long long, where scalar.def names one for all. */
DLC_INLINE float dlc_abs_f32(float x) {
    return dlc_f32_of_bits(dlc_bits_f32(x) & 0x7fffffff);
}
DLC_INLINE double dlc_abs_f64(double x) {
    return dlc_f64_of_bits(dlc_bits_f64(x) & 0x7fffffffffffffffll);
}
DLC_INLINE int dlc_abs_i32(int x) {
    return x < 0 ? dlc_sub_i32(0, x) : x;
}
DLC_INLINE long long dlc_abs_i64(long long x) {
    return x < 0 ? dlc_sub_i64(0, x) : x;
}
DLC_INLINE float dlc_sign_f32(float x) {
    return x != x ? x : (float)((x > 0.0f) - (x < 0.0f));
}
DLC_INLINE double dlc_sign_f64(double x) {
    return x != x ? x : (double)((x > 0.0) - (x < 0.0));
}
DLC_INLINE int dlc_sign_i32(int x) {
    return (x > 0) - (x < 0);
}
DLC_INLINE long long dlc_sign_i64(long long x) {
    return (long long)((x > 0) - (x < 0));
}
/* A nan if either is one. */
DLC_INLINE float dlc_max_f32(float x, float y) {
    return x > y || x != x ? x : y;
}
DLC_INLINE double dlc_max_f64(double x, double y) {
    return x > y || x != x ? x : y;
}
DLC_INLINE int dlc_max_i32(int x, int y) {
    return x > y ? x : y;
}
DLC_INLINE long long dlc_max_i64(long long x, long long y) {
    return x > y ? x : y;
}
DLC_INLINE float dlc_min_f32(float x, float y) {
    return x < y || x != x ? x : y;
}
DLC_INLINE double dlc_min_f64(double x, double y) {
    return x < y || x != x ? x : y;
}
DLC_INLINE int dlc_min_i32(int x, int y) {
    return x < y ? x : y;
}
DLC_INLINE long long dlc_min_i64(long long x, long long y) {
    return x < y ? x : y;
}
/* f32 through f64, where the quotient cannot round up to an integer that it does not reach. */
DLC_INLINE double dlc_floordiv_f64(double x, double y) {
    return dlc_floor_f64(x / y);
}
DLC_INLINE float dlc_floordiv_f32(float x, float y) {
    return (float)dlc_floor_f64((double)x / (double)y);
}
DLC_INLINE double dlc_mod_f64(double x, double y) {
    return x - dlc_floor_f64(x / y) * y;
}
DLC_INLINE float dlc_mod_f32(float x, float y) {
    return (float)dlc_mod_f64((double)x, (double)y);
}
DLC_INLINE float dlc_rsqrt_f32(float x) {
    return 1.0f / dlc_sqrt_f32(x);
}
DLC_INLINE double dlc_rsqrt_f64(double x) {
    return 1.0 / dlc_sqrt_f64(x);
}
DLC_INLINE bool dlc_isfinite_f32(float x) {
    return (dlc_bits_f32(x) & 0x7f800000) != 0x7f800000;
}
DLC_INLINE bool dlc_isfinite_f64(double x) {
    return (dlc_bits_f64(x) & 0x7ff0000000000000ll) != 0x7ff0000000000000ll;
}

/* ---- casts of floats to integers: towards zero, at the ends of the range, 0 of a nan */

DLC_INLINE int dlc_f64_to_i32(double x) {
    return x != x ? 0 : x <= -2147483648.0 ? (-2147483647 - 1) : x >= 2147483647.0 ? 2147483647 : (int)x;
}
DLC_INLINE int dlc_f32_to_i32(float x) {
    return x != x                  ? 0
           : x <= -2147483648.0f ? (-2147483647 - 1)
           : x >= 2147483648.0f  ? 2147483647
                                 : (int)x;
}
DLC_INLINE long long dlc_f64_to_i64(double x) {
    return x != x                           ? 0
           : x <= -9223372036854775808.0 ? (-9223372036854775807ll - 1)
           : x >= 9223372036854775808.0  ? 9223372036854775807ll
                                         : (long long)x;
}
DLC_INLINE long long dlc_f32_to_i64(float x) {
    return dlc_f64_to_i64((double)x);
}
DLC_INLINE signed char dlc_f64_to_i8(double x) {
    int y = dlc_f64_to_i32(x);
    return (signed char)(y < -128 ? -128 : y > 127 ? 127 : y);
}
DLC_INLINE signed char dlc_f32_to_i8(float x) {
    return dlc_f64_to_i8((double)x);
}
DLC_INLINE unsigned char dlc_f64_to_u8(double x) {
    int y = dlc_f64_to_i32(x);
    return (unsigned char)(y < 0 ? 0 : y > 255 ? 255 : y);
}
DLC_INLINE unsigned char dlc_f32_to_u8(float x) {
    return dlc_f64_to_u8((double)x);
}
