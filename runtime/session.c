/* Sessions: creation, dims, memory of variables and inputs, layouts by binding. */
#include "runtime/session.h"

#include "ir/base/checked.h"
#include "runtime/tensor.h"

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
        context_fail(session->context, DLC_ERROR_NOT_FOUND, "the plan has no entry '%s'",
                     name ? name : "infer");
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

static bool scalar_known(const dlc_session *session, const char *name) {
    static const char *const always[] = {"step", "steps", "epoch", "steps_per_epoch", "seed", "lr"};
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
        if (strcmp(always[i], name) == 0) {
            return true;
        }
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

static dlc_status scalar_for(dlc_session *session, const char *name, Scalar **out) {
    if (!name || !scalar_known(session, name)) {
        return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                            "the plan has no run-time setting '%s'", name ? name : "");
    }
    *out = session_scalar(session, name, true);
    return *out ? DLC_OK
                : context_fail(session->context, DLC_ERROR_LIMIT, "too many run-time settings");
}

dlc_status dlc_set_counter(dlc_session *session, const char *name, int64_t value) {
    Scalar *scalar;
    dlc_status status = scalar_for(session, name, &scalar);
    if (status == DLC_OK) {
        scalar->is_integer = true;
        scalar->integer = value;
    }
    return status;
}

dlc_status dlc_get_counter(dlc_session *session, const char *name, int64_t *out) {
    const Scalar *scalar = name ? session_scalar(session, name, false) : NULL;
    if (!scalar || !scalar->is_integer) {
        return context_fail(session->context, DLC_ERROR_NOT_FOUND, "there is no counter '%s'",
                            name ? name : "");
    }
    *out = scalar->integer;
    return DLC_OK;
}

dlc_status dlc_set_scalar(dlc_session *session, const char *name, double value) {
    Scalar *scalar;
    dlc_status status = scalar_for(session, name, &scalar);
    if (status == DLC_OK) {
        scalar->is_integer = false;
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
    for (int32_t d = 0; dim && d < session->file->n_dims; d++) {
        if (strcmp(plan_text(session->file, session->file->dims[d].name), dim) == 0) {
            return session_bind_number(session, d, value);
        }
    }
    return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                        "the plan has no dim '%s' (a dim given to dlc with -D is fixed)",
                        dim ? dim : "");
}

/* Whether the program can be computed from the dims bound so far. */
static bool program_bound(const PlanFile *file, PlanProgram program, const int64_t *dims) {
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

/* -- Memory -- */

static dlc_status variable_allocate(dlc_session *session, Variable *variable) {
    const PlanFile *file = session->file;
    const PlanVariable *record = variable->record;
    if (variable->data) {
        return DLC_OK;
    }
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
    for (int32_t a = 0; a < record->type.rank; a++) {
        if (!program_bound(file, file->sizes[record->type.first_size + a], session->dims)) {
            return context_fail(session->context, DLC_ERROR_MISMATCH,
                                "'%s' is %s: its sizes are not known before weights, data or "
                                "an input say them",
                                plan_text(file, record->name), plan_text(file, record->type.text));
        }
    }
    memcpy(vars, session->dims, (size_t)file->n_dims * sizeof(*vars));
    int64_t bytes, declared;
    if (!plan_shape(file, record->type, vars, variable->dims, &bytes) ||
        !plan_eval(file, record->bytes, vars, &declared) || declared != bytes) {
        return context_fail(session->context, DLC_ERROR_FORMAT, "%s: the size of '%s' is malformed",
                            file->name, plan_text(file, record->name));
    }
    void *data = memory_new_aligned(&session->context->allocator, (size_t)layout_round(bytes));
    if (!data) {
        return context_out_of_memory(session->context);
    }
    memset(data, 0, (size_t)layout_round(bytes));
    variable->data = data;
    variable->bytes = bytes;
    return DLC_OK;
}

dlc_status session_allocate(dlc_session *session, const EntryState *entry) {
    dlc_status status = DLC_OK;
    if (!entry) {
        for (int64_t i = 0; status == DLC_OK && i < session->n_variables; i++) {
            status = variable_allocate(session, &session->variables[i]);
        }
        return status;
    }
    for (int32_t i = 0; status == DLC_OK && i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        if (arg->variable >= 0) {
            status = variable_allocate(session, &session->variables[arg->variable]);
        }
    }
    return status;
}

dlc_status session_input(dlc_session *session, EntryState *entry, int32_t number, int64_t rank,
                         const int64_t *dims, void **out) {
    const PlanFile *file = session->file;
    const PlanArg *arg = &session->tables->args[entry->record->first_arg + number];
    Input *input = &entry->inputs[number];
    char what[320];
    snprintf(what, sizeof(what), "input '%s'", plan_text(file, arg->name));
    if (rank != arg->type.rank) {
        return context_fail(session->context, DLC_ERROR_MISMATCH,
                            "%s has %" PRId64 " axes; %s is wanted", what, rank,
                            plan_text(file, arg->type.text));
    }
    int64_t bound[PLAN_MAX_DIMS];
    memcpy(bound, session->dims, (size_t)file->n_dims * sizeof(*bound));
    dlc_status status = shape_bind(session, what, arg->type, dims, (int32_t)rank, bound);
    if (status != DLC_OK) {
        return status;
    }
    int64_t bytes = plan_dtype_bytes(arg->type.dtype);
    for (int32_t a = 0; a < rank; a++) {
        if (!checked_mul(bytes, dims[a], &bytes)) {
            return context_fail(session->context, DLC_ERROR_LIMIT, "%s is too large", what);
        }
    }
    if (!input->data || bytes > input->capacity) {
        void *data = memory_new_aligned(&session->context->allocator, (size_t)layout_round(bytes));
        if (!data) {
            return context_out_of_memory(session->context);
        }
        memory_free_aligned(&session->context->allocator, input->data);
        input->data = data;
        input->capacity = bytes;
    }
    memcpy(input->dims, dims, (size_t)rank * sizeof(*dims));
    input->is_set = true;
    *out = input->data;
    return DLC_OK;
}

dlc_status dlc_set_input(dlc_session *session, const char *entry_name, const char *name,
                         const DLTensor *value) {
    EntryState *entry = session_entry(session, entry_name);
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    int32_t number = name ? entry_input_find(session, entry, name) : -1;
    if (number < 0) {
        return context_fail(session->context, DLC_ERROR_NOT_FOUND, "entry '%s' has no input '%s'",
                            plan_text(session->file, entry->record->name), name ? name : "");
    }
    int32_t dtype;
    dlc_status status = tensor_check(session->context, name, value, &dtype);
    if (status != DLC_OK) {
        return status;
    }
    const PlanArg *arg = &session->tables->args[entry->record->first_arg + number];
    if (dtype != arg->type.dtype) {
        return context_fail(session->context, DLC_ERROR_MISMATCH, "input '%s' is %s; %s is wanted",
                            name, plan_dtype_name(dtype), plan_text(session->file, arg->type.text));
    }
    void *data;
    status = session_input(session, entry, number, value->ndim, value->shape, &data);
    if (status == DLC_OK) {
        tensor_copy_out(value, data);
    }
    return status;
}

/* -- Layouts -- */

static dlc_status arena_grow(dlc_session *session, const Layout *layout) {
    const dlc_allocator *allocator = &session->context->allocator;
    if (layout->arena_bytes > session->arena_bytes || !session->arena) {
        void *arena = memory_new_aligned(allocator, (size_t)layout->arena_bytes);
        if (!arena) {
            return context_fail(session->context, DLC_ERROR_OUT_OF_MEMORY,
                                "out of memory: %s needs %" PRId64 " bytes",
                                plan_text(session->file, layout->entry->name), layout->arena_bytes);
        }
        memory_free_aligned(allocator, session->arena);
        session->arena = arena;
        session->arena_bytes = layout->arena_bytes;
        session->last = NULL;
    }
    if (layout->scratch_bytes > session->scratch_bytes || !session->workers.scratch[0]) {
        for (int t = 0; t < session->threads; t++) {
            void *scratch = memory_new_aligned(allocator, (size_t)layout->scratch_bytes + 64);
            if (!scratch) {
                return context_out_of_memory(session->context);
            }
            memory_free_aligned(allocator, session->workers.scratch[t]);
            session->workers.scratch[t] = scratch;
        }
        session->scratch_bytes = layout->scratch_bytes;
    }
    return DLC_OK;
}

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
    size_t n_bytes = (size_t)session->file->n_dims * sizeof(*dims);
    int found = -1;
    for (int i = 0; i < SESSION_LAYOUTS && entry->layouts[i] && found < 0; i++) {
        found = memcmp(entry->layouts[i]->vars, dims, n_bytes) == 0 ? i : -1;
    }
    Layout *layout = found >= 0 ? entry->layouts[found] : NULL;
    if (!layout) {
        status = layout_create(session->context, session->file, session->tables, entry->record,
                               dims, &layout);
        if (status != DLC_OK) {
            return status;
        }
        found = SESSION_LAYOUTS - 1;
        if (entry->layout == entry->layouts[found]) {
            entry->layout = NULL;
            session->last = session->last == entry ? NULL : session->last;
        }
        layout_destroy(session->context, entry->layouts[found]);
    }
    for (int i = found; i > 0; i--) {
        entry->layouts[i] = entry->layouts[i - 1];
    }
    entry->layouts[0] = layout;
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        int64_t wanted = layout->buffer_bytes[arg->buffer];
        int64_t have = arg->variable >= 0 ? session->variables[arg->variable].bytes : wanted;
        if (arg->role == PLAN_ARG_INPUT && entry->inputs[i].is_set) {
            have = entry->inputs[i].capacity;
        } else if (arg->role == PLAN_ARG_SCALAR) {
            have = 64;
        }
        if (wanted > have) {
            return context_fail(session->context, DLC_ERROR_FORMAT,
                                "%s: the memory of '%s' is malformed", session->file->name,
                                plan_text(session->file, arg->name));
        }
    }
    return arena_grow(session, layout);
}

dlc_status dlc_session_memory(dlc_session *session, const char *name, dlc_memory *out) {
    EntryState *entry = session_entry(session, name);
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    *out = (dlc_memory){.arena_bytes = session->arena_bytes};
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        if (arg->variable >= 0) {
            const Variable *variable = &session->variables[arg->variable];
            out->persistent_bytes += variable->data ? layout_round(variable->bytes) : 0;
        } else if (arg->role == PLAN_ARG_INPUT) {
            const Input *input = &entry->inputs[i];
            out->input_bytes += input->data ? layout_round(input->capacity) : 0;
        } else {
            out->input_bytes += PLAN_ALIGNMENT;
        }
    }
    out->peak_bytes = out->persistent_bytes + out->input_bytes + out->arena_bytes;
    return DLC_OK;
}

dlc_status session_run(dlc_session *session, EntryState *entry) {
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
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
    entry->layout = entry->layouts[0];
    return session_execute(session, entry);
}

/* -- Creation -- */

static dlc_status entries_create(dlc_session *session) {
    const dlc_allocator *allocator = &session->context->allocator;
    const PlanTables *tables = session->tables;
    session->entries = memory_new(allocator, (size_t)tables->n_entries, sizeof(EntryState));
    if (!session->entries) {
        return context_out_of_memory(session->context);
    }
    for (int64_t i = 0; i < tables->n_entries; i++) {
        EntryState *entry = &session->entries[i];
        entry->record = &tables->entries[i];
        entry->inputs = memory_new(allocator, (size_t)entry->record->n_args, sizeof(Input));
        if (!entry->inputs) {
            return context_out_of_memory(session->context);
        }
        int32_t n_buffers = entry->record->n_buffers, n_args = entry->record->n_args;
        session->max_buffers = n_buffers > session->max_buffers ? n_buffers : session->max_buffers;
        session->max_args = n_args > session->max_args ? n_args : session->max_args;
    }
    for (int64_t i = 0; i < tables->n_commands; i++) {
        int32_t n_refs = tables->commands[i].n_refs;
        session->max_refs = n_refs > session->max_refs ? n_refs : session->max_refs;
    }
    size_t scalar_bytes = (size_t)session->max_args * 64;
    session->bases = memory_new(allocator, (size_t)session->max_buffers, sizeof(uint8_t *));
    session->launch_buffers = memory_new(allocator, (size_t)session->max_refs, sizeof(void *));
    session->scalar_memory = memory_new_aligned(allocator, scalar_bytes);
    session->workers.scratch = memory_new(allocator, (size_t)session->threads, sizeof(uint8_t *));
    session->workers.faults = memory_new(allocator, (size_t)session->threads, sizeof(KernelFault));
    session->workers.threads = session->threads;
    if (!session->bases || !session->launch_buffers || !session->scalar_memory ||
        !session->workers.scratch || !session->workers.faults) {
        return context_out_of_memory(session->context);
    }
    if (session->device->start) {
        dlc_status status = session->device->start(allocator, &session->workers);
        if (status != DLC_OK) {
            return context_fail(session->context, status, "cannot start %d threads: %s",
                                session->threads, dlc_status_text(status));
        }
    }
    return DLC_OK;
}

static dlc_status variables_create(dlc_session *session) {
    const PlanFile *file = session->file;
    session->n_variables = file->n_variables;
    session->variables =
        memory_new(&session->context->allocator, (size_t)file->n_variables, sizeof(Variable));
    session->dims = memory_new(&session->context->allocator, (size_t)file->n_dims, 8);
    session->dim_is_shared = memory_new(&session->context->allocator, (size_t)file->n_dims, 1);
    if (!session->variables || !session->dims || !session->dim_is_shared) {
        return context_out_of_memory(session->context);
    }
    for (int32_t d = 0; d < file->n_dims; d++) {
        session->dims[d] = -1;
    }
    for (int64_t i = 0; i < file->n_variables; i++) {
        session->variables[i].record = &file->variables[i];
        PlanProgram bytes = file->variables[i].bytes;
        for (int32_t k = 0; k < bytes.count; k++) {
            const ProgramInstr *instr = &file->programs[bytes.first + k];
            if (instr->code == PROGRAM_VAR) {
                session->dim_is_shared[instr->immediate] = true;
            }
        }
    }
    return DLC_OK;
}

static dlc_status device_open(dlc_session *session, const char *name) {
    dlc_context *context = session->context;
    dlc_plan *plan = session->plan;
    session->device = device_find(name);
    if (!session->device) {
        return context_fail(context, DLC_ERROR_UNSUPPORTED,
                            "unknown device '%s'; there are cpu and null", name);
    }
    int32_t number = strcmp(name, "cpu") == 0 ? plan->target : 0;
    if (number < 0) {
        return context_fail(context, DLC_ERROR_UNSUPPORTED,
                            "%s has no code for this machine's processor", plan->file.name);
    }
    session->tables = &plan->file.targets[number];
    char message[DEVICE_MESSAGE_BYTES] = "";
    if (!session->device->supports(plan_text(session->file, session->tables->target->features),
                                   message)) {
        return context_fail(context, DLC_ERROR_UNSUPPORTED, "%s: %s", plan->file.name, message);
    }
    dlc_status status =
        session->device->load(&context->allocator, session->tables->image,
                              (size_t)session->tables->n_image, &session->module, message);
    return status == DLC_OK ? DLC_OK : context_fail(context, status, "%s", message);
}

dlc_status dlc_session_create(dlc_plan *plan, const dlc_session_options *options,
                              dlc_session **out) {
    if (!plan || !out) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    dlc_context *context = plan->context;
    dlc_session_options given;
    if (!options_read(&given, sizeof(given), options)) {
        return context_fail(context, DLC_ERROR_INVALID_ARGUMENT, "bad struct_size");
    }
    dlc_session *session = memory_new(&context->allocator, 1, sizeof(*session));
    if (!session) {
        return context_out_of_memory(context);
    }
    session->context = context;
    session->plan = plan;
    plan->references++;
    session->file = &plan->file;
    session->poison = given.poison;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    session->threads = given.threads > 0 ? given.threads : cores > 0 ? (int)cores : 1;
    session->threads = session->threads > 1024 ? 1024 : session->threads;
    dlc_status status = device_open(session, given.device ? given.device : "cpu");
    if (status == DLC_OK) {
        status = variables_create(session);
    }
    if (status == DLC_OK) {
        status = entries_create(session);
    }
    for (size_t i = 0; status == DLC_OK && i < given.n_bindings; i++) {
        status = dlc_session_bind(session, given.bindings[i].name, given.bindings[i].value);
    }
    if (status == DLC_OK) {
        const char *seed = plan_setting(session->file, "seed");
        static const char *const counters[] = {"step", "steps", "epoch", "steps_per_epoch", "seed"};
        for (size_t i = 0; status == DLC_OK && i < sizeof(counters) / sizeof(counters[0]); i++) {
            status = dlc_set_counter(session, counters[i], i == 1 || i == 3 ? 1 : 0);
        }
        if (status == DLC_OK) {
            status = dlc_set_counter(session, "seed",
                                     given.has_seed ? given.seed
                                     : seed         ? strtoll(seed, NULL, 10)
                                                    : 0);
        }
    }
    if (status == DLC_OK) {
        status = dlc_set_scalar(session, "lr", NAN);
    }
    if (status != DLC_OK) {
        dlc_session_destroy(session);
        return status;
    }
    *out = session;
    return DLC_OK;
}

void dlc_session_destroy(dlc_session *session) {
    if (!session) {
        return;
    }
    dlc_context *context = session->context;
    const dlc_allocator *allocator = &context->allocator;
    for (int64_t i = 0; session->variables && i < session->n_variables; i++) {
        memory_free_aligned(allocator, session->variables[i].data);
    }
    for (int64_t i = 0; session->entries && i < session->tables->n_entries; i++) {
        EntryState *entry = &session->entries[i];
        for (int32_t a = 0; entry->inputs && a < entry->record->n_args; a++) {
            memory_free_aligned(allocator, entry->inputs[a].data);
        }
        memory_free(allocator, entry->inputs);
        for (int l = 0; l < SESSION_LAYOUTS; l++) {
            layout_destroy(context, entry->layouts[l]);
        }
    }
    if (session->device && session->device->stop) {
        session->device->stop(&session->workers);
    }
    for (int t = 0; session->workers.scratch && t < session->threads; t++) {
        memory_free_aligned(allocator, session->workers.scratch[t]);
    }
    memory_free(allocator, session->workers.scratch);
    memory_free(allocator, session->workers.faults);
    memory_free(allocator, session->variables);
    memory_free(allocator, session->dims);
    memory_free(allocator, session->dim_is_shared);
    memory_free(allocator, session->entries);
    memory_free(allocator, session->bases);
    memory_free(allocator, session->launch_buffers);
    memory_free_aligned(allocator, session->scalar_memory);
    memory_free_aligned(allocator, session->arena);
    if (session->device && session->module) {
        session->device->unload(allocator, session->module);
    }
    dlc_plan_destroy(session->plan);
    memory_free(allocator, session);
}

const dlc_plan *dlc_session_plan(const dlc_session *session) {
    return session->plan;
}
