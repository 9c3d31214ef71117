/* Built-in functions that read and write at indices and at run-time positions. */
#include "frontend/builtin/builtin.h"

#include <string.h>

Val builtin_take(BuiltinCall *call) {
    Value *x = arg_tensor(call, 0), *ids = x ? arg_indices(call, 1) : NULL;
    int64_t axis = 0;
    if (ids == NULL || !arg_axis(call, 2, x->type.rank, 0, &axis)) {
        return val_error();
    }
    elaborate_at(call->el, call->place);
    return made(call, b_take(&call->el->b, x, ids, axis), is_weak(call->args[0]));
}

/* ids and x agree off `axis`; ids gets x's sizes where that is only checked at run time. */
static Value *align_indices(BuiltinCall *call, Value *x, Value *ids, int64_t axis) {
    Elaborator *el = call->el;
    const Size *shape[TYPE_MAX_RANK];
    if (ids->type.rank != x->type.rank) {
        Diag *diag = EL_REPORT(el, CONCAT_RANK, call->place, call_name(call), (int)x->type.rank,
                               (int)ids->type.rank);
        elaborate_help(el, diag,
                       "the indices have the rank of x; take(x, ids, axis) takes any rank");
        return NULL;
    }
    for (int32_t i = 0; i < x->type.rank; i++) {
        shape[i] = ids->type.dims[i];
        if (i == axis) {
            continue;
        }
        const char *what = arena_format(el->arena, "%s, axis %d", call_name(call), (int)i);
        if (!elaborate_same_size(el, ids->type.dims[i], call->places[1], x->type.dims[i],
                                 call->places[0], call->place, what)) {
            return NULL;
        }
        shape[i] = x->type.dims[i];
    }
    return elaborate_reshape(el, ids, shape, x->type.rank, call->place);
}

Val builtin_gather(BuiltinCall *call) {
    Value *x = arg_tensor(call, 0), *ids = x ? arg_indices(call, 1) : NULL;
    int64_t axis = 0;
    if (ids == NULL || !arg_axis(call, 2, x->type.rank, -1, &axis)) {
        return val_error();
    }
    ids = align_indices(call, x, ids, axis);
    elaborate_at(call->el, call->place);
    return ids ? made(call, b_gather(&call->el->b, x, ids, axis), is_weak(call->args[0]))
               : val_error();
}

/* The first argument and argument `other` as tensors of their common element type. */
static bool arg_common(BuiltinCall *call, int other, TypeUse use, Value **out_first,
                       Value **out_other, bool *out_weak) {
    Elaborator *el = call->el;
    Val both[] = {call->args[0], call->args[other]};
    DType dtype = DT_F32;
    if (!common_dtype(el, both, 2, use, call_name(call), call->place, &dtype, out_weak)) {
        return false;
    }
    *out_first = elaborate_as(el, both[0], dtype, call->place);
    *out_other = elaborate_as(el, both[1], dtype, call->place);
    return *out_first && *out_other;
}

Val builtin_scatter_add(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0), *ids = x ? arg_indices(call, 1) : NULL;
    int64_t axis = 0;
    if (ids == NULL || !arg_axis(call, 3, x->type.rank, 0, &axis)) {
        return val_error();
    }
    Value *u;
    bool weak = false;
    if (!arg_common(call, 2, USE_ARITHMETIC, &x, &u, &weak)) {
        return val_error();
    }
    bool rows = ids->type.rank != x->type.rank || u->type.rank != ids->type.rank;
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    if (rows) {
        /* u has the shape of take(x, ids, axis). */
        for (int32_t i = 0; i < x->type.rank; i++) {
            if (i != axis) {
                shape[rank++] = x->type.dims[i];
                continue;
            }
            for (int32_t k = 0; k < ids->type.rank && rank < TYPE_MAX_RANK; k++) {
                shape[rank++] = ids->type.dims[k];
            }
        }
    } else {
        ids = align_indices(call, x, ids, axis);
        if (ids == NULL) {
            return val_error();
        }
        rank = ids->type.rank;
        copy_sizes(shape, ids->type.dims, rank);
    }
    Value like = {.type = type_make(el->context, x->type.dtype, rank, shape)};
    Val pair[] = {val_tensor(&like, false, call->places[1]), val_tensor(u, false, call->places[2])};
    const Size *common[TYPE_MAX_RANK];
    int32_t n = 0;
    if (!common_shape(el, pair, 2, call_name(call), call->place, common, &n)) {
        return val_error();
    }
    if (n != rank) {
        EL_REPORT(el, CONCAT_RANK, call->place, call_name(call), (int)rank, (int)u->type.rank);
        return val_error();
    }
    u = elaborate_expand(el, u, shape, rank, call->place);
    elaborate_at(el, call->place);
    return made(call,
                rows ? b_take_add(&el->b, x, ids, u, axis) : b_scatter_add(&el->b, x, ids, u, axis),
                weak);
}

/* A run-time start as an i32 scalar. */
static Value *start_index(BuiltinCall *call, int index) {
    Elaborator *el = call->el;
    Value *start = arg_indices(call, index);
    if (start == NULL) {
        return NULL;
    }
    if (start->type.rank != 0) {
        EL_REPORT(el, WRONG_KIND, call->places[index], "a start", "an integer scalar",
                  val_describe(el, call->args[index]));
        return NULL;
    }
    elaborate_at(el, call->place);
    if (start->type.dtype == DT_I64) { /* what i32 cannot hold stays out of range */
        Value *low = elaborate_made(el, b_constant_like(&el->b, -1, start), call->place);
        Value *high = elaborate_made(el, b_constant_like(&el->b, INT32_MAX, start), call->place);
        start = elaborate_made(el, b_binary(&el->b, OP_max, start, low), call->place);
        start = elaborate_made(el, b_binary(&el->b, OP_min, start, high), call->place);
    }
    return elaborate_made(el, b_cast(&el->b, start, DT_I32), call->place);
}

static bool starts_at(BuiltinCall *call, Value *x, int64_t axis, Value *start, Value **starts) {
    Elaborator *el = call->el;
    elaborate_at(el, call->place);
    Value *zero = elaborate_made(el, b_constant(&el->b, 0.0, type_scalar(DT_I32)), call->place);
    for (int32_t i = 0; i < x->type.rank; i++) {
        starts[i] = i == axis ? start : zero;
    }
    return zero != NULL && start != NULL;
}

Val builtin_slice(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0), *starts[TYPE_MAX_RANK];
    const Size *size = NULL, *shape[TYPE_MAX_RANK];
    int64_t axis = 0;
    if (x == NULL || !need_size(el, call->args[2], "the size", call->places[2], &size) ||
        !arg_axis(call, 3, x->type.rank, 0, &axis)) {
        return val_error();
    }
    const Size *fixed = NULL;
    if (val_as_size(el, call->args[1], &fixed)) {
        const Size *limit = size_add(el->context, fixed, size);
        if (!check_range(el, fixed, limit, x->type.dims[axis], call->place)) {
            return val_error();
        }
        elaborate_at(el, call->place);
        return made(call, b_slice_axis(&el->b, x, axis, fixed, limit), is_weak(call->args[0]));
    }
    if (!check_range(el, size_const(el->context, 0), size, x->type.dims[axis], call->places[2]) ||
        !starts_at(call, x, axis, start_index(call, 1), starts)) {
        return val_error();
    }
    copy_sizes(shape, x->type.dims, x->type.rank);
    shape[axis] = size;
    return made(call, b_dynamic_slice(&el->b, x, starts, shape), is_weak(call->args[0]));
}

Val builtin_update(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *x = arg_tensor(call, 0), *starts[TYPE_MAX_RANK];
    int64_t axis = 0;
    if (x == NULL || !arg_axis(call, 3, x->type.rank, 0, &axis)) {
        return val_error();
    }
    Value *v;
    bool weak = false;
    if (!arg_common(call, 1, USE_SELECT, &x, &v, &weak)) {
        return val_error();
    }
    const Size *shape[TYPE_MAX_RANK];
    if (v->type.rank != x->type.rank) {
        EL_REPORT(el, CONCAT_RANK, call->place, call_name(call), (int)x->type.rank,
                  (int)v->type.rank);
        return val_error();
    }
    for (int32_t i = 0; i < x->type.rank; i++) {
        shape[i] = i == axis ? v->type.dims[i] : x->type.dims[i];
        const char *what = arena_format(el->arena, "%s, axis %d", call_name(call), (int)i);
        if (i != axis && !elaborate_same_size(el, v->type.dims[i], call->places[1], x->type.dims[i],
                                              call->places[0], call->place, what)) {
            return val_error();
        }
    }
    if (!check_range(el, size_const(el->context, 0), shape[axis], x->type.dims[axis],
                     call->places[1])) {
        return val_error();
    }
    v = elaborate_reshape(el, v, shape, x->type.rank, call->place);
    if (v == NULL || !starts_at(call, x, axis, start_index(call, 2), starts)) {
        return val_error();
    }
    elaborate_at(el, call->place);
    return made(call, b_dynamic_update(&el->b, x, v, starts), weak);
}
