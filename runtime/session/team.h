/* What holds the ranks of a session together while they run: a thread each, contexts for their
 * errors, and the allocator's hooks, which only one of them is in at a time. */
#ifndef DLC_RUNTIME_SESSION_TEAM_H
#define DLC_RUNTIME_SESSION_TEAM_H

#include "runtime/context.h"

typedef struct Team Team; /* NULL: one rank, which is the caller's */

enum { TEAM_MOST = 256 }; /* ranks of one process */

/* For `n` ranks of a session made from `context`; of one *out stays NULL. */
dlc_status team_create(dlc_context *context, int32_t n, Team **out);
void team_destroy(Team *team); /* NULL will do */
/* The context of rank `number`: the first has the session's own, which is `context`, the others
 * have no log, as they would say the same. */
dlc_context *team_context(Team *team, dlc_context *context, int32_t number);
/* Between them the session's context has the hooks that ranks share: where devices are opened. */
void team_share_begin(Team *team);
void team_share_end(Team *team);
/* Does work(user, number) for each rank at once, the first on the calling thread; waits for all.
 * late: as crew_run has it. */
void team_run(Team *team, void (*work)(void *user, int32_t number), void (*late)(void *user),
              void *user);
/* The status of what rank `number` did, its error text as the session's. */
dlc_status team_told(Team *team, int32_t number, dlc_status status);

#endif
