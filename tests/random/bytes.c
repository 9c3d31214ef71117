/* See bytes.h. */
#include "tests/random/bytes.h"
#include "tests/unit/half.h"

#include <stdlib.h>
#include <string.h>

DLDataType bytes_dtype(DType dtype) {
    static const uint8_t CODES[DT_COUNT] = {
        [DT_F64] = kDLFloat,   [DT_F32] = kDLFloat, [DT_F16] = kDLFloat,
        [DT_BF16] = kDLBfloat, [DT_I64] = kDLInt,   [DT_I32] = kDLInt,
        [DT_I8] = kDLInt,      [DT_U8] = kDLUInt,   [DT_BOOL] = kDLBool,
    };
    return (DLDataType){CODES[dtype], (uint8_t)(8 * dtype_bytes(dtype)), 1};
}

static void put(DType dtype, uint8_t *at, double f, int64_t i) {
    float narrow = (float)f;
    int32_t word = (int32_t)i;
    uint32_t bits = 0;
    uint16_t half = 0;
    switch (dtype) {
    case DT_F64:
        memcpy(at, &f, 8);
        break;
    case DT_F32:
        memcpy(at, &narrow, 4);
        break;
    case DT_F16:
        half = half_bits(f);
        memcpy(at, &half, 2);
        break;
    case DT_BF16:
        memcpy(&bits, &narrow, 4);
        half = (uint16_t)(bits >> 16);
        memcpy(at, &half, 2);
        break;
    case DT_I64:
        memcpy(at, &i, 8);
        break;
    case DT_I32:
        memcpy(at, &word, 4);
        break;
    default:
        *at = (uint8_t)i;
        break;
    }
}

static void get(DType dtype, const uint8_t *at, double *f, int64_t *i) {
    float narrow = 0;
    int32_t word = 0;
    uint32_t bits = 0;
    uint16_t half = 0;
    switch (dtype) {
    case DT_F64:
        memcpy(f, at, 8);
        break;
    case DT_F32:
        memcpy(&narrow, at, 4);
        *f = (double)narrow;
        break;
    case DT_F16:
        memcpy(&half, at, 2);
        *f = half_value(half);
        break;
    case DT_BF16:
        memcpy(&half, at, 2);
        bits = (uint32_t)half << 16;
        memcpy(&narrow, &bits, 4);
        *f = (double)narrow;
        break;
    case DT_I64:
        memcpy(i, at, 8);
        break;
    case DT_I32:
        memcpy(&word, at, 4);
        *i = word;
        break;
    case DT_I8:
        *i = (int8_t)*at;
        break;
    default:
        *i = *at;
        break;
    }
}

void *bytes_of(const EvalTensor *tensor) {
    size_t each = (size_t)dtype_bytes(tensor->dtype);
    uint8_t *bytes = malloc((size_t)tensor->n * each + 1);
    for (int64_t k = 0; bytes && k < tensor->n; k++) {
        put(tensor->dtype, bytes + (size_t)k * each, tensor->f ? tensor->f[k] : 0,
            tensor->i ? tensor->i[k] : 0);
    }
    return bytes;
}

bool bytes_read(const DLTensor *from, EvalTensor *out) {
    DLDataType dtype = bytes_dtype(out->dtype);
    if (from->dtype.code != dtype.code || from->dtype.bits != dtype.bits ||
        from->ndim != out->rank) {
        return false;
    }
    for (int32_t k = 0; k < out->rank; k++) {
        if (from->shape[k] != out->dims[k]) {
            return false;
        }
    }
    size_t each = (size_t)dtype_bytes(out->dtype);
    const uint8_t *bytes = (const uint8_t *)from->data + from->byte_offset;
    for (int64_t k = 0; k < out->n; k++) {
        double f = 0;
        int64_t i = 0;
        get(out->dtype, bytes + (size_t)k * each, &f, &i);
        if (out->f) {
            out->f[k] = f;
        } else {
            out->i[k] = i;
        }
    }
    return true;
}
