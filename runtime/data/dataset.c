/* Datasets over the arrays of one or several files (dataset.h). */
#include "runtime/data/dataset.h"
#include "ir/base/ascii.h"
#include "ir/base/checked.h"
#include "ir/base/memory.h"
#include "ir/base/str.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static dlc_status no_memory(const char *path, char *message) {
    snprintf(message, DATA_MESSAGE_BYTES, "%.400s: out of memory", path);
    return DLC_ERROR_OUT_OF_MEMORY;
}

void dataset_init(Dataset *out, const dlc_allocator *allocator) {
    *out = (Dataset){.allocator = allocator, .n_rows = -1};
}

void dataset_close(Dataset *dataset) {
    for (int32_t i = 0; i < dataset->n_files; i++) {
        data_arrays_finish(&dataset->files[i]);
    }
    raw_free(dataset->allocator, dataset->files);
    raw_free(dataset->allocator, dataset->fields);
    dataset_init(dataset, dataset->allocator);
}

int64_t dataset_rows(const Dataset *dataset) {
    return dataset->n_rows < 0 ? 0 : dataset->n_rows;
}

const DataField *dataset_field(const Dataset *dataset, const char *name) {
    for (int32_t i = 0; i < dataset->n_fields; i++) {
        if (strcmp(dataset->fields[i].name, name) == 0) {
            return &dataset->fields[i];
        }
    }
    return NULL;
}

bool dataset_unreadable(const Dataset *dataset, const char *name, char *message) {
    for (int32_t i = 0; i < dataset->n_files; i++) {
        const DataArray *array = data_arrays_find(&dataset->files[i], name);
        if (array && array->unreadable) {
            snprintf(message, DATA_MESSAGE_BYTES, "%s", array->unreadable);
            return true;
        }
    }
    return false;
}

static dlc_status add_field(Dataset *dataset, const DataField *field, char *message) {
    const DataField *same = dataset_field(dataset, field->name);
    if (same) {
        snprintf(message, DATA_MESSAGE_BYTES, "%.200s: field '%.60s' is also in %.200s",
                 field->path, field->name, same->path);
        return DLC_ERROR_MISMATCH;
    }
    if (dataset->n_fields > 0 && field->n_rows != dataset->n_rows) {
        const DataField *first = &dataset->fields[0];
        snprintf(message, DATA_MESSAGE_BYTES,
                 "%.200s: field '%.60s' has %lld rows, field '%.60s' of %.100s has %lld",
                 field->path, field->name, (long long)field->n_rows, first->name, first->path,
                 (long long)first->n_rows);
        return DLC_ERROR_MISMATCH;
    }
    if (dataset->n_fields == dataset->capacity) {
        int32_t more = dataset->capacity ? dataset->capacity * 2 : 8;
        DataField *fields = raw_alloc(dataset->allocator, (size_t)more * sizeof(*fields));
        if (!fields) {
            return no_memory(field->path, message);
        }
        if (dataset->n_fields) {
            memcpy(fields, dataset->fields, (size_t)dataset->n_fields * sizeof(*fields));
        }
        raw_free(dataset->allocator, dataset->fields);
        dataset->fields = fields;
        dataset->capacity = more;
    }
    dataset->fields[dataset->n_fields++] = *field;
    dataset->n_rows = field->n_rows;
    return DLC_OK;
}

/* Whose data an array's are, if they were not read with the file. */
static const FileView *view_of(const Dataset *dataset, const DataArray *array) {
    for (int32_t i = 0; i < dataset->n_files; i++) {
        const FileView *view = &dataset->files[i].view;
        if (file_view_is_partial(view) && array->data >= view->data &&
            array->data < view->data + view->size) {
            return view;
        }
    }
    return NULL;
}

static dlc_status add_array(Dataset *dataset, const DataArray *array, const char *name,
                            const char *path, char *message) {
    if (array->unreadable) {
        snprintf(message, DATA_MESSAGE_BYTES, "%s", array->unreadable);
        return DLC_ERROR_FORMAT;
    }
    if (array->rank == 0) {
        snprintf(message, DATA_MESSAGE_BYTES,
                 "%.200s: array '%.100s' is a single value; expected rows as its first axis", path,
                 name);
        return DLC_ERROR_MISMATCH;
    }
    DataField field = {.name = name,
                       .storage = array->type,
                       .dtype = data_type_natural(array->type),
                       .rank = array->rank - 1,
                       .n_rows = array->dims[0],
                       .row_elements = 1,
                       .data = array->data,
                       .view = view_of(dataset, array),
                       .path = path};
    for (int32_t i = 1; i < array->rank; i++) {
        field.dims[i - 1] = array->dims[i];
        field.row_elements *= array->dims[i];
    }
    field.row_stride = field.row_elements * (int64_t)data_type_bytes(array->type);
    return add_field(dataset, &field, message);
}

/* Rows of `window` elements, each with the element after each. */
static dlc_status add_windows(Dataset *dataset, const DataArray *array, const DataOptions *options,
                              const char *path, char *message) {
    int64_t window = options->window, stride = options->stride ? options->stride : window;
    if (array->rank != 1 || data_type_is_float(array->type) || array->type == DATA_BOOL) {
        snprintf(
            message, DATA_MESSAGE_BYTES,
            "%.200s: windows are cut from text or a rank-1 array of integers; '%.60s' is %s of "
            "rank %d",
            path, array->name, data_type_name(array->type), (int)array->rank);
        return DLC_ERROR_MISMATCH;
    }
    if (array->n_elements - 1 < window) {
        snprintf(message, DATA_MESSAGE_BYTES,
                 "%.200s: expected one element more than a window of %lld, for its targets, found "
                 "%lld elements",
                 path, (long long)window, (long long)array->n_elements);
        return DLC_ERROR_MISMATCH;
    }
    int64_t bytes = (int64_t)data_type_bytes(array->type);
    int64_t row_stride;
    if (stride < 0 || !checked_mul(stride, bytes, &row_stride)) {
        snprintf(message, DATA_MESSAGE_BYTES,
                 "%.200s: windows %lld elements apart are not possible", path, (long long)stride);
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    DataField field = {.name = "tokens",
                       .storage = array->type,
                       .dtype = PLAN_I32,
                       .rank = 1,
                       .dims = {window},
                       .n_rows = (array->n_elements - 1 - window) / stride + 1,
                       .row_elements = window,
                       .data = array->data,
                       .view = view_of(dataset, array),
                       .row_stride = row_stride,
                       .path = path};
    dlc_status status = add_field(dataset, &field, message);
    if (status == DLC_OK) {
        field.name = "targets";
        field.data += bytes;
        status = add_field(dataset, &field, message);
    }
    return status;
}

dlc_status dataset_add(Dataset *dataset, const char *name, PlanDType dtype, int32_t rank,
                       const int64_t *dims, const void *data, char *message) {
    if (rank < 1 || rank > DATA_MAX_RANK) {
        snprintf(message, DATA_MESSAGE_BYTES, "field '%.100s': expected rank 1 to %d, found %d",
                 name, (int)DATA_MAX_RANK, (int)rank);
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (dataset->n_files == 0) {
        dataset->files = raw_alloc(dataset->allocator, sizeof(*dataset->files));
        if (!dataset->files) {
            return no_memory(name, message);
        }
        data_arrays_init(&dataset->files[0], dataset->allocator);
        dataset->n_files = 1;
    }
    DataArrays *arrays = &dataset->files[dataset->n_files - 1];
    DataArray *array = data_add(arrays, name, strlen(name));
    size_t bytes;
    if (!array) {
        return no_memory(name, message);
    }
    array->type = (DataType)dtype;
    array->rank = rank;
    memcpy(array->dims, dims, (size_t)rank * sizeof(dims[0]));
    if (!data_measure(array, &bytes)) {
        snprintf(message, DATA_MESSAGE_BYTES, "field '%.100s': not a possible shape", name);
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    void *copy = data_own(arrays, bytes);
    if (!copy) {
        return no_memory(name, message);
    }
    if (bytes) {
        memcpy(copy, data, bytes);
    }
    array->data = copy;
    return add_array(dataset, array, array->name, "memory", message);
}

/* -- Opening */

/* The fields of one opened file under an optional name. */
static dlc_status add_file(Dataset *dataset, const DataArrays *arrays, const char *name,
                           const DataOptions *options, const char *path, char *message) {
    if (arrays->n_items == 0) {
        snprintf(message, DATA_MESSAGE_BYTES, "%.300s: expected an array, found none", path);
        return DLC_ERROR_MISMATCH;
    }
    if (options->window > 0) {
        if (arrays->n_items != 1) {
            snprintf(message, DATA_MESSAGE_BYTES,
                     "%.300s: windows are cut from one array, found %d", path,
                     (int)arrays->n_items);
            return DLC_ERROR_MISMATCH;
        }
        return add_windows(dataset, &arrays->items[0], options, path, message);
    }
    if (name && arrays->n_items > 1) {
        const DataArray *array = data_arrays_find(arrays, name);
        if (!array) {
            snprintf(message, DATA_MESSAGE_BYTES, "%.300s: no array is named '%.100s'", path, name);
            return DLC_ERROR_NOT_FOUND;
        }
        return add_array(dataset, array, array->name, path, message);
    }
    for (int32_t i = 0; i < arrays->n_items; i++) {
        if (arrays->items[i].unreadable) {
            continue;
        }
        dlc_status status = add_array(dataset, &arrays->items[i],
                                      name ? name : arrays->items[i].name, path, message);
        if (status != DLC_OK) {
            return status;
        }
    }
    return DLC_OK;
}

static dlc_status open_part(Dataset *dataset, const char *part, const DataOptions *options,
                            char *message) {
    DataFormat format;
    DataType raw_type = DATA_U8;
    if (!data_format_from_name(options->format, &format)) {
        int at = snprintf(message, DATA_MESSAGE_BYTES, "unknown data format '%.60s'; there are",
                          options->format);
        const char *known;
        for (int i = 0; (known = data_format_name(i)) != NULL; i++) {
            at += snprintf(message + at, DATA_MESSAGE_BYTES - (size_t)at, " %s", known);
        }
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (options->dtype && (!data_type_from_name(options->dtype, &raw_type) ||
                           data_type_is_float(raw_type) || raw_type == DATA_BOOL)) {
        snprintf(message, DATA_MESSAGE_BYTES,
                 "unknown token type '%.60s'; tokens are whole numbers, as u8, u16, u32 or i32",
                 options->dtype);
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    const char *equals = strchr(part, '='), *path = part;
    bool named = equals && equals > part && access(part, F_OK) != 0;
    for (const char *c = part; named && c < equals; c++) {
        named = ascii_is_word(*c) || *c == '.';
    }
    DataArrays *arrays = &dataset->files[dataset->n_files++];
    data_arrays_init(arrays, dataset->allocator);
    char *kept = data_own(arrays, strlen(part) + 1);
    if (!kept) {
        return no_memory(part, message);
    }
    memcpy(kept, part, strlen(part) + 1);
    const char *name = NULL;
    path = kept;
    if (named) {
        kept[equals - part] = '\0';
        name = kept;
        path = kept + (equals - part) + 1;
    }
    const char *wanted = name ? name : options->name;
    if (format == DATA_FORMAT_AUTO && options->dtype) {
        format = DATA_FORMAT_AUTO_OR_RAW; /* a token type is said of raw files only */
    }
    dlc_status status = data_arrays_open(arrays, path, format, raw_type, wanted, message);
    if (status != DLC_OK) {
        return status;
    }
    if (options->window <= 0 && arrays->raw) {
        snprintf(message, DATA_MESSAGE_BYTES,
                 "%.300s: text and token files need a window (--window)", path);
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    return add_file(dataset, arrays, name, options, path, message);
}

dlc_status dataset_open(Dataset *out, const char *path, const DataOptions *options,
                        const dlc_allocator *allocator, char *message) {
    static const DataOptions defaults = {0};
    options = options ? options : &defaults;
    dataset_init(out, allocator);
    size_t n_parts = 1;
    bool whole = access(path, F_OK) == 0; /* a file may have a comma in its name */
    for (const char *c = path; *c && !whole; c++) {
        n_parts += *c == ',';
    }
    char *copy = raw_alloc(allocator, strlen(path) + 1);
    out->files = raw_alloc(allocator, n_parts * sizeof(*out->files));
    dlc_status status = copy && out->files ? DLC_OK : no_memory(path, message);
    if (status == DLC_OK) {
        memcpy(copy, path, strlen(path) + 1);
    }
    char *part = copy;
    while (status == DLC_OK && part) {
        char *comma = whole ? NULL : strchr(part, ',');
        if (comma) {
            *comma = '\0';
        }
        status = open_part(out, part, options, message);
        part = comma ? comma + 1 : NULL;
    }
    raw_free(allocator, copy);
    if (status != DLC_OK) {
        dataset_close(out);
    }
    return status;
}

/* -- Rows */

/* Room for a row that is read each time; NULL, and true, where rows lie in memory. */
static bool row_room(const DataField *field, uint8_t **out) {
    size_t bytes = (size_t)field->row_elements * data_type_bytes(field->storage);
    *out = field->view ? malloc(bytes + 1) : NULL;
    return !field->view || *out;
}

/* A row as it is stored: where it lies, or read to `room`. */
static dlc_status row_bytes(const DataField *field, int64_t row, uint8_t *room, const uint8_t **out,
                            char *message) {
    const uint8_t *at = field->data + row * field->row_stride;
    *out = room ? room : at;
    size_t bytes = (size_t)field->row_elements * data_type_bytes(field->storage);
    return room ? file_view_read(field->view, field->path, (size_t)(at - field->view->data), bytes,
                                 room, message)
                : DLC_OK;
}

/* -- Identity */

static dlc_status field_hash(const DataField *field, int64_t most_bytes, uint64_t *out,
                             char *message) {
    int64_t shape[4] = {(int64_t)field->storage, field->rank, field->n_rows, field->row_elements};
    uint64_t hash = hash_bytes(field->name, strlen(field->name), 0);
    hash = hash_bytes(shape, sizeof(shape), hash);
    hash = hash_bytes(field->dims, (size_t)field->rank * sizeof(*field->dims), hash);
    size_t bytes = (size_t)field->row_elements * data_type_bytes(field->storage);
    int64_t most_rows = bytes > 0 ? most_bytes / (int64_t)bytes : field->n_rows;
    int64_t step = field->n_rows / (most_rows > 0 ? most_rows : 1) + 1;
    step = field->n_rows <= most_rows ? 1 : step;
    uint8_t *room;
    if (!row_room(field, &room)) {
        return no_memory(field->path, message);
    }
    dlc_status status = DLC_OK;
    bool ends = false;
    for (int64_t row = 0; status == DLC_OK && !ends && field->n_rows > 0; row += step) {
        ends = row >= field->n_rows; /* the last row counts once more */
        const uint8_t *at;
        status = row_bytes(field, ends ? field->n_rows - 1 : row, room, &at, message);
        if (status == DLC_OK) {
            hash = hash_bytes(at, bytes, hash);
        }
    }
    free(room);
    *out = hash;
    return status;
}

dlc_status dataset_hash(const Dataset *dataset, uint64_t *out, char *message) {
    uint64_t sum = 0; /* fields have no order */
    dlc_status status = DLC_OK;
    for (int32_t i = 0; status == DLC_OK && i < dataset->n_fields; i++) {
        uint64_t hash = 0;
        status = field_hash(&dataset->fields[i], ((int64_t)64 << 20) / dataset->n_fields, &hash,
                            message);
        sum += hash;
    }
    *out = sum;
    return status;
}

/* -- Gathering */

/* `at`: the element that does not fit. */
static dlc_status gather_fail(const DataField *field, ConvertResult result, int64_t row,
                              const uint8_t *at, PlanDType dtype, char *message) {
    char value[DATA_VALUE_BYTES];
    data_value_text(at, field->storage, value);
    snprintf(message, DATA_MESSAGE_BYTES, "%.250s: field '%.60s', row %lld: %s %s %s", field->path,
             field->name, (long long)row, value,
             result == CONVERT_FRACTION ? "is not whole; the input is" : "does not fit",
             data_type_name((DataType)dtype));
    return DLC_ERROR_MISMATCH;
}

dlc_status dataset_gather_rows(const DataField *field, const int64_t *rows, int64_t count,
                               void *target, PlanDType dtype, double scale, char *message) {
    uint8_t *to = target;
    size_t bytes = (size_t)field->row_elements * data_type_bytes((DataType)dtype);
    uint8_t *room;
    if (!row_room(field, &room)) {
        return no_memory(field->path, message);
    }
    dlc_status status = DLC_OK;
    for (int64_t i = 0; status == DLC_OK && i < count; i++, to += bytes) {
        if (rows[i] < 0 || rows[i] >= field->n_rows) {
            snprintf(message, DATA_MESSAGE_BYTES,
                     "%.250s: field '%.60s' has %lld rows; row %lld was asked for", field->path,
                     field->name, (long long)field->n_rows, (long long)rows[i]);
            status = DLC_ERROR_INVALID_ARGUMENT;
            break;
        }
        const uint8_t *from;
        status = row_bytes(field, rows[i], room, &from, message);
        if (status != DLC_OK) {
            break;
        }
        int64_t bad;
        ConvertResult result =
            data_convert(from, field->storage, to, dtype, field->row_elements, scale, &bad);
        if (result != CONVERT_OK) {
            const uint8_t *at = from + (size_t)bad * data_type_bytes(field->storage);
            status = gather_fail(field, result, rows[i], at, dtype, message);
        }
    }
    free(room);
    return status;
}
