/* What the rows of scalar.def mean on numbers, and the roundings of the element types. The
 * interpreter and constant folding share it. */
#include "ir/base/checked.h"
#include "ir/interp.h"
#include <math.h>
#include <string.h>

/* Remainder with the divisor's sign, as NumPy's; exact but for the last addition. */
static double float_mod(double x, double y) {
    double m = fmod(x, y);
    if (m == 0) {
        return copysign(0.0, y);
    }
    return (m < 0) != (y < 0) && !isnan(m) ? m + y : m;
}

/* Quotient rounded down, as NumPy's: from the remainder, so that a quotient just below an integer
 * does not round up to it; x / y where y is 0. */
static double float_floordiv(double x, double y) {
    if (y == 0) {
        return x / y;
    }
    double m = fmod(x, y);
    double d = (x - m) / y - (m != 0 && (m < 0) != (y < 0) ? 1.0 : 0.0);
    if (d == 0) {
        return copysign(0.0, x / y);
    }
    double whole = floor(d);
    return d - whole > 0.5 ? whole + 1.0 : whole;
}

double scalar_eval_float(OpCode code, const double *operands) {
    switch (code) {
#define SCALAR(name, arity, class_, result, cost, gradient, domain, slope, precision, elements,    \
               sign, identity, linear, function, c_f64, ...)                                       \
    case OP_##name: {                                                                              \
        const double x = operands[0];                                                              \
        const double y = (arity) > 1 ? operands[1] : 0.0;                                          \
        const double z = (arity) > 2 ? operands[2] : 0.0;                                          \
        (void)x;                                                                                   \
        (void)y;                                                                                   \
        (void)z;                                                                                   \
        return (double)(c_f64);                                                                    \
    }
#include "ir/scalar.def"
#undef SCALAR
    default:
        return (double)NAN;
    }
}

static int64_t wrapping_add(int64_t x, int64_t y) {
    return (int64_t)((uint64_t)x + (uint64_t)y);
}

static int64_t wrapping_sub(int64_t x, int64_t y) {
    return (int64_t)((uint64_t)x - (uint64_t)y);
}

static int64_t wrapping_mul(int64_t x, int64_t y) {
    return (int64_t)((uint64_t)x * (uint64_t)y);
}

static int64_t int_floordiv(int64_t x, int64_t y) {
    if (y == 0) {
        return 0;
    }
    return y == -1 ? wrapping_sub(0, x) : floor_div(x, y);
}

static int64_t int_mod(int64_t x, int64_t y) {
    return y == 0 || y == -1 ? 0 : floor_mod(x, y);
}

int64_t scalar_eval_int(OpCode code, DType operand_dtype, const int64_t *operands) {
    switch (code) {
#define SCALAR(name, arity, class_, result, cost, gradient, domain, slope, precision, elements,    \
               sign, identity, linear, function, c_f64, c_i64, ...)                                \
    case OP_##name: {                                                                              \
        const int64_t x = operands[0];                                                             \
        const int64_t y = (arity) > 1 ? operands[1] : 0;                                           \
        const int64_t z = (arity) > 2 ? operands[2] : 0;                                           \
        (void)x;                                                                                   \
        (void)y;                                                                                   \
        (void)z;                                                                                   \
        return wrap_int(c_i64, operand_dtype);                                                     \
    }
#include "ir/scalar.def"
#undef SCALAR
    default:
        return 0;
    }
}

double scalar_identity(OpCode code) {
    switch (op_info(code)->scalar_identity) {
    case IDENTITY_NONE:
    case IDENTITY_ZERO:
        break;
    case IDENTITY_ONE:
        return 1;
    case IDENTITY_LEAST:
        return -(double)INFINITY;
    case IDENTITY_GREATEST:
        return (double)INFINITY;
    }
    return 0;
}

int64_t scalar_int_identity(OpCode code, DType dtype) {
    bool is_natural = dtype == DT_BOOL || dtype == DT_U8;
    int bits = dtype == DT_BOOL ? 1 : dtype_bytes(dtype) * 8 - !is_natural;
    int64_t greatest = bits == 63 ? INT64_MAX : (INT64_C(1) << bits) - 1;
    switch (op_info(code)->scalar_identity) {
    case IDENTITY_NONE:
    case IDENTITY_ZERO:
        break;
    case IDENTITY_ONE:
        return 1;
    case IDENTITY_LEAST:
        return is_natural ? 0 : -greatest - 1;
    case IDENTITY_GREATEST:
        return greatest;
    }
    return 0;
}

/* Nearest value with `digits` significant bits, ties to even, smallest exponent `least`, infinity
 * above `greatest`. */
static double round_to_digits(double value, int digits, int least, double greatest) {
    if (value == 0 || !isfinite(value)) {
        return value;
    }
    int exponent = ilogb(value);
    double unit = ldexp(1.0, (exponent < least ? least : exponent) - digits + 1);
    double rounded = nearbyint(value / unit) * unit;
    if (fabs(rounded) > greatest) {
        return copysign((double)INFINITY, value);
    }
    return rounded;
}

double round_to_dtype(double value, DType dtype) {
    switch (dtype) {
    case DT_F32:
        return (double)(float)value;
    case DT_F16:
        return round_to_digits(value, 11, -14, 65504.0);
    case DT_BF16:
        return round_to_digits(value, 8, -126, 0x1.FEp127);
    default:
        return value;
    }
}

uint16_t float_bits16(double value, DType dtype) {
    double rounded = round_to_dtype(value, dtype), size = fabs(rounded);
    uint16_t sign = signbit(rounded) ? 0x8000 : 0;
    if (dtype == DT_BF16) {
        float single = (float)rounded;
        uint32_t bits;
        memcpy(&bits, &single, sizeof(bits));
        return (uint16_t)(bits >> 16);
    }
    if (isnan(size) || isinf(size)) {
        return (uint16_t)(sign | (isnan(size) ? 0x7e00 : 0x7c00));
    }
    int exponent = size < 0x1p-14 ? -14 : ilogb(size); /* subnormals count from the least one */
    int fraction = (int)ldexp(size, 10 - exponent);
    return (uint16_t)(sign | ((exponent + 14) * 1024 + fraction));
}

int64_t float_to_int(double value, DType dtype) {
    if (isnan(value)) {
        return 0;
    }
    int64_t low = INT64_MIN, high = INT64_MAX;
    switch (dtype) {
    case DT_I32:
        low = INT32_MIN;
        high = INT32_MAX;
        break;
    case DT_I8:
        low = INT8_MIN;
        high = INT8_MAX;
        break;
    case DT_U8:
        low = 0;
        high = UINT8_MAX;
        break;
    case DT_BOOL:
        return value != 0;
    default:
        break;
    }
    if (value <= (double)low) {
        return low;
    }
    return value >= (double)high ? high : (int64_t)value;
}

int64_t wrap_int(int64_t value, DType dtype) {
    switch (dtype) {
    case DT_I32:
        return (int32_t)(uint32_t)(uint64_t)value;
    case DT_I8:
        return (int8_t)(uint8_t)(uint64_t)value;
    case DT_U8:
        return (uint8_t)(uint64_t)value;
    case DT_BOOL:
        return value != 0;
    default:
        return value;
    }
}
