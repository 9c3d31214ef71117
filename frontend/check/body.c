/* Bodies, whether a call elaborates them or not: statements and declarations. What is told here is
 * what elaboration would tell of every call, at the same place. */
#include "frontend/check/check.h"

#include <string.h>

/* -- types */

static void check_sizes(Check *check, const AstType *type, const char *rest_rule) {
    for (int32_t i = 0; i < type->sizes.count; i++) {
        const AstSize *size = &type->sizes.items[i];
        if (size->is_rest && rest_rule && (i > 0 || rest_rule[0] == '!')) {
            EL_REPORT(check->el, MISPLACED, size->place, rest_rule + (rest_rule[0] == '!'));
        } else if (!size->is_rest) {
            check_expr(check, size->expr);
        }
    }
}

/* Of a parameter or a result. */
static void check_element(Check *check, const AstType *type) {
    static const char *const plain[] = {"int", "float", "bool", "str", "any"};
    for (size_t i = 0; type->kind == AST_TYPE_BARE && i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (strcmp(plain[i], type->element) == 0) {
            return;
        }
    }
    if (type->kind == AST_TYPE_BARE || type->kind == AST_TYPE_TENSOR) {
        type_element_known(check->el, type);
    }
}

static void check_result_type(Check *check, const AstType *type) {
    if (type == NULL) {
        return;
    }
    check_element(check, type);
    check_sizes(check, type, NULL);
    for (int32_t i = 0; i < type->types.count; i++) {
        check_element(check, type->types.items[i]);
        check_sizes(check, type->types.items[i], NULL);
    }
}

/* -- statements */

static void define(Check *check, AstName name, bool is_value) {
    Val value = is_value ? (Val){.kind = VAL_NONE} : val_error();
    scope_define(check->el, check->el->scope, name.text, value, name.place);
}

static void bind(Check *check, AstName name, bool is_value) {
    scope_bind(check->el, name.text, is_value ? (Val){.kind = VAL_NONE} : val_error(), name.place);
}

static void check_stmts(Check *check, const AstStmts *stmts);

static void check_block(Check *check, const AstStmts *stmts) {
    check->conditional++;
    scope_push(check->el, false);
    check_stmts(check, stmts);
    scope_pop(check->el);
    check->conditional--;
    check->conditional += check_stmts_return(stmts); /* what follows is not always reached */
}

static void check_bind(Check *check, const AstStmt *stmt) {
    const AstNames *targets = &stmt->as.bind.targets;
    const AstExpr *value = stmt->as.bind.value;
    check_expr(check, value);
    int32_t count = targets->count > 1 ? check_result_count(check, value) : -1;
    if (count >= 0 && count != targets->count) {
        EL_REPORT(check->el, UNPACK_COUNT, stmt->place, (int)targets->count,
                  arena_format(check->el->arena, "%d", (int)count));
    }
    for (int32_t i = 0; i < targets->count; i++) {
        bind(check, targets->items[i], targets->count == 1 && check_is_value(value));
    }
}

static void store_unknown(Check *check, const AstStmt *stmt, const char *name) {
    Elaborator *el = check->el;
    const Binding *binding = scope_find(el->scope, name, false);
    Diag *diag = EL_REPORT(el, STORE_UNKNOWN, stmt->place, name);
    if (binding) {
        elaborate_note(el, diag, binding->place, "'%s' is an ordinary name, bound here", name);
        elaborate_help(el, diag, "`%s = …` binds a name; `state %s: [..] = …` declares state", name,
                       name);
        return;
    }
    const char *near = map_suggest(&check->declared, name);
    if (near) {
        elaborate_help(el, diag, "did you mean '%s'?", near);
    } else {
        elaborate_help(el, diag, "declare it: state %s: [..] = zeros", name);
    }
}

/* `param w as "w_{i}"` is stored into by the name that it has here. */
static bool is_alias(const Check *check, const char *name) {
    const Binding *binding = scope_find(check->el->scope, name, false);
    return binding && binding->value.kind == VAL_NONE && binding->value.as.text == name;
}

static void check_store(Check *check, const AstStmt *stmt) {
    Elaborator *el = check->el;
    bool whole = false;
    check_path(check, &stmt->as.store.target);
    check_expr(check, stmt->as.store.value);
    const char *name = check_path_text(el, &stmt->as.store.target, &whole);
    bool updates = check->kind == AST_DECL_OPTIMIZER && strcmp(name, "param") == 0;
    if (!whole || updates || check->open_paths.count > 0) {
        return;
    }
    const AstStmt *declared = map_get(&check->declared, name);
    bool elsewhere = el->has_shares && check_declared_elsewhere(check, name);
    if (declared == NULL && !elsewhere && !is_alias(check, name)) {
        store_unknown(check, stmt, name);
    }
}

static void check_declare(Check *check, const AstStmt *stmt) {
    Elaborator *el = check->el;
    const AstType *type = stmt->as.declare.type;
    bool whole = false;
    const char *name = check_path_text(el, &stmt->as.declare.path, &whole);
    check_path(check, &stmt->as.declare.path);
    if (check->kind == AST_DECL_OPTIMIZER && stmt->kind != AST_STMT_STATE) {
        EL_REPORT(el, MISPLACED, stmt->place, "an optimizer declares only `state`");
    } else if (type == NULL && check->kind != AST_DECL_OPTIMIZER) {
        EL_REPORT(el, PARAM_TYPE, stmt->place, name);
    } else if (type && type->kind != AST_TYPE_TENSOR) {
        EL_REPORT(el, PARAM_TYPE, type->place, name);
    } else if (type && type_element_known(el, type)) {
        check_sizes(check, type, "!`...` stands only in a function's parameters");
    }
    if (stmt->as.declare.init) {
        check_initial(check, stmt->as.declare.init);
    } else if (whole && check->fn) { /* a path of its own, under which nothing else makes it */
        Diag *diag = EL_REPORT(el, PARAM_INIT, stmt->place, name);
        elaborate_help(el, diag, "e.g. = zeros, or = normal(0, 0.02)");
    }
    AstName local = declared_name(stmt);
    if (local.text) {
        Val value = {.kind = VAL_NONE, .as.text = local.text}; /* is_alias */
        scope_bind(el, local.text, value, local.place);
    }
}

static void check_yield(Check *check, const AstStmt *scan, const AstStmt *last) {
    const AstNames *results = &scan->as.scan.results;
    bool tuple = last && last->as.value->kind == AST_TUPLE;
    int32_t count = tuple ? last->as.value->as.list.count : last != NULL;
    if (last) {
        check_expr(check, last->as.value);
    }
    if (count == results->count) {
        return;
    }
    Elaborator *el = check->el;
    Diag *diag =
        EL_REPORT(el, YIELD_MISSING, last ? last->place : scan->place,
                  arena_format(el->arena, "the scan yields %d values, but %d are named after `->`",
                               (int)count, (int)results->count));
    if (results->count > 0) {
        elaborate_note(el, diag, results->items[0].place, "named here");
    } else {
        elaborate_help(el, diag, "write `} -> y` after the body");
    }
}

static void check_scan(Check *check, const AstStmt *stmt) {
    const AstScanInputs *inputs = &stmt->as.scan.inputs;
    const AstNamedExprs *carries = &stmt->as.scan.carries;
    const AstNames *results = &stmt->as.scan.results;
    check_expr(check, stmt->as.scan.along);
    for (int32_t i = 0; i < inputs->count; i++) {
        check_expr(check, inputs->items[i].source);
    }
    for (int32_t i = 0; i < carries->count; i++) {
        check_expr(check, carries->items[i].value);
    }
    scope_push(check->el, true);
    for (int32_t i = 0; i < carries->count; i++) {
        define(check, carries->items[i].name, true);
    }
    for (int32_t i = 0; i < inputs->count; i++) {
        define(check, inputs->items[i].name, true);
    }
    AstStmts rest = stmt->as.scan.body;
    const AstStmt *last = rest.count > 0 ? rest.items[rest.count - 1] : NULL;
    last = last && last->kind == AST_STMT_YIELD ? last : NULL;
    rest.count -= last != NULL;
    check->loops++;
    check_stmts(check, &rest);
    check_yield(check, stmt, last);
    check->loops--;
    scope_pop(check->el);
    for (int32_t i = 0; i < carries->count; i++) {
        bind(check, carries->items[i].name, true);
    }
    for (int32_t i = 0; i < results->count; i++) {
        bind(check, results->items[i], true);
    }
}

static void check_while(Check *check, const AstStmt *stmt) {
    const AstNamedExprs *carries = &stmt->as.while_.carries;
    for (int32_t i = 0; i < carries->count; i++) {
        check_expr(check, carries->items[i].value);
    }
    scope_push(check->el, true);
    for (int32_t i = 0; i < carries->count; i++) {
        define(check, carries->items[i].name, true);
    }
    check->loops++;
    check_expr(check, stmt->as.while_.condition);
    check_stmts(check, &stmt->as.while_.body);
    check->loops--;
    scope_pop(check->el);
    for (int32_t i = 0; i < carries->count; i++) {
        bind(check, carries->items[i].name, true);
    }
}

static void check_for(Check *check, const AstStmt *stmt) {
    check_expr(check, stmt->as.for_.start);
    check_expr(check, stmt->as.for_.stop);
    scope_push(check->el, false);
    define(check, stmt->as.for_.name, true);
    check_block(check, &stmt->as.for_.body);
    scope_pop(check->el);
}

static void misplaced(Check *check, const AstStmt *stmt, const char *text) {
    EL_REPORT(check->el, MISPLACED, stmt->place, text);
}

static void check_given(Check *check, const AstStmt *stmt, const char *word) {
    if ((check->kind != AST_DECL_MODEL && check->kind != AST_DECL_ENTRY) || check->loops > 0) {
        misplaced(check, stmt,
                  arena_format(check->el->arena, "`%s` stands only in a model or an entry", word));
        return;
    }
    check_expr(check, stmt->as.named.value);
    check_expr(check, stmt->as.named.over);
}

static void check_return(Check *check, const AstStmt *stmt) {
    bool in_model = check->kind == AST_DECL_MODEL || check->kind == AST_DECL_ENTRY;
    if (check->kind != AST_DECL_FN || check->loops > 0) {
        misplaced(check, stmt,
                  in_model ? "a model has no `return`; it has outputs"
                           : "`return` stands only in the body of a function");
    } else if (stmt->kind == AST_STMT_RETURN) {
        check_expr(check, stmt->as.value);
    } else {
        check_expr(check, stmt->as.named.value);
        check_expr(check, stmt->as.named.over);
    }
}

static void check_stmt(Check *check, const AstStmt *stmt) {
    switch (stmt->kind) {
    case AST_STMT_ERROR:
        return;
    case AST_STMT_BIND:
        check_bind(check, stmt);
        return;
    case AST_STMT_STORE:
        check_store(check, stmt);
        return;
    case AST_STMT_PARAM:
    case AST_STMT_STATE:
    case AST_STMT_CACHE:
        check_declare(check, stmt);
        return;
    case AST_STMT_FOR:
        check_for(check, stmt);
        return;
    case AST_STMT_IF:
        check_expr(check, stmt->as.if_.condition);
        check_block(check, &stmt->as.if_.then);
        check_block(check, &stmt->as.if_.otherwise);
        return;
    case AST_STMT_SCAN:
        check_scan(check, stmt);
        return;
    case AST_STMT_WHILE:
        check_while(check, stmt);
        return;
    case AST_STMT_RETURN:
    case AST_STMT_RETURN_OVER:
        check_return(check, stmt);
        return;
    case AST_STMT_YIELD:
        misplaced(check, stmt, "`yield` stands only at the end of a `scan` body");
        return;
    case AST_STMT_OUTPUT:
        check_given(check, stmt, "output");
        return;
    case AST_STMT_METRIC:
        check_given(check, stmt, "metric");
        return;
    case AST_STMT_LOSS:
        check_given(check, stmt, "loss");
        return;
    case AST_STMT_CHECK:
        check_expr(check, stmt->as.check.condition);
        check_expr(check, stmt->as.check.text);
        return;
    case AST_STMT_SHOW:
    case AST_STMT_EXPR:
        check_expr(check, stmt->as.value);
        return;
    }
}

static void check_stmts(Check *check, const AstStmts *stmts) {
    for (int32_t i = 0; i < stmts->count && check_goes_on(check); i++) {
        const AstStmt *before = i > 0 ? stmts->items[i - 1] : NULL;
        if (before && (before->kind == AST_STMT_RETURN || before->kind == AST_STMT_RETURN_OVER)) {
            Diag *diag = EL_REPORT(check->el, RETURN_TWICE, stmts->items[i]->place, "");
            elaborate_note(check->el, diag, before->place, "the `return`");
            return;
        }
        check_stmt(check, stmts->items[i]);
    }
}

/* -- declarations */

static bool is_param(const AstParams *params, const char *name) {
    bool found = false;
    for (int32_t i = 0; i < params->count && !found; i++) {
        found = params->items[i].name.text == name;
    }
    return found;
}

/* Binds what stands bare in a parameter's type, as bind_typed does. */
static void bind_dims(Check *check, const AstParams *params, const AstType *type) {
    Elaborator *el = check->el;
    for (int32_t i = 0; i < type->sizes.count; i++) {
        const AstSize *size = &type->sizes.items[i];
        const char *name = size->expr && size->expr->kind == AST_NAME ? size->expr->as.name : NULL;
        if (name == NULL || is_param(params, name) || scope_find(el->scope, name, true)) {
            continue;
        }
        const Global *global = env_find(el, check->frame.env, NAMES_VALUE, name, size->place);
        if (global == NULL || global->kind != GLOBAL_CONST) {
            define(check, (AstName){name, size->place}, true);
        }
    }
}

static void check_params(Check *check, const AstParams *params) {
    for (int32_t i = 0; i < params->count; i++) {
        const AstParam *param = &params->items[i];
        const AstType *type = param->type;
        bool is_fn = type && type->kind == AST_TYPE_FN;
        if (param->fallback && is_fn) {
            check_fn_argument(check, param->fallback);
        } else {
            check_expr(check, param->fallback);
        }
        if (type && type->kind == AST_TYPE_TUPLE) {
            EL_REPORT(check->el, MISPLACED, type->place,
                      "a tuple type stands only as a result type");
        } else if (type) {
            check_element(check, type);
            bind_dims(check, params, type);
        }
        bool is_bare_any = type && type->kind == AST_TYPE_BARE && strcmp(type->element, "any") == 0;
        define(check, param->name, type && !is_fn && !is_bare_any);
    }
    for (int32_t i = 0; i < params->count; i++) {
        const AstType *type = params->items[i].type;
        if (type && type->kind == AST_TYPE_TENSOR) {
            check_sizes(check, type, "`...` stands first in a type");
        }
    }
}

static void check_decl(Check *check, const AstDecl *decl, Env *env) {
    Elaborator *el = check->el;
    check->frame = (Frame){.env = env, .fn_name = decl->name.text, .path = ""};
    map_init(&check->declared, el->arena);
    map_init(&check->labels, el->arena);
    check->kind = decl->kind;
    el->frame = &check->frame;
    el->scope = NULL;
    scope_push(el, true);
    check_note_declared(check, &decl->as.fn.body);
    if (decl->kind == AST_DECL_FN || decl->kind == AST_DECL_OPTIMIZER) {
        check_params(check, &decl->as.fn.params);
    } else { /* the types of a model's inputs are read when it is made */
        for (int32_t i = 0; i < decl->as.fn.params.count; i++) {
            define(check, decl->as.fn.params.items[i].name, true);
        }
    }
    if (decl->kind == AST_DECL_OPTIMIZER) {
        define(check, (AstName){context_intern(el->context, "param"), decl->place}, true);
        define(check, (AstName){context_intern(el->context, "grad"), decl->place}, true);
    }
    check_stmts(check, &decl->as.fn.body);
    if (check_stmts_return(&decl->as.fn.body)) {
        check_result_type(check, decl->as.fn.result);
    }
    check_fields(check);
    elaborate_diag_close(el); /* its frame is about to go */
    el->frame = NULL;
    el->scope = NULL;
}

static void check_global(Elaborator *el, const Global *global, CallEdges *edges, Map *persists) {
    if (global->kind != GLOBAL_FN && global->kind != GLOBAL_OPTIMIZER) {
        return;
    }
    Check check = {.el = el, .edges = edges, .persists = persists};
    if (global->kind == GLOBAL_FN) {
        check.fn = find_function(el, global->env, global->name, global->place);
    }
    check_decl(&check, global->decl, global->env);
}

void check_bodies(Elaborator *el, bool library) {
    CallEdges edges = {0};
    Map persists = {.arena = NULL};
    if (library) {
        for (int space = NAMES_FN; space < NAME_SPACES; space++) {
            const Map *own = &el->library->own[space];
            for (size_t i = 0; i < own->count; i++) {
                check_global(el, own->entries[i].value, &edges, &persists);
            }
        }
        return;
    }
    for (size_t i = 0; i < el->globals.count; i++) {
        check_global(el, el->globals.items[i], &edges, &persists);
    }
    for (size_t i = 0; i <= el->entries.count; i++) {
        const AstDecl *decl = i < el->entries.count ? el->entries.items[i] : el->model;
        if (decl) {
            Check check = {.el = el, .edges = &edges, .persists = &persists};
            check_decl(&check, decl, el->user);
        }
    }
    check_cycles(el, &edges);
}
