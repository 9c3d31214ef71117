/* Functions that every call of calls itself again: elaboration would not end. Recursion that a
 * compile-time `if` may end is allowed. */
#include "frontend/check/check.h"

/* A function among the edges. */
typedef struct Node {
    const CallEdge *edges; /* of the function, one after the other */
    int32_t count;
    int32_t next; /* the edge to follow next */
    enum { NODE_NEW, NODE_OPEN, NODE_DONE } state;
} Node;

static const char *key_of(Elaborator *el, const Fn *fn) {
    return arena_format(el->arena, "%p", (const void *)fn);
}

static Map make_nodes(Elaborator *el, const CallEdges *edges) {
    Map nodes;
    map_init(&nodes, el->arena);
    for (size_t i = 0; i < edges->count; i++) {
        const char *key = key_of(el, edges->items[i].from);
        Node *node = map_get(&nodes, key);
        if (node == NULL) {
            node = ARENA_NEW(el->arena, Node);
            node->edges = &edges->items[i];
            map_set(&nodes, key, node);
        }
        node->count++;
    }
    return nodes;
}

static void report(Elaborator *el, const CallEdge *edge) {
    const char *name = edge->to->name;
    Diag *diag = EL_REPORT(el, LIMIT, edge->place,
                           arena_format(el->arena, "calls nest more than %d deep ('%s' among them)",
                                        ELABORATE_MAX_CALLS, name));
    elaborate_help(el, diag,
                   "every call of '%s' calls it again: end it by an `if` that is decided "
                   "when compiling",
                   name);
}

/* Depth first, without recursion: a program may have ten thousand functions in a row. */
static void walk(Elaborator *el, const Map *nodes, Node *start) {
    VEC(Node *) path = {0};
    VEC_PUSH(el->arena, &path, start);
    start->state = NODE_OPEN;
    while (path.count > 0) {
        Node *node = path.items[path.count - 1];
        if (node->next == node->count) {
            node->state = NODE_DONE;
            path.count--;
            continue;
        }
        const CallEdge *edge = &node->edges[node->next++];
        Node *to = map_get(nodes, key_of(el, edge->to));
        if (to && to->state == NODE_OPEN && !edge->to->elaborated) {
            report(el, edge);
        } else if (to && to->state == NODE_NEW) {
            to->state = NODE_OPEN;
            VEC_PUSH(el->arena, &path, to);
        }
    }
}

void check_cycles(Elaborator *el, const CallEdges *edges) {
    Map nodes = make_nodes(el, edges);
    for (size_t i = 0; i < nodes.count; i++) {
        Node *node = nodes.entries[i].value;
        if (node->state == NODE_NEW) {
            walk(el, &nodes, node);
        }
    }
    elaborate_diag_close(el);
}
