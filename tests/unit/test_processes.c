/* Processes that dlrun starts: who ends how, what is handed on, restarts, and that none is left.
 * Each case runs in a process of its own, whose standard error is read. */
#include "tools/processes.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

typedef int Body(const Process *self);

typedef struct Outcome {
    int status; /* exit status, or 1000 + signal */
    double seconds;
    char text[4096]; /* standard error */
} Outcome;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void pause_for(double seconds) {
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

/* A process that starts `options` with this body; its standard error comes through *out_text. */
static pid_t started(const ProcessesOptions *options, Body *body, int *out_text) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        Process self;
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        int code = processes_run(options, &self);
        _exit(code < 0 ? body(&self) : code);
    }
    close(ends[1]);
    *out_text = ends[0];
    return pid;
}

/* Reading ends when every process that could write has ended. */
static Outcome ended(pid_t pid, int text, double since) {
    Outcome outcome = {.status = -1};
    size_t used = 0;
    ssize_t n;
    while (used + 1 < sizeof outcome.text &&
           (n = read(text, outcome.text + used, sizeof outcome.text - 1 - used)) > 0) {
        used += (size_t)n;
    }
    close(text);
    int how;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    outcome.status = WIFSIGNALED(how) ? 1000 + WTERMSIG(how) : WEXITSTATUS(how);
    outcome.seconds = now() - since;
    print_message("%d after %.2f s: %s\n", outcome.status, outcome.seconds, outcome.text);
    return outcome;
}

static Outcome ran(int64_t count, int64_t restarts, Body *body) {
    const ProcessesOptions options = {"test", count, restarts, "DIR"};
    int text;
    double since = now();
    pid_t pid = started(&options, body, &text);
    return ended(pid, text, since);
}

static bool says(const Outcome *outcome, const char *text) {
    return strstr(outcome->text, text) != NULL;
}

/* -- How they end -- */

static int exchange(const Process *self) {
    char key[8], value[8], found[8] = "";
    snprintf(key, sizeof key, "k%d", (int)self->rank);
    snprintf(value, sizeof value, "v%d", (int)self->rank);
    if (!shared_put(self->shared, key, value)) {
        return 3;
    }
    for (int i = 0; i < 3; i++) {
        snprintf(key, sizeof key, "k%d", i);
        snprintf(value, sizeof value, "v%d", i);
        while (!shared_get(self->shared, key, found, sizeof found)) {
            pause_for(0.001);
        }
        if (strcmp(found, value) != 0 || shared_get(self->shared, key, found, 2)) {
            return 4;
        }
    }
    return 0;
}

static void test_all_end(void **state) {
    (void)state;
    Outcome outcome = ran(3, 0, exchange);
    assert_int_equal(outcome.status, 0);
    assert_string_equal(outcome.text, "");
}

static int second_fails(const Process *self) {
    if (self->rank == 1) {
        return 5;
    }
    pause_for(0.3);
    return 1; /* as those do that hear of it */
}

static void test_first_failure(void **state) {
    (void)state;
    Outcome outcome = ran(3, 0, second_fails);
    assert_int_equal(outcome.status, 5);
}

static int third_dies(const Process *self) {
    if (self->rank == 2) {
        raise(SIGKILL);
    }
    pause_for(0.3);
    return 1;
}

static void test_killed(void **state) {
    (void)state;
    Outcome outcome = ran(3, 0, third_dies);
    assert_int_equal(outcome.status, 128 + SIGKILL);
    assert_true(says(&outcome, "test: rank 2 (process ") && says(&outcome, "signal 9 (Killed)"));
}

/* The one that waits finds two ends at once: that of a rank that was killed is the reason. */
static int found_at_once(const Process *self) {
    char found[8];
    if (self->rank == 1) {
        while (!shared_get(self->shared, "all", found, sizeof found)) {
            pause_for(0.01);
        }
        kill(getppid(), SIGSTOP);
        shared_put(self->shared, "stopped", "");
        pause_for(0.3);
        kill(getppid(), SIGCONT);
        return 0;
    }
    if (self->rank == 2) { /* the last to be forked */
        shared_put(self->shared, "all", "");
    }
    while (!shared_get(self->shared, "stopped", found, sizeof found)) {
        pause_for(0.01);
    }
    return self->rank == 2 ? raise(SIGKILL) : 1;
}

static void test_killed_first(void **state) {
    (void)state;
    Outcome outcome = ran(3, 0, found_at_once);
    assert_int_equal(outcome.status, 128 + SIGKILL);
    assert_true(says(&outcome, "rank 2 (process "));
}

/* The connections of who is killed close before it has ended. */
static int dies_slowly(const Process *self) {
    if (self->rank == 1) {
        return 1;
    }
    pause_for(0.2);
    return self->rank == 2 ? raise(SIGKILL) : 1;
}

static void test_killed_last(void **state) {
    (void)state;
    Outcome outcome = ran(3, 0, dies_slowly);
    assert_int_equal(outcome.status, 128 + SIGKILL);
    assert_true(says(&outcome, "rank 2 (process "));
}

/* Who waits to meet one that is gone is not told. */
static int dies_early(const Process *self) {
    if (self->rank == 1) {
        return raise(SIGKILL);
    }
    shared_met(self->shared);
    pause_for(20);
    return 0;
}

static void test_killed_early(void **state) {
    (void)state;
    Outcome outcome = ran(3, 0, dies_early);
    assert_int_equal(outcome.status, 128 + SIGKILL);
    assert_true(says(&outcome, "rank 0 (process ") && says(&outcome, "has not ended since"));
    assert_true(outcome.seconds < 10);
}

/* The others, who have met it, get the time to hear of it and to end. */
static int dies_late(const Process *self) {
    shared_met(self->shared);
    pause_for(0.2);
    if (self->rank == 1) {
        return raise(SIGKILL);
    }
    pause_for(3);
    return 1;
}

static void test_killed_late(void **state) {
    (void)state;
    Outcome outcome = ran(3, 0, dies_late);
    assert_int_equal(outcome.status, 128 + SIGKILL);
    assert_false(says(&outcome, "has not ended since"));
}

static int first_stands(const Process *self) {
    if (self->rank == 0) {
        raise(SIGSTOP);
    }
    pause_for(0.3);
    return 1; /* it was found out */
}

static void test_stopped(void **state) {
    (void)state;
    Outcome outcome = ran(2, 0, first_stands);
    assert_int_equal(outcome.status, 1);
    assert_true(says(&outcome, "rank 0 (process ") && says(&outcome, "has been stopped"));
    assert_true(outcome.seconds < 5);
}

/* -- What is handed on -- */

static volatile sig_atomic_t told;

static void on_term(int number) {
    (void)number;
    told++;
}

static int until_told(const Process *self) {
    (void)self;
    struct sigaction action = {.sa_handler = on_term};
    sigaction(SIGTERM, &action, NULL);
    fputs("x", stderr);
    while (!told) {
        pause_for(0.01);
    }
    pause_for(0.2); /* it is not killed while it writes its checkpoint */
    fputs("saved ", stderr);
    return 128 + SIGINT;
}

static Outcome signalled(Body *body, int number, int times) {
    const ProcessesOptions options = {"test", 2, 3, "DIR"};
    int text;
    char ready[2];
    double since = now();
    pid_t pid = started(&options, body, &text);
    for (size_t n = 0; n < 2;) {
        ssize_t got = read(text, ready + n, 2 - n);
        assert_true(got > 0);
        n += (size_t)got;
    }
    for (int i = 0; i < times; i++) {
        kill(pid, number);
        pause_for(0.1);
    }
    return ended(pid, text, since);
}

static void test_interrupted(void **state) {
    (void)state;
    Outcome outcome = signalled(until_told, SIGINT, 1);
    assert_int_equal(outcome.status, 128 + SIGINT);
    assert_string_equal(outcome.text, "saved saved ");
    outcome = signalled(until_told, SIGTERM, 3);
    assert_int_equal(outcome.status, 128 + SIGINT);
}

static int never(const Process *self) {
    signal(SIGTERM, SIG_IGN);
    fputs("x", stderr);
    while (self->rank >= 0) {
        pause_for(10);
    }
    return 0;
}

static void test_interrupted_twice(void **state) {
    (void)state;
    Outcome outcome = signalled(never, SIGINT, 2);
    assert_int_equal(outcome.status, 128 + SIGINT);
    assert_true(outcome.seconds < 5);
}

/* Who started them is gone at once, and so are they: else `ended` would not. */
static void test_orphans(void **state) {
    (void)state;
    Outcome outcome = signalled(never, SIGKILL, 1);
    assert_int_equal(outcome.status, 1000 + SIGKILL);
    assert_true(outcome.seconds < 5);
}

/* -- Restarts -- */

static int fails_twice(const Process *self) {
    shared_stepped(self->shared);
    pause_for(0.05);
    return self->start < 2 && self->rank == 1 ? 6 : 0;
}

static int fails_after_restart(const Process *self) {
    if (self->start == 0) {
        shared_stepped(self->shared);
    }
    return 7;
}

static int wrong_line(const Process *self) {
    shared_stepped(self->shared);
    return 2;
}

/* Ctrl-C on one rank ends all: nobody has failed. */
static int all_stopped(const Process *self) {
    shared_stepped(self->shared);
    return 128 + SIGINT;
}

static void test_restarts(void **state) {
    (void)state;
    Outcome outcome = ran(2, 3, fails_twice);
    assert_int_equal(outcome.status, 0);
    assert_true(says(&outcome, "rank 1 failed; all ranks are started again from the last "
                               "checkpoint in 'DIR' (restart 2 of 3)"));
    assert_false(says(&outcome, "restart 3 of 3"));
    outcome = ran(2, 1, fails_twice);
    assert_int_equal(outcome.status, 6);
    assert_true(says(&outcome, "no restart is left of 1"));
    outcome = ran(2, 9, fails_after_restart);
    assert_int_equal(outcome.status, 7);
    assert_true(says(&outcome, "restart 1 of 9") && says(&outcome, "before a step was done"));
    assert_false(says(&outcome, "restart 2 of 9"));
    outcome = ran(2, 9, all_stopped);
    assert_int_equal(outcome.status, 128 + SIGINT);
    assert_string_equal(outcome.text, "");
    outcome = ran(2, 9, wrong_line);
    assert_int_equal(outcome.status, 2);
    assert_string_equal(outcome.text, "");
}

static int fills(const Process *self) {
    char key[200];
    int n = 0;
    for (snprintf(key, sizeof key, "k%d", n); shared_put(self->shared, key, key); n++) {
        snprintf(key, sizeof key, "k%d", n + 1);
    }
    memset(key, 'k', sizeof key);
    key[sizeof key - 1] = '\0';
    return n >= 100 && !shared_put(self->shared, key, "v") ? 0 : 1;
}

static int one_says(const Process *self) {
    shared_first(self->shared, "other");
    if (shared_first(self->shared, "text")) {
        fputs("text\n", stderr);
    }
    return 0;
}

static void test_said_once(void **state) {
    (void)state;
    Outcome outcome = ran(4, 0, one_says);
    assert_string_equal(outcome.text, "text\n");
}

static void test_full(void **state) {
    (void)state;
    assert_int_equal(ran(1, 0, fills).status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_end),     cmocka_unit_test(test_first_failure),
        cmocka_unit_test(test_killed),      cmocka_unit_test(test_killed_first),
        cmocka_unit_test(test_killed_last), cmocka_unit_test(test_killed_early),
        cmocka_unit_test(test_killed_late), cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_interrupted), cmocka_unit_test(test_interrupted_twice),
        cmocka_unit_test(test_orphans),     cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_said_once),   cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
