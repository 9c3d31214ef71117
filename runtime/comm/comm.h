/* The interface of ranks that exchange data: one Comm is one rank's end of the communicator of all
 * ranks; one constant CommOps a transport. The executor makes calls of a plan's collectives; the
 * transport moves and combines bytes.
 *
 * Order. The ranks of a group make their calls over it in the same order, with the same kind,
 * combine, `number` and buffers (types and sizes); calls over different groups may interleave as
 * long as some order of all calls agrees with every rank's. Calls that do not fit are an error on
 * all ranks that names both, as are ranks that wait for each other in a circle.
 *
 * Memory. `start` never waits for other ranks. From start to the end of wait the CommCall, its
 * group's list and its buffers belong to the transport: operands may be read and results written
 * until wait has returned, by any thread. Results and operands do not overlap, but in all_reduce
 * and broadcast `out` may be `in`. After a call of a Comm has failed, nothing of it is touched any
 * more.
 *
 * Bits. Combining follows a binary tree over the ranks' numbers in the group, the same for each
 * element whatever the size, the chunks and the transport: neighbours are combined, (0,1) (2,3) …,
 * the lower rank's value first, a last one without neighbour passes as it is, and so on with what
 * that gave until one is left. Elements are combined as rows of ir/scalar.def are, f16 and bf16 in
 * f32 and rounded once at the end. So all ranks get the same bits.
 *
 * Failure. The first failure of any rank (comm_abort, a mismatch, time run out, a rank that has
 * gone) ends the communicator for all: every call that waits, or comes later, fails at once with
 * the status and a text that names the rank and its reason. A new communicator must be made.
 *
 * A Comm is used by one thread at a time; different ranks' by different threads. */
#ifndef DLC_RUNTIME_COMM_COMM_H
#define DLC_RUNTIME_COMM_COMM_H

#include "runtime/context.h"
#include "runtime/plan.h"

enum {
    COMM_MESSAGE_BYTES = 1024,
    COMM_AT_BYTES = 240, /* of what a rank is at */
    COMM_NOTE_BYTES = 480,
    /* Usual for ranks that are processes: until all have met, and without a sign of life until one
     * has failed. */
    COMM_MEET_SECONDS = 300,
    COMM_SILENCE_SECONDS = 20,
    COMM_MAX_STARTED = 32 /* calls of a rank that are started and not waited for */
};

typedef enum CommKind {
    /* out = all ranks' `in` combined: outer x rows x unit elements on each. */
    COMM_ALL_REDUCE = 0,
    /* in: [outer][piece][unit], out: [outer][rows][unit]: rank r's piece of the rows
     * (mesh_piece(rows, n, r)), in the order of ranks. */
    COMM_ALL_GATHER = 1,
    /* in: [outer][rows][unit], out: [outer][piece][unit]: combined, of which each its piece. */
    COMM_REDUCE_SCATTER = 2,
    /* One axis is gathered (`rows`), another cut (`split_rows`). The whole tensor is
     * [outer][rows][middle][split_rows][unit], or with split_first
     * [outer][split_rows][middle][rows][unit]; `in` has the rank's piece of rows and all
     * split_rows, `out` all rows and the rank's piece of split_rows, both dense in that order. */
    COMM_ALL_TO_ALL = 3,
    /* out: `in` of the rank whose number in the group is (own - number) mod n; outer x rows x unit
     * elements. */
    COMM_SHIFT = 4,
    /* out: `in` of the rank whose number in the group is `number`; others' `in` may be NULL. */
    COMM_BROADCAST = 5,
    COMM_BARRIER = 6, /* no buffers */
    COMM_N_KINDS = 7
} CommKind;

/* Numbered as plans number them. Bools: AND, OR, MIN and MAX only; others: not AND and OR. */
typedef enum CommCombine {
    COMM_ADD = 0,
    COMM_MUL = 1,
    COMM_MIN = 2,
    COMM_MAX = 3,
    COMM_AND = 4,
    COMM_OR = 5,
    COMM_N_COMBINES = 6
} CommCombine;

/* The ranks that take part, each once, below Comm.n_ranks; a rank's place in the list is its
 * number in the group. Every member gives the same list. */
typedef struct CommGroup {
    const int32_t *ranks; /* NULL: all, in order; n is then ignored */
    int32_t n;
} CommGroup;

/* One tensor of a call; sizes in elements, 0 or more, of the whole. What a kind does not name
 * stays 0. */
typedef struct CommBuffer {
    const void *in;
    void *out;     /* NULL will do where there is no element */
    int32_t dtype; /* PlanDType */
    bool split_first;
    int64_t outer, rows, unit;
    int64_t middle, split_rows; /* ALL_TO_ALL */
} CommBuffer;

typedef struct CommCall {
    CommKind kind;
    CommCombine combine; /* ALL_REDUCE, REDUCE_SCATTER */
    int32_t number;      /* SHIFT: by how many, of any sign; BROADCAST: from whom */
    CommGroup group;
    const CommBuffer *buffers; /* [n_buffers]: travel together */
    int32_t n_buffers;
    const char *name; /* of the op or its place, for messages; NULL: none */
} CommCall;

/* What a rank has started of a kind: calls, and bytes that it sent to others. With P bytes of all
 * elements, p of the rank's own piece and n ranks these are: ALL_REDUCE (per buffer, whose elements
 * are cut by the rule of pieces) P - p + (n - 1) p; ALL_GATHER (n - 1) p; REDUCE_SCATTER P - p;
 * ALL_TO_ALL: of the operand all but its own piece of split_rows; SHIFT P, where another rank gets
 * it; BROADCAST (n - 1) P from the one that has it; BARRIER 0. */
typedef struct CommCount {
    int64_t calls, bytes;
} CommCount;

typedef struct CommOps CommOps;
typedef struct Comm Comm;
typedef struct CommRequest CommRequest; /* a started call; the transport's own */

/* Says what a rank is at ("step 12 of digits.train, command 17 of 61"), for texts of failures: to
 * `out`, n_out bytes with the NUL. Called by any thread; does not wait. */
typedef void CommAt(void *user, char *out, size_t n_out);

/* A transport's own struct begins with this. */
struct Comm {
    const CommOps *ops;
    int32_t rank, n_ranks;
    int32_t n_started;        /* and not waited for */
    bool is_run;              /* what is started now is waited for at once, by the same thread */
    _Atomic(double) patience; /* see comm_patience; transports' threads read it too */
    _Atomic(int) at_busy;     /* the next two are read or changed */
    CommAt *at;               /* NULL: nobody says */
    void *at_user;
    CommCount counts[COMM_N_KINDS];
    char error[COMM_MESSAGE_BYTES]; /* of the last call that failed */
    char note[COMM_NOTE_BYTES];     /* for the log: what goes another way than is usual; "" */
};

struct CommOps {
    const char *name, *doc;
    /* As the functions below, which have checked the call. */
    dlc_status (*start)(Comm *comm, const CommCall *call, CommRequest **out);
    dlc_status (*wait)(Comm *comm, CommRequest *request);
    void (*abort)(Comm *comm, dlc_status status, const char *text);
    void (*close)(Comm *comm);
};

/* Begins a call; *out is ended by comm_wait. DLC_ERROR_INVALID_ARGUMENT: the call is malformed (it
 * is not made, and the communicator goes on: abort it); DLC_ERROR_LIMIT: COMM_MAX_STARTED are
 * under way. Else the communicator's failure. */
dlc_status comm_start(Comm *comm, const CommCall *call, CommRequest **out);
/* Sleeps until the results are there. In any order of a rank's requests, each once; none after a
 * failure. */
dlc_status comm_wait(Comm *comm, CommRequest *request);
/* Both. */
dlc_status comm_run(Comm *comm, const CommCall *call);
/* This rank has failed: ends all others' calls with `status` and "rank 3: TEXT". Returns when
 * nothing of this rank's buffers is in use any more. Only the first failure counts. */
void comm_abort(Comm *comm, dlc_status status, const char *text);
/* Ends this rank's end, for others that wait for it with an error; the last one frees all. What was
 * started and not waited for fails the others. NULL will do. */
void comm_close(Comm *comm);

/* From now on a wait of this rank that lasts longer than `seconds` is the communicator's failure,
 * which names who did not come; 0: waits last as long as it takes, which is so at first where the
 * transport's options say nothing else. */
void comm_patience(Comm *comm, double seconds);
/* Who says what this rank is at from now on, NULL: nobody. When it returns the one before is not
 * asked any more. */
void comm_at_by(Comm *comm, CommAt *at, void *user);

/* Of all kinds. */
CommCount comm_count(const Comm *comm);

/* For transports. */
int32_t comm_group_size(const Comm *comm, const CommGroup *group);
int32_t comm_group_rank(const CommGroup *group, int32_t number);            /* rank with it */
int32_t comm_group_number(const CommGroup *group, int32_t n, int32_t rank); /* -1: no member */
int32_t comm_dtype_bytes(int32_t dtype);
/* Elements of the operand, of the result, and of what number `number` of `n` sends (CommCount). */
int64_t comm_in_elements(const CommCall *call, const CommBuffer *buffer, int32_t n, int32_t number);
int64_t comm_out_elements(const CommCall *call, const CommBuffer *buffer, int32_t n,
                          int32_t number);
int64_t comm_sent_elements(const CommCall *call, const CommBuffer *buffer, int32_t n,
                           int32_t number);
bool comm_calls_fit(const Comm *comm, const CommCall *a, const CommCall *b);
const char *comm_kind_name(CommKind kind);
/* What the rank is at; "" where nobody says. */
void comm_at(Comm *comm, char *out, size_t n_out);
/* "all_reduce 'loss' (add f32[5], f64[1]) over ranks 0 1"; cut where it does not fit. */
void comm_describe(const Comm *comm, const CommCall *call, char *out, size_t n_out);

#endif
