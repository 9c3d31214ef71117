/* Kernels against the reference interpreter: random graphs, fused and one op at a time, run by the
 * loop IR's interpreter (every access checked, the levels of processors in turn) and as compiled
 * code; and ops at run-time positions, good and bad. DLC_KERNEL_GRAPHS and DLC_KERNEL_FIRST choose
 * the seeds, an argument the test by name; DLC_KERNEL_VERBOSE prints what fails. */
#include "codegen/target.h"
#include "passes/fuse/fuse.h"
#include "tests/fuzz/random_graph.h"
#include "tests/ops/kernel_agree.h"
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

static void check_seed(Harness *h, uint64_t seed, const Machine *machine, bool compiled) {
    RandomGraphOptions options = {.n_ops = 8 + (int32_t)(seed % 32)};
    Func *func = random_graph(h->module, seed, &options);
    EvalTensor args[64] = {0};
    random_dims(h->module, seed, h->dim_values);
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
        harness_init_dims(h, at % 4 != 3); /* every fourth graph's axes may be empty */
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

/* -- run-time positions */

typedef Value *MakeRead(Builder *b, Value **x);

static Value *make_take(Builder *b, Value **x) {
    return b_take(b, x[0], x[1], 0);
}

static Value *make_take_add(Builder *b, Value **x) {
    return b_take_add(b, x[0], x[1], x[2], 0);
}

static Value *make_gather(Builder *b, Value **x) {
    return b_gather(b, x[0], x[1], 1);
}

static Value *make_scatter_add(Builder *b, Value **x) {
    return b_scatter_add(b, x[0], x[1], x[2], 1);
}

static Value *make_dynamic_slice(Builder *b, Value **x) {
    Value *starts[] = {x[1], x[2]};
    const Size *shape[] = {size_const(b->context, 2), size_const(b->context, 3)};
    return b_dynamic_slice(b, x[0], starts, shape);
}

static Value *make_dynamic_update(Builder *b, Value **x) {
    Value *starts[] = {x[1], x[2]};
    return b_dynamic_update(b, x[0], x[3], starts);
}

static const struct {
    const char *name, *spec;
    MakeRead *make;
    int64_t bound; /* of the positions that operand 1 holds */
} reads[] = {
    {"take", "f32[5,3] i32[2]", make_take, 5},
    {"take_add", "f32[5,3] i32[2] f32[2,3]", make_take_add, 5},
    {"gather", "f32[2,5] i32[2,2]", make_gather, 5},
    {"scatter_add", "f32[2,5] i32[2,2] f32[2,2]", make_scatter_add, 5},
    {"dynamic_slice", "f32[5,3] i32[] i32[]", make_dynamic_slice, 4},
    {"dynamic_update", "f32[5,3] i32[] i32[] f32[2,3]", make_dynamic_update, 4},
};
enum { N_READS = sizeof(reads) / sizeof(reads[0]) };

/* Whether the kernels, with every position `id`, end as they should: in a fault, or in none; an
 * access outside of its buffer is neither. */
static bool read_ends_well(Harness *h, int r, int64_t id, const Machine *machine) {
    Func *func = harness_func(h, reads[r].spec);
    Builder b = builder_at_end(func, func->body);
    EvalTensor args[HARNESS_MAX_ARGS] = {0}, got[HARNESS_MAX_RESULTS] = {0};
    Value *y = reads[r].make(&b, func->body->args);
    FuncResult result = {.role = RESULT_OUTPUT, .name = "y"};
    func_set_results(func, &result, &y, 1);
    harness_args(h, func, reads[r].spec, 3, args);
    for (int32_t a = 1; a < func->body->n_args; a++) {
        for (int64_t i = 0; args[a].i && i < args[a].n; i++) {
            args[a].i[i] = a == 1 ? id : 0;
        }
    }
    PassContext pass = {.context = &h->context, .scratch = &h->scratch, .machine = machine};
    fuse_trivially(&pass, func);
    KernelExec exec = {
        .context = &h->context, .machine = machine, .dim_values = h->dim_values, .n_dims = 2};
    bool ran = kernel_exec(&exec, func, args, got);
    bool is_bad = id < 0 || id >= reads[r].bound;
    char wanted[64];
    snprintf(wanted, sizeof wanted, ": %lld of %lld", (long long)id, (long long)reads[r].bound);
    bool well =
        ran ? !is_bad
            : is_bad && strstr(exec.message, "fault at site") && strstr(exec.message, wanted);
    if (!well) {
        fprintf(stderr, "%s at %lld of %lld: %s\n", reads[r].name, (long long)id,
                (long long)reads[r].bound, ran ? "no fault" : exec.message);
    }
    harness_free(got, ran ? func->n_results : 0);
    harness_free(args, func->body->n_args);
    return well;
}

/* A bad position is a fault, and what is read or written all the same lies inside. */
static void test_positions(void **state) {
    (void)state;
    Harness *h = calloc(1, sizeof *h);
    harness_init(h);
    if (setjmp(h->boundary.jump)) {
        fail_msg("left through the boundary");
    }
    Machine machine = {0};
    char message[512];
    assert_int_equal(target_find("cpu")->describe(levels[1], &h->context.arena, &machine, message),
                     DLC_OK);
    int n_bad = 0;
    for (int r = 0; r < N_READS; r++) {
        const int64_t ids[] = {0,  reads[r].bound - 1, reads[r].bound, reads[r].bound + 5,
                               -1, INT32_MIN,          INT32_MAX};
        for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
            n_bad += !read_ends_well(h, r, ids[i], &machine);
        }
    }
    harness_finish(h);
    free(h);
    assert_int_equal(n_bad, 0);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interpreted),
        cmocka_unit_test(test_compiled),
        cmocka_unit_test(test_positions),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
