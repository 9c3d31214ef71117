/* Layouts: the words of axes, what a layout is made of, and where a module keeps it. Their
 * text is mesh_layout_text.c's. */
#include "ir/mesh_layout.h"

#include <string.h>

/* -- the words of axes */

typedef enum AxisFate { BUILT, PLANNED, REFUSED } AxisFate;

typedef struct AxisRow {
    const char *name, *others;
    AxisFate fate;
    const char *doc;
} AxisRow;

static const AxisRow rows[] = {
#define MESH_AXIS(name, others, fate, doc) {#name, others, fate, doc},
#include "ir/mesh_axis.def"
#undef MESH_AXIS
};

enum { N_ROWS = sizeof rows / sizeof rows[0] };

/* The words of `others`, one a call; NULL after the last. */
static const char *next_other(const char **at, size_t *out_length) {
    *at += strspn(*at, " ");
    *out_length = strcspn(*at, " ");
    const char *word = *at;
    *at += *out_length;
    return *out_length ? word : NULL;
}

static const AxisRow *row_of(const char *word) {
    for (int i = 0; i < N_ROWS; i++) {
        if (strcmp(rows[i].name, word) == 0) {
            return &rows[i];
        }
        size_t length = 0;
        const char *at = rows[i].others, *other;
        while ((other = next_other(&at, &length)) != NULL) {
            if (strlen(word) == length && memcmp(other, word, length) == 0) {
                return &rows[i];
            }
        }
    }
    return NULL;
}

const char *mesh_axis_name(const char *word) {
    const AxisRow *row = row_of(word);
    return row ? row->name : NULL;
}

const char *mesh_axis_near(const char *word) {
    const char *near = NULL;
    int best = 3;
    for (int i = 0; i < N_ROWS; i++) {
        int distance = edit_distance(rows[i].name, word, 2);
        if (distance < best && rows[i].fate != REFUSED) {
            best = distance;
            near = rows[i].name;
        }
    }
    return near;
}

/* " (tensor, tp)", or nothing. */
static void print_others(const AxisRow *row, Str *out) {
    const char *at = row->others, *other, *lead = " (";
    size_t length = 0;
    while ((other = next_other(&at, &length)) != NULL) {
        str_add(out, lead);
        str_add_bytes(out, other, length);
        lead = ", ";
    }
    str_add(out, row->others[0] ? ")" : "");
}

void mesh_axis_print_words(Str *out) {
    for (int i = 0; i < N_ROWS; i++) {
        if (rows[i].fate != REFUSED) {
            str_addf(out, "%s%s", i > 0 ? ", " : "", rows[i].name);
            print_others(&rows[i], out);
        }
    }
}

void mesh_axis_explain(Str *out) {
    static const char *const fates[] = {"", "; not built yet", "; not supported"};
    for (int i = 0; i < N_ROWS; i++) {
        str_add(out, rows[i].name);
        print_others(&rows[i], out);
        str_addf(out, ": %s%s\n", rows[i].doc, fates[rows[i].fate]);
    }
}

/* -- making */

/* The axis that a word means, or why it means none. */
static MeshProblem axis_of(const char *word, const AxisRow **out) {
    *out = row_of(word);
    return !*out                     ? MESH_PROBLEM_UNKNOWN
           : (*out)->fate == REFUSED ? MESH_PROBLEM_REFUSED
                                     : MESH_PROBLEM_NONE;
}

MeshProblem mesh_layout_add_axis(MeshLayout *layout, const char *word, int64_t size) {
    const AxisRow *row = NULL;
    MeshProblem problem = axis_of(word, &row);
    if (problem) {
        return problem;
    }
    if (mesh_layout_has(layout, row->name)) {
        return MESH_PROBLEM_TWICE;
    }
    size = size == -1 ? 0 : size;
    int64_t ranks = mesh_layout_least(layout);
    if (size < 0 || size > MESH_MAX_RANKS || (size > 0 && ranks > MESH_MAX_RANKS / size)) {
        return MESH_PROBLEM_SIZE;
    }
    if (size == 0 && layout->n_axes > 0 && mesh_layout_ranks(layout) == 0) {
        return MESH_PROBLEM_TWO_ANY;
    }
    if (layout->n_axes == MESH_MAX_AXES) {
        return MESH_PROBLEM_LONG;
    }
    layout->axes[layout->n_axes++] = (MeshAxis){.name = row->name, .size = size};
    return MESH_PROBLEM_NONE;
}

MeshProblem placed_add(Placed *placed, const char *word) {
    const AxisRow *row = NULL;
    MeshProblem problem = axis_of(word, &row);
    if (problem) {
        return problem;
    }
    for (int32_t i = 0; i < placed->rank; i++) {
        for (int32_t k = 0; k < placed->axes[i].count; k++) {
            if (strcmp(placed->axes[i].names[k], row->name) == 0) {
                return MESH_PROBLEM_TWICE;
            }
        }
    }
    PlacedAxis *axis = &placed->axes[placed->rank - 1];
    if (axis->count == MESH_MAX_AXES) {
        return MESH_PROBLEM_LONG;
    }
    axis->names[axis->count++] = row->name;
    return MESH_PROBLEM_NONE;
}

static const char *const sequences[] = {"auto", "on", "off"};

bool mesh_sequence_read(const char *text, MeshSequence *out) {
    for (int i = 0; i < (int)(sizeof sequences / sizeof sequences[0]); i++) {
        if (strcmp(text, sequences[i]) == 0) {
            *out = (MeshSequence)i;
            return true;
        }
    }
    return false;
}

const char *mesh_sequence_text(MeshSequence sequence) {
    return sequences[sequence];
}

/* -- reading */

bool mesh_layout_has(const MeshLayout *layout, const char *name) {
    for (int32_t i = 0; i < layout->n_axes; i++) {
        if (strcmp(layout->axes[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

bool mesh_layout_has_lines(const MeshLayout *layout) {
    return layout->rules.count + layout->cuts.count > 0 || layout->zero > 0 ||
           layout->sequence != MESH_SEQUENCE_AUTO || layout->schedule || layout->microbatches > 0 ||
           layout->exchange;
}

int64_t mesh_layout_least(const MeshLayout *layout) {
    int64_t ranks = 1;
    for (int32_t i = 0; i < layout->n_axes; i++) {
        ranks *= layout->axes[i].size > 0 ? layout->axes[i].size : 1;
    }
    return ranks;
}

int64_t mesh_layout_ranks(const MeshLayout *layout) {
    int64_t ranks = 1;
    for (int32_t i = 0; i < layout->n_axes; i++) {
        ranks *= layout->axes[i].size;
    }
    return ranks;
}

bool path_matches(const char *glob, const char *path) {
    const char *star = NULL, *back = NULL;
    while (*path) {
        if (*glob == '*') {
            star = glob++;
            back = path;
        } else if (*glob == '?' || *glob == *path) {
            glob++;
            path++;
        } else if (star) {
            glob = star + 1;
            path = ++back;
        } else {
            return false;
        }
    }
    while (*glob == '*') {
        glob++;
    }
    return *glob == '\0';
}

const MeshRule *mesh_layout_rule(const MeshLayout *layout, const char *path) {
    for (size_t i = 0; i < layout->rules.count; i++) {
        const MeshRule *rule = &layout->rules.items[i];
        for (int32_t k = 0; k < rule->n_globs; k++) {
            if (path_matches(rule->globs[k], path)) {
                return rule;
            }
        }
    }
    return NULL;
}

bool placed_is_whole(const Placed *placed) {
    bool whole = true;
    for (int32_t i = 0; i < placed->rank; i++) {
        whole = whole && placed->axes[i].count == 0;
    }
    return whole;
}

const char *mesh_layout_unbuilt(const MeshLayout *layout, Arena *arena) {
    for (int32_t i = 0; i < layout->n_axes; i++) {
        const MeshAxis *axis = &layout->axes[i];
        if (axis->size != 1 && row_of(axis->name)->fate != BUILT) {
            return axis->size
                       ? arena_format(arena, "the axis %s=%lld", axis->name, (long long)axis->size)
                       : arena_format(arena, "the axis %s=*", axis->name);
        }
    }
    if (layout->schedule) {
        return arena_format(arena, "the schedule \"%s\"", layout->schedule);
    }
    return layout->microbatches > 1 ? "a pipe in micro-batches" : NULL;
}
