/* Every number in a plan that is used as an index, range, text or program, checked once when it is
 * loaded, so that nothing later has to. The work is linear in the file, whatever the file says:
 * what many records may refer to is looked at once. */
#include "runtime/plan_file/read.h"

#include <stdio.h>

/* More instructions than any step's sizes take; evaluating as many is a matter of a second. */
static const int64_t MOST_WORK = (int64_t)1 << 28;

typedef struct Check {
    dlc_context *context;
    const PlanFile *file;
    const PlanTables *tables;
    const char *wrong;                /* the first complaint, or NULL */
    const void *where;                /* the record it is about */
    char order[PLAN_ORDER_TEXT + 80]; /* what `wrong` points to, where it is of order.c */
    bool no_memory;
    ProgramIndex index;
    int64_t *size_work; /* instructions of all PLAN_SIZES in front of one */
    int64_t work;       /* instructions that laying out the entries takes */
    int64_t refs_left, swaps_left, waits_left;
} Check;

static bool fail(Check *c, const void *record, const char *what) {
    if (!c->wrong) {
        c->wrong = what;
        c->where = record;
    }
    return false;
}

static bool range_ok(int64_t first, int64_t count, int64_t limit) {
    return first >= 0 && count >= 0 && first <= limit && count <= limit - first;
}

static bool text_ok(Check *c, const void *record, uint32_t offset) {
    return offset < (uint64_t)c->file->n_strings ||
           fail(c, record, "a text is outside the strings");
}

static bool program_ok(Check *c, const void *record, PlanProgram program, bool loops) {
    if (!range_ok(program.first, program.count, c->file->n_programs)) {
        return fail(c, record, "a size program is outside its section");
    }
    if (program.count == 0) {
        return true;
    }
    if (!program_index_valid(&c->index, program.first, program.count, loops)) {
        return fail(c, record, "a size program is malformed");
    }
    c->work += program.count;
    return c->work <= MOST_WORK || fail(c, record, "the size programs are out of proportion");
}

static dlc_status check_begin(Check *c) {
    const PlanFile *file = c->file;
    const dlc_allocator *allocator = &c->context->allocator;
    if (file->n_programs > PROGRAM_INDEX_MOST) {
        return context_fail(c->context, DLC_ERROR_FORMAT, "%s: too many size programs", file->name);
    }
    c->size_work = memory_new(allocator, (size_t)file->n_sizes + 1, sizeof(*c->size_work));
    if (!c->size_work || !program_index_init(&c->index, allocator, file->programs, file->n_programs,
                                             file->n_dims, PLAN_MAX_LOOP_DEPTH)) {
        return context_out_of_memory(c->context);
    }
    for (int64_t i = 0; i < file->n_sizes; i++) {
        c->size_work[i + 1] = c->size_work[i] + file->sizes[i].count;
    }
    return DLC_OK;
}

static void check_end(Check *c) {
    program_index_finish(&c->index, &c->context->allocator);
    memory_free(&c->context->allocator, c->size_work);
}

static bool sizes_ok(Check *c, const void *record, int32_t first, int32_t count) {
    if (!range_ok(first, count, c->file->n_sizes)) {
        return fail(c, record, "sizes are outside their section");
    }
    /* The programs themselves are checked once, in shared_ok. */
    c->work += c->size_work[first + count] - c->size_work[first];
    return c->work <= MOST_WORK || fail(c, record, "the sizes are out of proportion");
}

static bool type_ok(Check *c, const void *record, PlanType type) {
    if (type.dtype < 0 || type.dtype >= PLAN_N_DTYPES || type.rank < 0 ||
        type.rank > PLAN_MAX_RANK) {
        return fail(c, record, "a type is malformed");
    }
    return sizes_ok(c, record, type.first_size, type.rank) && text_ok(c, record, type.text);
}

static bool shared_ok(Check *c) {
    const PlanFile *file = c->file;
    if (file->n_strings < 1 || file->strings[0] || file->strings[file->n_strings - 1]) {
        return fail(c, file->strings, "the strings are not terminated");
    }
    if (file->n_dims > PLAN_MAX_DIMS) {
        return fail(c, file->dims, "too many dims");
    }
    for (int64_t i = 0; i < file->n_dims; i++) {
        const PlanDim *dim = &file->dims[i];
        if (!text_ok(c, dim, dim->name)) {
            return false;
        }
        if (dim->divisor < 1 || dim->low < 0 || dim->high < dim->low) {
            return fail(c, dim, "a dim's bounds are malformed");
        }
    }
    for (int64_t i = 0; i < file->n_sizes; i++) {
        if (!program_ok(c, &file->sizes[i], file->sizes[i], false)) {
            return false;
        }
        c->work = 0; /* not before something refers to it */
    }
    for (int64_t i = 0; i < file->n_variables; i++) {
        const PlanVariable *variable = &file->variables[i];
        if (variable->role < PLAN_ARG_PARAM || variable->role > PLAN_ARG_SLOT) {
            return fail(c, variable, "a variable has no such role");
        }
        if (!text_ok(c, variable, variable->name) || !type_ok(c, variable, variable->type) ||
            !program_ok(c, variable, variable->bytes, false)) {
            return false;
        }
    }
    for (int64_t i = 0; i < file->n_settings; i++) {
        if (!text_ok(c, &file->settings[i], file->settings[i].name) ||
            !text_ok(c, &file->settings[i], file->settings[i].value)) {
            return false;
        }
    }
    return true;
}

static bool ref_ok(Check *c, const PlanEntry *entry, const PlanRef *ref, bool loops) {
    if (ref->buffer < 0 || ref->buffer >= entry->n_buffers) {
        return fail(c, ref, "a command refers to no buffer");
    }
    if (ref->written < 0 || ref->written > PLAN_N_DTYPES) {
        return fail(c, ref, "a reference is malformed");
    }
    return program_ok(c, ref, ref->offset, loops) && program_ok(c, ref, ref->bytes, false);
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
            return fail(c, ref, "a command does other than it says to a buffer");
        }
        const PlanBuffer *buffer = &c->tables->buffers[entry->first_buffer + ref->buffer];
        if (buffer->kind == PLAN_BUFFER_CONSTANT && ref->access & PLAN_WRITES) {
            return fail(c, ref, "a command writes to a constant");
        }
    }
    return true;
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
    return (ok || fail(c, library, "a library call is malformed")) &&
           sizes_ok(c, library, library->first_size, library->n_sizes);
}

/* Launches that the device may be given as one are on one queue, and wait as one. */
static bool follower_ok(Check *c, const PlanCommand *first, const PlanCommand *follower) {
    return (follower->queue == first->queue && follower->n_waits == 0) ||
           fail(c, follower, "one of launches that go together waits, or is on another queue");
}

/* The launches that a call stands for follow its command and are launches only, their refs one
 * after another. */
static bool library_use_ok(Check *c, const PlanEntry *entry, const PlanCommand *command) {
    const PlanTables *tables = c->tables;
    if (command->library < -1 || command->library >= tables->n_libraries ||
        (command->library >= 0 && command->kind != PLAN_LAUNCH)) {
        return fail(c, command, "a command of no library call");
    }
    if (command->library < 0) {
        return true;
    }
    const PlanLibrary *library = &tables->libraries[command->library];
    const PlanCommand *end = tables->commands + entry->first_command + entry->n_commands;
    if (library->more >= end - command) {
        return fail(c, command, "a library call goes past the entry");
    }
    int64_t n_refs = command->n_refs;
    for (int32_t i = 1; i <= library->more; i++) {
        const PlanCommand *next = &command[i];
        if (next->kind != PLAN_LAUNCH || next->library != -1 ||
            next->first_ref != command->first_ref + n_refs) {
            return fail(c, command, "a library call stands for what is no launch");
        }
        n_refs += next->n_refs;
        if (!follower_ok(c, command, next)) {
            return false;
        }
    }
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        if (library->refs[i] >= n_refs) {
            return fail(c, command, "a library call refers to no buffer");
        }
        int32_t access = i == PLAN_OPERAND_D ? PLAN_WRITES : PLAN_READS;
        int32_t ref = command->first_ref + library->refs[i];
        if (library->refs[i] >= 0 && range_ok(ref, 1, tables->n_refs) &&
            !(tables->refs[ref].access & access)) {
            return fail(c, command, "a library call does more to a buffer than its launches");
        }
    }
    return true;
}

/* Its queue, what it waits for and what it signals; that the events are in order is for order.c. */
static bool queue_ok(Check *c, const PlanEntry *entry, const PlanCommand *command) {
    const PlanTables *tables = c->tables;
    bool moves = command->kind == PLAN_LAUNCH || command->kind == PLAN_COPY ||
                 command->kind == PLAN_FILL || command->kind == PLAN_STORE;
    if (command->queue < 0 || command->queue >= (moves ? entry->n_queues : 1)) {
        return fail(c, command, "a command on a queue that it cannot be on");
    }
    if (command->kind == PLAN_LAUNCH && command->queue > 0 &&
        tables->kernels[command->kernel].faults != 0) {
        return fail(c, command, "a kernel that may fault on another queue than the barrier's");
    }
    if (!range_ok(command->first_wait, command->n_waits, tables->n_waits)) {
        return fail(c, command, "waits are outside their section");
    }
    c->waits_left -= command->n_waits;
    if (c->waits_left < 0) {
        return fail(c, command, "commands share their waits");
    }
    for (int32_t i = 0; i < command->n_waits; i++) {
        const int32_t *event = &tables->waits[command->first_wait + i];
        if (*event < 0 || *event >= entry->n_events) {
            return fail(c, event, "a wait for no event");
        }
    }
    return (command->signal >= -1 && command->signal < entry->n_events) ||
           fail(c, command, "a signal of no event");
}

static bool group_ok(Check *c, const PlanEntry *entry, const PlanCommand *command) {
    if (!(command->flags & PLAN_COMMAND_GROUPED)) {
        return true;
    }
    bool is_first = command == c->tables->commands + entry->first_command;
    if (command->kind != PLAN_LAUNCH || command->library >= 0 || is_first ||
        command[-1].kind != PLAN_LAUNCH || command[-1].kernel != command->kernel ||
        command[-1].library >= 0) {
        return fail(c, command, "a group of different launches");
    }
    return follower_ok(c, command - 1, command);
}

static bool swaps_ok(Check *c, const PlanEntry *entry, const PlanCommand *command) {
    const PlanTables *tables = c->tables;
    if (!range_ok(command->first_swap, command->n_swaps, tables->n_swaps)) {
        return fail(c, command, "swaps are outside their section");
    }
    c->swaps_left -= command->n_swaps;
    if (c->swaps_left < 0) {
        return fail(c, command, "commands share their swaps");
    }
    for (int32_t i = 0; i < command->n_swaps; i++) {
        const PlanSwap *swap = &tables->swaps[command->first_swap + i];
        const PlanBuffer *buffers = tables->buffers + entry->first_buffer;
        if (swap->a < 0 || swap->a >= entry->n_buffers || swap->b < 0 ||
            swap->b >= entry->n_buffers || buffers[swap->a].kind != PLAN_BUFFER_ARENA ||
            buffers[swap->b].kind != PLAN_BUFFER_ARENA) {
            return fail(c, swap, "a swap of buffers that cannot swap");
        }
    }
    return true;
}

static bool command_ok(Check *c, const PlanEntry *entry, const PlanCommand *command) {
    const PlanTables *tables = c->tables;
    if (command->kind < 0 || command->kind >= PLAN_N_COMMAND_KINDS) {
        return fail(c, command, "no such kind of command");
    }
    if (command->kind == PLAN_LAUNCH) {
        if (command->kernel < 0 || command->kernel >= tables->n_kernels) {
            return fail(c, command, "a launch of no kernel");
        }
        if (command->n_sizes != tables->kernels[command->kernel].n_sizes) {
            return fail(c, command, "a launch with the wrong number of sizes");
        }
    }
    if (command->n_refs != refs_needed(command, tables) ||
        !range_ok(command->first_ref, command->n_refs, tables->n_refs)) {
        return fail(c, command, "a command with the wrong number of buffers");
    }
    c->refs_left -= command->n_refs;
    if (c->refs_left < 0) {
        return fail(c, command, "commands share their references");
    }
    for (int32_t i = 0; i < command->n_refs; i++) {
        if (!ref_ok(c, entry, &tables->refs[command->first_ref + i], true)) {
            return false;
        }
    }
    if (!sizes_ok(c, command, command->first_size, command->n_sizes) ||
        !program_ok(c, command, command->extent, false) ||
        !program_ok(c, command, command->other, false) ||
        !program_ok(c, command, command->flops, false) ||
        !program_ok(c, command, command->bytes, false) || !text_ok(c, command, command->text) ||
        !text_ok(c, command, command->place)) {
        return false;
    }
    if (command->kind == PLAN_SHOW && !type_ok(c, command, command->type)) {
        return false;
    }
    bool site_needed = command->kind == PLAN_CHECK || command->kind == PLAN_SIZE_CHECK ||
                       (command->kind == PLAN_LOOP && (command->flags & PLAN_COMMAND_WHILE));
    if (command->site < (site_needed ? 0 : -1) || command->site >= tables->n_sites) {
        return fail(c, command, "a check without a place");
    }
    if (!accesses_ok(c, entry, command) || !queue_ok(c, entry, command) ||
        !library_use_ok(c, entry, command)) {
        return false;
    }
    if (command->flags < 0 || command->flags > 7) {
        return fail(c, command, "a command is malformed");
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
                return fail(c, command, "a loop nests wrongly");
            }
            open[depth++] = i;
        } else if (command->kind == PLAN_TEST) {
            if (depth == 0 || command->match != commands[open[depth - 1]].match) {
                return fail(c, command, "a test stands outside its loop");
            }
        } else if (command->kind == PLAN_LOOP_END) {
            if (depth == 0 || command->match != open[depth - 1] ||
                commands[command->match].match != i) {
                return fail(c, command, "a loop ends wrongly");
            }
            depth--;
        }
    }
    return depth == 0 || fail(c, entry, "a loop does not end");
}

static bool arg_ok(Check *c, const PlanEntry *entry, const PlanArg *arg) {
    if (arg->role < 0 || arg->role >= PLAN_N_ARG_ROLES || arg->buffer < 0 ||
        arg->buffer >= entry->n_buffers) {
        return fail(c, arg, "an argument is malformed");
    }
    bool is_variable = arg->role != PLAN_ARG_INPUT && arg->role != PLAN_ARG_SCALAR;
    if (is_variable ? arg->variable < 0 || arg->variable >= c->file->n_variables
                    : arg->variable != -1) {
        return fail(c, arg, "an argument refers to no variable");
    }
    if (!text_ok(c, arg, arg->name) || !type_ok(c, arg, arg->type)) {
        return false;
    }
    if (arg->role == PLAN_ARG_SCALAR && arg->type.rank != 0) {
        return fail(c, arg, "a run-time scalar with axes");
    }
    if (is_variable && (c->file->variables[arg->variable].type.dtype != arg->type.dtype ||
                        c->file->variables[arg->variable].type.rank != arg->type.rank)) {
        return fail(c, arg, "an argument and its variable differ in type");
    }
    return true;
}

/* `number`: of the buffer in its entry. */
static bool buffer_ok(Check *c, const PlanEntry *entry, int32_t number) {
    const PlanBuffer *buffer = &c->tables->buffers[entry->first_buffer + number];
    if (buffer->kind < 0 || buffer->kind >= PLAN_N_BUFFER_KINDS || buffer->birth < 0 ||
        buffer->death < buffer->birth || buffer->death > entry->n_commands) {
        return fail(c, buffer, "a buffer is malformed");
    }
    if (buffer->kind == PLAN_BUFFER_ARG &&
        (buffer->index < 0 || buffer->index >= entry->n_args ||
         c->tables->args[entry->first_arg + buffer->index].buffer != number)) {
        return fail(c, buffer, "a buffer belongs to no argument");
    }
    if (buffer->kind == PLAN_BUFFER_CONSTANT &&
        (buffer->offset < 0 || buffer->offset > c->file->n_constants ||
         buffer->offset % PLAN_ALIGNMENT != 0)) {
        return fail(c, buffer, "a constant is outside its section");
    }
    return program_ok(c, buffer, buffer->bytes, false) && text_ok(c, buffer, buffer->name);
}

static bool result_ok(Check *c, const PlanEntry *entry, const PlanResult *result) {
    if (result->role < 0 || result->role >= PLAN_N_RESULT_ROLES || result->arg < -1 ||
        result->arg >= entry->n_args) {
        return fail(c, result, "a result is malformed");
    }
    if (result->role == PLAN_RESULT_STORE && result->arg < 0) {
        return fail(c, result, "a store to no argument");
    }
    if (result->role != PLAN_RESULT_OUTPUT && result->role != PLAN_RESULT_STORE &&
        result->type.rank != 0) {
        return fail(c, result, "a number of the run with axes");
    }
    return text_ok(c, result, result->name) && type_ok(c, result, result->type) &&
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
    return fail(c, entry, c->order);
}

/* Whether the entry's records lie in the tables, and behind those of the entry before it (NULL:
 * none). */
static bool entry_place_ok(Check *c, const PlanEntry *entry, const PlanEntry *before) {
    const PlanTables *tables = c->tables;
    if (!range_ok(entry->first_arg, entry->n_args, tables->n_args) ||
        !range_ok(entry->first_result, entry->n_results, tables->n_results) ||
        !range_ok(entry->first_buffer, entry->n_buffers, tables->n_buffers) ||
        !range_ok(entry->first_command, entry->n_commands, tables->n_commands) ||
        entry->purpose < 0 || entry->purpose >= PLAN_N_PURPOSES || entry->n_queues < 1 ||
        entry->n_queues > PLAN_MAX_QUEUES || entry->n_events < 0 ||
        entry->n_events > entry->n_commands) {
        return fail(c, entry, "an entry is malformed");
    }
    if (before && (entry->first_arg < before->first_arg + before->n_args ||
                   entry->first_result < before->first_result + before->n_results ||
                   entry->first_buffer < before->first_buffer + before->n_buffers ||
                   entry->first_command < before->first_command + before->n_commands)) {
        return fail(c, entry, "entries share their records");
    }
    return true;
}

static bool kernel_ok(Check *c, const PlanKernel *kernel) {
    int64_t n_image = c->tables->n_image ? c->tables->n_image : 1;
    if (kernel->entry < 0 || kernel->entry >= n_image || kernel->n_buffers < 0 ||
        kernel->n_sizes < 0 || kernel->scratch_bytes < 0 || kernel->scratch_bytes > INT32_MAX) {
        return fail(c, kernel, "a kernel is malformed");
    }
    return text_ok(c, kernel, kernel->name);
}

/* What entries share. */
static bool target_records_ok(Check *c) {
    const PlanTables *tables = c->tables;
    const PlanTarget *target = tables->target;
    bool ok = text_ok(c, target, target->device) && text_ok(c, target, target->machine) &&
              text_ok(c, target, target->features);
    for (int64_t i = 0; ok && i < tables->n_kernels; i++) {
        ok = kernel_ok(c, &tables->kernels[i]);
    }
    for (int64_t i = 0; ok && i < tables->n_args; i++) {
        /* Also those of no entry: some questions are asked of all. */
        const PlanArg *arg = &tables->args[i];
        ok = text_ok(c, arg, arg->name) && type_ok(c, arg, arg->type);
    }
    for (int64_t i = 0; ok && i < tables->n_sites; i++) {
        const PlanSite *site = &tables->sites[i];
        ok = text_ok(c, site, site->place) && text_ok(c, site, site->text);
    }
    for (int64_t i = 0; ok && i < tables->n_libraries; i++) {
        ok = library_ok(c, &tables->libraries[i]);
    }
    return ok;
}

static bool target_ok(Check *c) {
    const PlanTables *tables = c->tables;
    if (tables->n_target != 1) {
        return fail(c, tables->target, "not one target record");
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
        ok = entry_place_ok(c, entry, i > 0 ? entry - 1 : NULL) && text_ok(c, entry, entry->name) &&
             entry_records_ok(c, entry) && loops_ok(c, entry) && order_ok(c, entry);
    }
    return ok;
}

dlc_status plan_file_check(dlc_context *context, const PlanFile *file) {
    Check check = {.context = context, .file = file};
    dlc_status status = check_begin(&check);
    if (status != DLC_OK) {
        check_end(&check);
        return status;
    }
    bool ok = shared_ok(&check);
    for (int32_t t = 0; ok && t < file->n_targets; t++) {
        check.tables = &file->targets[t];
        ok = target_ok(&check);
    }
    check_end(&check);
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
