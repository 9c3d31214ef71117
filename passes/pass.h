/* The pass contract. A pass rewrites one Func and returns whether anything changed. It reports
 * problems as diagnostics; it may not print, time, verify or allocate outside `scratch` and the
 * module's arena. The order of passes is pipeline.def; run.c runs them. */
#ifndef DLC_PASSES_PASS_H
#define DLC_PASSES_PASS_H

#include "ir/build.h"
#include "passes/machine.h"

typedef struct PassTime {
    const char *pass;
    double seconds;
    int32_t ops_before, ops_after;
    bool changed;
} PassTime;

typedef struct PipelineReport {
    VEC(PassTime) times; /* in the context arena, when time_passes */
    VEC(const char *)
    shardings; /* likewise, with explains: of each Func that was cut among ranks */
} PipelineReport;

typedef struct PassContext {
    Context *context;
    Arena *scratch; /* freed by the runner after each pass */
    const Machine *machine;
    int64_t memory_limit;   /* bytes, for remat; 0: none */
    PipelineReport *report; /* NULL: nothing is to be explained */
} PassContext;

#define PASS(name, ...) bool pass_##name(PassContext *pass, Func *func);
#define GROUP_BEGIN(name, limit)
#define GROUP_END
#include "passes/pipeline.def"
#undef PASS
#undef GROUP_BEGIN
#undef GROUP_END

/* What dlc's flags say about a run of the pipeline. */
typedef struct PipelineOptions {
    const char *stop_after;                                        /* pass name, or NULL: all */
    const char *print_after;                                       /* pass name, "all", or NULL */
    void (*print)(void *user, const char *pass, const char *text); /* for print_after */
    void *print_user;
    bool verify_each; /* after every pass; otherwise at the end of the pipeline */
    bool time_passes;
    bool explains;        /* what passes decided goes into the report */
    int64_t memory_limit; /* bytes that a Func should run in at nominal dims; 0: no limit */
    const char *skip;     /* comma-separated pass names not to run, or NULL (for tests: "fuse") */
} PipelineOptions;

/* Runs the pipeline over every Func of the module. False after diagnostics (user errors) — an
 * internal failure of the verifier leaves through the boundary with DLC_ERROR_INTERNAL after a
 * diagnostic that carries the IR. */
bool passes_run(Module *module, const Machine *machine, const PipelineOptions *options,
                PipelineReport *report);
/* Name and sentence of pass `index`, in order; NULL past the end. */
const char *pass_name(int index);
const char *pass_doc(int index);

#endif
