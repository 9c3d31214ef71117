/* Batches are read ahead while steps run. Which rows a step sees must not tell of it: over epochs,
 * after stopping and resuming, when a callback moves the counters, and where a row cannot be read.
 */
#include "tests/unit/api.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROWS = 11, BATCH = 2, EPOCH = 5, STEPS = 3 * EPOCH };

/* Row r is 2^r, so a batch's sum says which rows it has. */
typedef struct Run {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
    dlc_dataset *data;
    int sums[STEPS + 1]; /* by step */
    int n_steps;
    int64_t last_step;
    /* After the step of that number, the counter is set; 0: never. */
    int64_t change_after, change_to;
    const char *change;
} Run;

static const char program[] = "dim B\n"
                              "model rows(x: i32[B], z: i32[B]) {\n"
                              "    param w: [1] = ones\n"
                              "    metric seen = mean(cast(x, f32))\n"
                              "    metric zeros = mean(cast(z, f32))\n"
                              "    loss l = sum(w * w)\n"
                              "}\n"
                              "train rows { optimizer sgd(lr=0.01) }\n";

static dlc_dataset *rows_make(dlc_context *context, int bad) {
    float values[ROWS], zeros[ROWS] = {0}; /* the second field can always be read */
    int64_t shape[] = {ROWS};
    for (int r = 0; r < ROWS; r++) {
        values[r] = (float)(1 << r) + (r == bad ? 0.5f : 0);
    }
    DLTensor x = api_floats(values, 1, shape), z = api_floats(zeros, 1, shape);
    const DLTensor *tensors[] = {&x, &z};
    const char *names[] = {"x", "z"};
    dlc_dataset *data = NULL;
    OK(context, dlc_dataset_from_tensors(context, names, tensors, 2, &data));
    return data;
}

static void begin(Run *run, int64_t seed, int bad) {
    *run = (Run){.n_steps = 0};
    assert_int_equal(dlc_context_create(NULL, &run->context), DLC_OK);
    OK(run->context, dlc_compile(run->context, program, strlen(program), NULL, &run->plan));
    dlc_session_options options = {
        .struct_size = sizeof(options), .threads = 1, .has_seed = 1, .seed = seed};
    OK(run->context, dlc_session_create(run->plan, &options, &run->session));
    run->data = rows_make(run->context, bad);
}

static void end(Run *run) {
    dlc_dataset_destroy(run->data);
    dlc_session_destroy(run->session);
    dlc_plan_destroy(run->plan);
    dlc_context_destroy(run->context);
}

static int on_step(void *user, const dlc_step_info *info) {
    Run *run = user;
    for (size_t i = 0; i < info->n_metrics && info->step <= STEPS; i++) {
        if (strcmp(info->metrics[i].name, "seen") == 0) {
            run->sums[info->step] = (int)lround(BATCH * info->metrics[i].value);
        }
    }
    run->n_steps++;
    run->last_step = info->step;
    if (info->step == run->change_after) {
        run->change_after = 0;
        OK(run->context, dlc_set_counter(run->session, run->change, run->change_to));
    }
    return 0;
}

static dlc_status train(Run *run, int64_t stop_after, const char *folder, int resume) {
    dlc_train_options options = {.struct_size = sizeof(options),
                                 .data = run->data,
                                 .steps = STEPS,
                                 .batch = BATCH,
                                 .stop_after = stop_after,
                                 .checkpoint = folder,
                                 .resume = resume,
                                 .on_step = on_step,
                                 .user = run};
    return dlc_train(run->session, &options, NULL);
}

/* The rows of an uninterrupted run. */
static void whole(int64_t seed, int sums[STEPS + 1]) {
    Run run;
    begin(&run, seed, -1);
    OK(run.context, train(&run, 0, NULL, 0));
    assert_int_equal(run.n_steps, STEPS);
    memcpy(sums, run.sums, sizeof(run.sums));
    end(&run);
}

/* Every epoch sees ten of the eleven rows once, in an order of its own. */
static void test_epochs(void **state) {
    int sums[STEPS + 1], other[STEPS + 1], all[3];
    (void)state;
    whole(0, sums);
    for (int e = 0; e < 3; e++) {
        all[e] = 0;
        for (int s = 1; s <= EPOCH; s++) {
            int sum = sums[e * EPOCH + s];
            assert_int_equal(__builtin_popcount((unsigned)sum), BATCH);
            assert_int_equal(all[e] & sum, 0);
            all[e] |= sum;
        }
    }
    assert_true(memcmp(sums + 1, sums + 1 + EPOCH, EPOCH * sizeof(int)) != 0);
    whole(9, other);
    assert_true(memcmp(sums, other, sizeof(sums)) != 0);
    /* The orders of these seeds, as they were before anything was read ahead. */
    static const int known[EPOCH] = {1280, 516, 80, 9, 34};
    assert_memory_equal(sums + 1, known, sizeof(known));
}

/* Stopped after every step and resumed by a new session. */
static void test_resumed(void **state) {
    int sums[STEPS + 1];
    char folder[256], command[300];
    (void)state;
    whole(3, sums);
    const char *temporary = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/dlc-prefetch-%d", temporary ? temporary : "/tmp",
             (int)getpid());
    for (int step = 1; step <= STEPS; step++) {
        Run run;
        begin(&run, 3, -1);
        OK(run.context, train(&run, step, folder, step > 1));
        assert_int_equal(run.n_steps, 1);
        assert_int_equal(run.sums[step], sums[step]);
        end(&run);
    }
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
}

/* A callback may move the counters: what was read ahead is not used then. */
static void test_counters_moved(void **state) {
    int old[STEPS + 1], other[STEPS + 1];
    Run run;
    (void)state;
    whole(0, old);
    whole(9, other);
    for (int after = 1; after <= 2 * EPOCH; after++) {
        begin(&run, 0, -1);
        run.change = "seed";
        run.change_after = after;
        run.change_to = 9;
        OK(run.context, train(&run, 0, NULL, 0));
        int first = (after + EPOCH - 1) / EPOCH * EPOCH; /* an epoch keeps its order */
        for (int step = 1; step <= STEPS; step++) {
            assert_int_equal(run.sums[step], step <= first ? old[step] : other[step]);
        }
        end(&run);
    }
    begin(&run, 0, -1);
    run.change = "step";
    run.change_after = 2;
    run.change_to = EPOCH + 1;
    OK(run.context, train(&run, 0, NULL, 0));
    for (int step = 1; step <= STEPS; step++) { /* the rows of the third went before */
        int wanted = step <= 2 || step > EPOCH + 2 ? old[step] : step == EPOCH + 2 ? old[3] : 0;
        assert_int_equal(run.sums[step], wanted);
    }
    end(&run);
}

/* A row that cannot be read is told of at the step that needs it, and not at all before. */
static void test_bad_row(void **state) {
    int sums[STEPS + 1];
    (void)state;
    whole(0, sums);
    for (int bad = 0; bad < ROWS; bad++) {
        Run run;
        int at = 1;
        while (at <= STEPS && !(sums[at] & 1 << bad)) {
            at++;
        }
        assert_true(at <= STEPS);
        begin(&run, 0, bad);
        if (at > 1) {
            OK(run.context, train(&run, at - 1, NULL, 0));
            run.n_steps = 0;
        }
        assert_int_equal(train(&run, 0, NULL, 0), DLC_ERROR_MISMATCH);
        assert_int_equal(run.n_steps, at - 1);
        char row[32];
        snprintf(row, sizeof(row), "row %d:", bad);
        assert_non_null(strstr(dlc_last_error(run.context), row));
        end(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_counters_moved),
        cmocka_unit_test(test_bad_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
