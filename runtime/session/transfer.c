/* The ways to a rank's device and back: reads, writes, fills, host memory for what is on its way,
 * and the words for a device that fails or is full. */
#include "runtime/session/rank.h"

#include "ir/base/number.h"

#include <stdio.h>

/* "(parameters 1.2 GiB, …); what helps": for messages when memory runs out. */
static void memory_help(const Rank *rank, char *out, size_t n_out) {
    int64_t parameters = 0, slots = 0, inputs = 0;
    for (int64_t i = 0; rank->variables && i < rank->n_variables; i++) {
        const Variable *variable = &rank->variables[i];
        int64_t bytes = variable->data ? layout_round(variable->bytes) : 0;
        *(variable->record->role == PLAN_ARG_SLOT ? &slots : &parameters) += bytes;
    }
    for (int64_t e = 0; rank->entries && e < rank->tables->n_entries; e++) {
        const EntryState *entry = &rank->entries[e];
        for (int32_t i = 0; entry->parts && i < entry->record->n_args; i++) {
            inputs += entry->parts[i].data ? layout_round(entry->parts[i].capacity) : 0;
        }
    }
    snprintf(out, n_out,
             " (held: parameters %s, optimiser state %s, inputs %s, arena %s); dlrun train --batch "
             "auto computes a step in parts that fit, dlc --memory-limit BYTES keeps less, "
             "precision bf16 makes values shorter, a smaller batch needs less, and so does "
             "ending what else runs there",
             number_amount((double)parameters).text, number_amount((double)slots).text,
             number_amount((double)inputs).text, number_amount((double)rank->arena_bytes).text);
}

dlc_status rank_device_fail(Rank *rank, dlc_status status) {
    const char *why = rank->device->error;
    char help[512] = "";
    if (status == DLC_ERROR_OUT_OF_MEMORY) {
        memory_help(rank, help, sizeof(help));
    }
    return context_fail(rank->context, status, "%s: %s%s", rank->ops->name,
                        *why ? why : dlc_status_text(status), help);
}

dlc_status rank_read(Rank *rank, void *to, const void *from, int64_t bytes) {
    dlc_status status = rank->ops->read(rank->queue, to, from, (size_t)bytes);
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

dlc_status rank_write(Rank *rank, void *to, const void *from, int64_t bytes) {
    dlc_status status = rank->ops->write(rank->queue, to, from, (size_t)bytes);
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

dlc_status rank_fill(Rank *rank, void *to, int byte, int64_t bytes) {
    dlc_status status = rank->ops->fill(rank->queue, to, byte, (size_t)bytes);
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

dlc_status rank_staging(Rank *rank, int64_t bytes, void **out) {
    const dlc_allocator *allocator = &rank->context->allocator;
    if (bytes > rank->staging_bytes || !rank->staging) {
        memory_free_aligned(allocator, rank->staging);
        rank->staging_bytes = 0;
        rank->staging = memory_new_aligned(allocator, (size_t)bytes);
        if (!rank->staging) {
            return context_out_of_memory(rank->context);
        }
        rank->staging_bytes = bytes;
    }
    *out = rank->staging;
    return DLC_OK;
}

void *rank_host_alloc(Rank *rank, int64_t bytes) {
    return rank->ops->host_alloc ? rank->ops->host_alloc(rank->device, (size_t)bytes)
                                 : memory_new_aligned(&rank->context->allocator, (size_t)bytes);
}

void rank_host_free(Rank *rank, void *memory) {
    if (memory && rank->ops->host_alloc) {
        rank->ops->host_free(rank->device, memory);
    } else {
        memory_free_aligned(&rank->context->allocator, memory);
    }
}

dlc_status rank_host(Rank *rank, const void *at, int64_t bytes, const void **out) {
    if (rank->ops->is_host) {
        *out = at;
        return DLC_OK;
    }
    void *staging;
    dlc_status status = rank_staging(rank, bytes, &staging);
    *out = staging;
    return status == DLC_OK ? rank_read(rank, staging, at, bytes) : status;
}

dlc_status rank_no_memory(Rank *rank, const char *what, int64_t bytes) {
    const char *why = rank->device->error;
    char help[512];
    if (rank->device->alloc_status != DLC_OK) { /* an error that has nothing to do with room */
        return rank_device_fail(rank, rank->device->alloc_status);
    }
    memory_help(rank, help, sizeof(help));
    return context_fail(
        rank->context, DLC_ERROR_OUT_OF_MEMORY, "out of memory: %s needs %s on %s%s%s%s", what,
        number_amount((double)bytes).text, rank->ops->name, *why ? ": " : "", why, help);
}
