/* libFuzzer target: any bytes as a data file of one format are read or refused with a message. */
#include "tests/fuzz/fuzz_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_read(data, size, DATA_FORMAT_NPZ);
    return 0;
}
