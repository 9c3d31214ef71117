/* LLVM's part: target machine, optimisation, object. The pass list is our own, not O3: kernels
 * arrive as clean loops whose shape the lowering chose, and compile time counts. */
#include "codegen/cpu/emit.h"

#include "codegen/cpu/guard.h"

#include <llvm-c/Error.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <stdio.h>

/* No loop-idiom and no memcpyopt: they make calls of memset and memcpy, which kernels cannot call.
 */
static const char *const pass_list =
    "always-inline,globaldce,"
    "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,"
    "loop-simplify,lcssa,loop-mssa(licm<no-allowspeculation>),"
    "loop-vectorize,"
    "instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),early-cse,"
    "instcombine<no-verify-fixpoint>,simplifycfg,div-rem-pairs)";

/* LLVM's registry of targets is process-wide; it is filled once. */
static pthread_once_t llvm_once = PTHREAD_ONCE_INIT;

static void llvm_start(void) {
    cpu_guard_start();
    /* Loop strength reduction costs half of code generation and gives kernels nothing: their inner
     * loops advance by one already. There is no other way to leave it out through the C API. */
    static const char *const options[] = {"dlc", CPU_LLVM_OPTION};
    LLVMParseCommandLineOptions(2, options, "");
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
}

void cpu_compiler_start(void *unused) {
    (void)unused;
    pthread_once(&llvm_once, llvm_start);
}

dlc_status cpu_compiler_init(CpuCompiler *compiler, const Machine *machine, char *message) {
    pthread_once(&llvm_once, llvm_start);
    static const char triple[] = "x86_64-unknown-linux-gnu";
    LLVMTargetRef target = NULL;
    char *error = NULL;
    if (LLVMGetTargetFromTriple(triple, &target, &error)) {
        snprintf(message, CPU_MESSAGE_BYTES, "this LLVM has no x86-64 target: %s", error);
        LLVMDisposeMessage(error);
        return DLC_ERROR_UNSUPPORTED;
    }
    compiler->passes = pass_list;
    compiler->target_machine =
        LLVMCreateTargetMachine(target, triple, "x86-64", machine->features, CPU_CODE_LEVEL,
                                CPU_RELOCATIONS, CPU_CODE_MODEL);
    if (!compiler->target_machine) {
        return TARGET_INTERNAL(message, "no LLVM target machine");
    }
    return DLC_OK;
}

void cpu_compiler_finish(CpuCompiler *compiler) {
    if (compiler->target_machine) {
        LLVMDisposeTargetMachine(compiler->target_machine);
    }
    compiler->target_machine = NULL;
}

dlc_status cpu_optimise(CpuCompiler *compiler, LLVMModuleRef module, char *message) {
    LLVMSetTarget(module, "x86_64-unknown-linux-gnu");
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(compiler->target_machine);
    LLVMSetModuleDataLayout(module, layout);
    LLVMDisposeTargetData(layout);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(module, compiler->passes, compiler->target_machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (error) {
        char *text = LLVMGetErrorMessage(error);
        TARGET_INTERNAL(message, "LLVM passes: %s", text);
        LLVMDisposeErrorMessage(text);
        return DLC_ERROR_INTERNAL;
    }
    return DLC_OK;
}

dlc_status cpu_object(CpuCompiler *compiler, LLVMModuleRef module, bool assembly,
                      LLVMMemoryBufferRef *out, char *message) {
    char *error = NULL;
    LLVMCodeGenFileType kind = assembly ? LLVMAssemblyFile : LLVMObjectFile;
    if (LLVMTargetMachineEmitToMemoryBuffer(compiler->target_machine, module, kind, &error, out)) {
        TARGET_INTERNAL(message, "LLVM code generation: %s", error);
        LLVMDisposeMessage(error);
        return DLC_ERROR_INTERNAL;
    }
    return DLC_OK;
}
