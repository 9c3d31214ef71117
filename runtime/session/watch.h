/* What others see of a rank while it runs among them: its journal, what it is at, and how long it
 * waits for them. */
#ifndef DLC_RUNTIME_SESSION_WATCH_H
#define DLC_RUNTIME_SESSION_WATCH_H

#include "runtime/journal/journal.h"
#include "runtime/session/rank.h"

/* Makes the rank's journal; folder: see dlc_session_options.journal. The rank has its place. */
dlc_status watch_create(Rank *rank, const char *folder);
void watch_destroy(Rank *rank); /* accepts a rank without */
/* The ranks have met: `rank->comm` is new. Again: another session's rank has used it meanwhile. */
void watch_met(Rank *rank);
void watch_again(Rank *rank);
/* How long it waits from now on: for others to begin the entry with it – at leisure for ever, but
 * for training steps – and for what takes long between runs. */
void watch_awaits(Rank *rank, const EntryState *entry, bool at_leisure);
void watch_rests(Rank *rank);
/* Around a run of the entry on the layout in slots[0]. */
void watch_run_begin(Rank *rank, EntryState *entry);
void watch_run_end(Rank *rank, EntryState *entry, dlc_status status);

#endif
