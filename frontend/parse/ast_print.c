/* --emit=ast: the tree as text. One line a declaration or statement, blocks indented; expressions
 * fully bracketed by kind, so that precedence can be read off. */
#include "frontend/parse/ast.h"

#include <inttypes.h>

static void indent(Str *out, int level) {
    for (int i = 0; i < level; i++) {
        str_add(out, "  ");
    }
}

static void print_expr(const AstExpr *expr, Str *out);

static void print_exprs(const AstExprs *list, Str *out) {
    for (int32_t i = 0; i < list->count; i++) {
        str_add_char(out, ' ');
        print_expr(list->items[i], out);
    }
}

static void print_call(const AstExpr *expr, Str *out) {
    str_add(out, expr->as.call.piped ? "(pipe " : "(call ");
    print_expr(expr->as.call.callee, out);
    if (expr->as.call.piped) {
        str_add_char(out, ' ');
        print_expr(expr->as.call.piped, out);
    }
    for (int32_t i = 0; i < expr->as.call.args.count; i++) {
        const AstArg *arg = &expr->as.call.args.items[i];
        str_add_char(out, ' ');
        if (arg->name.text) {
            str_addf(out, "%s=", arg->name.text);
        }
        print_expr(arg->value, out);
    }
    const AstLabel *label = &expr->as.call.label;
    static const char *const kinds[] = {"", " as ", " as shared ", " as _"};
    str_add(out, kinds[label->kind]);
    ast_print_path(&label->path, out);
    str_add_char(out, ')');
}

static void print_index(const AstExpr *expr, Str *out) {
    str_add(out, "(index ");
    print_expr(expr->as.index.base, out);
    for (int32_t i = 0; i < expr->as.index.items.count; i++) {
        const AstIndexItem *item = &expr->as.index.items.items[i];
        str_add_char(out, ' ');
        switch (item->kind) {
        case AST_INDEX_AT:
            print_expr(item->start, out);
            break;
        case AST_INDEX_ELLIPSIS:
            str_add(out, "..");
            break;
        case AST_INDEX_SLICE: {
            const AstExpr *ends[] = {item->start, item->stop, item->step};
            str_add(out, "(slice");
            for (int k = 0; k < 3; k++) {
                str_add(out, ends[k] ? " " : " _");
                if (ends[k]) {
                    print_expr(ends[k], out);
                }
            }
            str_add_char(out, ')');
            break;
        }
        }
    }
    str_add_char(out, ')');
}

static void print_binary(const AstExpr *expr, Str *out) {
    str_addf(out, "(%s ", ast_op_text(expr->as.binary.op));
    print_expr(expr->as.binary.left, out);
    str_add_char(out, ' ');
    print_expr(expr->as.binary.right, out);
    str_add_char(out, ')');
}

static void print_expr(const AstExpr *expr, Str *out) {
    switch (expr->kind) {
    case AST_LIST_EXPR:
    case AST_TUPLE:
        str_add(out, expr->kind == AST_TUPLE ? "(tuple" : "(list");
        print_exprs(&expr->as.list, out);
        str_add_char(out, ')');
        break;
    case AST_UNARY:
        str_addf(out, "(%s ", ast_op_text(expr->as.unary.op));
        print_expr(expr->as.unary.operand, out);
        str_add_char(out, ')');
        break;
    case AST_BINARY:
        print_binary(expr, out);
        break;
    case AST_CONDITIONAL:
        str_add(out, "(if ");
        print_expr(expr->as.conditional.condition, out);
        str_add_char(out, ' ');
        print_expr(expr->as.conditional.then, out);
        str_add_char(out, ' ');
        print_expr(expr->as.conditional.otherwise, out);
        str_add_char(out, ')');
        break;
    case AST_CALL:
        print_call(expr, out);
        break;
    case AST_INDEX:
        print_index(expr, out);
        break;
    case AST_FIELD:
        str_add(out, "(field ");
        print_expr(expr->as.field.base, out);
        if (expr->as.field.name) {
            str_addf(out, " %s)", expr->as.field.name);
        } else {
            str_addf(out, " %" PRId64 ")", expr->as.field.integer);
        }
        break;
    case AST_PAREN:
        print_expr(expr->as.inner, out);
        break;
    default:
        ast_print_expr(expr, out); /* leaves */
        break;
    }
}

static void print_optional(const char *before, const AstExpr *expr, Str *out) {
    if (expr) {
        str_add(out, before);
        print_expr(expr, out);
    }
}

static void print_named(const char *before, const AstNamedExprs *list, Str *out) {
    for (int32_t i = 0; i < list->count; i++) {
        str_addf(out, "%s%s = ", i ? ", " : before, list->items[i].name.text);
        print_expr(list->items[i].value, out);
    }
}

static void print_names(const char *before, const AstNames *names, Str *out) {
    for (int32_t i = 0; i < names->count; i++) {
        str_addf(out, "%s%s", i ? ", " : before, names->items[i].text);
    }
}

static void print_stmts(const AstStmts *stmts, int level, Str *out);

static void print_declare(const char *word, const AstStmt *stmt, Str *out) {
    str_addf(out, "%s ", word);
    if (stmt->as.declare.local.text) {
        str_addf(out, "%s as ", stmt->as.declare.local.text);
    }
    ast_print_path(&stmt->as.declare.path, out);
    if (stmt->as.declare.type) {
        str_add(out, ": ");
        ast_print_type(stmt->as.declare.type, out);
    }
    print_optional(" = ", stmt->as.declare.init, out);
    str_add_char(out, '\n');
}

static void print_block_stmt(const AstStmt *stmt, int level, Str *out) {
    switch (stmt->kind) {
    case AST_STMT_FOR:
        str_addf(out, "for %s in ", stmt->as.for_.name.text);
        print_expr(stmt->as.for_.start, out);
        print_optional(" .. ", stmt->as.for_.stop, out);
        str_add_char(out, '\n');
        print_stmts(&stmt->as.for_.body, level + 1, out);
        break;
    case AST_STMT_IF:
        print_optional("if ", stmt->as.if_.condition, out);
        str_add_char(out, '\n');
        print_stmts(&stmt->as.if_.then, level + 1, out);
        if (stmt->as.if_.has_else) {
            indent(out, level);
            str_add(out, "else\n");
            print_stmts(&stmt->as.if_.otherwise, level + 1, out);
        }
        break;
    case AST_STMT_WHILE:
        print_optional("while ", stmt->as.while_.condition, out);
        print_named(" carry ", &stmt->as.while_.carries, out);
        str_add_char(out, '\n');
        print_stmts(&stmt->as.while_.body, level + 1, out);
        break;
    default:
        str_add(out, "scan");
        for (int32_t i = 0; i < stmt->as.scan.inputs.count; i++) {
            const AstScanInput *input = &stmt->as.scan.inputs.items[i];
            str_addf(out, "%s %s in ", i ? "," : "", input->name.text);
            print_expr(input->source, out);
        }
        print_optional(" along ", stmt->as.scan.along, out);
        print_named(" carry ", &stmt->as.scan.carries, out);
        print_names(" -> ", &stmt->as.scan.results, out);
        str_add_char(out, '\n');
        print_stmts(&stmt->as.scan.body, level + 1, out);
        break;
    }
}

static void print_output(const char *word, const AstStmt *stmt, Str *out) {
    str_add(out, word);
    if (stmt->as.named.name.text) {
        str_addf(out, " %s =", stmt->as.named.name.text);
    }
    print_optional(" ", stmt->as.named.value, out);
    print_optional(" over ", stmt->as.named.over, out);
    str_add_char(out, '\n');
}

static void print_value(const char *word, const AstStmt *stmt, Str *out) {
    str_add(out, word);
    print_optional(" ", stmt->as.value, out);
    str_add_char(out, '\n');
}

/* How a statement that begins with its own word does. */
static const char *const words[] = {
    [AST_STMT_PARAM] = "param",        [AST_STMT_STATE] = "state",     [AST_STMT_CACHE] = "cache",
    [AST_STMT_RETURN] = "return",      [AST_STMT_YIELD] = "yield",     [AST_STMT_OUTPUT] = "output",
    [AST_STMT_RETURN_OVER] = "return", [AST_STMT_METRIC] = "metric",   [AST_STMT_LOSS] = "loss",
    [AST_STMT_SHOW] = "show",          [AST_STMT_EXPR] = "expression",
};

static void print_stmt(const AstStmt *stmt, int level, Str *out) {
    indent(out, level);
    switch (stmt->kind) {
    case AST_STMT_ERROR:
        str_add(out, "<error>\n");
        break;
    case AST_STMT_BIND:
        print_names("bind ", &stmt->as.bind.targets, out);
        print_optional(" = ", stmt->as.bind.value, out);
        str_add_char(out, '\n');
        break;
    case AST_STMT_STORE:
        str_add(out, "store ");
        ast_print_path(&stmt->as.store.target, out);
        print_optional(" <- ", stmt->as.store.value, out);
        str_add_char(out, '\n');
        break;
    case AST_STMT_PARAM:
    case AST_STMT_STATE:
    case AST_STMT_CACHE:
        print_declare(words[stmt->kind], stmt, out);
        break;
    case AST_STMT_FOR:
    case AST_STMT_IF:
    case AST_STMT_SCAN:
    case AST_STMT_WHILE:
        print_block_stmt(stmt, level, out);
        break;
    case AST_STMT_RETURN:
    case AST_STMT_YIELD:
    case AST_STMT_SHOW:
    case AST_STMT_EXPR:
        print_value(words[stmt->kind], stmt, out);
        break;
    case AST_STMT_OUTPUT:
    case AST_STMT_RETURN_OVER:
    case AST_STMT_METRIC:
    case AST_STMT_LOSS:
        print_output(words[stmt->kind], stmt, out);
        break;
    case AST_STMT_CHECK:
        print_optional("check ", stmt->as.check.condition, out);
        print_optional(", ", stmt->as.check.text, out);
        str_add_char(out, '\n');
        break;
    }
}

static void print_stmts(const AstStmts *stmts, int level, Str *out) {
    for (int32_t i = 0; i < stmts->count; i++) {
        print_stmt(stmts->items[i], level, out);
    }
}

static void print_fn(const char *word, const AstDecl *decl, Str *out) {
    for (int32_t i = 0; i < decl->as.fn.attributes.count; i++) {
        str_addf(out, "@%s ", decl->as.fn.attributes.items[i].text);
    }
    str_addf(out, "%s %s\n", word, decl->name.text);
    for (int32_t i = 0; i < decl->as.fn.params.count; i++) {
        const AstParam *param = &decl->as.fn.params.items[i];
        str_addf(out, "  argument %s", param->name.text);
        if (param->type) {
            str_add(out, ": ");
            ast_print_type(param->type, out);
        }
        print_optional(" = ", param->fallback, out);
        str_add_char(out, '\n');
    }
    if (decl->as.fn.result) {
        str_add(out, "  result ");
        ast_print_type(decl->as.fn.result, out);
        str_add_char(out, '\n');
    }
    print_stmts(&decl->as.fn.body, 1, out);
}

static void print_settings(const char *lead, const AstSettings *settings, Str *out) {
    for (int32_t i = 0; i < settings->count; i++) {
        const AstSetting *setting = &settings->items[i];
        str_addf(out, "  %s %s", lead, setting->word.text);
        if (setting->for_globs.count) {
            str_add(out, " for");
            print_exprs(&setting->for_globs, out);
            str_add(out, " :");
        }
        print_exprs(&setting->values, out);
        if (setting->over_globs.count) {
            str_add(out, " over");
            print_exprs(&setting->over_globs, out);
            print_optional(" : ", setting->over_value, out);
        }
        str_add_char(out, '\n');
    }
}

static void print_train(const AstDecl *decl, Str *out) {
    str_addf(out, "train %s\n", decl->name.text);
    print_settings("set", &decl->as.train.settings, out);
}

static void print_mesh(const AstDecl *decl, Str *out) {
    for (int32_t i = 0; i < decl->as.mesh.axes.count; i++) {
        const AstNamedExpr *axis = &decl->as.mesh.axes.items[i];
        str_addf(out, "%s%s = ", i ? ", " : "mesh ", axis->name.text);
        if (axis->value) {
            print_expr(axis->value, out);
        } else {
            str_add_char(out, '*');
        }
    }
    str_add_char(out, '\n');
    print_settings("place", &decl->as.mesh.lines, out);
}

static void print_decl(const AstDecl *decl, Str *out) {
    switch (decl->kind) {
    case AST_DECL_ERROR:
        str_add(out, "<error>\n");
        break;
    case AST_DECL_IMPORT:
        str_addf(out, "import \"%s\"\n", decl->as.import.path);
        break;
    case AST_DECL_CONST:
        print_named("const ", &decl->as.consts, out);
        str_add_char(out, '\n');
        break;
    case AST_DECL_DIM:
        str_addf(out, "dim %s", decl->name.text);
        print_optional(" % ", decl->as.dim.divisor, out);
        str_add(out, decl->as.dim.low || decl->as.dim.high ? " in" : "");
        print_optional(" ", decl->as.dim.low, out);
        str_add(out, decl->as.dim.low || decl->as.dim.high ? " .." : "");
        print_optional(" ", decl->as.dim.high, out);
        print_optional(" = ", decl->as.dim.nominal, out);
        str_add_char(out, '\n');
        break;
    case AST_DECL_FN:
        print_fn("fn", decl, out);
        break;
    case AST_DECL_OPTIMIZER:
        print_fn("optimizer", decl, out);
        break;
    case AST_DECL_MODEL:
        print_fn("model", decl, out);
        break;
    case AST_DECL_ENTRY:
        print_fn("entry", decl, out);
        break;
    case AST_DECL_TRAIN:
        print_train(decl, out);
        break;
    case AST_DECL_MESH:
        print_mesh(decl, out);
        break;
    }
}

void ast_print(const AstFile *file, Str *out) {
    for (int32_t i = 0; i < file->decls.count; i++) {
        print_decl(file->decls.items[i], out);
    }
}
