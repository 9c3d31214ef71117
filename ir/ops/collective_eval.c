/* What collectives give (collective.h), in obvious loops over the ranks' tensors. */
#include "ir/ops/collective.h"
#include "ir/ops/rule.h"

#include <stdio.h>
#include <string.h>

static const EvalTensor *given(const CollectiveRank *rank, int32_t index) {
    return interp_operand(rank->interp, rank->op, index);
}

static EvalTensor *made(const CollectiveRank *rank, int32_t index) {
    return interp_result(rank->interp, rank->op, index);
}

/* Value of a size at the rank's dims; -1: none. */
static int64_t size_at(const CollectiveRank *rank, const Size *size) {
    int64_t value = 0;
    return size_eval(size, rank->interp->dim_values, rank->interp->n_dims, &value) ? value : -1;
}

/* Which elements along an axis are whose: the axis is `rows` times `unit` elements. */
typedef struct Cut {
    int64_t axis; /* -1: nothing is cut */
    int64_t rows, unit;
    int64_t ranks;
} Cut;

static Cut make_cut(const CollectiveRank *rank, int64_t axis, int64_t whole, const Size *rows,
                    int64_t ranks) {
    int64_t n = size_at(rank, rows);
    return (Cut){.axis = axis, .rows = n, .unit = n > 0 ? whole / n : 0, .ranks = ranks};
}

static RowRange elements_of(const Cut *cut, int64_t number) {
    RowRange piece = mesh_piece(cut->rows, cut->ranks, number);
    return (RowRange){piece.first * cut->unit, piece.count * cut->unit};
}

/* How operand `index` is cut, and how its result is. */
static void cuts_of(const CollectiveRank *rank, int64_t ranks, int32_t index, Cut *operand,
                    Cut *result) {
    const Op *op = rank->op;
    *operand = *result = (Cut){.axis = -1};
    if (op->code == OP_all_gather) {
        int64_t whole = size_at(rank, op_each_size(op).at[index]);
        *operand =
            make_cut(rank, op_each_axis(op).at[index], whole, op_each_rows(op).at[index], ranks);
    } else if (op->code == OP_reduce_scatter) {
        int64_t axis = op_each_axis(op).at[index], whole = given(rank, index)->dims[axis];
        *result = make_cut(rank, axis, whole, op_each_rows(op).at[index], ranks);
    } else if (op->code == OP_all_to_all) {
        int64_t whole = given(rank, 0)->dims[op_split(op)];
        *operand = make_cut(rank, op_axis(op), size_at(rank, op_size(op)), op_rows(op), ranks);
        *result = make_cut(rank, op_split(op), whole, op_split_rows(op), ranks);
    }
}

/* -- agreement */

/* Attributes that are sizes of a rank's own part. */
static bool is_own_size(const Op *op, const AttrDesc *attr) {
    return (op->code == OP_reduce_scatter && strcmp(attr->name, "size") == 0) ||
           (op->code == OP_all_to_all && strcmp(attr->name, "split_size") == 0);
}

static bool lists_agree(const CollectiveRank *a, const CollectiveRank *b, int attr) {
    const AttrList *x = &a->op->attrs[attr].list, *y = &b->op->attrs[attr].list;
    bool of_sizes = op_info(a->op->code)->attrs[attr]->kind == ATTR_SIZES;
    bool equal = x->count == y->count;
    for (int32_t i = 0; i < x->count && equal; i++) {
        equal = of_sizes ? size_at(a, x->sizes[i]) == size_at(b, y->sizes[i])
                         : x->ints[i] == y->ints[i];
    }
    return equal;
}

static bool attr_agrees(const CollectiveRank *a, const CollectiveRank *b, int attr) {
    const AttrValue *x = &a->op->attrs[attr], *y = &b->op->attrs[attr];
    switch (op_info(a->op->code)->attrs[attr]->kind) {
    case ATTR_TEXT:
        return strcmp(x->text, y->text) == 0;
    case ATTR_SIZE:
        return size_at(a, x->size) == size_at(b, y->size);
    case ATTR_INTS:
    case ATTR_SIZES:
        return lists_agree(a, b, attr);
    default:
        return x->i == y->i;
    }
}

static bool attrs_agree(const CollectiveRank *a, const CollectiveRank *b, char *text, size_t size) {
    const OpInfo *info = op_info(a->op->code);
    for (int i = 0; i < info->n_attrs; i++) {
        const AttrDesc *attr = info->attrs[i];
        if (!is_own_size(a->op, attr) && !attr_agrees(a, b, i)) {
            snprintf(text, size, "ranks %lld and %lld are at %s with different '%s'",
                     (long long)a->rank, (long long)b->rank, info->name, attr->name);
            return false;
        }
    }
    return true;
}

/* That operand `index` of `b`, whose number in the group is `number`, is of a's type but for the
 * elements that are its own. */
static bool operands_agree(const CollectiveRank *a, const CollectiveRank *b, int64_t number,
                           int32_t index, const Cut *cut, char *text, size_t size) {
    const EvalTensor *x = given(a, index), *y = given(b, index);
    const char *name = op_info(a->op->code)->name;
    if (x->dtype != y->dtype || x->rank != y->rank) {
        snprintf(text, size,
                 "rank %lld gives %s as operand %d %s of rank %d, rank %lld %s of rank %d",
                 (long long)a->rank, name, (int)index, dtype_name(x->dtype), (int)x->rank,
                 (long long)b->rank, dtype_name(y->dtype), (int)y->rank);
        return false;
    }
    for (int32_t axis = 0; axis < x->rank; axis++) {
        int64_t wanted = axis == cut->axis ? elements_of(cut, number).count : x->dims[axis];
        if (y->dims[axis] != wanted) {
            snprintf(
                text, size,
                "rank %lld gives %s an operand %d whose axis %d has %lld elements, not %lld as "
                "rank %lld's says",
                (long long)b->rank, name, (int)index, (int)axis, (long long)y->dims[axis],
                (long long)wanted, (long long)a->rank);
            return false;
        }
    }
    return true;
}

bool collective_agrees(const CollectiveRank *ranks, int64_t n, char *text, size_t size) {
    const CollectiveRank *a = &ranks[0];
    for (int64_t k = 1; k < n; k++) {
        const CollectiveRank *b = &ranks[k];
        if (a->op->code != b->op->code) {
            snprintf(text, size, "rank %lld is at %s and rank %lld at %s", (long long)a->rank,
                     op_info(a->op->code)->name, (long long)b->rank, op_info(b->op->code)->name);
            return false;
        }
        if (a->op->n_operands != b->op->n_operands) {
            snprintf(text, size, "rank %lld is at %s of %d operands and rank %lld of %d",
                     (long long)a->rank, op_info(a->op->code)->name, (int)a->op->n_operands,
                     (long long)b->rank, (int)b->op->n_operands);
            return false;
        }
        if (!attrs_agree(a, b, text, size)) {
            return false;
        }
    }
    for (int32_t i = 0; i < a->op->n_operands; i++) {
        Cut operand, result;
        cuts_of(a, n, i, &operand, &result);
        for (int64_t k = 0; k < n; k++) {
            if (!operands_agree(a, &ranks[k], k, i, &operand, text, size)) {
                return false;
            }
        }
    }
    return true;
}

/* -- values */

/* Element `at` of operand `index` of all ranks, combined, to element `to` of `out`. */
static void combine(const CollectiveRank *ranks, int64_t n, OpCode code, int32_t index, int64_t at,
                    EvalTensor *out, int64_t to) {
    double reals[INTERP_MAX_RANKS];
    int64_t wholes[INTERP_MAX_RANKS];
    for (int64_t k = 0; k < n; k++) {
        const EvalTensor *x = given(&ranks[k], index);
        reals[k] = x->f ? x->f[at] : 0;
        wholes[k] = x->f ? 0 : x->i[at];
    }
    for (int64_t stride = 1; stride < n; stride *= 2) {
        for (int64_t k = 0; k + stride < n; k += 2 * stride) {
            if (out->f) {
                double pair[] = {reals[k], reals[k + stride]};
                reals[k] = scalar_eval_float(code, pair);
            } else {
                int64_t pair[] = {wholes[k], wholes[k + stride]};
                wholes[k] = scalar_eval_int(code, out->dtype, pair);
            }
        }
    }
    if (out->f) {
        out->f[to] = reals[0];
    } else {
        out->i[to] = wholes[0];
    }
}

static void run_all_reduce(const CollectiveRank *ranks, int64_t n, int32_t index) {
    OpCode code = OP_NONE;
    op_code_from_name(op_combine(ranks[0].op), &code); /* the shape rule knows it */
    EvalTensor *out = made(&ranks[0], index);
    for (int64_t at = 0; at < out->n; at++) {
        combine(ranks, n, code, index, at, out, at);
    }
    for (int64_t k = 1; k < n; k++) {
        tensor_copy_all(made(&ranks[k], index), out);
    }
}

/* Elements of a tensor seen from one axis, as axis_view, of which `range` are meant. */
static void run_reduce_scatter(const CollectiveRank *ranks, int64_t n, int32_t index) {
    Cut operand, result;
    cuts_of(&ranks[0], n, index, &operand, &result);
    AxisView whole = axis_view(given(&ranks[0], index), result.axis);
    for (int64_t k = 0; k < n; k++) {
        RowRange range = elements_of(&result, k);
        EvalTensor *out = made(&ranks[k], index);
        for (int64_t to = 0; to < out->n; to++) {
            int64_t inner = to % whole.inner, row = to / whole.inner % range.count;
            int64_t outer = to / whole.inner / range.count;
            int64_t at = (outer * whole.n + range.first + row) * whole.inner + inner;
            combine(ranks, n, OP_add, index, at, out, to);
        }
    }
}

/* Results whose axis operand.axis is gathered from all ranks, each with its part; with result.axis
 * from 0 on, of that axis only the own part. */
static void run_exchange(const CollectiveRank *ranks, int64_t n, int32_t number) {
    Cut operand, result;
    cuts_of(&ranks[0], n, number, &operand, &result);
    for (int64_t k = 0; k < n; k++) {
        EvalTensor *out = made(&ranks[k], number);
        int64_t index[TYPE_MAX_RANK] = {0}, strides[TYPE_MAX_RANK], from[TYPE_MAX_RANK];
        int64_t own = result.axis >= 0 ? elements_of(&result, k).first : 0;
        for (int64_t to = 0; to < out->n; to++) {
            int64_t source = 0, at = index[operand.axis];
            while (at >=
                   elements_of(&operand, source).first + elements_of(&operand, source).count) {
                source++;
            }
            const EvalTensor *x = given(&ranks[source], number);
            memcpy(from, index, sizeof(from));
            from[operand.axis] -= elements_of(&operand, source).first;
            if (result.axis >= 0) {
                from[result.axis] += own;
            }
            nd_strides(x->dims, x->rank, strides);
            tensor_copy_element(out, to, x, nd_dot(from, strides, x->rank));
            nd_next(index, out->dims, out->rank);
        }
    }
}

static void run_shift(const CollectiveRank *ranks, int64_t n) {
    for (int64_t k = 0; k < n; k++) {
        int64_t by = floor_mod(op_by(ranks[k].op), n); /* k - by may leave the 64 bits */
        tensor_copy_all(made(&ranks[k], 0), given(&ranks[floor_mod(k - by, n)], 0));
    }
}

void collective_run(const CollectiveRank *ranks, int64_t n) {
    const Op *op = ranks[0].op;
    for (int32_t i = 0; i < op->n_operands; i++) {
        switch ((int)op->code) {
        case OP_all_reduce:
            run_all_reduce(ranks, n, i);
            break;
        case OP_reduce_scatter:
            run_reduce_scatter(ranks, n, i);
            break;
        case OP_all_gather:
        case OP_all_to_all:
            run_exchange(ranks, n, i);
            break;
        default:
            run_shift(ranks, n);
        }
    }
}
