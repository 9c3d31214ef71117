/* What loops share: undoing a body, state that a body touches (it becomes a carry that the user did
 * not write), and the carries that the user wrote. */
#include "frontend/elaborate/loop.h"

#include <string.h>

/* -- undoing a pass */

PassMark pass_mark(Elaborator *el) {
    FuncState *fs = el->fs;
    PassMark mark = {.labels = el->frame->labels,
                     .n_labels = el->frame->labels->count,
                     .n_uses = fs->uses.count,
                     .n_ordinals = fs->ordinals.count};
    mark.uses = ARENA_ARRAY(el->arena, PersistUse, mark.n_uses + 1);
    mark.ordinals = ARENA_ARRAY(el->arena, int64_t, mark.n_ordinals + 1);
    for (size_t i = 0; i < mark.n_uses; i++) {
        mark.uses[i] = *(PersistUse *)fs->uses.entries[i].value;
    }
    for (size_t i = 0; i < mark.n_ordinals; i++) {
        mark.ordinals[i] = *(int64_t *)fs->ordinals.entries[i].value;
    }
    return mark;
}

void pass_undo(Elaborator *el, const PassMark *mark) {
    FuncState *fs = el->fs;
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

bool loop_may_nest(Elaborator *el, Place place) {
    int depth = 1;
    for (const Loop *loop = el->fs->loop; loop; loop = loop->parent) {
        depth++;
    }
    if (depth > ELABORATE_MAX_LOOPS) {
        elaborate_limit(el, place, "loops that stay loops nest more than 16 deep");
        return false;
    }
    return true;
}

LoopEntry loop_enter(Elaborator *el, Loop *loop, Block *body) {
    LoopEntry entry = {.loop = loop, .outside = el->b};
    loop->parent = el->fs->loop;
    loop->body = body;
    el->fs->loop = loop;
    el->b.block = body;
    el->b.before = NULL;
    scope_push(el, true);
    return entry;
}

void loop_leave(Elaborator *el, const LoopEntry *entry) {
    scope_pop(el);
    el->b.block = entry->outside.block;
    el->b.before = entry->outside.before;
    el->fs->loop = entry->loop->parent;
}

static void thread_into(Elaborator *el, Loop *loop, PersistUse *use) {
    if (loop == NULL) {
        return;
    }
    thread_into(el, loop->parent, use);
    for (size_t i = 0; i < loop->hidden.count; i++) {
        if (loop->hidden.items[i].use == use) {
            return;
        }
    }
    HiddenCarry hidden = {.use = use, .init = use->value};
    hidden.arg = block_add_arg(loop->body, use->value->type, NULL);
    VEC_PUSH(el->arena, &loop->hidden, hidden);
    use->value = hidden.arg;
}

void loop_thread(Elaborator *el, PersistUse *use) {
    if (use->persist->kind != PERSIST_PARAM) {
        thread_into(el, el->fs->loop, use);
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

void drop_unwritten(Loop *loop) {
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

void set_args(Elaborator *el, Block *block, Value *const *args, int32_t count) {
    block->args = ARENA_ARRAY(&el->module->arena, Value *, count + 4);
    block->n_args = count;
    for (int32_t i = 0; i < count; i++) {
        block->args[i] = args[i];
        args[i]->index = i;
    }
    /* Growth by the module's rule expects a power of two; a body gets no arguments after this. */
}

Op *scan_finish(Elaborator *el, Loop *loop, Value *const *inits, Value *const *nexts,
                int32_t n_carries, Value *const *xs, int32_t n_xs, Value *const *ys, int32_t n_ys,
                Place place) {
    Block *body = loop->body;
    drop_unwritten(loop);
    int32_t n_hidden = (int32_t)loop->hidden.count;
    int32_t n_all = n_carries + n_hidden;
    Value **all = ARENA_ARRAY(el->arena, Value *, n_all + 1);
    Value **yields = ARENA_ARRAY(el->arena, Value *, n_all + n_ys + 1);
    Value **args = ARENA_ARRAY(el->arena, Value *, 1 + n_all + n_xs + 1);
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
    for (int32_t i = 0; i < n_ys; i++) {
        yields[n_all + i] = ys[i];
    }
    if (!shown_within(el, loop->length, 0, INDEX_SIZE_MOST, "the length of a scan", place)) {
        return NULL;
    }
    elaborate_at(el, place);
    Op *op = b_scan_begin(&el->b, all, n_all, xs, n_xs, loop->length, false, n_ys);
    if (elaborate_building_failed(el, place) || op == NULL) {
        return NULL;
    }
    set_args(el, body, args, n_args);
    op->blocks[0] = body;
    body->owner = op;
    Builder inside = builder_at_end(el->fs->func, body);
    inside.soft = true;
    inside.place = el->b.place;
    inside.label = el->b.label;
    b_yield(&inside, yields, n_all + n_ys);
    b_op(&el->b, op);
    if (elaborate_building_failed(el, place)) {
        return NULL;
    }
    for (int32_t i = 0; i < n_hidden; i++) {
        loop->hidden.items[i].use->value = op->results[n_carries + i];
    }
    return op;
}

/* -- carries */

bool carry_start(Elaborator *el, const AstNamedExprs *exprs, Carry *carries) {
    bool good = true;
    for (int32_t i = 0; i < exprs->count; i++) {
        Carry *carry = &carries[i];
        const AstExpr *expr = exprs->items[i].value;
        carry->name = exprs->items[i].name;
        carry->init = elaborate_expr(el, expr);
        if (val_is_error(carry->init) || !common_dtype(el, &carry->init, 1, USE_SELECT, "a carry",
                                                       expr->place, &carry->dtype, &carry->weak)) {
            good = false;
        }
    }
    return good;
}

bool carry_values(Elaborator *el, Carry *carries, int32_t count, Value **out) {
    for (int32_t i = 0; i < count; i++) {
        carries[i].start =
            elaborate_as(el, carries[i].init, carries[i].dtype, carries[i].name.place);
        out[i] = carries[i].start;
        if (out[i] == NULL) {
            return false;
        }
    }
    return true;
}

static bool carry_complaint(Elaborator *el, const Carry *carry, Val next) {
    Diag *diag = EL_REPORT(el, CARRY_TYPE, carry->name.place, carry->name.text,
                           type_text(el->context, carry->start->type), val_describe(el, next));
    if (next.place.source) {
        elaborate_note(el, diag, next.place, "the next value comes from here");
    }
    if (next.kind == VAL_TENSOR && next.as.tensor->type.rank != carry->start->type.rank) {
        elaborate_help(el, diag, "start it with the full shape, e.g. zeros([…])");
    }
    return false;
}

/* The carry's last binding as its next value. */
static CarryFit carry_next(Elaborator *el, Carry *carry) {
    Binding *binding = scope_find(el->scope, carry->name.text, true);
    Val next = binding ? binding->value : val_error();
    DType dtype = DT_F32;
    bool weak = false;
    if (val_is_error(next) ||
        !common_dtype(el, &next, 1, USE_SELECT, "a carry", carry->name.place, &dtype, &weak)) {
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
            carry_complaint(el, carry, next);
            return CARRY_BAD;
        }
    }
    Value *value = elaborate_as(el, next, carry->dtype, carry->name.place);
    Type type = carry->start->type;
    if (value == NULL || value->type.rank != type.rank) {
        if (value) {
            carry_complaint(el, carry, next);
        }
        return CARRY_BAD;
    }
    for (int32_t i = 0; i < type.rank; i++) {
        if (size_equal(el->context, value->type.dims[i], type.dims[i]) == TRUTH_NO) {
            carry_complaint(el, carry, next);
            return CARRY_BAD;
        }
        elaborate_same_size(el, value->type.dims[i], next.place, type.dims[i], carry->name.place,
                            carry->name.place, "the next value of a carry");
    }
    carry->next = elaborate_reshape(el, value, type.dims, type.rank, carry->name.place);
    return carry->next ? CARRY_FITS : CARRY_BAD;
}

CarryFit carries_next(Elaborator *el, Carry *carries, int32_t count) {
    CarryFit fit = CARRY_FITS;
    for (int32_t i = 0; i < count; i++) {
        CarryFit one = carry_next(el, &carries[i]);
        fit = one > fit ? one : fit;
    }
    return fit;
}
