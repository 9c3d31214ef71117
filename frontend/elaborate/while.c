/* `while`: a loop of unknown length, for decoding and solvers. A hidden counter is its last carry
 * of the user's kind, so that random numbers in the body differ from turn to turn. */
#include "frontend/elaborate/loop.h"

typedef struct While {
    const AstStmt *stmt;
    Carry *carries;
    int32_t count;
    Value **starts;    /* of the carries, then the counter */
    Value *next_count; /* the counter's next value */
    Block *blocks[2];  /* condition, body */
    Loop loop;
} While;

static void bind_carries(Lower *lw, const While *w, const Block *block) {
    for (int32_t i = 0; i < w->count; i++) {
        AstName name = w->carries[i].name;
        scope_define(lw, lw->scope, name.text,
                     val_tensor(block->args[i], w->carries[i].weak, name.place), name.place);
    }
}

static bool lower_condition(Lower *lw, While *w) {
    const AstExpr *expr = w->stmt->as.while_.condition;
    w->loop.in_condition = true;
    w->loop.counter = NULL;
    LoopEntry entry = loop_enter(lw, &w->loop, w->blocks[0]);
    bind_carries(lw, w, w->blocks[0]);
    Val value = lower_expr(lw, expr);
    Value *condition = need_tensor(lw, value, "the condition of a `while`", expr->place);
    if (condition && (condition->type.rank != 0 || condition->type.dtype != DT_BOOL)) {
        LW_REPORT(lw, WRONG_KIND, expr->place, "the condition of a `while`", "a bool scalar",
                  val_describe(lw, value));
        condition = NULL;
    }
    if (condition) {
        b_yield(&lw->b, &condition, 1);
    }
    loop_leave(lw, &entry);
    return condition != NULL;
}

static CarryFit lower_body(Lower *lw, While *w) {
    CarryFit fit = CARRY_BAD;
    w->loop.in_condition = false;
    w->loop.counter = w->blocks[1]->args[w->count];
    LoopEntry entry = loop_enter(lw, &w->loop, w->blocks[1]);
    bind_carries(lw, w, w->blocks[1]);
    int64_t errors = lw->n_errors;
    lower_stmts(lw, &w->stmt->as.while_.body);
    if (lw->n_errors == errors && !lw->limit_hit) {
        fit = carries_next(lw, w->carries, w->count);
    }
    if (fit == CARRY_FITS) {
        Value *one = b_constant(&lw->b, 1.0, type_scalar(DT_I32));
        w->next_count = b_add(&lw->b, w->loop.counter, one);
    }
    loop_leave(lw, &entry);
    return fit;
}

/* The op over the user's carries, the counter, and the state that the body stored. */
static Op *finish(Lower *lw, While *w) {
    drop_unwritten(&w->loop);
    int32_t n_own = w->count + 1, n_hidden = (int32_t)w->loop.hidden.count;
    int32_t n_all = n_own + n_hidden;
    Value **all = ARENA_ARRAY(lw->arena, Value *, n_all);
    Value **yields = ARENA_ARRAY(lw->arena, Value *, n_all);
    Value **args = ARENA_ARRAY(lw->arena, Value *, n_all);
    for (int32_t i = 0; i < n_own; i++) {
        all[i] = w->starts[i];
        yields[i] = i < w->count ? w->carries[i].next : w->next_count;
        args[i] = w->blocks[1]->args[i];
    }
    for (int32_t i = 0; i < n_hidden; i++) {
        const HiddenCarry *hidden = &w->loop.hidden.items[i];
        all[n_own + i] = hidden->init;
        yields[n_own + i] = hidden->use->value;
        args[n_own + i] = hidden->arg;
        block_add_arg(w->blocks[0], hidden->init->type, NULL);
    }
    set_args(lw, w->blocks[1], args, n_all);
    lower_at(lw, w->stmt->place);
    Op *op = b_while_begin(&lw->b, all, n_all, 0);
    for (int b = 0; b < 2 && op; b++) {
        op->blocks[b] = w->blocks[b];
        w->blocks[b]->owner = op;
    }
    Builder inside = builder_at_end(lw->fs->func, w->blocks[1]);
    inside.soft = true;
    inside.place = lw->b.place;
    inside.label = lw->b.label;
    b_yield(&inside, yields, n_all);
    b_op(&lw->b, op);
    if (op == NULL || lower_building_failed(lw, w->stmt->place)) {
        return NULL;
    }
    for (int32_t i = 0; i < n_hidden; i++) {
        w->loop.hidden.items[i].use->value = op->results[n_own + i];
    }
    return op;
}

/* One try; on CARRY_FITS the op is in place. */
static CarryFit attempt(Lower *lw, const AstStmt *stmt, Carry *carries, int32_t count, Op **out) {
    While w = {.stmt = stmt, .carries = carries, .count = count, .loop = {.is_while = true}};
    w.starts = ARENA_ARRAY(lw->arena, Value *, count + 1);
    if (!carry_values(lw, carries, count, w.starts)) {
        return CARRY_BAD;
    }
    lower_at(lw, stmt->place);
    w.starts[count] = lower_made(lw, b_constant(&lw->b, 0.0, type_scalar(DT_I32)), stmt->place);
    Op *draft = b_while_begin(&lw->b, w.starts, count + 1, 0);
    if (lower_building_failed(lw, stmt->place) || draft == NULL) {
        return CARRY_BAD;
    }
    w.blocks[0] = draft->blocks[0];
    w.blocks[1] = draft->blocks[1];
    if (!lower_condition(lw, &w)) {
        return CARRY_BAD;
    }
    CarryFit fit = lower_body(lw, &w);
    if (fit == CARRY_FITS) {
        *out = finish(lw, &w);
        fit = *out ? CARRY_FITS : CARRY_BAD;
    }
    return fit;
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
    if (!loop_may_nest(lw, stmt->place)) {
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        carries[i].name = exprs->items[i].name;
    }
    if (carry_start(lw, exprs, carries)) {
        for (int turn = 0; turn < 4; turn++) {
            PassMark mark = pass_mark(lw);
            CarryFit fit = attempt(lw, stmt, carries, count, &op);
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
