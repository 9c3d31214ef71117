/* See average.h. */
#include "runtime/session/average.h"

/* Of parameter `number`, where it has an average and both have their memory: on every rank, which
 * has the same part of both. */
static dlc_status restart(dlc_session *session, int64_t number) {
    dlc_status status = DLC_OK;
    for (int32_t r = 0; r < session->n_ranks && status == DLC_OK; r++) {
        Rank *rank = &session->ranks[r];
        const Variable *variable = &rank->variables[number];
        const Variable *average = rank_average_of(rank, variable);
        if (!average || !variable->data) {
            return DLC_OK;
        }
        const void *value;
        status = rank_host(rank, variable->data, variable->bytes, &value);
        if (status == DLC_OK) {
            status = rank_write(rank, average->data, value, variable->bytes);
        }
        status = team_told(session->team, r, status);
    }
    return status;
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
