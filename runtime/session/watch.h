/* What others see of a rank while it runs among them: its journal, what it is at, and how long it
 * waits for them. */
#ifndef DLC_RUNTIME_SESSION_WATCH_H
#define DLC_RUNTIME_SESSION_WATCH_H

#include "runtime/journal/journal.h"
#include "runtime/session/rank.h"

/* Makes the rank's journal; folder: see dlc_session_options.journal. The rank has its place. */
dlc_status watch_create(Rank *rank, const char *folder);
void watch_destroy(Rank *rank); /* accepts a rank without */
/* The ranks have met: `rank->comm` is new. */
void watch_met(Rank *rank);
/* Around a run of the entry on the layout in slots[0]. */
void watch_run_begin(Rank *rank, EntryState *entry);
void watch_run_end(Rank *rank, EntryState *entry, dlc_status status);

#endif
