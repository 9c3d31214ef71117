/* Memory from an allocator that may be absent (then malloc's), for code that serves the compiler
 * and the run time alike. */
#ifndef DLC_IR_BASE_MEMORY_H
#define DLC_IR_BASE_MEMORY_H

#include "dlc/dlc.h"

#include <stdlib.h>

/* At least one byte, contents undefined; NULL: out of memory. */
static inline void *raw_alloc(const dlc_allocator *allocator, size_t bytes) {
    bytes = bytes ? bytes : 1;
    return allocator ? allocator->alloc(allocator->user, bytes) : malloc(bytes);
}

/* Accepts NULL. */
static inline void raw_free(const dlc_allocator *allocator, void *memory) {
    if (!allocator) {
        free(memory);
    } else if (memory) {
        allocator->free(allocator->user, memory);
    }
}

#endif
