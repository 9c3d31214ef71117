/* The transport between threads of one process (runtime/comm/local/). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/comm/local/local.h"
#include "tests/comm/suite.h"
#include "tests/unit/plain_allocator.h"

static void test_random(void **state) {
    (void)state;
    suite_random(&transport_local, 150, 60);
    suite_random(&transport_local, 12, 9000); /* several chunks */
}

static void test_sequence(void **state) {
    (void)state;
    suite_sequence(&transport_local, 3000);
}

static void test_ahead(void **state) {
    (void)state;
    suite_ahead(&transport_local, 12);
}

static void test_abort(void **state) {
    (void)state;
    suite_abort(&transport_local, 100);
}

static void test_mismatch(void **state) {
    (void)state;
    suite_mismatch(&transport_local);
}

static void test_circle(void **state) {
    (void)state;
    suite_circle(&transport_local);
}

static void test_gone(void **state) {
    (void)state;
    suite_gone(&transport_local);
}

static void test_stall(void **state) {
    (void)state;
    Transport transport = transport_local;
    transport.timeout = 0.15;
    suite_stall(&transport);
}

static void test_patience(void **state) {
    (void)state;
    suite_patience(&transport_local, 600000);
}

static void test_malformed(void **state) {
    (void)state;
    suite_malformed(&transport_local);
}

static void body_once(Rank *rank) {
    CommCall call = {.kind = COMM_BARRIER};
    rank_expect(rank, comm_run(rank->comm, &call) == DLC_OK, "barrier: %s", rank->comm->error);
}

static void test_starts_and_stops(void **state) {
    (void)state;
    for (int i = 0; i < 1000; i++) {
        ranks_run(&transport_local, 2, 1, 0, body_once);
    }
}

/* An allocator that counts, and fails when it has given as many as it may. */
typedef struct Meter {
    int given, most, held;
} Meter;

static void *meter_alloc(void *user, size_t bytes) {
    Meter *meter = user;
    if (meter->given == meter->most) {
        return NULL;
    }
    meter->given++;
    meter->held++;
    return malloc(bytes);
}

static void meter_free(void *user, void *memory) {
    ((Meter *)user)->held--;
    free(memory);
}

static void test_memory(void **state) {
    (void)state;
    for (int most = 0;; most++) {
        Meter meter = {.most = most};
        dlc_allocator allocator = {meter_alloc, meter_free, &meter};
        Comm *ends[3];
        dlc_status status = comm_local_create(&allocator, 3, 0, ends);
        if (status == DLC_OK) {
            for (int i = 0; i < 3; i++) {
                assert_true(meter.held > 0);
                comm_close(ends[i]);
            }
            assert_int_equal(meter.held, 0);
            assert_true(most >= 4);
            break;
        }
        assert_int_equal(status, DLC_ERROR_OUT_OF_MEMORY);
        assert_int_equal(meter.held, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),   cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_ahead),    cmocka_unit_test(test_abort),
        cmocka_unit_test(test_mismatch), cmocka_unit_test(test_circle),
        cmocka_unit_test(test_gone),     cmocka_unit_test(test_stall),
        cmocka_unit_test(test_patience), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_memory),   cmocka_unit_test(test_starts_and_stops),
    };
    return cmocka_run_group_tests_name("comm local", tests, NULL, NULL);
}
