/* What an op makes of the cuts of its operands and results: how it needs each operand, how it makes
 * each result, and what is to be combined over which ranks. */
#include "passes/shard/shard.h"

/* The cut of each factor; a group cuts one. Factors that are combined come first, as operands are
 * cut: what a rank has of the batch it sums, however the sum is to be cut afterwards. Last come
 * those that are combined because of what a step keeps: it is better gathered than products cut. */
typedef struct FactorCuts {
    AxisCut at[AXES_MAX_FACTORS];
    bool is_cut[AXES_MAX_FACTORS];
    MeshGroup used;
    MeshGroup later; /* cuts among these that come of what a step keeps are made behind the op */
} FactorCuts;

static bool is_added(const Op *op) {
    OpLinear linear = op_info(op->code)->linear;
    return linear == LINEAR_ALL || linear == LINEAR_VALUES;
}

/* Sums over ranks that the op adds to each other: what they come to is cut, once, not each of them;
 * 0: it adds no two. */
static MeshGroup added_sums(const Shard *s, const Op *op) {
    MeshGroup groups = 0;
    int32_t n = 0;
    for (int32_t i = 0; i < op->n_operands && is_added(op); i++) {
        MeshGroup group = spread_of(s, op->operands[i])->partial;
        groups |= group;
        n += group != 0;
    }
    return n > 1 ? groups : 0;
}

/* Those of the row's axes that are combined, or the others, by cuts of one cause. */
static void take_cuts(FactorCuts *factors, const AxesRow row, const Cuts *cuts, const OpAxes *axes,
                      bool combined, CutCause cause) {
    for (int32_t i = 0; i < cuts->n; i++) {
        int8_t factor = row[cuts->at[i].axis];
        bool waits = cause == CUT_KEPT && (cuts->at[i].group & factors->later) != 0;
        bool fits = factor >= 0 && axes->is_combined[factor] == combined &&
                    cuts->cause[i] == cause && !waits;
        if (fits && !factors->is_cut[factor] && (factors->used & cuts->at[i].group) == 0) {
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
            cuts_add(&cuts, &factors->at[row[axis]], axis, CUT_CHOSEN);
        }
    }
    return cuts;
}

static void take_operands(const Shard *s, const Op *op, const OpAxes *axes, CutCause cause,
                          FactorCuts *factors) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        const Cuts *cuts = &spread_of(s, op->operands[i])->cuts;
        take_cuts(factors, axes->operands[i], cuts, axes, true, cause);
    }
}

static void take_results(const Shard *s, const Op *op, const OpAxes *axes, CutCause cause,
                         FactorCuts *factors) {
    for (int32_t r = 0; r < op->n_results; r++) {
        const Cuts *cuts = &spread_of(s, op->results[r])->cuts;
        take_cuts(factors, axes->results[r], cuts, axes, false, cause);
    }
}

static void cuts_by_axes(const Shard *s, const Op *op, OpCuts *out) {
    OpAxes axes = op_factors(s->arena, op);
    FactorCuts factors = {.later = added_sums(s, op)};
    take_operands(s, op, &axes, CUT_CHOSEN, &factors);
    take_results(s, op, &axes, CUT_CHOSEN, &factors);
    factors.used |= picking_ranks(s, op);
    take_results(s, op, &axes, CUT_BETWEEN, &factors);
    take_results(s, op, &axes, CUT_KEPT, &factors);
    take_operands(s, op, &axes, CUT_BETWEEN, &factors);
    take_operands(s, op, &axes, CUT_KEPT, &factors);
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
            cuts_add(&out->operands[0], &cut, cut.axis, CUT_CHOSEN)) {
            cuts_add(&out->results[0], &wanted->at[i], wanted->at[i].axis, CUT_CHOSEN);
        }
    }
}

OpCuts op_cuts(const Shard *s, const Op *op) {
    OpCuts out = {.combine = OP_NONE,
                  .operands = ARENA_ARRAY(s->arena, Cuts, (size_t)op->n_operands + 1),
                  .results = ARENA_ARRAY(s->arena, Cuts, (size_t)op->n_results + 1)};
    if (op_info(op->code)->axes) {
        cuts_by_axes(s, op, &out);
        cuts_by_parts(s, op, &out);
        cuts_by_picking(s, op, &out);
    } else if (op->code == OP_reshape) {
        cuts_of_reshape(s, op, &out);
    } else if (op->code == OP_random_uniform) {
        out.results[0] = spread_of(s, op->results[0])->cuts;
    }
    return out;
}

MeshGroup op_cuts_groups(const Op *op, const OpCuts *cuts) {
    MeshGroup groups = cuts->combined;
    for (int32_t i = 0; i < op->n_operands; i++) {
        groups |= cuts_groups(&cuts->operands[i]);
    }
    for (int32_t r = 0; r < op->n_results; r++) {
        groups |= cuts_groups(&cuts->results[r]);
    }
    return groups;
}

/* Ids stand behind what they pick from, starts, one for each of its axes, behind all else. */
static bool says_where(const Op *op, int32_t i) {
    return op_info(op->code)->kind == KIND_INDEX ? i == 1
                                                 : i >= op->n_operands - op->operands[0]->type.rank;
}

bool op_is_joint(const Op *op, int32_t i) {
    switch (op_info(op->code)->linear) {
    case LINEAR_ALL:
        return op->operands[i]->type.dtype == op->results[0]->type.dtype;
    case LINEAR_VALUES:
        return !says_where(op, i);
    case LINEAR_BRANCHES:
        return i > 0;
    case LINEAR_FIRST:
        return i == 0;
    case LINEAR_EACH:
    case LINEAR_NONE:
        break;
    }
    return false;
}
