/* What some tests need beside the build. */
#ifndef DLC_TESTS_UNIT_NEEDS_H
#define DLC_TESTS_UNIT_NEEDS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* The status of a test that was left out; it has printed "skipped: " and the reason. */
enum { TEST_SKIPPED = 77 };

/* Whether kernels can be compiled for the simulated device (tests/cudasim), which the build itself
 * makes. False: has said what is missing. */
static inline bool cudasim_can_compile(void) {
    if (system("g++ --version >/dev/null 2>&1") == 0) {
        return true;
    }
    printf("skipped: no C++ compiler (g++) for the simulated device's kernels\n");
    return false;
}

#endif
