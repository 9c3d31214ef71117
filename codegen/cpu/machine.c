/* The CPU as a Machine: the x86-64 levels by name, and this host mapped to its features. The
 * register tiles leave room for one row of B and a broadcast: AVX2 6 x 16 floats is 12 + 2 + 1 of
 * 16 registers, AVX-512 14 x 32 is 28 + 2 + 1 of 32. */
#include "codegen/cpu/emit.h"
#include <llvm-c/TargetMachine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FEATURES_V2 "+cx16,+sahf,+popcnt,+sse3,+sse4.1,+sse4.2,+ssse3"
#define FEATURES_V3 FEATURES_V2 ",+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe"
#define FEATURES_V4 FEATURES_V3 ",+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"

static const struct {
    const char *name, *features;
    Machine machine;
} levels[] = {
    {"x86-64-v2",
     FEATURES_V2,
     {.vector_bytes = 16,
      .tile_rows_f32 = 6,
      .tile_columns_f32 = 8,
      .tile_rows_f64 = 6,
      .tile_columns_f64 = 4,
      .flops_per_second = 2e10}},
    {"x86-64-v3",
     FEATURES_V3,
     {.vector_bytes = 32,
      .tile_rows_f32 = 6,
      .tile_columns_f32 = 16,
      .tile_rows_f64 = 6,
      .tile_columns_f64 = 8,
      .flops_per_second = 8e10}},
    {"x86-64-v4",
     FEATURES_V4,
     {.vector_bytes = 64,
      .tile_rows_f32 = 14,
      .tile_columns_f32 = 32,
      .tile_rows_f64 = 14,
      .tile_columns_f64 = 16,
      .flops_per_second = 1.6e11}},
};
enum { N_LEVELS = sizeof(levels) / sizeof(levels[0]) };

static bool list_has(const char *list, const char *item, size_t length) {
    for (const char *at = list; at && *at;) {
        const char *end = strchr(at, ',');
        size_t n = end ? (size_t)(end - at) : strlen(at);
        if (n == length && strncmp(at, item, n) == 0) {
            return true;
        }
        at = end ? end + 1 : NULL;
    }
    return false;
}

bool cpu_has_feature(const Machine *machine, const char *feature) {
    char item[32];
    int n = snprintf(item, sizeof(item), "+%s", feature);
    return list_has(machine->features, item, (size_t)n);
}

static bool list_covers(const char *host, const char *needed) {
    for (const char *at = needed; at && *at;) {
        const char *end = strchr(at, ',');
        size_t n = end ? (size_t)(end - at) : strlen(at);
        if (!list_has(host, at, n)) {
            return false;
        }
        at = end ? end + 1 : NULL;
    }
    return true;
}

/* The highest level whose features this host has; -1: below x86-64-v2. */
static int host_level(void) {
    char *features = LLVMGetHostCPUFeatures();
    int level = -1;
    for (int i = 0; i < N_LEVELS; i++) {
        if (list_covers(features, levels[i].features)) {
            level = i;
        }
    }
    LLVMDisposeMessage(features);
    return level;
}

dlc_status cpu_describe(const char *option, Arena *arena, Machine *out, char *message) {
    int level = -1;
    if (!option || !*option || strcmp(option, "native") == 0) {
        level = host_level();
        if (level < 0) {
            snprintf(
                message, CPU_MESSAGE_BYTES,
                "this processor is below x86-64-v2; accepted: x86-64-v2, x86-64-v3, x86-64-v4");
            return DLC_ERROR_UNSUPPORTED;
        }
    } else {
        for (int i = 0; i < N_LEVELS; i++) {
            if (strcmp(option, levels[i].name) == 0) {
                level = i;
            }
        }
    }
    if (level < 0) {
        snprintf(message, CPU_MESSAGE_BYTES,
                 "unknown processor '%s'; accepted: native, x86-64-v2, x86-64-v3, x86-64-v4",
                 option);
        return DLC_ERROR_UNSUPPORTED;
    }
    *out = levels[level].machine;
    out->target = "cpu";
    out->name = arena_strdup(arena, levels[level].name);
    out->features = arena_strdup(arena, levels[level].features);
    out->l1_bytes = 32 * 1024;
    out->block_rows = 144;
    out->block_columns = 384;
    out->block_depth = 256;
    out->wanted_tiles = 16;
    out->launch_seconds = 1e-7;
    out->bytes_per_second = 2e10;
    out->threads = out->lanes = 1;
    out->queues = 1; /* all threads work on each kernel; a copy beside it would take one away */
    out->column_tile = 256;
    out->worker = machine_usual_worker();
    out->fusion = machine_usual_fusion();
    return DLC_OK;
}
