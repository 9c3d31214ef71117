/* See train_kit.h. */
#include "tests/comm/train_kit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 24, WIDTH = 5, CLASSES = 3, STEPS = 6 };

static const char program[] =
    "dim B\nmodel m(x: f32[B, 5], label: i32[B]) {\n"
    "    h = x |> linear(7) as a |> tanh |> dropout(0.25)\n    logits = h |> linear(3) as b\n"
    "    loss cross_entropy(logits, label)\n}\n"
    "train m {\n    optimizer adamw(lr=0.05)\n    clip_norm 0.3\n    batch 8\n    steps 6\n"
    "    seed 3\n}\n";

typedef struct Losses {
    double values[2 * STEPS];
    int n;
} Losses;

void train_expect(dlc_context *context, dlc_status status, const char *what) {
    if (status != DLC_OK) {
        fprintf(stderr, "%s: %s %s\n", what, dlc_last_error(context),
                dlc_diagnostics_text(context, 0));
        exit(1);
    }
}

static int note_step(void *user, const dlc_step_info *info) {
    Losses *losses = user;
    if (losses->n + 2 <= 2 * STEPS) {
        losses->values[losses->n++] = info->loss;
        losses->values[losses->n++] = info->grad_norm;
    }
    return 0;
}

static dlc_dataset *dataset_make(dlc_context *context) {
    static float x[ROWS * WIDTH];
    static int32_t label[ROWS];
    static int64_t shape[] = {ROWS, WIDTH};
    for (int i = 0; i < ROWS * WIDTH; i++) {
        x[i] = (float)(i * 37 % 101) / 50 - 1;
    }
    for (int i = 0; i < ROWS; i++) {
        label[i] = i * i % CLASSES;
    }
    DLTensor rows = {
        .data = x, .device = {kDLCPU, 0}, .ndim = 2, .dtype = {kDLFloat, 32, 1}, .shape = shape};
    DLTensor labels = {
        .data = label, .device = {kDLCPU, 0}, .ndim = 1, .dtype = {kDLInt, 32, 1}, .shape = shape};
    const char *const names[] = {"x", "label"};
    const DLTensor *const fields[] = {&rows, &labels};
    dlc_dataset *dataset = NULL;
    train_expect(context, dlc_dataset_from_tensors(context, names, fields, 2, &dataset), "dataset");
    return dataset;
}

static void train(dlc_context *context, dlc_plan *plan, dlc_dataset *dataset, const char *device,
                  dlc_communicator *communicator, Losses *out) {
    dlc_session *session = NULL;
    dlc_session_options run = {.struct_size = sizeof(run),
                               .device = device,
                               .threads = 1,
                               .communicator = communicator,
                               .rows = DLC_ROWS_WHOLE};
    dlc_train_options options = {
        .struct_size = sizeof(options), .data = dataset, .on_step = note_step, .user = out};
    train_expect(context, dlc_session_create(plan, &run, &session), device);
    train_expect(context, dlc_train(session, &options, NULL), device);
    dlc_session_destroy(session);
}

bool train_compare(dlc_context *context, dlc_communicator *communicator) {
    dlc_plan *plan = NULL;
    int64_t rank = dlc_communicator_rank(communicator), n = dlc_communicator_size(communicator);
    dlc_compile_options compile = {.struct_size = sizeof(compile), .mesh = "data=*"};
    train_expect(context, dlc_compile(context, program, strlen(program), &compile, &plan),
                 "compile");
    dlc_dataset *dataset = dataset_make(context);
    Losses apart = {.n = 0}, together = {.n = 0};
    char device[32];
    train(context, plan, dataset, "cpu", communicator, &apart);
    snprintf(device, sizeof(device), n > 1 ? "cpu*%" PRId64 : "cpu", n);
    train(context, plan, dataset, device, NULL, &together);
    bool same = apart.n == 2 * STEPS && memcmp(&apart, &together, sizeof(apart)) == 0;
    if (!same) {
        fprintf(stderr, "rank %" PRId64 " of %" PRId64 ": loss %.17g, as threads %.17g\n", rank, n,
                apart.values[apart.n > 1 ? apart.n - 2 : 0], together.values[2 * STEPS - 2]);
    }
    dlc_dataset_destroy(dataset);
    dlc_plan_destroy(plan);
    return same;
}
