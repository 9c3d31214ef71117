/* NVRTC, NVIDIA's compiler as a library: one unit of CUDA C to cubin and PTX, and what ptxas said
 * of its kernels. It needs no GPU and no driver. */
#include "codegen/cuda/compile.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *Program;

struct Nvrtc {
    int (*version)(int *major, int *minor);
    int (*create)(Program *program, const char *source, const char *name, int n_headers,
                  const char *const *headers, const char *const *header_names);
    int (*destroy)(Program *program);
    int (*compile)(Program program, int n_options, const char *const *options);
    int (*log_size)(Program program, size_t *size);
    int (*log)(Program program, char *text);
    int (*cubin_size)(Program program, size_t *size);
    int (*cubin)(Program program, char *bytes);
    int (*ptx_size)(Program program, size_t *size);
    int (*ptx)(Program program, char *text);
    int (*arch_count)(int *count);
    int (*archs)(int *list);
    int32_t toolkit;
};

Nvrtc *cudac_open(char *message) {
    static const char *const sonames[] = {"libnvrtc.so.13", "libnvrtc.so.12"};
    static const struct {
        const char *name;
        size_t offset;
    } entries[] = {
        {"nvrtcVersion", offsetof(Nvrtc, version)},
        {"nvrtcCreateProgram", offsetof(Nvrtc, create)},
        {"nvrtcDestroyProgram", offsetof(Nvrtc, destroy)},
        {"nvrtcCompileProgram", offsetof(Nvrtc, compile)},
        {"nvrtcGetProgramLogSize", offsetof(Nvrtc, log_size)},
        {"nvrtcGetProgramLog", offsetof(Nvrtc, log)},
        {"nvrtcGetCUBINSize", offsetof(Nvrtc, cubin_size)},
        {"nvrtcGetCUBIN", offsetof(Nvrtc, cubin)},
        {"nvrtcGetPTXSize", offsetof(Nvrtc, ptx_size)},
        {"nvrtcGetPTX", offsetof(Nvrtc, ptx)},
        {"nvrtcGetNumSupportedArchs", offsetof(Nvrtc, arch_count)},
        {"nvrtcGetSupportedArchs", offsetof(Nvrtc, archs)},
    };
    void *library = cudac_library(sonames, 2);
    if (!library) {
        snprintf(
            message, CUDA_MESSAGE_BYTES,
            "no libnvrtc.so.13 or .12 was found (CUDA toolkit, or pip install nvidia-cuda-nvrtc; "
            "DLC_CUDA_PATH names its folder)");
        return NULL;
    }
    Nvrtc *nvrtc = calloc(1, sizeof(*nvrtc));
    for (size_t i = 0; nvrtc && i < sizeof(entries) / sizeof(entries[0]); i++) {
        void *symbol = cudac_symbol(library, entries[i].name);
        if (!symbol) {
            snprintf(message, CUDA_MESSAGE_BYTES, "libnvrtc lacks %s", entries[i].name);
            free(nvrtc);
            return NULL;
        }
        memcpy((char *)nvrtc + entries[i].offset, &symbol, sizeof(symbol));
    }
    int major = 0, minor = 0;
    if (!nvrtc || nvrtc->version(&major, &minor) != 0) {
        snprintf(message, CUDA_MESSAGE_BYTES, "libnvrtc does not tell its version");
        free(nvrtc);
        return NULL;
    }
    nvrtc->toolkit = 1000 * major + 10 * minor;
    return nvrtc;
}

int32_t cudac_toolkit(const Nvrtc *nvrtc) {
    return nvrtc->toolkit;
}

bool cudac_knows(const Nvrtc *nvrtc, int32_t sm) {
    int count = 0;
    if (nvrtc->arch_count(&count) != 0 || count <= 0) {
        return false;
    }
    int *list = calloc((size_t)count, sizeof(*list));
    bool known = false;
    if (list && nvrtc->archs(list) == 0) {
        for (int i = 0; i < count; i++) {
            known = known || list[i] == sm;
        }
    }
    free(list);
    return known;
}

void cudac_code_finish(CudaCode *code) {
    free(code->cubin);
    free(code->ptx);
    free(code->log);
    memset(code, 0, sizeof(*code));
}

/* A text or blob of the program, NUL-terminated; NULL: none, or out of memory. */
static char *take(Program program, int (*size_of)(Program, size_t *), int (*get)(Program, char *),
                  size_t *out_size) {
    size_t size = 0;
    *out_size = 0;
    if (size_of(program, &size) != 0 || size == 0) {
        return NULL;
    }
    char *bytes = malloc(size + 1);
    if (!bytes) {
        return NULL;
    }
    if (get(program, bytes) != 0) {
        free(bytes);
        return NULL;
    }
    bytes[size] = '\0';
    *out_size = size;
    return bytes;
}

dlc_status cudac_compile(const Nvrtc *nvrtc, const char *source, const char *prelude, int32_t sm,
                         CudaCode *code) {
    /* The name is in diagnostics only: never a path, so that bytes do not depend on places. */
    const char *header_names[] = {"dlc_prelude.cuh"};
    char architecture[40], words[] = CUDA_OPTIONS;
    const char *options[12];
    int n_options = 0;
    char *rest = NULL;
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        options[n_options++] = word;
    }
    snprintf(architecture, sizeof(architecture), "--gpu-architecture=sm_%d", sm);
    options[n_options++] = architecture;
    options[n_options++] = "--ptxas-options=-v";
    memset(code, 0, sizeof(*code));
    Program program = NULL;
    if (nvrtc->create(&program, source, "kernels.cu", 1, &prelude, header_names) != 0) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    int result = nvrtc->compile(program, n_options, options);
    size_t n_log = 0;
    code->log = take(program, nvrtc->log_size, nvrtc->log, &n_log);
    dlc_status status = result == 0 ? DLC_OK : DLC_ERROR_INTERNAL;
    if (status == DLC_OK) {
        code->cubin = take(program, nvrtc->cubin_size, nvrtc->cubin, &code->n_cubin);
        code->ptx = take(program, nvrtc->ptx_size, nvrtc->ptx, &code->n_ptx);
        if (!code->cubin || !code->ptx || !code->log) {
            status = DLC_ERROR_OUT_OF_MEMORY;
        } else {
            code->n_ptx = strlen(code->ptx);
        }
    }
    nvrtc->destroy(&program);
    return status;
}

/* -- ptxas's report, for each kernel:
 *   ptxas info    : Compiling entry function 'NAME' for 'sm_90'
 *   ptxas info    : Function properties for NAME
 *       0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
 *   ptxas info    : Used 48 registers, used 1 barriers, ...
 */

/* The whole number that stands before `word` in [from, to). */
static bool number_before(const char *from, const char *to, const char *word, int32_t *out) {
    const char *at = strstr(from, word);
    if (!at || at >= to) {
        return false;
    }
    const char *digit = at;
    while (digit > from && digit[-1] >= '0' && digit[-1] <= '9') {
        digit--;
    }
    *out = (int32_t)strtol(digit, NULL, 10);
    return digit < at;
}

bool cudac_figures(const char *log, const char *kernel, CudaKernel *out) {
    char head[CUDA_NAME_BYTES + 40];
    snprintf(head, sizeof(head), "Compiling entry function '%s' for", kernel);
    const char *from = log ? strstr(log, head) : NULL;
    if (!from) {
        return false;
    }
    from += strlen(head);
    const char *to = strstr(from, "Compiling entry function");
    to = to ? to : from + strlen(from);
    /* Functions that were not inlined have properties of their own, before the "Used" line. */
    const char *used = strstr(from, "Used ");
    int32_t stores = 0, loads = 0;
    out->stack_bytes = 0;
    char own[CUDA_NAME_BYTES + 40];
    snprintf(own, sizeof(own), "Function properties for %s\n", kernel);
    const char *properties = strstr(from, own);
    if (!used || used >= to || !properties || properties >= to ||
        !number_before(properties, to, " bytes stack frame", &out->stack_bytes) ||
        !number_before(properties, to, " bytes spill stores", &stores) ||
        !number_before(properties, to, " bytes spill loads", &loads) ||
        !number_before(used, to, " registers", &out->registers)) {
        return false;
    }
    out->spill_bytes = stores > loads ? stores : loads;
    return true;
}
