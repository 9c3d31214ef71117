/* How built-in functions read their arguments, and what they make results with. */
#include "frontend/builtin/builtin.h"

const char *call_name(const BuiltinCall *call) {
    return arena_format(call->el->arena, "'%s'", call->builtin->name);
}

Val made(BuiltinCall *call, Value *value, bool weak) {
    return val_tensor(elaborate_made(call->el, value, call->place), weak, call->place);
}

Value *arg_tensor(BuiltinCall *call, int index) {
    const char *what = arena_format(call->el->arena, "what '%s' takes", call->builtin->name);
    Value *value = need_tensor(call->el, call->args[index], what, call->places[index]);
    elaborate_at(call->el, call->place);
    return value;
}

bool arg_axis(BuiltinCall *call, int index, int32_t rank, int64_t fallback, int64_t *out) {
    Val axis = given(call, index) ? call->args[index] : val_int(fallback, call->place);
    return need_axis(call->el, axis, rank, call->places[index], out);
}

bool arg_bool(BuiltinCall *call, int index, bool fallback, bool *out) {
    *out = fallback;
    return !given(call, index) ||
           need_bool(call->el, call->args[index], "this argument", call->places[index], out);
}

bool arg_int(BuiltinCall *call, int index, int64_t fallback, int64_t *out) {
    *out = fallback;
    return !given(call, index) ||
           need_int(call->el, call->args[index], "this argument", call->places[index], out);
}

bool arg_dtype(BuiltinCall *call, int index, DType fallback, DType *out, bool *out_weak) {
    *out = fallback;
    *out_weak = !given(call, index);
    if (*out_weak) {
        return true;
    }
    Val value = call->args[index];
    if (value.kind != VAL_DTYPE) {
        Diag *diag = EL_REPORT(call->el, WRONG_KIND, call->places[index], "dtype",
                               "an element type", val_describe(call->el, value));
        elaborate_help(call->el, diag, "f64 f32 f16 bf16 i64 i32 i8 u8 bool");
        return false;
    }
    *out = value.as.dtype;
    return true;
}

Value *arg_indices(BuiltinCall *call, int index) {
    Elaborator *el = call->el;
    Value *ids = arg_tensor(call, index);
    if (ids == NULL) {
        return NULL;
    }
    DType dtype = ids->type.dtype;
    if (!dtype_is_integer(dtype)) {
        Diag *diag = EL_REPORT(el, WRONG_DTYPE, call->places[index], "an index", "integers",
                               dtype_name(dtype));
        elaborate_help(el, diag, "convert it: cast(x, i32)");
        return NULL;
    }
    if (dtype == DT_U8 || dtype == DT_I8) {
        return elaborate_made(el, b_cast(&el->b, ids, DT_I32), call->place);
    }
    return ids;
}

Val arith(BuiltinCall *call, AstOp op, Val x, Val y) {
    return elaborate_binary(call->el, op, x, y, call->place);
}

Val apply(BuiltinCall *call, OpCode code, Val x) {
    if (val_is_error(x)) {
        return x;
    }
    return elaborate_elementwise(call->el, code, &x, 1, USE_FLOAT, call_name(call), call->place);
}
