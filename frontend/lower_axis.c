/* Axis functions, `{b t (h=heads d) -> b h t d}`: the left sides take operands apart into named
 * axes, the names say what is summed, and the right side puts the result together. One operand
 * becomes reshape, reduce, transpose, broadcast; two become one contract. */
#include "frontend/lower.h"

#include <string.h>

enum { MAX_NAMES = 64 };

typedef struct AxisName {
    const char *name; /* interned; ellipsis axes are "...0" from the right */
    const Size *size; /* NULL: not known yet */
    Place place;
} AxisName;

/* A tensor whose axes carry names (indices into the table). */
typedef struct Labelled {
    Value *value;
    int32_t rank;
    int32_t labels[TYPE_MAX_RANK];
    bool weak;
} Labelled;

typedef struct AxisCall {
    Lower *lw;
    const AstExpr *expr;
    Place place;
    AxisName names[MAX_NAMES];
    int32_t n_names;
    int32_t n_rest; /* axes that `...` stands for */
    int32_t right[MAX_NAMES];
    int32_t n_right;
    bool failed;
} AxisCall;

static int32_t name_index(AxisCall *c, const char *name, Place place) {
    for (int32_t i = 0; i < c->n_names; i++) {
        if (c->names[i].name == name) {
            return i;
        }
    }
    if (c->n_names == MAX_NAMES) {
        lower_limit(c->lw, place, "more than 64 axes in an axis function");
        c->failed = true;
        return 0;
    }
    c->names[c->n_names] = (AxisName){.name = name, .place = place};
    return c->n_names++;
}

static int32_t rest_index(AxisCall *c, int32_t from_right, Place place) {
    return name_index(c, context_internf(c->lw->context, "...%d", (int)from_right), place);
}

/* -- sizes written in the pattern */

static void read_sizes(AxisCall *c, const AstAxisTerms *terms) {
    Lower *lw = c->lw;
    for (int32_t i = 0; i < terms->count && !c->failed; i++) {
        const AstAxisTerm *term = &terms->items[i];
        if (term->kind == AST_AXIS_GROUP) {
            read_sizes(c, &term->terms);
        }
        if (term->kind != AST_AXIS_NAME || term->size == NULL) {
            continue;
        }
        const Size *size = NULL;
        Val value = lower_expr(lw, term->size);
        if (!need_size(lw, value, "the size of an axis", term->size->place, &size)) {
            c->failed = true;
            return;
        }
        AxisName *name = &c->names[name_index(c, term->name, term->place)];
        if (name->size && size_equal(lw->context, name->size, size) == TRUTH_NO) {
            Diag *diag =
                LW_REPORT(lw, AXES_SIZE, term->place, term->name, size_text(lw->context, size),
                          size_text(lw->context, name->size));
            lower_note(lw, diag, name->place, "given here");
            c->failed = true;
            return;
        }
        name->size = size;
        name->place = term->place;
    }
}

/* The axis' size is `size`: learned, or compared with what is known. */
static void learn(AxisCall *c, int32_t index, const Size *size, Place place, Place from) {
    Lower *lw = c->lw;
    AxisName *name = &c->names[index];
    if (name->size == NULL) {
        name->size = size;
        name->place = from.source ? from : place;
        return;
    }
    Truth truth = size_equal(lw->context, name->size, size);
    if (truth == TRUTH_NO) {
        Diag *diag = LW_REPORT(lw, AXES_SIZE, place, name->name, size_text(lw->context, size),
                               size_text(lw->context, name->size));
        lower_note(lw, diag, name->place, "%s is %s because of this", name->name,
                   size_text(lw->context, name->size));
        if (from.source) {
            lower_note(lw, diag, from, "the tensor comes from here");
        }
        c->failed = true;
        return;
    }
    if (truth == TRUTH_MAYBE &&
        !lower_same_size(lw, size, from, name->size, name->place, place,
                         arena_format(lw->arena, "axis '%s'", name->name))) {
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

static bool check_rank(AxisCall *c, const AstAxisSide *side, Val operand, Place place) {
    Type type = operand.as.tensor->type;
    bool rest = false;
    int32_t count = top_terms(side, &rest);
    if (rest ? type.rank < count : type.rank != count) {
        Diag *diag =
            LW_REPORT(c->lw, AXES_RANK, side->place, (int)count, type_text(c->lw->context, type));
        if (operand.place.source) {
            lower_note(c->lw, diag, operand.place, "the tensor comes from here");
        } else {
            lower_note(c->lw, diag, place, "the tensor is given here");
        }
        c->failed = true;
        return false;
    }
    int32_t n_rest = type.rank - count;
    if (rest && c->n_rest >= 0 && c->n_rest != n_rest) {
        LW_REPORT(c->lw, AXES_ELLIPSIS, side->place,
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
        text = arena_format(c->lw->arena, "%s%s%s", text, i ? " " : "",
                            term->kind == AST_AXIS_NAME ? term->name : "1");
    }
    return text;
}

/* Solves the one unknown size of a group and checks the rest. */
static void solve_group(AxisCall *c, const AstAxisTerm *group, const Size *dim, Place from) {
    Lower *lw = c->lw;
    Context *context = lw->context;
    const Size *known = size_const(context, 1);
    int32_t unknown = -1;
    for (int32_t i = 0; i < group->terms.count; i++) {
        const AstAxisTerm *term = &group->terms.items[i];
        if (term->kind == AST_AXIS_ONE) {
            continue;
        }
        if (term->kind != AST_AXIS_NAME) {
            LW_REPORT(lw, AXES_ELLIPSIS, term->place, "a group holds names only");
            c->failed = true;
            return;
        }
        int32_t index = name_index(c, term->name, term->place);
        if (c->names[index].size) {
            known = size_mul(context, known, c->names[index].size);
        } else if (unknown >= 0) {
            Diag *diag = LW_REPORT(lw, AXES_SPLIT, group->place,
                                   arena_format(lw->arena, "'%s' and '%s' are both open",
                                                c->names[unknown].name, term->name));
            lower_help(lw, diag, "give one: %s=…", c->names[unknown].name);
            c->failed = true;
            return;
        } else {
            unknown = index;
        }
    }
    const Size *product = known;
    if (unknown >= 0) {
        const Size *quotient = size_floordiv(context, dim, known);
        if (quotient == NULL) {
            LW_REPORT(lw, DIVISION_BY_ZERO, group->place, "");
            c->failed = true;
            return;
        }
        c->names[unknown].size = quotient;
        product = size_mul(context, quotient, known);
    }
    if (size_equal(context, product, dim) == TRUTH_NO) {
        Diag *diag = LW_REPORT(lw, AXES_NOT_DIVISIBLE, group->place, group_text(c, group),
                               size_text(context, known), size_text(context, dim));
        if (from.source) {
            lower_note(lw, diag, from, "the tensor comes from here");
        }
        c->failed = true;
        return;
    }
    if (!lower_same_size(lw, product, group->place, dim, from, group->place,
                         arena_format(lw->arena, "the group (%s)", group_text(c, group)))) {
        c->failed = true;
    }
}

/* Learns sizes from one operand: plain names in the first visit, groups in the second. */
static void visit_operand(AxisCall *c, const AstAxisSide *side, Val operand, bool groups) {
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
                 size_equal(c->lw->context, dim, size_const(c->lw->context, 1)) != TRUTH_YES)) {
                Diag *diag =
                    LW_REPORT(c->lw, AXES_ONE, term->place, size_text(c->lw->context, dim));
                lower_note(c->lw, diag, operand.place, "the tensor comes from here");
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
    Lower *lw = c->lw;
    Type type = x->value->type;
    lower_at(lw, c->place);
    Type index = type_with_dtype(type, DT_I32);
    Value *i = lower_made(lw, b_iota(&lw->b, first, index), c->place);
    Value *j = lower_made(lw, b_iota(&lw->b, second, index), c->place);
    Value *same = lower_made(lw, b_binary(&lw->b, OP_eq, i, j), c->place);
    Value *zero = lower_made(lw, b_constant_like(&lw->b, 0.0, x->value), c->place);
    Value *masked = lower_made(lw, b_select(&lw->b, same, x->value, zero), c->place);
    int64_t axis = second;
    OpCode code = type.dtype == DT_BOOL ? OP_reduce_max : OP_reduce_sum;
    x->value = lower_made(lw, b_reduce(&lw->b, code, masked, &axis, 1), c->place);
    for (int32_t k = second; k + 1 < x->rank; k++) {
        x->labels[k] = x->labels[k + 1];
    }
    x->rank--;
    return x->value != NULL;
}

/* The operand as a tensor with one axis a name. */
static bool take_apart(AxisCall *c, const AstAxisSide *side, Val operand, Labelled *out) {
    Lower *lw = c->lw;
    const Size *shape[MAX_NAMES];
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
            LW_REPORT(lw, RANK_LIMIT, c->place, (int)rank);
            return false;
        }
    }
    for (int32_t i = 0; i < rank; i++) {
        shape[i] = c->names[labels[i]].size;
    }
    out->value = lower_reshape(lw, operand.as.tensor, shape, rank, c->place);
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

static void right_term(AxisCall *c, const AstAxisTerm *term) {
    int32_t index = 0;
    if (c->failed) {
        return;
    }
    switch (term->kind) {
    case AST_AXIS_GROUP:
        for (int32_t i = 0; i < term->terms.count; i++) {
            right_term(c, &term->terms.items[i]);
        }
        return;
    case AST_AXIS_ONE:
        return;
    case AST_AXIS_ELLIPSIS:
        if (c->n_rest < 0) {
            LW_REPORT(c->lw, AXES_ELLIPSIS, term->place, "`...` stands only on the right");
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
        Diag *diag = LW_REPORT(c->lw, AXES_NEW_NAME, term->place, term->name);
        Map names;
        map_init(&names, c->lw->arena);
        for (int32_t i = 0; i < c->n_names; i++) {
            if (c->names[i].size) {
                map_set(&names, c->names[i].name, c);
            }
        }
        const char *near = map_suggest(&names, term->name);
        if (near && strlen(term->name) > 1) {
            lower_help(c->lw, diag, "did you mean '%s'? A new axis needs a size: %s=…", near,
                       term->name);
        } else {
            lower_help(c->lw, diag, "give the new axis a size: %s=…", term->name);
        }
        c->failed = true;
        return;
    }
    for (int32_t i = 0; i < c->n_right; i++) {
        if (c->right[i] == index) {
            LW_REPORT(c->lw, AXES_REPEATED, term->place, term->name);
            c->failed = true;
            return;
        }
    }
    if (c->n_right < MAX_NAMES) {
        c->right[c->n_right++] = index;
    }
}

static int32_t find_label(const int32_t *labels, int32_t count, int32_t label) {
    for (int32_t i = 0; i < count; i++) {
        if (labels[i] == label) {
            return i;
        }
    }
    return -1;
}

/* Removes the axes that `keep` does not hold, reduced as `by` says. */
static bool reduce_away(AxisCall *c, Labelled *x, const bool *keep, const char *by) {
    int64_t axes[TYPE_MAX_RANK];
    int32_t count = 0, left = 0;
    for (int32_t i = 0; i < x->rank; i++) {
        if (keep[x->labels[i]]) {
            x->labels[left++] = x->labels[i];
        } else {
            axes[count++] = i;
        }
    }
    if (count == 0) {
        return true;
    }
    Val reduced = builtin_reduce(c->lw, by, val_tensor(x->value, x->weak, c->place), axes, count,
                                 false, c->place);
    x->rank = left;
    x->value = reduced.kind == VAL_TENSOR ? reduced.as.tensor : NULL;
    return x->value != NULL;
}

/* The result: axes in the right's order, new ones repeated, groups merged, ones added. */
static Val put_together(AxisCall *c, Labelled *x) {
    Lower *lw = c->lw;
    int64_t order[TYPE_MAX_RANK], axes[TYPE_MAX_RANK];
    const Size *shape[MAX_NAMES];
    int32_t n_old = 0;
    if (c->n_right > TYPE_MAX_RANK) {
        LW_REPORT(lw, RANK_LIMIT, c->place, (int)c->n_right);
        return val_error();
    }
    for (int32_t i = 0; i < c->n_right; i++) {
        int32_t at = find_label(x->labels, x->rank, c->right[i]);
        shape[i] = c->names[c->right[i]].size;
        if (at >= 0) {
            order[n_old] = at;
            axes[n_old++] = i;
        }
    }
    Value *value = lower_transpose(lw, x->value, order, c->place);
    if (value && n_old < c->n_right) {
        lower_at(lw, c->place);
        value = lower_made(lw, b_broadcast(&lw->b, value, c->n_right, shape, axes), c->place);
    }
    /* Merge the groups. */
    const AstAxisTerms *terms = &c->expr->as.axis_fn.result.terms;
    const Size *merged[MAX_NAMES];
    int32_t rank = 0, at = 0;
    for (int32_t i = 0; i < terms->count; i++) {
        const AstAxisTerm *term = &terms->items[i];
        if (rank + (c->n_rest > 1 ? c->n_rest : 1) > TYPE_MAX_RANK) {
            LW_REPORT(lw, RANK_LIMIT, c->place, (int)rank + 1);
            return val_error();
        }
        if (term->kind == AST_AXIS_ELLIPSIS) {
            for (int32_t k = 0; k < c->n_rest; k++) {
                merged[rank++] = shape[at++];
            }
        } else if (term->kind == AST_AXIS_ONE) {
            merged[rank++] = size_const(lw->context, 1);
        } else if (term->kind == AST_AXIS_NAME) {
            merged[rank++] = shape[at++];
        } else {
            const Size *product = size_const(lw->context, 1);
            for (int32_t k = 0; k < term->terms.count; k++) {
                if (term->terms.items[k].kind == AST_AXIS_NAME) {
                    product = size_mul(lw->context, product, shape[at++]);
                }
            }
            merged[rank++] = product;
        }
    }
    return val_tensor(lower_reshape(lw, value, merged, rank, c->place), x->weak, c->place);
}

/* -- several operands */

/* Every label of a and b that `keep` holds, in the right's order first, else as met. */
static int32_t joined_labels(AxisCall *c, const Labelled *a, const Labelled *b, const bool *keep,
                             int32_t *out) {
    int32_t count = 0;
    for (int32_t i = 0; i < c->n_right; i++) {
        if (find_label(a->labels, a->rank, c->right[i]) >= 0 ||
            find_label(b->labels, b->rank, c->right[i]) >= 0) {
            out[count++] = c->right[i];
        }
    }
    const Labelled *const both[] = {a, b};
    for (int k = 0; k < 2; k++) {
        for (int32_t i = 0; i < both[k]->rank; i++) {
            int32_t label = both[k]->labels[i];
            if (keep[label] && find_label(out, count, label) < 0) {
                out[count++] = label;
            }
        }
    }
    return count;
}

/* Without an axis to sum the product is elementwise. */
static bool multiply(AxisCall *c, Labelled *a, const Labelled *b, const bool *keep) {
    Lower *lw = c->lw;
    int32_t labels[MAX_NAMES];
    const Size *shape[MAX_NAMES];
    int32_t rank = joined_labels(c, a, b, keep, labels);
    Value *factors[2];
    if (rank > TYPE_MAX_RANK) {
        LW_REPORT(lw, RANK_LIMIT, c->place, (int)rank);
        return false;
    }
    for (int32_t i = 0; i < rank; i++) {
        shape[i] = c->names[labels[i]].size;
    }
    const Labelled *const both[] = {a, b};
    for (int k = 0; k < 2; k++) {
        int64_t order[TYPE_MAX_RANK], axes[TYPE_MAX_RANK];
        int32_t count = 0;
        for (int32_t i = 0; i < rank; i++) {
            int32_t at = find_label(both[k]->labels, both[k]->rank, labels[i]);
            if (at >= 0) {
                order[count] = at;
                axes[count++] = i;
            }
        }
        factors[k] = lower_transpose(lw, both[k]->value, order, c->place);
        if (factors[k] && count < rank) {
            lower_at(lw, c->place);
            factors[k] =
                lower_made(lw, b_broadcast(&lw->b, factors[k], rank, shape, axes), c->place);
        }
    }
    lower_at(lw, c->place);
    a->value = lower_made(lw, b_mul(&lw->b, factors[0], factors[1]), c->place);
    a->rank = rank;
    memcpy(a->labels, labels, (size_t)rank * sizeof(labels[0]));
    return a->value != NULL;
}

/* The labels of contract(a, b): batch, free of a, free of b. */
static int32_t contract_order(const AxisCall *c, const Labelled *a, const Labelled *b,
                              const bool *keep, ContractAxes *axes, int32_t *out) {
    int32_t count = 0, batch[TYPE_MAX_RANK];
    *axes = (ContractAxes){0};
    /* Batch axes in the right's order, so that no transpose has to follow. */
    for (int32_t i = 0; i < c->n_right + a->rank; i++) {
        int32_t label = i < c->n_right ? c->right[i] : a->labels[i - c->n_right];
        int32_t at_a = find_label(a->labels, a->rank, label);
        int32_t at_b = find_label(b->labels, b->rank, label);
        if (at_a < 0 || at_b < 0 || find_label(batch, axes->n_batch, label) >= 0) {
            continue;
        }
        if (keep[label]) {
            axes->batch_a[axes->n_batch] = at_a;
            axes->batch_b[axes->n_batch] = at_b;
            batch[axes->n_batch++] = label;
            out[count++] = label;
        }
    }
    for (int32_t i = 0; i < a->rank; i++) {
        int32_t at_b = find_label(b->labels, b->rank, a->labels[i]);
        if (at_b < 0) {
            out[count++] = a->labels[i];
        } else if (!keep[a->labels[i]]) {
            axes->contract_a[axes->n_contract] = i;
            axes->contract_b[axes->n_contract++] = at_b;
        }
    }
    for (int32_t i = 0; i < b->rank; i++) {
        if (find_label(a->labels, a->rank, b->labels[i]) < 0) {
            out[count++] = b->labels[i];
        }
    }
    return count;
}

static bool in_right_order(const AxisCall *c, const int32_t *labels, int32_t count) {
    int32_t last = -1;
    for (int32_t i = 0; i < count; i++) {
        int32_t at = find_label(c->right, c->n_right, labels[i]);
        if (at < last) {
            return false;
        }
        last = at;
    }
    return true;
}

static bool combine(AxisCall *c, Labelled *a, const Labelled *b, const bool *keep) {
    Lower *lw = c->lw;
    int32_t labels[MAX_NAMES], swapped[MAX_NAMES];
    ContractAxes axes, other;
    int32_t rank = contract_order(c, a, b, keep, &axes, labels);
    a->weak = a->weak && b->weak;
    if (axes.n_contract == 0) {
        return multiply(c, a, b, keep);
    }
    if (rank > TYPE_MAX_RANK) {
        LW_REPORT(lw, RANK_LIMIT, c->place, (int)rank);
        return false;
    }
    contract_order(c, b, a, keep, &other, swapped);
    lower_at(lw, c->place);
    if (!in_right_order(c, labels, rank) && in_right_order(c, swapped, rank)) {
        a->value = lower_made(lw, b_contract(&lw->b, b->value, a->value, &other), c->place);
        memcpy(labels, swapped, sizeof(labels));
    } else {
        a->value = lower_made(lw, b_contract(&lw->b, a->value, b->value, &axes), c->place);
    }
    a->rank = rank;
    memcpy(a->labels, labels, (size_t)rank * sizeof(labels[0]));
    return a->value != NULL;
}

static Val contract_all(AxisCall *c, Labelled *xs, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        /* What stands in one operand only, and not on the right, is summed before. */
        bool keep[MAX_NAMES] = {false};
        for (int32_t k = 0; k < c->n_names; k++) {
            keep[k] = find_label(c->right, c->n_right, k) >= 0;
            for (int32_t j = 0; j < count && !keep[k]; j++) {
                keep[k] = j != i && find_label(xs[j].labels, xs[j].rank, k) >= 0;
            }
        }
        if (!reduce_away(c, &xs[i], keep, "sum")) {
            return val_error();
        }
    }
    for (int32_t i = 1; i < count; i++) {
        bool keep[MAX_NAMES] = {false};
        for (int32_t k = 0; k < c->n_names; k++) {
            keep[k] = find_label(c->right, c->n_right, k) >= 0;
            for (int32_t j = i + 1; j < count && !keep[k]; j++) {
                keep[k] = find_label(xs[j].labels, xs[j].rank, k) >= 0;
            }
        }
        if (!combine(c, &xs[0], &xs[i], keep)) {
            return val_error();
        }
    }
    return put_together(c, &xs[0]);
}

/* -- the call */

static bool axis_operands(AxisCall *c, Args args, Val *operands) {
    Lower *lw = c->lw;
    const AstAxisSides *sides = &c->expr->as.axis_fn.operands;
    if (args.count != sides->count) {
        Diag *diag = LW_REPORT(lw, AXES_OPERANDS, c->place, (int)sides->count, (int)args.count);
        lower_note(lw, diag, c->expr->place, "the axis function");
        return false;
    }
    for (int32_t i = 0; i < args.count; i++) {
        if (args.items[i].name) {
            LW_REPORT(lw, ARG_UNKNOWN, args.items[i].place, "{…}", args.items[i].name);
            return false;
        }
    }
    DType dtype = DT_F32;
    bool weak = false;
    Val *values = ARENA_ARRAY(lw->arena, Val, args.count + 1);
    for (int32_t i = 0; i < args.count; i++) {
        values[i] = args.items[i].value;
    }
    TypeUse use = args.count > 1 ? USE_ARITHMETIC : USE_SELECT;
    if (!common_dtype(lw, values, args.count, use, "{…}", c->place, &dtype, &weak)) {
        return false;
    }
    for (int32_t i = 0; i < args.count; i++) {
        Value *x = lower_as(lw, values[i], dtype, c->place);
        if (x == NULL) {
            return false;
        }
        operands[i] =
            val_tensor(x, values[i].kind != VAL_TENSOR || values[i].weak, values[i].place);
        if (!check_rank(c, &sides->items[i], operands[i], args.items[i].place)) {
            return false;
        }
    }
    return true;
}

/* Sizes in the pattern are expressions of the place where it was written. */
static void sizes_of_pattern(AxisCall *c, Fn *fn) {
    Lower *lw = c->lw;
    Frame *frame = lw->frame;
    Scope *scope = lw->scope;
    lw->frame = fn->frame;
    lw->scope = fn->scope;
    const AstAxisSides *sides = &c->expr->as.axis_fn.operands;
    for (int32_t i = 0; i < sides->count; i++) {
        read_sizes(c, &sides->items[i].terms);
    }
    read_sizes(c, &c->expr->as.axis_fn.result.terms);
    lw->frame = frame;
    lw->scope = scope;
}

Val lower_axis_call(Lower *lw, Fn *fn, Args args, Place place) {
    AxisCall *c = ARENA_NEW(lw->arena, AxisCall);
    const AstExpr *expr = fn->axis;
    c->lw = lw;
    c->expr = expr;
    c->place = place.source && !place.source->is_library ? place : expr->place;
    c->n_rest = -1;
    const AstAxisSides *sides = &expr->as.axis_fn.operands;
    Val *operands = ARENA_ARRAY(lw->arena, Val, sides->count + 1);
    Labelled *xs = ARENA_ARRAY(lw->arena, Labelled, sides->count + 1);
    if (!axis_operands(c, args, operands)) {
        return val_error();
    }
    sizes_of_pattern(c, fn);
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t i = 0; i < sides->count && !c->failed; i++) {
            visit_operand(c, &sides->items[i], operands[i], pass == 1);
        }
    }
    for (int32_t i = 0; i < expr->as.axis_fn.result.terms.count; i++) {
        right_term(c, &expr->as.axis_fn.result.terms.items[i]);
    }
    if (c->failed) {
        return val_error();
    }
    for (int32_t i = 0; i < sides->count; i++) {
        if (!take_apart(c, &sides->items[i], operands[i], &xs[i])) {
            return val_error();
        }
    }
    c->n_rest = c->n_rest < 0 ? 0 : c->n_rest;
    const char *by = expr->as.axis_fn.by.text;
    if (sides->count == 1) {
        bool keep[MAX_NAMES] = {false};
        for (int32_t i = 0; i < c->n_right; i++) {
            keep[c->right[i]] = true;
        }
        lw->b.problem.text = NULL;
        return reduce_away(c, &xs[0], keep, by ? by : "sum") ? put_together(c, &xs[0])
                                                             : val_error();
    }
    if (by && strcmp(by, "sum") != 0) {
        Diag *diag = LW_REPORT(lw, AXES_BY, expr->as.axis_fn.by.place, by);
        lower_help(lw, diag, "several tensors are multiplied and summed; `by` takes one tensor");
        return val_error();
    }
    return contract_all(c, xs, sides->count);
}
