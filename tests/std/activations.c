/* Activations against their formulas. */
#include "tests/std/model.h"

#include <math.h>

static double f_relu(double x) {
    return x > 0 ? x : 0;
}
static double f_relu6(double x) {
    return fmin(f_relu(x), 6);
}
static double f_leaky(double x) {
    return x > 0 ? x : 0.01 * x;
}
static double f_leaky3(double x) {
    return x > 0 ? x : 0.3 * x;
}
static double f_elu(double x) {
    return x > 0 ? x : exp(x) - 1;
}
static double f_elu7(double x) {
    return x > 0 ? x : 0.7 * (exp(x) - 1);
}
static double f_selu(double x) {
    return 1.0507009873554804934193349852946 *
           (x > 0 ? x : 1.6732632423543772848170429916717 * (exp(x) - 1));
}
static double f_celu(double x) {
    return x > 0 ? x : 0.6 * (exp(x / 0.6) - 1);
}
static double f_gelu(double x) {
    return x * 0.5 * erfc(-x / sqrt(2));
}
static double f_gelu_tanh(double x) {
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static double f_sigmoid(double x) {
    return 1 / (1 + exp(-x));
}
static double f_quick_gelu(double x) {
    return x * f_sigmoid(1.702 * x);
}
static double f_silu(double x) {
    return x * f_sigmoid(x);
}
static double f_swish(double x) {
    return x * f_sigmoid(1.5 * x);
}
static double f_softplus(double x) {
    return log(1 + exp(x));
}
static double f_softplus2(double x) {
    return log(1 + exp(2 * x)) / 2;
}
static double f_mish(double x) {
    return x * tanh(f_softplus(x));
}
static double f_softsign(double x) {
    return x / (1 + fabs(x));
}
static double f_tanhshrink(double x) {
    return x - tanh(x);
}
static double f_hardshrink(double x) {
    return fabs(x) > 0.5 ? x : 0;
}
static double f_softshrink(double x) {
    return x > 0.5 ? x - 0.5 : x < -0.5 ? x + 0.5 : 0;
}
static double f_threshold(double x) {
    return x > 0.3 ? x : -1.5;
}
static double f_hardsigmoid(double x) {
    return fmin(fmax(x / 6 + 0.5, 0), 1);
}
static double f_hardswish(double x) {
    return x * f_hardsigmoid(x);
}
static double f_hardtanh(double x) {
    return fmin(fmax(x, -1), 1);
}
static double f_hardtanh2(double x) {
    return fmin(fmax(x, -2), 3);
}
static double f_log_sigmoid(double x) {
    return -log(1 + exp(-x));
}

/* Rows of `inner`-strided vectors of length n along an axis. */
static void softmax_along(const Array *x, int axis, double sign, bool take_log, double *out) {
    int64_t n = x->dims[axis], inner = 1;
    for (int i = axis + 1; i < x->rank; i++) {
        inner *= x->dims[i];
    }
    for (int64_t at = 0; at < x->n; at++) {
        int64_t first = at / (n * inner) * (n * inner) + at % inner;
        double total = 0;
        for (int64_t k = 0; k < n; k++) {
            total += exp(sign * x->v[first + k * inner]);
        }
        out[at] = exp(sign * x->v[at]) / total;
        out[at] = take_log ? log(out[at]) : out[at];
    }
}

static void r_softmax(Model *model, const Array *y, double *out) {
    (void)y;
    softmax_along(model_input(model, "x"), 2, 1, false, out);
}
static void r_softmax1(Model *model, const Array *y, double *out) {
    (void)y;
    softmax_along(model_input(model, "x"), 1, 1, false, out);
}
static void r_log_softmax(Model *model, const Array *y, double *out) {
    (void)y;
    softmax_along(model_input(model, "x"), 2, 1, true, out);
}
static void r_log_softmax0(Model *model, const Array *y, double *out) {
    (void)y;
    softmax_along(model_input(model, "x"), 0, 1, true, out);
}
static void r_softmin(Model *model, const Array *y, double *out) {
    (void)y;
    softmax_along(model_input(model, "x"), 2, -1, false, out);
}
/* x is [B, 4, 6]; halves along the last axis. */
static void halves(Model *model, double (*f)(double), bool gate_first, double *out) {
    const Array *x = model_input(model, "x");
    for (int64_t i = 0; i < x->n / 2; i++) {
        double a = x->v[i / 3 * 6 + i % 3], b = x->v[i / 3 * 6 + 3 + i % 3];
        out[i] = gate_first ? f(a) * b : a * f(b);
    }
}
static void r_glu(Model *model, const Array *y, double *out) {
    (void)y;
    halves(model, f_sigmoid, false, out);
}
static void r_swiglu(Model *model, const Array *y, double *out) {
    (void)y;
    halves(model, f_silu, true, out);
}
static void r_geglu(Model *model, const Array *y, double *out) {
    (void)y;
    halves(model, f_gelu, true, out);
}
static void r_prelu(Model *model, const Array *y, double *out) {
    const Array *x = model_input(model, "x"), *w = model_variable(model, "weight");
    for (int64_t i = 0; i < y->n; i++) {
        double slope = w->v[w->n == 1 ? 0 : i / 3 % 4];
        out[i] = x->v[i] > 0 ? x->v[i] : slope * x->v[i];
    }
}

#define X3 "x: f64[B, 4, 3]"
#define X6 "x: f64[B, 4, 6]"
static const Case CASES[] = {
    {"relu", X3, "y = relu(4.0 * x)", CASE_FIRST_ONLY, NULL, f_relu},
    {"relu6", X3, "y = relu6(4.0 * x)", CASE_FIRST_ONLY, NULL, f_relu6},
    {"leaky_relu", X3, "y = leaky_relu(4.0 * x)", 0, NULL, f_leaky},
    {"leaky_relu slope", X3, "y = 4.0 * x |> leaky_relu(slope=0.3)", 0, NULL, f_leaky3},
    {"prelu", X3, "y = prelu(x)", 0, r_prelu, NULL},
    {"prelu channels", X3, "y = prelu(x, channels=true)", 0, r_prelu, NULL},
    {"elu", X3, "y = elu(4.0 * x)", 0, NULL, f_elu},
    {"elu alpha", X3, "y = elu(4.0 * x, 0.7)", 0, NULL, f_elu7},
    {"selu", X3, "y = selu(4.0 * x)", 0, NULL, f_selu},
    {"celu", X3, "y = celu(4.0 * x, alpha=0.6)", 0, NULL, f_celu},
    {"gelu", X3, "y = gelu(4.0 * x)", 0, NULL, f_gelu},
    {"gelu_tanh", X3, "y = gelu_tanh(4.0 * x)", 0, NULL, f_gelu_tanh},
    {"quick_gelu", X3, "y = quick_gelu(4.0 * x)", 0, NULL, f_quick_gelu},
    {"silu", X3, "y = silu(4.0 * x)", 0, NULL, f_silu},
    {"swish", X3, "y = swish(4.0 * x)", 0, NULL, f_silu},
    {"swish beta", X3, "y = swish(4.0 * x, beta=1.5)", 0, NULL, f_swish},
    {"mish", X3, "y = mish(4.0 * x)", 0, NULL, f_mish},
    {"softplus", X3, "y = softplus(4.0 * x)", 0, NULL, f_softplus},
    {"softplus beta", X3, "y = softplus(4.0 * x, beta=2.0)", 0, NULL, f_softplus2},
    {"softsign", X3, "y = softsign(4.0 * x)", 0, NULL, f_softsign},
    {"tanhshrink", X3, "y = tanhshrink(4.0 * x)", 0, NULL, f_tanhshrink},
    {"hardshrink", X3, "y = hardshrink(4.0 * x)", 0, NULL, f_hardshrink},
    {"softshrink", X3, "y = softshrink(4.0 * x)", 0, NULL, f_softshrink},
    {"threshold", X3, "y = threshold(4.0 * x, 0.3, -1.5)", 0, NULL, f_threshold},
    {"hardsigmoid", X3, "y = hardsigmoid(4.0 * x)", CASE_FIRST_ONLY, NULL, f_hardsigmoid},
    {"hardswish", X3, "y = hardswish(4.0 * x)", 0, NULL, f_hardswish},
    {"hardtanh", X3, "y = hardtanh(4.0 * x)", CASE_FIRST_ONLY, NULL, f_hardtanh},
    {"hardtanh limits", X3, "y = hardtanh(4.0 * x, low=-2.0, high=3.0)", 0, NULL, f_hardtanh2},
    {"log_sigmoid", X3, "y = log_sigmoid(4.0 * x)", 0, NULL, f_log_sigmoid},
    {"sigmoid", X3, "y = sigmoid(4.0 * x)", 0, NULL, f_sigmoid},
    {"tanh", X3, "y = tanh(4.0 * x)", 0, NULL, tanh},
    {"softmax", X3, "y = softmax(x)", 0, r_softmax, NULL},
    {"softmax axis", X3, "y = softmax(x, axis=1)", 0, r_softmax1, NULL},
    {"softmax large", X3, "y = softmax(x + 1000.0)", CASE_FIRST_ONLY, NULL, NULL},
    {"log_softmax", X3, "y = log_softmax(x)", 0, r_log_softmax, NULL},
    {"log_softmax batch", X3, "y = log_softmax(x, axis=0)", 0, r_log_softmax0, NULL},
    {"softmin", X3, "y = softmin(x)", 0, r_softmin, NULL},
    {"glu", X6, "y = glu(x)", 0, r_glu, NULL},
    {"glu axis", X6, "y = glu(x, axis=1)", 0, NULL, NULL},
    {"swiglu", X6, "y = swiglu(x)", 0, r_swiglu, NULL},
    {"geglu", X6, "y = geglu(x)", 0, r_geglu, NULL},
    {"gumbel_softmax", X3, "y = gumbel_softmax(x, temperature=0.8)", 0, NULL, NULL},
};

const Group ACTIVATIONS = {"activations", CASES, sizeof CASES / sizeof CASES[0], NULL};
