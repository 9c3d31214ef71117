/* How ranks meet in the interpreter: collectives in loops, groups that go on without each other;
 * and ranks that do not meet, do not agree, end or fail while others wait, which is an error that
 * says so, never a hang. */
#include "ir/interp.h"
#include "tests/unit/ir_sample.h"

#include <stdatomic.h>
#include <stdio.h>

enum { MOST_RANKS = 80 };

#define HEAD                                                                                       \
    "module \"m\" {\n"                                                                             \
    "    mesh a = *\n    mesh b = *\n"                                                             \
    "    dim N in 0..\n"                                                                           \
    "    dim a.rank is rank over \"a\"\n    dim b.rank is rank over \"b\"\n"                       \
    "    dim a.b.rank is rank over \"a,b\"\n"                                                      \
    "    dim N.a is piece of N over \"a\"\n"                                                       \
    "}\nfunc \"f\" infer (\n"                                                                      \
    "    %0: f64[] = input \"x\"\n"                                                                \
    ") {\n"                                                                                        \
    "    %1 = constant {value = 1.0, dtype = i32, shape = []} : i32[]\n"                           \
    "    %2 = constant {value = 1.0, dtype = f64, shape = [2]} : f64[2]\n"
#define TAIL "    yield %9\n} -> (\n    output \"y\"\n)\n"

/* A loop of so many turns, with a collective in each; %9 is the carry. */
#define TURNS(result, length, type, op)                                                            \
    "    " result " = scan %0 {length = " length                                                   \
    ", carries = 1, reverse = false} : f64[] (%20: i32[], %21: f64[]) {\n"                         \
    "        %22 = " op " : " type "\n        yield %21\n    }\n"
#define ADD(value, over) "all_reduce " value " {combine = \"add\", over = \"" over "\"}"

typedef struct Run {
    Fixture *fixture;
    Module *module;
    InterpRanks ranks;
    int64_t dims[1];
    double inputs[MOST_RANKS], outputs[MOST_RANKS];
    DType input_dtype[MOST_RANKS];
} Run;

static Module *read_text(Fixture *f, const char *text) {
    const Source *source = context_source(&f->context, "t.ir", text, strlen(text), false);
    Module *module = module_parse(&f->context, source);
    if (!module) {
        str_clear(&f->report);
        diag_print(f->context.diags.items[0], &f->report, false);
        fail_msg("%s\n%s", str_text(&f->report), text);
    }
    return module;
}

/* Runs it on a x b ranks, whose inputs are their numbers. */
static dlc_status run_text(Fixture *f, const char *text, int64_t a, int64_t b,
                           const dlc_allocator *allocator, Run *run) {
    EvalTensor args[MOST_RANKS] = {0}, results[MOST_RANKS] = {0};
    const EvalTensor *list[MOST_RANKS], *const *arg_lists[MOST_RANKS];
    EvalTensor *result_lists[MOST_RANKS];
    run->module = read_text(f, text);
    run->ranks = (InterpRanks){.context = &f->context,
                               .allocator = allocator,
                               .shape = {.n_axes = 2, .sizes = {a, b}},
                               .dim_values = run->dims,
                               .n_dims = 1};
    for (int64_t r = 0; r < a * b; r++) {
        assert_int_equal(eval_tensor_init(&args[r], DT_F64, 0, NULL, NULL), DLC_OK);
        args[r].f[0] = (double)r;
        list[r] = &args[r];
        arg_lists[r] = &list[r];
        result_lists[r] = &results[r];
    }
    dlc_status status = interp_run_ranks(&run->ranks, run->module->first, arg_lists, result_lists);
    for (int64_t r = 0; r < a * b; r++) {
        run->outputs[r] = !status ? results[r].f[0] : 0;
        assert_true(!status || !results[r].f);
        eval_tensor_finish(&results[r], allocator);
        eval_tensor_finish(&args[r], NULL);
    }
    return status;
}

/* -- ranks that meet */

/* Groups along a that take 2 and 3 turns: nobody waits for the other group. */
static void test_groups_apart(void **state) {
    Fixture *f = *state;
    GUARD(f)
    Run run = {0};
    const char *text =
        HEAD "    %9 = scan %0 {length = b.rank + 2, carries = 1, reverse = false} : f64[] "
             "(%20: i32[], %21: f64[]) {\n"
             "        %22 = " ADD("%21", "a") " : f64[]\n        yield %22\n    }\n" TAIL;
    assert_int_equal(run_text(f, text, 2, 2, NULL, &run), DLC_OK);
    static const double WANTED[] = {4, 16, 4, 16}; /* 0 + 2, twice 2; 1 + 3, twice 2 twice 2 */
    for (int r = 0; r < 4; r++) {
        if (!(run.outputs[r] == WANTED[r])) {
            fail_msg("rank %d: %g, not %g", r, run.outputs[r], WANTED[r]);
        }
    }
}

/* A loop whose end all ranks decide together. */
static void test_while(void **state) {
    Fixture *f = *state;
    GUARD(f)
    Run run = {0};
    const char *text = HEAD
        "    %9 = while %0 {limit = 0} : f64[] (%20: f64[]) {\n"
        "        %21 = constant {value = 100.0, dtype = f64, shape = []} : f64[]\n"
        "        %22 = " ADD(
            "%20",
            "a,b") " : f64[]\n"
                   "        %23 = lt %22, %21 : bool[]\n        yield %23\n    } (%30: f64[]) {\n"
                   "        %31 = add %30, %30 : f64[]\n        yield %31\n    }\n" TAIL;
    assert_int_equal(run_text(f, text, 3, 1, NULL, &run), DLC_OK); /* 3, 6, … 96, 192 */
    for (int r = 0; r < 3; r++) {
        assert_true(run.outputs[r] == 64.0 * r);
    }
}

/* -- ranks that do not */

typedef struct Failure {
    int64_t a, b, n;
    dlc_status status;
    const char *said, *said_too; /* parts of the message */
    const char *text;
} Failure;

#define FAILURE(a, b, n, status, said, said_too, ops)                                              \
    {a, b, n, status, said, said_too, HEAD ops TAIL},
static const Failure FAILURES[] = {
#include "tests/unit/meeting_cases.def"
};

static void check_failure(Fixture *f, const Failure *failure) {
    GUARD(f)
    Run run = {.dims = {failure->n}};
    dlc_status status = run_text(f, failure->text, failure->a, failure->b, NULL, &run);
    assert_int_equal(status, failure->status);
    if (!strstr(run.ranks.message, failure->said) ||
        !strstr(run.ranks.message, failure->said_too)) {
        fail_msg("\"%s\" does not say \"%s\" and \"%s\"\n%s", run.ranks.message, failure->said,
                 failure->said_too, failure->text);
    }
}

/* Several times each: which rank comes last, nobody knows. */
static void test_failures(void **state) {
    for (size_t i = 0; i < sizeof(FAILURES) / sizeof(FAILURES[0]); i++) {
        for (int turn = 0; turn < 8; turn++) {
            setup(state);
            check_failure(*state, &FAILURES[i]);
            teardown(state);
        }
    }
}

/* One rank alone has nobody to meet; a mesh that says its sizes has no other. */
static void test_alone(void **state) {
    Fixture *f = *state;
    GUARD(f)
    Module *module = read_text(f, HEAD "    %9 = " ADD("%0", "a") " : f64[]\n" TAIL);
    EvalTensor x = {0}, y = {0};
    assert_int_equal(eval_tensor_init(&x, DT_F64, 0, NULL, NULL), DLC_OK);
    int64_t dims[8] = {0};
    Interp interp = {.context = &f->context, .dim_values = dims, .n_dims = module->n_dims};
    assert_int_equal(interp_run(&interp, module->first, (const EvalTensor *[]){&x}, &y),
                     DLC_ERROR_FAULT);
    assert_non_null(strstr(interp.message, "all_reduce: there are no ranks to meet"));
    module->mesh[0].size = 2;
    InterpRanks ranks = {.context = &f->context,
                         .shape = {.n_axes = 2, .sizes = {3, 1}},
                         .dim_values = dims,
                         .n_dims = 1};
    const EvalTensor *const list[] = {&x}, *const *const lists[] = {list, list, list};
    EvalTensor *const results[] = {&y, &y, &y};
    assert_int_equal(interp_run_ranks(&ranks, module->first, lists, results), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(ranks.message, "the mesh does not fit the module's"));
    eval_tensor_finish(&x, NULL);
}

/* An argument that does not fit its rank. */
static void test_wrong_argument(void **state) {
    Fixture *f = *state;
    GUARD(f)
    Module *module = read_text(
        f, "module \"m\" {\n mesh a = *\n dim N in 0..\n dim N.a is piece of N over \"a\"\n}\n"
           "func \"f\" infer has sharded (\n"
           "%0: f64[N.a] = input \"x\" of f64[N] cut 0 (1, N, 1) over \"a\"\n) {\n"
           " %1 = reduce_sum %0 {axes = [0]} : f64[]\n %2 = " ADD(
               "%1", "a") " : f64[]\n yield %2\n} -> (\n output \"y\"\n)\n");
    EvalTensor x = {0}, y[2] = {0};
    assert_int_equal(eval_tensor_init(&x, DT_F64, 1, (int64_t[]){2}, NULL), DLC_OK);
    int64_t rows = 3;
    InterpRanks ranks = {.context = &f->context,
                         .shape = {.n_axes = 1, .sizes = {2}},
                         .dim_values = &rows,
                         .n_dims = 1};
    const EvalTensor *const list[] = {&x}, *const *const lists[] = {list, list};
    EvalTensor *const results[] = {&y[0], &y[1]};
    assert_int_equal(interp_run_ranks(&ranks, module->first, lists, results), DLC_ERROR_MISMATCH);
    assert_string_equal(ranks.message, "rank 1: argument 0 ('x') does not have the type f64[N.a]");
    assert_int_equal(ranks.fault_rank, 1);
    eval_tensor_finish(&x, NULL);
}

/* -- memory that ends somewhere */

typedef struct Countdown {
    atomic_int left, taken;
} Countdown;

static void *take(void *user, size_t bytes) {
    Countdown *countdown = user;
    if (atomic_fetch_sub(&countdown->left, 1) <= 0) {
        return NULL;
    }
    void *memory = malloc(bytes);
    atomic_fetch_add(&countdown->taken, memory != NULL);
    return memory;
}

static void give(void *user, void *memory) {
    Countdown *countdown = user;
    atomic_fetch_sub(&countdown->taken, memory != NULL);
    free(memory);
}

static void test_memory(void **state) {
    const char *text = HEAD
        "    %3 = " ADD("%0", "a") " : f64[]\n" TURNS("%9", "3", "f64[]", ADD("%3", "a,b")) TAIL;
    for (volatile int room = 0, done = 0; !done; room = room + 1) {
        assert_true(room < 1000);
        setup(state);
        Fixture *f = *state;
        GUARD(f)
        Countdown countdown = {.left = room};
        dlc_allocator allocator = {.alloc = take, .free = give, .user = &countdown};
        Run run = {0};
        dlc_status status = run_text(f, text, 2, 2, &allocator, &run);
        assert_int_equal(atomic_load(&countdown.taken), 0);
        assert_true(status == DLC_OK || status == DLC_ERROR_OUT_OF_MEMORY);
        done = status == DLC_OK;
        assert_true(done ? room > 20 && run.outputs[3] == 3 : strlen(run.ranks.message) > 0);
        teardown(state);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_groups_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_while, setup, teardown),
        cmocka_unit_test(test_failures),
        cmocka_unit_test_setup_teardown(test_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_argument, setup, teardown),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("meeting", tests, NULL, NULL);
}
