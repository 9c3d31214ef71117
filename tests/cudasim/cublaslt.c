/* A stand-in for libcublasLt.so.13: the entry points that we call, as strict as the real library's
 * documentation. An algorithm holds for the problem it was chosen for: types, sizes, alignments and
 * workspace are compared again when it runs. Without an implementation mask an f32 product is
 * offered in TF32, which nobody may take who did not ask for it. */
#include "tests/cudasim/cublaslt.h"

#include "tests/cudasim/library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    VERSION = 130200,
    HANDLE = 0x4c744831,
    PRODUCT = 0x4c745031,
    LAYOUT = 0x4c744c31,
    WISH = 0x4c745731,
    SPLIT_BYTES = 1 << 20,
    FEW_ELEMENTS = 128 * 128, /* results with fewer are split along a long depth */
    LONG_DEPTH = 512,
    TENSOR_ALIGNMENT = 16
};

struct LtHandleRecord {
    uint32_t magic;
};

struct LtProductRecord {
    uint32_t magic;
    int compute, scale;
    int32_t transpose_a, transpose_b, bias_type;
    uint32_t epilogue;
    const void *bias;
};

struct LtLayoutRecord {
    uint32_t magic;
    int type;
    uint64_t rows, columns;
    int64_t stride, batch_stride;
    int32_t batch;
};

struct LtWishRecord {
    uint32_t magic;
    uint64_t workspace, implementations;
    uint32_t reductions, alignments[4];
};

/* What an algorithm's words hold. */
typedef struct Algorithm {
    uint64_t problem, implementation;
    uint32_t number, alignment;
    uint64_t workspace;
} Algorithm;
_Static_assert(sizeof(Algorithm) <= sizeof(LtAlgorithm), "an algorithm has 64 bytes");

static int bad(int status, const char *why) {
    fprintf(stderr, "cudasim: cuBLASLt: %s\n", why);
    return status;
}

static bool is(const void *object, uint32_t magic) {
    uint32_t found = 0;
    if (object) {
        memcpy(&found, object, sizeof found);
    }
    return found == magic;
}

/* Frees it, so that a second use is seen. */
static int unmake(void *object, uint32_t magic) {
    if (!is(object, magic)) {
        return bad(LT_INVALID_VALUE, "an object that is none is destroyed");
    }
    memset(object, 0, sizeof magic);
    free(object);
    return LT_SUCCESS;
}

static void *make(size_t bytes) {
    void *object = calloc(1, bytes);
    if (!object) {
        abort();
    }
    return object;
}

EXPORT size_t cublasLtGetVersion(void);
size_t cublasLtGetVersion(void) {
    return VERSION;
}

EXPORT LtStatus cublasLtCreate(LtHandle *handle);
LtStatus cublasLtCreate(LtHandle *handle) {
    if (!handle || cudasimCall() != 0) {
        return LT_NOT_INITIALIZED;
    }
    *handle = make(sizeof **handle);
    (*handle)->magic = HANDLE;
    return LT_SUCCESS;
}

EXPORT LtStatus cublasLtDestroy(LtHandle handle);
LtStatus cublasLtDestroy(LtHandle handle) {
    return unmake(handle, HANDLE);
}

EXPORT LtStatus cublasLtMatmulDescCreate(LtProduct *product, int compute, int scale);
LtStatus cublasLtMatmulDescCreate(LtProduct *product, int compute, int scale) {
    bool wide = compute == LT_COMPUTE_64F;
    if (!wide && compute != LT_COMPUTE_32F && compute != LT_COMPUTE_32F_FAST_TF32) {
        return bad(LT_INVALID_VALUE, "an unknown type of sums");
    }
    if (scale != (wide ? LT_R_64F : LT_R_32F)) {
        return bad(LT_INVALID_VALUE, "factors of a type that is not the sums'");
    }
    if (cudasimCall() != 0) {
        return LT_ALLOC_FAILED;
    }
    *product = make(sizeof **product);
    **product = (struct LtProductRecord){.magic = PRODUCT,
                                         .compute = compute,
                                         .scale = scale,
                                         .bias_type = -1,
                                         .epilogue = LT_EPILOGUE_NONE};
    return LT_SUCCESS;
}

EXPORT LtStatus cublasLtMatmulDescDestroy(LtProduct product);
LtStatus cublasLtMatmulDescDestroy(LtProduct product) {
    return unmake(product, PRODUCT);
}

static int copy_in(void *to, size_t n_to, const void *from, size_t n_from) {
    if (!from || n_from != n_to) {
        return bad(LT_INVALID_VALUE, "an attribute of another size");
    }
    memcpy(to, from, n_to);
    return LT_SUCCESS;
}

EXPORT LtStatus cublasLtMatmulDescSetAttribute(LtProduct product, int attribute, const void *value,
                                               size_t bytes);
LtStatus cublasLtMatmulDescSetAttribute(LtProduct product, int attribute, const void *value,
                                        size_t bytes) {
    if (!is(product, PRODUCT)) {
        return bad(LT_INVALID_VALUE, "an attribute of no product");
    }
    switch (attribute) {
    case LT_PRODUCT_TRANSA:
        return copy_in(&product->transpose_a, sizeof product->transpose_a, value, bytes);
    case LT_PRODUCT_TRANSB:
        return copy_in(&product->transpose_b, sizeof product->transpose_b, value, bytes);
    case LT_PRODUCT_EPILOGUE:
        return copy_in(&product->epilogue, sizeof product->epilogue, value, bytes);
    case LT_PRODUCT_BIAS:
        return copy_in(&product->bias, sizeof product->bias, value, bytes);
    case LT_PRODUCT_BIAS_TYPE:
        return copy_in(&product->bias_type, sizeof product->bias_type, value, bytes);
    default:
        return bad(LT_INVALID_VALUE, "an unknown attribute of a product");
    }
}

EXPORT LtStatus cublasLtMatrixLayoutCreate(LtLayout *layout, int type, uint64_t rows,
                                           uint64_t columns, int64_t stride);
LtStatus cublasLtMatrixLayoutCreate(LtLayout *layout, int type, uint64_t rows, uint64_t columns,
                                    int64_t stride) {
    if (lt_width(type) == 0 || rows == 0 || columns == 0 || stride < (int64_t)rows) {
        return bad(LT_INVALID_VALUE, "a layout that is none");
    }
    if (cudasimCall() != 0) {
        return LT_ALLOC_FAILED;
    }
    *layout = make(sizeof **layout);
    **layout = (struct LtLayoutRecord){LAYOUT, type, rows, columns, stride, 0, 1};
    return LT_SUCCESS;
}

EXPORT LtStatus cublasLtMatrixLayoutDestroy(LtLayout layout);
LtStatus cublasLtMatrixLayoutDestroy(LtLayout layout) {
    return unmake(layout, LAYOUT);
}

EXPORT LtStatus cublasLtMatrixLayoutSetAttribute(LtLayout layout, int attribute, const void *value,
                                                 size_t bytes);
LtStatus cublasLtMatrixLayoutSetAttribute(LtLayout layout, int attribute, const void *value,
                                          size_t bytes) {
    if (!is(layout, LAYOUT)) {
        return bad(LT_INVALID_VALUE, "an attribute of no layout");
    }
    switch (attribute) {
    case LT_LAYOUT_BATCH:
        return copy_in(&layout->batch, sizeof layout->batch, value, bytes);
    case LT_LAYOUT_BATCH_STRIDE:
        return copy_in(&layout->batch_stride, sizeof layout->batch_stride, value, bytes);
    default:
        return bad(LT_INVALID_VALUE, "an unknown attribute of a layout");
    }
}

EXPORT LtStatus cublasLtMatmulPreferenceCreate(LtWish *wish);
LtStatus cublasLtMatmulPreferenceCreate(LtWish *wish) {
    if (cudasimCall() != 0) {
        return LT_ALLOC_FAILED;
    }
    *wish = make(sizeof **wish);
    **wish = (struct LtWishRecord){WISH, 0, UINT64_MAX, LT_REDUCTION_ANY, {256, 256, 256, 256}};
    return LT_SUCCESS;
}

EXPORT LtStatus cublasLtMatmulPreferenceDestroy(LtWish wish);
LtStatus cublasLtMatmulPreferenceDestroy(LtWish wish) {
    return unmake(wish, WISH);
}

EXPORT LtStatus cublasLtMatmulPreferenceSetAttribute(LtWish wish, int attribute, const void *value,
                                                     size_t bytes);
LtStatus cublasLtMatmulPreferenceSetAttribute(LtWish wish, int attribute, const void *value,
                                              size_t bytes) {
    if (!is(wish, WISH)) {
        return bad(LT_INVALID_VALUE, "an attribute of no preference");
    }
    switch (attribute) {
    case LT_WISH_WORKSPACE:
        return copy_in(&wish->workspace, sizeof wish->workspace, value, bytes);
    case LT_WISH_REDUCTIONS:
        return copy_in(&wish->reductions, sizeof wish->reductions, value, bytes);
    case LT_WISH_IMPLEMENTATIONS:
        return copy_in(&wish->implementations, sizeof wish->implementations, value, bytes);
    case LT_WISH_ALIGNMENT_A:
    case LT_WISH_ALIGNMENT_B:
    case LT_WISH_ALIGNMENT_C:
    case LT_WISH_ALIGNMENT_D:
        return copy_in(&wish->alignments[attribute - LT_WISH_ALIGNMENT_A],
                       sizeof wish->alignments[0], value, bytes);
    default:
        return bad(LT_INVALID_VALUE, "an unknown attribute of a preference");
    }
}

/* -- Problems -- */

/* Layouts of A, B, C, D. */
static int shapes_check(LtProduct product, const LtLayout *l) {
    if (!is(product, PRODUCT)) {
        return bad(LT_INVALID_VALUE, "no product");
    }
    for (int i = 0; i < 4; i++) {
        if (!is(l[i], LAYOUT) || l[i]->batch < 1 || l[i]->batch != l[3]->batch) {
            return bad(LT_INVALID_VALUE, "a layout that is none, or batches that differ");
        }
    }
    bool ta = product->transpose_a == LT_OP_T, tb = product->transpose_b == LT_OP_T;
    if ((!ta && product->transpose_a != LT_OP_N) || (!tb && product->transpose_b != LT_OP_N)) {
        return bad(LT_INVALID_VALUE, "an unknown transposition");
    }
    uint64_t m = ta ? l[0]->columns : l[0]->rows, k = ta ? l[0]->rows : l[0]->columns;
    uint64_t n = tb ? l[1]->rows : l[1]->columns, depth = tb ? l[1]->columns : l[1]->rows;
    if (k != depth || m != l[3]->rows || n != l[3]->columns || m != l[2]->rows ||
        n != l[2]->columns) {
        return bad(LT_INVALID_VALUE, "matrices whose sizes do not fit");
    }
    return LT_SUCCESS;
}

/* Rows of the table of types in the documentation of cublasLtMatmul. */
static bool types_known(LtProduct product, const LtLayout *l) {
    int a = l[0]->type, d = l[3]->type;
    bool wide = product->compute == LT_COMPUTE_64F;
    bool is_short = a == LT_R_16F || a == LT_R_16BF;
    bool known = a == l[1]->type && l[2]->type == d && (d == a || (is_short && d == LT_R_32F)) &&
                 wide == (a == LT_R_64F);
    if (product->epilogue & LT_EPILOGUE_BIAS) {
        known = known && (product->bias_type == -1 || product->bias_type == d);
    }
    return known && !(wide && product->epilogue != LT_EPILOGUE_NONE);
}

static bool epilogue_known(uint32_t epilogue) {
    return epilogue == LT_EPILOGUE_NONE || epilogue == LT_EPILOGUE_BIAS ||
           epilogue == LT_EPILOGUE_RELU || epilogue == LT_EPILOGUE_RELU_BIAS ||
           epilogue == LT_EPILOGUE_GELU || epilogue == LT_EPILOGUE_GELU_BIAS;
}

static uint64_t problem_hash(LtProduct product, const LtLayout *l) {
    uint64_t hash = 1469598103934665603u;
    uint64_t words[4 + 4 * 6] = {(uint64_t)product->compute, (uint64_t)product->transpose_a,
                                 (uint64_t)product->transpose_b, product->epilogue};
    for (int i = 0; i < 4; i++) {
        const uint64_t own[6] = {(uint64_t)l[i]->type,  l[i]->rows,
                                 l[i]->columns,         (uint64_t)l[i]->stride,
                                 (uint64_t)l[i]->batch, (uint64_t)l[i]->batch_stride};
        memcpy(words + 4 + 6 * i, own, sizeof own);
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        hash = (hash ^ words[i]) * 1099511628211u;
    }
    return hash;
}

static uint64_t implementation_of(LtProduct product, int type, uint64_t allowed) {
    const uint64_t tf32 = 0x2 | LT_SUM_32F | LT_INPUT_TF32;
    if (type == LT_R_64F) {
        return 0x8 | LT_SUM_64F | LT_INPUT_64F;
    }
    if (type == LT_R_16F) {
        return 0x2 | LT_SUM_32F | LT_INPUT_16F;
    }
    if (type == LT_R_16BF) {
        return 0x2 | LT_SUM_32F | LT_INPUT_16BF;
    }
    bool may = product->compute == LT_COMPUTE_32F_FAST_TF32 || allowed == UINT64_MAX;
    return may && (tf32 & ~allowed) == 0 ? tf32 : (uint64_t)(LT_FMA | LT_SUM_32F | LT_INPUT_32F);
}

EXPORT LtStatus cublasLtMatmulAlgoGetHeuristic(LtHandle handle, LtProduct product, LtLayout a,
                                               LtLayout b, LtLayout c, LtLayout d, LtWish wish,
                                               int wanted, LtChoice *choices, int *found);
LtStatus cublasLtMatmulAlgoGetHeuristic(LtHandle handle, LtProduct product, LtLayout a, LtLayout b,
                                        LtLayout c, LtLayout d, LtWish wish, int wanted,
                                        LtChoice *choices, int *found) {
    const LtLayout layouts[4] = {a, b, c, d};
    *found = 0;
    if (!is(handle, HANDLE) || !is(wish, WISH) || wanted < 1) {
        return bad(LT_INVALID_VALUE, "a choice for nobody");
    }
    if (cudasimCall() != 0) {
        return LT_INTERNAL_ERROR;
    }
    int status = shapes_check(product, layouts);
    if (status != LT_SUCCESS) {
        return status;
    }
    if (!types_known(product, layouts) || !epilogue_known(product->epilogue)) {
        return LT_NOT_SUPPORTED;
    }
    uint64_t implementation = implementation_of(product, a->type, wish->implementations);
    if (implementation & ~wish->implementations) {
        return LT_NOT_SUPPORTED;
    }
    bool aligned = true;
    uint32_t alignment = (uint32_t)lt_width(a->type);
    for (int i = 0; i < 4; i++) {
        aligned = aligned && wish->alignments[i] >= TENSOR_ALIGNMENT &&
                  layouts[i]->stride * lt_width(layouts[i]->type) % TENSOR_ALIGNMENT == 0 &&
                  layouts[i]->batch_stride * lt_width(layouts[i]->type) % TENSOR_ALIGNMENT == 0;
        alignment = wish->alignments[i] < alignment ? 0 : alignment;
    }
    if (alignment == 0) {
        return LT_NOT_SUPPORTED;
    }
    uint64_t depth = product->transpose_a == LT_OP_T ? a->rows : a->columns;
    bool split = d->rows * d->columns < FEW_ELEMENTS && depth > LONG_DEPTH &&
                 (wish->reductions & LT_REDUCTION_COMPUTE_TYPE) && wish->workspace >= SPLIT_BYTES;
    Algorithm algorithm = {.problem = problem_hash(product, layouts),
                           .implementation = implementation,
                           .number = aligned ? 21 : 4,
                           .alignment = aligned ? TENSOR_ALIGNMENT : alignment,
                           .workspace = split ? SPLIT_BYTES : 0};
    choices[0] = (LtChoice){.workspace_bytes = algorithm.workspace, .status = LT_SUCCESS};
    memcpy(&choices[0].algorithm, &algorithm, sizeof algorithm);
    *found = 1;
    return LT_SUCCESS;
}

EXPORT LtStatus cublasLtMatmulAlgoCapGetAttribute(const LtAlgorithm *algorithm, int attribute,
                                                  void *value, size_t bytes, size_t *written);
LtStatus cublasLtMatmulAlgoCapGetAttribute(const LtAlgorithm *algorithm, int attribute, void *value,
                                           size_t bytes, size_t *written) {
    Algorithm own;
    memcpy(&own, algorithm, sizeof own);
    if (attribute != LT_CAN_IMPLEMENTATION || bytes != sizeof own.implementation) {
        return bad(LT_INVALID_VALUE, "an unknown capability");
    }
    memcpy(value, &own.implementation, bytes);
    *written = bytes;
    return LT_SUCCESS;
}

EXPORT LtStatus cublasLtMatmulAlgoConfigGetAttribute(const LtAlgorithm *algorithm, int attribute,
                                                     void *value, size_t bytes, size_t *written);
LtStatus cublasLtMatmulAlgoConfigGetAttribute(const LtAlgorithm *algorithm, int attribute,
                                              void *value, size_t bytes, size_t *written) {
    Algorithm own;
    memcpy(&own, algorithm, sizeof own);
    if (attribute != LT_ALGORITHM_ID || bytes != sizeof own.number) {
        return bad(LT_INVALID_VALUE, "an unknown part of an algorithm");
    }
    memcpy(value, &own.number, bytes);
    *written = bytes;
    return LT_SUCCESS;
}

/* -- Running -- */

static LtMatrix matrix_of(LtLayout layout, const void *memory) {
    return (LtMatrix){(void *)(uintptr_t)memory, layout->type,   layout->rows,
                      layout->columns,           layout->stride, layout->batch_stride};
}

static int memory_check(LtProduct product, const LtLayout *l, const void *const *memory,
                        const Algorithm *algorithm, bool reads_c) {
    for (int i = 0; i < 4; i++) {
        bool used = i != 2 || reads_c;
        if (used && (!memory[i] || (uintptr_t)memory[i] % algorithm->alignment != 0)) {
            return bad(LT_INVALID_VALUE, "a matrix that lies less aligned than was said");
        }
    }
    if (memory[3] == memory[0] || memory[3] == memory[1]) {
        return bad(LT_INVALID_VALUE, "a result over a factor");
    }
    if (reads_c && memory[2] == memory[3] &&
        (l[2]->stride != l[3]->stride || l[2]->batch_stride != l[3]->batch_stride)) {
        return bad(LT_INVALID_VALUE, "a result over an addend that lies otherwise");
    }
    if ((product->epilogue & LT_EPILOGUE_BIAS) &&
        (!product->bias || (uintptr_t)product->bias % (uintptr_t)lt_width(l[3]->type) != 0)) {
        return bad(LT_INVALID_VALUE, "no bias");
    }
    return LT_SUCCESS;
}

static double factor(LtProduct product, const void *at) {
    double wide = 0;
    float single = 0;
    if (product->scale == LT_R_64F) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    memcpy(&single, at, sizeof single);
    return single;
}

EXPORT LtStatus cublasLtMatmul(LtHandle handle, LtProduct product, const void *alpha, const void *a,
                               LtLayout a_layout, const void *b, LtLayout b_layout,
                               const void *beta, const void *c, LtLayout c_layout, void *d,
                               LtLayout d_layout, const LtAlgorithm *algorithm, void *workspace,
                               size_t workspace_bytes, CudaStream stream);
LtStatus cublasLtMatmul(LtHandle handle, LtProduct product, const void *alpha, const void *a,
                        LtLayout a_layout, const void *b, LtLayout b_layout, const void *beta,
                        const void *c, LtLayout c_layout, void *d, LtLayout d_layout,
                        const LtAlgorithm *algorithm, void *workspace, size_t workspace_bytes,
                        CudaStream stream) {
    const LtLayout layouts[4] = {a_layout, b_layout, c_layout, d_layout};
    const void *const memory[4] = {a, b, c, d};
    if (!is(handle, HANDLE) || !algorithm || !alpha || !beta) {
        return bad(LT_INVALID_VALUE, "a product without handle, algorithm or factors");
    }
    int status = shapes_check(product, layouts);
    if (status != LT_SUCCESS) {
        return status;
    }
    Algorithm own;
    memcpy(&own, algorithm, sizeof own);
    if (own.problem != problem_hash(product, layouts)) {
        return bad(LT_NOT_SUPPORTED, "an algorithm that was chosen for something else");
    }
    if (workspace_bytes < own.workspace ||
        (own.workspace > 0 && (!workspace || (uintptr_t)workspace % 256 != 0))) {
        return bad(LT_INVALID_VALUE, "a workspace that is too small");
    }
    double by = factor(product, beta);
    status = memory_check(product, layouts, memory, &own, by != 0);
    if (status != LT_SUCCESS) {
        return status;
    }
    LtWork work = {.a = matrix_of(a_layout, a),
                   .b = matrix_of(b_layout, b),
                   .c = matrix_of(c_layout, c),
                   .d = matrix_of(d_layout, d),
                   .transpose_a = product->transpose_a == LT_OP_T,
                   .transpose_b = product->transpose_b == LT_OP_T,
                   .batch = d_layout->batch,
                   .alpha = factor(product, alpha),
                   .beta = by,
                   .epilogue = product->epilogue,
                   .bias = product->bias,
                   .bias_type = d_layout->type,
                   .workspace = workspace,
                   .workspace_bytes = own.workspace};
    return lt_queue(&work, stream) == 0 ? LT_SUCCESS : LT_EXECUTION_FAILED;
}
