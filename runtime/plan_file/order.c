/* Proves that an entry's commands, on however many queues, do to every memory what they would do
 * one after another: every two uses of one memory of which one writes are on one queue or have
 * events between them.
 *
 * The walk counts each queue's commands as steps and keeps, for every queue and event, the newest
 * step of every other queue that it is known to come after (a vector clock; Lamport 1978, Fidge
 * 1988). A buffer keeps the newest step of each queue that read and that wrote it: who comes after
 * that one comes after all before it. Memory of the arena is used again by buffers that are born
 * after others' deaths (layout.c), so whoever uses a buffer must also come after every use of all
 * that was dead when it was born.
 *
 * A loop's body is walked twice, as a first turn and one after it. That is enough: whatever orders
 * a step of the second turn behind one of the first is a chain of signals and waits, each within
 * one turn or between two that follow each other, for an event is signalled before it is waited for
 * in the order of the commands; the same chain orders turn k + 1 behind turn k. And what the second
 * turn finds in order with what was before the loop, later turns do too, as knowledge only grows.
 *
 * A loop may be left in several ways: not entered, at a test, at its end, after one turn or more.
 * What is known behind it is what is known in all these ways. Steps that a way leaves out are none
 * to be waited for: who has seen all of a queue up to there, has seen them too (ALL); and of what
 * is left after one turn, its steps stand for those of the last (turn_renumber). */
#include "runtime/plan_file/read.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { QUEUES = PLAN_MAX_QUEUES };

/* Commands, uses and events looked at, loops in loops times two each: a second's work. Plans of
 * many thousand commands and loops three deep need a hundredth. */
static const int64_t MOST_LOOKS = (int64_t)1 << 24;
static const int64_t ALL = INT64_MAX;

/* By queue: the newest of its steps that must be done. */
typedef struct Clock {
    int64_t after[QUEUES];
} Clock;

/* By queue: the newest step that did something, the command that it was, and on which buffer. */
typedef struct Uses {
    int64_t step[QUEUES];
    int32_t command[QUEUES], buffer[QUEUES];
} Uses;

typedef struct Memory {
    int32_t
        same; /* union-find: buffers that are the same memory, or become it; itself when alone */
    int32_t next_born, next_dying; /* with the same birth, death; -1: none */
    Uses reads, writes;            /* of `same` */
    Uses dead;                     /* of all that was dead at its birth */
} Memory;

/* A loop under way, and what is known on every way out of it found so far. */
typedef struct Turn {
    int64_t begin[QUEUES]; /* steps before it */
    bool is_left;          /* there is a way out */
    Clock queues[QUEUES];
    Clock *events; /* of `signals` that stand in it */
    int32_t first_event, n_events;
} Turn;

typedef struct Order {
    const PlanTables *tables;
    const PlanEntry *entry;
    const PlanCommand *commands;
    const PlanBuffer *buffers;
    int64_t steps[QUEUES]; /* taken so far */
    Clock queues[QUEUES];
    Clock *events;
    Memory *memories;
    Uses dead;                 /* of all that has died */
    int32_t *born, *dying;     /* by command: the first such buffer; -1: none */
    int32_t *signals;          /* events in the order of the commands that signal them */
    int32_t *signals_before;   /* by command: how many of them come before it */
    int32_t *elsewhere_before; /* by command: how many before it are not on queue 0 */
    Clock *turn_events;        /* [n_depth][n_events] */
    Turn turns[PLAN_MAX_LOOP_DEPTH];
    int32_t depth;
    int64_t looks;
    char *text;
} Order;

__attribute__((format(printf, 2, 3))) static bool refuse(Order *o, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(o->text, PLAN_ORDER_TEXT, format, arguments);
    va_end(arguments);
    return false;
}

/* -- What is the same memory */

static int32_t same_as(const Order *o, int32_t b) {
    while (o->memories[b].same != b) {
        o->memories[b].same = o->memories[o->memories[b].same].same;
        b = o->memories[b].same;
    }
    return b;
}

static void unite(Order *o, int32_t a, int32_t b) {
    a = same_as(o, a);
    b = same_as(o, b);
    o->memories[a > b ? a : b].same = a < b ? a : b;
}

static int by_variable(const void *left, const void *right) {
    const PlanArg *a = *(const PlanArg *const *)left, *b = *(const PlanArg *const *)right;
    return a->variable < b->variable ? -1 : a->variable > b->variable;
}

/* Arguments of one variable are one memory. Where the run may put averages in the place of
 * parameters (rank_entry_variable), a slot that is written to may be any of them. */
static bool arguments_unite(Order *o, const dlc_allocator *allocator) {
    const PlanEntry *entry = o->entry;
    const PlanArg *args = o->tables->args + entry->first_arg;
    const PlanArg **sorted = memory_new(allocator, (size_t)entry->n_args + 1, sizeof(*sorted));
    if (!sorted) {
        return false;
    }
    bool averages = entry->purpose != PLAN_PURPOSE_TRAIN && entry->purpose != PLAN_PURPOSE_INIT;
    int32_t n = 0, slot = -1;
    for (int32_t i = 0; i < entry->n_args; i++) {
        if (args[i].variable >= 0) {
            sorted[n++] = &args[i];
        }
        slot = averages && args[i].role == PLAN_ARG_SLOT ? args[i].buffer : slot;
    }
    qsort(sorted, (size_t)n, sizeof(const PlanArg *), by_variable);
    for (int32_t i = 1; i < n; i++) {
        if (sorted[i]->variable == sorted[i - 1]->variable) {
            unite(o, sorted[i]->buffer, sorted[i - 1]->buffer);
        }
    }
    for (int32_t i = 0; slot >= 0 && i < n; i++) {
        if (sorted[i]->role == PLAN_ARG_PARAM || sorted[i]->role == PLAN_ARG_SLOT) {
            unite(o, sorted[i]->buffer, slot);
        }
    }
    memory_free(allocator, sorted);
    return true;
}

/* -- Steps */

static bool look(Order *o, int64_t n) {
    o->looks += n;
    return o->looks <= MOST_LOOKS ||
           refuse(o, "its loops are too many in one another to prove its queues in order");
}

/* -1, or the queue one of whose uses the queue does not come after. */
static int32_t unordered(const Order *o, int32_t queue, const Uses *uses) {
    for (int32_t p = 0; p < o->entry->n_queues; p++) {
        if (p != queue && uses->step[p] > o->queues[queue].after[p]) {
            return p;
        }
    }
    return -1;
}

static bool uses_ordered(Order *o, int32_t i, int32_t b, const Uses *uses) {
    int32_t queue = o->commands[i].queue, other = unordered(o, queue, uses);
    if (other < 0) {
        return true;
    }
    int32_t before = uses->command[other], used = uses->buffer[other];
    if (same_as(o, used) == same_as(o, b)) {
        return refuse(o,
                      "commands %d (queue %d) and %d (queue %d) both use %%%d and no event orders "
                      "them",
                      before, other, i, queue, b);
    }
    return refuse(
        o,
        "command %d (queue %d) uses %%%d and command %d (queue %d) %%%d, which may lie in "
        "the same memory, and no event orders them",
        before, other, used, i, queue, b);
}

static void uses_note(Uses *uses, int32_t queue, int64_t step, int32_t command, int32_t buffer) {
    uses->step[queue] = step;
    uses->command[queue] = command;
    uses->buffer[queue] = buffer;
}

/* Command `i`, which has waited, uses its buffers. */
static bool buffers_use(Order *o, int32_t i) {
    const PlanCommand *command = &o->commands[i];
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = &o->tables->refs[command->first_ref + r];
        Memory *memory = &o->memories[same_as(o, ref->buffer)];
        bool writes = ref->access & PLAN_WRITES;
        if (!uses_ordered(o, i, ref->buffer, &memory->writes) ||
            (writes && !uses_ordered(o, i, ref->buffer, &memory->reads)) ||
            !uses_ordered(o, i, ref->buffer, &o->memories[ref->buffer].dead)) {
            return false;
        }
    }
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = &o->tables->refs[command->first_ref + r];
        Memory *memory = &o->memories[same_as(o, ref->buffer)];
        int64_t step = o->steps[command->queue];
        if (ref->access & PLAN_WRITES) {
            uses_note(&memory->writes, command->queue, step, i, ref->buffer);
        }
        if (ref->access & PLAN_READS) {
            uses_note(&memory->reads, command->queue, step, i, ref->buffer);
        }
    }
    return true;
}

static void clock_join(Clock *clock, const Clock *other) {
    for (int q = 0; q < QUEUES; q++) {
        clock->after[q] = other->after[q] > clock->after[q] ? other->after[q] : clock->after[q];
    }
}

static bool wait_for_events(Order *o, int32_t i) {
    const PlanCommand *command = &o->commands[i];
    for (int32_t w = 0; w < command->n_waits; w++) {
        clock_join(&o->queues[command->queue],
                   &o->events[o->tables->waits[command->first_wait + w]]);
    }
    return look(o, 1 + command->n_waits + command->n_refs);
}

static bool work(Order *o, int32_t i) {
    const PlanCommand *command = &o->commands[i];
    o->queues[command->queue].after[command->queue] = ++o->steps[command->queue];
    return buffers_use(o, i);
}

static void signal_event(Order *o, int32_t i) {
    const PlanCommand *command = &o->commands[i];
    if (command->signal >= 0) {
        o->events[command->signal] = o->queues[command->queue];
    }
}

/* -- Births and deaths */

static void births(Order *o, int32_t i) {
    for (int32_t b = o->born[i]; b >= 0; b = o->memories[b].next_born) {
        o->memories[b].dead = o->dead;
    }
}

/* Of what was born behind command `since`, or (`before`) not behind it. */
static void deaths(Order *o, int32_t i, int32_t since, bool before) {
    for (int32_t b = o->dying[i]; b >= 0; b = o->memories[b].next_dying) {
        if ((o->buffers[b].birth <= since) != before) {
            continue;
        }
        const Memory *memory = &o->memories[same_as(o, b)];
        const Uses *both[2] = {&memory->reads, &memory->writes};
        for (int k = 0; k < 2; k++) {
            for (int32_t q = 0; q < o->entry->n_queues; q++) {
                if (both[k]->step[q] > o->dead.step[q]) {
                    uses_note(&o->dead, q, both[k]->step[q], both[k]->command[q],
                              both[k]->buffer[q]);
                }
            }
        }
    }
}

/* -- Loops */

static void known_lower(Clock *known, const Clock *clock, const int64_t *steps, bool first) {
    for (int q = 0; q < QUEUES; q++) {
        int64_t after = clock->after[q] >= steps[q] ? ALL : clock->after[q];
        known->after[q] = first || after < known->after[q] ? after : known->after[q];
    }
}

/* The loop is left here. Waiting for an event that was not signalled on this way adds nothing to
 * what any queue knows: it may stand for what all of them do. */
static bool way_out(Order *o, Turn *turn) {
    Clock common = o->queues[0];
    for (int32_t q = 0; q < o->entry->n_queues; q++) {
        known_lower(&turn->queues[q], &o->queues[q], o->steps, !turn->is_left);
        for (int p = 0; p < QUEUES; p++) {
            int64_t after = o->queues[q].after[p];
            common.after[p] = after < common.after[p] ? after : common.after[p];
        }
    }
    for (int32_t e = 0; e < turn->n_events; e++) {
        Clock clock = o->events[o->signals[turn->first_event + e]];
        clock_join(&clock, &common);
        known_lower(&turn->events[e], &clock, o->steps, !turn->is_left);
    }
    turn->is_left = true;
    return look(o, turn->n_events);
}

static void clock_renumber(Clock *clock, const Order *o, const Turn *turn) {
    for (int q = 0; q < QUEUES; q++) {
        if (clock->after[q] != ALL && clock->after[q] >= turn->begin[q]) {
            clock->after[q] += o->steps[q] - turn->begin[q];
        }
    }
}

/* A second turn follows, of as many steps: on the ways out of the first it stands for the first,
 * and the first for none. */
static void turn_renumber(const Order *o, Turn *turn) {
    for (int32_t q = 0; turn->is_left && q < o->entry->n_queues; q++) {
        clock_renumber(&turn->queues[q], o, turn);
    }
    for (int32_t e = 0; turn->is_left && e < turn->n_events; e++) {
        clock_renumber(&turn->events[e], o, turn);
    }
}

static Clock clock_known(const Order *o, const Clock *known) {
    Clock clock = *known;
    for (int q = 0; q < QUEUES; q++) {
        clock.after[q] = clock.after[q] == ALL ? o->steps[q] : clock.after[q];
    }
    return clock;
}

static void turn_leave(Order *o, const Turn *turn) {
    for (int32_t q = 0; q < o->entry->n_queues; q++) {
        o->queues[q] = clock_known(o, &turn->queues[q]);
    }
    for (int32_t e = 0; e < turn->n_events; e++) {
        o->events[o->signals[turn->first_event + e]] = clock_known(o, &turn->events[e]);
    }
}

static bool loop_walk(Order *o, int32_t start);

static bool body_walk(Order *o, int32_t first, int32_t last) {
    for (int32_t i = first; i < last; i++) {
        const PlanCommand *command = &o->commands[i];
        if (command->kind == PLAN_LOOP) {
            if (!loop_walk(o, i)) {
                return false;
            }
            i = command->match;
            continue;
        }
        births(o, i);
        if (!wait_for_events(o, i) || !work(o, i)) {
            return false;
        }
        signal_event(o, i);
        deaths(o, i, -1, false);
        if (command->kind == PLAN_TEST && !way_out(o, &o->turns[o->depth - 1])) {
            return false;
        }
    }
    return true;
}

static bool turn_walk(Order *o, int32_t start, Turn *turn) {
    int32_t end = o->commands[start].match;
    bool is_counted = !(o->commands[start].flags & PLAN_COMMAND_WHILE);
    if (!work(o, start)) {
        return false;
    }
    signal_event(o, start);
    if (!body_walk(o, start + 1, end)) {
        return false;
    }
    births(o, end);
    if (!wait_for_events(o, end) || !work(o, end)) {
        return false;
    }
    deaths(o, end, start, false);
    return !(is_counted || !turn->is_left) || way_out(o, turn);
}

static bool loop_walk(Order *o, int32_t start) {
    const PlanCommand *loop = &o->commands[start];
    int32_t end = loop->match;
    Turn *turn = &o->turns[o->depth];
    births(o, start);
    deaths(o, start, -1, false);
    if (!wait_for_events(o, start)) {
        return false;
    }
    *turn = (Turn){.events = o->turn_events + (int64_t)o->depth * o->entry->n_events,
                   .first_event = o->signals_before[start],
                   .n_events = o->signals_before[end] - o->signals_before[start]};
    memcpy(turn->begin, o->steps, sizeof(turn->begin));
    if (!(loop->flags & PLAN_COMMAND_WHILE) && !way_out(o, turn)) { /* it may turn 0 times */
        return false;
    }
    o->depth++;
    /* What is on one queue is in order in any turn, and comes after others' work in all turns if in
     * the first. */
    bool again = o->elsewhere_before[end] > o->elsewhere_before[start];
    if (!turn_walk(o, start, turn)) {
        return false;
    }
    if (again) {
        turn_renumber(o, turn);
        if (!turn_walk(o, start, turn)) {
            return false;
        }
    }
    o->depth--;
    turn_leave(o, turn);
    deaths(o, end, start, true);
    signal_event(o, end);
    return true;
}

/* -- An entry */

/* Each event is signalled once, before all that wait for it. */
static bool events_ok(Order *o) {
    int32_t n = 0;
    for (int32_t e = 0; e < o->entry->n_events; e++) {
        o->events[e].after[0] = -1; /* the command that signals it */
    }
    for (int32_t i = 0; i < o->entry->n_commands; i++) {
        const PlanCommand *command = &o->commands[i];
        o->signals_before[i] = n;
        o->elsewhere_before[i] = i > 0 ? o->elsewhere_before[i - 1] + (command[-1].queue > 0) : 0;
        for (int32_t w = 0; w < command->n_waits; w++) {
            int32_t event = o->tables->waits[command->first_wait + w];
            if (o->events[event].after[0] < 0) {
                return refuse(o,
                              "command %d waits for event %d, which no command before it signals",
                              i, event);
            }
        }
        if (command->signal >= 0) {
            int64_t *by = &o->events[command->signal].after[0];
            if (*by >= 0) {
                return refuse(o, "commands %" PRId64 " and %d both signal event %d", *by, i,
                              command->signal);
            }
            *by = i;
            o->signals[n++] = command->signal;
        }
    }
    for (int32_t e = 0; e < o->entry->n_events; e++) {
        if (o->events[e].after[0] < 0) {
            return refuse(o, "no command signals event %d", e);
        }
        o->events[e] = (Clock){{0}};
    }
    return true;
}

static void memories_begin(Order *o) {
    for (int32_t i = 0; i < o->entry->n_commands; i++) {
        o->born[i] = o->dying[i] = -1;
    }
    for (int32_t b = 0; b < o->entry->n_buffers; b++) {
        const PlanBuffer *buffer = &o->buffers[b];
        Memory *memory = &o->memories[b];
        memory->same = b;
        memory->next_born = memory->next_dying = -1;
        if (buffer->kind == PLAN_BUFFER_ARENA && buffer->birth < o->entry->n_commands) {
            memory->next_born = o->born[buffer->birth];
            o->born[buffer->birth] = b;
        }
        if (buffer->kind == PLAN_BUFFER_ARENA && buffer->death < o->entry->n_commands) {
            memory->next_dying = o->dying[buffer->death];
            o->dying[buffer->death] = b;
        }
    }
    for (int32_t i = 0; i < o->entry->n_commands; i++) {
        for (int32_t s = 0; s < o->commands[i].n_swaps; s++) {
            const PlanSwap *swap = &o->tables->swaps[o->commands[i].first_swap + s];
            unite(o, swap->a, swap->b);
        }
    }
}

static int32_t loops_deep(const Order *o) {
    int32_t depth = 0, most = 0;
    for (int32_t i = 0; i < o->entry->n_commands; i++) {
        depth += (o->commands[i].kind == PLAN_LOOP) - (o->commands[i].kind == PLAN_LOOP_END);
        most = depth > most ? depth : most;
    }
    return most;
}

/* False: out of memory. */
static bool order_begin(Order *o, const dlc_allocator *allocator) {
    size_t n_commands = (size_t)o->entry->n_commands + 1, n_events = (size_t)o->entry->n_events + 1;
    o->memories = memory_new(allocator, (size_t)o->entry->n_buffers + 1, sizeof(Memory));
    o->born = memory_new(allocator, n_commands, sizeof(int32_t));
    o->dying = memory_new(allocator, n_commands, sizeof(int32_t));
    o->signals = memory_new(allocator, n_events, sizeof(int32_t));
    o->signals_before = memory_new(allocator, n_commands, sizeof(int32_t));
    o->elsewhere_before = memory_new(allocator, n_commands, sizeof(int32_t));
    o->events = memory_new(allocator, n_events, sizeof(Clock));
    o->turn_events = memory_new(allocator, n_events * ((size_t)loops_deep(o) + 1), sizeof(Clock));
    if (!o->memories || !o->born || !o->dying || !o->signals || !o->signals_before ||
        !o->elsewhere_before || !o->events || !o->turn_events) {
        return false;
    }
    memories_begin(o);
    return arguments_unite(o, allocator);
}

static void order_end(Order *o, const dlc_allocator *allocator) {
    void *const parts[] = {o->memories, o->born,           o->dying,
                           o->signals,  o->signals_before, o->elsewhere_before,
                           o->events,   o->turn_events};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        memory_free(allocator, parts[i]);
    }
}

dlc_status plan_order_check(const dlc_allocator *allocator, const PlanTables *tables,
                            const PlanEntry *entry, char *text) {
    Order order = {.tables = tables,
                   .entry = entry,
                   .commands = tables->commands + entry->first_command,
                   .buffers = tables->buffers + entry->first_buffer,
                   .text = text};
    if (entry->n_queues == 1 && entry->n_events == 0) {
        return DLC_OK; /* a queue is in order by itself */
    }
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    if (order_begin(&order, allocator)) {
        bool ok = events_ok(&order) && body_walk(&order, 0, entry->n_commands);
        status = ok ? DLC_OK : DLC_ERROR_FORMAT;
    }
    order_end(&order, allocator);
    return status;
}
