/* Device memory of all simulated devices, and pinned host memory, in one range of addresses: what
 * is allocated. Its shadow is reserved here; shadow.c reads and keeps it. */
#include "tests/cudasim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const size_t DEVICE_SPAN = (size_t)32 << 30; /* addresses, not memory */
enum { PAGE = 4096 };

Hot hot;
static Allocation *allocations; /* ordered by address; device memory and pinned host memory */
static size_t n_allocations, cap_allocations;

/* Where a device's memory, or pinned memory, lies. */
typedef struct Region {
    uintptr_t low, high, cursor;
    size_t used, limit, align, red_zone;
} Region;
static Region regions[MAX_DEVICES + 1]; /* by device number + 1: pinned memory first */
static int64_t next_number;
static size_t shared_now;

static void *reserve(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    madvise(p, bytes, MADV_DONTDUMP);
    return p;
}

bool memory_init(void) {
    if (hot.base) {
        return true;
    }
    int devices = settings.devices > 0 ? settings.devices : 1;
    size_t device_span = SHARED_SPAN + (size_t)devices * DEVICE_SPAN;
    size_t span = device_span + HOST_SPAN;
    unsigned char *data = reserve(span);
    hot.state = reserve(span);
    hot.cells = reserve(span * 4);
    hot.bytes = reserve(span * 16);
    if (!data || !hot.state || !hot.cells || !hot.bytes) {
        report("cannot reserve addresses for %d devices", devices);
        return false;
    }
    hot.base = (uintptr_t)data;
    hot.span = device_span;
    hot.checked = span;
    hot.epoch = 1;
    for (int d = 0; d < devices; d++) {
        uintptr_t low = hot.base + SHARED_SPAN + (size_t)d * DEVICE_SPAN;
        regions[d + 1] = (Region){.low = low,
                                  .high = low + DEVICE_SPAN - FAR,
                                  .cursor = low,
                                  .limit = settings.memory,
                                  .align = 256,
                                  .red_zone = RED_ZONE};
    }
    /* Allocations share no page. */
    uintptr_t host = hot.base + device_span;
    regions[0] = (Region){.low = host,
                          .high = host + HOST_SPAN - FAR,
                          .cursor = host,
                          .limit = HOST_SPAN,
                          .align = PAGE,
                          .red_zone = PAGE};
    return pinned_init(host, HOST_SPAN);
}

uint32_t next_epoch(void) {
    return ++hot.epoch;
}

/* -- Allocations. */

static size_t position(uintptr_t address) { /* the first that begins behind address */
    size_t low = 0, high = n_allocations;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (allocations[middle].address <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const Allocation *memory_find(uintptr_t address) {
    size_t at = position(address);
    return at > 0 ? &allocations[at - 1] : NULL;
}

static bool insert(Allocation allocation) {
    if (n_allocations == cap_allocations) {
        size_t cap = cap_allocations ? cap_allocations * 2 : 64;
        Allocation *grown = realloc(allocations, cap * sizeof *grown);
        if (!grown) {
            return false;
        }
        allocations = grown;
        cap_allocations = cap;
    }
    size_t at = position(allocation.address);
    memmove(allocations + at + 1, allocations + at, (n_allocations - at) * sizeof *allocations);
    allocation.number = next_number++;
    allocations[at] = allocation;
    n_allocations++;
    return true;
}

/* Forgets what the shadow knew of [from, from + bytes), whole granules. */
static void shadow_clear(uintptr_t from, size_t bytes, uint8_t state) {
    size_t offset = from - hot.base;
    memset(hot.state + offset, state, bytes);
    unsigned char *parts[2] = {(unsigned char *)hot.cells + offset * 4,
                               (unsigned char *)hot.bytes + offset * 16};
    size_t sizes[2] = {bytes * 4, bytes * 16};
    for (int i = 0; i < 2; i++) {
        uintptr_t begin = ((uintptr_t)parts[i] + 4095) & ~(uintptr_t)4095;
        uintptr_t end = ((uintptr_t)parts[i] + sizes[i]) & ~(uintptr_t)4095;
        if (begin < end) {
            madvise((void *)begin, end - begin, MADV_DONTNEED);
            memset(parts[i], 0, begin - (uintptr_t)parts[i]);
            memset((void *)end, 0, (uintptr_t)parts[i] + sizes[i] - end);
        } else {
            memset(parts[i], 0, sizes[i]);
        }
    }
}

static size_t padded(const Region *region, size_t bytes) {
    return (bytes + region->align - 1) / region->align * region->align + region->red_zone;
}

/* Addresses are used again only when there are no new ones: the first gap that is large enough. */
static uintptr_t place(const Region *region, size_t need) {
    uintptr_t at = region->cursor;
    if (at + need > region->high) {
        at = region->low;
        for (size_t i = position(at - 1); i < n_allocations; i++) {
            if (allocations[i].address >= at + need || allocations[i].address >= region->high) {
                break;
            }
            at = allocations[i].address + padded(region, allocations[i].bytes);
        }
    }
    return at + need > region->high ? 0 : at;
}

void *memory_alloc(int device, size_t bytes) {
    Region *region = &regions[device + 1];
    if (bytes == 0 || bytes > region->limit || region->used + bytes > region->limit) {
        return NULL;
    }
    size_t need = padded(region, bytes);
    uintptr_t at = place(region, need);
    if (at == 0 || !insert((Allocation){.address = at, .bytes = bytes, .device = device})) {
        return NULL;
    }
    region->cursor = at + need;
    region->used += bytes;
    shadow_clear(at, need, STATE_NONE);
    memset(hot.state + (at - hot.base), device == HOST ? STATE_WRITTEN : STATE_UNWRITTEN, bytes);
    /* Garbage that looks like nothing: a quiet nan in every float type. */
    memset((void *)at, 0xff, bytes < 4096 ? bytes : 4096);
    return (void *)at;
}

bool memory_free(int device, void *memory) {
    Region *region = &regions[device + 1];
    size_t at = position((uintptr_t)memory);
    if (at == 0 || allocations[at - 1].address != (uintptr_t)memory ||
        allocations[at - 1].device != device) {
        return false;
    }
    Allocation gone = allocations[at - 1];
    memmove(allocations + at - 1, allocations + at, (n_allocations - at) * sizeof *allocations);
    n_allocations--;
    region->used -= gone.bytes;
    shadow_clear(gone.address, padded(region, gone.bytes), STATE_FREED);
    uintptr_t begin = (gone.address + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    uintptr_t end = (gone.address + gone.bytes) & ~(uintptr_t)(PAGE - 1);
    if (begin < end) {
        madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    return true;
}

size_t memory_used(int device) {
    return regions[device + 1].used;
}

int64_t memory_live(void) {
    return (int64_t)n_allocations;
}

void memory_live_print(void) {
    for (size_t i = 0; i < n_allocations && i < 10; i++) {
        report_more("%zu bytes, allocation %lld, %s", allocations[i].bytes,
                    (long long)allocations[i].number,
                    allocations[i].device == HOST ? "pinned" : "device");
    }
}

void memory_shared_reset(size_t bytes, size_t before) {
    size_t most = bytes > before ? bytes : before;
    memset(hot.state + FAR, STATE_NONE, most + RED_ZONE);
    memset(hot.state + FAR, STATE_UNWRITTEN, bytes);
    shared_now = bytes;
}

unsigned char *memory_shared(void) {
    return (unsigned char *)hot.base + FAR; /* room below, for indices under 0 */
}

size_t memory_shared_bytes(void) {
    return shared_now;
}
