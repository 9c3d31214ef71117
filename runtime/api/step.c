/* One training step, and what it says. */
#include "runtime/api/step.h"

#include "ir/base/checked.h"
#include "runtime/border.h"

#include <inttypes.h>

dlc_status step_next(dlc_session *session, int64_t *out) {
    if (!checked_add(session_counter(session, "step"), 1, out)) {
        return context_fail(session->context, DLC_ERROR_LIMIT,
                            "the counter 'step' is at its greatest value, %" PRId64
                            ": no step can follow; set it by dlc_set_counter",
                            session_counter(session, "step"));
    }
    return DLC_OK;
}

dlc_status step_tell(dlc_session *session, EntryState *entry, int64_t step, double seconds,
                     dlc_step_info *out) {
    size_t n_metrics = 0;
    dlc_status status = dlc_metrics(session, "train", session->step_metrics,
                                    (size_t)session->ranks->max_numbers, &n_metrics);
    int32_t batch = plan_batch_dim(session->file, session->tables);
    *out = (dlc_step_info){
        .struct_size = sizeof(*out),
        .step = step,
        .steps = session_counter(session, "steps"),
        .epoch = session_counter(session, "epoch"),
        .loss = rank_loss(session->ranks, entry),
        .lr = rank_info(session->ranks, entry, "lr"),
        .grad_norm = rank_info(session->ranks, entry, "grad_norm"),
        .seconds = seconds,
        .rows = batch >= 0 ? entry->layout->vars[batch] : 1,
        .metrics = session->step_metrics,
        .n_metrics = n_metrics,
    };
    return status;
}

dlc_status dlc_train_step(dlc_session *session, dlc_step_info *out) {
    BORDER_CALL(session ? session->context : NULL);
    EntryState *entry = session_entry(session, "train");
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    if (!border_result(session->context, "dlc_step_info", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    int64_t step;
    double start = clock_seconds();
    dlc_status status = step_next(session, &step);
    if (status == DLC_OK) {
        status = session_run(session, entry);
    }
    if (status != DLC_OK) {
        return status;
    }
    dlc_status verdict = session_verdict(session, entry);
    if (session->ranks->last_ok) { /* stored, whatever the update made of it */
        status = dlc_set_counter(session, "step", step);
    }
    status = verdict != DLC_OK ? verdict : status;
    if (status == DLC_OK) {
        status = session_replicas_due(session, step);
    }
    dlc_step_info info;
    if (status == DLC_OK && out) {
        status = step_tell(session, entry, step, clock_seconds() - start, &info);
    }
    if (status == DLC_OK && out) {
        border_result_write(out, &info, sizeof(info));
    }
    return status;
}
