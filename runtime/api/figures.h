/* What calls that foretell an entry's needs share: what they are given, checked. Each sets the
 * context's error. */
#ifndef DLC_RUNTIME_API_FIGURES_H
#define DLC_RUNTIME_API_FIGURES_H

#include "runtime/plan_file/plan.h"
#include "runtime/session/place.h"

/* The dims of the plan as the caller binds them; others -1. dims: [PLAN_MAX_DIMS] */
dlc_status figures_dims(const dlc_plan *plan, const dlc_binding *bindings, size_t n_bindings,
                        int64_t *dims);
/* The entry that the name means (dlc.h). */
dlc_status figures_entry(const dlc_plan *plan, const char *name, const PlanEntry **out);
/* The first rank of so many; 0: of those that the mesh states, two along an axis of any size. */
dlc_status figures_place(const dlc_plan *plan, int64_t n_ranks, RankPlace *out);

#endif
