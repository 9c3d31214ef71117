/* Indexing and slicing of tensors, lists and tuples; nothing is clamped. */
#include "frontend/elaborate/elaborate.h"

#include <string.h>

static bool index_in_range(Elaborator *el, const Size *index, const Size *size, Place place) {
    const Size *next = size_add(el->context, index, size_const(el->context, 1));
    if (shown_le(el, size_const(el->context, 0), index, "an index is below 0", place) &&
        shown_le(el, next, size, "an index is behind the end", place)) {
        return true;
    }
    EL_REPORT(el, INDEX_RANGE, place, size_text(el->context, index), size_text(el->context, size));
    return false;
}

/* A bound as a size, negative integers counted from the end. */
static bool bound_size(Elaborator *el, const AstExpr *expr, const Size *size, const Size *fallback,
                       const Size **out) {
    if (expr == NULL) {
        *out = fallback;
        return true;
    }
    Val value = elaborate_expr(el, expr);
    if (!need_size(el, value, "the bound of a slice", expr->place, out)) {
        return false;
    }
    if (value.kind == VAL_INT && value.as.i < 0) {
        *out = size_add(el->context, size, *out);
    }
    return !may_count_back(el, value);
}

/* -- lists */

static Val list_slice(Elaborator *el, Val base, const AstIndexItem *item, Place place) {
    int64_t count = base.as.list.count, start = 0, stop = count, step = 1;
    const Size *n = size_const(el->context, count);
    const Size *from = NULL, *to = NULL;
    if (!bound_size(el, item->start, n, size_const(el->context, 0), &from) ||
        !bound_size(el, item->stop, n, n, &to) || !size_is_const(from, &start) ||
        !size_is_const(to, &stop)) {
        return val_error();
    }
    if (item->step && !need_int(el, elaborate_expr(el, item->step), "the step of a slice",
                                item->step->place, &step)) {
        return val_error();
    }
    if (step < 1) {
        EL_REPORT(el, STEP_RANGE, item->place, (long long)step);
        return val_error();
    }
    if (!check_range(el, from, to, n, item->place)) {
        return val_error();
    }
    int64_t length = (stop - start + step - 1) / step;
    if (!elaborate_count_items(el, length, place)) {
        return val_error();
    }
    Val result = val_list(el, base.kind, (int32_t)length, place);
    for (int32_t i = 0; i < result.as.list.count; i++) {
        result.as.list.items[i] = base.as.list.items[start + i * step];
    }
    return result;
}

static Val index_list(Elaborator *el, Val base, const AstExpr *expr) {
    const AstIndexItems *items = &expr->as.index.items;
    Val value = base;
    for (int32_t i = 0; i < items->count; i++) {
        const AstIndexItem *item = &items->items[i];
        int64_t index = 0;
        if (value.kind != VAL_LIST && value.kind != VAL_TUPLE) {
            EL_REPORT(el, INDEX_KIND, item->place, val_describe(el, value), "another index");
            return val_error();
        }
        if (item->kind == AST_INDEX_SLICE) {
            value = list_slice(el, value, item, expr->place);
        } else if (item->kind == AST_INDEX_AT &&
                   need_int(el, elaborate_expr(el, item->start), "the index of a list", item->place,
                            &index)) {
            value = elaborate_item(el, value, index, item->place);
        } else {
            return val_error();
        }
        if (val_is_error(value)) {
            return value;
        }
    }
    return value;
}

Val elaborate_item(Elaborator *el, Val base, int64_t index, Place place) {
    if (base.kind == VAL_LIST || base.kind == VAL_TUPLE) {
        int64_t count = base.as.list.count;
        int64_t at = index < 0 ? index + count : index;
        if (at < 0 || at >= count) {
            EL_REPORT(el, INDEX_RANGE, place, arena_format(el->arena, "%lld", (long long)index),
                      arena_format(el->arena, "%lld", (long long)count));
            return val_error();
        }
        return base.as.list.items[at];
    }
    Value *x = base.as.tensor;
    const Size *at = size_const(el->context, index);
    if (index < 0) {
        at = size_add(el->context, x->type.dims[0], at);
    }
    if (!index_in_range(el, at, x->type.dims[0], place)) {
        return val_error();
    }
    elaborate_at(el, place);
    const Size *next = size_add(el->context, at, size_const(el->context, 1));
    Value *row = elaborate_made(el, b_slice_axis(&el->b, x, 0, at, next), place);
    row = elaborate_reshape(el, row, x->type.dims + 1, x->type.rank - 1, place);
    return val_tensor(row, base.weak, place);
}

/* -- tensors */

typedef struct Cut {
    const Size *start[TYPE_MAX_RANK], *limit[TYPE_MAX_RANK];
    int64_t step[TYPE_MAX_RANK];
    bool removed[TYPE_MAX_RANK];
    bool any;
} Cut;

static bool cut_slice(Elaborator *el, const AstIndexItem *item, const Size *n, int32_t axis,
                      Cut *cut) {
    int64_t step = 1;
    if (!bound_size(el, item->start, n, size_const(el->context, 0), &cut->start[axis]) ||
        !bound_size(el, item->stop, n, n, &cut->limit[axis])) {
        return false;
    }
    if (item->step && !need_int(el, elaborate_expr(el, item->step), "the step of a slice",
                                item->step->place, &step)) {
        return false;
    }
    if (step < 1) {
        Diag *diag = EL_REPORT(el, STEP_RANGE, item->place, (long long)step);
        elaborate_help(el, diag, "flip(x, axis) reverses an axis");
        return false;
    }
    cut->step[axis] = step;
    bool whole = item->start == NULL && item->stop == NULL && step == 1;
    cut->any = cut->any || !whole;
    return whole || check_range(el, cut->start[axis], cut->limit[axis], n, item->place);
}

static bool cut_at(Elaborator *el, Val at, Place place, const Size *n, int32_t axis, Cut *cut) {
    const Size *index = NULL;
    if (!need_size(el, at, "an index", place, &index) || may_count_back(el, at)) {
        return false;
    }
    if (at.kind == VAL_INT && at.as.i < 0) {
        index = size_add(el->context, n, index);
    }
    if (!index_in_range(el, index, n, place)) {
        return false;
    }
    cut->start[axis] = index;
    cut->limit[axis] = size_add(el->context, index, size_const(el->context, 1));
    cut->removed[axis] = true;
    cut->any = true;
    return true;
}

static Val take_rows(Elaborator *el, Val base, Val ids, const AstExpr *expr) {
    const AstIndexItems *items = &expr->as.index.items;
    if (items->count > 1) {
        Diag *diag = EL_REPORT(el, INDEX_KIND, items->items[0].place, val_describe(el, base),
                               "an index tensor among other indices");
        elaborate_help(el, diag,
                       "take(x, ids, axis) picks along one axis; slice before or after it");
        return val_error();
    }
    DType dtype = ids.as.tensor->type.dtype;
    if (!dtype_is_integer(dtype)) {
        Diag *diag = EL_REPORT(el, WRONG_DTYPE, items->items[0].place, "an index", "integers",
                               dtype_name(dtype));
        if (dtype == DT_BOOL) {
            elaborate_help(el, diag, "where(mask, x, 0.0) keeps the shape");
        } else {
            elaborate_help(el, diag, "convert it: cast(x, i32)");
        }
        return val_error();
    }
    Value *index = ids.as.tensor;
    if (dtype == DT_U8 || dtype == DT_I8) {
        index = elaborate_as(el, ids, DT_I32, expr->place);
    }
    elaborate_at(el, expr->place);
    return val_tensor(elaborate_made(el, b_take(&el->b, base.as.tensor, index, 0), expr->place),
                      base.weak, expr->place);
}

static Val finish_cut(Elaborator *el, Val base, const Cut *cut, Place place) {
    Value *x = base.as.tensor;
    if (!cut->any) {
        return base;
    }
    elaborate_at(el, place);
    Value *part = elaborate_made(el, b_slice(&el->b, x, cut->start, cut->limit, cut->step), place);
    if (part == NULL) {
        return val_error();
    }
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    for (int32_t i = 0; i < x->type.rank; i++) {
        if (!cut->removed[i]) {
            shape[rank++] = part->type.dims[i];
        }
    }
    return val_tensor(elaborate_reshape(el, part, shape, rank, place), base.weak, place);
}

static Val index_tensor(Elaborator *el, Val base, const AstExpr *expr) {
    const AstIndexItems *items = &expr->as.index.items;
    Type type = base.as.tensor->type;
    int32_t fixed = 0, ellipses = 0;
    for (int32_t i = 0; i < items->count; i++) {
        ellipses += items->items[i].kind == AST_INDEX_ELLIPSIS;
        fixed += items->items[i].kind != AST_INDEX_ELLIPSIS;
    }
    if (fixed > type.rank || ellipses > 1) {
        Diag *diag = EL_REPORT(el, INDEX_COUNT, expr->place, (int)fixed, (int)type.rank);
        if (base.place.source) {
            elaborate_note(el, diag, base.place, "this is %s", type_text(el->context, type));
        }
        return val_error();
    }
    Cut cut = {.any = false};
    for (int32_t i = 0; i < type.rank; i++) {
        cut.start[i] = size_const(el->context, 0);
        cut.limit[i] = type.dims[i];
        cut.step[i] = 1;
    }
    int32_t axis = 0;
    for (int32_t i = 0; i < items->count; i++) {
        const AstIndexItem *item = &items->items[i];
        if (item->kind == AST_INDEX_ELLIPSIS) {
            axis += type.rank - fixed;
            continue;
        }
        const Size *n = type.dims[axis];
        if (item->kind == AST_INDEX_SLICE) {
            if (!cut_slice(el, item, n, axis, &cut)) {
                return val_error();
            }
        } else {
            Val at = elaborate_expr(el, item->start);
            if (at.kind == VAL_LIST) {
                at = val_tensor(need_tensor(el, at, "an index", item->place), false, item->place);
            }
            if (at.kind == VAL_TENSOR) {
                return take_rows(el, base, at, expr);
            }
            if (!cut_at(el, at, item->place, n, axis, &cut)) {
                return val_error();
            }
        }
        axis++;
    }
    return finish_cut(el, base, &cut, expr->place);
}

Val elaborate_index(Elaborator *el, const AstExpr *expr) {
    int32_t first = elaborate_next_value(el);
    Val base = elaborate_expr(el, expr->as.index.base);
    switch (base.kind) {
    case VAL_ERROR:
        return base;
    case VAL_LIST:
    case VAL_TUPLE:
        return index_list(el, base, expr);
    case VAL_TENSOR:
        return elaborate_own(el, index_tensor(el, base, expr), first, expr->place);
    default:
        EL_REPORT(el, INDEX_KIND, expr->place, val_describe(el, base), "[…]");
        return val_error();
    }
}
