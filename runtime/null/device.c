/* See device.h. Copies and fills are real, launches leave their buffers as they are. */
#include "runtime/null/device.h"

#include <stdio.h>

struct DeviceModule {
    int64_t launches;
};

static dlc_status null_supports(const char *machine, const char *features, const char *which,
                                char *message) {
    (void)machine;
    (void)features;
    (void)which;
    (void)message;
    return DLC_OK;
}

static dlc_status null_open(const dlc_allocator *allocator, const DeviceOptions *options,
                            Device **out, char *message) {
    (void)options;
    (void)message;
    Device *device = memory_new(allocator, 1, sizeof(*device));
    if (!device) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    *device = (Device){.ops = &device_null, .allocator = *allocator};
    *out = device;
    return DLC_OK;
}

static void null_close(Device *device) {
    if (device) {
        dlc_allocator allocator = device->allocator;
        memory_free(&allocator, device);
    }
}

static void null_describe(Device *device, char *out, size_t n_out) {
    snprintf(out, n_out, "%s", device->ops->doc);
}

static void *null_alloc(Device *device, size_t bytes) {
    return memory_new_aligned(&device->allocator, bytes);
}

static void null_free(Device *device, void *memory) {
    memory_free_aligned(&device->allocator, memory);
}

static dlc_status null_move(Device *device, void *to, const void *from, size_t bytes) {
    (void)device;
    memmove(to, from, bytes);
    return DLC_OK;
}

static dlc_status null_copy(Device *device, void *to, const void *from, size_t bytes,
                            const uint8_t *if_set) {
    (void)device;
    if (!if_set || *if_set) {
        memmove(to, from, bytes);
    }
    return DLC_OK;
}

static dlc_status null_fill(Device *device, void *to, int byte, size_t bytes) {
    (void)device;
    memset(to, byte, bytes);
    return DLC_OK;
}

static dlc_status null_set_i32(Device *device, int32_t *to, int32_t value) {
    (void)device;
    memcpy(to, &value, sizeof(value));
    return DLC_OK;
}

static dlc_status null_load(Device *device, const uint8_t *image, size_t n_image,
                            DeviceModule **out) {
    (void)image;
    (void)n_image;
    *out = memory_new(&device->allocator, 1, sizeof(**out));
    return *out ? DLC_OK : DLC_ERROR_OUT_OF_MEMORY;
}

static void null_unload(Device *device, DeviceModule *module) {
    memory_free(&device->allocator, module);
}

static dlc_status null_reserve(Device *device, int64_t bytes) {
    (void)device;
    (void)bytes;
    return DLC_OK;
}

static dlc_status null_launch(Device *device, DeviceModule *module, const DeviceLaunch *launch) {
    (void)device;
    (void)launch;
    module->launches++;
    return DLC_OK;
}

static dlc_status null_finish(Device *device, KernelFault *fault) {
    (void)device;
    *fault = (KernelFault){0};
    return DLC_OK;
}

static int64_t null_overhead_bytes(Device *device) {
    return (int64_t)(sizeof(*device) + sizeof(DeviceModule));
}

const DeviceOps device_null = {
    .name = "null",
    .doc = "computes nothing",
    .is_host = true,
    .supports = null_supports,
    .open = null_open,
    .close = null_close,
    .describe = null_describe,
    .alloc = null_alloc,
    .free = null_free,
    .write = null_move,
    .read = null_move,
    .copy = null_copy,
    .fill = null_fill,
    .set_i32 = null_set_i32,
    .load = null_load,
    .unload = null_unload,
    .reserve = null_reserve,
    .launch = null_launch,
    .finish = null_finish,
    .overhead_bytes = null_overhead_bytes,
};
