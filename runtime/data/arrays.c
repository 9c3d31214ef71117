/* Arrays of a data file: their memory, and the messages of readers (arrays.h). */
#include "runtime/data/arrays.h"
#include "ir/base/checked.h"
#include "ir/base/memory.h"
#include "ir/base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
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

/* "file: place: what is wrong". */
__attribute__((format(printf, 3, 0))) static dlc_status
fail_at(const DataInput *input, const char *place, const char *format, va_list args) {
    char text[240];
    vsnprintf(text, sizeof(text), format, args);
    utf8_blank_controls(text);
    snprintf(input->message, DATA_MESSAGE_BYTES, "%.230s: %s: %s", input->path, place, text);
    return DLC_ERROR_FORMAT;
}

dlc_status data_fail(const DataInput *input, size_t offset, const char *format, ...) {
    char place[40];
    snprintf(place, sizeof(place), "offset %zu", offset);
    va_list args;
    va_start(args, format);
    dlc_status status = fail_at(input, place, format, args);
    va_end(args);
    return status;
}

dlc_status data_fail_line(const DataInput *input, int64_t line, const char *format, ...) {
    char place[40];
    snprintf(place, sizeof(place), "line %lld", (long long)line);
    va_list args;
    va_start(args, format);
    dlc_status status = fail_at(input, place, format, args);
    va_end(args);
    return status;
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

/* -- Pieces of large files */

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
