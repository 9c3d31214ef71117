/* See random_casts.h. Sums and products of 16-bit values are exact in f32, so that they are rounded
 * once, contracted or not; of f32 and f64 values only what never rounds is asked. */
#include "tests/fuzz/random_casts.h"

#include "tests/fuzz/random_graph.h"

#include <math.h>

enum { MOST = 48, OPS = 18, RESULTS = 4, ROW = 4 };

typedef struct Casts {
    Builder b;
    uint64_t state;
    Value *values[MOST];
    int32_t n;
} Casts;

static uint64_t next_bits(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static int32_t pick(Casts *g, int32_t n) {
    return (int32_t)((next_bits(&g->state) >> 33) % (uint64_t)n);
}

/* A float of any size, often near a tie of a shorter type. */
static double any_float(uint64_t *state) {
    static const double SPECIALS[] = {
        NAN,     INFINITY, -INFINITY, 0.0,      -0.0, 65504.0, 65520.0,  70000.0,
        0x1p-24, 0x1p-25,  0x1.8p-25, 0x1p-133, 3e38, 1e300,   -0x1p-15, 2147483647.0};
    uint64_t bits = next_bits(state);
    if ((bits & 15) < 3) {
        return SPECIALS[(bits >> 8) % (sizeof(SPECIALS) / sizeof(SPECIALS[0]))];
    }
    int exponent = (int)((bits >> 8) % 44) - 26;
    double fraction = (double)(bits >> 52) / 4096; /* 12 bits, and perhaps something beyond them */
    double rest = (bits & 16) ? 0x1p-22 * (double)((int)((bits >> 20) % 3) - 1) : 0;
    double value = ldexp(1 + fraction + rest, exponent);
    return (bits & 32) ? -value : value;
}

static int64_t any_integer(uint64_t *state) {
    uint64_t bits = next_bits(state);
    int64_t wide = (int64_t)(bits << 8) >> (8 + bits % 55);
    return bits & (1u << 7) ? wide : wide >> 40;
}

static Value *random_value(Casts *g) {
    return g->values[pick(g, g->n)];
}

static Value *random_cast(Casts *g, Value *x) {
    static const DType TYPES[] = {DT_F16, DT_BF16, DT_F16, DT_BF16, DT_F32, DT_F64,
                                  DT_I64, DT_I32,  DT_I8,  DT_U8,   DT_BOOL};
    return b_cast(&g->b, x, TYPES[pick(g, sizeof(TYPES) / sizeof(TYPES[0]))]);
}

static Value *random_number(Casts *g, Type type) {
    double value = dtype_is_float(type.dtype) ? any_float(&g->state) : (double)pick(g, 500) - 100;
    return b_constant(&g->b, isfinite(value) ? value : 0.1, type);
}

static Value *random_arithmetic(Casts *g, Value *x) {
    Value *y =
        pick(g, 3) ? b_cast(&g->b, random_value(g), x->type.dtype) : random_number(g, x->type);
    bool is_wide = x->type.dtype == DT_F32 || x->type.dtype == DT_F64;
    switch (pick(g, 6)) {
    case 0:
        return is_wide ? b_neg(&g->b, x) : b_add(&g->b, x, y);
    case 1:
        return is_wide ? b_unary(&g->b, OP_abs, x) : b_mul(&g->b, x, y);
    case 2:
        return is_wide ? x : b_sub(&g->b, x, y);
    case 3:
        return b_binary(&g->b, OP_max, x, y);
    case 4:
        return b_binary(&g->b, OP_min, x, y);
    default:
        return b_select(&g->b, b_binary(&g->b, OP_lt, x, y), y, x);
    }
}

static Value *random_movement(Casts *g, Value *x) {
    static const int64_t swap[] = {1, 0}, last[] = {1}, first[] = {0};
    const Size *flat = type_elements(g->b.func->module->context, x->type);
    Value *greatest;
    switch (pick(g, 4)) {
    case 0:
        return b_transpose(&g->b, b_transpose(&g->b, x, swap), swap);
    case 1:
        return b_reverse(&g->b, x, last, 1);
    case 2:
        return b_reshape(&g->b, b_reshape(&g->b, x, 1, &flat), 2, x->type.dims);
    default: /* a row's reduction, read by its elements */
        greatest = b_reduce(&g->b, OP_reduce_max, x, last, 1);
        return b_broadcast(&g->b, greatest, 2, x->type.dims, first);
    }
}

Func *random_casts(Module *module, uint64_t seed) {
    static const DType TYPES[] = {DT_F32, DT_F32, DT_F64, DT_F16, DT_BF16, DT_I64, DT_I32, DT_U8};
    if (module->n_dims == 0) {
        module_add_dim(module, "B", 1, INT64_MAX, 1, 5, (Place){0});
        module_add_dim(module, "T", 1, 64, 1, 4, (Place){0});
    }
    Context *context = module->context;
    const char *name = context_internf(context, "casts%llu", (unsigned long long)seed);
    Func *func = func_create(module, name, PURPOSE_OTHER);
    Casts g = {.b = builder_at_end(func, func->body), .state = seed};
    const Size *dims[2] = {size_dim(context, module->dims[0]), size_const(context, ROW)};
    for (int32_t i = 0; i < 3; i++) {
        DType dtype = TYPES[pick(&g, sizeof(TYPES) / sizeof(TYPES[0]))];
        g.values[g.n++] = func_add_arg(func, ARG_INPUT, context_internf(context, "x%d", (int)i),
                                       type_make(context, dtype, 2, dims), (Place){0});
    }
    g.values[g.n++] = random_number(&g, g.values[0]->type);
    while (g.n < OPS) {
        Value *x = random_value(&g);
        int32_t kind = pick(&g, 10);
        bool is_bool = x->type.dtype == DT_BOOL;
        g.values[g.n++] = kind < 5 || is_bool ? random_cast(&g, x)
                          : kind < 8          ? random_arithmetic(&g, x)
                                              : random_movement(&g, x);
    }
    FuncResult results[RESULTS] = {0};
    for (int32_t i = 0; i < RESULTS; i++) {
        results[i] =
            (FuncResult){.role = RESULT_OUTPUT, .name = context_internf(context, "y%d", (int)i)};
    }
    func_set_results(func, results, g.values + g.n - RESULTS, RESULTS);
    return func;
}

bool random_casts_args(const Func *func, uint64_t seed, const int64_t *dim_values, int32_t n_dims,
                       EvalTensor *out) {
    uint64_t state = seed ^ 0xCA57;
    if (!random_args_shape(func, dim_values, n_dims, out)) {
        return false;
    }
    for (int32_t k = 0; k < func->body->n_args; k++) {
        DType dtype = func->body->args[k]->type.dtype;
        for (int64_t i = 0; i < out[k].n; i++) {
            if (out[k].f) {
                out[k].f[i] = round_to_dtype(any_float(&state), dtype);
            } else {
                out[k].i[i] = wrap_int(any_integer(&state), dtype);
            }
        }
    }
    return true;
}

bool random_casts_equal(const EvalTensor *expected, const EvalTensor *got, int64_t *out_index) {
    for (int64_t i = 0; i < got->n; i++) {
        bool equal =
            got->f ? got->f[i] == expected->f[i] || (isnan(got->f[i]) && isnan(expected->f[i]))
                   : got->i[i] == expected->i[i];
        if (!equal) {
            *out_index = i;
            return false;
        }
    }
    return true;
}
