/* Recurrent layers against cells written out, PyTorch's gate order. */
#include "tests/std/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 16 };

static double logistic(double x) {
    return 1 / (1 + exp(-x));
}

static double weight_of(Model *model, const char *name, const char *suffix, int64_t index) {
    char full[NAME_BYTES];
    snprintf(full, sizeof full, "%s_%s", name, suffix);
    const Array *array = model_variable(model, full);
    return array ? array->v[index] : 0;
}

/* Pre-activations of gate row g from the input and from h apart. */
static void gate(Model *model, const char *suffix, int64_t g, const double *x, int64_t wide,
                 const double *h, int64_t hidden, double *from_x, double *from_h) {
    *from_x = weight_of(model, "bias_ih", suffix, g);
    *from_h = weight_of(model, "bias_hh", suffix, g);
    for (int64_t k = 0; k < wide; k++) {
        *from_x += weight_of(model, "weight_ih", suffix, g * wide + k) * x[k];
    }
    for (int64_t k = 0; k < hidden; k++) {
        *from_h += weight_of(model, "weight_hh", suffix, g * hidden + k) * h[k];
    }
}

/* One step of a cell of kind 'l', 'g' or 'r' (tanh): h and c change in place. */
static void cell(Model *model, char kind, const char *suffix, const double *x, int64_t wide,
                 double *h, double *c, int64_t hidden) {
    double next[MOST], a[4], b[4];
    int64_t gates = kind == 'l' ? 4 : kind == 'g' ? 3 : 1;
    for (int64_t u = 0; u < hidden; u++) {
        for (int64_t g = 0; g < gates; g++) {
            gate(model, suffix, g * hidden + u, x, wide, h, hidden, &a[g], &b[g]);
        }
        if (kind == 'l') {
            c[u] = logistic(a[1] + b[1]) * c[u] + logistic(a[0] + b[0]) * tanh(a[2] + b[2]);
            next[u] = logistic(a[3] + b[3]) * tanh(c[u]);
        } else if (kind == 'g') {
            double z = logistic(a[1] + b[1]);
            next[u] = (1 - z) * tanh(a[2] + logistic(a[0] + b[0]) * b[2]) + z * h[u];
        } else {
            next[u] = tanh(a[0] + b[0]);
        }
    }
    memcpy(h, next, (size_t)hidden * sizeof *h);
}

/* x [B, 4, 3]; `layers` of hidden size 2, maybe both ways. */
static void stack(Model *model, char kind, int layers, bool both, double *out) {
    const Array *x = model_input(model, "x");
    enum { T = 4, HIDDEN = 2 };
    for (int64_t row = 0; row < x->dims[0]; row++) {
        double in[T][MOST], made[T][MOST];
        int64_t wide = 3;
        for (int t = 0; t < T; t++) {
            memcpy(in[t], x->v + (row * T + t) * 3, 3 * sizeof(double));
        }
        for (int layer = 0; layer < layers; layer++) {
            for (int way = 0; way < 1 + both; way++) {
                char suffix[32];
                double h[MOST] = {0}, c[MOST] = {0};
                snprintf(suffix, sizeof suffix, "l%d%s", layer, way ? "_reverse" : "");
                for (int t = 0; t < T; t++) {
                    int at = way ? T - 1 - t : t;
                    cell(model, kind, suffix, in[at], wide, h, c, HIDDEN);
                    memcpy(made[at] + way * HIDDEN, h, HIDDEN * sizeof *h);
                }
            }
            wide = HIDDEN * (1 + both);
            memcpy(in, made, sizeof in);
        }
        for (int t = 0; t < T; t++) {
            memcpy(out + (row * T + t) * wide, in[t], (size_t)wide * sizeof *out);
        }
    }
}
#define STACK(name, kind, layers, both)                                                            \
    static void r_##name(Model *model, const Array *y, double *out) {                              \
        (void)y;                                                                                   \
        stack(model, kind, layers, both, out);                                                     \
    }
STACK(lstm, 'l', 1, false)
STACK(lstm2, 'l', 2, false)
STACK(lstm_both, 'l', 2, true)
STACK(gru, 'g', 1, false)
STACK(gru_both, 'g', 2, true)
STACK(rnn, 'r', 1, false)
STACK(rnn_both, 'r', 2, true)

/* From given states: y is outputs, last h (and last c) side by side, [B, 4 * 2 + 2 (+ 2)]. */
static void from_state(Model *model, char kind, double *out) {
    const Array *x = model_input(model, "x"), *h0 = model_input(model, "h0");
    int64_t wide = kind == 'l' ? 12 : 10;
    for (int64_t row = 0; row < x->dims[0]; row++) {
        double h[MOST] = {0}, c[MOST] = {0};
        memcpy(h, h0->v + row * 2, 2 * sizeof *h);
        if (kind == 'l') {
            memcpy(c, model_input(model, "c0")->v + row * 2, 2 * sizeof *c);
        }
        for (int t = 0; t < 4; t++) {
            cell(model, kind, "l0", x->v + (row * 4 + t) * 3, 3, h, c, 2);
            memcpy(out + row * wide + t * 2, h, 2 * sizeof *h);
        }
        memcpy(out + row * wide + 8, h, 2 * sizeof *h);
        if (kind == 'l') {
            memcpy(out + row * wide + 10, c, 2 * sizeof *c);
        }
    }
}
static void r_lstm_from(Model *model, const Array *y, double *out) {
    (void)y;
    from_state(model, 'l', out);
}
static void r_gru_from(Model *model, const Array *y, double *out) {
    (void)y;
    from_state(model, 'g', out);
}

#define X "x: f64[B, 4, 3]"
static const Case CASES[] = {
    {"lstm", X, "y = lstm(x, 2)", 0, r_lstm, NULL},
    {"lstm 2 layers", X, "y = lstm(x, 2, layers=2)", 0, r_lstm2, NULL},
    {"lstm bidirectional", X, "y = lstm(x, 2, layers=2, bidirectional=true)", CASE_FIRST_ONLY,
     r_lstm_both, NULL},
    {"lstm no bias", X, "y = lstm(x, 2, bias=false)", CASE_FIRST_ONLY, r_lstm, NULL},
    {"lstm dropout", X, "y = lstm(x, 2, layers=2, dropout_rate=0.3)",
     CASE_FIRST_ONLY | CASE_TRAINING, r_lstm2, NULL},
    {"lstm_from", X ", h0: f64[B, 2], c0: f64[B, 2]",
     "a, h, c = lstm_from(x, h0, c0)\n    y = concat({b t k -> b (t k)}(a), h, c, axis=1)", 0,
     r_lstm_from, NULL},
    {"gru", X, "y = gru(x, 2)", 0, r_gru, NULL},
    {"gru bidirectional", X, "y = gru(x, 2, layers=2, bidirectional=true)", CASE_FIRST_ONLY,
     r_gru_both, NULL},
    {"gru no bias", X, "y = gru(x, 2, bias=false)", CASE_FIRST_ONLY, r_gru, NULL},
    {"gru_from", X ", h0: f64[B, 2]",
     "a, h = gru_from(x, h0)\n    y = concat({b t k -> b (t k)}(a), h, axis=1)", 0, r_gru_from,
     NULL},
    {"rnn", X, "y = rnn(x, 2)", 0, r_rnn, NULL},
    {"rnn bidirectional", X, "y = rnn(x, 2, layers=2, bidirectional=true)", CASE_FIRST_ONLY,
     r_rnn_both, NULL},
    {"rnn relu", X, "y = rnn(x, 2, act=relu)", CASE_FIRST_ONLY, NULL, NULL},
};

const Group RECURRENT = {"recurrent", CASES, sizeof CASES / sizeof CASES[0], NULL};
