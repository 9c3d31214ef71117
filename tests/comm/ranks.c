/* Ranks, and threads that are ranks (ranks.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/comm/local/local.h"
#include "tests/comm/ranks.h"
#include "tests/unit/plain_allocator.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

typedef struct Thread {
    pthread_t thread;
    Rank *rank;
    RankBody body;
} Thread;

static void *thread_main(void *argument) {
    Thread *thread = argument;
    thread->body(thread->rank);
    comm_close(thread->rank->comm);
    return NULL;
}

static void run_threads(const Transport *transport, Rank *ranks, int32_t n, RankBody body) {
    Comm *ends[MOST_RANKS];
    Thread threads[MOST_RANKS];
    assert_int_equal(comm_local_create(&plain_allocator, n, transport->timeout, ends), DLC_OK);
    for (int32_t i = 0; i < n; i++) {
        ranks[i].comm = ends[i];
        threads[i] = (Thread){.rank = &ranks[i], .body = body};
        assert_int_equal(pthread_create(&threads[i].thread, NULL, thread_main, &threads[i]), 0);
    }
    for (int32_t i = 0; i < n; i++) {
        pthread_join(threads[i].thread, NULL);
    }
}

const Transport transport_local = {.name = "local", .run = run_threads};

void ranks_run(const Transport *transport, int32_t n, uint64_t seed, int number, RankBody body) {
    Rank *ranks = mmap(NULL, MOST_RANKS * sizeof(Rank), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(ranks != MAP_FAILED);
    for (int32_t i = 0; i < n; i++) {
        ranks[i].all = ranks;
        ranks[i].rank = i;
        ranks[i].n = n;
        ranks[i].seed = seed;
        ranks[i].number = number;
    }
    transport->run(transport, ranks, n, body);
    for (int32_t i = 0; i < n; i++) {
        if (ranks[i].problem[0]) {
            fail_msg("%s, rank %d of %d, seed %llu, number %d: %s", transport->name, i, n,
                     (unsigned long long)seed, number, ranks[i].problem);
        }
    }
    munmap(ranks, MOST_RANKS * sizeof(Rank));
}

static void *counted_alloc(void *user, size_t bytes) {
    ++*(int *)user;
    return malloc(bytes);
}

static void counted_free(void *user, void *memory) {
    --*(int *)user;
    free(memory);
}

dlc_allocator rank_allocator(int *held) {
    return (dlc_allocator){counted_alloc, counted_free, held};
}

bool rank_expect(Rank *rank, bool holds, const char *format, ...) {
    if (!holds && !rank->problem[0]) {
        va_list args;
        va_start(args, format);
        vsnprintf(rank->problem, sizeof(rank->problem), format, args);
        va_end(args);
    }
    return !rank->problem[0];
}
