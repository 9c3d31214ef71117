/* A small network with data, for tests of the public API. */
#ifndef DLC_TESTS_UNIT_API_NET_H
#define DLC_TESTS_UNIT_API_NET_H

#include "tests/unit/api.h"

#include <math.h>
#include <stdlib.h>

static const char NET_PROGRAM[] =
    "dim B\n"
    "model net(x: f32[B, 3], y: f32[B, 1]) {\n"
    "    h = x |> linear(8) as a |> tanh |> dropout(0.1)\n"
    "    out = h |> linear(1) as b\n"
    "    output out\n"
    "    metric error = mean(abs(out - y))\n"
    "    metric share = sum(x) over sum(x * 0 + 1)\n"
    "    loss mse(out, y)\n"
    "}\n"
    "train net { optimizer adam(lr=0.02); batch 8; epochs 3; seed 5 }\n";

static const char NET_LOOKUP[] = "dim B\n"
                                 "model words(ids: i32[B], y: f32[B]) {\n"
                                 "    e = ids |> embedding(5, 4) as table\n"
                                 "    loss mean((sum(e, axis=1) / y) ** 2)\n"
                                 "    output e\n"
                                 "}\n"
                                 "train words { optimizer sgd(lr=0.1); batch 4 }\n";

typedef struct Net {
    dlc_context *context;
    dlc_plan *net, *words;
} Net;

static inline int net_setup(void **state) {
    Net *f = calloc(1, sizeof(*f));
    assert_int_equal(dlc_context_create(NULL, &f->context), DLC_OK);
    f->net = api_compile(f->context, NET_PROGRAM, NULL);
    f->words = api_compile(f->context, NET_LOOKUP, NULL);
    *state = f;
    return 0;
}

static inline int net_teardown(void **state) {
    Net *f = *state;
    dlc_plan_destroy(f->net);
    dlc_plan_destroy(f->words);
    dlc_context_destroy(f->context);
    free(f);
    return 0;
}

static inline dlc_session *net_open(Net *f, dlc_plan *plan, int threads, int poison) {
    dlc_session_options options = {
        .struct_size = sizeof(options), .threads = threads, .poison = poison};
    dlc_session *session = NULL;
    OK(f->context, dlc_session_create(plan, &options, &session));
    return session;
}

enum { NET_ROWS = 37 };

static inline dlc_dataset *net_data(Net *f) {
    float x[NET_ROWS * 3], y[NET_ROWS];
    for (int i = 0; i < NET_ROWS; i++) {
        for (int k = 0; k < 3; k++) {
            x[3 * i + k] = sinf((float)(7 * i + 3 * k));
        }
        y[i] = x[3 * i] - 0.5f * x[3 * i + 1];
    }
    int64_t x_shape[] = {NET_ROWS, 3}, y_shape[] = {NET_ROWS, 1};
    DLTensor xs = api_floats(x, 2, x_shape), ys = api_floats(y, 2, y_shape);
    const DLTensor *tensors[] = {&xs, &ys};
    const char *names[] = {"x", "y"};
    dlc_dataset *data = NULL;
    OK(f->context, dlc_dataset_from_tensors(f->context, names, tensors, 2, &data));
    return data;
}

#endif
