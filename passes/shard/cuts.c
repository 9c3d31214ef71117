/* Arithmetic of cuts: what is equal, what may stand beside what, and where a cut goes when a value
 * is reshaped. */
#include "passes/shard/shard.h"

#include <string.h>

bool cut_equal(const AxisCut *a, const AxisCut *b) {
    return a->axis == b->axis && a->group == b->group && a->outer == b->outer &&
           a->rows == b->rows && a->inner == b->inner;
}

bool cuts_equal(const Cuts *a, const Cuts *b) {
    bool equal = a->n == b->n;
    for (int32_t i = 0; i < a->n && equal; i++) {
        equal = cut_equal(&a->at[i], &b->at[i]);
    }
    return equal;
}

const AxisCut *cuts_of_axis(const Cuts *cuts, int64_t axis) {
    for (int32_t i = 0; i < cuts->n; i++) {
        if (cuts->at[i].axis == axis) {
            return &cuts->at[i];
        }
    }
    return NULL;
}

MeshGroup cuts_groups(const Cuts *cuts) {
    MeshGroup groups = 0;
    for (int32_t i = 0; i < cuts->n; i++) {
        groups |= cuts->at[i].group;
    }
    return groups;
}

bool cuts_add(Cuts *cuts, const AxisCut *cut, int32_t axis, CutCause cause) {
    int64_t rows;
    bool is_empty = size_is_const(cut->rows, &rows) && rows == 0;
    if (is_empty || cuts->n == SHARD_MAX_CUTS || cuts_of_axis(cuts, axis) ||
        (cuts_groups(cuts) & cut->group) != 0) {
        return false;
    }
    int32_t at = cuts->n++;
    for (; at > 0 && cuts->at[at - 1].axis > axis; at--) {
        cuts->at[at] = cuts->at[at - 1];
        cuts->cause[at] = cuts->cause[at - 1];
    }
    cuts->cause[at] = (uint8_t)cause;
    cuts->at[at] = *cut;
    cuts->at[at].axis = axis;
    return true;
}

AxisCut cut_of_rows(const Shard *s, MeshGroup group, const Size *rows) {
    const Size *one = size_const(s->context, 1);
    return (AxisCut){.group = group, .outer = one, .rows = rows, .inner = one};
}

double type_nominal_bytes(Type type) {
    double bytes = dtype_bytes(type.dtype);
    for (int32_t axis = 0; axis < type.rank; axis++) {
        bytes *= (double)size_nominal(type.dims[axis], UNSET_SIZE);
    }
    return bytes;
}

static const Size *product(Context *context, Type type, int32_t from, int32_t to) {
    const Size *size = size_const(context, 1);
    for (int32_t axis = from; axis < to; axis++) {
        size = size_mul(context, size, type.dims[axis]);
    }
    return size;
}

const Size *exact_quotient(Context *context, const Size *whole, const Size *part) {
    const Size *q = size_other_factor(context, whole, part);
    return q && !size_is_error(q) && size_mul(context, q, part) == whole ? q : NULL;
}

bool cut_reshape(Context *context, Type from, Type to, const AxisCut *cut, AxisCut *out) {
    const Size *before = size_mul(context, product(context, from, 0, cut->axis), cut->outer);
    const Size *behind =
        size_mul(context, cut->inner, product(context, from, cut->axis + 1, from.rank));
    for (int32_t axis = 0; axis < to.rank; axis++) {
        const Size *outer = exact_quotient(context, before, product(context, to, 0, axis));
        const Size *inner =
            exact_quotient(context, behind, product(context, to, axis + 1, to.rank));
        if (!outer || !inner) {
            continue;
        }
        const Size *all = size_mul(context, size_mul(context, outer, cut->rows), inner);
        if (all == to.dims[axis]) {
            *out = (AxisCut){.axis = axis,
                             .group = cut->group,
                             .outer = outer,
                             .rows = cut->rows,
                             .inner = inner};
            return true;
        }
    }
    return false;
}

Type cuts_type(const Shard *s, Type whole, const Cuts *cuts) {
    return cuts->n == 0 ? whole : module_cut_type(s->module, whole, cuts->at, cuts->n);
}

void cut_offer(Shard *s, const Value *to, const AxisCut *cut, int32_t axis) {
    Spread *spread = spread_of(s, to);
    Offered offered = {.spread = spread, .before = spread->cuts};
    if ((spread->pinned & cut->group) == 0 && cuts_add(&spread->cuts, cut, axis, s->cause)) {
        s->changed = true;
        if (s->is_trying) {
            VEC_PUSH(s->pass->scratch, &s->journal, offered);
        }
    }
}

Cuts cuts_to_pass(const Shard *s, const Value *value) {
    const Cuts *all = &spread_of(s, value)->cuts;
    Cuts cuts = {0};
    for (int32_t i = 0; i < all->n; i++) {
        CutCause cause = (CutCause)all->cause[i];
        if (cause != CUT_BETWEEN || s->cause != CUT_CHOSEN) {
            cuts_add(&cuts, &all->at[i], all->at[i].axis, cause);
        }
    }
    return cuts;
}

void journal_begin(Shard *s) {
    s->is_trying = true;
    s->journal.count = 0;
}

void journal_undo(Shard *s) {
    while (s->journal.count > 0) {
        const Offered *offered = &s->journal.items[--s->journal.count];
        offered->spread->cuts = offered->before;
    }
    s->is_trying = false;
}

bool spread_is_kept(const Spread *spread, const AxisCut *cut) {
    for (int32_t i = 0; i < spread->cuts.n; i++) {
        if (&spread->cuts.at[i] == cut) {
            return spread->cuts.cause[i] == CUT_KEPT;
        }
    }
    return false;
}

/* -- A cut as text */

/* A size in a product: "B", "(B + 1)". */
static const char *factor_text(const Shard *s, const Size *size) {
    const char *text = size_text(s->context, size);
    return strpbrk(text, " +-*/") ? arena_format(s->arena, "(%s)", text) : text;
}

/* "3·4@model·16": outer, the rows and who shares them, inner; a 1 is left out. */
static void add_axis(const Shard *s, const Cuts *cuts, int32_t axis, const Size *size, Str *out) {
    const AxisCut *cut = cuts_of_axis(cuts, axis);
    if (!cut) {
        str_add(out, size_text(s->context, size));
        return;
    }
    if (!size_is_one(cut->outer)) {
        str_addf(out, "%s·", factor_text(s, cut->outer));
    }
    str_addf(out, "%s@%s", factor_text(s, cut->rows), module_group_text(s->module, cut->group));
    if (!size_is_one(cut->inner)) {
        str_addf(out, "·%s", factor_text(s, cut->inner));
    }
}

const char *cuts_text(const Shard *s, Type whole, const Cuts *cuts) {
    Str text;
    str_init(&text, s->context->allocator);
    str_addf(&text, "%s[", dtype_name(whole.dtype));
    for (int32_t axis = 0; axis < whole.rank; axis++) {
        str_add(&text, axis > 0 ? ", " : "");
        add_axis(s, cuts, axis, whole.dims[axis], &text);
    }
    str_add(&text, "]");
    const char *copy = arena_format(s->arena, "%s", str_text(&text));
    str_finish(&text);
    return copy;
}
