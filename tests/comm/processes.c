/* Processes that are ranks, over TCP on this machine (ranks.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/comm/tcp/tcp.h"
#include "tests/comm/ranks.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const double watchdog_seconds = 60;

static int count_files(void) {
    DIR *folder = opendir("/proc/self/fd");
    int n = 0;
    while (folder && readdir(folder)) {
        n++;
    }
    if (folder) {
        closedir(folder);
    }
    return n;
}

static int listen_here(bool six, char *address, size_t n_address) {
    int made = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr *name = six ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4;
    socklen_t length = six ? sizeof(a6) : sizeof(a4);
    assert_int_equal(bind(made, name, length), 0);
    assert_int_equal(listen(made, 64), 0);
    assert_int_equal(getsockname(made, name, &length), 0);
    snprintf(address, n_address, six ? "[::1]:%u" : "127.0.0.1:%u",
             ntohs(six ? a6.sin6_port : a4.sin_port));
    return made;
}

static void child(const Transport *transport, Rank *rank, const char *address, int listener,
                  RankBody body) {
    int held = 0, files = count_files() - (rank->rank == 0);
    dlc_allocator allocator = rank_allocator(&held);
    CommTcpOptions options = {.rank = rank->rank,
                              .n_ranks = rank->n,
                              .addresses = address,
                              .listener = rank->rank == 0 ? listener : -1,
                              .job_key = transport->name,
                              .meet_seconds = 30,
                              .silence_seconds = transport->silence,
                              .only_sockets = transport->only_sockets,
                              .timeout_seconds = transport->timeout};
    char message[COMM_MESSAGE_BYTES];
    const struct rlimit limit = {transport->file_limit, transport->file_limit};
    if (transport->file_limit > 0) {
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    if (rank->rank != 0) {
        close(listener);
        files--;
    }
    dlc_status status = comm_tcp_create(&allocator, &options, &rank->comm, message);
    if (rank_expect(rank, status == DLC_OK, "meeting: %s", message)) {
        body(rank);
        comm_close(rank->comm);
    }
    rank_expect(rank, held == 0, "%d allocations are left", held);
    rank_expect(rank, count_files() == files, "%d files are left", count_files() - files);
    _exit(0);
}

static void pause_briefly(void) {
    struct timespec time = {0, 2000000};
    nanosleep(&time, NULL);
}

/* True when it has ended; what is left to be killed or has hung is. */
static bool reap(Rank *rank, pid_t pid, bool others_done, double began) {
    int status;
    if (waitpid(pid, &status, WNOHANG) == pid) {
        rank_expect(rank,
                    rank->dies || rank->stops || (WIFEXITED(status) && WEXITSTATUS(status) == 0),
                    "the process ended with status %x", status);
        return true;
    }
    if ((rank->stops && others_done) || clock_seconds() > began + watchdog_seconds) {
        rank_expect(rank, rank->stops, "hangs");
        kill(pid, SIGKILL);
    }
    return false;
}

static void run_processes(const Transport *transport, Rank *ranks, int32_t n, RankBody body) {
    char address[64];
    pid_t pids[MOST_RANKS];
    int listener = listen_here(transport->six, address, sizeof(address));
    for (int32_t i = 0; i < n; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            child(transport, &ranks[i], address, listener, body);
        }
        assert_true(pids[i] > 0);
    }
    close(listener);
    double began = clock_seconds();
    for (int32_t left = n; left > 0; pause_briefly()) {
        int32_t stopped = 0;
        for (int32_t i = 0; i < n; i++) {
            stopped += pids[i] > 0 && ranks[i].stops;
        }
        for (int32_t i = 0; i < n; i++) {
            if (pids[i] > 0 && reap(&ranks[i], pids[i], left == stopped, began)) {
                pids[i] = 0;
                left--;
            }
        }
    }
}

const Transport transport_tcp = {.name = "tcp", .silence = 20, .run = run_processes};
const Transport transport_sockets = {
    .name = "sockets", .silence = 20, .run = run_processes, .only_sockets = true};
