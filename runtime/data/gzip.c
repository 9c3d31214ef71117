/* Unpacking gzip files (RFC 1952) in memory, of one or several members. */
#include "runtime/data/arrays.h"

#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST
#include <zlib.h>

/* What was unpacked so far; grown by copying, since only the last block is kept in the arrays. */
typedef struct GrowingBytes {
    uint8_t *data;
    size_t size, capacity;
} GrowingBytes;

static bool make_room(GrowingBytes *bytes) {
    if (bytes->size < bytes->capacity) {
        return true;
    }
    size_t capacity = bytes->capacity ? bytes->capacity * 2 : 1 << 16;
    uint8_t *data = capacity > bytes->capacity ? realloc(bytes->data, capacity) : NULL;
    if (data) {
        bytes->data = data;
        bytes->capacity = capacity;
    }
    return data != NULL;
}

static uInt at_most_1g(size_t bytes) {
    return bytes > (1u << 30) ? 1u << 30 : (uInt)bytes;
}

/* One member from offset *at on. */
static dlc_status unpack_member(const DataInput *input, z_stream *stream, size_t *at,
                                GrowingBytes *out) {
    int code = Z_OK;
    while (code == Z_OK) {
        if (!make_room(out)) {
            return data_no_memory(input);
        }
        stream->next_in = input->bytes + *at;
        stream->avail_in = at_most_1g(input->size - *at);
        stream->next_out = out->data + out->size;
        stream->avail_out = at_most_1g(out->capacity - out->size);
        uInt in_before = stream->avail_in, out_before = stream->avail_out;
        code = inflate(stream, Z_NO_FLUSH);
        *at += in_before - stream->avail_in;
        out->size += out_before - stream->avail_out;
        if (code == Z_BUF_ERROR && *at == input->size) {
            return data_fail(input, *at, "the gzip data end too early; the file is truncated");
        }
    }
    if (code == Z_MEM_ERROR) {
        return data_no_memory(input);
    }
    if (code != Z_STREAM_END) {
        return data_fail(input, *at, "damaged gzip data: %s", stream->msg ? stream->msg : "zlib");
    }
    return DLC_OK;
}

dlc_status gzip_unpack(const DataInput *input, const uint8_t **out_bytes, size_t *out_size) {
    z_stream stream = {0};
    if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) {
        return data_no_memory(input);
    }
    GrowingBytes bytes = {0};
    size_t at = 0;
    dlc_status status = DLC_OK;
    while (status == DLC_OK && at < input->size) {
        status = unpack_member(input, &stream, &at, &bytes);
        if (status == DLC_OK && inflateReset(&stream) != Z_OK) {
            status = data_no_memory(input);
        }
    }
    inflateEnd(&stream);
    uint8_t *memory = status == DLC_OK ? data_own(input->arrays, bytes.size) : NULL;
    if (memory) {
        if (bytes.size) {
            memcpy(memory, bytes.data, bytes.size);
        }
        *out_bytes = memory;
        *out_size = bytes.size;
    } else if (status == DLC_OK) {
        status = data_no_memory(input);
    }
    free(bytes.data);
    return status;
}
