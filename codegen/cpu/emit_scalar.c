/* Scalar operations and casts of the loop IR as LLVM instructions, intrinsics that are single
 * machine instructions, or calls of vecmath functions. Semantics: ir/scalar.def and ops.def's cast.
 */
#include "codegen/cpu/emit.h"
#include <stdio.h>
#include <string.h>

LLVMValueRef emit_contractible(LLVMValueRef value) {
    if (LLVMCanValueUseFastMathFlags(value)) {
        LLVMSetFastMathFlags(value, LLVMGetFastMathFlags(value) | LLVMFastMathAllowContract);
    }
    return value;
}

void emit_reassociable(LLVMValueRef value) {
    if (LLVMCanValueUseFastMathFlags(value)) {
        LLVMSetFastMathFlags(value, LLVMGetFastMathFlags(value) | LLVMFastMathAllowReassoc);
    }
}

static const char *vecmath_of(OpCode code, DType dtype) {
    switch (code) {
    case OP_floordiv:
    case OP_mod:
        return dtype_is_float(dtype) ? op_info(code)->name : NULL;
    case OP_exp:
    case OP_exp2:
    case OP_expm1:
    case OP_log:
    case OP_log2:
    case OP_log10:
    case OP_log1p:
    case OP_sin:
    case OP_cos:
    case OP_tan:
    case OP_asin:
    case OP_acos:
    case OP_atan:
    case OP_sinh:
    case OP_cosh:
    case OP_tanh:
    case OP_erf:
    case OP_erfc:
    case OP_sigmoid:
    case OP_pow:
    case OP_atan2:
    case OP_hypot:
        return op_info(code)->name;
    default:
        return NULL;
    }
}

bool emit_vecmath_name(const KExpr *expr, char out[32]) {
    const char *name = NULL;
    if (expr->kind == KE_SCALAR) {
        name = vecmath_of(expr->as.scalar.op, expr->dtype);
    } else if (expr->kind == KE_UNIFORM) {
        name = "uniform";
    }
    if (!name) {
        return false;
    }
    bool exact = expr->kind == KE_UNIFORM || expr->dtype == DT_F64;
    snprintf(out, 32, "dlc_%s_%s", name, exact ? dtype_name(expr->dtype) : "f32");
    return true;
}

static LLVMValueRef unary_intrinsic(Emit *e, const char *name, LLVMTypeRef type, LLVMValueRef x) {
    return emit_call_intrinsic(e, name, type, &x, 1);
}

static LLVMValueRef binary_intrinsic(Emit *e, const char *name, LLVMTypeRef type, LLVMValueRef x,
                                     LLVMValueRef y) {
    LLVMValueRef args[2] = {x, y};
    return emit_call_intrinsic(e, name, type, args, 2);
}

static LLVMValueRef emit_extreme(Emit *e, bool is_max, DType dtype, LLVMValueRef x,
                                 LLVMValueRef y) {
    LLVMTypeRef type = emit_value_type(e, dtype);
    if (dtype == DT_BOOL) {
        return is_max ? LLVMBuildOr(e->builder, x, y, "") : LLVMBuildAnd(e->builder, x, y, "");
    }
    if (dtype == DT_U8) {
        return binary_intrinsic(e, is_max ? "llvm.umax" : "llvm.umin", type, x, y);
    }
    if (!dtype_is_float(dtype)) {
        return binary_intrinsic(e, is_max ? "llvm.smax" : "llvm.smin", type, x, y);
    }
    LLVMValueRef call = binary_intrinsic(e, is_max ? "llvm.maximum" : "llvm.minimum", type, x, y);
    LLVMSetFastMathFlags(call, LLVMFastMathNoSignedZeros);
    return call;
}

/* Signed division with any divisor: 0 gives 0, -1 negates (so that the machine's trap cannot
 * happen), and the quotient is rounded down. */
static LLVMValueRef guarded_division(Emit *e, bool is_mod, LLVMTypeRef type, LLVMValueRef x,
                                     LLVMValueRef y) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef zero = LLVMConstInt(type, 0, 0), one = LLVMConstInt(type, 1, 0);
    LLVMValueRef minus = LLVMConstAllOnes(type);
    LLVMValueRef is_zero = LLVMBuildICmp(b, LLVMIntEQ, y, zero, "");
    LLVMValueRef is_minus = LLVMBuildICmp(b, LLVMIntEQ, y, minus, "");
    LLVMValueRef odd = LLVMBuildOr(b, is_zero, is_minus, "");
    LLVMValueRef d = LLVMBuildSelect(b, odd, one, y, "");
    LLVMValueRef q = LLVMBuildSDiv(b, x, d, ""), r = LLVMBuildSRem(b, x, d, "");
    LLVMValueRef mixed = LLVMBuildICmp(b, LLVMIntSLT, LLVMBuildXor(b, r, d, ""), zero, "");
    LLVMValueRef inexact = LLVMBuildICmp(b, LLVMIntNE, r, zero, "");
    LLVMValueRef adjust = LLVMBuildAnd(b, mixed, inexact, "");
    if (is_mod) {
        r = LLVMBuildAdd(b, r, LLVMBuildSelect(b, adjust, d, zero, ""), "");
        return LLVMBuildSelect(b, odd, zero, r, "");
    }
    q = LLVMBuildAdd(b, q, LLVMBuildSelect(b, adjust, minus, zero, ""), "");
    LLVMValueRef special = LLVMBuildSelect(b, is_zero, zero, LLVMBuildNeg(b, x, ""), "");
    return LLVMBuildSelect(b, odd, special, q, "");
}

static LLVMValueRef unsigned_division(Emit *e, bool is_mod, LLVMTypeRef type, LLVMValueRef x,
                                      LLVMValueRef y, bool nonzero) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef zero = LLVMConstInt(type, 0, 0), is_zero = NULL;
    if (!nonzero) {
        is_zero = LLVMBuildICmp(b, LLVMIntEQ, y, zero, "");
        y = LLVMBuildSelect(b, is_zero, LLVMConstInt(type, 1, 0), y, "");
    }
    LLVMValueRef result = is_mod ? LLVMBuildURem(b, x, y, "") : LLVMBuildUDiv(b, x, y, "");
    return is_zero ? LLVMBuildSelect(b, is_zero, zero, result, "") : result;
}

static LLVMValueRef emit_division(Emit *e, const KExpr *expr, LLVMValueRef x, LLVMValueRef y) {
    LLVMBuilderRef b = e->builder;
    bool is_mod = expr->as.scalar.op == OP_mod;
    LLVMTypeRef type = emit_value_type(e, expr->dtype);
    const KExpr *divisor = expr->as.scalar.a[1];
    bool is_constant = divisor->kind == KE_INT && divisor->as.integer > 0;
    bool positive = emit_expr_positive(e, expr->as.scalar.a[0]) && emit_expr_positive(e, divisor);
    if (expr->dtype == DT_U8 || positive) {
        return unsigned_division(e, is_mod, type, x, y, is_constant);
    }
    if (!is_constant) {
        return guarded_division(e, is_mod, type, x, y);
    }
    LLVMValueRef r = LLVMBuildSRem(b, x, y, "");
    LLVMValueRef negative = LLVMBuildICmp(b, LLVMIntSLT, r, LLVMConstInt(type, 0, 0), "");
    if (is_mod) {
        return LLVMBuildSelect(b, negative, LLVMBuildAdd(b, r, y, ""), r, "");
    }
    LLVMValueRef q = LLVMBuildSDiv(b, x, y, "");
    return LLVMBuildAdd(b, q, LLVMBuildSExt(b, negative, type, ""), "");
}

static LLVMValueRef emit_compare(Emit *e, const KExpr *expr, LLVMValueRef x, LLVMValueRef y) {
    static const struct {
        OpCode op;
        LLVMRealPredicate real;
        LLVMIntPredicate integer, unsigned_;
    } rows[] = {
        {OP_eq, LLVMRealOEQ, LLVMIntEQ, LLVMIntEQ},   {OP_ne, LLVMRealUNE, LLVMIntNE, LLVMIntNE},
        {OP_lt, LLVMRealOLT, LLVMIntSLT, LLVMIntULT}, {OP_le, LLVMRealOLE, LLVMIntSLE, LLVMIntULE},
        {OP_gt, LLVMRealOGT, LLVMIntSGT, LLVMIntUGT}, {OP_ge, LLVMRealOGE, LLVMIntSGE, LLVMIntUGE},
    };
    DType dtype = expr->as.scalar.a[0]->dtype;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].op == expr->as.scalar.op) {
            if (dtype_is_float(dtype)) {
                return LLVMBuildFCmp(e->builder, rows[i].real, x, y, "");
            }
            bool is_unsigned = dtype == DT_U8 || dtype == DT_BOOL;
            return LLVMBuildICmp(e->builder, is_unsigned ? rows[i].unsigned_ : rows[i].integer, x,
                                 y, "");
        }
    }
    return NULL;
}

static LLVMValueRef emit_sign(Emit *e, DType dtype, LLVMValueRef x) {
    LLVMBuilderRef b = e->builder;
    LLVMTypeRef type = emit_value_type(e, dtype);
    LLVMValueRef zero = LLVMConstNull(type);
    if (dtype_is_float(dtype)) {
        LLVMValueRef one = LLVMConstReal(type, 1.0), minus = LLVMConstReal(type, -1.0);
        LLVMValueRef below =
            LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOLT, x, zero, ""), minus, zero, "");
        LLVMValueRef sign =
            LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOGT, x, zero, ""), one, below, "");
        return LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealUNO, x, x, ""), x, sign, "");
    }
    LLVMValueRef above = LLVMBuildZExt(b, LLVMBuildICmp(b, LLVMIntNE, x, zero, ""), type, "");
    if (dtype == DT_U8) {
        return above;
    }
    LLVMValueRef negative = LLVMBuildICmp(b, LLVMIntSLT, x, zero, "");
    return LLVMBuildSelect(b, negative, LLVMConstAllOnes(type), above, "");
}

static LLVMValueRef emit_abs(Emit *e, DType dtype, LLVMValueRef x) {
    LLVMTypeRef type = emit_value_type(e, dtype);
    if (dtype_is_float(dtype)) {
        return unary_intrinsic(e, "llvm.fabs", type, x);
    }
    return dtype == DT_U8 ? x : binary_intrinsic(e, "llvm.abs", type, x, LLVMConstInt(e->i1, 0, 0));
}

static LLVMValueRef emit_isfinite(Emit *e, DType dtype, LLVMValueRef x) {
    LLVMTypeRef type = emit_value_type(e, dtype);
    LLVMValueRef size = unary_intrinsic(e, "llvm.fabs", type, x);
    return LLVMBuildFCmp(e->builder, LLVMRealOLT, size, LLVMConstReal(type, __builtin_inf()), "");
}

LLVMValueRef emit_scalar(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    LLVMBuilderRef b = e->builder;
    char name[32];
    if (emit_vecmath_name(expr, name)) {
        return emit_call_vecmath(e, name, args, (unsigned)expr->as.scalar.n);
    }
    DType dtype = expr->as.scalar.a[0]->dtype;
    LLVMTypeRef type = emit_value_type(e, dtype);
    LLVMValueRef x = args[0], y = expr->as.scalar.n > 1 ? args[1] : NULL;
    bool is_float = dtype_is_float(dtype);
    switch (expr->as.scalar.op) {
    case OP_neg:
        return is_float ? LLVMBuildFNeg(b, x, "") : LLVMBuildNeg(b, x, "");
    case OP_abs:
        return emit_abs(e, dtype, x);
    case OP_sign:
        return emit_sign(e, dtype, x);
    case OP_floor:
        return unary_intrinsic(e, "llvm.floor", type, x);
    case OP_ceil:
        return unary_intrinsic(e, "llvm.ceil", type, x);
    case OP_round:
        return unary_intrinsic(e, "llvm.nearbyint", type, x);
    case OP_trunc:
        return unary_intrinsic(e, "llvm.trunc", type, x);
    case OP_sqrt:
        return unary_intrinsic(e, "llvm.sqrt", type, x);
    case OP_rsqrt:
        return LLVMBuildFDiv(b, LLVMConstReal(type, 1.0), unary_intrinsic(e, "llvm.sqrt", type, x),
                             "");
    case OP_isfinite:
        return emit_isfinite(e, dtype, x);
    case OP_isnan:
        return LLVMBuildFCmp(b, LLVMRealUNO, x, x, "");
    case OP_add:
        return is_float ? emit_contractible(LLVMBuildFAdd(b, x, y, "")) : LLVMBuildAdd(b, x, y, "");
    case OP_sub:
        return is_float ? emit_contractible(LLVMBuildFSub(b, x, y, "")) : LLVMBuildSub(b, x, y, "");
    case OP_mul:
        return is_float ? emit_contractible(LLVMBuildFMul(b, x, y, "")) : LLVMBuildMul(b, x, y, "");
    case OP_div:
        return LLVMBuildFDiv(b, x, y, "");
    case OP_floordiv:
    case OP_mod:
        return emit_division(e, expr, x, y);
    case OP_max:
    case OP_min:
        return emit_extreme(e, expr->as.scalar.op == OP_max, dtype, x, y);
    case OP_and:
        return LLVMBuildAnd(b, x, y, "");
    case OP_or:
        return LLVMBuildOr(b, x, y, "");
    case OP_not:
        return LLVMBuildNot(b, x, "");
    case OP_select:
        return LLVMBuildSelect(b, x, y, args[2], "");
    case OP_eq:
    case OP_ne:
    case OP_lt:
    case OP_le:
    case OP_gt:
    case OP_ge:
        return emit_compare(e, expr, x, y);
    default:
        e->missing = op_info(expr->as.scalar.op)->name;
        return LLVMGetUndef(emit_value_type(e, expr->dtype));
    }
}

static LLVMValueRef float_to_int(Emit *e, LLVMValueRef value, LLVMTypeRef from, DType to) {
    LLVMTypeRef types[2] = {emit_value_type(e, to), from};
    const char *name = to == DT_U8 ? "llvm.fptoui.sat" : "llvm.fptosi.sat";
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef callee = LLVMGetIntrinsicDeclaration(e->module, id, types, 2);
    LLVMTypeRef type = LLVMIntrinsicGetType(e->context, id, types, 2);
    return LLVMBuildCall2(e->builder, type, callee, &value, 1, "");
}

/* f64 to f32 on the way to 16 bits: rounded to odd, so that the second rounding is the only one.
 * Towards zero, then the last bit set where anything was lost. */
static LLVMValueRef narrow_to_odd(Emit *e, LLVMValueRef value) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef narrow = LLVMBuildFPTrunc(b, value, e->f32, "");
    LLVMValueRef wide = LLVMBuildFPExt(b, narrow, e->f64, "");
    LLVMValueRef bits = LLVMBuildBitCast(b, narrow, e->i32, "");
    LLVMValueRef one = LLVMConstInt(e->i32, 1, 0);
    LLVMValueRef grew = LLVMBuildFCmp(b, LLVMRealOGT, unary_intrinsic(e, "llvm.fabs", e->f64, wide),
                                      unary_intrinsic(e, "llvm.fabs", e->f64, value), "");
    LLVMValueRef odd = LLVMBuildSelect(b, grew, LLVMBuildSub(b, bits, one, ""), bits, "");
    odd = LLVMBuildOr(b, odd, one, "");
    LLVMValueRef inexact = LLVMBuildFCmp(b, LLVMRealONE, wide, value, "");
    return LLVMBuildSelect(b, inexact, LLVMBuildBitCast(b, odd, e->f32, ""), narrow, "");
}

static LLVMValueRef cast_to_float(Emit *e, LLVMValueRef value, DType from, DType to) {
    LLVMBuilderRef b = e->builder;
    LLVMTypeRef type = emit_value_type(e, to);
    if (!dtype_is_float(from)) {
        bool is_unsigned = from == DT_U8 || from == DT_BOOL;
        value =
            is_unsigned ? LLVMBuildUIToFP(b, value, type, "") : LLVMBuildSIToFP(b, value, type, "");
    } else if (from == DT_F64 && to != DT_F64) {
        value = to == DT_F32 ? LLVMBuildFPTrunc(b, value, type, "") : narrow_to_odd(e, value);
    } else if (from != DT_F64 && to == DT_F64) {
        value = LLVMBuildFPExt(b, value, type, "");
    }
    if (to == DT_F16 || to == DT_BF16) {
        value = emit_from_memory(e, emit_to_memory(e, value, to), to);
    }
    return value;
}

LLVMValueRef emit_cast(Emit *e, LLVMValueRef value, DType from, DType to) {
    LLVMBuilderRef b = e->builder;
    LLVMTypeRef source = emit_value_type(e, from), type = emit_value_type(e, to);
    if (from == to) {
        return value;
    }
    if (dtype_is_float(to)) {
        return cast_to_float(e, value, from, to);
    }
    if (to == DT_BOOL) {
        return dtype_is_float(from)
                   ? LLVMBuildFCmp(b, LLVMRealUNE, value, LLVMConstNull(source), "")
                   : LLVMBuildICmp(b, LLVMIntNE, value, LLVMConstNull(source), "");
    }
    if (dtype_is_float(from)) {
        return float_to_int(e, value, source, to);
    }
    bool is_unsigned = from == DT_U8 || from == DT_BOOL;
    unsigned from_bits = LLVMGetIntTypeWidth(source), to_bits = LLVMGetIntTypeWidth(type);
    if (to_bits < from_bits) {
        return LLVMBuildTrunc(b, value, type, "");
    }
    if (to_bits == from_bits) {
        return value;
    }
    return is_unsigned ? LLVMBuildZExt(b, value, type, "") : LLVMBuildSExt(b, value, type, "");
}
