/* Top-level names, file by file: a body sees its own file's, then what that file imports, directly
 * or through others, then the library's. Who imports a file never changes what it means. */
#include "frontend/elaborate/elaborate.h"

Env *env_new(Elaborator *el, Env *library) {
    Env *env = ARENA_NEW(el->arena, Env);
    env->library = library;
    for (int space = 0; space < NAME_SPACES; space++) {
        map_init(&env->own[space], el->arena);
    }
    return env;
}

/* -- Imported names */

typedef struct Imports {
    Elaborator *el;
    Map *found[NAME_SPACES];
    VEC(Env *) seen;
} Imports;

static void collect_env(Imports *imports, Env *env) {
    Arena *arena = imports->el->arena;
    for (size_t i = 0; i < imports->seen.count; i++) {
        if (imports->seen.items[i] == env) {
            return; /* twice, or in a circle */
        }
    }
    VEC_PUSH(arena, &imports->seen, env);
    for (int space = 0; space < NAME_SPACES && imports->seen.count > 1; space++) {
        const Map *own = &env->own[space];
        for (size_t i = 0; i < own->count; i++) {
            const char *name = own->entries[i].key;
            Found *found = map_get(imports->found[space], name);
            if (found) {
                found->second = found->second ? found->second : own->entries[i].value;
                continue;
            }
            found = ARENA_NEW(arena, Found);
            found->first = own->entries[i].value;
            map_set(imports->found[space], name, found);
        }
    }
    for (size_t i = 0; i < env->imports.count; i++) {
        collect_env(imports, env->imports.items[i]);
    }
}

static void collect_imports(Elaborator *el, Env *env) {
    Imports imports = {.el = el};
    env->imported = ARENA_ARRAY(el->arena, Map, NAME_SPACES);
    for (int space = 0; space < NAME_SPACES; space++) {
        map_init(&env->imported[space], el->arena);
        imports.found[space] = &env->imported[space];
    }
    collect_env(&imports, env);
}

/* -- Finding */

Global *env_find(Elaborator *el, Env *env, NameSpace space, const char *name, Place place) {
    Global *global = map_get(&env->own[space], name);
    if (global) {
        return global;
    }
    if (env->imports.count > 0) {
        if (env->imported == NULL) {
            collect_imports(el, env);
        }
        Found *found = map_get(&env->imported[space], name);
        bool same_dim = found && found->second && found->first->kind == GLOBAL_DIM &&
                        found->second->kind == GLOBAL_DIM; /* one dim: see elaborate_dim */
        if (found && found->second && !same_dim) {
            Diag *diag = EL_REPORT(el, NAME_AMBIGUOUS, place, name);
            elaborate_note(el, diag, found->first->place, "declared here");
            elaborate_note(el, diag, found->second->place, "and here");
            elaborate_help(el, diag, "rename one, or declare '%s' in this file", name);
        }
        if (found) {
            return found->first;
        }
    }
    return env->library ? map_get(&env->library->own[space], name) : NULL;
}

void env_names(Elaborator *el, Env *env, NameSpace space, Map *out) {
    const Map *maps[3] = {&env->own[space], NULL, env->library ? &env->library->own[space] : NULL};
    if (env->imports.count > 0 && env->imported == NULL) {
        collect_imports(el, env);
    }
    maps[1] = env->imported ? &env->imported[space] : NULL;
    for (int m = 0; m < 3; m++) {
        for (size_t i = 0; maps[m] && i < maps[m]->count; i++) {
            map_set(out, maps[m]->entries[i].key, out);
        }
    }
}

Fn *find_function(Elaborator *el, Env *env, const char *name, Place place) {
    Global *global = env_find(el, env, NAMES_FN, name, place);
    if (global) {
        global->used = true;
        if (global->value.kind != VAL_FN) {
            global->value = val_fn(el, FN_DECL, global->name, global->place);
            global->value.as.fn->decl = global->decl;
            global->value.as.fn->env = global->env;
        }
        return global->value.as.fn;
    }
    const Builtin *builtin = builtin_find(name);
    if (builtin) {
        Val value = val_fn(el, FN_BUILTIN, builtin->name, (Place){0});
        value.as.fn->builtin = builtin;
        return value.as.fn;
    }
    return NULL;
}
