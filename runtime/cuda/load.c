/* Brings code to the device; see load.h. Loads the run side's own kernels too. */
#include "runtime/cuda/load.h"

#include "runtime/cuda/builtin_text.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOG_BYTES = 1024, MAX_OPTIONS = 64 };

dlc_status cuda_code_load(CudaDevice *device, const void *code, bool is_ptx, CudaModule *out,
                          char *reason) {
    char log[LOG_BYTES] = "";
    int options[] = {CUDA_JIT_ERROR_LOG, CUDA_JIT_ERROR_LOG_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof(log)};
    *out = NULL;
    CudaResult result = device->driver.module_load(out, code, is_ptx ? 2 : 0,
                                                   is_ptx ? options : NULL, is_ptx ? values : NULL);
    if (cuda_refuses_code(result)) {
        char text[128];
        cuda_error_text(&device->driver, result, text, sizeof(text));
        snprintf(reason, CUDA_REASON_BYTES, "the driver refuses the %s: %s%s%.*s",
                 is_ptx ? "PTX" : "cubin", text, *log ? ": " : "", (int)strcspn(log, "\n"), log);
        *out = NULL;
        return DLC_OK;
    }
    dlc_status status = cuda_check(device, result, "cuModuleLoadData");
    if (status != DLC_OK) {
        *out = NULL;
    }
    return status;
}

bool cuda_nvrtc_ready(CudaDevice *device, char *reason) {
    return device->nvrtc.library ||
           nvrtc_open(&device->nvrtc, device->driver.version, reason, CUDA_REASON_BYTES);
}

/* Splits `text` in place at spaces, leaves out what is said about the architecture, and says it for
 * the device: an sm_90a of the image stays where the device is an sm_90. */
static int options_split(const CudaDevice *device, char *text, const char **options,
                         char *architecture, size_t n_architecture) {
    static const char *const names[] = {"--gpu-architecture=", "-arch="};
    int n = 0;
    snprintf(architecture, n_architecture, "--gpu-architecture=sm_%d", device->sm);
    for (char *save, *word = strtok_r(text, " ", &save); word && n < MAX_OPTIONS - 1;
         word = strtok_r(NULL, " ", &save)) {
        bool is_architecture = false;
        for (int i = 0; i < 2; i++) {
            is_architecture |= strncmp(word, names[i], strlen(names[i])) == 0;
        }
        if (!is_architecture) {
            options[n++] = word;
            continue;
        }
        const char *number = strchr(word, '_');
        if (number && atoi(number + 1) == device->sm && strlen(number) < 8) {
            snprintf(architecture, n_architecture, "--gpu-architecture=sm%s", number);
        }
    }
    options[n++] = architecture;
    return n;
}

dlc_status cuda_text_load(CudaDevice *device, const char *prelude, const char *image_options,
                          NvrtcJob *jobs, CudaModule **modules, int n_jobs) {
    const dlc_allocator *allocator = &device->base.allocator;
    const char *options[MAX_OPTIONS];
    char architecture[48], reason[CUDA_REASON_BYTES];
    char *words = memory_strdup(allocator, image_options);
    if (!words) {
        return cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    }
    NvrtcOptions compile = {.prelude = prelude, .options = options};
    compile.n_options = options_split(device, words, options, architecture, sizeof(architecture));
    nvrtc_compile(&device->nvrtc, &compile, jobs, n_jobs);
    dlc_status status = DLC_OK;
    for (int i = 0; i < n_jobs; i++) {
        if (status == DLC_OK) {
            void *cubin = NULL;
            status = nvrtc_job_cubin(&device->nvrtc, allocator, &jobs[i], &cubin, reason,
                                     sizeof(reason));
            if (status != DLC_OK) {
                status = cuda_fail(device, status, "%s", reason);
            } else {
                status = cuda_code_load(device, cubin, false, modules[i], reason);
                if (status == DLC_OK && !*modules[i]) {
                    status = cuda_fail(device, DLC_ERROR_UNSUPPORTED, "%s", reason);
                }
            }
            memory_free(allocator, cubin);
        }
        nvrtc_job_finish(&device->nvrtc, &jobs[i]);
    }
    memory_free(allocator, words);
    return status;
}

static dlc_status builtin_find(CudaDevice *device, const char *name, CudaFunction *out) {
    char call[64];
    snprintf(call, sizeof(call), "cuModuleGetFunction (%s)", name);
    dlc_status status =
        cuda_check(device, device->driver.module_function(out, device->builtins, name), call);
    *out = status == DLC_OK ? *out : NULL;
    return status;
}

dlc_status cuda_builtins_load(CudaDevice *device) {
    char reason[CUDA_REASON_BYTES];
    if (device->copy_if) {
        return DLC_OK;
    }
    if (device->recording) {
        return cuda_fail(device, DLC_ERROR_INTERNAL, "loading code cannot be recorded");
    }
    dlc_status status = DLC_OK;
    if (!device->builtins) {
        status = cuda_code_load(device, builtin_ptx, true, &device->builtins, reason);
    }
    if (status == DLC_OK && !device->builtins) {
        if (!cuda_nvrtc_ready(device, reason)) {
            return cuda_fail(device, DLC_ERROR_UNSUPPORTED,
                             "the driver takes no PTX, and to compile at load, %s", reason);
        }
        NvrtcJob job = {.source = builtin_source, .name = "builtin.cu"};
        CudaModule *module = &device->builtins;
        status = cuda_text_load(device, "", "--std=c++17", &job, &module, 1);
    }
    if (status == DLC_OK) {
        status = builtin_find(device, "dlc_gate", &device->gate);
    }
    return status == DLC_OK ? builtin_find(device, "dlc_copy_if", &device->copy_if) : status;
}
