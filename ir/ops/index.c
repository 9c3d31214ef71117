/* Indexing: take and gather read at run-time indices; take_add and scatter_add are their
 * transposes. An index out of range is a fault. */
#include "ir/ops/rule.h"

/* Result shape of take: x[:axis] + ids + x[axis+1:]. */
static bool take_dims(Context *context, const Op *op, const Size **dims, int32_t *out_rank,
                      OpProblem *problem) {
    Type x = operand_type(op, 0), ids = operand_type(op, 1);
    int64_t axis = op_axis(op);
    if (!rule_axis(context, op, axis, x.rank, problem) ||
        !rule_index_operand(context, op, 1, problem)) {
        return false;
    }
    if (x.rank - 1 + ids.rank > TYPE_MAX_RANK) {
        return op_problem(context, problem, "%s: the result has rank %d but the limit is %d",
                          op_name(op), (int)(x.rank - 1 + ids.rank), (int)TYPE_MAX_RANK);
    }
    int32_t rank = 0;
    for (int32_t i = 0; i < x.rank; i++) {
        if (i != axis) {
            dims[rank++] = x.dims[i];
            continue;
        }
        for (int32_t k = 0; k < ids.rank; k++) {
            dims[rank++] = ids.dims[k];
        }
    }
    *out_rank = rank;
    return true;
}

bool shape_take(Context *context, Op *op, OpProblem *problem) {
    const Size *dims[TYPE_MAX_RANK];
    int32_t rank = 0;
    return take_dims(context, op, dims, &rank, problem) &&
           rule_result(context, op, 0, operand_type(op, 0).dtype, rank, dims, problem);
}

bool shape_take_add(Context *context, Op *op, OpProblem *problem) {
    const Size *dims[TYPE_MAX_RANK];
    int32_t rank = 0;
    Type x = operand_type(op, 0), u = operand_type(op, 2);
    if (!rule_number_operand(context, op, 0, problem) ||
        !rule_same_dtype(context, op, 0, 2, problem) ||
        !take_dims(context, op, dims, &rank, problem)) {
        return false;
    }
    Type wanted = {.dtype = u.dtype, .rank = rank, .dims = dims};
    bool fits = u.rank == rank;
    for (int32_t i = 0; fits && i < rank; i++) {
        fits = size_equal(context, u.dims[i], dims[i]) == TRUTH_YES;
    }
    if (!fits) {
        return op_problem(context, problem, "take_add: operand 2 has type %s but must be %s",
                          type_text(context, u), type_text(context, wanted));
    }
    return rule_result(context, op, 0, x.dtype, x.rank, x.dims, problem);
}

static dlc_status check_index(Interp *interp, const Op *op, int64_t index, int64_t n) {
    if (index < 0 || index >= n) {
        return interp_fail(interp, op, "%s: index %lld is outside 0..%lld", op_name(op),
                           (long long)index, (long long)n);
    }
    return DLC_OK;
}

static void add_element(EvalTensor *to, int64_t i, const EvalTensor *from, int64_t j) {
    if (to->f) {
        to->f[i] += from->f[j];
    } else {
        to->i[i] = (int64_t)((uint64_t)to->i[i] + (uint64_t)from->i[j]);
    }
}

/* Element i of take's result, seen as [outer, ids, inner], to its element of x. */
static int64_t take_source(AxisView view, const EvalTensor *ids, int64_t i) {
    int64_t id = i / view.inner % ids->n, outer = i / view.inner / ids->n;
    return (outer * view.n + ids->i[id]) * view.inner + i % view.inner;
}

static dlc_status check_all(Interp *interp, const Op *op, const EvalTensor *ids, int64_t n) {
    for (int64_t i = 0; i < ids->n; i++) {
        dlc_status status = check_index(interp, op, ids->i[i], n);
        if (status) {
            return status;
        }
    }
    return DLC_OK;
}

dlc_status eval_take(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0), *ids = interp_operand(interp, op, 1);
    EvalTensor *out = interp_result(interp, op, 0);
    AxisView view = axis_view(x, take_axis(op));
    dlc_status status = check_all(interp, op, ids, view.n);
    for (int64_t i = 0; !status && i < out->n; i++) {
        tensor_copy_element(out, i, x, take_source(view, ids, i));
    }
    return status;
}

dlc_status eval_take_add(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0), *ids = interp_operand(interp, op, 1);
    const EvalTensor *u = interp_operand(interp, op, 2);
    EvalTensor *out = interp_result(interp, op, 0);
    AxisView view = axis_view(x, take_add_axis(op));
    dlc_status status = check_all(interp, op, ids, view.n);
    if (status) {
        return status;
    }
    tensor_copy_all(out, x);
    for (int64_t i = 0; i < u->n; i++) {
        add_element(out, take_source(view, ids, i), u, i);
    }
    return DLC_OK;
}

void grad_take(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (wanted[0] && cotangents[0]) {
        Value *zero = zeros_like(b, op->operands[0]);
        out[0] = b_take_add(b, zero, op->operands[1], cotangents[0], take_axis(op));
    }
}

void grad_take_add(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (!cotangents[0]) {
        return;
    }
    out[0] = cotangents[0];
    if (wanted[2]) {
        out[2] = b_take(b, cotangents[0], op->operands[1], take_add_axis(op));
    }
}

static bool check_gather(Context *context, const Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0), ids = operand_type(op, 1);
    int64_t axis = op_axis(op);
    if (!rule_axis(context, op, axis, x.rank, problem) ||
        !rule_index_operand(context, op, 1, problem)) {
        return false;
    }
    bool fits = ids.rank == x.rank;
    for (int32_t i = 0; fits && i < x.rank; i++) {
        fits = i == axis || size_equal(context, x.dims[i], ids.dims[i]) == TRUTH_YES;
    }
    if (!fits) {
        return op_problem(
            context, problem,
            "%s: operand 1 has type %s but operand 0 has type %s and all axes but %lld "
            "must be equal",
            op_name(op), type_text(context, ids), type_text(context, x), (long long)axis);
    }
    return true;
}

bool shape_gather(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0), ids = operand_type(op, 1);
    return check_gather(context, op, problem) &&
           rule_result(context, op, 0, x.dtype, ids.rank, ids.dims, problem);
}

bool shape_scatter_add(Context *context, Op *op, OpProblem *problem) {
    Type x = operand_type(op, 0), ids = operand_type(op, 1), u = operand_type(op, 2);
    if (!rule_number_operand(context, op, 0, problem) || !check_gather(context, op, problem) ||
        !rule_same_dtype(context, op, 0, 2, problem)) {
        return false;
    }
    bool fits = ids.rank == u.rank;
    for (int32_t i = 0; fits && i < u.rank; i++) {
        fits = size_equal(context, u.dims[i], ids.dims[i]) == TRUTH_YES;
    }
    if (!fits) {
        return op_problem(context, problem,
                          "scatter_add: operand 2 has type %s but operand 1 has type %s",
                          type_text(context, u), type_text(context, ids));
    }
    return rule_result(context, op, 0, x.dtype, x.rank, x.dims, problem);
}

/* Element i of the ids to the element of x it names. */
static int64_t gather_source(AxisView view, AxisView ids_view, const EvalTensor *ids, int64_t i) {
    int64_t outer = i / ids_view.inner / ids_view.n;
    return (outer * view.n + ids->i[i]) * view.inner + i % view.inner;
}

dlc_status eval_gather(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0), *ids = interp_operand(interp, op, 1);
    EvalTensor *out = interp_result(interp, op, 0);
    AxisView view = axis_view(x, gather_axis(op)), ids_view = axis_view(ids, gather_axis(op));
    dlc_status status = check_all(interp, op, ids, view.n);
    for (int64_t i = 0; !status && i < out->n; i++) {
        tensor_copy_element(out, i, x, gather_source(view, ids_view, ids, i));
    }
    return status;
}

dlc_status eval_scatter_add(Interp *interp, const Op *op) {
    const EvalTensor *x = interp_operand(interp, op, 0), *ids = interp_operand(interp, op, 1);
    const EvalTensor *u = interp_operand(interp, op, 2);
    EvalTensor *out = interp_result(interp, op, 0);
    AxisView view = axis_view(x, scatter_add_axis(op)),
             ids_view = axis_view(ids, scatter_add_axis(op));
    dlc_status status = check_all(interp, op, ids, view.n);
    if (status) {
        return status;
    }
    tensor_copy_all(out, x);
    for (int64_t i = 0; i < u->n; i++) {
        add_element(out, gather_source(view, ids_view, ids, i), u, i);
    }
    return DLC_OK;
}

/* x without its axis of size 1. */
static Value *drop_axis(Builder *b, Value *x, int64_t axis) {
    const Size *dims[TYPE_MAX_RANK];
    int32_t rank = 0;
    for (int32_t i = 0; i < x->type.rank; i++) {
        if (i != axis) {
            dims[rank++] = x->type.dims[i];
        }
    }
    return b_reshape(b, x, rank, dims);
}

/* One index a line, as a loss picks the logit of its label: a mask fuses, a scatter does not. */
static Value *spread_one(Builder *b, const Op *op, Value *g) {
    Type x = operand_type(op, 0);
    Value *ids = op->operands[1];
    int64_t axis = op_axis(op);
    Value *index = b_iota(b, axis, type_with_dtype(x, ids->type.dtype));
    Value *wanted_ids = drop_axis(b, ids, axis);
    Value *wide_ids = b_expand_axes(b, wanted_ids, index->type, &axis, 1);
    Value *mask = b_binary(b, OP_eq, index, wide_ids);
    Value *line = drop_axis(b, g, axis);
    Value *wide = b_expand_axes(b, line, x, &axis, 1);
    Value *zero = zeros_like(b, wide);
    return b_select(b, mask, wide, zero);
}

void grad_gather(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (!wanted[0] || !cotangents[0]) {
        return;
    }
    int64_t axis = gather_axis(op);
    if (size_is_one(operand_type(op, 1).dims[axis])) {
        out[0] = spread_one(b, op, cotangents[0]);
        return;
    }
    Value *zero = zeros_like(b, op->operands[0]);
    out[0] = b_scatter_add(b, zero, op->operands[1], cotangents[0], axis);
}

void grad_scatter_add(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                      Value **out) {
    if (!cotangents[0]) {
        return;
    }
    out[0] = cotangents[0];
    if (wanted[2]) {
        out[2] = b_gather(b, cotangents[0], op->operands[1], scatter_add_axis(op));
    }
}
