/* Sizes of a trial (check/shapes.c): dims of their own for what only a call knows. */
#include "frontend/elaborate/elaborate.h"

const Size *trial_size(Elaborator *el, const char *key, const char *name, int64_t low,
                       Place place) {
    const Dim *dim = map_get(el->trial_dims, key);
    if (dim == NULL) {
        dim = module_add_dim(el->module, name, low, INT64_MAX, 1, 0, place);
        map_set(el->trial_dims, key, (void *)dim);
    }
    return size_dim(el->context, dim);
}

const Size *trial_joined(Elaborator *el, const Size *a, const Size *b) {
    const char *key = arena_format(el->arena, "%p|%p", (const void *)a, (const void *)b);
    const char *name =
        arena_format(el->arena, "(%s or %s)", size_text(el->context, a), size_text(el->context, b));
    return trial_size(el, key, name, 0, (Place){0});
}
