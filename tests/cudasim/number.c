/* See number.h. */
#include "tests/cudasim/number.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

int number_bytes(SimNumber number) {
    static const int bytes[] = {
        [SIM_NO_NUMBER] = 0, [SIM_F64] = 8, [SIM_F32] = 4, [SIM_F16] = 2, [SIM_BF16] = 2};
    return bytes[number];
}

static double half_value(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double value = exponent == 31  ? (fraction ? NAN : INFINITY)
                   : exponent == 0 ? ldexp(fraction, -24)
                                   : ldexp(1024 + fraction, exponent - 25);
    return bits & 0x8000 ? -value : value;
}

double number_load(SimNumber number, const void *from) {
    double wide;
    float single;
    uint16_t bits;
    uint32_t word;
    switch (number) {
    case SIM_F64:
        memcpy(&wide, from, sizeof wide);
        return wide;
    case SIM_F32:
        memcpy(&single, from, sizeof single);
        return single;
    case SIM_BF16:
        memcpy(&bits, from, sizeof bits);
        word = (uint32_t)bits << 16;
        memcpy(&single, &word, sizeof single);
        return single;
    default:
        memcpy(&bits, from, sizeof bits);
        return half_value(bits);
    }
}

/* To nearest, halves to even: `fraction_bits` behind the point, exponents from `least`. */
static double round_to(double x, int fraction_bits, int least) {
    int exponent;
    if (x == 0 || !isfinite(x)) {
        return x;
    }
    (void)frexp(x, &exponent);
    int unit = exponent - 1 - fraction_bits;
    unit = unit < least - fraction_bits ? least - fraction_bits : unit;
    return ldexp(nearbyint(ldexp(x, -unit)), unit);
}

static uint16_t half_bits(double x) {
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    double value = fabs(round_to(x, 10, -14));
    if (isnan(x)) {
        return 0x7fff;
    }
    if (value >= 65520) {
        return (uint16_t)(sign | 0x7c00);
    }
    if (value < ldexp(1, -14)) {
        return (uint16_t)(sign | (uint16_t)ldexp(value, 24));
    }
    int exponent;
    (void)frexp(value, &exponent);
    int fraction = (int)ldexp(value, 11 - exponent) - 1024;
    return (uint16_t)(sign | (exponent + 14) << 10 | fraction);
}

void number_store(SimNumber number, void *to, double value) {
    float single;
    uint16_t bits;
    uint32_t word;
    switch (number) {
    case SIM_F64:
        memcpy(to, &value, sizeof value);
        return;
    case SIM_F32:
        single = (float)value;
        memcpy(to, &single, sizeof single);
        return;
    case SIM_BF16:
        single = isnan(value) ? NAN : (float)round_to(value, 7, -126);
        memcpy(&word, &single, sizeof word);
        bits = (uint16_t)(word >> 16);
        memcpy(to, &bits, sizeof bits);
        return;
    default:
        bits = half_bits(value);
        memcpy(to, &bits, sizeof bits);
        return;
    }
}
