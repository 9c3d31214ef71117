/* What kernels and checks found wrong, and where in the program that is. */
#include "runtime/session/rank.h"

#include <inttypes.h>

dlc_status fault_report(Rank *rank, const KernelFault *fault) {
    rank->fault = *fault;
    const PlanTables *tables = rank->tables;
    if (fault->site == KERNEL_SITE_NOT_FINITE) {
        return rank_not_finite_update(rank, false);
    }
    if (fault->site < 1 || fault->site > tables->n_sites) {
        return context_fail(rank->context, DLC_ERROR_FAULT, "a check failed at an unknown place");
    }
    const PlanSite *site = &tables->sites[fault->site - 1];
    const char *place = plan_text(rank->file, site->place);
    const char *text = plan_text(rank->file, site->text);
    const char *colon = *place ? ": " : "";
    if (fault->bound == INT64_MIN) {
        return context_fail(rank->context, DLC_ERROR_FAULT, "%s%s%s; nothing was stored", place,
                            colon, text);
    }
    return context_fail(rank->context, DLC_ERROR_FAULT,
                        "%s%s%s: %" PRId64 " is not in 0..%" PRId64 "; nothing was stored", place,
                        colon, text, fault->value, fault->bound);
}

dlc_status fault_take(Rank *rank, KernelFault *out) {
    *out = (KernelFault){0};
    if (rank->faults == 0) {
        return DLC_OK;
    }
    rank->faults = 0;
    dlc_status status = rank->ops->finish(rank->queue, out);
    /* No fault of the walk's: the OK result tells it. What dlc schedules looks for faults before
     * the gate alone; a plan may do otherwise. */
    if (out->site == KERNEL_SITE_STOPPED) {
        *out = (KernelFault){0};
    }
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

dlc_status rank_faults(Rank *rank) {
    KernelFault fault;
    dlc_status status = fault_take(rank, &fault);
    return status != DLC_OK || fault.site == 0 ? status : fault_report(rank, &fault);
}
