/* Sessions: creation on a device, and their end. */
#include "runtime/border.h"
#include "runtime/session/average.h"
#include "runtime/session/session.h"
#include "runtime/session/trace.h"

#include <math.h>
#include <stdlib.h>

/* Places of the entry's scalars and numbers in their blocks. */
static dlc_status entry_create(dlc_session *session, EntryState *entry) {
    const dlc_allocator *allocator = &session->context->allocator;
    const PlanTables *tables = session->tables;
    const PlanEntry *record = entry->record;
    entry->inputs = memory_new(allocator, (size_t)record->n_args, sizeof(Input));
    entry->numbers = memory_new(allocator, (size_t)record->n_results, sizeof(int32_t));
    if (!entry->inputs || !entry->numbers) {
        return context_out_of_memory(session->context);
    }
    for (int32_t i = 0; i < record->n_args; i++) {
        if (tables->args[record->first_arg + i].role == PLAN_ARG_SCALAR) {
            entry->inputs[i].scalar = entry->n_scalars++;
        }
    }
    for (int32_t i = 0; i < record->n_results; i++) {
        int32_t role = tables->results[record->first_result + i].role;
        bool is_number = role != PLAN_RESULT_OUTPUT && role != PLAN_RESULT_STORE;
        entry->numbers[i] = is_number ? entry->n_numbers++ : -1;
    }
    return DLC_OK;
}

static int32_t larger(int32_t a, int32_t b) {
    return a > b ? a : b;
}

static dlc_status entries_create(dlc_session *session) {
    const PlanTables *tables = session->tables;
    session->entries =
        memory_new(&session->context->allocator, (size_t)tables->n_entries, sizeof(EntryState));
    if (!session->entries) {
        return context_out_of_memory(session->context);
    }
    for (int64_t i = 0; i < tables->n_entries; i++) {
        EntryState *entry = &session->entries[i];
        entry->record = &tables->entries[i];
        dlc_status status = entry_create(session, entry);
        if (status != DLC_OK) {
            return status;
        }
        session->max_buffers = larger(session->max_buffers, entry->record->n_buffers);
        session->max_scalars = larger(session->max_scalars, entry->n_scalars);
        session->max_numbers = larger(session->max_numbers, entry->n_numbers);
    }
    int32_t n_refs = 0, n_group = 0;
    for (int64_t i = 0; i < tables->n_commands; i++) {
        const PlanCommand *command = &tables->commands[i];
        bool joins = command->kind == PLAN_LAUNCH && command->flags & PLAN_COMMAND_GROUPED;
        n_refs = command->n_refs + (joins ? n_refs : 0);
        n_group = 1 + (joins ? n_group : 0);
        session->max_refs = larger(session->max_refs, n_refs);
        session->max_group = larger(session->max_group, n_group);
    }
    return DLC_OK;
}

/* What steps need beside tensors. */
static dlc_status alloc_failed(dlc_session *session) {
    dlc_status status = session->device->alloc_status;
    return session_device_fail(session, status != DLC_OK ? status : DLC_ERROR_OUT_OF_MEMORY);
}

static dlc_status blocks_create(dlc_session *session) {
    const dlc_allocator *allocator = &session->context->allocator;
    size_t n_buffers = (size_t)session->max_buffers;
    size_t n_scalars = (size_t)session->max_scalars * SCALAR_STRIDE;
    size_t n_numbers = (size_t)session->max_numbers * NUMBER_STRIDE;
    session->bases = memory_new(allocator, n_buffers, sizeof(uint8_t *));
    session->launch_buffers = memory_new(allocator, (size_t)session->max_refs, sizeof(void *));
    session->launches = memory_new(allocator, (size_t)session->max_group, sizeof(DeviceLaunch));
    session->scalar_host = memory_new(allocator, n_scalars, 1);
    session->number_host = memory_new(allocator, n_numbers, 1);
    session->step_metrics =
        memory_new(allocator, (size_t)session->max_numbers, sizeof(*session->step_metrics));
    if (session->guarded) {
        session->apart = memory_new(allocator, n_buffers, sizeof(uint8_t *));
    }
    if (!session->bases || !session->launch_buffers || !session->launches ||
        !session->scalar_host || !session->number_host || !session->step_metrics ||
        (session->guarded && !session->apart)) {
        return context_out_of_memory(session->context);
    }
    session->scalar_memory = session->ops->alloc(session->device, n_scalars);
    if (!session->scalar_memory) {
        return alloc_failed(session);
    }
    if (session->ops->is_host) {
        session->constants = session->file->constants;
        return DLC_OK;
    }
    session->number_memory = session->ops->alloc(session->device, n_numbers);
    session->constants =
        session->ops->alloc(session->device, (size_t)session->file->n_constants + 1);
    if (!session->number_memory || !session->constants) {
        return alloc_failed(session);
    }
    return session_write(session, (void *)(uintptr_t)session->constants, session->file->constants,
                         session->file->n_constants);
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

dlc_status session_create_on(dlc_plan *plan, const dlc_session_options *options,
                             const DeviceOps *ops, dlc_session **out) {
    dlc_context *context = plan->context;
    dlc_session_options given;
    if (!border_options(context, "dlc_session_options", &given, sizeof(given), options)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (!given.bindings && given.n_bindings > 0) {
        return border_missing(context, "dlc_session_options.bindings");
    }
    dlc_session *session = memory_new(&context->allocator, 1, sizeof(*session));
    if (!session) {
        return context_out_of_memory(context);
    }
    border_child_begin(context, &session->child, session_end);
    session->context = context;
    session->plan = plan;
    plan->references++;
    session->file = &plan->file;
    session->poison = given.poison;
    session->guarded = given.guarded != 0;
    session->no_libraries = given.no_libraries != 0;
    session->raw_weights = given.raw_weights != 0;
    dlc_status status = session_device_open(session, &given, ops);
    if (status == DLC_OK && given.trace) {
        status = trace_open(session, given.trace);
    }
    if (status == DLC_OK) {
        session->no_recording =
            session->guarded || given.poison || given.trace || !session->ops->record;
        status = variables_create(session);
    }
    if (status == DLC_OK) {
        averages_find(session);
    }
    if (status == DLC_OK) {
        status = entries_create(session);
    }
    if (status == DLC_OK) {
        status = blocks_create(session);
    }
    for (size_t i = 0; status == DLC_OK && i < given.n_bindings; i++) {
        status = dlc_session_bind(session, given.bindings[i].name, given.bindings[i].value);
    }
    if (status == DLC_OK) {
        status = scalars_create(session, &given);
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
    return out ? session_create_on(plan, options, NULL, out) : border_missing(plan->context, "out");
}

static void entry_destroy(dlc_session *session, EntryState *entry) {
    for (int32_t a = 0; entry->inputs && a < entry->record->n_args; a++) {
        if (entry->inputs[a].data) {
            session->ops->free(session->device, entry->inputs[a].data);
        }
    }
    memory_free(&session->context->allocator, entry->inputs);
    memory_free(&session->context->allocator, entry->rows);
    memory_free(&session->context->allocator, entry->numbers);
    for (int i = 0; i < SESSION_LAYOUTS; i++) {
        recording_destroy(session, entry->slots[i].recording);
        calls_destroy(session, entry->slots[i].calls);
        layout_destroy(session->context, entry->slots[i].layout);
    }
}

/* What is on the device goes before the device. */
static void device_close(dlc_session *session) {
    const DeviceOps *ops = session->ops;
    if (!session->device) {
        return;
    }
    session_arena_free(session);
    for (int64_t i = 0; session->variables && i < session->n_variables; i++) {
        if (session->variables[i].data) {
            ops->free(session->device, session->variables[i].data);
        }
    }
    void *const blocks[3] = {session->scalar_memory, session->number_memory,
                             ops->is_host ? NULL : (void *)(uintptr_t)session->constants};
    for (int i = 0; i < 3; i++) {
        if (blocks[i]) {
            ops->free(session->device, blocks[i]);
        }
    }
    if (session->module) {
        ops->unload(session->device, session->module);
    }
    ops->close(session->device);
}

static void session_end(ContextChild *child) {
    dlc_session *session = (dlc_session *)child;
    dlc_context *context = session->context;
    const dlc_allocator *allocator = &context->allocator;
    for (int64_t i = 0; session->entries && i < session->tables->n_entries; i++) {
        if (session->entries[i].record) {
            entry_destroy(session, &session->entries[i]);
        }
    }
    (void)trace_close(session);
    device_close(session);
    void *const parts[] = {session->variables,    session->dims,        session->dim_is_shared,
                           session->entries,      session->bases,       session->launch_buffers,
                           session->launches,     session->scalar_host, session->number_host,
                           session->step_metrics, session->apart};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        memory_free(allocator, parts[i]);
    }
    memory_free_aligned(allocator, session->staging);
    plan_release(session->plan);
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
    return session ? session->description : "";
}
