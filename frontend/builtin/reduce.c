/* Built-in reductions, and the few functions along one axis. */
#include "frontend/builtin/builtin.h"

#include <math.h>
#include <string.h>

typedef struct Reduce {
    Elaborator *el;
    Place place;
    const int64_t *axes;
    int32_t n_axes;
    Type full; /* of the operand */
} Reduce;

static Val raw(const Reduce *r, OpCode code, Val x) {
    if (val_is_error(x) || r->n_axes == 0) {
        return x;
    }
    elaborate_at(r->el, r->place);
    Value *value = b_reduce(&r->el->b, code, x.as.tensor, r->axes, r->n_axes);
    return val_tensor(elaborate_made(r->el, value, r->place), x.weak, r->place);
}

/* The reduced value with its axes back, of size 1. */
static Val keep_axes(const Reduce *r, Val x) {
    if (x.kind != VAL_TENSOR) {
        return x;
    }
    const Size *shape[TYPE_MAX_RANK];
    copy_sizes(shape, r->full.dims, r->full.rank);
    for (int32_t i = 0; i < r->n_axes; i++) {
        shape[r->axes[i]] = size_const(r->el->context, 1);
    }
    return val_tensor(elaborate_reshape(r->el, x.as.tensor, shape, r->full.rank, r->place), x.weak,
                      r->place);
}

static const Size *elements_of(const Reduce *r) {
    const Size *count = size_const(r->el->context, 1);
    for (int32_t i = 0; i < r->n_axes; i++) {
        count = size_mul(r->el->context, count, r->full.dims[r->axes[i]]);
    }
    return count;
}

static Val count_of(const Reduce *r) {
    return val_size(elements_of(r), r->place);
}

static Val mean_of(const Reduce *r, Val x) {
    Val sum = raw(r, OP_reduce_sum, x);
    Val count = count_of(r);
    double number = 0;
    if (number_to_double(count, &number) && number > 0) {
        return elaborate_binary(r->el, AST_OP_MUL, sum, val_float(1.0 / number, r->place),
                                r->place);
    }
    return elaborate_binary(r->el, AST_OP_DIV, sum, count, r->place);
}

static Val unary(const Reduce *r, OpCode code, Val x) {
    if (val_is_error(x)) {
        return x;
    }
    return elaborate_elementwise(r->el, code, &x, 1, USE_FLOAT, "this reduction", r->place);
}

static Val variance_of(const Reduce *r, Val x) {
    Val centred = elaborate_binary(r->el, AST_OP_SUB, x, keep_axes(r, mean_of(r, x)), r->place);
    return mean_of(r, elaborate_binary(r->el, AST_OP_MUL, centred, centred, r->place));
}

static Val choose_zero(const Reduce *r, Value *zero, double value, Val x) {
    if (val_is_error(x)) {
        return x;
    }
    Value *constant =
        elaborate_made(r->el, b_constant_like(&r->el->b, value, x.as.tensor), r->place);
    Value *chosen = b_select(&r->el->b, zero, constant, x.as.tensor);
    return val_tensor(elaborate_made(r->el, chosen, r->place), x.weak, r->place);
}

/* f(x), but `at_zero` with derivative 0 where x is 0, and f has none. */
static Val unary_but_at_zero(const Reduce *r, OpCode f, double at_zero, Val x) {
    if (val_is_error(x)) {
        return x;
    }
    elaborate_at(r->el, r->place);
    Value *none = elaborate_made(r->el, b_constant_like(&r->el->b, 0.0, x.as.tensor), r->place);
    Value *zero = elaborate_made(r->el, b_binary(&r->el->b, OP_eq, x.as.tensor, none), r->place);
    return choose_zero(r, zero, at_zero, unary(r, f, choose_zero(r, zero, 1.0, x)));
}

/* top + log(sum(exp(x - top))); a row of nothing but -inf gives -inf. */
static Val logsumexp_of(const Reduce *r, Val x) {
    Elaborator *el = r->el;
    Val top = raw(r, OP_reduce_max, x);
    if (val_is_error(top)) {
        return top;
    }
    elaborate_at(el, r->place);
    Value *finite = elaborate_made(el, b_unary(&el->b, OP_isfinite, top.as.tensor), r->place);
    Value *zero = elaborate_made(el, b_constant_like(&el->b, 0.0, top.as.tensor), r->place);
    Value *safe = elaborate_made(el, b_select(&el->b, finite, top.as.tensor, zero), r->place);
    safe = elaborate_made(el, b_stop_gradient(&el->b, safe), r->place);
    Val shift = val_tensor(safe, x.weak, r->place);
    Val moved = elaborate_binary(el, AST_OP_SUB, x, keep_axes(r, shift), r->place);
    Val sum = raw(r, OP_reduce_sum, unary(r, OP_exp, moved));
    return elaborate_binary(el, AST_OP_ADD, shift, unary_but_at_zero(r, OP_log, -HUGE_VAL, sum),
                            r->place);
}

typedef enum Need { NEED_NUMBER, NEED_FLOAT, NEED_BOOL, NEED_ANY } Need;

static Need need_of(const char *name) {
    if (strcmp(name, "any") == 0 || strcmp(name, "all") == 0) {
        return NEED_BOOL;
    }
    if (strcmp(name, "max") == 0 || strcmp(name, "min") == 0) {
        return NEED_ANY;
    }
    return strcmp(name, "sum") == 0 || strcmp(name, "prod") == 0 ? NEED_NUMBER : NEED_FLOAT;
}

/* The operand with an element type that the reduction takes. */
static bool prepare(Elaborator *el, const char *name, Val *x, Place place) {
    Need need = need_of(name);
    DType dtype = x->as.tensor->type.dtype;
    const char *what = arena_format(el->arena, "'%s'", name);
    if (need == NEED_BOOL && dtype != DT_BOOL) {
        Diag *diag = EL_REPORT(el, WRONG_DTYPE, place, what, "bools", dtype_name(dtype));
        elaborate_help(el, diag, "compare first, e.g. x != 0");
        return false;
    }
    if (need == NEED_FLOAT && dtype_is_integer(dtype) && !x->weak) {
        Diag *diag = EL_REPORT(el, WRONG_DTYPE, place, what, "floats", dtype_name(dtype));
        elaborate_help(el, diag, "convert it: cast(x, %s)", dtype_name(elaborate_float(el)));
        return false;
    }
    DType to = dtype;
    if (need == NEED_NUMBER && dtype == DT_BOOL) {
        to = DT_I32;
    } else if (need == NEED_NUMBER && (dtype == DT_U8 || dtype == DT_I8)) {
        to = DT_I32;
    } else if (need == NEED_FLOAT && !dtype_is_float(dtype)) {
        to = elaborate_float(el);
    }
    if (to != dtype) {
        bool weak = x->weak;
        Place from = x->place;
        elaborate_at(el, place);
        *x = val_tensor(elaborate_made(el, b_cast(&el->b, x->as.tensor, to), place), weak, from);
    }
    return !val_is_error(*x);
}

/* No axis without elements where there is no value of none, no count beyond i32. */
static bool sizes_fit(const Reduce *r, const char *name, bool has_initial) {
    bool extreme = !has_initial && (strcmp(name, "max") == 0 || strcmp(name, "min") == 0);
    const char *what = arena_format(r->el->arena, "the size of an axis of '%s'", name);
    for (int32_t i = 0; extreme && i < r->n_axes; i++) {
        if (!shown_within(r->el, r->full.dims[r->axes[i]], 1, INT64_MAX, what, r->place)) {
            return false;
        }
    }
    if (strcmp(name, "sum") != 0 || r->full.dtype != DT_BOOL) {
        return true;
    }
    what = "the number of bools that 'sum' counts";
    return shown_within(r->el, elements_of(r), 0, INDEX_COUNT_MOST, what, r->place);
}

static Val reduce_by_name(const Reduce *r, const char *name, Val x, bool keepdims) {
    Elaborator *el = r->el;
    Val result = val_error();
    if (!prepare(el, name, &x, r->place)) {
        return result;
    }
    if (strcmp(name, "sum") == 0) {
        result = raw(r, OP_reduce_sum, x);
    } else if (strcmp(name, "mean") == 0) {
        result = mean_of(r, x);
    } else if (strcmp(name, "max") == 0 || strcmp(name, "any") == 0) {
        result = raw(r, OP_reduce_max, x);
    } else if (strcmp(name, "min") == 0 || strcmp(name, "all") == 0) {
        result = raw(r, OP_reduce_min, x);
    } else if (strcmp(name, "prod") == 0) {
        result = raw(r, OP_reduce_prod, x);
    } else if (strcmp(name, "var") == 0) {
        result = variance_of(r, x);
    } else if (strcmp(name, "std") == 0) {
        result = unary_but_at_zero(r, OP_sqrt, 0.0, variance_of(r, x));
    } else if (strcmp(name, "logsumexp") == 0) {
        result = logsumexp_of(r, x);
    } else if (strcmp(name, "norm") == 0) {
        Val squares = raw(r, OP_reduce_sum, elaborate_binary(el, AST_OP_MUL, x, x, r->place));
        result = unary_but_at_zero(r, OP_sqrt, 0.0, squares);
    } else {
        Diag *diag = EL_REPORT(el, AXES_BY, r->place, name);
        elaborate_help(el, diag, "sum mean max min prod any all var std logsumexp norm");
    }
    return keepdims ? keep_axes(r, result) : result;
}

Val builtin_reduce(Elaborator *el, const char *name, Val x, const int64_t *axes, int32_t n_axes,
                   bool keepdims, Place place) {
    if (x.kind != VAL_TENSOR) {
        return val_error();
    }
    Reduce r = {
        .el = el, .place = place, .axes = axes, .n_axes = n_axes, .full = x.as.tensor->type};
    return sizes_fit(&r, name, false) ? reduce_by_name(&r, name, x, keepdims) : val_error();
}

/* The extreme of a reduction's result and `initial`, which is the result over nothing. The op's own
 * value over nothing, -inf or inf, changes no result. */
static Val with_initial(BuiltinCall *call, bool greatest, Val result) {
    Val initial = call->args[3];
    double number = 0;
    if (val_is_error(result) || val_is_error(initial)) {
        return val_error();
    }
    if (!val_is_number(initial) &&
        !(initial.kind == VAL_TENSOR && initial.as.tensor->type.rank == 0)) {
        EL_REPORT(call->el, WRONG_KIND, call->places[3], "'initial'", "a number",
                  val_describe(call->el, initial));
        return val_error();
    }
    if (result.kind == VAL_TENSOR && dtype_is_float(result.as.tensor->type.dtype) &&
        number_to_double(initial, &number) && number == (greatest ? -HUGE_VAL : HUGE_VAL)) {
        return result;
    }
    Val both[] = {result, initial};
    return elaborate_elementwise(call->el, greatest ? OP_max : OP_min, both, 2, USE_SELECT,
                                 call_name(call), call->place);
}

Val builtin_reduction(BuiltinCall *call) {
    Elaborator *el = call->el;
    int64_t axes[TYPE_MAX_RANK];
    int32_t n_axes = 0;
    bool keepdims = false;
    if (call->builtin->code != 0 && val_is_number(call->args[0]) && val_is_number(call->args[1])) {
        /* max(a, b) of compile-time numbers */
        BuiltinCall pair = *call;
        Builtin row = *call->builtin;
        row.code = call->builtin->code == 1 ? OP_max : OP_min;
        pair.builtin = &row;
        return builtin_pair(&pair);
    }
    Value *x = arg_tensor(call, 0);
    if (call->builtin->code != 0 && x && call->args[1].kind == VAL_TENSOR) {
        Diag *diag = EL_REPORT(el, WRONG_KIND, call->places[1], "an axis", "an integer",
                               val_describe(el, call->args[1]));
        elaborate_help(el, diag, "%s(a, b) compares elementwise",
                       call->builtin->code == 1 ? "maximum" : "minimum");
        return val_error();
    }
    if (x == NULL || !need_axes(el, call->args[1], x->type.rank, call->places[1], axes, &n_axes) ||
        !arg_bool(call, 2, false, &keepdims)) {
        return val_error();
    }
    Val operand = val_tensor(x, is_weak(call->args[0]), call->args[0].place);
    if (call->builtin->code != 0 && given(call, 3)) {
        Reduce r = {
            .el = el, .place = call->place, .axes = axes, .n_axes = n_axes, .full = x->type};
        if (!sizes_fit(&r, call->builtin->name, true)) {
            return val_error();
        }
        return with_initial(call, call->builtin->code == 1,
                            reduce_by_name(&r, call->builtin->name, operand, keepdims));
    }
    return builtin_reduce(el, call->builtin->name, operand, axes, n_axes, keepdims, call->place);
}

/* x as one axis, for functions whose axis was not given. */
static Value *flat(BuiltinCall *call, Value *x) {
    const Size *shape[] = {type_elements(call->el->context, x->type)};
    return elaborate_reshape(call->el, x, shape, 1, call->place);
}

Val builtin_arg(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0);
    int64_t axis = 0;
    bool keepdims = false;
    if (x && !given(call, 1) && x->type.rank != 1) {
        x = flat(call, x);
    }
    if (x == NULL || !arg_axis(call, 1, x->type.rank, 0, &axis) ||
        !arg_bool(call, 2, false, &keepdims)) {
        return val_error();
    }
    const char *what = arena_format(el->arena, "the size of the axis of %s", call_name(call));
    if (!shown_within(el, x->type.dims[axis], 1, INDEX_SIZE_MOST, what, call->place)) {
        return val_error();
    }
    elaborate_at(el, call->place);
    Value *index = call->builtin->code == 0 ? b_argmax(&el->b, x, axis) : b_argmin(&el->b, x, axis);
    Val result = made(call, index, false);
    if (keepdims) {
        Reduce r = {.el = el, .place = call->place, .axes = &axis, .n_axes = 1, .full = x->type};
        return keep_axes(&r, result);
    }
    return result;
}

Val builtin_cumsum(BuiltinCall *call) {
    Value *x = arg_tensor(call, 0);
    int64_t axis = 0;
    bool counts = x && x->type.dtype == DT_BOOL;
    if (counts) {
        x = elaborate_made(call->el, b_cast(&call->el->b, x, DT_I32), call->place);
    }
    if (x && !given(call, 1) && x->type.rank != 1) {
        x = flat(call, x);
    }
    if (x == NULL || !arg_axis(call, 1, x->type.rank, 0, &axis)) {
        return val_error();
    }
    if (counts && !shown_within(call->el, x->type.dims[axis], 0, INDEX_COUNT_MOST,
                                "the number of bools that 'cumsum' counts", call->place)) {
        return val_error();
    }
    elaborate_at(call->el, call->place);
    return made(call, b_cumsum(&call->el->b, x, axis, false, false), is_weak(call->args[0]));
}

static bool sort_fits(BuiltinCall *call, const Value *x, int64_t axis) {
    const char *what = arena_format(call->el->arena, "the size of the axis of %s", call_name(call));
    return shown_within(call->el, x->type.dims[axis], 0, INDEX_SIZE_MOST, what, call->place);
}

Val builtin_sort(BuiltinCall *call) {
    Value *x = arg_tensor(call, 0), *indices = NULL;
    int64_t axis = 0;
    bool descending = false;
    if (x == NULL || !arg_axis(call, 1, x->type.rank, -1, &axis) ||
        !arg_bool(call, 2, false, &descending) || !sort_fits(call, x, axis)) {
        return val_error();
    }
    elaborate_at(call->el, call->place);
    Val values =
        made(call, b_sort(&call->el->b, x, axis, descending, &indices), is_weak(call->args[0]));
    if (val_is_error(values) || call->builtin->code == 0) {
        return values;
    }
    return val_tensor(indices, false, call->place);
}

Val builtin_topk(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0), *indices = NULL;
    const Size *k = NULL;
    int64_t axis = 0;
    if (x == NULL || !need_size(el, call->args[1], "k", call->places[1], &k) ||
        !arg_axis(call, 2, x->type.rank, -1, &axis)) {
        return val_error();
    }
    const Size *zero = size_const(el->context, 0);
    if (!sort_fits(call, x, axis) ||
        !check_range(el, zero, k, x->type.dims[axis], call->places[1])) {
        return val_error();
    }
    elaborate_at(el, call->place);
    Value *values = elaborate_made(el, b_sort(&el->b, x, axis, true, &indices), call->place);
    if (values == NULL) {
        return val_error();
    }
    Val pair = val_list(el, VAL_TUPLE, 2, call->place);
    pair.as.list.items[0] =
        made(call, b_slice_axis(&el->b, values, axis, zero, k), is_weak(call->args[0]));
    pair.as.list.items[1] = made(call, b_slice_axis(&el->b, indices, axis, zero, k), false);
    return pair;
}
