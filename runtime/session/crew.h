/* The threads of a session's ranks. They sleep between runs; while a run goes on each rank has its
 * own, and the first is the calling thread's. */
#ifndef DLC_RUNTIME_SESSION_CREW_H
#define DLC_RUNTIME_SESSION_CREW_H

#include "runtime/context.h"

typedef struct Crew Crew; /* NULL: one, the calling thread */

/* For `n` at a time; of 1 *out stays NULL. DLC_ERROR_LIMIT: the system gives no more threads. */
dlc_status crew_create(dlc_context *context, int32_t n, Crew **out);
/* NULL will do. */
void crew_destroy(Crew *crew);
/* Does work(user, i) for each i below n, all at once, 0 on the calling thread, and waits for all.
 * One call at a time. Whatever one writes before it returns, the caller sees. late(user), NULL:
 * nothing, is called on the calling thread when it has waited a second for the others. */
void crew_run(Crew *crew, void (*work)(void *user, int32_t number), void (*late)(void *user),
              void *user);

#endif
