/* test_device SUBJECT [TEST…]: the conformance suite for one device. "cpu", "null", "far", or
 * another device of this build and what to compile for, "cuda cuda:sm_80"; 77 when this machine has
 * no such device. */
#include "far_device.h"
#include "suite.h"
#include "tests/unit/needs.h"

#include <stdio.h>
#include <stdlib.h>

static Subject chosen;
const Subject *subject = &chosen;

void check_fail(const char *file, int line, const char *what, const char *more) {
    const char *slash = strrchr(file, '/');
    fprintf(stderr, "%s:%d: %s does not hold%s%s\n", slash ? slash + 1 : file, line, what,
            more[0] ? ": " : "", more);
    exit(1);
}

typedef struct Test {
    const char *name;
    void (*run)(void);
} Test;

static const Test tests[] = {
    {"memory moves", test_memory_moves},
    {"sends", test_sends},
    {"conditional copies", test_conditional_copies},
    {"order", test_order},
    {"recordings", test_recordings},
    {"opening", test_opening},
    {"queues", test_queues},
    {"joined recordings", test_joined_recordings},
    {"copies across", test_copies_across},
    {"training", test_training},
    {"recorded steps", test_recorded_steps},
    {"ranks", test_ranks},
    {"shared", test_shared},
    {"read ahead", test_read_ahead},
    {"steps ahead", test_steps_ahead},
    {"waiting steps", test_waiting_steps},
    {"cancelled ahead", test_cancelled_ahead},
    {"evaluated ahead", test_evaluated_ahead},
    {"slots ahead", test_slots_ahead},
    {"fit counts ahead", test_fit_counts_ahead},
    {"ahead waits for nothing", test_ahead_waits_for_nothing},
    {"poison and guarded", test_poison_and_guarded},
    {"checkpoints", test_checkpoints},
    {"faults", test_faults},
    {"gated caches", test_gated_caches},
    {"non finite", test_non_finite},
    {"update not finite", test_update_not_finite},
    {"many layouts", test_many_layouts},
    {"memory figures", test_memory_figures},
    {"digits", test_digits},
    {"out of memory", test_out_of_memory},
};

static bool wanted(const char *name, int argc, char **argv, int from) {
    for (int i = from; i < argc; i++) {
        if (strstr(name, argv[i])) {
            return true;
        }
    }
    return argc <= from;
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "cpu";
    int from = 2;
    if (strcmp(name, "far") == 0) {
        chosen = (Subject){"far", &device_far, "cpu:native", true, true, true};
    } else if (strcmp(name, "cpu") == 0) {
        chosen = (Subject){"cpu", device_find("cpu"), "cpu:native", true, true, true};
    } else if (strcmp(name, "null") == 0) {
        chosen = (Subject){"null", device_find("null"), "null", false, false, false};
    } else {
        chosen = (Subject){name,
                           device_find(name),
                           argc > 2 ? argv[2] : name,
                           true,
                           false,
                           getenv("DLC_DEVICE_DIGITS") != NULL};
        from = 3;
    }
    bool simulated = getenv("DLC_CUDA_PATH") != NULL;
    if (simulated && !cudasim_can_compile()) {
        return TEST_SKIPPED;
    }
    char message[DEVICE_MESSAGE_BYTES] = "";
    if (!subject->ops || subject->ops->supports("", "", "", message) != DLC_OK) {
        printf("%s%s: %s\n", simulated ? "" : "skipped: ", name,
               subject->ops ? message : "not in this build");
        return simulated ? 1 : TEST_SKIPPED;
    }
    int n = 0;
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (wanted(tests[i].name, argc, argv, from)) {
            printf("%s: %s\n", name, tests[i].name);
            fflush(stdout);
            tests[i].run();
            n++;
        }
    }
    printf("%s: %d tests passed\n", name, n);
    return n == 0;
}
