/* Axes of size 0, from the language to the last byte: what expressions are over nothing, what is
 * refused and how, steps on no rows, variables without elements. RANDOM_TARGET and RANDOM_DEVICE
 * say where, as for tests/random. */
#include "tests/unit/api.h"
#include "tests/unit/needs.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static dlc_context *context;

static int setup(void **state) {
    (void)state;
    return dlc_context_create(NULL, &context) == DLC_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    dlc_context_destroy(context);
    return 0;
}

static dlc_plan *compiled(const char *text) {
    const char *target = getenv("RANDOM_TARGET");
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .source_name = "empty.dl",
                                   .targets = &target,
                                   .n_targets = target != NULL};
    return api_compile(context, text, &options);
}

static dlc_session *open_session(dlc_plan *plan) {
    dlc_session_options options = {.struct_size = sizeof(options),
                                   .device = getenv("RANDOM_DEVICE"),
                                   .threads = 2,
                                   .poison = 1};
    dlc_session *session = NULL;
    OK(context, dlc_session_create(plan, &options, &session));
    return session;
}

/* An input of ones, or of the integer 0; without elements it has no memory either. */
static void give(dlc_session *session, const char *entry, const char *name, int32_t rank,
                 const int64_t *shape) {
    enum { MOST = 4096 };
    static float ones[MOST];
    static int32_t zeros[MOST];
    bool whole = strcmp(name, "l") == 0 || strcmp(name, "ids") == 0;
    int64_t dims[8], n = 1;
    for (int32_t i = 0; i < rank; i++) {
        dims[i] = shape[i];
        n *= shape[i];
    }
    assert_true(n <= MOST);
    for (int i = 0; i < MOST; i++) {
        ones[i] = 1;
    }
    void *data = n == 0 ? NULL : whole ? (void *)zeros : (void *)ones;
    DLTensor tensor = api_tensor(data, rank, dims, whole ? kDLInt : kDLFloat, 32);
    OK(context, dlc_set_input(session, entry, name, &tensor));
}

static void print(char *out, size_t size, const DLTensor *t) {
    int64_t n = 1;
    size_t at = 0;
    at += (size_t)snprintf(out + at, size - at, "[");
    for (int32_t i = 0; i < t->ndim; i++) {
        n *= t->shape[i];
        at += (size_t)snprintf(out + at, size - at, "%s%lld", i ? "," : "", (long long)t->shape[i]);
    }
    at += (size_t)snprintf(out + at, size - at, "]");
    for (int64_t i = 0; i < n && at + 32 < size; i++) {
        double value = t->dtype.code == kDLFloat ? (double)((const float *)t->data)[i]
                       : t->dtype.code == kDLInt ? (double)((const int32_t *)t->data)[i]
                                                 : (double)((const uint8_t *)t->data)[i];
        value = isnan(value) ? fabs(value) : value;
        at += (size_t)snprintf(out + at, size - at, isnan(value) ? " nan" : " %g", value);
    }
}

/* -- Expressions -- */

static const struct {
    const char *text, *wanted;
} cases[] = {
#define EMPTY(text, wanted) {text, wanted},
#include "tests/unit/empty_cases.def"
#undef EMPTY
};

enum { N_CASES = sizeof(cases) / sizeof(cases[0]) };

static const char head[] =
    "dim N in 0..64\n"
    "model m(x: f32[N, 3], y: f32[N], z: f32[3, N], l: i32[N], image: f32[N, 2, 5, 5],"
    " plane: f32[2, 2, N, N], c: f32[2, N, 5, 5], four: f32[4]) {\n"
    "    output read = sum(x) + sum(y) + sum(z) + sum(cast(l, f32)) + sum(image) + sum(plane)"
    " + sum(c) + sum(four)\n";

static void give_all(dlc_session *session, int64_t n) {
    give(session, "infer", "x", 2, (int64_t[]){n, 3});
    give(session, "infer", "y", 1, (int64_t[]){n});
    give(session, "infer", "z", 2, (int64_t[]){3, n});
    give(session, "infer", "l", 1, (int64_t[]){n});
    give(session, "infer", "image", 4, (int64_t[]){n, 2, 5, 5});
    give(session, "infer", "plane", 4, (int64_t[]){2, 2, n, n});
    give(session, "infer", "c", 4, (int64_t[]){2, n, 5, 5});
    give(session, "infer", "four", 1, (int64_t[]){4});
}

/* All in one plan: it runs on nothing, and on something before and afterwards. */
static void test_expressions(void **state) {
    (void)state;
    size_t size = sizeof(head) + 300 * (size_t)N_CASES, at = 0;
    char *text = malloc(size);
    assert_non_null(text);
    at += (size_t)snprintf(text, size, "%s", head);
    for (int i = 0; i < N_CASES; i++) {
        at += (size_t)snprintf(text + at, size - at, "    r%d = %s\n    output r%d\n", i,
                               cases[i].text, i);
    }
    assert_true(at + 3 < size);
    strcpy(text + at, "}\n");
    dlc_plan *plan = compiled(text);
    free(text);
    for (int turn = 0; turn < 2; turn++) {
        dlc_session *session = open_session(plan);
        OK(context, dlc_session_bind(session, "N", 0)); /* weights have it in their shapes */
        OK(context, dlc_init_weights(session));
        give_all(session, 0);
        OK(context, dlc_run(session, "infer"));
        int wrong = 0;
        for (int i = 0; i < N_CASES; i++) {
            char name[16], got[512];
            const DLTensor *result;
            snprintf(name, sizeof(name), "r%d", i);
            OK(context, dlc_view_output(session, "infer", name, &result));
            print(got, sizeof(got), result);
            if (strcmp(got, cases[i].wanted) != 0) {
                print_error("%s is %s, not %s\n", cases[i].text, got, cases[i].wanted);
                wrong++;
            }
            DLManagedTensorVersioned *taken;
            OK(context, dlc_take_output(session, "infer", name, &taken));
            taken->deleter(taken);
        }
        assert_int_equal(wrong, 0);
        dlc_session_destroy(session);
        session = open_session(plan);
        OK(context, dlc_session_bind(session, "N", 6));
        OK(context, dlc_init_weights(session));
        give_all(session, 6);
        OK(context, dlc_run(session, "infer"));
        dlc_session_destroy(session);
    }
    dlc_plan_destroy(plan);
}

/* -- What has no value over nothing -- */

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *wanted;
    } refused[] = {
        {"max(y)", "the size of an axis of 'max' must be at least 1"},
        {"min(x, axis=0)", "the size of an axis of 'min' must be at least 1"},
        {"{n c -> c by max}(x)", "the size of an axis of 'max' must be at least 1"},
        {"argmax(x, axis=0)", "the size of the axis of 'argmax' must be at least 1"},
        {"argmin(y)", "the size of the axis of 'argmin' must be at least 1"},
        {"categorical(z)", "the size of the axis of 'categorical' must be at least 1"},
        {"topk(y, 1)[0]", "a slice ends behind the axis"},
        {"y[0]", "an index is behind the end"},
        {"y[-1]", "an index is below 0"},
        {"y[1:]", "a slice ends before it starts"},
        {"resize_linear(x, 5, axis=0)", "there is nothing to interpolate between"},
        {"max_pool2d(plane, 2)", "the kernel reaches beyond its input, whose size is N"},
        {"take(x, iota(1), axis=0)", "index out of range: 0 is not in 0..0"},
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text), "%s    r = %s\n    output r\n}\n", head, refused[i].text);
        dlc_plan *plan = compiled(text);
        dlc_session *session = open_session(plan);
        give_all(session, 0);
        const char *error = dlc_run(session, "infer") == DLC_OK ? "" : dlc_last_error(context);
        if (!strstr(error, refused[i].wanted) || !strstr(error, "empty.dl:4:")) {
            fail_msg("%s: '%s', not '%s'", refused[i].text, error, refused[i].wanted);
        }
        dlc_session_destroy(session);
        dlc_plan_destroy(plan);
    }
}

/* -- Dims -- */

/* The usual size of a dim is one that it may have; 0 only where there is no other. */
static void test_usual_sizes(void **state) {
    (void)state;
    static const char text[] = "dim B in 0..64\n"
                               "dim N in 0..0\n"
                               "dim M % 8 in 0..5\n"
                               "model m(x: f32[B, N], y: f32[M], z: f32[0, 2]) {\n"
                               "    output total = sum(x) + sum(y) + sum(z)\n"
                               "}\n";
    static const int64_t usual[] = {32, 0, 0};
    dlc_plan *plan = compiled(text);
    assert_int_equal(dlc_plan_dim_count(plan), 3);
    for (size_t d = 0; d < 3; d++) {
        dlc_dim_info info = {.struct_size = sizeof(info)};
        OK(context, dlc_plan_dim(plan, d, &info));
        assert_int_equal(info.low, 0);
        assert_int_equal(info.usual, usual[d]);
    }
    dlc_entry_summary summary = {.struct_size = sizeof(summary)};
    OK(context, dlc_plan_summarize(plan, "infer", NULL, 0, &summary));
    assert_int_equal(summary.input_bytes, 0);
    dlc_binding binding = {"B", -1};
    assert_int_equal(dlc_plan_summarize(plan, "infer", &binding, 1, &summary), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(context), "dim B is -1, outside 0 to 64"));
    dlc_plan_destroy(plan);
    plan = compiled("dim B\nmodel m(x: f32[B]) {\n    output total = sum(x)\n}\n");
    dlc_session *session = open_session(plan);
    give(session, "infer", "x", 1, (int64_t[]){1});
    OK(context, dlc_run(session, "infer"));
    int64_t none[] = {0};
    DLTensor nothing = {
        .device = {kDLCPU, 0}, .ndim = 1, .dtype = {kDLFloat, 32, 1}, .shape = none};
    dlc_status status = dlc_set_input(session, "infer", "x", &nothing);
    status = status == DLC_OK ? dlc_run(session, "infer") : status;
    assert_int_equal(status, DLC_ERROR_MISMATCH); /* a dim without bounds is at least 1 */
    assert_non_null(strstr(dlc_last_error(context), "dim B is 0, but must be at least 1"));
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

/* -- Training -- */

static const char net[] =
    "dim B in 0..64\n"
    "dim T in 0..16\n"
    "model net(image: f32[B, 2, 6, 6], ids: i32[B, T], y: f32[B]) {\n"
    "    param none: [0, 4] = normal(0, 1)\n"
    "    state seen: [0] = zeros\n"
    "    h = image |> conv2d(4, kernel=3, padding=1) as c |> relu |> max_pool2d(2)\n"
    "    p = h |> {b c y x -> b (c y x)} |> linear(6) as f |> layer_norm as ln\n"
    "    e = ids |> embedding(7, 6) as table |> lstm(6) as rnn\n"
    "    q = {b t c -> b 1 t c}(e)\n"
    "    a = {b h t c -> b c}(scaled_dot_product_attention(q, q, q, causal=true))\n"
    "    out = sum(p ** 3, axis=1) + sum(a, axis=1) + sum(none)\n"
    "    if training { seen <- seen + 1.0 }\n"
    "    output out\n"
    "    metric off = mean(abs(out - y))\n"
    "    loss SUM(square(out - y))\n"
    "}\n"
    "train net { optimizer adam(lr=0.1); batch 4; clip_norm 1.0 }\n";

static dlc_plan *compile_net(const char *sum) {
    char text[sizeof(net) + 16];
    const char *at = strstr(net, "SUM");
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - net), net, sum, at + 3);
    return compiled(text);
}

static void give_rows(dlc_session *session, int64_t b, int64_t t) {
    give(session, "train", "image", 4, (int64_t[]){b, 2, 6, 6});
    give(session, "train", "ids", 2, (int64_t[]){b, t});
    give(session, "train", "y", 1, (int64_t[]){b});
}

static const char *const variables[] = {"c.weight", "c.bias", "f.weight", "table.weight",
                                        "rnn.weight_ih_l0"};
enum { N_VARIABLES = sizeof(variables) / sizeof(variables[0]) };

static double digest(dlc_session *session, int i) {
    const DLTensor *value;
    OK(context, dlc_view_variable(session, variables[i], &value));
    double sum = 0;
    int64_t n = 1;
    for (int32_t k = 0; k < value->ndim; k++) {
        n *= value->shape[k];
    }
    for (int64_t k = 0; k < n; k++) {
        sum += (double)((const float *)value->data)[k] * (double)(k % 7 + 1);
    }
    return sum;
}

/* Gradients of a sum over no rows are zero; no steps of the loop, no keys, are no obstacle. */
static void test_training(void **state) {
    (void)state;
    dlc_plan *plan = compile_net("sum");
    dlc_session *session = open_session(plan);
    OK(context, dlc_init_weights(session));
    double before[N_VARIABLES];
    for (int i = 0; i < N_VARIABLES; i++) {
        before[i] = digest(session, i);
    }
    static const int64_t rows[][2] = {{0, 3}, {0, 0}, {3, 0}, {3, 4}, {0, 4}};
    for (int turn = 0; turn < 5; turn++) {
        give_rows(session, rows[turn][0], rows[turn][1]);
        dlc_step_info info = {.struct_size = sizeof(info)};
        OK(context, dlc_train_step(session, &info));
        assert_int_equal(info.step, turn + 1);
        if (rows[turn][0] == 0) {
            assert_true(info.loss == 0);
        }
        for (int i = 0; i < N_VARIABLES; i++) {
            bool reached = turn == 2 ? i < 3 : turn > 2;
            double now = digest(session, i);
            assert_true(isfinite(now));
            if (reached ? turn < 4 && now == before[i] : now != before[i]) {
                fail_msg("step %d: %s is %g, was %g", turn, variables[i], now, before[i]);
            }
            before[i] = turn < 2 ? before[i] : now;
        }
    }
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

/* The mean of nothing is no number: nothing is stored, and the next step is as if there had been
 * none. */
static void test_mean_of_nothing(void **state) {
    (void)state;
    dlc_plan *plan = compile_net("mean");
    dlc_session *session = open_session(plan);
    OK(context, dlc_init_weights(session));
    double before = digest(session, 0);
    give_rows(session, 0, 2);
    assert_int_equal(dlc_train_step(session, NULL), DLC_ERROR_NON_FINITE);
    assert_true(digest(session, 0) == before);
    give_rows(session, 2, 2);
    OK(context, dlc_train_step(session, NULL));
    assert_true(digest(session, 0) != before);
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

/* That a call was refused, and says so; `wanted` NULL: that it was not. */
static void expect_refusal(dlc_status status, const char *wanted) {
    const char *error = status == DLC_OK ? "" : dlc_last_error(context);
    if (status != (wanted ? DLC_ERROR_MISMATCH : DLC_OK) || !strstr(error, wanted ? wanted : "")) {
        fail_msg("'%s', not '%s'", error, wanted ? wanted : "");
    }
}

/* Walking over data that do not fill one batch is refused, each with the number that is wrong. */
static void test_too_few_rows(void **state) {
    (void)state;
    enum { FREE = -1 };
    static const struct {
        int64_t bound, rows, asked;
        const char *evaluated, *trained; /* NULL: done */
    } refused[] = {
        {FREE, 0, 4, "the data have no rows", "the data have no rows"},
        {FREE, 1, 4, NULL, "have 1 row, a batch needs 4: give more rows, or ask for a smaller"},
        {FREE, 4, 4, NULL, NULL},
        {4, 0, 0, "the data have no rows", "the data have no rows"},
        {4, 3, 0, "have 3 rows, a batch needs 4, at which it is fixed: give more rows",
         "have 3 rows, a batch needs 4, at which it is fixed: give more rows"},
        {4, 4, 0, NULL, NULL},
        {0, 4, 0, "the batch of 'm.eval' is fixed at no rows", "'m.train' is fixed at no rows"},
    };
    dlc_plan *plan = compiled("dim B in 0..64\nmodel m(x: f32[B]) {\n    param w: [1] = ones\n"
                              "    output y = x * w[0]\n    loss sum(square(x * w[0] - 2.0))\n}\n"
                              "train m { optimizer sgd(lr=0.0); steps 1 }\n");
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        dlc_session *session = open_session(plan);
        if (refused[i].bound >= 0) {
            OK(context, dlc_session_bind(session, "B", refused[i].bound));
        }
        OK(context, dlc_init_weights(session));
        static float values[8];
        int64_t shape[] = {refused[i].rows};
        const DLTensor x = api_floats(values, 1, shape), *const tensors[] = {&x};
        const char *const names[] = {"x"};
        dlc_dataset *data = NULL;
        OK(context, dlc_dataset_from_tensors(context, names, tensors, 1, &data));
        dlc_metric metrics[4];
        size_t n = 0;
        expect_refusal(dlc_evaluate(session, data, refused[i].asked, metrics, 4, &n),
                       refused[i].evaluated);
        dlc_train_options train = {
            .struct_size = sizeof(train), .data = data, .batch = refused[i].asked};
        expect_refusal(dlc_train(session, &train, NULL), refused[i].trained);
        dlc_dataset_destroy(data);
        dlc_session_destroy(session);
    }
    dlc_plan_destroy(plan);
}

/* Parameters, states and slots without elements are saved and loaded like others. */
static void test_resumed(void **state) {
    (void)state;
    dlc_plan *plan = compile_net("sum");
    dlc_session *straight = open_session(plan), *resumed = open_session(plan);
    char folder[] = "/tmp/dlc-empty-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/step", folder);
    OK(context, dlc_init_weights(straight));
    give_rows(straight, 3, 2);
    OK(context, dlc_train_step(straight, NULL));
    OK(context, dlc_checkpoint_save(straight, path));
    OK(context, dlc_train_step(straight, NULL));
    OK(context, dlc_checkpoint_load(resumed, path));
    const DLTensor *none;
    OK(context, dlc_view_variable(resumed, "none", &none));
    assert_int_equal(none->shape[0], 0);
    assert_int_equal(none->shape[1], 4);
    give_rows(resumed, 3, 2);
    OK(context, dlc_train_step(resumed, NULL));
    for (int i = 0; i < N_VARIABLES; i++) {
        assert_true(digest(straight, i) == digest(resumed, i));
    }
    snprintf(path, sizeof(path), "%s/weights", folder);
    OK(context, dlc_weights_save(resumed, path));
    OK(context, dlc_weights_load(straight, path, NULL));
    dlc_session_destroy(straight);
    dlc_session_destroy(resumed);
    dlc_plan_destroy(plan);
    char command[96];
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expressions),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_usual_sizes),     cmocka_unit_test(test_training),
        cmocka_unit_test(test_mean_of_nothing), cmocka_unit_test(test_too_few_rows),
        cmocka_unit_test(test_resumed),
    };
    if (getenv("DLC_CUDA_PATH") && !cudasim_can_compile()) {
        return TEST_SKIPPED;
    }
    return cmocka_run_group_tests_name("empty", tests, setup, teardown);
}
