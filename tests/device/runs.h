/* A program on a device, for the tests of sessions: compiled once, opened as often as wanted. */
#ifndef DLC_TESTS_DEVICE_RUNS_H
#define DLC_TESTS_DEVICE_RUNS_H

#include "suite.h"

typedef struct Run {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
    char log[2048];
    int64_t cancel_in; /* asked so often, the cancel hook says yes; 0: never */
} Run;

const char *error_of(const Run *run);
#define OK(run, call) CHECK_ABOUT((call) == DLC_OK, error_of(run))

/* A plan, as bytes, for the device under test or for the CPU. */
typedef struct Compiled {
    const char *path;
    bool tested, shared;
    void *bytes;
    size_t n_bytes;
} Compiled;
Compiled *compile(const char *path, bool tested);

/* On the device under test, by ranks that share the work: inputs are cut, exchanges made. */
void begin_shared(Run *run, const char *path, int32_t n_ranks);
/* On the device under test, or on the CPU. */
void begin_ranks(Run *run, const char *path, bool tested, const dlc_session_options *given,
                 int32_t n_ranks);
void begin(Run *run, const char *path, bool tested, const dlc_session_options *given);
void end(Run *run);

int64_t tensor_bytes(const DLTensor *tensor);
/* Equal to the bit, or for f32 nearly. */
void same_values(const void *a, const void *b, int64_t bytes, DLDataType dtype, bool exact,
                 const char *name);
/* The same of all variables of two sessions of one program. */
void same_variables(Run *a, Run *b, bool exact);

#endif
