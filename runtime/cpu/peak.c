/* What this machine can do, measured: the denominators of a bench. */
#include "runtime/cpu/device.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum {
    PEAK_BYTES = 64 * 1024 * 1024,  /* a thread's part … */
    LEAST_BYTES = 256 * 1024 * 1024 /* … and of all: beyond the caches */
};

typedef uint64_t Line __attribute__((vector_size(64)));

typedef struct Peak Peak;

/* One thread of a measurement: when it worked, and sums that keep its work from being left out. */
typedef struct PeakThread {
    Peak *peak;
    pthread_t thread;
    double start, end;
    volatile float sum;
    volatile uint64_t lines;
    int number;
} PeakThread;

/* A measurement that several threads make at once. */
struct Peak {
    void (*work)(PeakThread *self);
    float (*loop)(int64_t rounds);
    int64_t rounds;
    const Line *lines; /* n_lines for each thread */
    size_t n_lines;
    PeakThread *threads;
    atomic_int n, arrived; /* n: how many take part; 0: not known yet */
};

static void *peak_thread(void *argument) {
    PeakThread *self = argument;
    atomic_fetch_add(&self->peak->arrived, 1);
    while (atomic_load(&self->peak->n) == 0 ||
           atomic_load(&self->peak->arrived) < atomic_load(&self->peak->n)) {
        sched_yield();
    }
    self->start = clock_seconds();
    self->peak->work(self);
    self->end = clock_seconds();
    return NULL;
}

/* On `threads` threads, the caller among them, or as many as the system gives; all begin when all
 * are there. Returns how many took part. */
static int peak_run(Peak *peak, int threads) {
    int n = 1;
    atomic_store(&peak->n, 0);
    atomic_store(&peak->arrived, 0);
    for (int i = 0; i < threads; i++) {
        peak->threads[i].peak = peak;
        peak->threads[i].number = i;
    }
    while (n < threads &&
           pthread_create(&peak->threads[n].thread, NULL, peak_thread, &peak->threads[n]) == 0) {
        n++;
    }
    atomic_store(&peak->n, n);
    peak_thread(&peak->threads[0]);
    for (int i = 1; i < n; i++) {
        pthread_join(peak->threads[i].thread, NULL);
    }
    return n;
}

#if defined(__x86_64__)
/* Here products and sums may be one instruction, which the rest of the library does without. */
#if defined(__clang__)
#define PEAK_CONTRACT _Pragma("clang fp contract(fast)")
#else
#define PEAK_CONTRACT
#pragma GCC push_options
#pragma GCC optimize("O3,fp-contract=fast")
#endif
#define PEAK_LOOP(name, isa, width)                                                                \
    __attribute__((target(isa))) static float name(int64_t rounds) {                               \
        PEAK_CONTRACT                                                                              \
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
PEAK_LOOP(peak_512, "avx512f,fma", 64)
PEAK_LOOP(peak_256, "avx2,fma", 32)
PEAK_LOOP(peak_128, "sse2", 16)
#if !defined(__clang__)
#pragma GCC pop_options
#endif
#endif

static void flops_work(PeakThread *self) {
    self->sum = self->peak->loop(self->peak->rounds);
}

double cpu_peak_flops(const dlc_allocator *allocator, int threads) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    Peak peak = {.work = flops_work, .loop = peak_128, .rounds = 1000000};
    double width = 4, best = 0;
    if (__builtin_cpu_supports("avx512f")) {
        peak.loop = peak_512;
        width = 16;
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        peak.loop = peak_256;
        width = 8;
    }
    peak.threads = memory_new(allocator, (size_t)threads, sizeof(PeakThread));
    /* Every thread times itself, so that one that has to wait for a core does not spoil the others.
     */
    for (int attempt = 0; peak.threads && attempt < 20; attempt++) {
        double rate = 0;
        int n = peak_run(&peak, threads);
        for (int i = 0; i < n; i++) {
            const PeakThread *thread = &peak.threads[i];
            rate += 24 * width * (double)peak.rounds / (thread->end - thread->start);
        }
        best = rate > best ? rate : best;
    }
    memory_free(allocator, peak.threads);
    return best;
#else
    (void)allocator;
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

static void bytes_work(PeakThread *self) {
    const Peak *peak = self->peak;
    self->lines = lines_sum(peak->lines + peak->n_lines * (size_t)self->number, peak->n_lines);
}

double cpu_peak_bytes(const dlc_allocator *allocator, int threads) {
    size_t part = LEAST_BYTES / (size_t)threads;
    part = (part > PEAK_BYTES ? part : PEAK_BYTES) / sizeof(Line);
    size_t bytes = part * sizeof(Line) * (size_t)threads;
    Line *memory = memory_new_aligned(allocator, bytes);
    Peak peak = {.work = bytes_work, .lines = memory, .n_lines = part};
    peak.threads = memory_new(allocator, (size_t)threads, sizeof(PeakThread));
    double best = 0;
    if (memory) {
        memset(memory, 1, bytes);
    }
    for (int attempt = 0; memory && peak.threads && attempt < 16; attempt++) {
        /* The threads share the memory: from the first one's start to the last one's end. */
        double start = INFINITY, end = 0;
        int n = peak_run(&peak, threads);
        for (int i = 0; i < n; i++) {
            start = fmin(start, peak.threads[i].start);
            end = fmax(end, peak.threads[i].end);
        }
        double rate = (double)(part * sizeof(Line)) * n / (end - start);
        best = rate > best ? rate : best;
    }
    memory_free(allocator, peak.threads);
    memory_free_aligned(allocator, memory);
    return best;
}
