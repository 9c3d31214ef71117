/* What dlc_plan_summarize_rank foretells of a rank's memory is what its device is asked for: ranks
 * on devices that count, meshes and ZeRO levels with uneven rows and pieces. */
#include "runtime/session/session.h"
#include "tests/unit/api.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

enum { MOST_RANKS = 8, MOST_BLOCKS = 4096, ROWS = 13, WIDTH = 200, HIDDEN = 301, CLASSES = 7 };

#define MODEL                                                                                      \
    "dim B\nmodel m(x: f32[B, 200], label: i32[B]) {\n"                                            \
    "    h = x |> linear(301) as a |> tanh\n    logits = h |> linear(7) as b\n"                    \
    "    output logits\n    loss cross_entropy(logits, label)\n}\n"                                \
    "train m {\n    optimizer adamw(lr=0.05)\n    clip_norm 0.3\n    batch 13\n    seed 3\n}\n"

/* Blocks as a transformer's, with norms between products; sequences of nine, which two ranks and
 * four cut unevenly. */
enum { BLOCKS = 4, SEQUENCE = 9, CHANNELS = 64, STACK_ROWS = 32 };

#define STACK                                                                                      \
    "dim B\ndim T\n"                                                                               \
    "fn block(x: f32[B, T, C]) -> f32[B, T, C] {\n"                                                \
    "    return x + (x |> layer_norm as norm |> linear(4 * C) as a |> relu |> linear(C) as "       \
    "b)\n}\n"                                                                                      \
    "model m(x: f32[B, T, 64]) {\n"                                                                \
    "    for i in 0..4 {\n        x = x |> block as h[i]\n    }\n"                                 \
    "    output x\n    loss mean(square(x - 1))\n}\n"                                              \
    "train m {\n    optimizer sgd(lr=0.05)\n    batch 32\n    seed 3\n}\n"

/* -- A processor that counts what each of its devices holds -- */

typedef struct Block {
    const Device *device;
    const void *memory;
    size_t bytes;
} Block;

static struct {
    pthread_mutex_t mutex;
    Block blocks[MOST_BLOCKS];
} counted = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void *counting_alloc(Device *device, size_t bytes) {
    void *memory = device_host()->alloc(device, bytes);
    pthread_mutex_lock(&counted.mutex);
    int i = 0;
    while (counted.blocks[i].memory) {
        assert_true(++i < MOST_BLOCKS);
    }
    counted.blocks[i] = (Block){device, memory, bytes};
    pthread_mutex_unlock(&counted.mutex);
    return memory;
}

static void counting_free(Device *device, void *memory) {
    pthread_mutex_lock(&counted.mutex);
    for (int i = 0; i < MOST_BLOCKS; i++) {
        if (counted.blocks[i].memory == memory) {
            counted.blocks[i].memory = NULL;
            break;
        }
    }
    pthread_mutex_unlock(&counted.mutex);
    device_host()->free(device, memory);
}

static int64_t held(const Rank *rank) {
    int64_t bytes = 0;
    for (int i = 0; i < MOST_BLOCKS; i++) {
        const Block *block = &counted.blocks[i];
        bytes += block->memory && block->device == rank->device ? (int64_t)block->bytes : 0;
    }
    return bytes;
}

/* -- A session on such devices, after a training step -- */

typedef struct Bench {
    DeviceOps ops;
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
    int64_t n_ranks;
} Bench;

static void step(Bench *b, int64_t rows) {
    static float x[ROWS * WIDTH];
    static int32_t label[ROWS];
    for (int i = 0; i < ROWS * WIDTH; i++) {
        x[i] = (float)sin(i * 0.7);
    }
    for (int i = 0; i < ROWS; i++) {
        label[i] = i % CLASSES;
    }
    int64_t x_shape[] = {rows, WIDTH}, label_shape[] = {rows};
    DLTensor one = api_floats(x, 2, x_shape);
    DLTensor other = api_tensor(label, 1, label_shape, kDLInt, 32);
    OK(b->context, dlc_set_input(b->session, "train", "x", &one));
    OK(b->context, dlc_set_input(b->session, "train", "label", &other));
    OK(b->context, dlc_train_step(b->session, NULL));
}

static void bench_open_program(Bench *b, const char *text, const dlc_compile_options *options,
                               int32_t n_ranks) {
    *b = (Bench){.ops = *device_host(), .n_ranks = n_ranks};
    b->ops.alloc = counting_alloc;
    b->ops.free = counting_free;
    assert_int_equal(dlc_context_create(NULL, &b->context), DLC_OK);
    b->plan = api_compile(b->context, text, options);
    const dlc_session_options run = {.struct_size = sizeof(run), .threads = 1};
    OK(b->context, session_create_on(b->plan, &run, &b->ops, n_ranks, &b->session));
    OK(b->context, dlc_set_counter(b->session, "steps", 10));
    OK(b->context, dlc_init_weights(b->session));
}

static void bench_open(Bench *b, const char *mesh, int zero, int32_t n_ranks) {
    const dlc_compile_options options = {
        .struct_size = sizeof(options), .mesh = mesh, .zero = zero};
    bench_open_program(b, MODEL, &options, n_ranks);
}

static void bench_close(Bench *b) {
    dlc_session_destroy(b->session);
    dlc_plan_destroy(b->plan);
    dlc_context_destroy(b->context);
    for (int i = 0; i < MOST_BLOCKS; i++) {
        assert_null(counted.blocks[i].memory);
    }
}

static dlc_rank_summary told(const Bench *b, const char *entry, int64_t rank, int64_t rows) {
    const dlc_binding bindings[] = {{"B", rows}, {"T", SEQUENCE}}; /* MODEL has no T */
    const size_t n = dlc_session_dim(b->session, "T", &(int64_t){0}) == DLC_OK ? 2 : 1;
    dlc_rank_summary summary = {.struct_size = sizeof(summary)};
    OK(b->context,
       dlc_plan_summarize_rank(b->plan, entry, rank, b->n_ranks, bindings, n, &summary));
    assert_int_equal(summary.rank, rank);
    assert_int_equal(summary.ranks, b->n_ranks);
    assert_int_equal(summary.peak_bytes, summary.parameter_bytes + summary.slot_bytes +
                                             summary.state_bytes + summary.input_bytes +
                                             summary.arena_bytes);
    assert_true(summary.gradient_bytes <= summary.arena_bytes);
    assert_true(summary.activation_bytes <= summary.arena_bytes);
    assert_true(summary.transient_bytes <= summary.arena_bytes);
    assert_true(summary.gradient_bytes + summary.activation_bytes + summary.transient_bytes >=
                summary.arena_bytes);
    return summary;
}

static int64_t scalars_of(const Rank *rank, const char *name) {
    int32_t number = plan_entry_find(rank->file, rank->tables, name);
    const PlanEntry *entry = &rank->tables->entries[number];
    int64_t n = 0;
    for (int32_t i = 0; i < entry->n_args; i++) {
        n += rank->tables->args[entry->first_arg + i].role == PLAN_ARG_SCALAR;
    }
    return n;
}

/* The peak of the table, and beside it: the block of scalars, which is that of the entry with most
 * of them, the block of numbers, and an arena that another entry wants larger. */
static int64_t expected(const Bench *b, const Rank *rank, int64_t rows) {
    dlc_rank_summary train = told(b, "train", rank->place.number, rows);
    dlc_rank_summary init = told(b, "init", rank->place.number, rows);
    int64_t more = init.arena_bytes - train.arena_bytes;
    return train.peak_bytes + (more > 0 ? more : 0) +
           (rank->max_scalars - scalars_of(rank, "train")) * SCALAR_STRIDE +
           rank->max_numbers * NUMBER_STRIDE;
}

static void test_peaks(void **state) {
    (void)state;
    static const struct {
        const char *mesh;
        int zero;
        int32_t n_ranks;
    } cases[] = {{"data=*", 0, 3},         {"data=8", 3, 8},           {"data=*", 1, 4},
                 {"data=2,model=2", 2, 4}, {"replica=2,data=3", 3, 6}, {"model=2", 0, 2}};
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        Bench b;
        bench_open(&b, cases[k].mesh, cases[k].zero, cases[k].n_ranks);
        step(&b, ROWS);
        for (int32_t r = 0; r < b.n_ranks; r++) {
            const Rank *rank = &b.session->ranks[r];
            int64_t wanted = expected(&b, rank, ROWS);
            if (held(rank) != wanted) {
                fail_msg("%s, zero %d: rank %d holds %lld bytes, the table says %lld",
                         cases[k].mesh, cases[k].zero, (int)r, (long long)held(rank),
                         (long long)wanted);
            }
        }
        bench_close(&b);
    }
}

/* -- ZeRO's shares -- */

static int64_t line(int64_t bytes) {
    return layout_round(bytes);
}

/* Of the tensors a.weight alone is large enough to be cut: 301 x 200, along its longest axis, in
 * pieces of 38 rows and 37. */
static void test_shares(void **state) {
    (void)state;
    const int64_t whole = line(HIDDEN * 4) + line(CLASSES * HIDDEN * 4) + line(CLASSES * 4);
    Bench b;
    for (int zero = 0; zero <= 3; zero++) {
        bench_open(&b, "data=8", zero == 0 ? DLC_ZERO_OFF : zero, 8);
        for (int64_t r = 0; r < 8; r++) {
            int64_t piece = line((r < HIDDEN % 8 ? 38 : 37) * WIDTH * 4);
            int64_t large = line(HIDDEN * WIDTH * 4);
            dlc_rank_summary row = told(&b, "train", r, ROWS);
            assert_int_equal(row.parameter_bytes, whole + (zero == 3 ? piece : large));
            assert_int_equal(row.slot_bytes, 2 * (whole + (zero >= 1 ? piece : large)));
            assert_int_equal(row.gradient_bytes, whole + (zero >= 1 ? piece : large));
            assert_int_equal(row.last_rank, r < HIDDEN % 8 ? 4 : 7);
            /* 1/8 of what is cut, less than a row of it more, and what stays whole. */
            assert_true(zero < 3 || row.parameter_bytes <= large / 8 + WIDTH * 4 + 64 + whole);
        }
        bench_close(&b);
    }
}

/* Rows that do not divide: 13 on 8 ranks are 2 on five of them and 1 on three. */
static void test_rows(void **state) {
    (void)state;
    Bench b;
    bench_open(&b, "data=*", DLC_ZERO_OFF, 8);
    dlc_rank_summary first = told(&b, "train", 0, ROWS), last = told(&b, "train", 5, ROWS);
    assert_int_equal(first.last_rank, 4);
    assert_int_equal(last.last_rank, 7);
    assert_true(first.flops > last.flops && first.activation_bytes > last.activation_bytes);
    /* x, label; seven scalars and settings in the program's own count */
    assert_int_equal(first.input_bytes - last.input_bytes, line(2 * WIDTH * 4) - line(WIDTH * 4));
    bench_close(&b);
}

/* -- Rows between products -- */

static void stack_open(Bench *b, const char *mesh, const char *sequence, int32_t n_ranks) {
    const dlc_compile_options options = {
        .struct_size = sizeof(options), .mesh = mesh, .sequence = sequence};
    static float x[STACK_ROWS * SEQUENCE * CHANNELS];
    int64_t shape[] = {STACK_ROWS, SEQUENCE, CHANNELS};
    DLTensor one = api_floats(x, 3, shape);
    for (int i = 0; i < STACK_ROWS * SEQUENCE * CHANNELS; i++) {
        x[i] = (float)sin(i * 0.3);
    }
    bench_open_program(b, STACK, &options, n_ranks);
    OK(b->context, dlc_set_input(b->session, "train", "x", &one));
    OK(b->context, dlc_train_step(b->session, NULL));
}

/* The figures of the first rank, which the device confirms. */
static dlc_rank_summary stack_summary(const char *mesh, const char *sequence, int32_t n_ranks) {
    Bench b;
    stack_open(&b, mesh, sequence, n_ranks);
    const Rank *rank = &b.session->ranks[0];
    dlc_rank_summary summary = told(&b, "train", 0, STACK_ROWS);
    assert_int_equal(held(rank), expected(&b, rank, STACK_ROWS));
    bench_close(&b);
    return summary;
}

/* What is kept of each block between its products is on a rank in its rows alone: at least half of
 * what those rows are of one tensor, for what the next product gathers is kept besides. */
static void test_sequence(void **state) {
    (void)state;
    static const struct {
        const char *mesh;
        int32_t n_ranks, model, rows; /* of the batch */
    } cases[] = {{"model=2", 2, 2, STACK_ROWS}, {"data=2,model=4", 8, 4, STACK_ROWS / 2}};
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        dlc_rank_summary whole = stack_summary(cases[k].mesh, "off", cases[k].n_ranks);
        dlc_rank_summary cut = stack_summary(cases[k].mesh, "on", cases[k].n_ranks);
        int64_t others = SEQUENCE - (SEQUENCE + cases[k].model - 1) / cases[k].model;
        int64_t spared = BLOCKS * cases[k].rows * others * CHANNELS * (int64_t)sizeof(float);
        assert_true(cut.activation_bytes <= whole.activation_bytes - spared / 2);
        assert_true(cut.peak_bytes < whole.peak_bytes);
    }
}

static void test_refused(void **state) {
    (void)state;
    Bench b;
    dlc_rank_summary row = {.struct_size = sizeof(row)};
    bench_open(&b, "data=*,model=2", DLC_ZERO_OFF, 2);
    assert_int_equal(dlc_plan_summarize_rank(b.plan, "train", 0, 3, NULL, 0, &row),
                     DLC_ERROR_MISMATCH);
    assert_int_equal(dlc_plan_summarize_rank(b.plan, "train", 4, 4, NULL, 0, &row),
                     DLC_ERROR_INVALID_ARGUMENT);
    assert_string_equal(dlc_last_error(b.context), "rank is 4; it is one of 0 to 3");
    int64_t size = 0;
    assert_int_equal(dlc_session_rank_count(b.session), 2);
    OK(b.context, dlc_session_dim(b.session, "B", &size));
    assert_int_equal(size, -1);
    OK(b.context, dlc_session_bind(b.session, "B", 6));
    OK(b.context, dlc_session_dim(b.session, "B", &size));
    assert_int_equal(size, 6);
    assert_int_equal(dlc_session_dim(b.session, "C", &size), DLC_ERROR_NOT_FOUND);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peaks),   cmocka_unit_test(test_shares),
        cmocka_unit_test(test_rows),    cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
