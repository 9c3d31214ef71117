/* Constructors of statements and declarations; those of expressions are in ast.c. */
#include "frontend/parse/scan.h"

#include <string.h>

/* -- statements */
static AstStmt *stmt_new(Parse *parse, AstStmtKind kind, Place place) {
    AstStmt *stmt = ARENA_NEW(&parse->context->arena, AstStmt);
    stmt->kind = kind;
    stmt->place = place;
    stmt->end = place;
    return stmt;
}

AstStmt *stmt_value(Parse *parse, AstStmtKind kind, AstExpr *value, Place place) {
    AstStmt *stmt = stmt_new(parse, kind, place);
    stmt->as.value = value;
    return stmt;
}

/* `running.mean` was read as an expression; what it stores into is a path. */
static bool path_of_expr(Parse *parse, const AstExpr *expr, AstPath *path) {
    switch (expr->kind) {
    case AST_NAME: {
        AstName name = {.text = expr->as.name, .place = expr->place};
        LIST_PUSH(parse, path, path_name(name));
        return true;
    }
    case AST_STRING:
        LIST_PUSH(parse, path, path_expr(AST_PATH_STRING, (AstExpr *)(uintptr_t)expr, expr->place));
        return true;
    case AST_FIELD: {
        if (!path_of_expr(parse, expr->as.field.base, path)) {
            return false;
        }
        AstName name = {.text = expr->as.field.name, .place = expr->as.field.name_place};
        LIST_PUSH(parse, path,
                  name.text ? path_name(name) : path_int(expr->as.field.integer, name.place));
        return true;
    }
    case AST_INDEX: {
        const AstIndexItems *items = &expr->as.index.items;
        if (items->count != 1 || items->items[0].kind != AST_INDEX_AT ||
            !path_of_expr(parse, expr->as.index.base, path)) {
            return false;
        }
        LIST_PUSH(parse, path,
                  path_expr(AST_PATH_INDEX, items->items[0].start, items->items[0].place));
        return true;
    }
    default:
        return false;
    }
}

/* An expression alone on its line: only a call can do anything. */
AstStmt *stmt_expr(Parse *parse, AstExpr *value, Place place) {
    if (value->kind != AST_CALL && value->kind != AST_ERROR) {
        const char *help = ast_goes_on(value);
        scan_report(parse, DIAG_STATEMENT_LOST, place, NULL, help ? help : "bind it: x = …");
    }
    return stmt_value(parse, AST_STMT_EXPR, value, place);
}

/* What an expression begins with. */
static AstExprKind first_kind(const AstExpr *expr) {
    for (;;) {
        switch (expr->kind) {
        case AST_BINARY:
            expr = expr->as.binary.left;
            break;
        case AST_CONDITIONAL:
            expr = expr->as.conditional.then;
            break;
        case AST_CALL:
            expr = expr->as.call.piped ? expr->as.call.piped : expr->as.call.callee;
            break;
        case AST_INDEX:
            expr = expr->as.index.base;
            break;
        case AST_FIELD:
            expr = expr->as.field.base;
            break;
        case AST_UNARY:
            return expr->as.unary.op == AST_OP_NOT ? AST_ERROR : AST_UNARY;
        default:
            return expr->kind;
        }
    }
}

const char *ast_goes_on(const AstExpr *expr) {
    switch (first_kind(expr)) {
    case AST_UNARY:
        return "put the operator at the end of the line before, if that is to go on; `-` here "
               "begins a statement";
    case AST_PAREN:
    case AST_TUPLE:
        return "put the `(` at the end of the line before, if that is to go on";
    case AST_LIST_EXPR:
        return "put the `[` at the end of the line before, if that is to go on";
    default:
        return NULL;
    }
}

AstStmt *stmt_store(Parse *parse, AstExpr *target, AstExpr *value, Place place) {
    AstStmt *stmt = stmt_new(parse, AST_STMT_STORE, place);
    stmt->as.store.value = value;
    if (!path_of_expr(parse, target, &stmt->as.store.target)) {
        Diag *diag = parse_report(parse, DIAG_STORE_TARGET, target->place, NULL);
        diag_help(&parse->context->diags, diag,
                  "to compare with a negative number put a blank between: `a < -b`");
        stmt->kind = AST_STMT_ERROR;
    }
    return stmt;
}

AstStmt *stmt_declare(Parse *parse, AstName local, AstPath path, AstType *type, AstExpr *init,
                      Place place) {
    AstStmt *stmt = stmt_new(parse, AST_STMT_PARAM, place);
    stmt->as.declare.local = local;
    stmt->as.declare.path = path;
    stmt->as.declare.type = type;
    stmt->as.declare.init = init;
    return stmt;
}

AstStmt *stmt_declared(AstStmt *stmt, AstStmtKind kind, Place place) {
    stmt->kind = kind;
    stmt->place = stmt->end = place;
    return stmt;
}

AstStmt *stmt_named(Parse *parse, AstStmtKind kind, AstName name, AstExpr *value, AstExpr *over,
                    Place place) {
    AstStmt *stmt = stmt_new(parse, kind, place);
    stmt->as.named.name = name;
    stmt->as.named.value = value;
    stmt->as.named.over = over;
    return stmt;
}

AstStmt *stmt_if(Parse *parse, AstExpr *condition, AstBlock then, const AstStmts *otherwise,
                 Place place, Place end) {
    AstStmt *stmt = stmt_new(parse, AST_STMT_IF, place);
    stmt->end = end;
    stmt->as.if_.condition = condition;
    stmt->as.if_.then = then.stmts;
    stmt->as.if_.has_else = otherwise != NULL;
    stmt->as.if_.otherwise = otherwise ? *otherwise : (AstStmts){0};
    int32_t length = 0;
    for (const AstStmt *link = stmt;
         link->as.if_.otherwise.count == 1 && link->as.if_.otherwise.items[0]->kind == AST_STMT_IF;
         link = link->as.if_.otherwise.items[0]) {
        if (++length > AST_MAX_NESTING) {
            parse_report(parse, DIAG_NESTING, place, NULL);
            stmt->as.if_.otherwise = (AstStmts){0};
            break;
        }
    }
    return stmt;
}

AstStmt *stmt_bind(Parse *parse, AstNames targets, AstExpr *value, Place place) {
    AstStmt *stmt = stmt_new(parse, AST_STMT_BIND, place);
    stmt->as.bind.targets = targets;
    stmt->as.bind.value = value;
    return stmt;
}

AstStmt *stmt_for(Parse *parse, AstName name, AstExpr *start, AstExpr *stop, AstBlock body,
                  Place place) {
    AstStmt *stmt = stmt_new(parse, AST_STMT_FOR, place);
    stmt->as.for_.name = name;
    stmt->as.for_.start = start;
    stmt->as.for_.stop = stop;
    stmt->as.for_.body = body.stmts;
    stmt->end = body.close;
    return stmt;
}

AstStmt *stmt_scan(Parse *parse, AstScanInputs inputs, AstExpr *along, AstNamedExprs carries,
                   AstBlock body, AstNames results, Place place) {
    AstStmt *stmt = stmt_new(parse, AST_STMT_SCAN, place);
    stmt->as.scan.inputs = inputs;
    stmt->as.scan.along = along;
    stmt->as.scan.carries = carries;
    stmt->as.scan.body = body.stmts;
    stmt->as.scan.results = results;
    stmt->end = body.close;
    return stmt;
}

AstStmt *stmt_while(Parse *parse, AstExpr *condition, AstNamedExprs carries, AstBlock body,
                    Place place) {
    AstStmt *stmt = stmt_new(parse, AST_STMT_WHILE, place);
    stmt->as.while_.condition = condition;
    stmt->as.while_.carries = carries;
    stmt->as.while_.body = body.stmts;
    stmt->end = body.close;
    return stmt;
}

AstStmt *stmt_check(Parse *parse, AstExpr *condition, AstExpr *text, Place place) {
    AstStmt *stmt = stmt_new(parse, AST_STMT_CHECK, place);
    stmt->as.check.condition = condition;
    stmt->as.check.text = text;
    return stmt;
}

AstStmt *stmt_else_if(Parse *parse, AstExpr *condition, AstBlock then, AstStmt *otherwise,
                      Place place) {
    AstStmts stmts = {0};
    LIST_PUSH(parse, &stmts, otherwise);
    return stmt_if(parse, condition, then, &stmts, place, otherwise->end);
}

/* -- declarations */
static AstDecl *decl_new(Parse *parse, AstDeclKind kind, AstName name, Place place) {
    AstDecl *decl = ARENA_NEW(&parse->context->arena, AstDecl);
    decl->kind = kind;
    decl->name = name;
    decl->place = place;
    decl->end = place;
    return decl;
}

AstDecl *decl_import(Parse *parse, const AstExpr *path, Place place) {
    AstDecl *decl = decl_new(parse, AST_DECL_IMPORT, (AstName){0}, place);
    const AstStringParts *parts = &path->as.string;
    decl->as.import.path_place = path->place;
    decl->as.import.path = parts->count == 0 ? "" : parts->items[0].text;
    if (parts->count > 1 || !decl->as.import.path) {
        parse_report(parse, DIAG_SYNTAX, path->place, "the file of an import is a plain string");
        decl->as.import.path = "";
    }
    return decl;
}

AstDecl *decl_consts(Parse *parse, AstNamedExprs consts, Place place) {
    AstDecl *decl = decl_new(parse, AST_DECL_CONST, (AstName){0}, place);
    decl->as.consts = consts;
    return decl;
}

AstDecl *decl_mesh(Parse *parse, AstNamedExprs axes, AstSettings lines, Place place, Place end) {
    AstDecl *decl = decl_new(parse, AST_DECL_MESH, (AstName){0}, place);
    decl->as.mesh.axes = axes;
    decl->as.mesh.lines = lines;
    decl->end = end;
    return decl;
}

AstDecl *decl_dim(Parse *parse, AstName name, AstExpr *divisor, AstExpr *low, AstExpr *high,
                  AstExpr *nominal, Place place) {
    AstDecl *decl = decl_new(parse, AST_DECL_DIM, name, place);
    decl->as.dim.divisor = divisor;
    decl->as.dim.low = low;
    decl->as.dim.high = high;
    decl->as.dim.nominal = nominal;
    return decl;
}

AstDecl *decl_train(Parse *parse, AstName name, AstSettings settings, Place place, Place end) {
    AstDecl *decl = decl_new(parse, AST_DECL_TRAIN, name, place);
    decl->as.train.settings = settings;
    decl->end = end;
    return decl;
}

AstDecl *decl_fn(Parse *parse, AstDeclKind kind, AstName name, AstParams params, AstType *result,
                 AstBlock body, Place place) {
    AstDecl *decl = decl_new(parse, kind, name, place);
    decl->end = body.close;
    decl->as.fn.params = params;
    decl->as.fn.result = result;
    decl->as.fn.body = body.stmts;
    return decl;
}

/* The declaration's place then begins with its attributes, so that its comment is found above. */
void decl_attributes(Parse *parse, AstDecl *decl, AstNames attributes, Place place) {
    decl->as.fn.attributes = attributes;
    decl->place = place_join(place, decl->place);
    for (int32_t i = 0; i < attributes.count; i++) {
        if (strcmp(attributes.items[i].text, "keep") == 0) {
            decl->as.fn.keep = true;
        } else {
            parse_report(parse, DIAG_UNKNOWN_ATTRIBUTE, attributes.items[i].place,
                         attributes.items[i].text);
        }
    }
}
