/* Runs of entries: begun, which gives the device all their work, and settled, which waits for it
 * and takes what they gave. A run's numbers and the queue's fault word go to a slot of a ring on
 * the host, so that more may be begun before the first is settled. Where one of them fails, those
 * behind it have stored nothing: their gates stayed shut (DeviceOps.gate), and they count as never
 * begun. */
#include "runtime/session/rank.h"
#include "runtime/session/trace.h"
#include "runtime/session/watch.h"

#include <math.h>

dlc_status runs_create(Rank *rank) {
    size_t n_numbers = (size_t)rank->max_numbers * NUMBER_STRIDE;
    for (int i = 0; i < RANK_RUNS; i++) {
        RunSlot *run = &rank->runs[i];
        run->fault = rank_host_alloc(rank, (int64_t)(sizeof(KernelFault) + n_numbers));
        if (!run->fault) {
            return rank_no_memory(rank, "what runs give", (int64_t)n_numbers);
        }
        run->numbers = (uint8_t *)(run->fault + 1);
        dlc_status status = rank->ops->event_create(rank->device, &run->done);
        if (status != DLC_OK) {
            return rank_device_fail(rank, status);
        }
    }
    rank->numbers = rank->runs[0].numbers;
    return DLC_OK;
}

void runs_destroy(Rank *rank) {
    for (int i = 0; i < RANK_RUNS; i++) {
        rank->ops->event_destroy(rank->runs[i].done);
        rank_host_free(rank, rank->runs[i].fault);
        rank->runs[i] = (RunSlot){.fault = NULL};
    }
}

static void bases_set(Rank *rank, const EntryState *entry) {
    const Layout *layout = entry->layout;
    const PlanEntry *record = entry->record;
    const PlanBuffer *buffers = rank->tables->buffers + record->first_buffer;
    for (int32_t i = 0; i < record->n_buffers; i++) {
        const PlanBuffer *buffer = &buffers[i];
        switch (buffer->kind) {
        case PLAN_BUFFER_ARENA:
            rank->bases[i] =
                rank->orders->guarded ? rank->apart[i] : rank->arena + layout->buffer_offset[i];
            break;
        case PLAN_BUFFER_CONSTANT:
            rank->bases[i] = (uint8_t *)(uintptr_t)rank->constants + buffer->offset;
            break;
        default: {
            const PlanArg *arg = &rank->tables->args[record->first_arg + buffer->index];
            if (arg->role == PLAN_ARG_INPUT) {
                rank->bases[i] = entry->parts[buffer->index].data;
            } else if (arg->role == PLAN_ARG_SCALAR) {
                rank->bases[i] =
                    rank->scalar_memory + SCALAR_STRIDE * entry->inputs[buffer->index].scalar;
            } else {
                rank->bases[i] = rank_entry_variable(rank, entry, arg->variable)->data;
            }
            break;
        }
        }
    }
}

static dlc_status scalars_write(Rank *rank, const EntryState *entry) {
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &rank->tables->args[entry->record->first_arg + i];
        if (arg->role != PLAN_ARG_SCALAR) {
            continue;
        }
        const Scalar *scalar = orders_scalar(rank->orders, plan_text(rank->file, arg->name));
        double real = scalar ? scalar->real : NAN;
        int64_t integer = scalar ? scalar->integer : 0;
        void *to = rank->scalar_host + SCALAR_STRIDE * entry->inputs[i].scalar;
        float single = (float)real;
        int32_t narrow = (int32_t)integer;
        switch (arg->type.dtype) {
        case PLAN_F64:
            memcpy(to, &real, sizeof(real));
            break;
        case PLAN_F32:
            memcpy(to, &single, sizeof(single));
            break;
        case PLAN_I32:
            memcpy(to, &narrow, sizeof(narrow));
            break;
        default:
            memcpy(to, &integer, sizeof(integer));
            break;
        }
    }
    if (entry->n_scalars == 0) {
        return DLC_OK;
    }
    return rank_write(rank, rank->scalar_memory, rank->scalar_host,
                      (int64_t)entry->n_scalars * SCALAR_STRIDE);
}

static dlc_status commands_run(Rank *rank, EntryState *entry) {
    bool done = false;
    dlc_status status = DLC_OK;
    if (!rank->no_recording && !rank->orders->poison && !rank->replaying) {
        status = recording_run(rank, entry, &done);
    }
    if (status == DLC_OK && !done) {
        status = rank_range(rank, entry, 0, entry->record->n_commands);
        if (status == DLC_OK) {
            status = rank_numbers_gather(rank, entry);
        }
    }
    return status;
}

/* Has what the run gives brought to its slot. */
static dlc_status slot_fetch(Rank *rank, const EntryState *entry, RunSlot *run) {
    const DeviceOps *ops = rank->ops;
    *run->fault = (KernelFault){0};
    run->is_awaited = rank->faults || entry->n_numbers > 0 || rank->trace;
    if (!run->is_awaited) {
        return DLC_OK;
    }
    dlc_status status = ops->fetch(rank->queue, run->numbers, rank->number_memory,
                                   (size_t)entry->n_numbers * NUMBER_STRIDE);
    if (status == DLC_OK && rank->faults) {
        status = ops->fault_fetch(rank->queue, run->fault);
    }
    if (status == DLC_OK) {
        status = ops->event_record(run->done, rank->queue);
    }
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

int32_t rank_runs_begun(const Rank *rank) {
    return (int32_t)(rank->n_begun - rank->n_settled);
}

bool rank_may_run_ahead(const Rank *rank, const EntryState *entry) {
    return (entry->is_gated || !entry->stores) && !entry->waits && !rank->trace &&
           !rank->orders->poison;
}

dlc_status rank_run_begin(Rank *rank, EntryState *entry) {
    RunSlot *run = &rank->runs[rank->n_begun % RANK_RUNS];
    if (rank_runs_begun(rank) == 0) {
        KernelFault old; /* of a run that failed otherwise */
        dlc_status status = rank->faults ? rank->ops->finish(rank->queue, &old) : DLC_OK;
        rank->faults = 0;
        if (status != DLC_OK) {
            return rank_device_fail(rank, status);
        }
    }
    entry->layout = entry->slots[0].layout;
    rank->last = NULL;
    rank->running = entry;
    *run = (RunSlot){.entry = entry,
                     .numbers = run->numbers,
                     .fault = run->fault,
                     .done = run->done,
                     .began = clock_seconds()};
    dlc_status status = scalars_write(rank, entry);
    if (status == DLC_OK) {
        bases_set(rank, entry);
        status = trace_run_begin(rank);
    }
    if (status == DLC_OK) {
        status = commands_run(rank, entry);
    }
    if (status == DLC_OK) {
        status = slot_fetch(rank, entry, run);
    }
    rank->n_begun += status == DLC_OK;
    return status;
}

static bool run_ok(const Rank *rank, const EntryState *entry) {
    for (int32_t i = 0; i < entry->record->n_results; i++) {
        const PlanResult *result = &rank->tables->results[entry->record->first_result + i];
        if (result->role == PLAN_RESULT_OK) {
            return *rank_number_at(rank, entry, i) != 0;
        }
    }
    return true;
}

/* Waits for all that was begun, and forgets it and its faults. */
static dlc_status runs_forget(Rank *rank) {
    KernelFault fault;
    rank->n_settled = rank->n_begun;
    rank->faults = 0;
    dlc_status status = rank->ops->finish(rank->queue, &fault);
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

/* What a fault means: an update may have been stored that is not finite; everything else was not.
 */
static dlc_status fault_settle(Rank *rank, const KernelFault *fault) {
    rank->last_update_ok = fault->site != KERNEL_SITE_NOT_FINITE;
    bool stands = fault->site == 0 || fault->site == KERNEL_SITE_STOPPED ||
                  (!rank->last_update_ok && rank->last_ok);
    return stands ? DLC_OK : fault_report(rank, fault);
}

dlc_status rank_run_settle(Rank *rank) {
    const RunSlot *run = &rank->runs[rank->n_settled % RANK_RUNS];
    dlc_status status = run->is_awaited ? rank->ops->event_finish(run->done) : DLC_OK;
    if (status != DLC_OK) {
        rank->n_settled = rank->n_begun;
        return rank_device_fail(rank, status);
    }
    const KernelFault fault = *run->fault;
    rank->n_settled++;
    rank->numbers = run->numbers;
    rank->running = run->entry;
    rank->last_ok = run_ok(rank, run->entry);
    if (fault.site != 0) {
        status = runs_forget(rank);
    } else if (rank_runs_begun(rank) == 0) {
        rank->faults = 0;
    }
    if (status == DLC_OK) {
        status = fault_settle(rank, &fault);
    }
    if (status == DLC_OK) {
        status = trace_run_end(rank, run->entry);
    }
    if (status != DLC_OK) {
        return status;
    }
    trace_host(rank, plan_text(rank->file, run->entry->record->name), run->began);
    rank->last = run->entry;
    return DLC_OK;
}

dlc_status rank_run_together(Rank *rank, EntryState *entry) {
    rank->is_stopped = rank->has_agreed = false;
    watch_run_begin(rank, entry);
    dlc_status status = rank_run_begin(rank, entry);
    if (status == DLC_OK && rank->is_of_many && entry->exchanges_again) {
        status = exchange_end(rank);
        rank->n_begun -= status != DLC_OK;
    }
    watch_run_end(rank, entry, status);
    if (status != DLC_OK && rank->comm && !rank->is_stopped && !rank->has_agreed) {
        comm_abort(rank->comm, status, rank->context->error);
    }
    return status;
}

dlc_status rank_execute(Rank *rank, EntryState *entry) {
    dlc_status status = rank_run_together(rank, entry);
    return status == DLC_OK ? rank_run_settle(rank) : status;
}
