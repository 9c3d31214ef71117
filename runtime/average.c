/* See average.h. */
#include "runtime/average.h"

#include <stdio.h>

Variable *average_of(dlc_session *session, const Variable *variable) {
    char name[1024];
    if (variable->record->role != PLAN_ARG_PARAM) {
        return NULL;
    }
    int n =
        snprintf(name, sizeof(name), "%s#ema", plan_text(session->file, variable->record->name));
    Variable *average = n > 0 && (size_t)n < sizeof(name) ? session_variable(session, name) : NULL;
    bool fits = average && average->record->type.dtype == variable->record->type.dtype &&
                average->bytes == variable->bytes;
    return fits ? average : NULL;
}

/* Their memory changes hands: nothing is copied. */
static dlc_status swap(dlc_session *session, Variable *a, Variable *b, uint8_t *room) {
    (void)session;
    (void)room;
    void *keep = a->data;
    a->data = b->data;
    b->data = keep;
    return DLC_OK;
}

/* Calls for each pair, with room on the host for both. */
static dlc_status each_pair(dlc_session *session,
                            dlc_status (*visit)(dlc_session *, Variable *, Variable *, uint8_t *)) {
    dlc_status status = session_allocate(session, NULL);
    for (int64_t i = 0; i < session->n_variables && status == DLC_OK; i++) {
        Variable *variable = &session->variables[i], *average = average_of(session, variable);
        if (!average) {
            continue;
        }
        uint8_t *room = memory_new(&session->context->allocator, 2 * (size_t)variable->bytes, 1);
        if (!room) {
            return context_out_of_memory(session->context);
        }
        status = visit(session, variable, average, room);
        memory_free(&session->context->allocator, room);
    }
    return status;
}

static bool has_averages(dlc_session *session) {
    for (int64_t i = 0; i < session->n_variables; i++) {
        if (average_of(session, &session->variables[i])) {
            return true;
        }
    }
    return false;
}

dlc_status averages_swap(dlc_session *session) {
    return has_averages(session) ? each_pair(session, swap) : DLC_OK;
}

static dlc_status restart(dlc_session *session, Variable *variable, Variable *average,
                          uint8_t *room) {
    dlc_status status = session_read(session, room, variable->data, variable->bytes);
    return status == DLC_OK ? session_write(session, average->data, room, average->bytes) : status;
}

dlc_status averages_restart(dlc_session *session) {
    return has_averages(session) ? each_pair(session, restart) : DLC_OK;
}
