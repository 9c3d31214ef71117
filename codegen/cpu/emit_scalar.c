/* Scalar operations and casts of the loop IR as LLVM instructions, intrinsics that are single
 * machine instructions, or calls of vecmath functions, as scalar.def's column `cpu` says.
 * Semantics: ir/scalar.def and ops.def's cast. */
#include "codegen/cpu/emit.h"
#include "ir/base/number.h"
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

static LLVMValueRef unary_intrinsic(Emit *e, const char *name, LLVMTypeRef type, LLVMValueRef x) {
    return emit_call_intrinsic(e, name, type, &x, 1);
}

static LLVMValueRef binary_intrinsic(Emit *e, const char *name, LLVMTypeRef type, LLVMValueRef x,
                                     LLVMValueRef y) {
    LLVMValueRef args[2] = {x, y};
    return emit_call_intrinsic(e, name, type, args, 2);
}

static LLVMValueRef emit_extreme(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    LLVMTypeRef type = emit_value_type(e, expr->dtype);
    LLVMValueRef x = args[0], y = args[1];
    bool is_max = expr->as.scalar.op == OP_max;
    if (expr->dtype == DT_BOOL) {
        return is_max ? LLVMBuildOr(e->builder, x, y, "") : LLVMBuildAnd(e->builder, x, y, "");
    }
    if (expr->dtype == DT_U8) {
        return binary_intrinsic(e, is_max ? "llvm.umax" : "llvm.umin", type, x, y);
    }
    if (!dtype_is_float(expr->dtype)) {
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

/* Of integers. */
static LLVMValueRef emit_division(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef x = args[0], y = args[1];
    bool is_mod = expr->as.scalar.op == OP_mod;
    LLVMTypeRef type = emit_value_type(e, expr->dtype);
    const KExpr *divisor = expr->as.scalar.a[1];
    bool is_constant = divisor->kind == KE_INT && divisor->as.integer > 0;
    bool positive = emit_is_natural(e, expr->as.scalar.a[0]) && emit_is_natural(e, divisor);
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

static LLVMValueRef emit_compare(Emit *e, const KExpr *expr, LLVMValueRef *args) {
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
                return LLVMBuildFCmp(e->builder, rows[i].real, args[0], args[1], "");
            }
            bool is_unsigned = dtype == DT_U8 || dtype == DT_BOOL;
            return LLVMBuildICmp(e->builder, is_unsigned ? rows[i].unsigned_ : rows[i].integer,
                                 args[0], args[1], "");
        }
    }
    return NULL;
}

static LLVMValueRef emit_sign(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef x = args[0];
    DType dtype = expr->dtype;
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

static LLVMValueRef emit_abs(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    LLVMTypeRef type = emit_value_type(e, expr->dtype);
    LLVMValueRef x = args[0];
    if (dtype_is_float(expr->dtype)) {
        return unary_intrinsic(e, "llvm.fabs", type, x);
    }
    return expr->dtype == DT_U8
               ? x
               : binary_intrinsic(e, "llvm.abs", type, x, LLVMConstInt(e->i1, 0, 0));
}

static LLVMValueRef emit_isfinite(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    LLVMTypeRef type = emit_value_type(e, expr->as.scalar.a[0]->dtype);
    LLVMValueRef size = unary_intrinsic(e, "llvm.fabs", type, args[0]);
    return LLVMBuildFCmp(e->builder, LLVMRealOLT, size, LLVMConstReal(type, __builtin_inf()), "");
}

static LLVMValueRef emit_isnan(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    (void)expr;
    return LLVMBuildFCmp(e->builder, LLVMRealUNO, args[0], args[0], "");
}

static LLVMValueRef emit_neg(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    return dtype_is_float(expr->dtype) ? LLVMBuildFNeg(e->builder, args[0], "")
                                       : LLVMBuildNeg(e->builder, args[0], "");
}

static LLVMValueRef emit_add(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    return dtype_is_float(expr->dtype)
               ? emit_contractible(LLVMBuildFAdd(e->builder, args[0], args[1], ""))
               : LLVMBuildAdd(e->builder, args[0], args[1], "");
}

static LLVMValueRef emit_sub(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    return dtype_is_float(expr->dtype)
               ? emit_contractible(LLVMBuildFSub(e->builder, args[0], args[1], ""))
               : LLVMBuildSub(e->builder, args[0], args[1], "");
}

static LLVMValueRef emit_mul(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    return dtype_is_float(expr->dtype)
               ? emit_contractible(LLVMBuildFMul(e->builder, args[0], args[1], ""))
               : LLVMBuildMul(e->builder, args[0], args[1], "");
}

static LLVMValueRef emit_div(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    (void)expr;
    return LLVMBuildFDiv(e->builder, args[0], args[1], "");
}

static LLVMValueRef emit_and(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    (void)expr;
    return LLVMBuildAnd(e->builder, args[0], args[1], "");
}

static LLVMValueRef emit_or(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    (void)expr;
    return LLVMBuildOr(e->builder, args[0], args[1], "");
}

static LLVMValueRef emit_not(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    (void)expr;
    return LLVMBuildNot(e->builder, args[0], "");
}

static LLVMValueRef emit_select(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    (void)expr;
    return LLVMBuildSelect(e->builder, args[0], args[1], args[2], "");
}

/* -- the column of scalar.def */

typedef struct CpuRow {
    bool calls;            /* dlc_<name> of vecmath … */
    const char *intrinsic; /* … or this one … */
    const char *text;      /* … or other rows … */
    LLVMValueRef (*own)(Emit *e, const KExpr *expr, LLVMValueRef *args); /* … or this; with calls:
                                                                            of integers */
} CpuRow;

#define CALL()                                                                                     \
    { .calls = true }
#define CALL_OR(name)                                                                              \
    { .calls = true, .own = emit_##name }
#define INTRINSIC(name)                                                                            \
    { .intrinsic = name }
#define TEXT(rows)                                                                                 \
    { .text = rows }
#define OWN(name)                                                                                  \
    { .own = emit_##name }

static const CpuRow CPU_ROWS[OP_N_SCALAR] = {
#define SCALAR(name, arity, class_, result, cost, gradient, domain, slope, precision, elements,    \
               sign, identity, linear, function, c_f64, c_i64, cpu, ...)                           \
    [OP_##name] = cpu,
#include "ir/scalar.def"
#undef SCALAR
};

/* "dlc_exp_f32" where the row is a call in this type. */
static bool call_name(OpCode code, DType dtype, char out[32]) {
    const CpuRow *row = &CPU_ROWS[code];
    if (!row->calls || (row->own && !dtype_is_float(dtype))) {
        return false;
    }
    snprintf(out, 32, "dlc_%s_%s", op_info(code)->name, dtype == DT_F64 ? "f64" : "f32");
    return true;
}

/* The next word of a text: an operand (%0), a number or a row's name, which `(` follows. */
static const char *next_word(const char *text) {
    return text + strspn(text, " (),");
}

static bool word_row(const char *text, OpCode *out) {
    char name[32];
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz_0123456789");
    if (n == 0 || n >= sizeof(name) || text[n] != '(') {
        return false;
    }
    memcpy(name, text, n);
    name[n] = '\0';
    return op_code_from_name(name, out) && op_is_scalar(*out);
}

static void row_calls(OpCode code, DType dtype, void (*note)(void *user, const char *name),
                      void *user) {
    char name[32];
    if (call_name(code, dtype, name)) {
        note(user, name);
    }
    const char *at = CPU_ROWS[code].text;
    for (at = at ? next_word(at) : ""; *at; at = next_word(at + strcspn(at, " (),"))) {
        OpCode inner;
        if (word_row(at, &inner)) {
            row_calls(inner, dtype, note, user);
        }
    }
}

void emit_scalar_calls(const KExpr *expr, void (*note)(void *user, const char *name), void *user) {
    row_calls(expr->as.scalar.op, expr->as.scalar.a[expr->as.scalar.n - 1]->dtype, note, user);
}

/* Emits the part of a row's text at *at, in the order in which it is read. *out: its type. */
static LLVMValueRef emit_part(Emit *e, const KExpr *expr, LLVMValueRef *args, const char **at,
                              DType *out) {
    OpCode code;
    *at = next_word(*at);
    *out = expr->as.scalar.a[expr->as.scalar.n - 1]->dtype;
    if (**at == '%') {
        int operand = (*at)[1] - '0';
        *at += 2;
        *out = expr->as.scalar.a[operand]->dtype;
        return args[operand];
    }
    if (!word_row(*at, &code)) {
        char *end;
        double number = number_scan(*at, &end);
        e->missing = end == *at ? op_info(expr->as.scalar.op)->name : e->missing;
        *at = end;
        return LLVMConstReal(emit_value_type(e, *out), number);
    }
    int32_t n = op_info(code)->n_operands;
    KExpr parts[3], call = {.kind = KE_SCALAR, .as.scalar = {.op = code, .n = n}};
    LLVMValueRef values[3];
    *at += strcspn(*at, "(");
    for (int32_t i = 0; i < n; i++) {
        DType dtype;
        values[i] = emit_part(e, expr, args, at, &dtype);
        parts[i] = (KExpr){.kind = KE_SCALAR, .dtype = dtype};
        call.as.scalar.a[i] = &parts[i];
    }
    *at += strspn(*at, ")") > 0;
    *out = call.dtype = op_info(code)->scalar_result == RESULT_BOOL ? DT_BOOL : parts[n - 1].dtype;
    return emit_scalar(e, &call, values);
}

LLVMValueRef emit_scalar(Emit *e, const KExpr *expr, LLVMValueRef *args) {
    const CpuRow *row = &CPU_ROWS[expr->as.scalar.op];
    DType dtype = expr->as.scalar.a[expr->as.scalar.n - 1]->dtype;
    char name[32];
    if (call_name(expr->as.scalar.op, dtype, name)) {
        return emit_call_vecmath(e, name, args, (unsigned)expr->as.scalar.n);
    }
    if (row->intrinsic) {
        return emit_call_intrinsic(e, row->intrinsic, emit_value_type(e, dtype), args,
                                   (unsigned)expr->as.scalar.n);
    }
    if (row->text) {
        const char *at = row->text;
        return emit_part(e, expr, args, &at, &dtype);
    }
    return row->own(e, expr, args);
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
    LLVMValueRef before = unary_intrinsic(e, "llvm.fabs", e->f64, value);
    LLVMValueRef after = unary_intrinsic(e, "llvm.fabs", e->f64, wide);
    LLVMValueRef grew = LLVMBuildFCmp(b, LLVMRealOGT, after, before, "");
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
