/* A session's trace: what host and device did when, as a file that chrome://tracing and Perfetto
 * read. Steps are not recorded while one is written, so that each command has times of its own. */
#ifndef DLC_RUNTIME_SESSION_TRACE_H
#define DLC_RUNTIME_SESSION_TRACE_H

#include "runtime/session/session.h"

/* Begins session->trace; the device is open. */
dlc_status trace_open(dlc_session *session, const char *path);
/* Completes the file; DLC_ERROR_IO when some of it could not be written. */
dlc_status trace_close(dlc_session *session);
/* The rest does nothing in a session without a trace. A span of the host, from `start` (of
 * clock_seconds) to now. */
void trace_host(dlc_session *session, const char *what, double start);
/* Around a run's commands … */
dlc_status trace_run_begin(dlc_session *session);
dlc_status trace_run_end(dlc_session *session, const EntryState *entry);
/* … and around each of them, or `count` that are launched as one. */
dlc_status trace_command_begin(dlc_session *session);
dlc_status trace_command_end(dlc_session *session, int32_t command, int32_t count);

#endif
