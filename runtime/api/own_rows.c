/* See own_rows.h. */
#include "runtime/api/own_rows.h"
#include "runtime/session/parts.h"

#include <stdio.h>

dlc_status own_rows_find(dlc_session *session, const PlanArg *arg, const int64_t *dims,
                         OwnRows *out) {
    PlanType whole = plan_whole(arg->type, &arg->part);
    char what[320];
    *out = (OwnRows){.rows = whole.rank > 0 ? dims[0] : 1,
                     .row_bytes = plan_dtype_bytes(arg->type.dtype)};
    for (int32_t a = 1; a < whole.rank; a++) {
        out->row_bytes *= dims[a]; /* of an input whose bytes have been counted */
    }
    if (!session->communicator || session_brings(session, arg) || arg->part.n_cuts == 0) {
        return DLC_OK;
    }
    /* The dims that the run will have, as far as the parts of this input tell them. */
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
    const PlanFile *file = session->file;
    const RankPlace *place = &session->ranks->place;
    memcpy(vars, session->orders.dims, (size_t)file->n_dims * sizeof(*vars));
    snprintf(what, sizeof(what), "input '%s'", plan_text(file, arg->name));
    dlc_status status = shape_bind(session, what, whole, dims, whole.rank, vars);
    if (status == DLC_OK) {
        dims_default(file, vars);
        status = place_dims(session->context, file, place, vars);
    }
    return status == DLC_OK
               ? part_rows(session->context, file, place, vars, plan_text(file, arg->name),
                           &arg->part, out->rows, &out->ranges, &out->n)
               : status;
}

void own_rows_free(dlc_session *session, OwnRows *own) {
    memory_free(&session->context->allocator, own->ranges);
    own->ranges = NULL;
}

dlc_status own_rows_gather(const OwnRows *own, const DataField *field, const int64_t *rows,
                           void *target, PlanDType dtype, char *message) {
    if (!own->ranges) {
        return dataset_gather_rows(field, rows, own->rows, target, dtype, 0, message);
    }
    int64_t done = 0;
    dlc_status status = DLC_OK;
    for (int64_t i = 0; i <= own->n && status == DLC_OK; i++) {
        RowRange next = i < own->n ? own->ranges[i] : (RowRange){own->rows, 0};
        uint8_t *gap = (uint8_t *)target + done * own->row_bytes;
        uint8_t *to = (uint8_t *)target + next.first * own->row_bytes;
        memset(gap, 0, (size_t)(to - gap));
        if (next.count > 0) {
            status =
                dataset_gather_rows(field, rows + next.first, next.count, to, dtype, 0, message);
        }
        done = next.first + next.count;
    }
    return status;
}
