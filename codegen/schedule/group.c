/* Groups of launches: launches of one kernel that depend on nothing of each other are moved next to
 * each other, where no other command is in the way and the memory's peak stays, and marked, so that
 * a device can do them as one. An optimiser's update of a hundred small parameters is such a group.
 * Only for machines that ask for it. */
#include "codegen/schedule/state.h"

enum { LOOKAHEAD = 2048, MOST_BUFFERS = 64, MOST_MEMBERS = 64, FEWEST_MEMBERS = 4 };

typedef struct Grouping {
    const Machine *machine;
    PlanWriter *writer;
    TargetTables *tables;
    KernelPool *pool;
    Arena *arena;
    int64_t *vars; /* nominal dims */
    int64_t n_vars;
    bool *may_fault, *may_group; /* by kernel */
    /* of the entry */
    PlanEntry *entry;
    PlanCommand *commands;
    PlanBuffer *buffers;
    int64_t *bytes, *change;
    bool *is_swapped;        /* by buffer */
    int32_t *read, *written; /* by buffer: stamp of the scan that saw it */
    int32_t stamp;
    /* of the window, by its commands: old to new places, and where groups begin and end */
    int32_t *order, *place, *group_first, *group_last;
    PlanCommand *before;
    int64_t *births, *deaths, *low, *high;
} Grouping;

/* Large kernels fill the machine by themselves; a fault must stay the first in order, but for the
 * one of watched stores, which is the same wherever it comes from. */
static void kernels_look(Grouping *g) {
    for (size_t i = 0; i < g->pool->kernels.count; i++) {
        const Kernel *kernel = g->pool->kernels.items[i];
        int32_t words = 1 + kernel->n_buffers + kernel->n_sizes;
        g->may_fault[i] = kernel_holds_fault(kernel->body);
        g->may_group[i] = !g->may_fault[i] && kernel->n_buffers <= MOST_BUFFERS &&
                          g->machine->group_words / words >= FEWEST_MEMBERS &&
                          !kernel_holds_contract(kernel->body);
    }
}

static const PlanRef *refs_of(const Grouping *g, const PlanCommand *command) {
    return g->tables->refs.items + command->first_ref;
}

static bool ref_is_written(const Grouping *g, const PlanCommand *command, int32_t r) {
    return g->pool->kernels.items[command->kernel]->buffers[r].is_written;
}

/* -- what stands in the way of a launch that is to be moved up */
static void scan_add(Grouping *g, const PlanCommand *command) {
    const PlanRef *refs = refs_of(g, command);
    for (int32_t r = 0; r < command->n_refs; r++) {
        (ref_is_written(g, command, r) ? g->written : g->read)[refs[r].buffer] = g->stamp;
    }
}

static bool scan_allows(const Grouping *g, const PlanCommand *command) {
    const PlanRef *refs = refs_of(g, command);
    for (int32_t r = 0; r < command->n_refs; r++) {
        int32_t b = refs[r].buffer;
        if (g->written[b] == g->stamp ||
            (ref_is_written(g, command, r) && g->read[b] == g->stamp)) {
            return false;
        }
    }
    return true;
}

/* The window's new order: each launch, then those that join it. */
static bool window_order(Grouping *g, int32_t first, int32_t n, int32_t reach) {
    const PlanCommand *commands = g->commands + first;
    bool any = false;
    int32_t at = 0;
    for (int32_t i = 0; i < n; i++) {
        g->place[i] = -1;
    }
    for (int32_t i = 0; i < n; i++) {
        if (g->place[i] >= 0) {
            continue;
        }
        int32_t begin = at;
        g->place[i] = at;
        g->order[at++] = i;
        g->stamp++;
        scan_add(g, &commands[i]);
        bool joins = g->may_group[commands[i].kernel];
        for (int32_t j = i + 1;
             joins && j < n && j - i <= LOOKAHEAD && j <= g->order[at - 1] + reach; j++) {
            if (g->place[j] >= 0) {
                continue;
            }
            if (commands[j].kernel == commands[i].kernel && scan_allows(g, &commands[j])) {
                g->place[j] = at;
                g->order[at++] = j;
                any = true;
            }
            scan_add(g, &commands[j]);
        }
        for (int32_t p = begin; p < at; p++) {
            g->group_first[p] = begin;
            g->group_last[p] = at - 1;
        }
    }
    return any;
}

/* -- memory */
static int64_t peak(const Grouping *g) {
    int64_t live = 0, most = 0;
    int32_t n = g->entry->n_commands;
    memset(g->change, 0, sizeof(*g->change) * (size_t)(n + 2));
    for (int32_t b = 0; b < g->entry->n_buffers; b++) {
        const PlanBuffer *buffer = &g->buffers[b];
        if (buffer->kind == PLAN_BUFFER_ARENA) {
            g->change[buffer->birth] += g->bytes[b];
            g->change[(buffer->death < n ? buffer->death : n) + 1] -= g->bytes[b];
        }
    }
    for (int32_t i = 0; i <= n; i++) {
        live += g->change[i];
        most = live > most ? live : most;
    }
    return most;
}

/* What any member of a group needs is there while the group runs. */
static void lifetimes_move(Grouping *g, int32_t first, int32_t n) {
    for (int32_t b = 0; b < g->entry->n_buffers; b++) {
        g->low[b] = INT64_MAX;
        g->high[b] = -1;
    }
    for (int32_t i = 0; i < n; i++) {
        const PlanCommand *command = &g->before[i];
        const PlanRef *refs = refs_of(g, command);
        int64_t from = first + g->group_first[g->place[i]];
        int64_t to = first + g->group_last[g->place[i]];
        for (int32_t r = 0; r < command->n_refs; r++) {
            int32_t b = refs[r].buffer;
            g->low[b] = from < g->low[b] ? from : g->low[b];
            g->high[b] = to > g->high[b] ? to : g->high[b];
        }
    }
    for (int32_t b = 0; b < g->entry->n_buffers; b++) {
        PlanBuffer *buffer = &g->buffers[b];
        if (buffer->kind != PLAN_BUFFER_ARENA) {
            continue;
        }
        if (buffer->birth >= first && buffer->birth < first + n) {
            int64_t mapped = first + g->group_first[g->place[buffer->birth - first]];
            buffer->birth = mapped < g->low[b] ? mapped : g->low[b];
        }
        if (buffer->death >= first && buffer->death < first + n) {
            int64_t mapped = first + g->group_last[g->place[buffer->death - first]];
            buffer->death = mapped > g->high[b] ? mapped : g->high[b];
        }
    }
}

/* Puts the window in its new order, unless that costs memory. */
static bool window_apply(Grouping *g, int32_t first, int32_t n) {
    PlanCommand *commands = g->commands + first;
    int64_t most = peak(g);
    memcpy(g->before, commands, sizeof(*commands) * (size_t)n);
    for (int32_t b = 0; b < g->entry->n_buffers; b++) {
        g->births[b] = g->buffers[b].birth;
        g->deaths[b] = g->buffers[b].death;
    }
    for (int32_t p = 0; p < n; p++) {
        commands[p] = g->before[g->order[p]];
        if (g->group_first[p] < p) {
            commands[p].flags |= PLAN_COMMAND_GROUPED;
        }
    }
    lifetimes_move(g, first, n);
    if (peak(g) <= most) {
        return true;
    }
    memcpy(commands, g->before, sizeof(*commands) * (size_t)n);
    for (int32_t b = 0; b < g->entry->n_buffers; b++) {
        g->buffers[b].birth = g->births[b];
        g->buffers[b].death = g->deaths[b];
    }
    return false;
}

/* Moved as far as dependences allow; else only what is next to each other already. */
static void window_group(Grouping *g, int32_t first, int32_t n) {
    for (int32_t reach = LOOKAHEAD; n > 1; reach = 1) {
        if (!window_order(g, first, n, reach) || window_apply(g, first, n) || reach == 1) {
            return;
        }
    }
}

/* -- windows: launches in a row that are kernels' own work */
static bool command_is_free(const Grouping *g, const PlanCommand *command) {
    if (command->kind != PLAN_LAUNCH || command->library >= 0 || g->may_fault[command->kernel]) {
        return false;
    }
    const PlanRef *refs = refs_of(g, command);
    for (int32_t r = 0; r < command->n_refs; r++) {
        if (g->is_swapped[refs[r].buffer]) {
            return false;
        }
    }
    return true;
}

static void entry_open(Grouping *g, PlanEntry *entry) {
    size_t n_buffers = (size_t)entry->n_buffers + 1, n_commands = (size_t)entry->n_commands + 2;
    g->entry = entry;
    g->commands = g->tables->commands.items + entry->first_command;
    g->buffers = g->tables->buffers.items + entry->first_buffer;
    g->bytes = nominal_bytes(g->writer, g->buffers, entry->n_buffers, g->vars, g->n_vars);
    g->births = ARENA_ARRAY(g->arena, int64_t, n_buffers);
    g->deaths = ARENA_ARRAY(g->arena, int64_t, n_buffers);
    g->low = ARENA_ARRAY(g->arena, int64_t, n_buffers);
    g->high = ARENA_ARRAY(g->arena, int64_t, n_buffers);
    g->is_swapped = ARENA_ARRAY(g->arena, bool, n_buffers);
    g->read = ARENA_ARRAY(g->arena, int32_t, n_buffers);
    g->written = ARENA_ARRAY(g->arena, int32_t, n_buffers);
    g->change = ARENA_ARRAY(g->arena, int64_t, n_commands);
    g->order = ARENA_ARRAY(g->arena, int32_t, n_commands);
    g->place = ARENA_ARRAY(g->arena, int32_t, n_commands);
    g->group_first = ARENA_ARRAY(g->arena, int32_t, n_commands);
    g->group_last = ARENA_ARRAY(g->arena, int32_t, n_commands);
    g->before = ARENA_ARRAY(g->arena, PlanCommand, n_commands);
    g->stamp = 0;
    for (int32_t i = 0; i < entry->n_commands; i++) {
        for (int32_t w = 0; w < g->commands[i].n_swaps; w++) {
            PlanSwap swap = g->tables->swaps.items[g->commands[i].first_swap + w];
            g->is_swapped[swap.a] = g->is_swapped[swap.b] = true;
        }
    }
}

static void entry_group(Grouping *g, PlanEntry *entry) {
    entry_open(g, entry);
    for (int32_t i = 0; i < entry->n_commands;) {
        int32_t end = i;
        while (end < entry->n_commands && command_is_free(g, &g->commands[end])) {
            end++;
        }
        window_group(g, i, end - i);
        i = end;
        if (i < entry->n_commands) {
            int32_t library = g->commands[i].kind == PLAN_LAUNCH ? g->commands[i].library : -1;
            i += 1 + (library >= 0 ? g->tables->libraries.items[library].more : 0);
        }
    }
}

/* -- what kernels must know: which buffers are the same throughout every group */
static bool same_ref(const PlanRef *a, const PlanRef *b) {
    return a->buffer == b->buffer && a->offset.first == b->offset.first &&
           a->offset.count == b->offset.count;
}

static void kernels_mark(Grouping *g) {
    for (size_t i = 1; i < g->tables->commands.count; i++) {
        const PlanCommand *command = &g->tables->commands.items[i];
        if (!(command->kind == PLAN_LAUNCH && command->flags & PLAN_COMMAND_GROUPED)) {
            continue;
        }
        Kernel *kernel = g->pool->kernels.items[command->kernel];
        uint64_t same = 0;
        for (int32_t b = 0; b < kernel->n_buffers; b++) {
            bool is_same = same_ref(refs_of(g, command) + b, refs_of(g, command - 1) + b);
            same |= (uint64_t)is_same << b;
        }
        kernel->common = kernel->group > 0 ? kernel->common & same : same;
        kernel->group = 1;
    }
    for (size_t i = 0; i < g->pool->kernels.count; i++) {
        Kernel *kernel = g->pool->kernels.items[i];
        int32_t words = 1 + kernel->n_sizes, common = 0;
        for (int32_t b = 0; kernel->group > 0 && b < kernel->n_buffers; b++) {
            bool is_common = kernel->common >> b & 1;
            words += !is_common;
            common += is_common;
        }
        if (kernel->group > 0) {
            int32_t most = (g->machine->group_words - common) / words;
            kernel->group = most < MOST_MEMBERS ? most : MOST_MEMBERS;
        }
    }
}

void schedule_group(const Module *module, const Machine *machine, PlanWriter *writer,
                    TargetTables *tables, KernelPool *pool) {
    Grouping g = {.machine = machine,
                  .writer = writer,
                  .tables = tables,
                  .pool = pool,
                  .arena = writer->arena,
                  .n_vars = module->n_dims};
    g.vars = nominal_dims(module, g.arena);
    g.may_fault = ARENA_ARRAY(g.arena, bool, pool->kernels.count + 1);
    g.may_group = ARENA_ARRAY(g.arena, bool, pool->kernels.count + 1);
    kernels_look(&g);
    for (size_t i = 0; i < tables->entries.count; i++) {
        entry_group(&g, &tables->entries.items[i]);
    }
    kernels_mark(&g);
}
