/* The CRC-32 of a file of which each writer knows its own bytes alone: the checksum is linear, so
 * that what a part contributes, all else taken for zero, is added up by exclusive or. */
#ifndef DLC_RUNTIME_CHECKPOINT_PART_CRC_H
#define DLC_RUNTIME_CHECKPOINT_PART_CRC_H

#include <stddef.h>
#include <stdint.h>

/* A part under way; begins zeroed. */
typedef struct PartCrc {
    uint32_t value;
    uint64_t at;        /* behind the bytes that were added */
    uint64_t gap;       /* the last that was passed over … */
    uint32_t gap_power; /* … and what that multiplies by */
} PartCrc;

/* The part's next bytes, at an offset of the file not before the end of those added. */
void part_crc_add(PartCrc *crc, uint64_t at, const void *bytes, size_t size);
/* What the part contributes to the checksum of a file of `size` bytes. */
uint32_t part_crc_end(PartCrc *crc, uint64_t size);
/* That checksum; `parts`: the contributions of all its bytes, by exclusive or. */
uint32_t part_crc_whole(uint32_t parts, uint64_t size);

#endif
