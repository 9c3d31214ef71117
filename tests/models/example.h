/* The example programs at small sizes, trained by whatever runs them: what tests of devices share.
 * Every run begins with the same weights and sees the same rows. */
#ifndef DLC_TESTS_MODELS_EXAMPLE_H
#define DLC_TESTS_MODELS_EXAMPLE_H

#include "dlc/dlc.h"

#include <stdbool.h>

enum { EXAMPLE_AXES = 8, EXAMPLE_STEPS = 3, EXAMPLE_VARIABLES = 400, EXAMPLE_ROWS_STEPS = 7 };

typedef struct Example {
    const char *name, *file; /* NULL file: the name's */
    dlc_define defines[8];
    dlc_binding dims[4];                       /* the batch first */
    double loss_tolerance, variable_tolerance; /* relative; 0: the usual */
    const char *noise;         /* in names of biases whose true gradient is 0: not compared */
    const char *replace[4][2]; /* in its text, for what no constant names */
} Example;
extern const Example examples[];
extern const int n_examples;

typedef struct ExampleVariable {
    char name[128];
    unsigned char *data;
    size_t bytes;
    DLDataType dtype;
} ExampleVariable;

typedef struct ExampleResult {
    double losses[EXAMPLE_ROWS_STEPS];
    int steps;
    ExampleVariable variables[EXAMPLE_VARIABLES];
    size_t n;
} ExampleResult;
void example_result_free(ExampleResult *result); /* NULL will do */

typedef struct ExampleRun {
    const Example *example;
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
    char *ir; /* differentiated */
    size_t n_dims;
    char error[1024]; /* of the call that gave false */
} ExampleRun;

/* False with run->error set, by what was being done and the context's error. */
bool example_fail(ExampleRun *run, const char *what);
/* Makes a context in which dlc_train goes on to a step only when all other threads of the process
 * sleep: the rows of the next one have then been read, and every run sends the same ahead. */
bool example_context(ExampleRun *run);
/* Makes plan, ir and n_dims. */
bool example_compile(ExampleRun *run, const char *const *targets, size_t n_targets);
/* Another plan of it, the caller's to destroy, before the run ends. */
bool example_compile_again(ExampleRun *run, const char *const *targets, size_t n_targets,
                           dlc_plan **out);
/* Frees what these made. */
void example_end(ExampleRun *run);

/* The values of `rows` rows of a train entry's input; data is the caller's to free, dims too. */
typedef struct ExampleInput {
    dlc_tensor_info info;
    DLTensor tensor;
    int64_t dims[EXAMPLE_AXES];
} ExampleInput;
/* Of input number `which` of the train entry; false: there are no more, or no memory. */
bool example_input(const ExampleRun *run, int which, int64_t rows, ExampleInput *out);

/* The counters that the program's schedules read, as every run has them. */
bool example_begin(ExampleRun *run);
/* Trains a session on one batch, step by step. */
bool example_steps(ExampleRun *run, ExampleResult *result);
/* Trains it by dlc_train on three batches of rows, which are read ahead and shuffled; steps are
 * begun before those before them are waited for. */
bool example_rows(ExampleRun *run, ExampleResult *result);
bool example_variables(ExampleRun *run, ExampleResult *result);

/* Whether losses and variables are `want`'s within the example's tolerances; *worst, if larger
 * than before: the largest relative difference of a loss. */
bool example_near(ExampleRun *run, const ExampleResult *want, const ExampleResult *got,
                  double *worst);
/* … to the bit. */
bool example_same(ExampleRun *run, const ExampleResult *want, const ExampleResult *got);

#endif
