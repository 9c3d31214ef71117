/* Mixed precision through the public API: bf16, f16 and tf32 steps against f32 ones, the scale of
 * the loss over overflows and growth, what is stored and in which type, and moving averages. */
#include "tests/unit/api.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROWS = 24, WIDTH = 12, STEPS = 30 };

/* A model with every kind of product, and with what stays in f32 between them. */
static const char model[] =
    "dim B\n"
    "model net(x: f32[B, 1, 6, 6], y: i32[B]) {\n"
    "    h = x |> conv2d(8, 3, padding=1) as c |> batch_norm as bn |> gelu\n"
    "    h = h |> {b c i j -> b c (i j)} |> linear(12) as a |> layer_norm as ln\n"
    "    s = softmax({b q d, b k d -> b q k}(h, h) / 3.0)\n"
    "    h = h + {b q k, b k d -> b q d}(s, h)\n"
    "    scan z in {b q d -> q b d}(h) carry r = zeros([B, 12]) {\n"
    "        r = tanh((r |> linear(12) as w) + z)\n"
    "        yield r\n"
    "    } -> rs\n"
    "    out = mean(rs, axis=0) |> linear(3) as head\n"
    "    output out\n"
    "    loss cross_entropy(out, y)\n"
    "}\n"
    "train net { optimizer adam(lr=0.01); clip_norm 1.0; batch 24; seed 5%s }\n";

enum { MOST_PLANS = 16 };

/* Plans are made once for each text of settings. */
typedef struct Fixture {
    dlc_context *context;
    char *settings[MOST_PLANS];
    dlc_plan *plans[MOST_PLANS];
    int n_plans;
} Fixture;

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof(*f));
    assert_int_equal(dlc_context_create(NULL, &f->context), DLC_OK);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    for (int i = 0; i < f->n_plans; i++) {
        dlc_plan_destroy(f->plans[i]);
        free(f->settings[i]);
    }
    dlc_context_destroy(f->context);
    free(f);
    return 0;
}

/* The CPU has no such arithmetic of its own. */
static const dlc_compile_options emulating = {.struct_size = sizeof(emulating),
                                              .flags = DLC_COMPILE_EMULATE_PRECISION};

static dlc_plan *compile(Fixture *f, const char *settings) {
    for (int i = 0; i < f->n_plans; i++) {
        if (strcmp(f->settings[i], settings) == 0) {
            return f->plans[i];
        }
    }
    char text[4096];
    snprintf(text, sizeof(text), model, settings);
    assert_true(f->n_plans < MOST_PLANS);
    dlc_plan *plan = api_compile(f->context, text, &emulating);
    f->settings[f->n_plans] = strdup(settings);
    f->plans[f->n_plans++] = plan;
    return plan;
}

static void fill(float *x, int32_t *y) {
    for (int i = 0; i < ROWS; i++) {
        y[i] = i % 3;
        for (int k = 0; k < 36; k++) {
            x[i * 36 + k] = sinf((float)(i * 31 + k * 7)) + (k % 3 == y[i] ? 0.7f : 0.0f);
        }
    }
}

static void set_inputs(Fixture *f, dlc_session *session, const char *entry) {
    static float x[ROWS * 36];
    static int32_t y[ROWS];
    fill(x, y);
    int64_t x_shape[] = {ROWS, 1, 6, 6}, y_shape[] = {ROWS};
    DLTensor xs = api_floats(x, 4, x_shape);
    DLTensor ys = api_tensor(y, 1, y_shape, kDLInt, 32);
    OK(f->context, dlc_set_input(session, entry, "x", &xs));
    if (strcmp(entry, "infer") != 0) {
        OK(f->context, dlc_set_input(session, entry, "y", &ys));
    }
}

static dlc_session *start(Fixture *f, dlc_plan *plan, int threads, int poison) {
    dlc_session_options options = {
        .struct_size = sizeof(options), .threads = threads, .poison = poison};
    dlc_session *session = NULL;
    OK(f->context, dlc_session_create(plan, &options, &session));
    OK(f->context, dlc_init_weights(session));
    OK(f->context, dlc_set_counter(session, "steps", 1000));
    set_inputs(f, session, "train");
    return session;
}

static double step(Fixture *f, dlc_session *session) {
    dlc_step_info info = {.struct_size = sizeof(info)};
    OK(f->context, dlc_train_step(session, &info));
    return info.loss;
}

static float number(Fixture *f, dlc_session *session, const char *name) {
    const DLTensor *tensor = NULL;
    OK(f->context, dlc_view_variable(session, name, &tensor));
    return *(const float *)tensor->data;
}

static void set_number(Fixture *f, dlc_session *session, const char *name, float value) {
    DLTensor tensor = api_floats(&value, 0, NULL);
    OK(f->context, dlc_set_variable(session, name, &tensor));
}

static void copy_weights(Fixture *f, dlc_session *session, const char *name, float *out, int n) {
    const DLTensor *tensor = NULL;
    OK(f->context, dlc_view_variable(session, name, &tensor));
    assert_int_equal(tensor->dtype.bits, 32);
    memcpy(out, tensor->data, (size_t)n * sizeof(*out));
}

static void losses(Fixture *f, const char *settings, double *out) {
    dlc_plan *plan = compile(f, settings);
    dlc_session *session = start(f, plan, 1, 0);
    for (int i = 0; i < STEPS; i++) {
        out[i] = step(f, session);
    }
    dlc_session_destroy(session);
}

/* -- Against f32 -- */

static void test_short_types_follow_f32(void **state) {
    Fixture *f = *state;
    static const char *const settings[] = {"; precision bf16", "; precision f16",
                                           "; precision bf16; accumulate 4"};
    double wide[STEPS], got[STEPS];
    losses(f, "", wide);
    assert_true(wide[STEPS - 1] < 0.6 * wide[0]);
    for (int i = 0; i < 3; i++) {
        losses(f, settings[i], got);
        bool parts = i >= 2; /* batch norm sees other batches */
        if (!parts) {
            assert_true(fabs(got[0] - wide[0]) < 0.01 * wide[0]);
            assert_true(got[0] != wide[0]);
        }
        if (fabs(got[STEPS - 1] - wide[STEPS - 1]) > (parts ? 0.3 : 0.1) * wide[0]) {
            fail_msg("%s: %g after %g, in f32 %g after %g", settings[i], got[STEPS - 1], got[0],
                     wide[STEPS - 1], wide[0]);
        }
    }
}

/* The first step of plain descent gives the gradients: all parameters against f32. */
static void test_gradients(void **state) {
    Fixture *f = *state;
    static const char *const names[] = {"c.weight",  "bn.weight", "a.weight", "a.bias",
                                        "ln.weight", "w.weight",  "w.bias",   "head.weight"};
    static const int counts[] = {72, 8, 432, 12, 12, 144, 12, 36};
    static const char *const precisions[] = {"", "; precision bf16", "; precision f16"};
    static float grads[3][8][512];
    for (int p = 0; p < 3; p++) {
        char text[4096];
        snprintf(text, sizeof(text), model, precisions[p]);
        char *at = strstr(text, "adam(lr=0.01); clip_norm 1.0");
        assert_non_null(at);
        memcpy(at, "sgd(lr=1.0)                 ", 28);
        dlc_plan *plan = NULL;
        OK(f->context, dlc_compile(f->context, text, strlen(text), &emulating, &plan));
        dlc_session *session = start(f, plan, 1, 0);
        static float before[8][512];
        for (int i = 0; i < 8; i++) {
            copy_weights(f, session, names[i], before[i], counts[i]);
        }
        step(f, session);
        for (int i = 0; i < 8; i++) {
            copy_weights(f, session, names[i], grads[p][i], counts[i]);
            for (int k = 0; k < counts[i]; k++) {
                grads[p][i][k] -= before[i][k];
            }
        }
        dlc_session_destroy(session);
        dlc_plan_destroy(plan);
    }
    for (int p = 1; p < 3; p++) {
        for (int i = 0; i < 8; i++) {
            double error = 0, norm = 0;
            for (int k = 0; k < counts[i]; k++) {
                double d = (double)grads[p][i][k] - (double)grads[0][i][k];
                error += d * d;
                norm += (double)grads[0][i][k] * (double)grads[0][i][k];
            }
            /* Some ten roundings of 2^-9 (2^-12) on the way. */
            if (!(sqrt(error) <= (p == 1 ? 0.05 : 0.00625) * sqrt(norm)) || norm == 0) {
                fail_msg("%s%s: off by %g of %g", names[i], precisions[p], sqrt(error), sqrt(norm));
            }
        }
    }
}

static void test_tf32_is_f32_here(void **state) {
    Fixture *f = *state;
    double wide[STEPS], got[STEPS];
    losses(f, "", wide);
    losses(f, "; precision tf32", got);
    assert_memory_equal(wide, got, sizeof(wide));
}

static void test_threads_and_poison(void **state) {
    Fixture *f = *state;
    dlc_plan *plan = compile(f, "; precision bf16; ema 0.9");
    double first[3] = {0};
    for (int run = 0; run < 3; run++) {
        dlc_session *session = start(f, plan, run == 1 ? 2 : 1, run);
        for (int i = 0; i < 3; i++) {
            double loss = step(f, session);
            first[i] = run == 0 ? loss : first[i];
            assert_true(loss == first[i]);
        }
        dlc_session_destroy(session);
    }
}

/* Outputs keep their type; evaluation computes as training does. */
static void test_other_entries(void **state) {
    Fixture *f = *state;
    dlc_plan *wide = compile(f, ""), *low = compile(f, "; precision bf16");
    float outputs[2][3 * ROWS];
    for (int p = 0; p < 2; p++) {
        dlc_session *session = start(f, p ? low : wide, 1, 0);
        set_inputs(f, session, "infer");
        OK(f->context, dlc_run(session, "infer"));
        const DLTensor *out = NULL;
        OK(f->context, dlc_view_output(session, "infer", "out", &out));
        assert_int_equal(out->dtype.bits, 32);
        memcpy(outputs[p], out->data, sizeof(outputs[p]));
        dlc_session_destroy(session);
    }
    double most = 0;
    for (int i = 0; i < 3 * ROWS; i++) {
        most = fmax(most, fabs((double)outputs[0][i] - (double)outputs[1][i]));
    }
    assert_true(most > 0 && most < 0.05);
}

static void test_less_memory(void **state) {
    Fixture *f = *state;
    dlc_plan *wide = compile(f, ""), *low = compile(f, "; precision bf16");
    dlc_binding binding = {"B", 4096};
    dlc_entry_summary a = {.struct_size = sizeof(a)}, b = {.struct_size = sizeof(b)};
    OK(f->context, dlc_plan_summarize(wide, "train", &binding, 1, &a));
    OK(f->context, dlc_plan_summarize(low, "train", &binding, 1, &b));
    if (b.arena_bytes > a.arena_bytes * 7 / 10) {
        fail_msg("%lld bytes in f32, %lld in bf16", (long long)a.arena_bytes,
                 (long long)b.arena_bytes);
    }
    assert_true(b.persistent_bytes == a.persistent_bytes);
}

/* -- The scale of the loss -- */

static void test_overflow(void **state) {
    Fixture *f = *state;
    dlc_plan *plan = compile(f, "; precision f16");
    dlc_session *session = start(f, plan, 1, 0);
    float before[12], after[12], slots[12], seen[8], more[8];
    assert_true(number(f, session, "#loss_scale") == 65536.0f);
    step(f, session);
    set_number(f, session, "#loss_scale", 1e12f);
    copy_weights(f, session, "a.bias", before, 12);
    copy_weights(f, session, "a.bias#exp_avg", slots, 12);
    copy_weights(f, session, "bn.running_mean", seen, 8);
    double loss = step(f, session);
    assert_true(isfinite(loss));
    assert_true(number(f, session, "#loss_scale") == 5e11f);
    assert_true(number(f, session, "#good_steps") == 0);
    copy_weights(f, session, "a.bias", after, 12);
    assert_memory_equal(before, after, sizeof(before));
    copy_weights(f, session, "a.bias#exp_avg", after, 12);
    assert_memory_equal(slots, after, sizeof(slots));
    copy_weights(f, session, "bn.running_mean", more, 8);
    assert_memory_equal(seen, more, sizeof(seen));
    int taken = 0;
    while (number(f, session, "#good_steps") == 0 && taken < 60) {
        step(f, session);
        taken++;
    }
    assert_in_range(taken, 2, 59);
    copy_weights(f, session, "a.bias", after, 12);
    assert_memory_not_equal(before, after, sizeof(before));
    dlc_session_destroy(session);
}

static void test_growth(void **state) {
    Fixture *f = *state;
    dlc_plan *plan = compile(f, "; precision f16");
    dlc_session *session = start(f, plan, 1, 0);
    set_number(f, session, "#loss_scale", 256);
    set_number(f, session, "#good_steps", 998);
    step(f, session);
    assert_true(number(f, session, "#loss_scale") == 256);
    assert_true(number(f, session, "#good_steps") == 999);
    step(f, session);
    assert_true(number(f, session, "#loss_scale") == 512);
    assert_true(number(f, session, "#good_steps") == 0);
    dlc_session_destroy(session);
}

/* What no scale can mend is an error, and stores nothing. */
static void test_hopeless(void **state) {
    Fixture *f = *state;
    static const char *const settings[] = {"; precision bf16", "; precision f16"};
    for (int i = 0; i < 2; i++) {
        dlc_plan *plan = compile(f, settings[i]);
        dlc_session *session = start(f, plan, 1, 0);
        float bad[12], kept[12], after[12];
        copy_weights(f, session, "w.bias", kept, 12);
        copy_weights(f, session, "a.bias", bad, 12);
        bad[3] = NAN;
        int64_t shape[] = {12};
        DLTensor tensor = api_floats(bad, 1, shape);
        OK(f->context, dlc_set_variable(session, "a.bias", &tensor));
        dlc_step_info info = {.struct_size = sizeof(info)};
        assert_int_equal(dlc_train_step(session, &info), DLC_ERROR_NON_FINITE);
        copy_weights(f, session, "w.bias", after, 12);
        assert_memory_equal(kept, after, sizeof(kept));
        dlc_session_destroy(session);
    }
}

/* -- Files -- */

/* A run's folder with all in it. */
static void remove_checkpoints(const char *path) {
    char command[128];
    snprintf(command, sizeof(command), "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

static void test_resume(void **state) {
    Fixture *f = *state;
    static const char *const settings[] = {"; precision f16", "; precision bf16; ema 0.9"};
    for (int i = 0; i < 2; i++) {
        char path[] = "/tmp/precision_XXXXXX";
        assert_non_null(mkdtemp(path));
        dlc_plan *plan = compile(f, settings[i]);
        dlc_session *one = start(f, plan, 1, 0), *two = start(f, plan, 2, 0);
        for (int k = 0; k < 3; k++) {
            step(f, one);
        }
        if (i == 0) {
            set_number(f, one, "#loss_scale", 1e12f);
            step(f, one);
        }
        OK(f->context, dlc_checkpoint_save(one, path));
        OK(f->context, dlc_checkpoint_load(two, path));
        for (int k = 0; k < 3; k++) {
            assert_true(step(f, one) == step(f, two));
        }
        float a[432], b[432];
        copy_weights(f, one, "a.weight", a, 432);
        copy_weights(f, two, "a.weight", b, 432);
        assert_memory_equal(a, b, sizeof(a));
        if (i == 0) {
            assert_true(number(f, one, "#loss_scale") == number(f, two, "#loss_scale"));
        }
        dlc_session_destroy(one);
        dlc_session_destroy(two);
        remove_checkpoints(path);
    }
}

/* -- Moving averages -- */

static dlc_dataset *make_data(Fixture *f) {
    static float x[ROWS * 36];
    static int32_t y[ROWS];
    fill(x, y);
    int64_t x_shape[] = {ROWS, 1, 6, 6}, y_shape[] = {ROWS};
    DLTensor xs = api_floats(x, 4, x_shape);
    DLTensor ys = api_tensor(y, 1, y_shape, kDLInt, 32);
    const DLTensor *tensors[] = {&xs, &ys};
    const char *names[] = {"x", "y"};
    dlc_dataset *data = NULL;
    OK(f->context, dlc_dataset_from_tensors(f->context, names, tensors, 2, &data));
    return data;
}

static double evaluate(Fixture *f, dlc_session *session, dlc_dataset *data) {
    dlc_metric metrics[4];
    size_t count = 0;
    OK(f->context, dlc_evaluate(session, data, ROWS, metrics, 4, &count));
    assert_int_equal(count, 1);
    return metrics[0].value;
}

/* The average is followed by hand; it is what is evaluated and saved, and steps do not see it. */
static void test_average(void **state) {
    Fixture *f = *state;
    char path[] = "/tmp/average_XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    dlc_plan *plan = compile(f, "; precision bf16; ema 0.9");
    dlc_session *session = start(f, plan, 1, 0), *plain = start(f, plan, 1, 0);
    dlc_session *loaded = start(f, plan, 1, 0);
    dlc_dataset *data = make_data(f);
    float average[432], now[432], got[432];
    copy_weights(f, session, "a.weight", average, 432);
    double before = evaluate(f, session, data);
    for (int i = 0; i < 5; i++) {
        assert_true(step(f, session) == step(f, plain));
        copy_weights(f, session, "a.weight", now, 432);
        for (int k = 0; k < 432; k++) {
            average[k] = 0.9f * average[k] + (float)(1.0 - 0.9) * now[k];
        }
        evaluate(f, session, data);
    }
    copy_weights(f, session, "a.weight#ema", got, 432);
    for (int k = 0; k < 432; k++) {
        assert_true(fabsf(got[k] - average[k]) <= 1e-6f);
    }
    assert_memory_not_equal(got, now, sizeof(now));
    OK(f->context, dlc_weights_save(session, path));
    OK(f->context, dlc_weights_load(loaded, path, NULL));
    copy_weights(f, loaded, "a.weight", now, 432);
    assert_memory_equal(got, now, sizeof(now));
    copy_weights(f, loaded, "a.weight#ema", now, 432);
    assert_memory_equal(got, now, sizeof(now));
    double own = evaluate(f, session, data);
    assert_true(own == evaluate(f, loaded, data));
    assert_true(own != before);
    dlc_dataset_destroy(data);
    dlc_session_destroy(session);
    dlc_session_destroy(plain);
    dlc_session_destroy(loaded);
    unlink(path);
}

/* Means and variances stay f32 wherever they go: read by several, picked apart, through a loop's
 * slices in and out of it. The rows lie about 1000, where 16 bits are whole numbers apart; what is
 * left of them is small, and nearly as exact in 16 bits as in 32. */
static void test_statistics(void **state) {
    Fixture *f = *state;
    static const char *const bodies[] = {
        "    mu = mean(x, axis=1) * p\n    h = (x - reshape(mu, [B, 1])) * p\n",
        "    mu = mean(x, axis=1, keepdims=true) * p\n"
        "    v = mean((x - mu) * (x - mu), axis=1, keepdims=true) * p\n"
        "    h = (x - mu) / sqrt(v) + 0.0 * (mu * v)\n",
        "    scan row in x along 0 carry s = zeros([1]) {\n        m = mean(row) * p\n"
        "        s = s + m\n        yield m\n    } -> mu\n    h = (x - mu) * p\n",
        "    mu = mean(x, axis=1, keepdims=true) * p\n"
        "    scan row in x, m in mu along 0 carry s = zeros([16]) {\n"
        "        d = (row - m) * p\n        s = s + d\n        yield d\n    } -> h\n",
        "    mu = mean(x, axis=1, keepdims=true) * p\n"
        "    scan m in mu along 0 carry s = zeros([1]) {\n        s = s + m\n"
        "        yield m * p\n    } -> again\n    h = (x - again) * p\n",
    };
    enum { N = 6 };
    static const char *const types[] = {"f32", "bf16", "f16"};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        double outputs[3][N];
        for (int t = 0; t < 3; t++) {
            char text[2048];
            snprintf(text, sizeof(text),
                     "dim B\nmodel m(x: f32[B, 16]) {\n    param p: [1] = ones\n"
                     "    param w: [16, 1] = ones\n%s    output y = {b i, i j -> b j}(h * h, w)\n"
                     "    loss sum({b i, i j -> b j}(h, w))\n}\n"
                     "train m { optimizer sgd(lr=0.1); batch 6%s%s }\n",
                     bodies[i], t ? "; precision " : "", t ? types[t] : "");
            dlc_plan *plan = NULL;
            if (dlc_compile(f->context, text, strlen(text), &emulating, &plan) != DLC_OK) {
                fail_msg("%s\n%s", dlc_last_error(f->context), dlc_diagnostics_text(f->context, 0));
            }
            dlc_session_options options = {.struct_size = sizeof(options), .threads = 1};
            dlc_session *session = NULL;
            OK(f->context, dlc_session_create(plan, &options, &session));
            OK(f->context, dlc_init_weights(session));
            float x[N * 16];
            for (int k = 0; k < N * 16; k++) {
                x[k] = 1001.25f + 3 * sinf((float)(k * k)) + (float)(k / 16);
            }
            int64_t shape[] = {N, 16};
            DLTensor xs = api_floats(x, 2, shape);
            OK(f->context, dlc_set_input(session, "infer", "x", &xs));
            OK(f->context, dlc_run(session, "infer"));
            const DLTensor *y = NULL;
            OK(f->context, dlc_view_output(session, "infer", "y", &y));
            for (int k = 0; k < N; k++) {
                outputs[t][k] = (double)((const float *)y->data)[k];
            }
            for (int k = 0; k < N; k++) {
                double wanted = outputs[0][k];
                if (!(fabs(outputs[t][k] - wanted) <= 0.01 * fabs(wanted))) {
                    fail_msg("precision %s, row %d: %g, not %g, in\n%s", types[t], k, outputs[t][k],
                             wanted, text);
                }
            }
            dlc_session_destroy(session);
            dlc_plan_destroy(plan);
        }
    }
}

/* A plan's variables are f32 whatever the precision. */
static void test_variables_are_wide(void **state) {
    Fixture *f = *state;
    dlc_plan *plan = compile(f, "; precision f16; ema 0.9");
    for (size_t i = 0; i < dlc_plan_variable_count(plan); i++) {
        dlc_tensor_info info = {.struct_size = sizeof(info)};
        OK(f->context, dlc_plan_variable(plan, i, &info));
        assert_int_equal(info.dtype.bits, 32);
    }
}

static void test_wide_programs_are_refused(void **state) {
    Fixture *f = *state;
    char text[4096];
    snprintf(text, sizeof(text), model, "; precision bf16");
    dlc_compile_options options = {.struct_size = sizeof(options), .float_type = "f64"};
    dlc_plan *plan = NULL;
    assert_int_equal(dlc_compile(f->context, text, strlen(text), &options, &plan),
                     DLC_ERROR_COMPILE);
    assert_non_null(strstr(dlc_diagnostics_text(f->context, 0), "`precision bf16`"));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_types_follow_f32),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_tf32_is_f32_here),
        cmocka_unit_test(test_threads_and_poison),
        cmocka_unit_test(test_other_entries),
        cmocka_unit_test(test_less_memory),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_hopeless),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_average),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_variables_are_wide),
        cmocka_unit_test(test_wide_programs_are_refused),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("precision", tests, setup, teardown);
}
