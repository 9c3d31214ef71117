/* Built-in constructors and random numbers. */
#include "frontend/builtin/builtin.h"

#include <math.h>

static bool shape_type(BuiltinCall *call, int dtype_index, DType fallback, Type *out, bool *weak) {
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    DType dtype = fallback;
    if (!need_shape(call->el, call->args[0], "the shape", call->places[0], shape, &rank) ||
        !arg_dtype(call, dtype_index, fallback, &dtype, weak)) {
        return false;
    }
    *out = type_make(call->el->context, dtype, rank, shape);
    if (size_is_error(type_bytes(call->el->context, *out))) {
        EL_REPORT(call->el, OVERFLOW, call->place, "the number of bytes of this tensor");
        return false;
    }
    return true;
}

Val builtin_fill(BuiltinCall *call) {
    Type type = {0};
    bool weak = false;
    if (!shape_type(call, 1, elaborate_float(call->el), &type, &weak)) {
        return val_error();
    }
    return made(call, b_constant(&call->el->b, call->builtin->code, type), weak);
}

Val builtin_full(BuiltinCall *call) {
    Elaborator *el = call->el;
    Type type = {0};
    bool weak = false, value_weak = false;
    DType own = DT_F32;
    Val value = call->args[1];
    if (!common_dtype(el, &value, 1, USE_SELECT, "'full'", call->places[1], &own, &value_weak) ||
        !shape_type(call, 2, own, &type, &weak)) {
        return val_error();
    }
    if (value.kind == VAL_FLOAT && !dtype_is_float(type.dtype)) {
        EL_REPORT(el, WRONG_DTYPE, call->places[1], "'full'", dtype_name(type.dtype), "a fraction");
        return val_error();
    }
    Value *x = elaborate_as(el, value, type.dtype, call->place);
    Val both[] = {val_tensor(x, false, call->places[1])};
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    if (x == NULL || !common_shape(el, both, 1, "'full'", call->place, shape, &rank)) {
        return val_error();
    }
    if (rank > type.rank) {
        EL_REPORT(el, RESHAPE_COUNT, call->place, type_text(el->context, x->type),
                  type_text(el->context, type));
        return val_error();
    }
    return val_tensor(elaborate_expand(el, x, type.dims, type.rank, call->place),
                      weak && value_weak, call->place);
}

Val builtin_like(BuiltinCall *call) {
    Value *x = arg_tensor(call, 0);
    DType dtype = DT_F32;
    bool weak = false;
    if (x == NULL || !arg_dtype(call, 1, x->type.dtype, &dtype, &weak)) {
        return val_error();
    }
    Type type = type_with_dtype(x->type, dtype);
    return made(call, b_constant(&call->el->b, call->builtin->code, type),
                weak && is_weak(call->args[0]));
}

Value *index_along(Elaborator *el, int64_t axis, Type type, Place place) {
    int64_t most = type.dtype == DT_I32  ? INDEX_SIZE_MOST
                   : type.dtype == DT_I8 ? INT8_MAX + 1
                   : type.dtype == DT_U8 ? UINT8_MAX + 1
                                         : INT64_MAX;
    const char *what = arena_format(el->arena, "the size of an axis that %s indices count",
                                    dtype_name(type.dtype));
    if (!shown_within(el, type.dims[axis], 0, most, what, place)) {
        return NULL;
    }
    elaborate_at(el, place);
    return elaborate_made(el, b_iota(&el->b, axis, type), place);
}

Val builtin_iota(BuiltinCall *call) {
    Type type = {0};
    bool weak = false;
    int64_t axis = 0;
    if (!shape_type(call, 2, DT_I32, &type, &weak) || !arg_axis(call, 1, type.rank, 0, &axis)) {
        return val_error();
    }
    return made(call, index_along(call->el, axis, type, call->place), weak);
}

Val builtin_eye(BuiltinCall *call) {
    Elaborator *el = call->el;
    const Size *shape[2] = {NULL, NULL};
    DType dtype = DT_F32;
    bool weak = false;
    if (!need_size(el, call->args[0], "the size", call->places[0], &shape[0]) ||
        !arg_dtype(call, 2, elaborate_float(el), &dtype, &weak)) {
        return val_error();
    }
    shape[1] = shape[0];
    if (given(call, 1) && !need_size(el, call->args[1], "the size", call->places[1], &shape[1])) {
        return val_error();
    }
    Type index = type_make(el->context, DT_I32, 2, shape);
    Value *row = index_along(el, 0, index, call->place);
    Value *column = index_along(el, 1, index, call->place);
    Value *same = elaborate_made(el, b_binary(&el->b, OP_eq, row, column), call->place);
    return made(call, b_cast(&el->b, same, dtype), weak);
}

Val builtin_one_hot(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *ids = arg_indices(call, 0);
    const Size *n = NULL, *shape[TYPE_MAX_RANK];
    int64_t axes[TYPE_MAX_RANK];
    DType dtype = DT_F32;
    bool weak = false;
    if (ids == NULL ||
        !need_size(el, call->args[1], "the number of classes", call->places[1], &n) ||
        !arg_dtype(call, 2, elaborate_float(el), &dtype, &weak)) {
        return val_error();
    }
    int32_t rank = ids->type.rank;
    if (rank == TYPE_MAX_RANK) {
        EL_REPORT(el, RANK_LIMIT, call->place, rank + 1);
        return val_error();
    }
    for (int32_t i = 0; i < rank; i++) {
        shape[i] = ids->type.dims[i];
        axes[i] = i;
    }
    shape[rank] = n;
    elaborate_at(el, call->place);
    Value *wide = elaborate_made(el, b_broadcast(&el->b, ids, rank + 1, shape, axes), call->place);
    Type type = type_make(el->context, ids->type.dtype, rank + 1, shape);
    Value *class_ids = index_along(el, rank, type, call->place);
    if (wide == NULL || class_ids == NULL) {
        return val_error();
    }
    Value *same = elaborate_made(el, b_binary(&el->b, OP_eq, wide, class_ids), call->place);
    return made(call, b_cast(&el->b, same, dtype), weak);
}

/* -- random numbers */

Value *elaborate_uniform(Elaborator *el, Type type, Place place) {
    DType drawn = type.dtype == DT_F64 ? DT_F64 : DT_F32;
    Type numbers = type_with_dtype(type, drawn);
    RandomKey key = random_key(el, numbers, place);
    if (!key.seed || !key.step || !key.iteration) {
        return NULL;
    }
    Value *u = elaborate_made(
        el, b_random_piece(&el->b, key.seed, key.step, key.iteration, key.site, numbers, key.piece),
        place);
    return u && drawn != type.dtype ? elaborate_made(el, b_cast(&el->b, u, type.dtype), place) : u;
}

static bool random_allowed(BuiltinCall *call) {
    if (call->el->fs != NULL || call->el->init_path) {
        return true;
    }
    EL_REPORT(call->el, NOT_COMPILE_TIME, call->place, "a value here",
              "a random number, which only the run knows");
    return false;
}

static bool random_type(BuiltinCall *call, int dtype_index, Type *out, bool *weak) {
    if (!random_allowed(call) ||
        !shape_type(call, dtype_index, elaborate_float(call->el), out, weak)) {
        return false;
    }
    if (!dtype_is_float(out->dtype)) {
        EL_REPORT(call->el, WRONG_DTYPE, call->place, call_name(call), "floats",
                  dtype_name(out->dtype));
        return false;
    }
    return true;
}

/* scale · x + shift, leaving out what does nothing. */
static Val affine(BuiltinCall *call, Val x, Val scale, Val shift) {
    double number = 0;
    if (!(number_to_double(scale, &number) && number == 1.0)) {
        x = arith(call, AST_OP_MUL, x, scale);
    }
    if (!(number_to_double(shift, &number) && number == 0.0)) {
        x = arith(call, AST_OP_ADD, x, shift);
    }
    return x;
}

Val builtin_uniform(BuiltinCall *call) {
    Type type = {0};
    bool weak = false;
    if (!random_type(call, 3, &type, &weak)) {
        return val_error();
    }
    Val low = given(call, 1) ? call->args[1] : val_float(0.0, call->place);
    Val high = given(call, 2) ? call->args[2] : val_float(1.0, call->place);
    Val u = val_tensor(elaborate_uniform(call->el, type, call->place), weak, call->place);
    return affine(call, u, arith(call, AST_OP_SUB, high, low), low);
}

/* Box and Muller: sqrt(-2 log(1 - u)) cos(2 pi v), with 1 - u in (0, 1]. */
Val builtin_normal(BuiltinCall *call) {
    Type type = {0};
    bool weak = false;
    if (!random_type(call, 3, &type, &weak)) {
        return val_error();
    }
    Elaborator *el = call->el;
    Type drawn = type_with_dtype(type, type.dtype == DT_F64 ? DT_F64 : DT_F32);
    Place place = call->place;
    Val u = val_tensor(elaborate_uniform(el, drawn, place), weak, place);
    Val v = val_tensor(elaborate_uniform(el, drawn, place), weak, place);
    Val log_u = apply(call, OP_log, arith(call, AST_OP_SUB, val_float(1.0, place), u));
    Val radius = apply(call, OP_sqrt, arith(call, AST_OP_MUL, val_float(-2.0, place), log_u));
    Val angle = arith(call, AST_OP_MUL, val_float(6.28318530717958647692, place), v);
    Val z = arith(call, AST_OP_MUL, radius, apply(call, OP_cos, angle));
    if (z.kind == VAL_TENSOR && drawn.dtype != type.dtype) {
        z = made(call, b_cast(&el->b, z.as.tensor, type.dtype), weak);
    }
    Val mean = given(call, 1) ? call->args[1] : val_float(0.0, place);
    Val std = given(call, 2) ? call->args[2] : val_float(1.0, place);
    return affine(call, z, std, mean);
}

Val builtin_bernoulli(BuiltinCall *call) {
    Elaborator *el = call->el;
    Type type = {0};
    bool weak = false;
    Val p = given(call, 1) ? call->args[1] : val_float(0.5, call->place);
    if (call->args[0].kind == VAL_TENSOR && !given(call, 1)) { /* probabilities themselves */
        p = call->args[0];
        type = p.as.tensor->type;
    } else if (!random_allowed(call) || !shape_type(call, 9, elaborate_float(el), &type, &weak)) {
        return val_error();
    }
    if (!random_allowed(call) || !dtype_is_float(type.dtype)) {
        return val_error();
    }
    Val u = val_tensor(elaborate_uniform(el, type, call->place), true, call->place);
    return arith(call, AST_OP_LT, u, p);
}

/* argmax of logits + Gumbel noise. */
Val builtin_categorical(BuiltinCall *call) {
    Elaborator *el = call->el;
    Value *logits = arg_tensor(call, 0);
    int64_t axis = 0;
    if (logits == NULL || !random_allowed(call) ||
        !arg_axis(call, 1, logits->type.rank, -1, &axis)) {
        return val_error();
    }
    if (!dtype_is_float(logits->type.dtype)) {
        EL_REPORT(el, WRONG_DTYPE, call->place, "'categorical'", "floats",
                  dtype_name(logits->type.dtype));
        return val_error();
    }
    Place place = call->place;
    if (!shown_within(el, logits->type.dims[axis], 1, INDEX_SIZE_MOST,
                      "the size of the axis of 'categorical'", place)) {
        return val_error();
    }
    Val u = val_tensor(elaborate_uniform(el, logits->type, place), false, place);
    /* -log(-log(u)) with u kept off 0 and 1 */
    Val kept = affine(call, u, val_float(1.0 - 2e-7, place), val_float(1e-7, place));
    Val inner = elaborate_unary_minus(el, apply(call, OP_log, kept), place);
    Val noise = elaborate_unary_minus(el, apply(call, OP_log, inner), place);
    Val noisy = arith(call, AST_OP_ADD, val_tensor(logits, false, place), noise);
    if (val_is_error(noisy)) {
        return noisy;
    }
    elaborate_at(el, place);
    return made(call, b_argmax(&el->b, noisy.as.tensor, axis), false);
}
