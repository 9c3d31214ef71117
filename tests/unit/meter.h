/* For tests: an allocator that fails after a given number of allocations and counts what is alive.
 */
#ifndef DLC_TESTS_UNIT_METER_H
#define DLC_TESTS_UNIT_METER_H

#include <stdlib.h>

typedef struct Meter {
    long left, alive;
} Meter;

static inline void *meter_alloc(void *user, size_t bytes) {
    Meter *meter = user;
    if (meter->left-- <= 0) {
        return NULL;
    }
    meter->alive++;
    return malloc(bytes);
}

static inline void meter_free(void *user, void *memory) {
    ((Meter *)user)->alive -= memory != NULL;
    free(memory);
}

#endif
