/* Dead code elimination. Liveness is by value and sees through loops: a scan keeps only the
 * carries, inputs and stacked results that something outside, or a live part of its own body,
 * needs. */
#include "passes/pass.h"

typedef struct Liveness {
    Arena *arena;
    bool *live; /* by value id */
    bool *kept; /* by op id: the op stays */
    Value **stack;
    int32_t n_stack;
} Liveness;

static void mark(Liveness *liveness, Value *value) {
    if (!liveness->live[value->id]) {
        liveness->live[value->id] = true;
        liveness->stack[liveness->n_stack++] = value;
    }
}

static void keep_op(Liveness *liveness, Op *op);

/* A region op stays: so do the effects inside it, and the loops around it. */
static void keep_effects(Liveness *liveness, const Block *block) {
    BLOCK_EACH_OP (block, op) {
        if (op->code == OP_yield) {
            continue;
        }
        if (op_info(op->code)->flags & OPF_EFFECT) {
            keep_op(liveness, op);
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            keep_effects(liveness, op->blocks[i]);
        }
    }
}

static void mark_all_operands(Liveness *liveness, Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        mark(liveness, op->operands[i]);
    }
}

static void keep_op(Liveness *liveness, Op *op) {
    if (liveness->kept[op->id]) {
        return;
    }
    liveness->kept[op->id] = true;
    if (op->parent->owner) {
        keep_op(liveness, op->parent->owner);
    }
    if (op->code == OP_scan) {
        return; /* operands become live one by one */
    }
    mark_all_operands(liveness, op);
    for (int32_t i = 0; i < op->n_blocks; i++) {
        Op *yield = block_yield(op->blocks[i]);
        mark_all_operands(liveness, yield);
    }
}

static void visit_value(Liveness *liveness, Value *value) {
    Op *owner = value->op ? value->op : value->block->owner;
    if (!owner) {
        return; /* an argument of the Func */
    }
    keep_op(liveness, owner);
    if (owner->code != OP_scan) {
        return;
    }
    int64_t n_carries = scan_carries(owner);
    Op *yield = block_yield(owner->blocks[0]);
    if (value->op) {
        mark(liveness, yield->operands[value->index]);
        if (value->index < n_carries) {
            mark(liveness, owner->operands[value->index]);
            mark(liveness, owner->blocks[0]->args[1 + value->index]);
        }
    } else if (value->index > 0) {
        mark(liveness, owner->operands[value->index - 1]);
        if (value->index <= n_carries) {
            mark(liveness, yield->operands[value->index - 1]);
        }
    }
}

/* Which of a scan's carries, inputs and stacked results are live; true if any is dead. */
static bool scan_has_dead_parts(const Liveness *liveness, const Op *scan) {
    for (int32_t i = 1; i < scan->blocks[0]->n_args; i++) {
        if (!liveness->live[scan->blocks[0]->args[i]->id]) {
            int64_t n_carries = scan_carries(scan);
            if (i > n_carries || !liveness->live[scan->results[i - 1]->id]) {
                return true;
            }
        }
    }
    for (int64_t i = scan_carries(scan); i < scan->n_results; i++) {
        if (!liveness->live[scan->results[i]->id]) {
            return true;
        }
    }
    return false;
}

/* Drops dead carries, inputs and stacked results in place: arrays are compacted, indices
 * renumbered. */
static void trim_scan(const Liveness *liveness, Op *scan) {
    Block *body = scan->blocks[0];
    Op *yield = block_yield(body);
    int32_t n_carries = (int32_t)scan_carries(scan);
    int32_t n_xs = scan->n_operands - n_carries;
    int32_t n_ys = scan->n_results - n_carries;
    int32_t carries = 0, operands = 0, results = 0;
    for (int32_t i = 0; i < n_carries; i++) {
        if (liveness->live[body->args[1 + i]->id] || liveness->live[scan->results[i]->id]) {
            scan->operands[operands++] = scan->operands[i];
            body->args[1 + carries] = body->args[1 + i];
            yield->operands[results] = yield->operands[i];
            scan->results[results++] = scan->results[i];
            carries++;
        }
    }
    int32_t args = 1 + carries;
    for (int32_t i = 0; i < n_xs; i++) {
        if (liveness->live[body->args[1 + n_carries + i]->id]) {
            body->args[args++] = body->args[1 + n_carries + i];
            scan->operands[operands++] = scan->operands[n_carries + i];
        }
    }
    for (int32_t i = 0; i < n_ys; i++) {
        if (liveness->live[scan->results[n_carries + i]->id]) {
            yield->operands[results] = yield->operands[n_carries + i];
            scan->results[results++] = scan->results[n_carries + i];
        }
    }
    scan->n_operands = operands;
    scan->n_results = results;
    yield->n_operands = results;
    body->n_args = args;
    for (int32_t i = 0; i < results; i++) {
        scan->results[i]->index = i;
    }
    for (int32_t i = 0; i < args; i++) {
        body->args[i]->index = i;
    }
    op_set_carries(scan, carries);
}

static bool sweep_block(const Liveness *liveness, Block *block) {
    bool changed = false;
    for (Op *op = block->first, *next; op; op = next) {
        next = op->next;
        if (op->code == OP_yield) {
            continue;
        }
        if (!liveness->kept[op->id]) {
            op_unlink(op);
            changed = true;
            continue;
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            changed |= sweep_block(liveness, op->blocks[i]);
        }
        if (op->code == OP_scan && scan_has_dead_parts(liveness, op)) {
            trim_scan(liveness, op);
            changed = true;
        }
    }
    return changed;
}

bool pass_dce(PassContext *pass, Func *func) {
    func_renumber(func);
    Liveness liveness = {.arena = pass->scratch,
                         .live = ARENA_ARRAY(pass->scratch, bool, func->n_values + 1),
                         .kept = ARENA_ARRAY(pass->scratch, bool, func->n_ops + 1),
                         .stack = ARENA_ARRAY(pass->scratch, Value *, func->n_values + 1)};
    mark_all_operands(&liveness, block_yield(func->body));
    keep_effects(&liveness, func->body);
    while (liveness.n_stack > 0) {
        visit_value(&liveness, liveness.stack[--liveness.n_stack]);
    }
    return sweep_block(&liveness, func->body);
}
