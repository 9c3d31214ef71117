/* Checking bodies that no call elaborates: what holds whatever the arguments are. Names, arguments
 * by number and name, places of statements (body.c, names.c), then shapes and element
 * types as far as the signature tells them (shapes.c). Private to frontend/check/. */
#ifndef DLC_FRONTEND_CHECK_CHECK_H
#define DLC_FRONTEND_CHECK_CHECK_H

#include "frontend/elaborate/elaborate.h"

/* A use of a parameter's path, looked at after the body: its label may stand further down. */
typedef struct FieldUse {
    const AstExpr *expr;
    const char *root;
} FieldUse;

/* A call that every call of `from` makes. */
typedef struct CallEdge {
    const Fn *from, *to;
    Place place;
} CallEdge;

typedef VEC(CallEdge) CallEdges;

/* One body. Names are bound in Scopes as elaboration binds them: VAL_NONE stands for what is
 * certainly no function, VAL_ERROR for what may be anything. */
typedef struct Check {
    Elaborator *el;
    Frame frame;
    const Fn *fn; /* NULL: of a model or an optimizer */
    AstDeclKind kind;
    Map declared; /* paths of parameters and state of this body, and their first parts */
    Map labels;   /* first parts of the labels of its calls */
    VEC(const char *) open_paths; /* what those begin with that are made when elaborating */
    bool has_open_labels;
    VEC(FieldUse) fields;
    int conditional;  /* > 0: not every call comes here */
    int loops;        /* scans and whiles around */
    CallEdges *edges; /* the program's */
    Map *persists;    /* the program's: paths that any body declares; NULL: not asked for yet */
} Check;

/* Whether the walk goes on: false after enough errors, or where the stack is low. */
bool check_goes_on(const Check *check);
bool check_stmts_return(const AstStmts *stmts); /* somewhere inside */

/* -- declared.c */
/* A path as far as the text tells it; `out_whole`: it tells all. */
const char *check_path_text(Elaborator *el, const AstPath *path, bool *out_whole);
/* Adds the paths of these statements' parameters and state to `declared` or `open_paths`. */
void check_note_declared(Check *check, const AstStmts *stmts);
/* Whether some body of the program declares a parameter or state called so. */
bool check_declared_elsewhere(Check *check, const char *name);

/* -- names.c */
void check_expr(Check *check, const AstExpr *expr); /* NULL: nothing */
/* An expression for a parameter of type `fn`. */
void check_fn_argument(Check *check, const AstExpr *expr);
/* The initial value of a parameter or state. */
void check_initial(Check *check, const AstExpr *expr);
void check_path(Check *check, const AstPath *path);
void check_fields(Check *check);
/* How many values the expression gives, where its text tells it; -1: unknown. */
int32_t check_result_count(Check *check, const AstExpr *expr);
/* Whether the expression is certainly no function. */
bool check_is_value(const AstExpr *expr);

/* -- cycles.c */
void check_cycles(Elaborator *el, const CallEdges *edges);

/* -- shapes.c */
/* Every function that no call elaborated, by its signature; in a test those that calls elaborated,
 * and the library's, as well. */
void check_shapes(Elaborator *el, bool is_test);

/* -- body.c */
/* Every body of the user's files, called or not; of the library's if `library`. */
void check_bodies(Elaborator *el, bool library);

#endif
