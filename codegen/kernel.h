/* The loop IR that all backends share: one Kernel is a grid of independent tiles, each running a
 * small structured program of loops, immutable lets, mutable scalars, local arrays, loads, stores,
 * guards and register-tile contractions. Made by codegen/lower from one fusion, or from text;
 * turned to code by codegen/<backend>.
 *
 * Index arithmetic is i64; every load and store addresses a buffer by flat element index. Values
 * are scalars of a DType; bf16 and f16 exist only in memory (loads widen to f32, stores round):
 * registers hold their values as f32, rounded wherever a value of the program has such a type.
 * Bools are i1 in expressions and bytes 0/1 in memory. Integer scalar ops use scalar.def's rules
 * (floor conventions).
 *
 * A tile is run by one worker in order (Machine.threads 1: the CPU), or by a block of that many
 * threads together: then a backend spreads the iterations of KL_VECTOR and KL_INDEPENDENT loops
 * over the threads, runs everything else once (computed by all, stored by one), keeps locals in
 * memory that the block shares, and puts barriers where one thread reads what another wrote. So
 * nothing in a kernel may depend on which thread runs what, and both readings give the same bits
 * but for the order in which a KL_VECTOR loop's reductions are combined. */
#ifndef DLC_CODEGEN_KERNEL_H
#define DLC_CODEGEN_KERNEL_H

#include "ir/ir.h"
#include "passes/machine.h"

typedef struct KVar KVar;
typedef struct KExpr KExpr;
typedef struct KStmt KStmt;
typedef struct KLocal KLocal;
typedef struct Kernel Kernel;

/* A scalar: loop variable, let (immutable) or mutable accumulator. */
struct KVar {
    DType dtype; /* loop variables: DT_I64 */
    int32_t id;  /* dense in the kernel */
    bool is_mutable;
    const char *hint; /* for printing; not unique */
};

/* An array private to one tile, in the worker's scratch; contents undefined at the start of a tile.
 */
struct KLocal {
    DType dtype;
    int64_t count; /* constant */
    int32_t id;
    const char *hint;
};

typedef enum KExprKind {
    KE_INT,    /* as.integer, of dtype: i64, another integer type or bool */
    KE_FLOAT,  /* as.real, of dtype */
    KE_VAR,    /* as.var */
    KE_SIZE,   /* as.size: the number of a size parameter; i64 */
    KE_LOAD,   /* as.load; dtype: the buffer's, widened to f32 for f16 and bf16 */
    KE_LOCAL,  /* as.local; dtype: the local's, likewise */
    KE_SCALAR, /* as.scalar: an operation of scalar.def */
    KE_CAST,   /* as.cast, to dtype, with ops.def's cast rules; i64 <-> i32 for indices too. One to
                  f16 or bf16 rounds, and its only reader is the cast to f32 around it */
    KE_UNIFORM /* as.uniform: Philox, of dtype */
} KExprKind;

enum { KERNEL_EXPR_OPERANDS = 4, KERNEL_STMT_OPERANDS = 5 }; /* most of one */

struct KExpr {
    KExprKind kind;
    DType dtype;
    union {
        int64_t integer;
        double real;
        const KVar *var;
        int32_t size;
        struct {
            int32_t buffer;
            const KExpr *at; /* i64 */
        } load;
        struct {
            const KLocal *array;
            const KExpr *at; /* i64 */
        } local;
        struct {
            OpCode op;
            int32_t n;
            const KExpr *a[3];
        } scalar;
        const KExpr *cast;
        struct {
            int32_t site; /* a size parameter, so that kernels of different sites are one */
            const KExpr *seed, *step, *iteration, *flat; /* i64, i64, i32, i64 */
        } uniform;
    } as;
};

typedef enum KStmtKind {
    KS_LET,         /* as.let: a variable that is not mutable */
    KS_SET,         /* as.set: a mutable one; the first in program order declares it */
    KS_FOR,         /* as.loop, over [begin, end) */
    KS_IF,          /* as.branch */
    KS_STORE,       /* as.store: to a buffer */
    KS_LOCAL_STORE, /* as.local_store */
    KS_CONTRACT,    /* as.contract: a register tile */
    KS_FAULT        /* as.fault: if `bad`, record the site with value and bound; the first wins */
} KStmtKind;

typedef enum KLoopKind {
    KL_GRID, /* only outermost, perfectly nested, begin 0: together they are the tile grid */
    KL_SERIAL,
    /* As KL_SERIAL, but iterations neither read what another one writes nor set variables or locals
     * that outlive an iteration (a local may be each iteration's own scratch). Holds anything. */
    KL_INDEPENDENT,
    /* Iterations are independent but for reductions: a KS_SET of a variable declared outside the
     * loop has the form v = op(v, x) with op of add, mul, max, min, and, or, and x free of v; the
     * backend chooses the order of combination (fixed by the kernel). Holds no other loop but
     * KL_UNROLL. Unit stride hoped for. */
    KL_VECTOR,
    KL_UNROLL /* constant extent */
} KLoopKind;

/* c[i][j] (+)= sum over k < depth of a[k * rows + i] * b[k * columns + j], for i < rows,
 * j < columns, with a, b packed panels in locals at element offsets, the rows of c `c_stride`
 * apart. rows x columns is the machine's register tile for the dtype. `accumulate`: add to c, else
 * overwrite. Of a block of threads it is the block's tile: columns is c_stride (a constant) and
 * rows the count of c over it, powers of two from 32 up to the machine's tile; the offsets are 0,
 * depth is a constant multiple of 8 (of 16 if a, b are f16 or bf16 locals; then products and sums
 * are in f32), and when it is the only statement that writes c inside a loop, sums stay in
 * registers over that loop. A panel of a block may also hold a[i * depth + k], b[j * depth + k]:
 * a_deep, b_deep. */
typedef struct KContract {
    const KLocal *a_local, *b_local, *c_local;
    const KExpr *a_offset, *b_offset, *c_offset, *depth, *c_stride;
    bool accumulate, a_deep, b_deep;
    bool tf32; /* f32 panels, both deep, may be rounded to tf32 */
} KContract;

typedef struct KAssign {
    const KVar *var;
    const KExpr *value;
} KAssign;

struct KStmt {
    KStmtKind kind;
    KStmt *next;
    union {
        KAssign let, set;
        struct {
            KLoopKind kind;
            const KVar *var;
            const KExpr *begin, *end;
            KStmt *body;
        } loop;
        struct {
            const KExpr *condition;
            KStmt *then, *otherwise; /* NULL: empty */
        } branch;
        struct {
            int32_t buffer;
            /* Of a float: a value that is not finite is recorded as KERNEL_SITE_NOT_FINITE, and
             * stored all the same. */
            bool watched;
            const KExpr *at, *value;
        } store;
        struct {
            const KLocal *array;
            const KExpr *at, *value;
        } local_store;
        KContract contract;
        struct {
            int64_t site;
            const KExpr *bad, *value, *bound;
        } fault;
    } as;
};

typedef struct KBuffer {
    DType dtype;
    bool is_written;
} KBuffer;

struct Kernel {
    const char *name; /* readable: "matmul_add_gelu"; not identity */
    Place place;      /* of the op that it was made of; likewise */
    const char *op;   /* that op's name; NULL: not known */
    Arena *arena;
    KBuffer *buffers;
    int32_t n_buffers;
    const Size *
        *sizes; /* the size parameters: symbolic sizes (constants are folded), and random sites */
    int32_t n_sizes;
    const Size **grid; /* extents of the KL_GRID loops, outermost first; product = tiles */
    int32_t n_grid;
    KStmt *body;
    int32_t n_vars;
    KLocal **locals;
    int32_t n_locals;
    /* Most launches of it that may be done as one (PLAN_COMMAND_GROUPED); 0: it is launched alone.
     * Not identity: the schedule says so when it knows them all. Buffer b is the same throughout
     * every group where bit b of `common` is set. */
    int32_t group;
    uint64_t common;
    /* The schedule's: the first kernel of the same text, itself if it is that; and its number in
     * the plan, -1 before it is launched. */
    Kernel *twin;
    int32_t number;
};

/* The text form (docs/kernels.md), which kernel_parse reads back: everything of a kernel but `twin`
 * and `number`. Its sizes name dims: module_print_head prints those. */
void kernel_print(const Kernel *kernel, Str *out);
/* What of the text decides the code: equal identities are compiled once. Size parameters are there
 * by number, so that two kernels that differ only in which symbolic sizes they get are the same. */
void kernel_identity(const Kernel *kernel, Str *out);
typedef struct KernelFile {
    Module *module; /* its dims; the caller destroys it */
    Kernel **kernels;
    int32_t n_kernels;
} KernelFile;
/* Reads the head of a module and kernels, in `arena`. False after diagnostics in context->diags. */
bool kernel_parse(Context *context, Arena *arena, const Source *source, KernelFile *out);
typedef struct KernelProblem {
    int32_t stmt; /* number in the order of the text, from 0; -1: the kernel itself */
    char text[160];
} KernelProblem;
/* Whether the kernel is what this header says: types, numbers, what is defined where, what each
 * kind of loop may hold and set. What depends on the machine (shapes of tiles, room) is not looked
 * at. `scratch` is where it works; it is left as it was. */
bool kernel_verify(const Kernel *kernel, Arena *scratch, KernelProblem *problem);
/* The type a value of `dtype` has in registers: f32 for f16 and bf16, else itself. */
DType dtype_in_register(DType dtype);
/* Of its identity. */
uint64_t kernel_hash(const Kernel *kernel);
int64_t
kernel_scratch_bytes(const Kernel *kernel); /* locals laid out one after another, each at 64 */
int64_t kernel_local_offset(const Kernel *kernel, const KLocal *local);

/* -- The one walk over expressions and statements (kernel_walk.c); what each kind means is for its
 * readers to say, what it is made of is said here. */
/* The operands of an expression, in order; returns how many. */
int32_t kernel_expr_operands(const KExpr *expr, const KExpr *out[KERNEL_EXPR_OPERANDS]);
/* The places that hold them, for whoever copies the expression. */
int32_t kernel_expr_slots(KExpr *expr, const KExpr **out[KERNEL_EXPR_OPERANDS]);
/* What tells the expression from others of its kind, dtype and operands. */
void kernel_expr_key(const KExpr *expr, int64_t out[2]);
bool kernel_expr_equal(const KExpr *a, const KExpr *b); /* the same tree */
/* The expressions that a statement evaluates itself, not those of statements inside it. */
int32_t kernel_stmt_operands(const KStmt *stmt, const KExpr *out[KERNEL_STMT_OPERANDS]);
int32_t kernel_stmt_slots(KStmt *stmt, const KExpr **out[KERNEL_STMT_OPERANDS]);
/* The lists inside a statement, of which each may be empty; returns how many. */
int32_t kernel_stmt_lists(const KStmt *stmt, const KStmt *out[2]);
int32_t kernel_stmt_list_slots(KStmt *stmt, KStmt **out[2]);
/* The variable that the statement gives a value: of a let, a set, a loop; NULL: none. */
const KVar *kernel_stmt_var(const KStmt *stmt);
bool kernel_is_loop(const KStmt *stmt, KLoopKind kind);
/* What the statement itself does with locals, its expressions apart: at most four. */
typedef struct KLocalUse {
    const KLocal *local;
    const KExpr *at; /* NULL: of a contraction's tile */
    bool is_write;
} KLocalUse;
int32_t kernel_stmt_locals(const KStmt *stmt, KLocalUse out[4]);

/* Visitors return true to end the walk, which then returns true. `user` is handed through. */
typedef bool (*KExprVisit)(const KExpr *expr, void *user);
typedef bool (*KStmtVisit)(const KStmt *stmt, void *user);
/* The expression, then what is inside it. */
bool kernel_walk_expr(const KExpr *expr, KExprVisit visit, void *user);
/* The statement's own expressions. */
bool kernel_walk_operands(const KStmt *stmt, KExprVisit visit, void *user);
/* Every statement of the list and of those inside, in order of the text. */
bool kernel_walk(const KStmt *list, KStmtVisit visit, void *user);
/* Whether an integer expression is proved never to be negative, by the ranges of sizes and by what
 * is known of variables, `natural` by id. */
bool kernel_expr_is_natural(const Kernel *kernel, const bool *natural, const KExpr *expr);
/* Whether the expression reads the variable; the local; the statement's own expressions the local.
 */
bool kernel_expr_reads(const KExpr *expr, const KVar *var);
bool kernel_expr_reads_local(const KExpr *expr, const KLocal *local);
bool kernel_stmt_reads_local(const KStmt *stmt, const KLocal *local);
int32_t kernel_count_stmts(const KStmt *list);
/* Whether the list holds a KS_CONTRACT; a KS_FAULT; a watched KS_STORE; a loop that is not unrolled
 * (a contraction is one); however deep. */
bool kernel_holds_contract(const KStmt *list);
bool kernel_holds_fault(const KStmt *list);
bool kernel_holds_watch(const KStmt *list);
bool kernel_holds_loop(const KStmt *list);
/* Sets reads[b] for each buffer b that the list loads from. */
void kernel_mark_reads(const KStmt *list, bool *reads);

/* What one fused op becomes: kernels in order, and how their buffers connect. */
typedef enum BindKind {
    BIND_OPERAND,
    BIND_RESULT,
    BIND_TEMP,
    BIND_GATE /* the schedule's: a bool, whether anything may be stored */
} BindKind;
typedef struct Bind {
    BindKind kind;
    int32_t index; /* of the fusion's operand or result, or of temps */
} Bind;
typedef struct LoweredKernel {
    Kernel *kernel;
    const Bind *binds; /* kernel->n_buffers */
    /* This kernel only copies operand `copy_of` to result `copy_to`: skipped when the two share a
     * buffer. -1 otherwise. */
    int32_t copy_of, copy_to;
} LoweredKernel;
typedef struct LoweredTemp {
    DType dtype;
    const Size *elements;
} LoweredTemp;
typedef struct LoweredOp {
    LoweredKernel *kernels;
    int32_t n_kernels;
    LoweredTemp *temps;
    int32_t n_temps;
    /* inplace[r]: operand that result r may share its buffer with (same bytes; every tile reads
     * only what it then overwrites itself, or the kernel begins with the copy above), or -1. */
    int32_t *inplace;
    /* Where every element of the results is computed of the same element of the operands, which are
     * read before: which operands these are. Any result with elements as large may then take such
     * an operand's buffer, no two the same. NULL: only the pairs above. */
    const bool *elementwise;
} LoweredOp;

/* codegen/lower: one fused op (form says which lowering) to kernels, in `arena`. Fault sites are
 * numbered by `site_of(user, place, text)`. Never fails on verified IR. */
typedef struct LowerContext {
    Context *context;
    Arena *arena;
    Arena *bodies; /* statements and expressions of kernels, and nothing else; may be `arena` */
    const Machine *machine;
    int64_t (*site_of)(void *user, Place place, const char *text);
    /* Whether stores to the fusion's result are to be watched; NULL: none. */
    bool (*is_watched)(void *user, const Op *fusion, int32_t result);
    void *user;
    struct KBuildPool *pool; /* NULL at first; lower/ keeps its working memory here, in `arena` */
} LowerContext;
void lower_fusion(LowerContext *lower, const Op *fusion, LoweredOp *out);

#endif
