/* Sessions of one rank each that meet in a communicator, as threads of one process and as
 * processes: they compute what the ranks of one session compute, to the bit, give whole tensors,
 * read and write files of whole tensors, and fail together. */
#include "tests/parallel/together.h"
#include "tests/unit/api.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ROWS = 18, WIDTH = 5, CLASSES = 3, STEPS = 7, MOST_RANKS = 4, TEXT = 2048, HIDDEN = 1700 };

/* `a.weight` is large enough to be cut by ZeRO. */
#define MODEL                                                                                      \
    "dim B\nmodel m(x: f64[B, 5], label: i32[B]) {\n"                                              \
    "    h = x |> linear(1700) as a |> tanh |> dropout(0.25)\n    logits = h |> linear(3) as b\n"  \
    "    output logits\n    output total = sum(logits)\n"                                          \
    "    metric hits = mean(argmax(logits, axis=-1) == label)\n"                                   \
    "    check max(x) < 100 or not (max(x) == max(x))\n"                                           \
    "    loss cross_entropy(logits, label)\n}\n"                                                   \
    "train m {\n    optimizer adamw(lr=0.05)\n    clip_norm 0.3\n    ema 0.9\n    batch 6\n"       \
    "    steps 7\n    seed 3\n}\n"

typedef struct Case {
    const char *mesh;
    int zero, n;
    const char *folder;
    bool processes;
} Case;

/* What a rank saw. */
typedef struct Outcome {
    char problem[TEXT]; /* "": none */
    double losses[2 * STEPS], norms[2 * STEPS];
    int64_t n_losses;
    double metrics[2];
    double logits[5 * CLASSES], total;
    double weight[HIDDEN * WIDTH];
    char errors[4][TEXT];
    dlc_status statuses[4];
} Outcome;

typedef struct Ranks Ranks;

typedef struct RankOf {
    Ranks *ranks;
    int rank;
    dlc_context *context;
    dlc_communicator *communicator; /* NULL: one session has all ranks */
} RankOf;

typedef void Body(RankOf *rank, Outcome *o);

struct Ranks {
    const Case *test;
    Body *body;
    Outcome *outcomes; /* [n], shared with processes */
    const void *plan;
    size_t n_plan;
};

#define TRY(call)                                                                                  \
    do {                                                                                           \
        if ((call) != DLC_OK) {                                                                    \
            snprintf(o->problem, TEXT, "rank %d: %s: %s %s", rank->rank, #call,                    \
                     dlc_last_error(rank->context), dlc_diagnostics_text(rank->context, 0));       \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* -- Data and sessions -- */

static void data_fill(double *x, int32_t *label) {
    for (int64_t i = 0; i < ROWS * WIDTH; i++) {
        x[i] = sin((double)(i + 1) * 5.1);
    }
    for (int64_t i = 0; i < ROWS; i++) {
        label[i] = (int32_t)(i * i % CLASSES);
    }
}

static dlc_status dataset(dlc_context *context, double *x, int32_t *label, int64_t rows,
                          dlc_dataset **out) {
    int64_t x_shape[] = {rows, WIDTH}, label_shape[] = {rows};
    DLTensor x_tensor = api_tensor(x, 2, x_shape, kDLFloat, 64);
    DLTensor label_tensor = api_tensor(label, 1, label_shape, kDLInt, 32);
    const char *const names[] = {"x", "label"};
    const DLTensor *const fields[] = {&x_tensor, &label_tensor};
    return dlc_dataset_from_tensors(context, names, fields, 2, out);
}

static dlc_status session_open(RankOf *rank, dlc_plan **plan, dlc_session **session) {
    const Case *test = rank->ranks->test;
    char device[32] = "cpu";
    dlc_status status =
        dlc_plan_load_memory(rank->context, rank->ranks->plan, rank->ranks->n_plan, "m", 0, plan);
    if (!rank->communicator && test->n > 1) {
        snprintf(device, sizeof(device), "cpu*%d", test->n);
    }
    dlc_session_options run = {.struct_size = sizeof(run),
                               .device = device,
                               .threads = 1,
                               .communicator = rank->communicator,
                               .rows = DLC_ROWS_WHOLE};
    return status == DLC_OK ? dlc_session_create(*plan, &run, session) : status;
}

static int note_step(void *user, const dlc_step_info *info) {
    Outcome *o = user;
    o->losses[o->n_losses] = info->loss;
    o->norms[o->n_losses++] = info->grad_norm;
    return 0;
}

/* -- What ranks do -- */

static void learn(RankOf *rank, Outcome *o) {
    double x[ROWS * WIDTH];
    int32_t label[ROWS];
    char weights[512], run[512];
    dlc_plan *plan = NULL;
    dlc_session *session = NULL;
    dlc_dataset *rows = NULL, *few = NULL;
    data_fill(x, label);
    snprintf(weights, sizeof(weights), "%s/w.safetensors", rank->ranks->test->folder);
    snprintf(run, sizeof(run), "%s/run", rank->ranks->test->folder);
    TRY(session_open(rank, &plan, &session));
    TRY(dataset(rank->context, x, label, ROWS, &rows));
    TRY(dataset(rank->context, x, label, 13, &few)); /* the last batch of 5 is short */
    dlc_train_options train = {.struct_size = sizeof(train),
                               .data = rows,
                               .on_step = note_step,
                               .user = o,
                               .checkpoint = run,
                               .stop_after = 4};
    TRY(dlc_train(session, &train, NULL));
    train.resume = DLC_RESUME;
    train.stop_after = 0;
    TRY(dlc_train(session, &train, NULL));
    dlc_metric metrics[4];
    size_t n = 0;
    TRY(dlc_evaluate(session, few, 5, metrics, 4, &n));
    for (size_t i = 0; i < n && i < 2; i++) {
        o->metrics[i] = metrics[i].value;
    }
    TRY(dlc_weights_save(session, weights));
    TRY(dlc_init_weights(session));
    TRY(dlc_weights_load(session, weights, NULL));
    int64_t x_shape[] = {5, WIDTH};
    DLTensor x_tensor = api_tensor(x, 2, x_shape, kDLFloat, 64);
    TRY(dlc_set_input(session, "infer", "x", &x_tensor));
    TRY(dlc_run(session, "infer"));
    const DLTensor *view;
    TRY(dlc_view_output(session, "infer", "logits", &view));
    memcpy(o->logits, view->data, sizeof(o->logits));
    TRY(dlc_view_output(session, "infer", "total", &view));
    o->total = *(const double *)view->data;
    TRY(dlc_view_variable(session, "a.weight", &view));
    memcpy(o->weight, view->data, sizeof(o->weight));
    dlc_dataset_destroy(few);
    dlc_dataset_destroy(rows);
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

/* Errors of the batch, of one rank alone, and then a step that goes well. */
static void go_wrong(RankOf *rank, Outcome *o) {
    double x[ROWS * WIDTH];
    int32_t label[ROWS];
    dlc_plan *plan = NULL;
    dlc_session *session = NULL;
    data_fill(x, label);
    TRY(session_open(rank, &plan, &session));
    TRY(dlc_init_weights(session));
    int64_t x_shape[] = {6, WIDTH}, label_shape[] = {6}, wrong_shape[] = {5};
    DLTensor x_tensor = api_tensor(x, 2, x_shape, kDLFloat, 64);
    DLTensor label_tensor = api_tensor(label, 1, label_shape, kDLInt, 32);
    dlc_step_info info = {.struct_size = sizeof(info)};
    for (int k = 0; k < 5; k++) {
        data_fill(x, label);
        x[5 * WIDTH] = k == 0 ? 1000 : k == 1 ? NAN : x[5 * WIDTH]; /* the last rank's row */
        label[5] = k == 2 ? 7 : label[5];
        bool wrong = k == 3 && rank->rank == 1;
        label_tensor.shape = wrong ? wrong_shape : label_shape;
        TRY(dlc_set_input(session, "train", "x", &x_tensor));
        TRY(dlc_set_input(session, "train", "label", &label_tensor));
        dlc_status status = dlc_train_step(session, &info);
        if (k < 4) {
            o->statuses[k] = status;
            snprintf(o->errors[k], TEXT, "%s", dlc_last_error(rank->context));
        } else {
            TRY(status);
            o->losses[0] = info.loss;
        }
    }
    const DLTensor *view;
    TRY(dlc_view_variable(session, "a.weight", &view));
    memcpy(o->weight, view->data, sizeof(o->weight));
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

/* A label that is no class, which only the rank reads that has its row. */
static void read_own(RankOf *rank, Outcome *o) {
    double x[ROWS * WIDTH], labels[ROWS];
    int32_t label[ROWS];
    int64_t x_shape[] = {ROWS, WIDTH}, label_shape[] = {ROWS};
    dlc_plan *plan = NULL;
    dlc_session *session = NULL;
    dlc_dataset *rows = NULL;
    data_fill(x, label);
    for (int i = 0; i < ROWS; i++) {
        labels[i] = label[i] + (i == 7 ? 0.5 : 0);
    }
    DLTensor x_tensor = api_tensor(x, 2, x_shape, kDLFloat, 64);
    DLTensor label_tensor = api_tensor(labels, 1, label_shape, kDLFloat, 64);
    const char *const names[] = {"x", "label"};
    const DLTensor *const fields[] = {&x_tensor, &label_tensor};
    TRY(session_open(rank, &plan, &session));
    TRY(dlc_dataset_from_tensors(rank->context, names, fields, 2, &rows));
    dlc_train_options train = {.struct_size = sizeof(train), .data = rows};
    o->statuses[0] = dlc_train(session, &train, NULL);
    snprintf(o->errors[0], TEXT, "%s", dlc_last_error(rank->context));
    dlc_dataset_destroy(rows);
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

/* Rank 1 asks for what there is not. */
static void open_badly(RankOf *rank, Outcome *o) {
    dlc_plan *plan = NULL;
    dlc_session *session = NULL;
    if (!rank->communicator) {
        return;
    }
    for (int k = 0; k < 2; k++) {
        bool wrong = rank->rank == 1 && k == 0;
        TRY(dlc_plan_load_memory(rank->context, rank->ranks->plan, rank->ranks->n_plan, "m", 0,
                                 &plan));
        dlc_session_options run = {.struct_size = sizeof(run),
                                   .device = wrong ? "cpu*2" : "cpu",
                                   .communicator = rank->communicator,
                                   .rows = DLC_ROWS_WHOLE};
        o->statuses[k] = dlc_session_create(plan, &run, &session);
        snprintf(o->errors[k], TEXT, "%s", dlc_last_error(rank->context));
        dlc_plan_destroy(plan);
    }
    TRY(dlc_init_weights(session)); /* the second time all is well */
    dlc_session_destroy(session);
}

static int stop_at_two(void *user, const dlc_step_info *info) {
    RankOf *rank = user;
    (void)note_step(&rank->ranks->outcomes[rank->rank], info);
    return rank->rank == 1 && info->step == 2;
}

/* One rank alone wants to stop. */
static void stop_early(RankOf *rank, Outcome *o) {
    double x[ROWS * WIDTH];
    int32_t label[ROWS];
    dlc_plan *plan = NULL;
    dlc_session *session = NULL;
    dlc_dataset *rows = NULL;
    data_fill(x, label);
    TRY(session_open(rank, &plan, &session));
    TRY(dataset(rank->context, x, label, ROWS, &rows));
    dlc_train_options train = {
        .struct_size = sizeof(train), .data = rows, .on_step = stop_at_two, .user = rank};
    TRY(dlc_train(session, &train, NULL));
    dlc_dataset_destroy(rows);
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

static void rank_run(const TogetherRank *one) {
    Ranks *ranks = one->user;
    RankOf rank = {ranks, one->rank, one->context, one->communicator};
    ranks->body(&rank, &ranks->outcomes[rank.rank]);
}

static char folder_root[] = "/tmp/dlc-apart-XXXXXX";
static int n_folders;

/* What each rank saw, one session with all of them first; munmap. */
static Outcome *run(Case *test, Body *body) {
    static char folder[2][256];
    size_t bytes = (MOST_RANKS + 1) * sizeof(Outcome);
    Outcome *all = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(all != MAP_FAILED);
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .float_type = "f64",
                                   .mesh = test->mesh,
                                   .zero = test->zero,
                                   .threads = 1};
    dlc_context *context;
    assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
    dlc_plan *plan = api_compile(context, MODEL, &options);
    Ranks ranks = {.test = test, .body = body};
    dlc_plan_bytes(plan, &ranks.plan, &ranks.n_plan);
    for (int together = 1; together >= 0; together--) {
        snprintf(folder[together], sizeof(folder[0]), "%s/%d", folder_root, n_folders++);
        char command[300];
        snprintf(command, sizeof(command), "mkdir %s", folder[together]);
        assert_int_equal(system(command), 0);
        test->folder = folder[together];
        ranks.outcomes = all + !together;
        if (together) {
            RankOf one = {.ranks = &ranks};
            assert_int_equal(dlc_context_create(NULL, &one.context), DLC_OK);
            body(&one, all);
            dlc_context_destroy(one.context);
        } else {
            together_run(test->n, test->processes ? test->folder : NULL, rank_run, &ranks);
        }
    }
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
    bool sound = true;
    for (int r = 0; r <= test->n; r++) {
        sound = sound && all[r].problem[0] == '\0';
        if (all[r].problem[0]) {
            print_error("%s\n", all[r].problem);
        }
    }
    assert_true(sound);
    return all;
}

static void outcomes_free(Outcome *all) {
    munmap(all, (MOST_RANKS + 1) * sizeof(Outcome));
}

/* -- Tests -- */

static const Case cases[] = {
    {.mesh = "data=*", .n = 2},
    {.mesh = "data=*", .zero = 3, .n = 3},
    {.mesh = "data=2,model=2", .zero = 1, .n = 4},
};

static void same_by_all(Case test) {
    Outcome *all = run(&test, learn);
    assert_int_equal(all[0].n_losses, STEPS);
    for (int r = 1; r <= test.n; r++) {
        assert_int_equal(all[r].n_losses, STEPS);
        assert_memory_equal(all[r].losses, all[0].losses, sizeof(all[0].losses));
        assert_memory_equal(all[r].norms, all[0].norms, sizeof(all[0].norms));
        assert_memory_equal(all[r].metrics, all[0].metrics, sizeof(all[0].metrics));
        assert_memory_equal(all[r].logits, all[0].logits, sizeof(all[0].logits));
        assert_memory_equal(&all[r].total, &all[0].total, sizeof(double));
        assert_memory_equal(all[r].weight, all[0].weight, sizeof(all[0].weight));
    }
    assert_true(isfinite(all[0].total) && all[0].weight[7] != 0);
    outcomes_free(all);
}

static void test_threads(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        same_by_all(cases[i]);
    }
}

static void test_processes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Case test = cases[i];
        test.processes = true;
        same_by_all(test);
    }
}

static void fail_together(bool processes) {
    Case test = {.mesh = "data=*", .n = 3, .processes = processes};
    Outcome *all = run(&test, go_wrong);
    for (int r = 1; r <= test.n; r++) {
        for (int k = 0; k < 3; k++) { /* as one session says it */
            assert_int_equal(all[r].statuses[k], all[0].statuses[k]);
            assert_string_equal(all[r].errors[k], all[0].errors[k]);
        }
        assert_int_equal(all[r].statuses[3], DLC_ERROR_MISMATCH);
        assert_non_null(strstr(all[r].errors[3], "where B = 6"));
        bool other = r - 1 != 1;
        assert_true((strstr(all[r].errors[3], "rank 1: ") != NULL) == other);
        assert_memory_equal(all[r].losses, all[1].losses, sizeof(double));
        assert_memory_equal(all[r].weight, all[1].weight, sizeof(all[0].weight));
    }
    assert_int_equal(all[0].statuses[0], DLC_ERROR_FAULT);
    assert_int_equal(all[0].statuses[1], DLC_ERROR_NON_FINITE);
    assert_int_equal(all[0].statuses[2], DLC_ERROR_FAULT);
    assert_non_null(strstr(all[1].errors[1], "input 'x' holds nan in row 5"));
    outcomes_free(all);
}

static void test_failures(void **state) {
    (void)state;
    fail_together(false);
    fail_together(true);
}

static void test_own_rows(void **state) {
    (void)state;
    Case test = {.mesh = "data=*", .n = 3};
    Outcome *all = run(&test, read_own);
    int readers = 0;
    for (int r = 0; r <= test.n; r++) {
        assert_int_equal(all[r].statuses[0], DLC_ERROR_MISMATCH);
        assert_non_null(strstr(all[r].errors[0], "row 7"));
        readers += r > 0 && strstr(all[r].errors[0], "rank ") == NULL;
    }
    assert_int_equal(readers, 1); /* the others were told */
    outcomes_free(all);
}

static void test_opening(void **state) {
    (void)state;
    Case test = {.mesh = "data=*", .n = 2};
    Outcome *all = run(&test, open_badly);
    assert_int_equal(all[1].statuses[0], DLC_ERROR_INVALID_ARGUMENT);
    assert_int_equal(all[2].statuses[0], DLC_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(all[1].errors[0], "rank 1: dlc_session_options.device asks for 2"));
    assert_int_equal(all[1].statuses[1], DLC_OK);
    assert_int_equal(all[2].statuses[1], DLC_OK);
    outcomes_free(all);
}

static void test_stop(void **state) {
    (void)state;
    Case test = {.mesh = "data=*", .n = 2};
    Outcome *all = run(&test, stop_early);
    assert_int_equal(all[0].n_losses, STEPS); /* there is no rank 1's callback */
    assert_int_equal(all[1].n_losses, 2);
    assert_int_equal(all[2].n_losses, 2);
    outcomes_free(all);
}

static int folder_make(void **state) {
    (void)state;
    return mkdtemp(folder_root) ? 0 : -1;
}

static int folder_remove(void **state) {
    char command[64];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder_root);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),  cmocka_unit_test(test_processes),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_own_rows),
        cmocka_unit_test(test_opening),  cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
