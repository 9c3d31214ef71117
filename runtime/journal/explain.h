/* Journals of a job's ranks, compared. */
#ifndef DLC_RUNTIME_JOURNAL_EXPLAIN_H
#define DLC_RUNTIME_JOURNAL_EXPLAIN_H

#include "runtime/journal/journal.h"

/* Reads the journals in the folder and appends what they say: a line a rank, with where each
 * stands, which rank is to blame and why, and its last events. Times are before the newest event of
 * all. Journals of ranks that may still run can be read too. `message` (JOURNAL_MESSAGE_BYTES):
 * DLC_ERROR_NOT_FOUND: there is no journal; DLC_ERROR_IO: the folder cannot be read;
 * DLC_ERROR_OUT_OF_MEMORY. What is no journal is named in the text. */
dlc_status journal_explain(const dlc_allocator *allocator, const char *folder, Str *out,
                           char *message);

#endif
