/* The sides of an axis function: sizes written in the pattern, operands taken apart into named
 * axes, and the names that the right side wants. */
#include "frontend/elaborate/axis.h"

#include <string.h>

static int32_t name_index(AxisCall *c, const char *name, Place place) {
    for (int32_t i = 0; i < c->n_names; i++) {
        if (c->names[i].name == name) {
            return i;
        }
    }
    if (c->n_names == MAX_NAMES) {
        elaborate_limit(c->el, place, "more than 64 axes in an axis function");
        c->failed = true;
        return 0;
    }
    c->names[c->n_names] = (AxisName){.name = name, .place = place};
    return c->n_names++;
}

static int32_t rest_index(AxisCall *c, int32_t from_right, Place place) {
    return name_index(c, context_internf(c->el->context, "...%d", (int)from_right), place);
}

/* -- sizes written in the pattern */

void axis_read_sizes(AxisCall *c, const AstAxisTerms *terms) {
    Elaborator *el = c->el;
    for (int32_t i = 0; i < terms->count && !c->failed; i++) {
        const AstAxisTerm *term = &terms->items[i];
        if (term->kind == AST_AXIS_GROUP) {
            axis_read_sizes(c, &term->terms);
        }
        if (term->kind != AST_AXIS_NAME || term->size == NULL) {
            continue;
        }
        const Size *size = NULL;
        Val value = elaborate_expr(el, term->size);
        if (!need_size(el, value, "the size of an axis", term->size->place, &size)) {
            c->failed = true;
            return;
        }
        AxisName *name = &c->names[name_index(c, term->name, term->place)];
        if (name->size && size_equal(el->context, name->size, size) == TRUTH_NO) {
            Diag *diag =
                EL_REPORT(el, AXES_SIZE, term->place, term->name, size_text(el->context, size),
                          size_text(el->context, name->size));
            elaborate_note(el, diag, name->place, "given here");
            c->failed = true;
            return;
        }
        /* What is refuted, the op's own rule refuses. */
        (void)shown_le(el, size_const(el->context, 0), size, "the size of an axis is negative",
                       term->place);
        name->size = size;
        name->place = term->place;
    }
}

/* The axis' size is `size`: learned, or compared with what is known. */
static void learn(AxisCall *c, int32_t index, const Size *size, Place place, Place from) {
    Elaborator *el = c->el;
    AxisName *name = &c->names[index];
    if (name->size == NULL) {
        name->size = size;
        name->place = from.source ? from : place;
        return;
    }
    Truth truth = size_equal(el->context, name->size, size);
    if (truth == TRUTH_NO) {
        Diag *diag = EL_REPORT(el, AXES_SIZE, place, name->name, size_text(el->context, size),
                               size_text(el->context, name->size));
        elaborate_note(el, diag, name->place, "%s is %s because of this", name->name,
                       size_text(el->context, name->size));
        if (from.source) {
            elaborate_note(el, diag, from, "the tensor comes from here");
        }
        c->failed = true;
        return;
    }
    if (truth == TRUTH_MAYBE &&
        !elaborate_same_size(el, size, from, name->size, name->place, place,
                             arena_format(el->arena, "axis '%s'", name->name))) {
        c->failed = true;
    }
}

/* -- taking operands apart */

static int32_t top_terms(const AstAxisSide *side, bool *rest) {
    int32_t count = 0;
    *rest = false;
    for (int32_t i = 0; i < side->terms.count; i++) {
        if (side->terms.items[i].kind == AST_AXIS_ELLIPSIS) {
            *rest = true;
        } else {
            count++;
        }
    }
    return count;
}

bool axis_check_rank(AxisCall *c, const AstAxisSide *side, Val operand, Place place) {
    Type type = operand.as.tensor->type;
    bool rest = false;
    int32_t count = top_terms(side, &rest);
    if (rest ? type.rank < count : type.rank != count) {
        Diag *diag =
            EL_REPORT(c->el, AXES_RANK, side->place, (int)count, type_text(c->el->context, type));
        if (operand.place.source) {
            elaborate_note(c->el, diag, operand.place, "the tensor comes from here");
        } else {
            elaborate_note(c->el, diag, place, "the tensor is given here");
        }
        c->failed = true;
        return false;
    }
    int32_t n_rest = type.rank - count;
    if (rest && c->n_rest >= 0 && c->n_rest != n_rest) {
        EL_REPORT(c->el, AXES_ELLIPSIS, side->place,
                  "`...` stands for different numbers of axes in these tensors");
        c->failed = true;
        return false;
    }
    if (rest) {
        c->n_rest = n_rest;
    }
    return true;
}

static const char *group_text(AxisCall *c, const AstAxisTerm *group) {
    const char *text = "";
    for (int32_t i = 0; i < group->terms.count; i++) {
        const AstAxisTerm *term = &group->terms.items[i];
        text = arena_format(c->el->arena, "%s%s%s", text, i ? " " : "",
                            term->kind == AST_AXIS_NAME ? term->name : "1");
    }
    return text;
}

/* No size stands alone but 1. */
static bool axis_is_one(AxisCall *c, const AstAxisTerm *term) {
    if (term->integer != 1) {
        EL_REPORT(c->el, AXES_ELLIPSIS, term->place,
                  "an axis is a name, `name=size` or 1, and no other number");
        c->failed = true;
    }
    return term->integer == 1;
}

/* Solves the one unknown size of a group and checks the rest. */
static void solve_group(AxisCall *c, const AstAxisTerm *group, const Size *dim, Place from) {
    Elaborator *el = c->el;
    Context *context = el->context;
    const Size *known = size_const(context, 1);
    int32_t unknown = -1;
    for (int32_t i = 0; i < group->terms.count; i++) {
        const AstAxisTerm *term = &group->terms.items[i];
        if (term->kind == AST_AXIS_ONE) {
            if (!axis_is_one(c, term)) {
                return;
            }
            continue;
        }
        if (term->kind != AST_AXIS_NAME) {
            EL_REPORT(el, AXES_ELLIPSIS, term->place, "a group holds names only");
            c->failed = true;
            return;
        }
        int32_t index = name_index(c, term->name, term->place);
        if (c->names[index].size) {
            known = size_mul(context, known, c->names[index].size);
        } else if (unknown >= 0) {
            Diag *diag = EL_REPORT(el, AXES_SPLIT, group->place,
                                   arena_format(el->arena, "'%s' and '%s' are both open",
                                                c->names[unknown].name, term->name));
            elaborate_help(el, diag, "give one: %s=…", c->names[unknown].name);
            c->failed = true;
            return;
        } else {
            unknown = index;
        }
    }
    const Size *product = known;
    if (unknown >= 0) {
        const Size *quotient = size_other_factor(context, dim, known);
        if (quotient == NULL) {
            zero_divisor(el, known, group->place);
            c->failed = true;
            return;
        }
        c->names[unknown].size = quotient;
        product = size_mul(context, quotient, known);
    }
    if (size_equal(context, product, dim) == TRUTH_NO) {
        Diag *diag = EL_REPORT(el, AXES_NOT_DIVISIBLE, group->place, group_text(c, group),
                               size_text(context, known), size_text(context, dim));
        if (from.source) {
            elaborate_note(el, diag, from, "the tensor comes from here");
        }
        c->failed = true;
        return;
    }
    if (!elaborate_same_size(el, product, group->place, dim, from, group->place,
                             arena_format(el->arena, "the group (%s)", group_text(c, group)))) {
        c->failed = true;
    }
}

void axis_visit_operand(AxisCall *c, const AstAxisSide *side, Val operand, bool groups) {
    Type type = operand.as.tensor->type;
    int32_t axis = 0;
    for (int32_t i = 0; i < side->terms.count && !c->failed; i++) {
        const AstAxisTerm *term = &side->terms.items[i];
        const Size *dim = axis < type.rank ? type.dims[axis] : NULL;
        switch (term->kind) {
        case AST_AXIS_ELLIPSIS:
            for (int32_t k = 0; !groups && k < c->n_rest; k++) {
                learn(c, rest_index(c, c->n_rest - 1 - k, term->place), type.dims[axis + k],
                      term->place, operand.place);
            }
            axis += c->n_rest;
            continue;
        case AST_AXIS_NAME:
            if (!groups) {
                learn(c, name_index(c, term->name, term->place), dim, term->place, operand.place);
            }
            break;
        case AST_AXIS_ONE:
            if (!groups &&
                (term->integer != 1 ||
                 size_equal(c->el->context, dim, size_const(c->el->context, 1)) != TRUTH_YES)) {
                Diag *diag =
                    EL_REPORT(c->el, AXES_ONE, term->place, size_text(c->el->context, dim));
                elaborate_note(c->el, diag, operand.place, "the tensor comes from here");
                c->failed = true;
            }
            break;
        case AST_AXIS_GROUP:
            if (groups) {
                solve_group(c, term, dim, operand.place);
            }
            break;
        }
        axis++;
    }
}

/* x with two axes of one name: the diagonal, by a mask and a sum. */
static bool take_diagonal(AxisCall *c, Labelled *x, int32_t first, int32_t second) {
    Elaborator *el = c->el;
    Type type = x->value->type;
    elaborate_at(el, c->place);
    Type index = type_with_dtype(type, DT_I32);
    Value *i = index_along(el, first, index, c->place);
    Value *j = index_along(el, second, index, c->place);
    Value *same = elaborate_made(el, b_binary(&el->b, OP_eq, i, j), c->place);
    Value *zero = elaborate_made(el, b_constant_like(&el->b, 0.0, x->value), c->place);
    Value *masked = elaborate_made(el, b_select(&el->b, same, x->value, zero), c->place);
    int64_t axis = second;
    OpCode code = type.dtype == DT_BOOL ? OP_reduce_max : OP_reduce_sum;
    x->value = elaborate_made(el, b_reduce(&el->b, code, masked, &axis, 1), c->place);
    for (int32_t k = second; k + 1 < x->rank; k++) {
        x->labels[k] = x->labels[k + 1];
    }
    x->rank--;
    return x->value != NULL;
}

bool axis_take_apart(AxisCall *c, const AstAxisSide *side, Val operand, Labelled *out) {
    Elaborator *el = c->el;
    const Size *shape[MAX_NAMES] = {NULL};
    int32_t labels[MAX_NAMES], rank = 0;
    for (int32_t i = 0; i < side->terms.count; i++) {
        const AstAxisTerm *term = &side->terms.items[i];
        if (term->kind == AST_AXIS_NAME) {
            labels[rank++] = name_index(c, term->name, term->place);
        } else if (term->kind == AST_AXIS_ELLIPSIS) {
            for (int32_t k = 0; k < c->n_rest; k++) {
                labels[rank++] = rest_index(c, c->n_rest - 1 - k, term->place);
            }
        } else if (term->kind == AST_AXIS_GROUP) {
            for (int32_t k = 0; k < term->terms.count && rank < MAX_NAMES - 1; k++) {
                const AstAxisTerm *part = &term->terms.items[k];
                if (part->kind == AST_AXIS_NAME) {
                    labels[rank++] = name_index(c, part->name, part->place);
                }
            }
        }
        if (rank > TYPE_MAX_RANK) {
            EL_REPORT(el, RANK_LIMIT, c->place, (int)rank);
            return false;
        }
    }
    for (int32_t i = 0; i < rank; i++) {
        shape[i] = c->names[labels[i]].size;
    }
    out->value = elaborate_reshape(el, operand.as.tensor, shape, rank, c->place);
    out->rank = rank;
    out->weak = operand.weak;
    memcpy(out->labels, labels, (size_t)rank * sizeof(labels[0]));
    for (int32_t i = 0; out->value && i < out->rank; i++) {
        for (int32_t k = out->rank - 1; k > i; k--) {
            if (out->labels[i] == out->labels[k] && !take_diagonal(c, out, i, k)) {
                return false;
            }
        }
    }
    return out->value != NULL;
}

/* -- the right side */

void axis_right_term(AxisCall *c, const AstAxisTerm *term) {
    int32_t index = 0;
    if (c->failed) {
        return;
    }
    switch (term->kind) {
    case AST_AXIS_GROUP:
        for (int32_t i = 0; i < term->terms.count; i++) {
            axis_right_term(c, &term->terms.items[i]);
        }
        return;
    case AST_AXIS_ONE:
        axis_is_one(c, term);
        return;
    case AST_AXIS_ELLIPSIS:
        if (c->n_rest < 0) {
            EL_REPORT(c->el, AXES_ELLIPSIS, term->place, "`...` stands only on the right");
            c->failed = true;
            return;
        }
        for (int32_t k = 0; k < c->n_rest && c->n_right < MAX_NAMES; k++) {
            c->right[c->n_right++] = rest_index(c, c->n_rest - 1 - k, term->place);
        }
        return;
    case AST_AXIS_NAME:
        index = name_index(c, term->name, term->place);
        break;
    }
    if (c->names[index].size == NULL) {
        Diag *diag = EL_REPORT(c->el, AXES_NEW_NAME, term->place, term->name);
        Map names;
        map_init(&names, c->el->arena);
        for (int32_t i = 0; i < c->n_names; i++) {
            if (c->names[i].size) {
                map_set(&names, c->names[i].name, c);
            }
        }
        const char *near = map_suggest(&names, term->name);
        if (near && strlen(term->name) > 1) {
            elaborate_help(c->el, diag, "did you mean '%s'? A new axis needs a size: %s=…", near,
                           term->name);
        } else {
            elaborate_help(c->el, diag, "give the new axis a size: %s=…", term->name);
        }
        c->failed = true;
        return;
    }
    for (int32_t i = 0; i < c->n_right; i++) {
        if (c->right[i] == index) {
            EL_REPORT(c->el, AXES_REPEATED, term->place, term->name);
            c->failed = true;
            return;
        }
    }
    if (c->n_right < MAX_NAMES) {
        c->right[c->n_right++] = index;
    }
}
