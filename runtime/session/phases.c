/* See phases.h. Commands are walked backwards with the set of values that something later needs, as
 * liveness is computed: what writes one of them is needed, and so is what it reads. A loop's body
 * is walked until the set that goes round it stays the same. */
#include "runtime/session/phases.h"

#include <string.h>

typedef struct Walk {
    const Layout *layout;
    const PlanBuffer *buffers;
    const PlanCommand *commands;
    uint8_t *needed; /* [n_buffers] */
    uint8_t *marked; /* [n_commands]: what this walk has found needed */
    uint8_t *before; /* [loop depth][n_buffers]: the set at a loop's end */
    /* Of the walk for gradients: [n_buffers] what it starts from, where [n_commands] a command uses
     * it up; else NULL. */
    const uint8_t *seeds, *seeding;
    /* Of the walk for the forward pass: [n_buffers] what is made of gradients, [n_commands] what
     * reads of that; else NULL. A kernel may make a loss and a norm at once. */
    const uint8_t *late, *late_commands;
} Walk;

static const PlanRef *ref_of(const Walk *walk, const PlanCommand *command, int32_t r) {
    return &walk->layout->tables->refs[command->first_ref + r];
}

static int32_t access_of(const PlanCommand *command, const PlanRef *ref, int32_t r) {
    return command->kind == PLAN_LAUNCH ? ref->access : plan_access(command->kind, r);
}

static bool is_arena(const Walk *walk, int32_t buffer) {
    return walk->buffers[buffer].kind == PLAN_BUFFER_ARENA;
}

/* Whether the command writes all of the buffer and reads nothing of it. */
static bool replaces(const Walk *walk, const PlanCommand *command, int32_t number, int32_t buffer) {
    const Layout *layout = walk->layout;
    bool whole = false;
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = ref_of(walk, command, r);
        if (ref->buffer != buffer) {
            continue;
        }
        if (access_of(command, ref, r) != PLAN_WRITES) {
            return false;
        }
        int64_t bytes = -1, at = layout->first_ref[number] + r;
        bool known = ref->written > 0 && !layout->ref_moves[at] && layout->ref_offset[at] == 0 &&
                     plan_eval(layout->file, ref->bytes, layout->vars, &bytes);
        whole = whole || (known && bytes == layout->buffer_bytes[buffer]);
    }
    return whole;
}

static void needs_of(Walk *walk, int32_t number) {
    const PlanCommand *command = &walk->commands[number];
    bool needed =
        walk->marked[number] && (command->kind == PLAN_LOOP || command->kind == PLAN_TEST);
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = ref_of(walk, command, r);
        needed =
            needed || ((access_of(command, ref, r) & PLAN_WRITES) && walk->needed[ref->buffer]);
    }
    if (!needed) {
        return;
    }
    walk->marked[number] = 1;
    for (int32_t r = 0; r < command->n_refs; r++) {
        int32_t buffer = ref_of(walk, command, r)->buffer;
        if (is_arena(walk, buffer) && replaces(walk, command, number, buffer)) {
            walk->needed[buffer] = 0;
        }
    }
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = ref_of(walk, command, r);
        bool is_late = walk->late && walk->late_commands[number] && walk->late[ref->buffer];
        if ((access_of(command, ref, r) & PLAN_READS) && is_arena(walk, ref->buffer) && !is_late) {
            walk->needed[ref->buffer] = 1;
        }
    }
}

/* What travels together is no more than that: of each result its own operand is needed. */
static void exchange_needs(Walk *walk, int32_t number) {
    const PlanCommand *command = &walk->commands[number];
    for (int32_t r = 0; r < command->n_refs; r += 2) {
        int32_t to = ref_of(walk, command, r)->buffer, from = ref_of(walk, command, r + 1)->buffer;
        if (walk->needed[to]) {
            walk->marked[number] = 1;
            walk->needed[to] = !replaces(walk, command, number, to);
            walk->needed[from] = walk->needed[from] || is_arena(walk, from);
        }
    }
}

static void walk_command(Walk *walk, int32_t number) {
    const PlanCommand *command = &walk->commands[number];
    if (command->kind == PLAN_COLLECTIVE) {
        exchange_needs(walk, number);
    } else {
        needs_of(walk, number);
    }
    for (int32_t r = 0; walk->seeds && walk->seeding[number] && r < command->n_refs; r++) {
        const PlanRef *ref = ref_of(walk, command, r);
        if (walk->seeds[ref->buffer] && (access_of(command, ref, r) & PLAN_READS)) {
            walk->needed[ref->buffer] = 1;
        }
    }
}

/* What is needed of one of two buffers that a loop swaps may lie in either. */
static void walk_swaps(Walk *walk, const PlanCommand *end) {
    for (int32_t s = 0; s < end->n_swaps; s++) {
        const PlanSwap *swap = &walk->layout->tables->swaps[end->first_swap + s];
        uint8_t either = walk->needed[swap->a] | walk->needed[swap->b];
        walk->needed[swap->a] = walk->needed[swap->b] = either;
    }
}

static void walk_range(Walk *walk, int32_t first, int32_t last, int depth);

/* The loop that ends at `end`: its body, as often as the set grows. */
static void walk_loop(Walk *walk, int32_t end, int depth) {
    size_t n = (size_t)walk->layout->entry->n_buffers;
    uint8_t *before = walk->before + (size_t)depth * n;
    int32_t start = walk->commands[end].match;
    bool grown = true;
    while (grown) {
        walk_swaps(walk, &walk->commands[end]);
        memcpy(before, walk->needed, n);
        walk_range(walk, start + 1, end, depth + 1);
        grown = false;
        for (size_t i = 0; i < n; i++) { /* there may be no turn, or another before */
            grown = grown || (walk->needed[i] && !before[i]);
            walk->needed[i] |= before[i];
        }
        for (int32_t i = start + 1; i < end; i++) {
            bool tells = walk->marked[i] && !walk->marked[end];
            walk->marked[start] |= tells;
            walk->marked[end] |= tells;
            grown = grown || tells;
        }
        for (int32_t i = start + 1; i < end; i++) {
            bool leaves = walk->commands[i].kind == PLAN_TEST && walk->commands[i].match == end;
            walk->marked[i] |= leaves && walk->marked[end];
        }
    }
    walk_command(walk, start);
}

static void walk_range(Walk *walk, int32_t first, int32_t last, int depth) {
    for (int32_t i = last - 1; i >= first; i--) {
        if (walk->commands[i].kind == PLAN_LOOP_END) {
            walk_loop(walk, i, depth);
            i = walk->commands[i].match;
        } else {
            walk_command(walk, i);
        }
    }
}

/* -- Gradients -- */

static const PlanArg *arg_of(const Walk *walk, int32_t buffer) {
    const PlanBuffer *one = &walk->buffers[buffer];
    return one->kind == PLAN_BUFFER_ARG
               ? &walk->layout->tables->args[walk->layout->entry->first_arg + one->index]
               : NULL;
}

/* Whether the command has access of that sort to a buffer of the set of so many bytes. */
static bool touches(const Walk *walk, const PlanCommand *command, int32_t access,
                    const uint8_t *set, int64_t bytes) {
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = ref_of(walk, command, r);
        if (set[ref->buffer] && (access_of(command, ref, r) & access) &&
            walk->layout->buffer_bytes[ref->buffer] == bytes) {
            return true;
        }
    }
    return false;
}

/* Optimiser state alone. */
static void state_begin(const Walk *walk, uint8_t *of_state) {
    for (int32_t b = 0; b < walk->layout->entry->n_buffers; b++) {
        const PlanArg *arg = arg_of(walk, b);
        of_state[b] = arg && arg->role == PLAN_ARG_SLOT;
    }
}

/* Adds what the command makes of it element by element: of the same bytes. Loops need no second
 * walk: state is read behind them. */
static void state_spread(const Walk *walk, const PlanCommand *command, uint8_t *of_state) {
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = ref_of(walk, command, r);
        if (is_arena(walk, ref->buffer) && (access_of(command, ref, r) & PLAN_WRITES) &&
            touches(walk, command, PLAN_READS, of_state, walk->layout->buffer_bytes[ref->buffer])) {
            of_state[ref->buffer] = 1;
        }
    }
}

static bool writes(const Walk *walk, const PlanCommand *command, int32_t buffer) {
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = ref_of(walk, command, r);
        if (ref->buffer == buffer && (access_of(command, ref, r) & PLAN_WRITES)) {
            return true;
        }
    }
    return false;
}

/* Sets `news` for what becomes the new value of a trained variable: its own memory, what is
 * stored, copied or gathered into it, and what is made of state and goes there by a kernel. */
static void news_find(const Walk *walk, const uint8_t *of_state, uint8_t *news) {
    const PlanEntry *entry = walk->layout->entry;
    for (int32_t b = 0; b < entry->n_buffers; b++) {
        const PlanArg *arg = arg_of(walk, b);
        news[b] = arg && (arg->role == PLAN_ARG_PARAM || arg->role == PLAN_ARG_SLOT);
    }
    for (int32_t i = entry->n_commands - 1; i >= 0; i--) {
        const PlanCommand *command = &walk->commands[i];
        bool moves = command->kind == PLAN_STORE || command->kind == PLAN_COPY ||
                     command->kind == PLAN_COLLECTIVE;
        for (int32_t r = 0; moves && r + 1 < command->n_refs; r += 2) {
            int32_t to = ref_of(walk, command, r)->buffer;
            int32_t from = ref_of(walk, command, r + 1)->buffer;
            news[from] |= news[to] && is_arena(walk, from);
        }
        for (int32_t r = 0; command->kind == PLAN_LAUNCH && r < command->n_refs; r++) {
            const PlanRef *ref = ref_of(walk, command, r);
            news[ref->buffer] |=
                of_state[ref->buffer] && is_arena(walk, ref->buffer) &&
                (ref->access & PLAN_READS) &&
                !writes(walk, command, ref->buffer) && /* over its gradient */
                touches(walk, command, PLAN_WRITES, news, walk->layout->buffer_bytes[ref->buffer]);
        }
    }
}

/* What the backward pass is for, by buffer: gradients; and where a kernel makes the gradient and
 * the new value at once, the values that it makes them of. */
enum { SEED_GRADIENT = 1, SEED_VALUE = 2, NUMBER_BYTES = 8 };

/* Whether the value may be a gradient or what one is made of. */
static bool is_of_step(const Walk *walk, const uint8_t *of_state, const uint8_t *news, int32_t b) {
    return is_arena(walk, b) && !of_state[b] && !news[b];
}

/* Whether the buffer is what ranks have sent each other in 16 bits. */
static bool is_sent_short(const Walk *walk, int32_t buffer) {
    for (int32_t i = 0; i < walk->layout->entry->n_commands; i++) {
        const PlanCommand *command = &walk->commands[i];
        for (int32_t r = 0; command->kind == PLAN_COLLECTIVE && r < command->n_refs; r += 2) {
            const PlanRef *ref = ref_of(walk, command, r);
            if (ref->buffer == buffer &&
                (ref->written == PLAN_BF16 + 1 || ref->written == PLAN_F16 + 1)) {
                return true;
            }
        }
    }
    return false;
}

/* Whether the command writes a new value of as many elements as the buffer has: of as many bytes,
 * or of twice those of a gradient that was sent in 16 bits. */
static bool renews_by(const Walk *walk, const PlanCommand *command, const uint8_t *news,
                      int32_t buffer) {
    int64_t bytes = walk->layout->buffer_bytes[buffer];
    return touches(walk, command, PLAN_WRITES, news, bytes) ||
           (touches(walk, command, PLAN_WRITES, news, 2 * bytes) && is_sent_short(walk, buffer));
}

/* Whether the command makes a new value; adds what the backward pass is for, of what it reads. */
static bool command_seed(const Walk *walk, const PlanCommand *command, const uint8_t *of_state,
                         const uint8_t *news, uint8_t *seeds) {
    bool renews = false, is_found = false;
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = ref_of(walk, command, r);
        int32_t access = access_of(command, ref, r);
        renews = renews || (news[ref->buffer] && (access & PLAN_WRITES));
        if (is_of_step(walk, of_state, news, ref->buffer) && (access & PLAN_READS) &&
            renews_by(walk, command, news, ref->buffer)) {
            seeds[ref->buffer] |= SEED_GRADIENT;
            is_found = true;
        }
    }
    for (int32_t r = 0; renews && !is_found && r < command->n_refs; r++) {
        const PlanRef *ref = ref_of(walk, command, r);
        if (is_of_step(walk, of_state, news, ref->buffer) &&
            (access_of(command, ref, r) & PLAN_READS) &&
            walk->layout->buffer_bytes[ref->buffer] > NUMBER_BYTES) {
            seeds[ref->buffer] |= SEED_VALUE;
        }
    }
    return renews;
}

/* -- Bytes -- */

/* Whether the buffer is written in the forward pass and read behind it. */
static void activations_find(const Walk *walk, const uint8_t *phases, uint8_t *activations) {
    enum { MADE = 1, KEPT = 2 };
    const PlanEntry *entry = walk->layout->entry;
    for (int32_t i = 0; i < entry->n_commands; i++) {
        const PlanCommand *command = &walk->commands[i];
        for (int32_t r = 0; r < command->n_refs; r++) {
            const PlanRef *ref = ref_of(walk, command, r);
            int32_t access = access_of(command, ref, r);
            bool makes = phases[i] == PHASE_FORWARD && (access & PLAN_WRITES);
            bool reads = phases[i] != PHASE_FORWARD && (access & PLAN_READS);
            activations[ref->buffer] |= (makes ? MADE : 0) | (reads ? KEPT : 0);
        }
    }
    for (int32_t b = 0; b < entry->n_buffers; b++) {
        activations[b] = activations[b] == (MADE | KEPT);
    }
}

/* The most bytes at once of the arena's buffers that are of class `wanted`. live: [n_commands + 2],
 * what comes and goes at each command. */
static int64_t most_at_once(const Walk *walk, const uint8_t *classes, uint8_t wanted,
                            int64_t *live) {
    const Layout *layout = walk->layout;
    int32_t n = layout->entry->n_commands;
    memset(live, 0, ((size_t)n + 2) * sizeof(*live));
    for (int32_t b = 0; b < layout->entry->n_buffers; b++) {
        if (is_arena(walk, b) && classes[b] == wanted) {
            int64_t bytes = layout_round(layout->buffer_bytes[b]); /* all fit the arena's check */
            live[walk->buffers[b].birth] += bytes;
            live[walk->buffers[b].death + 1] -= bytes;
        }
    }
    int64_t now = 0, most = 0;
    for (int32_t i = 0; i <= n; i++) {
        now += live[i];
        most = now > most ? now : most;
    }
    return most;
}

enum { CLASS_OTHER, CLASS_GRADIENT, CLASS_ACTIVATION };

static void bytes_find(const Walk *walk, const uint8_t *seeds, uint8_t *activations, int64_t *live,
                       PhaseBytes *out) {
    for (int32_t b = 0; b < walk->layout->entry->n_buffers; b++) {
        activations[b] = seeds[b] & SEED_GRADIENT ? CLASS_GRADIENT
                         : activations[b]         ? CLASS_ACTIVATION
                                                  : CLASS_OTHER;
    }
    *out = (PhaseBytes){.gradients = most_at_once(walk, activations, CLASS_GRADIENT, live),
                        .activations = most_at_once(walk, activations, CLASS_ACTIVATION, live),
                        .transients = most_at_once(walk, activations, CLASS_OTHER, live)};
}

/* -- All of it -- */

static void forward_seed(Walk *walk) {
    const PlanEntry *entry = walk->layout->entry;
    for (int32_t i = 0; i < entry->n_results; i++) {
        const PlanResult *result = &walk->layout->tables->results[entry->first_result + i];
        bool is_asked = result->role != PLAN_RESULT_STORE && result->role != PLAN_RESULT_OK &&
                        result->role != PLAN_RESULT_INFO;
        if (is_asked && is_arena(walk, result->ref.buffer)) {
            walk->needed[result->ref.buffer] = 1;
        }
    }
}

/* Sets `seeds`, and `seeding` for the commands that use them up. Returns whether there are any. */
static bool seeds_find(const Walk *walk, uint8_t *of_state, uint8_t *news, uint8_t *seeds,
                       uint8_t *seeding) {
    bool any = false;
    state_begin(walk, of_state);
    for (int32_t i = 0; i < walk->layout->entry->n_commands; i++) {
        state_spread(walk, &walk->commands[i], of_state);
    }
    news_find(walk, of_state, news);
    state_begin(walk, of_state); /* again: an update may lie over its gradient */
    for (int32_t i = 0; i < walk->layout->entry->n_commands; i++) {
        seeding[i] = command_seed(walk, &walk->commands[i], of_state, news, seeds);
        any = any || seeding[i];
        state_spread(walk, &walk->commands[i], of_state);
    }
    return any;
}

/* Sets `late` and `late_commands` (see Walk), which are zeroed. */
static void late_find(const Walk *walk, const uint8_t *seeds, uint8_t *late,
                      uint8_t *late_commands) {
    const PlanEntry *entry = walk->layout->entry;
    for (int32_t b = 0; b < entry->n_buffers; b++) {
        late[b] = (seeds[b] & SEED_GRADIENT) != 0;
    }
    for (int32_t i = 0; i < entry->n_commands; i++) {
        const PlanCommand *command = &walk->commands[i];
        bool is_late = false;
        for (int32_t r = 0; command->kind == PLAN_COLLECTIVE && r < command->n_refs; r += 2) {
            late[ref_of(walk, command, r)->buffer] |= late[ref_of(walk, command, r + 1)->buffer];
        }
        for (int32_t r = 0; command->kind != PLAN_COLLECTIVE && r < command->n_refs; r++) {
            const PlanRef *ref = ref_of(walk, command, r);
            is_late = is_late || (late[ref->buffer] && (access_of(command, ref, r) & PLAN_READS));
        }
        late_commands[i] = is_late;
        for (int32_t r = 0; is_late && r < command->n_refs; r++) {
            const PlanRef *ref = ref_of(walk, command, r);
            late[ref->buffer] |= (access_of(command, ref, r) & PLAN_WRITES) != 0;
        }
    }
}

/* `seeds`, `spare` and `walk->marked` are zeroed. */
static void find(Walk *walk, uint8_t *seeds, uint8_t *spare, uint8_t *late_commands,
                 uint8_t *phases) {
    const PlanEntry *entry = walk->layout->entry;
    size_t n_buffers = (size_t)entry->n_buffers, n_commands = (size_t)entry->n_commands;
    bool trains = seeds_find(walk, spare, walk->needed, seeds, phases);
    memset(spare, 0, n_buffers);
    memset(walk->needed, 0, n_buffers);
    if (!trains) {
        memset(phases, PHASE_FORWARD, n_commands);
        return;
    }
    walk->seeds = seeds;
    walk->seeding = phases;
    walk_range(walk, 0, entry->n_commands, 0);
    walk->seeds = NULL;
    for (size_t i = 0; i < n_commands; i++) {
        phases[i] = walk->marked[i] ? PHASE_BACKWARD : PHASE_UPDATE;
    }
    memset(walk->needed, 0, n_buffers);
    memset(walk->marked, 0, n_commands);
    late_find(walk, seeds, spare, late_commands);
    walk->late = spare;
    walk->late_commands = late_commands;
    forward_seed(walk);
    walk_range(walk, 0, entry->n_commands, 0);
    memset(spare, 0, n_buffers);
    for (size_t i = 0; i < n_commands; i++) {
        phases[i] = walk->marked[i] ? PHASE_FORWARD : phases[i];
    }
}

dlc_status phases_find(dlc_context *context, const Layout *layout, uint8_t *phases,
                       PhaseBytes *out_bytes) {
    const dlc_allocator *allocator = &context->allocator;
    const PlanEntry *entry = layout->entry;
    size_t n_buffers = (size_t)entry->n_buffers, n_commands = (size_t)entry->n_commands;
    size_t n_sets = 3 + PLAN_MAX_LOOP_DEPTH + 1; /* needed, seeds, a spare one; loops */
    uint8_t *tables = memory_new(allocator, n_sets * n_buffers + 2 * n_commands, 1);
    int64_t *live = memory_new(allocator, n_commands + 2, sizeof(*live));
    dlc_status status = tables && live ? DLC_OK : context_out_of_memory(context);
    if (status == DLC_OK) {
        uint8_t *seeds = tables + n_buffers, *spare = seeds + n_buffers;
        Walk walk = {.layout = layout,
                     .buffers = layout->tables->buffers + entry->first_buffer,
                     .commands = layout->tables->commands + entry->first_command,
                     .needed = tables,
                     .before = spare + n_buffers,
                     .marked = tables + n_sets * n_buffers};
        find(&walk, seeds, spare, walk.marked + n_commands, phases);
        activations_find(&walk, phases, spare);
        bytes_find(&walk, seeds, spare, live, out_bytes);
    }
    memory_free(allocator, live);
    memory_free(allocator, tables);
    return status;
}
