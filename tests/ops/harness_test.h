/* A harness in a cmocka test. */
#ifndef DLC_TESTS_OPS_HARNESS_TEST_H
#define DLC_TESTS_OPS_HARNESS_TEST_H

#include "tests/ops/harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static inline Harness *harness_begin(void) {
    Harness *h = calloc(1, sizeof *h);
    harness_init(h);
    return h;
}

static inline void harness_end(Harness *h) {
    harness_finish(h);
    free(h);
}

/* A jump where none is expected fails the test. */
#define GUARD(h)                                                                                   \
    if (setjmp((h)->boundary.jump)) {                                                              \
        const DiagList *diags = &(h)->context.diags;                                               \
        fail_msg("left through the boundary: %s",                                                  \
                 diags->count ? diags->items[diags->count - 1]->message : "");                     \
    }

#endif
