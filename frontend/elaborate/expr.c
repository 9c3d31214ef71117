/* Expressions: literals, operators, conditionals, fields. Names, calls, indices and axis
 * functions have files of their own. */
#include "frontend/elaborate/elaborate.h"

#include "ir/base/number.h"

#include <string.h>

/* -- strings and paths */

static bool add_value(Elaborator *el, Str *text, const AstStringPart *part) {
    Val value = elaborate_expr(el, part->expr);
    switch (value.kind) {
    case VAL_ERROR:
        return false;
    case VAL_INT:
        str_addf(text, "%lld", (long long)value.as.i);
        return true;
    case VAL_FLOAT:
        str_add(text, number_text(value.as.f, 6).text);
        return true;
    case VAL_BOOL:
        str_add(text, value.as.i ? "true" : "false");
        return true;
    case VAL_STRING:
        str_add(text, value.as.text);
        return true;
    case VAL_SIZE:
        str_add(text, size_text(el->context, value.as.size));
        return true;
    default:
        EL_REPORT(el, WRONG_KIND, part->expr->place, "what a string takes in",
                  "a number or a string", val_describe(el, value));
        return false;
    }
}

static const char *string_text(Elaborator *el, const AstStringParts *parts, Place place) {
    if (parts->count == 1 && parts->items[0].expr == NULL) {
        return context_intern(el->context, parts->items[0].text);
    }
    Str text;
    dlc_allocator hooks = arena_hooks(el->arena);
    str_init(&text, &hooks);
    for (int32_t i = 0; i < parts->count; i++) {
        const AstStringPart *part = &parts->items[i];
        if (part->expr == NULL) {
            str_add(&text, part->text);
        } else if (!add_value(el, &text, part)) {
            return NULL;
        }
        if (text.length > ELABORATE_MAX_TEXT) {
            elaborate_limit(el, place, "a string is longer than 65,536 bytes");
            return NULL;
        }
    }
    el->n_text += (int64_t)text.length;
    if (el->n_text > ELABORATE_MAX_ALL_TEXT) {
        elaborate_limit(el, place, "the strings made when compiling have more than 16 MiB in all");
        return NULL;
    }
    return context_intern(el->context, str_text(&text));
}

const char *elaborate_path(Elaborator *el, const AstPath *path) {
    const char *text = "";
    for (int32_t i = 0; i < path->count; i++) {
        const AstPathPart *part = &path->items[i];
        const char *piece = NULL;
        int64_t index = 0;
        switch (part->kind) {
        case AST_PATH_NAME:
            piece = part->name;
            break;
        case AST_PATH_INT:
            piece = arena_format(el->arena, "%lld", (long long)part->integer);
            break;
        case AST_PATH_INDEX: {
            Val value = elaborate_expr(el, part->expr);
            if (!need_int(el, value, "an index in a path", part->place, &index)) {
                return NULL;
            }
            piece = arena_format(el->arena, "%lld", (long long)index);
            break;
        }
        case AST_PATH_STRING:
            piece = string_text(el, &part->expr->as.string, part->place);
            break;
        }
        if (piece == NULL) {
            return NULL;
        }
        if (strlen(text) + strlen(piece) > ELABORATE_MAX_PATH) {
            elaborate_limit(el, part->place, "a path is longer than 4,096 bytes");
            return NULL;
        }
        text = i == 0 ? piece : arena_format(el->arena, "%s.%s", text, piece);
    }
    return context_intern(el->context, text);
}

/* `h[i].attn.weight` as path text; NULL when the expression is no path. Silent. */
static const char *field_path(Elaborator *el, const AstExpr *expr) {
    const char *base = NULL;
    if (expr->kind == AST_NAME) {
        return expr->as.name;
    }
    if (expr->kind == AST_FIELD) {
        base = field_path(el, expr->as.field.base);
        if (base == NULL) {
            return NULL;
        }
        return expr->as.field.name
                   ? arena_format(el->arena, "%s.%s", base, expr->as.field.name)
                   : arena_format(el->arena, "%s.%lld", base, (long long)expr->as.field.integer);
    }
    if (expr->kind == AST_INDEX && expr->as.index.items.count == 1 &&
        expr->as.index.items.items[0].kind == AST_INDEX_AT) {
        base = field_path(el, expr->as.index.base);
        Val at = base ? elaborate_expr(el, expr->as.index.items.items[0].start) : val_error();
        return at.kind == VAL_INT ? arena_format(el->arena, "%s.%lld", base, (long long)at.as.i)
                                  : NULL;
    }
    return NULL;
}

static Val elaborate_field(Elaborator *el, const AstExpr *expr) {
    const char *path = field_path(el, expr);
    if (path) {
        Val value = persist_read(el, path, expr->place);
        if (value.kind != VAL_NONE) {
            return value;
        }
    }
    /* `.0` of a tuple or list. */
    if (expr->as.field.name == NULL) {
        const AstExpr *base = expr->as.field.base;
        bool named = base->kind != AST_NAME || scope_find(el->scope, base->as.name, false);
        if (named) {
            Val value = elaborate_expr(el, base);
            if (value.kind == VAL_TUPLE || value.kind == VAL_LIST || val_is_error(value)) {
                return val_is_error(value)
                           ? value
                           : elaborate_item(el, value, expr->as.field.integer, expr->place);
            }
        }
    }
    if (el->trial && (el->trial_partial || el->has_shares)) {
        return val_error();
    }
    Diag *diag = EL_REPORT(el, FIELD_UNKNOWN, expr->place, path ? path : "of this expression");
    if (path) {
        Map names;
        map_init(&names, el->arena);
        size_t skip = el->frame && el->frame->path ? strlen(el->frame->path) : 0;
        for (size_t i = 0; el->fs && i < el->fs->uses.count; i++) {
            const char *key = el->fs->uses.entries[i].key;
            if (strncmp(key, el->frame->path ? el->frame->path : "", skip) == 0) {
                map_set(&names, skip ? key + skip + (key[skip] == '.') : key, &names);
            }
        }
        const char *near = map_suggest(&names, path);
        if (near) {
            elaborate_help(el, diag, "did you mean '%s'?", near);
        } else {
            elaborate_help(el, diag, "`call as p` comes first; p.weight is then its parameter");
        }
    }
    return val_error();
}

/* -- lists, conditionals */

/* A list of numbers (or of lists, rectangular). With a tensor in it, `[a, b]` is the tuple. */
static Val elaborate_list(Elaborator *el, const AstExpr *expr, ValKind kind) {
    int32_t count = expr->as.list.count;
    Val list = val_list(el, kind, count, expr->place);
    for (int32_t i = 0; i < count; i++) {
        Val item = elaborate_expr(el, expr->as.list.items[i]);
        if (val_is_error(item)) {
            return item;
        }
        if (kind == VAL_LIST && item.kind == VAL_TENSOR && val_stands_in(el, item)) {
            return val_error(); /* of numbers a list, of tensors a tuple */
        }
        list.as.list.items[i] = item;
        if (item.kind == VAL_TENSOR || item.kind == VAL_TUPLE) {
            list.kind = VAL_TUPLE;
        }
        if (kind == VAL_LIST && item.kind == VAL_FN) {
            EL_REPORT(el, LIST_KIND, expr->as.list.items[i]->place, val_describe(el, item));
            return val_error();
        }
    }
    for (int32_t i = 1; i < count && list.kind == VAL_LIST; i++) {
        Val item = list.as.list.items[i], first = list.as.list.items[0];
        bool ragged = (item.kind == VAL_LIST) != (first.kind == VAL_LIST) ||
                      (item.kind == VAL_LIST && item.as.list.count != first.as.list.count);
        if (ragged) {
            Diag *diag = EL_REPORT(el, LIST_RAGGED, expr->as.list.items[i]->place,
                                   val_describe(el, first), val_describe(el, item));
            elaborate_note(el, diag, first.place, "the first row");
            return val_error();
        }
    }
    return list;
}

static Val elaborate_conditional(Elaborator *el, const AstExpr *expr) {
    const AstExpr *condition = expr->as.conditional.condition;
    Val value = elaborate_expr(el, condition);
    if (val_is_error(value) || val_stands_in(el, value)) {
        return val_error();
    }
    if (value.kind != VAL_BOOL) {
        Diag *diag = EL_REPORT(el, CONDITION_KIND, condition->place, val_describe(el, value));
        if (value.kind == VAL_TENSOR) {
            elaborate_help(el, diag, "where(condition, a, b) chooses element by element");
        }
        return val_error();
    }
    return elaborate_expr(el,
                          value.as.i ? expr->as.conditional.then : expr->as.conditional.otherwise);
}

/* `and`, `or` on compile-time bools do not evaluate what is already decided. */
static Val elaborate_binary_expr(Elaborator *el, const AstExpr *expr) {
    AstOp op = expr->as.binary.op;
    Val left = elaborate_expr(el, expr->as.binary.left);
    if (left.kind == VAL_BOOL &&
        ((op == AST_OP_AND && !left.as.i) || (op == AST_OP_OR && left.as.i))) {
        return left;
    }
    Val right = elaborate_expr(el, expr->as.binary.right);
    return elaborate_binary(el, op, left, right, expr->place);
}

static Val elaborate_axis_fn(Elaborator *el, const AstExpr *expr) {
    Val value = val_fn(el, FN_AXIS, "{…}", expr->place);
    value.as.fn->axis = expr;
    value.as.fn->scope = el->scope;
    value.as.fn->frame = el->frame;
    return value;
}

static Val elaborate_inner(Elaborator *el, const AstExpr *expr) {
    switch (expr->kind) {
    case AST_ERROR:
        return val_error();
    case AST_INT:
        return val_int(expr->as.integer, expr->place);
    case AST_FLOAT:
        return val_float(expr->as.number, expr->place);
    case AST_BOOL:
        return val_bool(expr->as.integer != 0, expr->place);
    case AST_STRING: {
        const char *text = string_text(el, &expr->as.string, expr->place);
        return text ? val_string(text, expr->place) : val_error();
    }
    case AST_NAME:
        return elaborate_name(el, expr->as.name, expr->place);
    case AST_LIST_EXPR:
        return elaborate_list(el, expr, VAL_LIST);
    case AST_TUPLE:
        return elaborate_list(el, expr, VAL_TUPLE);
    case AST_UNARY: {
        Val value = elaborate_expr(el, expr->as.unary.operand);
        return expr->as.unary.op == AST_OP_NOT ? elaborate_not(el, value, expr->place)
                                               : elaborate_unary_minus(el, value, expr->place);
    }
    case AST_BINARY:
        return elaborate_binary_expr(el, expr);
    case AST_CONDITIONAL:
        return elaborate_conditional(el, expr);
    case AST_CALL:
        return elaborate_call(el, expr);
    case AST_INDEX:
        return elaborate_index(el, expr);
    case AST_FIELD:
        return elaborate_field(el, expr);
    case AST_AXIS_FN:
        return elaborate_axis_fn(el, expr);
    case AST_PAREN:
        return elaborate_expr(el, expr->as.inner);
    }
    return val_error();
}

Val elaborate_expr(Elaborator *el, const AstExpr *expr) {
    if (expr == NULL || !elaborate_may_nest(el, expr->place)) {
        return val_error();
    }
    el->depth++;
    Val value = elaborate_inner(el, expr);
    el->trial_partial = el->trial_partial || val_is_error(value);
    el->depth--;
    return value;
}
