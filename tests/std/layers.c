/* Linear maps, embeddings, convolutions, dropout. Convolutions are checked against sums written out
 * over one, two and three spatial axes, all through one three-dimensional loop. */
#include "tests/std/model.h"

#include <stdio.h>
#include <stdlib.h>

static void r_linear(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *w = model_variable(model, "weight");
    const Array *b = model_variable(model, "bias");
    int64_t wide = w->dims[1], many = w->dims[0];
    for (int64_t i = 0; i < y->n; i++) {
        out[i] = b ? b->v[i % many] : 0;
        for (int64_t k = 0; k < wide; k++) {
            out[i] += x->v[i / many * wide + k] * w->v[i % many * wide + k];
        }
    }
}
static void r_linear_in_out(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *w = model_variable(model, "weight");
    const Array *b = model_variable(model, "bias");
    int64_t wide = w->dims[0], many = w->dims[1];
    for (int64_t i = 0; i < y->n; i++) {
        out[i] = b ? b->v[i % many] : 0;
        for (int64_t k = 0; k < wide; k++) {
            out[i] += x->v[i / many * wide + k] * w->v[k * many + i % many];
        }
    }
}
static void r_bilinear(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *t = model_input(model, "t");
    const Array *w = model_variable(model, "weight"), *b = model_variable(model, "bias");
    for (int64_t i = 0; i < y->n; i++) {
        int64_t row = i / 2, o = i % 2;
        out[i] = b->v[o];
        for (int64_t p = 0; p < 12; p++) {
            out[i] += x->v[row * 3 + p / 4] * w->v[o * 12 + p] * t->v[row * 4 + p % 4];
        }
    }
}
static void r_embedding(Model *model, const Array *y, double *out) {
    const Array *ids = model_input(model, "ids"), *w = model_variable(model, "weight");
    for (int64_t i = 0; i < y->n; i++) {
        out[i] = w->v[(int64_t)ids->v[i / w->dims[1]] * w->dims[1] + i % w->dims[1]];
    }
}

/* Axes after the first two, brought to three. */
typedef struct Volume {
    int64_t n, c, d[3];
} Volume;
static Volume volume_of(const Array *a) {
    Volume v = {a->dims[0], a->dims[1], {1, 1, 1}};
    for (int32_t i = 2; i < a->rank; i++) {
        v.d[3 - a->rank + i] = a->dims[i];
    }
    return v;
}
static int64_t at(const Volume *v, int64_t n, int64_t c, const int64_t p[3]) {
    return (((n * v->c + c) * v->d[0] + p[0]) * v->d[1] + p[1]) * v->d[2] + p[2];
}

typedef struct Window {
    int64_t stride[3], padding[3], dilation[3], groups;
} Window;

/* Convolution, or its transpose with x and y exchanged: one loop over (output place, kernel place).
 */
static void convolve(const Array *x, const Array *w, const Array *b, const Array *y,
                     const Window *window, bool transposed, double *out) {
    Volume xv = volume_of(x), wv = volume_of(w), yv = volume_of(y);
    const Volume *narrow = transposed ? &xv : &yv, *wide = transposed ? &yv : &xv;
    int64_t per_in = wide->c / window->groups, per_out = narrow->c / window->groups;
    for (int64_t i = 0; i < y->n && b; i++) {
        out[i] = b->v[i / (yv.d[0] * yv.d[1] * yv.d[2]) % yv.c];
    }
    int64_t places = narrow->d[0] * narrow->d[1] * narrow->d[2];
    int64_t taps = wv.d[0] * wv.d[1] * wv.d[2];
    for (int64_t all = 0; all < narrow->n * narrow->c * per_in * places * taps; all++) {
        int64_t rest = all, q = rest % taps, p = (rest /= taps) % places;
        int64_t k = (rest /= places) % per_in, o = (rest /= per_in) % narrow->c,
                n = rest / narrow->c;
        int64_t tap[3] = {q / (wv.d[1] * wv.d[2]), q / wv.d[2] % wv.d[1], q % wv.d[2]};
        int64_t low[3] = {p / (narrow->d[1] * narrow->d[2]), p / narrow->d[2] % narrow->d[1],
                          p % narrow->d[2]};
        int64_t high[3];
        bool inside = true;
        for (int a = 0; a < 3; a++) {
            high[a] =
                low[a] * window->stride[a] - window->padding[a] + tap[a] * window->dilation[a];
            inside = inside && high[a] >= 0 && high[a] < wide->d[a];
        }
        if (inside) {
            int64_t c = o / per_out * per_in + k;
            double weight = w->v[at(&wv, o, k, tap)];
            int64_t i_narrow = at(narrow, n, o, low), i_wide = at(wide, n, c, high);
            if (transposed) {
                out[i_wide] += x->v[i_narrow] * weight;
            } else {
                out[i_narrow] += x->v[i_wide] * weight;
            }
        }
    }
}
static void check_with(Model *model, const Array *y, Window window, bool transposed, double *out) {
    convolve(model_input(model, "x"), model_variable(model, "weight"),
             model_variable(model, "bias"), y, &window, transposed, out);
}
#define ALL(n)                                                                                     \
    { n, n, n }
#define CONV(name, transposed, ...)                                                                \
    static void r_##name(Model *model, const Array *y, double *out) {                              \
        check_with(model, y, (Window)__VA_ARGS__, transposed, out);                                \
    }
CONV(conv, false, {ALL(1), ALL(0), ALL(1), 1})
CONV(conv_s2p1, false, {{1, 2, 2}, {0, 1, 1}, ALL(1), 1})
CONV(conv1_s2p1, false, {{1, 1, 2}, {0, 0, 1}, ALL(1), 1})
CONV(conv_mixed, false, {{1, 2, 1}, {0, 1, 2}, {1, 1, 2}, 1})
CONV(conv_groups, false, {ALL(1), {0, 1, 1}, ALL(1), 2})
CONV(conv_depth, false, {ALL(1), {0, 1, 1}, ALL(1), 4})
CONV(conv3, false, {{1, 2, 1}, {1, 0, 1}, {1, 1, 1}, 1})
CONV(deconv, true, {ALL(1), ALL(0), ALL(1), 1})
CONV(deconv1, true, {{1, 1, 2}, {0, 0, 1}, ALL(1), 1})
CONV(deconv2, true, {{1, 2, 2}, {0, 1, 1}, ALL(1), 1})
CONV(deconv_groups, true, {{1, 2, 3}, {0, 0, 1}, {1, 2, 1}, 2})
CONV(deconv3, true, {{2, 1, 2}, ALL(0), ALL(1), 1})

#define X2 "x: f64[B, 3]"
#define X3 "x: f64[B, 4, 9]"
#define X4 "x: f64[B, 4, 6, 5]"
#define X5 "x: f64[B, 2, 3, 4, 3]"
static const Case CASES[] = {
    {"linear", X2, "y = linear(x, 4)", 0, r_linear, NULL},
    {"linear no bias", X3, "y = linear(x, 4, bias=false, init=xavier_normal)", 0, r_linear, NULL},
    {"linear rank 1", "x: f64[7]", "y = linear(x, 4)", 0, r_linear, NULL},
    {"linear_in_out", X2, "y = linear_in_out(x, 4)", 0, r_linear_in_out, NULL},
    {"linear_in_out no bias", X3, "y = linear_in_out(x, 4, bias=false)", 0, r_linear_in_out, NULL},
    {"bilinear", X2 ", t: f64[B, 4]", "y = bilinear(x, t, 2)", 0, r_bilinear, NULL},
    {"embedding", "ids: i32[B, 5]", "y = embedding(ids, 4, 3)", CASE_NO_X, r_embedding, NULL},
    {"dropout", X3, "y = dropout(x, 0.4)", CASE_TRAINING, NULL, NULL},
    {"dropout_channels", X4, "y = dropout_channels(x, 0.5)", CASE_TRAINING, NULL, NULL},
    {"drop_path", X3, "y = drop_path(x, 0.5)", CASE_TRAINING, NULL, NULL},
    {"flatten", X4, "y = flatten(x) * (0.02 * iota(120))", 0, NULL, NULL},
    {"flatten 0", X3, "y = flatten(x, start=0)", 0, NULL, NULL},
    {"flatten 2", X4, "y = flatten(x, start=2)", 0, NULL, NULL},
    {"conv1d", X3, "y = conv1d(x, 3, kernel=3)", 0, r_conv, NULL},
    {"conv1d strided", X3, "y = conv1d(x, 3, 4, stride=2, padding=1)", 0, r_conv1_s2p1, NULL},
    {"conv2d", X4, "y = conv2d(x, 3, kernel=3)", 0, r_conv, NULL},
    {"conv2d strided", X4, "y = conv2d(x, 3, kernel=3, stride=2, padding=1, bias=false)", 0,
     r_conv_s2p1, NULL},
    {"conv2d mixed", X4, "y = conv2d(x, 3, [3, 2], stride=[2, 1], padding=[1, 2], dilation=[1, 2])",
     0, r_conv_mixed, NULL},
    {"conv2d groups", X4, "y = conv2d(x, 6, 3, padding=same(3), groups=2)", 0, r_conv_groups, NULL},
    {"depthwise_conv2d", X4, "y = depthwise_conv2d(x, 3, padding=1, multiplier=2)", 0, r_conv_depth,
     NULL},
    {"conv3d", X5, "y = conv3d(x, 2, [2, 3, 2], stride=[1, 2, 1], padding=[1, 0, 1])", 0, r_conv3,
     NULL},
    {"conv_transpose1d", X3, "y = conv_transpose1d(x, 3, 4, stride=2, padding=1)", 0, r_deconv1,
     NULL},
    {"conv_transpose2d", X4, "y = conv_transpose2d(x, 3, 2)", 0, r_deconv, NULL},
    {"conv_transpose2d strided", X4,
     "y = conv_transpose2d(x, 2, 3, stride=2, padding=1, output_padding=1)", 0, r_deconv2, NULL},
    {"conv_transpose2d groups", X4,
     "y = conv_transpose2d(x, 6, [2, 3], stride=[2, 3], padding=[0, 1], dilation=[2, 1], groups=2)",
     0, r_deconv_groups, NULL},
    {"conv_transpose3d", X5, "y = conv_transpose3d(x, 2, 2, stride=[2, 1, 2], bias=false)", 0,
     r_deconv3, NULL},
    {"squeeze_excite", X4, "y = squeeze_excite(x, ratio=2)", 0, NULL, NULL},
};

/* In training, dropout keeps about 1 - rate of the elements, scaled by 1 / (1 - rate); other bits
 * at each step; and none in eval. */
static bool dropout_rate(void) {
    Model model;
    bool good = model_open(&model,
                           "dim B\n"
                           "model m(x: f64[B, 1000]) {\n"
                           "    param w: [1] = ones\n"
                           "    y = dropout(ones_like(x), 0.3) * w\n"
                           ""
                           "    metric kept = mean(y > 0.0)\n    metric most = max(y)\n"
                           "    metric mark = sum(y * x)\n"
                           "    output y\n    loss sum(y)\n}\n"
                           "train m {\n    optimizer sgd(lr=0.0)\n    batch 8\n}\n",
                           8);
    double marks[2] = {0, 0};
    for (int step = 0; step < 2 && good; step++) {
        dlc_step_info info;
        double kept = 0, most = 0;
        if (step == 0) {
            model.variables[0].v[0] = 1;
            good = model_restore(&model);
        }
        good = good && model_train_step(&model, &info) &&
               model_metric(&model, "train", "mark", &marks[step]) &&
               model_metric(&model, "train", "kept", &kept) &&
               model_metric(&model, "train", "most", &most);
        if (good && (kept < 0.66 || kept > 0.74 || !near(most, 1 / 0.7, 1e-12))) {
            good = model_fail(&model, "kept %g of the elements, greatest %g", kept, most);
        }
    }
    good = good && (marks[0] != marks[1] || model_fail(&model, "the same elements at each step"));
    if (!good) {
        printf("FAILED dropout rate: %s\n", model.error);
    }
    model_close(&model);
    return good;
}

const Group LAYERS = {"layers", CASES, sizeof CASES / sizeof CASES[0], dropout_rate};
