/* The top level: files and imports, consts, dims, -D, and the public entry. */
#include "frontend/check/check.h"
#include "frontend/parse/parse.h"
#include "ir/base/ascii.h"
#include "lang/std.h"

#include <string.h>

/* -- declarations */

static bool name_is_free(Lower *lw, const Map *map, AstName name) {
    const Global *earlier = map_get(map, name.text);
    if (earlier == NULL) {
        return true;
    }
    Diag *diag = LW_REPORT(lw, NAME_TWICE, name.place, name.text);
    lower_note(lw, diag, earlier->place, "first declared here");
    return false;
}

static Global *add_global(Lower *lw, Env *env, NameSpace space, GlobalKind kind, AstName name,
                          const AstDecl *decl) {
    Map *map = &env->own[space];
    if (!name_is_free(lw, map, name)) {
        return NULL;
    }
    Global *global = ARENA_NEW(lw->arena, Global);
    *global =
        (Global){.kind = kind, .name = name.text, .place = name.place, .decl = decl, .env = env};
    map_set(map, name.text, global);
    if (env->library) {
        VEC_PUSH(lw->arena, &lw->globals, global);
    }
    return global;
}

static void check_params(Lower *lw, const AstDecl *decl) {
    const AstParams *params = &decl->as.fn.params;
    for (int32_t i = 0; i < params->count; i++) {
        for (int32_t k = 0; k < i; k++) {
            if (params->items[i].name.text == params->items[k].name.text) {
                Diag *diag = LW_REPORT(lw, NAME_TWICE, params->items[i].name.place,
                                       params->items[i].name.text);
                lower_note(lw, diag, params->items[k].name.place, "first declared here");
            }
        }
    }
    for (int32_t i = 0; i < decl->as.fn.attributes.count; i++) {
        AstName attribute = decl->as.fn.attributes.items[i];
        if (strcmp(attribute.text, "keep") != 0) {
            Diag *diag = LW_REPORT(lw, ATTRIBUTE_UNKNOWN, attribute.place, attribute.text);
            lower_help(lw, diag, "there is @keep");
        }
    }
}

static void import_file(Lower *lw, Env *env, const AstDecl *decl) {
    const char *path = decl->as.import.path, *problem = "no importer is set";
    const Source *importer = decl->place.source, *source = NULL;
    if (lw->options->import) {
        source =
            lw->options->import(lw->options->import_user, lw->context, importer, path, &problem);
    }
    if (source == NULL) {
        LW_REPORT(lw, NO_FILE, decl->as.import.path_place, path, problem);
        return;
    }
    if (++lw->n_imports > LOWER_MAX_IMPORTS || boundary_stack_low(lw->context->boundary)) {
        lower_limit(lw, decl->place, "more than 256 imports");
        return;
    }
    Env *imported = map_get(&lw->sources, source->name);
    if (imported == NULL) { /* else twice, or in a circle: its names are there */
        imported = env_new(lw, lw->library);
        map_set(&lw->sources, source->name, imported);
        const AstFile *file = frontend_parse(lw->context, source);
        if (!file->has_errors) {
            lower_file(lw, imported, file, false);
        }
    }
    VEC_PUSH(lw->arena, &env->imports, imported);
}

static void root_decl(Lower *lw, const AstDecl *decl) {
    switch (decl->kind) {
    case AST_DECL_MODEL:
        check_params(lw, decl);
        if (lw->model) {
            Diag *diag = LW_REPORT(lw, TWO_MODELS, decl->name.place, decl->name.text);
            lower_note(lw, diag, lw->model->name.place, "the model");
            lower_help(lw, diag, "make it an `entry`, or a file of its own");
            return;
        }
        lw->model = decl;
        return;
    case AST_DECL_ENTRY:
        check_params(lw, decl);
        VEC_PUSH(lw->arena, &lw->entries, decl);
        return;
    case AST_DECL_TRAIN:
        if (lw->train) {
            Diag *diag = LW_REPORT(lw, NAME_TWICE, decl->place, "train");
            lower_note(lw, diag, lw->train->place, "first declared here");
            return;
        }
        lw->train = decl;
        return;
    default:
        lw->mesh = decl;
        return;
    }
}

bool lower_file(Lower *lw, Env *env, const AstFile *file, bool is_root) {
    int errors = lw->context->diags.n_errors;
    lw->has_grads = lw->has_grads || file->has_grads;
    lw->has_shares = lw->has_shares || (file->has_shares && env->library);
    for (int32_t i = 0; i < file->decls.count; i++) {
        const AstDecl *decl = file->decls.items[i];
        switch (decl->kind) {
        case AST_DECL_ERROR:
            break;
        case AST_DECL_IMPORT:
            import_file(lw, env, decl);
            break;
        case AST_DECL_CONST:
            for (int32_t k = 0; k < decl->as.consts.count; k++) {
                AstNamedExpr item = decl->as.consts.items[k];
                Global *global = add_global(lw, env, NAMES_VALUE, GLOBAL_CONST, item.name, decl);
                if (global) {
                    global->expr = item.value;
                }
            }
            break;
        case AST_DECL_DIM:
            add_global(lw, env, NAMES_VALUE, GLOBAL_DIM, decl->name, decl);
            break;
        case AST_DECL_FN:
            check_params(lw, decl);
            add_global(lw, env, NAMES_FN, GLOBAL_FN, decl->name, decl);
            break;
        case AST_DECL_OPTIMIZER:
            check_params(lw, decl);
            add_global(lw, env, NAMES_OPTIMIZER, GLOBAL_OPTIMIZER, decl->name, decl);
            break;
        default:
            if (is_root) {
                root_decl(lw, decl);
            } else if (decl->kind == AST_DECL_MODEL && lw->imported_model == NULL) {
                lw->imported_model = decl;
            }
            break;
        }
    }
    return lw->context->diags.n_errors == errors;
}

/* Evaluates outside any function, with the names of a file. */
static Val constant_in(Lower *lw, Env *env, const AstExpr *expr) {
    Frame *frame = lw->frame;
    Scope *scope = lw->scope;
    Frame top = {.env = env, .fn_name = "file", .path = ""};
    lw->frame = &top;
    lw->scope = NULL;
    Val value = lower_expr(lw, expr);
    lower_diag_close(lw);
    lw->frame = frame;
    lw->scope = scope;
    return value;
}

Val lower_constant_expr(Lower *lw, const AstExpr *expr) {
    return constant_in(lw, lw->user, expr);
}

/* -- dims */

static bool dim_int(Lower *lw, const Global *global, const AstExpr *expr, const char *what,
                    int64_t *out) {
    return expr == NULL || need_int(lw, constant_in(lw, global->env, expr), what, expr->place, out);
}

typedef struct DimBounds {
    const Global *global;
    int64_t low, high, divisor;
} DimBounds;

static bool dim_value_fits(Lower *lw, const Global *global, int64_t value, int64_t low,
                           int64_t high, int64_t divisor, Place place) {
    const char *why = NULL;
    if (value < low || value > high) {
        why = high == INT64_MAX
                  ? arena_format(lw->arena, "it is at least %lld", (long long)low)
                  : arena_format(lw->arena, "it is in %lld..%lld", (long long)low, (long long)high);
    } else if (value % divisor != 0) {
        why = arena_format(lw->arena, "it is a multiple of %lld", (long long)divisor);
    }
    if (why == NULL) {
        return true;
    }
    Diag *diag = LW_REPORT(lw, DIM_VALUE, place, global->name,
                           arena_format(lw->arena, "%lld", (long long)value), why);
    lower_note(lw, diag, global->place, "'%s' is declared here", global->name);
    return false;
}

/* Dims of one name in several files are one: the plan knows them by name. False: not yet there. */
static bool shared_dim(Lower *lw, Map *dims, Global *global, const DimBounds *bounds) {
    DimBounds *earlier = map_get(dims, global->name);
    if (earlier == NULL) {
        DimBounds *kept = ARENA_NEW(lw->arena, DimBounds);
        *kept = *bounds;
        map_set(dims, global->name, kept);
        return false;
    }
    if (earlier->low != bounds->low || earlier->high != bounds->high ||
        earlier->divisor != bounds->divisor) {
        Diag *diag = LW_REPORT(lw, NAME_TWICE, global->place, global->name);
        lower_note(lw, diag, earlier->global->place, "first declared here, with other bounds");
        lower_help(lw, diag, "dims of one name in several files are one dim");
        return true;
    }
    global->dim = earlier->global->dim;
    global->value = earlier->global->value;
    return true;
}

/* `fixed`: the value that -D gives, or NULL. */
static void bound_dim(Lower *lw, Map *dims, Global *global, const AstExpr *fixed) {
    const AstDecl *decl = global->decl;
    int64_t low = 1, high = INT64_MAX, divisor = 1, nominal = 0, value = 0;
    if (!dim_int(lw, global, decl->as.dim.low, "the lower bound", &low) ||
        !dim_int(lw, global, decl->as.dim.high, "the upper bound", &high) ||
        !dim_int(lw, global, decl->as.dim.divisor, "the divisor", &divisor) ||
        !dim_int(lw, global, decl->as.dim.nominal, "the nominal value", &nominal)) {
        return;
    }
    if (divisor < 1 || low < 0 || low > high) {
        LW_REPORT(lw, DIM_VALUE, decl->place, global->name,
                  divisor < 1
                      ? arena_format(lw->arena, "a multiple of %lld", (long long)divisor)
                      : arena_format(lw->arena, "in %lld..%lld", (long long)low, (long long)high),
                  divisor < 1 ? "a divisor is at least 1" : "these bounds hold nothing");
        return;
    }
    if (high - high % divisor < low) {
        LW_REPORT(lw, DIM_VALUE, decl->place, global->name,
                  arena_format(lw->arena, "in %lld..%lld", (long long)low, (long long)high),
                  arena_format(lw->arena, "they hold no multiple of %lld", (long long)divisor));
        return;
    }
    if (nominal > SIZE_NOMINAL_MAX) {
        LW_REPORT(lw, DIM_VALUE, decl->as.dim.nominal->place, global->name,
                  arena_format(lw->arena, "%lld", (long long)nominal),
                  "a nominal value is at most 2^40, 1,099,511,627,776");
        return;
    }
    if (decl->as.dim.nominal &&
        !dim_value_fits(lw, global, nominal, low, high, divisor, decl->as.dim.nominal->place)) {
        return;
    }
    DimBounds bounds = {global, low, high, divisor};
    if (shared_dim(lw, dims, global, &bounds)) {
        return;
    }
    if (fixed) {
        if (need_int(lw, lower_constant_expr(lw, fixed), "the value of a dim", fixed->place,
                     &value) &&
            dim_value_fits(lw, global, value, low, high, divisor, fixed->place)) {
            global->value = val_int(value, global->place);
        }
        return;
    }
    global->dim =
        module_add_dim(lw->module, global->name, low, high, divisor, nominal, global->place);
}

void lower_dim(Lower *lw, Global *global) {
    if (global->state == GLOBAL_FRESH) {
        global->state = GLOBAL_BUSY;
        global->value = val_error();
        bound_dim(lw, lw->dims, global, map_get(lw->dims_fixed, global->name));
        global->state = GLOBAL_DONE;
    }
}

/* -- -D */

static const AstExpr *define_expr(Lower *lw, const FrontendDefine *define) {
    for (const char *c = define->name; *c; c++) {
        if (!ascii_is_word(*c)) {
            return NULL;
        }
    }
    if (strpbrk(define->value, "\n;#") != NULL || define->name[0] == '\0') {
        return NULL;
    }
    const char *text = arena_format(lw->arena, "const %s = %s\n", define->name, define->value);
    const Source *source = context_source(lw->context, "<command line>", text, strlen(text), false);
    const AstFile *file = frontend_parse(lw->context, source);
    if (file->has_errors || file->decls.count != 1 ||
        file->decls.items[0]->kind != AST_DECL_CONST ||
        file->decls.items[0]->as.consts.count != 1) {
        return NULL;
    }
    return file->decls.items[0]->as.consts.items[0].value;
}

/* A dim of any file. */
static Global *find_dim(Lower *lw, const char *name) {
    for (size_t i = 0; i < lw->globals.count; i++) {
        Global *global = lw->globals.items[i];
        if (global->kind == GLOBAL_DIM && strcmp(global->name, name) == 0) {
            return global;
        }
    }
    return NULL;
}

static void suggest_define(Lower *lw, const FrontendDefine *define) {
    Map names;
    map_init(&names, lw->arena);
    for (size_t i = 0; i < lw->globals.count; i++) {
        const Global *global = lw->globals.items[i];
        bool in_root = global->env == lw->user && global->kind == GLOBAL_CONST;
        if (in_root || global->kind == GLOBAL_DIM) {
            map_set(&names, global->name, &names);
        }
    }
    Diag *diag = LW_REPORT(lw, DEFINE_UNKNOWN, (Place){0}, define->name);
    const char *near = map_suggest(&names, define->name);
    if (near) {
        lower_help(lw, diag, "did you mean '%s'?", near);
    } else if (names.count > 0) {
        const char *list = names.entries[0].key;
        for (size_t i = 1; i < names.count && i < 8; i++) {
            list = arena_format(lw->arena, "%s, %s", list, names.entries[i].key);
        }
        lower_help(lw, diag, "there are: %s", list);
    }
}

static void apply_defines(Lower *lw, Map *fixed) {
    for (int32_t i = 0; i < lw->options->n_defines; i++) {
        const FrontendDefine *define = &lw->options->defines[i];
        Global *global = map_get(&lw->user->own[NAMES_VALUE], define->name);
        global = global ? global : find_dim(lw, define->name);
        if (global == NULL) {
            suggest_define(lw, define);
            continue;
        }
        int errors = lw->context->diags.n_errors;
        const AstExpr *expr = define_expr(lw, define);
        if (expr == NULL) {
            if (lw->context->diags.n_errors == errors) {
                LW_REPORT(lw, DEFINE_VALUE, (Place){0}, define->name, "the value is no expression");
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

void lower_globals(Lower *lw) {
    Map fixed, dims;
    map_init(&fixed, lw->arena);
    map_init(&dims, lw->arena);
    apply_defines(lw, &fixed);
    lw->dims = &dims;
    lw->dims_fixed = &fixed;
    for (size_t i = 0; i < lw->globals.count; i++) {
        Global *global = lw->globals.items[i];
        if (global->kind == GLOBAL_DIM) {
            lower_dim(lw, global);
        }
    }
    lw->dims = lw->dims_fixed = NULL; /* every dim has been bounded */
    for (size_t i = 0; i < lw->globals.count; i++) {
        Global *global = lw->globals.items[i];
        if (global->kind == GLOBAL_CONST) {
            bool used = global->used;
            global_value(lw, global, global->place);
            global->used = used;
        }
    }
}

/* -- the public entry */

static Lower *lower_new(Context *context, const FrontendOptions *options) {
    Lower *lw = ARENA_NEW(&context->arena, Lower);
    lw->context = context;
    lw->arena = &context->arena;
    lw->options = options;
    context->default_float = (int32_t)options->default_float;
    map_init(&lw->sources, lw->arena);
    map_init(&lw->persists, lw->arena);
    map_init(&lw->slots, lw->arena);
    map_init(&lw->input_used, lw->arena);
    lw->library = env_new(lw, NULL);
    lw->user = env_new(lw, lw->library);
    lw->root_place =
        (Place){.source = options->source, .line = 1, .column = 1, .end_line = 1, .end_column = 2};
    for (size_t i = 0; i < STD_FILE_COUNT; i++) {
        const StdFile *std = &STD_FILES[i];
        const Source *source = context_source(context, std->name, std->text, std->length, true);
        lower_file(lw, lw->library, frontend_parse(context, source), false);
    }
    return lw;
}

/* Ops of expressions outside any Func (which are errors) go to a Func that is thrown away. */
static void scratch_builder(Lower *lw) {
    Func *scratch = func_create(lw->module, "scratch", PURPOSE_OTHER);
    func_remove(scratch);
    lw->b = builder_at_end(scratch, scratch->body);
    lw->b.soft = true;
}

static Lower *lower_program(Context *context, const FrontendOptions *options) {
    Lower *lw = lower_new(context, options);
    map_set(&lw->sources, options->source->name, lw->user);
    const AstFile *file = frontend_parse(context, options->source);
    if (file->has_errors) {
        return lw;
    }
    lower_file(lw, lw->user, file, true);
    lw->module = module_create(context, lw->model ? lw->model->name.text : "");
    scratch_builder(lw);
    lower_globals(lw);
    bool sound = context->diags.n_errors == 0; /* else names may be missing */
    if (sound && lw->model) {
        lower_model_funcs(lw);
    }
    lower_diag_close(lw);
    if (sound && !lw->limit_hit) {
        lw->fs = NULL;
        check_bodies(lw, false);
        check_shapes(lw, false);
    }
    return lw;
}

Module *frontend_compile(Context *context, const FrontendOptions *options) {
    Lower *lw = lower_program(context, options);
    if (context->diags.n_errors == 0 && lw->model == NULL) {
        Diag *diag = LW_REPORT(lw, NO_MODEL, lw->root_place, "");
        const AstDecl *other = lw->imported_model;
        if (other) {
            const char *file = other->place.source->name;
            lower_note(lw, diag, other->name.place, "an imported file has the model '%s'",
                       other->name.text);
            lower_help(lw, diag,
                       "an import brings functions, consts and dims alone: compile '%s' itself, or "
                       "declare a model here that calls its functions",
                       file);
        } else {
            lower_help(lw, diag, "declare one: model name(x: f32[B, 10]) { … }");
        }
        lower_diag_close(lw);
    }
    return context->diags.n_errors > 0 ? NULL : lw->module;
}

bool frontend_check_all(Context *context, const FrontendOptions *options) {
    Lower *lw = lower_program(context, options);
    lw->has_shares = true; /* the library's `as _` */
    check_bodies(lw, true);
    check_shapes(lw, true);
    return context->diags.n_errors == 0;
}

bool frontend_check(Context *context, const FrontendOptions *options) {
    lower_program(context, options);
    return context->diags.n_errors == 0;
}
