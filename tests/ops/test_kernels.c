/* Kernels against the reference interpreter: random graphs, fused and one op at a time, run by the
 * loop IR's interpreter (every access checked) and as compiled code. DLC_KERNEL_GRAPHS and
 * DLC_KERNEL_FIRST choose the seeds, an argument the test by name; DLC_KERNEL_VERBOSE prints what
 * fails. */
#include "codegen/target.h"
#include "passes/fuse.h"
#include "tests/fuzz/random_graph.h"
#include "tests/ops/harness.h"
#include "tests/ops/kernel_exec.h"

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

static void print_func(Func *func) {
    Str text;
    str_init(&text, NULL);
    func_print(func, &text);
    fprintf(stderr, "%s\n", str_text(&text));
    str_finish(&text);
}

typedef struct Mode {
    const char *name;
    bool trivial, compiled, inplace, backwards;
} Mode;

static const Mode modes[] = {
    {"one op at a time, interpreted", true, false, false, false},
    {"fused, interpreted", false, false, true, true},
    {"fused, compiled", false, true, true, true},
};
enum { N_MODES = 3 };

static bool check_mode(Harness *h, const Mode *mode, const Machine *machine, Func *func,
                       const EvalTensor *args, const EvalTensor *wide, const EvalTensor *declared) {
    Func *copy = func_clone(func, "fused");
    PassContext pass = {.context = &h->context, .scratch = &h->scratch, .machine = machine};
    if (mode->trivial) {
        fuse_trivially(&pass, copy);
    } else {
        pass_fuse(&pass, copy);
    }
    bool good = harness_verify(h, copy);
    EvalTensor got[HARNESS_MAX_RESULTS] = {0};
    KernelExec exec = {.context = &h->context,
                       .machine = machine,
                       .dim_values = h->dim_values,
                       .n_dims = 2,
                       .compiled = mode->compiled,
                       .inplace = mode->inplace,
                       .backwards = mode->backwards};
    if (good && !kernel_exec(&exec, copy, args, got)) {
        snprintf(h->message, sizeof h->message, "%s", exec.message);
        good = false;
    }
    DType coarsest = random_coarsest(func);
    for (int32_t i = 0; good && i < func->n_results; i++) {
        int64_t at = 0;
        if (!random_close(&wide[i], &declared[i], &got[i], coarsest, &at)) {
            snprintf(h->message, sizeof h->message, "result %d, element %lld: %.9g, not %.9g",
                     (int)i, (long long)at, got[i].f ? got[i].f[at] : (double)got[i].i[at],
                     wide[i].f ? wide[i].f[at] : (double)wide[i].i[at]);
            good = false;
        }
    }
    harness_free(got, func->n_results);
    if (!good && getenv("DLC_KERNEL_VERBOSE")) {
        print_func(func);
        print_func(copy);
        exec.verbose = true;
        EvalTensor again[HARNESS_MAX_RESULTS] = {0};
        kernel_exec(&exec, copy, args, again);
        harness_free(again, func->n_results);
    }
    func_remove(copy);
    return good;
}

static void check_seed(Harness *h, uint64_t seed, const Machine *machine, bool compiled) {
    RandomGraphOptions options = {.n_ops = 8 + (int32_t)(seed % 32)};
    Func *func = random_graph(h->module, seed, &options);
    EvalTensor args[64] = {0}, wide[HARNESS_MAX_RESULTS] = {0}, declared[HARNESS_MAX_RESULTS] = {0};
    random_dims(seed, h->dim_values);
    bool good = random_args(func, seed, h->dim_values, 2, true, args) &&
                harness_run(h, func, args, wide, true) &&
                harness_run(h, func, args, declared, false);
    for (int m = 0; m < N_MODES && good; m++) {
        if (modes[m].compiled != compiled) {
            continue;
        }
        if (!check_mode(h, &modes[m], machine, func, args, wide, declared)) {
            fprintf(stderr, "seed %llu, %s: %s\n", (unsigned long long)seed, modes[m].name,
                    h->message);
            good = false;
        }
    }
    harness_free(args, func->body->n_args);
    harness_free(wide, func->n_results);
    harness_free(declared, func->n_results);
    assert_true(good);
}

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
        assert_int_equal(target->describe(NULL, &h->context.arena, &machine, message), DLC_OK);
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
