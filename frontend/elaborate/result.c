/* What models give: outputs, metrics, losses; and quotients `a over b`, whose parts are summed over
 * a whole step or evaluation before they are divided. */
#include "frontend/elaborate/elaborate.h"
#include "frontend/elaborate/reach.h"

#include <string.h>

static bool in_model(Lower *lw, const AstStmt *stmt, const char *word) {
    if (lw->frame->is_model && lw->fs->loop == lw->frame->loop) {
        return true;
    }
    LW_REPORT(lw, MISPLACED, stmt->place,
              arena_format(lw->arena, "`%s` stands only in a model or an entry", word));
    return false;
}

static void add_named(Lower *lw, NamedVec *vec, const char *what, Named named) {
    for (size_t i = 0; i < vec->count; i++) {
        if (strcmp(vec->items[i].name, named.name) == 0) {
            Diag *diag = LW_REPORT(lw, RESULT_TWICE, named.place, what, named.name);
            lower_note(lw, diag, vec->items[i].place, "first given here");
            lower_help(lw, diag, "give it a name: %s name = …", what);
            return;
        }
    }
    VEC_PUSH(lw->arena, vec, named);
}

static const char *given_name(Lower *lw, const AstStmt *stmt, const char *fallback) {
    if (stmt->as.named.name.text) {
        return stmt->as.named.name.text;
    }
    const AstExpr *value = stmt->as.named.value;
    if (stmt->kind != AST_STMT_LOSS && value->kind == AST_NAME) {
        return value->as.name;
    }
    return context_intern(lw->context, fallback);
}

void lower_output(Lower *lw, const AstStmt *stmt) {
    if (!in_model(lw, stmt, "output")) {
        return;
    }
    Val value = lower_expr(lw, stmt->as.named.value);
    Value *tensor = need_tensor(lw, value, "an output", stmt->as.named.value->place);
    if (tensor) {
        Named named = {.name = given_name(lw, stmt, "output"),
                       .value = val_tensor(tensor, false, value.place),
                       .place = stmt->place};
        add_named(lw, &lw->fs->outputs, "output", named);
    }
}

/* -- quotients */

/* A parameter that a derivative of `value` flows to, frozen ones only if asked for; NULL: none. */
static const PersistUse *reached_param(Lower *lw, Value *value, bool frozen) {
    size_t count = lw->fs ? lw->fs->uses.count : 0;
    Value **params = ARENA_ARRAY(lw->arena, Value *, count + 1);
    bool *reached = ARENA_ARRAY(lw->arena, bool, count + 1);
    for (size_t i = 0; i < count; i++) {
        params[i] = ((PersistUse *)lw->fs->uses.entries[i].value)->value;
    }
    values_reached(lw->arena, value, params, (int32_t)count, reached);
    for (size_t i = 0; i < count; i++) {
        const PersistUse *use = lw->fs->uses.entries[i].value;
        if (reached[i] && use->persist->kind == PERSIST_PARAM &&
            (frozen || !lw->train || !train_frozen(lw, use->persist->path))) {
            return use;
        }
    }
    return NULL;
}

Val lower_quotient(Lower *lw, const AstExpr *a, const AstExpr *b) {
    Val above = lower_expr(lw, a), below = lower_expr(lw, b);
    if (above.kind == VAL_TENSOR && val_is_number(below) && lw->fs) {
        DType dtype = above.as.tensor->type.dtype;
        dtype = dtype_is_float(dtype) ? dtype : lower_float(lw);
        below = val_tensor(lower_as(lw, below, dtype, b->place), false, b->place);
    }
    bool tensors = above.kind == VAL_TENSOR && below.kind == VAL_TENSOR && lw->fs;
    Value *x = tensors ? above.as.tensor : NULL, *y = tensors ? below.as.tensor : NULL;
    if (x && y && dtype_is_float(x->type.dtype) && !dtype_is_float(y->type.dtype)) {
        lower_at(lw, b->place); /* a count */
        below.as.tensor = y = lower_made(lw, b_cast(&lw->b, y, x->type.dtype), b->place);
    }
    DType wider;
    if (x && y && x->type.dtype != y->type.dtype &&
        dtype_promote(x->type.dtype, y->type.dtype, &wider)) {
        above.as.tensor = x = lower_as(lw, above, wider, a->place);
        below.as.tensor = y = lower_as(lw, below, wider, b->place);
    }
    bool remembers = x && y && x->type.rank == 0 && y->type.rank == 0 &&
                     x->type.dtype == y->type.dtype && dtype_is_float(x->type.dtype);
    Quotient *quotient = ARENA_NEW(lw->arena, Quotient);
    if (remembers && !reached_param(lw, y, true)) {
        lower_at(lw, b->place);
        below.as.tensor = y = lower_made(lw, b_stop_gradient(&lw->b, y), b->place);
    }
    *quotient = (Quotient){x, y, lower_user_place(lw, b->place)};
    Val result = lower_binary(lw, AST_OP_DIV, above, below, a->place);
    result.quotient = remembers && result.kind == VAL_TENSOR ? quotient : NULL;
    result.lost = NULL;
    return result;
}

/* Whether the value is a scalar that all parts of a batch have in common: of numbers, parameters
 * and steps, not of data. */
static bool is_common(Lower *lw, Val value) {
    if (value.kind == VAL_INT || value.kind == VAL_FLOAT) {
        return true;
    }
    return value.kind == VAL_TENSOR && value.as.tensor->type.rank == 0 && lw->fs &&
           !value_reads_data(lw->arena, lw->fs->func, value.as.tensor);
}

static Val tensor_of(Value *value) {
    return val_tensor(value, false, value->op ? value->op->place : (Place){0});
}

/* The numerator of what is still divided by b; an error: it is no such quotient. */
static Val numerator(Lower *lw, AstOp op, Val left, Val right, Place place) {
    const Quotient *x = left.quotient, *y = right.quotient;
    if (op == AST_OP_MUL && !(x && y) && is_common(lw, x ? right : left)) {
        Val a = tensor_of(x ? x->a : y->a);
        return lower_binary(lw, op, x ? a : left, x ? right : a, place);
    }
    if (op == AST_OP_DIV && x && !y && is_common(lw, right)) {
        return lower_binary(lw, op, tensor_of(x->a), right, place);
    }
    if (op != AST_OP_ADD && op != AST_OP_SUB) {
        return val_error();
    }
    if (x && y) {
        return x->b == y->b ? lower_binary(lw, op, tensor_of(x->a), tensor_of(y->a), place)
                            : val_error();
    }
    /* a / b + c is (a + c b) / b. */
    Val other = x ? right : left;
    if (!is_common(lw, other)) {
        return val_error();
    }
    Val more = lower_binary(lw, AST_OP_MUL, other, tensor_of(x ? x->b : y->b), place);
    Val a = tensor_of(x ? x->a : y->a);
    return lower_binary(lw, op, x ? a : more, x ? more : a, place);
}

Val quotient_kept(Lower *lw, AstOp op, Val left, Val right, Val result, Place place) {
    if (result.kind != VAL_TENSOR || !lw->fs) {
        return result;
    }
    const Quotient *from = left.quotient ? left.quotient : right.quotient;
    Val a = numerator(lw, op, left, right, place);
    bool fits = a.kind == VAL_TENSOR && a.as.tensor->type.rank == 0 &&
                a.as.tensor->type.dtype == from->b->type.dtype;
    result.lost = fits ? NULL : from;
    if (fits) {
        Quotient *quotient = ARENA_NEW(lw->arena, Quotient);
        *quotient = (Quotient){a.as.tensor, from->b, from->place};
        result.quotient = quotient;
    }
    return result;
}

/* -- metrics */

static Value *as_metric(Lower *lw, Value *tensor, Place place) {
    lower_at(lw, place);
    return lower_made(lw, b_cast(&lw->b, tensor, lower_float(lw)), place);
}

static Value *scalar_value(Lower *lw, const AstStmt *stmt, const AstExpr *expr, Value **over) {
    Val value = lower_expr(lw, expr);
    Value *tensor = need_tensor(lw, value, "a metric", expr->place);
    if (tensor == NULL) {
        return NULL;
    }
    if (tensor->type.rank != 0) {
        Diag *diag = LW_REPORT(lw, METRIC_SCALAR, expr->place, val_describe(lw, value));
        lower_help(lw, diag, "take its mean: mean(x)");
        return NULL;
    }
    if (!pairs_check(lw, tensor, "metric", given_name(lw, stmt, "metric"), stmt->place)) {
        return NULL;
    }
    if (over && value.kind == VAL_TENSOR && value.quotient) {
        *over = as_metric(lw, value.quotient->b, expr->place);
        tensor = value.quotient->a;
    }
    return as_metric(lw, tensor, expr->place);
}

void lower_metric(Lower *lw, const AstStmt *stmt) {
    if (!in_model(lw, stmt, "metric") || lw->fs->purpose == PURPOSE_INFER) {
        return;
    }
    const AstExpr *divisor = stmt->as.named.over;
    Value *over = NULL;
    Value *value = scalar_value(lw, stmt, stmt->as.named.value, divisor ? NULL : &over);
    if (divisor) {
        over = scalar_value(lw, stmt, divisor, NULL);
    }
    if (value && (over || !divisor)) {
        Named named = {.name = given_name(lw, stmt, "metric"),
                       .value = val_tensor(value, false, stmt->place),
                       .over = over,
                       .place = stmt->place};
        add_named(lw, &lw->fs->metrics, "metric", named);
    }
}

/* -- losses */

/* Whether the value is a float scalar; reported otherwise. */
static Value *loss_scalar(Lower *lw, Val value, const AstExpr *expr) {
    Value *tensor = need_tensor(lw, value, "a loss", expr->place);
    if (tensor == NULL || (tensor->type.rank == 0 && dtype_is_float(tensor->type.dtype))) {
        return tensor;
    }
    Diag *diag = LW_REPORT(lw, LOSS_SCALAR, expr->place, val_describe(lw, value));
    if (value.place.source && value.place.line != expr->place.line) {
        lower_note(lw, diag, value.place, "it is computed here");
    }
    if (tensor->type.rank != 0) {
        lower_help(lw, diag, "take its mean: loss mean(…)");
    }
    return NULL;
}

/* The divisor is summed apart from what it divides, so that no derivative may flow through it. A
 * function's quotient is in a whole step an ordinary one. */
static bool divisor_fits(Lower *lw, const Quotient *quotient, bool is_asked, bool *out_plain) {
    const PersistUse *param = reached_param(lw, quotient->b, false);
    bool trains = lw->fs->purpose == PURPOSE_TRAIN && param;
    *out_plain = param && !is_asked;
    if (!trains || (!is_asked && !lw->fs->parts)) {
        return true;
    }
    Diag *diag = LW_REPORT(lw, LOSS_OVER_TRAINED, quotient->place, param->persist->path);
    lower_note(lw, diag, param->place, "the parameter is declared here");
    lower_help(lw, diag, "stop_gradient(…) keeps it out of the derivative");
    return false;
}

/* A loss that is computed from a quotient over data and is none: its parts are averaged. */
static void warn_lost(Lower *lw, Val value, const char *name, Place place) {
    const Quotient *lost = value.kind == VAL_TENSOR ? value.lost : NULL;
    if (lost == NULL || !value_reads_data(lw->arena, lw->fs->func, lost->b)) {
        return;
    }
    Diag *diag = LW_REPORT(lw, QUOTIENT_LOST, place, name);
    lower_note(lw, diag, lost->place, "the divisor of this quotient counts in the data");
    lower_help(lw, diag,
               "give each term a loss of its own, which are added up: loss first = … and "
               "loss second = …");
}

void lower_loss(Lower *lw, const AstStmt *stmt) {
    if (!in_model(lw, stmt, "loss") || lw->fs->purpose == PURPOSE_INFER) {
        return;
    }
    const AstExpr *expr = stmt->as.named.value, *divisor = stmt->as.named.over;
    Val value = divisor ? lower_quotient(lw, expr, divisor) : lower_expr(lw, expr);
    Value *tensor = loss_scalar(lw, value, expr);
    if (tensor == NULL ||
        !pairs_check(lw, tensor, "loss", given_name(lw, stmt, "loss"), stmt->place)) {
        return;
    }
    const Quotient *quotient = value.kind == VAL_TENSOR ? value.quotient : NULL;
    warn_lost(lw, value, given_name(lw, stmt, "loss"), expr->place);
    if (divisor && !quotient) {
        LW_REPORT(lw, LOSS_SCALAR, divisor->place, "a quotient by what is no float scalar");
        return;
    }
    bool is_plain = false;
    if (quotient && !divisor_fits(lw, quotient, divisor != NULL, &is_plain)) {
        return;
    }
    Named named = {.name = given_name(lw, stmt, "loss"), .place = stmt->place};
    if (quotient && !is_plain) {
        named.sum = quotient->a;
        named.over = quotient->b;
        const Parts *parts = lw->fs->parts;
        Value *share = parts && parts->loop ? map_get(&parts->shares, named.name) : NULL;
        if (share) { /* a part's share of what the whole batch divides by */
            lower_at(lw, stmt->place);
            tensor = lower_made(lw, b_div(&lw->b, quotient->a, share), stmt->place);
        }
    }
    named.value = val_tensor(tensor, false, value.place);
    add_named(lw, &lw->fs->losses, "loss", named);
}
