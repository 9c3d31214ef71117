/* Arithmetic of cuts: what is equal, where a cut goes when a value is reshaped, and what an op
 * makes of those of its operands and results. */
#include "passes/shard/shard.h"

bool cut_equal(const AxisCut *a, const AxisCut *b) {
    return a->axis == b->axis && a->group == b->group && a->outer == b->outer &&
           a->rows == b->rows && a->inner == b->inner;
}

bool cuts_equal(const Cuts *a, const Cuts *b) {
    bool equal = a->n == b->n;
    for (int32_t i = 0; i < a->n && equal; i++) {
        equal = cut_equal(&a->at[i], &b->at[i]);
    }
    return equal;
}

const AxisCut *cuts_of_axis(const Cuts *cuts, int64_t axis) {
    for (int32_t i = 0; i < cuts->n; i++) {
        if (cuts->at[i].axis == axis) {
            return &cuts->at[i];
        }
    }
    return NULL;
}

MeshGroup cuts_groups(const Cuts *cuts) {
    MeshGroup groups = 0;
    for (int32_t i = 0; i < cuts->n; i++) {
        groups |= cuts->at[i].group;
    }
    return groups;
}

bool cuts_add(Cuts *cuts, const AxisCut *cut, int32_t axis) {
    if (cuts->n == SHARD_MAX_CUTS || cuts_of_axis(cuts, axis) ||
        (cuts_groups(cuts) & cut->group) != 0) {
        return false;
    }
    int32_t at = cuts->n++;
    for (; at > 0 && cuts->at[at - 1].axis > axis; at--) {
        cuts->at[at] = cuts->at[at - 1];
    }
    cuts->at[at] = *cut;
    cuts->at[at].axis = axis;
    return true;
}

static const Size *product(Context *context, Type type, int32_t from, int32_t to) {
    const Size *size = size_const(context, 1);
    for (int32_t axis = from; axis < to; axis++) {
        size = size_mul(context, size, type.dims[axis]);
    }
    return size;
}

/* whole / part, where it is that for all values of the dims; else NULL. */
static const Size *quotient(Context *context, const Size *whole, const Size *part) {
    const Size *q = size_other_factor(context, whole, part);
    return q && !size_is_error(q) && size_mul(context, q, part) == whole ? q : NULL;
}

bool cut_reshape(Context *context, Type from, Type to, const AxisCut *cut, AxisCut *out) {
    const Size *before = size_mul(context, product(context, from, 0, cut->axis), cut->outer);
    const Size *behind =
        size_mul(context, cut->inner, product(context, from, cut->axis + 1, from.rank));
    for (int32_t axis = 0; axis < to.rank; axis++) {
        const Size *outer = quotient(context, before, product(context, to, 0, axis));
        const Size *inner = quotient(context, behind, product(context, to, axis + 1, to.rank));
        if (!outer || !inner) {
            continue;
        }
        const Size *all = size_mul(context, size_mul(context, outer, cut->rows), inner);
        if (all == to.dims[axis]) {
            *out = (AxisCut){.axis = axis,
                             .group = cut->group,
                             .outer = outer,
                             .rows = cut->rows,
                             .inner = inner};
            return true;
        }
    }
    return false;
}

Type cuts_type(const Shard *s, Type whole, const Cuts *cuts) {
    return cuts->n == 0 ? whole : module_cut_type(s->module, whole, cuts->at, cuts->n);
}

/* -- Of an op */

/* The cut of each factor: what results say comes first, then operands. A group cuts one factor. */
typedef struct FactorCuts {
    AxisCut at[AXES_MAX_FACTORS];
    bool is_cut[AXES_MAX_FACTORS];
    MeshGroup used;
} FactorCuts;

static void take_cuts(FactorCuts *factors, const AxesRow row, const Cuts *cuts, const OpAxes *axes,
                      bool combined) {
    for (int32_t i = 0; i < cuts->n; i++) {
        int8_t factor = row[cuts->at[i].axis];
        if (factor >= 0 && axes->is_combined[factor] == combined && !factors->is_cut[factor] &&
            (factors->used & cuts->at[i].group) == 0) {
            factors->is_cut[factor] = true;
            factors->at[factor] = cuts->at[i];
            factors->used |= cuts->at[i].group;
        }
    }
}

static Cuts cuts_by(const FactorCuts *factors, const AxesRow row, int32_t rank) {
    Cuts cuts = {0};
    for (int32_t axis = 0; axis < rank; axis++) {
        if (row[axis] >= 0 && factors->is_cut[row[axis]]) {
            cuts_add(&cuts, &factors->at[row[axis]], axis);
        }
    }
    return cuts;
}

static void cuts_by_axes(const Shard *s, const Op *op, OpCuts *out) {
    OpAxes axes = op_factors(s->arena, op);
    FactorCuts factors = {0};
    for (int32_t r = 0; r < op->n_results; r++) {
        take_cuts(&factors, axes.results[r], &spread_of(s, op->results[r])->cuts, &axes, false);
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        take_cuts(&factors, axes.operands[i], &spread_of(s, op->operands[i])->cuts, &axes, true);
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        out->operands[i] = cuts_by(&factors, axes.operands[i], op->operands[i]->type.rank);
    }
    for (int32_t r = 0; r < op->n_results; r++) {
        out->results[r] = cuts_by(&factors, axes.results[r], op->results[r]->type.rank);
    }
    for (int32_t f = 0; f < axes.n_factors; f++) {
        if (axes.is_combined[f] && factors.is_cut[f]) {
            out->combined |= factors.at[f].group;
            out->combine = axes.combine;
        }
    }
}

static void cuts_of_reshape(const Shard *s, const Op *op, OpCuts *out) {
    const Cuts *wanted = &spread_of(s, op->results[0])->cuts;
    for (int32_t i = 0; i < wanted->n; i++) {
        AxisCut cut;
        if (cut_reshape(s->context, op->results[0]->type, op->operands[0]->type, &wanted->at[i],
                        &cut) &&
            cuts_add(&out->operands[0], &cut, cut.axis)) {
            cuts_add(&out->results[0], &wanted->at[i], wanted->at[i].axis);
        }
    }
}

OpCuts op_cuts(const Shard *s, const Op *op) {
    OpCuts out = {.combine = OP_NONE,
                  .operands = ARENA_ARRAY(s->arena, Cuts, (size_t)op->n_operands + 1),
                  .results = ARENA_ARRAY(s->arena, Cuts, (size_t)op->n_results + 1)};
    if (op_info(op->code)->axes) {
        cuts_by_axes(s, op, &out);
    } else if (op->code == OP_reshape) {
        cuts_of_reshape(s, op, &out);
    } else if (op->code == OP_random_uniform) {
        out.results[0] = spread_of(s, op->results[0])->cuts;
    }
    return out;
}
