/* The static check: what ops make of sums that are not taken and of parts, by the columns of their
 * rows. */
#include "passes/shard/check_state.h"

/* -- Sums that are not taken */

bool check_is_sum(const Check *c, const Value *value) {
    return check_state(c, value)->kind == HAVE_SUM;
}

/* Whether a sum by something else than adding only moves. */
static bool only_moves(const Op *op) {
    OpFusion fusion = op_info(op->code)->fusion;
    return op->n_operands == 1 && (fusion == FUSION_VIEW || fusion == FUSION_SPREAD);
}

/* -- Parts, by the axes that go together */

static bool has_factor(const Op *op, const OpAxes *axes, int32_t i, int8_t factor) {
    for (int32_t axis = 0; axis < op->operands[i]->type.rank; axis++) {
        if (axes->operands[i][axis] == factor) {
            return true;
        }
    }
    return false;
}

/* A factor that all parts are cut by; -1: there is none. */
static int8_t common_factor(const Check *c, const Op *op, const OpAxes *axes, const State **out) {
    int8_t common = -1;
    for (int32_t i = 0; i < op->n_operands; i++) {
        const State *state = check_state(c, op->operands[i]);
        if (state->kind != HAVE_PART || state->axis < 0) {
            continue;
        }
        int8_t factor = axes->operands[i][state->axis];
        if (factor < 0 || (common >= 0 && factor != common)) {
            return -1;
        }
        common = factor;
        *out = state;
    }
    return common;
}

/* Whether the op sums over the rows that its parts are cut by. */
static bool sums_parts(const Check *c, const Op *op) {
    OpAxes axes = op_factors(c->scratch, op);
    const State *cut = NULL;
    int8_t factor = common_factor(c, op, &axes, &cut);
    return factor >= 0 && axes.is_combined[factor] && axes.combine == OP_add;
}

/* The state of what an op makes of `n` sums. */
static State of_sums(Check *c, const Op *op, int32_t n) {
    OpLinear linear = op_info(op->code)->linear;
    bool parts_too = sums_parts(c, op);
    State out = {.kind = HAVE_SUM};
    for (int32_t i = 0; i < op->n_operands; i++) {
        const Value *operand = op->operands[i];
        bool sum = check_is_sum(c, operand);
        if (parts_too && check_state(c, operand)->kind == HAVE_PART) {
            continue;
        }
        out.combine = sum ? check_state(c, operand)->combine : out.combine;
        out.is_rounded |= sum && check_state(c, operand)->is_rounded;
        if (sum && out.is_rounded && !only_moves(op)) {
            check_problem(c, op, "operand %d is %s", (int)i,
                          check_state_text(check_state(c, operand)));
        } else if (sum && out.combine != OP_add && !only_moves(op)) {
            check_problem(c, op, "operand %d is the %s of all ranks', which nothing has taken",
                          (int)i, op_info(out.combine)->name);
        } else if (sum && out.combine == OP_add && linear != LINEAR_EACH && !op_is_joint(op, i)) {
            check_problem(c, op, "operand %d is %s, and the op is not linear in it", (int)i,
                          check_state_text(check_state(c, operand)));
        } else if (!sum && op_is_joint(op, i) && !check_may_be_added(c, operand)) {
            check_problem(c, op, "operand %d, %s, is added to a sum over ranks by each of them",
                          (int)i, check_state_text(check_state(c, operand)));
        } else if (!sum && !op_is_joint(op, i) && !check_is_equal(c, operand)) {
            check_problem(c, op, "operand %d, %s, meets a sum over the ranks", (int)i,
                          check_state_text(check_state(c, operand)));
        }
    }
    if (linear == LINEAR_EACH && n > 1) {
        check_problem(c, op, "%d sums over the ranks that are not taken meet", (int)n);
    }
    return out;
}

/* Parts along some axis, which nothing says: still so, or summed along all of them. */
static State of_vague_parts(const Op *op, const OpAxes *axes) {
    bool keeps = true, sums = true;
    for (int32_t axis = 0; axis < op->operands[0]->type.rank; axis++) {
        int8_t factor = axes->operands[0][axis];
        keeps = keeps && factor >= 0 && !axes->is_combined[factor];
        sums = sums && factor >= 0 && axes->is_combined[factor];
    }
    return keeps  ? check_part(-1, NULL, NULL)
           : sums ? (State){.kind = HAVE_SUM, .combine = axes->combine}
                  : (State){.kind = HAVE_ANY}; /* either */
}

static void of_parts(Check *c, const Op *op) {
    OpAxes axes = op_factors(c->scratch, op);
    const State *cut = NULL;
    int8_t factor = common_factor(c, op, &axes, &cut);
    if (!cut) {
        *check_state(c, op->results[0]) = of_vague_parts(op, &axes);
        return;
    }
    for (int32_t i = 0; factor >= 0 && axes.is_combined[factor] && i < op->n_operands; i++) {
        const Value *operand = op->operands[i];
        if (!has_factor(op, &axes, i, factor) && op_is_joint(op, i) &&
            !check_may_be_added(c, operand) && !check_is_sum(c, operand)) {
            check_problem(c, op, "operand %d, %s, is added to a sum over ranks by each of them",
                          (int)i, check_state_text(check_state(c, operand)));
        }
    }
    for (int32_t r = 0; r < op->n_results; r++) {
        State out = {.kind = HAVE_UNKNOWN};
        if (factor >= 0 && axes.is_combined[factor]) {
            out = (State){.kind = HAVE_SUM, .combine = axes.combine};
        }
        for (int32_t axis = 0; factor >= 0 && axis < op->results[r]->type.rank; axis++) {
            if (axes.results[r][axis] == factor) {
                out = check_part(axis, cut->outer, cut->rows);
            }
        }
        *check_state(c, op->results[r]) = out;
    }
}

static bool has_any_along(const Check *c, const Op *op, const OpAxes *axes, int8_t factor) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (check_state(c, op->operands[i])->kind == HAVE_ANY && has_factor(op, axes, i, factor)) {
            return true;
        }
    }
    return false;
}

/* What is made of equal values and of one number in each rank's rows is each rank's rows. */
static void of_numbers(Check *c, const Op *op) {
    OpAxes axes = op_factors(c->scratch, op);
    for (int32_t r = 0; r < op->n_results; r++) {
        Type type = op->results[r]->type;
        for (int32_t axis = 0; axis < type.rank; axis++) {
            int8_t factor = axes.results[r][axis];
            if (factor >= 0 && check_differs(c, type.dims[axis]) &&
                has_any_along(c, op, &axes, factor)) {
                *check_state(c, op->results[r]) = check_part_of(c, type, axis);
            }
        }
    }
}

/* What follows from the operands' kinds alone, else by the axes. */
void check_any(Check *c, const Op *op) {
    int32_t count[HAVE_UNKNOWN + 1] = {0};
    State out = {.kind = HAVE_EQUAL};
    for (int32_t i = 0; i < op->n_operands; i++) {
        count[check_state(c, op->operands[i])->kind]++;
    }
    if (count[HAVE_SUM] > 0) {
        out = of_sums(c, op, count[HAVE_SUM]);
    } else if (count[HAVE_PART] > 0 && count[HAVE_OWN] == 0 && op_info(op->code)->axes) {
        of_parts(c, op);
        return;
    } else if (count[HAVE_PART] > 0 || count[HAVE_UNKNOWN] > 0) {
        out.kind = HAVE_UNKNOWN;
    } else if (count[HAVE_OWN] > 0) {
        out.kind = HAVE_OWN;
    } else if (count[HAVE_ANY] == op->n_operands && op->n_operands > 0) {
        out.kind = HAVE_ANY;
    }
    for (int32_t r = 0; r < op->n_results; r++) {
        *check_state(c, op->results[r]) = out;
    }
    if (out.kind == HAVE_EQUAL && count[HAVE_ANY] > 0) {
        of_numbers(c, op);
    }
}
