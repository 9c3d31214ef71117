/* What a run of an entry on two queues asks of the device, call by call: the queues begin behind
 * queue 0, events are recorded and waited for where the commands say so, and the run ends when all
 * queues have; a device that has no second queue is given all on the first, and no events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/session/session.h"
#include "tests/unit/plan_sample.h"

#include <stdio.h>

/* Calls so far, two letters each: copy, record, wait and the queue's number. */
static char calls[512];
static bool has_more;

static void note(char what, const DeviceQueue *queue) {
    size_t at = strlen(calls);
    assert_true(at + 3 < sizeof(calls));
    calls[at] = what;
    calls[at + 1] = queue == queue->device->queue ? '0' : '1';
    calls[at + 2] = '\0';
}

static dlc_status noted_create(Device *device, bool background, DeviceQueue **out) {
    return has_more ? device_null.queue_create(device, background, out) : DLC_ERROR_UNSUPPORTED;
}

static dlc_status noted_copy(DeviceQueue *queue, void *to, const void *from, size_t bytes,
                             const uint8_t *if_set) {
    note('c', queue);
    return device_null.copy(queue, to, from, bytes, if_set);
}

static dlc_status noted_record(DeviceEvent *event, DeviceQueue *queue) {
    note('r', queue);
    return device_null.event_record(event, queue);
}

static dlc_status noted_wait(DeviceEvent *event, DeviceQueue *queue) {
    note('w', queue);
    return device_null.event_wait(event, queue);
}

static void run(dlc_context *context, dlc_session_options options) {
    DeviceOps ops = device_null;
    size_t n_bytes = 0;
    uint8_t *bytes = plan_sample(&n_bytes);
    dlc_plan *plan;
    dlc_session *session;
    float x[8] = {0};
    ops.queue_create = noted_create;
    ops.copy = noted_copy;
    ops.event_record = noted_record;
    ops.event_wait = noted_wait;
    ops.record = NULL;
    options.struct_size = sizeof(options);
    options.no_libraries = 1;
    assert_non_null(bytes);
    assert_int_equal(dlc_plan_load_memory(context, bytes, n_bytes, "a.plan", 0, &plan), DLC_OK);
    assert_int_equal(session_create_on(plan, &options, &ops, 1, &session), DLC_OK);
    DLTensor rows = {.data = x,
                     .device = {kDLCPU, 0},
                     .ndim = 2,
                     .dtype = {kDLFloat, 32, 1},
                     .shape = (int64_t[]){2, 4}};
    assert_int_equal(dlc_set_input(session, "infer", "x", &rows), DLC_OK);
    calls[0] = '\0';
    if (dlc_run(session, "infer") != DLC_OK) {
        fail_msg("%s", dlc_last_error(context));
    }
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
    free(bytes);
}

/* Fork; two copies aside, and the event behind them; the loop waits for it, copies in each of its
 * two turns; the store; join. */
static const char apart[] = "r0w1c1c1r1w0c0c0c0r1w0";
static const char together[] = "c0c0c0c0c0";

static void expect(const char *wanted) {
    if (strncmp(calls, wanted, strlen(wanted)) != 0) {
        fail_msg("asked %s, not %s…", calls, wanted);
    }
}

static void test_apart(void **state) {
    has_more = true;
    run(*state, (dlc_session_options){.threads = 1});
    expect(apart);
}

static void test_one_alone(void **state) {
    has_more = false;
    run(*state, (dlc_session_options){.threads = 1});
    expect(together);
}

/* Fills of births and deaths are in the order of the commands. */
static void test_poisoned(void **state) {
    has_more = true;
    run(*state, (dlc_session_options){.threads = 1, .poison = 1});
    expect(together);
}

static int setup(void **state) {
    return dlc_context_create(NULL, (dlc_context **)state) == DLC_OK ? 0 : -1;
}

static int teardown(void **state) {
    dlc_context_destroy(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_poisoned, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
