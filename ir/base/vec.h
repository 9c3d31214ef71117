/* Growable arrays in an arena (compile side). A vector is declared in place:
 *     VEC(Op *) ops = {0};
 *     VEC_PUSH(arena, &ops, op);
 *     for (size_t i = 0; i < ops.count; i++) … ops.items[i] …
 * Growth abandons the old array to the arena. */
#ifndef DLC_IR_BASE_VEC_H
#define DLC_IR_BASE_VEC_H

#include "ir/base/arena.h"
#include <string.h>

#define VEC(type)                                                                                  \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t count, capacity;                                                                    \
    }

#define VEC_PUSH(arena, vec, value)                                                                \
    do {                                                                                           \
        if ((vec)->count == (vec)->capacity) {                                                     \
            (vec)->items =                                                                         \
                vec_grow((arena), (vec)->items, &(vec)->capacity, sizeof((vec)->items[0]));        \
        }                                                                                          \
        (vec)->items[(vec)->count++] = (value);                                                    \
    } while (0)

/* Makes room for items[index], zeroed: a table by number that grows as numbers are made. */
#define VEC_REACH(arena, vec, index)                                                               \
    do {                                                                                           \
        while ((vec)->capacity <= (size_t)(index)) {                                               \
            (vec)->items =                                                                         \
                vec_grow((arena), (vec)->items, &(vec)->capacity, sizeof((vec)->items[0]));        \
        }                                                                                          \
        if ((vec)->count <= (size_t)(index)) {                                                     \
            (vec)->count = (size_t)(index) + 1;                                                    \
        }                                                                                          \
    } while (0)

/* A copy of `items` with twice the capacity (at least 8); updates *capacity. */
void *vec_grow(Arena *arena, void *items, size_t *capacity, size_t item_size);

#endif
