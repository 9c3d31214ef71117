/* The devices of this build. */
#include "runtime/device.h"

#include "runtime/cpu/device.h"
#include "runtime/cuda/device.h"
#include "runtime/null/device.h"

const DeviceOps *device_at(int index) {
    static const DeviceOps *const devices[] = {&device_cuda, &device_cpu, &device_null};
    int count = (int)(sizeof(devices) / sizeof(devices[0]));
    return index >= 0 && index < count ? devices[index] : NULL;
}

const DeviceOps *device_find(const char *name) {
    for (int i = 0; device_at(i); i++) {
        if (strcmp(device_at(i)->name, name) == 0) {
            return device_at(i);
        }
    }
    return NULL;
}
