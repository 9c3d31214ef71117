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

static void walk_command(Walk *walk, int32_t number) {
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
        if ((access_of(command, ref, r) & PLAN_READS) && is_arena(walk, ref->buffer)) {
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

/* Sets of_state for the buffers that are made of optimiser state. Loops need no second walk: state
 * is read behind them. */
static void state_spread(const Walk *walk, uint8_t *of_state) {
    const PlanEntry *entry = walk->layout->entry;
    for (int32_t b = 0; b < entry->n_buffers; b++) {
        const PlanArg *arg = arg_of(walk, b);
        of_state[b] = arg && arg->role == PLAN_ARG_SLOT;
    }
    for (int32_t i = 0; i < entry->n_commands; i++) {
        const PlanCommand *command = &walk->commands[i];
        bool is_made = false;
        for (int32_t r = 0; r < command->n_refs; r++) {
            const PlanRef *ref = ref_of(walk, command, r);
            is_made =
                is_made || ((access_of(command, ref, r) & PLAN_READS) && of_state[ref->buffer]);
        }
        for (int32_t r = 0; is_made && r < command->n_refs; r++) {
            const PlanRef *ref = ref_of(walk, command, r);
            if ((access_of(command, ref, r) & PLAN_WRITES) && is_arena(walk, ref->buffer)) {
                of_state[ref->buffer] = 1;
            }
        }
    }
}

/* Whether the command writes a trained variable of so many bytes. */
static bool updates(const Walk *walk, const PlanCommand *command, int64_t bytes) {
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = ref_of(walk, command, r);
        const PlanArg *arg = arg_of(walk, ref->buffer);
        if (arg && (arg->role == PLAN_ARG_PARAM || arg->role == PLAN_ARG_SLOT) &&
            (access_of(command, ref, r) & PLAN_WRITES) &&
            walk->layout->buffer_bytes[ref->buffer] == bytes) {
            return true;
        }
    }
    return false;
}

static void gradients_find(const Walk *walk, const uint8_t *of_state, uint8_t *gradients) {
    const PlanEntry *entry = walk->layout->entry;
    for (int32_t i = 0; i < entry->n_commands; i++) {
        const PlanCommand *command = &walk->commands[i];
        for (int32_t r = 0; r < command->n_refs; r++) {
            const PlanRef *ref = ref_of(walk, command, r);
            if (is_arena(walk, ref->buffer) && !of_state[ref->buffer] &&
                (access_of(command, ref, r) & PLAN_READS) &&
                updates(walk, command, walk->layout->buffer_bytes[ref->buffer])) {
                gradients[ref->buffer] = 1;
            }
        }
    }
}

/* -- Bytes -- */

/* Whether the buffer is written in the forward pass and read in the backward pass. */
static void activations_find(const Walk *walk, const uint8_t *phases, uint8_t *activations) {
    enum { MADE = 1, KEPT = 2 };
    const PlanEntry *entry = walk->layout->entry;
    for (int32_t i = 0; i < entry->n_commands; i++) {
        const PlanCommand *command = &walk->commands[i];
        for (int32_t r = 0; r < command->n_refs; r++) {
            const PlanRef *ref = ref_of(walk, command, r);
            int32_t access = access_of(command, ref, r);
            bool makes = phases[i] == PHASE_FORWARD && (access & PLAN_WRITES);
            bool reads = phases[i] == PHASE_BACKWARD && (access & PLAN_READS);
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

static void bytes_find(const Walk *walk, const uint8_t *gradients, uint8_t *activations,
                       int64_t *live, PhaseBytes *out) {
    for (int32_t b = 0; b < walk->layout->entry->n_buffers; b++) {
        activations[b] = gradients[b] ? CLASS_GRADIENT : activations[b] ? CLASS_ACTIVATION : 0;
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

/* `gradients` and `spare` are zeroed, as the walk's tables are. */
static void find(Walk *walk, uint8_t *gradients, uint8_t *spare, uint8_t *phases) {
    const PlanEntry *entry = walk->layout->entry;
    size_t n_buffers = (size_t)entry->n_buffers, n_commands = (size_t)entry->n_commands;
    state_spread(walk, spare);
    gradients_find(walk, spare, gradients);
    memset(spare, 0, n_buffers);
    bool trains = memchr(gradients, 1, n_buffers) != NULL;
    memset(phases, trains ? PHASE_UPDATE : PHASE_FORWARD, n_commands);
    if (!trains) {
        return;
    }
    memcpy(walk->needed, gradients, n_buffers);
    walk_range(walk, 0, entry->n_commands, 0);
    for (size_t i = 0; i < n_commands; i++) {
        phases[i] = walk->marked[i] ? PHASE_BACKWARD : PHASE_UPDATE;
    }
    memset(walk->needed, 0, n_buffers);
    memset(walk->marked, 0, n_commands);
    forward_seed(walk);
    walk_range(walk, 0, entry->n_commands, 0);
    for (size_t i = 0; i < n_commands; i++) {
        phases[i] = walk->marked[i] ? PHASE_FORWARD : phases[i];
    }
}

dlc_status phases_find(dlc_context *context, const Layout *layout, uint8_t *phases,
                       PhaseBytes *out_bytes) {
    const dlc_allocator *allocator = &context->allocator;
    const PlanEntry *entry = layout->entry;
    size_t n_buffers = (size_t)entry->n_buffers, n_commands = (size_t)entry->n_commands;
    size_t n_sets = 3 + PLAN_MAX_LOOP_DEPTH + 1; /* needed, gradients, a spare one; loops */
    uint8_t *tables = memory_new(allocator, n_sets * n_buffers + n_commands, 1);
    int64_t *live = memory_new(allocator, n_commands + 2, sizeof(*live));
    dlc_status status = tables && live ? DLC_OK : context_out_of_memory(context);
    if (status == DLC_OK) {
        uint8_t *gradients = tables + n_buffers, *spare = gradients + n_buffers;
        Walk walk = {.layout = layout,
                     .buffers = layout->tables->buffers + entry->first_buffer,
                     .commands = layout->tables->commands + entry->first_command,
                     .needed = tables,
                     .before = spare + n_buffers,
                     .marked = tables + n_sets * n_buffers};
        find(&walk, gradients, spare, phases);
        activations_find(&walk, phases, spare);
        bytes_find(&walk, gradients, spare, live, out_bytes);
    }
    memory_free(allocator, live);
    memory_free(allocator, tables);
    return status;
}
