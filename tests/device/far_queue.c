/* The far device's queues, each with a thread, and events. */
#include "far_internal.h"

#include <stdio.h>
#include <stdlib.h>

pthread_mutex_t far_mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t far_moved = PTHREAD_COND_INITIALIZER;
static FarDevice *devices;

void far_list_device(FarDevice *far) {
    pthread_mutex_lock(&far_mutex);
    far->next = devices;
    devices = far;
    pthread_mutex_unlock(&far_mutex);
}

void far_unlist_device(FarDevice *far) {
    pthread_mutex_lock(&far_mutex);
    FarDevice **at = &devices;
    while (*at != far) {
        at = &(*at)->next;
    }
    *at = far->next;
    pthread_mutex_unlock(&far_mutex);
}

/* -- What queues are given -- */

void far_point_release(Point *point) {
    if (point && --point->references == 0) {
        far_point_release(point->replay);
        free(point);
    }
}

Node *far_node_new(FarQueue *queue, NodeKind kind) {
    Node *node = calloc(1, sizeof *node);
    if (!node) {
        far_wrong("out of memory");
    }
    node->queue = queue;
    node->kind = kind;
    return node;
}

void far_node_free(Node *node) {
    pthread_mutex_lock(&far_mutex);
    far_point_release(node->point);
    pthread_mutex_unlock(&far_mutex);
    free(node->buffers);
    free(node->sizes);
    free(node);
}

void far_give_to(FarQueue *queue, DeviceGraph *list, Node *node) {
    pthread_mutex_lock(&far_mutex);
    *list->last = node;
    list->last = &node->next;
    queue->n_given += list == &queue->nodes;
    if (list == &queue->nodes && node->kind == NODE_REACH) {
        node->point->queue = queue;
        node->point->number = queue->n_given;
    }
    pthread_mutex_unlock(&far_mutex);
}

void far_give(Node *node) {
    FarQueue *queue = node->queue;
    FarDevice *far = far_of(queue->base.device);
    far_give_to(queue, far_is_recorded(queue) ? far->recording : &queue->nodes, node);
}

/* -- Threads -- */

/* Somebody waits for the point: what it takes may be done now. Under the mutex. */
static void release_to(const Point *point) {
    if (!point->is_reached && point->queue->n_released < point->number) {
        point->queue->n_released = point->number;
        pthread_cond_broadcast(&far_moved);
    }
}

static void node_run(FarQueue *queue, const Node *node) {
    switch (node->kind) {
    case NODE_REACH:
        pthread_mutex_lock(&far_mutex);
        node->point->is_reached = true;
        pthread_cond_broadcast(&far_moved);
        pthread_mutex_unlock(&far_mutex);
        break;
    case NODE_WAIT:
        pthread_mutex_lock(&far_mutex);
        release_to(node->point);
        queue->awaits = node->point;
        pthread_cond_broadcast(&far_moved);
        while (!node->point->is_reached) {
            pthread_cond_wait(&far_moved, &far_mutex);
        }
        queue->awaits = NULL;
        pthread_mutex_unlock(&far_mutex);
        break;
    default:
        far_node_run(queue, node);
        break;
    }
}

static void *queue_main(void *argument) {
    FarQueue *queue = argument;
    pthread_mutex_lock(&far_mutex);
    for (;;) {
        while (queue->n_done == queue->n_released && !queue->stop) {
            pthread_cond_wait(&far_moved, &far_mutex);
        }
        if (queue->n_done == queue->n_released) {
            break;
        }
        Node *node = queue->nodes.first;
        queue->nodes.first = node->next;
        if (!node->next) {
            queue->nodes.last = &queue->nodes.first;
        }
        pthread_mutex_unlock(&far_mutex);
        node_run(queue, node);
        far_node_free(node);
        pthread_mutex_lock(&far_mutex);
        queue->n_done++;
        pthread_cond_broadcast(&far_moved);
    }
    pthread_mutex_unlock(&far_mutex);
    return NULL;
}

/* Whether the queue does nothing more by itself. Under the mutex, like all below. */
static bool is_idle(const FarQueue *queue) {
    return !queue || queue->n_done == queue->n_released ||
           (queue->awaits && !queue->awaits->is_reached);
}

static void release_all(FarQueue *queue) {
    queue->n_released = queue->n_given;
    if (queue->twin) {
        queue->twin->n_released = queue->twin->n_given;
    }
    pthread_cond_broadcast(&far_moved);
}

/* Another queue than the one waited for that still works; NULL: none. */
static const FarQueue *other_working(const FarQueue *wanted) {
    for (const FarDevice *device = devices; device; device = device->next) {
        for (const FarQueue *queue = device->queues; queue; queue = queue->next) {
            if (queue != wanted && !(is_idle(queue) && is_idle(queue->twin))) {
                return queue;
            }
        }
    }
    return NULL;
}

/* The host waits for something of this queue. For some waits on end, what every queue was given so
 * far may be done now, at once; for others only what the caller releases, and what that waits for,
 * as late as can be; for others the other queues go before, as far as they can. */
static void release(const FarQueue *wanted) {
    static unsigned random = 1;
    static enum { TOGETHER, LATE, OTHERS_FIRST, MODES } mode;
    if (far_of(wanted->base.device)->recording) {
        far_wrong("a call that waits while recording");
    }
    random = random * 1664525u + 1013904223u;
    if (random >> 29 == 0) {
        mode = (mode + 1) % MODES;
    }
    for (FarDevice *device = devices; device && mode != LATE; device = device->next) {
        for (FarQueue *queue = device->queues; queue; queue = queue->next) {
            if (queue != wanted || mode == TOGETHER) {
                release_all(queue);
            }
        }
    }
    while (mode == OTHERS_FIRST && other_working(wanted)) {
        pthread_cond_wait(&far_moved, &far_mutex);
    }
}

void far_queue_wait(FarQueue *queue) {
    pthread_mutex_lock(&far_mutex);
    release(queue);
    release_all(queue);
    while (queue->n_done != queue->n_given ||
           (queue->twin && queue->twin->n_done != queue->twin->n_given)) {
        pthread_cond_wait(&far_moved, &far_mutex);
    }
    pthread_mutex_unlock(&far_mutex);
}

void far_queues_wait(FarDevice *far) {
    for (FarQueue *queue = far->queues; queue; queue = queue->next) {
        far_queue_wait(queue);
    }
}

/* -- Queues -- */

static FarQueue *queue_begin(Device *device, DeviceQueue *cpu, FarQueue *owner) {
    FarQueue *queue = calloc(1, sizeof *queue);
    if (!queue) {
        return NULL;
    }
    queue->base.device = device;
    queue->cpu = cpu;
    queue->owner = owner ? owner : queue;
    queue->nodes.last = &queue->nodes.first;
    if (pthread_create(&queue->thread, NULL, queue_main, queue) != 0) {
        far_wrong("no thread");
    }
    return queue;
}

static void queue_end(FarQueue *queue) {
    if (queue) {
        pthread_mutex_lock(&far_mutex);
        queue->stop = true;
        pthread_cond_broadcast(&far_moved);
        pthread_mutex_unlock(&far_mutex);
        pthread_join(queue->thread, NULL);
        free(queue);
    }
}

FarQueue *far_twin(FarQueue *queue) {
    if (!queue->twin) {
        FarQueue *twin = queue_begin(queue->base.device, queue->cpu, queue);
        if (!twin) {
            far_wrong("out of memory");
        }
        pthread_mutex_lock(&far_mutex);
        queue->twin = twin;
        pthread_mutex_unlock(&far_mutex);
    }
    return queue->twin;
}

/* The first is the device's queue 0. */
dlc_status far_queue_create(Device *device, bool background, DeviceQueue **out) {
    FarDevice *far = far_of(device);
    DeviceQueue *cpu = far->cpu->queue;
    (void)background;
    if (far->queues && device_cpu.queue_create(far->cpu, false, &cpu) != DLC_OK) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    FarQueue *queue = queue_begin(device, cpu, NULL);
    if (!queue) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    pthread_mutex_lock(&far_mutex);
    queue->next = far->queues;
    far->queues = queue;
    pthread_mutex_unlock(&far_mutex);
    *out = &queue->base;
    return DLC_OK;
}

void far_queue_destroy(DeviceQueue *base) {
    FarQueue *queue = (FarQueue *)base;
    if (!queue) {
        return;
    }
    FarDevice *far = far_of(base->device);
    DeviceQueue *cpu = queue->cpu;
    far_queue_wait(queue);
    pthread_mutex_lock(&far_mutex);
    FarQueue **at = &far->queues;
    while (*at != queue) {
        at = &(*at)->next;
    }
    *at = queue->next;
    pthread_mutex_unlock(&far_mutex);
    queue_end(queue->twin);
    queue_end(queue);
    if (cpu != far->cpu->queue) {
        device_cpu.queue_destroy(cpu);
    }
}

/* -- Events -- */

dlc_status far_event_create(Device *device, DeviceEvent **out) {
    FarEvent *event = calloc(1, sizeof *event);
    if (!event) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    event->base.device = device;
    *out = &event->base;
    return DLC_OK;
}

static void point_give(FarQueue *queue, NodeKind kind, Point *point) {
    Node *node = far_node_new(queue, kind);
    node->point = point;
    pthread_mutex_lock(&far_mutex);
    point->references++;
    pthread_mutex_unlock(&far_mutex);
    far_give(node);
}

dlc_status far_event_record(DeviceEvent *base, DeviceQueue *queue_base) {
    FarEvent *event = (FarEvent *)base;
    FarQueue *queue = (FarQueue *)queue_base;
    Point *point = calloc(1, sizeof *point);
    if (!point) {
        far_wrong("out of memory");
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    point->references = 1;
    point->recording = far_is_recorded(queue) ? queue->recording : 0;
    pthread_mutex_lock(&far_mutex);
    far_point_release(event->point);
    pthread_mutex_unlock(&far_mutex);
    event->point = point;
    point_give(queue, NODE_REACH, point);
    return DLC_OK;
}

static dlc_status refuse(Device *device, const char *why) {
    snprintf(device->error, sizeof device->error, "%s", why);
    return DLC_ERROR_INTERNAL;
}

dlc_status far_event_wait(DeviceEvent *base, DeviceQueue *queue_base) {
    const FarEvent *event = (FarEvent *)base;
    FarQueue *queue = (FarQueue *)queue_base;
    Device *device = queue_base->device;
    const FarDevice *other = far_of(base->device);
    if (!event->point) {
        return DLC_OK;
    }
    if (event->point->recording == 0 && far_is_recorded(queue)) {
        return refuse(device, "a queue that is being recorded waits for an event from before");
    }
    if (event->point->recording != 0) {
        if (!other->recording || event->point->recording != other->n_recordings) {
            return refuse(device, "a wait for an event within a recording that has ended");
        }
        if (base->device != device) {
            return refuse(device, "a queue of another device waits for a recorded event");
        }
        queue->recording = event->point->recording;
        (void)far_twin(queue);
    }
    point_give(queue, NODE_WAIT, event->point);
    return DLC_OK;
}

dlc_status far_event_finish(DeviceEvent *base) {
    const FarEvent *event = (FarEvent *)base;
    const FarDevice *far = far_of(base->device);
    if (event->point && (event->point->recording != 0 || far->recording)) {
        return refuse(base->device, "the host waits for an event while recording, or within one");
    }
    pthread_mutex_lock(&far_mutex);
    if (event->point && !event->point->is_reached) {
        release(event->point->queue);
        release_to(event->point);
    }
    while (event->point && !event->point->is_reached) {
        pthread_cond_wait(&far_moved, &far_mutex);
    }
    pthread_mutex_unlock(&far_mutex);
    return DLC_OK;
}

void far_event_destroy(DeviceEvent *base) {
    FarEvent *event = (FarEvent *)base;
    if (event) {
        pthread_mutex_lock(&far_mutex);
        far_point_release(event->point);
        pthread_mutex_unlock(&far_mutex);
        free(event);
    }
}
