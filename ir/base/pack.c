/* The memory packer (pack.h): largest buffer first, each at the lowest offset that is free during
 * its whole lifetime. Ties go by birth, then by index, so the result depends on the input alone. */
#include "ir/base/pack.h"
#include "ir/base/checked.h"
#include "ir/base/memory.h"

#include <stdbool.h>
#include <stdlib.h>

typedef struct PackEntry {
    int64_t bytes, birth, index;
} PackEntry;

static int entry_compare(const void *left, const void *right) {
    const PackEntry *a = left, *b = right;
    if (a->bytes != b->bytes) {
        return a->bytes > b->bytes ? -1 : 1;
    }
    if (a->birth != b->birth) {
        return a->birth < b->birth ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

static bool lifetimes_meet(const PackItem *a, const PackItem *b) {
    return a->birth <= b->death && b->birth <= a->death;
}

/* `placed` holds indices of the placed items in the order of their offsets. */
static bool place_item(PackItem *items, const PackEntry *entry, int64_t *placed, int64_t n_placed,
                       const int64_t *rounded, int64_t *peak) {
    PackItem *item = &items[entry->index];
    int64_t offset = 0;
    for (int64_t i = 0; i < n_placed; i++) {
        const PackItem *other = &items[placed[i]];
        if (!lifetimes_meet(item, other)) {
            continue;
        }
        if (other->offset - offset >= entry->bytes) {
            break;
        }
        int64_t after = other->offset + rounded[placed[i]];
        offset = after > offset ? after : offset;
    }
    int64_t end;
    if (!checked_add(offset, entry->bytes, &end)) {
        return false;
    }
    item->offset = offset;
    *peak = end > *peak ? end : *peak;
    int64_t at = n_placed;
    while (at > 0 && items[placed[at - 1]].offset > offset) {
        placed[at] = placed[at - 1];
        at--;
    }
    placed[at] = entry->index;
    return true;
}

dlc_status pack_items(PackItem *items, int64_t n_items, const dlc_allocator *allocator,
                      int64_t *out_peak) {
    *out_peak = 0;
    if (n_items <= 0) {
        return n_items == 0 ? DLC_OK : DLC_ERROR_INVALID_ARGUMENT;
    }
    size_t bytes;
    if (!checked_mul_size((size_t)n_items, sizeof(PackEntry) + 2 * sizeof(int64_t), &bytes)) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    PackEntry *entries = raw_alloc(allocator, bytes);
    if (!entries) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    int64_t *rounded = (int64_t *)(entries + n_items);
    int64_t *placed = rounded + n_items;
    dlc_status status = DLC_OK;
    int64_t peak = 0, n_placed = 0;
    for (int64_t i = 0; i < n_items; i++) {
        if (items[i].bytes < 0 || items[i].birth > items[i].death) {
            status = DLC_ERROR_INVALID_ARGUMENT;
            goto done;
        }
        if (!checked_add(items[i].bytes, PACK_ALIGNMENT - 1, &rounded[i])) {
            status = DLC_ERROR_LIMIT;
            goto done;
        }
        rounded[i] &= ~(int64_t)(PACK_ALIGNMENT - 1);
        entries[i] = (PackEntry){.bytes = rounded[i], .birth = items[i].birth, .index = i};
    }
    qsort(entries, (size_t)n_items, sizeof(*entries), entry_compare);
    for (int64_t i = 0; i < n_items; i++) {
        if (entries[i].bytes == 0) {
            items[entries[i].index].offset = 0;
        } else if (place_item(items, &entries[i], placed, n_placed, rounded, &peak)) {
            n_placed++;
        } else {
            status = DLC_ERROR_LIMIT;
            goto done;
        }
    }
    *out_peak = peak;
done:
    raw_free(allocator, entries);
    return status;
}
