/* From a program's text to its module: the files read, the models elaborated, the bodies that no
 * call reached checked. */
#include "frontend/frontend.h"
#include "frontend/check/check.h"
#include "frontend/parse/parse.h"
#include "lang/std.h"

static Elaborator *elaborate_new(Context *context, const FrontendOptions *options) {
    Elaborator *el = ARENA_NEW(&context->arena, Elaborator);
    el->context = context;
    el->arena = &context->arena;
    el->options = options;
    context->default_float = (int32_t)options->default_float;
    map_init(&el->sources, el->arena);
    map_init(&el->persists, el->arena);
    map_init(&el->slots, el->arena);
    map_init(&el->input_used, el->arena);
    el->library = env_new(el, NULL);
    el->user = env_new(el, el->library);
    el->root_place =
        (Place){.source = options->source, .line = 1, .column = 1, .end_line = 1, .end_column = 2};
    for (size_t i = 0; i < STD_FILE_COUNT; i++) {
        const StdFile *std = &STD_FILES[i];
        const Source *source = context_source(context, std->name, std->text, std->length, true);
        elaborate_file(el, el->library, frontend_parse(context, source), false);
    }
    return el;
}

/* Ops of expressions outside any Func (which are errors) go to a Func that is thrown away. */
static void scratch_builder(Elaborator *el) {
    Func *scratch = func_create(el->module, "scratch", PURPOSE_OTHER);
    func_remove(scratch);
    el->b = builder_at_end(scratch, scratch->body);
    el->b.soft = true;
}

static Elaborator *elaborate_program(Context *context, const FrontendOptions *options) {
    Elaborator *el = elaborate_new(context, options);
    map_set(&el->sources, options->source->name, el->user);
    const AstFile *file = frontend_parse(context, options->source);
    if (file->has_errors) {
        return el;
    }
    elaborate_file(el, el->user, file, true);
    el->module = module_create(context, el->model ? el->model->name.text : "");
    scratch_builder(el);
    elaborate_globals(el);
    elaborate_mesh(el);
    bool sound = context->diags.n_errors == 0; /* else names may be missing */
    if (sound && el->model) {
        elaborate_model_funcs(el);
    }
    elaborate_diag_close(el);
    if (sound && !el->limit_hit) {
        el->fs = NULL;
        check_bodies(el, false);
        check_shapes(el, false);
    }
    return el;
}

Module *frontend_compile(Context *context, const FrontendOptions *options) {
    Elaborator *el = elaborate_program(context, options);
    if (context->diags.n_errors == 0 && el->model == NULL) {
        Diag *diag = EL_REPORT(el, NO_MODEL, el->root_place, "");
        const AstDecl *other = el->imported_model;
        if (other) {
            const char *file = other->place.source->name;
            elaborate_note(el, diag, other->name.place, "an imported file has the model '%s'",
                           other->name.text);
            elaborate_help(
                el, diag,
                "an import brings functions, consts and dims alone: compile '%s' itself, or "
                "declare a model here that calls its functions",
                file);
        } else {
            elaborate_help(el, diag, "declare one: model name(x: f32[B, 10]) { … }");
        }
        elaborate_diag_close(el);
    }
    return context->diags.n_errors > 0 ? NULL : el->module;
}

bool frontend_check_all(Context *context, const FrontendOptions *options) {
    Elaborator *el = elaborate_program(context, options);
    el->has_shares = true; /* the library's `as _` */
    check_bodies(el, true);
    check_shapes(el, true);
    return context->diags.n_errors == 0;
}

bool frontend_check(Context *context, const FrontendOptions *options) {
    elaborate_program(context, options);
    return context->diags.n_errors == 0;
}
