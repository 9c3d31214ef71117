/* The pool of threads, with kernels of C: what runs here a thread sanitizer sees, which it does not
 * of compiled kernels (scripts/sanitize.sh). Each launch reads what another thread wrote in the
 * launch before, and the caller writes in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/context.h"
#include "runtime/cpu/pool.h"
#include "tests/unit/plain_allocator.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { THREADS = 4, ELEMENTS = 512, LAUNCHES = 3000, POOLS = 3 };

typedef struct Job {
    CpuPool *pool;
    CpuWorkers workers;
    uint8_t *scratch[THREADS];
    KernelFault faults[THREADS];
    int64_t a[ELEMENTS], b[ELEMENTS];
} Job;

static bool job_open(Job *job) {
    int threads = THREADS;
    memset(job, 0, sizeof(*job));
    if (cpu_pool_create(&plain_allocator, &threads, &job->pool) != DLC_OK || threads != THREADS) {
        return false;
    }
    for (int i = 0; i < THREADS; i++) {
        job->scratch[i] = calloc(64, 1);
    }
    job->workers = (CpuWorkers){threads, job->scratch, job->faults, job->pool};
    return true;
}

static void job_close(Job *job) {
    cpu_pool_destroy(job->pool);
    for (int i = 0; i < THREADS; i++) {
        free(job->scratch[i]);
    }
}

static void pause_for(long microseconds) {
    struct timespec time = {0, microseconds * 1000};
    nanosleep(&time, NULL);
}

/* Elements of a tile, of `tiles` in all. */
static void tile_range(const KernelArgs *args, int64_t tile, int64_t *first, int64_t *last) {
    *first = ELEMENTS * tile / args->sizes[0];
    *last = ELEMENTS * (tile + 1) / args->sizes[0];
}

/* to[i] = from[ELEMENTS - 1 - i] + 1; every worker counts its tiles in its own scratch. */
static void kernel_mirror(const KernelArgs *args, int64_t first, int64_t last) {
    const int64_t *from = args->buffers[0];
    int64_t *to = args->buffers[1], *count = (int64_t *)(void *)args->scratch;
    for (int64_t tile = first; tile < last; tile++) {
        int64_t begin, end;
        tile_range(args, tile, &begin, &end);
        for (int64_t i = begin; i < end; i++) {
            to[i] = from[ELEMENTS - 1 - i] + 1;
        }
        ++*count;
    }
}

/* Long enough for the others to fall asleep. */
static void kernel_slow(const KernelArgs *args, int64_t first, int64_t last) {
    pause_for(200);
    kernel_mirror(args, first, last);
}

/* Tile t is at fault from sizes[1] on, every third one. */
static void kernel_faulty(const KernelArgs *args, int64_t first, int64_t last) {
    for (int64_t tile = first; tile < last; tile++) {
        if (tile >= args->sizes[1] && tile % 3 == 0 && args->fault->site == 0) {
            *args->fault = (KernelFault){.site = 1 + tile, .value = tile, .bound = args->sizes[1]};
        }
    }
    kernel_mirror(args, first, last);
}

static void launch(Job *job, KernelFunction function, int64_t tiles, int64_t from_tile) {
    bool back = job->a[0] > job->b[0];
    void *forth[] = {job->a, job->b}, *return_[] = {job->b, job->a};
    int64_t sizes[] = {tiles, from_tile};
    DeviceLaunch description = {
        .buffers = back ? forth : return_, .sizes = sizes, .tiles = tiles, .work = 1e9};
    cpu_pool_run(job->pool, function, &description, &job->workers);
}

static int64_t count_wrong(const Job *job, int64_t wanted) {
    const int64_t *last = job->a[0] > job->b[0] ? job->a : job->b;
    int64_t wrong = 0;
    for (int i = 0; i < ELEMENTS; i++) {
        wrong += last[i] != wanted;
    }
    return wrong;
}

static int64_t tiles_done(const Job *job) {
    int64_t done = 0;
    for (int i = 0; i < THREADS; i++) {
        int64_t count;
        memcpy(&count, job->scratch[i], sizeof(count));
        done += count;
    }
    return done;
}

/* -- One pool */

static int64_t run_many(Job *job, int64_t launches) {
    int64_t tiles = 0;
    for (int64_t i = 0; i < launches; i++) {
        int64_t n = 1 + i * 7 % 67;
        launch(job, kernel_mirror, n, 0);
        tiles += n;
        if (i % 5 == 0) { /* the caller's own work, between launches */
            int64_t *last = job->a[0] > job->b[0] ? job->a : job->b;
            for (int k = 0; k < ELEMENTS; k++) {
                last[k]++;
            }
        }
    }
    return tiles;
}

static void test_launches(void **state) {
    (void)state;
    Job *job = malloc(sizeof(*job));
    assert_true(job_open(job));
    int64_t tiles = run_many(job, LAUNCHES);
    assert_int_equal(count_wrong(job, LAUNCHES + LAUNCHES / 5), 0);
    assert_int_equal(tiles_done(job), tiles);
    job_close(job);
    free(job);
}

/* Workers that sleep are woken; a caller that sleeps is. */
static void test_sleep(void **state) {
    (void)state;
    Job *job = malloc(sizeof(*job));
    assert_true(job_open(job));
    for (int i = 0; i < 40; i++) {
        launch(job, kernel_slow, 1 + i % 9, 0);
        pause_for(i % 3 * 1000);
    }
    assert_int_equal(count_wrong(job, 40), 0);
    job_close(job);
    free(job);
}

/* The fault that is told is the lowest tile's, whoever met it. */
static void test_faults(void **state) {
    (void)state;
    Job *job = malloc(sizeof(*job));
    assert_true(job_open(job));
    for (int64_t i = 0; i < 600; i++) {
        int64_t tiles = 20 + i % 50, from = i % 25, lowest = (from + 2) / 3 * 3;
        launch(job, kernel_faulty, tiles, from);
        assert_int_equal(job->faults[0].site, lowest < tiles ? lowest + 1 : 0);
        for (int k = 1; k < THREADS; k++) {
            assert_int_equal(job->faults[k].site, 0);
        }
        job->faults[0] = (KernelFault){0};
    }
    job_close(job);
    free(job);
}

/* -- Several at once, and short-lived ones */

static void *pool_main(void *argument) {
    Job *job = argument;
    if (!job_open(job)) {
        return NULL;
    }
    run_many(job, LAUNCHES / 10);
    int64_t wrong = count_wrong(job, LAUNCHES / 10 + LAUNCHES / 50);
    job_close(job);
    for (int i = 0; i < 20; i++) { /* ended before its workers have begun */
        int threads = THREADS;
        CpuPool *pool = NULL;
        if (cpu_pool_create(&plain_allocator, &threads, &pool) != DLC_OK) {
            return NULL;
        }
        cpu_pool_destroy(pool);
    }
    return wrong == 0 ? job : NULL;
}

static void test_pools(void **state) {
    (void)state;
    Job *jobs = calloc(POOLS, sizeof(*jobs));
    pthread_t threads[POOLS];
    for (int i = 0; i < POOLS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, pool_main, &jobs[i]), 0);
    }
    for (int i = 0; i < POOLS; i++) {
        void *done = NULL;
        assert_int_equal(pthread_join(threads[i], &done), 0);
        assert_ptr_equal(done, &jobs[i]);
    }
    free(jobs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_launches),
        cmocka_unit_test(test_sleep),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_pools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
