/* The cursor and small readers that the parsers of our text forms share: the IR's, and the loop
 * IR's of codegen/kernel_parse.c. Each reader returns false (or NULL) after reporting to the
 * context's diagnostics; the first error ends the parse. */
#ifndef DLC_IR_PARSE_LEX_H
#define DLC_IR_PARSE_LEX_H

#include "ir/ir.h"

enum { PARSE_MAX_NESTING = 64, PARSE_MAX_DIMS = 1024 /* as many as a plan has */ };

typedef struct Mark {
    const char *at;
    int32_t line, column;
} Mark;

typedef struct Parser {
    Context *context;
    const Source *source;
    const char *at, *end; /* the text is NUL-terminated at `end` */
    const char *line_start;
    int32_t line;
    Module *module; /* whose dims sizes name; NULL before its head is read */
    int32_t nesting;
} Parser;

void parse_start(Parser *p, Context *context, const Source *source);
/* Readers skip space and comments (# to the end of the line) first. */
void parse_skip(Parser *p);
Mark parse_mark(Parser *p);                    /* where the next token begins */
Place parse_place(const Parser *p, Mark from); /* from there to the cursor */
bool parse_expected(Parser *p, const char *what);
bool parse_at(Parser *p, const char *symbol);     /* whether the symbol stands here */
bool parse_accept(Parser *p, const char *symbol); /* and steps over it */
bool parse_expect(Parser *p, const char *symbol);
bool parse_at_word(Parser *p);
const char *parse_word(Parser *p, const char *what); /* interned */
const char *parse_dim_name(Parser *p);               /* as sizes have them: "B.data"; interned */
bool parse_at_keyword(Parser *p, const char *word);
bool parse_keyword(Parser *p, const char *word);
const char *parse_string(Parser *p, const char *what); /* unescaped, interned */
const char *parse_name(Parser *p, const char *what);   /* a word or a string */
bool parse_int(Parser *p, int64_t *out);
bool parse_double(Parser *p, double *out);
const Size *parse_size(Parser *p);
bool parse_dtype(Parser *p, DType *out);
bool parse_type(Parser *p, Type *out);
/* One of `words`; its index, or -1 after "unknown <what> 'x'". */
int parse_choice(Parser *p, const char *const *words, int n_words, const char *what);
bool parse_value_number(Parser *p, int32_t *out);

/* parse.c: `module "name" { dims and settings }`, which becomes p->module. */
bool parse_module_head(Parser *p);

#endif
