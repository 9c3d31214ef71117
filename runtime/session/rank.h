/* A rank: one device of a session with all that lies on it – the loaded image, variables, inputs,
 * the arena – and for every entry the layouts, recordings and library calls of the dim bindings it
 * has met. It runs an entry on what it has; names, dims and counters are the session's business
 * (session.h), and reach it through Orders alone. All its memory is the device's: host code reads
 * and writes it through the device's calls, or through rank_host, which costs nothing where the
 * device's memory is the host's.
 *
 * A rank is used by one thread at a time, its device and its context with it. Different ranks of a
 * session share nothing but the plan and the orders, which nobody writes while a rank runs. */
#ifndef DLC_RUNTIME_SESSION_RANK_H
#define DLC_RUNTIME_SESSION_RANK_H

#include "runtime/comm/comm.h"
#include "runtime/device.h"
#include "runtime/session/layout.h"
#include "runtime/session/place.h"

enum {
    RANK_LAYOUTS = 8,
    RANK_REASONS = 32, /* why kernels do what libraries might, said so far */
    RANK_DESCRIPTION_BYTES = 1024,
    ORDERS_SCALARS = 32,
    SCALAR_NAME_BYTES = 64,
    SCALAR_STRIDE = 64, /* bytes from one scalar to the next on the device */
    NUMBER_STRIDE = 8,  /* the same for numbers that a run gives */
    RANK_RUNS = 3       /* begun and not settled, at most */
};

/* What ranks tell each other before they store. */
enum {
    WORD_SITE,
    WORD_VALUE,
    WORD_BOUND, /* of a fault; site 0: none */
    WORD_OK,
    WORD_STEP,
    WORD_BINDING, /* what they are at, which must be the same */
    EXCHANGE_WORDS
};

/* A counter or a run-time setting. */
typedef struct Scalar {
    char name[SCALAR_NAME_BYTES];
    bool is_integer; /* as it was set; it is kept in both forms */
    int64_t integer;
    double real;
} Scalar;

/* What a session tells all its ranks; it does not change while one of them runs. */
typedef struct Orders {
    int64_t *dims; /* bound for good; -1: not yet; [n_dims], the session's */
    Scalar scalars[ORDERS_SCALARS];
    int32_t n_scalars;
    int poison; /* 0, or the number of a pattern */
    bool guarded;
    bool no_libraries;    /* generated kernels alone */
    bool raw_weights;     /* every entry reads parameters, not their averages */
    bool own_rows;        /* of a batch the caller brings this rank's rows alone: brought.c */
    double stall_seconds; /* see dlc_session_options */
} Orders;

/* A parameter, state, cache or slot. */
typedef struct Variable {
    const PlanVariable *record;
    int32_t average; /* of a parameter: the slot that holds its moving average; -1: none */
    bool is_apart;   /* which is cut otherwise among ranks: entries read it in Rank.gathered */
    int64_t stamp;   /* of what is gathered: dlc_session.n_changes then */
    void *data;      /* NULL until its dims are bound */
    int64_t bytes;
    int64_t dims[PLAN_MAX_RANK]; /* what the rank has of it … */
    int64_t whole_bytes;
    int64_t whole[PLAN_MAX_RANK]; /* … and all of it */
} Variable;

typedef struct Input {
    void *data;
    int64_t capacity, bytes; /* there is room for, and in use */
    int64_t dims[PLAN_MAX_RANK];
    bool is_set;
    bool is_of_data; /* set from the rows that the entry notes */
    int64_t version; /* how often it was set; of a part, of_version: that of the whole */
    int64_t of_version;
    /* Of own rows: those that the rank is to compute, where it was not given just these, in … */
    const void *dealt; /* (NULL: it was) */
    void *dealt_room;  /* … host memory of so many bytes */
    int64_t dealt_bytes;
    int32_t scalar; /* SCALAR roles: place in the block of scalars */
} Input;

typedef struct Recording Recording;               /* record.c */
typedef struct Trace Trace;                       /* trace.c */
typedef struct Calls Calls;                       /* calls.c */
typedef struct Journal Journal;                   /* runtime/journal/ */
typedef struct StartedExchanges StartedExchanges; /* started.c */

typedef struct LayoutSlot {
    Layout *layout;
    Recording *recording; /* NULL: none */
    Calls *calls;         /* NULL: none */
    bool has_run;
    bool was_timed; /* a run among ranks has gone well */
} LayoutSlot;

typedef struct EntryState {
    const PlanEntry *record;
    /* [n_args]; used for INPUT and SCALAR roles. Of several ranks the first has here what was
     * given, whole and in host memory, and each in `parts` what it has of it on its device. */
    Input *inputs;
    Input *parts;     /* of one rank the same array */
    int32_t *numbers; /* [n_results]: place in the block of numbers; -1: none */
    int32_t n_scalars, n_numbers;
    bool is_gated;        /* its stores look at a word on the device */
    bool stores;          /* it has stores at all */
    bool waits;           /* the host needs values while it runs */
    bool exchanges_again; /* it has collectives in loops */
    bool has_agreed;      /* all ranks have found that they run the same */
    int64_t *rows;        /* of the data that inputs were last set from; NULL: none */
    int64_t n_rows, rows_capacity;
    bool spreads_moves;   /* other commands than exchanges are on further queues */
    DeviceEvent **events; /* [n_events], where it does; else NULL */
    int64_t *signalled;   /* [n_events]: the stretch of commands that signalled it last … */
    int64_t *stands_for;  /* … and where started exchanges are the second queue: how many were */
    LayoutSlot slots[RANK_LAYOUTS]; /* newest first */
    Layout *layout;                 /* of the last run; NULL: never run */
    double began, longest;          /* watch.c: when the run did; seconds of the longest but each
                                       layout's first */
} EntryState;

/* A run, and where on the host it leaves what it gives. */
typedef struct RunSlot {
    EntryState *entry;
    KernelFault *fault; /* of the queue, when the run's work was done */
    uint8_t *numbers;   /* NUMBER_STRIDE bytes each */
    DeviceEvent *done;  /* both have arrived */
    bool is_awaited;    /* it gives something */
    double began;       /* clock_seconds */
} RunSlot;

typedef struct Rank {
    /* Given by the session, and outliving the rank. The context has the allocator and the hooks,
     * and takes the texts of errors. */
    dlc_context *context;
    const PlanFile *file;
    const PlanTables *tables; /* of the image on the device */
    RankPlace place;
    int32_t n_ranks;  /* of the session */
    bool is_of_many;  /* more than one */
    bool is_stopped;  /* its last run ended as another rank's failed … */
    bool has_agreed;  /* … or in an error that all ranks have met at once */
    int64_t step;     /* of its run: the training step, 0 of other entries … */
    uint64_t binding; /* … and a hash of the dims, the same on all ranks */
    const Orders *orders;

    const DeviceOps *ops;
    Device *device;     /* NULL: not open */
    DeviceQueue *queue; /* what its runs are given to: queue 0 */
    /* Of the plans' queues, [0] is the same; the others are made when an entry first needs them:
     * NULL: not yet; queue 0: the device has no more. */
    DeviceQueue *queues[PLAN_MAX_QUEUES];
    DeviceEvent *crossed[PLAN_MAX_QUEUES]; /* between queue 0 and each */
    int64_t stretch;                       /* number of the one under way: see queues_fork */
    DeviceModule *module;
    char description[RANK_DESCRIPTION_BYTES]; /* of device and image, for people */
    bool no_recording;                        /* the device cannot, or was told not to */
    bool said_library;
    uint64_t said[RANK_REASONS]; /* hashes of what the log was told */
    int32_t n_said;

    Journal *journal;      /* NULL: none is kept */
    Comm *comm;            /* its end of what the session's ranks meet in; NULL: they need not */
    CommGroup *groups;     /* [n_collectives] */
    int32_t **members;     /* [n_collectives]: lists of `groups`, where it is the first with one */
    CommBuffer *exchanged; /* [max_refs] */
    int64_t *exchanged_bytes;  /* [max_refs]: of each ref */
    StartedExchanges *started; /* NULL: none goes on while others run */
    int64_t *words;            /* EXCHANGE_WORDS of this rank, then of all */
    Variable *variables;       /* [n_variables], as in the plan */
    int64_t n_variables;
    Variable *gathered;  /* [n_variables], of several ranks: averages, cut as their parameters */
    EntryState *entries; /* [tables->n_entries] */
    uint8_t *arena;
    int64_t arena_bytes;
    uint8_t **apart; /* guarded: one block a buffer of `apart_layout`; [max_buffers] */
    const Layout *apart_layout;
    const uint8_t *constants; /* the file's own where the device's memory is the host's */
    uint8_t *scalar_memory;   /* SCALAR_STRIDE bytes a scalar argument of an entry … */
    uint8_t *scalar_host;     /* … and where they are put together */
    uint8_t *number_memory;   /* NUMBER_STRIDE bytes a number that an entry gives … */
    const uint8_t *numbers;   /* … and those of the run that was settled last */
    RunSlot runs[RANK_RUNS];  /* in turn */
    uint64_t n_begun, n_settled;
    uint8_t **bases;        /* [most buffers of an entry] */
    void **launch_buffers;  /* [most refs of a group's commands] */
    DeviceLaunch *launches; /* [most commands of a group] */
    int32_t max_buffers, max_refs, max_group, max_scalars, max_numbers;
    void *staging; /* host memory on the way to and from the device */
    int64_t staging_bytes;

    EntryState *last;    /* whose run was settled last; NULL: it failed, or a new one was begun */
    EntryState *running; /* what runs or ran last, whether it failed or not */
    bool last_ok;        /* RESULT_OK of the last run */
    bool last_update_ok; /* what it stored of parameters and optimiser states is finite */
    int32_t faults;      /* PlanFaults of what was launched since the last look */
    KernelFault fault;   /* the last one reported; site 0: none */
    bool replaying;      /* looking for the first values that are not finite */
    int32_t first_nan, first_inf; /* commands of the replay; -1: none */
    Trace *trace;                 /* NULL: none */
} Rank;

/* -- rank.c: beginning and end -- */

/* Opens the device `ops` and loads image `number` of `file` on it, into a zeroed rank. An error
 * leaves the rank closed. */
dlc_status rank_open(Rank *rank, dlc_context *context, const PlanFile *file, int32_t number,
                     const DeviceOps *ops, const DeviceOptions *options);
/* The tables that runs need, on a rank that is open; `orders` outlives it. After an error
 * rank_close ends it all the same. */
dlc_status rank_begin(Rank *rank, const Orders *orders);
/* Frees what it holds and closes the device; a zeroed or closed rank stays as it is. */
void rank_close(Rank *rank);
/* Tables and buffers that the rank has on the host, beside tensors. */
int64_t rank_table_bytes(const Rank *rank);
/* The layout of the entry for `dims`, with its library calls, made if need be, as slots[0]. */
dlc_status rank_layout(Rank *rank, EntryState *entry, const int64_t *dims);

/* -- orders.c -- */

/* NULL: none. */
const Scalar *orders_scalar(const Orders *orders, const char *name);
/* 0 where there is none. */
int64_t orders_counter(const Orders *orders, const char *name);

/* -- variables.c -- */

/* The table of the plan's variables, without memory; after an error variables_destroy all the same,
 * which frees their memory too. */
dlc_status variables_create(Rank *rank);
void variables_destroy(Rank *rank);
Variable *rank_variable(const Rank *rank, const char *name); /* NULL: none */
/* The variable that holds the average of `variable`; NULL: there is none. */
Variable *rank_average_of(const Rank *rank, const Variable *variable);
/* What the entry reads as variable `number`: training and initialising the parameter itself, every
 * other entry its average where there is one, unless the orders say otherwise. */
const Variable *rank_entry_variable(const Rank *rank, const EntryState *entry, int32_t number);

/* -- memory.c: what lies on the device -- */

/* Gives the variables of the entry (NULL: all) their memory, zeroed; the dims in their shapes must
 * be bound. */
dlc_status rank_allocate(Rank *rank, const EntryState *entry);
/* Arena and scratch for a layout. */
dlc_status rank_arena(Rank *rank, const Layout *layout);
void rank_arena_free(Rank *rank);

/* -- inputs.c -- */

/* The input's memory for these dims, which fit its type. *out is host memory, which the caller
 * fills and then hands over by rank_input_done; until then no other call. */
dlc_status rank_input(Rank *rank, EntryState *entry, int32_t arg, const int64_t *dims, void **out);
dlc_status rank_input_done(Rank *rank, EntryState *entry, int32_t arg);
/* The input gets `*memory`, of the rank's device (of several ranks: the host's) and as large as the
 * dims say, and gives its own.
 */
dlc_status rank_input_exchange(Rank *rank, EntryState *entry, int32_t arg, const int64_t *dims,
                               void **memory);
/* The input's value lies on the device; queued. */
dlc_status rank_input_copy(Rank *rank, EntryState *entry, int32_t arg, const int64_t *dims,
                           const void *from);
/* Of several ranks: host memory for the whole input, which this makes set; for the caller to fill
 * before the next call. */
dlc_status rank_whole_input(Rank *rank, EntryState *entry, int32_t arg, const int64_t *dims,
                            void **out);
/* The rank's parts of the inputs that `given` has whole, for the layout in slots[0]: copied where
 * they are not on the device yet. */
dlc_status rank_parts_take(Rank *rank, const EntryState *entry, const EntryState *given);

/* -- transfer.c: between host and device -- */

/* Sets the error from the device's own. */
dlc_status rank_device_fail(Rank *rank, dlc_status status);
/* After an allocation that gave NULL: `what` of `bytes`, why, and what would help. */
dlc_status rank_no_memory(Rank *rank, const char *what, int64_t bytes);
/* Host memory of at least `bytes`, kept by the rank and used by the next call that needs any. */
dlc_status rank_staging(Rank *rank, int64_t bytes, void **out);
/* Host memory for queued transfers (DeviceOps.host_alloc); NULL: there is no more. */
void *rank_host_alloc(Rank *rank, int64_t bytes);
void rank_host_free(Rank *rank, void *memory); /* NULL will do */
/* The bytes at `at` of the device as host memory: themselves, or a copy in the staging memory. */
dlc_status rank_host(Rank *rank, const void *at, int64_t bytes, const void **out);
/* Between host memory and the device; `bytes` may be 0. */
dlc_status rank_read(Rank *rank, void *to, const void *from, int64_t bytes);
dlc_status rank_write(Rank *rank, void *to, const void *from, int64_t bytes);
dlc_status rank_fill(Rank *rank, void *to, int byte, int64_t bytes);

/* -- queues.c: the device's queues for an entry's -- */

/* Makes what the entry needs; not inside a step. */
dlc_status queues_make(Rank *rank, EntryState *entry);
void queues_forget(Rank *rank, EntryState *entry); /* its events */
void queues_close(Rank *rank);
/* Whether the entry's queues are several now. One does them all, in the order of the commands, for
 * a device that has no more, and where results are looked at, poisoned or timed one by one. */
bool queues_several(const Rank *rank, const EntryState *entry);
/* A stretch of commands, a recorded one or what is run between the points where the host waits:
 * before it, all queues come after queue 0, behind it queue 0 after all. Events of an earlier
 * stretch are not waited for. */
dlc_status queues_fork(Rank *rank, const EntryState *entry);
dlc_status queues_join(Rank *rank, const EntryState *entry);
/* The events that the command waits for and signals, on its queue; queues are apart. */
dlc_status queues_await(Rank *rank, const EntryState *entry, const PlanCommand *command);
dlc_status queues_signal(Rank *rank, EntryState *entry, const PlanCommand *command);

/* -- runs.c -- */

dlc_status runs_create(Rank *rank); /* after an error runs_destroy all the same */
void runs_destroy(Rank *rank);
/* Runs begun and not settled yet. */
int32_t rank_runs_begun(const Rank *rank);
/* Whether a run of the entry may be begun, RANK_RUNS at most, while one of the same entry is not
 * settled. */
bool rank_may_run_ahead(const Rank *rank, const EntryState *entry);
/* Gives the device a run of the entry on the layout in slots[0]. After an error nothing was begun;
 * what was begun before still is to be settled. */
dlc_status rank_run_begin(Rank *rank, EntryState *entry);
/* The same among the session's ranks, all of which do it at once: they are told of a failure. */
dlc_status rank_run_together(Rank *rank, EntryState *entry);
/* Waits for the run that was begun first, which then is the last run of all that follows here.
 * Where it was not OK, or gives an error, those begun after it have stored nothing and are
 * forgotten; they have written over inputs and arena. */
dlc_status rank_run_settle(Rank *rank);
/* Both, where none is begun. */
dlc_status rank_execute(Rank *rank, EntryState *entry);

/* -- execute.c -- */

/* Runs commands [first, last) of the entry's layout, whole loops only. */
dlc_status rank_range(Rank *rank, EntryState *entry, int32_t first, int32_t last);
/* Waits until everything asked of the device is done. */
dlc_status rank_finish(Rank *rank);

/* -- record.c -- */

/* Runs all commands of slots[0] by its recording, which is made when there is none or a base has
 * moved. Bases are set. *out_done false: nothing was run, run it command by command. */
dlc_status recording_run(Rank *rank, EntryState *entry, bool *out_done);
void recording_destroy(Rank *rank, Recording *recording);
int64_t recording_bytes(const Recording *recording);

/* -- exchange.c: between ranks -- */

/* What collectives need beside the communicator; the rank has its place. After an error
 * exchange_destroy all the same. */
dlc_status exchange_create(Rank *rank);
void exchange_destroy(Rank *rank);
/* A collective as the communicator has it: its kind, and the buffer of its refs r and r + 1 (r is
 * even) without their addresses. sizes: the command's in the layout. */
CommKind exchange_kind(const PlanCollective *collective);
CommBuffer exchange_buffer(const Layout *layout, const PlanCommand *command, int32_t r,
                           const int64_t *sizes);
/* Bytes of staging memory that the collective takes where the device's memory is not the host's.
 * False: beyond 64 bits. */
bool exchange_staging(const Layout *layout, const PlanCommand *command, int64_t *out);
/* Whether two stretches of memory have a byte in common. */
bool exchange_overlap(const void *a, int64_t a_bytes, const void *b, int64_t b_bytes);
/* The call of a collective, the running entry's command, on its refs' addresses, whose sizes are
 * those of the layout; its buffers and their bytes are Rank.exchanged and .exchanged_bytes. */
dlc_status exchange_prepare(Rank *rank, const Layout *layout, const PlanCommand *command,
                            const int64_t *sizes, uint8_t *const *addresses, CommCall *out);
/* Does it, and waits. */
dlc_status exchange_run(Rank *rank, const Layout *layout, const PlanCommand *command,
                        uint8_t *const *addresses, const CommCall *call);
/* After a call that has failed: the rank's error, with where its journals are when one does not
 * come. */
dlc_status exchange_failed(Rank *rank, dlc_status status);
/* Makes a call beside those of commands, and notes it; sets the error. */
dlc_status exchange_call(Rank *rank, const CommCall *call);
/* All ranks come here: n words of each, in order of ranks. `what`: for messages. */
dlc_status exchange_gather(Rank *rank, const char *what, const void *own, void *all, int64_t n);
/* All ranks come here before they store, or when all fail: the error of the first fault of the
 * lowest rank that has one, or of ranks that are not at the same step, the same on all; *ok:
 * whether it was so on all. */
dlc_status exchange_agree(Rank *rank, const KernelFault *own, bool *ok);
/* All ranks come here at the end of a run: one that still waits for others would do so for ever. */
dlc_status exchange_end(Rank *rank);

/* -- started.c: exchanges that go on while the rank computes -- */

dlc_status started_create(Rank *rank); /* after an error started_destroy all the same */
void started_destroy(Rank *rank);
/* Whether the collective is one of them, now. */
bool started_may(const Rank *rank, const PlanCommand *command);
/* Starts what exchange_prepare gave for command number `command` of the running entry, behind those
 * before it that use the same memory. */
dlc_status started_begin(Rank *rank, const CommCall *call, int32_t command);
/* Waits for what the events stand for that the command waits for; of a queue beside queue 0 that
 * does no exchange, for all. */
dlc_status started_await(Rank *rank, const EntryState *entry, const PlanCommand *command);
/* The event that the command signals stands for all that were started so far. */
void started_signal(const Rank *rank, EntryState *entry, const PlanCommand *command);
/* The end of a stretch of commands that gave `status`, which it returns, or that of waiting for
 * all. Behind an error of this rank alone they are the communicator's, until that is ended. */
dlc_status started_end(Rank *rank, dlc_status status);

/* -- replicas.c -- */

/* All ranks come here, between runs: DLC_ERROR_MISMATCH on all, with the same text, where a
 * variable that several have alike is not the same on them, bit for bit. */
dlc_status rank_replicas_check(Rank *rank);

/* -- poison.c -- */

/* Fills what is born (else: dies) with command `at`; queued. */
dlc_status poison_at(Rank *rank, const Layout *layout, int32_t at, bool born);

/* -- result.c: what the last run gave -- */

/* The address of result `i`, and where a number among them lies for the host. */
const uint8_t *rank_result(const Rank *rank, const EntryState *entry, int32_t i);
const uint8_t *rank_number_at(const Rank *rank, const EntryState *entry, int32_t i);
/* Copies the entry's numbers to where a run fetches them from; queued. */
dlc_status rank_numbers_gather(Rank *rank, const EntryState *entry);
/* Result `i`, a number. */
double rank_number(const Rank *rank, const EntryState *entry, int32_t i);
/* What result `i`, a metric or loss written `a over b`, is divided by; false: it is not divided. */
bool rank_divisor(const Rank *rank, const EntryState *entry, int32_t i, double *out);
double rank_quotient(const Rank *rank, const EntryState *entry, int32_t i);
/* Sum of the losses, and INFO `name` (nan: none). */
double rank_loss(const Rank *rank, const EntryState *entry);
double rank_info(const Rank *rank, const EntryState *entry, const char *name);

/* -- non_finite.c -- */

/* Appends to the text `out` what the entry was given that is not finite: an input with field and
 * row, or a parameter or state. *found: it explains what came of it, as an infinity of an input,
 * which may be meant, does not. */
dlc_status rank_not_finite_before(Rank *rank, const EntryState *entry, char *out, size_t n_out,
                                  bool *found);
/* DLC_ERROR_NON_FINITE of the running entry, whose update made a parameter or optimiser state not
 * finite: names it. `stored`: the step has stored; else it was stopped before. */
dlc_status rank_not_finite_update(Rank *rank, bool stored);

/* -- calls.c: launches that the device's libraries do -- */

/* Asks the device for each call of the layout, now that its dims are bound. *out NULL: no calls. */
dlc_status calls_create(Rank *rank, const Layout *layout, Calls **out);
void calls_destroy(Rank *rank, Calls *calls);
int64_t calls_bytes(const Calls *calls);
/* Whether a library does the command; whether a call before stands for it too. */
bool calls_have(const Calls *calls, int32_t command);
bool calls_cover(const Calls *calls, int32_t command);
/* From an operand's first element to the end of its last. */
int64_t calls_operand_bytes(const Calls *calls, int32_t command, int32_t operand);
/* Queues it; buffers by PlanLibraryOperand, NULL where absent. */
dlc_status calls_run(Rank *rank, const Calls *calls, int32_t command, void *const *buffers);

/* -- fault.c -- */

/* The first fault since the last look; waits, if something was launched that may have one. */
dlc_status fault_take(Rank *rank, KernelFault *out);
/* The error of a fault, with its place in the program. */
dlc_status fault_report(Rank *rank, const KernelFault *fault);
/* DLC_ERROR_FAULT, with the place in the program, when a launch since the last look did wrong; the
 * run ends there: what would come may compute on what was never written. */
dlc_status rank_faults(Rank *rank);

#endif
