/* Growth of arena vectors (vec.h). */
#include "ir/base/vec.h"

void *vec_grow(Arena *arena, void *items, size_t *capacity, size_t item_size) {
    size_t grown = *capacity < 8 ? 8 : *capacity * 2;
    void *copy = arena_alloc_array(arena, grown, item_size);
    if (*capacity) {
        memcpy(copy, items, *capacity * item_size);
    }
    *capacity = grown;
    return copy;
}
