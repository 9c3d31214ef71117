/* Inside gpukit: what its parts share. */
#ifndef DLC_TESTS_GPU_GPUKIT_H
#define DLC_TESTS_GPU_GPUKIT_H

#include "ir/base/file.h"
#include "runtime/cuda_image.h"
#include "runtime/session/session.h"
#include "tests/gpu/intrinsics.h"

#include <stdarg.h>
#include <stdio.h>

enum { MOST_PROBLEMS = 40, MOST_BINDINGS = 8 };

typedef struct Spec {
    const char *name, *plan, *expected;
    const char *precision; /* of its products, "bf16": by which ceiling kernels are judged */
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
    const char *code;           /* "ptx", "text": what stands before it is not loaded; NULL: all */
    const char *ceilings;       /* the file that the part "ceilings" left; NULL: none */
    Spec spec;
    char problems[MOST_PROBLEMS][512];
    int n_problems;
} Kit;

double kit_seconds(void);
void kit_text(const char *text); /* as a JSON string */
void kit_problem(Kit *kit, const char *format, ...) __attribute__((format(printf, 2, 3)));
dlc_plan *kit_plan(Kit *kit, const char *path); /* NULL after a problem */

/* kit_code.c: the device, loading as kit->code says; a session on it. */
const DeviceOps *kit_device(Kit *kit); /* NULL after a problem */
dlc_status kit_session(Kit *kit, dlc_plan *plan, const dlc_session_options *options,
                       dlc_session **out);

/* kit_values.c */
int kit_intrinsic_bytes(int32_t type);
void kit_intrinsic_values(const IntrinsicInput *input, int number, void *to);
/* kit_intrinsics.c */
typedef struct KitIntrinsics {
    FileView view;
    const IntrinsicsFile *head;
    const IntrinsicCase *cases;
    const uint8_t *image; /* of the device's architecture */
    size_t n_image;
    int sm;
    const DeviceOps *ops;
    Device *device;
    DeviceModule *module;
} KitIntrinsics;
bool kit_intrinsics_open(Kit *kit, const char *path, KitIntrinsics *set); /* then close, always */
void kit_intrinsics_close(KitIntrinsics *set);
int64_t kit_intrinsic_entry(const KitIntrinsics *set, const char *name); /* -1: none */
void kit_intrinsics(Kit *kit, const char *path, const char *expected_path, bool record);

/* kit_ceilings.c */
void kit_ceilings(Kit *kit, const char *intrinsics, const char *out, char **plans, int n_plans);
double kit_ceiling(const Kit *kit, const char *kind); /* a second; 0: not measured */

/* kit_ops.c: every graph of a file of cases, plain and under both poisons. */
void kit_ops(Kit *kit, const char *plan, const char *cases);
/* kit_model.c: parts record, model, guarded, train, serve; kit_kernels.c: kernels. */
bool kit_spec(Kit *kit, char **words, int n);
void kit_model(Kit *kit, const char *part);
dlc_status kit_inputs(dlc_session *session, EntryState *entry, uint64_t seed);
void kit_kernels(Kit *kit, dlc_plan *plan);

#endif
