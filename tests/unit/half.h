/* Half precision written out bit by bit, apart from the code under test; rounds to nearest, ties to
 * even. Not every compiler has _Float16. */
#ifndef DLC_TESTS_UNIT_HALF_H
#define DLC_TESTS_UNIT_HALF_H

#include <math.h>
#include <stdint.h>

static inline uint16_t half_bits(double value) {
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    if (isnan(value)) {
        return 0x7E00;
    }
    int exponent = 0;
    double fraction = frexp(fabs(value), &exponent); /* 0.5 to 1, or 0 */
    if (fraction == 0) {
        return sign;
    }
    if (isinf(value) || exponent > 16) {
        return (uint16_t)(sign | 0x7C00);
    }
    if (exponent < -13) { /* subnormal: units of 2^-24 */
        return (uint16_t)(sign | (uint16_t)nearbyint(ldexp(fabs(value), 24)));
    }
    uint16_t mantissa =
        (uint16_t)nearbyint(ldexp(fraction, 11)); /* 1024 to 2048: the sum carries */
    return (uint16_t)(sign | (((exponent + 14) << 10) + mantissa - 1024));
}

static inline double half_value(uint16_t bits) {
    int exponent = bits >> 10 & 31;
    double mantissa = bits & 0x3FF;
    double size = exponent == 31  ? (mantissa != 0 ? NAN : INFINITY)
                  : exponent == 0 ? ldexp(mantissa, -24)
                                  : ldexp(mantissa + 1024, exponent - 25);
    return bits & 0x8000 ? -size : size;
}

#endif
