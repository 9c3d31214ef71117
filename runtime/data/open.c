/* Opens a data file: its format by name or content, gzip unpacked, then the reader of that format.
 */
#include "ir/base/memory.h"
#include "runtime/data/arrays.h"
#include "runtime/data/safetensors.h"
#include <stdio.h>
#include <string.h>

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

const char *data_format_name(int i) {
    const int count = (int)(sizeof(format_names) / sizeof(format_names[0]));
    return i < count ? format_names[i].name : NULL;
}

static bool ends_with(const char *text, size_t length, const char *ending) {
    size_t n = strlen(ending);
    return length >= n && memcmp(text + length - n, ending, n) == 0;
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
