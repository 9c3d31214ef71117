/* Sessions: names, scalars, dims. */
#include "runtime/session/session.h"

#include "ir/base/checked.h"
#include "ir/base/number.h"
#include "runtime/border.h"
#include "runtime/session/tensor.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* -- Names -- */

int32_t plan_entry_find(const PlanFile *file, const PlanTables *tables, const char *name) {
    static const char *const purposes[] = {"infer", "eval", "train", "init"};
    const char *wanted = name ? name : "infer";
    for (int64_t i = 0; i < tables->n_entries; i++) {
        if (strcmp(plan_text(file, tables->entries[i].name), wanted) == 0) {
            return (int32_t)i;
        }
    }
    for (int64_t i = 0; i < tables->n_entries; i++) {
        const char *dot = strrchr(plan_text(file, tables->entries[i].name), '.');
        if (dot && strcmp(dot + 1, wanted) == 0) {
            return (int32_t)i;
        }
    }
    for (int32_t p = 0; p < (int32_t)(sizeof(purposes) / sizeof(purposes[0])); p++) {
        for (int64_t i = 0; strcmp(purposes[p], wanted) == 0 && i < tables->n_entries; i++) {
            if (tables->entries[i].purpose == p) {
                return (int32_t)i;
            }
        }
    }
    return -1;
}

EntryState *session_entry(dlc_session *session, const char *name) {
    int32_t number = plan_entry_find(session->file, session->tables, name);
    if (number < 0) {
        char have[256];
        size_t at = 0;
        for (int64_t i = 0; i < session->tables->n_entries && at < sizeof(have); i++) {
            int n = snprintf(have + at, sizeof(have) - at, "%s%s", i ? ", " : "",
                             plan_text(session->file, session->tables->entries[i].name));
            at += n > 0 ? (size_t)n : 0;
        }
        context_fail(session->context, DLC_ERROR_NOT_FOUND, "the plan has no entry '%s'; it has %s",
                     name ? name : "infer", at ? have : "none");
        return NULL;
    }
    return &session->ranks->entries[number];
}

int32_t entry_input_find(const dlc_session *session, const EntryState *entry, const char *name) {
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        if (arg->role == PLAN_ARG_INPUT && strcmp(plan_text(session->file, arg->name), name) == 0) {
            return i;
        }
    }
    return -1;
}

const char *entry_names(const dlc_session *session, const EntryState *entry, bool inputs,
                        char *out) {
    const PlanTables *tables = session->tables;
    int32_t count = inputs ? entry->record->n_args : entry->record->n_results;
    size_t at = (size_t)snprintf(out, ENTRY_NAMES_BYTES, "it has");
    const char *lead = " ";
    for (int32_t i = 0; i < count && at < ENTRY_NAMES_BYTES; i++) {
        const PlanArg *arg = inputs ? &tables->args[entry->record->first_arg + i] : NULL;
        const PlanResult *result =
            inputs ? NULL : &tables->results[entry->record->first_result + i];
        if (arg ? arg->role != PLAN_ARG_INPUT : result->role != PLAN_RESULT_OUTPUT) {
            continue;
        }
        int n = snprintf(out + at, ENTRY_NAMES_BYTES - at, "%s%s", lead,
                         plan_text(session->file, arg ? arg->name : result->name));
        at += n > 0 ? (size_t)n : 0;
        lead = ", ";
    }
    if (lead[0] == ' ') {
        snprintf(out + at, ENTRY_NAMES_BYTES - at, " none");
    }
    return out;
}

/* -- Scalars -- */

const Scalar *session_scalar(const dlc_session *session, const char *name) {
    return orders_scalar(&session->orders, name);
}

int64_t session_counter(const dlc_session *session, const char *name) {
    return orders_counter(&session->orders, name);
}

static bool is_counter(const char *name) {
    static const char *const counters[] = {"step", "steps", "epoch", "steps_per_epoch", "seed"};
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        if (strcmp(counters[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool scalar_known(const dlc_session *session, const char *name) {
    if (is_counter(name) || strcmp(name, "lr") == 0) {
        return true;
    }
    for (int64_t i = 0; i < session->tables->n_args; i++) {
        const PlanArg *arg = &session->tables->args[i];
        if (arg->role == PLAN_ARG_SCALAR &&
            strcmp(plan_text(session->file, arg->name), name) == 0) {
            return true;
        }
    }
    return false;
}

/* "step, …, lr, set.beta1". */
static void scalars_text(const dlc_session *session, char *out, size_t n_out) {
    size_t at = (size_t)snprintf(out, n_out, "step, steps, epoch, steps_per_epoch, seed, lr");
    for (int64_t i = 0; i < session->tables->n_args && at < n_out; i++) {
        const PlanArg *arg = &session->tables->args[i];
        const char *name = plan_text(session->file, arg->name);
        bool known = arg->role != PLAN_ARG_SCALAR || strncmp(name, "set.", 4) != 0;
        for (int64_t k = 0; k < i && !known; k++) {
            const PlanArg *before = &session->tables->args[k];
            known = before->role == PLAN_ARG_SCALAR &&
                    strcmp(plan_text(session->file, before->name), name) == 0;
        }
        int n = known ? 0 : snprintf(out + at, n_out - at, ", %s", name);
        at += n > 0 ? (size_t)n : 0;
    }
}

/* The scalar to set, made if need be. */
static dlc_status scalar_for(dlc_session *session, const char *name, Scalar **out) {
    if (!name || !scalar_known(session, name)) {
        char have[512];
        scalars_text(session, have, sizeof(have));
        return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                            "the plan has no run-time setting '%s'; it has %s", name ? name : "",
                            have);
    }
    Orders *orders = &session->orders;
    for (int32_t i = 0; i < orders->n_scalars; i++) {
        if (strcmp(orders->scalars[i].name, name) == 0) {
            *out = &orders->scalars[i];
            return DLC_OK;
        }
    }
    if (orders->n_scalars == ORDERS_SCALARS || strlen(name) >= SCALAR_NAME_BYTES) {
        return context_fail(session->context, DLC_ERROR_LIMIT, "too many run-time settings");
    }
    *out = &orders->scalars[orders->n_scalars++];
    memcpy((*out)->name, name, strlen(name) + 1);
    return DLC_OK;
}

dlc_status dlc_set_counter(dlc_session *session, const char *name, int64_t value) {
    BORDER_CALL(session ? session->context : NULL);
    Scalar *scalar;
    dlc_status status = scalar_for(session, name, &scalar);
    if (status == DLC_OK) {
        scalar->is_integer = true;
        scalar->integer = value;
        scalar->real = (double)value;
    }
    return status;
}

dlc_status dlc_get_counter(dlc_session *session, const char *name, int64_t *out) {
    BORDER_CALL(session ? session->context : NULL);
    if (!out) {
        return border_missing(session->context, "out");
    }
    const Scalar *scalar = name ? session_scalar(session, name) : NULL;
    if (!scalar || !scalar->is_integer) {
        return context_fail(session->context, DLC_ERROR_NOT_FOUND, "there is no counter '%s'",
                            name ? name : "");
    }
    *out = scalar->integer;
    return DLC_OK;
}

/* As a cast to i64 has it: towards zero, within the range; nan is 0. */
static int64_t truncated(double value) {
    long long whole = 0;
    if (!number_whole(trunc(value), &whole)) {
        return value > 0 ? INT64_MAX : value < 0 ? INT64_MIN : 0;
    }
    return whole;
}

dlc_status dlc_set_scalar(dlc_session *session, const char *name, double value) {
    BORDER_CALL(session ? session->context : NULL);
    Scalar *scalar;
    dlc_status status = scalar_for(session, name, &scalar);
    if (status == DLC_OK) {
        long long whole = 0; /* a counter stays one, also for checkpoints */
        scalar->is_integer = is_counter(name) && number_whole(value, &whole);
        scalar->integer = truncated(value);
        scalar->real = value;
    }
    return status;
}

/* -- Dims -- */

dlc_status session_bind_number(dlc_session *session, int32_t dim, int64_t value) {
    int64_t *bound = &session->orders.dims[dim];
    if (*bound >= 0 && *bound != value) {
        return context_fail(session->context, DLC_ERROR_MISMATCH,
                            "dim %s is %" PRId64 " here, but was bound to %" PRId64,
                            plan_text(session->file, session->file->dims[dim].name), value, *bound);
    }
    dlc_status status = dim_check(session->context, session->file, dim, value);
    if (status == DLC_OK) {
        *bound = value;
    }
    return status;
}

/* The number of the dim of the program. */
static dlc_status dim_named(const dlc_session *session, const char *dim, int32_t *out) {
    for (int32_t d = 0; dim && d < session->file->n_dims; d++) {
        if (strcmp(plan_text(session->file, session->file->dims[d].name), dim) == 0) {
            *out = d;
            return session->file->dims[d].source == DIM_FREE
                       ? DLC_OK
                       : context_fail(session->context, DLC_ERROR_INVALID_ARGUMENT,
                                      "dim %s is each rank's own, computed by it", dim);
        }
    }
    return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                        "the plan has no dim '%s' (a dim given to dlc with -D is fixed)",
                        dim ? dim : "");
}

dlc_status dlc_session_bind(dlc_session *session, const char *dim, int64_t value) {
    BORDER_CALL(session ? session->context : NULL);
    int32_t number;
    dlc_status status = dim_named(session, dim, &number);
    return status == DLC_OK ? session_bind_number(session, number, value) : status;
}

dlc_status dlc_session_dim(dlc_session *session, const char *dim, int64_t *out) {
    BORDER_CALL(session ? session->context : NULL);
    if (!out) {
        return border_missing(session->context, "out");
    }
    int32_t number;
    dlc_status status = dim_named(session, dim, &number);
    if (status == DLC_OK) {
        *out = session->orders.dims[number];
    }
    return status;
}

int64_t dlc_session_rank_count(const dlc_session *session) {
    return session ? session->ranks->n_ranks : 0;
}

static bool size_known(const PlanFile *file, PlanProgram program, const int64_t *dims,
                       int64_t *out) {
    if (!program_bound(file, program, dims)) {
        return false;
    }
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
    memcpy(vars, dims, (size_t)file->n_dims * sizeof(*dims));
    return plan_eval(file, program, vars, out);
}

dlc_status shape_bind(dlc_session *session, const char *what, PlanType type, const int64_t *shape,
                      int32_t rank, int64_t *dims) {
    const PlanFile *file = session->file;
    bool fits = rank == type.rank;
    for (int32_t a = 0; fits && a < rank; a++) {
        PlanProgram program = file->sizes[type.first_size + a];
        int32_t dim = plan_size_dim(file, program);
        if (dim >= 0 && dims[dim] < 0) {
            dlc_status status = dim_check(session->context, file, dim, shape[a]);
            if (status != DLC_OK) {
                return context_fail(session->context, status, "%s: %s", what,
                                    session->context->error);
            }
            dims[dim] = shape[a];
        }
    }
    for (int32_t a = 0; fits && a < rank; a++) {
        int64_t size;
        if (program_bound(file, file->sizes[type.first_size + a], dims)) {
            fits =
                size_known(file, file->sizes[type.first_size + a], dims, &size) && size == shape[a];
        }
    }
    if (fits) {
        return DLC_OK;
    }
    char given[256], known[256] = "";
    shape_text(shape, rank, given, sizeof(given));
    size_t at = 0;
    for (int32_t d = 0; d < file->n_dims && at < sizeof(known); d++) {
        if (dims[d] >= 0) {
            int n = snprintf(known + at, sizeof(known) - at, "%s%s = %" PRId64,
                             at ? ", " : ", where ", plan_text(file, file->dims[d].name), dims[d]);
            at += n > 0 ? (size_t)n : 0;
        }
    }
    return context_fail(session->context, DLC_ERROR_MISMATCH, "%s: shape %s does not fit %s%s",
                        what, given, plan_text(file, type.text), known);
}

/* -- What it holds -- */

/* Tables and buffers on the host, beside tensors. */
static int64_t table_bytes(const dlc_session *session) {
    int64_t bytes = (int64_t)sizeof(*session);
    bytes += session->file->n_dims * (int64_t)(sizeof(int64_t) + sizeof(bool));
    for (int32_t r = 0; r < session->n_ranks; r++) {
        bytes += rank_table_bytes(&session->ranks[r]);
    }
    return bytes;
}

dlc_status dlc_session_memory(dlc_session *session, const char *name, dlc_memory *out) {
    BORDER_CALL(session ? session->context : NULL);
    if (!border_result_needed(session->context, "dlc_memory", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    EntryState *entry = session_entry(session, name);
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    const Rank *rank = session->ranks; /* others hold as much */
    dlc_memory memory = {.arena_bytes = rank->arena_bytes};
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &rank->tables->args[entry->record->first_arg + i];
        if (arg->variable >= 0) {
            const Variable *variable = &rank->variables[arg->variable];
            memory.persistent_bytes += variable->data ? layout_round(variable->bytes) : 0;
        } else if (arg->role == PLAN_ARG_INPUT) {
            const Input *input = &entry->parts[i];
            memory.input_bytes += input->data ? layout_round(input->capacity) : 0;
        } else {
            memory.input_bytes += PLAN_ALIGNMENT;
        }
    }
    memory.peak_bytes = memory.persistent_bytes + memory.input_bytes + memory.arena_bytes;
    memory.overhead_bytes = table_bytes(session);
    int64_t device = rank->ops->overhead_bytes ? rank->ops->overhead_bytes(rank->device) : -1;
    memory.overhead_bytes += device > 0 ? device : 0;
    if (!rank->ops->is_host) {
        memory.overhead_bytes += rank->file->n_constants;
    }
    border_result_write(out, &memory, sizeof(memory));
    return DLC_OK;
}
