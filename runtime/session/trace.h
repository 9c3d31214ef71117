/* What host and device did when, on each rank, as a file that chrome://tracing and Perfetto read: a
 * process a rank, in it a track of the host and one of each queue; exchanges by their names, with
 * bytes and ranks. Steps are not recorded while one is written, and one queue does all in the
 * order of commands, so that each command has times of its own. */
#ifndef DLC_RUNTIME_SESSION_TRACE_H
#define DLC_RUNTIME_SESSION_TRACE_H

#include "runtime/session/rank.h"

/* Begins Rank.trace of each, for one file; devices are open, and ranks have their places. of_many:
 * there are others than these, or more than one of these. An error, of the first rank's context,
 * leaves what was begun to trace_close. */
dlc_status trace_open(Rank *ranks, int32_t n_ranks, bool of_many, const char *path);
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
