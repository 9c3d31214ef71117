/* Convolutions by cuDNN: opened by the first call, one handle on one queue's stream at a time, a
 * plan a call. See cudnn.h for graphs and plans. */
#include "runtime/cuda/call.h"
#include "runtime/cuda/cudnn.h"
#include "runtime/plan.h"

#include <stdio.h>

/* cuDNN's fast engines work on channels-last tensors in groups of eight channels and copy ours into
 * the workspace: it may hold such a copy of each operand, but never more than this share of the
 * memory that is free. */
enum { CHANNEL_GROUP = 8, WORKSPACE_SHARE = 8, WORKSPACE_STEP = 1 << 20 };

struct CudaCudnn {
    Cudnn cudnn;
    CudnnHandle handle;                 /* NULL: refused */
    char refused[DEVICE_MESSAGE_BYTES]; /* why there is none */
    dlc_status refused_as; /* DLC_ERROR_UNSUPPORTED, or an error that each call meets again */
};

typedef struct ConvPlan {
    DeviceCallPlan base;
    CudnnGraph graph;
} ConvPlan;

/* The kernels need neither handle nor graph: for the library, not enough memory is one more
 * refusal. */
static dlc_status refusal(int status) {
    dlc_status as = cudnn_status(status);
    return as == DLC_ERROR_OUT_OF_MEMORY || as == DLC_OK ? DLC_ERROR_UNSUPPORTED : as;
}

/* The opened library; NULL: device.error says why there is none, *out_status what that means. */
static CudaCudnn *cudnn_of(CudaQueue *queue, dlc_status *out_status) {
    CudaDevice *device = cuda_device_of(queue);
    CudaCudnn *state = device->cudnn;
    if (!state) {
        state = memory_new(&device->base.allocator, 1, sizeof(*state));
        if (!state) {
            *out_status = cuda_fail(device, DLC_ERROR_UNSUPPORTED, "out of memory for cuDNN");
            return NULL;
        }
        device->cudnn = state;
        state->refused_as = DLC_ERROR_UNSUPPORTED;
        if (cudnn_open(&state->cudnn, device->driver.version, state->refused,
                       sizeof(state->refused))) {
            int status = state->cudnn.create(&state->handle);
            const char *call = "cudnnCreate";
            if (status == DNN_SUCCESS) {
                call = "cudnnSetStream";
                status = state->cudnn.set_stream(state->handle, queue->stream);
                device->cudnn_queue = queue;
            } else {
                state->handle = NULL;
            }
            if (status != DNN_SUCCESS) {
                cudnn_error(&state->cudnn, status, call, state->refused, sizeof(state->refused));
                state->refused_as = refusal(status);
                if (state->handle) {
                    state->cudnn.destroy(state->handle);
                    state->handle = NULL;
                }
            }
        }
    }
    if (!state->handle) {
        *out_status = cuda_fail(device, state->refused_as, "%s", state->refused);
        return NULL;
    }
    return state;
}

static void conv_close(CudaDevice *device) {
    CudaCudnn *state = device->cudnn;
    if (state) {
        if (state->handle) {
            state->cudnn.destroy(state->handle);
        }
        cudnn_close(&state->cudnn);
        memory_free(&device->base.allocator, state);
        device->cudnn = NULL;
    }
}

static int64_t dtype_bytes(int32_t dtype) {
    return dtype == PLAN_F64 ? 8 : dtype == PLAN_F32 ? 4 : 2;
}

/* Of x, w and y with their channels in whole groups. They lie in memory, so nothing overflows. */
static int64_t copies_bytes(const DeviceCall *call) {
    int64_t rank = call->n_sizes > 0 ? call->sizes[0] : 0, total = 0;
    if (rank < 1 || rank > 3 || call->n_sizes != PLAN_CONV_SIZES(rank)) {
        return 0; /* refused by the graph */
    }
    const int64_t *dims = call->sizes + 2 + 4 * rank;
    for (int tensor = 0; tensor < 3; tensor++, dims += 2 + rank) {
        int64_t groups = (dims[1] + CHANNEL_GROUP - 1) / CHANNEL_GROUP;
        int64_t bytes = dtype_bytes(call->dtypes[PLAN_OPERAND_A]) * groups * CHANNEL_GROUP;
        for (int32_t i = 0; i < 2 + rank; i++) {
            bytes *= i == 1 ? 1 : dims[i];
        }
        total += bytes;
    }
    return total;
}

static dlc_status workspace_most(const CudaQueue *queue, const DeviceCall *call, int64_t *most) {
    size_t free_bytes = 0, total_bytes = 0;
    dlc_status status = cuda_memory_info(cuda_device_of(queue), &free_bytes, &total_bytes);
    if (status != DLC_OK) {
        return status;
    }
    int64_t copies = copies_bytes(call), share = (int64_t)(free_bytes / WORKSPACE_SHARE);
    copies += CUDA_WORKSPACE_BYTES;
    *most = copies < share ? copies : share;
    *most = *most > queue->workspace_bytes ? *most : queue->workspace_bytes;
    return DLC_OK;
}

static dlc_status conv_prepare(CudaQueue *queue, const DeviceCall *call, DeviceCallPlan **out) {
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status = DLC_OK;
    CudaCudnn *state = cudnn_of(queue, &status);
    CudnnWish wish = {.reproducible = call->reproducible};
    if (!state) {
        return status;
    }
    status = workspace_most(queue, call, &wish.most_workspace);
    if (status != DLC_OK) {
        return status;
    }
    ConvPlan *plan = memory_new(&device->base.allocator, 1, sizeof(*plan));
    if (!plan) {
        return cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    }
    char reason[DEVICE_MESSAGE_BYTES];
    wish.handle = state->handle;
    plan->base.library = &cuda_cudnn;
    if (!cudnn_graph_build(&state->cudnn, state->handle, call, &plan->graph, reason,
                           sizeof(reason)) ||
        !cudnn_graph_choose(&plan->graph, &wish, reason, sizeof(reason))) {
        status = cuda_fail(device, refusal(plan->graph.failure), "%s", reason);
    } else {
        int64_t bytes = (plan->graph.workspace + WORKSPACE_STEP - 1) / WORKSPACE_STEP;
        bytes *= WORKSPACE_STEP;
        status = cuda_workspace_reserve(queue, bytes);
        if (status == DLC_ERROR_OUT_OF_MEMORY) {
            status = DLC_ERROR_UNSUPPORTED; /* the kernel needs no workspace */
        }
    }
    if (status != DLC_OK) {
        cudnn_graph_finish(&plan->graph);
        memory_free(&device->base.allocator, plan);
        return status;
    }
    *out = &plan->base;
    return DLC_OK;
}

/* Sets the variant pack's three attributes and finalises it. */
static int pack_fill(const CudaQueue *queue, const ConvPlan *plan, CudnnDescriptor pack,
                     void *const *buffers) {
    const Cudnn *cudnn = plan->graph.cudnn;
    int64_t uids[PLAN_N_OPERANDS];
    void *pointers[PLAN_N_OPERANDS];
    int64_t n = 0;
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        if (plan->graph.uids[i] != 0) {
            uids[n] = plan->graph.uids[i];
            pointers[n++] = buffers[i];
        }
    }
    void *workspace = plan->graph.workspace > 0 ? (void *)(uintptr_t)queue->workspace : NULL;
    int status =
        cudnn->set(pack, DNN_ATTR_VARIANT_PACK_DATA_POINTERS, DNN_TYPE_VOID_PTR, n, pointers);
    if (status == DNN_SUCCESS) {
        status = cudnn->set(pack, DNN_ATTR_VARIANT_PACK_UNIQUE_IDS, DNN_TYPE_INT64, n, uids);
    }
    if (status == DNN_SUCCESS) {
        status =
            cudnn->set(pack, DNN_ATTR_VARIANT_PACK_WORKSPACE, DNN_TYPE_VOID_PTR, 1, &workspace);
    }
    return status == DNN_SUCCESS ? cudnn->finalize(pack) : status;
}

static dlc_status conv_run(CudaQueue *queue, DeviceCallPlan *base, void *const *buffers) {
    CudaDevice *device = cuda_device_of(queue);
    CudaCudnn *state = device->cudnn;
    ConvPlan *plan = (ConvPlan *)base;
    const Cudnn *cudnn = plan->graph.cudnn;
    CudnnDescriptor pack = NULL;
    int status = DNN_SUCCESS;
    if (device->cudnn_queue != queue) {
        status = cudnn->set_stream(state->handle, queue->stream);
        device->cudnn_queue = status == DNN_SUCCESS ? queue : NULL;
    }
    if (status == DNN_SUCCESS) {
        status = cudnn->make(DNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    }
    if (status == DNN_SUCCESS) {
        status = pack_fill(queue, plan, pack, buffers);
    }
    if (status == DNN_SUCCESS) {
        status = cudnn->execute(state->handle, plan->graph.plan, pack);
    }
    if (pack) {
        cudnn->unmake(pack);
    }
    if (status == DNN_SUCCESS) {
        return DLC_OK;
    }
    char text[DEVICE_MESSAGE_BYTES];
    cudnn_error(cudnn, status, "cudnnBackendExecute", text, sizeof(text));
    return cuda_fail(device, DLC_ERROR_INTERNAL, "%s", text);
}

static void conv_free(CudaDevice *device, DeviceCallPlan *base) {
    ConvPlan *plan = (ConvPlan *)base;
    cudnn_graph_finish(&plan->graph);
    memory_free(&device->base.allocator, plan);
}

static void conv_describe(const CudaDevice *device, const DeviceCallPlan *base, char *out,
                          size_t n_out) {
    const CudnnGraph *graph = &((const ConvPlan *)base)->graph;
    (void)device;
    snprintf(out, n_out, "cuDNN %d.%d.%d, engine %lld, workspace %lld MiB",
             graph->cudnn->version / 10000, graph->cudnn->version / 100 % 100,
             graph->cudnn->version % 100, (long long)graph->engine,
             (long long)((graph->workspace + (1 << 20) - 1) >> 20));
}

const CudaLibrary cuda_cudnn = {
    .prepare = conv_prepare,
    .run = conv_run,
    .free = conv_free,
    .describe = conv_describe,
    .close = conv_close,
};
