/* Kernels against the reference interpreter: random graphs, fused and one op at a time, run by the
 * loop IR's interpreter (every access checked, the levels of processors in turn) and as compiled
 * code. DLC_KERNEL_GRAPHS and DLC_KERNEL_FIRST choose the seeds, an argument the test by name;
 * DLC_KERNEL_VERBOSE prints what fails. */
#include "codegen/target.h"
#include "tests/fuzz/random_graph.h"
#include "tests/ops/kernel_agree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void check_seed(Harness *h, uint64_t seed, const Machine *machine, bool compiled) {
    RandomGraphOptions options = {.n_ops = 8 + (int32_t)(seed % 32)};
    Func *func = random_graph(h->module, seed, &options);
    EvalTensor args[64] = {0};
    random_dims(seed, h->dim_values);
    bool good = random_args(func, seed, h->dim_values, 2, true, args) &&
                kernel_agree(h, machine, func, args, compiled, NULL);
    if (!good) {
        fprintf(stderr, "seed %llu, %s\n", (unsigned long long)seed, h->message);
    }
    harness_free(args, func->body->n_args);
    assert_true(good);
}

/* Interpreted kernels need no processor: every level's tiles are seen on every machine. */
static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};

static void each_seed(uint64_t count, bool compiled) {
    volatile uint64_t at = setting("DLC_KERNEL_FIRST", 0);
    volatile uint64_t end = at + setting("DLC_KERNEL_GRAPHS", count);
    for (; at < end; at++) {
        Harness *h = calloc(1, sizeof *h);
        harness_init(h);
        if (setjmp(h->boundary.jump)) {
            fail_msg("seed %llu: left through the boundary", (unsigned long long)at);
        }
        if (getenv("DLC_KERNEL_VERBOSE")) {
            fprintf(stderr, "seed %llu\n", (unsigned long long)at);
        }
        Machine machine = {0};
        char message[512];
        const Target *target = target_find("cpu");
        const char *level = compiled ? NULL : levels[at % 3]; /* NULL: this processor's own */
        assert_int_equal(target->describe(level, &h->context.arena, &machine, message), DLC_OK);
        check_seed(h, at, &machine, compiled);
        harness_finish(h);
        free(h);
    }
}

static void test_interpreted(void **state) {
    (void)state;
    each_seed(600, false);
}

static void test_compiled(void **state) {
    (void)state;
    each_seed(25, true);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interpreted),
        cmocka_unit_test(test_compiled),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
