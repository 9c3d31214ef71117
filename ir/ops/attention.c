/* attention and attention_grad: softmax(scale q kᵀ + mask) v without a value that holds the scores.
 * The derivative of the gradient is built of contractions, which hold them. */
#include "ir/ops/attention.h"
#include "ir/ops/rule.h"
#include <math.h>

AttentionAttrs attention_attrs(const Op *op) {
    return (AttentionAttrs){.scale = op_scale(op),
                            .causal = op_causal(op),
                            .offset = op_offset(op),
                            .safe = op_safe(op)};
}

/* lse and delta are kept wide. */
static DType sum_dtype(DType dtype) {
    return dtype == DT_F16 || dtype == DT_BF16 ? DT_F32 : dtype;
}

/* -- builders */
static Op *make(Builder *b, OpCode code, Value *const *operands, int32_t n, Value *const *masks,
                int32_t n_masks, const AttentionAttrs *attrs) {
    Value *all[ATTENTION_GRAD_OPERANDS + ATTENTION_MASKS];
    for (int32_t i = 0; i < n; i++) {
        all[i] = operands[i];
    }
    for (int32_t i = 0; i < n_masks; i++) {
        all[n + i] = masks[i];
    }
    Op *op = op_create(b->func, code, all, n + n_masks, code == OP_attention ? 2 : 3, 0);
    op_set_scale(op, attrs->scale);
    op_set_causal(op, attrs->causal);
    op_set_offset(op, attrs->offset ? attrs->offset : size_const(b->context, 0));
    op_set_safe(op, attrs->safe);
    return op;
}

Value *b_attention(Builder *b, Value *const qkv[3], Value *const *masks, int32_t n_masks,
                   const AttentionAttrs *attrs, Value **out_lse) {
    Op *op = make(b, OP_attention, qkv, ATTENTION_OPERANDS, masks, n_masks, attrs);
    Value *y = b_op(b, op);
    if (out_lse) {
        *out_lse = y ? op->results[1] : NULL;
    }
    return y;
}

void b_attention_grad(Builder *b, Value *const operands[6], Value *const *masks, int32_t n_masks,
                      const AttentionAttrs *attrs, Value *out[3]) {
    Op *op = make(b, OP_attention_grad, operands, ATTENTION_GRAD_OPERANDS, masks, n_masks, attrs);
    Value *first = b_op(b, op);
    for (int32_t i = 0; i < 3; i++) {
        out[i] = first ? op->results[i] : NULL;
    }
}

/* -- shapes */
/* Operand `index` has the dims of q's batch axes, then `rows` and `columns` (NULL: none). */
static bool check_operand(Context *context, const Op *op, int32_t index, DType dtype,
                          const Size *rows, const Size *columns, OpProblem *problem) {
    Type q = operand_type(op, 0), x = operand_type(op, index);
    int32_t n_batch = q.rank - 2;
    bool fits = x.dtype == dtype && x.rank == n_batch + 1 + (columns != NULL);
    for (int32_t i = 0; fits && i < n_batch; i++) {
        fits = size_equal(context, x.dims[i], q.dims[i]) == TRUTH_YES;
    }
    fits = fits && size_equal(context, x.dims[n_batch], rows) == TRUTH_YES;
    if (fits && columns) {
        fits = size_equal(context, x.dims[n_batch + 1], columns) == TRUTH_YES;
    }
    if (!fits) {
        return op_problem(context, problem,
                          "%s: operand %d has type %s, which does not fit q of %s", op_name(op),
                          (int)index, type_text(context, x), type_text(context, q));
    }
    return true;
}

static bool check_qkv(Context *context, const Op *op, int32_t n_plain, OpProblem *problem) {
    if (!rule_min_operands(context, op, n_plain, problem)) {
        return false;
    }
    Type q = operand_type(op, 0), k = operand_type(op, 1), v = operand_type(op, 2);
    if (!dtype_is_float(q.dtype) || q.rank < 2 || k.rank != q.rank || v.rank != q.rank) {
        return op_problem(context, problem, "%s: q, k and v are floats of one rank, 2 at least",
                          op_name(op));
    }
    if (op->n_operands > n_plain + ATTENTION_MASKS) {
        return op_problem(context, problem, "%s: at most %d masks", op_name(op), ATTENTION_MASKS);
    }
    /* Kernels keep whole rows of q, k and v in their tiles, whose sizes are in the kernel's text: a
     * width that is known only when it runs would be taken for its nominal value. */
    if (!size_is_const(q.dims[q.rank - 1], NULL) || !size_is_const(v.dims[q.rank - 1], NULL)) {
        return op_problem(context, problem,
                          "%s: q of %s and v of %s: their widths must be constant", op_name(op),
                          type_text(context, q), type_text(context, v));
    }
    const Size *keys = k.dims[q.rank - 2], *queries = q.dims[q.rank - 2];
    if (!check_operand(context, op, 1, q.dtype, keys, q.dims[q.rank - 1], problem) ||
        !check_operand(context, op, 2, q.dtype, keys, v.dims[q.rank - 1], problem)) {
        return false;
    }
    for (int32_t i = n_plain; i < op->n_operands; i++) {
        if (!check_operand(context, op, i, DT_BOOL, queries, keys, problem)) {
            return false;
        }
    }
    return true;
}

bool shape_attention(Context *context, Op *op, OpProblem *problem) {
    if (!check_qkv(context, op, ATTENTION_OPERANDS, problem)) {
        return false;
    }
    Type q = operand_type(op, 0), v = operand_type(op, 2);
    const Size *dims[TYPE_MAX_RANK];
    for (int32_t i = 0; i < q.rank - 1; i++) {
        dims[i] = q.dims[i];
    }
    dims[q.rank - 1] = v.dims[q.rank - 1];
    return rule_result(context, op, 0, q.dtype, q.rank, dims, problem) &&
           rule_result(context, op, 1, sum_dtype(q.dtype), q.rank - 1, dims, problem);
}

bool shape_attention_grad(Context *context, Op *op, OpProblem *problem) {
    if (!check_qkv(context, op, ATTENTION_GRAD_OPERANDS, problem)) {
        return false;
    }
    Type q = operand_type(op, 0), v = operand_type(op, 2);
    const Size *queries = q.dims[q.rank - 2];
    DType wide = sum_dtype(q.dtype);
    if (!check_operand(context, op, 3, wide, queries, NULL, problem) ||
        !check_operand(context, op, 4, q.dtype, queries, v.dims[q.rank - 1], problem) ||
        !check_operand(context, op, 5, wide, queries, NULL, problem)) {
        return false;
    }
    for (int32_t i = 0; i < 3; i++) {
        Type x = operand_type(op, i);
        if (!rule_result(context, op, i, x.dtype, x.rank, x.dims, problem)) {
            return false;
        }
    }
    return true;
}

/* -- flops */
/* Half of the products sum over the width of the keys, the others over that of the values; half the
 * keys count for a query on average if later ones do not. */
static const Size *flops_of(Context *context, const Op *op, int64_t products) {
    Type q = operand_type(op, 0), v = operand_type(op, 2);
    int64_t each = op_causal(op) ? 1 : 2;
    const Size *work = size_mul(context, type_elements(context, q), v.dims[v.rank - 2]);
    const Size *more = size_mul(context, type_elements(context, v), q.dims[q.rank - 2]);
    work = size_mul(context, size_const(context, each * (products - products / 2)), work);
    return size_add(context, work,
                    size_mul(context, size_const(context, each * (products / 2)), more));
}

/* Scores and mixing. */
const Size *flops_attention(Context *context, const Op *op) {
    return flops_of(context, op, 2);
}

/* The scores again, and four products more. */
const Size *flops_attention_grad(Context *context, const Op *op) {
    return flops_of(context, op, 5);
}

/* -- evaluation */
typedef struct AttentionSizes {
    int64_t batch, queries, keys, width, values; /* q, k: width; v: values */
    int64_t offset;
} AttentionSizes;

static dlc_status read_sizes(Interp *interp, const Op *op, AttentionSizes *out) {
    const EvalTensor *q = interp_operand(interp, op, 0), *k = interp_operand(interp, op, 1),
                     *v = interp_operand(interp, op, 2);
    int32_t rank = q->rank;
    *out = (AttentionSizes){.batch = 1,
                            .queries = q->dims[rank - 2],
                            .keys = k->dims[rank - 2],
                            .width = q->dims[rank - 1],
                            .values = v->dims[rank - 1]};
    for (int32_t i = 0; i < rank - 2; i++) {
        out->batch *= q->dims[i];
    }
    return interp_size(interp, op_offset(op), &out->offset);
}

/* AttentionSizes, and room for the scores of one query; the caller frees it. */
static dlc_status begin_rows(Interp *interp, const Op *op, AttentionSizes *n, double **out) {
    dlc_status status = read_sizes(interp, op, n);
    if (status != DLC_OK) {
        return status;
    }
    *out = interp_alloc(interp, (size_t)(n->keys + 1) * sizeof **out);
    return *out ? DLC_OK : DLC_ERROR_OUT_OF_MEMORY;
}

static double dot(const double *x, const double *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

/* The scores of one query; -inf where masked. `row` counts queries over all batches. */
static void score_row(Interp *interp, const Op *op, const AttentionSizes *n, int32_t n_plain,
                      int64_t row, double *out) {
    const EvalTensor *q = interp_operand(interp, op, 0), *k = interp_operand(interp, op, 1);
    int64_t batch = row / n->queries, t = row % n->queries;
    double scale = op_scale(op);
    bool causal = op_causal(op);
    for (int64_t s = 0; s < n->keys; s++) {
        bool counts = !causal || s <= t + n->offset;
        for (int32_t i = n_plain; i < op->n_operands; i++) {
            counts = counts && interp_operand(interp, op, i)->i[row * n->keys + s];
        }
        const double *key = k->f + (batch * n->keys + s) * n->width;
        out[s] = counts ? scale * dot(q->f + row * n->width, key, n->width) : -INFINITY;
    }
}

static void mix_row(const EvalTensor *v, const AttentionSizes *n, int64_t row, const double *p,
                    double sum, double *out) {
    int64_t batch = row / n->queries;
    for (int64_t e = 0; e < n->values; e++) {
        double total = 0;
        for (int64_t s = 0; s < n->keys; s++) {
            total += p[s] * v->f[(batch * n->keys + s) * n->values + e];
        }
        out[e] = total / sum;
    }
}

dlc_status eval_attention(Interp *interp, const Op *op) {
    EvalTensor *y = interp_result(interp, op, 0), *lse = interp_result(interp, op, 1);
    AttentionSizes n;
    double *p = NULL;
    dlc_status status = begin_rows(interp, op, &n, &p);
    if (status != DLC_OK) {
        return status;
    }
    for (int64_t row = 0; row < n.batch * n.queries; row++) {
        score_row(interp, op, &n, ATTENTION_OPERANDS, row, p);
        double top = -INFINITY, sum = 0;
        for (int64_t s = 0; s < n.keys; s++) {
            top = p[s] > top || isnan(p[s]) ? p[s] : top;
        }
        bool none = attention_safe(op) && isinf(top) && top < 0;
        for (int64_t s = 0; s < n.keys; s++) {
            p[s] = none ? 0 : exp(p[s] - top);
            sum += p[s];
        }
        /* exp(score - lse) is 0 in the gradient too. */
        lse->f[row] = none ? INFINITY : top + log(sum);
        sum = none ? 1 : sum;
        mix_row(interp_operand(interp, op, 2), &n, row, p, sum, y->f + row * n.values);
    }
    interp_free(interp, p);
    return DLC_OK;
}

/* What one query adds to the three derivatives. */
static void grad_row(Interp *interp, const Op *op, const AttentionSizes *n, int64_t row,
                     const double *p) {
    const EvalTensor *q = interp_operand(interp, op, 0), *k = interp_operand(interp, op, 1),
                     *v = interp_operand(interp, op, 2);
    EvalTensor *dq = interp_result(interp, op, 0), *dk = interp_result(interp, op, 1),
               *dv = interp_result(interp, op, 2);
    const double *dy = interp_operand(interp, op, 4)->f + row * n->values;
    double delta = interp_operand(interp, op, 5)->f[row], scale = op_scale(op);
    int64_t base = row / n->queries * n->keys;
    for (int64_t s = 0; s < n->keys; s++) {
        int64_t key = base + s;
        double ds = scale * p[s] * (dot(dy, v->f + key * n->values, n->values) - delta);
        for (int64_t e = 0; e < n->values; e++) {
            dv->f[key * n->values + e] += p[s] * dy[e];
        }
        for (int64_t d = 0; d < n->width; d++) {
            dq->f[row * n->width + d] += ds * k->f[key * n->width + d];
            dk->f[key * n->width + d] += ds * q->f[row * n->width + d];
        }
    }
}

dlc_status eval_attention_grad(Interp *interp, const Op *op) {
    AttentionSizes n;
    double *p = NULL;
    dlc_status status = begin_rows(interp, op, &n, &p);
    if (status != DLC_OK) {
        return status;
    }
    for (int32_t i = 0; i < 3; i++) {
        EvalTensor *out = interp_result(interp, op, i);
        for (int64_t j = 0; j < out->n; j++) {
            out->f[j] = 0;
        }
    }
    for (int64_t row = 0; row < n.batch * n.queries; row++) {
        score_row(interp, op, &n, ATTENTION_GRAD_OPERANDS, row, p);
        double lse = interp_operand(interp, op, 3)->f[row];
        for (int64_t s = 0; s < n.keys; s++) {
            p[s] = exp(p[s] - lse);
        }
        grad_row(interp, op, &n, row, p);
    }
    interp_free(interp, p);
    return DLC_OK;
}

/* -- gradients */
/* Sum over the last axis of both (`last`), of a's last and b's last but one, or of both's last but
 * one, with all axes before as batch. */
static Value *product(Builder *b, Value *x, Value *y, bool last_x, bool last_y) {
    ContractAxes axes = {.n_batch = x->type.rank - 2, .n_contract = 1};
    for (int32_t i = 0; i < axes.n_batch; i++) {
        axes.batch_a[i] = axes.batch_b[i] = i;
    }
    axes.contract_a[0] = x->type.rank - (last_x ? 1 : 2);
    axes.contract_b[0] = y->type.rank - (last_y ? 1 : 2);
    return b_contract(b, x, y, &axes);
}

static Value *over_keys(Builder *b, Value *row, const Value *like) {
    int64_t axis = like->type.rank - 1;
    row = b_cast(b, row, like->type.dtype);
    return b_expand_axes(b, row, like->type, &axis, 1);
}

static Value *sum_keys(Builder *b, Value *x) {
    int64_t axis = x->type.rank - 1;
    return b_reduce(b, OP_reduce_sum, x, &axis, 1);
}

static Value *scaled(Builder *b, Value *x, double by) {
    Value *factor = b_constant_like(b, by, x);
    return b_mul(b, x, factor);
}

void grad_attention(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    Value *y = op->results[0], *lse = op->results[1];
    DType wide = lse->type.dtype;
    Value *dy = cotangents[0] ? cotangents[0] : zeros_like(b, y);
    Value *delta = zeros_like(b, lse);
    if (cotangents[0]) {
        Value *a = b_cast(b, dy, wide), *c = b_cast(b, y, wide);
        delta = sum_keys(b, b_mul(b, a, c));
    }
    if (cotangents[1]) {
        delta = b_sub(b, delta, cotangents[1]);
    }
    Value *operands[6] = {op->operands[0], op->operands[1], op->operands[2], lse, dy, delta};
    AttentionAttrs attrs = attention_attrs(op);
    Value *found[3];
    b_attention_grad(b, operands, op->operands + ATTENTION_OPERANDS,
                     op->n_operands - ATTENTION_OPERANDS, &attrs, found);
    for (int32_t i = 0; i < 3; i++) {
        out[i] = wanted[i] ? found[i] : NULL;
    }
}

/* Scores with -inf where they do not count, [batch…, T, S]. */
static Value *build_scores(Builder *b, const Op *op) {
    AttentionAttrs attrs = attention_attrs(op);
    Value *s = scaled(b, product(b, op->operands[0], op->operands[1], true, true), attrs.scale);
    Value *none = b_constant_like(b, -INFINITY, s);
    if (attrs.causal) {
        Type index = type_with_dtype(s->type, DT_I64);
        Value *row = b_iota(b, index.rank - 2, index), *column = b_iota(b, index.rank - 1, index);
        Value *offset = b_size(b, attrs.offset, DT_I64);
        row = b_add(b, row, b_splat(b, offset, index.rank, index.dims));
        s = b_select(b, b_binary(b, OP_le, column, row), s, none);
    }
    for (int32_t i = ATTENTION_GRAD_OPERANDS; i < op->n_operands; i++) {
        s = b_select(b, op->operands[i], s, none);
    }
    return s;
}

static Value *sum_of(Builder *b, Value *x, Value *y) {
    return !x ? y : !y ? x : b_add(b, x, y);
}

/* The values that the second derivative is made of, [batch…, T, S] but for the last three. */
typedef struct Second {
    Value *p, *shifted, *ds; /* the softmax; dp - delta; the cotangent of the scores */
    Value *of_ds, *of_p, *of_dp, *of_s;
    Value *q, *k, *v;
} Second;

/* With P = exp(S - lse), dS = P (dy vᵀ - delta): dq = scale dS k, dk = scale dSᵀ q, dv = Pᵀ dy. */
static Second second_of(Builder *b, const Op *op, Value *const *given) {
    Second w = {.q = op->operands[0], .k = op->operands[1], .v = op->operands[2]};
    Value *dy = op->operands[4];
    double scale = op_scale(op);
    Value *s = build_scores(b, op);
    w.p = b_unary(b, OP_exp, b_sub(b, s, over_keys(b, op->operands[3], s)));
    Value *dp = product(b, dy, w.v, true, true);
    w.shifted = b_sub(b, dp, over_keys(b, op->operands[5], dp));
    w.ds = b_mul(b, w.p, w.shifted);
    Value *by_q = given[0] ? product(b, given[0], w.k, true, true) : NULL;
    Value *by_k = given[1] ? product(b, w.q, given[1], true, true) : NULL;
    w.of_ds = sum_of(b, by_q, by_k);
    w.of_ds = w.of_ds ? scaled(b, w.of_ds, scale) : zeros_like(b, w.p);
    w.of_p = b_mul(b, w.of_ds, w.shifted);
    w.of_p = sum_of(b, w.of_p, given[2] ? product(b, dy, given[2], true, true) : NULL);
    w.of_dp = b_mul(b, w.of_ds, w.p);
    w.of_s = b_mul(b, w.of_p, w.p);
    return w;
}

void grad_attention_grad(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                         Value **out) {
    double scale = attention_grad_scale(op);
    Second w = second_of(b, op, cotangents);
    DType wide = op->operands[3]->type.dtype;
    if (wanted[0]) {
        Value *straight = product(b, w.of_s, w.k, true, false);
        Value *cross = cotangents[1] ? product(b, w.ds, cotangents[1], true, false) : NULL;
        out[0] = scaled(b, sum_of(b, straight, cross), scale);
    }
    if (wanted[1]) {
        Value *straight = product(b, w.of_s, w.q, false, false);
        Value *cross = cotangents[0] ? product(b, w.ds, cotangents[0], false, false) : NULL;
        out[1] = scaled(b, sum_of(b, straight, cross), scale);
    }
    if (wanted[2]) {
        out[2] = product(b, w.of_dp, op->operands[4], false, false);
    }
    if (wanted[3]) {
        out[3] = b_neg(b, sum_keys(b, b_cast(b, w.of_s, wide)));
    }
    if (wanted[4]) {
        Value *straight = product(b, w.of_dp, w.v, true, false);
        Value *direct = cotangents[2] ? product(b, w.p, cotangents[2], true, false) : NULL;
        out[4] = sum_of(b, straight, direct);
    }
    if (wanted[5]) {
        out[5] = b_neg(b, sum_keys(b, b_cast(b, w.of_dp, wide)));
    }
}
