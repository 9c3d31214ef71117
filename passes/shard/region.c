/* Loops: what goes round is cut inside as outside; the number of turns, and whether there is
 * another one, are the same on every rank. */
#include "passes/shard/shard.h"

#include <string.h>

static Cuts shifted(const Cuts *cuts, int32_t by) {
    Cuts out = *cuts;
    for (int32_t i = 0; i < out.n; i++) {
        out.at[i].axis += by;
    }
    return out;
}

static void add_arg(Shard *s, const Value *old, const Cuts *cuts, Block *to) {
    Value *arg = block_add_arg(to, cuts_type(s, old->type, cuts), old->name);
    version_add(s, old, cuts, arg);
}

/* Ends the block with its yields, each cut as said. */
static void yield(Shard *s, const Block *from, const Cuts *cuts, Block *to) {
    const Op *old = block_yield(from);
    Value **values = ARENA_ARRAY(s->arena, Value *, (size_t)old->n_operands + 1);
    for (int32_t i = 0; i < old->n_operands; i++) {
        values[i] = version_of(s, old->operands[i], &cuts[i]);
    }
    Builder b = shard_builder(s, old, to);
    b_yield(&b, values, old->n_operands);
}

static Op *begin(Shard *s, const Op *old, Value *const *operands) {
    Op *op =
        op_create(s->func, old->code, operands, old->n_operands, old->n_results, old->n_blocks);
    memcpy(op->attrs, old->attrs, sizeof op->attrs);
    return op;
}

static void end(Shard *s, const Op *old, Op *op, const Cuts *cuts, Block *to) {
    Builder b = shard_builder(s, old, to);
    b_op(&b, op);
    for (int32_t r = 0; r < old->n_results; r++) {
        const Spread *spread = spread_of(s, old->results[r]);
        Value *value = op->results[r];
        value->name = old->results[r]->name;
        MeshGroup inside =
            spread_of(s, block_yield(old->blocks[old->n_blocks - 1])->operands[r])->partial;
        if ((inside & ~spread->partial) != 0) {
            value = sum_ranks(s, &b, old->results[r], value, inside & ~spread->partial);
        }
        version_add(s, old->results[r], &cuts[r], value);
    }
}

static void rewrite_scan(Shard *s, Op *old, Block *to) {
    const Block *body = old->blocks[0];
    int32_t n_carries = (int32_t)scan_carries(old), n = old->n_operands;
    Value **operands = ARENA_ARRAY(s->arena, Value *, (size_t)n + 1);
    Cuts *results = ARENA_ARRAY(s->arena, Cuts, (size_t)old->n_results + 1);
    Cuts *yields = ARENA_ARRAY(s->arena, Cuts, (size_t)old->n_results + 1);
    for (int32_t i = 0; i < n; i++) {
        Cuts outside = shifted(&spread_of(s, body->args[i + 1])->cuts, i < n_carries ? 0 : 1);
        operands[i] = version_of(s, old->operands[i], &outside);
    }
    Op *op = begin(s, old, operands);
    add_arg(s, body->args[0], &(Cuts){0}, op->blocks[0]);
    for (int32_t i = 0; i < n; i++) {
        add_arg(s, body->args[i + 1], &spread_of(s, body->args[i + 1])->cuts, op->blocks[0]);
    }
    rewrite_block(s, body, op->blocks[0]);
    for (int32_t i = 0; i < old->n_results; i++) {
        bool carried = i < n_carries;
        yields[i] = carried ? spread_of(s, body->args[i + 1])->cuts
                            : spread_of(s, block_yield(body)->operands[i])->cuts;
        results[i] = shifted(&yields[i], carried ? 0 : 1);
    }
    yield(s, body, yields, op->blocks[0]);
    end(s, old, op, results, to);
}

static void rewrite_while(Shard *s, Op *old, Block *to) {
    int32_t n = old->n_operands;
    Value **operands = ARENA_ARRAY(s->arena, Value *, (size_t)n + 1);
    Cuts *cuts = ARENA_ARRAY(s->arena, Cuts, (size_t)n + 1);
    for (int32_t i = 0; i < n; i++) {
        cuts[i] = spread_of(s, old->blocks[1]->args[i])->cuts;
        operands[i] = version_of(s, old->operands[i], &cuts[i]);
    }
    Op *op = begin(s, old, operands);
    for (int32_t k = 0; k < 2; k++) {
        for (int32_t i = 0; i < n; i++) {
            add_arg(s, old->blocks[k]->args[i], &cuts[i], op->blocks[k]);
        }
        rewrite_block(s, old->blocks[k], op->blocks[k]);
        yield(s, old->blocks[k], k == 0 ? &(Cuts){0} : cuts, op->blocks[k]);
    }
    end(s, old, op, cuts, to);
}

void rewrite_region(Shard *s, Op *op, Block *to) {
    if (op->code == OP_scan) {
        rewrite_scan(s, op, to);
    } else if (op->code == OP_while) {
        rewrite_while(s, op, to);
    } else {
        INTERNAL_ERROR(s->context, op->place, op_info(op->code)->name,
                       "no rule for cutting this op's blocks among ranks");
    }
}
