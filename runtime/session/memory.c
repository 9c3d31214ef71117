/* What a rank holds on its device: variables and the arena. */
#include "runtime/session/rank.h"

#include <inttypes.h>
#include <stdio.h>

/* -- Variables -- */

/* A variable whose sizes make no tensor: an axis below 0, with the dims that say so, or a plan that
 * is not sound. */
static dlc_status variable_misshapen(Rank *rank, const PlanVariable *record, const int64_t *vars) {
    const PlanFile *file = rank->file;
    const char *name = plan_text(file, record->name);
    for (int32_t a = 0; a < record->type.rank; a++) {
        PlanProgram program = file->sizes[record->type.first_size + a];
        int64_t size;
        if (!plan_eval(file, program, vars, &size) || size >= 0) {
            continue;
        }
        char dims[512];
        dims_text(file, vars, &program, 1, dims, sizeof(dims));
        return context_fail(rank->context, DLC_ERROR_MISMATCH,
                            "'%s' is %s: its axis %d would be %" PRId64 "%s", name,
                            plan_text(file, record->type.text), (int)a, size, dims);
    }
    return context_fail(rank->context, DLC_ERROR_FORMAT, "%s: the size of '%s' is malformed",
                        file->name, name);
}

static dlc_status variable_allocate(Rank *rank, Variable *variable) {
    const PlanFile *file = rank->file;
    const PlanVariable *record = variable->record;
    if (variable->data) {
        return DLC_OK;
    }
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
    memcpy(vars, rank->orders->dims, (size_t)file->n_dims * sizeof(*vars));
    dlc_status placed = place_dims(rank->context, file, &rank->place, vars);
    if (placed != DLC_OK) {
        return placed;
    }
    for (int32_t a = 0; a < record->type.rank; a++) {
        if (!program_bound(file, file->sizes[record->type.first_size + a], vars)) {
            return context_fail(rank->context, DLC_ERROR_MISMATCH,
                                "'%s' is %s: its sizes are not known before weights, data or "
                                "an input say them",
                                plan_text(file, record->name), plan_text(file, record->type.text));
        }
    }
    int64_t bytes, declared;
    PlanType whole = plan_whole(record->type, &record->part);
    if (!plan_shape(file, record->type, vars, variable->dims, &bytes) ||
        !plan_eval(file, record->bytes, vars, &declared) || declared != bytes) {
        return variable_misshapen(rank, record, vars);
    }
    if (!plan_shape(file, whole, vars, variable->whole, &variable->whole_bytes)) {
        return variable_misshapen(rank, record, vars);
    }
    void *data = rank->ops->alloc(rank->device, (size_t)layout_round(bytes));
    if (!data) {
        char what[320];
        snprintf(what, sizeof(what), "%s '%s'",
                 record->role == PLAN_ARG_SLOT ? "optimiser state" : "parameter",
                 plan_text(file, record->name));
        return rank_no_memory(rank, what, bytes);
    }
    dlc_status status = rank_fill(rank, data, 0, layout_round(bytes));
    if (status != DLC_OK) {
        rank->ops->free(rank->device, data);
        return status;
    }
    variable->data = data;
    variable->bytes = bytes;
    return DLC_OK;
}

dlc_status rank_allocate(Rank *rank, const EntryState *entry) {
    dlc_status status = DLC_OK;
    for (int64_t i = 0; !entry && status == DLC_OK && i < rank->n_variables; i++) {
        status = variable_allocate(rank, &rank->variables[i]);
    }
    for (int32_t i = 0; entry && status == DLC_OK && i < entry->record->n_args; i++) {
        const PlanArg *arg = &rank->tables->args[entry->record->first_arg + i];
        Variable *variable = arg->variable >= 0 ? &rank->variables[arg->variable] : NULL;
        if (variable) {
            status = variable_allocate(rank, variable);
        }
        if (variable && status == DLC_OK && variable->average >= 0) {
            status = variable_allocate(rank, &rank->variables[variable->average]);
        }
        if (variable && status == DLC_OK && variable->is_apart &&
            rank_entry_variable(rank, entry, arg->variable) != variable) {
            status = variable_allocate(rank, &rank->gathered[arg->variable]);
        }
    }
    return status;
}

/* -- The arena -- */

void rank_arena_free(Rank *rank) {
    for (int32_t i = 0; rank->apart && i < rank->max_buffers; i++) {
        if (rank->apart[i]) {
            rank->ops->free(rank->device, rank->apart[i]);
            rank->apart[i] = NULL;
        }
    }
    rank->apart_layout = NULL;
    if (rank->arena) {
        rank->ops->free(rank->device, rank->arena);
    }
    rank->arena = NULL;
    rank->arena_bytes = 0;
    rank->last = NULL;
}

static dlc_status arena_missing(Rank *rank, const Layout *layout, int64_t bytes) {
    char what[384];
    int n = snprintf(what, sizeof(what), "the arena of '%s'",
                     plan_text(rank->file, layout->entry->name));
    int32_t batch = plan_batch_dim(rank->file, rank->tables);
    if (batch >= 0 && n > 0 && (size_t)n < sizeof(what)) {
        snprintf(what + n, sizeof(what) - (size_t)n, " for %s = %" PRId64,
                 plan_text(rank->file, rank->file->dims[batch].name), layout->vars[batch]);
    }
    return rank_no_memory(rank, what, bytes);
}

/* Guarded: every buffer of the arena is a block of its own, made anew when the layout changes. */
static dlc_status arena_apart(Rank *rank, const Layout *layout) {
    const PlanEntry *entry = layout->entry;
    const PlanBuffer *buffers = layout->tables->buffers + entry->first_buffer;
    if (rank->apart_layout == layout) {
        return DLC_OK;
    }
    rank_arena_free(rank);
    for (int32_t i = 0; i < entry->n_buffers; i++) {
        if (buffers[i].kind != PLAN_BUFFER_ARENA) {
            continue;
        }
        rank->apart[i] = rank->ops->alloc(rank->device, (size_t)layout->buffer_bytes[i]);
        if (!rank->apart[i]) {
            rank_arena_free(rank);
            return arena_missing(rank, layout, layout->buffer_bytes[i]);
        }
        rank->arena_bytes += layout_round(layout->buffer_bytes[i]);
    }
    rank->apart_layout = layout;
    return DLC_OK;
}

dlc_status rank_arena(Rank *rank, const Layout *layout) {
    for (int32_t q = 0; q < layout->entry->n_queues; q++) {
        dlc_status status = DLC_OK;
        if (q == 0 || layout->queue_scratch[q] > 0) {
            status = rank->ops->reserve(rank->queues[q], layout->queue_scratch[q]);
        }
        if (status != DLC_OK) {
            return rank_device_fail(rank, status);
        }
    }
    if (rank->orders->guarded) {
        return arena_apart(rank, layout);
    }
    if (layout->arena_bytes > rank->arena_bytes || !rank->arena) {
        /* Nothing in it outlives a run, so the old one goes first. */
        rank_arena_free(rank);
        rank->arena = rank->ops->alloc(rank->device, (size_t)layout->arena_bytes);
        if (!rank->arena) {
            return arena_missing(rank, layout, layout->arena_bytes);
        }
        rank->arena_bytes = layout->arena_bytes;
    }
    return DLC_OK;
}
