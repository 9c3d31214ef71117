/* One block of fused ops -> commands: fusions become launches, whose results go where the block's
 * yield wants them, or over an operand that nobody reads again, or into memory of their own. */
#include "codegen/schedule/state.h"
#include "ir/interp.h"
#include "ir/ops/library_call.h"

static void analyse_roots(Op *op, void *user) {
    Schedule *s = user;
    if (op->code == OP_reshape) {
        s->roots[op->results[0]->id] = s->roots[op->operands[0]->id];
    }
    if (op->code == OP_scan || op->code == OP_while) {
        /* A carry that the body passes on unchanged is its initial value. */
        const Block *body = op->blocks[op->n_blocks - 1];
        int32_t first = op->code == OP_scan ? 1 : 0;
        int32_t n = op->code == OP_scan ? (int32_t)scan_carries(op) : op->n_operands;
        const Op *yield = block_yield(body);
        for (int32_t i = 0; i < n; i++) {
            if (yield->operands[i] != body->args[first + i]) {
                continue;
            }
            Value *root = s->roots[op->operands[i]->id];
            s->roots[body->args[first + i]->id] = root;
            s->roots[op->results[i]->id] = root;
            if (op->code == OP_while) {
                s->roots[op->blocks[0]->args[i]->id] = root;
            }
        }
    }
}

static void analyse_uses(Op *op, void *user) {
    Schedule *s = user;
    if (op->code == OP_reshape) {
        return; /* a view; its own users count */
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        const Value *root = s->roots[op->operands[i]->id];
        const Block *home = value_made_in(root);
        const Op *at = op;
        while (at->parent != home) {
            at = at->parent->owner;
        }
        if (s->last_use[root->id] < at->id) {
            s->last_use[root->id] = at->id;
            s->last_uses[root->id] = 0;
        }
        s->last_uses[root->id] += s->last_use[root->id] == at->id;
    }
}

static void roots_init(Block *block, Schedule *s) {
    for (int32_t i = 0; i < block->n_args; i++) {
        s->roots[block->args[i]->id] = block->args[i];
    }
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_results; i++) {
            s->roots[op->results[i]->id] = op->results[i];
        }
        for (int32_t b = 0; b < op->n_blocks; b++) {
            roots_init(op->blocks[b], s);
        }
    }
}

/* What a training step makes of parameters and optimiser states is tested as it is stored: the OK
 * that guards the stores is about loss, gradients and state, and cannot know how an update ends. */
static void analyse_watched(Schedule *s) {
    const Func *func = s->func;
    s->watched = ARENA_ARRAY(s->arena, bool, func->n_values);
    for (int32_t i = 0; func->purpose == PURPOSE_TRAIN && i < func->n_results; i++) {
        const FuncResult *result = &func->results[i];
        ArgRole role = result->role == RESULT_STORE ? func->args[result->arg].role : ARG_INPUT;
        const Value *root = s->roots[block_yield(func->body)->operands[i]->id];
        s->watched[root->id] |= role == ARG_PARAM || role == ARG_SLOT;
    }
}

void schedule_analyse(Schedule *s) {
    Func *func = s->func;
    func_renumber(func);
    s->spots = ARENA_ARRAY(s->arena, Spot, func->n_values);
    s->wishes = ARENA_ARRAY(s->arena, Wish, func->n_values);
    s->roots = ARENA_ARRAY(s->arena, Value *, func->n_values);
    s->last_use = ARENA_ARRAY(s->arena, int32_t, func->n_values);
    s->last_uses = ARENA_ARRAY(s->arena, int32_t, func->n_values);
    s->lowered = ARENA_ARRAY(s->arena, LoweredOp *, func->n_ops);
    for (int32_t i = 0; i < func->n_values; i++) {
        s->spots[i].memory = -1;
        s->last_use[i] = -1;
    }
    roots_init(func->body, s);
    func_each_op(func, analyse_roots, s);
    func_each_op(func, analyse_uses, s);
    analyse_watched(s);
    lower_all(s);
    s->last_fault = -1;
    BLOCK_EACH_OP (func->body, op) {
        if (op_may_fault(s, op)) {
            s->last_fault = op->id;
        }
    }
}

/* What a gate is made of where the program has no OK. */
static Spot always(Schedule *s) {
    static const uint8_t yes = 1;
    int32_t memory = memory_add(s, PLAN_BUFFER_CONSTANT, size_const(s->context, 1), "true");
    s->memories.items[memory].offset = plan_writer_constant(s->writer, &yes, sizeof(yes));
    return spot_of(memory, s->context);
}

void schedule_barrier(Schedule *s, bool in_place) {
    if (s->stored) {
        if (in_place && !s->ok && s->gate.memory >= 0 && !s->is_looked) {
            s->is_looked = true; /* the host, for a kernel that does not look at the gate */
            command_add(s, PLAN_BARRIER);
        }
        return;
    }
    s->stored = true;
    s->gate.memory = -1;
    Spot from;
    if (s->ok) {
        from = s->spots[s->ok->id];
    } else if (!in_place && s->last_fault >= 0) {
        from = always(s);
    } else { /* there is nothing that a kernel would look at, or nothing to look for */
        command_add(s, PLAN_BARRIER);
        return;
    }
    PlanCommand *command = command_add(s, PLAN_BARRIER);
    s->gate =
        spot_of(memory_add(s, PLAN_BUFFER_ARENA, size_const(s->context, 1), "stores"), s->context);
    command_add_ref(s, command, &s->gate);
    command_add_ref(s, command, &from);
    if (s->ok) {
        s->spots[s->ok->id] = s->gate;
    }
}

/* A store may go straight to its argument when no fault and no failed OK can follow, and the old
 * value is not needed any more (or is the operand overwritten in place). */
static bool may_store(Schedule *s, const Op *op, int32_t argument_memory, int32_t k,
                      bool overwrite) {
    if (op->id <= s->last_fault || s->loop) {
        return false;
    }
    bool guarded = s->ok == NULL;
    for (int32_t i = 0; i < op->n_operands; i++) {
        guarded = guarded || s->roots[op->operands[i]->id] == s->ok;
    }
    const Value *old = s->func->body->args[s->memories.items[argument_memory].index];
    int32_t last = s->last_use[old->id];
    if (!guarded || last > op->id) {
        return false;
    }
    return last < op->id ||
           (overwrite && s->spots[s->roots[op->operands[k]->id]->id].memory == argument_memory);
}

int32_t carry_next(Schedule *s, int32_t carry) {
    Loop *loop = s->loop;
    if (loop->next[carry] < 0) {
        const Size *bytes = s->memories.items[loop->current[carry]].bytes;
        int32_t next = memory_add(s, PLAN_BUFFER_ARENA, bytes, "next");
        s->memories.items[next].depth = loop->depth;
        s->memories.items[next].birth = loop->start;
        s->memories.items[next].death = loop->start;
        memory_unite(s, loop->current[carry], next);
        loop->next[carry] = next;
    }
    return loop->next[carry];
}

/* The operand over which result `r` might be written: the old value of what it replaces, where the
 * kernel leaves the choice. -1: none. */
static int32_t operand_under(Schedule *s, const Op *op, const LoweredOp *lowered, int32_t r) {
    const Value *value = op->results[r];
    const Wish *wish = &s->wishes[value->id];
    int width = dtype_bytes(value->type.dtype);
    for (int32_t k = 0; wish->kind == WISH_STORE && lowered->elementwise && k < op->n_operands;
         k++) {
        if (lowered->elementwise[k] && dtype_bytes(op->operands[k]->type.dtype) == width &&
            spot_at(s, op, op->operands[k])->memory == wish->spot.memory) {
            return k;
        }
    }
    return lowered->inplace ? lowered->inplace[r] : -1;
}

/* Whether the op's kernels have to look at the gate themselves and can: without an OK value, where
 * faults may have been met that the host has not looked for, and all that they write is stored. */
static bool may_be_gated(Schedule *s, const Op *op, const LoweredOp *lowered, Spot *placed) {
    bool needed = !s->ok && s->last_fault >= 0 && !(s->stored && s->gate.memory < 0);
    LibraryCall call;
    bool all = needed && op->n_results > 0 && !library_call_of(op, &call);
    for (int32_t r = 0; r < op->n_results && all; r++) {
        const Wish *wish = &s->wishes[op->results[r]->id];
        int32_t k = operand_under(s, op, lowered, r);
        bool overwrite = k >= 0 && spot_may_overwrite(s, op, r, k, placed);
        all = wish->kind == WISH_STORE && may_store(s, op, wish->spot.memory, k, overwrite);
        placed[r] = wish->spot;
    }
    for (int32_t r = 0; r < op->n_results; r++) {
        placed[r].memory = -1;
    }
    return all;
}

/* `gated`: the kernels look at the gate. */
static Spot result_place(Schedule *s, const Op *op, const LoweredOp *lowered, int32_t r, bool gated,
                         const Spot *placed) {
    const Value *value = op->results[r];
    const Wish *wish = &s->wishes[value->id];
    int32_t k = operand_under(s, op, lowered, r);
    bool overwrite = k >= 0 && spot_may_overwrite(s, op, r, k, placed);
    int32_t over = overwrite ? s->spots[s->roots[op->operands[k]->id]->id].memory : -1;
    switch (wish->kind) {
    case WISH_SPOT:
        return wish->spot;
    case WISH_CARRY:
        if (overwrite && over == s->loop->current[wish->carry] && s->loop->next[wish->carry] < 0) {
            return spot_of(over, s->context);
        }
        return spot_of(carry_next(s, wish->carry), s->context);
    case WISH_STORE:
        if (may_store(s, op, wish->spot.memory, k, overwrite)) {
            schedule_barrier(s, !gated);
            return wish->spot;
        }
        break;
    case WISH_NONE:
        break;
    }
    return result_apart(s, op, r, k, placed);
}

static void emit_launch(Schedule *s, const Op *op, const LoweredKernel *lowered,
                        const Spot *results, const int32_t *temps, bool first) {
    Kernel *kernel = lowered->kernel;
    int32_t number = kernel_number(s, kernel);
    const Size *tiles = size_const(s->context, 1);
    for (int32_t g = 0; g < kernel->n_grid; g++) {
        tiles = size_mul(s->context, tiles, kernel->grid[g]);
    }
    PlanCommand *command = command_add(s, PLAN_LAUNCH);
    command->kernel = number;
    command->first_size = plan_writer_sizes(s->writer, kernel->sizes, kernel->n_sizes);
    command->n_sizes = kernel->n_sizes;
    command->extent = plan_writer_size(s->writer, tiles);
    command->text = plan_writer_string(s->writer, op->label);
    command->place = plan_writer_string(s->writer, place_text(s, op->place));
    command->site = risk_site(s, op);
    if (first) {
        const Size *flops, *bytes;
        fusion_cost(s, op, &flops, &bytes);
        command->flops = plan_writer_size(s->writer, flops);
        command->bytes = plan_writer_size(s->writer, bytes);
    }
    for (int32_t b = 0; b < kernel->n_buffers; b++) {
        Bind bind = lowered->binds[b];
        Spot temp = {0};
        const Spot *spot = NULL;
        switch (bind.kind) {
        case BIND_OPERAND:
            spot = spot_at(s, op, op->operands[bind.index]);
            break;
        case BIND_RESULT:
            spot = &results[bind.index];
            break;
        case BIND_TEMP:
            temp = spot_of(temps[bind.index], s->context);
            spot = &temp;
            break;
        case BIND_GATE:
            spot = &s->gate;
            break;
        }
        command_add_ref(s, command, spot);
        if (bind.kind == BIND_RESULT && kernel->buffers[b].is_written) {
            PlanRef *ref = &s->tables->refs.items[s->tables->refs.count - 1];
            Type type = op->results[bind.index]->type;
            ref->written = (int32_t)type.dtype + 1;
            ref->bytes = plan_writer_size(s->writer, type_bytes(s->context, type));
        }
    }
}

static void schedule_fusion(Schedule *s, const Op *op) {
    const LoweredOp *lowered = s->lowered[op->id];
    Spot *results = ARENA_ARRAY(s->arena, Spot, op->n_results);
    for (int32_t r = 0; r < op->n_results; r++) {
        results[r].memory = -1;
    }
    bool gated = may_be_gated(s, op, lowered, results);
    for (int32_t r = 0; r < op->n_results; r++) {
        results[r] = result_place(s, op, lowered, r, gated, results);
    }
    lowered = gated ? gate_kernels(s, lowered) : lowered;
    int32_t *temps = ARENA_ARRAY(s->arena, int32_t, lowered->n_temps);
    for (int32_t t = 0; t < lowered->n_temps; t++) {
        const LoweredTemp *temp = &lowered->temps[t];
        const Size *width = size_const(s->context, dtype_bytes(temp->dtype));
        temps[t] =
            memory_add(s, PLAN_BUFFER_ARENA, size_mul(s->context, temp->elements, width), "temp");
    }
    int32_t *launched = ARENA_ARRAY(s->arena, int32_t, lowered->n_kernels + 1);
    int32_t n = 0;
    for (int32_t k = 0; k < lowered->n_kernels; k++) {
        const LoweredKernel *kernel = &lowered->kernels[k];
        if (kernel->copy_of >= 0 && kernel->copy_to >= 0 &&
            spot_at(s, op, op->operands[kernel->copy_of])->memory ==
                results[kernel->copy_to].memory) {
            continue;
        }
        emit_launch(s, op, kernel, results, temps, n == 0);
        launched[n++] = k;
    }
    schedule_library(s, op, lowered, results, launched, n);
    for (int32_t r = 0; r < op->n_results; r++) {
        s->spots[op->results[r]->id] = results[r];
        memory_touch_last(s, results[r].memory);
    }
}

static void schedule_literal(Schedule *s, const Op *op) {
    Type type = op->results[0]->type;
    AttrList data = literal_data(op);
    int width = dtype_bytes(type.dtype);
    int64_t n = data.count;
    uint8_t *bytes = arena_alloc(s->arena, (size_t)(n * width) + 1);
    for (int64_t i = 0; i < n; i++) {
        double real = dtype_is_float(type.dtype) ? data.floats[i] : 0;
        int64_t whole = dtype_is_float(type.dtype) ? 0 : data.ints[i];
        float single = (float)real;
        uint16_t bits;
        switch (type.dtype) {
        case DT_F64:
            memcpy(bytes + i * 8, &real, 8);
            break;
        case DT_F32:
            memcpy(bytes + i * 4, &single, 4);
            break;
        case DT_F16:
        case DT_BF16:
            bits = float_bits16(real, type.dtype);
            memcpy(bytes + i * 2, &bits, 2);
            break;
        default: /* little-endian: the low bytes come first */
            memcpy(bytes + i * width, &whole, (size_t)width);
            break;
        }
    }
    int32_t memory =
        memory_add(s, PLAN_BUFFER_CONSTANT, type_bytes(s->context, type), op->results[0]->name);
    s->memories.items[memory].offset = plan_writer_constant(s->writer, bytes, (size_t)(n * width));
    s->spots[op->results[0]->id] = spot_of(memory, s->context);
}

static void schedule_effect(Schedule *s, const Op *op) {
    if (op->code == OP_size_check) {
        PlanCommand *command = command_add(s, PLAN_SIZE_CHECK);
        command->extent = plan_writer_size(s->writer, size_check_left(op));
        command->other = plan_writer_size(s->writer, size_check_right(op));
        command->site = (int32_t)site_number(s, op->place, op_text(op));
        return;
    }
    const Spot *spot = spot_at(s, op, op->operands[0]);
    if (op->code == OP_check) {
        PlanCommand *command = command_add(s, PLAN_CHECK);
        command->site = (int32_t)site_number(s, op->place, op_text(op));
        command_add_ref(s, command, spot);
        return;
    }
    PlanType type = plan_writer_type(s->writer, op->operands[0]->type);
    PlanCommand *command = command_add(s, PLAN_SHOW);
    command->type = type;
    command->text = plan_writer_string(s->writer, op_text(op));
    command_add_ref(s, command, spot);
}

void schedule_block(Schedule *s, Block *block) {
    BLOCK_EACH_OP (block, op) {
        switch (op->code) {
        case OP_reshape:
        case OP_yield:
            break;
        case OP_fusion:
            schedule_fusion(s, op);
            break;
        case OP_literal:
            schedule_literal(s, op);
            break;
        case OP_scan:
        case OP_while:
            schedule_loop_op(s, op);
            break;
        case OP_all_reduce:
        case OP_all_gather:
        case OP_reduce_scatter:
        case OP_all_to_all:
        case OP_shift:
            schedule_collective(s, op);
            break;
        case OP_check:
        case OP_show:
        case OP_size_check:
            schedule_effect(s, op);
            break;
        default:
            SCHEDULE_REFUSE(s, op, "no schedule for this op outside a fusion");
        }
    }
}
