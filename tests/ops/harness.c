/* See harness.h. */
#include "tests/ops/harness.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void harness_init_dims(Harness *harness, int64_t low) {
    memset(harness, 0, sizeof *harness);
    context_init(&harness->context, NULL, &harness->boundary);
    arena_init(&harness->scratch, NULL, &harness->boundary);
    harness->module = module_create(&harness->context, "test");
    module_add_dim(harness->module, "B", low, INT64_MAX, 1, HARNESS_B, (Place){0});
    module_add_dim(harness->module, "T", low, 64, 1, HARNESS_T, (Place){0});
    harness->dim_values[0] = HARNESS_B;
    harness->dim_values[1] = HARNESS_T;
}

void harness_init(Harness *harness) {
    harness_init_dims(harness, 1);
}

void harness_finish(Harness *harness) {
    arena_finish(&harness->scratch);
    context_finish(&harness->context);
}

const Size *harness_size(Harness *harness, const char *text) {
    const char *end = NULL;
    return size_parse(&harness->context, text, harness->module->dims, harness->module->n_dims,
                      &end);
}

typedef struct Spec {
    Type type;
    char domain;  /* 0, '+', 'u', '%' */
    long modulus; /* of '%' */
} Spec;

/* Reads one argument; returns what follows it. */
static const char *read_spec(Harness *harness, const char *text, Spec *out) {
    char name[16] = {0};
    const Size *dims[TYPE_MAX_RANK];
    int32_t rank = 0;
    DType dtype = DT_F32;
    size_t n = strcspn(text, "[");
    memcpy(name, text, n < sizeof name ? n : sizeof name - 1);
    if (!dtype_from_name(name, &dtype)) {
        fprintf(stderr, "bad spec '%s'\n", text);
        exit(2);
    }
    text += n + 1;
    while (*text != ']') {
        const char *end = NULL;
        dims[rank++] = size_parse(&harness->context, text, harness->module->dims,
                                  harness->module->n_dims, &end);
        text = end;
        text += strspn(text, ", ");
    }
    text++;
    *out = (Spec){.type = type_make(&harness->context, dtype, rank, dims)};
    if (*text == '+' || *text == 'u' || *text == '%') {
        out->domain = *text++;
    }
    if (out->domain == '%') {
        char *end = NULL;
        out->modulus = strtol(text, &end, 10);
        text = end;
    }
    return text + strspn(text, " ");
}

Func *harness_func(Harness *harness, const char *spec) {
    Func *func = func_create(harness->module, "f", PURPOSE_OTHER);
    for (int32_t i = 0; *spec; i++) {
        Spec arg;
        spec = read_spec(harness, spec, &arg);
        func_add_arg(func, ARG_INPUT, context_internf(&harness->context, "x%d", (int)i), arg.type,
                     (Place){0});
    }
    return func;
}

static uint64_t next_random(uint64_t *state) {
    *state += 0x9E3779B97F4A7C15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void harness_args(Harness *harness, const Func *func, const char *spec, uint64_t seed,
                  EvalTensor *out) {
    for (int32_t k = 0; k < func->body->n_args; k++) {
        Spec arg;
        int64_t dims[TYPE_MAX_RANK] = {0};
        spec = read_spec(harness, spec, &arg);
        for (int32_t i = 0; i < arg.type.rank; i++) {
            size_eval(arg.type.dims[i], harness->dim_values, 2, &dims[i]);
        }
        if (eval_tensor_init(&out[k], arg.type.dtype, arg.type.rank, dims, NULL)) {
            abort();
        }
        for (int64_t i = 0; i < out[k].n; i++) {
            uint64_t bits = next_random(&seed);
            double unit = (double)(bits >> 11) * 0x1p-53;
            if (out[k].f) {
                double value = arg.domain == '+'   ? 0.5 + 1.5 * unit
                               : arg.domain == 'u' ? 1.8 * unit - 0.9
                                                   : 4 * unit - 2;
                out[k].f[i] = round_to_dtype(value, arg.type.dtype);
            } else if (arg.domain == '%') {
                out[k].i[i] = (int64_t)(bits >> 33) % arg.modulus;
            } else if (arg.type.dtype == DT_BOOL) {
                out[k].i[i] = (int64_t)(bits >> 63);
            } else {
                out[k].i[i] = wrap_int((int64_t)(bits >> 33) % 11 - 5, arg.type.dtype);
            }
        }
    }
}

void harness_free(EvalTensor *tensors, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        eval_tensor_finish(&tensors[i], NULL);
    }
}

bool harness_run(Harness *harness, Func *func, const EvalTensor *args, EvalTensor *results,
                 bool wide) {
    Interp interp = {
        .context = &harness->context, .dim_values = harness->dim_values, .n_dims = 2, .wide = wide};
    const EvalTensor *list[64];
    for (int32_t i = 0; i < func->body->n_args; i++) {
        list[i] = &args[i];
    }
    if (interp_run(&interp, func, list, results)) {
        snprintf(harness->message, sizeof harness->message, "interpreter: %s", interp.message);
        return false;
    }
    return true;
}

bool harness_verify(Harness *harness, Func *func) {
    Str report;
    str_init(&report, NULL);
    bool good = func_verify(func, &report);
    if (!good) {
        snprintf(harness->message, sizeof harness->message, "verifier: %.900s", str_text(&report));
    }
    str_finish(&report);
    return good;
}

void harness_print_func(Func *func) {
    Str text;
    str_init(&text, NULL);
    func_print(func, &text);
    fprintf(stderr, "%s\n", str_text(&text));
    str_finish(&text);
}

bool harness_differentiate(Harness *harness, Func *func) {
    PassContext pass = {.context = &harness->context, .scratch = &harness->scratch};
    pass_differentiate(&pass, func);
    return harness_verify(harness, func);
}

Value *harness_loss(Builder *b, Value *y) {
    DType dtype = y->type.dtype;
    int64_t axes[TYPE_MAX_RANK];
    if (!dtype_is_float(dtype)) {
        y = b_cast(b, y, DT_F64);
        dtype = DT_F64;
    }
    Value *weight = b_constant_like(b, 0.7, y);
    for (int32_t i = 0; i < y->type.rank; i++) {
        axes[i] = i;
        Value *position = b_iota(b, i, y->type);
        Value *scale = b_constant_like(b, 1.3 + 0.71 * i, y);
        Value *angle = b_mul(b, position, scale);
        Value *shifted = b_add(b, angle, weight);
        weight = b_unary(b, OP_cos, shifted);
    }
    Value *product = b_mul(b, y, weight);
    return y->type.rank ? b_reduce(b, OP_reduce_sum, product, axes, y->type.rank) : product;
}

static bool close_enough(double a, double b, double tolerance) {
    return fabs(a - b) <= tolerance * (1.0 + fabs(a) + fabs(b));
}

/* Compares the results from `first` on, one a float argument, with differences of result `value`.
 */
static bool compare(Harness *harness, Func *func, EvalTensor *args, const EvalTensor *results,
                    int32_t value, int32_t first, double tolerance) {
    const double step = 1e-5;
    int32_t n_results = func->n_results, at = first;
    for (int32_t k = 0; k < func->body->n_args; k++) {
        if (!args[k].f) {
            continue;
        }
        for (int64_t i = 0; i < args[k].n; i++) {
            double values[2];
            double kept = args[k].f[i];
            for (int side = 0; side < 2; side++) {
                EvalTensor moved[HARNESS_MAX_RESULTS] = {0};
                args[k].f[i] = kept + (side ? step : -step);
                bool ran = harness_run(harness, func, args, moved, true);
                args[k].f[i] = kept;
                if (!ran) {
                    return false;
                }
                values[side] = moved[value].f[0];
                harness_free(moved, n_results);
            }
            double expected = (values[1] - values[0]) / (2 * step), got = results[at].f[i];
            if (!close_enough(expected, got, tolerance)) {
                snprintf(harness->message, sizeof harness->message,
                         "order %d, argument %d, element %lld: gradient %.9g, differences %.9g",
                         value == 0 ? 1 : 2, (int)k, (long long)i, got, expected);
                return false;
            }
        }
        at++;
    }
    return true;
}

/* Adds to a Func with rank-0 float `loss`: gradients by every float argument; with order 2 also a
 * loss of these and its gradients. Sets the results: loss, second loss, gradients, second
 * gradients. */
static int32_t add_gradients(Builder *b, Func *func, Value *loss, int order) {
    Value *xs[64], *first[64], *second[64], *values[HARNESS_MAX_RESULTS];
    FuncResult results[HARNESS_MAX_RESULTS] = {0};
    int32_t n = 0, count = 0;
    for (int32_t i = 0; i < func->body->n_args; i++) {
        if (dtype_is_float(func->body->args[i]->type.dtype)) {
            xs[n++] = func->body->args[i];
        }
    }
    b_grad(b, loss, xs, n, first);
    values[count++] = loss;
    values[count++] = loss;
    for (int32_t i = 0; i < n; i++) {
        values[count++] = first[i];
    }
    if (order > 1) {
        Value *total = NULL;
        for (int32_t i = 0; i < n; i++) {
            Value *square = b_mul(b, first[i], first[i]);
            Value *part = harness_loss(b, square);
            Value *linear = harness_loss(b, first[i]);
            part = b_add(b, part, linear);
            total = total ? b_add(b, total, part) : part;
        }
        values[1] = total;
        b_grad(b, total, xs, n, second);
        for (int32_t i = 0; i < n; i++) {
            values[count++] = second[i];
        }
    }
    for (int32_t i = 0; i < count; i++) {
        results[i] =
            (FuncResult){.role = RESULT_OUTPUT, .name = context_internf(b->context, "r%d", (int)i)};
    }
    func_set_results(func, results, values, count);
    return n;
}

bool harness_check_func(Harness *harness, Func *func, const EvalTensor *args, int order,
                        double tolerance) {
    Op *yield = block_yield(func->body);
    Value *loss = yield->operands[0];
    op_unlink(yield);
    Builder b = builder_at_end(func, func->body);
    int32_t n = add_gradients(&b, func, loss, order);
    EvalTensor results[HARNESS_MAX_RESULTS] = {0};
    if (!harness_differentiate(harness, func) || !harness_run(harness, func, args, results, true)) {
        return false;
    }
    EvalTensor *moving = (EvalTensor *)args; /* compare moves elements and puts them back */
    bool good = compare(harness, func, moving, results, 0, 2, tolerance);
    if (good && order > 1) {
        good = compare(harness, func, moving, results, 1, 2 + n, 20 * tolerance);
    }
    harness_free(results, func->n_results);
    return good;
}

bool harness_check_gradients(Harness *harness, const char *spec, HarnessBuild *build, int order) {
    Func *func = harness_func(harness, spec);
    Builder b = builder_at_end(func, func->body);
    Value *y = build(harness, &b, func->body->args);
    Value *loss = harness_loss(&b, y);
    FuncResult result = {.role = RESULT_OUTPUT, .name = "loss"};
    func_set_results(func, &result, &loss, 1);
    EvalTensor args[HARNESS_MAX_ARGS] = {0};
    harness_args(harness, func, spec, 1234, args);
    bool good =
        harness_verify(harness, func) && harness_check_func(harness, func, args, order, 1e-6);
    harness_free(args, func->body->n_args);
    return good;
}
