/* Random graphs for GPUs, through NVRTC: every plan compiles, and its image is what the run side
 * reads and what its parts say of each other.
 *   test_cuda_image [--each] [COUNT [ARCHITECTURE…]]   default: 12 graphs for sm_90; the
 *   architectures take turns, forty graphs each, or with --each all do all graphs
 * Without NVRTC: status 77. */
#include "driver/compile.h"
#include "runtime/cuda/image.h"
#include "runtime/plan.h"
#include "tests/random/batch.h"
#include "tests/unit/plain_allocator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PER_PLAN = 40, SKIPPED = 77 };

typedef struct Tally {
    int plans, kernels, bad, spilled;
    bool no_compiler;
} Tally;

static void complain(Tally *tally, uint64_t seed, const char *target, const char *what,
                     const char *more) {
    printf("graphs from seed %llu for %s: %s: %.600s\n", (unsigned long long)seed, target, what,
           more);
    tally->bad++;
}

/* The image of target 0 in the plan's bytes. */
static const uint8_t *image_in(const uint8_t *plan, size_t *out_size) {
    PlanHeader header;
    memcpy(&header, plan, sizeof header);
    for (uint32_t i = 0; i < header.n_sections; i++) {
        PlanSection section;
        memcpy(&section, plan + sizeof header + sizeof section * i, sizeof section);
        if (section.kind == PLAN_IMAGE && section.target == 0) {
            *out_size = (size_t)section.size;
            return plan + section.offset;
        }
    }
    return NULL;
}

/* Every kernel is where its record says. */
static const char *image_wrong(const CudaImage *image) {
    for (uint32_t i = 0; i < image->header.n_units; i++) {
        const CudaUnit *unit = &image->units[i];
        if (unit->cubin.size < 4 || memcmp(image->bytes + unit->cubin.offset, "\177ELF", 4) != 0) {
            return "a unit's cubin is no ELF file";
        }
    }
    for (uint32_t k = 0; k < image->header.n_kernels; k++) {
        const CudaKernel *kernel = &image->kernels[k];
        const CudaUnit *unit = &image->units[kernel->unit];
        char entry[CUDA_NAME_BYTES + 16];
        snprintf(entry, sizeof entry, ".entry %s(", kernel->name);
        if (!strstr((const char *)image->bytes + unit->source.offset, kernel->name)) {
            return "a kernel is not in its unit's text";
        }
        if (!strstr((const char *)image->bytes + unit->ptx.offset, entry)) {
            return "a kernel is not in its unit's PTX";
        }
        if (kernel->registers < 1 || kernel->registers > 255) {
            return "a kernel without registers";
        }
        if (kernel->registers * kernel->threads > 65536) {
            return "a kernel whose block does not fit the registers";
        }
    }
    return NULL;
}

/* Damage never crashes the reader: cut short, and single bytes of the tables changed. */
static void image_damage(const uint8_t *bytes, size_t n_bytes) {
    uint8_t *copy = malloc(n_bytes);
    char message[256];
    for (size_t n = 0; copy && n < n_bytes; n += 1 + n / 7) {
        CudaImage image;
        memcpy(copy, bytes, n);
        if (cuda_image_read(&image, &plain_allocator, copy, n, message, sizeof message) == DLC_OK) {
            cuda_image_finish(&image, &plain_allocator);
        }
    }
    for (size_t at = 0; copy && at < n_bytes && at < 4096; at++) {
        CudaImage image;
        memcpy(copy, bytes, n_bytes);
        copy[at] ^= (uint8_t)(1u << at % 8);
        if (cuda_image_read(&image, &plain_allocator, copy, n_bytes, message, sizeof message) ==
            DLC_OK) {
            cuda_image_finish(&image, &plain_allocator);
        }
    }
    free(copy);
}

static void check_plan(Tally *tally, const void *plan, uint64_t seed, const char *target) {
    size_t n_bytes = 0;
    char message[256] = "";
    CudaImage image;
    const uint8_t *bytes = image_in(plan, &n_bytes);
    if (!bytes || cuda_image_read(&image, &plain_allocator, bytes, n_bytes, message,
                                  sizeof message) != DLC_OK) {
        complain(tally, seed, target, "the image is not read back", message);
        return;
    }
    if (image.header.toolkit == 0) {
        tally->no_compiler = true;
    } else {
        const char *wrong = image_wrong(&image);
        if (wrong) {
            complain(tally, seed, target, "the image", wrong);
        }
        for (uint32_t k = 0; k < image.header.n_kernels; k++) {
            tally->kernels++;
            if (image.kernels[k].spill_bytes > 0 || image.kernels[k].stack_bytes > 0) {
                tally->spilled++;
                printf("  %s for %s: %d registers, %d bytes of stack, %d spilled\n",
                       image.kernels[k].name, target, image.kernels[k].registers,
                       image.kernels[k].stack_bytes, image.kernels[k].spill_bytes);
            }
        }
    }
    if (tally->plans == 0) {
        image_damage(bytes, n_bytes);
    }
    tally->plans++;
    cuda_image_finish(&image, &plain_allocator);
}

static void compile_graphs(Tally *tally, Batch *batch, uint64_t seed, const char *target) {
    dlc_compile_options options = {.struct_size = sizeof options,
                                   .flags = DLC_COMPILE_INPUT_IR,
                                   .targets = &target,
                                   .n_targets = 1};
    CompileCall call = {.allocator = &plain_allocator,
                        .options = &options,
                        .text = str_text(&batch->text),
                        .length = batch->text.length,
                        .name = "random"};
    dlc_status status = dlc_compile_module_v1()->compile(&call);
    if (status != DLC_OK) {
        complain(tally, seed, target, call.message, call.diagnostics[0] ? call.diagnostics[0] : "");
    } else {
        check_plan(tally, call.plan, seed, target);
    }
    free(call.plan);
    free(call.result);
    for (int i = 0; i < 3; i++) {
        free(call.diagnostics[i]);
    }
}

/* Graphs [first, last) for `target`. */
static bool check_graphs(Tally *tally, int first, int last, const char *architecture) {
    Batch *batch = malloc(sizeof *batch);
    batch_init(batch);
    if (setjmp(batch->boundary.jump)) {
        printf("the test's own graphs: boundary left\n");
        return false;
    }
    batch->module = module_create(&batch->context, "random");
    if (!strcmp(architecture, "sm_75")) { /* it has no bf16 */
        batch->dtypes = ((1u << DT_COUNT) - 1) & ~(1u << DT_BF16);
    }
    for (int i = first; i < last; i++) {
        batch_add(batch, (uint64_t)i);
    }
    module_print(batch->module, &batch->text);
    char target[32];
    snprintf(target, sizeof target, "cuda:%s", architecture);
    compile_graphs(tally, batch, (uint64_t)first, target);
    batch_finish(batch);
    free(batch);
    return true;
}

int main(int argc, char **argv) {
    static char usual[] = "sm_90", *only[] = {usual};
    bool each = argc > 1 && strcmp(argv[1], "--each") == 0;
    argv += each;
    argc -= each;
    int count = argc > 1 ? atoi(argv[1]) : 12;
    int n_targets = argc > 2 ? argc - 2 : 1;
    char **targets = argc > 2 ? argv + 2 : only;
    Tally tally = {0};
    for (int first = 0; first < count; first += PER_PLAN) {
        int last = first + PER_PLAN < count ? first + PER_PLAN : count;
        for (int t = 0; t < n_targets && !tally.no_compiler; t++) {
            bool turn = each || first / PER_PLAN % n_targets == t;
            if (turn && !check_graphs(&tally, first, last, targets[t])) {
                return 1;
            }
        }
    }
    if (tally.no_compiler) {
        printf("skipped: no NVRTC here\n");
        return SKIPPED;
    }
    printf("%d graphs, %d plans, %d kernels, %d with stack or spills, %d problems\n", count,
           tally.plans, tally.kernels, tally.spilled, tally.bad);
    return tally.bad ? 1 : 0;
}
