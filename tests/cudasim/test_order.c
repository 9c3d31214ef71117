/* Orders on the simulated device, by copies and fills alone: what streams, events, captures and the
 * host's waits put in order runs right in every legal order, and whatever they leave open is
 * reported by name, in every order too. */
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

typedef unsigned long long Address;
typedef void *Handle;

#define ENTRIES(X)                                                                                 \
    X("cuInit", init, (unsigned))                                                                  \
    X("cuDevicePrimaryCtxRetain", context_retain, (Handle *, int))                                 \
    X("cuDevicePrimaryCtxRelease_v2", context_release, (int))                                      \
    X("cuCtxPushCurrent_v2", context_push, (Handle))                                               \
    X("cuCtxPopCurrent_v2", context_pop, (Handle *))                                               \
    X("cuMemAlloc_v2", memory_alloc, (Address *, size_t))                                          \
    X("cuMemFree_v2", memory_free, (Address))                                                      \
    X("cuMemHostAlloc", host_alloc, (void **, size_t, unsigned))                                   \
    X("cuMemFreeHost", host_free, (void *))                                                        \
    X("cuMemcpyHtoDAsync_v2", copy_to, (Address, const void *, size_t, Handle))                    \
    X("cuMemcpyDtoHAsync_v2", copy_from, (void *, Address, size_t, Handle))                        \
    X("cuMemcpyDtoDAsync_v2", copy_on, (Address, Address, size_t, Handle))                         \
    X("cuMemsetD8Async", fill, (Address, unsigned char, size_t, Handle))                           \
    X("cuStreamCreate", stream_create, (Handle *, unsigned))                                       \
    X("cuStreamDestroy_v2", stream_destroy, (Handle))                                              \
    X("cuStreamSynchronize", stream_finish, (Handle))                                              \
    X("cuStreamWaitEvent", stream_wait, (Handle, Handle, unsigned))                                \
    X("cuEventCreate", event_create, (Handle *, unsigned))                                         \
    X("cuEventDestroy_v2", event_destroy, (Handle))                                                \
    X("cuEventRecord", event_record, (Handle, Handle))                                             \
    X("cuEventSynchronize", event_finish, (Handle))                                                \
    X("cuStreamBeginCapture_v2", capture_begin, (Handle, int))                                     \
    X("cuStreamEndCapture", capture_end, (Handle, Handle *))                                       \
    X("cuGraphInstantiateWithFlags", graph_make, (Handle *, Handle, unsigned long long))           \
    X("cuGraphLaunch", graph_launch, (Handle, Handle))                                             \
    X("cuGraphExecDestroy", graph_exec_free, (Handle))                                             \
    X("cuGraphDestroy", graph_free, (Handle))

#define X(SYMBOL, NAME, PARAMETERS) static int(*NAME) PARAMETERS;
ENTRIES(X)
#undef X
static long long (*faults)(void);
static long long (*live)(void);
static long long (*waits)(void);
static void (*settings_again)(void);

enum {
    BYTES = 3 * 4096,
    UNSUPPORTED = 900,
    INVALIDATED,
    MERGE,
    UNMATCHED,
    UNJOINED,
    ISOLATION,
    CAPTURED_EVENT = 907
};

static void *libcuda;
static char report_path[] = "/tmp/cudasim-order-XXXXXX";

/* -- A bench of two streams, two events and some memory. */

static Handle context, one, two, first, second;
static Address a, b;
static unsigned char *host;
static long long faults_before;

static void begin(void) {
    fclose(fopen(report_path, "w"));
    faults_before = faults();
    assert_int_equal(init(0), 0);
    assert_int_equal(context_retain(&context, 0), 0);
    assert_int_equal(context_push(context), 0);
    assert_int_equal(stream_create(&one, 1), 0);
    assert_int_equal(stream_create(&two, 1), 0);
    assert_int_equal(event_create(&first, 2), 0);
    assert_int_equal(event_create(&second, 2), 0);
    assert_int_equal(memory_alloc(&a, BYTES), 0);
    assert_int_equal(memory_alloc(&b, BYTES), 0);
    assert_int_equal(host_alloc((void **)&host, BYTES, 0), 0);
    assert_int_equal(fill(a, 1, BYTES, one), 0);
    assert_int_equal(fill(b, 2, BYTES, one), 0);
    assert_int_equal(stream_finish(one), 0);
    settings_again(); /* counts waits from here */
}

/* Whether a fault was reported since begin. */
static bool end(void) {
    host_free(host);
    memory_free(a);
    memory_free(b);
    event_destroy(first);
    event_destroy(second);
    stream_destroy(one);
    stream_destroy(two);
    context_pop(NULL);
    context_release(0);
    assert_int_equal(live(), 0);
    return faults() > faults_before;
}

static void must_say(const char *text) {
    static char found[8192];
    FILE *file = fopen(report_path, "r");
    size_t n = file ? fread(found, 1, sizeof found - 1, file) : 0;
    found[n] = 0;
    if (file) {
        fclose(file);
    }
    if (!strstr(found, text)) {
        fail_msg("not said: %s\n%s", text, found);
    }
}

static const char *const ORDERS[][2] = {{"earliest", "1"}, {"latest", "1"}, {"random", "1"},
                                        {"random", "2"},   {"random", "3"}, {"random", "4"}};
enum { N_ORDERS = sizeof ORDERS / sizeof ORDERS[0] };

/* In every order; the random one with several seeds. */
static void each_order(void (*run)(void)) {
    for (int i = 0; i < N_ORDERS; i++) {
        setenv("DLC_CUDASIM_SEED", ORDERS[i][1], 1);
        setenv("DLC_CUDASIM_ORDER", ORDERS[i][0], 1);
        settings_again();
        run();
    }
    unsetenv("DLC_CUDASIM_SEED");
    unsetenv("DLC_CUDASIM_ORDER");
    settings_again();
}

/* -- Device memory. */

static void device_ordered(void) {
    begin();
    fill(a, 3, BYTES, one);
    event_record(first, one);
    stream_wait(two, first, 0);
    copy_on(b, a, BYTES, two);
    event_record(second, two);
    stream_wait(one, second, 0);
    fill(a, 4, BYTES, one);
    copy_from(host, b, BYTES, two);
    assert_int_equal(stream_finish(two), 0);
    assert_true(host[0] == 3 && host[BYTES - 1] == 3);
    assert_false(end());
}

static void device_unordered(void) {
    begin();
    fill(a + 4096, 3, 4096, one);
    copy_on(b, a, BYTES, two);
    stream_finish(one);
    stream_finish(two);
    assert_true(end());
    must_say("follows neither a stream's order nor an event after operation");
    must_say("(fill of 4096 bytes, stream");
    must_say("(copy of 12288 bytes, stream");
    must_say("bytes 4096 to 8192 of that allocation");
}

static void test_device_memory(void **state) {
    (void)state;
    each_order(device_ordered);
    each_order(device_unordered);
}

/* -- Pinned memory: streams. */

/* What comes to the host goes on to the device by another stream. */
static void pinned_run(bool ordered) {
    begin();
    fill(a, 5, BYTES, one);
    copy_from(host, a, BYTES, one);
    fill(a, 6, BYTES, one);
    if (ordered) {
        event_record(first, one);
        stream_wait(two, first, 0);
    }
    copy_to(b, host, BYTES, two);
    stream_finish(two);
    if (ordered) {
        copy_from(host, b, BYTES, two);
        assert_int_equal(stream_finish(two), 0);
        assert_true(host[0] == 5 && host[BYTES - 1] == 5);
    }
    stream_finish(one);
    assert_int_equal(end(), !ordered);
}

static void pinned_ordered(void) {
    pinned_run(true);
}

static void pinned_unordered(void) {
    pinned_run(false);
    must_say("of pinned memory");
}

static void test_pinned_memory(void **state) {
    (void)state;
    each_order(pinned_ordered);
    each_order(pinned_unordered);
}

/* -- Pinned memory: the host. */

static void host_waits(void) {
    begin();
    for (int i = 0; i < 4; i++) {
        memset(host, 10 + i, 4096);
        copy_to(a, host, 4096, one);
        event_record(first, one);
        memset(host + 4096, 20 + i, 100); /* beside it, and a little on the same page */
        copy_from(host + 4200, a, 4096, one);
        host[4196] = 1;
        assert_int_equal(event_finish(first), 0);
        memset(host, 30 + i, 4096);
        assert_int_equal(stream_finish(one), 0);
        assert_true(host[4200] == 10 + i && host[4200 + 4095] == 10 + i);
    }
    assert_false(end());
}

static void host_writes_early(void) {
    begin();
    memset(host, 7, BYTES);
    copy_to(a, host + 100, 4096, one);
    host[101] = 8;
    stream_finish(one);
    assert_true(end());
    must_say("the host wrote byte 1 of the 4096 that operation");
    must_say("reads, before it has waited for that");
}

static void host_reads_early(void) {
    begin();
    copy_from(host + 8, a, 4096, one);
    event_record(first, one);
    copy_from(host + 8000, a, 16, one);
    assert_int_equal(event_finish(first), 0);
    volatile unsigned char byte = host[9]; /* waited for */
    byte = host[8003];
    (void)byte;
    stream_finish(one);
    assert_true(end());
    must_say("the host read byte 3 of the 16 that operation");
    must_say("writes, before it has waited for that");
}

static void test_host(void **state) {
    (void)state;
    each_order(host_waits);
    each_order(host_writes_early);
    each_order(host_reads_early);
}

/* -- Captures. */

static void join(Handle from, Handle to, Handle event) {
    assert_int_equal(event_record(event, from), 0);
    assert_int_equal(stream_wait(to, event, 0), 0);
}

static void test_capture_rules(void **state) {
    (void)state;
    Handle graph = NULL;
    begin();
    event_record(first, two); /* from before */
    capture_begin(one, 1);
    assert_int_equal(stream_wait(one, first, 0), ISOLATION);
    assert_int_equal(fill(a, 1, BYTES, one), INVALIDATED);
    assert_int_equal(capture_end(one, &graph), INVALIDATED);
    assert_null(graph);

    capture_begin(one, 1);
    join(one, two, first);
    assert_int_equal(capture_end(two, &graph), UNMATCHED);
    assert_int_equal(event_finish(first), CAPTURED_EVENT);
    assert_int_equal(capture_end(one, &graph), INVALIDATED);
    assert_int_equal(stream_wait(two, first, 0), CAPTURED_EVENT);

    capture_begin(one, 1);
    join(one, two, first);
    assert_int_equal(fill(a, 1, BYTES, two), 0);
    assert_int_equal(capture_end(one, &graph), UNJOINED);
    assert_null(graph);

    capture_begin(one, 1);
    capture_begin(two, 1);
    event_record(first, one);
    assert_int_equal(stream_wait(two, first, 0), MERGE);
    assert_int_equal(capture_end(one, &graph), INVALIDATED);
    assert_int_equal(capture_end(two, &graph), INVALIDATED);

    capture_begin(one, 1);
    assert_int_equal(stream_finish(one), UNSUPPORTED);
    assert_int_equal(capture_end(one, &graph), INVALIDATED);
    assert_false(end());
}

/* Two streams take turns on `a` and on `b`; the graph is launched twice. */
static void fork_run(void) {
    Handle graph, exec;
    assert_int_equal(capture_begin(one, 1), 0);
    fill(a, 11, BYTES, one);
    join(one, two, first);
    copy_on(b, a, BYTES, two);
    join(two, one, second);
    fill(a, 12, BYTES, one);
    join(one, two, first);
    copy_on(b, a, BYTES / 2, two);
    join(two, one, second);
    fill(b + BYTES / 4, 13, BYTES / 2, one);
    assert_int_equal(capture_end(one, &graph), 0);
    assert_int_equal(graph_make(&exec, graph, 0), 0);
    assert_int_equal(graph_free(graph), 0);
    for (int i = 0; i < 2; i++) {
        graph_launch(exec, one);
    }
    stream_finish(one);
    graph_exec_free(exec);
}

static void fork_whole(void) {
    begin();
    fork_run();
    copy_from(host, b, BYTES, one);
    assert_int_equal(stream_finish(one), 0);
    assert_true(host[0] == 12 && host[BYTES / 2] == 13 && host[BYTES - 1] == 11);
    assert_false(end());
}

static int n_found;
static void fork_without_one(void) {
    begin();
    fork_run();
    n_found += end();
}

/* Runs without wait number `wait`, which must be found missing in every order, or in none. */
static void without_wait(int wait, void (*run)(void), bool is_needed) {
    char number[16];
    snprintf(number, sizeof number, "%d", wait);
    setenv("DLC_CUDASIM_LEAVE_OUT", number, 1);
    n_found = 0;
    each_order(run);
    unsetenv("DLC_CUDASIM_LEAVE_OUT");
    settings_again();
    if (n_found != (is_needed ? N_ORDERS : 0)) {
        fail_msg("without wait %d: found in %d of %d orders", wait, n_found, N_ORDERS);
    }
    must_say("left out: that ");
}

/* Of its four events each is needed. */
static void test_capture_fork(void **state) {
    (void)state;
    each_order(fork_whole);
    for (int i = 1; i <= 4; i++) {
        without_wait(i, fork_without_one, true);
    }
}

/* -- Waits of streams and of the host, left out one at a time. */

static void turns_run(void) {
    for (int i = 0; i < 3; i++) {
        memset(host, 40 + i, 4096);
        copy_to(b, host, 4096, two);
        event_record(second, two);
        stream_wait(one, second, 0);
        copy_on(a, b, 4096, one);
        event_record(first, one);
        stream_wait(two, first, 0);
        event_finish(second);
    }
}

static void turns_without_one(void) {
    begin();
    turns_run();
    stream_finish(one);
    n_found += end();
}

static void test_waits(void **state) {
    (void)state;
    begin();
    turns_run();
    assert_int_equal(waits(), 9);
    assert_false(end());
    for (int i = 1; i <= 9; i++) {
        without_wait(i, turns_without_one, i <= 7); /* after the last two there is nothing */
    }
}

static void get(const char *name, void *to) {
    void *symbol = dlsym(libcuda, name);
    if (!symbol) {
        printf("no %s\n", name);
        exit(1);
    }
    memcpy(to, &symbol, sizeof symbol);
}

int main(void) {
    char path[1024];
    int file = mkstemp(report_path);
    snprintf(path, sizeof path, "%s/libcuda.so.1", getenv("DLC_CUDA_PATH"));
    libcuda = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (file < 0 || !libcuda) {
        printf("%s\n", libcuda ? report_path : dlerror());
        return 1;
    }
    close(file);
    setenv("DLC_CUDASIM_REPORT", report_path, 1);
#define X(SYMBOL, NAME, PARAMETERS) get(SYMBOL, &NAME);
    ENTRIES(X)
#undef X
    get("dlcsim_faults", &faults);
    get("dlcsim_live", &live);
    get("dlcsim_waits", &waits);
    get("dlcsim_settings_again", &settings_again);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_memory), cmocka_unit_test(test_pinned_memory),
        cmocka_unit_test(test_host),          cmocka_unit_test(test_capture_rules),
        cmocka_unit_test(test_capture_fork),  cmocka_unit_test(test_waits),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(report_path);
    return failed;
}
