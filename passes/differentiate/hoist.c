/* Loop invariants: what a scan's body computes from outside alone is computed once, before it. */
#include "passes/differentiate/differentiate.h"

/* Ops worth computing once: not constants or broadcasts, which cost nothing where they are used. */
static bool is_hoistable(const Op *op) {
    const OpInfo *info = op_info(op->code);
    switch (info->kind) {
    case KIND_ELEMENTWISE:
    case KIND_CONTRACTION:
    case KIND_CONVOLUTION:
    case KIND_REDUCTION:
        return true;
    case KIND_MOVEMENT:
        return op->code != OP_broadcast && op->code != OP_dynamic_slice &&
               op->code != OP_dynamic_update;
    default:
        return false;
    }
}

static void hoist_from(Op *scan) {
    Block *body = scan->blocks[0];
    for (Op *op = body->first, *next; op; op = next) {
        next = op->next;
        bool invariant = is_hoistable(op);
        for (int32_t i = 0; i < op->n_operands; i++) {
            invariant = invariant && value_home(op->operands[i]) != body;
        }
        if (invariant) {
            op_unlink(op);
            op_insert_before(op, scan);
        }
    }
}

void hoist_invariants(Block *block) {
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_blocks; i++) {
            hoist_invariants(op->blocks[i]);
        }
        if (op->code == OP_scan) {
            hoist_from(op);
        }
    }
}
