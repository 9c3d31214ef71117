/* How processes find each other (runtime/comm/control/meet.c): here all are threads of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/comm/control/internal.h"
#include "runtime/comm/tcp/tcp.h"
#include "tests/unit/plain_allocator.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct Join {
    CommTcpOptions options;
    double late; /* seconds before it comes */
    pthread_t thread;
    Comm *comm;
    dlc_status status, first;
    char message[COMM_MESSAGE_BYTES];
} Join;

static void nap(double seconds) {
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

/* Meets, makes one call, ends. */
static void *join_main(void *argument) {
    Join *join = argument;
    nap(join->late);
    join->status = comm_tcp_create(&plain_allocator, &join->options, &join->comm, join->message);
    if (join->status == DLC_OK) {
        CommCall call = {.kind = COMM_BARRIER};
        join->first = comm_run(join->comm, &call);
        comm_close(join->comm);
    }
    return NULL;
}

/* A port that nobody listens on now. */
static unsigned free_port(int *keep) {
    int made = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in name = {.sin_family = AF_INET};
    socklen_t length = sizeof(name);
    assert_int_equal(bind(made, (struct sockaddr *)&name, length), 0);
    assert_int_equal(getsockname(made, (struct sockaddr *)&name, &length), 0);
    if (keep) {
        *keep = made;
    } else {
        close(made);
    }
    return ntohs(name.sin_port);
}

static char addresses[128];

static void joins_init(Join *joins, int n) {
    snprintf(addresses, sizeof(addresses), "127.0.0.1:1,localhost:%u", free_port(NULL));
    memset(joins, 0, (size_t)n * sizeof(Join));
    for (int i = 0; i < n; i++) {
        joins[i].options = (CommTcpOptions){.rank = i,
                                            .n_ranks = n,
                                            .addresses = i == 0 ? addresses + 12 : addresses,
                                            .listener = -1,
                                            .job_key = "job",
                                            .meet_seconds = 10};
    }
}

static void joins_run(Join *joins, int n) {
    for (int i = 0; i < n; i++) {
        assert_int_equal(pthread_create(&joins[i].thread, NULL, join_main, &joins[i]), 0);
    }
    for (int i = 0; i < n; i++) {
        pthread_join(joins[i].thread, NULL);
    }
}

static void expect_met(const Join *join) {
    if (join->status != DLC_OK || join->first != DLC_OK) {
        fail_msg("rank %d: status %d, %s", join->options.rank, (int)join->status, join->message);
    }
}

static void expect_refused(const Join *join, dlc_status status, const char *text) {
    if (join->status != status || !strstr(join->message, text)) {
        fail_msg("rank %d: status %d, '%s'; expected %d, '%s'", join->options.rank,
                 (int)join->status, join->message, (int)status, text);
    }
}

/* The first address leads nowhere, and rank 0 is late. */
static void test_late(void **state) {
    (void)state;
    Join joins[3];
    joins_init(joins, 3);
    joins[0].late = 0.3;
    joins[2].late = 0.6;
    joins_run(joins, 3);
    for (int i = 0; i < 3; i++) {
        expect_met(&joins[i]);
    }
}

/* Another job's rank is sent away; what talks nonsense is not listened to. */
static void *nonsense_main(void *argument) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    name.sin_port = htons((uint16_t) * (unsigned *)argument);
    int made = -1;
    for (int i = 0; i < 100; i++) {
        made = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(made, (struct sockaddr *)&name, sizeof(name)) == 0) {
            break;
        }
        close(made);
        made = -1;
        nap(0.02);
    }
    char bytes[300] = "GET / HTTP/1.1\r\n";
    ssize_t n = made < 0 ? -1 : send(made, bytes, sizeof(bytes), MSG_NOSIGNAL);
    close(made);
    return n == (ssize_t)sizeof(bytes) ? argument : NULL;
}

static void test_strangers(void **state) {
    (void)state;
    Join joins[3];
    joins_init(joins, 3);
    joins[0].options.n_ranks = joins[1].options.n_ranks = 2;
    joins[1].late = 0.4;
    joins[2].options.job_key = "another job";
    joins[2].options.rank = 1;
    joins[2].options.n_ranks = 2;
    unsigned port = 0;
    sscanf(strstr(addresses, "localhost:"), "localhost:%u", &port);
    pthread_t thread;
    void *was_sent;
    assert_int_equal(pthread_create(&thread, NULL, nonsense_main, &port), 0);
    joins_run(joins, 3);
    pthread_join(thread, &was_sent);
    assert_non_null(was_sent);
    expect_met(&joins[0]);
    expect_met(&joins[1]);
    expect_refused(&joins[2], DLC_ERROR_MISMATCH, "another job");
}

static void test_disagree(void **state) {
    (void)state;
    Join joins[3];
    joins_init(joins, 3);
    joins[2].options.n_ranks = 4;
    joins[2].late = 0.2;
    joins_run(joins, 3);
    for (int i = 0; i < 3; i++) {
        expect_refused(&joins[i], DLC_ERROR_MISMATCH, "was told of 4 ranks, rank 0 of 3");
    }
}

static void test_twice(void **state) {
    (void)state;
    Join joins[3];
    joins_init(joins, 3);
    joins[2].options.rank = 1;
    joins_run(joins, 3);
    for (int i = 0; i < 3; i++) {
        expect_refused(&joins[i], DLC_ERROR_MISMATCH, "two processes are rank 1");
    }
}

static void test_missing(void **state) {
    (void)state;
    Join joins[3];
    joins_init(joins, 3);
    joins[0].options.meet_seconds = 0.4;
    joins_run(joins, 2);
    for (int i = 0; i < 2; i++) {
        expect_refused(&joins[i], DLC_ERROR_IO, "these ranks have not come: 2");
    }
    joins_init(joins, 2);
    joins[1].options.meet_seconds = 0.3;
    joins_run(joins + 1, 1);
    expect_refused(&joins[1], DLC_ERROR_IO, "rank 1 cannot reach rank 0 in 0.3 s: localhost");
}

/* Comes as rank 2, listens nowhere, and goes when all have come. */
static void *deserter_main(void *argument) {
    const Join *join = argument;
    char message[COMM_MESSAGE_BYTES];
    ControlHello hello = {.magic = CONTROL_MAGIC,
                          .version = CONTROL_VERSION,
                          .rank = 2,
                          .n_ranks = 3,
                          .port = free_port(NULL),
                          .host = "elsewhere"};
    ControlWelcome welcome;
    hello.key = hash_bytes(join->options.job_key, strlen(join->options.job_key), 1);
    double deadline = clock_seconds() + 5;
    int made = socket_connect(join->options.addresses, deadline, message);
    bool was_welcome = made >= 0 && socket_write(made, &hello, sizeof(hello), deadline) &&
                       socket_read(made, &welcome, sizeof(welcome), deadline) &&
                       welcome.status == DLC_OK;
    close(made);
    return was_welcome ? argument : NULL;
}

static void test_deserter(void **state) {
    (void)state;
    Join joins[3];
    pthread_t thread;
    void *was_welcome;
    joins_init(joins, 3);
    assert_int_equal(pthread_create(&thread, NULL, deserter_main, &joins[2]), 0);
    double began = clock_seconds();
    joins_run(joins, 2);
    pthread_join(thread, &was_welcome);
    assert_non_null(was_welcome);
    for (int i = 0; i < 2; i++) {
        expect_refused(&joins[i], DLC_ERROR_IO, "rank 2 (host elsewhere) went away");
    }
    assert_true(clock_seconds() - began < 5); /* not the 10 s for all to meet */
}

static void test_options(void **state) {
    (void)state;
    Join join;
    joins_init(&join, 1);
    const char *const bad[] = {"", "host", "host:", ":7", "host:7x", "host:70000"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        join.options.addresses = bad[i];
        joins_run(&join, 1);
        expect_refused(&join, DLC_ERROR_INVALID_ARGUMENT, "is no list of host:port");
    }
    joins_init(&join, 1);
    join.options.rank = 1;
    joins_run(&join, 1);
    expect_refused(&join, DLC_ERROR_INVALID_ARGUMENT, "there is no rank 1 of 1");
    int taken;
    char text[32];
    snprintf(text, sizeof(text), "localhost:%u", free_port(&taken));
    assert_int_equal(listen(taken, 1), 0);
    joins_init(&join, 1);
    join.options.addresses = text;
    joins_run(&join, 1);
    expect_refused(&join, DLC_ERROR_IO, "cannot listen on port");
    close(taken);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late),     cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_disagree), cmocka_unit_test(test_twice),
        cmocka_unit_test(test_missing),  cmocka_unit_test(test_deserter),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests_name("comm meet", tests, NULL, NULL);
}
