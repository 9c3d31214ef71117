/* See far_device.h. A wrong call ends the test program with a message: it is the caller's mistake.
 */
#include "far_device.h"
#include "runtime/cpu/device.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Not canonical on x86-64, and outside any mapping elsewhere. */
#define FAR_OFFSET ((uintptr_t)0x2000000000000000u)

enum { MOST_BUFFERS = 256, MOST_SIZES = 256 };

typedef enum NodeKind {
    NODE_LAUNCH,
    NODE_COPY,
    NODE_SEND,
    NODE_FILL,
    NODE_SET,
    NODE_GATE,
    NODE_FETCH,
    NODE_FAULT,
    NODE_REACH,
    NODE_WAIT
} NodeKind;

/* A point that a queue comes to; counted. */
typedef struct Point {
    int references;
    bool is_reached;
} Point;

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
    Point *point;
} Node;

typedef struct Block {
    struct Block *next;
    uint8_t *memory;
    size_t bytes;
} Block;

struct DeviceGraph {
    Node *first, **last;
};

typedef struct FarQueue {
    DeviceQueue base;
    struct FarQueue *next;
    DeviceQueue *cpu; /* does the work, on this queue's thread */
    pthread_t thread;
    DeviceGraph nodes;                   /* not yet done */
    int64_t n_given, n_released, n_done; /* those released may be done */
    bool stop;
} FarQueue;

typedef struct FarEvent {
    DeviceEvent base;
    Point *point; /* NULL: not recorded */
} FarEvent;

typedef struct FarDevice {
    Device base;
    struct FarDevice *next;
    Device *cpu;
    Block *blocks;
    FarQueue *queues;
    DeviceGraph *recording;
    FarCounts counts;
} FarDevice;

/* Guards what the queues' threads see, of all far devices: their events may be waited for by each
 * other. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static FarDevice *devices;

static void wrong(const char *what) {
    fprintf(stderr, "far device: %s\n", what);
    exit(3);
}

/* The real address; the bytes must lie in one block. */
static void *near_by(const FarDevice *far, const void *address, size_t bytes, const char *what) {
    uintptr_t at = (uintptr_t)address - FAR_OFFSET;
    bool found = false;
    pthread_mutex_lock(&mutex);
    for (const Block *block = far->blocks; block && !found; block = block->next) {
        uintptr_t first = (uintptr_t)block->memory;
        found = at >= first && at - first <= block->bytes && bytes <= block->bytes - (at - first);
    }
    pthread_mutex_unlock(&mutex);
    if (!found) {
        wrong(what);
    }
    return (void *)at;
}

static FarDevice *far_of(Device *device) {
    return (FarDevice *)device;
}

static void point_release(Point *point) { /* under the mutex */
    if (point && --point->references == 0) {
        free(point);
    }
}

static void node_free(Node *node) {
    pthread_mutex_lock(&mutex);
    point_release(node->point);
    pthread_mutex_unlock(&mutex);
    free(node->buffers);
    free(node->sizes);
    free(node);
}

static void list_free(DeviceGraph *list) {
    for (Node *node = list->first, *next; node; node = next) {
        next = node->next;
        node_free(node);
    }
    list->first = NULL;
    list->last = &list->first;
}

/* Gives the node, which is complete, to the queue or to the recording. */
static void give(FarQueue *queue, Node *node) {
    FarDevice *far = far_of(queue->base.device);
    pthread_mutex_lock(&mutex);
    DeviceGraph *list = far->recording ? far->recording : &queue->nodes;
    *list->last = node;
    list->last = &node->next;
    queue->n_given += list == &queue->nodes;
    pthread_mutex_unlock(&mutex);
}

static Node *node_new(NodeKind kind) {
    Node *node = calloc(1, sizeof *node);
    if (!node) {
        wrong("out of memory");
    }
    node->kind = kind;
    return node;
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
        wrong("the CPU failed");
    }
}

static void gate_run(FarDevice *far, DeviceQueue *cpu, const Node *node) {
    uint8_t *word = near_by(far, node->to, 1, "a gate nowhere");
    const uint8_t *flag = near_by(far, node->if_set, 1, "a condition nowhere");
    if (far->cpu->ops->gate(cpu, word, flag) != DLC_OK) {
        wrong("the CPU failed");
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
        wrong("the CPU failed");
    }
}

static void launch_run(FarDevice *far, DeviceQueue *cpu, const Node *node) {
    void *buffers[MOST_BUFFERS];
    DeviceLaunch launch = node->launch;
    for (int32_t i = 0; i < launch.n_buffers; i++) {
        buffers[i] = near_by(far, node->buffers[i], 0, "a kernel's buffer nowhere");
    }
    launch.buffers = buffers;
    launch.sizes = node->sizes;
    if (far->cpu->ops->launch(cpu, node->module, &launch) != DLC_OK) {
        wrong("the CPU failed");
    }
}

static void node_run(FarQueue *queue, const Node *node) {
    FarDevice *far = far_of(queue->base.device);
    switch (node->kind) {
    case NODE_REACH:
        pthread_mutex_lock(&mutex);
        node->point->is_reached = true;
        pthread_cond_broadcast(&moved);
        pthread_mutex_unlock(&mutex);
        break;
    case NODE_WAIT:
        pthread_mutex_lock(&mutex);
        while (!node->point->is_reached) {
            pthread_cond_wait(&moved, &mutex);
        }
        pthread_mutex_unlock(&mutex);
        break;
    case NODE_LAUNCH:
        launch_run(far, queue->cpu, node);
        break;
    case NODE_GATE:
        gate_run(far, queue->cpu, node);
        break;
    case NODE_FETCH:
    case NODE_FAULT:
        fetch_run(far, queue->cpu, node);
        break;
    default:
        memory_run(far, queue->cpu, node);
        break;
    }
}

static void *queue_main(void *argument) {
    FarQueue *queue = argument;
    pthread_mutex_lock(&mutex);
    for (;;) {
        while (queue->n_done == queue->n_released && !queue->stop) {
            pthread_cond_wait(&moved, &mutex);
        }
        if (queue->n_done == queue->n_released) {
            break;
        }
        Node *node = queue->nodes.first;
        queue->nodes.first = node->next;
        if (!node->next) {
            queue->nodes.last = &queue->nodes.first;
        }
        pthread_mutex_unlock(&mutex);
        node_run(queue, node);
        node_free(node);
        pthread_mutex_lock(&mutex);
        queue->n_done++;
        pthread_cond_broadcast(&moved);
    }
    pthread_mutex_unlock(&mutex);
    return NULL;
}

/* Somebody waits: what every queue was given so far may be done now, in any order that events
 * allow. */
static void release(FarDevice *far) { /* under the mutex */
    if (far->recording) {
        wrong("a call that waits while recording");
    }
    for (FarDevice *device = devices; device; device = device->next) {
        for (FarQueue *queue = device->queues; queue; queue = queue->next) {
            queue->n_released = queue->n_given;
        }
    }
    pthread_cond_broadcast(&moved);
}

static void queue_wait(FarQueue *queue) {
    pthread_mutex_lock(&mutex);
    release(far_of(queue->base.device));
    while (queue->n_done != queue->n_given) {
        pthread_cond_wait(&moved, &mutex);
    }
    pthread_mutex_unlock(&mutex);
}

static void queues_wait(FarDevice *far) {
    for (FarQueue *queue = far->queues; queue; queue = queue->next) {
        queue_wait(queue);
    }
}

/* -- Queues and events -- */

/* The first is the device's queue 0. */
static dlc_status far_queue_create(Device *device, bool background, DeviceQueue **out) {
    FarDevice *far = far_of(device);
    FarQueue *queue = calloc(1, sizeof *queue);
    (void)background;
    if (!queue) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    queue->base.device = device;
    queue->cpu = far->cpu->queue;
    if (far->queues && device_cpu.queue_create(far->cpu, false, &queue->cpu) != DLC_OK) {
        free(queue);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    queue->nodes.last = &queue->nodes.first;
    if (pthread_create(&queue->thread, NULL, queue_main, queue) != 0) {
        wrong("no thread");
    }
    pthread_mutex_lock(&mutex);
    queue->next = far->queues;
    far->queues = queue;
    pthread_mutex_unlock(&mutex);
    *out = &queue->base;
    return DLC_OK;
}

static void far_queue_destroy(DeviceQueue *base) {
    FarQueue *queue = (FarQueue *)base;
    if (!queue) {
        return;
    }
    FarDevice *far = far_of(base->device);
    queue_wait(queue);
    pthread_mutex_lock(&mutex);
    queue->stop = true;
    pthread_cond_broadcast(&moved);
    FarQueue **at = &far->queues;
    while (*at != queue) {
        at = &(*at)->next;
    }
    *at = queue->next;
    pthread_mutex_unlock(&mutex);
    pthread_join(queue->thread, NULL);
    if (queue->cpu != far->cpu->queue) {
        device_cpu.queue_destroy(queue->cpu);
    }
    free(queue);
}

static dlc_status far_event_create(Device *device, DeviceEvent **out) {
    FarEvent *event = calloc(1, sizeof *event);
    if (!event) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    event->base.device = device;
    *out = &event->base;
    return DLC_OK;
}

static void point_give(DeviceQueue *queue, NodeKind kind, Point *point) {
    if (far_of(queue->device)->recording) {
        wrong("an event while recording");
    }
    Node *node = node_new(kind);
    node->point = point;
    pthread_mutex_lock(&mutex);
    point->references++;
    pthread_mutex_unlock(&mutex);
    give((FarQueue *)queue, node);
}

static dlc_status far_event_record(DeviceEvent *base, DeviceQueue *queue) {
    FarEvent *event = (FarEvent *)base;
    Point *point = calloc(1, sizeof *point);
    if (!point) {
        wrong("out of memory");
    }
    point->references = 1;
    pthread_mutex_lock(&mutex);
    point_release(event->point);
    pthread_mutex_unlock(&mutex);
    event->point = point;
    point_give(queue, NODE_REACH, point);
    return DLC_OK;
}

static dlc_status far_event_wait(DeviceEvent *base, DeviceQueue *queue) {
    FarEvent *event = (FarEvent *)base;
    if (event->point) {
        point_give(queue, NODE_WAIT, event->point);
    }
    return DLC_OK;
}

static dlc_status far_event_finish(DeviceEvent *base) {
    const FarEvent *event = (FarEvent *)base;
    pthread_mutex_lock(&mutex);
    release(far_of(base->device));
    while (event->point && !event->point->is_reached) {
        pthread_cond_wait(&moved, &mutex);
    }
    pthread_mutex_unlock(&mutex);
    return DLC_OK;
}

static void far_event_destroy(DeviceEvent *base) {
    FarEvent *event = (FarEvent *)base;
    if (event) {
        pthread_mutex_lock(&mutex);
        point_release(event->point);
        pthread_mutex_unlock(&mutex);
        free(event);
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
    pthread_mutex_lock(&mutex);
    far->next = devices;
    devices = far;
    pthread_mutex_unlock(&mutex);
    *out = &far->base;
    return DLC_OK;
}

static void far_close(Device *device) {
    FarDevice *far = far_of(device);
    if (far->blocks) {
        wrong("closed with memory in use");
    }
    while (far->queues) {
        far_queue_destroy(&far->queues->base);
    }
    pthread_mutex_lock(&mutex);
    FarDevice **at = &devices;
    while (*at != far) {
        at = &(*at)->next;
    }
    *at = far->next;
    pthread_mutex_unlock(&mutex);
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
    pthread_mutex_lock(&mutex);
    *block = (Block){.next = far->blocks, .memory = memory, .bytes = bytes};
    far->blocks = block;
    pthread_mutex_unlock(&mutex);
    return (void *)((uintptr_t)memory + FAR_OFFSET);
}

static void far_free(Device *device, void *memory) {
    FarDevice *far = far_of(device);
    if (!memory) {
        return;
    }
    queues_wait(far);
    uint8_t *real = (uint8_t *)((uintptr_t)memory - FAR_OFFSET);
    pthread_mutex_lock(&mutex);
    Block **at = &far->blocks;
    while (*at && (*at)->memory != real) {
        at = &(*at)->next;
    }
    Block *block = *at;
    if (block) {
        *at = block->next;
    }
    pthread_mutex_unlock(&mutex);
    if (!block) {
        wrong("freed what it never gave");
        return;
    }
    far->cpu->ops->free(far->cpu, block->memory);
    memory_free(&device->allocator, block);
}

static dlc_status far_write(DeviceQueue *queue, void *to, const void *from, size_t bytes) {
    FarDevice *far = far_of(queue->device);
    queue_wait((FarQueue *)queue);
    far->counts.writes++;
    memcpy(near_by(far, to, bytes, "a write to nowhere"), from, bytes);
    return DLC_OK;
}

static dlc_status far_read(DeviceQueue *queue, void *to, const void *from, size_t bytes) {
    FarDevice *far = far_of(queue->device);
    queue_wait((FarQueue *)queue);
    far->counts.reads++;
    memcpy(to, near_by(far, from, bytes, "a read from nowhere"), bytes);
    return DLC_OK;
}

static void *far_host_alloc(Device *device, size_t bytes) {
    return memory_new_aligned(&device->allocator, bytes);
}

static void far_host_free(Device *device, void *memory) {
    queues_wait(far_of(device));
    memory_free_aligned(&device->allocator, memory);
}

static dlc_status far_send(DeviceQueue *queue, void *to, const void *from, size_t bytes) {
    Node *node = node_new(NODE_SEND);
    far_of(queue->device)->counts.sends++;
    node->to = to;
    node->from = from;
    node->bytes = bytes;
    give((FarQueue *)queue, node);
    return DLC_OK;
}

static dlc_status far_copy(DeviceQueue *queue, void *to, const void *from, size_t bytes,
                           const uint8_t *if_set) {
    Node *node = node_new(NODE_COPY);
    far_of(queue->device)->counts.copies++;
    node->to = to;
    node->from = from;
    node->bytes = bytes;
    node->if_set = if_set;
    give((FarQueue *)queue, node);
    return DLC_OK;
}

static dlc_status far_fill(DeviceQueue *queue, void *to, int byte, size_t bytes) {
    Node *node = node_new(NODE_FILL);
    node->to = to;
    node->value = byte;
    node->bytes = bytes;
    give((FarQueue *)queue, node);
    return DLC_OK;
}

static dlc_status far_set_i32(DeviceQueue *queue, int32_t *to, int32_t value) {
    Node *node = node_new(NODE_SET);
    node->to = (uint8_t *)to;
    node->value = value;
    node->bytes = sizeof value;
    give((FarQueue *)queue, node);
    return DLC_OK;
}

static dlc_status far_gate(DeviceQueue *queue, uint8_t *word, const uint8_t *if_set) {
    Node *node = node_new(NODE_GATE);
    node->to = word;
    node->if_set = if_set;
    give((FarQueue *)queue, node);
    return DLC_OK;
}

static dlc_status fetch_give(DeviceQueue *queue, NodeKind kind, void *to, const void *from,
                             size_t bytes) {
    if (far_of(queue->device)->recording) {
        wrong("a read by the host while recording");
    }
    Node *node = node_new(kind);
    far_of(queue->device)->counts.fetches++;
    node->to = to;
    node->from = from;
    node->bytes = bytes;
    give((FarQueue *)queue, node);
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
    queues_wait(far_of(device));
    device_cpu.unload(far_of(device)->cpu, module);
}

static dlc_status far_reserve(DeviceQueue *queue, int64_t bytes) {
    queue_wait((FarQueue *)queue);
    return device_cpu.reserve(((FarQueue *)queue)->cpu, bytes);
}

static void lists_keep(Node *node, void *const *buffers, const int64_t *sizes) {
    size_t n_buffers = (size_t)node->launch.n_buffers, n_sizes = (size_t)node->launch.n_sizes;
    node->buffers = calloc(n_buffers + 1, sizeof *node->buffers);
    node->sizes = calloc(n_sizes + 1, sizeof *node->sizes);
    if (!node->buffers || !node->sizes) {
        wrong("out of memory");
        return;
    }
    for (size_t i = 0; i < n_buffers; i++) {
        node->buffers[i] = buffers[i];
    }
    for (size_t i = 0; i < n_sizes; i++) {
        node->sizes[i] = sizes[i];
    }
}

static dlc_status far_launch(DeviceQueue *queue, DeviceModule *module, const DeviceLaunch *launch) {
    if (launch->n_buffers > MOST_BUFFERS || launch->n_sizes > MOST_SIZES) {
        wrong("a kernel with more arguments than it takes");
    }
    Node *node = node_new(NODE_LAUNCH);
    far_of(queue->device)->counts.launches++;
    node->module = module;
    node->launch = *launch;
    lists_keep(node, launch->buffers, launch->sizes);
    give((FarQueue *)queue, node);
    return DLC_OK;
}

static dlc_status far_finish(DeviceQueue *queue, KernelFault *fault) {
    queue_wait((FarQueue *)queue);
    far_of(queue->device)->counts.finishes++;
    return device_cpu.finish(((FarQueue *)queue)->cpu, fault);
}

static dlc_status far_record(DeviceQueue *queue) {
    FarDevice *far = far_of(queue->device);
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

static dlc_status far_record_end(DeviceQueue *queue, DeviceGraph **out) {
    FarDevice *far = far_of(queue->device);
    DeviceGraph *graph = far->recording;
    if (!graph) {
        wrong("the end of no recording");
    }
    far->recording = NULL;
    if (out) {
        *out = graph;
    } else {
        far_graph_free(queue->device, graph);
    }
    return DLC_OK;
}

/* Gives copies, so that the graph may go before they are done. */
static dlc_status far_replay(DeviceQueue *queue, DeviceGraph *graph) {
    far_of(queue->device)->counts.replays++;
    for (const Node *node = graph->first; node; node = node->next) {
        Node *copy = node_new(node->kind);
        *copy = *node;
        copy->next = NULL;
        copy->buffers = NULL;
        copy->sizes = NULL;
        if (node->kind == NODE_LAUNCH) {
            lists_keep(copy, node->buffers, node->sizes);
        }
        give((FarQueue *)queue, copy);
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
