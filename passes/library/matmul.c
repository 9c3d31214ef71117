/* See matmul.h. Strides are found by walking from a value back to what lies in memory. Activations
 * are told by what they compute, on a few numbers, not by how they are written. */
#include "passes/library/matmul.h"

#include "ir/interp.h"

#include <math.h>

enum {
    ADDENDS = 3,
    STEPS = 200 /* of a walk */
};

/* -- Where a value lies -- */

static const Size *none(Context *context) {
    return size_const(context, 0);
}

static void strides_dense(Context *context, Type type, const Size **out) {
    const Size *stride = size_const(context, 1);
    for (int32_t i = type.rank; i-- > 0;) {
        out[i] = size_is_one(type.dims[i]) ? none(context) : stride;
        stride = size_mul(context, stride, type.dims[i]);
    }
}

/* The one stride of axes taken together, from the outermost; false: they do not run together. */
static bool run_together(Context *context, const Size *const *dims, const Size *const *strides,
                         int32_t count, const Size **out) {
    const Size *inner = NULL, *next = NULL; /* stride of all so far, and of what would follow */
    for (int32_t i = count; i-- > 0;) {
        if (size_is_one(dims[i])) {
            continue;
        }
        if (inner && strides[i] != next) {
            return false;
        }
        inner = inner ? inner : strides[i];
        next = size_mul(context, strides[i], dims[i]);
    }
    *out = inner ? inner : none(context);
    return true;
}

static bool strides_reshape(Context *context, Type x, const Size *const *from, Type y,
                            const Size **out) {
    int32_t i = 0, j = 0;
    while (i < x.rank || j < y.rank) {
        int32_t first_i = i, first_j = j;
        const Size *px = size_const(context, 1), *py = px;
        px = i < x.rank ? x.dims[i++] : px;
        py = j < y.rank ? y.dims[j++] : py;
        while (px != py) {
            if (i < x.rank && size_less_equal(context, px, py) == TRUTH_YES) {
                px = size_mul(context, px, x.dims[i++]);
            } else if (j < y.rank && size_less_equal(context, py, px) == TRUTH_YES) {
                py = size_mul(context, py, y.dims[j++]);
            } else {
                return false;
            }
        }
        const Size *stride;
        if (!run_together(context, x.dims + first_i, from + first_i, i - first_i, &stride)) {
            return false;
        }
        for (int32_t k = j; k-- > first_j;) {
            out[k] = size_is_one(y.dims[k]) ? none(context) : stride;
            stride = size_mul(context, stride, y.dims[k]);
        }
    }
    return true;
}

static bool is_widening(const Op *op) {
    return match_is_float_cast(op) &&
           dtype_bytes(op->operands[0]->type.dtype) < dtype_bytes(op->results[0]->type.dtype);
}

/* Strides of v's axes in the value that lies in memory; `wide`: also through widening casts and
 * broadcasts. */
static bool strides_of(Context *context, const Value *v, bool wide, const Value **base,
                       const Size **out) {
    const Op *op = v->op;
    const Size *from[TYPE_MAX_RANK];
    boundary_check_stack(context->boundary);
    bool broadcast = op && op->code == OP_broadcast && wide;
    bool view = op && (op->code == OP_reshape || op->code == OP_transpose || broadcast ||
                       (wide && is_widening(op)));
    if (!view) {
        *base = v;
        strides_dense(context, v->type, out);
        return true;
    }
    const Value *x = op->operands[0];
    if (!strides_of(context, x, wide, base, from)) {
        return false;
    }
    if (op->code == OP_reshape) {
        return strides_reshape(context, x->type, from, v->type, out);
    }
    if (broadcast) {
        const int64_t *axes = op_axes(op).at;
        for (int32_t i = 0; i < v->type.rank; i++) {
            out[i] = none(context);
        }
        for (int32_t i = 0; i < x->type.rank; i++) {
            out[axes[i]] = size_is_one(x->type.dims[i]) ? none(context) : from[i];
        }
        return true;
    }
    const int64_t *order = op->code == OP_transpose ? transpose_permutation(op).at : NULL;
    for (int32_t i = 0; i < v->type.rank; i++) {
        out[i] = from[order ? order[i] : i];
    }
    return true;
}

/* -- The product -- */

typedef struct Axes {
    int32_t count;
    int64_t axis[TYPE_MAX_RANK];
} Axes;

static Axes axes_of(Ints list) {
    Axes axes = {.count = list.count};
    for (int32_t i = 0; i < list.count; i++) {
        axes.axis[i] = list.at[i];
    }
    return axes;
}

static bool has_axis(const Axes *axes, int64_t axis) {
    for (int32_t i = 0; i < axes->count; i++) {
        if (axes->axis[i] == axis) {
            return true;
        }
    }
    return false;
}

typedef struct Side {
    const Value *v;
    const Size *strides[TYPE_MAX_RANK];
    Axes batch, rows, depth;
} Side;

static bool axes_stride(Context *context, const Side *side, const Axes *axes, const Size **out) {
    const Size *dims[TYPE_MAX_RANK], *strides[TYPE_MAX_RANK];
    for (int32_t i = 0; i < axes->count; i++) {
        dims[i] = side->v->type.dims[axes->axis[i]];
        strides[i] = side->strides[axes->axis[i]];
    }
    return run_together(context, dims, strides, axes->count, out);
}

static const Size *axes_elements(Context *context, const Value *v, const Axes *axes) {
    const Size *n = size_const(context, 1);
    for (int32_t i = 0; i < axes->count; i++) {
        n = size_mul(context, n, v->type.dims[axes->axis[i]]);
    }
    return n;
}

static void side_axes(const Op *op, int32_t number, Side *side) {
    side->v = op->operands[number];
    side->batch = axes_of(number == 0 ? contract_batch_a(op) : contract_batch_b(op));
    side->depth = axes_of(number == 0 ? contract_contract_a(op) : contract_contract_b(op));
    side->rows.count = 0;
    for (int32_t axis = 0; axis < side->v->type.rank; axis++) {
        if (!has_axis(&side->batch, axis) && !has_axis(&side->depth, axis)) {
            side->rows.axis[side->rows.count++] = axis;
        }
    }
}

/* Sorts the pairs of summed axes by those of one side. */
static void sort_depth(Side *by, Side *other) {
    for (int32_t i = 1; i < by->depth.count; i++) {
        for (int32_t j = i; j > 0 && by->depth.axis[j] < by->depth.axis[j - 1]; j--) {
            Side *sides[2] = {by, other};
            for (int s = 0; s < 2; s++) {
                int64_t axis = sides[s]->depth.axis[j];
                sides[s]->depth.axis[j] = sides[s]->depth.axis[j - 1];
                sides[s]->depth.axis[j - 1] = axis;
            }
        }
    }
}

/* Strides of one side's rows, depth and matrices; one of the first two must be 1. */
static bool side_strides(Context *context, const Side *side, const Size *out[3]) {
    return axes_stride(context, side, &side->rows, &out[0]) &&
           axes_stride(context, side, &side->depth, &out[1]) &&
           axes_stride(context, side, &side->batch, &out[2]) &&
           (size_is_one(out[0]) || size_is_one(out[1]));
}

static bool types_fit(const Op *op) {
    DType a = op->operands[0]->type.dtype, sum = op->results[0]->type.dtype;
    if (a != op->operands[1]->type.dtype) {
        return false;
    }
    return a == DT_F64 || a == DT_F32 || ((a == DT_F16 || a == DT_BF16) && sum == DT_F32);
}

static void product_sizes(Context *context, const Side sides[2], Matmul *out) {
    out->batch = axes_elements(context, sides[0].v, &sides[0].batch);
    out->m = axes_elements(context, sides[0].v, &sides[0].rows);
    out->n = axes_elements(context, sides[1].v, &sides[1].rows);
    out->k = axes_elements(context, sides[0].v, &sides[0].depth);
}

bool matmul_of(Context *context, const Op *op, Matmul *out, int32_t *culprit, const char **why) {
    Side sides[2];
    *out = (Matmul){0};
    *culprit = -1;
    for (int32_t s = 0; s < 2; s++) {
        side_axes(op, s, &sides[s]);
    }
    product_sizes(context, sides, out);
    if (!types_fit(op)) {
        *why = "its types are none that a library multiplies";
        return false;
    }
    for (int32_t s = 0; s < 2; s++) {
        if (!strides_of(context, sides[s].v, false, &out->operand[s], sides[s].strides)) {
            *culprit = s;
            *why = "an operand's axes do not lie together in memory";
            return false;
        }
    }
    bool fits[2] = {false, false};
    for (int attempt = 0; attempt < 3 && !(fits[0] && fits[1]); attempt++) {
        if (attempt > 0) {
            sort_depth(&sides[attempt - 1], &sides[2 - attempt]);
        }
        for (int s = 0; s < 2; s++) {
            fits[s] = side_strides(context, &sides[s], out->strides[s]);
        }
    }
    if (!fits[0] || !fits[1]) {
        *culprit = fits[0] ? 1 : 0;
        *why = "an operand's axes do not lie together in memory";
        return false;
    }
    /* B is k x n: its rows are the depth. */
    const Size *columns = out->strides[1][0];
    out->strides[1][0] = out->strides[1][1];
    out->strides[1][1] = columns;
    return true;
}

/* -- What is made of it -- */

/* v's operand where v changes neither elements nor their order, else NULL. */
static const Value *same_behind(const Value *v) {
    bool same = v->op && (v->op->code == OP_reshape || is_widening(v->op));
    return same ? v->op->operands[0] : NULL;
}

/* The same, and what rounds to `type`: a library rounds once, to the type that it stores. */
static const Value *rounded_behind(const Value *v, DType type) {
    const Value *same = same_behind(v);
    bool rounds = !same && v->op && match_is_float_cast(v->op) && v->type.dtype == type;
    return rounds ? v->op->operands[0] : same;
}

static const Value *strip(LibraryMatch *out, const Value *v) {
    for (const Value *next = same_behind(v); next && match_keep_op(out, v->op);
         next = same_behind(v)) {
        v = next;
    }
    return v;
}

static const Value *strip_rounded(LibraryMatch *out, const Value *v, DType type) {
    const Value *next = rounded_behind(v, type);
    while (next && match_keep_op(out, v->op)) {
        v = next;
        next = rounded_behind(v, type);
    }
    return v;
}

/* The value of v where x has the value `at`; false: it depends on more than x and constants, or
 * rounds to another type than `rounded`. `steps` bounds the walk: what is shared is walked again.
 */
static bool value_at(const Value *v, const Value *x, double at, DType rounded, int32_t *steps,
                     double *out) {
    const Op *op = v->op;
    double operands[3];
    if (v == x) {
        *out = at;
        return true;
    }
    if (!op || --*steps < 0) {
        return false;
    }
    if (op->code == OP_constant && dtype_is_float(v->type.dtype)) {
        *out = constant_value(op);
        return true;
    }
    if (op->code == OP_broadcast || rounded_behind(v, rounded)) {
        return value_at(op->operands[0], x, at, rounded, steps, out);
    }
    if (!op_is_scalar(op->code) || op->n_operands > 3) {
        return false;
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (!value_at(op->operands[i], x, at, rounded, steps, &operands[i])) {
            return false;
        }
    }
    *out = scalar_eval_float(op->code, operands);
    return true;
}

static double act_at(LibraryEpilogue act, double x) {
    return act == LIBRARY_RELU
               ? (x > 0 ? x : 0)
               : 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

/* Of `result`, stored: relu gives the same whether it or its operand is rounded. */
static bool computes(const Value *v, const Value *x, LibraryEpilogue act, const Value *result) {
    DType rounded = act == LIBRARY_RELU ? result->type.dtype : DT_COUNT;
    static const double samples[] = {-4, -2.5, -1, -0.375, 0, 0.25, 0.75, 1.5, 3};
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        double is, wanted = act_at(act, samples[i]);
        int32_t steps = STEPS;
        if (!value_at(v, x, samples[i], rounded, &steps, &is) || !(fabs(is - wanted) <= 1e-6)) {
            return false;
        }
    }
    return true;
}

/* All ops that v needs, back to x. */
static bool keep_until(LibraryMatch *out, const Value *v, const Value *x) {
    if (v == x || !v->op || v->op->code == OP_constant) {
        return true;
    }
    for (int32_t i = 0; i < out->n_ops; i++) {
        if (out->ops[i] == v->op) {
            return true;
        }
    }
    if (!match_keep_op(out, v->op)) {
        return false;
    }
    for (int32_t i = 0; i < v->op->n_operands; i++) {
        if (!keep_until(out, v->op->operands[i], x)) {
            return false;
        }
    }
    return true;
}

static const Value *through_same(const Value *v) {
    for (const Value *next = same_behind(v); next; next = same_behind(v)) {
        v = next;
    }
    return v;
}

static bool depends_on(const Value *v, const Op *op, int32_t *steps) {
    if (v->op == op || --*steps < 0) {
        return true;
    }
    for (int32_t i = 0; v->op && i < v->op->n_operands; i++) {
        bool computed = op_is_scalar(v->op->code) || op_is_view(v->op->code) ||
                        v->op->code == OP_cast || v->op->code == OP_broadcast;
        if (computed && depends_on(v->op->operands[i], op, steps)) {
            return true;
        }
    }
    return false;
}

/* Whether v is the contraction, or made of it by adding values that do not depend on it. */
static bool is_sum_of(const Value *v, const Op *contract, int32_t fuel) {
    const Op *op = through_same(v)->op;
    if (!op || op == contract) {
        return op != NULL;
    }
    for (int32_t i = 0; i < 2 && op->code == OP_add && fuel > 0; i++) {
        int32_t steps = STEPS;
        if (is_sum_of(op->operands[i], contract, fuel - 1) &&
            !depends_on(op->operands[1 - i], contract, &steps)) {
            return true;
        }
    }
    return false;
}

/* The value nearest to v that is a sum of the contraction; NULL: none. */
static const Value *sum_behind(const Value *v, const Op *contract, int32_t *steps) {
    if (is_sum_of(v, contract, ADDENDS)) {
        return through_same(v);
    }
    bool through = v->op && (op_is_scalar(v->op->code) || v->op->code == OP_reshape ||
                             match_is_float_cast(v->op));
    for (int32_t i = 0; through && --*steps > 0 && i < v->op->n_operands; i++) {
        const Value *found = sum_behind(v->op->operands[i], contract, steps);
        if (found) {
            return found;
        }
    }
    return NULL;
}

typedef struct Sums {
    Context *context;
    const Op *contract;
    Matmul product;
    DType stored; /* the result's */
    LibraryMatch *out;
    const char **why;
} Sums;

/* What is added to a sum of the shape `type`: a bias, or a matrix like the result. */
static bool addend(Sums *s, const Value *w, Type type) {
    Context *context = s->context;
    const Size *strides[TYPE_MAX_RANK], *columns = size_const(context, 1), *row, *column;
    const Size *n = s->product.n;
    const Value *base;
    int32_t split = type.rank;
    while (split > 0 && columns != n) {
        columns = size_mul(context, columns, type.dims[--split]);
    }
    while (split > 0 && columns == n && size_is_one(type.dims[split - 1])) {
        split--;
    }
    *s->why = "what is added to it is no bias over columns and no matrix like it";
    if (columns != n || !strides_of(context, w, true, &base, strides) ||
        !run_together(context, type.dims + split, strides + split, type.rank - split, &column) ||
        !run_together(context, type.dims, strides, split, &row) || !size_is_one(column)) {
        return false;
    }
    int64_t zero;
    bool is_bias = size_is_const(row, &zero) && zero == 0;
    LibraryOperand operand = is_bias ? LIBRARY_BIAS : LIBRARY_C;
    if (s->out->operand[operand] || (!is_bias && row != n)) {
        return false;
    }
    if (base->type.dtype != s->stored) {
        *s->why = "what is added to it has another type than the result";
        return false;
    }
    s->out->operand[operand] = base;
    return true;
}

/* From the sum back to the contraction. */
static bool sums_match(Sums *s, const Value *v) {
    v = strip(s->out, v);
    while (v->op && v->op->code == OP_add) {
        const Op *add = v->op;
        int32_t side = is_sum_of(add->operands[0], s->contract, ADDENDS) ? 0 : 1;
        if (!match_keep_op(s->out, add) ||
            !addend(s, add->operands[1 - side], add->results[0]->type)) {
            return false;
        }
        v = strip(s->out, add->operands[side]);
    }
    *s->why = "too much is made of it in one kernel";
    return v->op == s->contract;
}

static void add_strides(LibraryMatch *out, const Size *row, const Size *column,
                        const Size *matrix) {
    match_add_size(out, row);
    match_add_size(out, column);
    match_add_size(out, matrix);
}

static void add_sizes(Context *context, const Matmul *product, LibraryMatch *out) {
    const Size *zero = none(context), *one = size_const(context, 1);
    const Size *matrix = size_mul(context, product->m, product->n);
    match_add_size(out, product->m);
    match_add_size(out, product->n);
    match_add_size(out, product->k);
    match_add_size(out, product->batch);
    for (int s = 0; s < 2; s++) {
        const Size *const *strides = product->strides[s];
        add_strides(out, strides[0], strides[1], strides[2]);
    }
    if (out->operand[LIBRARY_C]) {
        add_strides(out, product->n, one, matrix);
    } else {
        add_strides(out, zero, zero, zero);
    }
    add_strides(out, product->n, one, matrix);
}

bool matmul_match(Context *context, const Value *result, const Op *contract, LibraryMatch *out,
                  const char **why) {
    int32_t culprit, steps = STEPS;
    const Value *sum = sum_behind(result, contract, &steps);
    Sums sums = {.context = context, .contract = contract, .out = out, .why = why};
    *out = (LibraryMatch){.kind = LIBRARY_MATMUL, .compute = match_compute(contract)};
    *why = "it is not what is stored, or with too much made of it";
    if (!sum || !matmul_of(context, contract, &sums.product, &culprit, why)) {
        return false;
    }
    out->operand[LIBRARY_A] = sums.product.operand[0];
    out->operand[LIBRARY_B] = sums.product.operand[1];
    match_keep_op(out, contract);
    DType a = contract->operands[0]->type.dtype, d = result->type.dtype;
    sums.stored = d;
    if (d != a && !((a == DT_F16 || a == DT_BF16) && d == DT_F32)) {
        *why = "its result is of a type that a library does not give";
        return false;
    }
    const Value *made = strip_rounded(out, result, d);
    if (made != sum) {
        out->epilogue = computes(made, sum, LIBRARY_RELU, result)        ? LIBRARY_RELU
                        : computes(made, sum, LIBRARY_GELU_TANH, result) ? LIBRARY_GELU_TANH
                                                                         : LIBRARY_PLAIN;
        *why = "a library has no such activation";
        if (out->epilogue == LIBRARY_PLAIN || !keep_until(out, made, sum)) {
            return false;
        }
    }
    if (!sums_match(&sums, sum)) {
        return false;
    }
    add_sizes(context, &sums.product, out);
    return true;
}

/* -- Whether it is worth it -- */

bool matmul_is_large(Context *context, const Op *contract, const MatmulWorth *worth) {
    Side axes[2];
    Matmul matmul;
    side_axes(contract, 0, &axes[0]);
    side_axes(contract, 1, &axes[1]);
    product_sizes(context, axes, &matmul);
    double work = (double)size_nominal(matmul.batch, UNSET_SIZE);
    const Size *const sides[3] = {matmul.m, matmul.n, matmul.k};
    for (int i = 0; i < 3; i++) {
        int64_t size = size_nominal(sides[i], UNSET_SIZE);
        if (size < worth->side) {
            return false;
        }
        work *= (double)size;
    }
    return work >= worth->work;
}
