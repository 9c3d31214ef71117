/* How large a piece of a training step fits the device's memory: lays the step out for ever more
 * parts until one fits, by the routine that lays it out when it runs. */
#include "runtime/api/data.h"

#include "ir/base/checked.h"
#include "ir/base/number.h"
#include "runtime/border.h"
#include "runtime/session/ahead.h"

#include <inttypes.h>
#include <stdio.h>

/* Kept free of what the device has: recorded steps, kernels' scratch for more blocks, fragments. */
enum { RESERVE_SHARE = 32, LIBRARY_WORKSPACE = 32 << 20 };

static int32_t parts_dim(const dlc_session *session) {
    const char *name = plan_setting(session->file, "parts_dim");
    for (int32_t d = 0; name && d < session->file->n_dims; d++) {
        if (strcmp(plan_text(session->file, session->file->dims[d].name), name) == 0) {
            return d;
        }
    }
    return -1;
}

/* Device memory that a rank has taken already. */
static int64_t held_bytes(const Rank *rank) {
    int64_t bytes = rank->arena_bytes;
    for (int64_t i = 0; i < rank->n_variables; i++) {
        bytes += rank->variables[i].data ? layout_round(rank->variables[i].bytes) : 0;
    }
    for (int64_t e = 0; e < rank->tables->n_entries; e++) {
        const EntryState *entry = &rank->entries[e];
        for (int32_t a = 0; a < entry->record->n_args; a++) {
            bytes += entry->parts[a].data ? layout_round(entry->parts[a].capacity) : 0;
        }
    }
    return bytes;
}

static int64_t limit_of(dlc_session *session, int64_t asked) {
    if (asked > 0) {
        return asked;
    }
    const Rank *rank = session->ranks; /* the others have as much */
    int64_t left = rank->ops->free_bytes ? rank->ops->free_bytes(rank->device) : -1;
    if (left < 0) {
        return INT64_MAX;
    }
    bool libraries = session->tables->n_libraries > 0 && rank->ops->call_prepare;
    int64_t kept = left / RESERVE_SHARE + (libraries ? LIBRARY_WORKSPACE : 0);
    return (left > kept ? left - kept : 0) + held_bytes(rank);
}

/* Of the step with the dims bound so far and these, and of the batch that dlc_train reads ahead
 * meanwhile; the other dims take their defaults. */
static dlc_status step_bytes(dlc_session *session, const EntryState *entry, int32_t batch_dim,
                             int64_t batch, int32_t parts_at, int64_t parts, int64_t *out) {
    int64_t dims[PLAN_MAX_DIMS];
    memcpy(dims, session->orders.dims, (size_t)session->file->n_dims * sizeof(*dims));
    if (batch_dim >= 0) {
        dims[batch_dim] = batch;
    }
    if (parts_at >= 0) {
        dims[parts_at] = parts;
    }
    dims_default(session->file, dims);
    Layout *layout;
    dlc_status status = place_dims(session->context, session->file, &session->ranks->place, dims);
    if (status != DLC_OK) {
        return status;
    }
    status = layout_create(session->context, session->file, session->tables, entry->record,
                           &session->ranks->place, dims, &layout);
    if (status == DLC_OK) {
        int64_t step = layout->persistent_bytes + layout->input_bytes + layout->arena_bytes;
        if (!checked_add(step, layout->scratch_bytes, out) ||
            !checked_add(*out, ahead_bytes(session->ranks, entry->record, layout), out)) {
            *out = INT64_MAX;
        }
        layout_destroy(session->context, layout);
    }
    return status;
}

static dlc_status too_large(dlc_session *session, const dlc_fit *fit, int32_t parts_at) {
    NumberText needed = number_amount((double)fit->needed_bytes);
    NumberText limit = number_amount((double)fit->limit_bytes);
    if (parts_at < 0) {
        return context_fail(session->context, DLC_ERROR_UNSUPPORTED,
                            "a step of %" PRId64 " rows needs %s of %s, and this plan cannot "
                            "compute it in parts: compile with dlc --accumulate",
                            fit->batch, needed.text, limit.text);
    }
    return context_fail(session->context, DLC_ERROR_LIMIT,
                        "a step of %" PRId64 " rows in %" PRId64 " parts still needs %s of %s; "
                        "smaller rows, a shorter type (precision bf16) or dlc --memory-limit "
                        "BYTES may help",
                        fit->batch, fit->parts, needed.text, limit.text);
}

/* The least divisor of n above `than`; 0: none. Above the square root it is n by a lesser one. */
static int64_t next_divisor(int64_t n, int64_t than) {
    int64_t d = than + 1;
    for (; d <= n / d; d++) {
        if (n % d == 0) {
            return d;
        }
    }
    for (int64_t q = n / d; q > 0; q--) {
        if (n % q == 0) {
            return n / q;
        }
    }
    return 0;
}

dlc_status dlc_session_fit(dlc_session *session, int64_t batch, int64_t limit_bytes, dlc_fit *out) {
    BORDER_CALL(session ? session->context : NULL);
    if (!border_result_needed(session->context, "dlc_fit", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    EntryState *entry = session_entry(session, "train");
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    if (batch < 0 || limit_bytes < 0) {
        return context_fail(session->context, DLC_ERROR_INVALID_ARGUMENT,
                            "a batch of %" PRId64 " rows in %" PRId64 " bytes is asked for", batch,
                            limit_bytes);
    }
    dlc_fit fit = {.limit_bytes = limit_of(session, limit_bytes)};
    dlc_status status = session_call_begin(session);
    if (status == DLC_OK) {
        status = data_batch(session, entry, batch, &fit.batch);
    }
    if (status != DLC_OK) {
        return session_agree(session, status);
    }
    int32_t parts_at = parts_dim(session);
    int32_t batch_dim = plan_batch_dim(session->file, session->tables);
    bool fits = false;
    for (int64_t parts = 1; parts > 0 && !fits; parts = next_divisor(fit.batch, parts)) {
        bool other = parts_at >= 0 && session->orders.dims[parts_at] > 0 &&
                     session->orders.dims[parts_at] != parts; /* bound before */
        if (other) {
            continue;
        }
        if (parts > 1 && parts_at < 0) {
            break;
        }
        fit.parts = parts;
        status =
            step_bytes(session, entry, batch_dim, fit.batch, parts_at, parts, &fit.needed_bytes);
        if (status != DLC_OK) {
            return session_agree(session, status);
        }
        fits = fit.needed_bytes <= fit.limit_bytes;
    }
    status = session_agree(session, fits ? DLC_OK : too_large(session, &fit, parts_at));
    if (status == DLC_OK) {
        status = session_most(session, &fit.parts, 1);
    }
    border_result_write(out, &fit, sizeof(fit));
    if (status != DLC_OK) {
        return status;
    }
    return parts_at < 0 ? DLC_OK : session_bind_number(session, parts_at, fit.parts);
}
