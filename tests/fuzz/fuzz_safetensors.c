/* libFuzzer target: any bytes as a safetensors file are read or refused with a message; what was
 * read can be looked up by name. */
#include "runtime/data/safetensors.h"
#include "tests/fuzz/fuzz_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t nothing[1] = {0};
    char message[SAFETENSORS_MESSAGE_BYTES] = "";
    Safetensors file;
    dlc_status status =
        safetensors_parse(&file, data ? data : nothing, size, "fuzz", NULL, message);
    if (status != DLC_OK && !message[0]) {
        abort(); /* an error without a message */
    }
    for (int32_t i = 0; status == DLC_OK && i < file.n_entries; i++) {
        const SafetensorsEntry *entry = &file.entries[i];
        if (safetensors_find(&file, entry->name) != entry ||
            (size_t)(entry->data - data) + entry->bytes > size) {
            abort();
        }
    }
    safetensors_close(&file);
    fuzz_read(data, size, DATA_FORMAT_SAFETENSORS);
    return 0;
}
