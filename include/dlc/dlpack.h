/* The tensor structures of DLPack 1.0, byte for byte (https://github.com/dmlc/dlpack), for exchange
 * with NumPy, PyTorch, JAX and others. Including a real dlpack.h before this file is fine: what it
 * defines is not defined again. */
#ifndef DLC_DLPACK_H
#define DLC_DLPACK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef DLPACK_DLPACK_H_

typedef enum { kDLCPU = 1, kDLCUDA = 2 } DLDeviceType;

typedef struct {
    DLDeviceType device_type;
    int32_t device_id;
} DLDevice;

typedef enum {
    kDLInt = 0,
    kDLUInt = 1,
    kDLFloat = 2,
    kDLBfloat = 4,
    kDLComplex = 5,
    kDLBool = 6
} DLDataTypeCode;

/* One element; lanes is 1 for ordinary tensors. */
typedef struct {
    uint8_t code; /* DLDataTypeCode */
    uint8_t bits;
    uint16_t lanes;
} DLDataType;

/* A borrowed tensor. Element (i, j, …) is at data + byte_offset + (i*strides[0] + j*strides[1] + …)
 * elements; strides NULL: row-major and compact. */
typedef struct {
    void *data;
    DLDevice device;
    int32_t ndim;
    DLDataType dtype;
    int64_t *shape;
    int64_t *strides;
    uint64_t byte_offset;
} DLTensor;

#endif /* DLPACK_DLPACK_H_ */

#ifndef DLPACK_MAJOR_VERSION /* first defined by the version that brought the struct below */

typedef struct {
    uint32_t major, minor;
} DLPackVersion;

/* An owned tensor: whoever consumes it calls deleter(self) once, when done. */
typedef struct DLManagedTensorVersioned {
    DLPackVersion version;
    void *manager_ctx;
    void (*deleter)(struct DLManagedTensorVersioned *self);
    uint64_t flags;
    DLTensor dl_tensor;
} DLManagedTensorVersioned;

#endif

#ifdef __cplusplus
}
#endif

#endif
