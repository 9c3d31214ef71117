/* What the tests of the standard library share: a small program compiled in f64 through the public
 * API, its inputs and weights as doubles, and derivatives checked against central differences. */
#ifndef DLC_TESTS_STD_MODEL_H
#define DLC_TESTS_STD_MODEL_H

#include "dlc/dlc.h"

#include <stdbool.h>
#include <stddef.h>

enum { MAX_ARRAYS = 64, MAX_AXES = 8, NAME_BYTES = 96 };

/* A tensor as doubles, row-major, whatever its type. */
typedef struct Array {
    char name[NAME_BYTES];
    DLDataType dtype;
    int32_t rank;
    int64_t dims[MAX_AXES], n;
    double *v;
} Array;

typedef struct Model {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
    int64_t batch;
    Array inputs[MAX_ARRAYS], variables[MAX_ARRAYS]; /* variables: what model_restore puts back */
    size_t n_inputs, n_variables;
    char error[1024];
} Model;

/* Compiles (float is f64), opens a session with dim B = batch, initialises the weights, makes
 * inputs: floats in (-2, 2), integers 0 to 2, bools. Parameters are then replaced by random ones.
 * False: see error. */
bool model_open(Model *model, const char *text, int64_t batch);
void model_close(Model *model);

/* By full name, or by what follows the last dot. NULL: none (the error says so). */
Array *model_input(Model *model, const char *name);
Array *model_variable(Model *model, const char *name);
/* The value in the session now; the caller frees ->v. */
bool model_now(Model *model, const char *name, Array *out);
/* Gives the session model->variables and model->inputs, and sets the counters to step 0. */
bool model_restore(Model *model);
bool model_run(Model *model, const char *entry);
bool model_output(Model *model, const char *name, Array *out); /* of infer; the caller frees ->v */
bool model_metric(Model *model, const char *entry, const char *name, double *out);
bool model_train_step(Model *model, dlc_step_info *out);
bool model_fail(Model *model, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One entry of a table. The body binds `y`; what else the model needs is written around it. */
typedef enum CaseFlag {
    CASE_NO_X = 1 << 0,       /* no float input x: no input gradients */
    CASE_FIRST_ONLY = 1 << 1, /* piecewise linear or the like: no second derivatives */
    CASE_TRAINING = 1 << 2,   /* training computes something else than eval */
    CASE_VALUES_ONLY = 1 << 3 /* no derivatives */
} CaseFlag;

typedef struct Case {
    const char *name, *inputs, *body;
    unsigned flags;
    /* Fills y (n elements) from the model's inputs and variables by another way; NULL: not checked.
     */
    void (*reference)(Model *model, const Array *y, double *out);
    double (*scalar)(double x); /* the same for elementwise functions of 4 * x */
} Case;

typedef struct Group {
    const char *name;
    const Case *cases;
    size_t count;
    bool (*more)(void); /* tests of another shape; NULL: none */
} Group;

/* Compiles and checks one case; prints what is wrong. */
bool case_check(const Case *one);
/* |a - b| within tolerance * (1 + |a| + |b|), nan equal to nan. */
bool near(double a, double b, double tolerance);

extern const Group ACTIVATIONS, ATTENTION, BOXES_GROUP, LAYERS, LOSSES, NORMS, POOLING, RECURRENT,
    OPTIMIZERS, SCHEDULES, INITIALISERS, TRAINING;

#endif
