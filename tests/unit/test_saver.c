/* Checkpoints that are written while steps go on: of the step that they are of, there when all is
 * on the disk, and what becomes of one that fails. The disk is this program's: it stands in front
 * of fsync. */
#include "tests/unit/api.h"

#include <errno.h>
#include <glob.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char PROGRAM[] = "dim B\n"
                              "model net(x: f32[B, 3], y: f32[B, 1]) {\n"
                              "    h = x |> linear(200) as a |> tanh |> linear(200) as b |> tanh\n"
                              "    out = h |> linear(1) as c\n"
                              "    loss mse(out, y)\n"
                              "    output out\n"
                              "}\n"
                              "train net { optimizer adam(lr=0.02); batch 8; steps 12; seed 5 }\n";

enum {
    ROWS = 37,
    SAVED_AT = 4, /* a checkpoint every so many steps */
    SECONDS = 60  /* after which a wait has failed */
};

typedef enum Disk { DISK_GOOD, DISK_HOLDS, DISK_FULL } Disk;

static _Atomic(int) disk;
static atomic_bool has_held, came_late;
static sem_t released;

/* Whether the file is of the unfinished checkpoint that the disk is bad for: the fourth step's
 * where it holds, the eighth's where it is full. */
static bool is_of(int fd, const char *step) {
    char link[64], path[4096] = "";
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, step);
}

int fsync(int fd) {
    if (atomic_load(&disk) == DISK_FULL && is_of(fd, "saved/.step-8.")) {
        errno = ENOSPC;
        return -1;
    }
    if (atomic_load(&disk) == DISK_HOLDS && is_of(fd, "saved/.step-4.") &&
        !atomic_exchange(&has_held, true)) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += SECONDS;
        atomic_store(&came_late, sem_timedwait(&released, &until) != 0);
    }
    return (int)syscall(SYS_fsync, fd);
}

typedef struct Run {
    dlc_context *context;
    dlc_session *session;
    dlc_dataset *data;
    int64_t steps;  /* done */
    bool was_there; /* the fourth step's checkpoint, while the disk held it */
    bool refuses;   /* memory for a copy */
    int said;
} Run;

static void *run_alloc(void *user, size_t bytes) {
    const Run *run = user;
    return run->refuses && bytes > 400000 ? NULL : malloc(bytes);
}

static void run_free(void *user, void *memory) {
    (void)user;
    free(memory);
}

static void run_log(void *user, dlc_log_level level, const char *text) {
    Run *run = user;
    (void)level;
    run->said += strstr(text, "no memory for a copy") != NULL;
}

static bool is_there(const char *pattern) {
    glob_t found;
    bool any = glob(pattern, GLOB_PERIOD, NULL, &found) == 0;
    globfree(&found);
    return any;
}

static int on_step(void *user, const dlc_step_info *info) {
    Run *run = user;
    run->steps = info->step;
    if (info->step == SAVED_AT + 3 && atomic_load(&disk) == DISK_HOLDS) {
        run->was_there = is_there("saved/step-4");
        sem_post(&released);
    }
    return 0;
}

static void run_begin(Run *run, const char *device, Disk kind) {
    const dlc_allocator allocator = {run_alloc, run_free, run};
    dlc_context_options hooks = {
        .struct_size = sizeof(hooks), .allocator = &allocator, .log = run_log, .user = run};
    static float x[ROWS * 3], y[ROWS];
    int64_t x_shape[] = {ROWS, 3}, y_shape[] = {ROWS, 1};
    for (int i = 0; i < ROWS * 3; i++) {
        x[i] = (float)(i * 37 % 101) / 101;
        y[i / 3] = x[i];
    }
    DLTensor xs = api_floats(x, 2, x_shape), ys = api_floats(y, 2, y_shape);
    const DLTensor *tensors[] = {&xs, &ys};
    const char *names[] = {"x", "y"};
    atomic_store(&disk, (int)kind);
    atomic_store(&has_held, false);
    assert_int_equal(dlc_context_create(&hooks, &run->context), DLC_OK);
    dlc_plan *plan = api_compile(run->context, PROGRAM, NULL);
    dlc_session_options options = {.struct_size = sizeof(options), .device = device};
    OK(run->context, dlc_session_create(plan, &options, &run->session));
    dlc_plan_destroy(plan);
    OK(run->context, dlc_dataset_from_tensors(run->context, names, tensors, 2, &run->data));
}

static void run_end(Run *run) {
    dlc_dataset_destroy(run->data);
    dlc_session_destroy(run->session);
    dlc_context_destroy(run->context);
}

static dlc_status train(Run *run, const char *folder, int64_t stop_after, int resume) {
    dlc_train_options options = {.struct_size = sizeof(options),
                                 .data = run->data,
                                 .checkpoint = folder,
                                 .checkpoint_every = SAVED_AT,
                                 .stop_after = stop_after,
                                 .resume = resume,
                                 .on_step = on_step,
                                 .user = run};
    return dlc_train(run->session, &options, NULL);
}

static void folders_remove(void) {
    assert_int_equal(system("rm -rf saved stopped"), 0);
}

static void same_files(const char *a, const char *b) {
    char command[256];
    snprintf(command, sizeof(command), "cmp '%s' '%s'", a, b);
    assert_int_equal(system(command), 0);
}

static const char *const devices[] = {"cpu", "cpu*2"};

/* Three steps are done while the disk holds the checkpoint of the fourth; it is of the fourth, and
 * has no name before all of it is written. */
static void test_meanwhile(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        Run run = {0};
        folders_remove();
        assert_int_equal(sem_init(&released, 0, 0), 0);
        run_begin(&run, devices[i], DISK_HOLDS);
        OK(run.context, train(&run, "saved", 8, DLC_RESUME_NO));
        assert_true(atomic_load(&has_held));
        assert_false(atomic_load(&came_late));
        assert_false(run.was_there);
        assert_true(is_there("saved/step-4") && is_there("saved/step-8"));
        atomic_store(&disk, DISK_GOOD);
        OK(run.context, train(&run, "stopped", SAVED_AT, DLC_RESUME_NO));
        same_files("saved/step-4/rank-0.safetensors", "stopped/step-4/rank-0.safetensors");
        same_files("saved/step-4/manifest.json", "stopped/step-4/manifest.json");
        run_end(&run);
        sem_destroy(&released);
    }
    folders_remove();
}

/* What fails in the background ends the run before another is saved; the one before it stands, and
 * is gone on from. */
static void test_full(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        Run run = {0};
        folders_remove();
        run_begin(&run, devices[i], DISK_FULL);
        assert_int_equal(train(&run, "saved", 0, DLC_RESUME_NO), DLC_ERROR_IO);
        assert_string_equal(dlc_last_error(run.context),
                            "cannot write a checkpoint in 'saved': No space left on device");
        assert_in_range(run.steps, 2 * SAVED_AT, 3 * SAVED_AT);
        assert_true(is_there("saved/step-4"));
        assert_false(is_there("saved/step-8") || is_there("saved/.step-*"));
        atomic_store(&disk, DISK_GOOD);
        OK(run.context, train(&run, "saved", 0, DLC_RESUME));
        assert_true(is_there("saved/step-12"));
        run_end(&run);
    }
    folders_remove();
}

/* Without memory for the copy it is written at once, and says so once. */
static void test_no_copy(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        Run run = {0};
        folders_remove();
        run_begin(&run, devices[i], DISK_GOOD);
        OK(run.context, train(&run, "stopped", 8, DLC_RESUME_NO));
        assert_int_equal(run.said, 0);
        run.refuses = true;
        OK(run.context, train(&run, "saved", 8, DLC_RESUME_NO));
        assert_int_equal(run.said, 1);
        same_files("saved/step-4/rank-0.safetensors", "stopped/step-4/rank-0.safetensors");
        same_files("saved/step-8/rank-0.safetensors", "stopped/step-8/rank-0.safetensors");
        run_end(&run);
    }
    folders_remove();
}

int main(void) {
    char folder[] = "/tmp/dlc-saver-XXXXXX";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meanwhile),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_no_copy),
    };
    if (!mkdtemp(folder) || chdir(folder) != 0) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return chdir("/") != 0 || rmdir(folder) != 0 || failed;
}
