/* Statements: binding, compile-time control, model results. Loops that stay loops are
 * scan.c's, parameters and state persist.c's. */
#include "frontend/elaborate/elaborate.h"

#include <string.h>

/* -- binding */

static void bind_error_all(Elaborator *el, const AstNames *targets) {
    for (int32_t i = 0; i < targets->count; i++) {
        scope_bind(el, targets->items[i].text, val_error(), targets->items[i].place);
    }
}

void elaborate_bind_targets(Elaborator *el, const AstNames *targets, Val value, Place place) {
    if (targets->count == 1) {
        if (value.kind == VAL_TENSOR && value.as.tensor->name == NULL &&
            value.as.tensor->op != NULL) {
            value.as.tensor->name = targets->items[0].text;
        }
        scope_bind(el, targets->items[0].text, value, targets->items[0].place);
        return;
    }
    if (val_is_error(value)) {
        bind_error_all(el, targets);
        return;
    }
    int64_t count = 0;
    bool list = value.kind == VAL_TUPLE || value.kind == VAL_LIST;
    if (list) {
        count = value.as.list.count;
    } else if (value.kind == VAL_TENSOR && value.as.tensor->type.rank > 0) {
        const Size *n = value.as.tensor->type.dims[0];
        if (!size_is_const(n, &count) && el->trial) { /* some calls know it */
            bind_error_all(el, targets);
            return;
        }
        if (!size_is_const(n, &count)) {
            Diag *diag =
                EL_REPORT(el, UNPACK_COUNT, place, (int)targets->count, size_text(el->context, n));
            elaborate_help(el, diag, "only an axis of known size comes apart");
            bind_error_all(el, targets);
            return;
        }
    } else {
        EL_REPORT(el, UNPACK_KIND, place, val_describe(el, value));
        bind_error_all(el, targets);
        return;
    }
    if (count != targets->count) {
        Diag *diag = EL_REPORT(el, UNPACK_COUNT, place, (int)targets->count,
                               arena_format(el->arena, "%lld", (long long)count));
        if (value.place.source) {
            elaborate_note(el, diag, value.place, "%s comes from here", val_describe(el, value));
        }
        bind_error_all(el, targets);
        return;
    }
    for (int32_t i = 0; i < targets->count; i++) {
        Val item = elaborate_item(el, value, i, place);
        scope_bind(el, targets->items[i].text, item, targets->items[i].place);
    }
}

/* -- compile-time control */

static void forget(Elaborator *el, AstName name, bool is_declared) {
    Binding *found = name.text ? scope_find(el->scope, name.text, true) : NULL;
    if (name.text == NULL) {
        return;
    }
    if (found) {
        found->value = val_error();
        found->persist = NULL;
    } else if (is_declared) { /* what its path gives stays readable after its block */
        scope_define(el, el->frame->scope, name.text, val_error(), name.place);
    }
}

/* In a trial of a signature, where some calls come to these statements and others do not: what they
 * bind is not known, and whether they return. */
static void forget_bound(Elaborator *el, const AstStmts *stmts) {
    el->trial_partial = true;
    for (int32_t i = 0; i < stmts->count; i++) {
        const AstStmt *stmt = stmts->items[i];
        const AstNames *names = stmt->kind == AST_STMT_BIND   ? &stmt->as.bind.targets
                                : stmt->kind == AST_STMT_SCAN ? &stmt->as.scan.results
                                                              : NULL;
        const AstNamedExprs *carries = stmt->kind == AST_STMT_SCAN    ? &stmt->as.scan.carries
                                       : stmt->kind == AST_STMT_WHILE ? &stmt->as.while_.carries
                                                                      : NULL;
        for (int32_t k = 0; names && k < names->count; k++) {
            forget(el, names->items[k], false);
        }
        for (int32_t k = 0; carries && k < carries->count; k++) {
            forget(el, carries->items[k].name, false);
        }
        if (stmt->kind == AST_STMT_FOR) {
            forget_bound(el, &stmt->as.for_.body);
        } else if (stmt->kind == AST_STMT_IF) {
            forget_bound(el, &stmt->as.if_.then);
            forget_bound(el, &stmt->as.if_.otherwise);
        } else if (stmt->kind == AST_STMT_PARAM || stmt->kind == AST_STMT_STATE ||
                   stmt->kind == AST_STMT_CACHE) {
            forget(el, declared_name(stmt), true);
        } else if (stmt->kind == AST_STMT_RETURN || stmt->kind == AST_STMT_RETURN_OVER) {
            el->frame->result = val_error();
            el->frame->returned = true;
        }
    }
}

static void elaborate_block(Elaborator *el, const AstStmts *stmts) {
    scope_push(el, false);
    elaborate_stmts(el, stmts);
    scope_pop(el);
}

static void elaborate_for(Elaborator *el, const AstStmt *stmt) {
    int64_t start = 0, stop = 0;
    const AstExpr *from = stmt->as.for_.start, *to = stmt->as.for_.stop;
    if (!need_int(el, elaborate_expr(el, from), "the start of a `for`", from->place, &start) ||
        !need_int(el, elaborate_expr(el, to), "the end of a `for`", to->place, &stop)) {
        if (el->trial) {
            forget_bound(el, &stmt->as.for_.body);
        }
        return;
    }
    for (int64_t i = start; i < stop && !el->frame->returned; i++) {
        if (++el->n_iterations > ELABORATE_MAX_ITERATIONS) {
            elaborate_limit(el, stmt->place, "more than 100,000 unrolled iterations");
            return;
        }
        int64_t errors = el->n_errors;
        scope_push(el, false);
        AstName name = stmt->as.for_.name;
        scope_define(el, el->scope, name.text, val_int(i, name.place), name.place);
        elaborate_stmts(el, &stmt->as.for_.body);
        scope_pop(el);
        if (el->n_errors > errors) { /* the other turns would say the same */
            if (el->trial) {
                forget_bound(el, &stmt->as.for_.body);
            }
            return;
        }
    }
}

static void elaborate_if(Elaborator *el, const AstStmt *stmt) {
    const AstExpr *condition = stmt->as.if_.condition;
    Val value = elaborate_expr(el, condition);
    if (el->trial && value.kind != VAL_BOOL) {
        forget_bound(el, &stmt->as.if_.then);
        forget_bound(el, &stmt->as.if_.otherwise);
    }
    if (val_is_error(value) || val_stands_in(el, value)) {
        return;
    }
    if (value.kind != VAL_BOOL) {
        Diag *diag = EL_REPORT(el, CONDITION_KIND, condition->place, val_describe(el, value));
        if (value.kind == VAL_TENSOR) {
            elaborate_help(el, diag, "where(condition, a, b) chooses element by element");
        }
        return;
    }
    elaborate_block(el, value.as.i ? &stmt->as.if_.then : &stmt->as.if_.otherwise);
}

static void elaborate_return(Elaborator *el, const AstStmt *stmt) {
    Frame *frame = el->frame;
    if (frame->is_model || frame->is_optimizer || (el->fs && el->fs->loop != frame->loop)) {
        EL_REPORT(el, MISPLACED, stmt->place,
                  frame->is_model ? "a model has no `return`; it has outputs"
                                  : "`return` stands only in the body of a function");
        return;
    }
    frame->result = stmt->kind == AST_STMT_RETURN
                        ? elaborate_expr(el, stmt->as.value)
                        : elaborate_quotient(el, stmt->as.named.value, stmt->as.named.over);
    frame->result_place =
        (stmt->kind == AST_STMT_RETURN ? stmt->as.value : stmt->as.named.value)->place;
    frame->returned = true;
}

/* -- check, show */

/* Whether the condition is one comparison of sizes, and with what `left` it is a == right. */
static bool is_size_rule(Elaborator *el, const AstExpr *expr, const Size **left,
                         const Size **right) {
    Context *context = el->context;
    const Size *a = el->check.a, *b = el->check.b, *one = size_const(context, 1);
    while (expr->kind == AST_PAREN) {
        expr = expr->as.inner;
    }
    bool single = expr->kind == AST_BINARY && expr->as.binary.op == el->check.op;
    if (!single || el->check.n_undecided != 1) {
        return false;
    }
    *left = a;
    switch (el->check.op) {
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
static const char *text_of_check(Elaborator *el, const AstStmt *stmt, const char *message) {
    const char *path = el->frame ? el->frame->path : NULL;
    bool library = stmt->place.source && stmt->place.source->is_library;
    return library && path && path[0] ? arena_format(el->arena, "%s: %s", path, message) : message;
}

static void elaborate_check(Elaborator *el, const AstStmt *stmt) {
    const AstExpr *expr = stmt->as.check.condition;
    el->check.is_open = el->fs != NULL;
    el->check.n_undecided = 0;
    Val value = elaborate_expr(el, expr);
    el->check.is_open = false;
    const char *message = NULL;
    if (stmt->as.check.text) {
        Val text = elaborate_expr(el, stmt->as.check.text);
        if (!need_string(el, text, "the text of a check", stmt->as.check.text->place, &message)) {
            return;
        }
    } else {
        message = expr_source(el, expr);
    }
    if (val_is_error(value)) {
        return;
    }
    message = text_of_check(el, stmt, message);
    if (value.kind == VAL_BOOL) {
        if (!value.as.i) {
            EL_REPORT(el, SHAPE_RULE, expr->place,
                      arena_format(el->arena, "check failed: %s", message));
        }
        return;
    }
    bool is_bool = value.kind == VAL_TENSOR && value.as.tensor->type.dtype == DT_BOOL;
    if (!is_bool) {
        EL_REPORT(el, WRONG_KIND, expr->place, "what a check tests", "a bool",
                  val_describe(el, value));
        return;
    }
    elaborate_at(el, stmt->place);
    const Size *left, *right;
    if (is_size_rule(el, expr, &left, &right)) {
        b_size_check(&el->b, left, right, message);
        elaborate_building_failed(el, stmt->place);
        return;
    }
    Value *condition = value.as.tensor;
    int64_t axes[TYPE_MAX_RANK];
    for (int32_t i = 0; i < condition->type.rank; i++) {
        axes[i] = i;
    }
    if (condition->type.rank > 0) {
        condition = elaborate_made(
            el, b_reduce(&el->b, OP_reduce_min, condition, axes, condition->type.rank),
            stmt->place);
    }
    if (condition) {
        b_check(&el->b, condition, message);
        elaborate_building_failed(el, stmt->place);
    }
}

static void show_one(Elaborator *el, const AstExpr *expr) {
    Val value = elaborate_expr(el, expr);
    Value *tensor = need_tensor(el, value, "what `show` takes", expr->place);
    if (tensor == NULL) {
        return;
    }
    elaborate_at(el, expr->place);
    b_show(&el->b, tensor, expr_source(el, expr));
    elaborate_building_failed(el, expr->place);
}

static void elaborate_show(Elaborator *el, const AstStmt *stmt) {
    if (stmt->as.value->kind != AST_TUPLE) {
        show_one(el, stmt->as.value);
        return;
    }
    for (int32_t i = 0; i < stmt->as.value->as.list.count; i++) {
        show_one(el, stmt->as.value->as.list.items[i]);
    }
}

static void elaborate_lone_expr(Elaborator *el, const AstStmt *stmt) {
    int64_t effects = el->n_effects;
    Val value = elaborate_expr(el, stmt->as.value);
    if (val_is_error(value) || value.kind == VAL_NONE) {
        return;
    }
    const char *help = ast_goes_on(stmt->as.value);
    Diag *diag = el->n_effects == effects ? EL_REPORT(el, STATEMENT_LOST, stmt->place, "")
                                          : EL_REPORT(el, VALUE_LOST, stmt->place, "");
    elaborate_help(el, diag, "%s", help ? help : "bind it: x = …");
}

static bool has_effect(const AstStmt *stmt) {
    return stmt->kind == AST_STMT_STORE || stmt->kind == AST_STMT_PARAM ||
           stmt->kind == AST_STMT_STATE || stmt->kind == AST_STMT_CACHE ||
           stmt->kind == AST_STMT_CHECK || stmt->kind == AST_STMT_SHOW;
}

static void elaborate_stmt(Elaborator *el, const AstStmt *stmt) {
    el->n_effects += has_effect(stmt);
    switch (stmt->kind) {
    case AST_STMT_ERROR:
        return;
    case AST_STMT_BIND: {
        Val value = elaborate_expr(el, stmt->as.bind.value);
        elaborate_bind_targets(el, &stmt->as.bind.targets, value, stmt->place);
        return;
    }
    case AST_STMT_STORE:
        elaborate_store(el, stmt);
        return;
    case AST_STMT_PARAM:
    case AST_STMT_STATE:
    case AST_STMT_CACHE:
        elaborate_declare(el, stmt);
        return;
    case AST_STMT_FOR:
        elaborate_for(el, stmt);
        return;
    case AST_STMT_IF:
        elaborate_if(el, stmt);
        return;
    case AST_STMT_SCAN:
        elaborate_scan(el, stmt);
        return;
    case AST_STMT_WHILE:
        elaborate_while(el, stmt);
        return;
    case AST_STMT_RETURN:
    case AST_STMT_RETURN_OVER:
        elaborate_return(el, stmt);
        return;
    case AST_STMT_YIELD:
        EL_REPORT(el, MISPLACED, stmt->place, "`yield` stands only at the end of a `scan` body");
        return;
    case AST_STMT_OUTPUT:
        elaborate_output(el, stmt);
        return;
    case AST_STMT_METRIC:
        elaborate_metric(el, stmt);
        return;
    case AST_STMT_LOSS:
        elaborate_loss(el, stmt);
        return;
    case AST_STMT_CHECK:
        elaborate_check(el, stmt);
        return;
    case AST_STMT_SHOW:
        elaborate_show(el, stmt);
        return;
    case AST_STMT_EXPR:
        elaborate_lone_expr(el, stmt);
        return;
    }
}

void elaborate_stmts(Elaborator *el, const AstStmts *stmts) {
    for (int32_t i = 0; i < stmts->count; i++) {
        if (!elaborate_may_nest(el, stmts->items[i]->place)) {
            return;
        }
        if (el->frame->returned) {
            AstStmtKind last = i > 0 ? stmts->items[i - 1]->kind : AST_STMT_EXPR;
            if (last == AST_STMT_RETURN || last == AST_STMT_RETURN_OVER) {
                Diag *diag = EL_REPORT(el, RETURN_TWICE, stmts->items[i]->place, "");
                elaborate_note(el, diag, stmts->items[i - 1]->place, "the `return`");
            }
            return;
        }
        elaborate_stmt(el, stmts->items[i]);
    }
}
