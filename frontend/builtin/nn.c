/* Built-in functions that the library's layers are made of: convolutions, windows, derivatives. */
#include "frontend/builtin/builtin.h"
#include "frontend/elaborate/reach.h"

#include <string.h>

/* -- convolutions */

/* An int list argument: one number for all axes, or one each. */
static bool spatial_ints(BuiltinCall *call, int index, int32_t count, int64_t fallback,
                         int64_t least, int64_t *out) {
    Elaborator *el = call->el;
    Val value = given(call, index) ? call->args[index] : val_int(fallback, call->place);
    bool list = value.kind == VAL_LIST || value.kind == VAL_TUPLE;
    if (list && value.as.list.count != count) {
        EL_REPORT(el, VALUE_RANGE, call->places[index], "this list",
                  arena_format(el->arena, "of length %d", (int)count), val_describe(el, value));
        return false;
    }
    for (int32_t i = 0; i < count; i++) {
        Val item = list ? value.as.list.items[i] : value;
        if (!need_int(el, item, "this argument", call->places[index], &out[i])) {
            return false;
        }
        if (out[i] < least || out[i] > 1 << 20) {
            EL_REPORT(el, VALUE_RANGE, call->places[index], "this argument",
                      arena_format(el->arena, "at least %lld", (long long)least),
                      val_describe(el, item));
            return false;
        }
    }
    return true;
}

/* Operands of one float type and the same rank of 3 to 5. */
static bool conv_operands(BuiltinCall *call, Value **x, Value **w) {
    Elaborator *el = call->el;
    Val both[] = {call->args[0], call->args[1]};
    DType dtype = DT_F32;
    bool weak = false;
    if (!common_dtype(el, both, 2, USE_FLOAT, call_name(call), call->place, &dtype, &weak)) {
        return false;
    }
    *x = elaborate_as(el, both[0], dtype, call->place);
    *w = elaborate_as(el, both[1], dtype, call->place);
    if (!*x || !*w) {
        return false;
    }
    int32_t rank = (*x)->type.rank;
    if (rank < 3 || rank > 5 || (*w)->type.rank != rank) {
        Diag *diag = EL_REPORT(el, CONCAT_RANK, call->place, call_name(call), (int)rank,
                               (int)(*w)->type.rank);
        elaborate_help(el, diag, "x is [batch, channel, 1 to 3 axes], w the same rank");
        return false;
    }
    return true;
}

/* n + 2p - d(k - 1) - 1, floored over s, + 1, is at least 1. */
static bool output_fits(BuiltinCall *call, const Size *n, const Size *k, int64_t padding,
                        int64_t dilation, int64_t stride, int32_t axis) {
    Elaborator *el = call->el;
    Context *context = el->context;
    const Size *one = size_const(context, 1);
    const Size *reach = size_mul(context, size_const(context, dilation), size_sub(context, k, one));
    const Size *room = size_add(context, n, size_const(context, 2 * padding - 1));
    const Size *out =
        size_floordiv(context, size_sub(context, room, reach), size_const(context, stride));
    out = size_add(context, out, one);
    const char *what = arena_format(
        el->arena, "%s along axis %d: the kernel reaches beyond its input, whose size is %s",
        call_name(call), (int)axis, size_text(context, n));
    if (shown_le(el, one, out, what, call->place)) {
        return true;
    }
    Diag *diag = EL_REPORT(el, SIZE_SMALL, call->place,
                           arena_format(el->arena, "axis %d of the result", (int)axis),
                           size_text(context, out), "1");
    elaborate_note(el, diag, call->args[0].place, "its size here is %s, the kernel's %s",
                   size_text(context, n), size_text(context, k));
    elaborate_help(el, diag, "use a smaller kernel or more padding");
    return false;
}

Val builtin_conv(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = NULL, *w = NULL;
    if (!conv_operands(call, &x, &w)) {
        return val_error();
    }
    ConvAttrs attrs = {.n_spatial = x->type.rank - 2, .groups = 1};
    if (!spatial_ints(call, 2, attrs.n_spatial, 1, 1, attrs.stride) ||
        !spatial_ints(call, 3, attrs.n_spatial, 0, 0, attrs.low) ||
        !spatial_ints(call, 4, attrs.n_spatial, 1, 1, attrs.dilation) ||
        !arg_int(call, 5, 1, &attrs.groups)) {
        return val_error();
    }
    memcpy(attrs.high, attrs.low, sizeof(attrs.high));
    for (int32_t i = 0; i < attrs.n_spatial; i++) {
        if (!output_fits(call, x->type.dims[2 + i], w->type.dims[2 + i], attrs.low[i],
                         attrs.dilation[i], attrs.stride[i], 2 + i)) {
            return val_error();
        }
    }
    const Size *inside =
        size_mul(el->context, w->type.dims[1], size_const(el->context, attrs.groups));
    if (!elaborate_same_size(el, inside, call->args[1].place, x->type.dims[1], call->args[0].place,
                             call->place, "'conv': the channels of weight and input")) {
        return val_error();
    }
    elaborate_at(el, call->place);
    return made(call, b_conv(&el->b, x, w, &attrs), is_weak(call->args[0]));
}

Val builtin_conv_transpose(BuiltinCall *call) {
    Elaborator *el = call->el;
    Context *context = el->context;
    Value *x = NULL, *w = NULL;
    int64_t extra[3] = {0};
    const Size *spatial[3];
    if (!conv_operands(call, &x, &w)) {
        return val_error();
    }
    ConvAttrs attrs = {.n_spatial = x->type.rank - 2, .groups = 1};
    if (!spatial_ints(call, 2, attrs.n_spatial, 1, 1, attrs.stride) ||
        !spatial_ints(call, 3, attrs.n_spatial, 0, 0, attrs.low) ||
        !spatial_ints(call, 4, attrs.n_spatial, 0, 0, extra) ||
        !spatial_ints(call, 5, attrs.n_spatial, 1, 1, attrs.dilation) ||
        !arg_int(call, 6, 1, &attrs.groups)) {
        return val_error();
    }
    memcpy(attrs.high, attrs.low, sizeof(attrs.high));
    const Size *one = size_const(context, 1);
    for (int32_t i = 0; i < attrs.n_spatial; i++) {
        const Size *steps = size_sub(context, x->type.dims[2 + i], one);
        const Size *reach = size_sub(context, w->type.dims[2 + i], one);
        const Size *size = size_mul(context, steps, size_const(context, attrs.stride[i]));
        size = size_add(context, size,
                        size_mul(context, reach, size_const(context, attrs.dilation[i])));
        spatial[i] = size_add(context, size, size_const(context, extra[i] + 1 - 2 * attrs.low[i]));
        if (extra[i] >= attrs.stride[i] && extra[i] > 0) {
            EL_REPORT(el, VALUE_RANGE, call->places[4], "output_padding", "below the stride",
                      val_describe(el, val_int(extra[i], call->place)));
            return val_error();
        }
        const char *what = arena_format(el->arena, "%s: axis %d of the result would be empty",
                                        call_name(call), (int)(2 + i));
        if (!shown_le(el, one, spatial[i], what, call->place)) {
            EL_REPORT(el, SIZE_SMALL, call->place,
                      arena_format(el->arena, "axis %d of the result", (int)(2 + i)),
                      size_text(context, spatial[i]), "1");
            return val_error();
        }
    }
    elaborate_at(el, call->place);
    return made(call, b_conv_input_grad(&el->b, x, w, spatial, &attrs), is_weak(call->args[0]));
}

Val builtin_unfold(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0);
    const Size *window = NULL, *low = size_const(el->context, 0), *high = low;
    int64_t axis = 0, stride = 1, dilation = 1;
    if (x == NULL || !arg_axis(call, 1, x->type.rank, 0, &axis) ||
        !need_size(el, call->args[2], "the window", call->places[2], &window) ||
        !arg_int(call, 3, 1, &stride) || !arg_int(call, 4, 1, &dilation) ||
        (given(call, 5) && !need_size(el, call->args[5], "low", call->places[5], &low)) ||
        (given(call, 6) && !need_size(el, call->args[6], "high", call->places[6], &high))) {
        return val_error();
    }
    int64_t constant = 0;
    if (size_is_const(window, &constant) && constant < 1) {
        EL_REPORT(el, VALUE_RANGE, call->places[2], "a window", "at least 1",
                  val_describe(el, call->args[2]));
        return val_error();
    }
    if (stride < 1 || dilation < 1) {
        EL_REPORT(el, VALUE_RANGE, call->places[stride < 1 ? 3 : 4], "a stride or dilation",
                  "at least 1", val_describe(el, call->args[stride < 1 ? 3 : 4]));
        return val_error();
    }
    const Size *both = size_add(el->context, x->type.dims[axis], size_add(el->context, low, high));
    if (!output_fits(call, both, window, 0, dilation, stride, (int32_t)axis)) {
        return val_error();
    }
    Val fill = given(call, 7) ? call->args[7] : val_int(0, call->place);
    Val pair[] = {val_tensor(x, is_weak(call->args[0]), call->args[0].place), fill};
    DType dtype = DT_F32;
    bool weak = false;
    if (!common_dtype(el, pair, 2, USE_SELECT, call_name(call), call->place, &dtype, &weak)) {
        return val_error();
    }
    x = elaborate_as(el, pair[0], dtype, call->place);
    Value *value = elaborate_as(el, fill, dtype, call->place);
    elaborate_at(el, call->place);
    return made(call, b_unfold(&el->b, x, value, axis, window, stride, dilation, low, high), weak);
}

/* -- derivatives */

Val builtin_grad(BuiltinCall *call) {
    Elaborator *el = call->el;
    Val y = call->args[0], x = call->args[1];
    bool tuple = x.kind == VAL_TUPLE, list = tuple || x.kind == VAL_LIST;
    int32_t count = list ? x.as.list.count : 1;
    bool scalar = y.kind == VAL_TENSOR && y.as.tensor->type.rank == 0 &&
                  dtype_is_float(y.as.tensor->type.dtype);
    if (!scalar) {
        Diag *diag = EL_REPORT(el, GRAD_SCALAR, call->places[0], val_describe(el, y));
        elaborate_help(el, diag, "sum it first: grad(sum(y), x)");
        return val_error();
    }
    Value **xs = ARENA_ARRAY(el->arena, Value *, count + 1);
    Value **out = ARENA_ARRAY(el->arena, Value *, count + 1);
    for (int32_t i = 0; i < count; i++) {
        Val one = list ? x.as.list.items[i] : x;
        if (one.kind != VAL_TENSOR || !dtype_is_float(one.as.tensor->type.dtype)) {
            if (!val_is_error(one)) {
                Diag *diag =
                    EL_REPORT(el, GRAD_OF, call->places[1], val_describe(el, tuple ? one : x));
                if (val_is_number(one)) {
                    elaborate_help(el, diag,
                                   "a derivative is by a tensor, which a number becomes by "
                                   "full(shape, value)");
                }
            }
            return val_error();
        }
        xs[i] = one.as.tensor;
        if (!value_reaches(el->arena, y.as.tensor, xs[i])) {
            const Value *v = xs[i];
            bool input = v->op == NULL && v->block == el->fs->func->body;
            const char *name = input     ? el->fs->func->args[v->index].name
                               : v->name ? v->name
                                         : "this value";
            Diag *diag = EL_REPORT(el, GRAD_ZERO, call->place, name);
            elaborate_note(el, diag, one.place, "the value comes from here");
        }
    }
    elaborate_at(el, call->place);
    b_grad(&el->b, y.as.tensor, xs, count, out);
    if (elaborate_building_failed(el, call->place)) {
        return val_error();
    }
    if (!list) {
        return made(call, out[0], false);
    }
    Val result = val_list(el, VAL_TUPLE, count, call->place);
    for (int32_t i = 0; i < count; i++) {
        result.as.list.items[i] = made(call, out[i], false);
    }
    return result;
}
