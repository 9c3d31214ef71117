/* What becomes of a run that was not finite: its error, with the value that was first. For a line
 * of the program the run is done again, every result looked at. */
#include "ir/base/number.h"
#include "runtime/session/session.h"

#include <inttypes.h>
#include <stdio.h>

static void add_command(char *out, size_t n_out, const Rank *rank, const EntryState *entry,
                        int32_t number, const char *what) {
    if (number < 0) {
        return;
    }
    const PlanCommand *command = &rank->tables->commands[entry->record->first_command + number];
    const char *place = plan_text(rank->file, command->place);
    const char *label = plan_text(rank->file, command->text);
    const char *site =
        command->site < 0 ? "" : plan_text(rank->file, rank->tables->sites[command->site].text);
    size_t at = strlen(out);
    snprintf(out + at, n_out - at, "; the first %s comes from %s%s%s (%s)%s%s", what, place,
             *place && *label ? ", " : "", label,
             plan_text(rank->file, rank->tables->kernels[command->kernel].name),
             command->site < 0 ? "" : ", which computes ", site);
}

typedef struct Replay {
    dlc_session *session;
    const EntryState *entry;
    bool failed; /* on the first rank */
} Replay;

static void replay_one(void *user, int32_t r) {
    Replay *replay = user;
    Rank *rank = &replay->session->ranks[r];
    rank->replaying = true;
    rank->first_nan = -1;
    rank->first_inf = -1;
    dlc_status status =
        rank_execute(rank, &rank->entries[replay->entry - replay->session->ranks->entries]);
    rank->replaying = false;
    if (r == 0) {
        replay->failed = status != DLC_OK;
    }
}

/* The first line of the lowest rank that met one, as all ranks run it. */
static void find_in_commands(dlc_session *session, const EntryState *entry, char *out,
                             size_t n_out) {
    Replay replay = {.session = session, .entry = entry};
    bool found = false;
    team_run(session->team, replay_one, NULL, &replay);
    for (int32_t r = 0; r < session->n_ranks && !replay.failed && !found; r++) {
        const Rank *rank = &session->ranks[r];
        found = rank->first_nan >= 0 || rank->first_inf >= 0;
        add_command(out, n_out, rank, entry, rank->first_nan, "nan");
        add_command(out, n_out, rank, entry, rank->first_inf, "infinity");
    }
}

/* What was first, for the message: an input with field and row, a parameter or state, or a line of
 * the program. */
static dlc_status not_finite(dlc_session *session, EntryState *entry) {
    char where[1024] = "", what[128] = "state is";
    double loss = rank_loss(session->ranks, entry);
    if (entry->record->purpose == PLAN_PURPOSE_TRAIN) {
        snprintf(what, sizeof(what), "loss (%s), gradients or state are",
                 number_text(loss, 6).text);
    }
    bool found = false;
    dlc_status status = DLC_OK;
    for (int32_t r = 0; r < session->n_ranks && status == DLC_OK && !found; r++) {
        Rank *rank = &session->ranks[r];
        const EntryState *own = &rank->entries[entry - session->ranks->entries];
        status = rank_not_finite_before(rank, own, where, sizeof(where), &found);
    }
    if (session_tell(session, found, where, sizeof(where), &found) == DLC_OK && !found) {
        where[0] = '\0';
        find_in_commands(session, entry, where, sizeof(where));
        (void)session_tell(session, where[0] != '\0', where, sizeof(where), &found);
    }
    return context_fail(session->context, DLC_ERROR_NON_FINITE,
                        "step %" PRId64 " of '%s': %s not finite; nothing was stored%s",
                        session_counter(session, "step") + 1,
                        plan_text(session->file, entry->record->name), what, where);
}

dlc_status session_verdict(dlc_session *session, EntryState *entry) {
    const Rank *first = session->ranks;
    if (!first->last_ok) {
        return not_finite(session, entry);
    }
    if (first->last_update_ok) {
        return DLC_OK;
    }
    int32_t r = session->unsound;
    if (session->communicator) {
        bool mine = r == session->communicator->rank;
        return session_agree(session, mine ? rank_not_finite_update(session->ranks, true) : DLC_OK);
    }
    return team_told(session->team, r, rank_not_finite_update(&session->ranks[r], true));
}
