/* What is lowered for machines whose tiles are run by a block of threads. The loop IR has one
 * meaning, so those kernels are run here in order: by the loop IR's interpreter, with every access
 * checked, and by the CPU backend; results must be the reference interpreter's. Loops marked
 * independent are also checked for what the mark promises. DLC_KERNEL_GRAPHS and DLC_KERNEL_FIRST
 * choose the seeds, DLC_KERNEL_VERBOSE prints what fails. */
#include "tests/fuzz/random_graph.h"
#include "tests/ops/kernel_agree.h"
#include "tests/ops/kernel_check.h"
#include "tests/unit/block_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

/* Machines from the smallest block to a large one; few processors, so that small tensors are cut
 * as large ones are. */
static const struct {
    const char *name;
    int32_t threads, lanes, processors, rows, columns;
    int64_t shared;
    bool has_bf16;
} shapes[] = {
    {"small", 32, 8, 4, 32, 32, 49152, false},
    {"middle", 128, 32, 1, 64, 64, 49152, true},
    {"large", 256, 32, 132, 128, 128, 232448, true},
};
enum { N_SHAPES = 3 };
static int failed_cases; /* of the test that runs */

static void block_machine(Machine *machine, int shape) {
    machine->threads = shapes[shape].threads;
    machine->lanes = shapes[shape].lanes;
    machine->processors = shapes[shape].processors;
    machine->shared_bytes = shapes[shape].shared;
    machine->has_bf16 = shapes[shape].has_bf16;
    machine->merges_kernels = shape == N_SHAPES - 1;
    machine->tile_rows_f32 = shapes[shape].rows;
    machine->tile_columns_f32 = shapes[shape].columns;
    machine->tile_rows_f64 = machine->tile_columns_f64 = 32;
}

static void begin(Harness *h, Machine *machine, int shape) {
    assert_true(block_machine_shapes(&h->context.arena, machine));
    block_machine(machine, shape);
}

static void check_seed(uint64_t seed, int shape, bool compiled) {
    Harness *h = calloc(1, sizeof *h);
    harness_init_dims(h, seed % 4 != 3); /* every fourth graph's axes may be empty */
    if (setjmp(h->boundary.jump)) {
        fail_msg("seed %llu: left through the boundary", (unsigned long long)seed);
    }
    Machine machine = {0};
    begin(h, &machine, shape);
    RandomGraphOptions options = {.n_ops = 8 + (int32_t)(seed % 32)};
    Func *func = random_graph(h->module, seed, &options);
    random_dims(h->module, seed, h->dim_values);
    EvalTensor args[64] = {0};
    assert_true(random_args(func, seed, h->dim_values, 2, true, args));
    if (!kernel_agree(h, &machine, func, args, compiled, kernel_check)) {
        fail_msg("seed %llu, machine %s: %s", (unsigned long long)seed, shapes[shape].name,
                 h->message);
    }
    harness_free(args, func->body->n_args);
    harness_finish(h);
    free(h);
}

static void each_seed(uint64_t count, bool compiled) {
    uint64_t first = setting("DLC_KERNEL_FIRST", 0);
    uint64_t end = first + setting("DLC_KERNEL_GRAPHS", count);
    for (uint64_t at = first; at < end; at++) {
        check_seed(at, (int)(at % N_SHAPES), compiled);
    }
}

static void test_interpreted(void **state) {
    (void)state;
    each_seed(200, false);
}

static void test_compiled(void **state) {
    (void)state;
    each_seed(10, true);
}

/* -- shapes that random graphs are too small for */
static Value *spread(Builder *b, Value *x, const Value *like, int64_t axis) {
    return b_expand_axes(b, x, like->type, &axis, 1);
}

static Value *softmax(Builder *b, Value *x, int64_t axis) {
    Value *most = b_reduce(b, OP_reduce_max, x, &axis, 1);
    Value *e = b_unary(b, OP_exp, b_sub(b, x, spread(b, most, x, axis)));
    Value *sum = b_reduce(b, OP_reduce_sum, e, &axis, 1);
    return b_div(b, e, spread(b, sum, x, axis));
}

/* Over axes 0 and 2, as batch norm does it. */
static Value *normalise(Builder *b, Value *x) {
    const int64_t axes[] = {0, 2};
    Value *sum = b_reduce(b, OP_reduce_sum, x, axes, 2);
    Value *centred = b_sub(b, x, b_expand_axes(b, sum, x->type, axes, 2));
    Value *power = b_reduce(b, OP_reduce_sum, b_mul(b, centred, centred), axes, 2);
    return b_div(b, centred, b_expand_axes(b, power, x->type, axes, 2));
}

static Value *matmul(Builder *b, Value *x, Value *y, int64_t axis_x, int64_t axis_y) {
    ContractAxes axes = {.n_contract = 1, .contract_a = {axis_x}, .contract_b = {axis_y}};
    return b_contract(b, x, y, &axes);
}

static ConvAttrs attrs_of(int64_t stride, int64_t pad, int64_t groups) {
    return (ConvAttrs){.n_spatial = 2,
                       .stride = {stride, stride},
                       .dilation = {1, 1},
                       .low = {pad, pad},
                       .high = {pad, pad},
                       .groups = groups};
}

static Value *conv(Builder *b, Value *x, Value *w, int64_t stride, int64_t pad, int64_t groups) {
    ConvAttrs attrs = attrs_of(stride, pad, groups);
    return b_conv(b, x, w, &attrs);
}

static Value *conv_x(Harness *h, Builder *b, Value *dy, Value *w, int64_t height, int64_t width,
                     int64_t stride, int64_t pad) {
    ConvAttrs attrs = attrs_of(stride, pad, 1);
    const Size *spatial[] = {size_const(&h->context, height), size_const(&h->context, width)};
    return b_conv_input_grad(b, dy, w, spatial, &attrs);
}

static Value *conv_w(Harness *h, Builder *b, Value *x, Value *dy, int64_t stride, int64_t pad) {
    ConvAttrs attrs = attrs_of(stride, pad, 1);
    const Size *kernel[] = {size_const(&h->context, 3), size_const(&h->context, 3)};
    return b_conv_weight_grad(b, x, dy, kernel, &attrs);
}

#define CASE(name, args, ...)                                                                      \
    static Value *build_##name(Harness *h, Builder *b, Value **x) {                                \
        (void)h;                                                                                   \
        __VA_ARGS__                                                                                \
    }
#include "tests/ops/block_cases.def"
#undef CASE

static const struct {
    const char *name, *args;
    HarnessBuild *build;
} cases[] = {
#define CASE(name, args, ...) {#name, args, build_##name},
#include "tests/ops/block_cases.def"
#undef CASE
};
enum { N_CASES = sizeof(cases) / sizeof(cases[0]) };

static void check_case(int number, int shape) {
    Harness *h = calloc(1, sizeof *h);
    harness_init(h);
    if (setjmp(h->boundary.jump)) {
        const DiagList *diags = &h->context.diags;
        fail_msg("case %s: left through the boundary: %s", cases[number].name,
                 diags->count ? diags->items[diags->count - 1]->message : "");
    }
    Machine machine = {0};
    begin(h, &machine, shape);
    h->dim_values[0] = 70;
    h->dim_values[1] = 9;
    EvalTensor args[HARNESS_MAX_ARGS] = {0};
    Func *func = harness_func(h, cases[number].args);
    harness_args(h, func, cases[number].args, 7, args);
    Builder b = builder_at_end(func, func->body);
    Value *y = cases[number].build(h, &b, func->body->args);
    FuncResult result = {.role = RESULT_OUTPUT, .name = "y"};
    func_set_results(func, &result, &y, 1);
    if (!kernel_agree(h, &machine, func, args, false, kernel_check)) {
        print_error("case %s (%d), machine %s: %s\n", cases[number].name, number,
                    shapes[shape].name, h->message);
        failed_cases++;
    }
    harness_free(args, func->body->n_args);
    harness_finish(h);
    free(h);
}

static void test_cases(void **state) {
    (void)state;
    failed_cases = 0;
    for (int at = (int)setting("DLC_KERNEL_FIRST", 0); at < N_CASES; at++) {
        for (int shape = 0; shape < N_SHAPES; shape++) {
            check_case(at, shape);
        }
    }
    assert_int_equal(failed_cases, 0);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interpreted),
        cmocka_unit_test(test_compiled),
        cmocka_unit_test(test_cases),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
