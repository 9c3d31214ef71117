/* What becomes of a run that was not finite: its error, with the value that was first. For a line
 * of the program the run is done again, every result looked at. */
#include "ir/base/number.h"
#include "runtime/session/rank.h"

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

static void find_in_commands(Rank *rank, EntryState *entry, char *out, size_t n_out) {
    rank->replaying = true;
    rank->first_nan = -1;
    rank->first_inf = -1;
    dlc_status status = rank_execute(rank, entry);
    rank->replaying = false;
    if (status == DLC_OK) {
        add_command(out, n_out, rank, entry, rank->first_nan, "nan");
        add_command(out, n_out, rank, entry, rank->first_inf, "infinity");
    }
}

/* What was first, for the message: an input with field and row, a parameter or state, or a line of
 * the program. */
static dlc_status not_finite(Rank *rank, EntryState *entry) {
    char where[1024] = "", what[128] = "state is";
    double loss = rank_loss(rank, entry);
    if (entry->record->purpose == PLAN_PURPOSE_TRAIN) {
        snprintf(what, sizeof(what), "loss (%s), gradients or state are",
                 number_text(loss, 6).text);
    }
    bool found;
    dlc_status status = rank_not_finite_before(rank, entry, where, sizeof(where), &found);
    if (status == DLC_OK && !found) {
        find_in_commands(rank, entry, where, sizeof(where));
    }
    return context_fail(rank->context, DLC_ERROR_NON_FINITE,
                        "step %" PRId64 " of '%s': %s not finite; nothing was stored%s",
                        orders_counter(rank->orders, "step") + 1,
                        plan_text(rank->file, entry->record->name), what, where);
}

dlc_status rank_verdict(Rank *rank, EntryState *entry) {
    return !rank->last_ok          ? not_finite(rank, entry)
           : !rank->last_update_ok ? rank_not_finite_update(rank, true)
                                   : DLC_OK;
}
