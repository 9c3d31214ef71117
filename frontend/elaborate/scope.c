/* Scopes: the names of a block, found by a walk while they are few and by a map from then on. */
#include "frontend/elaborate/elaborate.h"
#include <string.h>

/* Scopes of more names than this have an index. */
enum { FEW_BINDINGS = 32 };

static Binding *binding_in(const Scope *scope, const char *name) {
    if (scope->index) {
        return map_get(scope->index, name);
    }
    for (Binding *b = scope->first; b; b = b->next) {
        if (b->name == name) {
            return b;
        }
    }
    return NULL;
}

Binding *scope_find(Scope *scope, const char *name, bool to_barrier) {
    for (; scope; scope = scope->parent) {
        Binding *binding = binding_in(scope, name);
        if (binding || (to_barrier && scope->barrier)) {
            return binding;
        }
    }
    return NULL;
}

static void index_scope(Elaborator *el, Scope *scope) {
    scope->index = ARENA_NEW(el->arena, Map);
    map_init(scope->index, el->arena);
    for (Binding *b = scope->first; b; b = b->next) {
        map_set(scope->index, b->name, b);
    }
}

void scope_define(Elaborator *el, Scope *scope, const char *name, Val value, Place place) {
    Binding *binding = binding_in(scope, name);
    if (binding) {
        binding->value = value;
        binding->place = place;
        binding->persist = NULL;
        return;
    }
    binding = ARENA_NEW(el->arena, Binding);
    *binding = (Binding){.name = name, .value = value, .place = place, .next = scope->first};
    scope->first = binding;
    if (scope->index) {
        map_set(scope->index, name, binding);
    } else if (++scope->count > FEW_BINDINGS) {
        index_scope(el, scope);
    }
}

void scope_bind(Elaborator *el, const char *name, Val value, Place place) {
    Binding *found = scope_find(el->scope, name, true);
    if (found) {
        found->value = value;
        found->place = place;
        found->persist = NULL;
        return;
    }
    scope_define(el, el->scope, name, value, place);
}

Scope *scope_push(Elaborator *el, bool barrier) {
    Scope *scope = ARENA_NEW(el->arena, Scope);
    scope->parent = el->scope;
    scope->barrier = barrier;
    el->scope = scope;
    return scope;
}

void scope_pop(Elaborator *el) {
    el->scope = el->scope->parent;
}
