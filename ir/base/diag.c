/* Diagnostics: collecting them and printing them in the manner of clang and rustc (diag.h). */
#include "ir/base/diag.h"
#include "ir/base/json.h"
#include "ir/base/utf8.h"
#include "ir/base/vec.h"

#include <stdio.h>
#include <string.h>

typedef struct DiagRow {
    const char *code;
    const char *format;
    Severity severity;
} DiagRow;

static const DiagRow diag_rows[DIAG_COUNT] = {
#define DIAG(id, name, severity, text) [DIAG_##name] = {id, text, SEVERITY_##severity},
#include "ir/base/diag.def"
#undef DIAG
};

enum { TAB_WIDTH = 4, MAX_EXCERPT = 400 };

const char *diag_code(DiagId id) {
    return (int)id >= 0 && id < DIAG_COUNT ? diag_rows[id].code : "E0000";
}

void diag_list_init(DiagList *list, Arena *arena) {
    *list = (DiagList){.arena = arena};
}

static bool place_equal(Place a, Place b) {
    return a.source == b.source && a.line == b.line && a.column == b.column &&
           a.end_line == b.end_line && a.end_column == b.end_column;
}

/* Formatted, and cut after a whole character. */
static const char *short_text(Arena *arena, const char *format, va_list args) {
    char text[DIAG_MAX_TEXT + 1];
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(text, sizeof text, format, again);
    va_end(again);
    if (length <= DIAG_MAX_TEXT) {
        return arena_vformat(arena, format, args);
    }
    size_t end = DIAG_MAX_TEXT - 3;
    while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80) {
        end--;
    }
    memcpy(text + end, "…", sizeof "…");
    return arena_strdup(arena, text);
}

Diag *diag_report(DiagList *list, DiagId id, Place place, ...) {
    Diag *diag = ARENA_NEW(list->arena, Diag);
    diag->id = id;
    diag->severity = diag_rows[id].severity;
    diag->place = place;
    va_list args;
    va_start(args, place);
    diag->message = short_text(list->arena, diag_rows[id].format, args);
    va_end(args);
    diag_take(list, diag);
    return diag;
}

void diag_take(DiagList *list, Diag *diag) {
    for (size_t i = 0; i < list->count; i++) {
        const Diag *other = list->items[i];
        if (other->id != diag->id) {
            continue;
        }
        if (diag->place.source ? place_equal(other->place, diag->place)
                               : strcmp(other->message, diag->message) == 0) {
            return;
        }
    }
    if (diag->severity == SEVERITY_WARNING) {
        list->n_warnings++;
    } else if (list->n_errors++ >= DIAG_MAX_ERRORS) {
        return;
    }
    VEC_PUSH(list->arena, list, diag);
}

void diag_note(DiagList *list, Diag *diag, Place place, const char *format, ...) {
    if (diag->n_notes == DIAG_MAX_NOTES) {
        return;
    }
    va_list args;
    va_start(args, format);
    diag->notes[diag->n_notes].place = place;
    diag->notes[diag->n_notes++].text = short_text(list->arena, format, args);
    va_end(args);
}

void diag_help(DiagList *list, Diag *diag, const char *format, ...) {
    va_list args;
    va_start(args, format);
    diag->help = short_text(list->arena, format, args);
    va_end(args);
}

Place place_join(Place first, Place last) {
    if (!first.source || !last.source || first.source != last.source) {
        return first.source ? first : last;
    }
    Place joined = first;
    if (last.line < first.line || (last.line == first.line && last.column < first.column)) {
        joined.line = last.line;
        joined.column = last.column;
    }
    if (last.end_line > first.end_line ||
        (last.end_line == first.end_line && last.end_column > first.end_column)) {
        joined.end_line = last.end_line;
        joined.end_column = last.end_column;
    }
    return joined;
}

typedef struct Paint {
    const char *error, *warning, *note, *help, *bold, *gutter, *mark, *off;
} Paint;

static const Paint plain_paint = {"", "", "", "", "", "", "", ""};
static const Paint color_paint = {"\033[1;31m", "\033[1;35m", "\033[1;36m", "\033[1;32m",
                                  "\033[1m",    "\033[34m",   "\033[1;32m", "\033[0m"};

/* The text of line `number`, without its end; false when the source has no such line. */
static bool source_line(const Source *source, int32_t number, const char **out_text,
                        size_t *out_length) {
    const char *at = source->text, *end = source->text + source->length;
    for (int32_t line = 1; line < number; line++) {
        const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        if (!newline) {
            return false;
        }
        at = newline + 1;
    }
    const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    size_t length = (size_t)((newline ? newline : end) - at);
    if (length && at[length - 1] == '\r') {
        length--;
    }
    *out_text = at;
    *out_length = length;
    return true;
}

/* Columns that byte `c` takes on the screen when it starts at screen column `at`: tabs go to the
 * next stop, the later bytes of a UTF-8 character take none. */
static int byte_width(char c, int at) {
    if (c == '\t') {
        return TAB_WIDTH - at % TAB_WIDTH;
    }
    return ((unsigned char)c & 0xC0) == 0x80 ? 0 : 1;
}

static void print_line(Str *out, const char *text, size_t length) {
    int column = 0;
    for (size_t i = 0; i < length; i++) {
        int width = byte_width(text[i], column);
        if (text[i] == '\t') {
            str_addf(out, "%*s", width, "");
        } else if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            str_add_char(out, '?'); /* a control character must not reach the terminal */
        } else {
            str_add_char(out, text[i]);
        }
        column += width;
    }
}

/* Screen width of the first `bytes` bytes; what lies beyond the line's end counts one each. */
static int width_until(const char *text, size_t length, size_t bytes) {
    int column = 0;
    for (size_t i = 0; i < bytes && i < length; i++) {
        column += byte_width(text[i], column);
    }
    return bytes > length ? column + 1 : column;
}

/* The gutter, the source line and the underline. */
static void print_excerpt(Str *out, Place place, const Paint *paint) {
    const char *text;
    size_t length;
    if (!place.source || place.line < 1 || !source_line(place.source, place.line, &text, &length)) {
        return;
    }
    size_t first = place.column > 0 ? (size_t)place.column - 1 : 0;
    size_t last = length;
    if (place.end_line == place.line && place.end_column > 0) {
        last = (size_t)place.end_column - 1;
    } else if (place.end_line < place.line) {
        last = first + 1;
    }
    /* Of a very long line, what is around the place. */
    if (length > MAX_EXCERPT) {
        size_t from = first > MAX_EXCERPT / 4 ? first - MAX_EXCERPT / 4 : 0;
        while (from < length && from < first && ((unsigned char)text[from] & 0xC0) == 0x80) {
            from++;
        }
        from = from < length ? from : length;
        text += from;
        length = length - from < MAX_EXCERPT ? length - from : MAX_EXCERPT;
        while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) {
            length--; /* the last byte may be inside a character */
        }
        first -= from < first ? from : first;
        last = last > from ? last - from : 0;
        last = last < length ? last : length;
    }
    int start = width_until(text, length, first);
    int end = width_until(text, length, last);
    str_addf(out, "%s%5d |%s ", paint->gutter, (int)place.line, paint->off);
    print_line(out, text, length);
    str_addf(out, "\n%s      |%s %*s%s^", paint->gutter, paint->off, start, "", paint->mark);
    for (int column = start + 1; column < end; column++) {
        str_add_char(out, '~');
    }
    str_addf(out, "%s\n", paint->off);
}

/* Names and texts of the program, which are said in messages, stay within their line. */
static void print_text(Str *out, const char *text) {
    for (size_t i = 0, length = strlen(text); i < length;) {
        char shown[UTF8_SHOWN_BYTES];
        i += utf8_shown(text + i, length - i, true, shown);
        str_add(out, shown);
    }
}

static void print_place(Str *out, Place place, const Paint *paint) {
    if (place.source) {
        str_add(out, paint->bold);
        print_text(out, place.source->name);
        str_addf(out, ":%d:%d:%s ", (int)place.line, (int)place.column, paint->off);
    }
}

void diag_print(const Diag *diag, Str *out, bool color) {
    const Paint *paint = color ? &color_paint : &plain_paint;
    bool is_error = diag->severity == SEVERITY_ERROR;
    print_place(out, diag->place, paint);
    str_addf(out, "%s%s[%s]:%s %s", is_error ? paint->error : paint->warning,
             is_error ? "error" : "warning", diag_code(diag->id), paint->off, paint->bold);
    print_text(out, diag->message);
    str_addf(out, "%s\n", paint->off);
    print_excerpt(out, diag->place, paint);
    for (int i = 0; i < diag->n_notes; i++) {
        print_place(out, diag->notes[i].place, paint);
        str_addf(out, "%snote:%s ", paint->note, paint->off);
        print_text(out, diag->notes[i].text);
        str_add_char(out, '\n');
        print_excerpt(out, diag->notes[i].place, paint);
    }
    if (diag->help) {
        str_addf(out, "  %shelp:%s %s\n", paint->help, paint->off, diag->help);
    }
}

static void print_json_place(Str *out, Place place) {
    if (!place.source) {
        return;
    }
    str_add(out, ",\"file\":");
    json_add_string(out, place.source->name);
    str_addf(out, ",\"line\":%d,\"column\":%d,\"end_line\":%d,\"end_column\":%d", (int)place.line,
             (int)place.column, (int)place.end_line, (int)place.end_column);
}

void diag_print_json(const Diag *diag, Str *out) {
    str_addf(out, "{\"code\":\"%s\",\"severity\":\"%s\",\"message\":", diag_code(diag->id),
             diag->severity == SEVERITY_ERROR ? "error" : "warning");
    json_add_string(out, diag->message);
    print_json_place(out, diag->place);
    str_add(out, ",\"notes\":[");
    for (int i = 0; i < diag->n_notes; i++) {
        str_add(out, i ? ",{\"message\":" : "{\"message\":");
        json_add_string(out, diag->notes[i].text);
        print_json_place(out, diag->notes[i].place);
        str_add_char(out, '}');
    }
    str_add_char(out, ']');
    if (diag->help) {
        str_add(out, ",\"help\":");
        json_add_string(out, diag->help);
    }
    str_add(out, "}\n");
}
