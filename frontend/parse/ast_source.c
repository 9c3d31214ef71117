/* Pieces of the tree as source text on one line: for messages, and for --emit=ast. */
#include "frontend/parse/ast.h"

#include <inttypes.h>

static const char *const op_texts[AST_OP_COUNT] = {
    [AST_OP_NEG] = "-",  [AST_OP_NOT] = "not", [AST_OP_ADD] = "+", [AST_OP_SUB] = "-",
    [AST_OP_MUL] = "*",  [AST_OP_DIV] = "/",   [AST_OP_MOD] = "%", [AST_OP_MATMUL] = "@",
    [AST_OP_POW] = "**", [AST_OP_EQ] = "==",   [AST_OP_NE] = "!=", [AST_OP_LT] = "<",
    [AST_OP_LE] = "<=",  [AST_OP_GT] = ">",    [AST_OP_GE] = ">=", [AST_OP_AND] = "and",
    [AST_OP_OR] = "or",
};

const char *ast_op_text(AstOp op) {
    return (int)op >= 0 && op < AST_OP_COUNT ? op_texts[op] : "?";
}

static void print_string(const AstExpr *expr, Str *out) {
    str_add_char(out, '"');
    for (int32_t i = 0; i < expr->as.string.count; i++) {
        const AstStringPart *part = &expr->as.string.items[i];
        if (part->expr) {
            str_add_char(out, '{');
            ast_print_expr(part->expr, out);
            str_add_char(out, '}');
            continue;
        }
        for (const char *c = part->text; *c; c++) {
            if (*c == '\n' || *c == '\t') {
                str_add(out, *c == '\n' ? "\\n" : "\\t");
            } else {
                if (strchr("\"\\{}", *c)) {
                    str_add_char(out, '\\');
                }
                str_add_char(out, *c);
            }
        }
    }
    str_add_char(out, '"');
}

void ast_print_path(const AstPath *path, Str *out) {
    for (int32_t i = 0; i < path->count; i++) {
        const AstPathPart *part = &path->items[i];
        if (i && part->kind != AST_PATH_INDEX) {
            str_add_char(out, '.');
        }
        switch (part->kind) {
        case AST_PATH_NAME:
            str_add(out, part->name);
            break;
        case AST_PATH_INT:
            str_addf(out, "%" PRId64, part->integer);
            break;
        case AST_PATH_INDEX:
            str_add_char(out, '[');
            ast_print_expr(part->expr, out);
            str_add_char(out, ']');
            break;
        case AST_PATH_STRING:
            ast_print_expr(part->expr, out);
            break;
        }
    }
}

static void print_exprs(const AstExprs *list, Str *out) {
    for (int32_t i = 0; i < list->count; i++) {
        str_add(out, i ? ", " : "");
        ast_print_expr(list->items[i], out);
    }
}

static void print_call(const AstExpr *expr, Str *out) {
    if (expr->as.call.piped) {
        ast_print_expr(expr->as.call.piped, out);
        str_add(out, " |> ");
    }
    ast_print_expr(expr->as.call.callee, out);
    if (expr->as.call.has_parens) {
        str_add_char(out, '(');
        for (int32_t i = 0; i < expr->as.call.args.count; i++) {
            const AstArg *arg = &expr->as.call.args.items[i];
            str_add(out, i ? ", " : "");
            if (arg->name.text) {
                str_addf(out, "%s=", arg->name.text);
            }
            ast_print_expr(arg->value, out);
        }
        str_add_char(out, ')');
    }
    const AstLabel *label = &expr->as.call.label;
    if (label->kind == AST_LABEL_SPLICE) {
        str_add(out, " as _");
    } else if (label->kind != AST_LABEL_NONE) {
        str_add(out, label->kind == AST_LABEL_SHARED ? " as shared " : " as ");
        ast_print_path(&label->path, out);
    }
}

static void print_index(const AstExpr *expr, Str *out) {
    ast_print_expr(expr->as.index.base, out);
    str_add_char(out, '[');
    for (int32_t i = 0; i < expr->as.index.items.count; i++) {
        const AstIndexItem *item = &expr->as.index.items.items[i];
        str_add(out, i ? ", " : "");
        if (item->kind == AST_INDEX_ELLIPSIS) {
            str_add(out, "..");
            continue;
        }
        if (item->start) {
            ast_print_expr(item->start, out);
        }
        if (item->kind == AST_INDEX_SLICE) {
            str_add_char(out, ':');
            if (item->stop) {
                ast_print_expr(item->stop, out);
            }
            if (item->step) {
                str_add_char(out, ':');
                ast_print_expr(item->step, out);
            }
        }
    }
    str_add_char(out, ']');
}

static void print_axis_size(const AstExpr *size, Str *out) {
    bool plain = size->kind == AST_NAME || size->kind == AST_INT;
    str_add(out, plain ? "=" : "=(");
    ast_print_expr(size, out);
    str_add(out, plain ? "" : ")");
}

static void print_terms(const AstAxisTerms *terms, Str *out) {
    for (int32_t i = 0; i < terms->count; i++) {
        const AstAxisTerm *term = &terms->items[i];
        str_add(out, i ? " " : "");
        switch (term->kind) {
        case AST_AXIS_NAME:
            str_add(out, term->name);
            if (term->size) {
                print_axis_size(term->size, out);
            }
            break;
        case AST_AXIS_ONE:
            str_addf(out, "%" PRId64, term->integer);
            break;
        case AST_AXIS_ELLIPSIS:
            str_add(out, "...");
            break;
        case AST_AXIS_GROUP:
            str_add_char(out, '(');
            print_terms(&term->terms, out);
            str_add_char(out, ')');
            break;
        }
    }
}

static void print_axis_fn(const AstExpr *expr, Str *out) {
    str_add_char(out, '{');
    for (int32_t i = 0; i < expr->as.axis_fn.operands.count; i++) {
        str_add(out, i ? ", " : "");
        print_terms(&expr->as.axis_fn.operands.items[i].terms, out);
    }
    bool no_operand =
        expr->as.axis_fn.operands.count == 1 && expr->as.axis_fn.operands.items[0].terms.count == 0;
    str_add(out, no_operand ? "-> " : " -> ");
    print_terms(&expr->as.axis_fn.result.terms, out);
    if (expr->as.axis_fn.by.text) {
        str_addf(out, " by %s", expr->as.axis_fn.by.text);
    }
    str_add_char(out, '}');
}

static void print_conditional(const AstExpr *expr, Str *out) {
    ast_print_expr(expr->as.conditional.then, out);
    str_add(out, " if ");
    ast_print_expr(expr->as.conditional.condition, out);
    str_add(out, " else ");
    ast_print_expr(expr->as.conditional.otherwise, out);
}

static void print_field(const AstExpr *expr, Str *out) {
    const AstExpr *base = expr->as.field.base;
    ast_print_expr(base, out);
    if (base->kind == AST_INT || base->kind == AST_FLOAT) {
        str_add_char(out, ' '); /* `0 .5` is no number */
    }
    if (expr->as.field.name) {
        str_addf(out, ".%s", expr->as.field.name);
    } else {
        str_addf(out, ".%" PRId64, expr->as.field.integer);
    }
}

static void print_list(const AstExpr *expr, Str *out) {
    bool is_tuple = expr->kind == AST_TUPLE;
    str_add_char(out, is_tuple ? '(' : '[');
    print_exprs(&expr->as.list, out);
    str_add(out, !is_tuple ? "]" : expr->as.list.count == 1 ? ",)" : ")");
}

void ast_print_expr(const AstExpr *expr, Str *out) {
    switch (expr->kind) {
    case AST_ERROR:
        str_add(out, "<error>");
        break;
    case AST_INT:
        str_addf(out, "%" PRId64, expr->as.integer);
        break;
    case AST_FLOAT:
        str_add_double(out, expr->as.number);
        break;
    case AST_STRING:
        print_string(expr, out);
        break;
    case AST_BOOL:
        str_add(out, expr->as.integer ? "true" : "false");
        break;
    case AST_NAME:
        str_add(out, expr->as.name);
        break;
    case AST_LIST_EXPR:
    case AST_TUPLE:
        print_list(expr, out);
        break;
    case AST_UNARY:
        str_add(out, ast_op_text(expr->as.unary.op));
        str_add(out, expr->as.unary.op == AST_OP_NOT ? " " : "");
        ast_print_expr(expr->as.unary.operand, out);
        break;
    case AST_BINARY:
        ast_print_expr(expr->as.binary.left, out);
        str_addf(out, " %s ", ast_op_text(expr->as.binary.op));
        ast_print_expr(expr->as.binary.right, out);
        break;
    case AST_CONDITIONAL:
        print_conditional(expr, out);
        break;
    case AST_CALL:
        print_call(expr, out);
        break;
    case AST_INDEX:
        print_index(expr, out);
        break;
    case AST_FIELD:
        print_field(expr, out);
        break;
    case AST_AXIS_FN:
        print_axis_fn(expr, out);
        break;
    case AST_PAREN:
        str_add_char(out, '(');
        ast_print_expr(expr->as.inner, out);
        str_add_char(out, ')');
        break;
    }
}

void ast_print_type(const AstType *type, Str *out) {
    switch (type->kind) {
    case AST_TYPE_BARE:
        str_add(out, type->element);
        break;
    case AST_TYPE_FN:
        str_add(out, "fn");
        break;
    case AST_TYPE_TENSOR:
        str_addf(out, "%s[", type->element ? type->element : "");
        for (int32_t i = 0; i < type->sizes.count; i++) {
            str_add(out, i ? ", " : "");
            if (type->sizes.items[i].is_rest) {
                str_addf(out, "...%s", type->sizes.items[i].rest_name);
            } else {
                ast_print_expr(type->sizes.items[i].expr, out);
            }
        }
        str_add_char(out, ']');
        break;
    case AST_TYPE_TUPLE:
        str_add_char(out, '(');
        for (int32_t i = 0; i < type->types.count; i++) {
            str_add(out, i ? ", " : "");
            ast_print_type(type->types.items[i], out);
        }
        str_add_char(out, ')');
        break;
    }
}
