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

static void bind_carries(Elaborator *el, const While *w, const Block *block) {
    for (int32_t i = 0; i < w->count; i++) {
        AstName name = w->carries[i].name;
        scope_define(el, el->scope, name.text,
                     val_tensor(block->args[i], w->carries[i].weak, name.place), name.place);
    }
}

static bool elaborate_condition(Elaborator *el, While *w) {
    const AstExpr *expr = w->stmt->as.while_.condition;
    w->loop.in_condition = true;
    w->loop.counter = NULL;
    LoopEntry entry = loop_enter(el, &w->loop, w->blocks[0]);
    bind_carries(el, w, w->blocks[0]);
    Val value = elaborate_expr(el, expr);
    Value *condition = need_tensor(el, value, "the condition of a `while`", expr->place);
    if (condition && (condition->type.rank != 0 || condition->type.dtype != DT_BOOL)) {
        EL_REPORT(el, WRONG_KIND, expr->place, "the condition of a `while`", "a bool scalar",
                  val_describe(el, value));
        condition = NULL;
    }
    if (condition) {
        b_yield(&el->b, &condition, 1);
    }
    loop_leave(el, &entry);
    return condition != NULL;
}

static CarryFit elaborate_body(Elaborator *el, While *w) {
    CarryFit fit = CARRY_BAD;
    w->loop.in_condition = false;
    w->loop.counter = w->blocks[1]->args[w->count];
    LoopEntry entry = loop_enter(el, &w->loop, w->blocks[1]);
    bind_carries(el, w, w->blocks[1]);
    int64_t errors = el->n_errors;
    elaborate_stmts(el, &w->stmt->as.while_.body);
    if (el->n_errors == errors && !el->limit_hit) {
        fit = carries_next(el, w->carries, w->count);
    }
    if (fit == CARRY_FITS) {
        Value *one = b_constant(&el->b, 1.0, type_scalar(DT_I32));
        w->next_count = b_add(&el->b, w->loop.counter, one);
    }
    loop_leave(el, &entry);
    return fit;
}

/* The op over the user's carries, the counter, and the state that the body stored. */
static Op *finish(Elaborator *el, While *w) {
    drop_unwritten(&w->loop);
    int32_t n_own = w->count + 1, n_hidden = (int32_t)w->loop.hidden.count;
    int32_t n_all = n_own + n_hidden;
    Value **all = ARENA_ARRAY(el->arena, Value *, n_all);
    Value **yields = ARENA_ARRAY(el->arena, Value *, n_all);
    Value **args = ARENA_ARRAY(el->arena, Value *, n_all);
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
    set_args(el, w->blocks[1], args, n_all);
    elaborate_at(el, w->stmt->place);
    Op *op = b_while_begin(&el->b, all, n_all, 0);
    for (int b = 0; b < 2 && op; b++) {
        op->blocks[b] = w->blocks[b];
        w->blocks[b]->owner = op;
    }
    Builder inside = builder_at_end(el->fs->func, w->blocks[1]);
    inside.soft = true;
    inside.place = el->b.place;
    inside.label = el->b.label;
    b_yield(&inside, yields, n_all);
    b_op(&el->b, op);
    if (op == NULL || elaborate_building_failed(el, w->stmt->place)) {
        return NULL;
    }
    for (int32_t i = 0; i < n_hidden; i++) {
        w->loop.hidden.items[i].use->value = op->results[n_own + i];
    }
    return op;
}

/* One try; on CARRY_FITS the op is in place. */
static CarryFit attempt(Elaborator *el, const AstStmt *stmt, Carry *carries, int32_t count,
                        Op **out) {
    While w = {.stmt = stmt, .carries = carries, .count = count, .loop = {.is_while = true}};
    w.starts = ARENA_ARRAY(el->arena, Value *, count + 1);
    if (!carry_values(el, carries, count, w.starts)) {
        return CARRY_BAD;
    }
    elaborate_at(el, stmt->place);
    w.starts[count] = elaborate_made(el, b_constant(&el->b, 0.0, type_scalar(DT_I32)), stmt->place);
    Op *draft = b_while_begin(&el->b, w.starts, count + 1, 0);
    if (elaborate_building_failed(el, stmt->place) || draft == NULL) {
        return CARRY_BAD;
    }
    w.blocks[0] = draft->blocks[0];
    w.blocks[1] = draft->blocks[1];
    if (!elaborate_condition(el, &w)) {
        return CARRY_BAD;
    }
    CarryFit fit = elaborate_body(el, &w);
    if (fit == CARRY_FITS) {
        *out = finish(el, &w);
        fit = *out ? CARRY_FITS : CARRY_BAD;
    }
    return fit;
}

void elaborate_while(Elaborator *el, const AstStmt *stmt) {
    const AstNamedExprs *exprs = &stmt->as.while_.carries;
    int32_t count = exprs->count;
    Carry *carries = ARENA_ARRAY(el->arena, Carry, count + 1);
    Op *op = NULL;
    if (el->fs == NULL || el->init_path) {
        EL_REPORT(el, MISPLACED, stmt->place, "a while stands only in what a model calls");
        return;
    }
    if (!loop_may_nest(el, stmt->place)) {
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        carries[i].name = exprs->items[i].name;
    }
    if (carry_start(el, exprs, carries)) {
        for (int turn = 0; turn < 4; turn++) {
            PassMark mark = pass_mark(el);
            CarryFit fit = attempt(el, stmt, carries, count, &op);
            if (fit != CARRY_RETRY) {
                break;
            }
            pass_undo(el, &mark);
        }
    }
    for (int32_t i = 0; i < count; i++) {
        Val value =
            op ? val_tensor(op->results[i], carries[i].weak, carries[i].name.place) : val_error();
        scope_bind(el, carries[i].name.text, value, carries[i].name.place);
    }
}
