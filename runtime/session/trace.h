/* A rank's trace: what host and device did when, as a file that chrome://tracing and Perfetto
 * read. Steps are not recorded while one is written, so that each command has times of its own. */
#ifndef DLC_RUNTIME_SESSION_TRACE_H
#define DLC_RUNTIME_SESSION_TRACE_H

#include "runtime/session/rank.h"

/* Begins rank->trace; the device is open. */
dlc_status trace_open(Rank *rank, const char *path);
/* Completes the file; DLC_ERROR_IO when some of it could not be written. */
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

#endif
