/* The device as the kit's parts see it: as it is, or made to ignore cubins ("ptx"), or PTX too
 * ("text"), so that each way to load code can be checked on one machine. */
#include "tests/gpu/gpukit.h"

#include <stdlib.h>
#include <string.h>

/* One process runs one part, so this may be the process's. */
static struct {
    DeviceOps ops;
    const DeviceOps *real;
    bool no_ptx;
} without;

static dlc_status load_without(Device *device, const uint8_t *image, size_t n_image,
                               DeviceModule **out) {
    CudaImageHeader header;
    uint8_t *copy = malloc(n_image + 1);
    if (!copy) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    memcpy(copy, image, n_image);
    if (n_image >= sizeof header) {
        memcpy(&header, image, sizeof header);
        for (uint32_t i = 0; i < header.n_units; i++) {
            CudaUnit unit;
            uint64_t at = header.units + (uint64_t)i * sizeof unit;
            if (at + sizeof unit > n_image) {
                break;
            }
            memcpy(&unit, copy + at, sizeof unit);
            unit.cubin = (CudaBlob){0};
            if (without.no_ptx) {
                unit.ptx = (CudaBlob){0};
            }
            memcpy(copy + at, &unit, sizeof unit);
        }
    }
    dlc_status status = without.real->load(device, copy, n_image, out);
    free(copy);
    return status;
}

const DeviceOps *kit_device(Kit *kit) {
    const DeviceOps *real = device_find(kit->kind);
    if (!real) {
        kit_problem(kit, "no device is called %s", kit->kind);
        return NULL;
    }
    if (!kit->code || !strcmp(kit->code, "cubin")) {
        return real;
    }
    without.real = real;
    without.ops = *real;
    without.ops.load = load_without;
    without.no_ptx = !strcmp(kit->code, "text");
    return &without.ops;
}

dlc_status kit_session(Kit *kit, dlc_plan *plan, const dlc_session_options *options,
                       dlc_session **out) {
    const char *colon = strchr(options->device, ':');
    size_t n = colon ? (size_t)(colon - options->device) : strlen(options->device);
    bool is_kits = n == strlen(kit->kind) && !strncmp(options->device, kit->kind, n);
    return session_create_on(plan, options, is_kits && kit->code ? kit_device(kit) : NULL, 1, out);
}
