/* Helpers that the op rules share: checks for shape rules, index arithmetic for eval rules.
 * Private to ir/ops. */
#ifndef DLC_IR_OPS_RULE_H
#define DLC_IR_OPS_RULE_H

#include "ir/base/checked.h"
#include "ir/build.h"
#include "ir/interp.h"
#include "ir/ops/ops.h"

/* -- shape rules. All return false after filling `problem`. */

/* Type of operand `index`. */
static inline Type operand_type(const Op *op, int32_t index) {
    return op->operands[index]->type;
}
bool rule_axis(Context *context, const Op *op, int64_t axis, int32_t rank, OpProblem *problem);
/* Axes in range and distinct. */
bool rule_axes(Context *context, const Op *op, const char *attr, Ints axes, int32_t rank,
               OpProblem *problem);
/* An attribute list of exactly `wanted` entries. */
bool rule_count(Context *context, const Op *op, const char *attr, int32_t count, int32_t wanted,
                OpProblem *problem);
/* A shape attribute: rank limit, no overflow, nothing negative. */
bool rule_shape(Context *context, const Op *op, const Size *const *shape, int32_t rank,
                OpProblem *problem);
/* Whether a <= b, or a equals b, may hold for some values of the dims. Where it is not proved it is
 * a premise of the op, with "<op>: <what>: <a> is above <b>" as its text. The caller complains
 * where it is refuted. */
bool rule_may_be_le(Context *context, const Op *op, const Size *a, const Size *b, const char *what,
                    OpProblem *problem);
bool rule_may_be_equal(Context *context, const Op *op, const Size *a, const Size *b,
                       const char *what, OpProblem *problem);
/* Whether `dtype` counts the positions of an axis of that size: all fit it. Else a problem, or a
 * premise. */
bool rule_counts(Context *context, const Op *op, DType dtype, const Size *size, OpProblem *problem);
bool rule_same_size(Context *context, const Op *op, const Size *a, const char *what_a,
                    const Size *b, const char *what_b, OpProblem *problem);
bool rule_same_type(Context *context, const Op *op, int32_t i, int32_t j, OpProblem *problem);
bool rule_same_dtype(Context *context, const Op *op, int32_t i, int32_t j, OpProblem *problem);
/* Operand `index` is rank 0 of `dtype`. */
bool rule_scalar_operand(Context *context, const Op *op, int32_t index, DType dtype,
                         OpProblem *problem);
/* Operand `index` is i32 or i64. */
bool rule_index_operand(Context *context, const Op *op, int32_t index, OpProblem *problem);
bool rule_number_operand(Context *context, const Op *op, int32_t index, OpProblem *problem);
/* The result's element type by the op's `precision`, of operands of element type `dtype`. */
bool rule_precision(Context *context, const Op *op, DType dtype, DType *out, OpProblem *problem);
/* For gradients by operand `side` from `cotangent`: brings it to the type of the other operand and
 * sets the builder's precision, which is returned as it was. */
const char *precision_enter(Builder *b, const Op *op, Value **cotangent);
/* Restores it, and brings the gradient to the operand's type. */
Value *precision_leave(Builder *b, const Op *op, int32_t side, Value *gradient, const char *saved);
bool rule_min_operands(Context *context, const Op *op, int32_t count, OpProblem *problem);
/* Sets the type of result `index` after rule_shape. */
bool rule_result(Context *context, Op *op, int32_t index, DType dtype, int32_t rank,
                 const Size *const *dims, OpProblem *problem);
static inline const char *op_name(const Op *op) {
    return op_info(op->code)->name;
}

/* -- eval rules: row-major index arithmetic over concrete shapes. */

static inline void nd_strides(const int64_t *dims, int32_t rank, int64_t *strides) {
    int64_t stride = 1;
    for (int32_t axis = rank - 1; axis >= 0; axis--) {
        strides[axis] = stride;
        stride *= dims[axis];
    }
}
/* Steps a multi-index through a shape in row-major order; false after the last. */
static inline bool nd_next(int64_t *index, const int64_t *dims, int32_t rank) {
    for (int32_t axis = rank - 1; axis >= 0; axis--) {
        if (++index[axis] < dims[axis]) {
            return true;
        }
        index[axis] = 0;
    }
    return false;
}
static inline int64_t nd_dot(const int64_t *index, const int64_t *strides, int32_t rank) {
    int64_t sum = 0;
    for (int32_t axis = 0; axis < rank; axis++) {
        sum += index[axis] * strides[axis];
    }
    return sum;
}
static inline void tensor_copy_element(EvalTensor *to, int64_t i, const EvalTensor *from,
                                       int64_t j) {
    if (to->f) {
        to->f[i] = from->f[j];
    } else {
        to->i[i] = from->i[j];
    }
}
static inline void tensor_copy_all(EvalTensor *to, const EvalTensor *from) {
    for (int64_t i = 0; i < to->n; i++) {
        tensor_copy_element(to, i, from, i);
    }
}
static inline double tensor_number(const EvalTensor *tensor, int64_t i) {
    return tensor->f ? tensor->f[i] : (double)tensor->i[i];
}
/* A shape seen from one axis: `outer` blocks of `n` rows of `inner` elements. */
typedef struct AxisView {
    int64_t outer, n, inner;
} AxisView;
AxisView axis_view(const EvalTensor *tensor, int64_t axis);

/* -- gradient rules */

/* A cotangent-typed zero. */
Value *zeros_like(Builder *b, const Value *like);
Value *transpose_by(Builder *b, Value *x, const int64_t *permutation); /* x if the identity */

#endif
