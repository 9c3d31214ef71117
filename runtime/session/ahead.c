/* See ahead.h. */
#include "runtime/session/ahead.h"

#include "ir/base/checked.h"

/* What a rank whose memory is not the host's has for it. */
typedef struct Way {
    DeviceQueue *queue;
    DeviceEvent *sent, *taken; /* it has arrived; the input has taken it over */
    void **waiting;            /* [n]: memory of the device */
} Way;

struct Ahead {
    dlc_session *session;
    EntryState *entry;
    const AheadInput *inputs;
    int32_t n;
    void **memory[AHEAD_SLOTS]; /* [n] */
    Way way;       /* of the rank; of several, which take their parts when they run, none */
    bool has_way;  /* no: nothing was sent yet, or memory is the host's */
    bool no_room;  /* on a device for what waits: then inputs are written as usual */
    int sent_slot; /* -1: none is on its way */
};

/* -- Memory of the slots -- */

/* Of several ranks it is that of whole inputs: the host's. */
static void *memory_take(Rank *rank, int64_t bytes) {
    if (rank->is_of_many) {
        return memory_new_aligned(&rank->context->allocator, (size_t)layout_round(bytes));
    }
    if (rank->ops->is_host) {
        return rank->ops->alloc(rank->device, (size_t)layout_round(bytes));
    }
    return rank_host_alloc(rank, bytes);
}

static void memory_give(Rank *rank, void *memory) {
    if (!memory) {
        return;
    }
    if (rank->is_of_many) {
        memory_free_aligned(&rank->context->allocator, memory);
    } else if (rank->ops->is_host) {
        rank->ops->free(rank->device, memory);
    } else {
        rank_host_free(rank, memory);
    }
}

int64_t ahead_bytes(const Rank *rank, const PlanEntry *entry, const Layout *layout) {
    int64_t all = 0, dims[PLAN_MAX_RANK], bytes;
    for (int32_t i = 0; i < entry->n_args; i++) {
        const PlanArg *arg = &rank->tables->args[entry->first_arg + i];
        if (arg->role != PLAN_ARG_INPUT) {
            continue;
        }
        bool counted =
            plan_shape(layout->file, arg->type, layout->vars, dims, &bytes) &&
            bytes <= INT64_MAX / 4 &&
            checked_mul(layout_round(bytes), rank->ops->is_host ? AHEAD_SLOTS : 1, &bytes) &&
            checked_add(all, bytes, &all);
        if (!counted) {
            return INT64_MAX;
        }
    }
    return all;
}

dlc_status ahead_create(dlc_session *session, EntryState *entry, const AheadInput *inputs,
                        int32_t n, Ahead **out) {
    dlc_context *context = session->context;
    Rank *first = session->ranks;
    Ahead *ahead = memory_new(&context->allocator, 1, sizeof(*ahead));
    if (!ahead) {
        return context_out_of_memory(context);
    }
    *ahead = (Ahead){.session = session, .entry = entry, .inputs = inputs, .n = n, .sent_slot = -1};
    for (int s = 0; s < AHEAD_SLOTS; s++) {
        ahead->memory[s] = memory_new(&context->allocator, (size_t)n, sizeof(void *));
        if (!ahead->memory[s]) {
            ahead_destroy(ahead);
            return context_out_of_memory(context);
        }
        for (int32_t i = 0; i < n; i++) {
            ahead->memory[s][i] = memory_take(first, inputs[i].bytes);
            if (!ahead->memory[s][i]) {
                dlc_status status = rank_no_memory(first, "a batch read ahead", inputs[i].bytes);
                ahead_destroy(ahead);
                return status;
            }
        }
    }
    *out = ahead;
    return DLC_OK;
}

static void way_close(const Ahead *ahead, Rank *rank, Way *way) {
    const DeviceOps *ops = rank->ops;
    ops->event_destroy(way->sent);
    ops->event_destroy(way->taken);
    for (int32_t i = 0; way->waiting && i < ahead->n; i++) {
        if (way->waiting[i]) {
            ops->free(rank->device, way->waiting[i]);
        }
    }
    ops->queue_destroy(way->queue);
    memory_free(&rank->context->allocator, way->waiting);
}

static void ahead_way_close(Ahead *ahead) {
    if (ahead->has_way) {
        way_close(ahead, ahead->session->ranks, &ahead->way);
    }
    ahead->has_way = false;
}

void ahead_destroy(Ahead *ahead) {
    if (!ahead) {
        return;
    }
    const dlc_allocator *allocator = &ahead->session->context->allocator;
    ahead_way_close(ahead); /* its queue may still read the slots */
    for (int s = 0; s < AHEAD_SLOTS; s++) {
        for (int32_t i = 0; ahead->memory[s] && i < ahead->n; i++) {
            memory_give(ahead->session->ranks, ahead->memory[s][i]);
        }
        memory_free(allocator, ahead->memory[s]);
    }
    memory_free(allocator, ahead);
}

void *ahead_memory(const Ahead *ahead, int slot, int32_t i) {
    return ahead->memory[slot][i];
}

/* -- On the way -- */

/* *out_room false: the device has no memory for it. */
static dlc_status way_open(const Ahead *ahead, Rank *rank, Way *way, bool *out_room) {
    const DeviceOps *ops = rank->ops;
    dlc_status status = ops->queue_create(rank->device, true, &way->queue);
    if (status == DLC_OK) {
        status = ops->event_create(rank->device, &way->sent);
    }
    if (status == DLC_OK) {
        status = ops->event_create(rank->device, &way->taken);
    }
    if (status != DLC_OK) {
        *out_room = status != DLC_ERROR_OUT_OF_MEMORY;
        return *out_room ? rank_device_fail(rank, status) : DLC_OK;
    }
    way->waiting = memory_new(&rank->context->allocator, (size_t)ahead->n, sizeof(void *));
    if (!way->waiting) {
        return context_out_of_memory(rank->context);
    }
    for (int32_t i = 0; i < ahead->n && *out_room; i++) {
        way->waiting[i] = ops->alloc(rank->device, (size_t)layout_round(ahead->inputs[i].bytes));
        *out_room = way->waiting[i] != NULL;
    }
    return DLC_OK;
}

static dlc_status ahead_way_open(Ahead *ahead) {
    bool room = true;
    ahead->way = (Way){.queue = NULL};
    ahead->has_way = true;
    dlc_status status = way_open(ahead, ahead->session->ranks, &ahead->way, &room);
    if (status != DLC_OK || !room) {
        ahead_way_close(ahead);
        ahead->no_room = !room;
    }
    return status;
}

static dlc_status way_send(const Ahead *ahead, Rank *rank, const Way *way, int slot) {
    const DeviceOps *ops = rank->ops;
    dlc_status status = ops->event_wait(way->taken, way->queue);
    for (int32_t i = 0; i < ahead->n && status == DLC_OK; i++) {
        status = (ops->send ? ops->send : ops->write)(
            way->queue, way->waiting[i], ahead->memory[slot][i], (size_t)ahead->inputs[i].bytes);
    }
    if (status == DLC_OK) {
        status = ops->event_record(way->sent, way->queue);
    }
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

dlc_status ahead_send(Ahead *ahead, int slot) {
    dlc_session *session = ahead->session;
    bool is_host = session->ranks->is_of_many || session->ranks->ops->is_host;
    if (is_host || ahead->no_room || ahead->sent_slot == slot) {
        return DLC_OK;
    }
    dlc_status status = ahead->has_way ? DLC_OK : ahead_way_open(ahead);
    if (status == DLC_OK && ahead->has_way) {
        status = way_send(ahead, session->ranks, &ahead->way, slot);
    }
    ahead->sent_slot = status == DLC_OK && ahead->has_way ? slot : -1;
    return status;
}

/* -- At the step's turn -- */

/* The slot's memory is filled anew when this returns, so the host waits for what reads it: mostly
 * it has long arrived. */
static dlc_status way_take(const Ahead *ahead, Rank *rank, const Way *way) {
    const DeviceOps *ops = rank->ops;
    EntryState *entry = &rank->entries[ahead->entry - ahead->session->ranks->entries];
    dlc_status status = ops->event_finish(way->sent);
    if (status != DLC_OK) {
        return rank_device_fail(rank, status);
    }
    for (int32_t i = 0; i < ahead->n && status == DLC_OK; i++) {
        status = rank_input_copy(rank, entry, ahead->inputs[i].arg, ahead->inputs[i].dims,
                                 way->waiting[i]);
    }
    if (status != DLC_OK) {
        return status;
    }
    status = ops->event_record(way->taken, rank->queue);
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

static dlc_status input_write(Rank *rank, EntryState *entry, const AheadInput *input,
                              const void *value) {
    void *to;
    dlc_status status = rank_input(rank, entry, input->arg, input->dims, &to);
    if (status != DLC_OK) {
        return status;
    }
    memcpy(to, value, (size_t)input->bytes);
    return rank_input_done(rank, entry, input->arg);
}

/* Without a way: memory of the host is taken over. */
static dlc_status slot_take(Ahead *ahead, int slot, int32_t i) {
    const AheadInput *input = &ahead->inputs[i];
    Rank *rank = ahead->session->ranks;
    if (rank->is_of_many || rank->ops->is_host) {
        return rank_input_exchange(rank, ahead->entry, input->arg, input->dims,
                                   &ahead->memory[slot][i]);
    }
    return input_write(rank, ahead->entry, input, ahead->memory[slot][i]);
}

dlc_status ahead_take(Ahead *ahead, int slot) {
    dlc_status status = DLC_OK;
    if (ahead->sent_slot == slot) {
        ahead->sent_slot = -1;
        return way_take(ahead, ahead->session->ranks, &ahead->way);
    }
    for (int32_t i = 0; i < ahead->n && status == DLC_OK; i++) {
        status = slot_take(ahead, slot, i);
    }
    return status;
}
