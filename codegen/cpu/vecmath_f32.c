/* Transcendental functions in f32. Polynomials: Cephes (S. Moshier) for log, sin, cos, asin, atan;
 * erf after N. Juffa; erfc as M. Shepherd and J. Laframboise (1981) map it, fitted anew; exp by a
 * Taylor series on [-ln2/2, ln2/2]. */
#include "codegen/cpu/vecmath.h"

#define INF  __builtin_inff()
#define NAN_ __builtin_nanf("")

INLINE float keep_sign(float magnitude, float sign) {
    return float_of((bits32(magnitude) & 0x7fffffff) | (bits32(sign) & (int32_t)0x80000000));
}

/* x = n ln 2 + r. Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits; a nan
 * passes. */
INLINE float reduce_exp(float x, float *r, int32_t *n) {
    float t = x * 1.44269504f + 12582912.0f;
    *n = bits32(t) - bits32(12582912.0f);
    float k = t - 12582912.0f;
    float high = x - k * 0.693359375f;
    *r = high - k * -2.12194440e-4f;
    return k;
}

/* (e^r - 1 - r) / r^2 */
INLINE float exp_tail(float r) {
    float p = 1.9841270e-4f;
    p = p * r + 1.3888889e-3f;
    p = p * r + 8.3333333e-3f;
    p = p * r + 4.1666667e-2f;
    p = p * r + 1.6666667e-1f;
    return p * r + 0.5f;
}

INLINE float scale_two(float p, int32_t n) {
    int32_t half = n >> 1; /* in two steps: 2^n alone may leave the range */
    return p * float_of((half + 127) << 23) * float_of((n - half + 127) << 23);
}

INLINE float exp_core(float x) {
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    float r;
    int32_t n;
    reduce_exp(x, &r, &n);
    return scale_two(r * r * exp_tail(r) + r + 1.0f, n);
}

float dlc_exp_f32(float x) {
    return exp_core(x);
}

/* e^x - 1 = 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2)) */
INLINE float expm1_core(float x) {
    float c = x > 89.0f ? 89.0f : x;
    c = c < -20.0f ? -20.0f : c;
    float r;
    int32_t n;
    reduce_exp(c, &r, &n);
    float p = r * r * exp_tail(r) + r;
    float scale = float_of((n - 1 + 127) << 23);
    float y = 2.0f * (scale * p + (scale - 0.5f));
    return x == 0.0f ? x : y;
}

float dlc_expm1_f32(float x) {
    return expm1_core(x);
}

float dlc_exp2_f32(float x) {
    float c = x > 129.0f ? 129.0f : x;
    c = c < -151.0f ? -151.0f : c;
    float t = c + 12582912.0f;
    int32_t n = bits32(t) - bits32(12582912.0f);
    float r = (c - (t - 12582912.0f)) * 6.93147182e-1f;
    return scale_two(r * r * exp_tail(r) + r + 1.0f, n);
}

/* (e^a - 1) / 2 for a >= 0. 2^(n-2) is within the range where 2^(n-1) leaves it. */
INLINE float half_expm1(float a) {
    float c = a > 89.5f ? 89.5f : a, r;
    int32_t n;
    reduce_exp(c, &r, &n);
    float p = r * r * exp_tail(r) + r;
    float quarter = float_of((n - 2 + 127) << 23);
    return 2.0f * (quarter * p + (quarter - 0.25f));
}

float dlc_sinh_f32(float x) {
    float a = __builtin_fabsf(x);
    float h = half_expm1(a), bounded = pick32(h > 1e9f, 1e9f, h);
    float y = h + bounded / (2.0f * bounded + 1.0f);
    return keep_sign(pick32(a < 2.44140625e-4f, a, y), x);
}

/* e^a / 2 + 1 / (2 e^a) */
float dlc_cosh_f32(float x) {
    float a = __builtin_fabsf(x), r;
    int32_t n;
    reduce_exp(pick32(a > 89.5f, 89.5f, a), &r, &n);
    float h = scale_two(r * r * exp_tail(r) + r + 1.0f, n - 1);
    return h + 0.25f / h;
}

/* (log(1 + f) - f) / f^2 for 1 + f in [sqrt(1/2), sqrt(2)) */
INLINE float log_tail(float f) {
    float p = 7.0376836292e-2f;
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    return p * f - 0.5f;
}

/* positive finite x = m 2^e with m in [sqrt(1/2), sqrt(2)) */
INLINE float split_exponent(float x, float *e) {
    int32_t tiny = x < 1.17549435e-38f;
    float y = pick32(tiny, x * 8388608.0f, x);
    int32_t i = bits32(y) - 0x3f3504f3;
    *e = (float)((i >> 23) - (tiny ? 23 : 0));
    return float_of((i & 0x7fffff) + 0x3f3504f3);
}

INLINE float log_special(float x, float y) {
    y = x == INF ? INF : y;
    y = x == 0.0f ? -INF : y;
    return pick32((x < 0.0f) | (x != x), NAN_, y);
}

float dlc_log_f32(float x) {
    float e;
    float f = split_exponent(x, &e) - 1.0f;
    float y = f * f * log_tail(f) + e * -2.12194440e-4f;
    y = y + f;
    return log_special(x, y + e * 0.693359375f);
}

float dlc_log2_f32(float x) {
    float e;
    float f = split_exponent(x, &e) - 1.0f;
    float y = f * f * log_tail(f) + f;
    return log_special(x, y * 1.44269504f + e);
}

float dlc_log10_f32(float x) {
    float e;
    float f = split_exponent(x, &e) - 1.0f;
    float y = f * f * log_tail(f) + f;
    float low = y * 4.34294492e-1f + e * 7.90341340e-7f;
    return log_special(x, low + e * 3.01029205e-1f);
}

float dlc_log1p_f32(float x) {
    float u = x + 1.0f, e;
    float m = split_exponent(u, &e);
    /* What rounding 1 + x lost; nothing when 1 + x needs no scaling, since then f is x itself. */
    float up = 1.0f - (u - x), down = x - (u - 1.0f);
    float c = (e > 0.0f ? up : down) / u;
    float f = pick32(e == 0.0f, x, m - 1.0f);
    c = e == 0.0f ? 0.0f : c;
    c = u == INF ? 0.0f : c;
    float y = f * f * log_tail(f) + (e * -2.12194440e-4f + c);
    y = y + f;
    y = y + e * 0.693359375f;
    y = log_special(u, y);
    return x == 0.0f ? x : y;
}

/* x = n pi/2 + r through f64; good to |x| of some 1e8, bounded beyond. */
INLINE float reduce_pi(float x, int32_t *n) {
    double d = (double)x;
    double t = d * 0.63661977236758134308 + 6755399441055744.0;
    *n = (int32_t)bits64(t);
    double k = t - 6755399441055744.0;
    double r = d - k * 1.57079632673412561417;
    r = r - k * 6.07710050650619224932e-11;
    r = r > 0.8 ? 0.8 : r;
    r = r < -0.8 ? -0.8 : r;
    return (float)r;
}

INLINE float sin_core(float r) {
    float z = r * r;
    float p = -1.9515295891e-4f * z + 8.3321608736e-3f;
    p = p * z - 1.6666654611e-1f;
    return p * z * r + r;
}

INLINE float cos_core(float r) {
    float z = r * r;
    float p = 2.443315711809948e-5f * z - 1.388731625493765e-3f;
    p = p * z + 4.166664568298827e-2f;
    return p * z * z + (1.0f - 0.5f * z);
}

float dlc_sin_f32(float x) {
    int32_t n;
    float r = reduce_pi(x, &n);
    float s = sin_core(r), c = cos_core(r);
    float y = n & 1 ? c : s;
    y = n & 2 ? -y : y;
    return x == 0.0f ? x : y;
}

float dlc_cos_f32(float x) {
    int32_t n;
    float r = reduce_pi(x, &n);
    float s = sin_core(r), c = cos_core(r);
    float y = n & 1 ? s : c;
    return (n + 1) & 2 ? -y : y;
}

float dlc_tan_f32(float x) {
    int32_t n;
    float r = reduce_pi(x, &n);
    float s = sin_core(r), c = cos_core(r);
    float top = n & 1 ? -c : s, bottom = n & 1 ? s : c;
    return pick32(x == 0.0f, x, top / bottom);
}

/* (asin(s) - s) / s for z = s^2 <= 1/4 */
INLINE float asin_tail(float z) {
    float p = 4.2163199048e-2f;
    p = p * z + 2.4181311049e-2f;
    p = p * z + 4.5470025998e-2f;
    p = p * z + 7.4953002686e-2f;
    p = p * z + 1.6666752422e-1f;
    return p * z;
}

float dlc_asin_f32(float x) {
    float a = __builtin_fabsf(x);
    int32_t big = a > 0.5f;
    float z = pick32(big, 0.5f * (1.0f - a), a * a);
    float s = pick32(big, __builtin_sqrtf(z), a);
    float y = s * asin_tail(z) + s;
    y = pick32(big, 1.57079637f - 2.0f * y, y);
    return pick32(a > 1.0f, NAN_, keep_sign(y, x));
}

float dlc_acos_f32(float x) {
    float a = __builtin_fabsf(x);
    int32_t big = a > 0.5f;
    float z = pick32(big, 0.5f * (1.0f - a), a * a);
    float s = pick32(big, __builtin_sqrtf(z), x);
    float y = s * asin_tail(z) + s;
    float far = pick32(x > 0.0f, 2.0f * y, 3.14159274f - (2.0f * y + 8.74227766e-8f));
    y = pick32(big, far, 1.57079637f - (y + 4.37113883e-8f));
    return a > 1.0f ? NAN_ : y;
}

/* atan on [0, inf] */
INLINE float atan_core(float a) {
    int32_t big = a > 2.41421356f, middle = a > 0.41421356f;
    float top = pick32(big, -1.0f, pick32(middle, a - 1.0f, a));
    float bottom = pick32(big, a, pick32(middle, a + 1.0f, 1.0f));
    float base = pick32(big, 1.57079637f, pick32(middle, 0.785398185f, 0.0f));
    float t = top / bottom, z = t * t;
    float p = 8.05374449538e-2f;
    p = p * z - 1.38776856032e-1f;
    p = p * z + 1.99777106478e-1f;
    p = p * z - 3.33329491539e-1f;
    return base + (p * z * t + t);
}

float dlc_atan_f32(float x) {
    return keep_sign(atan_core(__builtin_fabsf(x)), x);
}

float dlc_atan2_f32(float y, float x) {
    float a = __builtin_fabsf(y), b = __builtin_fabsf(x);
    float low = a < b ? a : b, high = a < b ? b : a;
    float t = low / high;
    t = high == 0.0f ? 0.0f : t;
    t = low == INF ? 1.0f : t;
    float r = atan_core(t);
    r = pick32(a > b, 1.57079637f - r, r);
    r = pick32(bits32(x) < 0, 3.14159274f - (r + 8.74227766e-8f), r);
    return pick32((x != x) | (y != y), NAN_, keep_sign(r, y));
}

float dlc_tanh_f32(float x) {
    float a = 2.0f * __builtin_fabsf(x);
    a = a > 20.0f ? 20.0f : a;
    float e = expm1_core(a);
    return keep_sign(e / (e + 2.0f), x);
}

/* for |x| < 0.93 */
INLINE float erf_near(float x) {
    float s = x * x, near = -5.96761703e-4f;
    near = near * s + 4.99119423e-3f;
    near = near * s - 2.67681349e-2f;
    near = near * s + 1.12819925e-1f;
    near = near * s - 3.76125336e-1f;
    near = near * s + 1.28379166e-1f;
    return near * x + x;
}

float dlc_erf_f32(float x) {
    float t = __builtin_fabsf(x);
    t = t > 9.0f ? 9.0f : t;
    float u = -1.72853470e-5f * t + 3.83197126e-4f;
    float v = -3.88396438e-3f * t + 2.42546219e-2f;
    float far = u * (t * t) + v;
    far = far * t - 1.06777877e-1f;
    far = far * t - 6.34846687e-1f;
    far = far * t - 1.28717512e-1f;
    far = far * t - t;
    far = keep_sign(1.0f - exp_core(far), x);
    float y = t > 0.927734375f ? far : erf_near(x);
    return pick32((x != x) | (x == 0.0f), x, y);
}

/* e^(-a^2) p / (1 + 2 a) for a = |x| > 1/2, p a polynomial in (a - 2) / (a + 2). a^2 is kept in two
 * parts, the first of them exact. */
float dlc_erfc_f32(float x) {
    float a = __builtin_fabsf(x);
    a = a > 11.0f ? 11.0f : a;
    float q = (a - 2.0f) / (a + 2.0f);
    float p = 8.273986896e-05f;
    p = p * q + 1.759462612e-04f;
    p = p * q - 4.010186822e-04f;
    p = p * q - 1.427650219e-03f;
    p = p * q + 1.250720932e-03f;
    p = p * q + 8.711606264e-03f;
    p = p * q - 8.029962890e-03f;
    p = p * q - 5.421820655e-02f;
    p = p * q + 1.640509218e-01f;
    p = p * q - 1.660304964e-01f;
    p = p * q - 9.276381880e-02f;
    p = p * q + 1.276978374f;
    float head = float_of(bits32(a) & (int32_t)0xfffff000), r;
    int32_t n;
    reduce_exp(-head * head, &r, &n);
    r = r + (head - a) * (head + a);
    float e = r * r * exp_tail(r) + r + 1.0f;
    float y = scale_two(e * (p / (1.0f + 2.0f * a)), n);
    y = pick32(x < 0.0f, 2.0f - y, y);
    y = pick32(a < 0.5f, 1.0f - erf_near(x), y);
    return pick32(x != x, x, y);
}

float dlc_sigmoid_f32(float x) {
    float e = exp_core(-__builtin_fabsf(x));
    return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}

/* Through f64, whose range holds the squares. */
float dlc_hypot_f32(float x, float y) {
    double a = (double)x, b = (double)y;
    float r = (float)__builtin_sqrt(a * a + b * b);
    int32_t infinite = (__builtin_fabsf(x) == INF) | (__builtin_fabsf(y) == INF);
    return pick32(infinite, INF, r);
}

/* The remainder of |x| by |y| with the sign of x, as C's fmod: exact. A step takes off a multiple
 * of y with 29 bits, whose product with y f64 holds; ten reach over the whole range of quotients.
 */
INLINE float remainder_of(float x, float y) {
    double a = (double)__builtin_fabsf(x), b = (double)__builtin_fabsf(y);
    double inverse = 1.0 / b, r = a;
#pragma clang loop unroll(full)
    for (int i = 0; i < 10; i++) {
        double q = double_of(bits64(r * inverse) & ~(int64_t)0xffffff);
        r = r - __builtin_trunc(q) * b;
    }
    r = r < 0.0 ? r + b : r;
    r = r >= b ? r - b : r;
    float m = pick32(b > 3.5e38, (float)a, (float)r);
    m = pick32((b == 0.0) | !(a < 3.5e38) | (y != y), NAN_, m);
    return keep_sign(m, x);
}

/* As NumPy: the sign of y. */
float dlc_mod_f32(float x, float y) {
    float m = remainder_of(x, y);
    float r = pick32((m < 0.0f) != (y < 0.0f), m + y, m);
    return pick32(m == 0.0f, keep_sign(0.0f, y), r);
}

/* As NumPy: from the remainder, so that a quotient just below an integer does not round up to it.
 */
float dlc_floordiv_f32(float x, float y) {
    float m = remainder_of(x, y), quotient = x / y;
    float d = (x - m) / y;
    d = pick32((m != 0.0f) & ((m < 0.0f) != (y < 0.0f)), d - 1.0f, d);
    float whole = __builtin_floorf(d);
    whole = pick32(d - whole > 0.5f, whole + 1.0f, whole);
    whole = pick32(d == 0.0f, keep_sign(0.0f, quotient), whole);
    return pick32(y == 0.0f, quotient, whole);
}
