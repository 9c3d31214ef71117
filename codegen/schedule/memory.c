/* Buffers of a schedule: making them, the commands that touch them, and their lifetimes over loops.
 */
#include "codegen/schedule/state.h"

int32_t memory_add(Schedule *s, PlanBufferKind kind, const Size *bytes, const char *name) {
    Memory memory = {.kind = kind,
                     .bytes = bytes,
                     .name = name,
                     .birth = -1,
                     .death = -1,
                     .depth = s->loop ? s->loop->depth + 1 : 0,
                     .partner = (int32_t)s->memories.count};
    VEC_PUSH(s->arena, &s->memories, memory);
    return (int32_t)s->memories.count - 1;
}

int64_t command_number(const Schedule *s) {
    return (int64_t)s->tables->commands.count - s->first_command;
}

void memory_touch(Schedule *s, int32_t number) {
    Memory *memory = &s->memories.items[number];
    int64_t now = command_number(s);
    if (memory->birth < 0) {
        memory->birth = now;
    }
    memory->death = now > memory->death ? now : memory->death;
    for (Loop *loop = s->loop; loop; loop = loop->outer) {
        if (loop->depth == memory->depth) {
            VEC_PUSH(s->arena, &loop->extend, number);
        }
    }
}

static int32_t memory_representative(Schedule *s, int32_t number) {
    while (s->memories.items[number].partner != number) {
        number = s->memories.items[number].partner;
    }
    return number;
}

void memory_unite(Schedule *s, int32_t a, int32_t b) {
    a = memory_representative(s, a);
    b = memory_representative(s, b);
    s->memories.items[a < b ? b : a].partner = a < b ? a : b;
}

void schedule_enter(Schedule *s, Loop *loop) {
    loop->outer = s->loop;
    loop->depth = s->loop ? s->loop->depth + 1 : 0;
    s->loop = loop;
    s->max_depth = loop->depth + 1 > s->max_depth ? loop->depth + 1 : s->max_depth;
}

void schedule_leave(Schedule *s) {
    Loop *loop = s->loop;
    s->loop = loop->outer;
    int64_t now = command_number(s);
    for (size_t i = 0; i < loop->extend.count; i++) {
        Memory *memory = &s->memories.items[loop->extend.items[i]];
        memory->death = now > memory->death ? now : memory->death;
    }
}

PlanCommand *command_add(Schedule *s, PlanCommandKind kind) {
    PlanCommand command = {.kind = (int32_t)kind,
                           .kernel = -1,
                           .first_ref = (int32_t)s->tables->refs.count,
                           .first_size = (int32_t)s->writer->sizes.count,
                           .match = -1,
                           .site = -1,
                           .first_swap = (int32_t)s->tables->swaps.count,
                           .library = -1,
                           .signal = -1};
    VEC_PUSH(s->arena, &s->tables->commands, command);
    return &s->tables->commands.items[s->tables->commands.count - 1];
}

Spot spot_of(int32_t memory, Context *context) {
    return (Spot){.memory = memory, .base = size_const(context, 0)};
}

bool spot_is_whole(const Spot *spot) {
    int64_t base;
    return spot->n_terms == 0 && size_is_const(spot->base, &base) && base == 0;
}

PlanRef spot_ref(Schedule *s, const Spot *spot) {
    PlanRef ref = {.buffer = spot->memory};
    if (spot_is_whole(spot)) {
        return ref;
    }
    ProgramVec code = {0};
    size_to_program(s->arena, spot->base, &code);
    for (int32_t i = 0; i < spot->n_terms; i++) {
        size_to_program(s->arena, spot->terms[i].stride, &code);
        ProgramInstr variable = {PROGRAM_VAR, s->module->n_dims + spot->terms[i].depth};
        VEC_PUSH(s->arena, &code, variable);
        ProgramInstr multiply = {PROGRAM_MUL, 0}, add = {PROGRAM_ADD, 0};
        VEC_PUSH(s->arena, &code, multiply);
        VEC_PUSH(s->arena, &code, add);
    }
    ref.offset = plan_writer_program(s->writer, code.items, code.count);
    return ref;
}

void memory_touch_last(Schedule *s, int32_t memory) {
    s->tables->commands.count--;
    memory_touch(s, memory);
    s->tables->commands.count++;
}

/* The command must be the newest one: memory lives until it, not the one after. */
void command_add_ref(Schedule *s, PlanCommand *command, const Spot *spot) {
    memory_touch_last(s, spot->memory);
    PlanRef ref = spot_ref(s, spot);
    ref.access = plan_access(command->kind, command->n_refs); /* of launches: see queues.c */
    VEC_PUSH(s->arena, &s->tables->refs, ref);
    command->n_refs++;
}

void emit_copy(Schedule *s, const Spot *to, const Spot *from, Type type) {
    PlanCommand *command = command_add(s, PLAN_COPY);
    command->extent = plan_writer_size(s->writer, type_bytes(s->context, type));
    command->bytes = command->extent;
    command_add_ref(s, command, to);
    command_add_ref(s, command, from);
}

/* Writes the entry's buffers; those that swap get the span of all of them. */
void memories_write(Schedule *s, int64_t n_commands) {
    for (int32_t i = 0; i < (int32_t)s->memories.count; i++) {
        Memory *memory = &s->memories.items[i];
        Memory *first = &s->memories.items[memory_representative(s, i)];
        if (memory->birth >= 0 && (first->birth < 0 || memory->birth < first->birth)) {
            first->birth = memory->birth;
        }
        first->death = memory->death > first->death ? memory->death : first->death;
    }
    for (int32_t i = 0; i < (int32_t)s->memories.count; i++) {
        const Memory *memory = &s->memories.items[i];
        const Memory *span = &s->memories.items[memory_representative(s, i)];
        bool arena = memory->kind == PLAN_BUFFER_ARENA;
        int64_t birth = span->birth < 0 ? 0 : span->birth;
        int64_t death = span->death < birth ? birth : span->death;
        PlanBuffer buffer = {
            .kind = (int32_t)memory->kind,
            .index = memory->index,
            .bytes = plan_writer_size(s->writer, memory->bytes),
            .birth = arena ? birth : 0,
            .death = arena ? death : n_commands,
            .offset = memory->offset,
            .name = plan_writer_string(s->writer, memory->name),
        };
        VEC_PUSH(s->arena, &s->tables->buffers, buffer);
    }
}

int64_t *nominal_dims(const Module *module, Arena *arena) {
    int64_t *vars = ARENA_ARRAY(arena, int64_t, module->n_dims + 1);
    for (int32_t i = 0; i < module->n_dims; i++) {
        const Dim *dim = module->dims[i];
        int64_t value = dim->nominal > 0 ? dim->nominal : UNSET_SIZE;
        value = value > dim->high ? dim->high : value;
        vars[i] = value < dim->low ? dim->low : value;
    }
    return vars;
}

int64_t *nominal_bytes(PlanWriter *writer, const PlanBuffer *buffers, int32_t n_buffers,
                       const int64_t *vars, int64_t n_vars) {
    int64_t *bytes = ARENA_ARRAY(writer->arena, int64_t, n_buffers + 1);
    for (int32_t b = 0; b < n_buffers; b++) {
        PlanProgram program = buffers[b].bytes;
        if (!program_eval(writer->programs.items + program.first, program.count, vars, n_vars,
                          &bytes[b])) {
            bytes[b] = 0;
        }
    }
    return bytes;
}
