/* Marks on values by id, and where a value lives. */
#include "passes/differentiate/differentiate.h"
#include <string.h>

const Block *value_home(const Value *value) {
    return value->op ? value->op->parent : value->block;
}

bool value_flag(const ValueFlags *flags, const Value *value) {
    return value->id < flags->capacity && flags->items[value->id];
}

void value_set_flag(Arena *arena, ValueFlags *flags, const Value *value) {
    if (value->id >= flags->capacity) {
        int32_t capacity = flags_room(value->id);
        bool *items = ARENA_ARRAY(arena, bool, capacity);
        if (flags->capacity > 0) {
            memcpy(items, flags->items, (size_t)flags->capacity * sizeof *items);
        }
        flags->items = items;
        flags->capacity = capacity;
    }
    flags->items[value->id] = true;
}

/* Room for id `id` with some to spare. */
int32_t flags_room(int32_t id) {
    return id + id / 2 + 64;
}
