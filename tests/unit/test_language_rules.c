/* What expressions and train blocks mean, in numbers: small programs whose results are known by
 * heart. */
#include "dlc/dlc.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static dlc_context *context;

static int setup(void **state) {
    (void)state;
    return dlc_context_create(NULL, &context) == DLC_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    dlc_context_destroy(context);
    return 0;
}

static dlc_session *open_session(const char *text, dlc_plan **out_plan) {
    dlc_compile_options options = {.struct_size = sizeof(options)};
    dlc_session_options run = {.struct_size = sizeof(run), .threads = 1};
    dlc_session *session = NULL;
    *out_plan = NULL;
    if (dlc_compile(context, text, strlen(text), &options, out_plan) != DLC_OK) {
        fail_msg("%s\n%s\n%s", dlc_last_error(context), dlc_diagnostics_text(context, 0), text);
    }
    if (dlc_session_create(*out_plan, &run, &session) != DLC_OK ||
        dlc_init_weights(session) != DLC_OK) {
        fail_msg("%s\n%s", dlc_last_error(context), text);
    }
    return session;
}

static void give(dlc_session *session, const char *entry, const char *name, const float *values,
                 int64_t n) {
    int64_t shape[] = {n};
    DLTensor tensor = {.data = (void *)(uintptr_t)values,
                       .device = {kDLCPU, 0},
                       .ndim = 1,
                       .dtype = {kDLFloat, 32, 1},
                       .shape = shape};
    if (dlc_set_input(session, entry, name, &tensor) != DLC_OK) {
        fail_msg("%s", dlc_last_error(context));
    }
}

static double element(const DLTensor *t, int64_t i) {
    switch (t->dtype.code) {
    case kDLFloat:
        return t->dtype.bits == 64 ? ((const double *)t->data)[i]
                                   : (double)((const float *)t->data)[i];
    case kDLInt:
        return t->dtype.bits == 64 ? (double)((const int64_t *)t->data)[i]
                                   : ((const int32_t *)t->data)[i];
    default:
        return ((const uint8_t *)t->data)[i];
    }
}

/* -- expressions */

/* x is [1, 2, 3, 4, 5, 6], y is [-2, 0.5, 3, 0, 7, -1], both f32[6]. */
static const struct {
    const char *text, *wanted;
} expressions[] = {
    /* powers */
    {"x ** 2", "1 4 9 16 25 36"},
    {"x ** 3", "1 8 27 64 125 216"},
    {"x ** 4", "1 16 81 256 625 1296"},
    {"x ** 7", "1 128 2187 16384 78125 279936"},
    {"x ** 0", "1 1 1 1 1 1"},
    {"x[0:4] ** -1", "1 0.5 0.33333333 0.25"},
    {"x[0:4] ** -2", "1 0.25 0.11111111 0.0625"},
    {"x[0:4] ** -3", "1 0.125 0.037037037 0.015625"},
    {"x[0:2] ** -4", "1 0.0625"},
    {"x[0:2] ** -5", "1 0.03125"},
    {"x[0:4] ** 0.5", "1 1.41421356 1.73205081 2"},
    {"2 ** x[0:4]", "2 4 8 16"},
    {"y ** 3", "-8 0.125 27 0 343 -1"},
    /* the order of operators, signs */
    {"-x[0:2] ** 2", "-1 -4"},
    {"x[0:2] - -x[0:2]", "2 4"},
    {"x[5] - x[4] - x[3]", "-3"},
    {"x[5] / x[1] / x[2]", "1"},
    {"x[0:3] * 2 + 1", "3 5 7"},
    {"1 - x[0:3] % 2", "0 1 0"},
    {"y % 3", "1 0.5 0 0 1 2"},
    /* lines that go on */
    {"x[0:2] +\n        1", "2 3"},
    {"x[0:2] -\n        1", "0 1"},
    {"x[0:2] *\n        2", "2 4"},
    {"x[0:2] /\n        2", "0.5 1"},
    {"x[0:2] %\n        2", "1 0"},
    {"x[0:2] **\n        2", "1 4"},
    {"sum(\n        x\n    )", "21"},
    {"x[\n        1]", "2"},
    {"where(x[0:2] ==\n        2, 1.0, 0.0)", "0 1"},
    {"where(x[0:2] !=\n        2, 1.0, 0.0)", "1 0"},
    {"where(x[0:2] <\n        2, 1.0, 0.0)", "1 0"},
    {"where(x[0:2] <=\n        1, 1.0, 0.0)", "1 0"},
    {"where(x[0:2] >\n        1 and\n        x[0:2] >=\n        2 or\n        false, 1.0, 0.0)",
     "0 1"},
    {"x[0:2] |>\n        sum", "3"},
    {"x[0:2]\n        |> sum", "3"},
    /* comparisons */
    {"where(x < 3, x, -x)", "1 2 -3 -4 -5 -6"},
    {"where(x <= 3, x, -x)", "1 2 3 -4 -5 -6"},
    {"where(x > 3 and x < 6, 1.0, 0.0)", "0 0 0 1 1 0"},
    {"where(x == 3 or x != x, 1.0, 0.0)", "0 0 1 0 0 0"},
    {"where(not (y > 0), 1.0, 0.0)", "1 0 0 1 0 1"},
    /* sizes at compile time */
    {"x * (1.0 if 6 < 6 else 2.0)", "2 4 6 8 10 12"},
    {"x * (1.0 if 6 <= 6 else 2.0)", "1 2 3 4 5 6"},
    {"x * (1.0 if 6 > 6 else 2.0)", "2 4 6 8 10 12"},
    {"x * (1.0 if 6 >= 7 else 2.0)", "2 4 6 8 10 12"},
    {"x * (1.0 if 5 < 6 else 2.0)", "1 2 3 4 5 6"},
    /* indexing */
    {"x[2]", "3"},
    {"x[-1]", "6"},
    {"x[-6]", "1"},
    {"x[1:3]", "2 3"},
    {"x[:-2]", "1 2 3 4"},
    {"x[::2]", "1 3 5"},
    {"x[1::2]", "2 4 6"},
    {"x[::4]", "1 5"},
    {"x[0:5:3]", "1 4"},
    {"x[5:6]", "6"},
    {"x[cast(reshape(x[0:4], [2, 2]), i32)]", "2 3 4 5"},
    {"slice(x, 2, 3, 0)", "3 4 5"},
    {"update(x, y[0:2], 3, 0)", "1 2 3 -2 0.5 6"},
    /* lists */
    {"x * [1, 2, 3, 4, 5, 6][2]", "3 6 9 12 15 18"},
    {"x * [1, 2, 3, 4, 5, 6][-1]", "6 12 18 24 30 36"},
    {"x[0:2] * [1, 2, 3, 4, 5][1:3]", "2 6"},
    {"x[0:3] * [1, 2, 3, 4, 5][::2]", "1 6 15"},
    {"x[0:2] * [1, 2, 3, 4, 5][1::2]", "2 8"},
    {"x[0:2] * [1, 2, 3, 4, 5][::3]", "1 8"},
    /* axis functions: x as a [2, 3], y as a [3, 2] */
    {"{i j -> j i}(reshape(x, [2, 3]))", "1 4 2 5 3 6"},
    {"{i j, j k -> i k}(reshape(x, [2, 3]), reshape(y, [3, 2]))", "25 -2.5 49 -4"},
    {"{i j, j k -> k i}(reshape(x, [2, 3]), reshape(y, [3, 2]))", "25 49 -2.5 -4"},
    {"{i j, k j -> i k}(reshape(x, [2, 3]), reshape(y, [2, 3]))", "8 11 12.5 29"},
    {"{i j, i j -> i}(reshape(x, [2, 3]), reshape(y, [2, 3]))", "8 29"},
    {"{i j, i j -> j}(reshape(x, [2, 3]), reshape(y, [2, 3]))", "-2 36 3"},
    {"{i j, j k, k l -> i l}(reshape(x, [2, 3]), reshape(y, [3, 2]), reshape(x[0:4], [2, 2]))",
     "17.5 40 37 82"},
    {"{i j, j, j k -> i k}(reshape(x, [2, 3]), y[0:3], reshape(y, [3, 2]))", "70 -10 149.5 -22"},
    {"{i j, i, j -> i j}(reshape(x, [2, 3]), y[0:2], y[2:5])", "-6 0 -42 6 0 21"},
    {"{i i -> i}(reshape(x[0:4], [2, 2]))", "1 4"},
    {"{(a=2 b) -> b a}(x)", "1 4 2 5 3 6"},
    {"{i j -> (j i)}(reshape(x, [2, 3]))", "1 4 2 5 3 6"},
    {"{i j -> i by mean}(reshape(x, [2, 3]))", "2 5"},
    {"{i j -> j by max}(reshape(x, [2, 3]))", "4 5 6"},
    {"{i -> b=2 i}(x[0:2])", "1 2 1 2"},
    /* numbers and types */
    {"cast(x, i32) * 2", "2 4 6 8 10 12"},
    {"cast(x, i32) % 4", "1 2 3 0 1 2"},
    {"cast(x, i32) ** 2", "1 4 9 16 25 36"},
    {"cast(y, i32)", "-2 0 3 0 7 -1"},
    {"x[0:2] if true else x[2:4]", "1 2"},
    {"maximum(x, y)", "1 2 3 4 7 6"},
    {"sort(y)", "-2 -1 0 0.5 3 7"},
    {"cumsum(x, 0)", "1 3 6 10 15 21"},
};

static void check_program(const char *what, const char *text, const char *wanted) {
    static const float x[] = {1, 2, 3, 4, 5, 6}, y[] = {-2, 0.5, 3, 0, 7, -1};
    dlc_plan *plan;
    dlc_session *session = open_session(text, &plan);
    give(session, "infer", "x", x, 6);
    give(session, "infer", "y", y, 6);
    const DLTensor *out = NULL;
    if (dlc_run(session, "infer") != DLC_OK ||
        dlc_view_output(session, "infer", "out", &out) != DLC_OK) {
        fail_msg("%s: %s", what, dlc_last_error(context));
    }
    int64_t n = 1;
    for (int32_t a = 0; a < out->ndim; a++) {
        n *= out->shape[a];
    }
    const char *at = wanted;
    int64_t i = 0;
    for (char *end; *at; at = end, i++) {
        double number = strtod(at, &end);
        double got = i < n ? element(out, i) : NAN;
        if (!(fabs(got - number) <= 1e-6 * (1 + fabs(number)))) {
            fail_msg("%s: element %d is %.9g, not %.9g", what, (int)i, got, number);
        }
    }
    if (i != n) {
        fail_msg("%s: %d elements, not %d", what, (int)n, (int)i);
    }
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

static void test_expressions(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(expressions) / sizeof(expressions[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 "model m(x: f32[6], y: f32[6]) {\n    keep = x + 0.0 * y\n"
                 "    output out = %s\n    output keep\n}\n",
                 expressions[i].text);
        check_program(expressions[i].text, text, expressions[i].wanted);
    }
}

/* Sizes that are known when it runs compare as far as their ranges tell; the rest is refused. */
static void test_sizes(void **state) {
    (void)state;
    static const struct {
        const char *condition;
        int wanted; /* -1: refused */
    } rows[] = {
        {"N < N", 0},     {"N <= N", 1},     {"N > N", 0},      {"N >= N", 1},     {"N == N", 1},
        {"N != N", 0},    {"N < N + 1", 1},  {"N + 1 <= N", 0}, {"N - 1 < N", 1},  {"2 * N > N", 1},
        {"N < 11", 1},    {"N <= 10", 1},    {"N > 2", 1},      {"N >= 3", 1},     {"N < 3", 0},
        {"N > 10", 0},    {"N <= 2", 0},     {"N >= 11", 0},    {"N == 11", 0},    {"N != 2", 1},
        {"N < 10", -1},   {"N <= 9", -1},    {"N > 3", -1},     {"N >= 4", -1},    {"N == 5", -1},
        {"N % 2 < 2", 1}, {"N / 4 <= 2", 1}, {"N / 4 < 2", -1}, {"2 * N == 7", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text),
                 "dim N in 3..10\nmodel m(x: f32[N], y: f32[6]) {\n"
                 "    output out = sum(x) * 0.0 + (1.0 if %s else 0.0)\n    output y\n}\n",
                 rows[i].condition);
        if (rows[i].wanted >= 0) {
            check_program(rows[i].condition, text, rows[i].wanted ? "1" : "0");
            continue;
        }
        dlc_plan *plan = NULL;
        dlc_compile_options options = {.struct_size = sizeof(options)};
        if (dlc_compile(context, text, strlen(text), &options, &plan) != DLC_ERROR_COMPILE) {
            fail_msg("'%s' for N from 3 to 10 is taken for known", rows[i].condition);
        }
    }
}

static void refuse(const char *what, const char *text) {
    dlc_plan *plan = NULL;
    dlc_compile_options options = {.struct_size = sizeof(options)};
    dlc_status status = dlc_compile(context, text, strlen(text), &options, &plan);
    if (status != DLC_ERROR_COMPILE || dlc_error_count(context) < 1) {
        fail_msg("'%s' is taken: status %d", what, (int)status);
    }
}

/* What no program may say. */
static void test_refused(void **state) {
    (void)state;
    static const char *const rows[] = {
        "x[6]",
        "x[-7]",
        "x[0:7]",
        "x[-7:2]",
        "x[7:]",
        "x[::0]",
        "x * [1, 2, 3][3]",
        "x * [1, 2, 3][-4]",
        "x[0:2] * [1, 2, 3][2:4]",
        "reshape(x, [2, 3])[2]",
        "reshape(x, [2, 3])[0, 3]",
        "reshape(x, [2, 3])[0, 0, 0]",
        "x + y[0:5]",
        "x + cast(x, i32)",

        "cast(x, f64) * cast(x, i64)",
        "x[0.5]",
        "x[cast(x, f64)]",
        "{i, i -> i}(x, y[0:5])",
        "{i, j -> k}(x, y)",
        "{i, i -> i}(cast(x, i32), [1, 2, 3, 4, 5, 6]) + x",
        "{i, i -> i}([1, 2, 3, 4, 5, 6], cast(x, i32)) + x",
        "{i j -> i}(x)",
        "reshape(x, [4, 2])",
        "{(a=4 b) -> a b}(x)",
        "concat(x, x, axis=1)",
        "transpose(x, axes=[1])",
        "x if x[0] > 0 else y",
        "not x",
        "x and y",
        "sum(x, axis=1)",
        "reshape(x, [2, 3]) + reshape(y, [3, 2])",
        "unknown(x)",
        "x.y",
        "x(1)",
        "take(x, 0.0, 0)",
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text),
                 "model m(x: f32[6], y: f32[6]) {\n    output out = %s\n    output x\n"
                 "    output y\n}\n",
                 rows[i]);
        refuse(rows[i], text);
    }
    /* Carries keep their types and shapes. */
    static const char *const bodies[] = {
        "scan a in x carry s = x[0] { s = cast(s, f64) * 2.0 }",
        "scan a in x carry s = cast(x[0], f64) { s = cast(s, f32) }",
        "scan a in x carry s = cast(x[0], i32) { s = s * 0.5 }",
        "scan a in x carry s = cast(x[0], i32) { s = cast(s, i64) }",
        "scan a in x carry s = x[0] > 0.0 { s = cast(s, i32) }",
        "scan a in x carry s = x[0] { s = a > 0.0 }",
        "scan a in x carry s = x[0:2] { s = x[0:3] }",
        "scan a in x carry s = x[0:2] { s = reshape(s, [2, 1]) }",
        "while s < 3.0 carry s = x[0] { s = cast(s, f64) + 1.0 }",
        "while s carry s = x[0] { s = s + 1.0 }",
        "while s < x carry s = x[0] { s = s + 1.0 }",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text), "model m(x: f32[6]) {\n    %s\n    output x\n}\n", bodies[i]);
        refuse(bodies[i], text);
    }
}

/* -- loops and random numbers */

static void test_loops(void **state) {
    (void)state;
    static const struct {
        const char *what, *body, *wanted;
    } rows[] = {
        {"a scan along the second axis",
         "    scan a in reshape(x, [2, 3]) along 1 carry s = zeros([2]) {\n        s = s * 2.0 + "
         "a\n"
         "        yield s\n    } -> ss\n    out = ss\n",
         "1 4 11 4 13 32"},
        {"a scan along the middle of three",
         "    scan a in reshape(x, [1, 3, 2]) along 1 carry s = zeros([1, 2]) {\n"
         "        s = s * 10.0 + a\n    }\n    out = s\n",
         "135 246"},
        {"a scan along the last of three",
         "    scan a in reshape(x, [3, 1, 2]) along 2 carry s = zeros([3, 1]) {\n"
         "        s = s * 10.0 + a\n    }\n    out = s\n",
         "12 34 56"},
        {"two carries that change places",
         "    scan a in x carry p = zeros([]), q = ones([]) {\n        p, q = q, p + a\n    }\n"
         "    out = reshape(p, [1]) * 100.0 + q\n",
         "913"},
        {"a while",
         "    while n < 20.0 carry n = x[0], k = 0.0 {\n        n = n * 3.0\n        k = k + 1.0\n"
         "    }\n    out = reshape(n, [1]) + 100.0 * k\n",
         "327"},
        {"a state that a loop reads",
         "    state k: [1] = ones\n    scan a in x carry p = zeros([1]) {\n        p = p + a * k\n"
         "    }\n    out = p + 100.0 * k\n",
         "121"},
        {"a state that a loop stores",
         "    state k: [1] = ones\n    scan a in x carry p = zeros([1]) {\n        k <- k + 1.0\n"
         "        p = p + k\n    }\n    out = p + 100.0 * k\n",
         "727"},
        {"two states in a loop in a loop",
         "    state k: [1] = ones\n    state l: [1] = zeros\n"
         "    scan a in x[0:3] carry p = zeros([1]) {\n        scan b in x[0:2] carry q = p {\n"
         "            l <- l + k\n            q = q + b * k\n        }\n        p = q\n"
         "        k <- k * 2.0\n    }\n    out = p + 100.0 * k + 10000.0 * l\n",
         "140821"},
        {"unlike draws at unlike places",
         "    a = normal([40], 0.0, 1.0)\n    b = normal([40], 0.0, 1.0)\n"
         "    out = where(reshape(max(abs(a - b)), [1]) > 0.5, 1.0, 0.0)\n",
         "1"},
        {"unlike draws in the turns of a scan",
         "    scan a in x carry p = zeros([40]) {\n        r = normal([40], 0.0, 1.0)\n"
         "        d = max(abs(r - p))\n        p = r\n        yield d\n    } -> ds\n"
         "    out = where(ds > 0.5, 1.0, 0.0)\n",
         "1 1 1 1 1 1"},
        {"unlike draws in the turns of a while",
         "    while n < 4.0 carry n = 0.0, p = zeros([40]), least = 9.0 {\n"
         "        r = normal([40], 0.0, 1.0)\n        least = minimum(least, max(abs(r - p)))\n"
         "        p = r\n        n = n + 1.0\n    }\n"
         "    out = where(reshape(least, [1]) > 0.5, 1.0, 0.0)\n",
         "1"},
        {"unlike draws of one function called twice",
         "    a = noise()\n    b = noise()\n"
         "    out = where(reshape(max(abs(a - b)), [1]) > 0.5, 1.0, 0.0)\n",
         "1"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[2048];
        snprintf(text, sizeof(text),
                 "fn noise() { return normal([40], 0.0, 1.0) }\n"
                 "model m(x: f32[6], y: f32[6]) {\n    keep = x + 0.0 * y\n%s    output out\n"
                 "    output keep\n}\n",
                 rows[i].body);
        check_program(rows[i].what, text, rows[i].wanted);
    }
}

/* A loop whose carry turns out wider than it began draws what it had drawn at once. */
static void test_draws_of_a_loop_begun_anew(void **state) {
    (void)state;
    static const char *const starts[] = {"0.0", "0"};
    float draws[2][24];
    for (int i = 0; i < 2; i++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 "model m(x: f32[6]) {\n    a = normal([2], 0.0, 1.0)\n"
                 "    scan v in x carry s = %s {\n        r = normal([2], 0.0, 1.0)\n"
                 "        s = s * 0.5 + v\n        yield r\n    } -> rs\n"
                 "    b = normal([2], 0.0, 1.0)\n"
                 "    output out = concat(a, reshape(rs, [12]), b, axis=0)\n}\n",
                 starts[i]);
        static const float x[6] = {0};
        dlc_plan *plan;
        dlc_session *session = open_session(text, &plan);
        give(session, "infer", "x", x, 6);
        const DLTensor *out = NULL;
        if (dlc_run(session, "infer") != DLC_OK ||
            dlc_view_output(session, "infer", "out", &out) != DLC_OK) {
            fail_msg("%s", dlc_last_error(context));
        }
        memcpy(draws[i], out->data, 16 * sizeof(float));
        dlc_session_destroy(session);
        dlc_plan_destroy(plan);
    }
    for (int k = 0; k < 16; k++) {
        if (draws[0][k] != draws[1][k]) {
            fail_msg("draw %d is %g where a carry begins at 0, %g at 0.0", k, (double)draws[1][k],
                     (double)draws[0][k]);
        }
    }
}

/* -- train blocks */

/* One step from zeros; the gradients of a, b, c are 1, 2, 4. */
static void test_train_blocks(void **state) {
    (void)state;
    static const struct {
        const char *losses, *settings;
        double a, b, c, lr; /* what is left of them; the rate that a run asks for */
    } rows[] = {
        {"loss k[0] * (a[0] + 2.0 * b[0] + 4.0 * c[0])", "optimizer sgd(lr=1.0)", -1, -2, -4, 0},
        {"loss k[0] * (a[0] + 2.0 * b[0] + 4.0 * c[0])", "optimizer sgd(lr=1.0)", -0.5, -1, -2,
         0.5},
        {"loss k[0] * (a[0] + 2.0 * b[0] + 4.0 * c[0])",
         "optimizer for \"b\" sgd(lr=10.0); optimizer sgd(lr=1.0)", -1, -20, -4, 0},
        {"loss k[0] * (a[0] + 2.0 * b[0] + 4.0 * c[0])",
         "optimizer sgd(lr=1.0); optimizer for \"b\" sgd(lr=10.0)", -1, -20, -4, 0},
        {"loss k[0] * (a[0] + 2.0 * b[0] + 4.0 * c[0])",
         "optimizer for \"b\" sgd(lr=10.0); optimizer for \"*\" sgd(lr=2.0); optimizer sgd(lr=1.0)",
         -2, -20, -8, 0},
        {"loss k[0] * (a[0] + 2.0 * b[0] + 4.0 * c[0])",
         "optimizer for \"*\" sgd(lr=2.0); optimizer for \"b\" sgd(lr=10.0)", -2, -4, -8, 0},
        {"loss k[0] * (a[0] + 2.0 * b[0] + 4.0 * c[0])", "optimizer sgd(lr=1.0); freeze \"b\"", -1,
         0, -4, 0},
        {"loss k[0] * (a[0] + 2.0 * b[0] + 4.0 * c[0])",
         "freeze \"a\"; freeze \"c\"; optimizer sgd(lr=1.0)", 0, -2, 0, 0},
        {"loss la = k[0] * a[0]\n    loss lb = k[0] * (2.0 * b[0] + 4.0 * c[0])",
         "optimizer sgd(lr=1.0)", -1, -2, -4, 0},
        {"loss la = k[0] * (a[0] + 4.0 * c[0])\n    loss lb = k[0] * 2.0 * b[0]\n"
         "    loss lc = k[0] * 0.0",
         "optimizer sgd(lr=1.0)", -1, -2, -4, 0},
        {"loss la = k[0] * (a[0] + 2.0 * b[0])\n    loss lb = k[0] * (7.0 * b[0] + 4.0 * c[0])",
         "minimize la over \"a\" sgd(lr=1.0); minimize lb over \"c\" sgd(lr=2.0)", -1, 0, -8, 0},
        {"loss la = k[0] * (a[0] + 2.0 * b[0])\n    loss lb = k[0] * (7.0 * b[0] + 4.0 * c[0])",
         "minimize la over \"a\", \"b\" sgd(lr=1.0); minimize lb over \"c\" sgd(lr=2.0)", -1, -2,
         -8, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[2048];
        snprintf(text, sizeof(text),
                 "model m(k: f32[1]) {\n    param a: [1] = zeros\n    param b: [1] = zeros\n"
                 "    param c: [1] = zeros\n    state seen: [1] = zeros\n"
                 "    seen <- seen + a + b + c + 1.0\n    output k\n    %s\n}\ntrain m { %s; batch "
                 "1 }\n",
                 rows[i].losses, rows[i].settings);
        dlc_plan *plan;
        dlc_session *session = open_session(text, &plan);
        static const float one[] = {1};
        give(session, "train", "k", one, 1);
        if (rows[i].lr > 0 && dlc_set_scalar(session, "lr", rows[i].lr) != DLC_OK) {
            fail_msg("%s", dlc_last_error(context));
        }
        if (dlc_train_step(session, NULL) != DLC_OK) {
            fail_msg("%s\n%s", dlc_last_error(context), text);
        }
        /* State is stored as the first objective left it, before any parameter moves. */
        static const char *const names[] = {"a", "b", "c", "seen"};
        const double wanted[] = {rows[i].a, rows[i].b, rows[i].c, 1};
        for (int p = 0; p < 4; p++) {
            const DLTensor *view = NULL;
            if (dlc_view_variable(session, names[p], &view) != DLC_OK) {
                fail_msg("%s", dlc_last_error(context));
            }
            if (fabs(element(view, 0) - wanted[p]) > 1e-5) {
                fail_msg("'%s' after one step%s is %g, not %g\n%s", names[p],
                         rows[i].lr > 0 ? " at another rate" : "", element(view, 0), wanted[p],
                         text);
            }
        }
        dlc_session_destroy(session);
        dlc_plan_destroy(plan);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expressions), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_draws_of_a_loop_begun_anew),
        cmocka_unit_test(test_loops),       cmocka_unit_test(test_train_blocks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
