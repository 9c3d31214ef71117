/* The `...` of a signature: any leading axes, but one name for one list of them. What would be
 * repeated silently otherwise, [B, 1] against [B], is an error that names both shapes. */
#include "frontend/elaborate/elaborate.h"

#include <string.h>

bool type_has_rest(const AstType *type) {
    return type->sizes.count > 0 && type->sizes.items[0].is_rest;
}

static Rest *rest_find(Elaborator *el, const AstType *type) {
    for (Rest *rest = el->frame->rests; rest; rest = rest->next) {
        if (rest->name == type->sizes.items[0].rest_name) {
            return rest;
        }
    }
    return NULL;
}

static const char *axes_text(Elaborator *el, Type type, int32_t rank) {
    Type lead = type_make(el->context, DT_F32, rank, type.dims);
    return strchr(type_text(el->context, lead), '[');
}

/* The source text of an argument, where it is short; else its parameter's name. */
static const char *place_text(Elaborator *el, Place place, const char *fallback) {
    enum { LONGEST = 32 };
    int32_t length = place.end_column - place.column;
    if (place.source == NULL || place.line != place.end_line || length < 1 || length > LONGEST) {
        return fallback;
    }
    const char *at = place.source->text, *end = at + place.source->length;
    for (int32_t line = 1; line < place.line && at; line++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    if (at == NULL || end - at < place.end_column - 1) {
        return fallback;
    }
    return arena_strndup(el->arena, at + place.column - 1, (size_t)length);
}

/* The axis of size 1 without which `longer` has the axes of `shorter`; -1: none. */
static int32_t surplus_one(Elaborator *el, Type longer, int32_t rank, Type shorter) {
    for (int32_t axis = rank - 1; axis >= 0; axis--) {
        bool same = size_is_one(longer.dims[axis]);
        for (int32_t i = 0; same && i < rank - 1; i++) {
            const Size *size = longer.dims[i < axis ? i : i + 1];
            same = size_equal(el->context, size, shorter.dims[i]) == TRUTH_YES;
        }
        if (same) {
            return axis;
        }
    }
    return -1;
}

static void help_rest(Elaborator *el, Diag *diag, const Rest *rest, const char *param, Type type,
                      int32_t rank, Place place) {
    const char *here = place_text(el, place, param);
    const char *there = place_text(el, rest->place, rest->param);
    bool here_longer = rank == rest->rank + 1, there_longer = rest->rank == rank + 1;
    int32_t axis = here_longer    ? surplus_one(el, type, rank, rest->type)
                   : there_longer ? surplus_one(el, rest->type, rest->rank, type)
                                  : -1;
    if (axis >= 0) {
        elaborate_help(el, diag,
                       "drop the axis of size 1: squeeze(%s, axis=%d); or give the other one: "
                       "unsqueeze(%s, axis=%d)",
                       here_longer ? here : there, (int)axis, here_longer ? there : here,
                       (int)axis);
        return;
    }
    elaborate_help(el, diag,
                   "nothing is repeated here; where that is meant, write it: expand(x, shape)");
}

static bool rest_error(Elaborator *el, const AstType *type, const Rest *rest, const char *param,
                       const char *what, Val value, int32_t rank, Place place) {
    Type have = value.as.tensor->type;
    const char *sign = arena_format(el->arena, "...%s", rest->name);
    const char *first_text = type_text(el->context, rest->type);
    const char *text = type_text(el->context, have);
    Diag *diag = EL_REPORT(el, REST_DIFFERS, place, what, text, sign, axes_text(el, have, rank),
                           rest->param, first_text, axes_text(el, rest->type, rest->rank));
    elaborate_note(el, diag, rest->place, "'%s' is %s", rest->param, first_text);
    if (rest->origin.source && rest->origin.line != rest->place.line) {
        elaborate_note(el, diag, rest->origin, "%s comes from here", first_text);
    }
    if (value.place.source && value.place.line != place.line) {
        elaborate_note(el, diag, value.place, "%s comes from here", text);
    }
    if (!type->place.source->is_library) {
        elaborate_note(el, diag, type->place, "`%s` is declared here", sign);
    }
    help_rest(el, diag, rest, param, have, rank, place);
    return false;
}

bool rest_bind(Elaborator *el, const AstType *type, const char *param, const char *what, Val *value,
               Place place) {
    if (!type_has_rest(type)) {
        return true;
    }
    Type have = value->as.tensor->type;
    int32_t rank = have.rank - (type->sizes.count - 1);
    Rest *rest = rest_find(el, type);
    if (rest == NULL) {
        rest = ARENA_NEW(el->arena, Rest);
        *rest = (Rest){.name = type->sizes.items[0].rest_name,
                       .param = param,
                       .place = place,
                       .origin = value->place,
                       .type = have,
                       .rank = rank,
                       .next = el->frame->rests};
        el->frame->rests = rest;
        return true;
    }
    bool same = rank == rest->rank, known = true;
    for (int32_t i = 0; same && i < rank; i++) {
        Truth truth = size_equal(el->context, have.dims[i], rest->type.dims[i]);
        same = truth != TRUTH_NO;
        known = known && truth == TRUTH_YES;
    }
    if (!same) {
        return rest_error(el, type, rest, param, what, *value, rank, place);
    }
    if (known) {
        return true;
    }
    const Size *shape[TYPE_MAX_RANK];
    copy_sizes(shape, have.dims, have.rank);
    for (int32_t i = 0; i < rank; i++) {
        const char *axis = arena_format(el->arena, "axis %d of %s, of `...%s` as in '%s'", (int)i,
                                        what, rest->name, rest->param);
        if (!elaborate_same_size(el, have.dims[i], value->place, rest->type.dims[i], rest->place,
                                 place, axis)) {
            return false;
        }
        shape[i] = rest->type.dims[i];
    }
    Value *checked = elaborate_reshape(el, value->as.tensor, shape, have.rank, place);
    *value = val_tensor(checked, value->weak, value->place);
    return checked != NULL;
}

bool rest_fill(Elaborator *el, const AstType *type, Val *value, Place place) {
    Rest *rest = type_has_rest(type) && type->sizes.count == 1 ? rest_find(el, type) : NULL;
    if (rest == NULL || value->as.tensor->type.rank != 0 || rest->rank == 0) {
        return true;
    }
    Value *full = elaborate_expand(el, value->as.tensor, rest->type.dims, rest->rank, place);
    *value = val_tensor(full, value->weak, value->place);
    return full != NULL;
}
