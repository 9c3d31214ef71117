/* See null_device.h. Copies and fills are real, launches leave their buffers as they are. */
#include "runtime/null/null_device.h"

struct DeviceModule {
    int64_t launches;
};

static bool null_supports(const char *features, char *message) {
    (void)features;
    (void)message;
    return true;
}

static dlc_status null_load(const dlc_allocator *allocator, const uint8_t *image, size_t n_image,
                            DeviceModule **out, char *message) {
    (void)image;
    (void)n_image;
    (void)message;
    *out = memory_new(allocator, 1, sizeof(**out));
    return *out ? DLC_OK : DLC_ERROR_OUT_OF_MEMORY;
}

static void null_unload(const dlc_allocator *allocator, DeviceModule *module) {
    memory_free(allocator, module);
}

static void null_launch(DeviceModule *module, const DeviceLaunch *launch,
                        const DeviceWorkers *workers) {
    (void)launch;
    (void)workers;
    module->launches++;
}

static void null_copy(void *to, const void *from, size_t bytes) {
    memmove(to, from, bytes);
}

static void null_fill(void *to, int byte, size_t bytes) {
    memset(to, byte, bytes);
}

const DeviceOps device_null = {
    .name = "null",
    .doc = "computes nothing",
    .supports = null_supports,
    .load = null_load,
    .unload = null_unload,
    .launch = null_launch,
    .copy = null_copy,
    .fill = null_fill,
};
