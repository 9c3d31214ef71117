/* Marks on values by id, and where a value lives. */
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
