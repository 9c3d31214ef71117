/* Loops that stay loops: `scan` and `while`. State that a body touches becomes a carry that the
 * user did not write; a body is lowered again when a weak carry turns out to be of another type. */
#include "frontend/lower.h"

#include <string.h>

/* -- undoing a pass */

PassMark pass_mark(Lower *lw) {
    FuncState *fs = lw->fs;
    PassMark mark = {.labels = lw->frame->labels,
                     .n_labels = lw->frame->labels->count,
                     .n_uses = fs->uses.count,
                     .n_ordinals = fs->ordinals.count};
    mark.uses = ARENA_ARRAY(lw->arena, PersistUse, mark.n_uses + 1);
    mark.ordinals = ARENA_ARRAY(lw->arena, int64_t, mark.n_ordinals + 1);
    for (size_t i = 0; i < mark.n_uses; i++) {
        mark.uses[i] = *(PersistUse *)fs->uses.entries[i].value;
    }
    for (size_t i = 0; i < mark.n_ordinals; i++) {
        mark.ordinals[i] = *(int64_t *)fs->ordinals.entries[i].value;
    }
    return mark;
}

void pass_undo(Lower *lw, const PassMark *mark) {
    FuncState *fs = lw->fs;
    for (size_t i = mark->n_labels; i < mark->labels->count; i++) {
        ((LabelUse *)mark->labels->entries[i].value)->removed = true;
    }
    for (size_t i = 0; i < fs->uses.count; i++) {
        PersistUse *use = fs->uses.entries[i].value;
        if (i < mark->n_uses) {
            *use = mark->uses[i];
        } else {
            use->declared = use->written = false;
            use->value = use->arg;
        }
    }
    for (size_t i = 0; i < fs->ordinals.count; i++) {
        *(int64_t *)fs->ordinals.entries[i].value = i < mark->n_ordinals ? mark->ordinals[i] : 0;
    }
}

/* -- loops and hidden carries */

LoopEntry loop_enter(Lower *lw, Loop *loop, Block *body) {
    LoopEntry entry = {.loop = loop, .outside = lw->b};
    loop->parent = lw->fs->loop;
    loop->body = body;
    lw->fs->loop = loop;
    lw->b.block = body;
    lw->b.before = NULL;
    scope_push(lw, true);
    return entry;
}

void loop_leave(Lower *lw, const LoopEntry *entry) {
    scope_pop(lw);
    lw->b.block = entry->outside.block;
    lw->b.before = entry->outside.before;
    lw->fs->loop = entry->loop->parent;
}

static void thread_into(Lower *lw, Loop *loop, PersistUse *use) {
    if (loop == NULL) {
        return;
    }
    thread_into(lw, loop->parent, use);
    for (size_t i = 0; i < loop->hidden.count; i++) {
        if (loop->hidden.items[i].use == use) {
            return;
        }
    }
    HiddenCarry hidden = {.use = use, .init = use->value};
    hidden.arg = block_add_arg(loop->body, use->value->type, NULL);
    VEC_PUSH(lw->arena, &loop->hidden, hidden);
    use->value = hidden.arg;
}

void loop_thread(Lower *lw, PersistUse *use) {
    if (use->persist->kind != PERSIST_PARAM) {
        thread_into(lw, lw->fs->loop, use);
    }
}

static void replace_in_block(Block *block, const Value *from, Value *to) {
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_operands; i++) {
            if (op->operands[i] == from) {
                op_set_operand(op, i, to);
            }
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            replace_in_block(op->blocks[i], from, to);
        }
    }
}

/* Keeps the hidden carries that were written; those only read become what they started as. */
static void drop_unwritten(Loop *loop) {
    size_t kept = 0;
    for (size_t i = 0; i < loop->hidden.count; i++) {
        HiddenCarry hidden = loop->hidden.items[i];
        if (hidden.use->value == hidden.arg) {
            replace_in_block(loop->body, hidden.arg, hidden.init);
            hidden.use->value = hidden.init;
        } else {
            loop->hidden.items[kept++] = hidden;
        }
    }
    loop->hidden.count = kept;
}

/* Sets a block's arguments anew, in this order. */
static void set_args(Lower *lw, Block *block, Value *const *args, int32_t count) {
    block->args = ARENA_ARRAY(&lw->module->arena, Value *, count + 4);
    block->n_args = count;
    for (int32_t i = 0; i < count; i++) {
        block->args[i] = args[i];
        args[i]->index = i;
    }
    /* Growth by the module's rule expects a power of two; a body gets no arguments after this. */
}

Op *scan_finish(Lower *lw, Loop *loop, Value *const *inits, Value *const *nexts, int32_t n_carries,
                Value *const *xs, int32_t n_xs, Value *const *ys, int32_t n_ys, Place place) {
    Block *body = loop->body;
    drop_unwritten(loop);
    int32_t n_hidden = (int32_t)loop->hidden.count;
    int32_t n_all = n_carries + n_hidden;
    Value **all = ARENA_ARRAY(lw->arena, Value *, n_all + 1);
    Value **yields = ARENA_ARRAY(lw->arena, Value *, n_all + n_ys + 1);
    Value **args = ARENA_ARRAY(lw->arena, Value *, 1 + n_all + n_xs + 1);
    int32_t n_args = 0;
    args[n_args++] = body->args[0];
    for (int32_t i = 0; i < n_carries; i++) {
        all[i] = inits[i];
        yields[i] = nexts[i];
        args[n_args++] = body->args[1 + i];
    }
    for (int32_t i = 0; i < n_hidden; i++) {
        all[n_carries + i] = loop->hidden.items[i].init;
        yields[n_carries + i] = loop->hidden.items[i].use->value;
        args[n_args++] = loop->hidden.items[i].arg;
    }
    for (int32_t i = 0; i < n_xs; i++) {
        args[n_args++] = body->args[1 + n_carries + i];
    }
    memcpy(yields + n_all, ys, (size_t)n_ys * sizeof(yields[0]));
    lower_at(lw, place);
    Op *op = b_scan_begin(&lw->b, all, n_all, xs, n_xs, loop->length, false, n_ys);
    if (lower_building_failed(lw, place) || op == NULL) {
        return NULL;
    }
    set_args(lw, body, args, n_args);
    op->blocks[0] = body;
    body->owner = op;
    Builder inside = builder_at_end(lw->fs->func, body);
    inside.soft = true;
    inside.place = lw->b.place;
    inside.label = lw->b.label;
    b_yield(&inside, yields, n_all + n_ys);
    b_op(&lw->b, op);
    if (lower_building_failed(lw, place)) {
        return NULL;
    }
    for (int32_t i = 0; i < n_hidden; i++) {
        loop->hidden.items[i].use->value = op->results[n_carries + i];
    }
    return op;
}

/* -- random keys */

static int64_t *ordinal_of(Lower *lw, const char *path) {
    int64_t *ordinal = map_get(&lw->fs->ordinals, path);
    if (ordinal == NULL) {
        ordinal = ARENA_NEW(lw->arena, int64_t);
        map_set(&lw->fs->ordinals, path, ordinal);
    }
    return ordinal;
}

static Value *loop_count(Lower *lw, Loop *loop, Place place) {
    if (!loop->is_while) {
        return loop->index;
    }
    if (loop->counter == NULL) {
        LW_REPORT(lw, STATE_IN_CONDITION, place, "random numbers");
    }
    return loop->counter;
}

void random_key(Lower *lw, Place place, Value **seed, Value **step, Value **iteration,
                int64_t *site) {
    const char *path = "";
    lower_at(lw, place);
    if (lw->init_path) {
        path = context_internf(lw->context, "%s#init", lw->init_path);
        *seed = lw->init_seed;
        *step = b_constant(&lw->b, 0.0, type_scalar(DT_I64));
    } else {
        path = lw->b.label;
        *seed = lower_run_scalar(lw, "seed", DT_I64);
        *step = lower_run_scalar(lw, "step", DT_I64);
    }
    *iteration = NULL;
    Loop *chain[LOWER_MAX_CALLS];
    int depth = 0;
    for (Loop *l = lw->init_path ? NULL : lw->fs->loop; l && depth < LOWER_MAX_CALLS;
         l = l->parent) {
        chain[depth++] = l;
    }
    while (depth > 0) {
        Loop *loop = chain[--depth];
        Value *index = loop_count(lw, loop, place);
        if (index == NULL) {
            break;
        }
        if (*iteration) {
            Value *length = loop->length ? b_size(&lw->b, loop->length, DT_I32)
                                         : b_constant(&lw->b, 65536.0, type_scalar(DT_I32));
            Value *scaled = b_mul(&lw->b, *iteration, length);
            index = b_add(&lw->b, scaled, index);
        }
        *iteration = index;
    }
    if (*iteration == NULL) {
        *iteration = b_constant(&lw->b, 0.0, type_scalar(DT_I32));
    }
    int64_t ordinal = (*ordinal_of(lw, path))++;
    uint64_t hash = hash_bytes(path, strlen(path), (uint64_t)ordinal);
    *site = (int64_t)(hash & INT64_MAX);
}

/* -- carries */

typedef struct Carry {
    AstName name;
    Val init;
    Value *start; /* of the assumed type */
    DType dtype;
    bool weak;
    Value *next;
} Carry;

static bool carry_start(Lower *lw, const AstNamedExprs *exprs, Carry *carries) {
    bool good = true;
    for (int32_t i = 0; i < exprs->count; i++) {
        Carry *carry = &carries[i];
        const AstExpr *expr = exprs->items[i].value;
        carry->name = exprs->items[i].name;
        carry->init = lower_expr(lw, expr);
        if (val_is_error(carry->init) || !common_dtype(lw, &carry->init, 1, USE_SELECT, "a carry",
                                                       expr->place, &carry->dtype, &carry->weak)) {
            good = false;
        }
    }
    return good;
}

static bool carry_values(Lower *lw, Carry *carries, int32_t count, Value **out) {
    for (int32_t i = 0; i < count; i++) {
        carries[i].start = lower_as(lw, carries[i].init, carries[i].dtype, carries[i].name.place);
        out[i] = carries[i].start;
        if (out[i] == NULL) {
            return false;
        }
    }
    return true;
}

static bool carry_complaint(Lower *lw, const Carry *carry, Val next) {
    Diag *diag = LW_REPORT(lw, CARRY_TYPE, carry->name.place, carry->name.text,
                           type_text(lw->context, carry->start->type), val_describe(lw, next));
    if (next.place.source) {
        lower_note(lw, diag, next.place, "the next value comes from here");
    }
    if (next.kind == VAL_TENSOR && next.as.tensor->type.rank != carry->start->type.rank) {
        lower_help(lw, diag, "start it with the full shape, e.g. zeros([…])");
    }
    return false;
}

typedef enum CarryFit { CARRY_FITS, CARRY_RETRY, CARRY_BAD } CarryFit;

/* The carry's last binding as its next value. */
static CarryFit carry_next(Lower *lw, Carry *carry) {
    Binding *binding = scope_find(lw->scope, carry->name.text, true);
    Val next = binding ? binding->value : val_error();
    DType dtype = DT_F32;
    bool weak = false;
    if (val_is_error(next) ||
        !common_dtype(lw, &next, 1, USE_SELECT, "a carry", carry->name.place, &dtype, &weak)) {
        return CARRY_BAD;
    }
    if (dtype != carry->dtype) {
        bool widens = weak && dtype_is_float(carry->dtype) && dtype != DT_BOOL;
        bool same_class = dtype_is_float(dtype) == dtype_is_float(carry->dtype) &&
                          (dtype == DT_BOOL) == (carry->dtype == DT_BOOL);
        if (!(weak && same_class) && !widens) {
            if (carry->weak && carry->dtype != DT_BOOL && dtype != DT_BOOL) {
                carry->dtype = dtype;
                carry->weak = weak;
                return CARRY_RETRY;
            }
            carry_complaint(lw, carry, next);
            return CARRY_BAD;
        }
    }
    Value *value = lower_as(lw, next, carry->dtype, carry->name.place);
    Type type = carry->start->type;
    if (value == NULL || value->type.rank != type.rank) {
        if (value) {
            carry_complaint(lw, carry, next);
        }
        return CARRY_BAD;
    }
    for (int32_t i = 0; i < type.rank; i++) {
        if (size_equal(lw->context, value->type.dims[i], type.dims[i]) == TRUTH_NO) {
            carry_complaint(lw, carry, next);
            return CARRY_BAD;
        }
        lower_same_size(lw, value->type.dims[i], next.place, type.dims[i], carry->name.place,
                        carry->name.place, "the next value of a carry");
    }
    carry->next = lower_reshape(lw, value, type.dims, type.rank, carry->name.place);
    return carry->next ? CARRY_FITS : CARRY_BAD;
}

static CarryFit carries_next(Lower *lw, Carry *carries, int32_t count) {
    CarryFit fit = CARRY_FITS;
    for (int32_t i = 0; i < count; i++) {
        CarryFit one = carry_next(lw, &carries[i]);
        fit = one > fit ? one : fit;
    }
    return fit;
}

/* -- scan */

typedef struct Scan {
    const AstStmt *stmt;
    Carry *carries;
    int32_t n_carries, n_xs, n_ys;
    Val *sources;
    Value **xs;
    const Size *length;
    int64_t along;
    Val *ys;
} Scan;

static bool scan_inputs(Lower *lw, Scan *scan) {
    const AstScanInputs *inputs = &scan->stmt->as.scan.inputs;
    const AstExpr *along = scan->stmt->as.scan.along;
    scan->n_xs = inputs->count;
    scan->sources = ARENA_ARRAY(lw->arena, Val, inputs->count + 1);
    scan->xs = ARENA_ARRAY(lw->arena, Value *, inputs->count + 1);
    if (along &&
        !need_int(lw, lower_expr(lw, along), "the axis of a scan", along->place, &scan->along)) {
        return false;
    }
    for (int32_t i = 0; i < inputs->count; i++) {
        const AstExpr *expr = inputs->items[i].source;
        Val source = lower_expr(lw, expr);
        Value *x = need_tensor(lw, source, "what a scan reads", expr->place);
        int64_t axis = 0;
        if (x == NULL ||
            !need_axis(lw, val_int(scan->along, expr->place), x->type.rank, expr->place, &axis)) {
            return false;
        }
        int64_t order[TYPE_MAX_RANK];
        order[0] = axis;
        for (int32_t k = 0, at = 1; k < x->type.rank; k++) {
            if (k != axis) {
                order[at++] = k;
            }
        }
        const Size *n = x->type.dims[axis];
        x = lower_transpose(lw, x, order, expr->place);
        if (x && scan->length &&
            !lower_same_size(lw, scan->length, scan->sources[0].place, n, expr->place, expr->place,
                             "the lengths of a scan")) {
            return false;
        }
        if (x && scan->length && n != scan->length) {
            const Size *shape[TYPE_MAX_RANK];
            memcpy(shape, x->type.dims, (size_t)x->type.rank * sizeof(shape[0]));
            shape[0] = scan->length;
            x = lower_reshape(lw, x, shape, x->type.rank, expr->place);
        }
        if (x == NULL) {
            return false;
        }
        scan->length = scan->length ? scan->length : n;
        scan->xs[i] = x;
        scan->sources[i] = val_tensor(x, source.weak, expr->place);
    }
    if (scan->length == NULL) {
        LW_REPORT(lw, MISPLACED, scan->stmt->place, "a scan needs something to read");
        return false;
    }
    return true;
}

static bool scan_yields(Lower *lw, Scan *scan, const AstStmt *last) {
    const AstNames *results = &scan->stmt->as.scan.results;
    int32_t count = 0;
    if (last) {
        Val value = lower_expr(lw, last->as.value);
        bool tuple = last->as.value->kind == AST_TUPLE;
        if (val_is_error(value)) {
            return false;
        }
        count = tuple ? value.as.list.count : 1;
        scan->ys = ARENA_ARRAY(lw->arena, Val, count + 1);
        for (int32_t i = 0; i < count; i++) {
            Val one = tuple ? value.as.list.items[i] : value;
            Value *y = need_tensor(lw, one, "what a scan yields", last->as.value->place);
            if (y == NULL) {
                return false;
            }
            scan->ys[i] = val_tensor(y, one.kind != VAL_TENSOR || one.weak, one.place);
        }
    }
    scan->n_ys = count;
    if (count != results->count) {
        Place place = last ? last->place : scan->stmt->place;
        Diag *diag = LW_REPORT(lw, YIELD_MISSING, place,
                               arena_format(lw->arena,
                                            "the scan yields %d values, but %d are named "
                                            "after `->`",
                                            (int)count, (int)results->count));
        if (results->count > 0) {
            lower_note(lw, diag, results->items[0].place, "named here");
        } else {
            lower_help(lw, diag, "write `} -> y` after the body");
        }
        return false;
    }
    return true;
}

/* One try at the body; on CARRY_FITS the op is in place. */
static CarryFit scan_body(Lower *lw, Scan *scan, Op **out) {
    const AstStmt *stmt = scan->stmt;
    Value **starts = ARENA_ARRAY(lw->arena, Value *, scan->n_carries + 1);
    if (!carry_values(lw, scan->carries, scan->n_carries, starts)) {
        return CARRY_BAD;
    }
    lower_at(lw, stmt->place);
    Op *draft =
        b_scan_begin(&lw->b, starts, scan->n_carries, scan->xs, scan->n_xs, scan->length, false, 0);
    if (lower_building_failed(lw, stmt->place) || draft == NULL) {
        return CARRY_BAD;
    }
    Block *body = draft->blocks[0];
    Loop loop = {.length = scan->length, .index = body->args[0]};
    LoopEntry entry = loop_enter(lw, &loop, body);
    for (int32_t i = 0; i < scan->n_carries; i++) {
        Carry *carry = &scan->carries[i];
        scope_define(lw, lw->scope, carry->name.text,
                     val_tensor(body->args[1 + i], carry->weak, carry->name.place),
                     carry->name.place);
    }
    for (int32_t i = 0; i < scan->n_xs; i++) {
        AstName name = stmt->as.scan.inputs.items[i].name;
        Val slice =
            val_tensor(body->args[1 + scan->n_carries + i], scan->sources[i].weak, name.place);
        scope_define(lw, lw->scope, name.text, slice, name.place);
    }
    AstStmts rest = stmt->as.scan.body;
    const AstStmt *last = rest.count > 0 ? rest.items[rest.count - 1] : NULL;
    last = last && last->kind == AST_STMT_YIELD ? last : NULL;
    rest.count -= last != NULL;
    int64_t errors = lw->n_errors;
    lower_stmts(lw, &rest);
    bool good =
        lw->n_errors == errors && !lw->limit_hit && scan_yields(lw, scan, last);
    CarryFit fit = good ? carries_next(lw, scan->carries, scan->n_carries) : CARRY_BAD;
    loop_leave(lw, &entry);
    if (fit != CARRY_FITS) {
        return fit;
    }
    Value **nexts = ARENA_ARRAY(lw->arena, Value *, scan->n_carries + 1);
    Value **ys = ARENA_ARRAY(lw->arena, Value *, scan->n_ys + 1);
    for (int32_t i = 0; i < scan->n_carries; i++) {
        nexts[i] = scan->carries[i].next;
    }
    for (int32_t i = 0; i < scan->n_ys; i++) {
        ys[i] = scan->ys[i].as.tensor;
    }
    *out = scan_finish(lw, &loop, starts, nexts, scan->n_carries, scan->xs, scan->n_xs, ys,
                       scan->n_ys, stmt->place);
    return *out ? CARRY_FITS : CARRY_BAD;
}

static void scan_bind(Lower *lw, Scan *scan, const Op *op) {
    const AstNames *names = &scan->stmt->as.scan.results;
    int32_t first_y = op ? op->n_results - scan->n_ys : 0;
    for (int32_t i = 0; i < scan->n_carries; i++) {
        AstName name = scan->carries[i].name;
        Val value =
            op ? val_tensor(op->results[i], scan->carries[i].weak, name.place) : val_error();
        scope_bind(lw, name.text, value, name.place);
    }
    for (int32_t i = 0; i < names->count; i++) {
        Val value = val_error();
        if (op) {
            Value *y = op->results[first_y + i];
            int64_t axis = 0, order[TYPE_MAX_RANK];
            if (need_axis(lw, val_int(scan->along, names->items[i].place), y->type.rank,
                          scan->stmt->place, &axis)) {
                for (int32_t k = 0; k < y->type.rank; k++) {
                    order[k] = k == axis ? 0 : k < axis ? k + 1 : k;
                }
                y = lower_transpose(lw, y, order, scan->stmt->place);
                value = val_tensor(y, scan->ys[i].weak, names->items[i].place);
            }
        }
        scope_bind(lw, names->items[i].text, value, names->items[i].place);
    }
}

void lower_scan(Lower *lw, const AstStmt *stmt) {
    const AstNamedExprs *exprs = &stmt->as.scan.carries;
    Scan scan = {.stmt = stmt, .n_carries = exprs->count};
    scan.carries = ARENA_ARRAY(lw->arena, Carry, exprs->count + 1);
    Op *op = NULL;
    if (lw->fs == NULL || lw->init_path) {
        LW_REPORT(lw, MISPLACED, stmt->place, "a scan stands only in what a model calls");
        return;
    }
    for (int32_t i = 0; i < exprs->count; i++) {
        scan.carries[i].name = exprs->items[i].name;
    }
    if (scan_inputs(lw, &scan) && carry_start(lw, exprs, scan.carries)) {
        for (int attempt = 0; attempt < 4; attempt++) {
            PassMark mark = pass_mark(lw);
            CarryFit fit = scan_body(lw, &scan, &op);
            if (fit != CARRY_RETRY) {
                break;
            }
            pass_undo(lw, &mark);
        }
    }
    scan_bind(lw, &scan, op);
}

/* -- while */

static CarryFit while_body(Lower *lw, const AstStmt *stmt, Carry *carries, int32_t count,
                           Op **out) {
    Value **starts = ARENA_ARRAY(lw->arena, Value *, count + 2);
    if (!carry_values(lw, carries, count, starts)) {
        return CARRY_BAD;
    }
    lower_at(lw, stmt->place);
    starts[count] = lower_made(lw, b_constant(&lw->b, 0.0, type_scalar(DT_I32)), stmt->place);
    Op *draft = b_while_begin(&lw->b, starts, count + 1, 0);
    if (lower_building_failed(lw, stmt->place) || draft == NULL) {
        return CARRY_BAD;
    }
    Loop loop = {.is_while = true};
    Block *blocks[] = {draft->blocks[0], draft->blocks[1]};
    Value *condition = NULL;
    CarryFit fit = CARRY_BAD;
    for (int b = 0; b < 2; b++) {
        loop.in_condition = b == 0;
        loop.counter = b == 0 ? NULL : blocks[1]->args[count];
        LoopEntry entry = loop_enter(lw, &loop, blocks[b]);
        for (int32_t i = 0; i < count; i++) {
            scope_define(lw, lw->scope, carries[i].name.text,
                         val_tensor(blocks[b]->args[i], carries[i].weak, carries[i].name.place),
                         carries[i].name.place);
        }
        int64_t errors = lw->n_errors;
        if (b == 0) {
            const AstExpr *expr = stmt->as.while_.condition;
            Val value = lower_expr(lw, expr);
            condition = need_tensor(lw, value, "the condition of a `while`", expr->place);
            if (condition && (condition->type.rank != 0 || condition->type.dtype != DT_BOOL)) {
                LW_REPORT(lw, WRONG_KIND, expr->place, "the condition of a `while`",
                          "a bool scalar", val_describe(lw, value));
                condition = NULL;
            }
            if (condition) {
                b_yield(&lw->b, &condition, 1);
            }
        } else {
            lower_stmts(lw, &stmt->as.while_.body);
            if (lw->n_errors == errors && !lw->limit_hit) {
                fit = carries_next(lw, carries, count);
            }
            if (fit == CARRY_FITS) {
                Value *one = b_constant(&lw->b, 1.0, type_scalar(DT_I32));
                starts[count + 1] = b_add(&lw->b, loop.counter, one);
            }
        }
        loop_leave(lw, &entry);
        if (condition == NULL) {
            return CARRY_BAD;
        }
    }
    if (fit != CARRY_FITS) {
        return fit;
    }
    loop.body = blocks[1];
    drop_unwritten(&loop);
    int32_t n_hidden = (int32_t)loop.hidden.count, n_all = count + 1 + n_hidden;
    Value **all = ARENA_ARRAY(lw->arena, Value *, n_all),
          **yields = ARENA_ARRAY(lw->arena, Value *, n_all);
    Value **args = ARENA_ARRAY(lw->arena, Value *, n_all);
    for (int32_t i = 0; i < count + 1; i++) {
        all[i] = starts[i];
        yields[i] = i < count ? carries[i].next : starts[count + 1];
        args[i] = blocks[1]->args[i];
    }
    for (int32_t i = 0; i < n_hidden; i++) {
        all[count + 1 + i] = loop.hidden.items[i].init;
        yields[count + 1 + i] = loop.hidden.items[i].use->value;
        args[count + 1 + i] = loop.hidden.items[i].arg;
        block_add_arg(blocks[0], loop.hidden.items[i].init->type, NULL);
    }
    set_args(lw, blocks[1], args, n_all);
    lower_at(lw, stmt->place);
    Op *op = b_while_begin(&lw->b, all, n_all, 0);
    for (int b = 0; b < 2 && op; b++) {
        op->blocks[b] = blocks[b];
        blocks[b]->owner = op;
    }
    Builder inside = builder_at_end(lw->fs->func, blocks[1]);
    inside.soft = true;
    inside.place = lw->b.place;
    inside.label = lw->b.label;
    b_yield(&inside, yields, n_all);
    b_op(&lw->b, op);
    if (op == NULL || lower_building_failed(lw, stmt->place)) {
        return CARRY_BAD;
    }
    for (int32_t i = 0; i < n_hidden; i++) {
        loop.hidden.items[i].use->value = op->results[count + 1 + i];
    }
    *out = op;
    return CARRY_FITS;
}

void lower_while(Lower *lw, const AstStmt *stmt) {
    const AstNamedExprs *exprs = &stmt->as.while_.carries;
    int32_t count = exprs->count;
    Carry *carries = ARENA_ARRAY(lw->arena, Carry, count + 1);
    Op *op = NULL;
    if (lw->fs == NULL || lw->init_path) {
        LW_REPORT(lw, MISPLACED, stmt->place, "a while stands only in what a model calls");
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        carries[i].name = exprs->items[i].name;
    }
    if (carry_start(lw, exprs, carries)) {
        for (int attempt = 0; attempt < 4; attempt++) {
            PassMark mark = pass_mark(lw);
            CarryFit fit = while_body(lw, stmt, carries, count, &op);
            if (fit != CARRY_RETRY) {
                break;
            }
            pass_undo(lw, &mark);
        }
    }
    for (int32_t i = 0; i < count; i++) {
        Val value =
            op ? val_tensor(op->results[i], carries[i].weak, carries[i].name.place) : val_error();
        scope_bind(lw, carries[i].name.text, value, carries[i].name.place);
    }
}
