/* Sessions: names, scalars, dims, layouts by binding. */
#include "runtime/session/session.h"

#include "ir/base/checked.h"
#include "ir/base/number.h"
#include "runtime/border.h"
#include "runtime/session/tensor.h"
#include "runtime/session/trace.h"

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
    return &session->entries[number];
}

Variable *session_variable(dlc_session *session, const char *name) {
    for (int64_t i = 0; i < session->n_variables; i++) {
        if (strcmp(plan_text(session->file, session->variables[i].record->name), name) == 0) {
            return &session->variables[i];
        }
    }
    return NULL;
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

Scalar *session_scalar(dlc_session *session, const char *name, bool create) {
    for (int32_t i = 0; i < session->n_scalars; i++) {
        if (strcmp(session->scalars[i].name, name) == 0) {
            return &session->scalars[i];
        }
    }
    if (!create || session->n_scalars == SESSION_SCALARS || strlen(name) >= SCALAR_NAME_BYTES) {
        return NULL;
    }
    Scalar *scalar = &session->scalars[session->n_scalars++];
    memcpy(scalar->name, name, strlen(name) + 1);
    return scalar;
}

int64_t session_counter(dlc_session *session, const char *name) {
    const Scalar *scalar = session_scalar(session, name, false);
    return scalar ? scalar->integer : 0;
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

static dlc_status scalar_for(dlc_session *session, const char *name, Scalar **out) {
    if (!name || !scalar_known(session, name)) {
        char have[512];
        scalars_text(session, have, sizeof(have));
        return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                            "the plan has no run-time setting '%s'; it has %s", name ? name : "",
                            have);
    }
    *out = session_scalar(session, name, true);
    return *out ? DLC_OK
                : context_fail(session->context, DLC_ERROR_LIMIT, "too many run-time settings");
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
    const Scalar *scalar = name ? session_scalar(session, name, false) : NULL;
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
    int64_t *bound = &session->dims[dim];
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

dlc_status dlc_session_bind(dlc_session *session, const char *dim, int64_t value) {
    BORDER_CALL(session ? session->context : NULL);
    for (int32_t d = 0; dim && d < session->file->n_dims; d++) {
        if (strcmp(plan_text(session->file, session->file->dims[d].name), dim) == 0) {
            return session_bind_number(session, d, value);
        }
    }
    return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                        "the plan has no dim '%s' (a dim given to dlc with -D is fixed)",
                        dim ? dim : "");
}

bool program_bound(const PlanFile *file, PlanProgram program, const int64_t *dims) {
    for (int32_t i = 0; i < program.count; i++) {
        const ProgramInstr *instr = &file->programs[program.first + i];
        if (instr->code == PROGRAM_VAR && dims[instr->immediate] < 0) {
            return false;
        }
    }
    return true;
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

/* -- Layouts -- */

/* Dims of one run: bound ones, then what the inputs' shapes say, then defaults if wanted. */
static dlc_status entry_dims(dlc_session *session, EntryState *entry, bool defaults,
                             int64_t *dims) {
    const PlanFile *file = session->file;
    memcpy(dims, session->dims, (size_t)file->n_dims * sizeof(*dims));
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        const Input *input = &entry->inputs[i];
        if (arg->role != PLAN_ARG_INPUT || !input->is_set) {
            continue;
        }
        char what[320];
        snprintf(what, sizeof(what), "input '%s'", plan_text(file, arg->name));
        dlc_status status = shape_bind(session, what, arg->type, input->dims, arg->type.rank, dims);
        if (status != DLC_OK) {
            return status;
        }
    }
    for (int32_t d = 0; d < file->n_dims; d++) {
        if (session->dim_is_shared[d] && dims[d] >= 0 && session->dims[d] < 0) {
            dlc_status status = session_bind_number(session, d, dims[d]);
            if (status != DLC_OK) {
                return status;
            }
        }
    }
    if (defaults) {
        dims_default(file, dims);
    }
    return DLC_OK;
}

dlc_status session_bind_inputs(dlc_session *session) {
    int64_t dims[PLAN_MAX_DIMS];
    dlc_status status = DLC_OK;
    for (int64_t i = 0; status == DLC_OK && i < session->tables->n_entries; i++) {
        status = entry_dims(session, &session->entries[i], false, dims);
    }
    return status;
}

/* A dim that the entry's arguments need and nobody bound. */
static dlc_status dims_complete(dlc_session *session, const EntryState *entry, int64_t *dims) {
    const PlanFile *file = session->file;
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        for (int32_t a = 0; a < arg->type.rank; a++) {
            PlanProgram program = file->sizes[arg->type.first_size + a];
            for (int32_t k = 0; k < program.count; k++) {
                const ProgramInstr *instr = &file->programs[program.first + k];
                if (instr->code == PROGRAM_VAR && dims[instr->immediate] < 0) {
                    return context_fail(session->context, DLC_ERROR_MISMATCH,
                                        "dim %s is not bound: no input or weight says it",
                                        plan_text(file, file->dims[instr->immediate].name));
                }
            }
        }
    }
    dims_default(file, dims); /* the others do not matter to this entry */
    return DLC_OK;
}

/* The layout for these dims, made if need be, becomes slots[0]. */
static dlc_status slot_find(dlc_session *session, EntryState *entry, const int64_t *dims,
                            Layout **out) {
    LayoutSlot *slots = entry->slots;
    size_t n_bytes = (size_t)session->file->n_dims * sizeof(*dims);
    int found = -1;
    for (int i = 0; i < SESSION_LAYOUTS && slots[i].layout && found < 0; i++) {
        found = memcmp(slots[i].layout->vars, dims, n_bytes) == 0 ? i : -1;
    }
    LayoutSlot slot = {.layout = NULL};
    if (found >= 0) {
        slot = slots[found];
    } else {
        dlc_status status = layout_create(session->context, session->file, session->tables,
                                          entry->record, dims, &slot.layout);
        if (status == DLC_OK) {
            status = calls_create(session, slot.layout, &slot.calls);
        }
        if (status != DLC_OK) {
            layout_destroy(session->context, slot.layout);
            return status;
        }
        found = SESSION_LAYOUTS - 1;
        LayoutSlot *oldest = &slots[found];
        if (entry->layout == oldest->layout) {
            entry->layout = NULL;
            session->last = session->last == entry ? NULL : session->last;
        }
        if (session->apart_layout == oldest->layout) {
            session_arena_free(session);
        }
        recording_destroy(session, oldest->recording);
        calls_destroy(session, oldest->calls);
        layout_destroy(session->context, oldest->layout);
    }
    for (int i = found; i > 0; i--) {
        slots[i] = slots[i - 1];
    }
    slots[0] = slot;
    *out = slot.layout;
    return DLC_OK;
}

dlc_status session_layout(dlc_session *session, EntryState *entry, bool defaults) {
    int64_t dims[PLAN_MAX_DIMS];
    dlc_status status = entry_dims(session, entry, defaults, dims);
    if (status == DLC_OK && defaults) {
        /* Defaults of dims in weights hold for good. */
        for (int32_t d = 0; status == DLC_OK && d < session->file->n_dims; d++) {
            if (session->dim_is_shared[d]) {
                status = session_bind_number(session, d, dims[d]);
            }
        }
    }
    if (status == DLC_OK) {
        status = dims_complete(session, entry, dims);
    }
    if (status == DLC_OK) {
        status = session_allocate(session, entry);
    }
    if (status != DLC_OK) {
        return status;
    }
    Layout *layout;
    status = slot_find(session, entry, dims, &layout);
    if (status != DLC_OK) {
        return status;
    }
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        int64_t wanted = layout->buffer_bytes[arg->buffer];
        int64_t have = arg->variable >= 0 ? session->variables[arg->variable].bytes : wanted;
        if (arg->role == PLAN_ARG_INPUT && entry->inputs[i].is_set) {
            have = entry->inputs[i].capacity;
        } else if (arg->role == PLAN_ARG_SCALAR) {
            have = SCALAR_STRIDE;
        }
        if (wanted > have) {
            return context_fail(session->context, DLC_ERROR_FORMAT,
                                "%s: the memory of '%s' is malformed", session->file->name,
                                plan_text(session->file, arg->name));
        }
    }
    return session_arena(session, layout);
}

/* The planned length is known from the train block, from the data, or from the caller. */
static bool scalar_missing(dlc_session *session, const PlanArg *arg) {
    const char *name = plan_text(session->file, arg->name);
    bool is_length = strcmp(name, "steps") == 0 || strcmp(name, "steps_per_epoch") == 0;
    return arg->role == PLAN_ARG_SCALAR && is_length && !session_scalar(session, name, false);
}

dlc_status session_run(dlc_session *session, EntryState *entry) {
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        if (scalar_missing(session, arg)) {
            const char *name = plan_text(session->file, arg->name);
            return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                                "'%s' reads `%s`, which is not known before data are: say it with "
                                "dlc_set_counter(session, \"%s\", N)%s, take the weights from a "
                                "checkpoint's folder, "
                                "or train by dlc_train",
                                plan_text(session->file, entry->record->name), name, name,
                                strcmp(name, "steps") == 0 ? " (dlrun: --steps N)" : "");
        }
        if (arg->role == PLAN_ARG_INPUT && !entry->inputs[i].is_set) {
            return context_fail(
                session->context, DLC_ERROR_NOT_FOUND, "input '%s' of '%s' is not set",
                plan_text(session->file, arg->name), plan_text(session->file, entry->record->name));
        }
    }
    dlc_status status = session_layout(session, entry, false);
    if (status != DLC_OK) {
        return status;
    }
    entry->layout = entry->slots[0].layout;
    double start = clock_seconds();
    status = session_execute(session, entry);
    trace_host(session, plan_text(session->file, entry->record->name), start);
    return status;
}
