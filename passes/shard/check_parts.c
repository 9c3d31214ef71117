/* The static check: ops that make parts of wholes, or look into parts. */
#include "passes/shard/check_state.h"

/* The product of axes [from, end). */
static const Size *product(const Check *c, Type type, int32_t from, int32_t end) {
    const Size *size = size_const(c->context, 1);
    for (int32_t axis = from; axis < end; axis++) {
        size = size_mul(c->context, size, type.dims[axis]);
    }
    return size;
}

/* Where a part lies in a reshaped value of the same elements; where several axes will do because
 * the rank has one row, nobody knows in which. */
static State reshaped(const Check *c, const State *state, Type from, Type to) {
    State out = {.kind = HAVE_UNKNOWN};
    const Size *all = state->outer ? size_mul(c->context, state->outer, state->rows) : NULL;
    const Size *inner = all ? exact_quotient(c->context, from.dims[state->axis], all) : NULL;
    if (!inner) {
        return out;
    }
    const Size *before = size_mul(c->context, product(c, from, 0, state->axis), state->outer);
    const Size *behind = size_mul(c->context, inner, product(c, from, state->axis + 1, from.rank));
    for (int32_t axis = 0; axis < to.rank; axis++) {
        const Size *outer = exact_quotient(c->context, before, product(c, to, 0, axis));
        const Size *rest = exact_quotient(c->context, behind, product(c, to, axis + 1, to.rank));
        bool fits =
            outer && rest &&
            size_mul(c->context, size_mul(c->context, outer, state->rows), rest) == to.dims[axis];
        if (fits) {
            bool is_first = out.kind == HAVE_UNKNOWN;
            out = is_first ? check_part(axis, outer, state->rows) : check_part(-1, NULL, NULL);
        }
    }
    return out;
}

void check_reshape(Check *c, const Op *op) {
    const State *state = check_state(c, op->operands[0]);
    *check_state(c, op->results[0]) =
        state->kind == HAVE_PART && state->axis >= 0
            ? reshaped(c, state, op->operands[0]->type, op->results[0]->type)
            : *state;
}

/* A slice that begins where the rank's rows do takes its part. */
static bool takes_part(const Check *c, const Op *op, int32_t *out_axis) {
    for (int32_t axis = 0; axis < slice_limits(op).count; axis++) {
        if (check_differs(c, slice_starts(op).at[axis]) ||
            check_differs(c, slice_limits(op).at[axis])) {
            bool all = slice_limits(op).at[axis] == op->operands[0]->type.dims[axis] &&
                       !check_differs(c, slice_starts(op).at[axis]);
            *out_axis = axis;
            return !all;
        }
    }
    return false;
}

/* Slices, pads and concats along the axis that is cut: of equal parts. */
static void of_equal_parts(Check *c, const Op *op, const State *state) {
    EqualParts parts;
    AxisCut cut = {.axis = state->axis, .outer = state->outer, .rows = state->rows}, out;
    State *result = check_state(c, op->results[0]);
    *result = (State){.kind = HAVE_UNKNOWN};
    if (state->outer && equal_parts(c->context, op, &parts) &&
        (parts.whole_is_result ? cut_of_whole(c->context, &parts, &cut, &out)
                               : cut_of_part(c->context, &parts, &cut, &out))) {
        *result = check_part(state->axis, out.outer, out.rows);
    }
}

void check_placing(Check *c, const Op *op) {
    const State *state = check_state(c, op->operands[0]);
    int32_t axis = 0;
    if (op->code == OP_slice && state->kind <= HAVE_EQUAL && takes_part(c, op, &axis)) {
        *check_state(c, op->results[0]) = check_part_of(c, op->results[0]->type, axis);
        return;
    }
    bool along = state->kind == HAVE_PART && state->axis >= 0 &&
                 op->operands[0]->type.dims[state->axis] != op->results[0]->type.dims[state->axis];
    if (along) {
        of_equal_parts(c, op, state);
    } else {
        check_any(c, op);
    }
}

/* What is equal may be given a new axis of which the rank has its rows; where all have as many,
 * that does not show, and the value counts as either. */
void check_broadcast(Check *c, const Op *op) {
    Type to = op->results[0]->type;
    int32_t n_old = op->n_operands > 0 ? op->operands[0]->type.rank : 1; /* an iota has one */
    if (to.rank == n_old || (op->n_operands > 0 && !check_is_equal(c, op->operands[0]))) {
        check_any(c, op);
        return;
    }
    *check_state(c, op->results[0]) = (State){.kind = HAVE_ANY};
    for (int32_t axis = 0; axis < to.rank; axis++) {
        if (check_differs(c, to.dims[axis])) {
            *check_state(c, op->results[0]) = check_part_of(c, to, axis);
            return;
        }
    }
}

/* By ids that count in the rank's rows. */
void check_picking(Check *c, const Op *op) {
    if (check_state(c, op->operands[1])->kind != HAVE_OWN) {
        check_any(c, op);
        return;
    }
    bool adds = op->code == OP_take_add || op->code == OP_scatter_add;
    int32_t axis = (int32_t)op_axis(op);
    *check_state(c, op->results[0]) =
        adds ? check_part_of(c, op->results[0]->type, axis) : (State){.kind = HAVE_OWN};
}

/* What is zero but where a condition of the rank's number holds is a part of a sum. */
void check_select(Check *c, const Op *op) {
    if (check_state(c, op->operands[0])->kind != HAVE_OWN) {
        check_any(c, op);
        return;
    }
    bool masks = check_is_zero(op->operands[1]) || check_is_zero(op->operands[2]);
    *check_state(c, op->results[0]) =
        masks ? (State){.kind = HAVE_SUM, .combine = OP_add} : (State){.kind = HAVE_OWN};
}

/* Of a sum that is rounded nothing is to be read before it is taken. */
void check_cast(Check *c, const Op *op) {
    State of = *check_state(c, op->operands[0]);
    bool floats =
        dtype_is_float(op->operands[0]->type.dtype) && dtype_is_float(op->results[0]->type.dtype);
    if (of.kind != HAVE_SUM || of.combine != OP_add || !floats) {
        check_any(c, op);
        return;
    }
    of.is_rounded = true;
    *check_state(c, op->results[0]) = of;
}

/* -- Numbers */

static State equal_or(bool equal, Have other) {
    return (State){.kind = equal ? HAVE_EQUAL : other};
}

/* Whether `start`, as the first element of a piece, says that the rows of an axis are the rank's.
 */
static bool starts_by(const Check *c, const Op *op, const Size *start, int32_t axis) {
    const Module *module = c->func->module;
    const Size *row = size_mul(c->context, random_uniform_piece_strides(op).at[axis],
                               op->results[0]->type.dims[axis]);
    for (int32_t d = 0; d < module->n_dims; d++) {
        const Dim *dim = module->dims[d];
        if (dim->source == DIM_COORDINATE && (dim->group & c->axis) != 0) {
            const Size *first = size_mul(c->context, row, size_dim(c->context, dim));
            if (!check_differs(c, size_sub(c->context, start, first))) {
                return true;
            }
        }
    }
    return false;
}

/* Random numbers of a piece of the whole: along which axis. */
static State random_part(const Check *c, const Op *op) {
    const Value *given = op->operands[op->n_operands - 1];
    const Size *start = given->op && given->op->code == OP_size ? size_extent(given->op) : NULL;
    Type type = op->results[0]->type;
    for (int32_t axis = 0; axis < type.rank; axis++) {
        bool known = random_uniform_piece_strides(op).count == type.rank;
        if (check_differs(c, type.dims[axis]) ||
            (known && start && starts_by(c, op, start, axis))) {
            return check_part_of(c, type, axis);
        }
    }
    return check_part(-1, NULL, NULL);
}

void check_source(Check *c, const Op *op) {
    State *out = check_state(c, op->results[0]);
    if (op->code == OP_size) {
        *out = equal_or(!check_differs(c, size_extent(op)), HAVE_OWN);
    } else if (op->code == OP_constant) {
        out->kind = HAVE_ANY;
    } else { /* random numbers: of a piece of the whole, where it begins so */
        bool equal = true;
        for (int32_t i = 0; i < op->n_operands; i++) {
            equal = equal && check_is_equal(c, op->operands[i]);
        }
        State of_rank = random_part(c, op);
        *out = equal && of_rank.axis < 0 ? (State){.kind = HAVE_EQUAL} : of_rank;
    }
}
