/* See lane.h. */
#include "runtime/cpu/lane.h"

#include <pthread.h>
#include <stdatomic.h>

enum { LANE_TASKS = 256 };

struct CpuPoint {
    dlc_allocator allocator; /* points may outlive the device of their event */
    pthread_mutex_t mutex;
    pthread_cond_t reached;
    atomic_int references;
    bool is_reached;
};

typedef struct Slot {
    CpuTask task;
    void **buffers; /* room for the launch's lists, kept from task to task */
    int64_t *sizes;
    int32_t buffers_capacity, sizes_capacity;
} Slot;

struct CpuLane {
    CpuQueue *queue;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    Slot slots[LANE_TASKS];
    uint64_t n_given, n_done; /* tasks so far; slots are taken in turn */
    uint64_t n_reaped;        /* whose points were let go, by the giver */
    bool stop;
};

/* -- Points -- */

dlc_status cpu_point_create(const dlc_allocator *allocator, CpuPoint **out) {
    CpuPoint *point = memory_new(allocator, 1, sizeof(*point));
    if (!point) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    point->allocator = *allocator;
    atomic_init(&point->references, 1);
    pthread_mutex_init(&point->mutex, NULL);
    pthread_cond_init(&point->reached, NULL);
    *out = point;
    return DLC_OK;
}

bool cpu_point_is_own(const CpuPoint *point) {
    return atomic_load(&point->references) == 1;
}

void cpu_point_renew(CpuPoint *point) {
    pthread_mutex_lock(&point->mutex);
    point->is_reached = false;
    pthread_mutex_unlock(&point->mutex);
}

CpuPoint *cpu_point_hold(CpuPoint *point) {
    atomic_fetch_add(&point->references, 1);
    return point;
}

void cpu_point_release(CpuPoint *point) {
    if (point && atomic_fetch_sub(&point->references, 1) == 1) {
        dlc_allocator allocator = point->allocator;
        pthread_cond_destroy(&point->reached);
        pthread_mutex_destroy(&point->mutex);
        memory_free(&allocator, point);
    }
}

void cpu_point_reach(CpuPoint *point) {
    pthread_mutex_lock(&point->mutex);
    point->is_reached = true;
    pthread_cond_broadcast(&point->reached);
    pthread_mutex_unlock(&point->mutex);
}

void cpu_point_wait(CpuPoint *point) {
    pthread_mutex_lock(&point->mutex);
    while (!point->is_reached) {
        pthread_cond_wait(&point->reached, &point->mutex);
    }
    pthread_mutex_unlock(&point->mutex);
}

/* -- Tasks -- */

/* Below this much work waking threads costs more than it brings. */
enum { INLINE_WORK = 50000 };

static void launch_run(CpuQueue *queue, KernelFunction function, const DeviceLaunch *launch) {
    const CpuWorkers *workers = &queue->workers;
    KernelFault *fault = &workers->faults[0];
    if (!workers->pool || launch->tiles == 1 || launch->work < INLINE_WORK) {
        KernelArgs args = {launch->buffers, launch->sizes, workers->scratch[0], fault};
        function(&args, 0, launch->tiles);
    } else {
        cpu_pool_run(workers->pool, function, launch, workers);
    }
    if (fault->site != 0) {
        queue->fault = queue->fault.site ? queue->fault : *fault;
        *fault = (KernelFault){0};
    }
}

static void gate_run(CpuQueue *queue, uint8_t *word, const uint8_t *if_set) {
    bool is_clean = queue->fault.site == 0;
    if (is_clean && !*if_set) {
        queue->fault = (KernelFault){.site = KERNEL_SITE_STOPPED};
    }
    *word = is_clean && *if_set;
}

void cpu_task_run(CpuQueue *queue, const CpuTask *task) {
    switch (task->kind) {
    case CPU_TASK_LAUNCH:
        launch_run(queue, task->function, &task->launch);
        break;
    case CPU_TASK_COPY:
        if (!task->if_set || *task->if_set) {
            memmove(task->to, task->from, task->bytes);
        }
        break;
    case CPU_TASK_FILL:
        memset(task->to, task->value, task->bytes);
        break;
    case CPU_TASK_SET:
        memcpy(task->to, &task->value, sizeof(task->value));
        break;
    case CPU_TASK_GATE:
        gate_run(queue, task->to, task->if_set);
        break;
    case CPU_TASK_FAULT:
        memcpy(task->to, &queue->fault, sizeof(queue->fault));
        break;
    case CPU_TASK_REACH:
        cpu_point_reach(task->point);
        break;
    case CPU_TASK_WAIT:
        cpu_point_wait(task->point);
        break;
    }
}

/* -- The lane -- */

static void *lane_main(void *argument) {
    CpuLane *lane = argument;
    pthread_mutex_lock(&lane->mutex);
    for (;;) {
        while (lane->n_done == lane->n_given && !lane->stop) {
            pthread_cond_wait(&lane->work, &lane->mutex);
        }
        if (lane->n_done == lane->n_given) {
            break;
        }
        const Slot *slot = &lane->slots[lane->n_done % LANE_TASKS];
        pthread_mutex_unlock(&lane->mutex);
        cpu_task_run(lane->queue, &slot->task);
        pthread_mutex_lock(&lane->mutex);
        lane->n_done++;
        pthread_cond_signal(&lane->done);
    }
    pthread_mutex_unlock(&lane->mutex);
    return NULL;
}

dlc_status cpu_lane_create(CpuQueue *queue, CpuLane **out) {
    const dlc_allocator *allocator = &queue->base.device->allocator;
    CpuLane *lane = memory_new(allocator, 1, sizeof(*lane));
    if (!lane) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    lane->queue = queue;
    pthread_mutex_init(&lane->mutex, NULL);
    pthread_cond_init(&lane->work, NULL);
    pthread_cond_init(&lane->done, NULL);
    if (pthread_create(&lane->thread, NULL, lane_main, lane) != 0) {
        pthread_cond_destroy(&lane->work);
        pthread_cond_destroy(&lane->done);
        pthread_mutex_destroy(&lane->mutex);
        memory_free(allocator, lane);
        return DLC_ERROR_LIMIT;
    }
    *out = lane;
    return DLC_OK;
}

void cpu_lane_destroy(CpuLane *lane) {
    if (!lane) {
        return;
    }
    const dlc_allocator *allocator = &lane->queue->base.device->allocator;
    pthread_mutex_lock(&lane->mutex);
    lane->stop = true;
    pthread_cond_signal(&lane->work);
    pthread_mutex_unlock(&lane->mutex);
    pthread_join(lane->thread, NULL);
    for (int i = 0; i < LANE_TASKS; i++) {
        cpu_point_release(lane->slots[i].task.point);
        memory_free(allocator, lane->slots[i].buffers);
        memory_free(allocator, lane->slots[i].sizes);
    }
    pthread_cond_destroy(&lane->work);
    pthread_cond_destroy(&lane->done);
    pthread_mutex_destroy(&lane->mutex);
    memory_free(allocator, lane);
}

/* Room for `n` items of `size` bytes at *list, whose items are not kept. */
static bool room_make(const dlc_allocator *allocator, void **list, int32_t *capacity, int32_t n,
                      size_t size) {
    if (n <= *capacity) {
        return true;
    }
    void *more = memory_new(allocator, (size_t)n, size);
    if (!more) {
        return false;
    }
    memory_free(allocator, *list);
    *list = more;
    *capacity = n;
    return true;
}

/* Copies the launch's lists into the slot. */
static bool launch_keep(const dlc_allocator *allocator, Slot *slot, const DeviceLaunch *launch) {
    void *buffers = slot->buffers, *sizes = slot->sizes;
    bool fits = room_make(allocator, &buffers, &slot->buffers_capacity, launch->n_buffers,
                          sizeof(*slot->buffers));
    slot->buffers = buffers;
    fits = fits && room_make(allocator, &sizes, &slot->sizes_capacity, launch->n_sizes,
                             sizeof(*slot->sizes));
    slot->sizes = sizes;
    for (int32_t i = 0; fits && i < launch->n_buffers; i++) {
        slot->buffers[i] = launch->buffers[i];
    }
    for (int32_t i = 0; fits && i < launch->n_sizes; i++) {
        slot->sizes[i] = launch->sizes[i];
    }
    slot->task.launch.buffers = slot->buffers;
    slot->task.launch.sizes = slot->sizes;
    return fits;
}

/* Waits until at most `most` tasks are left; lets go of what those that are done held. */
static void settle(CpuLane *lane, uint64_t most) {
    pthread_mutex_lock(&lane->mutex);
    while (lane->n_given - lane->n_done > most) {
        pthread_cond_wait(&lane->done, &lane->mutex);
    }
    uint64_t n_done = lane->n_done;
    pthread_mutex_unlock(&lane->mutex);
    for (; lane->n_reaped < n_done; lane->n_reaped++) {
        CpuTask *task = &lane->slots[lane->n_reaped % LANE_TASKS].task;
        cpu_point_release(task->point);
        task->point = NULL;
    }
}

dlc_status cpu_lane_give(CpuLane *lane, const CpuTask *task) {
    const dlc_allocator *allocator = &lane->queue->base.device->allocator;
    settle(lane, LANE_TASKS - 1);
    Slot *slot = &lane->slots[lane->n_given % LANE_TASKS]; /* the thread has done with it */
    slot->task = *task;
    if (task->kind == CPU_TASK_LAUNCH && !launch_keep(allocator, slot, &task->launch)) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    pthread_mutex_lock(&lane->mutex);
    lane->n_given++;
    pthread_cond_signal(&lane->work);
    pthread_mutex_unlock(&lane->mutex);
    return DLC_OK;
}

void cpu_lane_wait(CpuLane *lane) {
    settle(lane, 0);
}
