/* Whole tensors of parts that other sessions have: each rank that has a part of its own tells all.
 */
#include "runtime/session/parts.h"
#include "runtime/session/session.h"

/* Whether `rank` is the first of those that have the same part. */
static bool is_teller(const PlanFile *file, const MeshShape *shape, const PlanPart *part,
                      int64_t rank) {
    MeshGroup all = ((MeshGroup)1 << shape->n_axes) - 1;
    MeshGroup others = all & ~place_part_group(file, part);
    return mesh_coordinate(shape, others, rank) == 0;
}

/* The place of rank `q`, its dims, and those of its part. */
static dlc_status part_of(dlc_session *session, const Tensor *tensor, int32_t q, RankPlace *place,
                          int64_t *vars, int64_t *dims, int64_t *bytes) {
    const PlanFile *file = session->file;
    *place = (RankPlace){.shape = session->ranks->place.shape, .number = q};
    memcpy(vars, tensor->vars, (size_t)file->n_dims * sizeof(*vars));
    dlc_status status = place_dims(session->context, file, place, vars);
    if (status == DLC_OK && !plan_shape(file, tensor->type, vars, dims, bytes)) {
        status = context_fail(session->context, DLC_ERROR_FORMAT,
                              "%s: the part of '%s' on rank %d has no shape", file->name,
                              tensor->name, (int)q);
    }
    return status;
}

/* Brings the part of rank `q`, which all come for, to its place. */
static dlc_status part_bring(dlc_session *session, const Tensor *tensor, int32_t q, const void *own,
                             Whole whole) {
    RankPlace place;
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0}, dims[PLAN_MAX_RANK], bytes = 0;
    bool mine = q == session->communicator->rank;
    dlc_status status = part_of(session, tensor, q, &place, vars, dims, &bytes);
    void *memory = NULL;
    if (status == DLC_OK) {
        memory = mine ? (void *)(uintptr_t)own
                      : memory_new_aligned(&session->context->allocator, (size_t)bytes);
        status = memory ? DLC_OK : context_out_of_memory(session->context);
    }
    if (status != DLC_OK) {
        return session_abandon(session, status);
    }
    const CommBuffer buffer = {
        .in = memory, .out = memory, .dtype = PLAN_U8, .outer = 1, .rows = 1, .unit = bytes};
    const CommCall call = {.kind = COMM_BROADCAST,
                           .number = q,
                           .buffers = &buffer,
                           .n_buffers = 1,
                           .name = tensor->name};
    status = exchange_call(session->ranks, &call);
    if (status != DLC_OK) {
        session->is_broken = true;
    } else {
        status =
            part_copy(session->context, session->file, &place, vars, tensor->name, tensor->part,
                      whole, dims, plan_dtype_bytes(tensor->type.dtype), memory, false);
        status = status == DLC_OK ? status : session_abandon(session, status);
    }
    if (!mine) {
        memory_free_aligned(&session->context->allocator, memory);
    }
    return status;
}

dlc_status session_whole(dlc_session *session, const Tensor *tensor, const void *own, Whole whole) {
    dlc_status status = session_meet(session);
    for (int32_t q = 0; q < session->n_all && status == DLC_OK; q++) {
        if (is_teller(session->file, &session->ranks->place.shape, tensor->part, q)) {
            status = part_bring(session, tensor, q, own, whole);
        }
    }
    return status;
}
