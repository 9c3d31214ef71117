/* Values that a session hands to its ranks, and takes from them. A variable is filled by the caller
 * in the first rank's memory, or its staging; the others get what lies there. Inputs of several
 * ranks are kept whole until a run takes them, and outputs are put together of their parts. */
#include "runtime/session/parts.h"
#include "runtime/session/session.h"

#include <inttypes.h>

dlc_status session_allocate(dlc_session *session, const EntryState *entry) {
    dlc_status status = entry ? DLC_OK : session_bind_inputs(session);
    for (int32_t r = 0; status == DLC_OK && r < session->n_ranks; r++) {
        status = team_told(session->team, r, rank_allocate(&session->ranks[r], entry));
    }
    return status;
}

static dlc_status joined_room(dlc_session *session, int64_t bytes) {
    const dlc_allocator *allocator = &session->context->allocator;
    if (bytes <= session->joined_bytes && session->joined) {
        return DLC_OK;
    }
    memory_free_aligned(allocator, session->joined);
    session->joined_bytes = bytes;
    session->joined = memory_new_aligned(allocator, (size_t)bytes);
    return session->joined ? DLC_OK : context_out_of_memory(session->context);
}

static bool is_cut(const dlc_session *session, const Variable *variable) {
    return session->n_all > 1 && variable->record->part.n_cuts > 0;
}

dlc_status session_variable_runs(dlc_session *session, int32_t r, int64_t number, PartRuns **out) {
    const Rank *rank = &session->ranks[r];
    const Variable *variable = &rank->variables[number];
    const PlanVariable *record = variable->record;
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
    const Whole whole = {.dims = variable->whole};
    memcpy(vars, session->orders.dims, (size_t)session->file->n_dims * sizeof(*vars));
    return part_runs_create(session->context, session->file, &rank->place, vars,
                            plan_text(session->file, record->name), &record->part,
                            record->type.rank, whole, variable->dims,
                            plan_dtype_bytes(record->type.dtype), out);
}

/* Between the whole in `whole`, host memory, and what rank `r` has of it: its variable. */
static dlc_status variable_part(dlc_session *session, int32_t r, const Variable *variable,
                                void *whole, bool to_part) {
    Rank *rank = &session->ranks[r];
    const PlanVariable *record = variable->record;
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
    memcpy(vars, session->orders.dims, (size_t)session->file->n_dims * sizeof(*vars));
    void *part = variable->data;
    dlc_status status = DLC_OK;
    if (!rank->ops->is_host) {
        status = rank_staging(rank, variable->bytes, &part);
        if (status == DLC_OK && !to_part) {
            status = rank_read(rank, part, variable->data, variable->bytes);
        }
    }
    if (status == DLC_OK) {
        status = part_copy(rank->context, session->file, &rank->place, vars,
                           plan_text(session->file, record->name), &record->part,
                           (Whole){.data = whole, .dims = variable->whole}, variable->dims,
                           plan_dtype_bytes(record->type.dtype), part, to_part);
    }
    if (status == DLC_OK && to_part && !rank->ops->is_host) {
        status = rank_write(rank, variable->data, part, variable->bytes);
    }
    return team_told(session->team, r, status);
}

dlc_status session_variable(dlc_session *session, int64_t number, void **out) {
    const Variable *variable = &session->ranks->variables[number];
    if (is_cut(session, variable)) {
        dlc_status status = joined_room(session, variable->whole_bytes);
        *out = session->joined;
        return status;
    }
    if (session->ranks->ops->is_host) {
        *out = variable->data;
        return DLC_OK;
    }
    return rank_staging(session->ranks, variable->bytes, out);
}

dlc_status session_variable_done(dlc_session *session, int64_t number) {
    const Rank *first = session->ranks;
    const Variable *variable = &first->variables[number];
    const void *value = first->ops->is_host ? variable->data : first->staging;
    bool cut = is_cut(session, variable);
    dlc_status status = DLC_OK;
    session->n_changes++;
    for (int32_t r = first->ops->is_host && !cut ? 1 : 0; status == DLC_OK && r < session->n_ranks;
         r++) {
        Rank *rank = &session->ranks[r];
        status = cut ? variable_part(session, r, &rank->variables[number], session->joined, true)
                     : team_told(session->team, r,
                                 rank_write(rank, rank->variables[number].data, value,
                                            rank->variables[number].bytes));
    }
    return status;
}

/* The variable of all sessions' ranks. */
static dlc_status variable_whole(dlc_session *session, const Variable *variable, void *to) {
    const PlanVariable *record = variable->record;
    const void *own;
    const Tensor tensor = {.name = plan_text(session->file, record->name),
                           .type = record->type,
                           .part = &record->part,
                           .vars = session->orders.dims};
    dlc_status status = rank_host(session->ranks, variable->data, variable->bytes, &own);
    return status == DLC_OK
               ? session_whole(session, &tensor, own, (Whole){.data = to, .dims = variable->whole})
               : session_abandon(session, status);
}

dlc_status session_variable_read(dlc_session *session, int64_t number, void *to) {
    Rank *first = session->ranks;
    const Variable *variable = &first->variables[number];
    if (!is_cut(session, variable)) {
        return rank_read(first, to, variable->data, variable->bytes);
    }
    if (session->communicator) {
        return variable_whole(session, variable, to);
    }
    dlc_status status = DLC_OK;
    for (int32_t r = 0; status == DLC_OK && r < session->n_ranks; r++) {
        status = variable_part(session, r, &session->ranks[r].variables[number], to, false);
    }
    return status;
}

dlc_status session_variable_value(dlc_session *session, int64_t number, const void **out) {
    const Variable *variable = &session->ranks->variables[number];
    if (!is_cut(session, variable)) {
        return rank_host(session->ranks, variable->data, variable->bytes, out);
    }
    dlc_status status = joined_room(session, variable->whole_bytes);
    *out = session->joined;
    return status == DLC_OK ? session_variable_read(session, number, session->joined) : status;
}

/* What the average of parameter `number` is by now, cut as the parameter is. */
static dlc_status average_gather(dlc_session *session, int32_t number) {
    const Variable *variable = &session->ranks->variables[number];
    const void *value;
    dlc_status status = session_variable_value(session, variable->average, &value);
    for (int32_t r = 0; status == DLC_OK && r < session->n_ranks; r++) {
        Rank *rank = &session->ranks[r];
        Variable *gathered = &rank->gathered[number];
        gathered->stamp = session->n_changes;
        status = is_cut(session, variable)
                     ? variable_part(session, r, gathered, (void *)(uintptr_t)value, true)
                     : team_told(session->team, r,
                                 rank_write(rank, gathered->data, value, gathered->bytes));
    }
    return status;
}

dlc_status session_averages_gather(dlc_session *session, const EntryState *entry) {
    const Rank *first = session->ranks;
    dlc_status status = DLC_OK;
    for (int32_t i = 0; i < entry->record->n_args && status == DLC_OK; i++) {
        int32_t number = session->tables->args[entry->record->first_arg + i].variable;
        bool is_read = number >= 0 && first->variables[number].is_apart &&
                       rank_entry_variable(first, entry, number) == &first->gathered[number];
        if (is_read && first->gathered[number].stamp != session->n_changes) {
            status = average_gather(session, number);
        }
    }
    return status;
}

dlc_status session_variable_zero(dlc_session *session, int64_t number) {
    dlc_status status = DLC_OK;
    session->n_changes++;
    for (int32_t r = 0; status == DLC_OK && r < session->n_ranks; r++) {
        const Variable *variable = &session->ranks[r].variables[number];
        status = rank_fill(&session->ranks[r], variable->data, 0, variable->bytes);
        status = team_told(session->team, r, status);
    }
    return status;
}

dlc_status session_input_check(dlc_session *session, const PlanArg *arg, const int64_t *dims) {
    int64_t bound[PLAN_MAX_DIMS];
    memcpy(bound, session->orders.dims, (size_t)session->file->n_dims * sizeof(*bound));
    return session_input_bind(session, arg, dims, bound);
}

dlc_status session_input(dlc_session *session, EntryState *entry, int32_t number, int64_t rank,
                         const int64_t *dims, void **out) {
    const PlanArg *arg = &session->tables->args[entry->record->first_arg + number];
    PlanType whole = plan_whole(arg->type, &arg->part);
    if (rank != whole.rank) {
        return context_fail(
            session->context, DLC_ERROR_MISMATCH, "input '%s' has %" PRId64 " axes; %s is wanted",
            plan_text(session->file, arg->name), rank, plan_text(session->file, whole.text));
    }
    dlc_status status = session_input_check(session, arg, dims);
    if (status == DLC_OK) {
        status = session->n_all > 1 ? rank_whole_input(session->ranks, entry, number, dims, out)
                                    : rank_input(session->ranks, entry, number, dims, out);
    }
    return status;
}

dlc_status session_input_done(dlc_session *session, EntryState *entry, int32_t number) {
    return session->n_all > 1 ? DLC_OK : rank_input_done(session->ranks, entry, number);
}

/* -- Outputs -- */

/* The result of all sessions' ranks. */
static dlc_status output_whole(dlc_session *session, const EntryState *entry, int32_t number,
                               const int64_t *whole_dims) {
    Rank *rank = session->ranks;
    const PlanResult *result = &session->tables->results[entry->record->first_result + number];
    int64_t dims[PLAN_MAX_RANK], bytes;
    const void *own;
    const Tensor tensor = {.name = plan_text(session->file, result->name),
                           .type = result->type,
                           .part = &result->part,
                           .vars = entry->layout->vars};
    if (!plan_shape(session->file, result->type, entry->layout->vars, dims, &bytes)) {
        return session_abandon(
            session, context_fail(session->context, DLC_ERROR_INTERNAL, "a result has no shape"));
    }
    dlc_status status = rank_host(rank, rank_result(rank, entry, number), bytes, &own);
    return status == DLC_OK ? session_whole(session, &tensor, own,
                                            (Whole){.data = session->joined, .dims = whole_dims})
                            : session_abandon(session, status);
}

/* Brings the rank's part of result `number` to its place. */
static dlc_status part_join(dlc_session *session, int32_t r, const EntryState *entry,
                            int32_t number, const int64_t *whole_dims) {
    Rank *rank = &session->ranks[r];
    const EntryState *own = &rank->entries[entry - session->ranks->entries];
    const PlanResult *result = &session->tables->results[entry->record->first_result + number];
    int64_t dims[PLAN_MAX_RANK], bytes;
    const void *data;
    if (!plan_shape(session->file, result->type, own->layout->vars, dims, &bytes)) {
        return context_fail(session->context, DLC_ERROR_INTERNAL, "a result has no shape");
    }
    dlc_status status = rank_host(rank, rank_result(rank, own, number), bytes, &data);
    if (status == DLC_OK) {
        status = part_copy(rank->context, session->file, &rank->place, own->layout->vars,
                           plan_text(session->file, result->name), &result->part,
                           (Whole){.data = session->joined, .dims = whole_dims}, dims,
                           plan_dtype_bytes(result->type.dtype), (void *)(uintptr_t)data, false);
    }
    return team_told(session->team, r, status);
}

dlc_status session_output(dlc_session *session, const EntryState *entry, int32_t number,
                          int64_t *out_dims, const void **out) {
    const PlanResult *result = &session->tables->results[entry->record->first_result + number];
    Rank *first = session->ranks;
    PlanType whole = plan_whole(result->type, &result->part);
    int64_t bytes;
    if (!plan_shape(session->file, whole, entry->layout->vars, out_dims, &bytes)) {
        return context_fail(session->context, DLC_ERROR_INTERNAL, "a result has no shape");
    }
    if (session->n_all == 1 || result->part.n_cuts == 0) {
        return rank_host(first, rank_result(first, entry, number), bytes, out);
    }
    dlc_status status = joined_room(session, bytes);
    if (session->communicator) {
        status = status == DLC_OK ? output_whole(session, entry, number, out_dims)
                                  : session_abandon(session, status);
    }
    for (int32_t r = session->communicator ? session->n_ranks : 0;
         r < session->n_ranks && status == DLC_OK; r++) {
        status = part_join(session, r, entry, number, out_dims);
    }
    *out = session->joined;
    return status;
}
