/* Training steps by the API: the planned length, averages of parameters, numbers by name. */
#include "tests/unit/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 4 };

static void assert_near(double got, double wanted, double tolerance) {
    if (!(fabs(got - wanted) <= tolerance)) {
        fail_msg("%.9g instead of %.9g", got, wanted);
    }
}

static int setup(void **state) {
    dlc_context *context = NULL;
    assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
    *state = context;
    return 0;
}

static int teardown(void **state) {
    dlc_context_destroy(*state);
    return 0;
}

static dlc_plan *compile(dlc_context *context, const char *block, const char *float_type) {
    char text[2048];
    snprintf(text, sizeof(text),
             "dim B\n"
             "model line(x: [B, 1], y: [B, 1]) {\n"
             "    param w: [1] = ones\n"
             "    p = x * w\n"
             "    output p\n"
             "    metric error = mean(abs(p - y))\n"
             "    loss square_error = mse(p, y)\n"
             "    loss size = 0.25 * sum(w * w)\n"
             "}\n"
             "train line { %s }\n",
             block);
    dlc_compile_options options = {.struct_size = sizeof(options), .float_type = float_type};
    return api_compile(context, text, &options);
}

static void set_numbers(dlc_context *context, dlc_session *session, const char *entry,
                        const char *name, float value) {
    float values[ROWS] = {value, value, value, value};
    int64_t shape[] = {ROWS, 1};
    DLTensor tensor = api_floats(values, 2, shape);
    OK(context, dlc_set_input(session, entry, name, &tensor));
}

/* A session with initial weights, whose train entry has its inputs. */
static dlc_session *open_session(dlc_context *context, dlc_plan *plan, int raw) {
    dlc_session_options options = {
        .struct_size = sizeof(options), .threads = 1, .raw_weights = raw};
    dlc_session *session = NULL;
    OK(context, dlc_session_create(plan, &options, &session));
    OK(context, dlc_init_weights(session));
    set_numbers(context, session, "train", "x", 1.0f);
    set_numbers(context, session, "train", "y", 3.0f);
    return session;
}

static double first_of(dlc_context *context, dlc_session *session, const char *variable) {
    const DLTensor *view;
    OK(context, dlc_view_variable(session, variable, &view));
    return *(const float *)view->data;
}

static double inferred(dlc_context *context, dlc_session *session) {
    const DLTensor *view;
    set_numbers(context, session, "infer", "x", 1.0f);
    OK(context, dlc_run(session, "infer"));
    OK(context, dlc_view_output(session, "infer", NULL, &view));
    return *(const float *)view->data;
}

/* `steps` is the train block's from the first step on: half a cosine over four of them. */
static void test_planned_length(void **state) {
    dlc_context *context = *state;
    dlc_plan *plan =
        compile(context, "optimizer sgd(lr=cosine(0.1, total=steps)); batch 4; steps 4", NULL);
    dlc_session *session = open_session(context, plan, 0);
    int64_t steps = 0;
    OK(context, dlc_get_counter(session, "steps", &steps));
    assert_int_equal(steps, 4);
    for (int step = 0; step < 4; step++) {
        dlc_step_info info = {.struct_size = sizeof(info)};
        OK(context, dlc_train_step(session, &info));
        double wanted = 0.05 * (1 + cos(3.14159265358979 * step / 4));
        assert_near(info.lr, wanted, 1e-7);
        static const char *const names[] = {"square_error", "size", "error", "lr", "grad_norm"};
        assert_int_equal(info.n_metrics, 5);
        for (int i = 0; i < 5; i++) {
            assert_string_equal(info.metrics[i].name, names[i]);
        }
        assert_near(info.metrics[0].value + info.metrics[1].value, info.loss, 1e-6);
        assert_int_equal(info.steps, 4);
    }
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

/* A length that only data tell is an error to read, until it is set. */
static void test_unknown_length(void **state) {
    dlc_context *context = *state;
    static const char *const reads[] = {"steps", "steps_per_epoch"};
    for (int i = 0; i < 2; i++) {
        char block[128];
        snprintf(block, sizeof(block), "optimizer sgd(lr=cosine(0.1, total=%s)); batch 4; epochs 3",
                 reads[i]);
        dlc_plan *plan = compile(context, block, NULL);
        dlc_session *session = open_session(context, plan, 0);
        int64_t value;
        assert_int_equal(dlc_get_counter(session, reads[i], &value), DLC_ERROR_NOT_FOUND);
        assert_int_equal(dlc_train_step(session, NULL), DLC_ERROR_NOT_FOUND);
        assert_non_null(strstr(dlc_last_error(context), reads[i]));
        assert_non_null(strstr(dlc_last_error(context), "dlc_set_counter"));
        assert_int_equal(dlc_run(session, "train"), DLC_ERROR_NOT_FOUND);
        dlc_bench_options quick = {.struct_size = sizeof(quick), .repeats = 1, .warmup = 1};
        dlc_bench_result result = {.struct_size = sizeof(result)};
        OK(context, dlc_bench(session, "train", &quick, &result));
        assert_int_equal(dlc_train_step(session, NULL), DLC_ERROR_NOT_FOUND);
        OK(context, dlc_set_counter(session, reads[i], 10));
        OK(context, dlc_train_step(session, NULL));
        dlc_session_destroy(session);
        dlc_plan_destroy(plan);
    }
}

/* A session that trains step by step saves what it can load: whether it knows the length or not,
 * and beyond a length that its own loop does not keep to. */
static void test_step_by_step(void **state) {
    dlc_context *context = *state;
    static const char *const lengths[] = {"", "; epochs 2", "; steps 3"};
    for (int i = 0; i < 3; i++) {
        char block[128], folder[] = "/tmp/dlc-steps-XXXXXX", remove[64];
        assert_non_null(mkdtemp(folder));
        snprintf(block, sizeof(block), "optimizer sgd(lr=0.1); batch 4%s", lengths[i]);
        dlc_plan *plan = compile(context, block, NULL);
        dlc_session *session = open_session(context, plan, 0), *other;
        OK(context, dlc_set_scalar(session, "step", 0.0));
        OK(context, dlc_checkpoint_save(session, folder)); /* a counter, as a real number too */
        for (int step = 0; step < 5; step++) {
            OK(context, dlc_train_step(session, NULL));
        }
        double wanted = first_of(context, session, "w");
        OK(context, dlc_checkpoint_save(session, folder));
        other = open_session(context, plan, 0);
        OK(context, dlc_checkpoint_load(other, folder));
        int64_t step = 0;
        OK(context, dlc_get_counter(other, "step", &step));
        assert_int_equal(step, 5);
        assert_true(first_of(context, other, "w") == wanted);
        char *text = NULL;
        OK(context, dlc_weights_describe(context, folder, 0, &text));
        assert_non_null(strstr(text, i < 2 ? "step 5, seed" : "step 5 of 3, seed"));
        dlc_text_free(context, text);
        dlc_session_destroy(other);
        dlc_session_destroy(session);
        dlc_plan_destroy(plan);
        snprintf(remove, sizeof(remove), "rm -r %s", folder);
        assert_int_equal(system(remove), 0);
    }
}

/* Every call uses the averages where a plan has them; the option gives the parameters. */
static void test_averages(void **state) {
    dlc_context *context = *state;
    dlc_plan *plan = compile(context, "optimizer sgd(lr=0.1); batch 4; ema 0.5", NULL);
    for (int raw = 0; raw < 2; raw++) {
        dlc_session *session = open_session(context, plan, raw);
        assert_near(inferred(context, session), 1.0, 0);
        for (int step = 0; step < 2; step++) {
            OK(context, dlc_train_step(session, NULL));
        }
        double own = first_of(context, session, "w"), mean = first_of(context, session, "w#ema");
        assert_true(own > mean + 0.05);
        assert_near(inferred(context, session), raw ? own : mean, 1e-7);
        set_numbers(context, session, "eval", "x", 1.0f);
        set_numbers(context, session, "eval", "y", 3.0f);
        OK(context, dlc_run(session, "eval"));
        dlc_metric metrics[8];
        size_t count = 0;
        OK(context, dlc_metrics(session, "eval", metrics, 8, &count));
        assert_string_equal(metrics[0].name, "error");
        assert_near(metrics[0].value, 3.0 - (raw ? own : mean), 1e-6);
        /* the step goes on from the parameters */
        OK(context, dlc_train_step(session, NULL));
        assert_true(first_of(context, session, "w") > own);
        /* a value given is what is inferred from */
        float given = -2.0f;
        int64_t shape[] = {1};
        DLTensor value = api_floats(&given, 1, shape);
        OK(context, dlc_set_variable(session, "w", &value));
        assert_near(inferred(context, session), -2.0, 0);
        dlc_session_destroy(session);
    }
    dlc_plan_destroy(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_planned_length),
        cmocka_unit_test(test_unknown_length),
        cmocka_unit_test(test_step_by_step),
        cmocka_unit_test(test_averages),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
