/* What running keeps to, seen from the API: quotients have divisors of their own, a step that
 * stores nothing does not count, a nan is found where it is, results belong to the entry that ran
 * last, caches and nothing else are reset, and a name has one role. */
#include "tests/unit/api.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct Bench {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
} Bench;

static Bench bench_open(const char *text, unsigned flags) {
    Bench b = {0};
    assert_int_equal(dlc_context_create(NULL, &b.context), DLC_OK);
    dlc_compile_options options = {.struct_size = sizeof(options), .flags = flags};
    b.plan = api_compile(b.context, text, &options);
    dlc_session_options run = {.struct_size = sizeof(run), .threads = 1, .poison = 1};
    OK(b.context, dlc_session_create(b.plan, &run, &b.session));
    OK(b.context, dlc_init_weights(b.session));
    return b;
}

static void bench_close(Bench *b) {
    dlc_session_destroy(b->session);
    dlc_plan_destroy(b->plan);
    dlc_context_destroy(b->context);
}

static float held(Bench *b, const char *name, int i) {
    const DLTensor *view;
    OK(b->context, dlc_view_variable(b->session, name, &view));
    return ((const float *)view->data)[i];
}

/* -- quotients */

/* Metrics and losses that are quotients, over batches of 3, 3, 3 and 2 rows: each sum by its own
 * divisor, beside a plain mean. */
static void test_quotients(void **state) {
    (void)state;
    enum { ROWS = 11 };
    static const char text[] =
        "dim B\nfn mean_of(x, m) { return sum(x * m) over sum(m) }\n"
        "model m(x: f32[B], m: f32[B], n: f32[B]) {\n    param w: [1] = ones\n"
        "    output y = x * w[0]\n    metric first = mean_of(x, m)\n"
        "    metric second = mean_of(x, n)\n    metric plain = mean(x)\n"
        "    loss la = mean_of(x * w[0], n)\n    loss lb = mean_of(x * w[0], m)\n}\n"
        "train m {\n    optimizer sgd(lr=0.0)\n    batch 3\n}\n";
    Bench b = bench_open(text, 0);
    float x[ROWS], m[ROWS], n[ROWS];
    double sums[6] = {0};
    for (int r = 0; r < ROWS; r++) {
        x[r] = (float)(r * r);
        m[r] = (float)(r % 3 + 1);
        n[r] = (float)(r == 10 ? 7 : r % 2);
        const double terms[6] = {x[r] * m[r], m[r], x[r] * n[r], n[r], x[r], 1};
        for (int i = 0; i < 6; i++) {
            sums[i] += terms[i];
        }
    }
    int64_t shape[] = {ROWS};
    DLTensor tensors[3] = {api_floats(x, 1, shape), api_floats(m, 1, shape),
                           api_floats(n, 1, shape)};
    const char *const names[] = {"x", "m", "n"};
    const DLTensor *const all[] = {&tensors[0], &tensors[1], &tensors[2]};
    dlc_dataset *data = NULL;
    OK(b.context, dlc_dataset_from_tensors(b.context, names, all, 3, &data));
    dlc_metric metrics[8];
    size_t count = 0;
    OK(b.context, dlc_evaluate(b.session, data, 3, metrics, 8, &count));
    const struct {
        const char *name;
        double value;
    } wanted[] = {{"first", sums[0] / sums[1]},
                  {"second", sums[2] / sums[3]},
                  {"plain", sums[4] / sums[5]},
                  {"la", sums[2] / sums[3]},
                  {"lb", sums[0] / sums[1]}};
    for (int i = 0; i < 5; i++) {
        bool found = false;
        for (size_t k = 0; k < count; k++) {
            if (strcmp(metrics[k].name, wanted[i].name) == 0) {
                found = true;
                if (fabs(metrics[k].value - wanted[i].value) > 1e-4) {
                    fail_msg("'%s' over 11 rows in batches of 3: %g, not %g", wanted[i].name,
                             metrics[k].value, wanted[i].value);
                }
            }
        }
        assert_true(found);
    }
    dlc_dataset_destroy(data);
    bench_close(&b);
}

/* -- what is no number */

static const char place_text[] =
    "dim B\nmodel m(x: f32[B, 2, 3]) {\n    param w: [2, 3] = ones\n    state seen: [2] = zeros\n"
    "    seen <- seen + 1.0\n    output y = x * w\n    loss sum(x * w)\n}\n"
    "train m {\n    optimizer sgd(lr=0.5, momentum=0.5)\n    batch 4\n}\n";

/* A step that meets a nan or an infinity stores nothing and is not counted, and the next one goes
 * on from where the last good one stopped. */
static void test_failed_steps(void **state) {
    (void)state;
    Bench b = bench_open(place_text, 0), plain = bench_open(place_text, 0);
    int64_t shape[] = {4, 2, 3};
    for (int turn = 0; turn < 3; turn++) {
        float x[24];
        for (int i = 0; i < 24; i++) {
            x[i] = (float)(i % 5) / 8;
        }
        DLTensor good = api_floats(x, 3, shape);
        OK(plain.context, dlc_set_input(plain.session, "train", "x", &good));
        OK(plain.context, dlc_train_step(plain.session, NULL));
        static const float evils[] = {(float)NAN, (float)INFINITY, 3e38F};
        x[7] = evils[turn];
        x[8] = evils[turn];
        DLTensor bad = api_floats(x, 3, shape);
        OK(b.context, dlc_set_input(b.session, "train", "x", &bad));
        dlc_status status = dlc_train_step(b.session, NULL);
        if (status != DLC_ERROR_NON_FINITE) {
            fail_msg("a step over %g: status %d", (double)evils[turn], (int)status);
        }
        x[7] = 2.0F / 8;
        x[8] = 3.0F / 8;
        OK(b.context, dlc_set_input(b.session, "train", "x", &bad));
        OK(b.context, dlc_train_step(b.session, NULL));
        int64_t steps = -1;
        OK(b.context, dlc_get_counter(b.session, "step", &steps));
        assert_int_equal(steps, turn + 1);
        static const char *const names[] = {"w", "seen"};
        for (int k = 0; k < 2; k++) {
            for (int i = 0; i < (k ? 2 : 6); i++) {
                if (held(&b, names[k], i) != held(&plain, names[k], i)) {
                    fail_msg("after a step over %g: '%s'[%d] is %g, not %g", (double)evils[turn],
                             names[k], i, (double)held(&b, names[k], i),
                             (double)held(&plain, names[k], i));
                }
            }
        }
    }
    bench_close(&b);
    bench_close(&plain);
}

/* Finite gradients whose update is not: the parameter's, or only what the optimizer keeps. */
static void test_updates_overflow(void **state) {
    (void)state;
    static const struct {
        const char *rule;
        double gradient;
        int good; /* steps until one fails, of three */
    } rows[] = {
        {"sgd(lr=1.0)", 1e10, 3},
        {"sgd(lr=1e30)", 1e10, 0},
        {"adam(lr=0.1)", 1.5e19, 3},
        {"adagrad(lr=0.1)", 1e19, 3},
        {"adagrad(lr=0.1)", 1.5e19, 1},
        {"rmsprop(lr=0.1)", 1.5e19, 3},
        {"sgd(lr=1e-9, momentum=1e25)", 1e10, 2},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 "model m(x: f32[1]) {\n    param w: [2] = ones\n    output y = x\n"
                 "    loss x[0] * w[1] * %g\n}\ntrain m { optimizer %s; batch 1 }\n",
                 rows[i].gradient, rows[i].rule);
        Bench b = bench_open(text, 0);
        float x[1] = {1};
        int64_t shape[] = {1};
        DLTensor xs = api_floats(x, 1, shape);
        OK(b.context, dlc_set_input(b.session, "train", "x", &xs));
        for (int step = 0; step <= rows[i].good && step < 3; step++) {
            dlc_status status = dlc_train_step(b.session, NULL);
            if (status != (step == rows[i].good ? DLC_ERROR_NON_FINITE : DLC_OK)) {
                fail_msg("%s under a gradient of %g, step %d: status %d, w = %g (%s)", rows[i].rule,
                         rows[i].gradient, step + 1, (int)status, (double)held(&b, "w", 1),
                         dlc_last_error(b.context));
            }
        }
        bench_close(&b);
    }
}

/* Of several states any one that overflows stops the step, and none is stored. */
static void test_states_overflow(void **state) {
    (void)state;
    for (int which = 0; which < 3; which++) {
        char text[1024];
        size_t n =
            (size_t)snprintf(text, sizeof(text), "model m(x: f32[1]) {\n    param w: [1] = ones\n");
        for (int k = 0; k < 3; k++) {
            n += (size_t)snprintf(text + n, sizeof(text) - n,
                                  "    state s%d: [1] = ones\n    s%d <- s%d * %s\n", k, k, k,
                                  k == which ? "1e30" : "2.0");
        }
        snprintf(text + n, sizeof(text) - n,
                 "    output y = x\n    loss x[0] * w[0]\n}\n"
                 "train m { optimizer sgd(lr=1.0); batch 1 }\n");
        Bench b = bench_open(text, 0);
        float x[1] = {1};
        int64_t shape[] = {1};
        DLTensor xs = api_floats(x, 1, shape);
        OK(b.context, dlc_set_input(b.session, "train", "x", &xs));
        OK(b.context, dlc_train_step(b.session, NULL));
        dlc_status status = dlc_train_step(b.session, NULL);
        const char *other = which == 0 ? "s1" : "s0";
        if (status != DLC_ERROR_NON_FINITE || held(&b, other, 0) != 2 || held(&b, "w", 0) != 0) {
            fail_msg("s%d overflows in the second step: status %d, '%s' is %g, 'w' is %g", which,
                     (int)status, other, (double)held(&b, other, 0), (double)held(&b, "w", 0));
        }
        bench_close(&b);
    }
}

/* The message says where: row of the data, row of the batch, index; or which variable. */
static void test_nan_place(void **state) {
    (void)state;
    enum { ROWS = 12 };
    for (int bad = 0; bad < ROWS; bad += 5) {
        Bench b = bench_open(place_text, 0);
        float x[ROWS * 6];
        for (int i = 0; i < ROWS * 6; i++) {
            x[i] = 0.5F;
        }
        int place[2] = {bad % 2, 2 - bad % 3};
        x[bad * 6 + place[0] * 3 + place[1]] = (float)NAN;
        int64_t shape[] = {ROWS, 2, 3};
        DLTensor xs = api_floats(x, 3, shape);
        const char *const names[] = {"x"};
        const DLTensor *const all[] = {&xs};
        dlc_dataset *data = NULL;
        OK(b.context, dlc_dataset_from_tensors(b.context, names, all, 1, &data));
        dlc_train_options options = {.struct_size = sizeof(options), .data = data, .epochs = 1};
        dlc_status status = dlc_train(b.session, &options, NULL);
        const char *said = strstr(dlc_last_error(b.context), "input 'x' holds nan");
        int row = -1, in_batch = -1, at[3] = {-1, -1, -1};
        if (status != DLC_ERROR_NON_FINITE || !said ||
            sscanf(said,
                   "input 'x' holds nan in row %d of the data (row %d of the batch) at "
                   "[%d, %d, %d]",
                   &row, &in_batch, &at[0], &at[1], &at[2]) != 5 ||
            row != bad || at[0] != in_batch || at[1] != place[0] || at[2] != place[1]) {
            fail_msg("nan in row %d at [%d, %d]: status %d, %s", bad, place[0], place[1],
                     (int)status, dlc_last_error(b.context));
        }
        dlc_dataset_destroy(data);
        bench_close(&b);
    }
    /* A nan is told before an infinity that stands in front of it. */
    Bench mixed = bench_open(place_text, 0);
    float both[24] = {0};
    both[3] = (float)INFINITY;
    both[14] = (float)NAN;
    both[15] = -(float)INFINITY;
    int64_t mixed_shape[] = {4, 2, 3};
    DLTensor mixed_x = api_floats(both, 3, mixed_shape);
    OK(mixed.context, dlc_set_input(mixed.session, "train", "x", &mixed_x));
    assert_int_equal(dlc_train_step(mixed.session, NULL), DLC_ERROR_NON_FINITE);
    if (!strstr(dlc_last_error(mixed.context), "input 'x' holds nan in row 2 at [2, 0, 2]")) {
        fail_msg("nan at [2, 0, 2] behind an infinity: %s", dlc_last_error(mixed.context));
    }
    bench_close(&mixed);
    /* Of a parameter; and what an input held before, when it was longer, is no place. */
    Bench b = bench_open(place_text, 0);
    float x[24], w[6] = {1, 1, 1, 1, 1, (float)NAN};
    for (int i = 0; i < 24; i++) {
        x[i] = i < 12 ? 0.5F : (float)NAN;
    }
    int64_t shape[] = {4, 2, 3}, w_shape[] = {2, 3};
    DLTensor xs = api_floats(x, 3, shape), ws = api_floats(w, 2, w_shape);
    OK(b.context, dlc_set_input(b.session, "train", "x", &xs));
    assert_int_equal(dlc_train_step(b.session, NULL), DLC_ERROR_NON_FINITE);
    shape[0] = 2;
    OK(b.context, dlc_set_input(b.session, "train", "x", &xs));
    OK(b.context, dlc_set_variable(b.session, "w", &ws));
    dlc_status status = dlc_train_step(b.session, NULL);
    const char *said = dlc_last_error(b.context);
    if (status != DLC_ERROR_NON_FINITE || strstr(said, "input") ||
        !strstr(said, "parameter 'w' holds nan at [1, 2]")) {
        fail_msg("nan in 'w' at [1, 2]: status %d, %s", (int)status, said);
    }
    bench_close(&b);
}

/* -- data */

/* A tensor within a larger memory, and one whose rows lie apart. */
static void test_views_given(void **state) {
    (void)state;
    Bench b = bench_open(place_text, 0);
    float all[40];
    for (int i = 0; i < 40; i++) {
        all[i] = (float)i;
    }
    int64_t shape[] = {2, 2, 3}, strides[] = {12, 6, 2};
    for (int form = 0; form < 4; form++) {
        DLTensor x = api_floats(all, 3, shape);
        x.byte_offset = form & 1 ? 5 * sizeof(float) : 0;
        x.strides = form & 2 ? strides : NULL;
        OK(b.context, dlc_set_input(b.session, "infer", "x", &x));
        OK(b.context, dlc_run(b.session, "infer"));
        const DLTensor *y;
        OK(b.context, dlc_view_output(b.session, "infer", "y", &y));
        for (int i = 0; i < 12; i++) {
            float wanted = (float)((form & 1 ? 5 : 0) + (form & 2 ? 2 * i : i));
            float got = ((const float *)y->data)[i];
            if (got != wanted) {
                fail_msg("element %d of %s%s: %g, not %g", i, form & 1 ? "an offset" : "a start",
                         form & 2 ? " with strides" : "", (double)got, (double)wanted);
            }
        }
    }
    bench_close(&b);
}

/* What a run is asked for wins over the train block, steps over epochs, and a plan whose batch is
 * fixed takes no other. */
static void test_lengths(void **state) {
    (void)state;
    enum { ROWS = 12 };
    static const struct {
        const char *settings, *rows;
        int64_t steps, epochs, batch, done; /* done -1: refused */
    } rows[] = {
        {"epochs 2;", "B", 0, 0, 0, 6},          {"steps 5;", "B", 0, 0, 0, 5},
        {"steps 5; epochs 2;", "B", 0, 0, 0, 5}, {"", "B", 0, 0, 0, 3},
        {"epochs 2;", "B", 4, 0, 0, 4},          {"steps 5;", "B", 0, 3, 0, 9},
        {"steps 5;", "B", 0, 0, 6, 5},           {"epochs 2;", "B", 0, 0, 6, 4},
        {"epochs 2;", "B", 0, 0, 5, 4},          {"epochs 1;", "B", 0, 0, 13, -1},
        {"epochs 1;", "4", 0, 0, 0, 3},          {"epochs 1;", "4", 0, 0, 4, 3},
        {"epochs 1;", "4", 0, 0, 8, -1},         {"epochs 1;", "4", 0, 0, 2, -1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 "dim B\nmodel m(x: f32[%s]) {\n    param w: [1] = ones\n    output y = x * w[0]\n"
                 "    loss mean(x) * w[0]\n}\ntrain m { optimizer sgd(lr=0.0); batch 4; %s }\n",
                 rows[i].rows, rows[i].settings);
        Bench b = bench_open(strcmp(rows[i].rows, "4") ? text : text + strlen("dim B\n"), 0);
        float x[ROWS] = {0};
        int64_t shape[] = {ROWS};
        DLTensor xs = api_floats(x, 1, shape);
        const char *const names[] = {"x"};
        const DLTensor *const all[] = {&xs};
        dlc_dataset *data = NULL;
        OK(b.context, dlc_dataset_from_tensors(b.context, names, all, 1, &data));
        dlc_train_options options = {.struct_size = sizeof(options),
                                     .data = data,
                                     .steps = rows[i].steps,
                                     .epochs = rows[i].epochs,
                                     .batch = rows[i].batch};
        dlc_train_result result = {.struct_size = sizeof(result)};
        dlc_status status = dlc_train(b.session, &options, &result);
        if ((status == DLC_OK) != (rows[i].done >= 0) ||
            (status == DLC_OK && result.steps_done != rows[i].done)) {
            fail_msg("x: f32[%s], batch 4 { %s }, asked for %d steps, %d epochs, %d rows: status "
                     "%d, %d steps, not %d (%s)",
                     rows[i].rows, rows[i].settings, (int)rows[i].steps, (int)rows[i].epochs,
                     (int)rows[i].batch, (int)status, (int)result.steps_done, (int)rows[i].done,
                     dlc_last_error(b.context));
        }
        dlc_dataset_destroy(data);
        bench_close(&b);
    }
}

/* A fault ends its own run only, and of several the first in the order of rows is told. */
static void test_faults(void **state) {
    (void)state;
    enum { N = 200000 };
    static const char text[] = "dim B\nmodel m(x: f32[5], ids: i32[B]) {\n"
                               "    output y = x[ids] * 2.0\n}\n";
    static int32_t ids[N];
    float x[5] = {0, 1, 2, 3, 4};
    for (int threads = 1; threads <= 3; threads += 2) {
        Bench b = bench_open(text, 0);
        dlc_session_destroy(b.session);
        dlc_session_options run = {.struct_size = sizeof(run), .threads = threads};
        OK(b.context, dlc_session_create(b.plan, &run, &b.session));
        int64_t shape[] = {5}, ids_shape[] = {N};
        DLTensor xs = api_floats(x, 1, shape), is = api_tensor(ids, 1, ids_shape, kDLInt, 32);
        OK(b.context, dlc_set_input(b.session, NULL, "x", &xs));
        for (int turn = 0; turn < 6; turn++) {
            bool bad = turn % 2 == 0;
            for (int i = 0; i < N; i++) {
                ids[i] = i % 5;
            }
            if (bad) {
                ids[N - 1 - turn] = 1002;
                ids[N / 2] = -1001;
                ids[turn * 100 + 3] = 1000;
            }
            OK(b.context, dlc_set_input(b.session, NULL, "ids", &is));
            dlc_status status = dlc_run(b.session, NULL);
            if (status != (bad ? DLC_ERROR_FAULT : DLC_OK)) {
                fail_msg("run %d, %d threads: status %d (%s)", turn, threads, (int)status,
                         dlc_last_error(b.context));
            }
            if (bad && !strstr(dlc_last_error(b.context), "1000")) {
                fail_msg("run %d, %d threads: the first bad index is 1000: %s", turn, threads,
                         dlc_last_error(b.context));
            }
        }
        bench_close(&b);
    }
}

/* -- results, caches, names */

static void test_results_of_the_last(void **state) {
    (void)state;
    Bench b = bench_open(place_text, 0);
    float x[24] = {1};
    int64_t shape[] = {4, 2, 3};
    DLTensor xs = api_floats(x, 3, shape);
    const DLTensor *view;
    OK(b.context, dlc_set_input(b.session, "infer", "x", &xs));
    OK(b.context, dlc_set_input(b.session, "eval", "x", &xs));
    assert_int_not_equal(dlc_view_output(b.session, "infer", "y", &view), DLC_OK);
    OK(b.context, dlc_run(b.session, "infer"));
    OK(b.context, dlc_view_output(b.session, "infer", "y", &view));
    assert_int_not_equal(dlc_view_output(b.session, "eval", "y", &view), DLC_OK);
    OK(b.context, dlc_run(b.session, "eval"));
    OK(b.context, dlc_view_output(b.session, "eval", "y", &view));
    assert_int_not_equal(dlc_view_output(b.session, "infer", "y", &view), DLC_OK);
    assert_non_null(strstr(dlc_last_error(b.context), "is not the entry that ran last"));
    bench_close(&b);
}

static void test_caches(void **state) {
    (void)state;
    static const char text[] =
        "module \"m\" {\n}\n\nfunc \"m.infer\" infer (\n    %0: f32[3] = input \"x\",\n"
        "    %1: f32[3] = param \"p\",\n    %2: f32[3] = state \"s\",\n    %3: f32[3] = cache "
        "\"c\",\n"
        "    %4: f32[3] = slot \"p#m\"\n) {\n"
        "    %5 = add %1, %0 : f32[3]\n    %6 = add %2, %0 : f32[3]\n    %7 = add %3, %0 : f32[3]\n"
        "    %8 = add %4, %0 : f32[3]\n    yield %5, %6, %7, %8\n} -> (\n    store %1,\n"
        "    store %2,\n    store %3,\n    store %4\n)\n";
    Bench b = {0};
    assert_int_equal(dlc_context_create(NULL, &b.context), DLC_OK);
    dlc_compile_options options = {.struct_size = sizeof(options), .flags = DLC_COMPILE_INPUT_IR};
    OK(b.context, dlc_compile(b.context, text, strlen(text), &options, &b.plan));
    dlc_session_options run = {.struct_size = sizeof(run), .threads = 1};
    OK(b.context, dlc_session_create(b.plan, &run, &b.session));
    float x[3] = {1, 2, 3}, zero[3] = {0};
    int64_t shape[] = {3};
    DLTensor xs = api_floats(x, 1, shape), zeros = api_floats(zero, 1, shape);
    static const char *const names[] = {"p", "s", "p#m", "c"};
    for (int i = 0; i < 4; i++) {
        OK(b.context, dlc_set_variable(b.session, names[i], &zeros));
    }
    OK(b.context, dlc_set_input(b.session, NULL, "x", &xs));
    OK(b.context, dlc_run(b.session, NULL));
    OK(b.context, dlc_reset_caches(b.session));
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < 4; i++) {
            float wanted = (float)(i < 3 ? 2 + 2 * turn : 2 * turn);
            if (held(&b, names[i], 1) != wanted) {
                fail_msg("'%s' %s a reset of the caches: %g, not %g", names[i],
                         turn ? "one run behind" : "after", (double)held(&b, names[i], 1),
                         (double)wanted);
            }
        }
        OK(b.context, dlc_run(b.session, NULL));
    }
    bench_close(&b);
}

/* A variable of two entries is one variable, of one type and one role. */
static void test_names(void **state) {
    (void)state;
    static const char *const seconds[][2] = {{"f32[3] = param", NULL},
                                             {"f32[3] = state", "two types"},
                                             {"f32[3] = slot", "two types"},
                                             {"f32[4] = param", "two types"},
                                             {"i32[3] = param", "two types"}};
    for (int i = 0; i < 5; i++) {
        char text[1024];
        const char *type = seconds[i][0];
        snprintf(text, sizeof(text),
                 "module \"m\" {\n}\n\nfunc \"m.a\" infer (\n    %%0: f32[3] = param \"p\"\n) {\n"
                 "    %%1 = neg %%0 : f32[3]\n    yield %%1\n} -> (\n    output \"y\"\n)\n\n"
                 "func \"m.b\" eval (\n    %%0: %s \"p\"\n) {\n"
                 "    %%1 = neg %%0 : %.6s\n    yield %%1\n} -> (\n    output \"y\"\n)\n",
                 type, type);
        dlc_context *context = NULL;
        dlc_plan *plan = NULL;
        assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
        dlc_compile_options options = {.struct_size = sizeof(options),
                                       .flags = DLC_COMPILE_INPUT_IR};
        dlc_status status = dlc_compile(context, text, strlen(text), &options, &plan);
        if ((status == DLC_OK) != (seconds[i][1] == NULL)) {
            fail_msg("'p' is a f32[3] param, and a %s: status %d\n%s", type, (int)status,
                     dlc_diagnostics_text(context, 0));
        }
        dlc_plan_destroy(plan);
        dlc_context_destroy(context);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quotients),
        cmocka_unit_test(test_failed_steps),
        cmocka_unit_test(test_nan_place),
        cmocka_unit_test(test_updates_overflow),
        cmocka_unit_test(test_states_overflow),
        cmocka_unit_test(test_views_given),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_results_of_the_last),
        cmocka_unit_test(test_caches),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
