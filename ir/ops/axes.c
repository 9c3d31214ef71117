/* The rules axes_<name> of ir/axes.h: which axes go together, for every structural op whose row
 * says RULE or EACH. */
#include "ir/ops/rule.h"

#include <string.h>

static AxesRow *rows(Arena *arena, int32_t count) {
    AxesRow *rows = ARENA_ARRAY(arena, AxesRow, (size_t)(count > 0 ? count : 1));
    memset(rows, -1, (size_t)count * sizeof rows[0]);
    return rows;
}

OpAxes op_factors(Arena *arena, const Op *op) {
    OpAxes axes = {.combine = OP_NONE,
                   .operands = rows(arena, op->n_operands),
                   .results = rows(arena, op->n_results)};
    if (op_info(op->code)->axes) {
        op_info(op->code)->axes(&axes, op);
    }
    return axes;
}

int8_t axes_factor(OpAxes *axes, OpCode combine) {
    if (axes->n_factors == AXES_MAX_FACTORS) {
        return -1;
    }
    axes->is_combined[axes->n_factors] = combine != OP_NONE;
    axes->combine = combine != OP_NONE ? combine : axes->combine;
    return (int8_t)axes->n_factors++;
}

static int8_t kept(OpAxes *axes) {
    return axes_factor(axes, OP_NONE);
}

static int32_t rank_of(const Op *op, int32_t operand) {
    return op->operands[operand]->type.rank;
}

static bool ints_have(Ints ints, int64_t value) {
    for (int32_t i = 0; i < ints.count; i++) {
        if (ints.at[i] == value) {
            return true;
        }
    }
    return false;
}

static bool is_number(const Size *size, int64_t number) {
    int64_t value;
    return size_is_const(size, &value) && value == number;
}

/* A factor for axis `axis` of the result, and of all operands of the result's rank. */
static void tie(OpAxes *axes, const Op *op, int32_t axis) {
    int8_t factor = kept(axes);
    for (int32_t r = 0; r < op->n_results; r++) {
        axes->results[r][axis] = factor;
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (rank_of(op, i) == op->results[0]->type.rank) {
            axes->operands[i][axis] = factor;
        }
    }
}

void axes_of_each(OpAxes *axes, const Op *op) {
    for (int32_t axis = 0; axis < op->results[0]->type.rank; axis++) {
        tie(axes, op, axis);
    }
}

/* All axes but one. */
static void tie_others(OpAxes *axes, const Op *op, int64_t but) {
    for (int32_t axis = 0; axis < op->results[0]->type.rank; axis++) {
        if (axis != but) {
            tie(axes, op, axis);
        }
    }
}

void axes_constant(OpAxes *axes, const Op *op) {
    axes_of_each(axes, op);
}

void axes_iota(OpAxes *axes, const Op *op) {
    tie_others(axes, op, iota_axis(op));
}

void axes_broadcast(OpAxes *axes, const Op *op) {
    axes_of_each(axes, op);
    Ints to = broadcast_axes(op);
    memset(axes->operands[0], -1, sizeof axes->operands[0]);
    for (int32_t i = 0; i < to.count; i++) {
        axes->operands[0][i] = axes->results[0][to.at[i]];
    }
}

void axes_transpose(OpAxes *axes, const Op *op) {
    axes_of_each(axes, op);
    Ints from = transpose_permutation(op);
    for (int32_t i = 0; i < from.count; i++) {
        axes->operands[0][from.at[i]] = axes->results[0][i];
    }
}

void axes_slice(OpAxes *axes, const Op *op) {
    Type x = op->operands[0]->type;
    for (int32_t axis = 0; axis < x.rank; axis++) {
        if (is_number(slice_starts(op).at[axis], 0) && slice_steps(op).at[axis] == 1 &&
            slice_limits(op).at[axis] == x.dims[axis]) {
            tie(axes, op, axis);
        }
    }
}

void axes_pad(OpAxes *axes, const Op *op) {
    for (int32_t axis = 0; axis < rank_of(op, 0); axis++) {
        if (is_number(pad_lows(op).at[axis], 0) && is_number(pad_highs(op).at[axis], 0) &&
            pad_interior(op).at[axis] == 0) {
            int8_t factor = kept(axes);
            axes->operands[0][axis] = axes->results[0][axis] = factor;
        }
    }
}

void axes_concat(OpAxes *axes, const Op *op) {
    tie_others(axes, op, concat_axis(op));
}

void axes_reverse(OpAxes *axes, const Op *op) {
    for (int32_t axis = 0; axis < rank_of(op, 0); axis++) {
        if (!ints_have(reverse_axes(op), axis)) {
            tie(axes, op, axis);
        }
    }
}

/* Of the first `n` operands, which have the result's rank: axes along which the piece is all. */
static void tie_whole(OpAxes *axes, const Op *op, int32_t n, Type piece) {
    Type x = op->operands[0]->type;
    for (int32_t axis = 0; axis < x.rank; axis++) {
        if (piece.dims[axis] == x.dims[axis]) {
            int8_t factor = kept(axes);
            axes->results[0][axis] = factor;
            for (int32_t i = 0; i < n; i++) {
                axes->operands[i][axis] = factor;
            }
        }
    }
}

void axes_dynamic_slice(OpAxes *axes, const Op *op) {
    tie_whole(axes, op, 1, op->results[0]->type);
}

void axes_dynamic_update(OpAxes *axes, const Op *op) {
    tie_whole(axes, op, 2, op->operands[1]->type);
}

void axes_unfold(OpAxes *axes, const Op *op) {
    int64_t at = unfold_axis(op);
    for (int32_t axis = 0; axis < rank_of(op, 0); axis++) {
        if (axis != at) {
            int8_t factor = kept(axes);
            axes->operands[0][axis] = factor;
            axes->results[0][axis < at ? axis : axis + 1] = factor;
        }
    }
}

void axes_fold(OpAxes *axes, const Op *op) {
    int64_t at = fold_axis(op);
    for (int32_t axis = 0; axis < op->results[0]->type.rank; axis++) {
        if (axis != at) {
            int8_t factor = kept(axes);
            axes->operands[0][axis < at ? axis : axis + 1] = factor;
            axes->results[0][axis] = factor;
        }
    }
}

static void reduce(OpAxes *axes, const Op *op) {
    for (int32_t axis = 0, out = 0; axis < rank_of(op, 0); axis++) {
        if (ints_have(op_axes(op), axis)) {
            axes->operands[0][axis] = axes_factor(axes, op_info(op->code)->combines);
        } else {
            axes->operands[0][axis] = axes->results[0][out++] = kept(axes);
        }
    }
}

void axes_reduce_sum(OpAxes *axes, const Op *op) {
    reduce(axes, op);
}

void axes_reduce_prod(OpAxes *axes, const Op *op) {
    reduce(axes, op);
}

void axes_reduce_max(OpAxes *axes, const Op *op) {
    reduce(axes, op);
}

void axes_reduce_min(OpAxes *axes, const Op *op) {
    reduce(axes, op);
}

static void pick_along(OpAxes *axes, const Op *op, int64_t at) {
    for (int32_t axis = 0, out = 0; axis < rank_of(op, 0); axis++) {
        if (axis != at) {
            axes->operands[0][axis] = axes->results[0][out++] = kept(axes);
        }
    }
}

void axes_argmax(OpAxes *axes, const Op *op) {
    pick_along(axes, op, argmax_axis(op));
}

void axes_argmin(OpAxes *axes, const Op *op) {
    pick_along(axes, op, argmin_axis(op));
}

void axes_cumsum(OpAxes *axes, const Op *op) {
    tie_others(axes, op, cumsum_axis(op));
}

void axes_sort(OpAxes *axes, const Op *op) {
    tie_others(axes, op, sort_axis(op));
}

void axes_contract(OpAxes *axes, const Op *op) {
    Ints batch[2] = {contract_batch_a(op), contract_batch_b(op)};
    Ints summed[2] = {contract_contract_a(op), contract_contract_b(op)};
    int32_t out = 0;
    for (int32_t i = 0; i < batch[0].count; i++) {
        int8_t factor = kept(axes);
        axes->operands[0][batch[0].at[i]] = factor;
        axes->operands[1][batch[1].at[i]] = factor;
        axes->results[0][out++] = factor;
    }
    for (int32_t i = 0; i < summed[0].count; i++) {
        int8_t factor = axes_factor(axes, OP_add);
        axes->operands[0][summed[0].at[i]] = factor;
        axes->operands[1][summed[1].at[i]] = factor;
    }
    for (int32_t side = 0; side < 2; side++) {
        for (int32_t axis = 0; axis < rank_of(op, side); axis++) {
            if (axes->operands[side][axis] < 0) {
                axes->operands[side][axis] = axes->results[0][out++] = kept(axes);
            }
        }
    }
}

/* x [N, C, …], w [O, C, …], y [N, O, …] by what each is of the op; with several groups channels
 * stay whole. The factor of the axes that the result lacks is combined. */
static void convolution(OpAxes *axes, int8_t *x, int8_t *w, int8_t *y, int64_t groups,
                        const int8_t *result) {
    int8_t n = axes_factor(axes, result == w ? OP_add : OP_NONE);
    x[0] = y[0] = n;
    if (groups == 1) {
        int8_t c = axes_factor(axes, result == y ? OP_add : OP_NONE);
        int8_t o = axes_factor(axes, result == x ? OP_add : OP_NONE);
        x[1] = w[1] = c;
        w[0] = y[1] = o;
    }
}

void axes_conv(OpAxes *axes, const Op *op) {
    convolution(axes, axes->operands[0], axes->operands[1], axes->results[0], conv_groups(op),
                axes->results[0]);
}

void axes_conv_input_grad(OpAxes *axes, const Op *op) {
    convolution(axes, axes->results[0], axes->operands[1], axes->operands[0],
                conv_input_grad_groups(op), axes->results[0]);
}

void axes_conv_weight_grad(OpAxes *axes, const Op *op) {
    convolution(axes, axes->operands[0], axes->results[0], axes->operands[1],
                conv_weight_grad_groups(op), axes->results[0]);
}

/* Batches and heads: all axes of q but its last two. */
static void attend(OpAxes *axes, const Op *op) {
    for (int32_t axis = 0; axis < rank_of(op, 0) - 2; axis++) {
        int8_t factor = kept(axes);
        for (int32_t i = 0; i < op->n_operands; i++) {
            axes->operands[i][axis] = factor;
        }
        for (int32_t r = 0; r < op->n_results; r++) {
            axes->results[r][axis] = factor;
        }
    }
}

void axes_attention(OpAxes *axes, const Op *op) {
    attend(axes, op);
}

void axes_attention_grad(OpAxes *axes, const Op *op) {
    attend(axes, op);
}

/* x without `at`, with the axes of ids in its place: what take gives, and take_add gets.
 * `ids_combine`: of the factors of ids. */
static void pick(OpAxes *axes, const Op *op, int64_t at, int8_t *whole, int8_t *picked,
                 OpCode ids_combine, int8_t *other) {
    int32_t n_ids = rank_of(op, 1);
    for (int32_t axis = 0; axis < rank_of(op, 0); axis++) {
        if (axis != at) {
            int8_t factor = kept(axes);
            whole[axis] = factor;
            picked[axis < at ? axis : axis + n_ids - 1] = factor;
            if (other) {
                other[axis] = factor;
            }
        }
    }
    for (int32_t axis = 0; axis < n_ids; axis++) {
        axes->operands[1][axis] = picked[at + axis] = axes_factor(axes, ids_combine);
    }
}

void axes_take(OpAxes *axes, const Op *op) {
    pick(axes, op, take_axis(op), axes->operands[0], axes->results[0], OP_NONE, NULL);
}

/* Where ranks add different parts of u, x counts once among them. */
void axes_take_add(OpAxes *axes, const Op *op) {
    pick(axes, op, take_add_axis(op), axes->operands[0], axes->operands[2], OP_add,
         axes->results[0]);
}

void axes_gather(OpAxes *axes, const Op *op) {
    tie_others(axes, op, gather_axis(op));
    axes->operands[1][gather_axis(op)] = axes->results[0][gather_axis(op)] = kept(axes);
}

void axes_scatter_add(OpAxes *axes, const Op *op) {
    tie_others(axes, op, scatter_add_axis(op));
    axes->operands[1][scatter_add_axis(op)] = axes->operands[2][scatter_add_axis(op)] =
        axes_factor(axes, OP_add);
}
