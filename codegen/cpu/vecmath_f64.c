/* Transcendental functions in f64, and pow in both types. log, log1p, sin, cos, asin, atan, erf and
 * erfc use the polynomials of FDLIBM (Sun Microsystems, 1993); pow keeps its logarithm in two
 * doubles.
 */
#include "codegen/cpu/vecmath.h"

#define INF      __builtin_inf()
#define NAN_     __builtin_nan("")
#define LN2_HIGH 6.93147180369123816490e-01 /* 33 bits */
#define LN2_LOW  1.90821492927058770002e-10

INLINE double keep_sign(double magnitude, double sign) {
    return double_of((bits64(magnitude) & INT64_MAX) | (bits64(sign) & INT64_MIN));
}

/* x = n ln 2 + r. Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits; a nan
 * passes. */
INLINE double reduce_exp(double x, int64_t *n) {
    double t = x * 1.44269504088896338700 + 6755399441055744.0;
    *n = bits64(t) - bits64(6755399441055744.0);
    double k = t - 6755399441055744.0;
    double high = x - k * LN2_HIGH;
    return high - k * LN2_LOW;
}

/* (e^r - 1 - r) / r^2 by its Taylor series: |r| <= ln2/2 leaves 4e-18. */
INLINE double exp_tail(double r) {
    double p = 1.6059043836821614599e-10;
    p = p * r + 2.0876756987868098979e-09;
    p = p * r + 2.5052108385441718775e-08;
    p = p * r + 2.7557319223985890653e-07;
    p = p * r + 2.7557319223985890653e-06;
    p = p * r + 2.4801587301587301587e-05;
    p = p * r + 1.9841269841269841270e-04;
    p = p * r + 1.3888888888888888889e-03;
    p = p * r + 8.3333333333333333333e-03;
    p = p * r + 4.1666666666666666667e-02;
    p = p * r + 1.6666666666666666667e-01;
    return p * r + 0.5;
}

INLINE double scale_two(double p, int64_t n) {
    int64_t half = n >> 1; /* in two steps: 2^n alone may leave the range */
    return p * double_of((half + 1023) << 52) * double_of((n - half + 1023) << 52);
}

/* e^(x + low) for a small low */
INLINE double exp_core(double x, double low) {
    x = x > 710.0 ? 710.0 : x;
    x = x < -746.0 ? -746.0 : x;
    int64_t n;
    double r = reduce_exp(x, &n) + low;
    return scale_two(r * r * exp_tail(r) + r + 1.0, n);
}

double dlc_exp_f64(double x) {
    return exp_core(x, 0.0);
}

INLINE double expm1_core(double x) {
    double c = x > 710.0 ? 710.0 : x;
    c = c < -40.0 ? -40.0 : c;
    int64_t n;
    double r = reduce_exp(c, &n);
    double p = r * r * exp_tail(r) + r;
    double scale = double_of((n - 1 + 1023) << 52);
    double y = 2.0 * (scale * p + (scale - 0.5));
    return x == 0.0 ? x : y;
}

double dlc_expm1_f64(double x) {
    return expm1_core(x);
}

double dlc_exp2_f64(double x) {
    double c = x > 1025.0 ? 1025.0 : x;
    c = c < -1076.0 ? -1076.0 : c;
    double t = c + 6755399441055744.0;
    int64_t n = bits64(t) - bits64(6755399441055744.0);
    double r = (c - (t - 6755399441055744.0)) * 6.93147180559945309417e-01;
    return scale_two(r * r * exp_tail(r) + r + 1.0, n);
}

/* (e^a - 1) / 2 for a >= 0. 2^(n-2) is within the range where 2^(n-1) leaves it. */
INLINE double half_expm1(double a) {
    int64_t n;
    double r = reduce_exp(pick64(a > 710.5, 710.5, a), &n);
    double p = r * r * exp_tail(r) + r;
    double quarter = double_of((n - 2 + 1023) << 52);
    return 2.0 * (quarter * p + (quarter - 0.25));
}

double dlc_sinh_f64(double x) {
    double a = __builtin_fabs(x);
    double h = half_expm1(a), bounded = pick64(h > 1e18, 1e18, h);
    double y = h + bounded / (2.0 * bounded + 1.0);
    return keep_sign(pick64(a < 1e-8, a, y), x);
}

/* e^a / 2 + 1 / (2 e^a) */
double dlc_cosh_f64(double x) {
    double a = __builtin_fabs(x);
    int64_t n;
    double r = reduce_exp(pick64(a > 710.5, 710.5, a), &n);
    double h = scale_two(r * r * exp_tail(r) + r + 1.0, n - 1);
    return h + 0.25 / h;
}

double dlc_tanh_f64(double x) {
    double a = 2.0 * __builtin_fabs(x);
    a = a > 50.0 ? 50.0 : a;
    double e = expm1_core(a);
    return keep_sign(e / (e + 2.0), x);
}

double dlc_sigmoid_f64(double x) {
    double e = exp_core(-__builtin_fabs(x), 0.0);
    return (x >= 0.0 ? 1.0 : e) / (1.0 + e);
}

INLINE double log_series(double z) {
    double p = 1.479819860511658591e-01;
    p = p * z + 1.531383769920937332e-01;
    p = p * z + 1.818357216161805012e-01;
    p = p * z + 2.222219843214978396e-01;
    p = p * z + 2.857142874366239149e-01;
    p = p * z + 3.999999999940941908e-01;
    p = p * z + 6.666666666666735130e-01;
    return p * z;
}

/* positive finite x = m 2^e with m in [sqrt(1/2), sqrt(2)). The exponent is turned to a double by
 * its bits: there is no vector instruction for it before AVX-512. */
INLINE double split_exponent(double x, double *e) {
    int tiny = x < 2.2250738585072014e-308;
    double y = pick64(tiny, x * 18014398509481984.0, x);
    int64_t i = bits64(y) - 0x3fe6a09e667f3bcd;
    int64_t biased = (int64_t)((uint64_t)i >> 52); /* 12 bits, two's complement */
    int64_t k = (biased ^ 0x800) - 0x800 - (tiny ? 54 : 0);
    *e = double_of(k + 0x4338000000000000) - 6755399441055744.0;
    return double_of((i & 0xfffffffffffff) + 0x3fe6a09e667f3bcd);
}

INLINE double log_special(double x, double y) {
    y = x == INF ? INF : y;
    y = x == 0.0 ? -INF : y;
    return pick64((x < 0.0) | (x != x), NAN_, y);
}

/* log(1 + f) + e ln 2 + c */
INLINE double log_core(double f, double e, double c) {
    double s = f / (2.0 + f), half = 0.5 * f * f;
    double r = log_series(s * s);
    double low = s * (half + r) + (e * LN2_LOW + c);
    return e * LN2_HIGH - ((half - low) - f);
}

double dlc_log_f64(double x) {
    double e, f = split_exponent(x, &e) - 1.0;
    return log_special(x, log_core(f, e, 0.0));
}

double dlc_log2_f64(double x) {
    double e, f = split_exponent(x, &e) - 1.0;
    double y = log_core(f, 0.0, 0.0);
    return log_special(x, y * 1.44269504088896338700e+00 + e);
}

double dlc_log10_f64(double x) {
    double e, f = split_exponent(x, &e) - 1.0;
    double low =
        log_core(f, 0.0, 0.0) * 4.34294481903251827651e-01 + e * 3.69423907715893078616e-13;
    return log_special(x, low + e * 3.01029995663611771306e-01);
}

double dlc_log1p_f64(double x) {
    double u = x + 1.0, e;
    double m = split_exponent(u, &e);
    /* What rounding 1 + x lost; nothing when 1 + x needs no scaling, since then f is x itself. */
    double up = 1.0 - (u - x), down = x - (u - 1.0);
    double c = (e > 0.0 ? up : down) / u;
    c = pick64((e == 0.0) | (u == INF), 0.0, c);
    double y = log_core(pick64(e == 0.0, x, m - 1.0), e, c);
    y = log_special(u, y);
    return x == 0.0 ? x : y;
}

/* x = n pi/2 + r + low; exact products up to |x| of 1.6e6, bounded far beyond. */
INLINE double reduce_pi(double x, double *low, int32_t *n) {
    double t = x * 6.36619772367581382433e-01 + 6755399441055744.0;
    *n = (int32_t)bits64(t);
    double k = t - 6755399441055744.0;
    double a = x - k * 1.57079632673412561417e+00;
    double w = k * 6.07710050630396597660e-11;
    double b = a - w;
    double back = b - a;
    double error = (a - (b - back)) - (w + back);
    double v = k * 2.02226624879595063154e-21 - error;
    double r = b - v;
    *low = (b - r) - v;
    int32_t lost = !(__builtin_fabs(r) < 0.8);
    *low = lost ? 0.0 : *low;
    r = r > 0.8 ? 0.8 : r;
    return r < -0.8 ? -0.8 : r;
}

INLINE double sin_core(double x, double y) {
    double z = x * x, v = z * x;
    double r = 1.58969099521155010221e-10 * z - 2.50507602534068634195e-08;
    r = r * z + 2.75573137070700676789e-06;
    r = r * z - 1.98412698298579493134e-04;
    r = r * z + 8.33333333332248946124e-03;
    return x - ((z * (0.5 * y - v * r) - y) - v * -1.66666666666666324348e-01);
}

INLINE double cos_core(double x, double y) {
    double z = x * x;
    double r = -1.13596475577881948265e-11 * z + 2.08757232129817482790e-09;
    r = r * z - 2.75573143513906633035e-07;
    r = r * z + 2.48015872894767294178e-05;
    r = r * z - 1.38888888888741095749e-03;
    r = r * z + 4.16666666666666019037e-02;
    double half = 0.5 * z, w = 1.0 - half;
    return w + (((1.0 - w) - half) + (z * (z * r) - x * y));
}

double dlc_sin_f64(double x) {
    int32_t n;
    double low, r = reduce_pi(x, &low, &n);
    double s = sin_core(r, low), c = cos_core(r, low);
    double y = n & 1 ? c : s;
    y = n & 2 ? -y : y;
    return x == 0.0 ? x : y;
}

double dlc_cos_f64(double x) {
    int32_t n;
    double low, r = reduce_pi(x, &low, &n);
    double s = sin_core(r, low), c = cos_core(r, low);
    double y = n & 1 ? s : c;
    return (n + 1) & 2 ? -y : y;
}

double dlc_tan_f64(double x) {
    int32_t n;
    double low, r = reduce_pi(x, &low, &n);
    double s = sin_core(r, low), c = cos_core(r, low);
    double top = n & 1 ? -c : s, bottom = n & 1 ? s : c;
    return pick64(x == 0.0, x, top / bottom);
}

INLINE double asin_tail(double z) {
    double p = 3.47933107596021167570e-05;
    p = p * z + 7.91534994289814532176e-04;
    p = p * z - 4.00555345006794114027e-02;
    p = p * z + 2.01212532134862925881e-01;
    p = p * z - 3.25565818622400915405e-01;
    p = p * z + 1.66666666666666657415e-01;
    double q = 7.70381505559019352791e-02;
    q = q * z - 6.88283971605453293030e-01;
    q = q * z + 2.02094576023350569471e+00;
    q = q * z - 2.40339491173441421878e+00;
    q = q * z + 1.0;
    return p * z / q;
}

double dlc_asin_f64(double x) {
    double a = __builtin_fabs(x);
    int big = a > 0.5;
    double z = pick64(big, 0.5 * (1.0 - a), a * a);
    double s = pick64(big, __builtin_sqrt(z), a);
    double y = s * asin_tail(z) + s;
    y = pick64(big, 1.57079632679489655800 - (2.0 * y - 6.12323399573676603587e-17), y);
    return a > 1.0 ? NAN_ : keep_sign(y, x);
}

double dlc_acos_f64(double x) {
    double a = __builtin_fabs(x);
    int big = a > 0.5;
    double z = pick64(big, 0.5 * (1.0 - a), a * a);
    double s = pick64(big, __builtin_sqrt(z), x);
    double y = s * asin_tail(z) + s;
    double other = 3.14159265358979311600 - (2.0 * y - 1.22464679914735320717e-16);
    double far = pick64(x > 0.0, 2.0 * y, other);
    y = pick64(big, far, 1.57079632679489655800 - (y - 6.12323399573676603587e-17));
    return a > 1.0 ? NAN_ : y;
}

/* atan on [0, inf]: one of five intervals, each with its own quotient and base. */
INLINE double atan_core(double a) {
    int i0 = a >= 0.4375, i1 = a >= 0.6875, i2 = a >= 1.1875, i3 = a >= 2.4375;
    double top = pick64(i1, a - 1.0, pick64(i0, 2.0 * a - 1.0, a));
    top = pick64(i3, -1.0, pick64(i2, a - 1.5, top));
    double bottom = pick64(i1, a + 1.0, pick64(i0, 2.0 + a, 1.0));
    bottom = pick64(i3, a, pick64(i2, 1.0 + 1.5 * a, bottom));
    double high =
        pick64(i1, 7.85398163397448278999e-01, pick64(i0, 4.63647609000806093515e-01, 0.0));
    high = pick64(i3, 1.57079632679489655800e+00, pick64(i2, 9.82793723247329054082e-01, high));
    double low =
        pick64(i1, 3.06161699786838301793e-17, pick64(i0, 2.26987774529616870924e-17, 0.0));
    low = pick64(i3, 6.12323399573676603587e-17, pick64(i2, 1.39033110312309984516e-17, low));
    double t = top / bottom, z = t * t;
    double p = 1.62858201153657823623e-02;
    p = p * z - 3.65315727442169155270e-02;
    p = p * z + 4.97687799461593236017e-02;
    p = p * z - 5.83357013379057348645e-02;
    p = p * z + 6.66107313738753120669e-02;
    p = p * z - 7.69187620504482999495e-02;
    p = p * z + 9.09088713343650656196e-02;
    p = p * z - 1.11111104054623557880e-01;
    p = p * z + 1.42857142725034663711e-01;
    p = p * z - 1.99999999998764832476e-01;
    p = p * z + 3.33333333333329318027e-01;
    return high - ((t * (z * p) - low) - t);
}

double dlc_atan_f64(double x) {
    return keep_sign(atan_core(__builtin_fabs(x)), x);
}

double dlc_atan2_f64(double y, double x) {
    double a = __builtin_fabs(y), b = __builtin_fabs(x);
    double low = a < b ? a : b, high = a < b ? b : a;
    double t = low / high;
    t = high == 0.0 ? 0.0 : t;
    t = low == INF ? 1.0 : t;
    double r = atan_core(t);
    r = pick64(a > b, 1.57079632679489655800 - (r - 6.12323399573676603587e-17), r);
    r = pick64(bits64(x) < 0, 3.14159265358979311600 - (r - 1.22464679914735320717e-16), r);
    return pick64((x != x) | (y != y), NAN_, keep_sign(r, y));
}

/* FDLIBM's four intervals; the coefficients are chosen per lane: [0.84, 1.25), [1.25, 1/0.35),
 * [1/0.35, 6), and below 0.84. */
#define PICK(a, b, c, d) pick64(i1, pick64(i2, pick64(i3, (d), (c)), (b)), (a))

typedef struct ErfParts {
    double near, tail; /* erf(a) for a < 1.25 in two terms, erfc(a) from there on */
    double ratio;      /* the second term */
    int is_near, is_small;
} ErfParts;

INLINE ErfParts erf_parts(double a) {
    int i1 = a >= 0.84375, i2 = a >= 1.25, i3 = a >= 1.0 / 0.35;
    double square = a * a, inverse = 1.0 / (i2 ? square : 1.0);
    double s = PICK(square, a - 1.0, inverse, inverse);
    double p = PICK(0.0, 0.0, -9.81432934416914548592e+00, 0.0);
    p = p * s + PICK(0.0, 0.0, -8.12874355063065934246e+01, 0.0);
    p = p * s + PICK(0.0, -2.16637559486879084300e-03, -1.84605092906711035994e+02,
                     -4.83519191608651397019e+02);
    p = p * s + PICK(0.0, 3.54783043256182359371e-02, -1.62396669462573470355e+02,
                     -1.02509513161107724954e+03);
    p = p * s + PICK(-2.37630166566501626084e-05, -1.10894694282396677476e-01,
                     -6.23753324503260060396e+01, -6.37566443368389627722e+02);
    p = p * s + PICK(-5.77027029648944159157e-03, 3.18346619901161753674e-01,
                     -1.05586262253232909814e+01, -1.60636384855821916062e+02);
    p = p * s + PICK(-2.84817495755985104766e-02, -3.72207876035701323847e-01,
                     -6.93858572707181764372e-01, -1.77579549177547519889e+01);
    p = p * s + PICK(-3.25042107247001499370e-01, 4.14856118683748331666e-01,
                     -9.86494403484714822705e-03, -7.99283237680523006574e-01);
    p = PICK(p * s + 1.28379167095512558561e-01, p * s - 2.36211856075265944077e-03, p,
             p * s - 9.86494292470009928597e-03);
    double q = PICK(0.0, 0.0, -6.04244152148580987438e-02, 0.0);
    q = q * s + PICK(0.0, 0.0, 6.57024977031928170135e+00, -2.24409524465858183362e+01);
    q = q * s + PICK(0.0, 1.19844998467991074170e-02, 1.08635005541779435134e+02,
                     4.74528541206955367215e+02);
    q = q * s + PICK(-3.96022827877536812320e-06, 1.36370839120290507362e-02,
                     4.29008140027567833386e+02, 2.55305040643316442583e+03);
    q = q * s + PICK(1.32494738004321644526e-04, 1.26171219808761642112e-01,
                     6.45387271733267880336e+02, 3.19985821950859553908e+03);
    q = q * s + PICK(5.08130628187576562776e-03, 7.18286544141962662868e-02,
                     4.34565877475229228821e+02, 1.53672958608443695994e+03);
    q = q * s + PICK(6.50222499887672944485e-02, 5.40397917702171048937e-01,
                     1.37657754143519042600e+02, 3.25792512996573918826e+02);
    q = q * s + PICK(3.97917223959155352819e-01, 1.06420880400844228286e-01,
                     1.96512716674392571292e+01, 3.03380607434824582924e+01);
    q = q * s + 1.0;
    double ratio = p / q;
    double head = double_of(bits64(a) & (int64_t)0xffffffff00000000);
    double tail = exp_core(-head * head - 0.5625, 0.0) *
                  exp_core((head - a) * (head + a) + ratio, 0.0) / (i2 ? a : 1.0);
    return (ErfParts){i1 ? 8.45062911510467529297e-01 : a, tail, i1 ? ratio : a * ratio, !i2, !i1};
}

double dlc_erf_f64(double x) {
    double a = __builtin_fabs(x);
    ErfParts parts = erf_parts(a > 6.0 ? 6.0 : a);
    double y = pick64(parts.is_near, parts.near + parts.ratio, 1.0 - parts.tail);
    return pick64(x != x, x, keep_sign(y, x));
}

double dlc_erfc_f64(double x) {
    double a = __builtin_fabs(x);
    ErfParts parts = erf_parts(a > 28.0 ? 28.0 : a);
    double near = pick64(x < 0.0, -parts.near, parts.near);
    double ratio = pick64(x < 0.0, -parts.ratio, parts.ratio);
    double low = 1.0 - (near + ratio), middle = 0.5 - (near - 0.5 + ratio);
    double y = pick64((x > 0.25) & parts.is_small, middle, low);
    double one = pick64(parts.is_small, y, (1.0 - near) - ratio);
    double far = pick64(x < 0.0, 2.0 - parts.tail, parts.tail);
    y = pick64(parts.is_near, one, far);
    return pick64(x != x, x, y);
}

typedef struct Pair {
    double high, low;
} Pair;

INLINE Pair sum_ordered(double a, double b) {
    double s = a + b;
    double e = b - (s - a);
    return (Pair){s, e};
}

/* a * b exactly (Dekker): every product below is exact, so that fusing does not change it. */
INLINE Pair product(double a, double b) {
    double ca = a * 134217729.0, cb = b * 134217729.0;
    double ta = ca - a, tb = cb - b;
    double ah = ca - ta, bh = cb - tb;
    double al = a - ah, bl = b - bh;
    double p = a * b;
    double e = ah * bh - p;
    e = e + ah * bl;
    e = e + al * bh;
    e = e + al * bl;
    return (Pair){p, e};
}

INLINE Pair product_pair(Pair a, Pair b) {
    Pair p = product(a.high, b.high);
    double cross = a.high * b.low + a.low * b.high;
    return sum_ordered(p.high, p.low + cross);
}

/* log of positive finite x to about 2^-65 relative: 2 atanh(f / (2 + f)). */
INLINE Pair log_pair(double x) {
    double e, f = split_exponent(x, &e) - 1.0;
    double d = 2.0 + f;
    double d_low = f - (d - 2.0);
    double s = f / d;
    Pair back = product(s, d);
    double s_low = (((f - back.high) - back.low) - s * d_low) / d;
    Pair t = {s, s_low};
    Pair z = product_pair(t, t);
    double r = z.high;
    double p = 4.7619047619047616e-02;
    p = p * r + 5.2631578947368418e-02;
    p = p * r + 5.8823529411764705e-02;
    p = p * r + 6.6666666666666667e-02;
    p = p * r + 7.6923076923076927e-02;
    p = p * r + 9.0909090909090912e-02;
    p = p * r + 1.1111111111111111e-01;
    p = p * r + 1.4285714285714285e-01;
    p = p * r + 2.0000000000000001e-01;
    p = p * r * r;
    Pair third = product_pair(z, (Pair){3.3333333333333331e-01, 1.8503717077085942e-17});
    Pair series = sum_ordered(third.high, third.low + p);
    series = product_pair(series, t);
    /* 2 (t + series) + e ln 2, largest first */
    Pair twice = sum_ordered(t.high, series.high);
    twice = sum_ordered(2.0 * twice.high, 2.0 * (twice.low + (t.low + series.low)));
    double head = e * LN2_HIGH;
    double sum = head + twice.high;
    double back2 = sum - head;
    double error = (head - (sum - back2)) + (twice.high - back2);
    /* The rest of ln 2 in two parts: 1.9082149292705877e-10 is good to 2^-86 of ln 2. */
    double low = error + (twice.low + e * LN2_LOW);
    return sum_ordered(sum, low);
}

INLINE double pow_special(double x, double y, double magnitude) {
    double a = __builtin_fabs(x), half = 0.5 * y;
    int whole = __builtin_floor(y) == y, odd = whole & (__builtin_floor(half) != half);
    int up = y > 0.0, huge = __builtin_fabs(y) == INF;
    double limit = pick64(up, INF, 0.0), other = pick64(up, 0.0, INF);
    magnitude = pick64(a == 0.0, other, magnitude);
    magnitude = pick64(a == INF, limit, magnitude);
    magnitude = pick64(huge, pick64((a > 1.0) == up, INF, 0.0), magnitude);
    magnitude = pick64(a == 1.0, 1.0, magnitude);
    double r = pick64((bits64(x) < 0) & odd, -magnitude, magnitude);
    r = pick64((x < 0.0) & !whole & (a != INF), NAN_, r);
    r = pick64((x != x) | (y != y), NAN_, r);
    return pick64((y == 0.0) | (x == 1.0), 1.0, r);
}

double dlc_pow_f64(double x, double y) {
    double c = y > 0x1p80 ? 0x1p80 : y;
    c = c < -0x1p80 ? -0x1p80 : c;
    Pair l = log_pair(__builtin_fabs(x));
    Pair p = product(c, l.high);
    double low = p.low + c * l.low;
    Pair q = sum_ordered(p.high, low);
    int64_t far = __builtin_fabs(q.high) > 800.0;
    return pow_special(x, y, exp_core(q.high, far ? 0.0 : q.low));
}

float dlc_pow_f32(float x, float y) {
    double a = __builtin_fabs((double)x), e;
    double f = split_exponent(a, &e) - 1.0;
    double l = log_core(f, e, 0.0);
    return (float)pow_special((double)x, (double)y, exp_core((double)y * l, 0.0));
}

/* The squares of a and b scaled by a power of two where they might leave the range. */
double dlc_hypot_f64(double x, double y) {
    double a = __builtin_fabs(x), b = __builtin_fabs(y), most = a > b ? a : b;
    double scale = pick64(most > 0x1p500, 0x1p-600, pick64(most < 0x1p-500, 0x1p600, 1.0));
    double back = pick64(most > 0x1p500, 0x1p600, pick64(most < 0x1p-500, 0x1p-600, 1.0));
    double c = a * scale, d = b * scale;
    double r = __builtin_sqrt(c * c + d * d) * back;
    return pick64((a == INF) | (b == INF), INF, r);
}

/* The remainder of |x| by |y| with the sign of x, as C's fmod: exact. By long division of the
 * significands, eleven bits a step: the one loop of these files, since f64 has no wider type. */
INLINE double remainder_of(double x, double y) {
    double a = __builtin_fabs(x), b = __builtin_fabs(y);
    int64_t ka = bits64(a) >> 52, kb = bits64(b) >> 52;
    uint64_t ma = (uint64_t)((bits64(a) & 0xfffffffffffff) | (ka ? 0x10000000000000 : 0));
    uint64_t mb = (uint64_t)((bits64(b) & 0xfffffffffffff) | (kb ? 0x10000000000000 : 0));
    ka = ka ? ka : 1;
    kb = kb ? kb : 1;
    mb = mb ? mb : 1;
    uint64_t r = ma % mb;
    for (int64_t left = ka - kb; left > 0; left -= 11) {
        r = (r << (left < 11 ? left : 11)) % mb;
    }
    int64_t n = kb - 1075, half = n >> 1;
    double m =
        (double)(int64_t)r * double_of((half + 1023) << 52) * double_of((n - half + 1023) << 52);
    m = pick64(a < b, a, m);
    m = pick64((b == 0.0) | !(a < INF) | (y != y), NAN_, m);
    return keep_sign(m, x);
}

/* As NumPy: the sign of y. */
double dlc_mod_f64(double x, double y) {
    double m = remainder_of(x, y);
    double r = pick64((m < 0.0) != (y < 0.0), m + y, m);
    return pick64(m == 0.0, keep_sign(0.0, y), r);
}

/* As NumPy: from the remainder, so that a quotient just below an integer does not round up to it.
 */
double dlc_floordiv_f64(double x, double y) {
    double m = remainder_of(x, y), quotient = x / y;
    double d = (x - m) / y;
    d = pick64((m != 0.0) & ((m < 0.0) != (y < 0.0)), d - 1.0, d);
    double whole = __builtin_floor(d);
    whole = pick64(d - whole > 0.5, whole + 1.0, whole);
    whole = pick64(d == 0.0, keep_sign(0.0, quotient), whole);
    return pick64(y == 0.0, quotient, whole);
}
