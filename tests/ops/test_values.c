/* What the reference interpreter gives for every op, against the independent numbers of values.def;
 * and that faults are errors with a message. */
#include "tests/ops/harness_test.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "f64[2,B]" */
static Type type_of(Harness *h, const char *spec) {
    return harness_func(h, spec)->body->args[0]->type;
}

/* "2 3 B": sizes, kept in the context's arena. */
static const Size *const *sizes(Harness *h, const char *text) {
    const Size **out = ARENA_ARRAY(&h->context.arena, const Size *, TYPE_MAX_RANK);
    char word[32];
    int32_t count = 0;
    int used = 0;
    while (sscanf(text, "%31s%n", word, &used) == 1) {
        out[count++] = harness_size(h, word);
        text += used;
    }
    return out;
}

#define VALUE(name, args, expected, ...)                                                           \
    static Value *build_##name(Harness *h, Builder *b, Value **x) {                                \
        (void)h;                                                                                   \
        (void)x;                                                                                   \
        __VA_ARGS__                                                                                \
    }
#include "tests/ops/values.def"
#undef VALUE

typedef struct ValueCase {
    const char *name, *args, *expected;
    HarnessBuild *build;
} ValueCase;

static const ValueCase CASES[] = {
#define VALUE(name, args, expected, ...) {#name, args, expected, build_##name},
#include "tests/ops/values.def"
#undef VALUE
};

enum { N_CASES = sizeof CASES / sizeof CASES[0] };

/* Fills a tensor from numbers up to a ';' or the end; returns what follows. */
static const char *read_elements(EvalTensor *tensor, const char *text) {
    for (int64_t i = 0; i < tensor->n; i++) {
        char *end = NULL;
        if (tensor->f) {
            tensor->f[i] = strtod(text, &end);
        } else {
            tensor->i[i] = strtoll(text, &end, 10);
        }
        assert_ptr_not_equal(text, end);
        text = end;
    }
    return text + strspn(text, "; ");
}

/* Makes the Func's arguments of "f64[2] 1 2; i32[] 0". */
static Func *read_args(Harness *h, const char *text, EvalTensor *args) {
    char specs[256] = "";
    const char *rest = text;
    while (*rest) {
        const char *end = strchr(rest, ']') + 1;
        size_t length = strlen(specs);
        snprintf(specs + length, sizeof specs - length, "%.*s ", (int)(end - rest), rest);
        rest = strchr(rest, ';');
        rest = rest ? rest + strspn(rest, "; ") : "";
    }
    Func *func = harness_func(h, specs);
    harness_args(h, func, specs, 1, args);
    for (int32_t i = 0; i < func->body->n_args; i++) {
        text = read_elements(&args[i], strchr(text, ']') + 1);
    }
    return func;
}

static void set_result(Func *func, Value *y) {
    FuncResult result = {.role = RESULT_OUTPUT, .name = "y"};
    func_set_results(func, &result, &y, 1);
}

static void check_values(const ValueCase *row, const EvalTensor *got) {
    EvalTensor expected = {0};
    assert_int_equal(eval_tensor_init(&expected, got->dtype, got->rank, got->dims, NULL), DLC_OK);
    const char *rest = read_elements(&expected, row->expected);
    assert_string_equal(rest, "");
    for (int64_t i = 0; i < got->n; i++) {
        bool same = got->f ? fabs(got->f[i] - expected.f[i]) <= 1e-14 * (1 + fabs(expected.f[i])) ||
                                 got->f[i] == expected.f[i] ||
                                 (isnan(got->f[i]) && isnan(expected.f[i]))
                           : got->i[i] == expected.i[i];
        if (!same) {
            fail_msg("%s: element %lld is %.17g, expected %.17g", row->name, (long long)i,
                     got->f ? got->f[i] : (double)got->i[i],
                     got->f ? expected.f[i] : (double)expected.i[i]);
        }
    }
    eval_tensor_finish(&expected, NULL);
}

static void test_value(void **state) {
    const ValueCase *row = *state;
    Harness *h = harness_begin();
    GUARD(h);
    EvalTensor args[HARNESS_MAX_ARGS] = {0}, result = {0};
    Func *func = read_args(h, row->args, args);
    Builder b = builder_at_end(func, func->body);
    set_result(func, row->build(h, &b, func->body->args));
    if (!harness_verify(h, func) || !harness_run(h, func, args, &result, false)) {
        fail_msg("%s: %s", row->name, h->message);
    }
    check_values(row, &result);
    harness_free(args, func->body->n_args);
    eval_tensor_finish(&result, NULL);
    harness_end(h);
}

/* Runs what must fail, and compares the message. */
static void expect_fault(const char *args_text, HarnessBuild *build, const char *message) {
    Harness *h = harness_begin();
    GUARD(h);
    EvalTensor args[HARNESS_MAX_ARGS] = {0}, result = {0};
    Func *func = read_args(h, args_text, args);
    Builder b = builder_at_end(func, func->body);
    set_result(func, build(h, &b, func->body->args));
    assert_true(harness_verify(h, func));
    assert_false(harness_run(h, func, args, &result, false));
    assert_string_equal(h->message, message);
    assert_null(result.f);
    harness_free(args, func->body->n_args);
    harness_end(h);
}

static Value *bad_take(Harness *h, Builder *b, Value **x) {
    (void)h;
    return b_take(b, x[0], x[1], 0);
}

static Value *bad_start(Harness *h, Builder *b, Value **x) {
    return b_dynamic_slice(b, x[0], x + 1, sizes(h, "2"));
}

static Value *bad_check(Harness *h, Builder *b, Value **x) {
    (void)h;
    b_check(b, x[1], "the rate must be positive");
    return x[0];
}

static Value *bad_sizes(Harness *h, Builder *b, Value **x) {
    b_size_check(b, harness_size(h, "B"), harness_size(h, "T"), "left and right");
    return x[0];
}

static Value *endless(Harness *h, Builder *b, Value **x) {
    (void)h;
    Op *loop = b_while_begin(b, x, 1, 5);
    Builder condition = builder_at_end(b->func, loop->blocks[0]);
    Value *always = b_constant(&condition, 1, type_scalar(DT_BOOL));
    b_yield(&condition, &always, 1);
    Builder body = builder_at_end(b->func, loop->blocks[1]);
    b_yield(&body, &loop->blocks[1]->args[0], 1);
    return b_op(b, loop);
}

static void test_faults(void **state) {
    (void)state;
    expect_fault("f64[2] 1 2; i32[2] 0 2", bad_take, "interpreter: take: index 2 is outside 0..2");
    expect_fault("f64[2] 1 2; i32[1] -1", bad_take, "interpreter: take: index -1 is outside 0..2");
    expect_fault("f64[3] 1 2 3; i32[] 2", bad_start,
                 "interpreter: dynamic_slice: start 2 with size 2 is outside axis 0 of size 3");
    expect_fault("f64[1] 1; bool[] 0", bad_check,
                 "interpreter: check failed: the rate must be positive");
    expect_fault("f64[1] 1", bad_sizes, "interpreter: sizes 3 and 4 must be equal: left and right");
    expect_fault("f64[1] 1", endless, "interpreter: while: more than 5 iterations");
}

/* The published test vectors of Philox4x32-10 (Random123, kat_vectors). */
static void test_philox(void **state) {
    (void)state;
    static const uint32_t VECTORS[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (size_t i = 0; i < 3; i++) {
        uint32_t out[4];
        philox(VECTORS[i], VECTORS[i] + 4, out);
        assert_memory_equal(out, VECTORS[i] + 6, sizeof out);
    }
}

/* Arguments are checked; a failing allocation anywhere is a status, and nothing leaks. */
typedef struct Countdown {
    long left, live;
} Countdown;

static void *count_alloc(void *user, size_t bytes) {
    Countdown *countdown = user;
    if (countdown->left-- == 0) {
        return NULL;
    }
    countdown->live++;
    return malloc(bytes);
}

static void count_free(void *user, void *memory) {
    ((Countdown *)user)->live--;
    free(memory);
}

static void test_no_memory(void **state) {
    (void)state;
    Harness *h = harness_begin();
    GUARD(h);
    EvalTensor args[HARNESS_MAX_ARGS] = {0};
    Func *func = read_args(h, "f64[] 10; f64[4] 1 2 3 4", args);
    Builder b = builder_at_end(func, func->body);
    set_result(func, build_scan_stacked(h, &b, func->body->args));
    const EvalTensor *list[] = {&args[0], &args[1]};
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    for (long n = 0; status != DLC_OK; n++) {
        assert_true(n < 1000);
        Countdown countdown = {.left = n};
        dlc_allocator allocator = {count_alloc, count_free, &countdown};
        Interp interp = {.context = &h->context,
                         .allocator = &allocator,
                         .dim_values = h->dim_values,
                         .n_dims = 2};
        EvalTensor result = {0};
        status = interp_run(&interp, func, list, &result);
        assert_true(status == DLC_OK || status == DLC_ERROR_OUT_OF_MEMORY);
        eval_tensor_finish(&result, &allocator);
        assert_int_equal(countdown.live, 0);
    }
    EvalTensor result = {0};
    Interp interp = {.context = &h->context, .dim_values = h->dim_values, .n_dims = 2};
    list[1] = &args[0];
    assert_int_equal(interp_run(&interp, func, list, &result), DLC_ERROR_MISMATCH);
    assert_string_equal(interp.message, "argument 1 ('x1') does not have the type f64[4]");
    harness_free(args, 2);
    harness_end(h);
}

int main(void) {
    static struct CMUnitTest tests[N_CASES + 3];
    for (int i = 0; i < N_CASES; i++) {
        tests[i] = (struct CMUnitTest){.name = CASES[i].name,
                                       .test_func = test_value,
                                       .initial_state = (void *)(uintptr_t)&CASES[i]};
    }
    tests[N_CASES] = (struct CMUnitTest)cmocka_unit_test(test_faults);
    tests[N_CASES + 1] = (struct CMUnitTest)cmocka_unit_test(test_philox);
    tests[N_CASES + 2] = (struct CMUnitTest)cmocka_unit_test(test_no_memory);
    return cmocka_run_group_tests_name("op_values", tests, NULL, NULL);
}
