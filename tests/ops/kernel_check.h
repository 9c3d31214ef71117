/* What the loop IR promises a block of threads (codegen/kernel.h), checked on a kernel. */
#ifndef DLC_TESTS_OPS_KERNEL_CHECK_H
#define DLC_TESTS_OPS_KERNEL_CHECK_H

#include "codegen/kernel.h"

/* False: see message. */
bool kernel_check(const Kernel *kernel, const Machine *machine, char *message, size_t n_message);

#endif
