/* See nvrtc.h. */
#include "runtime/cuda/nvrtc.h"

#include "ir/base/cores.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum {
    MAX_COMPILERS = 8,
    /* of nvrtcResult */
    NVRTC_OUT_OF_MEMORY = 1,
    NVRTC_INVALID_OPTION = 5,           /* an architecture that it does not know */
    NVRTC_BUILTIN_OPERATION_FAILURE = 7 /* its second library is not there */
};

bool nvrtc_open(Nvrtc *nvrtc, int driver_version, char *message, size_t n_message) {
    static const CudaSymbol symbols[] = {
#define X(symbol, member, parameters) {symbol, offsetof(Nvrtc, member)},
#include "runtime/cuda/nvrtc.def"
#undef X
    };
    char name[32];
    snprintf(name, sizeof(name), driver_version < 12000 ? "libnvrtc.so.%d.2" : "libnvrtc.so.%d",
             driver_version / 1000);
    *nvrtc = (Nvrtc){0};
    nvrtc->library = cuda_library_open(name, false, message, n_message);
    if (!nvrtc->library) {
        return false;
    }
    if (!cuda_library_symbols(nvrtc->library, name, symbols, sizeof(symbols) / sizeof(symbols[0]),
                              nvrtc, message, n_message)) {
        nvrtc_close(nvrtc);
        return false;
    }
    if (nvrtc->version(&nvrtc->major, &nvrtc->minor) != 0 ||
        nvrtc->major != driver_version / 1000) {
        snprintf(message, n_message, "%s does not say that it is version %d", name,
                 driver_version / 1000);
        nvrtc_close(nvrtc);
        return false;
    }
    return true;
}

void nvrtc_close(Nvrtc *nvrtc) {
    cuda_library_close(nvrtc->library);
    *nvrtc = (Nvrtc){0};
}

typedef struct Compile {
    const Nvrtc *nvrtc;
    const NvrtcOptions *options;
    NvrtcJob *jobs;
    int n_jobs;
    atomic_int next;
} Compile;

static void job_run(const Compile *compile, NvrtcJob *job) {
    const char *headers[] = {compile->options->prelude};
    static const char *const names[] = {"dlc_prelude.cuh"};
    job->program = NULL;
    job->result = compile->nvrtc->create(&job->program, job->source, job->name, 1, headers, names);
    if (job->result == 0) {
        job->result = compile->nvrtc->compile(job->program, compile->options->n_options,
                                              compile->options->options);
    }
}

static void *compile_thread(void *argument) {
    Compile *compile = argument;
    for (int i; (i = atomic_fetch_add(&compile->next, 1)) < compile->n_jobs;) {
        job_run(compile, &compile->jobs[i]);
    }
    return NULL;
}

void nvrtc_compile(const Nvrtc *nvrtc, const NvrtcOptions *options, NvrtcJob *jobs, int n_jobs) {
    Compile compile = {.nvrtc = nvrtc, .options = options, .jobs = jobs, .n_jobs = n_jobs};
    pthread_t threads[MAX_COMPILERS];
    int cores = cores_usable();
    int n = 0;
    while (n < MAX_COMPILERS - 1 && n + 1 < cores && n + 1 < n_jobs &&
           pthread_create(&threads[n], NULL, compile_thread, &compile) == 0) {
        n++;
    }
    compile_thread(&compile);
    for (int i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* The compiler's first error line. */
static void log_message(const Nvrtc *nvrtc, const dlc_allocator *allocator, const NvrtcJob *job,
                        char *message, size_t n_message) {
    size_t size = 0;
    snprintf(message, n_message, "NVRTC %d.%d refuses %s (error %d)", nvrtc->major, nvrtc->minor,
             job->name, job->result);
    if (!job->program || nvrtc->log_size(job->program, &size) != 0 || size == 0 ||
        size > (size_t)1 << 28) {
        return;
    }
    char *log = memory_new(allocator, size + 1, 1);
    if (log && nvrtc->log(job->program, log) == 0) {
        const char *line = strstr(log, "error");
        while (line && line > log && line[-1] != '\n') {
            line--;
        }
        line = line ? line : log;
        snprintf(message, n_message, "NVRTC %d.%d refuses %s: %.*s", nvrtc->major, nvrtc->minor,
                 job->name, (int)strcspn(line, "\n"), line);
    }
    memory_free(allocator, log);
}

static dlc_status result_status(int result) {
    switch (result) {
    case NVRTC_OUT_OF_MEMORY:
        return DLC_ERROR_OUT_OF_MEMORY;
    case NVRTC_INVALID_OPTION:
    case NVRTC_BUILTIN_OPERATION_FAILURE:
        return DLC_ERROR_UNSUPPORTED;
    default:
        return DLC_ERROR_INTERNAL;
    }
}

dlc_status nvrtc_job_cubin(const Nvrtc *nvrtc, const dlc_allocator *allocator, NvrtcJob *job,
                           void **out, char *message, size_t n_message) {
    size_t size = 0;
    if (job->result != 0) {
        log_message(nvrtc, allocator, job, message, n_message);
        return result_status(job->result);
    }
    int result = nvrtc->cubin_size(job->program, &size);
    if (result != 0 || size == 0) {
        snprintf(message, n_message, "NVRTC gives no code for %s (error %d)", job->name, result);
        return result_status(result);
    }
    char *cubin = memory_new(allocator, size, 1);
    if (!cubin) {
        snprintf(message, n_message, "out of memory for %zu bytes of code", size);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    result = nvrtc->cubin(job->program, cubin);
    if (result != 0) {
        snprintf(message, n_message, "NVRTC gives no code for %s (error %d)", job->name, result);
        memory_free(allocator, cubin);
        return result_status(result);
    }
    *out = cubin;
    return DLC_OK;
}

void nvrtc_job_finish(const Nvrtc *nvrtc, NvrtcJob *job) {
    if (job->program) {
        nvrtc->destroy(&job->program);
        job->program = NULL;
    }
}
