/* For tests: whether an entry is in order, asked of runs. A trace is one run of its commands, loops
 * turning as often as chance has it; in it, every use of a memory is compared with every one before
 * it on another queue. What plan_order_check accepts must be in order in every trace. */
#ifndef DLC_TESTS_UNIT_ORDER_TRACE_H
#define DLC_TESTS_UNIT_ORDER_TRACE_H

#include "runtime/plan_file/read.h"

#include <stdlib.h>
#include <string.h>

enum { TRACE_MOST_TURNS = 3, TRACE_MOST_STEPS = 400000 };

typedef struct TraceUse {
    int32_t memory, buffer, command, queue;
    bool writes;
    int64_t step;
} TraceUse;

typedef struct Trace {
    const PlanTables *tables;
    const PlanEntry *entry;
    const PlanCommand *commands;
    const PlanBuffer *buffers;
    uint64_t state;
    int64_t known[PLAN_MAX_QUEUES][PLAN_MAX_QUEUES]; /* what each queue comes after, of each */
    int64_t (*events)[PLAN_MAX_QUEUES];
    int64_t steps;
    int32_t *memory; /* by buffer: where it lies now */
    TraceUse *uses[PLAN_MAX_QUEUES];
    int64_t n_uses[PLAN_MAX_QUEUES], capacity[PLAN_MAX_QUEUES];
    int32_t first, second; /* commands that are not in order; -1 */
} Trace;

static inline int64_t trace_pick(Trace *t, int64_t n) {
    t->state = t->state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)(t->state >> 33) % n;
}

/* Both in the arena, one dead before the other is born. */
static inline bool trace_may_share(const Trace *t, int32_t a, int32_t b) {
    const PlanBuffer *x = &t->buffers[a], *y = &t->buffers[b];
    return x->kind == PLAN_BUFFER_ARENA && y->kind == PLAN_BUFFER_ARENA &&
           (x->death < y->birth || y->death < x->birth);
}

static inline void trace_use(Trace *t, TraceUse use) {
    for (int32_t p = 0; p < t->entry->n_queues && t->first < 0; p++) {
        for (int64_t i = 0; p != use.queue && i < t->n_uses[p]; i++) {
            const TraceUse *other = &t->uses[p][i];
            bool conflict = (other->memory == use.memory && (other->writes || use.writes)) ||
                            trace_may_share(t, other->buffer, use.buffer);
            if (conflict && other->step > t->known[use.queue][p]) {
                t->first = other->command;
                t->second = use.command;
                return;
            }
        }
    }
    int32_t q = use.queue;
    if (t->n_uses[q] == t->capacity[q]) {
        t->capacity[q] = t->capacity[q] ? 2 * t->capacity[q] : 256;
        t->uses[q] = realloc(t->uses[q], (size_t)t->capacity[q] * sizeof(TraceUse));
    }
    t->uses[q][t->n_uses[q]++] = use;
}

static inline void trace_wait(Trace *t, const PlanCommand *command) {
    for (int32_t w = 0; w < command->n_waits; w++) {
        const int64_t *event = t->events[t->tables->waits[command->first_wait + w]];
        for (int32_t p = 0; p < PLAN_MAX_QUEUES; p++) {
            int64_t *known = &t->known[command->queue][p];
            *known = event[p] > *known ? event[p] : *known;
        }
    }
}

static inline void trace_signal(Trace *t, const PlanCommand *command) {
    if (command->signal >= 0) {
        memcpy(t->events[command->signal], t->known[command->queue], sizeof(t->known[0]));
    }
}

static inline void trace_work(Trace *t, int32_t i) {
    const PlanCommand *command = &t->commands[i];
    t->known[command->queue][command->queue] = ++t->steps;
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = &t->tables->refs[command->first_ref + r];
        if (ref->access) {
            trace_use(t, (TraceUse){t->memory[ref->buffer], ref->buffer, i, command->queue,
                                    (ref->access & PLAN_WRITES) != 0, t->steps});
        }
    }
    for (int32_t s = 0; s < command->n_swaps; s++) {
        const PlanSwap *swap = &t->tables->swaps[command->first_swap + s];
        int32_t keep = t->memory[swap->a];
        t->memory[swap->a] = t->memory[swap->b];
        t->memory[swap->b] = keep;
    }
}

/* Runs commands [first, last); false: the loop around them was left at a test. */
static inline bool trace_range(Trace *t, int32_t first, int32_t last) {
    for (int32_t i = first; i < last && t->first < 0 && t->steps < TRACE_MOST_STEPS; i++) {
        const PlanCommand *command = &t->commands[i];
        trace_wait(t, command);
        if (command->kind != PLAN_LOOP) {
            trace_work(t, i);
            trace_signal(t, command);
            if (command->kind == PLAN_TEST && trace_pick(t, 3) == 0) {
                return false;
            }
            continue;
        }
        const PlanCommand *end = &t->commands[command->match];
        bool is_while = command->flags & PLAN_COMMAND_WHILE;
        int64_t turns = is_while ? TRACE_MOST_TURNS : trace_pick(t, TRACE_MOST_TURNS + 1);
        for (; turns > 0 && t->first < 0; turns--) {
            trace_work(t, i);
            trace_signal(t, command);
            if (!trace_range(t, i + 1, command->match)) {
                break;
            }
            trace_wait(t, end);
            trace_work(t, command->match);
            /* A `while` ends at a test alone; a trace that has none left is over. */
            if (is_while && turns == 1) {
                t->steps = TRACE_MOST_STEPS;
            }
        }
        trace_signal(t, end);
        i = command->match;
    }
    return true;
}

/* Whether one run by chance is in order; if not, the two commands. */
static inline bool order_trace(const PlanTables *tables, const PlanEntry *entry, uint64_t seed,
                               int32_t out[2]) {
    Trace t = {.tables = tables,
               .entry = entry,
               .commands = tables->commands + entry->first_command,
               .buffers = tables->buffers + entry->first_buffer,
               .state = seed * 2654435761u + 1,
               .first = -1,
               .second = -1};
    t.events = calloc((size_t)entry->n_events + 1, sizeof(*t.events));
    t.memory = calloc((size_t)entry->n_buffers + 1, sizeof(*t.memory));
    for (int32_t b = 0; b < entry->n_buffers; b++) {
        t.memory[b] = b;
    }
    trace_range(&t, 0, entry->n_commands);
    free(t.events);
    free(t.memory);
    for (int q = 0; q < PLAN_MAX_QUEUES; q++) {
        free(t.uses[q]);
    }
    out[0] = t.first;
    out[1] = t.second;
    return t.first < 0;
}

#endif
