/* Steps begun ahead: whatever happens on the way, training ends as if each step had been waited
 * for, on weights, counters, what the callbacks are told, and the error's text. */
#include "runtime/session/ahead.h"
#include "far_device.h"
#include "runs.h"
#include "runtime/session/rank.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 4, STEPS_AN_EPOCH = 4, ROWS = BATCH * STEPS_AN_EPOCH, STEPS = 12, MOST_TOLD = 32 };

static const char free_program[] = "tests/device/ahead.dl";
static const char waiting_program[] = "tests/device/ahead_waits.dl";
static const char *program = free_program; /* under test */

/* What goes wrong, and in which row of the data. */
typedef enum Trouble { NONE, NAN_IN_X, INDEX_OUTSIDE, RATE_TOO_LARGE, CANCELLED } Trouble;

typedef struct Told {
    dlc_step_info info[MOST_TOLD];
    double distance[MOST_TOLD];
    int n;
    Run *run;
    dlc_status call; /* of a call within the callback */
    int32_t late;    /* the most steps that had been begun since */
} Told;

static void told_add(Told *told, const dlc_step_info *info) {
    CHECK(told->n < MOST_TOLD);
    told->info[told->n] = *info;
    told->distance[told->n] = NAN;
    for (size_t i = 0; i < info->n_metrics; i++) {
        if (!strcmp(info->metrics[i].name, "distance")) {
            told->distance[told->n] = info->metrics[i].value;
        }
    }
    told->n++;
}

static int on_step(void *user, const dlc_step_info *info) {
    told_add(user, info);
    return 0;
}

static void on_result(void *user, const dlc_step_info *info) {
    Told *told = user;
    int64_t step = 0;
    told_add(told, info);
    int32_t late = session_runs_begun(told->run->session);
    told->late = late > told->late ? late : told->late;
    told->call = dlc_get_counter(told->run->session, "step", &step);
}

static dlc_dataset *rows_make(Run *run, Trouble trouble, int row) {
    static float x[ROWS * 4], y[ROWS];
    static int32_t k[ROWS];
    for (int i = 0; i < ROWS; i++) {
        for (int a = 0; a < 4; a++) {
            x[i * 4 + a] = (float)((i * 29 + a * 7) % 17) / 8 - 1;
        }
        y[i] = x[i * 4] - x[i * 4 + 3];
        k[i] = i * 5 % 8;
    }
    if (trouble == NAN_IN_X) {
        x[row * 4 + 2] = NAN;
    } else if (trouble == INDEX_OUTSIDE) {
        k[row] = 8;
    }
    int64_t wide[2] = {ROWS, 4}, narrow[2] = {ROWS, 1};
    DLTensor tensors[3] = {
        {.data = x, .device = {kDLCPU, 0}, .ndim = 2, .dtype = {kDLFloat, 32, 1}, .shape = wide},
        {.data = k, .device = {kDLCPU, 0}, .ndim = 1, .dtype = {kDLInt, 32, 1}, .shape = narrow},
        {.data = y, .device = {kDLCPU, 0}, .ndim = 2, .dtype = {kDLFloat, 32, 1}, .shape = narrow}};
    const DLTensor *given[3] = {&tensors[0], &tensors[1], &tensors[2]};
    const char *names[3] = {"x", "k", "y"};
    dlc_dataset *dataset = NULL;
    OK(run, dlc_dataset_from_tensors(run->context, names, given, 3, &dataset));
    return dataset;
}

/* One training, ahead or with every step waited for. */
static dlc_status train_rows(Run *run, bool ahead, Trouble trouble, int row, int64_t stop_after,
                             Told *told, dlc_train_result *result) {
    begin(run, program, true, NULL);
    dlc_dataset *dataset = rows_make(run, trouble, row);
    *told = (Told){.run = run};
    *result = (dlc_train_result){.struct_size = sizeof *result};
    dlc_train_options options = {.struct_size = sizeof options,
                                 .data = dataset,
                                 .batch = BATCH,
                                 .lr = trouble == RATE_TOO_LARGE ? 1e300 : 0,
                                 .stop_after = stop_after,
                                 .on_step = ahead ? NULL : on_step,
                                 .on_result = ahead ? on_result : NULL,
                                 .user = told};
    run->cancel_in = trouble == CANCELLED ? 1 + row : 0;
    dlc_status status = dlc_train(run->session, &options, result);
    run->cancel_in = 0;
    dlc_dataset_destroy(dataset);
    return status;
}

static void same_told(const Told *a, const Told *b) {
    CHECK(a->n == b->n);
    for (int i = 0; i < a->n; i++) {
        const dlc_step_info *x = &a->info[i], *y = &b->info[i];
        CHECK(x->step == y->step && x->steps == y->steps && x->epoch == y->epoch);
        CHECK(x->loss == y->loss && x->grad_norm == y->grad_norm && x->lr == y->lr);
        CHECK(a->distance[i] == b->distance[i] && x->rows == BATCH && y->rows == BATCH);
    }
}

static void same_counters(Run *a, Run *b) {
    static const char *const names[] = {"step", "epoch", "steps", "seed"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int64_t x = -1, y = -2;
        OK(a, dlc_get_counter(a->session, names[i], &x));
        OK(b, dlc_get_counter(b->session, names[i], &y));
        CHECK_ABOUT(x == y, names[i]);
    }
}

static void compare(Trouble trouble, int row, dlc_status expected) {
    Run waited, ahead;
    Told told_waited, told_ahead;
    dlc_train_result result_waited, result_ahead;
    dlc_status a = train_rows(&waited, false, trouble, row, 0, &told_waited, &result_waited);
    dlc_status b = train_rows(&ahead, true, trouble, row, 0, &told_ahead, &result_ahead);
    CHECK_ABOUT(a == expected, error_of(&waited));
    CHECK_ABOUT(b == expected, error_of(&ahead));
    CHECK_ABOUT(expected == DLC_OK || !strcmp(error_of(&waited), error_of(&ahead)),
                error_of(&ahead));
    same_told(&told_waited, &told_ahead);
    CHECK(result_waited.steps_done == result_ahead.steps_done);
    same_counters(&waited, &ahead);
    same_variables(&waited, &ahead, true);
    CHECK(told_ahead.n == 0 || told_ahead.call == DLC_ERROR_INVALID_ARGUMENT);
    CHECK(expected != DLC_OK || told_ahead.late == (program == free_program ? 2 : 0));
    /* Nothing of what failed is left: both go on, to the same. */
    for (int i = 0; i < 2; i++) {
        Run *run = i ? &ahead : &waited;
        dlc_dataset *good = rows_make(run, NONE, 0);
        int64_t rows[BATCH] = {3, 1, 4, 15};
        OK(run, dlc_set_scalar(run->session, "lr", 0.01));
        OK(run, dlc_init_weights(run->session));
        OK(run, dlc_set_inputs(run->session, "train", good, rows, BATCH));
        OK(run, dlc_train_step(run->session, NULL));
        dlc_dataset_destroy(good);
    }
    same_variables(&waited, &ahead, true);
    end(&waited);
    end(&ahead);
}

void test_steps_ahead(void) {
    if (!subject->computes) {
        return;
    }
    compare(NONE, 0, DLC_OK);
    /* Each row is met in another step of the first epoch. */
    int every = subject->exact ? 1 : 6;
    for (int row = 0; row < ROWS; row += every) {
        compare(NAN_IN_X, row, DLC_ERROR_NON_FINITE);
        compare(INDEX_OUTSIDE, row, DLC_ERROR_FAULT);
    }
    compare(RATE_TOO_LARGE, 0, DLC_ERROR_NON_FINITE);
}

/* Where the host needs a value within a step, none is begun before that is done. */
void test_waiting_steps(void) {
    if (!subject->computes) {
        return;
    }
    program = waiting_program;
    compare(NONE, 0, DLC_OK);
    compare(NAN_IN_X, 5, DLC_ERROR_FAULT);
    compare(INDEX_OUTSIDE, 5, DLC_ERROR_FAULT);
    program = free_program;
}

/* A cancel hook is asked at other moments, so it ends training elsewhere; there it ends as a run
 * that stops there. */
void test_cancelled_ahead(void) {
    if (!subject->computes) {
        return;
    }
    for (int asked = 0; asked < STEPS; asked += 5) {
        Run cancelled, stopped;
        Told told_cancelled, told_stopped;
        dlc_train_result result, other;
        CHECK(train_rows(&cancelled, true, CANCELLED, asked, 0, &told_cancelled, &result) ==
              DLC_ERROR_CANCELLED);
        CHECK(result.steps_done > 0 && result.steps_done < STEPS);
        OK(&stopped,
           train_rows(&stopped, false, NONE, 0, result.steps_done, &told_stopped, &other));
        same_told(&told_stopped, &told_cancelled);
        same_counters(&stopped, &cancelled);
        same_variables(&stopped, &cancelled, true);
        end(&cancelled);
        end(&stopped);
    }
}

/* Batches of an evaluation are begun ahead too: the sums are those of batches run one by one, the
 * last of them smaller, and an index outside its range is told. */
void test_evaluated_ahead(void) {
    enum { LARGE = 5 };
    if (!subject->computes) {
        return;
    }
    Run run;
    begin(&run, program, true, NULL);
    OK(&run, dlc_init_weights(run.session));
    for (int row = -1; row < ROWS; row += subject->exact ? 1 : 6) {
        dlc_dataset *data = rows_make(&run, row < 0 ? NONE : INDEX_OUTSIDE, row);
        dlc_metric metrics[4], one[4];
        double sums[2] = {0, 0};
        size_t n = 0, n_one = 0;
        dlc_status status = dlc_evaluate(run.session, data, LARGE, metrics, 4, &n), single = DLC_OK;
        for (int64_t first = 0; single == DLC_OK && first < ROWS; first += LARGE) {
            int64_t rows[LARGE], count = ROWS - first < LARGE ? ROWS - first : LARGE;
            for (int64_t i = 0; i < count; i++) {
                rows[i] = first + i;
            }
            OK(&run, dlc_set_inputs(run.session, "eval", data, rows, count));
            single = dlc_run(run.session, "eval");
            if (single == DLC_OK) {
                OK(&run, dlc_metrics(run.session, "eval", one, 4, &n_one));
                CHECK_ABOUT(n_one == 2, one[0].name);
                sums[0] += one[0].value * (double)count;
                sums[1] += one[1].value * (double)count;
            }
        }
        CHECK_ABOUT(status == single && status == (row < 0 ? DLC_OK : DLC_ERROR_FAULT),
                    error_of(&run));
        CHECK(row >= 0 ||
              (n == 2 && metrics[0].value == sums[0] / ROWS && metrics[1].value == sums[1] / ROWS));
        dlc_dataset_destroy(data);
    }
    end(&run);
}

/* The two slots in turn, sent or not: the step always gets what the slot was last filled with. */
void test_slots_ahead(void) {
    enum { TIMES = 3, N = BATCH * TIMES * 3 };
    static const bool is_sent[] = {true, false, true, true, false, false, true, false, true};
    Run run;
    begin(&run, "tests/device/every.dl", true, NULL);
    EntryState *entry = session_entry(run.session, "train");
    AheadInput input = {.arg = -1, .dims = {BATCH, TIMES, 3}, .bytes = N * 4};
    for (int32_t a = 0; entry && a < entry->record->n_args; a++) {
        const PlanArg *arg = &run.session->tables->args[entry->record->first_arg + a];
        bool is_x =
            arg->role == PLAN_ARG_INPUT && !strcmp(plan_text(run.session->file, arg->name), "x");
        input.arg = is_x ? a : input.arg;
    }
    CHECK(input.arg >= 0);
    Ahead *ahead;
    OK(&run, ahead_create(run.session, entry, &input, 1, &ahead));
    for (size_t turn = 0; turn < sizeof is_sent / sizeof is_sent[0]; turn++) {
        int slot = (int)(turn % AHEAD_SLOTS);
        float *values = ahead_memory(ahead, slot, 0);
        for (int i = 0; i < N; i++) {
            values[i] = (float)(1000 * (int)turn + i);
        }
        if (is_sent[turn]) {
            OK(&run, ahead_send(ahead, slot));
        }
        OK(&run, ahead_take(ahead, slot));
        const void *got;
        OK(&run, rank_host(run.session->ranks, entry->inputs[input.arg].data, input.bytes, &got));
        for (int i = 0; i < N && subject->computes; i++) {
            CHECK(((const float *)got)[i] == (float)(1000 * (int)turn + i));
        }
    }
    ahead_destroy(ahead);
    end(&run);
}

static int64_t device_taken; /* bytes that counted_alloc gave */

static void *counted_alloc(Device *device, size_t bytes) {
    device_taken += (int64_t)bytes;
    return subject->ops->alloc(device, bytes);
}

/* What dlc_session_fit counts for batches read ahead is what they take of the device, beside what
 * the step itself does. */
void test_fit_counts_ahead(void) {
    enum { LARGE = 1000 };
    Run run;
    begin(&run, program, true, NULL);
    dlc_dataset *dataset = rows_make(&run, NONE, 0);
    OK(&run, dlc_session_bind_data(run.session, "train", dataset));
    dlc_dataset_destroy(dataset);
    dlc_fit fit = {.struct_size = sizeof fit};
    OK(&run, dlc_session_fit(run.session, LARGE, INT64_MAX, &fit));
    CHECK(fit.batch == LARGE && fit.parts == 1);

    Rank *rank = run.session->ranks;
    EntryState *entry = session_entry(run.session, "train");
    AheadInput inputs[3];
    int32_t n = 0;
    for (int32_t a = 0; a < entry->record->n_args; a++) {
        const PlanArg *arg = &rank->tables->args[entry->record->first_arg + a];
        if (arg->role == PLAN_ARG_INPUT) {
            CHECK(n < 3);
            bool is_x = !strcmp(plan_text(run.session->file, arg->name), "x");
            inputs[n] = (AheadInput){.arg = a, .dims = {LARGE, is_x ? 4 : 1}};
            inputs[n++].bytes = is_x ? LARGE * 16 : LARGE * 4;
        }
    }
    DeviceOps counted = *subject->ops;
    counted.alloc = counted_alloc;
    rank->ops = &counted;
    device_taken = 0;
    Ahead *ahead;
    OK(&run, ahead_create(run.session, entry, inputs, n, &ahead));
    OK(&run, ahead_send(ahead, 0));
    int64_t taken = device_taken;
    OK(&run, ahead_take(ahead, 0));
    ahead_destroy(ahead);
    rank->ops = subject->ops;

    int64_t dims[PLAN_MAX_DIMS];
    memcpy(dims, run.session->orders.dims, (size_t)run.session->file->n_dims * sizeof *dims);
    dims[plan_batch_dim(run.session->file, run.session->tables)] = LARGE;
    dims_default(run.session->file, dims);
    Layout *layout;
    OK(&run, layout_create(run.context, run.session->file, run.session->tables, entry->record,
                           &run.session->ranks->place, dims, &layout));
    int64_t step = layout->persistent_bytes + layout->input_bytes + layout->arena_bytes +
                   layout->scratch_bytes;
    layout_destroy(run.context, layout);
    CHECK(n == 3 && taken >= layout_round(LARGE * 16) && fit.needed_bytes - step == taken);
    end(&run);
}

/* The host waits for no step: what it awaits are the slots of results. */
void test_ahead_waits_for_nothing(void) {
    if (subject->ops != &device_far) {
        return;
    }
    Run run;
    Told told;
    dlc_train_result result;
    OK(&run, train_rows(&run, true, NONE, 0, 3, &told, &result));
    FarCounts few = far_counts(run.session->ranks->device);
    end(&run);
    OK(&run, train_rows(&run, true, NONE, 0, 0, &told, &result));
    FarCounts many = far_counts(run.session->ranks->device);
    end(&run);
    CHECK(told.n == STEPS && many.replays > few.replays);
    CHECK(many.reads == few.reads && many.finishes == few.finishes);
}
