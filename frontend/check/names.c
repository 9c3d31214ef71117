/* Names and calls in expressions, whether elaboration comes there or not. Where it does, it reports
 * the same at the same place, which is told once. */
#include "frontend/check/check.h"

#include <string.h>

bool check_goes_on(const Check *check) {
    const Context *context = check->el->context;
    return context->diags.n_errors < DIAG_MAX_ERRORS && !boundary_stack_low(context->boundary);
}

static const AstExpr *bare(const AstExpr *expr) {
    while (expr->kind == AST_PAREN) {
        expr = expr->as.inner;
    }
    return expr;
}

/* -- what functions give */

typedef struct FnFacts {
    bool returns;    /* some `return` stands in its body */
    int32_t results; /* every one gives a tuple of so many; -1: unknown */
} FnFacts;

bool check_stmts_return(const AstStmts *stmts) {
    bool found = false;
    for (int32_t i = 0; i < stmts->count && !found; i++) {
        const AstStmt *stmt = stmts->items[i];
        found = stmt->kind == AST_STMT_RETURN || stmt->kind == AST_STMT_RETURN_OVER ||
                (stmt->kind == AST_STMT_FOR && check_stmts_return(&stmt->as.for_.body)) ||
                (stmt->kind == AST_STMT_IF && (check_stmts_return(&stmt->as.if_.then) ||
                                               check_stmts_return(&stmt->as.if_.otherwise)));
    }
    return found;
}

/* Joins the counts of all results: 0 before the first, -1 once they differ. */
static int32_t join_results(const AstStmts *stmts, int32_t count) {
    for (int32_t i = 0; i < stmts->count && count >= 0; i++) {
        const AstStmt *stmt = stmts->items[i];
        if (stmt->kind == AST_STMT_FOR) {
            count = join_results(&stmt->as.for_.body, count);
        } else if (stmt->kind == AST_STMT_IF) {
            count = join_results(&stmt->as.if_.then, count);
            count = join_results(&stmt->as.if_.otherwise, count);
        } else if (stmt->kind == AST_STMT_RETURN_OVER) {
            count = -1;
        } else if (stmt->kind == AST_STMT_RETURN) {
            const AstExpr *value = bare(stmt->as.value);
            int32_t own = value->kind == AST_TUPLE ? value->as.list.count : -1;
            count = count == 0 || count == own ? own : -1;
        }
    }
    return count;
}

static const FnFacts *facts_of(Check *check, Fn *fn) {
    if (fn->facts == NULL) {
        const AstType *type = fn->decl->as.fn.result;
        FnFacts *facts = ARENA_NEW(check->el->arena, FnFacts);
        facts->returns = check_stmts_return(&fn->decl->as.fn.body);
        facts->results = type ? (type->kind == AST_TYPE_TUPLE ? type->types.count : -1)
                              : join_results(&fn->decl->as.fn.body, 0);
        fn->facts = facts;
    }
    return fn->facts;
}

/* -- callees */

/* The function that the name is certain to mean; NULL: it may be any, or it was reported. */
static Fn *callee_named(Check *check, const char *name, Place place) {
    Elaborator *el = check->el;
    const Binding *binding = scope_find(el->scope, name, false);
    if (binding && val_is_error(binding->value)) {
        return NULL;
    }
    Fn *fn = find_function(el, check->frame.env, name, place);
    if (fn) {
        return fn;
    }
    const Global *global = env_find(el, check->frame.env, NAMES_VALUE, name, place);
    if (binding || global) {
        Diag *diag = EL_REPORT(el, NOT_A_FUNCTION, place, name);
        elaborate_note(el, diag, binding ? binding->place : global->place, "'%s' is %s here", name,
                       binding ? "bound" : "declared");
        return NULL;
    }
    return elaborate_unknown_function(el, name, place);
}

static Fn *check_callee(Check *check, const AstExpr *callee) {
    callee = bare(callee);
    if (callee->kind == AST_NAME) {
        return callee_named(check, callee->as.name, callee->place);
    }
    check_expr(check, callee);
    return NULL;
}

/* -- labels */

void check_path(Check *check, const AstPath *path) {
    for (int32_t i = 0; i < path->count; i++) {
        check_expr(check, path->items[i].expr);
    }
}

static const char *first_part(Elaborator *el, const AstPath *path) {
    const AstPathPart *part = path->count > 0 ? &path->items[0] : NULL;
    return part == NULL                  ? NULL
           : part->kind == AST_PATH_NAME ? part->name
           : part->kind == AST_PATH_INT  ? arena_format(el->arena, "%lld", (long long)part->integer)
                                         : NULL;
}

static void note_label(Check *check, const AstLabel *label, const Fn *fn) {
    const char *root = label->kind == AST_LABEL_NONE ? (fn ? fn->name : NULL)
                                                     : first_part(check->el, &label->path);
    if (root) {
        map_set(&check->labels, root, check);
    } else {
        check->has_open_labels = true;
    }
    check_path(check, &label->path);
}

/* -- calls */

static void check_arguments(Check *check, const Fn *fn, const AstExpr *expr, Args *out) {
    Elaborator *el = check->el;
    const AstArgs *args = &expr->as.call.args;
    const AstExpr *piped = expr->as.call.piped;
    bool named = false;
    out->items = ARENA_ARRAY(el->arena, Arg, args->count + 1);
    if (piped) {
        check_expr(check, piped);
        out->items[out->count++] = (Arg){.value.kind = VAL_NONE, .place = piped->place};
    }
    for (int32_t i = 0; i < args->count; i++) {
        const AstArg *arg = &args->items[i];
        if (arg->name.text == NULL && named) {
            EL_REPORT(el, ARG_ORDER, arg->place, "");
        }
        named = named || arg->name.text != NULL;
        const AstParam *param = fn ? param_for(fn, out->count, arg->name.text) : NULL;
        bool wants_fn = param && param->type && param->type->kind == AST_TYPE_FN;
        /* What a function that is not known wants, a value or a function, is not known. */
        if (fn && fn->kind == FN_BUILTIN && out->count > 0 && builtin_takes_axes(fn->builtin)) {
            (void)mesh_argument(el, arg->value);
        } else if (wants_fn || (fn == NULL && bare(arg->value)->kind == AST_CALL)) {
            check_fn_argument(check, arg->value);
        } else {
            check_expr(check, arg->value);
        }
        out->items[out->count++] = (Arg){.name = arg->name.text,
                                         .value.kind = VAL_NONE,
                                         .place = arg->value->place,
                                         .name_place = arg->name.place};
    }
}

static void match_arguments(Check *check, const Fn *fn, Args args, Place place, bool partial) {
    if (fn && fn->kind == FN_DECL) {
        arguments_fit(check->el, fn->decl, args, place, partial);
    } else if (fn && fn->kind == FN_BUILTIN) {
        builtin_arguments_fit(check->el, fn->builtin, args, place, partial);
    }
}

static void check_call(Check *check, const AstExpr *expr) {
    Elaborator *el = check->el;
    Fn *fn = check_callee(check, expr->as.call.callee);
    Args args = {0};
    check_arguments(check, fn, expr, &args);
    match_arguments(check, fn, args, expr->place, false);
    note_label(check, &expr->as.call.label, fn);
    if (fn == NULL || fn->kind != FN_DECL) {
        return;
    }
    if (!facts_of(check, fn)->returns) {
        Diag *diag = EL_REPORT(el, NO_RESULT, expr->place, fn->name);
        elaborate_note(el, diag, fn->decl->place, "'%s' is declared here", fn->name);
        elaborate_help(el, diag, "end its body with `return …`");
    }
    if (check->fn && check->conditional == 0) {
        CallEdge edge = {.from = check->fn, .to = fn, .place = expr->place};
        VEC_PUSH(el->arena, check->edges, edge);
    }
}

/* A call where a function is wanted: others of its arguments come later. */
static void check_partial(Check *check, const AstExpr *expr) {
    Fn *fn = check_callee(check, expr->as.call.callee);
    Args args = {0};
    check_arguments(check, fn, expr, &args);
    match_arguments(check, fn, args, expr->place, true);
}

/* Both choices of `a if c else b`, each by `each`. */
static void check_choice(Check *check, const AstExpr *expr,
                         void (*each)(Check *, const AstExpr *)) {
    check_expr(check, expr->as.conditional.condition);
    check->conditional++;
    each(check, expr->as.conditional.then);
    each(check, expr->as.conditional.otherwise);
    check->conditional--;
}

void check_fn_argument(Check *check, const AstExpr *expr) {
    expr = bare(expr);
    if (expr->kind == AST_CONDITIONAL) {
        check_choice(check, expr, check_fn_argument);
    } else if (expr->kind == AST_CALL) {
        check_partial(check, expr);
    } else if (expr->kind == AST_NAME && !scope_find(check->el->scope, expr->as.name, false) &&
               strcmp(expr->as.name, "none") != 0) {
        callee_named(check, expr->as.name, expr->place);
    } else {
        check_expr(check, expr);
    }
}

void check_initial(Check *check, const AstExpr *expr) {
    expr = bare(expr);
    Elaborator *el = check->el;
    if (expr->kind == AST_CONDITIONAL) {
        check_choice(check, expr, check_initial);
        return;
    }
    bool plain_call = expr->kind == AST_CALL && expr->as.call.piped == NULL;
    const AstExpr *callee = plain_call ? bare(expr->as.call.callee) : NULL;
    if (callee && callee->kind == AST_NAME) {
        const Binding *binding = scope_find(el->scope, callee->as.name, false);
        bool open = binding && val_is_error(binding->value);
        Fn *fn = open ? NULL : find_function(el, check->frame.env, callee->as.name, callee->place);
        if (open || (fn && fn_takes(fn, "shape", true))) {
            check_partial(check, expr);
            return;
        }
    }
    check_expr(check, expr);
}

/* -- names and fields */

/* Whether a path that elaboration makes, "w_{i}", may be this name. */
static bool may_be_path(const Check *check, const char *name) {
    for (size_t i = 0; i < check->open_paths.count; i++) {
        const char *start = check->open_paths.items[i];
        if (strncmp(name, start, strlen(start)) == 0) {
            return true;
        }
    }
    return false;
}

static void check_name(Check *check, const AstExpr *expr) {
    Elaborator *el = check->el;
    const char *name = expr->as.name;
    if (scope_find(el->scope, name, false) || map_has(&check->declared, name) ||
        name_is_built_in(name) || may_be_path(check, name)) {
        return;
    }
    if (env_find(el, check->frame.env, NAMES_VALUE, name, expr->place) ||
        find_function(el, check->frame.env, name, expr->place)) {
        return;
    }
    /* `as shared`, `as _`: a body may read what another declares under its path. */
    if (!el->has_shares || !check_declared_elsewhere(check, name)) {
        elaborate_unknown_name(el, name, expr->place);
    }
}

/* The name that a path like `h[i].attn.weight` begins with; NULL: it is no path. Its indices are
 * checked. */
static const char *field_root(Check *check, const AstExpr *expr) {
    if (expr->kind == AST_NAME) {
        return expr->as.name;
    }
    if (expr->kind == AST_FIELD) {
        return field_root(check, expr->as.field.base);
    }
    if (expr->kind == AST_INDEX && expr->as.index.items.count == 1 &&
        expr->as.index.items.items[0].kind == AST_INDEX_AT) {
        check_expr(check, expr->as.index.items.items[0].start);
        return field_root(check, expr->as.index.base);
    }
    return NULL;
}

static void check_field(Check *check, const AstExpr *expr) {
    const AstExpr *base = expr->as.field.base;
    const char *root = field_root(check, base);
    bool is_item = expr->as.field.name == NULL; /* `.0`, of a tuple too */
    if (root == NULL && is_item) {
        check_expr(check, base);
    } else if (root && !(is_item && scope_find(check->el->scope, root, false))) {
        FieldUse use = {.expr = expr, .root = root};
        VEC_PUSH(check->el->arena, &check->fields, use);
    }
}

/* `linear_1`: a call without a label, of a function that was called before. */
static bool is_numbered(Check *check, const char *root) {
    const char *bar = strrchr(root, '_');
    if (bar == NULL || bar[1] == '\0' || bar[1 + strspn(bar + 1, "0123456789")] != '\0') {
        return false;
    }
    return map_has(&check->labels, arena_strndup(check->el->arena, root, (size_t)(bar - root)));
}

void check_fields(Check *check) {
    Elaborator *el = check->el;
    bool open = check->open_paths.count > 0 || check->has_open_labels || el->has_shares;
    for (size_t i = 0; i < check->fields.count && !open; i++) {
        FieldUse use = check->fields.items[i];
        if (map_has(&check->labels, use.root) || map_has(&check->declared, use.root) ||
            is_numbered(check, use.root)) {
            continue;
        }
        Diag *diag = EL_REPORT(el, FIELD_UNKNOWN, use.expr->place, expr_source(el, use.expr));
        /* Anything is near a shorter name. */
        const char *near = strlen(use.root) > 2 ? map_suggest(&check->labels, use.root) : NULL;
        if (near) {
            elaborate_help(el, diag, "did you mean '%s'?", near);
        } else {
            elaborate_help(el, diag, "`call as p` comes first; p.weight is then its parameter");
        }
    }
}

/* -- expressions */

static void check_all(Check *check, const AstExprs *exprs) {
    for (int32_t i = 0; i < exprs->count; i++) {
        check_expr(check, exprs->items[i]);
    }
}

static void check_terms(Check *check, const AstAxisTerms *terms) {
    for (int32_t i = 0; i < terms->count; i++) {
        check_expr(check, terms->items[i].size);
        check_terms(check, &terms->items[i].terms);
    }
}

static void check_axes(Check *check, const AstExpr *expr) {
    for (int32_t i = 0; i < expr->as.axis_fn.operands.count; i++) {
        check_terms(check, &expr->as.axis_fn.operands.items[i].terms);
    }
    check_terms(check, &expr->as.axis_fn.result.terms);
}

static void check_index(Check *check, const AstExpr *expr) {
    check_expr(check, expr->as.index.base);
    for (int32_t i = 0; i < expr->as.index.items.count; i++) {
        const AstIndexItem *item = &expr->as.index.items.items[i];
        check_expr(check, item->start);
        check_expr(check, item->stop);
        check_expr(check, item->step);
    }
}

static void check_binary(Check *check, const AstExpr *expr) {
    /* What the left of `and` and `or` decides leaves the right unread. */
    bool skips = expr->as.binary.op == AST_OP_AND || expr->as.binary.op == AST_OP_OR;
    check_expr(check, expr->as.binary.left);
    check->conditional += skips;
    check_expr(check, expr->as.binary.right);
    check->conditional -= skips;
}

void check_expr(Check *check, const AstExpr *expr) {
    if (expr == NULL || !check_goes_on(check)) {
        return;
    }
    switch (expr->kind) {
    case AST_ERROR:
    case AST_INT:
    case AST_FLOAT:
    case AST_BOOL:
        return;
    case AST_STRING:
        for (int32_t i = 0; i < expr->as.string.count; i++) {
            check_expr(check, expr->as.string.items[i].expr);
        }
        return;
    case AST_NAME:
        check_name(check, expr);
        return;
    case AST_LIST_EXPR:
    case AST_TUPLE:
        check_all(check, &expr->as.list);
        return;
    case AST_UNARY:
        check_expr(check, expr->as.unary.operand);
        return;
    case AST_BINARY:
        check_binary(check, expr);
        return;
    case AST_CONDITIONAL:
        check_choice(check, expr, check_expr);
        return;
    case AST_CALL:
        check_call(check, expr);
        return;
    case AST_INDEX:
        check_index(check, expr);
        return;
    case AST_FIELD:
        check_field(check, expr);
        return;
    case AST_AXIS_FN:
        check_axes(check, expr);
        return;
    case AST_PAREN:
        check_expr(check, expr->as.inner);
        return;
    }
}

int32_t check_result_count(Check *check, const AstExpr *expr) {
    expr = bare(expr);
    if (expr->kind == AST_TUPLE) {
        return expr->as.list.count;
    }
    const AstExpr *callee = expr->kind == AST_CALL ? bare(expr->as.call.callee) : NULL;
    if (callee == NULL || callee->kind != AST_NAME ||
        scope_find(check->el->scope, callee->as.name, false)) {
        return -1;
    }
    Fn *fn = find_function(check->el, check->frame.env, callee->as.name, callee->place);
    if (fn == NULL || fn->kind != FN_DECL || !facts_of(check, fn)->returns) {
        return -1;
    }
    return facts_of(check, fn)->results;
}

bool check_is_value(const AstExpr *expr) {
    expr = bare(expr);
    return expr->kind == AST_INT || expr->kind == AST_FLOAT || expr->kind == AST_STRING ||
           expr->kind == AST_BOOL || expr->kind == AST_UNARY || expr->kind == AST_BINARY ||
           expr->kind == AST_LIST_EXPR || expr->kind == AST_TUPLE;
}
