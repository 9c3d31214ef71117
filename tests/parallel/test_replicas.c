/* What is whole on every rank is the same on every rank, bit for bit: parameters, states, slots and
 * averages, looked at in the ranks' own memory after every step, also after one that failed. They
 * begin as one device's do. */
#include "runtime/session/session.h"
#include "tests/unit/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_ROWS = 12, WIDTH = 5, CLASSES = 4 };

/* Norms over the batch and along rows, dropout, one table read at two places, a layer called twice,
 * two optimisers, what is frozen, averages. */
static const char model[] =
    "dim B\nmodel m(x: f64[B, 5], label: i32[B]) {\n"
    "    param table: [4, 6] = normal(0.0, 0.5)\n"
    "    h = x |> linear(6) as a |> batch_norm as bn |> tanh |> dropout(0.25)\n"
    "    h = h + table[label] |> linear(6) as b |> layer_norm as ln\n"
    "    h = h |> linear(6) as shared b |> prelu as act\n"
    "    logits = {b c, k c -> b k}(h, table)\n    output logits\n"
    "    loss cross_entropy(logits, label)\n    loss size = 0.01 * sum(h ** 2) over sum(x ** "
    "2)\n}\n"
    "train m {\n    optimizer for \"*.weight\" lamb(lr=0.02)\n    optimizer adamw(lr=0.01)\n"
    "    freeze \"a.bias\"\n    clip_norm 0.3\n    ema 0.9\n    batch 12\n    steps 40\n}\n";

typedef struct Bench {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
} Bench;

static void bench_open_program(Bench *b, const char *text, const dlc_compile_options *options,
                               const dlc_session_options *run) {
    assert_int_equal(dlc_context_create(NULL, &b->context), DLC_OK);
    b->plan = api_compile(b->context, text, options);
    OK(b->context, dlc_session_create(b->plan, run, &b->session));
    OK(b->context, dlc_init_weights(b->session));
}

static void bench_open_checked(Bench *b, const char *device, int64_t every) {
    const dlc_compile_options options = {.struct_size = sizeof(options), .float_type = "f64"};
    const dlc_session_options run = {
        .struct_size = sizeof(run), .device = device, .check_replicas = every};
    bench_open_program(b, model, &options, &run);
}

static void bench_open(Bench *b, const char *device) {
    bench_open_checked(b, device, 0);
}

static void bench_close(Bench *b) {
    dlc_session_destroy(b->session);
    dlc_plan_destroy(b->plan);
    dlc_context_destroy(b->context);
}

static dlc_status step(Bench *b, int64_t rows, int seed, double bad) {
    double x[MOST_ROWS * WIDTH];
    int32_t label[MOST_ROWS];
    for (int64_t i = 0; i < rows * WIDTH; i++) {
        x[i] = sin((double)((i + 1) * (seed + 3)) * 1.7);
    }
    for (int64_t i = 0; i < rows; i++) {
        label[i] = (int32_t)((i + seed) % CLASSES);
    }
    x[rows * WIDTH - 1] += bad;
    int64_t x_shape[] = {rows, WIDTH}, label_shape[] = {rows};
    DLTensor of_x = api_tensor(x, 2, x_shape, kDLFloat, 64);
    DLTensor of_label = api_tensor(label, 1, label_shape, kDLInt, 32);
    OK(b->context, dlc_set_input(b->session, "train", "x", &of_x));
    OK(b->context, dlc_set_input(b->session, "train", "label", &of_label));
    return dlc_train_step(b->session, NULL);
}

/* How many variables are whole; each has the same bytes on all ranks. */
static int whole_ones(const dlc_session *session) {
    int count = 0;
    const Rank *first = &session->ranks[0];
    for (int64_t v = 0; v < first->n_variables; v++) {
        const Variable *own = &first->variables[v];
        if (!own->data || own->record->part.n_cuts > 0) {
            continue;
        }
        count++;
        for (int32_t r = 1; r < session->n_ranks; r++) {
            const Variable *other = &session->ranks[r].variables[v];
            assert_ptr_not_equal(other->data, own->data);
            assert_int_equal(other->bytes, own->bytes);
            if (memcmp(other->data, own->data, (size_t)own->bytes) != 0) {
                fail_msg("'%s' of rank %d differs from the first's",
                         plan_text(session->file, own->record->name), (int)r);
            }
        }
    }
    return count;
}

static void test_replicas(void **state) {
    (void)state;
    static const char *const devices[] = {"cpu*2", "cpu*3", "cpu*5", "cpu*8"};
    static const int64_t rows[] = {12, 3, 5, 7, 2};
    for (size_t d = 0; d < sizeof(devices) / sizeof(devices[0]); d++) {
        Bench b;
        bench_open(&b, devices[d]);
        int count = whole_ones(b.session);
        assert_true(count > 30); /* parameters, two moments and an average each */
        for (int s = 0; s < 10; s++) {
            bool fails = s % 3 == 2;
            dlc_status status = step(&b, rows[s % 5], s, fails ? NAN : 0.0);
            assert_int_equal(status, fails ? DLC_ERROR_NON_FINITE : DLC_OK);
            assert_int_equal(whole_ones(b.session), count);
        }
        bench_close(&b);
    }
}

/* Weights begin as on one device, whatever the number of ranks. */
static void test_beginning(void **state) {
    (void)state;
    static const char *const devices[] = {"cpu*2", "cpu*3", "cpu*8"};
    Bench one;
    bench_open(&one, "cpu");
    for (size_t d = 0; d < sizeof(devices) / sizeof(devices[0]); d++) {
        Bench many;
        bench_open(&many, devices[d]);
        for (size_t i = 0; i < dlc_plan_variable_count(one.plan); i++) {
            dlc_tensor_info info = {.struct_size = sizeof(info)};
            const DLTensor *a, *b;
            OK(one.context, dlc_plan_variable(one.plan, i, &info));
            OK(one.context, dlc_view_variable(one.session, info.name, &a));
            OK(many.context, dlc_view_variable(many.session, info.name, &b));
            int64_t bytes = a->dtype.bits / 8;
            assert_int_equal(a->ndim, b->ndim);
            for (int32_t axis = 0; axis < a->ndim; axis++) {
                assert_int_equal(a->shape[axis], b->shape[axis]);
                bytes *= a->shape[axis];
            }
            assert_memory_equal(a->data, b->data, (size_t)bytes);
        }
        bench_close(&many);
    }
    bench_close(&one);
}

/* A copy that has drifted is found by the session itself, when it looks: which one, and where. */
static void test_drift(void **state) {
    (void)state;
    static const struct {
        int64_t every;
        int fails_at; /* of steps after the drift; -1: none of them */
        dlc_status saved;
    } cases[] = {{1, 1, DLC_ERROR_MISMATCH}, {3, 2, DLC_ERROR_MISMATCH}, {-1, -1, DLC_OK}};
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        Bench b;
        bench_open_checked(&b, "cpu*3", cases[c].every);
        assert_int_equal(step(&b, 12, 0, 0.0), DLC_OK);
        Variable *frozen = NULL; /* which no step writes over */
        for (int64_t v = 0; v < b.session->ranks[2].n_variables; v++) {
            Variable *variable = &b.session->ranks[2].variables[v];
            const char *name = plan_text(b.session->file, variable->record->name);
            frozen = strcmp(name, "a.bias") == 0 ? variable : frozen;
        }
        assert_non_null(frozen);
        uint8_t *byte = (uint8_t *)frozen->data + frozen->bytes - 1;
        *byte ^= 1;
        assert_int_equal(dlc_weights_save(b.session, "/dev/null"), cases[c].saved);
        for (int s = 1; s <= 3; s++) {
            dlc_status status = step(&b, 12, s, 0.0);
            assert_int_equal(status, s == cases[c].fails_at ? DLC_ERROR_MISMATCH : DLC_OK);
            if (status != DLC_OK) {
                const char *text = dlc_last_error(b.context);
                char wanted[64];
                snprintf(wanted, sizeof(wanted),
                         "after step %d 'a.bias' of rank 2 has not the bits", s + 1);
                if (!strstr(text, wanted) || !strstr(text, "that rank 0 has")) {
                    fail_msg("said: %s", text);
                }
                break;
            }
        }
        *byte ^= 1; /* the session goes on */
        assert_int_equal(dlc_weights_save(b.session, "/dev/null"), DLC_OK);
        bench_close(&b);
    }
}

/* Of what is cut among ranks, those have copies that have the same part: with two replicas of two
 * ranks, the first and the third. */
static void test_drift_of_parts(void **state) {
    (void)state;
    static const char text[] =
        "dim B\nmodel m(x: f64[B, 5], label: i32[B]) {\n"
        "    h = x |> linear(128) as a |> tanh |> linear(128) as b |> tanh\n"
        "    logits = h |> linear(4) as c\n    output logits\n"
        "    loss cross_entropy(logits, label)\n}\n"
        "train m {\n    optimizer adamw(lr=0.01)\n    batch 12\n    steps 40\n}\n";
    const dlc_compile_options options = {
        .struct_size = sizeof(options), .float_type = "f64", .mesh = "replica=2,data=2", .zero = 1};
    const dlc_session_options run = {
        .struct_size = sizeof(run), .device = "cpu*4", .check_replicas = 1};
    Bench b;
    bench_open_program(&b, text, &options, &run);
    OK(b.context, step(&b, 12, 0, 0.0));
    int n_cut = 0;
    for (int64_t v = 0; v < b.session->ranks->n_variables; v++) {
        Variable *variable = &b.session->ranks[3].variables[v];
        const Variable *first = &b.session->ranks[0].variables[v];
        if (variable->record->part.n_cuts == 0) {
            continue;
        }
        n_cut++;
        assert_true(memcmp(variable->data, first->data, (size_t)variable->bytes) != 0);
        uint8_t *byte = variable->data;
        *byte ^= 1;
        assert_int_equal(dlc_weights_save(b.session, "/dev/null"), DLC_ERROR_MISMATCH);
        if (!strstr(dlc_last_error(b.context), "of rank 3 has not the bits that rank 1 has")) {
            fail_msg("said: %s", dlc_last_error(b.context));
        }
        *byte ^= 1;
        OK(b.context, dlc_weights_save(b.session, "/dev/null"));
    }
    assert_true(n_cut >= 2); /* both moments of b.weight */
    bench_close(&b);
}

/* Whether the training entry has an exchange of that kind along one axis of the mesh. */
static bool exchanges(const Bench *b, const char *kind, int32_t over) {
    for (size_t i = 0; i < dlc_plan_exchange_count(b->plan, "train"); i++) {
        dlc_exchange_info info = {.struct_size = sizeof(info)};
        OK(b->context, dlc_plan_exchange(b->plan, "train", i, 0, NULL, 0, &info));
        if (strcmp(info.kind, kind) == 0 && info.over == over) {
            return true;
        }
    }
    return false;
}

/* Norms beside products that are cut see rows of a sequence of five, which two and three ranks cut
 * unevenly: their weights' gradients are sums over these ranks too, and stay the same on all. */
static void test_sequence(void **state) {
    (void)state;
    static const char text[] =
        "dim B\nfn block(x: f64[B, T, C]) -> f64[B, T, C] {\n"
        "    return x + (x |> layer_norm as norm |> linear(252) as a |> tanh |> linear(C) as b |> "
        "dropout(0.2))\n}\n"
        "model m(x: f64[B, 5], label: i32[B]) {\n"
        "    param spread: [8] = normal(0.0, 0.5)\n"
        "    h = {b t, c -> b t c}(x, spread)\n"
        "    for i in 0..2 {\n        h = h |> block as h[i]\n    }\n"
        "    logits = {b t c -> b c}(h |> layer_norm as last) |> linear(4) as head\n"
        "    output logits\n    loss cross_entropy(logits, label)\n}\n"
        "train m {\n    optimizer adamw(lr=0.01)\n    clip_norm 0.3\n    batch 12\n    steps "
        "40\n}\n";
    static const struct {
        const char *mesh, *device;
        int32_t model; /* as a bit */
    } cases[] = {{"model=2", "cpu*2", 1}, {"model=3", "cpu*3", 1}, {"data=2,model=2", "cpu*4", 2}};
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        const dlc_compile_options options = {.struct_size = sizeof(options),
                                             .float_type = "f64",
                                             .mesh = cases[c].mesh,
                                             .sequence = "on"};
        const dlc_session_options run = {
            .struct_size = sizeof(run), .device = cases[c].device, .check_replicas = 1};
        Bench b;
        bench_open_program(&b, text, &options, &run);
        assert_true(exchanges(&b, "reduce_scatter", cases[c].model));
        int count = whole_ones(b.session);
        assert_true(count >= 24); /* norms and what follows the sums, with two moments each */
        for (int s = 0; s < 4; s++) {
            assert_int_equal(step(&b, 12 - s, s, 0.0), DLC_OK);
            assert_int_equal(whole_ones(b.session), count);
        }
        bench_close(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replicas), cmocka_unit_test(test_beginning),
        cmocka_unit_test(test_drift), cmocka_unit_test(test_drift_of_parts),
        cmocka_unit_test(test_sequence)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
