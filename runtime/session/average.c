/* See average.h. */
#include "runtime/session/average.h"

#include <stdio.h>

static int32_t find(dlc_session *session, const Variable *variable) {
    char name[1024];
    if (variable->record->role != PLAN_ARG_PARAM) {
        return -1;
    }
    int n =
        snprintf(name, sizeof(name), "%s#ema", plan_text(session->file, variable->record->name));
    Variable *average = n > 0 && (size_t)n < sizeof(name) ? session_variable(session, name) : NULL;
    PlanType own = variable->record->type, other = average ? average->record->type : own;
    bool fits =
        average && average->record->role == PLAN_ARG_SLOT && own.dtype == other.dtype &&
        strcmp(plan_text(session->file, own.text), plan_text(session->file, other.text)) == 0;
    return fits ? (int32_t)(average - session->variables) : -1;
}

void averages_find(dlc_session *session) {
    for (int64_t i = 0; i < session->n_variables; i++) {
        session->variables[i].average = find(session, &session->variables[i]);
    }
}

Variable *average_of(dlc_session *session, const Variable *variable) {
    return variable->average >= 0 ? &session->variables[variable->average] : NULL;
}

const Variable *entry_variable(const dlc_session *session, const EntryState *entry,
                               int32_t number) {
    const Variable *variable = &session->variables[number];
    int32_t purpose = entry->record->purpose;
    bool own = session->raw_weights || purpose == PLAN_PURPOSE_TRAIN ||
               purpose == PLAN_PURPOSE_INIT || variable->average < 0;
    return own ? variable : &session->variables[variable->average];
}

static dlc_status restart(dlc_session *session, const Variable *variable) {
    const Variable *average = average_of(session, variable);
    if (!average || !variable->data) {
        return DLC_OK;
    }
    const void *value;
    dlc_status status = session_host(session, variable->data, variable->bytes, &value);
    return status == DLC_OK ? session_write(session, average->data, value, average->bytes) : status;
}

dlc_status averages_restart(dlc_session *session, Variable *variable) {
    bool none = variable && variable->average < 0;
    dlc_status status = none ? DLC_OK : session_allocate(session, NULL);
    for (int64_t i = 0; i < session->n_variables && status == DLC_OK; i++) {
        if (!variable || variable == &session->variables[i]) {
            status = restart(session, &session->variables[i]);
        }
    }
    return status;
}
