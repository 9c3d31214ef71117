/* The grammar of .dl files: LALR(1) without conflicts (bison is run with -Werror). Actions are one
 * or two calls into the constructors of ast.c and build.c. Words that are reserved elsewhere are
 * plain names where no confusion is possible: `word`. */
%require "3.8"
%define api.pure full
%define api.prefix {dl_}
%define api.token.prefix {T_}
%define api.location.type {Place}
%define api.value.type {ParseValue}
%define parse.error custom
%define lr.default-reduction consistent
%locations
%lex-param {Parse *parse}
%parse-param {Parse *parse}

%code requires {
struct Parse;
#include "frontend/parse/scan.h"
}

%code {
#define YYLLOC_DEFAULT(current, rhs, n)                                                            \
    do {                                                                                           \
        (current) = (n) ? place_span(&(rhs)[1], (int)(n)) : place_span(&(rhs)[0], 0);              \
    } while (0)
#define YYMAXDEPTH 10000
/* The parser's stack grows in the arena, so that leaving through the boundary frees it. */
#define YYSTACK_ALLOC(bytes) arena_alloc(&parse->context->arena, (bytes))
#define YYSTACK_ALLOC_MAXIMUM ((size_t)1 << 30)

#define PUSH(list, item) LIST_PUSH(parse, &(list), (item))
}

%initial-action { @$ = (Place){.source = parse->source, .line = 1, .column = 1, .end_line = 1, .end_column = 1}; }

%token END 0 "the end of the file"
%token NEWLINE "the end of the line"
%token <name> NAME "a name"
%token <integer> INT "an integer"
%token <number> FLOAT "a number"
%token STR_BEGIN "a string"
%token <part> STR_TEXT "text"
%token STR_END "'\"'"
%token INTERP_OPEN "interpolation"
%token INTERP_CLOSE "'}' of the interpolation"
%token AXIS_OPEN "an axis function"
%token BAD "a character"
%token PIPE "'|>'" ARROW "'->'" STORE "'<-'" POWER "'**'"
%token EQ "'=='" NE "'!='" LE "'<='" GE "'>='"
%token ELLIPSIS "'...'" DOTDOT "'..'"
%token <name> IMPORT "'import'" CONST "'const'" DIM "'dim'" FN "'fn'" OPTIMIZER "'optimizer'"
%token <name> MODEL "'model'" ENTRY "'entry'" TRAIN "'train'" MESH "'mesh'"
%token <name> PARAM "'param'" STATE "'state'" CACHE "'cache'" FOR "'for'" IF "'if'" ELSE "'else'"
%token <name> SCAN "'scan'" WHILE "'while'" RETURN "'return'" YIELD "'yield'" OUTPUT "'output'"
%token <name> METRIC "'metric'" LOSS "'loss'" CHECK "'check'" SHOW "'show'"
%token <name> IN "'in'" ALONG "'along'" CARRY "'carry'" AS "'as'" SHARED "'shared'"
%token <name> AND "'and'" OR "'or'" NOT "'not'" TRUE "'true'" FALSE "'false'" TRAINING "'training'"
%token <name> OVER "'over'" BY "'by'"
/* In the order in which messages list them. */
%token ';' '(' ')' '{' '}' '@' '%' '=' ',' ':' '[' ']' '.' '<' '>' '+' '-' '*' '/'

%type <name> name word word_but_shared keyword_but_shared axis_name by_opt
%type <names> names attributes
%type <expr> expr cond or and not comparison chain sum product unary power operand postfix call
%type <expr> labelled primary stage stage_callee string values axis_fn expr_opt init_opt
%type <expr> divisor_opt axis_size along_opt
%type <exprs> exprs strings
%type <parts> string_parts
%type <args> args arg_list
%type <arg> arg
%type <items> items
%type <item> item
%type <path> path label_path
%type <path_part> path_head path_tail label_head
%type <label> label
%type <terms> terms
%type <term> term
%type <sides> sides
%type <side> side
%type <type> type type_opt result_opt
%type <types> types
%type <sizes> sizes size_list
%type <size> size
%type <stmt> stmt if_stmt declaration
%type <stmts> body stmts
%type <block> block
%type <inputs> scan_inputs
%type <input> scan_input
%type <bindings> bindings carry_opt mesh_axes
%type <binding> binding mesh_axis
%type <decl> decl fn_decl
%type <params> params param_list
%type <param> param
%type <settings> settings settings_body mesh_lines mesh_body
%type <setting> setting mesh_line
%type <op> compare_op
%type <names> scan_results_opt

%start file

%%

file
    : %empty
    | file sep
    | file decl sep { LIST_PUSH(parse, &parse->file->decls, $2); }
    | file error sep { yyerrok; parse_recovered(parse); }
    ;

sep: NEWLINE | ';';

/* -- Declarations */

decl
    : IMPORT string { $$ = decl_import(parse, $2, @$); }
    | CONST bindings { $$ = decl_consts(parse, $2, @$); }
    | DIM name divisor_opt init_opt { $$ = decl_dim(parse, $2, $3, NULL, NULL, $4, @$); }
    | DIM name divisor_opt IN expr DOTDOT expr init_opt {
        $$ = decl_dim(parse, $2, $3, $5, $7, $8, @$);
    }
    | DIM name divisor_opt IN expr DOTDOT init_opt {
        $$ = decl_dim(parse, $2, $3, $5, NULL, $7, @$);
    }
    | DIM name divisor_opt IN DOTDOT expr init_opt {
        $$ = decl_dim(parse, $2, $3, NULL, $6, $7, @$);
    }
    | fn_decl
    | attributes fn_decl { $$ = $2; decl_attributes(parse, $$, $1, @1); }
    | OPTIMIZER name '(' params ')' block {
        $$ = decl_fn(parse, AST_DECL_OPTIMIZER, $2, $4, NULL, $6, place_join(@1, @5));
    }
    | MODEL name '(' params ')' block {
        $$ = decl_fn(parse, AST_DECL_MODEL, $2, $4, NULL, $6, place_join(@1, @5));
    }
    | ENTRY name '(' params ')' block {
        $$ = decl_fn(parse, AST_DECL_ENTRY, $2, $4, NULL, $6, place_join(@1, @5));
    }
    | TRAIN name '{' settings_body '}' { $$ = decl_train(parse, $2, $4, place_join(@1, @2), @5); }
    | MESH mesh_axes { $$ = decl_mesh(parse, $2, (AstSettings){0}, @$, @$); }
    | MESH mesh_axes '{' mesh_body '}' {
        $$ = decl_mesh(parse, $2, $4, place_join(@1, @2), @5);
    }
    ;

fn_decl
    : FN name '(' params ')' result_opt block {
        $$ = decl_fn(parse, AST_DECL_FN, $2, $4, $6, $7, place_join(@1, $6 ? @6 : @5));
    }
    ;

attributes
    : '@' name { $$ = (AstNames){0}; PUSH($$, $2); }
    | attributes '@' name { $$ = $1; PUSH($$, $3); }
    | attributes NEWLINE
    ;

binding
    : name '=' expr { $$ = (AstNamedExpr){.name = $1, .value = $3}; }
    ;

mesh_line
    : word exprs { $$ = (AstSetting){.word = $1, .values = $2, .place = @$}; }
    | word expr FOR strings { /* shard (_, model) for "*.c_fc.weight" */
        $$ = (AstSetting){.word = $1, .for_globs = $4, .place = @$};
        PUSH($$.values, $2);
    }
    ;

params
    : %empty { $$ = (AstParams){0}; }
    | param_list
    | param_list ','
    ;

param
    : name type_opt init_opt {
        $$ = (AstParam){.name = $1, .type = $2, .fallback = $3, .place = @$};
    }
    ;

settings_body
    : settings
    | settings setting { $$ = $1; PUSH($$, $2); }
    ;

settings
    : %empty { $$ = (AstSettings){0}; }
    | settings sep
    | settings setting sep { $$ = $1; PUSH($$, $2); }
    | settings error sep { $$ = $1; yyerrok; parse_recovered(parse); }
    ;

setting
    : word { $$ = (AstSetting){.word = $1, .place = @$}; }
    | word exprs { $$ = (AstSetting){.word = $1, .values = $2, .place = @$}; }
    | word exprs INT { /* batch N 1024 */
        $$ = (AstSetting){.word = $1, .values = $2, .place = @$};
        PUSH($$.values, expr_int(parse, $3, @3));
    }
    | word FOR strings { $$ = (AstSetting){.word = $1, .for_globs = $3, .place = @$}; }
    | word FOR strings exprs {
        $$ = (AstSetting){.word = $1, .for_globs = $3, .values = $4, .place = @$};
    }
    | word exprs OVER strings expr_opt {
        $$ = (AstSetting){.word = $1, .values = $2, .over_globs = $4, .over_value = $5, .place = @$};
    }
    ;

/* -- Types */

type
    : name { $$ = type_new(parse, AST_TYPE_BARE, &$1, @$); }
    | FN { $$ = type_new(parse, AST_TYPE_FN, NULL, @$); }
    | name '[' sizes ']' { $$ = type_new(parse, AST_TYPE_TENSOR, &$1, @$); $$->sizes = $3; }
    | '[' sizes ']' { $$ = type_new(parse, AST_TYPE_TENSOR, NULL, @$); $$->sizes = $2; }
    | '(' types ')' { $$ = type_new(parse, AST_TYPE_TUPLE, NULL, @$); $$->types = $2; }
    ;

sizes
    : %empty { $$ = (AstSizes){0}; }
    | size_list
    | size_list ','
    ;

size
    : expr { $$ = (AstSize){.expr = $1, .place = @$}; }
    | ELLIPSIS {
        $$ = (AstSize){.is_rest = true, .place = @$};
        $$.rest_name = context_intern(parse->context, "");
    }
    | ELLIPSIS name { $$ = (AstSize){.is_rest = true, .rest_name = $2.text, .place = @$}; }
    ;

/* -- Statements */

block
    : '{' body '}' { $$ = (AstBlock){.stmts = $2, .open = @1, .close = @3}; }
    ;

body
    : stmts
    | stmts stmt { $$ = $1; PUSH($$, $2); }
    ;

stmts
    : %empty { $$ = (AstStmts){0}; }
    | stmts sep
    | stmts stmt sep { $$ = $1; PUSH($$, $2); }
    | stmts error sep { $$ = $1; yyerrok; parse_recovered(parse); }
    ;

stmt
    : names '=' values { $$ = stmt_bind(parse, $1, $3, @$); }
    | postfix STORE expr { $$ = stmt_store(parse, $1, $3, @$); }
    | PARAM declaration { $$ = stmt_declared($2, AST_STMT_PARAM, @$); }
    | STATE declaration { $$ = stmt_declared($2, AST_STMT_STATE, @$); }
    | CACHE declaration { $$ = stmt_declared($2, AST_STMT_CACHE, @$); }
    | FOR name IN expr DOTDOT expr block {
        $$ = stmt_for(parse, $2, $4, $6, $7, place_join(@1, @6));
    }
    | if_stmt
    | SCAN scan_inputs along_opt carry_opt block scan_results_opt {
        $$ = stmt_scan(parse, $2, $3, $4, $5, $6, place_span(&@1, 4));
    }
    | WHILE expr carry_opt block { $$ = stmt_while(parse, $2, $3, $4, place_span(&@1, 3)); }
    | RETURN values { $$ = stmt_value(parse, AST_STMT_RETURN, $2, @$); }
    | RETURN expr OVER expr {
        $$ = stmt_named(parse, AST_STMT_RETURN_OVER, (AstName){0}, $2, $4, @$);
    }
    | YIELD values { $$ = stmt_value(parse, AST_STMT_YIELD, $2, @$); }
    | OUTPUT expr { $$ = stmt_named(parse, AST_STMT_OUTPUT, (AstName){0}, $2, NULL, @$); }
    | OUTPUT name '=' expr { $$ = stmt_named(parse, AST_STMT_OUTPUT, $2, $4, NULL, @$); }
    | METRIC name '=' expr { $$ = stmt_named(parse, AST_STMT_METRIC, $2, $4, NULL, @$); }
    | METRIC name '=' expr OVER expr { $$ = stmt_named(parse, AST_STMT_METRIC, $2, $4, $6, @$); }
    | LOSS expr { $$ = stmt_named(parse, AST_STMT_LOSS, (AstName){0}, $2, NULL, @$); }
    | LOSS expr OVER expr { $$ = stmt_named(parse, AST_STMT_LOSS, (AstName){0}, $2, $4, @$); }
    | LOSS name '=' expr { $$ = stmt_named(parse, AST_STMT_LOSS, $2, $4, NULL, @$); }
    | LOSS name '=' expr OVER expr { $$ = stmt_named(parse, AST_STMT_LOSS, $2, $4, $6, @$); }
    | CHECK expr { $$ = stmt_check(parse, $2, NULL, @$); }
    | CHECK expr ',' expr { $$ = stmt_check(parse, $2, $4, @$); }
    | SHOW values { $$ = stmt_value(parse, AST_STMT_SHOW, $2, @$); }
    | expr { $$ = stmt_expr(parse, $1, @$); }
    ;

declaration
    : path type_opt init_opt { $$ = stmt_declare(parse, (AstName){0}, $1, $2, $3, @$); }
    | name AS label_path type_opt init_opt { $$ = stmt_declare(parse, $1, $3, $4, $5, @$); }
    ;

if_stmt
    : IF expr block { $$ = stmt_if(parse, $2, $3, NULL, place_join(@1, @2), $3.close); }
    | IF expr block ELSE block {
        $$ = stmt_if(parse, $2, $3, &$5.stmts, place_join(@1, @2), $5.close);
    }
    | IF expr block ELSE if_stmt { $$ = stmt_else_if(parse, $2, $3, $5, place_join(@1, @2)); }
    ;

values: exprs { $$ = expr_values(parse, $1, @$); };

scan_input
    : name IN expr { $$ = (AstScanInput){.name = $1, .source = $3}; }
    ;

/* -- Paths and labels */

path
    : path_head { $$ = (AstPath){0}; PUSH($$, $1); }
    | path path_tail { $$ = $1; PUSH($$, $2); }
    ;

path_head
    : name { $$ = path_name($1); }
    | string { $$ = path_expr(AST_PATH_STRING, $1, @$); }
    ;

path_tail
    : '.' word { $$ = path_name($2); }
    | '.' INT { $$ = path_int($2, @2); }
    | '.' string { $$ = path_expr(AST_PATH_STRING, $2, @2); }
    | '[' expr ']' { $$ = path_expr(AST_PATH_INDEX, $2, @$); }
    ;

label
    : AS label_path { $$ = label_new(parse, AST_LABEL_PATH, $2, @$); }
    | AS SHARED label_path { $$ = label_new(parse, AST_LABEL_SHARED, $3, @$); }
    ;

label_path
    : label_head { $$ = (AstPath){0}; PUSH($$, $1); }
    | label_path path_tail { $$ = $1; PUSH($$, $2); }
    ;

label_head
    : word_but_shared { $$ = path_name($1); }
    | INT { $$ = path_int($1, @$); }
    | string { $$ = path_expr(AST_PATH_STRING, $1, @$); }
    ;

/* -- Expressions, loosest first */

expr
    : cond
    | expr PIPE stage { $$ = expr_pipe(parse, $1, $3); }
    ;

stage
    : stage_callee { $$ = expr_call(parse, $1, (AstArgs){0}, false, @$); }
    | stage_callee label { $$ = expr_label(expr_call(parse, $1, (AstArgs){0}, false, @$), $2); }
    | stage_callee '(' args ')' { $$ = expr_call(parse, $1, $3, true, @$); }
    | stage_callee '(' args ')' label { $$ = expr_label(expr_call(parse, $1, $3, true, @$), $5); }
    ;

stage_callee
    : name { $$ = expr_name(parse, $1); }
    | axis_fn
    ;

cond
    : or
    | or IF or ELSE cond { $$ = expr_conditional(parse, $1, $3, $5); }
    ;

or
    : and
    | or OR and { $$ = expr_binary(parse, AST_OP_OR, @2, $1, $3); }
    ;

and
    : not
    | and AND not { $$ = expr_binary(parse, AST_OP_AND, @2, $1, $3); }
    ;

not
    : comparison
    | NOT not { $$ = expr_unary(parse, AST_OP_NOT, $2, @$); }
    ;

comparison
    : sum
    | chain
    ;

chain
    : sum compare_op sum { $$ = expr_binary(parse, $2, @2, $1, $3); }
    | chain compare_op sum {
        parse_report(parse, DIAG_COMPARISON_CHAIN, @2, NULL);
        $$ = $1;
    }
    ;

compare_op
    : EQ { $$ = AST_OP_EQ; }
    | NE { $$ = AST_OP_NE; }
    | '<' { $$ = AST_OP_LT; }
    | LE { $$ = AST_OP_LE; }
    | '>' { $$ = AST_OP_GT; }
    | GE { $$ = AST_OP_GE; }
    ;

sum
    : product
    | sum '+' product { $$ = expr_binary(parse, AST_OP_ADD, @2, $1, $3); }
    | sum '-' product { $$ = expr_binary(parse, AST_OP_SUB, @2, $1, $3); }
    ;

product
    : unary
    | product '*' unary { $$ = expr_binary(parse, AST_OP_MUL, @2, $1, $3); }
    | product '/' unary { $$ = expr_binary(parse, AST_OP_DIV, @2, $1, $3); }
    | product '%' unary { $$ = expr_binary(parse, AST_OP_MOD, @2, $1, $3); }
    | product '@' unary { $$ = expr_binary(parse, AST_OP_MATMUL, @2, $1, $3); }
    ;

unary
    : power
    | '-' unary { $$ = expr_unary(parse, AST_OP_NEG, $2, @$); }
    ;

power
    : operand
    | operand POWER unary { $$ = expr_binary(parse, AST_OP_POW, @2, $1, $3); }
    ;

operand
    : postfix
    | labelled
    ;

labelled
    : call label { $$ = expr_label($1, $2); }
    ;

postfix
    : primary
    | call
    | postfix '[' items ']' { $$ = expr_index(parse, $1, $3, @$); }
    | postfix '.' word { $$ = expr_field(parse, $1, &$3, 0, @3); }
    | postfix '.' INT { $$ = expr_field(parse, $1, NULL, $3, @3); }
    ;

call
    : postfix '(' args ')' { $$ = expr_call(parse, $1, $3, true, @$); }
    ;

primary
    : name { $$ = expr_name(parse, $1); }
    | TRAINING { $$ = expr_name(parse, $1); }
    | PARAM { $$ = expr_name(parse, $1); }
    | INT { $$ = expr_int(parse, $1, @$); }
    | FLOAT { $$ = expr_new(parse, AST_FLOAT, @$); $$->as.number = $1; }
    | TRUE { $$ = expr_new(parse, AST_BOOL, @$); $$->as.integer = 1; }
    | FALSE { $$ = expr_new(parse, AST_BOOL, @$); }
    | string
    | '(' expr ')' { $$ = expr_paren(parse, $2, @$); }
    | '(' ')' { $$ = expr_list(parse, AST_TUPLE, (AstExprs){0}, @$); }
    | '(' expr ',' ')' { $$ = expr_tuple(parse, $2, (AstExprs){0}, @$); }
    | '(' expr ',' exprs ')' { $$ = expr_tuple(parse, $2, $4, @$); }
    | '[' ']' { $$ = expr_list(parse, AST_LIST_EXPR, (AstExprs){0}, @$); }
    | '[' exprs ']' { $$ = expr_list(parse, AST_LIST_EXPR, $2, @$); }
    | '[' exprs ',' ']' { $$ = expr_list(parse, AST_LIST_EXPR, $2, @$); }
    | axis_fn
    ;

string
    : STR_BEGIN string_parts STR_END { $$ = expr_string(parse, $2, @$); }
    ;

string_parts
    : %empty { $$ = (AstStringParts){0}; }
    | string_parts STR_TEXT { $$ = $1; PUSH($$, $2); }
    | string_parts INTERP_OPEN expr INTERP_CLOSE {
        $$ = $1;
        AstStringPart part = {.place = @3, .expr = $3};
        PUSH($$, part);
    }
    ;

args
    : %empty { $$ = (AstArgs){0}; }
    | arg_list
    | arg_list ','
    ;

arg_list
    : arg { $$ = (AstArgs){0}; args_push(parse, &$$, $1); }
    | arg_list ',' arg { $$ = $1; args_push(parse, &$$, $3); }
    ;

arg
    : expr { $$ = (AstArg){.value = $1, .place = @$}; }
    | word '=' expr { $$ = (AstArg){.name = $1, .value = $3, .place = @$}; }
    ;

item
    : expr { $$ = (AstIndexItem){.kind = AST_INDEX_AT, .start = $1, .place = @$}; }
    | expr_opt ':' expr_opt {
        $$ = (AstIndexItem){.kind = AST_INDEX_SLICE, .start = $1, .stop = $3, .place = @$};
    }
    | expr_opt ':' expr_opt ':' expr_opt {
        $$ = (AstIndexItem){
            .kind = AST_INDEX_SLICE, .start = $1, .stop = $3, .step = $5, .place = @$};
    }
    | DOTDOT { $$ = (AstIndexItem){.kind = AST_INDEX_ELLIPSIS, .place = @$}; }
    ;

/* -- Axis functions */

axis_fn
    : AXIS_OPEN sides ARROW side by_opt '}' { $$ = expr_axis_fn(parse, $2, $4, $5, @$); }
    ;

side
    : terms { $$ = (AstAxisSide){.terms = $1, .place = @$}; }
    ;

terms
    : %empty { $$ = (AstAxisTerms){0}; }
    | terms term { $$ = $1; PUSH($$, $2); }
    ;

term
    : axis_name { $$ = (AstAxisTerm){.kind = AST_AXIS_NAME, .name = $1.text, .place = @$}; }
    | axis_name '=' axis_size {
        $$ = (AstAxisTerm){.kind = AST_AXIS_NAME, .name = $1.text, .size = $3, .place = @$};
    }
    | INT { $$ = (AstAxisTerm){.kind = AST_AXIS_ONE, .integer = $1, .place = @$}; }
    | ELLIPSIS { $$ = (AstAxisTerm){.kind = AST_AXIS_ELLIPSIS, .place = @$}; }
    | '(' terms ')' { $$ = (AstAxisTerm){.kind = AST_AXIS_GROUP, .terms = $2, .place = @$}; }
    ;

axis_size
    : name { $$ = expr_name(parse, $1); }
    | INT { $$ = expr_int(parse, $1, @$); }
    | '(' expr ')' { $$ = $2; }
    ;

/* -- What may be left out */

result_opt: %empty { $$ = NULL; } | ARROW type { $$ = $2; };
divisor_opt: %empty { $$ = NULL; } | '%' expr { $$ = $2; };
type_opt: %empty { $$ = NULL; } | ':' type { $$ = $2; };
init_opt: %empty { $$ = NULL; } | '=' expr { $$ = $2; };
along_opt: %empty { $$ = NULL; } | ALONG expr { $$ = $2; };
carry_opt: %empty { $$ = (AstNamedExprs){0}; } | CARRY bindings { $$ = $2; };
scan_results_opt: %empty { $$ = (AstNames){0}; } | ARROW names { $$ = $2; };
expr_opt: %empty { $$ = NULL; } | expr;
by_opt: %empty { $$ = (AstName){0}; } | BY word { $$ = $2; };

/* -- Lists */

bindings: binding { $$ = (AstNamedExprs){0}; PUSH($$, $1); }
    | bindings ',' binding { $$ = $1; PUSH($$, $3); };
mesh_axis: word '=' expr { $$ = (AstNamedExpr){.name = $1, .value = $3}; }
    | word '=' '*' { $$ = (AstNamedExpr){.name = $1}; };
mesh_body: mesh_lines | mesh_lines mesh_line { $$ = $1; PUSH($$, $2); };
mesh_lines: %empty { $$ = (AstSettings){0}; } | mesh_lines sep
    | mesh_lines mesh_line sep { $$ = $1; PUSH($$, $2); }
    | mesh_lines error sep { $$ = $1; yyerrok; parse_recovered(parse); };
mesh_axes: mesh_axis { $$ = (AstNamedExprs){0}; PUSH($$, $1); }
    | mesh_axes ',' mesh_axis { $$ = $1; PUSH($$, $3); };
param_list: param { $$ = (AstParams){0}; PUSH($$, $1); }
    | param_list ',' param { $$ = $1; PUSH($$, $3); };
strings: string { $$ = (AstExprs){0}; PUSH($$, $1); }
    | strings ',' string { $$ = $1; PUSH($$, $3); };
types: type { $$ = (AstTypes){0}; PUSH($$, $1); } | types ',' type { $$ = $1; PUSH($$, $3); };
size_list: size { $$ = (AstSizes){0}; PUSH($$, $1); }
    | size_list ',' size { $$ = $1; PUSH($$, $3); };
names: name { $$ = (AstNames){0}; PUSH($$, $1); } | names ',' name { $$ = $1; PUSH($$, $3); };
exprs: expr { $$ = (AstExprs){0}; PUSH($$, $1); } | exprs ',' expr { $$ = $1; PUSH($$, $3); };
scan_inputs: scan_input { $$ = (AstScanInputs){0}; PUSH($$, $1); }
    | scan_inputs ',' scan_input { $$ = $1; PUSH($$, $3); };
items: item { $$ = (AstIndexItems){0}; PUSH($$, $1); } | items ',' item { $$ = $1; PUSH($$, $3); };
sides: side { $$ = (AstAxisSides){0}; PUSH($$, $1); } | sides ',' side { $$ = $1; PUSH($$, $3); };

/* -- Names */

name: NAME | OVER | BY;
axis_name: NAME | OVER | SHARED | keyword_but_shared;
word: word_but_shared | SHARED;
word_but_shared: name | keyword_but_shared;

keyword_but_shared
    : IMPORT | CONST | DIM | FN | OPTIMIZER | MODEL | ENTRY | TRAIN | MESH
    | PARAM | STATE | CACHE | FOR | IF | ELSE | SCAN | WHILE | RETURN | YIELD | OUTPUT
    | METRIC | LOSS | CHECK | SHOW | IN | ALONG | CARRY | AS
    | AND | OR | NOT | TRUE | FALSE | TRAINING
    ;

%%

static int yyreport_syntax_error(const yypcontext_t *context, Parse *parse) {
    yysymbol_kind_t kinds[YYNTOKENS];
    const char *names[YYNTOKENS];
    int count = yypcontext_expected_tokens(context, kinds, YYNTOKENS);
    for (int i = 0; i < count; i++) {
        names[i] = yysymbol_name(kinds[i]);
    }
    parse_unexpected(parse, *yypcontext_location(context), names, count);
    return 0;
}
