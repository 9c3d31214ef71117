/* Initialisers: mean, deviation, bounds of large parameters, and the properties of the special
 * ones. */
#include "tests/std/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* What a parameter [64, 32, 3, 3] (fan in 288, fan out 576) should look like; nan: not checked. */
typedef struct Looks {
    double mean, deviation, low, high;
} Looks;

static const Case CASES[] = {
    {.name = "kaiming_uniform", .body = "kaiming_uniform"},
    {.name = "kaiming_uniform slope", .body = "kaiming_uniform(a=1.0)"},
    {.name = "kaiming_normal", .body = "kaiming_normal"},
    {.name = "xavier_uniform", .body = "xavier_uniform(gain=2.0)"},
    {.name = "xavier_normal", .body = "xavier_normal"},
    {.name = "fan_in_uniform", .body = "fan_in_uniform"},
    {.name = "lecun_normal", .body = "lecun_normal"},
    {.name = "trunc_normal", .body = "trunc_normal(std=0.02)"},
    {.name = "uniform", .body = "uniform(1.0, 3.0)"},
    {.name = "normal", .body = "normal(0.5, 0.1)"},
    {.name = "full", .body = "full(0.25)"},
    {.name = "zeros", .body = "zeros"},
    {.name = "ones", .body = "ones"},
    {.name = "erfinv",
     .inputs = "x: f64[B, 9]",
     .body = "y = erf(erfinv(0.45 * x)) - 0.45 * x + x",
     .flags = CASE_VALUES_ONLY},
    {.name = "identity", .body = "identity"},
    {.name = "orthogonal", .body = "orthogonal(gain=2.0)"},
};
enum { N_LOOKS = 13 };

static bool check_looks(const Case *one, Looks want) {
    Model model;
    char text[1024];
    snprintf(text, sizeof text,
             "model m(x: f64[1]) {\n    param w: [64, 32, 3, 3] = %s\n    output w + x\n}\n",
             one->body);
    bool good = model_open(&model, text, 1);
    if (good && dlc_init_weights(model.session) != DLC_OK) {
        good = model_fail(&model, "init: %s", dlc_last_error(model.context));
    }
    Array w = {0};
    good = good && model_now(&model, "w", &w);
    double sum = 0, squares = 0, low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; good && i < w.n; i++) {
        sum += w.v[i];
        low = fmin(low, w.v[i]);
        high = fmax(high, w.v[i]);
    }
    double mean = sum / (double)w.n;
    for (int64_t i = 0; good && i < w.n; i++) {
        squares += pow(w.v[i] - mean, 2);
    }
    double deviation = good ? sqrt(squares / (double)w.n) : 0;
    if (good && (fabs(mean - want.mean) > 0.03 * (want.deviation + 1e-12) ||
                 fabs(deviation - want.deviation) > 0.03 * want.deviation + 1e-12 ||
                 low < want.low - 1e-12 || high > want.high + 1e-12)) {
        good = model_fail(
            &model, "mean %g deviation %g within %g … %g, expected %g and %g within %g … %g", mean,
            deviation, low, high, want.mean, want.deviation, want.low, want.high);
    }
    if (!good) {
        printf("FAILED %s: %s\n", one->name, model.error);
    }
    free(w.v);
    model_close(&model);
    return good;
}

/* identity is the unit matrix; orthogonal has orthonormal rows times its gain. */
static bool check_matrices(void) {
    Model model;
    bool good = model_open(&model,
                           "model m(x: f64[1]) {\n    param one: [5, 7] = identity\n"
                           "    param turn: [6, 8] = orthogonal(gain=2.0)\n"
                           "    param tall: [8, 3] = orthogonal\n"
                           "    output sum(one) + sum(turn) + sum(tall) + x\n}\n",
                           1);
    if (good && dlc_init_weights(model.session) != DLC_OK) {
        good = model_fail(&model, "init: %s", dlc_last_error(model.context));
    }
    Array one = {0}, turn = {0}, tall = {0};
    good = good && model_now(&model, "one", &one) && model_now(&model, "turn", &turn) &&
           model_now(&model, "tall", &tall);
    for (int64_t i = 0; good && i < one.n; i++) {
        good = one.v[i] == (i / 7 == i % 7) || model_fail(&model, "identity[%d]", (int)i);
    }
    for (int64_t i = 0; good && i < 36; i++) {
        double dot = 0;
        for (int64_t k = 0; k < 8; k++) {
            dot += turn.v[i / 6 * 8 + k] * turn.v[i % 6 * 8 + k];
        }
        good =
            near(dot, i / 6 == i % 6 ? 4 : 0, 1e-4) ||
            model_fail(&model, "orthogonal rows %d and %d: %.9g", (int)(i / 6), (int)(i % 6), dot);
    }
    for (int64_t i = 0; good && i < 9; i++) {
        double dot = 0;
        for (int64_t k = 0; k < 8; k++) {
            dot += tall.v[k * 3 + i / 3] * tall.v[k * 3 + i % 3];
        }
        good = near(dot, i / 3 == i % 3, 1e-4) ||
               model_fail(&model, "orthogonal columns %d and %d: %.9g", (int)(i / 3), (int)(i % 3),
                          dot);
    }
    if (!good) {
        printf("FAILED matrices: %s\n", model.error);
    }
    free(one.v);
    free(turn.v);
    free(tall.v);
    model_close(&model);
    return good;
}

static bool check_all(void) {
    const double in = 288, out = 576, none = INFINITY;
    double he = sqrt(6 / in), he1 = sqrt(3 / in), glorot = 2 * sqrt(6 / (in + out));
    const Looks looks[N_LOOKS] = {
        {0, he / sqrt(3), -he, he},
        {0, he1 / sqrt(3), -he1, he1},
        {0, sqrt(2 / in), -none, none},
        {0, glorot / sqrt(3), -glorot, glorot},
        {0, sqrt(2 / (in + out)), -none, none},
        {0, sqrt(1 / in / 3), -sqrt(1 / in), sqrt(1 / in)},
        {0, sqrt(1 / in), -none, none},
        {0, 0.02 * 0.879626, -0.04, 0.04},
        {2, 1 / sqrt(3), 1, 3},
        {0.5, 0.1, -none, none},
        {0.25, 0, 0.25, 0.25},
        {0, 0, 0, 0},
        {1, 0, 1, 1},
    };
    bool good = check_matrices();
    for (int i = 0; i < N_LOOKS; i++) {
        good = check_looks(&CASES[i], looks[i]) && good;
    }
    return good;
}

const Group INITIALISERS = {"initialisers", CASES, sizeof CASES / sizeof CASES[0], check_all};
