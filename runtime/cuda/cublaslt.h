/* cuBLASLt as we see it: its types, the values of its names, and the entry points of cublaslt.def,
 * opened at run time. No header of CUDA is needed to build. */
#ifndef DLC_RUNTIME_CUDA_CUBLASLT_H
#define DLC_RUNTIME_CUDA_CUBLASLT_H

#include "runtime/cuda/internal.h"

typedef int LtStatus;
typedef struct LtHandleRecord *LtHandle;
typedef struct LtProductRecord *LtProduct; /* cublasLtMatmulDesc_t */
typedef struct LtLayoutRecord *LtLayout;
typedef struct LtWishRecord *LtWish; /* cublasLtMatmulPreference_t */

typedef struct LtAlgorithm {
    uint64_t data[8];
} LtAlgorithm;

typedef struct LtChoice { /* cublasLtMatmulHeuristicResult_t */
    LtAlgorithm algorithm;
    size_t workspace_bytes;
    LtStatus status;
    float waves;
    int reserved[4];
} LtChoice;

/* LT_NAMES(X): X(our name, the name in cublasLt.h, value); a test compares them with the header. */
#define LT_NAMES(X)                                                                                \
    X(LT_SUCCESS, CUBLAS_STATUS_SUCCESS, 0)                                                        \
    X(LT_NOT_INITIALIZED, CUBLAS_STATUS_NOT_INITIALIZED, 1)                                        \
    X(LT_ALLOC_FAILED, CUBLAS_STATUS_ALLOC_FAILED, 3)                                              \
    X(LT_INVALID_VALUE, CUBLAS_STATUS_INVALID_VALUE, 7)                                            \
    X(LT_ARCH_MISMATCH, CUBLAS_STATUS_ARCH_MISMATCH, 8)                                            \
    X(LT_EXECUTION_FAILED, CUBLAS_STATUS_EXECUTION_FAILED, 13)                                     \
    X(LT_INTERNAL_ERROR, CUBLAS_STATUS_INTERNAL_ERROR, 14)                                         \
    X(LT_NOT_SUPPORTED, CUBLAS_STATUS_NOT_SUPPORTED, 15)                                           \
    X(LT_LICENSE_ERROR, CUBLAS_STATUS_LICENSE_ERROR, 16)                                           \
    X(LT_R_32F, CUDA_R_32F, 0)                                                                     \
    X(LT_R_64F, CUDA_R_64F, 1)                                                                     \
    X(LT_R_16F, CUDA_R_16F, 2)                                                                     \
    X(LT_R_16BF, CUDA_R_16BF, 14)                                                                  \
    X(LT_COMPUTE_32F, CUBLAS_COMPUTE_32F, 68)                                                      \
    X(LT_COMPUTE_64F, CUBLAS_COMPUTE_64F, 70)                                                      \
    X(LT_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_32F_FAST_TF32, 77)                                  \
    X(LT_OP_N, CUBLAS_OP_N, 0)                                                                     \
    X(LT_OP_T, CUBLAS_OP_T, 1)                                                                     \
    X(LT_PRODUCT_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA, 3)                                           \
    X(LT_PRODUCT_TRANSB, CUBLASLT_MATMUL_DESC_TRANSB, 4)                                           \
    X(LT_PRODUCT_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE, 7)                                       \
    X(LT_PRODUCT_BIAS, CUBLASLT_MATMUL_DESC_BIAS_POINTER, 8)                                       \
    X(LT_PRODUCT_BIAS_TYPE, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, 26)                               \
    X(LT_LAYOUT_BATCH, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, 5)                                      \
    X(LT_LAYOUT_BATCH_STRIDE, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, 6)                      \
    X(LT_WISH_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, 1)                              \
    X(LT_WISH_REDUCTIONS, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, 3)                           \
    X(LT_WISH_ALIGNMENT_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, 5)                          \
    X(LT_WISH_ALIGNMENT_B, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, 6)                          \
    X(LT_WISH_ALIGNMENT_C, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, 7)                          \
    X(LT_WISH_ALIGNMENT_D, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, 8)                          \
    X(LT_WISH_IMPLEMENTATIONS, CUBLASLT_MATMUL_PREF_IMPL_MASK, 12)                                 \
    X(LT_REDUCTION_COMPUTE_TYPE, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 2)                        \
    X(LT_REDUCTION_ANY, CUBLASLT_REDUCTION_SCHEME_MASK, 7)                                         \
    X(LT_EPILOGUE_NONE, CUBLASLT_EPILOGUE_DEFAULT, 1)                                              \
    X(LT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_RELU, 2)                                                 \
    X(LT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_BIAS, 4)                                                 \
    X(LT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_RELU_BIAS, 6)                                       \
    X(LT_EPILOGUE_GELU, CUBLASLT_EPILOGUE_GELU, 32)                                                \
    X(LT_EPILOGUE_GELU_BIAS, CUBLASLT_EPILOGUE_GELU_BIAS, 36)                                      \
    X(LT_CAN_IMPLEMENTATION, CUBLASLT_ALGO_CAP_NUMERICAL_IMPL_FLAGS, 15)                           \
    X(LT_ALGORITHM_ID, CUBLASLT_ALGO_CONFIG_ID, 0)                                                 \
    X(LT_FMA, CUBLASLT_NUMERICAL_IMPL_FLAGS_FMA, 0x1)                                              \
    X(LT_TENSOR_OP_MASK, CUBLASLT_NUMERICAL_IMPL_FLAGS_TENSOR_OP_MASK, 0xfe)                       \
    X(LT_SUM_16F, CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_16F, 0x100)                            \
    X(LT_SUM_32F, CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_32F, 0x200)                            \
    X(LT_SUM_64F, CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_64F, 0x400)                            \
    X(LT_INPUT_16F, CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16F, 0x10000)                              \
    X(LT_INPUT_16BF, CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16BF, 0x20000)                            \
    X(LT_INPUT_TF32, CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32, 0x40000)                            \
    X(LT_INPUT_32F, CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_32F, 0x80000)                              \
    X(LT_INPUT_64F, CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_64F, 0x100000)

enum {
#define X(name, theirs, value) name = value,
    LT_NAMES(X)
#undef X
        LT_OLDEST = 120000, /* 12.0 */
};

struct Cublaslt {
    void *library;
    size_t number;   /* 130200: 13.2.0 */
    LtHandle handle; /* NULL: refused */
    dlc_status refused_as; /* DLC_ERROR_UNSUPPORTED, or an error that each call meets again */
    char refused[DEVICE_MESSAGE_BYTES];
#define X(symbol, member, result, parameters) result(*member) parameters;
#include "runtime/cuda/cublaslt.def"
#undef X
};

#endif
