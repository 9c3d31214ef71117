/* Expressions: literals, scopes, operators, conditionals, fields. Names, calls, indices and axis
 * functions have files of their own. */
#include "frontend/elaborate/elaborate.h"

#include "ir/base/number.h"

#include <string.h>

/* -- scopes */

/* Scopes of more names than this have an index. */
enum { FEW_BINDINGS = 32 };

static Binding *binding_in(const Scope *scope, const char *name) {
    if (scope->index) {
        return map_get(scope->index, name);
    }
    for (Binding *b = scope->first; b; b = b->next) {
        if (b->name == name) {
            return b;
        }
    }
    return NULL;
}

Binding *scope_find(Scope *scope, const char *name, bool to_barrier) {
    for (; scope; scope = scope->parent) {
        Binding *binding = binding_in(scope, name);
        if (binding || (to_barrier && scope->barrier)) {
            return binding;
        }
    }
    return NULL;
}

static void index_scope(Lower *lw, Scope *scope) {
    scope->index = ARENA_NEW(lw->arena, Map);
    map_init(scope->index, lw->arena);
    for (Binding *b = scope->first; b; b = b->next) {
        map_set(scope->index, b->name, b);
    }
}

void scope_define(Lower *lw, Scope *scope, const char *name, Val value, Place place) {
    Binding *binding = binding_in(scope, name);
    if (binding) {
        binding->value = value;
        binding->place = place;
        binding->persist = NULL;
        return;
    }
    binding = ARENA_NEW(lw->arena, Binding);
    *binding = (Binding){.name = name, .value = value, .place = place, .next = scope->first};
    scope->first = binding;
    if (scope->index) {
        map_set(scope->index, name, binding);
    } else if (++scope->count > FEW_BINDINGS) {
        index_scope(lw, scope);
    }
}

void scope_bind(Lower *lw, const char *name, Val value, Place place) {
    Binding *found = scope_find(lw->scope, name, true);
    if (found) {
        found->value = value;
        found->place = place;
        found->persist = NULL;
        return;
    }
    scope_define(lw, lw->scope, name, value, place);
}

Scope *scope_push(Lower *lw, bool barrier) {
    Scope *scope = ARENA_NEW(lw->arena, Scope);
    scope->parent = lw->scope;
    scope->barrier = barrier;
    lw->scope = scope;
    return scope;
}

void scope_pop(Lower *lw) {
    lw->scope = lw->scope->parent;
}

/* -- strings and paths */

static bool add_value(Lower *lw, Str *text, const AstStringPart *part) {
    Val value = lower_expr(lw, part->expr);
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
        str_add(text, size_text(lw->context, value.as.size));
        return true;
    default:
        LW_REPORT(lw, WRONG_KIND, part->expr->place, "what a string takes in",
                  "a number or a string", val_describe(lw, value));
        return false;
    }
}

static const char *string_text(Lower *lw, const AstStringParts *parts, Place place) {
    if (parts->count == 1 && parts->items[0].expr == NULL) {
        return context_intern(lw->context, parts->items[0].text);
    }
    Str text;
    dlc_allocator hooks = arena_hooks(lw->arena);
    str_init(&text, &hooks);
    for (int32_t i = 0; i < parts->count; i++) {
        const AstStringPart *part = &parts->items[i];
        if (part->expr == NULL) {
            str_add(&text, part->text);
        } else if (!add_value(lw, &text, part)) {
            return NULL;
        }
        if (text.length > LOWER_MAX_TEXT) {
            lower_limit(lw, place, "a string is longer than 65,536 bytes");
            return NULL;
        }
    }
    lw->n_text += (int64_t)text.length;
    if (lw->n_text > LOWER_MAX_ALL_TEXT) {
        lower_limit(lw, place, "the strings made when compiling have more than 16 MiB in all");
        return NULL;
    }
    return context_intern(lw->context, str_text(&text));
}

const char *lower_path(Lower *lw, const AstPath *path) {
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
            piece = arena_format(lw->arena, "%lld", (long long)part->integer);
            break;
        case AST_PATH_INDEX: {
            Val value = lower_expr(lw, part->expr);
            if (!need_int(lw, value, "an index in a path", part->place, &index)) {
                return NULL;
            }
            piece = arena_format(lw->arena, "%lld", (long long)index);
            break;
        }
        case AST_PATH_STRING:
            piece = string_text(lw, &part->expr->as.string, part->place);
            break;
        }
        if (piece == NULL) {
            return NULL;
        }
        if (strlen(text) + strlen(piece) > LOWER_MAX_PATH) {
            lower_limit(lw, part->place, "a path is longer than 4,096 bytes");
            return NULL;
        }
        text = i == 0 ? piece : arena_format(lw->arena, "%s.%s", text, piece);
    }
    return context_intern(lw->context, text);
}

/* `h[i].attn.weight` as path text; NULL when the expression is no path. Silent. */
static const char *field_path(Lower *lw, const AstExpr *expr) {
    const char *base = NULL;
    if (expr->kind == AST_NAME) {
        return expr->as.name;
    }
    if (expr->kind == AST_FIELD) {
        base = field_path(lw, expr->as.field.base);
        if (base == NULL) {
            return NULL;
        }
        return expr->as.field.name
                   ? arena_format(lw->arena, "%s.%s", base, expr->as.field.name)
                   : arena_format(lw->arena, "%s.%lld", base, (long long)expr->as.field.integer);
    }
    if (expr->kind == AST_INDEX && expr->as.index.items.count == 1 &&
        expr->as.index.items.items[0].kind == AST_INDEX_AT) {
        base = field_path(lw, expr->as.index.base);
        Val at = base ? lower_expr(lw, expr->as.index.items.items[0].start) : val_error();
        return at.kind == VAL_INT ? arena_format(lw->arena, "%s.%lld", base, (long long)at.as.i)
                                  : NULL;
    }
    return NULL;
}

static Val lower_field(Lower *lw, const AstExpr *expr) {
    const char *path = field_path(lw, expr);
    if (path) {
        Val value = persist_read(lw, path, expr->place);
        if (value.kind != VAL_NONE) {
            return value;
        }
    }
    /* `.0` of a tuple or list. */
    if (expr->as.field.name == NULL) {
        const AstExpr *base = expr->as.field.base;
        bool named = base->kind != AST_NAME || scope_find(lw->scope, base->as.name, false);
        if (named) {
            Val value = lower_expr(lw, base);
            if (value.kind == VAL_TUPLE || value.kind == VAL_LIST || val_is_error(value)) {
                return val_is_error(value)
                           ? value
                           : lower_item(lw, value, expr->as.field.integer, expr->place);
            }
        }
    }
    if (lw->trial && (lw->trial_partial || lw->has_shares)) {
        return val_error();
    }
    Diag *diag = LW_REPORT(lw, FIELD_UNKNOWN, expr->place, path ? path : "of this expression");
    if (path) {
        Map names;
        map_init(&names, lw->arena);
        size_t skip = lw->frame && lw->frame->path ? strlen(lw->frame->path) : 0;
        for (size_t i = 0; lw->fs && i < lw->fs->uses.count; i++) {
            const char *key = lw->fs->uses.entries[i].key;
            if (strncmp(key, lw->frame->path ? lw->frame->path : "", skip) == 0) {
                map_set(&names, skip ? key + skip + (key[skip] == '.') : key, &names);
            }
        }
        const char *near = map_suggest(&names, path);
        if (near) {
            lower_help(lw, diag, "did you mean '%s'?", near);
        } else {
            lower_help(lw, diag, "`call as p` comes first; p.weight is then its parameter");
        }
    }
    return val_error();
}

/* -- lists, conditionals */

/* A list of numbers (or of lists, rectangular). With a tensor in it, `[a, b]` is the tuple. */
static Val lower_list(Lower *lw, const AstExpr *expr, ValKind kind) {
    int32_t count = expr->as.list.count;
    Val list = val_list(lw, kind, count, expr->place);
    for (int32_t i = 0; i < count; i++) {
        Val item = lower_expr(lw, expr->as.list.items[i]);
        if (val_is_error(item)) {
            return item;
        }
        if (kind == VAL_LIST && item.kind == VAL_TENSOR && val_stands_in(lw, item)) {
            return val_error(); /* of numbers a list, of tensors a tuple */
        }
        list.as.list.items[i] = item;
        if (item.kind == VAL_TENSOR || item.kind == VAL_TUPLE) {
            list.kind = VAL_TUPLE;
        }
        if (kind == VAL_LIST && item.kind == VAL_FN) {
            LW_REPORT(lw, LIST_KIND, expr->as.list.items[i]->place, val_describe(lw, item));
            return val_error();
        }
    }
    for (int32_t i = 1; i < count && list.kind == VAL_LIST; i++) {
        Val item = list.as.list.items[i], first = list.as.list.items[0];
        bool ragged = (item.kind == VAL_LIST) != (first.kind == VAL_LIST) ||
                      (item.kind == VAL_LIST && item.as.list.count != first.as.list.count);
        if (ragged) {
            Diag *diag = LW_REPORT(lw, LIST_RAGGED, expr->as.list.items[i]->place,
                                   val_describe(lw, first), val_describe(lw, item));
            lower_note(lw, diag, first.place, "the first row");
            return val_error();
        }
    }
    return list;
}

static Val lower_conditional(Lower *lw, const AstExpr *expr) {
    const AstExpr *condition = expr->as.conditional.condition;
    Val value = lower_expr(lw, condition);
    if (val_is_error(value) || val_stands_in(lw, value)) {
        return val_error();
    }
    if (value.kind != VAL_BOOL) {
        Diag *diag = LW_REPORT(lw, CONDITION_KIND, condition->place, val_describe(lw, value));
        if (value.kind == VAL_TENSOR) {
            lower_help(lw, diag, "where(condition, a, b) chooses element by element");
        }
        return val_error();
    }
    return lower_expr(lw, value.as.i ? expr->as.conditional.then : expr->as.conditional.otherwise);
}

/* `and`, `or` on compile-time bools do not evaluate what is already decided. */
static Val lower_binary_expr(Lower *lw, const AstExpr *expr) {
    AstOp op = expr->as.binary.op;
    Val left = lower_expr(lw, expr->as.binary.left);
    if (left.kind == VAL_BOOL &&
        ((op == AST_OP_AND && !left.as.i) || (op == AST_OP_OR && left.as.i))) {
        return left;
    }
    Val right = lower_expr(lw, expr->as.binary.right);
    return lower_binary(lw, op, left, right, expr->place);
}

static Val lower_axis_fn(Lower *lw, const AstExpr *expr) {
    Val value = val_fn(lw, FN_AXIS, "{…}", expr->place);
    value.as.fn->axis = expr;
    value.as.fn->scope = lw->scope;
    value.as.fn->frame = lw->frame;
    return value;
}

static Val lower_inner(Lower *lw, const AstExpr *expr) {
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
        const char *text = string_text(lw, &expr->as.string, expr->place);
        return text ? val_string(text, expr->place) : val_error();
    }
    case AST_NAME:
        return lower_name(lw, expr->as.name, expr->place);
    case AST_LIST_EXPR:
        return lower_list(lw, expr, VAL_LIST);
    case AST_TUPLE:
        return lower_list(lw, expr, VAL_TUPLE);
    case AST_UNARY: {
        Val value = lower_expr(lw, expr->as.unary.operand);
        return expr->as.unary.op == AST_OP_NOT ? lower_not(lw, value, expr->place)
                                               : lower_unary_minus(lw, value, expr->place);
    }
    case AST_BINARY:
        return lower_binary_expr(lw, expr);
    case AST_CONDITIONAL:
        return lower_conditional(lw, expr);
    case AST_CALL:
        return lower_call(lw, expr);
    case AST_INDEX:
        return lower_index(lw, expr);
    case AST_FIELD:
        return lower_field(lw, expr);
    case AST_AXIS_FN:
        return lower_axis_fn(lw, expr);
    case AST_PAREN:
        return lower_expr(lw, expr->as.inner);
    }
    return val_error();
}

Val lower_expr(Lower *lw, const AstExpr *expr) {
    if (expr == NULL || !lower_may_nest(lw, expr->place)) {
        return val_error();
    }
    lw->depth++;
    Val value = lower_inner(lw, expr);
    lw->trial_partial = lw->trial_partial || val_is_error(value);
    lw->depth--;
    return value;
}
