/* The memory packer: places buffers with lifetimes in one arena. One deterministic routine serves
 * dlc's printed peaks and the run time's offsets, so the two agree by construction.
 * Method: greedy by size, largest first, each at the lowest offset free during its whole lifetime
 * (Pisarchyk & Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, 5.2). */
#ifndef DLC_IR_BASE_PACK_H
#define DLC_IR_BASE_PACK_H

#include "dlc/dlc.h"
#include <stdint.h>

enum { PACK_ALIGNMENT = 64 };

typedef struct PackItem {
    int64_t bytes;        /* >= 0; rounded up to PACK_ALIGNMENT by the packer */
    int64_t birth, death; /* first and last command that needs it, both included */
    int64_t offset;       /* out */
} PackItem;

/* Sets every offset; *out_peak is the arena's size in bytes. Errors: out of memory, overflow. */
dlc_status pack_items(PackItem *items, int64_t n_items, const dlc_allocator *allocator,
                      int64_t *out_peak);

#endif
