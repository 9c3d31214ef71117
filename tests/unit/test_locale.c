/* The library in a host whose locale has decimal commas and thousands separators: everything that
 * it writes and reads is the same as under "C". The locale is made by localedef in a scratch
 * folder; without it the test is skipped. */
#include "dlc/dlc.h"
#include "tests/unit/needs.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

/* Fractions wherever a program may have one: literals, labels, settings, schedules, metrics. */
static const char model[] =
    "dim B\n"
    "const rate = 0.125\n"
    "fn scaled(x: f32[...], by) { return x * by }\n"
    "model net(x: f32[B, 3], y: f32[B, 1]) {\n"
    "    for i in 0..2 { g = x |> linear(2) as \"part{i * 0.5}\" }\n"
    "    check mean(x) < 1e6, \"mean is above {1e6 * 1.5}\"\n"
    "    h = x |> linear(8) as a |> tanh |> dropout(0.25)\n"
    "    out = scaled(h, 0.75) |> linear(1) as b\n"
    "    show mean(out)\n"
    "    output out\n"
    "    metric error = mean(abs(out - y)) * 1.0625\n"
    "    loss mse(out, y) * rate\n"
    "}\n"
    "train net { optimizer adam(lr=warmup_cosine(peak=0.02, warmup=2, total=steps), beta2=0.95)\n"
    "    batch 4; epochs 2; seed 5; ema 0.875 }\n";
static const char wrong[] = "dim B\nmodel net(x: f32[B]) { output x |> linear(0.5) }\n";
static const char csv[] = "x[0],x[1],x[2],y\n0.5,1.5,-2.25,1e-1\n1.25,3,.5,0.75\n"
                          "0.1,0.2,0.3,-0.5\n2.5,0,1,1.5\n-0.5,0.25,0.125,2\n";

typedef struct Log {
    char *text;
    size_t length, capacity;
} Log;

static bool is_left_out; /* there was no locale to compare with */

static void add(Log *log, const char *label, const void *bytes, size_t length) {
    size_t needed = log->length + length + strlen(label) + 3;
    if (needed > log->capacity) {
        log->capacity = 2 * needed;
        log->text = realloc(log->text, log->capacity);
        assert_non_null(log->text);
    }
    log->length += (size_t)snprintf(log->text + log->length, strlen(label) + 2, "%s\n", label);
    memcpy(log->text + log->length, bytes, length);
    log->length += length;
    log->text[log->length++] = '\n';
}

static void add_text(Log *log, const char *label, const char *text) {
    add(log, label, text, strlen(text));
}

static void on_log(void *user, dlc_log_level level, const char *text) {
    add_text(user, level == DLC_LOG_SHOW ? "show" : "log", text);
}

static void on_text(void *user, const char *stage, const char *text) {
    add_text(user, stage, text);
}

static int on_eval(void *user, const dlc_step_info *info, const dlc_metric *metrics, size_t count) {
    (void)info;
    for (size_t i = 0; i < count; i++) {
        add(user, metrics[i].name, &metrics[i].value, sizeof(double));
    }
    return 0;
}

static int on_step(void *user, const dlc_step_info *info) {
    const double numbers[] = {info->loss, info->lr};
    add(user, "step", numbers, sizeof(numbers));
    return 0;
}

static void stages(dlc_context *context, Log *log) {
    static const char *const emits[][2] = {
        {"ast", "cpu:x86-64-v3"}, {"fuse", "cpu:x86-64-v3"}, {"kernels", "cuda:sm_80"}};
    for (size_t i = 0; i < sizeof(emits) / sizeof(emits[0]); i++) {
        dlc_compile_options options = {.struct_size = sizeof(options),
                                       .targets = &emits[i][1],
                                       .n_targets = 1,
                                       .emit = emits[i][0],
                                       .on_text = on_text,
                                       .user = log};
        dlc_plan *none = NULL;
        if (dlc_compile(context, model, strlen(model), &options, &none) != DLC_OK) {
            add_text(log, "not emitted", dlc_last_error(context));
            add_text(log, "because", dlc_diagnostics_json(context));
        }
    }
    char *text = NULL;
    assert_int_equal(dlc_format(context, model, strlen(model), NULL, &text), DLC_OK);
    add_text(log, "format", text);
    dlc_text_free(context, text);
    dlc_plan *none = NULL;
    assert_int_not_equal(dlc_compile(context, wrong, strlen(wrong), NULL, &none), DLC_OK);
    add_text(log, "diagnostics", dlc_diagnostics_text(context, 0));
}

static void add_plan(dlc_context *context, dlc_plan *plan, Log *log) {
    (void)context;
    const void *bytes = NULL;
    size_t n_bytes = 0;
    dlc_plan_bytes(plan, &bytes, &n_bytes);
    add(log, "plan", bytes, n_bytes);
    add_text(log, "manifest", dlc_plan_manifest(plan));
    char *text = NULL;
    assert_int_equal(dlc_plan_describe(plan, &text), DLC_OK);
    add_text(log, "describe", text);
    dlc_text_free(context, text);
}

static void train(dlc_context *context, dlc_plan *plan, const char *folder, Log *log) {
    char path[256], trace[256];
    snprintf(path, sizeof(path), "%s/data.csv", folder);
    snprintf(trace, sizeof(trace), "%s/trace.json", folder);
    FILE *file = fopen(path, "w");
    assert_true(file && fputs(csv, file) >= 0 && fclose(file) == 0);
    dlc_session_options options = {.struct_size = sizeof(options), .threads = 1, .trace = trace};
    dlc_session *session = NULL;
    dlc_dataset *data = NULL;
    assert_int_equal(dlc_session_create(plan, &options, &session), DLC_OK);
    assert_int_equal(dlc_dataset_open(context, path, NULL, &data), DLC_OK);
    const int64_t all[] = {0, 1, 2, 3, 4};
    double read[15];
    assert_int_equal(dlc_dataset_read(data, "x", all, 5, read, sizeof(read)), DLC_OK);
    add(log, "rows", read, sizeof(read));
    assert_float_equal(read[2], -2.25, 0);
    dlc_train_options training = {.struct_size = sizeof(training),
                                  .data = data,
                                  .eval_data = data,
                                  .on_step = on_step,
                                  .on_eval = on_eval,
                                  .user = log};
    if (dlc_train(session, &training, NULL) != DLC_OK) {
        fail_msg("%s", dlc_last_error(context));
    }
    const DLTensor *weight = NULL;
    assert_int_equal(dlc_view_variable(session, "a.weight", &weight), DLC_OK);
    add(log, "weights", weight->data, 24 * sizeof(float));
    dlc_dataset_destroy(data);
    dlc_session_destroy(session);
}

/* "1,5" stands in no trace; its own commas have a space or a line's end behind them. */
static void trace_is_plain(const char *folder) {
    char path[256];
    snprintf(path, sizeof(path), "%s/trace.json", folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    int before = ' ', c, seen = 0;
    for (int two_before = ' '; (c = fgetc(file)) != EOF; two_before = before, before = c) {
        assert_false(before == ',' && two_before >= '0' && two_before <= '9' && c >= '0' &&
                     c <= '9');
        seen++;
    }
    assert_true(seen > 100);
    fclose(file);
}

static void use_everything(const char *folder, Log *log) {
    dlc_context_options options = {.struct_size = sizeof(options), .log = on_log, .user = log};
    dlc_context *context = NULL;
    assert_int_equal(dlc_context_create(&options, &context), DLC_OK);
    stages(context, log);
    static const char *const target = "cpu:x86-64-v2";
    dlc_compile_options compile = {
        .struct_size = sizeof(compile), .targets = &target, .n_targets = 1, .memory_limit = 1500};
    dlc_plan *plan = NULL, *again = NULL;
    if (dlc_compile(context, model, strlen(model), &compile, &plan) != DLC_OK) {
        fail_msg("%s\n%s", dlc_last_error(context), dlc_diagnostics_text(context, 0));
    }
    add_plan(context, plan, log);
    compile.flags = DLC_COMPILE_INPUT_IR;
    const char *ir = dlc_plan_ir(plan);
    assert_int_equal(dlc_compile(context, ir, strlen(ir), &compile, &again), DLC_OK);
    add_plan(context, again, log);
    train(context, plan, folder, log);
    trace_is_plain(folder);
    dlc_plan_destroy(again);
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
}

/* A locale "comma" in the folder, and whether it works: skipped otherwise. */
static bool comma_locale(const char *folder) {
    char source[256], made[256];
    snprintf(source, sizeof(source), "%s/comma.src", folder);
    snprintf(made, sizeof(made), "%s/comma", folder);
    FILE *file = fopen(source, "w");
    assert_true(file &&
                fputs("comment_char %\nescape_char /\nLC_NUMERIC\ndecimal_point \",\"\n"
                      "thousands_sep \".\"\ngrouping 3;3\nEND LC_NUMERIC\n",
                      file) >= 0 &&
                fclose(file) == 0);
    char *const command[] = {"localedef", "-c", "--quiet", "-i", source, made, NULL};
    pid_t child;
    int status;
    if (posix_spawnp(&child, command[0], NULL, NULL, command, environ) != 0 ||
        waitpid(child, &status, 0) != child) {
        return false;
    }
    setenv("LOCPATH", folder, 1);
    if (!setlocale(LC_ALL, "comma")) {
        return false;
    }
    char text[16];
    snprintf(text, sizeof(text), "%.1f", 1.5);
    bool works = strcmp(text, "1,5") == 0;
    setlocale(LC_ALL, "C");
    return works;
}

static void test_locale(void **state) {
    (void)state;
    char folder[] = "/tmp/dlc-locale-XXXXXX";
    assert_non_null(mkdtemp(folder));
    Log plain = {0}, comma = {0};
    bool works = comma_locale(folder);
    if (works) {
        use_everything(folder, &plain);
        setlocale(LC_ALL, "comma");
        use_everything(folder, &comma);
        setlocale(LC_ALL, "C");
        size_t at = 0;
        while (at < plain.length && at < comma.length && plain.text[at] == comma.text[at]) {
            at++;
        }
        if (at < plain.length || at < comma.length) {
            size_t from = at > 200 ? at - 200 : 0;
            fail_msg("under decimal commas:\n%.*s", (int)(at - from) + 60, comma.text + from);
        }
    }
    free(plain.text);
    free(comma.text);
    char remove[64];
    snprintf(remove, sizeof(remove), "rm -rf %s", folder);
    assert_int_equal(system(remove), 0);
    is_left_out = !works;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_locale)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed == 0 && is_left_out) {
        printf("skipped: localedef makes no locale here\n");
        return TEST_SKIPPED;
    }
    return failed;
}
