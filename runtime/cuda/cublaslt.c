/* Matrix products through cuBLASLt. Row-major products are column-major ones of the transposes, so
 * a result whose columns are neighbours is asked for as dT = bT aT; then the library's bias over
 * rows is ours over columns. An f32 product is IEEE f32: only implementations by fused
 * multiply-adds on f32 inputs are asked for, and what was chosen is looked at. Sums along the depth
 * may be split, their parts then added by a separate pass in a fixed order: the same bits from run
 * to run. */
#include "runtime/cuda/cublaslt.h"

#include "runtime/cuda/call.h"
#include "runtime/plan.h"

#include <inttypes.h>
#include <stdio.h>

enum { MOST_ALIGNMENT = 256, CHOICES = 4 };

typedef struct ProductPlan {
    DeviceCallPlan base;
    LtProduct product;
    LtLayout layouts[4]; /* the library's A, B, C, D */
    LtAlgorithm algorithm;
    size_t workspace_bytes;
    int operands[4]; /* which of ours each of them is; C may be D */
    bool has_c, has_bias, is_wide;
    int32_t number; /* of the algorithm */
} ProductPlan;

static const char *status_text(LtStatus status) {
    switch (status) {
    case LT_NOT_INITIALIZED:
        return "not initialized (no GPU, or a driver that is too old for it)";
    case LT_ALLOC_FAILED:
        return "out of memory";
    case LT_INVALID_VALUE:
        return "invalid value";
    case LT_ARCH_MISMATCH:
        return "not for this GPU";
    case LT_EXECUTION_FAILED:
        return "execution failed";
    case LT_INTERNAL_ERROR:
        return "internal error";
    case LT_NOT_SUPPORTED:
        return "not supported";
    case LT_LICENSE_ERROR:
        return "no license";
    default:
        return "unknown error";
    }
}

/* What the library refuses by name the kernel does; everything else is an error of the run. */
static dlc_status status_of(LtStatus status) {
    switch (status) {
    case LT_SUCCESS:
        return DLC_OK;
    case LT_ALLOC_FAILED:
        return DLC_ERROR_OUT_OF_MEMORY;
    case LT_NOT_INITIALIZED:
    case LT_INVALID_VALUE:
    case LT_ARCH_MISMATCH:
    case LT_NOT_SUPPORTED:
    case LT_LICENSE_ERROR:
        return DLC_ERROR_UNSUPPORTED;
    default:
        return DLC_ERROR_INTERNAL;
    }
}

static dlc_status check(CudaDevice *device, LtStatus status, const char *call) {
    if (status == LT_SUCCESS) {
        return DLC_OK;
    }
    dlc_status as = status_of(status);
    return cuda_fail(device, as, "%s: %s (%d)", call, status_text(status), status);
}

/* -- The library -- */

static void version_text(const Cublaslt *lt, char *out, size_t n_out) {
    int number = (int)lt->number;
    snprintf(out, n_out, "cuBLASLt %d.%d.%d", number / 10000, number / 100 % 100, number % 100);
}

static bool symbols_find(Cublaslt *lt, const char *name, char *message) {
    static const CudaSymbol symbols[] = {
#define X(symbol, member, result, parameters) {symbol, offsetof(Cublaslt, member)},
#include "runtime/cuda/cublaslt.def"
#undef X
    };
    return cuda_library_symbols(lt->library, name, symbols, sizeof(symbols) / sizeof(symbols[0]),
                                lt, message, DEVICE_MESSAGE_BYTES);
}

/* The library of the driver's major version, or an older one, which every newer driver serves. */
static bool library_open(CudaDevice *device, Cublaslt *lt) {
    char *message = device->base.error;
    char newest[DEVICE_MESSAGE_BYTES] = "";
    int major = device->driver.version / 1000;
    for (int version = major > 13 ? 13 : major; version >= 12; version--) {
        char name[32];
        snprintf(name, sizeof(name), "libcublasLt.so.%d", version);
        lt->library = cuda_library_open(name, true, message, DEVICE_MESSAGE_BYTES);
        if (lt->library && symbols_find(lt, name, message)) {
            lt->number = lt->version();
            if (lt->number >= LT_OLDEST && (int)(lt->number / 10000) == version) {
                return true;
            }
            snprintf(message, DEVICE_MESSAGE_BYTES, "%s says that it is version %zu", name,
                     lt->number);
        }
        cuda_library_close(lt->library);
        lt->library = NULL;
        if (!newest[0]) {
            memcpy(newest, message, DEVICE_MESSAGE_BYTES);
        }
    }
    if (!newest[0]) {
        snprintf(newest, sizeof(newest),
                 "cuBLASLt 12 needs a driver of CUDA 12, and this one is %d.%d", major,
                 device->driver.version % 1000 / 10);
    }
    memcpy(message, newest, DEVICE_MESSAGE_BYTES);
    return false;
}

static void lt_close(CudaDevice *device) {
    Cublaslt *lt = device->cublaslt;
    if (lt) {
        if (lt->handle && !device->lost) {
            (void)lt->destroy(lt->handle);
        }
        cuda_library_close(lt->library);
        memory_free(&device->base.allocator, lt);
        device->cublaslt = NULL;
    }
}

/* The kernels need no handle: for the library, not enough memory is one more refusal. */
static dlc_status handle_make(CudaDevice *device, Cublaslt *lt) {
    if (!library_open(device, lt)) {
        return DLC_ERROR_UNSUPPORTED;
    }
    dlc_status status = check(device, lt->create(&lt->handle), "cublasLtCreate");
    return status == DLC_ERROR_OUT_OF_MEMORY ? DLC_ERROR_UNSUPPORTED : status;
}

/* Opens the library once: one that is not there is not looked for again. NULL: device.error says
 * why, *status what that means. */
static Cublaslt *lt_of(CudaDevice *device, dlc_status *status) {
    Cublaslt *lt = device->cublaslt;
    if (!lt) {
        lt = memory_new(&device->base.allocator, 1, sizeof(*lt));
        if (!lt) {
            *status = cuda_fail(device, DLC_ERROR_UNSUPPORTED, "out of memory for cuBLASLt");
            return NULL;
        }
        device->cublaslt = lt;
        lt->refused_as = handle_make(device, lt);
        if (lt->refused_as != DLC_OK) {
            lt->handle = NULL;
            memcpy(lt->refused, device->base.error, sizeof(lt->refused));
        }
    }
    if (!lt->handle) {
        *status = cuda_fail(device, lt->refused_as, "%s", lt->refused);
        return NULL;
    }
    return lt;
}

/* -- One product -- */

static int type_of(int32_t dtype) {
    switch (dtype) {
    case PLAN_F64:
        return LT_R_64F;
    case PLAN_F32:
        return LT_R_32F;
    case PLAN_F16:
        return LT_R_16F;
    case PLAN_BF16:
        return LT_R_16BF;
    default:
        return -1;
    }
}

/* Types that go together: f64; f32; 16 bits with a result of those 16 bits or of f32. What is added
 * has the result's type. */
static bool types_fit(const DeviceCall *call) {
    int32_t a = call->dtypes[PLAN_OPERAND_A], d = call->dtypes[PLAN_OPERAND_D];
    bool is_short = a == PLAN_F16 || a == PLAN_BF16;
    int32_t sum = a == PLAN_F64 ? PLAN_COMPUTE_F64 : PLAN_COMPUTE_F32;
    bool tf32 = a == PLAN_F32 && call->compute == PLAN_COMPUTE_TF32;
    bool fit = type_of(a) >= 0 && a == call->dtypes[PLAN_OPERAND_B] &&
               (d == a || (is_short && d == PLAN_F32)) && (call->compute == sum || tf32);
    for (int o = PLAN_OPERAND_C; o <= PLAN_OPERAND_BIAS; o++) {
        fit = fit && (!call->present[o] || call->dtypes[o] == d);
    }
    return fit;
}

/* A matrix of `rows` x `columns` elements at these strides, as the library wants it: columns apart
 * by a leading dimension, or the transpose of such a one. */
typedef struct Matrix {
    int64_t rows, columns, row_stride, column_stride, batch_stride;
} Matrix;

static dlc_status layout_make(CudaDevice *device, const Cublaslt *lt, Matrix matrix, int32_t dtype,
                              int64_t batch, bool may_transpose, LtLayout *out, int32_t *out_op) {
    *out_op = LT_OP_N;
    bool along = matrix.row_stride == 1 || matrix.rows == 1;
    if (!along) {
        if (!may_transpose || (matrix.column_stride != 1 && matrix.columns != 1)) {
            return cuda_fail(device, DLC_ERROR_UNSUPPORTED,
                             "no axis of a matrix is without gaps in memory");
        }
        *out_op = LT_OP_T;
        matrix = (Matrix){matrix.columns, matrix.rows, matrix.column_stride, matrix.row_stride,
                          matrix.batch_stride};
    }
    if (matrix.columns == 1 && matrix.column_stride < matrix.rows) {
        matrix.column_stride = matrix.rows;
    }
    if (matrix.column_stride < matrix.rows) {
        return cuda_fail(device, DLC_ERROR_UNSUPPORTED, "columns of a matrix overlap");
    }
    dlc_status status = check(device,
                              lt->layout_create(out, type_of(dtype), (uint64_t)matrix.rows,
                                                (uint64_t)matrix.columns, matrix.column_stride),
                              "cublasLtMatrixLayoutCreate");
    if (status != DLC_OK || batch == 1) {
        return status;
    }
    int32_t count = (int32_t)batch;
    LtStatus set = lt->layout_set(*out, LT_LAYOUT_BATCH, &count, sizeof(count));
    if (set == LT_SUCCESS) {
        set = lt->layout_set(*out, LT_LAYOUT_BATCH_STRIDE, &matrix.batch_stride,
                             sizeof(matrix.batch_stride));
    }
    return check(device, set, "cublasLtMatrixLayoutSetAttribute");
}

static int epilogue_of(const DeviceCall *call) {
    bool bias = call->present[PLAN_OPERAND_BIAS];
    switch (call->epilogue) {
    case PLAN_EPILOGUE_RELU:
        return bias ? LT_EPILOGUE_RELU_BIAS : LT_EPILOGUE_RELU;
    case PLAN_EPILOGUE_GELU_TANH:
        return bias ? LT_EPILOGUE_GELU_BIAS : LT_EPILOGUE_GELU;
    default:
        return bias ? LT_EPILOGUE_BIAS : LT_EPILOGUE_NONE;
    }
}

static dlc_status product_make(CudaDevice *device, const Cublaslt *lt, const DeviceCall *call,
                               ProductPlan *plan, const int32_t ops[2]) {
    int compute = call->compute == PLAN_COMPUTE_F64    ? LT_COMPUTE_64F
                  : call->compute == PLAN_COMPUTE_TF32 ? LT_COMPUTE_32F_FAST_TF32
                                                       : LT_COMPUTE_32F;
    dlc_status status = check(
        device, lt->product_create(&plan->product, compute, plan->is_wide ? LT_R_64F : LT_R_32F),
        "cublasLtMatmulDescCreate");
    if (status != DLC_OK) {
        plan->product = NULL;
        return status;
    }
    uint32_t epilogue = (uint32_t)epilogue_of(call);
    int32_t bias_type = type_of(call->dtypes[PLAN_OPERAND_D]);
    LtStatus set = lt->product_set(plan->product, LT_PRODUCT_TRANSA, &ops[0], sizeof(ops[0]));
    if (set == LT_SUCCESS) {
        set = lt->product_set(plan->product, LT_PRODUCT_TRANSB, &ops[1], sizeof(ops[1]));
    }
    if (set == LT_SUCCESS) {
        set = lt->product_set(plan->product, LT_PRODUCT_EPILOGUE, &epilogue, sizeof(epilogue));
    }
    if (set == LT_SUCCESS && plan->has_bias) {
        set = lt->product_set(plan->product, LT_PRODUCT_BIAS_TYPE, &bias_type, sizeof(bias_type));
    }
    if (set == LT_SUCCESS && plan->has_bias) {
        /* The choice depends on its alignment alone. */
        const void *bias = (const void *)(uintptr_t)call->alignment[PLAN_OPERAND_BIAS];
        set = lt->product_set(plan->product, LT_PRODUCT_BIAS, &bias, sizeof(bias));
    }
    return check(device, set, "cublasLtMatmulDescSetAttribute");
}

/* Our operands as the library's: of a result with neighbouring columns, the transposes. */
static dlc_status layouts_make(CudaDevice *device, const Cublaslt *lt, const DeviceCall *call,
                               ProductPlan *plan, int32_t ops[2]) {
    const int64_t *s = call->sizes;
    int64_t m = s[0], n = s[1], k = s[2], batch = s[3];
    const int64_t *a = s + 4, *b = s + 7, *c = s + 10, *d = s + 13;
    bool swapped = d[1] == 1;
    if (!swapped && (d[0] != 1 || plan->has_bias)) {
        return cuda_fail(device, DLC_ERROR_UNSUPPORTED, "the result's columns are not neighbours");
    }
    const Matrix of_a = {m, k, a[0], a[1], a[2]}, of_b = {k, n, b[0], b[1], b[2]};
    const Matrix of_c = {m, n, c[0], c[1], c[2]}, of_d = {m, n, d[0], d[1], d[2]};
    Matrix all[4] = {swapped ? of_b : of_a, swapped ? of_a : of_b, plan->has_c ? of_c : of_d, of_d};
    const int operands[4] = {swapped ? PLAN_OPERAND_B : PLAN_OPERAND_A,
                             swapped ? PLAN_OPERAND_A : PLAN_OPERAND_B,
                             plan->has_c ? PLAN_OPERAND_C : PLAN_OPERAND_D, PLAN_OPERAND_D};
    dlc_status status = DLC_OK;
    for (int i = 0; status == DLC_OK && i < 4; i++) {
        if (swapped) {
            Matrix flipped = {all[i].columns, all[i].rows, all[i].column_stride, all[i].row_stride,
                              all[i].batch_stride};
            all[i] = flipped;
        }
        int32_t op;
        plan->operands[i] = operands[i];
        status = layout_make(device, lt, all[i], call->dtypes[operands[i]], batch, i < 2,
                             &plan->layouts[i], &op);
        if (i < 2) {
            ops[i] = op;
        }
    }
    return status;
}

/* Which implementations compute what is asked for. */
static uint64_t implementations(const DeviceCall *call) {
    switch (call->dtypes[PLAN_OPERAND_A]) {
    case PLAN_F64:
        return LT_FMA | LT_TENSOR_OP_MASK | LT_SUM_64F | LT_INPUT_64F;
    case PLAN_F32:
        return call->compute == PLAN_COMPUTE_TF32
                   ? LT_FMA | LT_TENSOR_OP_MASK | LT_SUM_32F | LT_INPUT_32F | LT_INPUT_TF32
                   : LT_FMA | LT_SUM_32F | LT_INPUT_32F;
    case PLAN_F16:
        return LT_FMA | LT_TENSOR_OP_MASK | LT_SUM_32F | LT_INPUT_16F | LT_INPUT_32F;
    default:
        return LT_FMA | LT_TENSOR_OP_MASK | LT_SUM_32F | LT_INPUT_16BF | LT_INPUT_32F;
    }
}

static LtStatus wish_make(const Cublaslt *lt, const DeviceCall *call, const ProductPlan *plan,
                          LtWish wish) {
    static const int alignments[4] = {LT_WISH_ALIGNMENT_A, LT_WISH_ALIGNMENT_B, LT_WISH_ALIGNMENT_C,
                                      LT_WISH_ALIGNMENT_D};
    uint64_t workspace = CUDA_WORKSPACE_BYTES, allowed = implementations(call);
    uint32_t reductions = call->reproducible ? LT_REDUCTION_COMPUTE_TYPE : LT_REDUCTION_ANY;
    LtStatus set = lt->wish_set(wish, LT_WISH_WORKSPACE, &workspace, sizeof(workspace));
    if (set == LT_SUCCESS) {
        set = lt->wish_set(wish, LT_WISH_REDUCTIONS, &reductions, sizeof(reductions));
    }
    if (set == LT_SUCCESS) {
        set = lt->wish_set(wish, LT_WISH_IMPLEMENTATIONS, &allowed, sizeof(allowed));
    }
    for (int i = 0; set == LT_SUCCESS && i < 4; i++) {
        int32_t known = call->alignment[plan->operands[i]];
        uint32_t bytes = (uint32_t)(known > MOST_ALIGNMENT ? MOST_ALIGNMENT : known);
        set = lt->wish_set(wish, alignments[i], &bytes, sizeof(bytes));
    }
    return set;
}

/* Whether the library says of its choice that it computes what was asked for. */
static bool choice_fits(const Cublaslt *lt, const DeviceCall *call, const LtChoice *choice) {
    uint64_t is = 0;
    size_t written = 0;
    return choice->status == LT_SUCCESS && choice->workspace_bytes <= CUDA_WORKSPACE_BYTES &&
           lt->algorithm_can(&choice->algorithm, LT_CAN_IMPLEMENTATION, &is, sizeof(is),
                             &written) == LT_SUCCESS &&
           (is & ~implementations(call)) == 0;
}

static dlc_status algorithm_choose(CudaDevice *device, const Cublaslt *lt, const DeviceCall *call,
                                   ProductPlan *plan) {
    LtWish wish = NULL;
    LtChoice choices[CHOICES];
    int found = 0;
    memset(choices, 0, sizeof(choices));
    dlc_status status = check(device, lt->wish_create(&wish), "cublasLtMatmulPreferenceCreate");
    if (status != DLC_OK) {
        return status;
    }
    status = check(device, wish_make(lt, call, plan, wish), "cublasLtMatmulPreferenceSetAttribute");
    if (status == DLC_OK) {
        status =
            check(device,
                  lt->choose(lt->handle, plan->product, plan->layouts[0], plan->layouts[1],
                             plan->layouts[2], plan->layouts[3], wish, CHOICES, choices, &found),
                  "cublasLtMatmulAlgoGetHeuristic");
    }
    (void)lt->wish_destroy(wish);
    for (int i = 0; status == DLC_OK && i < found && i < CHOICES; i++) {
        if (choice_fits(lt, call, &choices[i])) {
            size_t written = 0;
            plan->algorithm = choices[i].algorithm;
            plan->workspace_bytes = choices[i].workspace_bytes;
            if (lt->algorithm_get(&plan->algorithm, LT_ALGORITHM_ID, &plan->number,
                                  sizeof(plan->number), &written) != LT_SUCCESS) {
                plan->number = -1;
            }
            return DLC_OK;
        }
    }
    return status != DLC_OK ? status
                            : cuda_fail(device, DLC_ERROR_UNSUPPORTED,
                                        "cuBLASLt has no algorithm for it within %d MiB",
                                        CUDA_WORKSPACE_BYTES >> 20);
}

static void lt_free(CudaDevice *device, DeviceCallPlan *base) {
    const Cublaslt *lt = device->cublaslt;
    ProductPlan *plan = (ProductPlan *)base;
    for (int i = 0; i < 4; i++) {
        if (plan->layouts[i]) {
            (void)lt->layout_destroy(plan->layouts[i]);
        }
    }
    if (plan->product) {
        (void)lt->product_destroy(plan->product);
    }
    memory_free(&device->base.allocator, plan);
}

static dlc_status lt_prepare(CudaQueue *queue, const DeviceCall *call, DeviceCallPlan **out) {
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status = DLC_OK;
    const Cublaslt *lt = lt_of(device, &status);
    if (!lt) {
        return status;
    }
    for (int i = 0; i < 4; i++) {
        if (call->sizes[i] < 1 || call->sizes[i] > INT32_MAX) {
            return cuda_fail(device, DLC_ERROR_UNSUPPORTED, "a size is %" PRId64, call->sizes[i]);
        }
    }
    if (!types_fit(call)) {
        return cuda_fail(device, DLC_ERROR_UNSUPPORTED, "cuBLASLt multiplies no such types");
    }
    ProductPlan *plan = memory_new(&device->base.allocator, 1, sizeof(*plan));
    if (!plan) {
        return cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    }
    plan->base.library = &cuda_cublaslt;
    plan->has_c = call->present[PLAN_OPERAND_C];
    plan->has_bias = call->present[PLAN_OPERAND_BIAS];
    plan->is_wide = call->compute == PLAN_COMPUTE_F64;
    int32_t ops[2] = {LT_OP_N, LT_OP_N};
    status = layouts_make(device, lt, call, plan, ops);
    if (status == DLC_OK) {
        status = product_make(device, lt, call, plan, ops);
    }
    if (status == DLC_OK) {
        status = algorithm_choose(device, lt, call, plan);
    }
    if (status == DLC_OK) {
        /* All of it at once: a workspace that grows leaves the outgrown one to graphs. */
        status = cuda_workspace_reserve(queue, CUDA_WORKSPACE_BYTES);
    }
    if (status != DLC_OK) {
        lt_free(device, &plan->base);
        return status;
    }
    *out = &plan->base;
    return DLC_OK;
}

static dlc_status lt_run(CudaQueue *queue, DeviceCallPlan *base, void *const *buffers) {
    CudaDevice *device = cuda_device_of(queue);
    const Cublaslt *lt = device->cublaslt;
    const ProductPlan *plan = (const ProductPlan *)base;
    static const float one = 1, zero = 0;
    static const double one_wide = 1, zero_wide = 0;
    const void *alpha = plan->is_wide ? (const void *)&one_wide : &one;
    const void *nothing = plan->is_wide ? (const void *)&zero_wide : &zero;
    LtStatus status = LT_SUCCESS;
    if (plan->has_bias) {
        const void *bias = buffers[PLAN_OPERAND_BIAS];
        status = lt->product_set(plan->product, LT_PRODUCT_BIAS, &bias, sizeof(bias));
    }
    if (status == LT_SUCCESS) {
        status = lt->matmul(lt->handle, plan->product, alpha, buffers[plan->operands[0]],
                            plan->layouts[0], buffers[plan->operands[1]], plan->layouts[1],
                            plan->has_c ? alpha : nothing, buffers[plan->operands[2]],
                            plan->layouts[2], buffers[plan->operands[3]], plan->layouts[3],
                            &plan->algorithm, (void *)(uintptr_t)queue->workspace,
                            (size_t)queue->workspace_bytes, queue->stream);
    }
    if (status == LT_SUCCESS) {
        return DLC_OK;
    }
    return cuda_fail(device, DLC_ERROR_INTERNAL, "cublasLtMatmul: %s (%d)", status_text(status),
                     status);
}

static void lt_describe(const CudaDevice *device, const DeviceCallPlan *base, char *out,
                        size_t n_out) {
    char version[48];
    version_text(device->cublaslt, version, sizeof(version));
    snprintf(out, n_out, "%s, algorithm %d", version, ((const ProductPlan *)base)->number);
}

const CudaLibrary cuda_cublaslt = {
    .prepare = lt_prepare,
    .run = lt_run,
    .free = lt_free,
    .describe = lt_describe,
    .close = lt_close,
};
