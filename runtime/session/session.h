/* A session: one plan's variables, scalars, inputs and arena, and for every entry the layouts of
 * the dim bindings it has met. Memory that outlives a step is here; execute.c only walks. All of it
 * is the device's: host code reads and writes it through the device's calls, or through
 * session_host, which costs nothing where the device's memory is the host's. */
#ifndef DLC_RUNTIME_SESSION_SESSION_H
#define DLC_RUNTIME_SESSION_SESSION_H

#include "runtime/device.h"
#include "runtime/session/layout.h"

enum {
    SESSION_LAYOUTS = 8,
    SESSION_SCALARS = 32,
    SESSION_REASONS = 32, /* why kernels do what libraries might, said so far */
    SCALAR_NAME_BYTES = 64,
    SCALAR_STRIDE = 64, /* bytes from one scalar to the next on the device */
    NUMBER_STRIDE = 8,  /* the same for numbers that a run gives */
    SESSION_DESCRIPTION_BYTES = 1024
};

struct dlc_plan {
    ContextChild child;
    dlc_context *context;
    PlanFile file;
    int64_t references;
    char *parameter_text;
    int32_t target; /* the image that questions are answered from, and this processor can run; -1:
                       none, only other devices */
};

/* A parameter, state, cache or slot. */
typedef struct Variable {
    const PlanVariable *record;
    int32_t average; /* of a parameter: the slot that holds its moving average; -1: none */
    void *data; /* NULL until its dims are bound */
    int64_t bytes;
    int64_t dims[PLAN_MAX_RANK];
} Variable;

typedef struct Input {
    void *data;
    int64_t capacity, bytes; /* there is room for, and in use */
    int64_t dims[PLAN_MAX_RANK];
    bool is_set;
    bool is_of_data; /* set from the rows that the entry notes */
    int32_t scalar; /* SCALAR roles: place in the block of scalars */
} Input;

typedef struct Recording Recording; /* record.c */
typedef struct Trace Trace;         /* trace.c */
typedef struct Calls Calls;         /* calls.c */

typedef struct LayoutSlot {
    Layout *layout;
    Recording *recording; /* NULL: none */
    Calls *calls;         /* NULL: none */
    bool has_run;
} LayoutSlot;

typedef struct EntryState {
    const PlanEntry *record;
    Input *inputs;    /* [n_args]; used for INPUT and SCALAR roles */
    int32_t *numbers; /* [n_results]: place in the block of numbers; -1: none */
    int32_t n_scalars, n_numbers;
    int64_t *rows; /* of the data that inputs were last set from; NULL: none */
    int64_t n_rows, rows_capacity;
    LayoutSlot slots[SESSION_LAYOUTS]; /* newest first */
    Layout *layout;                    /* of the last run; NULL: never run */
} EntryState;

typedef struct Scalar {
    char name[SCALAR_NAME_BYTES];
    bool is_integer; /* as it was set; it is kept in both forms */
    int64_t integer;
    double real;
} Scalar;

struct dlc_session {
    ContextChild child;
    dlc_context *context;
    dlc_plan *plan;
    const PlanFile *file;
    const PlanTables *tables;
    const DeviceOps *ops;
    Device *device;
    DeviceModule *module;
    char description[SESSION_DESCRIPTION_BYTES];
    int poison; /* 0, or the number of a pattern */
    bool guarded;
    bool no_recording; /* the device cannot, or was told not to */
    bool no_libraries; /* generated kernels alone */
    bool raw_weights;  /* every entry reads parameters, not their averages */
    bool said_library;
    uint64_t said[SESSION_REASONS]; /* hashes of what the log was told */
    int32_t n_said;
    int64_t *dims;       /* bound for good; -1: not yet */
    bool *dim_is_shared; /* appears in some variable's shape */
    Variable *variables;
    int64_t n_variables;
    EntryState *entries;
    Scalar scalars[SESSION_SCALARS];
    int32_t n_scalars;
    uint8_t *arena;
    int64_t arena_bytes;
    uint8_t **apart; /* guarded: one block a buffer of `apart_layout`; [max_buffers] */
    const Layout *apart_layout;
    const uint8_t *constants; /* the file's own where the device's memory is the host's */
    uint8_t *scalar_memory;   /* SCALAR_STRIDE bytes a scalar argument of an entry … */
    uint8_t *scalar_host;     /* … and where they are put together */
    uint8_t *number_memory;   /* NUMBER_STRIDE bytes a number that an entry gives … */
    uint8_t *number_host;     /* … and as read after a run; unused where memory is the host's */
    uint8_t **bases;          /* [most buffers of an entry] */
    void **launch_buffers;    /* [most refs of a group's commands] */
    DeviceLaunch *launches;   /* [most commands of a group] */
    int32_t max_buffers, max_refs, max_group, max_scalars, max_numbers;
    void *staging; /* host memory on the way to and from the device */
    int64_t staging_bytes;
    EntryState *last;             /* whose results the arena holds */
    EntryState *running;          /* what runs or ran last, whether it failed or not */
    bool last_ok;                 /* RESULT_OK of the last run */
    bool last_update_ok;          /* what it stored of parameters and optimiser states is finite */
    int32_t faults;               /* PlanFaults of what was launched since the last look */
    KernelFault fault;            /* the last one reported; site 0: none */
    bool replaying;               /* looking for the first values that are not finite */
    int32_t first_nan, first_inf; /* commands of the replay; -1: none */
    Trace *trace;                 /* NULL: none */
    dlc_metric *step_metrics;     /* [max_numbers], lent by dlc_train_step */
    DLTensor lent;                /* what dlc_view_* hands out */
    int64_t lent_dims[PLAN_MAX_RANK];
};

/* api/plan.c: gives up one reference; the last frees the plan. */
void plan_release(dlc_plan *plan);
/* The entry that a name means (see dlc.h); NULL after setting the error. */
EntryState *session_entry(dlc_session *session, const char *name);
/* Same, over a plan; -1 and no error when there is none. */
int32_t plan_entry_find(const PlanFile *file, const PlanTables *tables, const char *name);
Scalar *session_scalar(dlc_session *session, const char *name, bool create);
int64_t session_counter(dlc_session *session, const char *name);
Variable *session_variable(dlc_session *session, const char *name); /* NULL: none */
int32_t entry_input_find(const dlc_session *session, const EntryState *entry, const char *name);
/* "it has x, y", for messages about a name that the entry has not as an input, or output. */
enum { ENTRY_NAMES_BYTES = 256 };
const char *entry_names(const dlc_session *session, const EntryState *entry, bool inputs,
                        char *out);

/* open.c: as dlc_session_create, on a device that device_find need not know (for tests);
 * NULL: by the options. */
dlc_status session_create_on(dlc_plan *plan, const dlc_session_options *options,
                             const DeviceOps *ops, dlc_session **out);
/* choose.c: the plan's best image for the device. DLC_ERROR_UNSUPPORTED: none (-1), and message
 * (DEVICE_MESSAGE_BYTES) says why, "" when the plan has none for it. Another status: an error. */
dlc_status plan_target_for(const PlanFile *file, const DeviceOps *ops, const char *which,
                           int32_t *out, char *message);
/* Opens the device that the options ask for and loads the image; may replace session->plan by one
 * that was compiled anew. */
dlc_status session_device_open(dlc_session *session, const dlc_session_options *options,
                               const DeviceOps *ops);

/* Binds for good; error when bound otherwise. */
dlc_status session_bind_number(dlc_session *session, int32_t dim, int64_t value);
/* Binds what a shape tells of dims standing alone, into `dims`; then checks the whole shape. `what`
 * for messages. */
dlc_status shape_bind(dlc_session *session, const char *what, PlanType type, const int64_t *shape,
                      int32_t rank, int64_t *dims);
/* Whether the program can be computed from the dims bound so far. */
bool program_bound(const PlanFile *file, PlanProgram program, const int64_t *dims);
/* Makes or finds the layout for the dims that inputs and bindings give, as slots[0]; grows arena
 * and scratch. With `defaults`, dims still unbound take their default. */
dlc_status session_layout(dlc_session *session, EntryState *entry, bool defaults);

/* memory.c. Sets the error from the device's own. */
dlc_status session_device_fail(dlc_session *session, dlc_status status);
/* Binds the dims in weights that inputs set so far say. */
dlc_status session_bind_inputs(dlc_session *session);
/* Gives the variables of the entry (NULL: all) their memory, zeroed; the dims in their shapes must
 * be bound. */
dlc_status session_allocate(dlc_session *session, const EntryState *entry);
/* The input's memory for this shape, checked against constant axes. *out is host memory, which the
 * caller fills and then hands over by session_input_done; until then no other call. */
dlc_status session_input(dlc_session *session, EntryState *entry, int32_t arg, int64_t rank,
                         const int64_t *dims, void **out);
dlc_status session_input_done(dlc_session *session, EntryState *entry, int32_t arg);
/* Arena and scratch for a layout. */
dlc_status session_arena(dlc_session *session, const Layout *layout);
void session_arena_free(dlc_session *session);
/* Host memory of at least `bytes`, kept by the session and used by the next call that needs any. */
dlc_status session_staging(dlc_session *session, int64_t bytes, void **out);
/* The bytes at `at` of the device as host memory: themselves, or a copy in the staging memory. */
dlc_status session_host(dlc_session *session, const void *at, int64_t bytes, const void **out);
/* Between host memory and the device; `bytes` may be 0. */
dlc_status session_read(dlc_session *session, void *to, const void *from, int64_t bytes);
dlc_status session_write(dlc_session *session, void *to, const void *from, int64_t bytes);
dlc_status session_fill(dlc_session *session, void *to, int byte, int64_t bytes);
/* Tables and buffers that the session has on the host, beside tensors. */
int64_t session_table_bytes(const dlc_session *session);

/* execute.c: runs the entry on its layout. */
dlc_status session_execute(dlc_session *session, EntryState *entry);
dlc_status session_run(dlc_session *session, EntryState *entry); /* layout, execute */
/* Waits until everything asked of the device is done. */
dlc_status session_finish(dlc_session *session);
/* non_finite.c: after a run whose OK is false: DLC_ERROR_NON_FINITE, and in the message what was
 * first: an input with field and row, a parameter or state, or a line of the program, for which the
 * run is done again with every result looked at. */
dlc_status session_non_finite(dlc_session *session, EntryState *entry);
/* Same, of the running entry, whose update made a parameter or optimiser state not finite: names
 * it. `stored`: the step has stored; else it was stopped before. */
dlc_status session_not_finite_update(dlc_session *session, bool stored);
/* DLC_OK, or the error of a run that succeeded but whose OK or update is not finite. */
dlc_status session_verdict(dlc_session *session, EntryState *entry);
/* The address of result `i` after a run. */
const uint8_t *session_result(const dlc_session *session, const EntryState *entry, int32_t i);
/* Result `i` of the last run, a number. */
double session_number(const dlc_session *session, const EntryState *entry, int32_t i);
/* What result `i`, a metric or loss written `a over b`, is divided by; false: it is not divided. */
bool session_divisor(const dlc_session *session, const EntryState *entry, int32_t i, double *out);
double session_quotient(const dlc_session *session, const EntryState *entry, int32_t i);
/* Sum of the losses of the last run, and INFO `name` (nan: none). */
double session_loss(const dlc_session *session, const EntryState *entry);
double session_info(const dlc_session *session, const EntryState *entry, const char *name);

/* api/bench_inputs.c: the first rows of the dataset, or (NULL) numbers made up for the inputs that are
 * not set, over the whole range that the program takes; runs the entry to find it. */
dlc_status bench_inputs(dlc_session *session, EntryState *entry, const dlc_dataset *dataset);

/* -- calls.c: launches that the device's libraries do -- */

/* Asks the device for each call of the layout, now that its dims are bound. *out NULL: no calls. */
dlc_status calls_create(dlc_session *session, const Layout *layout, Calls **out);
void calls_destroy(dlc_session *session, Calls *calls);
int64_t calls_bytes(const Calls *calls);
/* Whether a library does the command; whether a call before stands for it too. */
bool calls_have(const Calls *calls, int32_t command);
bool calls_cover(const Calls *calls, int32_t command);
/* From an operand's first element to the end of its last. */
int64_t calls_operand_bytes(const Calls *calls, int32_t command, int32_t operand);
/* Queues it; buffers by PlanLibraryOperand, NULL where absent. */
dlc_status calls_run(dlc_session *session, const Calls *calls, int32_t command,
                     void *const *buffers);

/* -- Between execute.c and record.c -- */

/* Runs commands [first, last) of the entry's layout, whole loops only. */
dlc_status session_range(dlc_session *session, EntryState *entry, int32_t first, int32_t last);
/* Copies the entry's numbers to where they are read from; queued. */
dlc_status session_numbers_gather(dlc_session *session, const EntryState *entry);
/* DLC_ERROR_FAULT, with the place in the program, when a launch since the last look did wrong; the
 * run ends there: what would come may compute on what was never written. */
dlc_status session_faults(dlc_session *session);
/* Runs all commands of slots[0] by its recording, which is made when there is none or a base has
 * moved. Bases are set. *out_done false: nothing was run, run it command by command. */
dlc_status recording_run(dlc_session *session, EntryState *entry, bool *out_done);
void recording_destroy(dlc_session *session, Recording *recording);
int64_t recording_bytes(const Recording *recording);

#endif
