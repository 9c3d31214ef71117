/* The CUDA device against a driver: a hand-made image of text is loaded, launched, recorded and
 * replayed, and every call of the driver is made to fail in turn. Runs on the simulated driver that
 * DLC_CUDA_PATH names, or, but for failing calls, on a real one. */
#include "runtime/cuda/library.h"
#include "runtime/cuda_image.h"
#include "runtime/device.h"
#include "tests/unit/meter.h"
#include "tests/unit/needs.h"

#include <dlfcn.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static Meter meter = {.left = LONG_MAX};
static const dlc_allocator allocator = {meter_alloc, meter_free, &meter};

/* What the simulator tells beside the driver's own entry points; NULL on a real driver. */
typedef struct Simulator {
    void *library;
    long long (*calls)(void);
    long long (*live)(void);
    long long (*faults)(void);
    void (*again)(void);
} Simulator;
static Simulator simulator;

static const char kernels_text[] =
    "#include \"dlc_prelude.cuh\"\n"
    "/* Tile t: to[t] = from[t] * s, through the block's scratch. */\n"
    "extern \"C\" __global__ void scale(long long tiles, int *to, const int *from, long long s,\n"
    "                                 DlcFault *fault, unsigned char *scratch) {\n"
    "    int *mine = (int *)(scratch + 64 * blockIdx.x);\n"
    "    for (long long t = blockIdx.x; t < tiles; t += gridDim.x) {\n"
    "        if (threadIdx.x == 0) {\n"
    "            mine[0] = from[t] * (int)s;\n"
    "            to[t] = mine[0];\n"
    "            if (mine[0] < 0) {\n"
    "                dlc_fault_set(fault, 6, t, tiles);\n"
    "            }\n"
    "        }\n"
    "    }\n"
    "}\n"
    "extern \"C\" __global__ void add_one(long long tiles, int *to) {\n"
    "    for (long long t = blockIdx.x; t < tiles; t += gridDim.x) {\n"
    "        if (threadIdx.x == 0) {\n"
    "            to[t] += 1;\n"
    "        }\n"
    "    }\n"
    "}\n"
    "/* Tile t of a member: to[t] = from[t] + s; three members at most, `from` is common. */\n"
    "extern \"C\" __global__ void add_group(long long tiles, long long members,\n"
    "                                     const __grid_constant__ DlcGroup<9> group,\n"
    "                                     const int *from, DlcFault *fault) {\n"
    "    for (long long any = blockIdx.x; any < tiles; any += gridDim.x) {\n"
    "        const int member = dlc_group_find(group.words, members, any);\n"
    "        const long long tile = any - group.words[member];\n"
    "        int *const to = (int *)group.words[3 + member * 2];\n"
    "        const int s = (int)group.words[3 + member * 2 + 1];\n"
    "        if (threadIdx.x == 0) {\n"
    "            to[tile] = from[tile] + s;\n"
    "            if (s < 0) {\n"
    "                dlc_fault_set(fault, 8, s, tile);\n"
    "            }\n"
    "        }\n"
    "    }\n"
    "}\n";

/* The text of struct and function that a real NVRTC needs of the prelude. */
static const char prelude_text[] =
    "struct DlcFault { long long site, value, bound; };\n"
    "static __device__ void dlc_fault_set(DlcFault *f, long long s, long long v, long long b) {\n"
    "    if (atomicCAS((unsigned long long *)&f->site, 0ull, (unsigned long long)s + 1) == 0) {\n"
    "        f->value = v;\n"
    "        f->bound = b;\n"
    "    }\n"
    "}\n"
    "template <int N> struct DlcGroup { long long words[N]; };\n"
    "static __device__ int dlc_group_find(const long long *first, long long n, long long tile) {\n"
    "    int m = 0;\n"
    "    while (m + 1 < n && first[m + 1] <= tile) {\n"
    "        m++;\n"
    "    }\n"
    "    return m;\n"
    "}\n";

typedef struct TestImage {
    CudaImageHeader header;
    CudaUnit unit;
    CudaKernel kernels[3];
    char options[16], prelude[sizeof(prelude_text)], text[sizeof(kernels_text)];
} TestImage;

static void image_make(TestImage *image) {
    memset(image, 0, sizeof(*image));
    image->header =
        (CudaImageHeader){.version = CUDA_IMAGE_VERSION,
                          .n_units = 1,
                          .n_kernels = 3,
                          .sm = 75,
                          .options = (int32_t)offsetof(TestImage, options),
                          .units = offsetof(TestImage, unit),
                          .kernels = offsetof(TestImage, kernels),
                          .prelude = {offsetof(TestImage, prelude), sizeof(prelude_text) - 1}};
    memcpy(image->header.magic, CUDA_IMAGE_MAGIC, 8);
    image->unit.source = (CudaBlob){offsetof(TestImage, text), sizeof(kernels_text) - 1};
    image->kernels[0] = (CudaKernel){.name = "scale",
                                     .threads = 64,
                                     .n_buffers = 2,
                                     .n_sizes = 1,
                                     .has_faults = 1,
                                     .shared_bytes = 64 << 10,
                                     .scratch_bytes = 64};
    image->kernels[1] = (CudaKernel){.name = "add_one", .threads = 32, .n_buffers = 1};
    image->kernels[2] = (CudaKernel){.name = "add_group",
                                     .threads = 32,
                                     .n_buffers = 2,
                                     .n_sizes = 1,
                                     .has_faults = 1,
                                     .group = 3,
                                     .common = 1};
    strcpy(image->options, "--std=c++17");
    strcpy(image->prelude, prelude_text);
    strcpy(image->text, kernels_text);
}

enum { N = 40000, BYTES = N * (int)sizeof(int32_t), LARGE = 5 << 20 };

/* One run of everything; the first status that is not DLC_OK, with its message. */
typedef struct Run {
    Device *device;
    DeviceModule *module;
    DeviceGraph *graph;
    int32_t *a, *b;
    uint8_t *flag;
    int32_t *host;
    long long before; /* calls of the driver until the part begins that is looked at */
    char message[DEVICE_MESSAGE_BYTES];
} Run;

#define TRY(call)                                                                                  \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != DLC_OK) {                                                                    \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

static dlc_status launch_scale_on(Run *run, DeviceQueue *queue, int32_t *to, const int32_t *from,
                                  int64_t factor, int64_t tiles) {
    void *buffers[] = {to, (void *)(uintptr_t)from};
    int64_t sizes[] = {factor};
    DeviceLaunch launch = {.entry = offsetof(TestImage, kernels),
                           .buffers = buffers,
                           .sizes = sizes,
                           .n_buffers = 2,
                           .n_sizes = 1,
                           .tiles = tiles};
    return device_cuda.launch(queue, run->module, &launch);
}

static dlc_status launch_scale(Run *run, int32_t *to, const int32_t *from, int64_t factor,
                               int64_t tiles) {
    return launch_scale_on(run, run->device->queue, to, from, factor, tiles);
}

static dlc_status launch_add(Run *run, int32_t *to, int64_t tiles) {
    void *buffers[] = {to};
    DeviceLaunch launch = {.entry = (int64_t)(offsetof(TestImage, kernels) + sizeof(CudaKernel)),
                           .buffers = buffers,
                           .n_buffers = 1,
                           .tiles = tiles};
    return device_cuda.launch(run->device->queue, run->module, &launch);
}

enum { MEMBERS = 8 };

/* Eight launches, more than go in one: two of them of nothing, the last ones from elsewhere. */
static dlc_status launch_group(Run *run, const int64_t sizes[MEMBERS]) {
    DeviceLaunch launches[MEMBERS];
    void *buffers[MEMBERS][2];
    for (int i = 0; i < MEMBERS; i++) {
        buffers[i][0] = run->a + (i < 6 ? 0 : 1);
        buffers[i][1] = run->b + 100 * i;
        launches[i] = (DeviceLaunch){
            .entry = (int64_t)(offsetof(TestImage, kernels) + 2 * sizeof(CudaKernel)),
            .buffers = buffers[i],
            .sizes = &sizes[i],
            .n_buffers = 2,
            .n_sizes = 1,
            .tiles = i == 1 || i == 4 ? 0 : 10 + i};
    }
    return device_cuda.launch_group(run->device->queue, run->module, launches, MEMBERS);
}

/* a[i] is i. */
static dlc_status groups_check(Run *run, const int64_t sizes[MEMBERS]) {
    dlc_status status = device_cuda.read(run->device->queue, run->host, run->b, BYTES);
    for (int i = 0; status == DLC_OK && i < MEMBERS; i++) {
        for (int t = 0; t < 100; t++) {
            bool is_done = i != 1 && i != 4 && t < 10 + i;
            int32_t value = t + (i < 6 ? 0 : 1) + (int32_t)sizes[i];
            assert_int_equal(run->host[100 * i + t], is_done ? value : -1);
        }
    }
    return status;
}

static dlc_status run_groups(Run *run) {
    const DeviceOps *ops = &device_cuda;
    int64_t sizes[MEMBERS] = {1, 2, 3, 4, 5, 6, 7, 8}, others[MEMBERS] = {9, 8, 7, 6, 5, 4, 3, 2};
    DeviceGraph *graph = NULL;
    KernelFault fault;
    dlc_status status;
    TRY(ops->fill(run->device->queue, run->b, 0xff, BYTES));
    TRY(launch_group(run, sizes));
    TRY(groups_check(run, sizes));
    /* A recording holds what the launches were given. */
    TRY(ops->record(run->device->queue));
    status = launch_group(run, others);
    dlc_status ended = ops->record_end(run->device->queue, status == DLC_OK ? &graph : NULL);
    status = status != DLC_OK ? status : ended;
    if (status != DLC_OK) {
        goto done;
    }
    TRY(groups_check(run, sizes));
    TRY(ops->replay(run->device->queue, graph));
    TRY(groups_check(run, others));
    TRY(ops->finish(run->device->queue, &fault));
    assert_int_equal(fault.site, 0);
    /* A member's fault. */
    sizes[5] = -3;
    TRY(launch_group(run, sizes));
    TRY(ops->finish(run->device->queue, &fault));
    assert_int_equal(fault.site, 9);
    assert_int_equal(fault.value, -3);
done:
    if (graph) {
        ops->graph_free(run->device, graph);
    }
    return status;
}

static dlc_status take(Run *run, void *out, size_t bytes) {
    void *memory = device_cuda.alloc(run->device, bytes);
    memcpy(out, &memory, sizeof(memory));
    dlc_status why = run->device->alloc_status;
    return memory ? DLC_OK : why != DLC_OK ? why : DLC_ERROR_OUT_OF_MEMORY;
}

static dlc_status run_graph(Run *run) {
    const DeviceOps *ops = &device_cuda;
    int32_t first = 0;
    KernelFault fault;
    dlc_status status;
    TRY(ops->fill(run->device->queue, run->b, 0, BYTES));
    TRY(ops->record(run->device->queue));
    status = ops->copy(run->device->queue, run->a, run->b, BYTES, run->flag);
    for (int i = 0; i < 3 && status == DLC_OK; i++) {
        status = launch_add(run, run->a, N);
    }
    if (status == DLC_OK) {
        status = ops->set_i32(run->device->queue, run->a + 7, 70);
    }
    if (status == DLC_OK) {
        status = ops->copy(run->device->queue, run->b, run->a, BYTES, NULL);
    }
    dlc_status ended = ops->record_end(run->device->queue, status == DLC_OK ? &run->graph : NULL);
    status = status != DLC_OK ? status : ended;
    for (int i = 0; i < 2 && status == DLC_OK; i++) {
        status = ops->replay(run->device->queue, run->graph);
    }
    if (status != DLC_OK) {
        goto done;
    }
    TRY(ops->finish(run->device->queue, &fault));
    assert_int_equal(fault.site, 0);
    TRY(ops->read(run->device->queue, run->host, run->a, BYTES));
    assert_int_equal(run->host[0], 6);
    assert_int_equal(run->host[7], 70);
    assert_int_equal(run->host[N - 1], 6);
    TRY(ops->read(run->device->queue, &first, run->b, sizeof(first)));
    assert_int_equal(first, 6);
done:
    return status;
}

/* A second queue beside the first: kernels that use scratch on both, in no order, with a fault on
 * one; then one waits for the other, and bytes cross over. a[i] is i. */
static dlc_status run_queues(Run *run) {
    enum { SOME = 64 };
    const DeviceOps *ops = &device_cuda;
    DeviceQueue *queue = NULL, *first = run->device->queue;
    DeviceEvent *event = NULL;
    KernelFault fault = {0}, other = {0};
    dlc_status status;
    TRY(ops->queue_create(run->device, true, &queue));
    TRY(ops->event_create(run->device, &event));
    TRY(ops->reserve(queue, 64));
    TRY(ops->event_record(event, first)); /* what was written before */
    TRY(ops->event_wait(event, queue));
    TRY(launch_scale(run, run->b, run->a + 1, 3, SOME));
    TRY(launch_scale_on(run, queue, run->b + 1000, run->a + 1, -2, SOME));
    TRY(ops->event_record(event, queue));
    TRY(ops->finish(first, &fault));
    TRY(ops->finish(queue, &other));
    assert_int_equal(fault.site, 0);
    assert_int_equal(other.site, 7);
    TRY(ops->event_finish(event));
    TRY(ops->fill(queue, run->b + 2000, 1, 4 * SOME));
    TRY(ops->event_record(event, queue));
    TRY(ops->event_wait(event, first));
    TRY(ops->copy(first, run->b + 3000, run->b + 2000, 4 * SOME, NULL));
    TRY(ops->copy_across(queue, run->b + 4000, first, run->b + 3000, 4 * SOME));
    TRY(ops->fill(first, run->b + 3000, 2, 4 * SOME));
    TRY(ops->read(queue, run->host, run->b + 4000, 4 * SOME));
    assert_int_equal(run->host[SOME - 1], 0x01010101);
    TRY(ops->read(first, run->host, run->b, 4 * 1000));
    assert_int_equal(run->host[SOME - 1], 3 * SOME);
    TRY(ops->read(queue, run->host, run->b + 1000, 4 * SOME));
    assert_int_equal(run->host[SOME - 1], -2 * SOME);
    TRY(ops->fill(queue, run->b, 0, 4 * SOME)); /* done when the queue goes */
done:
    if (status != DLC_OK) { /* before it is overwritten */
        snprintf(run->message, sizeof(run->message), "%s", run->device->error);
    }
    ops->event_destroy(event);
    ops->queue_destroy(queue);
    return status;
}

static void run_end(Run *run, dlc_status status) {
    const DeviceOps *ops = &device_cuda;
    if (run->device) {
        if (status != DLC_OK && !*run->message) {
            snprintf(run->message, sizeof(run->message), "%s", run->device->error);
        }
        if (run->graph) {
            ops->graph_free(run->device, run->graph);
        }
        if (run->module) {
            ops->unload(run->device, run->module);
        }
        ops->free(run->device, run->a); /* the others are left to close */
        ops->close(run->device);
    }
    free(run->host);
}

/* Queues alone, on a device of its own. */
static dlc_status run_beside(Run *run) {
    const DeviceOps *ops = &device_cuda;
    DeviceOptions options = {.which = "0"};
    TestImage *image = malloc(sizeof(*image));
    dlc_status status;
    *run = (Run){.host = malloc(BYTES)};
    image_make(image);
    TRY(ops->open(&allocator, &options, &run->device, run->message));
    TRY(ops->load(run->device, (const uint8_t *)image, sizeof(*image), &run->module));
    TRY(take(run, &run->a, BYTES));
    TRY(take(run, &run->b, BYTES));
    for (int32_t i = 0; i < N; i++) {
        run->host[i] = i;
    }
    TRY(ops->write(run->device->queue, run->a, run->host, BYTES));
    run->before = simulator.calls ? simulator.calls() : 0;
    TRY(run_queues(run));
done:
    run_end(run, status);
    free(image);
    return status;
}

static dlc_status run_all(Run *run) {
    const DeviceOps *ops = &device_cuda;
    DeviceOptions options = {.which = "0"};
    TestImage *image = malloc(sizeof(*image));
    uint8_t *large = malloc(LARGE), on = 1, off = 0;
    KernelFault fault;
    void *memory = NULL;
    dlc_status status;
    *run = (Run){.host = malloc(BYTES)};
    image_make(image);
    TRY(ops->open(&allocator, &options, &run->device, run->message));
    TRY(ops->load(run->device, (const uint8_t *)image, sizeof(*image), &run->module));
    TRY(ops->reserve(run->device->queue, 128));
    TRY(take(run, &run->a, BYTES));
    TRY(take(run, &run->b, BYTES));
    TRY(take(run, &run->flag, 1));
    for (int32_t i = 0; i < N; i++) {
        run->host[i] = i;
    }
    TRY(ops->write(run->device->queue, run->a, run->host, BYTES));
    memset(run->host, 0x55, BYTES); /* written when the call returned */
    TRY(ops->fill(run->device->queue, run->b, 0xff, BYTES));
    TRY(launch_scale(run, run->b, run->a, 3, N));
    TRY(launch_scale(run, run->b, run->a, 9, 0)); /* no tiles: nothing */
    TRY(ops->finish(run->device->queue, &fault));
    assert_int_equal(fault.site, 0);
    TRY(ops->read(run->device->queue, run->host, run->b, BYTES));
    for (int32_t i = 0; i < N; i++) {
        assert_int_equal(run->host[i], 3 * i);
    }
    TRY(run_groups(run));
    TRY(ops->fill(run->device->queue, run->b, 0xff, BYTES));
    /* A fault is told once; later work runs. */
    TRY(launch_scale(run, run->b, run->a + 1, -1, 4));
    TRY(ops->finish(run->device->queue, &fault));
    assert_int_equal(fault.site, 7);
    assert_int_equal(fault.bound, 4);
    assert_in_range(fault.value, 0, 3);
    TRY(ops->finish(run->device->queue, &fault));
    assert_int_equal(fault.site, 0);
    /* Copies that a flag decides; addresses and sizes that are no multiples of 16. */
    TRY(ops->write(run->device->queue, run->flag, &off, 1));
    TRY(ops->copy(run->device->queue, run->b, run->a, BYTES, run->flag));
    TRY(ops->write(run->device->queue, run->flag, &on, 1));
    TRY(ops->copy(run->device->queue, run->b + 9, run->a + 8, 4 * 100 - 1, run->flag));
    TRY(ops->copy(run->device->queue, run->b + 400, run->a + 800, 4 * 100 + 1, run->flag));
    TRY(ops->read(run->device->queue, run->host, run->b, BYTES));
    assert_int_equal(run->host[9], 8);
    assert_int_equal(run->host[0], -1);
    assert_int_equal(run->host[400], 800);
    assert_int_equal(run->host[499], 899);
    /* More bytes than the staging holds. */
    TRY(take(run, &memory, LARGE));
    for (int i = 0; i < LARGE; i++) {
        large[i] = (uint8_t)(i ^ (i >> 11));
    }
    TRY(ops->write(run->device->queue, memory, large, LARGE));
    memset(large, 0, LARGE);
    TRY(ops->read(run->device->queue, large, memory, LARGE));
    for (int i = 0; i < LARGE; i++) {
        if (large[i] != (uint8_t)(i ^ (i >> 11))) {
            fail_msg("byte %d", i);
        }
    }
    ops->free(run->device, memory);
    TRY(run_graph(run));
    assert_true(ops->overhead_bytes(run->device) != 0);
done:
    run_end(run, status);
    free(large);
    free(image);
    return status;
}

static int setup(void **state) {
    (void)state;
    char message[512];
    simulator.library = cuda_library_open("libcuda.so.1", true, message, sizeof(message));
    if (simulator.library) {
        *(void **)&simulator.calls = dlsym(simulator.library, "dlcsim_calls");
        *(void **)&simulator.live = dlsym(simulator.library, "dlcsim_live");
        *(void **)&simulator.faults = dlsym(simulator.library, "dlcsim_faults");
        *(void **)&simulator.again = dlsym(simulator.library, "dlcsim_settings_again");
    } else {
        print_message("no driver: %s\n", message);
    }
    bool complete = simulator.library && (simulator.again || !getenv("DLC_CUDA_PATH"));
    return complete ? 0 : -1;
}

/* What only the simulator can show; by hand, without DLC_CUDA_PATH, this test takes a real driver.
 */
static void need_simulator(void) {
    if (!simulator.again) {
        skip();
    }
}

static void run_whole(dlc_status (*all)(Run *run)) {
    Run run;
    need_simulator();
    meter.alive = 0;
    dlc_status status = all(&run);
    if (status != DLC_OK) {
        fail_msg("%s", run.message);
    }
    assert_int_equal(meter.alive, 0);
    if (simulator.again) {
        assert_int_equal(simulator.live(), 0);
        assert_int_equal(simulator.faults(), 0);
    }
}

static void test_run(void **state) {
    (void)state;
    run_whole(run_all);
}

static void test_queues(void **state) {
    (void)state;
    run_whole(run_beside);
}

/* Every call from Run.before on fails once. */
static void fail_each(dlc_status (*all)(Run *run)) {
    Run run;
    need_simulator();
    simulator.again();
    assert_int_equal(all(&run), DLC_OK);
    long long calls = simulator.calls(), before = run.before, failed = 0;
    for (long long n = before + 1; n <= calls; n++) {
        char number[32];
        snprintf(number, sizeof(number), "%lld", n);
        setenv("DLC_CUDASIM_FAIL_CALL", number, 1);
        simulator.again();
        meter.alive = 0;
        dlc_status status = all(&run);
        if (status != DLC_OK) {
            failed++;
            if (!*run.message) {
                fail_msg("call %lld fails without a message", n);
            }
            /* What fails for no known reason is no machine that cannot. */
            if (status != DLC_ERROR_INTERNAL && status != DLC_ERROR_OUT_OF_MEMORY) {
                fail_msg("call %lld fails as status %d: %s", n, status, run.message);
            }
        }
        if (meter.alive != 0 || simulator.live() != 0) {
            fail_msg("call %lld leaks %lld blocks and %lld of the device's: %s", n,
                     (long long)meter.alive, simulator.live(), run.message);
        }
    }
    unsetenv("DLC_CUDASIM_FAIL_CALL");
    simulator.again();
    assert_int_equal(all(&run), DLC_OK);
    print_message("%lld calls, %lld of them fail the run\n", calls, failed);
    assert_true(failed > (calls - before) / 2);
}

static void test_failing_calls(void **state) {
    (void)state;
    fail_each(run_all);
}

static void test_failing_queues(void **state) {
    (void)state;
    fail_each(run_beside);
}

/* A kernel that leaves its buffer ends the context: each later call says so, and closing works. */
static void test_lost(void **state) {
    (void)state;
    need_simulator();
    DeviceOptions options = {.which = "0"};
    TestImage image;
    KernelFault fault;
    Run run = {0};
    int32_t value = 0;
    image_make(&image);
    meter.alive = 0;
    assert_int_equal(device_cuda.open(&allocator, &options, &run.device, run.message), DLC_OK);
    assert_int_equal(
        device_cuda.load(run.device, (const uint8_t *)&image, sizeof(image), &run.module), DLC_OK);
    assert_int_equal(take(&run, &run.a, 64), DLC_OK);
    assert_int_equal(device_cuda.fill(run.device->queue, run.a, 0, 64), DLC_OK);
    setenv("DLC_CUDASIM_REPORT", "/dev/null", 1);
    simulator.again();
    dlc_status status = launch_add(&run, run.a, 1000);
    status = status == DLC_OK ? device_cuda.finish(run.device->queue, &fault) : status;
    assert_int_equal(status, DLC_ERROR_INTERNAL);
    assert_non_null(strstr(run.device->error, "CUDA_ERROR"));
    assert_int_equal(device_cuda.read(run.device->queue, &value, run.a, 4), DLC_ERROR_INTERNAL);
    assert_non_null(strstr(run.device->error, "no longer be used"));
    assert_null(device_cuda.alloc(run.device, 64));
    assert_int_equal(device_cuda.record(run.device->queue), DLC_ERROR_INTERNAL);
    device_cuda.unload(run.device, run.module);
    device_cuda.free(run.device, run.a);
    device_cuda.close(run.device);
    assert_int_equal(meter.alive, 0);
    unsetenv("DLC_CUDASIM_REPORT");
    simulator.again();
}

/* Text that does not compile is a mistake of whoever made it, not of the machine. */
static void test_bad_text(void **state) {
    (void)state;
    need_simulator();
    DeviceOptions options = {.which = "0"};
    TestImage image;
    Device *device = NULL;
    DeviceModule *module = NULL;
    char message[DEVICE_MESSAGE_BYTES] = "";
    image_make(&image);
    memset(strstr(image.text, "blockIdx"), '?', strlen("blockIdx"));
    meter.alive = 0;
    assert_int_equal(device_cuda.open(&allocator, &options, &device, message), DLC_OK);
    assert_int_equal(device_cuda.load(device, (const uint8_t *)&image, sizeof(image), &module),
                     DLC_ERROR_INTERNAL);
    assert_non_null(strstr(device->error, "NVRTC"));
    device_cuda.close(device);
    assert_int_equal(meter.alive, 0);
}

/* Room is what an allocation lacks only where the driver says so. */
static void test_failing_alloc(void **state) {
    (void)state;
    need_simulator();
    DeviceOptions options = {.which = "0"};
    Device *device = NULL;
    char message[DEVICE_MESSAGE_BYTES] = "";
    assert_int_equal(device_cuda.open(&allocator, &options, &device, message), DLC_OK);
    setenv("DLC_CUDASIM_FAIL_CALL", "2", 1); /* behind cuCtxPushCurrent */
    setenv("DLC_CUDASIM_FAIL_RESULT", "901", 1);
    simulator.again();
    assert_null(device_cuda.alloc(device, 64));
    assert_int_equal(device->alloc_status, DLC_ERROR_INTERNAL);
    assert_non_null(strstr(device->error, "cuMemAlloc"));
    unsetenv("DLC_CUDASIM_FAIL_RESULT");
    simulator.again();
    assert_null(device_cuda.alloc(device, 64));
    assert_int_equal(device->alloc_status, DLC_OK);
    assert_non_null(strstr(device->error, "out of GPU memory"));
    unsetenv("DLC_CUDASIM_FAIL_CALL");
    simulator.again();
    void *memory = device_cuda.alloc(device, 64);
    assert_non_null(memory);
    device_cuda.free(device, memory);
    device_cuda.close(device);
}

static void test_cycles(void **state) {
    (void)state;
    need_simulator();
    DeviceOptions options = {.which = ""};
    meter.alive = 0;
    for (int i = 0; i < 1000; i++) {
        Device *device = NULL;
        char message[DEVICE_MESSAGE_BYTES];
        assert_int_equal(device_cuda.open(&allocator, &options, &device, message), DLC_OK);
        void *memory = device_cuda.alloc(device, 1000);
        assert_non_null(memory);
        assert_int_equal(device_cuda.fill(device->queue, memory, 1, 1000), DLC_OK);
        device_cuda.close(device);
        assert_int_equal(simulator.live(), 0);
    }
    assert_int_equal(meter.alive, 0);
}

static void test_names(void **state) {
    (void)state;
    char message[DEVICE_MESSAGE_BYTES] = "", text[256];
    assert_int_equal(device_cuda.supports("", "", "", message), DLC_OK);
    assert_int_equal(device_cuda.supports("sm_75", "", "0", message), DLC_OK);
    assert_int_equal(device_cuda.supports("sm_999", "", "0", message), DLC_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message, "sm_999"));
    assert_int_equal(device_cuda.supports("sm_75", "", "99", message), DLC_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message, "no GPU 99"));
    assert_int_equal(device_cuda.supports("sm_75", "", "first", message), DLC_ERROR_UNSUPPORTED);
    assert_int_equal(device_cuda.supports("sm_75", "", "GPU-zzz", message), DLC_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message, "nvidia-smi -L"));
    assert_true(device_cuda.supports("sm_75", "", "GPU-", message) == DLC_OK ||
                strstr(message, "more than one"));
    Device *device = NULL;
    DeviceOptions options = {.which = ""};
    assert_int_equal(device_cuda.open(&allocator, &options, &device, message), DLC_OK);
    device_cuda.describe(device, text, sizeof(text));
    assert_non_null(strstr(text, "sm_"));
    assert_null(device_cuda.alloc(device, (size_t)1 << 50));
    assert_non_null(strstr(device->error, "1024.00 TiB"));
    assert_non_null(strstr(device->error, "free"));
    device_cuda.close(device);
}

int main(void) {
    if (!cudasim_can_compile()) {
        return TEST_SKIPPED;
    }
    /* The last one leaves things behind on the simulated device. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),           cmocka_unit_test(test_queues),
        cmocka_unit_test(test_names),         cmocka_unit_test(test_cycles),
        cmocka_unit_test(test_failing_calls), cmocka_unit_test(test_failing_queues),
        cmocka_unit_test(test_bad_text),      cmocka_unit_test(test_failing_alloc),
        cmocka_unit_test(test_lost),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
