/* scan and while -> loop commands. A carry has two buffers that swap after each iteration (one when
 * the body overwrites it in place, none when the body passes it on); xs are read and ys written at
 * base + index * stride. */
#include "codegen/schedule/state.h"

/* What a loop op consists of, for both kinds. */
typedef struct LoopParts {
    Op *op;
    Block *body;
    const Op *yield;
    int32_t n_carries, n_xs, n_ys;
    int32_t first_carry_arg;
    Spot *ys; /* where each stacked result lies */
} LoopParts;

static LoopParts loop_parts(Schedule *s, Op *op) {
    bool scan = op->code == OP_scan;
    LoopParts parts = {.op = op, .body = op->blocks[op->n_blocks - 1]};
    parts.yield = block_yield(parts.body);
    parts.n_carries = scan ? (int32_t)scan_carries(op) : op->n_operands;
    parts.n_xs = op->n_operands - parts.n_carries;
    parts.n_ys = op->n_results - parts.n_carries;
    parts.first_carry_arg = scan ? 1 : 0;
    parts.ys = ARENA_ARRAY(s->arena, Spot, parts.n_ys);
    return parts;
}

static bool carry_is_constant(const Schedule *s, const LoopParts *parts, int32_t i) {
    const Value *arg = parts->body->args[parts->first_carry_arg + i];
    return s->roots[arg->id] != arg;
}

/* The carry's memory at the start: the initial value's own when nobody else reads it, else a copy.
 */
static int32_t carry_begin(Schedule *s, const LoopParts *parts, int32_t i) {
    const Op *op = parts->op;
    const Value *root = s->roots[op->operands[i]->id];
    const Block *home = root->op ? root->op->parent : root->block;
    const Spot *from = &s->spots[root->id];
    if (from->memory < 0) {
        SCHEDULE_REFUSE(s, op, "an operand has no memory");
    }
    const Memory *memory = &s->memories.items[from->memory];
    if (home == op->parent && s->last_use[root->id] == op->id && s->last_uses[root->id] == 1 &&
        spot_is_whole(from) && memory->kind == PLAN_BUFFER_ARENA && !memory->keep) {
        return from->memory;
    }
    Type type = op->operands[i]->type;
    int32_t own =
        memory_add(s, PLAN_BUFFER_ARENA, type_bytes(s->context, type), op->results[i]->name);
    Spot to = spot_of(own, s->context);
    emit_copy(s, &to, from, type);
    return own;
}

static Spot spot_step(Schedule *s, Spot spot, Type slice) {
    if (spot.n_terms == PLAN_MAX_LOOP_DEPTH) {
        boundary_leave(s->context->boundary, DLC_ERROR_LIMIT);
    }
    spot.terms[spot.n_terms].depth = s->loop->depth;
    spot.terms[spot.n_terms].stride = type_bytes(s->context, slice);
    spot.n_terms++;
    return spot;
}

static bool spot_same(const Spot *a, const Spot *b) {
    if (a->memory != b->memory || a->base != b->base || a->n_terms != b->n_terms) {
        return false;
    }
    for (int32_t i = 0; i < a->n_terms; i++) {
        if (a->terms[i].depth != b->terms[i].depth || a->terms[i].stride != b->terms[i].stride) {
            return false;
        }
    }
    return true;
}

/* The op of this body that computes the value, if it can write where it is told. */
static const Op *willing_producer(const LoopParts *parts, const Value *root, bool for_spot) {
    const Op *op = root->op;
    if (!op || op->parent != parts->body) {
        return NULL;
    }
    if (op->code == OP_fusion) {
        return op;
    }
    bool stacked = op->code == OP_scan && root->index >= scan_carries(op);
    return stacked && for_spot ? op : NULL;
}

static void wishes_set(Schedule *s, const LoopParts *parts) {
    for (int32_t i = 0; i < parts->n_carries; i++) {
        const Value *root = s->roots[parts->yield->operands[i]->id];
        Wish *wish = &s->wishes[root->id];
        if (!carry_is_constant(s, parts, i) && wish->kind == WISH_NONE &&
            willing_producer(parts, root, false)) {
            *wish = (Wish){.kind = WISH_CARRY, .carry = i};
        }
    }
    for (int32_t j = 0; j < parts->n_ys; j++) {
        const Value *value = parts->yield->operands[parts->n_carries + j];
        const Value *root = s->roots[value->id];
        Wish *wish = &s->wishes[root->id];
        if (wish->kind == WISH_NONE && willing_producer(parts, root, true)) {
            *wish = (Wish){.kind = WISH_SPOT, .spot = spot_step(s, parts->ys[j], value->type)};
        }
    }
}

/* After the body: stacks what was not written in place, moves carries to where the swap expects
 * them. */
static void yields_settle(Schedule *s, const LoopParts *parts) {
    Loop *loop = s->loop;
    for (int32_t j = 0; j < parts->n_ys; j++) {
        const Value *value = parts->yield->operands[parts->n_carries + j];
        const Spot *from = &s->spots[s->roots[value->id]->id];
        Spot to = spot_step(s, parts->ys[j], value->type);
        if (!spot_same(from, &to)) {
            emit_copy(s, &to, from, value->type);
        }
    }
    for (int32_t i = 0; i < parts->n_carries; i++) {
        if (carry_is_constant(s, parts, i)) {
            continue;
        }
        const Value *value = parts->yield->operands[i];
        const Spot *from = &s->spots[s->roots[value->id]->id];
        Spot current = spot_of(loop->current[i], s->context);
        if (spot_same(from, &current) && loop->next[i] < 0) {
            continue;
        }
        Spot to = spot_of(carry_next(s, i), s->context);
        if (!spot_same(from, &to)) {
            emit_copy(s, &to, from, value->type);
        }
    }
}

static void loop_close(Schedule *s, const LoopParts *parts, int32_t index_memory,
                       int32_t test_command) {
    Loop *loop = s->loop;
    for (int32_t i = 0; i < parts->n_carries; i++) {
        if (!carry_is_constant(s, parts, i)) {
            memory_touch(s, loop->current[i]);
            if (loop->next[i] >= 0) {
                memory_touch(s, loop->next[i]);
            }
        }
    }
    for (int32_t j = 0; j < parts->n_ys; j++) {
        memory_touch(s, parts->ys[j].memory);
    }
    if (index_memory >= 0) {
        memory_touch(s, index_memory);
    }
    schedule_leave(s);
    int32_t end = (int32_t)command_number(s);
    PlanCommand *command = command_add(s, PLAN_LOOP_END);
    command->match = (int32_t)loop->start;
    for (int32_t i = 0; i < parts->n_carries; i++) {
        if (loop->next[i] >= 0) {
            PlanSwap swap = {loop->current[i], loop->next[i]};
            VEC_PUSH(s->arena, &s->tables->swaps, swap);
            command->n_swaps++;
        }
    }
    PlanCommand *commands = s->tables->commands.items + s->first_command;
    commands[loop->start].match = end;
    if (test_command >= 0) {
        commands[test_command].match = end;
    }
}

/* The stacked results' memory is born with the loop: every iteration writes a part. */
static void stacks_begin(Schedule *s, LoopParts *parts) {
    for (int32_t j = 0; j < parts->n_ys; j++) {
        const Value *result = parts->op->results[parts->n_carries + j];
        const Wish *wish = &s->wishes[result->id];
        if (wish->kind == WISH_SPOT) {
            parts->ys[j] = wish->spot;
            continue;
        }
        const Size *bytes = type_bytes(s->context, result->type);
        parts->ys[j] = spot_of(memory_add(s, PLAN_BUFFER_ARENA, bytes, result->name), s->context);
    }
}

static void carry_args_place(Schedule *s, const LoopParts *parts, const Block *block,
                             int32_t first) {
    for (int32_t i = 0; i < parts->n_carries; i++) {
        if (!carry_is_constant(s, parts, i)) {
            s->spots[block->args[first + i]->id] = spot_of(s->loop->current[i], s->context);
        }
    }
}

static void carries_keep(Schedule *s, const LoopParts *parts, bool keep) {
    for (int32_t i = 0; i < parts->n_carries; i++) {
        if (!carry_is_constant(s, parts, i)) {
            s->memories.items[s->loop->current[i]].keep = keep;
        }
    }
}

/* The condition comes first in every iteration; its carries must survive for the body. */
static int32_t condition_schedule(Schedule *s, const LoopParts *parts) {
    Block *condition = parts->op->blocks[0];
    carry_args_place(s, parts, condition, 0);
    carries_keep(s, parts, true);
    schedule_block(s, condition);
    carries_keep(s, parts, false);
    const Value *verdict = s->roots[block_yield(condition)->operands[0]->id];
    int32_t number = (int32_t)command_number(s);
    PlanCommand *command = command_add(s, PLAN_TEST);
    command_add_ref(s, command, &s->spots[verdict->id]);
    return number;
}

/* The command that begins the loop; `index_memory` is a scan's. */
static void loop_begin(Schedule *s, const Op *op, Loop *loop, int32_t index_memory) {
    loop->start = command_number(s);
    PlanCommand *command = command_add(s, PLAN_LOOP);
    if (op->code == OP_scan) {
        Spot index = spot_of(index_memory, s->context);
        command->extent = plan_writer_size(s->writer, scan_length(op));
        command->flags = scan_reverse(op) ? PLAN_COMMAND_REVERSE : 0;
        command_add_ref(s, command, &index);
    } else {
        command->flags = PLAN_COMMAND_WHILE;
        command->limit = while_limit(op);
        command->site = (int32_t)site_number(
            s, op->place,
            arena_format(s->arena, "`while` ran more than %lld times", (long long)command->limit));
    }
}

/* What the body of a scan reads besides carries: the index, and each x one step further on. */
static void scan_args_place(Schedule *s, const LoopParts *parts, int32_t index_memory) {
    const Op *op = parts->op;
    s->spots[parts->body->args[0]->id] = spot_of(index_memory, s->context);
    for (int32_t i = 0; i < parts->n_xs; i++) {
        const Value *arg = parts->body->args[1 + parts->n_carries + i];
        const Value *xs = s->roots[op->operands[parts->n_carries + i]->id];
        if (s->spots[xs->id].memory < 0) {
            SCHEDULE_REFUSE(s, op, "an operand has no memory");
        }
        s->spots[arg->id] = spot_step(s, s->spots[xs->id], arg->type);
        memory_touch(s, s->spots[xs->id].memory);
    }
}

void schedule_loop_op(Schedule *s, Op *op) {
    bool scan = op->code == OP_scan;
    LoopParts parts = loop_parts(s, op);
    Loop *loop = ARENA_NEW(s->arena, Loop);
    loop->current = ARENA_ARRAY(s->arena, int32_t, parts.n_carries);
    loop->next = ARENA_ARRAY(s->arena, int32_t, parts.n_carries);
    for (int32_t i = 0; i < parts.n_carries; i++) {
        loop->next[i] = -1;
        loop->current[i] = carry_is_constant(s, &parts, i) ? -1 : carry_begin(s, &parts, i);
    }
    int32_t index_memory = -1;
    if (scan) {
        index_memory = memory_add(s, PLAN_BUFFER_ARENA, size_const(s->context, 4), "index");
        s->memories.items[index_memory].keep = true;
    }
    stacks_begin(s, &parts);

    loop_begin(s, op, loop, index_memory);
    for (int32_t j = 0; j < parts.n_ys; j++) {
        memory_touch_last(s, parts.ys[j].memory);
    }
    schedule_enter(s, loop);
    if (loop->depth >= PLAN_MAX_LOOP_DEPTH) {
        boundary_leave(s->context->boundary, DLC_ERROR_LIMIT);
    }
    s->tables->commands.items[s->first_command + loop->start].depth = loop->depth;

    int32_t test = scan ? -1 : condition_schedule(s, &parts);
    carry_args_place(s, &parts, parts.body, parts.first_carry_arg);
    if (scan) {
        scan_args_place(s, &parts, index_memory);
    }
    wishes_set(s, &parts);
    schedule_block(s, parts.body);
    yields_settle(s, &parts);
    loop_close(s, &parts, index_memory, test);
    for (int32_t i = 0; i < parts.n_carries; i++) {
        if (!carry_is_constant(s, &parts, i)) {
            s->spots[op->results[i]->id] = spot_of(loop->current[i], s->context);
        }
    }
    for (int32_t j = 0; j < parts.n_ys; j++) {
        s->spots[op->results[parts.n_carries + j]->id] = parts.ys[j];
    }
}
