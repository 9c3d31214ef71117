/* Every function of dlc.h, misused in every way that calls.py makes by rule, each in a process of
 * its own: none may crash, hang, or answer with an internal error; what must be refused is, and
 * then the outputs are as they were. Then the uses that the header forbids and that can be noticed:
 * a second thread inside a context, objects destroyed inside callbacks or after their context. */
#include "dlc/dlc.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

enum { PADDED_BYTES = 4096, SECONDS = 60, ASKS = 300 };
typedef enum Wanted { ANY, DONE, REFUSED } Wanted;

static const char tiny[] = "dim B\nmodel m(x: f32[B, 3]) { output x * 2.0 }\n";
static const char model[] = "dim B\n"
                            "model net(x: f32[B, 3]) {\n"
                            "    out = x |> linear(3) as a\n"
                            "    output out\n"
                            "    metric size = mean(abs(out))\n"
                            "    loss mse(out, x)\n"
                            "}\n"
                            "train net { optimizer adam(lr=0.02); batch 2; epochs 1; seed 5 }\n";

typedef struct Fixture {
    dlc_context *context;
    dlc_plan *plan, *plan_of_ranks;
    dlc_session *session;
    dlc_dataset *dataset;
    const char *text, *name;
    char *owned_text;
    char folder[64], path[128], plan_path[128], program_path[128], weights_path[128],
        checkpoint_path[128], array_path[128];
    const void *bytes;
    size_t n_bytes;
    dlc_binding bindings[1];
    const char *names[1];
    const DLTensor *tensors[1];
    DLTensor tensor, bias;
    int64_t shape[2], rows[2];
    float data[6];
    float room[6];
    dlc_metric metrics[8];
    dlc_context_options context_options;
    dlc_compile_options compile_options;
    dlc_session_options session_options;
    dlc_communicator_options communicator_options;
    dlc_communicator *communicator;
    dlc_weights_options weights_options;
    dlc_dataset_options dataset_options;
    dlc_train_options train_options;
    dlc_bench_options bench_options, bench;
    dlc_define define;
    const char *target;
    union {
        void *pointer;
        size_t size;
        int64_t integer;
    } given; /* where outputs that are no structs go */
    union {
        dlc_tensor_info tensor;
        dlc_target_info target;
        dlc_dim_info dim;
        dlc_axis_info axis;
        dlc_exchange_info exchange;
        dlc_entry_info entry;
        dlc_entry_summary summary;
        dlc_memory memory;
        dlc_step_info step;
        dlc_fit fit;
        dlc_train_result train;
        dlc_bench_result bench;
        char bytes[1024];
    } info;
    max_align_t padded[PADDED_BYTES / sizeof(max_align_t)];
} Fixture;

#define FILL_INFO(f, type) memcpy(&(f)->info, &(size_t){sizeof(type)}, sizeof(size_t))

#define SET_MEMBER(f, type, member, value)                                                         \
    do {                                                                                           \
        type padded_;                                                                              \
        memcpy(&padded_, (f)->padded, sizeof(padded_));                                            \
        padded_.member = (value);                                                                  \
        memcpy((f)->padded, &padded_, sizeof(padded_));                                            \
    } while (0)

/* The struct in `padded` gets a size; `rest` fills what lies behind it. */
static void padded_size(Fixture *f, size_t size, size_t sizeof_it, int rest) {
    memcpy(f->padded, &size, sizeof(size));
    memset((char *)f->padded + sizeof_it, rest, PADDED_BYTES - sizeof_it);
}

/* A result in `padded` of a size of another version, with a pattern in all of it. */
static void result_expect(Fixture *f, size_t size) {
    memset(f->padded, 0x5a, PADDED_BYTES);
    memcpy(f->padded, &size, sizeof(size));
}

enum { CHANGED = 100, OVERRUN = 101, NOT_ZEROED = 102 };

/* Whether a call left alone what lies behind the caller's struct, and, where it failed, the struct;
 * and zeroed what this version, whose struct has sizeof_it bytes, does not know. */
static dlc_status result_kept(Fixture *f, dlc_status status, size_t sizeof_it) {
    const unsigned char *bytes = (const unsigned char *)f->padded;
    size_t size;
    memcpy(&size, bytes, sizeof(size));
    for (size_t i = status == DLC_OK ? size : sizeof(size); i < PADDED_BYTES; i++) {
        if (bytes[i] != 0x5a) {
            return (dlc_status)OVERRUN;
        }
    }
    for (size_t i = sizeof_it; status == DLC_OK && i < size; i++) {
        if (bytes[i] != 0) {
            return (dlc_status)NOT_ZEROED;
        }
    }
    return status;
}

#include "calls.inc"

static int asks;
static int cancel(void *user) {
    (void)user;
    return ++asks > ASKS;
}
static void on_log(void *user, dlc_log_level level, const char *text) {
    (void)user, (void)level, (void)text;
}
static void on_progress(void *user, const char *what, double share) {
    (void)user, (void)what, (void)share;
}
static void on_text(void *user, const char *stage, const char *text) {
    (void)user, (void)stage, (void)text;
}
static int on_step(void *user, const dlc_step_info *info) {
    (void)user;
    return info->step >= 3;
}
static int on_eval(void *user, const dlc_step_info *info, const dlc_metric *metrics, size_t count) {
    (void)user, (void)info, (void)metrics, (void)count;
    return 0;
}

static int store_set(void *user, const char *key, const char *value) {
    (void)user, (void)key, (void)value;
    return 0;
}
static int store_get(void *user, const char *key, char *value, size_t size) {
    (void)user, (void)key, (void)value, (void)size;
    return 2;
}

#define OK(f, call)                                                                                \
    do {                                                                                           \
        if ((call) != DLC_OK) {                                                                    \
            fail_msg("%s: %s\n%s", #call, dlc_last_error((f)->context),                            \
                     dlc_diagnostics_text((f)->context, 0));                                       \
        }                                                                                          \
    } while (0)

static void paths(Fixture *f) {
    snprintf(f->folder, sizeof(f->folder), "/tmp/dlc-misuse-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/new", f->folder);
    snprintf(f->plan_path, sizeof(f->plan_path), "%s/net.plan", f->folder);
    snprintf(f->program_path, sizeof(f->program_path), "%s/tiny.dl", f->folder);
    snprintf(f->weights_path, sizeof(f->weights_path), "%s/weights.safetensors", f->folder);
    snprintf(f->checkpoint_path, sizeof(f->checkpoint_path), "%s/checkpoint.safetensors",
             f->folder);
    snprintf(f->array_path, sizeof(f->array_path), "%s/x.npy", f->folder);
}

static void options(Fixture *f) {
    f->define = (dlc_define){"width", "3"};
    f->target = "cpu:native";
    f->context_options = (dlc_context_options){.struct_size = sizeof(f->context_options),
                                               .log = on_log,
                                               .cancel = cancel,
                                               .progress = on_progress};
    f->compile_options = (dlc_compile_options){.struct_size = sizeof(f->compile_options),
                                               .targets = &f->target,
                                               .n_targets = 1,
                                               .on_text = on_text,
                                               .threads = 1};
    f->session_options = (dlc_session_options){.struct_size = sizeof(f->session_options),
                                               .bindings = f->bindings,
                                               .n_bindings = 1,
                                               .threads = 1};
    f->communicator_options =
        (dlc_communicator_options){.struct_size = sizeof(f->communicator_options),
                                   .n_ranks = 1,
                                   .store_set = store_set,
                                   .store_get = store_get};
    f->weights_options = (dlc_weights_options){
        .struct_size = sizeof(f->weights_options), .missing = f->names, .n_missing = 1};
    f->dataset_options = (dlc_dataset_options){.struct_size = sizeof(f->dataset_options)};
    f->train_options = (dlc_train_options){.struct_size = sizeof(f->train_options),
                                           .data = f->dataset,
                                           .eval_data = f->dataset,
                                           .on_step = on_step,
                                           .on_eval = on_eval};
    f->bench = (dlc_bench_options){
        .struct_size = sizeof(f->bench), .warmup = 1, .repeats = 2, .seconds = 0.001};
    f->bench_options = f->bench;
}

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    paths(f);
    f->text = tiny;
    f->name = "x";
    f->bindings[0] = (dlc_binding){"B", 2};
    f->names[0] = "x";
    f->shape[0] = 2;
    f->shape[1] = 3;
    f->rows[1] = 1;
    f->tensor = (DLTensor){.data = f->data,
                           .device = {kDLCPU, 0},
                           .ndim = 2,
                           .dtype = {kDLFloat, 32, 1},
                           .shape = f->shape};
    f->tensors[0] = &f->tensor;
    f->bias = f->tensor;
    f->bias.ndim = 1;
    f->bias.shape = f->shape + 1;
    options(f);
    OK(f, dlc_context_create(&f->context_options, &f->context));
    OK(f, dlc_compile(f->context, model, strlen(model), NULL, &f->plan));
    const dlc_compile_options ranks = {.struct_size = sizeof(ranks), .mesh = "data=*"};
    OK(f, dlc_compile(f->context, model, strlen(model), &ranks, &f->plan_of_ranks));
    OK(f, dlc_communicator_group(&f->context, 1, &f->communicator));
    OK(f, dlc_plan_save(f->plan, f->plan_path));
    dlc_plan_bytes(f->plan, &f->bytes, &f->n_bytes);
    const dlc_session_options session = {
        .struct_size = sizeof(session), .threads = 1, .journal = f->folder};
    OK(f, dlc_session_create(f->plan, &session, &f->session));
    OK(f, dlc_dataset_from_tensors(f->context, f->names, f->tensors, 1, &f->dataset));
    f->train_options.data = f->train_options.eval_data = f->dataset;
    OK(f, dlc_init_weights(f->session));
    OK(f, dlc_set_input(f->session, "train", "x", &f->tensor));
    OK(f, dlc_set_input(f->session, NULL, "x", &f->tensor));
    OK(f, dlc_run(f->session, NULL));
    OK(f, dlc_weights_save(f->session, f->weights_path));
    OK(f, dlc_checkpoint_save(f->session, f->checkpoint_path));
    OK(f, dlc_tensor_write(f->context, f->array_path, &f->tensor));
    OK(f, dlc_format(f->context, tiny, strlen(tiny), NULL, &f->owned_text));
    FILE *file = fopen(f->program_path, "w");
    assert_true(file && fputs(tiny, file) >= 0 && fclose(file) == 0);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    dlc_text_free(f->context, f->owned_text);
    dlc_dataset_destroy(f->dataset);
    dlc_session_destroy(f->session);
    dlc_communicator_destroy(f->communicator);
    dlc_plan_destroy(f->plan_of_ranks);
    dlc_plan_destroy(f->plan);
    dlc_context_destroy(f->context);
    char command[96];
    snprintf(command, sizeof(command), "rm -rf %s", f->folder);
    free(f);
    return system(command);
}

/* What the process of a case ends with: the status, or CHANGED. */
static int run_case(Fixture *f, size_t number) {
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
        signal(deadly[i], SIG_DFL); /* not cmocka's, which would go on with the test in here */
    }
    alarm(SECONDS);
#ifndef SANITIZED
    struct rlimit room = {(rlim_t)16 << 30, (rlim_t)16 << 30};
    setrlimit(RLIMIT_AS, &room);
#endif
    memset(&f->given, 0x5a, sizeof(f->given));
    memset(&f->info, 0x5a, sizeof(f->info));
    dlc_status status = cases[number].call(f);
    if ((int)status == OVERRUN || (int)status == NOT_ZEROED) {
        return (int)status;
    }
    char pattern[sizeof(f->given)];
    memset(pattern, 0x5a, sizeof(pattern));
    bool changed = status != DLC_OK && memcmp(&f->given, pattern, sizeof(pattern)) != 0;
    return changed ? CHANGED : (int)status;
}

static void test_cases(void **state) {
    Fixture *f = *state;
    size_t n_bad = 0, n = sizeof(cases) / sizeof(cases[0]);
    assert_true(n > 300 && N_FUNCTIONS > 60);
    for (size_t i = 0; i < n; i++) {
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            _exit(run_case(f, i));
        }
        int ended = 0;
        assert_int_equal(waitpid(child, &ended, 0), child);
        int status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
        const char *wrong = WIFSIGNALED(ended)     ? "died"
                            : status == CHANGED    ? "changed its output"
                            : status == OVERRUN    ? "wrote too far"
                            : status == NOT_ZEROED ? "left set what it does not know"
                            : status == DLC_ERROR_INTERNAL || status > 13    ? "internal error"
                            : cases[i].wanted == REFUSED && status == DLC_OK ? "was accepted"
                            : cases[i].wanted == DONE && status != DLC_OK    ? "was refused"
                                                                             : NULL;
        if (wrong) {
            n_bad++;
            print_error("%s: %s (%d)\n", cases[i].what, wrong,
                        WIFSIGNALED(ended) ? WTERMSIG(ended) : status);
        }
    }
    print_message("%d functions, %zu cases\n", (int)N_FUNCTIONS, n);
    assert_int_equal(n_bad, 0);
}

/* -- Numbers that no counter holds */

static void test_counters(void **state) {
    Fixture *f = *state;
    int64_t step = 0;
    OK(f, dlc_set_counter(f->session, "step", INT64_MAX));
    assert_int_equal(dlc_train_step(f->session, NULL), DLC_ERROR_LIMIT);
    assert_non_null(strstr(dlc_last_error(f->context), "'step'"));
    OK(f, dlc_get_counter(f->session, "step", &step));
    assert_true(step == INT64_MAX);
    /* As a cast to i64 has them. */
    OK(f, dlc_set_scalar(f->session, "step", 1e300));
    assert_int_equal(dlc_train_step(f->session, NULL), DLC_ERROR_LIMIT);
    const double values[] = {(double)NAN, 2.5, -1e300};
    const int64_t wanted[] = {1, 3, INT64_MIN + 1};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        OK(f, dlc_set_scalar(f->session, "step", values[i]));
        dlc_status status = dlc_train_step(f->session, NULL);
        assert_true(status == DLC_OK || status == DLC_ERROR_NON_FINITE);
        if (status == DLC_OK) {
            OK(f, dlc_get_counter(f->session, "step", &step));
            assert_true(step == wanted[i]);
        }
    }
    OK(f, dlc_set_counter(f->session, "step", 0));
}

/* -- A second thread */

typedef struct Second {
    Fixture *f;
    dlc_status run, compile;
    pthread_t thread;
    bool started;
} Second;

static void *second_main(void *argument) {
    Second *second = argument;
    second->run = dlc_run(second->f->session, NULL);
    dlc_plan *plan = NULL;
    second->compile = dlc_compile(second->f->context, tiny, strlen(tiny), NULL, &plan);
    dlc_plan_destroy(plan);
    return NULL;
}

static int while_training(void *user, const dlc_step_info *info) {
    Second *second = user;
    (void)info;
    if (!second->started) {
        second->started = pthread_create(&second->thread, NULL, second_main, second) == 0;
        pthread_join(second->thread, NULL);
    }
    return 0;
}

static void test_second_thread(void **state) {
    Fixture *f = *state;
    Second second = {.f = f};
    dlc_train_options train = f->train_options;
    train.on_step = while_training;
    train.user = &second;
    asks = 0;
    OK(f, dlc_train(f->session, &train, NULL));
    assert_true(second.started);
    assert_int_equal(second.run, DLC_ERROR_INVALID_ARGUMENT);
    assert_int_equal(second.compile, DLC_ERROR_INVALID_ARGUMENT);
    /* And between calls another thread may. */
    assert_int_equal(pthread_create(&second.thread, NULL, second_main, &second), 0);
    pthread_join(second.thread, NULL);
    assert_int_equal(second.run, DLC_OK);
}

/* -- Destroyed too early */

static int destroy_all(void *user, const dlc_step_info *info) {
    Fixture *f = user;
    (void)info;
    dlc_session_destroy(f->session);
    dlc_dataset_destroy(f->dataset);
    dlc_communicator_destroy(f->communicator);
    dlc_plan_destroy(f->plan_of_ranks);
    dlc_plan_destroy(f->plan);
    dlc_context_destroy(f->context);
    return 0;
}

static void destroy_late(void *user, const dlc_step_info *info) {
    (void)destroy_all(user, info);
}

/* A fixture of its own, whose objects end in a callback while they work. */
static void destroyed_by(bool late) {
    void *own = NULL;
    assert_int_equal(setup(&own), 0);
    Fixture *f = own;
    dlc_text_free(f->context, f->owned_text);
    dlc_train_options train = f->train_options;
    train.on_step = late ? NULL : destroy_all;
    train.on_result = late ? destroy_late : NULL;
    train.user = f;
    asks = 0;
    assert_int_equal(dlc_train(f->session, &train, NULL), DLC_OK);
    f->context = NULL;
    f->plan = f->plan_of_ranks = NULL;
    f->session = NULL;
    f->communicator = NULL;
    f->dataset = NULL;
    f->owned_text = NULL;
    assert_int_equal(teardown(&own), 0);
}

static void test_destroyed_inside(void **state) {
    (void)state;
    destroyed_by(false);
    destroyed_by(true);
}

/* Their context first. */
static void test_context_first(void **state) {
    (void)state;
    void *own = NULL;
    assert_int_equal(setup(&own), 0);
    Fixture *f = own;
    dlc_text_free(f->context, f->owned_text);
    dlc_context_destroy(f->context);
    f->owned_text = NULL;
    f->context = NULL;
    dlc_plan_destroy(f->plan_of_ranks);
    dlc_plan_destroy(f->plan);
    f->plan = f->plan_of_ranks = NULL;
    assert_int_equal(dlc_run(f->session, NULL), DLC_OK);
    assert_int_equal(teardown(&own), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),         cmocka_unit_test(test_counters),
        cmocka_unit_test(test_second_thread), cmocka_unit_test(test_destroyed_inside),
        cmocka_unit_test(test_context_first),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
