/* The CUDA target: texts of all kernels, grouped into units, compiled by NVRTC on a few threads,
 * laid out as one image. Which kernels share a unit depends on their texts alone, so the bytes do
 * not depend on the number of threads. */
#include "codegen/cuda/compile.h"
#include "codegen/cuda/text/text.h"
#include "codegen/target.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A unit costs the compiler about as much to begin as a small kernel, reading the prelude above
 * all; large units keep threads waiting for the last one. */
enum { UNIT_KERNELS = 16, UNIT_BYTES = 24 * 1024, MAX_THREADS = 64, LOG_SHOWN = 300 };

/* DLC_CUDA_UNIT=N asks for N kernels a unit, whatever their length: for compilers that take long to
 * begin, as the simulated device's does. */
static int32_t unit_kernels(void) {
    const char *text = getenv("DLC_CUDA_UNIT");
    long n = text ? strtol(text, NULL, 10) : 0;
    return n > 0 && n < INT32_MAX ? (int32_t)n : 0;
}
/* Kernel arguments are 4 KiB at most, on any card. */
enum { MAX_ARGUMENTS = 500 };

#define UNIT_HEAD "#include \"dlc_prelude.cuh\"\n"

typedef struct EmitJob {
    const Machine *machine;
    const Nvrtc *nvrtc; /* NULL: texts only */
    Kernel *const *kernels;
    int32_t n_kernels;
    CudaKernel *records;
    CudaBuilt *units;
    int32_t n_units;
    int32_t *order; /* units, the longest first */
    atomic_int next;
    dlc_status *results;  /* by unit */
    const Kernel *failed; /* see TargetImage */
} EmitJob;

/* -- texts */

/* "softmax_3fa85c01": readable, a C identifier, the same in every program that has the kernel. */
static void name_kernel(Kernel *const *kernels, CudaKernel *records, int32_t index) {
    const Kernel *kernel = kernels[index];
    CudaKernel *record = &records[index];
    char stem[32];
    size_t n = 0;
    for (const char *c = kernel->name ? kernel->name : ""; *c && n < sizeof(stem) - 1; c++) {
        bool plain =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        stem[n++] = plain ? *c : '_';
    }
    stem[n] = '\0';
    snprintf(record->name, sizeof(record->name), "k_%s_%08" PRIx32, stem,
             (uint32_t)kernel_hash(kernel));
    for (int32_t i = 0; i < index; i++) {
        if (strcmp(records[i].name, record->name) == 0) {
            size_t length = strlen(record->name);
            snprintf(record->name + length, sizeof(record->name) - length, "_%" PRId32, index);
            return;
        }
    }
}

static bool has_bf16(const Kernel *kernel) {
    for (int32_t i = 0; i < kernel->n_buffers; i++) {
        if (kernel->buffers[i].dtype == DT_BF16) {
            return true;
        }
    }
    for (int32_t i = 0; i < kernel->n_locals; i++) {
        if (kernel->locals[i]->dtype == DT_BF16) {
            return true;
        }
    }
    return false;
}

static void record_kernel(const EmitJob *job, int32_t index, const CudaTextInfo *info) {
    CudaKernel *record = &job->records[index];
    record->threads = info->threads;
    record->n_buffers = job->kernels[index]->n_buffers;
    record->n_sizes = job->kernels[index]->n_sizes;
    record->group = job->kernels[index]->group;
    record->common = job->kernels[index]->common;
    record->has_faults = info->has_faults;
    record->shared_bytes = info->shared_bytes;
    record->scratch_bytes = info->scratch_bytes;
    record->registers = record->stack_bytes = record->spill_bytes = -1;
}

static bool unit_close(EmitJob *job, Str *text, int32_t first, int32_t end) {
    if (end > first) {
        CudaBuilt *unit = &job->units[job->n_units++];
        *unit = (CudaBuilt){.n_source = text->length, .first = first, .count = end - first};
        unit->source = text->failed ? NULL : strdup(str_text(text));
        str_clear(text);
        return unit->source != NULL;
    }
    return true;
}

static dlc_status write_texts(EmitJob *job, char *message) {
    const Machine *machine = job->machine;
    Str unit, one;
    str_init(&unit, NULL);
    str_init(&one, NULL);
    dlc_status status = DLC_OK;
    int32_t first = 0, asked = unit_kernels();
    for (int32_t i = 0; i < job->n_kernels && status == DLC_OK; i++) {
        if (!machine->has_bf16 && has_bf16(job->kernels[i])) {
            snprintf(message, CUDA_MESSAGE_BYTES,
                     "%s has no bf16, which kernel '%.64s' needs: compile for sm_80 or later, or "
                     "choose precision f16 or f32",
                     machine->name, job->kernels[i]->name);
            status = DLC_ERROR_UNSUPPORTED;
            break;
        }
        int32_t n_arguments = job->kernels[i]->n_buffers + job->kernels[i]->n_sizes;
        if (n_arguments > MAX_ARGUMENTS) {
            job->failed = job->kernels[i];
            status = TARGET_INTERNAL(message, "%d arguments, a GPU takes %d", (int)n_arguments,
                                     MAX_ARGUMENTS);
            break;
        }
        CudaTextInfo info = {0};
        name_kernel(job->kernels, job->records, i);
        str_clear(&one);
        cuda_text_kernel(machine, job->kernels[i], job->records[i].name, &one, &info);
        record_kernel(job, i, &info);
        bool full = asked > 0 ? i - first >= asked
                              : i - first >= UNIT_KERNELS || unit.length + one.length > UNIT_BYTES;
        if (full && !unit_close(job, &unit, first, i)) {
            status = DLC_ERROR_OUT_OF_MEMORY;
        }
        first = full ? i : first;
        if (i == first) {
            str_add(&unit, UNIT_HEAD);
        }
        job->records[i].unit = (uint32_t)job->n_units;
        str_add_bytes(&unit, str_text(&one), one.length);
        status = unit.failed || one.failed ? DLC_ERROR_OUT_OF_MEMORY : status;
    }
    if (status == DLC_OK && !unit_close(job, &unit, first, job->n_kernels)) {
        status = DLC_ERROR_OUT_OF_MEMORY;
    }
    str_finish(&unit);
    str_finish(&one);
    return status;
}

/* -- code */

static void compile_unit(EmitJob *job, int32_t number) {
    CudaBuilt *unit = &job->units[number];
    int32_t sm = job->machine->architecture;
    if (!cudac_cache_find(job->nvrtc, unit->source, cuda_prelude_text, sm, &unit->code)) {
        job->results[number] =
            cudac_compile(job->nvrtc, unit->source, cuda_prelude_text, sm, &unit->code);
        if (job->results[number] == DLC_OK) {
            cudac_cache_keep(job->nvrtc, unit->source, cuda_prelude_text, sm, &unit->code);
        }
    }
    for (int32_t i = 0; i < unit->count && job->results[number] == DLC_OK; i++) {
        CudaKernel *record = &job->records[unit->first + i];
        if (!cudac_figures(unit->code.log, record->name, record)) {
            record->registers = record->stack_bytes = record->spill_bytes = -1;
        }
    }
}

static void *work(void *user) {
    EmitJob *job = user;
    for (;;) {
        int32_t index = atomic_fetch_add(&job->next, 1);
        if (index >= job->n_units) {
            return NULL;
        }
        compile_unit(job, job->order[index]);
    }
}

/* Longest first, by number where equal: the last units to finish are short ones. */
static void order_units(EmitJob *job) {
    for (int32_t i = 0; i < job->n_units; i++) {
        int32_t at = i;
        while (at > 0 && job->units[job->order[at - 1]].n_source < job->units[i].n_source) {
            job->order[at] = job->order[at - 1];
            at--;
        }
        job->order[at] = i;
    }
}

static void compile_units(EmitJob *job, int32_t n_threads) {
    atomic_init(&job->next, 0);
    order_units(job);
    n_threads = n_threads > MAX_THREADS ? MAX_THREADS : n_threads;
    n_threads = n_threads > job->n_units ? job->n_units : n_threads;
    pthread_t threads[MAX_THREADS];
    int32_t started = 0;
    for (int32_t i = 1; i < n_threads; i++) {
        if (pthread_create(&threads[started], NULL, work, job) == 0) {
            started++;
        }
    }
    work(job);
    for (int32_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* The first unit that failed, told with the first kernel that the compiler complains of. */
static dlc_status check_units(EmitJob *job, char *message) {
    for (int32_t i = 0; i < job->n_units; i++) {
        const CudaBuilt *unit = &job->units[i];
        if (job->results[i] == DLC_OK) {
            continue;
        }
        if (job->results[i] != DLC_ERROR_INTERNAL) {
            snprintf(message, CUDA_MESSAGE_BYTES, "out of memory");
            return job->results[i];
        }
        const char *log = unit->code.log ? unit->code.log : "";
        const char *error = strstr(log, "error");
        while (error && error > log && error[-1] != '\n') {
            error--;
        }
        /* The complaint names a line of the unit: the last kernel that begins above it. */
        const char *bracket = error ? strchr(error, '(') : NULL;
        long line = bracket ? strtol(bracket + 1, NULL, 10) : 0;
        job->failed = job->kernels[unit->first];
        for (int32_t k = 0; k < unit->count; k++) {
            const char *name = job->records[unit->first + k].name;
            const char *at = strstr(unit->source, name);
            long above = 1;
            for (const char *c = unit->source; at && c < at; c++) {
                above += *c == '\n';
            }
            job->failed = at && above <= line ? job->kernels[unit->first + k] : job->failed;
        }
        return TARGET_INTERNAL(message, "NVRTC refuses it for %s: %.*s", job->machine->name,
                               LOG_SHOWN, error ? error : log);
    }
    return DLC_OK;
}

static void job_finish(EmitJob *job) {
    for (int32_t i = 0; job->units && i < job->n_units; i++) {
        free(job->units[i].source);
        cudac_code_finish(&job->units[i].code);
    }
    free(job->units);
    free(job->order);
    free(job->results);
    free(job->records);
}

static dlc_status cuda_emit(const Machine *machine, Kernel *const *kernels, int32_t n_kernels,
                            int32_t n_threads, const dlc_allocator *allocator, TargetImage *out,
                            char *message) {
    size_t n = (size_t)n_kernels + 1;
    EmitJob job = {.machine = machine, .kernels = kernels, .n_kernels = n_kernels};
    char note[CUDA_MESSAGE_BYTES] = "";
    memset(out, 0, sizeof(*out));
    job.records = calloc(n, sizeof(*job.records));
    job.units = calloc(n, sizeof(*job.units));
    job.order = calloc(n, sizeof(*job.order));
    job.results = calloc(n, sizeof(*job.results));
    dlc_status status = job.records && job.units && job.order && job.results
                            ? write_texts(&job, message)
                            : DLC_ERROR_OUT_OF_MEMORY;
    Nvrtc *nvrtc = status == DLC_OK ? cudac_open(note) : NULL;
    if (nvrtc && !cudac_knows(nvrtc, machine->architecture)) {
        snprintf(note, sizeof(note), "NVRTC of CUDA %d.%d does not know %s",
                 cudac_toolkit(nvrtc) / 1000, cudac_toolkit(nvrtc) % 1000 / 10, machine->name);
        free(nvrtc);
        nvrtc = NULL;
    }
    if (status == DLC_OK && nvrtc) {
        job.nvrtc = nvrtc;
        compile_units(&job, n_threads);
        status = check_units(&job, message);
    }
    out->failed = job.failed;
    if (status == DLC_OK) {
        status =
            cudac_image(machine->architecture, nvrtc ? cudac_toolkit(nvrtc) : 0, cuda_prelude_text,
                        job.units, job.n_units, job.records, n_kernels, allocator, out);
    }
    if (status == DLC_OK && !nvrtc) {
        snprintf(
            out->note, sizeof(out->note),
            "%.300s: the plan holds its CUDA kernels as text only, and the machine that runs it "
            "needs NVRTC",
            note);
    }
    if (status == DLC_ERROR_OUT_OF_MEMORY) {
        snprintf(message, CUDA_MESSAGE_BYTES, "out of memory");
    }
    free(nvrtc);
    job_finish(&job);
    return status;
}

static const char **cuda_names(Kernel *const *kernels, int32_t n_kernels, Arena *arena) {
    CudaKernel *records = ARENA_ARRAY(arena, CudaKernel, (size_t)n_kernels);
    const char **names = ARENA_ARRAY(arena, const char *, (size_t)n_kernels);
    for (int32_t i = 0; i < n_kernels; i++) {
        name_kernel(kernels, records, i);
        names[i] = records[i].name;
    }
    return names;
}

static void cuda_show_head(const Machine *machine, Str *out) {
    str_addf(out,
             "// Compiles with: nvcc -std=c++17 -fmad=false -arch=%s -cubin FILE.cu\n"
             "// First what all kernels use, then the kernels, by the names that profilers show.\n",
             machine->name);
    str_add_bytes(out, cuda_prelude_text, cuda_prelude_bytes);
    str_add(out, "\n");
}

static dlc_status cuda_show(const Machine *machine, const Kernel *kernel, const char *name,
                            Str *out) {
    CudaTextInfo info = {0};
    cuda_text_kernel(machine, kernel, name, out, &info);
    return out->failed ? DLC_ERROR_OUT_OF_MEMORY : DLC_OK;
}

static bool cuda_figures(const TargetImage *image, int32_t kernel, TargetFigures *out) {
    const CudaKernel *record =
        (const CudaKernel *)(const void *)(image->bytes + image->entries[kernel]);
    *out = (TargetFigures){.name = record->name,
                           .registers = record->registers,
                           .shared_bytes = record->shared_bytes,
                           .stack_bytes = record->stack_bytes,
                           .spill_bytes = record->spill_bytes,
                           .threads = record->threads,
                           .scratch_bytes = record->scratch_bytes};
    return true;
}

const Target target_cuda = {
    .name = "cuda",
    .doc =
        "NVIDIA GPUs through NVRTC: cuda (those present, else the usual), cuda:sm_75, cuda:sm_80, "
        "cuda:sm_86, cuda:sm_89, cuda:sm_90, cuda:sm_100, cuda:sm_120",
    .shows_text = true,
    .describe = cudac_describe,
    .expand = cudac_expand,
    .emit = cuda_emit,
    .names = cuda_names,
    .show_head = cuda_show_head,
    .show = cuda_show,
    .figures = cuda_figures,
};
