/* What a session's ranks have in common: where they meet, what is told of all of them. The
 * communicator of a session's ranks: that which it was given, or one for threads of this
 * process, made before the first run that needs it. It is made anew after one in which a rank
 * failed, which ends it for all. */
#include "runtime/session/session.h"

#include "runtime/comm/local/local.h"
#include "runtime/session/watch.h"

void session_part(dlc_session *session) {
    for (int32_t r = 0; session->ranks && r < session->n_ranks; r++) {
        Rank *rank = &session->ranks[r];
        if (!session->communicator) {
            comm_close(rank->comm);
        } else if (session->communicator->comm && session->communicator->comm->at_user == rank) {
            comm_at_by(session->communicator->comm, NULL, NULL);
        }
        rank->comm = NULL;
    }
}

void session_does(dlc_session *session, const char *what) {
    for (int32_t r = 0; r < session->n_ranks; r++) {
        journal_note(session->ranks[r].journal, JOURNAL_DOES, what);
    }
}

void session_takes_long(dlc_session *session, const char *what) {
    session_does(session, what);
    for (int32_t r = 0; r < session->n_ranks; r++) {
        watch_rests(&session->ranks[r]);
    }
}

void session_awaits(dlc_session *session, const EntryState *entry) {
    for (int32_t r = 0; r < session->n_ranks; r++) {
        Rank *rank = &session->ranks[r];
        watch_awaits(rank, &rank->entries[entry - session->ranks->entries], session->at_leisure);
    }
}

/* Sessions of one communicator may be several, and any of them sees it fail. */
static dlc_status meet_others(dlc_session *session) {
    dlc_communicator *communicator = session->communicator;
    communicator->is_broken |= session->is_broken;
    dlc_status status = communicator_renew(communicator);
    session->ranks->comm = communicator->comm;
    session->is_broken = status != DLC_OK;
    if (status == DLC_OK && session->met != communicator->generation) {
        session->met = communicator->generation;
        watch_met(session->ranks);
    } else if (status == DLC_OK && communicator->comm->at_user != session->ranks) {
        watch_again(session->ranks);
    }
    return status;
}

dlc_status session_meet(dlc_session *session) {
    if (session->communicator) {
        return meet_others(session);
    }
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
        watch_met(&session->ranks[r]);
    }
    memory_free(allocator, ends);
    session->is_broken = false;
    return status == DLC_OK
               ? DLC_OK
               : context_fail(session->context, status, "%d ranks find no way to exchange data: %s",
                              (int)session->n_ranks, dlc_status_text(status));
}
