/* Convolutions through the device's calls, on the simulated driver with the stand-in for cuDNN:
 * values against sums written out here, the choice of engines, recordings, refusals, and every call
 * of driver and library failing in turn. */
#include "runtime/cuda/library.h"
#include "runtime/device.h"
#include "tests/cudnn/cases.h"
#include "tests/unit/half.h"
#include "tests/unit/meter.h"
#include "tests/unit/needs.h"

#include <dlfcn.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const DeviceOps *const ops = &device_cuda;
static Meter meter = {.left = LONG_MAX};
static const dlc_allocator allocator = {meter_alloc, meter_free, &meter};

static long long (*sim_calls)(void), (*sim_live)(void), (*sim_faults)(void);
static void (*sim_again)(void);
static long long (*cudnn_live)(void);

/* Small ones of each kind. */
static const Case cases[] = {
    {"plain", 2, 2, 3, 4, 7, 3, 1, 1, 1, 1, 1},
    {"strided", 2, 2, 4, 6, 9, 3, 2, 1, 1, 1, 1},
    {"uneven padding", 2, 1, 2, 3, 8, 4, 1, 1, 1, 2, 1},
    {"rest of a stride", 2, 2, 3, 2, 8, 3, 3, 1, 0, 1, 1},
    {"dilated", 2, 1, 2, 3, 11, 3, 1, 2, 2, 2, 1},
    {"grouped", 2, 2, 6, 4, 6, 3, 1, 1, 1, 1, 2},
    {"depthwise", 2, 1, 5, 5, 6, 3, 1, 1, 1, 1, 5},
    {"pointwise", 2, 3, 4, 5, 5, 1, 1, 1, 0, 0, 1},
    {"one axis", 1, 3, 4, 2, 19, 5, 2, 1, 2, 2, 1},
    {"three axes", 3, 1, 2, 3, 5, 3, 1, 1, 1, 1, 1},
};
enum { N_CASES = sizeof(cases) / sizeof(cases[0]), MOST = 1 << 14 };

typedef struct Tensor {
    int64_t dims[5], n; /* spatial axes last, missing ones in front of them are 1 */
    double values[MOST];
} Tensor;

/* -- The sums, written out -- */

static void tensor_fill(Tensor *t, const int64_t *dims, int rank, unsigned seed) {
    t->n = 1;
    for (int i = 0; i < 5; i++) {
        int from = i < 2 ? i : i - (3 - rank);
        t->dims[i] = i < 2 || from >= 2 ? dims[from] : 1;
        t->n *= t->dims[i];
    }
    assert_true(t->n <= MOST);
    for (int64_t i = 0; i < t->n; i++) {
        seed = seed * 1664525u + 1013904223u;
        t->values[i] = (double)(int)(seed >> 27) / 8 - 2; /* exact in every type */
    }
}

static double *at(Tensor *t, const int64_t *index) {
    int64_t flat = 0;
    for (int i = 0; i < 5; i++) {
        flat = flat * t->dims[i] + index[i];
    }
    return &t->values[flat];
}

static void unflat(const Tensor *t, int64_t flat, int64_t *index) {
    for (int i = 4; i >= 0; i--) {
        index[i] = flat % t->dims[i];
        flat /= t->dims[i];
    }
}

/* Adds up all products into the tensor that `kind` names. */
static void sums(const Case *c, int kind, Tensor *x, Tensor *w, Tensor *y) {
    Tensor *result = kind == PLAN_LIBRARY_CONV ? y : kind == PLAN_LIBRARY_CONV_INPUT_GRAD ? x : w;
    for (int64_t i = 0; i < result->n; i++) {
        result->values[i] = 0;
    }
    for (int64_t i = 0; i < y->n; i++) {
        for (int64_t j = 0; j < w->n; j++) {
            int64_t p[5], k[5], q[5];
            unflat(y, i, p);
            unflat(w, j, k);
            bool inside = k[0] == p[1];
            q[0] = p[0];
            q[1] = p[1] / (c->o / c->groups) * (c->c / c->groups) + k[1];
            for (int a = 2; a < 5; a++) {
                bool there = a - 2 >= 3 - c->rank;
                q[a] = there ? p[a] * c->stride + k[a] * c->dilation - c->low : 0;
                inside = inside && q[a] >= 0 && q[a] < x->dims[a];
            }
            if (!inside) {
                continue;
            }
            double *to_x = at(x, q), *to_w = &w->values[j], *to_y = &y->values[i];
            if (kind == PLAN_LIBRARY_CONV) {
                *to_y += *to_x * *to_w;
            } else if (kind == PLAN_LIBRARY_CONV_INPUT_GRAD) {
                *to_x += *to_y * *to_w;
            } else {
                *to_w += *to_x * *to_y;
            }
        }
    }
}

/* -- Elements of each type -- */

static size_t dtype_bytes(int dtype) {
    return dtype == PLAN_F64 ? 8 : dtype == PLAN_F32 ? 4 : 2;
}

static void element_write(int dtype, void *to, double value) {
    float single = (float)value;
    uint16_t half = half_bits(value);
    const void *from = dtype == PLAN_F64   ? (const void *)&value
                       : dtype == PLAN_F32 ? (const void *)&single
                       : dtype == PLAN_F16 ? (const void *)&half
                                           : (const void *)((const char *)&single + 2);
    memcpy(to, from, dtype_bytes(dtype));
}

static double element_read(int dtype, const void *from) {
    double wide;
    float single = 0;
    uint16_t half;
    if (dtype == PLAN_F64) {
        memcpy(&wide, from, 8);
        return wide;
    }
    if (dtype == PLAN_F16) {
        memcpy(&half, from, 2);
        return half_value(half);
    }
    memcpy((char *)&single + (dtype == PLAN_BF16 ? 2 : 0), from, dtype_bytes(dtype));
    return single;
}

/* -- One call -- */

typedef struct Run {
    Device *device;
    DeviceCallPlan *plan;
    DeviceGraph *graph;
    void *buffers[PLAN_N_OPERANDS];
    Tensor operands[PLAN_N_OPERANDS];
    double out[MOST];
    bool was_refused;
    char message[DEVICE_MESSAGE_BYTES], described[128];
} Run;

static DeviceCall call_make(const Case *c, int kind, int dtype, bool epilogue, int64_t *sizes) {
    sizes_fill(c, sizes);
    DeviceCall call = {.kind = kind,
                       .compute = dtype == PLAN_F64 ? PLAN_COMPUTE_F64 : PLAN_COMPUTE_F32,
                       .epilogue = epilogue ? PLAN_EPILOGUE_RELU : PLAN_EPILOGUE_NONE,
                       .sizes = sizes,
                       .n_sizes = PLAN_CONV_SIZES(c->rank),
                       .reproducible = true};
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        call.dtypes[i] = dtype;
        call.alignment[i] = 64;
        call.present[i] = i != PLAN_OPERAND_C && (i != PLAN_OPERAND_BIAS || epilogue);
    }
    return call;
}

#define TRY(call)                                                                                  \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != DLC_OK) {                                                                    \
            return status;                                                                         \
        }                                                                                          \
    } while (0)

static dlc_status operand_write(Run *run, int operand, int dtype) {
    const Tensor *t = &run->operands[operand];
    size_t bytes = (size_t)t->n * dtype_bytes(dtype);
    char *memory = malloc(bytes);
    for (int64_t i = 0; i < t->n; i++) {
        element_write(dtype, memory + (size_t)i * dtype_bytes(dtype), t->values[i]);
    }
    run->buffers[operand] = ops->alloc(run->device, bytes);
    dlc_status status = run->buffers[operand] ? DLC_OK : DLC_ERROR_OUT_OF_MEMORY;
    if (status == DLC_OK && operand != PLAN_OPERAND_D) {
        status = ops->write(run->device->queue, run->buffers[operand], memory, bytes);
    }
    free(memory);
    return status;
}

/* The result, twice: as it is called, and recorded. */
static dlc_status run_called(Run *run, int dtype, bool recorded) {
    Tensor *result = &run->operands[PLAN_OPERAND_D];
    size_t bytes = (size_t)result->n * dtype_bytes(dtype);
    KernelFault fault;
    dlc_status status;
    if (recorded) {
        TRY(ops->fill(run->device->queue, run->buffers[PLAN_OPERAND_D], 0, bytes));
        TRY(ops->record(run->device->queue));
        status = ops->call(run->device->queue, run->plan, run->buffers);
        dlc_status ended =
            ops->record_end(run->device->queue, status == DLC_OK ? &run->graph : NULL);
        TRY(status);
        TRY(ended);
        TRY(ops->replay(run->device->queue, run->graph));
        TRY(ops->replay(run->device->queue, run->graph));
    } else {
        TRY(ops->call(run->device->queue, run->plan, run->buffers));
    }
    TRY(ops->finish(run->device->queue, &fault));
    char *memory = malloc(bytes);
    status = ops->read(run->device->queue, memory, run->buffers[PLAN_OPERAND_D], bytes);
    for (int64_t i = 0; i < result->n; i++) {
        run->out[i] = element_read(dtype, memory + (size_t)i * dtype_bytes(dtype));
    }
    free(memory);
    return status;
}

static dlc_status run_inside(Run *run, const DeviceCall *call, bool recorded) {
    DeviceOptions options = {.which = "0"};
    dlc_status status;
    TRY(ops->open(&allocator, &options, &run->device, run->message));
    status = ops->call_prepare(run->device->queue, call, &run->plan);
    run->was_refused = status == DLC_ERROR_UNSUPPORTED;
    TRY(status);
    ops->call_describe(run->device, run->plan, run->described, sizeof(run->described));
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        if (call->present[i]) {
            TRY(operand_write(run, i, call->dtypes[i]));
        }
    }
    return run_called(run, call->dtypes[0], recorded);
}

static dlc_status run_all(Run *run, const DeviceCall *call, bool recorded) {
    run->device = NULL;
    run->plan = NULL;
    run->graph = NULL;
    run->was_refused = false;
    run->message[0] = '\0';
    dlc_status status = run_inside(run, call, recorded);
    if (run->device) {
        if (status != DLC_OK && !*run->message) {
            snprintf(run->message, sizeof(run->message), "%s", run->device->error);
        }
        if (run->graph) {
            ops->graph_free(run->device, run->graph);
        }
        ops->call_free(run->device, run->plan);
        ops->close(run->device);
    }
    return status;
}

/* Fills the operands, and the result with what is to come out. */
static void expect(Run *to, const Case *c, const DeviceCall *call, Tensor *parts) {
    int r = c->rank;
    const int64_t *dims = call->sizes + 2 + 4 * r;
    for (int t = 0; t < 3; t++) {
        tensor_fill(&parts[t], dims + t * (2 + r), r, (unsigned)(7 * t + call->kind));
    }
    sums(c, call->kind, &parts[0], &parts[1], &parts[2]);
    static const int order[][3] = {{0, 0, 0}, {0, 1, 2}, {2, 1, 0}, {2, 0, 1}};
    to->operands[PLAN_OPERAND_A] = parts[order[call->kind][0]];
    to->operands[PLAN_OPERAND_B] = parts[order[call->kind][1]];
    to->operands[PLAN_OPERAND_D] = parts[order[call->kind][2]];
    if (call->present[PLAN_OPERAND_BIAS]) {
        Tensor *d = &to->operands[PLAN_OPERAND_D], *bias = &to->operands[PLAN_OPERAND_BIAS];
        int64_t one[5] = {1, d->dims[1], 1, 1, 1};
        tensor_fill(bias, one, 3, 5);
        for (int64_t i = 0; i < d->n; i++) {
            int64_t index[5];
            unflat(d, i, index);
            double value = d->values[i] + bias->values[index[1]];
            d->values[i] = value < 0 ? 0 : value;
        }
    }
}

static void compare(const Run *run, const Case *c, const DeviceCall *call) {
    const Tensor *want = &run->operands[PLAN_OPERAND_D];
    static const double tolerance[] = {1e-14, 1e-6, 1e-3, 8e-3}; /* of the types, f64 first */
    for (int64_t i = 0; i < want->n; i++) {
        double error = fabs(run->out[i] - want->values[i]);
        if (!(error <= tolerance[call->dtypes[0]] * (1 + fabs(want->values[i])))) {
            fail_msg("%s, kind %d, dtype %d, element %lld: %g, not %g", c->name, call->kind,
                     call->dtypes[0], (long long)i, run->out[i], want->values[i]);
        }
    }
}

/* -- Tests -- */

static Run all;
static Tensor tensors[3];

static int setup(void **state) {
    (void)state;
    char message[DEVICE_MESSAGE_BYTES];
    void *driver = cuda_library_open("libcuda.so.1", true, message, sizeof(message));
    void *cudnn =
        driver ? cuda_library_open("libcudnn.so.9", true, message, sizeof(message)) : NULL;
    if (cudnn) {
        *(void **)&sim_calls = dlsym(driver, "dlcsim_calls");
        *(void **)&sim_live = dlsym(driver, "dlcsim_live");
        *(void **)&sim_faults = dlsym(driver, "dlcsim_faults");
        *(void **)&sim_again = dlsym(driver, "dlcsim_settings_again");
        *(void **)&cudnn_live = dlsym(cudnn, "cudasimCudnnLive");
    }
    return sim_again && cudnn_live ? 0 : -1;
}

static void need(void) {
    unsetenv("DLC_CUDASIM_FAIL_CALL");
    unsetenv("DLC_CUDASIM_CUDNN");
    sim_again();
    meter.alive = 0;
}

static void run_good(const Case *c, const DeviceCall *call, bool recorded) {
    expect(&all, c, call, tensors);
    if (run_all(&all, call, recorded) != DLC_OK) {
        fail_msg("%s, kind %d, dtype %d: %s", c->name, call->kind, call->dtypes[0], all.message);
    }
    compare(&all, c, call);
    assert_int_equal(meter.alive, 0);
    assert_int_equal(sim_live(), 0);
    assert_int_equal(cudnn_live(), 0);
}

static void test_values(void **state) {
    (void)state;
    int64_t sizes[PLAN_CONV_SIZES(3)];
    need();
    for (int i = 0; i < N_CASES; i++) {
        for (int kind = PLAN_LIBRARY_CONV; kind <= PLAN_LIBRARY_CONV_FILTER_GRAD; kind++) {
            for (int dtype = PLAN_F64; dtype <= PLAN_BF16; dtype++) {
                DeviceCall call = call_make(&cases[i], kind, dtype, false, sizes);
                run_good(&cases[i], &call, (i + kind + dtype) % 3 == 0);
            }
        }
        DeviceCall call = call_make(&cases[i], PLAN_LIBRARY_CONV, PLAN_F32, true, sizes);
        run_good(&cases[i], &call, false);
    }
    assert_int_equal(sim_faults(), 0);
}

/* The stand-in ranks engines of other numerics, other results from run to run, too much workspace
 * and no support first. */
static void test_choice(void **state) {
    (void)state;
    int64_t sizes[PLAN_CONV_SIZES(3)];
    need();
    DeviceCall call = call_make(&cases[0], PLAN_LIBRARY_CONV, PLAN_F32, false, sizes);
    run_good(&cases[0], &call, false);
    assert_non_null(strstr(all.described, "engine 12,"));
    call.compute = PLAN_COMPUTE_TF32;
    run_good(&cases[0], &call, false);
    assert_non_null(strstr(all.described, "engine 11,"));
    call = call_make(&cases[0], PLAN_LIBRARY_CONV, PLAN_BF16, false, sizes);
    run_good(&cases[0], &call, false);
    assert_non_null(strstr(all.described, "cuDNN 9.19.0, engine 11,"));
    call.reproducible = false;
    run_good(&cases[0], &call, false);
    assert_non_null(strstr(all.described, "engine 903,"));
}

static void refused(const DeviceCall *call, const char *why) {
    meter.alive = 0;
    assert_int_equal(run_all(&all, call, false), DLC_ERROR_UNSUPPORTED);
    if (!strstr(all.message, why)) {
        fail_msg("\"%s\" does not say \"%s\"", all.message, why);
    }
    assert_int_equal(meter.alive, 0);
    assert_int_equal(cudnn_live(), 0);
}

static void test_refusals(void **state) {
    (void)state;
    int64_t sizes[PLAN_CONV_SIZES(3)];
    need();
    DeviceCall call = call_make(&cases[0], PLAN_LIBRARY_CONV, PLAN_F32, false, sizes);
    setenv("DLC_CUDASIM_CUDNN", "none", 1);
    refused(&call, "no way to do it");
    setenv("DLC_CUDASIM_CUDNN", "8907", 1);
    refused(&call, "version 8907");
    unsetenv("DLC_CUDASIM_CUDNN");
    sizes[6] = -1;
    refused(&call, "negative padding");
    sizes[6] = 1;
    call.dtypes[PLAN_OPERAND_B] = PLAN_F64;
    refused(&call, "f64");
    call.dtypes[PLAN_OPERAND_B] = PLAN_BF16;
    refused(&call, "one type");
    call = call_make(&cases[0], PLAN_LIBRARY_CONV, PLAN_I32, false, sizes);
    refused(&call, "floating-point");
    call = call_make(&cases[0], PLAN_LIBRARY_CONV_FILTER_GRAD, PLAN_F32, true, sizes);
    refused(&call, "filter gradient with an epilogue");
    call = call_make(&cases[0], PLAN_LIBRARY_CONV, PLAN_F32, false, sizes);
    call.n_sizes--;
    refused(&call, "axes");
    setenv("DLC_CUDASIM_DRIVER", "12080", 1);
    sim_again();
    call.n_sizes++;
    refused(&call, "CUDA 13");
    unsetenv("DLC_CUDASIM_DRIVER");
}

/* A result that is too small for what is written, an operand that was never written: the
 * simulator's checks reach into the library. */
static void test_checked(void **state) {
    (void)state;
    int64_t sizes[PLAN_CONV_SIZES(3)];
    need();
    setenv("DLC_CUDASIM_REPORT", "/dev/null", 1);
    sim_again();
    DeviceCall call = call_make(&cases[0], PLAN_LIBRARY_CONV, PLAN_F32, false, sizes);
    for (int what = 0; what < 2; what++) {
        expect(&all, &cases[0], &call, tensors);
        all.operands[what == 0 ? PLAN_OPERAND_D : PLAN_OPERAND_B].n /= 2;
        assert_int_equal(run_all(&all, &call, false), DLC_ERROR_INTERNAL);
    }
    unsetenv("DLC_CUDASIM_REPORT");
    assert_true(sim_faults() >= 2);
}

static bool is_error(dlc_status status) {
    return status == DLC_ERROR_INTERNAL || status == DLC_ERROR_OUT_OF_MEMORY;
}

/* What leaves a convolution to its kernel: cuDNN does not start, or offers nothing that fits; there
 * is no room for its workspace. */
static bool is_refusal(const char *message) {
    return strstr(message, "CUDNN_STATUS_NOT_INITIALIZED") || strstr(message, "ways") ||
           strstr(message, "for the libraries' workspace");
}

static void test_failing_calls(void **state) {
    (void)state;
    int64_t sizes[PLAN_CONV_SIZES(3)];
    need();
    const Case *c = &cases[0];
    DeviceCall call = call_make(c, PLAN_LIBRARY_CONV, PLAN_BF16, false, sizes);
    run_good(c, &call, true);
    sim_again();
    assert_int_equal(run_all(&all, &call, true), DLC_OK);
    long long calls = sim_calls(), failed = 0, refusals = 0;
    for (long long n = 1; n <= calls; n++) {
        char number[32];
        snprintf(number, sizeof(number), "%lld", n);
        setenv("DLC_CUDASIM_FAIL_CALL", number, 1);
        sim_again();
        meter.alive = 0;
        dlc_status status = run_all(&all, &call, true);
        failed += status != DLC_OK;
        refusals += status != DLC_OK && all.was_refused;
        if (status != DLC_OK && !*all.message) {
            fail_msg("call %lld fails without a message", n);
        }
        if (status != DLC_OK && !is_error(status) && !is_refusal(all.message)) {
            fail_msg("call %lld fails as status %d: %s", n, status, all.message);
        }
        if (status == DLC_OK) {
            compare(&all, c, &call);
        }
        if (meter.alive != 0 || sim_live() != 0 || cudnn_live() != 0) {
            fail_msg("call %lld leaks: %lld blocks, %lld of the device's, %lld of cuDNN's: %s", n,
                     (long long)meter.alive, sim_live(), cudnn_live(), all.message);
        }
    }
    unsetenv("DLC_CUDASIM_FAIL_CALL");
    print_message("%lld calls, %lld of them fail the run, %lld refuse the call\n", calls, failed,
                  refusals);
    assert_true(failed > calls / 2);
    assert_true(refusals > 0);
}

int main(void) {
    if (!cudasim_can_compile()) {
        return TEST_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_choice),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_failing_calls),
        cmocka_unit_test(test_checked), /* leaves a lost context */
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
