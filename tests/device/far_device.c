/* See far_device.h: memory, and the work itself, which the CPU's device does. */
#include "far_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* Not canonical on x86-64, and outside any mapping elsewhere. */
#define FAR_OFFSET ((uintptr_t)0x2000000000000000u)

enum { MOST_BUFFERS = 256, MOST_SIZES = 256 };

void far_wrong(const char *what) {
    fprintf(stderr, "far device: %s\n", what);
    exit(3);
}

/* The real address; the bytes must lie in one block. */
static void *near_by(const FarDevice *far, const void *address, size_t bytes, const char *what) {
    uintptr_t at = (uintptr_t)address - FAR_OFFSET;
    bool found = false;
    pthread_mutex_lock(&far_mutex);
    for (const Block *block = far->blocks; block && !found; block = block->next) {
        uintptr_t first = (uintptr_t)block->memory;
        found = at >= first && at - first <= block->bytes && bytes <= block->bytes - (at - first);
    }
    pthread_mutex_unlock(&far_mutex);
    if (!found) {
        far_wrong(what);
    }
    return (void *)at;
}

static void memory_run(FarDevice *far, DeviceQueue *cpu, const Node *node) {
    const DeviceOps *ops = far->cpu->ops;
    void *to = near_by(far, node->to, node->bytes, "to nowhere");
    dlc_status status = DLC_OK;
    if (node->kind == NODE_FILL) {
        status = ops->fill(cpu, to, node->value, node->bytes);
    } else if (node->kind == NODE_SET) {
        status = ops->set_i32(cpu, to, node->value);
    } else if (node->kind == NODE_SEND) { /* as it is now */
        status = ops->copy(cpu, to, node->from, node->bytes, NULL);
    } else {
        const uint8_t *flag =
            node->if_set ? near_by(far, node->if_set, 1, "a condition nowhere") : NULL;
        const void *from = near_by(far, node->from, node->bytes, "from nowhere");
        status = ops->copy(cpu, to, from, node->bytes, flag);
    }
    if (status != DLC_OK) {
        far_wrong("the CPU failed");
    }
}

static void gate_run(FarDevice *far, DeviceQueue *cpu, const Node *node) {
    uint8_t *word = near_by(far, node->to, 1, "a gate nowhere");
    const uint8_t *flag = near_by(far, node->if_set, 1, "a condition nowhere");
    if (far->cpu->ops->gate(cpu, word, flag) != DLC_OK) {
        far_wrong("the CPU failed");
    }
}

/* To host memory, as things are now. */
static void fetch_run(FarDevice *far, DeviceQueue *cpu, const Node *node) {
    const DeviceOps *ops = far->cpu->ops;
    dlc_status status = DLC_OK;
    if (node->kind == NODE_FAULT) {
        status = ops->fault_fetch(cpu, (KernelFault *)(void *)node->to);
    } else {
        memcpy(node->to, near_by(far, node->from, node->bytes, "from nowhere"), node->bytes);
    }
    if (status != DLC_OK) {
        far_wrong("the CPU failed");
    }
}

/* Two kernels of one queue at a time would share its scratch. */
static void launching(FarQueue *queue, bool begins) {
    pthread_mutex_lock(&far_mutex);
    if (begins && queue->owner->is_launching) {
        far_wrong("a replay and another kernel use one queue's scratch at once");
    }
    queue->owner->is_launching = begins;
    pthread_mutex_unlock(&far_mutex);
}

static void launch_run(FarDevice *far, FarQueue *queue, const Node *node) {
    void *buffers[MOST_BUFFERS];
    DeviceLaunch launch = node->launch;
    for (int32_t i = 0; i < launch.n_buffers; i++) {
        buffers[i] = near_by(far, node->buffers[i], 0, "a kernel's buffer nowhere");
    }
    launch.buffers = buffers;
    launch.sizes = node->sizes;
    launching(queue, true);
    if (far->cpu->ops->launch(queue->cpu, node->module, &launch) != DLC_OK) {
        far_wrong("the CPU failed");
    }
    launching(queue, false);
}

void far_node_run(FarQueue *queue, const Node *node) {
    FarDevice *far = far_of(queue->base.device);
    if (node->kind == NODE_LAUNCH) {
        launch_run(far, queue, node);
    } else if (node->kind == NODE_GATE) {
        gate_run(far, queue->cpu, node);
    } else if (node->kind == NODE_FETCH || node->kind == NODE_FAULT) {
        fetch_run(far, queue->cpu, node);
    } else {
        memory_run(far, queue->cpu, node);
    }
}

/* -- The calls -- */

static dlc_status far_supports(const char *machine, const char *features, const char *which,
                               char *message) {
    return device_cpu.supports(machine, features, which, message);
}

static dlc_status far_open(const dlc_allocator *allocator, const DeviceOptions *options,
                           Device **out, char *message) {
    FarDevice *far = memory_new(allocator, 1, sizeof *far);
    if (!far) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    far->base = (Device){.ops = &device_far, .allocator = *allocator};
    dlc_status status = device_cpu.open(allocator, options, &far->cpu, message);
    if (status == DLC_OK) {
        status = far_queue_create(&far->base, true, &far->base.queue);
    }
    if (status != DLC_OK) {
        device_cpu.close(far->cpu);
        memory_free(allocator, far);
        return status;
    }
    far_list_device(far);
    *out = &far->base;
    return DLC_OK;
}

static void far_close(Device *device) {
    FarDevice *far = far_of(device);
    if (far->blocks) {
        far_wrong("closed with memory in use");
    }
    while (far->queues) {
        far_queue_destroy(&far->queues->base);
    }
    far_unlist_device(far);
    far->cpu->ops->close(far->cpu);
    dlc_allocator allocator = device->allocator;
    memory_free(&allocator, far);
}

static void far_describe(Device *device, char *out, size_t n_out) {
    (void)device;
    snprintf(out, n_out, "far away");
}

static void *far_alloc(Device *device, size_t bytes) {
    FarDevice *far = far_of(device);
    Block *block = memory_new(&device->allocator, 1, sizeof *block);
    void *memory = block ? far->cpu->ops->alloc(far->cpu, bytes) : NULL;
    if (!memory) {
        memory_free(&device->allocator, block);
        return NULL;
    }
    memset(memory, 0x5a, bytes);
    pthread_mutex_lock(&far_mutex);
    *block = (Block){.next = far->blocks, .memory = memory, .bytes = bytes};
    far->blocks = block;
    pthread_mutex_unlock(&far_mutex);
    return (void *)((uintptr_t)memory + FAR_OFFSET);
}

static void far_free(Device *device, void *memory) {
    FarDevice *far = far_of(device);
    if (!memory) {
        return;
    }
    far_queues_wait(far);
    uint8_t *real = (uint8_t *)((uintptr_t)memory - FAR_OFFSET);
    pthread_mutex_lock(&far_mutex);
    Block **at = &far->blocks;
    while (*at && (*at)->memory != real) {
        at = &(*at)->next;
    }
    Block *block = *at;
    if (block) {
        *at = block->next;
    }
    pthread_mutex_unlock(&far_mutex);
    if (!block) {
        far_wrong("freed what it never gave");
        return;
    }
    far->cpu->ops->free(far->cpu, block->memory);
    memory_free(&device->allocator, block);
}

static dlc_status far_write(DeviceQueue *queue, void *to, const void *from, size_t bytes) {
    FarDevice *far = far_of(queue->device);
    far_queue_wait((FarQueue *)queue);
    far->counts.writes++;
    memcpy(near_by(far, to, bytes, "a write to nowhere"), from, bytes);
    return DLC_OK;
}

static dlc_status far_read(DeviceQueue *queue, void *to, const void *from, size_t bytes) {
    FarDevice *far = far_of(queue->device);
    far_queue_wait((FarQueue *)queue);
    far->counts.reads++;
    memcpy(to, near_by(far, from, bytes, "a read from nowhere"), bytes);
    return DLC_OK;
}

static void *far_host_alloc(Device *device, size_t bytes) {
    return memory_new_aligned(&device->allocator, bytes);
}

static void far_host_free(Device *device, void *memory) {
    far_queues_wait(far_of(device));
    memory_free_aligned(&device->allocator, memory);
}

static dlc_status far_send(DeviceQueue *queue, void *to, const void *from, size_t bytes) {
    if (far_is_recorded((FarQueue *)queue)) {
        far_wrong("a send while recording");
    }
    Node *node = far_node_new((FarQueue *)queue, NODE_SEND);
    far_of(queue->device)->counts.sends++;
    node->to = to;
    node->from = from;
    node->bytes = bytes;
    far_give(node);
    return DLC_OK;
}

static dlc_status far_copy(DeviceQueue *queue, void *to, const void *from, size_t bytes,
                           const uint8_t *if_set) {
    Node *node = far_node_new((FarQueue *)queue, NODE_COPY);
    far_of(queue->device)->counts.copies++;
    far_of(queue->device)->counts.aside += queue != queue->device->queue;
    node->to = to;
    node->from = from;
    node->bytes = bytes;
    node->if_set = if_set;
    far_give(node);
    return DLC_OK;
}

static dlc_status far_fill(DeviceQueue *queue, void *to, int byte, size_t bytes) {
    Node *node = far_node_new((FarQueue *)queue, NODE_FILL);
    far_of(queue->device)->counts.aside += queue != queue->device->queue;
    node->to = to;
    node->value = byte;
    node->bytes = bytes;
    far_give(node);
    return DLC_OK;
}

static dlc_status far_set_i32(DeviceQueue *queue, int32_t *to, int32_t value) {
    Node *node = far_node_new((FarQueue *)queue, NODE_SET);
    node->to = (uint8_t *)to;
    node->value = value;
    node->bytes = sizeof value;
    far_give(node);
    return DLC_OK;
}

static dlc_status far_gate(DeviceQueue *queue, uint8_t *word, const uint8_t *if_set) {
    Node *node = far_node_new((FarQueue *)queue, NODE_GATE);
    node->to = word;
    node->if_set = if_set;
    far_give(node);
    return DLC_OK;
}

static dlc_status fetch_give(DeviceQueue *queue, NodeKind kind, void *to, const void *from,
                             size_t bytes) {
    if (far_of(queue->device)->recording) {
        far_wrong("a read by the host while recording");
    }
    Node *node = far_node_new((FarQueue *)queue, kind);
    far_of(queue->device)->counts.fetches++;
    node->to = to;
    node->from = from;
    node->bytes = bytes;
    far_give(node);
    return DLC_OK;
}

static dlc_status far_fetch(DeviceQueue *queue, void *to, const void *from, size_t bytes) {
    return fetch_give(queue, NODE_FETCH, to, from, bytes);
}

static dlc_status far_fault_fetch(DeviceQueue *queue, KernelFault *to) {
    return fetch_give(queue, NODE_FAULT, to, NULL, sizeof *to);
}

static dlc_status far_load(Device *device, const uint8_t *image, size_t n_image,
                           DeviceModule **out) {
    FarDevice *far = far_of(device);
    dlc_status status = far->cpu->ops->load(far->cpu, image, n_image, out);
    memcpy(device->error, far->cpu->error, sizeof device->error);
    return status;
}

static void far_unload(Device *device, DeviceModule *module) {
    far_queues_wait(far_of(device));
    device_cpu.unload(far_of(device)->cpu, module);
}

static dlc_status far_reserve(DeviceQueue *queue, int64_t bytes) {
    far_queue_wait((FarQueue *)queue);
    return device_cpu.reserve(((FarQueue *)queue)->cpu, bytes);
}

static dlc_status far_launch(DeviceQueue *queue, DeviceModule *module, const DeviceLaunch *launch) {
    if (launch->n_buffers > MOST_BUFFERS || launch->n_sizes > MOST_SIZES) {
        far_wrong("a kernel with more arguments than it takes");
    }
    Node *node = far_node_new((FarQueue *)queue, NODE_LAUNCH);
    far_of(queue->device)->counts.launches++;
    node->module = module;
    node->launch = *launch;
    far_lists_keep(node, launch->buffers, launch->sizes);
    far_give(node);
    return DLC_OK;
}

static dlc_status far_finish(DeviceQueue *queue, KernelFault *fault) {
    far_queue_wait((FarQueue *)queue);
    far_of(queue->device)->counts.finishes++;
    return device_cpu.finish(((FarQueue *)queue)->cpu, fault);
}

static int64_t far_overhead_bytes(Device *device) {
    return device_cpu.overhead_bytes(far_of(device)->cpu) + (int64_t)sizeof(FarDevice);
}

FarCounts far_counts(const Device *device) {
    return ((const FarDevice *)device)->counts;
}

/* Named as the CPU, whose images it runs. */
const DeviceOps device_far = {
    .name = "cpu",
    .target = "cpu:native",
    .doc = "a processor far away, for tests",
    .is_host = false,
    .supports = far_supports,
    .open = far_open,
    .close = far_close,
    .describe = far_describe,
    .alloc = far_alloc,
    .free = far_free,
    .queue_create = far_queue_create,
    .queue_destroy = far_queue_destroy,
    .event_create = far_event_create,
    .event_record = far_event_record,
    .event_wait = far_event_wait,
    .event_finish = far_event_finish,
    .event_destroy = far_event_destroy,
    .write = far_write,
    .read = far_read,
    .fetch = far_fetch,
    .fault_fetch = far_fault_fetch,
    .host_alloc = far_host_alloc,
    .host_free = far_host_free,
    .send = far_send,
    .copy = far_copy,
    .fill = far_fill,
    .set_i32 = far_set_i32,
    .gate = far_gate,
    .load = far_load,
    .unload = far_unload,
    .reserve = far_reserve,
    .launch = far_launch,
    .finish = far_finish,
    .record = far_record,
    .record_end = far_record_end,
    .replay = far_replay,
    .graph_free = far_graph_free,
    .overhead_bytes = far_overhead_bytes,
};
