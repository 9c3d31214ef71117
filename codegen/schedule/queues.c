/* Which queue each command is given to, and the events between queues. */
#include "codegen/schedule/state.h"

/* What a kernel does to its buffers, as PlanAccess. */
static int32_t *kernel_accesses(Arena *arena, const Kernel *kernel) {
    bool *reads = ARENA_ARRAY(arena, bool, kernel->n_buffers + 1);
    int32_t *accesses = ARENA_ARRAY(arena, int32_t, kernel->n_buffers + 1);
    kernel_mark_reads(kernel->body, reads);
    for (int32_t b = 0; b < kernel->n_buffers; b++) {
        accesses[b] =
            (reads[b] ? PLAN_READS : 0) | (kernel->buffers[b].is_written ? PLAN_WRITES : 0);
    }
    return accesses;
}

void schedule_accesses(TargetTables *tables, const KernelPool *pool) {
    int32_t **accesses = ARENA_ARRAY(pool->arena, int32_t *, pool->kernels.count + 1);
    for (size_t i = 0; i < tables->commands.count; i++) {
        const PlanCommand *command = &tables->commands.items[i];
        if (command->kind != PLAN_LAUNCH) {
            continue;
        }
        int32_t **of = &accesses[command->kernel];
        if (!*of) {
            *of = kernel_accesses(pool->arena, pool->kernels.items[command->kernel]);
        }
        for (int32_t r = 0; r < command->n_refs; r++) {
            tables->refs.items[command->first_ref + r].access = (*of)[r];
        }
    }
}

/* -- Two queues: what ranks exchange on the second, and copies, fills and stores where the device
 * has two */

enum { LOOKAHEAD = 2048 };

/* Of commands of the entry; -1: none. */
typedef struct Newest {
    int32_t read, written;
} Newest;

typedef struct Queues {
    PlanWriter *writer;
    TargetTables *tables;
    Arena *arena;
    PlanEntry *entry;
    PlanCommand *commands;
    PlanBuffer *buffers;
    bool has_two;         /* the device: moves of bytes are spread too */
    int64_t *bytes;       /* by buffer, of nominal dims */
    int32_t *same;        /* by buffer: the first of those that swap with it */
    int32_t *next_same;   /* by buffer: the next of them; -1: none */
    Newest *used;         /* by `same`: the newest uses on queue 0 */
    int32_t *first_dying; /* by command */
    int32_t *next_dying;  /* by buffer */
    int32_t *dead_before; /* by command: the newest use on queue 0 of what died before it */
    int64_t *live;        /* by command: bytes of the arena in use */
    int64_t peak;
    int32_t *loop;            /* by command: the loop around it (an end is in its loop); -1: none */
    int32_t *launches_before; /* by command */
    bool *holds_second;       /* by command: a loop with commands on queue 1 in it */
    bool *stays;              /* by command: on queue 0, as another one is waited for there */
    int32_t *awaits; /* by command: the one of the other queue that it must come after; -1 */
} Queues;

static const PlanRef *ref_of(const Queues *q, int32_t i, int32_t r) {
    return &q->tables->refs.items[q->commands[i].first_ref + r];
}

/* -- What is known of the entry */

static void same_find(Queues *q) {
    for (int32_t b = 0; b < q->entry->n_buffers; b++) {
        q->same[b] = b;
        q->next_same[b] = -1;
    }
    for (int32_t i = 0; i < q->entry->n_commands; i++) {
        for (int32_t w = 0; w < q->commands[i].n_swaps; w++) {
            PlanSwap swap = q->tables->swaps.items[q->commands[i].first_swap + w];
            int32_t a = q->same[swap.a], b = q->same[swap.b], last = a;
            while (q->next_same[last] >= 0) {
                last = q->next_same[last];
            }
            if (a != b) {
                q->next_same[last] = b;
            }
            for (; a != b && b >= 0; b = q->next_same[b]) {
                q->same[b] = a;
            }
        }
    }
}

static void loops_find(Queues *q) {
    int32_t around = -1;
    for (int32_t i = 0; i < q->entry->n_commands; i++) {
        q->loop[i] = around;
        if (q->commands[i].kind == PLAN_LOOP) {
            around = i;
        } else if (q->commands[i].kind == PLAN_LOOP_END) {
            around = q->loop[around];
        }
    }
}

static void lives_find(Queues *q) {
    int32_t n = q->entry->n_commands;
    for (int32_t i = 0; i <= n; i++) {
        q->first_dying[i] = -1;
    }
    for (int32_t b = 0; b < q->entry->n_buffers; b++) {
        const PlanBuffer *buffer = &q->buffers[b];
        q->used[b] = (Newest){-1, -1};
        if (buffer->kind != PLAN_BUFFER_ARENA) {
            continue;
        }
        q->next_dying[b] = q->first_dying[buffer->death];
        q->first_dying[buffer->death] = b;
        q->live[buffer->birth] += q->bytes[b];
        q->live[buffer->death + 1] -= q->bytes[b];
    }
    for (int32_t i = 0; i <= n; i++) {
        q->live[i] += i > 0 ? q->live[i - 1] : 0;
        q->peak = q->live[i] > q->peak ? q->live[i] : q->peak;
    }
}

static void entry_begin(Queues *q, PlanEntry *entry, const int64_t *vars, int32_t n_vars) {
    size_t n_buffers = (size_t)entry->n_buffers + 1, n_commands = (size_t)entry->n_commands + 2;
    q->entry = entry;
    q->commands = q->tables->commands.items + entry->first_command;
    q->buffers = q->tables->buffers.items + entry->first_buffer;
    q->bytes = nominal_bytes(q->writer, q->buffers, entry->n_buffers, vars, n_vars);
    q->same = ARENA_ARRAY(q->arena, int32_t, n_buffers);
    q->next_same = ARENA_ARRAY(q->arena, int32_t, n_buffers);
    q->used = ARENA_ARRAY(q->arena, Newest, n_buffers);
    q->next_dying = ARENA_ARRAY(q->arena, int32_t, n_buffers);
    q->first_dying = ARENA_ARRAY(q->arena, int32_t, n_commands);
    q->dead_before = ARENA_ARRAY(q->arena, int32_t, n_commands);
    q->live = ARENA_ARRAY(q->arena, int64_t, n_commands);
    q->peak = 0;
    q->loop = ARENA_ARRAY(q->arena, int32_t, n_commands);
    q->launches_before = ARENA_ARRAY(q->arena, int32_t, n_commands);
    q->holds_second = ARENA_ARRAY(q->arena, bool, n_commands);
    q->stays = ARENA_ARRAY(q->arena, bool, n_commands);
    q->awaits = ARENA_ARRAY(q->arena, int32_t, n_commands);
    for (int32_t i = 0; i < entry->n_commands; i++) {
        q->awaits[i] = -1;
    }
    same_find(q);
    loops_find(q);
    lives_find(q);
}

/* -- How far a command may be put off */

static bool conflicts(const Queues *q, int32_t a, int32_t b) {
    for (int32_t r = 0; r < q->commands[a].n_refs; r++) {
        const PlanRef *one = ref_of(q, a, r);
        for (int32_t k = 0; k < q->commands[b].n_refs; k++) {
            const PlanRef *other = ref_of(q, b, k);
            if (q->same[one->buffer] == q->same[other->buffer] &&
                (one->access | other->access) & PLAN_WRITES) {
                return true;
            }
        }
    }
    return false;
}

/* What the command's buffers that are dead by `at` would take there. */
static int64_t bytes_kept(const Queues *q, int32_t i, int32_t at) {
    int64_t kept = 0;
    for (int32_t r = 0; r < q->commands[i].n_refs; r++) {
        int32_t first = q->same[ref_of(q, i, r)->buffer];
        bool again = false;
        for (int32_t k = 0; k < r; k++) {
            again = again || q->same[ref_of(q, i, k)->buffer] == first;
        }
        for (int32_t b = first; !again && b >= 0; b = q->next_same[b]) {
            bool dead = q->buffers[b].kind == PLAN_BUFFER_ARENA && q->buffers[b].death < at;
            kept += dead ? q->bytes[b] : 0;
        }
    }
    return kept;
}

/* What may run while a command does. */
typedef struct Meanwhile {
    bool launches;
    int32_t move; /* the first command that moves bytes and could be left on queue 0; -1: none */
} Meanwhile;

static bool moves_bytes(const PlanCommand *command) {
    return command->kind == PLAN_COPY || command->kind == PLAN_FILL || command->kind == PLAN_STORE;
}

/* Whether command `at`, or the loop that begins there, cannot run before `i` is done: then queue 0
 * waits for it there. */
static bool must_wait(const Queues *q, int32_t i, int32_t at, Meanwhile *meanwhile) {
    const PlanCommand *command = &q->commands[at];
    int32_t last = command->kind == PLAN_LOOP ? command->match : at;
    bool launches = false;
    if (at - i > LOOKAHEAD || last - at > LOOKAHEAD || command->kind == PLAN_LOOP_END ||
        command->kind == PLAN_TEST) {
        return true;
    }
    for (int32_t k = at; k <= last; k++) {
        launches = launches || q->commands[k].kind == PLAN_LAUNCH;
        if (conflicts(q, i, k) || q->live[k] + bytes_kept(q, i, k) > q->peak) {
            return true;
        }
    }
    meanwhile->launches = meanwhile->launches || launches;
    if (meanwhile->move < 0 && moves_bytes(command)) {
        meanwhile->move = at;
    }
    return false;
}

/* Whether the device may be given launch `i` together with one before it. */
static bool follows(const Queues *q, int32_t i) {
    if (q->commands[i].flags & PLAN_COMMAND_GROUPED) {
        return true;
    }
    int32_t k = i - 1;
    while (k >= 0 && q->commands[k].kind == PLAN_LAUNCH && q->commands[k].library < 0) {
        k--;
    }
    return k >= 0 && q->commands[k].kind == PLAN_LAUNCH &&
           q->tables->libraries.items[q->commands[k].library].more >= i - k;
}

/* The command of queue 0 that waits for `i`; n_commands: the end does. */
static int32_t wait_place(const Queues *q, int32_t i, Meanwhile *meanwhile) {
    int32_t at = i + 1;
    while (at < q->entry->n_commands && !must_wait(q, i, at, meanwhile)) {
        at = q->commands[at].kind == PLAN_LOOP ? q->commands[at].match + 1 : at + 1;
    }
    if (at < q->entry->n_commands && follows(q, at)) {
        while (follows(q, at)) {
            at--;
        }
        meanwhile->launches = meanwhile->launches && at > i + 1;
    }
    return at;
}

/* -- Moving a command to queue 1 */

static int32_t larger(int32_t a, int32_t b) {
    return a > b ? a : b;
}

/* The command of queue 0 that `i` must come after. Of a loop that does not hold `i` it is the end,
 * which signals however often the loop turns; in a loop at least its beginning, behind all that
 * queue 0 did in turns before. */
static int32_t source_of(const Queues *q, int32_t i) {
    int32_t after = q->loop[i];
    for (int32_t r = 0; r < q->commands[i].n_refs; r++) {
        const PlanRef *ref = ref_of(q, i, r);
        const PlanBuffer *buffer = &q->buffers[ref->buffer];
        const Newest *used = &q->used[q->same[ref->buffer]];
        after = larger(after, used->written);
        after = larger(after, ref->access & PLAN_WRITES ? used->read : -1);
        if (buffer->kind == PLAN_BUFFER_ARENA) {
            after = larger(after, q->dead_before[buffer->birth]);
        }
    }
    int32_t outer = after;
    while (outer >= 0) { /* loops around `after`, to the outermost that ended before `i` */
        int32_t loop = q->commands[outer].kind == PLAN_LOOP ? outer : q->loop[outer];
        if (loop >= 0 && q->commands[loop].match < i) {
            after = q->commands[loop].match;
        }
        outer = loop >= 0 ? q->loop[loop] : -1;
    }
    return after;
}

static void lives_extend(Queues *q, int32_t i, int32_t death) {
    for (int32_t r = 0; r < q->commands[i].n_refs; r++) {
        for (int32_t b = q->same[ref_of(q, i, r)->buffer]; b >= 0; b = q->next_same[b]) {
            PlanBuffer *buffer = &q->buffers[b];
            if (buffer->kind != PLAN_BUFFER_ARENA) {
                continue;
            }
            for (int64_t k = buffer->death + 1; k <= death; k++) {
                q->live[k] += q->bytes[b];
            }
            buffer->death = death > buffer->death ? death : buffer->death;
        }
    }
}

/* Whether something can run on queue 0 while command `i` does on queue 1: launches behind what it
 * waits for and before what waits for it, or, halving a row of moves, the next one. An exchange
 * begins when the host comes to it, behind all that stands before it. */
static bool runs_beside(const Queues *q, int32_t i, int32_t source, Meanwhile *meanwhile) {
    if (q->commands[i].kind == PLAN_COLLECTIVE) {
        return meanwhile->launches;
    }
    meanwhile->launches =
        meanwhile->launches || q->launches_before[i] > q->launches_before[source + 1];
    return meanwhile->launches || meanwhile->move >= 0;
}

static void second_try(Queues *q, int32_t i) {
    Meanwhile meanwhile = {.move = -1};
    int32_t source = source_of(q, i), wait = wait_place(q, i, &meanwhile);
    if (!runs_beside(q, i, source, &meanwhile)) {
        return;
    }
    q->commands[i].queue = 1;
    q->awaits[i] = source;
    q->entry->n_queues = 2;
    lives_extend(q, i, wait - 1);
    if (wait < q->entry->n_commands) {
        q->stays[wait] = true;
        q->awaits[wait] = larger(q->awaits[wait], i);
    }
    if (!meanwhile.launches) {
        q->stays[meanwhile.move] = true;
    }
    for (int32_t loop = q->loop[i]; loop >= 0; loop = q->loop[loop]) {
        q->holds_second[loop] = true;
    }
}

static void uses_note(Queues *q, int32_t i) {
    for (int32_t r = 0; q->commands[i].queue == 0 && r < q->commands[i].n_refs; r++) {
        const PlanRef *ref = ref_of(q, i, r);
        Newest *used = &q->used[q->same[ref->buffer]];
        if (ref->access & PLAN_WRITES) {
            used->written = i;
        }
        if (ref->access & PLAN_READS) {
            used->read = i;
        }
    }
}

/* Adds to dead_before what dies with command `i`; what lives longer by now waits for its new death.
 */
static void deaths_note(Queues *q, int32_t i) {
    int32_t newest = q->dead_before[i];
    for (int32_t b = q->first_dying[i], next; b >= 0; b = next) {
        next = q->next_dying[b];
        int64_t death = q->buffers[b].death;
        if (death > i) {
            q->next_dying[b] = q->first_dying[death];
            q->first_dying[death] = b;
            continue;
        }
        const Newest *used = &q->used[q->same[b]];
        newest = larger(newest, larger(used->read, used->written));
    }
    q->dead_before[i + 1] = newest;
}

static void commands_spread(Queues *q) {
    q->dead_before[0] = -1;
    for (int32_t i = 0; i < q->entry->n_commands; i++) {
        const PlanCommand *command = &q->commands[i];
        bool may = command->kind == PLAN_COLLECTIVE || (q->has_two && moves_bytes(command));
        if (may && !q->stays[i]) {
            second_try(q, i);
        }
        uses_note(q, i);
        deaths_note(q, i);
        q->launches_before[i + 1] = q->launches_before[i] + (command->kind == PLAN_LAUNCH);
    }
}

/* -- Events */

static void wait_add(Queues *q, int32_t i, int32_t source) {
    PlanCommand *from = &q->commands[source];
    if (from->signal < 0) {
        from->signal = q->entry->n_events++;
    }
    q->commands[i].first_wait = (int32_t)q->tables->waits.count;
    q->commands[i].n_waits = 1;
    VEC_PUSH(q->arena, &q->tables->waits, from->signal);
}

/* One wait does for all before it on its queue, but what is waited for in a loop may not be, where
 * the loop does not turn: queue 0 has waited for all of queue 1 when a loop that uses it begins,
 * when its turns end and where it is left; what queue 1 has waited for in a loop is forgotten. */
static void events_add(Queues *q) {
    int32_t newest = -1, known = -1, known_second = -1;
    int32_t *known_before = ARENA_ARRAY(q->arena, int32_t, q->entry->n_commands + 1);
    for (int32_t i = 0; i < q->entry->n_commands; i++) {
        int32_t kind = q->commands[i].kind;
        int32_t loop = kind == PLAN_LOOP ? i : q->loop[i];
        bool all = (kind == PLAN_LOOP || kind == PLAN_TEST || kind == PLAN_LOOP_END) &&
                   q->holds_second[loop];
        if (q->commands[i].queue == 1) {
            if (q->awaits[i] > known_second) {
                wait_add(q, i, q->awaits[i]);
                known_second = q->awaits[i];
            }
            newest = i;
            continue;
        }
        int32_t source = all ? newest : q->awaits[i];
        if (source > known) {
            wait_add(q, i, source);
            known = source;
        }
        if (kind == PLAN_LOOP) {
            known_before[i] = known_second;
        } else if (kind == PLAN_LOOP_END) {
            known_second = known_before[loop];
        }
    }
}

/* Copies, fills and stores – where the device `has_two` queues – and exchanges that queue 0 does
 * not need at once go to queue 1; buffers live until queue 0 has waited for them, which it does
 * before that would take memory. */
void schedule_queues(const Module *module, PlanWriter *writer, TargetTables *tables, bool has_two) {
    Queues q = {.writer = writer, .tables = tables, .arena = writer->arena, .has_two = has_two};
    const int64_t *vars = nominal_dims(module, writer->arena);
    for (size_t i = 0; i < tables->entries.count; i++) {
        entry_begin(&q, &tables->entries.items[i], vars, module->n_dims);
        commands_spread(&q);
        events_add(&q);
    }
}
