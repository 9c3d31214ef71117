/* Statements: binding, compile-time control, model results. Loops that stay loops are
 * scan.c's, parameters and state persist.c's. */
#include "frontend/elaborate/elaborate.h"

#include <string.h>

/* -- binding */

static void bind_error_all(Lower *lw, const AstNames *targets) {
    for (int32_t i = 0; i < targets->count; i++) {
        scope_bind(lw, targets->items[i].text, val_error(), targets->items[i].place);
    }
}

void lower_bind_targets(Lower *lw, const AstNames *targets, Val value, Place place) {
    if (targets->count == 1) {
        if (value.kind == VAL_TENSOR && value.as.tensor->name == NULL &&
            value.as.tensor->op != NULL) {
            value.as.tensor->name = targets->items[0].text;
        }
        scope_bind(lw, targets->items[0].text, value, targets->items[0].place);
        return;
    }
    if (val_is_error(value)) {
        bind_error_all(lw, targets);
        return;
    }
    int64_t count = 0;
    bool list = value.kind == VAL_TUPLE || value.kind == VAL_LIST;
    if (list) {
        count = value.as.list.count;
    } else if (value.kind == VAL_TENSOR && value.as.tensor->type.rank > 0) {
        const Size *n = value.as.tensor->type.dims[0];
        if (!size_is_const(n, &count) && lw->trial) { /* some calls know it */
            bind_error_all(lw, targets);
            return;
        }
        if (!size_is_const(n, &count)) {
            Diag *diag =
                LW_REPORT(lw, UNPACK_COUNT, place, (int)targets->count, size_text(lw->context, n));
            lower_help(lw, diag, "only an axis of known size comes apart");
            bind_error_all(lw, targets);
            return;
        }
    } else {
        LW_REPORT(lw, UNPACK_KIND, place, val_describe(lw, value));
        bind_error_all(lw, targets);
        return;
    }
    if (count != targets->count) {
        Diag *diag = LW_REPORT(lw, UNPACK_COUNT, place, (int)targets->count,
                               arena_format(lw->arena, "%lld", (long long)count));
        if (value.place.source) {
            lower_note(lw, diag, value.place, "%s comes from here", val_describe(lw, value));
        }
        bind_error_all(lw, targets);
        return;
    }
    for (int32_t i = 0; i < targets->count; i++) {
        Val item = lower_item(lw, value, i, place);
        scope_bind(lw, targets->items[i].text, item, targets->items[i].place);
    }
}

/* -- compile-time control */

static void forget(Lower *lw, AstName name, bool is_declared) {
    Binding *found = name.text ? scope_find(lw->scope, name.text, true) : NULL;
    if (name.text == NULL) {
        return;
    }
    if (found) {
        found->value = val_error();
        found->persist = NULL;
    } else if (is_declared) { /* what its path gives stays readable after its block */
        scope_define(lw, lw->frame->scope, name.text, val_error(), name.place);
    }
}

/* In a trial of a signature, where some calls come to these statements and others do not: what they
 * bind is not known, and whether they return. */
static void forget_bound(Lower *lw, const AstStmts *stmts) {
    lw->trial_partial = true;
    for (int32_t i = 0; i < stmts->count; i++) {
        const AstStmt *stmt = stmts->items[i];
        const AstNames *names = stmt->kind == AST_STMT_BIND   ? &stmt->as.bind.targets
                                : stmt->kind == AST_STMT_SCAN ? &stmt->as.scan.results
                                                              : NULL;
        const AstNamedExprs *carries = stmt->kind == AST_STMT_SCAN    ? &stmt->as.scan.carries
                                       : stmt->kind == AST_STMT_WHILE ? &stmt->as.while_.carries
                                                                      : NULL;
        for (int32_t k = 0; names && k < names->count; k++) {
            forget(lw, names->items[k], false);
        }
        for (int32_t k = 0; carries && k < carries->count; k++) {
            forget(lw, carries->items[k].name, false);
        }
        if (stmt->kind == AST_STMT_FOR) {
            forget_bound(lw, &stmt->as.for_.body);
        } else if (stmt->kind == AST_STMT_IF) {
            forget_bound(lw, &stmt->as.if_.then);
            forget_bound(lw, &stmt->as.if_.otherwise);
        } else if (stmt->kind == AST_STMT_PARAM || stmt->kind == AST_STMT_STATE ||
                   stmt->kind == AST_STMT_CACHE) {
            forget(lw, declared_name(stmt), true);
        } else if (stmt->kind == AST_STMT_RETURN || stmt->kind == AST_STMT_RETURN_OVER) {
            lw->frame->result = val_error();
            lw->frame->returned = true;
        }
    }
}

static void lower_block(Lower *lw, const AstStmts *stmts) {
    scope_push(lw, false);
    lower_stmts(lw, stmts);
    scope_pop(lw);
}

static void lower_for(Lower *lw, const AstStmt *stmt) {
    int64_t start = 0, stop = 0;
    const AstExpr *from = stmt->as.for_.start, *to = stmt->as.for_.stop;
    if (!need_int(lw, lower_expr(lw, from), "the start of a `for`", from->place, &start) ||
        !need_int(lw, lower_expr(lw, to), "the end of a `for`", to->place, &stop)) {
        if (lw->trial) {
            forget_bound(lw, &stmt->as.for_.body);
        }
        return;
    }
    for (int64_t i = start; i < stop && !lw->frame->returned; i++) {
        if (++lw->n_iterations > LOWER_MAX_ITERATIONS) {
            lower_limit(lw, stmt->place, "more than 100,000 unrolled iterations");
            return;
        }
        int64_t errors = lw->n_errors;
        scope_push(lw, false);
        AstName name = stmt->as.for_.name;
        scope_define(lw, lw->scope, name.text, val_int(i, name.place), name.place);
        lower_stmts(lw, &stmt->as.for_.body);
        scope_pop(lw);
        if (lw->n_errors > errors) { /* the other turns would say the same */
            if (lw->trial) {
                forget_bound(lw, &stmt->as.for_.body);
            }
            return;
        }
    }
}

static void lower_if(Lower *lw, const AstStmt *stmt) {
    const AstExpr *condition = stmt->as.if_.condition;
    Val value = lower_expr(lw, condition);
    if (lw->trial && value.kind != VAL_BOOL) {
        forget_bound(lw, &stmt->as.if_.then);
        forget_bound(lw, &stmt->as.if_.otherwise);
    }
    if (val_is_error(value) || val_stands_in(lw, value)) {
        return;
    }
    if (value.kind != VAL_BOOL) {
        Diag *diag = LW_REPORT(lw, CONDITION_KIND, condition->place, val_describe(lw, value));
        if (value.kind == VAL_TENSOR) {
            lower_help(lw, diag, "where(condition, a, b) chooses element by element");
        }
        return;
    }
    lower_block(lw, value.as.i ? &stmt->as.if_.then : &stmt->as.if_.otherwise);
}

static void lower_return(Lower *lw, const AstStmt *stmt) {
    Frame *frame = lw->frame;
    if (frame->is_model || frame->is_optimizer || (lw->fs && lw->fs->loop != frame->loop)) {
        LW_REPORT(lw, MISPLACED, stmt->place,
                  frame->is_model ? "a model has no `return`; it has outputs"
                                  : "`return` stands only in the body of a function");
        return;
    }
    frame->result = stmt->kind == AST_STMT_RETURN
                        ? lower_expr(lw, stmt->as.value)
                        : lower_quotient(lw, stmt->as.named.value, stmt->as.named.over);
    frame->result_place =
        (stmt->kind == AST_STMT_RETURN ? stmt->as.value : stmt->as.named.value)->place;
    frame->returned = true;
}

/* -- check, show */

/* Whether the condition is one comparison of sizes, and with what `left` it is a == right. */
static bool is_size_rule(Lower *lw, const AstExpr *expr, const Size **left, const Size **right) {
    Context *context = lw->context;
    const Size *a = lw->check.a, *b = lw->check.b, *one = size_const(context, 1);
    while (expr->kind == AST_PAREN) {
        expr = expr->as.inner;
    }
    bool single = expr->kind == AST_BINARY && expr->as.binary.op == lw->check.op;
    if (!single || lw->check.n_undecided != 1) {
        return false;
    }
    *left = a;
    switch (lw->check.op) {
    case AST_OP_EQ:
        *right = b;
        return true;
    case AST_OP_GE:
        *right = size_max(context, a, b);
        return true;
    case AST_OP_GT:
        *right = size_max(context, a, size_add(context, b, one));
        return true;
    case AST_OP_LE:
        *right = size_min(context, a, b);
        return true;
    case AST_OP_LT:
        *right = size_min(context, a, size_sub(context, b, one));
        return true;
    default:
        return false;
    }
}

/* A check in a layer of the library says which layer it is. */
static const char *check_text(Lower *lw, const AstStmt *stmt, const char *message) {
    const char *path = lw->frame ? lw->frame->path : NULL;
    bool library = stmt->place.source && stmt->place.source->is_library;
    return library && path && path[0] ? arena_format(lw->arena, "%s: %s", path, message) : message;
}

static void lower_check(Lower *lw, const AstStmt *stmt) {
    const AstExpr *expr = stmt->as.check.condition;
    lw->check.is_open = lw->fs != NULL;
    lw->check.n_undecided = 0;
    Val value = lower_expr(lw, expr);
    lw->check.is_open = false;
    const char *message = NULL;
    if (stmt->as.check.text) {
        Val text = lower_expr(lw, stmt->as.check.text);
        if (!need_string(lw, text, "the text of a check", stmt->as.check.text->place, &message)) {
            return;
        }
    } else {
        message = expr_source(lw, expr);
    }
    if (val_is_error(value)) {
        return;
    }
    message = check_text(lw, stmt, message);
    if (value.kind == VAL_BOOL) {
        if (!value.as.i) {
            LW_REPORT(lw, SHAPE_RULE, expr->place,
                      arena_format(lw->arena, "check failed: %s", message));
        }
        return;
    }
    bool is_bool = value.kind == VAL_TENSOR && value.as.tensor->type.dtype == DT_BOOL;
    if (!is_bool) {
        LW_REPORT(lw, WRONG_KIND, expr->place, "what a check tests", "a bool",
                  val_describe(lw, value));
        return;
    }
    lower_at(lw, stmt->place);
    const Size *left, *right;
    if (is_size_rule(lw, expr, &left, &right)) {
        b_size_check(&lw->b, left, right, message);
        lower_building_failed(lw, stmt->place);
        return;
    }
    Value *condition = value.as.tensor;
    int64_t axes[TYPE_MAX_RANK];
    for (int32_t i = 0; i < condition->type.rank; i++) {
        axes[i] = i;
    }
    if (condition->type.rank > 0) {
        condition =
            lower_made(lw, b_reduce(&lw->b, OP_reduce_min, condition, axes, condition->type.rank),
                       stmt->place);
    }
    if (condition) {
        b_check(&lw->b, condition, message);
        lower_building_failed(lw, stmt->place);
    }
}

static void show_one(Lower *lw, const AstExpr *expr) {
    Val value = lower_expr(lw, expr);
    Value *tensor = need_tensor(lw, value, "what `show` takes", expr->place);
    if (tensor == NULL) {
        return;
    }
    lower_at(lw, expr->place);
    b_show(&lw->b, tensor, expr_source(lw, expr));
    lower_building_failed(lw, expr->place);
}

static void lower_show(Lower *lw, const AstStmt *stmt) {
    if (stmt->as.value->kind != AST_TUPLE) {
        show_one(lw, stmt->as.value);
        return;
    }
    for (int32_t i = 0; i < stmt->as.value->as.list.count; i++) {
        show_one(lw, stmt->as.value->as.list.items[i]);
    }
}

static void lower_lone_expr(Lower *lw, const AstStmt *stmt) {
    int64_t effects = lw->n_effects;
    Val value = lower_expr(lw, stmt->as.value);
    if (val_is_error(value) || value.kind == VAL_NONE) {
        return;
    }
    const char *help = ast_goes_on(stmt->as.value);
    Diag *diag = lw->n_effects == effects ? LW_REPORT(lw, STATEMENT_LOST, stmt->place, "")
                                          : LW_REPORT(lw, VALUE_LOST, stmt->place, "");
    lower_help(lw, diag, "%s", help ? help : "bind it: x = …");
}

static bool has_effect(const AstStmt *stmt) {
    return stmt->kind == AST_STMT_STORE || stmt->kind == AST_STMT_PARAM ||
           stmt->kind == AST_STMT_STATE || stmt->kind == AST_STMT_CACHE ||
           stmt->kind == AST_STMT_CHECK || stmt->kind == AST_STMT_SHOW;
}

static void lower_stmt(Lower *lw, const AstStmt *stmt) {
    lw->n_effects += has_effect(stmt);
    switch (stmt->kind) {
    case AST_STMT_ERROR:
        return;
    case AST_STMT_BIND: {
        Val value = lower_expr(lw, stmt->as.bind.value);
        lower_bind_targets(lw, &stmt->as.bind.targets, value, stmt->place);
        return;
    }
    case AST_STMT_STORE:
        lower_store(lw, stmt);
        return;
    case AST_STMT_PARAM:
    case AST_STMT_STATE:
    case AST_STMT_CACHE:
        lower_declare(lw, stmt);
        return;
    case AST_STMT_FOR:
        lower_for(lw, stmt);
        return;
    case AST_STMT_IF:
        lower_if(lw, stmt);
        return;
    case AST_STMT_SCAN:
        lower_scan(lw, stmt);
        return;
    case AST_STMT_WHILE:
        lower_while(lw, stmt);
        return;
    case AST_STMT_RETURN:
    case AST_STMT_RETURN_OVER:
        lower_return(lw, stmt);
        return;
    case AST_STMT_YIELD:
        LW_REPORT(lw, MISPLACED, stmt->place, "`yield` stands only at the end of a `scan` body");
        return;
    case AST_STMT_OUTPUT:
        lower_output(lw, stmt);
        return;
    case AST_STMT_METRIC:
        lower_metric(lw, stmt);
        return;
    case AST_STMT_LOSS:
        lower_loss(lw, stmt);
        return;
    case AST_STMT_CHECK:
        lower_check(lw, stmt);
        return;
    case AST_STMT_SHOW:
        lower_show(lw, stmt);
        return;
    case AST_STMT_EXPR:
        lower_lone_expr(lw, stmt);
        return;
    }
}

void lower_stmts(Lower *lw, const AstStmts *stmts) {
    for (int32_t i = 0; i < stmts->count; i++) {
        if (!lower_may_nest(lw, stmts->items[i]->place)) {
            return;
        }
        if (lw->frame->returned) {
            AstStmtKind last = i > 0 ? stmts->items[i - 1]->kind : AST_STMT_EXPR;
            if (last == AST_STMT_RETURN || last == AST_STMT_RETURN_OVER) {
                Diag *diag = LW_REPORT(lw, RETURN_TWICE, stmts->items[i]->place, "");
                lower_note(lw, diag, stmts->items[i - 1]->place, "the `return`");
            }
            return;
        }
        lower_stmt(lw, stmts->items[i]);
    }
}
