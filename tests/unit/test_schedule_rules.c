/* What a plan keeps to when something refuses half-way: whatever check, OK or `while` says no,
 * after whatever store could have happened, every variable is as it was; when all say yes, all of
 * them are new. A `while` turns as often as its limit allows, and its condition changes nothing
 * that its body reads. */
#include "dlc/dlc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WIDTH = 203 };

typedef struct Bench {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
} Bench;

static void bench_open(Bench *b, const char *name, const char *text, int poison) {
    *b = (Bench){0};
    assert_int_equal(dlc_context_create(NULL, &b->context), DLC_OK);
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .flags = DLC_COMPILE_INPUT_IR | DLC_COMPILE_VERIFY_EACH};
    if (dlc_compile(b->context, text, strlen(text), &options, &b->plan) != DLC_OK) {
        fail_msg("%s: %s\n%s\n%s", name, dlc_last_error(b->context),
                 dlc_diagnostics_text(b->context, 0), text);
    }
    dlc_session_options run = {.struct_size = sizeof(run), .threads = 1, .poison = poison};
    assert_int_equal(dlc_session_create(b->plan, &run, &b->session), DLC_OK);
}

static void bench_close(Bench *b) {
    dlc_session_destroy(b->session);
    dlc_plan_destroy(b->plan);
    dlc_context_destroy(b->context);
}

static DLTensor row(void *data, DLDataTypeCode code, int64_t *shape, int32_t rank) {
    return (DLTensor){.data = data,
                      .device = {kDLCPU, 0},
                      .ndim = rank,
                      .dtype = {(uint8_t)code, code == kDLBool ? 8 : 32, 1},
                      .shape = shape};
}

static void give(Bench *b, int64_t n, bool input, const char *name, float first) {
    float values[WIDTH];
    int64_t shape[1] = {n};
    for (int i = 0; i < WIDTH; i++) {
        values[i] = first + (float)i;
    }
    DLTensor tensor = row(values, kDLFloat, shape, 1);
    dlc_status status = input ? dlc_set_input(b->session, NULL, name, &tensor)
                              : dlc_set_variable(b->session, name, &tensor);
    if (status != DLC_OK) {
        fail_msg("%s: %s", name, dlc_last_error(b->context));
    }
}

static float held(Bench *b, const char *name, int i) {
    const DLTensor *view;
    assert_int_equal(dlc_view_variable(b->session, name, &view), DLC_OK);
    return ((const float *)view->data)[i];
}

/* Three variables and three verdicts in some order. `p`, `q`, `r` become p + x, q + x, r + x; the
 * k-th verdict says whether the sum of what was stored, plus x, is below `limit_k`: by its own
 * input. A verdict is a check ('1', '2', '3' in the order) or, for `ok`, what all stores wait for.
 * Letters are stores. */
typedef struct Order {
    const char *steps;
    bool ok;  /* the last verdict is the entry's OK, not a check */
    bool own; /* the verdict looks at the value just made, not at x alone */
} Order;

/* Ways to compute the same: kernels that also judge or that stand alone, as sorts do; new values
 * that do not need the old ones, or need them in another order; old values that are read behind
 * all else; stores that need the sort before them. */
enum { APART = 1, FRESH = 2, READ_LATE = 4, TURNED = 8, CHAINED = 16 };

static void order_text(const Order *order, int ways, char *text, size_t size) {
    static const char letters[] = "pqr";
    int fresh[3] = {0}, verdict = 0, last = 7, next = 8, x = 0; /* numbers of values */
    size_t n = 0;
#define PUT(...) n += (size_t)snprintf(text + n, size - n, __VA_ARGS__)
    PUT("module \"m\" {\n}\n\nfunc \"m.infer\" infer (\n    %%0: f32[203] = input \"x\",\n"
        "    %%1: f32[203] = param \"p\",\n    %%2: f32[203] = state \"q\",\n"
        "    %%3: f32[203] = param \"r\",\n    %%4: f32[203] = input \"a\",\n"
        "    %%5: f32[203] = input \"b\",\n    %%6: f32[203] = input \"c\"\n) {\n"
        "    %%7 = mul %%0, %%0 : f32[203]\n");
    for (const char *step = order->steps; *step; step++) {
        const char *letter = strchr(letters, *step);
        if (letter) {
            int k = (int)(letter - letters);
            int from = ways & FRESH ? 0 : k + 1;
            if (ways & TURNED) {
                PUT("    %%%d = reverse %%%d {axes = [0]} : f32[203]\n", next, k + 1);
                from = next++;
            }
            PUT("    %%%d = add %%%d, %%%d : f32[203]\n", next, from, x);
            last = fresh[k] = next++;
            continue;
        }
        int judged = order->own ? last : 7;
        if (ways & APART) {
            PUT("    %%%d, %%%d = sort %%%d {axis = 0, descending = false} : f32[203], i32[203]\n",
                next, next + 1, judged);
            judged = next;
            next += 2;
        }
        if (ways & CHAINED) { /* x again, by way of nothing */
            PUT("    %%%d = constant {value = 0.0, dtype = f32, shape = [203]} : f32[203]\n"
                "    %%%d = mul %%%d, %%%d : f32[203]\n    %%%d = add %%0, %%%d : f32[203]\n",
                next, next + 1, judged, next, next + 2, next + 1);
            x = next + 2;
            next += 3;
        }
        PUT("    %%%d = lt %%%d, %%%d : bool[203]\n", next, judged, *step - '1' + 4);
        PUT("    %%%d = reduce_min %%%d {axes = [0]} : bool[]\n", next + 1, next);
        verdict = next + 1;
        next += 2;
        if (!order->ok || step[1]) {
            PUT("    check %%%d {text = \"verdict %c\"}\n", verdict, *step);
        }
    }
    for (int k = 0; k < 3 && (ways & READ_LATE); k++) {
        PUT("    %%%d, %%%d = sort %%%d {axis = 0, descending = true} : f32[203], i32[203]\n",
            next + 2 * k, next + 2 * k + 1, k + 1);
    }
    PUT("    yield %%%d, %%%d, %%%d", fresh[0], fresh[1], fresh[2]);
    if (order->ok) {
        PUT(", %%%d", verdict);
    }
    if (ways & READ_LATE) {
        PUT(", %%%d, %%%d, %%%d", next, next + 2, next + 4);
    }
    PUT("\n} -> (\n    store %%1,\n    store %%2,\n    store %%3%s%s\n)\n",
        order->ok ? ",\n    ok \"ok\"" : "",
        ways & READ_LATE ? ",\n    output \"p\",\n    output \"q\",\n    output \"r\"" : "");
#undef PUT
}

static const Order orders[] = {
    {"p1q2r3", false, true}, {"p1q2r3", false, false}, {"pqr1", false, false},
    {"pqr1", false, true},   {"1pqr2", false, false},  {"1p2q3r", false, true},
    {"pqr1", true, false},   {"pqr1", true, true},     {"p1q2r", true, true},
    {"1pq2r", true, false},  {"pqr", false, false},    {"prq", false, false},
};

/* `refused`: the verdict that says no, or 0. */
static void run_order(const Order *order, int ways, char refused, int poison) {
    char text[4096], name[64];
    order_text(order, ways, text, sizeof(text));
    snprintf(name, sizeof(name), "%s%s, %c refuses", order->steps, order->ok ? " (ok)" : "",
             refused ? refused : '-');
    Bench b;
    bench_open(&b, name, text, poison);
    give(&b, WIDTH, true, "x", 1);
    for (int k = 0; k < 3; k++) {
        const char input[2] = {(char)('a' + k), 0}, variable[2] = {"pqr"[k], 0};
        give(&b, WIDTH, true, input, refused == '1' + k ? -1e7F : 1e7F);
        give(&b, WIDTH, false, variable, (float)(1000 * k));
    }
    dlc_status status = dlc_run(b.session, NULL);
    if ((status == DLC_OK) != !refused) {
        fail_msg("%s: status %d, %s\n%s", name, (int)status, dlc_last_error(b.context), text);
    }
    for (int k = 0; k < 3; k++) {
        const char variable[2] = {"pqr"[k], 0};
        const DLTensor *view;
        const float *late = NULL;
        if (!refused && (ways & READ_LATE)) {
            assert_int_equal(dlc_view_output(b.session, NULL, variable, &view), DLC_OK);
            late = view->data;
        }
        for (int i = 0; i < WIDTH; i++) {
            float old = (float)(1000 * k + WIDTH - 1 - i);
            if (late && late[i] != old) {
                fail_msg("%s: the old '%s', sorted, has %g in place %d, not %g\n%s", name, variable,
                         (double)late[i], i, (double)old, text);
            }
            float wanted = (float)(1000 * k + i);
            if (!refused) {
                float from = ways & TURNED ? old : ways & FRESH ? 1 + (float)i : wanted;
                wanted = from + 1 + (float)i;
            }
            float got = held(&b, variable, i);
            if (got != wanted) {
                fail_msg("%s: '%s'[%d] is %g, not %g\n%s", name, variable, i, (double)got,
                         (double)wanted, text);
            }
        }
    }
    bench_close(&b);
}

static void test_refusals(void **state) {
    (void)state;
    static const int ways[] = {
        0,     APART | CHAINED,   APART | FRESH | CHAINED, APART | FRESH | READ_LATE,
        FRESH, FRESH | READ_LATE, APART | TURNED,          APART | TURNED | READ_LATE};
    enum { ORDERS = sizeof(orders) / sizeof(orders[0]) };
    for (int i = 0; i < ORDERS; i++) {
        /* Every way where verdicts ask what was made; else half of them, the others for the next.
         */
        int step_of = orders[i].own ? 1 : 2;
        for (int k = i % step_of; k < 8; k += step_of) {
            run_order(&orders[i], ways[k], 0, (i + k) % 3);
            for (const char *step = orders[i].steps; *step; step++) {
                if (*step <= '3') {
                    run_order(&orders[i], ways[k], *step, (i + k) % 3);
                }
            }
        }
    }
}

/* A `while` that wants `turns` under a limit of 4, with a store before it. */
static void test_limit(void **state) {
    (void)state;
    static const char text[] =
        "module \"m\" {\n}\n\nfunc \"m.infer\" infer (\n    %0: f32[3] = input \"x\",\n"
        "    %1: f32[3] = param \"p\"\n) {\n"
        "    %2 = add %1, %0 : f32[3]\n"
        "    %3 = constant {value = 0.0, dtype = f32, shape = []} : f32[]\n"
        "    %4 = reduce_max %0 {axes = [0]} : f32[]\n"
        "    %5 = while %3 {limit = 4} : f32[] (%6: f32[]) {\n"
        "        %7 = lt %6, %4 : bool[]\n        yield %7\n    } (%8: f32[]) {\n"
        "        %9 = constant {value = 1.0, dtype = f32, shape = []} : f32[]\n"
        "        %10 = add %8, %9 : f32[]\n        yield %10\n    }\n"
        "    yield %2, %5\n} -> (\n    store %1,\n    output \"turns\"\n)\n";
    for (int turns = 0; turns <= 6; turns++) {
        Bench b;
        bench_open(&b, "limit", text, turns % 3);
        give(&b, 3, true, "x", (float)(turns - 2)); /* its largest is `turns` */
        give(&b, 3, false, "p", 50);
        dlc_status status = dlc_run(b.session, NULL);
        if ((status == DLC_OK) != (turns <= 4)) {
            fail_msg("limit = 4, %d turns wanted: status %d", turns, (int)status);
        }
        float wanted = turns <= 4 ? 50 + (float)(turns - 2) : 50;
        if (held(&b, "p", 0) != wanted) {
            fail_msg("limit = 4, %d turns: 'p'[0] is %g, not %g", turns, (double)held(&b, "p", 0),
                     (double)wanted);
        }
        if (status == DLC_OK) {
            const DLTensor *view;
            assert_int_equal(dlc_view_output(b.session, NULL, "turns", &view), DLC_OK);
            if (*(const float *)view->data != (float)turns) {
                fail_msg("limit = 4: %g turns, not %d", (double)*(const float *)view->data, turns);
            }
        } else if (!strstr(dlc_last_error(b.context), "more than 4 times")) {
            fail_msg("limit = 4, %d turns: \"%s\"", turns, dlc_last_error(b.context));
        }
        bench_close(&b);
    }
}

/* Conditions whose values would fit over a carry: of its dtype and shape, and the last to read it
 * in the condition. The body sees the carry as it was. */
static void test_condition(void **state) {
    (void)state;
    static const char flag[] =
        "module \"m\" {\n}\n\nfunc \"m.infer\" infer (\n    %0: f32[3] = input \"x\"\n) {\n"
        "    %1 = constant {value = 0.0, dtype = f32, shape = []} : f32[]\n"
        "    %2 = constant {value = 0.0, dtype = bool, shape = []} : bool[]\n"
        "    %3, %4 = while %1, %2 {limit = 10} : f32[], bool[] (%5: f32[], %6: bool[]) {\n"
        "        %7 = not %6 : bool[]\n        yield %7\n    } (%8: f32[], %9: bool[]) {\n"
        "        %10 = constant {value = 1.0, dtype = f32, shape = []} : f32[]\n"
        "        %11 = constant {value = 2.5, dtype = f32, shape = []} : f32[]\n"
        "        %12 = constant {value = 100.0, dtype = f32, shape = []} : f32[]\n"
        "        %13 = select %9, %12, %10 : f32[]\n"
        "        %14 = add %8, %13 : f32[]\n        %15 = gt %14, %11 : bool[]\n"
        "        yield %14, %15\n    }\n"
        "    yield %3\n} -> (\n    output \"y\"\n)\n";
    /* Sorting keeps the condition's two steps apart. */
    static const char rows[] =
        "module \"m\" {\n}\n\nfunc \"m.infer\" infer (\n    %0: f32[3] = input \"x\"\n) {\n"
        "    %1 = mul %0, %0 : f32[3]\n"
        "    %2 = while %1 {limit = 10} : f32[3] (%3: f32[3]) {\n"
        "        %4 = neg %3 : f32[3]\n"
        "        %5, %6 = sort %4 {axis = 0, descending = false} : f32[3], i32[3]\n"
        "        %7 = constant {value = -30.0, dtype = f32, shape = [3]} : f32[3]\n"
        "        %8 = gt %5, %7 : bool[3]\n        %9 = reduce_min %8 {axes = [0]} : bool[]\n"
        "        yield %9\n    } (%10: f32[3]) {\n"
        "        %11 = add %10, %10 : f32[3]\n        yield %11\n    }\n"
        "    %12 = reduce_max %2 {axes = [0]} : f32[]\n"
        "    yield %12\n} -> (\n    output \"y\"\n)\n";
    const struct {
        const char *name, *text;
        float wanted;
    } cases[] = {{"a flag, not of it asked", flag, 3}, {"a sorted negative", rows, 36}};
    for (int i = 0; i < 2; i++) {
        for (int poison = 0; poison < 3; poison++) {
            Bench b;
            bench_open(&b, cases[i].name, cases[i].text, poison);
            give(&b, 3, true, "x", 1);
            if (dlc_run(b.session, NULL) != DLC_OK) {
                fail_msg("%s: %s", cases[i].name, dlc_last_error(b.context));
            }
            const DLTensor *view;
            assert_int_equal(dlc_view_output(b.session, NULL, "y", &view), DLC_OK);
            float got = *(const float *)view->data;
            if (got != cases[i].wanted) {
                fail_msg("%s, poison %d: %g, not %g", cases[i].name, poison, (double)got,
                         (double)cases[i].wanted);
            }
            bench_close(&b);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_limit),
                                       cmocka_unit_test(test_condition)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
