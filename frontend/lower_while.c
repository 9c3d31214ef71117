/* `while`: a loop of unknown length, for decoding and solvers. */
#include "frontend/lower_loop.h"

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
