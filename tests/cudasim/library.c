/* Work of the stand-ins for vendor libraries: kept by value, its memory checked like a copy's. */
#include "tests/cudasim/sim.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16 };

static size_t aligned(size_t bytes) {
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

SimOperation *operation_copy(const SimOperation *operation) {
    size_t head = aligned(sizeof *operation), n_name = aligned(strlen(operation->name) + 1);
    size_t n_ranges = aligned((size_t)operation->n_ranges * sizeof *operation->ranges);
    unsigned char *memory = malloc(head + n_name + n_ranges + operation->n_data + 1);
    if (!memory) {
        abort();
    }
    SimOperation *copy = (SimOperation *)memory;
    unsigned char *name = memory + head, *ranges = name + n_name, *data = ranges + n_ranges;
    *copy = *operation;
    copy->name = strcpy((char *)name, operation->name);
    if (operation->n_ranges > 0) {
        memcpy(ranges, operation->ranges, (size_t)operation->n_ranges * sizeof *operation->ranges);
    }
    copy->ranges = (const SimRange *)(const void *)ranges;
    if (operation->n_data > 0) {
        memcpy(data, operation->data, operation->n_data);
    }
    copy->data = data;
    return copy;
}

/* Unlike a copy, a library uses every byte that it reads. */
static bool all_written(uintptr_t address, size_t bytes) {
    for (size_t i = 0; i < bytes && hot.checked > 0; i++) {
        if ((hot.state[address - hot.base + i] & ~STATE_SPLIT) == STATE_UNWRITTEN) {
            const Allocation *in = memory_find(address + i);
            report("a library reads %p, byte %zu of an allocation of %zu, which was never written",
                   (void *)(address + i), in ? (size_t)(address + i - in->address) : 0,
                   in ? in->bytes : 0);
            return false;
        }
    }
    return true;
}

static bool range_check(const SimRange *range) {
    for (size_t i = 0; i < range->count; i++) {
        uintptr_t at = (uintptr_t)range->address + i * range->stride;
        if (!memory_is_device((const void *)at)) {
            report("a library was given %p, which is not device memory", (void *)at);
            return false;
        }
        bool good = range->is_written
                        ? memory_range_write(at, range->bytes)
                        : memory_range_read(at, range->bytes) && all_written(at, range->bytes);
        if (!good) {
            return false;
        }
    }
    return true;
}

bool operation_run(const SimOperation *operation) {
    for (int i = 0; i < operation->n_ranges; i++) {
        if (!range_check(&operation->ranges[i])) {
            report_more("in %s", operation->name);
            return false;
        }
    }
    operation->run(operation->data);
    for (int i = 0; i < operation->n_ranges; i++) {
        const SimRange *range = &operation->ranges[i];
        for (size_t j = 0; j < range->count && range->is_written; j++) {
            memory_range_state((uintptr_t)range->address + j * range->stride, 0, range->bytes);
        }
    }
    return true;
}
