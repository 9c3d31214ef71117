/* Cotangents with masks. `where(c, f(x), …)` hands f's cotangent on where c holds and zero
 * elsewhere; were that zero put in at once, a slope of f that is infinite or nan where f is not
 * meant to be computed would be multiplied by it and give nan. So where such slopes may follow, the
 * cotangent goes on as it is, beside the conditions under which it counts, and the zeros are put in
 * at the end: select(c, g * slope, 0) in place of select(c, g, 0) * slope. A nan where c holds
 * stays. */
#include "passes/differentiate/differentiate.h"
#include "passes/rewrite.h"

/* isnan, isfinite, x == x, and what is made of them. */
static bool asks_for_nan(const Value *condition, int fuel) {
    const Op *op = condition->op;
    if (!op || fuel == 0) {
        return false;
    }
    switch (op->code) {
    case OP_isnan:
    case OP_isfinite:
        return true;
    case OP_eq:
    case OP_ne:
        return op->operands[0] == op->operands[1];
    case OP_and:
    case OP_or:
        return asks_for_nan(op->operands[0], fuel - 1) || asks_for_nan(op->operands[1], fuel - 1);
    default:
        return (op->code == OP_not || op_is_view(op->code)) &&
               asks_for_nan(op->operands[0], fuel - 1);
    }
}

const Mask *mask_inside(Arena *arena, const Mask *outer, Value *condition, bool negated) {
    Mask *mask = ARENA_NEW(arena, Mask);
    *mask = (Mask){.outer = outer, .condition = condition, .negated = negated};
    mask->is_strict = (outer && outer->is_strict) || asks_for_nan(condition, 8);
    return mask;
}

static bool mask_equal(const Mask *a, const Mask *b) {
    while (a && b && a != b && a->condition == b->condition && a->negated == b->negated) {
        a = a->outer;
        b = b->outer;
    }
    return a == b;
}

static bool mask_encloses(const Mask *outer, const Mask *mask) {
    while (mask && !mask_equal(outer, mask)) {
        mask = mask->outer;
    }
    return mask_equal(outer, mask);
}

/* All of the conditions as one value. */
static Value *mask_value(Builder *b, const Mask *mask) {
    Value *own = mask->negated ? b_unary(b, OP_not, mask->condition) : mask->condition;
    return mask->outer ? b_binary(b, OP_and, mask_value(b, mask->outer), own) : own;
}

void cotangent_settle(Builder *b, Cotangent *cotangent) {
    for (const Mask *mask = cotangent->mask; mask != cotangent->settled; mask = mask->outer) {
        Value *zero = b_constant_like(b, 0.0, cotangent->value);
        cotangent->value = mask->negated ? b_select(b, mask->condition, zero, cotangent->value)
                                         : b_select(b, mask->condition, cotangent->value, zero);
    }
    cotangent->settled = cotangent->mask;
}

/* Two branches of one where: each counts where the other does not. */
static bool are_branches(const Mask *a, const Mask *b) {
    return a && b && a->condition == b->condition && a->negated != b->negated &&
           mask_equal(a->outer, b->outer);
}

Cotangent cotangent_sum(Arena *arena, Builder *b, Cotangent x, Cotangent y) {
    Cotangent sum = {.mask = x.mask};
    bool are_settled = x.settled == x.mask && y.settled == y.mask;
    bool alike = mask_equal(x.mask, y.mask), branches = are_branches(x.mask, y.mask);
    if (branches && !are_settled) {
        Value *chosen = x.mask->negated ? y.value : x.value;
        Value *other = x.mask->negated ? x.value : y.value;
        sum.value = b_select(b, x.mask->condition, chosen, other);
        sum.mask = x.mask->outer;
        return sum;
    }
    if (!alike) {
        cotangent_settle(b, &x);
        cotangent_settle(b, &y);
        are_settled = true;
    }
    sum.value = b_add(b, x.value, y.value);
    if (branches) {
        sum.mask = x.mask->outer;
    } else if (mask_encloses(y.mask, x.mask)) {
        sum.mask = y.mask;
    } else if (!mask_encloses(x.mask, y.mask)) {
        Value *first = mask_value(b, x.mask);
        Value *second = mask_value(b, y.mask);
        sum.mask = mask_inside(arena, NULL, b_binary(b, OP_or, first, second), false);
    }
    sum.settled = are_settled ? sum.mask : NULL;
    return sum;
}

/* -- through ops */

/* Whether the op's slope is infinite or nan at some finite operands. */
static bool has_poles(const Op *op) {
    double constant = 0;
    bool is_constant = op->n_operands == 2 && value_is_constant(op->operands[1], &constant);
    switch (op_info(op->code)->scalar_slope) {
    case SLOPE_SMOOTH:
        break;
    case SLOPE_POLES:
        return true;
    case SLOPE_POLES_AT_0:
        return !is_constant || constant == 0;
    case SLOPE_POLES_BELOW_1:
        return !is_constant || constant < 1;
    }
    return false;
}

/* Of an element's cotangent one for the same element of each operand. */
static bool keeps_place(const Op *op) {
    return op_info(op->code)->kind == KIND_ELEMENTWISE && op->code != OP_stop_gradient;
}

bool mask_passes(const Op *op) {
    return keeps_place(op) || op->code == OP_reshape || op->code == OP_transpose;
}

void mask_mark_risky(Arena *arena, ValueFlags *risky, const OpList *ops) {
    for (size_t i = 0; i < ops->count; i++) {
        const Op *op = ops->items[i];
        bool found = has_poles(op);
        for (int32_t k = 0; k < op->n_operands && !found; k++) {
            found = value_flag(risky, op->operands[k]);
        }
        if (found && mask_passes(op)) {
            value_set_flag(arena, risky, op->results[0]);
        }
    }
}

static bool repeats_alike(const Op *a, const Op *b) {
    if (b->code != OP_broadcast) {
        return false;
    }
    Ints x = broadcast_axes(a), y = broadcast_axes(b);
    return x.count == y.count &&
           (x.count == 0 || memcmp(x.at, y.at, (size_t)x.count * sizeof(*x.at)) == 0);
}

const Mask *mask_through(Arena *arena, Builder *b, Op *op, const Mask *mask) {
    if (!mask || keeps_place(op)) {
        return mask;
    }
    const Mask *outer = mask_through(arena, b, op, mask->outer);
    if (op->code == OP_broadcast) {
        const Op *repeat = mask->condition->op;
        return repeat && repeats_alike(op, repeat)
                   ? mask_inside(arena, outer, repeat->operands[0], mask->negated)
                   : outer;
    }
    if (!mask_passes(op)) {
        return NULL;
    }
    Value *moved = NULL; /* by the movement's rule, as it moves a cotangent */
    const bool wanted = true;
    op_info(op->code)->grad(b, op, &mask->condition, &wanted, &moved);
    return mask_inside(arena, outer, moved, mask->negated);
}
