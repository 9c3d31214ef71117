/* What the far device records: a list of nodes of several queues, given anew by each replay. */
#include "far_internal.h"

#include <stdio.h>
#include <stdlib.h>

bool far_is_recorded(const FarQueue *queue) {
    const FarDevice *far = far_of(queue->base.device);
    return far->recording && queue->recording == far->n_recordings;
}

void far_lists_keep(Node *node, void *const *buffers, const int64_t *sizes) {
    size_t n_buffers = (size_t)node->launch.n_buffers, n_sizes = (size_t)node->launch.n_sizes;
    node->buffers = calloc(n_buffers + 1, sizeof *node->buffers);
    node->sizes = calloc(n_sizes + 1, sizeof *node->sizes);
    if (!node->buffers || !node->sizes) {
        far_wrong("out of memory");
        return;
    }
    for (size_t i = 0; i < n_buffers; i++) {
        node->buffers[i] = buffers[i];
    }
    for (size_t i = 0; i < n_sizes; i++) {
        node->sizes[i] = sizes[i];
    }
}

dlc_status far_record(DeviceQueue *base) {
    FarQueue *queue = (FarQueue *)base;
    FarDevice *far = far_of(base->device);
    if (far->recording) {
        far_wrong("a recording within a recording");
    }
    DeviceGraph *graph = calloc(1, sizeof *graph);
    if (!graph) {
        far_wrong("out of memory");
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    graph->last = &graph->first;
    graph->queue = queue;
    far->recording = graph;
    queue->recording = ++far->n_recordings;
    far->counts.records++;
    return DLC_OK;
}

void far_graph_free(Device *device, DeviceGraph *graph) {
    (void)device;
    for (Node *node = graph ? graph->first : NULL, *next; node; node = next) {
        next = node->next;
        far_node_free(node);
    }
    free(graph);
}

/* Looks back from what the first queue was given last: whether the newest node of every other one
 * comes before it. */
static bool all_joined(const DeviceGraph *graph) {
    size_t n = 0;
    bool joined = true;
    for (Node *node = graph->first; node; node = node->next) {
        node->queue->is_wanted = false;
        if (node->point) {
            node->point->is_wanted = false;
        }
        n++;
    }
    const Node **nodes = calloc(n + 1, sizeof *nodes);
    if (!nodes) {
        far_wrong("out of memory");
        return false;
    }
    n = 0;
    for (const Node *node = graph->first; node; node = node->next) {
        nodes[n++] = node;
    }
    graph->queue->is_wanted = true;
    while (n-- > 0 && joined) {
        const Node *node = nodes[n];
        if (node->kind == NODE_REACH && node->point->is_wanted) {
            node->queue->is_wanted = true;
        }
        joined = node->queue->is_wanted;
        if (joined && node->kind == NODE_WAIT) {
            node->point->is_wanted = true;
        }
    }
    free(nodes);
    return joined;
}

dlc_status far_record_end(DeviceQueue *base, DeviceGraph **out) {
    FarDevice *far = far_of(base->device);
    DeviceGraph *graph = far->recording;
    if (!graph || graph->queue != (FarQueue *)base) {
        far_wrong("the end of no recording of this queue");
        return DLC_ERROR_INTERNAL;
    }
    far->recording = NULL;
    if (out && all_joined(graph)) {
        *out = graph;
        return DLC_OK;
    }
    far_graph_free(base->device, graph);
    if (out) {
        snprintf(far->base.error, sizeof far->base.error,
                 "the recording's first queue has not waited for all that others were given");
        return DLC_ERROR_INTERNAL;
    }
    return DLC_OK;
}

/* The point of this replay in place of the recorded one. */
static Point *point_replay(const Node *node) {
    Point *recorded = node->point;
    pthread_mutex_lock(&far_mutex);
    if (node->kind == NODE_REACH) {
        far_point_release(recorded->replay);
        recorded->replay = calloc(1, sizeof *recorded);
        if (!recorded->replay) {
            far_wrong("out of memory");
        }
        recorded->replay->references = 1;
    }
    recorded->replay->references++;
    pthread_mutex_unlock(&far_mutex);
    return recorded->replay;
}

/* Gives copies, so that the graph may go before they are done. */
dlc_status far_replay(DeviceQueue *base, DeviceGraph *graph) {
    FarQueue *queue = (FarQueue *)base;
    if (graph->queue != queue) {
        far_wrong("a replay on another queue than the recording's");
    }
    far_of(base->device)->counts.replays++;
    for (const Node *node = graph->first; node; node = node->next) {
        FarQueue *place = node->queue == queue ? queue : far_twin(node->queue);
        Node *copy = far_node_new(place, node->kind);
        *copy = *node;
        copy->queue = place;
        copy->next = NULL;
        copy->buffers = NULL;
        copy->sizes = NULL;
        if (node->kind == NODE_LAUNCH) {
            far_lists_keep(copy, node->buffers, node->sizes);
        }
        if (node->point) {
            copy->point = point_replay(node);
        }
        far_give_to(place, &place->nodes, copy);
    }
    return DLC_OK;
}
