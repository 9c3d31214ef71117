/* The CPU backend by itself: loop IR from text, compiled, loaded and called: scalar operations and
 * casts on special values, half precisions, random numbers, loops, guards, faults, reductions,
 * register tiles, on every processor level that this host can run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/interp.h"
#include "tests/unit/kernel_run.h"
#include <math.h>

static Boundary boundary;

static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
enum { N_LEVELS = 3 };

typedef struct Bench {
    Context context;
    Arena arena;
    Machine machine;
} Bench;

/* False: this host cannot run that level. */
static bool bench_open(Bench *b, const char *level) {
    context_init(&b->context, NULL, &boundary);
    arena_init(&b->arena, NULL, &boundary);
    return run_machine(level, &b->arena, &b->machine);
}

static void bench_close(Bench *b) {
    arena_finish(&b->arena);
    context_finish(&b->context);
}

static void bench_run(Bench *b, Kernel *kernel, void **buffers, const int64_t *sizes, int64_t tiles,
                      KernelFault *fault) {
    RunCode code;
    assert_non_null(kernel);
    assert_true(run_compile(&b->machine, &kernel, 1, 1, &code));
    void *scratch = aligned_alloc(64, (size_t)kernel_scratch_bytes(kernel) + 64);
    KernelArgs args = {buffers, sizes, scratch, fault};
    run_function(&code, 0)(&args, 0, tiles);
    free(scratch);
    run_finish(&code);
}

enum { MAP_TEXT = 128 };

/* out[i] = `value`, an expression of b1[%0] and b2[%0], over n elements in a vector loop. */
static void run_map(Bench *b, DType in, DType out, int n, void *result, void *x, void *y,
                    const char *value) {
    Kernel *kernel = run_parse(&b->context, &b->arena,
                               "kernel \"map\" (b0: %s written, b1: %s, b2: %s) {\n"
                               "  vector %%0 in 0..%d {\n"
                               "    b0[%%0] = %s\n"
                               "  }\n"
                               "}\n",
                               dtype_name(out), dtype_name(in), dtype_name(in), n, value);
    void *buffers[3] = {result, x, y};
    KernelFault fault = {0};
    bench_run(b, kernel, buffers, NULL, 1, &fault);
}

static const char *operation_text(OpCode op, char out[MAP_TEXT]) {
    const OpInfo *info = op_info(op);
    const char *format = op == OP_select         ? "%s(ne(b1[%%0], b2[%%0]), b1[%%0], b2[%%0])"
                         : info->n_operands == 2 ? "%s(b1[%%0], b2[%%0])"
                                                 : "%s(b1[%%0])";
    snprintf(out, MAP_TEXT, format, info->name);
    return out;
}

static void run_cast(Bench *b, DType in, DType out, int n, void *result, void *x) {
    char text[MAP_TEXT];
    snprintf(text, sizeof(text), "cast.%s(b1[%%0])", dtype_name(out));
    run_map(b, in, out, n, result, x, x, text);
}

/* -- scalar operations */
static bool same_double(double a, double b) {
    return (isnan(a) && isnan(b)) || a == b;
}

static void check_float_op(Bench *b, OpCode op, const double *values, int32_t n) {
    int32_t total = n * n;
    float x[400], y[400], r[400];
    uint8_t flags[400];
    char text[MAP_TEXT];
    for (int32_t i = 0; i < total; i++) {
        x[i] = (float)values[i / n];
        y[i] = (float)values[i % n];
    }
    bool is_bool = op_info(op)->scalar_result == RESULT_BOOL;
    run_map(b, DT_F32, is_bool ? DT_BOOL : DT_F32, total, is_bool ? (void *)flags : r, x, y,
            operation_text(op, text));
    for (int32_t i = 0; i < total; i++) {
        double operands[3] = {(double)x[i], (double)y[i], 0};
        double want = (double)(float)scalar_eval_float(op, operands);
        double got = is_bool ? flags[i] : (double)r[i];
        if (!same_double(want, got)) {
            fail_msg("%s(%g, %g) is %g, want %g", op_info(op)->name, operands[0], operands[1], got,
                     want);
        }
    }
}

static void check_int_op(Bench *b, OpCode op, const int64_t *values, int32_t n) {
    int32_t total = n * n;
    int32_t x[400], y[400], r[400];
    uint8_t flags[400];
    char text[MAP_TEXT];
    for (int32_t i = 0; i < total; i++) {
        x[i] = (int32_t)values[i / n];
        y[i] = (int32_t)values[i % n];
    }
    bool is_bool = op_info(op)->scalar_result == RESULT_BOOL;
    run_map(b, DT_I32, is_bool ? DT_BOOL : DT_I32, total, is_bool ? (void *)flags : r, x, y,
            operation_text(op, text));
    for (int32_t i = 0; i < total; i++) {
        int64_t operands[3] = {x[i], y[i], 0};
        int64_t want = wrap_int(scalar_eval_int(op, DT_I32, operands), DT_I32);
        int64_t got = is_bool ? flags[i] : r[i];
        if (want != got) {
            fail_msg("%s(%lld, %lld) is %lld, want %lld", op_info(op)->name, (long long)operands[0],
                     (long long)operands[1], (long long)got, (long long)want);
        }
    }
}

/* Rows of one instruction, or of a function that is exact: as the interpreter has them, to the bit.
 */
#define CALL()        false
#define CALL_OR(name) true
#define INTRINSIC(x)  true
#define TEXT(rows)    false
#define OWN(name)     true
static const bool is_exact[OP_N_SCALAR] = {
#define SCALAR(name, arity, class_, result, cost, gradient, domain, slope, precision, elements,    \
               sign, identity, linear, function, c_f64, c_i64, cpu, ...)                           \
    [OP_##name] = cpu,
#include "ir/scalar.def"
#undef SCALAR
};

static void test_scalars(void **state) {
    (void)state;
    static const double floats[] = {0.0,  -0.0, 1.0,  -1.0, 2.5,   -2.5,     3.0,       -3.5,
                                    1e30, 7.0,  1e-3, 0.3,  -1e30, INFINITY, -INFINITY, NAN};
    static const int64_t ints[] = {0, 1, -1, 2, -2, 7, -7, 100, -100, INT32_MAX, INT32_MIN};
    for (int level = 0; level < N_LEVELS; level++) {
        Bench b;
        if (bench_open(&b, levels[level])) {
            for (int op = 0; op < OP_N_SCALAR; op++) {
                const OpInfo *info = op_info((OpCode)op);
                if (info->n_operands <= 2 && scalar_takes((OpCode)op, DT_F32) && is_exact[op]) {
                    check_float_op(&b, (OpCode)op, floats, sizeof(floats) / sizeof(floats[0]));
                }
                if (info->n_operands <= 2 && scalar_takes((OpCode)op, DT_I32)) {
                    check_int_op(&b, (OpCode)op, ints, sizeof(ints) / sizeof(ints[0]));
                }
            }
        }
        bench_close(&b);
    }
}

/* -- every operation of every type it takes has code, and gives what the interpreter gives */
enum { N_OPERANDS = 4 };

static void put_number(void *data, DType dtype, int32_t i, double number) {
    switch (dtype) {
    case DT_F64:
        ((double *)data)[i] = number;
        return;
    case DT_F32:
        ((float *)data)[i] = (float)number;
        return;
    case DT_I64:
        ((int64_t *)data)[i] = (int64_t)number;
        return;
    case DT_I32:
        ((int32_t *)data)[i] = (int32_t)number;
        return;
    default:
        ((uint8_t *)data)[i] = (uint8_t)(int64_t)number;
        return;
    }
}

static double get_number(const void *data, DType dtype, int32_t i) {
    switch (dtype) {
    case DT_F64:
        return ((const double *)data)[i];
    case DT_F32:
        return (double)((const float *)data)[i];
    case DT_I64:
        return (double)((const int64_t *)data)[i];
    case DT_I32:
        return ((const int32_t *)data)[i];
    case DT_I8:
        return ((const int8_t *)data)[i];
    default:
        return ((const uint8_t *)data)[i];
    }
}

static void check_operation(Bench *b, OpCode op, DType dtype) {
    static const double floats[2][N_OPERANDS] = {{0.25, 0.5, 0.75, 0.875}, {0.5, 0.125, 0.75, 1.5}};
    static const double integers[2][N_OPERANDS] = {{7, 1, 0, 5}, {2, 1, 3, 0}};
    int64_t x[N_OPERANDS], y[N_OPERANDS], r[N_OPERANDS] = {0};
    DType out = op_info(op)->scalar_result == RESULT_BOOL ? DT_BOOL : dtype;
    for (int32_t i = 0; i < N_OPERANDS; i++) {
        const double(*numbers)[N_OPERANDS] = dtype_is_float(dtype) ? floats : integers;
        bool is_bool = dtype == DT_BOOL;
        put_number(x, dtype, i, is_bool ? numbers[0][i] != 0 : numbers[0][i]);
        put_number(y, dtype, i, is_bool ? numbers[1][i] != 0 : numbers[1][i]);
    }
    char text[MAP_TEXT];
    run_map(b, dtype, out, N_OPERANDS, r, x, y, operation_text(op, text));
    for (int32_t i = 0; i < N_OPERANDS; i++) {
        double p = get_number(x, dtype, i), q = get_number(y, dtype, i), want;
        double values[3] = {p, q, 0};
        int64_t whole[3] = {(int64_t)p, (int64_t)q, 0};
        if (op == OP_select) {
            want = p != q ? p : q;
        } else if (dtype_is_float(dtype)) {
            want = scalar_eval_float(op, values);
        } else {
            want = (double)scalar_eval_int(op, dtype, whole);
        }
        double got = get_number(r, out, i), unit = dtype == DT_F64 ? 1e-14 : 1e-6;
        bool near = fabs(got - want) <= (dtype_is_float(out) ? unit * (1 + fabs(want)) : 0);
        if (!near) {
            fail_msg("%s(%g, %g) of %s is %g, want %g", op_info(op)->name, p, q, dtype_name(dtype),
                     got, want);
        }
    }
}

static void test_operations(void **state) {
    (void)state;
    static const DType types[] = {DT_F32, DT_F64, DT_I64, DT_I32, DT_I8, DT_U8, DT_BOOL};
    Bench b;
    if (bench_open(&b, levels[0])) {
        for (int op = 0; op < OP_N_SCALAR; op++) {
            for (size_t d = 0; d < sizeof(types) / sizeof(types[0]); d++) {
                if (scalar_takes((OpCode)op, types[d])) {
                    check_operation(&b, (OpCode)op, types[d]);
                }
            }
        }
    }
    bench_close(&b);
}

/* -- casts */
static void test_casts(void **state) {
    (void)state;
    static const double values[] = {0.0,   -0.0,  0.5,      -0.9,      1.5, 127.9, 128.0,
                                    200.0, 256.0, -128.0,   -129.0,    1e9, 3e9,   -3e9,
                                    1e19,  -1e19, INFINITY, -INFINITY, NAN};
    enum { N = sizeof(values) / sizeof(values[0]) };
    for (int level = 0; level < N_LEVELS; level++) {
        Bench b;
        if (!bench_open(&b, levels[level])) {
            bench_close(&b);
            continue;
        }
        double x[N];
        memcpy(x, values, sizeof(x));
        int8_t i8[N];
        uint8_t u8[N], flag[N];
        int32_t i32[N];
        int64_t i64[N];
        run_cast(&b, DT_F64, DT_I8, N, i8, x);
        run_cast(&b, DT_F64, DT_U8, N, u8, x);
        run_cast(&b, DT_F64, DT_I32, N, i32, x);
        run_cast(&b, DT_F64, DT_I64, N, i64, x);
        run_cast(&b, DT_F64, DT_BOOL, N, flag, x);
        for (int i = 0; i < N; i++) {
            assert_int_equal(i8[i], float_to_int(values[i], DT_I8));
            assert_int_equal(u8[i], float_to_int(values[i], DT_U8));
            assert_int_equal(i32[i], float_to_int(values[i], DT_I32));
            assert_int_equal(i64[i], float_to_int(values[i], DT_I64));
            assert_int_equal(flag[i], values[i] != 0);
        }
        uint8_t bytes[256];
        float f[256];
        for (int i = 0; i < 256; i++) {
            bytes[i] = (uint8_t)i;
        }
        run_cast(&b, DT_U8, DT_F32, 256, f, bytes);
        for (int i = 0; i < 256; i++) {
            assert_true(f[i] == (float)i);
        }
        run_cast(&b, DT_I8, DT_F32, 256, f, bytes);
        for (int i = 0; i < 256; i++) {
            assert_true(f[i] == (float)(int8_t)i);
        }
        bench_close(&b);
    }
}

/* -- half precisions: every bit pattern out and back, and rounding of floats in between */
static void check_half(Bench *b, DType dtype) {
    enum { N = 65536 };
    uint16_t *bits = malloc(N * 2), *back = malloc(N * 2);
    float *wide = malloc(N * 4);
    for (int i = 0; i < N; i++) {
        bits[i] = (uint16_t)i;
    }
    run_map(b, dtype, DT_F32, N, wide, bits, bits, "b1[%0]");
    for (int i = 0; i < N; i++) {
        double value = (double)wide[i];
        assert_true(same_double(value, round_to_dtype(value, dtype)));
    }
    run_map(b, DT_F32, dtype, N, back, wide, wide, "b1[%0]");
    for (int i = 0; i < N; i++) {
        if (!isnan(wide[i])) {
            assert_int_equal(back[i], bits[i]);
        }
    }
    uint32_t state = 1;
    for (int i = 0; i < N; i++) {
        state = state * 1664525u + 1013904223u;
        uint32_t pattern = i % 4 ? 0x38000000u + (state >> 4) % 0x10000000u : state;
        memcpy(&wide[i], &pattern, 4);
    }
    run_map(b, DT_F32, dtype, N, back, wide, wide, "b1[%0]");
    float *again = malloc(N * 4);
    run_map(b, dtype, DT_F32, N, again, back, back, "b1[%0]");
    for (int i = 0; i < N; i++) {
        double want = round_to_dtype((double)wide[i], dtype);
        if (!same_double(want, (double)again[i])) {
            fail_msg("%s of %a is %a, want %a", dtype_name(dtype), (double)wide[i],
                     (double)again[i], want);
        }
    }
    free(bits);
    free(back);
    free(wide);
    free(again);
}

static void test_halves(void **state) {
    (void)state;
    for (int level = 0; level < N_LEVELS; level++) {
        Bench b;
        if (bench_open(&b, levels[level])) {
            check_half(&b, DT_F16);
            check_half(&b, DT_BF16);
        }
        bench_close(&b);
    }
}

/* -- random numbers */
static void check_uniform(Bench *b, DType dtype) {
    enum { N = 1000 };
    double out64[N];
    float out32[N];
    int64_t seed = 0x123456789abcdef0, step = 77777777777, site = -6148914691236517206;
    const char *name = dtype_name(dtype);
    Kernel *kernel = run_parse(&b->context, &b->arena,
                               "kernel \"uniform\" (b0: %s written) {\n"
                               "  size s0 = %lld\n"
                               "  vector %%0 in 0..%d {\n"
                               "    b0[%%0] = uniform.%s.s0(%lld, %lld, 5:i32, %%0)\n"
                               "  }\n"
                               "}\n",
                               name, (long long)site, N, name, (long long)seed, (long long)step);
    void *buffers[1] = {dtype == DT_F64 ? (void *)out64 : out32};
    KernelFault fault = {0};
    bench_run(b, kernel, buffers, &site, 1, &fault);
    for (int64_t n = 0; n < N; n++) {
        double want = random_uniform_at(seed, step, site, 5, n, dtype);
        double got = dtype == DT_F64 ? out64[n] : (double)out32[n];
        assert_true(want == got);
    }
}

static void test_uniform(void **state) {
    (void)state;
    for (int level = 0; level < N_LEVELS; level++) {
        Bench b;
        if (bench_open(&b, levels[level])) {
            check_uniform(&b, DT_F32);
            check_uniform(&b, DT_F64);
        }
        bench_close(&b);
    }
}

/* -- a grid with a symbolic size, a reduction and a guard that faults */
static const char sum_text[] = "kernel \"sum\" (b0: f32 written, b1: f32) {\n"
                               "  size s0 = B\n"
                               "  tiles B\n"
                               "  grid %0 row in 0..s0 {\n"
                               "    set %1 sum: f32 = 0.0:f32\n"
                               "    vector %2 column in 0..100 {\n"
                               "      set %1 sum: f32 = add(%1, b1[((%0 * 100) + %2)])\n"
                               "    }\n"
                               "    b0[%0] = %1\n"
                               "    fault if ge(%0, 3) site 4 value %0 bound 3\n"
                               "  }\n"
                               "}\n";

static void test_sum_and_fault(void **state) {
    (void)state;
    Bench b;
    assert_true(bench_open(&b, NULL));
    Kernel *kernel = run_parse(&b.context, &b.arena, "%s", sum_text);
    assert_non_null(kernel);
    float x[500], y[5], again[5];
    for (int i = 0; i < 500; i++) {
        x[i] = (float)(i % 13) * 0.1f;
    }
    RunCode code;
    assert_true(run_compile(&b.machine, &kernel, 1, 1, &code));
    int64_t sizes[1] = {5};
    KernelFault fault = {0}, none = {0};
    void *buffers[2] = {y, x}, *others[2] = {again, x};
    KernelArgs args = {buffers, sizes, NULL, &fault}, parts = {others, sizes, NULL, &none};
    KernelFunction function = run_function(&code, 0);
    function(&args, 0, 5);
    assert_int_equal(fault.site, 5);
    assert_int_equal(fault.value, 3);
    assert_int_equal(fault.bound, 3);
    function(&parts, 2, 3);
    function(&parts, 0, 2);
    assert_int_equal(none.site, 0);
    function(&parts, 3, 5);
    assert_memory_equal(y, again, sizeof(y));
    for (int row = 0; row < 5; row++) {
        double want = 0;
        for (int i = 0; i < 100; i++) {
            want += (double)x[row * 100 + i];
        }
        assert_true(fabs(want - (double)y[row]) < 1e-4);
    }
    run_finish(&code);
    bench_close(&b);
}

/* -- stores that are watched: every place of a vector loop and its rest, by width of type */
static void set_float(void *buffer, DType dtype, int i, double value) {
    float narrow = (float)value;
    uint16_t half = dtype == DT_F16 || dtype == DT_BF16 ? float_bits16(value, dtype) : 0;
    int width = dtype_bytes(dtype);
    const void *from = dtype == DT_F64   ? (const void *)&value
                       : dtype == DT_F32 ? (const void *)&narrow
                                         : (const void *)&half;
    memcpy((char *)buffer + i * width, from, (size_t)width);
}

static void check_watched(Bench *b, DType dtype) {
    enum { N = 77 };
    static const double greatest[] = {[DT_F16] = 65504,
                                      [DT_BF16] = 0x1.FEp127,
                                      [DT_F32] = 0x1.FFFFFEp127,
                                      [DT_F64] = 0x1.FFFFFFFFFFFFFp1023};
    const char *name = dtype_name(dtype);
    Kernel *kernel = run_parse(&b->context, &b->arena,
                               "kernel \"watched\" (b0: %s written, b1: %s) {\n"
                               "  vector %%0 in 0..%d {\n"
                               "    b0[%%0] = b1[%%0] watched\n"
                               "  }\n"
                               "}\n",
                               name, name, N);
    assert_non_null(kernel);
    RunCode code;
    assert_true(run_compile(&b->machine, &kernel, 1, 1, &code));
    double x[N], y[N];
    const double bad[] = {INFINITY, -INFINITY, (double)NAN, -(double)NAN};
    for (int n = 0; n <= N; n++) {
        for (int e = 0; e < N; e++) {
            double good = e % 3 == 0 ? greatest[dtype] : e % 3 == 1 ? -greatest[dtype] : 1e-40;
            set_float(x, dtype, e, e == n ? bad[n % 4] : good);
        }
        KernelFault fault = {0};
        KernelArgs args = {(void *[]){y, x}, NULL, NULL, &fault};
        run_function(&code, 0)(&args, 0, 1);
        assert_true(fault.site == (n < N ? KERNEL_SITE_NOT_FINITE : 0));
        assert_memory_equal(x, y, (size_t)(N * dtype_bytes(dtype)));
        KernelFault earlier = {3, 1, 2};
        args.fault = &earlier;
        run_function(&code, 0)(&args, 0, 1);
        assert_int_equal(earlier.site, 3);
    }
    run_finish(&code);
}

static void test_watched(void **state) {
    (void)state;
    for (int level = 0; level < N_LEVELS; level++) {
        Bench b;
        if (bench_open(&b, levels[level])) {
            check_watched(&b, DT_F16);
            check_watched(&b, DT_BF16);
            check_watched(&b, DT_F32);
            check_watched(&b, DT_F64);
        }
        bench_close(&b);
    }
}

/* -- the same bytes whatever the number of threads, and for every level */
static void test_bytes(void **state) {
    (void)state;
    for (int level = 0; level < N_LEVELS; level++) {
        Bench b;
        (void)bench_open(&b, levels[level]); /* what the host cannot run is compiled all the same */
        char message[512] = "";
        const Target *target = target_find("cpu");
        static const char *const values[] = {"exp(b1[%0])",         "tanh(b1[%0])",
                                             "sin(b1[%0])",         "add(b1[%0], b1[%0])",
                                             "max(b1[%0], b1[%0])", "log(b1[%0])"};
        Kernel *kernels[6];
        for (int n = 0; n < 6; n++) {
            kernels[n] = run_parse(&b.context, &b.arena,
                                   "kernel \"map\" (b0: f32 written, b1: f32) {\n"
                                   "  vector %%0 in 0..%d {\n"
                                   "    b0[%%0] = %s\n"
                                   "  }\n"
                                   "}\n",
                                   1000 + n, values[n]);
            assert_non_null(kernels[n]);
        }
        TargetImage one, two;
        assert_int_equal(target->emit(&b.machine, kernels, 6, 1, NULL, &one, message), DLC_OK);
        assert_int_equal(target->emit(&b.machine, kernels, 6, 3, NULL, &two, message), DLC_OK);
        assert_int_equal(one.n_bytes, two.n_bytes);
        assert_memory_equal(one.bytes, two.bytes, one.n_bytes);
        assert_memory_equal(one.entries, two.entries, sizeof(int64_t) * 6);
        target_image_finish(&one, NULL);
        target_image_finish(&two, NULL);
        Str text;
        str_init(&text, NULL);
        assert_int_equal(target->show(&b.machine, kernels[0], kernels[0]->name, &text), DLC_OK);
        assert_non_null(strstr(str_text(&text), "define"));
        str_finish(&text);
        bench_close(&b);
    }
}

static void test_names(void **state) {
    (void)state;
    Arena arena;
    arena_init(&arena, NULL, &boundary);
    Machine machine;
    char message[512] = "";
    assert_int_equal(target_find("cpu")->describe("i386", &arena, &machine, message),
                     DLC_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message, "x86-64-v3"));
    assert_null(target_find("tpu"));
    assert_non_null(target_find("null"));
    arena_finish(&arena);
}

static bool spoil_sum(const KExpr *expr, void *user) {
    (void)user;
    if (expr->kind == KE_SCALAR && expr->as.scalar.op == OP_add) {
        ((KExpr *)expr)->as.scalar.op = OP_and; /* of floats: no such instruction */
        return true;
    }
    return false;
}

/* A mistake of ours is told with the kernel that it was met in, and with our own file and line. */
static void test_internal_error(void **state) {
    (void)state;
    Bench b;
    assert_true(bench_open(&b, levels[0]));
    Kernel *kernels[3];
    for (int i = 0; i < 3; i++) {
        kernels[i] = run_parse(&b.context, &b.arena,
                               "kernel \"sum\" (b0: f32 written, b1: f32) {\n"
                               "  vector %%0 in 0..%d {\n"
                               "    b0[%%0] = add(b1[%%0], b1[%%0])\n"
                               "  }\n"
                               "}\n",
                               16 + i);
    }
    assert_true(kernel_walk_operands(kernels[1]->body->as.loop.body, spoil_sum, NULL));
    TargetImage image;
    char message[TARGET_MESSAGE_BYTES] = "";
    dlc_status status = target_cpu.emit(&b.machine, kernels, 3, 2, NULL, &image, message);
    assert_int_equal(status, DLC_ERROR_INTERNAL);
    assert_ptr_equal(image.failed, kernels[1]);
    assert_non_null(strstr(message, "(codegen/cpu/emit.c:"));
    bench_close(&b);
}

int main(void) {
    if (setjmp(boundary.jump)) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars), cmocka_unit_test(test_operations),
        cmocka_unit_test(test_casts),   cmocka_unit_test(test_halves),
        cmocka_unit_test(test_uniform), cmocka_unit_test(test_sum_and_fault),
        cmocka_unit_test(test_bytes),   cmocka_unit_test(test_names),
        cmocka_unit_test(test_watched), cmocka_unit_test(test_internal_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
