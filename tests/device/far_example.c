/* See far_example.h. */
#include "far_example.h"

#include <stdio.h>

bool far_example_train(ExampleRun *run, const DeviceOps *ops, ExampleResult *result,
                       FarCounts *counts) {
    dlc_session_options options = {.struct_size = sizeof options,
                                   .bindings = run->example->dims,
                                   .n_bindings = run->n_dims,
                                   .threads = 2};
    bool good = (session_create_on(run->plan, &options, ops, 1, &run->session) == DLC_OK ||
                 example_fail(run, "session")) &&
                example_rows(run, result);
    if (good && ops == &device_far) {
        *counts = far_counts(run->session->ranks->device);
    }
    dlc_session_destroy(run->session);
    run->session = NULL;
    return good;
}

bool far_example_same(ExampleRun *run, const ExampleResult *want, const ExampleResult *got) {
    if (!example_same(run, want, got)) {
        return false;
    }
    for (int i = 0; i < EXAMPLE_ROWS_STEPS; i++) {
        snprintf(run->error, sizeof run->error, "another loss at step %d", i);
        if (want->losses[i] != got->losses[i]) {
            return false;
        }
    }
    return true;
}
