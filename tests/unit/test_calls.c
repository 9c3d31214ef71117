/* Calls of libraries in the executor, on a device made for it: the null device with a library that
 * multiplies matrices the plain way, and counts what it is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/device.h"
#include "runtime/session/session.h"
#include "tests/unit/plan_sample.h"

#include <stdio.h>

struct DeviceCallPlan {
    int64_t sizes[PLAN_MATMUL_SIZES];
};

/* cmocka runs one test after another; the device has no place for these. */
static struct {
    int asked, made, freed, called, launched;
    bool refuses, fails;
    int32_t alignment[5];
    char log[2048];
} seen;

/* What a library leaves behind that gave up half-way. */
static DeviceCallPlan half_made;

static dlc_status library_prepare(DeviceQueue *queue, const DeviceCall *call,
                                  DeviceCallPlan **out) {
    Device *device = queue->device;
    seen.asked++;
    if (seen.refuses || seen.fails) {
        *out = &half_made;
        snprintf(device->error, sizeof(device->error), "the library is on holiday");
        return seen.refuses ? DLC_ERROR_UNSUPPORTED : DLC_ERROR_INTERNAL;
    }
    assert_int_equal(call->kind, PLAN_LIBRARY_MATMUL);
    assert_int_equal(call->n_sizes, PLAN_MATMUL_SIZES);
    assert_true(call->present[PLAN_OPERAND_A] && call->present[PLAN_OPERAND_D]);
    assert_false(call->present[PLAN_OPERAND_C] || call->present[PLAN_OPERAND_BIAS]);
    memcpy(seen.alignment, call->alignment, sizeof(seen.alignment));
    DeviceCallPlan *plan = memory_new(&device->allocator, 1, sizeof(*plan));
    memcpy(plan->sizes, call->sizes, sizeof(plan->sizes));
    seen.made++;
    *out = plan;
    return DLC_OK;
}

static dlc_status library_call(DeviceQueue *queue, DeviceCallPlan *plan, void *const *buffers) {
    (void)queue;
    assert_ptr_not_equal(plan, &half_made);
    const int64_t *s = plan->sizes, *a = s + 4, *b = s + 7, *d = s + 13;
    const float *from_a = buffers[PLAN_OPERAND_A], *from_b = buffers[PLAN_OPERAND_B];
    float *to = buffers[PLAN_OPERAND_D];
    for (int64_t i = 0; i < s[0]; i++) {
        for (int64_t j = 0; j < s[1]; j++) {
            double sum = 0;
            for (int64_t k = 0; k < s[2]; k++) {
                sum += (double)from_a[i * a[0] + k * a[1]] * from_b[k * b[0] + j * b[1]];
            }
            to[i * d[0] + j * d[1]] = (float)sum;
        }
    }
    seen.called++;
    return DLC_OK;
}

static void library_free(Device *device, DeviceCallPlan *plan) {
    assert_ptr_not_equal(plan, &half_made);
    memory_free(&device->allocator, plan);
    seen.freed++;
}

static void library_describe(Device *device, const DeviceCallPlan *plan, char *out, size_t n_out) {
    (void)device;
    assert_ptr_not_equal(plan, &half_made);
    snprintf(out, n_out, "a library 1.0, the plain way");
}

static dlc_status counted_launch(DeviceQueue *queue, DeviceModule *module,
                                 const DeviceLaunch *launch) {
    seen.launched++;
    return device_null.launch(queue, module, launch);
}

static DeviceOps library_ops(void) {
    DeviceOps ops = device_null;
    ops.call_prepare = library_prepare;
    ops.call = library_call;
    ops.call_free = library_free;
    ops.call_describe = library_describe;
    ops.launch = counted_launch;
    return ops;
}

static void keep_log(void *user, dlc_log_level level, const char *text) {
    (void)user;
    (void)level;
    size_t at = strlen(seen.log);
    snprintf(seen.log + at, sizeof(seen.log) - at, "%s\n", text);
}

typedef struct Fixture {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
    DeviceOps ops;
} Fixture;

static int setup_filled(void **state, PlanFill *fill) {
    Fixture *f = calloc(1, sizeof(*f));
    size_t n_bytes;
    uint8_t *bytes = plan_filled(fill, NULL, &n_bytes);
    dlc_context_options options = {.struct_size = sizeof(options), .log = keep_log};
    memset(&seen, 0, sizeof(seen));
    f->ops = library_ops();
    assert_int_equal(dlc_context_create(&options, &f->context), DLC_OK);
    assert_int_equal(dlc_plan_load_memory(f->context, bytes, n_bytes, "a.plan", 0, &f->plan),
                     DLC_OK);
    free(bytes);
    *state = f;
    return 0;
}

static int setup(void **state) {
    return setup_filled(state, sample_fill);
}

/* Commands of the sample's loop: a copy, then the launch that a library may do. */
enum { AT_COPY = 3, AT_LAUNCH = 4 };

/* The call's first operand moves by a number at each turn. */
static void moving_fill(PlanWriter *w, Context *context, Module *module, void *user) {
    sample_fill(w, context, module, user);
    TargetTables *t = w->targets.items[0];
    const ProgramInstr code[] = {{PROGRAM_VAR, 1}, {PROGRAM_CONST, 4}, {PROGRAM_MUL, 0}};
    PlanProgram offset = {.first = (int32_t)w->programs.count, .count = 3};
    for (int i = 0; i < 3; i++) {
        VEC_PUSH(w->arena, &w->programs, code[i]);
    }
    t->refs.items[t->commands.items[AT_LAUNCH].first_ref + 1].offset = offset;
}

static int setup_moving(void **state) {
    return setup_filled(state, moving_fill);
}

/* A call stands for two launches, the copy's place being the first one's. */
static void covering_fill(PlanWriter *w, Context *context, Module *module, void *user) {
    sample_fill(w, context, module, user);
    TargetTables *t = w->targets.items[0];
    PlanCommand *first = &t->commands.items[AT_COPY], *second = &t->commands.items[AT_LAUNCH];
    int32_t first_ref = first->first_ref;
    *first = *second;
    first->first_ref = first_ref;
    second->library = -1;
    t->libraries.items[0].more = 1;
}

static int setup_covering(void **state) {
    return setup_filled(state, covering_fill);
}

static int teardown(void **state) {
    Fixture *f = *state;
    dlc_session_destroy(f->session);
    dlc_plan_destroy(f->plan);
    dlc_context_destroy(f->context);
    assert_int_equal(seen.made, seen.freed);
    free(f);
    return 0;
}

static void open_session(Fixture *f, bool no_libraries) {
    dlc_session_options options = {.struct_size = sizeof(options), .no_libraries = no_libraries};
    assert_int_equal(session_create_on(f->plan, &options, &f->ops, 1, &f->session), DLC_OK);
    float w[4] = {3, 2, 3, 4};
    int64_t four = 4;
    DLTensor weight = {
        .data = w, .device = {kDLCPU, 0}, .ndim = 1, .dtype = {kDLFloat, 32, 1}, .shape = &four};
    assert_int_equal(dlc_set_variable(f->session, "fc.weight", &weight), DLC_OK);
}

static dlc_status run_rows(Fixture *f, int64_t rows) {
    float x[64] = {0};
    int64_t shape[2] = {rows, 4};
    DLTensor tensor = {
        .data = x, .device = {kDLCPU, 0}, .ndim = 2, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    assert_int_equal(dlc_set_input(f->session, NULL, "x", &tensor), DLC_OK);
    return dlc_run(f->session, NULL);
}

/* A row squares the first number: the loop swaps its buffers, and the call follows them. */
static void test_called(void **state) {
    Fixture *f = *state;
    open_session(f, false);
    assert_int_equal(run_rows(f, 2), DLC_OK);
    assert_int_equal(seen.asked, 1);
    assert_int_equal(seen.called, 2);
    assert_int_equal(seen.launched, 0);
    const DLTensor *out;
    assert_int_equal(dlc_view_variable(f->session, "fc.weight", &out), DLC_OK);
    assert_true(((const float *)out->data)[0] == 81);
    assert_int_equal(seen.alignment[PLAN_OPERAND_A], 64);
    assert_int_equal(run_rows(f, 2), DLC_OK);
    assert_int_equal(seen.asked, 1); /* once a binding of the sizes */
    assert_int_equal(run_rows(f, 3), DLC_OK);
    assert_int_equal(seen.asked, 2);
    assert_non_null(strstr(seen.log, "1 of 1 calls by a library 1.0\n"));
    assert_null(strstr(strstr(seen.log, "calls by") + 1, "calls by"));
}

/* An operand that moves is as aligned as its steps are, wherever it begins. */
static void test_moving(void **state) {
    Fixture *f = *state;
    open_session(f, false);
    assert_int_equal(run_rows(f, 3), DLC_OK);
    assert_int_equal(seen.called, 3);
    assert_int_equal(seen.alignment[PLAN_OPERAND_A], 4);
    assert_int_equal(seen.alignment[PLAN_OPERAND_D], 64);
}

/* The launches that a call stands for do not run beside it, and all do where the library refuses.
 */
static void test_covering(void **state) {
    Fixture *f = *state;
    open_session(f, false);
    assert_int_equal(run_rows(f, 2), DLC_OK);
    assert_int_equal(seen.called, 2);
    assert_int_equal(seen.launched, 0);
    seen.refuses = true;
    assert_int_equal(run_rows(f, 3), DLC_OK);
    assert_int_equal(seen.called, 2);
    assert_int_equal(seen.launched, 6);
}

static void test_refused(void **state) {
    Fixture *f = *state;
    seen.refuses = true;
    open_session(f, false);
    assert_int_equal(run_rows(f, 2), DLC_OK);
    assert_int_equal(run_rows(f, 3), DLC_OK);
    assert_int_equal(seen.asked, 2);
    assert_int_equal(seen.launched, 5);
    const char *said = strstr(seen.log, "generated kernels, because the library is on holiday");
    assert_non_null(said);
    assert_null(strstr(said + 1, "generated kernels"));
}

static void test_failed(void **state) {
    Fixture *f = *state;
    seen.fails = true;
    open_session(f, false);
    assert_int_equal(run_rows(f, 2), DLC_ERROR_INTERNAL);
    assert_non_null(strstr(dlc_last_error(f->context), "on holiday"));
    seen.fails = false;
    assert_int_equal(run_rows(f, 2), DLC_OK);
    assert_int_equal(seen.called, 2);
}

static void test_told_not_to(void **state) {
    Fixture *f = *state;
    open_session(f, true);
    assert_int_equal(run_rows(f, 2), DLC_OK);
    assert_int_equal(seen.asked, 0);
    assert_int_equal(seen.launched, 2);
}

/* A call whose matrices are larger than their buffers never reaches the library. */
static void test_out_of_buffer(void **state) {
    Fixture *f = *state;
    PlanFile *file = &f->plan->file;
    const PlanLibrary *library = &file->targets[0].libraries[0];
    PlanProgram *sizes = (PlanProgram *)(uintptr_t)&file->sizes[library->first_size];
    PlanProgram one = sizes[0];
    /* n of the rows' count, with columns as far apart as a row of the input: 4 is in the plan. */
    for (int32_t i = 0; i < file->n_sizes; i++) {
        int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {1000}, value = 0;
        if (plan_eval(file, file->sizes[i], vars, &value) && value == 1000) {
            sizes[1] = file->sizes[i];
        }
    }
    assert_int_not_equal(sizes[1].first, one.first);
    open_session(f, false);
    assert_int_equal(run_rows(f, 5), DLC_ERROR_FORMAT);
    assert_int_equal(seen.asked, 0);
    assert_int_equal(run_rows(f, 4), DLC_OK);
    assert_int_equal(seen.asked, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_called, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moving, setup_moving, teardown),
        cmocka_unit_test_setup_teardown(test_covering, setup_covering, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_told_not_to, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_buffer, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
