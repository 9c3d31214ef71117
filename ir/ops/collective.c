/* Collectives: types, and what their transposes are in the space of all ranks together, where the
 * loss is the sum of every rank's. Their values are made where all ranks of a group meet
 * (ir/interp_ranks.c). */
#include "ir/ops/rule.h"

#include <string.h>

/* -- shape rules */

static const Func *value_func(const Value *value) {
    return value->block ? value->block->func : value->op->parent->func;
}

/* The group that `over` names. */
static bool rule_group(Context *context, const Op *op, Module **module, MeshGroup *out,
                       OpProblem *problem) {
    if (!rule_min_operands(context, op, 1, problem)) {
        return false;
    }
    *module = value_func(op->operands[0])->module;
    if ((*module)->n_mesh_axes == 0) {
        return op_problem(context, problem, "%s: the module has no mesh, so there are no ranks",
                          op_name(op));
    }
    if (module_group_parse(*module, op_over(op), out)) {
        return true;
    }
    MeshGroup all = ((MeshGroup)1 << (*module)->n_mesh_axes) - 1;
    return op_problem(context, problem,
                      "%s: over = \"%s\" is no list of axes of the mesh, which has \"%s\" in that "
                      "order",
                      op_name(op), op_over(op), module_group_text(*module, all));
}

/* What the ranks must agree on: all axes of operand `index` but one or two (-1: none such). */
static bool rule_agreed(Context *context, const Op *op, const Module *module, MeshGroup group,
                        int32_t index, const int64_t but[2], OpProblem *problem) {
    Type type = operand_type(op, index);
    for (int32_t i = 0; i < type.rank; i++) {
        if (i != but[0] && i != but[1] &&
            (module_size_differs(module, type.dims[i]) & group) != 0) {
            return op_problem(
                context, problem,
                "%s: axis %d of operand %d is %s, which may differ among the ranks over \"%s\"",
                op_name(op), (int)i, (int)index, size_text(context, type.dims[i]), op_over(op));
        }
    }
    return true;
}

static const int64_t NO_AXES[2] = {-1, -1};

bool shape_all_reduce(Context *context, Op *op, OpProblem *problem) {
    Module *module = NULL;
    MeshGroup group = 0;
    OpCode code = OP_NONE;
    if (!rule_group(context, op, &module, &group, problem)) {
        return false;
    }
    if (!op_code_from_name(op_combine(op), &code) || !op_is_scalar(code) ||
        op_info(code)->scalar_identity == IDENTITY_NONE) {
        return op_problem(context, problem,
                          "all_reduce: combine = \"%s\" is no scalar operation with an identity, "
                          "as add, mul, max, min, and, or are",
                          op_combine(op));
    }
    if (op->n_results != op->n_operands) {
        return op_problem(context, problem, "all_reduce: %d operands have %d results",
                          (int)op->n_operands, (int)op->n_results);
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        Type x = operand_type(op, i);
        if (!scalar_takes(code, x.dtype)) {
            return op_problem(context, problem, "all_reduce: %s does not take operand %d of %s",
                              op_info(code)->name, (int)i, dtype_name(x.dtype));
        }
        if (!rule_agreed(context, op, module, group, i, NO_AXES, problem) ||
            !rule_result(context, op, i, x.dtype, x.rank, x.dims, problem)) {
            return false;
        }
    }
    return true;
}

/* That `whole` is rows x unit, and `part` a rank's piece of the rows x unit. */
static bool rule_part(Context *context, const Op *op, Module *module, MeshGroup group,
                      const Size *whole, const Size *part, const Size *rows, OpProblem *problem) {
    const Size *unit = size_other_factor(context, whole, rows);
    bool is_multiple =
        unit && size_equal(context, size_mul(context, unit, rows), whole) == TRUTH_YES;
    if (!is_multiple) {
        return op_problem(context, problem, "%s: %s elements are no multiple of %s rows",
                          op_name(op), size_text(context, whole), size_text(context, rows));
    }
    const Size *even = module_even_size(module, DIM_PIECE, group, rows);
    const Dim *dim = module_find_rank_dim(module, DIM_PIECE, group, rows);
    if (!even && !dim) {
        return op_problem(context, problem,
                          "%s: the module has no dim for pieces of %s over \"%s\"", op_name(op),
                          size_text(context, rows), op_over(op));
    }
    const Size *named = dim ? size_mul(context, size_dim(context, dim), unit) : NULL;
    if (named && size_equal(context, named, part) == TRUTH_YES) {
        return true;
    }
    const Size *wanted = even ? size_mul(context, even, unit) : named;
    return size_equal(context, part, wanted) == TRUTH_YES ||
           op_problem(context, problem, "%s: a rank's part of %s is %s, not %s", op_name(op),
                      size_text(context, whole), size_text(context, wanted),
                      size_text(context, part));
}

/* Result `index` is the operand with other sizes of the axes. */
static bool rule_resized(Context *context, Op *op, int32_t index, const int64_t axes[2],
                         const Size *const size[2], OpProblem *problem) {
    Type x = operand_type(op, index);
    const Size *dims[TYPE_MAX_RANK];
    for (int32_t i = 0; i < x.rank; i++) {
        dims[i] = i == axes[0] ? size[0] : i == axes[1] ? size[1] : x.dims[i];
    }
    return rule_result(context, op, index, x.dtype, x.rank, dims, problem);
}

/* That operand `index` has the axes along which rows move, and its other axes agree. */
static bool rule_along(Context *context, const Op *op, const Module *module, MeshGroup group,
                       int32_t index, const int64_t axes[2], OpProblem *problem) {
    return rule_axis(context, op, axes[0], operand_type(op, index).rank, problem) &&
           rule_axis(context, op, axes[1], operand_type(op, index).rank, problem) &&
           rule_agreed(context, op, module, group, index, axes, problem);
}

static bool rule_same_everywhere(Context *context, const Op *op, const Module *module,
                                 MeshGroup group, const Size *size, OpProblem *problem) {
    return (module_size_differs(module, size) & group) == 0 ||
           op_problem(context, problem, "%s: the whole, %s, may differ among the ranks over \"%s\"",
                      op_name(op), size_text(context, size), op_over(op));
}

/* The group, and that there is an entry of the op's lists for each operand, and a result. */
static bool rule_each(Context *context, const Op *op, Module **module, MeshGroup *group,
                      OpProblem *problem) {
    int32_t n = op->n_operands;
    if (!rule_group(context, op, module, group, problem)) {
        return false;
    }
    if (op_each_axis(op).count != n || op_each_size(op).count != n || op_each_rows(op).count != n ||
        op->n_results != n) {
        return op_problem(
            context, problem, "%s: %d operands have %d axes, %d sizes, %d rows and %d results",
            op_name(op), (int)n, (int)op_each_axis(op).count, (int)op_each_size(op).count,
            (int)op_each_rows(op).count, (int)op->n_results);
    }
    return true;
}

/* Operand `index`, whose axis is a rank's `part` of `whole`, or the other way round. */
static bool rule_moved(Context *context, Op *op, Module *module, MeshGroup group, int32_t index,
                       OpProblem *problem) {
    int64_t axes[2] = {op_each_axis(op).at[index], op_each_axis(op).at[index]};
    const Size *sizes[2] = {op_each_size(op).at[index], op_each_size(op).at[index]};
    if (!rule_along(context, op, module, group, index, axes, problem)) {
        return false;
    }
    bool gathers = op->code == OP_all_gather;
    const Size *own = operand_type(op, index).dims[axes[0]];
    const Size *whole = gathers ? sizes[0] : own, *part = gathers ? own : sizes[0];
    return rule_same_everywhere(context, op, module, group, whole, problem) &&
           rule_part(context, op, module, group, whole, part, op_each_rows(op).at[index],
                     problem) &&
           rule_resized(context, op, index, axes, sizes, problem);
}

bool shape_all_gather(Context *context, Op *op, OpProblem *problem) {
    Module *module = NULL;
    MeshGroup group = 0;
    bool good = rule_each(context, op, &module, &group, problem);
    for (int32_t i = 0; i < op->n_operands && good; i++) {
        good = rule_moved(context, op, module, group, i, problem);
    }
    return good;
}

bool shape_reduce_scatter(Context *context, Op *op, OpProblem *problem) {
    Module *module = NULL;
    MeshGroup group = 0;
    bool good = rule_each(context, op, &module, &group, problem);
    for (int32_t i = 0; i < op->n_operands && good; i++) {
        good = rule_number_operand(context, op, i, problem) &&
               rule_moved(context, op, module, group, i, problem);
    }
    return good;
}

bool shape_all_to_all(Context *context, Op *op, OpProblem *problem) {
    Module *module = NULL;
    MeshGroup group = 0;
    int64_t axes[2] = {op_axis(op), op_split(op)};
    const Size *sizes[2] = {op_size(op), op_split_size(op)};
    if (!rule_group(context, op, &module, &group, problem) ||
        !rule_along(context, op, module, group, 0, axes, problem)) {
        return false;
    }
    if (axes[0] == axes[1]) {
        return op_problem(context, problem, "all_to_all: axis and split are both %lld",
                          (long long)axes[0]);
    }
    const Size *const *dims = operand_type(op, 0).dims;
    return rule_same_everywhere(context, op, module, group, sizes[0], problem) &&
           rule_same_everywhere(context, op, module, group, dims[axes[1]], problem) &&
           rule_part(context, op, module, group, sizes[0], dims[axes[0]], op_rows(op), problem) &&
           rule_part(context, op, module, group, dims[axes[1]], sizes[1], op_split_rows(op),
                     problem) &&
           rule_resized(context, op, 0, axes, sizes, problem);
}

bool shape_shift(Context *context, Op *op, OpProblem *problem) {
    Module *module = NULL;
    MeshGroup group = 0;
    Type x = operand_type(op, 0);
    return rule_group(context, op, &module, &group, problem) &&
           rule_agreed(context, op, module, group, 0, NO_AXES, problem) &&
           rule_result(context, op, 0, x.dtype, x.rank, x.dims, problem);
}

/* -- values */

static dlc_status meet(Interp *interp, const Op *op) {
    if (!interp->meet) {
        return interp_fail(interp, op, "%s: there are no ranks to meet; interp_run_ranks has them",
                           op_name(op));
    }
    return interp->meet(interp, op);
}

dlc_status eval_all_reduce(Interp *interp, const Op *op) {
    return meet(interp, op);
}

dlc_status eval_all_gather(Interp *interp, const Op *op) {
    return meet(interp, op);
}

dlc_status eval_reduce_scatter(Interp *interp, const Op *op) {
    return meet(interp, op);
}

dlc_status eval_all_to_all(Interp *interp, const Op *op) {
    return meet(interp, op);
}

dlc_status eval_shift(Interp *interp, const Op *op) {
    return meet(interp, op);
}

/* -- gradients */

static MeshGroup group_of(const Builder *b, const Op *op) {
    MeshGroup group = 0;
    module_group_parse(b->func->module, op_over(op), &group); /* the shape rule took it */
    return group;
}

static const Size *operand_axis(const Op *op, int64_t axis) {
    return operand_type(op, 0).dims[axis];
}

/* `x` of every rank along a new first axis. */
static Value *gather_ranks(Builder *b, Value *x, MeshGroup group) {
    const Size *dims[TYPE_MAX_RANK + 1];
    const Size *ranks = module_rank_size(b->func->module, DIM_RANKS, group, NULL);
    dims[0] = size_const(b->context, 1);
    for (int32_t i = 0; i < x->type.rank; i++) {
        dims[i + 1] = x->type.dims[i];
    }
    Value *row = b_reshape(b, x, x->type.rank + 1, dims);
    return b_all_gather(b, row, 0, ranks, ranks, group);
}

/* This rank's number as a tensor like `like`, i32. */
static Value *own_number(Builder *b, const Value *like, MeshGroup group) {
    const Size *rank = module_rank_size(b->func->module, DIM_COORDINATE, group, NULL);
    Value *number = b_size(b, rank, DT_I32);
    return b_splat(b, number, like->type.rank, like->type.dims);
}

/* The cotangent goes to the first rank whose value is the extreme, as reduce_max has it along an
 * axis. */
static Value *grad_extreme(Builder *b, const Op *op, int32_t index, Value *sum, MeshGroup group) {
    Value *x = op->operands[index], *number = own_number(b, x, group), *first = NULL;
    Value *is_it = b_binary(b, OP_eq, x, op->results[index]);
    Value *none = b_constant_like(b, MESH_MAX_RANKS, number);
    Value *candidate = b_select(b, is_it, number, none);
    b_all_reduce(b, &candidate, 1, OP_min, group, &first);
    Value *mine = b_binary(b, OP_eq, first, number);
    Value *zero = zeros_like(b, sum);
    return b_select(b, mine, sum, zero);
}

/* That of reduce_prod over all ranks' values, of which this rank has its row: exact at zeros. */
static Value *grad_product(Builder *b, const Op *op, int32_t index, Value *sum, MeshGroup group) {
    Value *all = gather_ranks(b, op->operands[index], group);
    Value *product = b_reduce(b, OP_reduce_prod, all, (int64_t[]){0}, 1);
    Value *rows = NULL;
    bool wanted = true;
    op_info(OP_reduce_prod)->grad(b, product->op, &sum, &wanted, &rows);
    const Size *rank = module_rank_size(b->func->module, DIM_COORDINATE, group, NULL);
    const Size *one = size_const(b->context, 1);
    Value *row = b_slice_axis(b, rows, 0, rank, size_add(b->context, rank, one));
    return b_reshape(b, row, sum->type.rank, sum->type.dims);
}

/* All cotangents are summed over the ranks, in one collective again. */
void grad_all_reduce(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                     Value **out) {
    Arena *arena = &b->func->module->arena;
    Value **given = ARENA_ARRAY(arena, Value *, op->n_operands);
    Value **sums = ARENA_ARRAY(arena, Value *, op->n_operands);
    MeshGroup group = group_of(b, op);
    OpCode code = OP_NONE;
    int32_t n = 0;
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (wanted[i] && cotangents[i]) {
            given[n++] = cotangents[i];
        }
    }
    if (n == 0 || !op_code_from_name(all_reduce_combine(op), &code)) {
        return;
    }
    b_all_reduce(b, given, n, OP_add, group, sums);
    for (int32_t i = 0, k = 0; i < op->n_operands; i++) {
        if (!wanted[i] || !cotangents[i]) {
            continue;
        }
        Value *sum = sums[k++];
        out[i] = code == OP_mul                     ? grad_product(b, op, i, sum, group)
                 : code == OP_max || code == OP_min ? grad_extreme(b, op, i, sum, group)
                                                    : sum;
    }
}

/* What moves the cotangents back: all that are there, in one collective again. */
static void move_back(Builder *b, const Op *op, Value *const *cotangents, const bool *wanted,
                      Value **out) {
    Arena *arena = &b->func->module->arena;
    Value **given = ARENA_ARRAY(arena, Value *, op->n_operands);
    Value **back = ARENA_ARRAY(arena, Value *, op->n_operands);
    MovedRows *how = ARENA_ARRAY(arena, MovedRows, op->n_operands);
    int32_t n = 0;
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (wanted[i] && cotangents[i]) {
            int64_t axis = op_each_axis(op).at[i];
            how[n] = (MovedRows){axis, operand_type(op, i).dims[axis], op_each_rows(op).at[i]};
            given[n++] = cotangents[i];
        }
    }
    if (n > 0 && op->code == OP_all_gather) {
        b_reduce_scatter_each(b, given, how, n, group_of(b, op), back);
    } else if (n > 0) {
        b_all_gather_each(b, given, how, n, group_of(b, op), back);
    }
    for (int32_t i = 0, k = 0; i < op->n_operands; i++) {
        if (wanted[i] && cotangents[i]) {
            out[i] = back[k++];
        }
    }
}

void grad_all_gather(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                     Value **out) {
    move_back(b, op, cotangents, wanted, out);
}

void grad_reduce_scatter(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                         Value **out) {
    move_back(b, op, cotangents, wanted, out);
}

void grad_all_to_all(Builder *b, Op *op, Value *const *cotangents, const bool *wanted,
                     Value **out) {
    if (wanted[0] && cotangents[0]) {
        int64_t axis = all_to_all_axis(op), split = all_to_all_split(op);
        out[0] = b_all_to_all(b, cotangents[0],
                              &(AllToAll){.axis = split,
                                          .size = operand_axis(op, split),
                                          .rows = all_to_all_split_rows(op),
                                          .split = axis,
                                          .split_size = operand_axis(op, axis),
                                          .split_rows = all_to_all_rows(op),
                                          .group = group_of(b, op)});
    }
}

void grad_shift(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out) {
    if (wanted[0] && cotangents[0]) {
        out[0] = b_shift(b, cotangents[0], -shift_by(op), group_of(b, op));
    }
}
