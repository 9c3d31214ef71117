/* The entry points of libcuda that the CUDA device of the run time calls (runtime/cuda/driver.def),
 * and a few that tests of the simulator need. Handles are addresses of our own structures; every
 * call takes the one lock. */
#include "tests/cudasim/results.h"
#include "tests/cudasim/sim.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STACK_CONTEXTS = 32, PROCESSORS = 4, CONTEXT_BYTES = 8 << 20 };

typedef int Result;
typedef unsigned long long Address;
typedef struct Uuid {
    char bytes[16];
} Uuid;
typedef struct GraphExec {
    Graph *graph;
} GraphExec;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool initialised, settings_known;
static int64_t calls, next_stream = 1;
static Ctx contexts[MAX_DEVICES];
static _Thread_local Ctx *stack[STACK_CONTEXTS];
static _Thread_local int n_stack;
static int64_t live_streams, live_events, live_graphs, live_execs;
static int64_t module_bytes[MAX_DEVICES];

/* Takes the lock. The call's number decides whether it is made to fail. */
static bool enter(void) {
    pthread_mutex_lock(&lock);
    if (!settings_known) {
        settings_read();
        settings_known = true;
    }
    return ++calls != settings.fail_call;
}

static Result leave(Result result) {
    pthread_mutex_unlock(&lock);
    return result;
}

static Ctx *current(void) {
    return n_stack > 0 ? stack[n_stack - 1] : NULL;
}

/* What stands in the way of a call that needs a context: SIM_SUCCESS, or the answer. */
static Result ready(bool goes) {
    if (!goes) {
        return SIM_UNKNOWN;
    }
    if (!initialised) {
        return SIM_NOT_INITIALIZED;
    }
    if (!current()) {
        return SIM_INVALID_CONTEXT;
    }
    return current()->broken;
}

#define ENTER()                                                                                    \
    Result result = ready(enter());                                                                \
    if (result != SIM_SUCCESS) {                                                                   \
        return leave(result);                                                                      \
    }

static Stream *stream_of(void *handle) {
    return handle ? handle : &current()->null_stream;
}

/* -- The driver and its devices. */

EXPORT Result cuInit(unsigned flags);
Result cuInit(unsigned flags) {
    if (!enter()) {
        return leave(SIM_UNKNOWN);
    }
    if (flags != 0) {
        return leave(SIM_INVALID_VALUE);
    }
    if (settings.devices == 0) {
        return leave(SIM_NO_DEVICE);
    }
    initialised = initialised || memory_init();
    return leave(initialised ? SIM_SUCCESS : SIM_OUT_OF_MEMORY);
}

EXPORT Result cuDriverGetVersion(int *version);
Result cuDriverGetVersion(int *version) {
    if (!enter()) {
        return leave(SIM_UNKNOWN);
    }
    *version = settings.driver;
    return leave(SIM_SUCCESS);
}

static const struct {
    int value;
    const char *name, *text;
} results[] = {
#define X(NAME, VALUE, TEXT) {VALUE, "CUDA_" #NAME, TEXT},
    SIM_RESULTS(X)
#undef X
};

static const char *result_text(Result value, bool name) {
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        if (results[i].value == value) {
            return name ? results[i].name : results[i].text;
        }
    }
    return NULL;
}

EXPORT Result cuGetErrorName(Result error, const char **text);
Result cuGetErrorName(Result error, const char **text) {
    const char *name = result_text(error, true);
    static char buffer[64];
    if (name && error != SIM_SUCCESS) {
        snprintf(buffer, sizeof buffer, "CUDA_ERROR_%s", name + strlen("CUDA_"));
    }
    *text = name && error != SIM_SUCCESS ? buffer : name;
    return name ? SIM_SUCCESS : SIM_INVALID_VALUE;
}

EXPORT Result cuGetErrorString(Result error, const char **text);
Result cuGetErrorString(Result error, const char **text) {
    *text = result_text(error, false);
    return *text ? SIM_SUCCESS : SIM_INVALID_VALUE;
}

EXPORT Result cuDeviceGetCount(int *count);
Result cuDeviceGetCount(int *count) {
    bool goes = enter();
    *count = settings.devices;
    return leave(!goes ? SIM_UNKNOWN : initialised ? SIM_SUCCESS : SIM_NOT_INITIALIZED);
}

static Result device_check(bool goes, int device) {
    return !goes                                      ? SIM_UNKNOWN
           : !initialised                             ? SIM_NOT_INITIALIZED
           : device < 0 || device >= settings.devices ? SIM_INVALID_DEVICE
                                                      : SIM_SUCCESS;
}

EXPORT Result cuDeviceGet(int *device, int ordinal);
Result cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return leave(device_check(enter(), ordinal));
}

EXPORT Result cuDeviceGetName(char *name, int n_name, int device);
Result cuDeviceGetName(char *name, int n_name, int device) {
    Result result = device_check(enter(), device);
    if (result == SIM_SUCCESS) {
        snprintf(name, (size_t)n_name, "Simulated sm_%d", settings.arch);
    }
    return leave(result);
}

EXPORT Result cuDeviceGetUuid_v2(Uuid *uuid, int device);
Result cuDeviceGetUuid_v2(Uuid *uuid, int device) {
    Result result = device_check(enter(), device);
    for (int i = 0; i < 16 && result == SIM_SUCCESS; i++) {
        uuid->bytes[i] = (char)(i == 0 ? settings.shown[device] + 1 : 17 * i);
    }
    return leave(result);
}

static size_t shared_opt_in(void) {
    switch (settings.arch) {
    case 75:
        return 64 * 1024;
    case 80:
    case 87:
        return 163 * 1024;
    case 86:
    case 89:
    case 120:
        return 99 * 1024;
    default:
        return 227 * 1024;
    }
}

EXPORT Result cuDeviceGetAttribute(int *value, int attribute, int device);
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    Result result = device_check(enter(), device);
    if (result != SIM_SUCCESS) {
        return leave(result);
    }
    switch (attribute) {
    case 1:
        *value = 1024;
        break; /* threads of a block */
    case 2:
        *value = 1024;
        break; /* block dim x */
    case 5:
        *value = 2147483647;
        break; /* grid dim x */
    case 8:
        *value = 48 * 1024;
        break; /* shared memory of a block */
    case 10:
        *value = WARP;
        break;
    case 12:
        *value = 65536;
        break; /* registers of a block */
    case 13:
        *value = 1500000;
        break; /* clock, kHz */
    case 16:
        *value = PROCESSORS;
        break;
    case 17:
        *value = 0;
        break; /* time limit of kernels */
    case 20:
        *value = 0;
        break; /* compute mode */
    case 36:
        *value = 2000000;
        break; /* memory clock */
    case 37:
        *value = 512;
        break; /* memory bus width */
    case 38:
        *value = 4 << 20;
        break; /* L2 */
    case 39:
        *value = 2048;
        break; /* threads of a processor */
    case 41:
        *value = 1;
        break; /* unified addressing */
    case 75:
        *value = settings.arch / 10;
        break;
    case 76:
        *value = settings.arch % 10;
        break;
    case 81:
        *value = (int)shared_opt_in() + 1024;
        break; /* shared memory of a processor */
    case 82:
        *value = 65536;
        break; /* registers of a processor */
    case 97:
        *value = (int)shared_opt_in();
        break;
    default:
        report("cuDeviceGetAttribute: attribute %d is not simulated", attribute);
        result = SIM_INVALID_VALUE;
    }
    return leave(result);
}

/* -- Contexts. */

EXPORT Result cuDevicePrimaryCtxRetain(void **context, int device);
Result cuDevicePrimaryCtxRetain(void **context, int device) {
    Result result = device_check(enter(), device);
    if (result == SIM_SUCCESS) {
        Ctx *ctx = &contexts[device];
        ctx->device = device;
        ctx->null_stream.context = ctx;
        ctx->null_stream.is_null = true;
        ctx->uses++;
        *context = ctx;
        result = ctx->broken;
    }
    return leave(result);
}

static void context_end(Ctx *ctx) {
    queue_wait_context(ctx);
    ctx->broken = SIM_SUCCESS;
}

EXPORT Result cuDevicePrimaryCtxRelease_v2(int device);
Result cuDevicePrimaryCtxRelease_v2(int device) {
    bool goes = enter();
    Result result = device_check(true, device);
    if (result == SIM_SUCCESS && contexts[device].uses == 0) {
        result = SIM_INVALID_CONTEXT;
    }
    if (result == SIM_SUCCESS && --contexts[device].uses == 0) {
        context_end(&contexts[device]);
    }
    return leave(goes ? result : SIM_UNKNOWN);
}

EXPORT Result cuCtxPushCurrent_v2(void *context);
Result cuCtxPushCurrent_v2(void *context) {
    bool goes = enter();
    Ctx *ctx = context;
    if (!goes || !ctx || ctx->uses == 0 || n_stack == STACK_CONTEXTS) {
        return leave(goes ? SIM_INVALID_CONTEXT : SIM_UNKNOWN);
    }
    stack[n_stack++] = ctx;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuCtxPopCurrent_v2(void **context);
Result cuCtxPopCurrent_v2(void **context) {
    bool goes = enter();
    if (n_stack == 0) {
        return leave(SIM_INVALID_CONTEXT);
    }
    n_stack--;
    if (context) {
        *context = stack[n_stack];
    }
    return leave(goes ? SIM_SUCCESS : SIM_UNKNOWN);
}

EXPORT Result cuCtxSynchronize(void);
Result cuCtxSynchronize(void) {
    ENTER();
    return leave(queue_wait_context(current()));
}

/* -- Memory. */

EXPORT Result cuMemGetInfo_v2(size_t *free_bytes, size_t *total);
Result cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    ENTER();
    int d = current()->device;
    size_t used = memory_used(d) + CONTEXT_BYTES + (size_t)module_bytes[d];
    *total = settings.memory;
    *free_bytes = used < settings.memory ? settings.memory - used : 0;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuMemAlloc_v2(Address *address, size_t bytes);
Result cuMemAlloc_v2(Address *address, size_t bytes) {
    if (!enter()) {
        return leave(SIM_OUT_OF_MEMORY);
    }
    Result result = ready(true);
    if (result != SIM_SUCCESS) {
        return leave(result);
    }
    if (bytes == 0) {
        return leave(SIM_INVALID_VALUE);
    }
    void *p = memory_alloc(current()->device, bytes);
    *address = (Address)(uintptr_t)p;
    return leave(p ? SIM_SUCCESS : SIM_OUT_OF_MEMORY);
}

EXPORT Result cuMemFree_v2(Address address);
Result cuMemFree_v2(Address address) {
    bool goes = enter();
    if (address == 0) {
        return leave(SIM_SUCCESS);
    }
    Result result = ready(true);
    if (result == SIM_INVALID_CONTEXT || result == SIM_NOT_INITIALIZED) {
        return leave(result);
    }
    queue_wait_context(current()); /* as the driver does */
    if (!memory_free(current()->device, (void *)(uintptr_t)address)) {
        report("cuMemFree of %p, which is no allocation", (void *)(uintptr_t)address);
        return leave(SIM_INVALID_VALUE);
    }
    return leave(goes ? current()->broken : SIM_UNKNOWN);
}

EXPORT Result cuMemHostAlloc(void **memory, size_t bytes, unsigned flags);
Result cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    (void)flags;
    if (!enter()) {
        return leave(SIM_OUT_OF_MEMORY);
    }
    Result result = ready(true);
    if (result != SIM_SUCCESS) {
        return leave(result);
    }
    void *p = NULL;
    if (posix_memalign(&p, 4096, bytes) != 0 || !memory_host_add(p, bytes)) {
        free(p);
        return leave(SIM_OUT_OF_MEMORY);
    }
    memset(p, 0xff, bytes);
    *memory = p;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuMemFreeHost(void *memory);
Result cuMemFreeHost(void *memory) {
    bool goes = enter();
    Result result = ready(true);
    if (result == SIM_INVALID_CONTEXT || result == SIM_NOT_INITIALIZED) {
        return leave(result);
    }
    queue_wait_context(current());
    if (!memory_host_remove(memory)) {
        return leave(SIM_INVALID_VALUE);
    }
    free(memory);
    return leave(goes ? current()->broken : SIM_UNKNOWN);
}

static bool is_pinned(const void *p, size_t bytes) {
    const Allocation *a = memory_find((uintptr_t)p);
    return a && a->is_host && (uintptr_t)p + bytes <= a->address + a->bytes;
}

static Result copy(void *to, const void *from, size_t bytes, Stream *stream) {
    Work work = {.kind = OP_COPY, .to = to, .from = from, .bytes = bytes};
    if (bytes == 0) {
        return SIM_SUCCESS;
    }
    bool loose = !memory_is_device(to) && !is_pinned(to, bytes);
    if (!memory_is_device(from) && !is_pinned(from, bytes)) {
        if (stream->capture) {
            report("a captured copy reads host memory that is not pinned");
            return SIM_STREAM_CAPTURE_UNSUPPORTED;
        }
        work.snapshot = malloc(bytes);
        if (!work.snapshot) {
            return SIM_OUT_OF_MEMORY;
        }
        memcpy(work.snapshot, from, bytes);
    }
    if (loose && stream->capture) {
        report("a captured copy writes host memory that is not pinned");
        return SIM_STREAM_CAPTURE_UNSUPPORTED;
    }
    Result result = queue_add(stream, &work);
    return result == SIM_SUCCESS && loose ? queue_wait_stream(stream) : result;
}

EXPORT Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *stream);
Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *stream) {
    ENTER();
    if (!memory_is_device((void *)(uintptr_t)to)) {
        return leave(SIM_INVALID_VALUE);
    }
    return leave(copy((void *)(uintptr_t)to, from, bytes, stream_of(stream)));
}

EXPORT Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *stream);
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *stream) {
    ENTER();
    if (!memory_is_device((void *)(uintptr_t)from)) {
        return leave(SIM_INVALID_VALUE);
    }
    return leave(copy(to, (void *)(uintptr_t)from, bytes, stream_of(stream)));
}

EXPORT Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void *stream);
Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void *stream) {
    ENTER();
    if (!memory_is_device((void *)(uintptr_t)from) || !memory_is_device((void *)(uintptr_t)to)) {
        return leave(SIM_INVALID_VALUE);
    }
    return leave(copy((void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes, stream_of(stream)));
}

static Result fill(Address to, uint32_t value, int width, size_t count, void *stream) {
    if (!memory_is_device((void *)(uintptr_t)to) || to % (unsigned)width != 0) {
        return SIM_INVALID_VALUE;
    }
    Work work = {.kind = OP_FILL,
                 .to = (void *)(uintptr_t)to,
                 .bytes = count * (size_t)width,
                 .value = value,
                 .width = width};
    return queue_add(stream_of(stream), &work);
}

EXPORT Result cuMemsetD8Async(Address to, unsigned char byte, size_t count, void *stream);
Result cuMemsetD8Async(Address to, unsigned char byte, size_t count, void *stream) {
    ENTER();
    return leave(fill(to, byte, 1, count, stream));
}

EXPORT Result cuMemsetD32Async(Address to, unsigned word, size_t count, void *stream);
Result cuMemsetD32Async(Address to, unsigned word, size_t count, void *stream) {
    ENTER();
    return leave(fill(to, word, 4, count, stream));
}

/* -- Streams and events. */

EXPORT Result cuStreamCreate(void **out, unsigned flags);
Result cuStreamCreate(void **out, unsigned flags) {
    ENTER();
    Stream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        return leave(SIM_OUT_OF_MEMORY);
    }
    stream->context = current();
    stream->number = next_stream++;
    stream->non_blocking = flags & 1;
    stream->next = current()->streams;
    current()->streams = stream;
    live_streams++;
    *out = stream;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuStreamDestroy_v2(void *handle);
Result cuStreamDestroy_v2(void *handle) {
    bool goes = enter();
    Stream *stream = handle;
    if (!stream) {
        return leave(SIM_INVALID_HANDLE);
    }
    queue_wait_context(stream->context);
    for (Stream **at = &stream->context->streams; *at; at = &(*at)->next) {
        if (*at == stream) {
            *at = stream->next;
            break;
        }
    }
    Result result = stream->context->broken;
    free(stream->waits);
    free(stream->capture_last.at);
    free(stream);
    live_streams--;
    return leave(goes ? result : SIM_UNKNOWN);
}

EXPORT Result cuStreamSynchronize(void *handle);
Result cuStreamSynchronize(void *handle) {
    ENTER();
    Stream *stream = stream_of(handle);
    return leave(stream->capture ? SIM_STREAM_CAPTURE_UNSUPPORTED : queue_wait_stream(stream));
}

EXPORT Result cuStreamWaitEvent(void *handle, void *event, unsigned flags);
Result cuStreamWaitEvent(void *handle, void *event, unsigned flags) {
    (void)flags;
    ENTER();
    return leave(queue_stream_wait(stream_of(handle), event));
}

EXPORT Result cuEventCreate(void **out, unsigned flags);
Result cuEventCreate(void **out, unsigned flags) {
    (void)flags;
    ENTER();
    Event *event = calloc(1, sizeof *event);
    if (!event) {
        return leave(SIM_OUT_OF_MEMORY);
    }
    event->context = current();
    event->next = current()->events;
    current()->events = event;
    live_events++;
    *out = event;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuEventDestroy_v2(void *handle);
Result cuEventDestroy_v2(void *handle) {
    bool goes = enter();
    Event *event = handle;
    if (!event) {
        return leave(SIM_INVALID_HANDLE);
    }
    for (Event **at = &event->context->events; *at; at = &(*at)->next) {
        if (*at == event) {
            *at = event->next;
            break;
        }
    }
    Result result = event->context->broken;
    free(event->capture_last.at);
    free(event);
    live_events--;
    return leave(goes ? result : SIM_UNKNOWN);
}

EXPORT Result cuEventRecord(void *event, void *stream);
Result cuEventRecord(void *event, void *stream) {
    ENTER();
    return leave(queue_record(event, stream_of(stream)));
}

EXPORT Result cuEventSynchronize(void *handle);
Result cuEventSynchronize(void *handle) {
    ENTER();
    Event *event = handle;
    if (event->capture) {
        return leave(SIM_STREAM_CAPTURE_UNSUPPORTED);
    }
    return leave(queue_wait_op(current(), event->op));
}

/* -- Modules and launches. */

EXPORT Result cuModuleLoadDataEx(void **out, const void *image, unsigned n_options, int *options,
                                 void **values);
Result cuModuleLoadDataEx(void **out, const void *image, unsigned n_options, int *options,
                          void **values) {
    (void)n_options, (void)options, (void)values;
    ENTER();
    Module *module = NULL;
    result = module_load(image, settings.arch, current(), &module);
    if (result == SIM_SUCCESS) {
        module_bytes[current()->device] += (int64_t)module->image_bytes;
        *out = module;
    }
    return leave(result);
}

EXPORT Result cuModuleUnload(void *handle);
Result cuModuleUnload(void *handle) {
    bool goes = enter();
    Module *module = handle;
    if (!module) {
        return leave(SIM_INVALID_HANDLE);
    }
    Ctx *ctx = module->context;
    queue_wait_context(ctx);
    module_bytes[ctx->device] -= (int64_t)module->image_bytes;
    module_unload(module);
    return leave(goes ? ctx->broken : SIM_UNKNOWN);
}

EXPORT Result cuModuleGetFunction(void **out, void *module, const char *name);
Result cuModuleGetFunction(void **out, void *module, const char *name) {
    ENTER();
    *out = module_function(module, name);
    return leave(*out ? SIM_SUCCESS : SIM_NOT_FOUND);
}

EXPORT Result cuFuncGetAttribute(int *value, int attribute, void *handle);
Result cuFuncGetAttribute(int *value, int attribute, void *handle) {
    ENTER();
    const Function *function = handle;
    const CudasimKernel *kernel = function->kernel;
    int registers = kernel->registers > 0 ? kernel->registers : 32;
    switch (attribute) {
    case 0: {
        int most = 65536 / (((registers + 7) & ~7) * WARP) * WARP;
        most = most > 1024 ? 1024 : most;
        *value = kernel->max_threads > 0 && kernel->max_threads < most ? kernel->max_threads : most;
        break;
    }
    case 1:
        *value = 0;
        break; /* static shared memory: none */
    case 2:
        *value = 0;
        break;
    case 3:
        *value = kernel->stack_bytes > 0 ? kernel->stack_bytes : 0;
        break;
    case 4:
        *value = registers;
        break;
    case 5:
    case 6:
        *value = settings.arch;
        break;
    case 8:
        *value = (int)function->shared_allowed;
        break;
    default:
        report("cuFuncGetAttribute: attribute %d is not simulated", attribute);
        return leave(SIM_INVALID_VALUE);
    }
    return leave(SIM_SUCCESS);
}

EXPORT Result cuFuncSetAttribute(void *handle, int attribute, int value);
Result cuFuncSetAttribute(void *handle, int attribute, int value) {
    ENTER();
    Function *function = handle;
    if (attribute == 9) { /* preferred share of shared memory: a hint */
        return leave(SIM_SUCCESS);
    }
    if (attribute != 8 || value < 0 || (size_t)value > shared_opt_in()) {
        return leave(SIM_INVALID_VALUE);
    }
    function->shared_allowed = (size_t)value;
    return leave(SIM_SUCCESS);
}

static Result launch_check(const Function *function, unsigned grid, unsigned block, size_t shared) {
    const CudasimKernel *kernel = function->kernel;
    if (grid == 0 || grid > 2147483647u || block == 0 || block > MAX_THREADS) {
        report("kernel %s: a launch of %u blocks of %u threads", kernel->name, grid, block);
        return SIM_INVALID_VALUE;
    }
    if (shared > function->shared_allowed) {
        report("kernel %s: a launch with %zu bytes of shared memory, %zu are allowed", kernel->name,
               shared, function->shared_allowed);
        return SIM_INVALID_VALUE;
    }
    unsigned registers = kernel->registers > 0 ? ((unsigned)kernel->registers + 7) & ~7u : 0;
    unsigned warps = (block + WARP - 1) / WARP;
    if (registers * warps * WARP > 65536 ||
        (kernel->max_threads > 0 && block > (unsigned)kernel->max_threads)) {
        report("kernel %s: a launch of %u threads of %d registers, bounded to %d threads",
               kernel->name, block, kernel->registers, kernel->max_threads);
        return SIM_LAUNCH_OUT_OF_RESOURCES;
    }
    return SIM_SUCCESS;
}

EXPORT Result cuLaunchKernel(void *handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                             unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                             void *stream, void **parameters, void **extra);
Result cuLaunchKernel(void *handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                      unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                      void *stream, void **parameters, void **extra) {
    ENTER();
    Function *function = handle;
    if (grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1 || extra) {
        report("kernel %s: only launches in one dimension are simulated", function->kernel->name);
        return leave(SIM_NOT_SUPPORTED);
    }
    result = launch_check(function, grid_x, block_x, shared);
    if (result != SIM_SUCCESS) {
        return leave(result);
    }
    Work work = {.kind = OP_LAUNCH,
                 .function = function,
                 .grid = grid_x,
                 .block = block_x,
                 .shared = shared};
    while (function->sizes[work.n_values]) {
        work.n_values++;
    }
    work.values = calloc(work_value_at(&work, work.n_values) + 16, 1);
    if (!work.values || work.n_values > MAX_PARAMETERS) {
        free(work.values);
        return leave(SIM_OUT_OF_MEMORY);
    }
    size_t n_bytes = 0;
    for (int i = 0; i < work.n_values; i++) {
        n_bytes += (function->sizes[i] + 7u) / 8 * 8;
    }
    if (n_bytes > MAX_PARAMETER_BYTES) {
        report("kernel %s: more than %d bytes of parameters", function->kernel->name,
               MAX_PARAMETER_BYTES);
        free(work.values);
        return leave(SIM_NOT_SUPPORTED);
    }
    for (int i = 0; i < work.n_values; i++) {
        memcpy(work.values + work_value_at(&work, i), parameters[i], function->sizes[i]);
    }
    return leave(queue_add(stream_of(stream), &work));
}

/* -- Graphs. */

static void graph_free(Graph *graph) {
    for (int i = 0; graph && i < graph->n_nodes; i++) {
        work_free(&graph->nodes[i].work);
        free(graph->nodes[i].after);
    }
    if (graph) {
        free(graph->nodes);
    }
    free(graph);
}

EXPORT Result cuStreamBeginCapture_v2(void *handle, int mode);
Result cuStreamBeginCapture_v2(void *handle, int mode) {
    (void)mode;
    ENTER();
    Stream *stream = stream_of(handle);
    if (stream->is_null || stream->capture) {
        return leave(SIM_ILLEGAL_STATE);
    }
    stream->capture = calloc(1, sizeof *stream->capture);
    stream->owns_capture = true;
    live_graphs += stream->capture != NULL;
    return leave(stream->capture ? SIM_SUCCESS : SIM_OUT_OF_MEMORY);
}

EXPORT Result cuStreamEndCapture(void *handle, void **out);
Result cuStreamEndCapture(void *handle, void **out) {
    bool goes = enter();
    Stream *stream = handle;
    if (!stream || !stream->capture || !stream->owns_capture) {
        return leave(SIM_ILLEGAL_STATE);
    }
    Graph *graph = stream->capture;
    for (Stream *s = stream->context->streams; s; s = s->next) {
        if (s->capture == graph) {
            s->capture = NULL;
            s->owns_capture = false;
            free(s->capture_last.at);
            s->capture_last = (Nodes){0};
        }
    }
    if (!goes || stream->context->broken) {
        graph_free(graph);
        live_graphs--;
        *out = NULL;
        return leave(goes ? stream->context->broken : SIM_STREAM_CAPTURE_INVALIDATED);
    }
    *out = graph;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuGraphInstantiateWithFlags(void **out, void *graph, unsigned long long flags);
Result cuGraphInstantiateWithFlags(void **out, void *graph, unsigned long long flags) {
    (void)flags;
    ENTER();
    const Graph *from = graph;
    GraphExec *exec = calloc(1, sizeof *exec);
    Graph *own = calloc(1, sizeof *own);
    GraphNode *nodes = calloc((size_t)from->n_nodes + 1, sizeof *nodes);
    if (!exec || !own || !nodes) {
        free(exec);
        free(own);
        free(nodes);
        return leave(SIM_OUT_OF_MEMORY);
    }
    for (int i = 0; i < from->n_nodes; i++) {
        const GraphNode *node = &from->nodes[i];
        nodes[i] = *node;
        nodes[i].work = work_copy(&node->work);
        nodes[i].after = malloc(((size_t)node->n_after + 1) * sizeof(int));
        if (!nodes[i].after) {
            abort();
        }
        memcpy(nodes[i].after, node->after, (size_t)node->n_after * sizeof(int));
    }
    *own = (Graph){.nodes = nodes, .n_nodes = from->n_nodes};
    exec->graph = own;
    live_execs++;
    *out = exec;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuGraphLaunch(void *exec, void *stream);
Result cuGraphLaunch(void *exec, void *stream) {
    ENTER();
    return leave(queue_add_graph(stream_of(stream), ((GraphExec *)exec)->graph));
}

EXPORT Result cuGraphExecDestroy(void *handle);
Result cuGraphExecDestroy(void *handle) {
    bool goes = enter();
    GraphExec *exec = handle;
    graph_free(exec->graph);
    free(exec);
    live_execs--;
    return leave(goes ? SIM_SUCCESS : SIM_UNKNOWN);
}

EXPORT Result cuGraphDestroy(void *graph);
Result cuGraphDestroy(void *graph) {
    bool goes = enter();
    graph_free(graph);
    live_graphs--;
    return leave(goes ? SIM_SUCCESS : SIM_UNKNOWN);
}

/* -- What tests ask of the simulator itself. */

/* Calls so far; faults reported; things that are alive: memory, streams, events, graphs, modules.
 */
EXPORT long long dlcsim_calls(void);
EXPORT long long dlcsim_faults(void);
EXPORT long long dlcsim_live(void);
EXPORT void dlcsim_settings_again(void);
long long dlcsim_calls(void) {
    return calls;
}
long long dlcsim_faults(void) {
    return report_count();
}
long long dlcsim_live(void) {
    return memory_live() + live_streams + live_events + live_graphs + live_execs + module_live();
}
void dlcsim_settings_again(void) { /* the number of devices and what is reserved stay */
    pthread_mutex_lock(&lock);
    int devices = settings.devices;
    settings_read();
    settings.devices = settings_known ? devices : settings.devices;
    settings_known = true;
    calls = 0;
    pthread_mutex_unlock(&lock);
}

static __attribute__((destructor)) void at_exit(void) {
    if (!settings_known || !getenv("DLC_CUDASIM_LEAKS")) {
        return;
    }
    report_more("%lld calls; alive: %lld allocations, %lld streams, %lld events, %lld graphs, "
                "%lld executable graphs, %lld modules",
                (long long)calls, (long long)memory_live(), (long long)live_streams,
                (long long)live_events, (long long)live_graphs, (long long)live_execs,
                (long long)module_live());
    memory_live_print();
}

/* -- For the stand-ins of vendor libraries. */

EXPORT int cudasimCall(void);
int cudasimCall(void) {
    ENTER();
    return leave(SIM_SUCCESS);
}

EXPORT int cudasimOperation(void *stream, const SimOperation *operation);
int cudasimOperation(void *stream, const SimOperation *operation) {
    ENTER();
    Work work = {.kind = OP_LIBRARY, .operation = operation_copy(operation)};
    return leave(queue_add(stream_of(stream), &work));
}

EXPORT bool cudasimIsCapturing(void *stream);
bool cudasimIsCapturing(void *stream) {
    pthread_mutex_lock(&lock);
    bool capturing = current() && stream_of(stream)->capture;
    pthread_mutex_unlock(&lock);
    return capturing;
}
