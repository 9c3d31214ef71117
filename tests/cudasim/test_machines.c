/* What backends say of machines: the processor that this host is, the GPUs that are present (the
 * simulated ones, of any architecture), and the memory that blocks of threads have there. */
#include "codegen/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static Boundary boundary;

static Machine described(const char *target, const char *option, Arena *arena) {
    char message[TARGET_MESSAGE_BYTES] = "";
    Machine machine = {0};
    if (target_find(target)->describe(option, arena, &machine, message) != DLC_OK) {
        fail_msg("%s:%s: %s", target, option ? option : "", message);
    }
    return machine;
}

/* As the x86-64 ABI defines the levels, asked of the processor itself. */
static const char *level_of_host(void) {
    __builtin_cpu_init();
    bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("ssse3") &&
              __builtin_cpu_supports("popcnt");
    bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
              __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    return v4 ? "x86-64-v4" : v3 ? "x86-64-v3" : "x86-64-v2";
}

static void test_host(void **state) {
    (void)state;
    Arena arena;
    arena_init(&arena, NULL, &boundary);
    assert_string_equal(described("cpu", NULL, &arena).name, level_of_host());
    assert_string_equal(described("cpu", "native", &arena).name, level_of_host());
    arena_finish(&arena);
}

/* Bytes of shared memory that one block may have, by NVIDIA's table of compute capabilities. */
static void test_shared_memory(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t bytes;
    } rows[] = {{"sm_75", 65536},  {"sm_80", 166912},  {"sm_86", 101376}, {"sm_89", 101376},
                {"sm_90", 232448}, {"sm_100", 232448}, {"sm_120", 101376}};
    Arena arena;
    arena_init(&arena, NULL, &boundary);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(described("cuda", rows[i].name, &arena).shared_bytes, rows[i].bytes);
    }
    arena_finish(&arena);
}

/* What `--target cuda` means with one GPU of that architecture; by a process that has never asked.
 */
static void check_present(const char *arch, const char *wanted) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        const char *found[8];
        setenv("DLC_CUDASIM_ARCH", arch, 1);
        int32_t n = target_find("cuda")->expand(NULL, found, 8);
        bool right = n == 1 && strcmp(found[0], wanted) == 0;
        if (!right) {
            printf("a GPU of %s gets code for %s, %d in all, not %s\n", arch, n ? found[0] : "none",
                   (int)n, wanted);
            fflush(stdout);
        }
        _exit(right ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Its own generation's code or the newest older one's, never a newer one's. */
static void test_present(void **state) {
    (void)state;
    check_present("75", "sm_75");
    check_present("80", "sm_80");
    check_present("86", "sm_86");
    check_present("87", "sm_86");
    check_present("89", "sm_89");
    check_present("90", "sm_90");
    check_present("100", "sm_100");
    check_present("103", "sm_100");
    check_present("121", "sm_120");
}

int main(void) {
    if (setjmp(boundary.jump)) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_shared_memory),
        cmocka_unit_test(test_present),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
