/* From raw tokens to what the grammar reads: where newlines end statements, which brace begins an
 * axis function, and what is skipped after a syntax error. Also the actions of lexer.l. */
#include "frontend/parse/scan.h"

#include "ir/base/number.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* -- Positions */

void parse_advance(Parse *parse, Place *place, int32_t bytes) {
    *place = (Place){.source = parse->source,
                     .line = parse->line,
                     .column = parse->column,
                     .end_line = parse->line,
                     .end_column = parse->column + bytes};
    parse->column += bytes;
    parse->offset += (size_t)bytes;
}

void parse_retreat(Parse *parse, Place *place, int32_t bytes) {
    parse->column -= bytes;
    parse->offset -= (size_t)bytes;
    place->end_column -= bytes;
}

void parse_new_line(Parse *parse) {
    parse->line++;
    parse->column = 1;
    parse->n_interpolations = 0; /* they do not go beyond the line */
}

/* -- Words, numbers, strings */

typedef struct Keyword {
    const char *text;
    int token;
} Keyword;

/* Sorted, for bsearch. */
static const Keyword keywords[] = {
    {"along", T_ALONG},
    {"and", T_AND},
    {"as", T_AS},
    {"by", T_BY},
    {"cache", T_CACHE},
    {"carry", T_CARRY},
    {"check", T_CHECK},
    {"const", T_CONST},
    {"dim", T_DIM},
    {"else", T_ELSE},
    {"entry", T_ENTRY},
    {"false", T_FALSE},
    {"fn", T_FN},
    {"for", T_FOR},
    {"if", T_IF},
    {"import", T_IMPORT},
    {"in", T_IN},
    {"loss", T_LOSS},
    {"mesh", T_MESH},
    {"metric", T_METRIC},
    {"model", T_MODEL},
    {"not", T_NOT},
    {"optimizer", T_OPTIMIZER},
    {"or", T_OR},
    {"output", T_OUTPUT},
    {"over", T_OVER},
    {"param", T_PARAM},
    {"return", T_RETURN},
    {"scan", T_SCAN},
    {"shared", T_SHARED},
    {"show", T_SHOW},
    {"state", T_STATE},
    {"train", T_TRAIN},
    {"training", T_TRAINING},
    {"true", T_TRUE},
    {"while", T_WHILE},
    {"yield", T_YIELD},
};

static int keyword_compare(const void *key, const void *item) {
    return strcmp(key, ((const Keyword *)item)->text);
}

int scan_word(Parse *parse, DL_STYPE *value, Place place, const char *text) {
    value->name = (AstName){.text = context_intern(parse->context, text), .place = place};
    const Keyword *keyword = bsearch(text, keywords, sizeof keywords / sizeof keywords[0],
                                     sizeof keywords[0], keyword_compare);
    return keyword ? keyword->token : T_NAME;
}

/* In a path (after `.`, `as`, `shared`) a number is digits only: how many lead `text`, else 0. */
int scan_path_digits(const Parse *parse, const char *text) {
    int previous = parse->previous;
    if (previous != '.' && previous != T_AS && previous != T_SHARED) {
        return 0;
    }
    return (int)strspn(text, "0123456789");
}

int scan_int(Parse *parse, DL_STYPE *value, Place place, const char *text) {
    errno = 0;
    long long number = strtoll(text, NULL, 10);
    if (errno == ERANGE) {
        scan_report(parse, DIAG_NUMBER_RANGE, place, text, NULL);
    }
    value->integer = number;
    return T_INT;
}

int scan_float(Parse *parse, DL_STYPE *value, Place place, const char *text) {
    value->number = number_scan(text, NULL);
    if (value->number > 1.7976931348623157e308) {
        scan_report(parse, DIAG_NUMBER_RANGE, place, text, NULL);
        value->number = 0;
    }
    return T_FLOAT;
}

int scan_bad_number(Parse *parse, DL_STYPE *value, Place place, const char *text) {
    size_t digits = strspn(text, "0123456789");
    bool exponent = text[digits] == 'e' || text[digits] == 'E';
    scan_report(parse, DIAG_BAD_NUMBER, place, text,
                exponent ? "an exponent needs digits, as in `1e-3`"
                         : "a name begins with a letter; numbers are decimal, as in `12` or `0.5`");
    value->integer = 0;
    return T_INT;
}

int scan_text(Parse *parse, DL_STYPE *value, Place place, const char *text, size_t length) {
    value->part = (AstStringPart){.place = place,
                                  .text = arena_strndup(&parse->context->arena, text, length)};
    return T_STR_TEXT;
}

int scan_escape(Parse *parse, DL_STYPE *value, Place place, const char *text) {
    char c = text[1] == 'n' ? '\n' : text[1] == 't' ? '\t' : text[1];
    return scan_text(parse, value, place, &c, 1);
}

int scan_bad_escape(Parse *parse, DL_STYPE *value, Place place, const char *text) {
    scan_report(parse, DIAG_BAD_ESCAPE, place, text,
                "the escapes are \\n \\t \\\" \\\\ \\{ \\}; a backslash itself is \\\\");
    return scan_text(parse, value, place, "", 0);
}

void scan_unterminated(Parse *parse, Place place) {
    scan_report(parse, DIAG_UNTERMINATED_STRING, place, NULL,
                "close the string with `\"` on the same line");
}

/* -- Braces inside interpolation */

void scan_open_brace(Parse *parse) {
    if (parse->n_interpolations) {
        parse->interpolation[parse->n_interpolations - 1]++;
    }
}

bool scan_close_brace(Parse *parse) {
    if (!parse->n_interpolations) {
        return false;
    }
    if (parse->interpolation[parse->n_interpolations - 1]-- == 0) {
        parse->n_interpolations--;
        return true;
    }
    return false;
}

bool scan_open_interpolation(Parse *parse, Place place) {
    if (parse->n_interpolations == MAX_INTERPOLATION) {
        parse_report(parse, DIAG_NESTING, place, NULL);
        parse->stopped = true;
        return false;
    }
    parse->interpolation[parse->n_interpolations++] = 0;
    return true;
}

/* -- What other languages write differently */

typedef struct Foreign {
    const char *text, *help;
} Foreign;

static const Foreign foreign[] = {
    {"&&", "write `and`"},
    {"||", "write `or`"},
    {"!", "write `not`; unequal is `!=`"},
    {"//", "comments begin with `#`; `/` on sizes and integers already rounds down"},
    {"=>", "write `->`"},
    {":=", "bind with `=`; store into a state with `<-`"},
    {"^", "a power is written `**`"},
    {"+=", "there is no assignment in place: write `x = x + …`"},
    {"-=", "there is no assignment in place: write `x = x - …`"},
    {"*=", "there is no assignment in place: write `x = x * …`"},
    {"/=", "there is no assignment in place: write `x = x / …`"},
    {"++", "write `x = x + 1`"},
    {"'", "strings are written in double quotes"},
    {"?", "a choice is written `a if condition else b`"},
    {"|", "a pipe is `|>`; on bool tensors write `or`"},
    {"&", "on bool tensors write `and`"},
    {"\\", "a line goes on inside brackets, after an operator or comma, or before `|>`"},
};

int scan_foreign(Parse *parse, Place place, const char *text) {
    unsigned char first = (unsigned char)text[0];
    char shown[64];
    if (first < 0x20 || first == 0x7f) {
        snprintf(shown, sizeof shown, "byte 0x%02x", first);
    } else {
        snprintf(shown, sizeof shown, "'%.48s'", text);
    }
    const char *help = NULL;
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        help = strcmp(text, foreign[i].text) == 0 ? foreign[i].help : help;
    }
    scan_report(parse, DIAG_BAD_CHARACTER, place, shown, help);
    return T_BAD;
}

/* -- Line ends and brackets */

bool token_continues_line(int token) {
    switch (token) {
    case '+':
    case '-':
    case '*':
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

/* After an error: reads to the end of the statement in which it stood, whole blocks included, so
 * that the parser can go on with the next one. */
static int skip_statement(Parse *parse, Place *place) {
    int32_t blocks = parse->error_token == '{' ? 1 : 0;
    int32_t axes = parse->error_axis_depth, parens = parse->error_paren_depth;
    DL_STYPE ignored;
    if (parse->error_token == '}' && parse->closed_block) {
        parse->pending = '}';
        return T_NEWLINE;
    }
    for (;;) {
        int token = scan_raw(&ignored, place, parse->scanner);
        switch (token) {
        case 0:
            return 0;
        case T_NEWLINE: {
            bool goes_on =
                parens > 0 && (token_continues_line(parse->previous) || parse->previous == '(' ||
                               parse->previous == '[' || next_line_closes(parse));
            /* Between declarations, what is indented still belongs to the bad one. */
            const char *end, *at = rest_of_source(parse, &end);
            goes_on = goes_on || (parse->brackets.count == 0 && at < end &&
                                  (*at == ' ' || *at == '\t' || *at == '\n' || *at == '}'));
            if (blocks == 0 && !goes_on && !next_line_pipes(parse)) {
                return T_NEWLINE;
            }
            axes = 0;
            continue; /* `previous` stays what the line ended with */
        }
        case ';':
            if (blocks == 0 && parens <= 0) {
                return T_NEWLINE;
            }
            break;
        case '(':
        case '[':
            parens++;
            break;
        case ')':
        case ']':
            parens--;
            break;
        case '{':
            if (token_ends_operand(parse->previous, parse->before_previous)) {
                blocks++;
                parens = 0;
            } else {
                axes++;
            }
            break;
        case '}':
            if (axes > 0) {
                axes--;
            } else if (blocks > 0) {
                blocks--;
            } else if (parse->brackets.count) {
                pop_block(parse);
                parse->pending = '}';
                return T_NEWLINE;
            }
            break;
        default:
            break;
        }
        emit(parse, token, *place);
    }
}

int dl_lex(DL_STYPE *value, Place *place, Parse *parse) {
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
        switch (token) {
        case 0:
            *place = (Place){.source = parse->source,
                             .line = parse->line,
                             .column = parse->column,
                             .end_line = parse->line,
                             .end_column = parse->column};
            if (parse->brackets.count == 0 && parse->previous != 0 &&
                parse->previous != T_NEWLINE) {
                return emit(parse, T_NEWLINE, *place);
            }
            return emit(parse, 0, *place);
        case T_NEWLINE:
            if (parse->previous == 0 || parse->previous == T_NEWLINE || parse->previous == '{') {
                continue;
            }
            if ((parse->around == '(' || parse->around == '[' ||
                 token_continues_line(parse->previous)) &&
                !next_line_begins_statement(parse)) {
                continue;
            }
            if (next_line_pipes(parse)) {
                continue;
            }
            return emit(parse, token, *place);
        case '(':
        case '[':
            return emit(parse, open_bracket(parse, token, *place), *place);
        case '{': {
            bool block = token_ends_operand(parse->previous, parse->before_previous);
            token = open_bracket(parse, block ? '{' : 'a', *place);
            return emit(parse, token, *place);
        }
        case ')':
            pop_bracket(parse, '(');
            return emit(parse, token, *place);
        case ']':
            pop_bracket(parse, '[');
            return emit(parse, token, *place);
        case '}':
            parse->closed_block = false;
            if (top_bracket(parse) == 'a') {
                parse->brackets.count--;
            } else {
                size_t open = parse->brackets.count;
                pop_block(parse);
                parse->closed_block = parse->brackets.count < open;
            }
            return emit(parse, token, *place);
        default:
            return emit(parse, token, *place);
        }
    }
}
