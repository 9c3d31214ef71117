/* Expressions of the loop IR as LLVM values: constants, variables, loads with their conversions,
 * alias and independence marks, and which index values are known not to be negative (so that
 * divisions by constants become shifts and multiplications). */
#include "codegen/cpu/emit.h"
#include <stdio.h>
#include <string.h>

LLVMTypeRef emit_value_type(const Emit *e, DType dtype) {
    switch (dtype) {
    case DT_F64:
        return e->f64;
    case DT_F32:
    case DT_F16:
    case DT_BF16:
        return e->f32;
    case DT_I64:
        return e->i64;
    case DT_I32:
        return e->i32;
    case DT_I8:
    case DT_U8:
        return e->i8;
    case DT_BOOL:
    case DT_COUNT:
        break;
    }
    return e->i1;
}

LLVMTypeRef emit_memory_type(const Emit *e, DType dtype) {
    if (dtype == DT_BOOL) {
        return e->i8;
    }
    return dtype == DT_F16 || dtype == DT_BF16 ? e->i16 : emit_value_type(e, dtype);
}

LLVMValueRef emit_call_intrinsic(Emit *e, const char *name, LLVMTypeRef overload,
                                 LLVMValueRef *args, unsigned n_args) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    size_t n_overloads = overload ? 1 : 0;
    LLVMValueRef callee = LLVMGetIntrinsicDeclaration(e->module, id, &overload, n_overloads);
    LLVMTypeRef type = LLVMIntrinsicGetType(e->context, id, &overload, n_overloads);
    return LLVMBuildCall2(e->builder, type, callee, args, n_args, "");
}

LLVMValueRef emit_call_vecmath(Emit *e, const char *name, LLVMValueRef *args, unsigned n_args) {
    LLVMValueRef callee = LLVMGetNamedFunction(e->module, name);
    return LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(callee), callee, args, n_args, "");
}

void emit_mark_access(Emit *e, LLVMValueRef instruction, LLVMValueRef scope, LLVMValueRef noalias) {
    if (scope) {
        LLVMSetMetadata(instruction, e->kind_scope, scope);
    }
    if (noalias) {
        LLVMSetMetadata(instruction, e->kind_noalias, noalias);
    }
    if (e->depth == 1) {
        LLVMSetMetadata(instruction, e->kind_access, e->stack[0]);
    } else if (e->depth > 1) {
        LLVMMetadataRef list[EMIT_MAX_VECTOR_DEPTH];
        for (int32_t i = 0; i < e->depth; i++) {
            list[i] = LLVMValueAsMetadata(e->stack[i]);
        }
        LLVMMetadataRef node = LLVMMDNodeInContext2(e->context, list, (size_t)e->depth);
        LLVMSetMetadata(instruction, e->kind_access, LLVMMetadataAsValue(e->context, node));
    }
}

static LLVMValueRef constant_i32(const Emit *e, unsigned value) {
    return LLVMConstInt(e->i32, value, 0);
}

static LLVMValueRef bf16_to_f32(Emit *e, LLVMValueRef bits) {
    LLVMValueRef wide = LLVMBuildZExt(e->builder, bits, e->i32, "");
    wide = LLVMBuildShl(e->builder, wide, constant_i32(e, 16), "");
    return LLVMBuildBitCast(e->builder, wide, e->f32, "");
}

/* Round to nearest, ties to even; a nan stays a (quiet) nan of the same sign. */
static LLVMValueRef f32_to_bf16(Emit *e, LLVMValueRef value) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef bits = LLVMBuildBitCast(b, value, e->i32, "");
    LLVMValueRef high = LLVMBuildLShr(b, bits, constant_i32(e, 16), "");
    LLVMValueRef odd = LLVMBuildAnd(b, high, constant_i32(e, 1), "");
    LLVMValueRef bias = LLVMBuildAdd(b, odd, constant_i32(e, 0x7fff), "");
    LLVMValueRef rounded = LLVMBuildAdd(b, bits, bias, "");
    rounded = LLVMBuildLShr(b, rounded, constant_i32(e, 16), "");
    LLVMValueRef quiet = LLVMBuildOr(b, high, constant_i32(e, 0x40), "");
    LLVMValueRef is_nan = LLVMBuildFCmp(b, LLVMRealUNO, value, value, "");
    rounded = LLVMBuildSelect(b, is_nan, quiet, rounded, "");
    return LLVMBuildTrunc(b, rounded, e->i16, "");
}

LLVMValueRef emit_from_memory(Emit *e, LLVMValueRef value, DType dtype) {
    LLVMBuilderRef b = e->builder;
    if (dtype == DT_BOOL) {
        return LLVMBuildICmp(b, LLVMIntNE, value, LLVMConstInt(e->i8, 0, 0), "");
    }
    if (dtype == DT_BF16) {
        return bf16_to_f32(e, value);
    }
    if (dtype == DT_F16) {
        if (!e->has_f16c) {
            return emit_call_vecmath(e, "dlc_f16_to_f32", &value, 1);
        }
        value = LLVMBuildBitCast(b, value, LLVMHalfTypeInContext(e->context), "");
        return LLVMBuildFPExt(b, value, e->f32, "");
    }
    return value;
}

LLVMValueRef emit_to_memory(Emit *e, LLVMValueRef value, DType dtype) {
    LLVMBuilderRef b = e->builder;
    if (dtype == DT_BOOL) {
        return LLVMBuildZExt(b, value, e->i8, "");
    }
    if (dtype == DT_BF16) {
        return f32_to_bf16(e, value);
    }
    if (dtype == DT_F16) {
        if (!e->has_f16c) {
            return emit_call_vecmath(e, "dlc_f32_to_f16", &value, 1);
        }
        value = LLVMBuildFPTrunc(b, value, LLVMHalfTypeInContext(e->context), "");
        return LLVMBuildBitCast(b, value, e->i16, "");
    }
    return value;
}

static LLVMValueRef emit_load(Emit *e, DType dtype, LLVMValueRef base, const KExpr *index,
                              LLVMValueRef scope, LLVMValueRef noalias) {
    LLVMTypeRef type = emit_memory_type(e, dtype);
    LLVMValueRef at = emit_expr(e, index);
    LLVMValueRef address = LLVMBuildInBoundsGEP2(e->builder, type, base, &at, 1, "");
    LLVMValueRef value = LLVMBuildLoad2(e->builder, type, address, "");
    LLVMSetAlignment(value, (unsigned)dtype_bytes(dtype));
    emit_mark_access(e, value, scope, noalias);
    return emit_from_memory(e, value, dtype);
}

void emit_uniform_name(DType dtype, char out[32]) {
    snprintf(out, 32, "dlc_uniform_%s", dtype_name(dtype));
}

static LLVMValueRef emit_uniform(Emit *e, const KExpr *expr) {
    LLVMValueRef args[5];
    args[0] = emit_expr(e, expr->as.uniform.seed);
    args[1] = emit_expr(e, expr->as.uniform.step);
    args[2] = e->sizes[expr->as.uniform.site];
    args[3] = emit_expr(e, expr->as.uniform.iteration);
    args[4] = emit_expr(e, expr->as.uniform.flat);
    if (expr->as.uniform.iteration->dtype != DT_I64) {
        args[3] = LLVMBuildSExt(e->builder, args[3], e->i64, "");
    }
    char name[32];
    emit_uniform_name(expr->dtype, name);
    return emit_call_vecmath(e, name, args, 5);
}

LLVMValueRef emit_expr(Emit *e, const KExpr *expr) {
    LLVMValueRef args[3];
    int32_t number;
    switch (expr->kind) {
    case KE_INT:
        return LLVMConstInt(emit_value_type(e, expr->dtype), (unsigned long long)expr->as.integer,
                            1);
    case KE_FLOAT:
        return LLVMConstReal(emit_value_type(e, expr->dtype), expr->as.real);
    case KE_VAR:
        if (expr->as.var->is_mutable) {
            return LLVMBuildLoad2(e->builder, emit_value_type(e, expr->as.var->dtype),
                                  e->vars[expr->as.var->id], "");
        }
        return e->vars[expr->as.var->id];
    case KE_SIZE:
        return e->sizes[expr->as.size];
    case KE_LOAD:
        number = expr->as.load.buffer;
        return emit_load(e, e->kernel->buffers[number].dtype, e->buffers[number], expr->as.load.at,
                         e->buffer_scope[number], e->buffer_noalias[number]);
    case KE_LOCAL:
        number = expr->as.local.array->id;
        return emit_load(e, dtype_in_register(expr->as.local.array->dtype), e->locals[number],
                         expr->as.local.at, e->local_scope[number], e->local_noalias[number]);
    case KE_SCALAR:
        for (int32_t i = 0; i < expr->as.scalar.n; i++) {
            args[i] = emit_expr(e, expr->as.scalar.a[i]);
        }
        return emit_scalar(e, expr, args);
    case KE_CAST:
        return emit_cast(e, emit_expr(e, expr->as.cast), expr->as.cast->dtype, expr->dtype);
    case KE_UNIFORM:
        return emit_uniform(e, expr);
    }
    return NULL;
}
