/* A rank of a launch by mpirun or mpiexec (runtime/comm/mpi/): mpi.sh starts it, with what it is to
 * do. Every test of a launch makes a communicator anew; all ranks make the same ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/comm/mpi/mpi.h"
#include "tests/comm/suite.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int n_runs, world;

/* Whether this process has made another since MPI started: it would have MPI's memory and none of
 * its connections. Ended ones have taken page faults (MPI's own start included: `before`). */
static long children_faults(void) {
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_CHILDREN, &usage), 0);
    return usage.ru_minflt;
}

static long faults_before;

static bool has_forked(void) {
    return children_faults() != faults_before || waitpid(-1, NULL, WNOHANG) != -1;
}

/* All ranks of the launch, however many the test asks for. */
static void run_launched(const Transport *transport, Rank *ranks, int32_t n, RankBody body) {
    int held = 0;
    dlc_allocator allocator = rank_allocator(&held);
    CommMpiOptions options = {.job_key = "test",
                              .meet_seconds = 60,
                              .silence_seconds = transport->silence,
                              .timeout_seconds = transport->timeout};
    char message[COMM_MESSAGE_BYTES];
    int32_t own = 0;
    (void)n;
    assert_int_equal(comm_mpi_place(&own, &options.n_ranks, message), DLC_OK);
    assert_in_range(options.n_ranks, 1, MOST_RANKS);
    options.rank = own;
    Rank *rank = &ranks[own];
    *rank = (Rank){.all = ranks,
                   .rank = own,
                   .n = options.n_ranks,
                   .seed = ranks[0].seed,
                   .number = ranks[0].number};
    dlc_status status = comm_mpi_create(&allocator, &options, &rank->comm, message);
    if (rank_expect(rank, status == DLC_OK, "meeting: %s", message)) {
        assert_int_equal(rank->comm->rank, own);
        assert_int_equal(rank->comm->n_ranks, options.n_ranks);
        body(rank);
        comm_close(rank->comm);
    }
    rank_expect(rank, held == 0, "%d allocations are left", held);
    if (rank->problem[0]) {
        fprintf(stderr, "%s, rank %d of %d, seed %llu, number %d: %s\n", transport->name, own,
                rank->n, (unsigned long long)rank->seed, rank->number, rank->problem);
        _exit(1); /* the others would meet in another test, or wait at the exit */
    }
    n_runs++;
}

static const Transport transport_mpi = {.name = "mpi", .silence = 20, .run = run_launched};

/* -- The conformance suite. */

static void test_random(void **state) {
    (void)state;
    suite_random(&transport_mpi, 15, 60);
    suite_random(&transport_mpi, 1, 9000);
}

static void test_sequence(void **state) {
    (void)state;
    suite_sequence(&transport_mpi, 20);
}

static void test_abort(void **state) {
    (void)state;
    suite_abort(&transport_mpi, 7);
}

static void test_mismatch(void **state) {
    (void)state;
    suite_mismatch(&transport_mpi);
}

static void test_circle(void **state) {
    (void)state;
    Transport transport = transport_mpi;
    transport.silence = 1;
    suite_circle(&transport);
}

static void test_gone(void **state) {
    (void)state;
    suite_gone(&transport_mpi);
}

static void test_stall(void **state) {
    (void)state;
    Transport transport = transport_mpi;
    transport.timeout = 0.3;
    suite_stall(&transport);
}

static void test_malformed(void **state) {
    (void)state;
    if (world == 2) {
        suite_malformed(&transport_mpi);
    }
}

/* Sums of 4 MiB: messages in many parts, both ways at once. */
static void body_large(Rank *rank) {
    enum { ELEMENTS = 1 << 20 };
    float *values = malloc(ELEMENTS * sizeof(float));
    CommBuffer buffer = {
        .in = values, .out = values, .dtype = PLAN_F32, .outer = 1, .rows = ELEMENTS, .unit = 1};
    CommCall call = {.kind = COMM_ALL_REDUCE, .buffers = &buffer, .n_buffers = 1};
    for (int i = 0; i < 4 && !rank->problem[0]; i++) {
        for (int k = 0; k < ELEMENTS; k++) {
            values[k] = (float)(k % 1000 + rank->rank);
        }
        rank_expect(rank, comm_run(rank->comm, &call) == DLC_OK, "%s", rank->comm->error);
        for (int k = 0; k < ELEMENTS; k++) {
            float expected = (float)(rank->n * (k % 1000) + rank->n * (rank->n - 1) / 2);
            rank_expect(rank, values[k] == expected, "element %d is %g, expected %g", k,
                        (double)values[k], (double)expected);
        }
    }
    free(values);
}

static void test_large(void **state) {
    (void)state;
    ranks_run(&transport_mpi, 1, 1, 0, body_large);
}

/* A rank with another job, or that was told another number. */
static void test_options(void **state) {
    (void)state;
    char message[COMM_MESSAGE_BYTES];
    int32_t rank, n_ranks;
    Comm *comm = NULL;
    int held = 0;
    dlc_allocator allocator = rank_allocator(&held);
    assert_int_equal(comm_mpi_place(&rank, &n_ranks, message), DLC_OK);
    CommMpiOptions options = {.rank = rank, .n_ranks = n_ranks + 1};
    assert_int_equal(comm_mpi_create(&allocator, &options, &comm, message), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(message, "and MPI says"));
    options = (CommMpiOptions){.job_key = rank == 1 ? "another" : "one",
                               .meet_seconds = rank == 0 ? 1 : 20};
    dlc_status status = comm_mpi_create(&allocator, &options, &comm, message);
    assert_int_equal(status, rank == 1 ? DLC_ERROR_MISMATCH : DLC_ERROR_IO);
    assert_non_null(strstr(message, rank == 1 ? "another job" : "these ranks have not come: 1"));
    assert_int_equal(held, 0);
    /* Those that failed do not keep the next from meeting. */
    ranks_run(&transport_mpi, 1, 1, 0, body_large);
}

static int result_of(int failed, int least_runs) {
    if (n_runs < least_runs || has_forked()) {
        fprintf(stderr, "%d communicators were made; the process has forked: %d\n", n_runs,
                has_forked());
        return 1;
    }
    return failed;
}

/* What waits for nothing but others. */
static int run_short(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random), cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_abort),  cmocka_unit_test(test_mismatch),
        cmocka_unit_test(test_large),
    };
    return result_of(cmocka_run_group_tests_name("comm mpi", tests, NULL, NULL), 40);
}

static int run_suite(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),  cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_abort),   cmocka_unit_test(test_mismatch),
        cmocka_unit_test(test_circle),  cmocka_unit_test(test_gone),
        cmocka_unit_test(test_stall),   cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_options), cmocka_unit_test(test_large),
    };
    return result_of(cmocka_run_group_tests_name("comm mpi", tests, NULL, NULL), 50);
}

/* -- One thing only. */

static void give_up(const char *message) {
    fprintf(stderr, "%s\n", message);
    exit(1);
}

static Comm *comm_make(void) {
    static int held;
    static dlc_allocator allocator;
    allocator = rank_allocator(&held);
    char message[COMM_MESSAGE_BYTES];
    CommMpiOptions options = {.meet_seconds = 60};
    Comm *comm = NULL;
    if (comm_mpi_create(&allocator, &options, &comm, message) != DLC_OK) {
        give_up(message);
    }
    return comm;
}

/* A barrier, and the end. */
static int run_once(void) {
    Comm *comm = comm_make();
    CommCall call = {.kind = COMM_BARRIER};
    if (comm_run(comm, &call) != DLC_OK) {
        give_up(comm->error);
    }
    comm_close(comm);
    return 0;
}

/* The end without a close: its thread is in MPI. */
static int run_open(void) {
    Comm *comm = comm_make();
    CommCall call = {.kind = COMM_BARRIER};
    return comm_run(comm, &call) == DLC_OK ? 17 : 1;
}

/* The last rank dies in the middle of sums of 1 MiB; the others leave what they are told in
 * FOLDER/RANK, with how long after the death it was. */
static int run_kill(const char *folder) {
    enum { ELEMENTS = 1 << 18 };
    char path[4096];
    double died = 0;
    signal(SIGTERM, SIG_IGN); /* which Open MPI sends the others, before it kills them */
    Comm *comm = comm_make();
    float *in = calloc(ELEMENTS, sizeof(float)), *out = calloc(ELEMENTS, sizeof(float));
    CommBuffer buffer = {
        .in = in, .out = out, .dtype = PLAN_F32, .outer = 1, .rows = ELEMENTS, .unit = 1};
    CommCall call = {.kind = COMM_ALL_REDUCE, .buffers = &buffer, .n_buffers = 1};
    dlc_status status = DLC_OK;
    for (int i = 0; i < 100000 && status == DLC_OK; i++) {
        CommRequest *request;
        status = comm_start(comm, &call, &request);
        if (comm->rank == comm->n_ranks - 1 && i == 7) {
            snprintf(path, sizeof(path), "%s/died", folder);
            died = clock_seconds();
            FILE *file = fopen(path, "w");
            if (file) {
                fwrite(&died, sizeof(died), 1, file);
                fclose(file);
            }
            kill(getpid(), SIGKILL);
        }
        status = status == DLC_OK ? comm_wait(comm, request) : status;
    }
    double known = clock_seconds();
    snprintf(path, sizeof(path), "%s/died", folder);
    FILE *file = fopen(path, "r");
    if (!file || fread(&died, sizeof(died), 1, file) != 1) {
        give_up("nobody has died");
    }
    fclose(file);
    snprintf(path, sizeof(path), "%s/%d", folder, comm->rank);
    file = fopen(path, "w");
    if (file) {
        fprintf(file, "after %.3f s: status %d, %s\n", known - died, (int)status, comm->error);
        fclose(file);
    }
    comm_close(comm);
    free(in);
    free(out);
    return 1;
}

/* The program starts MPI itself and ends it; `level` is that of MPI_Init_thread. */
static int run_host(const char *module, int level) {
    void *library = dlopen(module, RTLD_NOW | RTLD_GLOBAL);
    int (*begin)(int *, char ***, int, int *), (*end)(void), given = 0;
    void *symbols[2] = {library ? dlsym(library, "MPI_Init_thread") : NULL,
                        library ? dlsym(library, "MPI_Finalize") : NULL};
    memcpy(&begin, &symbols[0], sizeof(begin));
    memcpy(&end, &symbols[1], sizeof(end));
    if (!begin || !end || begin(NULL, NULL, level, &given) != 0) {
        give_up("no MPI in the module");
    }
    int32_t rank, n_ranks;
    char message[COMM_MESSAGE_BYTES] = "";
    bool works = comm_mpi_place(&rank, &n_ranks, message) == DLC_OK;
    /* Some give more than they are asked for. */
    if (works != (given == 3) || (!works && !strstr(message, "MPI_THREAD_MULTIPLE"))) {
        give_up(works ? "MPI without threads is taken" : message);
    }
    if (works) {
        run_once();
    }
    return end();
}

/* More than MPI's counts hold, at a time. */
static int run_beyond(void) {
    const int64_t bytes = (INT64_C(2) << 30) + 12345;
    Comm *comm = comm_make();
    uint8_t *values = malloc((size_t)bytes);
    if (!values) {
        give_up("no memory");
    }
    memset(values, comm->rank == 0 ? 7 : 0, (size_t)bytes);
    values[bytes - 1] = comm->rank == 0 ? 9 : 0;
    CommBuffer buffer = {
        .in = values, .out = values, .dtype = PLAN_U8, .outer = 1, .rows = bytes, .unit = 1};
    CommCall call = {.kind = COMM_BROADCAST, .buffers = &buffer, .n_buffers = 1};
    if (comm_run(comm, &call) != DLC_OK) {
        give_up(comm->error);
    }
    for (int64_t i = 0; i < bytes; i++) {
        if (values[i] != (i == bytes - 1 ? 9 : 7)) {
            give_up("a byte is wrong");
        }
    }
    comm_close(comm);
    free(values);
    return 0;
}

int main(int argc, char **argv) {
    char message[COMM_MESSAGE_BYTES];
    int32_t rank;
    const char *mode = argc > 1 ? argv[1] : "";
    if (strcmp(mode, "host") == 0 && argc > 3) {
        return run_host(argv[2], atoi(argv[3]));
    }
    if (comm_mpi_place(&rank, &world, message) != DLC_OK) {
        give_up(message);
    }
    faults_before = children_faults();
    return strcmp(mode, "suite") == 0              ? run_suite()
           : strcmp(mode, "short") == 0            ? run_short()
           : strcmp(mode, "open") == 0             ? run_open()
           : strcmp(mode, "once") == 0             ? run_once()
           : strcmp(mode, "kill") == 0 && argc > 2 ? run_kill(argv[2])
           : strcmp(mode, "beyond") == 0           ? run_beyond()
                                                   : 2;
}
