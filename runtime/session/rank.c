/* A rank's beginning and end: its device, the tables that runs need, layouts by binding. */
#include "runtime/session/rank.h"
#include "runtime/session/trace.h"
#include "runtime/session/watch.h"

#include <stdio.h>

/* -- Beginning -- */

/* Places of the entry's scalars and numbers in their blocks. */
static dlc_status entry_create(Rank *rank, EntryState *entry) {
    const dlc_allocator *allocator = &rank->context->allocator;
    const PlanTables *tables = rank->tables;
    const PlanEntry *record = entry->record;
    entry->inputs = memory_new(allocator, (size_t)record->n_args, sizeof(Input));
    entry->numbers = memory_new(allocator, (size_t)record->n_results, sizeof(int32_t));
    entry->parts = rank->is_of_many ? memory_new(allocator, (size_t)record->n_args, sizeof(Input))
                                    : entry->inputs;
    if (!entry->inputs || !entry->parts || !entry->numbers) {
        return context_out_of_memory(rank->context);
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
    int32_t depth = 0;
    for (int32_t i = 0; i < record->n_commands; i++) {
        const PlanCommand *command = &tables->commands[record->first_command + i];
        bool is_collective = command->kind == PLAN_COLLECTIVE;
        depth += (command->kind == PLAN_LOOP) - (command->kind == PLAN_LOOP_END);
        entry->exchanges_again |= is_collective && depth > 0;
        entry->spreads_moves |= !is_collective && command->queue > 0;
        bool is_barrier = command->kind == PLAN_BARRIER;
        entry->is_gated |= is_barrier && command->n_refs > 0;
        entry->stores |= is_barrier;
        entry->waits |= command->kind == PLAN_TEST || command->kind == PLAN_CHECK ||
                        command->kind == PLAN_SHOW || is_collective ||
                        (is_barrier && (command->n_refs == 0 || rank->is_of_many)) ||
                        (command->kind == PLAN_LOOP && command->flags & PLAN_COMMAND_WHILE);
    }
    return DLC_OK;
}

static int32_t larger(int32_t a, int32_t b) {
    return a > b ? a : b;
}

static dlc_status entries_create(Rank *rank) {
    const PlanTables *tables = rank->tables;
    rank->entries =
        memory_new(&rank->context->allocator, (size_t)tables->n_entries, sizeof(EntryState));
    if (!rank->entries) {
        return context_out_of_memory(rank->context);
    }
    for (int64_t i = 0; i < tables->n_entries; i++) {
        EntryState *entry = &rank->entries[i];
        entry->record = &tables->entries[i];
        dlc_status status = entry_create(rank, entry);
        if (status != DLC_OK) {
            return status;
        }
        rank->max_buffers = larger(rank->max_buffers, entry->record->n_buffers);
        rank->max_scalars = larger(rank->max_scalars, entry->n_scalars);
        rank->max_numbers = larger(rank->max_numbers, entry->n_numbers);
    }
    int32_t n_refs = 0, n_group = 0;
    for (int64_t i = 0; i < tables->n_commands; i++) {
        const PlanCommand *command = &tables->commands[i];
        bool joins = command->kind == PLAN_LAUNCH && command->flags & PLAN_COMMAND_GROUPED;
        n_refs = command->n_refs + (joins ? n_refs : 0);
        n_group = 1 + (joins ? n_group : 0);
        rank->max_refs = larger(rank->max_refs, n_refs);
        rank->max_group = larger(rank->max_group, n_group);
    }
    return DLC_OK;
}

static dlc_status alloc_failed(Rank *rank) {
    dlc_status status = rank->device->alloc_status;
    return rank_device_fail(rank, status != DLC_OK ? status : DLC_ERROR_OUT_OF_MEMORY);
}

/* What steps need beside tensors. */
static dlc_status blocks_create(Rank *rank) {
    const dlc_allocator *allocator = &rank->context->allocator;
    size_t n_buffers = (size_t)rank->max_buffers;
    size_t n_scalars = (size_t)rank->max_scalars * SCALAR_STRIDE;
    size_t n_numbers = (size_t)rank->max_numbers * NUMBER_STRIDE;
    rank->bases = memory_new(allocator, n_buffers, sizeof(uint8_t *));
    rank->launch_buffers = memory_new(allocator, (size_t)rank->max_refs, sizeof(void *));
    rank->launches = memory_new(allocator, (size_t)rank->max_group, sizeof(DeviceLaunch));
    rank->scalar_host = memory_new(allocator, n_scalars, 1);
    if (rank->orders->guarded) {
        rank->apart = memory_new(allocator, n_buffers, sizeof(uint8_t *));
    }
    if (!rank->bases || !rank->launch_buffers || !rank->launches || !rank->scalar_host ||
        (rank->orders->guarded && !rank->apart)) {
        return context_out_of_memory(rank->context);
    }
    rank->scalar_memory = rank->ops->alloc(rank->device, n_scalars);
    rank->number_memory = rank->ops->alloc(rank->device, n_numbers);
    if (!rank->scalar_memory || !rank->number_memory) {
        return alloc_failed(rank);
    }
    if (rank->ops->is_host) {
        rank->constants = rank->file->constants;
        return DLC_OK;
    }
    rank->constants = rank->ops->alloc(rank->device, (size_t)rank->file->n_constants + 1);
    if (!rank->constants) {
        return alloc_failed(rank);
    }
    return rank_write(rank, (void *)(uintptr_t)rank->constants, rank->file->constants,
                      rank->file->n_constants);
}

dlc_status rank_open(Rank *rank, dlc_context *context, const PlanFile *file, int32_t number,
                     const DeviceOps *ops, const DeviceOptions *options) {
    char message[DEVICE_MESSAGE_BYTES] = "", about[256] = "";
    Device *device = NULL;
    DeviceModule *module = NULL;
    dlc_status status = ops->open(&context->allocator, options, &device, message);
    if (status != DLC_OK) {
        return context_fail(context, status, "%s: %s", ops->name,
                            message[0] ? message : dlc_status_text(status));
    }
    const PlanTables *tables = &file->targets[number];
    status = ops->load(device, tables->image, (size_t)tables->n_image, &module);
    if (status != DLC_OK) {
        context_fail(context, status, "%s: %s", file->name,
                     device->error[0] ? device->error : dlc_status_text(status));
        ops->close(device);
        return status;
    }
    *rank = (Rank){.context = context,
                   .file = file,
                   .tables = tables,
                   .ops = ops,
                   .device = device,
                   .queue = device->queue,
                   .queues = {device->queue},
                   .module = module};
    ops->describe(device, about, sizeof(about));
    snprintf(rank->description, sizeof(rank->description), "%s%s%s (%s), code for %s", ops->name,
             *options->which ? ":" : "", options->which, about,
             plan_text(file, tables->target->machine));
    return DLC_OK;
}

dlc_status rank_begin(Rank *rank, const Orders *orders) {
    rank->orders = orders;
    rank->no_recording = orders->guarded || orders->poison || rank->trace || !rank->ops->record;
    dlc_status status = variables_create(rank);
    if (status == DLC_OK) {
        status = entries_create(rank);
    }
    if (status == DLC_OK) {
        status = blocks_create(rank);
    }
    if (status == DLC_OK) {
        status = exchange_create(rank);
    }
    if (status == DLC_OK) {
        status = started_create(rank);
    }
    return status == DLC_OK ? runs_create(rank) : status;
}

/* -- Layouts -- */

dlc_status rank_layout(Rank *rank, EntryState *entry, const int64_t *dims) {
    LayoutSlot *slots = entry->slots;
    size_t n_bytes = (size_t)rank->file->n_dims * sizeof(*dims);
    int found = -1;
    for (int i = 0; i < RANK_LAYOUTS && slots[i].layout && found < 0; i++) {
        found = memcmp(slots[i].layout->vars, dims, n_bytes) == 0 ? i : -1;
    }
    LayoutSlot slot = {.layout = NULL};
    if (found >= 0) {
        slot = slots[found];
    } else {
        dlc_status status = queues_make(rank, entry);
        if (status == DLC_OK) {
            status = layout_create(rank->context, rank->file, rank->tables, entry->record,
                                   &rank->place, dims, &slot.layout);
        }
        if (status == DLC_OK) {
            status = calls_create(rank, slot.layout, &slot.calls);
        }
        if (status != DLC_OK) {
            layout_destroy(rank->context, slot.layout);
            return status;
        }
        found = RANK_LAYOUTS - 1;
        LayoutSlot *oldest = &slots[found];
        if (entry->layout == oldest->layout) {
            entry->layout = NULL;
            rank->last = rank->last == entry ? NULL : rank->last;
        }
        if (rank->apart_layout == oldest->layout) {
            rank_arena_free(rank);
        }
        recording_destroy(rank, oldest->recording);
        calls_destroy(rank, oldest->calls);
        layout_destroy(rank->context, oldest->layout);
    }
    for (int i = found; i > 0; i--) {
        slots[i] = slots[i - 1];
    }
    slots[0] = slot;
    return DLC_OK;
}

int64_t rank_table_bytes(const Rank *rank) {
    int64_t bytes = (int64_t)sizeof(*rank) + rank->staging_bytes;
    bytes += rank->n_variables * (int64_t)sizeof(Variable);
    bytes += rank->max_buffers * (int64_t)(sizeof(uint8_t *) * (rank->orders->guarded ? 2 : 1));
    bytes += rank->max_refs * (int64_t)sizeof(void *);
    bytes += rank->max_group * (int64_t)sizeof(DeviceLaunch);
    bytes += rank->max_scalars * SCALAR_STRIDE;
    bytes += RANK_RUNS * (rank->max_numbers * NUMBER_STRIDE + (int64_t)sizeof(KernelFault));
    for (int64_t i = 0; i < rank->tables->n_entries; i++) {
        const EntryState *entry = &rank->entries[i];
        bytes += (int64_t)sizeof(*entry) + entry->record->n_args * (int64_t)sizeof(Input) +
                 entry->record->n_results * (int64_t)sizeof(int32_t);
        for (int l = 0; l < RANK_LAYOUTS && entry->slots[l].layout; l++) {
            bytes += entry->slots[l].layout->table_bytes;
            bytes += recording_bytes(entry->slots[l].recording);
            bytes += calls_bytes(entry->slots[l].calls);
        }
    }
    return bytes;
}

/* -- End -- */

static void entry_destroy(Rank *rank, EntryState *entry) {
    for (int32_t a = 0; entry->parts && a < entry->record->n_args; a++) {
        if (entry->parts[a].data) {
            rank->ops->free(rank->device, entry->parts[a].data);
        }
    }
    for (int32_t a = 0; entry->parts != entry->inputs && a < entry->record->n_args; a++) {
        memory_free_aligned(&rank->context->allocator,
                            entry->inputs ? entry->inputs[a].data : NULL);
        memory_free_aligned(&rank->context->allocator,
                            entry->inputs ? entry->inputs[a].dealt_room : NULL);
    }
    if (entry->parts != entry->inputs) {
        memory_free(&rank->context->allocator, entry->parts);
    }
    memory_free(&rank->context->allocator, entry->inputs);
    memory_free(&rank->context->allocator, entry->rows);
    memory_free(&rank->context->allocator, entry->numbers);
    queues_forget(rank, entry);
    for (int i = 0; i < RANK_LAYOUTS; i++) {
        recording_destroy(rank, entry->slots[i].recording);
        calls_destroy(rank, entry->slots[i].calls);
        layout_destroy(rank->context, entry->slots[i].layout);
    }
}

/* What is on the device goes before the device. */
void rank_close(Rank *rank) {
    const DeviceOps *ops = rank->ops;
    if (!rank->device) {
        return;
    }
    const dlc_allocator *allocator = &rank->context->allocator;
    for (int64_t i = 0; rank->entries && i < rank->tables->n_entries; i++) {
        if (rank->entries[i].record) {
            entry_destroy(rank, &rank->entries[i]);
        }
    }
    runs_destroy(rank);
    watch_destroy(rank);
    started_destroy(rank);
    exchange_destroy(rank);
    queues_close(rank);
    (void)trace_close(rank);
    rank_arena_free(rank);
    variables_destroy(rank);
    void *const blocks[3] = {rank->scalar_memory, rank->number_memory,
                             ops->is_host ? NULL : (void *)(uintptr_t)rank->constants};
    for (int i = 0; i < 3; i++) {
        if (blocks[i]) {
            ops->free(rank->device, blocks[i]);
        }
    }
    ops->unload(rank->device, rank->module);
    ops->close(rank->device);
    void *const parts[] = {rank->entries,  rank->bases,       rank->launch_buffers,
                           rank->launches, rank->scalar_host, rank->apart};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        memory_free(allocator, parts[i]);
    }
    memory_free_aligned(allocator, rank->staging);
    *rank = (Rank){.device = NULL};
}
