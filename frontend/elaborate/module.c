/* The top level: files and imports, consts, -D. */
#include "frontend/elaborate/elaborate.h"
#include "frontend/parse/parse.h"
#include "ir/base/ascii.h"

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
        if (el->mesh) {
            Diag *diag = EL_REPORT(el, NAME_TWICE, decl->place, "mesh");
            elaborate_note(el, diag, el->mesh->place, "first declared here");
            return;
        }
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
