/* What the tests of the IR share: a context per test and one sample module. */
#ifndef DLC_TESTS_UNIT_IR_SAMPLE_H
#define DLC_TESTS_UNIT_IR_SAMPLE_H

#include "ir/build.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One compile: a context whose boundary is the test's own. */
typedef struct Fixture {
    Context context;
    Boundary boundary;
    Str report;
} Fixture;

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof(*f));
    context_init(&f->context, NULL, &f->boundary);
    str_init(&f->report, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    str_finish(&f->report);
    context_finish(&f->context);
    free(f);
    return 0;
}

/* A jump where none is expected fails the test. */
#define GUARD(f)                                                                                   \
    if (setjmp((f)->boundary.jump) != 0) {                                                         \
        fail_msg("left through the boundary with status %d", (int)(f)->boundary.status);           \
    }

static Type type_of(Context *context, DType dtype, int32_t rank, const Size *a, const Size *b) {
    const Size *dims[] = {a, b};
    return type_make(context, dtype, rank, dims);
}

/* loss = sum((x @ w)²); w <- w - 0.1 x; a scan over the rows keeps a running sum. */
static inline Module *sample_module(Context *context) {
    Module *module = module_create(context, "sample");
    const Dim *dim = module_add_dim(module, "B", 1, INT64_MAX, 1, 64, (Place){0});
    module_add_dim(module, "H", 8, 512, 8, 0, (Place){0});
    map_set(&module->settings, "batch", (void *)(uintptr_t) "64");
    map_set(&module->settings, "set.odd name", (void *)(uintptr_t) "a \"quoted\"\n\ttext\\ \x01");
    const Size *rows = size_dim(context, dim);
    const Size *three = size_const(context, 3);
    Func *func = func_create(module, "sample.train", PURPOSE_TRAIN);
    Value *x =
        func_add_arg(func, ARG_INPUT, "x", type_of(context, DT_F32, 2, rows, three), (Place){0});
    Value *w = func_add_arg(func, ARG_PARAM, "fc.weight", type_of(context, DT_F32, 1, three, NULL),
                            (Place){0});
    x->name = context_intern(context, "x");
    Builder b = builder_at_end(func, func->body);
    b.label = "fc";
    ContractAxes axes = {.n_contract = 1, .contract_a = {1}, .contract_b = {0}};
    Value *y = b_contract(&b, x, w, &axes);
    y->name = context_intern(context, "y");
    b.label = NULL;
    Value *square = b_mul(&b, y, y);
    int64_t axis = 0;
    Value *loss = b_reduce(&b, OP_reduce_sum, square, &axis, 1);
    Value *rate = b_constant_like(&b, 0.1, w);
    Value *change = b_mul(&b, rate, w);
    Value *next_w = b_sub(&b, w, change);
    Value *zero = b_constant(&b, 0.0, type_scalar(DT_F32));
    Op *scan = b_scan_begin(&b, &zero, 1, &y, 1, rows, false, 1);
    Builder inner = builder_at_end(func, scan->blocks[0]);
    Value *sum = b_add(&inner, scan->blocks[0]->args[1], scan->blocks[0]->args[2]);
    Value *yields[] = {sum, sum};
    b_yield(&inner, yields, 2);
    Value *last = b_op(&b, scan);
    double numbers[] = {1.0, -0.0, INFINITY, -INFINITY, 0.1, 5e-324};
    Value *literal =
        b_literal(&b, type_of(context, DT_F32, 2, size_const(context, 2), three), numbers, 6);
    FuncResult results[] = {{.role = RESULT_LOSS, .name = "loss", .arg = 0},
                            {.role = RESULT_STORE, .name = "", .arg = 1},
                            {.role = RESULT_OUTPUT, .name = "running", .arg = 0},
                            {.role = RESULT_METRIC, .name = "last", .arg = 0},
                            {.role = RESULT_OUTPUT, .name = "numbers", .arg = 0}};
    Value *values[] = {loss, next_w, scan->results[1], last, literal};
    func_set_results(func, results, values, 5);
    func_renumber(func);
    return module;
}

static inline Op *find_op(Module *module, OpCode code) {
    BLOCK_EACH_OP (module->first->body, op) {
        if (op->code == code) {
            return op;
        }
    }
    fail_msg("no such op");
    return NULL;
}

#endif
