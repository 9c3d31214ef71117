/* DLPack tensors in and out; see tensor.h. */
#include "runtime/session/tensor.h"

#include "ir/base/checked.h"
#include "runtime/plan_file/read.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const DLDataType dl_types[PLAN_N_DTYPES] = {
    [PLAN_F64] = {kDLFloat, 64, 1}, [PLAN_F32] = {kDLFloat, 32, 1},
    [PLAN_F16] = {kDLFloat, 16, 1}, [PLAN_BF16] = {kDLBfloat, 16, 1},
    [PLAN_I64] = {kDLInt, 64, 1},   [PLAN_I32] = {kDLInt, 32, 1},
    [PLAN_I8] = {kDLInt, 8, 1},     [PLAN_U8] = {kDLUInt, 8, 1},
    [PLAN_BOOL] = {kDLBool, 8, 1},
};

DLDataType dl_dtype(int32_t plan_dtype) {
    return dl_types[plan_dtype];
}

bool dl_dtype_read(DLDataType dtype, int32_t *out) {
    for (int32_t i = 0; i < PLAN_N_DTYPES; i++) {
        if (dl_types[i].code == dtype.code && dl_types[i].bits == dtype.bits && dtype.lanes == 1) {
            *out = i;
            return true;
        }
    }
    return false;
}

int64_t tensor_elements(const DLTensor *tensor) {
    int64_t n = 1;
    for (int32_t i = 0; i < tensor->ndim; i++) {
        n *= tensor->shape[i];
    }
    return n;
}

dlc_status tensor_check(dlc_context *context, const char *what, const DLTensor *tensor,
                        int32_t *out_dtype) {
    if (!tensor || tensor->ndim < 0 || tensor->ndim > DLC_MAX_RANK ||
        (tensor->ndim > 0 && !tensor->shape)) {
        return context_fail(context, DLC_ERROR_INVALID_ARGUMENT, "%s: not a tensor", what);
    }
    if (tensor->device.device_type != kDLCPU) {
        return context_fail(context, DLC_ERROR_UNSUPPORTED, "%s: the tensor is not in CPU memory",
                            what);
    }
    if (!dl_dtype_read(tensor->dtype, out_dtype)) {
        return context_fail(context, DLC_ERROR_MISMATCH,
                            "%s: element type (code %d, %d bits, %d lanes) is not supported", what,
                            tensor->dtype.code, tensor->dtype.bits, tensor->dtype.lanes);
    }
    int64_t n = plan_dtype_bytes(*out_dtype);
    for (int32_t i = 0; i < tensor->ndim; i++) {
        if (tensor->shape[i] < 0 || !checked_mul(n, tensor->shape[i], &n)) {
            return context_fail(context, DLC_ERROR_INVALID_ARGUMENT, "%s: impossible shape", what);
        }
    }
    if (n > 0 && !tensor->data) {
        return context_fail(context, DLC_ERROR_INVALID_ARGUMENT, "%s: the tensor has no data",
                            what);
    }
    return DLC_OK;
}

/* Copies axis `axis` and those after it. */
static void copy_axis(const DLTensor *tensor, int32_t axis, const char *from, char **to,
                      size_t width) {
    if (axis == tensor->ndim) {
        memcpy(*to, from, width);
        *to += width;
        return;
    }
    int64_t stride = tensor->strides[axis] * (int64_t)width;
    if (axis == tensor->ndim - 1 && tensor->strides[axis] == 1) {
        memcpy(*to, from, (size_t)tensor->shape[axis] * width);
        *to += (size_t)tensor->shape[axis] * width;
        return;
    }
    for (int64_t i = 0; i < tensor->shape[axis]; i++) {
        copy_axis(tensor, axis + 1, from + i * stride, to, width);
    }
}

void tensor_copy_out(const DLTensor *tensor, void *out) {
    int64_t n = tensor_elements(tensor);
    if (n == 0) {
        return;
    }
    size_t width = (size_t)tensor->dtype.bits / 8;
    const char *from = (const char *)tensor->data + tensor->byte_offset;
    if (!tensor->strides) {
        memcpy(out, from, (size_t)n * width);
        return;
    }
    char *to = out;
    copy_axis(tensor, 0, from, &to, width);
}

typedef struct OwnedTensor {
    DLManagedTensorVersioned tensor;
    dlc_allocator allocator;
    int64_t dims[DLC_MAX_RANK];
    void *data;
} OwnedTensor;

static void owned_delete(DLManagedTensorVersioned *self) {
    OwnedTensor *owned = self->manager_ctx;
    dlc_allocator allocator = owned->allocator;
    memory_free_aligned(&allocator, owned->data);
    memory_free(&allocator, owned);
}

DLManagedTensorVersioned *tensor_new(const dlc_allocator *allocator, int32_t dtype, int32_t rank,
                                     const int64_t *dims) {
    int64_t bytes = plan_dtype_bytes(dtype);
    for (int32_t i = 0; i < rank; i++) {
        if (!checked_mul(bytes, dims[i], &bytes)) {
            return NULL;
        }
    }
    OwnedTensor *owned = memory_new(allocator, 1, sizeof(*owned));
    if (!owned) {
        return NULL;
    }
    owned->data = memory_new_aligned(allocator, (size_t)bytes);
    if (!owned->data) {
        memory_free(allocator, owned);
        return NULL;
    }
    memset(owned->data, 0, (size_t)bytes);
    owned->allocator = *allocator;
    memcpy(owned->dims, dims, (size_t)rank * sizeof(*dims));
    owned->tensor = (DLManagedTensorVersioned){
        .version = {1, 0},
        .manager_ctx = owned,
        .deleter = owned_delete,
        .dl_tensor = {.data = owned->data,
                      .device = {kDLCPU, 0},
                      .ndim = rank,
                      .dtype = dl_dtype(dtype),
                      .shape = owned->dims},
    };
    return &owned->tensor;
}

void shape_text(const int64_t *dims, int32_t rank, char *out, size_t out_bytes) {
    size_t at = 0;
    out[0] = '\0';
    for (int32_t i = 0; i <= rank && at < out_bytes; i++) {
        int n = i == rank
                    ? snprintf(out + at, out_bytes - at, rank ? "]" : "[]")
                    : snprintf(out + at, out_bytes - at, "%s%" PRId64, i ? ", " : "[", dims[i]);
        at += n > 0 ? (size_t)n : 0;
    }
}

static double half_double(uint16_t bits) {
    int exponent = bits >> 10 & 31;
    double fraction = bits & 1023;
    double value = exponent == 0    ? ldexp(fraction, -24)
                   : exponent == 31 ? (fraction != 0 ? NAN : INFINITY)
                                    : ldexp(fraction + 1024, exponent - 25);
    return bits & 0x8000 ? -value : value;
}

double element_double(const void *at, int32_t dtype) {
    union {
        double f64;
        float f32;
        uint32_t u32;
        uint16_t u16;
        int64_t i64;
        int32_t i32;
        int8_t i8;
        uint8_t u8;
    } u = {0};
    memcpy(&u, at, (size_t)plan_dtype_bytes(dtype));
    switch (dtype) {
    case PLAN_F64:
        return u.f64;
    case PLAN_F32:
        return (double)u.f32;
    case PLAN_F16:
        return half_double(u.u16);
    case PLAN_BF16:
        u.u32 = (uint32_t)u.u16 << 16;
        return (double)u.f32;
    case PLAN_I64:
        return (double)u.i64;
    case PLAN_I32:
        return u.i32;
    case PLAN_I8:
        return u.i8;
    default:
        return u.u8;
    }
}
