/* The rules of the op table, declared from its rows: every structural row of ops.def has
 * shape_<name> and eval_<name>; one whose gradient is RULE, grad_<name> as well; one whose flops
 * are RULE, flops_<name>; one whose axes are RULE, axes_<name>; a view, view_<name>. A rule that
 * nobody wrote is a link error. The rows of scalar.def share four functions. Signatures: ir/op.h.
 */
#ifndef DLC_IR_OPS_OPS_H
#define DLC_IR_OPS_OPS_H

#include "ir/axes.h"
#include "ir/view.h"

/* The gradient column decides whether a rule must exist. */
#define OP_GRAD_DECLARE_RULE(name)                                                                 \
    void grad_##name(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out);
#define OP_GRAD_DECLARE_NODIFF(name)
#define OP_GRAD_DECLARE_EFFECT(name)
#define OP_GRAD_DECLARE_ISOLATED(name)
#define OP_GRAD_DECLARE_OWN_GRAD(name)

/* So does the column of flops. */
#define OP_FLOPS_DECLARE_NONE(name)
#define OP_FLOPS_DECLARE_OPERAND(name)
#define OP_FLOPS_DECLARE_RULE(name) const Size *flops_##name(Context *context, const Op *op);

/* And the column of axes. */
#define OP_AXES_DECLARE_NONE(name)
#define OP_AXES_DECLARE_OWN(name)
#define OP_AXES_DECLARE_EACH(name)
#define OP_AXES_DECLARE_RULE(name) void axes_##name(OpAxes *axes, const Op *op);

/* The column of fusion says which are views. */
#define OP_IF_VIEW_VIEW(...)   __VA_ARGS__
#define OP_IF_VIEW_SPREAD(...) __VA_ARGS__
#define OP_IF_VIEW_FREE(...)
#define OP_IF_VIEW_FREE_IF_SMALL(...)
#define OP_IF_VIEW_FREE_UNLESS_STORED(...)
#define OP_IF_VIEW_LOOP(...)
#define OP_IF_VIEW_PICK(...)
#define OP_IF_VIEW_REDUCE(...)
#define OP_IF_VIEW_ARG_REDUCE(...)
#define OP_IF_VIEW_CONTRACT(...)
#define OP_IF_VIEW_CONV(...)
#define OP_IF_VIEW_PREFIX(...)
#define OP_IF_VIEW_SORT(...)
#define OP_IF_VIEW_SCATTER(...)
#define OP_IF_VIEW_UPDATE(...)
#define OP_IF_VIEW_ATTENTION(...)
#define OP_IF_VIEW_BARRIER(...)

#define OP(name, kind, n_operands, n_results, n_blocks, gradient, fusion, work, flops, combines,   \
           precision, elements, axes, ...)                                                         \
    bool shape_##name(Context *context, Op *op, OpProblem *problem);                               \
    dlc_status eval_##name(struct Interp *interp, const Op *op);                                   \
    OP_GRAD_DECLARE_##gradient(name) OP_FLOPS_DECLARE_##flops(name) OP_AXES_DECLARE_##axes(name)   \
        OP_IF_VIEW_##fusion(                                                                       \
            void view_##name(ViewReader *r, const Op *op, const Position *at, Position *out);)
#include "ir/ops.def"
#undef OP

/* Every row of scalar.def. grad_scalar serves all but bool results, which have no derivative. */
bool shape_scalar(Context *context, Op *op, OpProblem *problem);
const Size *flops_scalar(Context *context, const Op *op);
dlc_status eval_scalar(struct Interp *interp, const Op *op);
void grad_scalar(Builder *b, Op *op, Value *const *cotangents, const bool *wanted, Value **out);

/* Axis i of every operand and result. */
void axes_of_each(OpAxes *axes, const Op *op);
/* One for each element of operand 0. */
const Size *flops_per_operand(Context *context, const Op *op);

/* Fills problem->text from the context's arena and returns false, for `return op_problem(…)`
 * (ir/op_table.c). */
bool op_problem(Context *context, OpProblem *problem, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
