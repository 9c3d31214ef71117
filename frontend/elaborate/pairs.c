/* Comparisons that pair by accident. `mean(prediction == label)` of [B, 1] and [B] would compare
 * every row with every row and average a B x B table. That is what broadcasting says, and what an
 * attention mask means, so it is an error only where the comparison itself (or `and`, `or`) is
 * averaged into a metric or a loss, and only where one operand alone has the axis of size 1: who
 * means pairs writes both, [B, 1] against [1, B]. Differences and products of such a pair, which a
 * loss over all pairs may mean, give a warning there. */
#include "frontend/elaborate/elaborate.h"

#include <string.h>

static Type tensor_type(Val value) {
    return value.as.tensor->type;
}

/* Whether each operand is repeated along an axis of the other, by the axis of size 1 of one. */
static bool is_pairing(Type longer, Type shorter) {
    int32_t extra = longer.rank - shorter.rank;
    bool shorter_repeats = false, longer_repeats = false;
    for (int32_t i = 0; i < extra; i++) {
        shorter_repeats = shorter_repeats || !size_is_one(longer.dims[i]);
    }
    for (int32_t i = 0; i < shorter.rank; i++) {
        if (size_is_one(shorter.dims[i])) {
            return false;
        }
        longer_repeats = longer_repeats || size_is_one(longer.dims[extra + i]);
    }
    return shorter_repeats && longer_repeats;
}

/* How a pairing of this op is said, where it may be meant; NULL where it is an error. */
static const char *pairs_of(OpCode code) {
    return code == OP_sub ? "differences" : code == OP_mul ? "products" : NULL;
}

/* Comparisons, `and`, `or`, and what may be meant. */
static bool is_noted(OpCode code) {
    const OpInfo *info = op_info(code);
    bool compares = info->is_scalar && info->scalar_result == RESULT_BOOL && info->n_operands == 2;
    return compares || pairs_of(code) != NULL;
}

void pairs_note(Elaborator *el, OpCode code, Val result, Val left, Val right, Place place) {
    if (el->fs == NULL || !is_noted(code) || result.kind != VAL_TENSOR || left.kind != VAL_TENSOR ||
        right.kind != VAL_TENSOR) {
        return;
    }
    Type a = tensor_type(left), b = tensor_type(right);
    if (a.rank > b.rank ? is_pairing(a, b) : is_pairing(b, a)) {
        Pairing pairing = {.result = result.as.tensor,
                           .may_be_meant = pairs_of(code),
                           .left = left,
                           .right = right,
                           .place = place};
        VEC_PUSH(el->arena, &el->fs->pairings, pairing);
    }
}

/* -- From a metric back to what it averages */

/* Bounds the walk; a metric is a few ops from what it averages. */
enum { MAX_STEPS = 64 };

typedef struct Walk {
    const FuncState *fs;
    const Pairing *found;
    int n_steps;
} Walk;

/* Where a value stands: above the reduction, in what it averages, or below a comparison or a
 * function of one value that is averaged, where only what may be meant is looked for. */
typedef enum Stand { ABOVE, AVERAGED, BENEATH } Stand;

static bool is_constant(const Value *value) {
    return value->op && op_info(value->op->code)->kind == KIND_CONSTANT;
}

/* What stays a count of true elements: the comparison, its negation or complement, cast, weighted
 * or masked. */
static bool keeps_counting(const Op *op) {
    switch (op->code) {
    case OP_add:
    case OP_sub: /* 1 - cast(a == b) */
        return is_constant(op->operands[0]) || is_constant(op->operands[1]);
    case OP_div:
    case OP_cast:
    case OP_not:
    case OP_and:
    case OP_or:
    case OP_mul:
    case OP_reduce_sum:
    case OP_reshape:
        return true;
    case OP_select: /* where(a == b, 1, 0) */
        return is_constant(op->operands[1]) && is_constant(op->operands[2]);
    default:
        return false;
    }
}

/* abs(d), d * d, d < 0.5: an elementwise op of one value and constants. */
static bool of_one_value(const Op *op) {
    const Value *only = NULL;
    if (!op_is_scalar(op->code)) {
        return false;
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        const Value *operand = op->operands[i];
        if (!is_constant(operand) && only && only != operand) {
            return false;
        }
        only = is_constant(operand) ? only : operand;
    }
    return only != NULL;
}

static Stand stand_below(const Op *op, Stand stand) {
    if (stand == ABOVE) {
        return op->code == OP_reduce_sum ? AVERAGED : ABOVE;
    }
    return keeps_counting(op) ? stand : BENEATH;
}

static void walk(Walk *w, const Value *value, Stand stand) {
    if (w->found || ++w->n_steps > MAX_STEPS) {
        return;
    }
    for (size_t i = 0; stand != ABOVE && i < w->fs->pairings.count; i++) {
        const Pairing *pairing = &w->fs->pairings.items[i];
        if (pairing->result == value && (pairing->may_be_meant || stand == AVERAGED)) {
            w->found = pairing;
            return;
        }
    }
    const Op *op = value->op;
    if (op == NULL || op->n_blocks > 0) {
        return;
    }
    bool goes_on = stand == ABOVE ? op_is_scalar(op->code) || op->code == OP_reduce_sum ||
                                        op->code == OP_reshape || op->code == OP_cast
                                  : keeps_counting(op) || of_one_value(op);
    for (int32_t i = 0; goes_on && i < op->n_operands; i++) {
        if (i == 0 || op->operands[i] != op->operands[i - 1]) { /* d * d */
            walk(w, op->operands[i], stand_below(op, stand));
        }
    }
}

static const char *shape_text(Elaborator *el, Val value) {
    return strchr(type_text(el->context, tensor_type(value)), '[');
}

bool pairs_check(Elaborator *el, const Value *value, const char *what, const char *name,
                 Place place) {
    if (el->fs->pairings.count == 0) {
        return true;
    }
    Walk w = {.fs = el->fs};
    walk(&w, value, ABOVE);
    const Pairing *pairing = w.found;
    if (pairing == NULL) {
        return true;
    }
    Val left = pairing->left, right = pairing->right;
    const char *who = arena_format(el->arena, "the %s '%s'", what, name);
    const char *left_text = shape_text(el, left), *right_text = shape_text(el, right);
    const char *meant = pairing->may_be_meant;
    Diag *diag =
        meant ? EL_REPORT(el, PAIRS_SUBTRACTED, pairing->place, who, meant, left_text, right_text)
              : EL_REPORT(el, PAIRS_COMPARED, pairing->place, who, left_text, right_text);
    if (place.line != pairing->place.line) {
        elaborate_note(el, diag, place, "%s is the mean of it", who);
    }
    elaborate_note(el, diag, left.place, "%s comes from here", left_text);
    elaborate_note(el, diag, right.place, "%s comes from here", right_text);
    elaborate_help(
        el, diag,
        "give both the same shape: squeeze(x, axis=…) drops the axis of size 1, unsqueeze "
        "adds it; where pairs are meant, give both operands an axis of size 1");
    return meant != NULL;
}
