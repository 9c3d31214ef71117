/* A session's variables as a file's tensors: in host memory, parameters by their averages where
 * those are wanted. */
#include "runtime/checkpoint/weights.h"
#include "runtime/session/average.h"

bool variable_is_weight(const Variable *variable) {
    return variable->record->role == PLAN_ARG_PARAM || variable->record->role == PLAN_ARG_STATE;
}

const char *variable_name(const dlc_session *session, const Variable *variable) {
    return plan_text(session->file, variable->record->name);
}

SafetensorsEntry weights_entry(const dlc_session *session, const Variable *variable) {
    int width = plan_dtype_bytes(variable->record->type.dtype);
    SafetensorsEntry entry = {.name = variable_name(session, variable),
                              .type = (DataType)variable->record->type.dtype,
                              .rank = variable->record->type.rank,
                              .n_elements = variable->whole_bytes / width,
                              .bytes = (size_t)variable->whole_bytes};
    memcpy(entry.dims, variable->whole, (size_t)entry.rank * sizeof(*entry.dims));
    return entry;
}

/* The variable's value as host memory; *copy is for the caller to free. A session that does not
 * write gives its part, and has nothing that lasts. */
static dlc_status variable_value(dlc_session *session, const Variable *variable, void **copy,
                                 const void **out) {
    if (!session_writes(session)) {
        return session_variable_value(session, variable - session->ranks->variables, out);
    }
    bool is_whole = session->n_all == 1 || variable->record->part.n_cuts == 0;
    if (session->ranks->ops->is_host && is_whole) {
        *out = variable->data;
        return DLC_OK;
    }
    *copy = memory_new(&session->context->allocator, (size_t)variable->whole_bytes, 1);
    *out = *copy;
    return *copy ? session_variable_read(session, variable - session->ranks->variables, *copy)
                 : context_out_of_memory(session->context);
}

dlc_status weights_collect(dlc_session *session, bool everything, WeightsCollected *out) {
    dlc_context *context = session->context;
    size_t n_variables = (size_t)session->file->n_variables;
    *out = (WeightsCollected){0};
    dlc_status status = session_allocate(session, NULL);
    if (status != DLC_OK) {
        return status;
    }
    out->entries = memory_new(&context->allocator, n_variables, sizeof(*out->entries));
    out->copies = memory_new(&context->allocator, n_variables, sizeof(*out->copies));
    if (!out->entries || !out->copies) {
        status = context_out_of_memory(context);
    }
    for (int64_t i = 0; i < session->file->n_variables && status == DLC_OK; i++) {
        const Variable *variable = &session->ranks->variables[i];
        if (!everything && !variable_is_weight(variable)) {
            continue;
        }
        const void *value = NULL;
        bool raw = everything || session->orders.raw_weights;
        const Variable *average = raw ? NULL : rank_average_of(session->ranks, variable);
        status = variable_value(session, average ? average : variable, &out->copies[i], &value);
        SafetensorsEntry *entry = &out->entries[out->n_entries++];
        *entry = weights_entry(session, variable);
        entry->data = value;
    }
    if (status != DLC_OK) {
        weights_collected_free(session, out);
        return session_abandon(session, status);
    }
    return status;
}

void weights_collected_free(dlc_session *session, WeightsCollected *collected) {
    const dlc_allocator *allocator = &session->context->allocator;
    for (int64_t i = 0; collected->copies && i < session->file->n_variables; i++) {
        memory_free(allocator, collected->copies[i]);
    }
    memory_free(allocator, collected->copies);
    memory_free(allocator, collected->entries);
    *collected = (WeightsCollected){0};
}
