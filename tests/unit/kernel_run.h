/* For tests: the loop IR from text, compiled by the CPU target and called in this process. */
#ifndef DLC_TESTS_UNIT_KERNEL_RUN_H
#define DLC_TESTS_UNIT_KERNEL_RUN_H

#include "codegen/kernel.h"
#include "codegen/target.h"
#include "runtime/kernel_abi.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct RunCode {
    void *memory;
    size_t n_bytes;
    TargetImage image;
} RunCode;

/* The machine named by `option`; NULL is this host. False: the processor cannot run it. */
static inline bool run_machine(const char *option, Arena *arena, Machine *out) {
    char message[512] = "";
    Machine host;
    const Target *target = target_find("cpu");
    if (target->describe(NULL, arena, &host, message) != DLC_OK ||
        target->describe(option, arena, out, message) != DLC_OK) {
        fprintf(stderr, "%s\n", message);
        return false;
    }
    return out->vector_bytes <= host.vector_bytes;
}

static inline bool run_compile(const Machine *machine, Kernel *const *kernels, int32_t n_kernels,
                               int32_t n_threads, RunCode *out) {
    char message[512] = "";
    memset(out, 0, sizeof(*out));
    dlc_status status = target_find("cpu")->emit(machine, kernels, n_kernels, n_threads, NULL,
                                                 &out->image, message);
    if (status != DLC_OK) {
        fprintf(stderr, "emit: %s\n", message);
        return false;
    }
    out->n_bytes = out->image.n_bytes;
    out->memory =
        mmap(NULL, out->n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (out->memory == MAP_FAILED) {
        return false;
    }
    memcpy(out->memory, out->image.bytes, out->n_bytes);
    return mprotect(out->memory, out->n_bytes, PROT_READ | PROT_EXEC) == 0;
}

static inline KernelFunction run_function(const RunCode *code, int32_t index) {
    char *entry = (char *)code->memory + code->image.entries[index];
    KernelFunction function;
    memcpy(&function, &entry, sizeof(function));
    return function;
}

static inline void run_finish(RunCode *code) {
    munmap(code->memory, code->n_bytes);
    target_image_finish(&code->image, NULL);
}

/* The kernel of a text (docs/kernels.md), a printf format without the head of a module; its sizes
 * may name the dim B, of 1 to 1000. NULL: the text is wrong, which stderr says. */
__attribute__((format(printf, 3, 4))) static inline Kernel *
run_parse(Context *context, Arena *arena, const char *format, ...) {
    char body[8192], text[8256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(body, sizeof(body), format, args);
    va_end(args);
    KernelFile file;
    snprintf(text, sizeof(text), "module \"test\" { dim B in 1..1000 }\n%s", body);
    const Source *source = context_source(context, "test.k", text, strlen(text), false);
    if (length < (int)sizeof(body) && kernel_parse(context, arena, source, &file) &&
        file.n_kernels == 1) {
        return file.kernels[0];
    }
    for (size_t i = 0; i < context->diags.count; i++) {
        const Diag *diag = context->diags.items[i];
        fprintf(stderr, "%d: %s\n%s\n", (int)diag->place.line, diag->message, text);
    }
    return NULL;
}

#endif
