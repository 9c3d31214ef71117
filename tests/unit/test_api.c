/* The public API over the shared libraries: compiling from memory, training, faults, weights,
 * checkpoints, data, memory; every promise of dlc.h that a user would notice broken. */
#include "dlc/dlc.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char model[] = "dim B\n"
                            "model net(x: f32[B, 3], y: f32[B, 1]) {\n"
                            "    h = x |> linear(8) as a |> tanh |> dropout(0.1)\n"
                            "    out = h |> linear(1) as b\n"
                            "    output out\n"
                            "    metric error = mean(abs(out - y))\n"
                            "    metric share = sum(x) over sum(x * 0 + 1)\n"
                            "    loss mse(out, y)\n"
                            "}\n"
                            "train net { optimizer adam(lr=0.02); batch 8; epochs 3; seed 5 }\n";

static const char lookup[] = "dim B\n"
                             "model words(ids: i32[B], y: f32[B]) {\n"
                             "    e = ids |> embedding(5, 4) as table\n"
                             "    loss mean((sum(e, axis=1) / y) ** 2)\n"
                             "    output e\n"
                             "}\n"
                             "train words { optimizer sgd(lr=0.1); batch 4 }\n";

typedef struct Fixture {
    dlc_context *context;
    dlc_plan *net, *words;
} Fixture;

static dlc_plan *compile(dlc_context *context, const char *text) {
    dlc_plan *plan = NULL;
    if (dlc_compile(context, text, strlen(text), NULL, &plan) != DLC_OK) {
        fail_msg("%s\n%s", dlc_last_error(context), dlc_diagnostics_text(context, 0));
    }
    return plan;
}

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof(*f));
    assert_int_equal(dlc_context_create(NULL, &f->context), DLC_OK);
    f->net = compile(f->context, model);
    f->words = compile(f->context, lookup);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    dlc_plan_destroy(f->net);
    dlc_plan_destroy(f->words);
    dlc_context_destroy(f->context);
    free(f);
    return 0;
}

#define OK(f, call)                                                                                \
    do {                                                                                           \
        if ((call) != DLC_OK) {                                                                    \
            fail_msg("%s: %s", #call, dlc_last_error((f)->context));                               \
        }                                                                                          \
    } while (0)

static dlc_session *open_session(Fixture *f, dlc_plan *plan, int threads, int poison) {
    dlc_session_options options = {
        .struct_size = sizeof(options), .threads = threads, .poison = poison};
    dlc_session *session = NULL;
    OK(f, dlc_session_create(plan, &options, &session));
    return session;
}

static DLTensor tensor(void *data, int32_t rank, int64_t *shape, int code, int bits) {
    return (DLTensor){.data = data,
                      .device = {kDLCPU, 0},
                      .ndim = rank,
                      .dtype = {(uint8_t)code, (uint8_t)bits, 1},
                      .shape = shape};
}

enum { ROWS = 37 };

static dlc_dataset *make_data(Fixture *f) {
    float x[ROWS * 3], y[ROWS];
    for (int i = 0; i < ROWS; i++) {
        for (int k = 0; k < 3; k++) {
            x[3 * i + k] = sinf((float)(7 * i + 3 * k));
        }
        y[i] = x[3 * i] - 0.5f * x[3 * i + 1];
    }
    int64_t x_shape[] = {ROWS, 3}, y_shape[] = {ROWS, 1};
    DLTensor xs = tensor(x, 2, x_shape, kDLFloat, 32), ys = tensor(y, 2, y_shape, kDLFloat, 32);
    const DLTensor *tensors[] = {&xs, &ys};
    const char *names[] = {"x", "y"};
    dlc_dataset *data = NULL;
    OK(f, dlc_dataset_from_tensors(f->context, names, tensors, 2, &data));
    return data;
}

/* -- Compiling -- */

static void test_diagnostics(void **state) {
    Fixture *f = *state;
    static const char bad[] = "dim B\nmodel m(x: f32[B, 3]) {\n    output y\n}\n";
    dlc_plan *plan = NULL;
    dlc_compile_options options = {.struct_size = sizeof(options), .source_name = "bad.dl"};
    assert_int_equal(dlc_compile(f->context, bad, strlen(bad), &options, &plan), DLC_ERROR_COMPILE);
    assert_null(plan);
    assert_int_equal(dlc_error_count(f->context), 1);
    assert_non_null(strstr(dlc_diagnostics_text(f->context, 0), "bad.dl:3:"));
    assert_non_null(strstr(dlc_diagnostics_json(f->context), "\"bad.dl\""));
    options.flags = DLC_COMPILE_CHECK;
    assert_int_equal(dlc_compile(f->context, model, strlen(model), &options, NULL), DLC_OK);
    assert_int_equal(dlc_error_count(f->context), 0);
    options.struct_size = 3;
    assert_int_equal(dlc_compile(f->context, model, strlen(model), &options, &plan),
                     DLC_ERROR_INVALID_ARGUMENT);
}

static void test_same_bytes(void **state) {
    Fixture *f = *state;
    dlc_plan *again = compile(f->context, model);
    const void *a, *b;
    size_t n_a, n_b;
    dlc_plan_bytes(f->net, &a, &n_a);
    dlc_plan_bytes(again, &b, &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(a, b, n_a);
    dlc_plan_destroy(again);
}

static void keep_text(void *user, const char *stage, const char *text) {
    (void)stage;
    char **kept = user;
    free(*kept);
    *kept = strdup(text);
}

static void test_emit_and_retarget(void **state) {
    Fixture *f = *state;
    static const char *const stages[] = {"ast",     "ir",       "grad", "fuse",
                                         "kernels", "schedule", "plan"};
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        char *text = NULL;
        dlc_compile_options options = {
            .struct_size = sizeof(options), .emit = stages[i], .on_text = keep_text, .user = &text};
        OK(f, dlc_compile(f->context, model, strlen(model), &options, NULL));
        assert_non_null(text);
        assert_true(strlen(text) > 10);
        free(text);
    }
    const void *bytes;
    size_t n;
    dlc_plan_bytes(f->net, &bytes, &n);
    dlc_plan *plan = NULL;
    OK(f, dlc_plan_load_memory(f->context, bytes, n, "net", DLC_PLAN_NO_NATIVE, &plan));
    assert_int_equal(dlc_plan_kernel_count(plan), dlc_plan_kernel_count(f->net));
    dlc_plan_destroy(plan);
}

/* -- Inputs and outputs -- */

static void test_inputs(void **state) {
    Fixture *f = *state;
    dlc_session *session = open_session(f, f->net, 0, 0);
    OK(f, dlc_init_weights(session));
    float x[12];
    for (int i = 0; i < 12; i++) {
        x[i] = (float)i / 10;
    }
    int64_t shape[] = {4, 3}, wrong[] = {4, 2};
    DLTensor xs = tensor(x, 2, shape, kDLFloat, 32);
    assert_int_equal(dlc_run(session, "infer"), DLC_ERROR_NOT_FOUND);
    DLTensor misfit = tensor(x, 2, wrong, kDLFloat, 32);
    assert_int_equal(dlc_set_input(session, "infer", "x", &misfit), DLC_ERROR_MISMATCH);
    double wide[12] = {[5] = 1e300};
    misfit = tensor(wide, 2, shape, kDLFloat, 64);
    assert_int_equal(dlc_set_input(session, "infer", "x", &misfit), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(f->context), "1e+300"));
    wide[5] = 0.5;
    OK(f, dlc_set_input(session, "infer", "x", &misfit));
    assert_int_equal(dlc_set_input(session, "infer", "z", &xs), DLC_ERROR_NOT_FOUND);
    assert_int_equal(dlc_set_input(session, "no", "x", &xs), DLC_ERROR_NOT_FOUND);
    OK(f, dlc_set_input(session, "infer", "x", &xs));
    OK(f, dlc_run(session, "infer"));
    const DLTensor *view;
    OK(f, dlc_view_output(session, NULL, NULL, &view));
    assert_int_equal(view->ndim, 2);
    assert_int_equal(view->shape[0], 4);
    float straight[4];
    memcpy(straight, view->data, sizeof(straight));

    /* The same elements, column-major. */
    float turned[12];
    for (int i = 0; i < 12; i++) {
        turned[i % 3 * 4 + i / 3] = x[i];
    }
    int64_t strides[] = {1, 4};
    DLTensor columns = tensor(turned, 2, shape, kDLFloat, 32);
    columns.strides = strides;
    OK(f, dlc_set_input(session, "infer", "x", &columns));
    OK(f, dlc_run(session, "infer"));
    DLManagedTensorVersioned *taken;
    OK(f, dlc_take_output(session, NULL, "out", &taken));
    dlc_session_destroy(session);
    assert_memory_equal(taken->dl_tensor.data, straight, sizeof(straight));
    taken->deleter(taken);
}

static void test_other_rows(void **state) {
    Fixture *f = *state;
    dlc_session *session = open_session(f, f->net, 2, 1);
    OK(f, dlc_init_weights(session));
    float x[30] = {0}, y[10] = {0};
    for (int64_t rows = 10; rows > 0; rows -= 3) {
        int64_t x_shape[] = {rows, 3}, y_shape[] = {rows, 1};
        DLTensor xs = tensor(x, 2, x_shape, kDLFloat, 32), ys = tensor(y, 2, y_shape, kDLFloat, 32);
        OK(f, dlc_set_input(session, "eval", "x", &xs));
        if (rows < 10) { /* y still has the rows of before */
            assert_int_equal(dlc_run(session, "eval"), DLC_ERROR_MISMATCH);
            assert_non_null(strstr(dlc_last_error(f->context), "'y'"));
        }
        OK(f, dlc_set_input(session, "eval", "y", &ys));
        OK(f, dlc_run(session, "eval"));
    }
    dlc_session_destroy(session);
}

/* -- Failing steps store nothing -- */

static void test_fault(void **state) {
    Fixture *f = *state;
    dlc_session *session = open_session(f, f->words, 0, 0);
    OK(f, dlc_init_weights(session));
    const DLTensor *table;
    OK(f, dlc_view_variable(session, "table.weight", &table));
    float before[20];
    memcpy(before, table->data, sizeof(before));
    int32_t ids[] = {0, 4, 7, 1};
    float y[] = {1, 1, 1, 1};
    int64_t shape[] = {4};
    DLTensor is = tensor(ids, 1, shape, kDLInt, 32), ys = tensor(y, 1, shape, kDLFloat, 32);
    OK(f, dlc_set_input(session, "train", "ids", &is));
    OK(f, dlc_set_input(session, "train", "y", &ys));
    assert_int_equal(dlc_train_step(session, NULL), DLC_ERROR_FAULT);
    const char *error = dlc_last_error(f->context);
    assert_non_null(strstr(error, "7"));
    assert_non_null(strstr(error, "5"));
    assert_non_null(strstr(error, ":3:")); /* the line of `embedding` */
    OK(f, dlc_view_variable(session, "table.weight", &table));
    assert_memory_equal(before, table->data, sizeof(before));
    ids[2] = 2;
    OK(f, dlc_set_input(session, "train", "ids", &is));
    y[1] = 0; /* a division by zero: the loss is infinite */
    OK(f, dlc_set_input(session, "train", "y", &ys));
    assert_int_equal(dlc_train_step(session, NULL), DLC_ERROR_NON_FINITE);
    assert_non_null(strstr(dlc_last_error(f->context), "the first infinity comes from input:4:"));
    OK(f, dlc_view_variable(session, "table.weight", &table));
    assert_memory_equal(before, table->data, sizeof(before));
    y[1] = 1;
    OK(f, dlc_set_input(session, "train", "y", &ys));
    OK(f, dlc_train_step(session, NULL));
    OK(f, dlc_view_variable(session, "table.weight", &table));
    assert_memory_not_equal(before, table->data, sizeof(before));
    int64_t step;
    OK(f, dlc_get_counter(session, "step", &step));
    assert_int_equal(step, 1);
    dlc_session_destroy(session);
}

/* -- Training -- */

typedef struct Seen {
    int64_t steps, evals, stop_at;
    double last_error;
} Seen;

static int on_step(void *user, const dlc_step_info *info) {
    Seen *seen = user;
    seen->steps++;
    return info->step == seen->stop_at;
}

static int on_eval(void *user, const dlc_step_info *info, const dlc_metric *metrics, size_t count) {
    (void)info;
    Seen *seen = user;
    seen->evals++;
    assert_int_equal(count, 3);
    seen->last_error = metrics[0].value;
    return 0;
}

static void weights_of(Fixture *f, dlc_session *session, float *out) {
    const DLTensor *value;
    OK(f, dlc_view_variable(session, "a.weight", &value));
    memcpy(out, value->data, 24 * sizeof(float));
    OK(f, dlc_view_variable(session, "b.weight", &value));
    memcpy(out + 24, value->data, 8 * sizeof(float));
}

static void train(Fixture *f, dlc_session *session, dlc_train_options *options) {
    dlc_train_result result = {.struct_size = sizeof(result)};
    OK(f, dlc_train(session, options, &result));
    int64_t end = options->stop_after ? options->stop_after : result.steps;
    assert_int_equal(result.steps_done, end);
}

static void test_train_same_bits(void **state) {
    Fixture *f = *state;
    dlc_dataset *data = make_data(f);
    float first[32], other[32];
    for (int run = 0; run < 6; run++) {
        dlc_session *session = open_session(f, f->net, 1 + run % 3, run % 3);
        Seen seen = {0};
        dlc_train_options options = {.struct_size = sizeof(options),
                                     .data = data,
                                     .eval_data = data,
                                     .epochs = 40,
                                     .on_step = on_step,
                                     .on_eval = on_eval,
                                     .user = &seen};
        train(f, session, &options);
        assert_int_equal(seen.steps, 40 * (ROWS / 8));
        assert_int_equal(seen.evals, 40);
        assert_true(seen.last_error < 0.15);
        weights_of(f, session, run == 0 ? first : other);
        if (run > 0) {
            assert_memory_equal(first, other, sizeof(first));
        }
        dlc_session_destroy(session);
    }
    dlc_dataset_destroy(data);
}

/* Removes a folder and all in it. */
static void remove_folder(const char *path) {
    char command[128];
    snprintf(command, sizeof(command), "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

static void test_resume(void **state) {
    Fixture *f = *state;
    dlc_dataset *data = make_data(f);
    char folder[] = "/tmp/dlc_api_XXXXXX";
    assert_non_null(mkdtemp(folder));
    float whole[32], parts[32];
    dlc_train_options options = {.struct_size = sizeof(options), .data = data, .steps = 21};
    dlc_session *session = open_session(f, f->net, 0, 0);
    train(f, session, &options);
    weights_of(f, session, whole);
    dlc_session_destroy(session);
    options.checkpoint = folder;
    options.resume = 1;
    for (int64_t stop = 5; stop <= 21; stop += 8) { /* 5, 13, 21 */
        options.stop_after = stop;
        session = open_session(f, f->net, 0, 0);
        train(f, session, &options);
        weights_of(f, session, parts);
        dlc_session_destroy(session);
    }
    assert_memory_equal(whole, parts, sizeof(whole));
    remove_folder(folder);
    dlc_dataset_destroy(data);
}

typedef struct Busy {
    Fixture *f;
    dlc_session *session;
    const char *folder;
} Busy;

static int save_meanwhile(void *user, const dlc_step_info *info) {
    (void)info;
    const Busy *busy = user;
    assert_int_equal(dlc_checkpoint_save(busy->session, busy->folder), DLC_ERROR_LIMIT);
    assert_non_null(strstr(dlc_last_error(busy->f->context), "in use"));
    return 0;
}

/* The session's own calls: what is saved goes on with the same bits; what is of another program, of
 * an earlier step or no folder is refused, and nothing is changed. */
static void test_checkpoint(void **state) {
    Fixture *f = *state;
    dlc_dataset *data = make_data(f);
    char folder[] = "/tmp/dlc_api_XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    float at_seven[32], at_twelve[32], got[32];
    dlc_train_options options = {
        .struct_size = sizeof(options), .data = data, .steps = 12, .stop_after = 7};
    dlc_session *one = open_session(f, f->net, 0, 0), *two = open_session(f, f->net, 2, 1);
    assert_int_equal(dlc_checkpoint_load(one, folder), DLC_ERROR_NOT_FOUND);
    train(f, one, &options);
    weights_of(f, one, at_seven);
    OK(f, dlc_checkpoint_save(one, folder));
    OK(f, dlc_checkpoint_save(one, folder)); /* the same step again */
    OK(f, dlc_checkpoint_load(two, folder));
    weights_of(f, two, got);
    assert_memory_equal(at_seven, got, sizeof(got));
    int64_t step;
    OK(f, dlc_get_counter(two, "step", &step));
    assert_int_equal(step, 7);
    /* On from there, by the loop: what no data were known of suits any. */
    options.stop_after = 0;
    options.checkpoint = folder;
    options.checkpoint_every = 100;
    assert_int_equal(dlc_train(two, &options, NULL), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(f->context), "--overwrite"));
    options.resume = DLC_RESUME;
    Busy busy = {f, one, folder};
    options.on_step = save_meanwhile;
    options.user = &busy;
    train(f, two, &options);
    weights_of(f, two, at_twelve);
    options = (dlc_train_options){.struct_size = sizeof(options), .data = data, .steps = 12};
    train(f, one, &options);
    weights_of(f, one, got);
    assert_memory_equal(at_twelve, got, sizeof(got));
    /* An earlier step would remove a later one. */
    OK(f, dlc_set_counter(one, "step", 3));
    assert_int_equal(dlc_checkpoint_save(one, folder), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(f->context), "step 12"));
    OK(f, dlc_set_counter(one, "step", -3));
    assert_int_equal(dlc_checkpoint_save(one, folder), DLC_ERROR_INVALID_ARGUMENT);
    snprintf(path, sizeof(path), "%s/step-7", folder);
    OK(f, dlc_checkpoint_load(one, path));
    weights_of(f, one, got);
    assert_memory_equal(at_seven, got, sizeof(got));
    /* Another program, with tensors of the same names and shapes. */
    char other[4096];
    const char *tanh = strstr(model, "tanh");
    assert_non_null(tanh);
    snprintf(other, sizeof(other), "%.*srelu%s", (int)(tanh - model), model, tanh + 4);
    dlc_plan *plan = compile(f->context, other);
    dlc_session *third = open_session(f, plan, 0, 0);
    assert_int_equal(dlc_checkpoint_load(third, folder), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(f->context), "the program is another"));
    /* No folder. */
    snprintf(path, sizeof(path), "%s/step-7/manifest.json", folder);
    assert_int_equal(dlc_checkpoint_save(one, path), DLC_ERROR_IO);
    assert_int_equal(dlc_checkpoint_load(one, path), DLC_ERROR_FORMAT);
    assert_int_equal(dlc_checkpoint_load(one, "/no/such"), DLC_ERROR_IO);
    dlc_session_destroy(third);
    dlc_plan_destroy(plan);
    dlc_session_destroy(one);
    dlc_session_destroy(two);
    dlc_dataset_destroy(data);
    remove_folder(folder);
}

static void test_files(void **state) {
    Fixture *f = *state;
    assert_int_equal(dlc_file_write(f->context, "/dev/full", "text", 4), DLC_ERROR_IO);
    assert_non_null(strstr(dlc_last_error(f->context), "No space left"));
    assert_int_equal(dlc_file_write(f->context, "/dev/full", NULL, 0), DLC_OK);
    assert_int_equal(dlc_file_write(f->context, NULL, "text", 4), DLC_ERROR_INVALID_ARGUMENT);
    dlc_session_options options = {.struct_size = sizeof(options), .trace = "/dev/full"};
    dlc_session *session = NULL;
    OK(f, dlc_session_create(f->net, &options, &session));
    assert_int_equal(dlc_session_end_trace(session), DLC_ERROR_IO);
    OK(f, dlc_session_end_trace(session)); /* there is none any more */
    dlc_session_destroy(session);
}

static int cancel_after(void *user) {
    int *left = user;
    return --*left < 0;
}

static void test_cancel(void **state) {
    Fixture *f = *state;
    int left = 1000000;
    dlc_context_options options = {
        .struct_size = sizeof(options), .cancel = cancel_after, .user = &left};
    dlc_context *context = NULL;
    assert_int_equal(dlc_context_create(&options, &context), DLC_OK);
    Fixture own = {.context = context, .net = compile(context, model)};
    dlc_session *session = open_session(&own, own.net, 0, 0);
    dlc_dataset *data = make_data(&own);
    left = 3;
    dlc_train_options train_options = {.struct_size = sizeof(train_options), .data = data};
    dlc_train_result result = {.struct_size = sizeof(result)};
    assert_int_equal(dlc_train(session, &train_options, &result), DLC_ERROR_CANCELLED);
    assert_int_equal(result.steps_done, 4);
    assert_int_equal(result.finished, 0);
    left = 0;
    dlc_plan *plan = NULL;
    assert_int_equal(dlc_compile(context, model, strlen(model), NULL, &plan), DLC_ERROR_CANCELLED);
    dlc_dataset_destroy(data);
    dlc_session_destroy(session);
    dlc_plan_destroy(own.net);
    dlc_context_destroy(context);
    (void)f;
}

static void test_evaluate(void **state) {
    Fixture *f = *state;
    dlc_dataset *data = make_data(f);
    dlc_session *session = open_session(f, f->net, 0, 0);
    OK(f, dlc_init_weights(session));
    double expected[3] = {0};
    for (int64_t batch = ROWS; batch > 0; batch -= 6) { /* 37, 31, …, 1 */
        dlc_metric metrics[3];
        size_t n;
        OK(f, dlc_evaluate(session, data, batch, metrics, 3, &n));
        assert_int_equal(n, 3);
        for (int i = 0; i < 3; i++) {
            if (batch == ROWS) {
                expected[i] = metrics[i].value;
            }
            assert_true(fabs(metrics[i].value - expected[i]) < 1e-5);
        }
    }
    dlc_session_destroy(session);
    dlc_dataset_destroy(data);
}

/* -- Weights -- */

static void test_weights(void **state) {
    Fixture *f = *state;
    char path[] = "/tmp/dlc_weights_XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    dlc_session *a = open_session(f, f->net, 0, 0), *b = open_session(f, f->net, 0, 0);
    OK(f, dlc_init_weights(a));
    OK(f, dlc_weights_save(a, path));
    OK(f, dlc_weights_load(b, path, NULL));
    float from[32], to[32];
    weights_of(f, a, from);
    weights_of(f, b, to);
    assert_memory_equal(from, to, sizeof(from));
    dlc_session *words = open_session(f, f->words, 0, 0);
    assert_int_equal(dlc_weights_load(words, path, NULL), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(f->context), "table.weight: missing"));
    const char *missing[] = {"table.*"};
    dlc_weights_options options = {
        .struct_size = sizeof(options), .missing = missing, .n_missing = 1};
    OK(f, dlc_weights_load(words, path, &options));
    assert_int_equal(dlc_weights_load(words, "/no/such", NULL), DLC_ERROR_IO);
    dlc_session_destroy(words);
    dlc_session_destroy(a);
    dlc_session_destroy(b);
    remove(path);
}

/* -- Memory -- */

static void test_memory_as_foretold(void **state) {
    Fixture *f = *state;
    dlc_session *session = open_session(f, f->net, 0, 0);
    OK(f, dlc_init_weights(session));
    float x[24] = {0}, y[8] = {0};
    int64_t x_shape[] = {8, 3}, y_shape[] = {8, 1};
    DLTensor xs = tensor(x, 2, x_shape, kDLFloat, 32), ys = tensor(y, 2, y_shape, kDLFloat, 32);
    OK(f, dlc_set_input(session, "train", "x", &xs));
    OK(f, dlc_set_input(session, "train", "y", &ys));
    OK(f, dlc_train_step(session, NULL));
    dlc_entry_summary said = {.struct_size = sizeof(said)};
    dlc_memory used = {.struct_size = sizeof(used)};
    OK(f, dlc_plan_summarize(f->net, "train", NULL, 0, &said));
    OK(f, dlc_session_memory(session, "train", &used));
    assert_int_equal(said.persistent_bytes, used.persistent_bytes);
    assert_int_equal(said.input_bytes, used.input_bytes);
    assert_int_equal(said.arena_bytes, used.arena_bytes);
    assert_int_equal(said.peak_bytes, used.peak_bytes);
    dlc_session_destroy(session);
}

/* An allocator whose n-th allocation, and all after it, fail; compiling calls it from its threads.
 */
typedef struct Failing {
    atomic_llong left, live;
} Failing;

static void *failing_alloc(void *user, size_t bytes) {
    Failing *failing = user;
    if (atomic_fetch_sub(&failing->left, 1) <= 0) {
        return NULL;
    }
    void *memory = malloc(bytes);
    failing->live += memory != NULL;
    return memory;
}

static void failing_free(void *user, void *memory) {
    ((Failing *)user)->live--;
    free(memory);
}

/* Loads, opens, initialises and steps; whatever fails must say so and leave nothing behind. */
static dlc_status whole_run(dlc_context *context, const void *bytes, size_t n_bytes) {
    dlc_plan *plan = NULL;
    dlc_session *session = NULL;
    float x[24] = {0}, y[8] = {0};
    int64_t x_shape[] = {8, 3}, y_shape[] = {8, 1};
    DLTensor xs = tensor(x, 2, x_shape, kDLFloat, 32), ys = tensor(y, 2, y_shape, kDLFloat, 32);
    dlc_session_options options = {.struct_size = sizeof(options), .threads = 2};
    dlc_status status = dlc_plan_load_memory(context, bytes, n_bytes, "net", 0, &plan);
    if (status == DLC_OK) {
        status = dlc_session_create(plan, &options, &session);
    }
    if (status == DLC_OK) {
        status = dlc_init_weights(session);
    }
    if (status == DLC_OK) {
        status = dlc_set_input(session, "train", "x", &xs);
    }
    if (status == DLC_OK) {
        status = dlc_set_input(session, "train", "y", &ys);
    }
    if (status == DLC_OK) {
        status = dlc_train_step(session, NULL);
    }
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
    return status;
}

static void test_out_of_memory(void **state) {
    Fixture *f = *state;
    const void *bytes;
    size_t n_bytes;
    dlc_plan_bytes(f->net, &bytes, &n_bytes);
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    for (int64_t n = 0; status != DLC_OK; n++) {
        assert_true(n < 100000);
        Failing failing = {.left = n};
        dlc_allocator allocator = {failing_alloc, failing_free, &failing};
        dlc_context_options options = {.struct_size = sizeof(options), .allocator = &allocator};
        dlc_context *context = NULL;
        status = dlc_context_create(&options, &context);
        if (status == DLC_OK) {
            status = whole_run(context, bytes, n_bytes);
        }
        dlc_context_destroy(context);
        assert_int_equal(failing.live, 0);
        assert_true(status == DLC_OK || status == DLC_ERROR_OUT_OF_MEMORY);
    }
}

static void test_compile_out_of_memory(void **state) {
    (void)state;
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    for (int64_t n = 1; status != DLC_OK; n += 1 + n / 8) {
        assert_true(n < 10000000);
        Failing failing = {.left = n};
        dlc_allocator allocator = {failing_alloc, failing_free, &failing};
        dlc_context_options options = {.struct_size = sizeof(options), .allocator = &allocator};
        dlc_context *context = NULL;
        assert_int_equal(dlc_context_create(&options, &context), DLC_OK);
        dlc_plan *plan = NULL;
        status = dlc_compile(context, lookup, strlen(lookup), NULL, &plan);
        dlc_plan_destroy(plan);
        dlc_context_destroy(context);
        assert_int_equal(failing.live, 0);
        assert_true(status == DLC_OK || status == DLC_ERROR_OUT_OF_MEMORY);
    }
}

static void test_bench(void **state) {
    Fixture *f = *state;
    dlc_session *session = open_session(f, f->net, 0, 0);
    dlc_bench_options options = {.struct_size = sizeof(options), .repeats = 5, .warmup = 1};
    dlc_bench_result result = {.struct_size = sizeof(result)};
    OK(f, dlc_bench(session, "train", &options, &result));
    assert_int_equal(result.repeats, 5);
    assert_int_equal(result.rows, 8);
    assert_true(result.p10 <= result.median && result.median <= result.p90);
    assert_true(result.flops > 0 && result.bytes > 0);
    dlc_session_destroy(session);
}

/* Inputs say the dims of weights, also before the first run. */
static void test_inputs_bind_weights(void **state) {
    Fixture *f = *state;
    dlc_plan *plan = compile(f->context, "dim B\ndim I\n"
                                         "model m(x: f32[B, I]) { output x |> linear(2) as a }\n");
    dlc_session *session = open_session(f, plan, 1, 0);
    assert_int_equal(dlc_init_weights(session), DLC_ERROR_MISMATCH);
    float x[6] = {1, 2, 3, 4, 5, 6};
    int64_t shape[2] = {2, 3};
    DLTensor value = tensor(x, 2, shape, kDLFloat, 32);
    OK(f, dlc_set_input(session, NULL, "x", &value));
    OK(f, dlc_init_weights(session));
    const DLTensor *weight = NULL;
    OK(f, dlc_view_variable(session, "a.weight", &weight));
    assert_int_equal(weight->shape[1], 3);
    OK(f, dlc_run(session, NULL));
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inputs_bind_weights),
        cmocka_unit_test(test_diagnostics),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_emit_and_retarget),
        cmocka_unit_test(test_inputs),
        cmocka_unit_test(test_other_rows),
        cmocka_unit_test(test_fault),
        cmocka_unit_test(test_train_same_bits),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_evaluate),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_memory_as_foretold),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_compile_out_of_memory),
        cmocka_unit_test(test_bench),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
