/* Cuts along the axis `model` what lies between the products that are cut by it: Megatron's
 * sequence parallelism. A product that is a sum over those ranks makes what each of them needs
 * whole, so that all compute all of what follows – residual sums, norms, dropout – up to the next
 * product. Where that can be done row by row, the sum is taken in parts (a reduce_scatter), what
 * follows is cut along these rows, and gathered where a product needs all of it (an all_gather): as
 * many bytes as the sum was, and the work and memory between once, not on every rank.
 *
 * From a sum the cut spreads as all cuts do, through everything that is not cut by these ranks yet.
 * It is a weak one: where an op uses the ranks otherwise it gives way, and it never reaches what
 * lasts (parameters, slots, states). So the gradient of a norm's weight becomes a sum over them
 * too. Sum by sum, along that axis which spares most for what more travels. */
#include "ir/mesh_layout.h"
#include "passes/shard/shard.h"

/* A rank reads and writes so many bytes of its own memory in the time in which a byte travels. */
static const double MADE_PER_BYTE = 32;
/* So many bytes travel in the time that one more exchange takes by itself. */
static const double CALL_BYTES = 16 << 10;

/* -- What a program costs, as it is cut now */

/* On the first rank, at the dims' nominal values. */
typedef struct Tally {
    double flops; /* of products */
    double made;  /* bytes that everything else makes */
    double bytes; /* that travel over the axis, a sum that all get counting twice */
    double calls;
} Tally;

/* What there is of a value: as it was made, and as it was gathered. */
typedef struct Had {
    Cuts cuts;
    struct Had *next;
} Had;

typedef struct Tallying {
    Shard *s;
    Had **had; /* by value */
    Tally sum;
    double times; /* that the block is run */
} Tallying;

/* Of a whole value, what a rank has: the largest piece of the rows that the axis cuts. */
static double share(const Shard *s, const Cuts *cuts) {
    int64_t ranks = module_group_ranks(s->module, s->model);
    for (int32_t i = 0; i < cuts->n && ranks > 0; i++) {
        if ((cuts->at[i].group & s->model) != 0) {
            int64_t rows = size_nominal(cuts->at[i].rows, UNSET_SIZE);
            return rows > 0 ? (double)((rows + ranks - 1) / ranks) / (double)rows : 1;
        }
    }
    return 1;
}

/* The bytes of a value that is cut so, were the axis not to cut it. */
static double bytes_beside(const Shard *s, Type type, const Cuts *cuts) {
    double bytes = type_nominal_bytes(type);
    for (int32_t i = 0; i < cuts->n; i++) {
        int64_t ranks = module_group_ranks(s->module, cuts->at[i].group & ~s->model);
        bytes /= ranks > 1 ? (double)ranks : 1;
    }
    return bytes;
}

static void add_had(Tallying *t, const Value *value, const Cuts *cuts) {
    Had *had = ARENA_NEW(t->s->arena, Had);
    *had = (Had){.cuts = *cuts, .next = t->had[value->id]};
    t->had[value->id] = had;
}

static void count_exchange(Tallying *t, double bytes) {
    t->sum.bytes += bytes * t->times;
    t->sum.calls += t->times;
}

/* What is cut by the axis otherwise than needed is gathered, once. */
static void need(Tallying *t, const Value *value, const Cuts *cuts) {
    const Had *made = NULL;
    for (const Had *had = t->had[value->id]; had; had = had->next) {
        if (cuts_equal(&had->cuts, cuts)) {
            return;
        }
        made = had;
    }
    if (!made || (value->op && is_free(value->op))) {
        return;
    }
    for (int32_t i = 0; i < made->cuts.n; i++) {
        const AxisCut *cut = cuts_of_axis(cuts, made->cuts.at[i].axis);
        bool has = cut && cut_equal(cut, &made->cuts.at[i]);
        if (!has && (made->cuts.at[i].group & t->s->model) != 0) {
            count_exchange(t, bytes_beside(t->s, value->type, &made->cuts));
        }
    }
    add_had(t, value, cuts);
}

/* A sum of which each rank gets its part travels once, another one twice. */
static void make(Tallying *t, const Op *op, int32_t r, const OpCuts *cuts) {
    const Shard *s = t->s;
    const Spread *spread = spread_of(s, op->results[r]);
    Cuts made = cuts->results[r];
    MeshGroup due = cuts->combined;
    for (int32_t i = 0; i < op->n_operands; i++) {
        due |= spread_of(s, op->operands[i])->partial;
    }
    due &= ~spread->partial & s->model;
    for (int32_t i = 0; i < spread->cuts.n && due != 0; i++) {
        const AxisCut *cut = &spread->cuts.at[i];
        bool adds = cuts->combine == OP_NONE || cuts->combine == OP_add;
        if (adds && cut->group == s->model && cuts_add(&made, cut, cut->axis, CUT_BETWEEN)) {
            count_exchange(t, bytes_beside(s, op->results[r]->type, &made));
            due = 0;
        }
    }
    if (due != 0) {
        count_exchange(t, 2 * bytes_beside(s, op->results[r]->type, &made));
    }
    add_had(t, op->results[r], &made);
}

static void tally_block(Tallying *t, const Block *block);

static void tally_loop(Tallying *t, const Op *op) {
    double before = t->times;
    if (op->code == OP_scan) {
        t->times *= (double)size_nominal(scan_length(op), UNSET_SIZE);
    }
    for (int32_t i = 0; i < op->n_blocks; i++) {
        tally_block(t, op->blocks[i]);
    }
    t->times = before;
    for (int32_t r = 0; r < op->n_results; r++) {
        add_had(t, op->results[r], &spread_of(t->s, op->results[r])->cuts);
    }
}

/* The part of the op that a rank computes. */
static double op_share(const Shard *s, const Op *op, const OpCuts *cuts) {
    double least = 1;
    for (int32_t i = 0; i < op->n_operands; i++) {
        double own = share(s, &cuts->operands[i]);
        least = own < least ? own : least;
    }
    for (int32_t r = 0; r < op->n_results; r++) {
        double own = share(s, &cuts->results[r]);
        least = own < least ? own : least;
    }
    return least;
}

static void tally_op(Tallying *t, const Op *op) {
    if (op->n_blocks > 0) {
        tally_loop(t, op);
        return;
    }
    OpCuts cuts = op_cuts(t->s, op);
    double part = t->times * op_share(t->s, op, &cuts);
    for (int32_t i = 0; i < op->n_operands && op->code != OP_yield; i++) {
        need(t, op->operands[i], &cuts.operands[i]);
    }
    t->sum.flops += op_is_product(op) ? part * op_nominal_flops(t->s, op) : 0;
    for (int32_t r = 0; r < op->n_results; r++) {
        bool works = op_is_work(op) && !op_is_product(op);
        const Value *value = op->results[r];
        t->sum.made += works ? part * bytes_beside(t->s, value->type, &cuts.results[r]) : 0;
        make(t, op, r, &cuts);
    }
}

static void tally_block(Tallying *t, const Block *block) {
    for (int32_t i = 0; i < block->n_args; i++) {
        add_had(t, block->args[i], &spread_of(t->s, block->args[i])->cuts);
    }
    BLOCK_EACH_OP (block, op) {
        tally_op(t, op);
    }
}

static Tally tally(Shard *s) {
    Tallying t = {.s = s, .times = 1, .had = ARENA_ARRAY(s->arena, Had *, (size_t)s->n_values + 1)};
    decide_partial(s);
    tally_block(&t, s->func->body);
    forget_partial(s);
    return t.sum;
}

/* In bytes that travel. */
static double spared(const Tally *before, const Tally *after) {
    return (before->flops - after->flops) / SHARD_FLOPS_PER_BYTE +
           (before->made - after->made) / MADE_PER_BYTE + before->bytes - after->bytes +
           CALL_BYTES * (before->calls - after->calls);
}

/* -- One sum */

/* Whether the op is a product with a weight, or picks from one, whose result is a sum over the
 * axis' ranks and whole on each. */
static bool makes_sum(const Shard *s, const Op *op) {
    if (op->n_results != 1 || op->n_operands < 2 || op->n_blocks > 0) {
        return false;
    }
    const Value *result = op->results[0];
    bool reads_weight = is_weight(s, op->operands[0]) || is_weight(s, op->operands[1]);
    if (!reads_weight || !dtype_is_float(result->type.dtype) ||
        (cuts_groups(&spread_of(s, result)->cuts) & s->model) != 0) {
        return false;
    }
    OpCuts cuts = op_cuts(s, op);
    return (cuts.combined & s->model) != 0 && cuts.combine == OP_add;
}

/* What is tried is in the journal, for journal_undo. False: the axis does not take the cut. */
static bool try_axis(Shard *s, const Value *sum, int32_t axis, const Tally *before, double *out,
                     Tally *after) {
    AxisCut cut = cut_of_rows(s, s->model, sum->type.dims[axis]);
    journal_begin(s);
    cut_offer(s, sum, &cut, axis);
    bool is_cut = (cuts_groups(&spread_of(s, sum)->cuts) & s->model) != 0;
    if (is_cut) {
        propagate_further(s);
        *after = tally(s);
        *out = spared(before, after);
    }
    journal_undo(s);
    return is_cut;
}

static void note(Shard *s, const Op *op, int32_t axis, bool taken, const Tally *before,
                 const Tally *after) {
    BetweenNote note = {.sum = op,
                        .axis = axis,
                        .is_taken = taken,
                        .made = before->made - after->made,
                        .bytes = after->bytes - before->bytes,
                        .calls = after->calls - before->calls};
    VEC_PUSH(s->pass->scratch, &s->between, note);
}

/* Cuts the rows of the sum along the axis that spares most, if it spares anything, or is to be. */
static void cut_sum(Shard *s, const Op *op, bool is_asked) {
    const Value *sum = op->results[0];
    Tally before = tally(s), best = {0};
    double most = 0;
    int32_t found = -1;
    for (int32_t axis = 0; axis < sum->type.rank; axis++) {
        double gain;
        Tally after;
        if (!size_is_one(sum->type.dims[axis]) && try_axis(s, sum, axis, &before, &gain, &after) &&
            (found < 0 || gain > most)) {
            most = gain;
            found = axis;
            best = after;
        }
    }
    if (found < 0) {
        return;
    }
    bool taken = is_asked || most > 0;
    note(s, op, found, taken, &before, &best);
    if (taken) {
        AxisCut cut = cut_of_rows(s, s->model, sum->type.dims[found]);
        cut_offer(s, sum, &cut, found);
        propagate_further(s);
    }
}

static void cut_sums_in(Shard *s, const Block *block, bool is_asked) {
    BLOCK_EACH_OP (block, op) {
        if (makes_sum(s, op)) {
            Arena *arena = s->arena;
            s->arena = s->trial;
            cut_sum(s, op, is_asked);
            arena_clear(s->trial);
            s->arena = arena;
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            cut_sums_in(s, op->blocks[i], is_asked);
        }
    }
}

/* -- Updates: they are computed whole, so that a gradient is gathered once, not each new value */

typedef struct Updates {
    Shard *s;
    bool *is_one; /* by value: made of optimiser state, or for nothing but that */
    bool *read;   /* by value: by what is none */
} Updates;

static bool makes_update(const Updates *u, const Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (u->is_one[op->operands[i]->id]) {
            return true;
        }
    }
    return false;
}

static void set_update(Updates *u, const Value *value) {
    u->is_one[value->id] = true;
    spread_of(u->s, value)->pinned |= u->s->model;
}

static void read_by(Updates *u, const Op *op) {
    bool is_one = op->n_results > 0 && u->is_one[op->results[0]->id];
    bool ends = op->code == OP_yield && op->parent == u->s->func->body;
    for (int32_t i = 0; i < op->n_operands; i++) {
        bool stores = ends && u->s->func->results[i].role == RESULT_STORE;
        u->read[op->operands[i]->id] |= !is_one && !stores;
    }
    for (int32_t i = 0; i < op->n_blocks; i++) {
        BLOCK_EACH_OP (op->blocks[i], inner) {
            read_by(u, inner);
        }
    }
}

static void pin_updates(Shard *s) {
    size_t n = (size_t)s->n_values + 1;
    Updates u = {
        .s = s, .is_one = ARENA_ARRAY(s->arena, bool, n), .read = ARENA_ARRAY(s->arena, bool, n)};
    const Block *body = s->func->body;
    for (int32_t i = 0; i < body->n_args; i++) {
        u.is_one[body->args[i]->id] = s->func->args[i].role == ARG_SLOT && !is_average(s, i);
    }
    BLOCK_EACH_OP (body, op) {
        for (int32_t r = 0; r < op->n_results && makes_update(&u, op); r++) {
            set_update(&u, op->results[r]);
        }
    }
    for (const Op *op = body->last; op; op = op->prev) {
        if (op_info(op->code)->kind == KIND_ELEMENTWISE && !u.read[op->results[0]->id]) {
            set_update(&u, op->results[0]);
        }
        read_by(&u, op);
    }
}

void cut_between(Shard *s) {
    const MeshLayout *layout = s->module->mesh_layout;
    MeshSequence asked = layout ? layout->sequence : MESH_SEQUENCE_AUTO;
    for (int32_t i = 0; i < s->func->body->n_args; i++) {
        spread_of(s, s->func->body->args[i])->pinned |= s->model;
    }
    pin_updates(s);
    s->cause = CUT_BETWEEN;
    propagate_further(s);
    if (asked != MESH_SEQUENCE_OFF && module_group_ranks(s->module, s->model) > 1) {
        cut_sums_in(s, s->func->body, asked == MESH_SEQUENCE_ON);
    }
    s->cause = CUT_CHOSEN;
}
