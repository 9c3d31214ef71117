/* Loops, views and stores through the whole compiler: every program of IR text below is run by the
 * reference interpreter and as a plan, with and without poison, and the results must agree. */
#include "dlc/dlc.h"
#include "ir/interp.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "module \"m\" {\n    dim N in 0.. = 5\n}\n\n"

typedef struct Case {
    const char *name, *text;
} Case;

static const Case cases[] = {
    {"running sum, forwards",
     HEAD "func \"m.infer\" infer (\n    %0: f32[N, 3] = input \"x\"\n) {\n"
          "    %1 = constant {value = 0.0, dtype = f32, shape = [3]} : f32[3]\n"
          "    %2, %3 = scan %1, %0 {length = N, carries = 1, reverse = false} : f32[3], f32[N, 3] "
          "(%4: i32[], %5: f32[3], %6: f32[3]) {\n"
          "        %7 = add %5, %6 : f32[3]\n        yield %7, %7\n    }\n"
          "    yield %2, %3\n} -> (\n    output \"a\",\n    output \"b\"\n)\n"},
    {"reverse, with the index",
     HEAD "func \"m.infer\" infer (\n    %0: f32[N, 3] = input \"x\"\n) {\n"
          "    %1 = constant {value = 1.0, dtype = f32, shape = [3]} : f32[3]\n"
          "    %2, %3 = scan %1, %0 {length = N, carries = 1, reverse = true} : f32[3], i32[N] "
          "(%4: i32[], %5: f32[3], %6: f32[3]) {\n"
          "        %7 = mul %5, %6 : f32[3]\n        %8 = add %7, %6 : f32[3]\n"
          "        yield %8, %4\n    }\n"
          "    yield %2, %3\n} -> (\n    output \"a\",\n    output \"b\"\n)\n"},
    {"carries exchanged, one passed on, one yielded twice", HEAD
     "func \"m.infer\" infer (\n    %0: f32[N, 3] = input \"x\",\n    %1: f32[3] = input \"p\",\n"
     "    %2: f32[3] = input \"q\"\n) {\n"
     "    %3, %4, %5, %6, %7 = scan %1, %2, %1, %2, %0 {length = N, carries = 4, reverse = false} "
     ": "
     "f32[3], f32[3], f32[3], f32[3], f32[N, 3] "
     "(%8: i32[], %9: f32[3], %10: f32[3], %11: f32[3], %12: f32[3], %13: f32[3]) {\n"
     "        %14 = add %9, %13 : f32[3]\n        %15 = mul %11, %14 : f32[3]\n"
     "        yield %10, %14, %11, %14, %15\n    }\n"
     "    %16 = add %3, %1 : f32[3]\n"
     "    yield %16, %4, %5, %6, %7\n} -> (\n    output \"a\",\n    output \"b\",\n"
     "    output \"c\",\n    output \"d\",\n    output \"e\"\n)\n"},
    {"a scan in a scan", HEAD
     "func \"m.infer\" infer (\n    %0: f32[N, 4, 3] = input \"x\"\n) {\n"
     "    %1 = constant {value = 0.5, dtype = f32, shape = [3]} : f32[3]\n"
     "    %2, %3 = scan %1, %0 {length = N, carries = 1, reverse = false} : f32[3], f32[N, 4, 3] "
     "(%4: i32[], %5: f32[3], %6: f32[4, 3]) {\n"
     "        %7, %8 = scan %5, %6 {length = 4, carries = 1, reverse = true} : f32[3], f32[4, 3] "
     "(%9: i32[], %10: f32[3], %11: f32[3]) {\n"
     "            %12 = sub %11, %10 : f32[3]\n            yield %12, %12\n        }\n"
     "        %13 = neg %7 : f32[3]\n        yield %13, %8\n    }\n"
     "    yield %2, %3\n} -> (\n    output \"a\",\n    output \"b\"\n)\n"},
    {"the initial value is read again, outer values in the body, a view of a slice", HEAD
     "func \"m.infer\" infer (\n    %0: f32[N, 2, 3] = input \"x\",\n    %1: f32[6] = input "
     "\"p\"\n) {\n"
     "    %2 = neg %1 : f32[6]\n    %3 = exp %1 : f32[6]\n"
     "    %4, %5 = scan %2, %0 {length = N, carries = 1, reverse = false} : f32[6], f32[N, 3, 2] "
     "(%6: i32[], %7: f32[6], %8: f32[2, 3]) {\n"
     "        %9 = reshape %8 {shape = [6]} : f32[6]\n        %10 = mul %9, %3 : f32[6]\n"
     "        %11 = add %10, %7 : f32[6]\n        %12 = reshape %11 {shape = [3, 2]} : f32[3, 2]\n"
     "        yield %11, %12\n    }\n"
     "    %13 = add %2, %3 : f32[6]\n"
     "    yield %4, %5, %13\n} -> (\n    output \"a\",\n    output \"b\",\n    output \"c\"\n)\n"},
    {"writing into a carry",
     HEAD "func \"m.infer\" infer (\n    %0: f32[N, 3] = input \"x\"\n) {\n"
          "    %1 = constant {value = 0.0, dtype = f32, shape = [N, 3]} : f32[N, 3]\n"
          "    %2 = constant {value = 0.0, dtype = i32, shape = []} : i32[]\n"
          "    %3 = scan %1, %0 {length = N, carries = 1, reverse = false} : f32[N, 3] "
          "(%4: i32[], %5: f32[N, 3], %6: f32[3]) {\n"
          "        %7 = mul %6, %6 : f32[3]\n        %8 = reshape %7 {shape = [1, 3]} : f32[1, 3]\n"
          "        %9 = dynamic_update %5, %8, %4, %2 : f32[N, 3]\n        yield %9\n    }\n"
          "    yield %3\n} -> (\n    output \"a\"\n)\n"},
    {"while",
     HEAD "func \"m.infer\" infer (\n    %0: f32[N, 3] = input \"x\",\n    %1: f32[3] = input "
          "\"p\"\n) {\n"
          "    %2 = constant {value = 0.0, dtype = f32, shape = []} : f32[]\n"
          "    %3, %4 = while %2, %1 {limit = 100} : f32[], f32[3] (%5: f32[], %6: f32[3]) {\n"
          "        %7 = constant {value = 6.5, dtype = f32, shape = []} : f32[]\n"
          "        %8 = lt %5, %7 : bool[]\n        yield %8\n    } (%9: f32[], %10: f32[3]) {\n"
          "        %11 = constant {value = 1.0, dtype = f32, shape = []} : f32[]\n"
          "        %12 = add %9, %11 : f32[]\n        %13 = mul %10, %10 : f32[3]\n"
          "        yield %12, %13\n    }\n"
          "    yield %3, %4\n} -> (\n    output \"a\",\n    output \"b\"\n)\n"},
    {"stores: exchanged, unchanged, the old value read afterwards", HEAD
     "func \"m.infer\" infer (\n    %0: f32[N, 3] = input \"x\",\n    %1: f32[3] = param \"p\",\n"
     "    %2: f32[3] = param \"q\",\n    %3: f32[3] = param \"r\",\n    %4: f32[3] = state "
     "\"s\"\n) {\n"
     "    %5 = reduce_sum %0 {axes = [0]} : f32[3]\n    %6 = add %4, %5 : f32[3]\n"
     "    %7 = mul %6, %4 : f32[3]\n"
     "    yield %2, %1, %3, %6, %7, %4\n} -> (\n    store %1,\n    store %2,\n    store %3,\n"
     "    store %4,\n    output \"a\",\n    output \"b\"\n)\n"},
};

enum { N_CASES = sizeof(cases) / sizeof(cases[0]) };

static int64_t concrete(const Size *size, int64_t n) {
    int64_t value = -1;
    assert_true(size_eval(size, &n, 1, &value));
    return value;
}

/* Element `i` of argument `arg`: small, irregular, exact in f32. */
static double element(int32_t arg, int64_t i) {
    return (double)((i * 7 + arg * 5) % 11 - 4) / 8;
}

static void expect(const Func *func, const EvalTensor *want, const DLTensor *got, int32_t result,
                   const char *name) {
    (void)func;
    int64_t n = 1;
    for (int32_t a = 0; a < got->ndim; a++) {
        assert_int_equal(got->shape[a], want->dims[a]);
        n *= got->shape[a];
    }
    for (int64_t i = 0; i < n; i++) {
        double w = want->f ? want->f[i] : (double)want->i[i];
        double g = want->f ? (double)((const float *)got->data)[i]
                           : (double)((const int32_t *)got->data)[i];
        if (!(fabs(w - g) <= 1e-5 * (1 + fabs(w)))) {
            fail_msg("%s: result %d, element %d: %g, not %g", name, (int)result, (int)i, g, w);
        }
    }
}

/* The plan's results against `want`. */
static void run_plan(const Case *c, Func *func, dlc_context *context, dlc_plan *plan, int64_t n,
                     int poison, const EvalTensor *want) {
    dlc_session_options options = {.struct_size = sizeof(options), .threads = 2, .poison = poison};
    dlc_session *session;
    assert_int_equal(dlc_session_create(plan, &options, &session), DLC_OK);
    for (int32_t a = 0; a < func->body->n_args; a++) {
        Type type = func->body->args[a]->type;
        int64_t dims[4], count = 1;
        for (int32_t k = 0; k < type.rank; k++) {
            dims[k] = concrete(type.dims[k], n);
            count *= dims[k];
        }
        float *data = malloc((size_t)count * 4 + 1);
        for (int64_t i = 0; i < count; i++) {
            data[i] = (float)element(a, i);
        }
        DLTensor tensor = {.data = data,
                           .device = {kDLCPU, 0},
                           .ndim = type.rank,
                           .dtype = {kDLFloat, 32, 1},
                           .shape = dims};
        dlc_status status = func->args[a].role == ARG_INPUT
                                ? dlc_set_input(session, NULL, func->args[a].name, &tensor)
                                : dlc_set_variable(session, func->args[a].name, &tensor);
        free(data);
        if (status != DLC_OK) {
            fail_msg("%s: %s", c->name, dlc_last_error(context));
        }
    }
    if (dlc_run(session, NULL) != DLC_OK) {
        fail_msg("%s: %s", c->name, dlc_last_error(context));
    }
    for (int32_t r = 0; r < func->n_results; r++) {
        const DLTensor *got;
        const FuncResult *result = &func->results[r];
        dlc_status status = result->role == RESULT_STORE
                                ? dlc_view_variable(session, func->args[result->arg].name, &got)
                                : dlc_view_output(session, NULL, result->name, &got);
        assert_int_equal(status, DLC_OK);
        expect(func, &want[r], got, r, c->name);
    }
    dlc_session_destroy(session);
}

static void run_case(const Case *c, int64_t n) {
    Context ir;
    Boundary boundary = {.status = DLC_OK};
    if (setjmp(boundary.jump) != 0) {
        fail_msg("%s: left through the boundary", c->name);
    }
    context_init(&ir, NULL, &boundary);
    Module *module =
        module_parse(&ir, context_source(&ir, c->name, c->text, strlen(c->text), false));
    if (!module) {
        Str text;
        str_init(&text, NULL);
        diag_print(ir.diags.items[0], &text, false);
        fail_msg("%s", text.text);
    }
    Func *func = module->first;
    const dlc_allocator *allocator = NULL;
    const EvalTensor *args[8];
    EvalTensor values[8], want[8] = {0};
    for (int32_t a = 0; a < func->body->n_args; a++) {
        Type type = func->body->args[a]->type;
        int64_t dims[4];
        for (int32_t k = 0; k < type.rank; k++) {
            dims[k] = concrete(type.dims[k], n);
        }
        assert_int_equal(eval_tensor_init(&values[a], type.dtype, type.rank, dims, allocator),
                         DLC_OK);
        for (int64_t i = 0; i < values[a].n; i++) {
            values[a].f[i] = element(a, i);
        }
        args[a] = &values[a];
    }
    Interp interp = {.context = &ir, .dim_values = &n, .n_dims = 1};
    if (interp_run(&interp, func, args, want) != DLC_OK) {
        fail_msg("%s: interpreter: %s", c->name, interp.message);
    }

    dlc_context *context;
    dlc_plan *plan = NULL;
    assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .flags = DLC_COMPILE_INPUT_IR | DLC_COMPILE_VERIFY_EACH};
    if (dlc_compile(context, c->text, strlen(c->text), &options, &plan) != DLC_OK) {
        fail_msg("%s: %s\n%s", c->name, dlc_last_error(context), dlc_diagnostics_text(context, 0));
    }
    for (int poison = 0; poison < 3; poison++) {
        run_plan(c, func, context, plan, n, poison, want);
    }
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
    for (int32_t a = 0; a < func->body->n_args; a++) {
        eval_tensor_finish(&values[a], allocator);
    }
    for (int32_t r = 0; r < func->n_results; r++) {
        eval_tensor_finish(&want[r], allocator);
    }
    module_destroy(module);
    context_finish(&ir);
}

/* What an update makes of parameters and optimiser states is written where they lie: a step copies
 * none of them. */
static void test_updates_in_place(void **state) {
    (void)state;
    static const char *const optimizers[] = {"sgd(lr=0.1)",
                                             "sgd(lr=0.1, momentum=0.9, nesterov=true)",
                                             "adam(lr=0.1, amsgrad=true)",
                                             "adamw(lr=0.1)",
                                             "adamax(lr=0.1)",
                                             "nadam(lr=0.1)",
                                             "radam(lr=0.1)",
                                             "rmsprop(lr=0.1, momentum=0.9)",
                                             "adagrad(lr=0.1)",
                                             "adadelta(lr=0.1)",
                                             "lion(lr=0.1)",
                                             "lamb(lr=0.1)"};
    for (size_t i = 0; i < sizeof(optimizers) / sizeof(optimizers[0]); i++) {
        char text[512];
        snprintf(
            text, sizeof(text),
            "dim B\nmodel m(x: f32[B, 30], y: f32[B, 10]) {\n"
            "    p = x |> linear(20) as a |> relu |> linear(10) as b\n    output p\n"
            "    loss mse(p, y)\n}\ntrain m {\n    optimizer %s\n    batch 4\n    steps 4\n}\n",
            optimizers[i]);
        dlc_context *context;
        dlc_plan *plan = NULL;
        char *described = NULL;
        assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
        dlc_compile_options options = {.struct_size = sizeof(options)};
        if (dlc_compile(context, text, strlen(text), &options, &plan) != DLC_OK) {
            fail_msg("%s: %s", optimizers[i], dlc_diagnostics_text(context, 0));
        }
        assert_int_equal(dlc_plan_describe(plan, &described), DLC_OK);
        const char *entry = strstr(described, "entry m.train");
        const char *barrier = entry ? strstr(entry, " barrier %") : NULL;
        assert_non_null(barrier);
        const char *end = strstr(barrier, "entry ");
        const char *store = strstr(barrier, " store %");
        if (store && (!end || store < end)) {
            fail_msg("%s: a step ends with%.60s", optimizers[i], store);
        }
        dlc_text_free(context, described);
        dlc_plan_destroy(plan);
        dlc_context_destroy(context);
    }
}

static void test_cases(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        const int64_t lengths[] = {5, 1, 0, 8};
        for (int k = 0; k < 4; k++) {
            run_case(&cases[i], lengths[k]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases),
                                       cmocka_unit_test(test_updates_in_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
