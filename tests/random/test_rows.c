/* Every row of scalar.def on a device: all pairs of values where signs, ends of ranges, ties and
 * what is no number matter, in each type that the row takes, against the row's own meaning
 * (scalar_eval_*). Rows that add, compare or pick give the same bits; those that approximate, a few
 * units in the last place. RANDOM_TARGET and RANDOM_DEVICE as for test_random. */
#include "dlc/dlc.h"
#include "ir/interp.h"
#include "tests/random/bytes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_VALUES = 24 };

static const double FLOATS[] = {0.0,  -0.0, 0.3,  -0.3, 0.5,  -0.5,  1.0,      -1.0,
                                1.5,  -1.5, 2.5,  -2.5, 3.0,  -3.0,  7.0,      -7.0,
                                7.25, 1e-3, 42.0, 1e6,  -4e4, 1e-30, INFINITY, NAN};
static const int64_t INTEGERS[] = {0,  1,   -1,  2,    -2,        3,         -3,        4,
                                   -4, 5,   6,   -6,   7,         -7,        12,        63,
                                   64, 127, 128, -128, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};

/* The operands x (outer) and y (inner) of all pairs; z alternates, as select's condition. */
typedef struct Operands {
    DType dtype;
    EvalTensor x, y, z;
} Operands;

static int64_t value_count(DType dtype) {
    return dtype == DT_BOOL ? 2 : MOST_VALUES;
}

static void operands_make(Operands *o, DType dtype) {
    int64_t count = value_count(dtype), n = count * count;
    o->dtype = dtype;
    if (eval_tensor_init(&o->x, dtype, 1, &n, NULL) ||
        eval_tensor_init(&o->y, dtype, 1, &n, NULL) ||
        eval_tensor_init(&o->z, DT_BOOL, 1, &n, NULL)) {
        abort();
    }
    for (int64_t i = 0; i < n; i++) {
        if (dtype_is_float(dtype)) {
            o->x.f[i] = round_to_dtype(FLOATS[i / count], dtype);
            o->y.f[i] = round_to_dtype(FLOATS[i % count], dtype);
        } else {
            o->x.i[i] = wrap_int(INTEGERS[i / count], dtype);
            o->y.i[i] = wrap_int(INTEGERS[i % count], dtype);
        }
        o->z.i[i] = (i / 3) % 2;
    }
}

static void operands_free(Operands *o) {
    eval_tensor_finish(&o->x, NULL);
    eval_tensor_finish(&o->y, NULL);
    eval_tensor_finish(&o->z, NULL);
}

static bool row_takes(const OpInfo *info, DType dtype) {
    switch (info->scalar_class) {
    case CLASS_FLOAT:
        return dtype_is_float(dtype);
    case CLASS_NUMBER:
        return dtype != DT_BOOL;
    case CLASS_INTEGER:
        return dtype_is_integer(dtype);
    case CLASS_BOOL:
        return dtype == DT_BOOL;
    default:
        return true;
    }
}

/* One function of all rows that take the type, as IR text. */
static char *program_of(DType dtype) {
    int64_t count = value_count(dtype), n = count * count;
    Str text, yields, results;
    str_init(&text, NULL);
    str_init(&yields, NULL);
    str_init(&results, NULL);
    const char *type = dtype_name(dtype);
    str_addf(&text,
             "module \"rows\" {\n}\n\nfunc \"rows.infer\" infer (\n"
             "    %%0: %s[%lld] = input \"x\",\n    %%1: %s[%lld] = input \"y\",\n"
             "    %%2: bool[%lld] = input \"z\"\n) {\n",
             type, (long long)n, type, (long long)n, (long long)n);
    int number = 3;
    for (int code = 0; code < (int)OP_N_SCALAR; code++) {
        const OpInfo *info = op_info((OpCode)code);
        if (!row_takes(info, dtype)) {
            continue;
        }
        const char *operands = info->n_operands == 1   ? "%0"
                               : info->n_operands == 2 ? "%0, %1"
                                                       : "%2, %0, %1";
        str_addf(&text, "    %%%d = %s %s : %s[%lld]\n", number, info->name, operands,
                 info->scalar_result == RESULT_BOOL ? "bool" : type, (long long)n);
        str_addf(&yields, "%s%%%d", number > 3 ? ", " : "", number);
        str_addf(&results, "%s\n    output \"%s\"", number > 3 ? "," : "", info->name);
        number++;
    }
    str_addf(&text, "    yield %s\n} -> (%s\n)\n", str_text(&yields), str_text(&results));
    str_finish(&yields);
    str_finish(&results);
    return text.text;
}

/* What the row gives for element i. */
static double expected_float(OpCode code, const Operands *o, int64_t i) {
    bool selects = op_info(code)->n_operands == 3;
    const double values[3] = {selects ? (double)o->z.i[i] : o->x.f[i],
                              selects ? o->x.f[i] : o->y.f[i], o->y.f[i]};
    return round_to_dtype(scalar_eval_float(code, values), o->dtype);
}

static int64_t expected_int(OpCode code, const Operands *o, int64_t i) {
    bool selects = op_info(code)->n_operands == 3;
    if (dtype_is_float(o->dtype)) { /* a comparison */
        const double values[2] = {o->x.f[i], o->y.f[i]};
        return scalar_eval_float(code, values) != 0;
    }
    const int64_t values[3] = {selects ? o->z.i[i] : o->x.i[i], selects ? o->x.i[i] : o->y.i[i],
                               o->y.i[i]};
    return scalar_eval_int(code, o->dtype, values);
}

/* Whether the row is computed by a series or a table, and not to the last bit. */
static bool approximates(OpCode code) {
    switch (code) {
    case OP_neg:
    case OP_abs:
    case OP_sign:
    case OP_floor:
    case OP_ceil:
    case OP_round:
    case OP_trunc:
    case OP_add:
    case OP_sub:
    case OP_mul:
    case OP_div:
    case OP_max:
    case OP_min:
    case OP_select:
        return false;
    default:
        return op_info(code)->scalar_class == CLASS_FLOAT;
    }
}

/* Zeros are alike whatever their sign, but for what hands its operand on. */
static bool floats_agree(OpCode code, DType dtype, double got, double wanted) {
    if (got == wanted || (isnan(got) && isnan(wanted))) {
        return true;
    }
    double unit = dtype == DT_F64 ? 0x1p-52 : 0x1p-23;
    return approximates(code) && fabs(got - wanted) <= 8 * unit * fabs(wanted) + unit * 0x1p-20;
}

static int row_check(OpCode code, const Operands *o, const EvalTensor *got) {
    int wrong = 0;
    for (int64_t i = 0; i < got->n; i++) {
        bool is_float = got->f != NULL;
        double wanted_float = is_float ? expected_float(code, o, i) : 0;
        int64_t wanted_int = is_float ? 0 : expected_int(code, o, i);
        if (is_float ? floats_agree(code, o->dtype, got->f[i], wanted_float)
                     : got->i[i] == wanted_int) {
            continue;
        }
        if (wrong++ < 3) {
            printf("%s in %s, row %lld: ", op_info(code)->name, dtype_name(o->dtype), (long long)i);
            if (dtype_is_float(o->dtype)) {
                printf("x = %.17g, y = %.17g", o->x.f[i], o->y.f[i]);
            } else {
                printf("x = %lld, y = %lld", (long long)o->x.i[i], (long long)o->y.i[i]);
            }
            if (is_float) {
                printf(": %.17g instead of %.17g\n", got->f[i], wanted_float);
            } else {
                printf(": %lld instead of %lld\n", (long long)got->i[i], (long long)wanted_int);
            }
        }
    }
    return wrong;
}

static void input_set(dlc_context *context, dlc_session *session, const char *name,
                      const EvalTensor *value) {
    void *bytes = bytes_of(value);
    DLTensor tensor = {.data = bytes,
                       .device = {kDLCPU, 0},
                       .ndim = 1,
                       .dtype = bytes_dtype(value->dtype),
                       .shape = (int64_t *)(uintptr_t)value->dims};
    if (dlc_set_input(session, NULL, name, &tensor) != DLC_OK) {
        printf("%s\n", dlc_last_error(context));
        exit(1);
    }
    free(bytes);
}

static int outputs_check(dlc_context *context, dlc_session *session, const Operands *o) {
    int wrong = 0;
    for (int code = 0; code < (int)OP_N_SCALAR; code++) {
        const OpInfo *info = op_info((OpCode)code);
        const DLTensor *view = NULL;
        EvalTensor got;
        if (!row_takes(info, o->dtype)) {
            continue;
        }
        DType type = info->scalar_result == RESULT_BOOL ? DT_BOOL : o->dtype;
        if (eval_tensor_init(&got, type, 1, o->x.dims, NULL)) {
            abort();
        }
        if (dlc_view_output(session, NULL, info->name, &view) != DLC_OK ||
            !bytes_read(view, &got)) {
            printf("%s in %s: %s\n", info->name, dtype_name(o->dtype), dlc_last_error(context));
            wrong++;
        } else {
            wrong += row_check((OpCode)code, o, &got);
        }
        eval_tensor_finish(&got, NULL);
    }
    return wrong;
}

static int type_check(dlc_context *context, DType dtype) {
    const char *target = getenv("RANDOM_TARGET"), *device = getenv("RANDOM_DEVICE");
    const char *const targets[] = {target ? target : "cpu:native"};
    char *text = program_of(dtype);
    dlc_compile_options options = {.struct_size = sizeof options,
                                   .targets = targets,
                                   .n_targets = 1,
                                   .flags = DLC_COMPILE_INPUT_IR};
    dlc_plan *plan = NULL;
    dlc_session *session = NULL;
    dlc_session_options where = {
        .struct_size = sizeof where, .device = device ? device : "cpu", .threads = 2};
    Operands o;
    operands_make(&o, dtype);
    if (dlc_compile(context, text, strlen(text), &options, &plan) != DLC_OK ||
        dlc_session_create(plan, &where, &session) != DLC_OK) {
        printf("%s: %s\n%s", dtype_name(dtype), dlc_last_error(context),
               dlc_diagnostics_text(context, 0));
        exit(1);
    }
    input_set(context, session, "x", &o.x);
    input_set(context, session, "y", &o.y);
    input_set(context, session, "z", &o.z);
    if (dlc_run(session, NULL) != DLC_OK) {
        printf("%s\n", dlc_last_error(context));
        exit(1);
    }
    int wrong = outputs_check(context, session, &o);
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
    operands_free(&o);
    free(text);
    return wrong;
}

int main(void) {
    static const DType types[] = {DT_F64, DT_F32, DT_I64, DT_I32, DT_I8, DT_U8, DT_BOOL};
    dlc_context *context;
    int wrong = 0;
    if (dlc_context_create(NULL, &context) != DLC_OK) {
        return 1;
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        wrong += type_check(context, types[i]);
    }
    dlc_context_destroy(context);
    printf("%d values are wrong\n", wrong);
    return wrong != 0;
}
