/* What ranks must have in common beyond a run: that they begin an entry with the same program,
 * sizes and counters, and that their copies of a variable are the same. Ranks of one session have
 * the first by construction; it is compared among sessions that share a communicator. */
#include "runtime/journal/journal.h"
#include "runtime/session/agree.h"
#include "runtime/session/session.h"

#include "ir/base/number.h"

#include <inttypes.h>
#include <stdio.h>

/* -- Facts */

dlc_status session_compare(dlc_session *session, const AgreeTable *table) {
    char message[COMM_MESSAGE_BYTES];
    if (!session->communicator) {
        return DLC_OK;
    }
    dlc_status status = session_meet(session);
    if (status != DLC_OK) {
        return status;
    }
    status = agree_compare(session->ranks->comm, &session->context->allocator, table, message);
    session->is_broken |= status != DLC_OK && status != DLC_ERROR_MISMATCH;
    if (status != DLC_OK) {
        journal_note(session->ranks->journal, JOURNAL_STOPS, message);
    }
    return status == DLC_OK ? DLC_OK : context_fail(session->context, status, "%s", message);
}

/* The collectives of an entry in order: what all ranks must have in the same order, whatever code
 * each machine has for the rest. */
static uint64_t schedule_hash(const dlc_session *session, const PlanEntry *entry) {
    uint64_t hash = 0;
    for (int32_t i = 0; i < entry->n_commands; i++) {
        const PlanCommand *command = &session->tables->commands[entry->first_command + i];
        if (command->kind != PLAN_COLLECTIVE) {
            continue;
        }
        const PlanCollective *collective = &session->tables->collectives[command->collective];
        const int32_t words[] = {collective->kind, collective->combine, (int32_t)collective->group,
                                 collective->by,   command->n_refs,     command->depth};
        const char *place = plan_text(session->file, command->place);
        hash = hash_bytes(words, sizeof(words), hash_bytes(place, strlen(place), hash));
    }
    return hash;
}

static void dims_add(const dlc_session *session, const int64_t *dims, AgreeTable *table) {
    for (int32_t d = 0; d < session->file->n_dims; d++) {
        char subject[AGREE_SUBJECT_BYTES];
        if (session->file->dims[d].source == DIM_FREE) {
            snprintf(subject, sizeof(subject), "dim '%.48s'",
                     plan_text(session->file, session->file->dims[d].name));
            agree_add(table, subject, "%" PRId64, dims[d]);
        }
    }
}

static void scalars_add(const dlc_session *session, AgreeTable *table) {
    for (int32_t i = 0; i < session->orders.n_scalars; i++) {
        const Scalar *scalar = &session->orders.scalars[i];
        char subject[AGREE_SUBJECT_BYTES];
        snprintf(subject, sizeof(subject), "'%.56s'", scalar->name);
        if (scalar->is_integer) {
            agree_add(table, subject, "%" PRId64, scalar->integer);
        } else {
            agree_add(table, subject, "%s", number_shortest(scalar->real).text);
        }
    }
}

dlc_status session_entry_agree(dlc_session *session, EntryState *entry) {
    if (entry->has_agreed || !session->communicator) {
        return DLC_OK;
    }
    const PlanFile *file = session->file;
    const dlc_allocator *allocator = &session->context->allocator;
    AgreeTable *table = memory_new(allocator, 1, sizeof(*table));
    if (!table) {
        return session_abandon(session, context_out_of_memory(session->context));
    }
    agree_add(table, "the entry that they run", "%s", plan_text(file, entry->record->name));
    agree_add(table, "the library's version", "%s", dlc_version_text());
    agree_add_hash(table, "the plan's program", hash_bytes(file->ir, (size_t)file->n_ir, 0));
    agree_add_hash(table, "the plan's collectives", schedule_hash(session, entry->record));
    dims_add(session, entry->slots[0].layout->vars, table);
    scalars_add(session, table);
    agree_add(table, "which weights they read", "%s",
              session->orders.raw_weights ? "parameters" : "averages, where there are any");
    dlc_status status = session_compare(session, table);
    memory_free(allocator, table);
    if (status == DLC_OK && entry->record->purpose != PLAN_PURPOSE_INIT) {
        status = session_replicas_check(session);
    }
    entry->has_agreed = status == DLC_OK;
    return status;
}

/* -- Replicas */

typedef struct Check {
    dlc_session *session;
    dlc_status *statuses; /* [n_ranks] */
} Check;

static void check_one(void *user, int32_t r) {
    Check *check = user;
    Rank *rank = &check->session->ranks[r];
    rank->is_stopped = rank->has_agreed = false;
    check->statuses[r] = rank_replicas_check(rank);
    if (check->statuses[r] != DLC_OK && !rank->is_stopped && !rank->has_agreed) {
        comm_abort(rank->comm, check->statuses[r], rank->context->error);
    }
}

dlc_status session_replicas_check(dlc_session *session) {
    dlc_status statuses[TEAM_MOST];
    if (session->ranks->n_ranks == 1) {
        return DLC_OK;
    }
    dlc_status status = session_meet(session);
    if (status != DLC_OK) {
        return status;
    }
    team_run(session->team, check_one, NULL, &(Check){session, statuses});
    for (int32_t r = 0; r < session->n_ranks; r++) {
        session->is_broken |= statuses[r] != DLC_OK && !session->ranks[r].has_agreed;
        status = status == DLC_OK ? team_told(session->team, r, statuses[r]) : status;
    }
    return status;
}

dlc_status session_replicas_due(dlc_session *session, int64_t step) {
    enum { USUAL_STEPS = 100 };
    int64_t every = session->check_replicas;
    every = every == 0 ? USUAL_STEPS : every;
    return every > 0 && step % every == 0 ? session_replicas_check(session) : DLC_OK;
}

dlc_status session_replicas_save(dlc_session *session) {
    return session->check_replicas >= 0 ? session_replicas_check(session) : DLC_OK;
}
