/* The gradient of every op, first and second, against central finite differences in f64. The cases
 * are rows of cases.def (single ops) and functions of scan_cases.c (loops); and every row of
 * scalar.def, so that none has a derivative of zero because nobody wrote one. */
#include "tests/ops/harness.h"
#include "tests/ops/scan_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>

#define CASE(name, spec, ...)                                                                      \
    static Value *build_##name(Harness *h, Builder *b, Value **x) {                                \
        (void)h;                                                                                   \
        __VA_ARGS__                                                                                \
    }
#include "tests/ops/cases.def"
#undef CASE

typedef struct GradientCase {
    const char *name, *spec;
    HarnessBuild *build;
} GradientCase;

static const GradientCase CASES[] = {
#define CASE(name, spec, ...) {#name, spec, build_##name},
#include "tests/ops/cases.def"
#undef CASE
#define SCAN_CASE(name, spec) {#name, spec, scan_##name},
    SCAN_CASES
#undef SCAN_CASE
};

enum { N_CASES = sizeof CASES / sizeof CASES[0] };

static bool has_case[OP_CODE_COUNT];

static void note_op(Op *op, void *user) {
    (void)user;
    has_case[op->code] = true;
}

/* Which ops the case is made of. */
static void note_ops(Harness *h, const GradientCase *row) {
    Func *func = harness_func(h, row->spec);
    Builder b = builder_at_end(func, func->body);
    row->build(h, &b, func->body->args);
    func_each_op(func, note_op, NULL);
    func_remove(func);
}

static void test_case(void **state) {
    const GradientCase *row = *state;
    Harness *harness = calloc(1, sizeof *harness);
    harness_init(harness);
    if (setjmp(harness->boundary.jump)) {
        const DiagList *diags = &harness->context.diags;
        fail_msg("%s: left through the boundary: %s", row->name,
                 diags->count ? diags->items[diags->count - 1]->message : "no diagnostic");
    }
    if (!harness_check_gradients(harness, row->spec, row->build, 2)) {
        fail_msg("%s: %s", row->name, harness->message);
    }
    note_ops(harness, row);
    harness_finish(harness);
    free(harness);
}

/* Whether operand k of a row may be negative. */
static bool may_be_negative(const OpInfo *info, int32_t k) {
    switch (info->scalar_domain) {
    case DOMAIN_POSITIVE:
        return false;
    case DOMAIN_DIVISOR:
        return k == 0;
    case DOMAIN_BASE:
        return k == 1;
    case DOMAIN_ALL:
    case DOMAIN_NEAR_0:
    case DOMAIN_UNIT:
        break;
    }
    return true;
}

/* Builds sum(op(x, y)) of elements in general position and in the row's domain, where every row has
 * a derivative. */
static bool check_scalar(Harness *h, OpCode code) {
    static const double points[2][6] = {{0.37, 0.62, 0.81, -0.37, 0.23, -0.71},
                                        {0.55, 0.29, 0.46, 0.88, -0.19, -0.64}};
    const OpInfo *info = op_info(code);
    const char *spec = info->n_operands == 1 ? "f64[6]" : "f64[6] f64[6]";
    Func *func = harness_func(h, spec);
    Builder b = builder_at_end(func, func->body);
    Value **x = func->body->args, *half = b_constant_like(&b, 0.5, x[0]), *operands[3] = {x[0]};
    if (code == OP_select) {
        operands[0] = b_binary(&b, OP_gt, x[0], half);
        operands[1] = x[0];
        operands[2] = x[1];
    } else if (info->n_operands == 2) {
        operands[1] = x[1];
    }
    Value *y = b_scalar(&b, code, operands, info->n_operands);
    int64_t axis = 0;
    Value *loss = b_reduce(&b, OP_reduce_sum, y, &axis, 1);
    FuncResult result = {.role = RESULT_OUTPUT, .name = "loss"};
    func_set_results(func, &result, &loss, 1);
    EvalTensor args[HARNESS_MAX_ARGS] = {0};
    harness_args(h, func, spec, 1, args);
    for (int32_t i = 0; i < 6 * func->body->n_args; i++) {
        double point = points[i / 6][i % 6];
        args[i / 6].f[i % 6] = may_be_negative(info, i / 6) ? point : fabs(point);
    }
    bool good = harness_check_func(h, func, args, 1, 1e-6);
    harness_free(args, func->body->n_args);
    return good;
}

static void test_scalars(void **state) {
    (void)state;
    for (volatile int code = 0; code < OP_N_SCALAR; code++) { /* volatile: read after a jump */
        const OpInfo *info = op_info((OpCode)code);
        if (info->scalar_result == RESULT_BOOL || info->scalar_class == CLASS_INTEGER) {
            continue;
        }
        Harness *harness = calloc(1, sizeof *harness);
        harness_init(harness);
        if (setjmp(harness->boundary.jump)) {
            fail_msg("%s: left through the boundary", op_info((OpCode)code)->name);
        }
        if (!check_scalar(harness, (OpCode)code)) {
            fail_msg("%s: %s", op_info((OpCode)code)->name, harness->message);
        }
        harness_finish(harness);
        free(harness);
    }
}

/* After all cases: every row of ops.def with a rule stands in one; attention's are
 * test_attention's, those of collectives, which need ranks, test_ranks's. */
static void test_every_op(void **state) {
    (void)state;
    for (int code = OP_N_SCALAR; code < OP_CODE_COUNT; code++) {
        const OpInfo *info = op_info((OpCode)code);
        bool elsewhere =
            code == OP_attention || code == OP_attention_grad || info->kind == KIND_COLLECTIVE;
        if (info->grad && !elsewhere && !has_case[code]) {
            fail_msg("%s has a gradient and no case", info->name);
        }
    }
}

int main(void) {
    static struct CMUnitTest tests[N_CASES + 2];
    for (int i = 0; i < N_CASES; i++) {
        tests[i] = (struct CMUnitTest){.name = CASES[i].name,
                                       .test_func = test_case,
                                       .initial_state = (void *)(uintptr_t)&CASES[i]};
    }
    tests[N_CASES] = (struct CMUnitTest)cmocka_unit_test(test_scalars);
    tests[N_CASES + 1] = (struct CMUnitTest)cmocka_unit_test(test_every_op);
    return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}
