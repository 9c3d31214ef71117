/* libcuda: graphs, captured from streams. */
#include "tests/cudasim/driver.h"

#include <stdlib.h>
#include <string.h>

typedef struct GraphExec {
    Graph *graph;
} GraphExec;

static void graph_free(Graph *graph) {
    for (int i = 0; graph && i < graph->n_nodes; i++) {
        work_free(&graph->nodes[i].work);
        free(graph->nodes[i].after);
    }
    if (graph) {
        free(graph->nodes);
    }
    free(graph);
}

EXPORT Result cuStreamBeginCapture_v2(void *handle, int mode);
Result cuStreamBeginCapture_v2(void *handle, int mode) {
    (void)mode;
    ENTER();
    Stream *stream = stream_of(handle);
    if (stream->is_null || stream->capture) {
        return leave(SIM_ILLEGAL_STATE);
    }
    stream->capture = calloc(1, sizeof *stream->capture);
    stream->owns_capture = true;
    alive.graphs += stream->capture != NULL;
    return leave(stream->capture ? SIM_SUCCESS : SIM_OUT_OF_MEMORY);
}

EXPORT Result cuStreamEndCapture(void *handle, void **out);
Result cuStreamEndCapture(void *handle, void **out) {
    bool goes = enter();
    Stream *stream = handle;
    if (!stream || !stream->capture || !stream->owns_capture) {
        return leave(SIM_ILLEGAL_STATE);
    }
    Graph *graph = stream->capture;
    for (Stream *s = stream->context->streams; s; s = s->next) {
        if (s->capture == graph) {
            s->capture = NULL;
            s->owns_capture = false;
            free(s->capture_last.at);
            s->capture_last = (Nodes){0};
        }
    }
    if (!goes || stream->context->broken) {
        graph_free(graph);
        alive.graphs--;
        *out = NULL;
        return leave(goes ? stream->context->broken : SIM_STREAM_CAPTURE_INVALIDATED);
    }
    *out = graph;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuGraphInstantiateWithFlags(void **out, void *graph, unsigned long long flags);
Result cuGraphInstantiateWithFlags(void **out, void *graph, unsigned long long flags) {
    (void)flags;
    ENTER();
    const Graph *from = graph;
    GraphExec *exec = calloc(1, sizeof *exec);
    Graph *own = calloc(1, sizeof *own);
    GraphNode *nodes = calloc((size_t)from->n_nodes + 1, sizeof *nodes);
    if (!exec || !own || !nodes) {
        free(exec);
        free(own);
        free(nodes);
        return leave(SIM_OUT_OF_MEMORY);
    }
    for (int i = 0; i < from->n_nodes; i++) {
        const GraphNode *node = &from->nodes[i];
        nodes[i] = *node;
        nodes[i].work = work_copy(&node->work);
        nodes[i].after = malloc(((size_t)node->n_after + 1) * sizeof(int));
        if (!nodes[i].after) {
            abort();
        }
        for (int k = 0; k < node->n_after; k++) { /* the first nodes have no list at all */
            nodes[i].after[k] = node->after[k];
        }
    }
    *own = (Graph){.nodes = nodes, .n_nodes = from->n_nodes};
    exec->graph = own;
    alive.execs++;
    *out = exec;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuGraphLaunch(void *exec, void *stream);
Result cuGraphLaunch(void *exec, void *stream) {
    ENTER();
    return leave(queue_add_graph(stream_of(stream), ((GraphExec *)exec)->graph));
}

EXPORT Result cuGraphExecDestroy(void *handle);
Result cuGraphExecDestroy(void *handle) {
    bool goes = enter();
    GraphExec *exec = handle;
    graph_free(exec->graph);
    free(exec);
    alive.execs--;
    return leave(goes ? SIM_SUCCESS : settings.fail_result);
}

EXPORT Result cuGraphDestroy(void *graph);
Result cuGraphDestroy(void *graph) {
    bool goes = enter();
    graph_free(graph);
    alive.graphs--;
    return leave(goes ? SIM_SUCCESS : settings.fail_result);
}
