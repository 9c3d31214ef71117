/* Func by Func: arguments get their memory, the body becomes commands, results are recorded, and
 * what could not be stored in place is copied at the end, behind the barrier. */
#include "codegen/schedule/schedule.h"

#include "codegen/schedule/state.h"

static bool role_is_variable(ArgRole role) {
    return role == ARG_PARAM || role == ARG_STATE || role == ARG_CACHE || role == ARG_SLOT;
}

static void args_place(Schedule *s) {
    const Func *func = s->func;
    for (int32_t i = 0; i < func->body->n_args; i++) {
        const Value *value = func->body->args[i];
        const FuncArg *arg = &func->args[i];
        int32_t memory =
            memory_add(s, PLAN_BUFFER_ARG, type_bytes(s->context, value->type), arg->name);
        s->memories.items[memory].index = i;
        s->spots[value->id] = spot_of(memory, s->context);
        PlanArg record = {.role = (int32_t)arg->role, .buffer = memory, .variable = -1};
        record.name = plan_writer_string(s->writer, arg->name);
        record.type = plan_writer_type(s->writer, value->type);
        if (role_is_variable(arg->role)) {
            record.variable = plan_writer_variable(s->writer, arg->name, (PlanArgRole)arg->role,
                                                   value->type, arg->sharding);
            if (record.variable < 0) {
                INTERNAL_ERROR(s->context, arg->place, arg->name, "it has two types in the plan");
            }
        } else {
            record.part = plan_writer_part(s->writer, arg->sharding);
        }
        VEC_PUSH(s->arena, &s->tables->args, record);
    }
}

static const Value *result_root(const Schedule *s, int32_t i) {
    return s->roots[block_yield(s->func->body)->operands[i]->id];
}

/* Fusions write stored values straight to their arguments where that is safe. */
static void stores_wish(Schedule *s) {
    const Func *func = s->func;
    for (int32_t i = 0; i < func->n_results; i++) {
        const FuncResult *result = &func->results[i];
        if (result->role == RESULT_OK) {
            s->ok = result_root(s, i);
        }
        if (result->role != RESULT_STORE) {
            continue;
        }
        const Value *root = result_root(s, i);
        Wish *wish = &s->wishes[root->id];
        if (root->op && root->op->code == OP_fusion && root->op->parent == func->body &&
            wish->kind == WISH_NONE) {
            int32_t memory = s->spots[func->body->args[result->arg]->id].memory;
            *wish = (Wish){.kind = WISH_STORE, .spot = spot_of(memory, s->context)};
        }
    }
}

static bool arg_is_stored(const Func *func, int32_t arg, int32_t except) {
    for (int32_t i = 0; i < func->n_results; i++) {
        if (i != except && func->results[i].role == RESULT_STORE && func->results[i].arg == arg) {
            return true;
        }
    }
    return false;
}

/* A result that is the old value of an argument which is stored to is copied before anything else.
 */
static void old_values_save(Schedule *s, Spot *results) {
    const Func *func = s->func;
    for (int32_t i = 0; i < func->n_results; i++) {
        const Value *root = result_root(s, i);
        results[i].memory = -1;
        if (root->op || root->block != func->body) {
            continue;
        }
        bool itself = func->results[i].role == RESULT_STORE && func->results[i].arg == root->index;
        if (!itself && arg_is_stored(func, root->index, i)) {
            int32_t memory =
                memory_add(s, PLAN_BUFFER_ARENA, type_bytes(s->context, root->type), "old");
            results[i] = spot_of(memory, s->context);
            emit_copy(s, &results[i], &s->spots[root->id], root->type);
        }
    }
}

static void stores_finish(Schedule *s, const Spot *results) {
    const Func *func = s->func;
    for (int32_t i = 0; i < func->n_results; i++) {
        if (func->results[i].role != RESULT_STORE) {
            continue;
        }
        const Value *target = func->body->args[func->results[i].arg];
        const Spot *to = &s->spots[target->id];
        if (results[i].memory == to->memory) {
            continue;
        }
        schedule_barrier(s, false);
        PlanCommand *command = command_add(s, PLAN_STORE);
        command->extent = plan_writer_size(s->writer, type_bytes(s->context, target->type));
        command->bytes = command->extent;
        command_add_ref(s, command, to);
        command_add_ref(s, command, &results[i]);
        if (s->gate.memory >= 0) {
            command_add_ref(s, command, &s->gate);
        }
    }
}

static void results_write(Schedule *s, const Spot *results, int64_t n_commands) {
    const Func *func = s->func;
    const Op *yield = block_yield(func->body);
    for (int32_t i = 0; i < func->n_results; i++) {
        const FuncResult *result = &func->results[i];
        Memory *memory = &s->memories.items[results[i].memory];
        memory->death = n_commands;
        memory->birth = memory->birth < 0 ? 0 : memory->birth;
        PlanResult record = {.role = (int32_t)result->role,
                             .arg = result->role == RESULT_STORE ? result->arg : -1};
        record.name = plan_writer_string(s->writer, result->name);
        record.type = plan_writer_type(s->writer, yield->operands[i]->type);
        record.ref = spot_ref(s, &results[i]);
        if (result->role == RESULT_OUTPUT) {
            record.part = plan_writer_part(s->writer, result->sharding);
        }
        VEC_PUSH(s->arena, &s->tables->results, record);
    }
}

static void schedule_func(Schedule *s) {
    TargetTables *tables = s->tables;
    Func *func = s->func;
    PlanEntry entry = {.name = plan_writer_string(s->writer, func->name),
                       .purpose = (int32_t)func->purpose,
                       .first_arg = (int32_t)tables->args.count,
                       .n_args = func->body->n_args,
                       .first_result = (int32_t)tables->results.count,
                       .n_results = func->n_results,
                       .first_buffer = (int32_t)tables->buffers.count,
                       .first_command = (int32_t)tables->commands.count};
    s->first_command = entry.first_command;
    schedule_analyse(s);
    args_place(s);
    stores_wish(s);
    Spot *results = ARENA_ARRAY(s->arena, Spot, func->n_results);
    old_values_save(s, results);
    schedule_block(s, func->body);
    for (int32_t i = 0; i < func->n_results; i++) {
        if (results[i].memory < 0) {
            results[i] = s->spots[result_root(s, i)->id];
        }
        if (results[i].memory < 0) {
            SCHEDULE_REFUSE(s, block_yield(func->body), "a result has no memory");
        }
    }
    stores_finish(s, results);
    for (int32_t i = 0; s->ok && i < func->n_results; i++) {
        if (func->results[i].role == RESULT_OK) {
            results[i] = s->spots[s->ok->id]; /* a barrier may have come in between */
        }
    }
    int64_t n_commands = command_number(s);
    results_write(s, results, n_commands);
    memories_write(s, n_commands);
    entry.n_buffers = (int32_t)s->memories.count;
    entry.n_commands = (int32_t)n_commands;
    entry.n_loop_depth = s->max_depth;
    entry.n_queues = 1;
    VEC_PUSH(s->arena, &tables->entries, entry);
}

void schedule_module(Module *module, const Machine *machine, PlanWriter *writer,
                     TargetTables *tables, KernelPool *pool) {
    bool blocks = machine->threads > 1;
    const int64_t *saved = blocks ? module_imply_nominals(module, writer->arena) : NULL;
    for (Func *func = module->first; func; func = func->next) {
        Schedule schedule = {.module = module,
                             .context = module->context,
                             .func = func,
                             .machine = machine,
                             .writer = writer,
                             .tables = tables,
                             .pool = pool,
                             .arena = writer->arena};
        schedule_func(&schedule);
    }
    if (machine->merges_kernels) {
        schedule_merge(writer, tables, pool);
    }
    if (machine->group_words > 0) {
        schedule_group(module, machine, writer, tables, pool);
    }
    schedule_accesses(tables, pool);
    if (machine->queues > 1 || tables->collectives.count > 0) {
        schedule_queues(module, writer, tables, machine->queues > 1);
    }
    if (blocks) {
        module_restore_nominals(module, saved);
    }
}
