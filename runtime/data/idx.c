/* IDX, the format of the MNIST files: two zero bytes, a type code, the rank, big-endian u32 sizes,
 * big-endian elements. */
#include "runtime/data/arrays.h"

#include <string.h>

static uint32_t load_u32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | (uint32_t)at[3];
}

static bool type_from_code(uint8_t code, DataType *out) {
    switch (code) {
    case 0x08:
        *out = DATA_U8;
        return true;
    case 0x09:
        *out = DATA_I8;
        return true;
    case 0x0B:
        *out = DATA_I16;
        return true;
    case 0x0C:
        *out = DATA_I32;
        return true;
    case 0x0D:
        *out = DATA_F32;
        return true;
    case 0x0E:
        *out = DATA_F64;
        return true;
    default:
        return false;
    }
}

dlc_status idx_read(const DataInput *input) {
    const uint8_t *bytes = input->bytes;
    DataType type;
    if (input->size < 4 || bytes[0] != 0 || bytes[1] != 0) {
        return data_fail(input, 0, "expected an IDX header (0, 0, type, rank), found %s",
                         input->size < 4 ? "the end of the file" : "other bytes");
    }
    if (!type_from_code(bytes[2], &type)) {
        return data_fail(input, 2, "expected an IDX type code (8, 9, 11, 12, 13 or 14), found %u",
                         bytes[2]);
    }
    int32_t rank = bytes[3];
    size_t start = 4 + 4 * (size_t)rank;
    if (rank < 1 || rank > DATA_MAX_RANK) {
        return data_fail(input, 3, "expected a rank from 1 to %d, found %d", (int)DATA_MAX_RANK,
                         (int)rank);
    }
    if (input->size < start) {
        return data_fail(input, 4, "expected %d sizes, found the end of the file", (int)rank);
    }
    DataArray *array = data_add(input->arrays, input->name, strlen(input->name));
    if (!array) {
        return data_no_memory(input);
    }
    size_t total, element = data_type_bytes(type);
    array->type = type;
    array->rank = rank;
    for (int32_t i = 0; i < rank; i++) {
        array->dims[i] = load_u32(bytes + 4 + 4 * (size_t)i);
    }
    if (!data_measure(array, &total)) {
        return data_fail(input, 4, "the sizes make more elements than can be");
    }
    if (input->size - start != total) {
        return data_fail(input, start, "expected %zu bytes of IDX data for the sizes, found %zu",
                         total, input->size - start);
    }
    array->data = bytes + start;
    if (element > 1 && total > 0) {
        uint8_t *copy = data_own(input->arrays, total);
        if (!copy) {
            return data_no_memory(input);
        }
        for (size_t i = 0; i < total; i++) {
            copy[i] = array->data[i - i % element + (element - 1 - i % element)];
        }
        array->data = copy;
    }
    return DLC_OK;
}
