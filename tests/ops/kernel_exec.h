/* Runs a fused Func by its kernels: every fusion is lowered and executed, by the loop IR's
 * interpreter or as compiled code; loops, views and checks are done here. For tests. */
#ifndef DLC_TESTS_OPS_KERNEL_EXEC_H
#define DLC_TESTS_OPS_KERNEL_EXEC_H

#include "codegen/kernel.h"
#include "ir/interp.h"

typedef struct KernelExec {
    Context *context;
    const Machine *machine;
    const int64_t *dim_values;
    int32_t n_dims;
    bool compiled;     /* by the CPU backend, else interpreted */
    bool inplace;      /* results take their operand's buffer where the lowering allows it */
    bool backwards;    /* tiles in reverse order */
    bool verbose;      /* print kernels */
    int32_t n_kernels; /* counted */
    /* Called for every kernel; may be NULL. False: see message. */
    bool (*check)(const Kernel *kernel, const Machine *machine, char *message, size_t n_message);
    Arena arena;
    LowerContext lower;
    char message[512];
} KernelExec;

/* Results are owned by the caller (eval_tensor_finish). False: see message. */
bool kernel_exec(KernelExec *exec, Func *func, const EvalTensor *args, EvalTensor *results);

#endif
