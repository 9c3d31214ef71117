/* Normalisation layers against their definitions, and the running statistics of batch_norm. */
#include "tests/std/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* x is [B, 4, 3] or [B, 4, 3, 2]: channel of a flat index. */
static int64_t channel_of(const Array *x, int64_t i) {
    int64_t inner = x->n / x->dims[0] / x->dims[1];
    return i / inner % x->dims[1];
}

/* Normalises with mean and variance over the elements that `same` puts together. */
static void normalise(const Array *x, bool (*same)(const Array *x, int64_t i, int64_t k),
                      double eps, double *out) {
    for (int64_t i = 0; i < x->n; i++) {
        double sum = 0, squares = 0, n = 0;
        for (int64_t k = 0; k < x->n; k++) {
            if (same(x, i, k)) {
                sum += x->v[k];
                n++;
            }
        }
        for (int64_t k = 0; k < x->n; k++) {
            if (same(x, i, k)) {
                squares += pow(x->v[k] - sum / n, 2);
            }
        }
        out[i] = (x->v[i] - sum / n) / sqrt(squares / n + eps);
    }
}
static bool same_row(const Array *x, int64_t i, int64_t k) {
    int64_t last = x->dims[x->rank - 1];
    return i / last == k / last;
}
static bool same_sample_channel(const Array *x, int64_t i, int64_t k) {
    int64_t inner = x->n / x->dims[0] / x->dims[1];
    return i / inner == k / inner;
}
static bool same_group(const Array *x, int64_t i, int64_t k) { /* two groups of channels */
    int64_t inner = x->n / x->dims[0] / 2;
    return i / inner == k / inner;
}
static bool same_place(const Array *x, int64_t i, int64_t k) { /* across channels */
    int64_t sample = x->n / x->dims[0], inner = sample / x->dims[1];
    return i / sample == k / sample && i % inner == k % inner;
}
static void scale_channels(Model *model, const Array *x, double *out) {
    const Array *w = model_variable(model, "weight"), *b = model_variable(model, "bias");
    for (int64_t i = 0; w && b && i < x->n; i++) {
        out[i] = out[i] * w->v[channel_of(x, i)] + b->v[channel_of(x, i)];
    }
}

static void r_layer_norm(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *w = model_variable(model, "weight");
    const Array *b = model_variable(model, "bias");
    normalise(x, same_row, 1e-5, out);
    for (int64_t i = 0; i < y->n; i++) {
        out[i] = out[i] * (w ? w->v[i % w->n] : 1) + (b ? b->v[i % b->n] : 0);
    }
}
static void r_standardise(Model *model, const Array *y, double *out) {
    (void)y;
    normalise(model_input(model, "x"), same_row, 1e-3, out);
}
static void r_group_norm(Model *model, const Array *y, double *out) {
    (void)y;
    normalise(model_input(model, "x"), same_group, 1e-5, out);
    scale_channels(model, model_input(model, "x"), out);
}
static void r_instance_norm(Model *model, const Array *y, double *out) {
    (void)y;
    normalise(model_input(model, "x"), same_sample_channel, 1e-5, out);
    scale_channels(model, model_input(model, "x"), out);
}
static void r_channel_norm(Model *model, const Array *y, double *out) {
    (void)y;
    normalise(model_input(model, "x"), same_place, 1e-6, out);
    scale_channels(model, model_input(model, "x"), out);
}
static void r_rms_norm(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *w = model_variable(model, "weight");
    for (int64_t i = 0; i < y->n; i++) {
        double squares = 0;
        for (int64_t k = 0; k < 3; k++) {
            squares += x->v[i / 3 * 3 + k] * x->v[i / 3 * 3 + k] / 3;
        }
        out[i] = x->v[i] / sqrt(squares + 1e-6) * w->v[i % 3];
    }
}
static void r_batch_norm_eval(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *m = model_variable(model, "running_mean");
    const Array *v = model_variable(model, "running_var");
    for (int64_t i = 0; i < y->n; i++) {
        int64_t c = channel_of(x, i);
        out[i] = (x->v[i] - m->v[c]) / sqrt(v->v[c] + 1e-5);
    }
    scale_channels(model, x, out);
}
static void normalise_by(Model *model, double p, double *out) {
    const Array *x = model_input(model, "x");
    for (int64_t i = 0; i < x->n; i++) {
        double total = 0;
        for (int64_t k = 0; k < 3; k++) {
            total += pow(fabs(x->v[i / 3 * 3 + k]), p);
        }
        out[i] = x->v[i] / pow(total, 1 / p);
    }
}
static void r_normalize(Model *model, const Array *y, double *out) {
    (void)y;
    normalise_by(model, 2, out);
}
static void r_normalize3(Model *model, const Array *y, double *out) {
    (void)y;
    normalise_by(model, 3, out);
}

#define X3 "x: f64[B, 4, 3]"
#define X4 "x: f64[B, 4, 3, 2]"
static const Case CASES[] = {
    {"batch_norm", X4, "y = batch_norm(x)", CASE_TRAINING, r_batch_norm_eval, NULL},
    {"batch_norm 2d", "x: f64[B, 4]", "y = batch_norm(x, eps=0.1)", CASE_TRAINING, NULL, NULL},
    {"batch_norm plain", X3, "y = batch_norm(x, affine=false)", CASE_TRAINING, r_batch_norm_eval,
     NULL},
    {"standardise", X3, "y = standardise(x, 1e-3)", 0, r_standardise, NULL},
    {"layer_norm", X3, "y = layer_norm(x)", 0, r_layer_norm, NULL},
    {"layer_norm no bias", X3, "y = layer_norm(x, bias=false)", 0, r_layer_norm, NULL},
    {"layer_norm plain", X3, "y = layer_norm(x, affine=false)", 0, r_layer_norm, NULL},
    {"channel_norm", X4, "y = channel_norm(x)", 0, r_channel_norm, NULL},
    {"rms_norm", X3, "y = rms_norm(x)", 0, r_rms_norm, NULL},
    {"group_norm", X4, "y = group_norm(x, 2)", 0, r_group_norm, NULL},
    {"group_norm plain", X3, "y = group_norm(x, 2, affine=false)", 0, r_group_norm, NULL},
    {"instance_norm", X4, "y = instance_norm(x)", 0, r_instance_norm, NULL},
    {"instance_norm affine", X3, "y = instance_norm(x, affine=true)", 0, r_instance_norm, NULL},
    {"normalize", X3, "y = normalize(x)", 0, r_normalize, NULL},
    {"normalize p", X3, "y = normalize(x, p=3.0)", 0, r_normalize3, NULL},
    {"normalize axis", X3, "y = normalize(x, axis=1)", 0, NULL, NULL},
    {"trailing", X3, "y = x * trailing(x[0, .., 0], 1) + trailing(x[0, 0], 0)", 0, NULL, NULL},
    {"per_channel", X3, "y = x * per_channel(x[0, .., 1], x)", 0, NULL, NULL},
};

/* Two training steps: running statistics by PyTorch's rule (unbiased variance), and what eval makes
 * of them. */
static bool running_statistics(void) {
    Model model;
    bool good = model_open(&model,
                           "dim B\n"
                           "model m(x: f64[B, 4, 3]) {\n"
                           "    y = batch_norm(x, momentum=0.2) as bn\n"
                           "    output y\n    loss sum(y * y * y)\n}\n"
                           "train m {\n    optimizer sgd(lr=0.0)\n    batch 5\n}\n",
                           5);
    double mean[4] = {0}, var[4] = {1, 1, 1, 1};
    const Array *x = good ? model_input(&model, "x") : NULL;
    for (int step = 0; step < 2 && good; step++) {
        dlc_step_info info;
        for (int c = 0; c < 4; c++) {
            double sum = 0, squares = 0;
            for (int64_t i = 0; i < x->n; i++) {
                sum += channel_of(x, i) == c ? x->v[i] : 0;
            }
            for (int64_t i = 0; i < x->n; i++) {
                squares += channel_of(x, i) == c ? pow(x->v[i] - sum / 15, 2) : 0;
            }
            mean[c] = 0.8 * mean[c] + 0.2 * sum / 15;
            var[c] = 0.8 * var[c] + 0.2 * squares / 14;
        }
        good = model_train_step(&model, &info);
    }
    Array m = {0}, v = {0};
    good =
        good && model_now(&model, "bn.running_mean", &m) && model_now(&model, "bn.running_var", &v);
    for (int c = 0; c < 4 && good; c++) {
        good = (near(m.v[c], mean[c], 1e-12) && near(v.v[c], var[c], 1e-12)) ||
               model_fail(&model,
                          "channel %d: mean %.12g, expected %.12g; variance %.12g, expected %.12g",
                          c, m.v[c], mean[c], v.v[c], var[c]);
    }
    if (!good) {
        printf("FAILED batch_norm running statistics: %s\n", model.error);
    }
    free(m.v);
    free(v.v);
    model_close(&model);
    return good;
}

const Group NORMS = {"norms", CASES, sizeof CASES / sizeof CASES[0], running_statistics};
