/* What a training run must keep to, seen from the API: clipping leaves small gradients alone, also
 * behind the loss scale of f16; an epoch sees every row once, in an order of its own; an evaluation
 * weighs rows, not batches, and leaves the run as it was, cancelled or not; a resumed run goes on
 * as if it had not stopped, whatever its seed; a `while` turns as often as its limit allows. */
#include "tests/unit/api.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct Run {
    dlc_context *context;
    bool cancel; /* what the hook answers */
} Run;

static int asked_to_cancel(void *user) {
    const Run *run = user;
    return run->cancel;
}

static int setup(void **state) {
    static Run run;
    run = (Run){0};
    dlc_context_options options = {
        .struct_size = sizeof(options), .cancel = asked_to_cancel, .user = &run};
    assert_int_equal(dlc_context_create(&options, &run.context), DLC_OK);
    *state = &run;
    return 0;
}

static int teardown(void **state) {
    dlc_context_destroy(((Run *)*state)->context);
    return 0;
}

static dlc_session *open_session(dlc_context *context, dlc_plan *plan) {
    dlc_session_options options = {.struct_size = sizeof(options), .threads = 1};
    dlc_session *session = NULL;
    OK(context, dlc_session_create(plan, &options, &session));
    OK(context, dlc_init_weights(session));
    return session;
}

static double variable(dlc_context *context, dlc_session *session, const char *name, int64_t i) {
    const DLTensor *view;
    OK(context, dlc_view_variable(session, name, &view));
    const char *data = view->data;
    return view->dtype.bits == 64 ? ((const double *)(const void *)data)[i]
                                  : (double)((const float *)(const void *)data)[i];
}

static void assert_near(const char *what, double got, double wanted, double tolerance) {
    if (!(fabs(got - wanted) <= tolerance)) {
        fail_msg("%s: %.9g instead of %.9g", what, got, wanted);
    }
}

/* -- clipping */

/* Where one step of sgd(lr=1) leads w from 0, whose gradient is `slope` in its first element and
 * half of it in its second. */
static void one_step(dlc_context *context, const char *settings, double slope, double out[2],
                     double *out_norm) {
    char text[1024];
    snprintf(text, sizeof(text),
             "model m(k: f32[1]) {\n    param w: [2] = zeros\n    output w\n"
             "    loss k[0] * (w[0] + 0.5 * w[1]) * %.9g\n}\n"
             "train m {\n    optimizer sgd(lr=1.0)\n    batch 1\n%s}\n",
             slope, settings);
    dlc_plan *plan = api_compile(context, text, NULL);
    dlc_session *session = open_session(context, plan);
    float one = 1;
    int64_t shape[] = {1};
    DLTensor k = api_floats(&one, 1, shape);
    OK(context, dlc_set_input(session, "train", "k", &k));
    dlc_step_info info = {.struct_size = sizeof(info)};
    OK(context, dlc_train_step(session, &info));
    out[0] = variable(context, session, "w", 0);
    out[1] = variable(context, session, "w", 1);
    *out_norm = info.grad_norm;
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

/* A gradient above the limit is scaled to it, one below is left alone: in f32, and in f16, where
 * the loss is scaled by 65536 before. */
static void test_clip(void **state) {
    const Run *run = *state;
    static const char *const types[] = {"", "    precision f16\n", "    precision bf16\n"};
    static const double slopes[] = {-0.01, 0.125, 1.7, 40, -3000};
    for (int t = 0; t < 3; t++) {
        for (int i = 0; i < 5; i++) {
            char settings[128], what[128];
            double w[2], reported, norm = fabs(slopes[i]) * sqrt(1.25);
            double scale = norm > 2 ? 2 / norm : 1, slope = slopes[i] * scale;
            snprintf(settings, sizeof(settings), "    clip_norm 2.0\n%s", types[t]);
            snprintf(what, sizeof(what), "clip_norm 2.0%s, gradient %g, w", types[t], slopes[i]);
            one_step(run->context, settings, slopes[i], w, &reported);
            assert_near(what, w[0], -slope, 1e-4 * fabs(slope));
            assert_near(what, w[1], -0.5 * slope, 1e-4 * fabs(slope));
            assert_near("the norm told", reported, norm, 1e-4 * norm);
        }
    }
}

/* -- objectives, averages, update rules */

/* One step of sgd(lr=1) from 0: every objective is clipped by the norm of its own gradients,
 * whatever those of the others; the norm told is that of all. */
static void test_objectives(void **state) {
    dlc_context *context = ((const Run *)*state)->context;
    static const double slopes[][3] = {{3, 4, 40}, {30, 40, 3}, {0.5, 0, 0.25}, {60, 80, 700}};
    for (int i = 0; i < 4; i++) {
        const double *g = slopes[i];
        char text[1024];
        snprintf(text, sizeof(text),
                 "model m(k: f32[1]) {\n    param a: [2] = zeros\n    param b: [1] = zeros\n"
                 "    output k\n    loss la = k[0] * (%g * a[0] + %g * a[1])\n"
                 "    loss lb = k[0] * %g * b[0]\n}\n"
                 "train m {\n    minimize la over \"a\" sgd(lr=1.0)\n"
                 "    minimize lb over \"b\" sgd(lr=1.0)\n    clip_norm 5.0\n    batch 1\n}\n",
                 g[0], g[1], g[2]);
        dlc_plan *plan = api_compile(context, text, NULL);
        dlc_session *session = open_session(context, plan);
        float one = 1;
        int64_t shape[] = {1};
        DLTensor k = api_floats(&one, 1, shape);
        OK(context, dlc_set_input(session, "train", "k", &k));
        dlc_step_info info = {.struct_size = sizeof(info)};
        OK(context, dlc_train_step(session, &info));
        double a = hypot(g[0], g[1]), b = fabs(g[2]);
        double scale_a = a > 5 ? 5 / a : 1, scale_b = b > 5 ? 5 / b : 1;
        char what[128];
        snprintf(what, sizeof(what), "clip_norm 5, gradients (%g, %g) and (%g)", g[0], g[1], g[2]);
        assert_near(what, variable(context, session, "a", 0), -g[0] * scale_a, 1e-4 * a);
        assert_near(what, variable(context, session, "a", 1), -g[1] * scale_a, 1e-4 * a);
        assert_near(what, variable(context, session, "b", 0), -g[2] * scale_b, 1e-4 * b);
        assert_near("the norm told", info.grad_norm, hypot(a, b), 1e-4 * hypot(a, b));
        dlc_session_destroy(session);
        dlc_plan_destroy(plan);
    }
}

/* Under every update rule and from zeros as from other numbers: a gradient leads down, none at all
 * leaves zeros as they are (others may decay), and the average follows what was stored. */
static void test_update_rules(void **state) {
    dlc_context *context = ((const Run *)*state)->context;
    enum { STEPS = 3 };
    static const char *const rules[] = {"sgd(lr=0.1)",
                                        "sgd(lr=0.1, momentum=0.9, nesterov=true)",
                                        "adam(lr=0.1)",
                                        "adam(lr=0.1, amsgrad=true)",
                                        "adamw(lr=0.1)",
                                        "nadam",
                                        "adamax",
                                        "rmsprop",
                                        "adagrad(lr=0.1)",
                                        "adadelta(lr=1.0)",
                                        "lamb",
                                        "lamb(weight_decay=0.0)",
                                        "adamw(lr=0.1, weight_decay=0.0)",
                                        "lion"};
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 "model m(k: f32[1]) {\n    param zero: [3] = zeros\n    param one: [3] = ones\n"
                 "    param still: [3] = zeros\n    param rest: [3] = ones\n    output k\n"
                 "    loss k[0] * (sum(zero) + sum(one)) + 0.0 * (sum(still) + sum(rest))\n}\n"
                 "train m {\n    optimizer %s\n    batch 1\n    ema 0.75\n}\n",
                 rules[i]);
        dlc_plan *plan = api_compile(context, text, NULL);
        dlc_session *session = open_session(context, plan);
        OK(context, dlc_set_counter(session, "steps", STEPS));
        float one = 1;
        int64_t shape[] = {1};
        DLTensor k = api_floats(&one, 1, shape);
        OK(context, dlc_set_input(session, "train", "k", &k));
        static const char *const names[] = {"zero", "one", "still", "rest"};
        static const char *const averages[] = {"zero#ema", "one#ema", "still#ema", "rest#ema"};
        double average[4] = {0, 1, 0, 1}, before[4] = {0, 1, 0, 1};
        for (int step = 0; step < STEPS; step++) {
            dlc_step_info info = {.struct_size = sizeof(info)};
            OK(context, dlc_train_step(session, &info));
            for (int p = 0; p < 4; p++) {
                char what[128];
                double now = variable(context, session, names[p], 1);
                snprintf(what, sizeof(what), "%s, step %d, '%s' from %g", rules[i], step + 1,
                         names[p], before[p]);
                bool good = p < 2    ? now < before[p] && now > before[p] - 10
                            : p == 2 ? now == 0
                                     : now <= before[p] && now > 0.9;
                if (!good) {
                    fail_msg("%s: to %.9g", what, now);
                }
                average[p] = 0.75 * average[p] + 0.25 * now;
                assert_near(averages[p], variable(context, session, averages[p], 1), average[p],
                            1e-6);
                before[p] = now;
            }
        }
        dlc_session_destroy(session);
        dlc_plan_destroy(plan);
    }
}

/* The first step from 1 of each rule, by its formula, for gradients from large to smaller than its
 * eps: where eps stands shows only there. */
static void test_first_steps(void **state) {
    dlc_context *context = ((const Run *)*state)->context;
    static const double slopes[] = {-3, 1e-2, 1e-5, -1e-7, 1e-9};
    static const char *const rules[] = {"sgd(lr=0.5)",      "adam(lr=0.5)",    "adamw(lr=0.5)",
                                        "adamax(lr=0.5)",   "rmsprop(lr=0.5)", "adagrad(lr=0.5)",
                                        "adadelta(lr=0.5)", "lamb(lr=0.5)",    "lion(lr=0.5)"};
    for (int i = 0; i < 9; i++) {
        for (int k = 0; k < 5; k++) {
            char text[1024], what[128];
            double g = slopes[k], size = fabs(g), sign = g < 0 ? -1 : 1;
            snprintf(text, sizeof(text),
                     "model m(k: f64[1]) {\n    param w: f64[1] = ones\n    output k\n"
                     "    loss k[0] * w[0] * %.9g\n}\n"
                     "train m {\n    optimizer %s\n    batch 1\n}\n",
                     g, rules[i]);
            const double steps[9] = {
                g,
                g / (size + 1e-8),
                g / (size + 1e-8) + 0.01,
                g / (size + 1e-8),
                g / (0.1 * size + 1e-8),
                g / (size + 1e-10),
                sqrt(1e-6) / sqrt(0.1 * g * g + 1e-6) * g,
                g / (size + 1e-6) + 0.01 < 0 ? -1 : 1, /* as long as the parameter */
                sign,
            };
            dlc_plan *plan = api_compile(context, text, NULL);
            dlc_session *session = open_session(context, plan);
            double one = 1;
            int64_t shape[] = {1};
            DLTensor input = api_tensor(&one, 1, shape, kDLFloat, 64);
            OK(context, dlc_set_input(session, "train", "k", &input));
            OK(context, dlc_train_step(session, NULL));
            snprintf(what, sizeof(what), "the first step of %s under a gradient of %g", rules[i],
                     g);
            assert_near(what, 1 - variable(context, session, "w", 0), 0.5 * steps[i],
                        1e-6 * fabs(steps[i]) + 1e-13);
            dlc_session_destroy(session);
            dlc_plan_destroy(plan);
        }
    }
}

/* -- rows */

enum { ROWS = 11, BATCH = 3, STEPS_PER_EPOCH = ROWS / BATCH, EPOCHS = 6 };

/* Each row r has the gradient 2^r, so that a step of sgd(lr=1) tells by w which rows it saw. */
static const char ROWS_TEXT[] = "dim B\nmodel m(x: f64[B], y: f64[B]) {\n"
                                "    param w: f64[1] = zeros\n"
                                "    metric mean = mean(x + w[0])\n"
                                "    output p = x * w[0]\n"
                                "    loss sum(x * w[0]) + 0.0 * sum(y)\n}\n"
                                "train m {\n    optimizer sgd(lr=1.0)\n    batch 3\n    seed 3\n"
                                "    epochs 6\n%s}\n";

static dlc_dataset *rows_open(dlc_context *context, int64_t n) {
    static double x[ROWS], y[ROWS];
    for (int64_t r = 0; r < ROWS; r++) {
        x[r] = (double)(1 << r);
        y[r] = (double)r;
    }
    int64_t shape[] = {n};
    DLTensor of_x = {.data = x,
                     .device = {kDLCPU, 0},
                     .ndim = 1,
                     .dtype = {kDLFloat, 64, 1},
                     .shape = shape},
             of_y = of_x;
    of_y.data = y;
    const char *const names[] = {"x", "y"};
    const DLTensor *const tensors[] = {&of_x, &of_y};
    dlc_dataset *data = NULL;
    OK(context, dlc_dataset_from_tensors(context, names, tensors, 2, &data));
    return data;
}

typedef struct Seen {
    Run *run;
    dlc_session *session;
    double before;
    int64_t steps;
    int rows[EPOCHS * STEPS_PER_EPOCH]; /* bits, by step */
    double evaluated[EPOCHS];
    int n_evaluated;
    bool cancel_in_eval;
} Seen;

static int note_step(void *user, const dlc_step_info *info) {
    Seen *seen = user;
    double now = variable(seen->run->context, seen->session, "w", 0);
    seen->rows[info->step - 1] = (int)(seen->before - now);
    seen->before = now;
    seen->steps = info->step;
    seen->run->cancel = false;
    return 0;
}

static int note_eval(void *user, const dlc_step_info *info, const dlc_metric *metrics,
                     size_t count) {
    Seen *seen = user;
    (void)info;
    assert_true(count > 0);
    seen->evaluated[seen->n_evaluated++] = metrics[0].value;
    return 0;
}

static void rows_train(Run *run, int64_t seed, Seen *seen) {
    char text[1024];
    snprintf(text, sizeof(text), ROWS_TEXT, "");
    dlc_plan *plan = api_compile(run->context, text, NULL);
    dlc_dataset *data = rows_open(run->context, ROWS);
    *seen = (Seen){.run = run, .session = open_session(run->context, plan)};
    OK(run->context, dlc_set_counter(seen->session, "seed", seed));
    dlc_train_options options = {.struct_size = sizeof(options),
                                 .data = data,
                                 .eval_data = data,
                                 .on_step = note_step,
                                 .on_eval = note_eval,
                                 .user = seen};
    OK(run->context, dlc_train(seen->session, &options, NULL));
    assert_int_equal(seen->steps, EPOCHS * STEPS_PER_EPOCH);
    dlc_session_destroy(seen->session);
    dlc_dataset_destroy(data);
    dlc_plan_destroy(plan);
}

static int ones_of(int bits) {
    return __builtin_popcount((unsigned)bits);
}

/* In every epoch no row is seen twice, and but for what is too little for a batch all are; epochs
 * and seeds have orders of their own. */
static void test_rows(void **state) {
    Run *run = *state;
    Seen seen, other;
    rows_train(run, 5, &seen);
    rows_train(run, 6, &other);
    int left_out = 0, alike = 0;
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        int all = 0;
        for (int step = 0; step < STEPS_PER_EPOCH; step++) {
            int rows = seen.rows[epoch * STEPS_PER_EPOCH + step];
            if (ones_of(rows) != BATCH || (all & rows)) {
                fail_msg("epoch %d, step %d: rows %#x behind %#x", epoch, step, (unsigned)rows,
                         (unsigned)all);
            }
            all |= rows;
        }
        assert_int_equal(ones_of(all), BATCH * STEPS_PER_EPOCH);
        left_out |= ~all & ((1 << ROWS) - 1);
        alike += epoch > 0 && memcmp(seen.rows, seen.rows + epoch * STEPS_PER_EPOCH,
                                     STEPS_PER_EPOCH * sizeof(int)) == 0;
    }
    assert_int_equal(alike, 0);
    assert_true(ones_of(left_out) > ROWS % BATCH); /* not always the same ones */
    assert_memory_not_equal(seen.rows, other.rows, sizeof(seen.rows));
}

/* Evaluations are means over rows, the last and smaller batch counted by its rows, and change
 * nothing. */
static void test_evaluation(void **state) {
    Run *run = *state;
    Seen seen;
    rows_train(run, 5, &seen);
    assert_int_equal(seen.n_evaluated, EPOCHS);
    double w = 0;
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        for (int step = 0; step < STEPS_PER_EPOCH; step++) {
            w -= seen.rows[epoch * STEPS_PER_EPOCH + step];
        }
        assert_near("mean over the rows", seen.evaluated[epoch],
                    w + ((1 << ROWS) - 1) / (double)ROWS, 1e-6 * fabs(w));
    }
}

/* -- cancelling */

/* The hook is asked once after the step, and then before each batch of the evaluation: it answers
 * yes from the second batch on. */
static int cancel_later(void *user) {
    int *left = user;
    return (*left)-- <= 0;
}

static void test_cancelled_evaluation(void **state) {
    (void)state;
    int left = 1000;
    dlc_context *context;
    dlc_context_options hooks = {
        .struct_size = sizeof(hooks), .cancel = cancel_later, .user = &left};
    assert_int_equal(dlc_context_create(&hooks, &context), DLC_OK);
    char text[1024], folder[] = "/tmp/dlc-cancel-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
    snprintf(text, sizeof(text), ROWS_TEXT, "    ema 0.5\n");
    dlc_plan *plan = api_compile(context, text, NULL);
    dlc_dataset *data = rows_open(context, ROWS);
    dlc_session *session = open_session(context, plan), *straight = open_session(context, plan);
    dlc_train_options options = {.struct_size = sizeof(options),
                                 .data = data,
                                 .eval_data = data,
                                 .checkpoint = folder,
                                 .eval_every = 2,
                                 .checkpoint_every = 100};
    left = 1000;
    dlc_train_options plain = options;
    plain.checkpoint = NULL;
    plain.stop_after = 2;
    OK(context, dlc_train(straight, &plain, NULL));
    left = 2 + 2; /* two steps, one batch of the evaluation after the second, and another */
    dlc_train_result result = {.struct_size = sizeof(result)};
    dlc_status status = dlc_train(session, &options, &result);
    left = 1000;
    if (status != DLC_ERROR_CANCELLED) {
        fail_msg("status %d: %s", (int)status, dlc_last_error(context));
    }
    assert_int_equal(result.steps_done, 2);
    static const char *const names[] = {"w", "w#ema"};
    for (int i = 0; i < 2; i++) {
        assert_near(names[i], variable(context, session, names[i], 0),
                    variable(context, straight, names[i], 0), 0);
    }
    assert_true(variable(context, session, "w", 0) != variable(context, session, "w#ema", 0));
    char saved[64];
    snprintf(saved, sizeof(saved), "%s/step-2/manifest.json", folder);
    if (access(saved, F_OK) != 0) {
        fail_msg("the cancelled run left no checkpoint of its step: %s", saved);
    }
    /* The step before is in the folder, and the run goes on from it to the same bits. */
    options.resume = DLC_RESUME;
    OK(context, dlc_train(session, &options, NULL));
    plain.stop_after = 0;
    OK(context, dlc_train(straight, &plain, NULL));
    for (int i = 0; i < 2; i++) {
        assert_near(names[i], variable(context, session, names[i], 0),
                    variable(context, straight, names[i], 0), 0);
    }
    dlc_session_destroy(session);
    dlc_session_destroy(straight);
    dlc_dataset_destroy(data);
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* -- resuming */

/* A run of this seed in a session of its own, which goes on from the folder, or stops there after
 * `stop` steps; folder NULL: neither. */
static dlc_status seed_train(dlc_context *context, dlc_plan *plan, dlc_dataset *data, int64_t seed,
                             const char *folder, int64_t stop, dlc_session **out) {
    dlc_train_options options = {.struct_size = sizeof(options),
                                 .data = data,
                                 .checkpoint = folder,
                                 .stop_after = stop,
                                 .resume = folder && !stop ? DLC_RESUME : DLC_RESUME_NO};
    *out = open_session(context, plan);
    OK(context, dlc_set_counter(*out, "seed", seed));
    return dlc_train(*out, &options, NULL);
}

/* With the seed of the train block, with another, and with 0: the checkpoint is of that seed, with
 * any other it is refused, and it goes on to the bits of a run that did not stop. */
static void test_resume_seed(void **state) {
    enum { SEEDS = 3, IN_SECOND_EPOCH = 4 };
    dlc_context *context = ((const Run *)*state)->context;
    char text[1024];
    snprintf(text, sizeof(text), ROWS_TEXT, "    ema 0.5\n");
    dlc_plan *plan = api_compile(context, text, NULL);
    dlc_dataset *data = rows_open(context, ROWS);
    static const int64_t seeds[SEEDS] = {3, 4, 0};
    for (int i = 0; i < SEEDS; i++) {
        char folder[] = "/tmp/dlc-seed-XXXXXX", command[64];
        dlc_session *whole, *parts;
        assert_non_null(mkdtemp(folder));
        OK(context, seed_train(context, plan, data, seeds[i], NULL, 0, &whole));
        OK(context, seed_train(context, plan, data, seeds[i], folder, IN_SECOND_EPOCH, &parts));
        dlc_session_destroy(parts);
        for (int k = 1; k < SEEDS; k++) {
            int64_t other = seeds[(i + k) % SEEDS];
            char said[64];
            snprintf(said, sizeof(said), "seed %d, here %d", (int)seeds[i], (int)other);
            dlc_status status = seed_train(context, plan, data, other, folder, 0, &parts);
            if (status != DLC_ERROR_MISMATCH || !strstr(dlc_last_error(context), said)) {
                fail_msg("'%s' is to be refused, but gave status %d: %s", said, (int)status,
                         dlc_last_error(context));
            }
            dlc_session_destroy(parts);
        }
        OK(context, seed_train(context, plan, data, seeds[i], folder, 0, &parts));
        assert_near("w", variable(context, parts, "w", 0), variable(context, whole, "w", 0), 0);
        assert_near("w#ema", variable(context, parts, "w#ema", 0),
                    variable(context, whole, "w#ema", 0), 0);
        dlc_session_destroy(parts);
        dlc_session_destroy(whole);
        snprintf(command, sizeof(command), "rm -r %s", folder);
        assert_int_equal(system(command), 0);
    }
    dlc_dataset_destroy(data);
    dlc_plan_destroy(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_objectives),
        cmocka_unit_test(test_update_rules),
        cmocka_unit_test(test_first_steps),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_cancelled_evaluation),
        cmocka_unit_test(test_resume_seed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
