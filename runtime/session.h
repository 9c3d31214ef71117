/* A session: one plan's variables, scalars, inputs and arena, and for every entry the layouts of
 * the dim bindings it has met. Memory that outlives a step is here; execute.c only walks. */
#ifndef DLC_RUNTIME_SESSION_H
#define DLC_RUNTIME_SESSION_H

#include "runtime/device.h"
#include "runtime/layout.h"

enum { SESSION_LAYOUTS = 4, SESSION_SCALARS = 32, SCALAR_NAME_BYTES = 64 };

struct dlc_plan {
    dlc_context *context;
    PlanFile file;
    int64_t references;
    char *parameter_text;
    int32_t target; /* the one for this machine; -1: none, only other devices */
};

/* A parameter, state, cache or slot. */
typedef struct Variable {
    const PlanVariable *record;
    void *data; /* NULL until its dims are bound; 64-byte aligned */
    int64_t bytes;
    int64_t dims[PLAN_MAX_RANK];
} Variable;

typedef struct Input {
    void *data;
    int64_t capacity; /* bytes */
    int64_t dims[PLAN_MAX_RANK];
    bool is_set;
} Input;

typedef struct EntryState {
    const PlanEntry *record;
    Input *inputs;                    /* [n_args]; used for INPUT roles */
    Layout *layouts[SESSION_LAYOUTS]; /* newest first */
    Layout *layout;                   /* of the last run; NULL: never run */
} EntryState;

typedef struct Scalar {
    char name[SCALAR_NAME_BYTES];
    bool is_integer;
    int64_t integer;
    double real;
} Scalar;

struct dlc_session {
    dlc_context *context;
    dlc_plan *plan;
    const PlanFile *file;
    const PlanTables *tables;
    const DeviceOps *device;
    DeviceModule *module;
    int threads;
    DeviceWorkers workers;
    int64_t scratch_bytes; /* of one worker */
    int poison;            /* 0, or the number of a pattern */
    int64_t *dims;         /* bound for good; -1: not yet */
    bool *dim_is_shared;   /* appears in some variable's shape */
    Variable *variables;
    int64_t n_variables;
    EntryState *entries;
    Scalar scalars[SESSION_SCALARS];
    int32_t n_scalars;
    uint8_t *arena;
    int64_t arena_bytes;
    int64_t *scalar_memory; /* one word a scalar argument of an entry */
    uint8_t **bases;        /* [most buffers of an entry] */
    void **launch_buffers;  /* [most refs of a command] */
    int32_t max_buffers, max_args, max_refs;
    EntryState *last; /* whose results the arena holds */
    bool last_ok;     /* RESULT_OK of the last run */
    KernelFault fault;
    bool replaying;               /* looking for the first values that are not finite */
    int32_t first_nan, first_inf; /* commands of the replay; -1: none */
    DLTensor lent;                /* what dlc_view_* hands out */
    int64_t lent_dims[PLAN_MAX_RANK];
    char name_buffer[256];
};

/* The entry that a name means (see dlc.h); NULL after setting the error. */
EntryState *session_entry(dlc_session *session, const char *name);
/* Same, over a plan; -1 and no error when there is none. */
int32_t plan_entry_find(const PlanFile *file, const PlanTables *tables, const char *name);

/* Gives the variables of the entry (NULL: all) their memory; the dims in their shapes must be
 * bound. */
dlc_status session_allocate(dlc_session *session, const EntryState *entry);
Variable *session_variable(dlc_session *session, const char *name); /* NULL: none */
/* Binds for good; error when bound otherwise. */
dlc_status session_bind_number(dlc_session *session, int32_t dim, int64_t value);
/* Binds what a shape tells of dims standing alone, into `dims`; then checks the whole shape. `what`
 * for messages. */
dlc_status shape_bind(dlc_session *session, const char *what, PlanType type, const int64_t *shape,
                      int32_t rank, int64_t *dims);
/* The input's memory for this shape, checked against constant axes; marks it set. The caller fills
 * it. */
dlc_status session_input(dlc_session *session, EntryState *entry, int32_t arg, int64_t rank,
                         const int64_t *dims, void **out);
int32_t entry_input_find(const dlc_session *session, const EntryState *entry, const char *name);
/* Makes or finds the layout for the dims that inputs and bindings give; grows arena and scratch.
 * With `defaults`, dims still unbound take their default. */
dlc_status session_layout(dlc_session *session, EntryState *entry, bool defaults);
Scalar *session_scalar(dlc_session *session, const char *name, bool create);
int64_t session_counter(dlc_session *session, const char *name);

/* execute.c: runs the entry on its layout. */
dlc_status session_execute(dlc_session *session, EntryState *entry);
dlc_status session_run(dlc_session *session, EntryState *entry); /* layout, execute */
/* After a run whose OK is false: runs it again, checking every result, and writes "the first nan
 * comes from …" to `out` (empty when all values are finite). */
void session_find_non_finite(dlc_session *session, EntryState *entry, char *out, size_t n_out);
/* The address of result `i` after a run. */
const uint8_t *session_result(const dlc_session *session, const EntryState *entry, int32_t i);
/* Sum of the losses of the last run, and INFO `name` (nan: none). */
double session_loss(const dlc_session *session, const EntryState *entry);
double session_info(const dlc_session *session, const EntryState *entry, const char *name);

#endif
