/* Sessions of several ranks, seen from the API: a plan for one device trains, evaluates and infers
 * on any number of ranks as it does on one; what fails on one rank fails on all, in the words of
 * one device, stores nothing, and leaves the session as usable as before. */
#include "tests/unit/api.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 12, WIDTH = 5, CLASSES = 3, MOST_ROWS = 17 };

/* A classifier with all that depends on the batch as a whole: a mean over it, a norm of the
 * gradient, numbers drawn per row, averages, a sum written as a quotient. */
#define MODEL                                                                                      \
    "dim B\nmodel m(x: f64[B, 5], label: i32[B]) {\n"                                              \
    "    h = x |> linear(7) as a |> tanh |> dropout(0.25)\n    logits = h |> linear(3) as b\n"     \
    "    output logits\n    output total = sum(logits)\n"                                          \
    "    metric hits = mean(argmax(logits, axis=-1) == label)\n"                                   \
    "    loss cross_entropy(logits, label)\n}\n"                                                   \
    "train m {\n    optimizer adamw(lr=0.05)\n    clip_norm 0.3\n    ema 0.9\n    batch 12\n"      \
    "    steps 40\n    seed 3\n}\n"

typedef struct Bench {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
    int n_shown, n_notes;
    char shown[256];
} Bench;

static void take_line(void *user, dlc_log_level level, const char *text) {
    Bench *b = user;
    if (level == DLC_LOG_SHOW) {
        b->n_shown++;
        snprintf(b->shown, sizeof(b->shown), "%s", text);
    }
    b->n_notes += strstr(text, "ranks are to share the work") != NULL;
}

static void bench_open(Bench *b, const char *text, const char *device) {
    *b = (Bench){.context = NULL};
    const dlc_context_options hooks = {.struct_size = sizeof(hooks), .log = take_line, .user = b};
    assert_int_equal(dlc_context_create(&hooks, &b->context), DLC_OK);
    dlc_compile_options options = {.struct_size = sizeof(options), .float_type = "f64"};
    b->plan = api_compile(b->context, text, &options);
    dlc_session_options run = {.struct_size = sizeof(run), .device = device};
    OK(b->context, dlc_session_create(b->plan, &run, &b->session));
    OK(b->context, dlc_init_weights(b->session));
}

static void bench_close(Bench *b) {
    dlc_session_destroy(b->session);
    dlc_plan_destroy(b->plan);
    dlc_context_destroy(b->context);
}

typedef struct Batch {
    double x[MOST_ROWS * WIDTH];
    int32_t label[MOST_ROWS];
    int64_t rows;
} Batch;

static Batch batch_of(int64_t rows, int64_t seed) {
    Batch batch = {.rows = rows};
    for (int64_t i = 0; i < rows * WIDTH; i++) {
        batch.x[i] = sin((double)((i + 1) * (seed + 3)) * 1.7);
    }
    for (int64_t i = 0; i < rows; i++) {
        batch.label[i] = (int32_t)((i * i + seed) % CLASSES);
    }
    return batch;
}

static void set_batch(Bench *b, const char *entry, const Batch *batch) {
    int64_t x_shape[] = {batch->rows, WIDTH}, label_shape[] = {batch->rows};
    DLTensor x = api_tensor((void *)(uintptr_t)batch->x, 2, x_shape, kDLFloat, 64);
    DLTensor label = api_tensor((void *)(uintptr_t)batch->label, 1, label_shape, kDLInt, 32);
    OK(b->context, dlc_set_input(b->session, entry, "x", &x));
    if (strcmp(entry, "infer") != 0) {
        OK(b->context, dlc_set_input(b->session, entry, "label", &label));
    }
}

static dlc_status step(Bench *b, const Batch *batch, dlc_step_info *info) {
    *info = (dlc_step_info){.struct_size = sizeof(*info)};
    set_batch(b, "train", batch);
    return dlc_train_step(b->session, info);
}

/* All parameters, states and slots behind one another; from malloc. */
static double *variables(Bench *b, size_t *out_n) {
    double *all = NULL;
    size_t n = 0;
    const dlc_plan *plan = dlc_session_plan(b->session);
    for (size_t i = 0; i < dlc_plan_variable_count(plan); i++) {
        dlc_tensor_info info = {.struct_size = sizeof(info)};
        const DLTensor *view;
        int64_t elements = 1;
        OK(b->context, dlc_plan_variable(plan, i, &info));
        OK(b->context, dlc_view_variable(b->session, info.name, &view));
        for (int32_t a = 0; a < view->ndim; a++) {
            elements *= view->shape[a];
        }
        if (view->dtype.code != kDLFloat || view->dtype.bits != 64) {
            continue;
        }
        double *more = realloc(all, (n + (size_t)elements) * sizeof(*all));
        assert_non_null(more);
        all = more;
        memcpy(all + n, view->data, (size_t)elements * sizeof(*all));
        n += (size_t)elements;
    }
    *out_n = n;
    assert_true(n > 0);
    return all;
}

static double difference(const double *a, const double *b, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        most = fabs(a[i] - b[i]) > most ? fabs(a[i] - b[i]) : most;
        assert_false(isnan(a[i]) || isnan(b[i]));
    }
    return most;
}

/* -- training */

typedef struct Trained {
    double losses[20], norms[20], hits[20];
    double *weights;
    size_t n;
    int n_notes;
} Trained;

static Trained train(const char *device) {
    Bench b;
    Trained trained = {.weights = NULL};
    bench_open(&b, MODEL, device);
    for (int s = 0; s < 20; s++) {
        Batch batch = batch_of(s % 4 == 3 ? 3 : ROWS, s); /* also fewer rows than ranks */
        dlc_step_info info;
        OK(b.context, step(&b, &batch, &info));
        trained.losses[s] = info.loss;
        trained.norms[s] = info.grad_norm;
        for (size_t i = 0; i < info.n_metrics; i++) {
            bool is_hits = strcmp(info.metrics[i].name, "hits") == 0;
            trained.hits[s] = is_hits ? info.metrics[i].value : trained.hits[s];
        }
        assert_int_equal(info.rows, batch.rows);
    }
    trained.weights = variables(&b, &trained.n);
    trained.n_notes = b.n_notes;
    bench_close(&b);
    return trained;
}

static void test_training(void **state) {
    (void)state;
    static const char *const devices[] = {"cpu*1", "cpu*2", "cpu*3", "cpu*8", "cpu*8"};
    Trained one = train("cpu"), last = {.weights = NULL};
    for (size_t d = 0; d < sizeof(devices) / sizeof(devices[0]); d++) {
        Trained many = train(devices[d]);
        assert_int_equal(many.n_notes, d > 0);
        assert_int_equal(many.n, one.n);
        assert_true(difference(many.losses, one.losses, 20) < 1e-12);
        assert_true(difference(many.norms, one.norms, 20) < 1e-12);
        assert_true(difference(many.hits, one.hits, 20) < 1e-15);
        assert_true(difference(many.weights, one.weights, one.n) < 1e-12);
        if (d == 0) { /* one rank is one device */
            assert_memory_equal(many.weights, one.weights, one.n * sizeof(double));
        }
        if (d == 4) { /* the same again: the same bits */
            assert_memory_equal(many.weights, last.weights, one.n * sizeof(double));
            assert_memory_equal(many.losses, last.losses, sizeof(many.losses));
        }
        free(last.weights);
        last = many;
    }
    free(last.weights);
    free(one.weights);
}

/* -- evaluation and inference: few rows on eight ranks */

static void outputs(Bench *b, int64_t rows, double *out_logits, double *out_total) {
    Batch batch = batch_of(rows, rows);
    const DLTensor *view;
    set_batch(b, "infer", &batch);
    OK(b->context, dlc_run(b->session, "infer"));
    OK(b->context, dlc_view_output(b->session, "infer", "logits", &view));
    assert_int_equal(view->shape[0], rows);
    assert_int_equal(view->shape[1], CLASSES);
    memcpy(out_logits, view->data, (size_t)(rows * CLASSES) * sizeof(double));
    OK(b->context, dlc_view_output(b->session, "infer", "total", &view));
    assert_int_equal(view->ndim, 0);
    *out_total = *(const double *)view->data;
}

static void metrics(Bench *b, int64_t rows, dlc_metric *out, size_t *out_n) {
    Batch batch = batch_of(rows, rows);
    int64_t x_shape[] = {rows, WIDTH}, label_shape[] = {rows};
    DLTensor x = api_tensor(batch.x, 2, x_shape, kDLFloat, 64);
    DLTensor label = api_tensor(batch.label, 1, label_shape, kDLInt, 32);
    const char *const names[] = {"x", "label"};
    const DLTensor *const fields[] = {&x, &label};
    dlc_dataset *data = NULL;
    OK(b->context, dlc_dataset_from_tensors(b->context, names, fields, 2, &data));
    OK(b->context, dlc_evaluate(b->session, data, 5, out, 4, out_n)); /* the last batch is short */
    dlc_dataset_destroy(data);
}

static void test_rows(void **state) {
    (void)state;
    static const int64_t rows[] = {3, 17, 5, 1};
    Bench one, many;
    bench_open(&one, MODEL, "cpu");
    bench_open(&many, MODEL, "cpu*8");
    for (int k = 0; k < 4; k++) {
        double a[MOST_ROWS * CLASSES], b[MOST_ROWS * CLASSES], a_total, b_total;
        dlc_metric a_metrics[4], b_metrics[4];
        size_t n_a = 0, n_b = 0;
        outputs(&one, rows[k], a, &a_total);
        outputs(&many, rows[k], b, &b_total);
        assert_true(difference(a, b, (size_t)(rows[k] * CLASSES)) < 1e-13);
        assert_true(fabs(a_total - b_total) < 1e-12);
        metrics(&one, rows[k], a_metrics, &n_a);
        metrics(&many, rows[k], b_metrics, &n_b);
        assert_int_equal(n_a, 2);
        assert_int_equal(n_b, 2);
        for (size_t i = 0; i < n_a; i++) {
            assert_string_equal(a_metrics[i].name, b_metrics[i].name);
            assert_true(fabs(a_metrics[i].value - b_metrics[i].value) < 1e-13);
        }
    }
    bench_close(&one);
    bench_close(&many);
}

/* -- what fails on one rank */

/* A step that must fail, and what it said. */
static void step_fails(Bench *b, const Batch *batch, dlc_status status, char *out, size_t n_out) {
    dlc_step_info info;
    size_t n_before, n_after;
    double *before = variables(b, &n_before);
    assert_int_equal(step(b, batch, &info), status);
    snprintf(out, n_out, "%s", dlc_last_error(b->context));
    double *after = variables(b, &n_after);
    assert_int_equal(n_before, n_after);
    assert_memory_equal(before, after, n_before * sizeof(double));
    free(before);
    free(after);
}

static const char *behind_place(const char *text) {
    const char *space = strchr(text, ' ');
    return space ? space + 1 : text;
}

static void test_failures(void **state) {
    (void)state;
    Bench one, many;
    bench_open(&one, MODEL, "cpu");
    bench_open(&many, MODEL, "cpu*8");
    for (int64_t row = 0; row < ROWS; row += 5) {
        char a[1024], b[1024];
        dlc_step_info of_one, of_many;
        Batch batch = batch_of(ROWS, 1);
        OK(one.context, step(&one, &batch, &of_one));
        OK(many.context, step(&many, &batch, &of_many));
        assert_true(fabs(of_one.loss - of_many.loss) < 1e-12);
        batch.label[row] = 7; /* a class that there is not: a kernel's fault, on one rank */
        step_fails(&one, &batch, DLC_ERROR_FAULT, a, sizeof(a));
        step_fails(&many, &batch, DLC_ERROR_FAULT, b, sizeof(b));
        assert_string_equal(a, b);
        assert_string_equal(behind_place(b),
                            "index out of range: 7 is not in 0..3; nothing was stored");
        batch = batch_of(ROWS, 1);
        batch.x[row * WIDTH + 2] = NAN;
        step_fails(&one, &batch, DLC_ERROR_NON_FINITE, a, sizeof(a));
        step_fails(&many, &batch, DLC_ERROR_NON_FINITE, b, sizeof(b));
        assert_string_equal(a, b);
        char place[64];
        snprintf(place, sizeof(place), "input 'x' holds nan in row %d at [%d, 2]", (int)row,
                 (int)row);
        assert_non_null(strstr(b, place));
    }
    bench_close(&one);
    bench_close(&many);
}

/* An overflow in one row: found by all ranks together, on the line that makes it. */
static void test_first_line(void **state) {
    (void)state;
    static const char text[] =
        "dim B\nmodel m(x: f64[B, 5], label: i32[B]) {\n"
        "    param w: [5] = ones\n    big = exp(x * 400 * w)\n"
        "    output big\n    loss mean(big) + mean(cast(label, f64)) * 0\n}\n"
        "train m {\n    optimizer sgd(lr=0.0)\n    batch 12\n"
        "    steps 9\n}\n";
    Bench one, many;
    char a[1024], b[1024];
    bench_open(&one, text, "cpu");
    bench_open(&many, text, "cpu*8");
    Batch batch = batch_of(ROWS, 2);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        batch.x[i] *= 0.001;
    }
    dlc_step_info info;
    OK(many.context, step(&many, &batch, &info));
    batch.x[9 * WIDTH] = 2; /* exp(800) */
    step_fails(&one, &batch, DLC_ERROR_NON_FINITE, a, sizeof(a));
    step_fails(&many, &batch, DLC_ERROR_NON_FINITE, b, sizeof(b));
    assert_non_null(strstr(a, "the first infinity comes from"));
    assert_non_null(strstr(b, "the first infinity comes from"));
    batch.x[9 * WIDTH] = 0;
    OK(many.context, step(&many, &batch, &info));
    bench_close(&one);
    bench_close(&many);
}

/* A `check` fails for all where it fails for one, a `while` turns alike on all, and a shown value
 * is told once. */
static void test_host(void **state) {
    (void)state;
    static const char text[] =
        "dim B\nmodel m(x: f64[B, 5]) {\n    check max(x) < 10, \"x is below ten\"\n"
        "    while max(y) < 100 carry y = x { y = y * 2 + 1 }\n    show sum(y)\n"
        "    output y\n}\n";
    Bench one, many;
    bench_open(&one, text, "cpu");
    bench_open(&many, text, "cpu*5");
    for (int64_t rows = 3; rows <= ROWS; rows += 9) {
        const DLTensor *of_one, *of_many;
        Batch batch = batch_of(rows, rows);
        Bench *both[] = {&one, &many};
        for (int i = 0; i < 2; i++) {
            set_batch(both[i], "infer", &batch);
            both[i]->n_shown = 0;
            OK(both[i]->context, dlc_run(both[i]->session, "infer"));
            assert_int_equal(both[i]->n_shown, 1);
        }
        assert_string_equal(one.shown, many.shown);
        OK(one.context, dlc_view_output(one.session, "infer", "y", &of_one));
        OK(many.context, dlc_view_output(many.session, "infer", "y", &of_many));
        assert_memory_equal(of_one->data, of_many->data, (size_t)(rows * WIDTH) * sizeof(double));
        batch.x[rows * WIDTH - 1] = 11;
        for (int i = 0; i < 2; i++) {
            set_batch(both[i], "infer", &batch);
            assert_int_equal(dlc_run(both[i]->session, "infer"), DLC_ERROR_FAULT);
            assert_non_null(strstr(dlc_last_error(both[i]->context), "x is below ten"));
        }
    }
    bench_close(&one);
    bench_close(&many);
}

/* -- from a dataset, as dlc_train reads it, and many sessions of one plan */

static void test_dataset(void **state) {
    (void)state;
    static const char *const devices[] = {"cpu", "cpu*3"};
    double *weights[2];
    size_t n[2];
    for (int d = 0; d < 2; d++) {
        Bench b;
        bench_open(&b, MODEL, devices[d]);
        static double x[40 * WIDTH];
        static int32_t label[40];
        for (int i = 0; i < 40 * WIDTH; i++) {
            x[i] = cos(i * 0.7);
        }
        for (int i = 0; i < 40; i++) {
            label[i] = i % CLASSES;
        }
        int64_t x_shape[] = {40, WIDTH}, label_shape[] = {40};
        DLTensor of_x = api_tensor(x, 2, x_shape, kDLFloat, 64);
        DLTensor of_label = api_tensor(label, 1, label_shape, kDLInt, 32);
        const char *const names[] = {"x", "label"};
        const DLTensor *const fields[] = {&of_x, &of_label};
        dlc_dataset *data = NULL;
        OK(b.context, dlc_dataset_from_tensors(b.context, names, fields, 2, &data));
        dlc_train_options options = {
            .struct_size = sizeof(options), .data = data, .steps = 11, .batch = 7};
        OK(b.context, dlc_train(b.session, &options, NULL));
        weights[d] = variables(&b, &n[d]);
        dlc_dataset_destroy(data);
        bench_close(&b);
    }
    assert_int_equal(n[0], n[1]);
    assert_true(difference(weights[0], weights[1], n[0]) < 1e-12);
    free(weights[0]);
    free(weights[1]);
}

/* The plan that a session has compiled anew serves others: they begin and end without a hang. */
static void test_many_sessions(void **state) {
    (void)state;
    Bench b;
    double want[MOST_ROWS * CLASSES], total;
    bench_open(&b, MODEL, "cpu*2");
    outputs(&b, 5, want, &total);
    dlc_plan *shared = (dlc_plan *)(uintptr_t)dlc_session_plan(b.session);
    dlc_session *first = b.session;
    for (int i = 0; i < 100; i++) {
        double got[MOST_ROWS * CLASSES];
        char device[16];
        snprintf(device, sizeof(device), "cpu*%d", i % 8 + 1);
        dlc_session_options run = {.struct_size = sizeof(run), .device = device};
        OK(b.context, dlc_session_create(shared, &run, &b.session));
        OK(b.context, dlc_init_weights(b.session));
        outputs(&b, 5, got, &total);
        assert_true(difference(want, got, 5 * CLASSES) < 1e-13);
        dlc_session_destroy(b.session);
    }
    b.session = first;
    assert_int_equal(b.n_notes, 1);
    bench_close(&b);
}

/* -- memory that ends somewhere: an error, no hang, and nothing is left behind */

typedef struct Countdown {
    atomic_int left, taken, inside, crowded;
} Countdown;

static void *take(void *user, size_t bytes) {
    Countdown *countdown = user;
    if (atomic_fetch_add(&countdown->inside, 1) > 0) {
        atomic_fetch_add(&countdown->crowded, 1);
    }
    bool ends = atomic_fetch_sub(&countdown->left, 1) <= 0;
    void *memory = ends ? NULL : malloc(bytes);
    atomic_fetch_add(&countdown->taken, memory != NULL);
    atomic_fetch_sub(&countdown->inside, 1);
    return memory;
}

static void give(void *user, void *memory) {
    Countdown *countdown = user;
    atomic_fetch_sub(&countdown->taken, 1);
    free(memory);
}

/* A session from its beginning to a step's end; what failed first. */
static dlc_status whole_life(dlc_plan *plan) {
    dlc_session *session = NULL;
    const dlc_session_options run = {.struct_size = sizeof(run), .device = "cpu*3"};
    dlc_status status = dlc_session_create(plan, &run, &session);
    if (status != DLC_OK) {
        return status;
    }
    Batch batch = batch_of(ROWS, 1);
    int64_t x_shape[] = {ROWS, WIDTH};
    DLTensor x = api_tensor(batch.x, 2, x_shape, kDLFloat, 64);
    const DLTensor *view;
    status = dlc_init_weights(session);
    if (status == DLC_OK) {
        status = dlc_set_input(session, "infer", "x", &x);
    }
    if (status == DLC_OK) {
        status = dlc_run(session, "infer");
    }
    if (status == DLC_OK) {
        status = dlc_view_output(session, "infer", "logits", &view);
    }
    dlc_session_destroy(session);
    return status;
}

static void test_memory(void **state) {
    (void)state;
    Countdown countdown = {.left = INT32_MAX};
    const dlc_allocator allocator = {take, give, &countdown};
    const dlc_context_options hooks = {.struct_size = sizeof(hooks), .allocator = &allocator};
    dlc_compile_options options = {
        .struct_size = sizeof(options), .float_type = "f64", .mesh = "data=*"};
    dlc_context *context;
    assert_int_equal(dlc_context_create(&hooks, &context), DLC_OK);
    dlc_plan *plan = api_compile(context, MODEL, &options);
    int taken = countdown.taken;
    countdown.crowded = 0;
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    for (int most = 0; status != DLC_OK; most++) {
        countdown.left = most;
        status = whole_life(plan);
        assert_true(status == DLC_OK || status == DLC_ERROR_OUT_OF_MEMORY);
        assert_int_equal(countdown.taken, taken);
        assert_in_range(most, 0, 5000);
    }
    assert_int_equal(countdown.crowded, 0);
    countdown.left = INT32_MAX;
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
    assert_int_equal(countdown.taken, 0);
}

/* -- lengths that change */

#define LENGTHS                                                                                    \
    "dim B\ndim T\nmodel m(tokens: i32[B, T], target: i32[B, T]) {\n"                              \
    "    logits = tokens |> embedding(9, 5) as e |> linear(9) as head\n"                           \
    "    loss cross_entropy(logits, target)\n}\n"                                                  \
    "train m {\n    optimizer sgd(lr=0.5, momentum=0.9)\n    accumulate 3\n    batch 6\n"          \
    "    steps 40\n    seed 3\n}\n"

/* Case 29: another length in each step, each in three parts: every part counts, on ranks as on one
 * device. */
static void test_lengths(void **state) {
    enum { ROWS_OF_STEP = 6, MOST_LENGTH = 7 };
    static const int64_t lengths[] = {4, 7, 1, 4, 2};
    static const char *const devices[] = {"cpu", "cpu*2", "cpu*4"};
    (void)state;
    double wanted[5] = {0};
    for (size_t d = 0; d < 3; d++) {
        Bench b;
        bench_open(&b, LENGTHS, devices[d]);
        for (size_t i = 0; i < 5; i++) {
            int32_t tokens[ROWS_OF_STEP * MOST_LENGTH], target[ROWS_OF_STEP * MOST_LENGTH];
            int64_t shape[] = {ROWS_OF_STEP, lengths[i]};
            for (int32_t k = 0; k < ROWS_OF_STEP * MOST_LENGTH; k++) {
                tokens[k] = (k * 5 + (int32_t)i) % 9;
                target[k] = (k * 7 + 2) % 9;
            }
            DLTensor from = api_tensor(tokens, 2, shape, kDLInt, 32);
            DLTensor to = api_tensor(target, 2, shape, kDLInt, 32);
            dlc_step_info info = {.struct_size = sizeof(info)};
            OK(b.context, dlc_set_input(b.session, "train", "tokens", &from));
            OK(b.context, dlc_set_input(b.session, "train", "target", &to));
            OK(b.context, dlc_train_step(b.session, &info));
            wanted[i] = d == 0 ? info.loss : wanted[i];
            assert_true(fabs(info.loss - wanted[i]) <= 1e-12 * wanted[i]);
        }
        bench_close(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training),      cmocka_unit_test(test_rows),
        cmocka_unit_test(test_failures),      cmocka_unit_test(test_first_line),
        cmocka_unit_test(test_host),          cmocka_unit_test(test_dataset),
        cmocka_unit_test(test_many_sessions), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_lengths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
