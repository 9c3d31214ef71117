/* See table_rows.h. */
#include "tests/fuzz/table_rows.h"

#include "tests/fuzz/random_graph.h"

#include <math.h>

static const double FLOATS[] = {0.0,   -0.0, 0.3,  -0.3,      0.5,      -0.5,      1.0,
                                -1.0,  1.5,  -1.5, 2.5,       -2.5,     3.0,       -3.0,
                                7.0,   -7.0, 7.25, 0.25,      40.,      1e-3,      0x1p-20,
                                1e-30, 1e6,  -4e4, -0.999999, INFINITY, -INFINITY, NAN};
static const int64_t INTEGERS[] = {
    0,  1,  -1, 2,   -2,   3,   -3,  4,    -4,  5,    6,         -6,        7,         -7,
    12, 63, 64, 100, -100, 127, 128, -128, 255, -255, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};

enum { POINTS = sizeof(FLOATS) / sizeof(FLOATS[0]), PAIRS = POINTS * POINTS };
_Static_assert(sizeof(INTEGERS) / sizeof(INTEGERS[0]) == POINTS, "floats and integers are as many");

static Value *add_operand(Func *func, const OpInfo *info, int32_t k, DType dtype) {
    Context *context = func->module->context;
    const Size *size = size_const(context, PAIRS);
    bool condition = info->n_operands == 3 && k == 0;
    const char *name = context_internf(context, "x%d", (int)func->body->n_args);
    Type type = type_make(context, condition ? DT_BOOL : dtype, 1, &size);
    return func_add_arg(func, ARG_INPUT, name, type, (Place){0});
}

Func *table_row(Module *module, uint64_t seed) {
    if (module->n_dims == 0) {
        module_add_dim(module, "B", 1, INT64_MAX, 1, 5, (Place){0});
        module_add_dim(module, "T", 1, 64, 1, 4, (Place){0});
    }
    OpCode code = (OpCode)(seed % OP_N_SCALAR);
    const OpInfo *info = op_info(code);
    Context *context = module->context;
    const char *name = context_internf(context, "row%llu_%s", (unsigned long long)seed, info->name);
    Func *func = func_create(module, name, PURPOSE_OTHER);
    Builder b = builder_at_end(func, func->body);
    FuncResult results[DT_COUNT] = {0};
    Value *values[DT_COUNT];
    int32_t count = 0;
    for (int dtype = 0; dtype < DT_COUNT; dtype++) {
        Value *operands[3];
        if (!scalar_takes(code, (DType)dtype)) {
            continue;
        }
        for (int32_t k = 0; k < info->n_operands; k++) {
            operands[k] = add_operand(func, info, k, (DType)dtype);
        }
        values[count] = b_scalar(&b, code, operands, info->n_operands);
        results[count++] =
            (FuncResult){.role = RESULT_OUTPUT, .name = context_internf(context, "y%d", dtype)};
    }
    func_set_results(func, results, values, count);
    return func;
}

bool table_rows_args(const Func *func, const int64_t *dim_values, int32_t n_dims, EvalTensor *out) {
    OpCode code = func->body->first->code;
    int32_t n_operands = op_info(code)->n_operands;
    if (!random_args_shape(func, dim_values, n_dims, out)) {
        return false;
    }
    for (int32_t a = 0; a < func->body->n_args; a++) {
        DType dtype = func->body->args[a]->type.dtype;
        /* the last of several operands changes slowly, so that every pair of points meets */
        bool slow = n_operands > 1 && a % n_operands == n_operands - 1;
        for (int64_t i = 0; i < out[a].n; i++) {
            int64_t point = (slow ? i / POINTS : i) % POINTS;
            if (out[a].f) {
                out[a].f[i] = round_to_dtype(FLOATS[point], dtype);
            } else {
                out[a].i[i] = wrap_int(INTEGERS[point], dtype);
            }
        }
    }
    return true;
}

/* Relative, of a result computed in the type, or in f32 where that has 16 bits. IEEE's own
 * operations and what picks, compares and rounds are exact; series and tables are not. */
static double error_allowed(OpCode code, DType dtype) {
    enum { EXACT_WORK = 4 };
    const OpInfo *info = op_info(code);
    bool is_exact = info->scalar_class != CLASS_FLOAT || info->work <= EXACT_WORK;
    return is_exact          ? 0
           : dtype == DT_F64 ? 0x1p-46
           : dtype == DT_F32 ? 0x1p-20
           : dtype == DT_F16 ? 0x1p-10
                             : 0x1p-7;
}

bool table_rows_close(const Func *func, const EvalTensor *expected, const EvalTensor *got,
                      int64_t *out_index) {
    OpCode code = func->body->first->code;
    for (int64_t i = 0; i < got->n; i++) {
        double want = expected->f ? expected->f[i] : 0;
        bool good = got->f
                        ? got->f[i] == want || (isnan(got->f[i]) && isnan(want)) ||
                              (isfinite(want) && fabs(got->f[i] - want) <=
                                                     error_allowed(code, got->dtype) * fabs(want))
                        : got->i[i] == expected->i[i];
        if (!good) {
            *out_index = i;
            return false;
        }
    }
    return true;
}
