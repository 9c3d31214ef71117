/* Rematerialisation through the public API: less memory, and the same bits. */
#include "tests/unit/api.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 64, WIDTH = 16, STEPS = 3 };

static const char model[] =
    "dim B\n"
    "fn block(x: float[B, T, C]) -> float[B, T, C] {\n"
    "    q = x |> layer_norm as n1 |> linear(C) as q\n"
    "    s = softmax({b i c, b j c -> b i j}(q, q) / 4.0)\n"
    "    x = x + ({b i j, b j c -> b i c}(s, q) |> linear(C) as o |> dropout(0.1))\n"
    "    return x + (x |> layer_norm as n2 |> linear(4 * C) as up |> gelu |> linear(C) as down)\n"
    "}\n"
    "model net(x: f32[B, 8, 16], y: f32[B]) {\n"
    "    h = x\n"
    "    for i in 0..4 {\n"
    "        h = h |> block as h[i]\n"
    "    }\n"
    "    p = {b t c -> b by mean}(h |> linear(16) as head |> tanh)\n"
    "    output p\n"
    "    loss mse(p, y)\n"
    "}\n"
    "train net { optimizer adam(lr=0.01); batch 64; seed 3%s }\n";

typedef struct Run {
    double losses[STEPS];
    float weights[1024];
    long long peak;
    bool said;
} Run;

static void run(const char *settings, int64_t limit, int poison, Run *out) {
    char text[4096];
    snprintf(text, sizeof(text), model, settings);
    dlc_context *context = NULL;
    dlc_plan *plan = NULL;
    dlc_session *session = NULL;
    assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
    dlc_compile_options compile = {
        .struct_size = sizeof(compile), .memory_limit = limit, .flags = DLC_COMPILE_VERIFY_EACH};
    OK(context, dlc_compile(context, text, strlen(text), &compile, &plan));
    dlc_entry_summary summary = {.struct_size = sizeof(summary)};
    OK(context, dlc_plan_summarize(plan, "train", NULL, 0, &summary));
    out->peak = (long long)summary.peak_bytes;
    out->said = dlc_plan_setting(plan, "remat") != NULL;
    dlc_session_options options = {
        .struct_size = sizeof(options), .threads = 1 + poison % 2, .poison = poison};
    OK(context, dlc_session_create(plan, &options, &session));
    OK(context, dlc_init_weights(session));
    OK(context, dlc_set_counter(session, "steps", 100));
    static float x[ROWS * 8 * 16], y[ROWS];
    for (int i = 0; i < ROWS * 8 * 16; i++) {
        x[i] = sinf(0.37f * (float)i);
    }
    for (int i = 0; i < ROWS; i++) {
        y[i] = cosf((float)i);
    }
    int64_t x_shape[] = {ROWS, 8, 16}, y_shape[] = {ROWS};
    DLTensor xs = api_floats(x, 3, x_shape), ys = api_floats(y, 1, y_shape);
    OK(context, dlc_set_input(session, "train", "x", &xs));
    OK(context, dlc_set_input(session, "train", "y", &ys));
    for (int i = 0; i < STEPS; i++) {
        dlc_step_info info = {.struct_size = sizeof(info)};
        OK(context, dlc_train_step(session, &info));
        out->losses[i] = info.loss;
    }
    const DLTensor *weights = NULL;
    OK(context, dlc_view_variable(session, "h.1.up.weight", &weights));
    memcpy(out->weights, weights->data, sizeof(out->weights));
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
}

static void check(const char *settings, double part) {
    static Run plain, less;
    run(settings, 0, 0, &plain);
    assert_false(plain.said);
    run(settings, (int64_t)(part * (double)plain.peak), 1, &less);
    assert_true(less.said);
    if ((double)less.peak > 1.05 * part * (double)plain.peak) {
        fail_msg("%lld bytes, %lld asked for %g of it", plain.peak, less.peak, part);
    }
    assert_memory_equal(plain.losses, less.losses, sizeof(plain.losses));
    assert_memory_equal(plain.weights, less.weights, sizeof(plain.weights));
}

static void test_less_memory_same_bits(void **state) {
    (void)state;
    check("", 0.7);
}

static void test_bf16(void **state) {
    (void)state;
    check("; precision bf16", 0.8);
}

/* What cannot be reached is tried; a limit that holds changes nothing. */
static void test_limits(void **state) {
    (void)state;
    static Run plain, least, loose;
    run("", 0, 0, &plain);
    run("", 1, 2, &least);
    run("", 2 * plain.peak, 0, &loose);
    assert_true(least.peak < plain.peak && least.said);
    assert_memory_equal(plain.losses, least.losses, sizeof(plain.losses));
    assert_true(loose.peak == plain.peak && !loose.said);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_less_memory_same_bits),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests_name("remat", tests, NULL, NULL);
}
