/* Where operands lie, and where results may. */
#include "codegen/schedule/state.h"

_Noreturn void schedule_refuse_at(Schedule *s, const Op *op, const char *why, const char *file,
                                  int line) {
    Str text;
    str_init(&text, s->context->allocator);
    op_print(op, &text);
    const char *printed = arena_strdup(s->arena, str_text(&text));
    str_finish(&text);
    internal_error(s->context, op->place, op_info(op->code)->name, file, line, "%s: %s", why,
                   printed);
}

Block *value_made_in(const Value *value) {
    return value->op ? value->op->parent : value->block;
}

Spot *spot_at(Schedule *s, const Op *op, const Value *value) {
    Spot *spot = &s->spots[s->roots[value->id]->id];
    if (spot->memory < 0) {
        SCHEDULE_REFUSE(s, op, "an operand has no memory");
    }
    return spot;
}

bool spot_may_overwrite(Schedule *s, const Op *op, int32_t r, int32_t k, const Spot *placed) {
    const Value *root = s->roots[op->operands[k]->id];
    const Spot *spot = spot_at(s, op, op->operands[k]);
    if (value_made_in(root) != op->parent || s->last_use[root->id] != op->id ||
        s->last_uses[root->id] != 1 || !spot_is_whole(spot)) {
        return false;
    }
    const Memory *memory = &s->memories.items[spot->memory];
    const Size *bytes = type_bytes(s->context, op->results[r]->type);
    if (memory->keep || memory->kind == PLAN_BUFFER_CONSTANT || memory->bytes != bytes) {
        return false;
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (i != k && spot_at(s, op, op->operands[i])->memory == spot->memory) {
            return false;
        }
    }
    for (int32_t i = 0; i < r; i++) {
        if (placed[i].memory == spot->memory) {
            return false;
        }
    }
    return true;
}

Spot result_apart(Schedule *s, const Op *op, int32_t r, int32_t k, const Spot *placed) {
    const Value *value = op->results[r];
    if (k >= 0 && spot_may_overwrite(s, op, r, k, placed)) {
        int32_t over = s->spots[s->roots[op->operands[k]->id]->id].memory;
        if (s->memories.items[over].kind == PLAN_BUFFER_ARENA) {
            return spot_of(over, s->context);
        }
    }
    const Size *bytes = type_bytes(s->context, value->type);
    return spot_of(memory_add(s, PLAN_BUFFER_ARENA, bytes, value->name), s->context);
}
