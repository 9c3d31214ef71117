/* The actions of lexer.l: positions, words, numbers, strings. */
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

int scan_word(Parse *parse, ParseValue *value, Place place, const char *text) {
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

int scan_int(Parse *parse, ParseValue *value, Place place, const char *text) {
    errno = 0;
    long long number = strtoll(text, NULL, 10);
    if (errno == ERANGE) {
        scan_report(parse, DIAG_NUMBER_RANGE, place, text, NULL);
    }
    value->integer = number;
    return T_INT;
}

int scan_float(Parse *parse, ParseValue *value, Place place, const char *text) {
    value->number = number_scan(text, NULL);
    if (value->number > 1.7976931348623157e308) {
        scan_report(parse, DIAG_NUMBER_RANGE, place, text, NULL);
        value->number = 0;
    }
    return T_FLOAT;
}

int scan_bad_number(Parse *parse, ParseValue *value, Place place, const char *text) {
    size_t digits = strspn(text, "0123456789");
    bool exponent = text[digits] == 'e' || text[digits] == 'E';
    scan_report(parse, DIAG_BAD_NUMBER, place, text,
                exponent ? "an exponent needs digits, as in `1e-3`"
                         : "a name begins with a letter; numbers are decimal, as in `12` or `0.5`");
    value->integer = 0;
    return T_INT;
}

int scan_text(Parse *parse, ParseValue *value, Place place, const char *text, size_t length) {
    value->part = (AstStringPart){.place = place,
                                  .text = arena_strndup(&parse->context->arena, text, length)};
    return T_STR_TEXT;
}

int scan_escape(Parse *parse, ParseValue *value, Place place, const char *text) {
    char c = text[1] == 'n' ? '\n' : text[1] == 't' ? '\t' : text[1];
    return scan_text(parse, value, place, &c, 1);
}

int scan_bad_escape(Parse *parse, ParseValue *value, Place place, const char *text) {
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
