/* See runs.h. */
#include "runs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void keep_log(void *user, dlc_log_level level, const char *text) {
    Run *run = user;
    size_t at = strlen(run->log);
    snprintf(run->log + at, sizeof run->log - at, "%d %s\n", (int)level, text);
}

const char *error_of(const Run *run) {
    return dlc_last_error(run->context);
}

/* Plans compiled so far. */
static Compiled compiled[10];

static int cancels(void *user) {
    Run *run = user;
    return run->cancel_in > 0 && --run->cancel_in == 0;
}

static void context_new(Run *run) {
    dlc_context_options options = {
        .struct_size = sizeof options, .log = keep_log, .cancel = cancels, .user = run};
    CHECK(dlc_context_create(&options, &run->context) == DLC_OK);
}

static Compiled *compile_for(const char *path, bool tested, bool shared) {
    size_t n = 0;
    for (; n < 10 && compiled[n].path; n++) {
        if (!strcmp(compiled[n].path, path) && compiled[n].tested == tested &&
            compiled[n].shared == shared) {
            return &compiled[n];
        }
    }
    CHECK(n < 10);
    const char *root = getenv("DLC_SOURCE_ROOT"), *target = tested ? subject->target : "cpu:native";
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", root ? root : ".", path);
    dlc_compile_options options = {
        .struct_size = sizeof options, .targets = &target, .n_targets = 1};
    options.mesh = shared ? "data=*" : NULL;
    Run run = {.context = NULL};
    context_new(&run);
    dlc_status status = dlc_compile_file(run.context, full, &options, &run.plan);
    CHECK_ABOUT(status == DLC_OK, dlc_diagnostics_text(run.context, 0));
    CHECK_ABOUT(status == DLC_OK, error_of(&run));
    const void *bytes;
    compiled[n] = (Compiled){.path = path, .tested = tested, .shared = shared};
    dlc_plan_bytes(run.plan, &bytes, &compiled[n].n_bytes);
    compiled[n].bytes = malloc(compiled[n].n_bytes);
    CHECK(compiled[n].bytes);
    memcpy(compiled[n].bytes, bytes, compiled[n].n_bytes);
    dlc_plan_destroy(run.plan);
    dlc_context_destroy(run.context);
    return &compiled[n];
}

Compiled *compile(const char *path, bool tested) {
    return compile_for(path, tested, false);
}

static void begin_with(Run *run, const Compiled *found, bool tested,
                       const dlc_session_options *given, int32_t n_ranks) {
    dlc_session_options options = {.struct_size = sizeof options, .threads = 2};
    *run = (Run){.context = NULL};
    if (given) {
        options = *given;
        options.struct_size = sizeof options;
    }
    context_new(run);
    OK(run, dlc_plan_load_memory(run->context, found->bytes, found->n_bytes, found->path, 0,
                                 &run->plan));
    OK(run, session_create_on(run->plan, &options, tested ? subject->ops : device_find("cpu"),
                              n_ranks, &run->session));
    CHECK(dlc_session_describe(run->session)[0]);
    OK(run, dlc_set_counter(run->session, "steps", 100));
}

void begin_ranks(Run *run, const char *path, bool tested, const dlc_session_options *given,
                 int32_t n_ranks) {
    begin_with(run, compile(path, tested), tested, given, n_ranks);
}

void begin_shared(Run *run, const char *path, int32_t n_ranks) {
    begin_with(run, compile_for(path, true, true), true, NULL, n_ranks);
}

void begin(Run *run, const char *path, bool tested, const dlc_session_options *given) {
    begin_ranks(run, path, tested, given, 1);
}

void end(Run *run) {
    dlc_session_destroy(run->session);
    dlc_plan_destroy(run->plan);
    dlc_context_destroy(run->context);
    *run = (Run){.context = NULL};
}

int64_t tensor_bytes(const DLTensor *tensor) {
    int64_t bytes = tensor->dtype.bits / 8;
    for (int32_t i = 0; i < tensor->ndim; i++) {
        bytes *= tensor->shape[i];
    }
    return bytes;
}

void same_values(const void *a, const void *b, int64_t bytes, DLDataType dtype, bool exact,
                 const char *name) {
    if (exact || dtype.code != kDLFloat || dtype.bits != 32) {
        CHECK_ABOUT(memcmp(a, b, (size_t)bytes) == 0, name);
        return;
    }
    const float *x = a, *y = b;
    for (int64_t i = 0; i < bytes / 4; i++) {
        CHECK_ABOUT(fabsf(x[i] - y[i]) <= 2e-4f * (1 + fabsf(x[i])), name);
    }
}

void same_variables(Run *a, Run *b, bool exact) {
    for (size_t i = 0; i < dlc_plan_variable_count(a->plan); i++) {
        dlc_tensor_info info = {.struct_size = sizeof info};
        const DLTensor *x, *y;
        CHECK(dlc_plan_variable(a->plan, i, &info) == DLC_OK);
        OK(a, dlc_view_variable(a->session, info.name, &x));
        OK(b, dlc_view_variable(b->session, info.name, &y));
        CHECK(tensor_bytes(x) == tensor_bytes(y));
        same_values(x->data, y->data, tensor_bytes(x), x->dtype, exact, info.name);
    }
}
