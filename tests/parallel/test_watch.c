/* Ranks that do not come: a rank's thread that sleeps in a launch. The others wait as long as the
 * steps so far say, and fail with a text that names the rank, the step and the places; the session
 * goes on. Journals say who was behind: while it hangs, when it is over, and when the process was
 * killed. */
#include "runtime/session/session.h"
#include "tests/unit/api.h"

#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROWS = 12, WIDTH = 5, TEXT_BYTES = 8192 };

static const char model[] = "dim B\nmodel m(x: f64[B, 5], label: i32[B]) {\n"
                            "    h = x |> linear(6) as a |> tanh\n    logits = h |> linear(3)\n"
                            "    output logits\n    loss cross_entropy(logits, label)\n}\n"
                            "train m {\n    optimizer adamw(lr=0.01)\n    batch 12\n"
                            "    steps 40\n}\n";

/* What the next launch of the rank does before it launches. */
static struct {
    atomic_int armed;
    double seconds;
    bool kills;
    const char *folder;    /* of journals, explained at the end of the nap … */
    char text[TEXT_BYTES]; /* … to here */
} nap;
static DeviceOps drowsy;
static const DeviceOps *awake;

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void sleep_for(double seconds) {
    struct timespec time = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    nanosleep(&time, NULL);
}

static void explain(const char *folder, char *out) {
    dlc_context *context = NULL;
    char *text = NULL;
    assert_int_equal(dlc_context_create(NULL, &context), DLC_OK);
    OK(context, dlc_journal_explain(context, folder, &text));
    snprintf(out, TEXT_BYTES, "%s", text);
    dlc_text_free(context, text);
    dlc_context_destroy(context);
}

static dlc_status drowsy_launch(DeviceQueue *queue, DeviceModule *module,
                                const DeviceLaunch *launch) {
    if (atomic_exchange(&nap.armed, 0)) {
        if (nap.kills) {
            raise(SIGKILL);
        }
        sleep_for(nap.seconds);
        if (nap.folder) {
            explain(nap.folder, nap.text);
        }
    }
    return awake->launch(queue, module, launch);
}

static double warned_at; /* by the log, of threads that are waited for; 0: not */

static void take_line(void *user, dlc_log_level level, const char *text) {
    (void)user;
    if (level == DLC_LOG_WARNING && strstr(text, "rank 2 does not come") &&
        strstr(text, "returns when the threads of all ranks have come back")) {
        warned_at = seconds_now();
    }
}

typedef struct Bench {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
} Bench;

/* Rank `sleeper` is the one that may sleep. */
static void bench_open(Bench *b, dlc_session_options options, int32_t sleeper) {
    const dlc_compile_options compile = {.struct_size = sizeof(compile), .mesh = "data=*"};
    options.struct_size = sizeof(options);
    options.device = "cpu*3";
    const dlc_context_options hooks = {.struct_size = sizeof(hooks), .log = take_line};
    assert_int_equal(dlc_context_create(&hooks, &b->context), DLC_OK);
    b->plan = api_compile(b->context, model, &compile);
    OK(b->context, dlc_session_create(b->plan, &options, &b->session));
    OK(b->context, dlc_init_weights(b->session));
    awake = b->session->ranks[sleeper].ops;
    drowsy = *awake;
    drowsy.launch = drowsy_launch;
    drowsy.launch_group = NULL;
    b->session->ranks[sleeper].ops = &drowsy;
}

static void bench_close(Bench *b) {
    dlc_session_destroy(b->session);
    dlc_plan_destroy(b->plan);
    dlc_context_destroy(b->context);
}

static dlc_status step(Bench *b) {
    double x[ROWS * WIDTH];
    int32_t label[ROWS];
    int64_t x_shape[] = {ROWS, WIDTH}, label_shape[] = {ROWS};
    for (int i = 0; i < ROWS * WIDTH; i++) {
        x[i] = sin((double)i * 1.7);
    }
    for (int i = 0; i < ROWS; i++) {
        label[i] = i % 3;
    }
    DLTensor x_tensor = api_tensor(x, 2, x_shape, kDLFloat, 64);
    DLTensor label_tensor = api_tensor(label, 1, label_shape, kDLInt, 32);
    OK(b->context, dlc_set_input(b->session, "train", "x", &x_tensor));
    OK(b->context, dlc_set_input(b->session, "train", "label", &label_tensor));
    return dlc_train_step(b->session, NULL);
}

/* Everything takes longer under a sanitizer. */
static double slowness(void) {
    return getenv("DLC_SANITIZED") ? 4 : 1;
}

static void sleep_next(double seconds) {
    nap.seconds = seconds * slowness();
    atomic_store(&nap.armed, 1);
}

static void expect_text(const char *text, const char *part) {
    if (!strstr(text, part)) {
        fail_msg("'%s' is not in: %s", part, text);
    }
}

static void test_stall(void **state) {
    (void)state;
    Bench b;
    bench_open(&b, (dlc_session_options){.stall_seconds = 0.3 * slowness()}, 2);
    for (int i = 0; i < 3; i++) {
        OK(b.context, step(&b));
    }
    for (int round = 0; round < 2; round++) {
        sleep_next(2);
        double start = seconds_now();
        assert_int_equal(step(&b), DLC_ERROR_LIMIT);
        assert_true(seconds_now() - start < 4 * slowness());
        assert_true(warned_at > start && warned_at < seconds_now() - 0.3);
        const char *text = dlc_last_error(b.context);
        expect_text(text, "rank 2 does not come");
        expect_text(text, "all_reduce");
        expect_text(text, getenv("DLC_SANITIZED") ? "1.2 s" : "0.3 s");
        expect_text(text, "rank 2 is at step 4 of 'm.train', command ");
        expect_text(text, "is at step 4 of 'm.train'");
        int64_t done = 0;
        OK(b.context, dlc_get_counter(b.session, "step", &done));
        assert_int_equal(done, 3);
    }
    OK(b.context, step(&b));
    bench_close(&b);
}

/* What is new may take longer: the first step of a session, and one on other sizes. */
static void test_first_run(void **state) {
    (void)state;
    Bench b;
    bench_open(&b, (dlc_session_options){.stall_seconds = 0.3 * slowness()}, 1);
    sleep_next(0.9);
    OK(b.context, step(&b));
    sleep_next(0.9);
    assert_int_equal(step(&b), DLC_ERROR_LIMIT);
    bench_close(&b);
}

/* Where steps are long, waits may be. */
static void test_long_steps(void **state) {
    (void)state;
    Bench b;
    bench_open(&b, (dlc_session_options){.stall_seconds = 0.3 * slowness()}, 1);
    OK(b.context, step(&b));
    sleep_next(0.15);
    OK(b.context, step(&b));
    sleep_next(0.9);
    OK(b.context, step(&b));
    bench_close(&b);
}

static void folder_new(char *out, size_t n_out) {
    snprintf(out, n_out, "/tmp/dlc-watch-XXXXXX");
    assert_non_null(mkdtemp(out));
}

static void folder_remove(const char *folder) {
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static void test_journal(void **state) {
    (void)state;
    Bench b;
    char folder[64], text[TEXT_BYTES];
    folder_new(folder, sizeof(folder));
    bench_open(&b, (dlc_session_options){.stall_seconds = 0.3 * slowness(), .journal = folder}, 1);
    for (int i = 0; i < 5; i++) {
        OK(b.context, step(&b));
    }
    explain(folder, text);
    expect_text(text, "no rank is behind, and none waits");
    sleep_next(2);
    assert_int_equal(step(&b), DLC_ERROR_LIMIT);
    explain(folder, text);
    expect_text(text, "rank 1 came too late to all_reduce ");
    expect_text(text, "rank 1 does not come");
    nap.folder = folder;
    sleep_next(0.2);
    OK(b.context, step(&b));
    expect_text(nap.text, "rank 1 is behind: it has begun ");
    expect_text(nap.text, " of step 6\n");
    expect_text(nap.text, "rank 0 on ");
    expect_text(nap.text, ": waits in all_reduce ");
    expect_text(nap.text, "last events of rank 1:");
    nap.folder = NULL;
    bench_close(&b);
    explain(folder, text);
    expect_text(text, "no rank is to blame: all have ended");
    folder_remove(folder);
}

/* A process that is killed leaves journals that can be read. */
static void test_killed(void **state) {
    (void)state;
    char folder[64], text[TEXT_BYTES];
    folder_new(folder, sizeof(folder));
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        Bench b;
        bench_open(&b, (dlc_session_options){.journal = folder}, 1);
        for (int i = 0; i < 5; i++) {
            OK(b.context, step(&b));
        }
        nap.kills = true;
        sleep_next(0);
        (void)step(&b);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    explain(folder, text);
    expect_text(text, "its process is gone");
    expect_text(text, ", step 6, command ");
    expect_text(text, "rank 2 on ");
    folder_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stall),      cmocka_unit_test(test_first_run),
        cmocka_unit_test(test_long_steps), cmocka_unit_test(test_journal),
        cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
