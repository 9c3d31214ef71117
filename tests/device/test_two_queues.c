/* Every example program compiled for two queues: trained by dlc_train on the far device, whose
 * queues have a thread each, and on the CPU, it gives the bits of one queue; and a plan that lacks
 * any one of its waits is refused when it is loaded, unless no run can tell.
 * test_two_queues [PROGRAM…]   DLC_SOURCE_ROOT names the folder that holds examples/ */
#include "far_example.h"
#include "runtime/plan_file/plan.h"
#include "tests/unit/order_trace.h"
#include "tests/unit/plain_allocator.h"

#include <stdio.h>

/* -- Planted: a wait left out */

typedef struct Planted {
    int waits, refused, shown; /* … of them, so many where a run shows why */
} Planted;

static bool some_trace_fails(const PlanTables *tables, const PlanEntry *entry, int32_t out[2]) {
    enum { TRACES = 6 };
    for (uint64_t seed = 1; seed <= TRACES; seed++) {
        if (!order_trace(tables, entry, seed, out)) {
            return true;
        }
    }
    return false;
}

static bool wait_leave_out(ExampleRun *run, const PlanTables *tables, const PlanEntry *entry,
                           PlanCommand *command, Planted *planted) {
    char text[PLAN_ORDER_TEXT] = "";
    int32_t pair[2], n_waits = command->n_waits;
    command->n_waits = 0;
    bool refused = plan_order_check(&plain_allocator, tables, entry, text) != DLC_OK;
    bool fails = some_trace_fails(tables, entry, pair);
    command->n_waits = n_waits;
    planted->waits++;
    planted->refused += refused;
    planted->shown += refused && fails;
    snprintf(run->error, sizeof run->error, "without a wait, accepted, but %d and %d are unordered",
             (int)pair[0], (int)pair[1]);
    return refused || !fails;
}

static bool waits_plant(ExampleRun *run, Planted *planted) {
    PlanTables tables = run->plan->file.targets[0];
    PlanCommand *commands = calloc((size_t)tables.n_commands, sizeof *commands);
    bool good = commands != NULL;
    if (good) {
        memcpy(commands, tables.commands, (size_t)tables.n_commands * sizeof *commands);
        tables.commands = commands;
    }
    for (int64_t e = 0; e < tables.n_entries && good; e++) {
        const PlanEntry *entry = &tables.entries[e];
        int32_t pair[2];
        good = !some_trace_fails(&tables, entry, pair);
        snprintf(run->error, sizeof run->error, "entry %d: %d and %d are unordered", (int)e,
                 (int)pair[0], (int)pair[1]);
        for (int32_t i = 0; i < entry->n_commands && good; i++) {
            PlanCommand *command = &commands[entry->first_command + i];
            good = command->n_waits == 0 || wait_leave_out(run, &tables, entry, command, planted);
        }
    }
    free(commands);
    return good;
}

/* -- An example */

static bool compile(ExampleRun *run, const Example *example, const char *target) {
    *run = (ExampleRun){.example = example};
    return example_context(run) && example_compile(run, &target, 1);
}

static int check_example(const Example *example) {
    ExampleRun one, two = {.example = example};
    ExampleResult *want = calloc(1, sizeof *want), *far = calloc(1, sizeof *far),
                  *cpu = calloc(1, sizeof *cpu);
    FarCounts counts = {0};
    Planted planted = {0};
    bool good = want && far && cpu && compile(&one, example, "cpu:native") &&
                far_example_train(&one, device_find("cpu"), want, NULL);
    snprintf(two.error, sizeof two.error, "%s", one.error);
    if (good) {
        good = compile(&two, example, "cpu:native,queues=2") &&
               far_example_train(&two, &device_far, far, &counts) &&
               far_example_same(&two, want, far) &&
               far_example_train(&two, device_find("cpu"), cpu, NULL) &&
               far_example_same(&two, want, cpu) && waits_plant(&two, &planted);
    }
    if (good && counts.aside == 0) {
        snprintf(two.error, sizeof two.error, "nothing was given to a second queue");
        good = false;
    }
    printf("%s%s: %d replays, %d moves aside; of %d waits %d are needed, %d seen to be%s%s\n",
           good ? "" : "FAILED ", example->name, (int)counts.replays, (int)counts.aside,
           planted.waits, planted.refused, planted.shown, good ? "" : ": ", good ? "" : two.error);
    fflush(stdout);
    example_result_free(want);
    example_result_free(far);
    example_result_free(cpu);
    example_end(&one);
    example_end(&two);
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
