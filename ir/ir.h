/* The IR: Module -> Func -> Block -> Op, in SSA form, everything in the module's arena. A Func is
 * one entry for one purpose (train, eval, infer, init). No op has effects: parameters, state and
 * optimiser slots are arguments and results of the Func; results are stored by the executor. */
#ifndef DLC_IR_IR_H
#define DLC_IR_IR_H

#include "ir/op.h"

typedef struct Block Block;
typedef struct Func Func;
typedef struct Module Module;

typedef struct AttrList {
    int32_t count;
    union {
        const int64_t *ints;
        const Size *const *sizes;
        const double *floats; /* DATA */
    };
} AttrList;

/* Which member holds an attribute, its AttrKind says. */
typedef union AttrValue {
    int64_t i; /* INT, BOOL (0/1), DTYPE */
    double f;
    const char *text;
    const Size *size;
    AttrList list;
} AttrValue;

struct Value {
    Type type;
    Op *op;           /* the producer; NULL for a block argument */
    Block *block;     /* of the argument, or NULL */
    int32_t index;    /* result or argument number */
    int32_t id;       /* unique in the Func, dense after func_renumber; for side arrays */
    const char *name; /* the user's name for it, or NULL; interned */
};

struct Op {
    OpCode code;
    Place place; /* of the expression in the .dl text */
    const char
        *label; /* parameter path of the surrounding call ("h.0.attn"), "" at top; interned */
    Value **operands;
    int32_t n_operands;
    Value **results;
    int32_t n_results;
    AttrValue attrs[OP_MAX_ATTRS]; /* in the order of op_info(code)->attrs */
    Block **blocks;
    int32_t n_blocks;
    Block *parent;
    Op *prev, *next;
    int32_t id; /* dense after func_renumber */
};

#include "ir/attributes.h"

/* A straight list of ops that ends in `yield`. */
struct Block {
    Value **args;
    int32_t n_args;
    Op *first, *last;
    Op *owner; /* the op it belongs to; NULL: a Func's body */
    Func *func;
};

typedef enum ArgRole {
    ARG_INPUT, /* a model input; name is the input's */
    ARG_PARAM, /* a trained parameter; name is its path */
    ARG_STATE, /* persistent, not trained (running_mean); name is its path */
    ARG_CACHE, /* a session's state that is in no weight file */
    ARG_SLOT,  /* optimiser state; name is "<parameter path>#<slot>", or "#<name>" for a global one
                */
    ARG_SCALAR /* given by the run time, rank 0: seed i64, step i64, steps i64, epoch i64,
                  steps_per_epoch i64, lr f32 (nan: use the program's), set.<name> … */
} ArgRole;

typedef enum ResultRole {
    RESULT_OUTPUT,      /* name is the output's */
    RESULT_METRIC,      /* name; rank 0 */
    RESULT_METRIC_OVER, /* the divisor of the metric of the same name; rank 0 */
    RESULT_LOSS,        /* rank 0; name "loss", or the loss's own */
    RESULT_STORE,       /* the new value of argument `arg` (param, state, cache or slot) */
    RESULT_OK,       /* bool rank 0: false means nothing is stored (non-finite loss or gradients) */
    RESULT_INFO,     /* rank 0 values shown by the run time: "lr", "grad_norm" */
    RESULT_LOSS_OVER /* the divisor of the loss of the same name, which is what it divides; rank 0
                      */
} ResultRole;

typedef enum Purpose {
    PURPOSE_INFER,
    PURPOSE_EVAL,
    PURPOSE_TRAIN,
    PURPOSE_INIT,
    PURPOSE_OTHER
} Purpose;

/* What a Func has reached; once given, the verifier checks it at every later verification. */
typedef enum FuncProperty {
    PROP_NO_GRAD_OPS = 1 << 0, /* differentiated: no `grad` and `opaque` op anywhere */
    PROP_FUSED =
        1 << 1, /* every op is a fusion, or one that lowers to a library call, loop or view */
    PROP_PLACED = 1 << 2,
    PROP_SHORT = 1 << 3,  /* has a precision of 16 bits: casts to it say what is stored so */
    PROP_SHARDED = 1 << 4 /* one rank's program: types are local, shardings say of which wholes */
} FuncProperty;

/* One cut of a tensor: axis `axis` of the whole is outer x rows x inner elements, of which the rows
 * are cut among the ranks of the group by the rule of pieces (ir/base/mesh.h). So the local axis is
 * outer x piece x inner elements. */
typedef struct AxisCut {
    int32_t axis;
    MeshGroup group;
    const Size *outer, *rows, *inner; /* without dims of ranks */
} AxisCut;

/* Which part of a whole tensor a value is. One cut or more, by axis, and of one axis from outside
 * inwards: the rows of the next lie within the inner elements of the one before. No two groups
 * share an axis of the mesh. */
typedef struct Sharding {
    Type whole;
    const AxisCut *cuts;
    int32_t n_cuts;
} Sharding;

typedef struct FuncArg {
    ArgRole role;
    const char *name; /* interned */
    Place place;
    const Sharding *sharding; /* NULL: the whole tensor, equal on every rank */
} FuncArg;

typedef struct FuncResult {
    ResultRole role;
    const char *name;         /* interned; "" if none */
    int32_t arg;              /* RESULT_STORE: index of the argument it replaces */
    const Sharding *sharding; /* NULL: the whole tensor, equal on every rank */
} FuncResult;

struct Func {
    Module *module;
    const char *name; /* "digits.train"; interned */
    Purpose purpose;
    Block *body;   /* arguments are the Func's; its yield gives the results */
    FuncArg *args; /* body->n_args of them */
    FuncResult *results;
    int32_t n_results;
    unsigned properties;
    int32_t n_values, n_ops; /* every id is below these; dense after func_renumber */
    int32_t n_numbered;      /* n_values at the last func_renumber; 0: never */
    Func *next;
};

struct Module {
    Context *context;
    Arena arena;      /* IR and attributes */
    Arena scratch;    /* of the pass that runs, cleared after it */
    const char *name; /* of the model */
    const Dim **dims; /* by id */
    int32_t n_dims;
    MeshAxis mesh[MESH_MAX_AXES]; /* what ranks run it; none: one rank, no collectives */
    int32_t n_mesh_axes;
    Func *first, *last; /* functions in order */
    /* What the run time wants to know of training: name -> text, printed and parsed as
     * `setting <name> = "<text>"` (batch, epochs, steps, seed, optimizer …). Insertion order. */
    Map settings;
    /* How what outlives a run lies on ranks, by name: const Sharding *, as passes/shard has chosen
     * it for the first Func that has it. */
    Map agreed;
    struct MeshLayout *mesh_layout; /* ir/mesh_layout.h; what setting "mesh" says. NULL: nothing */
};

/* -- module.c: making and changing */
Module *module_create(Context *context, const char *name); /* in context->arena's boundary */
void module_destroy(Module *module); /* early; context_finish frees what is left */
const Dim *module_add_dim(Module *module, const char *name, int64_t low, int64_t high,
                          int64_t divisor, int64_t nominal, Place place);
const Dim *module_find_dim(const Module *module, const char *name);
Func *func_create(Module *module, const char *name, Purpose purpose);
void func_remove(Func *func); /* unlinks it from the module */
Value *func_add_arg(Func *func, ArgRole role, const char *name, Type type, Place place);
/* Result list and yield are set together, once the body is complete. */
void func_set_results(Func *func, const FuncResult *results, Value *const *values, int32_t count);
int32_t func_find_arg(const Func *func, ArgRole role, const char *name); /* -1: none */
Op *block_yield(const Block *block); /* its last op, which must be a yield; else NULL */
Block *block_create(Func *func, Op *owner);
Value *block_add_arg(Block *block, Type type, const char *name);

/* Makes an op (not yet in a block): operands are copied, results allocated untyped, blocks made
 * empty, attributes zero (texts ""). */
Op *op_create(Func *func, OpCode code, Value *const *operands, int32_t n_operands,
              int32_t n_results, int32_t n_blocks);
void op_insert_before(Op *op, Op *position);
void op_append(Block *block, Op *op);
void op_unlink(Op *op); /* out of its block; the op stays valid */
void op_set_operand(Op *op, int32_t index, Value *value);
/* Whether a DATA attribute of the op holds doubles (its dtype is a float type), else int64_t. */
bool op_data_is_float(const Op *op);
/* Copies of lists in the module's arena, for op_set_…. */
Ints ints_copy(Func *func, const int64_t *ints, int32_t count);
Sizes sizes_copy(Func *func, const Size *const *sizes, int32_t count);
/* Infers the result types with the op's shape rule. */
bool op_infer(Context *context, Op *op, OpProblem *problem);
/* Whether two ops of the same code have equal attributes (blocks not compared). */
bool op_attrs_equal(const Op *a, const Op *b);
uint64_t op_attrs_hash(const Op *op);

/* -- module_mesh.c: ranks */

/* Adds the next axis of the mesh, `size` ranks long (0: any number). False, and nothing is added:
 * the name is no word (letters, digits and _, a letter or _ first), or stands for an axis already,
 * the size is below 0, or there are MESH_MAX_AXES. */
bool module_add_axis(Module *module, const char *name, int64_t size);
/* Names of the group's axes in mesh order: "data,model"; interned. */
const char *module_group_text(const Module *module, MeshGroup group);
/* Reads that. False: it is empty, names an axis that the mesh has not, or not in mesh order. */
bool module_group_parse(const Module *module, const char *text, MeshGroup *out);
/* How many ranks the group has; 0: not known before they meet. INT64_MAX where it is more. */
int64_t module_group_ranks(const Module *module, MeshGroup group);
/* The dim of that source, group and rows (`of` NULL but for DIM_PIECE and DIM_FIRST), made where it
 * does not exist; `of` may use any dims of the module, those of other groups too. Names tell what
 * it is: "data.ranks", "data.rank", "B.data" and "B.data.first" (rows that are no single dim are
 * called rows: "rows.data"), with ' and a number behind where a dim is called so already. Bounds
 * follow from those of `of` and what is known of the mesh: pieces, firsts and coordinates may be 0.
 */
const Dim *module_add_rank_dim(Module *module, DimSource source, MeshGroup group, const Size *of);
const Dim *module_find_rank_dim(const Module *module, DimSource source, MeshGroup group,
                                const Size *of); /* NULL: none */
/* Adds one under that name, which no dim has; NULL: there is an equal one. */
const Dim *module_add_rank_dim_as(Module *module, DimSource source, MeshGroup group, const Size *of,
                                  const char *name, Place place);
/* What its nominal value follows to be; 0: unknown. */
int64_t rank_dim_nominal(const Module *module, const Dim *dim);
/* That dim as a size; a number or a quotient without such a dim where the mesh and the rows say
 * that it is the same on every rank: 8 rows on 4 ranks are 2, 4*N rows are N. */
const Size *module_rank_size(Module *module, DimSource source, MeshGroup group, const Size *of);
/* Those numbers and quotients alone; NULL: a dim is needed. */
const Size *module_even_size(Module *module, DimSource source, MeshGroup group, const Size *of);
/* The axes of the mesh along which ranks may have different values of a size; 0: all are equal. */
MeshGroup module_size_differs(const Module *module, const Size *size);
/* The type of a rank's part of `whole`: each cut's rows by module_rank_size. The cuts as Sharding
 * wants them. Leaves through the boundary if they do not fit the type. */
Type module_cut_type(Module *module, Type whole, const AxisCut *cuts, int32_t n_cuts);
/* What is wrong with the cuts; NULL: nothing, and that type is in *out. */
const char *module_cut_problem(Module *module, Type whole, const AxisCut *cuts, int32_t n_cuts,
                               Type *out);
/* A sharding in the module's memory (arrays are copied). */
const Sharding *module_sharding(Module *module, Type whole, const AxisCut *cuts, int32_t n_cuts);
bool sharding_equal(const Sharding *a, const Sharding *b); /* either may be NULL */
/* Gives the dims of ranks their values on `rank` of a mesh of that shape: values, by dim id, hold
 * those of the other dims. False: the shape does not fit the module's mesh, or a size of rows does
 * not fit int64 or is below 0. */
bool mesh_bind(const Module *module, const MeshShape *shape, int64_t rank, int64_t *values);

/* -- nominal.c */
/* Gives dims without a nominal value the one that the program implies: the batch of its train
 * block, or the end of a short range. Where that chooses more than costs it is better than a guess;
 * what was stated comes back, in `arena`, for module_restore_nominals. */
int64_t *module_imply_nominals(Module *module, Arena *arena);
void module_restore_nominals(Module *module, const int64_t *stated);

#define BLOCK_EACH_OP(block, op) for (Op *op = (block)->first; op; op = op->next)
/* Calls visit for every op of the Func, blocks included, in program order (an op before its
 * blocks). */
void func_each_op(Func *func, void (*visit)(Op *op, void *user), void *user);
/* Dense ids for values and ops in program order. */
void func_renumber(Func *func);
/* Uses per value id (call func_renumber first): arrays of n_values in `arena`. */
int32_t *func_use_counts(const Func *func, Arena *arena);
/* Replaces, everywhere in the Func, values v by map[v->id] where that is not NULL (chains are
 * followed). Call func_renumber, then allocate the map with n_values entries; values made since
 * then are never looked up. */
void func_replace_values(Func *func, Value **map);
/* A deep copy of the Func into the same module under a new name (NULL: same name, not linked). */
Func *func_clone(Func *func, const char *name);
/* Copies ops of `block` (without its yield) before `position` in another block; map (by value id,
 * at least n_values entries) gives replacements for arguments and outer values and receives the
 * copies. */
void block_clone_ops(Func *func, const Block *block, Op *position, Block *append_to, Value **map);

/* -- text form: print.c, parse.c */
/* `module "name" { dims and settings }`, as other text forms begin too. */
void module_print_head(const Module *module, Str *out);
/* A name: a plain word where the text is one, else quoted; and always quoted. */
void text_print_word(const char *text, Str *out);
void text_print_quoted(const char *text, Str *out);
void module_print(Module *module, Str *out); /* renumbers every Func, as func_print does */
/* Tells programs apart: a hash of the text form's dims and functions and of the setting
 * `precision`, not of the settings that say how long, on what and by what seed it is trained.
 * `scratch` is cleared. */
uint64_t module_hash(Module *module, Str *scratch);
void func_print(Func *func, Str *out);
void op_print(const Op *op, Str *out); /* one line, without blocks; for messages */
/* NULL after diagnostics in context->diags. */
Module *module_parse(Context *context, const Source *source);

/* -- verify.c: every invariant above, and those of the Func's properties. On failure adds text to
 * `report` (all problems, each beside its op) and returns false. */
bool func_verify(Func *func, Str *report);
bool module_verify(Module *module, Str *report);

/* -- premise.c: what IR from elsewhere takes for granted. */

/* Puts a size_check in front of each Func for every premise of its ops and types that is not proved
 * and not checked there already, so that no run gets past a size that an op was not made for. With
 * `counts` also for every value whose number of elements may leave what index arithmetic holds.
 * False after a diagnostic: a premise is refuted, or is no size that can be computed. */
bool module_check_premises(Module *module, bool counts);

#endif
