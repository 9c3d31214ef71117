/* The devices of this build, and copies between any two. */
#include "runtime/device.h"

const DeviceOps *device_at(int index) {
    static const DeviceOps *const devices[] = {
#define DEVICE(name) &device_##name,
#include "runtime/devices.def"
#undef DEVICE
    };
    int count = (int)(sizeof(devices) / sizeof(devices[0]));
    return index >= 0 && index < count ? devices[index] : NULL;
}

const DeviceOps *device_host(void) {
    return &device_cpu;
}

const DeviceOps *device_find(const char *name) {
    for (int i = 0; device_at(i); i++) {
        if (strcmp(device_at(i)->name, name) == 0) {
            return device_at(i);
        }
    }
    return NULL;
}

dlc_status device_copy_across(DeviceQueue *to_queue, void *to, DeviceQueue *from_queue,
                              const void *from, size_t bytes) {
    enum { PIECE = 16384 };
    Device *there = to_queue->device, *here = from_queue->device;
    if (there->ops == here->ops && there->ops->copy_across) {
        dlc_status status = there->ops->copy_across(to_queue, to, from_queue, from, bytes);
        if (status != DLC_ERROR_UNSUPPORTED) {
            return status;
        }
    }
    uint8_t piece[PIECE];
    for (size_t at = 0; at < bytes;) {
        size_t n = bytes - at < PIECE ? bytes - at : PIECE;
        dlc_status status = here->ops->read(from_queue, piece, (const uint8_t *)from + at, n);
        if (status != DLC_OK) {
            memmove(there->error, here->error, sizeof(there->error));
            return status;
        }
        status = there->ops->write(to_queue, (uint8_t *)to + at, piece, n);
        if (status != DLC_OK) {
            return status;
        }
        at += n;
    }
    return DLC_OK;
}
