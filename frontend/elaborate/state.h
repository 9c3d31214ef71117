/* Elaboration's state: what names mean, the calls and loops in progress, parameters, the Func under
 * construction, and the whole. */
#ifndef DLC_FRONTEND_ELABORATE_STATE_H
#define DLC_FRONTEND_ELABORATE_STATE_H

#include "frontend/elaborate/value.h"
#include "frontend/frontend.h"
#include "ir/mesh_layout.h"

typedef struct Loop Loop;
typedef struct PersistUse PersistUse;

/* -- names */

typedef enum GlobalKind {
    GLOBAL_CONST,
    GLOBAL_DIM,
    GLOBAL_FN,
    GLOBAL_OPTIMIZER,
    GLOBAL_MODEL, /* and entries */
} GlobalKind;

typedef struct Global {
    GlobalKind kind;
    const char *name;
    Place place;
    const AstDecl *decl;
    const AstExpr *expr; /* of a const */
    Env *env;
    const Dim *dim;
    enum { GLOBAL_FRESH, GLOBAL_BUSY, GLOBAL_DONE } state; /* of a const's evaluation */
    Val value;
    bool used;
} Global;

typedef enum NameSpace { NAMES_VALUE /* consts, dims */, NAMES_FN, NAMES_OPTIMIZER } NameSpace;
enum { NAME_SPACES = 3 };

/* A name that imported files declare; second: in another file too, NULL else. */
typedef struct Found {
    Global *first, *second;
} Found;

/* The names of one file; the library's files share one. */
struct Env {
    Env *library;         /* NULL: it is the library's own */
    Map own[NAME_SPACES]; /* name -> Global */
    VEC(Env *) imports;   /* of the files that it imports itself, in order */
    Map *imported;        /* NAME_SPACES maps, name -> Found; NULL: not asked for yet */
};

typedef struct Binding Binding;
struct Binding {
    const char *name;
    Val value;
    Place place;
    struct PersistUse *persist; /* `param w as "…"`: the name stands for its current value */
    Binding *next;
};

struct Scope {
    Scope *parent;
    Binding *first;
    int32_t count;
    Map *index;   /* name -> Binding, once there are many; else NULL */
    bool barrier; /* binding a name here never rebinds one of `parent` (fn, model, scan, while) */
};

/* -- parameters and state */

typedef enum PersistKind { PERSIST_PARAM, PERSIST_STATE, PERSIST_CACHE, PERSIST_SLOT } PersistKind;

/* One parameter, state or cache of the model: shared by all its Funcs. */
typedef struct Persist {
    const char *path;
    PersistKind kind;
    Type type;
    Place place;
    bool has_gradient; /* some loss reaches it */
} Persist;

/* A Persist in the Func under construction. */
struct PersistUse {
    Persist *persist;
    Value *arg;   /* of the Func; NULL when the value comes from elsewhere (train's inner passes) */
    Value *value; /* what the name holds now */
    bool written;
    bool declared; /* by a call of this pass, for collisions */
    Place place;
};

/* A call in progress. */
struct Frame {
    Frame *caller;
    const char *fn_name;
    Place call_place;
    Env *env;
    Scope *scope;      /* of the body */
    const char *path;  /* full parameter path; NULL: not needed yet */
    const char *label; /* the part to add, NULL: from fn_name */
    Place label_place;
    bool splice; /* `as _` */
    bool shared; /* inside `as shared` */
    Map *labels; /* part -> LabelUse, of calls in this body */
    int32_t depth;
    /* the body's result */
    const AstType *result_type;
    Val result;
    Place result_place;
    bool returned;
    bool is_model, is_optimizer;
    Loop *loop;         /* the loop the body runs in as a whole */
    struct Rest *rests; /* what its signature's `...` stand for */
    /* of an optimizer's body: the parameter it updates */
    const char *opt_path;
    Type opt_type;
    Value *opt_stored; /* what `param <-` gave */
};

/* What the `...` of a signature stands for in one call. */
typedef struct Rest {
    const char *name;  /* as AstSize has it */
    const char *param; /* the parameter that bound it */
    Place place;       /* its argument */
    Place origin;      /* where the argument's value was made */
    Type type;         /* of the argument */
    int32_t rank;      /* of the leading axes */
    struct Rest *next;
} Rest;

typedef struct LabelUse {
    const char *path;
    Place place;
    const char *fn_name;
    bool removed; /* undone with the pass that made it */
} LabelUse;

/* A carry that the user did not write: state used inside a loop. */
typedef struct HiddenCarry {
    PersistUse *use;
    Value *init, *arg;
} HiddenCarry;

/* A scan or while body in progress. */
struct Loop {
    Loop *parent;
    Block *body;
    Value *index; /* i32; NULL in a while */
    const Size *length;
    bool is_while, in_condition;
    Value *counter; /* of a while with random ops: i32, a carry */
    VEC(HiddenCarry) hidden;
};

typedef struct Named {
    const char *name;
    Val value;
    Value *over; /* the divisor of a metric or loss, or NULL */
    Value *sum;  /* what a loss divides by it; the value is the quotient */
    Place place;
} Named;

typedef VEC(Named) NamedVec;

typedef struct Draw Draw; /* random.c */

/* A training step that is computed in equal parts of the batch. */
typedef struct Parts {
    const Size *count;
    Loop *loop;      /* over the parts; NULL: a pass over the whole batch, which notes its draws */
    const Size **by; /* by dim id: the batch as so many times a part; NULL: the batch is fixed */
    Map draws;       /* site -> Draw */
    Map shares;      /* loss -> Value: the whole batch's divisor, by the number of parts */
} Parts;

/* A comparison, difference or product that pairs all of one operand with all of the other because
 * only one has an axis of size 1: [B, 1] against [B]. */
typedef struct Pairing {
    const Value *result;
    const char *may_be_meant; /* what it is, if no more than a warning: differences, products */
    Val left, right;
    Place place;
} Pairing;

/* The Func under construction. */
typedef struct FuncState {
    Func *func;
    Purpose purpose;
    Map uses;     /* path -> PersistUse */
    Map scalars;  /* "step" … -> Value */
    Map ordinals; /* label path -> int64_t *: random calls so far */
    Value **inputs;
    NamedVec outputs, metrics, losses;
    VEC(Pairing) pairings;
    Loop *loop;
    Parts *parts; /* NULL: the body is elaborated for the whole batch at once */
    Scope *input_scope;
} FuncState;

/* A path of the mesh block. */
typedef struct PlacedGlob {
    const char *glob;
    Place place;
    int32_t rule; /* of the layout; -1: a cut of the pipe */
    bool found;   /* a parameter or a call has such a path */
} PlacedGlob;

/* -- the whole */

struct Elaborator {
    Context *context;
    Arena *arena; /* the context's */
    const FrontendOptions *options;
    Module *module;
    Env *library, *user;           /* user: the root file's */
    Map sources;                   /* file name -> its Env */
    const AstDecl *imported_model; /* of an imported file, for the message that there is none */
    const AstDecl *model, *train, *mesh;
    MeshLayout *layout; /* what the mesh line says; NULL: there is none */
    VEC(PlacedGlob) placed_globs;
    Map *call_paths; /* path -> anything: of calls that reach parameters; NULL: no line asks for one
                      */
    Place root_place; /* the root file's first line */
    VEC(const AstDecl *) entries;
    VEC(Global *) globals;  /* of the user's files, in order */
    Map *dims, *dims_fixed; /* while dims are bounded: by name, and values of -D */
    Map persists;           /* path -> Persist */
    bool persists_closed;   /* entries: a new path is an error */
    Map slots;              /* path#slot -> Persist */
    Func *init;             /* the init Func, filled as parameters are met */
    Value *init_seed;
    VEC(FuncResult) init_results;
    VEC(Value *) init_values;
    const Size **dim_values; /* by dim id: what the dim's name means now; NULL: itself */
    const Dim *batch;        /* counts rows; NULL: none, or unclear */
    Map input_used;          /* input name -> non-NULL */
    /* position */
    FuncState *fs;
    Builder b;
    Frame *frame;
    Scope *scope;
    bool training;
    bool has_grads;  /* some file calls `grad`: what a name holds may be derived by */
    bool has_shares; /* some file of the user's calls `as shared` or `as _` */
    /* The condition of a `check`: sizes that cannot be compared now are compared by the run. */
    struct {
        bool is_open;
        int32_t n_undecided;
        AstOp op; /* of the last such comparison */
        const Size *a, *b;
    } check;
    const char *init_path; /* of the initial value under construction, or NULL */
    int32_t depth;
    int64_t n_iterations, n_ops, n_calls, n_items, n_text;
    int32_t n_imports;
    struct Trial *trial; /* of a body by its signature alone (check/shapes.c); NULL: a call's */
    Map *trial_dims;     /* name -> Dim: made once for all trials */
    bool trial_partial;  /* some value was not known: what it would have made may be missing */
    int64_t trial_steps; /* it may take so many more: evaluations and elements of lists */
    int64_t n_effects;   /* statements that did something besides binding */
    bool limit_hit;      /* a limit was reported: wind down quickly */
    int64_t n_errors;    /* reported so far, those told already by an earlier Func included */
    /* the diagnostic that still takes notes; call places are added when the next one opens */
    Diag *open_diag;
    Frame *open_frame;
    Place open_place;
};

#endif
