/* Builder functions for control: grad, the region ops in their two moves, yield, and the ops that
 * are kept for their effect (checks, show). */
#include "ir/build_internal.h"

#include <string.h>

void b_grad(Builder *b, Value *y, Value *const *xs, int32_t count, Value **out) {
    Value **operands = ARENA_ARRAY(&b->func->module->arena, Value *, count + 1);
    operands[0] = y;
    if (count > 0) {
        memcpy(operands + 1, xs, (size_t)count * sizeof(xs[0]));
    }
    Op *op = build_op(b, OP_grad, operands, count + 1, count);
    b_op(b, op);
    bool failed = op == NULL || op->parent == NULL; /* not inserted: the rule complained */
    for (int32_t i = 0; i < count; i++) {
        out[i] = failed ? NULL : op->results[i];
    }
}

Op *b_scan_begin(Builder *b, Value *const *carries, int32_t n_carries, Value *const *xs,
                 int32_t n_xs, const Size *length, bool reverse, int32_t n_ys) {
    Value **operands = ARENA_ARRAY(&b->func->module->arena, Value *, n_carries + n_xs + 1);
    if (n_carries > 0) {
        memcpy(operands, carries, (size_t)n_carries * sizeof(carries[0]));
    }
    if (n_xs > 0) {
        memcpy(operands + n_carries, xs, (size_t)n_xs * sizeof(xs[0]));
    }
    for (int32_t i = 0; i < n_xs; i++) {
        if (xs[i] != NULL && xs[i]->type.rank < 1) {
            build_fail(b, "scan", "a scanned value needs at least one axis");
            return NULL;
        }
    }
    Op *op = build_op(b, OP_scan, operands, n_carries + n_xs, n_carries + n_ys);
    if (op == NULL) {
        return NULL;
    }
    op_set_length(op, length);
    op_set_carries(op, n_carries);
    op_set_reverse(op, reverse);
    Block *body = op->blocks[0];
    block_add_arg(body, type_scalar(DT_I32), NULL);
    for (int32_t i = 0; i < n_carries; i++) {
        block_add_arg(body, carries[i]->type, carries[i]->name);
    }
    for (int32_t i = 0; i < n_xs; i++) {
        Type slice = xs[i]->type;
        slice.rank--;
        slice.dims++;
        block_add_arg(body, slice, NULL);
    }
    return op;
}

Op *b_while_begin(Builder *b, Value *const *carries, int32_t n_carries, int64_t limit) {
    Op *op = build_op(b, OP_while, carries, n_carries, n_carries);
    if (op == NULL) {
        return NULL;
    }
    op_set_limit(op, limit);
    for (int32_t block = 0; block < 2; block++) {
        for (int32_t i = 0; i < n_carries; i++) {
            block_add_arg(op->blocks[block], carries[i]->type, carries[i]->name);
        }
    }
    return op;
}

void b_yield(Builder *b, Value *const *values, int32_t count) {
    b_op(b, build_op(b, OP_yield, values, count, 0));
}

void b_check(Builder *b, Value *condition, const char *text) {
    Op *op = build_op(b, OP_check, &condition, 1, 0);
    if (op != NULL) {
        op_set_text(op, context_intern(b->context, text));
    }
    b_op(b, op);
}

void b_show(Builder *b, Value *x, const char *text) {
    Op *op = build_op(b, OP_show, &x, 1, 0);
    if (op != NULL) {
        op_set_text(op, context_intern(b->context, text));
    }
    b_op(b, op);
}

void b_size_check(Builder *b, const Size *left, const Size *right, const char *text) {
    Op *op = build_op(b, OP_size_check, NULL, 0, 0);
    op_set_left(op, left);
    op_set_right(op, right);
    op_set_text(op, context_intern(b->context, text));
    b_op(b, op);
}
