/* A thread that does tasks in the order given, out of a ring of fixed size: who gives a task to a
 * full ring waits. The giver is one thread at a time; it alone allocates and frees, so that the
 * hooks of the caller are called on the caller's thread. */
#ifndef DLC_RUNTIME_CPU_LANE_H
#define DLC_RUNTIME_CPU_LANE_H

#include "runtime/cpu/queue.h"

/* A point that a queue reaches once. Counted: an event holds one, so does each task that reaches
 * it or waits for it. */
typedef struct CpuPoint CpuPoint;
dlc_status cpu_point_create(const dlc_allocator *allocator, CpuPoint **out); /* one reference */
/* Whether nobody else holds it: then it may be used anew. */
bool cpu_point_is_own(const CpuPoint *point);
void cpu_point_renew(CpuPoint *point);
CpuPoint *cpu_point_hold(CpuPoint *point);
void cpu_point_release(CpuPoint *point); /* NULL will do */
void cpu_point_reach(CpuPoint *point);
void cpu_point_wait(CpuPoint *point);

typedef enum CpuTaskKind {
    CPU_TASK_LAUNCH,
    CPU_TASK_COPY,
    CPU_TASK_FILL,
    CPU_TASK_SET,
    CPU_TASK_GATE,
    CPU_TASK_FAULT, /* tells it */
    CPU_TASK_REACH,
    CPU_TASK_WAIT
} CpuTaskKind;

typedef struct CpuTask {
    CpuTaskKind kind;
    KernelFunction function;
    DeviceLaunch launch; /* its lists are copied */
    void *to;
    const void *from;
    const uint8_t *if_set;
    size_t bytes;
    int32_t value;   /* FILL: of each byte */
    CpuPoint *point; /* the task takes the caller's reference */
} CpuTask;

/* The thread does the tasks for `queue`. */
dlc_status cpu_lane_create(CpuQueue *queue, CpuLane **out);
void cpu_lane_destroy(CpuLane *lane); /* does all first; NULL will do */
dlc_status cpu_lane_give(CpuLane *lane, const CpuTask *task);
void cpu_lane_wait(CpuLane *lane);
/* Does one task now, on the calling thread. */
void cpu_task_run(CpuQueue *queue, const CpuTask *task);

#endif
