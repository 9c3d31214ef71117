/* From raw tokens to what the grammar reads: where newlines end statements, which brace begins an
 * axis function, and what is skipped after a syntax error. */
#include "frontend/parse/scan.h"

#include <string.h>

bool token_continues_line(int token, int before) {
    switch (token) {
    case '*': /* `data=*` is whole */
        return before != '=';
    case '+':
    case '-':
    case '/':
    case '%':
    case '@':
    case '=':
    case '<':
    case '>':
    case ',':
    case T_PIPE:
    case T_ARROW:
    case T_STORE:
    case T_POWER:
    case T_EQ:
    case T_NE:
    case T_LE:
    case T_GE:
    case T_AND:
    case T_OR:
    case T_NOT:
        return true;
    default:
        return false;
    }
}

bool token_ends_operand(int token, int before) {
    switch (token) {
    case T_NAME:
    case T_INT:
    case T_FLOAT:
    case T_STR_END:
    case T_TRUE:
    case T_FALSE:
    case T_TRAINING:
    case T_PARAM:
    case T_OVER:
    case T_BY:
    case T_FN:
    case ')':
    case ']':
    case '}':
        return true;
    case T_ELSE:
        return before == '}' || before == T_NEWLINE;
    case '*':
        return before == '=';
    default:
        return before == '.' && token > 256; /* a reserved word as the name of a field */
    }
}

static const char *rest_of_source(const Parse *parse, const char **out_end) {
    *out_end = parse->source->text + parse->source->length;
    return parse->source->text + parse->text_start + parse->offset;
}

/* Whether the first line after this one that holds more than blanks and comments begins with the
 * pipe sign, so that the statement goes on. */
static bool next_line_pipes(const Parse *parse) {
    const char *end, *at = rest_of_source(parse, &end);
    while (at < end) {
        if (*at == '#') {
            while (at < end && *at != '\n') {
                at++;
            }
        } else if (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\f' || *at == '\n') {
            at++;
        } else {
            return end - at >= 2 && at[0] == '|' && at[1] == '>';
        }
    }
    return false;
}

static const char *next_word(const Parse *parse, const char **out_end) {
    const char *at = rest_of_source(parse, out_end);
    while (at < *out_end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    return at;
}

/* Whether the next line begins with a closing bracket (blanks apart). */
static bool next_line_closes(const Parse *parse) {
    const char *end, *at = next_word(parse, &end);
    return at < end && (*at == ')' || *at == ']');
}

/* Whether the next line begins with a word that only begins statements or declarations: then a
 * bracket or operator that still waits has been forgotten, and the error belongs to this line. A
 * word before `=` may be a named argument. */
static bool next_line_begins_statement(const Parse *parse) {
    static const char *const starts[] = {
        "import", "const", "dim",    "fn",     "optimizer", "model", "entry",
        "train",  "mesh",  "state",  "cache",  "for",       "scan",  "while",
        "return", "yield", "output", "metric", "loss",      "check", "show"};
    const char *end, *at = next_word(parse, &end);
    size_t length = 0;
    while (at + length < end && at[length] >= 'a' && at[length] <= 'z') {
        length++;
    }
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        if (strlen(starts[i]) == length && strncmp(at, starts[i], length) == 0) {
            return at + length < end && (at[length] == ' ' || at[length] == '\n') &&
                   (end - at < (ptrdiff_t)length + 2 || at[length + 1] != '=');
        }
    }
    return false;
}

static int top_bracket(const Parse *parse) {
    return parse->brackets.count ? parse->brackets.items[parse->brackets.count - 1].kind : 0;
}

static void pop_bracket(Parse *parse, int open) {
    if (top_bracket(parse) == open) {
        parse->brackets.count--;
    }
}

/* A block's closing brace closes whatever was forgotten inside the block as well. */
static void pop_block(Parse *parse) {
    for (size_t i = parse->brackets.count; i > 0; i--) {
        if (parse->brackets.items[i - 1].kind == '{') {
            parse->brackets.count = i - 1;
            return;
        }
    }
}

static int emit(Parse *parse, int token, Place place) {
    int previous = parse->previous;
    if (previous == 0 || previous == T_NEWLINE || previous == ';' || previous == '{') {
        parse->statement = token;
        parse->open_ifs = 0;
    }
    parse->open_ifs += token == T_IF ? 1 : token == T_ELSE ? -1 : 0;
    parse->before_previous = parse->previous;
    parse->previous = token;
    parse->previous_place = place;
    return token;
}

static int open_bracket(Parse *parse, int kind, Place place) {
    Bracket bracket = {.kind = kind, .place = place};
    if (parse->brackets.count >= AST_MAX_NESTING) {
        parse_report(parse, DIAG_NESTING, place, NULL);
        parse->stopped = true;
        return 0;
    }
    VEC_PUSH(&parse->context->arena, &parse->brackets, bracket);
    return kind == 'a' ? T_AXIS_OPEN : kind;
}

/* What is open of a statement that is skipped. */
typedef struct Skipped {
    int32_t blocks, axes, parens;
} Skipped;

static bool newline_ends_skipped(const Parse *parse, const Skipped *open) {
    bool goes_on = open->parens > 0 &&
                   (token_continues_line(parse->previous, parse->before_previous) ||
                    parse->previous == '(' || parse->previous == '[' || next_line_closes(parse));
    /* Between declarations, what is indented still belongs to the bad one. */
    const char *end, *at = rest_of_source(parse, &end);
    goes_on = goes_on || (parse->brackets.count == 0 && at < end &&
                          (*at == ' ' || *at == '\t' || *at == '\n' || *at == '}'));
    return open->blocks == 0 && !goes_on && !next_line_pipes(parse);
}

/* False: the token closes the block in which the statement stands. */
static bool skip_bracket(const Parse *parse, Skipped *open, int token) {
    switch (token) {
    case '(':
    case '[':
        open->parens++;
        return true;
    case ')':
    case ']':
        open->parens--;
        return true;
    case '{':
        if (token_ends_operand(parse->previous, parse->before_previous)) {
            open->blocks++;
            open->parens = 0;
        } else {
            open->axes++;
        }
        return true;
    case '}':
        if (open->axes > 0) {
            open->axes--;
        } else if (open->blocks > 0) {
            open->blocks--;
        } else {
            return parse->brackets.count == 0;
        }
        return true;
    default:
        return true;
    }
}

/* After an error: reads to the end of the statement in which it stood, whole blocks included, so
 * that the parser can go on with the next one. */
static int skip_statement(Parse *parse, Place *place) {
    Skipped open = {.blocks = parse->error_token == '{' ? 1 : 0,
                    .axes = parse->error_axis_depth,
                    .parens = parse->error_paren_depth};
    ParseValue ignored;
    if (parse->error_token == '}' && parse->closed_block) {
        parse->pending = '}';
        return T_NEWLINE;
    }
    for (;;) {
        int token = scan_raw(&ignored, place, parse->scanner);
        if (token == 0) {
            return 0;
        }
        if (token == T_NEWLINE) {
            if (newline_ends_skipped(parse, &open)) {
                return T_NEWLINE;
            }
            open.axes = 0;
            continue; /* `previous` stays what the line ended with */
        }
        if (token == ';' && open.blocks == 0 && open.parens <= 0) {
            return T_NEWLINE;
        }
        if (!skip_bracket(parse, &open, token)) {
            pop_block(parse);
            parse->pending = '}';
            return T_NEWLINE;
        }
        emit(parse, token, *place);
    }
}

static int end_of_text(Parse *parse, Place *place) {
    *place = (Place){.source = parse->source,
                     .line = parse->line,
                     .column = parse->column,
                     .end_line = parse->line,
                     .end_column = parse->column};
    bool line_is_open =
        parse->brackets.count == 0 && parse->previous != 0 && parse->previous != T_NEWLINE;
    return emit(parse, line_is_open ? T_NEWLINE : 0, *place);
}

static bool newline_ends_statement(const Parse *parse) {
    if (parse->previous == 0 || parse->previous == T_NEWLINE || parse->previous == '{') {
        return false;
    }
    bool waits = parse->around == '(' || parse->around == '[' ||
                 token_continues_line(parse->previous, parse->before_previous);
    return !(waits && !next_line_begins_statement(parse)) && !next_line_pipes(parse);
}

/* Keeps the open brackets; the token as the grammar knows it. */
static int bracket_token(Parse *parse, int token, Place place) {
    switch (token) {
    case '(':
    case '[':
        return open_bracket(parse, token, place);
    case '{': {
        bool block = token_ends_operand(parse->previous, parse->before_previous);
        return open_bracket(parse, block ? '{' : 'a', place);
    }
    case ')':
        pop_bracket(parse, '(');
        return token;
    case ']':
        pop_bracket(parse, '[');
        return token;
    case '}':
        parse->closed_block = false;
        if (top_bracket(parse) == 'a') {
            parse->brackets.count--;
        } else {
            size_t open = parse->brackets.count;
            pop_block(parse);
            parse->closed_block = parse->brackets.count < open;
        }
        return token;
    default:
        return token;
    }
}

/* `model` is an axis of a mesh, and a word that begins declarations: between the commas of
 * parentheses inside a block, as in `shard(data, _, model)`, no declaration can be meant. */
static bool is_axis_of_mesh(const Parse *parse, int token) {
    if (token != T_MODEL || parse->around != '(' ||
        (parse->previous != '(' && parse->previous != ',')) {
        return false;
    }
    const char *end, *next = next_word(parse, &end);
    return parse->brackets.items[0].kind == '{' && next < end && (*next == ',' || *next == ')');
}

int dl_lex(ParseValue *value, Place *place, Parse *parse) {
    if (parse->pending) {
        int token = parse->pending;
        parse->pending = 0;
        parse->closed_block = false; /* were it unexpected again, it is dropped */
        *place = parse->previous_place;
        return emit(parse, token, *place);
    }
    if (parse->stopped) {
        *place = parse->previous_place;
        return emit(parse, 0, *place);
    }
    parse->around = top_bracket(parse);
    if (parse->recovering) {
        int token = skip_statement(parse, place);
        return emit(parse, token, *place);
    }
    for (;;) {
        int token = scan_raw(value, place, parse->scanner);
        if (token == 0) {
            return end_of_text(parse, place);
        }
        if (is_axis_of_mesh(parse, token)) {
            return emit(parse, T_NAME, *place);
        }
        if (token != T_NEWLINE) {
            return emit(parse, bracket_token(parse, token, *place), *place);
        }
        if (newline_ends_statement(parse)) {
            return emit(parse, token, *place);
        }
    }
}
