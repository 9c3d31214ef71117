/* Decides where sums over ranks are taken. What an op sums along a cut axis is on each rank a part
 * of a sum; it may stay so through what is linear: two such parts are added before they travel, a
 * gradient that a loop gathers travels once behind the loop. A value with several uses is summed
 * where it is made, so that nothing travels twice; so is what would grow on the way.
 *
 * Begins with the hope that everything stays a part, and takes back what an op does not bear, until
 * nothing is left to be taken back. */
#include "passes/shard/shard.h"

static bool is_zero_constant(const Value *value) {
    const Op *op = value->op;
    while (op && (op->code == OP_broadcast || op->code == OP_reshape)) {
        op = op->operands[0]->op;
    }
    return op && op->code == OP_constant && constant_value(op) == 0;
}

static void count_uses(Op *op, void *user) {
    Shard *s = user;
    for (int32_t i = 0; i < op->n_operands; i++) {
        Spread *spread = spread_of(s, op->operands[i]);
        spread->uses++;
        spread->user = op;
    }
}

static void make_final(Shard *s, const Value *value) {
    Spread *spread = spread_of(s, value);
    s->changed |= !spread->is_final;
    spread->is_final = true;
}

static void set_partial(Shard *s, const Value *value, MeshGroup group) {
    Spread *spread = spread_of(s, value);
    group = spread->is_final ? 0 : group;
    s->changed |= spread->partial != group;
    spread->partial = group;
}

static void set_zero(Shard *s, const Value *value, bool zero) {
    Spread *spread = spread_of(s, value);
    s->changed |= spread->is_zero != zero;
    spread->is_zero = zero;
}

/* -- What an op bears */

static MeshGroup partial_operands(const Shard *s, const Op *op, int32_t *count) {
    MeshGroup groups = 0;
    *count = 0;
    for (int32_t i = 0; i < op->n_operands; i++) {
        MeshGroup group = spread_of(s, op->operands[i])->partial;
        groups |= group;
        *count += group != 0;
    }
    return groups;
}

/* A number that every rank has may be added to sums: it counts on one rank. */
static bool may_count_once(const Value *value) {
    return value->type.rank == 0;
}

static bool bears_joint(const Shard *s, const Op *op, MeshGroup group) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        const Value *operand = op->operands[i];
        const Spread *spread = spread_of(s, operand);
        bool counts = spread->is_zero || (spread->partial == 0 && may_count_once(operand));
        bool fits = op_is_joint(op, i) ? spread->partial == group || counts : spread->partial == 0;
        if (!fits) {
            return false;
        }
    }
    return true;
}

static double elements(const Value *value) {
    return type_nominal_bytes(value->type) / dtype_bytes(value->type.dtype);
}

/* Whether what travels is not more behind the op than before it. */
static bool does_not_grow(const Shard *s, const Op *op) {
    double before = 0;
    for (int32_t i = 0; i < op->n_operands; i++) {
        before += spread_of(s, op->operands[i])->partial ? elements(op->operands[i]) : 0;
    }
    return elements(op->results[0]) <= before;
}

/* The group that the op's result is a sum over, as its operands are; 0: it does not bear that. */
static MeshGroup borne(const Shard *s, const Op *op, const OpCuts *cuts) {
    int32_t count;
    MeshGroup group = partial_operands(s, op, &count);
    if (op->n_results != 1 || group == 0 || cuts->combined != 0 || !does_not_grow(s, op) ||
        (group & cuts_groups(&cuts->results[0])) != 0) {
        return 0;
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        if ((cuts_groups(&cuts->operands[i]) & group) != 0) {
            return 0;
        }
    }
    if (op_info(op->code)->linear == LINEAR_EACH) {
        return count == 1 ? group : 0;
    }
    return bears_joint(s, op, group) ? group : 0;
}

/* -- Through the program */

static void settle_block(Shard *s, const Block *block);

static bool may_stay(const Shard *s, const Value *value, const Block *block) {
    const Spread *spread = spread_of(s, value);
    return spread->uses == 1 && spread->user->parent == block && dtype_is_float(value->type.dtype);
}

/* Carries of a loop that begin as zero and are only added to. */
static void begin_carries(Shard *s, const Op *op) {
    const Block *body = op->blocks[0];
    for (int32_t i = 0; i < scan_carries(op); i++) {
        const Value *arg = body->args[i + 1];
        const Spread *spread = spread_of(s, arg);
        bool zero = !spread->is_final && may_stay(s, arg, body) && spread->cuts.n == 0 &&
                    spread_of(s, op->operands[i])->is_zero;
        set_zero(s, arg, zero && spread->partial == 0);
    }
}

/* What the body yields for a carry is what the carry is: else it is summed in the body. */
static void settle_carries(Shard *s, const Op *op) {
    const Block *body = op->blocks[0];
    const Op *yield = block_yield(body);
    for (int32_t i = 0; i < yield->n_operands; i++) {
        const Value *arg = i < scan_carries(op) ? body->args[i + 1] : NULL;
        MeshGroup group = spread_of(s, yield->operands[i])->partial;
        if (group == 0 && arg && (spread_of(s, arg)->is_zero || spread_of(s, arg)->partial)) {
            make_final(s, arg);
        }
        if (group != 0 && (!arg || spread_of(s, arg)->is_final ||
                           !(spread_of(s, arg)->is_zero || spread_of(s, arg)->partial == group))) {
            make_final(s, yield->operands[i]);
            group = 0;
        }
        if (arg) {
            set_partial(s, arg, group);
        }
        bool stays = group != 0 && may_stay(s, op->results[i], op->parent);
        set_partial(s, op->results[i], stays ? group : 0);
    }
}

static void settle_scan(Shard *s, const Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        make_final(s, op->operands[i]);
    }
    begin_carries(s, op);
    settle_block(s, op->blocks[0]);
    settle_carries(s, op);
}

static void settle_op(Shard *s, const Op *op) {
    for (int32_t r = 0; r < op->n_results; r++) {
        set_zero(s, op->results[r], is_zero_constant(op->results[r]));
    }
    if (op->code == OP_scan) {
        settle_scan(s, op);
        return;
    }
    for (int32_t i = 0; i < op->n_blocks; i++) {
        settle_block(s, op->blocks[i]);
    }
    if (op->code == OP_yield && op->parent->owner && op->parent->owner->code == OP_scan) {
        return; /* settle_carries */
    }
    OpCuts cuts = op_cuts(s, op);
    MeshGroup group = borne(s, op, &cuts);
    for (int32_t i = 0; i < op->n_operands && group == 0; i++) {
        if (spread_of(s, op->operands[i])->partial) {
            make_final(s, op->operands[i]);
        }
    }
    if (op->n_results == 1) {
        group |= cuts.combine == OP_add ? cuts.combined : 0;
        bool stays = may_stay(s, op->results[0], op->parent);
        set_partial(s, op->results[0], stays ? group : 0);
    }
}

static void settle_block(Shard *s, const Block *block) {
    BLOCK_EACH_OP (block, op) {
        settle_op(s, op);
    }
}

/* -- In which type they are sent */

static void set_sent(Shard *s, const Value *value, const Spread *like) {
    Spread *spread = spread_of(s, value);
    spread->is_sent = true;
    spread->sent = like->sent;
}

/* What gradients are put together from, by moving and adding. */
static bool is_put_together(const Op *op) {
    return op_rearranges(op->code) || op->code == OP_pad || op->code == OP_concat ||
           op->code == OP_add;
}

/* A piece of a gradient and of nothing else is one, and may be summed before it is in its place,
 * where parts do not bear that. */
static void send_pieces(Shard *s, const Block *block) {
    for (const Op *op = block->last; op; op = op->prev) {
        const Spread *result = is_put_together(op) ? spread_of(s, op->results[0]) : NULL;
        for (int32_t i = 0; i < op->n_operands && result && result->is_sent; i++) {
            if (spread_of(s, op->operands[i])->uses == 1) {
                set_sent(s, op->operands[i], result);
            }
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            send_pieces(s, op->blocks[i]);
        }
    }
}

/* What is linear in parts of a gradient's sum has parts of that sum too. */
static void send_sums(Op *op, void *user) {
    Shard *s = user;
    for (int32_t i = 0; i < op->n_operands; i++) {
        const Spread *from = spread_of(s, op->operands[i]);
        bool is_part = from->is_sent && from->partial != 0;
        bool is_yield = op->code == OP_yield && op->parent->owner;
        int32_t first = is_yield ? i : 0, end = is_yield ? i + 1 : op->n_results;
        for (int32_t r = first; r < end && is_part; r++) {
            set_sent(s, is_yield ? op->parent->owner->results[r] : op->results[r], from);
        }
    }
}

void forget_partial(Shard *s) {
    for (int32_t i = 0; i < s->n_values; i++) {
        Spread *spread = &s->spreads[i];
        spread->is_final = spread->is_zero = false;
        spread->partial = 0;
        spread->user = NULL;
        spread->uses = 0;
    }
}

void decide_partial(Shard *s) {
    func_each_op(s->func, count_uses, s);
    do {
        s->changed = false;
        settle_block(s, s->func->body);
    } while (s->changed);
    send_pieces(s, s->func->body);
    func_each_op(s->func, send_sums, s);
}
