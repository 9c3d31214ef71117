/* The CPU backend by itself: hand-built loop IR, compiled, loaded and called: scalar operations and
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
    Arena arena;
    Machine machine;
} Bench;

/* False: this host cannot run that level. */
static bool bench_open(Bench *b, const char *level) {
    arena_init(&b->arena, NULL, &boundary);
    return run_machine(level, &b->arena, &b->machine);
}

static void bench_run(Bench *b, Kernel *kernel, void **buffers, const int64_t *sizes, int64_t tiles,
                      KernelFault *fault) {
    RunCode code;
    assert_true(run_compile(&b->machine, &kernel, 1, 1, &code));
    void *scratch = aligned_alloc(64, (size_t)kernel_scratch_bytes(kernel) + 64);
    KernelArgs args = {buffers, sizes, scratch, fault};
    run_function(&code, 0)(&args, 0, tiles);
    free(scratch);
    run_finish(&code);
}

/* out[i] = expression of in0[i], in1[i], over n elements in a vector loop. */
typedef const KExpr *(*MakeExpr)(Arena *arena, const KExpr *a, const KExpr *b, int64_t user);

static void run_map(Bench *b, DType in, DType out, int64_t n, void *result, void *x, void *y,
                    MakeExpr make, int64_t user) {
    Arena *arena = &b->arena;
    Kernel *kernel = x_kernel(arena, "map", 3);
    kernel->buffers[0] = (KBuffer){out, true};
    kernel->buffers[1].dtype = kernel->buffers[2].dtype = in;
    KVar *i = x_make_var(arena, kernel, DT_I64, false);
    const KExpr *at = x_var(arena, i);
    DType reg = in == DT_F16 || in == DT_BF16 ? DT_F32 : in;
    const KExpr *value = make(arena, x_load(arena, 1, reg, at), x_load(arena, 2, reg, at), user);
    kernel->body = x_for(arena, KL_VECTOR, i, x_int(arena, n), x_store(arena, 0, at, value));
    void *buffers[3] = {result, x, y};
    KernelFault fault = {0};
    bench_run(b, kernel, buffers, NULL, 1, &fault);
}

static const KExpr *make_binary(Arena *arena, const KExpr *a, const KExpr *b, int64_t user) {
    OpCode op = (OpCode)user;
    const OpInfo *info = op_info(op);
    DType dtype = info->scalar_result == RESULT_BOOL ? DT_BOOL : a->dtype;
    return x_op(arena, op, dtype, a, info->n_operands == 2 ? b : NULL);
}

static const KExpr *make_cast(Arena *arena, const KExpr *a, const KExpr *b, int64_t user) {
    (void)b;
    return x_cast(arena, (DType)user, a);
}

static const KExpr *make_same(Arena *arena, const KExpr *a, const KExpr *b, int64_t user) {
    (void)arena;
    (void)b;
    (void)user;
    return a;
}

/* -- scalar operations */
static bool same_double(double a, double b) {
    return (isnan(a) && isnan(b)) || a == b;
}

static void check_float_op(Bench *b, OpCode op, const double *values, int32_t n) {
    int32_t total = n * n;
    float x[400], y[400], r[400];
    uint8_t flags[400];
    for (int32_t i = 0; i < total; i++) {
        x[i] = (float)values[i / n];
        y[i] = (float)values[i % n];
    }
    bool is_bool = op_info(op)->scalar_result == RESULT_BOOL;
    run_map(b, DT_F32, is_bool ? DT_BOOL : DT_F32, total, is_bool ? (void *)flags : r, x, y,
            make_binary, op);
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
    for (int32_t i = 0; i < total; i++) {
        x[i] = (int32_t)values[i / n];
        y[i] = (int32_t)values[i % n];
    }
    bool is_bool = op_info(op)->scalar_result == RESULT_BOOL;
    run_map(b, DT_I32, is_bool ? DT_BOOL : DT_I32, total, is_bool ? (void *)flags : r, x, y,
            make_binary, op);
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

static void test_scalars(void **state) {
    (void)state;
    static const double floats[] = {0.0,  -0.0, 1.0,  -1.0, 2.5,   -2.5,     3.0,       -3.5,
                                    1e30, 7.0,  1e-3, 0.3,  -1e30, INFINITY, -INFINITY, NAN};
    static const int64_t ints[] = {0, 1, -1, 2, -2, 7, -7, 100, -100, INT32_MAX, INT32_MIN};
    static const OpCode exact[] = {OP_neg,   OP_abs,  OP_sign,     OP_floor, OP_ceil,     OP_round,
                                   OP_trunc, OP_sqrt, OP_isfinite, OP_isnan, OP_add,      OP_sub,
                                   OP_mul,   OP_div,  OP_max,      OP_min,   OP_eq,       OP_ne,
                                   OP_lt,    OP_le,   OP_gt,       OP_ge,    OP_floordiv, OP_mod};
    static const OpCode integer[] = {OP_neg, OP_abs, OP_sign,     OP_add, OP_sub, OP_mul,
                                     OP_max, OP_min, OP_eq,       OP_ne,  OP_lt,  OP_le,
                                     OP_gt,  OP_ge,  OP_floordiv, OP_mod};
    for (int level = 0; level < N_LEVELS; level++) {
        Bench b;
        if (bench_open(&b, levels[level])) {
            for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++) {
                check_float_op(&b, exact[i], floats, sizeof(floats) / sizeof(floats[0]));
            }
            for (size_t i = 0; i < sizeof(integer) / sizeof(integer[0]); i++) {
                check_int_op(&b, integer[i], ints, sizeof(ints) / sizeof(ints[0]));
            }
        }
        arena_finish(&b.arena);
    }
}

/* -- every operation of every type it takes has code, and gives what the interpreter gives */
static const KExpr *make_operation(Arena *arena, const KExpr *a, const KExpr *b, int64_t user) {
    if (user != OP_select) {
        return make_binary(arena, a, b, user);
    }
    KExpr *value = x_new(arena, KE_SCALAR, a->dtype);
    value->as.scalar.op = OP_select;
    value->as.scalar.n = 3;
    value->as.scalar.a[0] = x_op(arena, OP_ne, DT_BOOL, a, b);
    value->as.scalar.a[1] = a;
    value->as.scalar.a[2] = b;
    return value;
}

static bool takes(const OpInfo *info, DType dtype) {
    switch (info->scalar_class) {
    case CLASS_FLOAT:
        return dtype_is_float(dtype);
    case CLASS_NUMBER:
        return dtype != DT_BOOL;
    case CLASS_INTEGER:
        return dtype_is_integer(dtype);
    case CLASS_BOOL:
        return dtype == DT_BOOL;
    case CLASS_ANY:
        break;
    }
    return true;
}

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
    run_map(b, dtype, out, N_OPERANDS, r, x, y, make_operation, op);
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
                if (takes(op_info((OpCode)op), types[d])) {
                    check_operation(&b, (OpCode)op, types[d]);
                }
            }
        }
    }
    arena_finish(&b.arena);
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
            arena_finish(&b.arena);
            continue;
        }
        double x[N];
        memcpy(x, values, sizeof(x));
        int8_t i8[N];
        uint8_t u8[N], flag[N];
        int32_t i32[N];
        int64_t i64[N];
        run_map(&b, DT_F64, DT_I8, N, i8, x, x, make_cast, DT_I8);
        run_map(&b, DT_F64, DT_U8, N, u8, x, x, make_cast, DT_U8);
        run_map(&b, DT_F64, DT_I32, N, i32, x, x, make_cast, DT_I32);
        run_map(&b, DT_F64, DT_I64, N, i64, x, x, make_cast, DT_I64);
        run_map(&b, DT_F64, DT_BOOL, N, flag, x, x, make_cast, DT_BOOL);
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
        run_map(&b, DT_U8, DT_F32, 256, f, bytes, bytes, make_cast, DT_F32);
        for (int i = 0; i < 256; i++) {
            assert_true(f[i] == (float)i);
        }
        run_map(&b, DT_I8, DT_F32, 256, f, bytes, bytes, make_cast, DT_F32);
        for (int i = 0; i < 256; i++) {
            assert_true(f[i] == (float)(int8_t)i);
        }
        arena_finish(&b.arena);
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
    run_map(b, dtype, DT_F32, N, wide, bits, bits, make_same, 0);
    for (int i = 0; i < N; i++) {
        double value = (double)wide[i];
        assert_true(same_double(value, round_to_dtype(value, dtype)));
    }
    run_map(b, DT_F32, dtype, N, back, wide, wide, make_same, 0);
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
    run_map(b, DT_F32, dtype, N, back, wide, wide, make_same, 0);
    float *again = malloc(N * 4);
    run_map(b, dtype, DT_F32, N, again, back, back, make_same, 0);
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
        arena_finish(&b.arena);
    }
}

/* -- random numbers */
static void check_uniform(Bench *b, DType dtype) {
    Arena *arena = &b->arena;
    enum { N = 1000 };
    double out64[N];
    float out32[N];
    Kernel *kernel = x_kernel(arena, "uniform", 1);
    kernel->buffers[0] = (KBuffer){dtype, true};
    KVar *i = x_make_var(arena, kernel, DT_I64, false);
    const KExpr *at = x_var(arena, i);
    KExpr *u = x_new(arena, KE_UNIFORM, dtype);
    KExpr *iteration = x_new(arena, KE_INT, DT_I32);
    iteration->as.integer = 5;
    u->as.uniform.seed = x_int(arena, 0x123456789abcdef0);
    u->as.uniform.step = x_int(arena, 77777777777);
    u->as.uniform.iteration = iteration;
    u->as.uniform.flat = at;
    int64_t site = -6148914691236517206;
    const Size *size = NULL; /* its range is never asked for */
    kernel->n_sizes = 1;
    kernel->sizes = &size;
    kernel->body = x_for(arena, KL_VECTOR, i, x_int(arena, N), x_store(arena, 0, at, u));
    void *buffers[1] = {dtype == DT_F64 ? (void *)out64 : out32};
    KernelFault fault = {0};
    bench_run(b, kernel, buffers, &site, 1, &fault);
    for (int64_t n = 0; n < N; n++) {
        double want = random_uniform_at(0x123456789abcdef0, 77777777777, site, 5, n, dtype);
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
        arena_finish(&b.arena);
    }
}

/* -- a grid with a symbolic size, a reduction and a guard that faults */
static Kernel *sum_kernel(Arena *arena, Context *context, const Dim *dim) {
    Kernel *kernel = x_kernel(arena, "sum", 2);
    kernel->buffers[0] = (KBuffer){DT_F32, true};
    kernel->buffers[1].dtype = DT_F32;
    kernel->n_sizes = 1;
    kernel->sizes = ARENA_ARRAY(arena, const Size *, 1);
    kernel->sizes[0] = size_dim(context, dim);
    kernel->n_grid = 1;
    kernel->grid = kernel->sizes;
    KVar *row = x_make_var(arena, kernel, DT_I64, false);
    KVar *column = x_make_var(arena, kernel, DT_I64, false);
    KVar *sum = x_make_var(arena, kernel, DT_F32, true);
    const KExpr *width = x_int(arena, 100);
    const KExpr *at = x_op(arena, OP_mul, DT_I64, x_var(arena, row), width);
    at = x_op(arena, OP_add, DT_I64, at, x_var(arena, column));
    const KExpr *next =
        x_op(arena, OP_add, DT_F32, x_var(arena, sum), x_load(arena, 1, DT_F32, at));
    KStmt *clear = x_set(arena, sum, x_real(arena, DT_F32, 0));
    clear->next = x_for(arena, KL_VECTOR, column, width, x_set(arena, sum, next));
    clear->next->next = x_store(arena, 0, x_var(arena, row), x_var(arena, sum));
    KStmt *bad = ARENA_NEW(arena, KStmt);
    bad->kind = KS_FAULT;
    bad->as.fault.site = 4;
    bad->as.fault.value = x_var(arena, row);
    bad->as.fault.bound = x_int(arena, 3);
    bad->as.fault.bad = x_op(arena, OP_ge, DT_BOOL, x_var(arena, row), x_int(arena, 3));
    clear->next->next->next = bad;
    kernel->body = x_for(arena, KL_GRID, row, x_size(arena, 0), clear);
    return kernel;
}

static void test_sum_and_fault(void **state) {
    (void)state;
    Bench b;
    assert_true(bench_open(&b, NULL));
    Context context;
    context_init(&context, NULL, &boundary);
    Module *module = module_create(&context, "test");
    const Dim *dim = module_add_dim(module, "B", 1, 1000, 1, 0, (Place){0});
    Kernel *kernel = sum_kernel(&b.arena, &context, dim);
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
    module_destroy(module);
    context_finish(&context);
    arena_finish(&b.arena);
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
    Kernel *kernel = x_kernel(&b->arena, "watched", 2);
    kernel->buffers[0] = (KBuffer){dtype, true};
    kernel->buffers[1].dtype = dtype;
    KVar *i = x_make_var(&b->arena, kernel, DT_I64, false);
    const KExpr *at = x_var(&b->arena, i);
    DType held = dtype == DT_F64 ? DT_F64 : DT_F32;
    KStmt *store = x_store(&b->arena, 0, at, x_load(&b->arena, 1, held, at));
    store->as.store.watched = true;
    kernel->body = x_for(&b->arena, KL_VECTOR, i, x_int(&b->arena, N), store);
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
        arena_finish(&b.arena);
    }
}

/* -- the same bytes whatever the number of threads, and for every level */
static void test_bytes(void **state) {
    (void)state;
    for (int level = 0; level < N_LEVELS; level++) {
        Arena arena;
        arena_init(&arena, NULL, &boundary);
        Machine machine;
        char message[512] = "";
        const Target *target = target_find("cpu");
        assert_int_equal(target->describe(levels[level], &arena, &machine, message), DLC_OK);
        static const OpCode ops[] = {OP_exp, OP_tanh, OP_sin, OP_add, OP_max, OP_log};
        Kernel *kernels[6];
        for (int n = 0; n < 6; n++) {
            kernels[n] = x_kernel(&arena, "map", 2);
            kernels[n]->buffers[0] = (KBuffer){DT_F32, true};
            kernels[n]->buffers[1].dtype = DT_F32;
            KVar *i = x_make_var(&arena, kernels[n], DT_I64, false);
            const KExpr *at = x_var(&arena, i), *x = x_load(&arena, 1, DT_F32, at);
            const KExpr *value =
                x_op(&arena, ops[n], DT_F32, x, op_info(ops[n])->n_operands == 2 ? x : NULL);
            kernels[n]->body =
                x_for(&arena, KL_VECTOR, i, x_int(&arena, 1000 + n), x_store(&arena, 0, at, value));
        }
        TargetImage one, two;
        assert_int_equal(target->emit(&machine, kernels, 6, 1, NULL, &one, message), DLC_OK);
        assert_int_equal(target->emit(&machine, kernels, 6, 3, NULL, &two, message), DLC_OK);
        assert_int_equal(one.n_bytes, two.n_bytes);
        assert_memory_equal(one.bytes, two.bytes, one.n_bytes);
        assert_memory_equal(one.entries, two.entries, sizeof(int64_t) * 6);
        target_image_finish(&one, NULL);
        target_image_finish(&two, NULL);
        Str text;
        str_init(&text, NULL);
        assert_int_equal(target->show(&machine, kernels[0], kernels[0]->name, &text), DLC_OK);
        assert_non_null(strstr(str_text(&text), "define"));
        str_finish(&text);
        arena_finish(&arena);
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

int main(void) {
    if (setjmp(boundary.jump)) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars), cmocka_unit_test(test_operations),
        cmocka_unit_test(test_casts),   cmocka_unit_test(test_halves),
        cmocka_unit_test(test_uniform), cmocka_unit_test(test_sum_and_fault),
        cmocka_unit_test(test_bytes),   cmocka_unit_test(test_names),
        cmocka_unit_test(test_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
