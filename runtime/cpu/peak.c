/* What this machine can do, measured: the denominators of a bench. */
#include "runtime/cpu/device.h"

#include <math.h>
#include <omp.h>

enum {
    PEAK_BYTES = 64 * 1024 * 1024,  /* a thread's part … */
    LEAST_BYTES = 256 * 1024 * 1024 /* … and of all: beyond the caches */
};

typedef uint64_t Line __attribute__((vector_size(64)));

#if defined(__x86_64__)
#define PEAK_LOOP(name, isa, width)                                                                \
    __attribute__((target(isa))) static float name(int64_t rounds) {                               \
        typedef float Vector __attribute__((vector_size(width)));                                  \
        Vector sums[12], scale = {0}, step = {0};                                                  \
        scale += 0.999f;                                                                           \
        step += 1e-3f;                                                                             \
        for (int i = 0; i < 12; i++) {                                                             \
            sums[i] = step * (float)i;                                                             \
        }                                                                                          \
        for (int64_t r = 0; r < rounds; r++) {                                                     \
            _Pragma("GCC unroll 12") for (int i = 0; i < 12; i++) {                                \
                sums[i] = sums[i] * scale + step;                                                  \
            }                                                                                      \
        }                                                                                          \
        float total = 0;                                                                           \
        for (int i = 0; i < 12; i++) {                                                             \
            total += sums[i][0];                                                                   \
        }                                                                                          \
        return total;                                                                              \
    }
#pragma GCC push_options
#pragma GCC optimize("O3,fp-contract=fast")
PEAK_LOOP(peak_512, "avx512f,fma", 64)
PEAK_LOOP(peak_256, "avx2,fma", 32)
PEAK_LOOP(peak_128, "sse2", 16)
#pragma GCC pop_options
#endif

double cpu_peak_flops(int threads) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    float (*loop)(int64_t) = peak_128;
    double width = 4;
    if (__builtin_cpu_supports("avx512f")) {
        loop = peak_512;
        width = 16;
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        loop = peak_256;
        width = 8;
    }
    int64_t rounds = 1000000;
    double best = 0;
    /* Every thread times itself, so that one that has to wait for a core does not spoil the others.
     */
    for (int attempt = 0; attempt < 20; attempt++) {
        double rate = 0;
        volatile float sink = 0;
#pragma omp parallel num_threads(threads) reduction(+ : rate)
        {
            double start = clock_seconds();
            float total = loop(rounds);
            rate += 24 * width * (double)rounds / (clock_seconds() - start);
#pragma omp critical
            sink += total;
        }
        best = rate > best ? rate : best;
    }
    return best;
#else
    (void)threads;
    return 0;
#endif
}

/* Reads `n` lines. Eight sums at once: one would wait for its own additions, not for memory. */
static uint64_t lines_sum(const Line *lines, size_t n) {
    Line sums[8] = {{0}};
    for (size_t i = 0; i + 8 <= n; i += 8) {
        _Pragma("GCC unroll 8") for (size_t j = 0; j < 8; j++) {
            sums[j] += lines[i + j];
        }
    }
    for (size_t j = 1; j < 8; j++) {
        sums[0] += sums[j];
    }
    uint64_t total = 0;
    for (size_t j = 0; j < sizeof(Line) / sizeof(uint64_t); j++) {
        total += sums[0][j];
    }
    return total;
}

double cpu_peak_bytes(const dlc_allocator *allocator, int threads) {
    size_t part = LEAST_BYTES / (size_t)threads;
    part = (part > PEAK_BYTES ? part : PEAK_BYTES) / sizeof(Line);
    size_t bytes = part * sizeof(Line) * (size_t)threads;
    Line *memory = memory_new_aligned(allocator, bytes);
    if (!memory) {
        return 0;
    }
    memset(memory, 1, bytes);
    double best = 0;
    volatile uint64_t sink = 0;
    for (int attempt = 0; attempt < 16; attempt++) {
        /* The threads share the memory: from the first one's start to the last one's end. */
        double start = INFINITY, end = 0;
#pragma omp parallel num_threads(threads) reduction(min : start) reduction(max : end)
        {
            const Line *own = memory + part * (size_t)omp_get_thread_num();
#pragma omp barrier
            start = clock_seconds();
            uint64_t total = lines_sum(own, part);
            end = clock_seconds();
#pragma omp critical
            sink += total;
        }
        double rate = (double)bytes / (end - start);
        best = rate > best ? rate : best;
    }
    memory_free_aligned(allocator, memory);
    return best;
}
