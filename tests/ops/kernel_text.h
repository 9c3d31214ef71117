/* The text form of kernels read and printed again, for the tests of that and its fuzzer. */
#ifndef DLC_TESTS_OPS_KERNEL_TEXT_H
#define DLC_TESTS_OPS_KERNEL_TEXT_H

#include "codegen/kernel.h"

/* Appends what was read of `text` to `printed`; false: it was refused, with diagnostics. */
static inline bool kernel_text_again(Context *context, Arena *arena, const char *text,
                                     size_t length, Str *printed) {
    KernelFile file;
    const Source *source = context_source(context, "text.k", text, length, false);
    if (!kernel_parse(context, arena, source, &file)) {
        return false;
    }
    module_print_head(file.module, printed);
    for (int32_t i = 0; i < file.n_kernels; i++) {
        kernel_print(file.kernels[i], printed);
    }
    return true;
}

#endif
