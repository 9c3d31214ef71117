/* Walks from a value to what it was computed from. Bodies under construction are not yet part of
 * the Func, so values are remembered by address in a set of its own; nothing depends on its order.
 */
#include "frontend/elaborate/reach.h"
#include "ir/base/vec.h"

typedef struct Seen {
    Arena *arena;
    const void **slots;
    size_t n_slots, count;
    bool any; /* not only what a derivative flows through */
    VEC(Value *) todo;
} Seen;

static size_t slot_of(const Seen *seen, const void *pointer) {
    size_t at = ((uintptr_t)pointer >> 4) * UINT64_C(0x9E3779B97F4A7C15) & (seen->n_slots - 1);
    while (seen->slots[at] && seen->slots[at] != pointer) {
        at = (at + 1) & (seen->n_slots - 1);
    }
    return at;
}

static bool seen_has(const Seen *seen, const void *pointer) {
    return seen->slots[slot_of(seen, pointer)] != NULL;
}

static bool seen_add(Seen *seen, const void *pointer) {
    if (seen_has(seen, pointer)) {
        return false;
    }
    if (seen->count * 2 >= seen->n_slots) {
        const void **old = seen->slots;
        size_t n_old = seen->n_slots;
        seen->n_slots *= 2;
        seen->slots = ARENA_ARRAY(seen->arena, const void *, seen->n_slots);
        for (size_t i = 0; i < n_old; i++) {
            if (old[i]) {
                seen->slots[slot_of(seen, old[i])] = old[i];
            }
        }
    }
    seen->slots[slot_of(seen, pointer)] = pointer;
    seen->count++;
    return true;
}

static void push(Seen *seen, Value *value) {
    if ((seen->any || dtype_is_float(value->type.dtype)) && seen_add(seen, value)) {
        VEC_PUSH(seen->arena, &seen->todo, value);
    }
}

static void push_op(Seen *seen, Op *op) {
    if (((op_info(op->code)->flags & OPF_NODIFF) && !seen->any) || !seen_add(seen, op)) {
        return;
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        push(seen, op->operands[i]);
    }
    for (int32_t b = 0; b < op->n_blocks; b++) {
        BLOCK_EACH_OP (op->blocks[b], inner) {
            push_op(seen, inner);
        }
    }
}

/* What a scan's result is made of: what its body hands on at that place, and what a carry began as.
 * The loop may hold more that has nothing to do with it. */
static void push_scan_result(Seen *seen, const Op *scan, int32_t index) {
    const Op *yield = scan->blocks[0]->last;
    push(seen, yield->operands[index]);
    if (index < scan_carries(scan)) {
        push(seen, scan->operands[index]);
    }
}

/* What an argument of a loop's body is made of. A body under construction does not say yet what
 * its carries become, nor which of its later arguments are carries: all of it then. */
static void push_body_argument(Seen *seen, Op *loop, const Value *argument) {
    const Op *last = loop->code == OP_scan ? loop->blocks[0]->last : NULL;
    int64_t carries = loop->code == OP_scan ? scan_carries(loop) : 0;
    int64_t index = argument->index - 1; /* after the turn's number */
    if (loop->code == OP_scan && index >= carries && index < loop->n_operands) {
        push(seen, loop->operands[index]); /* a slice of what is read */
    } else if (last && last->code == OP_yield && index >= 0 && index < carries) {
        push_scan_result(seen, loop, (int32_t)index);
    } else {
        push_op(seen, loop);
    }
}

static Seen walk(Arena *arena, Value *y) {
    Seen seen = {.arena = arena, .n_slots = 1024};
    seen.slots = ARENA_ARRAY(arena, const void *, seen.n_slots);
    push(&seen, y);
    while (seen.todo.count > 0) {
        Value *value = seen.todo.items[--seen.todo.count];
        if (value->op && value->op->code == OP_scan) {
            push_scan_result(&seen, value->op, value->index);
        } else if (value->op) {
            push_op(&seen, value->op);
        } else if (value->block && value->block->owner) {
            push_body_argument(&seen, value->block->owner, value);
        }
    }
    return seen;
}

bool value_reads_data(Arena *arena, const Func *func, Value *y) {
    Seen seen = {.arena = arena, .n_slots = 64, .any = true};
    seen.slots = ARENA_ARRAY(arena, const void *, seen.n_slots);
    push(&seen, y);
    while (seen.todo.count > 0) {
        Value *value = seen.todo.items[--seen.todo.count];
        if (value->op && op_info(value->op->code)->kind == KIND_RANDOM) {
            return true;
        }
        if (value->op) {
            push_op(&seen, value->op);
            continue;
        }
        ArgRole role = value->block == func->body ? func->args[value->index].role : ARG_INPUT;
        if (role != ARG_PARAM && role != ARG_SCALAR) {
            return true;
        }
    }
    return false;
}

void values_reached(Arena *arena, Value *y, Value *const *xs, int32_t count, bool *out) {
    Seen seen = walk(arena, y);
    for (int32_t i = 0; i < count; i++) {
        out[i] = seen_has(&seen, xs[i]);
    }
}

bool value_reaches(Arena *arena, Value *y, const Value *x) {
    Seen seen = walk(arena, y);
    return seen_has(&seen, x);
}
