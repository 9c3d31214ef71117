/* A rank's inputs on its device. Where a session has several ranks, the first one's entry also
 * keeps what was given, whole, in host memory, and each rank takes its part of it. */
#include "runtime/session/parts.h"
#include "runtime/session/rank.h"

#include "ir/base/checked.h"

#include <stdio.h>

static const PlanArg *arg_of(const Rank *rank, const EntryState *entry, int32_t number) {
    return &rank->tables->args[entry->record->first_arg + number];
}

static bool input_bytes(const PlanArg *arg, const int64_t *dims, int64_t *out) {
    *out = plan_dtype_bytes(arg->type.dtype);
    for (int32_t a = 0; a < arg->type.rank; a++) {
        if (!checked_mul(*out, dims[a], out) || *out > INT64_MAX / 4) {
            return false;
        }
    }
    return true;
}

static void input_note(const PlanArg *arg, Input *input, const int64_t *dims, int64_t bytes) {
    for (int32_t a = 0; a < arg->type.rank; a++) {
        input->dims[a] = dims[a]; /* of a number there may be none */
    }
    input->bytes = bytes;
    input->is_set = true;
    input->is_of_data = false;
    input->version++;
}

/* Memory for the input at these dims, which it then has. */
static dlc_status input_room(Rank *rank, const PlanArg *arg, Input *input, const int64_t *dims) {
    char what[320];
    snprintf(what, sizeof(what), "input '%s'", plan_text(rank->file, arg->name));
    int64_t bytes;
    if (!input_bytes(arg, dims, &bytes)) {
        return context_fail(rank->context, DLC_ERROR_LIMIT, "%s is too large", what);
    }
    if (!input->data || bytes > input->capacity) {
        void *data = rank->ops->alloc(rank->device, (size_t)layout_round(bytes));
        if (!data) {
            return rank_no_memory(rank, what, bytes);
        }
        rank->ops->free(rank->device, input->data);
        input->data = data;
        input->capacity = bytes;
    }
    input_note(arg, input, dims, bytes);
    return DLC_OK;
}

dlc_status rank_whole_input(Rank *rank, EntryState *entry, int32_t number, const int64_t *dims,
                            void **out) {
    const PlanArg *arg = arg_of(rank, entry, number);
    const dlc_allocator *allocator = &rank->context->allocator;
    Input *input = &entry->inputs[number];
    int64_t bytes;
    if (!input_bytes(arg, dims, &bytes)) {
        return context_fail(rank->context, DLC_ERROR_LIMIT, "input '%s' is too large",
                            plan_text(rank->file, arg->name));
    }
    bool has_room = input->data && bytes <= input->capacity;
    if (!has_room) {
        void *data = memory_new_aligned(allocator, (size_t)layout_round(bytes));
        if (!data) {
            return context_out_of_memory(rank->context);
        }
        memory_free_aligned(allocator, input->data);
        input->data = data;
        input->capacity = bytes;
    }
    input_note(arg, input, dims, bytes);
    *out = input->data;
    return DLC_OK;
}

dlc_status rank_input(Rank *rank, EntryState *entry, int32_t number, const int64_t *dims,
                      void **out) {
    Input *input = &entry->inputs[number];
    dlc_status status = input_room(rank, arg_of(rank, entry, number), input, dims);
    if (status != DLC_OK) {
        return status;
    }
    *out = input->data;
    if (!rank->ops->is_host) {
        status = rank_staging(rank, input->bytes, out);
        input->is_set = status == DLC_OK;
    }
    return status;
}

dlc_status rank_input_exchange(Rank *rank, EntryState *entry, int32_t number, const int64_t *dims,
                               void **memory) {
    Input *input = &entry->inputs[number];
    void *own;
    dlc_status status = rank->is_of_many
                            ? rank_whole_input(rank, entry, number, dims, &own)
                            : input_room(rank, arg_of(rank, entry, number), input, dims);
    if (status == DLC_OK) {
        own = input->data;
        input->data = *memory;
        input->capacity = input->bytes;
        *memory = own;
    }
    return status;
}

dlc_status rank_input_copy(Rank *rank, EntryState *entry, int32_t number, const int64_t *dims,
                           const void *from) {
    Input *input = &entry->inputs[number];
    dlc_status status = input_room(rank, arg_of(rank, entry, number), input, dims);
    if (status != DLC_OK) {
        return status;
    }
    status = rank->ops->copy(rank->queue, input->data, from, (size_t)input->bytes, NULL);
    input->is_set = status == DLC_OK;
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}

dlc_status rank_input_done(Rank *rank, EntryState *entry, int32_t number) {
    Input *input = &entry->inputs[number];
    dlc_status status =
        rank->ops->is_host ? DLC_OK : rank_write(rank, input->data, rank->staging, input->bytes);
    input->is_set = status == DLC_OK;
    return status;
}

/* -- Of several ranks -- */

static bool part_is_current(const Input *part, const Input *whole, const int64_t *dims,
                            int32_t rank) {
    return part->is_set && part->of_version == whole->version && !whole->dealt &&
           memcmp(part->dims, dims, (size_t)rank * sizeof(*dims)) == 0;
}

/* What the rank's part is made of. `dims`: room for the shape. */
static Whole given_rows(const Rank *rank, const PlanArg *arg, const Input *given,
                        const int64_t *part_dims, int64_t *dims) {
    bool own = rank->orders->own_rows && place_rows_group(rank->file, &arg->part) != 0;
    const void *data = given->dealt ? given->dealt : given->data;
    memcpy(dims, given->dims, (size_t)arg->type.rank * sizeof(*dims));
    if (own) {
        dims[0] = part_dims[0];
    }
    return (Whole){(void *)(uintptr_t)data, dims, own};
}

static dlc_status part_take(Rank *rank, const EntryState *entry, int32_t number,
                            const Input *whole) {
    const PlanArg *arg = arg_of(rank, entry, number);
    const Layout *layout = entry->slots[0].layout;
    Input *part = &entry->parts[number];
    int64_t dims[PLAN_MAX_RANK], given_dims[PLAN_MAX_RANK], bytes;
    if (!plan_shape(rank->file, arg->type, layout->vars, dims, &bytes)) {
        return context_fail(rank->context, DLC_ERROR_MISMATCH, "input '%s' has no shape",
                            plan_text(rank->file, arg->name));
    }
    if (part_is_current(part, whole, dims, arg->type.rank)) {
        return DLC_OK;
    }
    dlc_status status = input_room(rank, arg, part, dims);
    void *to = part->data;
    part->is_set = false;
    if (status == DLC_OK && !rank->ops->is_host) {
        status = rank_staging(rank, bytes, &to);
    }
    if (status == DLC_OK && arg->part.n_cuts > 0) {
        status = part_copy(rank->context, rank->file, &rank->place, layout->vars,
                           plan_text(rank->file, arg->name), &arg->part,
                           given_rows(rank, arg, whole, dims, given_dims), dims,
                           plan_dtype_bytes(arg->type.dtype), to, true);
    } else if (status == DLC_OK) {
        memcpy(to, whole->data, (size_t)bytes);
    }
    if (status == DLC_OK && !rank->ops->is_host) {
        status = rank_write(rank, part->data, to, bytes);
    }
    part->is_set = status == DLC_OK;
    part->of_version = whole->dealt ? -1 : whole->version;
    return status;
}

dlc_status rank_parts_take(Rank *rank, const EntryState *entry, const EntryState *given) {
    dlc_status status = DLC_OK;
    for (int32_t i = 0; i < entry->record->n_args && status == DLC_OK; i++) {
        if (arg_of(rank, entry, i)->role == PLAN_ARG_INPUT) {
            status = part_take(rank, entry, i, &given->inputs[i]);
        }
    }
    return status;
}
