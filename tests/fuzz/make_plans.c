/* Writes the plan that unit tests make by hand, as a seed for fuzz_plan: of the version that this
 * tree reads.
 *   make_plans FILE */
#include "tests/unit/plan_sample.h"

#include <stdio.h>

int main(int argc, char **argv) {
    size_t n_bytes = 0;
    uint8_t *bytes = plan_sample(&n_bytes);
    FILE *file = argc == 2 ? fopen(argv[1], "wb") : NULL;
    bool written = file && fwrite(bytes, 1, n_bytes, file) == n_bytes;
    written = file && fclose(file) == 0 && written;
    free(bytes);
    return !written;
}
