/* Small programs in IR text at the edges of what passes and the schedule may do: what the reference
 * interpreter makes of the text as it stands, the compiled plan makes too, poisoned or not. Inputs
 * "e…" hold the ends of their types: infinities, nan, the greatest, the least. RANDOM_TARGET and
 * RANDOM_DEVICE say where, as for tests/random. */
#include "dlc/dlc.h"
#include "ir/interp.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* CASE(name, arguments, ops, results): %0, %1, … are the arguments; `results` are yielded. */
typedef struct Case {
    const char *name, *arguments, *ops, *yields;
} Case;

#define CASE(name, arguments, ops, yields) {name, arguments, ops, yields},
static const Case cases[] = {
#include "tests/unit/ir_cases.def"
};

enum { N_CASES = sizeof(cases) / sizeof(cases[0]), MOST_RESULTS = 8, MOST_ARGS = 6 };

static double edge_real(int64_t i) {
    static const double values[] = {0,
                                    -0.0,
                                    1,
                                    -1,
                                    0.5,
                                    -2.5,
                                    (double)INFINITY,
                                    -(double)INFINITY,
                                    (double)NAN,
                                    1e30,
                                    -1e30,
                                    65504,
                                    65520,
                                    1e-8,
                                    3.0000001,
                                    2147483648.0,
                                    -2147483904.0,
                                    9.3e18,
                                    127.5,
                                    255};
    return values[i % 20];
}

static int64_t edge_whole(int64_t i, DType dtype) {
    static const int64_t values[] = {0,         1,        -1,        2,   -2,  7,     INT32_MAX,
                                     INT32_MIN, 16777217, -16777217, 255, 256, 65535, -129};
    static const int64_t wide[] = {INT64_MAX, INT64_MIN, INT64_C(4294967296), INT64_C(-4294967297),
                                   INT64_C(9007199254740993)};
    return dtype == DT_I64 && i % 19 >= 14 ? wide[i % 19 - 14] : values[i % 14];
}

static void fill(EvalTensor *t, const char *name, int32_t arg) {
    bool edges = name[0] == 'e';
    for (int64_t i = 0; i < t->n; i++) {
        int64_t small = (i * 7 + arg * 5) % 11 - 4;
        if (dtype_is_float(t->dtype)) {
            t->f[i] = edges ? round_to_dtype(edge_real(i), t->dtype) : (double)small / 8;
        } else {
            t->i[i] = t->dtype == DT_BOOL ? small > 0
                      : edges             ? edge_whole(i, t->dtype)
                      : name[0] == 'n'    ? i % 3 /* an index */
                                          : small;
        }
    }
}

static size_t element_bytes(DType dtype) {
    return (size_t)dtype_bytes(dtype);
}

static void pack(const EvalTensor *t, uint8_t *out) {
    for (int64_t i = 0; i < t->n; i++) {
        uint8_t *at = out + (size_t)i * element_bytes(t->dtype);
        float single = dtype_is_float(t->dtype) ? (float)t->f[i] : 0;
        int32_t narrow = dtype_is_float(t->dtype) ? 0 : (int32_t)t->i[i];
        uint16_t bits;
        switch (t->dtype) {
        case DT_F64:
            memcpy(at, &t->f[i], 8);
            break;
        case DT_F32:
            memcpy(at, &single, 4);
            break;
        case DT_F16:
        case DT_BF16:
            bits = float_bits16(t->f[i], t->dtype);
            memcpy(at, &bits, 2);
            break;
        case DT_I64:
            memcpy(at, &t->i[i], 8);
            break;
        case DT_I32:
            memcpy(at, &narrow, 4);
            break;
        default:
            *at = t->i[i] != 0;
        }
    }
}

static DLDataType dl_type(DType dtype) {
    uint8_t bits = (uint8_t)(8 * dtype_bytes(dtype));
    return (DLDataType){dtype == DT_BOOL        ? kDLBool
                        : dtype == DT_BF16      ? kDLBfloat
                        : dtype_is_float(dtype) ? kDLFloat
                                                : kDLInt,
                        bits, 1};
}

/* Element i of a result; only types that a program in C can read. */
static double got_real(const DLTensor *t, int64_t i) {
    return t->dtype.bits == 64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

static int64_t got_whole(const DLTensor *t, int64_t i) {
    return t->dtype.bits == 64   ? ((const int64_t *)t->data)[i]
           : t->dtype.bits == 32 ? ((const int32_t *)t->data)[i]
                                 : ((const uint8_t *)t->data)[i];
}

static bool near(double got, double wanted, bool wide) {
    if (isnan(wanted) || isinf(wanted)) {
        return isnan(wanted) ? isnan(got) : got == wanted;
    }
    return fabs(got - wanted) <= (wide ? 1e-13 : 2e-6) * (1 + fabs(wanted));
}

static void compare(const char *where, const EvalTensor *want, const DLTensor *got, int32_t r) {
    assert_int_equal(got->ndim, want->rank);
    for (int32_t a = 0; a < want->rank; a++) {
        assert_int_equal(got->shape[a], want->dims[a]);
    }
    for (int64_t i = 0; i < want->n; i++) {
        if (want->f) {
            double g = got_real(got, i);
            if (!near(g, want->f[i], want->dtype == DT_F64)) {
                fail_msg("%s: result %d, element %lld: %.9g, not %.9g", where, (int)r, (long long)i,
                         g, want->f[i]);
            }
        } else if (got_whole(got, i) != want->i[i]) {
            fail_msg("%s: result %d, element %lld: %lld, not %lld", where, (int)r, (long long)i,
                     (long long)got_whole(got, i), (long long)want->i[i]);
        }
    }
}

static int32_t count_of(const char *text, char what) {
    int32_t n = 0;
    for (; *text; text++) {
        n += *text == what;
    }
    return n;
}

static void case_text(const Case *c, char *text, size_t size) {
    size_t n = (size_t)snprintf(text, size,
                                "module \"m\" {\n}\n\nfunc \"m.infer\" infer (\n%s\n) {\n%s"
                                "    yield %s\n} -> (\n",
                                c->arguments, c->ops, c->yields);
    int32_t results = count_of(c->yields, '%');
    for (int32_t r = 0; r < results; r++) {
        n += (size_t)snprintf(text + n, size - n, "    output \"r%d\"%s\n", (int)r,
                              r + 1 < results ? "," : "");
    }
    snprintf(text + n, size - n, ")\n");
}

static void run_case(const Case *c) {
    char text[8192];
    case_text(c, text, sizeof(text));
    Context ir;
    Boundary boundary = {.status = DLC_OK};
    if (setjmp(boundary.jump) != 0) {
        fail_msg("%s: left through the boundary\n%s", c->name, text);
    }
    context_init(&ir, NULL, &boundary);
    Module *module = module_parse(&ir, context_source(&ir, c->name, text, strlen(text), false));
    if (!module) {
        Str said;
        str_init(&said, NULL);
        diag_print(ir.diags.items[0], &said, false);
        fail_msg("%s", said.text);
    }
    Func *func = module->first;
    const EvalTensor *args[MOST_ARGS];
    EvalTensor values[MOST_ARGS], want[MOST_RESULTS] = {0};
    for (int32_t a = 0; a < func->body->n_args; a++) {
        Type type = func->body->args[a]->type;
        int64_t dims[TYPE_MAX_RANK];
        for (int32_t k = 0; k < type.rank; k++) {
            assert_true(size_is_const(type.dims[k], &dims[k]));
        }
        assert_int_equal(eval_tensor_init(&values[a], type.dtype, type.rank, dims, NULL), DLC_OK);
        fill(&values[a], func->args[a].name, a);
        args[a] = &values[a];
    }
    Interp interp = {.context = &ir};
    dlc_status wanted = interp_run(&interp, func, args, want);

    dlc_context *context;
    dlc_plan *plan = NULL;
    assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
    const char *target = getenv("RANDOM_TARGET"), *device = getenv("RANDOM_DEVICE");
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .targets = &target,
                                   .n_targets = target != NULL,
                                   .flags = DLC_COMPILE_INPUT_IR | DLC_COMPILE_VERIFY_EACH};
    if (dlc_compile(context, text, strlen(text), &options, &plan) != DLC_OK) {
        fail_msg("%s: %s\n%s", c->name, dlc_last_error(context), dlc_diagnostics_text(context, 0));
    }
    for (int poison = 0; poison < (target ? 1 : 2); poison++) {
        dlc_session_options run = {.struct_size = sizeof(run),
                                   .device = device,
                                   .threads = 1 + 2 * poison,
                                   .poison = poison};
        dlc_session *session;
        assert_int_equal(dlc_session_create(plan, &run, &session), DLC_OK);
        for (int32_t a = 0; a < func->body->n_args; a++) {
            uint8_t *data = malloc((size_t)values[a].n * 8 + 8);
            pack(&values[a], data);
            DLTensor tensor = {.data = data,
                               .device = {kDLCPU, 0},
                               .ndim = values[a].rank,
                               .dtype = dl_type(values[a].dtype),
                               .shape = values[a].dims};
            if (dlc_set_input(session, NULL, func->args[a].name, &tensor) != DLC_OK) {
                fail_msg("%s: %s", c->name, dlc_last_error(context));
            }
            free(data);
        }
        dlc_status status = dlc_run(session, NULL);
        if ((status == DLC_OK) != (wanted == DLC_OK)) {
            fail_msg("%s: the plan ends with %d (%s), the interpreter with %d (%s)", c->name,
                     (int)status, dlc_last_error(context), (int)wanted, interp.message);
        }
        for (int32_t r = 0; r < func->n_results && wanted == DLC_OK; r++) {
            const DLTensor *got;
            assert_int_equal(dlc_view_output(session, NULL, func->results[r].name, &got), DLC_OK);
            compare(c->name, &want[r], got, r);
        }
        dlc_session_destroy(session);
    }
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
    for (int32_t a = 0; a < func->body->n_args; a++) {
        eval_tensor_finish(&values[a], NULL);
    }
    for (int32_t r = 0; r < func->n_results; r++) {
        eval_tensor_finish(&want[r], NULL);
    }
    module_destroy(module);
    context_finish(&ir);
}

static void test_cases(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        run_case(&cases[i]);
    }
}

/* Rows that are reduced, turned every way, and reduced along every axis again, beside what was not
 * turned or was turned the other way. */
static void test_turned_rows(void **state) {
    (void)state;
    if (getenv("RANDOM_TARGET")) {
        return; /* what they ask of passes does not depend on it */
    }
    static const int turns[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const int dims[3] = {2, 3, 4};
    for (int t = 0; t < 6; t++) {
        for (int axis = 0; axis < 3; axis++) {
            char name[64], arguments[128], ops[2048];
            const int *turn = turns[t];
            int to[3], from[3], rest[2], n = 0, row[2] = {0, 1};
            for (int i = 0; i < 3; i++) {
                to[i] = dims[turn[i]];
                from[turn[i]] = i;
                if (i != axis) {
                    rest[n++] = i;
                }
            }
            snprintf(name, sizeof(name), "turned by [%d, %d, %d], reduced along %d", turn[0],
                     turn[1], turn[2], axis);
            snprintf(arguments, sizeof(arguments),
                     "    %%0: f32[2, 3, 4] = input \"x\",\n    %%1: f32[%d, %d, %d] = input \"y\"",
                     to[0], to[1], to[2]);
            snprintf(ops, sizeof(ops),
                     "    %%2 = reduce_max %%0 {axes = [2]} : f32[2, 3]\n"
                     "    %%3 = broadcast %%2 {shape = [2, 3, 4], axes = [%d, %d]} : f32[2, 3, 4]\n"
                     "    %%4 = sub %%0, %%3 : f32[2, 3, 4]\n"
                     "    %%5 = transpose %%4 {permutation = [%d, %d, %d]} : f32[%d, %d, %d]\n"
                     "    %%6 = mul %%5, %%1 : f32[%d, %d, %d]\n"
                     "    %%7 = reduce_sum %%6 {axes = [%d]} : f32[%d, %d]\n"
                     "    %%8 = broadcast %%7 {shape = [%d, %d, %d], axes = [%d, %d]} : f32[%d, "
                     "%d, %d]\n"
                     "    %%9 = add %%8, %%1 : f32[%d, %d, %d]\n"
                     "    %%10 = transpose %%9 {permutation = [%d, %d, %d]} : f32[2, 3, 4]\n"
                     "    %%11 = add %%10, %%4 : f32[2, 3, 4]\n",
                     row[0], row[1], turn[0], turn[1], turn[2], to[0], to[1], to[2], to[0], to[1],
                     to[2], axis, to[rest[0]], to[rest[1]], to[0], to[1], to[2], rest[0], rest[1],
                     to[0], to[1], to[2], to[0], to[1], to[2], from[0], from[1], from[2]);
            run_case(&(Case){name, arguments, ops, "%7, %9, %11"});
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases),
                                       cmocka_unit_test(test_turned_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
