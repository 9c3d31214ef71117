/* The passes keep the meaning of random graphs: after the whole pipeline, fusion included, the
 * interpreter gives what it gave before. DLC_RANDOM_GRAPHS sets the number of graphs. */
#include "tests/fuzz/random_graph.h"
#include "tests/ops/harness.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const Machine MACHINE = {.target = "cpu",
                                .name = "test",
                                .features = "",
                                .vector_bytes = 32,
                                .tile_rows_f32 = 6,
                                .tile_columns_f32 = 16,
                                .tile_rows_f64 = 6,
                                .tile_columns_f64 = 8,
                                .l1_bytes = 32768,
                                .fusion = {.small_space = 32768,
                                           .least_rows = 8,
                                           .attention_width = 256,
                                           .attention_scores = 16384,
                                           .head = {1 << 24, 1 << 24, 64}},
                                .launch_seconds = 1e-7,
                                .flops_per_second = 1e11,
                                .bytes_per_second = 2e10};

static void check_seed(Harness *h, uint64_t seed) {
    Func *before = random_graph(h->module, seed, NULL);
    EvalTensor args[64] = {0}, wide[16] = {0}, declared[16] = {0}, after[16] = {0};
    random_dims(h->module, seed, h->dim_values);
    DType coarsest = random_coarsest(before);
    bool good = random_args(before, seed, h->dim_values, 2, true, args) &&
                harness_run(h, before, args, wide, true) &&
                harness_run(h, before, args, declared, false);
    Func *kept = func_clone(before, NULL);
    PipelineOptions options = {.verify_each = true};
    PipelineReport report = {0};
    Func *func = before;
    good = good && passes_run(h->module, &MACHINE, &options, &report) && harness_verify(h, func) &&
           harness_run(h, func, args, after, false);
    for (int32_t i = 0; good && i < func->n_results; i++) {
        int64_t at = 0;
        if (!random_close(&wide[i], &declared[i], &after[i], coarsest, &at)) {
            snprintf(h->message, sizeof h->message,
                     "result %d, element %lld: %.9g, but %.9g before", (int)i, (long long)at,
                     after[i].f ? after[i].f[at] : (double)after[i].i[at],
                     after[i].f ? wide[i].f[at] : (double)declared[i].i[at]);
            good = false;
        }
    }
    if (!good) {
        harness_print_func(kept);
        harness_print_func(func);
        fail_msg("seed %llu: %s", (unsigned long long)seed, h->message);
    }
    harness_free(args, func->body->n_args);
    harness_free(wide, func->n_results);
    harness_free(declared, func->n_results);
    harness_free(after, func->n_results);
}

static void test_passes(void **state) {
    (void)state;
    const char *text = getenv("DLC_RANDOM_GRAPHS");
    const char *first = getenv("DLC_RANDOM_FIRST");
    uint64_t start = first ? strtoull(first, NULL, 10) : 0;
    uint64_t count = text ? strtoull(text, NULL, 10) : 1000;
    for (volatile uint64_t seed = start; seed < start + count;
         seed++) { /* volatile: read after a jump */
        Harness *h = calloc(1, sizeof *h);
        harness_init_dims(h, seed % 4 != 3); /* every fourth graph's axes may be empty */
        if (setjmp(h->boundary.jump)) {
            const DiagList *diags = &h->context.diags;
            fail_msg("seed %llu: left through the boundary: %s", (unsigned long long)seed,
                     diags->count ? diags->items[diags->count - 1]->message : "no diagnostic");
        }
        check_seed(h, seed);
        harness_finish(h);
        free(h);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_passes)};
    return cmocka_run_group_tests_name("random_passes", tests, NULL, NULL);
}
