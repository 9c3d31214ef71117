/* The builder's core (infer, insert, complain) and the ops of the simplest kinds: elementwise and
 * constants. See build.h for the rules; build_move.c, build_compute.c and build_region.c hold the
 * other kinds. */
#include "ir/build_internal.h"

#include <string.h>

Builder builder_at_end(Func *func, Block *block) {
    return (Builder){.context = func->module->context, .func = func, .block = block};
}

Builder builder_before(Op *op) {
    Func *func = op->parent->func;
    return (Builder){.context = func->module->context,
                     .func = func,
                     .block = op->parent,
                     .before = op,
                     .place = op->place,
                     .label = op->label};
}

void build_fail(Builder *b, const char *op_name, const char *text) {
    b->problem.text = text;
    if (b->soft) {
        return;
    }
    INTERNAL_ERROR(b->context, b->place, op_name, "%s", text);
}

Op *build_op(Builder *b, OpCode code, Value *const *operands, int32_t n_operands,
             int32_t n_results) {
    for (int32_t i = 0; i < n_operands; i++) {
        if (operands[i] != NULL) {
            continue;
        }
        if (!b->soft) { /* in soft mode an earlier problem made it, and is already known */
            build_fail(b, op_info(code)->name, "an operand is missing");
        }
        return NULL;
    }
    int n_blocks = op_info(code)->n_blocks;
    return op_create(b->func, code, operands, n_operands, n_results, n_blocks);
}

Value *b_op(Builder *b, Op *op) {
    if (op == NULL) {
        return NULL;
    }
    if (op->place.source == NULL) {
        op->place = b->place;
    }
    if (op->label[0] == '\0' && b->label != NULL) {
        op->label = context_intern(b->context, b->label);
    }
    OpProblem problem = {0};
    if (!op_infer(b->context, op, &problem)) {
        build_fail(b, op_info(op->code)->name, problem.text);
        return NULL;
    }
    if (b->before != NULL) {
        op_insert_before(op, b->before);
    } else {
        op_append(b->block, op);
    }
    return op->n_results > 0 ? op->results[0] : NULL;
}

/* -- elementwise */

Value *b_scalar(Builder *b, OpCode code, Value *const *operands, int32_t n_operands) {
    return b_op(b, build_op(b, code, operands, n_operands, 1));
}

Value *b_unary(Builder *b, OpCode code, Value *x) {
    return b_scalar(b, code, &x, 1);
}

Value *b_binary(Builder *b, OpCode code, Value *x, Value *y) {
    Value *operands[] = {x, y};
    return b_scalar(b, code, operands, 2);
}

Value *b_add(Builder *b, Value *x, Value *y) {
    return b_binary(b, OP_add, x, y);
}

Value *b_sub(Builder *b, Value *x, Value *y) {
    return b_binary(b, OP_sub, x, y);
}

Value *b_mul(Builder *b, Value *x, Value *y) {
    return b_binary(b, OP_mul, x, y);
}

Value *b_div(Builder *b, Value *x, Value *y) {
    return b_binary(b, OP_div, x, y);
}

Value *b_neg(Builder *b, Value *x) {
    return b_unary(b, OP_neg, x);
}

Value *b_select(Builder *b, Value *condition, Value *x, Value *y) {
    Value *operands[] = {condition, x, y};
    return b_scalar(b, OP_select, operands, 3);
}

Value *b_cast(Builder *b, Value *x, DType dtype) {
    if (x != NULL && x->type.dtype == dtype) {
        return x;
    }
    Op *op = build_op(b, OP_cast, &x, 1, 1);
    if (op != NULL) {
        op_set_dtype(op, dtype);
    }
    return b_op(b, op);
}

Value *b_plain(Builder *b, OpCode code, Value *const *operands, int32_t n_operands) {
    return b_op(b, build_op(b, code, operands, n_operands, 1));
}

Value *b_stop_gradient(Builder *b, Value *x) {
    return b_plain(b, OP_stop_gradient, &x, 1);
}

Value *b_copy(Builder *b, Value *x) {
    return b_plain(b, OP_copy, &x, 1);
}

Value *b_opaque(Builder *b, Value *x) {
    return b_plain(b, OP_opaque, &x, 1);
}

Value *b_shard_hint(Builder *b, Value *x, const char *axes) {
    Op *op = build_op(b, OP_shard_hint, &x, 1, 1);
    if (op != NULL) {
        op_set_placed(op, axes);
    }
    return b_op(b, op);
}

Value *b_exchange_hint(Builder *b, Value *x, DType sent) {
    Op *op = build_op(b, OP_exchange_hint, &x, 1, 1);
    if (op != NULL) {
        op_set_dtype(op, sent);
    }
    return b_op(b, op);
}

/* -- constants */

static void set_type(Builder *b, Op *op, Type type) {
    op_set_dtype(op, type.dtype);
    op_set_shape(op, sizes_copy(b->func, type.dims, type.rank));
}

Value *b_constant(Builder *b, double value, Type type) {
    Op *op = build_op(b, OP_constant, NULL, 0, 1);
    op_set_value(op, value);
    set_type(b, op, type);
    return b_op(b, op);
}

Value *b_constant_like(Builder *b, double value, const Value *like) {
    return like != NULL ? b_constant(b, value, like->type) : NULL;
}

Value *b_literal(Builder *b, Type type, const void *data, int64_t count) {
    if (count < 0 || count > INT32_MAX) {
        build_fail(b, "literal", "the literal has too many elements");
        return NULL;
    }
    Op *op = build_op(b, OP_literal, NULL, 0, 1);
    set_type(b, op, type);
    /* doubles and int64_t are both 8 bytes; which it is, the dtype says */
    int64_t *copy = ARENA_ARRAY(&b->func->module->arena, int64_t, count > 0 ? count : 1);
    if (count > 0) {
        memcpy(copy, data, (size_t)count * sizeof(copy[0]));
    }
    op_set_data(op, (AttrList){(int32_t)count, {.ints = copy}});
    return b_op(b, op);
}

Value *b_size(Builder *b, const Size *size, DType dtype) {
    Op *op = build_op(b, OP_size, NULL, 0, 1);
    op_set_extent(op, size);
    op_set_dtype(op, dtype);
    return b_op(b, op);
}

Value *b_iota(Builder *b, int64_t axis, Type type) {
    Op *op = build_op(b, OP_iota, NULL, 0, 1);
    op_set_axis(op, axis);
    set_type(b, op, type);
    return b_op(b, op);
}
