/* `scan`: a loop that stays one. Its body is elaborated again when a weak carry turns out to be of
 * another type. */
#include "frontend/elaborate/loop.h"

typedef struct Scan {
    const AstStmt *stmt;
    Carry *carries;
    int32_t n_carries, n_xs, n_ys;
    Val *sources;
    Value **xs;
    const Size *length;
    int64_t along;
    Val *ys;
} Scan;

static bool scan_inputs(Elaborator *el, Scan *scan) {
    const AstScanInputs *inputs = &scan->stmt->as.scan.inputs;
    const AstExpr *along = scan->stmt->as.scan.along;
    scan->n_xs = inputs->count;
    scan->sources = ARENA_ARRAY(el->arena, Val, inputs->count + 1);
    scan->xs = ARENA_ARRAY(el->arena, Value *, inputs->count + 1);
    if (along && !need_int(el, elaborate_expr(el, along), "the axis of a scan", along->place,
                           &scan->along)) {
        return false;
    }
    for (int32_t i = 0; i < inputs->count; i++) {
        const AstExpr *expr = inputs->items[i].source;
        Val source = elaborate_expr(el, expr);
        Value *x = need_tensor(el, source, "what a scan reads", expr->place);
        int64_t axis = 0;
        if (x == NULL ||
            !need_axis(el, val_int(scan->along, expr->place), x->type.rank, expr->place, &axis)) {
            return false;
        }
        int64_t order[TYPE_MAX_RANK];
        order[0] = axis;
        for (int32_t k = 0, at = 1; k < x->type.rank; k++) {
            if (k != axis) {
                order[at++] = k;
            }
        }
        const Size *n = x->type.dims[axis];
        x = elaborate_transpose(el, x, order, expr->place);
        if (x && scan->length &&
            !elaborate_same_size(el, scan->length, scan->sources[0].place, n, expr->place,
                                 expr->place, "the lengths of a scan")) {
            return false;
        }
        if (x && scan->length && n != scan->length) {
            const Size *shape[TYPE_MAX_RANK];
            copy_sizes(shape, x->type.dims, x->type.rank);
            shape[0] = scan->length;
            x = elaborate_reshape(el, x, shape, x->type.rank, expr->place);
        }
        if (x == NULL) {
            return false;
        }
        scan->length = scan->length ? scan->length : n;
        scan->xs[i] = x;
        scan->sources[i] = val_tensor(x, source.weak, expr->place);
    }
    if (scan->length == NULL) {
        EL_REPORT(el, MISPLACED, scan->stmt->place, "a scan needs something to read");
        return false;
    }
    return true;
}

static bool scan_yields(Elaborator *el, Scan *scan, const AstStmt *last) {
    const AstNames *results = &scan->stmt->as.scan.results;
    int32_t count = 0;
    if (last) {
        Val value = elaborate_expr(el, last->as.value);
        bool tuple = last->as.value->kind == AST_TUPLE;
        if (val_is_error(value)) {
            return false;
        }
        count = tuple ? value.as.list.count : 1;
        scan->ys = ARENA_ARRAY(el->arena, Val, count + 1);
        for (int32_t i = 0; i < count; i++) {
            Val one = tuple ? value.as.list.items[i] : value;
            Value *y = need_tensor(el, one, "what a scan yields", last->as.value->place);
            if (y == NULL) {
                return false;
            }
            scan->ys[i] = val_tensor(y, one.kind != VAL_TENSOR || one.weak, one.place);
        }
    }
    scan->n_ys = count;
    if (count != results->count) {
        Place place = last ? last->place : scan->stmt->place;
        Diag *diag = EL_REPORT(el, YIELD_MISSING, place,
                               arena_format(el->arena,
                                            "the scan yields %d values, but %d are named "
                                            "after `->`",
                                            (int)count, (int)results->count));
        if (results->count > 0) {
            elaborate_note(el, diag, results->items[0].place, "named here");
        } else {
            elaborate_help(el, diag, "write `} -> y` after the body");
        }
        return false;
    }
    return true;
}

/* One try at the body; on CARRY_FITS the op is in place. */
static CarryFit scan_body(Elaborator *el, Scan *scan, Op **out) {
    const AstStmt *stmt = scan->stmt;
    Value **starts = ARENA_ARRAY(el->arena, Value *, scan->n_carries + 1);
    if (!carry_values(el, scan->carries, scan->n_carries, starts)) {
        return CARRY_BAD;
    }
    elaborate_at(el, stmt->place);
    Op *draft =
        b_scan_begin(&el->b, starts, scan->n_carries, scan->xs, scan->n_xs, scan->length, false, 0);
    if (elaborate_building_failed(el, stmt->place) || draft == NULL) {
        return CARRY_BAD;
    }
    Block *body = draft->blocks[0];
    Loop loop = {.length = scan->length, .index = body->args[0]};
    LoopEntry entry = loop_enter(el, &loop, body);
    for (int32_t i = 0; i < scan->n_carries; i++) {
        Carry *carry = &scan->carries[i];
        scope_define(el, el->scope, carry->name.text,
                     val_tensor(body->args[1 + i], carry->weak, carry->name.place),
                     carry->name.place);
    }
    for (int32_t i = 0; i < scan->n_xs; i++) {
        AstName name = stmt->as.scan.inputs.items[i].name;
        Val slice =
            val_tensor(body->args[1 + scan->n_carries + i], scan->sources[i].weak, name.place);
        scope_define(el, el->scope, name.text, slice, name.place);
    }
    AstStmts rest = stmt->as.scan.body;
    const AstStmt *last = rest.count > 0 ? rest.items[rest.count - 1] : NULL;
    last = last && last->kind == AST_STMT_YIELD ? last : NULL;
    rest.count -= last != NULL;
    int64_t errors = el->n_errors;
    elaborate_stmts(el, &rest);
    bool good = el->n_errors == errors && !el->limit_hit && scan_yields(el, scan, last);
    CarryFit fit = good ? carries_next(el, scan->carries, scan->n_carries) : CARRY_BAD;
    loop_leave(el, &entry);
    if (fit != CARRY_FITS) {
        return fit;
    }
    Value **nexts = ARENA_ARRAY(el->arena, Value *, scan->n_carries + 1);
    Value **ys = ARENA_ARRAY(el->arena, Value *, scan->n_ys + 1);
    for (int32_t i = 0; i < scan->n_carries; i++) {
        nexts[i] = scan->carries[i].next;
    }
    for (int32_t i = 0; i < scan->n_ys; i++) {
        ys[i] = scan->ys[i].as.tensor;
    }
    *out = scan_finish(el, &loop, starts, nexts, scan->n_carries, scan->xs, scan->n_xs, ys,
                       scan->n_ys, stmt->place);
    return *out ? CARRY_FITS : CARRY_BAD;
}

static void scan_bind(Elaborator *el, Scan *scan, const Op *op) {
    const AstNames *names = &scan->stmt->as.scan.results;
    int32_t first_y = op ? op->n_results - scan->n_ys : 0;
    for (int32_t i = 0; i < scan->n_carries; i++) {
        AstName name = scan->carries[i].name;
        Val value =
            op ? val_tensor(op->results[i], scan->carries[i].weak, name.place) : val_error();
        scope_bind(el, name.text, value, name.place);
    }
    for (int32_t i = 0; i < names->count; i++) {
        Val value = val_error();
        if (op) {
            Value *y = op->results[first_y + i];
            int64_t axis = 0, order[TYPE_MAX_RANK];
            if (need_axis(el, val_int(scan->along, names->items[i].place), y->type.rank,
                          scan->stmt->place, &axis)) {
                for (int32_t k = 0; k < y->type.rank; k++) {
                    order[k] = k == axis ? 0 : k < axis ? k + 1 : k;
                }
                y = elaborate_transpose(el, y, order, scan->stmt->place);
                value = val_tensor(y, scan->ys[i].weak, names->items[i].place);
            }
        }
        scope_bind(el, names->items[i].text, value, names->items[i].place);
    }
}

void elaborate_scan(Elaborator *el, const AstStmt *stmt) {
    const AstNamedExprs *exprs = &stmt->as.scan.carries;
    Scan scan = {.stmt = stmt, .n_carries = exprs->count};
    scan.carries = ARENA_ARRAY(el->arena, Carry, exprs->count + 1);
    Op *op = NULL;
    if (el->fs == NULL || el->init_path) {
        EL_REPORT(el, MISPLACED, stmt->place, "a scan stands only in what a model calls");
        return;
    }
    if (!loop_may_nest(el, stmt->place)) {
        return;
    }
    for (int32_t i = 0; i < exprs->count; i++) {
        scan.carries[i].name = exprs->items[i].name;
    }
    if (scan_inputs(el, &scan) && carry_start(el, exprs, scan.carries)) {
        for (int attempt = 0; attempt < 4; attempt++) {
            PassMark mark = pass_mark(el);
            CarryFit fit = scan_body(el, &scan, &op);
            if (fit != CARRY_RETRY) {
                break;
            }
            pass_undo(el, &mark);
        }
    }
    scan_bind(el, &scan, op);
}
