/* Random graphs: movement, windows and indexing. */
#include "tests/fuzz/random_graph_internal.h"
#include <math.h>

void grow_broadcast(Generator *g) {
    Node x = any_node(g);
    Type type = x.value->type;
    const Size *shape[TYPE_MAX_RANK];
    int64_t axes[TYPE_MAX_RANK];
    int32_t rank = 0;
    if (type.rank > 4) {
        return;
    }
    for (int32_t i = 0; i <= type.rank; i++) {
        if (chance(g, 0.4) && rank < 5) {
            shape[rank++] = random_size(g);
        }
        if (i < type.rank) {
            axes[i] = rank;
            shape[rank++] = type.dims[i];
        }
    }
    if (nominal_elements(shape, rank) <= GRAPH_MAX_ELEMENTS) {
        push(g, b_broadcast(&g->b, x.value, rank, shape, axes), x.bound, x.exact);
    }
}

/* Merges two neighbouring axes, splits a constant one, or adds an axis of size 1. */
void grow_reshape(Generator *g) {
    Node x = any_node(g);
    Type type = x.value->type;
    const Size *shape[TYPE_MAX_RANK];
    int32_t rank = 0;
    int64_t at = type.rank > 0 ? pick(g, type.rank) : 0, n = 0;
    int64_t kind = pick(g, 3);
    for (int32_t i = 0; i < type.rank; i++) {
        shape[rank++] = type.dims[i];
        if (i != at) {
            continue;
        }
        if (kind == 0 && i + 1 < type.rank) {
            shape[rank - 1] = size_mul(g->context, type.dims[i], type.dims[i + 1]);
            i++;
        } else if (kind == 1 && size_is_const(type.dims[i], &n) && n > 1 && n % 2 == 0) {
            shape[rank - 1] = constant(g, n / 2);
            shape[rank++] = constant(g, 2);
        } else if (kind == 1 && size_is_const(type.dims[i], &n) && n > 1 && n % 3 == 0) {
            shape[rank - 1] = constant(g, 3);
            shape[rank++] = constant(g, n / 3);
        } else if (kind == 2) {
            shape[rank++] = constant(g, 1);
        }
    }
    if (rank <= 6) {
        push(g, b_reshape(&g->b, x.value, rank, shape), x.bound, x.exact);
    }
}

void grow_transpose(Generator *g) {
    Node x = any_node(g);
    int32_t rank = x.value->type.rank;
    int64_t permutation[TYPE_MAX_RANK];
    if (rank < 2) {
        return;
    }
    for (int32_t i = 0; i < rank; i++) {
        permutation[i] = i;
    }
    for (int32_t i = rank - 1; i > 0; i--) {
        int64_t k = pick(g, i + 1), swap = permutation[i];
        permutation[i] = permutation[k];
        permutation[k] = swap;
    }
    push(g, b_transpose(&g->b, x.value, permutation), x.bound, x.exact);
}

void grow_slice(Generator *g) {
    Node x = any_node(g);
    Type type = x.value->type;
    const Size *start[TYPE_MAX_RANK], *limit[TYPE_MAX_RANK];
    int64_t step[TYPE_MAX_RANK];
    for (int32_t i = 0; i < type.rank; i++) {
        int64_t n = 0;
        start[i] = constant(g, 0);
        limit[i] = type.dims[i];
        step[i] = chance(g, 0.25) ? 1 + pick(g, 3) : 1;
        if (chance(g, 0.4)) {
            continue;
        }
        if (size_is_const(type.dims[i], &n)) {
            int64_t from = pick(g, n + 1), length = pick(g, n - from + 1);
            length = length == 0 && n > 0 && chance(g, 0.8) ? n - from : length;
            start[i] = constant(g, from);
            limit[i] = constant(g, from + length);
        } else if (chance(g, 0.5)) {
            start[i] = size_min(g->context, limit[i], constant(g, 1));
        } else {
            limit[i] = size_sub(g->context, limit[i], constant(g, 1));
            limit[i] = size_max(g->context, limit[i], constant(g, 0));
        }
    }
    push(g, b_slice(&g->b, x.value, start, limit, step), x.bound, x.exact);
}

void grow_pad(Generator *g) {
    Node x = any_node(g);
    Type type = x.value->type;
    const Size *low[TYPE_MAX_RANK], *high[TYPE_MAX_RANK], *shape[TYPE_MAX_RANK];
    int64_t interior[TYPE_MAX_RANK];
    for (int32_t i = 0; i < type.rank; i++) {
        bool wide = chance(g, 0.5);
        low[i] = constant(g, wide ? pick(g, 3) : 0);
        high[i] = constant(g, wide ? pick(g, 3) : 0);
        interior[i] = chance(g, 0.15) ? 1 + pick(g, 2) : 0;
        shape[i] = size_mul(g->context, type.dims[i], constant(g, interior[i] + 1));
        shape[i] = size_add(g->context, shape[i], constant(g, 4));
    }
    if (nominal_elements(shape, type.rank) > 2 * GRAPH_MAX_ELEMENTS) {
        return;
    }
    Value *value =
        b_constant(&g->b, type.dtype == DT_BOOL ? 1 : (double)pick(g, 3), type_scalar(type.dtype));
    push(g, b_pad(&g->b, x.value, value, low, high, interior), fmax(x.bound, 2), x.exact);
}

void grow_concat(Generator *g) {
    Node x = any_node(g);
    Type type = x.value->type;
    if (type.rank == 0) {
        return;
    }
    Value *parts[3] = {x.value};
    int32_t count = 1 + (int32_t)pick(g, 3);
    double bound = x.bound;
    bool exact = x.exact;
    int64_t axis = pick(g, type.rank);
    for (int32_t i = 1; i < count; i++) {
        Node y = partner(g, x);
        parts[i] = y.value;
        bound = fmax(bound, y.bound);
        exact = exact && y.exact;
        if (chance(g, 0.4)) {
            parts[i] = b_slice_axis(&g->b, y.value, axis, constant(g, 0),
                                    size_min(g->context, type.dims[axis], constant(g, 2)));
        }
    }
    if (nominal_elements(type.dims, type.rank) * count <= 2 * GRAPH_MAX_ELEMENTS) {
        push(g, b_concat(&g->b, parts, count, axis), bound, exact);
    }
}

void grow_reverse(Generator *g) {
    Node x = any_node(g);
    int64_t axes[TYPE_MAX_RANK];
    int32_t count = 0;
    for (int32_t i = 0; i < x.value->type.rank; i++) {
        if (chance(g, 0.6)) {
            axes[count++] = i;
        }
    }
    push(g, b_reverse(&g->b, x.value, axes, count), x.bound, x.exact);
}

/* A run-time start so that `part` fits into `whole`. */
static Value *random_start(Generator *g, const Size *whole, const Size *part) {
    const Size *room = size_add(g->context, size_sub(g->context, whole, part), constant(g, 1));
    return indices_below(g, 0, NULL, room);
}

void grow_dynamic(Generator *g) {
    Node x = any_node(g);
    Type type = x.value->type;
    Value *starts[TYPE_MAX_RANK];
    const Size *shape[TYPE_MAX_RANK];
    if (type.rank > 3 || g->func->body->n_args > GRAPH_MAX_ARGS) {
        return;
    }
    for (int32_t i = 0; i < type.rank; i++) {
        int64_t n = 0;
        shape[i] = type.dims[i];
        if (size_is_const(type.dims[i], &n) && n > 1) {
            shape[i] = constant(g, 1 + pick(g, n));
        } else if (chance(g, 0.5) && !may_be_empty(type.dims[i])) {
            shape[i] = constant(g, 1);
        }
        starts[i] = random_start(g, type.dims[i], shape[i]);
    }
    if (chance(g, 0.5)) {
        push(g, b_dynamic_slice(&g->b, x.value, starts, shape), x.bound, x.exact);
        return;
    }
    Node v = new_arg(g, type.dtype, type.rank, shape);
    push(g, b_dynamic_update(&g->b, x.value, v.value, starts), fmax(x.bound, v.bound),
         x.exact && v.exact);
}

/* unfold, sometimes followed by a fold back to some size. */
void grow_window(Generator *g) {
    Node x = any_float(g);
    Type type = x.value->type;
    if (type.rank == 0 || type.rank > 3) {
        return;
    }
    int64_t axis = pick(g, type.rank), window = 1 + pick(g, 3), stride = 1 + pick(g, 3);
    int64_t dilation = 1 + pick(g, 2), span = dilation * (window - 1) + 1;
    int64_t low = chance(g, 0.2) ? -1 : pick(g, 3);
    /* Never fewer than one window, whatever the size of the axis. */
    int64_t high = span - low > 0 ? span - low + pick(g, 2) : pick(g, 2);
    const Size *shape[] = {type_elements(g->context, type), constant(g, window * 3)};
    if (nominal_elements(shape, 2) > 3 * GRAPH_MAX_ELEMENTS) {
        return;
    }
    Value *value = b_constant(&g->b, 0.5, type_scalar(type.dtype));
    Value *windows = b_unfold(&g->b, x.value, value, axis, constant(g, window), stride, dilation,
                              constant(g, low), constant(g, high));
    if (push(g, windows, fmax(x.bound, 0.5), x.exact) && chance(g, 0.5)) {
        const Size *size = chance(g, 0.5) ? type.dims[axis] : constant(g, 1 + pick(g, 6));
        Value *sums = b_fold(&g->b, windows, axis, size, stride, dilation, constant(g, low));
        push(g, sums, fmax(x.bound, 0.5) * (double)window, false);
    }
}

static void grow_take(Generator *g, Node x, int64_t axis) {
    Type type = x.value->type;
    const Size *ids_shape[2] = {random_size(g), random_size(g)};
    int32_t ids_rank = (int32_t)pick(g, 3), rank = 0;
    if (may_be_empty(type.dims[axis])) { /* none of nothing */
        ids_shape[0] = type.dims[axis];
        ids_rank = ids_rank > 0 ? ids_rank : 1;
    }
    const Size *shape[TYPE_MAX_RANK];
    for (int32_t i = 0; i < type.rank; i++) {
        if (i != axis) {
            shape[rank++] = type.dims[i];
        }
        for (int32_t k = 0; i == axis && k < ids_rank; k++) {
            shape[rank++] = ids_shape[k];
        }
    }
    if (nominal_elements(shape, rank) > GRAPH_MAX_ELEMENTS || rank > 5) {
        return;
    }
    Value *ids = indices_below(g, ids_rank, ids_shape, type.dims[axis]);
    if (chance(g, 0.25)) {
        ids = b_cast(&g->b, ids, DT_I64);
    }
    if (chance(g, 0.6)) {
        push(g, b_take(&g->b, x.value, ids, axis), x.bound, x.exact);
    } else if (dtype_is_float(type.dtype)) {
        Node u = new_arg(g, type.dtype, rank, shape);
        double times = nominal_elements(ids_shape, ids_rank);
        Value *sums = b_take_add(&g->b, x.value, ids, u.value, axis);
        push(g, sums, x.bound + times * 4 * u.bound, false);
    }
}

void grow_index(Generator *g) {
    Node x = any_node(g);
    Type type = x.value->type;
    if (type.rank == 0 || g->func->body->n_args > GRAPH_MAX_ARGS) {
        return;
    }
    int64_t axis = pick(g, type.rank);
    if (chance(g, 0.5)) {
        grow_take(g, x, axis);
        return;
    }
    const Size *shape[TYPE_MAX_RANK];
    for (int32_t i = 0; i < type.rank; i++) {
        shape[i] = type.dims[i];
    }
    shape[axis] = may_be_empty(shape[axis]) ? shape[axis] : random_size(g);
    if (nominal_elements(shape, type.rank) > GRAPH_MAX_ELEMENTS) {
        return;
    }
    Value *ids = indices_below(g, type.rank, shape, type.dims[axis]);
    if (chance(g, 0.6)) {
        push(g, b_gather(&g->b, x.value, ids, axis), x.bound, x.exact);
    } else if (dtype_is_float(type.dtype)) {
        Node u = new_arg(g, type.dtype, type.rank, shape);
        Value *sums = b_scatter_add(&g->b, x.value, ids, u.value, axis);
        push(g, sums, x.bound + 4 * u.bound * nominal_elements(&shape[axis], 1), false);
    }
}
