/* One kernel as an LLVM module: the function's frame (arguments, scratch, alias scopes), then the
 * grid. The module begins as parsed text: the vecmath functions the kernel calls, and the
 * access-group nodes of its vector loops, which the C API cannot make. */
#include "codegen/cpu/emit.h"
#include "ir/base/str.h"
#include <llvm-c/Analysis.h>
#include <llvm-c/IRReader.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What must be known before emission begins. */
typedef struct Survey {
    const Kernel *kernel;
    bool *used; /* by vecmath function */
} Survey;

static void survey_name(void *user, const char *name) {
    Survey *survey = user;
    for (int i = 0; i < vecmath_n_functions; i++) {
        if (strcmp(vecmath_functions[i].name, name) == 0) {
            survey->used[i] = true;
        }
    }
}

static void survey_dtype(Survey *survey, DType dtype) {
    if (dtype == DT_F16) {
        survey_name(survey, "dlc_f16_to_f32");
        survey_name(survey, "dlc_f32_to_f16");
    }
}

static bool survey_expr(const KExpr *expr, void *user) {
    Survey *survey = user;
    if (expr->kind == KE_SCALAR) {
        emit_scalar_calls(expr, survey_name, survey);
    } else if (expr->kind == KE_UNIFORM) {
        char name[32];
        emit_uniform_name(expr->dtype, name);
        survey_name(survey, name);
    }
    survey_dtype(survey, expr->dtype);
    if (expr->kind == KE_LOAD) {
        survey_dtype(survey, survey->kernel->buffers[expr->as.load.buffer].dtype);
    }
    return false;
}

static bool survey_stmt(const KStmt *stmt, void *user) {
    Survey *survey = user;
    kernel_walk_operands(stmt, survey_expr, survey);
    if (stmt->kind == KS_STORE) {
        survey_dtype(survey, survey->kernel->buffers[stmt->as.store.buffer].dtype);
    }
    return false;
}

/* KL_UNROLL bodies are emitted once per iteration, so a vector loop in one needs a node each time.
 */
static int32_t count_groups(const KStmt *stmt) {
    int32_t count = 0;
    for (; stmt; stmt = stmt->next) {
        const KStmt *lists[2];
        int32_t n = kernel_stmt_lists(stmt, lists), inner = 0;
        for (int32_t i = 0; i < n; i++) {
            inner += count_groups(lists[i]);
        }
        if (kernel_is_loop(stmt, KL_VECTOR)) {
            inner++;
        } else if (kernel_is_loop(stmt, KL_UNROLL)) {
            int64_t extent = stmt->as.loop.end->as.integer - stmt->as.loop.begin->as.integer;
            inner = (int32_t)(extent > 0 ? extent * inner : 0);
        }
        count += inner;
    }
    return count;
}

static LLVMModuleRef parse_base(const Survey *survey, int32_t n_groups, LLVMContextRef context,
                                char *message) {
    Str text;
    str_init(&text, NULL);
    for (int i = 0; i < vecmath_n_functions; i++) {
        if (survey->used[i]) {
            str_add(&text, vecmath_functions[i].text);
        }
    }
    /* No `declare` lines: the parser declares an intrinsic at its first use. */
    if (n_groups > 0) {
        str_add(&text, "!dlc.groups = !{");
        for (int32_t i = 0; i < n_groups; i++) {
            str_addf(&text, "%s!%d", i ? ", " : "", i);
        }
        str_add(&text, "}\n");
        for (int32_t i = 0; i < n_groups; i++) {
            str_addf(&text, "!%d = distinct !{}\n", i);
        }
    }
    LLVMModuleRef module = NULL;
    if (text.failed) {
        snprintf(message, CPU_MESSAGE_BYTES, "out of memory");
    } else {
        LLVMMemoryBufferRef buffer =
            LLVMCreateMemoryBufferWithMemoryRangeCopy(str_text(&text), text.length, "base");
        char *error = NULL;
        if (LLVMParseIRInContext(context, buffer, &module, &error)) {
            TARGET_INTERNAL(message, "vecmath text: %s", error ? error : "?");
            LLVMDisposeMessage(error);
            module = NULL;
        }
    }
    str_finish(&text);
    return module;
}

static void add_attribute(Emit *e, const char *key, const char *value) {
    LLVMAttributeRef attribute = LLVMCreateStringAttribute(e->context, key, (unsigned)strlen(key),
                                                           value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(e->function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, attribute);
}

static void add_enum_attribute(Emit *e, const char *name, LLVMAttributeIndex index) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(e->function, index, LLVMCreateEnumAttribute(e->context, kind, 0));
}

static void make_function(Emit *e) {
    LLVMTypeRef params[3] = {e->pointer, e->i64, e->i64};
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->context), params, 3, 0);
    e->function = LLVMAddFunction(e->module, "k", type);
    add_attribute(e, "target-cpu", "x86-64");
    add_attribute(e, "target-features", e->machine->features);
    add_attribute(e, "no-builtins", "");
    add_attribute(e, "no-trapping-math", "true");
    add_attribute(e, "frame-pointer", "none");
    char width[16];
    snprintf(width, sizeof(width), "%d", e->machine->vector_bytes * 8);
    add_attribute(e, "prefer-vector-width", width);
    add_attribute(e, "min-legal-vector-width", "0");
    add_enum_attribute(e, "nounwind", (LLVMAttributeIndex)LLVMAttributeFunctionIndex);
    add_enum_attribute(e, "noalias", 1);
}

static LLVMValueRef load_field(Emit *e, LLVMValueRef base, int64_t offset, LLVMTypeRef type) {
    LLVMValueRef index = LLVMConstInt(e->i64, (unsigned long long)offset, 0);
    LLVMValueRef address = LLVMBuildInBoundsGEP2(e->builder, e->i8, base, &index, 1, "");
    LLVMValueRef value = LLVMBuildLoad2(e->builder, type, address, "");
    LLVMSetMetadata(value, e->kind_invariant,
                    LLVMMetadataAsValue(e->context, LLVMMDNodeInContext2(e->context, NULL, 0)));
    return value;
}

static void load_frame(Emit *e) {
    const Kernel *kernel = e->kernel;
    LLVMValueRef args = LLVMGetParam(e->function, 0);
    LLVMValueRef buffers = load_field(e, args, 0, e->pointer);
    LLVMValueRef sizes = load_field(e, args, 8, e->pointer);
    LLVMValueRef scratch = load_field(e, args, 16, e->pointer);
    e->fault = load_field(e, args, 24, e->pointer);
    for (int32_t i = 0; i < kernel->n_buffers; i++) {
        e->buffers[i] = load_field(e, buffers, 8 * (int64_t)i, e->pointer);
    }
    for (int32_t i = 0; i < kernel->n_sizes; i++) {
        e->sizes[i] = load_field(e, sizes, 8 * (int64_t)i, e->i64);
    }
    for (int32_t i = 0; i < kernel->n_locals; i++) {
        int64_t offset = kernel_local_offset(kernel, kernel->locals[i]);
        LLVMValueRef index = LLVMConstInt(e->i64, (unsigned long long)offset, 0);
        e->locals[i] = LLVMBuildInBoundsGEP2(e->builder, e->i8, scratch, &index, 1, "local");
    }
}

static LLVMValueRef make_list(Emit *e, LLVMMetadataRef *items, size_t count) {
    return count == 0
               ? NULL
               : LLVMMetadataAsValue(e->context, LLVMMDNodeInContext2(e->context, items, count));
}

/* Locals overlap nothing. Two written buffers never overlap, nor do two read ones matter; a result
 * may stand in an operand's bytes (in place), so a read buffer and a written one may overlap. */
static bool make_scopes(Emit *e) {
    const Kernel *kernel = e->kernel;
    int32_t n = kernel->n_buffers + kernel->n_locals;
    LLVMMetadataRef *scopes = calloc((size_t)n + 1, sizeof(LLVMMetadataRef));
    LLVMMetadataRef *list = calloc((size_t)n + 1, sizeof(LLVMMetadataRef));
    if (!scopes || !list) {
        free(scopes);
        free(list);
        return false;
    }
    LLVMMetadataRef domain_name = LLVMMDStringInContext2(e->context, "k", 1);
    LLVMMetadataRef domain = LLVMMDNodeInContext2(e->context, &domain_name, 1);
    for (int32_t i = 0; i < n; i++) {
        char name[32];
        int length = i < kernel->n_buffers
                         ? snprintf(name, sizeof(name), "buffer %d", i)
                         : snprintf(name, sizeof(name), "local %d", i - kernel->n_buffers);
        LLVMMetadataRef parts[2] = {LLVMMDStringInContext2(e->context, name, (size_t)length),
                                    domain};
        scopes[i] = LLVMMDNodeInContext2(e->context, parts, 2);
    }
    for (int32_t i = 0; i < n; i++) {
        bool i_local = i >= kernel->n_buffers;
        size_t count = 0;
        for (int32_t j = 0; j < n; j++) {
            bool j_local = j >= kernel->n_buffers;
            bool apart = i_local || j_local ||
                         kernel->buffers[i].is_written == kernel->buffers[j].is_written;
            if (i != j && apart) {
                list[count++] = scopes[j];
            }
        }
        LLVMValueRef own = make_list(e, &scopes[i], 1);
        LLVMValueRef others = make_list(e, list, count);
        if (i_local) {
            e->local_scope[i - kernel->n_buffers] = own;
            e->local_noalias[i - kernel->n_buffers] = others;
        } else {
            e->buffer_scope[i] = own;
            e->buffer_noalias[i] = others;
        }
    }
    free(scopes);
    free(list);
    return true;
}

static void init_types(Emit *e) {
    e->i1 = LLVMInt1TypeInContext(e->context);
    e->i8 = LLVMInt8TypeInContext(e->context);
    e->i16 = LLVMInt16TypeInContext(e->context);
    e->i32 = LLVMInt32TypeInContext(e->context);
    e->i64 = LLVMInt64TypeInContext(e->context);
    e->f32 = LLVMFloatTypeInContext(e->context);
    e->f64 = LLVMDoubleTypeInContext(e->context);
    e->pointer = LLVMPointerTypeInContext(e->context, 0);
    e->kind_scope = LLVMGetMDKindIDInContext(e->context, "alias.scope", 11);
    e->kind_noalias = LLVMGetMDKindIDInContext(e->context, "noalias", 7);
    e->kind_access = LLVMGetMDKindIDInContext(e->context, "llvm.access.group", 17);
    e->kind_loop = LLVMGetMDKindIDInContext(e->context, "llvm.loop", 9);
    e->kind_invariant = LLVMGetMDKindIDInContext(e->context, "invariant.load", 14);
}

static void init_vecmath(Emit *e) {
    unsigned kind = LLVMGetEnumAttributeKindForName("alwaysinline", 12);
    for (LLVMValueRef f = LLVMGetFirstFunction(e->module); f; f = LLVMGetNextFunction(f)) {
        if (LLVMCountBasicBlocks(f) > 0) {
            LLVMSetLinkage(f, LLVMInternalLinkage);
            LLVMAddAttributeAtIndex(f, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                                    LLVMCreateEnumAttribute(e->context, kind, 0));
        }
    }
}

static void emit_body(Emit *e) {
    e->builder = LLVMCreateBuilderInContext(e->context);
    e->entry = LLVMAppendBasicBlockInContext(e->context, e->function, "entry");
    LLVMBasicBlockRef start = LLVMAppendBasicBlockInContext(e->context, e->function, "start");
    LLVMPositionBuilderAtEnd(e->builder, e->entry);
    load_frame(e);
    e->entry_end = LLVMBuildBr(e->builder, start);
    LLVMPositionBuilderAtEnd(e->builder, start);
    emit_grid(e, LLVMGetParam(e->function, 1), LLVMGetParam(e->function, 2));
    emit_watch_end(e);
    LLVMBuildRetVoid(e->builder);
    LLVMDisposeBuilder(e->builder);
}

LLVMModuleRef emit_kernel(const Machine *machine, const Kernel *kernel, LLVMContextRef context,
                          char *message) {
    size_t n_vars = (size_t)kernel->n_vars + 1, n_groups = (size_t)count_groups(kernel->body);
    size_t n_buffers = (size_t)kernel->n_buffers, n_locals = (size_t)kernel->n_locals;
    size_t n_sizes = (size_t)kernel->n_sizes;
    size_t n_refs = n_vars + 3 * (n_buffers + n_locals) + n_sizes + n_groups;
    LLVMValueRef *refs = calloc(n_refs + 1, sizeof(LLVMValueRef));
    bool *flags = calloc(n_vars + (size_t)vecmath_n_functions, sizeof(bool));
    LLVMModuleRef module = NULL;
    if (!refs || !flags) {
        snprintf(message, CPU_MESSAGE_BYTES, "out of memory");
        goto done;
    }
    Survey survey = {.kernel = kernel, .used = flags + n_vars};
    kernel_walk(kernel->body, survey_stmt, &survey);
    module = parse_base(&survey, (int32_t)n_groups, context, message);
    if (!module) {
        goto done;
    }
    Emit e = {.kernel = kernel, .machine = machine, .context = context, .module = module};
    e.has_f16c = cpu_has_feature(machine, "f16c");
    e.vars = refs;
    e.natural = flags;
    e.buffers = e.vars + n_vars;
    e.buffer_scope = e.buffers + n_buffers;
    e.buffer_noalias = e.buffer_scope + n_buffers;
    e.locals = e.buffer_noalias + n_buffers;
    e.local_scope = e.locals + n_locals;
    e.local_noalias = e.local_scope + n_locals;
    e.sizes = e.local_noalias + n_locals;
    e.groups = e.sizes + n_sizes;
    e.n_groups = (int32_t)n_groups;
    if (n_groups > 0) {
        LLVMGetNamedMetadataOperands(module, "dlc.groups", e.groups);
    }
    init_types(&e);
    init_vecmath(&e);
    make_function(&e);
    if (!make_scopes(&e)) {
        snprintf(message, CPU_MESSAGE_BYTES, "out of memory");
        LLVMDisposeModule(module);
        module = NULL;
        goto done;
    }
    emit_body(&e);
    char *error = NULL;
    if (e.missing || LLVMVerifyModule(module, LLVMReturnStatusAction, &error)) {
        TARGET_INTERNAL(message, "%s%s", e.missing ? "no code for the operation " : "",
                        e.missing ? e.missing : error);
        LLVMDisposeModule(module);
        module = NULL;
    }
    LLVMDisposeMessage(error);
done:
    free(refs);
    free(flags);
    return module;
}
