/* NumPy's .npz: a ZIP archive of .npy files, stored or deflated, zip64 included; and gzip.
 * Everything is read by way of the central directory (PKWARE APPNOTE 6.3); local headers are only
 * checked. No two entries may share bytes, so that a small file cannot claim to be an endless one.
 */
#include "runtime/data/arrays.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST
#include <zlib.h>

enum {
    LOCAL_BYTES = 30,
    CENTRAL_BYTES = 46,
    END_BYTES = 22,
    LOCATOR64_BYTES = 20,
    END64_BYTES = 56,
    MAX_ENTRIES = 8192,
    DEFLATE_MAX_RATIO = 1032 /* zlib's technical notes */
};

typedef struct ZipEntry {
    const char *name;
    size_t name_length;
    uint64_t packed, unpacked, local; /* bytes, bytes, offset */
    uint64_t start;                   /* offset of the packed bytes */
    uint32_t crc;
    uint16_t method;
    size_t at; /* offset of the entry in the central directory */
} ZipEntry;

typedef struct ZipDirectory {
    uint64_t n_entries, offset, bytes;
} ZipDirectory;

static uint64_t load(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--) {
        value = value << 8 | at[i];
    }
    return value;
}

/* The zip64 end record, if the locator before the end record names one. */
static dlc_status read_end64(const DataInput *input, size_t end, ZipDirectory *out, bool *found) {
    const uint8_t *bytes = input->bytes;
    *found = end >= LOCATOR64_BYTES && load(bytes + end - LOCATOR64_BYTES, 4) == 0x07064b50;
    if (!*found) {
        return DLC_OK;
    }
    uint64_t at = load(bytes + end - LOCATOR64_BYTES + 8, 8);
    if (at > input->size || input->size - at < END64_BYTES || load(bytes + at, 4) != 0x06064b50) {
        return data_fail(input, end - LOCATOR64_BYTES,
                         "ZIP64 locator points to offset %llu, where no end record is",
                         (unsigned long long)at);
    }
    out->n_entries = load(bytes + at + 32, 8);
    out->bytes = load(bytes + at + 40, 8);
    out->offset = load(bytes + at + 48, 8);
    return DLC_OK;
}

static dlc_status read_end(const DataInput *input, ZipDirectory *out) {
    const uint8_t *bytes = input->bytes;
    if (input->size < END_BYTES) {
        return data_fail(input, 0, "expected a ZIP archive, found %zu bytes", input->size);
    }
    size_t end = input->size - END_BYTES, lowest = end > 65535 ? end - 65535 : 0;
    while (load(bytes + end, 4) != 0x06054b50 ||
           end + END_BYTES + load(bytes + end + 20, 2) != input->size) {
        if (end == lowest) {
            return data_fail(input, input->size,
                             "expected a ZIP end record; the file is truncated or no ZIP archive");
        }
        end--;
    }
    out->n_entries = load(bytes + end + 10, 2);
    out->bytes = load(bytes + end + 12, 4);
    out->offset = load(bytes + end + 16, 4);
    bool is_64;
    dlc_status status = read_end64(input, end, out, &is_64);
    if (status != DLC_OK) {
        return status;
    }
    if (!is_64 && (load(bytes + end + 4, 2) != 0 || load(bytes + end + 6, 2) != 0)) {
        return data_fail(input, end + 4, "ZIP archives in several parts are not supported");
    }
    if (out->offset > end || out->bytes > end - out->offset) {
        return data_fail(input, end + 12,
                         "ZIP directory of %llu bytes at offset %llu does not lie in the file",
                         (unsigned long long)out->bytes, (unsigned long long)out->offset);
    }
    if (out->n_entries > MAX_ENTRIES || out->n_entries * CENTRAL_BYTES > out->bytes) {
        return data_fail(input, end + 10, "ZIP directory of %llu bytes cannot hold %llu entries",
                         (unsigned long long)out->bytes, (unsigned long long)out->n_entries);
    }
    return DLC_OK;
}

/* Sizes of 0xFFFFFFFF stand in the zip64 extra field, in this order. */
static dlc_status read_extra64(const DataInput *input, size_t at, size_t length, ZipEntry *entry) {
    uint64_t *fields[] = {&entry->unpacked, &entry->packed, &entry->local};
    bool wanted =
        entry->unpacked == UINT32_MAX || entry->packed == UINT32_MAX || entry->local == UINT32_MAX;
    size_t end = at + length;
    while (wanted && end - at >= 4) {
        uint64_t id = load(input->bytes + at, 2), size = load(input->bytes + at + 2, 2);
        at += 4;
        if (size > end - at) {
            return data_fail(input, at - 4, "ZIP extra field of %llu bytes exceeds its entry",
                             (unsigned long long)size);
        }
        for (size_t i = 0, used = 0; id == 1 && i < 3; i++) {
            if (*fields[i] == UINT32_MAX) {
                if (size - used < 8) {
                    return data_fail(input, at, "ZIP64 extra field is too short");
                }
                *fields[i] = load(input->bytes + at + used, 8);
                used += 8;
            }
        }
        wanted = id != 1;
        at += size;
    }
    return DLC_OK;
}

/* Checks the local header and finds the packed bytes. */
static dlc_status locate(const DataInput *input, const ZipDirectory *directory, ZipEntry *entry) {
    uint64_t limit = directory->offset;
    if (entry->local > limit || limit - entry->local < LOCAL_BYTES ||
        load(input->bytes + entry->local, 4) != 0x04034b50) {
        return data_fail(input, entry->at,
                         "ZIP entry '%.*s' points to offset %llu, where no entry is",
                         (int)entry->name_length, entry->name, (unsigned long long)entry->local);
    }
    const uint8_t *local = input->bytes + entry->local;
    size_t name_length = (size_t)load(local + 26, 2), extra = (size_t)load(local + 28, 2);
    entry->start = entry->local + LOCAL_BYTES + name_length + extra;
    if (entry->start > limit || entry->packed > limit - entry->start) {
        return data_fail(
            input, (size_t)entry->local,
            "ZIP entry '%.*s' says %llu bytes, the file has fewer before its directory",
            (int)entry->name_length, entry->name, (unsigned long long)entry->packed);
    }
    if (name_length != entry->name_length ||
        memcmp(local + LOCAL_BYTES, entry->name, name_length) != 0) {
        return data_fail(input, (size_t)entry->local, "ZIP entry '%.*s' has another name here",
                         (int)entry->name_length, entry->name);
    }
    return DLC_OK;
}

static dlc_status read_entry(const DataInput *input, const ZipDirectory *directory, size_t *at,
                             ZipEntry *out) {
    const uint8_t *bytes = input->bytes + *at;
    size_t end = (size_t)(directory->offset + directory->bytes), left = end - *at;
    if (left < CENTRAL_BYTES || load(bytes, 4) != 0x02014b50) {
        return data_fail(input, *at, "expected a ZIP directory entry");
    }
    size_t name = (size_t)load(bytes + 28, 2), extra = (size_t)load(bytes + 30, 2);
    size_t comment = (size_t)load(bytes + 32, 2);
    if (name + extra + comment > left - CENTRAL_BYTES) {
        return data_fail(input, *at + 28, "ZIP directory entry exceeds the directory");
    }
    *out = (ZipEntry){.name = (const char *)bytes + CENTRAL_BYTES,
                      .name_length = name,
                      .packed = load(bytes + 20, 4),
                      .unpacked = load(bytes + 24, 4),
                      .local = load(bytes + 42, 4),
                      .crc = (uint32_t)load(bytes + 16, 4),
                      .method = (uint16_t)load(bytes + 10, 2),
                      .at = *at};
    if (load(bytes + 8, 2) & 1) {
        return data_fail(input, *at + 8, "ZIP entry is encrypted");
    }
    dlc_status status = read_extra64(input, *at + CENTRAL_BYTES + name, extra, out);
    if (status != DLC_OK) {
        return status;
    }
    *at += CENTRAL_BYTES + name + extra + comment;
    if (memchr(out->name, '\0', name) || name < 5 || memcmp(out->name + name - 4, ".npy", 4) != 0) {
        return data_fail(input, out->at + CENTRAL_BYTES,
                         "ZIP entry '%.*s' is not an array (its name must end in .npy)", (int)name,
                         out->name);
    }
    return locate(input, directory, out);
}

static int entry_compare(const void *left, const void *right) {
    const ZipEntry *a = left, *b = right;
    return a->local < b->local ? -1 : a->local > b->local;
}

static dlc_status check_overlap(const DataInput *input, ZipEntry *entries, size_t n_entries) {
    qsort(entries, n_entries, sizeof(*entries), entry_compare);
    for (size_t i = 1; i < n_entries; i++) {
        if (entries[i].local < entries[i - 1].start + entries[i - 1].packed) {
            return data_fail(input, (size_t)entries[i].local,
                             "ZIP entries '%.*s' and '%.*s' overlap",
                             (int)entries[i - 1].name_length, entries[i - 1].name,
                             (int)entries[i].name_length, entries[i].name);
        }
    }
    return DLC_OK;
}

/* Feeds zlib in pieces, whose counts are 32-bit. Returns whether exactly out_size bytes came out.
 */
static bool inflate_exactly(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size) {
    z_stream stream = {0};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
        return false;
    }
    size_t in_left = in_size, out_left = out_size;
    int code = Z_OK;
    stream.next_in = in;
    stream.next_out = out;
    while (code == Z_OK) {
        stream.avail_in = in_left > (1u << 30) ? 1u << 30 : (uInt)in_left;
        stream.avail_out = out_left > (1u << 30) ? 1u << 30 : (uInt)out_left;
        uInt in_before = stream.avail_in, out_before = stream.avail_out;
        code = inflate(&stream, Z_NO_FLUSH);
        in_left -= in_before - stream.avail_in;
        out_left -= out_before - stream.avail_out;
        if (code == Z_OK && in_before == stream.avail_in && out_before == stream.avail_out) {
            break;
        }
    }
    inflateEnd(&stream);
    return code == Z_STREAM_END && in_left == 0 && out_left == 0;
}

static dlc_status unpack(const DataInput *input, const ZipEntry *entry, const uint8_t **out) {
    const uint8_t *packed = input->bytes + entry->start;
    if (entry->method == 0) {
        if (entry->packed != entry->unpacked) {
            return data_fail(
                input, entry->at + 20, "stored ZIP entry '%.*s' has two sizes, %llu and %llu",
                (int)entry->name_length, entry->name, (unsigned long long)entry->packed,
                (unsigned long long)entry->unpacked);
        }
        *out = packed;
    } else if (entry->method == 8) {
        if (entry->unpacked / DEFLATE_MAX_RATIO > entry->packed + 1) {
            return data_fail(input, entry->at + 24, "%llu packed bytes of '%.*s' cannot give %llu",
                             (unsigned long long)entry->packed, (int)entry->name_length,
                             entry->name, (unsigned long long)entry->unpacked);
        }
        uint8_t *memory = data_own(input->arrays, (size_t)entry->unpacked);
        if (!memory) {
            return data_no_memory(input);
        }
        if (!inflate_exactly(packed, (size_t)entry->packed, memory, (size_t)entry->unpacked)) {
            return data_fail(input, (size_t)entry->start,
                             "expected %llu bytes from the deflated entry '%.*s'; it is damaged",
                             (unsigned long long)entry->unpacked, (int)entry->name_length,
                             entry->name);
        }
        *out = memory;
    } else {
        data_fail(input, entry->at + 10,
                  "ZIP method %u is not supported; expected stored or deflated", entry->method);
        return DLC_ERROR_UNSUPPORTED;
    }
    uLong crc = crc32_z(0, *out, (size_t)entry->unpacked);
    if (crc != entry->crc) {
        return data_fail(input, (size_t)entry->start,
                         "ZIP entry '%.*s' is damaged: checksum %08lx, expected %08lx",
                         (int)entry->name_length, entry->name, crc, (unsigned long)entry->crc);
    }
    return DLC_OK;
}

static dlc_status add_entry(const DataInput *input, const ZipEntry *entry) {
    const uint8_t *bytes = NULL;
    dlc_status status = unpack(input, entry, &bytes);
    if (status != DLC_OK) {
        return status;
    }
    char path[256], name[256];
    if (entry->name_length - 4 >= sizeof(name)) {
        return data_fail(input, entry->at, "the array's name has more than 255 bytes");
    }
    memcpy(name, entry->name, entry->name_length - 4);
    name[entry->name_length - 4] = '\0';
    snprintf(path, sizeof(path), "%.150s:%.70s", input->path, name);
    DataInput inner = *input;
    inner.path = path;
    inner.name = name;
    inner.bytes = bytes;
    inner.size = (size_t)entry->unpacked;
    status = npy_read(&inner);
    if (status == DLC_OK &&
        data_name_taken(input->arrays, &input->arrays->items[input->arrays->n_items - 1])) {
        return data_fail(input, entry->at, "two arrays are named '%s'", name);
    }
    return status;
}

dlc_status npz_read(const DataInput *input) {
    ZipDirectory directory = {0};
    dlc_status status = read_end(input, &directory);
    if (status != DLC_OK) {
        return status;
    }
    size_t n_entries = (size_t)directory.n_entries, at = (size_t)directory.offset;
    ZipEntry *entries = data_own(input->arrays, 2 * n_entries * sizeof(*entries));
    if (!entries) {
        return data_no_memory(input);
    }
    for (size_t i = 0; i < n_entries && status == DLC_OK; i++) {
        status = read_entry(input, &directory, &at, &entries[i]);
    }
    if (status == DLC_OK && n_entries > 0) {
        memcpy(entries + n_entries, entries, n_entries * sizeof(*entries));
        status = check_overlap(input, entries + n_entries, n_entries);
    }
    for (size_t i = 0; i < n_entries && status == DLC_OK; i++) {
        status = add_entry(input, &entries[i]);
    }
    return status;
}
