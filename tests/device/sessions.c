/* A device under sessions: what a program does there is what it does on the CPU. */
#include "far_device.h"
#include "runs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char every[] = "tests/device/every.dl";

static void set(Run *run, const char *entry, const char *name, const DLTensor *tensor) {
    OK(run, dlc_set_input(run->session, entry, name, tensor));
}

static void set_every(Run *run, const char *entry, int64_t rows, int64_t times, int32_t odd_label) {
    float x[16 * 16 * 3];
    int32_t label[16];
    int64_t x_shape[3] = {rows, times, 3}, label_shape[1] = {rows};
    unsigned state = 99;
    for (int64_t i = 0; i < rows * times * 3; i++) {
        state = state * 1103515245u + 12345u;
        x[i] = (float)(state >> 16 & 0x7fff) / 16384.0f - 1;
    }
    for (int64_t i = 0; i < rows; i++) {
        label[i] = (int32_t)(i % 4);
    }
    label[rows - 1] = odd_label;
    DLTensor tensor = {
        .data = x, .device = {kDLCPU, 0}, .ndim = 3, .dtype = {kDLFloat, 32, 1}, .shape = x_shape};
    set(run, entry, "x", &tensor);
    if (strcmp(entry, "infer") != 0) {
        tensor = (DLTensor){.data = label,
                            .device = {kDLCPU, 0},
                            .ndim = 1,
                            .dtype = {kDLInt, 32, 1},
                            .shape = label_shape};
        set(run, entry, "label", &tensor);
    }
}

static double train(Run *run, int steps) {
    dlc_step_info info = {.struct_size = sizeof info};
    for (int i = 0; i < steps; i++) {
        OK(run, dlc_train_step(run->session, &info));
    }
    return info.loss;
}

static void near(double a, double b, bool exact) {
    char text[128];
    snprintf(text, sizeof text, "%.9g and %.9g", a, b);
    CHECK_ABOUT(exact ? a == b : fabs(a - b) <= 1e-4 * (1 + fabs(a)), text);
}

static void same_run(Run *a, Run *b, const char *entry, bool exact) {
    set_every(a, entry, 5, 7, 1);
    set_every(b, entry, 5, 7, 1);
    OK(a, dlc_run(a->session, entry));
    OK(b, dlc_run(b->session, entry));
    static const char *const outputs[] = {"logits", "all"};
    for (int i = 0; i < 2; i++) {
        const DLTensor *x, *y;
        DLManagedTensorVersioned *kept;
        OK(a, dlc_view_output(a->session, entry, outputs[i], &x));
        OK(b, dlc_view_output(b->session, entry, outputs[i], &y));
        same_values(x->data, y->data, tensor_bytes(x), x->dtype, exact, outputs[i]);
        OK(b, dlc_take_output(b->session, entry, outputs[i], &kept));
        OK(b, dlc_view_output(b->session, entry, outputs[i], &y));
        same_values(kept->dl_tensor.data, y->data, tensor_bytes(y), y->dtype, true, outputs[i]);
        kept->deleter(kept);
    }
}

static void same_metrics(Run *a, Run *b, bool exact) {
    dlc_metric x[8], y[8];
    size_t n_x = 0, n_y = 0;
    OK(a, dlc_metrics(a->session, "eval", x, 8, &n_x));
    OK(b, dlc_metrics(b->session, "eval", y, 8, &n_y));
    CHECK(n_x == n_y && n_x >= 3);
    for (size_t i = 0; i < n_x; i++) {
        near(x[i].value, y[i].value, exact);
    }
}

void test_training(void) {
    Run cpu, run;
    begin(&cpu, every, false, NULL);
    begin(&run, every, true, NULL);
    set_every(&cpu, "train", 4, 6, 2);
    set_every(&run, "train", 4, 6, 2);
    OK(&cpu, dlc_init_weights(cpu.session));
    OK(&run, dlc_init_weights(run.session));
    if (!subject->computes) {
        dlc_status status = dlc_run(run.session, "train"); /* whatever it says, it ends */
        CHECK(status != DLC_ERROR_INTERNAL);
        end(&cpu);
        end(&run);
        return;
    }
    same_variables(&cpu, &run, subject->exact);
    double loss = train(&cpu, 6);
    near(loss, train(&run, 6), subject->exact);
    same_variables(&cpu, &run, subject->exact);
    same_run(&cpu, &run, "eval", subject->exact);
    same_metrics(&cpu, &run, subject->exact);
    CHECK_ABOUT(strstr(run.log, "rest: f32[5, 8] = ") != NULL, run.log);
    CHECK(!subject->exact || strcmp(cpu.log, run.log) == 0);
    same_run(&cpu, &run, "infer", subject->exact);
    near(train(&cpu, 2), train(&run, 2), subject->exact);
    end(&cpu);
    end(&run);
}

/* Eager and recorded steps give the same bits: the first run of a layout is eager, guarded sessions
 * never record. */
void test_recorded_steps(void) {
    Run eager, run;
    dlc_session_options guarded = {.guarded = 1};
    if (!subject->computes) {
        return;
    }
    begin(&eager, every, true, &guarded);
    begin(&run, every, true, NULL);
    CHECK(eager.session->ranks->no_recording);
    set_every(&eager, "train", 4, 6, 2);
    set_every(&run, "train", 4, 6, 2);
    OK(&eager, dlc_init_weights(eager.session));
    OK(&run, dlc_init_weights(run.session));
    for (int step = 0; step < 4; step++) {
        near(train(&eager, 1), train(&run, 1), true);
        same_variables(&eager, &run, true);
    }
    CHECK((run.session->ranks->ops->record != NULL) == !run.session->ranks->no_recording);
    const EntryState *entry = session_entry(run.session, "train");
    CHECK(!entry || run.session->ranks->no_recording || entry->slots[0].recording);
    /* Another address of an input, another size of the arena. */
    for (int64_t times = 9; times > 4; times -= 2) {
        set_every(&eager, "train", 5, times, 3);
        set_every(&run, "train", 5, times, 3);
        near(train(&eager, 3), train(&run, 3), true);
        set_every(&eager, "train", 4, 6, 2);
        set_every(&run, "train", 4, 6, 2);
        near(train(&eager, 3), train(&run, 3), true);
        same_run(&eager, &run, "eval", true);
        same_run(&eager, &run, "eval", true);
        same_metrics(&eager, &run, true);
    }
    same_variables(&eager, &run, true);
    end(&eager);
    end(&run);
}

/* A session of three ranks gives what one of one rank does, and each of the three holds it. */
void test_ranks(void) {
    enum { RANKS = 3 };
    Run one, many;
    if (!subject->computes) {
        return;
    }
    begin(&one, every, true, NULL);
    begin_ranks(&many, every, true, NULL, RANKS);
    CHECK(one.session->n_ranks == 1 && many.session->n_ranks == RANKS);
    set_every(&one, "train", 4, 6, 2);
    set_every(&many, "train", 4, 6, 2);
    OK(&one, dlc_init_weights(one.session));
    OK(&many, dlc_init_weights(many.session));
    const DLTensor *weight;
    dlc_tensor_info info = {.struct_size = sizeof(info)};
    CHECK(dlc_plan_variable(one.plan, 0, &info) == DLC_OK);
    OK(&one, dlc_view_variable(one.session, info.name, &weight));
    float *other = calloc(1, (size_t)tensor_bytes(weight)); /* no rank has it yet */
    DLTensor given = *weight;
    given.data = other;
    CHECK(other && given.dtype.code == kDLFloat && given.dtype.bits == 32);
    other[0] = 0.25f;
    OK(&one, dlc_set_variable(one.session, info.name, &given));
    OK(&many, dlc_set_variable(many.session, info.name, &given));
    free(other);
    near(train(&one, 4), train(&many, 4), true);
    same_variables(&one, &many, true);
    same_run(&one, &many, "eval", true);
    same_metrics(&one, &many, true);
    const Rank *first = many.session->ranks;
    for (int32_t r = 1; r < RANKS; r++) {
        Rank *rank = &many.session->ranks[r];
        CHECK(rank->device != first->device && rank->arena != first->arena);
        for (int64_t i = 0; i < rank->n_variables; i++) {
            const Variable *variable = &rank->variables[i];
            CHECK(variable->data != first->variables[i].data);
            const void *mine;
            CHECK(rank_host(rank, variable->data, variable->bytes, &mine) == DLC_OK);
            OK(&one, dlc_view_variable(one.session, plan_text(rank->file, variable->record->name),
                                       &weight));
            CHECK(tensor_bytes(weight) == variable->bytes &&
                  memcmp(mine, weight->data, (size_t)variable->bytes) == 0);
        }
    }
    end(&one);
    end(&many);
}

/* Three ranks that share a batch, of four rows and of two, end where one does: what they exchange
 * goes by the host where a device has memory of its own. */
void test_shared(void) {
    enum { RANKS = 3 };
    Run one, many;
    if (!subject->computes) {
        return;
    }
    begin(&one, every, true, NULL);
    begin_shared(&many, every, RANKS);
    OK(&one, dlc_init_weights(one.session));
    OK(&many, dlc_init_weights(many.session));
    for (int64_t rows = 4; rows > 0; rows -= 2) {
        set_every(&one, "train", rows, 6, 2);
        set_every(&many, "train", rows, 6, 2);
        near(train(&one, 4), train(&many, 4), false);
        same_variables(&one, &many, false);
        same_run(&one, &many, "eval", false);
        same_metrics(&one, &many, false);
    }
    end(&one);
    end(&many);
}

/* dlc_train reads batches ahead and sends them over a queue of its own: a device ends where the
 * processor does, with one rank and with two, and where steps are recorded. */
static void train_on_rows(Run *run) {
    enum { ROWS = 14, TIMES = 6, STEPS = 11 };
    static float x[ROWS * TIMES * 3];
    static int32_t label[ROWS];
    int64_t x_shape[] = {ROWS, TIMES, 3}, label_shape[] = {ROWS};
    for (int64_t i = 0; i < ROWS * TIMES * 3; i++) {
        x[i] = (float)(i * 7919 % 251) / 125.0f - 1;
    }
    for (int32_t i = 0; i < ROWS; i++) {
        label[i] = i % 4;
    }
    DLTensor tensors[] = {
        {.data = x, .device = {kDLCPU, 0}, .ndim = 3, .dtype = {kDLFloat, 32, 1}, .shape = x_shape},
        {.data = label,
         .device = {kDLCPU, 0},
         .ndim = 1,
         .dtype = {kDLInt, 32, 1},
         .shape = label_shape}};
    const DLTensor *fields[] = {&tensors[0], &tensors[1]};
    const char *const names[] = {"x", "label"};
    dlc_dataset *data;
    OK(run, dlc_dataset_from_tensors(run->context, names, fields, 2, &data));
    dlc_train_options options = {
        .struct_size = sizeof options, .data = data, .steps = STEPS, .batch = 4};
    OK(run, dlc_train(run->session, &options, NULL));
    dlc_dataset_destroy(data);
}

void test_read_ahead(void) {
    Run cpu, run;
    if (!subject->computes) {
        return;
    }
    begin(&cpu, every, false, NULL);
    train_on_rows(&cpu);
    for (int32_t n_ranks = 1; n_ranks < 3; n_ranks++) {
        begin_ranks(&run, every, true, NULL, n_ranks);
        train_on_rows(&run);
        same_variables(&cpu, &run, subject->exact);
        if (subject->ops == &device_far) { /* of nine steps two inputs each, if they were read */
            FarCounts counts = far_counts(run.session->ranks->device);
            printf("  %d of 18 inputs were sent ahead\n", (int)counts.sends);
            CHECK(counts.sends % 2 == 0 && counts.sends <= 18);
        }
        end(&run);
    }
    end(&cpu);
}

void test_poison_and_guarded(void) {
    Run plain;
    if (!subject->computes) {
        return;
    }
    begin(&plain, every, true, NULL);
    set_every(&plain, "train", 3, 5, 0);
    OK(&plain, dlc_init_weights(plain.session));
    double loss = train(&plain, 3);
    same_run(&plain, &plain, "eval", true);
    for (int way = 1; way < 6; way++) {
        Run run;
        dlc_session_options options = {.poison = way % 3, .guarded = way / 3, .threads = 1};
        begin(&run, every, true, &options);
        set_every(&run, "train", 3, 5, 0);
        OK(&run, dlc_init_weights(run.session));
        near(loss, train(&run, 3), true);
        same_variables(&plain, &run, true);
        same_run(&plain, &run, "eval", true);
        same_metrics(&plain, &run, true);
        end(&run);
    }
    end(&plain);
}

static void temporary(char *path, size_t n, const char *name) {
    const char *folder = getenv("TMPDIR");
    snprintf(path, n, "%s/dlc-device-%d-%s", folder ? folder : "/tmp", (int)getpid(), name);
}

/* A run's folder with all in it. */
static void remove_folder(const char *path) {
    char command[600];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    CHECK(system(command) == 0);
}

/* Written on the device and on the CPU, read on the other: the same steps follow. */
void test_checkpoints(void) {
    Run cpu, run, again;
    char a[512], b[512], w[512];
    if (!subject->computes) {
        return;
    }
    temporary(a, sizeof a, "a");
    temporary(b, sizeof b, "b");
    temporary(w, sizeof w, "w.safetensors");
    begin(&cpu, every, false, NULL);
    begin(&run, every, true, NULL);
    begin(&again, every, true, NULL);
    set_every(&cpu, "train", 4, 6, 2);
    set_every(&run, "train", 4, 6, 2);
    set_every(&again, "train", 4, 6, 2);
    OK(&run, dlc_init_weights(run.session));
    train(&run, 3);
    OK(&run, dlc_checkpoint_save(run.session, a));
    OK(&cpu, dlc_checkpoint_load(cpu.session, a));
    same_variables(&cpu, &run, true);
    OK(&cpu, dlc_checkpoint_save(cpu.session, b));
    OK(&again, dlc_checkpoint_load(again.session, b));
    same_variables(&again, &run, true);
    double loss = train(&run, 3);
    near(loss, train(&again, 3), true);
    same_variables(&again, &run, true);
    near(loss, train(&cpu, 3), subject->exact);
    OK(&run, dlc_weights_save(run.session, w));
    OK(&cpu, dlc_weights_load(cpu.session, w, NULL));
    /* One variable by hand, from strides. */
    float values[2 * 8 * 3];
    int64_t shape[2] = {8, 3}, strides[2] = {6, 2};
    for (int i = 0; i < 48; i++) {
        values[i] = (float)i;
    }
    DLTensor tensor = {.data = values,
                       .device = {kDLCPU, 0},
                       .ndim = 2,
                       .dtype = {kDLFloat, 32, 1},
                       .shape = shape,
                       .strides = strides};
    const DLTensor *got;
    OK(&run, dlc_set_variable(run.session, "first.weight", &tensor));
    OK(&run, dlc_view_variable(run.session, "first.weight", &got));
    CHECK(((const float *)got->data)[0] == 0 && ((const float *)got->data)[5] == 10);
    OK(&run, dlc_reset_caches(run.session));
    remove_folder(a);
    remove_folder(b);
    unlink(w);
    end(&cpu);
    end(&run);
    end(&again);
}

/* Nothing is stored by a step that faults, recorded or not, and the next one works. */
void test_faults(void) {
    Run run, plain;
    if (!subject->computes) {
        return;
    }
    begin(&run, every, true, NULL);
    begin(&plain, every, true, NULL);
    set_every(&plain, "train", 4, 6, 2);
    set_every(&run, "train", 4, 6, 2);
    OK(&run, dlc_init_weights(run.session));
    OK(&plain, dlc_init_weights(plain.session));
    for (int step = 0; step < 3; step++) {
        dlc_step_info info = {.struct_size = sizeof info};
        set_every(&run, "train", 4, 6, 77);
        CHECK(dlc_train_step(run.session, &info) == DLC_ERROR_FAULT);
        CHECK_ABOUT(strstr(error_of(&run), "77 is not in 0..4; nothing was stored"),
                    error_of(&run));
        CHECK_ABOUT(strstr(error_of(&run), "every.dl:"), error_of(&run));
        same_variables(&run, &plain, true);
        set_every(&run, "train", 4, 6, 2);
        near(train(&run, 1), train(&plain, 1), true);
    }
    float huge[6] = {1, 2, 3, 4, 1000, 6};
    int64_t shape[3] = {1, 2, 3};
    DLTensor tensor = {
        .data = huge, .device = {kDLCPU, 0}, .ndim = 3, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    set(&run, "infer", "x", &tensor);
    for (int i = 0; i < 3; i++) {
        CHECK(dlc_run(run.session, "infer") == DLC_ERROR_FAULT);
        CHECK_ABOUT(strstr(error_of(&run), "x is too large"), error_of(&run));
    }
    same_run(&plain, &run, "infer", true);
    same_variables(&run, &plain, true);
    end(&run);
    end(&plain);
}

void test_non_finite(void) {
    Run run, plain;
    if (!subject->computes) {
        return;
    }
    begin(&run, every, true, NULL);
    begin(&plain, every, true, NULL);
    set_every(&run, "train", 4, 6, 2);
    set_every(&plain, "train", 4, 6, 2);
    OK(&run, dlc_init_weights(run.session));
    OK(&plain, dlc_init_weights(plain.session));
    train(&run, 3);
    train(&plain, 3);
    float x[4 * 6 * 3] = {[7] = NAN};
    int64_t shape[3] = {4, 6, 3};
    DLTensor tensor = {
        .data = x, .device = {kDLCPU, 0}, .ndim = 3, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    set(&run, "train", "x", &tensor);
    dlc_step_info info = {.struct_size = sizeof info};
    dlc_status status = dlc_train_step(run.session, &info);
    /* The check on x may take nan for too large. */
    CHECK_ABOUT(status == DLC_ERROR_NON_FINITE || status == DLC_ERROR_FAULT, error_of(&run));
    CHECK_ABOUT(status == DLC_ERROR_FAULT || strstr(error_of(&run), "the first nan comes from"),
                error_of(&run));
    same_variables(&run, &plain, true);
    set_every(&run, "train", 4, 6, 2);
    near(train(&run, 2), train(&plain, 2), true);
    end(&run);
    end(&plain);
}

/* What an update makes of a parameter is tested as it is written, walked and recorded. Where the
 * barrier waits for checks and part of the update came before it, nothing is stored; else the step
 * was, counts, and the next one finds what it left. */
void test_update_not_finite(void) {
    if (!subject->computes) {
        return;
    }
    for (int before = 0; before < 4; before++) {
        Run run;
        begin(&run, every, true, NULL);
        set_every(&run, "train", 4, 6, 2);
        OK(&run, dlc_init_weights(run.session));
        for (int i = 0; i < before; i++) {
            OK(&run, dlc_train_step(run.session, NULL));
        }
        OK(&run, dlc_set_scalar(run.session, "lr", 1e300)); /* infinite as f32 */
        int64_t step = -1;
        CHECK(dlc_train_step(run.session, NULL) == DLC_ERROR_NON_FINITE);
        CHECK_ABOUT(strstr(error_of(&run), "the update is not: parameter '"), error_of(&run));
        bool stored = strstr(error_of(&run), "this step was stored");
        CHECK_ABOUT(stored || strstr(error_of(&run), "nothing was stored"), error_of(&run));
        OK(&run, dlc_get_counter(run.session, "step", &step));
        CHECK(step == before + stored);
        CHECK(dlc_train_step(run.session, NULL) == DLC_ERROR_NON_FINITE);
        CHECK_ABOUT(strstr(error_of(&run), "nothing was stored"), error_of(&run));
        OK(&run, dlc_get_counter(run.session, "step", &step));
        CHECK(step == before + stored);
        OK(&run, dlc_init_weights(run.session));
        OK(&run, dlc_set_scalar(run.session, "lr", 0.01));
        OK(&run, dlc_train_step(run.session, NULL));
        end(&run);
    }
}

/* More shapes than a session keeps layouts for, in and out of turn. */
void test_many_layouts(void) {
    Run cpu, run;
    if (!subject->computes) {
        return;
    }
    begin(&cpu, every, false, NULL);
    begin(&run, every, true, NULL);
    OK(&cpu, dlc_init_weights(cpu.session));
    OK(&run, dlc_init_weights(run.session));
    for (int turn = 0; turn < 3; turn++) {
        for (int64_t rows = 1; rows < 13; rows++) {
            int64_t times = 1 + (rows * 5 + turn) % 9;
            set_every(&cpu, "train", rows, times, 0);
            set_every(&run, "train", rows, times, 0);
            near(train(&cpu, 2), train(&run, 2), subject->exact);
        }
    }
    same_variables(&cpu, &run, subject->exact);
    end(&cpu);
    end(&run);
}

void test_memory_figures(void) {
    Run run;
    dlc_memory memory = {.struct_size = sizeof(memory)};
    dlc_entry_summary summary = {.struct_size = sizeof(summary)};
    dlc_binding dims[2] = {{"B", 4}, {"T", 6}};
    begin(&run, every, true, NULL);
    set_every(&run, "train", 4, 6, 2);
    OK(&run, dlc_init_weights(run.session));
    CHECK(dlc_run(run.session, "train") != DLC_ERROR_OUT_OF_MEMORY);
    OK(&run, dlc_session_memory(run.session, "train", &memory));
    OK(&run, dlc_plan_summarize(run.plan, "train", dims, 2, &summary));
    CHECK(memory.persistent_bytes == summary.persistent_bytes);
    CHECK(memory.input_bytes == summary.input_bytes);
    CHECK(memory.arena_bytes >= summary.arena_bytes && memory.overhead_bytes > 0);
    CHECK(memory.peak_bytes == memory.persistent_bytes + memory.input_bytes + memory.arena_bytes);
    end(&run);
}

static void set_digits(Run *run) {
    enum { ROWS = 4 };
    static float image[ROWS * 64];
    int32_t label[ROWS] = {3, 1, 4, 1};
    int64_t image_shape[4] = {ROWS, 1, 8, 8}, label_shape[1] = {ROWS};
    for (int i = 0; i < ROWS * 64; i++) {
        image[i] = (float)(i * 37 % 17) / 16;
    }
    DLTensor tensor = {.data = image,
                       .device = {kDLCPU, 0},
                       .ndim = 4,
                       .dtype = {kDLFloat, 32, 1},
                       .shape = image_shape};
    set(run, "train", "image", &tensor);
    tensor = (DLTensor){.data = label,
                        .device = {kDLCPU, 0},
                        .ndim = 1,
                        .dtype = {kDLInt, 32, 1},
                        .shape = label_shape};
    set(run, "train", "label", &tensor);
}

void test_digits(void) {
    Run cpu, run;
    if (!subject->computes || !subject->digits) {
        return;
    }
    begin(&cpu, "examples/digits.dl", false, NULL);
    begin(&run, "examples/digits.dl", true, NULL);
    set_digits(&cpu);
    set_digits(&run);
    OK(&cpu, dlc_init_weights(cpu.session));
    OK(&run, dlc_init_weights(run.session));
    near(train(&cpu, 3), train(&run, 3), subject->exact);
    same_variables(&cpu, &run, subject->exact);
    if (subject->ops == &device_far) {
        /* A step is the scalars, one recording, and the numbers and the fault word fetched. */
        FarCounts before = far_counts(run.session->ranks->device);
        train(&run, 1);
        FarCounts after = far_counts(run.session->ranks->device);
        CHECK(after.launches == before.launches && after.records == before.records);
        CHECK(after.replays - before.replays == 1 && after.writes - before.writes == 1);
        CHECK(after.reads == before.reads && after.finishes == before.finishes);
        CHECK(after.fetches - before.fetches == 2);
    }
    end(&cpu);
    end(&run);
}

/* An allocator that gives `left` blocks more; -1: any number. */
typedef struct Scarce {
    int64_t left, live;
} Scarce;

static void *scarce_alloc(void *user, size_t bytes) {
    Scarce *scarce = user;
    if (scarce->left == 0) {
        return NULL;
    }
    scarce->left -= scarce->left > 0;
    scarce->live++;
    return malloc(bytes);
}

static void scarce_free(void *user, void *memory) {
    ((Scarce *)user)->live--;
    free(memory);
}

/* Every allocation in turn fails: an error each time, and nothing is lost. */
void test_out_of_memory(void) {
    const Compiled *found = compile(every, true);
    Scarce scarce = {.left = -1};
    dlc_allocator allocator = {scarce_alloc, scarce_free, &scarce};
    dlc_context_options options = {.struct_size = sizeof options, .allocator = &allocator};
    dlc_session_options session_options = {.struct_size = sizeof session_options, .threads = 1};
    Run run = {.context = NULL};
    if (subject->computes && !subject->exact) {
        return; /* slow; and a device's own calls have tests of their own */
    }
    CHECK(dlc_context_create(&options, &run.context) == DLC_OK);
    OK(&run, dlc_plan_load_memory(run.context, found->bytes, found->n_bytes, every, 0, &run.plan));
    int64_t before = scarce.live;
    bool whole = false;
    for (int64_t n = 0; !whole && n < 2000; n++) {
        scarce.left = n;
        dlc_status status =
            session_create_on(run.plan, &session_options, subject->ops, 1, &run.session);
        if (status == DLC_OK) {
            int64_t left = scarce.left;
            scarce.left = -1;
            set_every(&run, "train", 2, 3, 0);
            OK(&run, dlc_set_counter(run.session, "steps", 3));
            scarce.left = left;
            status = dlc_init_weights(run.session);
            for (int step = 0; status == DLC_OK && subject->computes && step < 3; step++) {
                status = dlc_train_step(run.session, NULL);
            }
        }
        whole = status == DLC_OK;
        CHECK_ABOUT(whole || status == DLC_ERROR_OUT_OF_MEMORY, error_of(&run));
        scarce.left = -1;
        dlc_session_destroy(run.session);
        run.session = NULL;
        CHECK(scarce.live == before);
    }
    CHECK(whole);
    end(&run);
    CHECK(scarce.live == 0);
}
