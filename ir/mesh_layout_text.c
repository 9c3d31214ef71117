/* The text of mesh_lines, both ways: the setting "mesh" of modules and plans, the flag `--mesh`,
 * and the block that is printed to be pasted into a program. What is read is checked, for it may
 * come from anywhere. */
#include "ir/base/ascii.h"
#include "ir/mesh_layout.h"

#include <string.h>

/* -- printing */

static void print_text(const char *text, Str *out) {
    str_add_char(out, '"');
    for (const char *p = text; *p; p++) {
        if (strchr("\"\\{}", *p)) {
            str_add_char(out, '\\');
        }
        str_add(out, *p == '\n' ? "\\n" : *p == '\t' ? "\\t" : (char[]){*p, '\0'});
    }
    str_add_char(out, '"');
}

static void print_globs(const char *const *globs, size_t count, Str *out) {
    for (size_t i = 0; i < count; i++) {
        str_add(out, i > 0 ? ", " : " ");
        print_text(globs[i], out);
    }
}

void placed_print(const Placed *placed, Str *out) {
    for (int32_t i = 0; i < placed->rank; i++) {
        const PlacedAxis *axis = &placed->axes[i];
        str_add(out, i > 0 ? ", " : "");
        str_add(out, axis->count > 1 ? "(" : axis->count == 0 ? "_" : "");
        for (int32_t k = 0; k < axis->count; k++) {
            str_addf(out, "%s%s", k > 0 ? ", " : "", axis->names[k]);
        }
        str_add(out, axis->count > 1 ? ")" : "");
    }
}

/* In a block of the language axes are of its mesh: others count as 1, and fall away. */
static Placed placed_within(const MeshLayout *layout, const Placed *placed) {
    Placed within = {.rank = placed->rank};
    for (int32_t i = 0; i < placed->rank; i++) {
        const PlacedAxis *axis = &placed->axes[i];
        PlacedAxis *kept = &within.axes[i];
        for (int32_t k = 0; k < axis->count; k++) {
            if (mesh_layout_has(layout, axis->names[k])) {
                kept->names[kept->count++] = axis->names[k];
            }
        }
    }
    return within;
}

static void print_rule(const MeshRule *rule, const Placed *placed, Str *out) {
    str_add(out, "shard (");
    placed_print(placed, out);
    str_add(out, ") for");
    print_globs(rule->globs, (size_t)rule->n_globs, out);
}

/* The lines of the block; `lead` and `tail` stand around each, "; " between them where `tail` is
 * empty. */
static void print_lines(const MeshLayout *layout, const char *lead, const char *tail, Str *out) {
    const char *between = "";
    for (size_t i = 0; i < layout->rules.count; i++) {
        str_addf(out, "%s%s", between, lead);
        const MeshRule *rule = &layout->rules.items[i];
        Placed within = *tail ? placed_within(layout, &rule->placed) : rule->placed;
        print_rule(rule, &within, out);
        str_add(out, tail);
        between = *tail ? "" : "; ";
    }
    bool has_stages = !*tail || mesh_layout_has(layout, "pipe");
    for (size_t i = 0; has_stages && i < layout->cuts.count; i++) {
        str_addf(out, "%s%scut", between, lead);
        print_globs(&layout->cuts.items[i], 1, out);
        str_add(out, tail);
        between = *tail ? "" : "; ";
    }
    if (layout->zero > 0) {
        str_addf(out, "%s%szero %lld%s", between, lead, (long long)layout->zero, tail);
        between = *tail ? "" : "; ";
    }
    if (layout->sequence != MESH_SEQUENCE_AUTO) {
        str_addf(out, "%s%ssequence \"%s\"%s", between, lead, mesh_sequence_text(layout->sequence),
                 tail);
        between = *tail ? "" : "; ";
    }
    if (layout->schedule) {
        str_addf(out, "%s%sschedule ", between, lead);
        print_text(layout->schedule, out);
        str_add(out, tail);
        between = *tail ? "" : "; ";
    }
    if (layout->microbatches > 0) {
        str_addf(out, "%s%smicrobatches %lld%s", between, lead, (long long)layout->microbatches,
                 tail);
        between = *tail ? "" : "; ";
    }
    if (layout->exchange) {
        str_addf(out, "%s%sexchange %s%s", between, lead, layout->exchange, tail);
    }
}

void mesh_layout_print(const MeshLayout *layout, bool as_block, Str *out) {
    str_add(out, as_block ? "mesh " : "");
    for (int32_t i = 0; i < layout->n_axes; i++) {
        const MeshAxis *axis = &layout->axes[i];
        str_addf(out, "%s%s=", i > 0 ? ", " : "", axis->name);
        if (axis->size > 0) {
            str_addf(out, "%lld", (long long)axis->size);
        } else {
            str_add_char(out, '*');
        }
    }
    if (mesh_layout_has_lines(layout)) {
        str_add(out, as_block ? " {\n" : " { ");
        print_lines(layout, as_block ? "    " : "", as_block ? "\n" : "", out);
        str_add(out, as_block ? "}" : " }");
    }
    str_add(out, as_block ? "\n" : "");
}

/* -- reading */

typedef struct Reader {
    Context *context;
    const char *at;
    const char *problem; /* NULL: none yet */
} Reader;

static bool wrong(Reader *r, const char *problem) {
    r->problem = r->problem ? r->problem : problem;
    return false;
}

static void skip(Reader *r) {
    r->at += strspn(r->at, " \t\n");
}

/* "expected X, found 'rest of the text'" */
static bool expected(Reader *r, const char *what) {
    skip(r);
    int length = (int)strcspn(r->at, " \t\n,;(){}=\"");
    length = length == 0 && *r->at ? 1 : length > 40 ? 40 : length;
    return wrong(r, *r->at ? arena_format(&r->context->arena, "expected %s, found '%.*s'", what,
                                          length, r->at)
                           : arena_format(&r->context->arena, "expected %s, found the end", what));
}

/* Steps over the sign if it is next; stays in front of blanks, which may end a line, if not. */
static bool take(Reader *r, char sign) {
    const char *next = r->at + strspn(r->at, " \t\n");
    if (*next != sign) {
        return false;
    }
    r->at = next + 1;
    return true;
}

static bool need(Reader *r, char sign) {
    return take(r, sign) || expected(r, arena_format(&r->context->arena, "'%c'", sign));
}

/* A word, interned; NULL after a problem. */
static const char *word(Reader *r, const char *what) {
    skip(r);
    size_t length = 0;
    while (ascii_is_word(r->at[length])) {
        length++;
    }
    if (length == 0 || length > 64) {
        expected(r, what);
        return NULL;
    }
    const char *text = context_internf(r->context, "%.*s", (int)length, r->at);
    r->at += length;
    return text;
}

static bool at_word(Reader *r, const char *text) {
    skip(r);
    size_t length = strlen(text);
    return strncmp(r->at, text, length) == 0 && !ascii_is_word(r->at[length]);
}

/* A whole number of at most nine digits, which is more than any of them may be. */
static bool number(Reader *r, int64_t *out) {
    skip(r);
    bool negative = *r->at == '-';
    size_t length = strspn(r->at + negative, "0123456789");
    if (length == 0 || length > 9) {
        return expected(r, "a number");
    }
    *out = 0;
    for (size_t i = 0; i < length; i++) {
        *out = *out * 10 + (r->at[negative + i] - '0');
    }
    *out = negative ? -*out : *out;
    r->at += negative + length;
    return true;
}

static const char *string(Reader *r, const char *what) {
    if (!take(r, '"')) {
        expected(r, what);
        return NULL;
    }
    char *text = arena_alloc(&r->context->arena, strlen(r->at) + 1);
    size_t length = 0;
    for (; *r->at && *r->at != '"'; r->at++) {
        bool escaped = *r->at == '\\' && r->at[1];
        r->at += escaped;
        text[length++] = !escaped ? *r->at : *r->at == 'n' ? '\n' : *r->at == 't' ? '\t' : *r->at;
    }
    text[length] = '\0';
    return need(r, '"') ? context_intern(r->context, text) : NULL;
}

static bool axis_problem(Reader *r, MeshProblem problem, const char *axis) {
    Arena *arena = &r->context->arena;
    const char *near = mesh_axis_near(axis);
    switch (problem) {
    case MESH_PROBLEM_NONE:
        return true;
    case MESH_PROBLEM_UNKNOWN:
        return wrong(r, near ? arena_format(arena, "there is no mesh axis '%s'; did you mean '%s'?",
                                            axis, near)
                             : arena_format(arena, "there is no mesh axis '%s'", axis));
    case MESH_PROBLEM_REFUSED:
        return wrong(r, arena_format(arena, "a mesh axis '%s' is not supported", axis));
    case MESH_PROBLEM_TWICE:
        return wrong(
            r, arena_format(arena, "the mesh axis '%s' is named twice", mesh_axis_name(axis)));
    case MESH_PROBLEM_SIZE:
        return wrong(r, arena_format(arena,
                                     "the size of '%s' must be at least 1, or `*`, and all "
                                     "together at most 1048576",
                                     axis));
    case MESH_PROBLEM_TWO_ANY:
        return wrong(r, "only one axis of a mesh may have any number of devices");
    case MESH_PROBLEM_LONG:
        return wrong(r, "a mesh has at most 8 axes");
    }
    return false;
}

static bool mesh_axis(Reader *r, MeshLayout *layout) {
    const char *axis = word(r, "an axis of the mesh");
    int64_t size = 0;
    if (!axis || !need(r, '=') || !(take(r, '*') || number(r, &size))) {
        return false;
    }
    size = r->at[-1] == '*' ? -1 : size == 0 ? -2 : size;
    return axis_problem(r, mesh_layout_add_axis(layout, axis, size), axis);
}

static bool placed_word(Reader *r, Placed *placed) {
    const char *axis = word(r, "an axis of the mesh or _");
    return axis && (strcmp(axis, "_") == 0 || axis_problem(r, placed_add(placed, axis), axis));
}

/* "data, _, (data, model)" up to what is no comma */
static bool placed(Reader *r, Placed *out) {
    *out = (Placed){0};
    do {
        skip(r);
        if (*r->at == ')' && out->rank > 0) { /* `(model,)` */
            break;
        }
        if (out->rank == TYPE_MAX_RANK) {
            return wrong(r, "a tensor has at most 16 axes");
        }
        out->rank++;
        if (!take(r, '(')) {
            if (!placed_word(r, out)) {
                return false;
            }
            continue;
        }
        do {
            if (!placed_word(r, out)) {
                return false;
            }
        } while (take(r, ','));
        if (!need(r, ')')) {
            return false;
        }
    } while (take(r, ','));
    return true;
}

static bool globs(Reader *r, MeshRule *rule) {
    VEC(const char *) found = {0};
    do {
        const char *glob = string(r, "a path in quotes");
        if (!glob) {
            return false;
        }
        if (found.count == MESH_LAYOUT_MAX_RULES) {
            return wrong(r, "a line has at most 1024 paths");
        }
        VEC_PUSH(&r->context->arena, &found, glob);
    } while (take(r, ','));
    rule->globs = found.items;
    rule->n_globs = (int32_t)found.count;
    return true;
}

static bool shard_line(Reader *r, MeshLayout *layout) {
    MeshRule rule = {.n_globs = 0};
    if (!need(r, '(') || !placed(r, &rule.placed) || !need(r, ')')) {
        return false;
    }
    if (!at_word(r, "for")) {
        return expected(r, "'for'");
    }
    r->at += strlen("for");
    if (!globs(r, &rule)) {
        return false;
    }
    VEC_PUSH(&r->context->arena, &layout->rules, rule);
    return true;
}

static bool cut_line(Reader *r, MeshLayout *layout) {
    MeshRule paths = {.n_globs = 0};
    if (!globs(r, &paths)) {
        return false;
    }
    for (int32_t i = 0; i < paths.n_globs; i++) {
        VEC_PUSH(&r->context->arena, &layout->cuts, paths.globs[i]);
    }
    return true;
}

/* A number between these, both included. */
static bool number_line(Reader *r, const char *what, int64_t low, int64_t high, int64_t *out) {
    return number(r, out) &&
           ((*out >= low && *out <= high) ||
            wrong(r, arena_format(&r->context->arena, "%s is %lld to %lld, not %lld", what,
                                  (long long)low, (long long)high, (long long)*out)));
}

static bool exchange_line(Reader *r, MeshLayout *layout) {
    const char *type = word(r, "a type of floats");
    return type && (mesh_exchange_read(type, &layout->exchange) ||
                    wrong(r, arena_format(&r->context->arena,
                                          "`exchange` is " MESH_EXCHANGES ", not '%s'", type)));
}

static bool line(Reader *r, MeshLayout *layout) {
    const char *first = word(r, "shard, cut, zero, sequence, schedule, microbatches or exchange");
    if (!first) {
        return false;
    }
    if (layout->rules.count + layout->cuts.count >= MESH_LAYOUT_MAX_RULES) {
        return wrong(r, "a layout has at most 1024 lines");
    }
    if (strcmp(first, "shard") == 0) {
        return shard_line(r, layout);
    }
    if (strcmp(first, "cut") == 0) {
        return cut_line(r, layout);
    }
    if (strcmp(first, "zero") == 0) {
        return number_line(r, "`zero`", 0, 3, &layout->zero);
    }
    if (strcmp(first, "microbatches") == 0) {
        return number_line(r, "`microbatches`", 1, MESH_MAX_RANKS, &layout->microbatches);
    }
    if (strcmp(first, "sequence") == 0) {
        const char *text = string(r, "\"auto\", \"on\" or \"off\"");
        return text && (mesh_sequence_read(text, &layout->sequence) ||
                        wrong(r, arena_format(&r->context->arena,
                                              "`sequence` is \"auto\", \"on\" or \"off\", not "
                                              "\"%.40s\"",
                                              text)));
    }
    if (strcmp(first, "schedule") == 0) {
        layout->schedule = string(r, "a schedule in quotes");
        return layout->schedule != NULL;
    }
    if (strcmp(first, "exchange") == 0) {
        return exchange_line(r, layout);
    }
    return wrong(r, arena_format(&r->context->arena, "there is no '%s' in a mesh block", first));
}

static bool block(Reader *r, MeshLayout *layout) {
    for (;;) {
        while (take(r, ';')) {
        }
        if (take(r, '}')) {
            return true;
        }
        if (!line(r, layout)) {
            return false;
        }
        size_t blanks = strspn(r->at, " \t");
        if (r->at[blanks] != '\n' && r->at[blanks] != ';' && r->at[blanks] != '}') {
            return expected(r, "';' or '}'");
        }
    }
}

MeshLayout *mesh_layout_read(Context *context, const char *text, const char **out_problem) {
    Reader reader = {.context = context, .at = text};
    MeshLayout *layout = ARENA_NEW(&context->arena, MeshLayout);
    bool good = true;
    if (at_word(&reader, "mesh")) {
        reader.at += strlen("mesh");
    }
    do {
        good = mesh_axis(&reader, layout);
    } while (good && take(&reader, ','));
    good = good && (!take(&reader, '{') || block(&reader, layout));
    skip(&reader);
    good = good && (!*reader.at || expected(&reader, "',' or '{'"));
    *out_problem = reader.problem;
    return good ? layout : NULL;
}

bool placed_read(Context *context, const char *text, Placed *out, const char **out_problem) {
    Reader reader = {.context = context, .at = text};
    bool good = placed(&reader, out);
    skip(&reader);
    good = good && (!*reader.at || expected(&reader, "','"));
    *out_problem = reader.problem;
    return good;
}

/* -- in a module */

void module_set_mesh_layout(Module *module, MeshLayout *layout) {
    module->mesh_layout = layout;
    Str text;
    str_init(&text, NULL);
    if (layout) {
        mesh_layout_print(layout, false, &text);
        map_set(&module->settings, "mesh",
                (void *)(uintptr_t)context_intern(module->context, str_text(&text)));
    }
    str_finish(&text);
}
