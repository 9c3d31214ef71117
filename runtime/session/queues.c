/* The device's queues under an entry's: made when an entry first needs them, begun and ended with a
 * stretch of commands, and the events that the commands wait for and signal. */
#include "runtime/session/rank.h"

/* Whether a device has a queue of its own for the plan's. */
static bool has_own(const Rank *rank, int32_t queue) {
    return queue > 0 && rank->queues[queue] && rank->queues[queue] != rank->queue;
}

bool queues_several(const Rank *rank, const EntryState *entry) {
    bool alone = rank->orders->poison || rank->replaying || rank->trace;
    return entry->spreads_moves && has_own(rank, 1) && !alone;
}

/* -- Beginning and end -- */

/* A device that has no more queues does all on its first. */
static dlc_status queue_make(Rank *rank, int32_t number) {
    const DeviceOps *ops = rank->ops;
    if (rank->queues[number]) {
        return DLC_OK;
    }
    dlc_status status = ops->event_create(rank->device, &rank->crossed[number]);
    if (status == DLC_OK) {
        status = ops->queue_create(rank->device, true, &rank->queues[number]);
    }
    if (status == DLC_ERROR_UNSUPPORTED) {
        rank->queues[number] = rank->queue;
        return DLC_OK;
    }
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

static dlc_status events_make(Rank *rank, EntryState *entry) {
    int32_t n = entry->record->n_events;
    if (entry->stands_for) {
        return DLC_OK;
    }
    entry->stands_for =
        memory_new(&rank->context->allocator, (size_t)n, sizeof(*entry->stands_for));
    if (!entry->stands_for) {
        return context_out_of_memory(rank->context);
    }
    if (!entry->spreads_moves) {
        return DLC_OK;
    }
    entry->events = memory_new(&rank->context->allocator, (size_t)n, sizeof(*entry->events));
    entry->signalled = memory_new(&rank->context->allocator, (size_t)n, sizeof(*entry->signalled));
    if (!entry->events || !entry->signalled) {
        return context_out_of_memory(rank->context);
    }
    dlc_status status = DLC_OK;
    for (int32_t e = 0; status == DLC_OK && e < n; e++) {
        status = rank->ops->event_create(rank->device, &entry->events[e]);
    }
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

dlc_status queues_make(Rank *rank, EntryState *entry) {
    dlc_status status = DLC_OK;
    for (int32_t q = 1; status == DLC_OK && entry->spreads_moves && q < entry->record->n_queues;
         q++) {
        status = queue_make(rank, q);
    }
    return status == DLC_OK && entry->record->n_queues > 1 ? events_make(rank, entry) : status;
}

void queues_forget(Rank *rank, EntryState *entry) {
    for (int32_t e = 0; entry->events && e < entry->record->n_events; e++) {
        rank->ops->event_destroy(entry->events[e]);
    }
    memory_free(&rank->context->allocator, entry->events);
    memory_free(&rank->context->allocator, entry->signalled);
    memory_free(&rank->context->allocator, entry->stands_for);
}

void queues_close(Rank *rank) {
    for (int32_t q = 1; q < PLAN_MAX_QUEUES; q++) {
        rank->ops->event_destroy(rank->crossed[q]);
        if (has_own(rank, q)) {
            rank->ops->queue_destroy(rank->queues[q]);
        }
    }
}

/* -- A stretch of commands -- */

/* What `to` is given from now on comes after what `from` was given so far. */
static dlc_status cross(Rank *rank, DeviceEvent *event, DeviceQueue *from, DeviceQueue *to) {
    dlc_status status = rank->ops->event_record(event, from);
    if (status == DLC_OK) {
        status = rank->ops->event_wait(event, to);
    }
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

dlc_status queues_fork(Rank *rank, const EntryState *entry) {
    dlc_status status = DLC_OK;
    rank->stretch++;
    for (int32_t q = 1; status == DLC_OK && q < entry->record->n_queues; q++) {
        if (has_own(rank, q)) {
            status = cross(rank, rank->crossed[q], rank->queue, rank->queues[q]);
        }
    }
    return status;
}

dlc_status queues_join(Rank *rank, const EntryState *entry) {
    dlc_status status = DLC_OK;
    for (int32_t q = 1; q < entry->record->n_queues; q++) {
        dlc_status crossed = DLC_OK;
        if (has_own(rank, q)) {
            crossed = cross(rank, rank->crossed[q], rank->queues[q], rank->queue);
        }
        status = status == DLC_OK ? crossed : status;
    }
    return status;
}

dlc_status queues_await(Rank *rank, const EntryState *entry, const PlanCommand *command) {
    dlc_status status = DLC_OK;
    for (int32_t w = 0; status == DLC_OK && w < command->n_waits; w++) {
        int32_t event = rank->tables->waits[command->first_wait + w];
        if (entry->signalled[event] == rank->stretch) {
            status = rank->ops->event_wait(entry->events[event], rank->queues[command->queue]);
        }
    }
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

dlc_status queues_signal(Rank *rank, EntryState *entry, const PlanCommand *command) {
    if (command->signal < 0) {
        return DLC_OK;
    }
    entry->signalled[command->signal] = rank->stretch;
    dlc_status status =
        rank->ops->event_record(entry->events[command->signal], rank->queues[command->queue]);
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}
