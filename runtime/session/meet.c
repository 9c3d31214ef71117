/* The communicator of a session's ranks: threads of one process. It is made before the first run
 * that needs it, and anew after one in which a rank failed, which ends it for all. */
#include "runtime/session/session.h"

#include "runtime/comm/local/local.h"

void session_part(dlc_session *session) {
    for (int32_t r = 0; session->ranks && r < session->n_ranks; r++) {
        comm_close(session->ranks[r].comm);
        session->ranks[r].comm = NULL;
    }
}

dlc_status session_meet(dlc_session *session) {
    bool needed = session->n_ranks > 1 || session->tables->n_collectives > 0;
    if (!needed || (session->ranks->comm && !session->is_broken)) {
        return DLC_OK;
    }
    const dlc_allocator *allocator = &session->context->allocator;
    Comm **ends = memory_new(allocator, (size_t)session->n_ranks, sizeof(Comm *));
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    session_part(session);
    if (ends) {
        status = comm_local_create(allocator, session->n_ranks, 0, ends);
    }
    for (int32_t r = 0; status == DLC_OK && r < session->n_ranks; r++) {
        session->ranks[r].comm = ends[r];
    }
    memory_free(allocator, ends);
    session->is_broken = false;
    return status == DLC_OK
               ? DLC_OK
               : context_fail(session->context, status, "%d ranks find no way to exchange data: %s",
                              (int)session->n_ranks, dlc_status_text(status));
}
