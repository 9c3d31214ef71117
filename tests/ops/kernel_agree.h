/* A Func fused, lowered and run by its kernels must give what the reference interpreter gives. */
#ifndef DLC_TESTS_OPS_KERNEL_AGREE_H
#define DLC_TESTS_OPS_KERNEL_AGREE_H

#include "tests/ops/harness.h"
#include "tests/ops/kernel_exec.h"

typedef bool KernelCheck(const Kernel *kernel, const Machine *machine, char *message,
                         size_t n_message);

/* One op at a time and fused, interpreted; or fused and compiled. `check` looks at every kernel and
 * may be NULL. False: see h->message; DLC_KERNEL_VERBOSE prints what failed. */
bool kernel_agree(Harness *h, const Machine *machine, Func *func, const EvalTensor *args,
                  bool compiled, KernelCheck *check);

#endif
