/* Conversion between element types, value by value through int64 or double, with the pairs that
 * loading data uses most written out (data_type.h). */
#include "runtime/data/data_type.h"

#include "ir/base/number.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct DataTypeRow {
    const char *name;
    size_t bytes;
    bool is_float;
    PlanDType natural;
    int64_t low, high; /* of integers */
} DataTypeRow;

static const DataTypeRow rows[DATA_N_TYPES] = {
    [DATA_F64] = {"f64", 8, true, PLAN_F64, 0, 0},
    [DATA_F32] = {"f32", 4, true, PLAN_F32, 0, 0},
    [DATA_F16] = {"f16", 2, true, PLAN_F16, 0, 0},
    [DATA_BF16] = {"bf16", 2, true, PLAN_BF16, 0, 0},
    [DATA_I64] = {"i64", 8, false, PLAN_I64, INT64_MIN, INT64_MAX},
    [DATA_I32] = {"i32", 4, false, PLAN_I32, INT32_MIN, INT32_MAX},
    [DATA_I8] = {"i8", 1, false, PLAN_I8, INT8_MIN, INT8_MAX},
    [DATA_U8] = {"u8", 1, false, PLAN_U8, 0, UINT8_MAX},
    [DATA_BOOL] = {"bool", 1, false, PLAN_BOOL, 0, 1},
    [DATA_I16] = {"i16", 2, false, PLAN_I32, INT16_MIN, INT16_MAX},
    [DATA_U16] = {"u16", 2, false, PLAN_I32, 0, UINT16_MAX},
    [DATA_U32] = {"u32", 4, false, PLAN_I64, 0, UINT32_MAX},
    [DATA_U64] = {"u64", 8, false, PLAN_I64, 0, INT64_MAX},
};

bool data_are_bools(const uint8_t *bytes, size_t n, size_t *out_bad) {
    size_t i = 0;
    while (i < n && bytes[i] <= 1) {
        i++;
    }
    *out_bad = i;
    return i == n;
}

const char *data_type_name(DataType type) {
    return (unsigned)type < DATA_N_TYPES ? rows[type].name : "?";
}

size_t data_type_bytes(DataType type) {
    return rows[type].bytes;
}

bool data_type_from_name(const char *name, DataType *out) {
    for (int i = 0; i < DATA_N_TYPES; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *out = (DataType)i;
            return true;
        }
    }
    return false;
}

bool data_type_is_float(DataType type) {
    return rows[type].is_float;
}

PlanDType data_type_natural(DataType type) {
    return rows[type].natural;
}

static float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

float half_to_float(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    uint32_t exponent = (bits >> 10) & 31u, fraction = bits & 1023u;
    if (exponent == 31) {
        return float_of_bits(sign | 0x7F800000u | (fraction << 13));
    }
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24, exact */
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    return float_of_bits(sign | ((exponent + 112) << 23) | (fraction << 13));
}

uint16_t half_from_float(float value) {
    uint32_t bits = bits_of_float(value), sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) {
        return (uint16_t)(sign | 0x7E00u | ((magnitude >> 13) & 0x1FFu));
    }
    if (magnitude >= 0x47800000u) { /* 65536 and above, infinity included */
        return (uint16_t)(sign | 0x7C00u);
    }
    if (magnitude < 0x38800000u) { /* below 2^-14: the sum rounds to the subnormal's last place */
        float shifted = float_of_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (bits_of_float(shifted) - bits_of_float(0.5f)));
    }
    uint32_t odd = (magnitude >> 13) & 1u;
    return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xFFFu + odd) >> 13));
}

float bfloat_to_float(uint16_t bits) {
    return float_of_bits((uint32_t)bits << 16);
}

uint16_t bfloat_from_float(float value) {
    uint32_t bits = bits_of_float(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) {
        return (uint16_t)((bits >> 16) | 0x40u);
    }
    return (uint16_t)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

#define LOAD(type)                                                                                 \
    type value;                                                                                    \
    memcpy(&value, at, sizeof(value))

static double load_float(const uint8_t *at, DataType type) {
    if (type == DATA_F64) {
        LOAD(double);
        return value;
    }
    if (type == DATA_F32) {
        LOAD(float);
        return (double)value;
    }
    LOAD(uint16_t);
    return (double)(type == DATA_F16 ? half_to_float(value) : bfloat_to_float(value));
}

/* false when a u64 exceeds int64. */
static bool load_integer(const uint8_t *at, DataType type, int64_t *out) {
    switch (type) {
    case DATA_I64: {
        LOAD(int64_t);
        *out = value;
        return true;
    }
    case DATA_I32: {
        LOAD(int32_t);
        *out = value;
        return true;
    }
    case DATA_I16: {
        LOAD(int16_t);
        *out = value;
        return true;
    }
    case DATA_I8: {
        LOAD(int8_t);
        *out = value;
        return true;
    }
    case DATA_U16: {
        LOAD(uint16_t);
        *out = value;
        return true;
    }
    case DATA_U32: {
        LOAD(uint32_t);
        *out = value;
        return true;
    }
    case DATA_U64: {
        LOAD(uint64_t);
        *out = (int64_t)value;
        return value <= (uint64_t)INT64_MAX;
    }
    default:
        *out = *at;
        return true;
    }
}

void data_value_text(const void *element, DataType type, char out[DATA_VALUE_BYTES]) {
    int64_t integer = 0;
    if (rows[type].is_float) {
        int digits = type == DATA_F64 ? 17 : 9;
        double value = load_float(element, type);
        NumberText text = digits == 17 ? number_shortest(value) : number_text(value, digits);
        memcpy(out, text.text, sizeof(text.text));
    } else if (load_integer(element, type, &integer)) {
        snprintf(out, DATA_VALUE_BYTES, "%lld", (long long)integer);
    } else {
        snprintf(out, DATA_VALUE_BYTES, "%llu", (unsigned long long)(uint64_t)integer);
    }
}

static void store_integer(uint8_t *at, PlanDType type, int64_t value) {
    if (type == PLAN_I64) {
        memcpy(at, &value, sizeof(value));
    } else if (type == PLAN_I32) {
        int32_t narrow = (int32_t)value;
        memcpy(at, &narrow, sizeof(narrow));
    } else {
        *at = (uint8_t)value;
    }
}

/* f16 and bf16 are rounded by way of f32, to odd so that the second rounding is the only one. */
static float round_to_odd(double value) {
    float narrow = (float)value;
    if (isfinite(narrow) && (double)narrow != value) {
        uint32_t bits = bits_of_float(narrow);
        if (fabs((double)narrow) > fabs(value)) {
            bits--; /* towards zero */
        }
        return float_of_bits(bits | 1u);
    }
    return narrow;
}

/* false when a finite value becomes infinite. */
static bool store_float(uint8_t *at, PlanDType type, double value) {
    if (type == PLAN_F64) {
        memcpy(at, &value, sizeof(value));
        return true;
    }
    if (type == PLAN_F32) {
        float narrow = (float)value;
        memcpy(at, &narrow, sizeof(narrow));
        return isfinite(narrow) || !isfinite(value);
    }
    float narrow = round_to_odd(value);
    uint16_t bits = type == PLAN_F16 ? half_from_float(narrow) : bfloat_from_float(narrow);
    memcpy(at, &bits, sizeof(bits));
    float back = type == PLAN_F16 ? half_to_float(bits) : bfloat_to_float(bits);
    return isfinite(back) || !isfinite(value);
}

static ConvertResult convert_slow(const uint8_t *from, DataType from_type, uint8_t *to,
                                  PlanDType to_type, int64_t count, double scale,
                                  int64_t *out_bad) {
    size_t from_bytes = rows[from_type].bytes, to_bytes = rows[to_type].bytes;
    bool to_float = rows[to_type].is_float, from_float = rows[from_type].is_float;
    for (int64_t i = 0; i < count; i++, from += from_bytes, to += to_bytes) {
        int64_t integer = 0;
        bool whole = true, ok = from_float || load_integer(from, from_type, &integer);
        if (from_float && !to_float) {
            double value = load_float(from, from_type);
            long long number = 0;
            whole = isinf(value) || value == trunc(value); /* nan is not */
            ok = number_whole(value, &number);
            integer = number;
        }
        if (ok && to_float) {
            double value = from_float ? load_float(from, from_type) : (double)integer;
            ok = store_float(to, to_type, value * scale);
        } else if (ok) {
            ok = integer >= rows[to_type].low && integer <= rows[to_type].high;
            store_integer(to, to_type, integer);
        }
        if (!ok) {
            *out_bad = i;
            return whole ? CONVERT_RANGE : CONVERT_FRACTION;
        }
    }
    return CONVERT_OK;
}

static bool convert_fast(const uint8_t *from, DataType from_type, uint8_t *to, PlanDType to_type,
                         int64_t count, double scale) {
    if (from_type == DATA_U8 && to_type == PLAN_F32) {
        for (int64_t i = 0; i < count; i++) {
            float value = (float)((double)from[i] * scale);
            memcpy(to + i * 4, &value, 4);
        }
        return true;
    }
    if (from_type == DATA_U8 && to_type == PLAN_I32) {
        for (int64_t i = 0; i < count; i++) {
            int32_t value = from[i];
            memcpy(to + i * 4, &value, 4);
        }
        return true;
    }
    return false;
}

ConvertResult data_convert(const void *source, DataType from, void *target, PlanDType to,
                           int64_t count, double scale, int64_t *out_bad) {
    *out_bad = 0;
    scale = rows[to].is_float && scale != 0 ? scale : 1.0;
    if (count <= 0) {
        return CONVERT_OK;
    }
    if (from == (DataType)to && scale == 1.0) {
        memcpy(target, source, (size_t)count * rows[from].bytes);
        return CONVERT_OK;
    }
    if (convert_fast(source, from, target, to, count, scale)) {
        return CONVERT_OK;
    }
    return convert_slow(source, from, target, to, count, scale, out_bad);
}
