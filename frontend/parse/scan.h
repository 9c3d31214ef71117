/* Private to the front half of the frontend: the state of one parse, shared by the scanner
 * (lexer.l, scan.c, tokens.c), the grammar (parser.y), the node constructors (ast.c) and the
 * messages (error.c). */
#ifndef DLC_FRONTEND_PARSE_SCAN_H
#define DLC_FRONTEND_PARSE_SCAN_H

#include "frontend/parse/parse.h"

enum { MAX_INTERPOLATION = 16 };

/* An open bracket. kind: '(' '[' '{' for a block, 'a' for the brace of an axis function. */
typedef struct Bracket {
    int kind;
    Place place;
} Bracket;

typedef struct Parse {
    Context *context;
    const Source *source;
    AstFile *file;
    void *scanner;
    size_t text_start; /* 3 after a byte order mark */

    /* Where the scanner stands. */
    size_t offset;
    int32_t line, column;
    /* Braces open inside each interpolation that is being read. */
    int32_t interpolation[MAX_INTERPOLATION];
    int n_interpolations;

    VEC(Bracket) brackets;
    int previous, before_previous; /* the tokens returned last, 0 at the start */
    Place previous_place, token_place;
    bool closed_block; /* the last `}` closed a block, and was read once */
    int statement;     /* the token that began the statement or declaration */
    int open_ifs;      /* `if`s of the statement that may still take an `else` */
    int around;        /* the bracket around the last token, 0: none */
    int pending;       /* a token to return before reading on, or 0 */
    bool recovering;   /* after a syntax error: skip to where a statement can begin */
    int error_token;   /* the token that was not expected */
    int32_t error_axis_depth, error_paren_depth; /* brackets open when it came */
    int32_t n_nodes;                             /* expressions so far */
    bool stopped;                                /* a limit was met: no more tokens */
} Parse;

typedef struct AstBlock {
    AstStmts stmts;
    Place open, close;
} AstBlock;

/* What a token or a rule is worth. */
typedef union ParseValue {
    int64_t integer;
    double number;
    AstName name;
    AstNames names;
    AstExpr *expr;
    AstExprs exprs;
    AstStringParts parts;
    AstStringPart part;
    AstArgs args;
    AstArg arg;
    AstIndexItems items;
    AstIndexItem item;
    AstPath path;
    AstPathPart path_part;
    AstLabel label;
    AstAxisTerms terms;
    AstAxisTerm term;
    AstAxisSides sides;
    AstAxisSide side;
    AstType *type;
    AstTypes types;
    AstSizes sizes;
    AstSize size;
    AstStmt *stmt;
    AstStmts stmts;
    AstBlock block;
    AstScanInputs inputs;
    AstScanInput input;
    AstNamedExprs bindings;
    AstNamedExpr binding;
    AstDecl *decl;
    AstParams params;
    AstParam param;
    AstSettings settings;
    AstSetting setting;
    AstOp op;
} ParseValue;

#include "frontend/parse/parser.h" /* which includes this header */

/* A list that grows by doubling; capacity follows from count. */
#define LIST_PUSH(parse, list, value)                                                              \
    do {                                                                                           \
        (list)->items = list_grow((parse), (list)->items, (list)->count, sizeof *(list)->items);   \
        (list)->items[(list)->count++] = (value);                                                  \
    } while (0)
void *list_grow(Parse *parse, void *items, int32_t count, size_t item_size);

/* -- The scanner's side (scan.c, lexer.l) */
void scan_init(Parse *parse);
int scan_raw(ParseValue *value, Place *place, void *scanner);
void parse_advance(Parse *parse, Place *place, int32_t bytes);
void parse_retreat(Parse *parse, Place *place, int32_t bytes);
void parse_new_line(Parse *parse);
int scan_path_digits(const Parse *parse, const char *text);
int scan_int(Parse *parse, ParseValue *value, Place place, const char *text);
int scan_float(Parse *parse, ParseValue *value, Place place, const char *text);
int scan_bad_number(Parse *parse, ParseValue *value, Place place, const char *text);
int scan_word(Parse *parse, ParseValue *value, Place place, const char *text);
int scan_text(Parse *parse, ParseValue *value, Place place, const char *text, size_t length);
int scan_escape(Parse *parse, ParseValue *value, Place place, const char *text);
int scan_bad_escape(Parse *parse, ParseValue *value, Place place, const char *text);
int scan_foreign(Parse *parse, Place place, const char *text);
void scan_open_brace(Parse *parse);
bool scan_close_brace(Parse *parse); /* true: it ends an interpolation */
bool scan_open_interpolation(Parse *parse, Place place);
void scan_unterminated(Parse *parse, Place place);

/* -- What the parser calls (tokens.c) */
int dl_lex(ParseValue *value, Place *place, Parse *parse);
/* Whether a line may go on after this token, which follows `before`; whether an operand may end
 * with it. */
bool token_continues_line(int token, int before);
bool token_ends_operand(int token, int before);

/* -- Messages (error.c) */
Place place_span(const Place *places, int count);
void dl_error(const Place *place, Parse *parse, const char *message);
/* `expected`: the names of the tokens that could stand here. */
void parse_unexpected(Parse *parse, Place place, const char *const *expected, int n_expected);
Diag *parse_report(Parse *parse, DiagId id, Place place, const char *text);
void parse_recovered(Parse *parse);
/* parse_report for the scanner: silent while the rest of a bad statement is skipped. */
void scan_report(Parse *parse, DiagId id, Place place, const char *text, const char *help);

/* -- Nodes of expressions, paths and types (ast.c) */
AstExpr *expr_new(Parse *parse, AstExprKind kind, Place place);
AstExpr *expr_int(Parse *parse, int64_t integer, Place place);
AstExpr *expr_name(Parse *parse, AstName name);
AstExpr *expr_list(Parse *parse, AstExprKind kind, AstExprs list, Place place);
AstExpr *expr_tuple(Parse *parse, AstExpr *first, AstExprs others, Place place);
AstExpr *expr_values(Parse *parse, AstExprs list, Place place); /* a tuple, or its only member */
AstExpr *expr_string(Parse *parse, AstStringParts parts, Place place);
AstExpr *expr_paren(Parse *parse, AstExpr *inner, Place place);
AstExpr *expr_unary(Parse *parse, AstOp op, AstExpr *operand, Place place);
AstExpr *expr_binary(Parse *parse, AstOp op, Place op_place, AstExpr *left, AstExpr *right);
AstExpr *expr_conditional(Parse *parse, AstExpr *then, AstExpr *condition, AstExpr *otherwise);
AstExpr *expr_call(Parse *parse, AstExpr *callee, AstArgs args, bool has_parens, Place place);
AstExpr *expr_label(AstExpr *call, AstLabel label);
AstExpr *expr_pipe(Parse *parse, AstExpr *left, AstExpr *stage);
AstExpr *expr_index(Parse *parse, AstExpr *base, AstIndexItems items, Place place);
AstExpr *expr_field(Parse *parse, AstExpr *base, const AstName *name, int64_t integer, Place at);
AstExpr *expr_axis_fn(Parse *parse, AstAxisSides operands, AstAxisSide result, AstName by,
                      Place place);
void args_push(Parse *parse, AstArgs *args, AstArg arg);
AstPathPart path_name(AstName name);
AstPathPart path_int(int64_t integer, Place place);
AstPathPart path_expr(AstPathPartKind kind, AstExpr *expr, Place place);
AstLabel label_new(Parse *parse, AstLabelKind kind, AstPath path, Place place);
AstType *type_new(Parse *parse, AstTypeKind kind, const AstName *element, Place place);

/* -- Nodes of statements and declarations (build.c) */
AstStmt *stmt_bind(Parse *parse, AstNames targets, AstExpr *value, Place place);
AstStmt *stmt_for(Parse *parse, AstName name, AstExpr *start, AstExpr *stop, AstBlock body,
                  Place place);
AstStmt *stmt_scan(Parse *parse, AstScanInputs inputs, AstExpr *along, AstNamedExprs carries,
                   AstBlock body, AstNames results, Place place);
AstStmt *stmt_while(Parse *parse, AstExpr *condition, AstNamedExprs carries, AstBlock body,
                    Place place);
AstStmt *stmt_check(Parse *parse, AstExpr *condition, AstExpr *text, Place place);
AstStmt *stmt_value(Parse *parse, AstStmtKind kind, AstExpr *value, Place place);
AstStmt *stmt_expr(Parse *parse, AstExpr *value, Place place);
AstStmt *stmt_store(Parse *parse, AstExpr *target, AstExpr *value, Place place);
/* What is declared; then as what, and where the statement is. */
AstStmt *stmt_declare(Parse *parse, AstName local, AstPath path, AstType *type, AstExpr *init,
                      Place place);
AstStmt *stmt_declared(AstStmt *stmt, AstStmtKind kind, Place place);
AstStmt *stmt_named(Parse *parse, AstStmtKind kind, AstName name, AstExpr *value, AstExpr *over,
                    Place place);
AstStmt *stmt_if(Parse *parse, AstExpr *condition, AstBlock then, const AstStmts *otherwise,
                 Place place, Place end);
AstStmt *stmt_else_if(Parse *parse, AstExpr *condition, AstBlock then, AstStmt *otherwise,
                      Place place);
AstDecl *decl_import(Parse *parse, const AstExpr *path, Place place);
AstDecl *decl_consts(Parse *parse, AstNamedExprs consts, Place place);
AstDecl *decl_mesh(Parse *parse, AstNamedExprs axes, AstSettings lines, Place place, Place end);
/* `low` and `high` may be NULL. */
AstDecl *decl_dim(Parse *parse, AstName name, AstExpr *divisor, AstExpr *low, AstExpr *high,
                  AstExpr *nominal, Place place);
AstDecl *decl_train(Parse *parse, AstName name, AstSettings settings, Place place, Place end);
AstDecl *decl_fn(Parse *parse, AstDeclKind kind, AstName name, AstParams params, AstType *result,
                 AstBlock body, Place place);
void decl_attributes(Parse *parse, AstDecl *decl, AstNames attributes, Place place);

#endif
