/* Tensors at the border: DLPack's types to ours, strided copies, tensors that own themselves. */
#ifndef DLC_RUNTIME_SESSION_TENSOR_H
#define DLC_RUNTIME_SESSION_TENSOR_H

#include "runtime/context.h"
#include "runtime/plan.h"

DLDataType dl_dtype(int32_t plan_dtype);
bool dl_dtype_read(DLDataType dtype, int32_t *out_plan_dtype);
/* Checks device, rank, strides and type of a tensor handed in; `what` begins the message. */
dlc_status tensor_check(dlc_context *context, const char *what, const DLTensor *tensor,
                        int32_t *out_dtype);
int64_t tensor_elements(const DLTensor *tensor);
/* Copies to compact row-major memory of tensor_elements elements. */
void tensor_copy_out(const DLTensor *tensor, void *out);
/* A new tensor that owns `bytes` of zeroed memory; NULL out of memory. data is 64-byte aligned. */
DLManagedTensorVersioned *tensor_new(const dlc_allocator *allocator, int32_t dtype, int32_t rank,
                                     const int64_t *dims);
/* "[2, 3]" */
void shape_text(const int64_t *dims, int32_t rank, char *out, size_t out_bytes);
double element_double(const void *at, int32_t dtype);

#endif
