/* Constructors of expressions, paths and types. They also keep the depth, so that a walker may
 * recurse; what is too deep is reported once and replaced by AST_ERROR. */
#include "frontend/parse/scan.h"

static int32_t depth_of(const AstExpr *expr) {
    return expr ? expr->depth : 0;
}

static void deepen(AstExpr *expr, const AstExpr *child) {
    if (expr->depth <= depth_of(child)) {
        expr->depth = depth_of(child) + 1;
    }
}

/* The finished node, or a stand-in when it is too deep. */
static AstExpr *limit_depth(Parse *parse, AstExpr *expr) {
    if (expr->depth <= AST_MAX_DEPTH) {
        return expr;
    }
    parse_report(parse, DIAG_CHAIN, expr->place, NULL);
    return expr_new(parse, AST_ERROR, expr->place);
}

AstExpr *expr_new(Parse *parse, AstExprKind kind, Place place) {
    if (++parse->n_nodes == AST_MAX_NODES) {
        parse_report(parse, DIAG_LIMIT, place, "a file has more than 500,000 expressions");
        parse->stopped = true;
    }
    AstExpr *expr = ARENA_NEW(&parse->context->arena, AstExpr);
    expr->kind = kind;
    expr->depth = 1;
    expr->place = place;
    return expr;
}

AstExpr *expr_int(Parse *parse, int64_t integer, Place place) {
    AstExpr *expr = expr_new(parse, AST_INT, place);
    expr->as.integer = integer;
    return expr;
}

AstExpr *expr_name(Parse *parse, AstName name) {
    AstExpr *expr = expr_new(parse, AST_NAME, name.place);
    expr->as.name = name.text;
    return expr;
}

AstExpr *expr_list(Parse *parse, AstExprKind kind, AstExprs list, Place place) {
    AstExpr *expr = expr_new(parse, kind, place);
    expr->as.list = list;
    for (int32_t i = 0; i < list.count; i++) {
        deepen(expr, list.items[i]);
    }
    return limit_depth(parse, expr);
}

AstExpr *expr_tuple(Parse *parse, AstExpr *first, AstExprs others, Place place) {
    AstExprs all = {0};
    LIST_PUSH(parse, &all, first);
    for (int32_t i = 0; i < others.count; i++) {
        LIST_PUSH(parse, &all, others.items[i]);
    }
    return expr_list(parse, AST_TUPLE, all, place);
}

AstExpr *expr_values(Parse *parse, AstExprs list, Place place) {
    return list.count == 1 ? list.items[0] : expr_list(parse, AST_TUPLE, list, place);
}

/* One text of the literal pieces [first, end). */
static AstStringPart join_text(Parse *parse, const AstStringParts *parts, int32_t first,
                               int32_t end) {
    size_t total = 0;
    for (int32_t i = first; i < end; i++) {
        total += strlen(parts->items[i].text);
    }
    char *text = arena_alloc(&parse->context->arena, total + 1);
    size_t at = 0;
    for (int32_t i = first; i < end; i++) {
        size_t length = strlen(parts->items[i].text);
        memcpy(text + at, parts->items[i].text, length);
        at += length;
    }
    return (AstStringPart){
        .place = place_join(parts->items[first].place, parts->items[end - 1].place), .text = text};
}

/* Neighbouring literal pieces (text and escapes) become one. */
AstExpr *expr_string(Parse *parse, AstStringParts parts, Place place) {
    AstExpr *expr = expr_new(parse, AST_STRING, place);
    AstStringParts joined = {0};
    for (int32_t i = 0; i < parts.count;) {
        int32_t end = i;
        while (end < parts.count && parts.items[end].text) {
            end++;
        }
        if (end > i) {
            LIST_PUSH(parse, &joined, join_text(parse, &parts, i, end));
            i = end;
        } else {
            deepen(expr, parts.items[i].expr);
            LIST_PUSH(parse, &joined, parts.items[i]);
            i++;
        }
    }
    expr->as.string = joined;
    return limit_depth(parse, expr);
}

AstExpr *expr_paren(Parse *parse, AstExpr *inner, Place place) {
    AstExpr *expr = expr_new(parse, AST_PAREN, place);
    expr->as.inner = inner;
    deepen(expr, inner);
    return limit_depth(parse, expr);
}

AstExpr *expr_unary(Parse *parse, AstOp op, AstExpr *operand, Place place) {
    AstExpr *expr = expr_new(parse, AST_UNARY, place);
    expr->as.unary.op = op;
    expr->as.unary.operand = operand;
    deepen(expr, operand);
    return limit_depth(parse, expr);
}

AstExpr *expr_binary(Parse *parse, AstOp op, Place op_place, AstExpr *left, AstExpr *right) {
    AstExpr *expr = expr_new(parse, AST_BINARY, place_join(left->place, right->place));
    expr->as.binary.op = op;
    expr->as.binary.op_place = op_place;
    expr->as.binary.left = left;
    expr->as.binary.right = right;
    deepen(expr, left);
    deepen(expr, right);
    return limit_depth(parse, expr);
}

AstExpr *expr_conditional(Parse *parse, AstExpr *then, AstExpr *condition, AstExpr *otherwise) {
    AstExpr *expr = expr_new(parse, AST_CONDITIONAL, place_join(then->place, otherwise->place));
    expr->as.conditional.then = then;
    expr->as.conditional.condition = condition;
    expr->as.conditional.otherwise = otherwise;
    deepen(expr, then);
    deepen(expr, condition);
    deepen(expr, otherwise);
    return limit_depth(parse, expr);
}

AstExpr *expr_call(Parse *parse, AstExpr *callee, AstArgs args, bool has_parens, Place place) {
    AstExpr *expr = expr_new(parse, AST_CALL, place);
    expr->as.call.callee = callee;
    expr->as.call.args = args;
    expr->as.call.has_parens = has_parens;
    if (callee->kind == AST_NAME && strcmp(callee->as.name, "grad") == 0) {
        parse->file->has_grads = true;
    }
    deepen(expr, callee);
    for (int32_t i = 0; i < args.count; i++) {
        deepen(expr, args.items[i].value);
    }
    return limit_depth(parse, expr);
}

AstExpr *expr_label(AstExpr *call, AstLabel label) {
    if (call->kind == AST_CALL) {
        call->as.call.label = label;
        call->place = place_join(call->place, label.place);
    }
    return call;
}

AstExpr *expr_pipe(Parse *parse, AstExpr *left, AstExpr *stage) {
    if (stage->kind != AST_CALL) {
        return stage; /* AST_ERROR: reported */
    }
    stage->as.call.piped = left;
    deepen(stage, left);
    return limit_depth(parse, stage);
}

AstExpr *expr_index(Parse *parse, AstExpr *base, AstIndexItems items, Place place) {
    AstExpr *expr = expr_new(parse, AST_INDEX, place);
    expr->as.index.base = base;
    expr->as.index.items = items;
    deepen(expr, base);
    for (int32_t i = 0; i < items.count; i++) {
        deepen(expr, items.items[i].start);
        deepen(expr, items.items[i].stop);
        deepen(expr, items.items[i].step);
    }
    return limit_depth(parse, expr);
}

AstExpr *expr_field(Parse *parse, AstExpr *base, const AstName *name, int64_t integer, Place at) {
    AstExpr *expr = expr_new(parse, AST_FIELD, place_join(base->place, at));
    expr->as.field.base = base;
    expr->as.field.name = name ? name->text : NULL;
    expr->as.field.integer = integer;
    expr->as.field.name_place = at;
    deepen(expr, base);
    return limit_depth(parse, expr);
}

static void deepen_terms(AstExpr *expr, const AstAxisTerms *terms) {
    for (int32_t i = 0; i < terms->count; i++) {
        deepen(expr, terms->items[i].size);
        deepen_terms(expr, &terms->items[i].terms);
    }
}

AstExpr *expr_axis_fn(Parse *parse, AstAxisSides operands, AstAxisSide result, AstName by,
                      Place place) {
    AstExpr *expr = expr_new(parse, AST_AXIS_FN, place);
    expr->as.axis_fn.operands = operands;
    expr->as.axis_fn.result = result;
    expr->as.axis_fn.by = by;
    for (int32_t i = 0; i < operands.count; i++) {
        deepen_terms(expr, &operands.items[i].terms);
    }
    deepen_terms(expr, &result.terms);
    return limit_depth(parse, expr);
}

/* Positional arguments come first; a name is given once. */
void args_push(Parse *parse, AstArgs *args, AstArg arg) {
    enum { MAX_COMPARED = 256 }; /* so that a call of a million arguments stays linear */
    DiagList *diags = &parse->context->diags;
    const AstArg *last = args->count ? &args->items[args->count - 1] : NULL;
    if (!arg.name.text && last && last->name.text) {
        Diag *diag = parse_report(parse, DIAG_POSITIONAL_AFTER_NAMED, arg.place, NULL);
        diag_note(diags, diag, last->place, "a named argument stands here");
    }
    for (int32_t i = 0; arg.name.text && i < args->count && i < MAX_COMPARED; i++) {
        if (args->items[i].name.text == arg.name.text) {
            Diag *diag = parse_report(parse, DIAG_ARGUMENT_TWICE, arg.name.place, arg.name.text);
            diag_note(diags, diag, args->items[i].name.place, "first given here");
            break;
        }
    }
    LIST_PUSH(parse, args, arg);
}

AstPathPart path_name(AstName name) {
    return (AstPathPart){.kind = AST_PATH_NAME, .place = name.place, .name = name.text};
}

AstPathPart path_int(int64_t integer, Place place) {
    return (AstPathPart){.kind = AST_PATH_INT, .place = place, .integer = integer};
}

AstPathPart path_expr(AstPathPartKind kind, AstExpr *expr, Place place) {
    return (AstPathPart){.kind = kind, .place = place, .expr = expr};
}

AstLabel label_new(Parse *parse, AstLabelKind kind, AstPath path, Place place) {
    AstLabel label = {.kind = kind, .place = place, .path = path};
    if (kind == AST_LABEL_PATH && path.count == 1 && path.items[0].kind == AST_PATH_NAME &&
        strcmp(path.items[0].name, "_") == 0) {
        label.kind = AST_LABEL_SPLICE;
        label.path = (AstPath){0};
    }
    parse->file->has_shares = parse->file->has_shares || label.kind != AST_LABEL_PATH;
    return label;
}

AstType *type_new(Parse *parse, AstTypeKind kind, const AstName *element, Place place) {
    AstType *type = ARENA_NEW(&parse->context->arena, AstType);
    type->kind = kind;
    type->place = place;
    if (element) {
        type->element = element->text;
        type->element_place = element->place;
    }
    return type;
}

void *list_grow(Parse *parse, void *items, int32_t count, size_t item_size) {
    enum { FIRST = 4 };
    bool is_full = count == 0 || (count >= FIRST && (count & (count - 1)) == 0);
    if (!is_full) {
        return items;
    }
    size_t capacity = count == 0 ? FIRST : (size_t)count * 2;
    void *fresh = arena_alloc_array(&parse->context->arena, capacity, item_size);
    if (count) {
        memcpy(fresh, items, (size_t)count * item_size);
    }
    return fresh;
}
