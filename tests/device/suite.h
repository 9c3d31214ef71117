/* The conformance suite of devices: what every DeviceOps must do, first by its calls alone, then as
 * the device of a session that trains, evaluates, fails and is asked. */
#ifndef DLC_TESTS_DEVICE_SUITE_H
#define DLC_TESTS_DEVICE_SUITE_H

#include "runtime/session/session.h"

typedef struct Subject {
    const char *name;
    const DeviceOps *ops;
    const char *target; /* what to compile for: "cpu:native", "cuda:sm_80" */
    bool computes;      /* kernels do what they say */
    bool exact;         /* … and give the bits that the CPU gives */
    bool digits;        /* fast enough for a step of examples/digits.dl */
} Subject;

extern const Subject *subject;

void check_fail(const char *file, int line, const char *what, const char *more);
#define CHECK(condition) CHECK_ABOUT(condition, "")
#define CHECK_ABOUT(condition, more)                                                               \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_fail(__FILE__, __LINE__, #condition, more);                                      \
        }                                                                                          \
    } while (0)

/* calls.c: a device of its own each. */
void test_memory_moves(void);
void test_sends(void);
void test_conditional_copies(void);
void test_order(void);
void test_recordings(void);
void test_opening(void);
/* queues.c */
void test_queues(void);
void test_joined_recordings(void);
void test_copies_across(void);
/* ahead.c */
void test_steps_ahead(void);
void test_waiting_steps(void);
void test_cancelled_ahead(void);
void test_evaluated_ahead(void);
void test_slots_ahead(void);
void test_fit_counts_ahead(void);
void test_ahead_waits_for_nothing(void);
/* caches.c */
void test_gated_caches(void);
/* sessions.c */
void test_training(void);
void test_recorded_steps(void);
void test_ranks(void);
void test_shared(void);
void test_read_ahead(void);
void test_poison_and_guarded(void);
void test_checkpoints(void);
void test_faults(void);
void test_non_finite(void);
void test_update_not_finite(void);
void test_many_layouts(void);
void test_memory_figures(void);
void test_digits(void);
void test_out_of_memory(void);

#endif
