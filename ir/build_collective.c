/* Builder functions for collectives. Groups are given as sets of mesh axes and kept as their names;
 * the dims of pieces that a shape rule looks for are made here. */
#include "ir/build_internal.h"

static void set_over(Builder *b, Op *op, MeshGroup group) {
    op_set_over(op, module_group_text(b->func->module, group));
}

void b_all_reduce(Builder *b, Value *const *xs, int32_t n, OpCode combine, MeshGroup group,
                  Value **outs) {
    Op *op = build_op(b, OP_all_reduce, xs, n, n);
    if (op != NULL) {
        op_set_combine(op, context_intern(b->context, op_info(combine)->name));
        set_over(b, op, group);
    }
    bool made = b_op(b, op) != NULL;
    for (int32_t i = 0; i < n; i++) {
        outs[i] = made ? op->results[i] : NULL;
    }
}

Value *b_all_sum(Builder *b, Value *x, MeshGroup group) {
    Value *sum = NULL;
    b_all_reduce(b, &x, 1, OP_add, group, &sum);
    return sum;
}

static void set_moved(Builder *b, Op *op, const MovedRows *how, int32_t n) {
    Arena *arena = &b->func->module->arena;
    int64_t *axes = ARENA_ARRAY(arena, int64_t, (size_t)n + 1);
    const Size **sizes = ARENA_ARRAY(arena, const Size *, (size_t)n + 1);
    const Size **rows = ARENA_ARRAY(arena, const Size *, (size_t)n + 1);
    for (int32_t i = 0; i < n; i++) {
        axes[i] = how[i].axis;
        sizes[i] = how[i].size;
        rows[i] = how[i].rows;
    }
    op_set_each_axis(op, (Ints){n, axes});
    op_set_each_size(op, (Sizes){n, sizes});
    op_set_each_rows(op, (Sizes){n, rows});
}

static void move_rows(Builder *b, OpCode code, Value *const *xs, const MovedRows *how, int32_t n,
                      MeshGroup group, Value **outs) {
    Op *op = build_op(b, code, xs, n, n);
    if (op != NULL) {
        set_moved(b, op, how, n);
        set_over(b, op, group);
    }
    bool made = b_op(b, op) != NULL;
    for (int32_t i = 0; i < n; i++) {
        outs[i] = made ? op->results[i] : NULL;
    }
}

void b_all_gather_each(Builder *b, Value *const *xs, const MovedRows *how, int32_t n,
                       MeshGroup group, Value **outs) {
    move_rows(b, OP_all_gather, xs, how, n, group, outs);
}

void b_reduce_scatter_each(Builder *b, Value *const *xs, const MovedRows *how, int32_t n,
                           MeshGroup group, Value **outs) {
    move_rows(b, OP_reduce_scatter, xs, how, n, group, outs);
}

Value *b_all_gather(Builder *b, Value *x, int64_t axis, const Size *size, const Size *rows,
                    MeshGroup group) {
    Value *out = NULL;
    b_all_gather_each(b, &x, &(MovedRows){axis, size, rows}, 1, group, &out);
    return out;
}

Value *b_reduce_scatter(Builder *b, Value *x, int64_t axis, const Size *size, const Size *rows,
                        MeshGroup group) {
    Value *out = NULL;
    b_reduce_scatter_each(b, &x, &(MovedRows){axis, size, rows}, 1, group, &out);
    return out;
}

Value *b_all_to_all(Builder *b, Value *x, const AllToAll *how) {
    Op *op = build_op(b, OP_all_to_all, &x, 1, 1);
    if (op != NULL) {
        op_set_axis(op, how->axis);
        op_set_size(op, how->size);
        op_set_rows(op, how->rows);
        op_set_split(op, how->split);
        op_set_split_size(op, how->split_size);
        op_set_split_rows(op, how->split_rows);
        set_over(b, op, how->group);
    }
    return b_op(b, op);
}

Value *b_shift(Builder *b, Value *x, int64_t by, MeshGroup group) {
    Op *op = build_op(b, OP_shift, &x, 1, 1);
    if (op != NULL) {
        op_set_by(op, by);
        set_over(b, op, group);
    }
    return b_op(b, op);
}
