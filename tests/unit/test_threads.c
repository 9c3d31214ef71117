/* The rules of dlc.h about threads: contexts are independent, and one context with all that is made
 * from it is used by one thread at a time, which it sees to itself. Whatever several threads do
 * at once must come to the bits that one thread alone comes to. Under the thread sanitizer
 * (scripts/sanitize.sh) it must be free of races too. */
#include "dlc/dlc.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    THREADS = 3,
    ROWS = 96,
    WIDTH = 64,
    PATH_BYTES = 256,
    STEPS = 12,
    WRITES = 100,
    WRITTEN_BYTES = 20000
};

/* Large enough for its kernels to go to the pool. */
static const char program[] = "dim B\n"
                              "model net(x: f32[B, 64], label: i32[B]) {\n"
                              "    h = x |> linear(96) as a |> tanh |> dropout(0.1)\n"
                              "    logits = h |> linear(5) as b\n"
                              "    output logits\n"
                              "    metric accuracy = mean(argmax(logits, axis=-1) == label)\n"
                              "    loss cross_entropy(logits, label)\n"
                              "}\n"
                              "train net { optimizer adam(lr=0.01); batch 32; epochs 4; seed 3 }\n";

/* What a run leaves: to be equal, bit for bit, wherever it ran. */
typedef struct Numbers {
    float weight[96 * WIDTH], logits[ROWS * 5];
    double loss, accuracy;
} Numbers;

typedef struct Fixture {
    dlc_context *context;
    dlc_plan *plan;
    char folder[PATH_BYTES], data[3 * PATH_BYTES];
    Numbers alone;
} Fixture;

/* -- Data: one file of NPY, one of CSV */

static float feature(int row, int column) {
    return (float)((row * 31 + column * 17) % 64) / 32.0f - 1.0f;
}

static bool write_data(Fixture *f) {
    static float x[ROWS * WIDTH];
    int64_t shape[] = {ROWS, WIDTH};
    for (int i = 0; i < ROWS * WIDTH; i++) {
        x[i] = feature(i / WIDTH, i % WIDTH);
    }
    DLTensor tensor = {x, {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, NULL, 0};
    char path[2 * PATH_BYTES];
    snprintf(path, sizeof(path), "%s/x.npy", f->folder);
    if (dlc_tensor_write(f->context, path, &tensor) != DLC_OK) {
        return false;
    }
    snprintf(path, sizeof(path), "%s/label.csv", f->folder);
    FILE *file = fopen(path, "w");
    if (!file) {
        return false;
    }
    fprintf(file, "label\n");
    for (int i = 0; i < ROWS; i++) {
        fprintf(file, "%d\n", i % 5);
    }
    snprintf(f->data, sizeof(f->data), "%s/x.npy,%s/label.csv", f->folder, f->folder);
    return fclose(file) == 0;
}

/* -- One thread's work. Nothing here may use cmocka: it knows one thread only. */

typedef struct Work {
    const Fixture *f;
    int number;
    dlc_context *context; /* shared; NULL: its own */
    dlc_plan *plan;       /* of that context */
    pthread_mutex_t *turn;
    dlc_session *session;
    Numbers numbers;
    int64_t refused; /* calls that found another thread inside */
    dlc_status status;
    char reason[512];
} Work;

/* A call of a shared context is made again until no other thread is inside. */
#define CALL(work, call)                                                                           \
    do {                                                                                           \
        dlc_status made = (call);                                                                  \
        while ((work)->context && made == DLC_ERROR_INVALID_ARGUMENT &&                            \
               (work)->refused < 100000000) {                                                      \
            (work)->refused++;                                                                     \
            sched_yield();                                                                         \
            made = (call);                                                                         \
        }                                                                                          \
        if (made != DLC_OK && (work)->status == DLC_OK) {                                          \
            (work)->status = made;                                                                 \
            snprintf((work)->reason, sizeof((work)->reason), "%s", #call);                         \
        }                                                                                          \
    } while (0)

static void keep_numbers(Work *work, dlc_session *session, dlc_dataset *data) {
    Numbers *numbers = &work->numbers;
    dlc_metric metrics[4];
    size_t count = 0;
    CALL(work, dlc_evaluate(session, data, 40, metrics, 4, &count));
    for (size_t i = 0; i < count && i < 4; i++) {
        *(metrics[i].role == DLC_ROLE_LOSS ? &numbers->loss : &numbers->accuracy) =
            metrics[i].value;
    }
    const DLTensor *view = NULL;
    CALL(work, dlc_view_variable(session, "a.weight", &view));
    if (view) {
        memcpy(numbers->weight, view->data, sizeof(numbers->weight));
    }
    int64_t rows[ROWS];
    for (int i = 0; i < ROWS; i++) {
        rows[i] = (i * 7 + 3) % ROWS;
    }
    DLManagedTensorVersioned *logits = NULL;
    CALL(work, dlc_set_inputs(session, "infer", data, rows, ROWS));
    CALL(work, dlc_run(session, "infer"));
    CALL(work, dlc_take_output(session, "infer", NULL, &logits));
    if (logits) {
        memcpy(numbers->logits, logits->dl_tensor.data, sizeof(numbers->logits));
        logits->deleter(logits);
    }
}

static dlc_session *session_of(Work *work, dlc_plan *plan) {
    dlc_session_options options = {
        .struct_size = sizeof(options), .device = "cpu", .threads = 2, .poison = work->number % 3};
    dlc_session *session = NULL;
    CALL(work, dlc_session_create(plan, &options, &session));
    return session;
}

/* Trains from the files with checkpoints, saves, evaluates, infers. */
static void train_and_use(Work *work, dlc_context *context, dlc_plan *plan) {
    const Fixture *f = work->f;
    dlc_dataset *data = NULL;
    dlc_session *session = session_of(work, plan);
    CALL(work, dlc_dataset_open(context, f->data, NULL, &data));
    char checkpoint[2 * PATH_BYTES], weights[2 * PATH_BYTES];
    snprintf(checkpoint, sizeof(checkpoint), "%s/run-%d", f->folder, work->number);
    snprintf(weights, sizeof(weights), "%s/weights.safetensors", f->folder);
    dlc_train_options options = {.struct_size = sizeof(options),
                                 .data = data,
                                 .eval_data = data,
                                 .checkpoint = checkpoint,
                                 .overwrite = 1};
    if (session && data) {
        CALL(work, dlc_train(session, &options, NULL));
        keep_numbers(work, session, data);
        CALL(work, dlc_weights_save(session, weights)); /* all to one file: the last one stays */
        CALL(work, dlc_weights_load(session, weights, NULL));
    }
    dlc_session_destroy(session);
    dlc_dataset_destroy(data);
}

static void *work_alone(void *argument) {
    Work *work = argument;
    const void *bytes;
    size_t n_bytes;
    dlc_context *context = NULL;
    dlc_plan *plan = NULL;
    dlc_plan_bytes(work->f->plan, &bytes, &n_bytes);
    CALL(work, dlc_context_create(NULL, &context));
    CALL(work, dlc_plan_load_memory(context, bytes, n_bytes, "net", 0, &plan));
    if (plan) {
        train_and_use(work, context, plan);
    }
    if (work->status != DLC_OK && context && dlc_last_error(context)[0]) {
        snprintf(work->reason, sizeof(work->reason), "%s", dlc_last_error(context));
    }
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
    return NULL;
}

static void *work_shared(void *argument) {
    Work *work = argument;
    train_and_use(work, work->context, work->plan);
    return NULL;
}

/* Steps of one session, in turn with the other threads. */
static void *work_in_turn(void *argument) {
    Work *work = argument;
    for (int i = 0; i < STEPS; i++) {
        int64_t rows[32];
        dlc_dataset *data = NULL;
        pthread_mutex_lock(work->turn);
        int64_t step = -1;
        CALL(work, dlc_get_counter(work->session, "step", &step));
        for (int k = 0; k < 32; k++) {
            rows[k] = (step * 32 + k) % ROWS;
        }
        CALL(work, dlc_dataset_open(work->context, work->f->data, NULL, &data));
        CALL(work, dlc_set_inputs(work->session, "train", data, rows, 32));
        CALL(work, dlc_train_step(work->session, NULL));
        pthread_mutex_unlock(work->turn);
        dlc_dataset_destroy(data); /* waits for whoever is inside */
    }
    return NULL;
}

/* Programs and errors of its own. */
static void *work_compiling(void *argument) {
    Work *work = argument;
    dlc_context *context = NULL;
    dlc_plan *plan = NULL, *none = NULL;
    dlc_compile_options options = {.struct_size = sizeof(options), .threads = 2};
    const void *wanted, *got = NULL;
    size_t n_wanted, n_got = 0;
    char *text = NULL;
    CALL(work, dlc_context_create(NULL, &context));
    CALL(work, dlc_compile(context, program, strlen(program), &options, &plan));
    if (plan) {
        dlc_plan_bytes(plan, &got, &n_got);
        dlc_plan_bytes(work->f->plan, &wanted, &n_wanted);
        if (n_got != n_wanted || memcmp(got, wanted, n_got) != 0) {
            work->status = DLC_ERROR_INTERNAL;
            snprintf(work->reason, sizeof(work->reason), "the plan has other bytes");
        }
    }
    static const char wrong[] = "dim B\nmodel m(x: f32[B, 3]) {\n    output y\n}\n";
    if (dlc_compile(context, wrong, strlen(wrong), NULL, &none) != DLC_ERROR_COMPILE ||
        dlc_error_count(context) != 1) {
        work->status = DLC_ERROR_INTERNAL;
        snprintf(work->reason, sizeof(work->reason), "no error in a wrong program");
    }
    CALL(work, dlc_format(context, program, strlen(program), NULL, &text));
    dlc_text_free(context, text);
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
    return NULL;
}

/* Writes one file as the others do, and reads it: it is always whole, some thread's. */
static void *work_writing(void *argument) {
    Work *work = argument;
    dlc_context *context = NULL;
    char path[2 * PATH_BYTES], text[WRITTEN_BYTES], got[WRITTEN_BYTES + 1];
    snprintf(path, sizeof(path), "%s/all.txt", work->f->folder);
    CALL(work, dlc_context_create(NULL, &context));
    for (int i = 0; i < WRITES; i++) {
        memset(text, 'a' + work->number, sizeof(text));
        CALL(work,
             dlc_file_write(context, path, text, WRITTEN_BYTES - 1000 * (size_t)work->number));
        FILE *file = fopen(path, "r");
        size_t n = file ? fread(got, 1, sizeof(got), file) : 0;
        int writer = n > 0 ? got[0] - 'a' : -1;
        bool whole = writer >= 0 && writer < THREADS && n == WRITTEN_BYTES - 1000 * (size_t)writer;
        for (size_t k = 0; k < n && whole; k++) {
            whole = got[k] == 'a' + writer;
        }
        if (file) {
            fclose(file);
        }
        if (!whole && work->status == DLC_OK) {
            work->status = DLC_ERROR_IO;
            snprintf(work->reason, sizeof(work->reason), "%zu bytes of '%c'", n, n ? got[0] : ' ');
        }
    }
    if (work->status != DLC_OK && dlc_last_error(context)[0]) {
        snprintf(work->reason, sizeof(work->reason), "%s", dlc_last_error(context));
    }
    dlc_context_destroy(context);
    return NULL;
}

/* -- The tests */

/* Runs `threads` at once; gives how many calls were refused. */
static int64_t run_threads(void *(*work_main)(void *), Work *works) {
    pthread_t threads[THREADS];
    int64_t refused = 0;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work_main, &works[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        refused += works[i].refused;
    }
    for (int i = 0; i < THREADS; i++) {
        if (works[i].status != DLC_OK) {
            fail_msg("thread %d: %s: %s", i, dlc_status_text(works[i].status), works[i].reason);
        }
    }
    return refused;
}

static Work *works_new(const Fixture *f) {
    Work *works = calloc(THREADS, sizeof(*works));
    for (int i = 0; i < THREADS; i++) {
        works[i].f = f;
        works[i].number = i;
    }
    return works;
}

static void assert_numbers(const Fixture *f, const Work *works) {
    for (int i = 0; i < THREADS; i++) {
        assert_memory_equal(&works[i].numbers, &f->alone, sizeof(f->alone));
    }
}

static void test_contexts(void **state) {
    Work *works = works_new(*state);
    assert_int_equal(run_threads(work_alone, works), 0);
    assert_numbers(*state, works);
    free(works);
}

static void test_compiling(void **state) {
    Work *works = works_new(*state);
    assert_int_equal(run_threads(work_compiling, works), 0);
    free(works);
}

static void test_one_file(void **state) {
    Work *works = works_new(*state);
    assert_int_equal(run_threads(work_writing, works), 0);
    free(works);
}

/* Each thread has its own session of one plan. */
static void test_one_context(void **state) {
    Fixture *f = *state;
    Work *works = works_new(f);
    for (int i = 0; i < THREADS; i++) {
        works[i].context = f->context;
        works[i].plan = f->plan;
    }
    assert_true(run_threads(work_shared, works) > 0);
    assert_numbers(f, works);
    free(works);
}

static void test_in_turn(void **state) {
    Fixture *f = *state;
    Work *works = works_new(f);
    pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
    float weights[2][96 * WIDTH];
    for (int round = 0; round < 2; round++) {
        Work first = {.f = f};
        dlc_session *session = session_of(&first, f->plan);
        assert_non_null(session);
        assert_int_equal(dlc_init_weights(session), DLC_OK);
        for (int i = 0; i < THREADS; i++) {
            works[i].context = f->context;
            works[i].session = session;
            works[i].turn = &turn;
        }
        if (round == 0) {
            run_threads(work_in_turn, works);
        } else {
            for (int i = 0; i < THREADS; i++) {
                work_in_turn(&works[i]);
            }
        }
        const DLTensor *view = NULL;
        int64_t step = 0;
        assert_int_equal(dlc_get_counter(session, "step", &step), DLC_OK);
        assert_int_equal(step, THREADS * STEPS);
        assert_int_equal(dlc_view_variable(session, "a.weight", &view), DLC_OK);
        memcpy(weights[round], view->data, sizeof(weights[round]));
        dlc_session_destroy(session);
    }
    assert_memory_equal(weights[0], weights[1], sizeof(weights[0]));
    free(works);
}

static int teardown(void **state) {
    Fixture *f = *state;
    char command[2 * PATH_BYTES];
    snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
    dlc_plan_destroy(f->plan);
    dlc_context_destroy(f->context);
    int failed = system(command);
    free(f);
    return failed;
}

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof(*f));
    const char *temporary = getenv("TMPDIR");
    snprintf(f->folder, sizeof(f->folder), "%.200s/dlc-threads-XXXXXX",
             temporary ? temporary : "/tmp");
    *state = f;
    if (!mkdtemp(f->folder) || dlc_context_create(NULL, &f->context) != DLC_OK || !write_data(f)) {
        return 1;
    }
    if (dlc_compile(f->context, program, strlen(program), NULL, &f->plan) != DLC_OK) {
        print_error("%s\n", dlc_diagnostics_text(f->context, 0));
        return 1;
    }
    Work work = {.f = f};
    work_alone(&work);
    if (work.status != DLC_OK) {
        print_error("%s\n", work.reason);
    }
    f->alone = work.numbers;
    return work.status != DLC_OK;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contexts), cmocka_unit_test(test_compiling),
        cmocka_unit_test(test_one_file), cmocka_unit_test(test_one_context),
        cmocka_unit_test(test_in_turn),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
