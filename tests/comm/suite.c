/* The conformance suite of transports (suite.h). */
#include "tests/comm/suite.h"
#include "tests/comm/reference.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool expect_ok(Rank *rank, dlc_status status, const char *what) {
    return rank_expect(rank, status == DLC_OK, "%s: status %d, %s", what, (int)status,
                       rank->comm->error);
}

static void nap(uint64_t microseconds) {
    struct timespec time = {(time_t)(microseconds / 1000000),
                            (long)(microseconds % 1000000) * 1000};
    nanosleep(&time, NULL);
}

/* -- Random calls. */

enum { UNDER_WAY = 4 };

typedef struct Started {
    Trial trial;
    CommRequest *request;
} Started;

static void started_finish(Rank *rank, Started *started) {
    if (rank->problem[0]) {
        trial_free(&started->trial);
        return;
    }
    char problem[PROBLEM_BYTES / 2], text[PROBLEM_BYTES / 2];
    if (expect_ok(rank, comm_wait(rank->comm, started->request), "wait") &&
        !trial_check(&started->trial, problem, sizeof(problem))) {
        comm_describe(rank->comm, &started->trial.call, text, sizeof(text));
        rank_expect(rank, false, "%s: %s", text, problem);
    }
    trial_free(&started->trial);
}

static void body_random(Rank *rank) {
    Started started[UNDER_WAY];
    int n_started = 0;
    uint64_t shared = rank->seed, own = rank->seed + 77 * (uint64_t)rank->rank;
    int64_t most = rank->number / 1000, rounds = rank->number % 1000, bytes = 0;
    for (int64_t i = 0; i < rounds && !rank->problem[0]; i++) {
        Started *next = &started[n_started];
        if (!trial_make(&next->trial, rank->n, rank->rank, random_next(&shared), most)) {
            continue;
        }
        bytes += next->trial.sent;
        expect_ok(rank, comm_start(rank->comm, &next->trial.call, &next->request), "start");
        n_started++;
        /* A Trial holds addresses of itself, so it stays where it is: all are waited for, in a
         * random order. */
        if (n_started == UNDER_WAY || random_below(&own, 2) == 0) {
            for (int first = (int)random_below(&own, n_started), k = 0; k < n_started; k++) {
                started_finish(rank, &started[(first + k) % n_started]);
            }
            n_started = 0;
        }
    }
    for (int k = 0; k < n_started; k++) {
        started_finish(rank, &started[k]);
    }
    rank_expect(rank, comm_count(rank->comm).bytes == bytes, "%lld bytes counted, %lld expected",
                (long long)comm_count(rank->comm).bytes, (long long)bytes);
}

void suite_random(const Transport *transport, int rounds, int64_t most) {
    for (int32_t n = 1; n <= MOST_RANKS; n++) {
        ranks_run(transport, n, 1000 + (uint64_t)n, (int)most * 1000 + rounds, body_random);
    }
}

/* -- Many small ones. */

static void body_sequence(Rank *rank) {
    double total = 0;
    for (int i = 0; i < rank->number && !rank->problem[0]; i++) {
        double value = rank->rank + i, sum = -1;
        CommBuffer buffer = {
            .in = &value, .out = &sum, .dtype = PLAN_F64, .outer = 1, .rows = 1, .unit = 1};
        CommCall call = {.kind = COMM_ALL_REDUCE, .buffers = &buffer, .n_buffers = 1};
        expect_ok(rank, comm_run(rank->comm, &call), "sum");
        double expected = rank->n * (rank->n - 1) / 2.0 + (double)rank->n * i;
        rank_expect(rank, sum == expected, "call %d gave %g, expected %g", i, sum, expected);
        total += sum;
    }
    CommCount count = rank->comm->counts[COMM_ALL_REDUCE];
    rank_expect(rank, count.calls == rank->number, "%lld calls", (long long)count.calls);
    (void)total;
}

void suite_sequence(const Transport *transport, int calls) {
    const int32_t counts[] = {1, 2, 3, 8};
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        ranks_run(transport, counts[i], 1, calls, body_sequence);
    }
}

/* -- Calls that are started and not waited for. */

/* Rank 0 starts three calls and waits for as many of them as it is told, then for nothing but the
 * other's word that it has all results. */
static void body_ahead(Rank *rank) {
    enum { CALLS = 3 };
    static const char *const names[CALLS] = {"one", "two", "three"};
    CommCall calls[CALLS];
    CommRequest *requests[CALLS];
    for (int i = 0; i < CALLS; i++) {
        calls[i] = (CommCall){.kind = COMM_BARRIER, .name = names[i]};
    }
    const _Atomic(double) *when = &rank->all[1].when;
    double deadline = clock_seconds() + 20;
    for (int i = 0; i < CALLS && rank->rank == 0; i++) {
        expect_ok(rank, comm_start(rank->comm, &calls[i], &requests[i]), "start");
    }
    for (int i = 0; i < CALLS; i++) {
        while (rank->rank == 0 && i == rank->number && atomic_load(when) == 0 &&
               clock_seconds() < deadline) {
            nap(200);
        }
        dlc_status status =
            rank->rank == 0 ? comm_wait(rank->comm, requests[i]) : comm_run(rank->comm, &calls[i]);
        expect_ok(rank, status, names[i]);
    }
    if (rank->rank == 0) {
        rank_expect(rank, clock_seconds() < deadline, "what is started waits for its wait");
    } else {
        rank->when = clock_seconds();
    }
}

void suite_ahead(const Transport *transport, int rounds) {
    for (int i = 0; i < rounds; i++) {
        ranks_run(transport, 2, 1, i % 3, body_ahead);
    }
}

/* -- Failure. */

/* All later calls fail too, with the same text. */
static void expect_failed(Rank *rank, dlc_status status, dlc_status expected, const char *text) {
    rank_expect(rank, status == expected && strstr(rank->comm->error, text),
                "status %d, text '%s'; expected %d, '%s'", (int)status, rank->comm->error,
                (int)expected, text);
    CommCall call = {.kind = COMM_BARRIER};
    status = comm_run(rank->comm, &call);
    rank_expect(rank, status == expected && strstr(rank->comm->error, text),
                "a later call: status %d, text '%s'; expected %d, '%s'", (int)status,
                rank->comm->error, (int)expected, text);
}

/* Calls until one fails; then what is freed must not be touched by others. */
static void body_abort(Rank *rank) {
    enum { ELEMENTS = 40000 };
    uint64_t shared = rank->seed;
    int32_t failing = (int32_t)random_below(&shared, rank->n);
    int64_t calls = random_below(&shared, 6), elements = 1 + random_below(&shared, ELEMENTS);
    uint64_t pause = (uint64_t)random_below(&shared, 300);
    dlc_status status = DLC_OK;
    for (int64_t i = 0; i < 1000 && status == DLC_OK; i++) {
        float *in = malloc(ELEMENTS * sizeof(float)), *out = malloc(ELEMENTS * sizeof(float));
        memset(in, 0, ELEMENTS * sizeof(float));
        CommBuffer buffer = {
            .in = in, .out = out, .dtype = PLAN_F32, .outer = 1, .rows = elements, .unit = 1};
        CommCall call = {.kind = COMM_ALL_REDUCE, .buffers = &buffer, .n_buffers = 1};
        CommRequest *request;
        status = comm_start(rank->comm, &call, &request);
        if (status == DLC_OK && rank->rank == failing && i == calls) {
            nap(pause);
            comm_abort(rank->comm, DLC_ERROR_OUT_OF_MEMORY, "no memory for 'fc1'");
            free(in);
            free(out);
            break;
        }
        status = status == DLC_OK ? comm_wait(rank->comm, request) : status;
        free(in);
        free(out);
    }
    char text[64];
    snprintf(text, sizeof(text), "rank %d: no memory for 'fc1'", failing);
    if (rank->rank == failing) {
        CommCall call = {.kind = COMM_BARRIER};
        status = comm_run(rank->comm, &call);
    }
    expect_failed(rank, status, DLC_ERROR_OUT_OF_MEMORY, text);
}

void suite_abort(const Transport *transport, int rounds) {
    for (int i = 0; i < rounds; i++) {
        ranks_run(transport, 2 + i % (MOST_RANKS - 1), (uint64_t)i, 0, body_abort);
    }
}

/* All have met before anything goes wrong: else the meeting of those that still wait would end by
 * it. Who is told of it before the barrier's end has the same error at the next call. */
static void all_here(Rank *rank) {
    CommCall call = {.kind = COMM_BARRIER, .name = "here"};
    (void)comm_run(rank->comm, &call);
}

/* The last rank's call differs in number `rank->number`. */
static void body_mismatch(Rank *rank) {
    all_here(rank);
    float in[64] = {0}, out[64 * MOST_RANKS];
    CommBuffer buffers[2] = {
        {.in = in, .out = out, .dtype = PLAN_F32, .outer = 1, .rows = 8, .unit = 2},
        {.in = in, .out = out + 64, .dtype = PLAN_F32, .outer = 1, .rows = 8, .unit = 2}};
    CommCall call = {.kind = COMM_ALL_REDUCE, .buffers = buffers, .n_buffers = 2, .name = "one"};
    if (rank->rank == rank->n - 1) {
        call.name = "other";
        call.kind = rank->number == 0 ? COMM_ALL_GATHER : call.kind;
        call.combine = rank->number == 1 ? COMM_MAX : call.combine;
        buffers[0].dtype = rank->number == 2 ? PLAN_I32 : PLAN_F32;
        buffers[1].rows = rank->number == 3 ? 7 : 8;
        buffers[1].unit = rank->number == 4 ? 1 : 2;
        call.n_buffers = rank->number == 5 ? 1 : 2;
    }
    if (rank->number >= 6) {
        call.kind = rank->number == 6 ? COMM_SHIFT : COMM_BROADCAST;
        call.number = rank->rank == rank->n - 1;
    }
    dlc_status status = comm_run(rank->comm, &call);
    expect_failed(rank, status, DLC_ERROR_MISMATCH, "'one'");
    expect_failed(rank, status, DLC_ERROR_MISMATCH, "'other'");
}

void suite_mismatch(const Transport *transport) {
    for (int number = 0; number < 8; number++) {
        ranks_run(transport, 2, 1, number, body_mismatch);
        ranks_run(transport, 5, 1, number, body_mismatch);
    }
}

/* Rank r first meets r + 1, round: nobody's first call can be made. Or two have one group in
 * different orders. */
static void body_circle(Rank *rank) {
    all_here(rank);
    int32_t group[2] = {rank->rank, (rank->rank + 1) % rank->n};
    CommCall call = {.kind = COMM_BARRIER, .group = {group, 2}, .name = "round"};
    dlc_status status = comm_run(rank->comm, &call);
    expect_failed(rank, status, DLC_ERROR_MISMATCH, "'round'");
}

void suite_circle(const Transport *transport) {
    ranks_run(transport, 2, 1, 0, body_circle); /* one group in two orders */
    ranks_run(transport, 3, 1, 0, body_circle);
    ranks_run(transport, 7, 1, 0, body_circle);
}

static void body_gone(Rank *rank) {
    CommCall call = {.kind = COMM_BARRIER, .name = "end"};
    dlc_status status = comm_run(rank->comm, &call);
    if (rank->rank == 1) {
        expect_ok(rank, status, "barrier");
        nap((uint64_t)rank->number);
        return;
    }
    /* Who is slow may be told before its barrier has ended. */
    status = status == DLC_OK ? comm_run(rank->comm, &call) : status;
    rank_expect(rank, status != DLC_OK && strstr(rank->comm->error, "rank 1 has ended"),
                "status %d, text '%s'", (int)status, rank->comm->error);
}

void suite_gone(const Transport *transport) {
    ranks_run(transport, 2, 1, 0, body_gone);
    ranks_run(transport, 4, 1, 20000, body_gone);
}

static void body_stall(Rank *rank) {
    CommCall call = {.kind = COMM_BARRIER, .name = "late"};
    if (rank->rank == 1) {
        nap((uint64_t)rank->number);
    }
    expect_failed(rank, comm_run(rank->comm, &call), DLC_ERROR_LIMIT, "rank 1 does not come");
}

void suite_stall(const Transport *transport) {
    ranks_run(transport, 3, 1, (int)(transport->timeout * 2e6), body_stall);
}

static void say_at(void *user, char *out, size_t n_out) {
    const Rank *rank = user;
    snprintf(out, n_out, "errand %d", 10 + rank->rank);
}

/* The first waits long enough for who is late; then rank 0's patience ends, the others' does not.
 */
static void body_patience(Rank *rank) {
    CommCall call = {.kind = COMM_BARRIER, .name = "late"};
    comm_at_by(rank->comm, say_at, rank);
    if (rank->rank == 1) {
        nap((uint64_t)rank->number);
    }
    expect_ok(rank, comm_run(rank->comm, &call), "patient");
    int32_t impatient = rank->n == 3 ? 0 : 2;
    comm_patience(rank->comm, rank->rank == impatient ? rank->number / 2e6 : 60);
    if (rank->rank == 1) {
        nap((uint64_t)rank->number);
    }
    expect_failed(rank, comm_run(rank->comm, &call), DLC_ERROR_LIMIT, "rank 1 does not come");
    const char *text = rank->comm->error;
    const char *of_impatient = impatient == 0 ? "rank 0 is at errand 10" : "rank 2 is at errand 12";
    rank_expect(rank, strstr(text, of_impatient) != NULL, "text '%s'", text);
    /* Of processes, rank 0 knows where others are, and tells those that have not failed yet. */
    bool knows = strstr(text, "(host ") == NULL || impatient == 0 || rank->rank != impatient;
    rank_expect(rank, !knows || strstr(text, "rank 1 is at errand 11"), "text '%s'", text);
}

void suite_patience(const Transport *transport, int microseconds) {
    ranks_run(transport, 3, 1, microseconds, body_patience);
    ranks_run(transport, 4, 1, microseconds, body_patience);
}

static void body_malformed(Rank *rank) {
    int32_t twice[] = {0, 1, 0}, beyond[] = {0, 2}, without[] = {1 - rank->rank};
    float values[8];
    CommBuffer good = {
        .in = values, .out = values, .dtype = PLAN_F32, .outer = 1, .rows = 8, .unit = 1};
    CommBuffer bad[6];
    for (int i = 0; i < 6; i++) {
        bad[i] = good;
    }
    bad[0].rows = -1;
    bad[1].outer = bad[1].rows = bad[1].unit = INT64_C(1) << 30;
    bad[2].dtype = PLAN_N_DTYPES;
    bad[3].dtype = PLAN_BOOL; /* has no sum */
    bad[4].in = NULL;
    bad[5].out = NULL;
    for (int i = 0; i < 6; i++) {
        CommCall call = {.kind = COMM_ALL_REDUCE, .buffers = &bad[i], .n_buffers = 1};
        rank_expect(rank, comm_run(rank->comm, &call) == DLC_ERROR_INVALID_ARGUMENT,
                    "bad buffer %d", i);
    }
    CommCall calls[] = {
        {.kind = COMM_BARRIER, .group = {twice, 3}},
        {.kind = COMM_BARRIER, .group = {twice, 0}},
        {.kind = COMM_BARRIER, .group = {beyond, 2}},
        {.kind = COMM_BARRIER, .group = {without, 1}},
        {.kind = COMM_BARRIER, .buffers = &good, .n_buffers = 1},
        {.kind = COMM_N_KINDS},
        {.kind = COMM_BROADCAST, .number = 2, .buffers = &good, .n_buffers = 1},
        {.kind = COMM_ALL_REDUCE, .combine = COMM_AND, .buffers = &good, .n_buffers = 1}};
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        rank_expect(rank, comm_run(rank->comm, &calls[i]) == DLC_ERROR_INVALID_ARGUMENT,
                    "bad call %zu", i);
    }
    CommCall barrier = {.kind = COMM_BARRIER};
    CommRequest *requests[COMM_MAX_STARTED], *more;
    for (int i = 0; i < COMM_MAX_STARTED; i++) {
        expect_ok(rank, comm_start(rank->comm, &barrier, &requests[i]), "start");
    }
    rank_expect(rank, comm_start(rank->comm, &barrier, &more) == DLC_ERROR_LIMIT,
                "too many are started");
    for (int i = 0; i < COMM_MAX_STARTED; i++) {
        expect_ok(rank, comm_wait(rank->comm, requests[i]), "wait");
    }
}

void suite_malformed(const Transport *transport) {
    ranks_run(transport, 2, 1, 0, body_malformed);
}
