/* The transport between processes (runtime/comm/tcp/): test_comm_tcp [sockets] [--long]. On one
 * host they share memory; with `sockets` they do not. --long: starts and stops alone, many. */
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

static const Transport *usual = &transport_tcp;

static void test_random(void **state) {
    (void)state;
    suite_random(usual, 100, 60);
    Transport six = *usual;
    six.six = true;
    suite_random(&six, 6, 9000);
}

static void test_sequence(void **state) {
    (void)state;
    suite_sequence(usual, 200);
}

static void test_ahead(void **state) {
    (void)state;
    suite_ahead(usual, 12);
}

static void test_abort(void **state) {
    (void)state;
    suite_abort(usual, 40);
}

static void test_mismatch(void **state) {
    (void)state;
    suite_mismatch(usual);
}

static void test_circle(void **state) {
    (void)state;
    Transport transport = *usual;
    transport.silence = 2;
    suite_circle(&transport);
}

static void test_gone(void **state) {
    (void)state;
    suite_gone(usual);
}

static void test_stall(void **state) {
    (void)state;
    Transport transport = *usual;
    transport.timeout = 0.3;
    suite_stall(&transport);
}

static void test_patience(void **state) {
    (void)state;
    Transport transport = *usual;
    transport.silence = 5; /* beats follow each other in a fifth of it */
    suite_patience(&transport, 1600000);
}

static void test_malformed(void **state) {
    (void)state;
    suite_malformed(usual);
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
        ranks_run(usual, 2 + i % 7, (uint64_t)i, SIGKILL, body_fault);
    }
}

static void test_stop(void **state) {
    (void)state;
    Transport transport = *usual;
    transport.silence = 1;
    for (int i = 0; i < 6; i++) {
        ranks_run(&transport, 2 + i % 4, (uint64_t)i, SIGSTOP, body_fault);
    }
}

static void body_once(Rank *rank) {
    CommCall call = {.kind = COMM_BARRIER};
    rank_expect(rank, comm_run(rank->comm, &call) == DLC_OK, "barrier: %s", rank->comm->error);
}

static void starts_and_stops(const Transport *transport, int n) {
    for (int i = 0; i < n; i++) {
        ranks_run(transport, 2, 1, 0, body_once);
    }
}

static void test_starts_and_stops(void **state) {
    (void)state;
    starts_and_stops(usual, 50);
}

static void test_many_starts(void **state) {
    (void)state;
    starts_and_stops(&transport_tcp, 1000);
    starts_and_stops(&transport_sockets, 1000);
}

/* -- Memory that the ranks share. */

/* Whether a file of such a name is mapped: a pair's memory is one. */
static int count_mapped(const char *name) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    int n = 0;
    while (maps && fgets(line, sizeof(line), maps)) {
        n += strstr(line, name) != NULL;
    }
    if (maps) {
        fclose(maps);
    }
    return n;
}

/* number: pairs of which this rank's data go through memory. */
static void body_memory(Rank *rank) {
    body_once(rank);
    int n = count_mapped("/memfd:dlc");
    rank_expect(rank, n == rank->number, "%d pairs share memory, %d expected", n, rank->number);
    rank_expect(rank, rank->comm->note[0] == 0, "a note: %s", rank->comm->note);
}

/* As body_memory; there is none, and the lower ranks of pairs say why. */
static void body_no_memory(Rank *rank) {
    body_once(rank);
    int n = count_mapped("/memfd:dlc");
    rank_expect(rank, n == 0, "%d pairs share memory", n);
    const char *wanted = "bytes is wanted, and the limit of a file's size (ulimit -f) is 4096";
    bool says = strstr(rank->comm->note, wanted) != NULL;
    bool is_last = rank->rank == rank->n - 1;
    rank_expect(rank, is_last ? rank->comm->note[0] == 0 : says, "the note is '%s'",
                rank->comm->note);
}

static void test_memory(void **state) {
    (void)state;
    ranks_run(usual, 2, 1, usual->only_sockets ? 0 : 1, body_memory);
    ranks_run(usual, 5, 1, usual->only_sockets ? 0 : 4, body_memory);
    if (!usual->only_sockets) {
        Transport limited = *usual;
        limited.file_limit = 4096;
        ranks_run(&limited, 3, 1, 0, body_no_memory);
    }
}

int main(int argc, char **argv) {
    bool is_long = false;
    for (int i = 1; i < argc; i++) {
        is_long = is_long || strcmp(argv[i], "--long") == 0;
        usual = strcmp(argv[i], "sockets") == 0 ? &transport_sockets : usual;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_mismatch),
        cmocka_unit_test(test_circle),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_patience),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_starts_and_stops),
        cmocka_unit_test(test_memory),
    };
    const struct CMUnitTest many[] = {cmocka_unit_test(test_many_starts)};
    return is_long ? cmocka_run_group_tests_name("comm starts", many, NULL, NULL)
                   : cmocka_run_group_tests_name("comm tcp", tests, NULL, NULL);
}
