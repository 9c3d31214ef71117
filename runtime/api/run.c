/* The public face of running: entries, outputs, metrics, single training steps, variables. */
#include "runtime/session/average.h"
#include "runtime/session/session.h"
#include "runtime/session/tensor.h"

#include "ir/base/checked.h"
#include "ir/base/number.h"
#include "runtime/border.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

dlc_status dlc_run(dlc_session *session, const char *name) {
    BORDER_CALL(session ? session->context : NULL);
    EntryState *entry = session_entry(session, name);
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    if (context_cancelled(session->context)) {
        return session_agree(session,
                             context_fail(session->context, DLC_ERROR_CANCELLED, "cancelled"));
    }
    session->at_leisure = true;
    dlc_status status = session_run(session, entry);
    session->at_leisure = false;
    return status == DLC_OK ? session_verdict(session, entry) : status;
}

/* The entry of that name, which must be the one that ran last: the arena is shared. NULL after
 * setting the error. */
static EntryState *entry_that_ran(dlc_session *session, const char *name) {
    EntryState *entry = session_entry(session, name);
    if (entry && session->ranks->last != entry) {
        context_fail(session->context, DLC_ERROR_NOT_FOUND,
                     "'%s' is not the entry that ran last: its results are gone",
                     plan_text(session->file, entry->record->name));
        return NULL;
    }
    return entry;
}

static dlc_status output_find(dlc_session *session, const char *entry_name, const char *name,
                              EntryState **out_entry, int32_t *out_result) {
    EntryState *entry = entry_that_ran(session, entry_name);
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    for (int32_t i = 0; i < entry->record->n_results; i++) {
        const PlanResult *result = &session->tables->results[entry->record->first_result + i];
        bool named = result->role != PLAN_RESULT_STORE && result->role != PLAN_RESULT_OK;
        if (name ? named && strcmp(plan_text(session->file, result->name), name) == 0
                 : result->role == PLAN_RESULT_OUTPUT) {
            *out_entry = entry;
            *out_result = i;
            return DLC_OK;
        }
    }
    char names[ENTRY_NAMES_BYTES];
    return context_fail(session->context, DLC_ERROR_NOT_FOUND, "entry '%s' has no output '%s'; %s",
                        plan_text(session->file, entry->record->name), name ? name : "",
                        entry_names(session, entry, false, names));
}

dlc_status dlc_view_output(dlc_session *session, const char *entry_name, const char *name,
                           const DLTensor **out) {
    BORDER_CALL(session ? session->context : NULL);
    if (!out) {
        return border_missing(session->context, "out");
    }
    EntryState *entry = NULL;
    int32_t number = 0;
    dlc_status status = output_find(session, entry_name, name, &entry, &number);
    if (status != DLC_OK) {
        return status;
    }
    const PlanResult *result = &session->tables->results[entry->record->first_result + number];
    const void *data;
    status = session_output(session, entry, number, session->lent_dims, &data);
    if (status != DLC_OK) {
        return status;
    }
    session->lent = (DLTensor){.data = (void *)(uintptr_t)data,
                               .device = {kDLCPU, 0},
                               .ndim = result->type.rank,
                               .dtype = dl_dtype(result->type.dtype),
                               .shape = session->lent_dims};
    *out = &session->lent;
    return DLC_OK;
}

dlc_status dlc_take_output(dlc_session *session, const char *entry_name, const char *name,
                           DLManagedTensorVersioned **out) {
    BORDER_CALL(session ? session->context : NULL);
    if (!out) {
        return border_missing(session->context, "out");
    }
    const DLTensor *view;
    dlc_status status = dlc_view_output(session, entry_name, name, &view);
    if (status != DLC_OK) {
        return status;
    }
    int32_t dtype = PLAN_F32;
    (void)dl_dtype_read(view->dtype, &dtype);
    DLManagedTensorVersioned *copy =
        tensor_new(&session->context->allocator, dtype, view->ndim, view->shape);
    if (!copy) {
        return context_out_of_memory(session->context);
    }
    tensor_copy_out(view, copy->dl_tensor.data);
    *out = copy;
    return DLC_OK;
}

dlc_status dlc_metrics(dlc_session *session, const char *name, dlc_metric *metrics, size_t capacity,
                       size_t *out_count) {
    BORDER_CALL(session ? session->context : NULL);
    if (!out_count || (!metrics && capacity > 0)) {
        return border_missing(session->context, !out_count ? "out_count" : "metrics");
    }
    EntryState *entry = entry_that_ran(session, name);
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    const PlanResult *results = session->tables->results + entry->record->first_result;
    size_t n = 0;
    for (int32_t i = 0; i < entry->record->n_results; i++) {
        dlc_tensor_role role;
        if (results[i].role == PLAN_RESULT_METRIC) {
            role = DLC_ROLE_METRIC;
        } else if (results[i].role == PLAN_RESULT_LOSS) {
            role = DLC_ROLE_LOSS;
        } else if (results[i].role == PLAN_RESULT_INFO) {
            role = DLC_ROLE_INFO;
        } else {
            continue;
        }
        double value = rank_quotient(session->ranks, entry, i);
        if (n < capacity) {
            metrics[n] = (dlc_metric){plan_text(session->file, results[i].name), value, role};
        }
        n++;
    }
    *out_count = n;
    return DLC_OK;
}

static dlc_status variable_get(dlc_session *session, const char *name, Variable **out) {
    *out = name ? rank_variable(session->ranks, name) : NULL;
    if (!*out) {
        return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                            "the plan has no parameter, state or slot '%s'", name ? name : "");
    }
    return DLC_OK;
}

dlc_status dlc_view_variable(dlc_session *session, const char *name, const DLTensor **out) {
    BORDER_CALL(session ? session->context : NULL);
    if (!out) {
        return border_missing(session->context, "out");
    }
    Variable *variable;
    dlc_status status = variable_get(session, name, &variable);
    if (status == DLC_OK && !variable->data) {
        status = session_allocate(session, NULL);
    }
    if (status != DLC_OK) {
        return status;
    }
    const void *data;
    status = session_variable_value(session, variable - session->ranks->variables, &data);
    if (status != DLC_OK) {
        return status;
    }
    session->lent = (DLTensor){.data = (void *)(uintptr_t)data,
                               .device = {kDLCPU, 0},
                               .ndim = variable->record->type.rank,
                               .dtype = dl_dtype(variable->record->type.dtype),
                               .shape = variable->whole};
    *out = &session->lent;
    return DLC_OK;
}

dlc_status dlc_set_variable(dlc_session *session, const char *name, const DLTensor *value) {
    BORDER_CALL(session ? session->context : NULL);
    Variable *variable;
    int32_t dtype;
    dlc_status status = variable_get(session, name, &variable);
    if (status == DLC_OK) {
        status = tensor_check(session->context, name, value, &dtype);
    }
    if (status != DLC_OK) {
        return status;
    }
    PlanType type = plan_whole(variable->record->type, &variable->record->part);
    if (dtype != type.dtype) {
        return context_fail(session->context, DLC_ERROR_MISMATCH, "'%s' is %s", name,
                            plan_text(session->file, type.text));
    }
    int64_t dims[PLAN_MAX_DIMS];
    memcpy(dims, session->orders.dims, (size_t)session->file->n_dims * sizeof(*dims));
    status = shape_bind(session, name, type, value->shape, value->ndim, dims);
    for (int32_t d = 0; status == DLC_OK && d < session->file->n_dims; d++) {
        if (dims[d] >= 0) {
            status = session_bind_number(session, d, dims[d]);
        }
    }
    if (status == DLC_OK && !variable->data) {
        status = session_allocate(session, NULL);
    }
    if (status != DLC_OK) {
        return status;
    }
    int64_t number = variable - session->ranks->variables;
    void *to;
    status = session_variable(session, number, &to);
    if (status == DLC_OK) {
        tensor_copy_out(value, to);
        status = session_variable_done(session, number);
    }
    return status == DLC_OK ? averages_restart(session, variable) : status;
}

dlc_status dlc_reset_caches(dlc_session *session) {
    BORDER_CALL(session ? session->context : NULL);
    dlc_status status = DLC_OK;
    for (int64_t i = 0; status == DLC_OK && i < session->file->n_variables; i++) {
        const Variable *variable = &session->ranks->variables[i];
        if (variable->data && variable->record->role == PLAN_ARG_CACHE) {
            status = session_variable_zero(session, i);
        }
    }
    return status;
}

dlc_status dlc_init_weights(dlc_session *session) {
    BORDER_CALL(session ? session->context : NULL);
    dlc_status status = session_allocate(session, NULL);
    if (status != DLC_OK) {
        return status;
    }
    for (int64_t i = 0; status == DLC_OK && i < session->file->n_variables; i++) {
        status = session_variable_zero(session, i);
    }
    for (int64_t i = 0; status == DLC_OK && i < session->tables->n_entries; i++) {
        EntryState *entry = &session->ranks->entries[i];
        if (entry->record->purpose == PLAN_PURPOSE_INIT) {
            status = session_run(session, entry);
        }
    }
    if (status == DLC_OK) {
        status = dlc_set_counter(session, "step", 0);
    }
    return status == DLC_OK ? dlc_set_counter(session, "epoch", 0) : status;
}
