/* Random graphs: reductions, contractions, convolutions and loops. */
#include "tests/fuzz/random_graph_internal.h"
#include <math.h>

/* Some axes of the value, in any order; at least one if it has any. */
static int32_t random_axes(Generator *g, int32_t rank, int64_t *axes) {
    int32_t count = 0;
    for (int32_t i = 0; i < rank; i++) {
        if (chance(g, 0.5)) {
            axes[count++] = i;
        }
    }
    if (count == 0 && rank > 0) {
        axes[count++] = pick(g, rank);
    }
    if (count > 1 && chance(g, 0.3)) {
        int64_t swap = axes[0];
        axes[0] = axes[1];
        axes[1] = swap;
    }
    return count;
}

/* Elements reduced, at sizes twice the nominal ones. */
static double reduced_count(Type type, const int64_t *axes, int32_t n_axes) {
    double count = 1;
    for (int32_t i = 0; i < n_axes; i++) {
        count *= 2 * nominal_elements(&type.dims[axes[i]], 1);
    }
    return count;
}

void grow_reduce(Generator *g) {
    Node x = any_float(g);
    Type type = x.value->type;
    int64_t axes[TYPE_MAX_RANK];
    int32_t n_axes = random_axes(g, type.rank, axes);
    double count = reduced_count(type, axes, n_axes);
    switch (pick(g, 5)) {
    case 0:
    case 1: {
        Value *small = tame(g, x, 10);
        push(g, b_reduce(&g->b, OP_reduce_sum, small, axes, n_axes), fmin(x.bound, 10) * count,
             false);
        break;
    }
    case 2: { /* factors near 1 */
        Value *small = tame(g, x, 1);
        Value *scaled = b_mul(&g->b, small, number_like(g, 0.5 / count, small));
        Value *factors = b_add(&g->b, scaled, number_like(g, 1, small));
        push(g, b_reduce(&g->b, OP_reduce_prod, factors, axes, n_axes), 2, false);
        break;
    }
    default: {
        bool most = chance(g, 0.5), empty = false;
        Value *extreme =
            b_reduce(&g->b, most ? OP_reduce_max : OP_reduce_min, x.value, axes, n_axes);
        for (int32_t i = 0; i < n_axes; i++) {
            empty = empty || may_be_empty(type.dims[axes[i]]);
        }
        if (empty) { /* infinite over nothing: brought back */
            double limit = fmin(x.bound, 1000);
            Value *end = number_like(g, most ? -limit : limit, extreme);
            extreme = b_binary(&g->b, most ? OP_max : OP_min, extreme, end);
        }
        push(g, extreme, x.bound, x.exact);
        break;
    }
    }
}

void grow_softmax(Generator *g) {
    Node x = any_float(g);
    Type type = x.value->type;
    if (type.rank == 0) {
        return;
    }
    int64_t axis = chance(g, 0.7) ? type.rank - 1 : pick(g, type.rank);
    Builder *b = &g->b;
    Value *most = b_reduce(b, OP_reduce_max, x.value, &axis, 1);
    Value *wide = b_expand_axes(b, most, type, &axis, 1);
    Value *below = b_sub(b, x.value, wide);
    Value *power = b_unary(b, OP_exp, below);
    Value *sum = b_reduce(b, OP_reduce_sum, power, &axis, 1);
    if (chance(g, 0.3)) {
        Value *logarithm = b_unary(b, OP_log, sum);
        Value *wide_log = b_expand_axes(b, logarithm, type, &axis, 1);
        push(g, b_sub(b, below, wide_log), 2 * x.bound + 8, false);
        return;
    }
    Value *wide_sum = b_expand_axes(b, sum, type, &axis, 1);
    push(g, b_div(b, power, wide_sum), 1, false);
}

void grow_norm(Generator *g) {
    Node node = any_float(g);
    Type type = node.value->type;
    if (type.rank == 0) {
        return;
    }
    int64_t axis = pick(g, type.rank);
    Builder *b = &g->b;
    Value *x = tame(g, node, 4);
    Value *sum = b_reduce(b, OP_reduce_sum, x, &axis, 1);
    Value *count = b_size(b, type.dims[axis], type.dtype);
    Value *counts = b_splat(b, count, sum->type.rank, sum->type.dims);
    Value *mean = b_div(b, sum, counts);
    Value *wide_mean = b_expand_axes(b, mean, type, &axis, 1);
    Value *centred = b_sub(b, x, wide_mean);
    Value *squares = b_mul(b, centred, centred);
    Value *total = b_reduce(b, OP_reduce_sum, squares, &axis, 1);
    Value *variance = b_div(b, total, counts);
    Value *safe = b_add(b, variance, number_like(g, 0.1, variance));
    Value *scale = b_unary(b, OP_rsqrt, safe);
    Value *wide_scale = b_expand_axes(b, scale, type, &axis, 1);
    push(g, b_mul(b, centred, wide_scale), 8 * 3.2, false);
}

void grow_arg(Generator *g) {
    Node x;
    if (jumps_allowed(g) && find_exact(g, chance(g, 0.2), &x) && x.value->type.rank > 0) {
        int64_t axis = pick(g, x.value->type.rank);
        Value *index =
            chance(g, 0.5) ? b_argmax(&g->b, x.value, axis) : b_argmin(&g->b, x.value, axis);
        push(g, index, 40, false);
    }
}

void grow_cumsum(Generator *g) {
    Node x = any_float(g);
    Type type = x.value->type;
    if (type.rank == 0) {
        return;
    }
    int64_t axis = pick(g, type.rank);
    bool reverse = chance(g, 0.4), exclusive = chance(g, 0.4);
    double count = 2 * nominal_elements(&type.dims[axis], 1);
    Value *small = tame(g, x, 10);
    push(g, b_cumsum(&g->b, small, axis, reverse, exclusive), fmin(x.bound, 10) * count, false);
}

void grow_sort(Generator *g) {
    Node x;
    if (!find_exact(g, chance(g, 0.2), &x) || x.value->type.rank == 0) {
        return;
    }
    Value *indices = NULL;
    int64_t axis = pick(g, x.value->type.rank);
    push(g, b_sort(&g->b, x.value, axis, chance(g, 0.5), &indices), x.bound, true);
    if (jumps_allowed(g)) {
        push(g, indices, 40, false);
    }
}

/* One operand from the pool, the other a new argument made to fit it. */
void grow_contract(Generator *g) {
    Node x = any_float(g);
    Type type = x.value->type;
    ContractAxes axes = {0};
    const Size *dims[8], *result[12];
    int64_t place[8]; /* of the entries of dims in the other operand: shuffled */
    int32_t rank = 0, n_result = 0;
    double depth = 1;
    if (type.rank > 4 || g->func->body->n_args > GRAPH_MAX_ARGS) {
        return;
    }
    for (int32_t i = 0; i < type.rank; i++) {
        int64_t kind = pick(g, 4);
        if (kind == 0) {
            axes.batch_a[axes.n_batch] = i;
            axes.batch_b[axes.n_batch++] = rank;
        } else if (kind < 3 && (axes.n_contract == 0 || chance(g, 0.3))) {
            axes.contract_a[axes.n_contract] = i;
            axes.contract_b[axes.n_contract++] = rank;
            depth *= 2 * nominal_elements(&type.dims[i], 1);
        } else {
            result[n_result++] = type.dims[i];
            continue;
        }
        if (kind == 0) {
            result[n_result++] = type.dims[i];
        }
        dims[rank++] = type.dims[i];
    }
    for (int32_t i = 0; i < 2 && chance(g, 0.7); i++) {
        dims[rank] = random_size(g);
        result[n_result++] = dims[rank++];
    }
    if (nominal_elements(result, n_result) > GRAPH_MAX_ELEMENTS || rank > 5 || n_result > 6 ||
        nominal_elements(dims, rank) > 2 * GRAPH_MAX_ELEMENTS) {
        return;
    }
    for (int32_t i = 0; i < rank; i++) {
        place[i] = i;
    }
    for (int32_t i = rank - 1; i > 0 && chance(g, 0.7); i--) {
        int64_t k = pick(g, i + 1), swap = place[i];
        place[i] = place[k];
        place[k] = swap;
    }
    const Size *shuffled[8];
    for (int32_t i = 0; i < rank; i++) {
        shuffled[place[i]] = dims[i];
    }
    for (int32_t i = 0; i < axes.n_batch; i++) {
        axes.batch_b[i] = place[axes.batch_b[i]];
    }
    for (int32_t i = 0; i < axes.n_contract; i++) {
        axes.contract_b[i] = place[axes.contract_b[i]];
    }
    Node w = new_arg(g, type.dtype, rank, shuffled);
    Value *small = tame(g, x, 2);
    push(g, b_contract(&g->b, small, w.value, &axes), 4 * depth, false);
}

void grow_conv(Generator *g) {
    static const DType TYPES[] = {DT_F32, DT_F32, DT_F64};
    if (g->func->body->n_args > GRAPH_MAX_ARGS) {
        return;
    }
    DType dtype = g->options->smooth ? DT_F64 : TYPES[pick(g, 3)];
    ConvAttrs attrs = {.n_spatial = 1 + (int32_t)pick(g, g->options->smooth ? 2 : 3),
                       .groups = chance(g, 0.7) ? 1 : 2};
    const Size *x_shape[5], *w_shape[5];
    int64_t per_group = 1 + pick(g, 3), outputs = attrs.groups * (1 + pick(g, 3));
    x_shape[0] = chance(g, 0.5) && !g->options->constant_dims
                     ? size_dim(g->context, g->module->dims[0])
                     : constant(g, 1 + pick(g, 3));
    x_shape[1] = constant(g, attrs.groups * per_group);
    w_shape[0] = constant(g, outputs);
    w_shape[1] = constant(g, per_group);
    for (int32_t i = 0; i < attrs.n_spatial; i++) {
        int64_t n = 1 + pick(g, attrs.n_spatial == 1 ? 17 : attrs.n_spatial == 2 ? 6 : 4);
        int64_t kernel = 1 + pick(g, 3);
        attrs.stride[i] = 1 + pick(g, 3);
        attrs.dilation[i] = 1 + pick(g, 2);
        int64_t span = attrs.dilation[i] * (kernel - 1) + 1;
        attrs.low[i] = chance(g, 0.15) ? -1 : pick(g, 3);
        attrs.high[i] = pick(g, 3);
        bool symbolic = !g->options->constant_dims && chance(g, 0.2);
        n = !symbolic ? n : may_be_empty(size_dim(g->context, g->module->dims[1])) ? 0 : 1;
        if (n + attrs.low[i] + attrs.high[i] < span) {
            attrs.high[i] = span - n - attrs.low[i];
        }
        x_shape[2 + i] = symbolic ? size_dim(g->context, g->module->dims[1]) : constant(g, n);
        w_shape[2 + i] = constant(g, kernel);
    }
    Builder *b = &g->b;
    int32_t rank = 2 + attrs.n_spatial;
    Node x = new_arg(g, dtype, rank, x_shape), w = new_arg(g, dtype, rank, w_shape);
    double bound = 8 * nominal_elements(w_shape + 1, rank - 1);
    Value *y = b_conv(b, x.value, w.value, &attrs);
    if (!push(g, y, bound, false)) {
        return;
    }
    if (chance(g, 0.4)) {
        Value *dx = b_conv_input_grad(b, y, w.value, x_shape + 2, &attrs);
        push(g, dx, bound * bound, false);
    }
    if (chance(g, 0.4)) {
        Value *dw = b_conv_weight_grad(b, x.value, y, w_shape + 2, &attrs);
        push(g, dw, bound * 2 * nominal_elements(y->type.dims, rank), false);
    }
}

/* A float of the type made in the body, or the carry itself. */
static Value *value_of_type(Generator *g, size_t first, Type type, Value *otherwise) {
    for (int32_t i = 0; i < 8 && g->nodes.count > first; i++) {
        Node node = g->nodes.items[first + (size_t)pick(g, (int64_t)(g->nodes.count - first))];
        if (type_equal(node.value->type, type)) {
            return node.value;
        }
    }
    return otherwise;
}

/* next = tanh(carry / 2 + something of the body), so that any number of iterations stays moderate.
 */
static Value *next_carry(Generator *g, size_t first, Value *carry) {
    Value *other = value_of_type(g, first, carry->type, carry);
    Value *half = b_mul(&g->b, carry, number_like(g, 0.5, carry));
    Value *sum = b_add(&g->b, half, other);
    return b_unary(&g->b, OP_tanh, sum);
}

void grow_scan(Generator *g) {
    if (g->options->no_control || g->depth >= 2) {
        return;
    }
    Node x = any_float(g), start = any_float(g);
    if (x.value->type.rank == 0) {
        return;
    }
    const Size *length = x.value->type.dims[0];
    int64_t count = size_nominal(length, 8);
    if (count > 9) {
        return;
    }
    Value *carry = tame(g, start, 2);
    Node second = partner(g, x);
    Value *xs[] = {x.value, second.value};
    int32_t n_xs = 1 + (int32_t)pick(g, 2);
    Op *scan = b_scan_begin(&g->b, &carry, 1, xs, n_xs, length, chance(g, 0.4), 1);
    Builder outside = g->b;
    size_t first = g->nodes.count;
    Value **args = scan->blocks[0]->args;
    g->b = builder_at_end(g->func, scan->blocks[0]);
    g->depth++;
    push(g, args[1], 2, false);
    push(g, args[2], x.bound, x.exact);
    if (n_xs > 1) {
        push(g, args[3], second.bound, second.exact);
    }
    if (jumps_allowed(g)) {
        push(g, args[0], 40, false);
    }
    int64_t n_body = 1 + pick(g, 5);
    for (int64_t i = 0; i < n_body; i++) {
        grow(g);
    }
    Node shown = any_float(g);
    Value *yields[] = {next_carry(g, first, args[1]), shown.value};
    double bound = shown.bound;
    b_yield(&g->b, yields, 2);
    g->nodes.count = first;
    g->depth--;
    g->b = outside;
    b_op(&g->b, scan);
    push(g, scan->results[0], 2, false);
    if (nominal_elements(scan->results[1]->type.dims, scan->results[1]->type.rank) <=
        4 * GRAPH_MAX_ELEMENTS) {
        push(g, scan->results[1], bound, false);
    }
}

/* Counts to a small number, squashing a float on the way. */
void grow_while(Generator *g) {
    if (g->options->no_control || g->options->smooth || g->depth > 0) {
        return;
    }
    Node x = any_float(g);
    Value *zero = b_constant(&g->b, 0, type_scalar(DT_I32));
    Value *carries[] = {zero, tame(g, x, 2)};
    Op *loop = b_while_begin(&g->b, carries, 2, 0);
    Builder condition = builder_at_end(g->func, loop->blocks[0]);
    Value *limit = b_constant(&condition, (double)pick(g, 5), type_scalar(DT_I32));
    Value *again = b_binary(&condition, OP_lt, loop->blocks[0]->args[0], limit);
    b_yield(&condition, &again, 1);
    Builder body = builder_at_end(g->func, loop->blocks[1]);
    Value **args = loop->blocks[1]->args;
    Value *one = b_constant(&body, 1, type_scalar(DT_I32));
    Value *count = b_add(&body, args[0], one);
    Value *wave = b_unary(&body, OP_sin, args[1]);
    Value *next = b_sub(&body, wave, x.bound <= 2 ? x.value : args[1]);
    Value *small = b_unary(&body, OP_tanh, next);
    Value *yields[] = {count, small};
    b_yield(&body, yields, 2);
    b_op(&g->b, loop);
    push(g, loop->results[0], 5, true);
    push(g, loop->results[1], 2, false);
}

/* Checks that hold, and a shown value. */
void grow_effect(Generator *g) {
    Node x = any_float(g);
    switch (pick(g, 3)) {
    case 0: {
        int64_t axes[TYPE_MAX_RANK];
        Value *finite = b_unary(&g->b, OP_isfinite, x.value);
        for (int32_t i = 0; i < x.value->type.rank; i++) {
            axes[i] = i;
        }
        Value *all = x.value->type.rank
                         ? b_reduce(&g->b, OP_reduce_min, finite, axes, x.value->type.rank)
                         : finite;
        b_check(&g->b, all, "a value is not finite");
        break;
    }
    case 1:
        b_show(&g->b, x.value, "x");
        break;
    default: {
        const Size *dim = size_dim(g->context, g->module->dims[0]);
        b_size_check(&g->b, dim, dim, "B is B");
        break;
    }
    }
}
