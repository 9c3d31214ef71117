/* Marks on values by id, what depends on what is derived by, and where a value lives. */
#include "passes/differentiate/differentiate.h"

const Block *value_home(const Value *value) {
    return value->op ? value->op->parent : value->block;
}

bool value_flag(const ValueFlags *flags, const Value *value) {
    return (size_t)value->id < flags->count && flags->items[value->id];
}

void value_set_flag(Arena *arena, ValueFlags *flags, const Value *value) {
    VEC_REACH(arena, flags, value->id);
    flags->items[value->id] = true;
}

/* -- activity */

bool value_is_float(const Value *value) {
    return dtype_is_float(value->type.dtype);
}

static bool op_uses_active(const ValueFlags *active, const Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (value_flag(active, op->operands[i])) {
            return true;
        }
    }
    for (int32_t i = 0; i < op->n_blocks; i++) {
        BLOCK_EACH_OP (op->blocks[i], inner) {
            if (op_uses_active(active, inner)) {
                return true;
            }
        }
    }
    return false;
}

void gradient_mark_active(Arena *arena, ValueFlags *active, const OpList *ops) {
    for (size_t i = 0; i < ops->count; i++) {
        const Op *op = ops->items[i];
        if ((op_info(op->code)->flags & OPF_NODIFF) || !op_uses_active(active, op)) {
            continue;
        }
        for (int32_t k = 0; k < op->n_results; k++) {
            if (value_is_float(op->results[k])) {
                value_set_flag(arena, active, op->results[k]);
            }
        }
    }
}

/* -- what a grad op sees */

OpList gradient_visible_ops(Arena *arena, Op *grad) {
    OpList ops = {0};
    for (Op *at = grad; at; at = at->parent->owner) {
        for (Op *op = at->prev; op; op = op->prev) {
            VEC_PUSH(arena, &ops, op);
        }
    }
    for (size_t i = 0; i < ops.count / 2; i++) {
        Op *swap = ops.items[i];
        ops.items[i] = ops.items[ops.count - 1 - i];
        ops.items[ops.count - 1 - i] = swap;
    }
    return ops;
}
