/* See timeline.h. All ranks go through the commands together, each with a clock of its own: work
 * takes as long as the slower of its arithmetic and its memory traffic, an exchange begins when the
 * last of its group has come. What goes on beside other work has a clock of its own a rank, and
 * commands that wait for it come after it. */
#include "runtime/api/timeline.h"

#include "ir/base/checked.h"
#include "runtime/api/figures.h"
#include "runtime/border.h"
#include "runtime/session/rank.h"

static const TimelineDevice devices[] = {
    {.name = "cpu",
     .flops = 100e9,
     .bytes = 20e9,
     .launch = 2e-6,
     .sent = 10e9,
     .seconds_met = 10e-6,
     .goes_on = true},
    {.name = "cuda",
     .flops = 50e12,
     .bytes = 3e12,
     .launch = 3e-6,
     .sent = 200e9,
     .seconds_met = 15e-6},
};

static const TimelineDevice *device_of(const PlanFile *file, const PlanTables *tables) {
    const char *name = plan_text(file, tables->target->device);
    size_t n = sizeof(devices) / sizeof(devices[0]), i = 0;
    while (i + 1 < n && strcmp(devices[i].name, name) != 0) {
        i++;
    }
    return strcmp(devices[i].name, name) == 0 ? &devices[i] : &devices[0];
}

static bool does_work(const PlanCommand *command) {
    return command->kind == PLAN_LAUNCH || command->kind == PLAN_COPY ||
           command->kind == PLAN_FILL || command->kind == PLAN_STORE ||
           command->kind == PLAN_COLLECTIVE;
}

/* Bytes that the rank of the layout sends in one turn. */
static int64_t exchange_bytes(const Layout *layout, int32_t number) {
    const PlanCommand *command = &layout->tables->commands[layout->entry->first_command + number];
    const PlanCollective *collective = &layout->tables->collectives[command->collective];
    const MeshShape *shape = &layout->place.shape;
    const CommCall call = {.kind = exchange_kind(collective), .number = collective->by};
    const int64_t *sizes = layout->sizes + layout->first_size[number] + command->n_sizes;
    int32_t n = (int32_t)mesh_group_ranks(shape, collective->group);
    int32_t own = (int32_t)mesh_coordinate(shape, collective->group, layout->place.number);
    int64_t bytes = 0;
    for (int32_t r = 0; r < command->n_refs; r += 2) {
        const CommBuffer buffer = exchange_buffer(layout, command, r, sizes);
        bytes += comm_sent_elements(&call, &buffer, n, own) * comm_dtype_bytes(buffer.dtype);
    }
    return bytes;
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

/* What the rank of the layout does, and (as `end`) how long each takes. */
static void spans_of(const Timeline *timeline, const Layout *layout, const uint8_t *phases,
                     TimelineSpan *out) {
    const TimelineDevice *device = timeline->device;
    const PlanCommand *commands = layout->tables->commands + layout->entry->first_command;
    int64_t times[PLAN_MAX_LOOP_DEPTH + 1] = {1};
    int32_t depth = 0;
    for (int32_t i = 0; i < layout->entry->n_commands; i++) {
        const PlanCommand *command = &commands[i];
        if (command->kind == PLAN_LOOP) {
            bool counted = !(command->flags & PLAN_COMMAND_WHILE);
            if (!counted || !checked_mul(times[depth], layout->extent[i], &times[depth + 1])) {
                times[depth + 1] = times[depth];
            }
            depth++;
        } else if (command->kind == PLAN_LOOP_END) {
            depth--;
        } else if (does_work(command)) {
            TimelineSpan span = {.what = phases[i], .command = i, .times = times[depth]};
            int64_t flops = 0, bytes = 0;
            (void)plan_eval(layout->file, command->flops, layout->vars, &flops);
            (void)plan_eval(layout->file, command->bytes, layout->vars, &bytes);
            double each = device->launch +
                          larger((double)flops / device->flops, (double)bytes / device->bytes);
            if (command->kind == PLAN_COLLECTIVE) {
                int64_t sent = exchange_bytes(layout, i);
                each = device->seconds_met + (double)sent / device->sent;
                span.what = SPAN_EXCHANGE;
                span.bytes = checked_mul(sent, span.times, &sent) ? sent : INT64_MAX;
            }
            span.end = each * (double)span.times;
            *out++ = span;
        }
    }
}

/* Clocks of the ranks. */
typedef struct Clocks {
    double work[TIMELINE_RANKS];   /* of the host and queue 0 */
    double beside[TIMELINE_RANKS]; /* of exchanges that go on */
    double *events;                /* [n_ranks][n_events]: when what they stand for is done */
} Clocks;

static bool goes_on(const Timeline *timeline, const PlanCommand *command) {
    return timeline->device->goes_on && command->kind == PLAN_COLLECTIVE && command->queue > 0;
}

static void events_await(const Timeline *timeline, const PlanCommand *command, Clocks *clocks) {
    for (int64_t r = 0; r < timeline->n_ranks; r++) {
        const double *events = clocks->events + r * timeline->entry->n_events;
        for (int32_t w = 0; w < command->n_waits; w++) {
            double done = events[timeline->tables->waits[command->first_wait + w]];
            clocks->work[r] = larger(clocks->work[r], done);
        }
    }
}

/* When the rank may begin it: of an exchange, when all of its group may. */
static double beginning(const Timeline *timeline, const PlanCommand *command, const Clocks *clocks,
                        int64_t rank) {
    bool beside = goes_on(timeline, command);
    double met = clocks->work[rank];
    if (command->kind != PLAN_COLLECTIVE) {
        return met;
    }
    MeshGroup group = timeline->tables->collectives[command->collective].group;
    for (int64_t k = 0; k < mesh_group_ranks(&timeline->shape, group); k++) {
        int64_t other = mesh_member(&timeline->shape, group, rank, k);
        met = larger(met, clocks->work[other]);
        met = beside ? larger(met, clocks->beside[other]) : met;
    }
    return met;
}

static void span_run(Timeline *timeline, int64_t s, Clocks *clocks) {
    const PlanCommand *command =
        &timeline->tables->commands[timeline->entry->first_command + timeline->spans[s].command];
    double met[TIMELINE_RANKS];
    for (int64_t r = 0; r < timeline->n_ranks; r++) {
        met[r] = beginning(timeline, command, clocks, r);
    }
    for (int64_t r = 0; r < timeline->n_ranks; r++) {
        TimelineSpan *span = &timeline->spans[r * timeline->n_spans + s];
        bool beside = goes_on(timeline, command);
        span->start = met[r];
        span->end += met[r];
        *(beside ? &clocks->beside[r] : &clocks->work[r]) = span->end;
        timeline->end = larger(timeline->end, span->end);
        if (beside && command->signal >= 0) {
            clocks->events[r * timeline->entry->n_events + command->signal] = span->end;
        }
    }
}

/* Gives the spans their times. */
static void clocks_run(Timeline *timeline, double *events) {
    Clocks clocks = {.events = events};
    int64_t s = 0;
    for (int32_t i = 0; i < timeline->entry->n_commands; i++) {
        const PlanCommand *command =
            &timeline->tables->commands[timeline->entry->first_command + i];
        if (command->queue == 0) {
            events_await(timeline, command, &clocks);
        }
        if (does_work(command)) {
            span_run(timeline, s++, &clocks);
        }
    }
}

static dlc_status rank_reckon(const dlc_plan *plan, Timeline *timeline, int64_t rank,
                              const int64_t *given, uint8_t *phases) {
    const RankPlace place = {.shape = timeline->shape, .number = rank};
    Layout *layout = NULL;
    PhaseBytes bytes;
    dlc_status status = figures_layout(plan, timeline->entry, &place, given, &layout);
    if (status == DLC_OK && rank == 0) {
        status = phases_find(plan->context, layout, phases, &bytes);
        memcpy(timeline->dims, layout->vars,
               (size_t)timeline->file->n_dims * sizeof(*layout->vars));
    }
    if (status == DLC_OK) {
        spans_of(timeline, layout, phases, timeline->spans + rank * timeline->n_spans);
    }
    layout_destroy(plan->context, layout);
    return status;
}

static dlc_status reckon(const dlc_plan *plan, Timeline *timeline, const int64_t *given) {
    const dlc_allocator *allocator = &plan->context->allocator;
    const PlanEntry *entry = timeline->entry;
    for (int32_t i = 0; i < entry->n_commands; i++) {
        timeline->n_spans += does_work(&timeline->tables->commands[entry->first_command + i]);
    }
    uint8_t *phases = memory_new(allocator, (size_t)entry->n_commands, 1);
    timeline->spans = memory_new(allocator, (size_t)(timeline->n_ranks * timeline->n_spans),
                                 sizeof(TimelineSpan));
    double *events =
        memory_new(allocator, (size_t)(timeline->n_ranks * (entry->n_events + 1)), sizeof(*events));
    dlc_status status =
        phases && timeline->spans && events ? DLC_OK : context_out_of_memory(plan->context);
    for (int64_t r = 0; r < timeline->n_ranks && status == DLC_OK; r++) {
        status = rank_reckon(plan, timeline, r, given, phases);
    }
    if (status == DLC_OK) {
        clocks_run(timeline, events);
    }
    memory_free(allocator, phases);
    memory_free(allocator, events);
    return status;
}

static dlc_status drawing_take(const dlc_plan *plan, const Timeline *timeline, char **out) {
    const dlc_allocator *allocator = &plan->context->allocator;
    Str text;
    str_init(&text, allocator);
    timeline_draw(timeline, &text);
    char *copy = text.failed ? NULL : memory_strdup(allocator, str_text(&text));
    str_finish(&text);
    if (!copy) {
        return context_out_of_memory(plan->context);
    }
    *out = copy;
    return DLC_OK;
}

dlc_status dlc_plan_timeline(const dlc_plan *plan, const char *name, int64_t n_ranks,
                             const dlc_binding *bindings, size_t n_bindings, char **out_text) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (!out_text) {
        return border_missing(plan->context, "out_text");
    }
    int64_t given[PLAN_MAX_DIMS];
    RankPlace place;
    Timeline timeline = {.file = &plan->file,
                         .tables = plan_tables(plan),
                         .device = device_of(&plan->file, plan_tables(plan)),
                         .n_ranks = 1};
    dlc_status status =
        figures_begin(plan, name, n_ranks, bindings, n_bindings, &timeline.entry, &place, given);
    if (status != DLC_OK) {
        return status;
    }
    timeline.shape = place.shape;
    (void)mesh_ranks(&place.shape, &timeline.n_ranks);
    if (timeline.n_ranks > TIMELINE_RANKS) {
        return context_fail(plan->context, DLC_ERROR_LIMIT,
                            "%lld ranks are more than one drawing has room for: %d at most",
                            (long long)timeline.n_ranks, TIMELINE_RANKS);
    }
    status = reckon(plan, &timeline, given);
    if (status == DLC_OK) {
        status = drawing_take(plan, &timeline, out_text);
    }
    memory_free(&plan->context->allocator, timeline.spans);
    return status;
}
