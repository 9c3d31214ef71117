/* A training step of several ranks as dlc, dlrun train and dlrun inspect tell it: a row a rank,
 * what they exchange, and the sizes that published tables give. */
#ifndef DLC_TOOLS_RANKS_H
#define DLC_TOOLS_RANKS_H

#include "tools/exchanges.h"

/* The training step of a session of several ranks, for the dims that it has bound and a batch of so
 * many rows (0: the plan's, else 32); nothing of one device. `saves`: checkpoints are written. */
void ranks_print_session(dlc_session *session, int64_t batch, bool saves);
/* Nothing of a plan for one device. */
void ranks_print(const dlc_plan *plan, const char *entry, const ExchangeSizes *sizes);
/* Members "ranks", an array, and "parallel", an object, each with a comma before it; nothing of a
 * plan for one device. */
void ranks_print_json(const dlc_plan *plan, const char *entry, const ExchangeSizes *sizes);

#endif
