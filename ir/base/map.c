/* Hash map with open addressing over an array of entries in insertion order (map.h). */
#include "ir/base/map.h"
#include "ir/base/str.h"
#include "ir/base/vec.h"

#include <string.h>

void map_init(Map *map, Arena *arena) {
    *map = (Map){.arena = arena};
}

/* The slot that holds `key`, or the free slot where it belongs. n_slots must not be 0. */
static size_t map_slot(const Map *map, const char *key, uint64_t hash) {
    size_t at = (size_t)hash & (map->n_slots - 1);
    while (map->slots[at]) {
        const MapEntry *entry = &map->entries[map->slots[at] - 1];
        if (entry->hash == hash && strcmp(entry->key, key) == 0) {
            break;
        }
        at = (at + 1) & (map->n_slots - 1);
    }
    return at;
}

static MapEntry *map_find(const Map *map, const char *key) {
    if (!map->n_slots) {
        return NULL;
    }
    size_t at = map_slot(map, key, hash_bytes(key, strlen(key), 0));
    return map->slots[at] ? &map->entries[map->slots[at] - 1] : NULL;
}

void *map_get(const Map *map, const char *key) {
    const MapEntry *entry = map_find(map, key);
    return entry ? entry->value : NULL;
}

bool map_has(const Map *map, const char *key) {
    return map_find(map, key) != NULL;
}

/* Twice the slots (a power of two), everything put in again. */
static void map_grow(Map *map) {
    map->n_slots = map->n_slots ? map->n_slots * 2 : 16;
    map->slots = ARENA_ARRAY(map->arena, uint32_t, map->n_slots);
    for (size_t i = 0; i < map->count; i++) {
        size_t at = map_slot(map, map->entries[i].key, map->entries[i].hash);
        map->slots[at] = (uint32_t)(i + 1);
    }
}

void map_set(Map *map, const char *key, void *value) {
    MapEntry *entry = map_find(map, key);
    if (entry) {
        entry->value = value;
        return;
    }
    if (map->count >= UINT32_MAX / 2) {
        boundary_leave(map->arena->boundary, DLC_ERROR_LIMIT);
    }
    if ((map->count + 1) * 4 > map->n_slots * 3) {
        map_grow(map);
    }
    uint64_t hash = hash_bytes(key, strlen(key), 0);
    MapEntry added = {.key = arena_strdup(map->arena, key), .value = value, .hash = hash};
    size_t at = map_slot(map, key, hash);
    if (map->count == map->capacity) {
        map->entries = vec_grow(map->arena, map->entries, &map->capacity, sizeof(added));
    }
    map->entries[map->count++] = added;
    map->slots[at] = (uint32_t)map->count;
}

const char *map_suggest(const Map *map, const char *name) {
    /* A short name is within two edits of nearly everything: allow it only one. */
    int best = strlen(name) <= 3 ? 1 : 2;
    const char *nearest = NULL;
    for (size_t i = 0; i < map->count; i++) {
        int distance = edit_distance(map->entries[i].key, name, best);
        if (distance < best || (distance == best && !nearest)) {
            best = distance;
            nearest = map->entries[i].key;
        }
    }
    return nearest;
}
