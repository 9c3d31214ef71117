/* What calls that foretell an entry's needs share: what they are given, checked. Each sets the
 * context's error. */
#ifndef DLC_RUNTIME_API_FIGURES_H
#define DLC_RUNTIME_API_FIGURES_H

#include "runtime/plan_file/plan.h"
#include "runtime/session/layout.h"

/* The entry that the name means, the first of so many ranks (0: of those that the mesh states, two
 * along an axis of any size), and the plan's dims as the caller binds them, others -1. dims:
 * [PLAN_MAX_DIMS] */
dlc_status figures_begin(const dlc_plan *plan, const char *name, int64_t n_ranks,
                         const dlc_binding *bindings, size_t n_bindings, const PlanEntry **entry,
                         RankPlace *place, int64_t *dims);
/* The dims that the rank at `place` has of those given, the others by default; and the entry's
 * layout for them, for layout_destroy. */
dlc_status figures_rank_dims(const dlc_plan *plan, const RankPlace *place, const int64_t *given,
                             int64_t *out);
dlc_status figures_layout(const dlc_plan *plan, const PlanEntry *entry, const RankPlace *place,
                          const int64_t *given, Layout **out);

#endif
