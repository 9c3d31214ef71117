/* Equal parts that lie one after another along an axis, as the projections of a fused product do: a
 * slice that takes one of n, a pad that puts one among n, a concat of n. A cut inside each part is
 * a cut of the whole with n times the outer elements; so heads that q, k and v are cut by cut their
 * common weight too. */
#include "passes/shard/shard.h"

/* whole / part, if that is a number above 1; else 0. */
static int64_t times(Context *context, const Size *whole, const Size *part) {
    const Size *q = exact_quotient(context, whole, part);
    int64_t n;
    return q && size_is_const(q, &n) && n > 1 ? n : 0;
}

/* k, if size is k times part; else -1. */
static int64_t multiple(Context *context, const Size *size, const Size *part) {
    const Size *q = exact_quotient(context, size, part);
    int64_t k;
    return q && size_is_const(q, &k) ? k : -1;
}

static bool part_of_slice(Context *context, const Op *op, int32_t axis, EqualParts *out) {
    const Size *part = op->results[0]->type.dims[axis];
    *out = (EqualParts){.axis = axis,
                        .n = times(context, op->operands[0]->type.dims[axis], part),
                        .k = multiple(context, slice_starts(op).at[axis], part)};
    return out->n > 0 && out->k >= 0 && slice_steps(op).at[axis] == 1;
}

static bool part_of_pad(Context *context, const Op *op, int32_t axis, EqualParts *out) {
    const Size *part = op->operands[0]->type.dims[axis];
    *out = (EqualParts){.axis = axis,
                        .n = times(context, op->results[0]->type.dims[axis], part),
                        .k = multiple(context, pad_lows(op).at[axis], part),
                        .whole_is_result = true};
    return out->n > 0 && out->k >= 0 && pad_interior(op).at[axis] == 0;
}

static bool part_of_concat(Context *context, const Op *op, EqualParts *out) {
    int32_t axis = (int32_t)concat_axis(op);
    const Size *part = op->operands[0]->type.dims[axis];
    bool equal = op->n_operands > 1;
    for (int32_t i = 0; i < op->n_operands; i++) {
        equal = equal && op->operands[i]->type.dims[axis] == part;
    }
    *out = (EqualParts){.axis = axis,
                        .n = times(context, op->results[0]->type.dims[axis], part),
                        .whole_is_result = true};
    return equal && out->n == op->n_operands;
}

bool equal_parts(Context *context, const Op *op, EqualParts *out) {
    if (op->code == OP_concat) {
        return part_of_concat(context, op, out);
    }
    if (op->code != OP_slice && op->code != OP_pad) {
        return false;
    }
    for (int32_t axis = 0; axis < op->results[0]->type.rank; axis++) {
        if (op->operands[0]->type.dims[axis] != op->results[0]->type.dims[axis]) {
            return op->code == OP_slice ? part_of_slice(context, op, axis, out)
                                        : part_of_pad(context, op, axis, out);
        }
    }
    return false;
}

bool cut_of_part(Context *context, const EqualParts *parts, const AxisCut *whole, AxisCut *out) {
    const Size *outer = exact_quotient(context, whole->outer, size_const(context, parts->n));
    if (whole->axis != parts->axis || !outer) {
        return false;
    }
    *out = *whole;
    out->outer = outer;
    return true;
}

bool cut_of_whole(Context *context, const EqualParts *parts, const AxisCut *part, AxisCut *out) {
    *out = *part;
    out->outer = size_mul(context, part->outer, size_const(context, parts->n));
    return part->axis == parts->axis;
}

/* The operands that are parts, or the one that is the whole: a pad's second is neither. */
static int32_t operands_along(const Op *op) {
    return op->code == OP_concat ? op->n_operands : 1;
}

void cuts_by_parts(const Shard *s, const Op *op, OpCuts *out) {
    EqualParts parts;
    const Cuts *wanted = &spread_of(s, op->results[0])->cuts;
    const AxisCut *result =
        equal_parts(s->context, op, &parts) ? cuts_of_axis(wanted, parts.axis) : NULL;
    AxisCut operand;
    bool fits =
        result && (parts.whole_is_result ? cut_of_part(s->context, &parts, result, &operand)
                                         : cut_of_whole(s->context, &parts, result, &operand));
    if (!fits || (cuts_groups(&out->operands[0]) & result->group) != 0 ||
        !cuts_add(&out->results[0], result, parts.axis, CUT_CHOSEN)) {
        return;
    }
    for (int32_t i = 0; i < operands_along(op); i++) {
        cuts_add(&out->operands[i], &operand, parts.axis, CUT_CHOSEN);
    }
}

void pass_by_parts(Shard *s, const Op *op) {
    EqualParts parts;
    if (!equal_parts(s->context, op, &parts)) {
        return;
    }
    for (int32_t i = 0; i < operands_along(op); i++) {
        const Value *whole = parts.whole_is_result ? op->results[0] : op->operands[i];
        const Value *part = parts.whole_is_result ? op->operands[i] : op->results[0];
        Cuts whole_cuts = cuts_to_pass(s, whole), part_cuts = cuts_to_pass(s, part);
        const AxisCut *of_whole = cuts_of_axis(&whole_cuts, parts.axis);
        const AxisCut *of_part = cuts_of_axis(&part_cuts, parts.axis);
        AxisCut cut;
        if (of_whole && cut_of_part(s->context, &parts, of_whole, &cut)) {
            cut_offer(s, part, &cut, parts.axis);
        }
        if (of_part && cut_of_whole(s->context, &parts, of_part, &cut)) {
            cut_offer(s, whole, &cut, parts.axis);
        }
    }
}
