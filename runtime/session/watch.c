/* See watch.h. How long a rank waits for others follows from how long the entry's runs took so far:
 * a machine that is ten times as slow as it was is taken for one that hangs, but nothing is said
 * before half a minute. A run on sizes that were not met before may have more to do – code to be
 * made, memory touched first – and is given ten times that. */
#include "runtime/session/watch.h"

#include <inttypes.h>
#include <stdio.h>

static const double USUAL_SECONDS = 30, LONGEST_RUNS = 10, FIRST_TIMES = 10;

/* -- Beginning and end */

dlc_status watch_create(Rank *rank, const char *folder) {
    char message[JOURNAL_MESSAGE_BYTES];
    const JournalAbout about = {
        .rank = (int32_t)rank->place.number, .n_ranks = rank->n_ranks, .plan = rank->file->name};
    dlc_status status =
        journal_create(&rank->context->allocator, &about, folder, &rank->journal, message);
    return status == DLC_OK ? DLC_OK : context_fail(rank->context, status, "%s", message);
}

void watch_destroy(Rank *rank) {
    journal_destroy(rank->journal);
    rank->journal = NULL;
}

/* -- What it is at */

static const PlanEntry *entry_named(const Rank *rank, const char *name) {
    for (int64_t i = 0; i < rank->tables->n_entries; i++) {
        if (strcmp(plan_text(rank->file, rank->tables->entries[i].name), name) == 0) {
            return &rank->tables->entries[i];
        }
    }
    return NULL;
}

/* A CommAt: "step 12 of 'digits.train', command 17 of 61 (digits.dl:9:5)". */
static void rank_at(void *user, char *out, size_t n_out) {
    const Rank *rank = user;
    JournalNow now = journal_now(rank->journal);
    char step[48] = "";
    if (now.step > 0) {
        snprintf(step, sizeof(step), "step %" PRId64 " of ", now.step);
    }
    const PlanEntry *entry = now.command >= 0 ? entry_named(rank, now.run) : NULL;
    if (!entry || now.command >= entry->n_commands) {
        snprintf(out, n_out, "%s%s%s%.60s%s", now.does, now.run[0] ? ", " : "", step,
                 now.run[0] ? now.run : "", now.run[0] ? " behind it" : "");
        return;
    }
    const PlanCommand *command = &rank->tables->commands[entry->first_command + now.command];
    const char *place = plan_text(rank->file, command->place);
    snprintf(out, n_out, "%s'%.60s', command %d of %d%s%.80s%s", step, now.run, (int)now.command,
             (int)now.n_commands, place[0] ? " (" : "", place, place[0] ? ")" : "");
}

/* -- How long it waits */

/* A rank whose device could not be opened has no orders; it meets the others to say so. */
static double seconds_least(const Rank *rank) {
    double said = rank->orders ? rank->orders->stall_seconds : 0;
    return said > 0 ? said : USUAL_SECONDS;
}

static double run_patience(const Rank *rank, const EntryState *entry) {
    double least = seconds_least(rank), measured = LONGEST_RUNS * entry->longest;
    double seconds = measured > least ? measured : least;
    return entry->slots[0].was_timed ? seconds : FIRST_TIMES * seconds;
}

static void patience_set(Rank *rank, double seconds) {
    if (rank->comm) {
        comm_patience(rank->comm, seconds);
    }
}

void watch_again(Rank *rank) {
    comm_at_by(rank->comm, rank_at, rank);
    watch_rests(rank);
}

void watch_met(Rank *rank) {
    watch_again(rank);
    journal_note(rank->journal, JOURNAL_GATHERS, NULL);
}

void watch_rests(Rank *rank) {
    patience_set(rank, FIRST_TIMES * seconds_least(rank));
}

void watch_awaits(Rank *rank, const EntryState *entry, bool at_leisure) {
    bool for_ever = at_leisure && entry->record->purpose != PLAN_PURPOSE_TRAIN &&
                    rank->orders->stall_seconds == 0;
    patience_set(rank, for_ever ? 0 : run_patience(rank, entry));
}

/* -- Runs */

/* Of the dims that are the same on all ranks. */
static uint64_t binding_hash(const Rank *rank, const int64_t *dims) {
    int64_t free_dims[PLAN_MAX_DIMS];
    size_t n = 0;
    for (int32_t d = 0; d < rank->file->n_dims; d++) {
        if (rank->file->dims[d].source == DIM_FREE) {
            free_dims[n++] = dims[d];
        }
    }
    return hash_bytes(free_dims, n * sizeof(*free_dims), 0);
}

/* Training entries count it up when they have run. */
static int64_t step_of(const Rank *rank, const EntryState *entry) {
    bool trains = entry->record->purpose == PLAN_PURPOSE_TRAIN;
    return trains ? orders_counter(rank->orders, "step") + 1 : 0;
}

void watch_run_begin(Rank *rank, EntryState *entry) {
    if (!rank->journal && !rank->is_of_many) {
        return;
    }
    rank->step = step_of(rank, entry);
    rank->binding = binding_hash(rank, entry->slots[0].layout->vars);
    if (!rank->journal) {
        return;
    }
    entry->began = clock_seconds();
    patience_set(rank, run_patience(rank, entry));
    journal_run(rank->journal, plan_text(rank->file, entry->record->name), rank->step,
                rank->binding, entry->record->n_commands);
}

void watch_run_end(Rank *rank, EntryState *entry, dlc_status status) {
    if (!rank->journal) {
        return;
    }
    if (status == DLC_OK) {
        double seconds = clock_seconds() - entry->began;
        bool is_longer = entry->slots[0].was_timed && seconds > entry->longest;
        entry->longest = is_longer ? seconds : entry->longest;
        entry->slots[0].was_timed = true;
        journal_note(rank->journal, JOURNAL_RAN, NULL);
    } else {
        journal_note(rank->journal, rank->is_stopped ? JOURNAL_STOPS : JOURNAL_FAILS,
                     rank->context->error);
    }
    patience_set(rank, run_patience(rank, entry));
}
