/* What the public calls say to numbers, flags and names that none of them knows: which was wrong,
 * what was given, what there is; and that no name from outside reaches a terminal as it is. */
#include "tests/unit/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char model[] = "dim B\n"
                            "model net(x: f32[B, 3]) {\n"
                            "    out = x |> linear(2) as a\n"
                            "    output out\n"
                            "    loss mean(out * out)\n"
                            "}\n"
                            "train net { optimizer sgd(lr=0.1); batch 2; epochs 1 }\n";

typedef struct Fixture {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
    dlc_dataset *data;
    char logged[256];
} Fixture;

static void on_log(void *user, dlc_log_level level, const char *text) {
    Fixture *f = user;
    (void)level;
    snprintf(f->logged, sizeof(f->logged), "%s", text);
}

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    dlc_context_options options = {.struct_size = sizeof(options), .log = on_log, .user = f};
    dlc_session_options session = {.struct_size = sizeof(session), .threads = 1};
    float values[6] = {1, 2, 3, 4, 5, 6};
    int64_t shape[2] = {2, 3};
    DLTensor x = api_floats(values, 2, shape);
    const DLTensor *tensors[] = {&x};
    const char *names[] = {"x"};
    assert_int_equal(dlc_context_create(&options, &f->context), DLC_OK);
    assert_int_equal(dlc_compile(f->context, model, strlen(model), NULL, &f->plan), DLC_OK);
    assert_int_equal(dlc_session_create(f->plan, &session, &f->session), DLC_OK);
    assert_int_equal(dlc_dataset_from_tensors(f->context, names, tensors, 1, &f->data), DLC_OK);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    dlc_dataset_destroy(f->data);
    dlc_session_destroy(f->session);
    dlc_plan_destroy(f->plan);
    dlc_context_destroy(f->context);
    free(f);
    return 0;
}

/* The call is refused for what was given, in these words. */
static void refused(Fixture *f, dlc_status status, const char *words) {
    if (status != DLC_ERROR_INVALID_ARGUMENT || !strstr(dlc_last_error(f->context), words)) {
        fail_msg("wanted '%s', not %s: %s", words, dlc_status_text(status),
                 dlc_last_error(f->context));
    }
}

#define COMPILE(...)                                                                               \
    dlc_compile(f->context, model, strlen(model),                                                  \
                &(dlc_compile_options){.struct_size = sizeof(dlc_compile_options), __VA_ARGS__},   \
                &plan)
#define SESSION(...)                                                                               \
    dlc_session_create(                                                                            \
        f->plan, &(dlc_session_options){.struct_size = sizeof(dlc_session_options), __VA_ARGS__},  \
        &session)
#define TRAIN(...)                                                                                 \
    dlc_train(f->session,                                                                          \
              &(dlc_train_options){                                                                \
                  .struct_size = sizeof(dlc_train_options), .data = f->data, __VA_ARGS__},         \
              NULL)
#define BENCH(...)                                                                                 \
    dlc_bench(f->session, NULL,                                                                    \
              &(dlc_bench_options){.struct_size = sizeof(dlc_bench_options), __VA_ARGS__}, &bench)
#define DATASET(...)                                                                               \
    dlc_dataset_open(                                                                              \
        f->context, "/dev/null",                                                                   \
        &(dlc_dataset_options){.struct_size = sizeof(dlc_dataset_options), __VA_ARGS__}, &dataset)

static void test_flags(void **state) {
    Fixture *f = *state;
    dlc_plan *plan = NULL;
    const void *bytes;
    size_t n_bytes;
    char *text = NULL;
    dlc_plan_bytes(f->plan, &bytes, &n_bytes);
    refused(f, COMPILE(.flags = DLC_COMPILE_NO_LIBRARIES << 1 | DLC_COMPILE_CHECK),
            "dlc_compile_options.flags has the unknown bits 0x100; the known ones are 0xff");
    refused(f, dlc_plan_load(f->context, "/dev/null", 2, &plan),
            "dlc_plan_load: flags has the unknown bits 0x2; the known ones are 0x1");
    for (unsigned bit = 1; bit < 32; bit++) { /* none is kept for the library itself */
        refused(f, dlc_plan_load_memory(f->context, bytes, n_bytes, NULL, 1u << bit, &plan),
                "dlc_plan_load_memory: flags has the unknown bits");
    }
    refused(f, dlc_weights_describe(f->context, "/dev/null", 5, &text),
            "dlc_weights_describe: flags has the unknown bits 0x4");
    assert_null(plan);
    assert_null(text);
}

static void test_numbers(void **state) {
    Fixture *f = *state;
    dlc_plan *plan = NULL;
    dlc_session *session = NULL;
    dlc_dataset *dataset = NULL;
    dlc_bench_result bench = {.struct_size = sizeof(bench)};
    refused(f, COMPILE(.threads = -2), "dlc_compile_options.threads is -2; 0 is the least");
    refused(f, COMPILE(.memory_limit = -1), "dlc_compile_options.memory_limit is -1");
    refused(f, COMPILE(.compile_bytes = -1), "dlc_compile_options.compile_bytes is -1");
    refused(f, COMPILE(.compile_seconds = (double)NAN), "dlc_compile_options.compile_seconds is");
    refused(f, SESSION(.poison = 3), "dlc_session_options.poison is 3; it is one of 0 to 2");
    refused(f, SESSION(.poison = -1), "dlc_session_options.poison is -1");
    refused(f, SESSION(.threads = -1), "dlc_session_options.threads is -1");
    refused(f, TRAIN(.resume = 3), "dlc_train_options.resume is 3; it is one of 0 to 2");
    refused(f, TRAIN(.resume = -1), "dlc_train_options.resume is -1");
    refused(f, TRAIN(.lr = (double)INFINITY), "dlc_train_options.lr is inf");
    refused(f, TRAIN(.eval_batch = -4), "dlc_train_options.eval_batch is -4");
    refused(f, BENCH(.repeats = -1), "dlc_bench_options.repeats is -1");
    refused(f, BENCH(.warmup = -1), "dlc_bench_options.warmup is -1");
    refused(f, BENCH(.seconds = -0.5), "dlc_bench_options.seconds is -0.5");
    refused(f, DATASET(.window = -1), "dlc_dataset_options.window is -1");
    refused(f, DATASET(.stride = -1), "dlc_dataset_options.stride is -1");
    assert_true(!plan && !session && !dataset);
}

static void test_texts(void **state) {
    Fixture *f = *state;
    dlc_plan *plan = NULL;
    dlc_dataset *dataset = NULL;
    refused(f, COMPILE(.float_type = "f16"), "f32 or f64, not 'f16'");
    refused(f, COMPILE(.emit = "banana", .flags = DLC_COMPILE_CHECK),
            "unknown stage 'banana' to emit; there are ast");
    refused(f, COMPILE(.print_after = "banana", .flags = DLC_COMPILE_CHECK),
            "unknown pass 'banana'");
    refused(f, COMPILE(.skip_passes = "banana"), "unknown pass 'banana'");
    refused(f, DATASET(.format = "xls"), "unknown data format 'xls'; there are npz npy csv idx");
    refused(f, DATASET(.dtype = "f32"), "unknown token type 'f32'");
    assert_true(!plan && !dataset);
}

static dlc_status import_nothing(void *user, const char *importer, const char *path,
                                 const char **out_text, size_t *out_length) {
    (void)user, (void)importer, (void)path;
    *out_text = NULL;
    *out_length = 5;
    return DLC_OK;
}

static void test_import(void **state) {
    Fixture *f = *state;
    static const char text[] = "import \"other.dl\"\n";
    dlc_compile_options options = {
        .struct_size = sizeof(options), .import = import_nothing, .flags = DLC_COMPILE_CHECK};
    dlc_plan *plan = NULL;
    assert_int_equal(dlc_compile(f->context, text, strlen(text), &options, &plan),
                     DLC_ERROR_COMPILE);
    assert_non_null(strstr(dlc_diagnostics_text(f->context, 0), "import gave no text"));
}

/* Names in messages: the good ones as they are. */
static void test_names_shown(void **state) {
    Fixture *f = *state;
    static const struct {
        const char *given, *shown;
    } names[] = {
        {"größe", "'größe'"},
        {"a\x1b[31mb", "'a\\x1b[31mb'"},
        {"a\nb", "'a\\nb'"},
        {"a\x7f\t", "'a\\x7f\\x09'"},
        {"\xff\xc3", "'\\xff\\xc3'"},
        {"\xc2\x9b", "'\\xc2\\x9b'"}, /* begins a command to a terminal, in one character */
        {"\xed\xa0\x80", "'\\xed\\xa0\\x80'"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(dlc_run(f->session, names[i].given), DLC_ERROR_NOT_FOUND);
        if (!strstr(dlc_last_error(f->context), names[i].shown)) {
            fail_msg("%s is not in: %s", names[i].shown, dlc_last_error(f->context));
        }
    }
    char name[4001];
    memset(name, 0x1b, sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(dlc_run(f->session, name), DLC_ERROR_NOT_FOUND);
    assert_non_null(strstr(dlc_last_error(f->context), "\\x1b\\x1b"));
    assert_null(strchr(dlc_last_error(f->context), 0x1b));
}

/* The same in diagnostics, for the file and what the caller defines. */
static void test_diagnostics_shown(void **state) {
    Fixture *f = *state;
    dlc_define define = {"wid\x1b[31mth\nerror[E0001]: none", "3"};
    dlc_plan *plan = NULL;
    assert_int_equal(COMPILE(.source_name = "a\x1b[2J\n.dl", .defines = &define, .n_defines = 1),
                     DLC_ERROR_COMPILE);
    const char *text = dlc_diagnostics_text(f->context, 0);
    assert_null(strchr(text, 0x1b));
    assert_non_null(strstr(text, "wid\\x1b[31mth\\nerror"));
    static const char bad[] = "model m { output y }\n";
    dlc_compile_options options = {.struct_size = sizeof(options), .source_name = "a\x1b[2J\n.dl"};
    assert_int_equal(dlc_compile(f->context, bad, strlen(bad), &options, &plan), DLC_ERROR_COMPILE);
    text = dlc_diagnostics_text(f->context, 0);
    assert_null(strchr(text, 0x1b));
    if (!strstr(text, "a\\x1b[2J\\n.dl:1:")) {
        fail_msg("the place is not shown: %s", text);
    }
}

/* A log line is one line, whatever the plan is called. */
static void test_log_is_one_line(void **state) {
    Fixture *f = *state;
    const void *bytes;
    size_t n_bytes;
    dlc_plan *plan = NULL;
    dlc_plan_bytes(f->plan, &bytes, &n_bytes);
    assert_int_equal(
        dlc_plan_load_memory(f->context, bytes, n_bytes, "two\n lines", DLC_PLAN_NO_NATIVE, &plan),
        DLC_OK);
    dlc_plan_destroy(plan);
    assert_non_null(strstr(f->logged, "two\\n lines: compiled anew"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags),           cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_texts),           cmocka_unit_test(test_import),
        cmocka_unit_test(test_names_shown),     cmocka_unit_test(test_diagnostics_shown),
        cmocka_unit_test(test_log_is_one_line),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
