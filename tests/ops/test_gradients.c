/* The gradient of every op, first and second, against central finite differences in f64. The cases
 * are rows of cases.def (single ops) and functions of scan_cases.c (loops). */
#include "tests/ops/harness.h"
#include "tests/ops/scan_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define CASE(name, spec, ...)                                                                      \
    static Value *build_##name(Harness *h, Builder *b, Value **x) {                                \
        (void)h;                                                                                   \
        __VA_ARGS__                                                                                \
    }
#include "tests/ops/cases.def"
#undef CASE

typedef struct GradientCase {
    const char *name, *spec;
    HarnessBuild *build;
} GradientCase;

static const GradientCase CASES[] = {
#define CASE(name, spec, ...) {#name, spec, build_##name},
#include "tests/ops/cases.def"
#undef CASE
#define SCAN_CASE(name, spec) {#name, spec, scan_##name},
    SCAN_CASES
#undef SCAN_CASE
};

enum { N_CASES = sizeof CASES / sizeof CASES[0] };

static void test_case(void **state) {
    const GradientCase *row = *state;
    Harness *harness = calloc(1, sizeof *harness);
    harness_init(harness);
    if (setjmp(harness->boundary.jump)) {
        const DiagList *diags = &harness->context.diags;
        fail_msg("%s: left through the boundary: %s", row->name,
                 diags->count ? diags->items[diags->count - 1]->message : "no diagnostic");
    }
    if (!harness_check_gradients(harness, row->spec, row->build, 2)) {
        fail_msg("%s: %s", row->name, harness->message);
    }
    harness_finish(harness);
    free(harness);
}

int main(void) {
    static struct CMUnitTest tests[N_CASES];
    for (int i = 0; i < N_CASES; i++) {
        tests[i] = (struct CMUnitTest){.name = CASES[i].name,
                                       .test_func = test_case,
                                       .initial_state = (void *)(uintptr_t)&CASES[i]};
    }
    return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}
