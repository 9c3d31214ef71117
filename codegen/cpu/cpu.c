/* The CPU target: describes machines, compiles kernels on a few threads, lays their code one after
 * another. Every kernel is a module of its own, so the bytes do not depend on the number of
 * threads. */
#include "codegen/cpu/cache.h"
#include "codegen/cpu/emit.h"
#include "codegen/cpu/guard.h"
#include "codegen/target.h"
#include "ir/base/memory.h"
#include <llvm-c/Core.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

typedef struct Slice {
    uint8_t *bytes;
    size_t n_bytes;
    int64_t entry;
} Slice;

typedef struct EmitJob {
    const Machine *machine;
    Kernel *const *kernels;
    int32_t n_kernels;
    const dlc_allocator *allocator;
    Slice *slices;
    atomic_int next;
    pthread_mutex_t lock; /* of the first failure, lowest kernel number */
    int32_t failed;
    dlc_status status;
    char message[CPU_MESSAGE_BYTES];
} EmitJob;

/* LLVM's remarks ("loop not vectorized") and warnings are no business of the user's. */
static void ignore_diagnostic(LLVMDiagnosticInfoRef info, void *user) {
    (void)info;
    (void)user;
}

static LLVMContextRef create_context(void) {
    LLVMContextRef context = LLVMContextCreate();
    LLVMContextSetDiagnosticHandler(context, ignore_diagnostic, NULL);
    return context;
}

/* The module's object, as it was kept or made now. */
static dlc_status object_of(CpuCompiler *compiler, LLVMModuleRef module, int32_t index,
                            LLVMMemoryBufferRef *out, char *message) {
    CpuCachePlace place;
    cpu_cache_place(compiler, module, &place);
    *out = cpu_cache_find(&place);
    if (*out) {
        return DLC_OK;
    }
    dlc_status status = cpu_optimise(compiler, module, message);
    if (status == DLC_OK) {
        status = cpu_object(compiler, module, false, out, message);
    }
    if (status == DLC_OK) {
        cpu_cache_keep(&place, index, *out);
    }
    return status;
}

static dlc_status compile_one(const EmitJob *job, CpuCompiler *compiler, int32_t index,
                              char *message) {
    LLVMContextRef context = create_context();
    LLVMModuleRef module = emit_kernel(job->machine, job->kernels[index], context, message);
    dlc_status status = module ? DLC_OK : DLC_ERROR_INTERNAL;
    LLVMMemoryBufferRef object = NULL;
    if (status == DLC_OK) {
        status = object_of(compiler, module, index, &object, message);
    }
    if (status == DLC_OK) {
        Slice *slice = &job->slices[index];
        status = cpu_image(LLVMGetBufferStart(object), LLVMGetBufferSize(object), job->allocator,
                           &slice->bytes, &slice->n_bytes, &slice->entry, message);
    }
    if (object) {
        LLVMDisposeMemoryBuffer(object);
    }
    if (module) {
        LLVMDisposeModule(module);
    }
    LLVMContextDispose(context);
    return status;
}

static void job_fail(EmitJob *job, int32_t index, dlc_status status, const char *message) {
    pthread_mutex_lock(&job->lock);
    if (job->status == DLC_OK || index < job->failed) {
        job->failed = index;
        job->status = status;
        snprintf(job->message, sizeof(job->message), "%s", message);
    }
    pthread_mutex_unlock(&job->lock);
}

typedef struct Worker {
    EmitJob *job;
    int32_t at; /* the kernel that is compiled; -1: none */
} Worker;

static void work_guarded(void *user) {
    Worker *worker = user;
    EmitJob *job = worker->job;
    CpuCompiler compiler = {0};
    char message[CPU_MESSAGE_BYTES] = "";
    dlc_status status = cpu_compiler_init(&compiler, job->machine, message);
    if (status != DLC_OK) {
        job_fail(job, -1, status, message);
        return;
    }
    for (;;) {
        int32_t index = atomic_fetch_add(&job->next, 1);
        if (index >= job->n_kernels) {
            break;
        }
        worker->at = index;
        status = compile_one(job, &compiler, index, message);
        if (status != DLC_OK) {
            job_fail(job, index, status, message);
        }
    }
    cpu_compiler_finish(&compiler);
}

static void *work(void *user) {
    char message[CPU_MESSAGE_BYTES] = "";
    Worker worker = {.job = user, .at = -1};
    dlc_status status = cpu_guarded(work_guarded, &worker, message);
    if (status != DLC_OK) {
        job_fail(user, worker.at, status, message);
    }
    return NULL;
}

static dlc_status join_slices(const EmitJob *job, TargetImage *out) {
    size_t total = 0;
    for (int32_t i = 0; i < job->n_kernels; i++) {
        total += job->slices[i].n_bytes;
    }
    out->bytes = cpu_alloc(job->allocator, total);
    out->entries = cpu_alloc(job->allocator, sizeof(int64_t) * (size_t)job->n_kernels);
    if (!out->bytes || !out->entries) {
        target_image_finish(out, job->allocator);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    out->n_bytes = total;
    out->n_entries = job->n_kernels;
    size_t at = 0;
    for (int32_t i = 0; i < job->n_kernels; i++) {
        memcpy(out->bytes + at, job->slices[i].bytes, job->slices[i].n_bytes);
        out->entries[i] = (int64_t)at + job->slices[i].entry;
        at += job->slices[i].n_bytes;
    }
    return DLC_OK;
}

enum { MAX_THREADS = 64 };

static dlc_status cpu_emit(const Machine *machine, Kernel *const *kernels, int32_t n_kernels,
                           int32_t n_threads, const dlc_allocator *allocator, TargetImage *out,
                           char *message) {
    EmitJob job = {
        .machine = machine, .kernels = kernels, .n_kernels = n_kernels, .allocator = allocator};
    memset(out, 0, sizeof(*out));
    job.slices = cpu_alloc(allocator, sizeof(Slice) * (size_t)n_kernels);
    if (!job.slices) {
        snprintf(message, CPU_MESSAGE_BYTES, "out of memory");
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    dlc_status started_llvm = cpu_guarded(cpu_compiler_start, NULL, message);
    if (started_llvm != DLC_OK) {
        raw_free(allocator, job.slices);
        return started_llvm;
    }
    atomic_init(&job.next, 0);
    pthread_mutex_init(&job.lock, NULL);
    n_threads = n_threads > MAX_THREADS ? MAX_THREADS : n_threads;
    n_threads = n_threads > n_kernels ? n_kernels : n_threads;
    pthread_t threads[MAX_THREADS];
    int32_t started = 0;
    for (int32_t i = 1; i < n_threads; i++) {
        if (pthread_create(&threads[started], NULL, work, &job) == 0) {
            started++;
        }
    }
    work(&job);
    for (int32_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_mutex_destroy(&job.lock);
    dlc_status status = job.status;
    out->failed = status != DLC_OK && job.failed >= 0 ? kernels[job.failed] : NULL;
    if (status == DLC_OK) {
        status = join_slices(&job, out);
        snprintf(job.message, sizeof(job.message), "%s", status == DLC_OK ? "" : "out of memory");
    }
    snprintf(message, CPU_MESSAGE_BYTES, "%s", job.message);
    for (int32_t i = 0; i < n_kernels; i++) {
        raw_free(allocator, job.slices[i].bytes);
    }
    raw_free(allocator, job.slices);
    return status;
}

typedef struct ShowJob {
    const Machine *machine;
    const Kernel *kernel;
    Str *out;
    dlc_status status;
} ShowJob;

static void show_guarded(void *user) {
    ShowJob *job = user;
    const Machine *machine = job->machine;
    const Kernel *kernel = job->kernel;
    Str *out = job->out;
    CpuCompiler compiler = {0};
    char message[CPU_MESSAGE_BYTES] = "";
    dlc_status status = cpu_compiler_init(&compiler, machine, message);
    job->status = status;
    if (status != DLC_OK) {
        str_add(out, message);
        return;
    }
    LLVMContextRef context = create_context();
    LLVMModuleRef module = emit_kernel(machine, kernel, context, message);
    LLVMMemoryBufferRef assembly = NULL;
    status = module ? cpu_optimise(&compiler, module, message) : DLC_ERROR_INTERNAL;
    if (status == DLC_OK) {
        char *text = LLVMPrintModuleToString(module);
        str_add(out, text);
        LLVMDisposeMessage(text);
        status = cpu_object(&compiler, module, true, &assembly, message);
    }
    if (status == DLC_OK) {
        str_add_bytes(out, LLVMGetBufferStart(assembly), LLVMGetBufferSize(assembly));
        LLVMDisposeMemoryBuffer(assembly);
    } else {
        str_add(out, message);
    }
    if (module) {
        LLVMDisposeModule(module);
    }
    LLVMContextDispose(context);
    cpu_compiler_finish(&compiler);
    job->status = status;
}

static dlc_status cpu_show(const Machine *machine, const Kernel *kernel, const char *name,
                           Str *out) {
    (void)name; /* every function is called k: images have no symbols */
    ShowJob job = {machine, kernel, out, DLC_OK};
    char message[CPU_MESSAGE_BYTES] = "";
    dlc_status status = cpu_guarded(show_guarded, &job, message);
    str_add(out, message);
    return status == DLC_OK ? job.status : status;
}

const Target target_cpu = {
    .name = "cpu",
    .host = "cpu:native",
    .doc = "x86-64 processors through LLVM: cpu, cpu:x86-64-v2, cpu:x86-64-v3, cpu:x86-64-v4",
    .describe = cpu_describe,
    .emit = cpu_emit,
    .show = cpu_show,
};
