/* The part of the prelude that is plain C++ over the primitives of prelude.cuh: conversions, integer
 * arithmetic with scalar.def's conventions, and scalar operations that are no single C operator. Shared,
 * as text, by the device and by the simulated device; vecmath's functions follow it. */

/* ---- groups of launches (runtime/cuda_image.h) */

template <int N> struct DlcGroup {
    long long words[N];
};
/* The member of a group that tile number `tile` is of: first[m] is the first tile of member m. */
DLC_INLINE int dlc_group_find(const long long *first, long long members, long long tile) {
    int low = 0, high = (int)members - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        bool behind = first[middle] <= tile;
        low = behind ? middle : low;
        high = behind ? high : middle - 1;
    }
    return low;
}

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
/* To f32 on the way to 16 bits: towards zero, then the last bit set where anything was lost, so
 * that the second rounding is the only one. */
DLC_INLINE float dlc_f64_to_odd(double x) {
    float narrow = (float)x;
    double wide = (double)narrow;
    int bits = dlc_bits_f32(narrow);
    bool grew = wide < 0 ? wide < x : wide > x;
    return x != x || wide == x ? narrow : dlc_f32_of_bits((grew ? bits - 1 : bits) | 1);
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
/* The same where both fit into 31 bits. */
DLC_INLINE long long dlc_small_div(long long x, long long y) {
    return (long long)((unsigned)x / (unsigned)y);
}
DLC_INLINE long long dlc_small_mod(long long x, long long y) {
    return (long long)((unsigned)x % (unsigned)y);
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

/* ---- reductions in a fixed order: over the lanes of a warp, then over the warps of a block */

/* [warp] dlc_warp_*: the combination of the 32 values, the same bits in every lane. The block's: each
 * warp leaves its own in a slot (8 bytes a warp of memory the block shares) by dlc_slot_put_*, and
 * after a barrier dlc_slot_* combines them. */
#define DLC_ADD(x, y)  ((x) + (y))
#define DLC_MUL(x, y)  ((x) * (y))
#define DLC_OR(x, y)   ((x) || (y))
#define DLC_AND(x, y)  ((x) && (y))
#define DLC_REDUCTION(op, type, name, combine)                                                     \
    DLC_INLINE type dlc_warp_##op##_##name(type value) {                                           \
        for (int mask = 16; mask > 0; mask >>= 1) {                                                \
            type other = dlc_xor_##name(value, mask);                                              \
            value = combine(value, other);                                                         \
        }                                                                                          \
        return dlc_broadcast_##name(value, 0);                                                     \
    }                                                                                              \
    DLC_INLINE type dlc_slot_##op##_##name(const unsigned char *slot, int warps) {                 \
        type value = ((const type *)slot)[0];                                                      \
        for (int warp = 1; warp < warps; warp++) {                                                 \
            value = combine(value, ((const type *)slot)[warp]);                                    \
        }                                                                                          \
        return value;                                                                              \
    }
#define DLC_SLOT_PUT(type, name)                                                                   \
    DLC_INLINE void dlc_slot_put_##name(unsigned char *slot, type value) {                         \
        if ((dlc_thread() & 31) == 0) {                                                            \
            ((type *)slot)[dlc_thread() >> 5] = value;                                             \
        }                                                                                          \
    }
DLC_REDUCTION(add, float, f32, DLC_ADD)
DLC_REDUCTION(mul, float, f32, DLC_MUL)
DLC_REDUCTION(max, float, f32, dlc_max_f32)
DLC_REDUCTION(min, float, f32, dlc_min_f32)
DLC_SLOT_PUT(float, f32)
DLC_REDUCTION(add, double, f64, DLC_ADD)
DLC_REDUCTION(mul, double, f64, DLC_MUL)
DLC_REDUCTION(max, double, f64, dlc_max_f64)
DLC_REDUCTION(min, double, f64, dlc_min_f64)
DLC_SLOT_PUT(double, f64)
DLC_REDUCTION(add, int, i32, dlc_add_i32)
DLC_REDUCTION(mul, int, i32, dlc_mul_i32)
DLC_REDUCTION(max, int, i32, dlc_max_i32)
DLC_REDUCTION(min, int, i32, dlc_min_i32)
DLC_SLOT_PUT(int, i32)
DLC_REDUCTION(add, long long, i64, dlc_add_i64)
DLC_REDUCTION(mul, long long, i64, dlc_mul_i64)
DLC_REDUCTION(max, long long, i64, dlc_max_i64)
DLC_REDUCTION(min, long long, i64, dlc_min_i64)
DLC_SLOT_PUT(long long, i64)
DLC_REDUCTION(any, bool, bool, DLC_OR)
DLC_REDUCTION(all, bool, bool, DLC_AND)
DLC_SLOT_PUT(bool, bool)
#undef DLC_REDUCTION
#undef DLC_SLOT_PUT
#undef DLC_ADD
#undef DLC_MUL
#undef DLC_OR
#undef DLC_AND

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

/* ---- addresses */

/* Whether sixteen bytes may be moved at once there. */
DLC_INLINE bool dlc_is_aligned(const void *p) {
    return ((unsigned long long)p & 15ull) == 0;
}

/* Sixteen bytes, or zeros where `inside` is false; both at multiples of 16. */
DLC_INLINE void dlc_copy16(void *to, const void *from) {
    dlc_store_i32x4((int *)to, dlc_load_i32x4((const int *)from));
}
DLC_INLINE void dlc_copy16_if(void *to, const void *from, bool inside) {
    const dlc_i32x4 zero = {{0, 0, 0, 0}};
    dlc_store_i32x4((int *)to, inside ? dlc_load_i32x4((const int *)from) : zero);
}

/* ---- panels of contractions */

/* Where element `index` of a panel with rows of `width` is kept: groups of `unit` elements (16 bytes) are
 * exchanged within a row by a pattern of its own, of `groups` rows, so that a column meets different
 * banks. All are powers of two. */
DLC_INLINE int dlc_exchange(long long index, int width, int unit, int groups) {
    int at = (int)index, row = (int)((unsigned)at / (unsigned)width);
    return at ^ ((row & (groups - 1)) * unit);
}
