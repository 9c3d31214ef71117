/* Tensors of the reference interpreter. */
#include "ir/base/checked.h"
#include "ir/base/memory.h"
#include "ir/interp.h"
#include <string.h>

static void *take_memory(const dlc_allocator *allocator, size_t bytes) {
    bytes = bytes ? bytes : 1;
    void *memory = raw_alloc(allocator, bytes);
    if (memory) {
        memset(memory, 0, bytes);
    }
    return memory;
}

dlc_status eval_tensor_init(EvalTensor *tensor, DType dtype, int32_t rank, const int64_t *dims,
                            const dlc_allocator *allocator) {
    EvalTensor made = {.dtype = dtype, .rank = rank, .n = 1};
    for (int32_t i = 0; i < rank; i++) {
        made.dims[i] = dims[i];
        if (dims[i] < 0 || !checked_mul(made.n, dims[i], &made.n)) {
            return DLC_ERROR_INVALID_ARGUMENT;
        }
    }
    size_t bytes = 0;
    /* One element at least, so that the kind of the tensor always shows in f and i. */
    if (!checked_mul_size((size_t)(made.n ? made.n : 1), sizeof(double), &bytes)) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    void *memory = take_memory(allocator, bytes);
    if (!memory) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    if (dtype_is_float(dtype)) {
        made.f = memory;
    } else {
        made.i = memory;
    }
    *tensor = made;
    return DLC_OK;
}

void eval_tensor_finish(EvalTensor *tensor, const dlc_allocator *allocator) {
    raw_free(allocator, tensor->f);
    raw_free(allocator, tensor->i);
    *tensor = (EvalTensor){0};
}

void *interp_alloc(Interp *interp, size_t bytes) {
    void *memory = take_memory(interp->allocator, bytes);
    if (!memory) {
        strcpy(interp->message, "out of memory");
    }
    return memory;
}

void interp_free(Interp *interp, void *memory) {
    raw_free(interp->allocator, memory);
}
