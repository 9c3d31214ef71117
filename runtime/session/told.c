/* What one of several sessions that share a communicator knows and all must: errors, and texts.
 * Each has one rank then, on the calling thread. */
#include "runtime/session/session.h"

#include <stdio.h>

dlc_status session_call(dlc_session *session, const CommCall *call) {
    dlc_status status = session_meet(session);
    if (status == DLC_OK) {
        status = exchange_call(session->ranks, call);
        session->is_broken |= status != DLC_OK;
    }
    return status;
}

/* Of n numbers a rank; `own` become what they come to. */
static dlc_status number_make(dlc_session *session, CommKind kind, const char *name, int64_t *own,
                              int64_t n) {
    const CommBuffer buffer = {
        .in = own, .out = own, .dtype = PLAN_I64, .outer = 1, .rows = 1, .unit = n};
    const CommCall call = {.kind = kind,
                           .combine = kind == COMM_ALL_REDUCE ? COMM_MAX : 0,
                           .buffers = &buffer,
                           .n_buffers = 1,
                           .name = name};
    return session->communicator ? session_call(session, &call) : DLC_OK;
}

dlc_status session_numbers(dlc_session *session, const char *what, int64_t own,
                           const int64_t **all) {
    const CommBuffer buffer = {.in = &own,
                               .out = session->told,
                               .dtype = PLAN_I64,
                               .outer = 1,
                               .rows = session->n_all,
                               .unit = 1};
    const CommCall call = {
        .kind = COMM_ALL_GATHER, .buffers = &buffer, .n_buffers = 1, .name = what};
    *all = session->told;
    return session_call(session, &call);
}

/* *out: the lowest rank whose `own` is not 0 but for the bits beside `mask`; -1: none. *value: what
 * that is. */
static dlc_status lowest(dlc_session *session, int64_t own, int64_t mask, const char *name,
                         int32_t *out, int64_t *value) {
    const int64_t *all;
    dlc_status status = session_numbers(session, name, own, &all);
    *out = -1;
    for (int32_t r = session->n_all - 1; r >= 0 && status == DLC_OK; r--) {
        int64_t told = all[r] & mask;
        *out = told != 0 ? r : *out;
        *value = told != 0 ? told : *value;
    }
    return status;
}

static dlc_status text_tell(dlc_session *session, int32_t from, char *text, size_t n) {
    const CommBuffer buffer = {
        .in = text, .out = text, .dtype = PLAN_U8, .outer = 1, .rows = 1, .unit = (int64_t)n};
    const CommCall call = {.kind = COMM_BROADCAST,
                           .number = from,
                           .buffers = &buffer,
                           .n_buffers = 1,
                           .name = "a text"};
    dlc_status status = session_call(session, &call);
    text[n - 1] = '\0';
    return status;
}

dlc_status session_call_begin(dlc_session *session) {
    const dlc_communicator *communicator = session->communicator;
    bool broken = communicator && (session->is_broken || communicator->is_broken);
    return broken ? session_meet(session) : DLC_OK;
}

/* What a rank has come to, and above it how many rows it brings and one more; 0: it says none. */
enum { TOLD_STATUS = 0xff, TOLD_ROWS = 1 << 8 };

/* Ranks that are given their own rows, and ranks that are given all, do not go on alike. */
static dlc_status same_rows(dlc_session *session) {
    bool first = session->told[0] >= TOLD_ROWS;
    for (int32_t r = 1; r < session->n_all; r++) {
        if ((session->told[r] >= TOLD_ROWS) != first) {
            return context_fail(session->context, DLC_ERROR_MISMATCH,
                                "ranks differ in dlc_session_options.rows: rank %d brings %s, rank "
                                "0 %s; it is the same on all",
                                (int)r, first ? "the whole batch" : "its own rows",
                                first ? "its own rows" : "the whole batch");
        }
    }
    return DLC_OK;
}

static dlc_status agree(dlc_session *session, dlc_status status, int64_t rows) {
    char text[CONTEXT_ERROR_BYTES] = "";
    int32_t from = -1;
    int64_t value = 0;
    /* What ended the communicator in this call all have heard of; nobody meets anew to say it. */
    if (!session->communicator || (status != DLC_OK && session->is_broken)) {
        return status;
    }
    if (status != DLC_OK) {
        memcpy(text, session->context->error, sizeof(text));
    }
    int64_t own = (int64_t)status + (rows + 1) * TOLD_ROWS;
    dlc_status met = lowest(session, own, TOLD_STATUS, "how all have fared", &from, &value);
    if (met != DLC_OK || from < 0) {
        return met == DLC_OK ? same_rows(session) : met;
    }
    met = text_tell(session, from, text, sizeof(text));
    if (met != DLC_OK) {
        return met;
    }
    bool same = status != DLC_OK && strcmp(text, session->context->error) == 0;
    return same ? context_fail(session->context, status, "%s", text)
                : context_fail(session->context, (dlc_status)value, "rank %d: %s", (int)from, text);
}

dlc_status session_agree(dlc_session *session, dlc_status status) {
    return agree(session, status, -1);
}

dlc_status session_agree_rows(dlc_session *session, dlc_status status, int64_t rows) {
    dlc_status agreed = agree(session, status, rows);
    for (int32_t r = 0; r < session->n_all && agreed == DLC_OK; r++) {
        session->brought[r] = session->told[r] / TOLD_ROWS - 1;
    }
    return agreed;
}

dlc_status session_tell(dlc_session *session, bool has, char *text, size_t n, bool *out_has) {
    int32_t from = has ? 0 : -1;
    int64_t value = 0;
    dlc_status status = DLC_OK;
    if (session->communicator) {
        status = lowest(session, has, -1, "who has something to say", &from, &value);
        if (status == DLC_OK && from >= 0) {
            status = text_tell(session, from, text, n);
        }
    }
    *out_has = from >= 0;
    return status;
}

dlc_status session_first(dlc_session *session, int64_t *value) {
    return number_make(session, COMM_BROADCAST, "a number of rank 0", value, 1);
}

dlc_status session_most(dlc_session *session, int64_t *values, int64_t n) {
    return number_make(session, COMM_ALL_REDUCE, "the most of all ranks", values, n);
}

/* What a run came to on a rank, as one number; 0: all is well. */
enum { TOLD_NOT_OK = 1 << 8, TOLD_NO_UPDATE = 1 << 9 };

dlc_status session_settle_agree(dlc_session *session, dlc_status status) {
    Rank *rank = session->ranks;
    char text[CONTEXT_ERROR_BYTES] = "";
    int32_t from = -1;
    int64_t value = 0, own = (int64_t)status;
    own |= status != DLC_OK || rank->last_ok ? 0 : TOLD_NOT_OK;
    own |= status != DLC_OK || rank->last_update_ok ? 0 : TOLD_NO_UPDATE;
    memcpy(text, session->context->error, sizeof(text));
    dlc_status met = lowest(session, own, -1, "what the run came to", &from, &value);
    if (met != DLC_OK || from < 0) {
        return met;
    }
    session->unsound = from;
    rank->last_ok = (value & TOLD_NOT_OK) == 0;
    rank->last_update_ok = (value & TOLD_NO_UPDATE) == 0;
    if ((value & TOLD_STATUS) == DLC_OK) {
        return DLC_OK;
    }
    met = text_tell(session, from, text, sizeof(text));
    if (met != DLC_OK) {
        return met;
    }
    context_fail(session->context, (dlc_status)(value & TOLD_STATUS), "%s", text);
    return (dlc_status)(value & TOLD_STATUS);
}

dlc_status session_abandon(dlc_session *session, dlc_status status) {
    if (session->communicator && !session->is_broken) {
        communicator_abandon(session->communicator, status);
        session->is_broken = true;
    }
    return status;
}

bool session_writes(const dlc_session *session) {
    return !session->communicator || session->communicator->rank == 0;
}
