/* The `...` of a signature: any leading axes, but one name for one list of them. What would be
 * repeated silently otherwise, [B, 1] against [B], is an error that names both shapes. */
#include "frontend/elaborate/elaborate.h"

#include <string.h>

bool type_has_rest(const AstType *type) {
    return type->sizes.count > 0 && type->sizes.items[0].is_rest;
}

static Rest *rest_find(Lower *lw, const AstType *type) {
    for (Rest *rest = lw->frame->rests; rest; rest = rest->next) {
        if (rest->name == type->sizes.items[0].rest_name) {
            return rest;
        }
    }
    return NULL;
}

static const char *axes_text(Lower *lw, Type type, int32_t rank) {
    Type lead = type_make(lw->context, DT_F32, rank, type.dims);
    return strchr(type_text(lw->context, lead), '[');
}

/* The source text of an argument, where it is short; else its parameter's name. */
static const char *place_text(Lower *lw, Place place, const char *fallback) {
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
    return arena_strndup(lw->arena, at + place.column - 1, (size_t)length);
}

/* The axis of size 1 without which `longer` has the axes of `shorter`; -1: none. */
static int32_t surplus_one(Lower *lw, Type longer, int32_t rank, Type shorter) {
    for (int32_t axis = rank - 1; axis >= 0; axis--) {
        bool same = size_is_one(longer.dims[axis]);
        for (int32_t i = 0; same && i < rank - 1; i++) {
            const Size *size = longer.dims[i < axis ? i : i + 1];
            same = size_equal(lw->context, size, shorter.dims[i]) == TRUTH_YES;
        }
        if (same) {
            return axis;
        }
    }
    return -1;
}

static void help_rest(Lower *lw, Diag *diag, const Rest *rest, const char *param, Type type,
                      int32_t rank, Place place) {
    const char *here = place_text(lw, place, param);
    const char *there = place_text(lw, rest->place, rest->param);
    bool here_longer = rank == rest->rank + 1, there_longer = rest->rank == rank + 1;
    int32_t axis = here_longer    ? surplus_one(lw, type, rank, rest->type)
                   : there_longer ? surplus_one(lw, rest->type, rest->rank, type)
                                  : -1;
    if (axis >= 0) {
        lower_help(lw, diag,
                   "drop the axis of size 1: squeeze(%s, axis=%d); or give the other one: "
                   "unsqueeze(%s, axis=%d)",
                   here_longer ? here : there, (int)axis, here_longer ? there : here, (int)axis);
        return;
    }
    lower_help(lw, diag,
               "nothing is repeated here; where that is meant, write it: expand(x, shape)");
}

static bool rest_error(Lower *lw, const AstType *type, const Rest *rest, const char *param,
                       const char *what, Val value, int32_t rank, Place place) {
    Type have = value.as.tensor->type;
    const char *sign = arena_format(lw->arena, "...%s", rest->name);
    const char *first_text = type_text(lw->context, rest->type);
    const char *text = type_text(lw->context, have);
    Diag *diag = LW_REPORT(lw, REST_DIFFERS, place, what, text, sign, axes_text(lw, have, rank),
                           rest->param, first_text, axes_text(lw, rest->type, rest->rank));
    lower_note(lw, diag, rest->place, "'%s' is %s", rest->param, first_text);
    if (rest->origin.source && rest->origin.line != rest->place.line) {
        lower_note(lw, diag, rest->origin, "%s comes from here", first_text);
    }
    if (value.place.source && value.place.line != place.line) {
        lower_note(lw, diag, value.place, "%s comes from here", text);
    }
    if (!type->place.source->is_library) {
        lower_note(lw, diag, type->place, "`%s` is declared here", sign);
    }
    help_rest(lw, diag, rest, param, have, rank, place);
    return false;
}

bool rest_bind(Lower *lw, const AstType *type, const char *param, const char *what, Val *value,
               Place place) {
    if (!type_has_rest(type)) {
        return true;
    }
    Type have = value->as.tensor->type;
    int32_t rank = have.rank - (type->sizes.count - 1);
    Rest *rest = rest_find(lw, type);
    if (rest == NULL) {
        rest = ARENA_NEW(lw->arena, Rest);
        *rest = (Rest){.name = type->sizes.items[0].rest_name,
                       .param = param,
                       .place = place,
                       .origin = value->place,
                       .type = have,
                       .rank = rank,
                       .next = lw->frame->rests};
        lw->frame->rests = rest;
        return true;
    }
    bool same = rank == rest->rank, known = true;
    for (int32_t i = 0; same && i < rank; i++) {
        Truth truth = size_equal(lw->context, have.dims[i], rest->type.dims[i]);
        same = truth != TRUTH_NO;
        known = known && truth == TRUTH_YES;
    }
    if (!same) {
        return rest_error(lw, type, rest, param, what, *value, rank, place);
    }
    if (known) {
        return true;
    }
    const Size *shape[TYPE_MAX_RANK];
    copy_sizes(shape, have.dims, have.rank);
    for (int32_t i = 0; i < rank; i++) {
        const char *axis = arena_format(lw->arena, "axis %d of %s, of `...%s` as in '%s'", (int)i,
                                        what, rest->name, rest->param);
        if (!lower_same_size(lw, have.dims[i], value->place, rest->type.dims[i], rest->place, place,
                             axis)) {
            return false;
        }
        shape[i] = rest->type.dims[i];
    }
    Value *checked = lower_reshape(lw, value->as.tensor, shape, have.rank, place);
    *value = val_tensor(checked, value->weak, value->place);
    return checked != NULL;
}

bool rest_fill(Lower *lw, const AstType *type, Val *value, Place place) {
    Rest *rest = type_has_rest(type) && type->sizes.count == 1 ? rest_find(lw, type) : NULL;
    if (rest == NULL || value->as.tensor->type.rank != 0 || rest->rank == 0) {
        return true;
    }
    Value *full = lower_expand(lw, value->as.tensor, rest->type.dims, rest->rank, place);
    *value = val_tensor(full, value->weak, value->place);
    return full != NULL;
}
