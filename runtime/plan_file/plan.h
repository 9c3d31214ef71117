/* A plan as an object: read and checked (read.h), held by the caller and by the sessions that run
 * it. */
#ifndef DLC_RUNTIME_PLAN_FILE_PLAN_H
#define DLC_RUNTIME_PLAN_FILE_PLAN_H

#include "runtime/device.h"
#include "runtime/plan_file/read.h"

struct dlc_plan {
    ContextChild child;
    dlc_context *context;
    PlanFile file;
    int64_t references;
    char *parameter_text;
    int32_t target; /* the image that questions are answered from, and this processor can run; -1:
                       none, only other devices */
};

/* The tables that questions are answered from. */
static inline const PlanTables *plan_tables(const dlc_plan *plan) {
    return &plan->file.targets[plan->target < 0 ? 0 : plan->target];
}

/* The plan of the file `name`, or (not NULL) of the bytes, which are copied; as it is, whatever
 * machine it is for. */
dlc_status plan_adopt(dlc_context *context, const char *name, const void *bytes, size_t n_bytes,
                      dlc_plan **out);
/* Gives up one reference; the last frees the plan. Accepts NULL. */
void plan_release(dlc_plan *plan);

/* The plan's best image for the device. DLC_ERROR_UNSUPPORTED: none (-1), and message
 * (DEVICE_MESSAGE_BYTES) says why, "" when the plan has none for it. Another status: an error. */
dlc_status plan_target_for(const PlanFile *file, const DeviceOps *ops, const char *which,
                           int32_t *out, char *message);

#endif
