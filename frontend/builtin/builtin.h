/* What the files of built-in functions share: the handlers of builtin.def and how they read
 * arguments. */
#ifndef DLC_FRONTEND_BUILTIN_BUILTIN_H
#define DLC_FRONTEND_BUILTIN_BUILTIN_H

#include "frontend/elaborate/elaborate.h"

#define BUILTIN(name, handler, code, signature) Val handler(BuiltinCall *call);
#include "frontend/builtin/builtin.def"
#undef BUILTIN

/* Whether a function of one number makes an integer of a compile-time integer. */
bool builtin_keeps_integers(OpCode code);
static inline bool given(const BuiltinCall *call, int index) {
    return call->args[index].kind != VAL_NONE;
}
/* "'sum'", for messages. */
const char *call_name(const BuiltinCall *call);
/* Argument `index` as a tensor; NULL after a report. */
Value *arg_tensor(BuiltinCall *call, int index);
/* An optional axis (default when not given), an optional bool, int, number, element type. */
bool arg_axis(BuiltinCall *call, int index, int32_t rank, int64_t fallback, int64_t *out);
bool arg_bool(BuiltinCall *call, int index, bool fallback, bool *out);
bool arg_int(BuiltinCall *call, int index, int64_t fallback, int64_t *out);
/* *out_weak: none was given, so the result takes the type of what it meets. */
bool arg_dtype(BuiltinCall *call, int index, DType fallback, DType *out, bool *out_weak);
/* Indices: an i32 or i64 tensor (narrower ones are widened). */
Value *arg_indices(BuiltinCall *call, int index);
Val made(BuiltinCall *call, Value *value, bool weak);
static inline bool is_weak(Val value) {
    return value.kind != VAL_TENSOR || value.weak;
}
/* x op y with the language's rules. */
Val arith(BuiltinCall *call, AstOp op, Val x, Val y);
/* A unary op on a value, weak types kept. */
Val apply(BuiltinCall *call, OpCode code, Val x);

#endif
