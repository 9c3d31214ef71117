/* Every transcendental function that kernels inline, compiled as kernels are and compared with libm
 * at the next wider type: dense and special arguments, errors in units of the last place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/kernel_run.h"
#include <math.h>

enum { N_SAMPLES = 1 << 20 };

typedef struct Case {
    OpCode op;
    double low, high; /* range of most samples */
    long double (*wide)(long double);
    double limit_f32, limit_f64; /* ulp */
} Case;

static long double wide_sigmoid(long double x) {
    return 1.0L / (1.0L + expl(-x));
}
static long double wide_rsqrt(long double x) {
    return 1.0L / sqrtl(x);
}

static const Case cases[] = {
    {OP_exp, -110, 95, expl, 2, 2},
    {OP_expm1, -30, 95, expm1l, 3, 3},
    {OP_log, 0, 100, logl, 2, 2},
    {OP_log1p, -1, 50, log1pl, 3, 3},
    {OP_sin, -300, 300, sinl, 2, 2},
    {OP_cos, -300, 300, cosl, 2, 2},
    {OP_tan, -300, 300, tanl, 4, 4},
    {OP_asin, -1, 1, asinl, 3, 4},
    {OP_acos, -1, 1, acosl, 3, 4},
    {OP_atan, -30, 30, atanl, 3, 3},
    {OP_tanh, -12, 12, tanhl, 4, 4},
    {OP_erf, -6, 6, erfl, 3, 4},
    {OP_sigmoid, -100, 100, wide_sigmoid, 3, 3},
    {OP_sqrt, 0, 1e5, sqrtl, 0.51, 0.51},
    {OP_rsqrt, 0, 1e5, wide_rsqrt, 1.6, 1.6},
};

/* out[i] = op(a[i]) or op(a[i], b[i]) in a vector loop. */
static Kernel *map_kernel(Arena *arena, OpCode op, DType dtype, int arity) {
    Kernel *kernel = x_kernel(arena, "map", 3);
    for (int i = 0; i < 3; i++) {
        kernel->buffers[i].dtype = dtype;
    }
    kernel->buffers[0].is_written = true;
    KVar *var = x_make_var(arena, kernel, DT_I64, false);
    const KExpr *at = x_var(arena, var);
    const KExpr *a = x_load(arena, 1, dtype, at);
    const KExpr *b = arity == 2 ? x_load(arena, 2, dtype, at) : NULL;
    KStmt *store = x_store(arena, 0, at, x_op(arena, op, dtype, a, b));
    kernel->body = x_for(arena, KL_VECTOR, var, x_int(arena, N_SAMPLES), store);
    return kernel;
}

static double ulp_f32(long double wide, float got) {
    if (isnan(wide) || isnan(got)) {
        return isnan(wide) && isnan(got) ? 0 : INFINITY;
    }
    float rounded = (float)wide;
    if (isinf(rounded) || isinf(got)) {
        return rounded == got                                        ? 0
               : fabsl(wide) > 3.4028e38L && fabsf(got) > 3.4028e38f ? 0
                                                                     : INFINITY;
    }
    if (wide == 0 && got == 0) {
        return !signbit(wide) == !signbit(got) ? 0 : INFINITY;
    }
    int e;
    frexpl(wide, &e);
    e = e < -125 ? -125 : e;
    return (double)(fabsl((long double)got - wide) / ldexpl(1.0L, e - 24));
}

static double ulp_f64(long double wide, double got) {
    if (isnan(wide) || isnan(got)) {
        return isnan(wide) && isnan(got) ? 0 : INFINITY;
    }
    double rounded = (double)wide;
    if (isinf(rounded) || isinf(got)) {
        return rounded == got                                        ? 0
               : fabsl(wide) > 1.7976e308L && fabs(got) > 1.7976e308 ? 0
                                                                     : INFINITY;
    }
    if (wide == 0 && got == 0) {
        return !signbit(wide) == !signbit(got) ? 0 : INFINITY;
    }
    int e;
    frexpl(wide, &e);
    e = e < -1021 ? -1021 : e;
    return (double)(fabsl((long double)got - wide) / ldexpl(1.0L, e - 53));
}

static uint64_t next_random(uint64_t *state) {
    *state += 0x9E3779B97F4A7C15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* A third uniform in the range, a third around zero on all scales, then special values. */
static double sample(int i, double low, double high, bool is_f32, uint64_t *state) {
    static const double special[] = {0.0,
                                     -0.0,
                                     1.0,
                                     -1.0,
                                     0.5,
                                     -0.5,
                                     INFINITY,
                                     -INFINITY,
                                     NAN,
                                     1e-40,
                                     -1e-40,
                                     1e-310,
                                     -1e-310,
                                     3.4e38,
                                     -3.4e38,
                                     1e300,
                                     1.17549435e-38,
                                     2.2250738585072014e-308,
                                     2.0,
                                     3.0};
    int n_special = (int)(sizeof(special) / sizeof(special[0]));
    double unit = (double)(next_random(state) >> 11) * 0x1p-53;
    if (i < n_special) {
        return special[i];
    }
    if (i % 3 == 0) {
        int scale = (int)(next_random(state) % (is_f32 ? 40 : 300));
        double v = ldexp(unit + 0.5, -scale);
        return low < 0 && (next_random(state) & 1) ? -v : v;
    }
    return low + (high - low) * unit;
}

static Boundary boundary;

static void test_unary(void **state) {
    (void)state;
    Arena arena;
    arena_init(&arena, NULL, &boundary);
    Machine machine;
    assert_true(run_machine(NULL, &arena, &machine));
    enum { N = sizeof(cases) / sizeof(cases[0]) };
    Kernel *kernels[2 * N];
    for (int i = 0; i < N; i++) {
        kernels[2 * i] = map_kernel(&arena, cases[i].op, DT_F32, 1);
        kernels[2 * i + 1] = map_kernel(&arena, cases[i].op, DT_F64, 1);
    }
    RunCode code;
    assert_true(run_compile(&machine, kernels, 2 * N, 2, &code));
    float *x32 = malloc(sizeof(float) * N_SAMPLES), *y32 = malloc(sizeof(float) * N_SAMPLES);
    double *x64 = malloc(sizeof(double) * N_SAMPLES), *y64 = malloc(sizeof(double) * N_SAMPLES);
    bool good = true;
    for (int c = 0; c < N; c++) {
        uint64_t seed = 7;
        for (int i = 0; i < N_SAMPLES; i++) {
            x32[i] = (float)sample(i, cases[c].low, cases[c].high, true, &seed);
            double v = sample(i, cases[c].low, cases[c].high, false, &seed);
            x64[i] = v;
        }
        KernelFault fault = {0};
        void *buffers[3] = {y32, x32, x32};
        KernelArgs args = {.buffers = buffers, .fault = &fault};
        run_function(&code, 2 * c)(&args, 0, 1);
        void *buffers64[3] = {y64, x64, x64};
        args.buffers = buffers64;
        run_function(&code, 2 * c + 1)(&args, 0, 1);
        double worst32 = 0, worst64 = 0, at32 = 0, at64 = 0;
        bool trigonometric =
            cases[c].op == OP_sin || cases[c].op == OP_cos || cases[c].op == OP_tan;
        for (int i = 0; i < N_SAMPLES; i++) {
            double u = ulp_f32(cases[c].wide(x32[i]), y32[i]);
            if (u > worst32 && !(trigonometric && fabsf(x32[i]) > 1e6f && isfinite(x32[i]))) {
                worst32 = u;
                at32 = x32[i];
            }
            u = ulp_f64(cases[c].wide(x64[i]), y64[i]);
            if (u > worst64 && !(trigonometric && fabs(x64[i]) > 1e6 && isfinite(x64[i]))) {
                worst64 = u;
                at64 = x64[i];
            }
        }
        print_message("%-8s f32 %6.2f ulp at %-14.8g f64 %6.2f ulp at %.17g\n",
                      op_info(cases[c].op)->name, worst32, at32, worst64, at64);
        good = good && worst32 <= cases[c].limit_f32 && worst64 <= cases[c].limit_f64;
    }
    run_finish(&code);
    free(x32);
    free(y32);
    free(x64);
    free(y64);
    arena_finish(&arena);
    assert_true(good);
}

static void test_binary(void **state) {
    (void)state;
    static const OpCode ops[] = {OP_pow, OP_atan2};
    static const double specials[] = {0.0, -0.0, 1.0,      -1.0,      0.5, -0.5,  2.0, -2.0,
                                      3.0, -3.0, INFINITY, -INFINITY, NAN, 1e-40, 2.5, -2.5};
    enum { N_SPECIAL = sizeof(specials) / sizeof(specials[0]) };
    Arena arena;
    arena_init(&arena, NULL, &boundary);
    Machine machine;
    assert_true(run_machine(NULL, &arena, &machine));
    Kernel *kernels[4];
    for (int i = 0; i < 4; i++) {
        kernels[i] = map_kernel(&arena, ops[i / 2], i % 2 ? DT_F64 : DT_F32, 2);
    }
    RunCode code;
    assert_true(run_compile(&machine, kernels, 4, 2, &code));
    double *a = malloc(sizeof(double) * N_SAMPLES), *b = malloc(sizeof(double) * N_SAMPLES);
    double *y = malloc(sizeof(double) * N_SAMPLES);
    float *a32 = malloc(sizeof(float) * N_SAMPLES), *b32 = malloc(sizeof(float) * N_SAMPLES);
    float *y32 = malloc(sizeof(float) * N_SAMPLES);
    for (int op = 0; op < 2; op++) {
        uint64_t seed = 11;
        for (int i = 0; i < N_SAMPLES; i++) {
            double u = (double)(next_random(&seed) >> 11) * 0x1p-53;
            double v = (double)(next_random(&seed) >> 11) * 0x1p-53;
            a[i] = op == 0 ? exp(20 * (u - 0.5)) : 20 * (u - 0.5);
            b[i] = i % 2 ? 60 * (v - 0.5) : floor(20 * (v - 0.5));
            if (i < N_SPECIAL * N_SPECIAL) {
                a[i] = specials[i / N_SPECIAL];
                b[i] = specials[i % N_SPECIAL];
            } else if (i % 16 == 0) {
                a[i] = -a[i];
            } else if (i % 16 == 1) {
                a[i] = 1.0 + (u - 0.5) * 1e-3;
                b[i] = b[i] * 1e4;
            }
            a32[i] = (float)a[i];
            b32[i] = (float)b[i];
        }
        KernelFault fault = {0};
        void *buffers32[3] = {y32, a32, b32}, *buffers64[3] = {y, a, b};
        KernelArgs args = {.buffers = buffers32, .fault = &fault};
        run_function(&code, 2 * op)(&args, 0, 1);
        args.buffers = buffers64;
        run_function(&code, 2 * op + 1)(&args, 0, 1);
        double worst32 = 0, worst64 = 0;
        int at32 = 0, at64 = 0;
        for (int i = 0; i < N_SAMPLES; i++) {
            long double w = op == 0 ? powl(a32[i], b32[i]) : atan2l(a32[i], b32[i]);
            double u = ulp_f32(w, y32[i]);
            if (u > worst32) {
                worst32 = u;
                at32 = i;
            }
            w = op == 0 ? powl(a[i], b[i]) : atan2l(a[i], b[i]);
            u = ulp_f64(w, y[i]);
            if (u > worst64) {
                worst64 = u;
                at64 = i;
            }
        }
        print_message("%-8s f32 %6.2f ulp at (%.8g, %.8g), f64 %6.2f ulp at (%.17g, %.17g)\n",
                      op_info(ops[op])->name, worst32, (double)a32[at32], (double)b32[at32],
                      worst64, a[at64], b[at64]);
        assert_true(worst32 <= 4 && worst64 <= 8);
    }
    run_finish(&code);
    free(a);
    free(b);
    free(y);
    free(a32);
    free(b32);
    free(y32);
    arena_finish(&arena);
}

int main(void) {
    if (setjmp(boundary.jump)) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary),
        cmocka_unit_test(test_binary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
