/* Exchanges that go on beside their ranks' work, where a run ends in an error that all ranks meet
 * meanwhile: nothing is left under way, and the next run is right. */
#include "dlc/dlc.h"
#include "tests/unit/api.h"

#include <stdbool.h>
#include <stdio.h>

enum { ROWS = 7, COLUMNS = 6 };

/* The sum is under way when the check looks at the weights, and when it fails. */
static const char text[] =
    "module \"m\" {\n    mesh data = *\n    dim B in 0.. = 5\n"
    "    dim B.data is piece of B over \"data\"\n}\n\n"
    "func \"m.infer\" infer has sharded (\n"
    "    %0: f64[B.data, 6] = input \"x\" of f64[B, 6] cut 0 (1, B, 1) over \"data\",\n"
    "    %1: f64[6] = input \"w\"\n) {\n"
    "    %2 = reduce_sum %0 {axes = [0]} : f64[6]\n"
    "    %3 = all_reduce %2 {combine = \"add\", over = \"data\"} : f64[6]\n"
    "    %4 = reduce_max %1 {axes = [0]} : f64[]\n"
    "    %5 = constant {value = 100, dtype = f64, shape = []} : f64[]\n"
    "    %6 = lt %4, %5 : bool[]\n"
    "    check %6 {text = \"w is too large\"}\n"
    "    %7 = all_reduce %3 {combine = \"max\", over = \"data\"} : f64[6]\n"
    "    yield %7\n} -> (\n    output \"y\"\n)\n";

static void inputs_set(dlc_context *context, dlc_session *session, double weight) {
    double x[ROWS * COLUMNS], w[COLUMNS];
    int64_t rows[] = {ROWS, COLUMNS};
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        x[i] = i;
    }
    for (int c = 0; c < COLUMNS; c++) {
        w[c] = weight + c;
    }
    DLTensor of_x = api_tensor(x, 2, rows, kDLFloat, 64);
    DLTensor of_w = api_tensor(w, 1, rows + 1, kDLFloat, 64);
    OK(context, dlc_set_input(session, NULL, "x", &of_x));
    OK(context, dlc_set_input(session, NULL, "w", &of_w));
}

static void runs_well(dlc_context *context, dlc_session *session) {
    const DLTensor *y;
    inputs_set(context, session, 2);
    OK(context, dlc_run(session, NULL));
    OK(context, dlc_view_output(session, NULL, "y", &y));
    for (int c = 0; c < COLUMNS; c++) {
        double sum = 0;
        for (int r = 0; r < ROWS; r++) {
            sum += r * COLUMNS + c;
        }
        assert_true(((const double *)y->data)[c] == sum);
    }
}

static void test_check_fails(void **state) {
    (void)state;
    dlc_context *context;
    assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .flags = DLC_COMPILE_INPUT_IR | DLC_COMPILE_VERIFY_EACH};
    dlc_plan *plan = api_compile(context, text, &options);
    for (int n = 1; n <= 8; n++) {
        char device[16];
        dlc_session *session = NULL;
        snprintf(device, sizeof(device), "cpu*%d", n);
        dlc_session_options of_session = {.struct_size = sizeof(of_session), .device = device};
        OK(context, dlc_session_create(plan, &of_session, &session));
        runs_well(context, session);
        for (int again = 0; again < 3; again++) {
            inputs_set(context, session, 98);
            assert_int_equal(dlc_run(session, NULL), DLC_ERROR_FAULT);
            assert_non_null(strstr(dlc_last_error(context), "w is too large"));
        }
        runs_well(context, session);
        dlc_session_destroy(session);
    }
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
}

/* The first exchange goes on until the second, which is behind the check. */
static void schedule_look(void *user, const char *stage, const char *schedule) {
    if (strcmp(stage, "schedule") != 0) {
        return;
    }
    const char *first = strstr(schedule, "exchange all_reduce add");
    const char *check = first ? strstr(first, "check ") : NULL;
    const char *second = check ? strstr(check, "exchange all_reduce max") : NULL;
    const char *queue = first ? strstr(first, " on queue 1") : NULL;
    const char *wait = second ? strstr(second, " after e") : NULL;
    *(bool *)user = queue && queue < strchr(first, '\n') && wait && wait < strchr(second, '\n');
}

/* What the tests here are about is in the plan. */
static void test_goes_on(void **state) {
    (void)state;
    dlc_context *context;
    bool found = false;
    assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .flags = DLC_COMPILE_INPUT_IR,
                                   .emit = "schedule",
                                   .on_text = schedule_look,
                                   .user = &found};
    dlc_plan_destroy(api_compile(context, text, &options));
    assert_true(found);
    dlc_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goes_on),
                                       cmocka_unit_test(test_check_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
