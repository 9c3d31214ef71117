/* Streams under capture: what they are given becomes nodes of a graph. The rules that the driver
 * documents for captures over several streams; what breaks one ends the capture. */
#include "tests/cudasim/results.h"
#include "tests/cudasim/sim.h"

#include <stdlib.h>
#include <string.h>

static int64_t n_captures;

static void nodes_add(Nodes *nodes, const Nodes *more) {
    nodes->at = realloc(nodes->at, (size_t)(nodes->n + more->n + 1) * sizeof *nodes->at);
    if (!nodes->at) {
        abort();
    }
    if (more->n > 0) { /* else it may have no list at all */
        memcpy(nodes->at + nodes->n, more->at, (size_t)more->n * sizeof *more->at);
    }
    nodes->n += more->n;
}

Graph *capture_new(Stream *stream) {
    Graph *graph = calloc(1, sizeof *graph);
    if (graph) {
        graph->capture = ++n_captures;
        stream->capture = graph;
        stream->owns_capture = true;
    }
    return graph;
}

static int invalidate(Graph *graph, int result) {
    if (graph) {
        graph->is_invalid = true;
    }
    return result;
}

int capture_add(Stream *stream, Work *work) {
    Graph *graph = stream->capture;
    if (graph->is_invalid) {
        work_free(work);
        return SIM_STREAM_CAPTURE_INVALIDATED;
    }
    if (graph->n_nodes == graph->cap_nodes) {
        graph->cap_nodes = graph->cap_nodes ? graph->cap_nodes * 2 : 32;
        graph->nodes = realloc(graph->nodes, (size_t)graph->cap_nodes * sizeof *graph->nodes);
        if (!graph->nodes) {
            abort();
        }
    }
    GraphNode *node = &graph->nodes[graph->n_nodes];
    *node = (GraphNode){.work = *work,
                        .stream = stream->number,
                        .after = stream->capture_last.at,
                        .n_after = stream->capture_last.n,
                        .n_kept = stream->capture_last.n};
    *work = (Work){0};
    stream->capture_last = (Nodes){.at = malloc(sizeof(int)), .n = 1};
    if (!stream->capture_last.at) {
        abort();
    }
    stream->capture_last.at[0] = graph->n_nodes++;
    return SIM_SUCCESS;
}

void capture_record(Event *event, const Stream *stream) {
    free(event->capture_last.at);
    event->capture_last = (Nodes){0};
    event->capture = stream->capture ? stream->capture->capture : 0;
    if (stream->capture) {
        nodes_add(&event->capture_last, &stream->capture_last);
    }
}

/* The capture that the event is of, as long as it goes on. */
static Graph *capture_of(const Event *event) {
    for (const Stream *s = event->context->streams; s; s = s->next) {
        if (s->capture && s->capture->capture == event->capture) {
            return s->capture;
        }
    }
    return NULL;
}

int capture_host_wait(const Event *event) {
    return invalidate(capture_of(event), SIM_CAPTURED_EVENT);
}

int capture_stream_wait(Stream *stream, const Event *event) {
    if (!event->capture) {
        return invalidate(stream->capture, SIM_STREAM_CAPTURE_ISOLATION);
    }
    Graph *graph = capture_of(event);
    if (!graph) {
        return invalidate(stream->capture, SIM_CAPTURED_EVENT);
    }
    if (stream->capture && stream->capture != graph) {
        return invalidate(graph, invalidate(stream->capture, SIM_STREAM_CAPTURE_MERGE));
    }
    if (stream->is_null || stream->context != event->context) {
        report("a capture that the default stream or another context's stream joins");
        return invalidate(graph, SIM_STREAM_CAPTURE_UNSUPPORTED);
    }
    stream->capture = graph;
    int n_own = stream->capture_last.n;
    nodes_add(&stream->capture_last, &event->capture_last);
    Work mark = {.kind = OP_MARK}; /* so that its joining too must be waited for */
    int result = capture_add(stream, &mark);
    if (result == SIM_SUCCESS &&
        wait_is_left_out("that stream %lld, under capture, waits for an event",
                         (long long)stream->number)) {
        graph->nodes[graph->n_nodes - 1].n_kept = n_own; /* by the rules it has waited */
    }
    return result;
}

/* Whether every stream's newest node comes before what is given to `first` next. */
static bool is_joined(const Graph *graph, const Stream *first) {
    bool *reached = calloc((size_t)graph->n_nodes + 1, sizeof *reached), joined = true;
    if (!reached) {
        abort();
    }
    for (int i = 0; i < first->capture_last.n; i++) {
        reached[first->capture_last.at[i]] = true;
    }
    for (int i = graph->n_nodes - 1; i >= 0; i--) {
        for (int k = 0; reached[i] && k < graph->nodes[i].n_after; k++) {
            reached[graph->nodes[i].after[k]] = true;
        }
    }
    for (const Stream *s = first->context->streams; s; s = s->next) {
        for (int i = 0; s->capture == graph && i < s->capture_last.n; i++) {
            joined = joined && reached[s->capture_last.at[i]];
        }
    }
    free(reached);
    return joined;
}

int capture_end(Stream *first, Graph **out) {
    Graph *graph = first->capture;
    int result = graph->is_invalid          ? SIM_STREAM_CAPTURE_INVALIDATED
                 : !is_joined(graph, first) ? SIM_STREAM_CAPTURE_UNJOINED
                                            : SIM_SUCCESS;
    for (Stream *s = first->context->streams; s; s = s->next) {
        if (s->capture == graph) {
            s->capture = NULL;
            s->owns_capture = false;
            free(s->capture_last.at);
            s->capture_last = (Nodes){0};
        }
    }
    *out = graph;
    return result;
}
