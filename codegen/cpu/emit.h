/* Inside the CPU backend: one Kernel -> one LLVM module -> one relocatable object -> one slice of
 * the position-independent image. Everything here is pure: no shared state, no arena, so that
 * kernels may be compiled by several threads at once. */
#ifndef DLC_CODEGEN_CPU_EMIT_H
#define DLC_CODEGEN_CPU_EMIT_H

#include "codegen/kernel.h"
#include "codegen/target.h"
#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

enum { CPU_MESSAGE_BYTES = TARGET_MESSAGE_BYTES };

/* One function of vecmath.c as LLVM IR text, self-contained; the table is made by vecmath.py. */
typedef struct VecmathFunction {
    const char *name; /* "dlc_exp_f32" */
    const char *text;
} VecmathFunction;
extern const VecmathFunction vecmath_functions[];
extern const int vecmath_n_functions;

/* Nested KL_VECTOR loops around the current statement. */
enum { EMIT_MAX_VECTOR_DEPTH = 16 };

typedef struct Emit {
    const Kernel *kernel;
    const Machine *machine;
    bool has_f16c;
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    LLVMValueRef function;
    LLVMBasicBlockRef entry; /* allocas go here, before its terminator */
    LLVMValueRef entry_end;
    /* By KVar id: the value, or the alloca of a mutable one. `natural`: known to be >= 0. */
    LLVMValueRef *vars;
    bool *natural;
    LLVMValueRef *sizes, *buffers, *locals;
    LLVMValueRef fault;
    /* Allocas, NULL until a watched store: the greatest exponent and fraction bits that all such
     * stores of the call had, of f32 and shorter and of f64. A reduction keeps loops vectors. */
    LLVMValueRef watch32, watch64;
    LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, pointer;
    /* Alias scopes: per buffer and per local, what it is and what it never overlaps. */
    LLVMValueRef *buffer_scope, *buffer_noalias, *local_scope, *local_noalias;
    unsigned kind_scope, kind_noalias, kind_access, kind_loop, kind_invariant;
    /* Access groups: one distinct node per KL_VECTOR loop, in program order. */
    LLVMValueRef *groups;
    int32_t n_groups, next_group;
    LLVMValueRef stack[EMIT_MAX_VECTOR_DEPTH];
    int32_t depth;
    bool innermost_vector; /* the innermost loop around is KL_VECTOR */
    bool offer_vector;     /* a short vector loop was unrolled into the loop being closed */
    const char *missing;   /* a scalar operation that has no code here, or NULL */
} Emit;

/* emit.c: the whole kernel as a module of `context` with one function "k". NULL: message says why.
 */
LLVMModuleRef emit_kernel(const Machine *machine, const Kernel *kernel, LLVMContextRef context,
                          char *message);
static inline bool emit_is_natural(const Emit *e, const KExpr *expr) {
    return kernel_expr_is_natural(e->kernel, e->natural, expr);
}
/* emit_expr.c */
LLVMTypeRef emit_value_type(const Emit *e, DType dtype);  /* bool is i1; f16 and bf16 are float */
LLVMTypeRef emit_memory_type(const Emit *e, DType dtype); /* bool is i8; f16 and bf16 are i16 */
LLVMValueRef emit_expr(Emit *e, const KExpr *expr);
LLVMValueRef emit_to_memory(Emit *e, LLVMValueRef value, DType dtype);
LLVMValueRef emit_from_memory(Emit *e, LLVMValueRef value, DType dtype);
void emit_mark_access(Emit *e, LLVMValueRef instruction, LLVMValueRef scope, LLVMValueRef noalias);
LLVMValueRef emit_call_intrinsic(Emit *e, const char *name, LLVMTypeRef overload,
                                 LLVMValueRef *args, unsigned n_args);
LLVMValueRef emit_call_vecmath(Emit *e, const char *name, LLVMValueRef *args, unsigned n_args);
void emit_uniform_name(DType dtype, char out[32]); /* vecmath's function of a KE_UNIFORM */
/* emit_scalar.c */
LLVMValueRef emit_scalar(Emit *e, const KExpr *expr, LLVMValueRef *args);
LLVMValueRef emit_cast(Emit *e, LLVMValueRef value, DType from, DType to);
/* Names the functions of vecmath that a KE_SCALAR calls: "dlc_exp_f32". */
void emit_scalar_calls(const KExpr *expr, void (*note)(void *user, const char *name), void *user);
LLVMValueRef emit_contractible(LLVMValueRef value); /* lets mul and add fuse */
void emit_reassociable(LLVMValueRef value);
/* emit_stmt.c */
void emit_stmts(Emit *e, const KStmt *stmt);
void emit_grid(Emit *e, LLVMValueRef first, LLVMValueRef last);
void emit_watch_end(Emit *e); /* after the last statement: records what watched stores found */
/* emit_contract.c */
void emit_contract(Emit *e, const KContract *contract);

/* What LLVM is told beside a module, the processor and the passes. */
#define CPU_LLVM_OPTION "-disable-lsr"
#define CPU_CODE_LEVEL  LLVMCodeGenLevelDefault
#define CPU_RELOCATIONS LLVMRelocPIC
#define CPU_CODE_MODEL  LLVMCodeModelSmall

/* compile.c: one per thread. */
typedef struct CpuCompiler {
    LLVMTargetMachineRef target_machine;
    const char *passes;
} CpuCompiler;
/* Fills LLVM's registry, once a process; under cpu_guarded before threads compile. */
void cpu_compiler_start(void *unused);
dlc_status cpu_compiler_init(CpuCompiler *compiler, const Machine *machine, char *message);
void cpu_compiler_finish(CpuCompiler *compiler);
/* Optimises the module in place. */
dlc_status cpu_optimise(CpuCompiler *compiler, LLVMModuleRef module, char *message);
dlc_status cpu_object(CpuCompiler *compiler, LLVMModuleRef module, bool assembly,
                      LLVMMemoryBufferRef *out, char *message);

/* machine.c */
dlc_status cpu_describe(const char *option, Arena *arena, Machine *out, char *message);
bool cpu_has_feature(const Machine *machine, const char *feature); /* "f16c" */

/* image.c: the loadable bytes of one relocatable object; *out_entry is the offset of symbol "k". */
dlc_status cpu_image(const void *object, size_t n_object, const dlc_allocator *allocator,
                     uint8_t **out_bytes, size_t *out_n, int64_t *out_entry, char *message);

void *cpu_alloc(const dlc_allocator *allocator, size_t bytes); /* zeroed; NULL: out of memory */

#endif
