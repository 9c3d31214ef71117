/* The gradient of a scan is a scan that runs the other way. The forward loop also stacks its
 * incoming carries; the reverse body recomputes the iteration from them and runs reverse mode over
 * it. Costly results (contractions, convolutions) are stacked by the forward loop instead of
 * recomputed. Cotangents of carries are carries of the reverse loop; those of xs are its stacked
 * results; those of outer values that the body uses are accumulated in carries, except where the
 * value is the operand of a contraction or a broadcast: there the cotangents are stacked and summed
 * once after the loop, for a weight of a recurrent net in one large contraction. */
#include "ir/ops/contract.h"
#include "passes/differentiate/differentiate.h"

typedef VEC(Value *) ValueList;

/* A result that the forward loop stacks, and its slice in the reverse body. */
typedef struct SavedValue {
    Value *forward; /* in the forward body */
    Value *clone;   /* its copy in the reverse body, or NULL for a carry */
    Value *slice;   /* argument of the reverse body */
    Value *stacked; /* result of the forward loop, after the body is complete */
} SavedValue;

typedef VEC(SavedValue) SavedList;

typedef struct ScanReverse {
    Gradient *outer;
    Gradient inner;
    Arena *arena;
    Op *scan;
    Block *body; /* the forward one */
    Op *yield;
    int32_t n_carries, n_xs, n_ys;
    int32_t func_values;      /* ids of the forward body are below this */
    ValueList captures;       /* active outer values that the body uses */
    ValueFlags active;        /* in the forward body */
    bool *live;               /* by carry: whether its cotangent takes part */
    Block *reverse;           /* the reverse body */
    Value *index;             /* its arguments: */
    Value **carry_cotangents; /* by carry, NULL where not live */
    Value **x_slices, **y_cotangents;
    SavedList saved; /* the carries first */
    DeferredList deferred;
    /* The reverse loop's carries after the live cotangents, and its stacked results. */
    ValueList sums, sum_args, sum_captures;
    ValueList stacks;
    int32_t *x_stack; /* by x: index into stacks, or -1 */
} ScanReverse;

/* -- what the body uses and what is active in it */

static void collect_captures(ScanReverse *s, const Block *block, ValueFlags *inside,
                             ValueFlags *seen) {
    for (int32_t i = 0; i < block->n_args; i++) {
        value_set_flag(s->arena, inside, block->args[i]);
    }
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            Value *value = op->operands[i];
            if (!value_flag(inside, value) && !value_flag(seen, value) &&
                value_flag(&s->outer->active, value)) {
                value_set_flag(s->arena, seen, value);
                VEC_PUSH(s->arena, &s->captures, value);
            }
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            collect_captures(s, op->blocks[i], inside, seen);
        }
        for (int32_t i = 0; i < op->n_results; i++) {
            value_set_flag(s->arena, inside, op->results[i]);
        }
    }
}

static OpList block_ops(Arena *arena, const Block *block) {
    OpList ops = {0};
    BLOCK_EACH_OP (block, op) {
        if (op->code != OP_yield) {
            VEC_PUSH(arena, &ops, op);
        }
    }
    return ops;
}

static void mark_forward_active(ScanReverse *s) {
    OpList ops = block_ops(s->arena, s->body);
    for (size_t i = 0; i < s->captures.count; i++) {
        value_set_flag(s->arena, &s->active, s->captures.items[i]);
    }
    for (int32_t i = 0; i < s->scan->n_operands; i++) {
        if (value_flag(&s->outer->active, s->scan->operands[i])) {
            value_set_flag(s->arena, &s->active, s->body->args[1 + i]);
        }
    }
    for (bool again = true; again;) {
        again = false;
        gradient_mark_active(s->arena, &s->active, &ops);
        for (int32_t i = 0; i < s->n_carries; i++) {
            const Value *carry = s->body->args[1 + i];
            if (value_flag(&s->active, s->yield->operands[i]) && !value_flag(&s->active, carry)) {
                value_set_flag(s->arena, &s->active, carry);
                again = true;
            }
        }
    }
}

static void need_operands(ScanReverse *s, ValueFlags *needed, const Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        value_set_flag(s->arena, needed, op->operands[i]);
    }
    for (int32_t i = 0; i < op->n_blocks; i++) {
        BLOCK_EACH_OP (op->blocks[i], inner) {
            need_operands(s, needed, inner);
        }
    }
}

/* The carries whose cotangents can be nonzero: those asked for after the loop, and those that such
 * or a stacked result depends on. */
static void find_live_carries(ScanReverse *s) {
    ValueFlags needed = {0};
    s->live = ARENA_ARRAY(s->arena, bool, s->n_carries);
    for (int32_t i = 0; i < s->scan->n_results; i++) {
        if (gradient_get(s->outer, s->scan->results[i])) {
            value_set_flag(s->arena, &needed, s->yield->operands[i]);
            if (i < s->n_carries) {
                s->live[i] = value_flag(&s->active, s->body->args[1 + i]);
            }
        }
    }
    for (bool again = true; again;) {
        again = false;
        for (const Op *op = s->body->last; op; op = op->prev) {
            bool used = false;
            for (int32_t i = 0; i < op->n_results; i++) {
                used = used || value_flag(&needed, op->results[i]);
            }
            if (used) {
                need_operands(s, &needed, op);
            }
        }
        for (int32_t i = 0; i < s->n_carries; i++) {
            const Value *carry = s->body->args[1 + i];
            if (value_flag(&needed, carry) && value_flag(&s->active, carry) && !s->live[i]) {
                s->live[i] = true;
                value_set_flag(s->arena, &needed, s->yield->operands[i]);
                again = true;
            }
        }
    }
}

/* -- the reverse body */

static void strip_effects(Block *block) {
    for (Op *op = block->first, *next; op; op = next) {
        next = op->next;
        if ((op_info(op->code)->flags & OPF_EFFECT) && op->code != OP_yield) {
            op_unlink(op);
            continue;
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            strip_effects(op->blocks[i]);
        }
    }
}

static bool is_costly(const Op *op) {
    OpKind kind = op_info(op->code)->kind;
    return kind == KIND_CONTRACTION || kind == KIND_CONVOLUTION;
}

/* Copies the body into the reverse one, with slices of the saved carries and of the xs as
 * arguments. Returns the map from forward values to copies, by value id. */
static Value **clone_body(ScanReverse *s) {
    Value **map = ARENA_ARRAY(s->arena, Value *, s->func_values);
    s->reverse = block_create(s->outer->func, NULL);
    s->index = block_add_arg(s->reverse, type_scalar(DT_I32), NULL);
    map[s->body->args[0]->id] = s->index;
    for (int32_t i = 0; i < s->n_carries; i++) {
        Value *carry = s->body->args[1 + i];
        SavedValue saved = {.forward = carry};
        saved.slice = block_add_arg(s->reverse, carry->type, carry->name);
        VEC_PUSH(s->arena, &s->saved, saved);
        map[carry->id] = saved.slice;
    }
    s->x_slices = ARENA_ARRAY(s->arena, Value *, s->n_xs);
    for (int32_t i = 0; i < s->n_xs; i++) {
        Value *x = s->body->args[1 + s->n_carries + i];
        s->x_slices[i] = block_add_arg(s->reverse, x->type, x->name);
        map[x->id] = s->x_slices[i];
    }
    block_clone_ops(s->outer->func, s->body, NULL, s->reverse, map);
    strip_effects(s->reverse);
    return map;
}

static Value *mapped(Value **map, Value *value) {
    return map[value->id] ? map[value->id] : value;
}

/* Runs reverse mode over the copied body, from the cotangents of carries and of stacked results. */
static void run_body(ScanReverse *s, Value **map) {
    Gradient *inner = &s->inner;
    *inner = (Gradient){.pass = s->outer->pass,
                        .func = s->outer->func,
                        .b = builder_at_end(s->outer->func, s->reverse),
                        .asked = s->outer->asked,
                        .most_ops = s->outer->most_ops,
                        .loop = s->reverse,
                        .deferred = &s->deferred};
    for (size_t i = 0; i < s->captures.count; i++) {
        value_set_flag(s->arena, &inner->active, s->captures.items[i]);
    }
    for (int32_t i = 0; i < s->n_carries + s->n_xs; i++) {
        Value *arg = s->body->args[1 + i];
        if (value_flag(&s->active, arg)) {
            value_set_flag(s->arena, &inner->active, map[arg->id]);
        }
    }
    OpList ops = block_ops(s->arena, s->reverse);
    gradient_mark_active(s->arena, &inner->active, &ops);
    for (int32_t i = 0; i < s->n_xs; i++) {
        if (value_flag(&s->outer->risky, s->scan->operands[s->n_carries + i])) {
            value_set_flag(s->arena, &inner->risky, s->x_slices[i]);
        }
    }
    mask_mark_risky(s->arena, &inner->risky, &ops);
    inner->b.place = s->scan->place;
    inner->b.label = s->scan->label;
    s->y_cotangents = ARENA_ARRAY(s->arena, Value *, s->n_ys);
    for (int32_t i = 0; i < s->n_ys; i++) {
        Value *value = s->yield->operands[s->n_carries + i];
        if (gradient_get(s->outer, s->scan->results[s->n_carries + i])) {
            s->y_cotangents[i] = block_add_arg(s->reverse, value->type, NULL);
            gradient_add(inner, mapped(map, value), s->y_cotangents[i]);
        }
    }
    s->carry_cotangents = ARENA_ARRAY(s->arena, Value *, s->n_carries);
    for (int32_t i = 0; i < s->n_carries; i++) {
        if (s->live[i]) {
            Value *value = s->yield->operands[i];
            s->carry_cotangents[i] = block_add_arg(s->reverse, value->type, NULL);
            gradient_add(inner, mapped(map, value), s->carry_cotangents[i]);
        }
    }
    gradient_run(inner, &ops);
}

static void replace_in_block(Block *block, const Value *from, Value *to) {
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            if (op->operands[i] == from) {
                op->operands[i] = to;
            }
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            replace_in_block(op->blocks[i], from, to);
        }
    }
}

/* Costly results of the copied body become slices of what the forward loop stacks. */
static void save_costly(ScanReverse *s, Value **map) {
    BLOCK_EACH_OP (s->body, op) {
        if (!is_costly(op)) {
            continue;
        }
        SavedValue saved = {.forward = op->results[0], .clone = map[op->results[0]->id]};
        saved.slice = block_add_arg(s->reverse, saved.forward->type, saved.forward->name);
        replace_in_block(s->reverse, saved.clone, saved.slice);
        VEC_PUSH(s->arena, &s->saved, saved);
    }
}

/* -- the results of the reverse loop */

static int32_t find_value(const ValueList *list, const Value *value) {
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i] == value) {
            return (int32_t)i;
        }
    }
    return -1;
}

static int32_t stack_value(ScanReverse *s, Value *value) {
    int32_t at = find_value(&s->stacks, value);
    if (at < 0) {
        VEC_PUSH(s->arena, &s->stacks, value);
        at = (int32_t)s->stacks.count - 1;
    }
    return at;
}

/* The other operand of a deferred contraction. */
static Value *other_operand(const DeferredUse *use) {
    return use->op->operands[1 - use->operand];
}

static const SavedValue *find_saved(const ScanReverse *s, const Value *slice) {
    for (size_t i = 0; i < s->saved.count; i++) {
        if (s->saved.items[i].slice == slice) {
            return &s->saved.items[i];
        }
    }
    return NULL;
}

static int32_t find_x(const ScanReverse *s, const Value *slice) {
    for (int32_t i = 0; i < s->n_xs; i++) {
        if (s->x_slices[i] == slice) {
            return i;
        }
    }
    return -1;
}

/* The cotangent of what a broadcast repeats. `shift` 1: one more axis in front, summed as well. */
static Value *unbroadcast(Builder *b, const Op *op, Value *cotangent, int32_t shift) {
    int64_t axes[TYPE_MAX_RANK + 1];
    int32_t n_axes = 0, next = 0;
    Ints kept = op_axes(op);
    for (int32_t axis = -shift; axis + shift < cotangent->type.rank; axis++) {
        if (axis >= 0 && next < kept.count && kept.at[next] == axis) {
            next++;
        } else {
            axes[n_axes++] = axis + shift;
        }
    }
    return n_axes ? b_reduce(b, OP_reduce_sum, cotangent, axes, n_axes) : cotangent;
}

/* Stacks what deferred contractions need. A broadcast stays deferred only if its cotangent is
 * stacked for one of these anyway (a bias beside its weight); others are summed in the loop, in a
 * small carry. */
static void stack_deferred(ScanReverse *s) {
    DeferredList kept = {0};
    for (size_t i = 0; i < s->deferred.count; i++) {
        const DeferredUse *use = &s->deferred.items[i];
        if (use->op->code != OP_contract) {
            continue;
        }
        stack_value(s, use->cotangent);
        Value *other = other_operand(use);
        if (value_home(other) == s->reverse && !find_saved(s, other) && find_x(s, other) < 0) {
            stack_value(s, other);
        }
    }
    for (size_t i = 0; i < s->deferred.count; i++) {
        const DeferredUse *use = &s->deferred.items[i];
        if (use->op->code == OP_contract || find_value(&s->stacks, use->cotangent) >= 0) {
            VEC_PUSH(s->arena, &kept, *use);
            continue;
        }
        s->inner.b.place = use->op->place;
        Value *sum = unbroadcast(&s->inner.b, use->op, use->cotangent, 0);
        gradient_add(&s->inner, use->op->operands[use->operand], sum);
    }
    s->deferred = kept;
}

/* Decides what is stacked and what is summed in carries; builds the sums. */
static void choose_results(ScanReverse *s) {
    stack_deferred(s);
    size_t n_shared = s->stacks.count;
    s->x_stack = ARENA_ARRAY(s->arena, int32_t, s->n_xs);
    for (int32_t i = 0; i < s->n_xs; i++) {
        Value *cotangent = gradient_get(&s->inner, s->x_slices[i]);
        s->x_stack[i] = cotangent ? stack_value(s, cotangent) : -1;
    }
    s->inner.b.place = s->scan->place;
    for (size_t i = 0; i < s->captures.count; i++) {
        Value *cotangent = gradient_get(&s->inner, s->captures.items[i]);
        int32_t at = cotangent ? find_value(&s->stacks, cotangent) : -1;
        if (!cotangent || (at >= 0 && (size_t)at < n_shared)) {
            continue;
        }
        Value *sum = block_add_arg(s->reverse, cotangent->type, NULL);
        VEC_PUSH(s->arena, &s->sum_args, sum);
        Value *next = b_add(&s->inner.b, sum, cotangent);
        VEC_PUSH(s->arena, &s->sums, next);
        VEC_PUSH(s->arena, &s->sum_captures, s->captures.items[i]);
    }
}

/* Replaces the forward loop by one that stacks the saved values too; old results stay the same
 * values. */
static void extend_forward(ScanReverse *s) {
    Func *func = s->outer->func;
    Op *scan = s->scan;
    int32_t n_saved = (int32_t)s->saved.count, n_results = scan->n_results;
    Op *wider = op_create(func, OP_scan, scan->operands, scan->n_operands, n_results + n_saved, 1);
    for (int32_t i = 0; i < OP_MAX_ATTRS; i++) {
        wider->attrs[i] = scan->attrs[i];
    }
    wider->place = scan->place;
    wider->label = scan->label;
    wider->blocks[0] = s->body;
    s->body->owner = wider;
    Value **yields = ARENA_ARRAY(&func->module->arena, Value *, n_results + n_saved);
    for (int32_t i = 0; i < n_results; i++) {
        yields[i] = s->yield->operands[i];
        wider->results[i] = scan->results[i];
        wider->results[i]->op = wider;
    }
    for (int32_t i = 0; i < n_saved; i++) {
        yields[n_results + i] = s->saved.items[i].forward;
        s->saved.items[i].stacked = wider->results[n_results + i];
    }
    s->yield->operands = yields;
    s->yield->n_operands = n_results + n_saved;
    op_insert_before(wider, scan);
    op_unlink(scan);
    OpProblem problem = {0};
    if (!op_infer(s->outer->pass->context, wider, &problem)) {
        INTERNAL_ERROR(s->outer->pass->context, scan->place, "scan", "%s", problem.text);
    }
}

/* Operands, arguments and yields of the reverse loop, in the order of a scan. */
typedef struct ReverseParts {
    ValueList operands, args, yields;
    int32_t n_carries;
} ReverseParts;

static void add_carry(ScanReverse *s, ReverseParts *parts, Value *start, Value *arg, Value *next) {
    VEC_PUSH(s->arena, &parts->operands, start);
    VEC_PUSH(s->arena, &parts->args, arg);
    VEC_PUSH(s->arena, &parts->yields, next);
    parts->n_carries++;
}

static void add_x(ScanReverse *s, ReverseParts *parts, Value *stacked, Value *arg) {
    VEC_PUSH(s->arena, &parts->operands, stacked);
    VEC_PUSH(s->arena, &parts->args, arg);
}

static ReverseParts list_parts(ScanReverse *s) {
    Gradient *outer = s->outer;
    ReverseParts parts = {0};
    VEC_PUSH(s->arena, &parts.args, s->index);
    for (int32_t i = 0; i < s->n_carries; i++) {
        if (!s->live[i]) {
            continue;
        }
        Value *start = gradient_get(outer, s->scan->results[i]);
        Value *next = gradient_get(&s->inner, s->saved.items[i].slice);
        start = start ? start : b_constant_like(&outer->b, 0.0, s->scan->results[i]);
        next = next ? next : b_constant_like(&s->inner.b, 0.0, s->carry_cotangents[i]);
        add_carry(s, &parts, start, s->carry_cotangents[i], next);
    }
    for (size_t i = 0; i < s->sums.count; i++) {
        Value *start = b_constant_like(&outer->b, 0.0, s->sum_args.items[i]);
        add_carry(s, &parts, start, s->sum_args.items[i], s->sums.items[i]);
    }
    for (size_t i = 0; i < s->saved.count; i++) {
        add_x(s, &parts, s->saved.items[i].stacked, s->saved.items[i].slice);
    }
    for (int32_t i = 0; i < s->n_xs; i++) {
        add_x(s, &parts, s->scan->operands[s->n_carries + i], s->x_slices[i]);
    }
    for (int32_t i = 0; i < s->n_ys; i++) {
        if (s->y_cotangents[i]) {
            Value *stacked = gradient_get(outer, s->scan->results[s->n_carries + i]);
            add_x(s, &parts, stacked, s->y_cotangents[i]);
        }
    }
    for (size_t i = 0; i < s->stacks.count; i++) {
        VEC_PUSH(s->arena, &parts.yields, s->stacks.items[i]);
    }
    return parts;
}

static Op *insert_reverse(ScanReverse *s) {
    Gradient *outer = s->outer;
    ReverseParts parts = list_parts(s);
    b_yield(&s->inner.b, parts.yields.items, (int32_t)parts.yields.count);
    Block *body = s->reverse;
    body->n_args = (int32_t)parts.args.count;
    for (int32_t i = 0; i < body->n_args; i++) {
        body->args[i] = parts.args.items[i];
        body->args[i]->index = i;
    }
    Op *op = op_create(outer->func, OP_scan, parts.operands.items, (int32_t)parts.operands.count,
                       (int32_t)parts.yields.count, 1);
    op->blocks[0] = body;
    body->owner = op;
    op_set_length(op, scan_length(s->scan));
    op_set_carries(op, parts.n_carries);
    op_set_reverse(op, !scan_reverse(s->scan));
    b_op(&outer->b, op);
    return op;
}

/* -- cotangents of the scan's operands and captures */

static Value *sum_over_loop(Builder *b, Value *stacked) {
    int64_t first = 0;
    return b_reduce(b, OP_reduce_sum, stacked, &first, 1);
}

static void add_deferred(ScanReverse *s, const DeferredUse *use, Value *const *stacked) {
    Builder *b = &s->outer->b;
    b->place = use->op->place;
    b->label = use->op->label;
    Value *cotangent = stacked[find_value(&s->stacks, use->cotangent)];
    Value *result = NULL;
    if (use->op->code == OP_broadcast) {
        result = unbroadcast(b, use->op, cotangent, 1);
    } else {
        Value *other = other_operand(use);
        const SavedValue *saved = find_saved(s, other);
        int32_t x = find_x(s, other), at = find_value(&s->stacks, other);
        bool invariant = value_home(other) != s->reverse;
        if (saved) {
            other = saved->stacked;
        } else if (x >= 0) {
            other = s->scan->operands[s->n_carries + x];
        } else if (at >= 0 && !invariant) {
            other = stacked[at];
        }
        cotangent = invariant ? sum_over_loop(b, cotangent) : cotangent;
        result = contract_operand_grad(b, use->op, use->operand, cotangent, other, !invariant);
    }
    gradient_add(s->outer, use->op->operands[use->operand], result);
}

static void add_cotangents(ScanReverse *s, const Op *reverse) {
    Gradient *outer = s->outer;
    int32_t at = 0;
    for (int32_t i = 0; i < s->n_carries; i++) {
        if (s->live[i]) {
            gradient_add(outer, s->scan->operands[i], reverse->results[at++]);
        }
    }
    for (size_t i = 0; i < s->sum_captures.count; i++) {
        gradient_add(outer, s->sum_captures.items[i], reverse->results[at++]);
    }
    Value *const *stacked = reverse->results + at;
    for (int32_t i = 0; i < s->n_xs; i++) {
        if (s->x_stack[i] >= 0) {
            gradient_add(outer, s->scan->operands[s->n_carries + i], stacked[s->x_stack[i]]);
        }
    }
    for (size_t i = 0; i < s->captures.count; i++) {
        Value *capture = s->captures.items[i];
        Value *cotangent = gradient_get(&s->inner, capture);
        if (cotangent && find_value(&s->sum_captures, capture) < 0) {
            Value *sum = sum_over_loop(&outer->b, stacked[find_value(&s->stacks, cotangent)]);
            gradient_add(outer, capture, sum);
        }
    }
    for (size_t i = 0; i < s->deferred.count; i++) {
        add_deferred(s, &s->deferred.items[i], stacked);
    }
}

void gradient_scan(Gradient *gradient, Op *scan) {
    ScanReverse s = {.outer = gradient,
                     .arena = gradient->pass->scratch,
                     .scan = scan,
                     .body = scan->blocks[0],
                     .yield = block_yield(scan->blocks[0]),
                     .n_carries = (int32_t)scan_carries(scan),
                     .func_values = gradient->func->n_values};
    s.n_xs = scan->n_operands - s.n_carries;
    s.n_ys = scan->n_results - s.n_carries;
    collect_captures(&s, s.body, &(ValueFlags){0}, &(ValueFlags){0});
    mark_forward_active(&s);
    find_live_carries(&s);
    Value **map = clone_body(&s);
    run_body(&s, map);
    save_costly(&s, map);
    choose_results(&s);
    extend_forward(&s);
    Op *reverse = insert_reverse(&s);
    add_cotangents(&s, reverse);
}
