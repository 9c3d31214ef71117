/* See part_crc.h. A checksum is a polynomial over bits, modulo a fixed one; zeros behind it
 * multiply it by a power of x, and bits before it that are not zero add their own. */
#include "runtime/checkpoint/part_crc.h"

#include <zlib.h>

enum { ONE = 31 }; /* the bit of x to the power 0: the highest, as zlib has it */
static const uint32_t modulus = 0xedb88320u;

/* What `size` bytes of zero multiply by. */
static uint32_t zeros_power(uint64_t size) {
    return size > 0 ? (uint32_t)crc32_combine(1u << ONE, 0, (z_off_t)size) : 1u << ONE;
}

static uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (uint32_t bit = 1u << ONE; bit != 0 && a != 0; bit >>= 1) {
        if (a & bit) {
            product ^= b;
            a ^= bit;
        }
        b = b & 1u ? b >> 1 ^ modulus : b >> 1;
    }
    return product;
}

static void zeros_pass(PartCrc *crc, uint64_t gap) {
    if (gap == 0) {
        return;
    }
    if (crc->gap != gap) { /* of strides that are alike it is worked out once */
        crc->gap = gap;
        crc->gap_power = zeros_power(gap);
    }
    crc->value = multiply(crc->gap_power, crc->value);
}

void part_crc_add(PartCrc *crc, uint64_t at, const void *bytes, size_t size) {
    zeros_pass(crc, at - crc->at);
    crc->value = ~(uint32_t)crc32_z(~crc->value, bytes, size); /* zlib inverts before and after */
    crc->at = at + size;
}

uint32_t part_crc_end(PartCrc *crc, uint64_t size) {
    zeros_pass(crc, size - crc->at);
    crc->at = size;
    return crc->value;
}

uint32_t part_crc_whole(uint32_t parts, uint64_t size) {
    return ~(multiply(zeros_power(size), UINT32_MAX) ^ parts);
}
