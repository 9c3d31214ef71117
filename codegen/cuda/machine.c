/* NVIDIA GPUs as Machines, one row an architecture. Counts and speeds are nominal, of the card
 * named beside them: they steer choices, results never depend on them. */
#include "codegen/cuda/compile.h"
#include <stdio.h>
#include <string.h>

enum { KILO = 1024, MAX_ROWS_TEXT = 256, BLOCK_THREADS = 256, WARP = 32, FIRST_TF32 = 80 };
/* Of the 48 KiB that a kernel has without asking for more: two tiles fit on every card. */
enum { SHARED_PLAIN = 44 * KILO };

static const struct {
    const char *name;
    int32_t sm, processors;
    int32_t shared_kilobytes; /* that one block may have */
    bool has_bf16;
    bool usual; /* compiled for when no GPU is present and none is named */
    int32_t tile_f32[2], tile_f64[2];
    double flops, bytes; /* f32 outside tensor cores, and memory, a second */
} rows[] = {
    {"sm_75", 75, 40, 64, false, false, {64, 64}, {32, 32}, 8.1e12, 0.32e12},      /* T4 */
    {"sm_80", 80, 108, 163, true, true, {128, 128}, {32, 32}, 19.5e12, 2.0e12},    /* A100 */
    {"sm_86", 86, 82, 99, true, false, {128, 128}, {32, 32}, 35.6e12, 0.94e12},    /* RTX 3090 */
    {"sm_89", 89, 128, 99, true, false, {128, 128}, {32, 32}, 82.6e12, 1.0e12},    /* RTX 4090 */
    {"sm_90", 90, 132, 227, true, true, {128, 128}, {32, 32}, 66.9e12, 3.35e12},   /* H100 */
    {"sm_100", 100, 148, 227, true, true, {128, 128}, {32, 32}, 74.5e12, 8.0e12},  /* B200 */
    {"sm_120", 120, 170, 99, true, true, {128, 128}, {32, 32}, 104.8e12, 1.79e12}, /* RTX 5090
                                                                                    */
};
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

static const BlockShapes shapes = {.move_bytes = 16,
                                   .step_bytes = 64,
                                   .half_step_bytes = 128,
                                   .attention_rows = 64,
                                   .least_sum_chunk = 2048,
                                   .most_sum_chunk = 65536,
                                   .column_width = 32,
                                   .column_rows = 8,
                                   .column_work = 8192,
                                   .scatter_blocks = 1024,
                                   .long_row = 4096,
                                   .staged_row = 4096,
                                   .staged_bytes = 4e6};

int32_t cudac_registers(int32_t sm) {
    (void)sm; /* the same since sm_50 */
    return 64 * KILO;
}

static void rows_text(char out[MAX_ROWS_TEXT]) {
    size_t at = 0;
    for (int i = 0; i < N_ROWS && at < MAX_ROWS_TEXT; i++) {
        at += (size_t)snprintf(out + at, MAX_ROWS_TEXT - at, "%s%s", i ? ", " : "", rows[i].name);
    }
}

dlc_status cudac_describe(const char *option, Arena *arena, Machine *out, char *message) {
    (void)arena;
    int row = -1;
    for (int i = 0; i < N_ROWS && option; i++) {
        row = strcmp(rows[i].name, option) == 0 ? i : row;
    }
    if (row < 0) {
        char names[MAX_ROWS_TEXT];
        rows_text(names);
        snprintf(message, CUDA_MESSAGE_BYTES, "unknown GPU architecture '%.64s'; accepted: %s",
                 option ? option : "", names);
        return DLC_ERROR_UNSUPPORTED;
    }
    *out = (Machine){.target = "cuda",
                     .name = rows[row].name,
                     .features = rows[row].has_bf16 ? "f16,bf16" : "f16",
                     .vector_bytes = 16,
                     .tile_rows_f32 = rows[row].tile_f32[0],
                     .tile_columns_f32 = rows[row].tile_f32[1],
                     .tile_rows_f64 = rows[row].tile_f64[0],
                     .tile_columns_f64 = rows[row].tile_f64[1],
                     .l1_bytes = (int64_t)rows[row].shared_kilobytes * KILO,
                     .threads = BLOCK_THREADS,
                     .lanes = WARP,
                     .shared_bytes = (int64_t)rows[row].shared_kilobytes * KILO,
                     .shared_plain = SHARED_PLAIN,
                     .processors = rows[row].processors,
                     .column_tile = 256,
                     .block = shapes,
                     .fusion = machine_usual_fusion(),
                     .architecture = rows[row].sm,
                     .has_bf16 = rows[row].has_bf16,
                     .has_f16 = true,
                     .has_tf32 = rows[row].sm >= FIRST_TF32,
                     .precise_from = "cuda:sm_80",
                     .has_libraries = true,
                     .matmul_worth = {.side = 32, .work = 1 << 21},
                     .convolution_worth = {.depth = 16, .channels = 8, .work = 1 << 21},
                     .launch_seconds = 1e-7,
                     .merges_kernels = true,
                     .group_words = CUDA_GROUP_WORDS,
                     /* Copies within the card share its memory's bandwidth with kernels, and most
                      * are small: an event costs what such a copy does. A second queue would gain
                      * where kernels are bound by arithmetic; that is to be measured. */
                     .queues = 1,
                     .flops_per_second = rows[row].flops,
                     .bytes_per_second = rows[row].bytes};
    return DLC_OK;
}

/* -- the GPUs of this machine */

enum { COMPUTE_MAJOR = 75, COMPUTE_MINOR = 76, MAX_GPUS = 64 };

typedef struct Driver {
    int (*init)(unsigned flags);
    int (*count)(int *out);
    int (*get)(int *out, int number);
    int (*attribute)(int *out, int attribute, int device);
} Driver;

static bool driver_open(Driver *driver) {
    static const char *const sonames[] = {"libcuda.so.1"};
    static const char *const names[] = {"cuInit", "cuDeviceGetCount", "cuDeviceGet",
                                        "cuDeviceGetAttribute"};
    void *library = cudac_library(sonames, 1);
    void *symbols[4] = {NULL};
    for (int i = 0; i < 4; i++) {
        symbols[i] = library ? cudac_symbol(library, names[i]) : NULL;
        if (!symbols[i]) {
            return false;
        }
    }
    memcpy(&driver->init, &symbols[0], sizeof(void *));
    memcpy(&driver->count, &symbols[1], sizeof(void *));
    memcpy(&driver->get, &symbols[2], sizeof(void *));
    memcpy(&driver->attribute, &symbols[3], sizeof(void *));
    return true;
}

/* The row whose code the GPU runs best: of its own generation, not newer than it; a generation
 * without rows takes the newest older one, whose PTX it compiles. */
static int row_for(int major, int minor) {
    int best = -1;
    for (int i = 0; i < N_ROWS; i++) {
        best = rows[i].sm <= major * 10 + minor ? i : best;
    }
    return best;
}

static void rows_present(bool present[N_ROWS]) {
    Driver driver;
    int n = 0;
    if (!driver_open(&driver) || driver.init(0) != 0 || driver.count(&n) != 0) {
        return;
    }
    for (int i = 0; i < n && i < MAX_GPUS; i++) {
        int device = 0, major = 0, minor = 0;
        if (driver.get(&device, i) == 0 && driver.attribute(&major, COMPUTE_MAJOR, device) == 0 &&
            driver.attribute(&minor, COMPUTE_MINOR, device) == 0) {
            int row = row_for(major, minor);
            if (row >= 0) {
                present[row] = true;
            }
        }
    }
}

int32_t cudac_expand(const char *option, const char **out, int32_t capacity) {
    bool chosen[N_ROWS] = {false};
    if (option && *option) {
        out[0] = option;
        return 1;
    }
    rows_present(chosen);
    bool any = false;
    for (int i = 0; i < N_ROWS; i++) {
        any = any || chosen[i];
    }
    int32_t n = 0;
    for (int i = 0; i < N_ROWS && n < capacity; i++) {
        if (any ? chosen[i] : rows[i].usual) {
            out[n++] = rows[i].name;
        }
    }
    return n;
}
