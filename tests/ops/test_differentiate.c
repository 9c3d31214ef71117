/* What differentiation builds, beyond its numbers: conventions at ties and corners, diagnostics,
 * and that a loop's weights are dealt with once after the loop and costly results are not
 * recomputed. */
#include "tests/ops/harness_test.h"
#include "tests/ops/scan_cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The gradient of sum(build(x)) by the first argument, at the given point, f64 rank 1. What is no
 * parameter may hold nan for what is missing, which is differentiated with more care. */
static void gradient_at(HarnessBuild *build, ArgRole role, const double *point, int64_t n,
                        double *out) {
    Harness *h = harness_begin();
    GUARD(h);
    char spec[32];
    snprintf(spec, sizeof spec, "f64[%lld]", (long long)n);
    Func *func = harness_func(h, spec);
    func->args[0].role = role;
    Builder b = builder_at_end(func, func->body);
    Value *x = func->body->args[0], *slope = NULL;
    Value *y = build(h, &b, &x);
    int64_t axis = 0;
    Value *loss = y->type.rank ? b_reduce(&b, OP_reduce_sum, y, &axis, 1) : y;
    b_grad(&b, loss, &x, 1, &slope);
    FuncResult result = {.role = RESULT_OUTPUT, .name = "g"};
    func_set_results(func, &result, &slope, 1);
    EvalTensor arg = {0}, got = {0};
    harness_args(h, func, spec, 1, &arg);
    memcpy(arg.f, point, (size_t)n * sizeof *point);
    if (!harness_differentiate(h, func) || !harness_run(h, func, &arg, &got, false)) {
        fail_msg("%s", h->message);
    }
    memcpy(out, got.f, (size_t)n * sizeof *out);
    harness_free(&arg, 1);
    harness_free(&got, 1);
    harness_end(h);
}

#define EXPECT_GRADIENT(build, n, at, expected)                                                    \
    do {                                                                                           \
        for (int role_ = 0; role_ < 2; role_++) {                                                  \
            double got_[n];                                                                        \
            gradient_at(build, role_ ? ARG_PARAM : ARG_INPUT, at, n, got_);                        \
            for (int i_ = 0; i_ < (n); i_++) {                                                     \
                if (!(fabs(got_[i_] - (expected)[i_]) < 1e-12)) {                                  \
                    fail_msg("%s of %s, element %d: %g, expected %g", #build,                      \
                             role_ ? "a parameter" : "an input", i_, got_[i_], (expected)[i_]);    \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static Value *absolute(Harness *h, Builder *b, Value **x) {
    (void)h;
    return b_unary(b, OP_abs, x[0]);
}

static Value *max_zero(Harness *h, Builder *b, Value **x) {
    (void)h;
    Value *zero = b_constant_like(b, 0, x[0]);
    return b_binary(b, OP_max, x[0], zero);
}

static Value *greatest(Harness *h, Builder *b, Value **x) {
    (void)h;
    int64_t axis = 0;
    return b_reduce(b, OP_reduce_max, x[0], &axis, 1);
}

static Value *product(Harness *h, Builder *b, Value **x) {
    (void)h;
    int64_t axis = 0;
    return b_reduce(b, OP_reduce_prod, x[0], &axis, 1);
}

static Value *power_of(Builder *b, Value *x, double exponent) {
    Value *y = b_constant_like(b, exponent, x);
    return b_binary(b, OP_pow, x, y);
}

static Value *square(Harness *h, Builder *b, Value **x) {
    (void)h;
    return power_of(b, x[0], 2);
}

static Value *power_zero(Harness *h, Builder *b, Value **x) {
    (void)h;
    return power_of(b, x[0], 0);
}

/* The derivative of the square's derivative. */
static Value *square_slope(Harness *h, Builder *b, Value **x) {
    int64_t axis = 0;
    Value *y = square(h, b, x);
    Value *sum = b_reduce(b, OP_reduce_sum, y, &axis, 1), *slope = NULL;
    b_grad(b, sum, x, 1, &slope);
    return slope;
}

static Value *base_two(Harness *h, Builder *b, Value **x) {
    (void)h;
    Value *base = b_constant_like(b, -2, x[0]);
    return b_binary(b, OP_pow, base, x[0]);
}

/* x^5 by a loop that captures x, derived twice: 20 x^3. */
static Value *fifth_power_curve(Harness *h, Builder *b, Value **x) {
    Op *scan = b_scan_begin(b, x, 1, NULL, 0, harness_size(h, "4"), false, 0);
    Builder in = builder_at_end(b->func, scan->blocks[0]);
    Value *next = b_mul(&in, scan->blocks[0]->args[1], x[0]);
    b_yield(&in, &next, 1);
    Value *slope = b_op(b, scan);
    for (int i = 0; i < 2; i++) {
        int64_t axis = 0;
        Value *sum = b_reduce(b, OP_reduce_sum, slope, &axis, 1);
        b_grad(b, sum, x, 1, &slope);
    }
    return slope;
}

static Value *zero_to_the(Harness *h, Builder *b, Value **x) {
    (void)h;
    Value *base = b_constant_like(b, 0, x[0]);
    return b_binary(b, OP_pow, base, x[0]);
}

/* x mod 3, and 7 mod x. */
static Value *mod_three(Harness *h, Builder *b, Value **x) {
    (void)h;
    return b_binary(b, OP_mod, x[0], b_constant_like(b, 3, x[0]));
}

static Value *seven_mod(Harness *h, Builder *b, Value **x) {
    (void)h;
    return b_binary(b, OP_mod, b_constant_like(b, 7, x[0]), x[0]);
}

static Value *two_branches(Harness *h, Builder *b, Value **x) {
    (void)h;
    Value *zero = b_constant_like(b, 0, x[0]), *factor = b_constant_like(b, -3, x[0]);
    Value *above = b_binary(b, OP_gt, x[0], zero);
    return b_select(b, above, b_mul(b, x[0], x[0]), b_mul(b, x[0], factor));
}

/* where(x > limit, f(x), 0) or where(x > limit, 0, f(x)). */
static Value *guarded(Builder *b, Value *x, Value *y, double limit, bool below) {
    Value *zero = b_constant_like(b, 0, x);
    Value *above = b_binary(b, OP_gt, x, b_constant_like(b, limit, x));
    return below ? b_select(b, above, zero, y) : b_select(b, above, y, zero);
}

static Value *guarded_log(Harness *h, Builder *b, Value **x) {
    (void)h;
    return guarded(b, x[0], b_unary(b, OP_log, x[0]), 0, false);
}

static Value *guarded_root(Harness *h, Builder *b, Value **x) {
    (void)h;
    return guarded(b, x[0], power_of(b, x[0], 0.5), 0, false);
}

static Value *guarded_quotient(Harness *h, Builder *b, Value **x) {
    (void)h;
    Value *zero = b_constant_like(b, 0, x[0]), *one = b_constant_like(b, 1, x[0]);
    Value *is_zero = b_binary(b, OP_eq, x[0], zero);
    return b_select(b, is_zero, zero, b_binary(b, OP_div, one, x[0]));
}

static Value *guarded_mod(Harness *h, Builder *b, Value **x) {
    (void)h;
    Value *zero = b_constant_like(b, 0, x[0]);
    Value *is_zero = b_binary(b, OP_eq, x[0], zero);
    return b_select(b, is_zero, zero, seven_mod(h, b, x));
}

/* log(x) where x > 1, and once more where not x <= 0: counts twice above 1, once below. */
static Value *log_by_two_guards(Harness *h, Builder *b, Value **x) {
    (void)h;
    Value *y = b_unary(b, OP_log, x[0]), *zero = b_constant_like(b, 0, x[0]);
    Value *low = b_binary(b, OP_le, x[0], zero);
    return b_add(b, guarded(b, x[0], y, 1, false), b_select(b, low, zero, y));
}

/* A guard in a guard: log(x) where x > 0 and not x > 2. */
static Value *log_between(Harness *h, Builder *b, Value **x) {
    (void)h;
    Value *inner = guarded(b, x[0], b_unary(b, OP_log, x[0]), 2, true);
    return guarded(b, x[0], inner, 0, false);
}

/* A product with the factor that a loop does not change, and with one that it does. */
static Value *factors_of_a_loop(Harness *h, Builder *b, Value **x) {
    Value *start[1] = {b_constant_like(b, 1, x[0])};
    Op *scan = b_scan_begin(b, start, 1, NULL, 0, harness_size(h, "3"), false, 0);
    Builder in = builder_at_end(b->func, scan->blocks[0]);
    Value *carry = scan->blocks[0]->args[1], *square = b_mul(b, x[0], x[0]);
    Value *next = b_add(&in, b_mul(&in, carry, x[0]), b_mul(&in, square, carry));
    b_yield(&in, &next, 1);
    return b_op(b, scan);
}

/* Where a function is not meant to be computed, its slope does not count, whatever it is. */
static void test_guards(void **state) {
    (void)state;
    const double around_zero[] = {-2, 0, 4};
    EXPECT_GRADIENT(two_branches, 3, around_zero, ((double[]){-3, -3, 8}));
    EXPECT_GRADIENT(guarded_log, 3, around_zero, ((double[]){0, 0, 0.25}));
    EXPECT_GRADIENT(guarded_root, 3, around_zero, ((double[]){0, 0, 0.25}));
    EXPECT_GRADIENT(guarded_quotient, 3, around_zero, ((double[]){-0.25, 0, -0.0625}));
    EXPECT_GRADIENT(guarded_mod, 3, around_zero, ((double[]){4, 0, -1}));
    EXPECT_GRADIENT(log_by_two_guards, 4, ((double[]){-2, 0, 0.5, 4}), ((double[]){0, 0, 2, 0.5}));
    EXPECT_GRADIENT(log_between, 4, ((double[]){-2, 0, 0.5, 4}), ((double[]){0, 0, 2, 0}));
    /* (x + x²)³ */
    EXPECT_GRADIENT(factors_of_a_loop, 3, ((double[]){-2, 0, 1}),
                    ((double[]){3 * 4 * -3, 0, 3 * 4 * 3}));
}

static void test_conventions(void **state) {
    (void)state;
    const double around_zero[] = {-2, 0, 3};
    EXPECT_GRADIENT(absolute, 3, around_zero, ((double[]){-1, 0, 1}));
    EXPECT_GRADIENT(max_zero, 3, around_zero, ((double[]){0, 0.5, 1}));
    EXPECT_GRADIENT(greatest, 3, ((double[]){1, 5, 5}), ((double[]){0, 1, 0}));
    EXPECT_GRADIENT(product, 3, ((double[]){2, 0, 5}), ((double[]){0, 10, 0}));
    EXPECT_GRADIENT(product, 3, ((double[]){0, 0, 5}), ((double[]){0, 0, 0}));
    EXPECT_GRADIENT(square, 3, around_zero, ((double[]){-4, 0, 6}));
    EXPECT_GRADIENT(square_slope, 3, around_zero, ((double[]){2, 2, 2}));
    EXPECT_GRADIENT(fifth_power_curve, 3, around_zero, ((double[]){240, 0, 540}));
    EXPECT_GRADIENT(power_zero, 3, around_zero, ((double[]){0, 0, 0}));
    EXPECT_GRADIENT(base_two, 3, around_zero, ((double[]){0, 0, 0}));
    EXPECT_GRADIENT(zero_to_the, 3, ((double[]){2, 0.5, 1}), ((double[]){0, 0, 0}));
    EXPECT_GRADIENT(mod_three, 3, ((double[]){-2, 1, 7}), ((double[]){1, 1, 1}));
    EXPECT_GRADIENT(seven_mod, 3, ((double[]){-2, 2, 30}), ((double[]){4, -3, 0}));
}

/* Long products: of 300 numbers none, one, two are zero, at either end or inside. */
static void test_long_products(void **state) {
    (void)state;
    enum { N = 300 };
    static const int zeros[][2] = {{-1, -1}, {0, -1}, {17, -1}, {39, -1},
                                   {0, 39},  {3, 4},  {20, 38}};
    for (int k = 0; k < 7; k++) {
        double at[N], wanted[N];
        for (int i = 0; i < N; i++) {
            at[i] = i == zeros[k][0] || i == zeros[k][1] ? 0
                    : i % 3 == 0                         ? -0.5
                    : i % 3 == 1                         ? 2
                                                         : 1;
        }
        for (int i = 0; i < N; i++) {
            wanted[i] = 1;
            for (int j = 0; j < N; j++) {
                wanted[i] *= i == j ? 1 : at[j];
            }
        }
        EXPECT_GRADIENT(product, N, at, wanted);
    }
}

static const Diag *last_diag(const Harness *h) {
    return h->context.diags.count ? h->context.diags.items[h->context.diags.count - 1] : NULL;
}

/* No path: zeros of the right type, and a warning. */
static void test_no_path(void **state) {
    (void)state;
    Harness *h = harness_begin();
    GUARD(h);
    Func *func = harness_func(h, "f64[] f64[2,3]");
    Builder b = builder_at_end(func, func->body);
    Value *slopes[2];
    b_grad(&b, func->body->args[0], func->body->args, 2, slopes);
    FuncResult results[2] = {{.role = RESULT_OUTPUT, .name = "a"},
                             {.role = RESULT_OUTPUT, .name = "b"}};
    func_set_results(func, results, slopes, 2);
    EvalTensor args[2] = {0}, got[2] = {0};
    harness_args(h, func, "f64[] f64[2,3]", 1, args);
    assert_true(harness_differentiate(h, func));
    assert_true(func->properties & PROP_NO_GRAD_OPS);
    assert_true(harness_run(h, func, args, got, false));
    assert_true(got[0].f[0] == 1);
    assert_int_equal(got[1].n, 6);
    for (int i = 0; i < 6; i++) {
        assert_true(got[1].f[i] == 0);
    }
    assert_non_null(last_diag(h));
    assert_int_equal(last_diag(h)->id, DIAG_GRAD_ZERO);
    harness_free(args, 2);
    harness_free(got, 2);
    harness_end(h);
}

static void test_while(void **state) {
    (void)state;
    Harness *h = harness_begin();
    GUARD(h);
    Func *func = harness_func(h, "f64[]");
    Builder b = builder_at_end(func, func->body);
    Value *x = func->body->args[0], *slope = NULL;
    Op *loop = b_while_begin(&b, &x, 1, 9);
    Builder condition = builder_at_end(func, loop->blocks[0]);
    Value *limit = b_constant(&condition, 100, type_scalar(DT_F64));
    Value *again = b_binary(&condition, OP_lt, loop->blocks[0]->args[0], limit);
    b_yield(&condition, &again, 1);
    Builder body = builder_at_end(func, loop->blocks[1]);
    Value *twice = b_add(&body, loop->blocks[1]->args[0], loop->blocks[1]->args[0]);
    b_yield(&body, &twice, 1);
    Value *y = b_op(&b, loop);
    b_grad(&b, y, &x, 1, &slope);
    FuncResult result = {.role = RESULT_OUTPUT, .name = "g"};
    func_set_results(func, &result, &slope, 1);
    harness_differentiate(h, func);
    assert_int_equal(h->context.diags.n_errors, 1);
    bool found = false;
    for (size_t i = 0; i < h->context.diags.count; i++) {
        found = found || h->context.diags.items[i]->id == DIAG_GRAD_WHILE;
    }
    assert_true(found);
    harness_end(h);
}

typedef struct Counts {
    int scans, contracts_inside, contracts_outside;
} Counts;

static void count_op(Op *op, void *user) {
    Counts *counts = user;
    counts->scans += op->code == OP_scan;
    if (op->code == OP_contract && op->parent->owner) {
        counts->contracts_inside++;
    } else if (op->code == OP_contract) {
        counts->contracts_outside++;
    }
}

/* An LSTM's step has one contraction: forward once, backward once for the state; the weight's
 * gradient is one contraction after the loop, and nothing is contracted again in the reverse loop.
 */
static void test_recurrent_weights(void **state) {
    (void)state;
    Harness *h = harness_begin();
    GUARD(h);
    Func *func = harness_func(h, "f64[T,2,8] f64[8,2]");
    Builder b = builder_at_end(func, func->body);
    Value *y = scan_lstm(h, &b, func->body->args);
    Value *loss = harness_loss(&b, y), *slopes[2];
    b_grad(&b, loss, func->body->args, 2, slopes);
    FuncResult results[2] = {{.role = RESULT_OUTPUT, .name = "a"},
                             {.role = RESULT_OUTPUT, .name = "b"}};
    func_set_results(func, results, slopes, 2);
    assert_true(harness_differentiate(h, func));
    Counts counts = {0};
    func_each_op(func, count_op, &counts);
    assert_int_equal(counts.scans, 2);
    assert_int_equal(counts.contracts_inside, 2);
    assert_int_equal(counts.contracts_outside, 1);
    harness_end(h);
}

/* One large contraction a weight, one reduction a bias, whatever the length. */
static void test_rnn_weights(void **state) {
    (void)state;
    Harness *h = harness_begin();
    GUARD(h);
    Func *func = harness_func(h, "f64[T,B,2] f64[3,3] f64[3,2] f64[3] f64[B,3]");
    Builder b = builder_at_end(func, func->body);
    Value *y = scan_rnn(h, &b, func->body->args);
    Value *loss = harness_loss(&b, y), *slopes[3];
    b_grad(&b, loss, func->body->args + 1, 3, slopes);
    FuncResult results[3] = {{.role = RESULT_OUTPUT, .name = "a"},
                             {.role = RESULT_OUTPUT, .name = "b"},
                             {.role = RESULT_OUTPUT, .name = "c"}};
    func_set_results(func, results, slopes, 3);
    assert_true(harness_differentiate(h, func));
    Counts counts = {0};
    func_each_op(func, count_op, &counts);
    assert_int_equal(counts.contracts_inside, 3); /* forward: two; backward: the state's */
    assert_int_equal(counts.contracts_outside, 2);
    harness_end(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conventions),   cmocka_unit_test(test_guards),
        cmocka_unit_test(test_long_products), cmocka_unit_test(test_no_path),
        cmocka_unit_test(test_while),         cmocka_unit_test(test_recurrent_weights),
        cmocka_unit_test(test_rnn_weights),
    };
    return cmocka_run_group_tests_name("differentiate", tests, NULL, NULL);
}
