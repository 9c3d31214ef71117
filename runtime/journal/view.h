/* A journal as it is read, and who is to blame where ranks wait for each other: what explain.c and
 * blame.c share. */
#ifndef DLC_RUNTIME_JOURNAL_VIEW_H
#define DLC_RUNTIME_JOURNAL_VIEW_H

#include "runtime/journal/journal.h"

typedef struct JournalView {
    JournalFile *file;
    const JournalEvent *last; /* the newest but its end; NULL: it has none */
    bool has_left;            /* its journal was ended, as a process that is killed does not */
    bool is_gone;             /* its process is not there any more, as far as this host knows */
    bool is_stopped;          /* its process is there, and does not run: by a signal */
    /* Collectives begun since the ranks have met, by their number mod JOURNAL_EVENTS. */
    const JournalEvent *calls[JOURNAL_EVENTS];
} JournalView;

/* Finds the events of a file that was found sound. */
void journal_view_fill(JournalView *view);
/* The event of that number; NULL: it is not kept, or not whole. */
const JournalEvent *journal_view_event(const JournalView *view, uint64_t number);
/* The collective of that number since the ranks have met; NULL: not kept, or not begun. */
const JournalEvent *journal_view_call(const JournalView *view, int64_t call);
/* Whether it waits in a collective. */
bool journal_view_waits(const JournalView *view);

/* Says which rank is to blame, and why, in a few lines; views: [n] by rank, n at least 1. Returns
 * the place among them of the one to be looked at, -1: nobody is. */
int32_t journal_blame(const JournalView *views, int32_t n, Str *out);

#endif
