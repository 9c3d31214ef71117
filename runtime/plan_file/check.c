/* Every number in a plan that is used as an index, range, text or program, checked once when it is
 * loaded, so that nothing later has to. The work is linear in the file, whatever the file says:
 * what many records may refer to is looked at once. */
#include "runtime/plan_file/check.h"

#include <stdio.h>

static bool shared_ok(Check *c) {
    const PlanFile *file = c->file;
    if (file->n_strings < 1 || file->strings[0] || file->strings[file->n_strings - 1]) {
        return plan_check_fail(c, file->strings, "the strings are not terminated");
    }
    if (file->n_dims > PLAN_MAX_DIMS) {
        return plan_check_fail(c, file->dims, "too many dims");
    }
    if (!plan_check_mesh(c)) {
        return false;
    }
    for (int64_t i = 0; i < file->n_dims; i++) {
        const PlanDim *dim = &file->dims[i];
        if (!plan_check_text(c, dim, dim->name)) {
            return false;
        }
        if (dim->divisor < 1 || dim->low < 0 || dim->high < dim->low) {
            return plan_check_fail(c, dim, "a dim's bounds are malformed");
        }
        if (!plan_check_dim_source(c, i)) {
            return false;
        }
    }
    for (int64_t i = 0; i < file->n_sizes; i++) {
        if (!plan_check_program(c, &file->sizes[i], file->sizes[i], false)) {
            return false;
        }
        c->work = 0; /* not before something refers to it */
    }
    for (int64_t i = 0; i < file->n_variables; i++) {
        const PlanVariable *variable = &file->variables[i];
        if (variable->role < PLAN_ARG_PARAM || variable->role > PLAN_ARG_SLOT) {
            return plan_check_fail(c, variable, "a variable has no such role");
        }
        if (!plan_check_text(c, variable, variable->name) ||
            !plan_check_type(c, variable, variable->type) ||
            !plan_check_program(c, variable, variable->bytes, false) ||
            !plan_check_part(c, variable, variable->type, &variable->part)) {
            return false;
        }
    }
    for (int64_t i = 0; i < file->n_settings; i++) {
        if (!plan_check_text(c, &file->settings[i], file->settings[i].name) ||
            !plan_check_text(c, &file->settings[i], file->settings[i].value)) {
            return false;
        }
    }
    return true;
}

static bool ref_ok(Check *c, const PlanEntry *entry, const PlanRef *ref, bool loops) {
    if (ref->buffer < 0 || ref->buffer >= entry->n_buffers) {
        return plan_check_fail(c, ref, "a command refers to no buffer");
    }
    if (ref->written < 0 || ref->written > PLAN_N_DTYPES) {
        return plan_check_fail(c, ref, "a reference is malformed");
    }
    return plan_check_program(c, ref, ref->offset, loops) &&
           plan_check_program(c, ref, ref->bytes, false);
}

/* What the command says that it does to its buffers. What kernels do is taken on trust, as their
 * code is. */
static bool accesses_ok(Check *c, const PlanEntry *entry, const PlanCommand *command) {
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = &c->tables->refs[command->first_ref + r];
        bool is_launch = command->kind == PLAN_LAUNCH;
        if (is_launch ? ref->access < 0 || ref->access > (PLAN_READS | PLAN_WRITES) ||
                            (ref->written > 0 && !(ref->access & PLAN_WRITES))
                      : ref->access != plan_access(command->kind, r)) {
            return plan_check_fail(c, ref, "a command does other than it says to a buffer");
        }
        const PlanBuffer *buffer = &c->tables->buffers[entry->first_buffer + ref->buffer];
        if (buffer->kind == PLAN_BUFFER_CONSTANT && ref->access & PLAN_WRITES) {
            return plan_check_fail(c, ref, "a command writes to a constant");
        }
    }
    return true;
}

/* Pairs: as many as there are of what may travel together, else one. */
static int32_t collective_refs(const PlanCommand *command, const PlanTables *tables) {
    int32_t kind = tables->collectives[command->collective].kind;
    bool many = kind == PLAN_ALL_REDUCE || kind == PLAN_ALL_GATHER || kind == PLAN_REDUCE_SCATTER;
    return many && command->n_refs > 2 ? command->n_refs & ~1 : 2;
}

static int32_t refs_needed(const PlanCommand *command, const PlanTables *tables) {
    switch (command->kind) {
    case PLAN_LAUNCH:
        return tables->kernels[command->kernel].n_buffers;
    case PLAN_COPY:
        return 2;
    case PLAN_FILL:
    case PLAN_TEST:
    case PLAN_SHOW:
    case PLAN_CHECK:
        return 1;
    case PLAN_LOOP:
        return command->flags & PLAN_COMMAND_WHILE ? 0 : 1;
    case PLAN_STORE:
        return command->n_refs == 3 ? 3 : 2;
    case PLAN_BARRIER:
        return command->n_refs == 2 ? 2 : 0;
    case PLAN_COLLECTIVE:
        return collective_refs(command, tables);
    default:
        return 0;
    }
}

static bool library_kind_ok(const PlanLibrary *library) {
    enum { MOST_SPATIAL = 3 };
    if (library->kind == PLAN_LIBRARY_MATMUL) {
        return library->n_sizes == PLAN_MATMUL_SIZES;
    }
    for (int32_t r = 1; r <= MOST_SPATIAL; r++) {
        if (library->n_sizes == PLAN_CONV_SIZES(r)) {
            return library->kind > 0 && library->kind < PLAN_N_LIBRARY_KINDS;
        }
    }
    return false;
}

static bool library_ok(Check *c, const PlanLibrary *library) {
    bool ok = library_kind_ok(library) && library->compute >= 0 &&
              library->compute < PLAN_N_COMPUTES && library->epilogue >= 0 &&
              library->epilogue < PLAN_N_EPILOGUES && library->more >= 0;
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        bool needed = i == PLAN_OPERAND_A || i == PLAN_OPERAND_B || i == PLAN_OPERAND_D;
        ok = ok && library->refs[i] >= (needed ? 0 : -1) && library->dtypes[i] >= 0 &&
             library->dtypes[i] < PLAN_N_DTYPES;
    }
    return (ok || plan_check_fail(c, library, "a library call is malformed")) &&
           plan_check_sizes(c, library, library->first_size, library->n_sizes);
}

/* Launches that the device may be given as one are on one queue, and wait as one. */
static bool follower_ok(Check *c, const PlanCommand *first, const PlanCommand *follower) {
    return (follower->queue == first->queue && follower->n_waits == 0) ||
           plan_check_fail(c, follower,
                           "one of launches that go together waits, or is on another queue");
}

/* The launches that a call stands for follow its command and are launches only, their refs one
 * after another. */
static bool library_use_ok(Check *c, const PlanEntry *entry, const PlanCommand *command) {
    const PlanTables *tables = c->tables;
    if (command->library < -1 || command->library >= tables->n_libraries ||
        (command->library >= 0 && command->kind != PLAN_LAUNCH)) {
        return plan_check_fail(c, command, "a command of no library call");
    }
    if (command->library < 0) {
        return true;
    }
    const PlanLibrary *library = &tables->libraries[command->library];
    const PlanCommand *end = tables->commands + entry->first_command + entry->n_commands;
    if (library->more >= end - command) {
        return plan_check_fail(c, command, "a library call goes past the entry");
    }
    int64_t n_refs = command->n_refs;
    for (int32_t i = 1; i <= library->more; i++) {
        const PlanCommand *next = &command[i];
        if (next->kind != PLAN_LAUNCH || next->library != -1 ||
            next->first_ref != command->first_ref + n_refs) {
            return plan_check_fail(c, command, "a library call stands for what is no launch");
        }
        n_refs += next->n_refs;
        if (!follower_ok(c, command, next)) {
            return false;
        }
    }
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        if (library->refs[i] >= n_refs) {
            return plan_check_fail(c, command, "a library call refers to no buffer");
        }
        int32_t access = i == PLAN_OPERAND_D ? PLAN_WRITES : PLAN_READS;
        int32_t ref = command->first_ref + library->refs[i];
        if (library->refs[i] >= 0 && plan_check_range(ref, 1, tables->n_refs) &&
            !(tables->refs[ref].access & access)) {
            return plan_check_fail(c, command,
                                   "a library call does more to a buffer than its launches");
        }
    }
    return true;
}

/* Its queue, what it waits for and what it signals; that the events are in order is for order.c. */
static bool queue_ok(Check *c, const PlanEntry *entry, const PlanCommand *command) {
    const PlanTables *tables = c->tables;
    bool moves = command->kind == PLAN_LAUNCH || command->kind == PLAN_COPY ||
                 command->kind == PLAN_FILL || command->kind == PLAN_STORE ||
                 command->kind == PLAN_COLLECTIVE;
    if (command->queue < 0 || command->queue >= (moves ? entry->n_queues : 1)) {
        return plan_check_fail(c, command, "a command on a queue that it cannot be on");
    }
    if (command->kind == PLAN_LAUNCH && command->queue > 0 &&
        tables->kernels[command->kernel].faults != 0) {
        return plan_check_fail(c, command,
                               "a kernel that may fault on another queue than the barrier's");
    }
    if (!plan_check_range(command->first_wait, command->n_waits, tables->n_waits)) {
        return plan_check_fail(c, command, "waits are outside their section");
    }
    c->waits_left -= command->n_waits;
    if (c->waits_left < 0) {
        return plan_check_fail(c, command, "commands share their waits");
    }
    for (int32_t i = 0; i < command->n_waits; i++) {
        const int32_t *event = &tables->waits[command->first_wait + i];
        if (*event < 0 || *event >= entry->n_events) {
            return plan_check_fail(c, event, "a wait for no event");
        }
    }
    return (command->signal >= -1 && command->signal < entry->n_events) ||
           plan_check_fail(c, command, "a signal of no event");
}

static bool group_ok(Check *c, const PlanEntry *entry, const PlanCommand *command) {
    if (!(command->flags & PLAN_COMMAND_GROUPED)) {
        return true;
    }
    bool is_first = command == c->tables->commands + entry->first_command;
    if (command->kind != PLAN_LAUNCH || command->library >= 0 || is_first ||
        command[-1].kind != PLAN_LAUNCH || command[-1].kernel != command->kernel ||
        command[-1].library >= 0) {
        return plan_check_fail(c, command, "a group of different launches");
    }
    return follower_ok(c, command - 1, command);
}

static bool swaps_ok(Check *c, const PlanEntry *entry, const PlanCommand *command) {
    const PlanTables *tables = c->tables;
    if (!plan_check_range(command->first_swap, command->n_swaps, tables->n_swaps)) {
        return plan_check_fail(c, command, "swaps are outside their section");
    }
    c->swaps_left -= command->n_swaps;
    if (c->swaps_left < 0) {
        return plan_check_fail(c, command, "commands share their swaps");
    }
    for (int32_t i = 0; i < command->n_swaps; i++) {
        const PlanSwap *swap = &tables->swaps[command->first_swap + i];
        const PlanBuffer *buffers = tables->buffers + entry->first_buffer;
        if (swap->a < 0 || swap->a >= entry->n_buffers || swap->b < 0 ||
            swap->b >= entry->n_buffers || buffers[swap->a].kind != PLAN_BUFFER_ARENA ||
            buffers[swap->b].kind != PLAN_BUFFER_ARENA) {
            return plan_check_fail(c, swap, "a swap of buffers that cannot swap");
        }
    }
    return true;
}

static bool command_ok(Check *c, const PlanEntry *entry, const PlanCommand *command) {
    const PlanTables *tables = c->tables;
    if (command->kind < 0 || command->kind >= PLAN_N_COMMAND_KINDS) {
        return plan_check_fail(c, command, "no such kind of command");
    }
    if (command->kind == PLAN_LAUNCH) {
        if (command->kernel < 0 || command->kernel >= tables->n_kernels) {
            return plan_check_fail(c, command, "a launch of no kernel");
        }
        if (command->n_sizes != tables->kernels[command->kernel].n_sizes) {
            return plan_check_fail(c, command, "a launch with the wrong number of sizes");
        }
    }
    if (command->collective < 0 ||
        command->collective >= (command->kind == PLAN_COLLECTIVE ? tables->n_collectives : 1)) {
        return plan_check_fail(c, command, "a command of no exchange");
    }
    if (command->n_refs != refs_needed(command, tables) ||
        !plan_check_range(command->first_ref, command->n_refs, tables->n_refs)) {
        return plan_check_fail(c, command, "a command with the wrong number of buffers");
    }
    c->refs_left -= command->n_refs;
    if (c->refs_left < 0) {
        return plan_check_fail(c, command, "commands share their references");
    }
    for (int32_t i = 0; i < command->n_refs; i++) {
        if (!ref_ok(c, entry, &tables->refs[command->first_ref + i], true)) {
            return false;
        }
    }
    if (!plan_check_sizes(c, command, command->first_size, command->n_sizes) ||
        !plan_check_program(c, command, command->extent, false) ||
        !plan_check_program(c, command, command->other, false) ||
        !plan_check_program(c, command, command->flops, false) ||
        !plan_check_program(c, command, command->bytes, false) ||
        !plan_check_text(c, command, command->text) ||
        !plan_check_text(c, command, command->place)) {
        return false;
    }
    if (command->kind == PLAN_SHOW && !plan_check_type(c, command, command->type)) {
        return false;
    }
    bool site_needed = command->kind == PLAN_CHECK || command->kind == PLAN_SIZE_CHECK ||
                       (command->kind == PLAN_LOOP && (command->flags & PLAN_COMMAND_WHILE));
    if (command->site < (site_needed ? 0 : -1) || command->site >= tables->n_sites) {
        return plan_check_fail(c, command, "a check without a place");
    }
    if (!accesses_ok(c, entry, command) || !queue_ok(c, entry, command) ||
        !library_use_ok(c, entry, command) || !plan_check_collective_use(c, command)) {
        return false;
    }
    if (command->flags < 0 || command->flags > 7) {
        return plan_check_fail(c, command, "a command is malformed");
    }
    return group_ok(c, entry, command) && swaps_ok(c, entry, command);
}

/* Loops nest, and their two ends name each other. */
static bool loops_ok(Check *c, const PlanEntry *entry) {
    const PlanCommand *commands = c->tables->commands + entry->first_command;
    int32_t open[PLAN_MAX_LOOP_DEPTH];
    int32_t depth = 0;
    for (int32_t i = 0; i < entry->n_commands; i++) {
        const PlanCommand *command = &commands[i];
        if (command->kind == PLAN_LOOP) {
            if (depth == PLAN_MAX_LOOP_DEPTH || command->depth != depth || command->match <= i ||
                command->match >= entry->n_commands) {
                return plan_check_fail(c, command, "a loop nests wrongly");
            }
            open[depth++] = i;
        } else if (command->kind == PLAN_TEST) {
            if (depth == 0 || command->match != commands[open[depth - 1]].match) {
                return plan_check_fail(c, command, "a test stands outside its loop");
            }
        } else if (command->kind == PLAN_LOOP_END) {
            if (depth == 0 || command->match != open[depth - 1] ||
                commands[command->match].match != i) {
                return plan_check_fail(c, command, "a loop ends wrongly");
            }
            depth--;
        }
    }
    return depth == 0 || plan_check_fail(c, entry, "a loop does not end");
}

static bool arg_ok(Check *c, const PlanEntry *entry, const PlanArg *arg) {
    if (arg->role < 0 || arg->role >= PLAN_N_ARG_ROLES || arg->buffer < 0 ||
        arg->buffer >= entry->n_buffers) {
        return plan_check_fail(c, arg, "an argument is malformed");
    }
    bool is_variable = arg->role != PLAN_ARG_INPUT && arg->role != PLAN_ARG_SCALAR;
    if (is_variable ? arg->variable < 0 || arg->variable >= c->file->n_variables
                    : arg->variable != -1) {
        return plan_check_fail(c, arg, "an argument refers to no variable");
    }
    if (!plan_check_text(c, arg, arg->name) || !plan_check_type(c, arg, arg->type)) {
        return false;
    }
    if (arg->role == PLAN_ARG_SCALAR && arg->type.rank != 0) {
        return plan_check_fail(c, arg, "a run-time scalar with axes");
    }
    if (is_variable && (c->file->variables[arg->variable].type.dtype != arg->type.dtype ||
                        c->file->variables[arg->variable].type.rank != arg->type.rank)) {
        return plan_check_fail(c, arg, "an argument and its variable differ in type");
    }
    if (is_variable && arg->part.n_cuts != 0) {
        return plan_check_fail(c, arg, "a variable's argument has cuts of its own");
    }
    return true;
}

/* `number`: of the buffer in its entry. */
static bool buffer_ok(Check *c, const PlanEntry *entry, int32_t number) {
    const PlanBuffer *buffer = &c->tables->buffers[entry->first_buffer + number];
    if (buffer->kind < 0 || buffer->kind >= PLAN_N_BUFFER_KINDS || buffer->birth < 0 ||
        buffer->death < buffer->birth || buffer->death > entry->n_commands) {
        return plan_check_fail(c, buffer, "a buffer is malformed");
    }
    if (buffer->kind == PLAN_BUFFER_ARG &&
        (buffer->index < 0 || buffer->index >= entry->n_args ||
         c->tables->args[entry->first_arg + buffer->index].buffer != number)) {
        return plan_check_fail(c, buffer, "a buffer belongs to no argument");
    }
    if (buffer->kind == PLAN_BUFFER_CONSTANT &&
        (buffer->offset < 0 || buffer->offset > c->file->n_constants ||
         buffer->offset % PLAN_ALIGNMENT != 0)) {
        return plan_check_fail(c, buffer, "a constant is outside its section");
    }
    return plan_check_program(c, buffer, buffer->bytes, false) &&
           plan_check_text(c, buffer, buffer->name);
}

static bool result_ok(Check *c, const PlanEntry *entry, const PlanResult *result) {
    if (result->role < 0 || result->role >= PLAN_N_RESULT_ROLES || result->arg < -1 ||
        result->arg >= entry->n_args) {
        return plan_check_fail(c, result, "a result is malformed");
    }
    if (result->role == PLAN_RESULT_STORE && result->arg < 0) {
        return plan_check_fail(c, result, "a store to no argument");
    }
    if (result->role != PLAN_RESULT_OUTPUT && result->role != PLAN_RESULT_STORE &&
        result->type.rank != 0) {
        return plan_check_fail(c, result, "a number of the run with axes");
    }
    if (result->role != PLAN_RESULT_OUTPUT && result->part.n_cuts != 0) {
        return plan_check_fail(c, result, "a result that is no output has cuts");
    }
    return plan_check_text(c, result, result->name) && plan_check_type(c, result, result->type) &&
           plan_check_part(c, result, result->type, &result->part) &&
           ref_ok(c, entry, &result->ref, false);
}

static bool entry_records_ok(Check *c, const PlanEntry *entry) {
    const PlanTables *tables = c->tables;
    bool ok = true;
    for (int32_t i = 0; ok && i < entry->n_args; i++) {
        ok = arg_ok(c, entry, &tables->args[entry->first_arg + i]);
    }
    for (int32_t i = 0; ok && i < entry->n_buffers; i++) {
        ok = buffer_ok(c, entry, i);
    }
    for (int32_t i = 0; ok && i < entry->n_results; i++) {
        ok = result_ok(c, entry, &tables->results[entry->first_result + i]);
    }
    for (int32_t i = 0; ok && i < entry->n_commands; i++) {
        ok = command_ok(c, entry, &tables->commands[entry->first_command + i]);
    }
    return ok;
}

static bool order_ok(Check *c, const PlanEntry *entry) {
    char text[PLAN_ORDER_TEXT] = "";
    dlc_status status = DLC_ERROR_FORMAT;
    if (plan_lives_check(c->tables, entry, text)) {
        status = plan_order_check(&c->context->allocator, c->tables, entry, text);
    }
    if (status == DLC_OK) {
        return true;
    }
    c->no_memory = status == DLC_ERROR_OUT_OF_MEMORY;
    snprintf(c->order, sizeof(c->order), "entry '%.64s': %s", plan_text(c->file, entry->name),
             text);
    return plan_check_fail(c, entry, c->order);
}

/* Whether the entry's records lie in the tables, and behind those of the entry before it (NULL:
 * none). */
static bool entry_place_ok(Check *c, const PlanEntry *entry, const PlanEntry *before) {
    const PlanTables *tables = c->tables;
    if (!plan_check_range(entry->first_arg, entry->n_args, tables->n_args) ||
        !plan_check_range(entry->first_result, entry->n_results, tables->n_results) ||
        !plan_check_range(entry->first_buffer, entry->n_buffers, tables->n_buffers) ||
        !plan_check_range(entry->first_command, entry->n_commands, tables->n_commands) ||
        entry->purpose < 0 || entry->purpose >= PLAN_N_PURPOSES || entry->n_queues < 1 ||
        entry->n_queues > PLAN_MAX_QUEUES || entry->n_events < 0 ||
        entry->n_events > entry->n_commands) {
        return plan_check_fail(c, entry, "an entry is malformed");
    }
    if (before && (entry->first_arg < before->first_arg + before->n_args ||
                   entry->first_result < before->first_result + before->n_results ||
                   entry->first_buffer < before->first_buffer + before->n_buffers ||
                   entry->first_command < before->first_command + before->n_commands)) {
        return plan_check_fail(c, entry, "entries share their records");
    }
    return true;
}

static bool kernel_ok(Check *c, const PlanKernel *kernel) {
    int64_t n_image = c->tables->n_image ? c->tables->n_image : 1;
    if (kernel->entry < 0 || kernel->entry >= n_image || kernel->n_buffers < 0 ||
        kernel->n_sizes < 0 || kernel->scratch_bytes < 0 || kernel->scratch_bytes > INT32_MAX) {
        return plan_check_fail(c, kernel, "a kernel is malformed");
    }
    return plan_check_text(c, kernel, kernel->name);
}

/* What entries share. */
static bool target_records_ok(Check *c) {
    const PlanTables *tables = c->tables;
    const PlanTarget *target = tables->target;
    bool ok = plan_check_text(c, target, target->device) &&
              plan_check_text(c, target, target->machine) &&
              plan_check_text(c, target, target->features);
    for (int64_t i = 0; ok && i < tables->n_kernels; i++) {
        ok = kernel_ok(c, &tables->kernels[i]);
    }
    for (int64_t i = 0; ok && i < tables->n_args; i++) {
        /* Also those of no entry: some questions are asked of all. */
        const PlanArg *arg = &tables->args[i];
        ok = plan_check_text(c, arg, arg->name) && plan_check_type(c, arg, arg->type) &&
             plan_check_part(c, arg, arg->type, &arg->part);
    }
    for (int64_t i = 0; ok && i < tables->n_sites; i++) {
        const PlanSite *site = &tables->sites[i];
        ok = plan_check_text(c, site, site->place) && plan_check_text(c, site, site->text);
    }
    for (int64_t i = 0; ok && i < tables->n_libraries; i++) {
        ok = library_ok(c, &tables->libraries[i]);
    }
    return ok && plan_check_collectives(c);
}

static bool target_ok(Check *c) {
    const PlanTables *tables = c->tables;
    if (tables->n_target != 1) {
        return plan_check_fail(c, tables->target, "not one target record");
    }
    if (!target_records_ok(c)) {
        return false;
    }
    c->refs_left = tables->n_refs;
    c->swaps_left = tables->n_swaps;
    c->waits_left = tables->n_waits;
    bool ok = true;
    for (int64_t i = 0; ok && i < tables->n_entries; i++) {
        const PlanEntry *entry = &tables->entries[i];
        ok = entry_place_ok(c, entry, i > 0 ? entry - 1 : NULL) &&
             plan_check_text(c, entry, entry->name) && entry_records_ok(c, entry) &&
             loops_ok(c, entry) && order_ok(c, entry);
    }
    return ok;
}

dlc_status plan_file_check(dlc_context *context, const PlanFile *file) {
    Check check = {.context = context, .file = file};
    dlc_status status = plan_check_begin(&check);
    if (status != DLC_OK) {
        plan_check_end(&check);
        return status;
    }
    bool ok = shared_ok(&check);
    for (int32_t t = 0; ok && t < file->n_targets; t++) {
        check.tables = &file->targets[t];
        ok = target_ok(&check);
    }
    plan_check_end(&check);
    if (ok) {
        return DLC_OK;
    }
    if (check.no_memory) {
        return context_out_of_memory(context);
    }
    size_t offset = check.where ? (size_t)((const uint8_t *)check.where - file->bytes) : 0;
    return context_fail(context, DLC_ERROR_FORMAT, "%s: offset %zu: %s", file->name, offset,
                        check.wrong);
}
