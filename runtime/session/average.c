/* See average.h. */
#include "runtime/session/average.h"

/* Of one that is cut as its parameter is, if at all: each rank has what it needs. */
static dlc_status restart_alike(dlc_session *session, int64_t number) {
    dlc_status status = DLC_OK;
    session->n_changes++;
    for (int32_t r = 0; r < session->n_ranks && status == DLC_OK; r++) {
        Rank *rank = &session->ranks[r];
        const Variable *variable = &rank->variables[number];
        const Variable *average = rank_average_of(rank, variable);
        const void *value;
        status = rank_host(rank, variable->data, variable->bytes, &value);
        if (status == DLC_OK) {
            status = rank_write(rank, average->data, value, variable->bytes);
        }
        status = team_told(session->team, r, status);
    }
    return status;
}

/* Of parameter `number`, where it has an average and both have their memory. */
static dlc_status restart(dlc_session *session, int64_t number) {
    Rank *first = session->ranks;
    const Variable *variable = &first->variables[number];
    const Variable *average = rank_average_of(first, variable);
    if (!average || !variable->data) {
        return DLC_OK;
    }
    if (!variable->is_apart) {
        return restart_alike(session, number);
    }
    const void *value;
    void *to;
    dlc_status status = session_variable_value(session, number, &value);
    if (status == DLC_OK) {
        status = session_variable(session, variable->average, &to);
    }
    if (status == DLC_OK && to != value) { /* staging holds it already */
        memcpy(to, value, (size_t)variable->whole_bytes);
    }
    return status == DLC_OK ? session_variable_done(session, variable->average) : status;
}

dlc_status averages_restart(dlc_session *session, const Variable *variable) {
    bool none = variable && variable->average < 0;
    dlc_status status = none ? DLC_OK : session_allocate(session, NULL);
    for (int64_t i = 0; i < session->file->n_variables && status == DLC_OK; i++) {
        if (!variable || variable == &session->ranks->variables[i]) {
            status = restart(session, i);
        }
    }
    return status;
}
