/* frontend_parse: sets one parse up, runs the grammar, and gives declarations the comments that
 * stand above them. */
#include "frontend/frontend.h"
#include "frontend/parse/scan.h"

#include <stdio.h>

/* Start of each line of the source, so that a declaration finds the lines above it. */
typedef VEC(const char *) Lines;

static void find_lines(Parse *parse, Lines *lines) {
    const char *at = parse->source->text, *end = at + parse->source->length;
    VEC_PUSH(&parse->context->arena, lines, at);
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        at++;
        VEC_PUSH(&parse->context->arena, lines, at);
    }
}

static const char *line_comment(const char *line, size_t *out_length) {
    if (*line != '#') {
        return NULL;
    }
    line++;
    line += *line == ' ';
    *out_length = strcspn(line, "\r\n");
    return line;
}

static const char *doc_above(Parse *parse, const Lines *lines, int32_t line) {
    int32_t first = line - 1; /* zero-based index of the declaration's line */
    size_t length = 0;
    while (first > 0 && line_comment(lines->items[first - 1], &length)) {
        first--;
    }
    if (first == line - 1) {
        return NULL;
    }
    size_t total = 0;
    for (int32_t i = first; i < line - 1; i++) {
        line_comment(lines->items[i], &length);
        total += length + 1;
    }
    char *doc = arena_alloc(&parse->context->arena, total);
    char *at = doc;
    for (int32_t i = first; i < line - 1; i++) {
        const char *text = line_comment(lines->items[i], &length);
        memcpy(at, text, length);
        at += length;
        *at++ = i + 1 < line - 1 ? '\n' : '\0';
    }
    return doc;
}

/* Bytes of the UTF-8 character at `at`; 0 when there is none (a stray byte, a form too long, a
 * surrogate, beyond U+10FFFF). */
static size_t character_length(const unsigned char *at, size_t left) {
    static const unsigned char second_low[] = {[0xE0 - 0xC0] = 0xA0, [0xF0 - 0xC0] = 0x90};
    if (at[0] < 0x80) {
        return 1;
    }
    size_t length = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
    if (at[0] < 0xC2 || at[0] > 0xF4 || length > left) {
        return 0;
    }
    size_t row = (size_t)at[0] - 0xC0;
    unsigned char low = row < sizeof second_low && second_low[row] ? second_low[row] : 0x80;
    unsigned char high = at[0] == 0xED ? 0x9F : at[0] == 0xF4 ? 0x8F : 0xBF;
    bool good = at[1] >= low && at[1] <= high;
    for (size_t i = 2; good && i < length; i++) {
        good = (at[i] & 0xC0) == 0x80;
    }
    return good ? length : 0;
}

/* A program is UTF-8 without NUL, in comments and strings too: its names and labels go into files
 * that are, and `fmt` writes it back as it is. */
static bool check_characters(Parse *parse) {
    const Source *source = parse->source;
    const unsigned char *text = (const unsigned char *)source->text;
    int32_t line = 1;
    size_t line_start = 0, at = parse->text_start;
    while (at < source->length) {
        size_t length = text[at] == 0 ? 0 : character_length(text + at, source->length - at);
        if (length == 0) {
            int32_t column = (int32_t)(at - line_start) + 1;
            Place place = {source, line, column, line, column + 1};
            char shown[32];
            snprintf(shown, sizeof shown, "byte 0x%02x", text[at]);
            scan_report(parse, DIAG_BAD_CHARACTER, place, shown,
                        text[at] ? "a program is UTF-8 text" : "a program holds no NUL");
            return false;
        }
        line_start = text[at] == '\n' ? at + 1 : line_start;
        line += text[at] == '\n';
        at += length;
    }
    return true;
}

AstFile *frontend_parse(Context *context, const Source *source) {
    AstFile *file = ARENA_NEW(&context->arena, AstFile);
    file->source = source;
    Parse *parse = ARENA_NEW(&context->arena, Parse);
    *parse = (Parse){.context = context, .source = source, .file = file, .line = 1, .column = 1};
    Place start = {.source = source, .line = 1, .column = 1, .end_line = 1, .end_column = 1};
    parse->previous_place = start;
    if (source->length > FRONTEND_MAX_BYTES) {
        diag_report(&context->diags, DIAG_SOURCE_TOO_LONG, start, FRONTEND_MAX_BYTES >> 20);
        file->has_errors = true;
        return file;
    }
    if (source->length >= 3 && memcmp(source->text, "\xEF\xBB\xBF", 3) == 0) {
        parse->text_start = 3;
        parse->column = 4;
    }
    if (!check_characters(parse)) {
        return file;
    }
    scan_init(parse);
    if (dl_parse(parse) != 0) {
        file->has_errors = true;
    }
    Lines lines = {0};
    find_lines(parse, &lines);
    for (int32_t i = 0; i < file->decls.count; i++) {
        AstDecl *decl = file->decls.items[i];
        decl->doc = doc_above(parse, &lines, decl->place.line);
    }
    return file;
}
