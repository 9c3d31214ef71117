/* The top level: files and imports, consts, dims, -D, and the public entry. */
#include "frontend/check/check.h"
#include "frontend/parse/parse.h"
#include "ir/base/ascii.h"
#include "lang/std.h"

#include <string.h>

/* -- declarations */

static bool name_is_free(Elaborator *el, const Map *map, AstName name) {
    const Global *earlier = map_get(map, name.text);
    if (earlier == NULL) {
        return true;
    }
    Diag *diag = EL_REPORT(el, NAME_TWICE, name.place, name.text);
    elaborate_note(el, diag, earlier->place, "first declared here");
    return false;
}

static Global *add_global(Elaborator *el, Env *env, NameSpace space, GlobalKind kind, AstName name,
                          const AstDecl *decl) {
    Map *map = &env->own[space];
    if (!name_is_free(el, map, name)) {
        return NULL;
    }
    Global *global = ARENA_NEW(el->arena, Global);
    *global =
        (Global){.kind = kind, .name = name.text, .place = name.place, .decl = decl, .env = env};
    map_set(map, name.text, global);
    if (env->library) {
        VEC_PUSH(el->arena, &el->globals, global);
    }
    return global;
}

static void check_params(Elaborator *el, const AstDecl *decl) {
    const AstParams *params = &decl->as.fn.params;
    for (int32_t i = 0; i < params->count; i++) {
        for (int32_t k = 0; k < i; k++) {
            if (params->items[i].name.text == params->items[k].name.text) {
                Diag *diag = EL_REPORT(el, NAME_TWICE, params->items[i].name.place,
                                       params->items[i].name.text);
                elaborate_note(el, diag, params->items[k].name.place, "first declared here");
            }
        }
    }
    for (int32_t i = 0; i < decl->as.fn.attributes.count; i++) {
        AstName attribute = decl->as.fn.attributes.items[i];
        if (strcmp(attribute.text, "keep") != 0) {
            Diag *diag = EL_REPORT(el, ATTRIBUTE_UNKNOWN, attribute.place, attribute.text);
            elaborate_help(el, diag, "there is @keep");
        }
    }
}

static void import_file(Elaborator *el, Env *env, const AstDecl *decl) {
    const char *path = decl->as.import.path, *problem = "no importer is set";
    const Source *importer = decl->place.source, *source = NULL;
    if (el->options->import) {
        source =
            el->options->import(el->options->import_user, el->context, importer, path, &problem);
    }
    if (source == NULL) {
        EL_REPORT(el, NO_FILE, decl->as.import.path_place, path, problem);
        return;
    }
    if (++el->n_imports > ELABORATE_MAX_IMPORTS || boundary_stack_low(el->context->boundary)) {
        elaborate_limit(el, decl->place, "more than 256 imports");
        return;
    }
    Env *imported = map_get(&el->sources, source->name);
    if (imported == NULL) { /* else twice, or in a circle: its names are there */
        imported = env_new(el, el->library);
        map_set(&el->sources, source->name, imported);
        const AstFile *file = frontend_parse(el->context, source);
        if (!file->has_errors) {
            elaborate_file(el, imported, file, false);
        }
    }
    VEC_PUSH(el->arena, &env->imports, imported);
}

static void root_decl(Elaborator *el, const AstDecl *decl) {
    switch (decl->kind) {
    case AST_DECL_MODEL:
        check_params(el, decl);
        if (el->model) {
            Diag *diag = EL_REPORT(el, TWO_MODELS, decl->name.place, decl->name.text);
            elaborate_note(el, diag, el->model->name.place, "the model");
            elaborate_help(el, diag, "make it an `entry`, or a file of its own");
            return;
        }
        el->model = decl;
        return;
    case AST_DECL_ENTRY:
        check_params(el, decl);
        VEC_PUSH(el->arena, &el->entries, decl);
        return;
    case AST_DECL_TRAIN:
        if (el->train) {
            Diag *diag = EL_REPORT(el, NAME_TWICE, decl->place, "train");
            elaborate_note(el, diag, el->train->place, "first declared here");
            return;
        }
        el->train = decl;
        return;
    default:
        el->mesh = decl;
        return;
    }
}

bool elaborate_file(Elaborator *el, Env *env, const AstFile *file, bool is_root) {
    int errors = el->context->diags.n_errors;
    el->has_grads = el->has_grads || file->has_grads;
    el->has_shares = el->has_shares || (file->has_shares && env->library);
    for (int32_t i = 0; i < file->decls.count; i++) {
        const AstDecl *decl = file->decls.items[i];
        switch (decl->kind) {
        case AST_DECL_ERROR:
            break;
        case AST_DECL_IMPORT:
            import_file(el, env, decl);
            break;
        case AST_DECL_CONST:
            for (int32_t k = 0; k < decl->as.consts.count; k++) {
                AstNamedExpr item = decl->as.consts.items[k];
                Global *global = add_global(el, env, NAMES_VALUE, GLOBAL_CONST, item.name, decl);
                if (global) {
                    global->expr = item.value;
                }
            }
            break;
        case AST_DECL_DIM:
            add_global(el, env, NAMES_VALUE, GLOBAL_DIM, decl->name, decl);
            break;
        case AST_DECL_FN:
            check_params(el, decl);
            add_global(el, env, NAMES_FN, GLOBAL_FN, decl->name, decl);
            break;
        case AST_DECL_OPTIMIZER:
            check_params(el, decl);
            add_global(el, env, NAMES_OPTIMIZER, GLOBAL_OPTIMIZER, decl->name, decl);
            break;
        default:
            if (is_root) {
                root_decl(el, decl);
            } else if (decl->kind == AST_DECL_MODEL && el->imported_model == NULL) {
                el->imported_model = decl;
            }
            break;
        }
    }
    return el->context->diags.n_errors == errors;
}

/* -- dims */

static bool dim_int(Elaborator *el, const Global *global, const AstExpr *expr, const char *what,
                    int64_t *out) {
    return expr == NULL ||
           need_int(el, elaborate_constant_in(el, global->env, expr), what, expr->place, out);
}

typedef struct DimBounds {
    const Global *global;
    int64_t low, high, divisor;
} DimBounds;

static bool dim_value_fits(Elaborator *el, const Global *global, int64_t value, int64_t low,
                           int64_t high, int64_t divisor, Place place) {
    const char *why = NULL;
    if (value < low || value > high) {
        why = high == INT64_MAX
                  ? arena_format(el->arena, "it is at least %lld", (long long)low)
                  : arena_format(el->arena, "it is in %lld..%lld", (long long)low, (long long)high);
    } else if (value % divisor != 0) {
        why = arena_format(el->arena, "it is a multiple of %lld", (long long)divisor);
    }
    if (why == NULL) {
        return true;
    }
    Diag *diag = EL_REPORT(el, DIM_VALUE, place, global->name,
                           arena_format(el->arena, "%lld", (long long)value), why);
    elaborate_note(el, diag, global->place, "'%s' is declared here", global->name);
    return false;
}

/* Dims of one name in several files are one: the plan knows them by name. False: not yet there. */
static bool shared_dim(Elaborator *el, Map *dims, Global *global, const DimBounds *bounds) {
    DimBounds *earlier = map_get(dims, global->name);
    if (earlier == NULL) {
        DimBounds *kept = ARENA_NEW(el->arena, DimBounds);
        *kept = *bounds;
        map_set(dims, global->name, kept);
        return false;
    }
    if (earlier->low != bounds->low || earlier->high != bounds->high ||
        earlier->divisor != bounds->divisor) {
        Diag *diag = EL_REPORT(el, NAME_TWICE, global->place, global->name);
        elaborate_note(el, diag, earlier->global->place, "first declared here, with other bounds");
        elaborate_help(el, diag, "dims of one name in several files are one dim");
        return true;
    }
    global->dim = earlier->global->dim;
    global->value = earlier->global->value;
    return true;
}

/* `fixed`: the value that -D gives, or NULL. */
static void bound_dim(Elaborator *el, Map *dims, Global *global, const AstExpr *fixed) {
    const AstDecl *decl = global->decl;
    int64_t low = 1, high = INT64_MAX, divisor = 1, nominal = 0, value = 0;
    if (!dim_int(el, global, decl->as.dim.low, "the lower bound", &low) ||
        !dim_int(el, global, decl->as.dim.high, "the upper bound", &high) ||
        !dim_int(el, global, decl->as.dim.divisor, "the divisor", &divisor) ||
        !dim_int(el, global, decl->as.dim.nominal, "the nominal value", &nominal)) {
        return;
    }
    if (divisor < 1 || low < 0 || low > high) {
        EL_REPORT(el, DIM_VALUE, decl->place, global->name,
                  divisor < 1
                      ? arena_format(el->arena, "a multiple of %lld", (long long)divisor)
                      : arena_format(el->arena, "in %lld..%lld", (long long)low, (long long)high),
                  divisor < 1 ? "a divisor is at least 1" : "these bounds hold nothing");
        return;
    }
    if (high - high % divisor < low) {
        EL_REPORT(el, DIM_VALUE, decl->place, global->name,
                  arena_format(el->arena, "in %lld..%lld", (long long)low, (long long)high),
                  arena_format(el->arena, "they hold no multiple of %lld", (long long)divisor));
        return;
    }
    if (nominal > SIZE_NOMINAL_MAX) {
        EL_REPORT(el, DIM_VALUE, decl->as.dim.nominal->place, global->name,
                  arena_format(el->arena, "%lld", (long long)nominal),
                  "a nominal value is at most 2^40, 1,099,511,627,776");
        return;
    }
    if (decl->as.dim.nominal &&
        !dim_value_fits(el, global, nominal, low, high, divisor, decl->as.dim.nominal->place)) {
        return;
    }
    DimBounds bounds = {global, low, high, divisor};
    if (shared_dim(el, dims, global, &bounds)) {
        return;
    }
    if (fixed) {
        if (need_int(el, elaborate_constant_expr(el, fixed), "the value of a dim", fixed->place,
                     &value) &&
            dim_value_fits(el, global, value, low, high, divisor, fixed->place)) {
            global->value = val_int(value, global->place);
        }
        return;
    }
    global->dim =
        module_add_dim(el->module, global->name, low, high, divisor, nominal, global->place);
}

void elaborate_dim(Elaborator *el, Global *global) {
    if (global->state == GLOBAL_FRESH) {
        global->state = GLOBAL_BUSY;
        global->value = val_error();
        bound_dim(el, el->dims, global, map_get(el->dims_fixed, global->name));
        global->state = GLOBAL_DONE;
    }
}

/* -- -D */

static const AstExpr *define_expr(Elaborator *el, const FrontendDefine *define) {
    for (const char *c = define->name; *c; c++) {
        if (!ascii_is_word(*c)) {
            return NULL;
        }
    }
    if (strpbrk(define->value, "\n;#") != NULL || define->name[0] == '\0') {
        return NULL;
    }
    const char *text = arena_format(el->arena, "const %s = %s\n", define->name, define->value);
    const Source *source = context_source(el->context, "<command line>", text, strlen(text), false);
    const AstFile *file = frontend_parse(el->context, source);
    if (file->has_errors || file->decls.count != 1 ||
        file->decls.items[0]->kind != AST_DECL_CONST ||
        file->decls.items[0]->as.consts.count != 1) {
        return NULL;
    }
    return file->decls.items[0]->as.consts.items[0].value;
}

/* A dim of any file. */
static Global *find_dim(Elaborator *el, const char *name) {
    for (size_t i = 0; i < el->globals.count; i++) {
        Global *global = el->globals.items[i];
        if (global->kind == GLOBAL_DIM && strcmp(global->name, name) == 0) {
            return global;
        }
    }
    return NULL;
}

static void suggest_define(Elaborator *el, const FrontendDefine *define) {
    Map names;
    map_init(&names, el->arena);
    for (size_t i = 0; i < el->globals.count; i++) {
        const Global *global = el->globals.items[i];
        bool in_root = global->env == el->user && global->kind == GLOBAL_CONST;
        if (in_root || global->kind == GLOBAL_DIM) {
            map_set(&names, global->name, &names);
        }
    }
    Diag *diag = EL_REPORT(el, DEFINE_UNKNOWN, (Place){0}, define->name);
    const char *near = map_suggest(&names, define->name);
    if (near) {
        elaborate_help(el, diag, "did you mean '%s'?", near);
    } else if (names.count > 0) {
        const char *list = names.entries[0].key;
        for (size_t i = 1; i < names.count && i < 8; i++) {
            list = arena_format(el->arena, "%s, %s", list, names.entries[i].key);
        }
        elaborate_help(el, diag, "there are: %s", list);
    }
}

static void apply_defines(Elaborator *el, Map *fixed) {
    for (int32_t i = 0; i < el->options->n_defines; i++) {
        const FrontendDefine *define = &el->options->defines[i];
        Global *global = map_get(&el->user->own[NAMES_VALUE], define->name);
        global = global ? global : find_dim(el, define->name);
        if (global == NULL) {
            suggest_define(el, define);
            continue;
        }
        int errors = el->context->diags.n_errors;
        const AstExpr *expr = define_expr(el, define);
        if (expr == NULL) {
            if (el->context->diags.n_errors == errors) {
                EL_REPORT(el, DEFINE_VALUE, (Place){0}, define->name, "the value is no expression");
            }
            continue;
        }
        if (global->kind == GLOBAL_CONST) {
            global->expr = expr;
        } else {
            map_set(fixed, global->name, (void *)expr);
        }
    }
}

void elaborate_globals(Elaborator *el) {
    Map fixed, dims;
    map_init(&fixed, el->arena);
    map_init(&dims, el->arena);
    apply_defines(el, &fixed);
    el->dims = &dims;
    el->dims_fixed = &fixed;
    for (size_t i = 0; i < el->globals.count; i++) {
        Global *global = el->globals.items[i];
        if (global->kind == GLOBAL_DIM) {
            elaborate_dim(el, global);
        }
    }
    el->dims = el->dims_fixed = NULL; /* every dim has been bounded */
    for (size_t i = 0; i < el->globals.count; i++) {
        Global *global = el->globals.items[i];
        if (global->kind == GLOBAL_CONST) {
            bool used = global->used;
            global_value(el, global, global->place);
            global->used = used;
        }
    }
}

/* -- the public entry */

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
