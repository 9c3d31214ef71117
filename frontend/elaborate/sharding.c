/* Shardings as programs write them, `(data, _, (model, pipe))`: read from the tree, and put on
 * values: on what a call gives whose path a line of the mesh block names, and on what stands in a
 * pipe, `x |> shard(data, _)`. Such values get a shard_hint op; parameters are placed by path, in
 * the module's mesh layout. */
#include "frontend/elaborate/sharding.h"

#include <string.h>

/* "replica, data (dp), model (tensor, tp), pipe (pp)" */
static const char *axis_words(Elaborator *el) {
    Str words;
    str_init(&words, NULL);
    mesh_axis_print_words(&words);
    const char *text = arena_strdup(el->arena, str_text(&words));
    str_finish(&words);
    return text;
}

bool sharding_axis(Elaborator *el, MeshProblem problem, const char *word, Place place) {
    const char *near = mesh_axis_near(word);
    Diag *diag = NULL;
    switch (problem) {
    case MESH_PROBLEM_NONE:
        return true;
    case MESH_PROBLEM_UNKNOWN:
        diag = EL_REPORT(el, MESH_AXIS, place, word);
        if (near) {
            elaborate_help(el, diag, "did you mean '%s'?", near);
        } else {
            elaborate_help(el, diag, "there are: %s", axis_words(el));
        }
        return false;
    case MESH_PROBLEM_REFUSED:
        diag = EL_REPORT(el, MESH_FORM, place,
                         arena_format(el->arena, "a mesh axis '%s' is not supported", word));
        elaborate_help(el, diag, "there are: %s", axis_words(el));
        return false;
    case MESH_PROBLEM_TWICE:
        EL_REPORT(el, MESH_AXIS_TWICE, place, mesh_axis_name(word));
        return false;
    case MESH_PROBLEM_SIZE:
        diag = EL_REPORT(el, MESH_SIZE, place, word, "that was given");
        elaborate_help(el, diag, "at least 1, all together at most 1048576; `*`: any number");
        return false;
    case MESH_PROBLEM_TWO_ANY:
    case MESH_PROBLEM_LONG:
        EL_REPORT(el, MESH_FORM, place, "only one axis may have any number of devices");
        return false;
    }
    return false;
}

/* -- shardings */

static const AstExpr *bare(const AstExpr *expr) {
    while (expr->kind == AST_PAREN) {
        expr = expr->as.inner;
    }
    return expr;
}

/* Lets a mesh axis cut the tensor's last axis. `mesh`: it must be one of these; NULL: any. */
static bool place_by(Elaborator *el, const char *word, Place place, const MeshLayout *mesh,
                     Placed *out) {
    if (strcmp(word, "_") == 0) {
        return true;
    }
    if (!sharding_axis(el, placed_add(out, word), word, place)) {
        return false;
    }
    const char *name = mesh_axis_name(word);
    if (mesh && !mesh_layout_has(mesh, name)) {
        Diag *diag = EL_REPORT(el, MESH_AXIS_ABSENT, place, name);
        elaborate_help(el, diag, "give it a size where the mesh is: mesh %s=2", name);
        return false;
    }
    return true;
}

static bool sharding_form(Elaborator *el, Place place) {
    Diag *diag =
        EL_REPORT(el, MESH_FORM, place, "a sharding names a mesh axis, or `_`, for each axis");
    elaborate_help(el, diag,
                   "shard (data, _, (model, pipe)): cut along the first axis, not along "
                   "the second, along the third by two axes of the mesh");
    return false;
}

/* One axis of the tensor: `_`, a mesh axis, or several in parentheses. */
static bool read_placed_axis(Elaborator *el, const AstExpr *expr, const MeshLayout *mesh,
                             Placed *out) {
    expr = bare(expr);
    if (out->rank == TYPE_MAX_RANK) {
        return sharding_form(el, expr->place);
    }
    out->rank++;
    if (expr->kind == AST_NAME) {
        return place_by(el, expr->as.name, expr->place, mesh, out);
    }
    if (expr->kind != AST_TUPLE || expr->as.list.count == 0) {
        return sharding_form(el, expr->place);
    }
    for (int32_t i = 0; i < expr->as.list.count; i++) {
        const AstExpr *one = bare(expr->as.list.items[i]);
        if (one->kind != AST_NAME) {
            return sharding_form(el, one->place);
        }
        if (!place_by(el, one->as.name, one->place, mesh, out)) {
            return false;
        }
    }
    return true;
}

bool sharding_read(Elaborator *el, const AstExpr *expr, const MeshLayout *mesh, Placed *out) {
    *out = (Placed){.rank = 0};
    if (expr->kind == AST_PAREN) {
        return read_placed_axis(el, expr, mesh, out);
    }
    if (expr->kind != AST_TUPLE || expr->as.list.count == 0) {
        return sharding_form(el, expr->place);
    }
    for (int32_t i = 0; i < expr->as.list.count; i++) {
        if (!read_placed_axis(el, expr->as.list.items[i], mesh, out)) {
            return false;
        }
    }
    return true;
}

/* -- what calls give */

int32_t sharding_rule(Elaborator *el, const char *path, PlacedGlob **out) {
    for (size_t i = 0; i < el->placed_globs.count; i++) {
        PlacedGlob *glob = &el->placed_globs.items[i];
        if (glob->rule >= 0 && path_matches(glob->glob, path)) {
            *out = glob;
            return glob->rule;
        }
    }
    return -1;
}

static Value *hinted(Elaborator *el, Value *value, const Placed *placed, Place place) {
    Str text;
    str_init(&text, NULL);
    placed_print(placed, &text);
    const char *axes = context_intern(el->context, str_text(&text));
    str_finish(&text);
    return elaborate_made(el, b_shard_hint(&el->b, value, axes), place);
}

Val mesh_of_call(Elaborator *el, const Frame *frame, Val result) {
    if (el->call_paths == NULL || el->trial || !frame->path || frame->splice) {
        return result;
    }
    map_set(el->call_paths, frame->path, el);
    PlacedGlob *glob = NULL;
    int32_t rule = sharding_rule(el, frame->path, &glob);
    if (rule < 0 || val_is_error(result)) {
        return result;
    }
    const Placed *placed = &el->layout->rules.items[rule].placed;
    const char *what = arena_format(el->arena, "what '%s' gives", frame->path);
    glob->found = true;
    if (result.kind != VAL_TENSOR) {
        Diag *diag =
            EL_REPORT(el, MESH_FORM, glob->place, arena_format(el->arena, "%s is no tensor", what));
        elaborate_note(el, diag, frame->call_place, "called here");
        elaborate_help(el, diag, "cut its parts where they are used: p |> shard(data, _)");
        return result;
    }
    int32_t rank = result.as.tensor->type.rank;
    if (rank != placed->rank) {
        Diag *diag = EL_REPORT(el, MESH_RANK, glob->place, what, (int)rank, (int)placed->rank);
        elaborate_note(el, diag, frame->call_place, "called here");
        return result;
    }
    Value *value = hinted(el, result.as.tensor, placed, frame->call_place);
    result.as.tensor = value ? value : result.as.tensor;
    return result;
}

/* -- shard(x, data, _, model) */

Val mesh_argument(Elaborator *el, const AstExpr *expr) {
    Placed placed = {.rank = 0};
    Str text;
    if (!read_placed_axis(el, expr, NULL, &placed)) {
        return val_error();
    }
    str_init(&text, NULL);
    placed_print(&placed, &text);
    Val value = {.kind = VAL_STRING,
                 .place = expr->place,
                 .as.text = context_intern(el->context, str_text(&text))};
    str_finish(&text);
    return value;
}
