/* libFuzzer target: any bytes as a data file of one format are read or refused with a message. The
 * checksums of the entries are made right first, so that the fuzzer gets past them. */
#include "tests/fuzz/fuzz_data.h"

#include <zlib.h>

enum { LOCAL = 30, CENTRAL = 46, MOST_UNPACKED = 1 << 20 };

static uint64_t load(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--) {
        value = value << 8 | at[i];
    }
    return value;
}

/* Of what the deflated bytes hold; false: they are damaged, or hold more than is wanted. */
static bool unpacked_crc(const uint8_t *packed, size_t n_packed, uint32_t *out) {
    static uint8_t unpacked[MOST_UNPACKED];
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)packed,
                       .avail_in = (uInt)n_packed,
                       .next_out = unpacked,
                       .avail_out = MOST_UNPACKED};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
        return false;
    }
    bool whole = inflate(&stream, Z_FINISH) == Z_STREAM_END;
    *out = (uint32_t)crc32(0, unpacked, (uInt)stream.total_out);
    inflateEnd(&stream);
    return whole;
}

/* The entry of the directory at `at`. */
static void mend_entry(uint8_t *bytes, size_t size, size_t at) {
    uint64_t method = load(bytes + at + 10, 2), packed = load(bytes + at + 20, 4);
    uint64_t local = load(bytes + at + 42, 4);
    uint32_t crc;
    if (local > size || size - local < LOCAL) {
        return;
    }
    uint64_t start = local + LOCAL + load(bytes + local + 26, 2) + load(bytes + local + 28, 2);
    if (start > size || packed > size - start) {
        return;
    }
    if (method == 8) {
        if (!unpacked_crc(bytes + start, (size_t)packed, &crc)) {
            return;
        }
    } else {
        crc = (uint32_t)crc32(0, bytes + start, (uInt)packed);
    }
    for (int i = 0; i < 4; i++) {
        bytes[at + 16 + (size_t)i] = (uint8_t)(crc >> (8 * i));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size + 1);
    if (!copy) {
        return 0;
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    for (size_t at = 0; size >= CENTRAL && at <= size - CENTRAL; at++) {
        if (load(copy + at, 4) == 0x02014b50) {
            mend_entry(copy, size, at);
        }
    }
    fuzz_read(copy, size, DATA_FORMAT_NPZ);
    free(copy);
    return 0;
}
