/* Axis functions, `{b t (h=heads d) -> b h t d}`: the left sides take operands apart into named
 * axes, the names say what is summed, and the right side puts the result together. One operand
 * becomes reshape, reduce, transpose, broadcast; two become one contract. */
#include "frontend/elaborate/axis.h"

#include <string.h>

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
    Val reduced = builtin_reduce(c->el, by, val_tensor(x->value, x->weak, c->place), axes, count,
                                 false, c->place);
    x->rank = left;
    x->value = reduced.kind == VAL_TENSOR ? reduced.as.tensor : NULL;
    return x->value != NULL;
}

/* The result: axes in the right's order, new ones repeated, groups merged, ones added. */
static Val put_together(AxisCall *c, Labelled *x) {
    Elaborator *el = c->el;
    int64_t order[TYPE_MAX_RANK], axes[TYPE_MAX_RANK];
    const Size *shape[MAX_NAMES];
    int32_t n_old = 0;
    if (c->n_right > TYPE_MAX_RANK) {
        EL_REPORT(el, RANK_LIMIT, c->place, (int)c->n_right);
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
    Value *value = elaborate_transpose(el, x->value, order, c->place);
    if (value && n_old < c->n_right) {
        elaborate_at(el, c->place);
        value = elaborate_made(el, b_broadcast(&el->b, value, c->n_right, shape, axes), c->place);
    }
    /* Merge the groups. */
    const AstAxisTerms *terms = &c->expr->as.axis_fn.result.terms;
    const Size *merged[MAX_NAMES];
    int32_t rank = 0, at = 0;
    for (int32_t i = 0; i < terms->count; i++) {
        const AstAxisTerm *term = &terms->items[i];
        if (rank + (c->n_rest > 1 ? c->n_rest : 1) > TYPE_MAX_RANK) {
            EL_REPORT(el, RANK_LIMIT, c->place, (int)rank + 1);
            return val_error();
        }
        if (term->kind == AST_AXIS_ELLIPSIS) {
            for (int32_t k = 0; k < c->n_rest; k++) {
                merged[rank++] = shape[at++];
            }
        } else if (term->kind == AST_AXIS_ONE) {
            merged[rank++] = size_const(el->context, 1);
        } else if (term->kind == AST_AXIS_NAME) {
            merged[rank++] = shape[at++];
        } else {
            const Size *product = size_const(el->context, 1);
            for (int32_t k = 0; k < term->terms.count; k++) {
                if (term->terms.items[k].kind == AST_AXIS_NAME) {
                    product = size_mul(el->context, product, shape[at++]);
                }
            }
            merged[rank++] = product;
        }
    }
    return val_tensor(elaborate_reshape(el, value, merged, rank, c->place), x->weak, c->place);
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
    Elaborator *el = c->el;
    int32_t labels[MAX_NAMES];
    const Size *shape[MAX_NAMES];
    int32_t rank = joined_labels(c, a, b, keep, labels);
    Value *factors[2];
    if (rank > TYPE_MAX_RANK) {
        EL_REPORT(el, RANK_LIMIT, c->place, (int)rank);
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
        factors[k] = elaborate_transpose(el, both[k]->value, order, c->place);
        if (factors[k] && count < rank) {
            elaborate_at(el, c->place);
            factors[k] =
                elaborate_made(el, b_broadcast(&el->b, factors[k], rank, shape, axes), c->place);
        }
    }
    elaborate_at(el, c->place);
    a->value = elaborate_made(el, b_mul(&el->b, factors[0], factors[1]), c->place);
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
    Elaborator *el = c->el;
    int32_t labels[MAX_NAMES], swapped[MAX_NAMES];
    ContractAxes axes, other;
    int32_t rank = contract_order(c, a, b, keep, &axes, labels);
    a->weak = a->weak && b->weak;
    if (axes.n_contract == 0) {
        return multiply(c, a, b, keep);
    }
    if (rank > TYPE_MAX_RANK) {
        EL_REPORT(el, RANK_LIMIT, c->place, (int)rank);
        return false;
    }
    contract_order(c, b, a, keep, &other, swapped);
    elaborate_at(el, c->place);
    if (!in_right_order(c, labels, rank) && in_right_order(c, swapped, rank)) {
        a->value = elaborate_made(el, b_contract(&el->b, b->value, a->value, &other), c->place);
        memcpy(labels, swapped, sizeof(labels));
    } else {
        a->value = elaborate_made(el, b_contract(&el->b, a->value, b->value, &axes), c->place);
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
    Elaborator *el = c->el;
    const AstAxisSides *sides = &c->expr->as.axis_fn.operands;
    if (args.count != sides->count) {
        Diag *diag = EL_REPORT(el, AXES_OPERANDS, c->place, (int)sides->count, (int)args.count);
        elaborate_note(el, diag, c->expr->place, "the axis function");
        return false;
    }
    for (int32_t i = 0; i < args.count; i++) {
        if (args.items[i].name) {
            EL_REPORT(el, ARG_UNKNOWN, args.items[i].place, "{…}", args.items[i].name);
            return false;
        }
    }
    DType dtype = DT_F32;
    bool weak = false;
    Val *values = ARENA_ARRAY(el->arena, Val, args.count + 1);
    for (int32_t i = 0; i < args.count; i++) {
        values[i] = args.items[i].value;
    }
    TypeUse use = args.count > 1 ? USE_ARITHMETIC : USE_SELECT;
    if (!common_dtype(el, values, args.count, use, "{…}", c->place, &dtype, &weak)) {
        return false;
    }
    for (int32_t i = 0; i < args.count; i++) {
        Value *x = elaborate_as(el, values[i], dtype, c->place);
        if (x == NULL) {
            return false;
        }
        operands[i] =
            val_tensor(x, values[i].kind != VAL_TENSOR || values[i].weak, values[i].place);
        if (!axis_check_rank(c, &sides->items[i], operands[i], args.items[i].place)) {
            return false;
        }
    }
    return true;
}

/* Sizes in the pattern are expressions of the place where it was written. */
static void sizes_of_pattern(AxisCall *c, Fn *fn) {
    Elaborator *el = c->el;
    Frame *frame = el->frame;
    Scope *scope = el->scope;
    el->frame = fn->frame;
    el->scope = fn->scope;
    const AstAxisSides *sides = &c->expr->as.axis_fn.operands;
    for (int32_t i = 0; i < sides->count; i++) {
        axis_read_sizes(c, &sides->items[i].terms);
    }
    axis_read_sizes(c, &c->expr->as.axis_fn.result.terms);
    el->frame = frame;
    el->scope = scope;
}

Val elaborate_axis_call(Elaborator *el, Fn *fn, Args args, Place place) {
    AxisCall *c = ARENA_NEW(el->arena, AxisCall);
    const AstExpr *expr = fn->axis;
    c->el = el;
    c->expr = expr;
    c->place = place.source && !place.source->is_library ? place : expr->place;
    c->n_rest = -1;
    const AstAxisSides *sides = &expr->as.axis_fn.operands;
    Val *operands = ARENA_ARRAY(el->arena, Val, sides->count + 1);
    Labelled *xs = ARENA_ARRAY(el->arena, Labelled, sides->count + 1);
    if (!axis_operands(c, args, operands)) {
        return val_error();
    }
    sizes_of_pattern(c, fn);
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t i = 0; i < sides->count && !c->failed; i++) {
            axis_visit_operand(c, &sides->items[i], operands[i], pass == 1);
        }
    }
    for (int32_t i = 0; i < expr->as.axis_fn.result.terms.count; i++) {
        axis_right_term(c, &expr->as.axis_fn.result.terms.items[i]);
    }
    if (c->failed) {
        return val_error();
    }
    for (int32_t i = 0; i < sides->count; i++) {
        if (!axis_take_apart(c, &sides->items[i], operands[i], &xs[i])) {
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
        el->b.problem.text = NULL;
        return reduce_away(c, &xs[0], keep, by ? by : "sum") ? put_together(c, &xs[0])
                                                             : val_error();
    }
    if (by && strcmp(by, "sum") != 0) {
        Diag *diag = EL_REPORT(el, AXES_BY, expr->as.axis_fn.by.place, by);
        elaborate_help(el, diag,
                       "several tensors are multiplied and summed; `by` takes one tensor");
        return val_error();
    }
    return contract_all(c, xs, sides->count);
}
