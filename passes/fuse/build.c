/* Fusion, last step: each group becomes one fusion op; the block is laid out anew in dependency
 * order. */
#include "passes/fuse/fuse.h"

typedef struct Build {
    Fuse *f;
    Value **final; /* by id of an old value: the fusion's result */
    int32_t n_values;
    /* The fusion being made. */
    int32_t group;
    Value **local; /* by id of an old value: its copy in the body */
    int32_t *local_stamp;
    int32_t stamp;
    Block *body;
    VEC(Value *) operands;
    bool *placed; /* views, by op id */
} Build;

static Value *outer_value(Build *b, Value *v) {
    return v->id < b->n_values && b->final[v->id] ? b->final[v->id] : v;
}

static void set_local(Build *b, const Value *v, Value *copy) {
    b->local[v->id] = copy;
    b->local_stamp[v->id] = b->stamp;
}

static Value *body_value(Build *b, Value *v);

static void copy_op(Build *b, const Op *op) {
    Func *func = b->f->func;
    Value **operands = ARENA_ARRAY(b->f->arena, Value *, op->n_operands + 1);
    for (int32_t i = 0; i < op->n_operands; i++) {
        operands[i] = body_value(b, op->operands[i]);
    }
    Op *copy = op_create(func, op->code, operands, op->n_operands, op->n_results, 0);
    memcpy(copy->attrs, op->attrs, sizeof(copy->attrs));
    copy->place = op->place;
    copy->label = op->label;
    for (int32_t i = 0; i < op->n_results; i++) {
        copy->results[i]->type = op->results[i]->type;
        copy->results[i]->name = op->results[i]->name;
        set_local(b, op->results[i], copy->results[i]);
    }
    op_append(b->body, copy);
}

static bool used_outside(Fuse *f, int32_t index, const Value *v) {
    const Unit *unit = &f->units.items[index];
    for (size_t i = 0; i < unit->users.count; i++) {
        int32_t user = unit->users.items[i];
        const Unit *reader = &f->units.items[user];
        if (!reader->is_live || fuse_group(f, user) == fuse_group(f, index)) {
            continue;
        }
        for (size_t j = 0; j < reader->reads.count; j++) {
            if (reader->reads.items[j].value == v) {
                return true;
            }
        }
    }
    return false;
}

/* Whether the value is a result of its group's fusion. */
static bool is_result(Fuse *f, int32_t index, const Value *v) {
    const Unit *unit = &f->units.items[index];
    return unit->is_forced || (!unit->is_recomputed && used_outside(f, index, v));
}

static bool is_stored(Build *b, int32_t index) {
    const Unit *unit = &b->f->units.items[index];
    for (int32_t r = 0; r < unit->op->n_results; r++) {
        if (is_result(b->f, index, unit->op->results[r])) {
            return true;
        }
    }
    return unit->kind == GROUP_BARRIER;
}

/* Whether the op's values are made in this body: of this group, free, or computed again here. */
static bool is_made_here(Build *b, const Op *op) {
    if (fuse_op_is_free(op)) {
        return true;
    }
    if (op->parent != b->f->block || op->id >= b->f->n_ids || b->f->unit_of[op->id] < 0) {
        return false;
    }
    int32_t unit = b->f->unit_of[op->id];
    return fuse_group(b->f, unit) == b->group || !is_stored(b, unit);
}

static Value *body_value(Build *b, Value *v) {
    boundary_check_stack(b->f->context->boundary);
    if (b->local_stamp[v->id] == b->stamp) {
        return b->local[v->id];
    }
    if (v->op && is_made_here(b, v->op)) {
        copy_op(b, v->op);
        return b->local[v->id];
    }
    Value *arg = block_add_arg(b->body, v->type, v->name);
    VEC_PUSH(b->f->arena, &b->operands, outer_value(b, v));
    set_local(b, v, arg);
    return arg;
}

static const char *root_form(OpCode code) {
    switch (op_info(code)->fusion) {
    case FUSION_PREFIX:
        return "prefix";
    case FUSION_SORT:
        return "sort";
    case FUSION_SCATTER:
        return "scatter";
    case FUSION_ATTENTION:
        return "attention";
    default:
        return "update";
    }
}

static const char *group_form(Fuse *f, int32_t index) {
    const Group *group = &f->groups[index];
    bool only_arg = true;
    switch (group->kind) {
    case GROUP_LOOP:
        return "loop";
    case GROUP_CONTRACT:
        return "contract";
    case GROUP_CONV:
        return "conv";
    case GROUP_REDUCE:
        for (size_t i = 0; i < group->units.count; i++) {
            OpCode code = f->units.items[group->units.items[i]].op->code;
            only_arg = only_arg && op_info(code)->fusion == FUSION_ARG_REDUCE;
        }
        return fuse_needs_row(f, index) ? "row" : only_arg ? "argreduce" : "reduce";
    default:
        for (size_t i = 0; i < group->units.count; i++) {
            const Unit *unit = &f->units.items[group->units.items[i]];
            if (unit->kind == GROUP_ROOT) {
                return root_form(unit->op->code);
            }
        }
        return "loop";
    }
}

static void build_group(Build *b, int32_t index) {
    Fuse *f = b->f;
    Func *func = f->func;
    const Group *group = &f->groups[index];
    b->group = index;
    b->stamp++;
    b->operands.count = 0;
    b->body = block_create(func, NULL);
    VEC(Value *) results = {0};
    VEC(Value *) yields = {0};
    const Op *named = NULL;
    for (size_t i = 0; i < group->units.count; i++) {
        const Unit *unit = &f->units.items[group->units.items[i]];
        if (!unit->is_live) {
            continue;
        }
        named = !named || unit->kind == group->kind ? unit->op : named;
        for (int32_t r = 0; r < unit->op->n_results; r++) {
            Value *v = unit->op->results[r];
            if (is_result(f, group->units.items[i], v)) {
                Value *copy = body_value(b, v);
                VEC_PUSH(f->arena, &results, v);
                VEC_PUSH(f->arena, &yields, copy);
            }
        }
    }
    if (results.count == 0) {
        return; /* every reader computes it again */
    }
    Op *yield = op_create(func, OP_yield, yields.items, (int32_t)yields.count, 0, 0);
    yield->place = named->place;
    op_append(b->body, yield);
    Op *fusion = op_create(func, OP_fusion, b->operands.items, (int32_t)b->operands.count,
                           (int32_t)results.count, 1);
    fusion->place = named->place;
    fusion->label = named->label;
    op_set_form(fusion, context_intern(f->context, group_form(f, index)));
    fusion->blocks[0] = b->body;
    b->body->owner = fusion;
    for (size_t i = 0; i < results.count; i++) {
        fusion->results[i]->type = results.items[i]->type;
        fusion->results[i]->name = results.items[i]->name;
        b->final[results.items[i]->id] = fusion->results[i];
    }
    op_append(f->block, fusion);
}

/* Views that an op outside kernels reads: kept as they are, in front of it. */
static void place_views(Build *b, Value *v) {
    boundary_check_stack(b->f->context->boundary);
    Op *op = v->op;
    if (!op || op->code != OP_reshape || op->id >= b->f->n_ids || b->placed[op->id] ||
        op->parent != b->f->block) {
        return;
    }
    b->placed[op->id] = true;
    place_views(b, op->operands[0]);
    op_append(b->f->block, op);
}

static void place_barrier(Build *b, Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        place_views(b, op->operands[i]);
    }
    op_append(b->f->block, op);
}

/* -- order: of the groups that are ready, the one whose last op stood first */
typedef struct Order {
    int32_t *waiting; /* per group: reads of unplaced groups */
    bool *done;       /* placed, or dead */
    int32_t *ready;   /* a heap by the groups' last ops, which differ */
    int32_t n_ready;
} Order;

static bool is_before(const Fuse *f, int32_t a, int32_t b) {
    return f->groups[a].last < f->groups[b].last;
}

static void ready_push(const Fuse *f, Order *order, int32_t group) {
    if (order->done[group] || f->groups[group].merged_into >= 0) {
        return;
    }
    int32_t at = order->n_ready++;
    while (at > 0 && is_before(f, group, order->ready[(at - 1) / 2])) {
        order->ready[at] = order->ready[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    order->ready[at] = group;
}

static int32_t ready_pop(const Fuse *f, Order *order) {
    if (order->n_ready == 0) {
        return -1;
    }
    int32_t first = order->ready[0], moved = order->ready[--order->n_ready], at = 0;
    for (int32_t child = 1; child < order->n_ready; child = 2 * at + 1) {
        bool right = child + 1 < order->n_ready &&
                     is_before(f, order->ready[child + 1], order->ready[child]);
        child += right;
        if (!is_before(f, order->ready[child], moved)) {
            break;
        }
        order->ready[at] = order->ready[child];
        at = child;
    }
    order->ready[at] = moved;
    return first;
}

static void count_waiting(Fuse *f, Order *order, int32_t unit, int32_t step) {
    int32_t from = fuse_group(f, unit);
    const Unit *producer = &f->units.items[unit];
    for (size_t i = 0; i < producer->users.count; i++) {
        int32_t user = producer->users.items[i];
        int32_t group = fuse_group(f, user);
        if (f->units.items[user].is_live && group != from) {
            order->waiting[group] += step;
            if (step < 0 && order->waiting[group] == 0) {
                ready_push(f, order, group);
            }
        }
    }
}

void fuse_build(Fuse *f) {
    Build b = {.f = f, .n_values = f->func->n_values};
    b.final = ARENA_ARRAY(f->arena, Value *, b.n_values + 1);
    b.local = ARENA_ARRAY(f->arena, Value *, b.n_values + 1);
    b.local_stamp = ARENA_ARRAY(f->arena, int32_t, b.n_values + 1);
    b.placed = ARENA_ARRAY(f->arena, bool, f->n_ids + 1);
    size_t n = f->units.count;
    Order order = {.waiting = ARENA_ARRAY(f->arena, int32_t, n + 1),
                   .done = ARENA_ARRAY(f->arena, bool, n + 1),
                   .ready = ARENA_ARRAY(f->arena, int32_t, n + 1)};
    for (size_t i = 0; i < n; i++) {
        order.done[i] = !f->units.items[i].is_live && f->groups[i].units.count == 1;
        if (f->units.items[i].is_live) {
            count_waiting(f, &order, (int32_t)i, 1);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (order.waiting[i] == 0) {
            ready_push(f, &order, (int32_t)i);
        }
    }
    /* The old ops keep their fields: free ones are still read through their values. */
    f->block->first = f->block->last = NULL;
    for (int32_t g = ready_pop(f, &order); g >= 0; g = ready_pop(f, &order)) {
        const Group *group = &f->groups[g];
        order.done[g] = true;
        if (group->kind == GROUP_BARRIER) {
            place_barrier(&b, f->units.items[group->units.items[0]].op);
        } else {
            build_group(&b, g);
        }
        for (size_t i = 0; i < group->units.count; i++) {
            if (f->units.items[group->units.items[i]].is_live) {
                count_waiting(f, &order, group->units.items[i], -1);
            }
        }
    }
    Op *yield = NULL;
    BLOCK_EACH_OP (f->block, op) {
        yield = op->code == OP_yield ? op : yield;
    }
    if (yield && yield != f->block->last) {
        op_unlink(yield);
        op_append(f->block, yield);
    }
    func_replace_values(f->func, b.final);
}
