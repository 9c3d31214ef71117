/* The simulated device itself: planted faults, each of which must be found and named, and clean
 * kernels, which must run to the right results and not be complained of. */
#include "tests/unit/needs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- The entry points. */

typedef unsigned long long Address;
typedef void *Handle;
static int (*init)(unsigned);
static int (*context_retain)(Handle *, int);
static int (*context_release)(int);
static int (*context_push)(Handle);
static int (*context_pop)(Handle *);
static int (*context_wait)(void);
static int (*memory_alloc)(Address *, size_t);
static int (*memory_free)(Address);
static int (*copy_to)(Address, const void *, size_t, Handle);
static int (*copy_from)(void *, Address, size_t, Handle);
static int (*fill)(Address, unsigned char, size_t, Handle);
static int (*stream_create)(Handle *, unsigned);
static int (*stream_destroy)(Handle);
static int (*stream_wait_event)(Handle, Handle, unsigned);
static int (*event_create)(Handle *, unsigned);
static int (*event_destroy)(Handle);
static int (*event_record)(Handle, Handle);
static int (*module_load)(Handle *, const void *, unsigned, int *, void **);
static int (*module_unload)(Handle);
static int (*module_function)(Handle *, Handle, const char *);
static int (*function_set)(Handle, int, int);
static int (*launch)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                     Handle, void **, void **);
static int (*capture_begin)(Handle, int);
static int (*capture_end)(Handle, Handle *);
static int (*graph_make)(Handle *, Handle, unsigned long long);
static int (*graph_launch)(Handle, Handle);
static int (*graph_exec_free)(Handle);
static int (*graph_free)(Handle);
static long long (*faults)(void);
static long long (*live)(void);
static void (*settings_again)(void);

static int (*nvrtc_create)(Handle *, const char *, const char *, int, const char *const *,
                           const char *const *);
static int (*nvrtc_compile)(Handle, int, const char *const *);
static int (*nvrtc_log)(Handle, char *);
static int (*nvrtc_log_size)(Handle, size_t *);
static int (*nvrtc_cubin_size)(Handle, size_t *);
static int (*nvrtc_cubin)(Handle, char *);
static int (*nvrtc_ptx_size)(Handle, size_t *);
static int (*nvrtc_ptx)(Handle, char *);
static int (*nvrtc_destroy)(Handle *);

static Handle context, module, libcuda, libnvrtc;
static char *cubin, *ptx;
static char report_path[] = "/tmp/cudasim-report-XXXXXX";

static void *library(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", getenv("DLC_CUDA_PATH"), name);
    void *opened = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!opened) {
        printf("%s\n", dlerror());
    }
    return opened;
}

static void get(void *from, const char *name, void *to) {
    void *symbol = dlsym(from, name);
    if (!symbol) {
        printf("no %s\n", name);
        exit(1);
    }
    memcpy(to, &symbol, sizeof symbol);
}

/* -- The kernels. */

extern const char text[]; /* test_kernels.c */

static void compile(void) {
    Handle program = NULL;
    const char *headers[] = {""}, *names[] = {"dlc_prelude.cuh"},
               *options[] = {"--gpu-architecture=sm_90"};
    nvrtc_create(&program, text, "kernels.cu", 1, headers, names);
    int result = nvrtc_compile(program, 1, options);
    size_t n = 0;
    if (result != 0) {
        nvrtc_log_size(program, &n);
        char *log = malloc(n);
        nvrtc_log(program, log);
        printf("%s\n", log);
        exit(1);
    }
    nvrtc_cubin_size(program, &n);
    cubin = malloc(n);
    nvrtc_cubin(program, cubin);
    nvrtc_ptx_size(program, &n);
    ptx = malloc(n);
    nvrtc_ptx(program, ptx);
    nvrtc_destroy(&program);
}

/* -- Each test begins with a context and an empty report. */

static int setup(void **state) {
    (void)state;
    FILE *file = fopen(report_path, "w");
    fclose(file);
    return init(0) || context_retain(&context, 0) || context_push(context) ||
           module_load(&module, cubin, 0, NULL, NULL);
}

static int teardown(void **state) {
    (void)state;
    module_unload(module);
    context_pop(NULL);
    context_release(0);
    return 0;
}

static char found[8192];
static void report_read(void) {
    FILE *file = fopen(report_path, "r");
    size_t n = file ? fread(found, 1, sizeof found - 1, file) : 0;
    found[n] = 0;
    if (file) {
        fclose(file);
    }
}

static void must_say(const char *what) {
    report_read();
    if (!strstr(found, what)) {
        fail_msg("\"%s\" is not in the report:\n%s", what, found);
    }
}

static Handle function(const char *name) {
    Handle handle = NULL;
    assert_int_equal(module_function(&handle, module, name), 0);
    return handle;
}

static Address memory(size_t bytes, int byte) {
    Address address = 0;
    assert_int_equal(memory_alloc(&address, bytes), 0);
    if (byte >= 0) {
        assert_int_equal(fill(address, (unsigned char)byte, bytes, NULL), 0);
    }
    return address;
}

/* Launches with up to two buffers; the result of waiting. */
static int run(const char *name, unsigned grid, unsigned block, unsigned shared, Address a,
               Address b) {
    void *arguments[] = {&a, &b};
    assert_int_equal(launch(function(name), grid, 1, 1, block, 1, 1, shared, NULL, arguments, NULL),
                     0);
    return context_wait();
}

enum { LAUNCH_FAILED = 719 };

static void fails(const char *name, unsigned grid, unsigned block, unsigned shared, size_t a_bytes,
                  int a_byte, size_t b_bytes, const char *what) {
    Address a = memory(a_bytes, a_byte), b = memory(b_bytes, 0);
    assert_int_equal(run(name, grid, block, shared, a, b), LAUNCH_FAILED);
    must_say(name);
    must_say(what);
    assert_int_equal(context_wait(), LAUNCH_FAILED); /* the context is lost */
    memory_free(a);
    memory_free(b);
}

static void test_clean(void **state) {
    (void)state;
    enum { N = 1000 };
    static float in[N], out[N], sums[4];
    for (int i = 0; i < N; i++) {
        in[i] = (float)i;
    }
    long long n = N, before = faults();
    Address a = memory(sizeof out, -1), b = memory(sizeof in, -1), c = memory(sizeof sums, -1);
    void *arguments[] = {&n, &a, &b, &c};
    assert_int_equal(copy_to(b, in, sizeof in, NULL), 0);
    assert_int_equal(launch(function("clean"), 4, 1, 1, 256, 1, 1, 64, NULL, arguments, NULL), 0);
    assert_int_equal(copy_from(out, a, sizeof out, NULL), 0);
    assert_int_equal(copy_from(sums, c, sizeof sums, NULL), 0);
    float total = 0.0f;
    for (int i = 0; i < N; i++) {
        assert_true(out[i] == 2.0f * in[i]);
    }
    for (int i = 0; i < 4; i++) {
        total += sums[i];
    }
    assert_true(total == 499500.0f);
    assert_int_equal(faults(), before);
    memory_free(a);
    memory_free(b);
    memory_free(c);
}

static void test_clean_more(void **state) {
    (void)state;
    long long before = faults();
    Address a = memory(64, -1), b = memory(1024, 0), c = memory(256, -1);
    assert_int_equal(run("bytes_clean", 1, 64, 0, a, b), 0);
    assert_int_equal(run("warp_clean", 1, 64, 256, c, b), 0);
    assert_int_equal(run("async_clean", 1, 64, 1024, c, b), 0);
    assert_int_equal(faults(), before);
    memory_free(a);
    memory_free(b);
    memory_free(c);
}

static void test_product(void **state) {
    (void)state;
    unsigned short a[256], b[128];
    float c[128];
    for (int i = 0; i < 256; i++) {
        a[i] = i % 3 == 0 ? 0x3c00 : 0x4000; /* 1, 2 */
    }
    for (int i = 0; i < 128; i++) {
        b[i] = i % 5 == 0 ? 0x3c00 : 0xbc00; /* 1, -1 */
    }
    Address ga = memory(sizeof a, -1), gb = memory(sizeof b, -1), gc = memory(sizeof c, -1);
    copy_to(ga, a, sizeof a, NULL);
    copy_to(gb, b, sizeof b, NULL);
    void *arguments[] = {&gc, &ga, &gb};
    assert_int_equal(launch(function("product"), 1, 1, 1, 32, 1, 1, 1024, NULL, arguments, NULL),
                     0);
    assert_int_equal(copy_from(c, gc, sizeof c, NULL), 0);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 8; j++) {
            float sum = 0.0f;
            for (int k = 0; k < 16; k++) {
                sum +=
                    ((i * 16 + k) % 3 == 0 ? 1.0f : 2.0f) * ((k * 8 + j) % 5 == 0 ? 1.0f : -1.0f);
            }
            assert_true(c[i * 8 + j] == sum);
        }
    }
    memory_free(ga);
    memory_free(gb);
    memory_free(gc);
}

static void test_bounds(void **state) {
    (void)state;
    fails("read_out", 1, 64, 0, 256, 0, 256, "thread 63: read of 4 bytes, out of bounds");
}
static void test_bounds_write(void **state) {
    (void)state;
    fails("write_out", 1, 64, 0, 256, 0, 256, "write of 4 bytes, out of bounds");
}
static void test_bounds_shared(void **state) {
    (void)state;
    fails("shared_out", 1, 64, 256, 256, 0, 256, "out of bounds: shared memory at byte 256");
}
static void test_unwritten(void **state) {
    (void)state;
    Address a = memory(256, 0), b = memory(1024, -1);
    assert_int_equal(run("read_out", 1, 64, 0, a, b), LAUNCH_FAILED);
    must_say("never written");
    memory_free(a);
    memory_free(b);
}
static void test_unwritten_shared(void **state) {
    (void)state;
    fails("shared_unwritten", 1, 64, 256, 256, 0, 256,
          "thread 2: read of 4 bytes, never written: shared memory at byte 12");
}
static void test_freed(void **state) {
    (void)state;
    Address a = memory(256, 0), b = memory(1024, 0);
    memory_free(b);
    assert_int_equal(run("read_out", 1, 64, 0, a, b), LAUNCH_FAILED);
    must_say("freed");
    memory_free(a);
}
static void test_race_shared(void **state) {
    (void)state;
    fails("shared_race", 1, 64, 256, 256, 0, 256, "with no barrier between: shared memory");
    must_say("s[dlc_thread()");
}
static void test_race_global(void **state) {
    (void)state;
    fails("global_race", 1, 64, 0, 256, 0, 256, "with no barrier between: byte");
}
static void test_race_blocks(void **state) {
    (void)state;
    fails("block_race", 2, 64, 0, 256, 0, 256, "another block of this launch");
}
static void test_race_bytes(void **state) {
    (void)state;
    fails("bytes_race", 1, 64, 0, 256, 0, 256, "no barrier between");
}
static void test_race_warps(void **state) {
    (void)state;
    fails("warp_race", 1, 64, 256, 256, 0, 256, "no barrier between");
}
static void test_divergent(void **state) {
    (void)state;
    fails("divergent", 1, 64, 0, 256, 0, 256, "divergent barrier");
}
static void test_two_barriers(void **state) {
    (void)state;
    fails("two_barriers", 1, 64, 0, 256, 0, 256, "divergent barrier");
}
static void test_lane_gone(void **state) {
    (void)state;
    fails("lane_gone", 1, 64, 0, 256, 0, 256, "lane 7 (thread 7) has ended");
}
static void test_short_warp(void **state) {
    (void)state;
    fails("lane_elsewhere", 1, 24, 0, 256, 0, 256, "is not in the block");
}
static void test_lane_elsewhere(void **state) {
    (void)state;
    fails("lane_elsewhere", 1, 64, 0, 256, 0, 256, "stands elsewhere");
}
static void test_deadlock(void **state) {
    (void)state;
    fails("deadlock", 1, 64, 0, 256, 0, 256, "deadlock");
    must_say("thread 7 waits at the barrier");
    must_say("dlc_xor_f32");
}
static void test_misaligned(void **state) {
    (void)state;
    fails("misaligned", 1, 1, 0, 256, 0, 256, "not aligned");
}
static void test_async(void **state) {
    (void)state;
    fails("async_early", 1, 64, 1024, 256, 0, 1024, "before its copy was waited for");
}

/* -- Streams. */

static void two_streams(bool ordered, bool *raced) {
    Handle one, two, event;
    assert_int_equal(stream_create(&one, 1), 0);
    assert_int_equal(stream_create(&two, 1), 0);
    assert_int_equal(event_create(&event, 2), 0);
    Address a = memory(256, 0);
    assert_int_equal(context_wait(), 0);
    void *arguments[] = {&a};
    Handle kernel = function("add_one");
    int result = launch(kernel, 1, 1, 1, 64, 1, 1, 0, one, arguments, NULL);
    result = result ? result : event_record(event, one);
    if (ordered) {
        result = result ? result : stream_wait_event(two, event, 0);
    }
    result = result ? result : launch(kernel, 1, 1, 1, 64, 1, 1, 0, two, arguments, NULL);
    int end = context_wait();
    result = result ? result : end;
    *raced = result != 0;
    if (!*raced) {
        float out[64];
        assert_int_equal(copy_from(out, a, sizeof out, NULL), 0);
        assert_true(out[5] == 2.0f);
    }
    memory_free(a);
    event_destroy(event);
    stream_destroy(one);
    stream_destroy(two);
}

static void test_streams(void **state) {
    (void)state;
    static const char *const orders[] = {"earliest", "latest", "random"};
    for (int i = 0; i < 3; i++) {
        bool raced = true;
        setenv("DLC_CUDASIM_ORDER", orders[i], 1);
        settings_again();
        two_streams(true, &raced);
        assert_false(raced);
    }
}

static void test_streams_race(void **state) {
    (void)state;
    static const char *const orders[] = {"earliest", "latest", "random"};
    for (int i = 0; i < 3; i++) {
        bool raced = false;
        setenv("DLC_CUDASIM_ORDER", orders[i], 1);
        settings_again();
        two_streams(false, &raced);
        if (!raced) {
            fail_msg("not found in order %s", orders[i]);
        }
        must_say("which no event or stream order puts before");
        teardown(state);
        setup(state);
    }
}

static void test_graph(void **state) {
    (void)state;
    Handle stream, graph, exec;
    assert_int_equal(stream_create(&stream, 1), 0);
    Address a = memory(256, -1);
    void *arguments[] = {&a};
    assert_int_equal(capture_begin(stream, 0), 0);
    assert_int_equal(fill(a, 0, 256, stream), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(launch(function("add_one"), 1, 1, 1, 64, 1, 1, 0, stream, arguments, NULL),
                         0);
    }
    assert_int_equal(capture_end(stream, &graph), 0);
    assert_int_equal(graph_make(&exec, graph, 0), 0);
    assert_int_equal(graph_free(graph), 0);
    for (int i = 0; i < 2; i++) {
        float out[64];
        assert_int_equal(graph_launch(exec, stream), 0);
        assert_int_equal(copy_from(out, a, sizeof out, stream), 0);
        assert_true(out[0] == 3.0f && out[63] == 3.0f);
    }
    graph_exec_free(exec);
    memory_free(a);
    stream_destroy(stream);
}

/* -- Limits, modules, leaks. */

static void test_limits(void **state) {
    (void)state;
    Address a = memory(256, 0);
    void *arguments[] = {&a};
    Handle kernel = function("add_one");
    assert_int_equal(launch(kernel, 1, 1, 1, 2048, 1, 1, 0, NULL, arguments, NULL), 1);
    assert_int_equal(launch(kernel, 1, 1, 1, 64, 1, 1, 64 * 1024, NULL, arguments, NULL), 1);
    assert_int_equal(function_set(kernel, 8, 64 * 1024), 0);
    assert_int_equal(launch(kernel, 1, 1, 1, 64, 1, 1, 64 * 1024, NULL, arguments, NULL), 0);
    assert_int_equal(function_set(kernel, 8, 228 * 1024), 1);
    assert_int_equal(
        launch(function("clean"), 1, 1, 1, 512, 1, 1, 0, NULL, (void *[]){&a, &a, &a, &a}, NULL),
        701);
    Address much = 0;
    assert_int_equal(memory_alloc(&much, (size_t)1 << 40), 2);
    memory_free(a);
}

static void test_modules(void **state) {
    (void)state;
    Handle other = NULL;
    assert_int_equal(module_load(&other, "\177ELF\2\1\1\63", 0, NULL, NULL), 209);
    assert_int_equal(module_load(&other, "\n.version 8.8\n", 0, NULL, NULL), 222);
    assert_int_equal(module_load(&other, ptx, 0, NULL, NULL), 0);
    assert_int_equal(module_unload(other), 0);
    setenv("DLC_CUDASIM_ARCH", "100", 1);
    settings_again();
    assert_int_equal(module_load(&other, cubin, 0, NULL, NULL), 209);
    assert_int_equal(module_load(&other, ptx, 0, NULL, NULL), 0); /* a later card takes PTX */
    assert_int_equal(module_unload(other), 0);
    setenv("DLC_CUDASIM_ARCH", "86", 1);
    settings_again();
    assert_int_equal(module_load(&other, ptx, 0, NULL, NULL), 218);
    setenv("DLC_CUDASIM_ARCH", "90", 1);
    setenv("DLC_CUDASIM_DRIVER", "12080", 1);
    settings_again();
    assert_int_equal(module_load(&other, ptx, 0, NULL, NULL), 222);
    unsetenv("DLC_CUDASIM_DRIVER");
    settings_again();
}

static void test_fail_call(void **state) {
    (void)state;
    setenv("DLC_CUDASIM_FAIL_CALL", "2", 1);
    settings_again();
    Address a = 0, b = 0;
    assert_int_equal(memory_alloc(&a, 64), 0);
    assert_int_equal(memory_alloc(&b, 64), 2);
    unsetenv("DLC_CUDASIM_FAIL_CALL");
    settings_again();
    memory_free(a);
}

int main(void) {
    if (!cudasim_can_compile()) {
        return TEST_SKIPPED;
    }
    int file = mkstemp(report_path);
    if (file < 0) {
        return 1;
    }
    close(file);
    setenv("DLC_CUDASIM_REPORT", report_path, 1);
    libcuda = library("libcuda.so.1");
    libnvrtc = library("libnvrtc.so.13");
    if (!libcuda || !libnvrtc) {
        return 1;
    }
    get(libcuda, "cuInit", &init);
    get(libcuda, "cuDevicePrimaryCtxRetain", &context_retain);
    get(libcuda, "cuDevicePrimaryCtxRelease_v2", &context_release);
    get(libcuda, "cuCtxPushCurrent_v2", &context_push);
    get(libcuda, "cuCtxPopCurrent_v2", &context_pop);
    get(libcuda, "cuCtxSynchronize", &context_wait);
    get(libcuda, "cuMemAlloc_v2", &memory_alloc);
    get(libcuda, "cuMemFree_v2", &memory_free);
    get(libcuda, "cuMemcpyHtoDAsync_v2", &copy_to);
    get(libcuda, "cuMemcpyDtoHAsync_v2", &copy_from);
    get(libcuda, "cuMemsetD8Async", &fill);
    get(libcuda, "cuStreamCreate", &stream_create);
    get(libcuda, "cuStreamDestroy_v2", &stream_destroy);
    get(libcuda, "cuStreamWaitEvent", &stream_wait_event);
    get(libcuda, "cuEventCreate", &event_create);
    get(libcuda, "cuEventDestroy_v2", &event_destroy);
    get(libcuda, "cuEventRecord", &event_record);
    get(libcuda, "cuModuleLoadDataEx", &module_load);
    get(libcuda, "cuModuleUnload", &module_unload);
    get(libcuda, "cuModuleGetFunction", &module_function);
    get(libcuda, "cuFuncSetAttribute", &function_set);
    get(libcuda, "cuLaunchKernel", &launch);
    get(libcuda, "cuStreamBeginCapture_v2", &capture_begin);
    get(libcuda, "cuStreamEndCapture", &capture_end);
    get(libcuda, "cuGraphInstantiateWithFlags", &graph_make);
    get(libcuda, "cuGraphLaunch", &graph_launch);
    get(libcuda, "cuGraphExecDestroy", &graph_exec_free);
    get(libcuda, "cuGraphDestroy", &graph_free);
    get(libcuda, "dlcsim_faults", &faults);
    get(libcuda, "dlcsim_live", &live);
    get(libcuda, "dlcsim_settings_again", &settings_again);
    get(libnvrtc, "nvrtcCreateProgram", &nvrtc_create);
    get(libnvrtc, "nvrtcCompileProgram", &nvrtc_compile);
    get(libnvrtc, "nvrtcGetProgramLog", &nvrtc_log);
    get(libnvrtc, "nvrtcGetProgramLogSize", &nvrtc_log_size);
    get(libnvrtc, "nvrtcGetCUBINSize", &nvrtc_cubin_size);
    get(libnvrtc, "nvrtcGetCUBIN", &nvrtc_cubin);
    get(libnvrtc, "nvrtcGetPTXSize", &nvrtc_ptx_size);
    get(libnvrtc, "nvrtcGetPTX", &nvrtc_ptx);
    get(libnvrtc, "nvrtcDestroyProgram", &nvrtc_destroy);
    compile();
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_clean_more),
        TEST(test_product),
        TEST(test_bounds),
        TEST(test_bounds_write),
        TEST(test_bounds_shared),
        TEST(test_unwritten),
        TEST(test_unwritten_shared),
        TEST(test_freed),
        TEST(test_race_shared),
        TEST(test_race_global),
        TEST(test_race_blocks),
        TEST(test_race_bytes),
        TEST(test_race_warps),
        TEST(test_divergent),
        TEST(test_two_barriers),
        TEST(test_lane_gone),
        TEST(test_short_warp),
        TEST(test_lane_elsewhere),
        TEST(test_deadlock),
        TEST(test_misaligned),
        TEST(test_async),
        TEST(test_clean),
        TEST(test_streams),
        TEST(test_streams_race),
        TEST(test_graph),
        TEST(test_limits),
        TEST(test_modules),
        TEST(test_fail_call),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (live() != 0) {
        printf("%lld things are alive at the end\n", live());
        failed++;
    }
    unlink(report_path);
    free(cubin);
    free(ptx);
    return failed ? 1 : 0;
}
