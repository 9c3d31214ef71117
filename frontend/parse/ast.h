/* The syntax tree of one .dl file: what parser.y builds and what elaboration, `dlc --emit=ast` and
 * the editor tools read. Nodes live in the context's arena and are never changed after the parse.
 * Names are interned (equal texts are the same pointer); every node carries its Place. The tree is
 * purely syntactic: nothing in it says whether a name exists or a shape fits. */
#ifndef DLC_FRONTEND_PARSE_AST_H
#define DLC_FRONTEND_PARSE_AST_H

#include "ir/base/context.h"

/* Brackets, blocks and unary operators may nest this deep; a chain of operators or pipe stages may
 * be AST_MAX_DEPTH long. The parser reports what exceeds either, so walkers may recurse freely. */
enum { AST_MAX_NESTING = 256, AST_MAX_DEPTH = 1024, AST_MAX_NODES = 500000 /* of a file */ };

typedef struct AstExpr AstExpr;
typedef struct AstType AstType;
typedef struct AstStmt AstStmt;
typedef struct AstDecl AstDecl;
typedef struct AstAxisTerm AstAxisTerm;

/* Lists: `items` is an arena array, NULL when count is 0. */
#define AST_LIST(name, type)                                                                       \
    typedef struct name {                                                                          \
        type *items;                                                                               \
        int32_t count;                                                                             \
    } name

/* A name with its place. text NULL: absent. */
typedef struct AstName {
    const char *text;
    Place place;
} AstName;

AST_LIST(AstNames, AstName);
AST_LIST(AstExprs, AstExpr *);
AST_LIST(AstTypes, AstType *);
AST_LIST(AstStmts, AstStmt *);
AST_LIST(AstDecls, AstDecl *);

/* -- Paths: what follows `as`, `param` and `state`. `h[i]`, `"layer{stage + 1}".0`, `wte.weight`.
 */
typedef enum AstPathPartKind {
    AST_PATH_NAME,   /* name */
    AST_PATH_INT,    /* integer (`as 0`, `.0`) */
    AST_PATH_INDEX,  /* expr: `[compile-time expression]`, prints as `.value` */
    AST_PATH_STRING, /* expr: an AST_STRING, possibly with interpolation */
} AstPathPartKind;

typedef struct AstPathPart {
    AstPathPartKind kind;
    Place place;
    const char *name;
    int64_t integer;
    AstExpr *expr;
} AstPathPart;

AST_LIST(AstPath, AstPathPart);

/* -- Labels: `call as path`, `as shared path`, `as _`. kind NONE: the call has no label. */
typedef enum AstLabelKind {
    AST_LABEL_NONE,
    AST_LABEL_PATH,
    AST_LABEL_SHARED, /* the parameters and state of the earlier call labelled `path` */
    AST_LABEL_SPLICE, /* `as _`: adds no path part; path is empty */
} AstLabelKind;

typedef struct AstLabel {
    AstLabelKind kind;
    Place place;
    AstPath path;
} AstLabel;

/* -- Expressions */
typedef enum AstExprKind {
    AST_ERROR, /* a stand-in after a syntax error; never seen by elaboration */
    AST_INT,
    AST_FLOAT,
    AST_STRING,      /* string */
    AST_BOOL,        /* integer: 0 or 1 */
    AST_NAME,        /* name; also `training`, and `param` inside an optimizer */
    AST_LIST_EXPR,   /* list: `[a, b]` */
    AST_TUPLE,       /* list: `(a, b)`, `(a,)`, `()`; and `return a, b`, `yield a, b` */
    AST_UNARY,       /* unary */
    AST_BINARY,      /* binary; comparisons and `and`, `or` too */
    AST_CONDITIONAL, /* conditional: `then if condition else otherwise` */
    AST_CALL,        /* call; pipe stages too */
    AST_INDEX,       /* index: `base[items]` */
    AST_FIELD,       /* field: `base.name` or `base.0` */
    AST_AXIS_FN,     /* axis_fn: `{b i k, b j k -> b i j}`, itself a function value */
    AST_PAREN,       /* inner: `(e)`; kept so that a labelled call can be told from its indexing */
} AstExprKind;

typedef enum AstOp {
    AST_OP_NEG, /* unary */
    AST_OP_NOT,
    AST_OP_ADD,
    AST_OP_SUB,
    AST_OP_MUL,
    AST_OP_DIV,
    AST_OP_MOD,
    AST_OP_MATMUL,
    AST_OP_POW,
    AST_OP_EQ,
    AST_OP_NE,
    AST_OP_LT,
    AST_OP_LE,
    AST_OP_GT,
    AST_OP_GE,
    AST_OP_AND,
    AST_OP_OR,
    AST_OP_COUNT
} AstOp;

/* One piece of a string: literal text, or `{expr}`. */
typedef struct AstStringPart {
    Place place;
    const char *text; /* unescaped; NULL when expr is set */
    AstExpr *expr;
} AstStringPart;

AST_LIST(AstStringParts, AstStringPart);

typedef struct AstArg {
    AstName name; /* text NULL: positional */
    AstExpr *value;
    Place place;
} AstArg;

AST_LIST(AstArgs, AstArg);

typedef enum AstIndexKind {
    AST_INDEX_AT,       /* start: an element (or an index tensor) */
    AST_INDEX_SLICE,    /* start:stop:step, each may be NULL */
    AST_INDEX_ELLIPSIS, /* `..` */
} AstIndexKind;

typedef struct AstIndexItem {
    AstIndexKind kind;
    Place place;
    AstExpr *start, *stop, *step;
} AstIndexItem;

AST_LIST(AstIndexItems, AstIndexItem);

/* -- Axis functions */
typedef enum AstAxisKind {
    AST_AXIS_NAME,     /* name, with size when `h=…` was written */
    AST_AXIS_ONE,      /* `1` (integer holds what was written; only 1 is meaningful) */
    AST_AXIS_ELLIPSIS, /* `...` */
    AST_AXIS_GROUP,    /* `(h d)`: terms */
} AstAxisKind;

AST_LIST(AstAxisTerms, AstAxisTerm);

struct AstAxisTerm {
    AstAxisKind kind;
    Place place;
    const char *name;
    int64_t integer;
    AstExpr *size; /* NULL: not given */
    AstAxisTerms terms;
};

typedef struct AstAxisSide {
    AstAxisTerms terms;
    Place place;
} AstAxisSide;

AST_LIST(AstAxisSides, AstAxisSide);

struct AstExpr {
    AstExprKind kind;
    int32_t depth; /* 1 + the deepest child */
    Place place;   /* the whole expression; for AST_CALL of a pipe stage only the stage */
    union {
        int64_t integer; /* AST_INT, AST_BOOL */
        double number;   /* AST_FLOAT */
        const char *name;
        AstStringParts string;
        AstExprs list;
        AstExpr *inner;
        struct {
            AstOp op;
            AstExpr *operand;
        } unary;
        struct {
            AstOp op;
            Place op_place;
            AstExpr *left, *right;
        } binary;
        struct {
            AstExpr *then, *condition, *otherwise;
        } conditional;
        struct {
            AstExpr *callee; /* any expression; mostly AST_NAME or AST_AXIS_FN */
            AstExpr *piped;  /* `piped |> callee(args)`: the first argument; NULL in a plain call */
            AstArgs args;
            bool has_parens; /* false: a bare pipe stage, `x |> relu` */
            AstLabel label;
        } call;
        struct {
            AstExpr *base;
            AstIndexItems items;
        } index;
        struct {
            AstExpr *base;
            const char *name; /* NULL: integer */
            int64_t integer;
            Place name_place;
        } field;
        struct {
            AstAxisSides operands;
            AstAxisSide result;
            AstName by; /* text NULL: contraction or sum rules */
        } axis_fn;
    } as;
};

/* -- Types */
typedef enum AstTypeKind {
    AST_TYPE_BARE,   /* `int`, `float`, `bool`, `str`, `any`: a compile-time argument */
    AST_TYPE_FN,     /* `fn` */
    AST_TYPE_TENSOR, /* `f32[…]`, `[…]` (element NULL: the default float), `float[…]` */
    AST_TYPE_TUPLE,  /* `(f32[B], i32[B])`: result types only */
} AstTypeKind;

/* One size of a tensor type; is_rest: `...` or `...name` (any leading axes, the same ones wherever
 * the name stands in a signature). */
typedef struct AstSize {
    bool is_rest;
    const char *rest_name; /* of a rest: "" for `...` alone */
    Place place;
    AstExpr *expr;
} AstSize;

AST_LIST(AstSizes, AstSize);

struct AstType {
    AstTypeKind kind;
    Place place;
    const char *element; /* "f32", "float", …; NULL: default float */
    Place element_place;
    AstSizes sizes;
    AstTypes types; /* of a tuple */
};

/* -- Statements */
typedef enum AstStmtKind {
    AST_STMT_ERROR,
    AST_STMT_BIND,        /* bind: `x = e`, `a, b = e` */
    AST_STMT_STORE,       /* store: `s <- e`, `param <- e` */
    AST_STMT_PARAM,       /* declare: `param path: type = init` */
    AST_STMT_STATE,       /* declare; type NULL in an optimizer (`state v = zeros`) */
    AST_STMT_CACHE,       /* declare */
    AST_STMT_FOR,         /* for_: `for i in a..b { }` */
    AST_STMT_IF,          /* if_: otherwise holds one AST_STMT_IF for `else if` */
    AST_STMT_SCAN,        /* scan */
    AST_STMT_WHILE,       /* while_ */
    AST_STMT_RETURN,      /* value (an AST_TUPLE for several) */
    AST_STMT_RETURN_OVER, /* named, without a name: `a over b` */
    AST_STMT_YIELD,       /* value (an AST_TUPLE for several) */
    AST_STMT_OUTPUT,      /* named: `output e` (name absent), `output name = e` */
    AST_STMT_METRIC,      /* named, with over for `a over b`; so is a loss */
    AST_STMT_LOSS,        /* named; name absent for `loss e` */
    AST_STMT_CHECK,       /* check */
    AST_STMT_SHOW,        /* value (an AST_TUPLE for several) */
    AST_STMT_EXPR,        /* value: an expression alone (its value is lost; elaboration warns) */
} AstStmtKind;

/* `name in source` of a scan. */
typedef struct AstScanInput {
    AstName name;
    AstExpr *source;
} AstScanInput;

/* `name = init` of a carry, a const or a mesh axis. */
typedef struct AstNamedExpr {
    AstName name;
    AstExpr *value;
} AstNamedExpr;

AST_LIST(AstScanInputs, AstScanInput);
AST_LIST(AstNamedExprs, AstNamedExpr);

struct AstStmt {
    AstStmtKind kind;
    Place place; /* of a block statement: its head, up to `{` */
    Place end;   /* of a block statement: the closing brace */
    union {
        struct {
            AstNames targets; /* one, or several that take a tuple or a first axis apart */
            AstExpr *value;
        } bind;
        struct {
            AstPath target; /* mostly one name; "param" in an optimizer */
            AstExpr *value;
        } store;
        struct {
            AstName
                local; /* `param w as "w_{i}": …`: the name that holds it; text NULL: not given */
            AstPath path;
            AstType *type; /* may be NULL for state and cache */
            AstExpr *init; /* may be NULL: the parser accepts it, elaboration decides */
        } declare;
        struct {
            AstName name;
            AstExpr *start, *stop;
            AstStmts body;
        } for_;
        struct {
            AstExpr *condition;
            AstStmts then, otherwise;
            bool has_else;
        } if_;
        struct {
            AstScanInputs inputs;
            AstExpr *along; /* NULL: not given, axis 0 */
            AstNamedExprs carries;
            AstStmts body;    /* its last statement is the AST_STMT_YIELD, if any */
            AstNames results; /* `-> us, vs` */
        } scan;
        struct {
            AstExpr *condition;
            AstNamedExprs carries;
            AstStmts body;
        } while_;
        struct {
            AstName name;
            AstExpr *value;
            AstExpr *over; /* of `a over b`; NULL: absent */
        } named;
        struct {
            AstExpr *condition;
            AstExpr *text; /* an AST_STRING, or NULL */
        } check;
        AstExpr *value;
    } as;
};

/* -- Declarations */
typedef enum AstDeclKind {
    AST_DECL_ERROR,
    AST_DECL_IMPORT,    /* import: text of the path */
    AST_DECL_CONST,     /* consts: one declaration may bind several */
    AST_DECL_DIM,       /* dim */
    AST_DECL_FN,        /* fn */
    AST_DECL_OPTIMIZER, /* fn (no result type) */
    AST_DECL_MODEL,     /* fn (no result type; params are the inputs) */
    AST_DECL_ENTRY,     /* fn, likewise */
    AST_DECL_TRAIN,     /* train */
    AST_DECL_MESH,      /* mesh */
} AstDeclKind;

/* A parameter of a function or an input of a model. */
typedef struct AstParam {
    AstName name;
    AstType *type;     /* NULL: not written, any value */
    AstExpr *fallback; /* default; NULL: required */
    Place place;
} AstParam;

AST_LIST(AstParams, AstParam);

/* A line of a train block:
 *     word [for "glob", …] [expr, …] [over "glob", … [expr]]
 * `optimizer for "head.*" sgd(lr=0.1)`, `minimize d over "disc.*" adam(lr=2e-4)`, `batch 64`,
 * `freeze "embed.*"`. A line of a mesh block has no `over`, and what is placed behind it:
 *     word expr [for "glob", …]
 * `shard (_, model) for "*.c_fc.weight"`, `cut "h.6"`. */
typedef struct AstSetting {
    AstName word;
    AstExprs for_globs; /* AST_STRING each */
    AstExprs values;
    AstExprs over_globs; /* AST_STRING each */
    AstExpr *over_value; /* what follows the globs of `over`, or NULL */
    Place place;
} AstSetting;

AST_LIST(AstSettings, AstSetting);

struct AstDecl {
    AstDeclKind kind;
    AstName name;    /* absent for import, const, mesh */
    Place place;     /* the head: up to `{`, or the whole line */
    Place end;       /* the closing brace, where there is one */
    const char *doc; /* the comment lines directly above, without `# `, joined by '\n'; or NULL */
    union {
        struct {
            const char *path;
            Place path_place;
        } import;
        AstNamedExprs consts;
        struct {
            AstNamedExprs axes; /* axis = size; value NULL: `*`, any number */
            AstSettings lines;
        } mesh;
        struct {
            AstExpr *divisor;    /* `% 8`, or NULL */
            AstExpr *low, *high; /* `in low..high`, both included; either or both may be NULL */
            AstExpr *nominal;    /* `= 30`, or NULL */
        } dim;
        struct {
            AstParams params;
            AstType *result; /* NULL: not written */
            AstStmts body;
            bool keep;           /* `@keep`: becomes a composite of this name */
            AstNames attributes; /* every `@name` */
        } fn;
        struct {
            AstSettings settings;
        } train;
    } as;
};

typedef struct AstFile {
    const Source *source;
    AstDecls decls;  /* in source order */
    bool has_errors; /* syntax errors were reported: do not elaborate */
    bool has_grads;  /* calls `grad` */
    bool has_shares; /* has a label `as shared p` or `as _` */
} AstFile;

/* "+", "**", "and", "not", … */
const char *ast_op_text(AstOp op);
/* The advice for an expression alone on a line whose first sign could have gone on the line before
 * (`-`, `(`, `[`); NULL when it begins otherwise. */
const char *ast_goes_on(const AstExpr *expr);
/* The whole file as text, one node a line, for --emit=ast (frontend/parse/ast_print.c). */
void ast_print(const AstFile *file, Str *out);
/* An expression, type or path as source text on one line, for messages and for `check` texts. */
void ast_print_expr(const AstExpr *expr, Str *out);
void ast_print_type(const AstType *type, Str *out);
void ast_print_path(const AstPath *path, Str *out);

#endif
