/* Built-in functions of shapes: asking for them, and moving elements without computing. */
#include "frontend/builtin/builtin.h"

#include <string.h>

Val builtin_shape(BuiltinCall *call) {
    Elaborator *el = call->el;
    Val x = call->args[0];
    if (call->builtin->code == 2 && x.kind == VAL_TENSOR && x.weak) {
        /* A weak value has no element type of its own yet: the default of its class. */
        DType dtype = x.as.tensor->type.dtype;
        return (Val){.kind = VAL_DTYPE, .place = call->place, .as.dtype = dtype};
    }
    Value *tensor = arg_tensor(call, 0);
    if (tensor == NULL) {
        return val_error();
    }
    Type type = tensor->type;
    if (call->builtin->code == 1) {
        return val_int(type.rank, call->place);
    }
    if (call->builtin->code == 2) {
        return (Val){.kind = VAL_DTYPE, .place = call->place, .as.dtype = type.dtype};
    }
    Val list = val_list(el, VAL_LIST, type.rank, call->place);
    for (int32_t i = 0; i < type.rank; i++) {
        list.as.list.items[i] = val_size(type.dims[i], x.place);
    }
    return list;
}

Val builtin_len(BuiltinCall *call) {
    Val x = call->args[0];
    if (x.kind == VAL_LIST || x.kind == VAL_TUPLE) {
        return val_int(x.as.list.count, call->place);
    }
    if (x.kind == VAL_STRING) {
        return val_int((int64_t)strlen(x.as.text), call->place);
    }
    Value *tensor = arg_tensor(call, 0);
    if (tensor == NULL) {
        return val_error();
    }
    if (tensor->type.rank == 0) {
        EL_REPORT(call->el, OPERAND_ONE, call->place, "len", val_describe(call->el, x));
        return val_error();
    }
    return val_size(tensor->type.dims[0], call->place);
}

Val builtin_spread(BuiltinCall *call) {
    Elaborator *el = call->el;
    int64_t n = 0;
    Val v = call->args[0];
    if (!need_int(el, call->args[1], "the length", call->places[1], &n)) {
        return val_error();
    }
    if (v.kind == VAL_LIST || v.kind == VAL_TUPLE) {
        if (v.as.list.count != n) {
            EL_REPORT(el, VALUE_RANGE, call->places[0], "this list",
                      arena_format(el->arena, "of length %lld", (long long)n), val_describe(el, v));
            return val_error();
        }
        return v;
    }
    if (n < 0 || n > ELABORATE_MAX_LIST) {
        EL_REPORT(el, VALUE_RANGE, call->places[1], "a length", "small and not negative",
                  val_describe(el, call->args[1]));
        return val_error();
    }
    if (!elaborate_count_items(el, n, call->place)) {
        return val_error();
    }
    Val list = val_list(el, VAL_LIST, (int32_t)n, call->place);
    for (int32_t i = 0; i < n; i++) {
        list.as.list.items[i] = v;
    }
    return list;
}

Val builtin_reshape(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0);
    Val wanted = call->args[1];
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0, open = -1;
    if (x == NULL) {
        return val_error();
    }
    /* One -1 stands for what is left. */
    Val copy = wanted;
    if (wanted.kind == VAL_LIST || wanted.kind == VAL_TUPLE) {
        copy = val_list(el, wanted.kind, wanted.as.list.count, wanted.place);
        for (int32_t i = 0; i < wanted.as.list.count; i++) {
            Val item = wanted.as.list.items[i];
            if (item.kind == VAL_INT && item.as.i == -1 && open < 0) {
                open = i;
                item = val_int(1, item.place);
            }
            if (may_count_back(el, item)) {
                return val_error(); /* it may be the -1 */
            }
            copy.as.list.items[i] = item;
        }
    }
    if (!need_shape(el, copy, "a shape", call->places[1], shape, &rank)) {
        return val_error();
    }
    const Size *have = type_elements(el->context, x->type);
    Type type = type_make(el->context, x->type.dtype, rank, shape);
    if (open >= 0) {
        const Size *rest = size_other_factor(el->context, have, type_elements(el->context, type));
        shape[open] = rest ? rest : size_const(el->context, 0);
        type = type_make(el->context, x->type.dtype, rank, shape);
    }
    const Size *want = type_elements(el->context, type);
    Truth truth = size_equal(el->context, have, want);
    if (truth == TRUTH_NO) {
        Diag *diag = EL_REPORT(el, RESHAPE_COUNT, call->place, size_text(el->context, have),
                               type_text(el->context, type));
        if (call->args[0].place.source) {
            elaborate_note(el, diag, call->args[0].place, "this is %s",
                           type_text(el->context, x->type));
        }
        return val_error();
    }
    if (truth == TRUTH_MAYBE && !elaborate_same_size(el, have, call->args[0].place, want,
                                                     call->places[1], call->place, "'reshape'")) {
        return val_error();
    }
    return val_tensor(elaborate_reshape(el, x, shape, rank, call->place), is_weak(call->args[0]),
                      call->place);
}

Val builtin_transpose(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0);
    int64_t order[TYPE_MAX_RANK];
    bool seen[TYPE_MAX_RANK] = {false};
    if (x == NULL) {
        return val_error();
    }
    int32_t rank = x->type.rank;
    Val axes = call->args[1];
    for (int32_t i = 0; i < rank; i++) {
        order[i] = rank - 1 - i;
    }
    if (given(call, 1)) {
        bool list = axes.kind == VAL_LIST || axes.kind == VAL_TUPLE;
        if (!list || axes.as.list.count != rank) {
            EL_REPORT(el, WRONG_KIND, call->places[1], "the order of axes",
                      arena_format(el->arena, "a list of %d axes", (int)rank),
                      val_describe(el, axes));
            return val_error();
        }
        for (int32_t i = 0; i < rank; i++) {
            if (!need_axis(el, axes.as.list.items[i], rank, call->places[1], &order[i])) {
                return val_error();
            }
            if (seen[order[i]]) {
                EL_REPORT(el, AXIS_TWICE, call->places[1], (long long)order[i]);
                return val_error();
            }
            seen[order[i]] = true;
        }
    }
    return val_tensor(elaborate_transpose(el, x, order, call->place), is_weak(call->args[0]),
                      call->place);
}

Val builtin_squeeze(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0);
    int64_t axes[TYPE_MAX_RANK];
    const Size *shape[TYPE_MAX_RANK];
    int32_t n_axes = 0, rank = 0;
    if (x == NULL || !need_axes(el, call->args[1], x->type.rank, call->places[1], axes, &n_axes)) {
        return val_error();
    }
    bool named[TYPE_MAX_RANK] = {false};
    for (int32_t i = 0; i < n_axes; i++) {
        named[axes[i]] = true;
    }
    for (int32_t i = 0; i < x->type.rank; i++) {
        bool one = size_is_one(x->type.dims[i]);
        if (el->trial && named[i] && !one) {
            return val_error(); /* some calls may know it */
        }
        if (named[i] && given(call, 1) && !one) {
            EL_REPORT(el, AXES_ONE, call->places[1], size_text(el->context, x->type.dims[i]));
            return val_error();
        }
        if (!(named[i] && one)) {
            shape[rank++] = x->type.dims[i];
        }
    }
    return val_tensor(elaborate_reshape(el, x, shape, rank, call->place), is_weak(call->args[0]),
                      call->place);
}

/* Axis `axis` of size 1 put in. */
static Value *new_axis(BuiltinCall *call, Value *x, int64_t axis) {
    Elaborator *el = call->el;
    const Size *shape[TYPE_MAX_RANK];
    if (x->type.rank == TYPE_MAX_RANK) {
        EL_REPORT(el, RANK_LIMIT, call->place, TYPE_MAX_RANK + 1);
        return NULL;
    }
    for (int32_t i = 0, from = 0; i <= x->type.rank; i++) {
        shape[i] = i == axis ? size_const(el->context, 1) : x->type.dims[from++];
    }
    return elaborate_reshape(el, x, shape, x->type.rank + 1, call->place);
}

Val builtin_unsqueeze(BuiltinCall *call) {
    Value *x = arg_tensor(call, 0);
    int64_t axis = 0;
    if (x == NULL || !arg_axis(call, 1, x->type.rank + 1, 0, &axis)) {
        return val_error();
    }
    return val_tensor(new_axis(call, x, axis), is_weak(call->args[0]), call->place);
}

Val builtin_expand(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0);
    const Size *shape[TYPE_MAX_RANK], *common[TYPE_MAX_RANK];
    int32_t rank = 0, n = 0;
    if (x == NULL || !need_shape(el, call->args[1], "a shape", call->places[1], shape, &rank)) {
        return val_error();
    }
    Value like = {.type = type_make(el->context, x->type.dtype, rank, shape)};
    Val both[] = {val_tensor(&like, false, call->places[1]),
                  val_tensor(x, false, call->args[0].place)};
    if (!common_shape(el, both, 2, "'expand'", call->place, common, &n)) {
        return val_error();
    }
    for (int32_t i = 0; i < n; i++) {
        if (n != rank || size_equal(el->context, common[i], shape[i]) == TRUTH_NO) {
            EL_REPORT(el, RESHAPE_COUNT, call->place, type_text(el->context, x->type),
                      type_text(el->context, like.type));
            return val_error();
        }
    }
    return val_tensor(elaborate_expand(el, x, shape, rank, call->place), is_weak(call->args[0]),
                      call->place);
}

/* -- joining and splitting */

/* `concat([a, b])` and `concat((a, b))` mean the same as `concat(a, b)`. */
static int32_t rest_values(BuiltinCall *call, Val **out) {
    if (call->n_rest == 1 && (call->rest[0].value.kind == VAL_TUPLE)) {
        *out = call->rest[0].value.as.list.items;
        return call->rest[0].value.as.list.count;
    }
    *out = ARENA_ARRAY(call->el->arena, Val, call->n_rest + 1);
    for (int32_t i = 0; i < call->n_rest; i++) {
        (*out)[i] = call->rest[i].value;
    }
    return call->n_rest;
}

/* Operands of one element type and rank. */
static Value **join_operands(BuiltinCall *call, const Val *values, int32_t count, bool *out_weak) {
    Elaborator *el = call->el;
    DType dtype = DT_F32;
    if (count == 0) {
        EL_REPORT(el, ARG_MISSING, call->place, call->builtin->name, "x");
        return NULL;
    }
    if (!common_dtype(el, values, count, USE_SELECT, call_name(call), call->place, &dtype,
                      out_weak)) {
        return NULL;
    }
    Value **xs = ARENA_ARRAY(el->arena, Value *, count);
    for (int32_t i = 0; i < count; i++) {
        xs[i] = elaborate_as(el, values[i], dtype, call->place);
        if (xs[i] == NULL) {
            return NULL;
        }
        if (xs[i]->type.rank != xs[0]->type.rank) {
            Diag *diag = EL_REPORT(el, CONCAT_RANK, call->place, call_name(call),
                                   (int)xs[0]->type.rank, (int)xs[i]->type.rank);
            if (values[i].place.source) {
                elaborate_note(el, diag, values[i].place, "this is %s",
                               type_text(el->context, xs[i]->type));
            }
            return NULL;
        }
    }
    return xs;
}

/* All axes but `axis` (-1: none) agree; unproved ones take the first operand's sizes. */
static bool join_shapes(BuiltinCall *call, Value **xs, const Val *values, int32_t count,
                        int64_t axis) {
    Elaborator *el = call->el;
    for (int32_t i = 1; i < count; i++) {
        const Size *shape[TYPE_MAX_RANK];
        for (int32_t k = 0; k < xs[0]->type.rank; k++) {
            shape[k] = xs[i]->type.dims[k];
            if (k == axis) {
                continue;
            }
            const char *what = arena_format(el->arena, "%s, axis %d", call_name(call), (int)k);
            if (!elaborate_same_size(el, xs[i]->type.dims[k], values[i].place, xs[0]->type.dims[k],
                                     values[0].place, call->place, what)) {
                return false;
            }
            shape[k] = xs[0]->type.dims[k];
        }
        xs[i] = elaborate_reshape(el, xs[i], shape, xs[0]->type.rank, call->place);
        if (xs[i] == NULL) {
            return false;
        }
    }
    return true;
}

Val builtin_concat(BuiltinCall *call) {
    Val *values = NULL;
    bool weak = false;
    int64_t axis = 0;
    int32_t count = rest_values(call, &values);
    Value **xs = join_operands(call, values, count, &weak);
    if (xs == NULL || !arg_axis(call, 1, xs[0]->type.rank, 0, &axis) ||
        !join_shapes(call, xs, values, count, axis)) {
        return val_error();
    }
    elaborate_at(call->el, call->place);
    return made(call, b_concat(&call->el->b, xs, count, axis), weak);
}

Val builtin_stack(BuiltinCall *call) {
    Val *values = NULL;
    bool weak = false;
    int64_t axis = 0;
    int32_t count = rest_values(call, &values);
    Value **xs = join_operands(call, values, count, &weak);
    if (xs == NULL || !arg_axis(call, 1, xs[0]->type.rank + 1, 0, &axis) ||
        !join_shapes(call, xs, values, count, -1)) {
        return val_error();
    }
    for (int32_t i = 0; i < count; i++) {
        xs[i] = new_axis(call, xs[i], axis);
        if (xs[i] == NULL) {
            return val_error();
        }
    }
    elaborate_at(call->el, call->place);
    return made(call, b_concat(&call->el->b, xs, count, axis), weak);
}

static bool split_sizes(BuiltinCall *call, const Size *n, Val *sizes) {
    Elaborator *el = call->el;
    Val parts = call->args[1];
    if (parts.kind == VAL_LIST) {
        const Size *zero = size_const(el->context, 0), *total = zero;
        *sizes = parts;
        for (int32_t i = 0; i < parts.as.list.count; i++) {
            const Size *part = NULL;
            if (!need_size(el, parts.as.list.items[i], "a size", call->places[1], &part)) {
                return false;
            }
            if (!shown_le(el, zero, part, "a part of 'split' is negative", call->places[1])) {
                EL_REPORT(el, SIZE_SMALL, call->places[1], "a part of 'split'",
                          size_text(el->context, part), "0");
                return false;
            }
            total = size_add(el->context, total, part);
        }
        return elaborate_same_size(el, total, call->places[1], n, call->args[0].place, call->place,
                                   "'split': the sum of the parts");
    }
    int64_t count = 0;
    if (!need_int(el, parts, "the number of parts", call->places[1], &count)) {
        return false;
    }
    if (count < 1 || count > ELABORATE_MAX_LIST) {
        EL_REPORT(el, VALUE_RANGE, call->places[1], "the number of parts", "at least 1",
                  val_describe(el, parts));
        return false;
    }
    const Size *by = size_const(el->context, count);
    const Size *part = size_floordiv(el->context, n, by);
    const Size *total = size_mul(el->context, part, by);
    *sizes = val_list(el, VAL_LIST, (int32_t)count, call->place);
    for (int32_t i = 0; i < count; i++) {
        sizes->as.list.items[i] = val_size(part, call->place);
    }
    if (size_equal(el->context, total, n) == TRUTH_NO) {
        Diag *diag = EL_REPORT(el, AXES_NOT_DIVISIBLE, call->place,
                               arena_format(el->arena, "%lld equal parts", (long long)count),
                               size_text(el->context, by), size_text(el->context, n));
        elaborate_help(el, diag, "split(x, [a, b, …]) takes unequal sizes");
        return false;
    }
    return elaborate_same_size(el, total, call->places[1], n, call->args[0].place, call->place,
                               "'split': the parts");
}

Val builtin_split(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0);
    int64_t axis = 0;
    Val sizes = val_error();
    if (x == NULL || !arg_axis(call, 2, x->type.rank, 0, &axis) ||
        !split_sizes(call, x->type.dims[axis], &sizes)) {
        return val_error();
    }
    Val parts = val_list(el, VAL_TUPLE, sizes.as.list.count, call->place);
    const Size *at = size_const(el->context, 0);
    for (int32_t i = 0; i < sizes.as.list.count; i++) {
        const Size *size = NULL;
        val_as_size(el, sizes.as.list.items[i], &size);
        const Size *end = size_add(el->context, at, size);
        elaborate_at(el, call->place);
        parts.as.list.items[i] =
            made(call, b_slice_axis(&el->b, x, axis, at, end), is_weak(call->args[0]));
        if (val_is_error(parts.as.list.items[i])) {
            return val_error();
        }
        at = end;
    }
    return parts;
}

/* -- padding, turning */

/* Widths by NumPy's forms: n; [low, high]; [[low, high], …]. */
static bool pad_width(BuiltinCall *call, int32_t axis, int32_t rank, const Size **low,
                      const Size **high) {
    Elaborator *el = call->el;
    Val widths = call->args[1];
    Val pair = widths;
    bool list = widths.kind == VAL_LIST || widths.kind == VAL_TUPLE;
    if (list && widths.as.list.count > 0 &&
        (widths.as.list.items[0].kind == VAL_LIST || widths.as.list.items[0].kind == VAL_TUPLE)) {
        if (widths.as.list.count != rank) {
            EL_REPORT(el, VALUE_RANGE, call->places[1], "the widths",
                      arena_format(el->arena, "a pair for each of %d axes", (int)rank),
                      val_describe(el, widths));
            return false;
        }
        pair = widths.as.list.items[axis];
    }
    list = pair.kind == VAL_LIST || pair.kind == VAL_TUPLE;
    if (list && pair.as.list.count != 2) {
        EL_REPORT(el, VALUE_RANGE, call->places[1], "a width", "a number or [low, high]",
                  val_describe(el, pair));
        return false;
    }
    return need_size(el, list ? pair.as.list.items[0] : pair, "a width", call->places[1], low) &&
           need_size(el, list ? pair.as.list.items[1] : pair, "a width", call->places[1], high);
}

Val builtin_pad(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0);
    const Size *low[TYPE_MAX_RANK], *high[TYPE_MAX_RANK];
    if (x == NULL) {
        return val_error();
    }
    for (int32_t i = 0; i < x->type.rank; i++) {
        if (!pad_width(call, i, x->type.rank, &low[i], &high[i])) {
            return val_error();
        }
        /* What is refuted, the op's own rule refuses. */
        const Size *zero = size_const(el->context, 0);
        (void)shown_le(el, zero, low[i], "a width of 'pad' is negative", call->place);
        (void)shown_le(el, zero, high[i], "a width of 'pad' is negative", call->place);
    }
    Val fill = given(call, 2) ? call->args[2] : val_int(0, call->place);
    Val both[] = {call->args[0], fill};
    DType dtype = DT_F32;
    bool weak = false;
    if (x->type.dtype == DT_BOOL && !given(call, 2)) {
        both[1] = val_bool(false, call->place);
    }
    if (!common_dtype(el, both, 2, USE_SELECT, "'pad'", call->place, &dtype, &weak)) {
        return val_error();
    }
    Value *value = elaborate_as(el, both[1], dtype, call->place);
    x = elaborate_as(el, val_tensor(x, is_weak(call->args[0]), call->place), dtype, call->place);
    elaborate_at(el, call->place);
    return made(call, b_pad(&el->b, x, value, low, high, NULL), weak);
}

Val builtin_flip(BuiltinCall *call) {
    Value *x = arg_tensor(call, 0);
    int64_t axes[TYPE_MAX_RANK];
    int32_t n_axes = 0;
    if (x == NULL ||
        !need_axes(call->el, call->args[1], x->type.rank, call->places[1], axes, &n_axes)) {
        return val_error();
    }
    return made(call, b_reverse(&call->el->b, x, axes, n_axes), is_weak(call->args[0]));
}

Val builtin_roll(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0);
    const Size *shift = NULL;
    int64_t axis = 0;
    if (x == NULL || !need_size(el, call->args[1], "the shift", call->places[1], &shift) ||
        !arg_axis(call, 2, x->type.rank, 0, &axis)) {
        return val_error();
    }
    const Size *n = x->type.dims[axis], *zero = size_const(el->context, 0);
    const Size *least_one = size_max(el->context, n, size_const(el->context, 1));
    const Size *turned = size_mod(el->context, shift, least_one);
    const Size *cut = size_sub(el->context, n, turned);
    elaborate_at(el, call->place);
    Value *parts[2];
    parts[0] = b_slice_axis(&el->b, x, axis, cut, n);
    parts[1] = b_slice_axis(&el->b, x, axis, zero, cut);
    if (!parts[0] || !parts[1]) {
        return made(call, NULL, false);
    }
    Value *joined = elaborate_made(el, b_concat(&el->b, parts, 2, axis), call->place);
    return val_tensor(elaborate_reshape(el, joined, x->type.dims, x->type.rank, call->place),
                      is_weak(call->args[0]), call->place);
}

Val builtin_triangle(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0);
    int64_t k = 0;
    if (x == NULL || !arg_int(call, 1, 0, &k)) {
        return val_error();
    }
    int32_t rank = x->type.rank;
    if (rank < 2) {
        EL_REPORT(el, OPERAND_ONE, call->place, call->builtin->name,
                  val_describe(el, call->args[0]));
        return val_error();
    }
    elaborate_at(el, call->place);
    Type index = type_with_dtype(x->type, DT_I32);
    Value *row = index_along(el, rank - 2, index, call->place);
    Value *column = index_along(el, rank - 1, index, call->place);
    Value *offset = elaborate_made(el, b_constant(&el->b, (double)k, index), call->place);
    Value *moved = elaborate_made(el, b_add(&el->b, row, offset), call->place);
    OpCode code = call->builtin->code == 0 ? OP_le : OP_ge;
    Value *keep = elaborate_made(el, b_binary(&el->b, code, column, moved), call->place);
    Value *zero = elaborate_made(el, b_constant_like(&el->b, 0.0, x), call->place);
    return made(call, b_select(&el->b, keep, x, zero), is_weak(call->args[0]));
}
