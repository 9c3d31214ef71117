/* The arguments of the intrinsics' kernels: the same on every machine, from the case alone. */
#include "tests/gpu/gpukit.h"

#include "runtime/session/tensor.h"

#include <math.h>
#include <string.h>

static uint64_t mix(uint64_t z) {
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* [-1, 1) */
static double unit_of(uint64_t bits) {
    return (double)(bits >> 12) * 0x1p-51 - 1;
}

static float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float float_of_f16(uint16_t half) {
    return (float)element_double((const uint8_t *)&half, PLAN_F16);
}

static uint16_t top_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)(bits >> 16);
}

/* k / 64 for k in [-64, 64], and whole numbers up to 8: both have few bits. */
static uint16_t f16_of_small(double value) {
    int exponent;
    double fraction = frexp(fabs(value), &exponent);
    uint16_t sign = value < 0 ? 0x8000 : 0;
    return fraction == 0
               ? 0
               : (uint16_t)(sign | ((exponent + 14) << 10) | ((int)(fraction * 2048) & 0x3ff));
}

static double any_real(uint64_t a, uint64_t b, bool wide) {
    static const double special[] = {0.0,
                                     -0.0,
                                     1,
                                     -1,
                                     INFINITY,
                                     -INFINITY,
                                     NAN,
                                     -NAN,
                                     0x1p-149,
                                     -0x1p-126,
                                     0x1.fffffep127,
                                     -0x1.fffffep127,
                                     0.5,
                                     1.5,
                                     2.5,
                                     -2.5,
                                     88.72283,
                                     -103.97208,
                                     709.78,
                                     -745.2,
                                     2147483647.0,
                                     -2147483648.0,
                                     2147483648.0,
                                     4294967296.0,
                                     9223372036854775808.0,
                                     -9223372036854775808.0,
                                     127.5,
                                     255.5,
                                     -128.5,
                                     3.14159265358979,
                                     1e-300,
                                     0x1p-1074};
    switch (a % 7) {
    case 0:
    case 1:
        return unit_of(b);
    case 2:
        return 100 * unit_of(b);
    case 3:
        return 0x1p-20 * unit_of(b);
    case 4:
        return 0.5 * (double)(int64_t)(b % 161) - 40;
    case 5:
        return ldexp(unit_of(b), (int)((a >> 8) % (wide ? 1900 : 240)) - (wide ? 950 : 120));
    default:
        return special[b % (sizeof special / sizeof special[0])];
    }
}

static int64_t any_integer(uint64_t a, uint64_t b, int64_t least, int64_t most) {
    const int64_t special[] = {0, 1, -1, least, most, least + 1, most - 1, 2, 7, -7};
    switch (a % 4) {
    case 0:
        return (int64_t)(b % 101) - 50;
    case 1:
        return special[b % 10];
    default:
        return (int64_t)b;
    }
}

static uint16_t halves16(int32_t values, int64_t i, uint64_t a) {
    int64_t whole = (int64_t)(a % 17) - 8;
    double part = (double)((int64_t)(a % 129) - 64) / 64;
    switch (values) {
    case VALUES_HALVES:
        return (uint16_t)i;
    case VALUES_F16_UNIT:
        return f16_of_small(part);
    case VALUES_BF16_UNIT:
        return top_half((float)part);
    case VALUES_F16_WHOLE:
        return f16_of_small((double)whole);
    case VALUES_BF16_WHOLE:
        return top_half((float)whole);
    default:
        return (uint16_t)a;
    }
}

/* f16 and bf16 values, then points halfway between neighbours and what lies beside those. */
static float halves32(int64_t i) {
    uint16_t pattern = (uint16_t)i;
    uint32_t bits;
    int32_t off = (int32_t)(i % 3) - 1;
    float value = float_of_f16(pattern);
    switch (i >> 16) {
    case 0:
        return value;
    case 1:
        return float_of_bits((uint32_t)pattern << 16);
    case 2:
        if (fabsf(value) < 0x1p-14f) {
            value += copysignf(0x1p-25f, value);
        }
        memcpy(&bits, &value, sizeof bits);
        bits |= fabsf(value) < 0x1p-14f ? 0 : 0x1000;
        break;
    default:
        bits = (uint32_t)pattern << 16 | 0x8000;
        break;
    }
    return float_of_bits((bits & 0x7fffffff) == 0 ? bits : bits + (uint32_t)off);
}

static double real_of(const IntrinsicInput *input, uint64_t a, uint64_t b) {
    switch (input->values) {
    case VALUES_UNIT:
        return unit_of(a);
    case VALUES_WHOLE:
        return (double)(int64_t)(a % 17) - 8;
    case VALUES_MILD:
        return (a & 1 ? 1 : -1) * exp2(0.1 * unit_of(b));
    default:
        return any_real(a, b, input->type == INTRINSIC_F64);
    }
}

static int64_t integer_of(const IntrinsicInput *input, uint64_t a, uint64_t b) {
    switch (input->values) {
    case VALUES_INDEX:
        return (int64_t)(b >> (24 + a % 40));
    case VALUES_DIVISOR:
        return 1 + (int64_t)((b & 0xfffff) >> a % 20);
    case VALUES_SMALL:
        return (int64_t)((b & 0x7fffffff) >> a % 31);
    case VALUES_FEW:
        return 1 + (int64_t)(b % 1000);
    default:
        return input->type == INTRINSIC_I32 ? any_integer(a, b, INT32_MIN, INT32_MAX)
                                            : any_integer(a, b, INT64_MIN, INT64_MAX);
    }
}

int kit_intrinsic_bytes(int32_t type) {
    switch (type) {
    case INTRINSIC_U8:
    case INTRINSIC_BOOL:
        return 1;
    case INTRINSIC_U16:
        return 2;
    case INTRINSIC_I32:
    case INTRINSIC_F32:
        return 4;
    default:
        return 8;
    }
}

void kit_intrinsic_values(const IntrinsicInput *input, int number, void *to) {
    for (int64_t i = 0; i < input->count; i++) {
        uint64_t a = mix((uint64_t)i * 8 + (uint64_t)number), b = mix(a);
        double real;
        float narrow;
        int64_t whole;
        switch (input->type) {
        case INTRINSIC_U8:
            ((uint8_t *)to)[i] = (uint8_t)a;
            break;
        case INTRINSIC_BOOL: /* some warps all alike */
            ((uint8_t *)to)[i] = (i / 32) % 4 == 0 ? 0 : (i / 32) % 4 == 1 ? 1 : a % 31 != 0;
            break;
        case INTRINSIC_U16:
            ((uint16_t *)to)[i] = halves16(input->values, i, a);
            break;
        case INTRINSIC_I32:
            ((int32_t *)to)[i] = (int32_t)integer_of(input, a, b);
            break;
        case INTRINSIC_I64:
            whole = integer_of(input, a, b);
            memcpy((uint8_t *)to + 8 * i, &whole, 8);
            break;
        case INTRINSIC_F32:
            narrow = input->values == VALUES_HALVES              ? halves32(i)
                     : input->values == VALUES_ANY && i % 4 == 0 ? float_of_bits((uint32_t)b)
                                                                 : (float)real_of(input, a, b);
            memcpy((uint8_t *)to + 4 * i, &narrow, 4);
            break;
        default:
            real = real_of(input, a, b);
            if (input->values == VALUES_ANY && i % 4 == 0) {
                memcpy(&real, &b, 8);
            }
            memcpy((uint8_t *)to + 8 * i, &real, 8);
            break;
        }
    }
}
