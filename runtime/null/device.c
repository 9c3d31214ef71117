/* A device that takes every call and computes nothing: for tests of the executor, and as a
 * beginning for a new device. Copies and fills are real, launches leave their buffers as they are.
 * Everything is done when a call returns, on every queue, so events have nothing to wait for. */
#include "runtime/device.h"

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

static dlc_status null_queue_create(Device *device, bool background, DeviceQueue **out) {
    (void)background;
    *out = memory_new(&device->allocator, 1, sizeof(**out));
    if (!*out) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    (*out)->device = device;
    return DLC_OK;
}

static void null_queue_destroy(DeviceQueue *queue) {
    if (queue) {
        memory_free(&queue->device->allocator, queue);
    }
}

static dlc_status null_event_create(Device *device, DeviceEvent **out) {
    *out = memory_new(&device->allocator, 1, sizeof(**out));
    if (!*out) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    (*out)->device = device;
    return DLC_OK;
}

static dlc_status null_event_pass(DeviceEvent *event, DeviceQueue *queue) {
    (void)event;
    (void)queue;
    return DLC_OK;
}

static dlc_status null_event_finish(DeviceEvent *event) {
    (void)event;
    return DLC_OK;
}

static void null_event_destroy(DeviceEvent *event) {
    if (event) {
        memory_free(&event->device->allocator, event);
    }
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
    dlc_status status = null_queue_create(device, false, &device->queue);
    if (status != DLC_OK) {
        memory_free(allocator, device);
        return status;
    }
    *out = device;
    return DLC_OK;
}

static void null_close(Device *device) {
    if (device) {
        dlc_allocator allocator = device->allocator;
        memory_free(&allocator, device->queue);
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

static dlc_status null_move(DeviceQueue *queue, void *to, const void *from, size_t bytes) {
    (void)queue;
    memmove(to, from, bytes);
    return DLC_OK;
}

static dlc_status null_copy(DeviceQueue *queue, void *to, const void *from, size_t bytes,
                            const uint8_t *if_set) {
    (void)queue;
    if (!if_set || *if_set) {
        memmove(to, from, bytes);
    }
    return DLC_OK;
}

static dlc_status null_fill(DeviceQueue *queue, void *to, int byte, size_t bytes) {
    (void)queue;
    memset(to, byte, bytes);
    return DLC_OK;
}

static dlc_status null_set_i32(DeviceQueue *queue, int32_t *to, int32_t value) {
    (void)queue;
    memcpy(to, &value, sizeof(value));
    return DLC_OK;
}

static dlc_status null_gate(DeviceQueue *queue, uint8_t *word, const uint8_t *if_set) {
    (void)queue;
    *word = *if_set != 0;
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

static dlc_status null_reserve(DeviceQueue *queue, int64_t bytes) {
    (void)queue;
    (void)bytes;
    return DLC_OK;
}

static dlc_status null_launch(DeviceQueue *queue, DeviceModule *module,
                              const DeviceLaunch *launch) {
    (void)queue;
    (void)launch;
    module->launches++;
    return DLC_OK;
}

static dlc_status null_finish(DeviceQueue *queue, KernelFault *fault) {
    (void)queue;
    *fault = (KernelFault){0};
    return DLC_OK;
}

static dlc_status null_fault_fetch(DeviceQueue *queue, KernelFault *to) {
    return null_finish(queue, to);
}

static int64_t null_overhead_bytes(Device *device) {
    return (int64_t)(sizeof(*device) + sizeof(DeviceQueue) + sizeof(DeviceModule));
}

const DeviceOps device_null = {
    .name = "null",
    .doc = "computes nothing",
    .computes_nothing = true,
    .is_host = true,
    .supports = null_supports,
    .open = null_open,
    .close = null_close,
    .describe = null_describe,
    .alloc = null_alloc,
    .free = null_free,
    .queue_create = null_queue_create,
    .queue_destroy = null_queue_destroy,
    .event_create = null_event_create,
    .event_record = null_event_pass,
    .event_wait = null_event_pass,
    .event_finish = null_event_finish,
    .event_destroy = null_event_destroy,
    .write = null_move,
    .read = null_move,
    .fetch = null_move,
    .fault_fetch = null_fault_fetch,
    .copy = null_copy,
    .fill = null_fill,
    .set_i32 = null_set_i32,
    .gate = null_gate,
    .load = null_load,
    .unload = null_unload,
    .reserve = null_reserve,
    .launch = null_launch,
    .finish = null_finish,
    .overhead_bytes = null_overhead_bytes,
};
