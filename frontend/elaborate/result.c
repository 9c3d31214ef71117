/* What models give: outputs, metrics, losses; and quotients `a over b`, whose parts are summed over
 * a whole step or evaluation before they are divided. */
#include "frontend/elaborate/elaborate.h"
#include "frontend/elaborate/reach.h"

#include <string.h>

static bool in_model(Elaborator *el, const AstStmt *stmt, const char *word) {
    if (el->frame->is_model && el->fs->loop == el->frame->loop) {
        return true;
    }
    EL_REPORT(el, MISPLACED, stmt->place,
              arena_format(el->arena, "`%s` stands only in a model or an entry", word));
    return false;
}

static void add_named(Elaborator *el, NamedVec *vec, const char *what, Named named) {
    for (size_t i = 0; i < vec->count; i++) {
        if (strcmp(vec->items[i].name, named.name) == 0) {
            Diag *diag = EL_REPORT(el, RESULT_TWICE, named.place, what, named.name);
            elaborate_note(el, diag, vec->items[i].place, "first given here");
            elaborate_help(el, diag, "give it a name: %s name = …", what);
            return;
        }
    }
    VEC_PUSH(el->arena, vec, named);
}

static const char *given_name(Elaborator *el, const AstStmt *stmt, const char *fallback) {
    if (stmt->as.named.name.text) {
        return stmt->as.named.name.text;
    }
    const AstExpr *value = stmt->as.named.value;
    if (stmt->kind != AST_STMT_LOSS && value->kind == AST_NAME) {
        return value->as.name;
    }
    return context_intern(el->context, fallback);
}

void elaborate_output(Elaborator *el, const AstStmt *stmt) {
    if (!in_model(el, stmt, "output")) {
        return;
    }
    Val value = elaborate_expr(el, stmt->as.named.value);
    Value *tensor = need_tensor(el, value, "an output", stmt->as.named.value->place);
    if (tensor) {
        Named named = {.name = given_name(el, stmt, "output"),
                       .value = val_tensor(tensor, false, value.place),
                       .place = stmt->place};
        add_named(el, &el->fs->outputs, "output", named);
    }
}

/* -- quotients */

/* A parameter that a derivative of `value` flows to, frozen ones only if asked for; NULL: none. */
static const PersistUse *reached_param(Elaborator *el, Value *value, bool frozen) {
    size_t count = el->fs ? el->fs->uses.count : 0;
    Value **params = ARENA_ARRAY(el->arena, Value *, count + 1);
    bool *reached = ARENA_ARRAY(el->arena, bool, count + 1);
    for (size_t i = 0; i < count; i++) {
        params[i] = ((PersistUse *)el->fs->uses.entries[i].value)->value;
    }
    values_reached(el->arena, value, params, (int32_t)count, reached);
    for (size_t i = 0; i < count; i++) {
        const PersistUse *use = el->fs->uses.entries[i].value;
        if (reached[i] && use->persist->kind == PERSIST_PARAM &&
            (frozen || !el->train || !setting_freezes(el, use->persist->path))) {
            return use;
        }
    }
    return NULL;
}

Val elaborate_quotient(Elaborator *el, const AstExpr *a, const AstExpr *b) {
    Val above = elaborate_expr(el, a), below = elaborate_expr(el, b);
    if (above.kind == VAL_TENSOR && val_is_number(below) && el->fs) {
        DType dtype = above.as.tensor->type.dtype;
        dtype = dtype_is_float(dtype) ? dtype : elaborate_float(el);
        below = val_tensor(elaborate_as(el, below, dtype, b->place), false, b->place);
    }
    bool tensors = above.kind == VAL_TENSOR && below.kind == VAL_TENSOR && el->fs;
    Value *x = tensors ? above.as.tensor : NULL, *y = tensors ? below.as.tensor : NULL;
    if (x && y && dtype_is_float(x->type.dtype) && !dtype_is_float(y->type.dtype)) {
        elaborate_at(el, b->place); /* a count */
        below.as.tensor = y = elaborate_made(el, b_cast(&el->b, y, x->type.dtype), b->place);
    }
    DType wider;
    if (x && y && x->type.dtype != y->type.dtype &&
        dtype_promote(x->type.dtype, y->type.dtype, &wider)) {
        above.as.tensor = x = elaborate_as(el, above, wider, a->place);
        below.as.tensor = y = elaborate_as(el, below, wider, b->place);
    }
    bool remembers = x && y && x->type.rank == 0 && y->type.rank == 0 &&
                     x->type.dtype == y->type.dtype && dtype_is_float(x->type.dtype);
    Quotient *quotient = ARENA_NEW(el->arena, Quotient);
    if (remembers && !reached_param(el, y, true)) {
        elaborate_at(el, b->place);
        below.as.tensor = y = elaborate_made(el, b_stop_gradient(&el->b, y), b->place);
    }
    *quotient = (Quotient){x, y, elaborate_user_place(el, b->place)};
    Val result = elaborate_binary(el, AST_OP_DIV, above, below, a->place);
    result.quotient = remembers && result.kind == VAL_TENSOR ? quotient : NULL;
    result.lost = NULL;
    return result;
}

/* -- metrics */

static Value *as_metric(Elaborator *el, Value *tensor, Place place) {
    elaborate_at(el, place);
    return elaborate_made(el, b_cast(&el->b, tensor, elaborate_float(el)), place);
}

static Value *scalar_value(Elaborator *el, const AstStmt *stmt, const AstExpr *expr, Value **over) {
    Val value = elaborate_expr(el, expr);
    Value *tensor = need_tensor(el, value, "a metric", expr->place);
    if (tensor == NULL) {
        return NULL;
    }
    if (tensor->type.rank != 0) {
        Diag *diag = EL_REPORT(el, METRIC_SCALAR, expr->place, val_describe(el, value));
        elaborate_help(el, diag, "take its mean: mean(x)");
        return NULL;
    }
    if (!pairs_check(el, tensor, "metric", given_name(el, stmt, "metric"), stmt->place)) {
        return NULL;
    }
    if (over && value.kind == VAL_TENSOR && value.quotient) {
        *over = as_metric(el, value.quotient->b, expr->place);
        tensor = value.quotient->a;
    }
    return as_metric(el, tensor, expr->place);
}

void elaborate_metric(Elaborator *el, const AstStmt *stmt) {
    if (!in_model(el, stmt, "metric") || el->fs->purpose == PURPOSE_INFER) {
        return;
    }
    const AstExpr *divisor = stmt->as.named.over;
    Value *over = NULL;
    Value *value = scalar_value(el, stmt, stmt->as.named.value, divisor ? NULL : &over);
    if (divisor) {
        over = scalar_value(el, stmt, divisor, NULL);
    }
    if (value && (over || !divisor)) {
        Named named = {.name = given_name(el, stmt, "metric"),
                       .value = val_tensor(value, false, stmt->place),
                       .over = over,
                       .place = stmt->place};
        add_named(el, &el->fs->metrics, "metric", named);
    }
}

/* -- losses */

/* Whether the value is a float scalar; reported otherwise. */
static Value *loss_scalar(Elaborator *el, Val value, const AstExpr *expr) {
    Value *tensor = need_tensor(el, value, "a loss", expr->place);
    if (tensor == NULL || (tensor->type.rank == 0 && dtype_is_float(tensor->type.dtype))) {
        return tensor;
    }
    Diag *diag = EL_REPORT(el, LOSS_SCALAR, expr->place, val_describe(el, value));
    if (value.place.source && value.place.line != expr->place.line) {
        elaborate_note(el, diag, value.place, "it is computed here");
    }
    if (tensor->type.rank != 0) {
        elaborate_help(el, diag, "take its mean: loss mean(…)");
    }
    return NULL;
}

/* The divisor is summed apart from what it divides, so that no derivative may flow through it. A
 * function's quotient is in a whole step an ordinary one. */
static bool divisor_fits(Elaborator *el, const Quotient *quotient, bool is_asked, bool *out_plain) {
    const PersistUse *param = reached_param(el, quotient->b, false);
    bool trains = el->fs->purpose == PURPOSE_TRAIN && param;
    *out_plain = param && !is_asked;
    if (!trains || (!is_asked && !el->fs->parts)) {
        return true;
    }
    Diag *diag = EL_REPORT(el, LOSS_OVER_TRAINED, quotient->place, param->persist->path);
    elaborate_note(el, diag, param->place, "the parameter is declared here");
    elaborate_help(el, diag, "stop_gradient(…) keeps it out of the derivative");
    return false;
}

/* A loss that is computed from a quotient over data and is none: its parts are averaged. */
static void warn_lost(Elaborator *el, Val value, const char *name, Place place) {
    const Quotient *lost = value.kind == VAL_TENSOR ? value.lost : NULL;
    if (lost == NULL || !value_reads_data(el->arena, el->fs->func, lost->b)) {
        return;
    }
    Diag *diag = EL_REPORT(el, QUOTIENT_LOST, place, name);
    elaborate_note(el, diag, lost->place, "the divisor of this quotient counts in the data");
    elaborate_help(el, diag,
                   "give each term a loss of its own, which are added up: loss first = … and "
                   "loss second = …");
}

void elaborate_loss(Elaborator *el, const AstStmt *stmt) {
    if (!in_model(el, stmt, "loss") || el->fs->purpose == PURPOSE_INFER) {
        return;
    }
    const AstExpr *expr = stmt->as.named.value, *divisor = stmt->as.named.over;
    Val value = divisor ? elaborate_quotient(el, expr, divisor) : elaborate_expr(el, expr);
    Value *tensor = loss_scalar(el, value, expr);
    if (tensor == NULL ||
        !pairs_check(el, tensor, "loss", given_name(el, stmt, "loss"), stmt->place)) {
        return;
    }
    const Quotient *quotient = value.kind == VAL_TENSOR ? value.quotient : NULL;
    warn_lost(el, value, given_name(el, stmt, "loss"), expr->place);
    if (divisor && !quotient) {
        EL_REPORT(el, LOSS_SCALAR, divisor->place, "a quotient by what is no float scalar");
        return;
    }
    bool is_plain = false;
    if (quotient && !divisor_fits(el, quotient, divisor != NULL, &is_plain)) {
        return;
    }
    Named named = {.name = given_name(el, stmt, "loss"), .place = stmt->place};
    if (quotient && !is_plain) {
        named.sum = quotient->a;
        named.over = quotient->b;
        const Parts *parts = el->fs->parts;
        Value *share = parts && parts->loop ? map_get(&parts->shares, named.name) : NULL;
        if (share) { /* a part's share of what the whole batch divides by */
            elaborate_at(el, stmt->place);
            tensor = elaborate_made(el, b_div(&el->b, quotient->a, share), stmt->place);
        }
    }
    named.value = val_tensor(tensor, false, value.place);
    add_named(el, &el->fs->losses, "loss", named);
}
