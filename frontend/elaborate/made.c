/* Ops as elaboration makes them: with their place and label, the builder's complaints turned into
 * diagnostics, and the limit of their number. */
#include "frontend/elaborate/elaborate.h"

void elaborate_at(Elaborator *el, Place place) {
    el->b.place = elaborate_user_place(el, place);
    for (Frame *f = el->frame; f; f = f->caller) {
        if (f->path) {
            el->b.label = f->path;
            return;
        }
    }
    el->b.label = "";
}

bool elaborate_building_failed(Elaborator *el, Place place) {
    if (el->b.problem.text == NULL) {
        return false;
    }
    EL_REPORT(el, SHAPE_RULE, place, el->b.problem.text);
    el->b.problem.text = NULL;
    return true;
}

Value *elaborate_made(Elaborator *el, Value *value, Place place) {
    if (elaborate_building_failed(el, place)) {
        return NULL;
    }
    if (++el->n_ops > ELABORATE_MAX_OPS) {
        elaborate_limit(el, place, "the program has more than 1,000,000 operations");
        return NULL;
    }
    return value;
}
