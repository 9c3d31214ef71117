/* Ranges of sizes: proved, refuted, or checked when the plan runs. */
#include "frontend/elaborate/elaborate.h"

#include <inttypes.h>

bool shown_le(Elaborator *el, const Size *a, const Size *b, const char *what, Place place) {
    Truth truth = size_less_equal(el->context, a, b);
    if (truth == TRUTH_MAYBE) {
        Place at = elaborate_user_place(el, place);
        const char *text =
            arena_format(el->arena, "%s:%d:%d: %s: %s is above %s",
                         at.source ? at.source->name : "", (int)at.line, (int)at.column, what,
                         size_text(el->context, a), size_text(el->context, b));
        elaborate_at(el, place);
        b_size_check(&el->b, size_min(el->context, a, b), a, text);
        return !elaborate_building_failed(el, place);
    }
    return truth == TRUTH_YES;
}

bool shown_within(Elaborator *el, const Size *size, int64_t least, int64_t most, const char *what,
                  Place place) {
    const Size *low = size_const(el->context, least), *high = size_const(el->context, most);
    const char *above = most == INDEX_SIZE_MOST
                            ? arena_format(el->arena, "%" PRId64 ", as far as i32 counts", most)
                            : size_text(el->context, high);
    const char *bound = arena_format(el->arena, "at least %" PRId64, least);
    if (shown_le(el, low, size, arena_format(el->arena, "%s must be %s", what, bound), place)) {
        bound = arena_format(el->arena, "at most %s", above);
        if (shown_le(el, size, high, arena_format(el->arena, "%s must be %s", what, bound),
                     place)) {
            return true;
        }
    }
    EL_REPORT(el, VALUE_RANGE, place, what, bound, size_text(el->context, size));
    return false;
}

bool check_range(Elaborator *el, const Size *start, const Size *limit, const Size *size,
                 Place place) {
    const Size *zero = size_const(el->context, 0);
    if (shown_le(el, zero, start, "a slice starts below 0", place) &&
        shown_le(el, start, limit, "a slice ends before it starts", place) &&
        shown_le(el, limit, size, "a slice ends behind the axis", place)) {
        return true;
    }
    Diag *diag = EL_REPORT(el, SLICE_RANGE, place, size_text(el->context, start),
                           size_text(el->context, limit), size_text(el->context, size));
    elaborate_help(el, diag, "slices are never clamped; negative bounds count from the end");
    return false;
}

bool may_count_back(Elaborator *el, Val value) {
    return el->trial && value.kind == VAL_SIZE &&
           size_less_equal(el->context, size_const(el->context, 0), value.as.size) != TRUTH_YES;
}
