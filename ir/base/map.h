/* An arena hash map from strings to pointers (compile side). Iteration is in insertion order, so
 * that nothing printed or compiled depends on hash order. Keys are copied into the arena. */
#ifndef DLC_IR_BASE_MAP_H
#define DLC_IR_BASE_MAP_H

#include "ir/base/arena.h"
#include <stdbool.h>

typedef struct MapEntry {
    const char *key;
    void *value;
    uint64_t hash;
} MapEntry;

typedef struct Map {
    Arena *arena;
    MapEntry *entries; /* insertion order; [0, count) */
    size_t count, capacity;
    uint32_t *slots; /* index + 1 into entries; 0: free */
    size_t n_slots;
} Map;

void map_init(Map *map, Arena *arena);
/* The value of `key`, or NULL. */
void *map_get(const Map *map, const char *key);
bool map_has(const Map *map, const char *key);
/* Inserts or replaces. */
void map_set(Map *map, const char *key, void *value);
/* The key nearest to `name` for "did you mean", or NULL if none is near (distance <= 2). */
const char *map_suggest(const Map *map, const char *name);

#endif
