/* What each rank of a plan takes for an entry, without running it: the layout of its part, whose
 * arena is told apart by what values are for (phases.h). */
#include "runtime/api/figures.h"
#include "runtime/checkpoint/share.h"
#include "runtime/session/phases.h"
#include "runtime/session/rank.h"

#include "runtime/border.h"
#include "runtime/device.h"

/* -- Ranks that are alike -- */

static void program_dims(const PlanFile *file, PlanProgram program, bool *used) {
    for (int32_t i = 0; i < program.count; i++) {
        const ProgramInstr *instr = &file->programs[program.first + i];
        if (instr->code == PROGRAM_VAR && instr->immediate < file->n_dims) {
            used[instr->immediate] = true;
        }
    }
}

/* The dims that bytes and work of the entry are computed from. */
static void dims_used(const PlanFile *file, const PlanTables *tables, const PlanEntry *entry,
                      bool *used) {
    for (int32_t i = 0; i < entry->n_buffers; i++) {
        program_dims(file, tables->buffers[entry->first_buffer + i].bytes, used);
    }
    for (int32_t i = 0; i < entry->n_commands; i++) {
        const PlanCommand *command = &tables->commands[entry->first_command + i];
        program_dims(file, command->flops, used);
        program_dims(file, command->bytes, used);
        if (command->kind == PLAN_LOOP) {
            program_dims(file, command->extent, used);
        }
        for (int32_t r = 0; command->kind == PLAN_COLLECTIVE && r < command->n_refs; r++) {
            program_dims(file, tables->refs[command->first_ref + r].bytes, used);
        }
    }
}

/* The last of the ranks behind `place` that have the same numbers in the dims that count. */
static dlc_status last_alike(const dlc_plan *plan, const PlanEntry *entry, const RankPlace *place,
                             int64_t n_ranks, const int64_t *given, int64_t *out) {
    bool used[PLAN_MAX_DIMS] = {false};
    int64_t own[PLAN_MAX_DIMS], other[PLAN_MAX_DIMS];
    dims_used(&plan->file, plan_tables(plan), entry, used);
    dlc_status status = figures_rank_dims(plan, place, given, own);
    RankPlace next = *place;
    bool alike = true;
    while (status == DLC_OK && alike && next.number + 1 < n_ranks) {
        next.number++;
        status = figures_rank_dims(plan, &next, given, other);
        for (int32_t d = 0; status == DLC_OK && d < plan->file.n_dims; d++) {
            alike = alike && (!used[d] || own[d] == other[d]);
        }
    }
    *out = alike ? next.number : next.number - 1;
    return status;
}

/* -- Bytes -- */

static void variables_sum(const Layout *layout, dlc_rank_summary *summary) {
    for (int32_t i = 0; i < layout->entry->n_buffers; i++) {
        const PlanBuffer *buffer = &layout->tables->buffers[layout->entry->first_buffer + i];
        if (buffer->kind != PLAN_BUFFER_ARG) {
            continue;
        }
        const PlanArg *arg = &layout->tables->args[layout->entry->first_arg + buffer->index];
        int64_t *to = arg->role == PLAN_ARG_PARAM  ? &summary->parameter_bytes
                      : arg->role == PLAN_ARG_SLOT ? &summary->slot_bytes
                      : arg->role == PLAN_ARG_INPUT || arg->role == PLAN_ARG_SCALAR
                          ? NULL
                          : &summary->state_bytes;
        if (to) {
            *to += layout_round(layout->buffer_bytes[i]); /* their sum is the layout's */
        }
    }
}

/* The largest of what exchanges have in staging memory; their bytes are the layout's, of buffers
 * that exist at once. */
static int64_t staging_bytes(const Layout *layout) {
    const DeviceOps *ops = device_find(plan_text(layout->file, layout->tables->target->device));
    int64_t most = 0;
    for (int32_t i = 0; ops && !ops->is_host && i < layout->entry->n_commands; i++) {
        const PlanCommand *command = &layout->tables->commands[layout->entry->first_command + i];
        int64_t sum = 0;
        if (command->kind == PLAN_COLLECTIVE) {
            (void)exchange_staging(layout, command, &sum);
        }
        most = sum > most ? sum : most;
    }
    return most;
}

static dlc_status layout_tell(const dlc_plan *plan, const Layout *layout,
                              dlc_rank_summary *summary) {
    const dlc_allocator *allocator = &plan->context->allocator;
    uint8_t *phases = memory_new(allocator, (size_t)layout->entry->n_commands, 1);
    PhaseBytes bytes;
    dlc_status status = phases ? phases_find(plan->context, layout, phases, &bytes)
                               : context_out_of_memory(plan->context);
    memory_free(allocator, phases);
    if (status != DLC_OK) {
        return status;
    }
    summary->flops = layout->flops;
    summary->bytes = layout->bytes;
    variables_sum(layout, summary);
    summary->input_bytes = layout->input_bytes;
    summary->gradient_bytes = bytes.gradients;
    summary->activation_bytes = bytes.activations;
    summary->transient_bytes = bytes.transients;
    summary->arena_bytes = layout->arena_bytes;
    summary->peak_bytes = layout->persistent_bytes + layout->input_bytes + layout->arena_bytes;
    summary->staging_bytes = staging_bytes(layout);
    return DLC_OK;
}

/* What the rank at that place copies for a checkpoint. */
static dlc_status copy_bytes(const dlc_plan *plan, const RankPlace *place, int64_t n_ranks,
                             const int64_t *dims, int64_t *out) {
    const PlanFile *file = &plan->file;
    int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0}, part[PLAN_MAX_RANK], bytes;
    *out = 0;
    memcpy(vars, dims, (size_t)file->n_dims * sizeof(*vars));
    dlc_status status = place_dims(plan->context, file, place, vars);
    for (int64_t i = 0; i < file->n_variables && status == DLC_OK; i++) {
        if (plan_shape(file, file->variables[i].type, vars, part, &bytes)) {
            *out += share_of(file, place, n_ranks, i, bytes).count;
        }
    }
    return status;
}

static dlc_status copies_tell(const dlc_plan *plan, const PlanEntry *entry, RankPlace place,
                              const int64_t *dims, dlc_rank_summary *summary) {
    dlc_status status = DLC_OK;
    int64_t bytes = 0;
    bool trains = entry->purpose == PLAN_PURPOSE_TRAIN;
    for (; trains && status == DLC_OK && place.number <= summary->last_rank; place.number++) {
        status = copy_bytes(plan, &place, summary->ranks, dims, &bytes);
        bool more = bytes > summary->checkpoint_bytes;
        summary->checkpoint_bytes = more ? bytes : summary->checkpoint_bytes;
    }
    return status;
}

static dlc_status rank_tell(const dlc_plan *plan, const PlanEntry *entry, const RankPlace *place,
                            const int64_t *given, dlc_rank_summary *summary) {
    Layout *layout = NULL;
    dlc_status status = figures_layout(plan, entry, place, given, &layout);
    if (status == DLC_OK) {
        status = layout_tell(plan, layout, summary);
    }
    if (status == DLC_OK) {
        status = last_alike(plan, entry, place, summary->ranks, given, &summary->last_rank);
    }
    if (status == DLC_OK) {
        status = copies_tell(plan, entry, *place, layout->vars, summary);
    }
    layout_destroy(plan->context, layout);
    return status;
}

dlc_status dlc_plan_summarize_rank(const dlc_plan *plan, const char *name, int64_t rank,
                                   int64_t n_ranks, const dlc_binding *bindings, size_t n_bindings,
                                   dlc_rank_summary *out) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (!border_result_needed(plan->context, "dlc_rank_summary", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    const PlanEntry *entry = NULL;
    RankPlace place;
    int64_t given[PLAN_MAX_DIMS];
    dlc_rank_summary summary = {.rank = rank, .ranks = 1};
    dlc_status status =
        figures_begin(plan, name, n_ranks, bindings, n_bindings, &entry, &place, given);
    if (status != DLC_OK) {
        return status;
    }
    (void)mesh_ranks(&place.shape, &summary.ranks);
    if (!border_number(plan->context, "rank", rank, 0, summary.ranks - 1)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    place.number = rank;
    status = rank_tell(plan, entry, &place, given, &summary);
    if (status == DLC_OK) {
        border_result_write(out, &summary, sizeof(summary));
    }
    return status;
}
