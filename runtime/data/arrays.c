/* Arrays of a data file: their memory, messages, and which reader a file goes to (arrays.h). */
#include "runtime/data/arrays.h"
#include "ir/base/checked.h"
#include "ir/base/memory.h"
#include "runtime/data/safetensors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void data_arrays_init(DataArrays *arrays, const dlc_allocator *allocator) {
    *arrays = (DataArrays){.allocator = allocator};
}

void data_arrays_finish(DataArrays *arrays) {
    for (int32_t i = 0; i < arrays->n_owned; i++) {
        raw_free(arrays->allocator, arrays->owned[i]);
    }
    raw_free(arrays->allocator, arrays->owned);
    raw_free(arrays->allocator, arrays->items);
    file_view_close(&arrays->view);
    data_arrays_init(arrays, arrays->allocator);
}

const DataArray *data_arrays_find(const DataArrays *arrays, const char *name) {
    for (int32_t i = 0; i < arrays->n_items; i++) {
        if (strcmp(arrays->items[i].name, name) == 0) {
            return &arrays->items[i];
        }
    }
    return NULL;
}

bool data_name_taken(const DataArrays *arrays, const DataArray *array) {
    return data_arrays_find(arrays, array->name) != array;
}

dlc_status data_no_memory(const DataInput *input) {
    snprintf(input->message, DATA_MESSAGE_BYTES, "%.400s: out of memory", input->path);
    return DLC_ERROR_OUT_OF_MEMORY;
}

/* What a file holds must not steer the terminal that shows the message. */
static void blank_controls(char *text) {
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            *text = '?';
        }
    }
}

dlc_status data_fail(const DataInput *input, size_t offset, const char *format, ...) {
    char text[240];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    blank_controls(text);
    snprintf(input->message, DATA_MESSAGE_BYTES, "%.230s: offset %zu: %s", input->path, offset,
             text);
    return DLC_ERROR_FORMAT;
}

dlc_status data_fail_line(const DataInput *input, int64_t line, const char *format, ...) {
    char text[240];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    blank_controls(text);
    snprintf(input->message, DATA_MESSAGE_BYTES, "%.230s: line %lld: %s", input->path,
             (long long)line, text);
    return DLC_ERROR_FORMAT;
}

/* Doubles an array of `size`-byte items; false when out of memory. */
static bool grow(const dlc_allocator *allocator, void **items, int32_t *capacity, size_t size) {
    if (*capacity > INT32_MAX / 2) {
        return false;
    }
    int32_t more = *capacity ? *capacity * 2 : 8;
    void *copy = raw_alloc(allocator, (size_t)more * size);
    if (!copy) {
        return false;
    }
    if (*capacity) {
        memcpy(copy, *items, (size_t)*capacity * size);
    }
    raw_free(allocator, *items);
    *items = copy;
    *capacity = more;
    return true;
}

void *data_own(DataArrays *arrays, size_t bytes) {
    void *items = arrays->owned;
    if (arrays->n_owned == arrays->owned_capacity) {
        if (!grow(arrays->allocator, &items, &arrays->owned_capacity, sizeof(void *))) {
            return NULL;
        }
        arrays->owned = items;
    }
    void *memory = raw_alloc(arrays->allocator, bytes);
    if (memory) {
        arrays->owned[arrays->n_owned++] = memory;
    }
    return memory;
}

DataArray *data_add(DataArrays *arrays, const char *name, size_t length) {
    void *items = arrays->items;
    if (arrays->n_items == arrays->capacity) {
        if (!grow(arrays->allocator, &items, &arrays->capacity, sizeof(DataArray))) {
            return NULL;
        }
        arrays->items = items;
    }
    char *copy = data_own(arrays, length + 1);
    if (!copy) {
        return NULL;
    }
    memcpy(copy, name, length);
    copy[length] = '\0';
    DataArray *array = &arrays->items[arrays->n_items++];
    *array = (DataArray){.name = copy};
    return array;
}

bool data_measure(DataArray *array, size_t *out_bytes) {
    int64_t count = 1, bytes;
    bool empty = false;
    for (int32_t i = 0; i < array->rank; i++) {
        if (array->dims[i] < 0) {
            return false;
        }
        /* The dims other than a zero one must fit too: strides are made of them. */
        if (array->dims[i] == 0) {
            empty = true;
        } else if (!checked_mul(count, array->dims[i], &count)) {
            return false;
        }
    }
    if (!checked_mul(count, (int64_t)data_type_bytes(array->type), &bytes)) {
        return false;
    }
    array->n_elements = empty ? 0 : count;
    *out_bytes = empty ? 0 : (size_t)bytes;
    return true;
}

dlc_status raw_read(const DataInput *input, DataType type) {
    size_t bytes = data_type_bytes(type);
    if (input->size % bytes != 0) {
        return data_fail(input, input->size - input->size % bytes,
                         "expected elements of %zu bytes (%s), found a rest of %zu", bytes,
                         data_type_name(type), input->size % bytes);
    }
    DataArray *array = data_add(input->arrays, input->name, strlen(input->name));
    if (!array) {
        return data_no_memory(input);
    }
    array->type = type;
    array->rank = 1;
    array->n_elements = (int64_t)(input->size / bytes);
    array->dims[0] = array->n_elements;
    array->data = input->bytes;
    input->arrays->raw = true;
    return DLC_OK;
}

static dlc_status safetensors_read(const DataInput *input) {
    Safetensors file = {0};
    uint64_t n_header = 0;
    dlc_status status = data_need(input, 0, sizeof(n_header));
    if (status == DLC_OK && input->size >= sizeof(n_header)) {
        memcpy(&n_header, input->bytes, sizeof(n_header));
        status = data_need(input, sizeof(n_header), (size_t)n_header);
    }
    if (status != DLC_OK) {
        return status;
    }
    status = safetensors_parse(&file, input->bytes, input->size, input->path,
                               input->arrays->allocator, input->message);
    for (int32_t i = 0; status == DLC_OK && i < file.n_entries; i++) {
        const SafetensorsEntry *entry = &file.entries[i];
        DataArray *array = data_add(input->arrays, entry->name, strlen(entry->name));
        if (!array) {
            status = data_no_memory(input);
            break;
        }
        array->type = entry->type;
        array->rank = entry->rank;
        memcpy(array->dims, entry->dims, sizeof(array->dims));
        array->n_elements = entry->n_elements;
        array->data = entry->data;
    }
    safetensors_close(&file);
    return status;
}

/* -- Which reader */

static const struct {
    const char *name;
    DataFormat format;
} format_names[] = {
    {"npz", DATA_FORMAT_NPZ}, {"npy", DATA_FORMAT_NPY},  {"csv", DATA_FORMAT_CSV},
    {"idx", DATA_FORMAT_IDX}, {"text", DATA_FORMAT_RAW}, {"safetensors", DATA_FORMAT_SAFETENSORS},
};

bool data_format_from_name(const char *name, DataFormat *out) {
    if (!name) {
        *out = DATA_FORMAT_AUTO;
        return true;
    }
    for (size_t i = 0; i < sizeof(format_names) / sizeof(format_names[0]); i++) {
        if (strcmp(format_names[i].name, name) == 0) {
            *out = format_names[i].format;
            return true;
        }
    }
    return false;
}

static bool ends_with(const char *text, size_t length, const char *ending) {
    size_t n = strlen(ending);
    return length >= n && memcmp(text + length - n, ending, n) == 0;
}

dlc_status data_need(const DataInput *input, size_t at, size_t size) {
    FileView *view = &input->arrays->view;
    if (!file_view_is_partial(view) || input->bytes < view->data ||
        input->bytes >= view->data + view->size) {
        return DLC_OK;
    }
    size_t left = at < input->size ? input->size - at : 0;
    return file_view_need(view, input->path, (size_t)(input->bytes - view->data) + at,
                          size < left ? size : left, input->message);
}

dlc_status data_arrays_need(DataArrays *arrays, const DataArray *array, const char *path,
                            char *message) {
    FileView *view = &arrays->view;
    if (!file_view_is_partial(view) || array->data < view->data ||
        array->data >= view->data + view->size) {
        return DLC_OK;
    }
    size_t bytes = (size_t)array->n_elements * data_type_bytes(array->type);
    return file_view_need(view, path, (size_t)(array->data - view->data), bytes, message);
}

static bool starts_with(const DataInput *input, const char *magic, size_t length) {
    return input->size >= length && memcmp(input->bytes, magic, length) == 0;
}

/* "train-images-idx3-ubyte", "labels.idx", "labels.idx1-ubyte" */
static bool is_idx_name(const char *name, size_t length) {
    if (ends_with(name, length, ".idx")) {
        return true;
    }
    for (size_t i = 0; i + 5 <= length; i++) {
        if ((name[i] == '-' || name[i] == '.') && memcmp(name + i + 1, "idx", 3) == 0 &&
            name[i + 4] >= '1' && name[i + 4] <= '9') {
            return true;
        }
    }
    return false;
}

static DataFormat guess_format(const DataInput *input) {
    size_t length = strlen(input->path);
    if (ends_with(input->path, length, ".gz")) {
        length -= 3;
    }
    for (size_t i = 0; i < sizeof(format_names) / sizeof(format_names[0]); i++) {
        const char *ending = format_names[i].name;
        size_t n = strlen(ending);
        if (length > n && input->path[length - n - 1] == '.' &&
            ends_with(input->path, length, ending)) {
            return format_names[i].format;
        }
    }
    if (ends_with(input->path, length, ".txt") || ends_with(input->path, length, ".bin")) {
        return DATA_FORMAT_RAW;
    }
    if (is_idx_name(input->path, length)) {
        return DATA_FORMAT_IDX;
    }
    if (starts_with(input, "PK\3\4", 4) || starts_with(input, "PK\5\6", 4)) {
        return DATA_FORMAT_NPZ;
    }
    return starts_with(input, "\x93NUMPY", 6) ? DATA_FORMAT_NPY : DATA_FORMAT_AUTO;
}

dlc_status data_arrays_read(const DataInput *input, DataFormat format, DataType raw_type) {
    DataInput unpacked = *input;
    dlc_status status = data_need(input, 0, 16); /* what tells formats apart */
    if (status == DLC_OK && starts_with(input, "\x1f\x8b", 2)) {
        status = data_need(input, 0, input->size);
        if (status == DLC_OK) {
            status = gzip_unpack(input, &unpacked.bytes, &unpacked.size);
        }
    }
    if (format == DATA_FORMAT_AUTO || format == DATA_FORMAT_AUTO_OR_RAW) {
        DataFormat guessed = guess_format(&unpacked);
        bool raw = guessed == DATA_FORMAT_AUTO && format == DATA_FORMAT_AUTO_OR_RAW;
        format = raw ? DATA_FORMAT_RAW : guessed;
    }
    if (status == DLC_OK && format != DATA_FORMAT_NPY && format != DATA_FORMAT_SAFETENSORS &&
        format != DATA_FORMAT_RAW) {
        status = data_need(&unpacked, 0, unpacked.size); /* these are read from end to end */
    }
    if (status != DLC_OK) {
        return status;
    }
    switch (format) {
    case DATA_FORMAT_NPZ:
        return npz_read(&unpacked);
    case DATA_FORMAT_NPY:
        return npy_read(&unpacked);
    case DATA_FORMAT_CSV:
        return csv_read(&unpacked);
    case DATA_FORMAT_IDX:
        return idx_read(&unpacked);
    case DATA_FORMAT_SAFETENSORS:
        return safetensors_read(&unpacked);
    case DATA_FORMAT_RAW:
        return raw_read(&unpacked, raw_type);
    default:
        snprintf(
            input->message, DATA_MESSAGE_BYTES,
            "%.300s: cannot tell the format from name or content; expected npz, npy, csv, idx, "
            "safetensors, txt or bin",
            input->path);
        return DLC_ERROR_UNSUPPORTED;
    }
}

/* The file's name without folder, ".gz" and one more ending. */
static char *stem_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char *stem = strdup(slash ? slash + 1 : path);
    if (stem) {
        size_t length = strlen(stem);
        if (ends_with(stem, length, ".gz")) {
            stem[length - 3] = '\0';
        }
        char *dot = strrchr(stem, '.');
        if (dot && dot != stem) {
            *dot = '\0';
        }
    }
    return stem;
}

dlc_status data_arrays_open(DataArrays *arrays, const char *path, DataFormat format,
                            DataType raw_type, const char *name, char *message) {
    dlc_status status = file_view_open_partly(path, DATA_WHOLE_BYTES, &arrays->view, message);
    if (status != DLC_OK) {
        return status;
    }
    char *stem = name ? NULL : stem_of(path);
    DataInput input = {.path = path,
                       .name = name ? name : stem,
                       .bytes = arrays->view.data,
                       .size = arrays->view.size,
                       .arrays = arrays,
                       .message = message};
    status = input.name ? data_arrays_read(&input, format, raw_type) : data_no_memory(&input);
    free(stem);
    if (status != DLC_OK) {
        data_arrays_finish(arrays);
    }
    return status;
}
