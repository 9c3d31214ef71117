/* Missing waits: a program is trained by dlc_train on the simulated GPU with one wait left out,
 * each of them in turn, of a queue for an event and of the host, in several orders. A wait that
 * matters is reported, in every order; without one that does not, every order gives the bits of the
 * whole run. test_waits [PROGRAM [TARGET]] */
#include "tests/cudasim/simulator.h"
#include "tests/models/example.h"
#include "tests/unit/needs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const ORDERS[][2] = {
    {"earliest", "1"}, {"latest", "1"}, {"random", "2"}, {"random", "3"}};
enum { N_ORDERS = sizeof ORDERS / sizeof ORDERS[0], MOST_WAITS = 1000 };

static char report_path[] = "/tmp/cudasim-waits-XXXXXX";
static char said[4096]; /* by the last run */

/* What one run came to. */
typedef struct Outcome {
    ExampleResult *result; /* NULL: it failed */
    long long waits;
    bool reported;
} Outcome;

static Outcome run_with(ExampleRun *run, int order, long long left_out) {
    char number[32];
    snprintf(number, sizeof number, "%lld", left_out);
    setenv("DLC_CUDASIM_LEAVE_OUT", number, 1);
    simulator_order(ORDERS[order][0], ORDERS[order][1]);
    fclose(fopen(report_path, "w"));
    long long before = simulator.faults();
    dlc_session_options options = {.struct_size = sizeof options,
                                   .bindings = run->example->dims,
                                   .n_bindings = run->n_dims,
                                   .device = "cuda:0",
                                   .threads = 1};
    ExampleResult *result = calloc(1, sizeof *result);
    bool good = result &&
                (dlc_session_create(run->plan, &options, &run->session) == DLC_OK ||
                 example_fail(run, "session")) &&
                example_rows(run, result);
    dlc_session_destroy(run->session);
    run->session = NULL;
    Outcome outcome = {
        .result = result, .waits = simulator.waits(), .reported = simulator.faults() > before};
    if (!good) {
        example_result_free(result);
        outcome.result = NULL;
    }
    FILE *file = fopen(report_path, "r");
    size_t n = file ? fread(said, 1, sizeof said - 1, file) : 0;
    said[n] = '\0';
    if (file) {
        fclose(file);
    }
    return outcome;
}

static int tell(long long wait, int order, const ExampleRun *run, const char *what) {
    printf("FAILED without wait %lld, %s %s: %s; %s\n%s", wait, ORDERS[order][0], ORDERS[order][1],
           what, run->error, said);
    return 1;
}

/* Without wait number `wait`; *found: it was reported. */
static int wait_check(ExampleRun *run, const ExampleResult *whole, long long wait, bool *found) {
    int failed = 0;
    for (int order = 0; order < N_ORDERS; order++) {
        run->error[0] = '\0';
        Outcome outcome = run_with(run, order, wait);
        if (order == 0) {
            *found = outcome.reported;
        }
        if (!strstr(said, "left out: that ")) {
            failed += tell(wait, order, run, "there is no such wait");
        } else if (outcome.reported != *found) {
            failed += tell(wait, order, run, *found ? "not reported" : "reported only here");
        } else if (!outcome.reported &&
                   (!outcome.result || !example_same(run, whole, outcome.result))) {
            failed += tell(wait, order, run, "not reported, but it matters");
        }
        example_result_free(outcome.result);
    }
    return failed;
}

static int waits_check(ExampleRun *run) {
    Outcome whole = run_with(run, 0, 0);
    int failed = 0, n_found = 0;
    if (whole.reported || !whole.result || whole.waits > MOST_WAITS) {
        printf("FAILED whole: %s\n%s", run->error, said);
        failed++;
    }
    for (long long wait = 1; wait <= whole.waits && failed == 0; wait++) {
        bool found = false;
        failed += wait_check(run, whole.result, wait, &found);
        n_found += found;
        if (getenv("VERBOSE")) {
            printf("%lld %d %s", wait, found, said);
        }
    }
    printf("%s: of %lld waits %d matter: each is reported in each of %d orders\n",
           run->example->name, whole.waits, n_found, N_ORDERS);
    example_result_free(whole.result);
    return failed;
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "torch_example";
    const char *target = argc > 2 ? argv[2] : "cuda:sm_90";
    ExampleRun run = {0};
    int failed = 0;
    if (!cudasim_can_compile()) {
        return TEST_SKIPPED;
    }
    for (int i = 0; i < n_examples; i++) {
        run.example = !strcmp(examples[i].name, name) ? &examples[i] : run.example;
    }
    int file = mkstemp(report_path);
    if (!run.example || file < 0 || !simulator_open()) {
        printf("cannot begin\n");
        return 1;
    }
    setenv("DLC_CUDASIM_REPORT", report_path, 1);
    if (!example_context(&run) || !example_compile(&run, &target, 1)) {
        printf("FAILED: %s\n", run.error);
        failed++;
    } else {
        failed += waits_check(&run);
    }
    example_end(&run);
    unlink(report_path);
    return failed ? 1 : 0;
}
