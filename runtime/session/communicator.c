/* See communicator.h. */
#include "runtime/session/communicator.h"
#include "runtime/border.h"

#include <stdio.h>
#include <unistd.h>

/* Machines are told apart by name: that of a container is its own, as its cores may be. */
static int64_t machine_hash(void) {
    char name[256] = "";
    if (gethostname(name, sizeof(name) - 1) != 0) {
        name[0] = '\0';
    }
    return (int64_t)hash_bytes(name, strlen(name), 1);
}

static dlc_status count_here(dlc_communicator *communicator) {
    const dlc_allocator *allocator = &communicator->context->allocator;
    int32_t n = communicator->n_ranks;
    int64_t own = machine_hash();
    int64_t *all = memory_new(allocator, (size_t)n, sizeof(*all));
    if (!all) {
        dlc_status status = context_out_of_memory(communicator->context);
        communicator_abandon(communicator, status);
        return status;
    }
    const CommBuffer buffer = {
        .in = &own, .out = all, .dtype = PLAN_I64, .outer = 1, .rows = n, .unit = 1};
    const CommCall call = {
        .kind = COMM_ALL_GATHER, .buffers = &buffer, .n_buffers = 1, .name = "machines"};
    dlc_status status = comm_run(communicator->comm, &call);
    communicator->n_here = 0;
    for (int32_t r = 0; r < n; r++) {
        communicator->n_here += all[r] == own;
    }
    memory_free(allocator, all);
    return status == DLC_OK
               ? DLC_OK
               : context_fail(communicator->context, status, "%s", communicator->comm->error);
}

static dlc_status meet(dlc_communicator *communicator) {
    char message[COMM_MESSAGE_BYTES] = "";
    dlc_status status = communicator->meeting->meet(communicator->meeting, communicator->generation,
                                                    &communicator->comm, message);
    communicator->generation++;
    communicator->is_broken = status != DLC_OK;
    if (status != DLC_OK) {
        return context_fail(communicator->context, status, "the ranks do not meet: %s",
                            message[0] ? message : dlc_status_text(status));
    }
    if (communicator->comm->note[0]) {
        context_log(communicator->context, DLC_LOG_WARNING, "%s", communicator->comm->note);
    }
    return DLC_OK;
}

static void communicator_end(ContextChild *child) {
    communicator_release((dlc_communicator *)child);
}

dlc_status communicator_create(dlc_context *context, Meeting *meeting, dlc_communicator **out) {
    dlc_communicator *communicator = memory_new(&context->allocator, 1, sizeof(*communicator));
    if (!communicator) {
        meeting->destroy(meeting);
        return context_out_of_memory(context);
    }
    border_child_begin(context, &communicator->child, communicator_end);
    communicator->context = context;
    communicator->references = 1;
    communicator->meeting = meeting;
    dlc_status status = meet(communicator);
    if (status == DLC_OK) {
        communicator->rank = communicator->comm->rank;
        communicator->n_ranks = communicator->comm->n_ranks;
        communicator->n_here = communicator->n_ranks;
        status = meeting->in_one_process ? DLC_OK : count_here(communicator);
    }
    if (status != DLC_OK) {
        communicator_release(communicator);
        return status;
    }
    *out = communicator;
    return DLC_OK;
}

void communicator_release(dlc_communicator *communicator) {
    if (!communicator || --communicator->references > 0) {
        return;
    }
    dlc_context *context = communicator->context;
    comm_close(communicator->comm);
    communicator->meeting->destroy(communicator->meeting);
    memory_free(&context->allocator, communicator);
    border_child_ended(context);
}

dlc_status communicator_renew(dlc_communicator *communicator) {
    if (communicator->comm && !communicator->is_broken) {
        return DLC_OK;
    }
    comm_close(communicator->comm);
    communicator->comm = NULL;
    return meet(communicator);
}

void communicator_abandon(dlc_communicator *communicator, dlc_status status) {
    if (communicator && communicator->comm && !communicator->is_broken) {
        comm_abort(communicator->comm, status, communicator->context->error);
        communicator->is_broken = true;
    }
}
