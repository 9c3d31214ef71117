/* The devices of this build. */
#include "runtime/device.h"

#include "runtime/cpu/cpu_device.h"
#include "runtime/null/null_device.h"

const DeviceOps *device_find(const char *name) {
    static const DeviceOps *const devices[] = {&device_cpu, &device_null};
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        if (strcmp(devices[i]->name, name) == 0) {
            return devices[i];
        }
    }
    return NULL;
}
