/* A pool for launches of microseconds. The word holds the launch's number and how many of its
 * chunks nobody has taken; a chunk is claimed by compare-and-swap on the whole word, so a worker
 * that still looks at an earlier launch can claim nothing of a later one, and the launch's
 * description is only trusted after a claim succeeded. Workers spin briefly before they sleep. */
#include "runtime/cpu/pool.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SPINS = 1500, CHUNKS_PER_WORKER = 4 };

typedef struct Worker {
    CpuPool *pool;
    pthread_t thread;
    int number;
    int64_t fault_chunk; /* chunk of faults[number] when that is set */
} Worker;

struct CpuPool {
    const dlc_allocator *allocator;
    Worker *workers; /* [n]; 0 is the caller */
    int n, n_started;
    /* launch number << 32 | chunks not yet taken */
    _Atomic uint64_t word;
    _Atomic uint32_t n_done; /* chunks finished */
    /* The launch: written before the word, read after it. */
    _Atomic(KernelFunction) function;
    _Atomic(const DeviceLaunch *) launch;
    _Atomic(const CpuWorkers *) resources;
    _Atomic uint32_t n_chunks;
    atomic_int n_asleep;
    atomic_bool caller_asleep, stop;
    pthread_mutex_t mutex;
    pthread_cond_t work, finished;
};

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void chunk_run(CpuPool *pool, Worker *worker, uint32_t remaining) {
    const DeviceLaunch *launch = atomic_load_explicit(&pool->launch, memory_order_relaxed);
    const CpuWorkers *resources = atomic_load_explicit(&pool->resources, memory_order_relaxed);
    KernelFunction function = atomic_load_explicit(&pool->function, memory_order_relaxed);
    int64_t n = atomic_load_explicit(&pool->n_chunks, memory_order_relaxed);
    int64_t chunk = n - remaining;
    int64_t share = launch->tiles / n, rest = launch->tiles % n;
    int64_t first = share * chunk + (chunk < rest ? chunk : rest);
    int64_t last = first + share + (chunk < rest);
    KernelFault *fault = &resources->faults[worker->number];
    bool had_fault = fault->site != 0;
    KernelArgs args = {launch->buffers, launch->sizes, resources->scratch[worker->number], fault};
    function(&args, first, last);
    if (!had_fault && fault->site != 0) {
        worker->fault_chunk = chunk;
    }
    if (atomic_fetch_add(&pool->n_done, 1) + 1 == (uint32_t)n &&
        atomic_load(&pool->caller_asleep)) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_signal(&pool->finished);
        pthread_mutex_unlock(&pool->mutex);
    }
}

/* Takes and runs one chunk of the launch in `word`; false when none is left. */
static bool chunk_take(CpuPool *pool, Worker *worker) {
    uint64_t word = atomic_load_explicit(&pool->word, memory_order_acquire);
    while ((uint32_t)word > 0) {
        if (atomic_compare_exchange_weak_explicit(&pool->word, &word, word - 1,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            chunk_run(pool, worker, (uint32_t)word);
            return true;
        }
    }
    return false;
}

static void worker_sleep(CpuPool *pool) {
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->n_asleep, 1);
    while ((uint32_t)atomic_load(&pool->word) == 0 && !atomic_load(&pool->stop)) {
        pthread_cond_wait(&pool->work, &pool->mutex);
    }
    atomic_fetch_sub(&pool->n_asleep, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument) {
    Worker *worker = argument;
    CpuPool *pool = worker->pool;
    int idle = 0;
    while (!atomic_load_explicit(&pool->stop, memory_order_relaxed)) {
        if (chunk_take(pool, worker)) {
            idle = 0;
        } else if (++idle < SPINS) {
            pause_briefly();
        } else {
            worker_sleep(pool);
            idle = 0;
        }
    }
    return NULL;
}

dlc_status cpu_pool_create(const dlc_allocator *allocator, int *threads, CpuPool **out) {
    CpuPool *pool = memory_new(allocator, 1, sizeof(*pool));
    if (!pool) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    pool->allocator = allocator;
    pool->n = *threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->finished, NULL);
    pool->workers = memory_new(allocator, (size_t)pool->n, sizeof(Worker));
    if (!pool->workers) {
        cpu_pool_destroy(pool);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    for (int i = 0; i < pool->n; i++) {
        pool->workers[i] = (Worker){.pool = pool, .number = i};
    }
    for (int i = 1; i < *threads && pool->n_started == i - 1; i++) {
        Worker *worker = &pool->workers[i];
        pool->n_started += pthread_create(&worker->thread, NULL, worker_main, worker) == 0;
    }
    pool->n = *threads = pool->n_started + 1;
    if (pool->n == 1) {
        cpu_pool_destroy(pool);
        pool = NULL;
    }
    *out = pool;
    return DLC_OK;
}

void cpu_pool_destroy(CpuPool *pool) {
    if (!pool) {
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 1; i <= pool->n_started; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->finished);
    pthread_mutex_destroy(&pool->mutex);
    memory_free(pool->allocator, pool->workers);
    memory_free(pool->allocator, pool);
}

int64_t cpu_pool_bytes(const CpuPool *pool) {
    return (int64_t)(sizeof(*pool) + (size_t)pool->n * sizeof(Worker));
}

static void wait_done(CpuPool *pool, uint32_t n_chunks) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&pool->n_done, memory_order_acquire) == n_chunks) {
            return;
        }
        pause_briefly();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_asleep, true);
    while (atomic_load(&pool->n_done) != n_chunks) {
        pthread_cond_wait(&pool->finished, &pool->mutex);
    }
    atomic_store(&pool->caller_asleep, false);
    pthread_mutex_unlock(&pool->mutex);
}

/* The lowest faulting chunk's fault goes to faults[0]: a worker takes chunks in increasing order
 * and keeps its first fault, so the lowest one of all is among those kept. */
static void faults_merge(CpuPool *pool, const CpuWorkers *resources) {
    int best = -1;
    for (int i = 0; i < pool->n; i++) {
        if (resources->faults[i].site != 0 &&
            (best < 0 || pool->workers[i].fault_chunk < pool->workers[best].fault_chunk)) {
            best = i;
        }
    }
    if (best < 0) {
        return;
    }
    KernelFault first = resources->faults[best];
    for (int i = 0; i < pool->n; i++) {
        resources->faults[i] = (KernelFault){0};
    }
    resources->faults[0] = first;
}

void cpu_pool_run(CpuPool *pool, KernelFunction function, const DeviceLaunch *launch,
                  const CpuWorkers *workers) {
    int64_t most = (int64_t)pool->n * CHUNKS_PER_WORKER;
    uint32_t n_chunks = (uint32_t)(launch->tiles < most ? launch->tiles : most);
    atomic_store_explicit(&pool->function, function, memory_order_relaxed);
    atomic_store_explicit(&pool->launch, launch, memory_order_relaxed);
    atomic_store_explicit(&pool->resources, workers, memory_order_relaxed);
    atomic_store_explicit(&pool->n_chunks, n_chunks, memory_order_relaxed);
    atomic_store_explicit(&pool->n_done, 0, memory_order_relaxed);
    uint64_t number = (atomic_load_explicit(&pool->word, memory_order_relaxed) >> 32) + 1;
    atomic_store(&pool->word, number << 32 | n_chunks);
    if (atomic_load(&pool->n_asleep) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->mutex);
    }
    while (chunk_take(pool, &pool->workers[0])) {
    }
    wait_done(pool, n_chunks);
    faults_merge(pool, workers);
}
