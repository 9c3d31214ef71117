/* Sessions of one rank each that bring rows of their own: the same numbers of rows, others, none;
 * by dlc_set_input and by datasets; as threads and as processes. They compute what one session of
 * all ranks computes on the same rows, to the bit, and refuse together what does not fit. */
#include "runtime/data/shuffle.h"
#include "tests/parallel/together.h"
#include "tests/unit/api.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    WIDTH = 5,
    CLASSES = 3,
    STEPS = 6,
    MOST_RANKS = 4,
    PLACES = 3,
    MOST_ROWS = 24,
    HIDDEN = 1700, /* a.weight is large enough to be cut by ZeRO */
    TEXT = 1024,
    MISTAKES = 4
};

#define MODEL(dim, inputs, scaled, block)                                                          \
    dim "\nmodel m(x: f64[B, 5], " inputs "label: i32[B]) {\n"                                     \
        "    h = x" scaled " |> linear(1700) as a |> tanh |> dropout(0.25)\n"                      \
        "    logits = h |> linear(3) as b\n    output logits\n"                                    \
        "    metric hits = mean(argmax(logits, axis=-1) == label)\n"                               \
        "    loss cross_entropy(logits, label)\n}\n"                                               \
        "train m {\n    optimizer adamw(lr=0.05)\n    clip_norm 0.3\n    batch 6\n    seed "       \
        "3\n" block "}\n"

typedef struct Case {
    const char *mesh, *model;
    int zero, n, along_model;
    const int (*rows)[PLACES];
    bool processes;
} Case;

typedef struct Outcome {
    char problem[TEXT]; /* "": none */
    double losses[STEPS], norms[STEPS], metrics[4], logits[MOST_ROWS * CLASSES];
    double weight[HIDDEN * WIDTH];
    int64_t rows[STEPS], n_steps;
    char errors[MISTAKES][TEXT];
    dlc_status statuses[MISTAKES];
} Outcome;

typedef struct RankOf RankOf;
typedef void Body(RankOf *rank, Outcome *o);

typedef struct Ranks {
    const Case *test;
    Body *body;
    Outcome *outcomes;
    const void *plan;
    size_t n_plan;
} Ranks;

struct RankOf {
    const Ranks *ranks;
    const Case *test;
    int rank, place, places; /* place -1: of all */
    dlc_context *context;
    dlc_communicator *communicator;
    dlc_plan *plan;
    dlc_session *session;
};

#define TRY(call)                                                                                  \
    do {                                                                                           \
        if ((call) != DLC_OK) {                                                                    \
            snprintf(o->problem, TEXT, "rank %d: %s: %.700s", rank->rank, #call,                   \
                     dlc_last_error(rank->context));                                               \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* -- Rows -- */

typedef struct Rows {
    double x[MOST_ROWS * WIDTH];
    int32_t label[MOST_ROWS];
    int64_t n;
} Rows;

static void row_make(Rows *rows, int64_t at, int64_t number) {
    for (int i = 0; i < WIDTH; i++) {
        rows->x[at * WIDTH + i] = sin((double)(number * WIDTH + i + 1) * 5.1);
    }
    rows->label[at] = (int32_t)(number * number % CLASSES);
}

/* What the rank brings, with numbers from `first` on; else the whole of what all do. */
static void rows_bring(const RankOf *rank, const int *counts, int64_t first, Rows *out) {
    int64_t all = 0, i = 0;
    for (int p = 0; p < rank->places; p++) {
        all += counts[p];
    }
    *out = (Rows){.n = rank->place < 0 ? all : counts[rank->place]};
    for (int p = 0; p < rank->places; p++) {
        for (int k = 0; k < counts[p]; k++, i++) {
            if (rank->place < 0) {
                row_make(out, i, first + i);
            } else if (rank->place == p) {
                row_make(out, k, first + i);
            }
        }
    }
}

static dlc_status rows_set(RankOf *rank, const char *entry, Rows *rows) {
    int64_t x_shape[] = {rows->n, WIDTH}, label_shape[] = {rows->n};
    DLTensor x = api_tensor(rows->x, 2, x_shape, kDLFloat, 64);
    DLTensor label = api_tensor(rows->label, 1, label_shape, kDLInt, 32);
    dlc_status status = dlc_set_input(rank->session, entry, "x", &x);
    return status == DLC_OK && strcmp(entry, "infer") != 0
               ? dlc_set_input(rank->session, entry, "label", &label)
               : status;
}

static dlc_status scale_set(RankOf *rank, const char *entry) {
    static double scale[WIDTH] = {1, 0.5, 2, 1, 0.25};
    int64_t shape[] = {WIDTH};
    DLTensor tensor = api_tensor(scale, 1, shape, kDLFloat, 64);
    return dlc_set_input(rank->session, entry, "scale", &tensor);
}

static dlc_status session_open(RankOf *rank, int64_t batch) {
    const dlc_binding bound = {.name = "B", .value = batch};
    char device[32] = "cpu";
    if (!rank->communicator) {
        snprintf(device, sizeof(device), "cpu*%d", rank->test->n);
    }
    dlc_session_options options = {.struct_size = sizeof(options),
                                   .device = device,
                                   .threads = 1,
                                   .bindings = &bound,
                                   .n_bindings = batch > 0,
                                   .communicator = rank->communicator};
    dlc_status status = dlc_plan_load_memory(rank->context, rank->ranks->plan, rank->ranks->n_plan,
                                             "m", 0, &rank->plan);
    return status == DLC_OK ? dlc_session_create(rank->plan, &options, &rank->session) : status;
}

/* -- What ranks do -- */

static void weight_take(RankOf *rank, Outcome *o) {
    const DLTensor *view;
    TRY(dlc_view_variable(rank->session, "a.weight", &view));
    memcpy(o->weight, view->data, sizeof(o->weight));
}

static void step(RankOf *rank, Outcome *o) {
    Rows rows;
    const DLTensor *view;
    int64_t first = 0;
    TRY(session_open(rank, 0));
    TRY(dlc_init_weights(rank->session));
    TRY(scale_set(rank, "train"));
    TRY(scale_set(rank, "infer"));
    for (int s = 0; s < STEPS; s++) {
        dlc_step_info info = {.struct_size = sizeof(info)};
        rows_bring(rank, rank->test->rows[s], first, &rows);
        TRY(rows_set(rank, "train", &rows));
        TRY(dlc_train_step(rank->session, &info));
        o->losses[s] = info.loss;
        o->norms[s] = info.grad_norm;
        o->rows[s] = info.rows;
        first += info.rows;
    }
    rows_bring(rank, (const int[PLACES]){1, 5, 0}, 3, &rows);
    TRY(rows_set(rank, "infer", &rows));
    TRY(dlc_run(rank->session, "infer"));
    TRY(dlc_view_output(rank->session, "infer", "logits", &view));
    if (view->shape[0] != 6) {
        snprintf(o->problem, TEXT, "rank %d: %d rows of output", rank->rank, (int)view->shape[0]);
        return;
    }
    memcpy(o->logits, view->data, 6 * CLASSES * sizeof(double));
    weight_take(rank, o);
}

static int note_step(void *user, const dlc_step_info *info) {
    Outcome *o = user;
    o->losses[o->n_steps] = info->loss;
    o->norms[o->n_steps] = info->grad_norm;
    o->rows[o->n_steps++] = info->rows;
    return 0;
}

/* Rows of a place's data; numbers tell places apart. */
static const int data_rows[PLACES] = {10, 6, 8};

static dlc_status dataset(RankOf *rank, const int *counts, dlc_dataset **out) {
    Rows rows = {.n = 0};
    for (int p = 0; p < PLACES; p++) {
        for (int k = 0; k < counts[p] && (rank->place < 0 || rank->place == p); k++) {
            row_make(&rows, rows.n++, 100 * p + k);
        }
    }
    int64_t x_shape[] = {rows.n, WIDTH}, label_shape[] = {rows.n};
    DLTensor x = api_tensor(rows.x, 2, x_shape, kDLFloat, 64);
    DLTensor label = api_tensor(rows.label, 1, label_shape, kDLInt, 32);
    const char *const names[] = {"x", "label"};
    const DLTensor *const fields[] = {&x, &label};
    return dlc_dataset_from_tensors(rank->context, names, fields, 2, out);
}

/* Six steps of two rows of each, three an epoch, in the order of each place's own shuffle. */
static void train_by_hand(RankOf *rank, Outcome *o) {
    TRY(dlc_init_weights(rank->session));
    TRY(dlc_set_counter(rank->session, "steps", STEPS));
    TRY(dlc_set_counter(rank->session, "steps_per_epoch", 3));
    for (int s = 0; s < STEPS; s++) {
        Rows rows = {.n = 0};
        dlc_step_info info = {.struct_size = sizeof(info)};
        for (int p = 0; p < PLACES; p++) {
            int64_t order[MOST_ROWS];
            shuffle_permutation(3, (uint64_t)(s / 3), data_rows[p], order);
            for (int k = 0; k < 2; k++) {
                row_make(&rows, rows.n++, 100 * p + order[s % 3 * 2 + k]);
            }
        }
        TRY(dlc_set_counter(rank->session, "epoch", s / 3));
        TRY(rows_set(rank, "train", &rows));
        TRY(dlc_train_step(rank->session, &info));
        (void)note_step(o, &info);
    }
}

static void learn(RankOf *rank, Outcome *o) {
    static const int few_rows[PLACES] = {7, 0, 3};
    dlc_dataset *data = NULL, *few = NULL;
    dlc_metric metrics[4];
    size_t n = 0;
    TRY(session_open(rank, 0));
    TRY(dataset(rank, data_rows, &data));
    TRY(dataset(rank, few_rows, &few));
    if (rank->communicator) {
        dlc_train_options train = {.struct_size = sizeof(train),
                                   .data = data,
                                   .epochs = 2,
                                   .on_step = note_step,
                                   .user = o};
        TRY(dlc_train(rank->session, &train, NULL));
    } else {
        train_by_hand(rank, o);
    }
    TRY(dlc_evaluate(rank->session, data, 4, metrics, 4, &n));
    o->metrics[0] = metrics[0].value;
    o->metrics[1] = metrics[1].value;
    TRY(dlc_evaluate(rank->session, few, 1, metrics, 4, &n));
    o->metrics[2] = metrics[0].value;
    o->metrics[3] = metrics[1].value;
    weight_take(rank, o);
    if (rank->communicator) {
        dlc_train_options train = {.struct_size = sizeof(train), .data = few, .epochs = 1};
        o->statuses[0] = dlc_train(rank->session, &train, NULL);
        snprintf(o->errors[0], TEXT, "%.1000s", dlc_last_error(rank->context));
    }
    dlc_dataset_destroy(few);
    dlc_dataset_destroy(data);
}

/* Batches that do not fit, and after each that all bring what does. */
static void go_wrong(RankOf *rank, Outcome *o) {
    Rows rows;
    TRY(session_open(rank, 6));
    TRY(dlc_init_weights(rank->session));
    TRY(scale_set(rank, "train"));
    for (int k = rank->communicator ? 0 : MISTAKES; k < 2 * MISTAKES; k++) {
        int mistake = k % 2 == 0 && rank->communicator ? k / 2 : -1;
        int counts[PLACES] = {3, mistake == 0 ? 4 : 3};
        dlc_step_info info = {.struct_size = sizeof(info)};
        counts[1] += mistake == 1 && rank->rank == 3 ? -1 : 0; /* of two that have the same */
        rows_bring(rank, counts, 0, &rows);
        rows.x[0] = mistake == 3 && rank->place == 1 ? NAN : rows.x[0];
        TRY(rows_set(rank, "train", &rows));
        if (mistake == 2 && rank->rank == 1) {
            int64_t shape[] = {2};
            DLTensor label = api_tensor(rows.label, 1, shape, kDLInt, 32);
            TRY(dlc_set_input(rank->session, "train", "label", &label));
        }
        dlc_status status = dlc_train_step(rank->session, &info);
        if (mistake < 0) {
            TRY(status);
            o->losses[k / 2] = info.loss;
        } else {
            o->statuses[mistake] = status;
            snprintf(o->errors[mistake], TEXT, "%.1000s", dlc_last_error(rank->context));
        }
    }
    weight_take(rank, o);
}

/* -- Running -- */

static void rank_run(const TogetherRank *one) {
    const Ranks *ranks = one->user;
    const Case *test = ranks->test;
    int along = test->along_model > 0 ? test->along_model : 1;
    RankOf rank = {.ranks = ranks,
                   .test = test,
                   .rank = one->rank,
                   .place = one->communicator ? one->rank / along : -1,
                   .places = test->n / along,
                   .context = one->context,
                   .communicator = one->communicator};
    ranks->body(&rank, &ranks->outcomes[one->communicator ? one->rank + 1 : 0]);
    dlc_session_destroy(rank.session);
    dlc_plan_destroy(rank.plan);
}

/* What each rank saw, after one session of all on the same rows; munmap. */
static Outcome *run(const Case *test, Body *body) {
    size_t bytes = (MOST_RANKS + 1) * sizeof(Outcome);
    Outcome *all = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(all != MAP_FAILED);
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .float_type = "f64",
                                   .mesh = test->mesh,
                                   .zero = test->zero,
                                   .threads = 1};
    dlc_context *context;
    char folder[] = "/tmp/dlc-own-rows-XXXXXX", command[64];
    assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
    assert_non_null(mkdtemp(folder));
    dlc_plan *plan = api_compile(context, test->model, &options);
    Ranks ranks = {.test = test, .body = body, .outcomes = all};
    dlc_plan_bytes(plan, &ranks.plan, &ranks.n_plan);
    rank_run(&(TogetherRank){.context = context, .user = &ranks});
    together_run(test->n, test->processes ? folder : NULL, rank_run, &ranks);
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    for (int r = 0; r <= test->n; r++) {
        if (all[r].problem[0]) {
            fail_msg("%s", all[r].problem);
        }
    }
    return all;
}

static void outcomes_free(Outcome *all) {
    munmap(all, (MOST_RANKS + 1) * sizeof(Outcome));
}

/* -- Tests -- */

#define SCALED(dim, block) MODEL(dim, "scale: f64[5], ", " * scale", block)

static const int even_and_not[STEPS][PLACES] = {{2, 2, 2}, {3, 2, 1}, {0, 4, 2},
                                                {1, 0, 0}, {0, 2, 3}, {5, 1, 0}};
/* For a step in three parts. */
static const int of_parts[STEPS][PLACES] = {{6, 3, 3}, {4, 4, 4}, {0, 6, 0},
                                            {3, 3, 0}, {1, 2, 9}, {0, 0, 3}};

static const Case cases[] = {
    {.mesh = "data=*", .model = SCALED("dim B", ""), .n = 2, .rows = even_and_not},
    {.mesh = "data=*", .model = SCALED("dim B", ""), .zero = 3, .n = 3, .rows = even_and_not},
    {.mesh = "data=2,model=2",
     .model = SCALED("dim B", ""),
     .n = 4,
     .along_model = 2,
     .rows = even_and_not},
    {.mesh = "data=*",
     .model = SCALED("dim B % 3", "    accumulate 3\n"),
     .n = 3,
     .rows = of_parts},
};

static void same_bits(const Outcome *all, int n) {
    for (int r = 1; r <= n; r++) {
        assert_memory_equal(all[r].losses, all[0].losses, sizeof(all[0].losses));
        assert_memory_equal(all[r].norms, all[0].norms, sizeof(all[0].norms));
        assert_memory_equal(all[r].rows, all[0].rows, sizeof(all[0].rows));
        assert_memory_equal(all[r].logits, all[0].logits, sizeof(all[0].logits));
        assert_memory_equal(all[r].weight, all[0].weight, sizeof(all[0].weight));
    }
    assert_true(isfinite(all[0].losses[STEPS - 1]) && all[0].weight[7] != 0);
}

static void steps_with(bool processes) {
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Case test = cases[i];
        test.processes = processes;
        Outcome *all = run(&test, step);
        same_bits(all, test.n);
        outcomes_free(all);
    }
}

static void test_steps_threads(void **state) {
    (void)state;
    steps_with(false);
}

static void test_steps_processes(void **state) {
    (void)state;
    steps_with(true);
}

static void data_with(bool processes) {
    Case test = {
        .mesh = "data=*", .model = MODEL("dim B", "", "", ""), .n = PLACES, .processes = processes};
    Outcome *all = run(&test, learn);
    same_bits(all, test.n);
    for (int r = 1; r <= test.n; r++) {
        assert_int_equal(all[r].n_steps, STEPS); /* as many as the fewest rows make */
        for (int i = 0; i < 4; i++) {            /* every row once, in other batches */
            assert_true(fabs(all[r].metrics[i] - all[0].metrics[i]) < 1e-12);
            assert_memory_equal(&all[r].metrics[i], &all[1].metrics[i], sizeof(double));
        }
        assert_int_equal(all[r].statuses[0], DLC_ERROR_MISMATCH);
        assert_string_equal(all[r].errors[0], "the data of rank 1 have no rows");
    }
    outcomes_free(all);
}

static void test_data(void **state) {
    (void)state;
    data_with(false);
    data_with(true);
}

static void test_mistakes(void **state) {
    (void)state;
    static const char *const said[MISTAKES] = {
        ("rank 2 brings 4 rows, where its part is 3: the batch of 'm.train' is fixed at 6 rows, "
         "and all ranks bring 7"),
        "rank 3 brings 2 rows, rank 2 3: they compute the same rows, and bring the same",
        "input 'label' has 2 rows, input 'x' 3: a rank brings as many of each",
        "input 'x' holds nan in row 0 at [0, 0]"};
    Case test = {.mesh = "data=2,model=2", .model = SCALED("dim B", ""), .n = 4, .along_model = 2};
    for (int processes = 0; processes < 2; processes++) {
        test.processes = processes;
        Outcome *all = run(&test, go_wrong);
        for (int r = 1; r <= test.n; r++) {
            for (int k = 0; k < MISTAKES; k++) {
                assert_int_equal(all[r].statuses[k],
                                 k < 3 ? DLC_ERROR_MISMATCH : DLC_ERROR_NON_FINITE);
                if (!strstr(all[r].errors[k], said[k])) {
                    fail_msg("rank %d said: %s", r - 1, all[r].errors[k]);
                }
            }
            assert_memory_equal(&all[r].losses[MISTAKES - 1], &all[0].losses[MISTAKES - 1],
                                sizeof(double));
            assert_memory_equal(all[r].weight, all[0].weight, sizeof(all[1].weight));
        }
        outcomes_free(all);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_threads), cmocka_unit_test(test_steps_processes),
        cmocka_unit_test(test_data), cmocka_unit_test(test_mistakes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
