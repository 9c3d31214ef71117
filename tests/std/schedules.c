/* Learning rates by step: the loss is sum(w), so that every step takes the rate off w. */
#include "tests/std/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOTAL = 12 };
typedef double Rate(double step);

static double cosine_part(double x) {
    return 0.5 * (1 + cos(M_PI * x));
}
static double s_constant(double t) {
    (void)t;
    return 0.3;
}
static double s_step(double t) {
    return 0.3 * pow(0.5, floor(t / 4));
}
static double s_multi(double t) {
    return 0.3 * pow(0.1, (t >= 3) + (t >= 7));
}
static double s_exponential(double t) {
    return 0.3 * pow(0.9, t / 2);
}
static double s_linear(double t) {
    return 0.3 + (0.05 - 0.3) * t / TOTAL;
}
static double s_polynomial(double t) {
    return 0.01 + (0.3 - 0.01) * pow(1 - t / TOTAL, 2);
}
static double s_cosine(double t) {
    return 0.02 + (0.3 - 0.02) * cosine_part(t / TOTAL);
}
static double s_warmup_cosine(double t) {
    return t < 4 ? 0.3 * (t + 1) / 4 : 0.02 + (0.3 - 0.02) * cosine_part((t - 4) / (TOTAL - 4));
}
static double s_warmup_linear(double t) {
    return t < 4 ? 0.3 * (t + 1) / 4 : 0.3 + (0.1 - 0.3) * (t - 4) / (TOTAL - 4);
}
static double s_warmup_constant(double t) {
    return 0.3 * fmin((t + 1) / 4, 1);
}
static double s_inverse(double t) {
    return t < 4 ? 0.3 * (t + 1) / 4 : 0.3 * sqrt(4 / (t + 1));
}
/* torch.optim.lr_scheduler.OneCycleLR, cosine annealing in two phases. */
static double s_one_cycle(double t) {
    double turn = TOTAL * 0.4 - 1, low = 0.3 / 25, end = low / 1e4;
    return t <= turn ? 0.3 + (low - 0.3) * cosine_part(t / turn)
                     : end + (0.3 - end) * cosine_part((t - turn) / (TOTAL - 1 - turn));
}
static double s_restarts(double t) {
    return 0.02 + (0.3 - 0.02) * cosine_part(fmod(t, 5) / 5);
}
static double s_own(double t) {
    return t < 3 ? 0.1 : 0.2 / (t + 1);
}

static const Case CASES[] = {
    {.name = "constant", .body = "constant(0.3)"},
    {.name = "step_decay", .body = "step_decay(0.3, every=4, factor=0.5)"},
    {.name = "multi_step", .body = "multi_step(0.3, [3, 7])"},
    {.name = "exponential", .body = "exponential(0.3, 0.9, every=2)"},
    {.name = "linear_decay", .body = "linear_decay(0.3, total=steps, last=0.05)"},
    {.name = "polynomial", .body = "polynomial(0.3, total=steps, power=2.0, floor=0.01)"},
    {.name = "cosine", .body = "cosine(0.3, total=steps, floor=0.02)"},
    {.name = "warmup_cosine", .body = "warmup_cosine(peak=0.3, warmup=4, total=steps, floor=0.02)"},
    {.name = "warmup_linear", .body = "warmup_linear(0.3, 4, total=steps, floor=0.1)"},
    {.name = "warmup_constant", .body = "warmup_constant(0.3, 4)"},
    {.name = "inverse_sqrt", .body = "inverse_sqrt(0.3, 4)"},
    {.name = "one_cycle", .body = "one_cycle(0.3, total=steps, share=0.4)"},
    {.name = "cosine_restarts", .body = "cosine_restarts(0.3, 5, floor=0.02)"},
    {.name = "an expression", .body = "where(step < 3, 0.1, 0.2 / (cast(step, f32) + 1.0))"},
};
static Rate *const RATES[] = {s_constant,      s_step,
                              s_multi,         s_exponential,
                              s_linear,        s_polynomial,
                              s_cosine,        s_warmup_cosine,
                              s_warmup_linear, s_warmup_constant,
                              s_inverse,       s_one_cycle,
                              s_restarts,      s_own};
_Static_assert(sizeof RATES / sizeof RATES[0] == sizeof CASES / sizeof CASES[0], "a rate a case");

static bool check_rate(const Case *one, Rate *rate) {
    Model model;
    char text[1024];
    snprintf(text, sizeof text,
             "model m(a: f64[2]) {\n    param w: [2] = zeros\n    output w\n    loss sum(w + 0.0 * "
             "a)\n}\n"
             "train m {\n    optimizer sgd(lr=%s)\n    batch 1\n}\n",
             one->body);
    bool good = model_open(&model, text, 1);
    if (good && dlc_set_counter(model.session, "steps", TOTAL) != DLC_OK) {
        good = model_fail(&model, "steps: %s", dlc_last_error(model.context));
    }
    double before = good ? model.variables[0].v[0] : 0;
    for (int step = 0; step < TOTAL && good; step++) {
        dlc_step_info info;
        Array w = {0};
        good = model_train_step(&model, &info) && model_now(&model, "w", &w);
        if (good && !near(before - w.v[0], rate(step), 1e-6)) {
            good = model_fail(&model, "step %d: rate %.9g, expected %.9g", step, before - w.v[0],
                              rate(step));
        }
        if (good && !isnan(info.lr) && !near(info.lr, rate(step), 1e-6)) {
            good =
                model_fail(&model, "step %d: tells %.9g, expected %.9g", step, info.lr, rate(step));
        }
        before = good ? w.v[0] : 0;
        free(w.v);
    }
    if (!good) {
        printf("FAILED %s: %s\n", one->name, model.error);
    }
    model_close(&model);
    return good;
}

static bool check_rates(void) {
    bool good = true;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        good = check_rate(&CASES[i], RATES[i]) && good;
    }
    return good;
}

const Group SCHEDULES = {"schedules", CASES, sizeof CASES / sizeof CASES[0], check_rates};
