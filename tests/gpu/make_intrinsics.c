/* Compiles the kernels of the part "intrinsics" for the kit's targets and writes them with their
 * cases (intrinsics.h): make_intrinsics OUT cuda:sm_NN... */
#include "tests/gpu/make_intrinsics.h"

#include "codegen/cuda/compile.h"
#include "codegen/cuda/text/text.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT_KERNELS = 32, MOST_UNITS = 64, MOST_TARGETS = 16 };

typedef struct Job {
    const Nvrtc *nvrtc;
    int32_t sm;
    CudaBuilt units[MOST_UNITS];
    CudaKernel *kernels;
    int n_units, n_kernels;
    TargetImage image;
    bool good;
} Job;

/* The kernel's name behind __launch_bounds__(N). */
static bool is_kernel(const char *text, const char *name) {
    char form[INTRINSIC_NAME + 4];
    snprintf(form, sizeof form, ") %s(", name);
    return strstr(text, form) != NULL;
}

static void unit_add(Job *job, const char *const *texts, int n_texts) {
    CudaBuilt *unit = &job->units[job->n_units];
    size_t n = strlen(intrinsics_include) + 1;
    for (int i = 0; i < n_texts; i++) {
        n += strlen(texts[i]);
    }
    unit->source = malloc(n);
    if (!unit->source) {
        abort();
    }
    strcpy(unit->source, intrinsics_include);
    for (int i = 0; i < n_texts; i++) {
        strcat(unit->source, texts[i]);
    }
    unit->n_source = n - 1;
    unit->first = job->n_kernels;
    for (int i = 0; i < intrinsics_n_cases; i++) {
        const IntrinsicCase *test = &intrinsics_cases[i];
        if (test->sm > job->sm || !is_kernel(unit->source, test->kernel)) {
            continue;
        }
        CudaKernel *kernel = &job->kernels[job->n_kernels++];
        *kernel = (CudaKernel){.unit = (uint32_t)job->n_units,
                               .threads = test->threads,
                               .n_buffers = test->n_inputs + 1,
                               .n_sizes = test->mode == COMPARE_NEVER, /* rounds */
                               .has_faults = test->has_faults,
                               .shared_bytes = test->shared_bytes,
                               .registers = -1,
                               .stack_bytes = -1,
                               .spill_bytes = -1};
        snprintf(kernel->name, sizeof kernel->name, "%s", test->kernel);
    }
    unit->count = job->n_kernels - unit->first;
    job->n_units++;
}

static void *build(void *user) {
    Job *job = user;
    const char *own = job->sm < 80 ? intrinsics_own_75 : intrinsics_own_80;
    job->kernels = calloc((size_t)intrinsics_n_cases, sizeof *job->kernels);
    if (!job->kernels) {
        return NULL;
    }
    unit_add(job, &own, 1);
    for (int i = 0; i < intrinsics_n_texts; i += UNIT_KERNELS) {
        int n = intrinsics_n_texts - i;
        unit_add(job, intrinsics_texts + i, n < UNIT_KERNELS ? n : UNIT_KERNELS);
    }
    for (int i = 0; i < job->n_units; i++) {
        CudaBuilt *unit = &job->units[i];
        if (cudac_compile(job->nvrtc, unit->source, cuda_prelude_text, job->sm, &unit->code) !=
            DLC_OK) {
            fprintf(stderr, "make_intrinsics: sm_%d: %s\n", job->sm,
                    unit->code.log ? unit->code.log : "out of memory");
            return NULL;
        }
        for (int k = unit->first; k < unit->first + unit->count; k++) {
            CudaKernel *kernel = &job->kernels[k];
            if (cudac_figures(unit->code.log, kernel->name, kernel) && kernel->spill_bytes > 0) {
                printf("sm_%d: %s spills %d bytes\n", job->sm, kernel->name, kernel->spill_bytes);
            }
        }
    }
    job->good =
        cudac_image(job->sm, cudac_toolkit(job->nvrtc), cuda_prelude_text, job->units, job->n_units,
                    job->kernels, job->n_kernels, NULL, &job->image) == DLC_OK;
    return NULL;
}

static bool write_all(const char *path, const Job *jobs, int n_jobs) {
    IntrinsicsFile head = {.n_cases = intrinsics_n_cases, .n_images = n_jobs};
    memcpy(head.magic, INTRINSICS_MAGIC, sizeof head.magic);
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(&head, sizeof head, 1, file) == 1 &&
                fwrite(intrinsics_cases, sizeof(IntrinsicCase), (size_t)intrinsics_n_cases, file) ==
                    (size_t)intrinsics_n_cases;
    for (int i = 0; i < n_jobs && good; i++) {
        size_t n = jobs[i].image.n_bytes, padding = (8 - n % 8) % 8;
        IntrinsicsImage image = {.sm = jobs[i].sm, .bytes = (int64_t)(n + padding)};
        good = fwrite(&image, sizeof image, 1, file) == 1 &&
               fwrite(jobs[i].image.bytes, 1, n, file) == n &&
               fwrite("\0\0\0\0\0\0\0", 1, padding, file) == padding;
    }
    return file && fclose(file) == 0 && good;
}

int main(int argc, char **argv) {
    static Job jobs[MOST_TARGETS];
    pthread_t threads[MOST_TARGETS];
    char message[CUDA_MESSAGE_BYTES] = "";
    int n = argc - 2;
    if (n < 1 || n > MOST_TARGETS) {
        fprintf(stderr, "make_intrinsics OUT cuda:sm_NN...\n");
        return 2;
    }
    Nvrtc *nvrtc = cudac_open(message);
    if (!nvrtc) {
        fprintf(stderr, "make_intrinsics: %s\n", message);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        const char *number = strrchr(argv[i + 2], '_');
        jobs[i] = (Job){.nvrtc = nvrtc, .sm = number ? atoi(number + 1) : 0};
        if (pthread_create(&threads[i], NULL, build, &jobs[i]) != 0) {
            return 1;
        }
    }
    bool good = true;
    for (int i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        good = good && jobs[i].good;
    }
    good = good && write_all(argv[1], jobs, n);
    for (int i = 0; i < n; i++) {
        for (int u = 0; u < jobs[i].n_units; u++) {
            free(jobs[i].units[u].source);
            cudac_code_finish(&jobs[i].units[u].code);
        }
        free(jobs[i].kernels);
        target_image_finish(&jobs[i].image, NULL);
    }
    free(nvrtc);
    return good ? 0 : 1;
}
