/* What the machine can do at most, measured: copying, and multiplying, by the multipliers' own pace
 * (kernels rate_* of intrinsics.cu), by a generated product of two large matrices, and by the
 * vendor's library through the device's own call. The best of each kind is written for the parts
 * that follow. */
#include "tests/gpu/gpukit.h"

#include "runtime/plan.h"

#include <stdlib.h>
#include <string.h>

enum { TRIES = 5, RATE_WARPS = 8, RATE_UNROLLED = 8 };

typedef struct Best {
    const char *name; /* "bf16" */
    double best;
} Best;

static Best peaks[] = {{"copy", 0}, {"f16", 0}, {"bf16", 0}, {"tf32", 0}, {"f32", 0}};
enum { N_PEAKS = sizeof peaks / sizeof peaks[0] };

static void note(const char *kind, const char *how, double rate) {
    printf(", \"%s_%s\": %.4g", kind, how, rate);
    for (int i = 0; i < N_PEAKS; i++) {
        if (!strcmp(peaks[i].name, kind) && rate > peaks[i].best) {
            peaks[i].best = rate;
        }
    }
}

static dlc_status finish(KitIntrinsics *set) {
    KernelFault fault;
    return set->ops->finish(set->device->queue, &fault);
}

/* Bytes read and written a second. */
static void copy_rate(Kit *kit, KitIntrinsics *set) {
    size_t bytes = kit->quick ? (size_t)1 << 18 : (size_t)1 << 30;
    void *a = set->ops->alloc(set->device, bytes), *b = set->ops->alloc(set->device, bytes);
    double least = 0;
    if (a && b) {
        (void)set->ops->fill(set->device->queue, a, 1, bytes);
        (void)set->ops->fill(set->device->queue, b, 2, bytes);
    } else {
        kit_problem(kit, "two times %zu bytes are not to be had", bytes);
    }
    for (int i = 0; i < TRIES && a && b; i++) {
        double begin = kit_seconds();
        for (int k = 0; k < 4; k++) {
            (void)set->ops->copy(set->device->queue, a, b, bytes, NULL);
        }
        if (finish(set) != DLC_OK) {
            kit_problem(kit, "copy: %s", set->device->error);
            break;
        }
        double took = kit_seconds() - begin;
        least = i == 0 || took < least ? took : least;
    }
    if (least > 0) {
        note("copy", "bytes_per_second", 8.0 * (double)bytes / least);
    }
    set->ops->free(set->device, a);
    set->ops->free(set->device, b);
}

static void mma_rate(Kit *kit, KitIntrinsics *set, const char *kind, double flops_a_warp) {
    char name[INTRINSIC_NAME];
    snprintf(name, sizeof name, "rate_%s", kind);
    int64_t entry = kit_intrinsic_entry(set, name), rounds = kit->quick ? 1 : 4096;
    int64_t tiles = kit->quick ? 1 : 2048;
    if (entry < 0) {
        return;
    }
    void *out = set->ops->alloc(set->device, 256 * sizeof(float));
    void *buffers[] = {out};
    DeviceLaunch launch = {.entry = entry,
                           .buffers = buffers,
                           .n_buffers = 1,
                           .sizes = &rounds,
                           .n_sizes = 1,
                           .tiles = tiles};
    double least = 0;
    dlc_status status = out ? DLC_OK : DLC_ERROR_OUT_OF_MEMORY;
    for (int i = 0; i < (kit->quick ? 1 : TRIES) && status == DLC_OK; i++) {
        double begin = kit_seconds();
        status = set->ops->launch(set->device->queue, set->module, &launch);
        if (status == DLC_OK) {
            status = finish(set);
        }
        double took = kit_seconds() - begin;
        least = i == 0 || took < least ? took : least;
    }
    set->ops->free(set->device, out);
    if (status != DLC_OK) {
        kit_problem(kit, "%s: %s", name, set->device->error);
        return;
    }
    double work = (double)tiles * (double)rounds * RATE_WARPS * RATE_UNROLLED * flops_a_warp;
    note(kind, "multipliers", work / least);
}

/* A product of matrices of `size` by the vendor's library, if the device has one that does it. */
static void library_rate(Kit *kit, KitIntrinsics *set, const char *kind, int32_t dtype,
                         int32_t compute) {
    const DeviceOps *ops = set->ops;
    int64_t n = kit->quick ? 64 : 8192;
    int64_t sizes[] = {n, n, n, 1, n, 1, n * n, n, 1, n * n, 0, 0, 0, n, 1, n * n};
    size_t bytes = (size_t)(n * n * plan_dtype_bytes(dtype));
    DeviceCall call = {
        .kind = PLAN_LIBRARY_MATMUL,
        .compute = compute,
        .dtypes = {dtype, dtype, dtype, dtype, dtype},
        .alignment = {256, 256, 256, 256, 256},
        .present = {[PLAN_OPERAND_A] = true, [PLAN_OPERAND_B] = true, [PLAN_OPERAND_D] = true},
        .sizes = sizes,
        .n_sizes = sizeof sizes / sizeof sizes[0]};
    DeviceCallPlan *plan = NULL;
    if (!ops->call_prepare || ops->call_prepare(set->device->queue, &call, &plan) != DLC_OK) {
        printf(", \"%s_library\": ", kind);
        kit_text(ops->call_prepare ? set->device->error : "skipped: the device has no libraries");
        return;
    }
    void *buffers[PLAN_N_OPERANDS] = {NULL};
    dlc_status status = DLC_OK;
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        if (call.present[i]) {
            buffers[i] = ops->alloc(set->device, bytes);
            status = buffers[i] ? status : DLC_ERROR_OUT_OF_MEMORY;
        }
    }
    for (int i = 0; i < PLAN_N_OPERANDS && status == DLC_OK; i++) {
        status = buffers[i] ? ops->fill(set->device->queue, buffers[i], 0x11, bytes) : DLC_OK;
    }
    double least = 0;
    for (int i = 0; i < (kit->quick ? 1 : TRIES) && status == DLC_OK; i++) {
        double begin = kit_seconds();
        for (int k = 0; k < 4 && status == DLC_OK; k++) {
            status = ops->call(set->device->queue, plan, buffers);
        }
        status = status == DLC_OK ? finish(set) : status;
        double took = (kit_seconds() - begin) / 4;
        least = i == 0 || took < least ? took : least;
    }
    char line[256] = "";
    ops->call_describe(set->device, plan, line, sizeof line);
    if (status == DLC_OK) {
        printf(", \"%s_library_is\": ", kind);
        kit_text(line);
        note(kind, "library", 2.0 * (double)n * (double)n * (double)n / least);
    } else {
        kit_problem(kit, "%s product by %s: %s", kind, line, set->device->error);
    }
    ops->call_free(set->device, plan);
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        ops->free(set->device, buffers[i]);
    }
}

/* The plan's entry "infer" is one product; its name tells the kind: plans/matmul_bf16.plan. */
static void kernel_rate(Kit *kit, const char *path) {
    const char *kind = strrchr(path, '_');
    char name[16];
    dlc_bench_options options = {.struct_size = sizeof options, .seconds = 1};
    dlc_bench_result result = {.struct_size = sizeof result};
    dlc_session_options on = {.struct_size = sizeof on, .device = kit->device};
    dlc_plan *plan = kit_plan(kit, path);
    dlc_session *session = NULL;
    snprintf(name, sizeof name, "%.*s", kind ? (int)strcspn(kind + 1, ".") : 0,
             kind ? kind + 1 : "");
    if (kit->quick) {
        options.warmup = options.repeats = 1;
    }
    dlc_status status = plan ? kit_session(kit, plan, &on, &session) : DLC_ERROR_NOT_FOUND;
    if (status == DLC_OK) {
        status = dlc_bench(session, "infer", &options, &result);
    }
    if (status != DLC_OK) {
        kit_problem(kit, "%s: %s", path, dlc_last_error(kit->context));
    } else {
        note(name, "kernel", result.flops / result.median);
    }
    dlc_session_destroy(session);
    dlc_plan_destroy(plan);
}

void kit_ceilings(Kit *kit, const char *intrinsics, const char *out, char **plans, int n_plans) {
    static const struct {
        const char *kind;
        int32_t dtype, compute;
        double flops_a_warp;
    } rows[] = {
        {"f16", PLAN_F16, PLAN_COMPUTE_F32, 2 * 16 * 8 * 16},
        {"bf16", PLAN_BF16, PLAN_COMPUTE_F32, 2 * 16 * 8 * 16},
        {"tf32", PLAN_F32, PLAN_COMPUTE_TF32, 2 * 16 * 8 * 8},
        {"f32", PLAN_F32, PLAN_COMPUTE_F32, 2 * 4 * 32},
    };
    KitIntrinsics set;
    if (!kit_intrinsics_open(kit, intrinsics, &set)) {
        kit_intrinsics_close(&set);
        return;
    }
    char line[1024] = "";
    set.ops->describe(set.device, line, sizeof line);
    printf("\"device\": ");
    kit_text(line);
    copy_rate(kit, &set);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mma_rate(kit, &set, rows[i].kind, rows[i].flops_a_warp);
        library_rate(kit, &set, rows[i].kind, rows[i].dtype, rows[i].compute);
    }
    kit_intrinsics_close(&set);
    for (int i = 0; i < n_plans; i++) {
        kernel_rate(kit, plans[i]);
    }
    FILE *file = fopen(out, "w");
    for (int i = 0; i < N_PEAKS && file; i++) {
        fprintf(file, "%s %.6g\n", peaks[i].name, peaks[i].best);
    }
    if (!file || fclose(file) != 0) {
        kit_problem(kit, "%s is not written", out);
    }
}

double kit_ceiling(const Kit *kit, const char *kind) {
    FILE *file = kit->ceilings ? fopen(kit->ceilings, "r") : NULL;
    char name[16];
    double rate = 0, found = 0;
    while (file && fscanf(file, "%15s %lf", name, &rate) == 2) {
        found = strcmp(name, kind) == 0 ? rate : found;
    }
    if (file) {
        fclose(file);
    }
    return found;
}
