/* The transport between processes (runtime/comm/tcp/). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/comm/tcp/tcp.h"
#include "tests/comm/suite.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void test_random(void **state) {
    (void)state;
    suite_random(&transport_tcp, 100, 60);
    Transport six = transport_tcp;
    six.six = true;
    suite_random(&six, 6, 9000);
}

static void test_sequence(void **state) {
    (void)state;
    suite_sequence(&transport_tcp, 200);
}

static void test_abort(void **state) {
    (void)state;
    suite_abort(&transport_tcp, 40);
}

static void test_mismatch(void **state) {
    (void)state;
    suite_mismatch(&transport_tcp);
}

static void test_circle(void **state) {
    (void)state;
    Transport transport = transport_tcp;
    transport.silence = 2;
    suite_circle(&transport);
}

static void test_gone(void **state) {
    (void)state;
    suite_gone(&transport_tcp);
}

static void test_stall(void **state) {
    (void)state;
    Transport transport = transport_tcp;
    transport.timeout = 0.3;
    suite_stall(&transport);
}

static void test_patience(void **state) {
    (void)state;
    Transport transport = transport_tcp;
    transport.silence = 5; /* beats follow each other in a fifth of it */
    suite_patience(&transport, 1600000);
}

static void test_malformed(void **state) {
    (void)state;
    suite_malformed(&transport_tcp);
}

/* -- Ranks that die or stop, in the middle of sums of 1 MiB. */

static void body_fault(Rank *rank) {
    enum { ELEMENTS = 1 << 18 };
    uint64_t shared = rank->seed;
    int32_t victim = (int32_t)random_below(&shared, rank->n);
    int64_t calls = random_below(&shared, 20);
    float *in = calloc(ELEMENTS, sizeof(float)), *out = calloc(ELEMENTS, sizeof(float));
    CommBuffer buffer = {
        .in = in, .out = out, .dtype = PLAN_F32, .outer = 1, .rows = ELEMENTS, .unit = 1};
    CommCall call = {.kind = COMM_ALL_REDUCE, .buffers = &buffer, .n_buffers = 1};
    dlc_status status = DLC_OK;
    for (int64_t i = 0; i < 100000 && status == DLC_OK; i++) {
        CommRequest *request;
        status = comm_start(rank->comm, &call, &request);
        if (rank->rank == victim && i == calls) {
            rank->dies = rank->number == SIGKILL;
            rank->stops = rank->number == SIGSTOP;
            rank->when = clock_seconds();
            kill(getpid(), rank->number);
        }
        status = status == DLC_OK ? comm_wait(rank->comm, request) : status;
    }
    double took = clock_seconds() - rank->all[victim].when;
    char name[32];
    snprintf(name, sizeof(name), "rank %d (host ", victim);
    rank_expect(rank, status == DLC_ERROR_IO && strstr(rank->comm->error, name),
                "status %d, '%s', expected one that names %s", (int)status, rank->comm->error,
                name);
    rank_expect(rank, took < 10, "known after %.2f s", took);
    free(in);
    free(out);
}

static void test_kill(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        ranks_run(&transport_tcp, 2 + i % 7, (uint64_t)i, SIGKILL, body_fault);
    }
}

static void test_stop(void **state) {
    (void)state;
    Transport transport = transport_tcp;
    transport.silence = 1;
    for (int i = 0; i < 6; i++) {
        ranks_run(&transport, 2 + i % 4, (uint64_t)i, SIGSTOP, body_fault);
    }
}

static void body_once(Rank *rank) {
    CommCall call = {.kind = COMM_BARRIER};
    rank_expect(rank, comm_run(rank->comm, &call) == DLC_OK, "barrier: %s", rank->comm->error);
}

static void test_starts_and_stops(void **state) {
    (void)state;
    int n = getenv("DLC_SANITIZED") ? 50 : 1000;
    for (int i = 0; i < n; i++) {
        ranks_run(&transport_tcp, 2, 1, 0, body_once);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),    cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_abort),     cmocka_unit_test(test_mismatch),
        cmocka_unit_test(test_circle),    cmocka_unit_test(test_gone),
        cmocka_unit_test(test_stall),     cmocka_unit_test(test_patience),
        cmocka_unit_test(test_malformed), cmocka_unit_test(test_kill),
        cmocka_unit_test(test_stop),      cmocka_unit_test(test_starts_and_stops),
    };
    return cmocka_run_group_tests_name("comm tcp", tests, NULL, NULL);
}
