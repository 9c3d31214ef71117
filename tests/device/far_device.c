/* See far_device.h. A wrong call ends the test program with a message: it is the caller's mistake.
 */
#include "far_device.h"
#include "runtime/cpu/device.h"

#include <stdio.h>
#include <stdlib.h>

/* Not canonical on x86-64, and outside any mapping elsewhere. */
#define FAR_OFFSET ((uintptr_t)0x2000000000000000u)

enum { MOST_BUFFERS = 256, MOST_SIZES = 256 };

typedef enum NodeKind { NODE_LAUNCH, NODE_COPY, NODE_FILL, NODE_SET } NodeKind;

typedef struct Node {
    struct Node *next;
    NodeKind kind;
    DeviceModule *module;
    DeviceLaunch launch;
    void **buffers;
    int64_t *sizes;
    uint8_t *to;
    const uint8_t *from, *if_set;
    size_t bytes;
    int32_t value;
} Node;

typedef struct Block {
    struct Block *next;
    uint8_t *memory;
    size_t bytes;
} Block;

struct DeviceGraph {
    Node *first, **last;
};

typedef struct FarDevice {
    Device base;
    Device *cpu;
    Block *blocks;
    DeviceGraph queue;
    DeviceGraph *recording;
    FarCounts counts;
} FarDevice;

static void wrong(const char *what) {
    fprintf(stderr, "far device: %s\n", what);
    exit(3);
}

/* The real address; the bytes must lie in one block. */
static void *near_by(const FarDevice *far, const void *address, size_t bytes, const char *what) {
    uintptr_t at = (uintptr_t)address - FAR_OFFSET;
    for (const Block *block = far->blocks; block; block = block->next) {
        uintptr_t first = (uintptr_t)block->memory;
        if (at >= first && at - first <= block->bytes && bytes <= block->bytes - (at - first)) {
            return (void *)at;
        }
    }
    wrong(what);
    return NULL;
}

static FarDevice *far_of(Device *device) {
    return (FarDevice *)device;
}

static void list_free(DeviceGraph *list) {
    for (Node *node = list->first, *next; node; node = next) {
        next = node->next;
        free(node->buffers);
        free(node->sizes);
        free(node);
    }
    list->first = NULL;
    list->last = &list->first;
}

static Node *node_new(FarDevice *far, NodeKind kind) {
    Node *node = calloc(1, sizeof *node);
    DeviceGraph *list = far->recording ? far->recording : &far->queue;
    if (!node) {
        wrong("out of memory");
    }
    node->kind = kind;
    *list->last = node;
    list->last = &node->next;
    return node;
}

static void node_run(FarDevice *far, const Node *node) {
    const DeviceOps *ops = far->cpu->ops;
    void *to = node->kind == NODE_LAUNCH ? NULL : near_by(far, node->to, node->bytes, "to nowhere");
    dlc_status status = DLC_OK;
    if (node->kind == NODE_FILL) {
        status = ops->fill(far->cpu, to, node->value, node->bytes);
    } else if (node->kind == NODE_SET) {
        status = ops->set_i32(far->cpu, to, node->value);
    } else if (node->kind == NODE_COPY) {
        const uint8_t *flag =
            node->if_set ? near_by(far, node->if_set, 1, "a condition nowhere") : NULL;
        const void *from = near_by(far, node->from, node->bytes, "from nowhere");
        status = ops->copy(far->cpu, to, from, node->bytes, flag);
    } else {
        void *buffers[MOST_BUFFERS];
        DeviceLaunch launch = node->launch;
        for (int32_t i = 0; i < launch.n_buffers; i++) {
            buffers[i] = near_by(far, node->buffers[i], 0, "a kernel's buffer nowhere");
        }
        launch.buffers = buffers;
        launch.sizes = node->sizes;
        status = ops->launch(far->cpu, node->module, &launch);
    }
    if (status != DLC_OK) {
        wrong("the CPU failed");
    }
}

static void queue_run(FarDevice *far) {
    if (far->recording) {
        wrong("a call that waits while recording");
    }
    for (const Node *node = far->queue.first; node; node = node->next) {
        node_run(far, node);
    }
    list_free(&far->queue);
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
    far->queue.last = &far->queue.first;
    dlc_status status = device_cpu.open(allocator, options, &far->cpu, message);
    if (status != DLC_OK) {
        memory_free(allocator, far);
        return status;
    }
    *out = &far->base;
    return DLC_OK;
}

static void far_close(Device *device) {
    FarDevice *far = far_of(device);
    if (far->blocks) {
        wrong("closed with memory in use");
    }
    list_free(&far->queue);
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
    *block = (Block){.next = far->blocks, .memory = memory, .bytes = bytes};
    far->blocks = block;
    return (void *)((uintptr_t)memory + FAR_OFFSET);
}

static void far_free(Device *device, void *memory) {
    FarDevice *far = far_of(device);
    if (!memory) {
        return;
    }
    queue_run(far);
    uint8_t *real = (uint8_t *)((uintptr_t)memory - FAR_OFFSET);
    for (Block **at = &far->blocks; *at; at = &(*at)->next) {
        if ((*at)->memory == real) {
            Block *block = *at;
            *at = block->next;
            far->cpu->ops->free(far->cpu, block->memory);
            memory_free(&device->allocator, block);
            return;
        }
    }
    wrong("freed what it never gave");
}

static dlc_status far_write(Device *device, void *to, const void *from, size_t bytes) {
    FarDevice *far = far_of(device);
    queue_run(far);
    far->counts.writes++;
    memcpy(near_by(far, to, bytes, "a write to nowhere"), from, bytes);
    return DLC_OK;
}

static dlc_status far_read(Device *device, void *to, const void *from, size_t bytes) {
    FarDevice *far = far_of(device);
    queue_run(far);
    far->counts.reads++;
    memcpy(to, near_by(far, from, bytes, "a read from nowhere"), bytes);
    return DLC_OK;
}

static dlc_status far_copy(Device *device, void *to, const void *from, size_t bytes,
                           const uint8_t *if_set) {
    Node *node = node_new(far_of(device), NODE_COPY);
    far_of(device)->counts.copies++;
    node->to = to;
    node->from = from;
    node->bytes = bytes;
    node->if_set = if_set;
    return DLC_OK;
}

static dlc_status far_fill(Device *device, void *to, int byte, size_t bytes) {
    Node *node = node_new(far_of(device), NODE_FILL);
    node->to = to;
    node->value = byte;
    node->bytes = bytes;
    return DLC_OK;
}

static dlc_status far_set_i32(Device *device, int32_t *to, int32_t value) {
    Node *node = node_new(far_of(device), NODE_SET);
    node->to = (uint8_t *)to;
    node->value = value;
    node->bytes = sizeof value;
    return DLC_OK;
}

static dlc_status far_load(Device *device, const uint8_t *image, size_t n_image,
                           DeviceModule **out) {
    FarDevice *far = far_of(device);
    dlc_status status = far->cpu->ops->load(far->cpu, image, n_image, out);
    memcpy(device->error, far->cpu->error, sizeof device->error);
    return status;
}

static void far_unload(Device *device, DeviceModule *module) {
    queue_run(far_of(device));
    device_cpu.unload(far_of(device)->cpu, module);
}

static dlc_status far_reserve(Device *device, int64_t bytes) {
    queue_run(far_of(device));
    return device_cpu.reserve(far_of(device)->cpu, bytes);
}

static dlc_status far_launch(Device *device, DeviceModule *module, const DeviceLaunch *launch) {
    if (launch->n_buffers > MOST_BUFFERS || launch->n_sizes > MOST_SIZES) {
        wrong("a kernel with more arguments than it takes");
    }
    Node *node = node_new(far_of(device), NODE_LAUNCH);
    far_of(device)->counts.launches++;
    node->module = module;
    node->launch = *launch;
    node->buffers = calloc((size_t)launch->n_buffers + 1, sizeof *node->buffers);
    node->sizes = calloc((size_t)launch->n_sizes + 1, sizeof *node->sizes);
    if (!node->buffers || !node->sizes) {
        wrong("out of memory");
    }
    for (int32_t i = 0; i < launch->n_buffers; i++) {
        node->buffers[i] = launch->buffers[i];
    }
    for (int32_t i = 0; i < launch->n_sizes; i++) {
        node->sizes[i] = launch->sizes[i];
    }
    return DLC_OK;
}

static dlc_status far_finish(Device *device, KernelFault *fault) {
    FarDevice *far = far_of(device);
    queue_run(far);
    far->counts.finishes++;
    return far->cpu->ops->finish(far->cpu, fault);
}

static dlc_status far_record(Device *device) {
    FarDevice *far = far_of(device);
    if (far->recording) {
        wrong("a recording within a recording");
    }
    far->recording = calloc(1, sizeof *far->recording);
    if (!far->recording) {
        wrong("out of memory");
    }
    far->recording->last = &far->recording->first;
    far->counts.records++;
    return DLC_OK;
}

static void far_graph_free(Device *device, DeviceGraph *graph) {
    (void)device;
    list_free(graph);
    free(graph);
}

static dlc_status far_record_end(Device *device, DeviceGraph **out) {
    FarDevice *far = far_of(device);
    DeviceGraph *graph = far->recording;
    if (!graph) {
        wrong("the end of no recording");
    }
    far->recording = NULL;
    if (out) {
        *out = graph;
    } else {
        far_graph_free(device, graph);
    }
    return DLC_OK;
}

/* Does what was queued before, then the graph: as late as it may would be when somebody waits, but
 * the graph may be gone by then. */
static dlc_status far_replay(Device *device, DeviceGraph *graph) {
    FarDevice *far = far_of(device);
    queue_run(far);
    far->counts.replays++;
    for (const Node *node = graph->first; node; node = node->next) {
        node_run(far, node);
    }
    return DLC_OK;
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
    .doc = "a processor far away, for tests",
    .is_host = false,
    .supports = far_supports,
    .open = far_open,
    .close = far_close,
    .describe = far_describe,
    .alloc = far_alloc,
    .free = far_free,
    .write = far_write,
    .read = far_read,
    .copy = far_copy,
    .fill = far_fill,
    .set_i32 = far_set_i32,
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
