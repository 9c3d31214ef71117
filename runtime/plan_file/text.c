/* A plan as text: entries, arguments, buffers and commands, for `--emit=schedule` and people. */
#include "runtime/border.h"
#include "runtime/plan_file/plan.h"

#include <inttypes.h>

static void add_program(const PlanFile *file, PlanProgram program, Str *out) {
    static const char *const names[PROGRAM_N_CODES] = {"",  "",    "+",   "-",  "*", "/",
                                                       "%", "min", "max", "==", "<="};
    for (int32_t i = 0; i < program.count; i++) {
        const ProgramInstr *instr = &file->programs[program.first + i];
        str_add(out, i ? " " : "");
        if (instr->code == PROGRAM_CONST) {
            str_addf(out, "%" PRId64, instr->immediate);
        } else if (instr->code == PROGRAM_VAR && instr->immediate < file->n_dims) {
            str_add(out, plan_text(file, file->dims[instr->immediate].name));
        } else if (instr->code == PROGRAM_VAR) {
            str_addf(out, "i%" PRId64, instr->immediate - file->n_dims);
        } else {
            str_add(out, names[instr->code]);
        }
    }
    if (program.count == 0) {
        str_add(out, "0");
    }
}

/* "data" or "data,model" */
static void add_group(const PlanFile *file, MeshGroup group, Str *out) {
    const char *lead = "";
    for (int32_t i = 0; i < file->n_mesh; i++) {
        if (group >> i & 1) {
            str_addf(out, "%s%s", lead, plan_text(file, file->mesh[i].name));
            lead = ",";
        }
    }
}

/* "2 x [B over data] x 1" */
static void add_rows(const PlanFile *file, PlanProgram outer, PlanProgram rows, PlanProgram unit,
                     MeshGroup group, Str *out) {
    add_program(file, outer, out);
    str_add(out, " x [");
    add_program(file, rows, out);
    str_add(out, " over ");
    add_group(file, group, out);
    str_add(out, "] x ");
    add_program(file, unit, out);
}

static void add_part(const PlanFile *file, const PlanPart *part, Str *out) {
    if (part->n_cuts == 0) {
        return;
    }
    str_addf(out, " of %s", plan_text(file, part->whole.text));
    for (int32_t i = 0; i < part->n_cuts; i++) {
        const PlanCut *cut = &file->cuts[part->first_cut + i];
        str_addf(out, ", axis %d ", cut->axis);
        add_rows(file, cut->outer, cut->rows, cut->inner, cut->group, out);
    }
}

static void add_collective(const PlanFile *file, const PlanTables *tables,
                           const PlanCommand *command, Str *out) {
    const PlanCollective *collective = &tables->collectives[command->collective];
    static const char *const kinds[PLAN_N_COLLECTIVE_KINDS] = {
        "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "shift"};
    static const char *const combines[PLAN_N_COMBINES] = {"add", "mul", "min", "max", "and", "or"};
    str_addf(out, " %s", kinds[collective->kind]);
    if (collective->kind == PLAN_ALL_REDUCE || collective->kind == PLAN_REDUCE_SCATTER) {
        str_addf(out, " %s", combines[collective->combine]);
    }
    for (int32_t pair = 0; collective->rows.count > 0 && pair < command->n_refs / 2; pair++) {
        int32_t number = plan_pair_collective(command, collective->kind, pair);
        const PlanCollective *one = &tables->collectives[number];
        str_add(out, pair ? ", " : " ");
        add_rows(file, one->outer, one->rows, one->unit, one->group, out);
    }
    if (collective->rows.count == 0) {
        str_add(out, " over ");
        add_group(file, collective->group, out);
    }
    if (collective->split_rows.count > 0) {
        str_add(out, collective->split_first ? " behind [" : " split [");
        add_program(file, collective->split_rows, out);
        str_add(out, "] x ");
        add_program(file, collective->middle, out);
    }
    if (collective->kind == PLAN_SHIFT) {
        str_addf(out, " by %d", collective->by);
    }
}

static void add_ref(const PlanFile *file, const PlanRef *ref, Str *out) {
    str_addf(out, "%%%d", ref->buffer);
    if (ref->offset.count > 0) {
        str_add(out, "[");
        add_program(file, ref->offset, out);
        str_add(out, "]");
    }
}

static void add_library(const PlanFile *file, const PlanTables *tables, const PlanCommand *command,
                        Str *out) {
    static const char *const kinds[PLAN_N_LIBRARY_KINDS] = {"matmul", "conv", "conv_input_grad",
                                                            "conv_filter_grad"};
    static const char *const computes[PLAN_N_COMPUTES] = {"f32", "tf32", "f64"};
    static const char *const epilogues[PLAN_N_EPILOGUES] = {"", " relu", " gelu_tanh"};
    static const char *const operands[PLAN_N_OPERANDS] = {"a", "b", "c", "bias", "d"};
    const PlanLibrary *library = &tables->libraries[command->library];
    str_addf(out, " or %s %s%s", kinds[library->kind], computes[library->compute],
             epilogues[library->epilogue]);
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        if (library->refs[i] >= 0) {
            str_addf(out, " %s %s", operands[i], plan_dtype_name(library->dtypes[i]));
            add_ref(file, &tables->refs[command->first_ref + library->refs[i]], out);
        }
    }
    str_add(out, " sizes");
    for (int32_t i = 0; i < library->n_sizes; i++) {
        str_add(out, i ? ", " : " ");
        add_program(file, file->sizes[library->first_size + i], out);
    }
    if (library->more > 0) {
        str_addf(out, " with the next %d", library->more);
    }
}

/* Nothing for what is on queue 0 and has to do with no event. */
static void add_queue(const PlanTables *tables, const PlanCommand *command, Str *out) {
    if (command->queue > 0) {
        str_addf(out, " on queue %d", command->queue);
    }
    for (int32_t i = 0; i < command->n_waits; i++) {
        str_addf(out, "%s e%d", i ? "" : " after", tables->waits[command->first_wait + i]);
    }
    if (command->signal >= 0) {
        str_addf(out, " signals e%d", command->signal);
    }
}

static void add_command(const PlanFile *file, const PlanTables *tables, const PlanCommand *command,
                        int32_t number, int32_t depth, Str *out) {
    static const char *const names[PLAN_N_COMMAND_KINDS] = {
        "launch", "copy",  "fill",       "loop",    "test",  "end",
        "show",   "check", "size_check", "barrier", "store", "exchange"};
    str_addf(out, "  %4d %*s%s", number, 2 * depth, "", names[command->kind]);
    if (command->kind == PLAN_LAUNCH) {
        str_addf(out, " k%d %s", command->kernel,
                 plan_text(file, tables->kernels[command->kernel].name));
    }
    if (command->kind == PLAN_COLLECTIVE) {
        add_collective(file, tables, command, out);
    }
    for (int32_t i = 0; i < command->n_refs; i++) {
        str_add(out, " ");
        add_ref(file, &tables->refs[command->first_ref + i], out);
    }
    if (command->n_sizes > 0) {
        str_add(out, " sizes");
        for (int32_t i = 0; i < command->n_sizes; i++) {
            str_add(out, i ? ", " : " ");
            add_program(file, file->sizes[command->first_size + i], out);
        }
    }
    if (command->extent.count > 0) {
        static const char *const words[PLAN_N_COMMAND_KINDS] = {
            "tiles", "bytes", "bytes", "times", "", "", "", "", "equal", "", "bytes", ""};
        str_addf(out, " %s ", words[command->kind]);
        add_program(file, command->extent, out);
    }
    if (command->library >= 0) {
        add_library(file, tables, command, out);
    }
    if (command->kind == PLAN_SIZE_CHECK) {
        str_add(out, ", ");
        add_program(file, command->other, out);
    }
    if (command->flags & PLAN_COMMAND_GROUPED) {
        str_add(out, " grouped");
    }
    if (command->flags & PLAN_COMMAND_REVERSE) {
        str_add(out, " reverse");
    }
    if (command->flags & PLAN_COMMAND_WHILE) {
        str_addf(out, " while, at most %" PRId64, command->limit);
    }
    for (int32_t i = 0; i < command->n_swaps; i++) {
        const PlanSwap *swap = &tables->swaps[command->first_swap + i];
        str_addf(out, " swap %%%d %%%d", swap->a, swap->b);
    }
    add_queue(tables, command, out);
    if (command->site >= 0 && command->kind != PLAN_LAUNCH) {
        str_addf(out, " \"%s\"", plan_text(file, tables->sites[command->site].text));
    }
    if (command->text || command->place) {
        str_addf(out, "  # %s%s%s", plan_text(file, command->text),
                 command->text && command->place ? " " : "", plan_text(file, command->place));
    }
    str_add(out, "\n");
}

static void add_entry(const PlanFile *file, const PlanTables *tables, const PlanEntry *entry,
                      Str *out) {
    static const char *const roles[PLAN_N_ARG_ROLES] = {"input", "param", "state",
                                                        "cache", "slot",  "scalar"};
    static const char *const result_roles[PLAN_N_RESULT_ROLES] = {
        "output", "metric", "over", "loss", "store", "ok", "info", "loss_over"};
    static const char *const kinds[PLAN_N_BUFFER_KINDS] = {"arena", "arg", "constant"};
    str_addf(out, "entry %s", plan_text(file, entry->name));
    if (entry->n_queues > 1) {
        str_addf(out, " on %d queues, %d events", entry->n_queues, entry->n_events);
    }
    str_add(out, "\n");
    for (int32_t i = 0; i < entry->n_args; i++) {
        const PlanArg *arg = &tables->args[entry->first_arg + i];
        const PlanPart *part =
            arg->variable >= 0 ? &file->variables[arg->variable].part : &arg->part;
        str_addf(out, "  %%%d = %s %s: %s", arg->buffer, roles[arg->role],
                 plan_text(file, arg->name), plan_text(file, arg->type.text));
        add_part(file, part, out);
        str_add(out, "\n");
    }
    for (int32_t i = 0; i < entry->n_buffers; i++) {
        const PlanBuffer *buffer = &tables->buffers[entry->first_buffer + i];
        if (buffer->kind == PLAN_BUFFER_ARG) {
            continue;
        }
        str_addf(out, "  %%%d = %s ", i, kinds[buffer->kind]);
        add_program(file, buffer->bytes, out);
        str_addf(out, " bytes, %" PRId64 "..%" PRId64, buffer->birth, buffer->death);
        if (buffer->name) {
            str_addf(out, "  # %s", plan_text(file, buffer->name));
        }
        str_add(out, "\n");
    }
    int32_t depth = 0;
    for (int32_t i = 0; i < entry->n_commands; i++) {
        const PlanCommand *command = &tables->commands[entry->first_command + i];
        depth -= command->kind == PLAN_LOOP_END;
        add_command(file, tables, command, i, depth, out);
        depth += command->kind == PLAN_LOOP;
    }
    for (int32_t i = 0; i < entry->n_results; i++) {
        const PlanResult *result = &tables->results[entry->first_result + i];
        str_addf(out, "  %s %s = ", result_roles[result->role], plan_text(file, result->name));
        add_ref(file, &result->ref, out);
        str_addf(out, ": %s", plan_text(file, result->type.text));
        add_part(file, &result->part, out);
        if (result->role == PLAN_RESULT_STORE) {
            str_addf(out, " to %s",
                     plan_text(file, tables->args[entry->first_arg + result->arg].name));
        }
        str_add(out, "\n");
    }
}

/* The mesh, and where dims that nobody gives come from. */
static void add_mesh(const PlanFile *file, Str *out) {
    static const char *const sources[DIM_N_SOURCES] = {"free", "ranks", "coordinate", "piece",
                                                       "first"};
    for (int32_t i = 0; i < file->n_mesh; i++) {
        str_addf(out, i ? ", %s=" : "mesh %s=", plan_text(file, file->mesh[i].name));
        if (file->mesh[i].size > 0) {
            str_addf(out, "%" PRId64, file->mesh[i].size);
        } else {
            str_add(out, "*");
        }
    }
    str_add(out, file->n_mesh > 0 ? "\n" : "");
    for (int32_t i = 0; i < file->n_dims; i++) {
        const PlanDim *dim = &file->dims[i];
        if (dim->source == DIM_FREE) {
            continue;
        }
        str_addf(out, "dim %s = %s over ", plan_text(file, dim->name), sources[dim->source]);
        add_group(file, dim->group, out);
        str_add(out, dim->of.count > 0 ? " of " : "");
        if (dim->of.count > 0) {
            add_program(file, dim->of, out);
        }
        str_add(out, "\n");
    }
}

dlc_status dlc_plan_describe(const dlc_plan *plan, char **out_text) {
    BORDER_CALL(plan ? plan->context : NULL);
    if (!out_text) {
        return border_missing(plan->context, "out_text");
    }
    const PlanFile *file = &plan->file;
    Str text;
    str_init(&text, &plan->context->allocator);
    add_mesh(file, &text);
    for (int32_t t = 0; t < file->n_targets; t++) {
        const PlanTables *tables = &file->targets[t];
        str_addf(&text, "target %s:%s\n", plan_text(file, tables->target->device),
                 plan_text(file, tables->target->machine));
        for (int64_t i = 0; i < tables->n_kernels; i++) {
            const PlanKernel *kernel = &tables->kernels[i];
            str_addf(&text, "kernel k%" PRId64 " %s: %d buffers, %d sizes, %" PRId64 " scratch%s\n",
                     i, plan_text(file, kernel->name), kernel->n_buffers, kernel->n_sizes,
                     kernel->scratch_bytes,
                     kernel->faults & PLAN_FAULTS_CHECKS ? ", may fault" : "");
        }
        for (int64_t i = 0; i < tables->n_entries; i++) {
            add_entry(file, tables, &tables->entries[i], &text);
        }
    }
    char *copy = text.failed ? NULL : memory_strdup(&plan->context->allocator, str_text(&text));
    str_finish(&text);
    if (!copy) {
        return context_out_of_memory(plan->context);
    }
    *out_text = copy;
    return DLC_OK;
}
