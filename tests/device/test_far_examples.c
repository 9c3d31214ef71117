/* Every example program trained by dlc_train on the far device, whose queue of copies brings the
 * next batch while the queue of steps works, each on a thread of its own: the bits that the CPU
 * gives. test_far_examples [PROGRAM…]   DLC_SOURCE_ROOT names the folder that holds examples/ */
#include "far_example.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first batch is there before there is a queue for it, and behind the last there is none. */
static bool sends_check(ExampleRun *run, FarCounts counts) {
    ExampleInput input;
    int n_inputs = 0;
    while (example_input(run, n_inputs, 1, &input)) {
        free(input.tensor.data);
        n_inputs++;
    }
    int64_t wanted = (int64_t)n_inputs * (EXAMPLE_ROWS_STEPS - 2);
    snprintf(run->error, sizeof run->error, "%d inputs were sent ahead, not %d", (int)counts.sends,
             (int)wanted);
    return counts.sends == wanted;
}

static int check_example(const Example *example) {
    static const char *const targets[] = {"cpu:native"};
    ExampleRun run = {.example = example};
    ExampleResult *cpu = calloc(1, sizeof *cpu), *far = calloc(1, sizeof *far);
    FarCounts counts = {0};
    bool good = cpu && far && example_context(&run) && example_compile(&run, targets, 1) &&
                far_example_train(&run, device_find("cpu"), cpu, NULL) &&
                far_example_train(&run, &device_far, far, &counts) &&
                far_example_same(&run, cpu, far) && sends_check(&run, counts);
    printf("%s%s: %d launches, %d replays, %d sends%s%s\n", good ? "" : "FAILED ", example->name,
           (int)counts.launches, (int)counts.replays, (int)counts.sends, good ? "" : ": ",
           good ? "" : run.error);
    fflush(stdout);
    example_result_free(cpu);
    example_result_free(far);
    example_end(&run);
    return good ? 0 : 1;
}

int main(int argc, char **argv) {
    int failed = 0;
    for (int i = 0; i < n_examples; i++) {
        bool wanted = argc == 1;
        for (int k = 1; k < argc; k++) {
            wanted |= !strcmp(argv[k], examples[i].name);
        }
        failed += wanted ? check_example(&examples[i]) : 0;
    }
    return failed ? 1 : 0;
}
