/* Times all_reduce between ranks of this machine: threads, or processes over TCP or an MPI. Prints
 * wall time and CPU time of all ranks a call; the latter says more where other programs run.
 *
 *   gcc -O2 -D_GNU_SOURCE -I. -Iinclude bench/comm_bench.c build/runtime/libdlc-runtime.a \
 *       build/ir/base/libdlc-base.a -lpthread -lz -ldl -lm -o /tmp/comm_bench
 *   /tmp/comm_bench local|tcp|sockets RANKS BYTES CALLS [f32|bf16|f16]
 *   RANK=0 ADDRESS=HOST:PORT /tmp/comm_bench tcp …     one rank, as on a host of its own
 * (switch.py) DLC_MPI=$PWD/build/libdlc-mpi-openmpi.so mpirun.openmpi -n RANKS /tmp/comm_bench mpi
 * … */
#include "runtime/comm/local/local.h"
#include "runtime/comm/mpi/mpi.h"
#include "runtime/comm/tcp/tcp.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_RANKS = 64, WARM_UP = 3 };

static int64_t n_bytes;
static int n_calls, dtype = PLAN_F32;

static void *plain_alloc(void *user, size_t bytes) {
    (void)user;
    return malloc(bytes);
}

static void plain_free(void *user, void *memory) {
    (void)user;
    free(memory);
}

static const dlc_allocator allocator = {plain_alloc, plain_free, NULL};

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void run(Comm *comm, bool has_process) {
    int64_t count = n_bytes / comm_dtype_bytes(dtype);
    void *values = calloc(1, (size_t)n_bytes + 1);
    CommBuffer buffer = {
        .in = values, .out = values, .dtype = dtype, .outer = 1, .rows = count, .unit = 1};
    CommCall call = {.kind = COMM_ALL_REDUCE, .buffers = &buffer, .n_buffers = 1};
    dlc_status status = DLC_OK;
    for (int i = 0; i < WARM_UP && status == DLC_OK; i++) {
        status = comm_run(comm, &call);
    }
    double began = clock_seconds(), cpu = cpu_seconds();
    for (int i = 0; i < n_calls && status == DLC_OK; i++) {
        status = comm_run(comm, &call);
    }
    double wall = (clock_seconds() - began) / n_calls;
    cpu = (cpu_seconds() - cpu) / n_calls * (has_process ? comm->n_ranks : 1);
    if (status != DLC_OK) {
        fprintf(stderr, "%s\n", comm->error);
    } else if (comm->rank == 0) {
        printf("%s, %d ranks, %lld bytes: %.1f us (%.2f GB/s), %.1f us of CPU\n", comm->ops->name,
               comm->n_ranks, (long long)n_bytes, wall * 1e6, (double)n_bytes / wall / 1e9,
               cpu * 1e6);
    }
    comm_close(comm);
    free(values);
}

static void *thread_main(void *comm) {
    run(comm, false);
    return NULL;
}

static int run_local(int32_t ranks) {
    Comm *ends[MOST_RANKS];
    pthread_t threads[MOST_RANKS];
    if (comm_local_create(&allocator, ranks, 0, ends) != DLC_OK) {
        return 1;
    }
    for (int32_t i = 0; i < ranks; i++) {
        pthread_create(&threads[i], NULL, thread_main, ends[i]);
    }
    for (int32_t i = 0; i < ranks; i++) {
        pthread_join(threads[i], NULL);
    }
    return 0;
}

static int run_tcp(int32_t ranks, bool only_sockets) {
    char own[32], message[COMM_MESSAGE_BYTES];
    const char *told = getenv("RANK"), *address = getenv("ADDRESS");
    int32_t rank = told ? atoi(told) : 0;
    snprintf(own, sizeof(own), "127.0.0.1:%d", 20000 + getpid() % 20000);
    for (int32_t i = 1; i < ranks && rank == 0 && !told; i++) {
        rank = fork() == 0 ? i : 0;
    }
    CommTcpOptions options = {.rank = rank,
                              .n_ranks = ranks,
                              .addresses = address ? address : own,
                              .listener = -1,
                              .job_key = "bench",
                              .only_sockets = only_sockets};
    Comm *comm;
    if (comm_tcp_create(&allocator, &options, &comm, message) != DLC_OK) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    run(comm, true);
    while (rank == 0 && wait(NULL) > 0) {
    }
    return 0;
}

static int run_mpi(void) {
    char message[COMM_MESSAGE_BYTES];
    CommMpiOptions options = {.job_key = "bench"};
    Comm *comm;
    if (comm_mpi_create(&allocator, &options, &comm, message) != DLC_OK) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    run(comm, true);
    return 0;
}

int main(int argc, char **argv) {
    int32_t ranks = argc > 4 ? atoi(argv[2]) : 0;
    n_bytes = argc > 4 ? atoll(argv[3]) : 0;
    n_calls = argc > 4 ? atoi(argv[4]) : 0;
    if (ranks < 1 || ranks > MOST_RANKS || n_bytes < 1 || n_calls < 1) {
        fprintf(stderr,
                "usage: comm_bench local|tcp|sockets|mpi RANKS BYTES CALLS [f32|bf16|f16]\n");
        return 2;
    }
    if (argc > 5) {
        dtype = strcmp(argv[5], "bf16") == 0  ? PLAN_BF16
                : strcmp(argv[5], "f16") == 0 ? PLAN_F16
                                              : PLAN_F32;
    }
    bool only_sockets = strcmp(argv[1], "sockets") == 0;
    return only_sockets || strcmp(argv[1], "tcp") == 0 ? run_tcp(ranks, only_sockets)
           : strcmp(argv[1], "mpi") == 0               ? run_mpi()
                                                       : run_local(ranks);
}
