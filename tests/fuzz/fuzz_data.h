/* Shared by the targets for data files: reads, then touches every element through a gather. */
#ifndef DLC_TESTS_FUZZ_DATA_H
#define DLC_TESTS_FUZZ_DATA_H

#include "runtime/data/dataset.h"
#include "tests/fuzz/fuzz_accepted.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_touch(const DataArray *array) {
    DataField field = {.name = array->name,
                       .storage = array->type,
                       .n_rows = 1,
                       .row_elements = array->n_elements,
                       .data = array->data,
                       .path = "fuzz"};
    char message[DATA_MESSAGE_BYTES];
    const int64_t rows[1] = {0};
    double *values = malloc((size_t)array->n_elements * sizeof(double) + 1);
    if (values) {
        dlc_status status = dataset_gather_rows(&field, rows, 1, values, PLAN_F64, 0, message);
        if (status != DLC_OK && !message[0]) {
            abort();
        }
        free(values);
    }
}

static inline void fuzz_read(const uint8_t *data, size_t size, DataFormat format) {
    static const uint8_t nothing[1] = {0};
    char message[DATA_MESSAGE_BYTES] = "";
    DataArrays arrays;
    data_arrays_init(&arrays, NULL);
    const DataInput input = {.path = "fuzz",
                             .name = "x",
                             .bytes = data ? data : nothing,
                             .size = size,
                             .arrays = &arrays,
                             .message = message};
    dlc_status status = data_arrays_read(&input, format, DATA_U8);
    fuzz_note(data, size, status == DLC_OK);
    if (status != DLC_OK && !message[0]) {
        abort(); /* an error without a message */
    }
    for (int32_t i = 0; status == DLC_OK && i < arrays.n_items; i++) {
        fuzz_touch(&arrays.items[i]);
    }
    data_arrays_finish(&arrays);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    return LLVMFuzzerMutate(data, fuzz_start(data, size, max_size, seed), max_size);
}

#endif
