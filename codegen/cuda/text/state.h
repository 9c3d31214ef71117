/* Inside the text of CUDA kernels. Four steps over one kernel: team/team.c numbers the statements and
 * gives every loop to a block, to warps or to threads; team/local.c finds whose copy each local is
 * and puts it somewhere; team/sync.c places the barriers; text/ writes. The kernel itself is
 * never changed. */
#ifndef DLC_CODEGEN_CUDA_TEXT_STATE_H
#define DLC_CODEGEN_CUDA_TEXT_STATE_H

#include "codegen/cuda/text/text.h"

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
    bool *declared, *positive, *tainted;
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

/* team/team.c */
bool team_plan(Text *t);
StmtInfo *text_info(const Text *t, const KStmt *stmt);
int32_t text_number(const Text *t, const KStmt *stmt);
/* The loops that are flattened with `stmt`, outermost first; returns how many. */
int32_t team_chain(const Text *t, const KStmt *stmt, const KStmt **out);
const KStmt *team_chain_body(const Text *t, const KStmt *stmt);
bool expr_mentions(const KExpr *expr, const KVar *var);
/* Variables of outside that a reducing loop sets, in order; returns how many. */
int32_t team_reduced(const Text *t, const KStmt *loop, const KVar **vars, OpCode *ops);
/* Iterations of a loop at nominal sizes; `known`: constant. */
int64_t team_extent(const Text *t, const KStmt *loop, bool *known);

/* team/local.c */
typedef struct LocalAccess {
    const KLocal *local;
    const KExpr *index; /* NULL: any */
    int32_t at;         /* number of the statement */
    bool is_write;
} LocalAccess;
bool team_place_locals(Text *t);
/* The team whose own copy of the local statement `at` means. */
Team team_owner(const Text *t, const KLocal *local, int32_t at);
int text_memory_bytes(DType dtype);
int64_t local_shared_bytes(const Text *t); /* of a block, as places are now */

/* team/sync.c */
bool team_place_barriers(Text *t);

/* expr.c */
const char *text_value_type(DType dtype);  /* of variables: float for the halves */
const char *text_memory_type(DType dtype); /* of arrays: unsigned short for the halves */
const char *text_suffix(DType dtype); /* f32, f64, i32, i64, bool: the type of prelude functions */
void text_expr(Text *t, const KExpr *expr);
void text_var(Text *t, const KVar *var);
bool text_positive(const Text *t, const KExpr *expr);
int64_t text_high(const Text *t, const KExpr *expr);
bool text_tainted(const Text *t, const KExpr *expr);
/* local[index], as an lvalue. */
void text_local_at(Text *t, const KLocal *local, const KExpr *index);
void text_local_open(Text *t, const KLocal *local);  /* "local[", to be followed by an index, */
void text_local_close(Text *t, const KLocal *local); /* and this */
void text_local_name(Text *t, const KLocal *local);
/* The value as it is stored in an array of `dtype`. */
void text_stored(Text *t, DType dtype, const KExpr *value);

/* stmt.c */
void text_line(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_begin(Text *t); /* the indentation of a line */
void text_stmts(Text *t, const KStmt *stmt, Team team);

/* A bound of a loop, evaluated before it. */
void text_bound(Text *t, const char *name, const KVar *var, const KExpr *value);
void text_loop_bounds(Text *t, const KStmt *loop); /* and knows the range of its variable */

/* wide.c */
bool text_wide(Text *t, const KStmt *loop, Wide *out);
/* The part that an access is moved with, or -1; its element of iteration `e`. */
int32_t text_wide_part(const Text *t, bool is_store, int32_t buffer, const KLocal *local,
                       const KExpr *index);
bool text_wide_add(Text *t, Wide *wide, const WidePart *part);
const char *text_vector_name(DType dtype);
int text_slope(const Text *t, const KExpr *expr, const KStmt *loop);
void text_wide_element(Text *t, int32_t part);
void text_wide_stop(Text *t, const KStmt *loop, const Wide *wide);
void text_wide_loop(Text *t, const KStmt *loop, Wide *wide);

/* group.c */
bool text_group(Text *t, const KStmt *loop, Team team);
/* The condition of the group that a body shared out over threads ends in; 0: none. */
int32_t text_group_condition(Text *t, const KStmt *body);
bool text_group_copies(Text *t, const KStmt *body); /* it is one copy */
/* A panel's element as a copy that finishes later; false: nothing was written. */
bool text_copy_element(Text *t, const KStmt *store);

/* pipe.c */
void pipe_plan(Text *t, int64_t room); /* once accesses and owners of locals are known */
void pipe_loop(Text *t, const KStmt *loop);

/* contract.c */
typedef struct TileShape {
    DType operand, sum;
    int32_t rows, columns, depth; /* depth 0: not constant */
    bool by_mma;
    bool is_block; /* else plain loops */
} TileShape;
TileShape text_tile_shape(const Text *t, const KStmt *stmt);
void text_contract(Text *t, const KStmt *stmt, Team team);
void text_contract_open(Text *t, const KStmt *stmt);  /* before the loop that holds the sums */
void text_contract_close(Text *t, const KStmt *stmt); /* after it */

#endif
