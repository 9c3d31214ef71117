/* Inside gpukit: what its parts share. */
#ifndef DLC_TESTS_GPU_GPUKIT_H
#define DLC_TESTS_GPU_GPUKIT_H

#include "runtime/session.h"

#include <stdarg.h>
#include <stdio.h>

enum { MOST_PROBLEMS = 40, MOST_BINDINGS = 8 };

typedef struct Spec {
    const char *name, *plan, *expected;
    int steps;
    double tolerance;
    dlc_binding bindings[MOST_BINDINGS];
    char names[MOST_BINDINGS][32];
    int n_bindings;
} Spec;

typedef struct Kit {
    dlc_context *context;
    const char *device, *which; /* "cuda:0", "0" */
    char kind[16];              /* "cuda" */
    bool quick;                 /* small sizes, as on a simulated device */
    Spec spec;
    char problems[MOST_PROBLEMS][512];
    int n_problems;
} Kit;

double kit_seconds(void);
void kit_text(const char *text); /* as a JSON string */
void kit_problem(Kit *kit, const char *format, ...) __attribute__((format(printf, 2, 3)));
dlc_plan *kit_plan(Kit *kit, const char *path); /* NULL after a problem */

/* kit_ops.c: every graph of a file of cases, plain and under both poisons. */
void kit_ops(Kit *kit, const char *plan, const char *cases);
/* kit_model.c: parts record, model, train; kit_kernels.c: kernels. */
bool kit_spec(Kit *kit, char **words, int n);
void kit_model(Kit *kit, const char *part);
dlc_status kit_inputs(dlc_session *session, EntryState *entry, uint64_t seed);
void kit_kernels(Kit *kit, dlc_plan *plan);

#endif
