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
    bool good = capture_new(stream) != NULL;
    alive.graphs += good;
    return leave(good ? SIM_SUCCESS : SIM_OUT_OF_MEMORY);
}

EXPORT Result cuStreamEndCapture(void *handle, void **out);
Result cuStreamEndCapture(void *handle, void **out) {
    bool goes = enter();
    Stream *stream = handle;
    if (!stream || !stream->capture || !stream->owns_capture) {
        return leave(stream && stream->capture ? SIM_STREAM_CAPTURE_UNMATCHED : SIM_ILLEGAL_STATE);
    }
    Graph *graph;
    Result result = capture_end(stream, &graph);
    if (!goes) {
        result = SIM_STREAM_CAPTURE_INVALIDATED;
    } else if (stream->context->broken) {
        result = stream->context->broken;
    }
    if (result != SIM_SUCCESS) {
        graph_free(graph);
        alive.graphs--;
        graph = NULL;
    }
    *out = graph;
    return leave(result);
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
