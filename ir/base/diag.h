/* Diagnostics (compile side): what went wrong in a user's text, where, which other place is
 * involved, and how to mend it. Texts and ids stand in diag.def; nothing here prints. */
#ifndef DLC_IR_BASE_DIAG_H
#define DLC_IR_BASE_DIAG_H

#include "ir/base/arena.h"
#include "ir/base/str.h"
#include <stdbool.h>

/* A text that places refer to. Owned by the context's arena. Lines and columns count from 1. */
typedef struct Source {
    const char *name; /* as shown to the user: the path given, or "std/layers.dl" */
    const char *text;
    size_t length;
    bool is_library; /* embedded std: diagnostics blame the caller instead where they can */
} Source;

/* A range of a source; source NULL: no place known. */
typedef struct Place {
    const Source *source;
    int32_t line, column;         /* of the first character */
    int32_t end_line, end_column; /* one past the last character */
} Place;

typedef enum DiagId {
#define DIAG(id, name, severity, text) DIAG_##name,
#include "ir/base/diag.def"
#undef DIAG
    DIAG_COUNT
} DiagId;

typedef enum Severity { SEVERITY_ERROR, SEVERITY_WARNING } Severity;

/* What is longer than DIAG_MAX_TEXT bytes (a message that quotes the program) is cut. */
enum { DIAG_MAX_NOTES = 4, DIAG_MAX_ERRORS = 20, DIAG_MAX_TEXT = 2000 };

typedef struct DiagNote {
    Place place; /* may be unknown */
    const char *text;
} DiagNote;

typedef struct Diag {
    DiagId id;
    Severity severity;
    Place place;
    const char *message;
    DiagNote notes[DIAG_MAX_NOTES]; /* the other places */
    int n_notes;
    const char *help; /* the fix, or NULL */
} Diag;

typedef struct DiagList {
    Arena *arena;
    Diag **items;
    size_t count, capacity;
    int n_errors, n_warnings;
    bool is_trial; /* not to be shown: of something that is only tried */
} DiagList;

void diag_list_init(DiagList *list, Arena *arena);
/* Adds a diagnostic. The message is the row's text of diag.def, a printf format for the arguments.
 * After DIAG_MAX_ERRORS errors further ones are only counted. Returns the diagnostic, for notes
 * (never NULL: a counted-only one is a scratch object). Same place and id twice is kept once. */
Diag *diag_report(DiagList *list, DiagId id, Place place, ...);
/* Adds a diagnostic that another list of the arena has, by the same rules. */
void diag_take(DiagList *list, Diag *diag);
void diag_note(DiagList *list, Diag *diag, Place place, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void diag_help(DiagList *list, Diag *diag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "E0101" for an id; its name in diag.def; the long form is "file:line:col: error[E0101]: text",
 * the source line with the range underlined by ^~~~, notes likewise, "  help: …". */
const char *diag_code(DiagId id);
void diag_print(const Diag *diag, Str *out, bool color);
void diag_print_json(const Diag *diag, Str *out); /* one object on one line */
Place place_join(Place first, Place last);

#endif
