/* What a train block may say besides the optimiser: clip_norm, freeze, optimisers for parts,
 * several losses, accumulation, a moving average of the weights; and non-finite losses, which store
 * nothing. */
#include "tests/std/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two parameters with the gradients a and b (inputs) times their weight. */
#define TWO                                                                                        \
    "model m(a: f64[3], b: f64[2]) {\n"                                                            \
    "    param head.w: [3] = zeros\n    param body.w: [2] = zeros\n"                               \
    "    output sum(head.w) + sum(body.w)\n"

static bool finish(const char *name, Model *model, bool good) {
    if (!good) {
        printf("FAILED %s: %s\n", name, model->error);
    }
    model_close(model);
    return good;
}

static double moved(Model *model, const char *name, int64_t i) {
    Array now = {0};
    if (!model_now(model, name, &now)) {
        return NAN;
    }
    double by = model_variable(model, name)->v[i] - now.v[i];
    free(now.v);
    return by;
}

/* One step; then parameter element i of `name` moved by `by`. */
static bool check_moved(Model *model, const char *name, const double *by, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double got = moved(model, name, i);
        if (!near(got, by[i], 1e-9)) {
            return model_fail(model, "%s[%d] moved by %.12g, expected %.12g", name, (int)i, got,
                              by[i]);
        }
    }
    return true;
}

static bool clip_norm(void) {
    Model model;
    dlc_step_info info;
    bool good =
        model_open(&model,
                   TWO "    loss sum(a * head.w) + sum(b * body.w)\n}\n"
                       "train m {\n    optimizer sgd(lr=1.0)\n    clip_norm 0.5\n    batch 1\n}\n",
                   1) &&
        model_train_step(&model, &info);
    const Array *a = good ? model_input(&model, "a") : NULL,
                *b = good ? model_input(&model, "b") : NULL;
    double norm = 0, head[3] = {0}, body[2] = {0};
    for (int i = 0; i < 5 && good; i++) {
        norm += pow(i < 3 ? a->v[i] : b->v[i - 3], 2);
    }
    for (int i = 0; i < 5 && good; i++) {
        *(i < 3 ? &head[i] : &body[i - 3]) =
            (i < 3 ? a->v[i] : b->v[i - 3]) * 0.5 / (sqrt(norm) + 1e-6); /* as PyTorch has it */
    }
    good = good && check_moved(&model, "head.w", head, 3) &&
           check_moved(&model, "body.w", body, 2) &&
           (near(info.grad_norm, sqrt(norm), 1e-6) ||
            model_fail(&model, "grad_norm %.12g, expected %.12g", info.grad_norm, sqrt(norm)));
    return finish("clip_norm", &model, good);
}

static bool parts(void) {
    Model model;
    dlc_step_info info;
    bool good = model_open(&model,
                           TWO "    loss sum(a * head.w) + sum(b * body.w)\n}\n"
                               "train m {\n    optimizer sgd(lr=1.0)\n"
                               "    optimizer for \"head.*\" sgd(lr=0.25)\n    batch 1\n}\n",
                           1) &&
                model_train_step(&model, &info);
    double head[3] = {0};
    for (int i = 0; i < 3 && good; i++) {
        head[i] = 0.25 * model_input(&model, "a")->v[i];
    }
    good = good && check_moved(&model, "head.w", head, 3) &&
           check_moved(&model, "body.w", model_input(&model, "b")->v, 2);
    return finish("optimizer for", &model, good);
}

static bool frozen(void) {
    Model model;
    dlc_step_info info;
    const double none[3] = {0, 0, 0};
    bool good =
        model_open(&model,
                   TWO "    loss sum(a * head.w) + sum(b * body.w)\n}\n"
                       "train m {\n    optimizer adam\n    freeze \"head.*\"\n    batch 1\n}\n",
                   1) &&
        model_train_step(&model, &info) && check_moved(&model, "head.w", none, 3);
    good = good &&
           (fabs(moved(&model, "body.w", 0)) > 1e-4 || model_fail(&model, "body.w did not move"));
    return finish("freeze", &model, good);
}

/* The second loss sees what the first line changed or not: here each touches its own parameters. */
static bool two_losses(void) {
    Model model;
    dlc_step_info info;
    bool good = model_open(&model,
                           TWO "    loss one = sum(a * head.w) + sum(b * body.w)\n"
                               "    loss two = sum(b * body.w * 3.0) - sum(a * head.w)\n}\n"
                               "train m {\n    minimize one over \"head.*\" sgd(lr=1.0)\n"
                               "    minimize two over \"body.*\" sgd(lr=0.5)\n    batch 1\n}\n",
                           1) &&
                model_train_step(&model, &info);
    double body[2] = {0};
    for (int i = 0; i < 2 && good; i++) {
        body[i] = 1.5 * model_input(&model, "b")->v[i];
    }
    good = good && check_moved(&model, "head.w", model_input(&model, "a")->v, 3) &&
           check_moved(&model, "body.w", body, 2);
    return finish("minimize over", &model, good);
}

/* accumulate 3 over a batch of 6 is the step of the whole batch when the loss is a mean. */
static bool accumulated(void) {
    Model whole, cut;
    static const char TEXT[] = "dim B\nmodel m(x: f64[B, 3], ids: i32[B]) {\n"
                               "    y = x |> linear(4) |> tanh |> linear(3)\n"
                               "    output y\n    loss cross_entropy(y, ids)\n}\n"
                               "train m {\n    optimizer sgd(lr=1.0)\n    batch 6\n";
    char text[1024];
    dlc_step_info info, info_cut;
    snprintf(text, sizeof text, "%s}\n", TEXT);
    bool good = model_open(&whole, text, 6) && model_train_step(&whole, &info);
    if (!good) {
        return finish("accumulate (whole batch)", &whole, false);
    }
    snprintf(text, sizeof text, "%s    accumulate 3\n}\n", TEXT);
    good = model_open(&cut, text, 6) && model_train_step(&cut, &info_cut);
    for (size_t k = 0; k < whole.n_variables && good; k++) {
        Array want = {0};
        double by[64];
        good = model_now(&whole, whole.variables[k].name, &want);
        for (int64_t i = 0; good && i < want.n; i++) {
            by[i] = whole.variables[k].v[i] - want.v[i];
        }
        good = good && check_moved(&cut, whole.variables[k].name, by, want.n);
        free(want.v);
    }
    good = good && (near(info.loss, info_cut.loss, 1e-10) ||
                    model_fail(&cut, "loss %.12g, in one piece %.12g", info_cut.loss, info.loss));
    model_close(&whole);
    return finish("accumulate", &cut, good);
}

/* A loss that is not finite changes nothing and says so. */
static bool non_finite(void) {
    Model model;
    dlc_step_info info;
    bool good = model_open(&model,
                           TWO "    loss sum(log(a - 10.0) * head.w) + sum(b * body.w)\n}\n"
                               "train m {\n    optimizer adam\n    batch 1\n}\n",
                           1);
    const double none[3] = {0, 0, 0};
    info = (dlc_step_info){.struct_size = sizeof info};
    if (good) {
        dlc_status status = dlc_train_step(model.session, &info);
        good = status == DLC_ERROR_NON_FINITE || model_fail(&model, "the step gave status %d (%s)",
                                                            (int)status, dlc_status_text(status));
    }
    good = good && check_moved(&model, "head.w", none, 3) && check_moved(&model, "body.w", none, 2);
    return finish("non-finite loss", &model, good);
}

/* An index out of range fails the step, with the line of the program, and changes nothing. */
static bool bad_index(void) {
    Model model;
    dlc_step_info info;
    bool good = model_open(&model,
                           "dim B\nmodel m(ids: i32[B, 2]) {\n"
                           "    y = ids |> embedding(2, 3) as table\n"
                           "    output y\n    loss sum(y)\n}\n"
                           "train m {\n    optimizer sgd(lr=1.0)\n    batch 4\n}\n",
                           4);
    const double none[6] = {0};
    if (good) {
        model_input(&model, "ids")->v[5] = 2;
        good = model_restore(&model);
    }
    info = (dlc_step_info){.struct_size = sizeof info};
    if (good) {
        dlc_status status = dlc_train_step(model.session, &info);
        const char *text = dlc_last_error(model.context);
        good = (status == DLC_ERROR_FAULT && strstr(text, "case.dl:3")) ||
               model_fail(&model, "the step gave status %d: %s", (int)status, text);
    }
    good = good && check_moved(&model, "weight", none, 6);
    return finish("index out of range", &model, good);
}

static bool failed_check(void) {
    Model model;
    bool good = model_open(&model,
                           "dim B\nmodel m(x: f64[B]) {\n"
                           "    check all(x < 1.0), \"x must be small\"\n"
                           "    output y = x * 2.0\n}\n",
                           4);
    if (good) {
        model_input(&model, "x")->v[2] = 1.5;
        good = model_restore(&model);
    }
    if (good) {
        dlc_status status = dlc_run(model.session, "infer");
        const char *text = dlc_last_error(model.context);
        good = (status == DLC_ERROR_FAULT && strstr(text, "x must be small")) ||
               model_fail(&model, "check gave status %d: %s", (int)status, text);
    }
    return finish("check", &model, good);
}

/* Metrics over a divisor come divided; caches are reset by call. */
static bool cache_and_metric(void) {
    Model model;
    double ratio = 0;
    bool good = model_open(&model,
                           "dim B\nmodel m(x: f64[B]) {\n"
                           "    cache seen: [1] = zeros\n"
                           "    now = seen + sum(x)\n"
                           "    seen <- now\n"
                           "    metric ratio = sum(x) over sum(abs(x))\n"
                           "    output y = now\n}\n",
                           4);
    double sum = 0, size = 0;
    for (int i = 0; good && i < 4; i++) {
        sum += model_input(&model, "x")->v[i];
        size += fabs(model_input(&model, "x")->v[i]);
    }
    Array y = {0};
    for (int i = 1; i <= 3 && good; i++) {
        good = model_run(&model, "infer") && model_output(&model, "y", &y);
        int times = i == 3 ? 1 : i;
        good = good && (near(y.v[0], times * sum, 1e-12) ||
                        model_fail(&model, "run %d gave %g, expected %g", i, y.v[0], times * sum));
        free(y.v);
        if (i == 2 && good && dlc_reset_caches(model.session) != DLC_OK) {
            good = model_fail(&model, "reset: %s", dlc_last_error(model.context));
        }
    }
    good = good && model_run(&model, "eval") && model_metric(&model, "eval", "ratio", &ratio) &&
           (near(ratio, sum / size, 1e-12) ||
            model_fail(&model, "ratio %g, expected %g", ratio, sum / size));
    return finish("cache, metric over", &model, good);
}

static bool check_all(void) {
    static bool (*const CHECKS[])(void) = {clip_norm,  parts,        frozen,
                                           two_losses, accumulated,  non_finite,
                                           bad_index,  failed_check, cache_and_metric};
    bool good = true;
    for (size_t i = 0; i < sizeof CHECKS / sizeof CHECKS[0]; i++) {
        good = CHECKS[i]() && good;
    }
    return good;
}

const Group TRAINING = {"training", NULL, 0, check_all};
