/* The small readers of text forms: words, strings, numbers, sizes, types. */
#include "ir/parse_lex.h"

#include "ir/base/ascii.h"
#include "ir/base/number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_word_start(char c) {
    return ascii_is_letter(c) || c == '_';
}

/* Moves the cursor, counting the lines passed over. */
static void advance_to(Parser *p, const char *to) {
    for (; p->at < to; p->at++) {
        if (*p->at == '\n') {
            p->line++;
            p->line_start = p->at + 1;
        }
    }
}

void parse_start(Parser *p, Context *context, const Source *source) {
    *p = (Parser){.context = context,
                  .source = source,
                  .at = source->text,
                  .end = source->text + source->length,
                  .line_start = source->text,
                  .line = 1};
}

void parse_skip(Parser *p) {
    for (;;) {
        const char *at = p->at;
        while (at < p->end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')) {
            at++;
        }
        if (at < p->end && *at == '#') {
            while (at < p->end && *at != '\n') {
                at++;
            }
        }
        if (at == p->at) {
            return;
        }
        advance_to(p, at);
    }
}

static int32_t column_here(const Parser *p) {
    return (int32_t)(p->at - p->line_start) + 1;
}

Mark parse_mark(Parser *p) {
    parse_skip(p);
    return (Mark){.at = p->at, .line = p->line, .column = column_here(p)};
}

Place parse_place(const Parser *p, Mark from) {
    return (Place){.source = p->source,
                   .line = from.line,
                   .column = from.column,
                   .end_line = p->line,
                   .end_column = column_here(p)};
}

/* The place of the next token, roughly: its word, or one character. */
static Place token_place(Parser *p, const char **out_end) {
    Mark mark = parse_mark(p);
    const char *end = p->at;
    while (end < p->end && ascii_is_word(*end)) {
        end++;
    }
    if (end == p->at && end < p->end) {
        end++;
    }
    *out_end = end;
    Place place = parse_place(p, mark);
    place.end_column += (int32_t)(end - p->at);
    return place;
}

bool parse_expected(Parser *p, const char *what) {
    const char *end = NULL;
    Place place = token_place(p, &end);
    const char *found = "the end of the text";
    if (p->at < p->end) {
        int length = end - p->at > 40 ? 40 : (int)(end - p->at);
        found = ascii_is_print(*p->at)
                    ? arena_format(&p->context->arena, "'%.*s'", length, p->at)
                    : arena_format(&p->context->arena, "byte 0x%02x", (unsigned char)*p->at);
    }
    diag_report(&p->context->diags, DIAG_IR_SYNTAX, place, what, found);
    return false;
}

bool parse_at(Parser *p, const char *symbol) {
    parse_skip(p);
    return strncmp(p->at, symbol, strlen(symbol)) == 0;
}

bool parse_accept(Parser *p, const char *symbol) {
    if (!parse_at(p, symbol)) {
        return false;
    }
    p->at += strlen(symbol);
    return true;
}

bool parse_expect(Parser *p, const char *symbol) {
    if (parse_accept(p, symbol)) {
        return true;
    }
    return parse_expected(p, arena_format(&p->context->arena, "'%s'", symbol));
}

bool parse_at_word(Parser *p) {
    parse_skip(p);
    return is_word_start(*p->at);
}

const char *parse_word(Parser *p, const char *what) {
    if (!parse_at_word(p)) {
        parse_expected(p, what);
        return NULL;
    }
    const char *start = p->at;
    while (ascii_is_word(*p->at)) {
        p->at++;
    }
    const char *copy = arena_strndup(&p->context->arena, start, (size_t)(p->at - start));
    return context_intern(p->context, copy);
}

const char *parse_dim_name(Parser *p) {
    if (!parse_at_word(p)) {
        parse_expected(p, "the name of a dim");
        return NULL;
    }
    size_t length = size_name_length(p->at);
    const char *copy = arena_strndup(&p->context->arena, p->at, length);
    p->at += length;
    return context_intern(p->context, copy);
}

bool parse_at_keyword(Parser *p, const char *word) {
    return parse_at(p, word) && !ascii_is_word(p->at[strlen(word)]);
}

bool parse_keyword(Parser *p, const char *word) {
    if (parse_at_keyword(p, word)) {
        p->at += strlen(word);
        return true;
    }
    return parse_expected(p, arena_format(&p->context->arena, "'%s'", word));
}

static int hex_digit(char c) {
    return ascii_is_digit(c)      ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* One escape after its backslash; 0 when it is none. */
static char read_escape(const char **at) {
    char c = *(*at)++;
    if (c == 'n') {
        return '\n';
    }
    if (c == 't') {
        return '\t';
    }
    if (c == '"' || c == '\\') {
        return c;
    }
    if (c == 'x' && hex_digit((*at)[0]) >= 0 && hex_digit((*at)[1]) >= 0) {
        int value = hex_digit((*at)[0]) * 16 + hex_digit((*at)[1]);
        *at += 2;
        return (char)value;
    }
    return '\0';
}

const char *parse_string(Parser *p, const char *what) {
    parse_skip(p);
    if (*p->at != '"') {
        parse_expected(p, what);
        return NULL;
    }
    const char *at = p->at + 1;
    const char *close = at;
    while (close < p->end && *close != '"' && *close != '\n') {
        close += *close == '\\' && close + 1 < p->end ? 2 : 1;
    }
    if (close >= p->end || *close != '"') {
        parse_expected(p, "a string that is closed on its line");
        return NULL;
    }
    char *text = arena_alloc(&p->context->arena, (size_t)(close - at) + 1);
    size_t length = 0;
    while (at < close) {
        char c = *at++;
        if (c == '\\') {
            c = read_escape(&at);
        }
        if (c == '\0') {
            p->at = at < close ? at : close;
            parse_expected(p, "one of the escapes \\n \\t \\\" \\\\ \\x01 … \\xff");
            return NULL;
        }
        text[length++] = c;
    }
    p->at = close + 1;
    return context_intern(p->context, text);
}

const char *parse_name(Parser *p, const char *what) {
    return parse_at(p, "\"") ? parse_string(p, what) : parse_word(p, what);
}

static bool bad_number(Parser *p, Mark mark, const char *text) {
    diag_report(&p->context->diags, DIAG_IR_BAD_NUMBER, parse_place(p, mark), text);
    return false;
}

bool parse_int(Parser *p, int64_t *out) {
    Mark mark = parse_mark(p);
    const char *at = p->at + (*p->at == '-' ? 1 : 0);
    if (!ascii_is_digit(*at)) {
        return parse_expected(p, "an integer");
    }
    errno = 0;
    char *end = NULL;
    long long value = strtoll(p->at, &end, 10);
    p->at = end;
    if (errno == ERANGE) {
        return bad_number(p, mark, "the integer does not fit in 64 bits");
    }
    *out = (int64_t)value;
    return true;
}

bool parse_double(Parser *p, double *out) {
    Mark mark = parse_mark(p);
    const char *at = p->at;
    while (ascii_is_word(*at) || *at == '.' ||
           ((*at == '-' || *at == '+') && (at == p->at || at[-1] == 'e' || at[-1] == 'E'))) {
        at++;
    }
    char first = p->at[*p->at == '-' ? 1 : 0];
    if (at == p->at || (!ascii_is_digit(first) && first != 'i' && first != 'n')) {
        return parse_expected(p, "a number");
    }
    const char *start = p->at;
    p->at = at;
    if (!number_parse(start, (size_t)(at - start), out)) {
        return bad_number(p, mark, "malformed number");
    }
    return true;
}

const Size *parse_size(Parser *p) {
    Mark mark = parse_mark(p);
    const char *end = p->at;
    const Size *size = size_parse(p->context, p->at, p->module->dims, p->module->n_dims, &end);
    advance_to(p, end);
    if (size == NULL || size_is_error(size)) {
        diag_report(&p->context->diags, DIAG_IR_BAD_SIZE, parse_place(p, mark));
        return NULL;
    }
    return size;
}

bool parse_dtype(Parser *p, DType *out) {
    Mark mark = parse_mark(p);
    const char *word = parse_word(p, "an element type");
    if (word == NULL) {
        return false;
    }
    if (!dtype_from_name(word, out)) {
        diag_report(&p->context->diags, DIAG_IR_UNKNOWN_NAME, parse_place(p, mark), "element type",
                    word);
        return false;
    }
    return true;
}

bool parse_type(Parser *p, Type *out) {
    DType dtype = DT_F32;
    if (!parse_dtype(p, &dtype) || !parse_expect(p, "[")) {
        return false;
    }
    const Size *dims[TYPE_MAX_RANK];
    int32_t rank = 0;
    while (!parse_accept(p, "]")) {
        if (rank > 0 && !parse_expect(p, ",")) {
            return false;
        }
        Mark mark = parse_mark(p);
        const Size *size = parse_size(p);
        if (size == NULL) {
            return false;
        }
        if (rank == TYPE_MAX_RANK) {
            diag_report(&p->context->diags, DIAG_IR_LIMIT, parse_place(p, mark),
                        "a type has at most 16 axes");
            return false;
        }
        dims[rank++] = size;
    }
    *out = type_make(p->context, dtype, rank, dims);
    return true;
}

int parse_choice(Parser *p, const char *const *words, int n_words, const char *what) {
    Mark mark = parse_mark(p);
    const char *word = parse_word(p, what);
    if (word == NULL) {
        return -1;
    }
    for (int i = 0; i < n_words; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }
    diag_report(&p->context->diags, DIAG_IR_UNKNOWN_NAME, parse_place(p, mark), what, word);
    return -1;
}

/* Numbers far beyond the text's length are refused, so that a table by number stays in proportion.
 */
bool parse_value_number(Parser *p, int32_t *out) {
    if (!parse_expect(p, "%")) {
        return false;
    }
    Mark mark = {.at = p->at, .line = p->line, .column = column_here(p)};
    if (!ascii_is_digit(*p->at)) {
        return parse_expected(p, "the number of a value");
    }
    int64_t number = 0;
    int64_t limit = p->source->length > 65536 ? (int64_t)p->source->length : 65536;
    if (!parse_int(p, &number)) {
        return false;
    }
    if (number > limit || number >= INT32_MAX) {
        return bad_number(p, mark, "the number of a value is out of proportion to the text");
    }
    *out = (int32_t)number;
    return true;
}
