/* What the files of the IR text parser share beside the readers of parse_lex.h. */
#ifndef DLC_IR_PARSE_INTERNAL_H
#define DLC_IR_PARSE_INTERNAL_H

#include "ir/parse_lex.h"
#include "ir/text.h"

/* What a number stands for; only where `func` is the function being read. */
typedef struct Numbered {
    Value *value;
    const Func *func;
} Numbered;

typedef struct ModuleParser {
    Parser text; /* first: what takes a Parser of a module takes this one */
    Func *func;
    VEC(Numbered) values; /* by the number in the text */
    Map func_names;
} ModuleParser;

static inline ModuleParser *module_parser(const Parser *p) {
    return (ModuleParser *)p;
}

/* parse_op.c: ops up to the closing brace of the block, which must end in yield. */
bool parse_block(Parser *p, Block *block);
bool parse_define(Parser *p, int32_t number, Value *value, Mark mark);
Value *parse_defined(const Parser *p, int32_t number); /* NULL: not yet */
/* "%4" or "%4 name"; *out_name NULL where none stands. */
bool parse_definition(Parser *p, int32_t *out_number, const char **out_name);

#endif
