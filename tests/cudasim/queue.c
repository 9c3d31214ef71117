/* Operations in streams: queued, and run when the host waits, in an order that the setting chooses
 * among those that streams, events and graphs allow. What was run since the host last saw
 * everything done is kept, to tell which operations happen before which. */
#include "tests/cudasim/results.h"
#include "tests/cudasim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SCANNED = 64 };

static Op *first_op, *last_op; /* queued, in order */
static Op **history;           /* run, in order */
static size_t n_history, cap_history;
static const Op *running;
static int64_t next_op, sync_count;
static int64_t n_unsynced; /* of the history */

static Ctx *contexts_seen[MAX_DEVICES]; /* to clear their streams' and events' references */

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* When what the event was recorded after was done; false: it is not. */
bool queue_event_time(const Event *event, double *out) {
    *out = event->op ? event->op->ended : event->time;
    return !event->op || event->op->done;
}

void work_free(Work *work) {
    free(work->values);
    free(work->snapshot);
    free(work->operation);
    *work = (Work){0};
}

size_t work_value_at(const Work *work, int number) {
    size_t at = 0;
    for (int i = 0; i < number; i++) {
        at += (work->function->sizes[i] + 15u) / 16 * 16;
    }
    return at;
}

Work work_copy(const Work *work) {
    Work copy = *work;
    size_t n = work->values ? work_value_at(work, work->n_values) : 0;
    copy.values = NULL;
    if (work->values) {
        copy.values = malloc(n + 1);
        memcpy(copy.values, work->values, n);
    }
    if (work->snapshot) {
        copy.snapshot = malloc(work->bytes + 1);
        memcpy(copy.snapshot, work->snapshot, work->bytes);
    }
    if (work->operation) {
        copy.operation = operation_copy(work->operation);
    }
    return copy;
}

static void after_add(Op ***list, int *n, int *cap, Op *op) {
    if (!op) {
        return;
    }
    if (*n == *cap) {
        *cap = *cap ? *cap * 2 : 4;
        *list = realloc(*list, (size_t)*cap * sizeof **list);
        if (!*list) {
            abort();
        }
    }
    (*list)[(*n)++] = op;
}

static void op_free(Op *op) {
    work_free(&op->work);
    free(op->after);
    free(op);
}

/* -- What happens before what. */

const Op *queue_running(void) {
    return running;
}

const Op *queue_op_of_epoch(uint32_t epoch) {
    size_t low = 0, high = n_history; /* the last that begins at or before the epoch */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (history[middle]->first_epoch <= epoch) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && history[low - 1]->last_epoch >= epoch ? history[low - 1] : NULL;
}

static bool host_saw(const Op *op) { /* before the running one was queued */
    return op->synced_at != 0 && op->synced_at <= running->stamp;
}

bool queue_happens_before(uint32_t epoch) {
    const Op *op = queue_op_of_epoch(epoch);
    return !op || !running || op->seen || host_saw(op);
}

static void see(Op *op) {
    if (!op->seen) {
        op->seen = true;
        for (int i = 0; i < op->n_after; i++) {
            see(op->after[i]);
        }
    }
}

/* Marks what comes before op; gives the epoch under which everything does. */
static uint32_t order_before(Op *op) {
    const Op *newest = n_history > 0 ? history[n_history - 1] : NULL;
    op->all_before = newest == NULL;
    for (int i = 0; i < op->n_after && !op->all_before; i++) {
        op->all_before = op->after[i] == newest && newest->all_before;
    }
    op->all_before = op->all_before || (n_unsynced == 0 && op->stamp == sync_count);
    if (op->all_before) {
        return hot.launch_first;
    }
    for (size_t i = 0; i < n_history; i++) {
        history[i]->seen = false;
    }
    see(op);
    for (size_t i = 0; i < n_history; i++) {
        if (!history[i]->seen && !host_saw(history[i])) {
            return history[i]->first_epoch;
        }
    }
    return hot.launch_first;
}

/* The host has waited for op: it and what came before it is over for all that is queued later. */
static void mark_synced(Op *op, int64_t stamp) {
    if (op->synced_at) {
        return;
    }
    op->synced_at = stamp;
    pinned_release(op);
    n_unsynced -= op->done;
    for (int i = 0; i < op->n_after; i++) {
        mark_synced(op->after[i], stamp);
    }
}

/* Everything is done and the host knows it: nothing of it matters any more. */
static void forget(void) {
    if (first_op || n_unsynced > 0) {
        return;
    }
    for (int d = 0; d < MAX_DEVICES; d++) {
        Ctx *context = contexts_seen[d];
        if (!context) {
            continue;
        }
        context->null_stream.last = NULL;
        context->null_stream.n_waits = 0;
        for (Stream *s = context->streams; s; s = s->next) {
            s->last = NULL;
            s->n_waits = 0;
        }
        for (Event *e = context->events; e; e = e->next) {
            e->time = e->op ? e->op->ended : e->time;
            e->op = NULL;
        }
    }
    for (size_t i = 0; i < n_history; i++) {
        op_free(history[i]);
    }
    n_history = 0;
    memory_forget_readers();
}

/* -- Running one operation. */

static bool run_launch(const Work *work, int device) {
    void *arguments[MAX_PARAMETERS + 1] = {NULL};
    for (int i = 0; i < work->n_values; i++) {
        arguments[i] = work->values + work_value_at(work, i);
    }
    Launch launch = {.function = work->function,
                     .grid = work->grid,
                     .block = work->block,
                     .shared = work->shared,
                     .device = device,
                     .arguments = arguments};
    return launch_run(&launch);
}

static bool run_copy(const Work *work) {
    const void *from = work->snapshot ? work->snapshot : work->from;
    bool to_device = memory_is_device(work->to), from_device = memory_is_device(from);
    if (((from_device || memory_is_pinned(from)) &&
         !memory_range_read((uintptr_t)from, work->bytes)) ||
        ((to_device || memory_is_pinned(work->to)) &&
         !memory_range_write((uintptr_t)work->to, work->bytes))) {
        return false;
    }
    pinned_open(from, work->bytes);
    pinned_open(work->to, work->bytes);
    memmove(work->to, from, work->bytes);
    pinned_close(from, work->bytes);
    pinned_close(work->to, work->bytes);
    if (to_device) {
        memory_range_state((uintptr_t)work->to, from_device ? (uintptr_t)from : 0, work->bytes);
    }
    return true;
}

static bool run_fill(const Work *work) {
    if (!memory_range_write((uintptr_t)work->to, work->bytes)) {
        return false;
    }
    for (size_t i = 0; i < work->bytes; i++) {
        ((unsigned char *)work->to)[i] =
            (unsigned char)(work->value >> (8 * (i % (size_t)work->width)));
    }
    memory_range_state((uintptr_t)work->to, 0, work->bytes);
    return true;
}

static void run(Op *op) {
    bool good = true;
    if (op->context->broken == 0) {
        hot.launch_first = hot.block_first = next_epoch();
        hot.me = (Mark)hot.epoch << MARK_EPOCH_SHIFT;
        op->first_epoch = hot.epoch;
        running = op;
        hot.ordered = order_before(op);
        if (settings.trace) {
            report_more("%s", op->label);
        }
        switch (op->work.kind) {
        case OP_LAUNCH:
            good = run_launch(&op->work, op->context->device);
            break;
        case OP_COPY:
            good = run_copy(&op->work);
            break;
        case OP_FILL:
            good = run_fill(&op->work);
            break;
        case OP_LIBRARY:
            good = operation_run(op->work.operation);
            break;
        case OP_MARK:
            break;
        }
        running = NULL;
    } else {
        op->first_epoch = next_epoch();
        op->all_before = true;
    }
    op->last_epoch = hot.epoch;
    op->ended = now();
    op->done = true;
    n_unsynced += op->synced_at == 0;
    if (!good && op->context->broken == 0) {
        op->context->broken = op->work.kind == OP_LAUNCH ? SIM_LAUNCH_FAILED : SIM_ILLEGAL_ADDRESS;
    }
    if (n_history == cap_history) {
        cap_history = cap_history ? cap_history * 2 : 256;
        history = realloc(history, cap_history * sizeof *history);
        if (!history) {
            abort();
        }
    }
    history[n_history++] = op;
}

static bool can_run(const Op *op) {
    for (int i = 0; i < op->n_after; i++) {
        if (!op->after[i]->done) {
            return false;
        }
    }
    return true;
}

static void take_out(Op *op) {
    Op *before = NULL;
    for (Op **at = &first_op; *at; before = *at, at = &(*at)->next) {
        if (*at == op) {
            *at = op->next;
            if (last_op == op) {
                last_op = before;
            }
            return;
        }
    }
}

/* One among the first that can run. */
static Op *pick(void) {
    Op *choices[SCANNED];
    int n = 0, scanned = 0;
    for (Op *op = first_op; op && scanned < SCANNED; op = op->next, scanned++) {
        if (can_run(op)) {
            choices[n++] = op;
        }
    }
    return n > 0 ? choices[settings.order == ORDER_RANDOM ? sim_random((uint64_t)n) : 0] : NULL;
}

/* "latest": only what `op` waits for, in dependency order; a stack, as chains are long. */
static Op *needed(Op *op) {
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < op->n_after; i++) {
            if (!op->after[i]->done) {
                op = op->after[i];
                moved = true;
                break;
            }
        }
    }
    return op;
}

static void run_until(Op *op) {
    while (!op->done) {
        Op *next = settings.order == ORDER_LATEST ? needed(op) : pick();
        if (!next) {
            report("deadlock: nothing can run while the host waits for %s", op->label);
            for (Op *at = first_op; at; at = at->next) {
                for (int i = 0; i < at->n_after; i++) {
                    if (!at->after[i]->done) {
                        report_more("%s waits for %s", at->label, at->after[i]->label);
                    }
                }
            }
            op->context->broken = SIM_LAUNCH_FAILED;
            op->done = true;
            return;
        }
        take_out(next);
        run(next);
    }
}

void queue_break(const Op *op) {
    if (op->context->broken == 0) {
        op->context->broken = SIM_ILLEGAL_ADDRESS;
    }
}

/* -- Queueing. */

static void label(Op *op) {
    static const char *const names[] = {"kernel", "copy", "fill", "mark", "library"};
    int used = snprintf(op->label, sizeof op->label, "operation %lld (%s", (long long)op->number,
                        names[op->work.kind]);
    if (used > 0 && op->work.kind == OP_LAUNCH) {
        snprintf(op->label + used, sizeof op->label - (size_t)used, " %.90s, stream %lld)",
                 op->work.function->kernel->name, (long long)op->stream->number);
    } else if (used > 0 && op->work.kind == OP_LIBRARY) {
        snprintf(op->label + used, sizeof op->label - (size_t)used, " %.90s, stream %lld)",
                 op->work.operation->name, (long long)op->stream->number);
    } else if (used > 0) {
        snprintf(op->label + used, sizeof op->label - (size_t)used, " of %zu bytes, stream %lld)",
                 op->work.bytes, (long long)op->stream->number);
    }
}

static Op *op_make(Stream *stream, Work *work) {
    Op *op = calloc(1, sizeof *op);
    if (!op) {
        abort();
    }
    op->number = next_op++;
    op->stream = stream;
    op->context = stream->context;
    op->work = *work;
    op->stamp = sync_count;
    *work = (Work){0};
    label(op);
    if (op->work.kind == OP_COPY) {
        pinned_use(op, op->work.to, op->work.bytes, true);
        pinned_use(op, op->work.snapshot ? NULL : op->work.from, op->work.bytes, false);
    }
    contexts_seen[stream->context->device] = stream->context;
    return op;
}

/* What anything queued in the stream now follows. */
static void stream_order(Stream *stream, Op *op) {
    Ctx *context = stream->context;
    after_add(&op->after, &op->n_after, &op->cap_after, stream->last);
    for (int i = 0; i < stream->n_waits; i++) {
        after_add(&op->after, &op->n_after, &op->cap_after, stream->waits[i]);
    }
    if (stream->is_null) { /* the old default stream and the ordinary ones wait for each other */
        for (Stream *s = context->streams; s; s = s->next) {
            if (!s->non_blocking) {
                after_add(&op->after, &op->n_after, &op->cap_after, s->last);
            }
        }
    } else if (!stream->non_blocking) {
        after_add(&op->after, &op->n_after, &op->cap_after, context->null_stream.last);
    }
}

static void append(Op *op) {
    if (last_op) {
        last_op->next = op;
    } else {
        first_op = op;
    }
    last_op = op;
}

static int settle(Ctx *context, Op *op) {
    if (settings.order == ORDER_EARLIEST) {
        run_until(op);
    }
    return context->broken;
}

int queue_add(Stream *stream, Work *work) {
    if (stream->capture) {
        return capture_add(stream, work);
    }
    Op *op = op_make(stream, work);
    stream_order(stream, op);
    append(op);
    stream->last = op;
    stream->n_waits = 0;
    return settle(stream->context, op);
}

int queue_add_graph(Stream *stream, const Graph *graph) {
    Op **ops = calloc((size_t)graph->n_nodes + 1, sizeof *ops);
    bool *followed = calloc((size_t)graph->n_nodes + 1, sizeof *followed);
    if (!ops || !followed) {
        abort();
    }
    for (int i = 0; i < graph->n_nodes; i++) {
        const GraphNode *node = &graph->nodes[i];
        Work work = work_copy(&node->work);
        ops[i] = op_make(stream, &work);
        for (int j = 0; j < node->n_kept; j++) {
            after_add(&ops[i]->after, &ops[i]->n_after, &ops[i]->cap_after, ops[node->after[j]]);
            followed[node->after[j]] = true;
        }
        if (node->n_kept == 0) {
            stream_order(stream, ops[i]);
        }
        append(ops[i]);
    }
    Work mark = {.kind = OP_MARK};
    Op *end = op_make(stream, &mark);
    for (int i = 0; i < graph->n_nodes; i++) {
        if (!followed[i]) {
            after_add(&end->after, &end->n_after, &end->cap_after, ops[i]);
        }
    }
    if (graph->n_nodes == 0) {
        stream_order(stream, end);
    }
    append(end);
    stream->last = end;
    stream->n_waits = 0;
    free(ops);
    free(followed);
    return settle(stream->context, end);
}

int queue_host_wait(Ctx *context, Op *op) {
    return wait_is_left_out("that the host waits for %s", op ? op->label : "what is done")
               ? context->broken
               : queue_wait_op(context, op);
}

int queue_wait_op(Ctx *context, Op *op) {
    if (op) {
        run_until(op);
        mark_synced(op, ++sync_count);
        forget();
    }
    return context->broken;
}

int queue_wait_stream(Stream *stream) {
    return queue_wait_op(stream->context, stream->last);
}

int queue_wait_context(Ctx *context) {
    queue_wait_op(context, context->null_stream.last);
    for (Stream *s = context->streams; s; s = s->next) {
        queue_wait_op(context, s->last);
    }
    return context->broken;
}

int queue_record(Event *event, Stream *stream) {
    capture_record(event, stream);
    if (stream->capture) {
        return SIM_SUCCESS;
    }
    event->op = stream->last;
    event->time = now();
    contexts_seen[stream->context->device] = stream->context;
    return stream->context->broken;
}

int queue_stream_wait(Stream *stream, Event *event) {
    if (event->capture || stream->capture) {
        return capture_stream_wait(stream, event);
    }
    if (!wait_is_left_out("that stream %lld waits for %s", (long long)stream->number,
                          event->op ? event->op->label : "what is done")) {
        after_add(&stream->waits, &stream->n_waits, &stream->cap_waits, event->op);
    }
    return stream->context->broken;
}
