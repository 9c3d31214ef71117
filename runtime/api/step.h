/* Training steps, for dlc_train_step, which waits for each, and dlc_train, which begins some ahead.
 */
#ifndef DLC_RUNTIME_API_STEP_H
#define DLC_RUNTIME_API_STEP_H

#include "runtime/session/session.h"

/* The number of the step that comes next, by the session's counter. */
dlc_status step_next(dlc_session *session, int64_t *out);
/* What the run that was settled last says as step `step`; its metrics lie in
 * session->step_metrics. */
dlc_status step_tell(dlc_session *session, EntryState *entry, int64_t step, double seconds,
                     dlc_step_info *out);

#endif
