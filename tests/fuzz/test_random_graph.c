/* Random graphs by themselves: every graph is valid, survives printing and parsing, runs in the
 * interpreter without a fault, and its derivatives agree with finite differences. The number of
 * seeds can be raised: DLC_RANDOM_GRAPHS=100000. */
#include "tests/fuzz/random_graph.h"
#include "tests/ops/harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t n_seeds(uint64_t otherwise) {
    const char *text = getenv("DLC_RANDOM_GRAPHS");
    return text ? strtoull(text, NULL, 10) : otherwise;
}

/* Printed, parsed and printed again gives the same text. */
static bool round_trip(Harness *h) {
    Str first, second;
    str_init(&first, NULL);
    str_init(&second, NULL);
    module_print(h->module, &first);
    const Source *source =
        context_source(&h->context, "graph", str_text(&first), first.length, false);
    Module *parsed = module_parse(&h->context, source);
    bool same = false;
    if (parsed) {
        module_print(parsed, &second);
        same = strcmp(str_text(&first), str_text(&second)) == 0;
    }
    str_finish(&first);
    str_finish(&second);
    return same;
}

static void check_run(Harness *h, uint64_t seed, const RandomGraphOptions *options) {
    Func *func = random_graph(h->module, seed, options);
    bool good = harness_verify(h, func);
    EvalTensor args[64] = {0}, wide[16] = {0}, declared[16] = {0};
    random_dims(h->module, seed, h->dim_values);
    good = good && random_args(func, seed, h->dim_values, 2, true, args);
    good = good && harness_run(h, func, args, wide, true);
    good = good && harness_run(h, func, args, declared, false);
    DType coarsest = random_coarsest(func);
    for (int32_t i = 0; good && i < func->n_results; i++) {
        int64_t at = 0;
        if (!random_close(&wide[i], &declared[i], &declared[i], coarsest, &at)) {
            snprintf(h->message, sizeof h->message,
                     "result %d differs from itself in f64 at element %lld", (int)i, (long long)at);
            good = false;
        }
    }
    if (good && !round_trip(h)) {
        snprintf(h->message, sizeof h->message, "the text form does not round-trip");
        good = false;
    }
    if (!good) {
        harness_print_func(func);
        fail_msg("seed %llu: %s", (unsigned long long)seed, h->message);
    }
    harness_free(args, func->body->n_args);
    harness_free(wide, func->n_results);
    harness_free(declared, func->n_results);
}

static void check_gradient(Harness *h, uint64_t seed, int order) {
    RandomGraphOptions options = {.n_ops = 12, .smooth = true, .grads = order == 1};
    Func *func = random_graph(h->module, seed, &options);
    EvalTensor args[64] = {0};
    if (h->module->dims[0]->low == 0) {
        random_dims(h->module, seed, h->dim_values);
    }
    bool good = harness_verify(h, func) && random_args(func, seed, h->dim_values, 2, false, args);
    int64_t elements = 0;
    for (int32_t i = 0; good && i < func->body->n_args; i++) {
        elements += args[i].n;
    }
    if (elements < 400 && good && !harness_check_func(h, func, args, order, 3e-6)) {
        harness_print_func(func);
        fail_msg("seed %llu: %s", (unsigned long long)seed, h->message);
    }
    harness_free(args, func->body->n_args);
}

typedef void Check(Harness *h, uint64_t seed);

static void check_plain(Harness *h, uint64_t seed) {
    check_run(h, seed, NULL);
}

static void check_first(Harness *h, uint64_t seed) {
    check_gradient(h, seed, 1);
}

static void check_second(Harness *h, uint64_t seed) {
    check_gradient(h, seed, 2);
}

static void each_seed(uint64_t count, Check *check) {
    for (volatile uint64_t at = 0; at < count; at++) { /* volatile: read after a jump */
        uint64_t seed = at;
        Harness *h = calloc(1, sizeof *h);
        harness_init_dims(h, seed % 4 != 3); /* every fourth graph's axes may be empty */
        if (setjmp(h->boundary.jump)) {
            const DiagList *diags = &h->context.diags;
            fail_msg("seed %llu: left through the boundary: %s", (unsigned long long)at,
                     diags->count ? diags->items[diags->count - 1]->message : "no diagnostic");
        }
        check(h, seed);
        harness_finish(h);
        free(h);
    }
}

static void test_run(void **state) {
    (void)state;
    each_seed(n_seeds(1000), check_plain);
}

static void test_first_derivatives(void **state) {
    (void)state;
    each_seed(n_seeds(1000) / 10, check_first);
}

static void test_second_derivatives(void **state) {
    (void)state;
    each_seed(n_seeds(1000) / 40, check_second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_first_derivatives),
        cmocka_unit_test(test_second_derivatives),
    };
    return cmocka_run_group_tests_name("random_graph", tests, NULL, NULL);
}
