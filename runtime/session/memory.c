/* What a session holds on its device, and the ways there and back: variables, inputs, the arena,
 * host memory for what is on its way. */
#include "runtime/session/session.h"

#include "ir/base/checked.h"
#include "ir/base/number.h"
#include "runtime/border.h"
#include "runtime/data/data_type.h"
#include "runtime/session/tensor.h"

#include <inttypes.h>
#include <stdio.h>

/* -- Between host and device -- */

/* "(parameters 1.2 GiB, …); what helps": for messages when memory runs out. */
static void memory_help(const dlc_session *session, char *out, size_t n_out) {
    int64_t parameters = 0, slots = 0, inputs = 0;
    for (int64_t i = 0; session->variables && i < session->n_variables; i++) {
        const Variable *variable = &session->variables[i];
        int64_t bytes = variable->data ? layout_round(variable->bytes) : 0;
        *(variable->record->role == PLAN_ARG_SLOT ? &slots : &parameters) += bytes;
    }
    for (int64_t e = 0; session->entries && e < session->tables->n_entries; e++) {
        const EntryState *entry = &session->entries[e];
        for (int32_t i = 0; entry->inputs && i < entry->record->n_args; i++) {
            inputs += entry->inputs[i].data ? layout_round(entry->inputs[i].capacity) : 0;
        }
    }
    snprintf(out, n_out,
             " (held: parameters %s, optimiser state %s, inputs %s, arena %s); dlrun train --batch "
             "auto computes a step in parts that fit, dlc --memory-limit BYTES keeps less, "
             "precision bf16 makes values shorter, a smaller batch needs less, and so does "
             "ending what else runs there",
             number_amount((double)parameters).text, number_amount((double)slots).text,
             number_amount((double)inputs).text, number_amount((double)session->arena_bytes).text);
}

dlc_status session_device_fail(dlc_session *session, dlc_status status) {
    const char *why = session->device->error;
    char help[512] = "";
    if (status == DLC_ERROR_OUT_OF_MEMORY) {
        memory_help(session, help, sizeof(help));
    }
    return context_fail(session->context, status, "%s: %s%s", session->ops->name,
                        *why ? why : dlc_status_text(status), help);
}

dlc_status session_read(dlc_session *session, void *to, const void *from, int64_t bytes) {
    dlc_status status = session->ops->read(session->device, to, from, (size_t)bytes);
    return status == DLC_OK ? DLC_OK : session_device_fail(session, status);
}

dlc_status session_write(dlc_session *session, void *to, const void *from, int64_t bytes) {
    dlc_status status = session->ops->write(session->device, to, from, (size_t)bytes);
    return status == DLC_OK ? DLC_OK : session_device_fail(session, status);
}

dlc_status session_fill(dlc_session *session, void *to, int byte, int64_t bytes) {
    dlc_status status = session->ops->fill(session->device, to, byte, (size_t)bytes);
    return status == DLC_OK ? DLC_OK : session_device_fail(session, status);
}

dlc_status session_staging(dlc_session *session, int64_t bytes, void **out) {
    const dlc_allocator *allocator = &session->context->allocator;
    if (bytes > session->staging_bytes || !session->staging) {
        memory_free_aligned(allocator, session->staging);
        session->staging_bytes = 0;
        session->staging = memory_new_aligned(allocator, (size_t)bytes);
        if (!session->staging) {
            return context_out_of_memory(session->context);
        }
        session->staging_bytes = bytes;
    }
    *out = session->staging;
    return DLC_OK;
}

dlc_status session_host(dlc_session *session, const void *at, int64_t bytes, const void **out) {
    if (session->ops->is_host) {
        *out = at;
        return DLC_OK;
    }
    void *staging;
    dlc_status status = session_staging(session, bytes, &staging);
    *out = staging;
    return status == DLC_OK ? session_read(session, staging, at, bytes) : status;
}

static dlc_status no_memory(dlc_session *session, const char *what, int64_t bytes) {
    const char *why = session->device->error;
    char help[512];
    if (session->device->alloc_status != DLC_OK) { /* an error that has nothing to do with room */
        return session_device_fail(session, session->device->alloc_status);
    }
    memory_help(session, help, sizeof(help));
    return context_fail(
        session->context, DLC_ERROR_OUT_OF_MEMORY, "out of memory: %s needs %s on %s%s%s%s", what,
        number_amount((double)bytes).text, session->ops->name, *why ? ": " : "", why, help);
}

/* -- Variables and inputs -- */

/* A variable whose sizes make no tensor: an axis below 0, with the dims that say so, or a plan that
 * is not sound. */
static dlc_status variable_misshapen(dlc_session *session, const PlanVariable *record,
                                     const int64_t *vars) {
    const PlanFile *file = session->file;
    const char *name = plan_text(file, record->name);
    for (int32_t a = 0; a < record->type.rank; a++) {
        PlanProgram program = file->sizes[record->type.first_size + a];
        int64_t size;
        if (!plan_eval(file, program, vars, &size) || size >= 0) {
            continue;
        }
        char dims[512];
        dims_text(file, vars, &program, 1, dims, sizeof(dims));
        return context_fail(session->context, DLC_ERROR_MISMATCH,
                            "'%s' is %s: its axis %d would be %" PRId64 "%s", name,
                            plan_text(file, record->type.text), (int)a, size, dims);
    }
    return context_fail(session->context, DLC_ERROR_FORMAT, "%s: the size of '%s' is malformed",
                        file->name, name);
}

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
        return variable_misshapen(session, record, vars);
    }
    void *data = session->ops->alloc(session->device, (size_t)layout_round(bytes));
    if (!data) {
        char what[320];
        snprintf(what, sizeof(what), "%s '%s'",
                 record->role == PLAN_ARG_SLOT ? "optimiser state" : "parameter",
                 plan_text(file, record->name));
        return no_memory(session, what, bytes);
    }
    dlc_status status = session_fill(session, data, 0, layout_round(bytes));
    if (status != DLC_OK) {
        session->ops->free(session->device, data);
        return status;
    }
    variable->data = data;
    variable->bytes = bytes;
    return DLC_OK;
}

dlc_status session_allocate(dlc_session *session, const EntryState *entry) {
    dlc_status status = DLC_OK;
    if (!entry) {
        status = session_bind_inputs(session);
        for (int64_t i = 0; status == DLC_OK && i < session->n_variables; i++) {
            status = variable_allocate(session, &session->variables[i]);
        }
        return status;
    }
    for (int32_t i = 0; status == DLC_OK && i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        Variable *variable = arg->variable >= 0 ? &session->variables[arg->variable] : NULL;
        if (variable) {
            status = variable_allocate(session, variable);
        }
        if (variable && status == DLC_OK && variable->average >= 0) {
            status = variable_allocate(session, &session->variables[variable->average]);
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
        if (!checked_mul(bytes, dims[a], &bytes) || bytes > INT64_MAX / 4) {
            return context_fail(session->context, DLC_ERROR_LIMIT, "%s is too large", what);
        }
    }
    if (!input->data || bytes > input->capacity) {
        void *data = session->ops->alloc(session->device, (size_t)layout_round(bytes));
        if (!data) {
            return no_memory(session, what, bytes);
        }
        session->ops->free(session->device, input->data);
        input->data = data;
        input->capacity = bytes;
    }
    memcpy(input->dims, dims, (size_t)rank * sizeof(*dims));
    input->bytes = bytes;
    input->is_set = true;
    input->is_of_data = false;
    *out = input->data;
    if (!session->ops->is_host) {
        status = session_staging(session, bytes, out);
        input->is_set = status == DLC_OK;
    }
    return status;
}

dlc_status session_input_done(dlc_session *session, EntryState *entry, int32_t number) {
    Input *input = &entry->inputs[number];
    dlc_status status = session->ops->is_host
                            ? DLC_OK
                            : session_write(session, input->data, session->staging, input->bytes);
    input->is_set = status == DLC_OK;
    return status;
}

/* The tensor in the input's type, where every value fits; before anything of the input changes. The
 * caller frees *out. */
static dlc_status input_convert(dlc_session *session, const PlanArg *arg, const char *name,
                                const DLTensor *value, int32_t dtype, void **out) {
    const dlc_allocator *allocator = &session->context->allocator;
    int64_t n = tensor_elements(value), bad = 0;
    void *from = memory_new(allocator, (size_t)n, (size_t)plan_dtype_bytes(dtype));
    void *to = memory_new(allocator, (size_t)n, (size_t)plan_dtype_bytes(arg->type.dtype));
    dlc_status status = DLC_OK;
    if (!from || !to) {
        status = context_out_of_memory(session->context);
        goto done;
    }
    tensor_copy_out(value, from);
    ConvertResult result =
        data_convert(from, (DataType)dtype, to, (PlanDType)arg->type.dtype, n, 0, &bad);
    if (result != CONVERT_OK) {
        char element[DATA_VALUE_BYTES];
        data_value_text((const uint8_t *)from + bad * plan_dtype_bytes(dtype), (DataType)dtype,
                        element);
        status =
            context_fail(session->context, DLC_ERROR_MISMATCH,
                         "input '%s': element %" PRId64 " is %s, which %s %s", name, bad, element,
                         result == CONVERT_FRACTION ? "is not whole; the input is" : "does not fit",
                         plan_text(session->file, arg->type.text));
    }
done:
    memory_free(allocator, from);
    if (status == DLC_OK) {
        *out = to;
    } else {
        memory_free(allocator, to);
    }
    return status;
}

dlc_status dlc_set_input(dlc_session *session, const char *entry_name, const char *name,
                         const DLTensor *value) {
    BORDER_CALL(session ? session->context : NULL);
    if (!value) {
        return border_missing(session->context, "value");
    }
    EntryState *entry = session_entry(session, entry_name);
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    int32_t number = name ? entry_input_find(session, entry, name) : -1;
    if (number < 0) {
        char names[ENTRY_NAMES_BYTES];
        return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                            "entry '%s' has no input '%s'; %s",
                            plan_text(session->file, entry->record->name), name ? name : "",
                            entry_names(session, entry, true, names));
    }
    int32_t dtype;
    dlc_status status = tensor_check(session->context, name, value, &dtype);
    if (status != DLC_OK) {
        return status;
    }
    const PlanArg *arg = &session->tables->args[entry->record->first_arg + number];
    void *packed = NULL;
    if (dtype != arg->type.dtype) {
        status = input_convert(session, arg, name, value, dtype, &packed);
        if (status != DLC_OK) {
            return status;
        }
    }
    void *data;
    status = session_input(session, entry, number, value->ndim, value->shape, &data);
    if (status == DLC_OK && packed) {
        memcpy(data, packed, (size_t)entry->inputs[number].bytes);
    } else if (status == DLC_OK) {
        tensor_copy_out(value, data);
    }
    memory_free(&session->context->allocator, packed);
    return status == DLC_OK ? session_input_done(session, entry, number) : status;
}

/* -- The arena -- */

void session_arena_free(dlc_session *session) {
    for (int32_t i = 0; session->apart && i < session->max_buffers; i++) {
        if (session->apart[i]) {
            session->ops->free(session->device, session->apart[i]);
            session->apart[i] = NULL;
        }
    }
    session->apart_layout = NULL;
    if (session->arena) {
        session->ops->free(session->device, session->arena);
    }
    session->arena = NULL;
    session->arena_bytes = 0;
    session->last = NULL;
}

static dlc_status arena_missing(dlc_session *session, const Layout *layout, int64_t bytes) {
    char what[384];
    int n = snprintf(what, sizeof(what), "the arena of '%s'",
                     plan_text(session->file, layout->entry->name));
    int32_t batch = plan_batch_dim(session->file, session->tables);
    if (batch >= 0 && n > 0 && (size_t)n < sizeof(what)) {
        snprintf(what + n, sizeof(what) - (size_t)n, " for %s = %" PRId64,
                 plan_text(session->file, session->file->dims[batch].name), layout->vars[batch]);
    }
    return no_memory(session, what, bytes);
}

/* Guarded: every buffer of the arena is a block of its own, made anew when the layout changes. */
static dlc_status arena_apart(dlc_session *session, const Layout *layout) {
    const PlanEntry *entry = layout->entry;
    const PlanBuffer *buffers = layout->tables->buffers + entry->first_buffer;
    if (session->apart_layout == layout) {
        return DLC_OK;
    }
    session_arena_free(session);
    for (int32_t i = 0; i < entry->n_buffers; i++) {
        if (buffers[i].kind != PLAN_BUFFER_ARENA) {
            continue;
        }
        session->apart[i] = session->ops->alloc(session->device, (size_t)layout->buffer_bytes[i]);
        if (!session->apart[i]) {
            session_arena_free(session);
            return arena_missing(session, layout, layout->buffer_bytes[i]);
        }
        session->arena_bytes += layout_round(layout->buffer_bytes[i]);
    }
    session->apart_layout = layout;
    return DLC_OK;
}

dlc_status session_arena(dlc_session *session, const Layout *layout) {
    dlc_status status = session->ops->reserve(session->device, layout->scratch_bytes);
    if (status != DLC_OK) {
        return session_device_fail(session, status);
    }
    if (session->guarded) {
        return arena_apart(session, layout);
    }
    if (layout->arena_bytes > session->arena_bytes || !session->arena) {
        /* Nothing in it outlives a run, so the old one goes first. */
        session_arena_free(session);
        session->arena = session->ops->alloc(session->device, (size_t)layout->arena_bytes);
        if (!session->arena) {
            return arena_missing(session, layout, layout->arena_bytes);
        }
        session->arena_bytes = layout->arena_bytes;
    }
    return DLC_OK;
}

/* -- What it comes to -- */

int64_t session_table_bytes(const dlc_session *session) {
    int64_t bytes = (int64_t)sizeof(*session) + session->staging_bytes;
    bytes += session->n_variables * (int64_t)sizeof(Variable);
    bytes += session->file->n_dims * (int64_t)(sizeof(int64_t) + sizeof(bool));
    bytes += session->max_buffers * (int64_t)(sizeof(uint8_t *) * (session->guarded ? 2 : 1));
    bytes += session->max_refs * (int64_t)sizeof(void *);
    bytes += session->max_group * (int64_t)sizeof(DeviceLaunch);
    bytes += session->max_scalars * SCALAR_STRIDE + session->max_numbers * NUMBER_STRIDE;
    for (int64_t i = 0; i < session->tables->n_entries; i++) {
        const EntryState *entry = &session->entries[i];
        bytes += (int64_t)sizeof(*entry) + entry->record->n_args * (int64_t)sizeof(Input) +
                 entry->record->n_results * (int64_t)sizeof(int32_t);
        for (int l = 0; l < SESSION_LAYOUTS && entry->slots[l].layout; l++) {
            bytes += entry->slots[l].layout->table_bytes;
            bytes += recording_bytes(entry->slots[l].recording);
            bytes += calls_bytes(entry->slots[l].calls);
        }
    }
    return bytes;
}

dlc_status dlc_session_memory(dlc_session *session, const char *name, dlc_memory *out) {
    BORDER_CALL(session ? session->context : NULL);
    if (!out) {
        return border_missing(session->context, "out");
    }
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
    out->overhead_bytes = session_table_bytes(session);
    int64_t device =
        session->ops->overhead_bytes ? session->ops->overhead_bytes(session->device) : -1;
    out->overhead_bytes += device > 0 ? device : 0;
    if (!session->ops->is_host) {
        out->overhead_bytes += session->file->n_constants;
    }
    return DLC_OK;
}
