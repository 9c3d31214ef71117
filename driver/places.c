/* See places.h. The form:
 *
 *     # places
 *     # in digits.dl
 *     # in-library std/layers.dl
 *     # at 0:5:18 0:6:18*2 1:40:5 -
 *
 * Sources are numbered in their order; of each op, in the order of the text, the number of its
 * source, line and column of its place, `*N` for N ops in a row that share it, `-` for none. */
#include "driver/places.h"

#include <errno.h>
#include <stdlib.h>

#define HEAD       "\n# places\n"
#define IN         "# in "
#define IN_LIBRARY "# in-library "
#define AT         "# at"
enum { MOST_SOURCES = 1000, A_LINE = 100 };

/* -- Writing -- */

typedef struct Writer {
    const Source *sources[MOST_SOURCES];
    int n_sources;
    Str *out;
    size_t line; /* where it began */
    Place last;
    int64_t run; /* ops in a row with it */
} Writer;

/* -1: there are too many. */
static int source_number(Writer *w, const Source *source) {
    int i = 0;
    while (i < w->n_sources && w->sources[i] != source) {
        i++;
    }
    if (i == MOST_SOURCES) {
        return -1;
    }
    if (i == w->n_sources) {
        w->sources[w->n_sources++] = source;
    }
    return i;
}

static void source_find(Op *op, void *user) {
    Writer *w = user;
    if (op->place.source) {
        (void)source_number(w, op->place.source);
    }
}

static void source_write(const Source *source, Str *out) {
    str_add(out, source->is_library ? IN_LIBRARY : IN);
    for (const char *at = source->name; *at; at++) {
        str_add_char(out, *at >= 0 && *at < ' ' ? '?' : *at);
    }
    str_add_char(out, '\n');
}

static void run_write(Writer *w) {
    if (w->run == 0) {
        return;
    }
    if (w->out->length - w->line > A_LINE) {
        str_add_char(w->out, '\n');
        w->line = w->out->length;
        str_add(w->out, AT);
    }
    int source = w->last.source ? source_number(w, w->last.source) : -1;
    if (source < 0) {
        str_add(w->out, " -");
    } else {
        str_addf(w->out, " %d:%d:%d", source, (int)w->last.line, (int)w->last.column);
    }
    if (w->run > 1) {
        str_addf(w->out, "*%lld", (long long)w->run);
    }
    w->run = 0;
}

static void place_write(Op *op, void *user) {
    Writer *w = user;
    if (op->place.source != w->last.source || op->place.line != w->last.line ||
        op->place.column != w->last.column) {
        run_write(w);
    }
    w->last = op->place;
    w->run++;
}

void driver_places_add(const Module *module, Str *out) {
    Writer w = {.out = out};
    for (Func *func = module->first; func; func = func->next) {
        func_each_op(func, source_find, &w);
    }
    str_add(out, HEAD);
    for (int i = 0; i < w.n_sources; i++) {
        source_write(w.sources[i], out);
    }
    w.line = out->length;
    str_add(out, AT);
    for (Func *func = module->first; func; func = func->next) {
        func_each_op(func, place_write, &w);
    }
    run_write(&w);
    str_add_char(out, '\n');
}

/* -- Reading -- */

typedef struct Reader {
    Driver *d;
    const char *at;
    const Source *sources[MOST_SOURCES];
    int n_sources;
    VEC(Place) places;
    int64_t n_ops; /* there are, no more places are read */
    int64_t next;  /* to be given to an op */
} Reader;

static bool starts(const Reader *r, const char *word) {
    return strncmp(r->at, word, strlen(word)) == 0;
}

/* A number from 0 to `most`; false: there is none. */
static bool number_read(Reader *r, int64_t most, int64_t *out) {
    char *end;
    if (*r->at < '0' || *r->at > '9') {
        return false;
    }
    errno = 0;
    long long value = strtoll(r->at, &end, 10);
    r->at = end;
    *out = value;
    return errno == 0 && value <= most;
}

static bool sources_read(Reader *r) {
    while (starts(r, IN) || starts(r, IN_LIBRARY)) {
        bool is_library = starts(r, IN_LIBRARY);
        r->at += strlen(is_library ? IN_LIBRARY : IN);
        size_t length = strcspn(r->at, "\n");
        if (r->n_sources == MOST_SOURCES || length == 0) {
            return false;
        }
        const char *name = arena_strndup(&r->d->context.arena, r->at, length);
        r->sources[r->n_sources++] = context_source(&r->d->context, name, "", 0, is_library);
        r->at += length + (r->at[length] == '\n');
    }
    return true;
}

/* "0:5:18", "-", with "*3" behind it. */
static bool place_read(Reader *r) {
    int64_t source = 0, line = 0, column = 0, times = 1;
    Place place = {0};
    if (*r->at == '-') {
        r->at++;
    } else {
        if (!number_read(r, r->n_sources - 1, &source) || *r->at++ != ':' ||
            !number_read(r, INT32_MAX, &line) || *r->at++ != ':' ||
            !number_read(r, INT32_MAX, &column)) {
            return false;
        }
        place = (Place){r->sources[source], (int32_t)line, (int32_t)column, (int32_t)line,
                        (int32_t)column};
    }
    if (*r->at == '*') {
        r->at++;
        if (!number_read(r, r->n_ops, &times)) {
            return false;
        }
    }
    for (int64_t i = 0; i < times; i++) {
        if ((int64_t)r->places.count == r->n_ops) {
            return false;
        }
        VEC_PUSH(&r->d->scratch, &r->places, place);
    }
    return true;
}

static bool places_read(Reader *r) {
    while (starts(r, AT)) {
        r->at += strlen(AT);
        while (*r->at == ' ') {
            r->at++;
            if (!place_read(r)) {
                return false;
            }
        }
        if (*r->at++ != '\n') {
            return false;
        }
    }
    return (int64_t)r->places.count == r->n_ops;
}

static void op_count(Op *op, void *user) {
    (void)op;
    ++*(int64_t *)user;
}

static void place_give(Op *op, void *user) {
    Reader *r = user;
    op->place = r->places.items[r->next++];
}

void driver_places_restore(Driver *d, const char *text) {
    const char *head = strstr(text, HEAD);
    if (!head) {
        return;
    }
    Reader *r = ARENA_NEW(&d->scratch, Reader);
    *r = (Reader){.d = d, .at = head + strlen(HEAD)};
    for (Func *func = d->module->first; func; func = func->next) {
        func_each_op(func, op_count, &r->n_ops);
    }
    if (!sources_read(r) || !places_read(r)) {
        return;
    }
    for (Func *func = d->module->first; func; func = func->next) {
        func_each_op(func, place_give, r);
    }
}
