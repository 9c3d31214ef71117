/* What the files of the far device share; see far_device.h. A wrong call ends the test program with
 * a message, as it is the caller's mistake; but those that break the rules of recordings fail by
 * name, as device.h has it. */
#ifndef DLC_TESTS_DEVICE_FAR_INTERNAL_H
#define DLC_TESTS_DEVICE_FAR_INTERNAL_H

#include "far_device.h"
#include "runtime/cpu/device.h"

#include <pthread.h>

typedef struct FarDevice FarDevice;
typedef struct FarQueue FarQueue;

typedef enum NodeKind {
    NODE_LAUNCH,
    NODE_COPY,
    NODE_SEND,
    NODE_FILL,
    NODE_SET,
    NODE_GATE,
    NODE_FETCH, /* to host memory */
    NODE_FAULT, /* the same, of the word for faults */
    NODE_REACH,
    NODE_WAIT
} NodeKind;

/* A point that a queue comes to; counted. One within a recording is never reached: each replay has
 * a point of its own in its place. */
typedef struct Point {
    int references;
    bool is_reached;
    FarQueue *queue;      /* that comes to it, */
    int64_t number;       /* as the n-th that it does */
    int64_t recording;    /* by number; 0: outside */
    bool is_wanted;       /* when the end of a recording looks back from what its queue waits for */
    struct Point *replay; /* of the last replay that was given; NULL: none */
} Point;

typedef struct Node {
    struct Node *next;
    FarQueue *queue; /* that it was given to */
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

/* Nodes in the order given; of a recording, those of all its queues. */
struct DeviceGraph {
    Node *first, **last;
    FarQueue *queue; /* that it is replayed on */
};

struct FarQueue {
    DeviceQueue base;
    FarQueue *next;
    DeviceQueue *cpu; /* does the work, on this queue's thread */
    /* Does what replays on other queues have of this one's, beside what it is given itself, on the
     * same CPU queue. NULL: it joined no recording yet, or is such a one. */
    FarQueue *twin;
    FarQueue *owner;   /* itself, or the one whose twin it is */
    bool is_launching; /* the owner's: the CPU queue runs a kernel */
    int64_t recording; /* the last one that it was part of, by number; 0: none */
    bool is_wanted;    /* as of points */
    pthread_t thread;
    DeviceGraph nodes;                   /* not yet done */
    int64_t n_given, n_released, n_done; /* those released may be done */
    const Point *awaits;                 /* where its thread has stopped; NULL: it has not */
    bool stop;
};

typedef struct FarEvent {
    DeviceEvent base;
    Point *point; /* NULL: not recorded */
} FarEvent;

typedef struct Block {
    struct Block *next;
    uint8_t *memory;
    size_t bytes;
} Block;

struct FarDevice {
    Device base;
    FarDevice *next;
    Device *cpu;
    Block *blocks;
    FarQueue *queues; /* without twins */
    DeviceGraph *recording;
    int64_t n_recordings; /* so far: the number of the last */
    FarCounts counts;
};

/* Guards what the queues' threads see, of all far devices: their events may be waited for by each
 * other. */
extern pthread_mutex_t far_mutex;
extern pthread_cond_t far_moved;

static inline FarDevice *far_of(Device *device) {
    return (FarDevice *)device;
}

/* far_device.c */
void far_wrong(const char *what);
void far_node_run(FarQueue *queue, const Node *node); /* of no point */

/* far_queue.c */
void far_list_device(FarDevice *far); /* so that waiting for one lets all begin */
void far_unlist_device(FarDevice *far);
void far_point_release(Point *point); /* under the mutex; NULL will do */
Node *far_node_new(FarQueue *queue, NodeKind kind);
void far_node_free(Node *node);
void far_give_to(FarQueue *queue, DeviceGraph *list, Node *node);
/* Gives the node, which is complete, to its queue or to the recording. */
void far_give(Node *node);
void far_queue_wait(FarQueue *queue);
void far_queues_wait(FarDevice *far);
FarQueue *far_twin(FarQueue *queue);
dlc_status far_queue_create(Device *device, bool background, DeviceQueue **out);
void far_queue_destroy(DeviceQueue *base);
dlc_status far_event_create(Device *device, DeviceEvent **out);
dlc_status far_event_record(DeviceEvent *base, DeviceQueue *queue);
dlc_status far_event_wait(DeviceEvent *base, DeviceQueue *queue);
dlc_status far_event_finish(DeviceEvent *base);
void far_event_destroy(DeviceEvent *base);

/* far_record.c */
bool far_is_recorded(const FarQueue *queue); /* what it is given now */
void far_lists_keep(Node *node, void *const *buffers, const int64_t *sizes);
dlc_status far_record(DeviceQueue *queue);
dlc_status far_record_end(DeviceQueue *queue, DeviceGraph **out);
dlc_status far_replay(DeviceQueue *queue, DeviceGraph *graph);
void far_graph_free(Device *device, DeviceGraph *graph);

#endif
