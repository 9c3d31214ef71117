/* A training step in parts (DLC_COMPILE_ACCUMULATE) is the step of the whole batch: losses and
 * metrics, weighted ones too, parameters, and random numbers; states see part after part. And what
 * dlc_session_fit says fits is what the limit holds, to the byte. */
#include "dlc/dlc.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 12, WIDTH = 6, STEPS = 3 };

/* Weights differ so much between rows that no mean over parts of equal length is the weighted one.
 */
static const char model[] = "dim B\n"
                            "model m(x: f32[B, 6], w: f32[B]) {\n"
                            "    state total: [] = zeros\n"
                            "    state turns: [] = zeros\n"
                            "    total <- total + sum(x)\n"
                            "    turns <- turns + 1.0\n"
                            "    h = x |> linear(8) as a |> tanh |> dropout(0.5)\n"
                            "    p = h |> linear(1) as b |> {b o -> (b o)}\n"
                            "    e = square(p - 1.0)\n"
                            "    output p\n"
                            "    metric weighted = sum(w * e) over sum(w)\n"
                            "    metric plain = mean(e)\n"
                            "    loss main = sum(w * e) over sum(w)\n"
                            "    loss small = 0.1 * mean(square(h))\n"
                            "}\n"
                            "train m { optimizer sgd(lr=0.1); batch 12; seed 7 }\n";

typedef struct Fixture {
    dlc_context *context;
    dlc_plan *plan;
} Fixture;

#define OK(f, call)                                                                                \
    do {                                                                                           \
        if ((call) != DLC_OK) {                                                                    \
            fail_msg("%s: %s", #call, dlc_last_error((f)->context));                               \
        }                                                                                          \
    } while (0)

static int setup(void **state) {
    static Fixture f;
    f = (Fixture){0};
    assert_int_equal(dlc_context_create(NULL, &f.context), DLC_OK);
    dlc_compile_options options = {.struct_size = sizeof(options), .flags = DLC_COMPILE_ACCUMULATE};
    if (dlc_compile(f.context, model, strlen(model), &options, &f.plan) != DLC_OK) {
        fail_msg("%s", dlc_diagnostics_text(f.context, 0));
    }
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    dlc_plan_destroy(f->plan);
    dlc_context_destroy(f->context);
    return 0;
}

static dlc_session *open_session(Fixture *f) {
    dlc_session_options options = {.struct_size = sizeof(options), .threads = 1, .accumulate = 1};
    dlc_session *session = NULL;
    OK(f, dlc_session_create(f->plan, &options, &session));
    OK(f, dlc_init_weights(session));
    return session;
}

/* What a run of a few steps leaves. */
typedef struct Outcome {
    double losses[STEPS], weighted[STEPS], plain[STEPS], total, turns, a[8], b[8];
} Outcome;

static double metric(const dlc_step_info *info, const char *name) {
    for (size_t i = 0; i < info->n_metrics; i++) {
        if (strcmp(info->metrics[i].name, name) == 0) {
            return info->metrics[i].value;
        }
    }
    fail_msg("there is no metric %s", name);
    return 0;
}

static void read_variable(Fixture *f, dlc_session *session, const char *name, double *out, int n) {
    const DLTensor *view;
    OK(f, dlc_view_variable(session, name, &view));
    for (int i = 0; i < n; i++) {
        out[i] = (double)((const float *)view->data)[i];
    }
}

static void set_batch(Fixture *f, dlc_session *session, int step) {
    static float x[ROWS * WIDTH], w[ROWS];
    for (int i = 0; i < ROWS * WIDTH; i++) {
        x[i] = (float)sin(1.7 * i + step);
    }
    for (int i = 0; i < ROWS; i++) {
        w[i] = (float)(1 + i * i + step);
    }
    int64_t x_shape[] = {ROWS, WIDTH}, w_shape[] = {ROWS};
    DLTensor data = {
        .data = x, .device = {kDLCPU, 0}, .ndim = 2, .dtype = {kDLFloat, 32, 1}, .shape = x_shape};
    OK(f, dlc_set_input(session, "train", "x", &data));
    data.data = w;
    data.ndim = 1;
    data.shape = w_shape;
    OK(f, dlc_set_input(session, "train", "w", &data));
}

static Outcome run_in(Fixture *f, int64_t parts) {
    Outcome out = {0};
    dlc_session *session = open_session(f);
    OK(f, dlc_session_bind(session, "accumulate", parts));
    for (int step = 0; step < STEPS; step++) {
        dlc_step_info info = {.struct_size = sizeof(info)};
        set_batch(f, session, step);
        OK(f, dlc_train_step(session, &info));
        out.losses[step] = info.loss;
        out.weighted[step] = metric(&info, "weighted");
        out.plain[step] = metric(&info, "plain");
    }
    read_variable(f, session, "total", &out.total, 1);
    read_variable(f, session, "turns", &out.turns, 1);
    read_variable(f, session, "a.weight", out.a, 8);
    read_variable(f, session, "b.weight", out.b, 8);
    dlc_session_destroy(session);
    return out;
}

static void assert_near(int64_t parts, const char *what, int at, double got, double wanted) {
    if (!(fabs(got - wanted) <= 2e-5 * (1 + fabs(wanted)))) {
        fail_msg("in %d parts, %s %d: %.9g instead of %.9g", (int)parts, what, at, got, wanted);
    }
}

static void test_parts(void **state) {
    Fixture *f = *state;
    const Outcome whole = run_in(f, 1);
    static const int64_t counts[] = {2, 3, 12};
    for (int k = 0; k < 3; k++) {
        int64_t parts = counts[k];
        const Outcome got = run_in(f, parts);
        for (int i = 0; i < STEPS; i++) {
            assert_near(parts, "loss of step", i, got.losses[i], whole.losses[i]);
            assert_near(parts, "weighted mean of step", i, got.weighted[i], whole.weighted[i]);
            assert_near(parts, "plain mean of step", i, got.plain[i], whole.plain[i]);
        }
        for (int i = 0; i < 8; i++) {
            assert_near(parts, "a.weight", i, got.a[i], whole.a[i]);
            assert_near(parts, "b.weight", i, got.b[i], whole.b[i]);
        }
        assert_near(parts, "sum over all rows", 0, got.total, whole.total);
        assert_near(parts, "turns", 0, got.turns, (double)(parts * STEPS));
    }
    assert_near(1, "turns", 0, whole.turns, STEPS);
}

/* What one part needs is enough for it, a byte less is not. */
static void test_fit(void **state) {
    Fixture *f = *state;
    dlc_session *session = open_session(f);
    set_batch(f, session, 0);
    dlc_fit fit = {.struct_size = sizeof(fit)};
    OK(f, dlc_session_fit(session, 1200, INT64_MAX, &fit));
    assert_int_equal(fit.parts, 1);
    int64_t needed = fit.needed_bytes;
    assert_true(needed > 0);
    dlc_session_destroy(session);

    session = open_session(f);
    OK(f, dlc_session_fit(session, 1200, needed, &fit));
    assert_int_equal(fit.parts, 1);
    assert_int_equal(fit.limit_bytes, needed);
    dlc_session_destroy(session);

    session = open_session(f);
    OK(f, dlc_session_fit(session, 1200, needed - 1, &fit));
    assert_int_equal(fit.parts, 2);
    assert_true(fit.needed_bytes < needed);
    assert_int_equal(dlc_session_bind(session, "accumulate", 2), DLC_OK); /* bound so */
    dlc_session_destroy(session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_fit),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
