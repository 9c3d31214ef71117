/* The mesh that a compile asks for, "data=*,model=2": axes in order, the last one fastest; * is any
 * number of ranks. It takes the place of the program's own. */
#include "driver/mesh.h"

#include <string.h>

/* The number behind "=": false when it is none, or out of reach. */
static bool size_read(const char *text, size_t length, int64_t *out) {
    *out = 0;
    if (length == 1 && *text == '*') {
        return true;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || *out > MESH_MAX_RANKS) {
            return false;
        }
        *out = *out * 10 + (text[i] - '0');
    }
    return *out > 0 && *out <= MESH_MAX_RANKS;
}

/* One axis, `length` bytes. */
static bool axis_read(Driver *d, const char *text, size_t length) {
    const char *equals = memchr(text, '=', length);
    size_t n_name = equals ? (size_t)(equals - text) : 0;
    int64_t size;
    return equals && size_read(equals + 1, length - n_name - 1, &size) &&
           module_add_axis(d->module, arena_strndup(&d->scratch, text, n_name), size);
}

void driver_mesh(Driver *d) {
    const char *mesh = d->call->mesh;
    if (!mesh) {
        return;
    }
    d->module->n_mesh_axes = 0;
    for (const char *at = mesh;; at++) {
        size_t length = strcspn(at, ",");
        if (!axis_read(d, at, length)) {
            driver_leave(d, DLC_ERROR_INVALID_ARGUMENT,
                         arena_format(&d->scratch,
                                      "'%.*s' in the mesh '%.200s' is no axis: a name, other than "
                                      "those before it, and how many ranks, as data=* or model=2",
                                      (int)(length < 100 ? length : 100), at, mesh));
        }
        at += length;
        if (!*at) {
            return;
        }
    }
}
