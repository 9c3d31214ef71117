/* NumPy's .npy: versions 1, 2 and 3, either byte order, C or Fortran order; and the writer.
 * Format: numpy.lib.format. The header is a Python dict literal with exactly the keys descr,
 * fortran_order and shape. */
#include "ir/base/memory.h"
#include "ir/base/str.h"
#include "runtime/data/arrays.h"

#include <stdio.h>
#include <string.h>

typedef struct NpyHeader {
    DataType type;
    bool big_endian, fortran;
    int32_t rank;
    int64_t dims[DATA_MAX_RANK];
} NpyHeader;

/* Place in the header's text; `status` is set by the first failure. */
typedef struct NpyCursor {
    const DataInput *input;
    size_t at, end; /* offsets in the file */
    dlc_status status;
} NpyCursor;

static void skip_space(NpyCursor *cursor) {
    const uint8_t *bytes = cursor->input->bytes;
    while (cursor->at < cursor->end && (bytes[cursor->at] == ' ' || bytes[cursor->at] == '\n' ||
                                        bytes[cursor->at] == '\t' || bytes[cursor->at] == '\r')) {
        cursor->at++;
    }
}

static bool accept(NpyCursor *cursor, char c) {
    skip_space(cursor);
    if (cursor->at < cursor->end && cursor->input->bytes[cursor->at] == (uint8_t)c) {
        cursor->at++;
        return true;
    }
    return false;
}

static bool expect(NpyCursor *cursor, char c) {
    if (accept(cursor, c)) {
        return true;
    }
    cursor->status = data_fail(cursor->input, cursor->at, "NPY header: expected '%c', found %s", c,
                               cursor->at < cursor->end ? "another character" : "the header's end");
    return false;
}

/* A quoted word without escapes, in `out` with its NUL. */
static bool read_word(NpyCursor *cursor, char *out, size_t room) {
    char quote = accept(cursor, '\'') ? '\'' : '"';
    if (quote == '"' && !expect(cursor, '"')) {
        return false;
    }
    size_t start = cursor->at, length = 0;
    while (cursor->at < cursor->end && cursor->input->bytes[cursor->at] != (uint8_t)quote) {
        uint8_t c = cursor->input->bytes[cursor->at++];
        if (length + 1 == room || c < ' ' || c >= 0x7f || c == '\\') {
            cursor->status = data_fail(cursor->input, start,
                                       "NPY header: expected a short plain "
                                       "word in quotes");
            return false;
        }
        out[length++] = (char)c;
    }
    out[length] = '\0';
    return expect(cursor, quote);
}

static bool read_shape(NpyCursor *cursor, NpyHeader *header) {
    if (!expect(cursor, '(')) {
        return false;
    }
    while (!accept(cursor, ')')) {
        skip_space(cursor);
        size_t start = cursor->at;
        int64_t value = 0;
        while (cursor->at < cursor->end && cursor->input->bytes[cursor->at] >= '0' &&
               cursor->input->bytes[cursor->at] <= '9') {
            if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, cursor->input->bytes[cursor->at] - '0', &value)) {
                cursor->status = data_fail(cursor->input, start, "NPY header: size too large");
                return false;
            }
            cursor->at++;
        }
        if (cursor->at == start || header->rank == DATA_MAX_RANK) {
            cursor->status =
                data_fail(cursor->input, start, "NPY header: expected a shape of at most %d sizes",
                          (int)DATA_MAX_RANK);
            return false;
        }
        header->dims[header->rank++] = value;
        accept(cursor, 'L'); /* Python 2 wrote long integers so */
        if (!accept(cursor, ',')) {
            return expect(cursor, ')');
        }
    }
    return true;
}

static bool read_type(NpyCursor *cursor, NpyHeader *header) {
    static const struct {
        const char *code;
        DataType type;
    } types[] = {{"f8", DATA_F64}, {"f4", DATA_F32}, {"f2", DATA_F16}, {"i8", DATA_I64},
                 {"i4", DATA_I32}, {"i2", DATA_I16}, {"i1", DATA_I8},  {"u8", DATA_U64},
                 {"u4", DATA_U32}, {"u2", DATA_U16}, {"u1", DATA_U8},  {"b1", DATA_BOOL}};
    char word[24];
    skip_space(cursor);
    size_t start = cursor->at;
    if (!read_word(cursor, word, sizeof(word))) {
        return false;
    }
    const char *code = word[0] && strchr("<>|=", word[0]) ? word + 1 : word;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].code, code) == 0) {
            header->type = types[i].type;
            header->big_endian = word[0] == '>';
            return true;
        }
    }
    data_fail(cursor->input, start,
              "NPY header: element type '%s' is not supported; expected floats, integers or bool",
              word);
    cursor->status = DLC_ERROR_UNSUPPORTED;
    return false;
}

static bool read_bool(NpyCursor *cursor, bool *out) {
    skip_space(cursor);
    const char *text = (const char *)cursor->input->bytes + cursor->at;
    size_t left = cursor->end - cursor->at;
    if (left >= 4 && memcmp(text, "True", 4) == 0) {
        *out = true;
        cursor->at += 4;
        return true;
    }
    if (left >= 5 && memcmp(text, "False", 5) == 0) {
        *out = false;
        cursor->at += 5;
        return true;
    }
    cursor->status = data_fail(cursor->input, cursor->at, "NPY header: expected True or False");
    return false;
}

static bool read_dict(NpyCursor *cursor, NpyHeader *header) {
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    unsigned seen = 0;
    if (!expect(cursor, '{')) {
        return false;
    }
    while (!accept(cursor, '}')) {
        char key[24];
        skip_space(cursor);
        size_t start = cursor->at;
        if (!read_word(cursor, key, sizeof(key)) || !expect(cursor, ':')) {
            return false;
        }
        unsigned which = 0;
        while (which < 3 && strcmp(keys[which], key) != 0) {
            which++;
        }
        if (which == 3 || (seen & (1u << which))) {
            cursor->status = data_fail(cursor->input, start, "NPY header: %s key '%s'",
                                       which == 3 ? "unknown" : "repeated", key);
            return false;
        }
        seen |= 1u << which;
        bool ok = which == 0   ? read_type(cursor, header)
                  : which == 1 ? read_bool(cursor, &header->fortran)
                               : read_shape(cursor, header);
        if (!ok) {
            return false;
        }
        if (!accept(cursor, ',')) {
            if (!expect(cursor, '}')) {
                return false;
            }
            break;
        }
    }
    skip_space(cursor);
    if (cursor->at != cursor->end || seen != 7) {
        cursor->status = data_fail(cursor->input, cursor->at, "NPY header: %s",
                                   seen != 7 ? "expected descr, fortran_order and shape"
                                             : "text after the dict");
        return false;
    }
    return true;
}

static void copy_element(uint8_t *to, const uint8_t *from, size_t bytes, bool swap) {
    if (!swap) {
        memcpy(to, from, bytes);
        return;
    }
    for (size_t i = 0; i < bytes; i++) {
        to[i] = from[bytes - 1 - i];
    }
}

/* Row-major, little-endian copy of `from`. */
static void rearrange(uint8_t *to, const uint8_t *from, const NpyHeader *header, int64_t count) {
    size_t bytes = data_type_bytes(header->type);
    int64_t index[DATA_MAX_RANK] = {0}, stride[DATA_MAX_RANK], step = 1, at = 0;
    for (int32_t i = 0; i < header->rank; i++) { /* in elements; Fortran: the first axis is dense */
        int32_t axis = header->fortran ? i : header->rank - 1 - i;
        stride[axis] = step;
        step *= header->dims[axis];
    }
    for (int64_t n = 0; n < count; n++) {
        copy_element(to + (size_t)n * bytes, from + (size_t)at * bytes, bytes, header->big_endian);
        for (int32_t axis = header->rank - 1; axis >= 0; axis--) {
            at += stride[axis];
            if (++index[axis] < header->dims[axis]) {
                break;
            }
            at -= stride[axis] * header->dims[axis];
            index[axis] = 0;
        }
    }
}

static dlc_status add_array(const DataInput *input, const NpyHeader *header, size_t start) {
    DataArray *array = data_add(input->arrays, input->name, strlen(input->name));
    if (!array) {
        return data_no_memory(input);
    }
    size_t bytes;
    array->type = header->type;
    array->rank = header->rank;
    memcpy(array->dims, header->dims, sizeof(array->dims));
    if (!data_measure(array, &bytes)) {
        return data_fail(input, start, "NPY header: the shape has more elements than can be");
    }
    if (input->size - start != bytes) {
        return data_fail(input, start, "expected %zu bytes of NPY data for the shape, found %zu",
                         bytes, input->size - start);
    }
    array->data = input->bytes + start;
    bool swap = header->big_endian && data_type_bytes(header->type) > 1;
    bool rearranged = swap || (header->fortran && header->rank > 1);
    if (rearranged || header->type == DATA_BOOL) {
        dlc_status status = data_need(input, start, bytes);
        if (status != DLC_OK) {
            return status;
        }
    }
    if (rearranged && bytes > 0) {
        uint8_t *copy = data_own(input->arrays, bytes);
        if (!copy) {
            return data_no_memory(input);
        }
        rearrange(copy, array->data, header, array->n_elements);
        array->data = copy;
    }
    for (size_t i = 0; header->type == DATA_BOOL && i < bytes; i++) {
        if (array->data[i] > 1) {
            return data_fail(input, start, "expected bool values 0 or 1, found %u", array->data[i]);
        }
    }
    return DLC_OK;
}

dlc_status npy_read(const DataInput *input) {
    const uint8_t *bytes = input->bytes;
    dlc_status status = data_need(input, 0, 12);
    if (status != DLC_OK) {
        return status;
    }
    if (input->size < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0) {
        return data_fail(input, 0, "expected an NPY header of at least 10 bytes, found %s",
                         input->size < 10 ? "the end of the file" : "other bytes");
    }
    if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0) {
        return data_fail(input, 6, "expected NPY version 1.0, 2.0 or 3.0, found %u.%u", bytes[6],
                         bytes[7]);
    }
    size_t length, start;
    if (bytes[6] == 1) {
        start = 10;
        length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    } else {
        start = 12;
        if (input->size < start) {
            return data_fail(input, 8, "expected the header's length, found the end of the file");
        }
        length = (size_t)bytes[8] | (size_t)bytes[9] << 8 | (size_t)bytes[10] << 16 |
                 (size_t)bytes[11] << 24;
    }
    if (length > input->size - start) {
        return data_fail(input, 8, "NPY header says %zu bytes, the file has %zu left", length,
                         input->size - start);
    }
    status = data_need(input, start, length);
    if (status != DLC_OK) {
        return status;
    }
    NpyHeader header = {.type = DATA_F32};
    NpyCursor cursor = {.input = input, .at = start, .end = start + length, .status = DLC_OK};
    if (!read_dict(&cursor, &header)) {
        return cursor.status;
    }
    return add_array(input, &header, start + length);
}

/* -- Writing */

static void add_header(Str *out, PlanDType type, int32_t rank, const int64_t *dims) {
    static const char *const codes[PLAN_N_DTYPES] = {
        [PLAN_F64] = "<f8",  [PLAN_F32] = "<f4", [PLAN_F16] = "<f2",
        [PLAN_BF16] = "<f4", [PLAN_I64] = "<i8", [PLAN_I32] = "<i4",
        [PLAN_I8] = "|i1",   [PLAN_U8] = "|u1",  [PLAN_BOOL] = "|b1"};
    str_addf(out, "{'descr': '%s', 'fortran_order': False, 'shape': (", codes[type]);
    for (int32_t i = 0; i < rank; i++) {
        str_addf(out, i ? ", %lld" : "%lld", (long long)dims[i]);
    }
    str_add(out, rank == 1 ? ",), }" : "), }");
    while ((out->length + 11) % 64 != 0 && !out->failed) {
        str_add_char(out, ' ');
    }
    str_add_char(out, '\n');
}

dlc_status npy_write(const char *path, PlanDType type, int32_t rank, const int64_t *dims,
                     const void *data, const dlc_allocator *allocator, char *message) {
    DataArray array = {.type = (DataType)type, .rank = rank};
    size_t bytes;
    for (int32_t i = 0; i < rank && i < DATA_MAX_RANK; i++) {
        array.dims[i] = dims[i];
    }
    if (rank > DATA_MAX_RANK || !data_measure(&array, &bytes)) {
        snprintf(message, DATA_MESSAGE_BYTES, "%s: not a shape that NPY can hold", path);
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    Str header;
    str_init(&header, allocator);
    add_header(&header, type, rank, dims);
    float *wide = NULL;
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    snprintf(message, DATA_MESSAGE_BYTES, "%s: out of memory", path);
    if (type == PLAN_BF16) {
        int64_t bad;
        bytes *= 2;
        wide = raw_alloc(allocator, bytes + 1);
        if (!wide) {
            goto done;
        }
        data_convert(data, DATA_BF16, wide, PLAN_F32, array.n_elements, 1.0, &bad);
    }
    if (!header.failed) {
        uint8_t start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
        start[8] = (uint8_t)(header.length & 0xFF);
        start[9] = (uint8_t)(header.length >> 8);
        const void *parts[] = {start, header.text, wide ? wide : data};
        const size_t lengths[] = {sizeof(start), header.length, bytes};
        status = file_write(path, parts, lengths, 3, message);
    }
done:
    raw_free(allocator, wide);
    str_finish(&header);
    return status;
}
