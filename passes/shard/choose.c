/* Chooses what is cut along the axis `model`, where the program does not say: product by product,
 * that cut of one of its axes which, with all that follows from it, lets the least travel. Heads of
 * attention come first, because the projections around them follow from them and not the other way
 * round. What is worth less than it costs stays whole. */
#include "passes/shard/shard.h"

/* -- What it costs */

bool op_is_product(const Op *op) {
    OpKind kind = op_info(op->code)->kind;
    return kind == KIND_CONTRACTION || kind == KIND_CONVOLUTION;
}

double op_nominal_flops(const Shard *s, const Op *op) {
    return (double)size_nominal(op_flops(s->context, op), UNSET_SIZE);
}

/* A value is made with some cuts, and needed with others: what is missing is gathered. */
static double bytes_gathered(const Cuts *made, const Cuts *needed, const Value *value) {
    for (int32_t i = 0; i < made->n; i++) {
        const AxisCut *cut = cuts_of_axis(needed, made->at[i].axis);
        if (!cut || !cut_equal(cut, &made->at[i])) {
            return type_nominal_bytes(value->type);
        }
    }
    return 0;
}

/* What a rank does of the products, and what travels. */
typedef struct Cost {
    double flops, bytes;
} Cost;

static Cost cost_add(Cost a, Cost b) {
    return (Cost){a.flops + b.flops, a.bytes + b.bytes};
}

static Cost block_cost(const Shard *s, const Block *block, Cuts *made);

static Cost op_cost(const Shard *s, const Op *op, Cuts *made) {
    OpCuts cuts = op_cuts(s, op);
    bool loops = op->n_blocks > 0 || op->code == OP_yield;
    Cost cost = {.flops = op_is_product(op) ? op_nominal_flops(s, op) : 0};
    for (int32_t i = 0; i < op->n_operands && !loops; i++) {
        const Cuts *has = &made[op->operands[i]->id];
        cost.bytes += bytes_gathered(has, &cuts.operands[i], op->operands[i]);
    }
    for (int32_t r = 0; r < op->n_results; r++) {
        made[op->results[r]->id] = loops ? spread_of(s, op->results[r])->cuts : cuts.results[r];
        bool sums = (cuts.combined & s->model) != 0;
        cost.bytes += sums ? 2 * type_nominal_bytes(op->results[r]->type) : 0;
    }
    bool is_cut = (op_cuts_groups(op, &cuts) & s->model) != 0;
    cost.flops /= is_cut ? (double)module_group_ranks(s->module, s->model) : 1;
    for (int32_t i = 0; i < op->n_blocks; i++) {
        cost = cost_add(cost, block_cost(s, op->blocks[i], made));
    }
    return cost;
}

static Cost block_cost(const Shard *s, const Block *block, Cuts *made) {
    Cost cost = {0};
    for (int32_t i = 0; i < block->n_args; i++) {
        made[block->args[i]->id] = spread_of(s, block->args[i])->cuts;
    }
    BLOCK_EACH_OP (block, op) {
        cost = cost_add(cost, op_cost(s, op, made));
    }
    return cost;
}

static Cost func_cost(const Shard *s) {
    Cuts *made = ARENA_ARRAY(s->arena, Cuts, (size_t)s->n_values + 1);
    return block_cost(s, s->func->body, made);
}

/* Operations spared for each byte that travels more; 0: it does not pay. One cut may reach further
 * than another, so that sums do not compare. */
static double worth(Cost before, Cost after) {
    double spared = before.flops - after.flops, more = after.bytes - before.bytes;
    return spared <= SHARD_FLOPS_PER_BYTE * more ? 0 : spared / (more > 1 ? more : 1);
}

/* -- One product */

/* Whether a factor of a product is one that may be cut. */
typedef bool (*MayCut)(const Shard *s, const Op *op, const OpAxes *axes, int8_t factor);

typedef struct Candidate {
    int8_t factor;
    AxisCut cut;
} Candidate;

/* What does not come out even is cut where that makes little difference: vocabularies. */
enum { LEAST_UNEVEN = 256 };

/* The factor's cut; false: it is none. */
static bool candidate_of(const Shard *s, const Op *op, const OpAxes *axes, int8_t factor,
                         Candidate *out) {
    int64_t size, ranks = module_group_ranks(s->module, s->model);
    for (int32_t i = 0; i < op->n_operands; i++) {
        Type type = op->operands[i]->type;
        for (int32_t axis = 0; axis < type.rank; axis++) {
            if (axes->operands[i][axis] == factor) {
                *out = (Candidate){factor, cut_of_rows(s, s->model, type.dims[axis])};
                return ranks > 1 && size_is_const(type.dims[axis], &size) &&
                       (size % ranks == 0 || size / ranks >= LEAST_UNEVEN);
            }
        }
    }
    return false;
}

static bool is_cut_by_model(const Shard *s, const Op *op) {
    OpCuts cuts = op_cuts(s, op);
    return (op_cuts_groups(op, &cuts) & s->model) != 0;
}

static void try_for(Shard *s, const Op *op, MayCut may) {
    OpAxes axes = op_factors(s->arena, op);
    Cost before = func_cost(s);
    double most = 0;
    Candidate best = {.factor = -1};
    for (int8_t factor = 0; factor < axes.n_factors; factor++) {
        Candidate candidate;
        if (!may(s, op, &axes, factor) || !candidate_of(s, op, &axes, factor, &candidate)) {
            continue;
        }
        journal_begin(s);
        factor_offer(s, op, &axes, candidate.factor, &candidate.cut);
        propagate_further(s);
        bool works = is_cut_by_model(s, op);
        double gain = worth(before, func_cost(s));
        journal_undo(s);
        if (works && gain > most) {
            most = gain;
            best = candidate;
        }
    }
    if (best.factor >= 0) {
        factor_offer(s, op, &axes, best.factor, &best.cut);
        propagate_further(s);
    }
}

static void choose_for(Shard *s, const Op *op, MayCut may) {
    Arena *arena = s->arena;
    s->arena = s->trial;
    if (!is_cut_by_model(s, op)) {
        try_for(s, op, may);
    }
    arena_clear(s->trial);
    s->arena = arena;
}

/* -- All of them */

bool is_head(const Shard *s, const Op *op, const OpAxes *axes, int8_t factor) {
    Type first = op->operands[0]->type;
    if (first.rank > 0 && axes->operands[0][0] == factor && first.dims[0] == batch_rows(s->func)) {
        return false;
    }
    for (int32_t i = 0; i < op->n_operands && i < 2; i++) {
        bool has = false;
        for (int32_t axis = 0; axis < op->operands[i]->type.rank; axis++) {
            has = has || axes->operands[i][axis] == factor;
        }
        if (!has) {
            return false;
        }
    }
    return !axes->is_combined[factor];
}

bool is_weight(const Shard *s, const Value *value) {
    while (value->op && value->op->n_operands == 1 && op_rearranges(value->op->code)) {
        value = value->op->operands[0];
    }
    return !value->op && value->block == s->func->body &&
           s->func->args[value->index].role == ARG_PARAM;
}

bool is_of_weight(const Shard *s, const Op *op, const OpAxes *axes, int8_t factor) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        Type type = op->operands[i]->type;
        for (int32_t axis = 0; axis < type.rank && is_weight(s, op->operands[i]); axis++) {
            if (axes->operands[i][axis] == factor) {
                return true;
            }
        }
    }
    return false;
}

const char *divisors_text(const Shard *s, int64_t size) {
    const char *text = "1", *last = NULL;
    for (int64_t k = 2; k <= size && k <= MESH_MAX_RANKS; k++) {
        if (size % k == 0) {
            text = last ? arena_format(s->arena, "%s, %s", text, last) : text;
            last = arena_format(s->arena, "%lld", (long long)k);
        }
    }
    return last ? arena_format(s->arena, "%s or %s", text, last) : text;
}

/* Attention that became one op has its heads in the second axis of all operands. */
const char *uneven_reason(Shard *s, const Op *op) {
    OpAxes axes = op_factors(s->arena, op);
    int64_t size, ranks = module_group_ranks(s->module, s->model);
    for (int8_t factor = 0; factor < axes.n_factors && ranks > 1; factor++) {
        bool heads = is_head(s, op, &axes, factor);
        Candidate candidate;
        if ((heads || is_of_weight(s, op, &axes, factor)) &&
            !candidate_of(s, op, &axes, factor, &candidate) &&
            size_is_const(candidate.cut.rows, &size) && size % ranks != 0) {
            return arena_format(s->arena, "%s of %lld do not divide by %s=%lld: %s would",
                                heads ? "heads" : "rows", (long long)size,
                                module_group_text(s->module, s->model), (long long)ranks,
                                divisors_text(s, size));
        }
    }
    return NULL;
}

static void choose_in(Shard *s, const Block *block, MayCut may) {
    BLOCK_EACH_OP (block, op) {
        if (op_is_product(op)) {
            choose_for(s, op, may);
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            choose_in(s, op->blocks[i], may);
        }
    }
}

void choose_model(Shard *s) {
    choose_in(s, s->func->body, is_head);
    choose_in(s, s->func->body, is_of_weight);
}
