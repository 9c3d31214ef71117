/* Heads of attention are what the axis `model` is for: where they do not divide among its ranks,
 * the mesh is refused, unless the program says that this attention stays whole. Attention is its
 * own op, or two products of activations with a softmax between: an axis that all of them have in
 * common, beside the batch, is its heads. */
#include "passes/shard/shard.h"

#include "ir/mesh_layout.h"

enum { MOST_STEPS = 64 }; /* from a product back to the scores that it mixes by */

/* What is looked for, and what was found so far. */
typedef struct Heads {
    Shard *s;
    int64_t ranks;    /* along the axis `model` */
    const Op *first;  /* attention that cannot be shared; NULL: none yet */
    int64_t of_first; /* its heads */
    int64_t common;   /* what divides the heads of all attention that is to be shared */
} Heads;

/* -- Attention by its parts */

/* The product that the value is made of element by element, by way of an exponential; NULL: none.
 */
static const Op *scores_behind(const Value *value, bool has_exp, int32_t *steps) {
    const Op *op = value->op;
    if (!op || --*steps < 0 || !dtype_is_float(value->type.dtype)) {
        return NULL;
    }
    if (op->code == OP_contract) {
        return has_exp ? op : NULL;
    }
    const Op *found = NULL;
    for (int32_t i = 0; i < op->n_operands && !found; i++) {
        bool goes_on = op_info(op->code)->kind == KIND_ELEMENTWISE &&
                       op->operands[i]->type.rank == value->type.rank;
        found =
            goes_on ? scores_behind(op->operands[i], has_exp || op->code == OP_exp, steps) : NULL;
    }
    return found;
}

/* Whether axis `axis` of the product's result is one that both operands have, beside the batch. */
static bool is_head_axis(Shard *s, const Op *op, int32_t axis) {
    OpAxes axes = op_factors(s->arena, op);
    int8_t factor = axis < op->results[0]->type.rank ? axes.results[0][axis] : -1;
    return factor >= 0 && is_head(s, op, &axes, factor);
}

/* The scores that the product mixes by; NULL: it is no attention. *out_mixed: the operand made of
 * them. */
static const Op *scores_of(const Op *op, int32_t *out_mixed) {
    for (int32_t i = 0; op->code == OP_contract && i < 2; i++) {
        int32_t steps = MOST_STEPS;
        const Op *scores = scores_behind(op->operands[i], false, &steps);
        if (scores) {
            *out_mixed = i;
            return scores;
        }
    }
    return NULL;
}

/* -- Heads */

/* How often keys are repeated to be as many as queries: heads of a value that a broadcast has made
 * of fewer; 0: it has not. */
static int64_t fewer_heads(const Value *value, int64_t heads) {
    for (int32_t step = 0; step < MOST_STEPS && value->op; step++) {
        const Op *op = value->op;
        int64_t few, times;
        if (op->code == OP_broadcast) {
            const Type from = op->operands[0]->type, to = op->results[0]->type;
            for (int32_t i = 0; i < from.rank; i++) {
                int64_t axis = op_axes(op).at[i];
                bool is_grouped = axis + 1 < to.rank &&
                                  (i + 1 == from.rank || op_axes(op).at[i + 1] > axis + 1) &&
                                  size_is_const(to.dims[axis], &few) &&
                                  size_is_const(to.dims[axis + 1], &times);
                if (is_grouped && times > 1 && few * times == heads) {
                    return few;
                }
            }
        }
        if (op->n_operands != 1 || !op_rearranges(op->code)) {
            return 0;
        }
        value = op->operands[0];
    }
    return 0;
}

static int64_t common_divisor(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Whether the program says that the attention is not cut: by a hint that names no axis on what it
 * takes or gives, or by a line for the call in which it stands; or it has been found to say so of
 * these scores. */
static bool stays_whole(const Shard *s, const Op *op) {
    const MeshLayout *layout = s->module->mesh_layout;
    const MeshRule *rule =
        layout && op->label && *op->label ? mesh_layout_rule(layout, op->label) : NULL;
    bool whole = rule && placed_is_whole(&rule->placed);
    for (int32_t i = 0; i < op->n_operands; i++) {
        whole = whole || spread_of(s, op->operands[i])->is_left_whole;
    }
    const Spread *result = spread_of(s, op->results[0]);
    return whole || result->is_left_whole || (result->pinned & s->model) != 0;
}

static void keep_whole(Shard *s, const Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        spread_of(s, op->operands[i])->pinned |= s->model;
    }
    for (int32_t r = 0; r < op->n_results; r++) {
        spread_of(s, op->results[r])->pinned |= s->model;
    }
}

/* Of attention whose products are `op` and `scores`, the same where it is one op; key: where heads
 * may be repeated. */
static void look_at(Heads *h, const Op *op, const Op *scores, const Value *key, int32_t mixed) {
    Shard *s = h->s;
    OpAxes axes = op_factors(s->arena, op);
    int64_t heads = 0, size;
    bool divides = false;
    for (int32_t axis = 0; axis < op->operands[mixed]->type.rank; axis++) {
        int8_t factor = axes.operands[mixed][axis];
        if (factor >= 0 && is_head(s, op, &axes, factor) &&
            (op == scores || is_head_axis(s, scores, axis)) &&
            size_is_const(op->operands[mixed]->type.dims[axis], &size) && size > 1) {
            heads = size; /* the innermost is told */
            divides = divides || size % h->ranks == 0;
        }
    }
    if (heads == 0) {
        return;
    }
    if (stays_whole(s, op) || stays_whole(s, scores)) {
        keep_whole(s, op);
        keep_whole(s, scores);
        return;
    }
    int64_t few = fewer_heads(key, heads);
    h->common = common_divisor(h->common, few ? few : heads);
    bool is_cut = (cuts_groups(&spread_of(s, op->operands[mixed])->cuts) & s->model) != 0;
    if (!divides && !is_cut && !h->first) {
        h->first = op;
        h->of_first = heads;
    }
}

static void look_in(Heads *h, const Block *block) {
    BLOCK_EACH_OP (block, op) {
        int32_t mixed = 0;
        const Op *scores = scores_of(op, &mixed);
        if (op->code == OP_attention) {
            look_at(h, op, op, op->operands[1], 0);
        } else if (scores) {
            look_at(h, op, scores, scores->operands[1], mixed);
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            look_in(h, op->blocks[i]);
        }
    }
}

static void say_uneven(Shard *s, const Heads *h) {
    DiagList *diags = &s->context->diags;
    const Op *op = h->first;
    const char *axis = module_group_text(s->module, s->model), *blanks = "_";
    const char *call = op->label && *op->label ? op->label : NULL;
    const char *in = call ? arena_format(s->arena, " in '%s'", call) : "";
    for (int32_t i = 1; i < op->results[0]->type.rank; i++) {
        blanks = arena_format(s->arena, "%s, _", blanks);
    }
    const char *line = call ? arena_format(s->arena,
                                           ", or a line of the mesh block for the call that it "
                                           "stands in, `shard (_, …) for \"%s\"`",
                                           call)
                            : "";
    Diag *diag = diag_report(diags, DIAG_MESH_HEADS, op->place, (long long)h->of_first, in, axis,
                             (long long)h->ranks);
    diag_help(diags, diag,
              "%s=%s would do; or every rank computes all of it, if the program says so: `|> "
              "shard(%s)` behind its last product%s",
              axis, divisors_text(s, h->common), blanks, line);
}

void refuse_heads(Shard *s) {
    Heads h = {.s = s, .ranks = module_group_ranks(s->module, s->model)};
    if (h.ranks <= 1) {
        return;
    }
    look_in(&h, s->func->body);
    if (!h.first) {
        return;
    }
    say_uneven(s, &h);
}
