/* Inside the CUDA backend: the state of one kernel on its way to text, and who runs what. Three
 * steps fill it: team.c numbers the statements and gives every loop to a block, to warps or to
 * threads; local.c finds whose copy each local is and puts it somewhere; sync.c places the
 * barriers. Then text/ writes. The kernel itself is only read. */
#ifndef DLC_CODEGEN_CUDA_TEAM_TEAM_H
#define DLC_CODEGEN_CUDA_TEAM_TEAM_H

#include "codegen/kernel.h"
#include "ir/base/str.h"

/* Who runs a statement: all threads of a block or of a warp together, with equal values in uniform
 * variables, or one thread alone. */
typedef enum Team { TEAM_BLOCK, TEAM_WARP, TEAM_THREAD } Team;

typedef enum LoopPlan {
    PLAN_SERIAL, /* the team runs one iteration after another, together */
    PLAN_SOLO,   /* one thread of the team runs the whole loop */
    PLAN_SPREAD, /* iterations of this loop, and of the chain in it, one to each thread of the team
                  */
    PLAN_WARPS   /* the same, one to each warp of the block */
} LoopPlan;

enum {
    WARP_LANES = 32,
    TEXT_MAX_CHAIN = 8,    /* perfectly nested loops that are flattened into one */
    TEXT_MAX_REDUCED = 32, /* variables that one shared-out loop may reduce to, less one */
    SLOT_BYTES = 8,        /* of one warp's value in a slot */
    SHORT_LOOP = 16,       /* iterations that one thread does by itself */
    LONG_ROW = 1024        /* iterations that are worth a whole block */
};

/* Where a local lives. A private one has a copy for each warp or thread, whose iterations use it.
 */
typedef enum Placement {
    PLACE_NONE,      /* not used this way */
    PLACE_REGISTERS, /* an array of constant indices in the thread */
    PLACE_SHARED,
    PLACE_GLOBAL /* no room: the block's scratch */
} Placement;

typedef struct LocalPlace {
    Placement placement;
    int64_t offset; /* of the first copy */
    int64_t copies; /* 1, warps or threads; threads' elements are interleaved */
} LocalPlace;

typedef struct LocalInfo {
    LocalPlace by_team[3]; /* by the team whose own copy it is */
    /* Panels of contractions are stored with 16-byte groups exchanged within a row of `width`, so
     * that accesses down a column meet different banks; so is their result (dlc_exchange: a row or
     * several of them every `line` elements, `groups` of `unit`); 0: plain. */
    int32_t width, line, unit, groups;
    int32_t stages;         /* copies of a panel that is filled ahead of its use */
    const KLocal *overlaid; /* lies where these, which are dead by then, begin (pipe.c) */
} LocalInfo;

typedef struct StmtInfo {
    const KStmt *stmt;
    int32_t parent;     /* number of the enclosing statement, -1: top */
    const KStmt *list;  /* first statement of the list it stands in */
    int32_t end;        /* number behind the last statement inside */
    Team team;          /* that meets the statement */
    LoopPlan plan;      /* loops */
    int32_t chain;      /* loops flattened, this one and those in it; 1: none */
    bool barrier;       /* before it */
    bool slots_barrier; /* before a block's reduction writes its slots */
    int32_t slots;      /* a reducing loop of a block: its first slot */
    const KStmt *held;  /* a loop: the contraction whose sums stay in registers over it */
    bool is_wide;       /* a loop in sixteen-byte accesses */
    bool is_held;       /* a contraction: its sums are held by a loop around */
    bool is_pipe;       /* a loop that holds sums: its panels are filled ahead (pipe.c) */
    bool is_elided;     /* fills with zeros what a pipe's sums begin from: left out */
    bool from_zero;     /* a pipe's contraction: zeros were left out */
} StmtInfo;

/* What an elementwise loop or an unrolled group moves sixteen bytes at a time (wide.c,
 * group.c). */
enum { TEXT_MAX_WIDE = 12 };
typedef struct WidePart {
    bool is_store;
    int32_t buffer;      /* -1: the local */
    const KLocal *local; /* groups only */
    const KExpr *index;  /* grows by one an iteration */
} WidePart;
typedef struct Wide {
    WidePart parts[TEXT_MAX_WIDE];
    int32_t n, lanes; /* iterations that a thread does at once */
} Wide;

typedef struct Text {
    const Machine *machine;
    const Kernel *kernel;
    Str *out;
    bool failed; /* out of memory */
    int32_t threads, warps;
    StmtInfo *stmts; /* in program order */
    int32_t n_stmts;
    int32_t *by_stmt; /* hash of statement addresses to number + 1 */
    uint32_t mask;
    /* by KVar id */
    const KStmt **var_list; /* the list that a mutable variable is declared in */
    bool *declared, *natural, *tainted;
    int64_t *high;      /* of an index; INT64_MAX: unknown */
    bool *is_fixed;     /* known for the whole tile */
    const char **alias; /* of a mutable variable inside a reducing loop: "_part" */
    int32_t *let_stmt;  /* number of the statement that defines it, or -1 */
    LocalInfo *locals;
    struct LocalAccess *accesses; /* in program order */
    int32_t n_accesses;
    int32_t n_slots;
    int64_t slots_offset, shared_bytes, scratch_bytes;
    bool has_faults, uses_warp, uses_lane;
    /* while writing */
    int32_t indent;
    int32_t at;       /* number of the statement */
    const Wide *wide; /* in the body of a wide loop */
    Str conditions;   /* declarations of the groups' conditions */
    int32_t n_conditions;
    int32_t group; /* condition that is known here: its number if true, minus that if false */
} Text;

/* number.c */
uint32_t team_slot(const Text *t, const KStmt *stmt); /* of by_stmt */
StmtInfo *team_info(const Text *t, const KStmt *stmt);
int32_t team_number(const Text *t, const KStmt *stmt);
/* Iterations of a loop at nominal sizes; `known`: constant. */
int64_t team_extent(const Text *t, const KStmt *loop, bool *known);
int team_memory_bytes(DType dtype);

/* team.c */
bool team_plan(Text *t);
/* The loops that are flattened with `stmt`, outermost first; returns how many. */
int32_t team_chain(const Text *t, const KStmt *stmt, const KStmt **out);
const KStmt *team_chain_body(const Text *t, const KStmt *stmt);
/* Variables of outside that a reducing loop sets, in order; returns how many. */
int32_t team_reduced(const Text *t, const KStmt *loop, const KVar **vars, OpCode *ops);

/* local.c */
typedef struct LocalAccess {
    const KLocal *local;
    const KExpr *index; /* NULL: any */
    int32_t at;         /* number of the statement */
    bool is_write;
} LocalAccess;
bool team_place_locals(Text *t);
/* The team whose own copy of the local statement `at` means. */
Team team_owner(const Text *t, const KLocal *local, int32_t at);

/* room.c */
int64_t room_of_one(const KLocal *local); /* one copy, one stage */
int64_t room_of_slots(const Text *t);     /* where threads exchange what they reduce */
int64_t room_of_copies(const Text *t, const KLocal *local, const LocalPlace *place);
/* The panels that lie where `local` will. */
int64_t room_of_overlaid(const Text *t, const KLocal *local);
/* What a place takes of shared memory or scratch. */
int64_t room_of_place(const Text *t, const KLocal *local, const LocalPlace *place);
int64_t room_shared(const Text *t); /* of a block, as places are now */

/* sync.c */
bool team_place_barriers(Text *t);

/* shape.c */
typedef struct TileShape {
    DType operand, sum;
    int32_t rows, columns, depth; /* depth 0: not constant */
    bool by_mma;
    bool is_block; /* else plain loops */
} TileShape;
TileShape team_tile_shape(const Text *t, const KStmt *stmt);
enum { FRAGMENT = 16 }; /* rows and columns of a matrix fragment */

/* One thread's share: rows and columns in groups of consecutive ones. */
typedef struct Micro {
    int32_t rows, columns, row_group, column_group, across, count;
    bool fits;
} Micro;

/* One warp's share, in fragments of 16 x 16. */
typedef struct Warps {
    int32_t down, across;  /* warps */
    int32_t rows, columns; /* fragments of a warp */
    bool fits;
} Warps;
Micro team_micro(const Text *t, const TileShape *shape);
Warps team_warps(const Text *t, const TileShape *shape);
static inline bool is_power_of_two(int64_t value) {
    return value > 0 && (value & (value - 1)) == 0;
}

/* wide.c */
bool team_wide(Text *t, const KStmt *loop, Wide *out);
/* The part that an access is moved with, or -1; its element of iteration `e`. */
int32_t team_wide_part(const Text *t, bool is_store, int32_t buffer, const KLocal *local,
                       const KExpr *index);
bool team_wide_add(Text *t, Wide *wide, const WidePart *part);
int team_slope(const Text *t, const KExpr *expr, const KStmt *loop);

/* pipe.c */
void pipe_plan(Text *t, int64_t room); /* once accesses and owners of locals are known */
bool expr_is_zero(const KExpr *expr);

#endif
