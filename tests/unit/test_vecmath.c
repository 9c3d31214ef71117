/* Every transcendental function that kernels inline, compiled as kernels are and compared with libm
 * at the next wider type: dense and special arguments, errors in units of the last place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/kernel_run.h"
#include <math.h>

enum { N_SAMPLES = 1 << 18 };

typedef struct Case {
    OpCode op;
    double low, high, low64, high64; /* ranges of most samples in f32 and f64 */
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
    {OP_exp, -110, 95, -750, 720, expl, 2, 2},
    {OP_exp2, -151, 129, -1076, 1025, exp2l, 2, 2},
    {OP_expm1, -30, 95, -45, 715, expm1l, 3, 3},
    {OP_log, 0, 100, 0, 100, logl, 2, 2},
    {OP_log2, 0, 100, 0, 100, log2l, 3, 3},
    {OP_log10, 0, 100, 0, 100, log10l, 3, 3},
    {OP_log1p, -1, 50, -1, 50, log1pl, 3, 3},
    {OP_sin, -300, 300, -300, 300, sinl, 2, 2},
    {OP_cos, -300, 300, -300, 300, cosl, 2, 2},
    {OP_tan, -300, 300, -300, 300, tanl, 4, 4},
    {OP_asin, -1, 1, -1, 1, asinl, 3, 4},
    {OP_acos, -1, 1, -1, 1, acosl, 3, 4},
    {OP_atan, -30, 30, -30, 30, atanl, 3, 3},
    {OP_sinh, -90, 90, -712, 712, sinhl, 4, 4},
    {OP_cosh, -90, 90, -712, 712, coshl, 4, 4},
    {OP_tanh, -12, 12, -12, 12, tanhl, 4, 4},
    {OP_erf, -6, 6, -6, 6, erfl, 3, 4},
    {OP_erfc, -4, 11, -6, 27.5, erfcl, 5, 5},
    {OP_sigmoid, -100, 100, -100, 100, wide_sigmoid, 3, 3},
    {OP_sqrt, 0, 1e5, 0, 1e5, sqrtl, 0.51, 0.51},
    {OP_rsqrt, 0, 1e5, 0, 1e5, wide_rsqrt, 1.6, 1.6},
};

/* out[i] = op(a[i]) or op(a[i], b[i]) in a vector loop. */
static Kernel *map_kernel(Context *context, Arena *arena, OpCode op, DType dtype, int arity) {
    const char *type = dtype_name(dtype);
    return run_parse(context, arena,
                     "kernel \"map\" (b0: %s written, b1: %s, b2: %s) {\n"
                     "  vector %%0 in 0..%d {\n"
                     "    b0[%%0] = %s(b1[%%0]%s)\n"
                     "  }\n"
                     "}\n",
                     type, type, type, N_SAMPLES, op_info(op)->name, arity == 2 ? ", b2[%0]" : "");
}

/* The error of `got`, of f32 or f64, in units of its last place. */
static double ulp(long double wide, double got, bool is_f32) {
    const double most = is_f32 ? 3.4028e38 : 1.7976e308;
    const int least = is_f32 ? -125 : -1021, digits = is_f32 ? 24 : 53;
    if (isnan(wide) || isnan(got)) {
        return isnan(wide) && isnan(got) ? 0 : INFINITY;
    }
    double rounded = is_f32 ? (double)(float)wide : (double)wide;
    if (isinf(rounded) || isinf(got)) {
        return rounded == got || (fabsl(wide) > most && fabs(got) > most) ? 0 : INFINITY;
    }
    if (wide == 0 && got == 0) {
        return !signbit(wide) == !signbit(got) ? 0 : INFINITY;
    }
    int e;
    frexpl(wide, &e);
    e = e < least ? least : e;
    return (double)(fabsl((long double)got - wide) / ldexpl(1.0L, e - digits));
}

typedef struct Worst {
    double ulp;
    int at; /* the sample */
} Worst;

static void worst_add(Worst *worst, double error, int at) {
    if (error > worst->ulp) {
        *worst = (Worst){error, at};
    }
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

/* Every width of vectors that this processor has: 16, 32 and 64 bytes. */
static const char *const WIDTHS[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
enum { N_WIDTHS = sizeof(WIDTHS) / sizeof(WIDTHS[0]) };

/* Trigonometric functions reduce their argument well up to a bound. */
static bool counts(OpCode op, double x) {
    bool trigonometric = op == OP_sin || op == OP_cos || op == OP_tan;
    return !(trigonometric && fabs(x) > 1e6 && isfinite(x));
}

static void check_unary(const char *width) {
    Arena arena;
    Context context;
    context_init(&context, NULL, &boundary);
    arena_init(&arena, NULL, &boundary);
    Machine machine;
    if (!run_machine(width, &arena, &machine)) {
        arena_finish(&arena);
        context_finish(&context);
        return;
    }
    enum { N = sizeof(cases) / sizeof(cases[0]) };
    Kernel *kernels[2 * N];
    for (int i = 0; i < N; i++) {
        kernels[2 * i] = map_kernel(&context, &arena, cases[i].op, DT_F32, 1);
        kernels[2 * i + 1] = map_kernel(&context, &arena, cases[i].op, DT_F64, 1);
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
            x64[i] = sample(i, cases[c].low64, cases[c].high64, false, &seed);
        }
        KernelFault fault = {0};
        void *buffers[3] = {y32, x32, x32};
        KernelArgs args = {.buffers = buffers, .fault = &fault};
        run_function(&code, 2 * c)(&args, 0, 1);
        void *buffers64[3] = {y64, x64, x64};
        args.buffers = buffers64;
        run_function(&code, 2 * c + 1)(&args, 0, 1);
        Worst worst32 = {0}, worst64 = {0};
        for (int i = 0; i < N_SAMPLES; i++) {
            if (counts(cases[c].op, x32[i])) {
                worst_add(&worst32, ulp(cases[c].wide(x32[i]), y32[i], true), i);
            }
            if (counts(cases[c].op, x64[i])) {
                worst_add(&worst64, ulp(cases[c].wide(x64[i]), y64[i], false), i);
            }
        }
        print_message("%-8s f32 %6.2f ulp at %-14.8g f64 %6.2f ulp at %.17g\n",
                      op_info(cases[c].op)->name, worst32.ulp, (double)x32[worst32.at], worst64.ulp,
                      x64[worst64.at]);
        good = good && worst32.ulp <= cases[c].limit_f32 && worst64.ulp <= cases[c].limit_f64;
    }
    run_finish(&code);
    free(x32);
    free(y32);
    free(x64);
    free(y64);
    arena_finish(&arena);
    context_finish(&context);
    assert_true(good);
}

static void test_unary(void **state) {
    (void)state;
    for (int i = 0; i < N_WIDTHS; i++) {
        print_message("%s\n", WIDTHS[i]);
        check_unary(WIDTHS[i]);
    }
}

/* -- operations of two operands */

static float mod_f32(float x, float y) {
    float m = fmodf(x, y);
    return m == 0 ? copysignf(0, y) : (m < 0) != (y < 0) ? m + y : m;
}
static double mod_f64(double x, double y) {
    double m = fmod(x, y);
    return m == 0 ? copysign(0, y) : (m < 0) != (y < 0) ? m + y : m;
}
/* npy_floor_divide of NumPy 2 */
static float floordiv_f32(float x, float y) {
    if (y == 0) {
        return x / y;
    }
    float m = fmodf(x, y), d = (x - m) / y;
    d -= m != 0 && (m < 0) != (y < 0) ? 1.0f : 0.0f;
    if (d == 0) {
        return copysignf(0, x / y);
    }
    float whole = floorf(d);
    return d - whole > 0.5f ? whole + 1 : whole;
}
static double floordiv_f64(double x, double y) {
    if (y == 0) {
        return x / y;
    }
    double m = fmod(x, y), d = (x - m) / y;
    d -= m != 0 && (m < 0) != (y < 0) ? 1.0 : 0.0;
    if (d == 0) {
        return copysign(0, x / y);
    }
    double whole = floor(d);
    return d - whole > 0.5 ? whole + 1 : whole;
}

/* `wide` in a wider type, or the same operation in each type, whose bits are wanted. */
typedef struct PairCase {
    OpCode op;
    long double (*wide)(long double, long double);
    float (*same_f32)(float, float);
    double (*same_f64)(double, double);
    double limit_f32, limit_f64; /* ulp */
} PairCase;

static const PairCase pair_cases[] = {
    {OP_pow, powl, NULL, NULL, 4, 8},
    {OP_atan2, atan2l, NULL, NULL, 4, 8},
    {OP_hypot, hypotl, NULL, NULL, 1, 1.5},
    {OP_mod, NULL, mod_f32, mod_f64, 0, 0},
    {OP_floordiv, NULL, floordiv_f32, floordiv_f64, 0, 0},
};
enum { N_PAIRS = sizeof(pair_cases) / sizeof(pair_cases[0]) };

/* Any finite or infinite number of the type, all exponents alike. */
static double any_number(bool is_f32, uint64_t *state) {
    uint64_t bits = next_random(state);
    uint32_t narrow = (uint32_t)bits;
    float f;
    double d;
    memcpy(&f, &narrow, sizeof(f));
    memcpy(&d, &bits, sizeof(d));
    d = is_f32 ? (double)f : d;
    return isnan(d) ? 1.0 : d;
}

/* All pairs of special values, then for pow what is likely, for the others also numbers of any size
 * and quotients next to integers. */
static void sample_pair(OpCode op, int i, bool is_f32, uint64_t *state, double *a, double *b) {
    static const double specials[] = {0.0, -0.0, 1.0,      -1.0,      0.5, -0.5,  2.0, -2.0,
                                      3.0, -3.0, INFINITY, -INFINITY, NAN, 1e-40, 2.5, -2.5};
    enum { N_SPECIAL = sizeof(specials) / sizeof(specials[0]) };
    double u = (double)(next_random(state) >> 11) * 0x1p-53;
    double v = (double)(next_random(state) >> 11) * 0x1p-53;
    *a = op == OP_pow ? exp(20 * (u - 0.5)) : 20 * (u - 0.5);
    *b = i % 2 ? 60 * (v - 0.5) : floor(20 * (v - 0.5));
    if (i < N_SPECIAL * N_SPECIAL) {
        *a = specials[i / N_SPECIAL];
        *b = specials[i % N_SPECIAL];
    } else if (op == OP_pow && i % 16 == 0) {
        *a = -*a;
    } else if (op == OP_pow && i % 16 == 1) {
        *a = 1.0 + (u - 0.5) * 1e-3;
        *b = *b * 1e4;
    } else if (op != OP_pow && i % 4 == 0) {
        *a = any_number(is_f32, state);
        *b = any_number(is_f32, state);
    } else if (op != OP_pow && i % 4 == 1) {
        *b = is_f32 ? (double)(float)(u - 0.5) : u - 0.5;
        *a = *b * floor(1e4 * v);
    }
}

/* Errors of one operation over the samples, in ulp; prints the worst. */
static bool check_pair(const RunCode *code, int c, double *a, double *b, double *y, float *a32,
                       float *b32, float *y32) {
    const PairCase *one = &pair_cases[c];
    uint64_t seed = 11, narrow_seed = 12;
    for (int i = 0; i < N_SAMPLES; i++) {
        double p, q;
        sample_pair(one->op, i, false, &seed, &a[i], &b[i]);
        sample_pair(one->op, i, true, &narrow_seed, &p, &q);
        a32[i] = (float)p;
        b32[i] = (float)q;
    }
    KernelFault fault = {0};
    void *buffers32[3] = {y32, a32, b32}, *buffers64[3] = {y, a, b};
    KernelArgs args = {.buffers = buffers32, .fault = &fault};
    run_function(code, 2 * c)(&args, 0, 1);
    args.buffers = buffers64;
    run_function(code, 2 * c + 1)(&args, 0, 1);
    Worst worst32 = {0}, worst64 = {0};
    for (int i = 0; i < N_SAMPLES; i++) {
        long double w = one->wide ? one->wide(a32[i], b32[i]) : one->same_f32(a32[i], b32[i]);
        worst_add(&worst32, ulp(w, y32[i], true), i);
        w = one->wide ? one->wide(a[i], b[i]) : one->same_f64(a[i], b[i]);
        worst_add(&worst64, ulp(w, y[i], false), i);
    }
    print_message("%-8s f32 %6.2f ulp at (%.9g, %.9g), f64 %6.2f ulp at (%.17g, %.17g)\n",
                  op_info(one->op)->name, worst32.ulp, (double)a32[worst32.at],
                  (double)b32[worst32.at], worst64.ulp, a[worst64.at], b[worst64.at]);
    return worst32.ulp <= one->limit_f32 && worst64.ulp <= one->limit_f64;
}

static void check_binary(const char *width) {
    Arena arena;
    Context context;
    context_init(&context, NULL, &boundary);
    arena_init(&arena, NULL, &boundary);
    Machine machine;
    if (!run_machine(width, &arena, &machine)) {
        arena_finish(&arena);
        context_finish(&context);
        return;
    }
    Kernel *kernels[2 * N_PAIRS];
    for (int i = 0; i < 2 * N_PAIRS; i++) {
        kernels[i] = map_kernel(&context, &arena, pair_cases[i / 2].op, i % 2 ? DT_F64 : DT_F32, 2);
    }
    RunCode code;
    assert_true(run_compile(&machine, kernels, 2 * N_PAIRS, 2, &code));
    double *wide = malloc(3 * sizeof(double) * N_SAMPLES);
    float *narrow = malloc(3 * sizeof(float) * N_SAMPLES);
    bool good = true;
    for (int c = 0; c < N_PAIRS; c++) {
        good &= check_pair(&code, c, wide, wide + N_SAMPLES, wide + 2 * N_SAMPLES, narrow,
                           narrow + N_SAMPLES, narrow + 2 * N_SAMPLES);
    }
    run_finish(&code);
    free(wide);
    free(narrow);
    arena_finish(&arena);
    context_finish(&context);
    assert_true(good);
}

static void test_binary(void **state) {
    (void)state;
    for (int i = 0; i < N_WIDTHS; i++) {
        print_message("%s\n", WIDTHS[i]);
        check_binary(WIDTHS[i]);
    }
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
