/* Sessions of one rank each, of which one is given other things than the others – rows, a seed,
 * weights, an option, a counter – or hangs in its caller's code: all fail with the same words,
 * which name the rank and the difference, before anything is stored; and go on when all have the
 * same again. */
#include "runtime/session/session.h"
#include "tests/unit/api.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROWS = 12, WIDTH = 5, N_RANKS = 3, ODD = 2, TEXT_BYTES = 2048 };

static const char model[] =
    "dim B\nmodel m(x: f64[B, 5], label: i32[B]) {\n"
    "    h = x |> linear(6) as a |> tanh\n    logits = h |> linear(3) as b\n"
    "    output logits\n    loss cross_entropy(logits, label)\n}\n"
    "train m {\n    optimizer adamw(lr=0.01)\n    batch 6\n    steps 40\n}\n";

typedef struct RankOf RankOf;
typedef struct Case {
    const char *name;
    void (*prepare)(RankOf *rank, dlc_session_options *options); /* NULL: nothing */
    dlc_status (*odd)(RankOf *rank);                             /* what all try */
    dlc_status status;                                           /* and what comes of it */
    const char *says, *says_too;                                 /* in it */
} Case;

struct RankOf {
    const Case *test;
    int rank;
    bool is_odd; /* it is the one that is given something else */
    dlc_context *context;
    dlc_communicator *communicator;
    dlc_session *session;
    const void *plan;
    size_t n_plan;
    char problem[TEXT_BYTES], said[TEXT_BYTES];
};

#define TRY(call)                                                                                  \
    do {                                                                                           \
        if ((call) != DLC_OK && !rank->problem[0]) {                                               \
            snprintf(rank->problem, TEXT_BYTES, "rank %d: %s: %s", rank->rank, #call,              \
                     dlc_last_error(rank->context));                                               \
        }                                                                                          \
    } while (0)

static void rows_fill(double *x, int32_t *label) {
    for (int64_t i = 0; i < ROWS * WIDTH; i++) {
        x[i] = sin((double)(i + 1) * 5.1);
    }
    for (int32_t i = 0; i < ROWS; i++) {
        label[i] = i % 3;
    }
}

/* -- What ranks do */

static int count_steps(void *user, const dlc_step_info *info) {
    (void)info;
    ++*(int *)user;
    return 0;
}

typedef struct Training {
    int64_t rows, steps;
    double first; /* of the data */
    int (*on_step)(void *user, const dlc_step_info *info);
    void *user;
} Training;

static dlc_status train(RankOf *rank, const Training *training) {
    double x[ROWS * WIDTH];
    int32_t label[ROWS];
    int64_t x_shape[] = {training->rows, WIDTH}, label_shape[] = {training->rows};
    const char *const names[] = {"x", "label"};
    dlc_dataset *data = NULL;
    rows_fill(x, label);
    x[0] = training->first;
    DLTensor x_tensor = api_tensor(x, 2, x_shape, kDLFloat, 64);
    DLTensor label_tensor = api_tensor(label, 1, label_shape, kDLInt, 32);
    const DLTensor *const fields[] = {&x_tensor, &label_tensor};
    TRY(dlc_dataset_from_tensors(rank->context, names, fields, 2, &data));
    const dlc_train_options options = {.struct_size = sizeof(options),
                                       .data = data,
                                       .steps = training->steps,
                                       .on_step = training->on_step,
                                       .user = training->user};
    dlc_status status = dlc_train(rank->session, &options, NULL);
    dlc_dataset_destroy(data);
    return status;
}

static dlc_status train_counted(RankOf *rank, Training training) {
    int steps = 0;
    training.on_step = count_steps;
    training.user = &steps;
    dlc_status status = train(rank, &training);
    if (status != DLC_OK && steps > 0) {
        snprintf(rank->problem, TEXT_BYTES, "rank %d has done %d steps", rank->rank, steps);
    }
    return status;
}

static dlc_status other_count(RankOf *rank) {
    return train_counted(rank, (Training){.rows = rank->is_odd ? ROWS - 1 : ROWS, .steps = 4});
}

/* Too few for a batch, which the others' would wait for. */
static dlc_status too_few(RankOf *rank) {
    return train_counted(rank, (Training){.rows = rank->is_odd ? 2 : ROWS, .steps = 4});
}

static dlc_status other_rows(RankOf *rank) {
    return train_counted(rank,
                         (Training){.rows = ROWS, .steps = 4, .first = rank->is_odd ? 0.5 : 0});
}

static dlc_status other_steps(RankOf *rank) {
    return train_counted(rank, (Training){.rows = ROWS, .steps = rank->is_odd ? 3 : 4});
}

static dlc_status step(RankOf *rank) {
    double x[ROWS * WIDTH];
    int32_t label[ROWS];
    int64_t x_shape[] = {6, WIDTH}, label_shape[] = {6};
    rows_fill(x, label);
    DLTensor x_tensor = api_tensor(x, 2, x_shape, kDLFloat, 64);
    DLTensor label_tensor = api_tensor(label, 1, label_shape, kDLInt, 32);
    TRY(dlc_set_input(rank->session, "train", "x", &x_tensor));
    TRY(dlc_set_input(rank->session, "train", "label", &label_tensor));
    return dlc_train_step(rank->session, NULL);
}

static void seed_other(RankOf *rank, dlc_session_options *options) {
    options->has_seed = rank->is_odd;
    options->seed = 77;
}

static dlc_status weights_begin(RankOf *rank) {
    return dlc_init_weights(rank->session);
}

static Variable *own_variable(RankOf *rank, const char *name) {
    Rank *own = rank->session->ranks;
    for (int64_t v = 0; v < own->n_variables; v++) {
        if (strcmp(plan_text(rank->session->file, own->variables[v].record->name), name) == 0) {
            return &own->variables[v];
        }
    }
    abort();
}

static dlc_status other_weights(RankOf *rank) {
    TRY(dlc_init_weights(rank->session));
    if (rank->is_odd) {
        *(double *)own_variable(rank, "b.bias")->data = 0.25;
    }
    return step(rank);
}

static void check_often(RankOf *rank, dlc_session_options *options) {
    (void)rank;
    options->check_replicas = 2;
}

static dlc_status drift(RankOf *rank) {
    TRY(dlc_init_weights(rank->session));
    TRY(step(rank));
    if (rank->is_odd) {
        *(double *)own_variable(rank, "b.bias")->data += 1;
    }
    return step(rank);
}

static dlc_status other_step(RankOf *rank) {
    TRY(dlc_init_weights(rank->session));
    TRY(step(rank));
    if (rank->is_odd) {
        TRY(dlc_set_counter(rank->session, "step", 8));
    }
    dlc_status status = step(rank);
    TRY(dlc_set_counter(rank->session, "step", 1));
    return status;
}

/* As soon as others have been told, it comes back. */
static int nap_in_step(void *user, const dlc_step_info *info) {
    const RankOf *rank = user;
    if (rank->is_odd && info->step == 3) {
        const struct timespec two = {getenv("DLC_SANITIZED") ? 8 : 2, 0};
        nanosleep(&two, NULL);
    }
    return 0;
}

static void hurry(RankOf *rank, dlc_session_options *options) {
    (void)rank;
    options->stall_seconds = getenv("DLC_SANITIZED") ? 1.2 : 0.3;
}

static dlc_status hang(RankOf *rank) {
    return train(rank, &(Training){.rows = ROWS, .steps = 6, .on_step = nap_in_step, .user = rank});
}

/* -- Cases */

static const Case cases[] = {
    {"fewer rows", NULL, other_count, DLC_ERROR_MISMATCH,
     "ranks differ in the number of rows of 'train': rank 2 has 11, rank 0 has 12", ""},
    {"rows for no batch", NULL, too_few, DLC_ERROR_MISMATCH, "rank 2 has 2, rank 0 has 12", ""},
    {"other rows", NULL, other_rows, DLC_ERROR_MISMATCH,
     "ranks differ in the contents of 'train': rank 2 has ", ", rank 0 has "},
    {"other steps", NULL, other_steps, DLC_ERROR_MISMATCH,
     "ranks differ in the steps that are asked for: rank 2 has 3, rank 0 has 4", ""},
    {"other seed", seed_other, weights_begin, DLC_ERROR_MISMATCH,
     "ranks differ in 'seed': rank 2 has 77, rank 0 has 0", ""},
    {"other weights", NULL, other_weights, DLC_ERROR_MISMATCH,
     "after step 0 'b.bias' of rank 2 has not the bits that rank 0 has", ""},
    {"drift", check_often, drift, DLC_ERROR_MISMATCH,
     "after step 2 'b.bias' of rank 2 has not the bits that rank 0 has", ""},
    {"other step", NULL, other_step, DLC_ERROR_MISMATCH,
     "ranks do not do the same: rank 2 is at step 9, rank 0 at step 2; nothing was stored", ""},
    {"a callback that hangs", hurry, hang, DLC_ERROR_LIMIT, "rank 2 does not come",
     "rank 2 is at its caller's on_step, step 3 of m.train behind it"},
};

static void session_open(RankOf *rank, bool is_odd) {
    dlc_plan *plan = NULL;
    dlc_session_options options = {.struct_size = sizeof(options),
                                   .device = "cpu",
                                   .threads = 1,
                                   .communicator = rank->communicator,
                                   .rows = DLC_ROWS_WHOLE};
    rank->is_odd = is_odd;
    if (rank->test->prepare) {
        rank->test->prepare(rank, &options);
    }
    TRY(dlc_plan_load_memory(rank->context, rank->plan, rank->n_plan, "m", 0, &plan));
    TRY(dlc_session_create(plan, &options, &rank->session));
    dlc_plan_destroy(plan);
}

static void *rank_main(void *given) {
    RankOf *rank = given;
    session_open(rank, rank->rank == ODD);
    dlc_status status = rank->test->odd(rank);
    snprintf(rank->said, TEXT_BYTES, "%s", dlc_last_error(rank->context));
    if (status != rank->test->status && !rank->problem[0]) {
        snprintf(rank->problem, TEXT_BYTES, "rank %d: status %d: %.1900s", rank->rank, (int)status,
                 rank->said);
    }
    /* All the same: it goes well, in this session where nothing is wrong with it for good. */
    rank->is_odd = false;
    if (rank->test->prepare == seed_other || rank->test->odd == other_weights) {
        dlc_session_destroy(rank->session);
        session_open(rank, false);
    }
    TRY(train(rank, &(Training){.rows = ROWS, .steps = 4}));
    dlc_session_destroy(rank->session);
    dlc_communicator_destroy(rank->communicator);
    return NULL;
}

static void run_case(const Case *test, const void *plan, size_t n_plan) {
    RankOf ranks[N_RANKS];
    pthread_t threads[N_RANKS];
    dlc_context *contexts[N_RANKS];
    dlc_communicator *ends[N_RANKS];
    for (int r = 0; r < N_RANKS; r++) {
        assert_int_equal(dlc_context_create(NULL, &contexts[r]), DLC_OK);
    }
    OK(contexts[0], dlc_communicator_group(contexts, N_RANKS, ends));
    for (int r = 0; r < N_RANKS; r++) {
        ranks[r] = (RankOf){.test = test,
                            .rank = r,
                            .context = contexts[r],
                            .communicator = ends[r],
                            .plan = plan,
                            .n_plan = n_plan};
        assert_int_equal(pthread_create(&threads[r], NULL, rank_main, &ranks[r]), 0);
    }
    for (int r = 0; r < N_RANKS; r++) {
        pthread_join(threads[r], NULL);
        dlc_context_destroy(contexts[r]);
    }
    for (int r = 0; r < N_RANKS; r++) {
        if (ranks[r].problem[0]) {
            fail_msg("%s: %s", test->name, ranks[r].problem);
        }
        if (!strstr(ranks[r].said, test->says) || !strstr(ranks[r].said, test->says_too)) {
            fail_msg("%s: rank %d said: %s", test->name, r, ranks[r].said);
        }
        assert_string_equal(ranks[r].said, ranks[0].said);
    }
}

static void test_cases(void **state) {
    (void)state;
    dlc_context *context = NULL;
    const dlc_compile_options options = {
        .struct_size = sizeof(options), .float_type = "f64", .mesh = "data=*"};
    assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
    dlc_plan *plan = api_compile(context, model, &options);
    const void *bytes = NULL;
    size_t n_bytes = 0;
    dlc_plan_bytes(plan, &bytes, &n_bytes);
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        run_case(&cases[c], bytes, n_bytes);
    }
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
