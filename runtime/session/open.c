/* Sessions: creation with their ranks, and their end. */
#include "ir/base/mesh.h"
#include "runtime/border.h"
#include "runtime/session/session.h"
#include "runtime/session/trace.h"
#include "runtime/session/watch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The dims of a variable's size are bound for good. */
static void dims_share(dlc_session *session, PlanProgram size) {
    for (int32_t k = 0; k < size.count; k++) {
        const ProgramInstr *instr = &session->file->programs[size.first + k];
        if (instr->code == PROGRAM_VAR &&
            session->file->dims[instr->immediate].source == DIM_FREE) {
            session->dim_is_shared[instr->immediate] = true;
        }
    }
}

static dlc_status dims_create(dlc_session *session) {
    const PlanFile *file = session->file;
    session->orders.dims = memory_new(&session->context->allocator, (size_t)file->n_dims, 8);
    session->dim_is_shared = memory_new(&session->context->allocator, (size_t)file->n_dims, 1);
    if (!session->orders.dims || !session->dim_is_shared) {
        return context_out_of_memory(session->context);
    }
    for (int32_t d = 0; d < file->n_dims; d++) {
        session->orders.dims[d] = -1;
    }
    for (int64_t i = 0; i < file->n_variables; i++) {
        const PlanVariable *variable = &file->variables[i];
        PlanType whole = plan_whole(variable->type, &variable->part);
        for (int32_t a = 0; a < whole.rank; a++) {
            dims_share(session, file->sizes[whole.first_size + a]);
        }
    }
    return DLC_OK;
}

static dlc_status scalars_create(dlc_session *session, const dlc_session_options *options) {
    static const struct {
        const char *name;
        int64_t value;
    } counters[] = {{"step", 0}, {"epoch", 0}};
    const char *text = plan_setting(session->file, "seed");
    const char *steps = plan_setting(session->file, "steps");
    int64_t seed = options->has_seed ? options->seed : text ? strtoll(text, NULL, 10) : 0;
    dlc_status status = DLC_OK;
    for (size_t i = 0; status == DLC_OK && i < sizeof(counters) / sizeof(counters[0]); i++) {
        status = dlc_set_counter(session, counters[i].name, counters[i].value);
    }
    if (status == DLC_OK) {
        status = dlc_set_counter(session, "seed", seed);
    }
    if (status == DLC_OK && steps) { /* a length in epochs is known with the data */
        status = dlc_set_counter(session, "steps", strtoll(steps, NULL, 10));
    }
    return status == DLC_OK ? dlc_set_scalar(session, "lr", NAN) : status;
}

static void session_end(ContextChild *child);

/* "8 ranks, each cpu (1 thread), code for x86-64-v3", "rank 1 of 8, cpu (…" */
static void description_widen(const dlc_session *session) {
    Rank *first = session->ranks;
    char one[RANK_DESCRIPTION_BYTES];
    memcpy(one, first->description, sizeof(one));
    if (session->communicator) {
        snprintf(first->description, sizeof(first->description), "rank %d of %d, %.960s",
                 (int)session->communicator->rank, (int)session->n_all, one);
    } else if (session->n_ranks > 1) {
        snprintf(first->description, sizeof(first->description), "%d ranks, each %.960s",
                 (int)session->n_ranks, one);
    }
}

/* Each rank's place in the mesh that they make. */
static dlc_status ranks_place(dlc_session *session) {
    const PlanFile *file = session->file;
    MeshShape shape;
    int32_t first = session->communicator ? session->communicator->rank : 0;
    dlc_status status = place_shape(session->context, file, session->n_all, &shape);
    for (int32_t r = 0; r < session->n_ranks && status == DLC_OK; r++) {
        session->ranks[r].place = (RankPlace){.shape = shape, .number = first + r};
    }
    return status;
}

/* Of sessions that share a communicator the first has the file, and the others parts of it. What is
 * left of the part of rank 2 when the first does not take it is called PATH.2. */
static dlc_status trace_begin(dlc_session *session, const char *path) {
    char own[4096];
    int32_t rank = session->communicator ? session->communicator->rank : 0;
    int n = rank == 0 ? snprintf(own, sizeof(own), "%s", path)
                      : snprintf(own, sizeof(own), "%s.%d", path, (int)rank);
    if (n < 0 || (size_t)n >= sizeof(own)) {
        return context_fail(session->context, DLC_ERROR_INVALID_ARGUMENT,
                            "dlc_session_options.trace: the path is too long");
    }
    return trace_open(session->ranks, session->n_ranks, session->n_all > 1, rank > 0, own);
}

/* The ranks on their devices, and what they need to run. */
static dlc_status ranks_create(dlc_session *session, const dlc_session_options *options,
                               const DeviceOps *ops, int32_t n_ranks) {
    dlc_context *context = session->context;
    session->ranks = memory_new(&context->allocator, (size_t)n_ranks, sizeof(Rank));
    if (!session->ranks) {
        return context_out_of_memory(context);
    }
    session->n_ranks = n_ranks;
    session->n_all = session->communicator ? session->communicator->n_ranks : n_ranks;
    session->told = memory_new(&context->allocator, 3 * (size_t)session->n_all, sizeof(int64_t));
    if (!session->told) {
        return context_out_of_memory(context);
    }
    session->brought = session->told + session->n_all;
    session->traces = session->brought + session->n_all;
    dlc_status status = team_create(context, n_ranks, &session->team);
    if (status == DLC_OK) {
        status = session_ranks_open(session, options, ops);
    }
    if (status == DLC_OK) {
        status = ranks_place(session);
    }
    if (status == DLC_OK && options->trace) {
        status = trace_begin(session, options->trace);
    }
    if (status == DLC_OK) {
        description_widen(session);
    }
    for (int32_t r = 0; status == DLC_OK && r < n_ranks; r++) {
        session->ranks[r].n_ranks = session->n_all;
        session->ranks[r].is_of_many = session->n_all > 1;
        status = team_told(session->team, r, rank_begin(&session->ranks[r], &session->orders));
        if (status == DLC_OK && (session->n_all > 1 || options->journal)) {
            status =
                team_told(session->team, r, watch_create(&session->ranks[r], options->journal));
        }
    }
    if (status == DLC_OK) {
        session->step_metrics = memory_new(&context->allocator, (size_t)session->ranks->max_numbers,
                                           sizeof(*session->step_metrics));
        status = session->step_metrics ? DLC_OK : context_out_of_memory(context);
    }
    return status;
}

/* What the options say that can be judged before there is a session. Writes the device without the
 * number of ranks, and that number, where they say it. */
static dlc_status options_check(dlc_context *context, dlc_session_options *given, char *device,
                                int32_t *n_ranks) {
    if (!border_number(context, "dlc_session_options.threads", given->threads, 0, INT64_MAX) ||
        !border_number(context, "dlc_session_options.poison", given->poison, 0, 2) ||
        !border_amount(context, "dlc_session_options.stall_seconds", given->stall_seconds) ||
        !border_number(context, "dlc_session_options.check_replicas", given->check_replicas, -1,
                       INT64_MAX) ||
        !border_number(context, "dlc_session_options.zero", given->zero, DLC_ZERO_OFF, 3) ||
        !border_number(context, "dlc_session_options.rows", given->rows, DLC_ROWS_OWN,
                       DLC_ROWS_WHOLE)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    const char *sent;
    if (given->exchange && !mesh_exchange_read(given->exchange, &sent)) {
        return context_fail(context, DLC_ERROR_INVALID_ARGUMENT,
                            "dlc_session_options.exchange is " MESH_EXCHANGES ", not '%.40s'",
                            given->exchange);
    }
    if (!given->bindings && given->n_bindings > 0) {
        return border_missing(context, "dlc_session_options.bindings");
    }
    if (device) {
        dlc_status status = device_ranks(context, given->device, device, n_ranks);
        if (status != DLC_OK) {
            return status;
        }
        given->device = given->device ? device : NULL;
    }
    if (given->communicator && *n_ranks > 1) {
        return context_fail(context, DLC_ERROR_INVALID_ARGUMENT,
                            "dlc_session_options.device asks for %d ranks, and a session with a "
                            "communicator is one rank",
                            (int)*n_ranks);
    }
    return DLC_OK;
}

/* What the caller binds and sets. */
static dlc_status names_create(dlc_session *session, const dlc_session_options *given) {
    dlc_status status = dims_create(session);
    for (size_t i = 0; status == DLC_OK && i < given->n_bindings; i++) {
        status = dlc_session_bind(session, given->bindings[i].name, given->bindings[i].value);
    }
    return status == DLC_OK ? scalars_create(session, given) : status;
}

dlc_status session_create_on(dlc_plan *plan, const dlc_session_options *options,
                             const DeviceOps *ops, int32_t n_ranks, dlc_session **out) {
    dlc_context *context = plan->context;
    dlc_session_options given;
    if (!border_options(context, "dlc_session_options", &given, sizeof(given), options)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (given.communicator && given.communicator->context != context) {
        return context_fail(context, DLC_ERROR_INVALID_ARGUMENT,
                            "dlc_session_options.communicator: it is made from another context");
    }
    char device[DEVICE_TEXT_BYTES];
    dlc_status status = options_check(context, &given, ops ? NULL : device, &n_ranks);
    dlc_session *session =
        status == DLC_OK ? memory_new(&context->allocator, 1, sizeof(*session)) : NULL;
    if (!session) {
        status = status == DLC_OK ? context_out_of_memory(context) : status;
        communicator_abandon(given.communicator, status);
        return status;
    }
    border_child_begin(context, &session->child, session_end);
    session->context = context;
    session->plan = plan;
    plan->references++;
    session->file = &plan->file;
    session->check_replicas = given.check_replicas;
    session->all_rows = -1;
    session->communicator = given.communicator;
    if (given.communicator) {
        given.communicator->references++;
        n_ranks = 1;
    }
    session->needs_mesh =
        !ops && (n_ranks > 1 || (given.communicator && given.communicator->n_ranks > 1));
    session->orders = (Orders){.poison = given.poison,
                               .guarded = given.guarded != 0,
                               .no_libraries = given.no_libraries != 0,
                               .raw_weights = given.raw_weights != 0,
                               .own_rows = given.communicator && given.communicator->n_ranks > 1 &&
                                           given.rows == DLC_ROWS_OWN,
                               .stall_seconds = given.stall_seconds};
    status = ranks_create(session, &given, ops, n_ranks);
    if (status == DLC_OK) {
        status = names_create(session, &given);
    }
    bool traces = status == DLC_OK && session->ranks->trace;
    status = session->told ? session_agree_rows(session, status, traces)
                           : session_abandon(session, status);
    if (status == DLC_OK) {
        memcpy(session->traces, session->brought, (size_t)session->n_all * sizeof(int64_t));
        status = session_trace_begin(session);
    }
    if (status != DLC_OK) {
        session_end(&session->child);
        return status;
    }
    *out = session;
    return DLC_OK;
}

dlc_status dlc_session_create(dlc_plan *plan, const dlc_session_options *options,
                              dlc_session **out) {
    BORDER_CALL(plan ? plan->context : NULL);
    return out ? session_create_on(plan, options, NULL, 1, out)
               : border_missing(plan->context, "out");
}

static void session_end(ContextChild *child) {
    dlc_session *session = (dlc_session *)child;
    dlc_context *context = session->context;
    const dlc_allocator *allocator = &context->allocator;
    session_part(session);
    for (int32_t r = 0; r < session->n_ranks; r++) {
        rank_close(&session->ranks[r]);
    }
    memory_free(allocator, session->ranks);
    team_destroy(session->team); /* whose hooks the ranks freed by */
    memory_free_aligned(allocator, session->joined);
    memory_free(allocator, session->orders.dims);
    memory_free(allocator, session->dim_is_shared);
    memory_free(allocator, session->step_metrics);
    memory_free(allocator, session->told);
    plan_release(session->plan);
    if (session->communicator) {
        session->communicator->is_broken |= session->is_broken;
    }
    communicator_release(session->communicator);
    memory_free(allocator, session);
    border_child_ended(context);
}

void dlc_session_destroy(dlc_session *session) {
    if (session) {
        border_child_end(session->context, &session->child);
    }
}

const dlc_plan *dlc_session_plan(const dlc_session *session) {
    return session ? session->plan : NULL;
}

const char *dlc_session_describe(const dlc_session *session) {
    return session ? session->ranks->description : "";
}

dlc_status dlc_session_end_trace(dlc_session *session) {
    BORDER_CALL(session ? session->context : NULL);
    dlc_status status = DLC_OK;
    session_trace_join(session);
    for (int32_t r = session->n_ranks - 1; r >= 0; r--) { /* the first is the last, and tells */
        status = trace_close(&session->ranks[r]);
    }
    return status;
}
