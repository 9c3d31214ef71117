/* The public API over the shared libraries: compiling from memory, inputs and outputs, faults,
 * memory; every promise of dlc.h that a user would notice broken. */
#include "tests/unit/api_net.h"

#include <stdatomic.h>
#include <stdio.h>

/* -- Compiling -- */

static void test_diagnostics(void **state) {
    Net *f = *state;
    static const char bad[] = "dim B\nmodel m(x: f32[B, 3]) {\n    output y\n}\n";
    dlc_plan *plan = NULL;
    dlc_compile_options options = {.struct_size = sizeof(options), .source_name = "bad.dl"};
    assert_int_equal(dlc_compile(f->context, bad, strlen(bad), &options, &plan), DLC_ERROR_COMPILE);
    assert_null(plan);
    assert_int_equal(dlc_error_count(f->context), 1);
    assert_non_null(strstr(dlc_diagnostics_text(f->context, 0), "bad.dl:3:"));
    assert_non_null(strstr(dlc_diagnostics_json(f->context), "\"bad.dl\""));
    options.flags = DLC_COMPILE_CHECK;
    assert_int_equal(dlc_compile(f->context, NET_PROGRAM, strlen(NET_PROGRAM), &options, NULL),
                     DLC_OK);
    assert_int_equal(dlc_error_count(f->context), 0);
    options.struct_size = 3;
    assert_int_equal(dlc_compile(f->context, NET_PROGRAM, strlen(NET_PROGRAM), &options, &plan),
                     DLC_ERROR_INVALID_ARGUMENT);
}

static void test_same_bytes(void **state) {
    Net *f = *state;
    dlc_plan *again = api_compile(f->context, NET_PROGRAM, NULL);
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
    Net *f = *state;
    static const char *const stages[] = {"ast",     "ir",       "grad", "fuse",
                                         "kernels", "schedule", "plan"};
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        char *text = NULL;
        dlc_compile_options options = {
            .struct_size = sizeof(options), .emit = stages[i], .on_text = keep_text, .user = &text};
        OK(f->context, dlc_compile(f->context, NET_PROGRAM, strlen(NET_PROGRAM), &options, NULL));
        assert_non_null(text);
        assert_true(strlen(text) > 10);
        free(text);
    }
    const void *bytes;
    size_t n;
    dlc_plan_bytes(f->net, &bytes, &n);
    dlc_plan *plan = NULL;
    OK(f->context, dlc_plan_load_memory(f->context, bytes, n, "net", DLC_PLAN_NO_NATIVE, &plan));
    assert_int_equal(dlc_plan_kernel_count(plan), dlc_plan_kernel_count(f->net));
    dlc_plan_destroy(plan);
}

/* A plan for a mesh says so, keeps it when it is compiled anew, and names the same program; what
 * has nothing behind it is told apart from what is no mesh. */
static void test_mesh(void **state) {
    Net *f = *state;
    const size_t length = strlen(NET_PROGRAM);
    dlc_compile_options options = {.struct_size = sizeof(options), .mesh = "dp=*"};
    dlc_plan *plan = NULL, *again = NULL;
    OK(f->context, dlc_compile(f->context, NET_PROGRAM, length, &options, &plan));
    assert_null(dlc_plan_setting(f->net, "layout"));
    assert_string_equal(dlc_plan_setting(plan, "layout"), "mesh data=*\n");
    assert_string_equal(dlc_plan_setting(plan, "program"), dlc_plan_setting(f->net, "program"));
    const void *bytes;
    size_t n;
    dlc_plan_bytes(plan, &bytes, &n);
    OK(f->context, dlc_plan_load_memory(f->context, bytes, n, "net", DLC_PLAN_NO_NATIVE, &again));
    assert_string_equal(dlc_plan_setting(again, "layout"), "mesh data=*\n");
    dlc_plan_destroy(again);
    dlc_plan_destroy(plan);
    static const struct {
        dlc_compile_options options;
        dlc_status status;
    } rows[] = {
        {{.mesh = "data=0"}, DLC_ERROR_INVALID_ARGUMENT},
        {{.mesh = "program"}, DLC_ERROR_INVALID_ARGUMENT}, /* which has none */
        {{.mesh = ""}, DLC_ERROR_INVALID_ARGUMENT},
        {{.mesh = "data=2", .zero = 4}, DLC_ERROR_INVALID_ARGUMENT},
        {{.mesh = "data=2", .zero = -2}, DLC_ERROR_INVALID_ARGUMENT},
        {{.mesh = "data=2", .microbatches = -1}, DLC_ERROR_INVALID_ARGUMENT},
        {{.mesh = "model=2", .sequence = "yes"}, DLC_ERROR_INVALID_ARGUMENT},
        {{.zero = 1}, DLC_ERROR_INVALID_ARGUMENT},
        {{.sequence = "off"}, DLC_ERROR_INVALID_ARGUMENT},
        {{.exchange = "bf16"}, DLC_ERROR_INVALID_ARGUMENT},
        {{.mesh = "data=2", .exchange = "f16"}, DLC_ERROR_INVALID_ARGUMENT},
        {{.mesh = "data=2", .exchange = "bf16"}, DLC_OK},
        {{.microbatches = 2}, DLC_ERROR_INVALID_ARGUMENT},
        {{.mesh = "data=2, pipe=2"}, DLC_ERROR_UNSUPPORTED},
        {{.mesh = "data=2", .zero = 3}, DLC_OK},
        {{.mesh = "data=2", .sequence = "on"}, DLC_OK},
        {{.mesh = "data=2", .schedule = "1f1b"}, DLC_ERROR_UNSUPPORTED},
        {{.mesh = "data=2 { zero 3 }", .zero = DLC_ZERO_OFF}, DLC_OK},
        {{.mesh = "data=1", .zero = DLC_ZERO_OFF}, DLC_OK},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        options = rows[i].options;
        options.struct_size = sizeof(options);
        plan = NULL;
        assert_int_equal(dlc_compile(f->context, NET_PROGRAM, length, &options, &plan),
                         rows[i].status);
        dlc_plan_destroy(plan);
    }
}

/* Heads that a mesh cannot share are an error of the program; of a session that asks for such a
 * mesh, its text. */
static void test_heads(void **state) {
    Net *f = *state;
    const char *text = "dim B\n"
                       "model m(x: [B, 4, 6]) {\n"
                       "    output x |> multi_head_attention(3) as mix\n"
                       "}\n";
    const char *said = "error[E0629]: the 3 heads of the attention in 'mix' do not divide by model";
    dlc_compile_options options = {.struct_size = sizeof(options), .mesh = "model=2"};
    dlc_plan *plan = NULL;
    assert_int_equal(dlc_compile(f->context, text, strlen(text), &options, &plan),
                     DLC_ERROR_COMPILE);
    assert_non_null(strstr(dlc_diagnostics_text(f->context, 0), said));
    assert_non_null(strstr(dlc_diagnostics_text(f->context, 0), "help: model=1 or 3 would do"));
    options.mesh = NULL;
    OK(f->context, dlc_compile(f->context, text, strlen(text), &options, &plan));
    dlc_session_options asked = {
        .struct_size = sizeof(asked), .device = "cpu*4", .mesh = "model=4"};
    dlc_session *session = NULL;
    assert_int_equal(dlc_session_create(plan, &asked, &session), DLC_ERROR_COMPILE);
    assert_non_null(strstr(dlc_last_error(f->context), said));
    assert_non_null(strstr(dlc_last_error(f->context), "help: model=1 or 3 would do"));
    dlc_plan_destroy(plan);
}

/* -- Inputs and outputs -- */

static void test_inputs(void **state) {
    Net *f = *state;
    dlc_session *session = net_open(f, f->net, 0, 0);
    OK(f->context, dlc_init_weights(session));
    float x[12];
    for (int i = 0; i < 12; i++) {
        x[i] = (float)i / 10;
    }
    int64_t shape[] = {4, 3}, wrong[] = {4, 2};
    DLTensor xs = api_floats(x, 2, shape);
    assert_int_equal(dlc_run(session, "infer"), DLC_ERROR_NOT_FOUND);
    DLTensor misfit = api_floats(x, 2, wrong);
    assert_int_equal(dlc_set_input(session, "infer", "x", &misfit), DLC_ERROR_MISMATCH);
    double wide[12] = {[5] = 1e300};
    misfit = api_tensor(wide, 2, shape, kDLFloat, 64);
    assert_int_equal(dlc_set_input(session, "infer", "x", &misfit), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(f->context), "1e+300"));
    wide[5] = 0.5;
    OK(f->context, dlc_set_input(session, "infer", "x", &misfit));
    assert_int_equal(dlc_set_input(session, "infer", "z", &xs), DLC_ERROR_NOT_FOUND);
    assert_int_equal(dlc_set_input(session, "no", "x", &xs), DLC_ERROR_NOT_FOUND);
    OK(f->context, dlc_set_input(session, "infer", "x", &xs));
    OK(f->context, dlc_run(session, "infer"));
    const DLTensor *view;
    OK(f->context, dlc_view_output(session, NULL, NULL, &view));
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
    DLTensor columns = api_floats(turned, 2, shape);
    columns.strides = strides;
    OK(f->context, dlc_set_input(session, "infer", "x", &columns));
    OK(f->context, dlc_run(session, "infer"));
    DLManagedTensorVersioned *taken;
    OK(f->context, dlc_take_output(session, NULL, "out", &taken));
    dlc_session_destroy(session);
    assert_memory_equal(taken->dl_tensor.data, straight, sizeof(straight));
    taken->deleter(taken);
}

static void test_other_rows(void **state) {
    Net *f = *state;
    dlc_session *session = net_open(f, f->net, 2, 1);
    OK(f->context, dlc_init_weights(session));
    float x[30] = {0}, y[10] = {0};
    for (int64_t rows = 10; rows > 0; rows -= 3) {
        int64_t x_shape[] = {rows, 3}, y_shape[] = {rows, 1};
        DLTensor xs = api_floats(x, 2, x_shape), ys = api_floats(y, 2, y_shape);
        OK(f->context, dlc_set_input(session, "eval", "x", &xs));
        if (rows < 10) { /* y still has the rows of before */
            assert_int_equal(dlc_run(session, "eval"), DLC_ERROR_MISMATCH);
            assert_non_null(strstr(dlc_last_error(f->context), "'y'"));
        }
        OK(f->context, dlc_set_input(session, "eval", "y", &ys));
        OK(f->context, dlc_run(session, "eval"));
    }
    dlc_session_destroy(session);
}

/* -- Failing steps store nothing -- */

static void test_fault(void **state) {
    Net *f = *state;
    dlc_session *session = net_open(f, f->words, 0, 0);
    OK(f->context, dlc_init_weights(session));
    const DLTensor *table;
    OK(f->context, dlc_view_variable(session, "table.weight", &table));
    float before[20];
    memcpy(before, table->data, sizeof(before));
    int32_t ids[] = {0, 4, 7, 1};
    float y[] = {1, 1, 1, 1};
    int64_t shape[] = {4};
    DLTensor is = api_tensor(ids, 1, shape, kDLInt, 32), ys = api_floats(y, 1, shape);
    OK(f->context, dlc_set_input(session, "train", "ids", &is));
    OK(f->context, dlc_set_input(session, "train", "y", &ys));
    assert_int_equal(dlc_train_step(session, NULL), DLC_ERROR_FAULT);
    const char *error = dlc_last_error(f->context);
    assert_non_null(strstr(error, "7"));
    assert_non_null(strstr(error, "5"));
    assert_non_null(strstr(error, ":3:")); /* the line of `embedding` */
    OK(f->context, dlc_view_variable(session, "table.weight", &table));
    assert_memory_equal(before, table->data, sizeof(before));
    ids[2] = 2;
    OK(f->context, dlc_set_input(session, "train", "ids", &is));
    y[1] = 0; /* a division by zero: the loss is infinite */
    OK(f->context, dlc_set_input(session, "train", "y", &ys));
    assert_int_equal(dlc_train_step(session, NULL), DLC_ERROR_NON_FINITE);
    assert_non_null(strstr(dlc_last_error(f->context), "the first infinity comes from input:4:"));
    OK(f->context, dlc_view_variable(session, "table.weight", &table));
    assert_memory_equal(before, table->data, sizeof(before));
    y[1] = 1;
    OK(f->context, dlc_set_input(session, "train", "y", &ys));
    OK(f->context, dlc_train_step(session, NULL));
    OK(f->context, dlc_view_variable(session, "table.weight", &table));
    assert_memory_not_equal(before, table->data, sizeof(before));
    int64_t step;
    OK(f->context, dlc_get_counter(session, "step", &step));
    assert_int_equal(step, 1);
    dlc_session_destroy(session);
}

static void test_memory_as_foretold(void **state) {
    Net *f = *state;
    dlc_session *session = net_open(f, f->net, 0, 0);
    OK(f->context, dlc_init_weights(session));
    float x[24] = {0}, y[8] = {0};
    int64_t x_shape[] = {8, 3}, y_shape[] = {8, 1};
    DLTensor xs = api_floats(x, 2, x_shape), ys = api_floats(y, 2, y_shape);
    OK(f->context, dlc_set_input(session, "train", "x", &xs));
    OK(f->context, dlc_set_input(session, "train", "y", &ys));
    OK(f->context, dlc_train_step(session, NULL));
    dlc_entry_summary said = {.struct_size = sizeof(said)};
    dlc_memory used = {.struct_size = sizeof(used)};
    OK(f->context, dlc_plan_summarize(f->net, "train", NULL, 0, &said));
    OK(f->context, dlc_session_memory(session, "train", &used));
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
    DLTensor xs = api_floats(x, 2, x_shape), ys = api_floats(y, 2, y_shape);
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
    Net *f = *state;
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
        status = dlc_compile(context, NET_LOOKUP, strlen(NET_LOOKUP), NULL, &plan);
        dlc_plan_destroy(plan);
        dlc_context_destroy(context);
        assert_int_equal(failing.live, 0);
        assert_true(status == DLC_OK || status == DLC_ERROR_OUT_OF_MEMORY);
    }
}

static void test_bench(void **state) {
    Net *f = *state;
    dlc_session *session = net_open(f, f->net, 0, 0);
    dlc_bench_options options = {.struct_size = sizeof(options), .repeats = 5, .warmup = 1};
    dlc_bench_result result = {.struct_size = sizeof(result)};
    OK(f->context, dlc_bench(session, "train", &options, &result));
    assert_int_equal(result.repeats, 5);
    assert_int_equal(result.rows, 8);
    assert_true(result.p10 <= result.median && result.median <= result.p90);
    assert_true(result.flops > 0 && result.bytes > 0);
    dlc_session_destroy(session);
}

/* Inputs say the dims of weights, also before the first run. */
static void test_inputs_bind_weights(void **state) {
    Net *f = *state;
    dlc_plan *plan = api_compile(f->context,
                                 "dim B\ndim I\n"
                                 "model m(x: f32[B, I]) { output x |> linear(2) as a }\n",
                                 NULL);
    dlc_session *session = net_open(f, plan, 1, 0);
    assert_int_equal(dlc_init_weights(session), DLC_ERROR_MISMATCH);
    float x[6] = {1, 2, 3, 4, 5, 6};
    int64_t shape[2] = {2, 3};
    DLTensor value = api_floats(x, 2, shape);
    OK(f->context, dlc_set_input(session, NULL, "x", &value));
    OK(f->context, dlc_init_weights(session));
    const DLTensor *weight = NULL;
    OK(f->context, dlc_view_variable(session, "a.weight", &weight));
    assert_int_equal(weight->shape[1], 3);
    OK(f->context, dlc_run(session, NULL));
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inputs_bind_weights),
        cmocka_unit_test(test_diagnostics),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_emit_and_retarget),
        cmocka_unit_test(test_mesh),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_inputs),
        cmocka_unit_test(test_other_rows),
        cmocka_unit_test(test_fault),
        cmocka_unit_test(test_memory_as_foretold),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_compile_out_of_memory),
        cmocka_unit_test(test_bench),
    };
    return cmocka_run_group_tests_name("api", tests, net_setup, net_teardown);
}
