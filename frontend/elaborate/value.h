/* What elaboration computes with: values of compile-time expressions and tensors under
 * construction, functions, arguments. */
#ifndef DLC_FRONTEND_ELABORATE_VALUE_H
#define DLC_FRONTEND_ELABORATE_VALUE_H

#include "frontend/parse/ast.h"
#include "ir/build.h"

typedef struct Elaborator Elaborator;
typedef struct Fn Fn;
typedef struct Env Env;
typedef struct Scope Scope;
typedef struct Frame Frame;

/* -- values */

typedef enum ValKind {
    VAL_ERROR, /* was reported; everything made of it is silent */
    VAL_NONE,  /* an argument not given */
    VAL_INT,
    VAL_SIZE, /* a size that is not constant (a constant one is an INT) */
    VAL_FLOAT,
    VAL_BOOL, /* as.i */
    VAL_STRING,
    VAL_DTYPE,
    VAL_LIST,
    VAL_TUPLE,
    VAL_FN,
    VAL_TENSOR
} ValKind;

/* A quotient whose parts are remembered: what is summed over the parts of a step, or over an
 * evaluation, are a and b. */
typedef struct Quotient {
    Value *a, *b;
    Place place; /* of b */
} Quotient;

typedef struct Val Val;
struct Val {
    ValKind kind;
    bool weak;           /* TENSOR: takes the element type of what it meets */
    const char *setting; /* FLOAT: the run may give another value, by this name; see val_settled */
    const char *rounded; /* INT: the division that lost a fraction, "1 / 10"; NULL: none */
    const Quotient *quotient; /* TENSOR: is one, of scalars; NULL: nothing is known */
    const Quotient *lost;     /* TENSOR: is computed from one, and is none any more; or NULL */
    Place place;              /* the expression that made it: the "other place" of diagnostics */
    union {
        int64_t i;
        double f;
        const char *text;
        const Size *size;
        DType dtype;
        struct {
            Val *items;
            int32_t count;
        } list;
        Fn *fn;
        Value *tensor;
    } as;
};

/* An evaluated argument. */
typedef struct Arg {
    const char *name; /* NULL: positional */
    Val value;
    Place place;
    Place name_place; /* of a named one */
} Arg;

typedef struct Args {
    Arg *items;
    int32_t count;
} Args;

/* -- functions */

typedef struct CallSite {
    Place place;    /* of the call */
    AstLabel label; /* kind NONE: none */
} CallSite;

typedef struct BuiltinCall BuiltinCall;
typedef Val (*BuiltinHandler)(BuiltinCall *call);

typedef struct Builtin {
    const char *name;
    const char *signature; /* "x, axis=, keepdims=": what may be given; `*xs` takes any number */
    BuiltinHandler handler;
    int32_t code; /* for handlers that serve several rows: an OpCode or a variant */
} Builtin;

enum { BUILTIN_MAX_PARAMS = 10 };

/* What a handler sees: its parameters in the order of the signature (VAL_NONE: not given). */
struct BuiltinCall {
    Elaborator *el;
    const Builtin *builtin;
    Place place;
    Val args[BUILTIN_MAX_PARAMS];
    Place places[BUILTIN_MAX_PARAMS];
    Arg *rest; /* of `*xs` */
    int32_t n_rest;
};

typedef enum FnKind {
    FN_DECL,
    FN_BUILTIN,
    FN_AXIS,
    FN_PARTIAL,
    FN_UNKNOWN /* of a signature that is tried: what it gives is not known, VAL_ERROR */
} FnKind;

struct Fn {
    FnKind kind;
    const char *name;
    const AstDecl *decl; /* DECL */
    Env *env;            /* DECL: whose names its body sees */
    const Builtin *builtin;
    const AstExpr *axis; /* AXIS, with the scope and frame it was written in */
    Scope *scope;
    Frame *frame;
    Fn *base; /* PARTIAL: called with `args` after the ones it is given */
    Args args;
    bool elaborated;       /* DECL: a call made its body */
    struct FnFacts *facts; /* of check/names.c; NULL: not asked for yet */
};

#endif
