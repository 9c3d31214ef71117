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
        if (arg->role == PLAN_ARG_INPUT && entry->inputs[i].is_set) {
            have = entry->inputs[i].capacity;
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
        Rank *rank = &session->ranks[r];
        EntryState *own = entry_of(session, rank, entry);
        status = rank_layout(rank, own, dims);
        if (status == DLC_OK) {
            status = arguments_check(rank, own);
        }
        if (status == DLC_OK) {
            status = rank_arena(rank, own->slots[0].layout);
        }
    }
    return status;
}

/* The planned length is known from the train block, from the data, or from the caller. */
static bool scalar_missing(dlc_session *session, const PlanArg *arg) {
    const char *name = plan_text(session->file, arg->name);
    bool is_length = strcmp(name, "steps") == 0 || strcmp(name, "steps_per_epoch") == 0;
    return arg->role == PLAN_ARG_SCALAR && is_length && !session_scalar(session, name);
}

dlc_status session_run_begin(dlc_session *session, EntryState *entry) {
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
    dlc_status status = session_layout(session, entry, false);
    for (int32_t r = 0; status == DLC_OK && r < session->n_ranks; r++) {
        Rank *rank = &session->ranks[r];
        status = rank_run_begin(rank, entry_of(session, rank, entry));
        for (int32_t other = 0; status != DLC_OK && other < r; other++) {
            while (rank_runs_begun(&session->ranks[other]) > rank_runs_begun(rank)) {
                (void)rank_run_settle(&session->ranks[other]);
            }
        }
    }
    return status;
}

dlc_status session_run_settle(dlc_session *session) {
    dlc_status status = DLC_OK;
    for (int32_t r = 0; r < session->n_ranks; r++) {
        dlc_status own = rank_run_settle(&session->ranks[r]);
        status = status == DLC_OK ? own : status;
    }
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
    return session->n_ranks == 1 && rank_may_run_ahead(session->ranks, entry);
}

dlc_status session_run(dlc_session *session, EntryState *entry) {
    dlc_status status = session_run_begin(session, entry);
    return status == DLC_OK ? session_run_settle(session) : status;
}

dlc_status session_verdict(dlc_session *session, EntryState *entry) {
    dlc_status status = DLC_OK;
    for (int32_t r = 0; status == DLC_OK && r < session->n_ranks; r++) {
        Rank *rank = &session->ranks[r];
        status = rank_verdict(rank, entry_of(session, rank, entry));
    }
    return status;
}

dlc_status session_finish(dlc_session *session) {
    dlc_status status = DLC_OK;
    for (int32_t r = 0; status == DLC_OK && r < session->n_ranks; r++) {
        status = rank_finish(&session->ranks[r]);
    }
    return status;
}
