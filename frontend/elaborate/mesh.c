/* The mesh line of a program and its block, checked against the paths of parameters and calls. It
 * becomes the module's mesh layout (ir/mesh_layout.h). */
#include "frontend/elaborate/sharding.h"

#include <string.h>

/* -- the axes */

static const char *axis_of_any(const MeshLayout *layout) {
    for (int32_t i = 0; i < layout->n_axes; i++) {
        if (layout->axes[i].size == 0) {
            return layout->axes[i].name;
        }
    }
    return "";
}

static void read_axis(Elaborator *el, const AstNamedExpr *axis, MeshLayout *layout) {
    int64_t size = -1;
    Place place = axis->value ? axis->value->place : axis->name.place;
    if (axis->value) {
        Val value = elaborate_constant_expr(el, axis->value);
        if (!need_int(el, value, "the size of a mesh axis", place, &size)) {
            return;
        }
        size = size == 0
                   ? -2
                   : size; /* 0 stands for any number in what is kept, -1 in what is written */
    }
    MeshProblem problem = mesh_layout_add_axis(layout, axis->name.text, size);
    if (problem == MESH_PROBLEM_SIZE) {
        Diag *diag = EL_REPORT(el, MESH_SIZE, place, axis->name.text,
                               arena_format(el->arena, "%lld", (long long)(size == -2 ? 0 : size)));
        elaborate_help(el, diag, "at least 1, all together at most 1048576; `*`: any number");
    } else if (problem == MESH_PROBLEM_TWO_ANY) {
        Diag *diag = EL_REPORT(el, MESH_TWO_ANY, place, axis_of_any(layout), axis->name.text);
        elaborate_help(el, diag, "give one of them a number");
    } else {
        sharding_axis(el, problem, axis->name.text, axis->name.place);
    }
}

/* -- lines of the block */

static bool read_globs(Elaborator *el, const AstExprs *globs, int32_t rule, const char ***out) {
    *out = ARENA_ARRAY(el->arena, const char *, globs->count + 1);
    for (int32_t i = 0; i < globs->count; i++) {
        const AstExpr *expr = globs->items[i];
        Val value = elaborate_constant_expr(el, expr);
        if (value.kind != VAL_STRING) {
            if (!val_is_error(value)) {
                Diag *diag = EL_REPORT(el, MESH_FORM, expr->place, "a path is a text in quotes");
                elaborate_help(el, diag, "\"h.*.mlp.c_fc\"");
            }
            return false;
        }
        (*out)[i] = context_intern(el->context, value.as.text);
        PlacedGlob glob = {.glob = (*out)[i], .place = expr->place, .rule = rule};
        VEC_PUSH(el->arena, &el->placed_globs, glob);
    }
    return true;
}

static void line_form(Elaborator *el, const AstSetting *line, const char *form) {
    Diag *diag = EL_REPORT(el, MESH_FORM, line->place,
                           arena_format(el->arena, "`%s` has another form", line->word.text));
    elaborate_help(el, diag, "%s", form);
}

static void read_shard(Elaborator *el, const AstSetting *line, MeshLayout *layout) {
    MeshRule rule = {.n_globs = line->for_globs.count};
    if (line->for_globs.count == 0 || line->values.count != 1) {
        line_form(el, line, "shard (_, model) for \"*.c_fc.weight\"");
    } else if (sharding_read(el, line->values.items[0], layout, &rule.placed) &&
               read_globs(el, &line->for_globs, (int32_t)layout->rules.count, &rule.globs)) {
        VEC_PUSH(el->arena, &layout->rules, rule);
    }
}

static void read_cut(Elaborator *el, const AstSetting *line, MeshLayout *layout) {
    const char **globs = NULL;
    if (line->for_globs.count > 0) {
        line_form(el, line, "cut \"h.6\"");
    } else if (!mesh_layout_has(layout, "pipe")) {
        Diag *diag = EL_REPORT(el, MESH_AXIS_ABSENT, line->place, "pipe");
        elaborate_help(el, diag, "`cut` says where stages of a pipe begin: mesh pipe=2");
    } else if (read_globs(el, &line->values, -1, &globs)) {
        for (int32_t i = 0; i < line->values.count; i++) {
            VEC_PUSH(el->arena, &layout->cuts, globs[i]);
        }
    }
}

static void read_number(Elaborator *el, const AstSetting *line, int64_t low, int64_t high,
                        int64_t *out) {
    const char *what = arena_format(el->arena, "`%s`", line->word.text);
    int64_t number = 0;
    if (line->for_globs.count > 0 || line->values.count != 1) {
        line_form(el, line, arena_format(el->arena, "%s %lld", line->word.text, (long long)high));
        return;
    }
    const AstExpr *expr = line->values.items[0];
    if (!need_int(el, elaborate_constant_expr(el, expr), what, expr->place, &number)) {
        return;
    }
    if (number < low || number > high) {
        EL_REPORT(el, VALUE_RANGE, expr->place, what,
                  arena_format(el->arena, "%lld to %lld", (long long)low, (long long)high),
                  arena_format(el->arena, "%lld", (long long)number));
        return;
    }
    *out = number;
}

static void read_schedule(Elaborator *el, const AstSetting *line, MeshLayout *layout) {
    Val value = line->for_globs.count == 0 && line->values.count == 1
                    ? elaborate_constant_expr(el, line->values.items[0])
                    : (Val){.kind = VAL_NONE};
    if (value.kind == VAL_STRING) {
        layout->schedule = context_intern(el->context, value.as.text);
    } else if (!val_is_error(value)) {
        line_form(el, line, "schedule \"1f1b\"");
    }
}

static void read_sequence(Elaborator *el, const AstSetting *line, MeshLayout *layout) {
    Val value = line->for_globs.count == 0 && line->values.count == 1
                    ? elaborate_constant_expr(el, line->values.items[0])
                    : (Val){.kind = VAL_NONE};
    bool read = value.kind == VAL_STRING && mesh_sequence_read(value.as.text, &layout->sequence);
    if (!read && !val_is_error(value)) {
        line_form(el, line, "sequence \"on\", \"off\" or \"auto\"");
    }
}

static void read_exchange(Elaborator *el, const AstSetting *line, MeshLayout *layout) {
    const AstExpr *expr =
        line->for_globs.count == 0 && line->values.count == 1 ? line->values.items[0] : NULL;
    if (!expr || expr->kind != AST_NAME || !mesh_exchange_read(expr->as.name, &layout->exchange)) {
        Diag *diag = EL_REPORT(el, MESH_FORM, line->place,
                               "`exchange` takes the type in which gradients are sent");
        elaborate_help(el, diag, MESH_EXCHANGES);
    }
}

static void read_line(Elaborator *el, const AstSetting *line, MeshLayout *layout) {
    const char *word = line->word.text;
    if (strcmp(word, "shard") == 0) {
        read_shard(el, line, layout);
    } else if (strcmp(word, "cut") == 0) {
        read_cut(el, line, layout);
    } else if (strcmp(word, "zero") == 0) {
        read_number(el, line, 0, 3, &layout->zero);
    } else if (strcmp(word, "microbatches") == 0) {
        read_number(el, line, 1, MESH_MAX_RANKS, &layout->microbatches);
    } else if (strcmp(word, "sequence") == 0) {
        read_sequence(el, line, layout);
    } else if (strcmp(word, "schedule") == 0) {
        read_schedule(el, line, layout);
    } else if (strcmp(word, "exchange") == 0) {
        read_exchange(el, line, layout);
    } else {
        Diag *diag = EL_REPORT(el, MESH_FORM, line->word.place,
                               arena_format(el->arena, "there is no '%s' in a mesh block", word));
        elaborate_help(el, diag,
                       "there are: shard cut zero sequence schedule microbatches exchange");
    }
}

void elaborate_mesh(Elaborator *el) {
    if (el->mesh == NULL) {
        return;
    }
    MeshLayout *layout = ARENA_NEW(el->arena, MeshLayout);
    int32_t errors = el->context->diags.n_errors;
    for (int32_t i = 0; i < el->mesh->as.mesh.axes.count; i++) {
        read_axis(el, &el->mesh->as.mesh.axes.items[i], layout);
    }
    const AstSettings *lines = &el->mesh->as.mesh.lines;
    if (lines->count > MESH_LAYOUT_MAX_RULES) {
        EL_REPORT(el, MESH_FORM, lines->items[MESH_LAYOUT_MAX_RULES].place,
                  "a mesh block has at most 1024 lines");
        return;
    }
    for (int32_t i = 0; i < lines->count && el->context->diags.n_errors == errors; i++) {
        read_line(el, &lines->items[i], layout);
    }
    if (layout->rules.count + layout->cuts.count > 0) {
        el->call_paths = ARENA_NEW(el->arena, Map);
        map_init(el->call_paths, el->arena);
    }
    el->layout = layout;
}

/* -- whether all paths were met */

static void unmatched(Elaborator *el, const PlacedGlob *glob, const Map *paths) {
    Diag *diag = EL_REPORT(el, MESH_PATH, glob->place,
                           glob->rule < 0 ? "call" : "parameter and no call", glob->glob);
    const char *near = map_suggest(paths, glob->glob);
    /* A glob is near what differs from it by no more than what it leaves open. */
    for (size_t i = 0; i < paths->count && !near; i++) {
        const char *path = paths->entries[i].key;
        const char *last = strrchr(glob->glob, '.'), *its = strrchr(path, '.');
        if (last && its && edit_distance(last, its, 2) <= 2 && !strchr(last, '*')) {
            near = path;
        }
    }
    if (near) {
        elaborate_help(el, diag, "did you mean '%s'?", near);
    } else if (paths->count > 0) {
        elaborate_help(el, diag, "there are, among others: %s", paths->entries[0].key);
    }
}

void mesh_check_paths(Elaborator *el) {
    if (el->call_paths == NULL) {
        return;
    }
    Map all;
    map_init(&all, el->arena);
    for (size_t i = 0; i < el->persists.count; i++) {
        const Persist *persist = el->persists.entries[i].value;
        PlacedGlob *glob = NULL;
        int32_t rule = sharding_rule(el, persist->path, &glob);
        map_set(&all, persist->path, el);
        if (rule < 0) {
            continue;
        }
        const Placed *placed = &el->layout->rules.items[rule].placed;
        glob->found = true;
        if (persist->type.rank != placed->rank) {
            Diag *diag = EL_REPORT(el, MESH_RANK, glob->place,
                                   arena_format(el->arena, "'%s'", persist->path),
                                   (int)persist->type.rank, (int)placed->rank);
            elaborate_note(el, diag, persist->place, "declared here");
        }
    }
    for (size_t i = 0; i < el->call_paths->count; i++) {
        map_set(&all, el->call_paths->entries[i].key, el);
    }
    for (size_t i = 0; i < el->placed_globs.count; i++) {
        PlacedGlob *glob = &el->placed_globs.items[i];
        const Map *paths = glob->rule < 0 ? el->call_paths : &all;
        for (size_t k = 0; k < paths->count && !glob->found; k++) {
            glob->found = path_matches(glob->glob, paths->entries[k].key);
        }
        if (!glob->found) {
            unmatched(el, glob, paths);
        }
    }
}
