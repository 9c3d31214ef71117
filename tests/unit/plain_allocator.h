/* malloc and free as an allocator, for what asks for one. */
#ifndef DLC_TESTS_UNIT_PLAIN_ALLOCATOR_H
#define DLC_TESTS_UNIT_PLAIN_ALLOCATOR_H

#include "dlc/dlc.h"
#include <stdlib.h>

static void *plain_alloc(void *user, size_t bytes) {
    (void)user;
    return malloc(bytes);
}

static void plain_free(void *user, void *memory) {
    (void)user;
    free(memory);
}

static const dlc_allocator plain_allocator = {plain_alloc, plain_free, NULL};

#endif
