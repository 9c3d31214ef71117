/* A convolution, or one of its gradients, as an operation graph of cuDNN: the tensors' dims and
 * strides as the call gives them, the products in the call's compute type, then what is added and
 * the epilogue. See cudnn.h; the plan is chosen in cudnn_choose.c. */
#include "runtime/cuda/cudnn.h"

#include "runtime/plan.h"

#include <stdarg.h>
#include <stdio.h>

enum { MOST_SPATIAL = 3, MOST_RANK = 2 + MOST_SPATIAL, LEAST_SPATIAL = 2 };

/* A tensor as cuDNN wants it: at least two spatial axes. */
typedef struct Tensor {
    int64_t dims[MOST_RANK], strides[MOST_RANK];
} Tensor;

typedef struct Build {
    const Cudnn *cudnn;
    CudnnHandle handle;
    const DeviceCall *call;
    CudnnGraph *graph;
    char *message;
    size_t n_message;
    bool failed;
    int32_t n_spatial; /* as cuDNN sees it */
    int64_t stride[MOST_SPATIAL], dilation[MOST_SPATIAL], low[MOST_SPATIAL], high[MOST_SPATIAL];
    Tensor x, w, y;
    int32_t compute; /* a data type of cuDNN */
    int64_t next_uid;
    CudnnDescriptor operations[CUDNN_MOST_OPERATIONS];
    int n_operations;
} Build;

/* The first reason is kept; everything after it does nothing. */
static void refuse(Build *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void refuse(Build *b, const char *format, ...) {
    if (b->failed) {
        return;
    }
    b->failed = true;
    va_list args;
    va_start(args, format);
    vsnprintf(b->message, b->n_message, format, args);
    va_end(args);
}

static void check(Build *b, int status, const char *what) {
    if (status != DNN_SUCCESS && !b->failed) {
        b->failed = true;
        b->graph->failure = status;
        cudnn_error(b->cudnn, status, what, b->message, b->n_message);
    }
}

static CudnnDescriptor make(Build *b, int type, const char *what) {
    CudnnGraph *graph = b->graph;
    CudnnDescriptor descriptor = NULL;
    if (b->failed) {
        return NULL;
    }
    if (graph->n_owned == CUDNN_MOST_DESCRIPTORS) {
        refuse(b, "too large a graph for cuDNN");
        return NULL;
    }
    check(b, b->cudnn->make(type, &descriptor), what);
    if (b->failed) {
        return NULL;
    }
    graph->owned[graph->n_owned++] = descriptor;
    return descriptor;
}

static void set(Build *b, CudnnDescriptor descriptor, int name, int type, int64_t count,
                const void *elements) {
    if (!b->failed) {
        char what[32];
        snprintf(what, sizeof(what), "attribute %d", name);
        check(b, b->cudnn->set(descriptor, name, type, count, elements), what);
    }
}

static void set_int(Build *b, CudnnDescriptor descriptor, int name, int64_t value) {
    set(b, descriptor, name, DNN_TYPE_INT64, 1, &value);
}

/* Attributes whose elements are enumerations. */
static void set_enum(Build *b, CudnnDescriptor descriptor, int name, int type, int value) {
    set(b, descriptor, name, type, 1, &value);
}

static void set_part(Build *b, CudnnDescriptor descriptor, int name, CudnnDescriptor part) {
    set(b, descriptor, name, DNN_TYPE_BACKEND_DESCRIPTOR, 1, &part);
}

static void finalize(Build *b, CudnnDescriptor descriptor, const char *what) {
    if (!b->failed) {
        check(b, b->cudnn->finalize(descriptor), what);
    }
}

/* -- What is asked for -- */

static int data_type(Build *b, int32_t dtype) {
    switch (dtype) {
    case PLAN_F64:
        return DNN_DATA_DOUBLE;
    case PLAN_F32:
        return DNN_DATA_FLOAT;
    case PLAN_F16:
        return DNN_DATA_HALF;
    case PLAN_BF16:
        return DNN_DATA_BFLOAT16;
    default:
        refuse(b, "cuDNN is asked for floating-point convolutions only");
        return DNN_DATA_FLOAT;
    }
}

/* Dims and strides with an axis of one place in the middle where there is one spatial axis. */
static Tensor tensor_read(const int64_t *dims, const int64_t *strides, int32_t rank) {
    Tensor tensor;
    int32_t added = rank < LEAST_SPATIAL ? LEAST_SPATIAL - rank : 0;
    for (int32_t i = 0; i < 2 + rank; i++) {
        int32_t to = i < 2 ? i : i + added;
        tensor.dims[to] = dims[i];
        tensor.strides[to] = strides[i];
    }
    for (int32_t i = 0; i < added; i++) {
        tensor.dims[2 + i] = 1;
        tensor.strides[2 + i] = dims[2] * strides[2];
    }
    return tensor;
}

static void window_read(Build *b, const int64_t *sizes, int32_t rank) {
    int32_t added = rank < LEAST_SPATIAL ? LEAST_SPATIAL - rank : 0;
    b->n_spatial = rank + added;
    for (int32_t i = 0; i < b->n_spatial; i++) {
        int32_t from = i - added;
        b->stride[i] = from < 0 ? 1 : sizes[2 + from];
        b->dilation[i] = from < 0 ? 1 : sizes[2 + rank + from];
        b->low[i] = from < 0 ? 0 : sizes[2 + 2 * rank + from];
        b->high[i] = from < 0 ? 0 : sizes[2 + 3 * rank + from];
        if (b->low[i] < 0 || b->high[i] < 0) {
            refuse(b, "cuDNN has no negative padding");
        }
    }
}

static void call_read(Build *b) {
    const DeviceCall *call = b->call;
    const int64_t *sizes = call->sizes;
    int64_t rank = call->n_sizes > 0 ? sizes[0] : 0;
    if (rank < 1 || rank > MOST_SPATIAL || call->n_sizes != PLAN_CONV_SIZES(rank)) {
        refuse(b, "cuDNN convolves over one, two or three axes, not %lld", (long long)rank);
        return;
    }
    int32_t r = (int32_t)rank;
    window_read(b, sizes, r);
    const int64_t *dims = sizes + 2 + 4 * r, *strides = dims + 3 * (2 + r);
    for (int32_t i = 0; i < 3 * (2 + r); i++) {
        if (dims[i] < 1 || strides[i] < 1) {
            refuse(b, "an empty or broadcast operand");
            return;
        }
    }
    b->x = tensor_read(dims, strides, r);
    b->w = tensor_read(dims + 2 + r, strides + 2 + r, r);
    b->y = tensor_read(dims + 2 * (2 + r), strides + 2 * (2 + r), r);
    if (b->x.dims[1] != b->w.dims[1] * sizes[1]) {
        refuse(b, "groups that do not divide the channels");
    }
}

/* Types, and what follows the products. */
static void call_check(Build *b) {
    const DeviceCall *call = b->call;
    bool has_f64 = false, has_narrow = false;
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        if (call->present[i]) {
            int32_t dtype = call->dtypes[i];
            has_f64 = has_f64 || dtype == PLAN_F64;
            has_narrow = has_narrow || dtype == PLAN_F16 || dtype == PLAN_BF16;
        }
    }
    b->graph->is_f32 =
        call->dtypes[PLAN_OPERAND_A] == PLAN_F32 && call->compute == PLAN_COMPUTE_F32;
    if (has_f64 != (call->compute == PLAN_COMPUTE_F64) || (has_f64 && has_narrow)) {
        refuse(b, "cuDNN does not mix f64 with other types");
    }
    if (call->dtypes[PLAN_OPERAND_A] != call->dtypes[PLAN_OPERAND_B]) {
        refuse(b, "cuDNN wants operands of one type");
    }
    if (!call->present[PLAN_OPERAND_A] || !call->present[PLAN_OPERAND_B] ||
        !call->present[PLAN_OPERAND_D]) {
        refuse(b, "an operand is missing");
    }
    bool plain = !call->present[PLAN_OPERAND_C] && !call->present[PLAN_OPERAND_BIAS] &&
                 call->epilogue == PLAN_EPILOGUE_NONE;
    if (call->kind == PLAN_LIBRARY_CONV_FILTER_GRAD && !plain) {
        refuse(b, "a filter gradient with an epilogue");
    }
    if (call->epilogue != PLAN_EPILOGUE_NONE && call->epilogue != PLAN_EPILOGUE_RELU) {
        refuse(b, "an epilogue that cuDNN is not asked for");
    }
    b->compute = has_f64 ? DNN_DATA_DOUBLE : DNN_DATA_FLOAT;
}

/* -- Descriptors -- */

static CudnnDescriptor tensor_make(Build *b, const Tensor *tensor, int type, int64_t alignment,
                                   int64_t uid, bool is_virtual) {
    CudnnDescriptor d = make(b, DNN_BACKEND_TENSOR_DESCRIPTOR, "tensor");
    set_enum(b, d, DNN_ATTR_TENSOR_DATA_TYPE, DNN_TYPE_DATA_TYPE, type);
    set(b, d, DNN_ATTR_TENSOR_DIMENSIONS, DNN_TYPE_INT64, 2 + b->n_spatial, tensor->dims);
    set(b, d, DNN_ATTR_TENSOR_STRIDES, DNN_TYPE_INT64, 2 + b->n_spatial, tensor->strides);
    set_int(b, d, DNN_ATTR_TENSOR_UNIQUE_ID, uid);
    set_int(b, d, DNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment);
    if (is_virtual) {
        bool yes = true;
        set(b, d, DNN_ATTR_TENSOR_IS_VIRTUAL, DNN_TYPE_BOOLEAN, 1, &yes);
    }
    finalize(b, d, "tensor");
    return d;
}

/* Which tensor an operand of this kind of call is. */
static const Tensor *operand_tensor(const Build *b, int operand) {
    const Tensor *tensors[PLAN_N_LIBRARY_KINDS][3] = {
        [PLAN_LIBRARY_CONV] = {&b->x, &b->w, &b->y},
        [PLAN_LIBRARY_CONV_INPUT_GRAD] = {&b->y, &b->w, &b->x},
        [PLAN_LIBRARY_CONV_FILTER_GRAD] = {&b->y, &b->x, &b->w},
    };
    int which = operand == PLAN_OPERAND_A ? 0 : operand == PLAN_OPERAND_B ? 1 : 2;
    return tensors[b->call->kind][which];
}

/* The tensor of an operand of the call. */
static CudnnDescriptor operand_make(Build *b, int operand, const Tensor *tensor) {
    enum { ALIGNMENT = 16, LEAST_ALIGNMENT = 1 };
    int32_t aligned = b->call->alignment[operand];
    aligned = aligned > ALIGNMENT         ? ALIGNMENT
              : aligned < LEAST_ALIGNMENT ? LEAST_ALIGNMENT
                                          : aligned;
    int64_t uid = b->next_uid++;
    b->graph->uids[operand] = uid;
    return tensor_make(b, tensor, data_type(b, b->call->dtypes[operand]), aligned, uid, false);
}

/* A value between operations, shaped as the result. */
static CudnnDescriptor between_make(Build *b) {
    return tensor_make(b, operand_tensor(b, PLAN_OPERAND_D), b->compute, 16, b->next_uid++, true);
}

static CudnnDescriptor convolution_make(Build *b) {
    CudnnDescriptor d = make(b, DNN_BACKEND_CONVOLUTION_DESCRIPTOR, "convolution");
    int64_t n = b->n_spatial;
    set_int(b, d, DNN_ATTR_CONVOLUTION_SPATIAL_DIMS, n);
    set_enum(b, d, DNN_ATTR_CONVOLUTION_COMP_TYPE, DNN_TYPE_DATA_TYPE, b->compute);
    set_enum(b, d, DNN_ATTR_CONVOLUTION_CONV_MODE, DNN_TYPE_CONVOLUTION_MODE,
             DNN_CROSS_CORRELATION);
    set(b, d, DNN_ATTR_CONVOLUTION_FILTER_STRIDES, DNN_TYPE_INT64, n, b->stride);
    set(b, d, DNN_ATTR_CONVOLUTION_DILATIONS, DNN_TYPE_INT64, n, b->dilation);
    set(b, d, DNN_ATTR_CONVOLUTION_PRE_PADDINGS, DNN_TYPE_INT64, n, b->low);
    set(b, d, DNN_ATTR_CONVOLUTION_POST_PADDINGS, DNN_TYPE_INT64, n, b->high);
    finalize(b, d, "convolution");
    return d;
}

static void operation_add(Build *b, CudnnDescriptor operation, const char *what) {
    finalize(b, operation, what);
    if (!b->failed && b->n_operations < CUDNN_MOST_OPERATIONS) {
        b->operations[b->n_operations++] = operation;
    }
}

/* Of the three kinds: the operation and its attributes' names. */
typedef struct Kind {
    int type, alpha, beta, convolution, a, b, d;
} Kind;

static const Kind *kind_of(int32_t kind) {
    static const Kind forward = {
        DNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
        DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
        DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
        DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
        DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
        DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
        DNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
    };
    static const Kind input = {
        DNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
        DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
        DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
        DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
        DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
        DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
        DNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
    };
    static const Kind filter = {
        DNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
        DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
        DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
        DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
        DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
        DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
        DNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
    };
    return kind == PLAN_LIBRARY_CONV              ? &forward
           : kind == PLAN_LIBRARY_CONV_INPUT_GRAD ? &input
                                                  : &filter;
}

static void convolve(Build *b, CudnnDescriptor left, CudnnDescriptor right,
                     CudnnDescriptor result) {
    const Kind *kind = kind_of(b->call->kind);
    CudnnDescriptor convolution = convolution_make(b);
    CudnnDescriptor d = make(b, kind->type, "operation");
    double one = 1, zero = 0;
    float one_f = 1, zero_f = 0;
    bool wide = b->compute == DNN_DATA_DOUBLE;
    int type = wide ? DNN_TYPE_DOUBLE : DNN_TYPE_FLOAT;
    set_part(b, d, kind->convolution, convolution);
    set_part(b, d, kind->a, left);
    set_part(b, d, kind->b, right);
    set_part(b, d, kind->d, result);
    set(b, d, kind->alpha, type, 1, wide ? (const void *)&one : &one_f);
    set(b, d, kind->beta, type, 1, wide ? (const void *)&zero : &zero_f);
    operation_add(b, d, "operation");
}

/* result = mode(value, with); `with` NULL: of one operand. */
static void pointwise(Build *b, int mode, CudnnDescriptor value, CudnnDescriptor with,
                      CudnnDescriptor result) {
    CudnnDescriptor how = make(b, DNN_BACKEND_POINTWISE_DESCRIPTOR, "pointwise");
    set_enum(b, how, DNN_ATTR_POINTWISE_MODE, DNN_TYPE_POINTWISE_MODE, mode);
    set_enum(b, how, DNN_ATTR_POINTWISE_MATH_PREC, DNN_TYPE_DATA_TYPE, b->compute);
    if (mode == DNN_POINTWISE_RELU_FWD) {
        set_enum(b, how, DNN_ATTR_POINTWISE_NAN_PROPAGATION, DNN_TYPE_NAN_PROPOGATION, 1);
    }
    finalize(b, how, "pointwise");
    CudnnDescriptor d = make(b, DNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, "pointwise operation");
    set_part(b, d, DNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    set_part(b, d, DNN_ATTR_OPERATION_POINTWISE_XDESC, value);
    if (with) {
        set_part(b, d, DNN_ATTR_OPERATION_POINTWISE_BDESC, with);
    }
    set_part(b, d, DNN_ATTR_OPERATION_POINTWISE_YDESC, result);
    operation_add(b, d, "pointwise operation");
}

/* -- The whole -- */

static Tensor bias_tensor(const Build *b) {
    Tensor tensor;
    for (int32_t i = 0; i < 2 + b->n_spatial; i++) {
        tensor.dims[i] = tensor.strides[i] = 1;
    }
    tensor.dims[1] = tensor.strides[0] = operand_tensor(b, PLAN_OPERAND_D)->dims[1];
    return tensor;
}

/* The operations in order, each result but the last between them. */
static void operations_make(Build *b) {
    const DeviceCall *call = b->call;
    bool adds = call->present[PLAN_OPERAND_C], biased = call->present[PLAN_OPERAND_BIAS];
    int after = adds + biased + (call->epilogue == PLAN_EPILOGUE_RELU);
    CudnnDescriptor left = operand_make(b, PLAN_OPERAND_A, operand_tensor(b, PLAN_OPERAND_A));
    CudnnDescriptor right = operand_make(b, PLAN_OPERAND_B, operand_tensor(b, PLAN_OPERAND_B));
    CudnnDescriptor result = operand_make(b, PLAN_OPERAND_D, operand_tensor(b, PLAN_OPERAND_D));
    CudnnDescriptor value = after > 0 ? between_make(b) : result;
    convolve(b, left, right, value);
    if (adds) {
        CudnnDescriptor next = --after > 0 ? between_make(b) : result;
        pointwise(b, DNN_POINTWISE_ADD, value,
                  operand_make(b, PLAN_OPERAND_C, operand_tensor(b, PLAN_OPERAND_C)), next);
        value = next;
    }
    if (biased) {
        CudnnDescriptor next = --after > 0 ? between_make(b) : result;
        Tensor bias = bias_tensor(b);
        pointwise(b, DNN_POINTWISE_ADD, value, operand_make(b, PLAN_OPERAND_BIAS, &bias), next);
        value = next;
    }
    if (after > 0) {
        pointwise(b, DNN_POINTWISE_RELU_FWD, value, NULL, result);
    }
}

bool cudnn_graph_build(const Cudnn *cudnn, CudnnHandle handle, const DeviceCall *call,
                       CudnnGraph *graph, char *message, size_t n_message) {
    Build b = {.cudnn = cudnn,
               .handle = handle,
               .call = call,
               .graph = graph,
               .message = message,
               .n_message = n_message,
               .next_uid = 1};
    *graph = (CudnnGraph){.cudnn = cudnn};
    if (call->kind < PLAN_LIBRARY_CONV || call->kind > PLAN_LIBRARY_CONV_FILTER_GRAD) {
        refuse(&b, "cuDNN is asked for convolutions only");
    }
    if (!b.failed) {
        call_check(&b);
    }
    if (!b.failed) {
        call_read(&b);
    }
    if (!b.failed) {
        operations_make(&b);
    }
    CudnnDescriptor all = make(&b, DNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "operation graph");
    if (handle) {
        set(&b, all, DNN_ATTR_OPERATIONGRAPH_HANDLE, DNN_TYPE_HANDLE, 1, &b.handle);
    }
    set(&b, all, DNN_ATTR_OPERATIONGRAPH_OPS, DNN_TYPE_BACKEND_DESCRIPTOR, b.n_operations,
        b.operations);
    finalize(&b, all, "operation graph");
    graph->operations = all;
    return !b.failed;
}

void cudnn_graph_finish(CudnnGraph *graph) {
    while (graph->n_owned > 0) {
        graph->cudnn->unmake(graph->owned[--graph->n_owned]);
    }
    *graph = (CudnnGraph){0};
}
