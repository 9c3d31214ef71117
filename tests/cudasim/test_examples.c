/* Every example program, at a small size, trained for some steps by the interpreter, on the CPU and
 * on the simulated GPU: the same losses and variables within a tolerance, and on the GPU the same
 * bits whatever dead memory holds, with every value in memory of its own, and with recorded steps
 * or without. Then by dlc_train, which brings the next batch to the device beside the step, and on
 * two queues of the plan's own: the same bits in every order that streams, events and graphs allow,
 * and no race. test_examples [PROGRAM…]   DLC_SOURCE_ROOT names the folder that holds examples/ */
#include "tests/cudasim/simulator.h"
#include "tests/models/example.h"
#include "tests/models/interpreted.h"
#include "tests/random/bytes.h"
#include "tests/unit/needs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Way {
    const char *name, *device; /* NULL device: the interpreter */
    int poison, guarded;
    int like;                 /* the way whose bits it gives; -1: its are near the CPU's */
    bool rows;                /* by dlc_train */
    bool queues;              /* of a plan for two queues */
    const char *order, *seed; /* of the simulated device; NULL: as it was started */
} Way;
static const Way WAYS[] = {
    {.name = "cpu", .device = "cpu", .like = -1},
    {.name = "cuda", .device = "cuda:0", .like = -1},
    {.name = "cuda, poison A", .device = "cuda:0", .poison = 1, .like = 1},
    {.name = "cuda, poison B", .device = "cuda:0", .poison = 2, .like = 1},
    {.name = "cuda, guarded", .device = "cuda:0", .guarded = 1, .like = 1},
    {.name = "cuda, two queues", .device = "cuda:0", .queues = true, .like = 1},
    {.name = "interpreter", .like = -1},
    {.name = "cpu, rows", .device = "cpu", .rows = true, .like = -1},
    {.name = "cuda, rows",
     .device = "cuda:0",
     .rows = true,
     .like = -1,
     .order = "random",
     .seed = "1"},
    {.name = "cuda, rows, two queues, earliest",
     .device = "cuda:0",
     .rows = true,
     .queues = true,
     .like = 8,
     .order = "earliest",
     .seed = "1"},
    {.name = "cuda, rows, two queues, latest",
     .device = "cuda:0",
     .rows = true,
     .queues = true,
     .like = 8,
     .order = "latest",
     .seed = "1"},
    {.name = "cuda, rows, two queues, random 2",
     .device = "cuda:0",
     .rows = true,
     .queues = true,
     .like = 8,
     .order = "random",
     .seed = "2"},
    {.name = "cuda, rows, two queues, random 3",
     .device = "cuda:0",
     .rows = true,
     .queues = true,
     .like = 8,
     .order = "random",
     .seed = "3"},
};
enum { N_WAYS = sizeof WAYS / sizeof WAYS[0] };

typedef struct Run {
    ExampleRun base;
    dlc_plan *two_queues;
    Interpreted *interpreted; /* instead of the session */
    double seed;              /* the program's, as the first session tells */
} Run;

static bool train(Run *run, const Way *way, ExampleResult *result) {
    ExampleRun *base = &run->base;
    dlc_session_options options = {.struct_size = sizeof options,
                                   .bindings = base->example->dims,
                                   .n_bindings = base->n_dims,
                                   .device = way->device,
                                   .threads = 2,
                                   .poison = way->poison,
                                   .guarded = way->guarded};
    if (dlc_session_create(way->queues ? run->two_queues : base->plan, &options, &base->session) !=
        DLC_OK) {
        return example_fail(base, "session");
    }
    int64_t seed = 0;
    if (dlc_get_counter(base->session, "seed", &seed) != DLC_OK) {
        return example_fail(base, "seed");
    }
    run->seed = (double)seed;
    return way->rows ? example_rows(base, result) : example_steps(base, result);
}

static bool interpreted_inputs(Run *run) {
    ExampleInput input;
    bool good = true;
    for (int i = 0; good && example_input(&run->base, i, run->base.example->dims[0].value, &input);
         i++) {
        good = interpreted_input(run->interpreted, input.info.name, &input.tensor);
        free(input.tensor.data);
    }
    return good;
}

static bool interpreted_read(Run *run, ExampleResult *result) {
    for (size_t i = 0; i < dlc_plan_variable_count(run->base.plan) && i < EXAMPLE_VARIABLES; i++) {
        dlc_tensor_info info = {.struct_size = sizeof(info)};
        if (dlc_plan_variable(run->base.plan, i, &info) != DLC_OK) {
            return example_fail(&run->base, "variable");
        }
        ExampleVariable *variable = &result->variables[result->n++];
        snprintf(variable->name, sizeof variable->name, "%s", info.name);
        const EvalTensor *tensor = interpreted_variable(run->interpreted, info.name);
        if (!tensor) {
            return example_fail(&run->base, info.name);
        }
        variable->dtype = bytes_dtype(tensor->dtype);
        variable->bytes = (size_t)tensor->n * variable->dtype.bits / 8;
        variable->data = bytes_of(tensor);
        if (!variable->data) {
            return example_fail(&run->base, "memory");
        }
    }
    return true;
}

/* As train() does, but by what the program means. */
static bool interpret(Run *run, ExampleResult *result) {
    static const struct {
        const char *name;
        double value;
    } NUMBERS[] = {{"steps", 100}, {"steps_per_epoch", 1}, {"lr", NAN}};
    run->interpreted = interpreted_create(run->base.ir, run->base.example->dims, run->base.n_dims,
                                          run->base.error);
    if (!run->interpreted || !interpreted_inputs(run)) {
        return false;
    }
    for (size_t i = 0; i < sizeof NUMBERS / sizeof NUMBERS[0]; i++) {
        interpreted_scalar(run->interpreted, NUMBERS[i].name, NUMBERS[i].value);
    }
    interpreted_scalar(run->interpreted, "seed", run->seed);
    if (!interpreted_init(run->interpreted)) {
        return false;
    }
    for (int step = 0; step < EXAMPLE_STEPS; step++) {
        interpreted_scalar(run->interpreted, "step", step);
        if (!interpreted_step(run->interpreted, &result->losses[step])) {
            return false;
        }
    }
    return interpreted_read(run, result);
}

/* Whether way `w` gave what it should. */
static bool way_check(Run *run, int w, ExampleResult *const *results, double *worst) {
    const Way *way = &WAYS[w];
    int cpu = way->rows ? 7 : 0;
    return (w == cpu || example_near(&run->base, results[cpu], results[w], worst)) &&
           (way->like < 0 || example_same(&run->base, results[way->like], results[w]));
}

static int check_program(const Example *example) {
    static const char *const targets[] = {"cpu", "cuda:sm_90", "cuda:sm_90,queues=2"};
    ExampleResult *results[N_WAYS] = {NULL};
    Run run = {.base = {.example = example}};
    int failed = 0;
    double worst = 0;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    bool good = example_context(&run.base) && example_compile(&run.base, targets, 2) &&
                example_compile_again(&run.base, targets + 2, 1, &run.two_queues);
    if (!good) {
        printf("FAILED %s: %s\n", example->name, run.base.error);
        failed++;
    }
    for (int w = 0; w < N_WAYS && good; w++) {
        results[w] = calloc(1, sizeof *results[w]);
        run.base.error[0] = 0;
        if (WAYS[w].order) {
            simulator_order(WAYS[w].order, WAYS[w].seed);
        }
        bool right = results[w] && (WAYS[w].device ? train(&run, &WAYS[w], results[w])
                                                   : interpret(&run, results[w]));
        right = right && way_check(&run, w, results, &worst);
        if (!right) {
            printf("FAILED %s, %s: %s\n", example->name, WAYS[w].name, run.base.error);
            failed++;
        }
        dlc_session_destroy(run.base.session);
        run.base.session = NULL;
        interpreted_destroy(run.interpreted);
        run.interpreted = NULL;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%s: loss %.7g to %.7g, %.2g from the CPU's, %.1f s, %d failed\n", example->name,
           results[0] ? results[0]->losses[0] : NAN,
           results[0] ? results[0]->losses[EXAMPLE_STEPS - 1] : NAN, worst,
           (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec),
           failed);
    fflush(stdout);
    for (int w = 0; w < N_WAYS; w++) {
        example_result_free(results[w]);
    }
    dlc_plan_destroy(run.two_queues);
    example_end(&run.base);
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    if (!cudasim_can_compile()) {
        return TEST_SKIPPED;
    }
    if (!simulator_open()) {
        return 1;
    }
    for (int i = 0; i < n_examples; i++) {
        bool wanted = argc == 1;
        for (int k = 1; k < argc; k++) {
            wanted |= !strcmp(argv[k], examples[i].name);
        }
        failed += wanted ? check_program(&examples[i]) : 0;
    }
    if (simulator.faults() != 0) { /* also those that no call came to tell of */
        printf("FAILED: %lld faults were reported\n", simulator.faults());
        failed++;
    }
    return failed ? 1 : 0;
}
