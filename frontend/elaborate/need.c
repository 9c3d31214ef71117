/* What a value must be: an integer, a size, an axis, a shape …; reported where it is another. */
#include "frontend/elaborate/elaborate.h"

/* The common complaint; a tensor where a compile-time value is needed has one of its own. */
static bool wrong_kind(Elaborator *el, Val value, const char *what, const char *wanted,
                       Place place) {
    if (value.kind == VAL_ERROR || val_stands_in(el, value)) {
        return false;
    }
    if (value.kind == VAL_TENSOR) {
        Diag *diag = EL_REPORT(el, NOT_COMPILE_TIME, place, what, val_describe(el, value));
        if (value.place.line != place.line && value.place.source) {
            elaborate_note(el, diag, value.place, "the tensor comes from here");
        }
        return false;
    }
    EL_REPORT(el, WRONG_KIND, place, what, wanted, val_describe(el, value));
    return false;
}

bool need_int(Elaborator *el, Val value, const char *what, Place place, int64_t *out) {
    if (value.kind == VAL_INT) {
        *out = value.as.i;
        return true;
    }
    if (value.kind == VAL_SIZE && !el->trial) {
        Diag *diag = EL_REPORT(el, NOT_COMPILE_TIME, place, what, val_describe(el, value));
        elaborate_help(el, diag, "fix the dim when compiling, e.g. -D %s=…",
                       size_text(el->context, value.as.size));
        return false;
    }
    return wrong_kind(el, value, what, "an integer", place);
}

bool need_size(Elaborator *el, Val value, const char *what, Place place, const Size **out) {
    return val_as_size(el, value, out) ||
           wrong_kind(el, value, what, "an integer or a size", place);
}

bool need_float(Elaborator *el, Val value, const char *what, Place place, double *out) {
    if (!number_exact(el, value, place)) {
        return false;
    }
    return number_to_double(value, out) || wrong_kind(el, value, what, "a number", place);
}

bool need_bool(Elaborator *el, Val value, const char *what, Place place, bool *out) {
    if (value.kind == VAL_BOOL) {
        *out = value.as.i != 0;
        return true;
    }
    return wrong_kind(el, value, what, "true or false", place);
}

bool need_string(Elaborator *el, Val value, const char *what, Place place, const char **out) {
    if (value.kind == VAL_STRING) {
        *out = value.as.text;
        return true;
    }
    return wrong_kind(el, value, what, "a string", place);
}

bool need_axis(Elaborator *el, Val value, int32_t rank, Place place, int64_t *out) {
    int64_t axis = 0;
    if (!need_int(el, value, "an axis", place, &axis)) {
        return false;
    }
    if (axis < -(int64_t)rank || axis >= rank) {
        EL_REPORT(el, AXIS_RANGE, place, (long long)axis, (int)rank);
        return false;
    }
    *out = axis < 0 ? axis + rank : axis;
    return true;
}

bool need_axes(Elaborator *el, Val value, int32_t rank, Place place, int64_t *out,
               int32_t *out_count) {
    *out_count = 0;
    if (value.kind == VAL_NONE) {
        for (int32_t i = 0; i < rank; i++) {
            out[i] = i;
        }
        *out_count = rank;
        return true;
    }
    bool seen[TYPE_MAX_RANK] = {false};
    bool list = value.kind == VAL_LIST || value.kind == VAL_TUPLE;
    int32_t count = list ? value.as.list.count : 1;
    for (int32_t i = 0; i < count; i++) {
        int64_t axis = 0;
        if (!need_axis(el, list ? value.as.list.items[i] : value, rank, place, &axis)) {
            return false;
        }
        if (seen[axis]) {
            EL_REPORT(el, AXIS_TWICE, place, (long long)axis);
            return false;
        }
        seen[axis] = true;
    }
    for (int32_t i = 0; i < rank; i++) {
        if (seen[i]) {
            out[(*out_count)++] = i;
        }
    }
    return true;
}

bool need_shape(Elaborator *el, Val value, const char *what, Place place, const Size **out,
                int32_t *out_rank) {
    bool list = value.kind == VAL_LIST || value.kind == VAL_TUPLE;
    if (!list) {
        *out_rank = 1;
        if (!val_as_size(el, value, &out[0])) {
            return wrong_kind(el, value, what, "a list of sizes", place);
        }
    } else {
        *out_rank = value.as.list.count;
        if (*out_rank > TYPE_MAX_RANK) {
            EL_REPORT(el, RANK_LIMIT, place, (int)*out_rank);
            return false;
        }
        for (int32_t i = 0; i < *out_rank; i++) {
            if (!need_size(el, value.as.list.items[i], "a size of a shape", place, &out[i])) {
                return false;
            }
        }
    }
    const Size *zero = size_const(el->context, 0);
    for (int32_t i = 0; i < *out_rank; i++) {
        if (size_is_error(out[i])) {
            EL_REPORT(el, OVERFLOW, place, "a size");
            return false;
        }
        if (size_less_equal(el->context, zero, out[i]) == TRUTH_NO) {
            EL_REPORT(el, SIZE_SMALL, place, "a size", size_text(el->context, out[i]), "0");
            return false;
        }
        (void)shown_le(el, zero, out[i], "a size of this shape is negative", place);
    }
    return true;
}
