/* Contractions and convolutions, lowered, compiled and run, against the reference interpreter:
 * random shapes with odd tails, sizes 1 and 0, free dims, prologues, epilogues, every dtype; and
 * the same bits however the tiles are split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codegen/lower/lower.h"
#include "ir/build.h"
#include "ir/interp.h"
#include "tests/unit/kernel_run.h"
#include <math.h>

enum { MAX_ARGS = 4, DIM_VALUE = 37 };

typedef struct Problem {
    int32_t n_args;
    Type args[MAX_ARGS];
    Value *(*make)(Builder *b, Value **args, void *user);
    void *user;
    bool is_conv;
} Problem;

typedef struct World {
    Context context;
    Module *module;
    const Dim *dim;
    Machine machine;
    int64_t dim_values[1];
} World;

static Boundary boundary;
static uint64_t random_state = 1;

static uint32_t next_random(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}

static int64_t pick(int64_t low, int64_t high) {
    return low + (int64_t)(next_random() % (uint64_t)(high - low + 1));
}

static const Size *fixed(World *w, int64_t value) {
    return size_const(&w->context, value);
}

static World *world_create(const char *option) {
    World *w = calloc(1, sizeof(World));
    context_init(&w->context, NULL, &boundary);
    w->module = module_create(&w->context, "test");
    w->dim = module_add_dim(w->module, "B", 1, 1000, 1, 0, (Place){0});
    w->dim_values[0] = DIM_VALUE;
    if (!run_machine(option, &w->context.arena, &w->machine)) {
        w->machine.vector_bytes = 0;
    }
    return w;
}

static void world_destroy(World *w) {
    module_destroy(w->module);
    context_finish(&w->context);
    free(w);
}

/* -- data */
static void fill(EvalTensor *t) {
    for (int64_t i = 0; i < t->n; i++) {
        if (dtype_is_float(t->dtype)) {
            t->f[i] = round_to_dtype((double)pick(-64, 64) / 32.0, t->dtype);
        } else {
            t->i[i] = pick(-9, 9);
        }
    }
}

/* A value that f16 holds exactly, as its bits, and back. */
static uint16_t half_bits(double value) {
    int exponent = 0;
    double m = frexp(fabs(value), &exponent);
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    if (m == 0) {
        return sign;
    }
    if (exponent < -13) {
        return (uint16_t)(sign | (int)ldexp(fabs(value), 24));
    }
    return (uint16_t)(sign | (((exponent + 14) << 10) + (int)ldexp(m, 11) - 1024));
}

static double half_value(uint16_t bits) {
    int exponent = (bits >> 10) & 31, fraction = bits & 1023;
    double m = exponent == 31  ? (fraction ? NAN : INFINITY)
               : exponent == 0 ? ldexp(fraction, -24)
                               : ldexp(1024 + fraction, exponent - 25);
    return bits & 0x8000 ? -m : m;
}

static void to_memory(const EvalTensor *t, void *memory) {
    for (int64_t i = 0; i < t->n; i++) {
        switch (t->dtype) {
        case DT_F64:
            ((double *)memory)[i] = t->f[i];
            break;
        case DT_F32:
            ((float *)memory)[i] = (float)t->f[i];
            break;
        case DT_BF16: {
            float f = (float)t->f[i];
            uint32_t bits;
            memcpy(&bits, &f, 4);
            ((uint16_t *)memory)[i] = (uint16_t)(bits >> 16);
            break;
        }
        case DT_F16: {
            ((uint16_t *)memory)[i] = half_bits(t->f[i]);
            break;
        }
        case DT_I64:
            ((int64_t *)memory)[i] = t->i[i];
            break;
        default:
            ((int32_t *)memory)[i] = (int32_t)t->i[i];
            break;
        }
    }
}

static double from_memory(const void *memory, DType dtype, int64_t i) {
    switch (dtype) {
    case DT_F64:
        return ((const double *)memory)[i];
    case DT_F32:
        return (double)((const float *)memory)[i];
    case DT_BF16: {
        uint32_t bits = (uint32_t)((const uint16_t *)memory)[i] << 16;
        float f;
        memcpy(&f, &bits, 4);
        return (double)f;
    }
    case DT_F16: {
        return half_value(((const uint16_t *)memory)[i]);
    }
    case DT_I64:
        return (double)((const int64_t *)memory)[i];
    default:
        return (double)((const int32_t *)memory)[i];
    }
}

/* -- building */
static Func *make_plain(World *w, const Problem *p) {
    Func *func = func_create(w->module, "plain", PURPOSE_OTHER);
    Value *args[MAX_ARGS];
    for (int32_t i = 0; i < p->n_args; i++) {
        args[i] = func_add_arg(func, ARG_INPUT, context_internf(&w->context, "x%d", i), p->args[i],
                               (Place){0});
    }
    Builder b = builder_at_end(func, func->body);
    Value *result = p->make(&b, args, p->user);
    FuncResult role = {.role = RESULT_OUTPUT, .name = context_intern(&w->context, "y")};
    func_set_results(func, &role, &result, 1);
    func_renumber(func);
    return func;
}

static Op *make_fusion(World *w, const Problem *p) {
    Func *func = func_create(w->module, "fused", PURPOSE_OTHER);
    Value *args[MAX_ARGS], *inner[MAX_ARGS];
    for (int32_t i = 0; i < p->n_args; i++) {
        args[i] = func_add_arg(func, ARG_INPUT, context_internf(&w->context, "x%d", i), p->args[i],
                               (Place){0});
    }
    Op *op = op_create(func, OP_fusion, args, p->n_args, 1, 1);
    op->blocks[0] = block_create(func, op);
    for (int32_t i = 0; i < p->n_args; i++) {
        inner[i] = block_add_arg(op->blocks[0], p->args[i], NULL);
    }
    op_set_form(op, context_intern(&w->context, "contract"));
    Builder b = builder_at_end(func, op->blocks[0]);
    Value *result = p->make(&b, inner, p->user);
    b_yield(&b, &result, 1);
    op->results[0]->type = result->type;
    return op;
}

/* -- running */
static void *buffer_new(int64_t bytes) {
    size_t n = ((size_t)bytes + 64 + 63) / 64 * 64;
    void *memory = aligned_alloc(64, n);
    memset(memory, 0xff, n);
    return memory;
}

static int64_t size_of(World *w, const Size *size) {
    int64_t value = 0;
    assert_true(size_eval(size, w->dim_values, 1, &value));
    return value;
}

static void run_kernel(World *w, const RunCode *code, int32_t index, const Kernel *kernel,
                       void **buffers, bool backwards) {
    int64_t *sizes = calloc((size_t)kernel->n_sizes + 1, sizeof *sizes), tiles = 1;
    for (int32_t i = 0; i < kernel->n_sizes; i++) {
        sizes[i] = size_of(w, kernel->sizes[i]);
    }
    for (int32_t i = 0; i < kernel->n_grid; i++) {
        tiles *= size_of(w, kernel->grid[i]);
    }
    KernelFault fault = {0};
    void *scratch = buffer_new(kernel_scratch_bytes(kernel));
    KernelArgs args = {buffers, sizes, scratch, &fault};
    KernelFunction function = run_function(code, index);
    if (!backwards) {
        function(&args, 0, tiles);
    } else {
        for (int64_t t = tiles - 1; t >= 0; t--) {
            function(&args, t, t + 1);
        }
    }
    assert_int_equal(fault.site, 0);
    free(scratch);
    free(sizes);
}

static void *run_lowered(World *w, const LoweredOp *lowered, const RunCode *code, void **operands,
                         int64_t result_bytes, bool backwards) {
    void *result = buffer_new(result_bytes);
    void *temps[8] = {NULL};
    for (int32_t i = 0; i < lowered->n_temps; i++) {
        int64_t elements = size_of(w, lowered->temps[i].elements);
        temps[i] = buffer_new(elements * dtype_bytes(lowered->temps[i].dtype));
    }
    for (int32_t i = 0; i < lowered->n_kernels; i++) {
        const LoweredKernel *lk = &lowered->kernels[i];
        void *buffers[16];
        for (int32_t b = 0; b < lk->kernel->n_buffers; b++) {
            buffers[b] = lk->binds[b].kind == BIND_OPERAND  ? operands[lk->binds[b].index]
                         : lk->binds[b].kind == BIND_RESULT ? result
                                                            : temps[lk->binds[b].index];
        }
        run_kernel(w, code, i, lk->kernel, buffers, backwards);
    }
    for (int32_t i = 0; i < lowered->n_temps; i++) {
        free(temps[i]);
    }
    return result;
}

/* The sum's rounding: relative to the size of the terms, not of the result. */
static double tolerance(DType dtype, double depth) {
    double unit = dtype == DT_F64   ? 1e-15
                  : dtype == DT_F32 ? 6e-7
                  : dtype == DT_F16 ? 2e-3
                                    : 1.6e-2;
    return dtype_is_float(dtype) ? unit * (4 + sqrt(depth)) * 4 : 0;
}

static void check(World *w, const Problem *p, double depth, const char *what) {
    Func *plain = make_plain(w, p);
    Op *fusion = make_fusion(w, p);
    EvalTensor tensors[MAX_ARGS], reference = {0};
    const EvalTensor *pointers[MAX_ARGS];
    void *operands[MAX_ARGS];
    for (int32_t i = 0; i < p->n_args; i++) {
        int64_t dims[TYPE_MAX_RANK];
        for (int32_t d = 0; d < p->args[i].rank; d++) {
            dims[d] = size_of(w, p->args[i].dims[d]);
        }
        assert_int_equal(
            eval_tensor_init(&tensors[i], p->args[i].dtype, p->args[i].rank, dims, NULL), 0);
        fill(&tensors[i]);
        pointers[i] = &tensors[i];
        operands[i] = buffer_new(tensors[i].n * dtype_bytes(tensors[i].dtype));
        to_memory(&tensors[i], operands[i]);
    }
    Interp interp = {
        .context = &w->context, .dim_values = w->dim_values, .n_dims = 1, .wide = true};
    if (interp_run(&interp, plain, pointers, &reference) != DLC_OK) {
        fail_msg("%s: %s", what, interp.message);
    }
    LowerContext lower = {.context = &w->context,
                          .arena = &w->context.arena,
                          .bodies = &w->context.arena,
                          .machine = &w->machine};
    KBuild *k = kb_create(&lower, fusion);
    if (p->is_conv) {
        lower_conv(k);
    } else {
        lower_contract(k);
    }
    LoweredOp lowered;
    kb_finish(k, &lowered);
    Kernel *kernels[8];
    for (int32_t i = 0; i < lowered.n_kernels; i++) {
        kernels[i] = lowered.kernels[i].kernel;
    }
    RunCode code;
    assert_true(run_compile(&w->machine, kernels, lowered.n_kernels, 1, &code));
    DType dtype = reference.dtype;
    int64_t bytes = reference.n * dtype_bytes(dtype);
    void *one = run_lowered(w, &lowered, &code, operands, bytes, false);
    void *two = run_lowered(w, &lowered, &code, operands, bytes, true);
    if (memcmp(one, two, (size_t)bytes) != 0) {
        fail_msg("%s: bits depend on the split", what);
    }
    double limit = tolerance(dtype, depth);
    for (int64_t i = 0; i < reference.n; i++) {
        double want = dtype_is_float(dtype) ? reference.f[i] : (double)reference.i[i];
        double got = from_memory(one, dtype, i);
        if (!(fabs(got - want) <= limit * (1 + fabs(want)))) {
            Str text;
            str_init(&text, NULL);
            kernel_print(kernels[0], &text);
            fprintf(stderr, "%s\n", str_text(&text));
            str_finish(&text);
            fail_msg("%s: element %lld of %lld is %g, want %g", what, (long long)i,
                     (long long)reference.n, got, want);
        }
    }
    run_finish(&code);
    free(one);
    free(two);
    for (int32_t i = 0; i < p->n_args; i++) {
        eval_tensor_finish(&tensors[i], NULL);
        free(operands[i]);
    }
    eval_tensor_finish(&reference, NULL);
}

/* -- contractions */
typedef struct Shape {
    int32_t n_batch, n_free_a, n_free_b, n_depth;
    ContractAxes axes;
    bool prologue, epilogue, move;
} Shape;

static Value *make_contract(Builder *b, Value **args, void *user) {
    const Shape *shape = user;
    Value *x = args[0], *y = args[1];
    if (shape->prologue) {
        x = b_mul(b, x, x);
        y = b_unary(b, OP_neg, y);
    }
    Value *c = b_contract(b, x, y, &shape->axes);
    if (shape->epilogue) {
        c = b_add(b, c, c);
        Value *bias = args[2];
        const int64_t axes[1] = {c->type.rank - 1};
        Value *wide = b_broadcast(b, bias, c->type.rank, c->type.dims, axes);
        c = b_add(b, c, wide);
    }
    if (shape->move && c->type.rank >= 2) {
        int64_t permutation[TYPE_MAX_RANK];
        for (int32_t i = 0; i < c->type.rank; i++) {
            permutation[i] = i;
        }
        permutation[0] = 1;
        permutation[1] = 0;
        c = b_transpose(b, c, permutation);
    }
    return c;
}

static const Size *random_size(World *w, int64_t most, bool allow_zero, bool allow_free) {
    if (allow_free && pick(0, 5) == 0) {
        return size_dim(&w->context, w->dim);
    }
    int64_t kind = pick(0, 9);
    if (kind == 0) {
        return fixed(w, 1);
    }
    if (kind == 1 && allow_zero) {
        return fixed(w, 0);
    }
    return fixed(w, pick(1, most));
}

/* Axes of an operand in random order: where each named axis went. */
static void shuffle(int32_t n, int64_t *order) {
    for (int32_t i = 0; i < n; i++) {
        order[i] = i;
    }
    for (int32_t i = n - 1; i > 0; i--) {
        int64_t j = pick(0, i), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}

static void random_contract(World *w, DType dtype, int round) {
    Shape shape = {.n_batch = (int32_t)pick(0, 2),
                   .n_free_a = (int32_t)pick(0, 2),
                   .n_free_b = (int32_t)pick(0, 2),
                   .n_depth = (int32_t)pick(0, 2)};
    if (round % 2 == 0) {
        shape.n_batch = (int32_t)pick(0, 1);
        shape.n_free_a = shape.n_free_b = shape.n_depth = 1;
    }
    const Size *named[8];
    int32_t n = shape.n_batch + shape.n_free_a + shape.n_free_b + shape.n_depth;
    double depth = 1;
    bool zero = pick(0, 7) == 0;
    for (int32_t i = 0; i < n; i++) {
        bool single = shape.n_free_a + shape.n_free_b + shape.n_depth <= 3;
        int64_t most = i < shape.n_batch ? 3 : single ? 150 : 13;
        if (single && i >= n - shape.n_depth && pick(0, 2) == 0) {
            most = 700;
        }
        named[i] = random_size(w, most, zero, i >= shape.n_batch && single);
        if (i >= n - shape.n_depth) {
            depth *= (double)size_nominal(named[i], DIM_VALUE);
        }
    }
    const Size *dims_a[8], *dims_b[8];
    int64_t order_a[8], order_b[8];
    int32_t rank_a = shape.n_batch + shape.n_free_a + shape.n_depth;
    int32_t rank_b = shape.n_batch + shape.n_free_b + shape.n_depth;
    shuffle(rank_a, order_a);
    shuffle(rank_b, order_b);
    if (shape.n_free_a == 2 || shape.n_free_b == 2) {
        /* The result lists free axes in the operands' order: leave them in place. */
    }
    shape.axes.n_batch = shape.n_batch;
    shape.axes.n_contract = shape.n_depth;
    for (int32_t i = 0; i < rank_a; i++) {
        int32_t name = i < shape.n_batch + shape.n_free_a ? i : i + shape.n_free_b;
        dims_a[order_a[i]] = named[name];
        if (i < shape.n_batch) {
            shape.axes.batch_a[i] = order_a[i];
        } else if (i >= shape.n_batch + shape.n_free_a) {
            shape.axes.contract_a[i - shape.n_batch - shape.n_free_a] = order_a[i];
        }
    }
    const Size *last = NULL;
    for (int32_t i = 0; i < rank_b; i++) {
        int32_t name = i < shape.n_batch ? i : i + shape.n_free_a;
        dims_b[order_b[i]] = named[name];
        if (i < shape.n_batch) {
            shape.axes.batch_b[i] = order_b[i];
        } else if (i >= shape.n_batch + shape.n_free_b) {
            shape.axes.contract_b[i - shape.n_batch - shape.n_free_b] = order_b[i];
        }
    }
    shape.prologue = pick(0, 3) == 0;
    shape.move = pick(0, 3) == 0;
    Problem p = {.n_args = 2, .make = make_contract, .user = &shape};
    p.args[0] = type_make(&w->context, dtype, rank_a, dims_a);
    p.args[1] = type_make(&w->context, dtype, rank_b, dims_b);
    if (shape.n_batch + shape.n_free_a + shape.n_free_b > 0 && pick(0, 1)) {
        /* The result's last axis: its size is learned from a first build. */
        Problem probe = p;
        Shape bare = {.axes = shape.axes};
        probe.user = &bare;
        Func *func = make_plain(w, &probe);
        Type type = block_yield(func->body)->operands[0]->type;
        last = type.dims[type.rank - 1];
        shape.epilogue = true;
        p.n_args = 3;
        p.args[2] = type_make(&w->context, dtype, 1, &last);
    }
    char what[160];
    snprintf(what, sizeof(what), "contract %d %s %s x %s", round, dtype_name(dtype),
             type_text(&w->context, p.args[0]), type_text(&w->context, p.args[1]));
    check(w, &p, depth, what);
}

static void test_contract(void **state) {
    (void)state;
    static const DType dtypes[] = {DT_F32, DT_F64, DT_F32, DT_BF16, DT_F32, DT_I32, DT_F16, DT_I64};
    const char *rounds = getenv("DLC_TEST_ROUNDS");
    int count = rounds ? atoi(rounds) : 120;
    for (int i = 0; i < count; i++) {
        World *w = world_create(i % 7 == 3 ? "x86-64-v2" : NULL);
        random_contract(w, dtypes[i % 8], i);
        world_destroy(w);
    }
}

static void run_matmul(World *w, DType dtype, const Size *m, const Size *n, const Size *d,
                       int order) {
    Shape shape = {.n_free_a = 1, .n_free_b = 1, .n_depth = 1};
    const Size *a[2] = {m, d}, *b[2] = {d, n};
    shape.axes.n_contract = 1;
    shape.axes.contract_a[0] = 1;
    if (order & 1) {
        a[0] = d;
        a[1] = m;
        shape.axes.contract_a[0] = 0;
    }
    if (order & 2) {
        b[0] = n;
        b[1] = d;
        shape.axes.contract_b[0] = 1;
    }
    Problem p = {.n_args = 2, .make = make_contract, .user = &shape};
    p.args[0] = type_make(&w->context, dtype, 2, a);
    p.args[1] = type_make(&w->context, dtype, 2, b);
    char what[160];
    snprintf(what, sizeof(what), "matmul %s x %s order %d", type_text(&w->context, p.args[0]),
             type_text(&w->context, p.args[1]), order);
    check(w, &p, (double)size_nominal(d, DIM_VALUE), what);
}

/* Shapes that take each path: tiny depth, few rows, long depths that are split. */
static void test_matmul_paths(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {{200, 64, 2},   {1, 300, 128},  {300, 1, 64},
                                        {2, 70, 5000},  {20, 30, 9000}, {64, 64, 0},
                                        {97, 193, 257}, {6, 16, 256},   {7, 17, 300},
                                        {1, 1, 9000},   {1, 1, 1},      {10, 64, 20000}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        for (int order = 0; order < 4; order++) {
            World *w = world_create(NULL);
            run_matmul(w, DT_F32, fixed(w, shapes[i][0]), fixed(w, shapes[i][1]),
                       fixed(w, shapes[i][2]), order);
            world_destroy(w);
        }
    }
}

/* -- convolutions */
typedef struct ConvShape {
    OpCode code;
    ConvAttrs attrs;
    const Size *spatial[3], *kernel[3];
    bool epilogue;
} ConvShape;

static Value *make_conv(Builder *b, Value **args, void *user) {
    const ConvShape *shape = user;
    Value *y = shape->code == OP_conv ? b_conv(b, args[0], args[1], &shape->attrs)
               : shape->code == OP_conv_input_grad
                   ? b_conv_input_grad(b, args[0], args[1], shape->spatial, &shape->attrs)
                   : b_conv_weight_grad(b, args[0], args[1], shape->kernel, &shape->attrs);
    if (shape->epilogue) {
        Value *zero = b_constant_like(b, 0, y);
        y = b_binary(b, OP_max, y, zero);
    }
    return y;
}

static void random_conv(World *w, DType dtype, int round) {
    ConvShape shape = {.code = round % 3 == 0   ? OP_conv
                               : round % 3 == 1 ? OP_conv_input_grad
                                                : OP_conv_weight_grad};
    ConvAttrs *attrs = &shape.attrs;
    attrs->n_spatial = (int32_t)pick(1, 3);
    attrs->groups = pick(0, 2) ? 1 : pick(2, 3);
    int64_t per_in = pick(1, 5), per_out = pick(1, 7);
    if (pick(0, 5) == 0) {
        attrs->groups = pick(1, 6);
        per_in = per_out = 1;
    }
    bool pointwise = pick(0, 4) == 0;
    Context *c = &w->context;
    const Size *images = pick(0, 3) ? fixed(w, pick(1, 4)) : size_dim(c, w->dim);
    int64_t most = attrs->n_spatial == 1 ? 40 : attrs->n_spatial == 2 ? 14 : 6;
    const Size *x[5] = {images, fixed(w, per_in * attrs->groups)};
    const Size *weight[5] = {fixed(w, per_out * attrs->groups), fixed(w, per_in)};
    const Size *y[5] = {images, weight[0]};
    double depth = (double)(per_in * per_out * 30);
    for (int32_t i = 0; i < attrs->n_spatial; i++) {
        int64_t kernel = pointwise ? 1 : pick(1, 4);
        attrs->stride[i] = pointwise ? 1 : pick(1, 3);
        attrs->dilation[i] = pick(1, 2);
        attrs->low[i] = pointwise ? 0 : pick(-1, 3);
        attrs->high[i] = pointwise ? 0 : pick(-1, 3);
        int64_t n = pick(1, most), out;
        do {
            out = n + attrs->low[i] + attrs->high[i] - attrs->dilation[i] * (kernel - 1) - 1;
            n++;
        } while (out < 0);
        n--;
        out = out / attrs->stride[i] + 1;
        x[2 + i] = shape.spatial[i] = fixed(w, n);
        weight[2 + i] = shape.kernel[i] = fixed(w, kernel);
        y[2 + i] = fixed(w, out);
    }
    shape.epilogue = pick(0, 1);
    int32_t rank = attrs->n_spatial + 2;
    Type types[3] = {type_make(c, dtype, rank, x), type_make(c, dtype, rank, weight),
                     type_make(c, dtype, rank, y)};
    Problem p = {.n_args = 2, .make = make_conv, .user = &shape, .is_conv = true};
    p.args[0] = types[shape.code == OP_conv_input_grad ? 2 : 0];
    p.args[1] = types[shape.code == OP_conv_weight_grad ? 2 : 1];
    char what[256];
    snprintf(what, sizeof(what), "%s %d %s x %s, groups %d, stride %d, dilation %d, low %d",
             op_info(shape.code)->name, round, type_text(c, p.args[0]), type_text(c, p.args[1]),
             (int)attrs->groups, (int)attrs->stride[attrs->n_spatial - 1],
             (int)attrs->dilation[attrs->n_spatial - 1], (int)attrs->low[attrs->n_spatial - 1]);
    check(w, &p, depth, what);
}

static void test_conv(void **state) {
    (void)state;
    static const DType dtypes[] = {DT_F32, DT_F64, DT_F32, DT_F32, DT_BF16};
    const char *rounds = getenv("DLC_TEST_ROUNDS");
    int count = rounds ? atoi(rounds) : 90;
    for (int i = 0; i < count; i++) {
        World *w = world_create(i % 7 == 3 ? "x86-64-v2" : NULL);
        random_conv(w, dtypes[i % 5], i);
        world_destroy(w);
    }
}

int main(void) {
    if (setjmp(boundary.jump)) {
        fprintf(stderr, "left through the boundary: %d\n", (int)boundary.status);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matmul_paths),
        cmocka_unit_test(test_contract),
        cmocka_unit_test(test_conv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
