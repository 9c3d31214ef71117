/* A session: one plan's names, dims, scalars and counters, the view that the API gives, and the
 * ranks that run it. It decides what runs, on which sizes; what lies on a device and how an entry
 * is run there is a rank's (rank.h).
 *
 * A session has one rank or many, each on a device of its own, with the same image and its part of
 * the inputs; they run at once, each on a thread of its own. What is read is whole: outputs are put
 * together, metrics and variables are the first's, as all have the same. Nothing outside of this
 * folder and api/ counts ranks.
 *
 * Calls on a session are serial: the border (border.h) lets one thread in at a time. While a rank
 * runs, the session does not change what it told it (Orders). */
#ifndef DLC_RUNTIME_SESSION_SESSION_H
#define DLC_RUNTIME_SESSION_SESSION_H

#include "runtime/plan_file/plan.h"
#include "runtime/session/agree.h"
#include "runtime/session/communicator.h"
#include "runtime/session/rank.h"
#include "runtime/session/team.h"

/* Another rank's clock: how many seconds it is ahead of rank 0's when it shows `at`. */
typedef struct TraceClock {
    double ahead, at;
} TraceClock;

struct dlc_session {
    ContextChild child;
    dlc_context *context;
    dlc_plan *plan;
    const PlanFile *file;
    const PlanTables *tables;
    Orders orders;       /* what its ranks are told */
    bool *dim_is_shared; /* appears in some variable's shape */
    Rank *ranks;         /* [n_ranks] */
    int32_t n_ranks;     /* that are this session's … */
    int32_t n_all; /* … and with those of other sessions, which it meets in `communicator` */
    dlc_communicator *communicator; /* NULL: its ranks are all */
    int64_t *told;                  /* [n_all]: of all sessions that meet there */
    int64_t *brought;               /* [n_all]: rows of the batch that each brings to a run */
    int64_t *traces;                /* [n_all]: whether each writes one */
    TraceClock clock;               /* against rank 0's when the session was made */
    int64_t all_rows;               /* of the batch that is being prepared; -1: not told yet */
    int64_t met;                    /* communicator->generation when it was met last */
    bool at_leisure;        /* its caller runs entries when it likes: none is late to begin one */
    Team *team;             /* of several ranks; NULL: there is one */
    bool needs_mesh;        /* the ranks are to share the work: a plan without a mesh will not do */
    bool is_broken;         /* a rank has failed in their communicator */
    int64_t check_replicas; /* see dlc_session_options */
    bool lacks_folder;      /* its ranks have no folder in common, as a save has found */
    int64_t n_changes;      /* how often variables may have changed */
    int32_t unsound;      /* the first rank (of all) whose last run was not finite, where one was */
    void *joined;         /* host memory in which parts are put together … */
    int64_t joined_bytes; /* … and how much */
    dlc_metric *step_metrics; /* [ranks->max_numbers], lent by dlc_train_step */
    DLTensor lent;            /* what dlc_view_* hands out */
    int64_t lent_dims[PLAN_MAX_RANK];
};

/* -- session.c: names, scalars, dims -- */

/* The entry that a name means (see dlc.h), as the first rank has it; NULL after setting the error.
 */
EntryState *session_entry(dlc_session *session, const char *name);
/* Same, over a plan; -1 and no error when there is none. */
int32_t plan_entry_find(const PlanFile *file, const PlanTables *tables, const char *name);
/* The scalar of that name; NULL: none. */
const Scalar *session_scalar(const dlc_session *session, const char *name);
int64_t session_counter(const dlc_session *session, const char *name);
int32_t entry_input_find(const dlc_session *session, const EntryState *entry, const char *name);
/* "it has x, y", for messages about a name that the entry has not as an input, or output. */
enum { ENTRY_NAMES_BYTES = 256 };
const char *entry_names(const dlc_session *session, const EntryState *entry, bool inputs,
                        char *out);
/* Binds for good; error when bound otherwise. */
dlc_status session_bind_number(dlc_session *session, int32_t dim, int64_t value);
/* Binds what a shape tells of dims standing alone, into `dims`; then checks the whole shape. `what`
 * for messages. */
dlc_status shape_bind(dlc_session *session, const char *what, PlanType type, const int64_t *shape,
                      int32_t rank, int64_t *dims);

/* -- open.c, choose.c -- */

/* As dlc_session_create, with `n_ranks` ranks (at least one), on a device that device_find need not
 * know (for tests); NULL: device and ranks by the options. */
dlc_status session_create_on(dlc_plan *plan, const dlc_session_options *options,
                             const DeviceOps *ops, int32_t n_ranks, dlc_session **out);
/* What the options say of the device but for the number of ranks ("cpu" of "cpu*8"), and that
 * number (1 where they say none). */
enum { DEVICE_TEXT_BYTES = 128 };
dlc_status device_ranks(dlc_context *context, const char *text, char *out_device,
                        int32_t *out_ranks);
/* Opens the ranks on the device that the options ask for; may replace session->plan by one that was
 * compiled anew. */
dlc_status session_ranks_open(dlc_session *session, const dlc_session_options *options,
                              const DeviceOps *ops);

/* -- dims.c -- */

/* Dims of one run (PLAN_MAX_DIMS): bound ones, then what the inputs' shapes say, then defaults if
 * wanted. Those in weights are bound for good. */
dlc_status session_dims(dlc_session *session, EntryState *entry, bool defaults, int64_t *dims);
/* Refuses a dim that the entry's arguments need and nobody bound; gives the others defaults. */
dlc_status session_dims_complete(dlc_session *session, const EntryState *entry, int64_t *dims);
/* Binds the dims in weights that inputs set so far say. */
dlc_status session_bind_inputs(dlc_session *session);

/* -- values.c: variables and inputs of all ranks -- */

/* Gives the variables of the entry (NULL: all, and binds the dims in weights that inputs set so far
 * say) their memory in every rank, zeroed. */
dlc_status session_allocate(dlc_session *session, const EntryState *entry);
/* Host memory for the value of variable `number`, which has its memory. The caller fills it and
 * hands it over to all ranks by session_variable_done; until then no other call. */
dlc_status session_variable(dlc_session *session, int64_t number, void **out);
dlc_status session_variable_done(dlc_session *session, int64_t number);
dlc_status session_variable_zero(dlc_session *session, int64_t number);
/* The whole value, as host memory until the next call on the session, or copied to the caller's. */
dlc_status session_variable_value(dlc_session *session, int64_t number, const void **out);
dlc_status session_variable_read(dlc_session *session, int64_t number, void *to);
/* Of several ranks: brings averages that are cut otherwise than their parameters to where the
 * entry, which has its memory, reads them, if they may have changed since. */
dlc_status session_averages_gather(dlc_session *session, const EntryState *entry);
/* Whether dims of the type's rank fit the input and what is bound. */
dlc_status session_input_check(dlc_session *session, const PlanArg *arg, const int64_t *dims);
/* The input's memory for this shape, checked against constant axes; else as session_variable. */
dlc_status session_input(dlc_session *session, EntryState *entry, int32_t arg, int64_t rank,
                         const int64_t *dims, void **out);
dlc_status session_input_done(dlc_session *session, EntryState *entry, int32_t arg);

/* Result `number` of the entry, which ran last, as one tensor in host memory until the next call on
 * the session; out_dims: PLAN_MAX_RANK. */
dlc_status session_output(dlc_session *session, const EntryState *entry, int32_t number,
                          int64_t *out_dims, const void **out);

/* -- told.c: what one session knows, and those that it meets must -- */

/* A collective call begins: where an earlier one ended the communicator, all meet anew. */
dlc_status session_call_begin(dlc_session *session);
/* Every session comes here with what it came to: the error of the lowest rank that has one, its
 * text too. Of a session whose ranks are all, `status` as it is. */
dlc_status session_agree(dlc_session *session, dlc_status status);
/* The same, and how many rows of the batch each brings (-1: none are asked for) becomes
 * session->brought, in the same exchange. */
dlc_status session_agree_rows(dlc_session *session, dlc_status status, int64_t rows);
/* A call that all sessions make. */
dlc_status session_call(dlc_session *session, const CommCall *call);
/* The same for a run that has been settled, with what it says of its numbers (last_ok,
 * last_update_ok of the rank, session->unsound). */
dlc_status session_settle_agree(dlc_session *session, dlc_status status);
/* Text of the lowest rank that has one (`has`), `n` bytes: the same on all then. *out_has: any has.
 */
dlc_status session_tell(dlc_session *session, bool has, char *text, size_t n, bool *out_has);
/* The number that rank 0's session has, or the greatest of all sessions', of each of n. */
dlc_status session_first(dlc_session *session, int64_t *value);
dlc_status session_most(dlc_session *session, int64_t *values, int64_t n);
/* Of every session one number: *all [n_all], in order of ranks, until the next call. */
dlc_status session_numbers(dlc_session *session, const char *what, int64_t own,
                           const int64_t **all);
/* Whether this session writes the files of all. */
bool session_writes(const dlc_session *session);
/* This session cannot go on where others wait for it: ends their waits with its error. */
dlc_status session_abandon(dlc_session *session, dlc_status status);

/* -- brought.c: rows that each rank brings itself (Orders.own_rows) -- */

/* Whether of the input the caller brings this rank's rows alone, or (of an entry) of any. */
bool session_brings(const dlc_session *session, const PlanArg *arg);
bool session_brings_any(const dlc_session *session, const EntryState *entry);
/* As shape_bind, of an input as it was given: of own rows the batch is bound by their sum alone, as
 * far as that is known. */
dlc_status session_input_bind(dlc_session *session, const PlanArg *arg, const int64_t *dims,
                              int64_t *vars);
/* All sessions come here before they prepare a run of an entry with such inputs, each with what it
 * came to so far: session_agree, and then what all bring is session->all_rows. DLC_ERROR_MISMATCH
 * on all where the batch is fixed at another number, or ranks with the same rows bring others. */
dlc_status session_rows_meet(dlc_session *session, const EntryState *entry, dlc_status status);
/* After the layout: rows that another rank is to compute travel to it. Collective where any do. */
dlc_status session_rows_deal(dlc_session *session, EntryState *entry);
/* How many places there are among the ranks' data for the rows of the entry, each with the rows of
 * its own; 1: of all. Which this rank's is, or another's, and the lowest rank that has it. */
int64_t session_places(const dlc_session *session, const EntryState *entry);
int64_t session_place(const dlc_session *session, const EntryState *entry);
int64_t session_place_of(const dlc_session *session, const EntryState *entry, int32_t rank);
int64_t session_place_rank(const dlc_session *session, const EntryState *entry, int64_t place);
/* How many rows of a batch of so many are the place's, if each rank is to bring what it computes.
 */
dlc_status session_place_rows(dlc_session *session, const EntryState *entry, int64_t place,
                              int64_t batch, int64_t *out);

/* -- meet.c -- */

/* Lets the ranks meet in a communicator, where they need one and have none that is sound. */
dlc_status session_meet(dlc_session *session);
void session_part(dlc_session *session); /* ends it */
/* What its ranks do until their next run, for those that wait for them: a text that stays. */
void session_does(dlc_session *session, const char *what);
/* The same for what may take long: others that wait for it do not take it for lost so soon. */
void session_takes_long(dlc_session *session, const char *what);
/* Before its ranks wait for others to begin the entry, whose layout was made if it can be. */
void session_awaits(dlc_session *session, const EntryState *entry);

/* -- trace_join.c -- */

/* Of sessions that share a communicator, and of which rank 0 and others write traces: all of these
 * come here, before the first run and at the end. Where all have come, the file of rank 0 is that
 * of all; else it says whose parts are missing. */
dlc_status session_trace_begin(dlc_session *session);
void session_trace_join(dlc_session *session);

/* -- agreement.c -- */

/* Among sessions that share a communicator: DLC_ERROR_MISMATCH on all where they state other facts,
 * with what differs. */
dlc_status session_compare(dlc_session *session, const AgreeTable *table);
/* Before the first run of the entry, on the layout in slots[0]: program, sizes, counters, and
 * replicas, which session_replicas_check compares. */
dlc_status session_entry_agree(dlc_session *session, EntryState *entry);
/* DLC_ERROR_MISMATCH where ranks' copies of a variable are not the same, to the bit; of one rank
 * there are none. Between runs. */
dlc_status session_replicas_check(dlc_session *session);
/* The same, after every so manieth training step alone (dlc_session_options.check_replicas). */
dlc_status session_replicas_due(dlc_session *session, int64_t step);
/* The same before something is saved, unless never is asked for. */
dlc_status session_replicas_save(dlc_session *session);

/* -- run.c -- */

/* Makes or finds, in every rank, the layout for the dims that inputs and bindings give, as
 * slots[0]; grows arena and scratch. With `defaults`, dims still unbound take their default. */
dlc_status session_layout(dlc_session *session, EntryState *entry, bool defaults);
/* Layout, and the run on all ranks; the error is that of the first that fails. */
dlc_status session_run(dlc_session *session, EntryState *entry);
/* The same in two: see rank_run_begin and rank_run_settle. Of sessions that share a communicator
 * one that cannot begin because of what precedes it calls session_agree instead. Until the last is
 * settled no other call but these and the next two, and setting inputs and scalars. */
dlc_status session_run_begin(dlc_session *session, EntryState *entry);
dlc_status session_run_settle(dlc_session *session);
int32_t session_runs_begun(const dlc_session *session);
/* Until at most `most` runs are begun and not settled: `settle` settles the one that was begun
 * first and takes what it gave. The error is the first of its. */
typedef dlc_status SessionSettle(void *user);
dlc_status session_runs_settle(dlc_session *session, int32_t most, SessionSettle *settle,
                               void *user);
/* The error of a run that could not begin, which is `status` and the context's text: those begun
 * before it come first, and so does an error of theirs. */
dlc_status session_begin_fail(dlc_session *session, dlc_status status, SessionSettle *settle,
                              void *user);
bool session_may_run_ahead(const dlc_session *session, const EntryState *entry);
/* Waits until everything asked of the devices is done. */
dlc_status session_finish(dlc_session *session);

/* -- verdict.c -- */

/* DLC_OK, or the error of a run that succeeded but whose OK or update is not finite, with what was
 * first: see rank_not_finite_before, or a line of the program, for which all ranks run again. */
dlc_status session_verdict(dlc_session *session, EntryState *entry);

/* api/bench_inputs.c: the first rows of the dataset, or (NULL) numbers made up for the inputs that
 * are not set, over the whole range that the program takes; runs the entry to find it. */
dlc_status bench_inputs(dlc_session *session, EntryState *entry, const dlc_dataset *dataset);

#endif
