/* Values that a session hands to its ranks: variables and inputs. The first rank's memory, or its
 * staging, is filled by the caller; the others get what lies there. */
#include "runtime/session/session.h"

#include <inttypes.h>
#include <stdio.h>

dlc_status session_allocate(dlc_session *session, const EntryState *entry) {
    dlc_status status = entry ? DLC_OK : session_bind_inputs(session);
    for (int32_t r = 0; status == DLC_OK && r < session->n_ranks; r++) {
        status = rank_allocate(&session->ranks[r], entry);
    }
    return status;
}

dlc_status session_variable(dlc_session *session, int64_t number, void **out) {
    const Variable *variable = &session->ranks->variables[number];
    if (session->ranks->ops->is_host) {
        *out = variable->data;
        return DLC_OK;
    }
    return rank_staging(session->ranks, variable->bytes, out);
}

dlc_status session_variable_done(dlc_session *session, int64_t number) {
    const Rank *first = session->ranks;
    const void *value = first->ops->is_host ? first->variables[number].data : first->staging;
    dlc_status status = DLC_OK;
    for (int32_t r = first->ops->is_host ? 1 : 0; status == DLC_OK && r < session->n_ranks; r++) {
        Rank *rank = &session->ranks[r];
        status =
            rank_write(rank, rank->variables[number].data, value, rank->variables[number].bytes);
    }
    return status;
}

dlc_status session_variable_zero(dlc_session *session, int64_t number) {
    dlc_status status = DLC_OK;
    for (int32_t r = 0; status == DLC_OK && r < session->n_ranks; r++) {
        const Variable *variable = &session->ranks[r].variables[number];
        status = rank_fill(&session->ranks[r], variable->data, 0, variable->bytes);
    }
    return status;
}

dlc_status session_input_check(dlc_session *session, const PlanArg *arg, const int64_t *dims) {
    char what[320];
    int64_t bound[PLAN_MAX_DIMS];
    snprintf(what, sizeof(what), "input '%s'", plan_text(session->file, arg->name));
    memcpy(bound, session->orders.dims, (size_t)session->file->n_dims * sizeof(*bound));
    return shape_bind(session, what, arg->type, dims, arg->type.rank, bound);
}

dlc_status session_input(dlc_session *session, EntryState *entry, int32_t number, int64_t rank,
                         const int64_t *dims, void **out) {
    const PlanArg *arg = &session->tables->args[entry->record->first_arg + number];
    if (rank != arg->type.rank) {
        return context_fail(
            session->context, DLC_ERROR_MISMATCH, "input '%s' has %" PRId64 " axes; %s is wanted",
            plan_text(session->file, arg->name), rank, plan_text(session->file, arg->type.text));
    }
    dlc_status status = session_input_check(session, arg, dims);
    return status == DLC_OK ? rank_input(session->ranks, entry, number, dims, out) : status;
}

dlc_status session_input_done(dlc_session *session, EntryState *entry, int32_t number) {
    Rank *first = session->ranks;
    Input *input = &entry->inputs[number];
    const void *value = first->ops->is_host ? input->data : first->staging;
    dlc_status status = rank_input_done(first, entry, number);
    for (int32_t r = 1; status == DLC_OK && r < session->n_ranks; r++) {
        Rank *rank = &session->ranks[r];
        EntryState *other = &rank->entries[entry - first->entries];
        void *to;
        status = rank_input(rank, other, number, input->dims, &to);
        if (status == DLC_OK) {
            memcpy(to, value, (size_t)input->bytes);
            status = rank_input_done(rank, other, number);
        }
        input->is_set = status == DLC_OK;
    }
    return status;
}
