/* What can be said of an entry without running it, for given dims: memory and arithmetic, and what
 * its ranks exchange. Both come from the layout that runs are made by. */
#include "runtime/api/figures.h"

#include "runtime/session/session.h"
#include "runtime/session/tensor.h"

#include "ir/base/checked.h"
#include "runtime/border.h"

/* -- Dims -- */

/* The dims as the caller binds them; others -1. */
static dlc_status dims_given(const dlc_plan *plan, const dlc_binding *bindings, size_t n_bindings,
                             int64_t *dims) {
    const PlanFile *file = &plan->file;
    for (int32_t d = 0; d < file->n_dims; d++) {
        dims[d] = -1;
    }
    if (!bindings && n_bindings > 0) {
        return border_missing(plan->context, "bindings");
    }
    for (size_t i = 0; i < n_bindings; i++) {
        if (!bindings[i].name) {
            return border_missing(plan->context, "a binding's name");
        }
        int32_t d = 0;
        while (d < file->n_dims &&
               (file->dims[d].source != DIM_FREE ||
                strcmp(plan_text(file, file->dims[d].name), bindings[i].name) != 0)) {
            d++;
        }
        if (d == file->n_dims) {
            return context_fail(plan->context, DLC_ERROR_NOT_FOUND, "the plan has no dim '%s'",
                                bindings[i].name);
        }
        dlc_status status = dim_check(plan->context, file, d, bindings[i].value);
        if (status != DLC_OK) {
            return status;
        }
        dims[d] = bindings[i].value;
    }
    return DLC_OK;
}

/* The entry that the name means (dlc.h). */
static dlc_status entry_named(const dlc_plan *plan, const char *name, const PlanEntry **out) {
    int32_t number = plan_entry_find(&plan->file, plan_tables(plan), name);
    if (number < 0) {
        return context_fail(plan->context, DLC_ERROR_NOT_FOUND, "the plan has no entry '%s'",
                            name ? name : "infer");
    }
    *out = &plan_tables(plan)->entries[number];
    return DLC_OK;
}

/* The first rank of so many; 0: of those that the mesh states, two along an axis of any size. */
static dlc_status place_of(const dlc_plan *plan, int64_t n_ranks, RankPlace *out) {
    const PlanFile *file = &plan->file;
    if (!border_number(plan->context, "n_ranks", n_ranks, 0, MESH_MAX_RANKS)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    int64_t usual = 1;
    for (int64_t i = 0; i < file->n_mesh; i++) {
        usual *= file->mesh[i].size == 0 ? 2 : file->mesh[i].size; /* bounded: check_ranks.c */
    }
    *out = (RankPlace){.number = 0};
    return place_shape(plan->context, file, n_ranks == 0 ? usual : n_ranks, &out->shape);
}

dlc_status figures_begin(const dlc_plan *plan, const char *name, int64_t n_ranks,
                         const dlc_binding *bindings, size_t n_bindings, const PlanEntry **entry,
                         RankPlace *place, int64_t *dims) {
    dlc_status status = dims_given(plan, bindings, n_bindings, dims);
    if (status == DLC_OK) {
        status = entry_named(plan, name, entry);
    }
    return status == DLC_OK ? place_of(plan, n_ranks, place) : status;
}

dlc_status figures_rank_dims(const dlc_plan *plan, const RankPlace *place, const int64_t *given,
                             int64_t *out) {
    memcpy(out, given, (size_t)plan->file.n_dims * sizeof(*out));
    dims_default(&plan->file, out);
    return place_dims(plan->context, &plan->file, place, out);
}

dlc_status figures_layout(const dlc_plan *plan, const PlanEntry *entry, const RankPlace *place,
                          const int64_t *given, Layout **out) {
    int64_t dims[PLAN_MAX_DIMS];
    dlc_status status = figures_rank_dims(plan, place, given, dims);
    return status == DLC_OK ? layout_create(plan->context, &plan->file, plan_tables(plan), entry,
                                            place, dims, out)
                            : status;
}

dlc_status dlc_plan_summarize(const dlc_plan *plan, const char *name, const dlc_binding *bindings,
                              size_t n_bindings, dlc_entry_summary *out) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (!border_result_needed(plan->context, "dlc_entry_summary", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    const PlanFile *file = &plan->file;
    const PlanEntry *entry = NULL;
    int64_t dims[PLAN_MAX_DIMS];
    Layout *layout;
    dlc_status status = dims_given(plan, bindings, n_bindings, dims);
    if (status == DLC_OK) {
        status = entry_named(plan, name, &entry);
    }
    if (status != DLC_OK) {
        return status;
    }
    place_dims_default(file, dims);
    const RankPlace place = place_of_least(file);
    status = layout_create(plan->context, file, plan_tables(plan), entry, &place, dims, &layout);
    if (status != DLC_OK) {
        return status;
    }
    dlc_entry_summary summary = {
        .flops = layout->flops,
        .bytes = layout->bytes,
        .persistent_bytes = layout->persistent_bytes,
        .input_bytes = layout->input_bytes,
        .arena_bytes = layout->arena_bytes,
        .peak_bytes = layout->persistent_bytes + layout->input_bytes + layout->arena_bytes,
        .commands = layout->n_counted,
        .kernels = layout->n_kernels,
    };
    border_result_write(out, &summary, sizeof(summary));
    layout_destroy(plan->context, layout);
    return DLC_OK;
}

/* -- Exchanges -- */

/* The type of what the collective's result at ref `r` holds: PlanDType. */
static int32_t ref_dtype(const PlanTables *tables, const PlanCommand *command, int32_t r) {
    return tables->refs[command->first_ref + r].written - 1;
}

static bool combines(const PlanCollective *collective) {
    return collective->kind == PLAN_ALL_REDUCE || collective->kind == PLAN_REDUCE_SCATTER;
}

/* A sort of exchange: the first pair of refs that is of it. */
typedef struct Sort {
    const PlanCollective *collective;
    int32_t dtype;
} Sort;

static bool is_of(const PlanTables *tables, const PlanCommand *command, int32_t r,
                  const Sort *sort) {
    const PlanCollective *one = &tables->collectives[command->collective];
    return one->kind == sort->collective->kind && one->group == sort->collective->group &&
           (!combines(one) || one->combine == sort->collective->combine) &&
           ref_dtype(tables, command, r) == sort->dtype;
}

/* Whether a pair before refs r of command i of the entry is of the same sort. */
static bool is_known(const PlanTables *tables, const PlanEntry *entry, int32_t i, int32_t r,
                     const Sort *sort) {
    for (int32_t k = 0; k <= i; k++) {
        const PlanCommand *command = &tables->commands[entry->first_command + k];
        int32_t n = command->kind != PLAN_COLLECTIVE ? 0 : k == i ? r : command->n_refs;
        for (int32_t q = 0; q < n; q += 2) {
            if (is_of(tables, command, q, sort)) {
                return true;
            }
        }
    }
    return false;
}

/* How many sorts the entry has, up to number `index`, which is *out then. */
static size_t sorts_find(const PlanTables *tables, const PlanEntry *entry, size_t index,
                         Sort *out) {
    size_t n = 0;
    for (int32_t i = 0; i < entry->n_commands; i++) {
        const PlanCommand *command = &tables->commands[entry->first_command + i];
        if (command->kind != PLAN_COLLECTIVE) {
            continue;
        }
        for (int32_t r = 0; r < command->n_refs; r += 2) {
            const Sort sort = {&tables->collectives[command->collective],
                               ref_dtype(tables, command, r)};
            if (is_known(tables, entry, i, r, &sort)) {
                continue;
            }
            *out = sort;
            if (n++ == index) {
                return n;
            }
        }
    }
    return n;
}

/* Adds a command that runs `times` times. False: beyond 64 bits. */
static bool command_add(const Layout *layout, const PlanCommand *command, const int64_t *sizes,
                        int64_t times, const Sort *sort, dlc_exchange_info *info) {
    const CommCall call = {.kind = exchange_kind(sort->collective), .number = sort->collective->by};
    int32_t n = (int32_t)info->group_ranks;
    int64_t number =
        mesh_coordinate(&layout->place.shape, sort->collective->group, layout->place.number);
    bool is_met = false, fits = true;
    for (int32_t r = 0; r < command->n_refs && fits; r += 2) {
        if (!is_of(layout->tables, command, r, sort)) {
            continue;
        }
        const CommBuffer buffer = exchange_buffer(layout, command, r, sizes);
        int64_t all = buffer.outer * buffer.rows * buffer.unit; /* bounded: exchange_lay_out */
        all *= call.kind == COMM_ALL_TO_ALL ? buffer.middle * buffer.split_rows : 1;
        int64_t sent = comm_sent_elements(&call, &buffer, n, (int32_t)number), bytes;
        fits = checked_mul(all, times, &all) && checked_add(info->elements, all, &info->elements) &&
               checked_mul(sent, comm_dtype_bytes(sort->dtype), &bytes) &&
               checked_mul(bytes, times, &bytes) && checked_add(info->bytes, bytes, &info->bytes) &&
               checked_add(info->tensors, times, &info->tensors);
        is_met = true;
    }
    return fits && (!is_met || checked_add(info->calls, times, &info->calls));
}

/* Walks the entry, loop bodies as often as they run. False: beyond 64 bits. */
static bool exchange_sum(const Layout *layout, const Sort *sort, dlc_exchange_info *info) {
    const PlanCommand *commands = layout->tables->commands + layout->entry->first_command;
    int64_t times[PLAN_MAX_LOOP_DEPTH + 1] = {1};
    int32_t depth = 0;
    bool fits = true;
    for (int32_t i = 0; i < layout->entry->n_commands && fits; i++) {
        const PlanCommand *command = &commands[i];
        if (command->kind == PLAN_LOOP) {
            bool counted = !(command->flags & PLAN_COMMAND_WHILE);
            fits = checked_mul(times[depth], counted ? layout->extent[i] : 1, &times[depth + 1]);
            depth++;
        } else if (command->kind == PLAN_LOOP_END) {
            depth--;
        } else if (command->kind == PLAN_COLLECTIVE) {
            fits = command_add(layout, command, layout->sizes + layout->first_size[i], times[depth],
                               sort, info);
        }
    }
    return fits;
}

static dlc_status sort_describe(const dlc_plan *plan, const PlanEntry *entry, const Sort *sort,
                                const RankPlace *place, const int64_t *given,
                                dlc_exchange_info *out) {
    static const char *const kinds[PLAN_N_COLLECTIVE_KINDS] = {
        "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "shift"};
    static const char *const names[PLAN_N_COMBINES] = {"add", "mul", "min", "max", "and", "or"};
    const PlanCollective *collective = sort->collective;
    dlc_exchange_info info = {
        .kind = kinds[collective->kind],
        .combine = combines(collective) ? names[collective->combine] : "",
        .dtype = dl_dtype(sort->dtype),
        .over = (int32_t)collective->group,
        .group_ranks = mesh_group_ranks(&place->shape, collective->group),
    };
    (void)mesh_ranks(&place->shape, &info.ranks);
    Layout *layout;
    dlc_status status = figures_layout(plan, entry, place, given, &layout);
    if (status != DLC_OK) {
        return status;
    }
    if (exchange_sum(layout, sort, &info)) {
        border_result_write(out, &info, sizeof(info));
    } else {
        status = context_fail(plan->context, DLC_ERROR_MISMATCH,
                              "%s: what its ranks exchange is beyond 64 bits",
                              plan_text(&plan->file, entry->name));
    }
    layout_destroy(plan->context, layout);
    return status;
}

size_t dlc_plan_exchange_count(const dlc_plan *plan, const char *name) {
    Sort sort;
    int32_t number = plan ? plan_entry_find(&plan->file, plan_tables(plan), name) : -1;
    return number < 0 ? 0
                      : sorts_find(plan_tables(plan), &plan_tables(plan)->entries[number], SIZE_MAX,
                                   &sort);
}

dlc_status dlc_plan_exchange(const dlc_plan *plan, const char *name, size_t index, int64_t n_ranks,
                             const dlc_binding *bindings, size_t n_bindings,
                             dlc_exchange_info *out) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (!border_result_needed(plan->context, "dlc_exchange_info", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    const PlanEntry *entry = NULL;
    RankPlace place;
    int64_t given[PLAN_MAX_DIMS];
    dlc_status status =
        figures_begin(plan, name, n_ranks, bindings, n_bindings, &entry, &place, given);
    if (status != DLC_OK) {
        return status;
    }
    Sort sort = {NULL, 0};
    if (sorts_find(plan_tables(plan), entry, index, &sort) <= index) {
        return context_fail(plan->context, DLC_ERROR_NOT_FOUND,
                            "entry '%s' has no exchange number %zu",
                            plan_text(&plan->file, entry->name), index);
    }
    return sort_describe(plan, entry, &sort, &place, given, out);
}

size_t dlc_plan_axis_count(const dlc_plan *plan) {
    return plan ? (size_t)plan->file.n_mesh : 0;
}

dlc_status dlc_plan_axis(const dlc_plan *plan, size_t index, dlc_axis_info *out) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (!border_result_needed(plan->context, "dlc_axis_info", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (index >= (size_t)plan->file.n_mesh) {
        return context_fail(plan->context, DLC_ERROR_NOT_FOUND, "the plan has no axis number %zu",
                            index);
    }
    const PlanMeshAxis *axis = &plan->file.mesh[index];
    dlc_axis_info info = {.name = plan_text(&plan->file, axis->name), .size = axis->size};
    border_result_write(out, &info, sizeof(info));
    return DLC_OK;
}
