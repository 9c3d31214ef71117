/* What host and device did when, on each rank, as a file that chrome://tracing and Perfetto read: a
 * process a rank, in it a track of the host and one of each queue; exchanges by their names, with
 * bytes and ranks. Steps are not recorded while one is written, and one queue does all in the
 * order of commands, so that each command has times of its own. */
#ifndef DLC_RUNTIME_SESSION_TRACE_H
#define DLC_RUNTIME_SESSION_TRACE_H

#include "runtime/session/rank.h"

#include <stdio.h>

/* Begins Rank.trace of each, for one file; devices are open, and ranks have their places. of_many:
 * there are others than these, or more than one of these. is_part: it goes to `path` only if nobody
 * takes it before it is closed (trace_sent). An error, of the first rank's context, leaves what was
 * begun to trace_close. */
dlc_status trace_open(Rank *ranks, int32_t n_ranks, bool of_many, bool is_part, const char *path);
/* Of a rank with a trace: what was written so far ("[", then an event a line), and clock_seconds
 * where its times begin. */
FILE *trace_stream(const Rank *rank);
double trace_origin(const Rank *rank);
/* The part is elsewhere now. */
void trace_sent(Rank *rank);
/* Writes that rank `other` has no part in the file. */
void trace_missing(Rank *rank, int32_t other);
/* The last rank's completes the file; DLC_ERROR_IO when some of it could not be written. */
dlc_status trace_close(Rank *rank);
/* The rest does nothing in a rank without a trace. A span of the host, from `start` (of
 * clock_seconds) to now. */
void trace_host(Rank *rank, const char *what, double start);
/* Around a run's commands … */
dlc_status trace_run_begin(Rank *rank);
dlc_status trace_run_end(Rank *rank, const EntryState *entry);
/* … and around each of them, or `count` that are launched as one. */
dlc_status trace_command_begin(Rank *rank);
dlc_status trace_command_end(Rank *rank, int32_t command, int32_t count);
/* An exchange of a host device that was started at `start` (clock_seconds) and has now been waited
 * for. */
dlc_status trace_exchange(Rank *rank, int32_t command, double start);

#endif
