/* Walks a schedule. Nothing is allocated and no size computed here but addresses that depend on
 * loop indices; the only parallelism is inside a launch. Work is queued on the device; the walk
 * waits for it only where it needs a value: a test, a check, a shown value, and a barrier that has
 * no word on the device. */
#include "runtime/session/rank.h"

#include "ir/base/number.h"
#include "runtime/journal/journal.h"
#include "runtime/session/tensor.h"
#include "runtime/session/trace.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* The loop being run, by depth. */
typedef struct RunLoop {
    int32_t start;
    int64_t done, count; /* count -1: while */
} RunLoop;

typedef struct Walk {
    Rank *rank;
    EntryState *entry;
    bool apart; /* the entry's queues are the device's, and events order them */
    const Layout *layout;
    const Calls *calls; /* NULL: kernels do all launches */
    const PlanCommand *commands;
    int32_t n_commands;
    int32_t last; /* commands from here on are not run */
    RunLoop loops[PLAN_MAX_LOOP_DEPTH];
    int32_t depth;
} Walk;

static DeviceQueue *queue_of(const Walk *walk, int32_t i) {
    return walk->apart ? walk->rank->queues[walk->commands[i].queue] : walk->rank->queue;
}

static dlc_status events_await(Walk *walk, int32_t i) {
    const PlanCommand *command = &walk->commands[i];
    return walk->apart ? queues_await(walk->rank, walk->entry, command)
                       : started_await(walk->rank, walk->entry, command);
}

static dlc_status event_signal(Walk *walk, int32_t i) {
    const PlanCommand *command = &walk->commands[i];
    if (walk->apart) {
        return queues_signal(walk->rank, walk->entry, command);
    }
    started_signal(walk->rank, walk->entry, command);
    return DLC_OK;
}

/* The address of ref `r` of command `i`; NULL when a loop-dependent offset leaves the buffer. */
static uint8_t *ref_address(Walk *walk, int32_t i, int32_t r, int64_t bytes) {
    const Layout *layout = walk->layout;
    const PlanRef *ref = &layout->tables->refs[walk->commands[i].first_ref + r];
    int32_t at = layout->first_ref[i] + r;
    int64_t offset = layout->ref_offset[at];
    if (layout->ref_moves[at]) {
        if (!plan_eval(layout->file, ref->offset, layout->vars, &offset) || offset < 0 ||
            offset > layout->buffer_bytes[ref->buffer] ||
            bytes > layout->buffer_bytes[ref->buffer] - offset) {
            return NULL;
        }
    }
    return walk->rank->bases[ref->buffer] + offset;
}

static void replay_note(Walk *walk, int32_t i, double value) {
    int32_t *first = isnan(value) ? &walk->rank->first_nan : &walk->rank->first_inf;
    if (!isfinite(value) && *first < 0) {
        *first = i;
    }
}

/* Looks through the float results that launch `i` wrote. */
static dlc_status replay_check(Walk *walk, int32_t i) {
    const Layout *layout = walk->layout;
    const PlanCommand *command = &walk->commands[i];
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = &layout->tables->refs[command->first_ref + r];
        int32_t dtype = ref->written - 1;
        int64_t bytes;
        if (dtype < 0 || dtype > PLAN_BF16 ||
            !plan_eval(layout->file, ref->bytes, layout->vars, &bytes)) {
            continue;
        }
        const uint8_t *at = ref_address(walk, i, r, bytes);
        const void *values = NULL;
        dlc_status status = at ? rank_host(walk->rank, at, bytes, &values) : DLC_OK;
        if (status != DLC_OK) {
            return status;
        }
        int width = plan_dtype_bytes(dtype);
        for (int64_t e = 0; values && e < bytes / width; e++) {
            replay_note(walk, i, element_double((const uint8_t *)values + e * width, dtype));
        }
    }
    return DLC_OK;
}

static dlc_status outside(const Rank *rank) {
    return context_fail(rank->context, DLC_ERROR_FORMAT, "%s: a command leaves its buffer",
                        rank->file->name);
}

/* The launch, and those after it that the call stands for, by a library. */
static dlc_status call_run(Walk *walk, int32_t i) {
    const PlanCommand *command = &walk->commands[i];
    const PlanLibrary *library = &walk->layout->tables->libraries[command->library];
    void *buffers[PLAN_N_OPERANDS] = {NULL};
    for (int32_t o = 0; o < PLAN_N_OPERANDS; o++) {
        if (library->refs[o] < 0) {
            continue;
        }
        buffers[o] = ref_address(walk, i, library->refs[o], calls_operand_bytes(walk->calls, i, o));
        if (!buffers[o]) {
            return outside(walk->rank);
        }
    }
    bool elsewhere = !walk->apart && command->queue > 0; /* a call stays on the queue it is for */
    dlc_status status = elsewhere ? queues_fork(walk->rank, walk->entry) : DLC_OK;
    if (status == DLC_OK) {
        status = calls_run(walk->rank, walk->calls, i, buffers);
    }
    if (status == DLC_OK && elsewhere) {
        status = queues_join(walk->rank, walk->entry);
    }
    for (int32_t k = 0; status == DLC_OK && walk->rank->replaying && k <= library->more; k++) {
        status = replay_check(walk, i + k);
    }
    return status;
}

/* What launch `i` asks of the device; its buffers are put at `buffers`. */
static dlc_status launch_make(Walk *walk, int32_t i, void **buffers, DeviceLaunch *out) {
    Rank *rank = walk->rank;
    const Layout *layout = walk->layout;
    const PlanCommand *command = &walk->commands[i];
    const PlanKernel *kernel = &layout->tables->kernels[command->kernel];
    for (int32_t r = 0; r < command->n_refs; r++) {
        buffers[r] = ref_address(walk, i, r, 0);
        if (!buffers[r]) {
            return outside(rank);
        }
    }
    *out = (DeviceLaunch){.entry = kernel->entry,
                          .buffers = buffers,
                          .sizes = layout->sizes + layout->first_size[i],
                          .n_buffers = command->n_refs,
                          .n_sizes = command->n_sizes,
                          .tiles = layout->extent[i],
                          .work = layout->work[i]};
    rank->faults |= kernel->faults;
    return DLC_OK;
}

/* Launches from `i` on that the device does as one group. Where each command's results are looked
 * at or poisoned, each is run by itself. */
static int32_t group_length(const Walk *walk, int32_t i) {
    const Rank *rank = walk->rank;
    int32_t n = 1;
    bool together = rank->ops->launch_group && !rank->orders->poison && !rank->replaying;
    while (together && i + n < walk->last && walk->commands[i + n].kind == PLAN_LAUNCH &&
           walk->commands[i + n].flags & PLAN_COMMAND_GROUPED) {
        n++;
    }
    return n;
}

static dlc_status group_run(Walk *walk, int32_t i, int32_t n) {
    Rank *rank = walk->rank;
    void **buffers = rank->launch_buffers;
    for (int32_t m = 0; m < n; m++) {
        dlc_status status = launch_make(walk, i + m, buffers, &rank->launches[m]);
        if (status != DLC_OK) {
            return status;
        }
        buffers += walk->commands[i + m].n_refs;
    }
    dlc_status status = rank->ops->launch_group(queue_of(walk, i), rank->module, rank->launches, n);
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

static dlc_status launch_run(Walk *walk, int32_t i) {
    Rank *rank = walk->rank;
    DeviceLaunch launch;
    if (calls_have(walk->calls, i)) {
        return call_run(walk, i);
    }
    dlc_status made = launch_make(walk, i, rank->launch_buffers, &launch);
    if (made != DLC_OK) {
        return made;
    }
    dlc_status status = rank->ops->launch(queue_of(walk, i), rank->module, &launch);
    if (status != DLC_OK) {
        return rank_device_fail(rank, status);
    }
    return rank->replaying ? replay_check(walk, i) : DLC_OK;
}

static dlc_status show_run(Walk *walk, int32_t i, const uint8_t *data) {
    enum { SHOWN = 8 };
    const PlanCommand *command = &walk->commands[i];
    const Layout *layout = walk->layout;
    dlc_context *context = walk->rank->context;
    int64_t dims[PLAN_MAX_RANK], bytes;
    if (!context->log || walk->rank->replaying ||
        !plan_shape(layout->file, command->type, layout->vars, dims, &bytes)) {
        return DLC_OK;
    }
    char shape[256], values[512] = "";
    shape_text(dims, command->type.rank, shape, sizeof(shape));
    int width = plan_dtype_bytes(command->type.dtype);
    int64_t n = bytes / width, shown = n < SHOWN ? n : SHOWN;
    uint8_t first[SHOWN * 8];
    dlc_status status = rank_read(walk->rank, first, data, shown * width);
    if (status != DLC_OK) {
        return status;
    }
    size_t at = 0;
    for (int64_t e = 0; e < shown && at < sizeof(values); e++) {
        int used =
            snprintf(values + at, sizeof(values) - at, "%s%s", e ? ", " : "",
                     number_text(element_double(first + e * width, command->type.dtype), 6).text);
        at += used > 0 ? (size_t)used : 0;
    }
    context_log(context, DLC_LOG_SHOW, "%s: %s%s = %s%s", plan_text(layout->file, command->text),
                plan_dtype_name(command->type.dtype), shape, values, shown < n ? ", …" : "");
    return DLC_OK;
}

static dlc_status index_write(Walk *walk, int32_t start) {
    Rank *rank = walk->rank;
    const PlanCommand *command = &walk->commands[start];
    RunLoop *loop = &walk->loops[command->depth];
    int64_t index =
        command->flags & PLAN_COMMAND_REVERSE ? loop->count - 1 - loop->done : loop->done;
    walk->layout->vars[walk->layout->file->n_dims + command->depth] = index;
    if (command->n_refs == 0) {
        return DLC_OK;
    }
    uint8_t *to = ref_address(walk, start, 0, 4);
    if (!to) {
        return outside(rank);
    }
    dlc_status status = rank->ops->set_i32(rank->queue, (int32_t *)(void *)to, (int32_t)index);
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

static dlc_status turn_begin(Walk *walk, int32_t start) {
    dlc_status status = index_write(walk, start);
    return status == DLC_OK ? event_signal(walk, start) : status;
}

/* Moves *i on to the next command. */
static dlc_status loop_begin(Walk *walk, int32_t *i) {
    const PlanCommand *command = &walk->commands[*i];
    bool counted = !(command->flags & PLAN_COMMAND_WHILE);
    RunLoop *loop = &walk->loops[walk->depth];
    *loop = (RunLoop){.start = *i, .count = counted ? walk->layout->extent[*i] : -1};
    if (counted && loop->count == 0) {
        *i = command->match + 1;
        return event_signal(walk, command->match);
    }
    walk->depth++;
    return turn_begin(walk, (*i)++);
}

/* A check at `site` that failed, or a loop beyond its limit: of several ranks on all of them, as
 * the shard pass makes what is tested here equal. What a kernel did wrong before comes first. */
static dlc_status fail_alike(Rank *rank, int32_t site, int64_t value, int64_t bound) {
    KernelFault fault;
    bool ok = false;
    dlc_status status = fault_take(rank, &fault);
    if (status == DLC_OK && fault.site == 0) {
        fault = (KernelFault){site + 1, value, bound};
    }
    if (status == DLC_OK && rank->is_of_many) {
        status = exchange_agree(rank, &fault, &ok);
    }
    return status == DLC_OK ? fault_report(rank, &fault) : status;
}

static dlc_status loop_end(Walk *walk, int32_t *i) {
    Rank *rank = walk->rank;
    const PlanCommand *command = &walk->commands[*i];
    const PlanCommand *start = &walk->commands[command->match];
    RunLoop *loop = &walk->loops[walk->depth - 1];
    for (int32_t s = 0; s < command->n_swaps; s++) {
        const PlanSwap *swap = &walk->layout->tables->swaps[command->first_swap + s];
        uint8_t *keep = rank->bases[swap->a];
        rank->bases[swap->a] = rank->bases[swap->b];
        rank->bases[swap->b] = keep;
    }
    loop->done++;
    bool again = loop->count < 0 || loop->done < loop->count;
    /* A fault may have broken the condition of a while; a counted loop ends anyway. */
    if (loop->count < 0) {
        dlc_status status = rank_faults(rank);
        if (status == DLC_OK && start->limit > 0 && loop->done > start->limit) {
            status = fail_alike(rank, start->site, loop->done, start->limit);
        }
        if (status != DLC_OK) {
            return status;
        }
    }
    if (again) {
        *i = command->match + 1;
        return turn_begin(walk, command->match);
    }
    walk->depth--;
    return event_signal(walk, (*i)++);
}

/* The bool at ref 0 of command `i`; false when the ref leaves its buffer. */
static dlc_status flag_read(Walk *walk, int32_t i, bool *out) {
    const uint8_t *at = ref_address(walk, i, 0, 1);
    uint8_t flag = 0;
    dlc_status status = at ? rank_read(walk->rank, &flag, at, 1) : DLC_OK;
    *out = flag != 0;
    return status;
}

/* COPY, STORE and FILL. */
static dlc_status move_run(Walk *walk, int32_t i) {
    Rank *rank = walk->rank;
    const PlanCommand *command = &walk->commands[i];
    int64_t extent = walk->layout->extent[i];
    uint8_t *to = ref_address(walk, i, 0, extent), *from = to, *if_set = NULL;
    if (command->kind != PLAN_FILL) {
        from = ref_address(walk, i, 1, extent);
    }
    bool conditional = command->kind == PLAN_STORE && command->n_refs == 3;
    if (conditional) {
        if_set = ref_address(walk, i, 2, 1);
    }
    if (!to || !from || (conditional && !if_set)) {
        return outside(rank);
    }
    dlc_status status = command->kind == PLAN_FILL
                            ? rank->ops->fill(queue_of(walk, i), to, 0, (size_t)extent)
                            : rank->ops->copy(queue_of(walk, i), to, from, (size_t)extent, if_set);
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

static dlc_status exchange_command(Walk *walk, int32_t i) {
    Rank *rank = walk->rank;
    const Layout *layout = walk->layout;
    const PlanCommand *command = &walk->commands[i];
    uint8_t **addresses = (uint8_t **)rank->launch_buffers;
    for (int32_t r = 0; r < command->n_refs; r++) {
        int64_t bytes = 0;
        (void)plan_eval(layout->file, layout->tables->refs[command->first_ref + r].bytes,
                        layout->vars, &bytes); /* the layout has found it sound */
        addresses[r] = ref_address(walk, i, r, bytes);
        if (!addresses[r]) {
            return outside(rank);
        }
    }
    const int64_t *sizes = layout->sizes + layout->first_size[i] + command->n_sizes;
    CommCall call;
    dlc_status status = exchange_prepare(rank, layout, command, sizes, addresses, &call);
    if (status == DLC_OK && started_may(rank, command)) {
        return started_begin(rank, &call, i);
    }
    bool elsewhere = walk->apart && command->queue > 0; /* the host waits for queue 0 alone */
    if (status == DLC_OK && elsewhere) {
        status = queues_join(rank, walk->entry);
    }
    if (status == DLC_OK) {
        status = exchange_run(rank, layout, command, addresses, &call);
    }
    return status == DLC_OK && elsewhere ? queues_fork(rank, walk->entry) : status;
}

/* A command that the device does, or a group of launches; with its times where a trace is written.
 */
static dlc_status work_run(Walk *walk, int32_t i, int32_t n) {
    Rank *rank = walk->rank;
    bool is_launch = walk->commands[i].kind == PLAN_LAUNCH;
    if (n == 1 && is_launch && calls_cover(walk->calls, i)) {
        return DLC_OK;
    }
    if (started_may(rank, &walk->commands[i])) {
        return exchange_command(walk, i); /* whose times are known when it has been waited for */
    }
    dlc_status status = trace_command_begin(rank);
    if (status == DLC_OK) {
        status = n > 1                                       ? group_run(walk, i, n)
                 : is_launch                                 ? launch_run(walk, i)
                 : walk->commands[i].kind == PLAN_COLLECTIVE ? exchange_command(walk, i)
                                                             : move_run(walk, i);
    }
    return status == DLC_OK ? trace_command_end(rank, i, n) : status;
}

/* Of several ranks all store, or none: a fault of any is a fault of all, and the gate opens where
 * it does for all. */
static dlc_status barrier_agree(Walk *walk, int32_t i) {
    Rank *rank = walk->rank;
    bool is_gate = walk->commands[i].n_refs > 0;
    uint8_t *word = is_gate ? ref_address(walk, i, 0, 1) : NULL;
    KernelFault fault;
    uint8_t own = 1;
    dlc_status status = fault_take(rank, &fault);
    if (status == DLC_OK && is_gate) {
        const uint8_t *if_set = ref_address(walk, i, 1, 1);
        status = word && if_set ? rank_read(rank, &own, if_set, 1) : outside(rank);
    }
    bool ok = own != 0;
    if (status == DLC_OK) {
        status = exchange_agree(rank, &fault, &ok);
    }
    if (status != DLC_OK || !is_gate) {
        return status;
    }
    status = rank_fill(rank, word, ok, 1);
    rank->faults |= PLAN_FAULTS_CHECKS; /* as in barrier_run */
    if (status == DLC_OK) {
        dlc_status gated = rank->ops->gate(rank->queue, word, word);
        status = gated == DLC_OK ? DLC_OK : rank_device_fail(rank, gated);
    }
    return status;
}

static dlc_status barrier_run(Walk *walk, int32_t i) {
    Rank *rank = walk->rank;
    if (rank->is_of_many) {
        return barrier_agree(walk, i);
    }
    if (walk->commands[i].n_refs == 0) { /* what was watched so far can wait for the end */
        return rank->faults & PLAN_FAULTS_CHECKS ? rank_faults(rank) : DLC_OK;
    }
    uint8_t *word = ref_address(walk, i, 0, 1), *if_set = ref_address(walk, i, 1, 1);
    if (!word || !if_set) {
        return outside(rank);
    }
    rank->faults |= PLAN_FAULTS_CHECKS; /* a gate that stays shut is one */
    dlc_status status = rank->ops->gate(rank->queue, word, if_set);
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

/* Runs command *i and moves *i on. */
static dlc_status command_run(Walk *walk, int32_t *i) {
    Rank *rank = walk->rank;
    const PlanCommand *command = &walk->commands[*i];
    dlc_status status = events_await(walk, *i);
    bool flag;
    const uint8_t *at;
    int32_t n_group;
    if (status != DLC_OK) {
        return status;
    }
    switch (command->kind) {
    case PLAN_LAUNCH:
        n_group = group_length(walk, *i);
        status = work_run(walk, *i, n_group);
        for (; n_group > 0 && status == DLC_OK; n_group--) {
            status = event_signal(walk, (*i)++);
        }
        return status;
    case PLAN_COPY:
    case PLAN_STORE:
    case PLAN_FILL:
        status = work_run(walk, *i, 1);
        break;
    case PLAN_LOOP:
        return loop_begin(walk, i);
    case PLAN_TEST:
        status = flag_read(walk, *i, &flag);
        if (status == DLC_OK && !flag) {
            walk->depth--;
            status = event_signal(walk, *i);
            *i = command->match + 1;
            return status == DLC_OK ? event_signal(walk, command->match) : status;
        }
        break;
    case PLAN_LOOP_END:
        return loop_end(walk, i);
    case PLAN_SHOW:
        at = ref_address(walk, *i, 0, walk->layout->extent[*i]);
        status = at ? show_run(walk, *i, at) : outside(rank);
        break;
    case PLAN_CHECK:
        status = flag_read(walk, *i, &flag);
        if (status == DLC_OK && !flag) {
            status = fail_alike(rank, command->site, 0, INT64_MIN);
        }
        break;
    case PLAN_BARRIER:
        status = barrier_run(walk, *i);
        break;
    case PLAN_COLLECTIVE:
        status = work_run(walk, *i, 1);
        break;
    default: /* size checks were done when the dims were bound */
        break;
    }
    return status == DLC_OK ? event_signal(walk, (*i)++) : status;
}

static dlc_status range_walk(Walk *walk, int32_t first, int32_t last) {
    for (int32_t i = first; i < last;) {
        int32_t now = i;
        dlc_status status = DLC_OK;
        journal_command(walk->rank->journal, now);
        if (walk->rank->orders->poison && walk->commands[now].kind != PLAN_LOOP_END) {
            status = poison_at(walk->rank, walk->layout, now, true);
        }
        if (status == DLC_OK) {
            status = command_run(walk, &i);
        }
        if (status == DLC_OK && walk->rank->orders->poison) {
            /* What lives to a loop's end dies when the loop is left. */
            bool left_loop =
                walk->commands[now].kind == PLAN_LOOP || walk->commands[now].kind == PLAN_TEST;
            if (left_loop && i > now + 1) {
                status = poison_at(walk->rank, walk->layout, i - 1, false);
            } else if (walk->commands[now].kind != PLAN_LOOP_END || i == now + 1) {
                status = poison_at(walk->rank, walk->layout, now, false);
            }
        }
        if (status != DLC_OK) {
            return status;
        }
    }
    return DLC_OK;
}

dlc_status rank_range(Rank *rank, EntryState *entry, int32_t first, int32_t last) {
    Walk walk = {.rank = rank,
                 .entry = entry,
                 .apart = queues_several(rank, entry),
                 .layout = entry->layout,
                 .calls = entry->slots[0].calls,
                 .commands = rank->tables->commands + entry->record->first_command,
                 .n_commands = entry->record->n_commands,
                 .last = last};
    dlc_status status = walk.apart ? queues_fork(rank, entry) : DLC_OK;
    if (status == DLC_OK) {
        status = range_walk(&walk, first, last);
    }
    status = started_end(rank, status);
    /* Also of a run that failed: what comes after it comes after what it still does. */
    dlc_status joined = walk.apart ? queues_join(rank, entry) : DLC_OK;
    return status == DLC_OK ? joined : status;
}

dlc_status rank_finish(Rank *rank) {
    rank->faults = PLAN_FAULTS_CHECKS | PLAN_FAULTS_WATCHES;
    return rank_faults(rank);
}
