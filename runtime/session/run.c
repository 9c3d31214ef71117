/* A run of an entry: the layouts for its dims, and the walk on every rank. */
#include "runtime/session/session.h"

static EntryState *entry_of(const dlc_session *session, Rank *rank, const EntryState *entry) {
    return &rank->entries[entry - session->ranks->entries];
}

/* Each argument has the memory that the entry's commands use of it. */
static dlc_status arguments_check(Rank *rank, const EntryState *entry) {
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &rank->tables->args[entry->record->first_arg + i];
        int64_t wanted = entry->slots[0].layout->buffer_bytes[arg->buffer];
        int64_t have = arg->variable >= 0 ? rank->variables[arg->variable].bytes : wanted;
        if (arg->role == PLAN_ARG_INPUT && entry->parts[i].is_set) {
            have = entry->parts[i].capacity;
        } else if (arg->role == PLAN_ARG_SCALAR) {
            have = SCALAR_STRIDE;
        }
        if (wanted > have) {
            return context_fail(rank->context, DLC_ERROR_FORMAT,
                                "%s: the memory of '%s' is malformed", rank->file->name,
                                plan_text(rank->file, arg->name));
        }
    }
    return DLC_OK;
}

/* The layout of a rank, whose own dims follow from those of the session. */
static dlc_status rank_lay_out(dlc_session *session, int32_t r, const EntryState *entry,
                               const int64_t *dims) {
    Rank *rank = &session->ranks[r];
    EntryState *own = entry_of(session, rank, entry);
    int64_t mine[PLAN_MAX_DIMS];
    memcpy(mine, dims, (size_t)session->file->n_dims * sizeof(*mine));
    dlc_status status = place_dims(rank->context, session->file, &rank->place, mine);
    if (status == DLC_OK) {
        status = rank_layout(rank, own, mine);
    }
    return status == DLC_OK ? rank_arena(rank, own->slots[0].layout) : status;
}

dlc_status session_layout(dlc_session *session, EntryState *entry, bool defaults) {
    int64_t dims[PLAN_MAX_DIMS];
    dlc_status status = session_dims(session, entry, defaults, dims);
    if (status == DLC_OK && defaults) {
        /* Defaults of dims in weights hold for good. */
        for (int32_t d = 0; status == DLC_OK && d < session->file->n_dims; d++) {
            if (session->dim_is_shared[d]) {
                status = session_bind_number(session, d, dims[d]);
            }
        }
    }
    if (status == DLC_OK) {
        status = session_dims_complete(session, entry, dims);
    }
    if (status == DLC_OK) {
        status = session_allocate(session, entry);
    }
    for (int32_t r = 0; status == DLC_OK && r < session->n_ranks; r++) {
        status = team_told(session->team, r, rank_lay_out(session, r, entry, dims));
    }
    return status;
}

/* The planned length is known from the train block, from the data, or from the caller. */
static bool scalar_missing(dlc_session *session, const PlanArg *arg) {
    const char *name = plan_text(session->file, arg->name);
    bool is_length = strcmp(name, "steps") == 0 || strcmp(name, "steps_per_epoch") == 0;
    return arg->role == PLAN_ARG_SCALAR && is_length && !session_scalar(session, name);
}

/* A rank's parts of inputs given whole, and whether all arguments fit. */
static dlc_status arguments_take(dlc_session *session, int32_t r, const EntryState *entry) {
    Rank *rank = &session->ranks[r];
    const EntryState *own = entry_of(session, rank, entry);
    dlc_status status = session->n_all > 1 ? rank_parts_take(rank, own, entry) : DLC_OK;
    return status == DLC_OK ? arguments_check(rank, own) : status;
}

typedef struct Begin {
    dlc_session *session;
    const EntryState *entry;
    dlc_status *statuses; /* [n_ranks] */
} Begin;

static void begin_one(void *user, int32_t r) {
    Begin *begin = user;
    Rank *rank = &begin->session->ranks[r];
    begin->statuses[r] = rank_run_together(rank, entry_of(begin->session, rank, begin->entry));
}

/* The first rank has failed, as one may that did not come, and others' threads have not come back:
 * the call waits for them, and the caller should know for what. */
static void begin_late(void *user) {
    const Begin *begin = user;
    if (begin->statuses[0] != DLC_OK) {
        dlc_context *context = begin->session->context;
        char error[CONTEXT_ERROR_BYTES];
        memcpy(error, context->error, sizeof(error));
        context_log(context, DLC_LOG_WARNING,
                    "%.1600s; this call returns when the threads of all ranks have come back",
                    error);
    }
}

/* Where some ranks have not begun the run, the others give theirs up. */
static void begun_drop(dlc_session *session) {
    int32_t least = INT32_MAX;
    for (int32_t r = 0; r < session->n_ranks; r++) {
        int32_t begun = rank_runs_begun(&session->ranks[r]);
        least = begun < least ? begun : least;
    }
    for (int32_t r = 0; r < session->n_ranks; r++) {
        while (rank_runs_begun(&session->ranks[r]) > least) {
            (void)rank_run_settle(&session->ranks[r]);
        }
    }
}

/* All ranks at once. The error is that of the lowest that failed by itself. */
static dlc_status ranks_begin(dlc_session *session, const EntryState *entry) {
    dlc_status statuses[TEAM_MOST];
    Begin begin = {session, entry, statuses};
    int32_t failed = -1;
    dlc_status met = session_meet(session);
    if (met != DLC_OK) {
        return met;
    }
    team_run(session->team, begin_one, begin_late, &begin);
    for (int32_t r = 0; r < session->n_ranks; r++) {
        session->is_broken |= statuses[r] != DLC_OK && !session->ranks[r].has_agreed;
        bool by_itself =
            failed < 0 || (session->ranks[failed].is_stopped && !session->ranks[r].is_stopped);
        failed = statuses[r] != DLC_OK && by_itself ? r : failed;
    }
    if (failed < 0) {
        return DLC_OK;
    }
    begun_drop(session);
    session->ranks->fault = session->ranks[failed].fault;
    return team_told(session->team, failed, statuses[failed]);
}

/* What the caller must have given. */
static dlc_status run_check(dlc_session *session, const EntryState *entry) {
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        if (scalar_missing(session, arg)) {
            const char *name = plan_text(session->file, arg->name);
            return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                                "'%s' reads `%s`, which is not known before data are: say it with "
                                "dlc_set_counter(session, \"%s\", N)%s, take the weights from a "
                                "checkpoint's folder, "
                                "or train by dlc_train",
                                plan_text(session->file, entry->record->name), name, name,
                                strcmp(name, "steps") == 0 ? " (dlrun: --steps N)" : "");
        }
        if (arg->role == PLAN_ARG_INPUT && !entry->inputs[i].is_set) {
            return context_fail(
                session->context, DLC_ERROR_NOT_FOUND, "input '%s' of '%s' is not set",
                plan_text(session->file, arg->name), plan_text(session->file, entry->record->name));
        }
    }
    return DLC_OK;
}

/* What must be there before the ranks begin. */
static dlc_status run_prepare(dlc_session *session, EntryState *entry) {
    dlc_status status = session_layout(session, entry, false);
    if (status == DLC_OK && session->all_rows >= 0) {
        status = session_rows_deal(session, entry);
    }
    for (int32_t r = 0; r < session->n_ranks && status == DLC_OK; r++) {
        status = team_told(session->team, r, arguments_take(session, r, entry));
    }
    return status;
}

/* All sessions prepare the run, or none. How large the batch is they learn of each other where each
 * brings rows of its own, so that what goes wrong after that ends the others' waits. */
static dlc_status run_prepare_together(dlc_session *session, EntryState *entry) {
    dlc_status status = session_call_begin(session);
    status = status == DLC_OK ? run_check(session, entry) : status;
    if (!session_brings_any(session, entry)) {
        status = status == DLC_OK ? run_prepare(session, entry) : status;
        session_awaits(session, entry);
        return session_agree(session, status);
    }
    session_awaits(session, entry);
    status = session_rows_meet(session, entry, status);
    if (status == DLC_OK) {
        status = run_prepare(session, entry);
        status = status == DLC_OK ? DLC_OK : session_abandon(session, status);
    }
    session->all_rows = -1;
    return status;
}

dlc_status session_run_begin(dlc_session *session, EntryState *entry) {
    dlc_status status = run_prepare_together(session, entry);
    if (status == DLC_OK) {
        status = session_averages_gather(session, entry);
    }
    if (status == DLC_OK) {
        status = session_entry_agree(session, entry);
    }
    session->n_changes += entry->stores;
    return status == DLC_OK ? ranks_begin(session, entry) : status;
}

dlc_status session_run_settle(dlc_session *session) {
    Rank *first = session->ranks;
    dlc_status status = DLC_OK;
    session->unsound = 0;
    for (int32_t r = 0; r < session->n_ranks; r++) {
        Rank *rank = &session->ranks[r];
        dlc_status own = rank_run_settle(rank);
        bool is_first = status == DLC_OK && first->last_ok && first->last_update_ok;
        if (status == DLC_OK && own != DLC_OK) {
            status = team_told(session->team, r, own);
            first->fault = rank->fault;
        }
        if (is_first && !(rank->last_ok && rank->last_update_ok)) {
            session->unsound = r;
            first->last_ok = rank->last_ok;
            first->last_update_ok = rank->last_update_ok;
        }
    }
    if (session->communicator) {
        status = session_settle_agree(session, status);
    }
    first->last = status == DLC_OK ? first->last : NULL;
    return status;
}

int32_t session_runs_begun(const dlc_session *session) {
    return rank_runs_begun(session->ranks);
}

dlc_status session_runs_settle(dlc_session *session, int32_t most, SessionSettle *settle,
                               void *user) {
    dlc_status status = DLC_OK;
    while (status == DLC_OK && session_runs_begun(session) > most) {
        status = settle(user);
    }
    return status;
}

dlc_status session_begin_fail(dlc_session *session, dlc_status status, SessionSettle *settle,
                              void *user) {
    char error[CONTEXT_ERROR_BYTES];
    memcpy(error, session->context->error, sizeof(error));
    dlc_status earlier = session_runs_settle(session, 0, settle, user);
    return earlier == DLC_OK ? context_fail(session->context, status, "%s", error) : earlier;
}

bool session_may_run_ahead(const dlc_session *session, const EntryState *entry) {
    return session->n_all == 1 && rank_may_run_ahead(session->ranks, entry);
}

dlc_status session_run(dlc_session *session, EntryState *entry) {
    dlc_status status = session_run_begin(session, entry);
    return status == DLC_OK ? session_run_settle(session) : status;
}

dlc_status session_finish(dlc_session *session) {
    dlc_status status = DLC_OK;
    for (int32_t r = 0; status == DLC_OK && r < session->n_ranks; r++) {
        status = team_told(session->team, r, rank_finish(&session->ranks[r]));
    }
    return status;
}
