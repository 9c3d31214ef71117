/* Products as kernels run them: GFLOP/s of matrix products and convolutions on one thread, beside
 * the processor's measured multiply-add peak, and how long each took to compile. Run by hand. */
#include "codegen/lower/lower.h"
#include "ir/build.h"
#include "tests/unit/kernel_run.h"
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define FMA(n)  "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #n "\n"
#define FMAZ(n) "vfmadd231ps %%zmm14, %%zmm15, %%zmm" #n "\n"

/* Twelve independent sums keep both multiply-add units busy. */
static double peak(bool wide) {
    double best = 0;
    for (int round = 0; round < 50; round++) {
        double start = now();
        for (int i = 0; i < 100000; i++) {
            if (wide) {
                __asm__ volatile(FMAZ(0) FMAZ(1) FMAZ(2) FMAZ(3) FMAZ(4) FMAZ(5) FMAZ(6) FMAZ(7)
                                     FMAZ(8) FMAZ(9) FMAZ(10) FMAZ(11)::
                                         : "memory");
            } else {
                __asm__ volatile(FMA(0) FMA(1) FMA(2) FMA(3) FMA(4) FMA(5) FMA(6) FMA(7) FMA(8)
                                     FMA(9) FMA(10) FMA(11)::
                                         : "memory");
            }
        }
        double rate = 1e5 * 12 * (wide ? 32 : 16) / (now() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

static Boundary boundary;

typedef struct Setup {
    Context context;
    Module *module;
    Machine machine;
    double peak;
    bool show;
} Setup;

static int64_t value_of(const Size *size) {
    int64_t value = 0;
    size_is_const(size, &value);
    return value;
}

static void *new_buffer(int64_t bytes) {
    size_t n = ((size_t)bytes + 127) / 64 * 64;
    float *memory = aligned_alloc(64, n);
    for (size_t i = 0; i < n / 4; i++) {
        memory[i] = (float)(i % 17) * 0.125f - 1.0f;
    }
    return memory;
}

static void run_once(const LoweredOp *lowered, const RunCode *code, void **operands, void *result,
                     void **temps, void **scratch) {
    for (int32_t i = 0; i < lowered->n_kernels; i++) {
        const LoweredKernel *lk = &lowered->kernels[i];
        void *buffers[16];
        int64_t tiles = 1;
        for (int32_t b = 0; b < lk->kernel->n_buffers; b++) {
            buffers[b] = lk->binds[b].kind == BIND_OPERAND  ? operands[lk->binds[b].index]
                         : lk->binds[b].kind == BIND_RESULT ? result
                                                            : temps[lk->binds[b].index];
        }
        for (int32_t g = 0; g < lk->kernel->n_grid; g++) {
            tiles *= value_of(lk->kernel->grid[g]);
        }
        KernelFault fault = {0};
        KernelArgs args = {buffers, NULL, scratch[i], &fault};
        run_function(code, i)(&args, 0, tiles);
    }
}

static void measure(Setup *s, const char *name, Op *fusion, const Type *types, double flops,
                    bool is_conv) {
    LowerContext lower = {
        .context = &s->context, .arena = &s->context.arena, .machine = &s->machine};
    double start = now();
    KBuild *k = kb_create(&lower, fusion);
    if (is_conv) {
        lower_conv(k);
    } else {
        lower_contract(k);
    }
    LoweredOp lowered;
    kb_finish(k, &lowered);
    double lower_time = now() - start;
    Kernel *kernels[4];
    for (int32_t i = 0; i < lowered.n_kernels; i++) {
        kernels[i] = lowered.kernels[i].kernel;
    }
    RunCode code;
    start = now();
    if (!run_compile(&s->machine, kernels, lowered.n_kernels, 1, &code)) {
        return;
    }
    double compile_time = now() - start;
    if (s->show) {
        Str text;
        str_init(&text, NULL);
        kernel_print(kernels[0], &text);
        target_find("cpu")->show(&s->machine, kernels[0], &text);
        printf("%s\n", str_text(&text));
        str_finish(&text);
    }
    void *operands[2], *temps[4] = {NULL}, *scratch[4];
    for (int i = 0; i < 2; i++) {
        operands[i] = new_buffer(value_of(type_bytes(&s->context, types[i])));
    }
    void *result = new_buffer(value_of(type_bytes(&s->context, types[2])));
    for (int32_t i = 0; i < lowered.n_temps; i++) {
        temps[i] =
            new_buffer(value_of(lowered.temps[i].elements) * dtype_bytes(lowered.temps[i].dtype));
    }
    for (int32_t i = 0; i < lowered.n_kernels; i++) {
        scratch[i] = new_buffer(kernel_scratch_bytes(kernels[i]));
    }
    double best = 1e30, total = 0;
    for (int round = 0; round < 200 && total < 0.5; round++) {
        start = now();
        run_once(&lowered, &code, operands, result, temps, scratch);
        double took = now() - start;
        best = took < best ? took : best;
        total += took;
    }
    printf("%-44s %8.3f ms %7.1f GFLOP/s %5.1f %% of peak; lower %4.1f ms, compile %5.1f ms (%d "
           "kernels, %zu bytes)\n",
           name, best * 1e3, flops / best * 1e-9, 100 * flops / best / s->peak, lower_time * 1e3,
           compile_time * 1e3, lowered.n_kernels, code.n_bytes);
    run_finish(&code);
    free(operands[0]);
    free(operands[1]);
    free(result);
    for (int i = 0; i < 4; i++) {
        free(temps[i]);
        if (i < lowered.n_kernels) {
            free(scratch[i]);
        }
    }
}

static Op *make_op(Setup *s, OpCode code, Type *types, const void *attrs,
                   const Size *const *sizes) {
    Func *func = func_create(s->module, "bench", PURPOSE_OTHER);
    Value *args[2], *inner[2];
    args[0] = func_add_arg(func, ARG_INPUT, context_intern(&s->context, "a"), types[0], (Place){0});
    args[1] = func_add_arg(func, ARG_INPUT, context_intern(&s->context, "b"), types[1], (Place){0});
    Op *op = op_create(func, OP_fusion, args, 2, 1, 1);
    op->blocks[0] = block_create(func, op);
    inner[0] = block_add_arg(op->blocks[0], types[0], NULL);
    inner[1] = block_add_arg(op->blocks[0], types[1], NULL);
    op_set_form(op, context_intern(&s->context, "contract"));
    Builder b = builder_at_end(func, op->blocks[0]);
    Value *y = code == OP_contract ? b_contract(&b, inner[0], inner[1], attrs)
               : code == OP_conv   ? b_conv(&b, inner[0], inner[1], attrs)
               : code == OP_conv_input_grad
                   ? b_conv_input_grad(&b, inner[0], inner[1], sizes, attrs)
                   : b_conv_weight_grad(&b, inner[0], inner[1], sizes, attrs);
    b_yield(&b, &y, 1);
    op->results[0]->type = y->type;
    types[2] = y->type;
    return op;
}

/* order: 1: A is stored [depth, m]; 2: B is stored [n, depth]. */
static void matmul(Setup *s, DType dtype, int64_t batch, int64_t m, int64_t n, int64_t d,
                   int order) {
    Context *c = &s->context;
    ContractAxes axes = {.n_contract = 1, .n_batch = batch > 1};
    int at = axes.n_batch;
    const Size *a[3] = {size_const(c, batch)}, *b[3] = {size_const(c, batch)};
    a[at + (order & 1 ? 1 : 0)] = size_const(c, m);
    a[at + (order & 1 ? 0 : 1)] = size_const(c, d);
    b[at + (order & 2 ? 0 : 1)] = size_const(c, n);
    b[at + (order & 2 ? 1 : 0)] = size_const(c, d);
    axes.contract_a[0] = at + (order & 1 ? 0 : 1);
    axes.contract_b[0] = at + (order & 2 ? 1 : 0);
    Type types[3] = {type_make(c, dtype, at + 2, a), type_make(c, dtype, at + 2, b)};
    Op *op = make_op(s, OP_contract, types, &axes, NULL);
    char name[96];
    static const char *const orders[] = {"nn", "tn", "nt", "tt"};
    snprintf(name, sizeof(name), "matmul %s %s %lld x %lld x %lld x %lld", dtype_name(dtype),
             orders[order], (long long)batch, (long long)m, (long long)n, (long long)d);
    measure(s, name, op, types, 2.0 * (double)(batch * m * n * d), false);
}

static void conv(Setup *s, int64_t images, int64_t in, int64_t out, int64_t side, int64_t kernel,
                 int64_t stride, int64_t groups) {
    Context *c = &s->context;
    int64_t pad = kernel / 2, to = (side + 2 * pad - kernel) / stride + 1;
    ConvAttrs attrs = {.n_spatial = 2,
                       .stride = {stride, stride},
                       .dilation = {1, 1},
                       .low = {pad, pad},
                       .high = {pad, pad},
                       .groups = groups};
    const Size *x[4] = {size_const(c, images), size_const(c, in), size_const(c, side),
                        size_const(c, side)};
    const Size *w[4] = {size_const(c, out), size_const(c, in / groups), size_const(c, kernel),
                        size_const(c, kernel)};
    const Size *y[4] = {x[0], w[0], size_const(c, to), size_const(c, to)};
    Type tx = type_make(c, DT_F32, 4, x), tw = type_make(c, DT_F32, 4, w),
         ty = type_make(c, DT_F32, 4, y);
    double flops = 2.0 * (double)(images * out * to * to * (in / groups) * kernel * kernel);
    static const OpCode codes[3] = {OP_conv, OP_conv_input_grad, OP_conv_weight_grad};
    for (int i = 0; i < 3; i++) {
        Type types[3] = {i == 1 ? ty : tx, i == 2 ? ty : tw};
        Op *op = make_op(s, codes[i], types, &attrs, i == 1 ? x + 2 : w + 2);
        char name[96];
        snprintf(name, sizeof(name), "%s %lldx%lld->%lld %lldx%lld k%lld s%lld g%lld",
                 i == 0   ? "conv"
                 : i == 1 ? "conv dx"
                          : "conv dw",
                 (long long)images, (long long)in, (long long)out, (long long)side, (long long)side,
                 (long long)kernel, (long long)stride, (long long)groups);
        measure(s, name, op, types, flops, true);
    }
}

int main(int argc, char **argv) {
    if (setjmp(boundary.jump)) {
        return 1;
    }
    Setup s = {0};
    context_init(&s.context, NULL, &boundary);
    s.module = module_create(&s.context, "bench");
    if (!run_machine(NULL, &s.context.arena, &s.machine)) {
        return 1;
    }
    s.peak = peak(s.machine.vector_bytes == 64);
    printf("%s: peak %.1f GFLOP/s in f32, one thread\n", s.machine.name, s.peak * 1e-9);
    if (argc > 5) {
        s.show = argc > 6;
        matmul(&s, DT_F32, 1, atol(argv[1]), atol(argv[2]), atol(argv[3]), atoi(argv[4]));
        return 0;
    }
    matmul(&s, DT_F32, 1, 96, 192, 256, 0);
    for (int order = 0; order < 4; order++) {
        matmul(&s, DT_F32, 1, 512, 512, 512, order);
        matmul(&s, DT_F32, 1, 512, 768, 3072, order);
    }
    matmul(&s, DT_F64, 1, 512, 512, 512, 2);
    matmul(&s, DT_F32, 1, 1024, 50257, 768, 2);
    matmul(&s, DT_F32, 96, 128, 128, 64, 2);
    matmul(&s, DT_F32, 96, 128, 64, 128, 0);
    matmul(&s, DT_F32, 256, 8, 8, 16, 2);
    matmul(&s, DT_F32, 1, 1, 3072, 768, 2);
    matmul(&s, DT_F32, 1, 1, 3072, 768, 0);
    matmul(&s, DT_F32, 1, 64, 10, 128, 2);
    matmul(&s, DT_F32, 1, 64, 256, 64, 2);
    matmul(&s, DT_F32, 1, 256, 64, 16384, 1);
    matmul(&s, DT_F32, 1, 16384, 64, 2, 2);
    matmul(&s, DT_F32, 1, 16384, 1, 64, 2);
    conv(&s, 32, 1, 32, 28, 3, 1, 1);
    conv(&s, 32, 32, 64, 14, 3, 1, 1);
    conv(&s, 8, 64, 64, 56, 3, 1, 1);
    conv(&s, 8, 256, 512, 14, 3, 2, 1);
    conv(&s, 8, 512, 512, 7, 3, 1, 1);
    conv(&s, 8, 64, 256, 56, 1, 1, 1);
    conv(&s, 8, 3, 64, 224, 7, 2, 1);
    conv(&s, 8, 96, 96, 28, 3, 1, 96);
    module_destroy(s.module);
    context_finish(&s.context);
    return 0;
}
